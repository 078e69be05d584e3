from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from core_cases import integers
from napari_kmeans import kmeans_palette, quantize_kmeans
from napari_kmeans._core import blocks, cells, color_counts, color_tables
from napari_kmeans._core.color_counts import count_pixels
from napari_kmeans._core.color_tables import n_codes_of
from napari_kmeans._core.counted_image import count_image
from napari_kmeans._core.lloyd import cluster_means
from napari_kmeans._core.pixels import (
    PointsInBlocks,
    fitted_pixels,
    seen_colors,
    unseen_color,
    weighted_points,
)
from napari_kmeans._core.spaces import frame_of, to_points

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]


images = st.tuples(st.sampled_from(DTYPES), st.integers(1, 5)).flatmap(
    lambda kind: hnp.arrays(
        kind[0],
        st.tuples(st.integers(2, 5), st.integers(2, 5), st.just(kind[1])),
        elements=integers(kind[0]),
    )
)


def rearrangements(image, seed):
    """Give the same pixels in other layouts, and in another order."""
    rows = image.reshape(-1, image.shape[-1])
    read_only = image.copy()
    read_only.flags.writeable = False
    return {
        "Fortran": np.asfortranarray(image),
        "strided": np.repeat(image, 2, axis=1)[:, ::2],
        "reversed": image[::-1, ::-1].copy()[::-1, ::-1],
        "channels first": np.moveaxis(np.moveaxis(image, -1, 0).copy(), 0, -1),
        "big-endian": image.astype(image.dtype.newbyteorder(">")),
        "read-only": read_only,
        "permuted": np.random.default_rng(seed).permutation(rows)[np.newaxis],
    }


@settings(max_examples=30)
@given(images, st.integers(1, 4), st.booleans(), st.integers(0, 2**32))
def test_no_bit_depends_on_layout_order_blocks_or_threads(image, k, is_counted, seed):
    most = 1 << 20 if is_counted else 1

    with mock.patch.object(color_counts, "MAX_COUNTED", most):
        expected = kmeans_palette(image, k)
        results = {
            name: kmeans_palette(other, k)
            for name, other in rearrangements(image, seed).items()
        }
        # A table of 2^24 colors would take a million such blocks.
        has_large_table = n_codes_of(image.dtype, image.shape[-1]) > 1 << 16
        with (
            mock.patch.object(blocks, "_BLOCK", 48),
            mock.patch.object(color_counts, "_SORTED", 100),
            mock.patch.object(
                color_counts, "_SORT_BELOW", 999 if has_large_table else 7
            ),
            mock.patch.object(color_tables, "_MOST_THREADS", 3),
            mock.patch.object(cells, "_CHILDREN", 8),
        ):
            results["small blocks"] = kmeans_palette(image, k)
        with mock.patch.object(color_counts, "_SORT_BELOW", 7):
            results["table"] = kmeans_palette(image, k)

    for name, result in results.items():
        assert result.palette.tobytes() == expected.palette.tobytes(), name
        assert_array_equal(result.counts, expected.counts, err_msg=name)
        assert result.mse == expected.mse, name
        assert result.n_iter == expected.n_iter, name


def points_from(pixels, is_counted):
    """Make points of counted pixels (n, C), or of blocks of eight."""
    frame, n_bits = frame_of([pixels]), 8 * pixels.dtype.itemsize
    if is_counted:
        colors, counts = count_pixels([pixels], [None])
        return weighted_points(to_points(colors, frame), counts[:, 0], n_bits)
    points = to_points(pixels, frame)
    parts = [points[i : i + 8] for i in range(0, len(points), 8)]
    return PointsInBlocks(
        lambda: iter([(part, np.ones(len(part))) for part in parts]),
        pixels.shape[1],
        n_bits,
    )


@given(images, st.integers(1, 4), st.booleans(), st.integers(0, 2**32))
def test_errors_of_integers_and_of_any_centers_add_up_in_any_order(
    image, k, is_counted, seed
):
    pixels = image.reshape(-1, image.shape[-1])
    rng = np.random.default_rng(seed)
    top = float(pixels.max()) - float(pixels.min())
    centers = rng.uniform(0, top + 1, (k, pixels.shape[1]))

    one = points_from(pixels, is_counted).measure(centers)
    other = points_from(rng.permutation(pixels), is_counted).measure(centers)

    assert one.mse == other.mse
    assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize("is_counted", [False, True])
def test_error_is_exact_beyond_the_bits_of_a_float(is_counted):
    # 2^62 + 600 + 600 is rounded twice in float64, where the next number is + 1024.
    values = np.repeat([0, 2**31 - 1, 2**31 + 1], [1, 600, 600])
    pixels = values.astype(np.uint32)[:, np.newaxis]

    mse = points_from(pixels, is_counted).measure(np.array([[2.0**31]])).mse

    assert mse == (2**62 + 1200) / 1201


@given(images, st.integers(0, 2**32))
def test_counted_and_listed_pixels_are_measured_alike(image, seed):
    pixels = image.reshape(-1, image.shape[-1])
    points = to_points(pixels, frame_of([pixels])).astype(float)
    centers = np.random.default_rng(seed).choice(points, 2)

    one, other = (points_from(pixels, kind).measure(centers) for kind in (False, True))

    assert_array_equal(one.counts, other.counts)
    assert one.mse == other.mse


# Which pixels are fitted.


def count(images, masks=None, alpha=False, space="rgb"):
    return count_image(images, -1, masks, space, alpha, with_outside=False)


def test_only_pixels_that_are_finite_seen_and_inside_are_counted(monkeypatch):
    image = np.zeros((1, 6, 4), np.float32)
    image[0, :, 0] = [1, 2, 3, np.nan, 5, 1]
    image[0, :, 3] = [1, 0, 1, 1, -1, 1]
    mask = np.array([[True, True, False, True, True, True]])

    counted = count([image], [mask], alpha=True)

    fitted = fitted_pixels(counted).counted
    assert_array_equal(fitted.colors, [[1, 0, 0, 1]])
    assert_array_equal(fitted.counts, [2])
    assert_array_equal(list(seen_colors(counted)), [[[1, 0, 0, 1]]])
    # The same pixels, one by one, if there are too many colors to count.
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 1)
    found = np.concatenate(list(seen_colors(count([image], [mask], alpha=True))))
    assert_array_equal(found, [[1, 0, 0, 1]] * 2)


def test_the_commonest_color_of_what_is_transparent_is_kept_the_first_on_a_tie():
    image = np.array([[[9, 0], [7, 0], [7, 0], [9, 0], [8, 0], [7, 255]]], np.uint8)

    def unseen(images, **how):
        return unseen_color(count(images, **how))

    assert_array_equal(unseen([image], alpha=True), [[7, 0]])
    assert_array_equal(unseen([image, image[:, :1]], alpha=True), [[9, 0]])
    assert unseen([image]).shape == (0, 2)
    assert unseen([image[:, 5:]], alpha=True).shape == (0, 2)


def test_nothing_is_fitted_where_nothing_is_seen():
    counted = count([np.zeros((2, 2, 4), np.uint8)], alpha=True)

    assert fitted_pixels(counted) is None
    assert_array_equal(unseen_color(counted), [[0, 0, 0, 0]])


@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize("alpha", [False, True])
def test_too_many_colors_to_count_are_fitted_from_the_pixels(monkeypatch, dtype, alpha):
    rng = np.random.default_rng(8)
    share = rng.random((40, 50, 4)) ** 2
    share[:, :, 3] += 0.001
    share[:5, :, 3] = 0
    image = (share * (60000 if dtype == "u2" else 1)).astype(dtype)
    image[:5, :, :3] = image[0, 0, :3]
    images = [image[:17], image[17:]]
    masks = [np.arange(i.size // 4).reshape(i.shape[:2]) % 5 > 0 for i in images]
    how = {"mask": masks, "alpha": alpha, "init": image[10, :6]}
    expected = kmeans_palette(images, 6, 3, **how)

    monkeypatch.setattr(color_counts, "MAX_COUNTED", 1 << 10)
    counted = count(images, masks, alpha)
    result = kmeans_palette(images, 6, 3, **how)

    assert counted.n_colors is None
    assert fitted_pixels(counted).counted is None
    if alpha:
        assert_array_equal(unseen_color(counted), image[:1, 0])
        assert unseen_color(count([image[5:]], alpha=alpha)).shape == (0, 4)
    assert_allclose(result.palette, expected.palette, rtol=1e-6)
    assert_array_equal(result.counts, expected.counts)
    assert_allclose(result.mse, expected.mse, rtol=1e-9)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_of_all_pixels_that_are_not_seen_the_commonest_color_is_kept(
    monkeypatch, is_transposed
):
    # More of the first rows have the color 5, more of all have 9.
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    image = np.random.default_rng(0).integers(1, 1 << 16, (40, 10, 4)).astype("u2")
    image[10:20] = 9
    image[10:14] = 5
    image[10:20, :, 3] = 0
    if is_transposed:
        image = np.asfortranarray(image)
    assert_array_equal(unseen_color(count([image], alpha=True)), [[9, 9, 9, 0]])
    # Those of too many colors are black.
    image[..., 3] = 0
    image[0, 0] = 1
    assert_array_equal(unseen_color(count([image], alpha=True)), [[0, 0, 0, 0]])


def test_an_image_without_a_finite_pixel():
    with pytest.raises(ValueError, match="image must have a finite pixel, got none"):
        count([np.full((1, 1, 3), np.inf)])


@pytest.mark.parametrize(
    ("shape", "dtype", "switch"),
    [
        ((40, 30, 3), "u2", {}),
        ((40, 30, 4), "u1", {"alpha": True}),
        ((40, 30), "u2", {"channel_axis": None}),
    ],
)
def test_cells_of_pixels_are_only_quicker(monkeypatch, shape, dtype, switch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    top = np.iinfo(dtype).max
    image = np.random.default_rng(2).integers(0, top + 1, shape).astype(dtype)

    in_cells = kmeans_palette(image, 9, **switch)
    quantized = quantize_kmeans(image, 9, **switch)

    monkeypatch.setattr("napari_kmeans._core.pixels._MOST_IN_CELLS", 0)
    in_blocks = kmeans_palette(image, 9, **switch)
    assert_array_equal(in_cells.palette, in_blocks.palette)
    assert_array_equal(in_cells.counts, in_blocks.counts)
    assert in_cells.mse == in_blocks.mse
    assert_array_equal(quantized, quantize_kmeans(image, 9, **switch))


@pytest.mark.parametrize("is_counted", [False, True])
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(2, 40), st.integers(1, 4))),
    seed=st.integers(0, 99),
)
def test_the_error_of_centers_that_are_not_whole_is_that_of_fractions(
    is_counted, pixels, seed
):
    # Eighths, whose squares are exact.
    centers = np.random.default_rng(seed).integers(0, 2048, (3, pixels.shape[1])) / 8

    measure = points_from(pixels, is_counted).measure(centers)

    moved = pixels - pixels.min(axis=0).astype(float)
    squared = np.square(moved[:, np.newaxis] - centers).sum(axis=-1).min(axis=1)
    assert measure.mse == float(Fraction(squared.sum()) / len(pixels))


@pytest.mark.parametrize("m", [1, 2, 3, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_of_equally_far_points_the_first_in_order_are_the_worst_in_any_blocks(
    m, reverse
):
    # Four of the points are 5 from the center, and one, the last in order, farther.
    points = np.array([[2, 1], [10, 5], [5, 10], [1, 2], [11, 11]], np.uint8)
    expected = points[[4, 3, 0, 2, 1]][:m].astype(float)
    points = points[::-1] if reverse else points
    center = np.array([[5.0, 5.0]])

    for size in (1, 2, 5):
        parts = [points[i : i + size] for i in range(0, 5, size)]
        blocks = [(part, np.ones(len(part))) for part in parts]
        streamed = PointsInBlocks(lambda blocks=blocks: iter(blocks), 2, 8)
        assert_array_equal(streamed.worst(center, m), expected)
    counted = weighted_points(points, np.ones(5), 8)
    assert_array_equal(counted.worst(center, m), expected)


@pytest.mark.parametrize("ends", [(0, 1000), (-1000, 0)])
def test_a_coarse_grid_has_32_steps_from_end_to_end_of_a_channel(ends):
    points = np.zeros((2048, 3))
    points[:, 1] = np.linspace(*ends, 2048)
    streamed = PointsInBlocks(lambda: iter([(points, np.ones(2048))]), 3, 0)

    means, weights = streamed.coarse(2, 0)

    # Ends are known to 1 %.
    assert 31 <= len(means) <= 33
    assert np.median(weights) == pytest.approx(2048 / 32, rel=0.02)


def test_a_mean_of_equal_floats_is_that_float():
    pixels = np.full((10, 1), 0.1)
    points = PointsInBlocks(lambda: iter([(pixels, np.ones(10))]), 1, 0)

    assert cluster_means(points.partition(pixels[:1]), pixels[:1]) == 0.1


def test_sums_that_floats_would_round_are_the_same_in_any_order():
    # As many pixels as are worth the weight of the first block.
    most = np.full((1, 1), (1 << 32) - 1, np.uint32)
    blocks = [(most, np.array([2.0**33])), *[(most, np.ones(1))] * 99]

    def partition(blocks):
        points = PointsInBlocks(lambda: iter(blocks), 1, 32, are_pixels=True)
        return points.partition(np.zeros((1, 1)))

    (weight,), ((total,),), _ = partition(blocks)
    assert weight == 2**33 + 99
    assert total == float((2**33 + 99) * (2**32 - 1))
    assert partition(blocks[::-1]).sums == total
