"""The options of all commands, and what is said about wrong ones.

`command` makes a click command of a function of the images and one `Options`, a frozen
record that click fills: an option that is not given keeps the default of its field.
Options that several commands share stand here, once; each command lists its own beside
itself. Help texts are short enough for one screen, and show those that are `rare` in a
group of their own. `refuse_value` and its kin raise click's usage errors (exit status
2) by the name that was typed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from napari_kmeans._cli.values import parse_colors, parse_weights, refuse_nan
from napari_kmeans._compression import Recipe
from napari_kmeans._core.arguments import (
    COLOR_SPACES,
    INITS,
    MAX_COLORS,
)
from napari_kmeans._core.arrays import Array, Mask

__all__ = [
    "ANY_PATH",
    "NUMBER_OF_COLORS",
    "STDOUT",
    "Options",
    "check_fixed",
    "command",
    "csv_option",
    "depth_option",
    "fit_options",
    "force_option",
    "is_given",
    "mask_option",
    "option",
    "refuse_stdout",
    "refuse_together",
    "refuse_value",
    "run_options",
    "space_options",
]

# Seconds in which a scheduler has to answer.
_PATIENCE = 5
STDOUT = "-"
NUMBER_OF_COLORS = click.IntRange(1, MAX_COLORS)
_COUNT, _NUMBER = click.IntRange(min=0), click.IntRange(min=1)
_EXISTING = click.Path(exists=True, dir_okay=False)
# Nothing is checked here: the shell completes it, and errors come where it is used.
ANY_PATH = click.Path(readable=False)


@dataclass(frozen=True, eq=False)
class Options(Recipe):
    """What was asked for. A command uses the fields that it has options for."""

    # Numbers of colors to compare.
    ks: tuple[int, ...] = ()
    shared: bool = False
    palette_file: str | None = None
    mask_file: str | None = None
    # Where to write: paths as they were typed, and the suffix of files in a directory.
    output: str | None = None
    suffix: str | None = None
    report: str | None = None
    compare: str | None = None
    csv_file: str | None = None
    labels: bool = False
    skip_if_larger: bool = False
    force: bool = False
    recursive: bool = False
    # As many as pay, unless it is said.
    jobs: int | None = None
    scheduler: str | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    # Not typed, but found out: the palette and the mask for all images, and whether
    # these are more than one.
    palette: Array | None = None
    mask: Mask | None = None
    several: bool = False

    @property
    def recipe(self) -> Recipe:
        """What is on record of a store."""
        return Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})


def command(
    epilog: str, *options: click.Option
) -> Callable[[Callable[[tuple[str, ...], Options], None]], click.Command]:
    """Make a command of a function of images and options, listed from top to bottom."""
    images = click.Argument(
        ["images"], metavar="IMAGE...", nargs=-1, required=True, type=ANY_PATH
    )

    def decorate(function: Callable[[tuple[str, ...], Options], None]) -> click.Command:
        @click.command(cls=_Command, epilog=epilog, params=[images, *options])
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


def option(
    names: str, text: str, *, rare: bool = False, **settings: Any
) -> click.Option:
    """Make an option of names that are separated by spaces, and its help."""
    made = _Option(names.split(), help=text, **settings)
    made.is_rare = rare
    return made


class _Command(click.Command):
    """A command whose help shows everyday options first, and rare ones below."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write both groups of options."""
        for title, rare in (("Options", False), ("Rare options", True)):
            records = [
                record
                for param in self.get_params(ctx)
                if isinstance(param, click.Option)
                and getattr(param, "is_rare", False) == rare
                and (record := param.get_help_record(ctx))
            ]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class _Option(click.Option):
    """An option that errors call by the name that was typed.

    The words of the call are the object of click's context.
    """

    is_rare = False

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


def refuse_stdout(*names: str) -> None:
    """Raise BadParameter if the value of a parameter is the standard output."""
    for name in names:
        if click.get_current_context().params.get(name) == STDOUT:
            refuse_value(name, "must be a file, not the standard output")


def is_given(name: str) -> bool:
    """Whether a parameter of the running command was typed."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _parameter(name: str) -> click.Parameter:
    """Return a parameter of the running command."""
    params = click.get_current_context().command.params
    return next(param for param in params if param.name == name)


def check_fixed(options: Options) -> None:
    """Raise BadParameter if there are more fixed colors than colors."""
    number = 0 if options.fixed is None else len(options.fixed)
    if number > options.k:
        refuse_value("fixed", f"must be at most {options.k} colors, as K, got {number}")


space_options = (
    option(
        "--color-space",
        "Measure distances in rgb, lab or oklab.",
        rare=True,
        metavar="NAME",
        type=click.Choice(COLOR_SPACES),
        default="rgb",
        show_default=False,
    ),
    option(
        "--channel-weights",
        "What each channel counts: 1,1,2 or std.",
        rare=True,
        metavar="NUMBERS",
        type=parse_weights,
    ),
)
mask_option = option(
    "--mask mask_file",
    "Fit colors only where this image is not black.",
    metavar="FILE",
    type=_EXISTING,
)
fit_options = (
    option("-k --colors k", "Most colors.", metavar="K", type=NUMBER_OF_COLORS),
    option(
        "--psnr",
        "Use the fewest colors of this quality.",
        metavar="DB",
        type=click.FloatRange(min=0),
        callback=refuse_nan,
    ),
    mask_option,
    option(
        "--fixed",
        "Colors to include: '#000000,#ffffff' or 0/0/0.",
        rare=True,
        metavar="COLORS",
        type=parse_colors,
    ),
    option(
        "--iters",
        "Most k-means iterations.",
        rare=True,
        metavar="N",
        type=_COUNT,
        default=10,
    ),
    option(
        "--init",
        "Start: auto, thorough, k-means++ or random.",
        rare=True,
        metavar="NAME",
        type=click.Choice(INITS),
        default="auto",
        show_default=False,
    ),
    option(
        "--seed",
        "Make a random start repeatable.",
        rare=True,
        metavar="N",
        type=_COUNT,
    ),
    *space_options,
)
depth_option = option(
    "--depth",
    "Scale 16-bit colors to 8 bits, as PNG has.",
    rare=True,
    type=click.Choice(["8"]),
    callback=lambda _, __, bits: bits and int(bits),
)
force_option = option("--force", "Overwrite files that exist.", is_flag=True)
csv_option = option(
    "--csv csv_file",
    "Write a table of the colors of all images.",
    metavar="FILE",
    type=ANY_PATH,
)
run_options = (
    option("--recursive", "Read folders with all folders below.", is_flag=True),
    option(
        "--jobs",
        "Images at a time.  [default: one a core]",
        metavar="N",
        type=_NUMBER,
    ),
    option(
        "--scheduler",
        "Cluster of dask that works on stores and slides.",
        rare=True,
        metavar="ADDRESS",
    ),
    option("--json as_json", "Print everything as JSON.", is_flag=True),
    option("-q --quiet", "Print errors only.", is_flag=True),
    option("-v --verbose", "Print more.", is_flag=True),
)
