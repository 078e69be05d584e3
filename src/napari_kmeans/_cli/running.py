"""Work on many images, one after the other or side by side, and print the outcomes.

A command is a function ``do(source, options, step)`` that returns an `Outcome` or
raises; `run` calls it for every source, writes the files of each outcome and prints a
line for each in their order, and `leave` ends the command with its exit status. `say`
and `complain` are the only ways to print for people.

Images are worked on in a thread, or in processes (`beside`). The main thread alone
writes files, and waits for nothing that Ctrl-C could not end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias

import click

from napari_kmeans._cli import beside
from napari_kmeans._cli.inputs import LeftOut, Source, reason
from napari_kmeans._cli.options import STDOUT, Options
from napari_kmeans._cli.progress import Progress, Step
from napari_kmeans._core.blocks import interruptible, observed
from napari_kmeans._core.color_counts import MAX_COUNTED
from napari_kmeans._core.fitting import PaletteResult
from napari_kmeans._files.replace import replace_file
from napari_kmeans._stores import StoreResult

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
    "leave_interrupted",
    "one_line",
    "quality_text",
    "run",
    "say",
    "weights_of",
]

INTERRUPTED = 130


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
    # Files to write, by their paths.
    files: tuple[tuple[str, bytes], ...] = ()
    # The parts of the report, and of the table of colors.
    section: str = ""
    rows: tuple[ColorRow, ...] = ()


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
    finds in them. Ctrl-C ends the program at once with exit status 130, and a line says
    how many images are done.
    """
    _print_left_out(left_out, options)
    outcomes: list[Outcome] = []
    try:
        with contextlib.closing(Progress(is_quiet=options.quiet)) as progress:
            for outcome in _outcomes(do, sources, options, progress):
                with progress.hidden():
                    _print(outcome, options)
                outcomes.append(outcome)
    except KeyboardInterrupt as interrupt:
        click.echo(f"Interrupted: {len(outcomes)} of {len(sources)} done", err=True)
        leave_interrupted(interrupt)
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


def leave_interrupted(interrupt: KeyboardInterrupt) -> NoReturn:
    """End the command with the exit status that shells know a signal by."""
    status = interrupt.args[0] if interrupt.args else INTERRUPTED
    click.get_current_context().exit(status)


def leave(outcomes: Sequence[Outcome]) -> None:
    """End the command with its exit status."""
    if any(outcome.status == "failed" for outcome in outcomes):
        click.get_current_context().exit(1)


def _outcomes(
    do: Command, sources: Sequence[Source], options: Options, progress: Progress
) -> Iterator[Outcome]:
    """Yield the outcome of each image in their order, its files written."""
    n_processes = beside.n_processes(sources, options)
    if n_processes > 1:
        yield from _side_by_side(do, sources, options, n_processes, progress)
        return
    for number, source in enumerate(sources, start=1):
        count = f"[{number}/{len(sources)}] " if len(sources) > 1 else ""
        progress.begin(one_line(count + os.path.basename(source.name)))
        work = partial(_done, do, options, progress.step, source)
        # dask has threads of its own, and Ctrl-C leaves them at once.
        outcome = work() if source.is_streamed else _in_thread(work, progress.tick)
        progress.step("writing")
        yield _put_away(source, outcome, options)


def _side_by_side(
    do: Command,
    sources: Sequence[Source],
    options: Options,
    n_processes: int,
    progress: Progress,
) -> Iterator[Outcome]:
    """Do images in several processes, and yield the outcomes in their order."""
    ended: dict[int, Outcome] = {}
    n_yielded = 0

    def show(numbers: Sequence[int]) -> None:
        names = [os.path.basename(sources[number].name) for number in numbers]
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        n_done = n_yielded + len(ended)
        title = f"[{n_done}/{len(sources)}] {''.join(names[:1])}{others}"
        progress.count(n_done, len(sources), one_line(title))

    work = partial(_done, do, options, _no_step)
    found = beside.side_by_side(work, sources, n_processes, show)
    try:
        for number, outcome in found:
            source = sources[number]
            outcome = outcome or _failed(source, "a process ended before it was done")
            ended[number] = _put_away(source, outcome, options)
            while n_yielded in ended:
                yield ended.pop(n_yielded)
                n_yielded += 1
    except KeyboardInterrupt:
        found.close()
        yield from (ended[number] for number in sorted(ended))
        raise


def _in_thread(work: Callable[[], Outcome], tick: Callable[[], object]) -> Outcome:
    """Do some work in a thread, which is left at once by an exception such as Ctrl-C.

    A single call of a library may take many seconds, and nothing can end it before.
    """
    future: Future[Outcome] = Future()
    is_left = threading.Event()

    def check() -> None:
        if is_left.is_set():
            raise KeyboardInterrupt

    def do() -> None:
        try:
            with interruptible(check):
                future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(do,), daemon=True).start()
    try:
        while not wait([future], beside.TICK).done:
            tick()
    finally:
        is_left.set()
    return future.result()


def _done(do: Command, options: Options, step: Step, source: Source) -> Outcome:
    """Do one image; whatever goes wrong is an outcome, too."""
    start = time.perf_counter()
    if source.fault is not None:
        return _failed(source, source.fault)
    try:
        with observed(partial(step, "reading")):
            outcome = do(source, options, step)
    except Exception as error:  # The other images are still done.
        return _failed(source, reason(error, source.name))
    seconds = time.perf_counter() - start
    facts = {**outcome.facts, "status": outcome.status, "seconds": round(seconds, 3)}
    detail = f"{outcome.detail}, " if outcome.detail else ""
    return outcome._replace(facts=facts, detail=f"{detail}{seconds:.2f} s")


def _no_step(stage: str, n_done: int = 0, n_all: int = 0) -> None:
    """Show nothing: a process beside has no bar."""


def _put_away(source: Source, outcome: Outcome, options: Options) -> Outcome:
    """Write the files of an outcome, which are then no longer kept."""
    try:
        for path, content in outcome.files:
            replace_file(path, content, overwrite=options.force)
    except OSError as error:
        return _failed(source, reason(error, source.name))
    return outcome._replace(files=())


def _failed(source: Source, why: str) -> Outcome:
    """Return the outcome of an image that failed."""
    facts = {"input": source.name, "status": "failed", "error": one_line(why)}
    return Outcome("failed", why, facts)


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
