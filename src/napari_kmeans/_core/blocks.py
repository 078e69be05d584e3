"""Places at which whoever started a long computation can end it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["checkpoint", "interruptible"]

_check: ContextVar[Callable[[], object] | None] = ContextVar("check", default=None)


@contextmanager
def interruptible(check: Callable[[], object]) -> Iterator[None]:
    """Have all that is computed within call `check` every few milliseconds.

    What it raises ends the computation. It is called from the threads that share the
    work, too, so it goes on raising until they have all come to it.
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
