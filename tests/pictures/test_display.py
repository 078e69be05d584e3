import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._pictures.curve_plot import Curve, draw_curves
from napari_kmeans._pictures.display import (
    displayed,
    displayed_range,
    hex_color,
    middle_plane,
)
from napari_kmeans._pictures.swatches import draw_swatches, swatch_labels


def test_deep_pixels_are_stretched_from_black_to_white():
    pixels = np.array([[100, 200, 300]], np.uint16)
    assert displayed_range(pixels) == (0, 300)
    shown = np.asarray(displayed(pixels, 100, 300))
    assert_array_equal(shown[0, :, 0], [0, 127, 255])


def test_transparent_pixels_lie_over_checkers():
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0] = [9, 8, 7, 255]
    assert_array_equal(displayed(pixels, 0, 255), [[[9, 8, 7], [255, 255, 255]]])


def test_pixels_that_are_not_finite_are_shown_somehow():
    pixels = np.array([[np.nan, np.inf, 0, 1]], np.float32)
    low, high = displayed_range(pixels)
    assert (low, high) == (0, 1)
    assert np.asarray(displayed(pixels, low, high)).shape == (1, 4, 3)


def test_of_a_stack_the_plane_in_the_middle_is_shown():
    stack = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert_array_equal(middle_plane(stack, False), stack[1, 1])
    assert_array_equal(middle_plane(stack, True), stack[1])
    assert_array_equal(middle_plane(stack[0, 0], False), stack[0, 0])


@pytest.mark.parametrize(
    ("color", "text"),
    [
        (np.uint8([0, 10, 255]), "#000aff"),
        (np.uint8([0, 10, 255, 128]), "#000aff80"),
        (np.uint8(16), "#101010"),
        (np.uint16([0, 1000, 3]), "0 1000 3"),
        (np.float32([0.5]), "0.5"),
    ],
)
def test_colors_are_written_as_style_sheets_do_or_as_numbers(color, text):
    assert hex_color(color) == text


@pytest.mark.parametrize(
    ("n_colors", "size"),
    [(1, (60, 60)), (16, (60, 960)), (17, (120, 540)), (300, (1008, 952))],
)
def test_swatches_are_the_colors_in_rows_and_nothing_else(n_colors, size):
    palette = np.arange(3 * n_colors, dtype=np.uint16).reshape(-1, 3).astype(np.uint8)
    drawn = draw_swatches(palette)
    assert drawn.shape == (*size, 3)
    labels = swatch_labels(n_colors)
    assert_array_equal(drawn, palette[labels])
    # By rows, then columns; all of about the same size.
    assert (np.diff(labels[:, 0].astype(int)) >= 0).all()
    assert (np.diff(labels.astype(int), axis=1) >= 0).all()
    n_pixels = np.bincount(labels.ravel(), minlength=n_colors)
    assert len(n_pixels) == n_colors
    assert n_pixels.max() < 1.2 * n_pixels.min()


def test_the_largest_palette_fits_into_a_small_picture():
    assert max(swatch_labels(65_536).shape) <= 960


def test_a_curve_falls_where_its_image_is_worse():
    blue = (0, 114, 178)
    curves = [Curve("a", [2, 4, 8], [20.0, 30.0, np.inf]), Curve("b", [1], [25.0])]
    drawn = draw_curves(curves)[:600]
    rows, columns = np.nonzero((drawn == blue).all(axis=-1))
    assert rows[columns.argmin()] > rows[columns.argmax()]


@pytest.mark.parametrize("psnrs", [[np.inf], [30.0]])
def test_a_single_point_or_none_is_drawn_too(psnrs):
    assert draw_curves([Curve("a", [4], psnrs)]).shape[1] == 960
