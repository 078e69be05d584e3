"""The clusters of a result as a table: names, colors, mean values, areas and shares.

`cluster_table` is the public function. It returns what the layer remembers, or measures
its labels, in each slice along an axis if one is asked for. The features of labels are
the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import ArrayLike

from napari_kmeans._core.arguments import checked_integer, is_lazy, real_array
from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.measuring import measure_labels
from napari_kmeans._napari.axes import axes_made_with, pixel_area, space_axes
from napari_kmeans._napari.colors import hex_colors
from napari_kmeans._napari.layers import (
    AnyMask,
    Look,
    Source,
    colors_shown,
    draw_mask,
    quoted,
    read_levels,
    read_source,
    with_mask,
)
from napari_kmeans._napari.placement import levels_of
from napari_kmeans._napari.record import Record, record_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cluster_table"]

_RGBA = ("red", "green", "blue", "alpha")


def cluster_table(
    layer: Image | Labels,
    *,
    axis: int | str | None = None,
    image: Image | ArrayLike | Sequence[Image | ArrayLike] | None = None,
    mask: AnyMask | None = None,
) -> pd.DataFrame:
    """Return the table of the clusters of a result, with a row for each.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        A layer that `quantize_layer` or the widget made.
    axis : int or str, optional
        Axis of a labels layer each slice of which is measured by itself, or the label
        of the axis, such as ``"t"``. The table then has a row for each cluster in each
        slice.
    image : layer or array_like, or sequence of these, optional
        What `quantize_layer` was given, or its data: where the labels of a labels layer
        are measured. Without it, what is measured now has no mean values.
    mask : napari.layers.Labels, napari.layers.Shapes or bool ndarray, optional
        The pixels to measure, as in `quantize_layer`.

    Returns
    -------
    table : pandas.DataFrame
        Rows in the order of slices, then labels. The columns are

        - ``index``: the label;
        - ``name``: as somebody has called the cluster, or "";
        - ``slice``: where slices have palettes of their own, or along an `axis`;
        - ``hex``: the color in which the layer shows the cluster;
        - ``mean``, or ``mean red`` and so on for each channel: the mean value of the
          pixels in the units of the image, NaN where there are none or it is unknown;
        - ``pixels``: how many there are, of finite values;
        - ``area``: the same in ``area_unit``, such as "µm²", along the axes that are
          space. Time, channels, and slices with palettes of their own are none;
        - ``share``: of all pixels that are counted, or of those in the slice, 0 to 1.

        Where the palette was fitted inside of a mask, pixels are counted there only.

    Raises
    ------
    TypeError
        If `layer`, `axis`, `image` or `mask` is none of what it can be, or an array is
        masked.
    ValueError
        If `layer` is no such result, or an image that is to be measured, `axis` is none
        of its axes, or not that of slices that have palettes of their own, `image` or
        `mask` has not the shape of the labels, `mask` is missing where the palette was
        fitted inside of one, or is a layer with the axis of channels, and `image` none.

    See Also
    --------
    quantize_layer : Make such a layer.

    Notes
    -----
    Without `axis`, `image` and `mask`, the numbers are those that were found when the
    layer was made, and in a viewer with the widget those since the last paint. With any
    of them, all labels are read now. Labels that stand for no cluster are not in the
    table.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> from napari_kmeans import cluster_table, quantize_layer
    >>> frames = np.array([[[1, 1, 9]], [[3, 9, 9]]], dtype=np.uint8)
    >>> cells = Image(frames, axis_labels=("t", "y", "x"), scale=(1, 2, 2))
    >>> (labels,) = quantize_layer(cells, 2, output="labels")
    >>> table = cluster_table(labels, axis="t", image=cells)
    >>> table[["slice", "index", "mean", "pixels", "area"]]
       slice  index  mean  pixels  area
    0      0      1   1.0       2   8.0
    1      0      2   9.0       1   4.0
    2      1      1   3.0       1   4.0
    3      1      2   9.0       2   8.0
    """
    layer = getattr(layer, "__wrapped__", layer)
    if not isinstance(layer, Image | Labels):
        msg = f"layer must be an Image or a Labels layer, got {layer!r}"
        raise TypeError(msg)
    record = record_of(layer)
    if record is None:
        msg = f"layer must be a result that was made here, got {quoted(layer.name)}"
        raise ValueError(msg)
    n = len(record.palette)
    numbers = np.arange(n)
    slices, counts, means = record.slices, record.counts, record.means
    if axis is not None or image is not None or mask is not None:
        if not isinstance(layer, Labels):
            msg = f"layer must be a Labels layer to be measured, got {layer!r}"
            raise ValueError(msg)
        place = _checked_axis(layer, axis)
        counts, means = _measured(layer, record, place, image, mask)
        if slices is None and place is not None:
            slices = np.repeat(np.arange(len(counts) // n), n)
            numbers = np.tile(numbers, len(counts) // n)
    return _table(layer, record, numbers, slices, counts, means)


def _table(
    layer: Layer,
    record: Record,
    numbers: Array,
    slices: Array | None,
    counts: Array,
    means: Floats | None,
) -> pd.DataFrame:
    """Return the table of rows that have entries (n,), slices, pixels and means."""
    import pandas as pd

    look = record.look or Look(is_rgb=record.palette.shape[1:] in [(3,), (4,)])
    hexes = np.array(hex_colors(colors_shown(layer, record.palette, look)), object)
    names = np.array(record.names or [""] * len(record.palette), object)
    columns = _mean_columns(record, look)
    if means is None:
        means = np.full((len(numbers), len(columns)), np.nan)
    axes = space_axes(layer)
    size, unit = pixel_area(layer, axes) if axes else (np.nan, "")
    places = np.zeros(len(numbers), dtype=int) if slices is None else np.array(slices)
    totals = np.bincount(places, counts, 1)[places]
    table: dict[str, Any] = {
        "index": numbers + 1,
        "name": names[numbers],
        "slice": places,
        "hex": hexes[numbers],
        **dict(zip(columns, means.reshape(len(numbers), -1).T, strict=True)),
        "pixels": counts,
        "area": counts * size,
        "area_unit": unit,
        "share": counts / np.maximum(totals, 1),
    }
    if slices is None:
        del table["slice"]
    return pd.DataFrame(table)


def _mean_columns(record: Record, look: Look) -> list[str]:
    """Return the names of the columns of mean values."""
    n_channels = record.palette.size // max(1, len(record.palette))
    if n_channels == 1:
        return ["mean"]
    names: Sequence[str] = [str(channel) for channel in range(n_channels)]
    if look.is_rgb:
        names = _RGBA[:n_channels]
    elif len(record.source) == n_channels and len(set(record.source)) == n_channels:
        names = record.source
    return [f"mean {name}" for name in names]


# Labels that are measured.


def _checked_axis(layer: Labels, axis: int | str | None) -> int | None:
    """Return an axis of labels, counted from the first, to measure each slice along.

    It is None where slices have palettes of their own, for each label is of one slice.
    """
    if axis is None:
        return None
    names = list(layer.axis_labels)
    place = names.index(axis) if isinstance(axis, str) and axis in names else axis
    if not isinstance(place, str):
        place = checked_integer("axis", place, None, None)
    if isinstance(place, str) or not -layer.ndim <= place < layer.ndim:
        msg = f"axis must be one of the axes {tuple(names)} of the labels, got {axis!r}"
        raise ValueError(msg)
    place %= layer.ndim
    _, own = axes_made_with(layer)
    if own is None:
        return place
    if place != own:
        msg = (
            f"axis must be {own}, each slice along which has a palette of its own, "
            f"got {axis!r}"
        )
        raise ValueError(msg)
    return None


def _measured(
    layer: Labels,
    record: Record,
    axis: int | None,
    image: Any,
    mask: AnyMask | None,
) -> tuple[Array, Floats | None]:
    """Return pixels and means of each entry, or of each in each slice along an axis."""
    images = [] if image is None else _listed(image)
    labels, n = _read([levels_of(layer)[0]], None), len(record.palette)
    inside = _inside(layer, record, images, mask)
    if inside is not None:
        labels = labels * inside
    values = labels[..., np.newaxis]
    if images:
        values = _values(record, images, tuple(labels.shape))
    if axis is not None:
        labels, values = np.moveaxis(labels, axis, 0), np.moveaxis(values, axis, 0)
    # Whatever stands for no entry is counted as background.
    n_slices = 1 if axis is None else labels.shape[0]
    dtype = np.min_scalar_type(n_slices * (n + 1))
    regions = np.where((labels > 0) & (labels <= n), labels, 0).astype(dtype)
    if axis is not None:
        starts = (n + 1) * np.arange(n_slices, dtype=dtype)
        regions = regions + starts.reshape(-1, *(1,) * (regions.ndim - 1))
    counts, means = measure_labels(values, regions, n_slices * (n + 1))
    is_entry = np.tile(np.arange(n + 1) > 0, n_slices)
    return counts[is_entry], means[is_entry] if images else None


def _listed(image: Any) -> list[Any]:
    """Return layers or arrays as a list, also one of them."""
    several = list(image) if isinstance(image, list | tuple) else [image]
    return [getattr(one, "__wrapped__", one) for one in several]


def _inside(
    layer: Labels, record: Record, images: list[Any], mask: AnyMask | None
) -> Array | None:
    """Return the pixels that are measured, with the axes of the labels."""
    if mask is None:
        if record.mask is not None:
            name = quoted(record.mask) if record.mask else "a mask"
            msg = f"mask must be given, as the palette was fitted inside of {name}"
            raise ValueError(msg)
        return None
    data, (axis, _) = levels_of(layer)[0], axes_made_with(layer)
    source, on = Source(((data,),), axis, Look(is_rgb=False), layer.name), layer
    if isinstance(mask, Labels | Shapes):
        if images and all(isinstance(one, Image) for one in images):
            source, on = read_source(images, record.channel_axis), images[0]
        elif axis is not None and mask.ndim >= layer.ndim - axis:
            # Labels do not tell where single channels lie.
            name = quoted(mask.name)
            msg = f"image must be a layer, as {name} has an axis of channels"
            raise ValueError(msg)
    inside = with_mask(source, mask, on).mask
    assert inside is not None
    return draw_mask(inside).reshape(data.shape)


def _values(record: Record, images: list[Any], shape: tuple[int, ...]) -> Array:
    """Return the values (..., C) in which labels of a shape are measured."""
    axis = record.channel_axis
    if all(isinstance(one, Image) for one in images):
        source = read_source(images, axis)
        arrays, axis = source.levels[0], source.channel_axis
    else:
        arrays = tuple(
            one if is_lazy(one) else real_array("image", one) for one in images
        )
        shapes = [tuple(array.shape) for array in arrays]
        if len(set(shapes)) > 1:
            msg = f"image must be arrays of one shape, got {shapes}"
            raise ValueError(msg)
        axis = -1 if len(arrays) > 1 else axis
    values = _read(arrays, axis)
    values = values[..., np.newaxis] if axis is None else np.moveaxis(values, axis, -1)
    if axis is not None and axis > 0:
        values = np.expand_dims(values, axis)
    wanted = *shape, record.palette.size // max(1, len(record.palette))
    if values.shape != wanted:
        msg = (
            f"image must have the pixels of the labels, {shape}, of {wanted[-1]} "
            f"channels each, got {values.shape[:-1]} of {values.shape[-1]}"
        )
        raise ValueError(msg)
    return values


def _read(arrays: Sequence[Any], channel_axis: int | None) -> Array:
    """Read arrays, several of which become channels, unless they are lazy or large."""
    source = Source((tuple(arrays),), channel_axis, Look(is_rgb=False), "")
    return read_levels(source)[0]
