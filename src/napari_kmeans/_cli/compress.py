"""The commands that write images in few colors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from napari_kmeans._cli.image_job import ImageJob
from napari_kmeans._cli.inputs import (
    STDIN,
    Source,
    are_several,
    find_sources,
    identity,
    with_stdin,
)
from napari_kmeans._cli.options import (
    color_space_option,
    combined,
    fit_options,
    force_option,
    images_argument,
    jobs_option,
    option,
    parse_byte_count,
    refuse_together,
    refuse_value,
    talk_options,
)
from napari_kmeans._cli.outputs import (
    IMAGE_SUFFIXES,
    STDOUT,
    Place,
    choose_suffix,
    claim,
    parse_place,
    suffix_parser,
)
from napari_kmeans._cli.running import (
    Outcome,
    Talk,
    one_line,
    reason,
    run_jobs,
    to_json,
)
from napari_kmeans._cli.shared import read_group

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_kmeans._compression import Recipe

    Step = Callable[[str], object]

__all__ = ["apply", "compress"]

_DEFAULT_K = 16
_MOST_IN_A_FILE = 256

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

_write_options = combined(
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
    jobs_option,
    talk_options,
)


class _Paths(NamedTuple):
    """Where everything is to be written, as it was said."""

    output: str | None
    suffix: str | None
    report: str | None
    compare: str | None
    force: bool
    skip_if_larger: bool


@click.command(epilog=_COMPRESS_EPILOG)
@images_argument
@fit_options
@option(
    "--max-size",
    "max_bytes",
    metavar="SIZE",
    callback=parse_byte_count,
    help="Use so many colors that the file takes no more than SIZE, such as 50KB, and "
    "with one more would.",
)
@option("--shared", is_flag=True, help="Use one palette for all images.")
@_write_options
def compress(
    images: tuple[str, ...],
    k: int | None,
    iters: int,
    init: Literal["auto", "thorough", "k-means++", "random"],
    seed: int | None,
    color_space: Literal["rgb", "lab", "oklab"],
    psnr: float | None,
    max_bytes: int | None,
    shared: bool,
    output: str | None,
    suffix: str | None,
    dither: Literal["floyd-steinberg", "ordered"] | None,
    skip_if_larger: bool,
    report: str | None,
    compare: str | None,
    force: bool,
    jobs: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Reduce each IMAGE to K colors, 16 if nothing is said, and write it small.

    An IMAGE is a file, a pattern such as '*.jpg', a folder, or - for the standard
    input. The result is an indexed PNG file, as small as it can be made. An animation
    becomes a GIF file; a stack, or an image of more than 8 bits per channel, a TIFF
    file.

    With several images, each PATH is a directory, made if it is missing.
    """
    from napari_kmeans._compression import Recipe

    refuse_together("psnr", "k", "max_bytes", "shared", "init", "seed")
    refuse_together("max_bytes", "shared")
    most = _DEFAULT_K if max_bytes is None else _MOST_IN_A_FILE
    recipe = Recipe(
        most if k is None else k,
        iters,
        init,
        seed,
        color_space,
        dither,
        psnr,
        max_bytes,
    )
    paths = _Paths(output, suffix, report, compare, force, skip_if_larger)
    talk = Talk(quiet, verbose, as_json)
    _run(images, recipe, paths, talk, jobs, shared=shared)


@click.command(epilog=_APPLY_EPILOG)
@images_argument
@option(
    "--palette",
    "palette_file",
    metavar="FILE",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Palette: .gpl, .json, .npy or .hex, or an indexed image.",
)
@color_space_option
@_write_options
def apply(
    images: tuple[str, ...],
    palette_file: str,
    color_space: Literal["rgb", "lab", "oklab"],
    output: str | None,
    suffix: str | None,
    dither: Literal["floyd-steinberg", "ordered"] | None,
    skip_if_larger: bool,
    report: str | None,
    compare: str | None,
    force: bool,
    jobs: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Give each pixel of each IMAGE the nearest color of a palette that is given.

    Images are named, and files written, as `napari-kmeans compress` does.
    """
    from napari_kmeans._compression import Recipe

    recipe = Recipe(iters=0, color_space=color_space, dither=dither)
    paths = _Paths(output, suffix, report, compare, force, skip_if_larger)
    talk = Talk(quiet, verbose, as_json)
    _run(images, recipe, paths, talk, jobs, palette_file=palette_file)


def _run(
    images: tuple[str, ...],
    recipe: Recipe,
    paths: _Paths,
    talk: Talk,
    n_processes: int,
    *,
    palette_file: str | None = None,
    shared: bool = False,
) -> None:
    """Do all images, write the report, tell the sum, and leave with the exit status."""
    sources = find_sources(images)
    several = are_several(images, sources)
    output, compare = _places(paths, several)
    if output is None and [source.name for source in sources] == [STDIN]:
        output = Place(STDOUT, is_directory=False)
    to_stdout = output is not None and output.text == STDOUT
    if to_stdout and talk.as_json:
        msg = "--json and an image on the standard output exclude each other"
        raise click.UsageError(msg)
    talk = talk._replace(on_stderr=to_stdout)

    palette = None
    if palette_file is not None:
        palette = _read_palette(palette_file, talk)
    for place in (output, compare):
        if place is not None:
            place.make(talk)
    sources = with_stdin(sources)
    jobs = _planned(sources, recipe, palette, paths, output, compare)
    try:
        _claim_report(jobs, paths)
    except (OSError, ValueError) as error:
        talk.give_up(str(paths.report), error)
    if shared:
        jobs = _with_shared_palette(jobs, recipe)
    outcomes = run_jobs(jobs, talk, n_processes)
    failed = [o for o in outcomes if o.status == "failed"]
    totals = _totals(outcomes)
    summary = _summary(totals)
    fault = None
    if paths.report is not None:
        fault = _write_report(outcomes, summary, paths)
        if fault is not None:
            talk.complain(paths.report, fault)
    if talk.as_json:
        images_facts = [outcome.facts for outcome in outcomes]
        click.echo(to_json({"images": images_facts, "summary": totals}))
    elif several:
        talk.say(summary)
    if failed or fault is not None:
        click.get_current_context().exit(1)


def _places(paths: _Paths, several: bool) -> tuple[Place | None, Place | None]:
    """Tell where images and comparisons are to be written, or raise UsageError."""
    output = parse_place("output", paths.output, several, IMAGE_SUFFIXES)
    compare = parse_place("compare", paths.compare, several, (".png",))
    for param, value in (("compare", paths.compare), ("report", paths.report)):
        if value == STDOUT:
            msg = "must be a file, not the standard output"
            refuse_value(param, msg)
    if paths.suffix is not None and output is not None and not output.is_directory:
        is_other = not output.text.lower().endswith(paths.suffix.lower())
        if output.text != STDOUT and is_other:
            msg = f"must be the format of {output.text}, got {paths.suffix}"
            refuse_value("suffix", msg)
    return output, compare


def _read_palette(path: str, talk: Talk) -> NDArray[Any]:
    """Read a palette file or that of an indexed image, or leave with an error."""
    from napari_kmeans._files.indexed import decode_indexed
    from napari_kmeans._files.palettes import PALETTE_SUFFIXES, read_palette

    try:
        if Path(path).suffix.lower() in PALETTE_SUFFIXES:
            return read_palette(path)
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        talk.give_up(path, error)
    try:
        return decode_indexed(content).palette
    except ValueError as error:
        talk.give_up(path, ValueError(f"no palette: {error}"))


class _Target(NamedTuple):
    """What is to be written for an image."""

    # A file, or `STDOUT`.
    file: str
    # A name whose suffix is the format.
    format_name: str
    picture: str | None = None


def _planned(
    sources: Sequence[Source],
    recipe: Recipe,
    palette: NDArray[Any] | None,
    paths: _Paths,
    output: Place | None,
    compare: Place | None,
) -> list[ImageJob]:
    """Choose the files to write, and see that no two are one, nor one of the images."""
    taken = {identity(source.path) for source in sources if source.name != STDIN}
    results: set[str] = set()
    jobs = []
    for source in sources:
        target, fault = _Target(STDOUT, ""), None
        try:
            target = _target(source, paths, output, compare, taken, results)
        except (OSError, ValueError) as error:
            fault = reason(error, source.name)
        jobs.append(
            ImageJob(
                source,
                target.file,
                target.format_name,
                target.picture,
                recipe,
                palette,
                paths.force,
                paths.skip_if_larger,
                paths.report is not None,
                fault,
            )
        )
    return jobs


def _target(
    source: Source,
    paths: _Paths,
    output: Place | None,
    compare: Place | None,
    taken: set[str],
    results: set[str],
) -> _Target:
    """Choose the files to write for an image, and add them to the `results`."""
    suffix = paths.suffix or choose_suffix(source)
    place = output or Place(str(source.path.parent), is_directory=True)
    target = _Target(STDOUT, f"image{suffix}")
    if place.text != STDOUT:
        path = place.unclaimed(source, f"_compressed{suffix}", results)
        # An image may be replaced by its own result.
        claim(path, taken - {identity(source.path)} | results, paths.force)
        results.add(identity(path))
        target = _Target(str(path), str(path))
    if compare is not None:
        path = compare.unclaimed(source, "_before_after.png", results)
        claim(path, taken | results, paths.force)
        results.add(identity(path))
        target = target._replace(picture=str(path))
    return target


def _claim_report(jobs: Sequence[ImageJob], paths: _Paths) -> None:
    """Raise unless the report, if there is to be one, may be written."""
    if paths.report is None:
        return
    taken = {identity(job.source.path) for job in jobs}
    taken |= {identity(Path(job.target)) for job in jobs}
    taken |= {identity(Path(job.picture)) for job in jobs if job.picture}
    claim(Path(paths.report), taken, paths.force)


def _with_shared_palette(jobs: Sequence[ImageJob], recipe: Recipe) -> list[ImageJob]:
    """Find one palette for all images of one kind, and leave out the others."""
    from napari_kmeans._compression import fit_shared_palette

    images, faults = read_group([job.source for job in jobs if job.fault is None])
    rest = iter(faults)
    jobs = [job if job.fault else job._replace(fault=next(rest)) for job in jobs]
    if not images:
        return jobs
    try:
        palette = fit_shared_palette(images, recipe).palette
    except ValueError as error:
        return [job._replace(fault=job.fault or str(error)) for job in jobs]
    return [job._replace(palette=palette) for job in jobs]


def _write_report(
    outcomes: Sequence[Outcome], summary: str, paths: _Paths
) -> str | None:
    """Write the report; say why it could not be written, if it could not."""
    from napari_kmeans._files.replace import replace_file
    from napari_kmeans._pictures.report import render_page

    sections = [outcome.section for outcome in outcomes if outcome.section]
    failures = [
        one_line(f"{outcome.facts['input']}: {outcome.text}")
        for outcome in outcomes
        if outcome.status != "done"
    ]
    page = render_page("Images in few colors", summary, sections, failures)
    try:
        replace_file(
            str(paths.report), page.encode(errors="replace"), overwrite=paths.force
        )
    except OSError as error:
        return error.strerror or str(error)
    return None


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
    """Tell the sum in a line."""
    parts = [f"{totals['done']:,} of {totals['images']:,} images written"]
    parts += [
        f"{totals[status]:,} {status}"
        for status in ("skipped", "failed")
        if totals[status]
    ]
    line = ", ".join(parts)
    if totals["bytes_after"]:
        ratio = totals["bytes_before"] / totals["bytes_after"]
        line += (
            f": {totals['bytes_before']:,} -> {totals['bytes_after']:,} bytes "
            f"(ratio {ratio:.2f})"
        )
    return line
