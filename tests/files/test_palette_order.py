import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from napari_kmeans._files.palette_order import (
    _count_meetings,
    neighborly_order,
    used_colors,
)


@given(
    labels=hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 6),
    ),
    n_colors=st.integers(7, 9),
)
def test_every_color_has_one_place(labels, n_colors):
    assert_array_equal(np.sort(neighborly_order(labels, n_colors)), range(n_colors))


def test_colors_that_lie_side_by_side_become_neighbors():
    # A ramp whose steps have shuffled indices.
    steps = np.array([3, 0, 5, 1, 4, 2], np.uint8)
    labels = np.repeat(steps, 4)[np.newaxis].repeat(5, axis=0)
    order = neighborly_order(labels, 6).tolist()
    assert order in (steps.tolist(), steps[::-1].tolist())


def test_colors_of_one_pixel_are_ordered_too():
    assert_array_equal(neighborly_order(np.zeros((1, 1), np.uint8), 1), [0])


@given(
    labels=hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 16),
    ),
    n_colors=st.integers(17, 33),
)
@example(labels=np.arange(256, dtype=np.uint8).reshape(16, 16), n_colors=256)
def test_each_of_many_colors_has_one_place(labels, n_colors):
    assert_array_equal(np.sort(neighborly_order(labels, n_colors)), range(n_colors))


def test_many_colors_are_nearer_to_those_they_meet_than_by_ends_alone(monkeypatch):
    # A walk over a board of 12 x 12 colors, to any neighbor.
    steps = np.random.default_rng(0).integers(-1, 2, (2, 100, 200)).cumsum(axis=2) % 12
    labels = (12 * steps[0] + steps[1]).astype(np.uint8)
    meetings = _count_meetings(labels, 144)

    def bits():
        rank = np.argsort(neighborly_order(labels, 144))
        distances = abs(rank[:, np.newaxis] - rank)
        return (meetings * np.log2(1 + distances)).sum()

    placed_again = bits()
    monkeypatch.setattr("napari_kmeans._files.palette_order._MOST_PLACED_ONCE", 144)
    assert placed_again < 0.97 * bits()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (100_000, 3), (2, 200_000)])
@pytest.mark.parametrize("n_colors", [2, 16, 17, 256])
def test_meetings_are_those_beside_and_below_whatever_the_blocks(shape, n_colors):
    labels = np.random.default_rng(0).integers(0, n_colors, shape, np.uint8)
    expected = np.zeros((n_colors, n_colors), np.int64)
    for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        np.add.at(expected, (one, other), 1)
    expected += expected.T
    np.fill_diagonal(expected, 0)
    assert_array_equal(_count_meetings(labels, n_colors), expected)


@given(
    labels=hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5)), unique=False
    )
)
def test_only_used_colors_are_left_in_their_order(labels):
    palette = np.arange(256 * 3).reshape(256, 3)
    fewer, colors = used_colors(labels, palette)
    assert_array_equal(colors[fewer], palette[labels])
    assert_array_equal(colors, palette[np.unique(labels)])


def test_nothing_is_copied_if_all_colors_are_used():
    labels, palette = np.arange(4, dtype=np.uint8).reshape(2, 2), np.zeros((4, 3))
    assert used_colors(labels, palette)[0] is labels
