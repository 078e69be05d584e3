"""The docked widget: runs, cancels, and survives."""

import gc
import threading
import time
import weakref

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_kmeans import kmeans_palette, map_to_palette, quantize_kmeans
from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._napari import computation
from napari_kmeans._napari.highlight import grid_of
from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.widget import QuantizeWidget
from napari_window import dock_in, messages, names, press, wait_for_threads


def test_title_names_the_layer_whose_clusters_are_listed(viewer, dock, finish):
    image = viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.controls.output.value = "labels"
    widget.controls.k.value = 4
    title = widget.palette_panel.title
    assert title.text() == ""
    press(widget.run_panel.run)
    finish(widget)
    assert title.text() == "Clusters of “a in 4 labels”"
    # It is still listed.
    viewer.layers.selection = {image}
    viewer.layers[1].name = "b"
    assert title.text() == "Clusters of “b”"
    viewer.layers.remove(viewer.layers[1])
    assert title.text() == ""


def test_photo_becomes_a_layer_of_k_colors(viewer, dock, finish):
    photo = data.astronaut()
    before = photo.copy()
    source = viewer.add_image(photo, name="astronaut", scale=(2, 3), units="um")
    widget = dock()
    widget.controls.k.value = 7
    widget.controls.iters.value = 3

    press(widget.run_panel.run)
    finish(widget)

    result = viewer.layers["astronaut in 7 colors"]
    assert_array_equal(result.data, quantize_kmeans(photo, 7, 3))
    assert result.rgb
    assert_array_equal(result.extent.world, source.extent.world)
    assert result.units == source.units
    assert [layer.name for layer in viewer.layers] == ["astronaut", result.name]
    assert_array_equal(source.data, before)
    assert widget.run_panel.status.value == "Added “astronaut in 7 colors”."


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

    press(widget.run_panel.run)
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

    press(widget.run_panel.run)
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

    press(widget.run_panel.run)
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
    press(widget.run_panel.run)
    may_read.set()
    finish(widget)

    assert_array_equal(viewer.layers["lazy in 16 colors"].data, quantize_kmeans(image))


def test_no_layer(viewer, dock):
    widget = dock()

    press(widget.run_panel.run)

    assert len(viewer.layers) == 0
    assert "no image layer" in widget.run_panel.status.value
    assert "no image layer" in messages()[-1]
    assert widget.run_panel.run.enabled


def test_progress_moves_with_each_iteration(viewer, dock, finish, paused, qtbot):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.iters.value = 3
    steps = []
    bar = widget.run_panel.progress.native
    bar.valueChanged.connect(lambda n: steps.append((n, bar.maximum())))

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    # Before, it is not known how much there is to do.
    assert widget.run_panel.progress.native.maximum() == 0
    assert widget.run_panel.cancel.enabled
    paused.may_go_on.set()
    finish(widget)

    assert [step for step in steps if step[1] == 3] == [(1, 3), (2, 3), (3, 3)]
    assert steps[-1] == (1, 1)
    assert not widget.run_panel.cancel.enabled


def test_no_iteration(viewer, dock, finish):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.iters.value = 0

    press(widget.run_panel.run)
    finish(widget)

    assert_array_equal(
        viewer.layers["a in 16 colors"].data, quantize_kmeans(image, 16, 0)
    )


def test_cancel_adds_nothing_and_ends_the_computation(viewer, dock, paused, qtbot):
    viewer.add_image(data.astronaut(), name="a")
    widget = dock()

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    press(widget.run_panel.cancel)

    assert widget.run_panel.run.enabled
    assert not widget.run_panel.cancel.enabled
    assert "Cancelled" in widget.run_panel.status.value
    # The bar is empty, and not busy.
    bar = widget.run_panel.progress.native
    assert (bar.value(), bar.maximum()) == (0, 1)
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)
    assert paused.n_iterations == 1
    assert [layer.name for layer in viewer.layers] == ["a"]
    assert "Cancelled" in widget.run_panel.status.value


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

    monkeypatch.setattr(computation, "fit_image", endless)
    press(widget.run_panel.run)
    qtbot.waitUntil(reached.is_set)
    press(widget.run_panel.cancel)
    wait_for_threads()
    qtbot.wait(1)

    assert ended == [True]
    assert [layer.name for layer in viewer.layers] == ["a"]
    assert viewer.layers["a"].data is image


def test_cancel_after_the_last_iteration_adds_nothing(viewer, dock, qtbot):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()

    press(widget.run_panel.run)
    # The result is on its way to the window, which has not looked for it yet.
    wait_for_threads()
    press(widget.run_panel.cancel)
    qtbot.wait(1)

    assert [layer.name for layer in viewer.layers] == ["a"]
    assert "Cancelled" in widget.run_panel.status.value


def test_run_after_cancel_gives_the_new_result_only(
    viewer, dock, finish, paused, qtbot
):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    widget = dock()

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    press(widget.run_panel.cancel)
    widget.controls.k.value = 3
    press(widget.run_panel.run)
    paused.may_go_on.set()
    finish(widget)

    assert [layer.name for layer in viewer.layers] == ["a", "a in 3 colors"]
    assert_array_equal(viewer.layers[1].data, quantize_kmeans(image, 3))


def test_press_while_running_starts_nothing(viewer, dock, finish, paused, qtbot):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    for _ in range(20):
        press(widget.run_panel.run)
        widget.run_panel.run.changed.emit(True)
    paused.may_go_on.set()
    finish(widget)
    wait_for_threads()
    qtbot.wait(1)

    assert paused.n_computations == 1
    assert [layer.name for layer in viewer.layers] == ["a", "a in 16 colors"]


def test_source_removed_while_running(viewer, dock, finish, paused, qtbot):
    viewer.add_image(data.astronaut()[:64], name="gone")
    widget = dock()

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    viewer.layers.remove("gone")
    paused.may_go_on.set()
    finish(widget)

    assert len(viewer.layers) == 0
    assert "“gone” was removed" in widget.run_panel.status.value
    assert "“gone” was removed" in messages()[-1]


def test_source_moved_and_renamed_while_running(viewer, dock, finish, paused, qtbot):
    source = viewer.add_image(data.astronaut()[:64], name="before")
    widget = dock()

    press(widget.run_panel.run)
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

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    source.data = np.zeros((2, 3, 4), dtype=np.uint8)
    paused.may_go_on.set()
    # napari shows what a slot raises.
    with qtbot.captureExceptions() as raised:
        finish(widget)

    assert len(raised) == 1
    assert widget.run_panel.status.value == "“a”: the result could not be added."
    assert [layer.name for layer in viewer.layers] == ["a"]


def test_window_closed_while_running(window, paused, qtbot):
    window.add_image(data.astronaut(), name="a")
    widget = dock_in(window)

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    with qtbot.waitSignal(widget.native.destroyed):
        window.close()
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)

    assert paused.n_iterations == 1


def callbacks(viewer, *layers):
    """Give all that hears of something in a viewer and its layers."""
    groups = [
        viewer.layers.events,
        viewer.layers.selection.events,
        viewer.dims.events,
        grid_of(viewer).events,
        *(layer.events for layer in layers),
    ]
    return [e.callbacks for group in groups for e in group.emitters.values()]


def test_widget_that_is_gone_hears_of_nothing(viewer, settle):
    layers = [viewer.add_image(data.astronaut()[:64]), viewer.add_image(np.eye(9))]
    before = callbacks(viewer, *layers)
    widget = QuantizeWidget(viewer)
    widget.run_panel.live.value = True
    settle(widget)
    widget.run_panel.live.value = False
    assert callbacks(viewer, *layers) != before

    widget.native.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    assert callbacks(viewer, *layers) == before


def test_nothing_keeps_the_image_of_a_source_that_was_removed(
    viewer, dock, finish, qtbot
):
    image = data.astronaut()[:64].copy()
    is_alive = weakref.ref(image)
    viewer.add_image(image, name="a")
    widget = dock()
    press(widget.run_panel.run)
    finish(widget)
    qtbot.waitUntil(lambda: "PSNR" in widget.palette_panel.numbers.value)

    del image
    viewer.layers.remove("a")
    wait_for_threads()
    qtbot.wait(1)
    gc.collect()

    assert is_alive() is None


def test_layer_that_cannot_be_taken_is_told_why(viewer, dock, finish):
    viewer.add_image(np.full((4, 5), np.nan), name="a", contrast_limits=(0, 1))
    widget = dock()

    press(widget.run_panel.run)
    finish(widget)

    assert widget.run_panel.status.value == (
        "“a” has no pixel that is a number: all are NaN or infinite"
    )
    assert messages()[-1] == widget.run_panel.status.value
    assert names(viewer) == ["a"]


def test_error_is_shown_and_the_widget_goes_on(viewer, dock, finish, monkeypatch):
    def fail(*_, **__):
        msg = "out of crayons"
        raise RuntimeError(msg)

    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    with monkeypatch.context() as broken:
        broken.setattr(computation, "fit_image", fail)
        press(widget.run_panel.run)
        finish(widget)

    assert widget.run_panel.status.value == "“a”: out of crayons"
    assert messages()[-1] == "“a”: out of crayons"
    assert [layer.name for layer in viewer.layers] == ["a"]

    press(widget.run_panel.run)
    finish(widget)
    assert [layer.name for layer in viewer.layers] == ["a", "a in 16 colors"]


def test_closed_dock_ends_the_computation(window, paused, qtbot):
    window.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock_in(window)
    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)

    window.window.remove_dock_widget("all")
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)

    assert paused.n_iterations == 1
    assert names(window) == ["a"]


def test_plot_falls_with_the_error(viewer, dock, finish):
    image = data.astronaut()
    viewer.add_image(image, name="a")
    widget = dock()
    errors = []

    press(widget.run_panel.run)
    finish(widget)

    kmeans_palette(image, callback=lambda state: errors.append(state.mse))
    assert widget.run_panel.plot.errors == errors
    assert errors == sorted(errors, reverse=True)


def test_plot_says_where_errors_are_measured(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.color_space.value = "lab"
    press(widget.run_panel.run)
    finish(widget)
    assert " in lab, 10 iterations" in widget.run_panel.plot.caption


@pytest.mark.parametrize(
    ("k", "iters", "given", "why"),
    [
        (16, 0, False, "No iteration was asked for"),
        (9, 10, False, "No iteration was needed"),
        (9, 10, True, "No iteration: the palette was given"),
    ],
)
def test_plot_says_why_there_was_no_iteration(
    viewer, dock, finish, k, iters, given, why
):
    image = np.arange(16, dtype=np.uint8).reshape(4, 4) // 2
    viewer.add_image(image, name="a")
    widget = dock()
    if given:
        press(widget.run_panel.run)
        finish(widget)
        widget.controls.palette.value = viewer.layers[1]
    widget.controls.k.value = k
    widget.controls.iters.value = iters

    press(widget.run_panel.run)
    finish(widget)

    assert widget.run_panel.plot.caption == why


def test_numbers_are_shown(result, qtbot):
    widget, *_ = result()
    qtbot.waitUntil(lambda: "PSNR" in widget.palette_panel.numbers.value)
    n_colors = len(np.unique(data.astronaut()[:64, :50].reshape(-1, 3), axis=0))
    assert widget.palette_panel.numbers.value.startswith(f"Colors: {n_colors:,} → 5\n")


def test_numbers_are_those_of_the_listed_result(
    result, viewer, finish, qtbot, monkeypatch
):
    widget, image, _ = result()
    qtbot.waitUntil(lambda: "PSNR" in widget.palette_panel.numbers.value)
    first = widget.palette_panel.numbers.value
    widget.controls.k.value = 2
    press(widget.run_panel.run)
    finish(widget)
    qtbot.waitUntil(lambda: "PSNR" in widget.palette_panel.numbers.value)
    assert widget.palette_panel.numbers.value != first

    viewer.layers.selection.active = image
    assert widget.palette_panel.numbers.value == first

    # They were those of the colors before.
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: red)
    widget.palette_panel.table.opened.emit(1)
    assert widget.palette_panel.numbers.value == ""
