"""The commands that write images in few colors, `compress` and `apply`.

Both plan the files of all images (`_planned`), let `running` call `_write_image` for
each, and sum up. An image is counted, fitted, mapped and encoded in `_compression`, or
by `_stores` if a store is made of it (`_write_store`); what is said of it, in lines,
facts, pictures and a report, is put together in `outcomes`.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from napari_kmeans import _compression
from napari_kmeans._cli import inputs, outputs, running
from napari_kmeans._cli import options as opt
from napari_kmeans._cli.given import read_palette, with_mask
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import STDOUT, Options, option
from napari_kmeans._cli.outcomes import (
    comparison_of,
    image_outcome,
    report_page,
    store_outcome,
    sum_up,
    totals,
)
from napari_kmeans._cli.outputs import Place
from napari_kmeans._cli.running import Outcome, Step
from napari_kmeans._cli.tables import encode_colors
from napari_kmeans._cli.values import parse_byte_count, refuse_nan
from napari_kmeans._compression import as_wanted, fit_counted
from napari_kmeans._core.arguments import DITHERS, is_lazy
from napari_kmeans._files.formats import (
    BYTE_COLORS,
    Misfit,
    Unfit,
    format_of,
    most_pixels,
)
from napari_kmeans._files.ome_zarr import STORE_SUFFIXES, is_store_name
from napari_kmeans._files.png_rows import EFFORTS
from napari_kmeans._files.read import ImageFile
from napari_kmeans._files.write import encode_image
from napari_kmeans._pictures.charts import draw_before_after
from napari_kmeans._pictures.report import render_section
from napari_kmeans._stores import write_store

__all__ = ["apply", "compress"]

_COMPRESS_EPILOG = """\b
Examples:
  napari-kmeans photo.jpg                # photo_compressed.png, in 16 colors
  napari-kmeans -k 8 -o posters/ *.jpg   # posters/NAME_compressed.png
  napari-kmeans --psnr 30 --report page.html -o good.png photo.jpg
  napari-kmeans --labels slide.svs       # slide_compressed.ome.zarr
  napari-kmeans - < photo.jpg > small.png
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
        "--dither",
        "Mix colors: floyd-steinberg or ordered.",
        metavar="NAME",
        type=click.Choice(DITHERS),
    ),
    option(
        "-o --output",
        "File to write, or directory, or - for standard output.",
        metavar="PATH",
        type=opt.ANY_PATH,
    ),
    option(
        "--format suffix",
        "Format of files named after IMAGE, such as webp.",
        metavar="NAME",
        type=outputs.suffix_parser(*outputs.IMAGE_SUFFIXES, *STORE_SUFFIXES),
    ),
    opt.force_option,
    option(
        "--effort",
        "Time for a smaller PNG: fast, normal or best.",
        metavar="NAME",
        type=click.Choice(EFFORTS),
        default="normal",
        show_default=False,
    ),
    option("--skip-if-larger", "Write only files smaller than IMAGE.", is_flag=True),
    option(
        "--report",
        "HTML page to write, with before and after.",
        metavar="FILE",
        type=opt.ANY_PATH,
    ),
    option(
        "--compare",
        "Picture to write, of before and after.",
        metavar="PATH",
        type=opt.ANY_PATH,
    ),
    opt.csv_option,
    option("--labels", "In OME-Zarr, write the labels, too.", rare=True, is_flag=True),
    *opt.run_options,
    option(
        "--dither-strength",
        "How much to mix colors.",
        rare=True,
        metavar="S",
        type=click.FloatRange(0, 1),
        callback=refuse_nan,
    ),
    opt.depth_option,
    option(
        "--opacity-threshold",
        "GIF: opaque from N on, else clear.",
        rare=True,
        metavar="N",
        type=click.IntRange(1, 255),
    ),
    option(
        "--keep-palette",
        "Keep its order and unused colors.",
        rare=True,
        is_flag=True,
    ),
)


@opt.command(
    _COMPRESS_EPILOG,
    *opt.fit_options,
    option(
        "--max-size max_bytes",
        "Use the most colors that fit, such as in 50KB.",
        metavar="SIZE",
        type=parse_byte_count,
    ),
    option("--shared", "Use one palette for all images.", is_flag=True),
    *_write_options,
)
def compress(images: tuple[str, ...], options: Options) -> None:
    """Reduce each IMAGE to K colors, by default 16, and write a small file.

    An IMAGE is a file, a store of zarr, a pattern such as '*.jpg', a folder, or - for
    the standard input. With several, each PATH is a directory.
    """
    opt.refuse_together("psnr", "k", "max_bytes", "shared", "init", "seed", "fixed")
    opt.refuse_together("max_bytes", "shared")
    if options.max_bytes is not None and not opt.is_given("k"):
        options = replace(options, k=BYTE_COLORS)
    opt.check_fixed(options)
    _write_all(images, options)


@opt.command(
    _APPLY_EPILOG,
    option(
        "--palette palette_file",
        "Palette: .gpl, .json, .npy, .hex or .pal, or an indexed image.",
        metavar="FILE",
        required=True,
        type=click.Path(exists=True, dir_okay=False),
    ),
    *opt.space_options,
    *_write_options,
)
def apply(images: tuple[str, ...], options: Options) -> None:
    """Map each pixel of each IMAGE to the nearest color of a given palette.

    Images are named, and files written, as `napari-kmeans compress` does.
    """
    if isinstance(options.channel_weights, str):
        rule = "must be numbers, as --json of compress and palette has them, got "
        opt.refuse_value("channel_weights", rule + options.channel_weights)
    _write_all(images, replace(options, iters=0))


def _write_all(images: tuple[str, ...], options: Options) -> None:
    """Write all images and the report, print the sum, and leave with the status."""
    if opt.is_given("dither_strength") and options.dither is None:
        opt.refuse_value("dither_strength", "needs --dither")
    sources, left_out = inputs.find_sources(images, recursive=options.recursive)
    several = inputs.are_several(images, sources)
    if options.output is None and [source.name for source in sources] == [inputs.STDIN]:
        options = replace(options, output=STDOUT)
    output, compare = _places(options, several)
    if options.as_json and options.output == STDOUT:
        msg = "--json and an image on the standard output exclude each other"
        raise click.UsageError(msg)
    if options.palette_file is not None:
        options = replace(options, palette=read_palette(options.palette_file))
    options = with_mask(options)
    for place in (output, compare):
        if place is not None:
            place.make()
    sources = _planned(inputs.with_stdin(sources), options, output, compare)
    if options.shared:
        sources, options = _with_shared_palette(sources, options)
    outcomes = running.run(_write_image, sources, options, left_out, totals)
    summary = sum_up(totals(outcomes))
    if several:
        running.say(summary, options)
    if options.report is not None:
        outputs.write_beside(options.report, report_page(outcomes, summary), options)
    if options.csv_file is not None:
        outputs.write_beside(options.csv_file, encode_colors(outcomes), options)
    running.leave(outcomes)


def _places(options: Options, several: bool) -> tuple[Place | None, Place | None]:
    """Find out where images and comparisons are to be written, or raise UsageError."""
    known = (*outputs.IMAGE_SUFFIXES, *STORE_SUFFIXES)
    output = outputs.parse_place("output", options.output, several, known)
    compare = outputs.parse_place("compare", options.compare, several, (".png",))
    opt.refuse_stdout("compare", "report", "csv_file")
    name = "" if output is None or output.is_directory else output.text.lower()
    suffix = options.suffix or ""
    if name not in ("", STDOUT) and not name.endswith(suffix.lower()):
        rule = f"must be the format of {options.output}, got {suffix}"
        opt.refuse_value("suffix", rule)
    return output, compare


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
        place = output or Place(source.top or str(source.path.parent), True)
        target, picture = STDOUT, None
        suffix = options.suffix or outputs.choose_suffix(source, options.depth)
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
    claims.claim_beside(options.report, options.csv_file)
    return sources


def _with_shared_palette(
    sources: list[Source], options: Options
) -> tuple[list[Source], Options]:
    """Find one palette for all images of one kind, and leave out the others."""

    def image_of(source: Source) -> ImageFile:
        return as_wanted(source.image(), _name(source, options), options)

    sources = inputs.read_group(sources, image_of, options.mask)
    members = [source for source in sources if source.fault is None]
    if not members:
        return sources, options
    try:
        group = inputs.count_group(members, image_of, options)
        found = fit_counted(group, options).result
    except ValueError as error:
        return [s._replace(fault=s.fault or str(error)) for s in sources], options
    if options.mask is not None:
        # The colors outside of it are not counted.
        sources = [source._replace(part=None) for source in sources]
    weights = found.channel_weights
    numbers = None if weights is None else tuple(weights.tolist())
    options = replace(options, palette=found.palette, channel_weights=numbers)
    return sources, options


def _write_image(source: Source, options: Options, step: Step) -> Outcome:
    """Read and compress an image, and find what is to be written."""
    step("reading")
    target = str(source.target)
    if is_store_name(target):
        return _write_store(source, options, step)
    name = _name(source, options)
    image, n_bytes = _in_memory(source.image(), name), source.n_bytes()
    try:
        done = _compression.compress(
            image,
            name,
            options,
            palette=options.palette,
            counts=source.part.counts if source.part else None,
            mask=options.mask,
            callback=lambda state: step("fitting", state.n_iter, options.iters),
            step=step,
        )
    except Unfit as error:
        msg = f"{error}{_advice(error.misfit, image, name, options)}"
        raise ValueError(msg) from error
    outcome = image_outcome(source, n_bytes, done, options)
    if outcome.status == "skipped":
        return outcome
    if target == STDOUT:
        outcome = outcome._replace(content=done.content)
    else:
        outcome = outcome._replace(files=((target, done.content),))
    if source.picture is None and options.report is None:
        return outcome
    step("writing")
    comparison = comparison_of(source, image, n_bytes, done, options.depth)
    if source.picture is not None:
        drawn = ImageFile(draw_before_after(comparison))
        picture = source.picture, encode_image(source.picture, drawn)
        outcome = outcome._replace(files=(*outcome.files, picture))
    if options.report is not None:
        outcome = outcome._replace(section=render_section(comparison))
    return outcome


def _name(source: Source, options: Options) -> str:
    """Return the name of a result, which tells its format."""
    if source.target != STDOUT:
        return str(source.target)
    return f"image{options.suffix or outputs.choose_suffix(source, options.depth)}"


def _advice(misfit: Misfit, image: ImageFile, name: str, options: Options) -> str:
    """Return which option lets a file hold an image, if one does."""
    dtype = image.pixels.dtype
    if misfit == "dtype" and dtype.kind == "u" and dtype.itemsize > 1:
        return ", or scale the image by --depth 8"
    if misfit == "opacity" and format_of(name).opacity == "one clear color":
        return ", or make them clear or opaque by --opacity-threshold 128"
    if misfit == "colors" and options.keep_palette:
        return ", or leave out --keep-palette"
    return ""


def _check_kind(source: Source, target: str, options: Options) -> None:
    """Refuse what is asked for if a store, or an image file, does not have it."""
    is_store = is_store_name(target)
    if is_store and source.pyramid() is None:
        msg = f"{target} cannot be made of an image file, only of a store or a slide"
        raise ValueError(msg)
    of_files = {
        "--mask": options.mask is not None,
        "--max-size": options.max_bytes,
        "--effort": opt.is_given("effort"),
        "--skip-if-larger": options.skip_if_larger,
        "--report": options.report,
        "--compare": options.compare,
        "--depth": options.depth,
        "--opacity-threshold": options.opacity_threshold,
        "--keep-palette": options.keep_palette,
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
    return store_outcome(source, inputs.size_on_disk(Path(target)), result)
