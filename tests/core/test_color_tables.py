"""Pixels get values by their colors, and blocks hold every pixel once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from napari_kmeans import count_colors
from napari_kmeans._core import color_tables
from napari_kmeans._core.color_tables import (
    code_room,
    cut_codes,
    paint,
    pixel_blocks,
)

KINDS = [("?", 1), ("?", 3), ("u1", 1), ("u1", 2), ("u1", 3), ("u2", 1), (">u2", 1)]
images = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(
        kind[0],
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(kind[1])),
        elements=st.integers(0, 1),
    )
)


@given(images, st.booleans())
def test_painting_the_place_of_each_color_finds_every_pixel(image, is_transposed):
    if is_transposed:
        image = image.transpose(1, 0, 2)
    colors = count_colors(image).colors

    painted = paint(image, colors, np.arange(len(colors), dtype=np.uint16))

    assert_array_equal(colors[painted], image)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_the_number_of_threads_is_irrelevant_to_a_painting(monkeypatch, n_threads):
    image = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), dtype=np.uint8)
    colors = count_colors(image).colors

    monkeypatch.setattr(color_tables, "_MOST_THREADS", n_threads)
    painted = paint(image, colors, np.arange(len(colors), dtype=np.uint32))

    assert_array_equal(colors[painted], image)


@pytest.mark.parametrize("shape", [(1, 1), (5, 700_000), (300_000, 1), (3, 200, 400)])
def test_blocks_are_small_and_cover_every_pixel_once(shape):
    image = np.arange(np.prod(shape)).reshape(*shape, 1)

    for layout in (image, image.swapaxes(0, 1)):
        parts = [block for _, block in pixel_blocks(layout)]

        assert max(part.nbytes for part in parts) <= 1 << 20
        everything = np.sort(np.concatenate(parts)[:, 0])
        assert_array_equal(everything, np.arange(image.size))


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_parts_share_the_blocks(n_parts):
    image = np.arange(500_000).reshape(-1, 1)

    parts = [
        block
        for part in range(n_parts)
        for _, block in pixel_blocks(image, part, n_parts)
    ]

    assert_array_equal(np.sort(np.concatenate(parts)[:, 0]), image[:, 0])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 65_535, 65_536, 65_537, 65_538, 131_075])
def test_codes_of_parts_are_the_three_bytes_of_each_pixel(n):
    pixels = np.random.default_rng(n).integers(0, 256, (n, 3), dtype=np.uint8)

    found = np.full(n, -1)
    for place, codes in cut_codes(pixels, code_room()):
        found[place] = codes

    assert_array_equal(found, pixels @ np.array([1, 1 << 8, 1 << 16]))
