"""Results do not depend on who else computes: 16 threads at once, bit for bit.

It needs NumPy and pytest alone, so that it runs on a Python without a lock of its own:
``python -m pytest --noconftest -p no:cacheprovider -c /dev/null --rootdir tests/hostile
tests/hostile/test_threads.py``.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_kmeans import (
    ColorCounts,
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._core.mapping import chunk_labeler
from napari_kmeans._core.spaces import Layout

N_THREADS = 16
RNG = np.random.default_rng(16)
IMAGES = {
    "bytes": RNG.integers(0, 256, (12, 16, 3), np.uint8),
    "opacity": RNG.integers(0, 256, (9, 12, 4), np.uint8),
    "words": RNG.integers(0, 65536, (9, 12, 2), np.uint16),
    "floats": RNG.random((9, 12, 3), np.float32),
}


def stopping(state):
    if state.n_iter == 2:
        raise StopIteration


def kmeans(image, **keywords):
    return vars(kmeans_palette(image, 5, 4, **keywords))


def counts(image):
    found = count_colors(image)
    return vars(sum([found, ColorCounts(found.colors, found.counts)]))


def label_chunk(image, n_colors):
    layout = Layout(image.dtype, 3, False, "rgb", False)
    return bits(chunk_labeler(image, image[0, :n_colors], layout)(image, (0, 0)))


CALLS = {
    "quantize": ("bytes", lambda image: quantize_kmeans(image, 7, 3)),
    "oklab": ("bytes", lambda image: quantize_kmeans(image, 4, 2, color_space="oklab")),
    "draw": ("bytes", lambda image: kmeans(image, init="k-means++", rng=3)),
    "stop": ("bytes", lambda image: kmeans(image, callback=stopping)),
    "counts": ("bytes", counts),
    "choose": ("bytes", lambda image: vars(choose_k(image, mse=4000, iters=2))),
    "curve": ("words", lambda image: error_curve(image, [2, 5], iters=2)),
    "alpha": ("opacity", lambda image: kmeans(image, alpha=True)),
    "weights": ("words", lambda image: kmeans(image, channel_weights="std")),
    "floats": ("floats", lambda image: quantize_kmeans(image, 6, 3)),
    "stretched": ("floats", lambda image: kmeans(image, color_space="oklab")),
    "dither": (
        "bytes",
        lambda image: map_to_palette(image, image[0, :9], dither="floyd-steinberg"),
    ),
    "ordered": (
        "floats",
        lambda image: map_to_palette(image, image[0, :9], dither="ordered"),
    ),
    # All chunks of a palette fill one table. Palettes take turns, so that it is new.
    "chunk": ("bytes", lambda image: [label_chunk(image, n) for n in (5, 6, 7)]),
}


def bits(value):
    """Return what can be compared bit for bit."""
    if isinstance(value, dict):
        return {name: bits(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value


@pytest.fixture
def often():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "own"])
def test_results_of_16_threads_at_once_are_those_of_one(is_shared):
    alone = {name: bits(call(IMAGES[image])) for name, (image, call) in CALLS.items()}
    together, names = threading.Barrier(N_THREADS), list(CALLS)

    def work(number):
        images = IMAGES
        if not is_shared:
            images = {name: image.copy() for name, image in IMAGES.items()}
        together.wait()
        # Each begins with another call, so that unlike ones meet.
        first = number % len(names)
        for name in (names + names)[first : first + len(names) // 2]:
            image, call = CALLS[name]
            assert bits(call(images[image])) == alone[name], name

    with ThreadPoolExecutor(N_THREADS) as executor:
        for done in [executor.submit(work, number) for number in range(N_THREADS)]:
            done.result()
