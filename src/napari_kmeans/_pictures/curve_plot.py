"""The plot of errors against numbers of colors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Curve", "draw_curves"]

# Drawn at twice the size, so that shrinking makes lines smooth.
_WIDTH, _HEIGHT = 1920, 1200
_LEFT, _TOP, _RIGHT, _BOTTOM = 180, 100, 80, 140
_ROW = 52
_SIZE = 36
_PAPER, _INK, _FAINT, _GRID = "#ffffff", "#1a1a1a", "#6b6b6b", "#e4e4e4"
# Okabe and Ito: told apart also by the color-blind.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


class Curve(NamedTuple):
    """Quality of one image: for each number of colors a PSNR in dB, or infinity."""

    name: str
    ks: Sequence[int]
    psnrs: Sequence[float]


def draw_curves(curves: Sequence[Curve]) -> NDArray[np.uint8]:
    """Draw curves over a common logarithmic axis of numbers of colors.

    What is lossless has no PSNR and is left out.
    """
    from PIL import Image, ImageDraw, ImageFont

    height = _HEIGHT + _ROW * len(curves)
    picture = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(_SIZE)
    points = [(k, p) for c in curves for k, p in _finite(c)] or [(1, 0.0), (2, 1.0)]
    left, right = (math.log2(f(k for k, _ in points)) for f in (min, max))
    low, high = (f(p for _, p in points) for f in (min, max))
    low, high = 5 * math.floor(low / 5), 5 * math.ceil(high / 5 + 1e-9)
    high, right = max(high, low + 5), max(right, left + 1)

    def place(k: float, value: float) -> tuple[float, float]:
        across = (math.log2(k) - left) / (right - left)
        up = (value - low) / (high - low)
        x = _LEFT + across * (_WIDTH - _LEFT - _RIGHT)
        return x, _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    for exponent in range(math.ceil(left), math.floor(right) + 1):
        x, bottom = place(2.0**exponent, low)
        draw.line((x, _TOP, x, bottom), fill=_GRID, width=2)
        draw.text((x, bottom + 16), f"{2**exponent:,}", _FAINT, font, anchor="mt")
    for value in range(low, high + 1, 5 if high - low <= 40 else 10):
        x, y = place(2.0**left, value)
        draw.line((x, y, _WIDTH - _RIGHT, y), fill=_GRID, width=2)
        draw.text((x - 20, y), str(value), _FAINT, font, anchor="rm")
    draw.text((_LEFT, _TOP - 28), "PSNR (dB)", _INK, font, anchor="ls")
    draw.text((_WIDTH - _RIGHT, _HEIGHT - 40), "colors", _INK, font, anchor="rs")
    for number, curve in enumerate(curves):
        color = _COLORS[number % len(_COLORS)]
        line: list[Any] = [place(k, value) for k, value in _finite(curve)]
        if len(line) > 1:
            draw.line(line, fill=color, width=6, joint="curve")
        for x, y in line:
            draw.ellipse((x - 10, y - 10, x + 10, y + 10), fill=color)
        y = _HEIGHT + _ROW * number
        draw.line((_LEFT, y + 8, _LEFT + 60, y + 8), fill=color, width=8)
        draw.text((_LEFT + 88, y + 8), curve.name[:80], _INK, font, anchor="lm")
    return np.asarray(picture.reduce(2))


def _finite(curve: Curve) -> list[tuple[int, float]]:
    """Give the points of a curve that have a place in the plot."""
    pairs = zip(curve.ks, curve.psnrs, strict=True)
    return [(k, value) for k, value in pairs if math.isfinite(value)]
