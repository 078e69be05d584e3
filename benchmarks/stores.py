"""Compress OME-Zarr in small and in large chunks, and after a kill, and measure it.

    python benchmarks/stores.py FOLDER [--photos PHOTOS] [--pixels 67]

Stores of so many million pixels are made in FOLDER, of the crops of photos that
`benchmarks/large.py` takes: three channels before rows and columns, chunked by one, at
four levels of detail, in chunks of 2048 x 2048, of 256 x 256, and of 256 x 256 in
shards of 2048 x 2048. Each is compressed with labels, on two threads of a new process:
seconds by the clock and of all CPUs are those of the whole process from `open_store`
on, memory is the most that it had, Python and its libraries included.

Then a process is killed (SIGKILL) when it has written a third of its pieces, whatever
it is at, and another one goes on. All files of both stores are compared, byte for byte.

It needs Linux, and the extra `zarr`.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import large
import numpy as np

SIDES = {"2048": (2048, None), "256": (256, None), "256 in shards": (256, 2048)}
N_LEVELS = 4
COLUMNS = [
    "pieces",
    "read",
    "write",
    "all (s)",
    "CPU (s)",
    "MP per CPU s",
    "memory (MB)",
]


def main() -> None:
    """Make the stores, start the processes that are measured, and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, help="folder of photos")
    parser.add_argument("--pixels", type=int, default=67, help="millions")
    parser.add_argument("-k", type=int, default=16)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run, options.k)
        return
    side = max(1, round((options.pixels * 1e6) ** 0.5 / 2048)) * 2048
    photos = large.read_photos(options.photos)
    command = [sys.executable, __file__, options.folder, "-k", options.k, "--run"]
    print(f"{side**2 / 1e6:,.0f} MP\n\n| chunks | {' | '.join(COLUMNS)} |")
    print("|---|" + "--:|" * len(COLUMNS))
    for name, (chunk, shard) in SIDES.items():
        path = options.folder / f"photos-{side}-{name.replace(' ', '-')}.zarr"
        if not path.exists():
            make(path, side, chunk, shard, photos)
        target = path.with_suffix(".out.zarr")
        done = start([*command, path, target]).communicate()[0].splitlines()
        print(f"| {name} | {done[-1]} |", flush=True)
    for name in SIDES:
        path = options.folder / f"photos-{side}-{name.replace(' ', '-')}.zarr"
        whole, target = path.with_suffix(".out.zarr"), path.with_suffix(".killed.zarr")
        print(f"\n{name}: {kill([*command, path, target])}", flush=True)
        print(compare(whole, target), flush=True)
        shutil.rmtree(whole)
        shutil.rmtree(target)


def make(path: Path, side: int, chunk: int, shard: int | None, photos: list) -> None:
    """Write a store of tiles that depend on their places alone."""
    import dask
    import zarr

    from napari_kmeans._core.chunks import visit_places

    part = path.with_suffix(".part")
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    datasets = [
        {
            "path": str(i),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0, 0.25 * 2**i, 0.25 * 2**i]}
            ],
        }
        for i in range(N_LEVELS)
    ]
    image = {"name": "photos", "axes": axes, "datasets": datasets}
    told = {"ome": {"version": "0.5", "multiscales": [image]}}
    group = zarr.create_group(part, attributes=told, overwrite=True)
    levels = [
        group.create_array(
            str(i),
            shape=(3, side >> i, side >> i),
            chunks=(1, chunk, chunk),
            shards=shard and (1, shard, shard),
            dtype="u1",
            dimension_names=["c", "y", "x"],
        )
        for i in range(N_LEVELS)
    ]

    def write(i: int, place: tuple[int, int]) -> None:
        """Write 2048 rows and columns of a level."""
        rows, columns = (slice(n, n + 2048) for n in place)
        if i:
            step = (slice(None), *(slice(2 * n, 2 * n + 4096, 2) for n in place))
            levels[i][:, rows, columns] = levels[i - 1][step]
            return
        tiles = [
            [large.crop(photos, np.random.default_rng([y, x])) for x in around(columns)]
            for y in around(rows)
        ]
        pixels = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
        levels[0][:, rows, columns] = np.moveaxis(pixels, -1, 0)

    with dask.config.set(scheduler="threads", num_workers=2):
        for i, level in enumerate(levels):
            corners = range(0, level.shape[1], 2048)
            visit_places(partial(write, i), [(y, x) for y in corners for x in corners])
    part.rename(path)


def around(side: slice) -> range:
    """Return where tiles begin."""
    return range(side.start, side.stop, large.TILE)


def run(source: str, target: str, k: int) -> None:
    """Compress a store, say when a third is written, and print what it took."""
    import dask

    from napari_kmeans._compression import Recipe
    from napari_kmeans._files.ome_zarr import open_store
    from napari_kmeans._stores import write_store

    dask.config.set(scheduler="threads", num_workers=2)
    begun, ends = (time.perf_counter(), time.process_time()), {}

    def report(verb: str, n_done: int, n_all: int) -> None:
        if verb == "write" and n_done == n_all // 3:
            print("third", flush=True)
        if n_done == n_all:
            ends[verb] = time.perf_counter()

    opened = open_store(source)
    result = write_store(
        opened, source, target, Recipe(k=k), with_labels=True, report=report
    )
    seconds, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    pixels = np.prod(opened.levels[0].shape[1:]) / 1e6
    read = ends["read"] - begun[0] if "read" in ends else 0
    *_, memory = large.report([cpu], 1)
    laps = f"{read:.1f} | {ends['write'] - begun[0] - read:.1f} | {seconds:.1f}"
    pieces = f"{result.n_written:,} of {result.n_all:,}"
    print(f"{pieces} | {laps} | {cpu:.1f} | {pixels / cpu:.1f} | {memory}")


def start(command: list[object]) -> subprocess.Popen[str]:
    """Start this script in another process."""
    return subprocess.Popen(map(str, command), stdout=subprocess.PIPE, text=True)


def kill(command: list[object]) -> str:
    """Kill a process when a third is written, let another go on, and say how it was."""
    with start(command) as process:
        process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    Path(command[-1])
    left = sum(1 for _ in Path(command[-1]).rglob("*.partial"))
    done = start(command).communicate()[0].splitlines()[-1].split(" | ")
    return (
        f"killed at a third, {left} files half written; resumed: {done[0]} pieces, "
        f"{done[3]} s, {done[4]} CPU s"
    )


def compare(one: Path, other: Path) -> str:
    """Say whether all files of two folders are the same, byte for byte."""
    digests = [
        {
            path.relative_to(folder): hashlib.sha256(path.read_bytes()).digest()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (one, other)
    ]
    names = digests[0].keys() | digests[1].keys()
    differ = [name for name in names if digests[0].get(name) != digests[1].get(name)]
    return f"{len(names):,} files, {len(differ)} differ {sorted(differ)[:5] or ''}"


if __name__ == "__main__":
    main()
