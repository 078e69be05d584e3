"""The commands that write images in few colors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from napari_kmeans._cli._image_job import ImageJob
from napari_kmeans._cli._options import (
    combined,
    fit_options,
    images_argument,
    jobs_option,
    parse_byte_count,
    talk_options,
)
from napari_kmeans._cli._places import (
    STDOUT,
    Place,
    choose_suffix,
    claim,
    parse_place,
)
from napari_kmeans._cli._sources import (
    STDIN,
    Source,
    are_several,
    find_sources,
    identity,
)
from napari_kmeans._cli._work import (
    Outcome,
    Talk,
    one_line,
    reason,
    run_jobs,
    to_json,
)

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
      in the fewest colors that reach 38 dB
  napari-kmeans --max-size 50KB photo.jpg
      in the most colors that fit into 50,000 bytes
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
    click.option(
        "-o",
        "--output",
        metavar="PATH",
        help="File to write, in the format of its suffix, or directory, or - for the "
        "standard output.  [default: IMAGE_compressed.png beside IMAGE]",
    ),
    click.option(
        "--format",
        "suffix",
        metavar="NAME",
        help="Format of files that are named after IMAGE: png, gif, tif, ome.tif, "
        "webp, jpg and what else Pillow writes.  [default: as the image needs]",
    ),
    click.option(
        "--dither",
        type=click.Choice(["floyd-steinberg", "ordered"]),
        help="Mix colors that are not in the palette from those that are.",
    ),
    click.option(
        "--skip-if-larger",
        is_flag=True,
        help="Write nothing where the file would not be smaller than IMAGE.",
    ),
    click.option(
        "--report",
        metavar="FILE",
        help="HTML page to write, that shows the images before and after.",
    ),
    click.option(
        "--compare",
        metavar="PATH",
        help="File or directory for a picture of the image before and after, and of "
        "the palette.",
    ),
    click.option("--force", is_flag=True, help="Overwrite files that exist."),
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
@click.option(
    "--max-size",
    "max_bytes",
    metavar="SIZE",
    callback=parse_byte_count,
    help="Use the most colors with which the file takes no more than SIZE, "
    "such as 50KB.",
)
@click.option("--shared", is_flag=True, help="Use one palette for all images.")
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

    for option, others in (
        ("--psnr", {"--colors": k, "--max-size": max_bytes, "--shared": shared}),
        ("--max-size", {"--shared": shared}),
    ):
        chosen = {"--psnr": psnr, "--max-size": max_bytes}[option]
        for other, value in others.items():
            if chosen is not None and value not in (None, False):
                msg = f"{option} and {other} exclude each other"
                raise click.UsageError(msg)
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
@click.option(
    "--palette",
    "palette_file",
    metavar="FILE",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Palette: .gpl, .json or .npy, or an indexed image.",
)
@click.option(
    "--color-space",
    type=click.Choice(["rgb", "lab", "oklab"]),
    default="rgb",
    help="Where distances of colors are measured.",
)
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
    from napari_kmeans._palette_files import PALETTE_SUFFIXES, read_palette

    try:
        if Path(palette_file).suffix.lower() in PALETTE_SUFFIXES:
            palette = read_palette(palette_file)
        else:
            from napari_kmeans._indexed_files import read_indexed

            palette = read_indexed(palette_file).palette
    except (OSError, ValueError) as error:
        Talk().complain(palette_file, str(error))
        click.get_current_context().exit(1)
    recipe = Recipe(iters=0, color_space=color_space, dither=dither)
    paths = _Paths(output, suffix, report, compare, force, skip_if_larger)
    talk = Talk(quiet, verbose, as_json)
    _run(images, recipe, paths, talk, jobs, palette=palette)


def _run(
    images: tuple[str, ...],
    recipe: Recipe,
    paths: _Paths,
    talk: Talk,
    n_processes: int,
    *,
    palette: NDArray[Any] | None = None,
    shared: bool = False,
) -> None:
    """Do all images, write the report, tell the sum, and leave with the exit status."""
    sources = find_sources(images)
    several = are_several(images, sources)
    output = parse_place("--output", paths.output, several)
    compare = parse_place("--compare", paths.compare, several)
    if output is None and [source.name for source in sources] == [STDIN]:
        output = Place(STDOUT, is_directory=False)
    to_stdout = output is not None and output.text == STDOUT
    if to_stdout and talk.as_json:
        msg = "--json and an image on the standard output exclude each other"
        raise click.UsageError(msg)
    if compare is not None and compare.text == STDOUT:
        msg = "--compare needs a file"
        raise click.UsageError(msg)
    talk = talk._replace(on_stderr=to_stdout)

    jobs = _planned(sources, recipe, palette, paths, output, compare)
    fault = _report_fault(jobs, paths)
    if fault is not None:
        talk.complain(str(paths.report), fault)
        click.get_current_context().exit(1)
    if shared:
        jobs = _with_shared_palette(jobs, recipe)
    outcomes = run_jobs(jobs, talk, n_processes)
    failed = [o for o in outcomes if o.status == "failed"]
    totals = _totals(outcomes)
    summary = _summary(totals)
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
    if paths.suffix is None:
        suffix = choose_suffix(source)
    else:
        suffix = f".{paths.suffix.lstrip('.')}"
    place = output or Place(str(source.path.parent), is_directory=True)
    target = _Target(STDOUT, f"image{suffix}")
    if place.text != STDOUT:
        path = _unclaimed(place, source, f"_compressed{suffix}", results)
        # An image may be replaced by its own result.
        claim(path, taken - {identity(source.path)} | results, paths.force)
        results.add(identity(path))
        target = _Target(str(path), str(path))
    if compare is not None:
        path = _unclaimed(compare, source, "_before_after.png", results)
        _check_picture(path)
        claim(path, taken | results, paths.force)
        results.add(identity(path))
        target = target._replace(picture=str(path))
    return target


def _unclaimed(place: Place, source: Source, ending: str, results: set[str]) -> Path:
    """Name a file after an image: photo.jpg and photo.png do not become one."""
    path = place.file(f"{source.stem}{ending}")
    if place.is_directory and identity(path) in results:
        return place.file(f"{source.path.name.replace('.', '_')}{ending}")
    return path


def _check_picture(path: Path) -> None:
    """Raise ValueError unless a picture of before and after can be written there."""
    import numpy as np

    from napari_kmeans._image_files import ImageFile, check_fit

    check_fit(str(path), ImageFile(np.zeros((1, 1, 3), np.uint8)))


def _report_fault(jobs: Sequence[ImageJob], paths: _Paths) -> str | None:
    """Say why the report must not be written, if it must not."""
    if paths.report is None:
        return None
    taken = {identity(job.source.path) for job in jobs}
    taken |= {identity(Path(job.target)) for job in jobs}
    taken |= {identity(Path(job.picture)) for job in jobs if job.picture}
    try:
        claim(Path(paths.report), taken, paths.force)
    except ValueError as error:
        return str(error)
    return None


def _with_shared_palette(jobs: Sequence[ImageJob], recipe: Recipe) -> list[ImageJob]:
    """Find one palette for all images that can be read."""
    from napari_kmeans._compression import fit_shared_palette
    from napari_kmeans._image_files import decode_image

    read, done = [], []
    for job in jobs:
        if job.fault is None:
            try:
                read.append(decode_image(job.source.read()))
            except (OSError, ValueError) as error:
                job = job._replace(fault=reason(error, job.name))
        done.append(job)
    if not read:
        return done
    try:
        palette = fit_shared_palette(read, recipe).palette
    except ValueError as error:
        return [job._replace(fault=job.fault or str(error)) for job in done]
    return [job._replace(palette=palette) for job in done]


def _write_report(
    outcomes: Sequence[Outcome], summary: str, paths: _Paths
) -> str | None:
    """Write the report; say why it could not be written, if it could not."""
    from napari_kmeans._atomic_file import replace_file
    from napari_kmeans._report import render_page

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
