"""Options that several commands have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "combined",
    "fit_options",
    "images_argument",
    "jobs_option",
    "parse_byte_count",
    "talk_options",
]

_F = TypeVar("_F", bound="Callable[..., Any]")
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_UNITS |= {"KI": 1024, "MI": 1024**2, "GI": 1024**3}


def parse_byte_count(
    _: click.Context, param: click.Parameter, value: str | None
) -> int | None:
    """Turn a number of bytes, such as 50000, 50KB, 1.5MB or 48KiB, into a number."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Za-z]*)", value)
    unit = match[2].upper().removesuffix("B") if match else ""
    if match is None or unit not in _UNITS or float(match[1]) == 0:
        msg = f"{value!r} is not a size such as 50KB or 1.5MiB"
        raise click.BadParameter(msg, param=param)
    return int(float(match[1]) * _UNITS[unit])


def combined(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Make one decorator of several, listed from top to bottom."""

    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


# Not click.Path: what is no file gets its line like any other image.
images_argument = click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    shell_complete=lambda _ctx, _param, incomplete: _files(incomplete),
)

fit_options = combined(
    click.option(
        "-k", "--colors", "k", metavar="K", type=int, help="Most colors to use."
    ),
    click.option(
        "--iters", metavar="N", type=int, default=10, help="Most iterations of k-means."
    ),
    click.option(
        "--init",
        type=click.Choice(["auto", "thorough", "k-means++", "random"]),
        default="auto",
        help="How k-means starts.",
    ),
    click.option(
        "--seed",
        metavar="N",
        type=click.IntRange(min=0),
        help="Make a start with chance in it repeatable.",
    ),
    click.option(
        "--color-space",
        type=click.Choice(["rgb", "lab", "oklab"]),
        default="rgb",
        help="Where distances of colors are measured.",
    ),
    click.option(
        "--psnr",
        metavar="DB",
        type=click.FloatRange(min=0),
        help="Use the fewest colors that reach this quality.",
    ),
)

jobs_option = click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Images to work on at a time.",
)

talk_options = combined(
    click.option("--json", "as_json", is_flag=True, help="Tell all in JSON."),
    click.option("-q", "--quiet", is_flag=True, help="Tell errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Tell more."),
)


def _files(incomplete: str) -> list[Any]:
    """Let the shell offer its files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]
