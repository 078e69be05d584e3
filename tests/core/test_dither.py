import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from scipy.ndimage import uniform_filter
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from napari_kmeans import map_to_palette
from napari_kmeans._core.dither import (
    Mixtures,
    diffuse_error,
    error_limit,
    mix_colors,
    pick_labels,
)
from napari_kmeans._core.nearest import nearest

BLACK_AND_WHITE = np.array([[0.0], [255.0]])


def nearest_labels(points, centers):
    labels, _ = nearest(points.reshape(-1, points.shape[-1]), centers)
    return labels.reshape(points.shape[:-1])


def diffuse_one_by_one(points, centers, labels, fixed, strength=1.0):
    """Dither a plane (rows, columns, C) in two loops."""
    rows, columns, n_channels = points.shape
    result, limit = labels.copy(), error_limit(centers)
    errors = np.zeros((rows + 1, columns + 2, n_channels))
    for y in range(rows):
        for x in range(columns):
            label = labels[y, x]
            if fixed[y, x] or (points[y, x] == centers[label]).all():
                continue
            above, here = errors[y, x : x + 3], errors[y + 1, x : x + 2]
            right, left_below, below, right_below = (
                np.array([7, 3, 5, 1]) / 16 * strength
            )
            value = points[y, x] + right * here[0]
            value = value + right_below * above[0] + below * above[1]
            value = value + left_below * above[2]
            distance = sum((value[c] - centers[:, c]) ** 2 for c in range(n_channels))
            result[y, x] = label = distance.argmin()
            error = value - centers[label]
            squared = sum(error**2)
            if squared > limit * limit:
                error *= limit / np.sqrt(squared)
            here[1] = error
    return result


# Small integers make ties, and colors that are exactly in the palette.
numbers = st.sampled_from(
    [st.integers(-4, 4).map(float), st.floats(-1, 1), st.floats(1e6, 1e6 + 1)]
)
sizes = st.tuples(
    st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 4)
)
cases = st.tuples(sizes, st.integers(1, 6), numbers).flatmap(
    lambda drawn: st.tuples(
        hnp.arrays(np.float64, drawn[0], elements=drawn[2]),
        hnp.arrays(np.float64, (drawn[1], drawn[0][-1]), elements=drawn[2]),
        hnp.arrays(bool, drawn[0][:-1]),
        st.sampled_from([1.0, 0.5, 0.3]),
    )
)


@given(cases)
def test_wavefronts_give_the_labels_of_two_loops_plane_by_plane(case):
    points, centers, fixed, strength = case
    labels = nearest_labels(points, centers)

    result = diffuse_error(points, centers, labels, fixed, strength)

    for i in range(len(points)):
        plane = points[i], centers, labels[i], fixed[i]
        expected = diffuse_one_by_one(*plane, strength)
        assert_array_equal(result[i], expected)


@pytest.mark.parametrize("shape", [(1, 90), (90, 1), (90, 2), (70, 80), (30, 130)])
@pytest.mark.parametrize(
    ("n_channels", "origin"), [(1, 0), (3, 0), (12, 0), (3, 2**50)]
)
def test_images_of_any_shape_have_the_labels_of_two_loops(shape, n_channels, origin):
    # Beyond 2^50 numbers are multiples of 1/4, so that the order of sums matters.
    rng = np.random.default_rng(0)
    points = origin + 16 * rng.random((*shape, n_channels))
    centers = origin + 4 + 8 * rng.random((20, n_channels))
    labels = nearest_labels(points, centers)

    result = diffuse_error(points, centers, labels)

    none = np.zeros(shape, dtype=bool)
    assert_array_equal(result, diffuse_one_by_one(points, centers, labels, none))
    assert (result != labels).any()


@pytest.mark.parametrize(
    ("target", "part"), [((0, 2), 49), ((1, 0), 21), ((1, 1), 35), ((1, 2), 7)]
)
def test_errors_go_right_and_below_in_sixteenths(target, part):
    # 112 is black, and 127.5 too, but no more. All others keep out of it.
    points = np.zeros((2, 3, 1))
    points[0, 1] = 112
    fixed = points[..., 0] == 0
    fixed[target] = False
    labels = np.zeros((2, 3), dtype=np.uint8)

    for gray, expected in [(127.5 - part, 0), (127.75 - part, 1)]:
        points[target] = gray
        result = diffuse_error(points, BLACK_AND_WHITE, labels, fixed)
        assert result[target] == expected


def test_a_row_without_rows_is_dithered_as_one_row():
    points = np.full((50, 1), 100.0)
    labels = np.zeros(50, dtype=np.uint8)

    result = diffuse_error(points, BLACK_AND_WHITE, labels)

    row = diffuse_error(points[np.newaxis], BLACK_AND_WHITE, labels[np.newaxis])
    assert_array_equal(result, row[0])
    assert result.any()


def test_a_tie_goes_to_the_lowest_index():
    points = np.array([[[127.5]]])
    label = np.zeros((1, 1), dtype=np.uint8)

    for centers in (BLACK_AND_WHITE, BLACK_AND_WHITE[::-1]):
        assert diffuse_error(points, centers, label) == 0


@pytest.mark.parametrize("centers", [[[7.0]], [[7.0], [7.0]]])
def test_one_color_is_given_to_all(centers):
    points = np.arange(12.0).reshape(3, 4, 1)
    labels = np.zeros((3, 4), dtype=np.uint8)

    assert_array_equal(diffuse_error(points, np.array(centers), labels), labels)


def test_copies_of_colors_are_not_used():
    centers = np.array([[0.0], [0], [255], [0], [255]])
    points = np.full((9, 9, 1), 100)

    result = diffuse_error(points, centers, np.zeros((9, 9), dtype=np.uint8))

    assert_array_equal(np.unique(result), [0, 2])


def test_colors_too_close_to_tell_apart_are_dithered_without_error():
    centers = np.array([[0.0], [1e-200], [1e-170]])
    points = np.linspace(0, 1, 30).reshape(5, 6, 1) * 1e-160

    result = diffuse_error(points, centers, np.zeros((5, 6), dtype=np.uint8))

    assert not result.any()


def test_labels_are_new_and_keep_their_dtype():
    points = np.full((4, 4, 1), 100, dtype=np.uint8)
    labels = np.zeros((4, 4), dtype=np.uint16)

    result = diffuse_error(points, BLACK_AND_WHITE, labels)

    assert result.dtype == np.uint16
    assert result.any()
    assert not labels.any()


def test_points_may_lie_in_memory_in_any_order():
    points = np.random.default_rng(0).random((5, 3, 40, 30))
    points = np.moveaxis(points, 1, -1)[::-1, :, ::-1]
    centers = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 1]])
    labels = nearest_labels(points, centers)

    result = diffuse_error(points, centers, np.asfortranarray(labels))

    expected = diffuse_error(np.ascontiguousarray(points), centers, labels)
    assert_array_equal(result, expected)


def test_points_are_not_copied():
    points = np.random.default_rng(0).random((500, 1000, 3))
    labels = np.zeros(points.shape[:-1], dtype=np.uint8)
    tracemalloc.start()
    diffuse_error(points, np.eye(3), labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < points.nbytes / 2


@pytest.mark.parametrize(
    ("name", "size"),
    [("blocks._BLOCK", 100), ("dither._ROWS", 100), ("dither._ROWS", 10)],
)
def test_the_size_of_blocks_is_irrelevant(monkeypatch, name, size):
    rng = np.random.default_rng(0)
    points, centers = rng.random((6, 20, 15, 3)), rng.random((9, 3))
    labels = nearest_labels(points, centers)
    expected = diffuse_error(points, centers, labels)
    mixtures = mix_colors(points.reshape(-1, 3), centers, labels.ravel())

    monkeypatch.setattr(f"napari_kmeans._core.{name}", size)

    assert_array_equal(diffuse_error(points, centers, labels), expected)
    again = mix_colors(points.reshape(-1, 3), centers, labels.ravel())
    assert_array_equal(again.labels, mixtures.labels)
    assert_array_equal(again.bounds, mixtures.bounds)


def test_colors_of_the_palette_are_left_alone_and_stop_errors():
    # Noise on the left would otherwise reach the flat area, and what follows it.
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 255, (40, 60, 1))
    points[:, 20:40] = 0
    labels = nearest_labels(points, BLACK_AND_WHITE)

    result = diffuse_error(points, BLACK_AND_WHITE, labels)

    assert not result[:, 20:40].any()
    right = diffuse_error(points[:, 40:], BLACK_AND_WHITE, labels[:, 40:])
    assert_array_equal(result[:, 40:], right)


@pytest.mark.parametrize("hidden", [np.nan, np.inf, -1e300])
def test_fixed_pixels_keep_any_label_and_stop_errors(hidden):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 255, (40, 60, 1))
    labels = nearest_labels(points, BLACK_AND_WHITE)
    points[:, 20:40], labels[:, 20:40] = hidden, 77

    result = diffuse_error(points, BLACK_AND_WHITE, labels, labels == 77)

    assert (result[:, 20:40] == 77).all()
    for part in (slice(0, 20), slice(40, 60)):
        alone = diffuse_error(points[:, part], BLACK_AND_WHITE, labels[:, part])
        assert_array_equal(result[:, part], alone)


def test_diffused_gray_ramp_keeps_its_local_mean_on_black_and_white():
    ramp = np.broadcast_to(np.linspace(0, 255, 512), (128, 512))[..., np.newaxis]
    labels = nearest_labels(ramp, BLACK_AND_WHITE)

    shown = BLACK_AND_WHITE[diffuse_error(ramp, BLACK_AND_WHITE, labels), 0]

    # Of 32 x 32 pixels, the errors of those along the edges lie outside.
    mean = uniform_filter(shown - ramp[..., 0], 32)[16:-16, 16:-16]
    assert np.abs(mean).max() < 4


def test_colors_between_the_corners_of_a_cube_keep_their_local_mean():
    corners = np.array(np.meshgrid([0, 255.0], [0, 255.0], [0, 255.0])).reshape(3, 8).T
    for color in np.random.default_rng(0).uniform(0, 255, (10, 3)):
        points = np.broadcast_to(color, (96, 96, 3))

        labels = diffuse_error(points, corners, nearest_labels(points, corners))

        mean = corners[labels][32:, 16:-16].mean(axis=(0, 1))
        np.testing.assert_allclose(mean, color, atol=3)


def test_gray_is_mixed_from_a_wheel_of_hues():
    angle = np.arange(64) * 2 * np.pi / 64
    wheel = 128 + 100 * np.column_stack((np.cos(angle), np.sin(angle)))
    points = np.broadcast_to([131.0, 125.0], (96, 96, 2))

    labels = diffuse_error(points, wheel, nearest_labels(points, wheel))

    mean = wheel[labels][32:, 16:-16].mean(axis=(0, 1))
    np.testing.assert_allclose(mean, [131, 125], atol=3)


@pytest.mark.parametrize("axis", [0, 1])
def test_light_beyond_white_does_not_smear_over_the_dark(axis):
    points = np.full((96, 96), 5.0)
    bright = [slice(None), slice(None)]
    bright[axis] = slice(0, 48)
    points[tuple(bright)] = 1000
    points = points[..., np.newaxis]

    result = diffuse_error(
        points, BLACK_AND_WHITE, nearest_labels(points, BLACK_AND_WHITE)
    )

    dark = np.moveaxis(result, axis, 0)[48:]
    assert np.moveaxis(result, axis, 0)[:48].all()
    # An error is at most half of white, so half of the border; 5/255 are due.
    assert dark[:8].sum() <= 48 + 8 * 96 * 5 / 255
    assert dark[8:].mean() < 1.5 * 5 / 255


def test_limit_is_half_the_gap_of_one_channel_and_half_the_diagonal_of_a_cube():
    assert error_limit(np.array([[0.0], [200], [3], [90]])) == 55
    corners = np.array(np.meshgrid([0, 2], [0, 2], [0, 2])).reshape(3, 8).T
    assert error_limit(corners.astype(float)) == np.sqrt(3.0)
    assert error_limit(np.ones((5, 3))) == 0


@given(hnp.arrays(np.float64, (12, 3), elements=st.integers(0, 20).map(float)))
def test_limit_follows_the_minimum_spanning_tree_and_the_mean(centers):
    distinct = np.unique(centers, axis=0)
    gap = minimum_spanning_tree(cdist(distinct, distinct)).max()
    middle = cdist(centers.mean(axis=0, keepdims=True), centers).min()

    expected = max(gap * np.sqrt(3) / 2, middle)

    np.testing.assert_allclose(error_limit(centers), expected, rtol=1e-12)


@pytest.mark.parametrize("far", [slice(4321, None), slice(4321, 4322)])
def test_limit_of_many_centers_is_not_below_half_their_widest_gap(far):
    # Every fifth is looked at, so not the one that is far from all others.
    centers = np.arange(5000.0)[:, np.newaxis]
    centers[far] += 7000

    gap = np.diff(np.sort(centers[:, 0])).max()

    assert gap / 2 <= error_limit(centers) <= gap / 2 + 4


def shares_of(mixtures, n_centers):
    """Return the share (n, K) of each center in mixtures."""
    n = mixtures.labels.shape[1]
    bounds = np.vstack((np.zeros(n), mixtures.bounds, np.ones(n)))
    shares = np.zeros((n, n_centers))
    for labels, part in zip(mixtures.labels, np.diff(bounds, axis=0), strict=True):
        np.add.at(shares, (np.arange(n), labels), part)
    return shares


def score(point, centers, share, strength):
    """Return what a mixture is to have least of, with squared distances to centers."""
    s = strength * (1 - len(centers) / 256)
    mean = share @ centers - point
    return s * (mean**2).sum() + (1 - s) * share @ ((centers - point) ** 2).sum(axis=1)


def mix_by_comparing_pairs(point, centers, first, strength):
    """Return the lowest score of two centers, of which one is the first."""
    s, best = strength * (1 - len(centers) / 256), np.inf
    for j, center in enumerate(centers):
        d, p = center - centers[first], point - centers[first]
        share = np.zeros(len(centers))
        if d @ d > 0:
            share[j] = np.clip((d @ p - (1 - s) / 2 * (d @ d)) / (s * (d @ d)), 0, 1)
        share[first] += 1 - share.sum()
        best = min(best, score(point, centers, share, strength))
    return best


@given(
    hnp.arrays(np.float64, (20, 3), elements=st.floats(0, 1)),
    hnp.arrays(np.float64, (9, 3), elements=st.floats(0, 1)),
    st.sampled_from([1.0, 0.7, 0.2]),
)
def test_mixtures_are_better_than_all_pairs_with_the_nearest_center(
    points, centers, strength
):
    labels = nearest_labels(points, centers)

    mixtures = mix_colors(points, centers, labels, strength)

    shares = shares_of(mixtures, len(centers))
    assert (np.diff(mixtures.labels.astype(int), axis=0) >= 0).all()
    assert (np.diff(mixtures.bounds, axis=0) >= 0).all()
    for point, share, first in zip(points, shares, labels, strict=True):
        best = mix_by_comparing_pairs(point, centers, first, strength)
        assert score(point, centers, share, strength) <= best + 1e-5


def test_mixtures_are_the_best_of_all():
    rng = np.random.default_rng(0)
    points, centers = rng.random((200, 3)), rng.random((16, 3))

    mixtures = mix_colors(points, centers, nearest_labels(points, centers))

    shares, s = shares_of(mixtures, 16), 1 - 16 / 256
    means = shares @ centers
    # A convex function is above its tangents: no mixture is lower by more than this.
    slopes = (1 - s) * cdist(points, centers) ** 2
    slopes += 2 * s * ((means - points) @ centers.T)
    above = (shares * slopes).sum(axis=1) - slopes.min(axis=1)
    assert above.max() < 1e-5
    assert (shares > 0).sum(axis=1).max() == 4


@pytest.mark.parametrize("far", [1e2, 1e4, 1e9, 1e30, 1e140])
def test_a_far_center_leaves_the_mixtures_of_the_others_alone(far):
    rng = np.random.default_rng(0)
    points, centers = rng.random((200, 3)), rng.random((20, 3))
    more = np.vstack((centers, [[far, far, -far]]))
    labels = nearest_labels(points, centers)

    shares = shares_of(mix_colors(points, more, labels), 21)

    expected = shares_of(mix_colors(points, centers, labels), 20)
    np.testing.assert_allclose(shares[:, :20], expected, atol=1e-6)
    assert (expected > 0).sum(axis=1).max() == 4


@pytest.mark.parametrize("far", [1e5, 1e18, 3e34, 1e100])
def test_points_far_beyond_all_centers_are_not_mixed(far):
    # They are as far from both centers, as far as rounding tells.
    points, labels = np.array([[far], [-far]]), np.array([0, 1])

    mixtures = mix_colors(points, np.array([[0.0], [1]]), labels)

    np.testing.assert_array_equal(shares_of(mixtures, 2), [[0, 1], [1, 0]])


def test_a_mixture_by_hand():
    # s = 1 - 4/256 = 63/64: along x, the best share of 8 in 2 is (16 - 64/128)/63.
    centers = np.array([[0.0, 0], [8, 0], [0, 8], [30, 0]])
    points = np.array([[2, 0], [0, 3], [0, 8], [-1, -1], [20, 0]])
    labels = np.array([0, 0, 2, 0, 3])

    shares = shares_of(mix_colors(points, centers, labels), 4)

    expected = np.zeros((5, 4))
    expected[0, 1] = (16 - 1 / 2) / 63
    expected[1, 2] = (24 - 1 / 2) / 63
    expected[4, 1] = (10 * 22 - 22**2 / 128) / (22**2 * 63 / 64)
    expected[[0, 1, 2, 3, 4], labels] = 1 - expected.sum(axis=1)
    np.testing.assert_allclose(shares, expected, atol=1e-6)


def test_half_strength_mixes_only_the_middle_half():
    # s = 127/256: the share is 0 below (1 - s)/2 of the gap, about a quarter.
    points = np.arange(0, 128.0)[:, np.newaxis]
    labels = np.zeros(128, dtype=np.uint8)

    shares = shares_of(mix_colors(points, BLACK_AND_WHITE, labels, 0.5), 2)

    s = 0.5 * (1 - 2 / 256)
    expected = np.clip((points[:, 0] / 255 - (1 - s) / 2) / s, 0, 1)
    np.testing.assert_allclose(shares[:, 1], expected, atol=1e-6)
    assert np.count_nonzero(expected) == 63


def test_shares_do_not_jump_from_color_to_color():
    # A sky: from a blue to a lighter one, past 16 colors of the same kind.
    rng = np.random.default_rng(0)
    ends = np.array([[60.0, 100, 170], [160, 190, 220]])
    sky = np.linspace(*ends, 1000)
    centers = np.linspace(*ends, 16) + rng.normal(0, 12, (16, 3))

    shares = shares_of(mix_colors(sky, centers, nearest_labels(sky, centers)), 16)

    # Each of 1000 steps may give 4 % of the pixels to other centers.
    assert np.abs(np.diff(shares, axis=0)).sum(axis=1).max() / 2 < 0.04
    assert (shares > 0.01).any(axis=0).sum() > 8


def test_mixtures_do_not_depend_on_the_other_points():
    rng = np.random.default_rng(0)
    points, centers = rng.random((300, 3)), rng.random((50, 3))
    labels = nearest_labels(points, centers)

    mixed, bounds = mix_colors(points, centers, labels)

    for i in range(300):
        alone = mix_colors(points[i : i + 1], centers, labels[i : i + 1])
        assert_array_equal(alone.labels[:, 0], mixed[:, i])
        assert_array_equal(alone.bounds[:, 0], bounds[:, i])


def test_copies_of_the_nearest_center_do_not_hide_the_others():
    centers = np.repeat([[0.0], [255.0]], [100, 1], axis=0)

    shares = shares_of(mix_colors(np.array([[51.0]]), centers, np.array([0])), 101)

    assert_array_equal(np.flatnonzero(shares), [0, 100])


def test_centers_too_close_to_tell_apart_are_mixed_without_error():
    centers = np.array([[0.0], [1e-20], [1e-170], [1e-200]])

    mixtures = mix_colors(np.array([[1.0]]), centers, np.array([0]))

    assert np.isfinite(mixtures.bounds).all()


def test_one_center_is_mixed_with_nothing():
    mixtures = mix_colors(np.array([[3], [9]]), np.array([[7.0]]), np.zeros(2, int))

    assert_array_equal(mixtures.labels, [[0, 0]])
    assert mixtures.bounds.shape == (0, 2)


def pick_gray(levels):
    """Dither gray levels (rows, columns) in black and white."""
    points = levels.reshape(-1, 1)
    labels = nearest_labels(points, BLACK_AND_WHITE)
    mixtures = mix_colors(points, BLACK_AND_WHITE, labels)
    return pick_labels(mixtures, np.arange(levels.size).reshape(levels.shape))


def pick_share(share, shape=(64, 64)):
    """Return the pixels that a share of white is given to."""
    mixtures = Mixtures(np.array([[0], [1]]), np.array([[1 - share]], np.float32))
    return pick_labels(mixtures, np.zeros(shape, dtype=int))


@given(st.floats(0, 1), st.integers(0, 63), st.integers(0, 63))
def test_every_64_by_64_pixels_have_exactly_the_share_of_a_color(share, row, col):
    white = pick_share(share, (128, 128))[row : row + 64, col : col + 64]

    assert abs(white.sum() - 4096 * share) <= 0.501


def test_ordered_gray_ramp_keeps_its_local_mean_on_black_and_white():
    ramp = np.broadcast_to(np.linspace(0, 255, 512), (128, 512))

    mean = uniform_filter(255.0 * pick_gray(ramp) - ramp, 32)[16:-16, 16:-16]

    assert np.abs(mean).max() < 4


def test_half_of_the_pixels_are_a_checkerboard():
    assert_array_equal(pick_share(0.5), np.indices((64, 64)).sum(axis=0) % 2)


@pytest.mark.parametrize("share", [1 / 32, 31 / 32])
def test_few_pixels_of_one_kind_keep_away_from_each_other(share):
    # One in 32, where a square lattice would be 5.7 apart.
    rows, columns = np.nonzero(pick_share(share) == (share < 0.5))

    steps = np.abs(
        np.subtract.outer([rows, columns], [rows, columns])[[0, 1], :, [0, 1]]
    )
    distance = np.hypot(*np.minimum(steps, 64 - steps))
    assert len(rows) == 128
    assert distance[distance > 0].min() >= 4


def test_blocks_fit_together_and_planes_are_alike():
    rng = np.random.default_rng(0)
    bounds = np.sort(rng.random((2, 500), dtype=np.float32), axis=0)
    mixtures = Mixtures(rng.integers(0, 9, (3, 500), dtype=np.uint8), bounds)
    place = np.repeat(rng.integers(0, 500, (1, 150, 170)), 2, axis=0)

    whole = pick_labels(mixtures, place)

    assert whole.dtype == np.uint8
    assert_array_equal(whole[0], whole[1])
    block = (slice(None), slice(37, 101), slice(90, 170))
    part = pick_labels(mixtures, place[block], (37, 90))
    assert_array_equal(part, whole[block])
    row = pick_labels(mixtures, place[0, 70], (70, 0))
    assert_array_equal(row, whole[0, 70])


def test_a_bound_of_one_picks_the_first_alone():
    assert not pick_share(0).any()


@pytest.mark.parametrize("m", [0, 1, 7, 2048, 4095])
def test_a_bound_that_is_a_threshold_is_not_above_it(m):
    # The m thresholds below it, and not the one that it is.
    assert (pick_share(1 - (m + 0.5) / 4096) == 0).sum() == m


@pytest.mark.parametrize("dither", ["ordered", "floyd-steinberg"])
def test_parts_of_an_image_without_a_finite_pixel_are_passed_by(dither):
    image = np.full((600, 600), np.nan)
    image[-1] = np.linspace(1, 5, 600)

    labels = map_to_palette(image, [1.0, 5.0], channel_axis=None, dither=dither)

    assert (labels[:-1] == 0).all()
    assert 200 < labels[-1].sum() < 400
