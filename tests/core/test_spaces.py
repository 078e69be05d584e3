import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans._core.cells import WIDE
from napari_kmeans._core.perceptual import gamut_between, to_space
from napari_kmeans._core.quality import squared_errors, white_of
from napari_kmeans._core.spaces import (
    Layout,
    centers_of,
    colors_of,
    is_plain,
    opacity_excess,
    points_of,
    shown_centers,
    space_of,
    squared_units,
    unit_of,
    whole_bits,
    whole_space,
)

WHOLE = ["u1", "u2", "u4"]
KINDS = [
    *(("rgb", False, dtype, 3) for dtype in ["?", *WHOLE, "i2", "f2", "f4", "f8"]),
    *(("rgb", True, dtype, 4) for dtype in [*WHOLE, "f4", "f8"]),
    *((name, alpha, dtype, 3 + alpha) for name in ["lab", "oklab"] for alpha in [False, True] for dtype in ["u1", "u2", "f4", "f8"]),
]  # fmt: skip


def some_colors(dtype, n_channels, n=500):
    share = np.random.default_rng(n_channels).random((n, n_channels))
    share[:3] = [[0], [1], [0.5]]
    if dtype == "?" or np.dtype(dtype).kind == "f":
        return share.round().astype(dtype) if dtype == "?" else share.astype(dtype)
    colors = np.rint(share * float(np.iinfo(dtype).max))
    return colors.astype(dtype)


def space_for(name, has_alpha, colors, weights=None):
    layout = Layout(colors.dtype, colors.shape[1], False, name, has_alpha, weights)
    return space_of(layout, lambda: iter([colors[:100], colors[100:]]))


@pytest.mark.parametrize("weights", [None, (0.1, 7.3, 2.5)])
@pytest.mark.parametrize(("name", "has_alpha", "dtype", "n_channels"), KINDS)
def test_colors_come_back_from_their_points(
    name, has_alpha, dtype, n_channels, weights
):
    colors = some_colors(dtype, n_channels)
    space = space_for(name, has_alpha, colors, weights)

    points = points_of(colors, space)
    back = colors_of(centers_of(colors, space), space)

    assert (points >= 0).all() or points.dtype.kind == "f"
    assert_array_equal(points, centers_of(colors, space))
    assert back.dtype == colors.dtype
    if has_alpha:
        hidden = colors[:, -1] == 0
        assert_array_equal(back[hidden], 0)
        back, colors = back[~hidden], colors[~hidden]
    if np.dtype(dtype).kind == "f":
        assert_allclose(back, colors, atol=np.finfo(dtype).eps * 16)
    elif dtype == "u4" and has_alpha:
        # Products of 32 bits do not fit the 53 of float64.
        assert_allclose(back, colors, rtol=1e-6, atol=2)
    else:
        assert_array_equal(back, colors)


def over(background, name, has_alpha, colors):
    """Coordinates of what is seen over black, or white, in units of the image."""
    located, white, opacity = colors.astype(float), white_of(colors.dtype), 1.0
    full = np.full(located.shape[1] - has_alpha, white)
    if name != "rgb":
        full = np.array([{"lab": 100, "oklab": 1}[name], 0, 0])
        is_float = colors.dtype.kind == "f"
        ends = np.array([[0, 0, 0], [1, 1, 1]], colors.dtype) if is_float else None
        located = to_space(colors[:, :3], name, gamut_between(colors.dtype, ends))
    elif has_alpha:
        located = located[:, :-1]
    if has_alpha:
        opacity = colors[:, -1:].astype(float) / white
    return located * opacity + (1 - opacity) * full * background


@pytest.mark.parametrize("weights", [None, (0.1, 7.3, 2.5)])
@pytest.mark.parametrize(("name", "has_alpha", "dtype", "n_channels"), KINDS)
def test_distances_are_the_mean_of_those_over_black_and_over_white(
    name, has_alpha, dtype, n_channels, weights
):
    colors = some_colors(dtype, n_channels)
    space = space_for(name, has_alpha, colors, weights)

    points = points_of(colors, space).astype(float)
    squares = np.square(points - points[0])

    squares[:, -1] *= 1 - opacity_excess(space)
    found = [squared_units(mse, space) for mse in squares.sum(axis=1)]
    expected = 0
    for background in (0, 1):
        seen = over(background, name, has_alpha, colors)
        steps = (seen - seen[0]) * (weights or 1)
        expected = expected + np.square(steps).sum(axis=1) / 2
    assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("name", "has_alpha", "dtype", "n_channels"), KINDS)
def test_weighted_points_are_no_whole_numbers(name, has_alpha, dtype, n_channels):
    colors = some_colors(dtype, n_channels)
    space = space_for(name, has_alpha, colors, (0.1, 7.3, 2.5))

    points = points_of(colors, space)

    assert whole_bits(space) == 0
    assert not is_plain(space)
    # Cells take all of them together, as they do whole numbers.
    assert np.abs(points).max() <= WIDE


@pytest.mark.parametrize(("name", "has_alpha", "dtype", "n_channels"), KINDS)
def test_shown_centers_are_colors_not_rounded(name, has_alpha, dtype, n_channels):
    colors = some_colors(dtype, n_channels)
    space = space_for(name, has_alpha, colors)
    centers = centers_of(colors, space).mean(axis=0, keepdims=True)

    shown = shown_centers(centers, space)
    rounded = colors_of(centers, space)

    assert shown.dtype == np.float64
    step = 0.5 if np.dtype(dtype).kind != "f" else np.finfo(dtype).eps * 4
    # Opacity is rounded before colors are divided by it.
    assert_allclose(shown, rounded, atol=2 * step if has_alpha else step, rtol=1e-6)


@pytest.mark.parametrize("dtype", [*WHOLE, "f4", "f8"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_errors_of_points_in_units_are_those_of_colors(dtype, has_alpha):
    colors = some_colors(dtype, 4)
    space = space_for("rgb", has_alpha, colors)
    others = colors[::-1]

    points = (points_of(some, space).astype(float) for some in (colors, others))
    squares = np.square(np.subtract(*points))
    squares[:, -1] *= 1 - opacity_excess(space)
    squared = squares.sum(axis=1).mean()

    expected = squared_errors(colors, others, has_alpha).mean()
    assert_allclose(squared_units(squared, space), expected, rtol=1e-9)


@pytest.mark.parametrize("largest", [9, 2**60, 2**64 - 1])
def test_units_of_integers_are_those_of_the_image(largest):
    colors = np.array([[0], [5], [largest]], np.uint64)

    assert unit_of(space_for("rgb", False, colors)) == 1


def test_fully_transparent_colors_are_one_point():
    colors = np.array([[0, 0, 0, 0], [255, 9, 7, 0], [1, 1, 1, 255]], np.uint8)

    for name in ("rgb", "lab", "oklab"):
        points = points_of(colors, space_for(name, True, colors))
        assert_array_equal(points[0], points[1])
        assert (points[2] != points[0]).any()


def test_what_is_clear_is_between_black_and_white():
    colors = [[0, 0, 0, 255], [9, 8, 7, 0], [255, 255, 255, 255]]
    colors = np.array(colors, np.uint8)

    for name, white in (("lab", 100.0), ("oklab", 1.0)):
        space = space_for(name, True, colors)
        points = points_of(colors, space) / space.frame.scale
        # Half of it is seen over black, and half is lacking over white.
        expected = np.array([[0, 0, 0, 1], [1, 0, 0, 0], [2, 0, 0, 1]]) * white / 2
        assert_allclose(points - points[0] + expected[0], expected, atol=white * 1e-4)


@pytest.mark.parametrize(("n_colors", "steps"), [(1, 4), (3, 7), (4, 8), (5, 9)])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_whole_coordinates_are_seen_over_gray_and_have_no_overflow(
    dtype, n_colors, steps
):
    white = np.iinfo(dtype).max
    values = [(9, white), (white, white // 3), (white, white), (7, 0), (0, white)]
    colors = np.array([[c] * n_colors + [a] for c, a in values], dtype)
    layout = Layout(colors.dtype, n_colors + 1, False, "rgb", True)

    for space in (whole_space(layout), space_of(layout, lambda: [colors])):
        points = points_of(colors, space)

        # Each point is less the least one: that of opaque black, and no opacity.
        expected = [
            [8 * c * a + 4 * white * (white - a)] * n_colors + [steps * white * a]
            for c, a in values
        ]
        assert points.tolist() == expected
        assert points.dtype == {"u1": np.uint32, "u2": np.uint64}[dtype]
        assert_array_equal(points, centers_of(colors, space))
        assert max(map(max, expected)) < 2 ** whole_bits(space)


@pytest.mark.parametrize(
    ("name", "dtype"), [("rgb", "f4"), ("rgb", "u4"), ("lab", "f8")]
)
def test_opaque_points_are_those_of_the_colors(name, dtype):
    colors = some_colors(dtype, 3)
    full = np.full((len(colors), 1), white_of(colors.dtype), dtype)

    space = space_for(name, True, np.hstack((colors, full)))
    points = points_of(np.hstack((colors, full)), space) / unit_of(space)

    plain = space_for(name, False, colors)
    expected = points_of(colors, plain).astype(float) / unit_of(plain)
    if dtype == "u4":
        # Products with white have more than the 53 bits of float64.
        assert_allclose(points[:, :3], expected, rtol=1e-15)
    else:
        assert_array_equal(points[:, :3], expected)
    assert np.ptp(points[:, 3]) == 0


@pytest.mark.parametrize(
    ("name", "has_alpha", "dtype", "n_bits"),
    [
        ("rgb", False, "u1", 8),
        ("rgb", False, "i8", 64),
        ("rgb", False, "f4", 0),
        ("rgb", True, "u1", 19),
        ("rgb", True, "u2", 35),
        ("rgb", True, "u4", 0),
        ("lab", False, "u1", 0),
    ],
)
def test_points_are_whole_numbers_of_so_many_bits(name, has_alpha, dtype, n_bits):
    colors = np.zeros((2, 3 + has_alpha), dtype)
    colors[1] = 1 if dtype == "f4" else np.iinfo(dtype).max
    space = space_for(name, has_alpha, colors)

    assert whole_bits(space) == n_bits
    if n_bits:
        points = points_of(colors, space).astype(float)
        assert_array_equal(points, np.rint(points))
        assert points.max() <= 2.0**n_bits


def test_opacity_of_64_bits_stays_below_its_end():
    top = np.iinfo(np.uint64).max
    colors = np.array([[0, 5, 6, 7], [top, top, top, top]], np.uint64)
    space = space_for("rgb", True, colors)

    back = colors_of(centers_of(colors, space), space)

    assert (back[1] >= top - 4096).all()
    assert back[0, 3] == 7


def test_initial_colors_of_no_opacity_or_too_much_become_colors():
    colors = some_colors("u1", 4)
    space = space_for("rgb", True, colors)
    given = np.array([[9.0, 9, 9, -3], [9, 9, 9, 300], [300, -7, 9, 255]])

    rounded = colors_of(centers_of(given, space), space)

    # A color that is more than opaque is brighter over black, and darker over white.
    assert_array_equal(rounded, [[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 9, 255]])


@pytest.mark.parametrize("name", ["rgb", "lab", "oklab"])
@pytest.mark.parametrize(("dtype", "opacity"), [("f2", 1e-9), ("f4", 1e-50)])
def test_colors_whose_opacity_rounds_to_nothing_are_clear(name, dtype, opacity):
    colors = some_colors(dtype, 4)
    space = space_for(name, True, colors)
    hidden = np.array([[0.5, 0.25, 0.75, opacity], [1, 1, 1, 0]])

    assert_array_equal(colors_of(centers_of(hidden, space), space), 0)
