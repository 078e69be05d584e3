"""The picture that shows an image before and after, and its palette."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._pictures.display import displayed, displayed_range

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["Panel", "draw_before_after"]

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
_PAPER, _INK, _FAINT, _EDGE = "#ffffff", "#1a1a1a", "#6b6b6b", "#d9d9d9"


class Panel(NamedTuple):
    """One of the two images, (rows, columns) or (rows, columns, C), and its text."""

    pixels: NDArray[Any]
    title: str
    detail: str


def draw_before_after(
    before: Panel, after: Panel, palette: NDArray[Any]
) -> NDArray[np.uint8]:
    """Draw two images of one shape side by side over their palette.

    Large images are shrunk to `_LARGEST` pixels, small ones show their pixels as
    squares. Other dtypes than uint8 are stretched, all from the same black to the
    same white. A palette of more than `_MOST_SWATCHES` colors is shown in part.
    """
    from PIL import Image, ImageDraw

    low, high = displayed_range(before.pixels)
    shown = [_resized(displayed(panel.pixels, low, high)) for panel in (before, after)]
    n_swatches = min(len(palette), _MOST_SWATCHES)
    some = np.linspace(0, len(palette) - 1, n_swatches).round().astype(int)
    swatches = displayed(palette[np.newaxis, some], low, high)
    width = max(_NARROWEST, shown[0].width)
    top = _MARGIN + _TITLE_HEIGHT
    rows = math.ceil(n_swatches / _ROW_OF_SWATCHES)
    bottom = top + shown[0].height + _GAP
    size = (
        2 * _MARGIN + 2 * width + _GAP,
        bottom + rows * _SWATCH_HEIGHT + _MARGIN,
    )
    picture = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(picture)
    for left, panel, image in zip(
        (_MARGIN, _MARGIN + width + _GAP), (before, after), shown, strict=True
    ):
        _draw_titles(draw, (left, _MARGIN), width, panel)
        picture.paste(image, (left, top))
        _draw_edge(draw, left, top, image.width, image.height)
    _draw_swatches(picture, swatches, bottom)
    return np.asarray(picture)


def _resized(image: Image.Image) -> Image.Image:
    """Shrink a large image, and enlarge the pixels of a small one."""
    from PIL import Image

    longest = max(image.size)
    if longest > _LARGEST:
        size = [max(1, round(side * _LARGEST / longest)) for side in image.size]
        return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    if longest < _SMALLEST:
        times = math.ceil(_SMALLEST / longest)
        size = [side * times for side in image.size]
        return image.resize((size[0], size[1]), Image.Resampling.NEAREST)
    return image


def _draw_titles(draw: Any, corner: tuple[int, int], width: int, panel: Panel) -> None:
    """Write the title and, below it, the detail, both cut to the width."""
    from PIL import ImageFont

    left, top = corner
    for text, size, ink, down in (
        (panel.title, _TITLE_SIZE, _INK, 0),
        (panel.detail, _DETAIL_SIZE, _FAINT, _TITLE_SIZE + 10),
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


def _draw_edge(draw: Any, left: int, top: int, width: int, height: int) -> None:
    """Draw a thin line around an image, so that white ones end somewhere."""
    draw.rectangle((left - 1, top - 1, left + width, top + height), outline=_EDGE)


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
