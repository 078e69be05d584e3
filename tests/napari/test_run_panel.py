"""The upper part of the widget, without the lower one."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from qtpy.QtCore import Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_kmeans import map_to_palette
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.run_panel import RunPanel
from napari_window import (
    dock_in,
    messages,
    names,
    press,
    preview_in,
    wait_for_threads,
)


@pytest.fixture
def panel(viewer, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    panel = RunPanel(viewer, Results(viewer))
    qtbot.addWidget(panel)
    yield panel
    panel.leave()


def test_nothing_is_running_at_first(panel):
    assert (panel.run.enabled, panel.cancel.enabled) == (True, False)
    assert panel.progress.native.value() == 0
    assert panel.status.value == ""
    assert not panel.live.value


def test_signals_say_how_a_run_goes_on(viewer, panel, qtbot):
    heard = []
    panel.started.connect(lambda: heard.append("started"))
    panel.adding.connect(lambda: heard.append(names(viewer)))
    panel.added.connect(lambda layers: heard.append([x.name for x in layers]))
    panel.controls.output.value = "both"

    press(panel.run)
    qtbot.waitUntil(lambda: panel.run.enabled, timeout=20_000)

    assert heard == ["started", ["a"], ["a in 16 colors", "a in 16 labels"]]


def test_nothing_is_signalled_of_a_run_that_cannot_start(panel):
    heard = []
    panel.started.connect(lambda: heard.append("started"))
    panel.controls.fixed.value = "rot"

    press(panel.run)

    assert heard == []
    assert "got 'rot'" in panel.status.value


def test_preview_ends_with_the_panel_being_seen(panel, qtbot):
    panel.show()
    panel.live.value = True
    qtbot.waitUntil(lambda: panel._preview.layer is not None, timeout=20_000)

    panel.hide()

    assert panel._preview.layer is None
    assert not panel.live.value


# The status.


def test_error_is_taken_back_once_its_field_is_corrected(panel):
    panel.controls.fixed.value = "rot"
    press(panel.run)
    assert panel.status.value.endswith("got 'rot'")

    panel.controls.k.value = 3
    assert panel.status.value.endswith("got 'rot'")

    panel.controls.fixed.value = "1 2 3 4"
    assert panel.status.value.endswith("got 4 in all")

    panel.controls.fixed.value = "red"
    assert panel.status.value == ""


def test_missing_image_is_no_error_once_one_is_opened(viewer, dock):
    viewer.layers.clear()
    panel = dock().run_panel
    press(panel.run)
    assert "no image layer" in panel.status.value

    viewer.add_labels(np.eye(9, dtype=int))
    assert "no image layer" in panel.status.value

    viewer.add_image(np.eye(9))
    assert panel.status.value == ""


def test_error_of_a_run_is_taken_back_with_the_next_choice(
    viewer, dock, finish, tmp_path
):
    viewer.add_image(np.eye(9))
    widget = dock()
    widget.controls.palette.value = "from file"
    widget.controls.palette_file.value = tmp_path / "none.gpl"
    press(widget.run_panel.run)
    finish(widget)
    assert "none.gpl" in widget.run_panel.status.value

    widget.controls.palette.value = "fit"
    assert widget.run_panel.status.value == ""


def test_status_says_what_was_added_and_what_was_updated(result, viewer, finish):
    widget, image = result(output="image")
    widget.controls.again.value = "update last"
    widget.controls.output.value = "both"
    press(widget.run_panel.run)
    finish(widget)

    labels = viewer.layers[-1]
    status = f"Added “{labels.name}”, updated “{image.name}”."
    assert widget.run_panel.status.value == status


# Esc.


def test_escape_cancels_in_a_dock_that_floats(viewer, dock, paused, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.native.show()
    widget.native.activateWindow()
    qtbot.waitUntil(widget.native.isActiveWindow)
    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)

    widget.palette_panel.table.setFocus()
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)

    assert "Cancelled" in widget.run_panel.status.value
    paused.may_go_on.set()
    wait_for_threads()
    assert names(viewer) == ["a"]


def test_escape_cancels_on_the_canvas(window, paused, qtbot):
    window.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock_in(window)
    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)

    (canvas,) = window.window._qt_window.findChildren(QOpenGLWidget)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)

    assert "Cancelled" in widget.run_panel.status.value
    paused.may_go_on.set()
    wait_for_threads()


def test_escape_is_left_to_others_when_nothing_runs(viewer, dock, finish):
    pressed = []
    viewer.bind_key("Escape", pressed.append)
    before = dict(viewer.keymap)
    viewer.add_image(np.eye(9))
    widget = dock()
    assert viewer.keymap == before

    press(widget.run_panel.run)
    assert viewer.keymap != before
    finish(widget)
    assert viewer.keymap == before

    press(widget.run_panel.run)
    press(widget.run_panel.cancel)
    assert viewer.keymap == before


def test_key_that_was_bound_meanwhile_stays_bound(viewer, dock, finish):
    viewer.add_image(np.eye(9))
    widget = dock()
    press(widget.run_panel.run)
    viewer.bind_key("Escape", print, overwrite=True)
    finish(widget)
    assert list(viewer.keymap.values()) == [print]


# The preview.


def test_name_of_the_preview_follows_the_image(viewer, dock, settle):
    for name in "ab":
        viewer.add_image(data.astronaut()[:64, :50], name=name)
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)
    assert preview_in(viewer).name == "preview of b"

    widget.controls.source.value = viewer.layers["a"]
    settle(widget)
    assert preview_in(viewer).name == "preview of a"


# One palette for several images.


def test_palette_is_applied_to_several_images(result, viewer, finish):
    widget, image = result(output="image")
    others = [
        viewer.add_image(data.astronaut()[64 * i : 64 * i + 64, :50], name=name)
        for i, name in enumerate("bcd", start=1)
    ]
    widget.run_panel.apply(image, others)
    assert widget.run_panel.cancel.enabled
    finish(widget)

    palette = record_of(image).palette
    for other, made in zip(others, viewer.layers[-3:], strict=True):
        expected = palette[map_to_palette(other.data, palette)]
        assert_array_equal(made.data, expected)
        assert_array_equal(record_of(made).palette, palette)
    assert set(viewer.layers.selection) == set(viewer.layers[-3:])
    assert widget.run_panel.status.value == (
        "Added “b in 5 colors”, “c in 5 colors” and “d in 5 colors”."
    )


def test_palette_is_applied_as_its_result_was_made(viewer, dock, finish):
    stack = np.random.default_rng(1).integers(0, 999, (3, 9, 8), np.uint16)
    axes = ("c", "y", "x")
    viewer.add_image(stack, name="a", axis_labels=axes)
    widget = dock()
    widget.controls.output.value = "labels"
    press(widget.run_panel.run)
    finish(widget)
    labels = viewer.layers[-1]
    other = viewer.add_image(stack // 2, name="b")

    widget.run_panel.apply(labels, [other])
    finish(widget)

    made, palette = viewer.layers[-1], record_of(labels).palette
    weights = record_of(labels).settings.channel_weights
    assert weights is not None
    assert record_of(made).settings.channel_weights == weights
    expected = map_to_palette(
        stack // 2, palette, channel_axis=0, channel_weights=weights
    )
    assert_array_equal(made.data, expected + 1)


def test_palette_that_was_edited_is_applied_as_it_is_now(result, viewer, finish):
    widget, labels = result(output="labels")
    panel = widget.palette_panel
    panel.table.renamed.emit(4, "sky")
    panel.table.selected.emit([0, 1])
    press(panel.merge)
    viewer.layers.selection = {viewer.layers["a"]}

    press(panel.apply)
    finish(widget)

    made, palette = viewer.layers[-1], record_of(labels).palette
    assert made is not labels
    assert_array_equal(record_of(made).palette, palette)
    image = viewer.layers["a"].data
    assert_array_equal(made.data, map_to_palette(image, palette) + 1)
    assert list(made.features["name"]) == ["", "", "", "sky"]


def test_palette_of_other_channels_is_not_applied(result, viewer):
    widget, image = result(output="image")
    gray = viewer.add_image(data.camera()[:64, :50], name="gray")
    before = names(viewer)

    widget.run_panel.apply(image, [viewer.layers["a"], gray])

    assert "the pixels of “gray” one number" in widget.run_panel.status.value
    assert "the pixels of “gray” one number" in messages()[-1]
    assert names(viewer) == before
    assert widget.run_panel.run.enabled
