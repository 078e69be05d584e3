"""Measure what tasks of a cluster cost, and derive the time of larger images from it.

    .venv/bin/python benchmarks/cluster.py STORE [-k 16]

STORE is a zarr of RGB pixels of 8 bits that has at least four groups of chunks, such as
`benchmarks/large.py` makes. The first table is measured on this machine, in seconds of
CPU; the second is worked out from it, as the functions below say. No larger image is
read, and no other machine is asked.
"""

import argparse
import math
import pickle
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster

from napari_kmeans import (
    count_colors,
    kmeans_palette,
    map_to_palette,
)
from napari_kmeans._compression import Recipe
from napari_kmeans._core import chunks, color_counts
from napari_kmeans._files import ome_zarr
from napari_kmeans._stores import write_store

N_CODES = 1 << 24
# Rows and columns of chunks that are not read in larger units.
SIDE = 2048
# Bytes of a region that a worker reads at once where chunks would be too many.
REGION = 1 << 30
NETWORK = 10e9 / 8


def timed(work):
    """Return seconds of CPU, and what some work returns."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def measure_tasks(path, k, folder):
    """Return what one worker needs for each task, in seconds of CPU and in bytes."""
    image = da.from_zarr(path)
    read = partial(color_counts._count_part, N_CODES)
    graph, keys = chunks._reading("count-colors", read, [image], [None])
    counting, parts = timed(lambda: dask.get(graph, keys))
    merge = partial(color_counts._merge_parts, N_CODES)
    merging, _ = timed(lambda: merge(parts[:4]))
    table = np.ones((N_CODES, 1), np.uint32)
    worst, _ = timed(lambda: merge([color_counts._Part(None, table)] * 4))
    every = (
        np.arange(N_CODES, dtype="<u4").view(np.uint8).reshape(4096, 4096, 4)[..., :3]
    )
    palette = kmeans_palette(image, k).palette
    labeling, _ = timed(lambda: map_to_palette(every, palette))
    opened = ome_zarr.open_store(path)
    # The first time, labels of colors are found, which is measured above.
    for name in ("first.zarr", "second.zarr"):
        work = partial(write_store, opened, path, folder / name, Recipe(k=k))
        writing, _ = timed(partial(work, palette=palette))
    return {
        "count, s per GB": counting / image.nbytes * 1e9,
        "map and write, s per GB": writing / image.nbytes * 1e9,
        "label all colors, s per process": labeling,
        "merge of four, s": merging,
        "merge of four of all 2^24 colors, s": worst,
        "partial count, MB per GB": sum(map(_size, parts)) / image.nbytes * 1e3,
    }


def measure_graph(folder):
    """Return what the client needs for each chunk of an image, which is not read."""
    side, path = 100 * SIDE, folder / "empty.zarr"
    told = {"shape": (side, side, 3), "chunks": (SIDE, SIDE, 3), "dtype": "u1"}
    zarr.create_array(path, **told)
    image = da.from_zarr(path)
    plan = partial(chunks._reading, "count-colors", len, [image], [None])
    seconds, (graph, keys) = timed(plan)
    n_bytes = sum(len(pickle.dumps(graph[key])) for key in keys)
    tracemalloc.start()
    plan()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "graph, ms per chunk": seconds / image.npartitions * 1e3,
        "graph, KB of memory per chunk": peak / image.npartitions / 1e3,
        "graph, KB per task": n_bytes / len(keys) / 1e3,
    }


def measure_cluster(path, folder):
    """Return how many tasks a scheduler passes, and what crosses between workers."""
    image = da.from_zarr(path)
    with (
        LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=folder,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(_nothing, range(100), pure=False))
        work = partial(client.map, _nothing, range(1000), pure=False)
        # This process has the scheduler, too.
        seconds, _ = timed(lambda: client.gather(work()))
        before = _crossed(client)
        count_colors(image)
        crossed = _crossed(client) - before
    return {
        "tasks per s of the scheduler": 1000 / seconds,
        "sent between three workers, MB per GB": crossed / image.nbytes * 1e3,
    }


def _nothing(_):
    return None


def _size(part):
    return len(pickle.dumps(part))


def _crossed(client):
    def received(dask_worker):
        return sum(each["total"] for each in dask_worker.transfer_incoming_log)

    return sum(client.run(received).values())


def derive(measured, n_bytes, unit, n_workers):
    """Return a row for an image that is read in units of so many bytes."""
    gb, n_units = n_bytes / 1e9, n_bytes / unit
    n_groups = n_bytes / max(unit, chunks._GROUP)
    counting = gb * measured["count, s per GB"] / n_workers
    mapping_s = gb * measured["map and write, s per GB"] / n_workers
    mapping_s += measured["label all colors, s per process"]
    # All merges of a level run side by side; those of the last levels are the worst.
    levels = math.ceil(math.log(n_groups, 4))
    n_merges = n_groups / 3
    merging = n_merges * measured["merge of four, s"] / n_workers
    merging += levels * measured["merge of four of all 2^24 colors, s"]
    # Four tables of 64 MB come to each of the last merges.
    merging += levels * 4 * 4 * N_CODES / NETWORK
    scheduling = (n_groups + n_merges + n_units) / measured[
        "tasks per s of the scheduler"
    ]
    crossing = gb * measured["partial count, MB per GB"] / 1e6
    return [
        f"{n_bytes / 1e12:,.0f} TB",
        f"{n_workers:,}",
        f"{unit / 1e6:,.0f} MB",
        _duration(counting),
        _duration(merging),
        _duration(mapping_s),
        _duration(n_units * measured["graph, ms per chunk"] / 1e3),
        f"{n_units * measured['graph, KB of memory per chunk'] / 1e6:,.1f} GB",
        _duration(scheduling),
        f"{crossing:,.1f} TB",
        f"{2 * gb * 1e3 / n_workers / (counting + mapping_s):,.0f} MB/s",
    ]


def _duration(seconds):
    for name, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {name}"
    return f"{seconds:,.1f} s"


def print_row(cells):
    """Print a row of a table."""
    print("|", " | ".join(cells), "|", flush=True)


def main():
    """Measure, derive, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("-k", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, dask.config.set(scheduler="sync"):
        measured = measure_tasks(options.store, options.k, Path(name))
        measured |= measure_graph(Path(name))
    with tempfile.TemporaryDirectory() as name:
        measured |= measure_cluster(options.store, Path(name))
    print_row(["measured", ""])
    print_row(["---", "--:"])
    for name, value in measured.items():
        print_row([name, f"{value:.3g}"])
    names = "image, workers, reads, count, merge, map and write, graph made in, "
    names += "its memory, scheduler, partials sent, each worker reads"
    print()
    print_row(names.split(", "))
    print_row(["--:"] * 11)
    for n_bytes in (1e12, 1e15):
        for unit in (3 * SIDE**2, REGION):
            for n_workers in (100, 10_000):
                print_row(derive(measured, n_bytes, unit, n_workers))


if __name__ == "__main__":
    main()
