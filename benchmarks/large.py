"""Quantize images larger than memory, from zarr to zarr, and measure time and memory.

    python benchmarks/large.py FOLDER [--photos PHOTOS] [--sides 8192 16384]
    python benchmarks/large.py FOLDER --kind noise --sides 32768
    python benchmarks/large.py FOLDER --kind channels --sides 8192

A store is made in FOLDER, unless it is there. Its tiles are crops of photos, turned,
and half of them in another exposure and white balance; or noise, which has all 2^24
colors; or the photos in four channels of 16 bits, with noise, so that their colors are
too many to count. PHOTOS is a folder; without one, some photos of scikit-image are
taken.

For each side, a new process quantizes the top left corner of so many rows and columns
into a second store, on two threads: it finds the palette (reading the image once, or
once for each step), looks at 50 x 50 pixels of some chunks, and maps and writes all.
Some chunks of the result are compared with what NumPy makes of the same pixels and
palette, bit for bit. Another process does the same with the smallest corner as NumPy
arrays. CPU seconds are those of all threads; memory is the most that the process had,
with Python and its libraries.

It needs Linux, and the extra `zarr`.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_kmeans import (
    TooManyColorsError,
    count_colors,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[Any]

CHUNK, TILE = 2048, 1024
# Rows and columns that are looked at, and how often.
LOOKED, N_LOOKS = 50, 6
# Chunks that are compared.
N_COMPARED = 16
COLUMNS = [
    "colors",
    "reads",
    "count (CPU s)",
    "fit",
    "map and write",
    "all",
    "MP per CPU s",
    "memory (MB)",
    "first tile (s)",
    "later",
]


def main() -> None:
    """Make the store, start the processes that are measured, and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, help="folder of photos")
    parser.add_argument(
        "--kind", choices=["photos", "noise", "channels"], default="photos"
    )
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[8192, 16384], help="multiples of 2048"
    )
    parser.add_argument("-k", type=int, default=16)
    options = parser.parse_args()
    sides, kind = sorted(options.sides), options.kind
    path = options.folder / f"{kind}-{sides[-1]}.zarr"
    if not path.exists():
        photos = [] if kind == "noise" else read_photos(options.photos)
        tiles = {"noise": noise, "channels": partial(channels, photos)}
        make(path, sides[-1], tiles.get(kind, partial(crop, photos)))
    print(f"{kind}, k = {options.k}\n\n| | {' | '.join(COLUMNS)} |")
    print("|---|" + "--:|" * len(COLUMNS))
    jobs = [("NumPy", run_at_once, sides[0]), *(("dask", run, side) for side in sides)]
    for name, work, side in jobs:
        target = options.folder / f"{kind}-{side}-{name}.zarr"
        # Processes do not share what libraries keep, nor their most memory.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            row = executor.submit(work, path, side, target, options.k).result()
        shutil.rmtree(target)
        print(f"| {side**2 / 1e6:,.0f} MP, {name} | {' | '.join(row)} |", flush=True)


def make(path: Path, side: int, tile: Callable[[np.random.Generator], Array]) -> None:
    """Write a store of tiles that depend on their places alone."""
    import dask
    import dask.array as da

    some = tile(np.random.default_rng(0))

    def chunk(block_id: tuple[int, ...]) -> Array:
        made = np.empty((CHUNK, CHUNK, some.shape[-1]), some.dtype)
        for corner in itertools.product(range(0, CHUNK, TILE), repeat=2):
            rows, columns = (slice(start, start + TILE) for start in corner)
            place = [CHUNK * i + n for i, n in zip(block_id, corner, strict=False)]
            made[rows, columns] = tile(np.random.default_rng(place))
        return made

    rows = (CHUNK,) * (side // CHUNK)
    image = da.map_blocks(
        chunk, chunks=(rows, rows, some.shape[-1:]), dtype=some.dtype, meta=some[:0]
    )
    part = path.with_suffix(".part")
    with dask.config.set(scheduler="threads", num_workers=2):
        image.to_zarr(part)
    part.rename(path)


def noise(rng: np.random.Generator) -> Array:
    """Return a tile of noise."""
    return rng.integers(0, 256, (TILE, TILE, 3), dtype=np.uint8)


def crop(photos: list[Array], rng: np.random.Generator) -> Array:
    """Return a crop of a photo, turned, and every other time in another exposure."""
    photo = photos[rng.integers(len(photos))]
    top, left = (rng.integers(n - TILE + 1) for n in photo.shape[:2])
    tile = photo[top : top + TILE, left : left + TILE]
    tile = tile[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    if rng.integers(2):
        tile = tile.swapaxes(0, 1)
    if rng.integers(2):
        # Exposure, and the balance of the channels.
        gains = rng.uniform(0.6, 1.4) * rng.uniform(0.9, 1.1, 3)
        curves = np.clip(np.outer(gains, np.arange(256)), 0, 255).astype(np.uint8)
        tile = curves[np.arange(3), tile]
    return tile


def channels(photos: list[Array], rng: np.random.Generator) -> Array:
    """Return four channels of 16 bits of a crop of a photo, with noise."""
    tile = crop(photos, rng)[..., [0, 1, 2, 1]].astype(np.float64)
    tile = tile * [64, 256, 16, 128] + rng.normal(0, 30, tile.shape)
    return np.clip(np.rint(tile), 0, 65535).astype(np.uint16)


def read_photos(folder: Path | None) -> list[Array]:
    """Return the photos of a folder, or of scikit-image, mirrored to fill a tile."""
    if folder is None:
        from skimage import data

        names = ["astronaut", "cat", "coffee", "hubble_deep_field", "retina", "rocket"]
        photos = [getattr(data, name)() for name in names]
    else:
        from PIL import Image

        paths = sorted(folder.iterdir())
        photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return [
        np.pad(
            photo,
            [(0, max(0, TILE - n)) for n in photo.shape[:2]] + [(0, 0)],
            "symmetric",
        )
        for photo in photos
    ]


class Clock:
    """CPU seconds of this process, step by step."""

    def __init__(self) -> None:
        self.laps: list[float] = []
        self._last = time.process_time()

    def lap(self, *_: object) -> None:
        """Note the seconds since the last time."""
        now = time.process_time()
        self.laps.append(now - self._last)
        self._last = now


def run(path: Path, side: int, target: Path, k: int) -> list[str]:
    """Quantize a corner of a store as dask does, and return what it took."""
    import dask
    import dask.array as da
    from dask.callbacks import Callback

    dask.config.set(scheduler="threads", num_workers=2)
    image = da.from_zarr(path)[:side, :side]
    clock = Clock()
    # Each computation of dask reads the whole image.
    with Callback(finish=clock.lap):
        quantized = quantize_kmeans(image, k)
    clock.lap()
    count, *fit = clock.laps
    seconds = []
    for start in np.linspace(0, side - LOOKED, N_LOOKS, dtype=int):
        begun = time.perf_counter()
        quantized[start : start + LOOKED, start : start + LOOKED].compute()
        seconds.append(time.perf_counter() - begun)
    quantized.to_zarr(target)
    clock.lap()
    first, *later = seconds
    laps = [count, sum(fit), clock.laps[-1]]
    row = [str(len(fit)), *report(laps, side), f"{first:.2f}", f"{max(later):.2f}"]

    try:
        source = count_colors(image)
        colors = f"{len(source.colors):,}"
    except TooManyColorsError:
        source, colors = image, "not counted"
    palette = kmeans_palette(source, k).palette
    written, rng = da.from_zarr(target), np.random.default_rng(0)
    for place in rng.integers(0, side // CHUNK, (N_COMPARED, 2)):
        before, after = (a.blocks[(*place, 0)].compute() for a in (image, written))
        assert np.array_equal(palette[map_to_palette(before, palette)], after)
    return [colors, *row]


def run_at_once(path: Path, side: int, target: Path, k: int) -> list[str]:
    """Quantize a corner of a store as a NumPy array, and return what it took."""
    import zarr

    clock = Clock()
    image = zarr.open_array(path)[:side, :side]
    quantized = quantize_kmeans(image, k)
    chunks = (CHUNK, CHUNK, image.shape[-1])
    zarr.create_array(target, data=quantized, chunks=chunks)
    clock.lap()
    return ["", "", "", "", "", *report(clock.laps, side)[1:], "", ""]


def report(laps: list[float], side: int) -> list[str]:
    """Return CPU seconds, the pixels in one of them, and the most memory."""
    status = Path("/proc/self/status").read_text()
    # `resource` has the memory of the process that started this one, if it is more.
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    steps = [f"{lap:.1f}" for lap in (*laps, sum(laps))]
    return [*steps, f"{side**2 / 1e6 / sum(laps):.1f}", f"{peak / 1e6:.0f}"]


if __name__ == "__main__":
    main()
