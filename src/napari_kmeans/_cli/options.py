"""The options of all commands, and what is said about wrong ones.

`command` makes a click command of a function of the images and one `Options`, a frozen
record that click fills: an option that is not given keeps the default of its field.
Options that several commands share stand here, once; each command lists its own beside
itself. `refuse_value` and `refuse_together` raise click's usage errors (exit status 2)
by the name that was typed.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

import click
from click.core import ParameterSource

from napari_kmeans._compression import Recipe
from napari_kmeans._core.arguments import MAX_COLORS
from napari_kmeans._core.arrays import Array

__all__ = [
    "NUMBER_OF_COLORS",
    "Options",
    "color_space_option",
    "command",
    "fit_options",
    "force_option",
    "is_given",
    "keep_words",
    "option",
    "parse_byte_count",
    "refuse_together",
    "refuse_value",
    "run_options",
]

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_UNITS |= {"KI": 1024, "MI": 1024**2, "GI": 1024**3}
NUMBER_OF_COLORS = click.IntRange(1, MAX_COLORS)
_COUNT = click.IntRange(min=0)
_WORDS = f"{__name__}.words"


@dataclass(frozen=True, eq=False)
class Options(Recipe):
    """What was asked for. A command uses the fields that it has options for."""

    # Numbers of colors to compare.
    ks: tuple[int, ...] = ()
    shared: bool = False
    palette_file: str | None = None
    # Where to write: paths as they were typed, and the suffix of files in a directory.
    output: str | None = None
    suffix: str | None = None
    report: str | None = None
    compare: str | None = None
    skip_if_larger: bool = False
    force: bool = False
    jobs: int = 1
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    # Not typed, but found out: the palette for all images, whether these are several,
    # and whether one takes the standard output, so that lines go to the error output.
    palette: Array | None = None
    several: bool = False
    lines_on_stderr: bool = False


def command(
    epilog: str, *options: Decorator
) -> Callable[[Callable[[tuple[str, ...], Options], None]], click.Command]:
    """Make a command of a function of images and options, listed from top to bottom."""
    # Nothing is checked here: a missing file gets its line like any other bad image.
    files = click.Path(readable=False)
    images = click.argument(
        "images", metavar="IMAGE...", nargs=-1, required=True, type=files
    )

    def decorate(function: Callable[[tuple[str, ...], Options], None]) -> click.Command:
        @functools.wraps(function)
        def call(images: tuple[str, ...], **values: Any) -> None:
            given = {name: v for name, v in values.items() if v is not None}
            function(images, Options(**given))

        wrapped: Callable[..., Any] = call
        decorators: list[Decorator] = [images, *options]
        for add in reversed(decorators):
            wrapped = add(wrapped)
        return click.command(epilog=epilog)(wrapped)

    return decorate


def option(names: str, **settings: Any) -> Decorator:
    """Make an option, as `click.option` does, of names that are separated by spaces."""
    return click.option(*names.split(), cls=_Option, **settings)


class _Option(click.Option):
    """An option that errors call by the name that was typed."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return that name, in quotes."""
        return f"'{_typed_name(self, ctx)}'"


def keep_words(ctx: click.Context, words: list[str]) -> None:
    """Keep the words of a call, for errors that name an option as it was typed."""
    ctx.meta[_WORDS] = words[: words.index("--")] if "--" in words else words


def _typed_name(param: click.Parameter, ctx: click.Context | None) -> str:
    """Return the name that an option was called by, or the first if it was not."""
    words = ctx.meta.get(_WORDS, ()) if ctx is not None else ()
    for name in param.opts:
        # Short names may be part of a word: the others are looked for.
        if name.startswith("--") and any(w.split("=")[0] == name for w in words):
            return name
    return param.opts[0]


def refuse_value(name: str, rule: str) -> NoReturn:
    """Raise BadParameter, as the value of a parameter breaks a rule."""
    raise click.BadParameter(rule, param=_parameter(name))


def refuse_together(name: str, *others: str) -> None:
    """Raise UsageError if a parameter and one of others are given."""
    given = [other for other in others if is_given(other)]
    if is_given(name) and given:
        ctx = click.get_current_context()
        one, other = (_typed_name(_parameter(some), ctx) for some in (name, given[0]))
        msg = f"{one} and {other} exclude each other"
        raise click.UsageError(msg)


def is_given(name: str) -> bool:
    """Whether a parameter of the running command was typed."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _parameter(name: str) -> click.Parameter:
    """Return a parameter of the running command."""
    params = click.get_current_context().command.params
    return next(param for param in params if param.name == name)


class _Decibels(click.FloatRange):
    """A number that is at least 0, or infinity."""

    def convert(self, value: Any, *context: Any) -> float:
        """Turn a word into a number."""
        number = super().convert(value, *context)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number of decibels", *context)
        return float(number)


def parse_byte_count(
    _: click.Context, param: click.Parameter, value: str | None
) -> int | None:
    """Turn a number of bytes, such as 50000, 50KB, 1.5MB or 48KiB, into a number."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Za-z]*)", value)
    unit = match[2].upper().removesuffix("B") if match else ""
    n_bytes = int(Decimal(match[1]) * _UNITS[unit]) if match and unit in _UNITS else 0
    if n_bytes < 1:
        msg = f"{value!r} is not a size such as 50KB or 1.5MiB"
        raise click.BadParameter(msg, param=param)
    return n_bytes


color_space_option = option(
    "--color-space",
    type=click.Choice(["rgb", "lab", "oklab"]),
    default="rgb",
    help="Where distances of colors are measured.",
)
fit_options = (
    option("-k --colors k", metavar="K", type=NUMBER_OF_COLORS, help="Most colors."),
    option(
        "--iters", metavar="N", type=_COUNT, default=10, help="Most k-means iterations."
    ),
    option(
        "--init",
        type=click.Choice(["auto", "thorough", "k-means++", "random"]),
        default="auto",
        help="How k-means starts.",
    ),
    option("--seed", metavar="N", type=_COUNT, help="Make a random start repeatable."),
    color_space_option,
    option(
        "--psnr",
        metavar="DB",
        type=_Decibels(min=0),
        help="Use the fewest colors that reach this quality.",
    ),
)
force_option = option("--force", is_flag=True, help="Overwrite files that exist.")
run_options = (
    option(
        "--jobs",
        metavar="N",
        type=click.IntRange(min=1),
        default=1,
        help="Images to work on at a time.",
    ),
    option("--json as_json", is_flag=True, help="Print everything as JSON."),
    option("-q --quiet", is_flag=True, help="Print errors only."),
    option("-v --verbose", is_flag=True, help="Print more."),
)
