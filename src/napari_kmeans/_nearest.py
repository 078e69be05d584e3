"""Nearest center of each point by comparing them all, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nearest"]

# Distances held at once: they stay in the cache of a core.
_BLOCK = 1 << 16


def nearest(
    points: NDArray[Any], centers: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index the nearest of centers (k, C) for points (n, C), and its squared distance.

    A tie goes to the lowest index. Squares of differences are added channel by
    channel, as in `_cells`, so the two agree to the last bit.
    """
    labels = np.empty(len(points), dtype=np.intp)
    squared = np.empty(len(points))
    step = max(1, _BLOCK // len(centers))
    for start in range(0, len(points), step):
        block = points[start : start + step]
        distance = np.square(block[:, :1] - centers[:, 0])
        for channel in range(1, block.shape[1]):
            difference = block[:, channel, np.newaxis] - centers[:, channel]
            difference *= difference
            distance += difference
        label = distance.argmin(axis=1)
        labels[start : start + step] = label
        squared[start : start + step] = distance[np.arange(len(label)), label]
    return labels, squared
