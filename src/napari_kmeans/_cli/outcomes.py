"""What is said of a compressed image, for people and for programs.

`image_outcome` and `store_outcome` make the line and the facts of one image, with a
word of advice where it has become larger; `comparison_of` what a picture or the page of
`report_page` shows of it. `totals` and `sum_up` are about all images of a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_kmeans import _compression
from napari_kmeans._cli import running
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options
from napari_kmeans._cli.running import Outcome, counted_text, one_line
from napari_kmeans._cli.tables import color_rows
from napari_kmeans._compression import Compressed
from napari_kmeans._core.arrays import Array
from napari_kmeans._core.counted_image import MappedImage
from napari_kmeans._core.fitting import PaletteResult
from napari_kmeans._files.conversions import converted
from napari_kmeans._files.read import ImageFile
from napari_kmeans._pictures.display import Comparison, hex_colors, middle_plane
from napari_kmeans._pictures.report import render_page
from napari_kmeans._stores import StoreResult

__all__ = [
    "comparison_of",
    "image_outcome",
    "report_page",
    "store_outcome",
    "sum_up",
    "totals",
]


def image_outcome(
    source: Source, size: int, done: Compressed, options: Options
) -> Outcome:
    """Say what came out, for people and for programs."""
    size_after, fit = len(done.content), done.fit
    sizes = size, size_after
    facts = _facts(source, sizes, done.n_colors, done, done.mapped, fit)
    facts["lossless"] &= not done.is_converted
    figures = _figures(facts, source)
    if options.skip_if_larger and size_after >= size:
        facts["output"] = None
        text = f"{source.name}: not written, as it would not be smaller: {figures}"
        return Outcome("skipped", one_line(text), facts)
    text = f"{source.name} -> {source.target}: {figures}"
    if facts["larger"]:
        text += f"; use fewer colors, --skip-if-larger, or {_keeping(source)}"
    detail = running.iterations_text(fit) if fit else ""
    outcome = Outcome("done", one_line(text), facts, detail)
    if options.csv_file is None:
        return outcome
    mapped, errors = done.mapped, _compression.errors_by_color(done, options)
    rows = color_rows(source.name, mapped.palette, mapped.counts, errors)
    return outcome._replace(rows=rows)


def _keeping(source: Source) -> str:
    """Advise to keep an image as it is."""
    is_photo = source.path.suffix.lower() in (".jpg", ".jpeg")
    return f"keep {'the JPEG, which suits photos' if is_photo else source.path.name}"


def store_outcome(source: Source, size: int, result: StoreResult) -> Outcome:
    """Say what came out of a store or a slide: a store of so many bytes."""
    n_there, counts = result.n_all - result.n_written, result.counts
    n_colors = None if counts is None else int(np.count_nonzero(counts))
    sizes = source.n_bytes(), size
    facts = _facts(source, sizes, n_colors, result, result, result)
    facts |= {"pieces": result.n_all, "pieces_written": result.n_written}
    text = f"{source.name} -> {source.target}: {_figures(facts, source)}"
    if n_there == result.n_all:
        text = f"{source.name} -> {source.target}: already complete, nothing to do"
    elif n_there:
        text += f", resumed: {n_there:,} of {result.n_all:,} pieces were there"
    if facts["larger"] and result.n_written:
        text += f"; use fewer colors, or {_keeping(source)}"
    detail = "" if counts is None else running.iterations_text(result)
    rows = color_rows(source.name, result.palette, counts, None)
    return Outcome("done", one_line(text), facts, detail, rows=rows)


def _facts(
    source: Source,
    sizes: tuple[int, int],
    n_colors: int | None,
    done: Compressed | StoreResult,
    mapped: MappedImage | StoreResult,
    fit: PaletteResult | StoreResult | None,
) -> dict[str, Any]:
    """Say for programs what came out; what is not known is None."""
    return {
        "input": source.name,
        "output": source.target,
        "bytes_before": sizes[0],
        "bytes_after": sizes[1],
        "larger": sizes[1] > sizes[0],
        "colors_before": done.n_colors_before,
        "colors_after": n_colors,
        "lossless": None if done.mse is None else done.mse == 0,
        "mse": done.mse,
        "psnr": done.psnr,
        "n_iter": fit and fit.n_iter,
        "converged": fit and fit.converged,
        "channel_weights": running.weights_of(fit),
        "palette": hex_colors(mapped.palette),
        "counts": None if mapped.counts is None else mapped.counts.tolist(),
    }


def _figures(facts: dict[str, Any], source: Source) -> str:
    """Say for people what facts say of bytes, colors and quality, as far as known."""
    parts = [_bytes_text(facts, f" than {source.path.name}")]
    if facts["counts"] is None:
        parts.append(counted_text(len(facts["palette"]), "color"))
    else:
        n_before, n_after = facts["colors_before"], facts["colors_after"]
        parts.append(f"{counted_text(n_before)} -> {counted_text(n_after, 'color')}")
    if facts["mse"] is not None:
        quality = running.quality_text(facts["mse"], facts["psnr"], " dB")
        if facts["mse"] != 0:
            quality = f"PSNR {quality}"
        elif not facts["lossless"]:
            quality += " after its conversion"
        parts.append(quality)
    return ", ".join(parts)


def _bytes_text(facts: dict[str, Any], than: str = "") -> str:
    """Say for people how bytes have changed."""
    before, after = facts["bytes_before"], facts["bytes_after"]
    change = f"ratio {before / after:.2f}"
    if after > before:
        percent = 100 * (after - before) / before
        change = f"{percent:,.0f} % larger" if percent >= 1 else "up to 1 % larger"
        change += than
    return f"{before:,} -> {after:,} bytes ({change})"


def comparison_of(
    source: Source, image: ImageFile, size: int, done: Compressed, depth: int | None
) -> Comparison:
    """Put together what people see of an image of `size` bytes, before and after."""
    names = one_line(source.path.name), one_line(Path(str(source.target)).name)
    after, numbers = len(done.content), (done.n_colors_before, done.n_colors)
    n_bytes = f"{size:,}", f"{after:,}"
    figures = [
        ("File", *names),
        ("Bytes", *n_bytes),
        ("Share of the bytes", "100%", f"{after / size:.1%}"),
        ("Colors", counted_text(numbers[0]), counted_text(numbers[1])),
        ("Shape", " x ".join(map(str, image.pixels.shape)), ""),
        ("Type of pixels", str(image.pixels.dtype), ""),
        ("PSNR", "", running.quality_text(done.mse, done.psnr, " dB")),
        ("Mean squared error", "", running.error_text(done.mse)),
    ]
    return Comparison(
        _shown(image, depth),
        _shown(done.image._replace(pixels=_compression.seen(done)), depth),
        done.mapped.palette,
        done.mapped.counts,
        names,
        (
            f"{n_bytes[0]} bytes, {counted_text(numbers[0], 'color')}",
            f"{n_bytes[1]} bytes, {counted_text(numbers[1], 'color')}",
        ),
        figures,
    )


def _shown(image: ImageFile, depth: int | None) -> Array:
    """Return the middle plane of an image, its colors of 8 bits in sRGB."""
    plane = image._replace(pixels=middle_plane(image.pixels, image.has_channels))
    # A format without a place for a color profile.
    return converted("plane.bmp", plane, depth=depth, opacity_threshold=None).pixels


def report_page(outcomes: Sequence[Outcome], summary: str) -> bytes:
    """Write the report."""
    failures = [
        one_line(f"{outcome.facts['input']}: {outcome.text}")
        for outcome in outcomes
        if outcome.status != "done"
    ]
    sections = [outcome.section for outcome in outcomes if outcome.section]
    page = render_page("Images in few colors", summary, sections, failures)
    return page.encode(errors="replace")


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Count the images by what became of them, and the bytes of those written."""
    statuses = [outcome.status for outcome in outcomes]
    done = [outcome.facts for outcome in outcomes if outcome.status == "done"]
    summed = ("bytes_before", "bytes_after", "larger")
    return {
        "images": len(outcomes),
        **{status: statuses.count(status) for status in ("done", "skipped", "failed")},
        **{name: sum(facts[name] for facts in done) for name in summed},
    }


def sum_up(numbers: dict[str, int]) -> str:
    """Sum up in a line."""
    line = f"{numbers['done']:,} of {numbers['images']:,} images written"
    for name in ("larger", "skipped", "failed"):
        if numbers[name]:
            line += f", {numbers[name]:,} {name}"
    return f"{line}: {_bytes_text(numbers)}" if numbers["done"] else line
