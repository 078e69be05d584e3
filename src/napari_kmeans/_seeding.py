"""Initial centers of k-means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["kmeans_plus_plus", "random_points", "variance_boxes"]


def random_points(
    counts: NDArray[np.int64], k: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw `k` pixels without replacement; index their points."""
    ends = np.cumsum(counts)
    pixels = rng.choice(ends[-1], k, replace=False)
    return np.searchsorted(ends, pixels, side="right")


def kmeans_plus_plus(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    k: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Draw points with probability proportional to their squared error so far.

    Arthur and Vassilvitskii, SODA 2007, section 2.2, without trial draws. Points
    are distinct and more than `k`, so no point is drawn twice.
    """
    chosen = np.empty(k, dtype=np.intp)
    probability = weights
    distance = np.full(len(points), np.inf)
    for i, uniform in enumerate(rng.random(k)):
        ends = np.cumsum(probability)
        drawn = np.searchsorted(ends, uniform * ends[-1], side="right")
        chosen[i] = min(drawn, np.flatnonzero(probability)[-1])
        difference = points - points[chosen[i]]
        squared = np.einsum("nc,nc->n", difference, difference)
        np.minimum(distance, squared, out=distance)
        probability = weights * distance
    return chosen


def variance_boxes(
    points: NDArray[np.float64], weights: NDArray[np.float64], k: int
) -> NDArray[np.float64]:
    """Cut the points into `k` boxes of small variance; give the mean of each.

    Wu, Graphics Gems II, 1991, pp. 126-133: a box is cut across the channel and at
    the value that lower its squared error most. Here every box is cut at its best
    place in each round, and a round keeps the cuts that gain at least half as much
    as its best one. Cuts move no box but their own, so all of a round are found
    together from sums along the points sorted by box and channel.
    """
    box = np.zeros(len(points), dtype=np.intp)
    n_boxes = 1
    while n_boxes < k:
        gain, channel, value = _best_cuts(points, weights, box, n_boxes)
        cut = np.argsort(-gain, kind="stable")[: k - n_boxes]
        cut = cut[(gain[cut] > 0) & (gain[cut] >= gain[cut[0]] / 2)]
        if cut.size == 0:
            break
        new_box = np.full(n_boxes, -1)
        new_box[cut] = n_boxes + np.arange(cut.size)
        coordinate = np.take_along_axis(points, channel[box, np.newaxis], 1)[:, 0]
        moved = (new_box[box] >= 0) & (coordinate > value[box])
        box[moved] = new_box[box[moved]]
        n_boxes += cut.size
    total = np.bincount(box, weights)
    sums = [np.bincount(box, weights * column) for column in points.T]
    return np.stack(sums, axis=1) / total[:, np.newaxis]


def _best_cuts(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    box: NDArray[np.intp],
    n_boxes: int,
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Give each box's largest fall of squared error by one cut, and where it is."""
    n_channels = points.shape[1]
    total = np.bincount(box, weights, n_boxes)
    sums = np.stack([np.bincount(box, weights * p, n_boxes) for p in points.T], 1)
    gains = np.full((n_channels, n_boxes), -np.inf)
    values = np.zeros((n_channels, n_boxes))
    ends = np.cumsum(np.bincount(box, minlength=n_boxes))
    starts = np.concatenate(([0], ends[:-1]))
    for channel in range(n_channels):
        order = np.lexsort((points[:, channel], box))
        sorted_box, coordinate = box[order], points[order, channel]
        running = np.cumsum(weights[order])
        below = running - np.concatenate(([0.0], running))[starts][sorted_box]
        above = total[sorted_box] - below
        fall = np.zeros(len(points))
        for other in range(n_channels):
            running = np.cumsum(weights[order] * points[order, other])
            first = running - np.concatenate(([0.0], running))[starts][sorted_box]
            mean = sums[sorted_box, other] / total[sorted_box]
            # Moving a mean by d lowers the error by weight * d^2, on either side.
            with np.errstate(divide="ignore", invalid="ignore"):
                fall += (first - below * mean) ** 2 * (1 / below + 1 / above)
        # A cut lies between two values of the channel, inside a box.
        inside = np.empty(len(points), dtype=bool)
        inside[:-1] = (sorted_box[1:] == sorted_box[:-1]) & (
            coordinate[1:] > coordinate[:-1]
        )
        inside[-1] = False
        fall[~inside] = -np.inf
        best = np.maximum.reduceat(fall, starts)
        is_best = np.flatnonzero(fall == best[sorted_box])
        # Written backwards, so the first of equally good cuts remains.
        values[channel, sorted_box[is_best[::-1]]] = coordinate[is_best[::-1]]
        gains[channel] = best
    channel = gains.argmax(axis=0)
    boxes = np.arange(n_boxes)
    return gains[channel, boxes], channel, values[channel, boxes]
