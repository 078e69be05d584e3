"""The command that shows the error for many numbers of colors."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from napari_kmeans._cli.inputs import Source, find_sources, identity, with_stdin
from napari_kmeans._cli.options import (
    NUMBER_OF_COLORS,
    force_option,
    images_argument,
    jobs_option,
    option,
    talk_options,
)
from napari_kmeans._cli.outputs import STDOUT, check_suffix, claim
from napari_kmeans._cli.running import Outcome, Talk, finish, one_line, run_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["curve"]

_TABLE = ".csv"

_EPILOG = """\b
Examples:
  napari-kmeans curve photo.jpg
      prints a table
  napari-kmeans curve -k 8,16,32 a.jpg b.jpg
  napari-kmeans curve -o curve.png photo.jpg
      also draws it
  napari-kmeans curve -o curve.csv photo.jpg
"""


def _parse_numbers(
    ctx: click.Context, param: click.Parameter, value: str
) -> tuple[int, ...]:
    """Turn a list such as 2,4,8 into numbers, in their order."""
    if not re.fullmatch(r"\d+( *, *\d+)*", value):
        msg = f"{value!r} is not a list such as 2,4,8"
        raise click.BadParameter(msg, param=param)
    numbers = {int(number) for number in value.split(",")}
    return tuple(NUMBER_OF_COLORS.convert(n, param, ctx) for n in sorted(numbers))


class _CurveJob(NamedTuple):
    """An image whose errors are to be found."""

    source: Source
    ks: tuple[int, ...]

    @property
    def name(self) -> str:
        """What the image is called."""
        return self.source.name

    @property
    def n_steps(self) -> int:
        """Count reading and fitting."""
        return 3

    def do(self, step: Callable[[str], object]) -> Outcome:
        """Find the errors."""
        from napari_kmeans._compression import errors_of, psnr
        from napari_kmeans._files.read import decode_image

        step("reading")
        image = decode_image(self.source.read())
        step("fitting")
        errors = errors_of(image, self.ks)
        psnrs = [psnr(image, error) for error in errors]
        facts = {
            "input": self.source.name,
            "k": list(self.ks),
            "mse": errors,
            "psnr": psnrs,
        }
        rows = [f"{'colors':>8}  {'squared error':>14}  {'PSNR (dB)':>10}"]
        rows += [
            f"{k:>8,}  {error:>14.4f}  "
            + (f"{value:>10.2f}" if math.isfinite(value) else f"{'lossless':>10}")
            for k, error, value in zip(self.ks, errors, psnrs, strict=True)
        ]
        text = "\n".join([one_line(self.name), *rows])
        return Outcome("done", text, facts, is_data=True)


@click.command(epilog=_EPILOG)
@images_argument
@option(
    "-k",
    "--colors",
    "ks",
    metavar="K,K,...",
    callback=_parse_numbers,
    default="2,4,8,16,32,64,128,256",
    help="Numbers of colors.",
)
@option(
    "-o",
    "--output",
    metavar="FILE",
    help="Also write the table (.csv), or a plot (.png and other pictures).",
)
@force_option
@jobs_option
@talk_options
def curve(
    images: tuple[str, ...],
    ks: tuple[int, ...],
    output: str | None,
    force: bool,
    jobs: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Tell the error of each IMAGE for many numbers of colors.

    The error is the squared distance to the nearest color, summed over channels, mean
    over pixels. Images are named as for `napari-kmeans compress`.
    """
    talk = Talk(quiet, verbose, as_json)
    sources = find_sources(images)
    target = None if output in (None, STDOUT) else str(output)
    if target is not None:
        check_suffix("output", target, (_TABLE, ".png"))
        try:
            claim(Path(target), {identity(source.path) for source in sources}, force)
        except (OSError, ValueError) as error:
            talk.give_up(target, error)
    sources = with_stdin(sources)
    outcomes = run_jobs([_CurveJob(source, ks) for source in sources], talk, jobs)
    done = [outcome.facts for outcome in outcomes if outcome.status == "done"]
    fault = _write(target, done, force) if target is not None and done else None
    if fault is not None:
        talk.complain(str(target), fault)
    finish(outcomes, talk, failed=fault is not None)


def _write(target: str, done: Sequence[dict[str, Any]], force: bool) -> str | None:
    """Write the table or the plot; say why it could not be written, if it could not."""
    import csv
    import io

    from napari_kmeans._files.read import ImageFile
    from napari_kmeans._files.replace import replace_file
    from napari_kmeans._files.write import encode_image
    from napari_kmeans._pictures.curve_plot import Curve, draw_curves

    if Path(target).suffix.lower() == _TABLE:
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(["image", "k", "mse", "psnr"])
        for facts in done:
            for row in zip(facts["k"], facts["mse"], facts["psnr"], strict=True):
                table.writerow([one_line(facts["input"]), *row])
        content = text.getvalue().encode()
    else:
        curves = [
            Curve(one_line(facts["input"]), facts["k"], facts["psnr"]) for facts in done
        ]
        content = encode_image(target, ImageFile(draw_curves(curves)))
    try:
        replace_file(target, content, overwrite=force)
    except OSError as error:
        return error.strerror or str(error)
    return None
