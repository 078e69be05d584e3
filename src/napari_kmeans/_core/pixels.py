"""The points of an image behind one face: counted colors, or blocks of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._core.cells import (
    MAX_CELL_CHANNELS,
    Partition,
    as_given,
    build_cells,
    label_sorted,
    partition_cells,
)
from napari_kmeans._core.nearest import nearest, squared_distances

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Blocks = Callable[[], Iterator[tuple[NDArray[Any], NDArray[Any]]]]


__all__ = [
    "Measure",
    "PointSource",
    "counted_source",
    "pixel_source",
]

# Integers are summed in digits of this many bits, exactly for up to 2^31 pixels.
_DIGIT = 22
# Shares of the pixels that lie below and above the coarse grid in a channel, so that
# a few hot pixels cannot stretch it.
_TAIL = 1e-3
# Bits per channel of the coarse grid, for 1 to 4 channels.
_GRID_BITS = (12, 7, 5, 4)
# Points that are measured at once.
_BLOCK = 1 << 16


class Measure(NamedTuple):
    """How centers (k, C) fit the points."""

    # Nearest center of each color, where colors were counted.
    labels: NDArray[np.unsignedinteger[Any]] | None
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


def counted_source(
    points: NDArray[Any], weights: NDArray[Any], n_bits: int
) -> PointSource:
    """Give points (n, D) of colors, weighted by their pixel numbers (n,).

    They are whole numbers of `n_bits` or, if that is 0, floats.
    """
    if points.shape[1] > MAX_CELL_CHANNELS:
        return _block_source(lambda: iter([(points, weights)]), points.shape[1], n_bits)
    cells = build_cells(points, weights)

    # These are sorted into their cells; nothing keeps the given ones.
    finest = cells.levels[-1]

    def errors(labels: NDArray[Any], centers: NDArray[np.float64]) -> Iterator[_Errors]:
        for start in range(0, len(labels), _BLOCK):
            checkpoint()
            label = labels[start : start + _BLOCK]
            block = slice(start, start + len(label))
            columns = finest.means[:, block]
            squared = squared_distances(
                columns.astype(np.float64), centers.T.take(label, axis=1)
            )
            yield _Errors(columns.T, finest.weights[block], label, squared)

    def worst(centers: NDArray[np.float64], m: int) -> NDArray[np.float64]:
        return _worst(errors(label_sorted(cells, centers), centers), m)

    def measure(centers: NDArray[np.float64]) -> Measure:
        labels = label_sorted(cells, centers)
        given = as_given(cells, labels)
        return _measured(errors(labels, centers), centers, n_bits, given)

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


def pixel_source(
    blocks: Callable[[], Iterator[NDArray[Any]]], n_bits: int
) -> PointSource:
    """Give points in blocks (m, D), whole numbers of `n_bits` or, if 0, floats."""

    def weighted() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for points in blocks():
            yield points, np.ones(len(points))

    return _block_source(weighted, next(blocks()).shape[1], n_bits)


def _block_source(blocks: Blocks, n_channels: int, n_bits: int) -> PointSource:
    """Give the source of points in blocks (m, D) with weights (m,)."""
    n_digits = max(1, _n_digits(n_bits))

    def add_up(label: Callable[[NDArray[Any]], NDArray[np.intp]], k: int) -> Partition:
        weights, sums = np.zeros(k), np.zeros((n_digits, n_channels, k))
        for points, weight in blocks():
            labels = label(points)
            weights += np.bincount(labels, weight, k)
            for channel, column in enumerate(points.T):
                checkpoint()
                for digit, part in enumerate(_digits(column, n_digits)):
                    sums[digit, channel] += np.bincount(labels, weight * part, k)
        total = sums[-1]
        for part in sums[-2::-1]:
            total = total * 2.0**_DIGIT + part
        return Partition(weights, total.T)

    def partition(centers: NDArray[np.float64]) -> Partition:
        return add_up(lambda points: nearest(points, centers)[0], len(centers))

    def errors(centers: NDArray[np.float64]) -> Iterator[_Errors]:
        for points, weight in blocks():
            yield _Errors(points, weight, *nearest(points, centers))

    def worst(centers: NDArray[np.float64], m: int) -> NDArray[np.float64]:
        return _worst(errors(centers), m)

    def measure(centers: NDArray[np.float64]) -> Measure:
        return _measured(errors(centers), centers, n_bits, None)

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


class _Errors(NamedTuple):
    """Points (m, C) with weights (m,), their labels and squared distances (m,)."""

    points: NDArray[Any]
    weights: NDArray[Any]
    labels: NDArray[Any]
    squared: NDArray[np.float64]


def _worst(errors: Iterator[_Errors], m: int) -> NDArray[np.float64]:
    """Give up to m distinct points of the largest error, the largest first."""
    found, error = np.empty((0, 0)), np.empty(0)
    for block in errors:
        squared = block.squared * block.weights
        # None below the m found so far can be among the first m.
        least = error[-1] if len(error) == m else 0.0
        chosen = np.flatnonzero(squared > 0 if least == 0 else squared >= least)
        points = block.points[chosen].astype(np.float64)
        found = np.concatenate((found.reshape(-1, points.shape[1]), points))
        error = np.concatenate((error, squared[chosen]))
        order = np.lexsort((*found.T[::-1], -error))
        distinct = np.ones(len(order), dtype=bool)
        distinct[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
        order = order[distinct][:m]
        found, error = found[order], error[order]
    return found


def _measured(
    errors: Iterator[_Errors],
    centers: NDArray[np.float64],
    n_bits: int,
    labels: NDArray[np.unsignedinteger[Any]] | None,
) -> Measure:
    """Add up the errors of points, for whole numbers exactly in any order."""
    total = np.zeros(len(centers))
    is_integer = n_bits > 0
    # Squares of integers are cut to this many bits after the binary point, so that
    # their digits add up exactly.
    is_whole = np.array_equal(centers, np.rint(centers))
    fraction = 44 if is_integer and not is_whole else 0
    n_digits = _n_digits(2 * n_bits + 8 + fraction) if is_integer else 1
    digits: list[Any] = [0] * n_digits
    for block in errors:
        total += np.bincount(block.labels, block.weights, len(centers))
        squared = block.squared
        if is_integer:
            squared = np.floor(squared * 2.0**fraction)
        for i, part in enumerate(_digits(squared, n_digits)):
            share = float((block.weights * part).sum())
            digits[i] += int(share) if is_integer else share
    error = sum(digit * 2 ** (_DIGIT * i) for i, digit in enumerate(digits))
    mse = float(error / (int(total.sum()) << fraction))
    return Measure(labels, total.astype(np.int64), mse)


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


def _n_digits(bits: int) -> int:
    """Count the digits of whole numbers of so many bits."""
    return -(-bits // _DIGIT)


def _digits(column: NDArray[Any], n_digits: int) -> Iterator[NDArray[Any]]:
    """Split whole numbers into digits, the lowest first."""
    for _ in range(n_digits - 1):
        high = np.floor(column / 2.0**_DIGIT)
        yield column - high * 2.0**_DIGIT
        column = high
    yield column
