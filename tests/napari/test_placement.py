import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from numpy.testing import assert_array_equal

from napari_kmeans._napari.placement import Channels, slice_in_view, visible_part

PLACED = {
    "scale": (3, 0.5, 0.25),
    "translate": (1, 2, 3),
    "rotate": 20,
    "shear": (0.1, 0.2, 0.3),
    "affine": np.diag([2, 3, 4, 1]),
}


def part_of(layer, point=None, n_most=1 << 20, order=None, ndisplay=2, channels=None):
    viewer = ViewerModel(ndisplay=ndisplay)
    viewer.add_layer(layer)
    if order is not None:
        viewer.dims.order = order
    if point is not None:
        viewer.dims.point = point
    return visible_part(layer, viewer.dims, n_most, channels)


def assert_pixels_lie_in_place(layer, part):
    """The middle of each pixel is the middle of the pixels it stands for."""
    data = layer.data[0] if layer.multiscale else layer.data
    level = layer.data[part.level] if layer.multiscale else layer.data
    axes = [np.arange(n) for n in level.shape[: layer.ndim]]
    for axis, side in enumerate(part.box):
        factor = data.shape[axis] / level.shape[axis]
        step = side.step or 1
        for i, taken in enumerate(axes[axis][side]):
            pixel = np.zeros(layer.ndim + 1)
            pixel[axis], pixel[-1] = i, 1
            found = layer.world_to_data((part.affine @ pixel)[:-1])[axis]
            if side.stop is None:
                expected = (i * step + (step - 1) / 2 + 0.5) * factor - 0.5
            else:
                expected = (taken + 0.5) * factor - 0.5
            assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_most", [1 << 20, 60, 7])
def test_pixels_of_a_slice_lie_in_place(n_most):
    layer = Image(np.zeros((4, 9, 11)), **PLACED)
    part = part_of(layer, n_most=n_most)
    shown = layer.data[part.box]
    assert shown.shape[0] == 1
    assert shown.size <= max(n_most, 9)
    assert_pixels_lie_in_place(layer, part)


def test_slice_is_that_of_the_sliders():
    layer = Image(np.zeros((4, 9, 11)), scale=(3, 1, 1), translate=(10, 0, 0))
    assert part_of(layer, point=(16, 0, 0)).box[0] == slice(2, 3)


def test_nothing_is_visible_beyond_the_layer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((9, 9, 9)), scale=(5, 1, 1))
    layer = viewer.add_image(np.zeros((4, 9, 9)))
    viewer.dims.point = (20, 0, 0)
    assert visible_part(layer, viewer.dims, 100) is None


def test_transposed_axes_are_those_displayed():
    layer = Image(np.zeros((4, 9, 11)))
    part = part_of(layer, point=(0, 5, 0), order=(1, 0, 2))
    assert part.box == (slice(0, None, 1), slice(5, 6), slice(0, None, 1))


def test_volumes_are_visible_as_a_whole():
    layer = Image(np.zeros((8, 8, 8)))
    part = part_of(layer, ndisplay=3, n_most=64)
    assert layer.data[part.box].shape == (4, 4, 4)
    assert_pixels_lie_in_place(layer, part)


@pytest.mark.parametrize(("n_most", "level"), [(1 << 20, 0), (300, 1), (64, 2), (9, 2)])
def test_level_is_the_finest_that_is_small_enough(n_most, level):
    full = np.zeros((32, 32))
    layer = Image([full, full[::2, ::2], full[::4, ::4]], multiscale=True)
    part = part_of(layer, n_most=n_most)
    assert part.level == level
    assert layer.data[level][part.box].size <= n_most
    assert_pixels_lie_in_place(layer, part)


def test_slice_of_a_level_is_the_one_that_is_shown():
    full = np.zeros((8, 32, 32))
    layer = Image([full, full[::4, ::4, ::4]], multiscale=True, scale=(2, 1, 1))
    part = part_of(layer, point=(10, 0, 0), n_most=100)
    assert part.level == 1
    assert part.box[0] == slice(1, 2)
    assert_pixels_lie_in_place(layer, part)


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_are_all_part_of_a_pixel(axis):
    layer = Image(np.zeros((3, 3, 9, 11)))
    assert part_of(layer, channels=Channels(axis, 3)).box[axis] == slice(None)


@pytest.mark.parametrize("channel", [0, 2])
def test_pixels_of_labels_span_the_channels(channel):
    layer = Image(np.zeros((4, 3, 9, 11)), scale=(5, 3, 1, 1), translate=(0, 1, 0, 0))
    part = part_of(layer, (10, 1 + 3 * channel, 0, 0), channels=Channels(1, 3))
    # The middle of the three is where the only pixel of labels is, at t = 2.
    assert_array_equal(part.affine[:, -1], (10, 1 + 3, 0, 0, 1))
    assert_array_equal(np.diag(part.affine), (5, 9, 1, 1, 1))


def test_slice_is_that_of_the_sliders_in_smaller_units():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((4, 9, 9)), units=("um", "um", "um"))
    viewer.add_image(np.zeros((4000, 9, 9)), units=("nm", "nm", "nm"))
    viewer.dims.point = (2000, 0, 0)
    part = visible_part(layer, viewer.dims, 100)
    assert part.box[0] == slice(2, 3)
    # The preview has the units of its source.
    assert_array_equal(part.affine[:, -1], (2, 0, 0, 1))


def test_what_is_displayed_of_a_layer_of_fewer_axes_is_what_napari_displays():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, 4, 9, 11)))
    layer = viewer.add_image(np.zeros((4, 9, 11)))
    # Of the layer itself, its last axes in this order are displayed.
    viewer.dims.order = (2, 1, 0, 3)
    viewer.dims.point = (0, 0, 6, 0)
    box = visible_part(layer, viewer.dims, 1000).box
    assert box == (slice(0, None, 1), slice(6, 7), slice(0, None, 1))


def test_slice_of_turned_axes_is_the_one_that_napari_draws():
    viewer = ViewerModel()
    data = np.broadcast_to(np.arange(40.0)[:, np.newaxis], (3, 40, 40))
    layer = viewer.add_image(data, rotate=(0, 0, 30))
    with pytest.warns(UserWarning, match="Non-orthogonal slicing"):
        viewer.dims.order = (1, 0, 2)
    with pytest.warns(UserWarning, match="Non-orthogonal slicing"):
        viewer.dims.point = (0, 12, 20)
    (row,) = np.unique(layer._data_view)
    assert visible_part(layer, viewer.dims, 1000).box[1] == slice(row, row + 1)


# The slice in view.


@pytest.mark.parametrize("ndim", [3, 4])
def test_slice_in_view_is_the_one_that_the_slider_is_at(ndim):
    viewer = ViewerModel()
    if ndim == 4:
        viewer.add_image(np.zeros((2, 5, 6, 7)))
    layer = viewer.add_image(np.zeros((5, 6, 7)), scale=(3, 1, 1), translate=(6, 0, 0))
    for at in (0, 4):
        viewer.dims.set_point(ndim - 3, 6 + 3 * at)
        assert slice_in_view(layer, viewer.dims, 0) == at


def test_slice_in_view_of_a_layer_that_the_slider_is_beyond_is_the_nearest():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((9, 6, 7)))
    layer = viewer.add_image(np.zeros((3, 6, 7)), translate=(2, 0, 0))
    for at, expected in ((0, 0), (8, 2), (3, 1)):
        viewer.dims.set_point(0, at)
        assert slice_in_view(layer, viewer.dims, 0) == expected


def test_there_is_no_slice_in_view_along_an_axis_that_is_displayed():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((5, 6, 7)))
    assert slice_in_view(layer, viewer.dims, 1) is None
    viewer.dims.ndisplay = 3
    assert slice_in_view(layer, viewer.dims, 0) is None
