"""Quantize an image larger than memory, from zarr to zarr, and measure time and memory.

    .venv/bin/python benchmarks/large.py FOLDER [--side 16384] [--kind photos]

A uint8 RGB store of so many rows and columns is made in FOLDER, unless it is there, of
tiles of photos that each have another exposure and white balance, or of noise, which
has all 2^24 colors. A new process then counts and fits it, looks at two tiles of 50 x
50 pixels, and maps it into a second store, on two threads. Labels of some chunks are
compared with those of NumPy. It needs zarr, of the group `bench`.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from skimage import data

from napari_kmeans import kmeans_palette, map_to_palette, quantize_kmeans

CHUNK, TILE = 2048, 512


def tiles(kind, block_id):
    """Return a chunk of photos, or of noise, by its place."""
    rng = np.random.default_rng(block_id[:2])
    if kind == "noise":
        return rng.integers(0, 256, (CHUNK, CHUNK, 3), dtype=np.uint8)
    photos = [data.astronaut(), data.coffee(), data.rocket(), data.cat()]
    chunk = np.empty((CHUNK, CHUNK, 3), np.uint8)
    for row in range(0, CHUNK, TILE):
        for column in range(0, CHUNK, TILE):
            photo = photos[rng.integers(len(photos))]
            start = rng.integers(0, 100, 2)
            rows, columns = (start + np.arange(TILE)[:, np.newaxis]).T
            tile = np.take(
                np.take(photo, rows, 0, mode="wrap"), columns, 1, mode="wrap"
            )
            gain = rng.uniform(0.5, 1, 3)
            chunk[row : row + TILE, column : column + TILE] = tile * gain
    return chunk


def make(path, side, kind):
    """Write the store."""
    rows = (CHUNK,) * (side // CHUNK)
    image = da.map_blocks(
        lambda block_id: tiles(kind, block_id),
        chunks=(rows, rows, (3,)),
        dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8),
    )
    image.to_zarr(path)


class Clock:
    """The time since it was asked last."""

    def __init__(self):
        self.lap()

    def lap(self):
        """Return seconds of CPU and of the clock."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        before, self._last = (
            getattr(self, "_last", (0, 0)),
            (used.ru_utime + used.ru_stime, time.perf_counter()),
        )
        return tuple(now - then for now, then in zip(self._last, before, strict=True))


def run(path, target, k):
    """Quantize, and print a row for each step."""
    image = da.from_zarr(path)
    n_megapixels = image.shape[0] * image.shape[1] / 1e6

    def report(step):
        cpu, wall = clock.lap()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        rate = n_megapixels / cpu
        print(f"| {step} | {cpu:.1f} | {wall:.1f} | {rate:.0f} | {peak} |", flush=True)

    print(f"{n_megapixels:.0f} megapixels, {k} colors\n")
    print("| step | CPU s | wall s | MP per CPU s | peak MB |\n|---|--:|--:|--:|--:|")
    clock = Clock()
    quantized = quantize_kmeans(image, k)
    report("count and fit")
    quantized[:50, :50].compute()
    report("first tile")
    quantized[-50:, -50:].compute()
    report("later tile")
    quantized.to_zarr(target)
    report("map and write")
    palette = kmeans_palette(image, k).palette
    written = da.from_zarr(target)
    for place in np.random.default_rng(0).integers(0, image.numblocks[:2], (4, 2)):
        before, after = (a.blocks[(*place, 0)].compute() for a in (image, written))
        assert np.array_equal(palette[map_to_palette(before, palette)], after)
    print("\nfour chunks are as NumPy maps them")


def main():
    """Make the store, and start the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=16384, help="multiple of 2048")
    parser.add_argument("--kind", choices=["photos", "noise"], default="photos")
    parser.add_argument("-k", type=int, default=16)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    name = f"{options.kind}-{options.side}"
    path, target = options.folder / f"{name}.zarr", options.folder / f"{name}-out.zarr"
    with dask.config.set(scheduler="threads", num_workers=2):
        if options.measure:
            run(path, target, options.k)
            return
        if not path.exists():
            make(path, options.side, options.kind)
    if target.exists():
        parser.error(f"{target} is there; remove it")
    subprocess.run([sys.executable, *sys.argv, "--measure"], check=True)


if __name__ == "__main__":
    main()
