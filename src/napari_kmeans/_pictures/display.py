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

__all__ = ["Comparison", "displayed", "displayed_range", "hex_colors", "middle_plane"]

_CHECKERS = (255, 226)


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
    """Return the values that are shown as black and as white."""
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    finite = pixels[np.isfinite(pixels)]
    return float(finite.min(initial=0)), float(finite.max(initial=0))


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
