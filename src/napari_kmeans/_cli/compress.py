"""The commands that write images in few colors, `compress` and `apply`.

Both plan the files of all images (`_planned`), let `running` call `_write_image` for
each, and sum up. An image is counted, fitted, mapped and encoded in `_compression`, or
by `_stores` if a store is made of it (`_write_store`); lines, facts, pictures and the
report are put together here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from napari_kmeans import _compression
from napari_kmeans._cli import inputs, outputs, running
from napari_kmeans._cli import options as opt
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import STDOUT, Options, option
from napari_kmeans._cli.outputs import Place
from napari_kmeans._cli.running import Outcome, Step, counted_text, one_line
from napari_kmeans._compression import Compressed
from napari_kmeans._core.arguments import DITHERS, is_lazy
from napari_kmeans._core.arrays import Array
from napari_kmeans._core.counted_image import MappedImage
from napari_kmeans._core.fitting import PaletteResult
from napari_kmeans._files.formats import BYTE_COLORS, most_pixels
from napari_kmeans._files.indexed import decode_indexed
from napari_kmeans._files.palettes import PALETTE_SUFFIXES, read_palette
from napari_kmeans._files.read import ImageFile
from napari_kmeans._files.replace import replace_file
from napari_kmeans._files.write import encode_image
from napari_kmeans._pictures.charts import draw_before_after
from napari_kmeans._pictures.display import Comparison, hex_colors, middle_plane
from napari_kmeans._pictures.report import render_page, render_section
from napari_kmeans._stores import StoreResult, write_store

__all__ = ["apply", "compress"]

_COMPRESS_EPILOG = """\b
Examples:
  napari-kmeans photo.jpg
      writes photo_compressed.png, in 16 colors
  napari-kmeans -k 64 --iters 30 -o small.png photo.jpg
  napari-kmeans -k 8 -o posters/ *.jpg
      writes posters/NAME_compressed.png for each image
  napari-kmeans --jobs 4 -o small/ photos/
      does the same with all images of a folder, four at a time
  napari-kmeans --psnr 30 -o good.png photo.jpg
      in the fewest colors that reach 30 dB
  napari-kmeans --max-size 50KB -o light.png photo.jpg
      in the most colors whose file takes no more than 50,000 bytes
  napari-kmeans --shared -o sprites/ *.png
      with one palette for all
  napari-kmeans --force --report report.html photo.jpg
      overwrites the first result, and writes a page to compare before and after
  napari-kmeans -k 8 --labels slide.svs
      writes slide_compressed.ome.zarr, all levels in one palette; after it was ended,
      the same call goes on
  napari-kmeans - < photo.jpg > small.png
  napari-kmeans -o all/ -- *.jpg
      reads also files whose names start with a dash
"""

_APPLY_EPILOG = """\b
Examples:
  napari-kmeans apply --palette flag.gpl photo.jpg
      writes photo_compressed.png, in the colors of the flag
  napari-kmeans apply --palette other.png -o same/ *.jpg
      takes the palette of an indexed image
  napari-kmeans apply --palette bw.gpl --dither ordered -o dots.png photo.jpg
"""

_write_options = (
    option(
        "-o --output",
        "File to write, in the format of its suffix, or directory, or - for the "
        "standard output.  [default: IMAGE_compressed.png beside IMAGE]",
        metavar="PATH",
    ),
    option(
        "--format suffix",
        "Format of files that are named after IMAGE: png, gif, tif, ome.tif, "
        "webp, jpg and others that Pillow writes.  [default: as the image needs]",
        metavar="NAME",
        type=outputs.suffix_parser(*outputs.IMAGE_SUFFIXES, *outputs.STORE_SUFFIXES),
    ),
    option(
        "--dither",
        "Imitate colors that are not in the palette by mixing those that are.",
        type=click.Choice(DITHERS),
    ),
    option(
        "--dither-strength",
        "How much to mix, from 0 to 1: less is less grain, and smaller.  [default: 1]",
        metavar="S",
        type=click.FloatRange(0, 1),
        callback=opt.refuse_nan,
    ),
    option("--labels", "In a store, write the labels, too.", is_flag=True),
    option("--skip-if-larger", "Write only files smaller than IMAGE.", is_flag=True),
    option("--report", "HTML page to write, with before and after.", metavar="FILE"),
    option(
        "--compare",
        "File or directory for a picture of the image before and after, and of "
        "the palette.",
        metavar="PATH",
    ),
    opt.force_option,
    *opt.run_options,
)


@opt.command(
    _COMPRESS_EPILOG,
    *opt.fit_options,
    option(
        "--max-size max_bytes",
        "Use the most colors whose file takes no more than SIZE, such as 50KB.",
        metavar="SIZE",
        type=opt.parse_byte_count,
    ),
    option("--shared", "Use one palette for all images.", is_flag=True),
    *_write_options,
)
def compress(images: tuple[str, ...], options: Options) -> None:
    """Reduce each IMAGE to K colors, by default 16, and write a small file.

    An IMAGE is a file, a store of zarr, a pattern such as '*.jpg', a folder, or - for
    the standard input. The result is an indexed PNG file, as small as it can be made.
    An animation becomes a GIF file; a stack, or an image of more than 8 bits per
    channel, a TIFF file; a store, or a slide, a store of OME-Zarr.

    With several images, each PATH is a directory, made if it is missing.
    """
    opt.refuse_together("psnr", "k", "max_bytes", "shared", "init", "seed")
    opt.refuse_together("max_bytes", "shared")
    if options.max_bytes is not None and not opt.is_given("k"):
        options = replace(options, k=BYTE_COLORS)
    _write_all(images, options)


@opt.command(
    _APPLY_EPILOG,
    option(
        "--palette palette_file",
        "Palette: .gpl, .json, .npy or .hex, or an indexed image.",
        metavar="FILE",
        required=True,
        type=click.Path(exists=True, dir_okay=False),
    ),
    opt.color_space_option,
    *_write_options,
)
def apply(images: tuple[str, ...], options: Options) -> None:
    """Map each pixel of each IMAGE to the nearest color of a given palette.

    Images are named, and files written, as `napari-kmeans compress` does.
    """
    _write_all(images, replace(options, iters=0))


def _write_all(images: tuple[str, ...], options: Options) -> None:
    """Write all images and the report, print the sum, and leave with the status."""
    if opt.is_given("dither_strength") and options.dither is None:
        opt.refuse_value("dither_strength", "needs --dither")
    sources, left_out = inputs.find_sources(images)
    several = inputs.are_several(images, sources)
    if options.output is None and [source.name for source in sources] == [inputs.STDIN]:
        options = replace(options, output=STDOUT)
    output, compare = _places(options, several)
    if options.as_json and options.output == STDOUT:
        msg = "--json and an image on the standard output exclude each other"
        raise click.UsageError(msg)
    if options.palette_file is not None:
        options = replace(options, palette=_read_palette(options.palette_file))
    for place in (output, compare):
        if place is not None:
            place.make()
    sources = _planned(inputs.with_stdin(sources), options, output, compare)
    if options.shared:
        sources, options = _with_shared_palette(sources, options)
    outcomes = running.run(_write_image, sources, options, left_out, _totals)
    summary = _summary(_totals(outcomes))
    if several:
        running.say(summary, options)
    if options.report is not None:
        page = _report(outcomes, summary)
        with running.giving_up(options.report):
            replace_file(options.report, page, overwrite=options.force)
    running.leave(outcomes)


def _places(options: Options, several: bool) -> tuple[Place | None, Place | None]:
    """Find out where images and comparisons are to be written, or raise UsageError."""
    known = (*outputs.IMAGE_SUFFIXES, *outputs.STORE_SUFFIXES)
    output = outputs.parse_place("output", options.output, several, known)
    compare = outputs.parse_place("compare", options.compare, several, (".png",))
    for param, value in (("compare", options.compare), ("report", options.report)):
        if value == STDOUT:
            opt.refuse_value(param, "must be a file, not the standard output")
    name = "" if output is None or output.is_directory else output.text.lower()
    suffix = options.suffix or ""
    if name not in ("", STDOUT) and not name.endswith(suffix.lower()):
        rule = f"must be the format of {options.output}, got {suffix}"
        opt.refuse_value("suffix", rule)
    return output, compare


def _read_palette(path: str) -> Array:
    """Read a palette file or that of an indexed image, or leave with an error."""
    with running.giving_up(path):
        if Path(path).suffix.lower() in PALETTE_SUFFIXES:
            return read_palette(path)
        content = Path(path).read_bytes()
        try:
            return decode_indexed(content).palette
        except ValueError as error:
            known = (
                f"{', '.join(PALETTE_SUFFIXES)}, or a PNG, GIF or TIFF with a palette"
            )
            msg = f"no palette: {error}; choose a {known}"
            raise ValueError(msg) from error


def _planned(
    sources: list[Source], options: Options, output: Place | None, compare: Place | None
) -> list[Source]:
    """Choose the files to write for each image, and see that the report may be."""
    claims = outputs.Claims(sources, options)

    def files_of(source: Source) -> Source:
        if source.name != inputs.STDIN:
            # A missing image is told as such, whatever stands in its place.
            os.stat(source.name)
        source = source._replace(opened=source.pyramid())
        place = output or Place(str(source.path.parent), is_directory=True)
        target, picture = STDOUT, None
        suffix = options.suffix or outputs.choose_suffix(source)
        if place.text != STDOUT:
            # A file may be replaced by its own result.
            ending = f"_compressed{suffix}"
            own = None if source.path.is_dir() else source.path
            target = claims.name(place, source, ending, own)
        _check_kind(source, suffix if target == STDOUT else target, options)
        if compare is not None:
            picture = claims.name(compare, source, "_before_after.png")
        return source._replace(target=target, picture=picture)

    sources = inputs.changed(sources, files_of)
    if options.report is not None:
        with running.giving_up(options.report):
            claims.claim(Path(options.report))
    return sources


def _with_shared_palette(
    sources: list[Source], options: Options
) -> tuple[list[Source], Options]:
    """Find one palette for all images of one kind, and leave out the others."""
    sources = inputs.read_group(sources)
    members = [source for source in sources if source.fault is None]
    if not members:
        return sources, options
    try:
        palette = inputs.fit_group(members, options).palette
    except ValueError as error:
        return [s._replace(fault=s.fault or str(error)) for s in sources], options
    return sources, replace(options, palette=palette)


def _write_image(source: Source, options: Options, step: Step) -> Outcome:
    """Read, compress and write an image."""
    step("reading")
    name = target = str(source.target)
    if outputs.is_store_name(target):
        return _write_store(source, options, step)
    if target == STDOUT:
        name = f"image{options.suffix or outputs.choose_suffix(source)}"
    image, n_bytes = _in_memory(source.image(), name), source.n_bytes()
    step("fitting")
    done = _compression.compress(
        image,
        name,
        options,
        palette=options.palette,
        counts=source.part.counts if source.part else None,
        callback=lambda _: step("fitting"),
    )
    step("writing")
    outcome = _outcome(source, n_bytes, done, options)
    if outcome.status == "skipped":
        return outcome
    if target == STDOUT:
        outcome = outcome._replace(content=done.content)
    else:
        replace_file(target, done.content, overwrite=options.force)
    if source.picture is None and options.report is None:
        return outcome
    comparison = _comparison(source, image, n_bytes, done)
    if source.picture is not None:
        drawn = ImageFile(draw_before_after(comparison))
        picture = encode_image(source.picture, drawn)
        replace_file(source.picture, picture, overwrite=options.force)
    if options.report is not None:
        outcome = outcome._replace(section=render_section(comparison))
    return outcome


def _check_kind(source: Source, target: str, options: Options) -> None:
    """Refuse what is asked for if a store, or an image file, does not have it."""
    is_store = outputs.is_store_name(target)
    if is_store and source.pyramid() is None:
        msg = f"{target} cannot be made of an image file, only of a store or a slide"
        raise ValueError(msg)
    of_files = {
        "--max-size": options.max_bytes,
        "--skip-if-larger": options.skip_if_larger,
        "--report": options.report,
        "--compare": options.compare,
        "the standard output": options.output == STDOUT,
    }
    wrong = of_files if is_store else {"--labels": options.labels}
    for name in filter(wrong.get, wrong):
        kind, other = ("image files", "stores")[:: 1 if is_store else -1]
        msg = f"{name} is for {kind}, not for {other} such as {target}"
        raise ValueError(msg)


def _in_memory(image: ImageFile, name: str) -> ImageFile:
    """Read all pixels of an image, if a file may have so many."""
    pixels: Any = image.pixels
    if not is_lazy(pixels):
        return image
    shape = pixels.shape
    if math.prod(shape[: len(shape) - image.has_channels]) > most_pixels():
        msg = f"too many pixels for {name}: {shape}; write a store, such as .ome.zarr"
        raise ValueError(msg)
    return image._replace(pixels=np.ascontiguousarray(pixels.compute()))


def _write_store(source: Source, options: Options, step: Step) -> Outcome:
    """Compress a store or a slide, and write a store of all its levels."""
    pyramid, target = source.pyramid(), str(source.target)
    assert pyramid is not None
    result = write_store(
        pyramid,
        source.name,
        target,
        options.recipe,
        palette=options.palette,
        with_labels=options.labels,
        force=options.force,
        report=lambda verb, *n: step("reading" if verb == "read" else "writing", *n),
    )
    n_there, counts = result.n_all - result.n_written, result.counts
    sizes = source.n_bytes(), inputs.size_on_disk(Path(target))
    n_colors = None if counts is None else int(np.count_nonzero(counts))
    facts = _facts(source, sizes, n_colors, result, result, result)
    facts |= {"pieces": result.n_all, "pieces_written": result.n_written}
    text = f"{source.name} -> {target}: {_figures(facts)}"
    if n_there == result.n_all:
        text = f"{source.name} -> {target}: already complete, nothing to do"
    elif n_there:
        text += f", resumed: {n_there:,} of {result.n_all:,} pieces were there"
    detail = "" if counts is None else running.iterations_text(result)
    return Outcome("done", one_line(text), facts, detail)


def _outcome(source: Source, size: int, done: Compressed, options: Options) -> Outcome:
    """Say what came out, for people and for programs."""
    size_after, fit = len(done.content), done.fit
    sizes = size, size_after
    facts = _facts(source, sizes, done.n_colors, done, done.mapped, fit)
    figures = _figures(facts)
    if options.skip_if_larger and size_after >= size:
        facts["output"] = None
        text = f"{source.name}: not written, as it would not be smaller: {figures}"
        return Outcome("skipped", one_line(text), facts)
    text = one_line(f"{source.name} -> {source.target}: {figures}")
    return Outcome("done", text, facts, running.iterations_text(fit) if fit else "")


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
        "colors_before": done.n_colors_before,
        "colors_after": n_colors,
        "lossless": None if done.mse is None else done.mse == 0,
        "mse": done.mse,
        "psnr": done.psnr,
        "n_iter": fit and fit.n_iter,
        "converged": fit and fit.converged,
        "palette": hex_colors(mapped.palette),
        "counts": None if mapped.counts is None else mapped.counts.tolist(),
    }


def _figures(facts: dict[str, Any]) -> str:
    """Say for people what facts say of bytes, colors and quality, as far as known."""
    before, after = facts["bytes_before"], facts["bytes_after"]
    parts = [f"{before:,} -> {after:,} bytes (ratio {before / after:.2f})"]
    if facts["counts"] is None:
        parts.append(counted_text(len(facts["palette"]), "color"))
    else:
        n_before, n_after = facts["colors_before"], facts["colors_after"]
        parts.append(f"{counted_text(n_before)} -> {counted_text(n_after, 'color')}")
    if facts["mse"] is not None:
        quality = running.quality_text(facts["mse"], facts["psnr"], " dB")
        parts.append(f"{'' if facts['lossless'] else 'PSNR '}{quality}")
    return ", ".join(parts)


def _comparison(
    source: Source, image: ImageFile, size: int, done: Compressed
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
        middle_plane(image.pixels, image.has_channels),
        middle_plane(_compression.seen(done), done.image.has_channels),
        done.mapped.palette,
        done.mapped.counts,
        names,
        (
            f"{n_bytes[0]} bytes, {counted_text(numbers[0], 'color')}",
            f"{n_bytes[1]} bytes, {counted_text(numbers[1], 'color')}",
        ),
        figures,
    )


def _report(outcomes: Sequence[Outcome], summary: str) -> bytes:
    """Write the report."""
    failures = [
        one_line(f"{outcome.facts['input']}: {outcome.text}")
        for outcome in outcomes
        if outcome.status != "done"
    ]
    sections = [outcome.section for outcome in outcomes if outcome.section]
    page = render_page("Images in few colors", summary, sections, failures)
    return page.encode(errors="replace")


def _totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Count the images by what became of them, and the bytes of those written."""
    statuses = [outcome.status for outcome in outcomes]
    done = [outcome.facts for outcome in outcomes if outcome.status == "done"]
    return {
        "images": len(outcomes),
        **{status: statuses.count(status) for status in ("done", "skipped", "failed")},
        **{n: sum(facts[n] for facts in done) for n in ("bytes_before", "bytes_after")},
    }


def _summary(totals: dict[str, int]) -> str:
    """Sum up in a line."""
    line = f"{totals['done']:,} of {totals['images']:,} images written"
    for status in ("skipped", "failed"):
        if totals[status]:
            line += f", {totals[status]:,} {status}"
    before, after = totals["bytes_before"], totals["bytes_after"]
    if not after:
        return line
    return f"{line}: {before:,} -> {after:,} bytes (ratio {before / after:.2f})"
