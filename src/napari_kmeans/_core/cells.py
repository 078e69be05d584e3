"""Weighted points in nested cells, and exactly their nearest centers.

A cell knows its weight, weighted sum, mean and radius. Where one center is nearest
to all of a cell, its points are never looked at: Kanungo et al., TPAMI 24:881, 2002,
with balls for boxes and all cells of a level at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.blocks import checkpoint, cut
from napari_kmeans._core.nearest import prepare_rivals, squared_distances

__all__ = [
    "MAX_CELL_CHANNELS",
    "WIDE",
    "Cells",
    "Level",
    "Partition",
    "as_given",
    "build_cells",
    "cell_order",
    "label_cells",
    "label_sorted",
    "partition_about",
    "partition_cells",
]

# Cells of more channels are too few or too wide to decide anything.
MAX_CELL_CHANNELS = 4
# Leading bits of each channel that the points of a cell share, per level; the cells of
# one channel would be too few of so few.
_LEVEL_BITS, _LONE_BITS = (3, 4, 5, 6), (6, 8, 10, 12)
# Pairs of cells and centers that are all compared, if a cell counts as some pairs more,
# and the most centers.
_PAIRED, _CELL_PAIRS, _MOST_PAIRED = 1 << 20, 64, 512
# Sums of whole numbers below are exact, in whichever order they are added.
_EXACT = 2.0**53
# Children of a cell are compared in rows of this many, which share its candidates.
_ROW = 4
# One in so many points may lie beyond each end of the middle of a grid, and in a grid
# over all of them, the middle would have less than one in so many steps.
_BEYOND, _WIDE = 200, 4
# Floats beyond this, some 100,000 times their middle, have means of more care.
WIDE = 2.0**-12
# Most steps of a grid per unit: products with coordinates do not overflow.
_FINEST = 2.0**500
# Children that are added up to cells at once.
_CHILDREN = 1 << 16
# Widens the test that drops a center. Both its sides are sums of squares, of relative
# error about 1e-15, so rounding may keep a center that owns no point, never lose one.
_WIDEN = 1 + 1e-12
# The same for a product in single precision, with three roundings of 2^-24.
_WIDEN_SINGLE = 1 + 2.0**-20


class Level(NamedTuple):
    """Cells of one size, or the points themselves, as columns of length n + 1.

    The last one is void: it has no weight and no children, and fills up rows.
    """

    # Means (C, n + 1) of the cells, and bounds (n + 1,) of how far their points are.
    means: Array
    radii: Floats
    weights: Array
    # Weighted sums (C, n + 1), exact while integers fit 53 bits; points keep none.
    sums: Floats
    # Children of cell i in the level below: first[i] to first[i + 1].
    first: Indices


class Cells(NamedTuple):
    """Levels from coarse to fine; the last holds the points, in `order`."""

    levels: tuple[Level, ...]
    # None if the points came in it.
    order: Indices | None
    # Whether rounding the farthest points could be seen among the others.
    is_wide: bool


class Partition(NamedTuple):
    """Weight (k,) and weighted sum (k, C) of the points of each center.

    If they are `about_centers`, the sums are those of the differences, which are zero
    exactly where all points of a center have its number.
    """

    weights: Floats
    sums: Floats
    about_centers: bool = False


class _Lists(NamedTuple):
    """Cells of a level, each with the centers that may own a point of it."""

    nodes: Indices
    # Candidates of node i: the next number[i] of all candidates, ascending.
    number: Indices
    candidates: Indices


def cell_order(points: Array) -> Indices:
    """Order points (n, C), C <= 4, so that those of a cell are together.

    Points of one smallest cell keep their order.
    """
    return _ordered(points, _grid(points))


def _ordered(points: Array, grid: _Grid) -> Indices:
    """Return `cell_order` for a grid."""
    bits = np.uint64(len(points).bit_length())
    # Numbers that hold a key and a place sort several times quicker than `argsort`.
    order = np.empty(len(points), dtype=np.uint64)
    for block, key in _cell_keys(points, grid):
        places = np.arange(block.start, block.start + len(key), dtype=np.uint64)
        order[block] = key.astype(np.uint64) << bits | places
    checkpoint()
    order.sort()
    checkpoint()
    order &= (np.uint64(1) << bits) - np.uint64(1)
    return order.view(np.int64).astype(np.intp, copy=False)


def build_cells(points: Array, weights: Array) -> Cells:
    """Sort points (n, C), C <= 4, with weights (n,) into cells."""
    grid = _grid(points)
    starts, key = _runs(points, grid)
    checkpoint()
    order = None
    if (key[1:] < key[:-1]).any():
        order = _ordered(points, grid)
        points = points.take(order, axis=0)
        checkpoint()
        weights = weights.take(order)
        starts, key = _runs(points, grid)
    n, n_channels = points.shape
    is_wide = points.dtype.kind == "f" and float(np.abs(points).max()) > WIDE
    columns = np.zeros((n_channels, n + 1), points.dtype)
    columns[:, :n] = points.T
    checkpoint()
    padded = np.append(weights, weights.dtype.type(0))
    none = np.empty((n_channels, 0))
    levels = [Level(columns, np.empty(0), padded, none, np.empty(0, dtype=np.intp))]
    level_bits = _level_bits(n_channels)
    for bits, coarser in zip(level_bits[::-1], (*level_bits[-2::-1], 0), strict=True):
        first = np.append(starts, len(levels[-1].weights) - 1)
        levels.append(_parents(levels[-1], first, is_wide))
        key >>= (bits - coarser) * n_channels
        starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        key = key[starts]
    return Cells(tuple(levels[::-1]), order, is_wide)


def _level_bits(n_channels: int) -> tuple[int, ...]:
    return _LONE_BITS if n_channels == 1 else _LEVEL_BITS


def _parents(below: Level, first: Indices, is_wide: bool) -> Level:
    """Return the cells of which i has the children first[i] to first[i + 1]."""
    n_channels, n = len(below.means), len(first)
    above = Level(
        np.zeros((n_channels, n)),
        np.zeros(n),
        np.zeros(n),
        np.zeros((n_channels, n)),
        first,
    )
    # Cut between cells where a block is full.
    cuts = np.flatnonzero(np.diff(first[:-1] // _CHILDREN)) + 1
    for i, j in itertools.pairwise((0, *cuts, n - 1)):
        checkpoint()
        cells, children = slice(i, j), slice(first[i], first[j])
        starts, size = first[i:j] - first[i], np.diff(first[i : j + 1])
        weights = below.weights[children].astype(np.float64)
        above.weights[cells] = np.add.reduceat(weights, starts)
        reach = np.zeros(len(weights))
        for channel in range(n_channels):
            means = below.means[channel, children].astype(np.float64)
            sums = (
                below.sums[channel, children] if below.radii.size else means * weights
            )
            total = above.sums[channel, cells]
            np.add.reduceat(sums, starts, out=total)
            mean = above.means[channel, cells]
            np.divide(total, above.weights[cells], out=mean)
            if is_wide:
                # A mean of equal numbers is that number, without rounding.
                first_means = means[starts]
                means -= first_means.repeat(size)
                np.add.reduceat(means * weights, starts, out=mean)
                mean /= above.weights[cells]
                means -= mean.repeat(size)
                mean += first_means
            else:
                means -= mean.repeat(size)
            means *= means
            reach += means
        np.sqrt(reach, out=reach)
        if below.sums.size:
            # A point of a child is no farther than this from the mean of the parent.
            reach += below.radii[children]
        np.maximum.reduceat(reach, starts, out=above.radii[cells])
    return above


def partition_cells(cells: Cells, centers: Floats) -> Partition:
    """Return the weights and sums of the points nearest to each of centers (k, C)."""
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


def partition_about(cells: Cells, centers: Floats) -> Partition:
    """Return what `partition_cells` does, about the centers; it looks at all points."""
    k, finest = len(centers), cells.levels[-1]
    labels = label_sorted(cells, centers).astype(np.intp)
    weights = finest.weights[:-1].astype(np.float64)
    sums = np.empty((len(finest.means), k))
    for column, center, total in zip(finest.means, centers.T, sums, strict=True):
        difference = column[:-1] - center.take(labels)
        total[:] = np.bincount(labels, weights * difference, k)
    total_weights: Floats = np.bincount(labels, weights, k).astype(np.float64)
    return Partition(total_weights, sums.T, about_centers=True)


def label_cells(cells: Cells, centers: Floats) -> Array:
    """Index the nearest of centers (k, C) for each point, the lowest on a tie.

    Labels have the smallest unsigned dtype that holds k.
    """
    return as_given(cells, label_sorted(cells, centers))


def as_given(cells: Cells, values: Array) -> Array:
    """Bring values (n,) of the points in their cells into the order they came in."""
    if cells.order is None:
        return values
    placed = np.empty_like(values)
    placed[cells.order] = values
    return placed


def label_sorted(cells: Cells, centers: Floats) -> Array:
    """Return `label_cells` in the order of the points in their cells."""
    labels = np.zeros(len(cells.levels[0].weights), np.min_scalar_type(len(centers)))
    at = 0
    for depth, nodes, nearest in _visit(cells, centers):
        for level in cells.levels[at:depth]:
            labels = np.append(labels[:-1].repeat(np.diff(level.first)), labels[-1:])
        labels[nodes] = nearest
        at = depth
    for level in cells.levels[at:-1]:
        labels = np.append(labels[:-1].repeat(np.diff(level.first)), labels[-1:])
    return labels[:-1]


def _visit(cells: Cells, centers: Floats) -> Iterator[tuple[int, Indices, Indices]]:
    """Yield (depth, nodes, labels): all points of a node are nearest to its label."""
    k = len(centers)
    columns = list(np.ascontiguousarray(centers.T))
    first = np.array([0, len(cells.levels[0].weights) - 1])
    lists = _Lists(np.array([0]), np.array([k]), np.arange(k))
    start = _n_paired(cells, k)
    if start > 0:
        first = cells.levels[start - 1].first
        nodes, labels, lists = _paired(cells.levels[start - 1], centers)
        yield start - 1, nodes, labels
    for depth, level in enumerate(cells.levels[start:], start):
        if len(lists.nodes) == 0:
            return
        undecided = []
        for nodes, candidates, number in _blocks(lists, first):
            m, n = candidates.shape
            rivals = [column.take(candidates)[:, np.newaxis] for column in columns]
            means = [m.take(nodes).astype(float, copy=False) for m in level.means]
            distance = _squared_distances(rivals, means)
            slots, least = _first_least(distance)
            labels = candidates.reshape(-1).take(slots * n + np.arange(n))
            if depth == len(cells.levels) - 1:
                yield depth, nodes.reshape(-1), labels.reshape(-1)
                continue
            # c_j owns a point within r of m, whose nearest center is c_z, only if
            # |m - c_j|^2 <= |m - c_z|^2 + 2 r |c_j - c_z|.
            winners = [column.take(labels) for column in columns]
            reach = np.sqrt(_squared_distances(rivals, winners))
            reach *= 2 * level.radii.take(nodes)
            reach += least
            reach *= _WIDEN
            keep = distance <= reach
            keep &= (np.arange(m)[:, np.newaxis] < number)[:, np.newaxis]
            keep = keep.reshape(m, -1)
            nodes, number = nodes.reshape(-1), keep.sum(axis=0, dtype=np.uint32)
            whole = np.flatnonzero(number == 1)
            yield depth, nodes.take(whole), labels.reshape(-1).take(whole)
            shared = np.flatnonzero((number > 1) & (nodes < len(level.weights) - 1))
            node, slot = np.divmod(np.flatnonzero(keep.take(shared, axis=1).T), m)
            slot *= n
            slot += (shared % n).take(node)
            several = nodes.take(shared), number.take(shared).astype(np.intp)
            undecided.append(_Lists(*several, candidates.reshape(-1).take(slot)))
        if undecided:
            first = level.first
            lists = _Lists(*map(np.concatenate, zip(*undecided, strict=True)))


def _n_paired(cells: Cells, k: int) -> int:
    """Return how many levels to skip by comparing all cells of the last one of these.

    Sums of floats would depend on it, and far ones leave single precision no digits.
    """
    coarsest, finest = cells.levels[0], cells.levels[-1]
    is_exact = finest.means.dtype.kind == "u" and coarsest.sums.sum() < _EXACT
    if not is_exact or k > _MOST_PAIRED:
        return 0
    sizes = [len(level.weights) - 1 for level in cells.levels[:-1]]
    return sum(n * (k + _CELL_PAIRS) <= _PAIRED for n in sizes)


def _paired(level: Level, centers: Floats) -> tuple[Indices, Indices, _Lists]:
    """Compare all cells with all centers, in single precision.

    Returns the cells that are known to have one center, these centers, and lists for
    the others. For any center c_z, all points within r of m are nearer to it than to
    c_j if |c_j|^2 - 2 m.c_j > |c_z|^2 - 2 m.c_z + 2 r |c_j - c_z|. Products are wrong
    by less than a quarter of the slack of `Rivals` each. Half of it is left for the two
    sums, which are at most 6 times its squares: they round by 2^-21 of these at most.
    """
    n, k = len(level.weights) - 1, len(centers)
    means = level.means[:, :n]
    rivals = prepare_rivals(centers, float(means.max()))
    rows = np.ones((n, len(means) + 1), np.float32)
    rows[:, :-1] = (means * rivals.scale).T
    scaled = centers.T * rivals.scale
    apart = np.sqrt(squared_distances(scaled[:, :, np.newaxis], scaled[:, np.newaxis]))
    apart = (apart * (2 * _WIDEN_SINGLE)).astype(np.float32)
    radii = (level.radii[:n, np.newaxis] * rivals.scale).astype(np.float32)
    checkpoint()
    pairs = []
    for block in cut(n, 16 * k):
        score = rows[block] @ rivals.factors.T
        winner = score.argmin(axis=1)
        least = score.reshape(-1).take(np.arange(0, score.size, k) + winner)
        reach = apart.take(winner, axis=0)
        reach *= radii[block]
        reach += (least + rivals.slack)[:, np.newaxis]
        pairs.append(np.flatnonzero(score <= reach) + block.start * k)
    checkpoint()
    nodes, candidates = np.divmod(np.concatenate(pairs), k)
    checkpoint()
    number = np.bincount(nodes, minlength=n)
    alone = number.take(nodes) == 1
    shared = np.flatnonzero(number > 1)
    lists = _Lists(shared, number.take(shared), candidates[~alone])
    return nodes[alone], candidates[alone], lists


def _blocks(
    lists: _Lists, first: Indices
) -> Iterator[tuple[Indices, Indices, Indices]]:
    """Yield rows of children (4, n) of the listed cells, and their candidates (m, n).

    A row has one parent, whose candidates all share; shorter ones end with the void.
    The first number (n,) of the m candidates are a node's own; the last is repeated.
    """
    # Lengths are rounded up to two significant bits, so that there are few.
    shift = np.maximum(np.frexp(lists.number.astype(float))[1] - 2, 0)
    length = -(-lists.number >> shift) << shift
    # Numbers of 16 bits are sorted by their digits.
    order = np.argsort((length - 1).astype(np.uint16), kind="stable")
    nodes = lists.nodes.take(order)
    begin, end = first.take(nodes), first.take(nodes + 1)
    n_rows = -(-(end - begin) // _ROW)
    checkpoint()
    owner = order.repeat(n_rows)
    child = _ROW * np.arange(len(owner))
    child += (begin - _ROW * (np.cumsum(n_rows) - n_rows)).repeat(n_rows)
    checkpoint()
    end = end.repeat(n_rows)
    number = lists.number.take(owner)
    start = (np.cumsum(lists.number) - lists.number).take(owner)
    length = length.take(owner)
    cuts = np.flatnonzero(length[1:] != length[:-1]) + 1
    for i, j in itertools.pairwise((0, *cuts, len(owner))):
        slots = np.arange(length[i])[:, np.newaxis]
        for part in cut(j - i, 16 * _ROW * len(slots)):
            row = slice(i + part.start, i + part.stop)
            nodes = child[row] + np.arange(_ROW)[:, np.newaxis]
            np.putmask(nodes, nodes >= end[row], first[-1])
            places = start[row] + np.minimum(slots, number[row] - 1)
            yield nodes, lists.candidates.take(places), number[row]


def _squared_distances(rivals: list[Floats], points: list[Array]) -> Floats:
    """Return the squared distances (m, 4, n) of points to m rivals each, by channel."""
    total: Floats = np.square(rivals[0] - points[0])
    for rival, point in zip(rivals[1:], points[1:], strict=True):
        difference = rival - point
        difference *= difference
        total += difference
    return total


def _first_least(distance: Floats) -> tuple[Indices, Floats]:
    """Return the least of the m distances (m, 4, n), and where it comes first."""
    m = len(distance)
    if 16 * m > distance[0].size:
        return distance.argmin(axis=0), distance.min(axis=0)
    # One after the other is quicker than `argmin`, unless the rows are short.
    least = distance[0].copy()
    slots = np.zeros(least.shape, np.min_scalar_type(m))
    for slot in range(1, m):
        is_less = distance[slot] < least
        np.maximum(slots, is_less * slots.dtype.type(slot), out=slots)
        np.minimum(least, distance[slot], out=least)
    return slots.astype(np.intp), least


def _runs(points: Array, grid: _Grid) -> tuple[Indices, NDArray[np.uint32]]:
    """Return where runs of points (n, C) of one smallest cell start, and its key."""
    starts, keys = [], []
    last = None
    for block, key in _cell_keys(points, grid):
        start = np.flatnonzero(np.concatenate(([key[0] != last], key[1:] != key[:-1])))
        starts.append(start + block.start)
        keys.append(key[start])
        last = key[-1]
    return np.concatenate(starts), np.concatenate(keys)


def _cell_keys(
    points: Array, grid: _Grid
) -> Iterator[tuple[slice, NDArray[np.uint32]]]:
    """Interleave the leading bits of the channels (n, C), so that cells nest."""
    n_channels = points.shape[1]
    bits = _level_bits(n_channels)[-1]
    steps = np.arange(2**bits, dtype=np.uint32)
    spread = np.zeros_like(steps)
    for bit in range(bits):
        spread |= (steps >> bit & 1) << (bit * n_channels)
    for block in cut(len(points)):
        key = np.zeros(len(points[block]), dtype=np.uint32)
        for channel, column in enumerate(points[block].T):
            step = column * grid.scale
            if points.dtype.kind == "f":
                step -= grid.low[channel] * grid.scale
                _draw_in(step, grid)
                np.clip(step, 0, 2**bits - 1, out=step)
            key |= spread.take(step.astype(np.intp), mode="clip") << channel
        yield block, key


class _Grid(NamedTuple):
    """A grid of cubes over points (n, C), which begins at `low` (C,).

    Steps, `scale` of them per unit, are even from `begin` to `end`. Beyond, they grow
    with the distance, at this `rate`; it is 0 if there is nothing beyond.
    """

    low: Array
    scale: float
    begin: float
    end: float
    rate: float


def _grid(points: Array) -> _Grid:
    """Lay the grid of the smallest cells over points (n, C).

    If some floats are far beyond nearly all others, three quarters of the steps are
    theirs: they may be most of the error, or else the others are.
    """
    n_steps = 2 ** _level_bits(points.shape[1])[-1]
    if points.dtype.kind == "u":
        # A power of two, so equal colors share a cell whatever the rest of the image.
        exponent = int(np.frexp(float(points.max()))[1])
        low = np.zeros(points.shape[1], points.dtype)
        return _Grid(low, float(np.ldexp(n_steps, -exponent)), 0, n_steps, 0)
    few = len(points) // _BEYOND
    ends = few, len(points) - 1 - few
    low, high = np.array([np.partition(c, ends)[[*ends]] for c in points.T]).T
    least, most = np.array([(c.min(), c.max()) for c in points.T]).T
    wide, whole = float((high - low).max()), float((most - least).max())
    if wide == 0 or whole <= _WIDE * wide:
        return _Grid(least, min(n_steps / (whole or 1.0), _FINEST), 0, n_steps, 0)
    middle = n_steps / 4
    scale = min(middle / wide, _FINEST)
    below = np.log1p(scale * float((low - least).max()))
    above = np.log1p(scale * float((most - high).max()))
    rate = (n_steps - middle) / (below + above)
    begin = rate * below
    return _Grid(low - begin / scale, scale, begin, begin + middle, rate)


def _draw_in(steps: Floats, grid: _Grid) -> None:
    """Draw steps (n,) of one channel to where the grid has those beyond its middle."""
    if grid.rate == 0:
        return
    for part in (steps > grid.end, steps < grid.begin):
        edge = np.clip(steps[part], grid.begin, grid.end)
        beyond = steps[part] - edge
        drawn = grid.rate * np.log1p(np.abs(beyond))
        steps[part] = edge + np.copysign(drawn, beyond)
