"""Lloyd's algorithm: move each center to the mean of the points nearest to it.

`lloyd` is the loop. What it asks of the points, it asks the Protocol `Points` of
`pixels` for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from napari_kmeans._core.arrays import Floats
from napari_kmeans._core.cells import Partition
from napari_kmeans._core.pixels import Points

__all__ = ["Fit", "cluster_means", "lloyd"]


class Fit(NamedTuple):
    """Centers (k, C) after `n_iter` iterations, and whether they had come to rest."""

    centers: Floats
    n_iter: int
    converged: bool


def lloyd(
    points: Points,
    centers: Floats,
    iters: int,
    report: Callable[[int, Floats, Floats, Floats], None] | None = None,
    n_fixed: int = 0,
) -> Fit:
    """Move centers (k, C) to the means of the points they own, `iters` times.

    A center that owns none moves to one of the points of the largest weighted squared
    error. Neither step can raise the error. The first `n_fixed` centers stay where they
    are. `report(n_iter, weights, means, centers)`, if any, is called after each
    iteration, with what the clusters weigh (k,) and their means; a StopIteration raised
    by it ends the fit.
    """
    for n_iter in range(1, iters + 1):
        parts = points.partition(centers)
        means = cluster_means(parts, centers)
        moved = np.concatenate((centers[:n_fixed], means[n_fixed:]))
        empty = n_fixed + np.flatnonzero(parts.weights[n_fixed:] == 0)
        if empty.size:
            worst = points.worst(moved, empty.size)
            moved[empty[: len(worst)]] = worst
        # Centers stay where they are exactly when no label has changed.
        if np.array_equal(moved, centers):
            return Fit(centers, n_iter - 1, converged=True)
        centers = moved
        if report is None:
            continue
        try:
            report(n_iter, parts.weights, means, centers)
        except StopIteration:
            return Fit(centers, n_iter, converged=False)
    return Fit(centers, iters, converged=False)


def cluster_means(parts: Partition, centers: Floats) -> Floats:
    """Return the mean of each cluster; an empty one keeps its center."""
    means = np.zeros_like(centers) if parts.about_centers else centers.copy()
    weights = parts.weights[:, np.newaxis]
    np.divide(parts.sums, weights, out=means, where=weights > 0)
    return centers + means if parts.about_centers else means
