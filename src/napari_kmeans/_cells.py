"""Weighted points in nested cells, and exactly their nearest centers.

A cell knows its weight, weighted sum, mean and radius. Where one center is nearest
to all of a cell, its points are never looked at: Kanungo et al., TPAMI 24:881, 2002,
with balls for boxes and all cells of a level at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "MAX_CELL_CHANNELS",
    "Cells",
    "Level",
    "Partition",
    "build_cells",
    "label_cells",
    "partition_cells",
    "ranges",
]

# Cells of more channels are too few or too wide to decide anything.
MAX_CELL_CHANNELS = 4
# Leading bits of each channel that the points of a cell share, per level.
_LEVEL_BITS = (2, 4, 5, 6)
# Distances computed at once: they stay in the cache of a core.
_BLOCK = 1 << 15
# Widens the test that drops a center. Both its sides are sums of squares, of relative
# error about 1e-15, so rounding may keep a center that owns no point, never lose one.
_WIDEN = 1 + 1e-12
# Coordinate of the center that fills up lists of candidates.
_FAR = 1e100


class Level(NamedTuple):
    """Cells of one size, or the points themselves, as columns of length n."""

    # Means (C, n) of the cells, and the largest distance (n,) of a point to them.
    means: NDArray[Any]
    radii: NDArray[np.float64]
    weights: NDArray[Any]
    # Weighted sums (C, n), exact while integers fit 53 bits; none are kept of points.
    sums: NDArray[np.float64]
    # Children of cell i in the level below: first[i] to first[i + 1].
    first: NDArray[np.intp]


class Cells(NamedTuple):
    """Levels from coarse to fine; the last holds the points, in `order`."""

    levels: tuple[Level, ...]
    order: NDArray[np.intp]


class Partition(NamedTuple):
    """Weight (k,) and weighted sum (k, C) of the points of each center."""

    weights: NDArray[np.float64]
    sums: NDArray[np.float64]


class _Lists(NamedTuple):
    """Cells of a level, each with the centers that may own a point of it."""

    nodes: NDArray[np.intp]
    # Candidates of node i: the next number[i] of all candidates, ascending.
    number: NDArray[np.intp]
    candidates: NDArray[np.intp]


def build_cells(points: NDArray[Any], weights: NDArray[Any]) -> Cells:
    """Sort points (n, C), C <= 4, none negative, with weights (n,) into cells."""
    n, n_channels = points.shape
    key = _cell_keys(points)
    order = np.argsort(key, kind="stable")
    key = key[order]
    columns = np.ascontiguousarray(points[order].T)
    weights = weights[order]
    none = np.empty((n_channels, 0))
    levels = [Level(columns, np.empty(0), weights, none, np.empty(0, dtype=np.intp))]
    weight_below: NDArray[Any] = weights
    sums_below: list[NDArray[Any]] = []
    first_point = np.arange(n + 1)
    for bits, coarser in zip(_LEVEL_BITS[::-1], (*_LEVEL_BITS[-2::-1], 0), strict=True):
        starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        first = np.append(starts, len(key))
        # Products of the points by channel, for they need more memory than any other.
        products = sums_below or (weights * column.astype(float) for column in columns)
        sums_below = [np.add.reduceat(product, starts) for product in products]
        weight_below = np.add.reduceat(weight_below, starts, dtype=np.float64)
        sums = np.stack(sums_below)
        means = sums / weight_below
        first_point = first_point[first]
        radii = _radii(columns, means, first_point)
        levels.append(Level(means, radii, weight_below, sums, first))
        key = key[starts] >> ((bits - coarser) * n_channels)
    return Cells(tuple(levels[::-1]), order)


def partition_cells(cells: Cells, centers: NDArray[np.float64]) -> Partition:
    """Give the weights and sums of the points nearest to each of centers (k, C)."""
    k, n_channels = centers.shape
    weights, sums = np.zeros(k), np.zeros((n_channels, k))
    for depth, nodes, labels in _visit(cells, centers):
        level = cells.levels[depth]
        # Counts of 32 bits would overflow when they are multiplied.
        weight = level.weights.take(nodes).astype(np.float64)
        weights += np.bincount(labels, weight, k)
        for channel in range(n_channels):
            if depth < len(cells.levels) - 1:
                total = level.sums[channel].take(nodes)
            else:
                total = weight * level.means[channel].take(nodes)
            sums[channel] += np.bincount(labels, total, k)
    return Partition(weights, sums.T)


def label_cells(cells: Cells, centers: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index the nearest of centers (k, C) for each point, the lowest on a tie."""
    labels = np.empty(len(cells.order), dtype=np.intp)
    for depth, nodes, nearest in _visit(cells, centers):
        first, end = nodes, nodes + 1
        for level in cells.levels[depth:-1]:
            first, end = level.first[first], level.first[end]
        labels[cells.order[ranges(first, end - first)]] = nearest.repeat(end - first)
    return labels


def _visit(
    cells: Cells, centers: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Give (depth, nodes, labels): all points of a node are nearest to its label."""
    k, n_channels = centers.shape
    columns = np.column_stack((centers.T, np.full(n_channels, _FAR)))
    last = len(cells.levels) - 1
    first = np.array([0, len(cells.levels[0].weights)])
    lists = _Lists(np.array([0]), np.array([k]), np.arange(k))
    for depth, level in enumerate(cells.levels):
        undecided = []
        for nodes, candidates in _blocks(lists, first, k):
            rivals = [column.take(candidates) for column in columns]
            distance = _squared_distances(rivals, [m.take(nodes) for m in level.means])
            labels, least = _nearest_candidate(distance, candidates)
            if depth == last:
                yield depth, nodes, labels
                continue
            # c_j owns a point within r of m, whose nearest center is c_z, only if
            # |m - c_j|^2 <= |m - c_z|^2 + 2 r |c_j - c_z|.
            winners = [column.take(labels) for column in columns]
            reach = np.sqrt(_squared_distances(rivals, winners))
            reach *= 2 * level.radii.take(nodes)
            reach += least
            reach *= _WIDEN
            keep = distance <= reach
            number = keep.sum(axis=0)
            whole = number == 1
            yield depth, nodes[whole], labels[whole]
            keep[:, whole] = False
            undecided.append(
                _Lists(nodes[~whole], number[~whole], candidates.T[keep.T])
            )
        if depth < last:
            first = level.first
            lists = _Lists(*map(np.concatenate, zip(*undecided, strict=True)))
            if len(lists.nodes) == 0:
                return


def _blocks(
    lists: _Lists, first: NDArray[np.intp], k: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Give n children of the listed cells, with their candidates (m, n).

    Lists of a block are of one length m; shorter ones end with k, the far center.
    """
    # Lengths are rounded up to three significant bits, so that there are few.
    step = 1 << np.maximum(np.frexp(lists.number.astype(np.float64))[1] - 3, 0)
    length = -(-lists.number // step) * step
    start = np.cumsum(lists.number) - lists.number
    first_child = first[lists.nodes]
    size = first[lists.nodes + 1] - first_child
    order = np.argsort(length, kind="stable")
    length = length[order]
    # Cut where the length changes and where a block is full.
    work = np.cumsum(size[order] * length) // _BLOCK
    cuts = np.flatnonzero((length[1:] != length[:-1]) | (work[1:] != work[:-1])) + 1
    for chosen, m in zip(np.split(order, cuts), length[[0, *cuts]], strict=True):
        slots = np.arange(m)[:, np.newaxis]
        rows = lists.candidates.take(start[chosen] + slots, mode="clip")
        np.copyto(rows, k, where=slots >= lists.number[chosen])
        children = ranges(first_child[chosen], size[chosen])
        row = np.arange(len(chosen)).repeat(size[chosen])
        width = max(1, _BLOCK // int(m))
        for i in range(0, len(children), width):
            yield children[i : i + width], rows.take(row[i : i + width], axis=1)


def _squared_distances(
    rivals: list[NDArray[np.float64]], points: list[NDArray[Any]]
) -> NDArray[np.float64]:
    """Give the squared distances (m, n) of n points to m rivals each, by channel."""
    total: NDArray[np.float64] = np.square(rivals[0] - points[0])
    for rival, point in zip(rivals[1:], points[1:], strict=True):
        difference = rival - point
        difference *= difference
        total += difference
    return total


def _nearest_candidate(
    distance: NDArray[np.float64], candidates: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Give the first candidate of least distance (m, n) of each column, and this."""
    m, n = distance.shape
    if m > n:
        row = distance.argmin(axis=0)
        return candidates[row, np.arange(n)], distance[row, np.arange(n)]
    # Row by row is quicker than `argmin`, unless the rows are short.
    label, least = candidates[0].copy(), distance[0].copy()
    for candidate, other in zip(candidates[1:], distance[1:], strict=True):
        np.copyto(label, candidate, where=other < least)
        np.minimum(least, other, out=least)
    return label, least


def _radii(
    columns: NDArray[Any], means: NDArray[np.float64], first_point: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Give the largest distance of a point to the mean of its cell."""
    size = np.diff(first_point)
    squared = np.zeros(columns.shape[1])
    for column, mean in zip(columns, means, strict=True):
        squared += np.square(column - mean.repeat(size))
    return np.sqrt(np.maximum.reduceat(squared, first_point[:-1]))


def ranges(first: NDArray[np.intp], size: NDArray[np.intp]) -> NDArray[np.intp]:
    """Concatenate the ranges from first[i] to first[i] + size[i]."""
    ends = np.cumsum(size)
    ranges = np.arange(ends[-1] if len(ends) else 0)
    ranges += (first - ends + size).repeat(size)
    return ranges


def _cell_keys(points: NDArray[Any]) -> NDArray[np.uint32]:
    """Interleave the leading bits of the channels (n, C), so that cells nest."""
    bits, n_channels = _LEVEL_BITS[-1], points.shape[1]
    steps = np.arange(2**bits, dtype=np.uint32)
    spread = np.zeros_like(steps)
    for bit in range(bits):
        spread |= (steps >> bit & 1) << (bit * n_channels)
    # A power of two, so equal colors share a cell whatever the rest of the image.
    exponent = int(np.frexp(float(points.max()))[1])
    scale = float(np.ldexp(1.0, min(bits - exponent, 1023)))
    key = np.zeros(len(points), dtype=np.uint32)
    for channel in range(n_channels):
        column = (points[:, channel] * scale).astype(np.intp)
        key |= spread.take(column, mode="clip") << channel
    return key
