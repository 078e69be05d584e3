import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from numpy.testing import assert_array_equal

from napari_kmeans._napari import placement
from napari_kmeans._napari.placement import (
    Channels,
    Screen,
    Span,
    coarse_part,
    slice_in_view,
    visible_part,
)

PLACED = {
    "scale": (3, 0.5, 0.25),
    "translate": (1, 2, 3),
    "rotate": 20,
    "shear": (0.1, 0.2, 0.3),
    "affine": np.diag([2, 3, 4, 1]),
}
# All of what the tests show.
WIDE = Screen((0, 0), 1, (1e5, 1e5))


def dims_of(layer, point=None, order=None, ndisplay=2):
    viewer = ViewerModel(ndisplay=ndisplay)
    viewer.add_layer(layer)
    if order is not None:
        viewer.dims.order = order
    if point is not None:
        viewer.dims.point = point
    return viewer.dims


def part_of(layer, *, n_most=1 << 20, channels=None, **how):
    return coarse_part(layer, dims_of(layer, **how), n_most, channels)


def seen_of(layer, screen, *, n_whole=0, **how):
    return visible_part(layer, dims_of(layer, **how), screen, n_whole=n_whole)


def pixels_in(data, part):
    for axis, span in enumerate(part.spans):
        data = np.take(data, np.arange(data.shape[axis])[span.places], axis)
    return data


def assert_pixels_lie_in_place(layer, part):
    """The middle of each pixel is where its place is, at most half a step away."""
    data = layer.data[0] if layer.multiscale else layer.data
    level = layer.data[part.level] if layer.multiscale else layer.data
    for axis, span in enumerate(part.spans):
        factor = data.shape[axis] / level.shape[axis]
        taken = np.arange(level.shape[axis])[span.places]
        assert len(taken) == span.length
        for i, place in enumerate(taken):
            pixel = np.zeros(layer.ndim + 1)
            pixel[axis], pixel[-1] = i, 1
            found = layer.world_to_data((part.affine @ pixel)[:-1])[axis]
            middle = span.first + i * span.step
            assert found == pytest.approx((middle + 0.5) * factor - 0.5, abs=1e-6)
            assert place == np.floor(middle + 0.5)


@pytest.mark.parametrize("n_most", [1 << 20, 60, 7])
def test_pixels_of_a_slice_lie_in_place(n_most):
    layer = Image(np.zeros((4, 9, 11)), **PLACED)
    part = part_of(layer, n_most=n_most)
    shown = pixels_in(layer.data, part)
    assert shown.shape[0] == 1
    assert shown.size <= max(n_most, 9)
    assert_pixels_lie_in_place(layer, part)


def test_slice_is_that_of_the_sliders():
    layer = Image(np.zeros((4, 9, 11)), scale=(3, 1, 1), translate=(10, 0, 0))
    assert part_of(layer, point=(16, 0, 0)).spans[0] == Span(2, 1, 1)


def test_nothing_is_visible_beyond_the_layer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((9, 9, 9)), scale=(5, 1, 1))
    layer = viewer.add_image(np.zeros((4, 9, 9)))
    viewer.dims.point = (20, 0, 0)
    assert visible_part(layer, viewer.dims, WIDE) is None


def test_transposed_axes_are_those_displayed():
    layer = Image(np.zeros((4, 9, 11)))
    part = part_of(layer, point=(0, 5, 0), order=(1, 0, 2))
    assert part.spans == (Span(0, 1, 4), Span(5, 1, 1), Span(0, 1, 11))
    assert seen_of(layer, WIDE, point=(0, 5, 0), order=(1, 0, 2)).spans == part.spans


def test_volumes_are_visible_as_a_whole(monkeypatch):
    monkeypatch.setattr(placement, "_MOST_IN_3D", 64)
    layer = Image(np.zeros((8, 8, 8)))
    part = seen_of(layer, Screen((0, 0), 99, (9, 9)), ndisplay=3)
    assert pixels_in(layer.data, part).shape == (4, 4, 4)
    assert_pixels_lie_in_place(layer, part)


@pytest.mark.parametrize(("n_most", "level"), [(1 << 20, 0), (300, 1), (64, 2), (9, 2)])
def test_coarse_level_is_the_finest_that_is_small_enough(n_most, level):
    full = np.zeros((32, 32))
    layer = Image([full, full[::2, ::2], full[::4, ::4]], multiscale=True)
    part = part_of(layer, n_most=n_most)
    assert part.level == level
    assert pixels_in(layer.data[level], part).size <= n_most
    assert_pixels_lie_in_place(layer, part)


@pytest.mark.parametrize(
    ("zoom", "level"), [(4, 0), (1, 0), (0.6, 0), (0.5, 1), (0.26, 1), (0.2, 2)]
)
def test_level_is_the_coarsest_whose_pixels_are_no_larger_than_the_canvas_has(
    zoom, level
):
    full = np.zeros((32, 32))
    layer = Image([full, full[::2, ::2], full[::4, ::4]], multiscale=True)
    part = seen_of(layer, Screen((16, 16), zoom, (40, 40)), n_whole=1 << 20)
    assert part.level == level
    assert pixels_in(layer.data[level], part).shape == layer.data[level].shape
    assert_pixels_lie_in_place(layer, part)


def test_level_is_as_fine_as_the_scale_makes_its_pixels_large():
    full = np.zeros((32, 32))
    layer = Image([full, full[::4, ::4]], multiscale=True, scale=(8, 8))
    assert seen_of(layer, Screen((128, 128), 0.25, (40, 40))).level == 0
    assert seen_of(layer, Screen((128, 128), 1 / 32, (40, 40))).level == 1


def test_slice_of_a_level_is_the_one_that_is_shown():
    full = np.zeros((8, 32, 32))
    layer = Image([full, full[::4, ::4, ::4]], multiscale=True, scale=(2, 1, 1))
    part = part_of(layer, point=(10, 0, 0), n_most=100)
    assert part.level == 1
    assert part.spans[0] == Span(1, 1, 1)
    assert_pixels_lie_in_place(layer, part)


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_are_all_part_of_a_pixel(axis):
    layer = Image(np.zeros((3, 3, 9, 11)))
    assert part_of(layer, channels=Channels(axis, 3)).spans[axis] == Span(0, 1, 3)


@pytest.mark.parametrize("channel", [0, 2])
def test_pixels_of_labels_span_the_channels(channel):
    layer = Image(np.zeros((4, 3, 9, 11)), scale=(5, 3, 1, 1), translate=(0, 1, 0, 0))
    point = (10, 1 + 3 * channel, 0, 0)
    part = part_of(layer, point=point, channels=Channels(1, 3))
    # The middle of the three is where the only pixel of labels is, at t = 2.
    assert_array_equal(part.affine[:, -1], (10, 1 + 3, 0, 0, 1))
    assert_array_equal(np.diag(part.affine), (5, 9, 1, 1, 1))


def test_slice_is_that_of_the_sliders_in_smaller_units():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((4, 9, 9)), units=("um", "um", "um"))
    viewer.add_image(np.zeros((4000, 9, 9)), units=("nm", "nm", "nm"))
    viewer.dims.point = (2000, 0, 0)
    part = visible_part(layer, viewer.dims, WIDE)
    assert part.spans[0] == Span(2, 1, 1)
    # The preview has the units of its source.
    assert_array_equal(part.affine[:, -1], (2, 0, 0, 1))


def test_what_is_displayed_of_a_layer_of_fewer_axes_is_what_napari_displays():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((5, 4, 9, 11)))
    layer = viewer.add_image(np.zeros((4, 9, 11)))
    # Of the layer itself, its last axes in this order are displayed.
    viewer.dims.order = (2, 1, 0, 3)
    viewer.dims.point = (0, 0, 6, 0)
    spans = visible_part(layer, viewer.dims, WIDE).spans
    assert spans == (Span(0, 1, 4), Span(6, 1, 1), Span(0, 1, 11))


def test_slice_of_turned_axes_is_the_one_that_napari_draws():
    viewer = ViewerModel()
    data = np.broadcast_to(np.arange(40.0)[:, np.newaxis], (3, 40, 40))
    layer = viewer.add_image(data, rotate=(0, 0, 30))
    with pytest.warns(UserWarning, match="Non-orthogonal slicing"):
        viewer.dims.order = (1, 0, 2)
    with pytest.warns(UserWarning, match="Non-orthogonal slicing"):
        viewer.dims.point = (0, 12, 20)
    (row,) = np.unique(layer._data_view)
    assert coarse_part(layer, viewer.dims, 1000).spans[1] == Span(row, 1, 1)


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


# What a screen shows of planes that are not seen as a whole.


def brute_force(n, center, zoom, n_screen):
    """Return the pixel under the middle of each pixel of the screen, if any."""
    middles = center + (np.arange(n_screen) + 0.5 - n_screen / 2) / zoom
    places = np.floor(middles + 0.5)
    return places[(places >= 0) & (places < n)]


@pytest.mark.parametrize("n_screen", [10, 11])
@pytest.mark.parametrize("zoom", [0.9, 0.37, 0.21])
@pytest.mark.parametrize("center", [0.3, 17.2, 44.9])
def test_a_pixel_of_the_screen_is_that_under_its_middle(center, zoom, n_screen):
    layer = Image(np.zeros((50, 60)))
    part = seen_of(layer, Screen((center, center), zoom, (n_screen, n_screen)))
    for axis, n in enumerate(layer.data.shape):
        taken = np.arange(n)[part.spans[axis].places]
        expected = brute_force(n, center, zoom, n_screen)
        # What lies a little beyond the edges of the screen is there, too.
        start = np.flatnonzero(taken == expected[0])
        assert any(
            np.array_equal(taken[i : i + len(expected)], expected) for i in start
        )
        assert len(taken) <= len(expected) + 4
    assert_pixels_lie_in_place(layer, part)


def test_a_display_of_more_pixels_than_the_canvas_shows_more():
    layer = Image(np.zeros((50, 60)))
    part = seen_of(layer, Screen((25, 30), 0.25, (20, 20), ratio=2))
    assert [span.step for span in part.spans] == [2, 2]
    assert_pixels_lie_in_place(layer, part)


@pytest.mark.parametrize("zoom", [1, 5])
def test_all_pixels_are_visible_where_they_are_larger_than_the_screen_s(zoom):
    layer = Image(np.zeros((500, 600)))
    part = seen_of(layer, Screen((250, 300), zoom, (200, 200)))
    for span, center in zip(part.spans, (250, 300), strict=True):
        assert span.step == 1
        # They begin and end where the thresholds of ordered dithering do.
        assert span.first % 64 == 0
        assert span.first <= center - 100 / zoom
        assert span.first + span.length >= center + 100 / zoom
        assert span.length < 200 / zoom + 2 * 64 + 2 * 200 / zoom / 16


@pytest.mark.parametrize(
    "placed",
    [
        {"scale": (2, 0.5), "translate": (3, -4)},
        {"scale": (-1, 1)},
        {"rotate": 30, "scale": (2, 2)},
        {"shear": [0.5]},
        {"affine": [[0, -1, 5], [1, 0, 7], [0, 0, 1]]},
    ],
)
def test_all_of_the_screen_is_covered_wherever_the_layer_lies(placed):
    layer = Image(np.zeros((50, 60)), **placed)
    middle = layer.data_to_world((20, 30))
    screen = Screen(middle, 0.7, (9, 13))
    part = seen_of(layer, screen)
    covered = np.zeros(layer.data.shape, dtype=bool)
    index = [
        np.arange(n)[s.places] for n, s in zip(covered.shape, part.spans, strict=True)
    ]
    covered[np.ix_(*index)] = True
    for row in (-4, 0, 4):
        for column in (-6, 0, 6):
            world = np.array(middle) + np.array([row, column]) / screen.zoom
            at = np.rint(layer.world_to_data(world)).astype(int)
            if ((at >= 0) & (at < covered.shape)).all():
                near = covered[tuple(slice(max(0, i - 2), i + 3) for i in at.tolist())]
                assert near.any()


def test_nothing_is_visible_beside_the_layer():
    layer = Image(np.zeros((50, 60)))
    for zoom in (0.3, 3):
        assert seen_of(layer, Screen((900, 30), zoom, (20, 20))) is None


def test_small_planes_are_visible_as_a_whole_wherever_one_looks():
    layer = Image(np.zeros((1024, 1024)))
    for screen in (Screen((0, 0), 9, (10, 10)), Screen((0, 0), 0.01, (500, 500))):
        part = seen_of(layer, screen, n_whole=1 << 20)
        assert part.spans == (Span(0, 1, 1024), Span(0, 1, 1024))
