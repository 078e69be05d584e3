import itertools
import tracemalloc

import numpy as np
import pytest
import skimage.data
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans._core.search import (
    _apart,
    _cloud,
    _halves,
    _means,
    _moved,
    _Nearest,
    _or_far_point,
    _two_nearest,
    _worth,
    searched_centers,
)
from napari_kmeans._core.starts import kmeans_plus_plus


@st.composite
def weighted_points(draw):
    shape = st.tuples(st.integers(1, 40), st.integers(1, 5))
    points = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 255)))
    points = np.unique(points, axis=0)
    weights = hnp.arrays(np.int64, len(points), elements=st.integers(1, 1000))
    return points, draw(weights)


def squared_distances(points, centers):
    difference = points[:, np.newaxis].astype(float) - centers
    return np.square(difference).sum(axis=-1)


def error_after(points, weights, centers, iters):
    """Weighted squared error after iterations of Lloyd, in plain words."""
    for _ in range(iters):
        label = squared_distances(points, centers).argmin(axis=1)
        for i in np.unique(label):
            mine = label == i
            centers[i] = weights[mine] @ points[mine] / weights[mine].sum()
    return weights @ squared_distances(points, centers).min(axis=1)


def error_of(points, weights, label):
    """Weighted squared error about the mean of each label, in plain words."""
    error = 0.0
    for i in np.unique(label):
        mine, share = points[label == i], weights[label == i]
        error += share @ np.square(mine - np.average(mine, 0, share)).sum(axis=1)
    return error


@pytest.fixture(scope="module")
def photo_points():
    pixels = skimage.data.astronaut()[100:260, 150:330].reshape(-1, 3) // 4
    return np.unique(pixels, axis=0, return_counts=True)


def test_search_finds_clumps_of_unequal_weight():
    # Two clumps far apart from a third, whose weight would draw all three centers.
    points = np.array([[0, 0], [0, 2], [200, 0], [200, 4], [100, 90], [101, 90]])
    weights = np.array([1000, 1000, 1, 3, 1, 1])

    centers = searched_centers(points, weights, 3, 1)

    order = np.argsort(centers[:, 0])
    assert_allclose(centers[order], [[0, 1], [100.5, 90], [200, 3]], rtol=1e-12)


def test_search_gives_a_lone_far_point_its_own_center():
    points = np.random.default_rng(3).integers(0, 400, (20000, 3))
    points[7] = 6000

    centers = searched_centers(points, np.ones(20000), 16, 1)

    # Cuts through the mean would leave it with more than a thousand others.
    assert_allclose(centers[centers.argmax(axis=0)], np.full((3, 3), 6000), rtol=1e-12)


@given(weighted_points())
def test_search_gives_each_point_a_center_if_there_are_enough(case):
    points, weights = case

    centers = searched_centers(points, weights, len(points), 1)

    # To rounding: the points are moved to their mean and back.
    assert_allclose(squared_distances(points, centers).min(axis=1), 0, atol=1e-20)


@given(weighted_points(), st.integers(1, 8))
def test_searched_centers_lie_within_the_points_and_number_at_most_k(case, k):
    points, weights = case

    centers = searched_centers(points, weights, k, 2)

    assert len(centers) == min(k, len(points))
    assert (centers >= points.min(axis=0) - 1e-9).all()
    assert (centers <= points.max(axis=0) + 1e-9).all()


@given(weighted_points(), st.integers(1, 8))
def test_search_sees_only_shares_of_weight(case, k):
    points, weights = case

    assert_array_equal(
        searched_centers(points, weights, k, 1),
        searched_centers(points, 1024 * weights, k, 1),
    )


@pytest.mark.parametrize("k", [4, 16, 64])
def test_search_beats_the_best_of_ten_k_means_plus_plus(photo_points, k):
    points, counts = photo_points
    weights = counts.astype(float)
    rng = np.random.default_rng(1)

    drawn = [
        points[kmeans_plus_plus(points, weights, k, rng)].astype(float)
        for _ in range(10)
    ]
    best = min(error_after(points, weights, centers, 10) for centers in drawn)

    centers = searched_centers(points, weights, k, 1)
    assert error_after(points, weights, centers, 0) <= best


def test_more_effort_never_ends_farther_from_the_points(photo_points):
    points, counts = photo_points

    errors = [
        error_after(points, counts, searched_centers(points, counts, 24, effort), 0)
        for effort in range(1, 7)
    ]

    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_search_takes_points_of_many_channels_and_constant_ones():
    points = np.random.default_rng(2).normal(size=(4000, 50))
    points[:, 7] = 3

    centers = searched_centers(points, np.ones(4000), 5, 1)

    assert_allclose(centers[:, 7], 3, rtol=1e-12)
    assert len(np.unique(centers, axis=0)) == 5


# What a move is expected to bring, once centers are at rest.


def at_rest(case, k, seed):
    """A cloud, means that are at rest, and what moving each would bring."""
    points, weights = case
    assume(len(points) >= 2)
    k = min(k, len(points))
    cloud = _cloud(points.T / 255, weights / weights.sum())
    means = points[np.random.default_rng(seed).permutation(len(points))[:k]] / 255
    for _ in range(50):
        before, nearest = means, _two_nearest(cloud, means)
        means, total, error = _means(cloud, means, nearest.label)
        if np.array_equal(means, before):
            break
    assume(np.array_equal(means, before))
    return cloud, means, nearest, error, _worth(cloud, means, total, nearest)


# Distances are in single precision, of numbers up to 1 in up to five channels.
SLACK = 1e-5


@given(weighted_points(), st.integers(2, 8), st.integers(0, 99))
def test_removals_cost_what_they_do_if_heirs_get_the_points(case, k, seed):
    cloud, means, nearest, error, worth = at_rest(case, k, seed)

    for i in range(len(means)):
        # One of two equally near heirs may have fewer points, and cost less.
        label = np.where(nearest.label == i, nearest.heir, nearest.label)
        after = error_of(cloud.columns.T, cloud.weights, label)
        assert_allclose(after, error + worth.cost[i], atol=SLACK)


@given(weighted_points(), st.integers(2, 8), st.integers(0, 99))
def test_splits_gain_at_least_their_worth(case, k, seed):
    cloud, means, _, error, worth = at_rest(case, k, seed)

    for i in range(len(means)):
        split = np.vstack((means, worth.high[i]))
        split[i] = worth.low[i]
        after = error_after(cloud.columns.T, cloud.weights, split, 1)
        assert after <= error - worth.gain[i] + SLACK


def test_rounds_keep_the_best_centers_they_came_by(photo_points):
    points, counts = photo_points
    cloud = _cloud(points.T / 64, counts / counts.sum())
    start = points[:: len(points) // 20] / 64

    # Rates far below 1 accept moves that raise the error.
    errors = [_moved(cloud, start, np.full(n, 0.1)).error for n in range(1, 9)]

    assert errors == sorted(errors, reverse=True)


def test_rounds_that_would_change_nothing_are_left_out(monkeypatch):
    points = np.array([[0.0], [0.1], [0.9], [1.0]])
    cloud = _cloud(points.T, np.full(4, 0.25))
    rounds = []

    def worth(*arguments):
        rounds.append(len(rounds))
        return _worth(*arguments)

    monkeypatch.setattr("napari_kmeans._core.search._worth", worth)

    # The second round starts at rest, where splitting either pair gains too little.
    found = _moved(cloud, np.array([[0.0], [1.0]]), np.linspace(0.6, 1, 9))

    assert_allclose(found.centers, [[0.05], [0.95]], rtol=1e-12)
    assert len(rounds) == 2


def test_search_of_many_centers_needs_no_table_of_all_their_pairs():
    # A round at k = 10,000, whose pairs would take 800 MB.
    rng = np.random.default_rng(0)
    points = rng.random((20_000, 3)) * 2 - 1
    cloud = _cloud(points.T, np.full(len(points), 1 / len(points)))

    tracemalloc.start()
    try:
        _moved(cloud, points[::2], np.ones(1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 200e6


@given(weighted_points(), st.integers(1, 5), st.integers(0, 99))
def test_halves_have_the_mean_of_their_cluster_and_gain_what_they_say(case, k, seed):
    points, weights = case
    rng = np.random.default_rng(seed)
    cloud = _cloud(points.T / 255, weights / weights.sum())
    label = rng.integers(0, min(k, len(points)), len(points))
    label = np.unique(label, return_inverse=True)[1]
    nowhere = np.zeros((label.max() + 1, points.shape[1]))
    means, total, error = _means(cloud, nowhere, label)
    cut = _halves(cloud, means, total, label)

    for halves in (cut, _or_far_point(cut, cloud, means, total, label)):
        gain, low, high, upper = halves
        for i in range(len(means)):
            sides = [(label == i) & ~upper, (label == i) & upper]
            if gain[i] == 0:
                continue
            for side, mean in zip(sides, (low[i], high[i]), strict=True):
                expected = np.average(points[side] / 255, axis=0, weights=weights[side])
                assert_allclose(mean, expected, atol=1e-9)
            split = np.where(sides[1], len(means), label)
            after = _means(cloud, np.vstack((means, high[i])), split)[2]
            assert_allclose(error - after, gain[i], atol=1e-12)
    assert (gain >= cut.gain).all()


def test_of_chosen_neighbors_the_one_of_the_highest_value_stays():
    # Points between 0 and 1, 1 and 2, and 3 and 4; 4 is not chosen.
    label, heir = np.array([0, 2, 3]), np.array([1, 1, 4])
    distance = np.zeros(3, np.float32)
    nearest = _Nearest(label, distance, heir, distance)
    chosen = np.array([True, True, True, True, False])

    kept = _apart(chosen, np.array([1.0, 3, 2, 5, 9]), nearest)
    assert_array_equal(kept, [False, True, False, True, False])
    kept = _apart(chosen, np.array([3.0, 1, 2, 5, 9]), nearest)
    assert_array_equal(kept, [True, False, True, True, False])
    assert chosen[:4].all()


def test_steps_past_the_mean_settle_sooner(photo_points, monkeypatch):
    points, counts = photo_points
    cloud = _cloud(points.T / 64, counts / counts.sum())

    def error():
        total = 0.0
        for k, seed in itertools.product((20, 60), range(4)):
            start = np.random.default_rng(seed).permutation(points)[:k] / 64
            total += _moved(cloud, start, np.full(4, 0.9)).error
        return total

    beyond = error()
    monkeypatch.setattr("napari_kmeans._core.search._STRIDE", 0.0)
    assert beyond < error()


@pytest.mark.parametrize("far", [1e8, 1e15])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_search_tells_points_apart_that_are_far_in_one_channel(far, share):
    rng = np.random.default_rng(1)
    groups = rng.choice([20, 60, 100, 140], (1500, 1))
    near = rng.normal(groups, 1.5, (1500, 3))
    near[: int(1500 * share), 0] = 1000
    points = near.copy()
    points[: int(1500 * share), 0] = far
    weights = np.ones(1500)

    # As long as no center has points of both kinds, it is of no importance how far
    # they are, but for what rounding makes of the mean of far ones.
    centers = searched_centers(points, weights, 8, 1)
    moved = searched_centers(near, weights, 8, 1)

    is_far = centers[:, 0] > 1e6
    centers[is_far, 0] = 1000
    error = squared_distances(near, centers).min(axis=1).sum()
    assert error <= 1.01 * squared_distances(near, moved).min(axis=1).sum()


def test_search_finds_nothing_far_where_most_points_are_one():
    points = np.array([[2.0**-31, -(2.0**-31)], [0, 0], [0, 0]])
    centers = searched_centers(points, np.ones(3), 1, 1)
    np.testing.assert_allclose(centers, points.mean(axis=0, keepdims=True), atol=1e-16)


def test_each_center_has_points_where_far_ones_cannot_be_told_apart():
    points = np.array([[1.0], [2.0], [3.0], [2e60], [3e66], [3e66 * (1 + 1e-15)]])
    weights = np.array([1e6, 1, 1, 1e4, 1e6, 1])

    centers = searched_centers(points, weights, 4, 1)

    label = np.abs(points - centers.T).argmin(axis=1)
    assert_array_equal(np.unique(label), np.arange(len(centers)))
