import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._core.hashing import keys, lowest


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 5, 9])
def test_rows_have_equal_keys_where_they_are_equal(dtype, n_channels):
    rows = np.random.default_rng(0).integers(0, 2, (300, n_channels)).astype(dtype)

    _, expected = np.unique(rows, axis=0, return_inverse=True)

    _, found = np.unique(keys(rows), return_inverse=True)
    assert len(np.unique(np.stack((found, expected.ravel())), axis=1).T) == len(
        np.unique(expected)
    )


@pytest.mark.parametrize("n", [1, 7, 64, 1000])
def test_the_sample_of_a_set_does_not_depend_on_blocks_and_order(n):
    rng = np.random.default_rng(1)
    colors = rng.integers(0, 256, (1000, 3), np.uint8)
    expected = lowest([colors], colors[:0], 50)
    assert len(np.unique(expected, axis=0)) == 50

    shuffled = rng.permutation(np.concatenate((colors, colors[:200])))
    blocks = [shuffled[i : i + n] for i in range(0, len(shuffled), n)]

    assert_array_equal(lowest(blocks, colors[:0], 50), expected, strict=True)


def test_a_small_set_is_its_own_sample():
    colors = np.arange(12, dtype=np.uint8).reshape(4, 3)

    assert_array_equal(np.sort(lowest([colors], colors[:0], 50), axis=0), colors)
    assert_array_equal(lowest([], colors[:0], 50), colors[:0], strict=True)
