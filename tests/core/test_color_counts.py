import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from napari_kmeans._core import color_counts
from napari_kmeans._core.color_counts import (
    count_all,
    count_colors,
    is_tabular,
    paint,
    pixel_blocks,
)

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i8", "f2", "f4", "f8", ">u2", ">f8"]
images = st.tuples(st.sampled_from(DTYPES), st.integers(1, 5)).flatmap(
    lambda kind: hnp.arrays(
        kind[0],
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(kind[1])),
        elements=st.integers(0, 1),
    )
)


@given(images)
def test_counts_are_those_of_numpy_unique(image):
    counted = count_colors(image)

    rows = image.reshape(-1, image.shape[-1])
    colors, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(counted.colors.T[::-1])
    assert_array_equal(counted.colors[order], colors)
    assert_array_equal(counted.counts[order], counts)


@pytest.mark.parametrize("fewest", [0, 150, 1 << 20])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_parts_count_as_the_whole(monkeypatch, dtype, fewest):
    # Some are sorted, and some go into a table where there are so many.
    monkeypatch.setattr(color_counts, "_SORT_BELOW", fewest)
    image = np.random.default_rng(0).integers(0, 5, (30, 10, 3)).astype(dtype)
    whole = count_colors(image)
    parts = count_all(iter([image[:7], image[7:8], image[8:]]))
    assert_array_equal(parts.colors, whole.colors, strict=True)
    assert_array_equal(parts.counts, whole.counts)


def test_no_image_has_no_colors():
    assert count_all(iter([])) is None


@pytest.mark.parametrize(("dtype", "n_channels"), [("u1", 3), ("u1", 2), ("i2", 1)])
def test_a_table_counts_as_sorting_does(monkeypatch, dtype, n_channels):
    info = np.iinfo(dtype)
    image = np.random.default_rng(0).integers(
        info.min, info.max, (301, 700, n_channels), dtype, endpoint=True
    )
    expected = count_colors(image)

    monkeypatch.setattr(color_counts, "_SORT_BELOW", 0)
    counted = count_colors(image)

    assert_array_equal(counted.colors, expected.colors)
    assert_array_equal(counted.counts, expected.counts)


def test_colors_of_many_bytes_are_counted_by_a_hash():
    image = np.random.default_rng(0).integers(0, 3, (40, 50, 7)).astype(np.float64)

    counted = count_colors(image)

    colors, counts = np.unique(image.reshape(-1, 7), axis=0, return_counts=True)
    order = np.lexsort(counted.colors.T[::-1])
    assert_array_equal(counted.colors[order], colors)
    assert_array_equal(counted.counts[order], counts)


def test_too_many_colors_are_not_counted(monkeypatch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    image = np.arange(404, dtype=np.uint32).reshape(1, 101, 4)

    assert count_colors(image) is None
    assert len(count_colors(image[:, 1:]).colors) == 100


def test_pixels_that_are_not_finite_are_not_counted():
    image = np.array([[[1.0, np.nan], [np.inf, 2.0], [3.0, 4.0]]])

    counted = count_colors(image)

    assert_array_equal(counted.colors, [[3, 4]])
    assert_array_equal(counted.counts, [1])


@given(
    images.filter(lambda image: is_tabular(image.dtype, image.shape[-1])),
    st.booleans(),
)
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

    monkeypatch.setattr(color_counts, "_MOST_THREADS", n_threads)
    painted = paint(image, colors, np.arange(len(colors), dtype=np.uint32))

    assert_array_equal(colors[painted], image)


@pytest.mark.parametrize("shape", [(1, 1), (5, 700_000), (300_000, 1), (3, 200, 400)])
def test_blocks_are_small_and_cover_every_pixel_once(shape):
    image = np.arange(np.prod(shape)).reshape(*shape, 1)

    for layout in (image, image.swapaxes(0, 1)):
        blocks = [block for _, block in pixel_blocks(layout)]

        assert max(block.nbytes for block in blocks) <= 1 << 20
        everything = np.sort(np.concatenate(blocks)[:, 0])
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
