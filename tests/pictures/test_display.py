import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._pictures.display import (
    displayed,
    displayed_range,
    hex_colors,
    middle_plane,
)


def test_deep_pixels_are_stretched_from_black_to_white():
    pixels = np.array([[100, 200, 300]], np.uint16)
    assert displayed_range(pixels) == (0, 300)
    shown = np.asarray(displayed(pixels, 100, 300))
    assert_array_equal(shown[0, :, 0], [0, 127, 255])


def test_pixels_as_far_apart_as_floats_can_be_are_stretched():
    most = np.finfo(np.float64).max
    pixels = np.array([[-most, -most / 2, 0, most]])
    low, high = displayed_range(pixels)
    shown = np.asarray(displayed(pixels, low, high))
    assert_array_equal(shown[0, :, 0], [0, 63, 127, 255])


@pytest.mark.parametrize("fill", [-9999, -3.4028235e38, 9.96921e36, 1.79e308])
def test_fill_values_leave_the_others_their_contrast(fill):
    pixels = np.linspace(20, 140, 100).reshape(10, 10)
    pixels[0, :5] = fill
    low, high = displayed_range(pixels)
    shown = np.asarray(displayed(pixels, low, high))[..., 0].astype(int)
    assert shown[-1, -1] - shown[0, 5] > 150
    assert (shown[0, :5] == (255 if fill > 0 else 0)).all()


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
        (np.uint8([16]), "#101010"),
        (np.uint8([1, 2]), "1 2"),
        (np.uint16([0, 1000, 3]), "0 1000 3"),
        (np.float32([0.5]), "0.5"),
    ],
)
def test_colors_are_written_as_style_sheets_do_or_as_numbers(color, text):
    assert hex_colors(np.stack([color, color])) == [text, text]
