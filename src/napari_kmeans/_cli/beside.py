"""Work on many images in processes that run side by side.

`n_processes` chooses how many pay, and `side_by_side` lets them work. No more images
are begun than fit into memory at once: a large one waits for room, and one that is
larger than all the room runs alone. The processes write no image file. What they find
is handed to the caller, so that they can be killed at any moment.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options
from napari_kmeans._core.blocks import n_cores, on_one_core
from napari_kmeans._files.read import decoded_bytes

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

__all__ = ["TICK", "memory_of", "n_processes", "room", "side_by_side"]

# Seconds between two looks at what else is to be done.
TICK = 0.1
# Bytes of pixels that each process should have, so that its start pays.
_WORTH_A_PROCESS = 10_000_000
# What an image takes: the program, and so many bytes for each of its pixels.
_PROGRAM, _PER_BYTE = 150_000_000, 4
# The share of the free memory to use, and of all memory where it is not known how much
# is free. Where nothing is known, a core comes with as much.
_SHARE_FREE, _SHARE_ALL, _PER_CORE = 0.8, 0.5, 1_000_000_000
_CGROUP = Path("/sys/fs/cgroup")
# Libraries that would use all cores are told so when they are loaded.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "DASK_NUM_WORKERS"),
    "1",
)


class _Worker(NamedTuple):
    """A process, and the way to talk to it."""

    process: BaseProcess
    connection: Connection


def n_processes(sources: Sequence[Source], options: Options) -> int:
    """Return how many processes are to work on images: 1 is the caller itself.

    Unless it is said, they are as many as cores, if each has enough to do. Stores and
    slides are read by all cores, one after the other.
    """
    if options.jobs is not None:
        return min(options.jobs, len(sources))
    most = min(_n_free_cores(), len(sources))
    if options.scheduler is not None or any(source.is_streamed for source in sources):
        return 1
    n_bytes = 0
    for source in sources if most > 1 else ():
        if n_bytes >= most * _WORTH_A_PROCESS:
            break
        n_bytes += _pixel_bytes(source)
    return max(1, min(most, n_bytes // _WORTH_A_PROCESS))


def memory_of(source: Source) -> int:
    """Return the bytes of memory that it takes to work on an image."""
    return _PROGRAM + _PER_BYTE * _pixel_bytes(source)


def room() -> float:
    """Return the bytes of memory that are there for all images at once."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        kibibytes = next(line.split()[1] for line in lines if "MemAvailable" in line)
        found.append(int(kibibytes) * 1024 * _SHARE_FREE)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        # Without a limit, the word is "max".
        with contextlib.suppress(OSError, ValueError):
            found.append(int((_CGROUP / name).read_text()) * _SHARE_FREE)
    if not found:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            n_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            found.append(n_bytes * _SHARE_ALL)
    return min(found, default=n_cores() * _PER_CORE)


def side_by_side(
    work: Callable[[Source], Any],
    sources: Sequence[Source],
    n_workers: int,
    look: Callable[[Sequence[int]], object],
) -> Generator[tuple[int, Any]]:
    """Yield the number of each source and what `work` returns for it, as it ends.

    None is that of a process which ended before its work. `work` can be pickled, and
    does not raise. `look` is called several times a second with the numbers of those
    that are being worked on.
    """
    from multiprocessing.connection import wait

    waiting, free = deque(range(len(sources))), room()
    idle: list[_Worker] = []
    busy: dict[int, tuple[_Worker, int]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < n_workers:
                needed = memory_of(sources[waiting[0]])
                if busy and needed + sum(n for _, n in busy.values()) > free:
                    break
                worker = idle.pop() if idle else _start(work)
                number = waiting.popleft()
                busy[number] = worker, needed
                # One that has ended is found out below.
                with contextlib.suppress(BrokenPipeError):
                    worker.connection.send(sources[number])
            look(list(busy))
            ready = wait([worker.connection for worker, _ in busy.values()], TICK)
            for number, (worker, _) in list(busy.items()):
                if worker.connection in ready:
                    found = None
                    with contextlib.suppress(EOFError, OSError):
                        found = worker.connection.recv()
                        idle.append(worker)
                    del busy[number]
                    yield number, found
    finally:
        for worker in [*idle, *(worker for worker, _ in busy.values())]:
            worker.process.kill()
            worker.process.join()


def _pixel_bytes(source: Source) -> int:
    """Return the bytes of the pixels of an image, 0 if it cannot be read."""
    if source.stdin is not None:
        return decoded_bytes(io.BytesIO(source.stdin))
    try:
        with source.path.open("rb") as file:
            return decoded_bytes(file)
    except OSError:
        return 0


def _n_free_cores() -> int:
    """Return the number of cores, or the part of them that a container may use."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = map(int, (_CGROUP / "cpu.max").read_text().split())
        return max(1, min(n_cores(), math.ceil(quota / period)))
    return n_cores()


def _start(work: Callable[[Source], Any]) -> _Worker:
    """Start a process that does some work on each source that it is sent."""
    from multiprocessing import get_context, resource_tracker

    # Forking a process that has threads, as NumPy's has, may lock up.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    kept = dict(os.environ)
    os.environ.update(_ONE_THREAD)
    if os.name == "posix":
        # Its start would unblock the signal again.
        resource_tracker.ensure_running()
        # A terminal sends Ctrl-C to all processes. Only the caller is to heed it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process.start()
    finally:
        if os.name == "posix":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        for name in _ONE_THREAD:
            os.environ.pop(name)
        os.environ.update(kept)
    theirs.close()
    return _Worker(process, ours)


def _serve(connection: Connection, work: Callable[[Source], Any]) -> None:
    """Work on the sources that are sent, until the caller ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_too, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError), on_one_core():
        while True:
            connection.send(work(connection.recv()))


def _end_too() -> None:
    """End this process as soon as the one that started it has ended."""
    from multiprocessing import parent_process

    caller = parent_process()
    if caller is not None:
        caller.join()
    os._exit(1)
