"""From a palette to the pixels of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._core.cells import MAX_CELL_CHANNELS, build_cells, label_cells
from napari_kmeans._core.color_counts import (
    count_colors,
    cut_rows,
    finite_pixels,
    is_tabular,
    paint,
    pixel_blocks,
)
from napari_kmeans._core.dither import diffuse_error, mix_colors, pick_labels
from napari_kmeans._core.nearest import nearest
from napari_kmeans._core.spaces import Space, centers_of, is_plain, points_of, space_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_kmeans._core.arguments import Dither, Layout

__all__ = [
    "color_pixels",
    "finite_mask",
    "keep_uncounted",
    "label_pixels",
    "label_type",
    "move_channels",
]

# Pixels dithered in order at once, with a table of all colors and without.
_TABULAR_SLAB = 1 << 22
_OTHER_SLAB = 1 << 18
# Pixels colored at once, whose labels become indices of 8 bytes.
_COLORED = 1 << 17
# Pixels that are worth a table of all pairs.
_PAIRED = 1 << 20
# Centers that are sooner all compared than left out with the help of cells.
_FEW_CENTERS = 16


def label_pixels(
    image: NDArray[Any], palette: NDArray[Any], layout: Layout, dither: Dither
) -> NDArray[np.unsignedinteger[Any]]:
    """Label each pixel of an image (..., C) with a color of a palette (K, C)."""
    colors = None
    if is_tabular(image.dtype, layout.n_channels):
        counted = count_colors(image)
        colors = None if counted is None else counted.colors

    def blocks() -> Iterator[NDArray[Any]]:
        if colors is not None:
            yield colors
            return
        for _, block in pixel_blocks(image):
            if len(finite := finite_pixels(block)):
                yield finite

    shape = image.shape[:-1]
    if next(blocks(), None) is None:
        return np.zeros(shape, label_type(len(palette)))
    space = space_of(layout.space, layout.has_alpha, blocks)
    centers = centers_of(palette, space)
    # Planes of rows, also where the image has only one axis or none.
    lines = (1,) * (3 - image.ndim) + image.shape
    planes = image
    if dither is not None:
        native = image.dtype.newbyteorder("=")
        planes = image.astype(native, copy=False).reshape(-1, *lines[-3:])
    if dither == "ordered":
        return _ordered(planes, colors, centers, space).reshape(shape)
    labels = _nearest_labels(planes, colors, centers, space)
    if dither is not None:
        labels = _diffused(planes, labels, palette, centers, space)
    return labels.reshape(shape)


def color_pixels(
    labels: NDArray[np.unsignedinteger[Any]], palette: NDArray[Any]
) -> NDArray[Any]:
    """Give ``palette[labels]``, where a color is one item and not C numbers."""
    items, flat = _items(palette), np.ascontiguousarray(labels).reshape(-1)
    colored = np.empty(flat.shape, items.dtype)
    n_paired = 0
    if flat.dtype == np.uint8 and len(flat) >= _PAIRED:
        # Two labels at a time are half as many look-ups.
        n_paired = len(flat) // 2 * 2
        table = _pairs(items)
        _look_up(
            table, flat[:n_paired].view("<u2"), colored[:n_paired].view(table.dtype)
        )
    _look_up(items, flat[n_paired:], colored[n_paired:])
    return colored.view(palette.dtype).reshape(*labels.shape, palette.shape[1])


def keep_uncounted(
    quantized: NDArray[Any], image: NDArray[Any], has_alpha: bool
) -> None:
    """Put back the pixels (..., C) that are not finite, or not seen at all."""
    if image.dtype.kind != "f" and not has_alpha:
        return
    target = quantized
    if image.flags.c_contiguous:
        target = quantized.reshape(-1, quantized.shape[-1])
    for index, block in pixel_blocks(image):
        uncounted = _is_uncounted(block, has_alpha)
        if uncounted.any():
            part = target[index]
            where = uncounted.reshape(*part.shape[:-1], 1)
            np.copyto(part, block.reshape(part.shape), where=where)


def finite_mask(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the pixels (...) of an image (..., C) that are finite."""
    finite = np.empty(image.shape[:-1], dtype=bool)
    for box in cut_rows(finite.shape, _COLORED):
        np.isfinite(image[box]).all(axis=-1, out=finite[box])
    return finite


def move_channels(image: NDArray[Any], axis: int) -> NDArray[Any]:
    """Give an image (..., C) in one piece, with its channels along `axis`."""
    moved = np.moveaxis(image, -1, axis)
    if moved.flags.c_contiguous:
        return moved
    placed = np.empty(moved.shape, image.dtype)
    target = np.moveaxis(placed, axis, -1)
    for box in cut_rows(image.shape[:-1], _COLORED):
        target[box] = image[box]
    return placed


def label_type(n_colors: int) -> type[np.unsignedinteger[Any]]:
    """Give the dtype of labels of a palette."""
    return np.uint8 if n_colors <= 256 else np.uint16


def _look_up(table: NDArray[Any], index: NDArray[Any], found: NDArray[Any]) -> None:
    """Put the items of a table, block by block, into `found`."""
    for start in range(0, len(index), _COLORED):
        checkpoint()
        block = slice(start, start + _COLORED)
        # No index is out of range: "clip" only spares the check.
        table.take(index[block], out=found[block], mode="clip")


def _pairs(items: NDArray[Any]) -> NDArray[Any]:
    """Give each two of up to 256 items as one, the first by the lower byte."""
    padded = items.take(np.arange(256), mode="clip")
    pairs = np.empty((256, 256, 2), items.dtype)
    pairs[..., 0] = padded
    pairs[..., 1] = padded[:, np.newaxis]
    return pairs.view(f"V{2 * items.dtype.itemsize}").reshape(-1)


def _items(palette: NDArray[Any]) -> NDArray[Any]:
    """View colors (K, C) as items (K,)."""
    palette = np.ascontiguousarray(palette)
    return palette.view(f"V{palette.dtype.itemsize * palette.shape[1]}")[:, 0]


def _nearest_labels(
    image: NDArray[Any],
    colors: NDArray[Any] | None,
    centers: NDArray[np.float64],
    space: Space,
) -> NDArray[np.unsignedinteger[Any]]:
    """Label pixels (..., C), all of `colors` if these are given."""
    dtype = label_type(len(centers))
    if colors is not None:
        found = _nearest_of(points_of(colors, space), centers)
        return paint(image, colors, found.astype(dtype))
    labels = np.empty(image.shape[:-1], dtype)
    target = labels.reshape(-1) if image.flags.c_contiguous else labels
    for index, block in pixel_blocks(image):
        finite = np.isfinite(block).all(axis=1)
        found = np.zeros(len(block), dtype=np.intp)
        found[finite] = _nearest_of(points_of(block[finite], space), centers)
        target[index] = found.reshape(target[index].shape)
    return labels


def _nearest_of(points: NDArray[Any], centers: NDArray[np.float64]) -> NDArray[Any]:
    """Index the nearest of centers (K, D) for points (n, D)."""
    n, n_channels = points.shape
    if n == 0 or n_channels > MAX_CELL_CHANNELS or len(centers) <= _FEW_CENTERS:
        return nearest(points, centers)[0]
    return label_cells(build_cells(points, np.ones(n, np.uint8)), centers)


def _diffused(
    planes: NDArray[Any],
    labels: NDArray[np.unsignedinteger[Any]],
    palette: NDArray[Any],
    centers: NDArray[np.float64],
    space: Space,
) -> NDArray[np.unsignedinteger[Any]]:
    """Diffuse the errors of labeled planes (n, rows, columns, C)."""
    if is_plain(space) and planes.dtype.kind in "bu" and planes.dtype.itemsize <= 2:
        # Small whole numbers are as good in units of the image, and need no copy.
        return diffuse_error(planes, palette.astype(np.float64), labels)
    still = np.empty(labels.shape, dtype=bool)
    points = np.empty((*labels.shape, centers.shape[1]))
    for index in _slabs(labels.shape, _OTHER_SLAB):
        pixels = planes[index].reshape(-1, planes.shape[-1])
        skipped = _is_uncounted(pixels, space.has_alpha)
        seen = np.zeros((len(pixels), centers.shape[1]))
        seen[~skipped] = points_of(pixels[~skipped], space)
        points[index] = seen.reshape(points[index].shape)
        still[index] = skipped.reshape(still[index].shape)
    return diffuse_error(points, centers, labels, still)


def _ordered(
    planes: NDArray[Any],
    colors: NDArray[Any] | None,
    centers: NDArray[np.float64],
    space: Space,
) -> NDArray[np.unsignedinteger[Any]]:
    """Dither planes (n, rows, columns, C) by thresholds."""
    labels = np.empty(planes.shape[:-1], label_type(len(centers)))
    if colors is not None:
        mixed = _mixed(colors, centers, space)
        number = np.arange(len(colors), dtype=np.uint32)
    for index in _slabs(labels.shape, _OTHER_SLAB if colors is None else _TABULAR_SLAB):
        pixels = planes[index]
        shape = pixels.shape[:-1]
        if colors is None:
            some = _mixed(pixels.reshape(-1, planes.shape[-1]), centers, space)
            first, second, share = (column.reshape(shape) for column in some)
        else:
            place = paint(pixels, colors, number)
            checkpoint()
            first, second, share = (column.take(place) for column in mixed)
        checkpoint()
        labels[index] = pick_labels(first, second, share, (index[1].start, 0))
    return labels


def _mixed(
    colors: NDArray[Any], centers: NDArray[np.float64], space: Space
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """Give the two labels of each color (n, C), and the share of the second."""
    dtype = label_type(len(centers))
    first, second = np.zeros((2, len(colors)), dtype)
    share = np.zeros(len(colors), dtype=np.float32)
    finite = np.isfinite(colors).all(axis=1)
    points = points_of(colors[finite], space)
    first[finite] = labels = _nearest_of(points, centers)
    mixtures = mix_colors(points, centers, labels)
    second[finite], share[finite] = mixtures
    share[_is_uncounted(colors, space.has_alpha)] = 0
    return first, second, share


def _is_uncounted(colors: NDArray[Any], has_alpha: bool) -> NDArray[np.bool_]:
    """Find the colors (n, C) that are not finite, or not seen at all."""
    uncounted = ~np.isfinite(colors).all(axis=1)
    if has_alpha:
        uncounted |= colors[:, -1] <= 0
    return np.asarray(uncounted)


def _slabs(shape: tuple[int, ...], size: int) -> Iterator[tuple[slice, slice]]:
    """Cut planes (n, rows, columns) into whole planes, or rows of one."""
    n, rows, columns = shape
    n_planes, n_rows = max(1, size // (rows * columns)), max(1, size // columns)
    for plane in range(0, n, n_planes):
        for row in range(0, rows, n_rows if n_planes == 1 else rows):
            end = min(row + n_rows, rows) if n_planes == 1 else rows
            yield slice(plane, plane + n_planes), slice(row, end)
