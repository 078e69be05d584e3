import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._napari.colors import hex_colors, parse_colors


def test_hex_names_alpha_only_where_there_is_any():
    rgba = np.array([[1, 0.2, 0, 1], [0, 0, 1, 0.4]])
    assert hex_colors(rgba) == ["#ff3300", "#0000ff66"]


@pytest.mark.parametrize(
    ("text", "dtype", "n_channels", "expected"),
    [
        ("", "u1", 3, np.empty((0, 3))),
        ("#ff3300", "u1", 3, [[255, 51, 0]]),
        ("#f30, black", "u1", 3, [[255, 51, 0], [0, 0, 0]]),
        ("red", "f4", 4, [[1, 0, 0, 1]]),
        ("transparent", "u1", 4, [[0, 0, 0, 0]]),
        ("#ff3300, #000000", "u1", 3, [[255, 51, 0], [0, 0, 0]]),
        ("255 51 0; 1 2 3", "u1", 3, [[255, 51, 0], [1, 2, 3]]),
        ("#ff3300", "u1", 4, [[255, 51, 0, 255]]),
        ("#ff330066", "u1", 4, [[255, 51, 0, 102]]),
        ("#ff3300", "u2", 3, [[65535, 13107, 0]]),
        ("#ff3300", "f8", 3, [[1, 0.2, 0]]),
        ("0, 1000", "u2", None, [0, 1000]),
        ("-1.5", "f4", None, [-1.5]),
        ("[1, 2]", "u1", 2, [[1, 2]]),
        # Fill values, as they are usually written.
        ("-3.4028235e38", "f4", None, [np.finfo("f4").min]),
        ("-1.7976931348623157e308", "f8", None, [np.finfo("f8").min]),
    ],
)
def test_colors_are_read(text, dtype, n_channels, expected):
    colors = parse_colors(text, np.dtype(dtype), n_channels)
    assert colors.dtype == dtype
    assert_array_equal(colors, expected)


@pytest.mark.parametrize(
    ("text", "n_channels", "message"),
    [
        ("rot", 3, "like #ff0000, red or numbers, got 'rot'"),
        ("#ff", 3, "like #ff0000, red or numbers, got '#ff'"),
        ("red", 2, "colors must have 2 numbers each, got 'red'"),
        ("transparent", 3, "colors must have 3 numbers each, got 'transparent'"),
        ("#ff0000", None, "colors must have 1 number each, got '#ff0000'"),
        ("#ff000080", 3, "colors must have 3 numbers each, got '#ff000080'"),
        ("1 2", 3, "colors must have 3 numbers each, got 2 in all"),
        ("256", None, "colors must be between 0 and 255, got 256"),
        ("nan", None, "colors must be between 0 and 255, got nan"),
    ],
)
def test_what_is_no_color_is_refused(text, n_channels, message):
    with pytest.raises(ValueError, match=message):
        parse_colors(text, np.dtype(np.uint8), n_channels)
