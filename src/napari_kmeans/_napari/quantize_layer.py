"""Image layers in few colors: what the button of the widget does, in one function.

`quantize_layer` is made of three steps: `prepare` checks layers and settings, and takes
what the layers hold; `quantize_source` (in `computation`) computes in any thread;
`create_layers` makes layers of that which lie on their source. The widget and the menu
command take the steps one by one, with a thread in the middle.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.types import LayerDataTuple
from napari.viewer import Viewer
from numpy.typing import ArrayLike

from napari_kmeans._core.arguments import (
    Dither,
    checked_callback,
    checked_integer,
    is_lazy,
    plain_array,
)
from napari_kmeans._core.spaces import SpaceName
from napari_kmeans._napari.computation import (
    LayerError,
    Outcome,
    PaletteError,
    Progress,
    contrast_weights,
    fitting_palette,
    quantize_source,
)
from napari_kmeans._napari.layers import (
    AnyMask,
    Source,
    label_colors,
    labels_colormap,
    quoted,
    read_source,
    with_mask,
)
from napari_kmeans._napari.placement import labels_placement, levels_of, placement_of
from napari_kmeans._napari.record import record_of, write_record
from napari_kmeans._napari.settings import OUTPUTS, Settings
from napari_kmeans._napari.table import cluster_table

__all__ = [
    "Request",
    "add_layer",
    "create_layers",
    "describe_layers",
    "ids_of",
    "message_of",
    "prepare",
    "quantize_layer",
    "sign_layer",
]

Palette = ArrayLike | str | os.PathLike[str] | Layer | None

# What makes an image look as it does.
_LOOKS = (
    *("rgb", "colormap", "contrast_limits", "gamma", "opacity", "blending"),
    *("interpolation2d", "interpolation3d", "rendering", "iso_threshold"),
    "attenuation",
)


class Request(NamedTuple):
    """What a computation is asked for."""

    # The first one says where the result lies; others are further channels.
    layers: tuple[Image, ...]
    source: Source
    settings: Settings
    # Whether it brings the last result of these layers up to date.
    is_update: bool = False


def quantize_layer(
    layers: Image | Sequence[Image],
    k: int = 16,
    iters: int = 10,
    *,
    output: str = "image",
    channel_axis: int | None = None,
    slice_axis: int | None = None,
    mask: AnyMask | None = None,
    palette: Palette = None,
    fixed: ArrayLike | None = None,
    color_space: SpaceName = "rgb",
    channel_weights: Any = None,
    dither: Dither = None,
    init: Any = "auto",
    rng: Any = 0,
    merged: Sequence[Sequence[int]] | None = None,
    recolored: Mapping[int, Any] | None = None,
    names: Mapping[int, str] | None = None,
    callback: Callable[[Progress], object] | None = None,
    viewer: Viewer | None = None,
) -> list[Layer]:
    """Return new napari layers that show image layers in at most `k` colors.

    This is what the button of the widget does. The new layers lie on their source.

    Parameters
    ----------
    layers : napari.layers.Image or sequence of these
        One image layer, or several of one shape that are the channels of one image.
        They stay as they are.
    k : int, optional
        Largest number of colors, ``1 <= k <= 65536``, of each palette.
    iters : int, optional
        Largest number of k-means iterations, at least 0.
    output : {"image", "labels", "both"}, optional
        Which layers to return: the image in its new colors (one for each of several
        `layers`), labels, or both.
    channel_axis : int or None, optional
        Axis of the layer's data that holds its channels. None if it has none. The
        channels of an RGB layer, and those that are `layers`, need not be told.
    slice_axis : int or None, optional
        Axis of the layer's data each slice of which gets a palette of its own. None
        for one palette.
    mask : napari.layers.Labels, napari.layers.Shapes or bool ndarray, optional
        Pixels that the palette is fitted to: those with a label, those inside of a
        shape, where these lie, or those that are True in an array without the axis of
        channels. All pixels get the colors. Not looked at if `palette` is given.
    palette : (K, C) or (K,) array_like, str, path-like or layer, optional
        Colors to take instead of fitted ones, in the units of the image; the file
        (``.gpl``, ``.json``, ``.npy``, ``.hex`` or ``.pal``) or the earlier result that
        holds them.
    fixed : (m, C) or (m,) array_like, optional
        Colors that the palette has in any case, ``m <= k``.
    color_space : {"rgb", "lab", "oklab"}, optional
        Where distances are measured. The last two need an RGB layer.
    channel_weights : (C,) array_like, "contrast", "std" or None, optional
        How much a difference in each channel counts: positive numbers that differences
        are multiplied by, as in `quantize_kmeans`, or a word for them: "std" for one
        over the standard deviation of the fitted pixels, "contrast" for channels that
        count as they are shown: one over the width of the contrast limits of each of
        several layers, or over the range of the fitted pixels in each channel along an
        axis of one layer, and 1 where that is 0. It is None for RGB and for images
        without channels. None lets numbers count as they are, so that the strongest
        channel decides. Slices with palettes of their own have the same weights.
    dither : {"floyd-steinberg", "ordered"} or None, optional
        How to mix pixels of neighboring colors, for the eye. None to take the nearest.
    init : {"auto", "thorough", "k-means++", "random"} or (k, C) array_like, optional
        Colors to start from, as in `kmeans_palette`.
    rng : int, numpy.random.Generator or None, optional
        Where the starts "k-means++" and "random" draw from.
    merged : sequence of sequences of int, optional
        Groups of entries of the palette, from 0 on, that become one cluster each. Its
        color is the mean of theirs, weighted by their pixels and rounded to the nearest
        in the image's dtype, ties to even; if another entry has that color, it belongs
        to the cluster, too. The cluster takes the place of its lowest entry, and the
        numbers of others close up. Entries of several slices cannot be merged.
    recolored : mapping of int to color, optional
        Entries of the palette, as they are numbered after entries were merged, whose
        pixels are shown in another color.
    names : mapping of int to str, optional
        Names of entries, as they are numbered after entries were merged. None to take
        those of a `palette` that is a file or an earlier result, unless some are
        merged.
    callback : callable, optional
        Called with a `Progress` after each iteration: ``text``, ``n_done`` of at most
        ``n_most`` iterations, ``part`` (of slices), ``mse``. Raising StopIteration
        ends the fit and keeps its palette; other exceptions pass through.
    viewer : napari.Viewer, optional
        Viewer to add the new layers to. Then the call must come from the main thread.
        Without it, any thread may call, and nothing is added to any viewer.

    Returns
    -------
    layers : list of napari.layers.Layer
        Images, then labels. Palette entry ``i`` is label ``i + 1``, and 0 is for pixels
        that are not finite. The features of labels are the table that `cluster_table`
        returns; ``layer.metadata["napari-kmeans"]`` has the palette, all settings, with
        `channel_weights` in numbers, and the error. Labels are shown in the colors of
        the palette, and those of one channel in napari's own colors of labels. The
        first image covers its source where that is additive. A layer of several levels
        gives such layers. If its data are of dask or zarr, or do not fit in memory with
        what is made of them, the new layers are lazy.

    Raises
    ------
    TypeError
        If `layers` are no image layers, `mask`, `merged`, `recolored` or `names` is
        none of what it can be, or an axis is no integer.
    ValueError
        If `output`, an axis, `channel_weights`, an entry of the palette or the color
        that it is given is none of what it can be, merged entries are of several
        slices, layers that are channels differ in shape, an image is empty or has no
        finite pixel, nothing is inside of the mask, the palette or its file does not
        fit the image, or as `kmeans_palette` and `map_to_palette`.
    OSError
        If the palette file, or lazy data, cannot be read.

    See Also
    --------
    cluster_table : Return mean values, areas and shares of the clusters.
    quantize_kmeans : Return an array in at most k colors.

    Notes
    -----
    Lazy layers hold dask arrays, which are computed where somebody looks. All pixels of
    the full resolution are read now, for the palette: once where colors can be counted,
    and once more with `dither`. If a layer has no levels of detail and more than 1024
    rows or columns, the new ones have levels of every second pixel, and a coarse level
    reads all chunks that it is made of. Floyd-Steinberg is refused for lazy planes of
    more than 2^26 pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> from napari_kmeans import quantize_layer
    >>> cells = Image(np.array([[0, 2, 9, 9]], dtype=np.uint8), name="cells")
    >>> image, labels = quantize_layer(cells, 2, output="both")
    >>> image.name
    'cells in 2 colors'
    >>> image.data
    array([[1, 1, 9, 9]], dtype=uint8)
    >>> labels.data
    array([[1, 1, 2, 2]], dtype=uint8)

    With ``viewer=viewer``, the layers are added to that viewer.
    """
    settings = Settings(
        k=k,
        iters=checked_integer("iters", iters, 0, None),
        output=output,
        channel_axis=channel_axis,
        slice_axis=slice_axis,
        palette=palette,
        fixed=None if fixed is None else plain_array("fixed", fixed),
        color_space=color_space,
        channel_weights=channel_weights,
        dither=dither,
        init=init if isinstance(init, str) else plain_array("init", init),
        rng=rng,
        merged=merged,
        recolored=recolored,
        names=names,
    )
    # Proxies of layers say that they are iterable, too.
    is_one = isinstance(layers, Layer) or not isinstance(layers, Iterable)
    several: Any = [layers] if is_one else layers
    request = prepare(several, settings, mask, viewer)
    report = partial(_report_iteration, checked_callback(callback))
    outcome = quantize_source(request.source, request.settings, report)
    made = create_layers(request, outcome)
    if viewer is not None:
        for layer in made:
            add_layer(viewer, layer)
    return made


def _report_iteration(
    callback: Callable[[Progress], object] | None, progress: Progress
) -> None:
    """Call back after an iteration, and not for other progress."""
    if callback is not None and progress.mse is not None:
        callback(progress)


# The door.


def prepare(
    layers: Sequence[Image],
    settings: Settings,
    mask: AnyMask | None = None,
    viewer: Viewer | None = None,
) -> Request:
    """Check what is wanted, and take what the layers hold now.

    Raises
    ------
    TypeError, ValueError
        As `quantize_layer`, but for what only the pixels and the core can say.
    """
    # napari hands out proxies of layers, which warn.
    images = tuple(getattr(layer, "__wrapped__", layer) for layer in layers)
    if not images or not all(isinstance(layer, Image) for layer in images):
        msg = f"layers must be one Image layer or several, got {layers!r}"
        raise TypeError(msg)
    if settings.output not in OUTPUTS:
        words = ", ".join(map(repr, OUTPUTS))
        msg = f"output must be {words}, got {settings.output!r}"
        raise ValueError(msg)
    first, name = images[0], quoted(images[0].name)
    shape = tuple(levels_of(first)[0].shape)
    if 0 in shape:
        msg = f"{name} has no pixels: its shape is {shape}"
        raise LayerError(msg)
    channel_axis = None if first.rgb or len(images) > 1 else settings.channel_axis
    channel_axis = _checked_axis("channel_axis", channel_axis, first.ndim)
    source = read_source(images, channel_axis)
    if source.has_alpha and source.dtype.kind not in "uf":
        msg = (
            f"{name} is RGBA of {source.dtype}: "
            "opacity takes unsigned integers or floats"
        )
        raise LayerError(msg)
    slice_axis = _checked_axis("slice_axis", settings.slice_axis, first.ndim)
    if slice_axis is not None:
        _check_slices(slice_axis, source)
    palette, names = settings.palette, settings.names
    if names is None and isinstance(palette, Layer) and settings.merged is None:
        names = _names_of(palette)
    if palette is not None:
        # There is nothing to fit to slices, nor inside of a mask.
        palette, slice_axis = _checked_palette(palette, source), None
    elif mask is not None:
        source = with_mask(source, mask, first, viewer)
    settings = dataclasses.replace(
        settings,
        palette=palette,
        channel_axis=source.channel_axis,
        slice_axis=slice_axis,
        channel_weights=_checked_weights(settings.channel_weights, source),
        names=names,
    )
    return Request(images, source, settings)


def _checked_axis(name: str, axis: int | None, n_axes: int) -> int | None:
    """Return an axis of a layer, if there is one, counted from the first."""
    if axis is None:
        return None
    axis = checked_integer(name, axis, None, None)
    if not -n_axes <= axis < n_axes:
        msg = f"{name} must be one of the layer's {n_axes} axes, got {axis}"
        raise ValueError(msg)
    return axis % n_axes


def _check_slices(axis: int, source: Source) -> None:
    """Check that an axis is no channels', and has as many slices at each level."""
    if source.channel_axis == axis:
        msg = f"slice_axis must not be the channel_axis, got {axis} for both"
        raise ValueError(msg)
    fine, *coarser = (arrays[0].shape[axis] for arrays in source.levels)
    for coarse in coarser:
        if coarse != fine:
            msg = (
                f"{quoted(source.name)} has {fine} slices at full resolution and "
                f"{coarse} at a coarser level: choose one palette for all slices"
            )
            raise LayerError(msg)


def _checked_weights(weights: Any, source: Source) -> Any:
    """Return how channels count: numbers, None, or a word that only pixels can tell."""
    if not isinstance(weights, str):
        return weights
    if weights not in ("contrast", "std"):
        msg = (
            "channel_weights must be 'contrast', 'std', None, or a positive number for "
            f"each channel, got {weights!r}"
        )
        raise ValueError(msg)
    if source.n_channels in (None, 1):
        return None
    if weights == "contrast" and source.look.is_rgb:
        return None
    limits = source.look.contrast_limits
    # Channels along an axis of one layer have none: only their pixels can tell.
    return contrast_weights(limits) if weights == "contrast" and limits else weights


def _checked_palette(palette: Palette, source: Source) -> Any:
    """Return the path of a palette file, or colors that the image can have."""
    if isinstance(palette, str | os.PathLike):
        return os.fspath(palette)
    if not isinstance(palette, Layer):
        return fitting_palette(plain_array("palette", palette), "palette", source)
    record, name = record_of(palette), quoted(palette.name)
    if record is None:
        msg = f"{name} has no palette: it was not made here"
        raise PaletteError(msg)
    return fitting_palette(record.palette, name, source)


def _names_of(layer: Layer) -> dict[int, str] | None:
    """Return the names of the entries of a result, if it has some."""
    record = record_of(layer)
    names = () if record is None else record.names
    return {entry: name for entry, name in enumerate(names) if name} or None


def message_of(error: Exception, layer: Layer, palette: Any = None) -> str:
    """Return what went wrong with a layer, in the words of the window."""
    name, text = quoted(layer.name), str(error)
    if isinstance(error, LayerError):
        return text
    if isinstance(error, OSError) and error.filename is not None:
        is_palette = str(error.filename) == palette
        name = "Palette file" if is_palette else name
        text = f"{error.filename} cannot be read: {error.strerror}"
    return f"{name}: {text or type(error).__name__}"


# The layers.


def create_layers(request: Request, outcome: Outcome) -> list[Layer]:
    """Return the layers that are wanted, which lie on their source as it is now."""
    layers = []
    for channel, described in describe_layers(request, outcome):
        if request.settings.output in (described[2], "both"):
            layer = Layer.create(*described)
            sign_layer(layer, request, outcome, channel, layer.name)
            layers.append(layer)
    return layers


def describe_layers(
    request: Request, outcome: Outcome
) -> Iterator[tuple[int, LayerDataTuple]]:
    """Describe all layers there can be: an image of each channel, and labels."""
    first, settings = request.layers[0], request.settings
    number = settings.k if settings.palette is None else len(outcome.record.palette)
    plural = "" if number == 1 else "s"

    def described(levels: Any, attributes: dict[str, Any], kind: str) -> LayerDataTuple:
        attributes["multiscale"] = first.multiscale or len(levels) > 1
        data = list(levels) if attributes["multiscale"] else levels[0]
        return LayerDataTuple((data, attributes, kind))

    for i, layer in enumerate(request.layers if outcome.images else ()):
        _, attributes, _ = layer.as_layer_data_tuple()
        kept = {name: attributes[name] for name in _LOOKS} | placement_of(layer)
        kept["name"] = f"{layer.name} in {number} color{plural}"
        if i == 0 and kept["blending"] in ("additive", "minimum"):
            # The result covers its source, instead of being added to it.
            kept["blending"] = "translucent_no_depth"
        levels = outcome.images
        if len(request.layers) > 1:
            levels = tuple(
                image[..., i] if is_lazy(image) else np.ascontiguousarray(image[..., i])
                for image in levels
            )
        yield i, described(levels, kept, "image")
    names = " + ".join(layer.name for layer in request.layers)
    kept = labels_placement(first, request.source.channels)
    kept |= {"name": f"{names} in {number} label{plural}", "opacity": 1.0}
    palette, look = outcome.record.palette, request.source.look
    kept["colormap"] = labels_colormap(label_colors(palette, look))
    yield 0, described(outcome.labels, kept, "labels")


def sign_layer(
    layer: Layer, request: Request, outcome: Outcome, channel: int, name: str
) -> None:
    """Write down how a layer was made, of which channel, and how it was called."""
    record = dataclasses.replace(
        outcome.record,
        layer=str(layer.unique_id),
        name=name,
        channel=channel,
        source=tuple(one.name for one in request.layers),
        source_ids=ids_of(request.layers),
    )
    write_record(layer, record)
    if isinstance(layer, Labels):
        layer.features = cluster_table(layer)


def ids_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return what layers are known by, whatever their names are."""
    return tuple(str(layer.unique_id) for layer in layers)


def add_layer(viewer: Viewer, layer: Layer) -> None:
    """Add a layer, which the viewer gives another name where its own is taken."""
    viewer.add_layer(layer)
    record = record_of(layer)
    if record is not None and layer.name != record.name:
        write_record(layer, dataclasses.replace(record, name=layer.name))
