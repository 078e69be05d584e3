import itertools

import kmeans1d
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from skimage.filters import threshold_multiotsu

from napari_kmeans import kmeans_palette
from napari_kmeans._core.one_channel import optimal_centers


def error(values, weights, centers):
    squared = (values[:, np.newaxis] - centers) ** 2
    return (weights * squared.min(axis=1)).sum()


def least_error(values, weights, k):
    """Try all ways to cut the values into k runs."""
    n = len(values)

    def run_error(first, end):
        own, weight = values[first:end], weights[first:end]
        return (weight * (own - np.average(own, weights=weight)) ** 2).sum()

    return min(
        sum(itertools.starmap(run_error, itertools.pairwise((0, *cuts, n))))
        for cuts in itertools.combinations(range(1, n), k - 1)
    )


@given(
    st.dictionaries(st.integers(0, 60), st.integers(1, 9), min_size=2, max_size=9),
    st.data(),
)
def test_no_way_to_cut_the_values_has_a_smaller_error(histogram, data):
    values = np.array(sorted(histogram), dtype=float)
    weights = np.array([histogram[value] for value in sorted(histogram)], dtype=float)
    k = data.draw(st.integers(1, len(values) - 1))

    centers = optimal_centers(values, weights, k)

    expected = least_error(values, weights, k)
    np.testing.assert_allclose(
        error(values, weights, centers), expected, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("k", [3, 4, 6])
@pytest.mark.parametrize("far", [[1e9, 1e9 + 1], [1e12, 1e12 + 1], [-1e15, 1e15]])
def test_values_far_away_cost_the_others_no_precision(far, k):
    values = np.sort(np.concatenate((np.arange(1.0, 16), far)))
    weights = np.full(17, 100.0)

    centers = optimal_centers(values, weights, k)

    best = least_error(values, weights, k)
    np.testing.assert_allclose(error(values, weights, centers), best, rtol=1e-9)


def test_gaps_that_are_more_than_the_clusters_are_left_as_they_are():
    values = np.array([0.0, 1, 1e9, 2e9, 3e9])

    centers = optimal_centers(values, np.ones(5), 2)

    np.testing.assert_allclose(centers, [(1e9 + 1) / 3, 2.5e9])


@pytest.mark.parametrize("k", [2, 7, 40])
def test_optimum_is_that_of_kmeans1d(k):
    rng = np.random.default_rng(k)
    values = np.unique(rng.gamma(2, 2000, 3000).astype(np.uint16)).astype(float)
    counts = rng.integers(1, 20, len(values))

    centers = optimal_centers(values, counts.astype(float), k)

    expected = kmeans1d.cluster(np.repeat(values, counts), k).centroids
    np.testing.assert_allclose(centers, expected, rtol=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_classes_are_those_of_multi_otsu(classes):
    image = skimage.data.camera()

    palette = kmeans_palette(image, classes, channel_axis=None).palette.astype(float)

    # A threshold is the last level of the lower class.
    between = (palette[1:] + palette[:-1]) / 2
    thresholds = threshold_multiotsu(image, classes)
    np.testing.assert_allclose(thresholds, between, atol=1)


def test_a_wide_histogram_is_solved_better_than_lloyd_can():
    rng = np.random.default_rng(0)
    image = rng.gamma(2, 1500, (200, 200)).astype(np.uint16)

    optimum = kmeans_palette(image, 12, channel_axis=None)
    others = [
        kmeans_palette(image, 12, 100, channel_axis=None, init="k-means++", rng=seed)
        for seed in range(5)
    ]

    assert optimum.converged
    assert optimum.mse <= min(other.mse for other in others)


def test_of_equal_optima_it_is_the_one_whose_last_cluster_starts_lowest():
    # 0 | 2 4 and 0 2 | 4 have the same error.
    centers = optimal_centers(np.array([0.0, 2, 4]), np.ones(3), 2)

    np.testing.assert_array_equal(centers, [0, 3])


def test_weights_that_sums_of_others_lose_leave_no_cluster_empty():
    values, weights = np.array([1.0, 2.0, 9.0]), np.array([2.0**60, 2.0**60, 3.0])

    centers = optimal_centers(values, weights, 2)

    assert_allclose(centers, [1, 2], atol=1e-9)
