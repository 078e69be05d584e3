"""A thousand calls leave nothing behind: memory, threads, open files, files."""

import gc
import os
import tempfile
import threading
import tracemalloc

import numpy as np
import psutil
import pytest

from napari_kmeans import (
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
    read_indexed,
    read_palette,
    write_indexed,
    write_palette,
)

IMAGE = np.random.default_rng(5).integers(0, 256, (3, 4, 3), np.uint8)
PALETTE, LABELS = IMAGE[:, 0], np.array([[0, 2, 1]])
DRAWN = {"init": "random", "rng": 0}
# A thousand in all.
N_CALLS = 84


def stop(_):
    raise StopIteration


def fail(_):
    msg = "planted"
    raise RuntimeError(msg)


def refused(call, *args, **keywords):
    try:
        call(*args, **keywords)
    except (RuntimeError, TypeError, ValueError, OSError):
        return
    pytest.fail("nothing was raised")


CALLS = {
    "fit": lambda: kmeans_palette(IMAGE, 3, 2, **DRAWN),
    "map": lambda: map_to_palette(IMAGE, PALETTE),
    "count": lambda: count_colors(IMAGE) + count_colors(IMAGE),
    "curve": lambda: error_curve(IMAGE[0, :3], [2], iters=1, channel_axis=None),
    "stop": lambda: quantize_kmeans(IMAGE / 256, 3, callback=stop, **DRAWN),
    "fail": lambda: refused(quantize_kmeans, IMAGE, 3, callback=fail, **DRAWN),
    "refuse": lambda: refused(kmeans_palette, IMAGE, 0),
    "write": lambda: write_palette("a.json", PALETTE),
    "read": lambda: read_palette("a.json"),
    "not written": lambda: refused(write_palette, "a.gpl", PALETTE / 2),
    "not read": lambda: refused(read_indexed, "a.json"),
    "png": lambda: (write_indexed("a.png", LABELS, PALETTE), read_indexed("a.png")),
}


def is_growing(call):
    """Whether calls leave 100 bytes behind each, time and again.

    What Python keeps for itself grows less and less. Arrays of NumPy count.
    """
    tracemalloc.start()
    try:
        for _ in range(6):
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(N_CALLS):
                call()
            gc.collect()
            if tracemalloc.get_traced_memory()[0] - before < 100 * N_CALLS:
                return False
    finally:
        tracemalloc.stop()
    return True


def resources(folder):
    """Return how many files and threads are open, and the files there are."""
    process = psutil.Process()
    n_files = process.num_fds() if os.name == "posix" else process.num_handles()
    return n_files, threading.active_count(), sorted(folder.rglob("*"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Hold all files, also temporary ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", CALLS)
def test_calls_leave_nothing_behind(folder, name):
    for call in (CALLS["write"], *[CALLS[name]] * 10):
        call()
    before = resources(folder)

    assert not is_growing(CALLS[name])

    assert resources(folder) == before


def test_a_leak_of_100_bytes_is_seen():
    kept = []
    assert is_growing(lambda: kept.append(bytes(100)))


def test_a_leak_of_numpy_memory_is_seen():
    # One array, which is longer after each call.
    kept = np.zeros(0)

    def leak():
        kept.resize(len(kept) + 20, refcheck=False)

    assert is_growing(leak)
