"""The command that shows the error for many numbers of colors.

`_find_errors` finds the errors of one image; `_encoded` writes those of all images as a
table or draws them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from napari_kmeans._cli import inputs, outputs, running
from napari_kmeans._cli import options as opt
from napari_kmeans._cli.given import with_mask
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options
from napari_kmeans._cli.running import Outcome, Step, one_line
from napari_kmeans._cli.tables import cell_of, encode_table
from napari_kmeans._compression import errors_of
from napari_kmeans._files.read import ImageFile
from napari_kmeans._files.replace import replace_file
from napari_kmeans._files.write import encode_image
from napari_kmeans._pictures.charts import Curve, draw_curves

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


def _parse_numbers(word: str) -> tuple[int, ...]:
    """Turn a list such as 2,4,8 into numbers, in their order."""
    if not re.fullmatch(r"\d+( *, *\d+)*", word):
        msg = f"{word!r} is not a list such as 2,4,8"
        raise click.BadParameter(msg)
    numbers = sorted({int(number) for number in word.split(",")})
    return tuple(opt.NUMBER_OF_COLORS.convert(n, None, None) for n in numbers)


@opt.command(
    _EPILOG,
    opt.option(
        "-k --colors ks",
        "Numbers of colors.",
        metavar="K,K,...",
        type=_parse_numbers,
        default="2,4,8,16,32,64,128,256",
    ),
    opt.option(
        "-o --output",
        "Also write the table (.csv), or a plot (.png and other pictures).",
        metavar="FILE",
        type=opt.ANY_PATH,
    ),
    opt.mask_option,
    *opt.space_options,
    opt.force_option,
    *opt.run_options,
)
def curve(images: tuple[str, ...], options: Options) -> None:
    """Print the error of each IMAGE for many numbers of colors.

    The error is the squared distance to the nearest color, summed over channels, mean
    over pixels. Images are named as for `napari-kmeans compress`.
    """
    sources, left_out = inputs.find_sources(images, recursive=options.recursive)
    if options.output == opt.STDOUT:
        options = replace(options, output=None)
    target = options.output
    if target is not None:
        outputs.check_suffix("output", target, (_TABLE, ".png"))
        with running.giving_up(target):
            outputs.Claims(sources, options).claim(Path(target))
    options = replace(with_mask(options), iters=0)
    sources = inputs.with_stdin(sources)
    outcomes = running.run(_find_errors, sources, options, left_out)
    done = [outcome.facts for outcome in outcomes if outcome.status == "done"]
    if target is not None and done:
        with running.giving_up(target):
            replace_file(target, _encoded(target, done), overwrite=options.force)
    running.leave(outcomes)


def _find_errors(source: Source, options: Options, step: Step) -> Outcome:
    """Find the errors of an image."""
    step("reading")
    image = source.image()
    step("fitting")
    found = errors_of(image, options.ks, options, options.mask)
    errors, psnrs = zip(*found, strict=True)
    ks = options.ks
    facts = {"input": source.name, "k": list(ks), "mse": errors, "psnr": psnrs}
    rows = [f"{'colors':>8}  {'squared error':>14}  {'PSNR (dB)':>10}"]
    rows += [
        f"{k:>8,}  {_error(error):>14}  {running.quality_text(error, psnr):>10}"
        for k, error, psnr in zip(ks, errors, psnrs, strict=True)
    ]
    text = "\n".join([one_line(source.name), *rows])
    return Outcome("done", text, facts, is_data=True)


def _error(mse: float) -> str:
    """Write a squared error, with four decimals if these say most of it."""
    return f"{mse:.4f}" if mse == 0 or 0.01 <= mse < 1e9 else running.error_text(mse)


def _encoded(target: str, done: Sequence[dict[str, Any]]) -> bytes:
    """Write the table or draw the plot, in the format of a file name."""
    if Path(target).suffix.lower() != _TABLE:
        curves = [
            Curve(one_line(facts["input"]), facts["k"], facts["psnr"]) for facts in done
        ]
        return encode_image(target, ImageFile(draw_curves(curves)))
    rows = [
        [cell_of(facts["input"]), *row]
        for facts in done
        for row in zip(facts["k"], facts["mse"], facts["psnr"], strict=True)
    ]
    return encode_table(["image", "k", "mse", "psnr"], rows)
