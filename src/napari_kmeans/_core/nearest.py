"""The nearest center of each point, by comparing them all, in bounded memory.

This is the one kernel that compares points with all centers: `nearest` takes any number
of points and also returns squared distances; `label_columns` takes some points as
columns, and centers that `prepare_rivals` prepared once for many calls. Both are exact.
Where most centers can be left out, `cells` is faster; it agrees to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.blocks import cut

__all__ = ["Rivals", "label_columns", "nearest", "prepare_rivals", "squared_distances"]


class Rivals(NamedTuple):
    """Centers (k, C), prepared to be compared with points of limited size."""

    centers: Floats
    # What centers and points are multiplied with, so that no square overflows in single
    # precision, nor squares that are zero in double precision are told apart.
    scale: float
    # (-2c, |c|^2) of each scaled center, to be multiplied with (p, 1).
    factors: NDArray[np.float32]
    # More than four times what rounding adds to a product, and underflow.
    slack: np.float32


def nearest(points: Array, centers: Floats) -> tuple[Indices, Floats]:
    """Index the nearest of centers (k, C) for points (n, C), and its squared distance.

    A tie goes to the lowest index. Squares of differences are added channel by
    channel, as in `cells`, so the two agree to the last bit.
    """
    labels = np.empty(len(points), dtype=np.intp)
    squared = np.empty(len(points))
    # A product stays below the size at which BLAS would share it with other cores.
    for block in cut(len(points), 4 * centers.size):
        columns = points[block].T.astype(np.float64)
        rivals = prepare_rivals(centers, float(np.abs(columns).max()))
        labels[block] = label_columns(columns, rivals)
        squared[block] = squared_distances(columns, centers.T[:, labels[block]])
    return labels, squared


def prepare_rivals(centers: Floats, reach: float) -> Rivals:
    """Prepare centers (k, C) for points none of whose values is larger than `reach`."""
    largest = max(float(np.abs(centers).max()), reach, 1e-140)
    scale = 2.0 ** -np.frexp(largest)[1]
    scaled = centers * scale
    squares = np.square(scaled).sum(axis=1)
    # |p|^2 is the same for every center.
    factors = np.column_stack((-2 * scaled, squares)).astype(np.float32)
    n_channels = centers.shape[1]
    most = n_channels * (reach * scale) ** 2 + float(squares.max())
    slack = np.float32((n_channels + 3) * 2.0**-20 * most + 1e-37)
    return Rivals(centers, scale, factors, slack)


def label_columns(columns: Floats, rivals: Rivals) -> Indices:
    """Index the nearest of rivals for some points (C, n), the lowest on a tie."""
    n_channels, n = columns.shape
    rows = np.ones((n_channels + 1, n), dtype=np.float32)
    np.multiply(columns, rivals.scale, out=rows[:-1], casting="same_kind")
    # Single precision tells most centers apart.
    score = rivals.factors @ rows
    close = score <= score.min(axis=0) + rivals.slack
    label, point = np.divmod(np.flatnonzero(close), n)
    labels = np.empty(n, dtype=np.intp)
    labels[point] = label
    if len(point) > n:
        unsure = np.flatnonzero(np.bincount(point) > 1)
        centers = rivals.centers.T[:, :, np.newaxis]
        distance = squared_distances(columns[:, np.newaxis, unsure], centers)
        labels[unsure] = distance.argmin(axis=0)
    return labels


def squared_distances(columns: Floats, centers: Floats) -> Floats:
    """Add up the squared differences of points and centers by channel, (C, ...)."""
    total: Floats = np.square(columns[0] - centers[0])
    for column, center in zip(columns[1:], centers[1:], strict=True):
        total += np.square(column - center)
    return total
