"""A page that shows images before and after, in one file without any other."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._pictures.display import displayed, displayed_range, hex_color

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["Comparison", "render_page", "render_section"]

_LARGEST = 1280
_PHOTO_QUALITY = 85
_MOST_SHOWN = 256
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --faint: #667; --paper: #fff;
  --edge: #d5d8de; --accent: #0b6bcb; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --faint: #9aa;
  --paper: #16181c; --edge: #3a3f47; --accent: #6db3f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 3rem 0 .5rem; overflow-wrap: anywhere; }
h3 { font-size: .95rem; margin: 1.5rem 0 .5rem; color: var(--faint); font-weight: 600; }
p { margin: .25rem 0; color: var(--faint); }
.pair { position: relative; display: inline-grid; max-width: 100%; --at: 50%; }
.pair > * { grid-area: 1 / 1; }
.pair img { display: block; max-width: 100%; height: auto; border-radius: 4px; }
.pair .small { image-rendering: pixelated; }
.pair .after { clip-path: inset(0 0 0 var(--at)); }
.pair .line { position: absolute; inset: 0 auto 0 var(--at); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000; pointer-events: none; }
.pair input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0;
  opacity: 0; cursor: ew-resize; }
.pair input:focus-visible ~ .line { background: var(--accent); width: 4px; }
.pair .tag { position: absolute; bottom: .5rem; padding: 0 .5rem; border-radius: 3px;
  background: #000a; color: #fff; font-size: .85rem; pointer-events: none; }
.tag.left { left: .5rem; } .tag.right { right: .5rem; }
table { border-collapse: collapse; }
th, td { text-align: right; padding: .2rem 0 .2rem 1.5rem; font-weight: 400;
  font-variant-numeric: tabular-nums; border-bottom: 1px solid var(--edge); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--faint); }
.palette { display: flex; flex-wrap: wrap; gap: 2px; }
.palette span { flex: 1 0 2.2rem; height: 2.2rem; border: 1px solid var(--edge); }
svg { display: block; width: 100%; height: 8rem; border-bottom: 1px solid var(--edge); }
svg rect { stroke: var(--edge); stroke-width: 1; vector-effect: non-scaling-stroke; }
.failed { color: #c22; }
"""
_SCRIPT = """
for (const pair of document.querySelectorAll(".pair")) {
  const input = pair.querySelector("input");
  const move = () => pair.style.setProperty("--at", input.value + "%");
  input.addEventListener("input", move);
  move();
}
"""


class Comparison(NamedTuple):
    """An image before and after, as planes (rows, columns) or (rows, columns, C)."""

    title: str
    before: NDArray[Any]
    after: NDArray[Any]
    palette: NDArray[Any]
    # Pixels of each palette color.
    counts: NDArray[np.int64]
    # What is told in figures: a name, before, after.
    figures: Sequence[tuple[str, str, str]]


def render_section(comparison: Comparison) -> str:
    """Write the part of the page about one image."""
    low, high = displayed_range(comparison.before)
    before, after = (
        _fitting(displayed(pixels, low, high))
        for pixels in (comparison.before, comparison.after)
    )
    colors = displayed(comparison.palette[np.newaxis], low, high)
    shades = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.asarray(colors)[0].tolist()]
    small = ' class="small"' if max(before.size) < _LARGEST // 4 else ""
    # Small pictures are enlarged, so that their pixels can be seen.
    width = before.width * max(1, _LARGEST // 2 // max(before.size))
    after_class = small.replace("small", "small after") or ' class="after"'
    title = html.escape(comparison.title)
    size = f'width="{width}" height="{before.height * width // before.width}"'
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(old)}</td>"
        f"<td>{html.escape(new)}</td></tr>"
        for name, old, new in comparison.figures
    )
    return f"""<section>
<h2>{title}</h2>
<div class="pair">
<img{small} {size} alt="{title} before" src="{_photo_uri(before)}">
<img{after_class} {size} alt="{title} after" src="{_graphic_uri(after)}">
<input type="range" min="0" max="100" step="0.1" value="50"
 aria-label="How much of the image before is shown">
<div class="line"></div>
<div class="tag left">before</div><div class="tag right">after</div>
</div>
<h3>Numbers</h3>
<table><thead><tr><th></th><th>before</th><th>after</th></tr></thead>
<tbody>{rows}</tbody></table>
<h3>Palette of {len(shades):,} colors</h3>
{_palette(comparison, shades)}
<h3>Histogram: pixels of each color, from dark to light</h3>
{_histogram(comparison, shades)}
</section>
"""


def render_page(
    title: str, summary: str, sections: Sequence[str], failures: Sequence[str]
) -> str:
    """Write the page around the parts about each image."""
    failed = "".join(f'<p class="failed">{html.escape(line)}</p>' for line in failures)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(summary)}</p>
{failed}
<p>Drag across a picture to compare.</p>
{"".join(sections)}
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _palette(comparison: Comparison, shades: Sequence[str]) -> str:
    """Write the swatches of the palette, with what they are in words."""
    total = max(int(comparison.counts.sum()), 1)
    swatches = "".join(
        f'<span style="background:{shade}" title="{hex_color(color)}: {count:,} '
        f'pixels, {count / total:.1%}"></span>'
        for shade, color, count in zip(
            shades[:_MOST_SHOWN],
            comparison.palette[:_MOST_SHOWN],
            comparison.counts[:_MOST_SHOWN].tolist(),
            strict=True,
        )
    )
    rest = len(shades) - _MOST_SHOWN
    more = f"<p>and {rest:,} more</p>" if rest > 0 else ""
    return f'<div class="palette">{swatches}</div>{more}'


def _histogram(comparison: Comparison, shades: Sequence[str]) -> str:
    """Draw a bar for each color, as high as its share of the pixels."""
    most = max(int(comparison.counts.max()), 1)
    total = max(int(comparison.counts.sum()), 1)
    bars = "".join(
        f'<rect x="{index}" width="1" y="{100 - height:.2f}" height="{height:.2f}" '
        f'fill="{shade}"><title>{count:,} pixels, {count / total:.1%}</title></rect>'
        for index, (shade, count) in enumerate(
            zip(shades, comparison.counts.tolist(), strict=True)
        )
        if (height := 98 * count / most) > 0
    )
    return (
        f'<svg viewBox="0 0 {len(shades)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Histogram of {len(shades)} colors, the largest with '
        f'{most / total:.1%} of the pixels">{bars}</svg>'
    )


def _fitting(image: Image.Image) -> Image.Image:
    """Shrink a large picture by taking pixels, so that no color is made up."""
    from PIL import Image

    longest = max(image.size)
    if longest <= _LARGEST:
        return image
    size = [max(1, round(side * _LARGEST / longest)) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.NEAREST)


def _photo_uri(image: Image.Image) -> str:
    """Encode a picture of many colors."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_PHOTO_QUALITY)
    return _uri("image/jpeg", buffer.getvalue())


def _graphic_uri(image: Image.Image) -> str:
    """Encode a picture of few colors, exactly."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True)
    return _uri("image/webp", buffer.getvalue())


def _uri(kind: str, content: bytes) -> str:
    """Give the address of a picture that is its content."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
