import contextlib
import io
import re

import pytest

from napari_kmeans._cli import progress
from napari_kmeans._cli.progress import Progress


class Clock:
    """A time that goes on as it is told."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def percentages(shown):
    return [int(n) for n in re.findall(r"(\d+)% \|", shown.getvalue())]


def test_a_long_call_moves_the_bar_and_never_to_the_end_of_its_stage(clock):
    shown = io.StringIO()
    with contextlib.closing(Progress(file=shown)) as bar:
        bar.step("compressing")
        for _ in range(100):
            clock.now += 1
            bar.tick()
    found = percentages(shown)
    assert found == sorted(found)
    assert len(set(found)) > 10
    assert found[-1] in (94, 95)


def test_the_bar_never_moves_back_however_stages_follow(clock):
    shown = io.StringIO()
    with contextlib.closing(Progress(file=shown)) as bar:
        for n_done in range(3):
            bar.step("reading")
            bar.step("fitting", n_done, 2)
            bar.step("mapping")
            for n_encoded in range(3):
                bar.step("compressing", n_encoded, 2)
                clock.now += 1
                bar.tick()
    found = percentages(shown)
    assert found == sorted(found)
    assert found[-1] == 95


def test_nothing_is_drawn_once_the_bar_is_closed():
    shown = io.StringIO()
    bar = Progress(file=shown)
    bar.close()
    before = shown.getvalue()
    bar.step("reading")
    bar.tick()
    bar.begin("next")
    assert shown.getvalue() == before
