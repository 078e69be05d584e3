"""Options that several commands have, and what is told of wrong ones."""

from __future__ import annotations

import functools
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "NUMBER_OF_COLORS",
    "color_space_option",
    "combined",
    "fit_options",
    "force_option",
    "images_argument",
    "jobs_option",
    "keep_words",
    "option",
    "parse_byte_count",
    "refuse_together",
    "refuse_value",
    "talk_options",
]

_F = TypeVar("_F", bound="Callable[..., Any]")
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_UNITS |= {"KI": 1024, "MI": 1024**2, "GI": 1024**3}
# As the library has it, which is not loaded to show help.
NUMBER_OF_COLORS = click.IntRange(1, 65536)
_WORDS = f"{__name__}.words"


class _Option(click.Option):
    """An option that errors call by the name that was typed."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Give that name, in quotes."""
        return f"'{_typed_name(self, ctx)}'"


option = functools.partial(click.option, cls=_Option)


def keep_words(ctx: click.Context, words: list[str]) -> None:
    """Keep the words of a call, for errors that name an option as it was typed."""
    ctx.meta[_WORDS] = words[: words.index("--")] if "--" in words else words


def refuse_value(name: str, rule: str) -> NoReturn:
    """Raise BadParameter, as the value of a parameter breaks a rule."""
    raise click.BadParameter(rule, param=_parameter(name))


def refuse_together(name: str, *others: str) -> None:
    """Raise UsageError if a parameter and one of others are given."""
    ctx = click.get_current_context()
    given = [
        other
        for other in (name, *others)
        if ctx.get_parameter_source(other) is ParameterSource.COMMANDLINE
    ]
    if name in given and len(given) > 1:
        one, other = (_typed_name(_parameter(some), ctx) for some in given[:2])
        msg = f"{one} and {other} exclude each other"
        raise click.UsageError(msg)


def _parameter(name: str) -> click.Parameter:
    """Give the parameter of the command that is running."""
    command = click.get_current_context().command
    return next(param for param in command.params if param.name == name)


def _typed_name(param: click.Parameter, ctx: click.Context | None) -> str:
    """Give the name that an option was called by, the first if it was not."""
    words = ctx.meta.get(_WORDS, ()) if ctx is not None else ()
    for name in param.opts:
        # Short names may be part of a word: the others are looked for.
        if name.startswith("--") and any(w.split("=")[0] == name for w in words):
            return name
    return param.opts[0]


class _Decibels(click.FloatRange):
    """A number that is at least 0, also infinity."""

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


def combined(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Make one decorator of several, listed from top to bottom."""

    def decorate(function: _F) -> _F:
        for add in reversed(options):
            function = add(function)
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

color_space_option = option(
    "--color-space",
    type=click.Choice(["rgb", "lab", "oklab"]),
    default="rgb",
    help="Where distances of colors are measured.",
)

fit_options = combined(
    option(
        "-k",
        "--colors",
        "k",
        metavar="K",
        type=NUMBER_OF_COLORS,
        help="Most colors to use.",
    ),
    option(
        "--iters",
        metavar="N",
        type=click.IntRange(min=0),
        default=10,
        help="Most iterations of k-means.",
    ),
    option(
        "--init",
        type=click.Choice(["auto", "thorough", "k-means++", "random"]),
        default="auto",
        help="How k-means starts.",
    ),
    option(
        "--seed",
        metavar="N",
        type=click.IntRange(min=0),
        help="Make a start with chance in it repeatable.",
    ),
    color_space_option,
    option(
        "--psnr",
        metavar="DB",
        type=_Decibels(min=0),
        help="Use so few colors that one less would miss this quality.",
    ),
)

force_option = option("--force", is_flag=True, help="Overwrite files that exist.")

jobs_option = option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Images to work on at a time.",
)

talk_options = combined(
    option("--json", "as_json", is_flag=True, help="Tell all in JSON."),
    option("-q", "--quiet", is_flag=True, help="Tell errors only."),
    option("-v", "--verbose", is_flag=True, help="Tell more."),
)


def _files(incomplete: str) -> list[Any]:
    """Let the shell offer its files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]
