import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._files import pyramids
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.pyramids import Pyramid, boxes, lazy_image, without


def level_of(shape, chunks, shards=None, dtype="u1"):
    told = {"shape": shape, "chunks": chunks, "dtype": np.dtype(dtype)}
    return SimpleNamespace(shards=shards, **told)


@pytest.mark.parametrize("seed", range(30))
def test_boxes_are_whole_shards_or_chunks_of_all_channels(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    most = int(rng.integers(1, 4000))
    monkeypatch.setattr(pyramids, "_BOX", most)
    shape = tuple(rng.integers(1, 40, rng.integers(2, 5)).tolist())
    chunks = tuple(int(rng.integers(1, n + 1)) for n in shape)
    shards = tuple(int(n * rng.integers(1, 4)) for n in chunks)
    shards = shards if rng.integers(2) else None
    axis = [None, 0, len(shape) - 1][rng.integers(3)]
    seen = np.zeros(shape, int)

    for box in boxes(level_of(shape, chunks, shards), axis):
        seen[box] += 1
        n_pixels = 1
        for i, (side, unit, n) in enumerate(
            zip(box, shards or chunks, shape, strict=True)
        ):
            if i == axis:
                assert side == slice(0, n)
                continue
            assert side.start % unit == 0
            assert side.stop == n or side.stop % unit == 0
            n_pixels *= -(-(side.stop - side.start) // unit)
        # What is larger than a task should read is as small as it can be.
        assert seen[box].size <= most or n_pixels == 1

    assert (seen == 1).all()


def test_many_small_chunks_are_read_at_once_and_large_ones_are_not():
    planar = {"shape": (3, 9999, 9999), "chunks": (1, 256, 256)}
    first = next(iter(boxes(level_of(**planar), 0)))
    assert first == (slice(0, 3), slice(0, 2048), slice(0, 2048))
    large = level_of((9999, 9999), (6000, 6000))
    assert len(list(boxes(large, None))) == 4


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_lazy_image_has_its_channels_last_and_native_numbers(axis):
    pixels = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    axes = "".join("C" if i == axis else "ZYX"[i] for i in range(3))

    class Level:
        shape, dtype, chunks, ndim = pixels.shape, pixels.dtype, (1, 2, 2), 3

        def __getitem__(self, region):
            return pixels[region]

    image = lazy_image(Pyramid((Level(),), ImageMetadata(axes), {}))

    native = pixels.astype("u2")
    assert_array_equal(
        image.pixels.compute(), np.moveaxis(native, axis, -1), strict=True
    )
    assert image.has_channels
    assert not image.has_alpha


def test_what_there_is_for_each_axis_but_one():
    for n, axis in itertools.product(range(4), [None, 0, 2]):
        expected = tuple(i for i in range(n) if i != axis)
        assert without(range(n), axis) == expected
