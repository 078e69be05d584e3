"""The commands that write images in few colors, `compress` and `apply`.

Both plan the files of all images (`_planned`), let `running` call `_write_image` for
each, and sum up. An image is counted, fitted, mapped and encoded in `_compression`;
what is told about it is put together here (`_outcome`, `_section`, `_draw`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from napari_kmeans._cli.inputs import (
    STDIN,
    Source,
    are_several,
    find_sources,
    read_group,
    with_stdin,
)
from napari_kmeans._cli.options import (
    Options,
    color_space_option,
    command,
    fit_options,
    force_option,
    is_given,
    option,
    output_options,
    parse_byte_count,
    refuse_together,
    refuse_value,
)
from napari_kmeans._cli.outputs import (
    IMAGE_SUFFIXES,
    STDOUT,
    Claims,
    Place,
    choose_suffix,
    claimed,
    has_written,
    parse_place,
    suffix_parser,
)
from napari_kmeans._cli.running import (
    Outcome,
    counted_text,
    finish,
    give_up,
    iterations_text,
    one_line,
    run,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_kmeans._compression import Compressed
    from napari_kmeans._files.read import ImageFile

__all__ = ["apply", "compress"]

_MOST_IN_A_FILE = 256
# Reading, counting, mapping and writing, beside the iterations.
_STEPS = 4

_COMPRESS_EPILOG = """\b
Examples:
  napari-kmeans photo.jpg
      writes photo_compressed.png, in 16 colors
  napari-kmeans -k 64 --iters 30 -o small.png photo.jpg
  napari-kmeans -k 8 -o posters/ *.jpg
      writes posters/NAME_compressed.png for each image
  napari-kmeans --jobs 4 -o small/ photos/
      does the same with all images of a folder, four at a time
  napari-kmeans --psnr 38 photo.jpg
      in as few colors as give 38 dB
  napari-kmeans --max-size 50KB photo.jpg
      in so many colors that the file takes no more than 50,000 bytes
  napari-kmeans --shared -o sprites/ *.png
      with one palette for all
  napari-kmeans --report report.html photo.jpg
      also writes a page to compare before and after
  napari-kmeans - < photo.jpg > small.png
  napari-kmeans -- -photo.jpg
      reads a file whose name starts with a dash
"""

_APPLY_EPILOG = """\b
Examples:
  napari-kmeans apply --palette flag.gpl photo.jpg
      writes photo_compressed.png, in the colors of the flag
  napari-kmeans apply --palette other.png -o same/ *.jpg
      takes the palette of an indexed image
  napari-kmeans apply --palette bw.gpl --dither floyd-steinberg photo.jpg
"""

_write_options = (
    option(
        "-o",
        "--output",
        metavar="PATH",
        help="File to write, in the format of its suffix, or directory, or - for the "
        "standard output.  [default: IMAGE_compressed.png beside IMAGE]",
    ),
    option(
        "--format",
        "suffix",
        metavar="NAME",
        callback=suffix_parser(*IMAGE_SUFFIXES),
        help="Format of files that are named after IMAGE: png, gif, tif, ome.tif, "
        "webp, jpg and what else Pillow writes.  [default: as the image needs]",
    ),
    option(
        "--dither",
        type=click.Choice(["floyd-steinberg", "ordered"]),
        help="Mix colors that are not in the palette from those that are.",
    ),
    option(
        "--skip-if-larger",
        is_flag=True,
        help="Write nothing where the file would not be smaller than IMAGE.",
    ),
    option(
        "--report",
        metavar="FILE",
        help="HTML page to write, that shows the images before and after.",
    ),
    option(
        "--compare",
        metavar="PATH",
        help="File or directory for a picture of the image before and after, and of "
        "the palette.",
    ),
    force_option,
    *output_options,
)


@command(
    _COMPRESS_EPILOG,
    *fit_options,
    option(
        "--max-size",
        "max_bytes",
        metavar="SIZE",
        callback=parse_byte_count,
        help="Use the most colors whose file takes no more than SIZE, such as 50KB.",
    ),
    option("--shared", is_flag=True, help="Use one palette for all images."),
    *_write_options,
)
def compress(images: tuple[str, ...], options: Options) -> None:
    """Reduce each IMAGE to K colors, by default 16, and write a small file.

    An IMAGE is a file, a pattern such as '*.jpg', a folder, or - for the standard
    input. The result is an indexed PNG file, as small as it can be made. An animation
    becomes a GIF file; a stack, or an image of more than 8 bits per channel, a TIFF
    file.

    With several images, each PATH is a directory, made if it is missing.
    """
    refuse_together("psnr", "k", "max_bytes", "shared", "init", "seed")
    refuse_together("max_bytes", "shared")
    if options.max_bytes is not None and not is_given("k"):
        options = replace(options, k=_MOST_IN_A_FILE)
    _write_all(images, options)


@command(
    _APPLY_EPILOG,
    option(
        "--palette",
        "palette_file",
        metavar="FILE",
        required=True,
        type=click.Path(exists=True, dir_okay=False),
        help="Palette: .gpl, .json, .npy or .hex, or an indexed image.",
    ),
    color_space_option,
    *_write_options,
)
def apply(images: tuple[str, ...], options: Options) -> None:
    """Map each pixel of each IMAGE to the nearest color of a given palette.

    Images are named, and files written, as `napari-kmeans compress` does.
    """
    _write_all(images, replace(options, iters=0))


def _write_all(images: tuple[str, ...], options: Options) -> None:
    """Write all images and the report, print the sum, and leave with the status."""
    sources = find_sources(images)
    several = are_several(images, sources)
    output, compare = _places(options, several)
    if output is None and [source.name for source in sources] == [STDIN]:
        output = Place(STDOUT, is_directory=False)
    if output is not None and output.text == STDOUT:
        if options.as_json:
            msg = "--json and an image on the standard output exclude each other"
            raise click.UsageError(msg)
        options = replace(options, lines_on_stderr=True)
    if options.palette_file is not None:
        options = replace(options, palette=_read_palette(options.palette_file))
    for place in (output, compare):
        if place is not None:
            place.make()
    sources = _planned(with_stdin(sources), options, output, compare)
    if options.shared:
        sources, options = _with_shared_palette(sources, options)

    outcomes = run(_write_image, sources, options, options.iters + _STEPS)
    totals = _totals(outcomes)
    summary = _summary(totals)
    fault = _write_report(outcomes, summary, options)
    if several:
        say(summary, options)
    finish(outcomes, options, summary=totals, failed=fault)


def _places(options: Options, several: bool) -> tuple[Place | None, Place | None]:
    """Find out where images and comparisons are to be written, or raise UsageError."""
    output = parse_place("output", options.output, several, IMAGE_SUFFIXES)
    compare = parse_place("compare", options.compare, several, (".png",))
    for param, value in (("compare", options.compare), ("report", options.report)):
        if value == STDOUT:
            refuse_value(param, "must be a file, not the standard output")
    suffix = options.suffix
    if suffix is not None and output is not None and not output.is_directory:
        is_other = not output.text.lower().endswith(suffix.lower())
        if output.text != STDOUT and is_other:
            refuse_value("suffix", f"must be the format of {output.text}, got {suffix}")
    return output, compare


def _read_palette(path: str) -> NDArray[Any]:
    """Read a palette file or that of an indexed image, or leave with an error."""
    from napari_kmeans._files.indexed import decode_indexed
    from napari_kmeans._files.palettes import PALETTE_SUFFIXES, read_palette

    try:
        if Path(path).suffix.lower() in PALETTE_SUFFIXES:
            return read_palette(path)
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        give_up(path, error)
    try:
        return decode_indexed(content).palette
    except ValueError as error:
        give_up(path, ValueError(f"no palette: {error}"))


def _planned(
    sources: list[Source], options: Options, output: Place | None, compare: Place | None
) -> list[Source]:
    """Choose the files to write for each image, and see that the report may be."""
    claims = Claims(sources, force=options.force)

    def choose(source: Source) -> Source:
        place = output or Place(str(source.path.parent), is_directory=True)
        target, picture = STDOUT, None
        if place.text != STDOUT:
            suffix = options.suffix or choose_suffix(source)
            path = claims.name(place, source, f"_compressed{suffix}")
            # An image may be replaced by its own result.
            target = claims.claim(path, own=source.path)
        if compare is not None:
            path = claims.name(compare, source, "_before_after.png")
            picture = claims.claim(path)
        return source._replace(target=target, picture=picture)

    sources = claimed(sources, choose)
    if options.report is not None:
        try:
            claims.claim(Path(options.report))
        except (OSError, ValueError) as error:
            give_up(options.report, error)
    return sources


def _with_shared_palette(
    sources: list[Source], options: Options
) -> tuple[list[Source], Options]:
    """Find one palette for all images of one kind, and leave out the others."""
    from napari_kmeans._compression import fit_shared

    sources, images = read_group(sources)
    if not images:
        return sources, options
    try:
        return sources, replace(options, palette=fit_shared(images, options).palette)
    except ValueError as error:
        fault = str(error)
    return [s._replace(fault=s.fault or fault) for s in sources], options


def _write_image(
    source: Source, options: Options, step: Callable[[str], object]
) -> Outcome:
    """Read, compress and write an image."""
    from napari_kmeans import _compression
    from napari_kmeans._files.read import decode_image
    from napari_kmeans._files.replace import replace_file

    step("reading")
    content = source.read()
    image = decode_image(content)
    step("fitting")
    target = str(source.target)
    name = f"image{options.suffix or choose_suffix(source)}"
    done = _compression.compress(
        image,
        name if target == STDOUT else target,
        options,
        palette=options.palette,
        callback=lambda _: step("fitting"),
    )
    step("writing")
    result = _Result(source, image, len(content), done)
    if options.skip_if_larger and len(done.content) >= len(content):
        return _outcome(result, "skipped")
    outcome = _outcome(result, "done")
    if target == STDOUT:
        outcome = outcome._replace(content=done.content)
    else:
        replace_file(target, done.content, overwrite=options.force)
    if source.picture is not None:
        replace_file(source.picture, _picture(result), overwrite=options.force)
    if options.report is not None:
        outcome = outcome._replace(section=_section(result))
    return outcome


class _Result(NamedTuple):
    """An image of `size` bytes, and what became of it."""

    source: Source
    image: ImageFile
    size: int
    done: Compressed

    @property
    def planes(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The plane in the middle before and after."""
        from napari_kmeans._compression import seen
        from napari_kmeans._pictures.display import middle_plane

        after, has_channels = seen(self.done), self.done.image.has_channels
        return (
            middle_plane(self.image.pixels, self.image.has_channels),
            middle_plane(after, has_channels),
        )


def _outcome(result: _Result, status: Literal["done", "skipped"]) -> Outcome:
    """Say what came out, for people and for programs."""
    from napari_kmeans._pictures.display import hex_colors

    source, _, size, done = result
    size_after = len(done.content)
    facts: dict[str, Any] = {
        "input": source.name,
        "output": None if status == "skipped" else source.target,
        "bytes_before": size,
        "bytes_after": size_after,
        "colors_before": done.n_colors_before,
        "colors_after": done.n_colors,
        "lossless": done.mse == 0,
        "mse": done.mse,
        "psnr": done.psnr,
        "n_iter": done.n_iter,
        "converged": done.converged,
        "palette": hex_colors(done.mapped.palette),
        "counts": done.mapped.counts.tolist(),
    }
    figures = (
        f"{size:,} -> {size_after:,} bytes (ratio {size / size_after:.2f}), "
        f"{counted_text(done.n_colors_before)} -> "
        f"{counted_text(done.n_colors, 'color')}, {_quality(done)}"
    )
    if status == "skipped":
        text = f"{source.name}: not written, as it would not be smaller: {figures}"
        return Outcome(status, one_line(text), facts)
    text = one_line(f"{source.name} -> {source.target}: {figures}")
    return Outcome(status, text, facts, iterations_text(done))


def _section(result: _Result) -> str:
    """Write the part of the report."""
    from napari_kmeans._pictures.report import Comparison, render_section

    source, image, size, done = result
    name, size_after = source.path.name, len(done.content)
    shape = " x ".join(str(n) for n in image.pixels.shape)
    n_before, n_after = counted_text(done.n_colors_before), counted_text(done.n_colors)
    figures = [
        ("File", name, Path(str(source.target)).name),
        ("Bytes", f"{size:,}", f"{size_after:,}"),
        ("Share of the bytes", "100%", f"{size_after / size:.1%}"),
        ("Colors", n_before, n_after),
        ("Shape", shape, ""),
        ("Type of pixels", str(image.pixels.dtype), ""),
        ("PSNR", "", _quality(done).removeprefix("PSNR ")),
        ("Mean squared error", "", f"{done.mse:.4g}"),
    ]
    palette, counts = done.mapped.palette, done.mapped.counts
    return render_section(
        Comparison(one_line(name), *result.planes, palette, counts, figures)
    )


def _picture(result: _Result) -> bytes:
    """Draw the picture of before and after, as a PNG file."""
    from napari_kmeans._files.read import ImageFile, encode_image
    from napari_kmeans._pictures.charts import Panel, draw_before_after

    source, _, size, done = result
    before, after = (
        Panel(plane, Path(name).name, f"{n_bytes:,} bytes, {counted_text(n, 'color')}")
        for plane, name, n_bytes, n in zip(
            result.planes,
            (source.path.name, str(source.target)),
            (size, len(done.content)),
            (done.n_colors_before, done.n_colors),
            strict=True,
        )
    )
    drawn = draw_before_after(before, after, done.mapped.palette)
    return encode_image(str(source.picture), ImageFile(drawn))


def _quality(done: Compressed) -> str:
    """Name the peak signal-to-noise ratio."""
    return "lossless" if done.psnr == math.inf else f"PSNR {done.psnr:.2f} dB"


def _write_report(outcomes: Sequence[Outcome], summary: str, options: Options) -> bool:
    """Write the report, if there is to be one; whether it failed, which is printed."""
    from napari_kmeans._pictures.report import render_page

    if options.report is None:
        return False
    failures = [
        one_line(f"{outcome.facts['input']}: {outcome.text}")
        for outcome in outcomes
        if outcome.status != "done"
    ]
    sections = [outcome.section for outcome in outcomes if outcome.section]
    page = render_page("Images in few colors", summary, sections, failures)
    content = page.encode(errors="replace")
    return not has_written(options.report, content, options)


def _totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Count images and bytes."""
    done = [o.facts for o in outcomes if o.status == "done"]
    return {
        "images": len(outcomes),
        "done": len(done),
        "skipped": sum(o.status == "skipped" for o in outcomes),
        "failed": sum(o.status == "failed" for o in outcomes),
        "bytes_before": sum(facts["bytes_before"] for facts in done),
        "bytes_after": sum(facts["bytes_after"] for facts in done),
    }


def _summary(totals: dict[str, int]) -> str:
    """Sum up in a line."""
    parts = [f"{totals['done']:,} of {totals['images']:,} images written"]
    parts += [
        f"{totals[status]:,} {status}"
        for status in ("skipped", "failed")
        if totals[status]
    ]
    line = ", ".join(parts)
    before, after = totals["bytes_before"], totals["bytes_after"]
    if not after:
        return line
    return f"{line}: {before:,} -> {after:,} bytes (ratio {before / after:.2f})"
