import gc
import threading
import weakref

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from numpy.testing import assert_array_equal
from skimage import data

from napari_kmeans import kmeans_palette, map_to_palette, quantize_kmeans
from napari_kmeans._napari import QuantizeWidget, _outcomes


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
    assert_array_equal(result.data, quantize_kmeans(image, 4))


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
    widget.progress.changed.connect(steps.append)

    press(widget.run)
    qtbot.waitUntil(paused.reached.is_set)
    assert widget.progress.max == 3
    assert widget.cancel.enabled
    paused.may_go_on.set()
    finish(widget)

    assert steps == [1, 2, 3]
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
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)
    assert paused.n_iterations == 1
    assert [layer.name for layer in viewer.layers] == ["a"]
    assert "Cancelled" in widget.status.value


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
    assert "gone was removed" in widget.status.value
    assert "gone was removed" in messages()[-1]


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
    assert widget.status.value == "a: the result could not be added."
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

    assert widget.status.value == "a: out of crayons"
    assert messages()[-1] == "a: out of crayons"
    assert [layer.name for layer in viewer.layers] == ["a"]

    press(widget.run)
    finish(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a in 16 colors"]
