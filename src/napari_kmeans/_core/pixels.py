"""The pixels that a palette is fitted to, as points in few or in many blocks.

`CountedImage` is what one count found in an image; `counted_image` makes it and hands
it on from the fit to the map. `fitted_pixels` turns it into `FittedPixels`, on which
k-means works. Their points are `PointsInCells`, where colors were counted or pixels are
few, or `PointsInBlocks`, read again and again, where there are too many colors to
count. Both serve the Protocol `Points`: what Lloyd's algorithm and the searches for a
start ask for. `fold_image` is how all of them read colors that are not counted: at
once, or in groups of chunks of dask arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core import cells
from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.arrays import Array, Floats, Indices, Labels, Mask
from napari_kmeans._core.blocks import checkpoint, cut
from napari_kmeans._core.cells import MAX_CELL_CHANNELS, WIDE, Partition
from napari_kmeans._core.chunks import fold_chunks
from napari_kmeans._core.color_counts import (
    ColorCounts,
    count_pixels,
    masked_blocks,
    trusted_counts,
)
from napari_kmeans._core.nearest import nearest, squared_distances
from napari_kmeans._core.quality import are_seen
from napari_kmeans._core.spaces import (
    Layout,
    Space,
    framing_colors,
    points_of,
    space_of,
    whole_bits,
)

__all__ = [
    "CountedImage",
    "FittedPixels",
    "Measure",
    "Points",
    "PointsInBlocks",
    "PointsInCells",
    "PointsInChunks",
    "added",
    "fitted_pixels",
    "fold_image",
    "framing_blocks",
    "is_fitted",
    "is_streamed",
    "seen_colors",
    "unseen_color",
    "weighted_points",
]

Found = TypeVar("Found")
# Points (m, D) with weights (m,).
Blocks: TypeAlias = Iterator[tuple[Array, Array]]

# Pixels that are sorted into cells where their colors are not counted.
_MOST_IN_CELLS = 1 << 22
# Bits of their points: those of 16-bit colors, or of 8-bit colors with opacity.
_MOST_CELL_BITS = 19
# Integers are summed in digits of this many bits: exactly in float64 for up to 2^31
# pixels, and in int64 for up to 2^41.
_DIGIT = 22
# Shares of the pixels that lie below and above the coarse grid in a channel, so that
# a few hot pixels cannot stretch it.
_TAIL = 1e-3
# The leading half of a float32 grows with its size; the first bit is the sign.
_SIGN = np.uint32(1 << 15)
# Bits per channel of the coarse grid, for 1 to 4 channels.
_GRID_BITS = (12, 7, 5, 4)


class Measure(NamedTuple):
    """How well centers (k, C) fit the points."""

    # Nearest center of each color, where colors were counted.
    labels: Labels | None
    counts: NDArray[np.int64]
    # Mean squared distance of the points to their nearest centers.
    mse: float


class Points(Protocol):
    """What k-means asks of weighted points; centers are (k, C)."""

    def partition(self, centers: Floats) -> Partition:
        """Return weights (k,) and sums (k, C) of the points nearest to each center."""

    def worst(self, centers: Floats, m: int) -> Floats:
        """Return up to m distinct points of the largest error, the largest first."""

    def measure(self, centers: Floats, excess: float = 0.0) -> Measure:
        """Return how well the centers fit, for whole numbers exactly.

        Of the square of the last coordinate, `excess` is the part that does not count.
        """

    def coarse(self, k: int, m: int) -> tuple[Array, Array]:
        """Return weighted points for all: at least k, and not many more than m."""


@dataclass(frozen=True, eq=False)
class CountedImage:
    """Images of one layout, and what one count found in them."""

    # (..., C); none where only counts were given.
    images: list[Array]
    masks: list[Mask | None]
    layout: Layout
    # Distinct finite colors (n, C) and the pixels of each under the masks; None where
    # there are too many colors, which are then read from the images.
    counted: ColorCounts | None = None
    # Pixels (n,) of each color outside of the masks, where these were counted, too.
    outside: Array | None = None

    @property
    def n_colors(self) -> int | None:
        """Number of distinct finite colors, or None if they are too many."""
        return None if self.counted is None else len(self.counted.colors)


class FittedPixels(NamedTuple):
    """Pixels that are finite, not fully transparent and not masked out, one or more."""

    # Their colors (n, C), where these are counted.
    counted: ColorCounts | None
    space: Space
    points: Points


def fitted_pixels(image: CountedImage) -> FittedPixels | None:
    """Return the pixels that a palette is fitted to, or None if none can be seen."""
    framing = list(framing_blocks(image))
    if not framing:
        return None
    counted, layout = image.counted, image.layout
    space = space_of(layout, lambda: framing)
    if counted is None:
        return FittedPixels(None, space, _streamed_points(image, space))
    (colors,), counts = seen_colors(image), counted.counts
    if len(colors) < len(counts):
        counts = counts[is_fitted(counted, layout)]
    points = weighted_points(points_of(colors, space), counts, whole_bits(space))
    return FittedPixels(trusted_counts(colors, counts), space, points)


def is_streamed(image: CountedImage) -> bool:
    """Whether chunks of dask arrays are read for every step."""
    return image.counted is None and any(map(is_lazy, image.images))


def fold_image(
    image: CountedImage,
    work: Callable[[CountedImage], Found],
    merge: Callable[[list[Found]], Found],
) -> Found:
    """Return what `work` finds in an image, or in groups of chunks and is merged."""
    if not is_streamed(image):
        return work(image)
    layout = image.layout

    def find(images: list[Array], masks: list[Mask | None]) -> Found:
        return work(CountedImage(images, masks, layout))

    return fold_chunks(image.images, image.masks, find, merge, "sum")


def framing_blocks(
    image: CountedImage, layout: Layout | None = None
) -> Iterator[Array]:
    """Yield the colors that are fitted, in blocks, or such as have the same space.

    The space is that of a `layout`, by default of the image. The least and the largest
    value of each channel are there, too.
    """
    if image.counted is not None:
        yield from seen_colors(image)
        return
    layout = layout or image.layout

    def find(part: CountedImage) -> list[Array]:
        return [framing_colors(block, layout) for block in seen_colors(part)]

    yield from fold_image(image, find, lambda found: list(itertools.chain(*found)))


def seen_colors(image: CountedImage) -> Iterator[Array]:
    """Yield the colors (n, C) that are fitted, or blocks of pixels not counted."""
    if image.counted is not None:
        fitted = is_fitted(image.counted, image.layout)
        if fitted.any():
            colors = image.counted.colors
            yield colors if fitted.all() else colors[fitted]
        return
    for block, _ in masked_blocks(image.images, image.masks):
        if len(colors := block[are_seen(block, image.layout.has_alpha)]):
            yield colors


def is_fitted(counted: ColorCounts, layout: Layout) -> Mask:
    """Return which colors (n,) a palette is fitted to."""
    fitted = counted.counts > 0
    if layout.has_alpha:
        fitted &= counted.colors[:, -1] > 0
    return fitted


def unseen_color(image: CountedImage) -> Array:
    """Return the commonest fully transparent color (1, C) under a mask, or none (0, C).

    Where colors are not counted, these are. It is black if they are too many, too.
    """
    none = np.empty((0, image.layout.n_channels), image.layout.dtype)
    if not image.layout.has_alpha:
        return none
    if image.counted is not None:
        colors, counts = image.counted.colors, image.counted.counts
    else:
        clear_masks: list[Mask | None] = []
        for pixels, mask in zip(image.images, image.masks, strict=True):
            is_clear = pixels[..., -1] <= 0
            clear_masks.append(is_clear if mask is None else is_clear & mask)
        found = count_pixels(image.images, clear_masks)
        if found is None:
            return np.zeros((1, none.shape[1]), none.dtype)
        if len(found[0]) == 0:
            return none
        colors, counts = found[0], found[1][:, 0]
    clear = np.where(colors[:, -1] <= 0, counts, 0)
    # The first one on a tie.
    commonest = clear.argmax()
    return colors[commonest : commonest + 1] if clear[commonest] else none


def weighted_points(points: Array, counts: Array, n_bits: int) -> Points:
    """Return distinct points (n, D) with weights (n,); see `PointsInCells`."""
    if points.shape[1] <= MAX_CELL_CHANNELS:
        return PointsInCells(points, counts, n_bits)
    # Products of integers could wrap.
    weights = counts.astype(np.float64)
    return PointsInBlocks(lambda: iter([(points, weights)]), points.shape[1], n_bits)


def _streamed_points(image: CountedImage, space: Space) -> Points:
    """Return the points of pixels whose colors are too many."""
    if is_streamed(image):
        return PointsInChunks(image, space)
    n_bits, n_channels = whole_bits(space), len(space.frame.origin)
    streamed = PointsInBlocks(
        lambda: _located(image, space), n_channels, n_bits, are_pixels=True
    )
    # Sums of small whole numbers fit cells, which spare most of the comparisons.
    if not 0 < n_bits <= _MOST_CELL_BITS or n_channels > MAX_CELL_CHANNELS:
        return streamed
    if sum(len(block) for block in seen_colors(image)) > _MOST_IN_CELLS:
        return streamed
    points = np.concatenate([points for points, _ in _located(image, space)])
    return PointsInCells(points, np.ones(len(points), np.uint8), n_bits, streamed)


def _located(image: CountedImage, space: Space) -> Iterator[tuple[Array, Array]]:
    """Yield blocks of pixels as points (m, D), and their weights."""
    for block in seen_colors(image):
        yield points_of(block, space), np.ones(len(block))


class PointsInCells:
    """Distinct points (n, D), D <= 4, weighted by their pixel numbers, in cells.

    They are whole numbers of `n_bits` or, if that is 0, floats. `grid` gives the coarse
    points, where the points are pixels and not distinct.
    """

    def __init__(
        self,
        points: Array,
        weights: Array,
        n_bits: int,
        grid: PointsInBlocks | None = None,
    ) -> None:
        # Sorted into their cells; nothing keeps the given ones.
        self._cells = cells.build_cells(points, weights)
        self._n_bits = n_bits
        self._grid = grid

    def partition(self, centers: Floats) -> Partition:
        """Return weights and sums of the points nearest to each center."""
        if self._n_bits == 0 and self._cells.is_wide:
            return cells.partition_about(self._cells, centers)
        return cells.partition_cells(self._cells, centers)

    def worst(self, centers: Floats, m: int) -> Floats:
        """Return up to m distinct points of the largest error."""
        labels = cells.label_sorted(self._cells, centers)
        return _worst(self._errors(labels, centers), m, centers.shape[1])[0]

    def measure(self, centers: Floats, excess: float = 0.0) -> Measure:
        """Return how well the centers fit."""
        labels = cells.label_sorted(self._cells, centers)
        given = cells.as_given(self._cells, labels)
        errors = self._errors(labels, centers)
        summed = _sum_errors(errors, centers, self._n_bits, excess)
        return _measured(summed, centers, self._n_bits, given)

    def coarse(self, k: int, m: int) -> tuple[Array, Array]:
        """Return the means of cells of one level."""
        if self._grid is not None:
            return self._grid.coarse(k, m)
        sizes = [len(level.weights) - 1 for level in self._cells.levels]
        finest = max(i for i, size in enumerate(sizes) if size <= max(m, sizes[0]))
        enough = next(i for i, size in enumerate(sizes) if size >= min(k, sizes[-1]))
        level = self._cells.levels[max(finest, enough)]
        return level.means[:, :-1].T, level.weights[:-1]

    def _errors(self, labels: Array, centers: Floats) -> Iterator[_Errors]:
        finest = self._cells.levels[-1]
        for block in cut(len(labels)):
            columns = finest.means[:, block]
            nearest_centers = centers.T.take(labels[block], axis=1)
            squared = squared_distances(columns.astype(np.float64), nearest_centers)
            yield _Errors(columns.T, finest.weights[block], labels[block], squared)


class PointsInBlocks:
    """Points in blocks (m, D) with weights (m,), which are read again for each step.

    They are whole numbers of `n_bits` or, if that is 0, floats. Pixels, each of weight
    1, are summed as integers if they are whole.
    """

    def __init__(
        self,
        blocks: Callable[[], Iterator[tuple[Array, Array]]],
        n_channels: int,
        n_bits: int,
        *,
        are_pixels: bool = False,
    ) -> None:
        self._blocks = blocks
        self._n_channels = n_channels
        self._n_bits = n_bits
        self._sum_type = np.dtype(np.int64 if are_pixels and n_bits else np.float64)

    def partition(self, centers: Floats) -> Partition:
        """Return weights and sums of the points nearest to each center."""
        about = centers if self._n_bits == 0 else None
        return self._add_up(partial(_nearest_to, centers), len(centers), about)

    def worst(self, centers: Floats, m: int) -> Floats:
        """Return up to m distinct points of the largest error."""

        def find(blocks: Blocks) -> tuple[Floats, Floats]:
            return _worst(_errors_of(blocks, centers), m, centers.shape[1])

        def merge(found: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
            points, error = map(np.concatenate, zip(*found, strict=True))
            return _leading(points, error, m)

        return self._fold(find, merge)[0]

    def measure(self, centers: Floats, excess: float = 0.0) -> Measure:
        """Return how well the centers fit."""
        n_bits = self._n_bits

        def find(blocks: Blocks) -> tuple[Any, ...]:
            return _sum_errors(_errors_of(blocks, centers), centers, n_bits, excess)

        return _measured(self._fold(find, added), centers, n_bits, None)

    def coarse(self, k: int, m: int) -> tuple[Array, Array]:  # noqa: ARG002
        """Return the means of the cells of a grid, whatever k and m are."""
        low, high = self._core_range()
        wide = np.sort(np.argsort(low - high, kind="stable")[:MAX_CELL_CHANNELS])
        bits = _GRID_BITS[len(wide) - 1]
        with np.errstate(divide="ignore"):
            scale = np.where(high > low, 2.0**bits / (high - low), 0.0)

        def cell(points: Array) -> Indices:
            index = np.zeros(len(points), dtype=np.intp)
            for channel in wide:
                steps = (points[:, channel] - low[channel]) * scale[channel]
                index <<= bits
                index += np.clip(steps, 0, 2**bits - 1).astype(np.intp)
            return index

        n_cells = 1 << bits * len(wide)
        cells = self._add_up(cell, n_cells)
        used = cells.weights > 0
        weights = cells.weights[used]
        means = cells.sums[used] / weights[:, np.newaxis]
        if self._n_bits == 0 and float(np.abs(means).max()) > WIDE:
            about = np.zeros((n_cells, self._n_channels))
            about[used] = means
            rest = self._add_up(cell, n_cells, about)
            means += rest.sums[used] / weights[:, np.newaxis]
        return means, weights

    def _fold(
        self,
        work: Callable[[Blocks], Found],
        merge: Callable[[list[Found]], Found],  # noqa: ARG002
    ) -> Found:
        """Return what `work` finds in all blocks, or in some and is merged."""
        return work(self._blocks())

    def _add_up(
        self,
        label: Callable[[Array], Indices],
        k: int,
        about: Floats | None = None,
    ) -> Partition:
        """Add up points by label, or what they differ from the points `about` them."""
        n_digits = max(1, _n_digits(self._n_bits))
        shape = n_digits, self._n_channels, k
        add = partial(_sum_points, label, shape, self._sum_type, about)
        weights, sums = self._fold(add, added)
        total = sums[-1].astype(np.float64)
        for part in sums[-2::-1]:
            total = total * 2.0**_DIGIT + part
        return Partition(weights.astype(np.float64), total.T, about is not None)

    def _core_range(self) -> tuple[Floats, Floats]:
        """Return between which values (C,) nearly all points lie, to about 1 %."""
        (histogram,) = self._fold(partial(_rank_points, self._n_channels), added)
        share = np.cumsum(histogram, axis=1) / histogram.sum(axis=1, keepdims=True)
        low = [_value(int(np.searchsorted(row, _TAIL))) for row in share]
        high = [_value(int(np.searchsorted(row, 1 - _TAIL)) + 1) for row in share]
        return np.array(low), np.array(high)


class PointsInChunks(PointsInBlocks):
    """Points of dask arrays, of which every step reads all chunks."""

    def __init__(self, image: CountedImage, space: Space) -> None:
        n_channels = len(space.frame.origin)
        n_bits = whole_bits(space)
        super().__init__(
            lambda: _located(image, space), n_channels, n_bits, are_pixels=True
        )
        self._image = image
        self._space = space

    def _fold(
        self, work: Callable[[Blocks], Found], merge: Callable[[list[Found]], Found]
    ) -> Found:
        """Return what `work` finds in groups of chunks, and is merged."""
        space = self._space
        return fold_image(self._image, lambda part: work(_located(part, space)), merge)


def _nearest_to(centers: Floats, points: Array) -> Indices:
    return nearest(points, centers)[0]


def added(found: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Add up the numbers that parts of the pixels have."""
    return tuple(map(sum, zip(*found, strict=True)))


def _sum_points(
    label: Callable[[Array], Indices],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    about: Floats | None,
    blocks: Blocks,
) -> tuple[Array, ...]:
    """Return the weights (k,) and sums, of a shape (n digits, C, k), by label."""
    n_digits, _, k = shape
    weights, sums = np.zeros(k), np.zeros(shape, dtype)
    for points, weight in blocks:
        labels = label(points)
        weights += np.bincount(labels, weight, k)
        for channel, column in enumerate(points.T):
            checkpoint()
            if about is not None:
                column = column - about[:, channel].take(labels)
            for digit, part in enumerate(_digits(column, n_digits)):
                added = np.bincount(labels, weight * part, k)
                sums[digit, channel] += added.astype(dtype, copy=False)
    return weights, sums


def _rank_points(n_channels: int, blocks: Blocks) -> tuple[Any, ...]:
    """Return the weights (C, 2^16) of classes of values."""
    histogram = np.zeros((n_channels, 1 << 16))
    for points, weight in blocks:
        for channel, column in enumerate(points.T):
            histogram[channel] += np.bincount(_rank(column), weight, 1 << 16)
    return (histogram,)


def _errors_of(blocks: Blocks, centers: Floats) -> Iterator[_Errors]:
    for points, weight in blocks:
        yield _Errors(points, weight, *nearest(points, centers))


def _rank(column: Array) -> Indices:
    """Rank numbers (n,) among 2^16 classes, which are about 1 % wide."""
    limit = np.finfo(np.float32).max
    single = np.clip(column, -limit, limit).astype(np.float32)
    leading = single.view(np.uint32) >> 16
    return np.where(leading < _SIGN, leading + _SIGN, 2 * _SIGN - 1 - leading).astype(
        np.intp
    )


def _value(rank: int) -> float:
    """Return the number that begins a class."""
    leading = rank - _SIGN if rank >= _SIGN else 2 * _SIGN - 1 - rank
    return float((np.array([leading], np.uint32) << 16).view(np.float32)[0])


class _Errors(NamedTuple):
    """Points (m, C) with weights (m,), their labels and squared distances (m,)."""

    points: Array
    weights: Array
    labels: Array
    squared: Floats


def _worst(errors: Iterable[_Errors], m: int, n_channels: int) -> tuple[Floats, Floats]:
    """Return up to m distinct points (n, C) of the largest error, and these errors."""
    found, error = np.empty((0, n_channels)), np.empty(0)
    for block in errors:
        squared = block.squared * block.weights
        # None below the m found so far can be among the first m.
        least = error[-1] if len(error) == m else 0.0
        chosen = np.flatnonzero(squared > 0 if least == 0 else squared >= least)
        points = block.points[chosen].astype(np.float64)
        found = np.concatenate((found, points))
        error = np.concatenate((error, squared[chosen]))
        found, error = _leading(found, error, m)
    return found, error


def _leading(points: Floats, error: Floats, m: int) -> tuple[Floats, Floats]:
    """Return up to m distinct points of the largest error, the largest first."""
    order = np.lexsort((*points.T[::-1], -error))
    distinct = np.ones(len(order), dtype=bool)
    distinct[1:] = (points[order[1:]] != points[order[:-1]]).any(axis=1)
    order = order[distinct][:m]
    return points[order], error[order]


def _fraction(centers: Floats, n_bits: int) -> int:
    """Return how many bits of squares after the binary point are measured.

    Squares of integers are cut there, so that their digits add up exactly.
    """
    is_whole = np.array_equal(centers, np.rint(centers))
    return 44 if n_bits > 0 and not is_whole else 0


def _sum_errors(
    errors: Iterable[_Errors], centers: Floats, n_bits: int, excess: float
) -> tuple[Any, ...]:
    """Return the weights (k,) of centers, and all digits of the error."""
    total = np.zeros(len(centers))
    is_integer, fraction = n_bits > 0, _fraction(centers, n_bits)
    n_digits = _n_digits(2 * n_bits + 8 + fraction) if is_integer else 1
    digits: list[Any] = [0] * n_digits
    for block in errors:
        total += np.bincount(block.labels, block.weights, len(centers))
        squared = block.squared
        if excess:
            last = block.points[:, -1] - centers[:, -1].take(block.labels)
            part = excess * np.square(last)
            # Whole between whole numbers, but for rounding.
            squared = squared - (np.rint(part) if is_integer else part)
        if is_integer:
            squared = np.floor(squared * 2.0**fraction)
        for i, part in enumerate(_digits(squared, n_digits)):
            share = float((block.weights * part).sum())
            digits[i] += int(share) if is_integer else share
    return total, *digits


def _measured(
    summed: tuple[Any, ...], centers: Floats, n_bits: int, labels: Labels | None
) -> Measure:
    """Return the measure of errors, for whole numbers exactly in any order."""
    total, *digits = summed
    fraction = _fraction(centers, n_bits)
    error = sum(digit * 2 ** (_DIGIT * i) for i, digit in enumerate(digits))
    mse = float(error / (int(total.sum()) << fraction))
    return Measure(labels, total.astype(np.int64), mse)


def _n_digits(bits: int) -> int:
    """Count the digits of whole numbers of so many bits."""
    return -(-bits // _DIGIT)


def _digits(column: Array, n_digits: int) -> Iterator[Array]:
    """Split whole numbers into digits, the lowest first."""
    for _ in range(n_digits - 1):
        high = np.floor(column / 2.0**_DIGIT)
        yield column - high * 2.0**_DIGIT
        column = high
    yield column
