"""The palette of a result: listed, pointed at, and changed."""

import subprocess
import sys

import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QApplication, QColorDialog, QInputDialog
from skimage import data

from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.quantize_layer import quantize_layer
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Results
from napari_window import (
    dock_in,
    messages,
    move_mouse,
    names,
    press,
    wait_for_threads,
)


def test_panel_lists_the_palette_from_dark_to_light(result):
    widget, _, labels = result()
    record = labels.metadata["napari-kmeans"]
    colors = [f"#{bytes(color).hex()}" for color in record["palette"]]
    assert widget.palette_panel.table.hexes == colors
    table = widget.palette_panel.table.model()
    share = table.index(0, table.columnCount() - 1)
    assert share.data() == f"{record['counts'][0] / 3200:.1%}"


def test_pandas_is_loaded_with_the_widget_and_not_with_the_first_result():
    code = """
from napari_kmeans._napari import widget
import sys
assert "pandas" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pointing_at_a_color_veils_all_others(result, viewer):
    widget, image, labels = result()

    widget.palette_panel.table.pointed.emit(2)

    veil = viewer.layers[-1]
    assert_array_equal(veil.data, labels.data)
    assert veil.get_color(3)[3] == 0
    for other in (1, 2, 4, 5):
        assert veil.get_color(other)[3] > 0.5
    assert viewer.layers.selection.active is labels

    widget.palette_panel.table.pointed.emit(-1)
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
    press(widget.run_panel.run)
    finish(widget)
    _, image, labels = viewer.layers

    shown = []
    for result in (image, labels):
        viewer.layers.selection.active = result
        widget.palette_panel.table.pointed.emit(2)
        shown.append(viewer.layers[-1])
        widget.palette_panel.table.pointed.emit(-1)

    assert_array_equal(shown[0].data, shown[1].data)
    assert_array_equal(shown[0].extent.world, shown[1].extent.world)
    assert shown[0].axis_labels == shown[1].axis_labels


def test_chosen_color_stays_until_chosen_again(result, viewer):
    widget, *_ = result()

    widget.palette_panel.table.chosen.emit(2)
    widget.palette_panel.table.pointed.emit(4)
    widget.palette_panel.table.pointed.emit(-1)
    assert viewer.layers[-1].get_color(3)[3] == 0
    assert viewer.layers[-1].get_color(5)[3] > 0.5

    widget.palette_panel.table.chosen.emit(2)
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("is_chosen", [False, True])
def test_double_click_leaves_its_row_chosen(result, qtbot, is_chosen):
    widget, *_ = result()
    panel = widget.palette_panel
    if is_chosen:
        panel.choose(1)
    table, left = panel.table, Qt.MouseButton.LeftButton
    place = table.visualRect(table.model().index(1, 1)).center()
    qtbot.mouseClick(table.viewport(), left, pos=place)
    qtbot.mouseDClick(table.viewport(), left, pos=place)
    assert panel._kept == (1,)


def test_replaced_color_shows_in_all_layers_of_the_run(result, qtbot, monkeypatch):
    widget, image, labels = result()
    before = image.data.copy()
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: red)

    widget.palette_panel.table.opened.emit(1)
    qtbot.waitUntil(lambda: (image.data != before).any())

    is_entry = labels.data == 2
    assert (image.data[is_entry] == red).all()
    assert_array_equal(image.data[~is_entry], before[~is_entry])
    assert_array_equal(labels.get_color(2), [1, 0, 0, 1])
    assert labels.features["hex"][1] == "#ff0000"
    assert_array_equal(image.metadata["napari-kmeans"]["palette"][1], red)
    assert "#ff0000" in widget.palette_panel.table.hexes


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
    press(widget.run_panel.run)
    finish(widget)
    quantized, labels = viewer.layers[1:]
    color = np.array([7, 8, 9], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: color)

    widget.palette_panel.table.opened.emit(1)

    palette = record_of(labels).palette
    assert_array_equal(palette[1], color)
    painted = np.moveaxis(palette[labels.data.reshape(64, 50) - 1], -1, axis)
    qtbot.waitUntil(lambda: np.array_equal(quantized.data, painted))


def test_colors_replaced_in_a_row_are_all_shown(result, qtbot, monkeypatch):
    widget, image, labels = result()
    for entry, level in ((1, 255), (3, 254)):
        color = np.array([level, 0, 0], dtype=np.uint8)
        monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_, c=color: c)
        widget.palette_panel.table.opened.emit(entry)

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
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: red)

    widget.palette_panel.table.opened.emit(1)
    wait_for_threads()
    QApplication.processEvents()

    assert_array_equal(copy.get_color(2), [1, 0, 0, 1])
    assert "#ff0000" in widget.palette_panel.table.hexes
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
    press(widget.run_panel.run)
    finish(widget)
    labels = viewer.layers[-1]
    copy = duplicate(viewer, labels)
    color = np.array([2000, 0, 0], dtype=np.uint16)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: color)

    widget.palette_panel.table.opened.emit(3)

    assert list(copy.features["hex"][:3]) == list(labels.features["hex"][:3])
    assert copy.features["hex"][3] != labels.features["hex"][3]


def test_panel_follows_the_selected_result(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    for k in (3, 5):
        widget.controls.k.value = k
        press(widget.run_panel.run)
        finish(widget)
    assert len(widget.palette_panel.table.hexes) == 5

    viewer.layers.selection.active = viewer.layers["a in 3 colors"]

    assert len(widget.palette_panel.table.hexes) == 3


def test_panel_is_empty_once_its_layer_is_gone(result, viewer):
    widget, *_ = result(output="image")
    widget.palette_panel.table.chosen.emit(2)

    viewer.layers.remove("a in 5 colors")

    assert widget.palette_panel.table.hexes == []
    assert names(viewer) == ["a"]
    assert not widget.palette_panel.copy_python.isEnabled()


def test_hex_is_copied(result):
    widget, *_ = result()
    press(widget.palette_panel.copy_hex)
    assert (
        QApplication.clipboard().text().splitlines() == widget.palette_panel.table.hexes
    )


def test_chosen_color_is_locked_by_its_button(result):
    widget, *_ = result()
    widget.palette_panel.table.chosen.emit(1)

    press(widget.palette_panel.lock)
    press(widget.palette_panel.lock)

    assert widget.controls.fixed.value == widget.palette_panel.table.hexes[1]


def test_qt_deletes_the_rows_of_the_table_with_it(result):
    # Deleted before, at Python's end, they would be asked for by a table that hides.
    widget, *_ = result()
    table = widget.palette_panel.table
    assert table.model().parent() is table


def test_panel_needs_no_widget_around_it(viewer, qtbot):
    source = viewer.add_image(data.astronaut()[:64, :50], name="a")
    panel = PalettePanel(viewer, Results(viewer))
    qtbot.addWidget(panel)
    (labels,) = quantize_layer([source], 4, output="labels")
    buttons = (panel.merge, panel.undo, panel.lock, panel.apply, panel.to_labels)
    assert not any(button.enabled for button in (*buttons, panel.save, panel.copy))
    locked, told = [], []
    panel.locked.connect(locked.append)
    panel.told.connect(told.append)

    viewer.add_layer(labels)
    assert panel.table.hexes == list(labels.features["hex"])
    panel.table.chosen.emit(1)
    press(panel.lock)
    press(panel.copy_hex)
    panel.leave()

    assert locked == [panel.table.hexes[1]]
    assert told == ["The colors are on the clipboard."]
    # What was shown for a while is gone.
    assert names(viewer) == ["a", labels.name]


def test_mouse_points_at_colors_and_replaces_them(window, finish, qtbot, monkeypatch):
    image = data.astronaut()[:64, :50]
    window.add_image(image, name="a")
    widget = dock_in(window)
    widget.controls.k.value = 4
    widget.controls.output.value = "labels"
    press(widget.run_panel.run)
    finish(widget)
    panel = widget.palette_panel.table
    rows = [panel.visualRect(panel.model().index(row, 0)) for row in range(4)]

    # On its way elsewhere, it points at nothing.
    move_mouse(panel.viewport(), rows[0].center())
    for left in (panel.viewport(), panel):
        QApplication.sendEvent(left, QEvent(QEvent.Type.Leave))
    assert not panel._resting.isActive()

    move_mouse(panel.viewport(), rows[0].center())
    assert len(window.layers) == 2
    qtbot.waitUntil(lambda: len(window.layers) == 3)
    move_mouse(panel.viewport(), rows[2].center())
    assert window.layers[-1].get_color(3)[3] == 0

    qtbot.mouseClick(panel.viewport(), Qt.MouseButton.LeftButton, pos=rows[1].center())
    QApplication.sendEvent(panel, QEvent(QEvent.Type.Leave))
    assert window.layers[-1].get_color(2)[3] == 0
    assert panel.model().index(1, 0).data() == "●"

    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: red)
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
    color = widget.palette_panel._ask_color(
        widget.palette_panel._results.listed(layer), 1
    )
    if expected is None:
        assert color is None
    else:
        assert_allclose(color, expected)
        assert color.dtype == image.dtype


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        *((("77", True), 77), (("", False), None)),
        *((("no", True), None), (("1 2", True), None), (("", True), None)),
    ],
)
def test_value_is_asked_for(result, monkeypatch, answer, expected):
    widget, layer, _ = result(data.camera()[:64, :50])
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: answer)
    color = widget.palette_panel._ask_color(
        widget.palette_panel._results.listed(layer), 1
    )
    assert color == expected
    if answer[0] == "no":
        assert "got 'no'" in messages()[-1]
    elif answer == ("1 2", True):
        assert messages()[-1] == "one color is wanted, got 2: 1 2"


# Several clusters.


def test_pixels_of_several_clusters_are_shown_together(result, viewer):
    widget, *_ = result()
    panel = widget.palette_panel
    panel.table.selected.emit([1, 3])
    veil = viewer.layers[-1]
    assert [veil.get_color(i)[3] == 0 for i in range(1, 6)] == [0, 1, 0, 1, 0]

    # What is clicked alone takes their place.
    panel.table.chosen.emit(3)
    assert [veil.get_color(i)[3] == 0 for i in range(1, 6)] == [0, 0, 0, 1, 0]
    panel.table.selected.emit([])
    assert len(viewer.layers) == 3


def test_chosen_clusters_become_one_in_all_layers_and_part_again(result, qtbot):
    widget, image, labels = result()
    panel = widget.palette_panel
    pixels, labels_before = image.data.copy(), labels.data.copy()
    panel.table.chosen.emit(1)
    assert not panel.merge.enabled
    panel.table.selected.emit([1, 3])
    press(panel.merge)
    qtbot.waitUntil(lambda: len(np.unique(image.data.reshape(-1, 3), axis=0)) == 4)

    assert_array_equal(labels.data == 2, np.isin(labels_before, (2, 4)))
    assert len(panel.table.entries) == 4
    assert_array_equal(image.data, record_of(image).palette[labels.data - 1])
    assert not panel.merge.enabled

    press(panel.undo)
    qtbot.waitUntil(lambda: np.array_equal(image.data, pixels))
    assert_array_equal(labels.data, labels_before)
    assert len(panel.table.entries) == 5
    assert not panel.undo.enabled


def test_replaced_color_leaves_its_row_where_it_is_until_it_is_listed_anew(
    result, viewer, monkeypatch
):
    widget, image, _ = result()
    panel = widget.palette_panel
    before = panel.table.entries
    white = np.array([255, 255, 255], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: white)
    panel.table.opened.emit(before[0])
    assert panel.table.entries == before
    assert panel.table.hexes[0] == "#ffffff"

    viewer.layers.selection.active = image
    assert panel.table.entries == [*before[1:], before[0]]

    press(panel.undo)
    wait_for_threads()
    assert "#ffffff" not in panel.table.hexes
    assert "PSNR" in panel.numbers.value


def test_name_is_that_of_all_layers_of_the_run(result, viewer):
    widget, image, labels = result()
    panel = widget.palette_panel
    panel.table.renamed.emit(2, "nuclei")
    assert labels.features["name"][2] == "nuclei"
    viewer.layers.selection.active = image
    row = panel.table.entries.index(2)
    assert panel.table.model().index(row, 1).data() == "nuclei"
    press(panel.undo)
    assert labels.features["name"][2] == ""


def test_paint_is_counted_in_the_table(result):
    widget, _, labels = result()
    table = widget.palette_panel.table.model()
    at = table.columnCount() - 2
    before = [table.index(row, at).data() for row in range(5)]
    labels.brush_size = 5
    labels.paint((30, 30), int(labels.data[0, 0]) % 5 + 1)
    after = [table.index(row, at).data() for row in range(5)]
    assert after != before
    counts = record_of(labels).counts[widget.palette_panel.table.entries]
    assert after == [f"{n:,}" for n in counts]


# Slices with palettes of their own.


@pytest.fixture
def movie(viewer, dock, finish):
    """Give a widget after each frame has got a palette of its own."""

    def movie(output):
        frames = np.stack([data.camera()[:20, :30] // i for i in (1, 2, 3)])
        viewer.add_image(frames, name="a")
        widget = dock()
        widget.controls.k.value = 3
        widget.controls.output.value = output
        widget.controls.palettes.value = 0
        press(widget.run_panel.run)
        finish(widget)
        return widget, viewer.layers[-1]

    return movie


@pytest.mark.parametrize("output", ["image", "labels"])
def test_list_follows_the_slider_through_the_slices(movie, viewer, output):
    widget, layer = movie(output)
    record = record_of(layer)
    for t in (0, 2, 1):
        viewer.dims.set_current_step(0, t)
        entries = widget.palette_panel.table.entries
        assert sorted(entries) == np.flatnonzero(record.slices == t).tolist()


def test_pixels_that_are_shown_are_those_of_the_slice_in_view(movie, viewer):
    widget, labels = movie("labels")
    panel = widget.palette_panel
    viewer.dims.set_current_step(0, 1)
    panel.table.chosen.emit(panel.table.entries[0])
    veil = viewer.layers[-1]
    is_clear = [veil.get_color(int(i))[3] == 0 for i in np.unique(labels.data[1])]
    assert sum(is_clear) == 1

    # No cluster of another slice keeps a veil over all of this one.
    viewer.dims.set_current_step(0, 2)
    assert len(viewer.layers) == 2
    assert not panel.lock.enabled


# A preview.


def test_palette_of_a_preview_is_listed_and_cannot_be_changed(result, viewer):
    widget, _, labels = result()
    panel = widget.palette_panel
    before = panel.table.hexes
    panel.table.chosen.emit(2)
    other = quantize_layer(viewer.layers["a"], 3)[0]
    listed = Results(viewer).listed(other)

    panel.list_preview(listed)
    assert len(panel.table.hexes) == 3
    assert panel.table.model().headerData(1, Qt.Orientation.Horizontal) == "preview"
    assert len(viewer.layers) == 3
    panel.table.chosen.emit(0)
    panel.table.opened.emit(0)
    panel.table.renamed.emit(0, "nuclei")
    panel.table.undone.emit()
    assert len(viewer.layers) == 3
    buttons = panel.merge, panel.lock, panel.apply, panel.to_labels, panel.save
    assert not any(button.enabled for button in buttons)

    panel.list_preview(None)
    assert len(viewer.layers) == 3
    assert panel.table.hexes == before
    assert list(labels.features["name"]) == [""] * 5
    assert panel.save.enabled


# What else is listed.


def test_copied_image_lists_its_palette(viewer, result):
    widget, image, _ = result(output="both")
    before = widget.palette_panel.table.hexes
    viewer.layers.selection.active = viewer.layers["a"]
    copy = duplicate(viewer, image)
    assert widget.palette_panel._layer is copy
    assert widget.palette_panel.table.hexes == before


def test_labels_that_are_no_result_change_nothing_that_is_listed(viewer, result):
    widget, *_ = result()
    before = widget.palette_panel.table.hexes
    viewer.add_labels(np.ones((64, 50), dtype=int))
    assert widget.palette_panel.table.hexes == before


def test_result_that_is_selected_is_listed_by_a_new_widget(result, dock):
    widget, *_ = result()
    assert dock().palette_panel.table.hexes == widget.palette_panel.table.hexes


def test_palette_is_applied_to_selected_images_that_are_no_results(viewer, result):
    widget, image, labels = result()
    panel, applied = widget.palette_panel, []
    panel.applied.connect(lambda *pair: applied.append(pair))
    viewer.layers.selection = {image, labels}
    assert not panel.apply.enabled

    other = viewer.add_image(data.camera()[:64, :50], name="b")
    viewer.layers.selection = {viewer.layers["a"], image, other}
    press(panel.apply)
    ((of, to),) = applied
    assert of in (image, labels)
    assert to == [viewer.layers["a"], other]


def test_contour_and_opacity_are_those_of_the_listed_labels(viewer, result):
    widget, image, labels = result()
    look = widget.palette_panel.look
    look.contour.setValue(2)
    assert labels.contour == 2
    viewer.layers.selection.active = image
    assert not look.isEnabled()
