"""How good an image in few colors is: its squared error, and decibels.

The error of a pixel is its squared distance to the color that stands for it, summed
over channels; with opacity, the mean of that over black and that over white.
`squared_errors` measures colors, `mean_color_error` counted ones, `mean_squared_error`
whole images, of which `sum_squared_errors` adds up parts. `peak_ratio` turns a mean
into a peak signal-to-noise ratio, against the peak that `signal_peak` defines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from napari_kmeans._core.arrays import Array, Floats, Mask

__all__ = [
    "are_seen",
    "finite",
    "mean_color_error",
    "mean_squared_error",
    "peak_ratio",
    "premultiplied",
    "signal_peak",
    "squared_errors",
    "sum_squared_errors",
    "white_of",
]


def white_of(dtype: np.dtype[Any]) -> float:
    """Return the number of white, and of full opacity."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0


def are_seen(colors: Array, has_alpha: bool) -> Mask:
    """Return where colors (..., C) are finite, and not fully transparent."""
    seen: Mask = np.asarray(np.isfinite(colors).all(axis=-1))
    return seen & (colors[..., -1] > 0) if has_alpha else seen


def premultiplied(colors: Array, white: float) -> Floats:
    """Return colors (n, C), the last channel being opacity, as far as they are seen."""
    values = colors.astype(np.float64)
    with np.errstate(over="ignore"):
        values[:, :-1] *= values[:, -1:] / white
    return finite(values)


def finite(values: Floats) -> Floats:
    """Return products of finite numbers, those that float64 cannot hold as its last."""
    limit = np.finfo(np.float64).max
    return np.clip(values, -limit, limit)


def squared_errors(colors: Array, others: Array, has_alpha: bool) -> Floats:
    """Return squared distances (n,) of colors (n, C) of an image to others (n, C).

    With opacity, they are the means of what is seen over black and over white, with the
    white of the dtype: of differences d of premultiplied colors, and o of opacities in
    units of white, ``|d - o / 2|^2 + o^2 (C - 1) / 4``. Those that float64 cannot hold
    are inf.
    """
    first: Array = colors
    second: Array = others
    if has_alpha:
        white = white_of(colors.dtype)
        first, second = premultiplied(colors, white), premultiplied(others, white)
    elif colors.dtype == others.dtype and colors.dtype in (np.int64, np.uint64):
        # They may differ by less than float64 can tell of each.
        first = np.maximum(colors, others).view(np.uint64)
        first, second = first - np.minimum(colors, others).view(np.uint64), np.zeros(1)
    with np.errstate(over="ignore"):
        difference = first.astype(np.float64) - second.astype(np.float64)
        if has_alpha:
            difference = finite(difference)
            difference[:, :-1] -= difference[:, -1:] / 2
            difference[:, -1] *= math.sqrt(difference.shape[1] - 1) / 2
        return np.asarray(np.square(difference).sum(axis=1))


def mean_color_error(
    colors: Array, counts: Array, others: Array, has_alpha: bool
) -> float:
    """Return the mean error of counted colors (n, C), as `mean_squared_error` does."""
    seen = are_seen(colors, has_alpha)
    errors = squared_errors(colors[seen], others[seen], has_alpha)
    with np.errstate(over="ignore"):
        total = float((errors * counts[seen]).sum())
    return total / max(float(counts[seen].sum()), 1.0)


def mean_squared_error(pairs: Iterable[tuple[Array, Array]], has_alpha: bool) -> float:
    """Return the mean error of pixels, as `sum_squared_errors` adds them up."""
    total, n_pixels = sum_squared_errors(pairs, has_alpha)
    return total / max(n_pixels, 1)


def sum_squared_errors(
    pairs: Iterable[tuple[Array, Array]], has_alpha: bool
) -> tuple[float, int]:
    """Return the errors of pixels, in blocks (m, C) of an image and of another.

    Pixels that are not finite, or fully transparent, in the image are left out, and not
    in their number, which is returned, too.
    """
    total, n_pixels = 0.0, 0
    for before, after in pairs:
        seen = are_seen(before, has_alpha)
        errors = squared_errors(before[seen], after[seen], has_alpha)
        with np.errstate(over="ignore"):
            total += float(errors.sum())
        n_pixels += int(np.count_nonzero(seen))
    return total, n_pixels


def signal_peak(dtype: np.dtype[Any], low: float, high: float) -> float:
    """Return the peak of values from `low` to `high`, as `choose_k` describes it."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return float(limits.max) - (float(limits.min) if low < 0 else 0.0)
    return 1.0 if low >= 0 and high <= 1 else high - low


def peak_ratio(mse: float, peak: float, n_channels: int) -> float:
    """Turn a squared error into a peak signal-to-noise ratio in dB.

    It is -inf where the error is.
    """
    if mse in (0, math.inf):
        return -math.inf if mse else math.inf
    # The square of the peak may not fit float64.
    return 20 * math.log10(peak) + 10 * math.log10(n_channels / mse)
