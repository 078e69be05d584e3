"""Measure how long the plugin's thread runs on after Cancel, on 15 megapixels.

    .venv/bin/python benchmarks/napari_cancel.py [--moments 20] [KIND ...]

Every kind of run is made once as a whole, and cancelled at moments spread evenly over
the time that this took. For each it prints the time of the whole, the longest stretch
of it without a checkpoint, and how long it took at most from Cancel until the thread
had ended. The kinds named are run, or all.
"""

import argparse
import os
import threading
import time
from functools import partial

# Neither show what this machine's user has set, nor write it.
os.environ["NAPARI_CONFIG"] = ""

import numpy as np
from napari.layers import Image, Labels, Shapes
from skimage import data

from napari_kmeans._core import blocks
from napari_kmeans._napari.computation import quantize_source
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import read_mask, read_source
from napari_kmeans._napari.settings import Settings

SHAPE = (3000, 5000)


class Chunked:
    """An array that is read piece by piece, as from a file."""

    def __init__(self, array, chunks):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.chunks = chunks

    def __getitem__(self, index):
        """Read a part."""
        return self._array[index].copy()

    def __array__(self, dtype=None, copy=None):
        """Read everything."""
        return np.array(self._array, dtype=dtype, copy=True)


def make_photo():
    """Give a photo of 15 megapixels with some 700,000 colors."""
    tile = np.tile(data.astronaut(), (6, 10, 1))[: SHAPE[0], : SHAPE[1]]
    noise = np.random.default_rng(0).integers(-1, 2, tile.shape, np.int16)
    return np.clip(tile + noise, 0, 255).astype(np.uint8)


def make_kinds():
    """Give for each kind of run what makes its source, and its settings."""
    import dask.array as da

    photo = make_photo()
    rng = np.random.default_rng(1)

    def fine(dtype):
        """Give a photo of nearly as many colors as pixels."""
        deep = photo * 257.0 + rng.integers(-300, 301, photo.shape, np.int16)
        if dtype == np.float32:
            return np.clip(deep / 65535, 0, 1).astype(np.float32)
        return np.clip(deep, 0, 65535).astype(np.uint16)

    def source(image, *more, rgb=True, axis=None, mask=None):
        layers = [Image(one, rgb=rgb, contrast_limits=(0, 1)) for one in (image, *more)]
        found = read_source(layers, axis)
        if mask is None:
            return found
        return found._replace(mask=read_mask(mask, layers[0], None, None))

    def transparent():
        opacity = np.tile(np.arange(SHAPE[1]) % 256, (SHAPE[0], 1)).astype(np.uint8)
        return np.dstack((photo, opacity))

    def gray():
        return fine(np.uint16)[..., 1]

    labels = np.zeros(SHAPE, np.uint8)
    labels[500:, 500:] = 1
    turned = Labels(labels, rotate=7, scale=(0.9, 0.9))
    kinds = ["polygon", "ellipse"]
    polygon = np.array([[100, 200], [2900, 300], [2500, 4800], [300, 4500]])
    lazy = partial(da.from_array, chunks=(512, 512, 3), name=False)
    stack = photo.reshape(15, 1000, 1000, 3)
    both = {"output": "both"}
    return {
        "uint8": (lambda: source(photo), both),
        "uint8-256": (lambda: source(photo), both | {"k": 256}),
        "uint8-4096": (lambda: source(photo), both | {"k": 4096, "iters": 3}),
        "noise": (
            lambda: source(rng.integers(0, 256, photo.shape, np.uint8)),
            both | {"k": 256},
        ),
        "noise-65536": (
            lambda: source(rng.integers(0, 256, photo.shape, np.uint8)),
            both | {"k": 65536, "iters": 1},
        ),
        "uint16-few": (lambda: source(photo.astype(np.uint16) * 257), both),
        "uint16": (lambda: source(fine(np.uint16)), both),
        "uint16-256": (
            lambda: source(fine(np.uint16)),
            both | {"k": 256, "iters": 1},
        ),
        "float32-few": (lambda: source(photo / np.float32(255)), both),
        "float32": (lambda: source(fine(np.float32)), both | {"iters": 3}),
        "gray": (lambda: source(gray(), rgb=False), both),
        "gray-256": (lambda: source(gray(), rgb=False), both | {"k": 256}),
        "gray-float": (lambda: source(gray() / np.float32(3), rgb=False), both),
        "rgba": (lambda: source(transparent()), both | {"iters": 3}),
        "thorough": (lambda: source(photo), both | {"init": "thorough"}),
        "k-means++": (lambda: source(photo), both | {"init": "k-means++", "k": 256}),
        "iters": (lambda: source(photo), both | {"iters": 100}),
        "slices": (lambda: source(stack), both | {"slice_axis": 0}),
        "diffused": (lambda: source(photo), both | {"dither": "floyd-steinberg"}),
        "diffused-lab": (
            lambda: source(photo),
            both | {"dither": "floyd-steinberg", "color_space": "lab"},
        ),
        "ordered": (lambda: source(photo), both | {"dither": "ordered"}),
        "ordered-float": (
            lambda: source(fine(np.float32)),
            both | {"dither": "ordered", "iters": 0},
        ),
        "lab": (lambda: source(photo), both | {"color_space": "lab"}),
        "oklab": (
            lambda: source(fine(np.float32)),
            both | {"color_space": "oklab", "iters": 1},
        ),
        "locked": (
            lambda: source(photo),
            both | {"fixed": np.array([[0, 0, 0], [255, 255, 255]], np.uint8)},
        ),
        "mask": (lambda: source(photo, mask=Labels(labels)), both),
        "mask-turned": (lambda: source(photo, mask=turned), both),
        "mask-shapes": (
            lambda: source(photo, mask=Shapes([polygon] * 2, shape_type=kinds)),
            both,
        ),
        "dask": (lambda: source(lazy(photo)), both),
        "dask-pyramid": (
            lambda: source([lazy(photo), lazy(photo[::2, ::2])]),
            both,
        ),
        "chunked": (lambda: source(Chunked(photo, (512, 512, 3))), both),
        "layers": (
            lambda: source(*(fine(np.uint16)[..., i] for i in range(3)), rgb=False),
            both | {"iters": 1},
        ),
        "channels-first": (
            lambda: source(
                np.ascontiguousarray(np.moveaxis(photo, -1, 0)), rgb=False, axis=0
            ),
            both,
        ),
        "channels-first-float": (
            lambda: source(
                np.ascontiguousarray(np.moveaxis(photo / np.float32(255), -1, 0)),
                rgb=False,
                axis=0,
            ),
            both,
        ),
    }


def threads():
    """Give the threads that compute."""
    return [t for t in threading.enumerate() if t.name == "napari-kmeans"]


def run_watched(compute):
    """Run once, and give how long it took and the longest stretch without a check."""
    last = start = time.perf_counter()
    longest, where = 0.0, ""

    def note():
        nonlocal last, longest, where
        now = time.perf_counter()
        if now - last > longest:
            longest, where = now - last, _place()
        last = now

    with blocks.interruptible(note):
        compute(lambda _: None)
        note()
    return time.perf_counter() - start, longest, where


def _place():
    """Say which line of the package came to a checkpoint."""
    import traceback

    frames = [
        frame
        for frame in traceback.extract_stack()
        if "napari_kmeans" in frame.filename
        and not frame.filename.endswith("blocks.py")
    ]
    return " < ".join(f"{f.filename[-20:]}:{f.lineno}" for f in frames[::-1][:4])


def cancel_at(compute, moment):
    """Cancel after some seconds, and give the seconds until the thread has ended."""
    newest = Newest()
    newest.start(compute, returned=print, failed=print)
    (thread,) = threads()
    thread.join(moment)
    if not thread.is_alive():
        return 0.0
    start = time.perf_counter()
    newest.leave()
    thread.join()
    return time.perf_counter() - start


def main():
    """Print a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--moments", type=int, default=20)
    arguments = parser.parse_args()
    kinds = make_kinds()
    for name in arguments.kinds or kinds:
        make, settings = kinds[name]
        compute = partial(quantize_source, make(), Settings(**settings))
        took, longest, where = run_watched(compute)
        moments = np.linspace(0, took, arguments.moments, endpoint=False)
        ended = max((cancel_at(compute, moment) for moment in moments), default=0.0)
        print(
            f"{name:22}{took:7.2f} s  unchecked {longest:6.3f} s  "
            f"ended within {ended:6.3f} s   {where}",
            flush=True,
        )


if __name__ == "__main__":
    main()
