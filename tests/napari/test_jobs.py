import gc
import threading
import time
import weakref

import pytest

from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._napari.jobs import Cancelled, Newest


def threads():
    return [t for t in threading.enumerate() if t.name == "napari-kmeans"]


def wait_for_threads():
    """Wait until they end by themselves."""
    for thread in threads():
        thread.join(20)
        assert not thread.is_alive()


class Endless:
    """Comes to checkpoints until one of them ends it."""

    def __init__(self):
        self.reached = threading.Event()
        self.error = None

    def __call__(self, report):
        del report
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                checkpoint()
                self.reached.set()
                time.sleep(0.001)
        except BaseException as error:
            self.error = error
            raise


@pytest.fixture
def heard():
    return []


@pytest.fixture
def start(qtbot, heard):
    """Start a computation and note what is heard of it."""
    del qtbot
    newest = Newest()

    def start(compute):
        newest.start(
            compute, returned=heard.append, failed=heard.append, reported=heard.append
        )
        return newest

    yield start
    newest.leave()
    wait_for_threads()


def test_computation_that_was_left_ends_at_a_checkpoint(start, heard, qtbot):
    endless = Endless()
    newest = start(endless)
    assert endless.reached.wait(20)
    newest.leave()
    wait_for_threads()
    qtbot.wait(1)
    assert isinstance(endless.error, Cancelled)
    assert heard == []


def test_newer_computation_ends_the_older_one(start, heard, qtbot):
    endless = Endless()
    start(endless)
    assert endless.reached.wait(20)
    start(lambda _: 7)
    qtbot.waitUntil(lambda: heard == [7])
    wait_for_threads()
    assert isinstance(endless.error, Cancelled)


def test_computation_that_was_left_does_not_end_another(start, heard, qtbot):
    left, other = Newest(), Endless()
    start(other)
    left.start(lambda _: checkpoint(), returned=print, failed=print)
    left.leave()
    assert other.reached.wait(20)
    qtbot.wait(1)
    assert other.error is None
    assert heard == []


def test_nothing_keeps_what_a_computation_that_ended_had_in_memory(start):
    endless = Endless()
    reached, is_alive = endless.reached, weakref.ref(endless)
    newest = start(endless)
    assert reached.wait(20)
    newest.leave()
    wait_for_threads()

    # Its error holds the frames in which it was raised.
    endless.error = None
    del endless
    gc.collect()

    assert is_alive() is None
