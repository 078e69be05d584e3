"""Initial centers that are drawn at random.

`random_pixels` is the textbook start, `kmeans_plus_plus` the one of Arthur and
Vassilvitskii. Both return indices of colors. Centers that are searched are left to
`search`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.blocks import checkpoint

__all__ = ["kmeans_plus_plus", "random_pixels"]


def random_pixels(
    counts: NDArray[np.integer[Any]], k: int, rng: np.random.Generator
) -> Indices:
    """Draw `k` pixels without replacement; index their colors."""
    ends = np.cumsum(counts, dtype=np.int64)
    pixels = rng.choice(ends[-1], k, replace=False)
    return np.searchsorted(ends, pixels, side="right")


def kmeans_plus_plus(
    points: Array, weights: Floats, k: int, rng: np.random.Generator
) -> Indices:
    """Draw points (n, C) with probability proportional to their squared error so far.

    Arthur and Vassilvitskii, SODA 2007, section 2.2. The points are distinct, and at
    least `k`, and none is drawn twice. Where squares cannot tell those that are left
    from those drawn, it is by their weights.
    """
    chosen = np.empty(k, dtype=np.intp)
    squared = np.full(len(points), np.inf)
    # Shares, so that products stay finite, and an image repeated gives the same draws.
    weights = weights / weights.sum()
    probability = weights
    for i, uniform in enumerate(rng.random(k)):
        checkpoint()
        ends = np.cumsum(probability)
        drawn = int(np.searchsorted(ends, uniform * ends[-1], side="right"))
        if drawn == len(ends):  # The product of a denormal rounded up.
            drawn = int(np.flatnonzero(probability)[-1])
        chosen[i] = drawn
        center = points[drawn].astype(np.float64)
        np.minimum(squared, np.square(points - center).sum(axis=1), out=squared)
        probability = weights * squared
        if not probability.any():
            probability = weights.copy()
            probability[chosen[: i + 1]] = 0
    return chosen
