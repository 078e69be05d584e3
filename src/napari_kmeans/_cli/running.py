"""Work on many images, one after the other or side by side, and print the outcomes.

A command is a function ``do(source, options, step)`` that returns an `Outcome` or
raises; `run` calls it for every source and prints a line for each in their order, and
`leave` ends the command with its exit status. `say` and `complain` are the only ways
to print for people.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import click

from napari_kmeans._cli.inputs import LeftOut, Source, reason
from napari_kmeans._cli.options import STDOUT, Options
from napari_kmeans._core.blocks import observed
from napari_kmeans._core.color_counts import MAX_COUNTED
from napari_kmeans._core.fitting import PaletteResult
from napari_kmeans._stores import StoreResult

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = [
    "INTERRUPTED",
    "ColorRow",
    "Outcome",
    "Step",
    "complain",
    "counted_text",
    "error_text",
    "giving_up",
    "iterations_text",
    "leave",
    "one_line",
    "quality_text",
    "run",
    "say",
    "weights_of",
]

INTERRUPTED = 130
# Seconds in which a process beside may put a file away before it is ended.
_PATIENCE = 2.0
_BAR = "{desc} {percentage:3.0f}% |{bar}|"
# Of a pass, the time that is left is known.
_PASS_BAR = _BAR + " {remaining} left"


class ColorRow(NamedTuple):
    """A color of an image; what is not known of it is None."""

    image: str
    entry: int
    # Without it, the color is not of 8 bits.
    hex: str | None
    values: Sequence[float]
    pixels: int | None
    share: float | None
    # Mean squared error of its pixels.
    error: float | None


class Outcome(NamedTuple):
    """What became of an image."""

    status: Literal["done", "skipped", "failed"]
    # The line for people, or a table of several lines.
    text: str
    # The same for programs.
    facts: dict[str, Any]
    # What only --verbose prints, and whether the text is data that it must not spoil.
    detail: str = ""
    is_data: bool = False
    # What goes to the standard output instead of a file.
    content: bytes | None = None
    # The parts of the report, and of the table of colors.
    section: str = ""
    rows: tuple[ColorRow, ...] = ()


class Step(Protocol):
    """Called with what comes next, and in a long pass how far it is."""

    def __call__(self, stage: str, n_done: int = 0, n_all: int = 0) -> object: ...


Command: TypeAlias = Callable[[Source, Options, Step], Outcome]


def say(text: str, options: Options, *, err: bool = False) -> None:
    """Print a line for people that is no error, away from an image."""
    if not options.quiet and not options.as_json:
        click.echo(text, err=err or options.output == STDOUT)


def complain(name: str, why: str) -> None:
    """Print what went wrong, in one line."""
    click.echo(one_line(f"Error: {name}: {why}"), err=True)


@contextlib.contextmanager
def giving_up(name: str) -> Iterator[None]:
    """Print what goes wrong with a file, and leave with the exit status of failure."""
    try:
        yield
    except (OSError, ValueError) as error:
        complain(name, reason(error, name))
        click.get_current_context().exit(1)


def one_line(text: str) -> str:
    """Make any text, also an odd file name, one line: other characters are escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def counted_text(n: int | None, noun: str = "") -> str:
    """Write a number of things; None is more colors than are counted."""
    number = f"more than {MAX_COUNTED:,}" if n is None else f"{n:,}"
    return f"{number} {noun}{'' if n == 1 else 's'}" if noun else number


def error_text(mse: float) -> str:
    """Write a squared error; an infinite one is more than float64 holds."""
    return f"{mse:.4g}" if math.isfinite(mse) else f"over {sys.float_info.max:.2g}"


def quality_text(mse: float, psnr: float, unit: str = "") -> str:
    """Write a peak signal-to-noise ratio; that of an infinite error is unknown."""
    if mse == 0:
        return "lossless"
    return f"{psnr:.2f}{unit}" if math.isfinite(psnr) else "unknown"


def iterations_text(fit: PaletteResult | StoreResult) -> str:
    """Write the number of iterations, and how they ended."""
    end = "converged" if fit.converged else "not converged"
    return f"{counted_text(fit.n_iter, 'iteration')}, {end}"


def weights_of(fit: PaletteResult | StoreResult | None) -> list[float] | None:
    """Return what each channel counted in a fit, None if all did by their values."""
    weights = None if fit is None else fit.channel_weights
    return None if weights is None else weights.tolist()


def run(
    do: Command,
    sources: Sequence[Source],
    options: Options,
    left_out: Sequence[LeftOut] = (),
    sum_up: Callable[[list[Outcome]], dict[str, int]] | None = None,
) -> list[Outcome]:
    """Do all images, print the outcomes in their order, and return them.

    As JSON, they are followed by what is left out, and by the numbers that `sum_up`
    finds in them. Ctrl-C ends the program with exit status 130, and a line says how
    many images are done.
    """
    _print_left_out(left_out, options)
    outcomes: list[Outcome] = []
    try:
        with _progress_bar(options) as bar:
            for outcome in _outcomes(do, sources, options, bar):
                with bar.external_write_mode(file=sys.stderr):
                    _print(outcome, options)
                outcomes.append(outcome)
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {len(outcomes)} of {len(sources)} done", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if options.as_json:
        facts: dict[str, Any] = {
            "images": [outcome.facts for outcome in outcomes],
            "left_out": [os.path.join(some.folder, some.name) for some in left_out],
        }
        if sum_up is not None:
            facts["summary"] = sum_up(outcomes)
        # JSON has no number for infinity: it becomes null, that of a lossless image and
        # that of an error which float64 cannot hold.
        finite = json.loads(json.dumps(facts), parse_constant=lambda _: None)
        click.echo(json.dumps(finite, indent=2))
    return outcomes


def leave(outcomes: Sequence[Outcome]) -> None:
    """End the command with its exit status."""
    if any(outcome.status == "failed" for outcome in outcomes):
        click.get_current_context().exit(1)


def _outcomes(
    do: Command, sources: Sequence[Source], options: Options, bar: tqdm[Any]
) -> Iterator[Outcome]:
    """Yield the outcome of each image in their order."""
    # Reading, counting, mapping and writing, beside the iterations.
    n_steps = options.iters + 4
    if options.jobs > 1 and len(sources) > 1:
        bar.total = len(sources)
        beside = _side_by_side(do, sources, options)
        for source, outcome in zip(sources, beside, strict=True):
            bar.set_description_str(one_line(source.name))
            bar.update()
            yield outcome
        return
    for number, source in enumerate(sources, start=1):
        count = f"[{number}/{len(sources)}] " if len(sources) > 1 else ""
        title = one_line(count + os.path.basename(source.name))

        def step(
            stage: str, n_done: int = 0, n_all: int = 0, title: str = title
        ) -> None:
            bar.set_description_str(f"{title}: {stage}", refresh=False)
            bar_format = _PASS_BAR if n_all else _BAR
            if bar.bar_format != bar_format or n_all > n_done == 0:
                bar.bar_format = bar_format
                bar.reset(total=n_all or n_steps)
            # A search makes more steps than could be foreseen.
            more = n_done - bar.n if n_all else bar.n < n_steps - 1
            bar.update(more)
            bar.refresh()

        bar.bar_format = _BAR
        bar.reset(total=n_steps)
        with observed(partial(step, "reading")):
            outcome = _done(do, source, options, step)
        yield outcome
        bar.update(float(bar.total or 0) - bar.n)


def _done(do: Command, source: Source, options: Options, step: Step) -> Outcome:
    """Do one image; whatever goes wrong is an outcome, too."""
    start = time.perf_counter()
    if source.fault is not None:
        return _failed(source, source.fault)
    try:
        outcome = do(source, options, step)
    except Exception as error:  # The other images are still done.
        return _failed(source, reason(error, source.name))
    seconds = time.perf_counter() - start
    facts = {**outcome.facts, "status": outcome.status, "seconds": round(seconds, 3)}
    detail = f"{outcome.detail}, " if outcome.detail else ""
    return outcome._replace(facts=facts, detail=f"{detail}{seconds:.2f} s")


def _failed(source: Source, why: str) -> Outcome:
    """Return the outcome of an image that failed."""
    facts = {"input": source.name, "status": "failed", "error": one_line(why)}
    return Outcome("failed", why, facts)


def _side_by_side(
    do: Command, sources: Sequence[Source], options: Options
) -> Iterator[Outcome]:
    """Do images in several processes, and yield the outcomes in their order."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import active_children, get_context

    # Forking a process that has threads, as NumPy's has, may lock up.
    executor = ProcessPoolExecutor(
        min(options.jobs, len(sources)), get_context("spawn"), _start_beside
    )
    try:
        futures = [executor.submit(_done_beside, do, s, options) for s in sources]
        for source, future in zip(sources, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                yield _failed(source, "a process ended before it was done")
    except BaseException:
        for process in active_children():
            process.terminate()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _done_beside(do: Command, source: Source, options: Options) -> Outcome:
    """Do one image in a process beside, which has no bar."""
    try:
        return _done(do, source, options, lambda *_: None)
    except SystemExit:  # A file that was being written is gone; no other is begun.
        os._exit(1)


def _start_beside() -> None:
    """Leave Ctrl-C to the process that was called, and end with it."""
    import signal
    import threading
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def end_too() -> None:
        caller = parent_process()
        if caller is not None:
            caller.join()
        signal.raise_signal(signal.SIGTERM)
        # A process that waits for work does not heed it.
        threading.main_thread().join(_PATIENCE)
        os._exit(1)

    threading.Thread(target=end_too, daemon=True).start()


def _progress_bar(options: Options) -> tqdm[Any]:
    """Make a bar, which is only shown in a terminal."""
    from tqdm import tqdm

    # tqdm shows nothing in a terminal that hides its size.
    terminal = shutil.get_terminal_size()
    return tqdm(
        total=1,
        bar_format=_BAR,
        ncols=terminal.columns,
        nrows=terminal.lines,
        mininterval=0,
        leave=False,
        # Nor without an error output.
        disable=options.quiet or sys.stderr is None or None,
    )


def _print_left_out(left_out: Sequence[LeftOut], options: Options) -> None:
    """Print how much of each folder is left out, or all of it by name."""
    names: dict[str, dict[str, list[str]]] = {}
    for some in left_out:
        names.setdefault(some.folder, {}).setdefault(some.kind, []).append(some.name)
    for folder, kinds in names.items():
        if options.verbose:
            lines = [f"{kind}: {', '.join(kinds[kind])}" for kind in kinds]
        else:
            numbers = ", ".join(f"{kind} ({len(kinds[kind]):,})" for kind in kinds)
            lines = [f"{numbers}; -v names them"]
        for line in lines:
            say(one_line(f"{folder}: left out {line}"), options, err=True)


def _print(outcome: Outcome, options: Options) -> None:
    """Print one outcome."""
    if outcome.status == "failed":
        complain(outcome.facts["input"], outcome.text)
        return
    if outcome.content is not None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sys.stdout.buffer.write(outcome.content)
        sys.stdout.buffer.flush()
    detail = outcome.detail if options.verbose else ""
    if detail and not outcome.is_data:
        say(f"{outcome.text}, {detail}", options)
        return
    say(outcome.text, options)
    if detail:
        name = one_line(outcome.facts["input"])
        say(f"{name}: {detail}", options, err=True)
