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


def test_a_number_just_below_one_draws_a_point_that_has_a_weight():
    class Highest:
        def random(self, k):
            return np.full(k, 1 - 2.0**-53)

    points = np.array([[0.0], [5.0], [9.0]])
    weights = np.array([0.1, 0.3, 0.0])

    assert kmeans_plus_plus(points, weights, 1, Highest())[0] == 1
