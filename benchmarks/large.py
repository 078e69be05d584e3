"""Quantize images larger than memory, from zarr to zarr, and measure time and memory.

    python benchmarks/large.py FOLDER [--photos PHOTOS] [--sides 8192 16384]
    python benchmarks/large.py FOLDER --noise --sides 32768

A store of uint8 RGB is made in FOLDER, unless it is there: of tiles that are crops of
photos, turned and in other exposures, or of noise, which has all 2^24 colors. PHOTOS is
a folder; without one, some photos of scikit-image are taken. For each side, a new
process quantizes the top left corner of so many rows and columns into a second store,
on two threads. It counts and fits the image, looks at 50 x 50 pixels of some chunks,
and maps and writes the image. Some of the chunks that it wrote are compared with what
NumPy makes of the same pixels and palette. Another process does all that to the
smallest corner as NumPy arrays. CPU seconds are those of all threads; memory is the
most that the process had, with Python and its libraries.

It needs Linux, and zarr, of the group `bench`.
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

from napari_kmeans import count_colors, kmeans_palette, map_to_palette, quantize_kmeans

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.uint8]

CHUNK, TILE = 2048, 1024
# Rows and columns that are looked at, and how often.
LOOKED, N_LOOKS = 50, 6
# Chunks that are compared.
N_COMPARED = 16
STEPS = ["count", "fit", "map and write"]


def main() -> None:
    """Make the store, start the processes that are measured, and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, help="folder of photos")
    parser.add_argument("--noise", action="store_true", help="of all 2^24 colors")
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[8192, 16384], help="multiples of 2048"
    )
    parser.add_argument("-k", type=int, default=16)
    options = parser.parse_args()
    sides = sorted(options.sides)
    kind = "noise" if options.noise else "photos"
    path = options.folder / f"{kind}-{sides[-1]}.zarr"
    if not path.exists():
        photos = [] if options.noise else read_photos(options.photos)
        make(path, sides[-1], noise if options.noise else partial(crop, photos))
    columns = "|".join(STEPS)
    print(f"{kind}, k = {options.k}\n")
    print(
        f"| | colors |{columns}| CPU s | MP per CPU s | MB | first | later tile (s) |"
    )
    print("|---|" + "--:|" * (len(STEPS) + 6))
    jobs = [("NumPy", run_at_once, sides[0]), *(("dask", run, side) for side in sides)]
    for name, work, side in jobs:
        target = options.folder / f"{kind}-{side}-{name}.zarr"
        # Processes do not share what libraries keep, nor their most memory.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            row = executor.submit(work, path, side, target, options.k).result()
        shutil.rmtree(target)
        print(f"| {side**2 / 1e6:.0f} MP, {name} | {' | '.join(row)} |", flush=True)


def make(path: Path, side: int, tile: Callable[..., Array]) -> None:
    """Write a store of tiles by their places."""
    import dask
    import dask.array as da

    def chunk(block_id: tuple[int, ...]) -> Array:
        made = np.empty((CHUNK, CHUNK, 3), np.uint8)
        for corner in itertools.product(range(0, CHUNK, TILE), repeat=2):
            rows, columns = (slice(start, start + TILE) for start in corner)
            place = [CHUNK * i + n for i, n in zip(block_id, corner, strict=False)]
            made[rows, columns] = tile(np.random.default_rng(place))
        return made

    rows = (CHUNK,) * (side // CHUNK)
    meta = np.empty((0, 0, 0), np.uint8)
    image = da.map_blocks(chunk, chunks=(rows, rows, (3,)), dtype=np.uint8, meta=meta)
    with dask.config.set(scheduler="threads", num_workers=2):
        image.to_zarr(path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


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
    # Colors are counted by one computation of dask.
    with Callback(finish=clock.lap):
        quantized = quantize_kmeans(image, k)
    clock.lap()
    seconds = []
    for start in np.linspace(0, side - LOOKED, N_LOOKS, dtype=int):
        begun = time.perf_counter()
        quantized[start : start + LOOKED, start : start + LOOKED].compute()
        seconds.append(time.perf_counter() - begun)
    quantized.to_zarr(target)
    clock.lap()
    first, *later = seconds
    row = report(clock.laps, side, f"{first:.2f}", f"{max(later):.2f}")

    counts = count_colors(image)
    palette = kmeans_palette(counts, k).palette
    written, rng = da.from_zarr(target), np.random.default_rng(0)
    for place in rng.integers(0, side // CHUNK, (N_COMPARED, 2)):
        before, after = (a.blocks[(*place, 0)].compute() for a in (image, written))
        assert np.array_equal(palette[map_to_palette(before, palette)], after)
    return [f"{len(counts.colors):,}", *row]


def run_at_once(path: Path, side: int, target: Path, k: int) -> list[str]:
    """Quantize a corner of a store as a NumPy array, and return what it took."""
    import zarr

    clock = Clock()
    image = zarr.open_array(path)[:side, :side]
    quantized = quantize_kmeans(image, k)
    zarr.create_array(target, data=quantized, chunks=(CHUNK, CHUNK, 3))
    clock.lap()
    row = report(clock.laps, side, "", "")
    return [f"{len(count_colors(image).colors):,}", "", "", *row]


def report(laps: list[float], side: int, *others: str) -> list[str]:
    """Return the CPU seconds, the pixels in one of them, and the most memory."""
    status = Path("/proc/self/status").read_text()
    # `resource` has the memory of the process that started this one, if it is more.
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    steps = [f"{lap:.1f}" for lap in (*laps, sum(laps))]
    return [*steps, f"{side**2 / 1e6 / sum(laps):.0f}", f"{peak / 1e6:.0f}", *others]


if __name__ == "__main__":
    main()
