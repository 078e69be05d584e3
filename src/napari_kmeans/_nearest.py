"""Nearest center of each point, exactly and in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nearest"]

# Distances held at once; 2 MB of float64 stay in the cache of a core.
_BLOCK_DISTANCES = 1 << 18


def nearest(
    points: NDArray[np.float64], centers: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index the nearest of centers (k, C) for points (n, C), the lowest on a tie."""
    labels = np.empty(len(points), dtype=np.intp)
    step = max(1, _BLOCK_DISTANCES // len(centers))
    for start in range(0, len(points), step):
        block = points[start : start + step]
        distance = np.zeros((len(block), len(centers)))
        for channel in range(points.shape[1]):
            difference = block[:, channel, np.newaxis] - centers[:, channel]
            distance += difference * difference
        labels[start : start + step] = distance.argmin(axis=1)
    return labels
