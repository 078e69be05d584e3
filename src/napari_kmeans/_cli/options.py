"""The options of all commands, and what is said about wrong ones.

`command` makes a click command of a function of the images and one `Options`, a frozen
record that click fills: an option that is not given keeps the default of its field.
Options that several commands share stand here, once; each command lists its own beside
itself. `refuse_value` and `refuse_together` raise click's usage errors (exit status 2)
by the name that was typed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from napari_kmeans._compression import Recipe
from napari_kmeans._core.arguments import COLOR_SPACES, INITS, MAX_COLORS
from napari_kmeans._core.arrays import Array

__all__ = [
    "NUMBER_OF_COLORS",
    "STDOUT",
    "Options",
    "color_space_option",
    "command",
    "fit_options",
    "force_option",
    "is_given",
    "option",
    "parse_byte_count",
    "refuse_nan",
    "refuse_together",
    "refuse_value",
    "run_options",
]

# Seconds in which a scheduler has to answer.
_PATIENCE = 5
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_UNITS |= {"KI": 1024, "MI": 1024**2, "GI": 1024**3}
STDOUT = "-"
NUMBER_OF_COLORS = click.IntRange(1, MAX_COLORS)
_COUNT, _NUMBER = click.IntRange(min=0), click.IntRange(min=1)


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
    labels: bool = False
    skip_if_larger: bool = False
    force: bool = False
    jobs: int = 1
    scheduler: str | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    # Not typed, but found out: the palette for all images, and whether these are more
    # than one.
    palette: Array | None = None
    several: bool = False

    @property
    def recipe(self) -> Recipe:
        """What is on record of a store."""
        return Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})


def command(
    epilog: str, *options: click.Option
) -> Callable[[Callable[[tuple[str, ...], Options], None]], click.Command]:
    """Make a command of a function of images and options, listed from top to bottom."""
    # Nothing is checked here: a missing file gets its line like any other bad image.
    files = click.Path(readable=False)
    images = click.Argument(
        ["images"], metavar="IMAGE...", nargs=-1, required=True, type=files
    )

    def decorate(function: Callable[[tuple[str, ...], Options], None]) -> click.Command:
        @click.command(epilog=epilog, params=[images, *options])
        @functools.wraps(function)
        def call(images: tuple[str, ...], **values: Any) -> None:
            given = {name: v for name, v in values.items() if v is not None}
            options = Options(**given)
            refuse_together("scheduler", "jobs")
            with _connected(options.scheduler):
                function(images, options)

        return call

    return decorate


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Let dask compute on the cluster with this scheduler, if there is an address."""
    if address is None:
        yield
        return
    try:
        from distributed import Client

        client = Client(address, timeout=_PATIENCE)  # type: ignore[no-untyped-call]
    except (ImportError, OSError, ValueError) as error:
        msg = f"no scheduler answers at {address}"
        if isinstance(error, ImportError):
            msg = f'{error}; pip install "napari-kmeans[distributed]"'
        raise click.ClickException(msg) from error
    with client:
        yield


def option(names: str, text: str, **settings: Any) -> click.Option:
    """Make an option of names that are separated by spaces, and its help."""
    return _Option(names.split(), help=text, **settings)


class _Option(click.Option):
    """An option that errors call by the name that was typed.

    The words of the call are the object of click's context.
    """

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return that name, in quotes."""
        return f"'{_typed_name(self, ctx)}'"


def _typed_name(param: click.Parameter, ctx: click.Context | None) -> str:
    """Return the name that an option was called by, or the first if it was not."""
    words = (ctx and ctx.find_object(list)) or []
    typed = {w.split("=")[0] for w in itertools.takewhile("--".__ne__, words)}
    # Short names may be part of a word: the others are looked for.
    long = [name for name in param.opts if name.startswith("--") and name in typed]
    return [*long, *param.opts][0]


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


def refuse_nan(_: click.Context, __: click.Parameter, value: float | None) -> Any:
    """Return a number as it is, if it is one."""
    if value is not None and math.isnan(value):
        msg = f"'{value}' is not a number"
        raise click.BadParameter(msg)
    return value


def parse_byte_count(word: str) -> int:
    """Turn a number of bytes, such as 50000, 50KB, 1.5MB or 48KiB, into a number."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Za-z]*)", word)
    unit = match[2].upper().removesuffix("B") if match else ""
    n_bytes = int(Decimal(match[1]) * _UNITS[unit]) if match and unit in _UNITS else 0
    if n_bytes < 1:
        msg = f"{word!r} is not a size such as 50KB or 1.5MiB"
        raise click.BadParameter(msg)
    return n_bytes


color_space_option = option(
    "--color-space",
    "Where distances of colors are measured.",
    type=click.Choice(COLOR_SPACES),
    default="rgb",
)
fit_options = (
    option("-k --colors k", "Most colors.", metavar="K", type=NUMBER_OF_COLORS),
    option("--iters", "Most k-means iterations.", metavar="N", type=_COUNT, default=10),
    option("--init", "How k-means starts.", type=click.Choice(INITS), default="auto"),
    option("--seed", "Make a random start repeatable.", metavar="N", type=_COUNT),
    color_space_option,
    option(
        "--psnr",
        "Use the fewest colors that reach this quality.",
        metavar="DB",
        type=click.FloatRange(min=0),
        callback=refuse_nan,
    ),
)
force_option = option("--force", "Overwrite files that exist.", is_flag=True)
run_options = (
    option(
        "--jobs", "Images to work on at a time.", metavar="N", type=_NUMBER, default=1
    ),
    option(
        "--scheduler",
        "Scheduler of dask, whose cluster works on stores and slides.",
        metavar="ADDRESS",
    ),
    option("--json as_json", "Print everything as JSON.", is_flag=True),
    option("-q --quiet", "Print errors only.", is_flag=True),
    option("-v --verbose", "Print more.", is_flag=True),
)
