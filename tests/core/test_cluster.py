"""Several processes give what NumPy does, bit for bit, also if one of them dies."""

import os
import time

import dask
import dask.array as da
import numpy as np
import pytest
from dask.utils import key_split
from distributed import Client, KilledWorker, LocalCluster, get_task_stream
from numpy.testing import assert_array_equal

import zarr_stores
from checkpoints import Check, Ended
from core_cases import assert_same_counts, assert_same_result
from napari_kmeans import count_colors, kmeans_palette, map_to_palette, quantize_kmeans
from napari_kmeans._compression import Recipe
from napari_kmeans._core import chunks, mapping
from napari_kmeans._core.blocks import interruptible, observed
from napari_kmeans._files import pyramids
from napari_kmeans._files.ome_zarr import open_store
from napari_kmeans._stores import write_store

IMAGE = np.random.default_rng(1).integers(0, 60, (90, 120, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two processes that know nothing of this one."""
    # Where it can be, a process that has loaded distributed already becomes them.
    method = "spawn" if os.name == "nt" else "forkserver"
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": method}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            local_directory=tmp_path_factory.mktemp("workers"),
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _groups_of_a_few_chunks(client, monkeypatch):
    client.wait_for_workers(2, timeout=120)
    monkeypatch.setattr(chunks, "_GROUP", 1 << 12)


def in_chunks(image):
    return da.from_array(image, chunks=(20, 30, 2))


def dying(image, marker, n_times=1):
    """Let the process that makes the last chunk die, the first times."""

    def look(block, block_id):
        if block_id[:2] == last:
            for i in range(n_times):
                try:
                    os.close(os.open(f"{marker}{i}", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                os.kill(os.getpid(), 9)
        return block

    last = tuple(n - 1 for n in image.numblocks[:2])
    told = {"dtype": image.dtype, "meta": np.empty((0,) * image.ndim, image.dtype)}
    return image.map_blocks(look, **told)


def tasks_of(client, work):
    """Names of the tasks that workers do for some work, as a dashboard shows them."""
    with get_task_stream(client) as stream:
        work()
    return {key_split(task["key"]) for task in stream.data}


@pytest.mark.usefixtures("client")
def test_processes_find_and_map_what_numpy_does():
    image, mask = in_chunks(IMAGE), IMAGE[..., 0] > 20
    lazy_mask = da.from_array(mask, chunks=50)
    result = kmeans_palette(IMAGE, 6, color_space="lab")

    assert_same_counts(count_colors(image), count_colors(IMAGE))
    assert_same_result(kmeans_palette(image, 6, color_space="lab"), result)
    assert_same_result(
        kmeans_palette([image, IMAGE[:40]], 5, mask=[lazy_mask, mask[:40]]),
        kmeans_palette([IMAGE, IMAGE[:40]], 5, mask=[mask, mask[:40]]),
    )
    for how in ({}, {"dither": "ordered"}):
        labels = map_to_palette(image, result.palette, **how).compute()
        expected = map_to_palette(IMAGE, result.palette, **how)
        assert_array_equal(labels, expected, strict=True)
    quantized = quantize_kmeans(image, 5, mask=lazy_mask).compute()
    assert_array_equal(quantized, quantize_kmeans(IMAGE, 5, mask=mask), strict=True)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("seed", range(6))
def test_processes_find_and_map_any_chunks_as_numpy_does(seed):
    rng = np.random.default_rng(seed)
    shape = *rng.integers(5, 40, 2), rng.integers(1, 5)
    image = rng.integers(0, 50, shape).astype(rng.choice(["u1", "i2", ">u2", "i8"]))
    ends = (np.unique([0, n, *rng.integers(0, n, 3)]) for n in shape)
    given = da.from_array(image, tuple(tuple(np.diff(e).tolist()) for e in ends))
    k = int(rng.integers(1, 9))

    assert_same_counts(count_colors(given), count_colors(image))
    quantized = quantize_kmeans(given, k).compute()
    assert_array_equal(quantized, quantize_kmeans(image, k), strict=True)


@pytest.mark.usefixtures("client")
def test_processes_stream_what_numpy_does(monkeypatch):
    monkeypatch.setattr(chunks, "_GROUP", 1 << 20)
    image = np.random.default_rng(4).integers(0, 1 << 16, (1100, 1000, 2)).astype("u2")
    how = {"k": 3, "iters": 1, "init": image[0, :3]}

    result = kmeans_palette(da.from_array(image, chunks=(400, 1000, 1)), **how)

    assert_same_result(result, kmeans_palette(image, **how))


@pytest.mark.usefixtures("client")
def test_what_a_cluster_has_in_memory_is_counted_there():
    image = in_chunks(IMAGE).persist()

    assert_same_counts(count_colors(image), count_colors(IMAGE))
    assert_same_counts(count_colors(image + 1), count_colors(IMAGE + 1))


def test_tasks_have_names_and_read_what_only_they_need(client, tmp_path):
    in_chunks(IMAGE).to_zarr(tmp_path / "image.zarr")
    image = da.from_zarr(tmp_path / "image.zarr")
    # The store is opened once for all.
    assert tasks_of(client, lambda: count_colors(image)) == {
        "original-from-zarr",
        "count-colors",
        "merge-counts",
    }


def test_each_place_is_visited_in_a_task_of_its_own(client, tmp_path):
    tasks = tasks_of(client, lambda: chunks.visit_places(Toucher(tmp_path), "abc"))

    assert tasks == {"map-and-write"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_processes_write_the_store_that_one_does(
    client, tmp_path, monkeypatch, version
):
    monkeypatch.setattr(pyramids, "_BOX", 1 << 11)
    levels = zarr_stores.levels_of(np.moveaxis(IMAGE, -1, 0))
    how = {"version": version, "chunks": (1, 30, 30)}
    source = zarr_stores.make_image(tmp_path / "a.zarr", levels, **how)

    def write(name):
        opened, recipe = open_store(source), Recipe(k=5)
        write_store(opened, source, tmp_path / name, recipe, with_labels=True)

    tasks = tasks_of(client, lambda: write("b.zarr"))
    with dask.config.set(scheduler="sync"):
        write("c.zarr")

    names = {"original-array", "count-colors", "merge-counts", "map-and-write"}
    assert tasks == names
    written = zarr_stores.contents(tmp_path / "b.zarr")
    assert written == zarr_stores.contents(tmp_path / "c.zarr")


class Toucher:
    """Make a file in a folder, after a while."""

    def __init__(self, folder, seconds=0.0):
        self.folder = folder
        self.seconds = seconds

    def __call__(self, name):
        # In a process that has not this module.
        time.sleep(self.seconds)
        open(os.path.join(self.folder, name), "x").close()


def test_progress_on_a_cluster_is_told_and_cancelling_ends_the_tasks(client, tmp_path):
    told = []
    with observed(lambda *numbers: told.append(numbers)):
        chunks.visit_places(time.sleep, [0.1] * 4)
    assert told[0] == (0, 4)
    assert told == sorted(told)

    work = Toucher(tmp_path, 0.3)
    with interruptible(Check(last=2)), pytest.raises(Ended) as held:
        chunks.visit_places(work, "abcdefghi")
    # What had begun ends by itself; nothing else begins, also if the error is kept.
    client.run_on_scheduler(_wait_until_idle)
    assert held.traceback
    assert len(list(tmp_path.iterdir())) < 5


async def _wait_until_idle(dask_scheduler):
    import asyncio

    for _ in range(1000):
        if not dask_scheduler.tasks:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def test_each_process_labels_all_colors_once_for_a_palette(client):
    image = np.random.default_rng(9).integers(0, 256, (200, 200, 2)).astype(np.uint8)
    client.run(lambda: mapping._label_table.cache_clear())

    labels = map_to_palette(da.from_array(image, chunks=20), image[0, :30])

    assert_array_equal(labels.compute(), map_to_palette(image, image[0, :30]))
    made = client.run(lambda: mapping._label_table.cache_info().misses)
    assert list(made.values()) == [1, 1]


@pytest.mark.usefixtures("client")
def test_a_process_that_dies_while_it_counts_changes_nothing(tmp_path):
    image = dying(in_chunks(IMAGE), tmp_path / "died")

    counts = count_colors(image)

    assert (tmp_path / "died0").exists()
    assert_same_counts(counts, count_colors(IMAGE))


@pytest.mark.usefixtures("client")
def test_a_process_that_dies_while_it_maps_changes_nothing(tmp_path):
    palette = kmeans_palette(IMAGE, 6).palette
    labels = map_to_palette(dying(in_chunks(IMAGE), tmp_path / "died"), palette)

    assert_array_equal(labels.compute(), map_to_palette(IMAGE, palette))
    assert (tmp_path / "died0").exists()


@pytest.mark.usefixtures("client")
def test_a_chunk_that_kills_each_process_is_told_by_the_name_of_its_task(
    client, tmp_path
):
    # In one chunk, so that no other task dies with it.
    image = dying(da.from_array(IMAGE, chunks=-1), tmp_path / "died", n_times=9)
    client.run_on_scheduler(
        lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0)
    )

    with pytest.raises(KilledWorker, match=r"'count-colors-.* different workers"):
        count_colors(image)
