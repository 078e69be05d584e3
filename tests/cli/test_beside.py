import io
import os
import time

import numpy as np
import pytest
from PIL import Image

from napari_kmeans._cli import beside
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options
from napari_kmeans._core.blocks import n_cores


def content(n_pixels):
    """A file of so many gray pixels."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((1, n_pixels), np.uint8)).save(file, "PNG")
    return file.getvalue()


def sources(*sizes):
    return [Source(str(i), stdin=content(n)) for i, n in enumerate(sizes)]


def done(source):
    time.sleep(0.2)
    return source.name, n_cores(), os.environ["OMP_NUM_THREADS"]


def end_at_the_first(source):
    if source.name == "0":
        os._exit(1)
    return source.name


def run(work, images, n_workers):
    """What comes out by the numbers, and how many were seen at work at a time."""
    seen = []
    found = dict(beside.side_by_side(work, images, n_workers, seen.append))
    return found, seen


@pytest.mark.parametrize(
    ("n_images", "n_pixels", "expected"),
    [(9, 100, 4), (3, 100, 3), (1, 999, 1), (9, 10, 1), (9, 23, 2), (9, 22, 1)],
)
def test_processes_are_as_many_as_cores_where_each_has_enough_to_do(
    n_images, n_pixels, expected, monkeypatch
):
    monkeypatch.setattr(beside, "_WORTH_A_PROCESS", 100)
    monkeypatch.setattr(beside, "_n_free_cores", lambda: 4)
    images = sources(*[n_pixels] * n_images)
    assert beside.n_processes(images, Options()) == expected
    asked = [beside.n_processes(images, Options(jobs=n)) for n in (1, 2, 20)]
    assert asked == [1, min(2, n_images), n_images if n_images < 20 else 20]
    assert beside.n_processes(images, Options(scheduler="tcp://here")) == 1


def test_a_store_is_worked_on_by_all_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(beside, "_n_free_cores", lambda: 4)
    monkeypatch.setattr(beside, "_WORTH_A_PROCESS", 1)
    (tmp_path / "zarr.json").write_text("{}")
    images = [*sources(9, 9, 9), Source(str(tmp_path))]
    assert beside.n_processes(images[:3], Options()) == 3
    assert beside.n_processes(images, Options()) == 1


def test_processes_work_side_by_side_each_on_its_own_core():
    before = dict(os.environ)
    found, seen = run(done, sources(1, 1, 1, 1), 2)
    assert found == {n: (str(n), 1, "1") for n in range(4)}
    assert max(map(len, seen)) == 2
    assert dict(os.environ) == before


def test_images_wait_until_they_fit_into_memory(monkeypatch):
    monkeypatch.setattr(beside, "_PROGRAM", 0)
    monkeypatch.setattr(beside, "room", lambda: 100 * beside._PER_BYTE)
    sizes = [40, 60, 1000, 50, 51]
    found, seen = run(done, sources(*sizes), 3)
    assert sorted(found) == [0, 1, 2, 3, 4]
    together = {tuple(numbers) for numbers in seen if len(numbers) > 1}
    assert together == {(0, 1)}
    assert [2] in seen


def test_a_process_that_ends_loses_its_own_image_alone():
    found, _ = run(end_at_the_first, sources(1, 1, 1), 2)
    assert found == {0: None, 1: "1", 2: "2"}


def test_memory_of_an_image_is_that_of_the_program_and_of_its_pixels():
    (image,) = sources(1_000_000)
    assert beside.memory_of(image) == 154_000_000
    assert beside.memory_of(Source("missing.png")) == 150_000_000


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.max", "max", None),
        ("memory.max", "1000000", 800_000),
        ("memory/memory.limit_in_bytes", "500000", 400_000),
    ],
)
def test_room_is_no_more_than_a_container_has(
    name, text, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(beside, "_CGROUP", tmp_path)
    (tmp_path / "memory").mkdir()
    (tmp_path / name).write_text(text)
    room = beside.room()
    assert room > 50_000_000 if expected is None else room == expected


@pytest.mark.parametrize(("quota", "expected"), [("150000 100000", 2), ("max 1", 8)])
def test_cores_are_no_more_than_a_container_has(quota, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "n_cores", lambda: 8)
    monkeypatch.setattr(beside, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text(quota)
    assert beside._n_free_cores() == expected
