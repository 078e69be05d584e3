"""Nearest center of each point by comparing them all, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nearest", "squared_distances"]

# Products computed at once: they stay in the cache of a core, and below the size at
# which BLAS would share them with other cores and wait for these.
_BLOCK = 1 << 18


def nearest(
    points: NDArray[Any], centers: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index the nearest of centers (k, C) for points (n, C), and its squared distance.

    A tie goes to the lowest index. Squares of differences are added channel by
    channel, as in `_cells`, so the two agree to the last bit.
    """
    labels = np.empty(len(points), dtype=np.intp)
    squared = np.empty(len(points))
    step = max(1, _BLOCK // centers.size)
    for start in range(0, len(points), step):
        block = slice(start, start + step)
        columns = points[block].T.astype(np.float64)
        labels[block] = _labels(columns, centers)
        squared[block] = squared_distances(columns, centers.T[:, labels[block]])
    return labels, squared


def _labels(
    columns: NDArray[np.float64], centers: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index the nearest of centers (k, C) for points (C, n)."""
    n_channels, n = columns.shape
    squares = np.square(centers).sum(axis=1)
    # |p|^2 is the same for every center.
    score = -2 * centers @ columns
    score += squares[:, np.newaxis]
    least = score.min(axis=0)
    # More than four times what rounding adds to a score, or to a distance.
    slack = np.square(columns).sum(axis=0) + squares.max()
    slack *= (n_channels + 2) * 2.0**-49
    slack += least
    label, point = np.divmod(np.flatnonzero(score <= slack), n)
    labels = np.empty(n, dtype=np.intp)
    labels[point] = label
    if len(point) > n:
        unsure = np.flatnonzero(np.bincount(point) > 1)
        rivals = centers.T[:, :, np.newaxis]
        distance = squared_distances(columns[:, np.newaxis, unsure], rivals)
        labels[unsure] = distance.argmin(axis=0)
    return labels


def squared_distances(
    columns: NDArray[np.float64], centers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add up the squared differences of points and centers by channel, (C, ...)."""
    total: NDArray[np.float64] = np.square(columns[0] - centers[0])
    for column, center in zip(columns[1:], centers[1:], strict=True):
        total += np.square(column - center)
    return total
