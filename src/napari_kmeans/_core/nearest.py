"""The nearest center of each point, by comparing them all, in bounded memory.

This is the one kernel that compares points with all centers: `nearest` takes points as
rows and also returns squared distances, `label_columns` takes them as columns. Both are
exact. Where most centers can be left out, `cells` is faster; it agrees to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.blocks import cut

__all__ = ["label_columns", "nearest", "squared_distances"]


def nearest(
    points: NDArray[Any], centers: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index the nearest of centers (k, C) for points (n, C), and its squared distance.

    A tie goes to the lowest index. Squares of differences are added channel by
    channel, as in `cells`, so the two agree to the last bit.
    """
    labels = np.empty(len(points), dtype=np.intp)
    squared = np.empty(len(points))
    # A product stays below the size at which BLAS would share it with other cores.
    for block in cut(len(points), 4 * centers.size):
        columns = points[block].T.astype(np.float64)
        labels[block] = _label_block(columns, centers)
        squared[block] = squared_distances(columns, centers.T[:, labels[block]])
    return labels, squared


def label_columns(
    columns: NDArray[np.float64], centers: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index the nearest of centers (k, C) for points (C, n), the lowest on a tie."""
    labels = np.empty(columns.shape[1], dtype=np.intp)
    for block in cut(len(labels), 4 * centers.size):
        labels[block] = _label_block(columns[:, block], centers)
    return labels


def _label_block(
    columns: NDArray[np.float64], centers: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index the nearest of centers (k, C) for few points (C, n)."""
    n_channels, n = columns.shape
    # Single precision tells most centers apart, in a range where no square overflows,
    # nor squares that are zero in double precision are told apart.
    largest = max(float(np.abs(centers).max()), float(np.abs(columns).max()), 1e-140)
    scale = 2.0 ** -np.frexp(largest)[1]
    scaled = centers * scale
    squares = np.square(scaled).sum(axis=1)
    # |p|^2 is the same for every center.
    factors = np.column_stack((-2 * scaled, squares)).astype(np.float32)
    rows = np.ones((n_channels + 1, n), dtype=np.float32)
    np.multiply(columns, scale, out=rows[:-1], casting="same_kind")
    score = factors @ rows
    least = score.min(axis=0)
    # More than four times what rounding adds to a score, and underflow.
    slack = np.square(rows[:-1]).sum(axis=0) + np.float32(squares.max())
    slack *= np.float32((n_channels + 3) * 2.0**-20)
    slack += least + np.float32(1e-37)
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
