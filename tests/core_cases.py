"""What tests of the core share: integers of any dtype, and equality of results."""

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_array_equal


def integers(dtype):
    """Draw numbers of a dtype, many of them small."""
    if dtype == "?":
        return st.booleans()
    info = np.iinfo(dtype)
    near = st.integers(max(info.min, -9), 9)
    return near | st.integers(int(info.min), int(info.max))


def assert_same_counts(one, other):
    assert_array_equal(one.colors, other.colors, strict=True)
    assert_array_equal(one.counts, other.counts, strict=True)
    assert one.colors.tobytes() == other.colors.tobytes()


def assert_same_result(one, other):
    assert_array_equal(one.palette, other.palette, strict=True)
    assert one.palette.tobytes() == other.palette.tobytes()
    assert_array_equal(one.counts, other.counts, strict=True)
    assert (one.mse, one.n_iter, one.converged) == (
        other.mse,
        other.n_iter,
        other.converged,
    )
