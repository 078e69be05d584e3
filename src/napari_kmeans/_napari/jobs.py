"""Computations beside the window's thread, of which only the newest is heard."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_kmeans._core.blocks import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[Any], None]

__all__ = ["Cancelled", "Newest"]


class Cancelled(Exception):
    """Carries the wish to stop out of a computation."""


class Newest(QObject):
    """Run one computation after the other; an older one is left, and never heard of.

    A computation gets a function to call from time to time with whatever it has to
    report. Once it was left, that call raises `Cancelled`, and so do all checkpoints of
    the core: its thread ends in a moment. The receivers run in the window's thread.
    """

    # A job, which of its receivers is meant, and what for.
    _sent = Signal(object, str, object)

    def __init__(self) -> None:
        super().__init__()
        self._job: _Job | None = None
        self._receivers: dict[str, Callable[[Any], None]] = {}
        self._sent.connect(self._receive)

    @property
    def is_busy(self) -> bool:
        """Whether a computation is running that was not left."""
        return self._job is not None

    def start(
        self,
        compute: Callable[[Report], Any],
        *,
        returned: Callable[[Any], None],
        failed: Callable[[Exception], None],
        reported: Report | None = None,
    ) -> None:
        """Leave what is running and start `compute`."""
        self.leave()
        self._receivers = {"returned": returned, "failed": failed}
        if reported is not None:
            self._receivers["reported"] = reported
        self._job = _Job(compute, self._sent.emit)
        self._job.start()

    def leave(self) -> None:
        """Ask the computation to end, and ignore what it still sends."""
        if self._job is not None:
            self._job.is_left.set()
            self._job = None

    def _receive(self, job: _Job, kind: str, value: Any) -> None:
        # What a thread sends may arrive after it was left or the window was closed.
        if job is not self._job:
            return
        if kind != "reported":
            self._job = None
        if kind in self._receivers:
            self._receivers[kind](value)


class _Job(threading.Thread):
    """One computation.

    It is none of superqt's workers: these set the filters of warnings, which all
    threads share, and do not restore them where two overlap.
    """

    def __init__(
        self,
        compute: Callable[[Report], Any],
        send: Callable[[_Job, str, Any], None],
    ) -> None:
        # A program that ends does not wait for a daemon.
        super().__init__(name="napari-kmeans", daemon=True)
        self.is_left = threading.Event()
        self._compute = compute
        self._send = send

    def run(self) -> None:
        try:
            with interruptible(self._check):
                value = self._compute(self._report)
        except Cancelled:
            return
        except Exception as error:  # Whatever it is, the user is told.
            self._send_unless_left("failed", error)
        else:
            self._send_unless_left("returned", value)
        finally:
            del self._compute

    def _check(self) -> None:
        if self.is_left.is_set():
            raise Cancelled

    def _report(self, value: Any) -> None:
        self._check()
        self._send_unless_left("reported", value)

    def _send_unless_left(self, kind: str, value: Any) -> None:
        if not self.is_left.is_set():
            self._send(self, kind, value)
