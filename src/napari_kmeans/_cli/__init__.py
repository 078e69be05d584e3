"""The command line: image files in, smaller files out, one line for each."""

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_kmeans._cli.commands import main as main

__all__ = ["main", "run"]

# Exit statuses of programs that a signal has ended, from this number on.
_SIGNALED = 128


def run() -> None:
    """Run the program; if it fails or is ended, no thread goes on.

    Ctrl-C and SIGTERM raise KeyboardInterrupt, which has the exit status, once.
    """
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, _interrupt)
        # Loading it takes a moment, in which Ctrl-C may come.
        from napari_kmeans._cli.commands import main

        main()
    except KeyboardInterrupt as interrupt:  # The program is still being loaded.
        sys.stderr.write("Interrupted\n")
        _leave(interrupt.args[0] if interrupt.args else _SIGNALED + signal.SIGINT)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
        if status > _SIGNALED or (status == 1 and "dask" in sys.modules):
            _leave(status)
        raise


def __getattr__(name: str) -> Any:
    """Load the program when it is asked for."""
    if name == "main":
        from napari_kmeans._cli.commands import main

        return main
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def _interrupt(number: int, _: object) -> None:
    """End what is being done; no second signal disturbs the end."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(_SIGNALED + number)


def _leave(status: int) -> None:
    """End the process, whatever its threads are doing."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)
