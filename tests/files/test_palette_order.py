import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from napari_kmeans._files.palette_order import neighborly_order


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
