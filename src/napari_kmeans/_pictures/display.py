"""Pixels and colors of any kind, as people can look at them.

Arrays of any dtype come in; RGB pictures (`displayed`) and text (`hex_colors`) come
out. Read `displayed` first. Charts and pages are made of these in `charts` and
`report`, which both show a `Comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Comparison",
    "displayed",
    "displayed_range",
    "hex_colors",
    "middle_plane",
    "visible_range",
]

_CHECKERS = (255, 226)
# Pixels that show which values most of them have.
_SHOWN = 1 << 16
# How many times as wide as the other values a range is, if one of its ends is a fill
# value: in 256 levels, hardly four are left for all others.
_FAR = 64


class Comparison(NamedTuple):
    """An image before and after, as planes (rows, columns) or (rows, columns, C)."""

    before: Array
    after: Array
    palette: Array
    # Pixels of each palette color.
    counts: NDArray[np.int64]
    # Names of both files, and a line about each.
    names: tuple[str, str]
    details: tuple[str, str]
    # Rows of a table: a name, before, after.
    figures: Sequence[tuple[str, str, str]]


def middle_plane(pixels: Array, has_channels: bool) -> Array:
    """Return the plane in the middle of a stack, channels last."""
    while pixels.ndim > 2 + has_channels:
        pixels = pixels[len(pixels) // 2]
    return pixels


def displayed_range(pixels: Array) -> tuple[float, float]:
    """Return the values that are shown as black and as white.

    They are the ends of the `visible_range` of all pixels, and of zero.
    """
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    finite = pixels[np.isfinite(pixels)]
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    return visible_range(finite[:: 1 + len(finite) // _SHOWN], low, high)


def visible_range(values: Array, low: float, high: float) -> tuple[float, float]:
    """Return limits of contrast, without the fill values that would flatten all else.

    Fill values are ends of the range that all others are far from. They become the
    darkest or the brightest color.
    """
    found = np.unique(values) / 2
    for rest in (found[1:], found[:-1], found[1:-1]):
        if len(rest) > 1 and (high / 2 - low / 2) / _FAR > rest[-1] - rest[0]:
            room = (rest[-1] - rest[0]) / 8
            ends = max(low / 2, rest[0] - room), min(high / 2, rest[-1] + room)
            return float(ends[0] * 2), float(ends[1] * 2)
    return low, high


def displayed(pixels: Array, low: float, high: float) -> Image.Image:
    """Return (rows, columns) or (rows, columns, C) as RGB, transparent over checkers.

    Other dtypes than uint8 are stretched from `low` to `high`. Of two channels, or more
    than four, the first is shown.
    """
    from PIL import Image

    if pixels.dtype != np.uint8:
        # Divided by a power of two first, as differences of floats may overflow.
        down = -math.frexp(max(abs(low), abs(high)))[1]
        low, high = math.ldexp(low, down), math.ldexp(high, down)
        values = np.ldexp(pixels.astype(np.float64), down)
        unit = (values - low) / (high - low or 1.0)
        pixels = (255 * np.nan_to_num(unit).clip(0, 1)).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        pixels = pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.mode != "RGBA":
        return image.convert("RGB")
    rows, columns = np.indices(pixels.shape[:2]) // max(1, max(pixels.shape[:2]) // 64)
    checkers = np.where((rows + columns) % 2, *_CHECKERS).astype(np.uint8)
    paper = Image.fromarray(checkers).convert("RGBA")
    return Image.alpha_composite(paper, image).convert("RGB")


def hex_colors(palette: Array) -> list[str]:
    """Write colors (K, C) or (K,) of 8 bits as in CSS, others as their numbers.

    Gray becomes RGB; opacity, where there is a channel of it, always takes two digits.
    """
    colors = palette.reshape(len(palette), -1)
    if colors.dtype != np.uint8 or colors.shape[1] not in (1, 3, 4):
        return [" ".join(map(str, color)) for color in colors.tolist()]
    octets = colors.repeat(3, axis=1) if colors.shape[1] == 1 else colors
    return [f"#{bytes(color).hex()}" for color in octets]
