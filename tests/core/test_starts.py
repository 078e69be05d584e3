import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._core.starts import kmeans_plus_plus, random_pixels


def test_random_pixels_are_drawn_without_replacement():
    counts = np.array([3, 1, 0, 5])

    # All nine of them.
    drawn = random_pixels(counts, 9, np.random.default_rng(0))

    assert_array_equal(np.bincount(drawn, minlength=4), counts)


def test_colors_are_drawn_as_often_as_they_have_pixels():
    counts = np.array([1, 2, 7], dtype=np.int64) << 33
    rng = np.random.default_rng(0)

    drawn = np.concatenate([random_pixels(counts, 10, rng) for _ in range(200)])

    # Of 2000 draws; four standard deviations are 0.04.
    shares = np.bincount(drawn) / len(drawn)
    assert np.abs(shares - [0.1, 0.2, 0.7]).max() < 0.04


@pytest.mark.parametrize("k", [1, 5, 19])
def test_k_means_plus_plus_draws_no_point_twice(k):
    points = np.random.default_rng(1).permutation(400).reshape(20, 20)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = kmeans_plus_plus(points, np.ones(20), k, rng)
        assert len(np.unique(drawn)) == k


def test_k_means_plus_plus_draws_by_the_squared_error_so_far():
    # Nearly all of the weight is at 0, from which the others are 1 and 3 away.
    points = np.array([[0.0], [1.0], [3.0]])
    weights = np.array([1e9, 2.0, 1.0])
    rng = np.random.default_rng(2)

    drawn = [kmeans_plus_plus(points, weights, 2, rng) for _ in range(2000)]

    first, second = np.array(drawn).T
    assert (first == 0).all()
    # 2 * 1 against 1 * 9; four standard deviations are 0.035.
    assert abs((second == 1).mean() - 2 / 11) < 0.035


def test_a_number_just_below_one_draws_a_point_that_has_an_error():
    class Highest:
        def random(self, k):
            return np.full(k, 1 - 2.0**-53)

    points = np.array([[0.0], [2.0], [5.0], [9.0]])
    weights = np.array([0.1, 0.1, 0.2, 0.3])

    assert_array_equal(kmeans_plus_plus(points, weights, 2, Highest()), [3, 2])
    # Times the sum of these errors, which is denormal, it is rounded up to the sum.
    drawn = kmeans_plus_plus(points * 1e-162, weights, 2, Highest())
    assert_array_equal(drawn, [3, 2])


@pytest.mark.parametrize("k", [2, 5, 9])
def test_points_that_squares_cannot_tell_apart_are_drawn_by_weight(k):
    # Beside one that is far, eight points whose squared distances are all 0.
    points = np.concatenate(([1.0], np.arange(8) * 1e-170))[:, np.newaxis]
    weights = np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 1e9])

    for seed in range(20):
        drawn = kmeans_plus_plus(points, weights, k, np.random.default_rng(seed))
        assert len(np.unique(drawn)) == k
        assert set(drawn[:2]) == {0, 8}


def test_of_points_without_a_distance_each_is_drawn_by_its_share():
    points, weights = np.zeros((3, 1)), np.array([1e9, 3.0, 1.0])
    rng = np.random.default_rng(4)

    second = [kmeans_plus_plus(points, weights, 2, rng)[1] for _ in range(2000)]

    # Four standard deviations are 0.039.
    assert abs((np.array(second) == 1).mean() - 3 / 4) < 0.039


@pytest.mark.parametrize("n", [3, 10, 1 << 40])
def test_an_image_repeated_gives_the_same_draws(n):
    points = np.random.default_rng(1).permutation(400).reshape(20, 20)
    weights = np.arange(1.0, 21)

    for seed in range(20):
        once, repeated = (
            kmeans_plus_plus(points, factor * weights, 9, np.random.default_rng(seed))
            for factor in (1, n)
        )
        assert_array_equal(once, repeated)


def test_distances_times_weights_may_be_beyond_all_floats():
    points = np.array([[0.0], [1e150], [2e150]])
    weights = np.array([1e18, 1e18, 1e18])

    for seed in range(20):
        drawn = kmeans_plus_plus(points, weights, 3, np.random.default_rng(seed))
        assert_array_equal(np.sort(drawn), [0, 1, 2])


def test_every_pixel_of_a_color_stands_for_it():
    class InOrder:
        def choice(self, n, k, replace):
            assert (n, replace) == (9, False)
            return np.arange(k)

    drawn = random_pixels(np.array([3, 1, 0, 5]), 9, InOrder())

    assert_array_equal(drawn, [0, 0, 0, 1, 3, 3, 3, 3, 3])
