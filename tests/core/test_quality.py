import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans._core.quality import (
    are_seen,
    mean_color_error,
    mean_squared_error,
    peak_ratio,
    premultiplied,
    signal_peak,
    squared_errors,
    white_of,
)

pairs = st.sampled_from(["u1", "u2", "f4"]).flatmap(
    lambda dtype: st.lists(
        hnp.arrays(dtype, (2, 3, 4), elements=st.integers(0, 3)), min_size=1, max_size=4
    )
)


def slow_error(before, after, has_alpha):
    """Squared distance of two colors, or None if nothing is seen of the first."""
    white = {"u": np.iinfo, "f": None}[before.dtype.kind]
    white = 1.0 if white is None else float(white(before.dtype).max)
    if not all(math.isfinite(value) for value in before):
        return None
    first, second = [float(v) for v in before], [float(v) for v in after]
    if has_alpha:
        if first[-1] <= 0:
            return None
        # The mean over black and over white.
        steps = [
            (a * first[-1] - b * second[-1]) / white + background
            for background in (0, second[-1] - first[-1])
            for a, b in zip(first[:-1], second[:-1], strict=True)
        ]
        return sum(step**2 for step in steps) / 2
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True))


def slow_mean(pairs, has_alpha):
    errors = [
        slow_error(one, other, has_alpha)
        for before, after in pairs
        for one, other in zip(before, after, strict=True)
    ]
    seen = [error for error in errors if error is not None]
    return sum(seen) / len(seen) if seen else 0.0


@given(pairs, st.booleans(), st.booleans())
def test_mean_is_that_of_one_pixel_after_the_other(pairs, has_alpha, has_hole):
    if has_hole and pairs[0].dtype.kind == "f":
        pairs[0][0, 0, 1], pairs[-1][0, 1, 0] = np.nan, np.inf

    mse = mean_squared_error(iter(pairs), has_alpha)

    assert_allclose(mse, slow_mean(pairs, has_alpha), rtol=1e-12)


@given(pairs, st.data(), st.booleans())
def test_counted_colors_have_the_error_of_their_pixels(pairs, data, has_alpha):
    colors, others = (np.concatenate(some) for some in zip(*pairs, strict=True))
    counts = np.array(data.draw(st.lists(
        st.integers(0, 5), min_size=len(colors), max_size=len(colors)
    )))  # fmt: skip

    mse = mean_color_error(colors, counts, others, has_alpha)

    repeated = [(colors.repeat(counts, axis=0), others.repeat(counts, axis=0))]
    assert_allclose(mse, slow_mean(repeated, has_alpha), rtol=1e-12)


def test_nothing_seen_has_no_error():
    clear = np.array([[9, 9, 0]], np.uint8)

    assert mean_squared_error([(clear, clear + 1)], True) == 0
    assert mean_squared_error([], False) == 0
    assert mean_color_error(clear, np.array([7]), clear + 1, True) == 0


def test_integers_do_not_wrap_around():
    colors, others = np.array([[0, 250]], np.uint8), np.array([[255, 1]], np.uint8)

    assert squared_errors(colors, others, False) == [255**2 + 249**2]


@pytest.mark.parametrize("dtype", ["u8", "i8"])
def test_integers_of_64_bits_differ_by_less_than_floats_can_tell(dtype):
    limits = np.iinfo(dtype)
    colors = np.array([[limits.max, limits.min], [limits.max, 0]], dtype)
    others = np.array([[limits.max - 3, limits.min + 4], [limits.min, 0]], dtype)

    assert_array_equal(squared_errors(colors, others, False), [25, 2.0**128])


def test_seen_is_finite_and_not_fully_transparent():
    colors = np.array([[1, 0], [1, 0.1], [np.nan, 1], [1, np.inf], [0, -1]])

    assert_array_equal(are_seen(colors, True), [False, True, False, False, False])
    assert_array_equal(are_seen(colors, False), [True, True, False, False, True])
    assert are_seen(colors.reshape(5, 1, 2), True).shape == (5, 1)


def test_colors_count_as_far_as_they_are_seen():
    colors = np.array([[200, 100, 51], [8, 8, 0]], np.uint8)

    assert_allclose(premultiplied(colors, 255.0), [[40, 20, 51], [0, 0, 0]])
    assert_array_equal(colors, [[200, 100, 51], [8, 8, 0]])


def test_the_error_is_the_mean_over_black_and_over_white():
    faint = np.array([[255, 255, 255, 51], [0, 0, 0, 51], [90, 90, 90, 255]], np.uint8)
    others = np.array([[8, 8, 8, 0], [8, 8, 8, 0], [93, 90, 90, 255]], np.uint8)

    errors = squared_errors(faint, others, True)

    # What is white is seen over black only, and what is black over white.
    assert_allclose(errors, [3 * 51**2 / 2, 3 * 51**2 / 2, 9])
    # One color and opacity, and four of them.
    for n_colors in (1, 4):
        chosen = [0] * n_colors + [3]
        errors = squared_errors(faint[:, chosen], others[:, chosen], True)
        assert_allclose(errors[:2], n_colors * 51**2 / 2)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "peak"),
    [
        ("u1", 0, 9, 255),
        ("u2", 0, 9, 65535),
        ("i1", 0, 9, 127),
        ("i1", -1, 9, 255),
        ("?", 0, 1, 1),
        ("f4", 0.1, 1, 1),
        ("f4", -0.5, 1, 1.5),
        ("f8", 0, 40, 40),
    ],
)
def test_peak_of_a_dtype_or_of_the_values(dtype, low, high, peak):
    assert signal_peak(np.dtype(dtype), low, high) == peak


def test_white_is_the_largest_integer_or_one():
    assert [white_of(np.dtype(d)) for d in ("u1", "u2", "f4", "?")] == [
        255,
        65535,
        1,
        1,
    ]


def test_decibels():
    # A hundredth of the peak in each of three channels is 40 dB.
    assert_allclose(peak_ratio(3 * 2.55**2, 255.0, 3), 40)
    assert peak_ratio(0.0, 255.0, 3) == math.inf
