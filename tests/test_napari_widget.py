import gc
import threading
import time
import weakref
from types import SimpleNamespace

import dask.array as da
import napari
import numpy as np
import psutil
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._layer_actions import _duplicate_layer
from napari.utils.colormaps import Colormap, DirectLabelColormap
from napari.utils.notifications import notification_manager
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from pandas.testing import assert_frame_equal
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QColor, QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication, QColorDialog, QInputDialog
from skimage import data

from napari_kmeans import kmeans_palette, map_to_palette, quantize_kmeans
from napari_kmeans._checkpoint import checkpoint
from napari_kmeans._napari import QuantizeWidget, _outcomes
from napari_kmeans._napari._layers import record_of
from napari_kmeans._napari._masks import draw_mask


@pytest.fixture
def viewer():
    """Give a viewer without a window, which takes layers as one with a window does."""
    viewer = ViewerModel()
    yield viewer
    wait_for_threads()


@pytest.fixture
def dock(viewer, qtbot):
    """Make the widget, and let it follow the layers as napari does."""

    def dock():
        widget = QuantizeWidget(viewer)
        qtbot.addWidget(widget.native)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(widget.reset_choices)
        events.renamed.connect(widget.reset_choices)
        return widget

    return dock


@pytest.fixture
def window(make_napari_viewer):
    """Give a viewer in a real window."""
    viewer = make_napari_viewer(show=True)
    yield viewer
    # Threads must not outlive the window that they report to.
    wait_for_threads()


def dock_in(window):
    """Dock the widget as the Plugins menu does."""
    _, widget = window.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    return widget


@pytest.fixture
def finish(qtbot):
    """Wait until a widget is ready for the next computation."""

    def finish(widget):
        qtbot.waitUntil(lambda: widget.run.enabled, timeout=20_000)

    return finish


class _Paused:
    """Holds the computation after each iteration until it may go on."""

    def __init__(self):
        self.reached = threading.Event()
        self.may_go_on = threading.Event()
        self.n_computations = 0
        self.n_iterations = 0

    def kmeans_palette(self, image, k, iters, *, callback, **keywords):
        self.n_computations += 1

        def pausing(state):
            self.n_iterations += 1
            self.reached.set()
            assert self.may_go_on.wait(20)
            callback(state)

        return kmeans_palette(image, k, iters, callback=pausing, **keywords)


@pytest.fixture
def paused(monkeypatch):
    paused = _Paused()
    monkeypatch.setattr(_outcomes, "kmeans_palette", paused.kmeans_palette)
    yield paused
    paused.may_go_on.set()


def messages():
    return [notification.message for notification in notification_manager.records]


def press(button):
    button.native.click()


def wait_for_threads():
    """Wait until they end by themselves."""
    for thread in threading.enumerate():
        if thread.name == "napari-kmeans":
            thread.join(20)
            assert not thread.is_alive()


def test_photo_becomes_a_layer_of_k_colors(viewer, dock, finish):
    photo = data.astronaut()
    before = photo.copy()
    source = viewer.add_image(photo, name="astronaut", scale=(2, 3), units="um")
    widget = dock()
    widget.controls.k.value = 7
    widget.controls.iters.value = 3

    press(widget.run)
    finish(widget)

    result = viewer.layers["astronaut in 7 colors"]
    assert_array_equal(result.data, quantize_kmeans(photo, 7, 3))
    assert result.rgb
    assert_array_equal(result.extent.world, source.extent.world)
    assert result.units == source.units
    assert [layer.name for layer in viewer.layers] == ["astronaut", result.name]
    assert_array_equal(source.data, before)
    assert widget.status.value == "Added “astronaut in 7 colors”."


@pytest.mark.parametrize("output", ["image", "labels"])
def test_canvas_shows_the_palette(window, finish, output):
    photo = data.astronaut()
    window.add_image(photo)
    widget = dock_in(window)
    widget.controls.output.value = output
    widget.controls.k.value = 5

    press(widget.run)
    finish(widget)
    canvas = window.screenshot(canvas_only=True, flash=False)[..., :3]

    shown, counts = np.unique(canvas.reshape(-1, 3), axis=0, return_counts=True)
    background = canvas[0, 0]
    expected = np.vstack([kmeans_palette(photo, 5).palette, background])
    assert_array_equal(shown, np.unique(expected, axis=0))
    assert counts.min() > 1000


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(data.camera(), id="grayscale"),
        pytest.param(data.camera() * np.uint16(257), id="16 bits"),
        pytest.param(data.camera() / np.float32(255), id="float"),
        pytest.param(data.astronaut()[:60, :50, 0] > 99, id="bool"),
        pytest.param(data.astronaut()[:60].transpose(2, 0, 1), id="stack"),
        pytest.param(data.astronaut()[:60] / 255, id="float not shown as rgb"),
    ],
)
def test_layer_without_channels(viewer, dock, finish, image):
    viewer.add_image(image, rgb=False, name="image")
    widget = dock()
    widget.controls.k.value = 4

    press(widget.run)
    finish(widget)

    result = viewer.layers["image in 4 colors"]
    assert not result.rgb
    assert result.data.dtype == image.dtype
    assert_array_equal(result.data, quantize_kmeans(image, 4, channel_axis=None))


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(data.astronaut()[:60] / np.float32(255), id="float"),
        pytest.param(
            np.stack([data.astronaut()[:60], data.astronaut()[60:120]]), id="stack"
        ),
        pytest.param(np.dstack([data.astronaut()[:60], data.camera()[:60]]), id="rgba"),
    ],
)
def test_layer_with_channels(viewer, dock, finish, image):
    viewer.add_image(image, rgb=True, name="image")
    widget = dock()
    widget.controls.k.value = 4

    press(widget.run)
    finish(widget)

    result = viewer.layers["image in 4 colors"]
    assert result.rgb
    alpha = image.shape[-1] == 4
    assert_array_equal(result.data, quantize_kmeans(image, 4, alpha=alpha))


def test_pyramid_gets_the_palette_of_its_full_resolution(viewer, dock, finish):
    photo = data.astronaut()
    pyramid = [photo, photo[::2, ::2], photo[::4, ::4]]
    source = viewer.add_image(pyramid, multiscale=True, name="pyramid", scale=(2, 2))
    widget = dock()

    press(widget.run)
    finish(widget)

    result = viewer.layers["pyramid in 16 colors"]
    assert result.multiscale
    palette = kmeans_palette(photo).palette
    for level, original in zip(result.data, pyramid, strict=True):
        assert_array_equal(level, palette[map_to_palette(original, palette)])
    assert_array_equal(result.extent.world, source.extent.world)


def test_lazy_layer_is_read_by_the_worker(viewer, dock, finish):
    may_read = threading.Event()
    may_read.set()

    def read(block):
        assert may_read.wait(20)
        return block

    image = data.astronaut()
    lazy = da.from_array(image, chunks=(256, 256, 3))
    viewer.add_image(lazy.map_blocks(read, dtype=image.dtype), name="lazy", rgb=True)
    widget = dock()

    # Read by the window's thread, it would never come as far as to allow it.
    may_read.clear()
    press(widget.run)
    may_read.set()
    finish(widget)

    assert_array_equal(viewer.layers["lazy in 16 colors"].data, quantize_kmeans(image))


def test_second_result_does_not_replace_the_first(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.k.value = 2

    press(widget.run)
    finish(widget)
    first = viewer.layers[-1]
    press(widget.run)
    finish(widget)

    assert [layer.name for layer in viewer.layers] == [
        "a",
        "a in 2 colors",
        "a in 2 colors [1]",
    ]
    assert viewer.layers[1] is first


def test_other_layer_of_that_name_stays(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    labels = viewer.add_labels(np.ones((9, 9), dtype=int), name="a in 2 colors")
    widget = dock()
    widget.controls.k.value = 2

    press(widget.run)
    finish(widget)

    assert viewer.layers["a in 2 colors"] is labels
    assert isinstance(viewer.layers["a in 2 colors [1]"], Image)


def test_layers_can_be_chosen_as_they_come_and_go(viewer, dock):
    widget = dock()
    assert widget.controls.source.choices == ()

    first = viewer.add_image(np.zeros((4, 4)), name="first")
    viewer.add_labels(np.zeros((4, 4), dtype=int))
    second = viewer.add_image(np.ones((4, 4)), name="second")
    assert widget.controls.source.choices == (first, second)

    viewer.layers.remove(first)
    assert widget.controls.source.value is second


def test_no_layer(viewer, dock):
    widget = dock()

    press(widget.run)

    assert len(viewer.layers) == 0
    assert "no image layer" in widget.status.value
    assert "no image layer" in messages()[-1]
    assert widget.run.enabled


def test_progress_moves_with_each_iteration(viewer, dock, finish, paused, qtbot):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.iters.value = 3
    steps = []
    bar = widget.progress.native
    bar.valueChanged.connect(lambda n: steps.append((n, bar.maximum())))

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    # Before, it is not known how much there is to do.
    assert widget.progress.native.maximum() == 0
    assert widget.cancel.enabled
    paused.may_go_on.set()
    finish(widget)

    assert [step for step in steps if step[1] == 3] == [(1, 3), (2, 3), (3, 3)]
    assert steps[-1] == (1, 1)
    assert not widget.cancel.enabled


def test_no_iteration(viewer, dock, finish):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.iters.value = 0

    press(widget.run)
    finish(widget)

    assert_array_equal(
        viewer.layers["a in 16 colors"].data, quantize_kmeans(image, 16, 0)
    )


def test_cancel_adds_nothing_and_ends_the_computation(viewer, dock, paused, qtbot):
    viewer.add_image(data.astronaut(), name="a")
    widget = dock()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    press(widget.cancel)

    assert widget.run.enabled
    assert not widget.cancel.enabled
    assert "Cancelled" in widget.status.value
    # The bar is empty, and not busy.
    bar = widget.progress.native
    assert (bar.value(), bar.maximum()) == (0, 1)
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)
    assert paused.n_iterations == 1
    assert [layer.name for layer in viewer.layers] == ["a"]
    assert "Cancelled" in widget.status.value


def test_cancel_ends_the_thread_at_a_checkpoint(viewer, dock, monkeypatch, qtbot):
    image = data.astronaut()
    viewer.add_image(image, name="a")
    widget = dock()
    reached, ended = threading.Event(), []

    def endless(*_, **__):
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                checkpoint()
                reached.set()
        finally:
            ended.append(time.monotonic() < end)

    monkeypatch.setattr(_outcomes, "kmeans_palette", endless)
    press(widget.run)
    qtbot.waitUntil(reached.is_set)
    press(widget.cancel)
    wait_for_threads()
    qtbot.wait(1)

    assert ended == [True]
    assert [layer.name for layer in viewer.layers] == ["a"]
    assert viewer.layers["a"].data is image


def test_cancel_after_the_last_iteration_adds_nothing(viewer, dock, qtbot):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()

    press(widget.run)
    # The result is on its way to the window, which has not looked for it yet.
    wait_for_threads()
    press(widget.cancel)
    qtbot.wait(1)

    assert [layer.name for layer in viewer.layers] == ["a"]
    assert "Cancelled" in widget.status.value


def test_run_after_cancel_gives_the_new_result_only(
    viewer, dock, finish, paused, qtbot
):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    widget = dock()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    press(widget.cancel)
    widget.controls.k.value = 3
    press(widget.run)
    paused.may_go_on.set()
    finish(widget)

    assert [layer.name for layer in viewer.layers] == ["a", "a in 3 colors"]
    assert_array_equal(viewer.layers[1].data, quantize_kmeans(image, 3))


def test_press_while_running_starts_nothing(viewer, dock, finish, paused, qtbot):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    for _ in range(20):
        press(widget.run)
        widget.run.changed.emit(True)
    paused.may_go_on.set()
    finish(widget)
    wait_for_threads()
    qtbot.wait(1)

    assert paused.n_computations == 1
    assert [layer.name for layer in viewer.layers] == ["a", "a in 16 colors"]


def test_source_removed_while_running(viewer, dock, finish, paused, qtbot):
    viewer.add_image(data.astronaut()[:64], name="gone")
    widget = dock()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    viewer.layers.remove("gone")
    paused.may_go_on.set()
    finish(widget)

    assert len(viewer.layers) == 0
    assert "“gone” was removed" in widget.status.value
    assert "“gone” was removed" in messages()[-1]


def test_source_moved_and_renamed_while_running(viewer, dock, finish, paused, qtbot):
    source = viewer.add_image(data.astronaut()[:64], name="before")
    widget = dock()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    source.translate = (5, 7)
    source.name = "after"
    paused.may_go_on.set()
    finish(widget)

    result = viewer.layers["after in 16 colors"]
    assert_array_equal(result.translate, [5, 7])


def test_source_reshaped_while_running(viewer, dock, finish, paused, qtbot):
    source = viewer.add_image(data.camera()[:64], name="a")
    widget = dock()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    source.data = np.zeros((2, 3, 4), dtype=np.uint8)
    paused.may_go_on.set()
    # napari shows what a slot raises.
    with qtbot.captureExceptions() as raised:
        finish(widget)

    assert len(raised) == 1
    assert widget.status.value == "“a”: the result could not be added."
    assert [layer.name for layer in viewer.layers] == ["a"]


def test_window_closed_while_running(window, paused, qtbot):
    window.add_image(data.astronaut(), name="a")
    widget = dock_in(window)

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    with qtbot.waitSignal(widget.native.destroyed):
        window.close()
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)

    assert paused.n_iterations == 1


def test_removed_layers_are_freed_in_the_context_of_the_canvas(window, qtbot):
    # In another one, Mesa crashes once the layer that is left is drawn again.
    for name in ("below", "above"):
        window.add_image(data.astronaut(), name=name)
    dock_in(window)
    canvas = window.window._qt_window.centralWidget().findChild(QOpenGLWidget)
    window.screenshot(canvas_only=False, flash=False)
    qtbot.waitUntil(lambda: QOpenGLContext.currentContext() is not canvas.context())
    contexts = []
    window.layers.events.removed.connect(
        lambda: contexts.append(QOpenGLContext.currentContext())
    )

    window.layers.remove("above")

    assert contexts == [canvas.context()]


def test_nothing_keeps_the_image_of_a_source_that_was_removed(
    viewer, dock, finish, qtbot
):
    image = data.astronaut()[:64].copy()
    is_alive = weakref.ref(image)
    viewer.add_image(image, name="a")
    widget = dock()
    press(widget.run)
    finish(widget)
    qtbot.waitUntil(lambda: "PSNR" in widget.numbers.value)

    del image
    viewer.layers.remove("a")
    wait_for_threads()
    qtbot.wait(1)
    gc.collect()

    assert is_alive() is None


def test_layer_that_cannot_be_taken_is_told_why(viewer, dock, finish):
    viewer.add_image(np.full((4, 5), np.nan), name="a", contrast_limits=(0, 1))
    widget = dock()

    press(widget.run)
    finish(widget)

    assert widget.status.value == (
        "“a” has no pixel that is a number: all are NaN or infinite"
    )
    assert messages()[-1] == widget.status.value
    assert names(viewer) == ["a"]


def test_layer_that_is_too_large_is_told_its_size(viewer, dock, finish, monkeypatch):
    viewer.add_image(da.zeros((100, 100), dtype="u1"), name="a")
    widget = dock()
    free = SimpleNamespace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)

    press(widget.run)
    finish(widget)

    assert widget.status.value.startswith(
        "“a”: the layer needs some 3e-05 GB of memory"
    )


def test_error_is_shown_and_the_widget_goes_on(viewer, dock, finish, monkeypatch):
    def fail(*_, **__):
        msg = "out of crayons"
        raise RuntimeError(msg)

    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    with monkeypatch.context() as broken:
        broken.setattr(_outcomes, "kmeans_palette", fail)
        press(widget.run)
        finish(widget)

    assert widget.status.value == "“a”: out of crayons"
    assert messages()[-1] == "“a”: out of crayons"
    assert [layer.name for layer in viewer.layers] == ["a"]

    press(widget.run)
    finish(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a in 16 colors"]


# The preview.


@pytest.fixture
def settle(qtbot):
    """Wait until the preview shows what is chosen."""

    def settle(widget):
        qtbot.waitUntil(lambda: widget._preview.is_settled, timeout=20_000)

    return settle


def names(viewer):
    return [layer.name for layer in viewer.layers]


def preview_in(viewer):
    (layer,) = (x for x in viewer.layers if x.name.startswith("preview of"))
    return layer


def test_preview_shows_the_colors_to_be(viewer, dock, settle):
    image = data.astronaut()[:64, :50]
    source = viewer.add_image(image, name="a", scale=(2, 3), translate=(1, 1))
    widget = dock()
    widget.controls.k.value = 5

    widget.live.value = True
    settle(widget)

    shown = preview_in(viewer)
    assert_array_equal(shown.data[..., :3], quantize_kmeans(image, 5))
    assert_array_equal(shown.extent.world, source.extent.world)
    assert viewer.layers.selection.active is source


def test_preview_follows_the_slider_in_one_layer(viewer, dock, settle):
    image = data.astronaut()[:64, :50]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.live.value = True
    settle(widget)
    shown = preview_in(viewer)

    for k in (3, 9, 20, 4):
        widget.controls.k.value = k
    settle(widget)

    assert preview_in(viewer) is shown
    assert_array_equal(shown.data[..., :3], quantize_kmeans(image, 4))


def state_of(layer):
    """What a layer shows, and where."""
    corners = [layer.data_to_world(corner) for corner in ((0, 0), (5, 7), (7, 5))]
    return layer.data.tolist(), corners, layer.units, layer.axis_labels


def edit_in_place(layer):
    layer.data[:20] = 7
    layer.refresh()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: setattr(x, "data", x.data[::-1].copy()), id="data"),
        pytest.param(lambda x: setattr(x, "data", x.data[:30, :20]), id="shape"),
        pytest.param(edit_in_place, id="edited"),
        pytest.param(lambda x: setattr(x, "scale", (3, 4)), id="scale"),
        pytest.param(lambda x: setattr(x, "translate", (3, 4)), id="translate"),
        pytest.param(lambda x: setattr(x, "rotate", 30), id="rotate"),
        pytest.param(lambda x: setattr(x, "shear", [0.5]), id="shear"),
        pytest.param(lambda x: setattr(x, "affine", np.diag([3, 2, 1])), id="affine"),
        pytest.param(lambda x: setattr(x, "units", ("um", "um")), id="units"),
        pytest.param(lambda x: setattr(x, "axis_labels", ("r", "c")), id="axes"),
        pytest.param(lambda x: setattr(x, "contrast_limits", (50, 90)), id="contrast"),
        pytest.param(lambda x: setattr(x, "colormap", "magenta"), id="colormap"),
        pytest.param(lambda x: setattr(x, "gamma", 0.4), id="gamma"),
    ],
)
def test_preview_follows_its_source(viewer, dock, settle, change):
    source = viewer.add_image(data.camera()[:64, :50].copy(), name="a")
    widget = dock()
    widget.controls.k.value = 4
    widget.live.value = True
    settle(widget)
    before = state_of(preview_in(viewer))

    change(source)
    settle(widget)

    after = state_of(preview_in(viewer))
    assert after != before
    assert after[1:] == state_of(source)[1:]
    # It is what is shown to who asks only now.
    widget.live.value = False
    widget.live.value = True
    settle(widget)
    assert state_of(preview_in(viewer)) == after


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: mask.paint((30, 30), 1),
        lambda mask: setattr(mask, "data", 1 - mask.data),
        lambda mask: setattr(mask, "translate", (20, 20)),
    ],
    ids=["paint", "data", "translate"],
)
def test_preview_follows_its_mask(viewer, dock, settle, change):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    inside = np.zeros((64, 50), dtype=int)
    inside[5:9, 9:15] = 1
    mask = viewer.add_labels(inside, name="m")
    mask.brush_size = 20
    widget = dock()
    widget.controls.inside.value = mask
    widget.live.value = True
    settle(widget)
    before = preview_in(viewer).data

    change(mask)
    settle(widget)

    assert (preview_in(viewer).data != before).any()


def test_preview_follows_each_level_of_its_source(viewer, dock, settle):
    photo = data.astronaut()[:64, :50]
    pyramid = [photo, photo[::2, ::2]]
    source = viewer.add_image(pyramid, multiscale=True, rgb=True, name="a")
    widget = dock()
    widget.live.value = True
    settle(widget)

    source.data = [255 - level for level in pyramid]
    settle(widget)

    expected = quantize_kmeans(255 - photo)
    assert_array_equal(preview_in(viewer).data[..., :3], expected)


def test_preview_follows_all_layers_that_are_channels(viewer, dock, settle):
    for i, name in enumerate("ab"):
        viewer.add_image(data.astronaut()[:64, :50, i], name=name)
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    viewer.layers.selection = set(viewer.layers)
    widget.controls.channels.value = "layers"
    widget.live.value = True
    settle(widget)
    before = preview_in(viewer).data

    viewer.layers["b"].colormap = "magenta"
    settle(widget)

    assert (preview_in(viewer).data != before).any()


def test_preview_is_not_computed_for_what_it_does_not_show(
    viewer, dock, settle, paused
):
    source = viewer.add_image(data.astronaut()[:64, :50], name="a")
    other = viewer.add_image(data.astronaut()[:64, :50], name="b")
    widget = dock()
    widget.controls.source.value = source
    paused.may_go_on.set()
    widget.live.value = True
    settle(widget)

    source.opacity = 0.5
    other.data = other.data[::-1]
    other.scale = (3, 3)
    widget.controls.source.value = other
    settle(widget)
    source.data = source.data[::-1]
    settle(widget)

    assert paused.n_computations == 2


def test_preview_follows_a_source_that_loses_the_axis_of_its_channels(
    viewer, dock, settle
):
    image = data.astronaut()[:60, :50].transpose(2, 0, 1)
    source = viewer.add_image(np.stack([image, image], -1), rgb=False, name="a")
    widget = dock()
    widget.controls.channels.value = 3
    widget.controls.k.value = 3
    widget.live.value = True
    settle(widget)

    source.data = image[0]
    settle(widget)

    assert widget.controls.channels.value is None
    expected = quantize_kmeans(image[0], 3, channel_axis=None)
    levels = preview_in(viewer).data[..., 0]
    assert levels.shape == image[0].shape
    assert len(np.unique(levels)) == len(np.unique(expected)) == 3


def test_newest_request_wins(viewer, dock, settle, paused, qtbot):
    image = data.astronaut()[:64, :50]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.k.value = 9

    widget.live.value = True
    qtbot.waitUntil(paused.reached.is_set)
    widget.controls.k.value = 3
    paused.may_go_on.set()
    settle(widget)

    shown = preview_in(viewer)
    assert_array_equal(shown.data[..., :3], quantize_kmeans(image, 3))


def test_preview_is_computed_once(viewer, dock, settle, paused):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    paused.may_go_on.set()
    widget.live.value = True
    settle(widget)
    assert paused.n_computations == 1


def test_many_requests_are_answered_together(viewer, dock, settle, paused, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.live.value = True
    qtbot.waitUntil(paused.reached.is_set)

    for k in range(2, 100):
        widget.controls.k.value = k
    # What is under way is not given up, or a hand that never rests would see nothing.
    qtbot.wait(100)
    assert paused.n_computations == 1
    paused.may_go_on.set()
    settle(widget)

    assert paused.n_computations == 2


def test_preview_is_of_the_current_slice(viewer, dock, settle):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    viewer.add_image(stack, rgb=True, name="stack", scale=(5, 1, 1))
    widget = dock()
    widget.controls.k.value = 4
    widget.live.value = True
    settle(widget)

    viewer.dims.set_current_step(0, 2)
    settle(widget)

    shown = preview_in(viewer)
    assert_array_equal(shown.data[0, ..., :3], quantize_kmeans(stack[2], 4))
    assert_array_equal(shown.extent.world[:, 0], [10, 10])


def test_preview_is_of_a_coarse_level(viewer, dock, settle):
    photo = np.tile(data.astronaut(), (2, 3, 1))
    pyramid = [photo, photo[::4, ::4]]
    source = viewer.add_image(pyramid, multiscale=True, name="a", scale=(2, 2))
    widget = dock()

    widget.live.value = True
    settle(widget)

    shown = preview_in(viewer)
    assert shown.data.shape[:2] == pyramid[1].shape[:2]
    assert_array_equal(shown.extent.world[1] + 4, source.extent.world[1] + 1)


def test_preview_of_channels_is_in_their_colors(viewer, dock, settle):
    image = np.moveaxis(data.astronaut()[:60, :50], -1, 0)
    viewer.add_image(image, name="channels", rgb=False)
    widget = dock()
    widget.controls.channels.value = 0
    widget.controls.k.value = 3

    widget.live.value = True
    settle(widget)

    shown = preview_in(viewer)
    assert shown.data.shape == (60, 50, 4)
    assert len(np.unique(shown.data.reshape(-1, 4), axis=0)) == 3


def test_toggle_removes_the_preview_alone(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    viewer.add_labels(np.ones((9, 9), dtype=int), name="preview of my own")
    widget = dock()
    widget.live.value = True
    settle(widget)
    assert len(viewer.layers) == 3

    widget.live.value = False

    assert names(viewer) == ["a", "preview of my own"]


def test_toggle_stops_a_preview_that_is_being_computed(viewer, dock, paused, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.live.value = True
    qtbot.waitUntil(paused.reached.is_set)

    widget.live.value = False
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)

    assert names(viewer) == ["a"]


def test_cancel_removes_the_preview(viewer, dock, settle, paused, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    paused.may_go_on.set()
    widget.live.value = True
    settle(widget)
    paused.may_go_on.clear()
    paused.reached.clear()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    press(widget.cancel)
    paused.may_go_on.set()

    assert names(viewer) == ["a"]
    assert not widget.live.value


def test_result_takes_the_place_of_the_preview(viewer, dock, settle, finish):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.live.value = True
    settle(widget)

    press(widget.run)
    finish(widget)

    assert names(viewer) == ["a", "a in 16 colors"]


def test_preview_that_the_user_removed_comes_back_with_the_next_change(
    viewer, dock, settle
):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.live.value = True
    settle(widget)
    viewer.layers.remove(preview_in(viewer))

    widget.controls.k.value = 3
    settle(widget)

    assert names(viewer) == ["a", "preview of a"]


def test_preview_goes_with_its_source(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.live.value = True
    settle(widget)

    viewer.layers.remove("a")
    settle(widget)

    assert names(viewer) == []


def test_preview_is_no_source(viewer, dock, settle):
    source = viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.live.value = True
    settle(widget)
    assert widget.controls.source.choices == (source,)


def test_closed_dock_takes_the_preview_along(window, settle, qtbot):
    window.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock_in(window)
    widget.live.value = True
    settle(widget)
    qtbot.waitUntil(lambda: len(window.layers) == 2)

    window.window.remove_dock_widget("all")
    qtbot.wait(1)

    assert names(window) == ["a"]


def test_closed_dock_ends_the_computation(window, paused, qtbot):
    window.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock_in(window)
    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)

    window.window.remove_dock_widget("all")
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)

    assert paused.n_iterations == 1
    assert names(window) == ["a"]


def test_explanation_goes_with_its_cause(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.controls.fixed.value = "red"
    widget.live.value = True
    settle(widget)
    assert widget.status.value.startswith("No preview: Locked colors must be like")

    widget.controls.fixed.value = ""
    settle(widget)

    assert widget.status.value == ""
    assert preview_in(viewer)


def test_unusual_preview_is_explained(viewer, dock, settle, monkeypatch):
    def fail(*_, **__):
        msg = "out of crayons"
        raise RuntimeError(msg)

    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    monkeypatch.setattr(_outcomes, "kmeans_palette", fail)

    widget.live.value = True
    settle(widget)

    assert widget.status.value == "No preview: “a”: out of crayons"
    assert names(viewer) == ["a"]


# Watching it converge.


def test_plot_falls_with_the_error(viewer, dock, finish):
    image = data.astronaut()
    viewer.add_image(image, name="a")
    widget = dock()
    errors = []

    press(widget.run)
    finish(widget)

    kmeans_palette(image, callback=lambda state: errors.append(state.mse))
    assert widget.plot.errors == errors
    assert errors == sorted(errors, reverse=True)


def test_plot_says_where_errors_are_measured(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.color_space.value = "lab"
    press(widget.run)
    finish(widget)
    assert " in lab, 10 iterations" in widget.plot.caption


@pytest.mark.parametrize(
    ("k", "iters", "given", "why"),
    [
        (16, 0, False, "no iteration was asked for"),
        (9, 10, False, "no iteration was needed"),
        (9, 10, True, "no iteration: the palette was given"),
    ],
)
def test_plot_says_why_there_was_no_iteration(
    viewer, dock, finish, k, iters, given, why
):
    image = np.arange(16, dtype=np.uint8).reshape(4, 4) // 2
    viewer.add_image(image, name="a")
    widget = dock()
    if given:
        press(widget.run)
        finish(widget)
        widget.controls.palette.value = viewer.layers[1]
    widget.controls.k.value = k
    widget.controls.iters.value = iters

    press(widget.run)
    finish(widget)

    assert widget.plot.caption == why


# The palette.


@pytest.fixture
def result(viewer, dock, finish):
    """Give a widget after it has made an image and labels, and the two layers."""

    def result(image=None, output="both", k=5, **attributes):
        if image is None:
            image = data.astronaut()[:64, :50]
        viewer.add_image(image, name="a", **attributes)
        widget = dock()
        widget.controls.k.value = k
        widget.controls.output.value = output
        press(widget.run)
        finish(widget)
        return widget, *viewer.layers[1:]

    return result


def test_panel_lists_the_palette_from_dark_to_light(result):
    widget, _, labels = result()
    record = labels.metadata["napari-kmeans"]
    colors = [f"#{bytes(color).hex()}" for color in record["palette"]]
    assert widget.panel.hexes == colors
    table = widget.panel.model()
    assert table.index(0, 2).data() == f"{record['counts'][0] / 3200:.1%}"


def test_pointing_at_a_color_veils_all_others(result, viewer):
    widget, image, labels = result()

    widget.panel.pointed.emit(2)

    veil = viewer.layers[-1]
    assert_array_equal(veil.data, labels.data)
    assert veil.get_color(3)[3] == 0
    for other in (1, 2, 4, 5):
        assert veil.get_color(other)[3] > 0.5
    assert viewer.layers.selection.active is labels

    widget.panel.pointed.emit(-1)
    assert list(viewer.layers)[1:] == [image, labels]


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_pixels_of_an_image_of_channels_are_shown_as_those_of_its_labels(
    viewer, dock, finish, axis
):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    viewer.add_image(np.moveaxis(stack, -1, axis), rgb=False, scale=(5, 4, 3, 2))
    widget = dock()
    widget.controls.channels.value = axis
    widget.controls.output.value = "both"
    press(widget.run)
    finish(widget)
    _, image, labels = viewer.layers

    shown = []
    for result in (image, labels):
        viewer.layers.selection.active = result
        widget.panel.pointed.emit(2)
        shown.append(viewer.layers[-1])
        widget.panel.pointed.emit(-1)

    assert_array_equal(shown[0].data, shown[1].data)
    assert_array_equal(shown[0].extent.world, shown[1].extent.world)
    assert shown[0].axis_labels == shown[1].axis_labels


def test_chosen_color_stays_until_chosen_again(result, viewer):
    widget, *_ = result()

    widget.panel.chosen.emit(2)
    widget.panel.pointed.emit(4)
    widget.panel.pointed.emit(-1)
    assert viewer.layers[-1].get_color(3)[3] == 0
    assert viewer.layers[-1].get_color(5)[3] > 0.5

    widget.panel.chosen.emit(2)
    assert len(viewer.layers) == 3


def test_replaced_color_shows_in_all_layers_of_the_run(result, qtbot, monkeypatch):
    widget, image, labels = result()
    before = image.data.copy()
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_: red)

    widget.panel.opened.emit(1)
    qtbot.waitUntil(lambda: (image.data != before).any())

    is_entry = labels.data == 2
    assert (image.data[is_entry] == red).all()
    assert_array_equal(image.data[~is_entry], before[~is_entry])
    assert_array_equal(labels.get_color(2), [1, 0, 0, 1])
    assert labels.features["hex"][1] == "#ff0000"
    assert_array_equal(image.metadata["napari-kmeans"]["palette"][1], red)
    assert "#ff0000" in widget.panel.hexes


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_replaced_colors_of_channels_show(
    viewer, dock, finish, qtbot, monkeypatch, axis
):
    image = np.moveaxis(data.astronaut()[:64, :50], -1, axis)
    viewer.add_image(image, rgb=False, name="a")
    widget = dock()
    widget.controls.channels.value = axis
    widget.controls.output.value = "both"
    widget.controls.k.value = 5
    press(widget.run)
    finish(widget)
    quantized, labels = viewer.layers[1:]
    color = np.array([7, 8, 9], dtype=np.uint8)
    monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_: color)

    widget.panel.opened.emit(1)

    palette = record_of(labels)["palette"]
    assert_array_equal(palette[1], color)
    painted = np.moveaxis(palette[labels.data.reshape(64, 50) - 1], -1, axis)
    qtbot.waitUntil(lambda: np.array_equal(quantized.data, painted))


def test_colors_replaced_in_a_row_are_all_shown(result, qtbot, monkeypatch):
    widget, image, labels = result()
    for entry, level in ((1, 255), (3, 254)):
        color = np.array([level, 0, 0], dtype=np.uint8)
        monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_, c=color: c)
        widget.panel.opened.emit(entry)

    qtbot.waitUntil(lambda: (image.data[labels.data == 4] == (254, 0, 0)).all())

    assert (image.data[labels.data == 2] == (255, 0, 0)).all()


def duplicate(viewer, layer):
    """Copy a layer as the menu of the layer list does."""
    viewer.layers.selection = {layer}
    _duplicate_layer(viewer.layers)
    (copy,) = viewer.layers.selection
    return copy


def test_color_replaced_in_copied_labels_leaves_the_run_as_it_is(
    viewer, result, monkeypatch
):
    widget, image, labels = result()
    before, told = image.data.copy(), len(messages())
    copy = duplicate(viewer, labels)
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_: red)

    widget.panel.opened.emit(1)
    wait_for_threads()
    QApplication.processEvents()

    assert_array_equal(copy.get_color(2), [1, 0, 0, 1])
    assert "#ff0000" in widget.panel.hexes
    assert "#ff0000" not in list(labels.features["hex"])
    assert_array_equal(image.data, before)
    assert len(messages()) == told


def test_color_replaced_in_copied_labels_of_layers_leaves_the_others(
    viewer, dock, finish, monkeypatch
):
    channels = np.moveaxis(data.astronaut()[:64, :50] * np.uint16(9), -1, 0)
    for channel, color in zip(channels, ("red", "cyan", "gray"), strict=True):
        viewer.add_image(channel, colormap=color)
    widget = dock()
    viewer.layers.selection = set(viewer.layers)
    widget.controls.channels.value = "layers"
    widget.controls.output.value = "labels"
    widget.controls.k.value = 4
    press(widget.run)
    finish(widget)
    labels = viewer.layers[-1]
    copy = duplicate(viewer, labels)
    color = np.array([2000, 0, 0], dtype=np.uint16)
    monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_: color)

    widget.panel.opened.emit(3)

    assert list(copy.features["hex"][:3]) == list(labels.features["hex"][:3])
    assert copy.features["hex"][3] != labels.features["hex"][3]


def test_panel_follows_the_selected_result(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    for k in (3, 5):
        widget.controls.k.value = k
        press(widget.run)
        finish(widget)
    assert len(widget.panel.hexes) == 5

    viewer.layers.selection.active = viewer.layers["a in 3 colors"]

    assert len(widget.panel.hexes) == 3


def test_panel_is_empty_once_its_layer_is_gone(result, viewer):
    widget, *_ = result(output="image")
    widget.panel.chosen.emit(2)

    viewer.layers.remove("a in 5 colors")

    assert widget.panel.hexes == []
    assert names(viewer) == ["a"]
    assert not widget.copy_python.enabled


def test_hex_is_copied(result):
    widget, *_ = result()
    press(widget.copy_hex)
    assert QApplication.clipboard().text().splitlines() == widget.panel.hexes


def test_numbers_are_shown(result, qtbot):
    widget, *_ = result()
    qtbot.waitUntil(lambda: "PSNR" in widget.numbers.value)
    n_colors = len(np.unique(data.astronaut()[:64, :50].reshape(-1, 3), axis=0))
    assert widget.numbers.value.startswith(f"Colors: {n_colors:,} → 5\n")


def test_numbers_are_those_of_the_listed_result(
    result, viewer, finish, qtbot, monkeypatch
):
    widget, image, _ = result()
    qtbot.waitUntil(lambda: "PSNR" in widget.numbers.value)
    first = widget.numbers.value
    widget.controls.k.value = 2
    press(widget.run)
    finish(widget)
    qtbot.waitUntil(lambda: "PSNR" in widget.numbers.value)
    assert widget.numbers.value != first

    viewer.layers.selection.active = image
    assert widget.numbers.value == first

    # They were those of the colors before.
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_: red)
    widget.panel.opened.emit(1)
    assert widget.numbers.value == ""


# Copy as Python.


def script_of(widget, viewer, layer):
    """Copy the script that makes a layer."""
    viewer.layers.selection.active = layer
    press(widget.copy_python)
    return QApplication.clipboard().text()


def assert_script_remakes(widget, viewer, layer, monkeypatch):
    """The script adds a layer that is like `layer` in all that napari saves of it."""
    script = script_of(widget, viewer, layer)
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    before = list(viewer.layers)

    exec(compile(script, "script", "exec"), {})

    (made,) = (made for made in viewer.layers if made not in before)
    data, attributes, kind = made.as_layer_data_tuple()
    wanted_data, wanted, wanted_kind = layer.as_layer_data_tuple()
    assert kind == wanted_kind
    # The name is taken in this viewer.
    assert attributes.pop("name") == f"{wanted.pop('name')} [1]"
    levels = (
        zip(data, wanted_data, strict=True)
        if layer.multiscale
        else [(data, wanted_data)]
    )
    for one, other in levels:
        assert_array_equal(one, other)
        assert one.dtype == other.dtype
    for attribute in ("metadata", "data", "properties", "visible"):
        attributes.pop(attribute, None)
        wanted.pop(attribute, None)
    if kind == "labels":
        assert_frame_equal(attributes.pop("features"), wanted.pop("features"))
        for label in range(len(layer.features) + 1):
            assert_array_equal(made.get_color(label), layer.get_color(label))
        del attributes["colormap"], wanted["colormap"]
    assert attributes.keys() == wanted.keys()
    for name, value in wanted.items():
        assert_equal(attributes[name], value, err_msg=name)
    return script


CORNERS = np.array([[2, 3], [2, 200], [9, 200], [9, 3]])
# Of the last two axes into each other.
TURN = np.eye(4)
TURN[-2:, -2:] = [[0.8, -0.6], [0.6, 0.8]]


@pytest.mark.parametrize("output", ["image", "labels"])
@pytest.mark.parametrize(
    ("image", "chosen"),
    [
        pytest.param(data.astronaut()[:60, :50], {}, id="rgb"),
        pytest.param(data.camera()[:60, :50], {"init": "random", "rng": 3}, id="gray"),
        pytest.param(
            np.dstack([data.astronaut()[:60, :50], np.eye(60, 50, dtype="u1") * 255]),
            {"color_space": "lab", "dither": "ordered", "fixed": "#ff0000"},
            id="rgba",
        ),
        pytest.param(data.astronaut()[:9, :60], {"palettes": 0}, id="slices"),
        pytest.param(data.astronaut()[:60, :9, :2], {"channels": 2}, id="channels"),
        pytest.param(
            data.astronaut()[:60, :9].transpose(2, 0, 1), {"channels": 0}, id="first"
        ),
        pytest.param(
            np.where(np.eye(9)[:, None, :, None] > 0, np.nan, np.ones((9, 2, 9, 60))),
            {"channels": 1},
            id="channels that are not finite",
        ),
        pytest.param(
            np.stack([data.astronaut()[:9, :60], data.astronaut()[60:69, :60]]),
            {"channels": 1, "palettes": 3},
            id="channels before slices",
        ),
        pytest.param(
            np.stack([data.astronaut()[:9, :60], data.astronaut()[60:69, :60]]),
            {"channels": 3, "palettes": 0},
            id="channels and slices",
        ),
        pytest.param(
            np.where(data.camera()[:60, :50] > 200, np.nan, data.camera()[:60, :50]),
            {},
            id="not finite",
        ),
    ],
)
def test_script_makes_the_layer_again(
    viewer, dock, finish, monkeypatch, image, chosen, output
):
    is_rgb = image.ndim == 3 and not {"channels", "palettes"} & set(chosen)
    n_axes = image.ndim - is_rgb
    source = viewer.add_image(
        image,
        name="it's",
        rgb=is_rgb,
        scale=np.arange(1, n_axes + 1),
        translate=[3] * n_axes,
        rotate=30 if n_axes == 2 else TURN[-n_axes:, -n_axes:],
        shear=np.arange(n_axes * (n_axes - 1) // 2) / 10,
        affine=np.diag([*np.arange(1, n_axes + 1), 1]),
        units=["um"] * n_axes,
        axis_labels="tzyx"[-n_axes:],
        blending="additive",
        opacity=0.7,
        interpolation2d="cubic",
        rendering="attenuated_mip",
        attenuation=0.5,
    )
    if not is_rgb:
        source.contrast_limits = 20, 150
        source.gamma = 0.5
        source.colormap = "magma"
    widget = dock()
    widget.controls.k.value = 4
    widget.controls.output.value = output
    for name, value in chosen.items():
        getattr(widget.controls, name).value = value

    press(widget.run)
    finish(widget)

    assert_script_remakes(widget, viewer, viewer.layers[-1], monkeypatch)


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("kind", ["labels", "shapes"])
@pytest.mark.parametrize("palettes", [None, 0])
def test_script_draws_the_mask(
    viewer, dock, finish, monkeypatch, kind, offset, palettes
):
    viewer.add_image(data.astronaut()[:60].reshape(3, 20, 512, 3), rgb=True, name="a")
    if kind == "labels":
        labels = (data.camera()[:20] > 150).astype(int)
        viewer.add_labels(labels, translate=(offset, 0), name="m")
    else:
        corners = [[[2, 3], [2, 200], [9, 200], [9, 3]]]
        viewer.add_shapes(corners, translate=(offset, 0), name="m")
    widget = dock()
    widget.controls.inside.value = viewer.layers["m"]
    widget.controls.palettes.value = palettes
    widget.controls.k.value = 4

    press(widget.run)
    finish(widget)

    assert_script_remakes(widget, viewer, viewer.layers[-1], monkeypatch)


@pytest.mark.parametrize("palettes", [None, 0])
@pytest.mark.parametrize("kind", ["labels", "shapes"])
def test_script_draws_the_mask_of_channels(
    viewer, dock, finish, monkeypatch, kind, palettes
):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    viewer.add_image(np.moveaxis(stack, -1, 1), rgb=False, name="a", scale=(9, 2, 1, 1))
    if kind == "labels":
        labels = (data.camera()[:60] > 150).astype(int).reshape(3, 1, 20, 512)
        viewer.add_labels(labels, scale=(9, 6, 1, 1), translate=(0, 2, 0, 0), name="m")
    else:
        # Drawn in the last of the channels at each time.
        drawn = [np.insert(CORNERS, 0, [[9 * t], [4]], axis=1) for t in range(3)]
        viewer.add_shapes(drawn, name="m")
    widget = dock()
    widget.controls.channels.value = 1
    widget.controls.inside.value = viewer.layers["m"]
    widget.controls.palettes.value = palettes
    widget.controls.k.value = 4
    widget.controls.output.value = "labels"
    press(widget.run)
    finish(widget)
    result = viewer.layers[-1]

    if palettes is None:
        inside = np.zeros((3, 20, 512), dtype=bool)
        inside[:, 2:10, 3:201] = True
        if kind == "labels":
            inside = labels[:, 0] > 0
        expected = kmeans_palette(stack, 4, mask=inside).palette
        # Sorted by the sum of channels there, as nobody says that these are colors.
        found = record_of(result)["palette"]
        assert {*map(tuple, found)} == {*map(tuple, expected)}
    assert_script_remakes(widget, viewer, result, monkeypatch)


@pytest.mark.parametrize("output", ["image", "labels"])
def test_script_makes_the_layer_of_a_pyramid_with_slices(
    viewer, dock, finish, monkeypatch, output
):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    pyramid = [stack, stack[:, ::2, ::2]]
    viewer.add_image(pyramid, multiscale=True, rgb=True, name="a")
    widget = dock()
    widget.controls.k.value = 4
    widget.controls.palettes.value = 0
    widget.controls.output.value = output
    press(widget.run)
    finish(widget)

    assert_script_remakes(widget, viewer, viewer.layers[-1], monkeypatch)


@pytest.mark.parametrize("multiscale", [False, True])
def test_script_makes_the_layer_of_each_channel(
    viewer, dock, finish, monkeypatch, multiscale
):
    for i, name in enumerate("ab"):
        channel = data.astronaut()[:60, :50, i]
        levels = [channel, channel[::2, ::2]]
        viewer.add_image(
            levels if multiscale else channel,
            multiscale=multiscale,
            name=name,
            colormap=["magenta", "green"][i],
            contrast_limits=(i, 200),
        )
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    viewer.layers.selection = set(viewer.layers)
    widget.controls.channels.value = "layers"
    widget.controls.k.value = 4
    widget.controls.output.value = "both"
    press(widget.run)
    finish(widget)

    for result in viewer.layers[2:]:
        assert_script_remakes(widget, viewer, result, monkeypatch)


def test_script_makes_the_layer_as_it_looks_now(result, viewer, monkeypatch):
    widget, image, labels = result(data.camera()[:64, :50])
    image.colormap = Colormap([[0, 0, 0, 1], [0.3, 0.5, 0.7, 1]], name="mine")
    image.translate = (4, 5)
    image.name = "renamed"
    labels.opacity = 0.4
    for layer in (image, labels):
        assert_script_remakes(widget, viewer, layer, monkeypatch)


def test_script_calls_layers_as_they_are_called_now(viewer, dock, finish, monkeypatch):
    source = viewer.add_image(data.astronaut()[:64, :50], name="before")
    mask = viewer.add_labels(np.tri(64, 50, dtype=int), name="there")
    widget = dock()
    widget.controls.inside.value = mask
    press(widget.run)
    finish(widget)
    result = viewer.layers["before in 16 colors"]
    source.name, mask.name = "after", "here"
    # Others have the names that these had.
    viewer.add_image(np.zeros((9, 9)), name="before")
    viewer.add_labels(np.zeros((9, 9), dtype=int), name="there")

    script = assert_script_remakes(widget, viewer, result, monkeypatch)

    assert "# The layer whose colors are reduced, which was called 'before'." in script
    assert "fitted, which was called 'there'." in script


def test_script_says_what_was_removed(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64, :50], name="gone")
    widget = dock()
    press(widget.run)
    finish(widget)
    viewer.layers.remove("gone")

    script = script_of(widget, viewer, viewer.layers[0])

    assert "It was removed: open it again, as 'gone'." in script
    assert "viewer.layers['gone']" in script


@pytest.mark.parametrize("multiscale", [False, True])
def test_script_makes_replaced_colors(result, viewer, qtbot, monkeypatch, multiscale):
    photo = data.astronaut()[:64, :50]
    source = [photo, photo[::2, ::2]] if multiscale else photo
    widget, image, labels = result(source, multiscale=multiscale)
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_: red)
    widget.panel.opened.emit(1)
    full = 0 if multiscale else slice(None)
    qtbot.waitUntil(lambda: (image.data[full][labels.data[full] == 2] == red).all())

    for layer in (image, labels):
        assert_script_remakes(widget, viewer, layer, monkeypatch)


# What is chosen.


def test_locked_colors_are_in_the_palette(viewer, dock, finish):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.fixed.value = "#00ff00, 1 2 3"

    press(widget.run)
    finish(widget)

    fixed = np.array([[0, 255, 0], [1, 2, 3]], dtype=np.uint8)
    expected = kmeans_palette(image, fixed=fixed).palette
    record = viewer.layers[-1].metadata["napari-kmeans"]
    assert_array_equal(record["palette"], expected)


def test_unreadable_colors_are_told(viewer, dock):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.fixed.value = "red"

    press(widget.run)

    assert "numbers, got 'red'" in widget.status.value
    assert "numbers, got 'red'" in messages()[-1]
    assert widget.run.enabled


def test_chosen_color_is_locked_by_its_button(result):
    widget, *_ = result()
    widget.panel.chosen.emit(1)

    press(widget.lock)
    press(widget.lock)

    assert widget.controls.fixed.value == widget.panel.hexes[1]


def test_only_what_applies_can_be_chosen(viewer, dock):
    widget = dock()
    controls = widget.controls
    viewer.add_image(data.camera()[:64], name="gray")
    assert not controls.color_space.enabled
    assert not controls.rng.enabled
    assert not controls.channels.enabled
    assert not controls.palettes.enabled

    controls.init.value = "random"
    assert controls.rng.enabled
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    viewer.add_image(stack, rgb=True, name="stack")
    controls.source.value = viewer.layers["stack"]
    assert controls.color_space.enabled
    assert list(controls.palettes.choices) == [None, 0, 1, 2]

    controls.palette.value = "a palette file"
    assert not controls.k.enabled
    assert not controls.fixed.enabled
    assert controls.palette_file.enabled


def test_preview_is_fitted_inside_the_mask(viewer, dock, settle):
    image = data.astronaut()[:64, :50]
    viewer.add_image(image, name="a")
    mask = np.zeros((64, 50), dtype=int)
    mask[5:20, 9:30] = 1
    viewer.add_labels(mask, name="m")
    widget = dock()
    widget.controls.k.value = 4
    widget.controls.inside.value = viewer.layers["m"]

    widget.live.value = True
    settle(widget)

    palette = kmeans_palette(image, 4, mask=mask > 0).palette
    expected = palette[map_to_palette(image, palette)]
    assert_array_equal(preview_in(viewer).data[..., :3], expected)


# Channels, and running again.


def test_selected_layers_are_taken_as_channels(viewer, dock, finish):
    channels = np.moveaxis(data.astronaut()[:60, :50], -1, 0)
    for name, channel in zip("abc", channels, strict=True):
        viewer.add_image(channel, name=name)
    viewer.add_image(np.zeros((7, 7)), name="other")
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    viewer.layers.selection = set(viewer.layers)
    widget.controls.channels.value = "layers"
    widget.controls.k.value = 4
    widget.controls.output.value = "both"

    press(widget.run)
    finish(widget)

    stacked = np.moveaxis(channels, 0, -1)
    expected = quantize_kmeans(stacked, 4)
    # Sorted by the sum of channels here, as nobody says that these are colors.
    for i, name in enumerate("abc"):
        assert_array_equal(viewer.layers[f"{name} in 4 colors"].data, expected[..., i])
    assert viewer.layers[-1].name == "a + b + c in 4 labels"
    # The result is selected now; they still belong together.
    assert widget.controls.channels.value == "layers"


@pytest.fixture
def seen(window, qtbot):
    """Say where the canvas is not black while no other layers are visible than some."""

    def seen(*layers):
        for layer in window.layers:
            layer.visible = layer in layers
        qtbot.wait(1)
        return window.screenshot(canvas_only=True, flash=False)[..., :3].any(axis=-1)

    return seen


@pytest.fixture
def movie(window, finish):
    """Give a widget, an image of three channels along an axis, and its two labels.

    What is not black in it becomes narrower with the time, from either side.
    """

    def movie(axis, **attributes):
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
        press(widget.run)
        finish(widget)
        return widget, source, window.layers[1]

    return movie


@pytest.mark.parametrize(
    ("axis", "order"),
    [
        pytest.param(0, (0, 1, 2, 3), id="ctyx"),
        pytest.param(1, (0, 1, 2, 3), id="tcyx"),
        pytest.param(1, (0, 2, 1, 3), id="tcyx with channels displayed"),
        pytest.param(2, (0, 2, 1, 3), id="tycx"),
        pytest.param(3, (0, 3, 1, 2), id="tyxc"),
    ],
)
def test_channels_are_seen_where_their_source_is(
    window, movie, seen, settle, axis, order
):
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

        widget.live.value = True
        settle(widget)
        assert_array_equal(seen(preview_in(window)), expected)
        widget.live.value = False

        # Over the black color lies no veil, and a white one over the other.
        widget.panel.chosen.emit(0)
        assert_array_equal(seen(window.layers[-1]), expected)
        widget.panel.chosen.emit(0)


@pytest.mark.parametrize("kind", ["labels", "shapes"])
@pytest.mark.parametrize("unit", ["nm", "pixel"])
def test_palette_is_fitted_to_what_is_seen_inside(window, finish, seen, kind, unit):
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
    press(widget.run)
    finish(widget)

    # The mask as labels of the image's own pixels.
    shape, mask = image.shape[:2], draw_mask(widget.controls.request().mask)
    assert mask.shape == shape
    drawn = window.add_labels(mask.astype(int), units=source.units, **scale)
    share = (seen(inside) & seen(source)) ^ seen(drawn)
    # Pixels of the image are inside as a whole, or not at all.
    assert share.sum() < 0.06 * seen(drawn).sum()
    expected = kmeans_palette(image, 4, mask=mask).palette
    assert_array_equal(record_of(window.layers[2])["palette"], expected)


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
        widget.live.value = True
        settle(widget)
        assert overlap(seen(preview_in(window))) > 0.95
        widget.live.value = False
        widget.panel.chosen.emit(1)
        assert overlap(seen(window.layers[-1])) > 0.95
        widget.panel.chosen.emit(1)


def test_second_result_may_replace_the_first(viewer, dock, finish):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    other = viewer.add_image(image, name="a in 3 colors")
    widget = dock()
    widget.controls.again.value = "the last result"
    widget.controls.source.value = viewer.layers["a"]
    widget.controls.output.value = "both"
    for k in (2, 3):
        widget.controls.k.value = k
        press(widget.run)
        finish(widget)

    assert len(viewer.layers) == 4
    first, labels = viewer.layers[2:]
    assert_array_equal(first.data, quantize_kmeans(image, 3))
    assert first.name == "a in 3 colors [1]"
    assert_array_equal(other.data, image)
    assert labels.data.max() == 3
    assert len(labels.features) == 3


def test_replaced_result_follows_its_source_and_keeps_its_new_name(
    viewer, dock, finish
):
    source = viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.again.value = "the last result"
    press(widget.run)
    finish(widget)
    viewer.layers[1].name = "mine"
    source.translate = (5, 7)

    for _ in range(2):
        press(widget.run)
        finish(widget)

    assert names(viewer) == ["a", "mine"]
    assert_array_equal(viewer.layers[1].translate, (5, 7))


def test_chosen_layers_stay_chosen_when_they_are_renamed(viewer, dock, result):
    _, image, labels = result()
    first, second = (viewer.add_image(np.eye(9), name=name) for name in ("b", "c"))
    controls = dock().controls
    controls.source.value = first
    viewer.layers.selection = {first, second}
    controls.channels.value = "layers"
    controls.inside.value = labels
    controls.palette.value = image

    for layer in (first, second, image, labels):
        layer.name = f"renamed {layer.name}"

    assert controls.source.value is first
    assert controls.channels.value == "layers"
    assert controls.inside.value is labels
    assert controls.palette.value is image


@pytest.mark.parametrize("middle", ["image", "labels"])
@pytest.mark.parametrize("multiscale", [False, True])
def test_update_leaves_no_layer_of_the_last_result_behind(
    viewer, dock, finish, middle, multiscale
):
    photo = data.astronaut()[:64]
    source = [photo, photo[::2, ::2]] if multiscale else photo
    viewer.add_image(source, name="a", multiscale=multiscale)
    widget = dock()
    widget.controls.again.value = "the last result"
    full = 0 if multiscale else slice(None)
    for k, output in ((2, "both"), (3, middle), (4, "both")):
        widget.controls.k.value = k
        widget.controls.output.value = output
        press(widget.run)
        finish(widget)

        assert names(viewer) == ["a", f"a in {k} colors", f"a in {k} labels"]
        image, labels = viewer.layers[1:]
        assert_array_equal(image.data[full], quantize_kmeans(photo, k))
        palette = kmeans_palette(photo, k).palette
        assert_array_equal(palette[labels.data[full] - 1], image.data[full])
        assert len(labels.features) == k


@pytest.mark.parametrize(
    ("output", "other"), [("image", "labels"), ("labels", "colors")]
)
def test_update_adds_nothing_that_is_not_wanted(viewer, dock, finish, output, other):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.again.value = "the last result"
    widget.controls.output.value = "both"
    press(widget.run)
    finish(widget)
    viewer.layers.remove(f"a in 16 {other}")
    widget.controls.output.value = output
    before = list(viewer.layers)

    press(widget.run)
    finish(widget)

    assert list(viewer.layers) == before


def test_results_of_other_channels_are_not_updated(viewer, dock, finish):
    for name in "ab":
        viewer.add_image(data.camera()[:64], name=name)
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    widget.controls.again.value = "the last result"
    viewer.layers.selection = set(viewer.layers)
    widget.controls.k.value = 4
    for k, channels in ((4, "layers"), (3, None), (5, "layers")):
        widget.controls.channels.value = channels
        widget.controls.k.value = k
        press(widget.run)
        finish(widget)

    results = [f"{name} in 5 colors" for name in "ab"]
    assert names(viewer) == ["a", "b", *results, "a in 3 colors"]


def test_layer_is_updated_as_was_chosen_when_it_was_begun(
    viewer, dock, finish, paused, qtbot
):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    paused.may_go_on.set()
    press(widget.run)
    finish(widget)
    paused.may_go_on.clear()
    paused.reached.clear()

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    widget.controls.again.value = "the last result"
    paused.may_go_on.set()
    finish(widget)

    assert len(viewer.layers) == 3


@pytest.mark.parametrize("axis", [0, 1])
def test_updated_labels_lie_on_their_source_that_was_turned(viewer, dock, finish, axis):
    image = np.moveaxis(data.astronaut()[:60, :50], -1, axis)
    source = viewer.add_image(image, rgb=False, name="a", scale=(2, 3, 4))
    widget = dock()
    widget.controls.again.value = "the last result"
    widget.controls.output.value = "labels"
    widget.controls.channels.value = axis
    press(widget.run)
    finish(widget)
    source.rotate = (0, 0, 30)
    source.shear = (0, 0, 0.5)

    press(widget.run)
    finish(widget)

    (labels,) = viewer.layers[1:]
    pixel = np.array([5, 7, 9.0])
    pixel[axis] = 1
    expected = source.data_to_world(pixel)
    pixel[axis] = 0
    found = labels.data_to_world(pixel[-labels.ndim :])
    assert_allclose(found, expected[-labels.ndim :])


def test_result_of_another_shape_is_a_new_layer(viewer, dock, finish):
    source = viewer.add_image(data.camera()[:64], name="a")
    widget = dock()
    widget.controls.again.value = "the last result"
    press(widget.run)
    finish(widget)
    source.data = data.camera()[:64].reshape(4, 16, 512)

    press(widget.run)
    finish(widget)

    assert [layer.ndim for layer in viewer.layers[1:]] == [2, 3]


def test_palette_of_another_result_is_taken(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    viewer.add_image(data.astronaut()[64:128], name="b")
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    press(widget.run)
    finish(widget)
    widget.controls.source.value = viewer.layers["b"]
    widget.controls.palette.value = viewer.layers["a in 16 colors"]

    press(widget.run)
    finish(widget)

    palette = kmeans_palette(data.astronaut()[:64]).palette
    expected = palette[map_to_palette(data.astronaut()[64:128], palette)]
    assert_array_equal(viewer.layers["b in 16 colors"].data, expected)


def test_palette_file_must_be_chosen(viewer, dock):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.palette.value = "a palette file"

    press(widget.run)

    assert (
        widget.status.value == "Palette file: choose a .gpl, .json, .npy or .hex file"
    )
    assert widget.run.enabled


def test_missing_palette_file_is_told(viewer, dock, finish, tmp_path):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.palette.value = "a palette file"
    widget.controls.palette_file.value = tmp_path / "none.gpl"

    press(widget.run)
    finish(widget)

    assert "none.gpl" in widget.status.value
    assert names(viewer) == ["a"]


def test_slider_and_number_are_one(dock):
    widget = dock()
    widget.controls.k_slider.value = 5
    assert widget.controls.k.value == 6
    widget.controls.k.value = 256
    assert widget.controls.k_slider.value == widget.controls.k_slider.max
    widget.controls.k.value = 5000
    assert widget.controls.k.value == 5000


# Real mouse events.


def test_mouse_points_at_colors_and_replaces_them(window, finish, qtbot, monkeypatch):
    image = data.astronaut()[:64, :50]
    window.add_image(image, name="a")
    widget = dock_in(window)
    widget.controls.k.value = 4
    widget.controls.output.value = "labels"
    press(widget.run)
    finish(widget)
    panel = widget.panel
    rows = [panel.visualRect(panel.model().index(row, 1)) for row in range(4)]

    qtbot.mouseMove(panel.viewport(), rows[0].center())
    qtbot.mouseMove(panel.viewport(), rows[2].center())
    qtbot.waitUntil(lambda: len(window.layers) == 3)
    assert window.layers[-1].get_color(3)[3] == 0

    qtbot.mouseClick(panel.viewport(), Qt.MouseButton.LeftButton, pos=rows[1].center())
    QApplication.sendEvent(panel, QEvent(QEvent.Type.Leave))
    assert window.layers[-1].get_color(2)[3] == 0
    assert panel.model().index(1, 0).data() == "●"

    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(QuantizeWidget, "_ask_color", lambda *_: red)
    qtbot.mouseDClick(panel.viewport(), Qt.MouseButton.LeftButton, pos=rows[1].center())
    assert_array_equal(window.layers[1].get_color(2), [1, 0, 0, 1])


@pytest.mark.parametrize(
    ("image", "chosen", "expected"),
    [
        (data.astronaut()[:64, :50], QColor("#010203"), (1, 2, 3)),
        (data.astronaut()[:64, :50] / 255, QColor("#ff0000"), (1, 0, 0)),
        (data.astronaut()[:64, :50] * np.uint16(257), QColor("#ff0000"), (65535, 0, 0)),
        (data.astronaut()[:64, :50], QColor(), None),
    ],
)
def test_color_is_asked_for(result, monkeypatch, image, chosen, expected):
    widget, layer, _ = result(image, rgb=True)
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: chosen)
    color = widget._ask_color(widget._results.made(layer), 1)
    if expected is None:
        assert color is None
    else:
        assert_allclose(color, expected)
        assert color.dtype == image.dtype


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(("77", True), 77), (("no", True), None), (("", False), None)],
)
def test_value_is_asked_for(result, monkeypatch, answer, expected):
    widget, layer, _ = result(data.camera()[:64, :50])
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: answer)
    color = widget._ask_color(widget._results.made(layer), 1)
    assert color == expected
    if answer[0] == "no":
        assert "got 'no'" in messages()[-1]
