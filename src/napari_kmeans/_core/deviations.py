"""How far the fitted pixels spread in each coordinate in which distances are measured.

`standard_deviations` reads a counted image, or the pixels of one whose colors were too
many. Those of integers come from exact sums, which no order of pixels changes; those of
floats that are not counted are equal to rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.blocks import cut
from napari_kmeans._core.pixels import (
    CountedImage,
    added,
    fold_image,
    framing_blocks,
    is_fitted,
    seen_colors,
)
from napari_kmeans._core.spaces import Space, ends_of, points_of, space_of, unit_of

__all__ = ["standard_deviations"]

# Bits of the digits of integers, and bytes per item that leave a block few enough items
# for sums of products of three digits to fit 63 bits.
_DIGIT, _ITEM = 16, 64
# Perceptual coordinates that spread less, in shares of white, do not differ: so do the
# hues of grays, by rounding.
_UNSEEN = {"rgb": 0.0, "lab": 1e-2, "oklab": 1e-4}


def standard_deviations(image: CountedImage) -> list[float]:
    """Return the standard deviation of each coordinate but opacity, 1 if it is 0.

    It is that of the population of all pixels that are fitted, in units of the image or
    of the perceptual space.
    """
    layout = image.layout._replace(weights=None)
    n_coordinates = layout.n_channels - layout.has_alpha
    framing = list(framing_blocks(image, layout))
    if not framing:
        return [1.0] * n_coordinates
    space = space_of(layout, lambda: framing)
    is_whole = space.frame.origin.dtype.kind != "f"
    variances = (_whole_variances if is_whole else _variances)(image, space)
    low, high = ends_of(points_of(block, space) for block in framing)
    deviations = [math.sqrt(variance) / unit_of(space) for variance in variances]
    least = _UNSEEN[layout.space]
    return [
        deviation if deviation > least and differ else 1.0
        for deviation, differ in zip(
            deviations[:n_coordinates], (low < high).tolist(), strict=False
        )
    ]


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


def _whole_variances(image: CountedImage, space: Space) -> list[float]:
    """Return the variance of each coordinate (D,) of integers."""
    find = partial(_sum_powers, space=space)
    n, *sums = fold_image(image, find, added)
    totals, squares = sums[::2], sums[1::2]
    return [
        (n * square - total**2) / n**2
        for total, square in zip(totals, squares, strict=True)
    ]


def _sum_powers(image: CountedImage, space: Space) -> tuple[int, ...]:
    """Return the number of pixels, and the sum and squares of each coordinate."""
    sums = [0] * (1 + 2 * len(space.frame.origin))
    for colors, counts in _blocks(image):
        points = points_of(colors, space)
        # Of 64 bits, points may be rounded.
        values = points if points.dtype.kind == "u" else colors
        number = _digits(counts)
        sums[0] += _sum_products(number)
        for i, column in enumerate(values.T):
            digits = _digits(column)
            sums[1 + 2 * i] += _sum_products(number, digits)
            sums[2 + 2 * i] += _sum_products(number, digits, digits)
    return tuple(sums)


def _digits(values: Array) -> list[NDArray[np.int64]]:
    """Split integers (m,) into digits, the lowest first; the last one has the sign."""
    wide = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64)
    n_bits = max(int(end).bit_length() for end in (wide.min(), wide.max()))
    ends = range(0, max(n_bits, 1), _DIGIT)
    digits = [(wide >> end).astype(np.int64) for end in ends]
    mask = (1 << _DIGIT) - 1
    return [digit & mask for digit in digits[:-1]] + digits[-1:]


def _sum_products(*factors: list[NDArray[np.int64]]) -> int:
    """Add up the products of integers in digits, exactly."""
    total = 0
    for chosen in itertools.product(*map(enumerate, factors)):
        places, digits = zip(*chosen, strict=True)
        total += int(reduce(np.multiply, digits).sum()) << _DIGIT * sum(places)
    return total


def _variances(image: CountedImage, space: Space) -> list[float]:
    """Return the variance of each coordinate (D,) of floats."""
    n, _, squares = fold_image(image, partial(_spread, space=space), _joined)
    variances: list[float] = (squares / n).tolist()
    return variances


def _spread(image: CountedImage, space: Space) -> tuple[Floats, ...]:
    """Return the number of pixels, the means (D,), and squares (D,) about these."""
    nothing = np.zeros(len(space.frame.origin))
    found: list[tuple[Floats, ...]] = [(np.zeros(1), nothing, nothing)]
    for colors, counts in _blocks(image):
        points, weights = points_of(colors, space), counts[:, np.newaxis].astype(float)
        n = weights.sum(axis=0)
        means = (points * weights).sum(axis=0) / n
        squares = (np.square(points - means) * weights).sum(axis=0)
        found.append((n, means, squares))
    return _joined(found)


def _joined(found: list[tuple[Floats, ...]]) -> tuple[Floats, ...]:
    """Return what `_spread` does, of some parts."""
    n, means, squares = map(np.stack, zip(*found, strict=True))
    total = n.sum(axis=0)
    middle = (n * means).sum(axis=0) / np.maximum(total, 1)
    # Steiner: squares about another point are more by that of the distance to it.
    return total, middle, (squares + n * np.square(means - middle)).sum(axis=0)
