"""Computations in threads of their own, which report to the window and can end early.

`Newest` runs a function in a thread. Read `Newest.start` first: it says which functions
hear what the computation reports, returns or raises. Where a computation can end is
left to the checkpoints of the core.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_kmeans._core.blocks import interruptible

__all__ = ["Cancelled", "Newest"]

_Report: TypeAlias = Callable[[Any], None]


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

    # The event that cancels a job, which of its receivers is meant, and what for.
    _sent = Signal(object, str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._job: threading.Event | None = None
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
        job = self._job = threading.Event()
        # A program that ends does not wait for a daemon.
        # superqt's workers would not do: they change the filters of warnings, which
        # all threads share, and do not restore them where two of them overlap.
        arguments = compute, job, self._sent.emit
        threading.Thread(
            target=_run, args=arguments, name="napari-kmeans", daemon=True
        ).start()

    def leave(self) -> None:
        """Cancel the computation, and ignore what it still sends."""
        if self._job is not None:
            self._job.set()
        # Nothing is kept of a computation that has ended.
        self._job, self._receivers = None, {}

    def _receive(self, job: threading.Event, kind: str, value: Any) -> None:
        # It may arrive after the job was cancelled or the window was closed.
        if job is not self._job:
            return
        receive = self._receivers.get(kind)
        if kind != "reported":
            self.leave()
        if receive is not None:
            receive(value)


def _run(
    compute: Callable[[_Report], Any],
    cancelled: threading.Event,
    send: Callable[[threading.Event, str, Any], None],
) -> None:
    """Compute, and send what is reported, returned or raised until it is cancelled."""

    def check() -> None:
        if cancelled.is_set():
            raise Cancelled

    def report(value: Any) -> None:
        check()
        send(cancelled, "reported", value)

    kind, value = "returned", None
    try:
        with interruptible(check):
            value = compute(report)
    except Cancelled:
        return
    except Exception as error:  # Whatever it is, the user is told.
        kind, value = "failed", error
    if not cancelled.is_set():
        send(cancelled, kind, value)
