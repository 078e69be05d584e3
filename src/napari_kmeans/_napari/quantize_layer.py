"""Image layers in few colors: the public function, and the three steps it is made of.

`prepare` is the door: it checks layers and settings, and takes what the layers hold.
`quantize_source` computes in any thread, counting each image once: it fits palettes,
labels pixels and colors them. `create_layers` makes layers of that which lie on their
source. `quantize_layer` is all three; the widget and the menu command call them one by
one, with a thread in the middle. What is wrong is said in an error of its own class.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from napari.types import LayerDataTuple

from napari_kmeans import __version__, read_palette
from napari_kmeans._core.arguments import NoFinitePixelError
from napari_kmeans._core.counted_image import (
    color_image,
    count_image,
    fit_image,
    map_image,
    psnr_of,
)
from napari_kmeans._core.mapping import finite_mask
from napari_kmeans._napari.colors import hex_colors
from napari_kmeans._napari.layers import (
    Mask,
    Source,
    draw_mask,
    labels_colormap,
    quoted,
    read_level,
    read_mask,
    read_source,
    rgba_of,
)
from napari_kmeans._napari.placement import labels_placement, levels_of, placement_of
from napari_kmeans._napari.record import Record, record_of, write_record
from napari_kmeans._napari.settings import OUTPUTS, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd
    from napari.viewer import Viewer
    from numpy.typing import ArrayLike, NDArray

    from napari_kmeans import IterationState, PaletteResult
    from napari_kmeans._core.counted_image import (
        CountedImage,
        FittedImage,
        MappedImage,
    )
    from napari_kmeans._napari.settings import ColorSpace, Dither

    AnyMask = Labels | Shapes | NDArray[np.bool_] | None
    Labeling = NDArray[np.unsignedinteger[Any]]

__all__ = [
    "EmptyMaskError",
    "LayerError",
    "Outcome",
    "PaletteError",
    "Progress",
    "Request",
    "add_layer",
    "create_layers",
    "describe_layers",
    "fitted_mask",
    "ids_of",
    "make_features",
    "make_record",
    "message_of",
    "number_pixels",
    "prepare",
    "quantize_layer",
    "quantize_source",
    "sign_layer",
]

# What makes an image look as it does.
_LOOKS = (
    *("rgb", "colormap", "contrast_limits", "gamma", "opacity", "blending"),
    *("interpolation2d", "interpolation3d", "rendering", "iso_threshold"),
    "attenuation",
)


class LayerError(ValueError):
    """Layers cannot be quantized; the text says which, why, and what to do."""


class EmptyMaskError(LayerError):
    """No pixel that palettes are fitted to is inside of the mask."""


class PaletteError(LayerError):
    """A palette is none that the image can have."""


class Progress(NamedTuple):
    """How far a computation has come.

    Parameters
    ----------
    text : str
        What is done, in words.
    n_done, n_most : int
        Iterations made, and the most there will be; 0 as long as it is not known.
    part : int
        Which of several palettes is fitted.
    mse : float or None
        Mean squared error after an iteration, where distances are measured.
    """

    text: str
    n_done: int = 0
    n_most: int = 0
    part: int = 0
    mse: float | None = None


class Request(NamedTuple):
    """What a computation is asked for."""

    # The first one says where the result lies; others are further channels.
    layers: tuple[Image, ...]
    source: Source
    settings: Settings
    # Whether it brings the last result of these layers up to date.
    is_update: bool = False


class Outcome(NamedTuple):
    """What layers become."""

    # Colors of all slices, one palette after the other, and the pixels of each.
    palette: NDArray[Any]
    counts: NDArray[np.int64]
    # Slice that each color belongs to, where slices have palettes of their own.
    slices: NDArray[np.intp] | None
    # At each level of detail, with the axes of labels layers: entry + 1, and 0 for
    # pixels that are not finite.
    labels: tuple[Labeling, ...]
    # At each level of detail; empty if no image is wanted.
    images: tuple[NDArray[Any], ...]
    n_iter: int
    converged: bool
    # Distinct colors before, None if they are too many, or in slices.
    n_colors: int | None
    # Of the full resolution, as the core defines them.
    mse: float
    psnr: float
    # Of the source's pixels.
    n_bytes: int
    # How layers show the palette.
    rgba: NDArray[np.float64]
    colormap: Any
    features: pd.DataFrame


def quantize_layer(
    layers: Image | Sequence[Image],
    k: int = 16,
    iters: int = 10,
    *,
    output: str = "image",
    channel_axis: int | None = None,
    slice_axis: int | None = None,
    mask: AnyMask = None,
    palette: ArrayLike | str | os.PathLike[str] | Layer | None = None,
    fixed: ArrayLike | None = None,
    color_space: ColorSpace = "rgb",
    dither: Dither | None = None,
    init: Any = "auto",
    rng: Any = 0,
    recolored: Mapping[int, Any] | None = None,
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
        (``.gpl``, ``.json``, ``.npy`` or ``.hex``) or the earlier result that holds
        them.
    fixed : (m, C) or (m,) array_like, optional
        Colors that the palette has in any case, ``m <= k``.
    color_space : {"rgb", "lab", "oklab"}, optional
        Where distances are measured. The last two need an RGB layer.
    dither : {"floyd-steinberg", "ordered"} or None, optional
        How to mix pixels of neighboring colors, for the eye. None to take the nearest.
    init : {"auto", "thorough", "k-means++", "random"} or (k, C) array_like, optional
        Colors to start from, as in `kmeans_palette`.
    rng : int, numpy.random.Generator or None, optional
        Where the starts "k-means++" and "random" draw from.
    recolored : mapping of int to color, optional
        Entries of the palette, from 0 on, whose pixels are shown in another color.
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
        that are not finite. The features of labels have the index, hex color, pixels
        and share of each; ``layer.metadata["napari-kmeans"]`` has the palette, all
        settings and the error. A layer of several levels gives such layers.

    Raises
    ------
    TypeError
        If `layers` are no image layers, or `mask` is none of what it can be.
    ValueError
        If `output` or an axis is none of what it can be, layers that are channels
        differ in shape, an image is empty or has no finite pixel, nothing is inside of
        the mask, the palette or its file does not fit the image, or as
        `kmeans_palette` and `map_to_palette`.
    OSError
        If the palette file, or lazy data, cannot be read.
    MemoryError
        If the data and what is made of it do not fit in the memory that is free.

    See Also
    --------
    quantize_kmeans : Return an array in at most k colors.

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
        iters=iters,
        output=output,
        channel_axis=channel_axis,
        slice_axis=slice_axis,
        palette=palette,
        fixed=None if fixed is None else np.asarray(fixed),
        color_space=color_space,
        dither=dither,
        init=init,
        rng=rng,
        recolored=recolored,
    )
    several = [layers] if isinstance(layers, Layer) else list(layers)
    request = prepare(several, settings, mask, viewer)

    def report(progress: Progress) -> None:
        if callback is not None and progress.mse is not None:
            callback(progress)

    outcome = quantize_source(request.source, request.settings, report)
    made = create_layers(request, outcome)
    if viewer is not None:
        for layer in made:
            add_layer(viewer, layer)
    return made


# The door.


def prepare(
    layers: Sequence[Image],
    settings: Settings,
    mask: AnyMask = None,
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
    channel_axis, slice_axis = None, settings.slice_axis
    if settings.channel_axis is not None and len(images) == 1 and not first.rgb:
        axis, n_axes = settings.channel_axis, first.ndim
        channel_axis = _checked_axis("channel_axis", axis, n_axes)
    source = read_source(images, channel_axis)
    if source.has_alpha and source.dtype.kind not in "uf":
        msg = (
            f"{name} is RGBA of {source.dtype}: "
            "opacity takes unsigned integers or floats"
        )
        raise LayerError(msg)
    if slice_axis is not None:
        slice_axis = _checked_slices(slice_axis, source, first.ndim)
    palette = settings.palette
    if isinstance(palette, Layer):
        palette = _palette_of(palette, source)
    elif isinstance(palette, str | os.PathLike):
        palette = os.fspath(palette)
    elif palette is not None:
        palette = _fitting_palette(np.asarray(palette), "palette", source)
    elif mask is not None:
        source = _with_mask(source, mask, first, viewer)
    settings = dataclasses.replace(
        settings,
        palette=palette,
        channel_axis=source.channel_axis,
        slice_axis=slice_axis,
    )
    return Request(images, source, settings)


def _checked_axis(name: str, axis: int, n_axes: int) -> int:
    """Return an axis of a layer, counted from the first one."""
    if not -n_axes <= axis < n_axes:
        msg = f"{name} must be one of the layer's {n_axes} axes, got {axis}"
        raise ValueError(msg)
    return axis % n_axes


def _checked_slices(axis: int, source: Source, n_axes: int) -> int:
    """Return an axis that has as many slices at each level."""
    axis = _checked_axis("slice_axis", axis, n_axes)
    if source.channel_axis == axis:
        msg = f"slice_axis must not be the channel_axis, got {axis} for both"
        raise ValueError(msg)
    fine, *coarser = (arrays[0].shape[axis] for arrays in source.levels)
    for coarse in coarser:
        if coarse != fine:
            msg = (
                f"{quoted(source.name)} has {fine} slices at full resolution and "
                f"{coarse} at a coarser level: choose one palette for the whole image"
            )
            raise LayerError(msg)
    return axis


def _with_mask(
    source: Source, mask: AnyMask, image: Image, viewer: Viewer | None
) -> Source:
    """Take the mask, in the units of the viewer if there is one."""
    if isinstance(mask, Labels | Shapes):
        mask = getattr(mask, "__wrapped__", mask)
        if mask.ndim > image.ndim:
            msg = (
                f"Only inside: {quoted(mask.name)} has {mask.ndim} axes, and "
                f"{quoted(image.name)} {image.ndim}: draw in a layer that has "
                "as many, or fewer"
            )
            raise LayerError(msg)
        units = image.units if viewer is None else viewer.dims.units
        pairs = zip(mask.units, image.units[-mask.ndim :], strict=True)
        if viewer is None and not all(a.is_compatible_with(b) for a, b in pairs):
            units = None
        taken = read_mask(mask, image, source.channels, units)
        return source._replace(mask=taken, mask_name=quoted(mask.name))
    inside = np.asarray(mask)
    shape = list(source.levels[0][0].shape)
    if source.channel_axis is not None and len(source.levels[0]) == 1:
        del shape[source.channel_axis]
    if inside.dtype != bool or inside.shape != tuple(shape):
        msg = (
            "mask must be a Labels or Shapes layer, or a boolean array of shape "
            f"{tuple(shape)}, got {inside.dtype} of shape {inside.shape}"
        )
        raise (TypeError if inside.dtype != bool else ValueError)(msg)
    return source._replace(mask=inside)


def _palette_of(layer: Layer, source: Source) -> NDArray[Any]:
    """Return the palette of an earlier result."""
    record = record_of(layer)
    if record is None:
        msg = f"{quoted(layer.name)} has no palette: it was not made here"
        raise PaletteError(msg)
    return _fitting_palette(record.palette, quoted(layer.name), source)


def _read_palette(path: str, source: Source) -> NDArray[Any]:
    """Read the palette of a file."""
    name = quoted(Path(path).name)
    try:
        palette = read_palette(path)
    except ValueError as error:
        msg = f"{name} is no sound palette file: {error.__cause__ or error}"
        raise PaletteError(msg) from error
    return _fitting_palette(palette, name, source)


def _fitting_palette(palette: NDArray[Any], name: str, source: Source) -> NDArray[Any]:
    """Return the same colors in the dtype of the image, which holds them."""
    image, dtype, n_channels = quoted(source.name), source.dtype, source.n_channels
    advice = "choose a palette that was made for such an image"
    if palette.shape[1:] != (() if n_channels is None else (n_channels,)):
        theirs, ours = 1 if palette.ndim < 2 else palette.shape[1], n_channels or 1
        msg = (
            f"The colors of {name} have {_numbers(theirs)} each, and the pixels of "
            f"{image} {_numbers(ours)}: {advice}"
        )
        raise PaletteError(msg)
    with np.errstate(invalid="ignore"):
        colors = palette.astype(dtype)
    if not np.array_equal(colors, palette):
        low, high = float(palette.min()), float(palette.max())
        msg = (
            f"The colors of {name} are {palette.dtype} from {low:.6g} to {high:.6g}, "
            f"which {image} cannot have, being {dtype}: {advice}"
        )
        raise PaletteError(msg)
    return colors


def _numbers(n: int) -> str:
    return "one number" if n == 1 else f"{n} numbers"


def message_of(error: Exception, request: Request) -> str:
    """Return what went wrong with a request, in the words of the window."""
    name, text = quoted(request.layers[0].name), str(error)
    if isinstance(error, LayerError):
        return text
    if isinstance(error, OSError) and error.filename is not None:
        is_palette = str(error.filename) == request.settings.palette
        name = "Palette file" if is_palette else name
        text = f"{error.filename} cannot be read: {error.strerror}"
    return f"{name}: {text or type(error).__name__}"


# The computation.


def quantize_source(
    source: Source, settings: Settings, report: Callable[[Progress], None]
) -> Outcome:
    """Fit palettes to the full resolution, and map all levels to them.

    Every level, or each slice of it, is counted once.

    Raises
    ------
    MemoryError
        If the data and what is made of it do not fit in the memory that is free.
    ValueError, OSError
        As `quantize_layer`, of what `prepare` has not checked.
    """
    n_bytes = _checked_bytes(source)
    report(Progress("Reading the layer"))
    image = read_level(source)
    given = settings.palette
    if isinstance(given, str):
        given = _read_palette(given, source)
    if given is not None:
        # There is nothing to fit, to slices or inside of a mask.
        settings = dataclasses.replace(settings, slice_axis=None)
        source = source._replace(mask=None)
    report(Progress("Counting colors"))
    fits: list[PaletteResult] = []
    mapped, quality = [], []
    for i, counted in enumerate(_counted(image, source, settings)):
        palette: NDArray[Any] | FittedImage = given
        if given is None:
            palette = _fit(counted, i, source, settings, report)
            fits.append(palette.result)
        one = map_image(counted, palette, dither=settings.dither)
        mapped.append(one)
        quality.append(_quality(counted, one))
    palettes = [one.palette for one in mapped]
    colors, slices = np.concatenate(palettes), None
    if settings.slice_axis is not None:
        slices = np.repeat(np.arange(len(palettes)), list(map(len, palettes)))
    for entry, color in (settings.recolored or {}).items():
        colors[entry] = color

    counts = np.concatenate([one.counts for one in mapped])
    levels, images = [], []
    for level in range(len(source.levels)):
        if level > 0:
            report(Progress("Labeling the pixels"))
            image = read_level(source, level)
            coarse = _counted(image, source._replace(mask=None), settings)
            mapped = [
                map_image(counted, palette, dither=settings.dither)
                for counted, palette in zip(coarse, palettes, strict=True)
            ]
        entries = _joined([one.labels for one in mapped], palettes, source, settings)
        report(Progress("Painting the pixels"))
        if settings.output != "labels":
            axis, alpha = source.channel_axis, source.has_alpha
            images.append(
                color_image(entries, colors, image, channel_axis=axis, alpha=alpha)
            )
        levels.append(number_pixels(entries, image, source, len(colors)))
    mse, psnr = _mean_quality(quality)
    rgba = rgba_of(colors, source.look)
    return Outcome(
        palette=colors,
        counts=counts,
        slices=slices,
        labels=tuple(levels),
        images=tuple(images),
        n_iter=max((fit.n_iter for fit in fits), default=0),
        converged=all(fit.converged for fit in fits),
        n_colors=counted.n_colors if slices is None else None,
        mse=mse,
        psnr=psnr,
        n_bytes=n_bytes,
        rgba=rgba,
        colormap=labels_colormap(rgba),
        features=make_features(colors, rgba, counts, slices),
    )


def _counted(
    image: NDArray[Any], source: Source, settings: Settings
) -> Iterator[CountedImage]:
    """Count the colors of the image, or of each of its slices."""
    mask, slice_axis = fitted_mask(source, settings.slice_axis), settings.slice_axis
    axis = source.channel_axis
    parts: Any = [image]
    masks: Any = [mask]
    if slice_axis is not None:
        parts = np.moveaxis(image, slice_axis, 0)
        masks = [None] * len(parts)
        if mask is not None:
            masks = np.moveaxis(mask, _axis_of_labels(slice_axis, source), 0)
        if axis is not None and axis > slice_axis:
            axis -= 1
    for part, inside in zip(parts, masks, strict=True):
        yield count_image(
            part,
            channel_axis=axis,
            mask=inside,
            color_space=settings.color_space,
            alpha=source.has_alpha,
        )


def fitted_mask(
    source: Source, slice_axis: int | None = None
) -> NDArray[np.bool_] | None:
    """Return the pixels that palettes are fitted to, or None for all.

    Raises
    ------
    EmptyMaskError
        If there are none, or none in a slice.
    """
    if source.mask is None:
        return None
    mask, name = draw_mask(source.mask), quoted(source.name)
    if not mask.any():
        msg = (
            f"Nothing of {name} is inside {source.mask_name}: draw over a part of it, "
            "or choose “the whole image”"
        )
        raise EmptyMaskError(msg)
    if slice_axis is not None:
        slices = np.moveaxis(mask, _axis_of_labels(slice_axis, source), 0)
        if not all(inside.any() for inside in slices):
            msg = (
                f"{source.mask_name} leaves out some slices of {name} wholly: draw in "
                "each of them, or choose one palette for the whole image"
            )
            raise EmptyMaskError(msg)
    return mask


def _fit(
    counted: CountedImage,
    part: int,
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
) -> FittedImage:
    """Fit a palette to the image, or to one of its slices."""
    axis, iters = settings.slice_axis, settings.iters
    n_parts = 1 if axis is None else source.levels[0][0].shape[axis]

    def tell(state: IterationState) -> None:
        text = f"Iteration {state.n_iter} of at most {iters}"
        if n_parts > 1:
            text = f"Slice {part + 1} of {n_parts}, {text.lower()}"
        text += f", mean squared error {state.mse:.4g}"
        n_done = part * iters + state.n_iter
        report(Progress(text, n_done, n_parts * iters, part, state.mse))

    try:
        fitted = fit_image(
            counted,
            settings.k,
            iters,
            init=settings.init,
            rng=settings.rng,
            callback=tell,
            fixed=settings.fixed,
        )
    except NoFinitePixelError as error:
        name = (
            quoted(source.name) if axis is None else f"A slice of {quoted(source.name)}"
        )
        where = "" if source.mask is None else f" inside {source.mask_name}"
        msg = f"{name} has no pixel{where} that is a number: all are NaN or infinite"
        raise LayerError(msg) from error
    n_most = max(1, n_parts * iters)
    report(Progress("Labeling the pixels", (part + 1) * iters, n_most, part))
    return fitted


class _Quality(NamedTuple):
    """The error of one palette."""

    mse: float
    # Pixels that this is of, and the PSNR, in dB, for an error of 1.
    n_pixels: int
    peak: float


def _quality(counted: CountedImage, mapped: MappedImage) -> _Quality:
    """Take what mapping has found about the error."""
    n_pixels = int(mapped.counts.sum())
    if counted.alpha:
        n_pixels = int(np.count_nonzero(counted.image[..., -1] > 0))
    # The range of pixels is not asked for where there may be none.
    peak = psnr_of(counted, 1.0) if mapped.mse > 0 else -math.inf
    return _Quality(mapped.mse, n_pixels, peak)


def _mean_quality(parts: list[_Quality]) -> tuple[float, float]:
    """Return the squared error of all pixels, and its PSNR for the widest range."""
    mse = parts[0].mse
    if len(parts) > 1:
        total = sum(part.mse * part.n_pixels for part in parts)
        mse = total / max(1, sum(part.n_pixels for part in parts))
    if mse == 0:
        return mse, math.inf
    return mse, max(part.peak for part in parts) - 10 * math.log10(mse)


def _axis_of_labels(slice_axis: int, source: Source) -> int:
    """Return the axis, channels not counted, that the slices are along."""
    channels = source.channels
    return slice_axis - (channels is not None and channels.axis < slice_axis)


def _joined(
    labels: list[Labeling],
    palettes: list[NDArray[Any]],
    source: Source,
    settings: Settings,
) -> Labeling:
    """Return for each pixel its entry among those of all palettes."""
    if settings.slice_axis is None:
        return labels[0]
    sizes = list(map(len, palettes))
    dtype = np.min_scalar_type(sum(sizes))
    starts = np.cumsum(sizes) - sizes
    moved = [
        one.astype(dtype) + start
        for one, start in zip(labels, starts.astype(dtype), strict=True)
    ]
    return np.stack(moved, axis=_axis_of_labels(settings.slice_axis, source))


def number_pixels(
    entries: Labeling, image: NDArray[Any], source: Source, n_colors: int
) -> Labeling:
    """Turn palette entries (...) into labels from 1 on, 0 where an image is not finite.

    They have the axes of labels layers.
    """
    numbers = entries.astype(np.min_scalar_type(n_colors))
    numbers += 1
    axis, channels = source.channel_axis, source.channels
    if image.dtype.kind == "f":
        pixels = image[..., np.newaxis]
        if axis is not None:
            pixels = np.moveaxis(image, axis, -1)
        numbers[~finite_mask(pixels)] = 0
    if channels is not None and channels.axis > 0:
        numbers = np.expand_dims(numbers, channels.axis)
    return numbers


def _checked_bytes(source: Source) -> int:
    """Return the bytes of the pixels, if there is memory for what is made of them."""
    import psutil

    n_bytes = [
        sum(int(array.dtype.itemsize * math.prod(array.shape)) for array in arrays)
        for arrays in source.levels
    ]
    # Read from disk, painted, and labeled with one to four bytes.
    needed = 3 * sum(n_bytes)
    free = psutil.virtual_memory().available
    if needed > free:
        msg = (
            f"the layer needs some {needed / 1e9:.3g} GB of memory, and "
            f"{free / 1e9:.3g} GB are free; crop it or take a coarser level"
        )
        raise MemoryError(msg)
    return n_bytes[0]


# The layers.


def create_layers(request: Request, outcome: Outcome) -> list[Layer]:
    """Return the layers that are wanted, which lie on their source as it is now."""
    record = make_record(request, outcome)
    layers = []
    for channel, described in describe_layers(request, outcome):
        if request.settings.output in (described[2], "both"):
            layer = Layer.create(*described)
            sign_layer(layer, record, channel, layer.name)
            layers.append(layer)
    return layers


def sign_layer(layer: Layer, record: Record, channel: int, name: str) -> None:
    """Write down how a layer was made, of which channel, and how it was called."""
    own = str(layer.unique_id)
    record = dataclasses.replace(record, channel=channel, layer=own, name=name)
    write_record(layer, record)


def add_layer(viewer: Viewer, layer: Layer) -> None:
    """Add a layer, which the viewer gives another name where its own is taken."""
    name = layer.name
    viewer.add_layer(layer)
    record = record_of(layer)
    if record is not None and layer.name != name:
        write_record(layer, dataclasses.replace(record, name=layer.name))


def describe_layers(
    request: Request, outcome: Outcome
) -> list[tuple[int, LayerDataTuple]]:
    """Describe all layers there can be: an image of each channel, and labels."""
    first, settings = request.layers[0], request.settings
    number = settings.k if settings.palette is None else len(outcome.palette)
    plural = "" if number == 1 else "s"
    described = []
    for i, layer in enumerate(request.layers if outcome.images else ()):
        _, attributes, _ = layer.as_layer_data_tuple()
        kept = {name: attributes[name] for name in _LOOKS} | placement_of(layer)
        kept["name"] = f"{layer.name} in {number} color{plural}"
        levels = outcome.images
        if len(request.layers) > 1:
            levels = tuple(np.ascontiguousarray(image[..., i]) for image in levels)
        described.append((i, _described(levels, kept, layer, "image")))
    name = " + ".join(layer.name for layer in request.layers)
    attributes = labels_placement(first, request.source.channels) | {
        "name": f"{name} in {number} label{plural}",
        "colormap": outcome.colormap,
        "features": outcome.features,
        "opacity": 1.0,
    }
    described.append((0, _described(outcome.labels, attributes, first, "labels")))
    return described


def _described(
    levels: tuple[NDArray[Any], ...], attributes: dict[str, Any], like: Layer, kind: str
) -> LayerDataTuple:
    attributes["multiscale"] = like.multiscale
    data = list(levels) if like.multiscale else levels[0]
    return LayerDataTuple((data, attributes, kind))


def make_record(request: Request, outcome: Outcome) -> Record:
    """Return what the layers of an outcome remember of how they were made."""
    source, settings = request.source, request.settings
    now = datetime.datetime.now(datetime.UTC)
    mask: tuple[str | None, str | None] = None, None
    if source.mask is not None:
        mask = "", ""
    if isinstance(source.mask, Mask):
        mask = source.mask.name, source.mask.id
    # The error is that of the palette that was found.
    is_recolored = bool(settings.recolored)
    return Record(
        palette=outcome.palette,
        counts=outcome.counts,
        slices=outcome.slices,
        time=now.isoformat(),
        version=__version__,
        source=tuple(layer.name for layer in request.layers),
        source_ids=ids_of(request.layers),
        mask=mask[0],
        mask_id=mask[1],
        settings=settings,
        look=source.look,
        n_iter=outcome.n_iter,
        converged=outcome.converged,
        n_colors=outcome.n_colors,
        mse=None if is_recolored else outcome.mse,
        psnr=None if is_recolored else outcome.psnr,
        n_bytes=outcome.n_bytes,
    )


def ids_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return what layers are known by, whatever their names are."""
    return tuple(str(layer.unique_id) for layer in layers)


def make_features(
    palette: NDArray[Any],
    rgba: NDArray[np.float64],
    counts: NDArray[np.int64],
    slices: NDArray[np.intp] | None,
) -> pd.DataFrame:
    """Return what is known about each label, from 1 on."""
    import pandas as pd

    table = {
        "index": np.arange(1, len(palette) + 1),
        "hex": hex_colors(rgba),
        "pixels": counts,
        "share": counts / max(1, counts.sum()),
    }
    if slices is not None:
        table["slice"] = slices
    return pd.DataFrame(table)
