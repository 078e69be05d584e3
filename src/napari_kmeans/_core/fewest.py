"""The fewest colors whose palette reaches a quality.

`fit_fewest` fits one number of colors after the other, and guesses the next one from
the errors so far. How a palette is fitted is left to `fitting`.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

from napari_kmeans._core.fitting import FitOptions, FittedImage, fit_palette, fit_source
from napari_kmeans._core.pixels import CountedImage

__all__ = ["fit_fewest"]

# Most times more colors that are tried next.
_LEAP = 8


class _Trial(NamedTuple):
    """A fit of `k` colors, and the logarithm of its error over the wanted one."""

    k: int
    fitted: FittedImage
    excess: float


def fit_fewest(
    image: CountedImage, options: FitOptions, most: float, max_k: int
) -> FittedImage | None:
    """Fit `options.k` colors or more, of an error of at most `most`; one less has more.

    None if `max_k` colors have more. Errors fall about as a power of the number of
    colors: a line through the logarithms of two fits tells the next number, and the
    middle of the range does where it was a poor guide.
    """
    source = fit_source(image)

    def tried(k: int) -> _Trial:
        fitted = fit_palette(source, options._replace(k=k))
        return _Trial(k, fitted, _log(fitted.result.mse) - _log(most))

    few, many = None, tried(options.k)
    while many.fitted.result.mse > most:
        if many.k == max_k:
            return None
        k = _LEAP * many.k if few is None else math.ceil(_crossing(few, many))
        # Fits too close to each other would tell more of chance than of the slope.
        k = max(k, many.k + 1 + many.k // 64)
        few, many = many, tried(min(k, max_k))
    in_a_row = 0  # Trials that were enough, or if negative, too few.
    while few is not None and many.k - few.k > 1:
        k = (few.k + many.k) // 2
        if abs(in_a_row) < 2:
            k = round(_crossing(few, many))
        trial = tried(min(max(k, few.k + 1), many.k - 1))
        if trial.fitted.result.mse > most:
            few, in_a_row = trial, min(in_a_row, 0) - 1
        else:
            many, in_a_row = trial, max(in_a_row, 0) + 1
    return many.fitted


def _crossing(few: _Trial, many: _Trial) -> float:
    """Return where, within a leap, the line through two fits meets the wanted error."""
    slope = (few.excess - many.excess) / math.log(many.k / few.k)
    leap = math.log(_LEAP * many.k / few.k)
    return few.k * math.exp(min(few.excess / slope, leap) if slope > 0 else leap)


def _log(value: float) -> float:
    # An infinite one would leave no slope.
    return math.log(min(value, sys.float_info.max)) if value > 0 else -math.inf
