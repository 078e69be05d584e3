import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skimage.color import lab2rgb, rgb2lab

from napari_kmeans._core.perceptual import (
    Gamut,
    from_space,
    gamut_between,
    is_convertible,
    to_space,
)

SPACES = ["lab", "oklab"]
BYTES = Gamut(np.dtype(np.uint8), 0.0, 255.0, 255.0)
WORDS = Gamut(np.dtype(np.uint16), 0.0, 65535.0, 65535.0)
UNIT = Gamut(np.dtype(np.float64), 0.0, 1.0, 1.0)
OPEN = Gamut(np.dtype(np.float64), -np.inf, np.inf, 1.0)


def sample(dtype, n=100_000):
    """Colors all over the cube, and so dark ones that the curve is straight there."""
    rng = np.random.default_rng(0)
    largest = np.iinfo(dtype).max
    spread = rng.integers(0, largest, (n, 3), dtype, endpoint=True)
    dark = rng.integers(0, largest // 20, (n, 3), dtype, endpoint=True)
    corners = np.array(np.meshgrid(*[[0, largest]] * 3)).reshape(3, -1).T
    return np.concatenate((spread, dark, corners.astype(dtype)))


def encoded_by_hand(linear):
    """The curve of IEC 61966-2-1, one number at a time, continued as odd function."""
    if linear < 0:
        return -encoded_by_hand(-linear)
    return (
        12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    )


@pytest.mark.parametrize("gamut", [BYTES, WORDS])
def test_lab_points_are_those_of_scikit_image(gamut):
    colors = sample(gamut.dtype)
    expected = rgb2lab(colors / gamut.white)
    assert_allclose(to_space(colors, "lab", gamut), expected, rtol=0, atol=1e-12)


def test_colors_of_lab_points_are_those_of_scikit_image():
    points = rgb2lab(sample(np.uint8) / 255) * [0.9, 1.2, 1.2] + [5, 0, 0]
    # It scatters a little where the straight part of sRGB meets the curve.
    assert_allclose(from_space(points, "lab", UNIT), lab2rgb(points), rtol=0, atol=1e-6)


# Table of Ottosson's post, given to three decimals.
@pytest.mark.parametrize(
    ("xyz", "oklab"),
    [
        ((0.950, 1.000, 1.089), (1.000, 0.000, 0.000)),
        ((1.000, 0.000, 0.000), (0.450, 1.236, -0.019)),
        ((0.000, 1.000, 0.000), (0.922, -0.671, 0.263)),
        ((0.000, 0.000, 1.000), (0.153, -1.415, -0.449)),
    ],
)
def test_oklab_is_the_published_one_with_a_and_b_doubled_even_outside_rgb(xyz, oklab):
    # Inverse of the XYZ of the primaries of sRGB, as IEC 61966-2-1 gives it.
    rgb_of_xyz = [
        [3.2406255, -1.5372080, -0.4986286],
        [-0.9689307, 1.8757561, 0.0415175],
        [0.0557101, -0.2040211, 1.0569959],
    ]
    color = [encoded_by_hand(value) for value in np.dot(rgb_of_xyz, xyz)]
    points = to_space(np.array([color]), "oklab", OPEN) / [1, 2, 2]
    # The published matrices for XYZ and for linear RGB agree to 2e-4, which cube roots
    # of small numbers enlarge.
    assert_allclose(points, [oklab], rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("color", "oklab"),
    [
        ((255, 255, 255), (1.0000, 0.0000, 0.0000)),
        ((255, 0, 0), (0.6280, 0.2249, 0.1258)),
        ((0, 255, 0), (0.8664, -0.2339, 0.1795)),
        ((0, 0, 255), (0.4520, -0.0325, -0.3115)),
    ],
)
def test_primaries_have_their_known_oklab_points(color, oklab):
    points = to_space(np.array([color], np.uint8), "oklab", BYTES) / [1, 2, 2]
    assert_allclose(points, [oklab], rtol=0, atol=1e-4)


@pytest.mark.parametrize("color_space", SPACES)
@pytest.mark.parametrize("gamut", [BYTES, WORDS])
def test_integers_come_back_unchanged(color_space, gamut):
    colors = sample(gamut.dtype)
    back = from_space(to_space(colors, color_space, gamut), color_space, gamut)
    assert back.dtype == gamut.dtype
    assert_array_equal(back, colors)


@pytest.mark.parametrize("color_space", SPACES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_below_black_and_above_white_come_back(color_space, dtype):
    rng = np.random.default_rng(0)
    colors = rng.uniform(-3, 3, (100_000, 3)).astype(dtype)
    gamut = gamut_between(colors.dtype, colors)
    back = from_space(to_space(colors, color_space, gamut), color_space, gamut)
    assert back.dtype == dtype
    # Cube roots lose digits of channels that nearly vanish beside the others.
    assert_allclose(back, colors, rtol=0, atol=1e-11)


@pytest.mark.parametrize("color_space", SPACES)
@pytest.mark.parametrize(("dtype", "gamut"), [(np.uint8, BYTES), (np.uint16, WORDS)])
def test_a_color_has_one_point_in_every_dtype(color_space, dtype, gamut):
    colors = sample(dtype, 1000)
    expected = to_space(colors, color_space, gamut)
    for other in (np.int64, np.float64, np.dtype(dtype).newbyteorder(">")):
        points = to_space(colors.astype(other), color_space, gamut)
        assert_array_equal(points, expected)
    unit = to_space(colors / gamut.white, color_space, UNIT)
    assert_array_equal(unit, expected)


def test_half_floats_are_converted_in_double_precision():
    colors = np.random.default_rng(0).random((1000, 3)).astype(np.float16)
    for color_space in SPACES:
        expected = to_space(colors.astype(np.float64), color_space, UNIT)
        assert_array_equal(to_space(colors, color_space, UNIT), expected)


@pytest.mark.parametrize("color_space", SPACES)
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_a_color_has_the_same_bits_wherever_it_stands(color_space, layout):
    colors = np.random.default_rng(0).random((20_011, 3))
    points = to_space(layout(colors), color_space, UNIT)
    for start in (1, 3, 8191, 8192, 20_010):
        assert_array_equal(to_space(colors[start:], color_space, UNIT), points[start:])
        assert_array_equal(to_space(colors[:start], color_space, UNIT), points[:start])
    assert_array_equal(to_space(colors[::-3], color_space, UNIT), points[::-3])


@pytest.mark.parametrize(("color_space", "white"), [("lab", 100.0), ("oklab", 1.0)])
def test_grays_have_no_hue_and_rise_from_0_to_white(color_space, white):
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    lightness, a, b = to_space(grays, color_space, BYTES).T
    # White of D65 and the sums of the published matrices agree to four digits.
    assert_allclose([a, b], 0, atol=1e-4 * white)
    assert_allclose(lightness[[0, 255]], [0, white], atol=1e-7 * white)
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize("color_space", SPACES)
def test_points_outside_the_gamut_are_clipped_to_it(color_space):
    green = to_space(np.array([[0, 255, 0]], np.uint8), color_space, BYTES)
    points = np.concatenate((green * [1, 1.5, 1.5], green * [1.5, 1, 1], -green))
    for gamut in (BYTES, UNIT):
        colors = from_space(points, color_space, gamut)
        assert_array_equal(colors[0], [0, gamut.white, 0])
        assert_array_equal(colors[1, 1], gamut.white)
        assert colors.min() == 0
        assert colors.max() == gamut.white


@pytest.mark.parametrize("color_space", SPACES)
def test_integers_are_rounded_to_nearest(color_space):
    exact = np.array([[10.4, 10.6, 200.4]])
    points = to_space(exact, color_space, BYTES)
    assert_array_equal(from_space(points, color_space, BYTES), [[10, 11, 200]])


@pytest.mark.parametrize("color_space", SPACES)
def test_extreme_floats_give_finite_points_and_colors(color_space):
    largest = np.finfo(np.float64).max
    values = [-largest, -1e50, -1e-320, 0.0, 1e-320, 1e50, largest]
    colors = np.array(np.meshgrid(values, values, values)).reshape(3, -1).T
    gamut = gamut_between(colors.dtype, colors)
    points = to_space(colors, color_space, gamut)
    back = from_space(points, color_space, gamut)
    assert np.isfinite(np.square(points)).all()
    assert np.isfinite(back).all()


def test_gamut_of_integers_is_their_range():
    assert gamut_between(np.dtype(np.uint8), None) == BYTES
    assert gamut_between(np.dtype(np.uint16), None) == WORDS


def test_gamut_of_floats_holds_black_and_white_and_the_image():
    ends = np.array([[0.2, 0.3, 0.4], [0.5, 0.6, 0.7]], np.float32)
    assert gamut_between(ends.dtype, ends)[1:] == (0.0, 1.0, 1.0)
    ends = np.array([[0.25, -0.5, 0.25], [0.5, 0.5, 3.0]], np.float32)
    assert gamut_between(ends.dtype, ends) == (np.float32, -0.5, 3.0, 1.0)


def test_only_rgb_of_two_integer_and_of_float_dtypes_is_convertible():
    for dtype in ("u1", "u2", ">u2", "f2", "f4", ">f8"):
        assert is_convertible(np.dtype(dtype), 3)
        assert not is_convertible(np.dtype(dtype), 4)
    for dtype in ("?", "i1", "i2", "u4", "u8"):
        assert not is_convertible(np.dtype(dtype), 3)


@pytest.mark.parametrize("color_space", SPACES)
def test_inputs_stay_untouched(color_space):
    colors = sample(np.uint16, 10)
    before = colors.copy()
    points = to_space(colors, color_space, WORDS)
    kept = points.copy()
    from_space(points, color_space, WORDS)
    assert_array_equal(colors, before)
    assert_array_equal(points, kept)


@pytest.mark.parametrize("color_space", SPACES)
def test_no_colors_have_no_points(color_space):
    points = to_space(np.empty((0, 3), np.uint8), color_space, BYTES)
    assert points.shape == (0, 3)
    assert from_space(points, color_space, BYTES).shape == (0, 3)
