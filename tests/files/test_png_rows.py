import io
import zlib

import hypothesis.extra.numpy as hnp
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from napari_kmeans._files import png_rows
from napari_kmeans._files.png import with_rows
from napari_kmeans._files.png_rows import (
    EFFORTS,
    compress_rows,
    pack_rows,
    sample_rows,
)

FILTERS = [(0,), (1,), (2,), (4,), (0, 1, 2, 4)]
BITS = [1, 2, 4, 8]


def file_of(shape, rows, bits):
    """A PNG file with these rows, around which Pillow writes the chunks."""
    buffer = io.BytesIO()
    image = Image.new("P", (1, 1))
    image.putpalette(bytes(range(1 << bits)) * 3)
    image.save(buffer, "PNG")
    assert buffer.getvalue()[24] == bits
    return with_rows(buffer.getvalue(), shape, rows)


@st.composite
def images(draw, most_side=40):
    bits = draw(st.sampled_from(BITS))
    shape = draw(st.tuples(*[st.integers(1, most_side)] * 2))
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2**bits - 1)))
    codes = np.array(draw(st.permutations(range(2**bits))), np.uint8)
    return labels, codes, bits


@given(image=images(), filters=st.sampled_from(FILTERS))
def test_rows_are_read_as_the_codes_of_labels(image, filters):
    labels, codes, bits = image
    rows = zlib.compress(pack_rows(labels, codes, bits, filters))
    with Image.open(io.BytesIO(file_of(labels.shape, rows, bits))) as found:
        assert_array_equal(np.array(found), codes[labels])


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (700, 331), (3, 70_001)])
@pytest.mark.parametrize("effort", EFFORTS)
def test_compressed_rows_are_read_by_other_libraries(bits, shape, effort):
    # Many blocks, and more rows than the sample by which filters are chosen.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2**bits, shape, np.uint8)
    codes = rng.permutation(2**bits).astype(np.uint8)
    rows = compress_rows(labels, codes, bits, effort)
    content = file_of(shape, rows, bits)
    assert_array_equal(np.array(Image.open(io.BytesIO(content))), codes[labels])
    shown = imagecodecs.png_decode(content)
    palette = np.frombuffer(bytes(range(1 << bits)) * 3, np.uint8).reshape(-1, 3)
    assert_array_equal(shown, palette[codes[labels]])


def test_each_row_has_the_filter_of_the_least_entropy():
    # Equal pixels, ramps to the right, each of its own steepness, and ramps down.
    rng, ramp = np.random.default_rng(0), np.arange(300)
    start, steps = rng.integers(0, 256, (300, 1)), rng.permutation(300)[:, np.newaxis]
    to_the_right = (start + steps * ramp).astype(np.uint8)
    down = (start.T + ramp[:, np.newaxis]).astype(np.uint8)
    parts = [np.zeros_like(down), to_the_right, down]
    labels, codes = np.concatenate(parts), np.arange(256, dtype=np.uint8)
    kinds = pack_rows(labels, codes, 8, (0, 1, 2, 4)).reshape(3, 300, 301)[..., 0]
    assert_array_equal(kinds[0], 0)
    assert np.mean(kinds[1] == 1) > 0.9
    assert np.mean(kinds[2] == 2) > 0.9


def test_rows_are_put_into_several_chunks_if_one_is_too_small(monkeypatch):
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rows = compress_rows(labels, np.arange(256, dtype=np.uint8), 8, "fast")
    monkeypatch.setattr("napari_kmeans._files.png._MOST_DATA", 100)
    content = file_of((16, 16), rows, 8)
    assert content.count(b"IDAT") == -(-len(rows) // 100) > 1
    assert_array_equal(np.array(Image.open(io.BytesIO(content))), labels)


@pytest.mark.parametrize("axis", [0, 1])
def test_filters_are_chosen_by_how_small_the_sample_becomes(monkeypatch, axis):
    # Seven differences, but 256 values; rows of the sample follow each other.
    steps = np.random.default_rng(1).integers(-3, 4, (3000, 400))
    labels = steps.cumsum(axis=axis).astype(np.uint8)
    codes = np.arange(256, dtype=np.uint8)
    assert sample_rows(labels, 1 << 18).size < labels.size / 4
    small = compress_rows(labels, codes, 8, "normal")
    monkeypatch.setattr(png_rows, "_CHOICES", ((0,),))
    assert len(small) < 0.8 * len(compress_rows(labels, codes, 8, "normal"))


def test_rows_of_many_blocks_are_filtered_as_one():
    labels = np.random.default_rng(0).integers(0, 256, (3000, 500), np.uint8)
    codes = np.arange(256, dtype=np.uint8)
    rows = pack_rows(labels, codes, 8, (2,)).reshape(3000, 501)
    assert (rows[:, 0] == 2).all()
    assert_array_equal(rows[:, 1:].cumsum(axis=0, dtype=np.uint8), labels)


def at_level(labels, level):
    """What rows of 4-bit labels may become at a level of libdeflate."""
    codes = np.arange(16, dtype=np.uint8)
    ways = [pack_rows(labels, codes, 4, filters) for filters in png_rows._CHOICES]
    return [imagecodecs.deflate_encode(way, level=level) for way in ways]


def test_flat_art_of_few_pixels_has_the_best_level_by_default(monkeypatch):
    monkeypatch.setattr(png_rows, "_SMALL", 0)
    rng = np.random.default_rng(0)
    labels = np.zeros((400, 500), np.uint8)
    for y, x in rng.integers(0, 400, (200, 2)):
        labels[y : y + 40, x : x + 60] = rng.integers(16)
    codes = np.arange(16, dtype=np.uint8)
    small = labels[:200]
    assert sample_rows(small, 1 << 17) is small
    for some in (labels, small):
        assert compress_rows(some, codes, 4, "normal") in at_level(some, 12)
    monkeypatch.setattr(png_rows, "_MOST_FLAT", labels.size - 1)
    assert compress_rows(labels, codes, 4, "normal") in at_level(labels, 10)
    assert compress_rows(small, codes, 4, "normal") in at_level(small, 12)


def test_what_hardly_shrinks_has_the_level_of_its_effort(monkeypatch):
    steps = np.random.default_rng(0).choice(3, (300, 600), p=[0.1, 0.8, 0.1]) - 1
    labels, codes = steps.cumsum(axis=1) % 16, np.arange(16, dtype=np.uint8)
    # Unless it is small.
    for small, level in ((0, 10), (4 * labels.size, 12)):
        monkeypatch.setattr(png_rows, "_SMALL", small)
        assert compress_rows(labels, codes, 4, "normal") in at_level(labels, level)


@pytest.mark.parametrize("width", [1, 300, 100_000])
def test_a_sample_has_rows_from_top_to_bottom(width):
    labels = np.zeros((2_000_000 // width + 90, width), np.uint8)
    labels[:] = np.linspace(0, 255, len(labels)).astype(np.uint8)[:, np.newaxis]
    sample = sample_rows(labels, 1 << 19)
    assert sample.size <= max(1 << 19, 68 * width)
    assert sample[0, 0] == 0
    assert sample[-1, 0] == 255


def test_a_small_image_is_its_own_sample():
    labels = np.zeros((300, 400), np.uint8)
    assert sample_rows(labels, labels.size) is labels
