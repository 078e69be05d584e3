"""Layers as arrays: what a computation reads of them, and in which colors they look.

`read_source` takes what image layers hold, `with_mask` what a Labels or Shapes layer
holds, both in the window's thread and without reading a pixel. `read_levels` and
`draw_mask` make arrays of that in any thread, in small pieces with a checkpoint before
each, or arrays of dask where the data are lazy or too large. `rgba_of` returns the
colors in which layers show a palette. Where layers lie is a matter for `placement`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_kmeans._core.arguments import is_lazy, lazy_array, plain_array
from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.blocks import checkpoint, cut_boxes
from napari_kmeans._core.chunks import callbacks_with
from napari_kmeans._core.quality import white_of
from napari_kmeans._napari.placement import Channels, levels_of, world_matrix
from napari_kmeans._pictures.display import visible_range

__all__ = [
    "OVERLAY",
    "AnyMask",
    "LayerError",
    "Look",
    "Mask",
    "Source",
    "colors_shown",
    "cut_tiles",
    "draw_mask",
    "fits_in_memory",
    "is_overlay",
    "label_colors",
    "labels_colormap",
    "quoted",
    "read_array",
    "read_levels",
    "read_mask",
    "read_source",
    "rgba_of",
    "with_mask",
]

# In the metadata of layers that are shown for a while only.
OVERLAY = "napari-kmeans overlay"
_MOST_LETTERS = 40
# Of the channels of an image that has no colors of its own, in the order of napari.
_CHANNEL_COLORS = np.array(
    [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float
)
# What to do about data with a mask of NumPy, which napari shows as if it had none.
_UNMASKED = "show np.ma.getdata(data), and choose a labels layer of what counts"
# Pixels times corners that are compared at once.
_COMPARED = 1 << 20
# Pixels of a tile, which is read and mapped when somebody looks at a part of it, and of
# the longer side of a level that is shown as a whole.
_TILE, _OVERVIEW = 1 << 22, 1 << 10
# Of labels layers, before napari repeats them.
_LABEL_COLORS = 49
# Points of an ellipse's outline, the last of which is the first again, as in napari.
_ELLIPSE = 100


AnyMask = Labels | Shapes | NDArray[np.bool_]


class LayerError(ValueError):
    """Layers cannot be quantized; the text says which, why, and what to do."""


class Look(NamedTuple):
    """How layers show the numbers of their channels."""

    is_rgb: bool
    # Of each channel; empty if channels are an axis that nothing is known about.
    colormaps: tuple[Any, ...] = ()
    contrast_limits: tuple[tuple[float, ...], ...] = ()
    gammas: tuple[float, ...] = ()


class Mask(NamedTuple):
    """What a layer holds, for a thread that must not touch it."""

    name: str
    id: str
    # Labels (...), or the corners of each shape and what kind of shape it is.
    labels: Any
    shapes: tuple[tuple[Floats, str], ...]
    # From pixels of the image, each channel being one, to those of the layer, along the
    # last axes of the image.
    matrix: Floats
    # Of the image, and the axis of it that holds channels.
    shape: tuple[int, ...]
    channel_axis: int | None


class Source(NamedTuple):
    """What layers hold, for a thread that must not touch them."""

    # Arrays of each layer, at each level of detail.
    levels: tuple[tuple[Any, ...], ...]
    # Axis of what `read_levels` returns, -1 if it is none of the layers' axes.
    channel_axis: int | None
    look: Look
    # Of the first layer.
    name: str
    # The pixels that palettes are fitted to, as `draw_mask` takes them.
    mask: Mask | NDArray[np.bool_] | None = None
    # As errors call it.
    mask_name: str = "the mask"

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is opacity."""
        return self.look.is_rgb and self.levels[0][0].shape[-1] == 4

    @property
    def channels(self) -> Channels | None:
        """Channels that are along an axis of the layer."""
        axis = self.channel_axis
        if axis is None or axis < 0:
            return None
        return Channels(axis, self.levels[0][0].shape[axis])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""
        return np.result_type(*(array.dtype for array in self.levels[0]))

    @property
    def n_bytes(self) -> list[int]:
        """Of the pixels at each level."""
        return [
            sum(array.dtype.itemsize * math.prod(array.shape) for array in arrays)
            for arrays in self.levels
        ]

    @property
    def n_channels(self) -> int | None:
        """Numbers of each color, None if these are no rows."""
        arrays, axis = self.levels[0], self.channel_axis
        if axis is None:
            return None
        return len(arrays) if len(arrays) > 1 else int(arrays[0].shape[axis])


def is_overlay(layer: Layer) -> bool:
    """Whether a layer is shown for a while only."""
    return OVERLAY in layer.metadata


def quoted(name: str) -> str:
    """Return a name in quotation marks, without its middle if it is long."""
    if len(name) > _MOST_LETTERS:
        half = _MOST_LETTERS // 2
        name = f"{name[:half].rstrip()}…{name[-half:].lstrip()}"
    return f"“{name}”"


def read_source(layers: Sequence[Image], channel_axis: int | None) -> Source:
    """Take the data of one layer, or of several that are channels, as they are now.

    Raises
    ------
    ValueError
        If several layers are not of one shape.
    """
    first = layers[0]
    data = [levels_of(layer) for layer in layers]
    for layer, levels in zip(layers, data, strict=True):
        if [x.shape for x in levels] != [x.shape for x in data[0]]:
            msg = (
                "layers that are channels must have one shape, got "
                f"{data[0][0].shape} of {first.name} and {levels[0].shape} of "
                f"{layer.name}"
            )
            raise ValueError(msg)
    # The channels of a layer that has an axis for them are shown as slices.
    is_plain = channel_axis is None or len(layers) > 1
    shown = layers if is_plain and not first.rgb else ()
    look = Look(
        bool(first.rgb),
        tuple(layer.colormap for layer in shown),
        tuple(tuple(map(float, layer.contrast_limits)) for layer in shown),
        tuple(float(layer.gamma) for layer in shown),
    )
    if first.rgb or len(layers) > 1:
        channel_axis = -1
    return Source(tuple(zip(*data, strict=True)), channel_axis, look, first.name)


def read_levels(source: Source) -> list[Array]:
    """Read all levels from wherever they are; several layers become their last axis.

    Levels of lazy data, and of data for which there is no memory, are arrays of dask.
    If there is one only, each further one has every second pixel of the one before, in
    the planes of the last two axes.
    """
    # Read, painted, and labeled with one to four bytes.
    is_read = not any(map(_is_chunked, source.levels[0]))
    is_read = is_read and fits_in_memory(3 * sum(source.n_bytes))
    axis = source.channel_axis if len(source.levels[0]) == 1 else None
    levels = []
    for some in source.levels:
        arrays = [read_array(x) if is_read else _opened(x, axis) for x in some]
        levels.append(arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1))
    n_axes = levels[0].ndim
    planes = _plane_axes(n_axes, source.channel_axis)
    half = tuple(slice(None, None, 1 + (axis in planes)) for axis in range(n_axes))
    is_whole = is_read or len(levels) > 1
    while not is_whole and max(levels[-1].shape[axis] for axis in planes) > _OVERVIEW:
        levels.append(levels[-1][half])
    return levels


def fits_in_memory(n_bytes: int) -> bool:
    """Whether so much memory is free."""
    import psutil

    return bool(n_bytes <= psutil.virtual_memory().available)


def cut_tiles(image: Any, channel_axis: int | None) -> Any:
    """Cut a lazy image into tiles that are quick to look at, of whole chunks if small.

    Other arrays stay as they are.
    """
    if not is_lazy(image):
        return image
    chunks = [max(lengths) for lengths in image.chunks]
    return image.rechunk(_tile(image.shape, chunks, channel_axis))


def _tile(
    shape: Sequence[int], chunks: Sequence[int], channel_axis: int | None
) -> tuple[int, ...]:
    """Return the shape of tiles of an array that is stored in chunks of a shape."""
    tile, planes = list(chunks), _plane_axes(len(shape), channel_axis)
    n_planes = math.prod(tile) // math.prod(tile[axis] for axis in planes)
    if channel_axis is not None:
        n_planes //= tile[channel_axis]
        tile[channel_axis] = shape[channel_axis]
    side = max(1, math.isqrt(_TILE // n_planes))
    for axis in planes:
        length = tile[axis]
        # As many chunks as fit into a tile, or as many tiles as a chunk is cut into.
        n_chunks, n_tiles = side // length, -(-length // side)
        tile[axis] = n_chunks * length if n_chunks else -(-length // n_tiles)
    return tuple(map(min, tile, shape))


def _plane_axes(n_axes: int, channel_axis: int | None) -> list[int]:
    """Return the axes of the planes that napari shows at first."""
    channel = None if channel_axis is None else channel_axis % n_axes
    return [axis for axis in range(n_axes) if axis != channel][-2:]


def rgba_of(palette: Array, look: Look) -> Floats:
    """Return the colors (K, 4), from 0 to 1, in which layers show a palette.

    They are those of 8 bits, as screens have, so that text can name them exactly.
    """
    if look.is_rgb:
        shown = palette.astype(np.float64) / white_of(palette.dtype)
    else:
        shown = _sum_of_channels(palette, look)
    rgba = np.ones((len(palette), 4))
    rgba[:, : shown.shape[1]] = np.rint(np.clip(shown, 0, 1) * 255) / 255
    return rgba


def label_colors(palette: Array, look: Look) -> Floats:
    """Return the colors (K, 4), from 0 to 1, in which labels show a palette.

    Of one channel, they are napari's own of labels 1 to K, which repeat after 49, for
    grays can hardly be told apart. Otherwise they are those of `rgba_of`.
    """
    from napari.utils.colormaps import label_colormap

    if look.is_rgb or palette.size > len(palette):
        return rgba_of(palette, look)
    numbers = np.arange(1, len(palette) + 1)
    return np.asarray(label_colormap(_LABEL_COLORS).map(numbers), dtype=np.float64)


def colors_shown(layer: Layer, palette: Array, look: Look) -> Floats:
    """Return the colors (K, 4), from 0 to 1, in which a result shows its palette."""
    if not isinstance(layer, Labels):
        return rgba_of(palette, look)
    # Also those of labels that are not shown now, because one was selected.
    colormap = copy(layer.colormap)
    colormap.use_selection = False
    numbers = np.arange(1, len(palette) + 1)
    return np.asarray(colormap.map(numbers), dtype=np.float64)


def _sum_of_channels(palette: Array, look: Look) -> Floats:
    """Add up the colors that layers show their channels in, or such as they might."""
    columns = palette.reshape(len(palette), -1).T.astype(np.float64)
    rgb = np.zeros((len(palette), 3))
    for i, column in enumerate(columns):
        if look.colormaps:
            part = _between(column, *visible_range(column, *look.contrast_limits[i]))
            rgb += look.colormaps[i].map(part ** look.gammas[i])[:, :3]
        else:
            part = _between(column, *visible_range(column, column.min(), column.max()))
            rgb += part[:, np.newaxis] * _CHANNEL_COLORS[i % len(_CHANNEL_COLORS)]
    return rgb


def _between(values: Floats, low: float, high: float) -> Array:
    """Return where `values` lie from `low`, 0, to `high`, 1."""
    if low == high:
        return (values > low).astype(np.float64)
    # Halves, for the range of float64 does not fit float64.
    part = (np.clip(values, low, high) / 2 - low / 2) / (high / 2 - low / 2)
    return np.clip(part, 0, 1)


def labels_colormap(rgba: Floats) -> Any:
    """Return a colormap with the colors (K, 4) for labels from 1 on."""
    from napari.utils.colormaps import DirectLabelColormap

    clear = np.zeros(4)
    colors: dict[int | None, Floats] = {None: clear, 0: clear}
    colors.update(enumerate(rgba, start=1))
    return DirectLabelColormap(color_dict=colors)


# Masks.


def with_mask(
    source: Source,
    mask: AnyMask,
    image: Image | Labels,
    viewer: Viewer | None = None,
) -> Source:
    """Take what a mask holds, and how it lies to the first layer of a source.

    A mask that is a layer lies where a viewer shows it, if there is one. Otherwise the
    units of both are converted, or left alone if they cannot be.

    Raises
    ------
    LayerError
        If the mask is a layer of more axes than the image.
    TypeError, ValueError
        If it is none of what it can be, or has another shape.
    """
    if isinstance(mask, Labels | Shapes):
        mask = getattr(mask, "__wrapped__", mask)
        if mask.ndim > image.ndim:
            msg = (
                f"Fit colors to: {quoted(mask.name)} has {mask.ndim} axes, and "
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
    checked = lazy_array if is_lazy(mask) else plain_array
    inside = checked("mask", mask, "pass mask.filled(False)")
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


def read_mask(
    layer: Labels | Shapes,
    image: Image | Labels,
    channels: Channels | None,
    units: Sequence[Any] | None,
) -> Mask:
    """Take what a layer holds, and how it lies to an image in a viewer of `units`."""
    shape = levels_of(image)[0].shape[: image.ndim]
    # napari lines the last axes of layers up.
    first = len(shape) - layer.ndim
    matrix = world_matrix(image, units)[first:, first:]
    matrix = np.linalg.inv(world_matrix(layer, units)) @ matrix
    labels: Any = None
    shapes: tuple[tuple[Array, str], ...] = ()
    if isinstance(layer, Shapes):
        shapes = tuple(zip(map(np.array, layer.data), layer.shape_type, strict=True))
    else:
        labels = levels_of(layer)[0]
    name, axis = layer.name, None if channels is None else channels.axis
    return Mask(name, str(layer.unique_id), labels, shapes, matrix, tuple(shape), axis)


def draw_mask(mask: Mask | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of the image that are labeled, or inside of shapes.

    A pixel is inside if any of its channels is. An array is returned as it is. Labels
    are lazy if they are so in the layer and do not fit in memory.
    """
    if not isinstance(mask, Mask):
        return mask
    inner = mask.shape[len(mask.shape) - len(mask.matrix) + 1 :]
    if mask.labels is None:
        inside = _drawn(mask, inner)
    else:
        is_same = np.allclose(mask.matrix, np.eye(len(mask.matrix)))
        is_same &= mask.labels.shape == inner
        is_kept = is_same and _is_chunked(mask.labels)
        is_kept = is_kept and not fits_in_memory(3 * math.prod(mask.shape))
        inside = (_opened if is_kept else read_array)(mask.labels) != 0
        if not is_same:
            inside = _nearest(inside, mask.matrix, inner)
    inside = np.broadcast_to(inside, mask.shape)
    axis = mask.channel_axis
    return inside if axis is None else np.any(inside, axis=axis)


def _drawn(mask: Mask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw shapes on an image of `shape`, to the pixel as `Shapes.to_labels` does.

    That holds the interpreter lock from the first pixel of a shape to the last.
    """
    # Into the pixels of the image.
    back = np.linalg.inv(mask.matrix)
    drawn = np.zeros(shape, dtype=bool)
    for corners, kind in mask.shapes:
        checkpoint()
        moved = corners @ back[:-1, :-1].T + back[:-1, -1]
        if kind in ("line", "path"):
            layer = Shapes([moved], shape_type=kind, ndim=len(shape))
            drawn |= np.asarray(layer.to_labels(shape)) != 0
            continue
        # Shapes keep single precision.
        outline = moved[:, -2:].astype(np.float32)
        if kind == "ellipse":
            outline = _ellipse(outline)
        drawn[_planes(moved, kind, shape)] |= _filled(outline, shape[-2:])
    return drawn


def _ellipse(box: NDArray[np.float32]) -> Floats:
    """Return the outline of an ellipse in a box (4, 2), as napari draws it.

    It begins and ends in the center, and is rounded where napari rounds.
    """
    center = box.mean(axis=0)
    around = box - center
    radii = np.stack([around[1] - around[0], around[2] - around[1]]) / 2
    angle = np.linspace(0, np.deg2rad(360), _ELLIPSE)
    circle = np.zeros((_ELLIPSE + 1, 2), dtype=np.float32)
    circle[1:] = np.column_stack([np.cos(angle), np.sin(angle)])
    outline: Floats = np.matmul(circle, radii) + center
    return outline


def _planes(corners: Array, kind: str, shape: tuple[int, ...]) -> Any:
    """Index the planes, if there are several, that a shape is in."""
    if len(shape) == 2:
        return ...
    # The same shape, drawn around the one pixel of each plane.
    angle = np.linspace(0, 2 * np.pi, len(corners), endpoint=False)
    around = np.column_stack([corners[:, :-2], 9 * np.cos(angle), 9 * np.sin(angle)])
    layer = Shapes([around], shape_type=kind, ndim=len(shape))
    return np.asarray(layer.to_labels((*shape[:-2], 1, 1)))[..., 0, 0] != 0


def _filled(outline: Array, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill a polygon on a plane, its edge included."""
    from skimage.measure import points_in_poly

    filled = np.zeros(shape, dtype=bool)
    low = np.clip(np.floor(outline.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, shape).astype(int)
    rows, columns = (np.arange(*ends) for ends in zip(low, high, strict=True))
    step = max(1, _COMPARED // (max(1, len(columns)) * len(outline)))
    for start in range(0, len(rows) if len(columns) else 0, step):
        checkpoint()
        some = rows[start : start + step]
        # The order of coordinates of skimage.draw, for the same rounding.
        points = np.stack(np.meshgrid(columns, some), axis=-1)
        found = points_in_poly(points.reshape(-1, 2), outline[:, ::-1])
        filled[np.ix_(some, columns)] = found.reshape(points.shape[:-1])
    return filled


def _nearest(
    inside: NDArray[np.bool_], matrix: Floats, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return the nearest values at the pixels of `shape`, and False beyond the edge."""
    from scipy import ndimage

    pixels, moved = inside.view(np.uint8), np.empty(shape, dtype=bool)
    for box in cut_boxes(shape, 8):
        offset = matrix[:-1] @ [*(side.start for side in box), 1]
        part = moved[box].view(np.uint8)
        options = {"output": part, "order": 0, "mode": "grid-constant"}
        ndimage.affine_transform(pixels, matrix[:-1, :-1], offset, **options)
    return moved


# Arrays of any kind.


def read_array(array: Any, index: Any = ...) -> Array:
    """Read an array, or its part at `index`.

    That has slices, places or numbers along the first axes. Dask reads its own arrays,
    and those that tell their chunks, as zarr's do, with a checkpoint before each task.
    All other kinds are read at once.
    """
    from dask.array import from_array
    from dask.base import compute, is_dask_collection

    if not _is_chunked(array):
        return plain_array("data", _part_of(array, index), _UNMASKED)
    if not is_dask_collection(array):
        array = from_array(array, name=False)
    look = (None, None, lambda *_: checkpoint(), None, None)
    (computed,) = compute(_part_of(array, index), callbacks=callbacks_with(look))
    return plain_array("data", computed, _UNMASKED)


def _part_of(array: Any, index: Any) -> Any:
    """Return the part of an array at slices, places or numbers of its first axes."""
    if not isinstance(index, tuple):
        return array[index]
    boxes = [some if isinstance(some, slice) else slice(None) for some in index]
    part = array[tuple(boxes)]
    # From the last one on, for a number takes its axis away.
    for axis, some in reversed(list(enumerate(index))):
        if not isinstance(some, slice):
            part = part[(slice(None),) * axis + (some,)]
    return part


def _is_chunked(array: Any) -> bool:
    """Whether an array is lazy: one of dask, or one that tells its chunks."""
    from dask.base import is_dask_collection

    if isinstance(array, np.ndarray):
        return False
    return is_dask_collection(array) or getattr(array, "chunks", None) is not None


def _opened(array: Any, channel_axis: int | None = None) -> Any:
    """Return an array of dask, of which nothing is read now."""
    from dask.array import asarray, from_array
    from dask.base import is_dask_collection

    if is_dask_collection(array):
        return lazy_array("data", asarray(array), _UNMASKED)
    stored = getattr(array, "chunks", None) or (1,) * len(array.shape)
    chunks = [int(np.max(lengths)) for lengths in stored]
    tile = _tile(array.shape, chunks, channel_axis)
    # A random name spares reading all of the array for one.
    return lazy_array("data", from_array(array, chunks=tile, name=False), _UNMASKED)
