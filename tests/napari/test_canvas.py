"""What a real canvas shows."""

import numpy as np
import pytest
from napari.utils.colormaps import DirectLabelColormap
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtGui import QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from skimage import data

from napari_kmeans import kmeans_palette, quantize_layer
from napari_kmeans._napari.layers import draw_mask
from napari_kmeans._napari.record import record_of
from napari_window import dock_in, press, preview_in


@pytest.mark.parametrize("output", ["image", "labels"])
def test_canvas_shows_the_palette(window, finish, output):
    photo = data.astronaut()
    window.add_image(photo)
    widget = dock_in(window)
    widget.controls.output.value = output
    widget.controls.k.value = 5

    press(widget.run_panel.run)
    finish(widget)
    canvas = window.screenshot(canvas_only=True, flash=False)[..., :3]

    shown, counts = np.unique(canvas.reshape(-1, 3), axis=0, return_counts=True)
    background = canvas[0, 0]
    expected = np.vstack([kmeans_palette(photo, 5).palette, background])
    assert_array_equal(shown, np.unique(expected, axis=0))
    assert counts.min() > 1000


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_results_of_additive_layers_are_as_bright_as_these(window, n_layers, n_dims):
    z, y, x = np.indices((8, 40, 40))
    for channel in range(n_layers):
        distance = np.hypot(np.hypot(z - 4, y - 20), x - 15 - 10 * channel)
        window.add_image(
            np.clip(250 - 12 * distance, 0, 250).astype(np.uint8),
            blending="additive",
            colormap=["green", "magenta"][channel],
            contrast_limits=(0, 255),
        )
    window.dims.ndisplay = n_dims
    window.reset_view()
    before = window.screenshot(canvas_only=True, flash=False)[..., :3].mean()

    quantize_layer(list(window.layers), 32, viewer=window)

    after = window.screenshot(canvas_only=True, flash=False)[..., :3].mean()
    # In few colors, but not in twice the light.
    assert_allclose(after, before, rtol=0.05)


@pytest.fixture
def movie(window, finish, qtbot):
    """Give a widget, an image of three channels along an axis, and its two labels.

    What is not black in it becomes narrower with the time, from either side.
    """

    def movie(axis, **attributes):
        window.layers.clear()
        frames = np.zeros((3, 30, 40, 3), dtype=np.uint8)
        for t in range(3):
            frames[t, 3 * t : 29, 8 + 8 * t :] = (200, 210, 220)
        scale, translate = np.array([1, 2, 2, 2.0]), np.zeros(4)
        scale[axis], translate[axis] = 7, 3
        source = window.add_image(
            np.moveaxis(frames, -1, axis),
            rgb=False,
            contrast_limits=(0, 255),
            scale=scale,
            translate=translate,
            **attributes,
        )
        widget = dock_in(window)
        widget.controls.channels.value = axis
        widget.controls.k.value = 2
        widget.controls.output.value = "labels"
        press(widget.run_panel.run)
        finish(widget)
        # Let the docks come to rest, for these take their room from the canvas.
        qtbot.wait(100)
        return widget, source, window.layers[1]

    return movie


@pytest.mark.parametrize(
    "cases",
    [
        # The axis of channels, and the order of all, of which the last two are seen.
        [(0, (0, 1, 2, 3)), (1, (0, 1, 2, 3)), (1, (0, 2, 1, 3))],
        [(2, (0, 2, 1, 3)), (3, (0, 3, 1, 2))],
    ],
    ids=["channels before rows", "channels after rows"],
)
def test_channels_are_seen_where_their_source_is(window, movie, seen, settle, cases):
    for axis, order in cases:
        widget, source, labels = movie(axis)
        window.dims.order = order
        window.reset_view()

        for t, channel in ((0, 0), (2, 1)):
            window.dims.set_current_step(1 if axis == 0 else 0, t)
            if axis not in window.dims.displayed:
                window.dims.set_current_step(axis, channel)
            expected = seen(source)
            assert expected.sum() > 1000
            assert_array_equal(seen(labels), expected)

            widget.run_panel.live.value = True
            settle(widget)
            assert_array_equal(seen(preview_in(window)), expected)
            widget.run_panel.live.value = False

            # Over the black color lies no veil, and a white one over the other.
            widget.palette_panel.table.chosen.emit(0)
            assert_array_equal(seen(window.layers[-1]), expected)
            widget.palette_panel.table.chosen.emit(0)


@pytest.mark.parametrize("kind", ["labels", "shapes"])
def test_palette_is_fitted_to_what_is_seen_inside(window, finish, seen, kind):
    for unit in ("nm", "pixel"):
        window.layers.clear()
        assert_fitted_inside(window, finish, seen, kind, unit)


def assert_fitted_inside(window, finish, seen, kind, unit):
    image = data.astronaut()[:64, :50]
    scale = {"scale": (2, 3)}
    source = window.add_image(image, units=("um", "um"), **scale)
    # napari takes the numbers as they are if not all units can be converted.
    size = 1000 if unit == "nm" else 1
    lies = {"scale": (size, size), "units": (unit, unit)}
    if kind == "labels":
        inside = window.add_labels(np.tri(90, 120, dtype=int), **lies)
    else:
        corners = np.array([[21, 31], [21, 92], [80, 92], [80, 31]]) - 0.01
        inside = window.add_shapes([corners], face_color="red", edge_width=0, **lies)
        inside.opacity = 1
    window.reset_view()
    widget = dock_in(window)
    widget.controls.inside.value = inside
    widget.controls.k.value = 4
    press(widget.run_panel.run)
    finish(widget)

    # The mask as labels of the image's own pixels.
    shape, mask = image.shape[:2], draw_mask(widget.controls.request().source.mask)
    assert mask.shape == shape
    drawn = window.add_labels(mask.astype(int), units=source.units, **scale)
    share = (seen(inside) & seen(source)) ^ seen(drawn)
    # Pixels of the image are inside as a whole, or not at all.
    assert share.sum() < 0.06 * seen(drawn).sum()
    expected = kmeans_palette(image, 4, mask=mask).palette
    assert_array_equal(record_of(window.layers[2]).palette, expected)


def test_channels_are_seen_where_their_source_is_in_3d(window, movie, seen, settle):
    # A quarter of rows and columns.
    turned = np.eye(4)[[0, 1, 3, 2]] * (1, 1, 1, -1)
    widget, source, labels = movie(1, rotate=turned)
    # What is black would hide what lies behind.
    color_dict = {None: "transparent", 2: "white"}
    labels.colormap = DirectLabelColormap(color_dict=color_dict)
    window.dims.ndisplay = 3
    # napari < 0.9 has the camera elsewhere.
    getattr(window, "scene", window).camera.angles = (10, 25, 50)

    for t in (0, 2):
        window.dims.set_current_step(0, t)
        expected = seen(source)

        def overlap(shown, expected=expected):
            return (shown & expected).sum() / (shown | expected).sum()

        assert expected.sum() > 1000
        assert overlap(seen(labels)) > 0.95
        widget.run_panel.live.value = True
        settle(widget)
        assert overlap(seen(preview_in(window))) > 0.95
        widget.run_panel.live.value = False
        widget.palette_panel.table.chosen.emit(1)
        assert overlap(seen(window.layers[-1])) > 0.95
        widget.palette_panel.table.chosen.emit(1)


def test_removed_layers_are_freed_in_the_context_of_the_canvas(window, qtbot):
    # What `make_napari_viewer` does here for the sake of Mesa, which crashes otherwise
    # once the layer that is left is drawn again.
    for name in ("below", "above"):
        window.add_image(data.astronaut(), name=name)
    canvas = window.window._qt_window.centralWidget().findChild(QOpenGLWidget)
    window.screenshot(canvas_only=False, flash=False)
    qtbot.waitUntil(lambda: QOpenGLContext.currentContext() is not canvas.context())
    contexts = []
    window.layers.events.removed.connect(
        lambda: contexts.append(QOpenGLContext.currentContext())
    )

    window.layers.remove("above")

    assert contexts == [canvas.context()]
