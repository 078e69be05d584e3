"""From a palette to the pixels of an image.

`label_image` labels every pixel of a counted image with its nearest palette color, by
color where colors index a table and by pixel elsewhere, or dithers it. `color_pixels`
is the way from labels to colors. `label_lazily` and `color_lazily` do the same to dask
arrays, chunk by chunk and when they are looked at. Where distances are measured is left
to `spaces`, and how pixels are dithered to `dither`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from napari_kmeans._core import spaces
from napari_kmeans._core.arguments import Dithering
from napari_kmeans._core.arrays import Array, Floats, Labels
from napari_kmeans._core.blocks import cut, cut_boxes
from napari_kmeans._core.cells import MAX_CELL_CHANNELS, build_cells, label_cells
from napari_kmeans._core.chunks import map_chunks, whole_planes
from napari_kmeans._core.color_counts import ColorCounts, count_pixels
from napari_kmeans._core.color_tables import (
    empty_table,
    is_tabular,
    paint,
    paint_codes,
    pixel_blocks,
    put_values,
)
from napari_kmeans._core.dither import (
    Mixtures,
    diffuse_error,
    mix_colors,
    pick_labels,
)
from napari_kmeans._core.nearest import nearest
from napari_kmeans._core.pixels import CountedImage, framing_blocks
from napari_kmeans._core.quality import are_seen
from napari_kmeans._core.spaces import FARTHEST, Layout, Space

__all__ = [
    "chunk_labeler",
    "color_lazily",
    "color_pixels",
    "cut_for",
    "keep_uncounted",
    "label_colors",
    "label_image",
    "label_lazily",
    "label_type",
    "move_channels",
    "remember_labels",
    "space_for",
]

# Pixels that are worth a table of all pairs.
_PAIRED = 1 << 20
# Centers, and pairs with a point, that are sooner all compared than left out with the
# help of cells.
_FEW_CENTERS, _FEW_PAIRS = 16, 1 << 20
# Pixels of a plane of a dask array that errors are diffused in: all are in memory.
_MOST_DIFFUSED = 1 << 26


def label_image(
    image: Array,
    colors: Array | None,
    palette: Array,
    layout: Layout,
    dither: Dithering | None,
) -> Labels:
    """Label each pixel of an image (..., C) with a color of a palette (K, C).

    If `colors` (n, C) are given, they are all of a tabular image.
    """
    space = space_for(image, layout)
    return _labeled(image, [0, 0], colors, palette, space, dither)


def space_for(
    image: Array, layout: Layout, counts: ColorCounts | None = None
) -> Space | None:
    """Return a space for all finite pixels of an image, or None if there are none.

    With counts, which have all its colors, the pixels are not looked at.
    """
    if spaces.has_one_space(layout):
        return spaces.whole_space(layout)

    # All finite pixels, whether they can be seen or not.
    whole = CountedImage([image], [None], layout._replace(has_alpha=False), counts)
    blocks = list(framing_blocks(whole, layout))
    return spaces.space_of(layout, lambda: blocks) if blocks else None


def _labeled(
    image: Array,
    origin: Sequence[int],
    colors: Array | None,
    palette: Array,
    space: Space | None,
    dither: Dithering | None,
) -> Labels:
    """Label pixels (..., C), of which the first is at `origin` of a larger image."""
    shape = image.shape[:-1]
    if space is None:
        return np.zeros(shape, label_type(len(palette)))
    if dither is None and colors is not None:
        return paint(image, colors, label_colors(colors, palette, space))
    # Planes of rows, also where the image has only one axis or none.
    lines = (1,) * (3 - image.ndim) + image.shape
    planes = image
    if dither is not None:
        native = image.dtype.newbyteorder("=")
        planes = image.astype(native, copy=False).reshape(-1, *lines[-3:])
    centers = spaces.centers_of(palette, space)
    if dither is not None and dither.way == "ordered":
        first, strength = (0, 0, *origin)[-2:], dither.strength
        labels = _ordered(planes, first, colors, centers, space, strength)
        return labels.reshape(shape)
    if colors is not None:
        labels = paint(planes, colors, label_colors(colors, palette, space))
    else:
        labels = _label_blocks(planes, palette, space)
    if dither is not None:
        labels = _diffused(planes, labels, palette, centers, space, dither.strength)
    return labels.reshape(shape)


def chunk_labeler(
    image: Array, palette: Array, layout: Layout, dither: Dithering | None = None
) -> Callable[[Array, Sequence[int]], Labels]:
    """Return a function that labels any chunk (..., C) of a lazy image.

    It is called with the chunk and the place of its first pixel, and can be sent to
    other processes. Errors are diffused inside of a chunk; for what is read now, see
    `label_lazily`.
    """
    return partial(_label_chunk, palette, layout, space_for(image, layout), dither)


def label_lazily(
    image: Array,
    palette: Array,
    layout: Layout,
    dither: Dithering | None = None,
    counts: ColorCounts | None = None,
) -> Array:
    """Label each pixel of a lazy image (..., C), when it is looked at.

    Only if pixels have more than 16 bits per channel, and distances are between these
    numbers, they are read now, for the space, or their counts are asked.
    """
    space = space_for(image, layout, counts)
    work = partial(_label_chunk, palette, layout, space, dither)
    return map_chunks(cut_for(dither, image), work, label_type(len(palette)))


def cut_for(dither: Dithering | None, image: Array) -> Array:
    """Cut a lazy image (..., C) as a dither needs it, or say why it cannot be."""
    is_diffused = dither is not None and dither.way == "floyd-steinberg"
    return whole_planes(image, _MOST_DIFFUSED) if is_diffused else image


def color_lazily(image: Array, palette: Array, layout: Layout) -> Array:
    """Return a lazy image (..., C) in palette colors of its dtype; see `label_lazily`.

    Pixels that are not finite, or fully transparent, stay as they are.
    """
    work = partial(_color_chunk, chunk_labeler(image, palette, layout), palette, layout)
    return map_chunks(image, work, palette.dtype, keeps_channels=True)


def remember_labels(
    colors: Array, labels: Labels, palette: Array, layout: Layout
) -> None:
    """Spare this process to label some colors (n, C) of chunks, if they are tabular."""
    if is_tabular(layout.dtype, layout.n_channels):
        table = _label_table(palette.tobytes(), palette.dtype, layout)
        put_values(table, colors, labels)


def _label_chunk(
    palette: Array,
    layout: Layout,
    space: Space | None,
    dither: Dithering | None,
    chunk: Array,
    origin: Sequence[int],
) -> Labels:
    is_tabled = dither is None and is_tabular(layout.dtype, layout.n_channels)
    if space is None or not is_tabled:
        known = None
        if is_tabular(layout.dtype, layout.n_channels):
            # Each color is labeled, and mixed, once.
            known = count_pixels([chunk], [None])
        return _labeled(chunk, origin, known and known[0], palette, space, dither)
    table = _label_table(palette.tobytes(), palette.dtype, layout)
    find = partial(label_colors, palette=palette, space=space)
    labels = paint_codes(chunk, table, find)
    return labels.astype(label_type(len(palette)), copy=False)


@lru_cache(maxsize=2)
def _label_table(octets: bytes, dtype: np.dtype[Any], layout: Layout) -> Array:
    """Return a table that has no label for a palette yet, and room for one value more.

    A process keeps it for all chunks, which fill it.
    """
    n_colors = len(octets) // dtype.itemsize // layout.n_channels
    return empty_table(layout.dtype, layout.n_channels, np.min_scalar_type(n_colors))


def _color_chunk(
    label: Callable[[Array, Sequence[int]], Labels],
    palette: Array,
    layout: Layout,
    chunk: Array,
    origin: Sequence[int],
) -> Array:
    colored = color_pixels(label(chunk, origin), palette)
    keep_uncounted(colored, chunk, layout.has_alpha)
    return colored


def label_colors(colors: Array, palette: Array, space: Space) -> Labels:
    """Label finite colors (n, C) with their nearest ones in a palette (K, C)."""
    return _labeler(palette, space)(colors)


def _labeler(palette: Array, space: Space) -> Callable[[Array], Labels]:
    """Return `label_colors` for many calls with one palette."""
    centers = spaces.centers_of(palette, space)
    is_exact = space.layout.dtype.kind != "f" and space.layout.dtype.itemsize <= 2
    united = [] if is_exact else _united(palette, centers)

    def label(colors: Array) -> Labels:
        labels = _nearest_of(spaces.points_of(colors, space), centers)
        for own, lowest in united:
            near = np.flatnonzero(labels == lowest)
            labels[near[(colors[near] == palette[own]).all(axis=1)]] = own
        return labels.astype(label_type(len(centers)))

    return label


def _united(palette: Array, centers: Floats) -> list[tuple[int, int]]:
    """List the colors of a palette that rounding makes one center with a lower one.

    Each with the lowest that has this center, which is the nearest of both.
    """
    _, first, entries = np.unique(
        centers, axis=0, return_index=True, return_inverse=True
    )
    lowest = first[entries.reshape(-1)]
    own = np.flatnonzero((palette != palette[lowest]).any(axis=1))
    return list(zip(own.tolist(), lowest[own].tolist(), strict=True))


def _label_blocks(image: Array, palette: Array, space: Space) -> Labels:
    """Label the pixels of an image (..., C), those that are not finite with 0."""
    labels = np.empty(image.shape[:-1], label_type(len(palette)))
    target = labels.reshape(-1) if image.flags.c_contiguous else labels
    label = _labeler(palette, space)
    for index, block in pixel_blocks(image):
        finite = np.isfinite(block).all(axis=1)
        found = np.zeros(len(block), labels.dtype)
        found[finite] = label(block[finite])
        target[index] = found.reshape(target[index].shape)
    return labels


def _nearest_of(points: Array, centers: Floats) -> Array:
    """Index the nearest of centers (K, D) for points (n, D)."""
    n, n_channels = points.shape
    is_little = len(centers) <= _FEW_CENTERS or n * len(centers) <= _FEW_PAIRS
    if n_channels > MAX_CELL_CHANNELS or is_little:
        return nearest(points, centers)[0]
    return label_cells(build_cells(points, np.ones(n, np.uint8)), centers)


def color_pixels(labels: Labels, palette: Array) -> Array:
    """Return ``palette[labels]``, where a color is one item and not C numbers."""
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


def keep_uncounted(quantized: Array, image: Array, has_alpha: bool) -> None:
    """Put back the pixels (..., C) that are not finite, or not seen at all."""
    if image.dtype.kind != "f" and not has_alpha:
        return
    target = quantized
    if image.flags.c_contiguous:
        target = quantized.reshape(-1, quantized.shape[-1])
    for index, block in pixel_blocks(image):
        uncounted = ~are_seen(block, has_alpha)
        if uncounted.any():
            part = target[index]
            where = uncounted.reshape(*part.shape[:-1], 1)
            np.copyto(part, block.reshape(part.shape), where=where)


def move_channels(image: Array, axis: int) -> Array:
    """Return an image (..., C) in one piece, with its channels along `axis`."""
    moved = np.moveaxis(image, -1, axis)
    if moved.flags.c_contiguous:
        return moved
    placed = np.empty(moved.shape, image.dtype)
    target = np.moveaxis(placed, axis, -1)
    for box in cut_boxes(image.shape[:-1], image.shape[-1] * image.itemsize):
        target[box] = image[box]
    return placed


def label_type(n_colors: int) -> type[np.unsignedinteger[Any]]:
    """Return the dtype of labels of a palette."""
    return np.uint8 if n_colors <= 256 else np.uint16


def _look_up(table: Array, index: Array, found: Array) -> None:
    """Put the items of a table, block by block, into `found`."""
    # Labels become indices of 8 bytes.
    for block in cut(len(index), 8):
        # No index is out of range: "clip" only spares the check.
        table.take(index[block], out=found[block], mode="clip")


def _pairs(items: Array) -> Array:
    """Return each two of up to 256 items as one, the first by the lower byte."""
    padded = items.take(np.arange(256), mode="clip")
    pairs = np.empty((256, 256, 2), items.dtype)
    pairs[..., 0] = padded
    pairs[..., 1] = padded[:, np.newaxis]
    return pairs.view(f"V{2 * items.dtype.itemsize}").reshape(-1)


def _items(palette: Array) -> Array:
    """View colors (K, C) as items (K,)."""
    palette = np.ascontiguousarray(palette)
    return palette.view(f"V{palette.dtype.itemsize * palette.shape[1]}")[:, 0]


def _diffused(
    planes: Array,
    labels: Labels,
    palette: Array,
    centers: Floats,
    space: Space,
    strength: float,
) -> Labels:
    """Diffuse the errors of labeled planes (n, rows, columns, C)."""
    is_short = planes.dtype.kind in "bu" and planes.dtype.itemsize <= 2
    if spaces.is_plain(space) and is_short:
        # Small whole numbers are as good in units of the image, and need no copy.
        # As centers are, so that no square overflows.
        clipped = np.clip(palette.astype(np.float64), -FARTHEST, FARTHEST)
        return diffuse_error(planes, clipped, labels, strength=strength)
    still = np.empty(labels.shape, dtype=bool)
    points = np.empty((*labels.shape, centers.shape[1]))
    for box in cut_boxes(labels.shape, 8 * centers.shape[1]):
        pixels = planes[box].reshape(-1, planes.shape[-1])
        seen = are_seen(pixels, space.layout.has_alpha)
        located = np.zeros((len(pixels), centers.shape[1]))
        located[seen] = spaces.points_of(pixels[seen], space)
        points[box] = located.reshape(points[box].shape)
        still[box] = ~seen.reshape(still[box].shape)
    return diffuse_error(points, centers, labels, still, strength)


def _ordered(
    planes: Array,
    first_pixel: tuple[int, ...],
    colors: Array | None,
    centers: Floats,
    space: Space,
    strength: float,
) -> Labels:
    """Dither planes (n, rows, columns, C) by thresholds."""
    labels = np.empty(planes.shape[:-1], label_type(len(centers)))
    if colors is not None:
        mixtures = _mixed(colors, centers, space, strength)
        places = paint(planes, colors, np.arange(len(colors), dtype=np.uint32))
    for box in cut_boxes(labels.shape, 8 * planes.shape[-1]):
        if colors is None:
            pixels = planes[box].reshape(-1, planes.shape[-1])
            mixtures = _mixed(pixels, centers, space, strength)
            place = np.arange(len(pixels)).reshape(labels[box].shape)
        else:
            place = places[box]
        _, rows, columns = box
        origin = first_pixel[0] + rows.start, first_pixel[1] + columns.start
        labels[box] = pick_labels(mixtures, place, origin)
    return labels


def _mixed(colors: Array, centers: Floats, space: Space, strength: float) -> Mixtures:
    """Mix colors (n, C) of centers; what is not seen has its nearest one."""
    nearest_labels = np.zeros(len(colors), label_type(len(centers)))
    points = np.zeros((len(colors), centers.shape[1]))
    finite = np.isfinite(colors).all(axis=1)
    points[finite] = spaces.points_of(colors[finite], space)
    nearest_labels[finite] = _nearest_of(points[finite], centers)
    mixtures = mix_colors(points, centers, nearest_labels, strength)
    unseen = ~are_seen(colors, space.layout.has_alpha)
    mixtures.labels[0, unseen] = nearest_labels[unseen]
    mixtures.bounds[:, unseen] = 1
    return mixtures
