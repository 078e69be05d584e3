"""How arrays are cut, and where a computation can be cancelled and watched.

A long computation works on blocks that stay in the cache of a core: `cut` cuts a range
of numbers, `cut_boxes` a grid of pixels. Callers say how many bytes an item has, so
that the size of a block stands here alone. Each block begins with a `checkpoint`, where
the caller who started the computation can end it (`interruptible`); between two calls
of NumPy that each take a whole array, such as a sort, there is one, too. Passes over
arrays that may be larger than memory tell how far they are (`observed`, `tell`). How
many threads may share the work is said here, too (`n_cores`, `on_one_core`).
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = [
    "checkpoint",
    "cut",
    "cut_boxes",
    "interruptible",
    "is_watched",
    "n_cores",
    "observed",
    "on_one_core",
    "tell",
]

# Bytes that are computed with at once: they stay in the cache of a core.
_BLOCK = 1 << 20

_check: ContextVar[Callable[[], object] | None] = ContextVar("check", default=None)
_report: ContextVar[Callable[[int, int], object] | None]
_report = ContextVar("report", default=None)
_is_on_one_core: ContextVar[bool] = ContextVar("is_on_one_core", default=False)


@contextmanager
def interruptible(check: Callable[[], object]) -> Iterator[None]:
    """Call `check` every few milliseconds of all that is computed within.

    An exception that it raises ends the computation. The threads that share the work
    call it, too, so it must go on raising until all of them have.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def checkpoint() -> None:
    """Let the computation end here, between two blocks."""
    check = _check.get()
    if check is not None:
        check()


@contextmanager
def observed(report: Callable[[int, int], object]) -> Iterator[None]:
    """Call `report` as a pass over chunks of an array goes on, within.

    It gets the number of tasks that are done, from 0 on, and of all: of each pass anew.
    """
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def tell(n_done: int, n_all: int) -> None:
    """Say how many tasks of a pass are done."""
    report = _report.get()
    if report is not None:
        report(n_done, n_all)


def is_watched() -> bool:
    """Whether anybody wants to cancel the computation, or to hear how far it is."""
    return _check.get() is not None or _report.get() is not None


@contextmanager
def on_one_core() -> Iterator[None]:
    """Let no threads share what is computed within."""
    token = _is_on_one_core.set(True)
    try:
        yield
    finally:
        _is_on_one_core.reset(token)


def n_cores() -> int:
    """Return the number of cores that a computation may use."""
    if _is_on_one_core.get():
        return 1
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Only Linux restricts a process to some cores.
        return os.cpu_count() or 1


def cut(n: int, n_bytes: int = 16) -> Iterator[slice]:
    """Cut the numbers below `n` into blocks of items of `n_bytes` each, in order."""
    size = max(1, _BLOCK // n_bytes)
    for start in range(0, n, size):
        checkpoint()
        yield slice(start, min(start + size, n))


def cut_boxes(shape: tuple[int, ...], n_bytes: int) -> Iterator[tuple[slice, ...]]:
    """Cut a grid of items of `n_bytes` each along its first axes into boxes, in order.

    A box is some of the last axes as a whole, and a part of the axis before these.
    """
    if not shape:
        checkpoint()
        yield ()
        return
    size = max(1, _BLOCK // n_bytes)
    axis = len(shape) - 1
    while axis > 0 and math.prod(shape[axis:]) <= size:
        axis -= 1
    inner = math.prod(shape[axis + 1 :])
    step = max(1, size // inner)
    whole = [slice(0, length) for length in shape[axis + 1 :]]
    for outer in itertools.product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], step):
            checkpoint()
            side = slice(start, min(start + step, shape[axis]))
            yield (*(slice(i, i + 1) for i in outer), side, *whole)
