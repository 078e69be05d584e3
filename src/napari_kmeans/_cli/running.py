"""Work on many images: one after the other or side by side, and told in lines."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Protocol,
    TypeAlias,
)

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tqdm import tqdm

    Status: TypeAlias = Literal["done", "skipped", "failed"]
    Step: TypeAlias = Callable[[str], object]

__all__ = [
    "INTERRUPTED",
    "Job",
    "Outcome",
    "Talk",
    "finish",
    "one_line",
    "reason",
    "run_jobs",
    "to_json",
]

INTERRUPTED = 130


class Job(Protocol):
    """Something to do about one image."""

    @property
    def name(self) -> str:
        """What the image is called."""

    @property
    def n_steps(self) -> int:
        """How often `do` tells that it comes on."""

    def do(self, step: Step) -> Outcome:
        """Do it, or raise; `step` is told what comes next."""


class Outcome(NamedTuple):
    """What became of an image."""

    status: Status
    # The line for people; several, where there is a table.
    text: str
    # The same for programs.
    facts: dict[str, Any]
    # What only --verbose tells, and whether the text is data that it must not spoil.
    detail: str = ""
    is_data: bool = False
    # What goes to the standard output instead of a file.
    content: bytes | None = None
    # The part of the report.
    section: str = ""


class Talk(NamedTuple):
    """How much is told, and how."""

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    # Whether an image takes the standard output.
    on_stderr: bool = False

    def say(self, text: str) -> None:
        """Tell people something that is no error."""
        if not self.quiet and not self.as_json:
            click.echo(text, err=self.on_stderr)

    def complain(self, name: str, why: str) -> None:
        """Tell people what went wrong, in one line."""
        click.echo(one_line(f"Error: {name}: {why}"), err=True)

    def give_up(self, name: str, error: Exception) -> NoReturn:
        """Tell people what went wrong, and leave with the exit status of it."""
        self.complain(name, reason(error, name))
        click.get_current_context().exit(1)


def run_jobs(jobs: Sequence[Job], talk: Talk, n_processes: int) -> list[Outcome]:
    """Do all jobs, tell the outcomes in their order, and give them.

    Ctrl-C ends the program with exit status 130, and a line says how far it came.
    """
    outcomes: list[Outcome] = []
    try:
        with _progress_bar(talk) as bar:
            for outcome in _outcomes(jobs, bar, n_processes):
                with bar.external_write_mode(file=sys.stderr):
                    _tell(outcome, talk)
                outcomes.append(outcome)
    except KeyboardInterrupt:
        click.echo(f"Interrupted: {len(outcomes)} of {len(jobs)} done", err=True)
        click.get_current_context().exit(INTERRUPTED)
    return outcomes


def finish(outcomes: Sequence[Outcome], talk: Talk, *, failed: bool = False) -> None:
    """Tell programs all outcomes, and leave with the exit status."""
    if talk.as_json:
        click.echo(to_json({"images": [outcome.facts for outcome in outcomes]}))
    if failed or any(outcome.status == "failed" for outcome in outcomes):
        click.get_current_context().exit(1)


def to_json(value: dict[str, Any]) -> str:
    """Write facts for programs; what is not finite becomes null."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [finite(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    return json.dumps(finite(value), indent=2)


def reason(error: Exception, name: str) -> str:
    """Say what went wrong with an image, or with the file named in the error."""
    if isinstance(error, OSError) and error.strerror:
        file = name if error.filename is None else str(error.filename)
        elsewhere = file.rstrip(os.sep) != name.rstrip(os.sep)
        return error.strerror + (f": {file}" if elsewhere else "")
    return str(error).removeprefix(f"{name} ") or type(error).__name__


def one_line(text: str) -> str:
    """Make any text, also an odd file name, one line that can be printed."""
    shown = os.fsencode(text).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


def _outcomes(
    jobs: Sequence[Job], bar: tqdm[Any], n_processes: int
) -> Iterator[Outcome]:
    """Give the outcome of each job in their order."""
    if n_processes > 1 and len(jobs) > 1:
        bar.total = len(jobs)
        for job, outcome in zip(jobs, _side_by_side(jobs, n_processes), strict=True):
            bar.set_description_str(one_line(job.name))
            bar.update()
            yield outcome
        return
    for number, job in enumerate(jobs, start=1):
        count = f"[{number}/{len(jobs)}] " if len(jobs) > 1 else ""
        bar.reset(total=job.n_steps)
        yield _done(job, _stepper(bar, one_line(count + os.path.basename(job.name))))
        bar.update(job.n_steps - bar.n)


def _stepper(bar: tqdm[Any], title: str) -> Step:
    """Give a function that moves the bar."""

    def step(stage: str) -> None:
        bar.set_description_str(f"{title}: {stage}", refresh=False)
        if bar.total is None or bar.n < bar.total - 1:
            bar.update()
        else:  # A search makes more steps than could be foreseen.
            bar.refresh()

    return step


def _done(job: Job, step: Step) -> Outcome:
    """Do one job; whatever goes wrong is an outcome too."""
    start = time.perf_counter()
    try:
        outcome = job.do(step)
    except Exception as error:  # The other images are still done.
        why = reason(error, job.name)
        return _failed(job, why)
    seconds = time.perf_counter() - start
    facts = {**outcome.facts, "status": outcome.status, "seconds": round(seconds, 3)}
    detail = f"{outcome.detail}, " if outcome.detail else ""
    return outcome._replace(facts=facts, detail=f"{detail}{seconds:.2f} s")


def _failed(job: Job, why: str) -> Outcome:
    """Give the outcome of a job that went wrong."""
    facts = {"input": job.name, "status": "failed", "error": one_line(why)}
    return Outcome("failed", why, facts)


def _done_alone(job: Job) -> Outcome:
    """Do one job in a process beside."""
    return _done(job, lambda _: None)


def _side_by_side(jobs: Sequence[Job], n_processes: int) -> Iterator[Outcome]:
    """Do jobs in several processes, and give the outcomes in their order."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Forking a process that has threads, as NumPy's has, may lock up.
    executor = ProcessPoolExecutor(
        min(n_processes, len(jobs)), get_context("spawn"), _start_beside
    )
    try:
        futures = [executor.submit(_done_alone, job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                yield _failed(job, "a process ended before it was done")
    except BaseException:
        for process in list((executor._processes or {}).values()):
            process.terminate()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _start_beside() -> None:
    """Leave Ctrl-C to the process that was called, and end with it."""
    import signal
    import threading
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_too() -> None:
        caller = parent_process()
        if caller is not None:
            caller.join()
        os._exit(1)

    threading.Thread(target=end_too, daemon=True).start()


def _progress_bar(talk: Talk) -> tqdm[Any]:
    """Give a bar, which is only shown in a terminal."""
    from tqdm import tqdm

    # tqdm shows nothing in a terminal that does not tell its size.
    terminal = shutil.get_terminal_size()
    return tqdm(
        total=1,
        bar_format="{desc} {percentage:3.0f}% |{bar}|",
        ncols=terminal.columns,
        nrows=terminal.lines,
        mininterval=0,
        leave=False,
        disable=True if talk.quiet else None,
    )


def _tell(outcome: Outcome, talk: Talk) -> None:
    """Tell one outcome."""
    if outcome.status == "failed":
        talk.complain(outcome.facts["input"], outcome.text)
        return
    if outcome.content is not None:
        sys.stdout.buffer.write(outcome.content)
        sys.stdout.buffer.flush()
    if not (talk.verbose and outcome.detail):
        talk.say(outcome.text)
    elif outcome.is_data:
        talk.say(outcome.text)
        name = one_line(outcome.facts["input"])
        talk._replace(on_stderr=True).say(f"{name}: {outcome.detail}")
    else:
        talk.say(f"{outcome.text}, {outcome.detail}")
