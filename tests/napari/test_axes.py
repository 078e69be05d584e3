import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_kmeans import quantize_layer
from napari_kmeans._napari.axes import pixel_area, space_axes

MICRO = ("um", "um", "um")


def labels(*shape, **places):
    return Labels(np.zeros(shape, dtype=np.uint8), **places)


@pytest.mark.parametrize(
    ("names", "axes"),
    [
        ("tzyx", (1, 2, 3)),
        ("TYX", (1, 2)),
        (("Time", "y", "x"), (1, 2)),
        (("y", "x", "Channels"), (0, 1)),
        ("yCx", (0, 2)),
        ((" channel ", "y", "x"), (1, 2)),
        ("zyx", (0, 1, 2)),
        ("pzyx", (1, 2, 3)),
        ("zytx", (0, 1, 3)),
        # A name that only begins so is another word.
        (("top", "y", "x"), (0, 1, 2)),
        (("t", "x"), (1,)),
        (("t", "c"), ()),
    ],
)
def test_axes_of_time_and_channels_are_known_by_their_names(names, axes):
    layer = labels(*len(names) * [2], axis_labels=tuple(names))
    assert space_axes(layer) == axes


@pytest.mark.parametrize("unit", ["s", "ms", "hour"])
def test_axis_in_a_unit_of_time_is_not_space(unit):
    layer = labels(2, 3, 4, units=(unit, "um", "um"))
    assert space_axes(layer) == (1, 2)


@pytest.mark.parametrize("n_axes", [2, 3, 4, 5])
def test_axes_that_nothing_is_known_of_are_space_the_last_three_at_most(n_axes):
    layer = labels(*n_axes * [2])
    assert space_axes(layer) == tuple(range(n_axes))[-3:]


@pytest.mark.parametrize(
    ("channel_axis", "slice_axis", "axes"),
    [
        (None, None, (1, 2, 3)),
        (None, 0, (1, 2, 3)),
        (None, 1, (0, 2, 3)),
        # Labels do without a first axis that is channels,
        (0, None, (0, 1, 2)),
        (0, 1, (1, 2)),
        # and have any other with one pixel.
        (1, None, (0, 2, 3)),
        (1, 0, (2, 3)),
        (3, 0, (1, 2)),
    ],
)
def test_axes_that_a_result_was_made_with_are_not_space(channel_axis, slice_axis, axes):
    image = Image(np.arange(120).reshape(2, 3, 4, 5))
    made = {"channel_axis": channel_axis, "slice_axis": slice_axis}
    (layer,) = quantize_layer(image, 2, output="labels", **made)
    assert space_axes(layer) == axes


def test_image_of_a_result_has_the_axis_of_channels_that_its_source_has():
    image = Image(np.arange(120).reshape(2, 3, 4, 5))
    (layer,) = quantize_layer(image, 2, channel_axis=0, slice_axis=1)
    assert space_axes(layer) == (2, 3)


def test_rgb_and_channels_that_are_layers_take_no_axis():
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for layers in (Image(pixels, rgb=True), [Image(pixels[..., 0])] * 2):
        (made,) = quantize_layer(layers, 2, output="labels")
        assert space_axes(made) == (0, 1)


# The size of a pixel.


@pytest.mark.parametrize(
    ("places", "axes", "expected"),
    [
        ({}, (1, 2), (1, "pixel²")),
        ({"scale": (4, 0.5, 0.5), "units": MICRO}, (1, 2), (0.25, "µm²")),
        ({"scale": (4, 0.5, 0.5), "units": MICRO}, (0, 1, 2), (1, "µm³")),
        ({"scale": (4, 0.5, 0.5), "units": MICRO}, (2,), (0.5, "µm")),
        # The unit of the last axis is the unit of all.
        ({"scale": (1, 2, 500), "units": ("um", "um", "nm")}, (1, 2), (1e6, "nm²")),
        ({"scale": (9, 2, 3), "units": ("um", "pixel", "um")}, (1, 2), (6, "µm·pixel")),
        # A mirrored axis has pixels of the same size, and so has a turned layer.
        ({"scale": (1, -2, 3)}, (1, 2), (6, "pixel²")),
        ({"scale": (1, 2, 3), "rotate": 30, "shear": (1, 2, 3)}, (1, 2), (6, "pixel²")),
        ({"affine": np.diag([7, 2, 3, 1])}, (1, 2), (6, "pixel²")),
    ],
)
def test_size_of_a_pixel_is_that_of_the_layer_in_its_units(places, axes, expected):
    size, unit = pixel_area(labels(2, 3, 4, **places), axes)
    assert (size, unit) == (pytest.approx(expected[0], rel=1e-12), expected[1])
