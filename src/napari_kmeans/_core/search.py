"""Initial centers that are searched among a few thousand points.

`searched_centers` halves clusters until there are enough, then moves centers that would
be missed least into clusters that gain most from a second one. Nothing is drawn that
another call would draw otherwise. Distances need not be exact here, so points and
centers are compared in single precision; the exact ones are left to `nearest` and
`cells`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices, Mask
from napari_kmeans._core.blocks import checkpoint, cut

__all__ = ["searched_centers"]

Reals: TypeAlias = NDArray[np.floating[Any]]

# Points per center that a search begins with, and the least of all.
_COARSE, _FEWEST = 32, 3 << 10
# A key of more channels would not fit 64 bits.
_MOST_KEY_CHANNELS = 4
# Distances that a series of rounds may cost, and what a round does for each channel of
# a point besides, counted in distances.
_MOST_DISTANCES, _ROUND_WORK = 1 << 29, 50
# Up to so many centers a round makes few moves, and may be unlucky with them.
_FEW = 128
# Points so many times farther from the middle than half of all are drawn nearer, so
# that single precision tells the others apart.
_FAR = 2.0**12
# Cuts that are tried to halve a cluster.
_N_CUTS = 4
# A center moves on past the mean of its points by this share, and settles sooner.
_STRIDE = 0.9
# Bytes that a distance counts for, so that products stay below the size at which BLAS
# would share them with other cores and wait for these.
_DISTANCE_BYTES = 16


class _Cloud(NamedTuple):
    """Points (n, C) about their mean, scaled into -1 to 1."""

    columns: Floats
    weights: Floats
    weighted: Floats
    # |p|^2 of each point, and its weighted sum.
    squared: Floats
    total: float
    # Rows (p, 1), to be multiplied with (-2c, |c|^2). Single precision will do where
    # only a choice depends on it, and none of the points is far from the others.
    rows: Reals


class _Found(NamedTuple):
    """Centers (k, C), and the error about them."""

    centers: Floats
    error: float


class _Nearest(NamedTuple):
    """Nearest and second nearest center of each point, with |c|^2 - 2 p.c of both."""

    label: Indices
    first: Reals
    heir: Indices
    second: Reals


class _Halves(NamedTuple):
    """What splitting each cluster gains (k,), means (k, C), points of the higher."""

    gain: Floats
    low: Floats
    high: Floats
    upper: Mask


class _Worth(NamedTuple):
    """What removing or splitting each center would change."""

    # Rise of the error (k,) if the center were removed.
    cost: Floats
    # Fall of the error (k,) if two centers (k, C), `low` and `high`, replaced it.
    gain: Floats
    low: Floats
    high: Floats


def searched_centers(points: Array, weights: Array, k: int, effort: int) -> Floats:
    """Search good centers, at most `k`, of some thousand distinct points (n, C).

    Clusters are halved until there are `k`. Then, round after round, the centers that
    would be missed least move into the clusters that gain most from a second one, all
    at once (Patane and Russo, Neural Networks 14:1219, 2001). A gain need not quite pay
    at first, which leads out of poor optima as annealing does, and the best round is
    kept. Most rounds see merged points only. Each `effort` past the first is a further
    search from the best centers so far. Equal arguments give equal centers.
    """
    # Shares, so that an image repeated gives the same bits.
    weights = weights / weights.sum()
    points = points.astype(np.float64, copy=False)
    middle, reach = _middle(points)
    # Where most points are one, but for rounding, nothing is far from it.
    is_far = bool(0 < reach < np.abs(points - middle).max())
    origin = middle if is_far else np.average(points, axis=0, weights=weights)
    centered = points - origin
    placed = _drawn_in(centered, reach) if is_far else centered
    scale = float(np.abs(placed).max()) or 1.0
    cloud = _cloud(placed.T / scale, weights, np.float64 if is_far else np.float32)
    # Cubes of a grid could not tell points apart that lie close beside far ones.
    coarse = cloud if is_far else _merged(cloud, max(_FEWEST, _COARSE * k))
    found = _searched(cloud, coarse, k, effort)
    if not is_far:
        return np.asarray(found * scale + origin)
    label = _label(cloud, found)
    total = np.bincount(label, weights)
    # About one of them, so that a mean of equal numbers is that number.
    one = np.zeros(len(total), dtype=np.intp)
    one[label] = np.arange(len(label))
    about = points[one]
    differences = points - about[label]
    sums = np.stack([np.bincount(label, weights * c) for c in differences.T], axis=1)
    return np.asarray(about[total > 0] + sums[total > 0] / total[total > 0, np.newaxis])


def _middle(points: Floats) -> tuple[Floats, float]:
    """Return the median (C,) of points, and what is far from it."""
    half = len(points) // 2
    middle = np.partition(points, half, axis=0)[half]
    distance = np.abs(points - middle).max(axis=1)
    return middle, _FAR * float(np.partition(distance, half)[half])


def _drawn_in(centered: Floats, reach: float) -> Floats:
    """Draw points (n, C) beyond `reach` nearer to zero, to where squares tell all.

    What is nearer stays where it is, and no two change places.
    """
    size = np.maximum(np.abs(centered) / reach, 1)
    return np.where(size > 1, np.sign(centered) * reach * (1 + np.log2(size)), centered)


def _searched(cloud: _Cloud, coarse: _Cloud, k: int, effort: int) -> Floats:
    rng = np.random.default_rng(0)
    begin = _split_up(coarse, k, np.zeros((1, len(cloud.columns))))
    found = _moved(coarse, begin, _rates(coarse, k, 0.6, 0.7, 12))
    if k <= _FEW:
        rates = _rates(coarse, k, 0.6, 1.0, 8)
        found = _better(found, _moved(coarse, found.centers, rates, rng))
    found = _moved(cloud, found.centers, _rates(cloud, k, 0.7, 1.0, 4))
    rates = _rates(cloud, k, 0.8, 1.0, 20)
    for _ in range(effort - 1):
        found = _better(found, _moved(cloud, found.centers, rates, rng))
    return found.centers


def _rates(cloud: _Cloud, k: int, low: float, high: float, most: int) -> Floats:
    """Return rates of exchange for the rounds that are affordable, at most `most`."""
    n_channels, n = cloud.columns.shape
    work = 3 * n * (k + _ROUND_WORK * n_channels)
    return np.linspace(low, high, min(most, _MOST_DISTANCES // work) if k > 1 else 0)


def _better(one: _Found, other: _Found) -> _Found:
    return other if other.error < one.error else one


def _cloud(
    columns: Floats, weights: Floats, dtype: type[np.floating[Any]] = np.float32
) -> _Cloud:
    n_channels, n = columns.shape
    columns = np.ascontiguousarray(columns)
    squared = np.square(columns).sum(axis=0)
    rows = np.ones((n, n_channels + 1), dtype)
    rows[:, :-1] = columns.T
    total = float((weights * squared).sum())
    return _Cloud(columns, weights, columns * weights, squared, total, rows)


def _merged(cloud: _Cloud, m: int) -> _Cloud:
    """Return the means of about `m` cubes, or the cloud if it is not larger."""
    n_channels, n = cloud.columns.shape
    if n <= 3 * m // 2 or n_channels > _MOST_KEY_CHANNELS:
        return cloud
    steps = np.sqrt(m / 2)
    for _ in range(2):
        key = np.zeros(n, dtype=np.int64)
        for column in cloud.columns:
            key *= int(steps) + 1
            key += ((column + 1) * (steps / 2)).astype(np.int64)
        used, cube = np.unique(key, return_inverse=True)
        # Colors lie near surfaces: their cubes grow as the square of the steps.
        steps = min(steps * np.sqrt(m / len(used)), 4096)
    total, sums = _sums(cloud, cube, len(used))
    return _cloud(sums.T / total, total)


def _split_up(cloud: _Cloud, k: int, centers: Floats) -> Floats:
    """Halve clusters until there are `k`, in passes over those that gain most."""
    label = _label(cloud, centers)
    means, total, _ = _means(cloud, centers, label)
    while len(means) < k:
        halves = _halves(cloud, means, total, label)
        gain, low, high, upper = _or_far_point(halves, cloud, means, total, label)
        n_split = min(k - len(means), max(1, len(means) // 2))
        split = np.argsort(-gain, kind="stable")[:n_split]
        split = split[gain[split] > 0]
        if split.size == 0:
            break
        half = np.arange(len(means))
        half[split] = np.arange(len(means), len(means) + len(split))
        label = np.where(upper, half.take(label), label)
        means = np.concatenate((means, high[split]))
        means[split] = low[split]
        total, _ = _sums(cloud, label, len(means))
    return means


def _moved(
    cloud: _Cloud,
    centers: Floats,
    rates: Floats,
    rng: np.random.Generator | None = None,
) -> _Found:
    """Move centers whose cost times the rate is gained elsewhere; keep the best.

    With `rng`, costs and gains are taken wrong at random, the less the higher the rate.
    """
    best = _Found(centers, np.inf)
    if len(rates) == 0:
        return best
    for rate in rates:
        nearest = _two_nearest(cloud, centers)
        means, total, error = _means(cloud, centers, nearest.label)
        best = _better(best, _Found(means, error))
        worth = _worth(cloud, means, total, nearest)
        cost, gain = worth.cost, worth.gain
        if rng is not None:
            cost = cost * np.exp((1 - rate) * rng.standard_normal(len(cost)))
            gain = gain * np.exp((1 - rate) * rng.standard_normal(len(gain)))
        removed, split = _moves(cost * rate, gain, nearest)
        trial = means.copy()
        trial[removed] = worth.high[split]
        trial[split] = worth.low[split]
        means, _, _ = _means(cloud, trial, _label(cloud, trial))
        before, centers = centers, means + _STRIDE * (means - trial)
        # At rest, where no move pays, and pays less at the higher rates to come.
        is_over = rng is None and gain.max() <= rate * cost.min()
        if is_over and np.array_equal(centers, before):
            break
    means, _, error = _means(cloud, centers, _label(cloud, centers))
    return _better(best, _Found(means, error))


def _moves(cost: Floats, gain: Floats, nearest: _Nearest) -> tuple[Indices, Indices]:
    """Pair centers to remove, cheapest first, with clusters to split while that pays.

    No two of either are neighbors, whose costs or gains would not add up.
    """
    cheap = np.argsort(cost, kind="stable")
    wide = np.argsort(-gain, kind="stable")
    half = len(cost) // 2
    n_paying = np.count_nonzero(gain[wide[:half]] > cost[cheap[:half]])
    removed = np.zeros(len(cost), dtype=bool)
    removed[cheap[:n_paying]] = True
    removed = _apart(removed, -cost, nearest)
    split = np.zeros(len(cost), dtype=bool)
    split[wide[: 2 * n_paying]] = True
    split = _apart(split & ~removed, gain, nearest)
    cheap, wide = cheap[removed[cheap]], wide[split[wide]]
    n_pairs = min(len(cheap), len(wide))
    cheap, wide = cheap[:n_pairs], wide[:n_pairs]
    pays = gain[wide] > cost[cheap]
    return cheap[pays], wide[pays]


def _apart(chosen: Mask, value: Floats, nearest: _Nearest) -> Mask:
    """Leave out chosen centers that have a chosen neighbor of higher value."""
    both = chosen[nearest.label] & chosen[nearest.heir]
    one, other = nearest.label[both], nearest.heir[both]
    chosen = chosen.copy()
    chosen[np.where(value[one] < value[other], one, other)] = False
    return chosen


def _worth(cloud: _Cloud, means: Floats, total: Floats, nearest: _Nearest) -> _Worth:
    k = len(means)
    label, first, heir, second = nearest
    cost: Array = np.bincount(label, cloud.weights * (second - first), k)
    # The points of a removed center pull the means of its heirs towards them, which
    # lowers the error by |sum of w (p - m)|^2 / (sum of w + weight of the heir).
    pair = label * k + heir
    if k * k > 4 * len(pair):
        used, pair = np.unique(pair, return_inverse=True)
    else:
        used = np.arange(k * k)
    weight, pull = _sums(cloud, pair, len(used))
    origin, target = np.divmod(used, k)
    pull -= weight[:, np.newaxis] * means[target]
    joint = weight + total[target]
    fall = np.square(pull).sum(axis=1)
    np.divide(fall, joint, out=fall, where=joint > 0)
    cost -= np.bincount(origin, fall, k)
    # Neighbors hand points over to the halves, too.
    gain, low, high, _ = _halves(cloud, means, total, label)
    nearer = np.minimum(_squared(cloud, low, heir), _squared(cloud, high, heir))
    won = np.maximum(first + cloud.squared - nearer, 0)
    gain += np.bincount(heir, cloud.weights * won, k)
    return _Worth(cost, gain, low, high)


def _halves(cloud: _Cloud, means: Floats, total: Floats, label: Indices) -> _Halves:
    """Split each cluster in two.

    The first cut is across the channel that varies most, the next ones midway between
    the means of the halves: steps of Lloyd with k = 2, for all clusters at once.
    """
    k, n_channels = means.shape
    products = cloud.weighted * cloud.columns
    squares = np.stack([np.bincount(label, column, k) for column in products], axis=1)
    variance = squares - total[:, np.newaxis] * np.square(means)
    axis = np.eye(n_channels)[variance.argmax(axis=1)]
    middle = means
    for _ in range(_N_CUTS):
        checkpoint()
        threshold = (axis * middle).sum(axis=1)
        height = np.zeros(len(label))
        for column, direction in zip(cloud.columns, axis.T, strict=True):
            height += column * direction.take(label)
        upper = height > threshold.take(label)
        part = np.flatnonzero(upper)
        weight, sums = _sums(cloud, label[part], k, part)
        rest = total - weight
        both = ((weight > 0) & (rest > 1e-12 * total))[:, np.newaxis]
        high, low = means.copy(), means.copy()
        np.divide(sums, weight[:, np.newaxis], out=high, where=both)
        opposite = total[:, np.newaxis] * means - sums
        np.divide(opposite, rest[:, np.newaxis], out=low, where=both)
        axis, middle = high - low, (high + low) / 2
    # Huygens: halves of weights a and b cost a b / (a + b) |difference|^2 less.
    gain = np.zeros(k)
    np.divide(weight * rest, total, out=gain, where=both[:, 0])
    gain *= np.square(axis).sum(axis=1)
    return _Halves(gain, low, high, upper)


def _or_far_point(
    halves: _Halves, cloud: _Cloud, means: Floats, total: Floats, label: Indices
) -> _Halves:
    """Split off a single point where that gains more, as cuts hardly ever would."""
    squared = _squared(cloud, means, label)
    order = np.argsort(cloud.weights * squared, kind="stable")
    far = np.zeros(len(means), dtype=np.intp)
    far[label[order]] = order  # The last of each label stays.
    weight, high = cloud.weights[far], cloud.columns[:, far].T
    rest = total - weight
    gain = np.zeros(len(means))
    # A center may have no points at all, and a point that it has not.
    both = rest > 1e-12 * total
    np.divide(weight * total * squared[far], rest, out=gain, where=both)
    better = gain > halves.gain
    column = better[:, np.newaxis]
    # The mean of the rest moves away from the point.
    shift = np.divide(weight, rest, out=np.zeros(len(means)), where=better)
    low = means - shift[:, np.newaxis] * (high - means)
    is_far = far.take(label) == np.arange(len(label))
    return _Halves(
        np.where(better, gain, halves.gain),
        np.where(column, low, halves.low),
        np.where(column, high, halves.high),
        np.where(better.take(label), is_far, halves.upper),
    )


def _means(
    cloud: _Cloud, centers: Floats, label: Indices
) -> tuple[Floats, Floats, float]:
    """Return the mean and weight of each cluster, and the error about the means."""
    total, sums = _sums(cloud, label, len(centers))
    means = centers.copy()
    weight = total[:, np.newaxis]
    np.divide(sums, weight, out=means, where=weight > 0)
    return means, total, cloud.total - float((weight * np.square(means)).sum())


def _sums(
    cloud: _Cloud, index: Indices, m: int, part: slice | Indices = slice(None)
) -> tuple[Floats, Floats]:
    """Add up the weights (m,) and weighted points (m, C) of a part by index."""
    weights: Array = np.bincount(index, cloud.weights[part], m)
    sums = [np.bincount(index, column[part], m) for column in cloud.weighted]
    return weights, np.stack(sums, axis=1)


def _squared(cloud: _Cloud, centers: Floats, label: Indices) -> Floats:
    """Return the squared distance of each point to the center of its label."""
    squared = np.zeros(len(label))
    for column, center in zip(cloud.columns, centers.T, strict=True):
        squared += np.square(column - center.take(label))
    return squared


def _label(cloud: _Cloud, centers: Floats) -> Indices:
    """Index the nearest center of each point."""
    label = np.empty(len(cloud.rows), dtype=np.intp)
    for block, distance in _distances(cloud, centers):
        distance.argmin(axis=1, out=label[block])
    return label


def _two_nearest(cloud: _Cloud, centers: Floats) -> _Nearest:
    n, k = len(cloud.rows), len(centers)
    label, heir = np.empty(n, dtype=np.intp), np.empty(n, dtype=np.intp)
    first, second = np.empty((2, n), cloud.rows.dtype)
    for block, distance in _distances(cloud, centers):
        flat = distance.reshape(-1)
        row = np.arange(0, len(flat), k)
        place = row + distance.argmin(axis=1, out=label[block])
        first[block] = flat[place]
        flat[place] = np.inf
        place = row + distance.argmin(axis=1, out=heir[block])
        second[block] = flat[place]
    return _Nearest(label, first, heir, second)


def _distances(cloud: _Cloud, centers: Floats) -> Iterator[tuple[slice, Reals]]:
    """Yield blocks of points, and |c|^2 - 2 p.c of each and all centers, to use up.

    The square of p, which is the same for every center, is left out.
    """
    n, k = len(cloud.rows), len(centers)
    squares = np.square(centers).sum(axis=1)
    dtype = cloud.rows.dtype
    factors = np.vstack((-2 * centers.T, squares)).astype(dtype)
    distance = np.empty((0, k), dtype)
    for block in cut(n, _DISTANCE_BYTES * k):
        rows = cloud.rows[block]
        if len(distance) < len(rows):
            distance = np.empty((len(rows), k), dtype)
        yield block, np.matmul(rows, factors, out=distance[: len(rows)])
