"""A page that shows images before and after, in one file that needs no other.

`render_section` turns a `Comparison` (planes of pixels, a palette, and figures as text)
into the part about one image; `render_page` puts the parts together. What the page
looks like stands in `report.html`, whose ``$names`` are filled in here.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._pictures.display import (
    Comparison,
    displayed,
    displayed_range,
    hex_colors,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["render_page", "render_section"]

_LARGEST = 1280
_PHOTO_QUALITY = 85
_MOST_SHOWN = 256
# The part about one image stands between two of these.
_CUT = "<!-- for each image -->\n"


def render_section(comparison: Comparison) -> str:
    """Write the part of the page about one image."""
    from PIL import Image

    low, high = displayed_range(comparison.before)
    before = displayed(comparison.before, low, high)
    after = displayed(comparison.after, low, high)
    for picture in (before, after):
        # Pixels are taken, not mixed, so that no color is made up.
        nearest = Image.Resampling.NEAREST
        picture.thumbnail((_LARGEST, _LARGEST), nearest, reducing_gap=None)
    colors = displayed(comparison.palette[np.newaxis], low, high)
    shades = hex_colors(np.asarray(colors)[0])
    # Small pictures are enlarged, so that their pixels can be seen.
    width = before.width * max(1, _LARGEST // 2 // max(before.size))
    small = "small" if max(before.size) < _LARGEST // 4 else ""
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in comparison.figures
    )
    return Template(_parts()[1]).substitute(
        title=html.escape(comparison.names[0]),
        size=f'width="{width}" height="{before.height * width // before.width}"',
        before_class=small,
        after_class=f"{small} after".strip(),
        before=_uri("JPEG", before, quality=_PHOTO_QUALITY),
        # Few colors are kept exactly.
        after=_uri("WEBP", after, lossless=True),
        figures=rows,
        n_colors=f"{len(shades):,}",
        palette=_palette(comparison, shades),
        histogram=_histogram(comparison.counts, shades),
    )


def render_page(
    title: str, summary: str, sections: Sequence[str], failures: Sequence[str]
) -> str:
    """Write the page around the parts about each image."""
    top, _, bottom = _parts()
    head = Template(top).substitute(
        title=html.escape(title),
        summary=html.escape(summary),
        failures="".join(
            f'<p class="failed">{html.escape(line)}</p>' for line in failures
        ),
    )
    return "".join([head, *sections, bottom])


def _parts() -> list[str]:
    """Read the page before, of, and after the parts about images."""
    from importlib.resources import files

    page = files("napari_kmeans._pictures").joinpath("report.html")
    return page.read_text(encoding="utf-8").split(_CUT)


def _palette(comparison: Comparison, shades: Sequence[str]) -> str:
    """Write the swatches of the palette, with their colors and shares as text."""
    total = max(int(comparison.counts.sum()), 1)
    shown = zip(
        shades[:_MOST_SHOWN],
        hex_colors(comparison.palette[:_MOST_SHOWN]),
        comparison.counts[:_MOST_SHOWN].tolist(),
        strict=True,
    )
    swatches = "".join(
        f'<span style="background:{shade}" title="{color}: {count:,} pixels, '
        f'{count / total:.1%}"></span>'
        for shade, color, count in shown
    )
    rest = len(shades) - _MOST_SHOWN
    more = f"<p>and {rest:,} more</p>" if rest > 0 else ""
    return f'<div class="palette">{swatches}</div>{more}'


def _histogram(counts: NDArray[np.int64], shades: Sequence[str]) -> str:
    """Draw a bar for each color, as high as its share of the pixels."""
    most, total = max(int(counts.max()), 1), max(int(counts.sum()), 1)
    bars = "".join(
        f'<rect x="{index}" width="1" y="{100 - height:.2f}" height="{height:.2f}" '
        f'fill="{shade}"><title>{count:,} pixels, {count / total:.1%}</title></rect>'
        for index, (shade, count) in enumerate(
            zip(shades, counts.tolist(), strict=True)
        )
        if (height := 98 * count / most) > 0
    )
    return (
        f'<svg viewBox="0 0 {len(shades)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Histogram of {len(shades)} colors, the largest with '
        f'{most / total:.1%} of the pixels">{bars}</svg>'
    )


def _uri(kind: str, image: Image.Image, **options: Any) -> str:
    """Return an address that is the picture itself."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{content}"
