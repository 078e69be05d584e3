"""The optimum of k-means in one dimension."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.blocks import checkpoint

__all__ = ["MAX_OPTIMUM", "optimal_centers"]

# Largest product of points and centers, at two bytes each.
MAX_OPTIMUM = 1 << 26
# Sums of squares are precise beside gaps of up to so many times all others.
_PRECISE = 2.0**12
# Least share of the weight of all that a value has.
_LEAST = 2.0**-50


def optimal_centers(values: Array, weights: Floats, k: int) -> Floats:
    """Return the k centers (k,) of least squared error of ascending values (n,).

    n is more than k and at most 65536. Clusters are intervals, so dynamic programming
    finds the optimum (Wang and Song, The R Journal 3(2):29, 2011): the best k clusters
    of the first i values end with the best last one. Where it starts never falls as i
    grows, so of the rows between two solved ones only the range between their starts
    is searched, for all rows of one recursion depth together. Of equal optima it is
    the one whose last cluster starts lowest, then the last but one, and so on; weights
    that are whole multiples of others give the same centers.
    """
    n, values = len(values), values.astype(np.float64)
    if (weights % 1 == 0).all():
        weights = weights / np.gcd.reduce(weights.astype(np.int64))
    # Sums lose smaller ones, which would leave clusters of no weight.
    weights = np.maximum(weights, weights.sum() * _LEAST)
    placed = _drawn_together(values, weights, k)
    middle = np.average(placed, weights=weights)
    centered = placed - middle
    total = np.concatenate(([0.0], np.cumsum(weights)))
    moment = np.concatenate(([0.0], np.cumsum(weights * centered)))
    # A cluster lowers the error by moment^2 / weight against no center at all.
    saved = np.concatenate(([0.0], moment[1:] ** 2 / total[1:]))
    starts = np.zeros((k, n + 1), dtype=np.uint16)
    for layer in range(1, k):
        checkpoint()
        saved = _add_cluster(saved, total, moment, layer, starts[layer])
    ends = np.empty(k + 1, dtype=np.intp)
    ends[k] = n
    for layer in range(k - 1, -1, -1):
        ends[layer] = starts[layer, ends[layer + 1]]
    means = np.diff(moment[ends]) / np.diff(total[ends]) + middle
    # Clusters were moved as wholes.
    moved = (values - placed)[ends[:-1]]
    return np.asarray(means + moved)


def _drawn_together(values: Floats, weights: Floats, k: int) -> Floats:
    """Narrow gaps between values that no cluster of the optimum spans, to compute well.

    Let all other gaps add up to r. A cluster that spans a gap of more than
    ``2 sqrt(W / w) r``, where W is the sum of the weights and w the least, has an error
    of more than 2 W r^2; k clusters that span none, one for each part, have W r^2.
    """
    gaps = np.diff(values)
    order = np.argsort(-gaps, kind="stable")
    widest = gaps[order]
    rest = np.cumsum(widest[::-1])[::-1]
    reach = 2 * np.sqrt(weights.sum() / weights.min()) * rest[1:]
    wide = widest[: k - 1] > np.maximum(reach, _PRECISE * rest[1:])[: k - 1]
    if not wide.any():
        return values
    last = np.flatnonzero(wide)[-1]
    gaps[order[: last + 1]] = reach[last]
    return np.concatenate(([0.0], np.cumsum(gaps)))


def _add_cluster(
    saved: Floats, total: Floats, moment: Floats, layer: int, starts: NDArray[np.uint16]
) -> Floats:
    """Return what one more cluster saves for the first i values; note its starts."""
    n = len(saved) - 1
    better = np.full(n + 1, -np.inf)
    # Rows layer + 1 to n, each with a cluster of at least one value in each layer.
    stride = 1 << (n - layer).bit_length()
    while stride > 0:
        # Every second multiple of the stride; the others are solved already.
        rows = np.arange(layer + stride, n + 1, 2 * stride)
        below, above = rows - stride, rows + stride
        first = np.where(below > layer, starts[below], layer)
        last = np.where(above <= n, starts[np.minimum(above, n)], rows - 1)
        last = np.minimum(last, rows - 1)
        size = last - first + 1
        start = _ranges(first, size)
        value = total[rows].repeat(size) - total.take(start)
        gain = moment[rows].repeat(size) - moment.take(start)
        gain *= gain
        gain /= value
        gain += saved.take(start)
        row_start = np.cumsum(size) - size
        if len(rows):
            best = np.maximum.reduceat(gain, row_start)
            better[rows] = best
            found = np.flatnonzero(gain == best.repeat(size))
            row = np.arange(len(rows)).repeat(size)[found]
            # Backwards, so that the first of equally good starts remains.
            starts[rows[row[::-1]]] = start[found[::-1]]
        stride >>= 1
    return better


def _ranges(first: Indices, size: Indices) -> Indices:
    """Concatenate the ranges from first[i] to first[i] + size[i]."""
    ends = np.cumsum(size)
    ranges = np.arange(ends[-1] if len(ends) else 0)
    ranges += (first - ends + size).repeat(size)
    return ranges
