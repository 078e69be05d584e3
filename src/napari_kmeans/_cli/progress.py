"""The bar that shows in a terminal how far the work is.

The thread that works on an image says what comes next (`Progress.step`); the one that
waits for it lets the bar move where a single call takes long (`Progress.tick`). Of
images side by side, `Progress.count` shows how many are done. The bar of an image never
moves back.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

__all__ = ["Progress", "Step"]

_BAR = "{desc} {percentage:3.0f}% |{bar}| {elapsed}"
# Of a pass, the time that is left is known.
_PASS_BAR = "{desc} {percentage:3.0f}% |{bar}| {remaining} left"
# Stages of an image, and the percentage at which each ends, as photos have it.
_ENDS = {
    "reading": 15.0,
    "counting": 25.0,
    "fitting": 45.0,
    "mapping": 55.0,
    "compressing": 95.0,
    "writing": 100.0,
}
# Stages that of a store are a pass, which may take hours and has a bar of its own.
_PASSES = ("reading", "writing")
# Seconds in which half of a stage is shown as done, where nothing else is known.
_HALF = 1.5


class Step(Protocol):
    """Called with what comes next, and in a long pass how far it is."""

    def __call__(self, stage: str, n_done: int = 0, n_all: int = 0) -> object: ...


class Progress:
    """A bar on the error output, which is shown only if that is a terminal."""

    def __init__(self, *, is_quiet: bool = False, file: IO[str] | None = None) -> None:
        from tqdm import tqdm

        # Its own lock is for processes, too, and leaves them a semaphore.
        self._lock = threading.RLock()
        tqdm.set_lock(self._lock)
        # It shows nothing in a terminal that hides its size.
        terminal = shutil.get_terminal_size()
        self._bar = tqdm(
            total=100,
            file=file,
            bar_format=_BAR,
            ncols=terminal.columns,
            nrows=terminal.lines,
            mininterval=0,
            leave=False,
            # Nor without an error output.
            disable=is_quiet or (file is None and (sys.stderr is None or None)),
        )
        self.begin("")

    def begin(self, title: str) -> None:
        """Begin with an image."""
        self._title, self._stage = title, ""
        # Percentages between which the bar moves by itself, and since when.
        self._span, self._since = (0.0, 0.0), 0.0
        self._bar.bar_format = _BAR
        self._bar.reset(total=100)

    def step(self, stage: str, n_done: int = 0, n_all: int = 0) -> None:
        """Show what comes next, and how far it is."""
        bar, is_pass = self._bar, n_all > 0 and stage in _PASSES
        with self._lock:
            bar.set_description_str(f"{self._title}: {stage}", refresh=False)
            bar_format = _PASS_BAR if is_pass else _BAR
            if bar.bar_format != bar_format or (is_pass and n_done == 0):
                bar.bar_format = bar_format
                bar.reset(total=n_all if is_pass else 100)
            if is_pass:
                self._span = (0.0, 0.0)
                bar.update(n_done - bar.n)
            elif n_all or stage != self._stage:
                end = _ENDS[stage]
                start = max((e for e in _ENDS.values() if e < end), default=0.0)
                start += (end - start) * n_done / (n_all or 1)
                self._span = max(bar.n, start), max(bar.n, end)
                self._since = time.monotonic()
                bar.n = self._span[0]
            self._stage = stage
            bar.refresh()

    def tick(self) -> None:
        """Move on, as time does, and never to the end of the stage."""
        with self._lock:
            start, end = self._span
            waited = time.monotonic() - self._since
            moved = start + (end - start) * waited / (waited + _HALF)
            self._bar.n = max(self._bar.n, moved)
            self._bar.refresh()

    def count(self, n_done: int, n_all: int, title: str) -> None:
        """Show how many images are done, and which are being worked on."""
        with self._lock:
            self._bar.total, self._bar.n = n_all, n_done
            self._bar.set_description_str(title, refresh=False)
            self._bar.refresh()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away while a line is printed."""
        with self._bar.external_write_mode(file=sys.stderr):
            yield

    def close(self) -> None:
        """Take the bar away for good; no thread brings it back."""
        self._bar.close()
