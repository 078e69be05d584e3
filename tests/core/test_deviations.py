import math
from fractions import Fraction

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from core_cases import integers
from napari_kmeans import ColorCounts
from napari_kmeans._core import chunks, color_counts
from napari_kmeans._core.counted_image import count_image
from napari_kmeans._core.deviations import standard_deviations

DTYPES = ["?", "u1", "i1", ">u2", "i2", "u4", "i4", "u8", "i8"]
pictures = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, (3, 4, 2), elements=integers(dtype))
)


def plain_deviations(columns, counts):
    """Fractions of Python's integers, rounded at the end."""
    n, found = sum(counts), []
    for column in columns:
        mean = Fraction(sum(map(int.__mul__, counts, column)), n)
        square = sum(m * (x - mean) ** 2 for m, x in zip(counts, column, strict=True))
        found.append(math.sqrt(square / n) or 1.0)
    return found


@pytest.mark.parametrize("dtype", ["u4", "i4", "u8", "i8"])
@pytest.mark.parametrize("n", [1, 3, 1 << 40])
def test_sums_of_large_and_small_integers_are_not_rounded(dtype, n):
    counts = np.array([n, n + 1, n])
    for bits in range(25, int(np.iinfo(dtype).max).bit_length() + 1):
        top = (1 << bits) - 1
        colors = np.array([[9, 9], [top, 8], [top // 3, 9]], dtype)

        found = standard_deviations(count_image(ColorCounts(colors, counts)))

        columns = [[9, top, top // 3], [9, 8, 9]]
        assert found == plain_deviations(columns, counts.tolist())


@given(image=pictures, n=st.sampled_from([1, 1000, 1 << 40]))
def test_those_of_integers_are_exact_whatever_their_size_and_number(image, n):
    colors = np.unique(image.reshape(-1, 2), axis=0)
    counts = n + np.arange(len(colors))

    found = standard_deviations(count_image(ColorCounts(colors, counts)))

    columns = [list(map(int, column)) for column in colors.T.tolist()]
    assert found == plain_deviations(columns, counts.tolist())


@given(image=pictures, seed=st.integers(0, 99))
def test_those_of_integers_do_not_depend_on_order_or_counting(image, seed):
    expected = standard_deviations(count_image(image))

    shuffled = np.random.default_rng(seed).permutation(image, axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(color_counts, "MAX_COUNTED", 1)
        patch.setattr(chunks, "_GROUP", 30)
        parts = shuffled, shuffled[:2], da.from_array(shuffled, (2, 3, 1))
        whole, part, lazy = (standard_deviations(count_image(p)) for p in parts)

    assert whole == lazy == expected
    assert part == standard_deviations(count_image(shuffled[:2]))


@pytest.mark.parametrize("is_counted", [True, False])
def test_those_of_floats_are_those_of_numpy(monkeypatch, is_counted):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 10_000 if is_counted else 1)
    image = np.random.default_rng(0).normal(
        [1e6, 0, -3e-9], [1, 1e-30, 2e-9], (9, 50, 3)
    )
    image[3, 3] = np.nan

    found = standard_deviations(count_image(image))
    lazy = standard_deviations(count_image(da.from_array(image, (2, 21, 3))))

    assert_allclose(found, np.nanstd(image, axis=(0, 1)), rtol=1e-9)
    assert_allclose(lazy, found, rtol=0 if is_counted else 1e-12)


def test_fitted_pixels_alone_are_looked_at_in_all_images():
    image = np.random.default_rng(1).integers(0, 99, (6, 8, 3), np.uint16)
    masks = [image[..., 0] < 60, image[:4, :, 1] > 20]

    found = standard_deviations(count_image([image, image[:4]], mask=masks))

    pixels = np.concatenate([image[masks[0]], image[:4][masks[1]]])
    assert_allclose(found, pixels.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_with_opacity_they_are_those_of_colors_over_gray(dtype):
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    # Many repeat.
    share = np.random.default_rng(2).integers(0, 3, (20, 30, 4)) / 2
    image = (share * white).astype(dtype)

    found = standard_deviations(count_image(image, alpha=True))

    seen = image[image[..., 3] > 0].astype(float)
    over_gray = seen[:, :3] * seen[:, 3:] / white + (white - seen[:, 3:]) / 2
    assert_allclose(found, over_gray.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["u1", "u8", "f2", "f8"])
def test_a_constant_channel_has_one_and_so_has_what_is_never_seen(dtype):
    image = np.zeros((2, 3, 3), dtype)
    image[..., 0] = [[1, 2, 1], [2, 1, 2]]
    image[..., 1] = 7

    assert standard_deviations(count_image(image)) == [0.5, 1, 1]
    if dtype != "u8":
        clear = np.insert(image, 3, 0, axis=-1)
        assert standard_deviations(count_image(clear, alpha=True)) == [1, 1, 1]


@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_hues_of_grays_do_not_differ(space):
    grays = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)

    lightness, *hues = standard_deviations(count_image(grays, color_space=space))

    assert_array_equal(hues, [1, 1])
    assert lightness > 0.2
