"""Initial centers of k-means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._cells import MAX_CELL_CHANNELS, Cells, build_cells, label_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["kmeans_plus_plus", "random_pixels", "searched_centers"]

# The search ends after this many moves in a row that did not lower the error.
_PATIENCE = 20
# Centers that may be removed, and clusters that may be split, in single moves.
_N_RANKED = 32
# Distances that are rather all computed than left out with the help of cells.
_MOST_COMPARED = 1 << 25
# Products computed at once: they stay in the cache of a core, and below the size at
# which BLAS would share them with other cores and wait for these.
_BLOCK = 1 << 18


def random_pixels(
    counts: NDArray[np.integer[Any]], k: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw `k` pixels without replacement; index their colors."""
    ends = np.cumsum(counts, dtype=np.int64)
    pixels = rng.choice(ends[-1], k, replace=False)
    return np.searchsorted(ends, pixels, side="right")


def kmeans_plus_plus(
    points: NDArray[Any],
    weights: NDArray[np.float64],
    k: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Draw points (n, C) with probability proportional to their squared error so far.

    Arthur and Vassilvitskii, SODA 2007, section 2.2. The points are distinct and more
    than `k`, so none is drawn twice.
    """
    chosen = np.empty(k, dtype=np.intp)
    squared = np.full(len(points), np.inf)
    probability = weights
    for i, uniform in enumerate(rng.random(k)):
        ends = np.cumsum(probability)
        drawn = int(np.searchsorted(ends, uniform * ends[-1], side="right"))
        if drawn == len(ends):  # The product rounded up to the end.
            drawn = int(np.flatnonzero(probability)[-1])
        chosen[i] = drawn
        center = points[drawn].astype(np.float64)
        np.minimum(squared, np.square(points - center).sum(axis=1), out=squared)
        probability = weights * squared
    return chosen


class _Cloud(NamedTuple):
    """Points (n, C) about their mean, scaled into single precision."""

    origin: NDArray[np.float64]
    scale: float
    # Single precision will do where only a choice depends on it.
    points: NDArray[np.float32]
    columns: NDArray[np.float64]
    weights: NDArray[np.float64]
    weighted: NDArray[np.float64]
    squares: float
    # Where many centers are sought, the points less their least values in cells.
    low: NDArray[np.float64]
    cells: Cells | None


def searched_centers(
    points: NDArray[Any], weights: NDArray[Any], k: int, effort: int
) -> NDArray[np.float64]:
    """Search good centers, at most `k`, of some thousand distinct points (n, C).

    Clusters are split along their principal axes until there are `k` (Linde, Buzo and
    Gray, IEEE Trans. Commun. 28:84, 1980). Then centers that would be missed least
    move into clusters that spread most, two steps of Lloyd follow, and the move is
    kept if the error falls (Patane and Russo, Neural Networks 14:1219, 2001): first
    many at a time, then one by one. At most about `effort` distances are computed for
    it. Nothing is drawn at random.
    """
    cloud = _cloud(points, weights, k)
    centers, error = _step(cloud, _split_up(cloud, k))
    # A trial costs two steps, and the third pass that finds what to move next.
    trials = effort // (3 * len(points) * k) if k > 1 else 0
    n_moved, failures = max(1, k // 8), 0
    usage = None
    for _ in range(trials):
        if usage is None:
            usage = _usage(cloud, centers)
        removed, split = _moves(usage, n_moved, failures)
        if len(removed) == 0 or failures == _PATIENCE:
            break
        step = usage.step[split]
        trial = centers.copy()
        trial[removed] = centers[split] + step
        trial[split] = centers[split] - step
        trial, trial_error = _step(cloud, _step(cloud, trial)[0])
        # Not by rounding alone, or equally good moves would take turns forever.
        if trial_error < error * (1 - 1e-9):
            centers, error, failures, usage = trial, trial_error, 0, None
        elif n_moved > 1:
            n_moved //= 2
        else:
            failures += 1
    return centers * cloud.scale + cloud.origin


def _cloud(points: NDArray[Any], weights: NDArray[Any], k: int) -> _Cloud:
    # Shares, so that an image repeated gives the same bits.
    weights = weights / weights.sum()
    origin = np.average(points, axis=0, weights=weights)
    columns = np.ascontiguousarray((points - origin).T)
    scale = float(np.abs(columns).max()) or 1.0
    columns /= scale
    weighted = columns * weights
    squares = float((weighted * columns).sum())
    single = np.ascontiguousarray(columns.T, dtype=np.float32)
    low = columns.min(axis=1)
    cells = None
    if len(points) * k > _MOST_COMPARED and len(columns) <= MAX_CELL_CHANNELS:
        cells = build_cells((columns.T - low), weights)
    return _Cloud(
        origin, scale, single, columns, weights, weighted, squares, low, cells
    )


def _split_up(cloud: _Cloud, k: int) -> NDArray[np.float64]:
    """Split the clusters that spread most, half of them in a round, up to `k`."""
    centers = np.zeros((1, len(cloud.columns)))
    label = np.zeros(len(cloud.points), dtype=np.intp)
    while len(centers) < k:
        spread, step = _principal_axes(cloud, centers, label)
        n_split = min(k - len(centers), max(1, len(centers) // 2))
        split = np.argsort(-spread, kind="stable")[:n_split]
        split = split[spread[split] > 0]
        if split.size == 0:
            break
        centers = np.concatenate((centers, centers[split] + step[split]))
        centers[split] -= step[split]
        label = _label(cloud, centers)
        centers, _ = _means(cloud, centers, label)
    return centers


class _Usage(NamedTuple):
    """What each center is good for."""

    # Rise of the error (k,) if the center were removed.
    cost: NDArray[np.float64]
    # Weight times variance (k,) of its points along their principal axis.
    spread: NDArray[np.float64]
    # From the center to where one half of its points would have theirs, (k, C).
    step: NDArray[np.float64]


def _usage(cloud: _Cloud, centers: NDArray[np.float64]) -> _Usage:
    nearest = _two_nearest(cloud, centers)
    margin = cloud.weights * (nearest.second - nearest.first)
    cost: NDArray[Any] = np.bincount(nearest.label, margin, len(centers))
    return _Usage(cost, *_principal_axes(cloud, centers, nearest.label))


def _moves(
    usage: _Usage, n_moved: int, rank: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give centers to remove and clusters to split: the best, or one pair by rank."""
    cheap = np.argsort(usage.cost, kind="stable")
    wide = np.argsort(-usage.spread, kind="stable")
    if n_moved > 1:
        cheap = cheap[:n_moved]
        wide = wide[np.isin(wide, cheap, invert=True)][:n_moved]
        return cheap[: len(wide)], wide
    cheap, wide = cheap[:_N_RANKED], wide[:_N_RANKED]
    worth = usage.spread[wide] - usage.cost[cheap, np.newaxis]
    worth[cheap[:, np.newaxis] == wide] = -np.inf
    pair = np.argsort(-worth, axis=None, kind="stable")[rank : rank + 1]
    row, column = np.divmod(pair, len(wide))
    return cheap[row], wide[column]


class _Nearest(NamedTuple):
    """Label of each point (n,), and its two least |c|^2 - 2 p.c."""

    label: NDArray[np.intp]
    first: NDArray[np.float32]
    second: NDArray[np.float32]


def _two_nearest(cloud: _Cloud, centers: NDArray[np.float64]) -> _Nearest:
    n = len(cloud.points)
    nearest = _Nearest(
        np.empty(n, dtype=np.intp),
        np.empty(n, dtype=np.float32),
        np.empty(n, dtype=np.float32),
    )
    factors = (-2 * centers.T).astype(np.float32)
    squares = np.square(centers).sum(axis=1).astype(np.float32)
    height = max(1, _BLOCK // centers.size)
    rows = np.arange(height)
    for start in range(0, n, height):
        block = slice(start, start + height)
        # |p|^2 is the same for every center.
        distance = cloud.points[block] @ factors
        distance += squares
        label = distance.argmin(axis=1)
        row = rows[: len(label)]
        nearest.label[block] = label
        nearest.first[block] = distance[row, label]
        distance[row, label] = np.inf
        nearest.second[block] = distance.min(axis=1)
    return nearest


def _label(cloud: _Cloud, centers: NDArray[np.float64]) -> NDArray[np.intp]:
    if cloud.cells is None:
        return _two_nearest(cloud, centers).label
    return label_cells(cloud.cells, centers - cloud.low)


def _step(
    cloud: _Cloud, centers: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Move centers to the means of their points; give the error about these."""
    return _means(cloud, centers, _label(cloud, centers))


def _means(
    cloud: _Cloud, centers: NDArray[np.float64], label: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float]:
    k = len(centers)
    total = np.bincount(label, cloud.weights, k)[:, np.newaxis]
    sums = [np.bincount(label, column, k) for column in cloud.weighted]
    means = centers.copy()
    np.divide(np.column_stack(sums), total, out=means, where=total > 0)
    return means, cloud.squares - float((total * np.square(means)).sum())


def _principal_axes(
    cloud: _Cloud, centers: NDArray[np.float64], label: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the spread of each cluster along its principal axis, and a step there."""
    k, n_channels = centers.shape
    difference = cloud.columns - centers.T.take(label, axis=1)
    weighted = difference * cloud.weights
    scatter = np.empty((k, n_channels, n_channels))
    for i in range(n_channels):
        for j in range(i + 1):
            product = np.bincount(label, weighted[i] * difference[j], k)
            scatter[:, i, j] = scatter[:, j, i] = product
    values, vectors = np.linalg.eigh(scatter)
    spread = np.maximum(values[:, -1], 0.0)
    total = np.bincount(label, cloud.weights, k)
    variance = np.divide(spread, total, out=np.zeros(k), where=total > 0)
    # The halves of a normal distribution have their means 0.8 deviations away.
    length = np.sqrt(variance * 2 / np.pi)
    return spread, vectors[:, :, -1] * length[:, np.newaxis]
