import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from napari_kmeans._core.nearest import label_columns, nearest, prepare_rivals


def compare_all(points, centers):
    """Take every distance from differences, one channel after the other."""
    total = 0.0
    for channel in range(points.shape[1]):
        total = total + np.subtract.outer(points[:, channel], centers[:, channel]) ** 2
    return total.argmin(axis=1), total.min(axis=1)


coordinates = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1, 1), st.floats(1e6, 1e6 + 1)
)


@given(
    st.integers(1, 5).flatmap(
        lambda n_channels: st.tuples(
            hnp.arrays(np.float64, (20, n_channels), elements=coordinates),
            hnp.arrays(np.float64, (9, n_channels), elements=coordinates),
        )
    )
)
def test_labels_and_distances_are_those_of_differences_to_the_last_bit(drawn):
    points, centers = drawn

    labels, squared = nearest(points, centers)

    expected, least = compare_all(points, centers)
    assert_array_equal(labels, expected)
    assert_array_equal(squared, least)


def test_points_far_from_zero_are_told_apart():
    # Their squares agree in all 53 bits; their differences do not.
    points = 1e9 + np.arange(8.0)[:, np.newaxis] / 8

    assert_array_equal(nearest(points, points[::-1])[0], np.arange(8)[::-1])


def test_centers_whose_squares_underflow_are_a_tie():
    centers = np.array([[2e-308], [1e-308], [0.0]])

    assert_array_equal(nearest(np.zeros((2, 1)), centers)[0], [0, 0])


@pytest.mark.parametrize("block", [1, 5000, 1 << 24])
def test_block_size_is_irrelevant(monkeypatch, block):
    rng = np.random.default_rng(0)
    points, centers = rng.random((500, 6)), rng.random((30, 6))
    labels, squared = nearest(points, centers)

    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", block)

    assert_array_equal(nearest(points, centers)[0], labels)
    assert_array_equal(nearest(points, centers)[1], squared)
    columns = np.ascontiguousarray(points.T)
    rivals = prepare_rivals(centers, 1.0)
    assert_array_equal(label_columns(columns, rivals), labels)
