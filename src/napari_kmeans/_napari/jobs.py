"""Computations in threads of their own, which report to the window and can end early.

`Newest` runs a function in a thread. Read `Newest.start` first: it says which functions
hear what the computation reports, returns or raises. Where a computation can end is
left to the checkpoints of the core. A program that ends cancels what is running.
"""

import atexit
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_kmeans._core.blocks import interruptible

__all__ = ["Cancelled", "Newest"]

_Report: TypeAlias = Callable[[Any], None]
# Seconds that a program that ends waits for a computation to reach a checkpoint.
_PATIENCE = 2.0


class Cancelled(Exception):
    """Raised inside a computation that was cancelled."""


class Newest(QObject):
    """Run a computation in a thread.

    Starting a new one cancels the old one and ignores its result. A computation
    is called with a function to which it passes whatever it has to report. After it was
    cancelled, that function raises `Cancelled`, and so do all checkpoints of the core,
    so its thread soon ends. What is heard is received in the window's thread.

    Parameters
    ----------
    parent : QObject, optional
        What the object lives as long as.
    """

    # The job, which of its receivers is meant, and what for.
    _sent = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._job: _Job | None = None
        self._receivers: dict[str, Callable[[Any], None] | None] = {}
        self._sent.connect(self._receive)

    @property
    def is_busy(self) -> bool:
        """Whether a computation is running that was not cancelled."""
        return self._job is not None

    def start(
        self,
        compute: Callable[[_Report], Any],
        *,
        returned: Callable[[Any], None],
        failed: Callable[[Exception], None],
        reported: _Report | None = None,
    ) -> None:
        """Cancel what is running and start `compute`.

        Parameters
        ----------
        compute : callable
            Called in the thread, with the function that it reports to.
        returned, failed : callable
            One of them is called, with what `compute` returned or raised.
        reported : callable, optional
            Called with each report.
        """
        self.leave()
        receivers = {"returned": returned, "failed": failed, "reported": reported}
        self._receivers = receivers
        self._job = _Job(compute, self._sent.emit)
        self._job.start()

    def leave(self) -> None:
        """Cancel the computation, and ignore what it still sends."""
        if self._job is not None:
            self._job.cancel()
        # Nothing is kept of a computation that has ended.
        self._job, self._receivers = None, {}

    def _receive(self, job: threading.Thread, kind: str, value: Any) -> None:
        # It may arrive after the job was cancelled or the window was closed.
        if job is not self._job:
            return
        receive = self._receivers.get(kind)
        if kind != "reported":
            self.leave()
        if receive is not None:
            receive(value)


class _Job(threading.Thread):
    """Compute, and send what is reported, returned or raised until it is cancelled."""

    def __init__(
        self,
        compute: Callable[[_Report], Any],
        send: Callable[[threading.Thread, str, Any], None],
    ) -> None:
        # superqt's workers would not do: they change the filters of warnings, which
        # all threads share, and do not restore them where two of them overlap.
        super().__init__(name="napari-kmeans", daemon=True)
        self._compute: Callable[[_Report], Any] | None = compute
        self._send_to_window = send
        self._cancelled = threading.Event()
        self._sending = threading.Lock()
        # Before Qt's objects are deleted.
        atexit.register(self._end)

    def cancel(self) -> None:
        """End at the next checkpoint; from now on, nothing is sent."""
        with self._sending:
            self._cancelled.set()

    def run(self) -> None:
        """Compute, and send what came of it."""
        kind, value, compute = "returned", None, self._compute
        assert compute is not None
        try:
            with interruptible(self._check):
                value = compute(self._report)
        except Cancelled:
            pass
        except Exception as error:  # Whatever it is, the user is told.
            kind, value = "failed", error
        # Nothing is kept of a computation that has ended.
        self._compute = None
        self._send(kind, value)
        atexit.unregister(self._end)

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _report(self, value: Any) -> None:
        self._check()
        self._send("reported", value)

    def _send(self, kind: str, value: Any) -> None:
        # The window that receives it may only go after the job was cancelled.
        with self._sending:
            if not self._cancelled.is_set():
                self._send_to_window(self, kind, value)

    def _end(self) -> None:
        """End before the program does, unless it takes too long."""
        self.cancel()
        self.join(_PATIENCE)
