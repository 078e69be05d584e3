"""Lloyd's algorithm on weighted points."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_kmeans._nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Fit", "lloyd", "reseed_empty"]


class Fit(NamedTuple):
    """Centers (k, C) after `n_iter` iterations, and whether labels stopped changing."""

    centers: NDArray[np.float64]
    n_iter: int
    converged: bool


def lloyd(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    centers: NDArray[np.float64],
    iters: int,
    report: Callable[[int, float, NDArray[np.float64]], None],
) -> Fit:
    """Move centers (k, C) to the weighted means of their points, `iters` times.

    A center that owns no point moves to the point of the largest error. `report`
    gets the iteration, the squared error of the points to the means of their
    clusters per unit of weight, and the centers; a StopIteration raised by it ends
    the fit after that iteration.
    """
    old_labels = None
    for n_iter in range(1, iters + 1):
        labels = nearest(points, centers)
        if old_labels is not None and np.array_equal(labels, old_labels):
            return Fit(centers, n_iter - 1, converged=True)
        old_labels = labels
        centers = _means(points, weights, labels, centers)
        error = weights * _squared_error(points, centers, labels)
        centers = reseed_empty(points, error, labels, centers)
        try:
            report(n_iter, float(error.sum() / weights.sum()), centers)
        except StopIteration:
            return Fit(centers, n_iter, converged=False)
    return Fit(centers, iters, converged=False)


def reseed_empty(
    points: NDArray[np.float64],
    error: NDArray[np.float64],
    labels: NDArray[np.intp],
    centers: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Move the centers without points to the points of the largest `error`."""
    empty = np.flatnonzero(np.bincount(labels, minlength=len(centers)) == 0)
    if empty.size == 0:
        return centers
    worst = np.argsort(-error, kind="stable")[: empty.size]
    worst = worst[error[worst] > 0]
    moved = centers.copy()
    moved[empty[: worst.size]] = points[worst]
    return moved


def _means(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    labels: NDArray[np.intp],
    centers: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the weighted mean of each cluster; an empty one keeps its center."""
    k = len(centers)
    total = np.bincount(labels, weights, minlength=k)
    means = centers.copy()
    for channel in range(points.shape[1]):
        sums = np.bincount(labels, weights * points[:, channel], minlength=k)
        np.divide(sums, total, out=means[:, channel], where=total > 0)
    return means


def _squared_error(
    points: NDArray[np.float64],
    centers: NDArray[np.float64],
    labels: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Give the squared distance (n,) of each point to its center."""
    difference = points - centers[labels]
    return np.einsum("nc,nc->n", difference, difference)
