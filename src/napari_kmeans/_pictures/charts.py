"""Charts: an image before and after, errors against numbers of colors, swatches.

Each function takes arrays or numbers and returns a picture, (rows, columns, 3) of
uint8: `draw_before_after` shows two images over their palette, `draw_curves` the
quality of images for many numbers of colors, `draw_swatches` a palette alone.
`encode_swatches` returns the content of a file, which may hold the palette as its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Labels
from napari_kmeans._files.formats import format_of, palette_misfit
from napari_kmeans._files.indexed import encode_indexed
from napari_kmeans._files.read import ImageFile
from napari_kmeans._files.write import encode_image
from napari_kmeans._pictures.display import Comparison, displayed, displayed_range

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Curve",
    "draw_before_after",
    "draw_curves",
    "draw_swatches",
    "encode_swatches",
    "swatch_labels",
]

_PAPER, _INK, _FAINT = "#ffffff", "#1a1a1a", "#6b6b6b"
_EDGE, _GRID = "#d9d9d9", "#e4e4e4"

# Of images before and after.
_LARGEST = 960
_SMALLEST = _NARROWEST = 420
_MARGIN = 40
_GAP = 28
_TITLE_SIZE = 24
_DETAIL_SIZE = 18
_TITLE_HEIGHT = 72
_SWATCH_HEIGHT = 56
_ROW_OF_SWATCHES = 64
_MOST_SWATCHES = 512

# Of curves, drawn at twice the size, so that shrinking makes lines smooth.
_PLOT_WIDTH, _PLOT_HEIGHT = 1920, 1200
_LEFT, _TOP, _RIGHT, _BOTTOM = 180, 100, 80, 140
_ROW = 52
_SIZE = 36
# Okabe and Ito: told apart also by the color-blind.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

# Of swatches.
_MOST_IN_A_ROW = 16
_SWATCH_SIDE = 60
_SWATCHES_WIDTH = _MOST_IN_A_ROW * _SWATCH_SIDE


def draw_before_after(comparison: Comparison) -> NDArray[np.uint8]:
    """Draw two images of one shape side by side over their palette.

    Large images are shrunk to `_LARGEST` pixels, small ones show their pixels as
    squares. Other dtypes than uint8 are stretched, all from the same black to the
    same white. A palette of more than `_MOST_SWATCHES` colors is shown in part.
    """
    from PIL import Image, ImageDraw

    low, high = displayed_range(comparison.before)
    planes, palette = (comparison.before, comparison.after), comparison.palette
    shown = [_resized(displayed(plane, low, high)) for plane in planes]
    n_swatches = min(len(palette), _MOST_SWATCHES)
    some = np.linspace(0, len(palette) - 1, n_swatches).round().astype(int)
    swatches = displayed(palette[np.newaxis, some], low, high)
    width = max(_NARROWEST, shown[0].width)
    top = _MARGIN + _TITLE_HEIGHT
    rows = math.ceil(n_swatches / _ROW_OF_SWATCHES)
    bottom = top + shown[0].height + _GAP
    size = (2 * _MARGIN + 2 * width + _GAP, bottom + rows * _SWATCH_HEIGHT + _MARGIN)
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    texts = zip(comparison.names, comparison.details, strict=True)
    lefts = (_MARGIN, _MARGIN + width + _GAP)
    for left, image, text in zip(lefts, shown, texts, strict=True):
        _draw_titles(draw, (left, _MARGIN), width, text)
        picture.paste(image, (left, top))
        # A thin line around an image, so that white ones end somewhere.
        edge = (left - 1, top - 1, left + image.width, top + image.height)
        draw.rectangle(edge, outline=_EDGE)
    _draw_swatches(picture, swatches, bottom)
    return np.asarray(picture)


def _resized(image: Image.Image) -> Image.Image:
    """Shrink a large image, and enlarge the pixels of a small one."""
    from PIL import Image, ImageOps

    longest = max(image.size)
    if longest < _SMALLEST:
        times = math.ceil(_SMALLEST / longest)
        return ImageOps.scale(image, times, Image.Resampling.NEAREST)
    sides = (_LARGEST, _LARGEST)
    image.thumbnail(sides, Image.Resampling.LANCZOS, reducing_gap=None)
    return image


def _draw_titles(
    draw: Any, corner: tuple[int, int], width: int, texts: tuple[str, str]
) -> None:
    """Write the title and, below it, the detail, both cut to the width."""
    from PIL import ImageFont

    left, top = corner
    for text, size, ink, down in (
        (texts[0], _TITLE_SIZE, _INK, 0),
        (texts[1], _DETAIL_SIZE, _FAINT, _TITLE_SIZE + 10),
    ):
        font = ImageFont.load_default(size)
        draw.text((left, top + down), _cut(text, font, width), fill=ink, font=font)


def _cut(text: str, font: Any, width: int) -> str:
    """Leave out the middle of a text that is too long, not its suffix."""
    keep = len(text)
    short = text
    while font.getlength(short) > width and keep > 2:
        keep -= 1
        short = f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"
    return short


def _draw_swatches(picture: Image.Image, swatches: Image.Image, top: int) -> None:
    """Draw the palette in rows across the picture."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    across = picture.width - 2 * _MARGIN
    columns = min(swatches.width, _ROW_OF_SWATCHES)
    # Rounded edges, not widths, so that a row ends where the images end.
    edges = [_MARGIN + round(across * i / columns) for i in range(columns + 1)]
    for index in range(swatches.width):
        row, column = divmod(index, columns)
        y = top + row * _SWATCH_HEIGHT
        box = (edges[column], y, edges[column + 1] - 1, y + _SWATCH_HEIGHT - 1)
        draw.rectangle(box, fill=swatches.getpixel((index, 0)), outline=_EDGE)


class Curve(NamedTuple):
    """Quality of one image: for each number of colors a PSNR in dB, or infinity."""

    name: str
    ks: Sequence[int]
    psnrs: Sequence[float]


def draw_curves(curves: Sequence[Curve]) -> NDArray[np.uint8]:
    """Draw curves over a common logarithmic axis of numbers of colors.

    Lossless points have no PSNR and are left out.
    """
    from PIL import Image, ImageDraw, ImageFont

    height = _PLOT_HEIGHT + _ROW * len(curves)
    picture = Image.new("RGB", (_PLOT_WIDTH, height), _PAPER)
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
        x = _LEFT + across * (_PLOT_WIDTH - _LEFT - _RIGHT)
        return x, _PLOT_HEIGHT - _BOTTOM - up * (_PLOT_HEIGHT - _TOP - _BOTTOM)

    for exponent in range(math.ceil(left), math.floor(right) + 1):
        x, bottom = place(2.0**exponent, low)
        draw.line((x, _TOP, x, bottom), fill=_GRID, width=2)
        draw.text((x, bottom + 16), f"{2**exponent:,}", _FAINT, font, anchor="mt")
    step = 5 if high - low <= 40 else 10 * math.ceil((high - low) / 100)
    for value in range(low, high + 1, step):
        x, y = place(2.0**left, value)
        draw.line((x, y, _PLOT_WIDTH - _RIGHT, y), fill=_GRID, width=2)
        draw.text((x - 20, y), str(value), _FAINT, font, anchor="rm")
    draw.text((_LEFT, _TOP - 28), "PSNR (dB)", _INK, font, anchor="ls")
    draw.text(
        (_PLOT_WIDTH - _RIGHT, _PLOT_HEIGHT - 40), "colors", _INK, font, anchor="rs"
    )
    for number, curve in enumerate(curves):
        color = _COLORS[number % len(_COLORS)]
        line: list[Any] = [place(k, value) for k, value in _finite(curve)]
        if len(line) > 1:
            draw.line(line, fill=color, width=6, joint="curve")
        for x, y in line:
            draw.ellipse((x - 10, y - 10, x + 10, y + 10), fill=color)
        y = _PLOT_HEIGHT + _ROW * number
        draw.line((_LEFT, y + 8, _LEFT + 60, y + 8), fill=color, width=8)
        draw.text((_LEFT + 88, y + 8), curve.name[:80], _INK, font, anchor="lm")
    return np.asarray(picture.reduce(2))


def _finite(curve: Curve) -> list[tuple[int, float]]:
    """Return the points of a curve that have a place in the plot."""
    pairs = zip(curve.ks, curve.psnrs, strict=True)
    return [(k, value) for k, value in pairs if math.isfinite(value)]


def draw_swatches(palette: Array) -> NDArray[np.uint8]:
    """Draw the colors (K, C) or (K,) where `swatch_labels` has them.

    Other dtypes than uint8 are stretched.
    """
    low, high = displayed_range(palette)
    colors = np.asarray(displayed(palette[np.newaxis], low, high))[0]
    picture: NDArray[np.uint8] = colors[swatch_labels(len(colors))]
    return picture


def swatch_labels(n_colors: int) -> Labels:
    """Lay colors out in rows of at most 16, or up to as many as there are rows.

    There is nothing but colors: rows of fewer colors are as wide as the others.
    """
    n_rows = math.ceil(n_colors / max(_MOST_IN_A_ROW, math.isqrt(n_colors)))
    rows = np.array_split(np.arange(n_colors), n_rows)
    side = min(_SWATCH_SIDE, _SWATCHES_WIDTH // len(rows[0]))
    places = np.arange(side * len(rows[0]))
    labels = [row[places * len(row) // len(places)] for row in rows]
    dtype = np.uint8 if n_colors <= 256 else np.uint16
    return np.repeat(np.array(labels, dtype), side, axis=0)


def encode_swatches(name: str, palette: Array) -> bytes:
    """Draw colors (K, C) or (K,) into the content of an image file.

    Where the format has a palette that can hold the colors, it is that of the file.
    """
    colors = palette.reshape(len(palette), -1)
    if colors.shape[1] == 1:
        colors = colors.repeat(3, axis=1)
    misfit = palette_misfit(format_of(name), 2, colors)
    if colors.shape[1] not in (3, 4) or misfit is not None:
        return encode_image(name, ImageFile(draw_swatches(palette)))
    labels = swatch_labels(len(colors))
    return encode_indexed(name, labels, colors, keep_order=True)
