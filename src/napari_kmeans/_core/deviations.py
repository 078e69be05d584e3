"""How far the fitted pixels spread in each coordinate in which distances are measured.

`standard_deviations` reads a counted image, or the pixels of one whose colors were too
many. Those of integers come from exact sums, which no order of pixels changes; those of
floats that are not counted are equal to rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from napari_kmeans._core.arrays import Array
from napari_kmeans._core.blocks import cut
from napari_kmeans._core.pixels import (
    CountedImage,
    added,
    fold_image,
    framing_blocks,
    is_fitted,
    seen_colors,
)
from napari_kmeans._core.spaces import Space, points_of, space_of, unit_of

__all__ = ["standard_deviations"]

# Bits of the digits of integers, and bytes per item that leave a block few enough items
# for sums of products of three digits to fit 63 bits.
_DIGIT, _ITEM = 16, 64
# Perceptual coordinates that spread less do not differ: so do the hues of grays, by
# rounding.
_UNSEEN = {"rgb": 0.0, "lab": 1e-2, "oklab": 1e-4}


def standard_deviations(image: CountedImage) -> list[float]:
    """Return the standard deviation of each coordinate but opacity, 1 if it is 0.

    It is that of the population of all pixels that are fitted, in units of the image or
    of the perceptual space.
    """
    layout = image.layout._replace(weights=None)
    n_coordinates = layout.n_channels - layout.has_alpha
    framing = list(framing_blocks(image))
    if not framing:
        return [1.0] * n_coordinates
    space = space_of(layout, lambda: framing)
    n, *sums = fold_image(image, lambda part: _sum_powers(part, space), added)
    deviations = []
    for i in range(n_coordinates):
        mean, square = (Fraction(some[i]) / Fraction(n) for some in sums)
        variance = max(float(square - mean**2), 0.0)
        deviation = math.sqrt(variance) / unit_of(space)
        is_seen = deviation > _UNSEEN[layout.space]
        deviations.append(deviation if is_seen else 1.0)
    return deviations


def _sum_powers(image: CountedImage, space: Space) -> tuple[Any, ...]:
    """Return the number of pixels, and sums and squares (D,) of their points.

    Those of integers are exact.
    """
    n, powers = 0, np.zeros((2, len(space.frame.origin)), dtype=object)
    for colors, counts in _blocks(image):
        points = points_of(colors, space)
        # Integers of 64 bits may be rounded as points.
        is_exact = points.dtype.kind == "u" or space.frame.origin.dtype.kind == "f"
        columns = (points if is_exact else colors).T
        n += _sum_products(counts)
        for place, column in enumerate(columns):
            powers[0, place] += _sum_products(counts, column)
            powers[1, place] += _sum_products(counts, column, column)
    return n, *powers


def _blocks(image: CountedImage) -> Iterator[tuple[Array, Array]]:
    """Yield colors (m, C) that are fitted, and how many pixels have each."""
    counts = None
    if image.counted is not None:
        counts = image.counted.counts[is_fitted(image.counted, image.layout)]
    for colors in seen_colors(image):
        for block in cut(len(colors), _ITEM):
            some = colors[block]
            yield (
                some,
                np.ones(len(some), np.int64) if counts is None else counts[block],
            )


def _sum_products(*factors: Array) -> Any:
    """Add up the products of numbers (m,), those of integers exactly."""
    if factors[-1].dtype.kind == "f":
        return float(reduce(np.multiply, factors).sum())
    total = 0
    for chosen in itertools.product(*map(_digits, factors)):
        places, digits = zip(*chosen, strict=True)
        total += int(reduce(np.multiply, digits).sum()) << sum(places)
    return total


def _digits(values: Array) -> list[tuple[int, Array]]:
    """Split integers (m,) into digits at some bits; the highest one has the sign."""
    wide = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64)
    n_bits = max(int(end).bit_length() for end in (wide.min(), wide.max()))
    last = max(n_bits - 1, 0) // _DIGIT * _DIGIT
    lower = range(0, last, _DIGIT)
    digits = [(bit, wide >> bit & (1 << _DIGIT) - 1) for bit in lower]
    return [(bit, d.astype(np.int64)) for bit, d in [*digits, (last, wide >> last)]]
