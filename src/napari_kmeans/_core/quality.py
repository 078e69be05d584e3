"""How good an image in few colors is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["peak_ratio", "premultiplied", "signal_peak", "white_of"]


def white_of(dtype: np.dtype[Any]) -> float:
    """Give the number of white, and of full opacity."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0


def premultiplied(colors: NDArray[Any], white: float) -> NDArray[np.float64]:
    """Make colors (n, C), the last channel being opacity, count as far as is seen."""
    values = colors.astype(np.float64)
    values[:, :-1] *= values[:, -1:] / white
    return values


def signal_peak(dtype: np.dtype[Any], low: float, high: float) -> float:
    """Give the peak of values from `low` to `high`, as `choose_k` describes it."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return float(limits.max) - (float(limits.min) if low < 0 else 0.0)
    return 1.0 if low >= 0 and high <= 1 else high - low


def peak_ratio(mse: float, peak: float, n_channels: int) -> float:
    """Turn a squared error into a peak signal-to-noise ratio in dB."""
    return math.inf if mse == 0 else 10 * math.log10(peak**2 * n_channels / mse)
