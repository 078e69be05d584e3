import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._core.cells import Partition
from napari_kmeans._core.lloyd import cluster_means, lloyd
from napari_kmeans._core.pixels import PointsInBlocks, weighted_points


def line(values, weights=None, in_blocks=False):
    points = np.array(values, np.uint8)[:, np.newaxis]
    weights = np.ones(len(points)) if weights is None else np.array(weights)
    if in_blocks:
        parts = list(zip(np.split(points, 2), np.split(weights, 2), strict=True))
        return PointsInBlocks(lambda: iter(parts), 1, 8)
    return weighted_points(points, weights, 8)


def column(*values):
    return np.array(values, dtype=float)[:, np.newaxis]


@pytest.mark.parametrize("in_blocks", [False, True])
def test_centers_move_to_weighted_means_until_no_label_changes(in_blocks):
    points = line([0, 1, 9, 12], [1, 3, 2, 1], in_blocks)

    fit = lloyd(points, column(0, 1), 10)

    # {0} {1, 9, 12} gives 0 and 5.5, then {0, 1} {9, 12}, which are at rest.
    assert_array_equal(fit.centers, column(0.75, 10))
    assert (fit.n_iter, fit.converged) == (2, True)
    fit = lloyd(points, column(0, 1), 1)
    assert_array_equal(fit.centers, column(0, 33 / 6))
    assert (fit.n_iter, fit.converged) == (1, False)
    assert lloyd(points, column(5), 0).n_iter == 0


def test_a_center_without_points_moves_to_the_largest_error():
    fit = lloyd(line([0, 2, 100]), column(1, 1, 150), 1)

    # 150 owns 100; of 0 and 2, which are equally far, the first in order is taken.
    assert_array_equal(fit.centers, column(1, 0, 100))


def test_fixed_centers_stay_also_without_points():
    fit = lloyd(line([0, 2, 100]), column(200, 50, 9), 10, n_fixed=1)

    assert_array_equal(fit.centers[0], [200])
    assert_array_equal(np.sort(fit.centers[1:], axis=0), column(1, 100))


def test_reports_come_after_each_iteration_and_may_end_the_fit():
    seen = []

    def report(n_iter, weights, means, centers):
        assert_array_equal(means, centers)
        seen.append((n_iter, weights.sum(), centers.ravel().tolist()))
        if n_iter == 2:
            raise StopIteration

    fit = lloyd(line([0, 1, 9, 12, 40, 41]), column(0, 1, 2), 10, report)

    assert [n for n, _, _ in seen] == [1, 2]
    assert all(total == 6 for _, total, _ in seen)
    assert seen[-1][2] == fit.centers.ravel().tolist()
    assert (fit.n_iter, fit.converged) == (2, False)


def test_an_empty_cluster_keeps_its_center():
    parts = Partition(np.array([2.0, 0.0]), np.array([[6.0, 2.0], [0.0, 0.0]]))

    means = cluster_means(parts, np.array([[9.0, 9.0], [5.0, 7.0]]))

    assert_array_equal(means, [[3, 1], [5, 7]])


def test_centers_without_points_take_the_largest_errors_in_their_order():
    # Of {0, 2, 9, 30} about 10.25, the errors of 30 and 0 are the largest.
    points = line([0, 2, 9, 30])

    fit = lloyd(points, column(10, 99, 98), 1)

    assert_array_equal(fit.centers, column(10.25, 30, 0))


def test_more_centers_than_points_stay_where_they_are():
    fit = lloyd(line([0, 4]), column(2, 99, 98, 97), 1)

    # Two points have an error about their mean, 2.
    assert_array_equal(fit.centers, column(2, 0, 4, 97))
