"""Image to distinct colors and their pixel numbers, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ColorCounts", "count_colors"]


class ColorCounts(NamedTuple):
    """Distinct colors (n, C) of an image and the number of pixels (n,) of each."""

    colors: NDArray[Any]
    counts: NDArray[np.int64]
    # Index (N,) into colors of each pixel.
    inverse: NDArray[np.intp]


def count_colors(pixels: NDArray[Any]) -> ColorCounts:
    """Count the distinct colors of finite pixels (N, C)."""
    colors, inverse, counts = np.unique(
        pixels, axis=0, return_inverse=True, return_counts=True
    )
    return ColorCounts(colors, counts, inverse.reshape(-1))
