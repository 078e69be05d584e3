"""The points of an image behind one face: counted colors, or blocks of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._cells import (
    MAX_CELL_CHANNELS,
    Partition,
    build_cells,
    label_cells,
    partition_cells,
)
from napari_kmeans._color_counts import ColorCounts, finite_pixels, pixel_blocks
from napari_kmeans._nearest import nearest
from napari_kmeans._points import Frame, frame_between, to_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Blocks = Callable[[], Iterator[tuple[NDArray[Any], NDArray[Any]]]]

__all__ = [
    "Measure",
    "PointSource",
    "counted_source",
    "frame_of_pixels",
    "pixel_source",
]

# Integers are summed in digits of this many bits, exactly for up to 2^31 pixels.
_DIGIT = 22
# Shares of the pixels that lie below and above the coarse grid in a channel, so that
# a few hot pixels cannot stretch it.
_TAIL = 1e-3
# Bits per channel of the coarse grid, for 1 to 4 channels.
_GRID_BITS = (12, 7, 5, 4)


class Measure(NamedTuple):
    """How centers (k, C) fit the points."""

    # Nearest center of each color, where colors were counted.
    labels: NDArray[np.intp] | None
    counts: NDArray[np.int64]
    # Mean squared distance of the points to their nearest centers.
    mse: float


class PointSource(NamedTuple):
    """What k-means asks of the points of an image; centers are (k, C)."""

    # Weights (k,) and sums (k, C) of the points nearest to each center.
    partition: Callable[[NDArray[np.float64]], Partition]
    # Up to m points of the largest weighted squared error, distinct, largest first.
    worst: Callable[[NDArray[np.float64], int], NDArray[np.float64]]
    measure: Callable[[NDArray[np.float64]], Measure]
    # Weighted points (n, C) that stand for all, at least k and not many more than m.
    coarse: Callable[[int, int], tuple[NDArray[Any], NDArray[Any]]]


def counted_source(counted: ColorCounts, frame: Frame) -> PointSource:
    """Give the colors of an image as points, weighted by their pixel numbers."""
    points = to_points(counted.colors, frame)
    weights = counted.counts
    if points.shape[1] > MAX_CELL_CHANNELS:
        return _block_source(lambda: iter([(points, weights)]), points.shape[1], 1)
    cells = build_cells(points, weights)

    def errors(centers: NDArray[np.float64]) -> tuple[NDArray[np.intp], Any]:
        labels = label_cells(cells, centers)
        error = np.zeros(len(points))
        for column, center in zip(points.T, centers.T, strict=True):
            error += np.square(column - center.take(labels))
        error *= weights
        return labels, error

    def worst(centers: NDArray[np.float64], m: int) -> NDArray[np.float64]:
        return _largest(points, errors(centers)[1], m)

    def measure(centers: NDArray[np.float64]) -> Measure:
        labels, error = errors(centers)
        total = np.bincount(labels, weights, len(centers))
        mse = float(error.sum() / weights.sum())
        return Measure(labels, total.astype(np.int64), mse)

    def coarse(k: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
        sizes = [len(level.weights) - 1 for level in cells.levels]
        finest = max(i for i, size in enumerate(sizes) if size <= max(m, sizes[0]))
        enough = next(i for i, size in enumerate(sizes) if size >= min(k, sizes[-1]))
        level = cells.levels[max(finest, enough)]
        return level.means[:, :-1].T, level.weights[:-1]

    return PointSource(
        lambda centers: partition_cells(cells, centers),
        worst,
        measure,
        coarse,
    )


def frame_of_pixels(image: NDArray[Any]) -> Frame:
    """Give the frame of the finite pixels of `image`, at least one."""
    blocks = (finite_pixels(block) for _, block in pixel_blocks(image))
    ends = [(block.min(axis=0), block.max(axis=0)) for block in blocks if len(block)]
    low, high = zip(*ends, strict=True)
    return frame_between(np.min(low, axis=0), np.max(high, axis=0))


def pixel_source(image: NDArray[Any], frame: Frame) -> PointSource:
    """Give the finite pixels of an image (..., C) as points, block by block."""

    def blocks() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for _, block in pixel_blocks(image):
            points = to_points(finite_pixels(block), frame)
            yield points, np.ones(len(points))

    is_integer = image.dtype.kind != "f"
    n_digits = -(-8 * image.dtype.itemsize // _DIGIT) if is_integer else 1
    return _block_source(blocks, image.shape[-1], n_digits)


def _block_source(blocks: Blocks, n_channels: int, n_digits: int) -> PointSource:
    """Give the source of points that come in blocks (m, C) with weights (m,)."""

    def add_up(label: Callable[[NDArray[Any]], NDArray[np.intp]], k: int) -> Partition:
        weights, sums = np.zeros(k), np.zeros((n_digits, n_channels, k))
        for points, weight in blocks():
            labels = label(points)
            weights += np.bincount(labels, weight, k)
            for channel, column in enumerate(points.T):
                for digit, part in enumerate(_digits(column, n_digits)):
                    sums[digit, channel] += np.bincount(labels, weight * part, k)
        total = sums[-1]
        for part in sums[-2::-1]:
            total = total * 2.0**_DIGIT + part
        return Partition(weights, total.T)

    def partition(centers: NDArray[np.float64]) -> Partition:
        return add_up(lambda points: nearest(points, centers)[0], len(centers))

    def worst(centers: NDArray[np.float64], m: int) -> NDArray[np.float64]:
        found = np.empty((0, n_channels))
        error = np.empty(0)
        for points, weight in blocks():
            squared = nearest(points, centers)[1] * weight
            found = np.concatenate((found, points))
            error = np.concatenate((error, squared))
            order = np.lexsort((*found.T[::-1], -error))
            distinct = np.ones(len(order), dtype=bool)
            distinct[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
            order = order[distinct][:m]
            found, error = found[order], error[order]
        return found[error > 0]

    def measure(centers: NDArray[np.float64]) -> Measure:
        total, error = np.zeros(len(centers)), 0.0
        for points, weight in blocks():
            labels, squared = nearest(points, centers)
            total += np.bincount(labels, weight, len(centers))
            error += float((weight * squared).sum())
        return Measure(None, total.astype(np.int64), error / float(total.sum()))

    def coarse(k: int, m: int) -> tuple[NDArray[Any], NDArray[Any]]:
        del k, m
        low, high = _core_range(blocks, n_channels)
        wide = np.sort(np.argsort(low - high, kind="stable")[:MAX_CELL_CHANNELS])
        bits = _GRID_BITS[len(wide) - 1]
        with np.errstate(divide="ignore"):
            scale = np.where(high > low, 2.0**bits / (high - low), 0.0)

        def cell(points: NDArray[Any]) -> NDArray[np.intp]:
            index = np.zeros(len(points), dtype=np.intp)
            for channel in wide:
                steps = (points[:, channel] - low[channel]) * scale[channel]
                index <<= bits
                index += np.clip(steps, 0, 2**bits - 1).astype(np.intp)
            return index

        cells = add_up(cell, 1 << bits * len(wide))
        used = cells.weights > 0
        weights = cells.weights[used]
        return cells.sums[used] / weights[:, np.newaxis], weights

    return PointSource(partition, worst, measure, coarse)


def _core_range(
    blocks: Blocks, n_channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give between which values (C,) nearly all points lie, to about 1 %."""
    # The leading half of a float32, not negative, grows with its value.
    histogram = np.zeros((n_channels, 1 << 16))
    for points, weight in blocks():
        for channel, column in enumerate(points.T):
            leading = column.astype(np.float32).view(np.uint32) >> 16
            histogram[channel] += np.bincount(leading, weight, 1 << 16)
    share = np.cumsum(histogram, axis=1) / histogram.sum(axis=1, keepdims=True)
    low = [np.searchsorted(row, _TAIL) for row in share]
    high = [np.searchsorted(row, 1 - _TAIL) + 1 for row in share]
    ends = np.array([low, high], dtype=np.uint32) << 16
    low, high = ends.view(np.float32).astype(np.float64)
    return low, high


def _digits(column: NDArray[Any], n_digits: int) -> Iterator[NDArray[Any]]:
    """Split whole numbers into digits, the lowest first."""
    for _ in range(n_digits - 1):
        high = np.floor(column / 2.0**_DIGIT)
        yield column - high * 2.0**_DIGIT
        column = high
    yield column


def _largest(
    points: NDArray[Any], error: NDArray[np.float64], m: int
) -> NDArray[np.float64]:
    """Give the m points of the largest error, largest first, none without error."""
    order = np.argsort(-error, kind="stable")[:m]
    return points[order[error[order] > 0]].astype(np.float64)
