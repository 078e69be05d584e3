"""How the widget looks in a real window, and how hands and ears find their way."""

from itertools import pairwise

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QStyle,
    QStyleOptionComboBox,
    QToolTip,
)
from skimage import data

from napari_kmeans._napari.folds import Fold
from napari_kmeans._napari.palette_panel import PalettePanel

LONG = "Experiment 2026-03-14 γλαῦξ 細胞核 😀🔬 <b>DAPI</b>, time series, position 07"
PHOTO = data.astronaut()[:64, :50]


@pytest.fixture
def docked(make_napari_viewer, qtbot):
    """Give a window with the widget in it, its dock of a given width."""

    def docked(width=1, **settings):
        viewer = make_napari_viewer(show=True)
        for name, value in settings.items():
            setattr(get_settings().appearance, name, value)
        dock, widget = viewer.window.add_plugin_dock_widget(
            "napari-kmeans", "K-means colors"
        )
        main = viewer.window._qt_window
        main.resize(1200, 600)
        qtbot.waitUntil(lambda: main.height() == 600)
        main.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        main.activateWindow()
        qtbot.waitUntil(main.isActiveWindow)
        return viewer, widget, dock

    yield docked
    get_settings().reset()


def unfold(widget):
    for fold in widget.native.findChildren(Fold):
        fold.unfold()
    QApplication.processEvents()


def page_of(widget):
    return widget.native.findChild(QScrollArea).widget()


def room_of(box):
    """Give the width that a box has for its choice, and the width of that."""
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    field = box.style().subControlRect(
        QStyle.ComplexControl.CC_ComboBox,
        option,
        QStyle.SubControl.SC_ComboBoxEditField,
        box,
    )
    return field.width() - 2, option.fontMetrics.horizontalAdvance(box.currentText())


def run(widget, qtbot):
    widget.run_panel.run.native.click()
    qtbot.waitUntil(lambda: widget.run_panel.run.enabled, timeout=20_000)


def test_narrowest_dock_shows_all_labels_and_choices(docked):
    viewer, widget, dock = docked()
    axes = ("t", "y", "x", "c")
    viewer.add_image(np.stack([PHOTO, PHOTO]), rgb=False, axis_labels=axes)
    widget.controls.init.value = "k-means++"
    widget.controls.weights.value = None
    unfold(widget)

    for theme in ("dark", "light"):
        get_settings().appearance.theme = theme
        QApplication.processEvents()
        assert dock.width() == 300
        shown = [x for x in page_of(widget).findChildren(QLabel) if x.isVisible()]
        texts = {label.text() for label in shown}
        assert {"Channels count", "Fit colors to", "Palettes", "Seed"} <= texts
        for label in shown:
            assert label.wordWrap() or label.width() >= label.sizeHint().width()
        for box in page_of(widget).findChildren(QComboBox):
            room, wanted = room_of(box)
            assert wanted <= room, box.currentText()
        for button in page_of(widget).findChildren(QAbstractButton):
            least = button.minimumSizeHint().width()
            assert not button.text() or button.width() >= least


def test_dock_opens_wider_than_it_must(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    dock, _ = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    QApplication.processEvents()
    assert 330 < dock.width() < 400


def test_long_names_do_not_widen_the_dock(docked, qtbot):
    viewer, widget, dock = docked()
    viewer.add_image(PHOTO, name=LONG)
    viewer.add_labels(np.ones((64, 50), dtype=int), name=LONG + " mask")
    widget.controls.inside.value = viewer.layers[1]
    run(widget, qtbot)

    assert dock.width() == 300
    assert page_of(widget).width() <= 300
    # Names in sentences are short, and none is taken for HTML.
    assert "…" in widget.run_panel.status.value
    assert widget.run_panel.status.native.textFormat() == Qt.TextFormat.PlainText


def test_choice_that_is_cut_is_told_whole(docked, qtbot):
    viewer, widget, _ = docked()
    layer = viewer.add_image(PHOTO)
    box = widget.controls.source.native
    for name in (LONG, "short"):
        layer.name = name
        qtbot.waitUntil(lambda name=name: box.isVisible() and box.currentText() == name)

        point = QPoint(9, 9)
        event = QHelpEvent(QEvent.Type.ToolTip, point, box.mapToGlobal(point))
        QApplication.sendEvent(box, event)
        # It is no HTML, and the explanation follows.
        is_told = "&lt;b&gt;DAPI&lt;/b&gt;, time series" in QToolTip.text()
        assert is_told == (name == LONG)
        assert box.toolTip() in QToolTip.text()
        QToolTip.hideText()


def test_cut_choice_is_drawn_with_an_ellipsis(docked, qtbot):
    viewer, widget, _ = docked()
    box = widget.controls.source.native
    drawn = []
    for name in ("i" * 80, "i" * 79 + "w"):
        viewer.add_image(PHOTO, name=name)
        widget.controls.source.value = viewer.layers[name]
        qtbot.waitUntil(lambda name=name: box.currentText() == name)
        drawn.append(box.grab().toImage())
    # The end, which tells them apart, is seen.
    assert drawn[0] != drawn[1]


def test_short_window_scrolls(docked):
    _, widget, _ = docked()
    unfold(widget)
    bar = widget.native.findChild(QScrollArea).verticalScrollBar()
    assert bar.maximum() > 0
    bar.setValue(bar.maximum())
    last = widget.palette_panel.compression
    bottom = last.mapTo(widget.native, QPoint(0, last.height())).y()
    assert bottom <= widget.native.height()


def test_large_letters_can_be_scrolled_to(docked):
    _, widget, dock = docked(font_size=18)
    QApplication.processEvents()
    bar = widget.native.findChild(QScrollArea).horizontalScrollBar()
    assert page_of(widget).width() <= dock.width() + bar.maximum()


def test_arrow_tells_whether_more_is_shown(docked):
    _, widget, _ = docked()
    button = widget.controls.more.button
    options = widget.controls.iters.native
    assert button.arrowType() == Qt.ArrowType.RightArrow
    assert not options.isVisible()

    QTest.keyClick(button, Qt.Key.Key_Space)
    assert button.arrowType() == Qt.ArrowType.DownArrow
    assert options.isVisible()

    button.click()
    assert button.arrowType() == Qt.ArrowType.RightArrow
    assert not options.isVisible()


def controls_of(widget):
    """Give whatever can be worked with."""
    kinds = QComboBox, QAbstractSpinBox, QAbstractSlider, QLineEdit, QAbstractButton
    found = [x for kind in kinds for x in page_of(widget).findChildren(kind)]
    # What is a part of another one is reached through that.
    return [
        x
        for x in [*found, widget.palette_panel.table]
        if not any(
            isinstance(p, (QAbstractSpinBox, QAbstractSlider))
            or p is widget.palette_panel.table
            for p in (x.parent(), x.parent().parent())
        )
        and x.isVisibleTo(page_of(widget))
    ]


def test_every_control_has_a_name_and_a_tooltip(docked):
    _, widget, _ = docked()
    unfold(widget)
    controls = controls_of(widget)
    assert len(controls) > 20
    for control in controls:
        # Buttons are called by what is written on them.
        is_button = isinstance(control, QAbstractButton)
        name = control.text() if is_button else control.accessibleName()
        assert name, control
        told = control
        while not told.toolTip():
            told = told.parent()
            assert told is not page_of(widget), name
        assert max(map(len, told.toolTip().splitlines())) < 80


def test_tab_leads_through_the_controls_from_top_to_bottom(docked, qtbot):
    viewer, widget, _ = docked()
    viewer.add_image(np.stack([data.camera()[:20]] * 3), name="a")
    widget.controls.output.value = "labels"
    run(widget, qtbot)
    widget.palette_panel.table.chosen.emit(1)
    unfold(widget)
    widget.controls.source.native.setFocus()
    met, control = [], widget.controls.source.native
    while page_of(widget).isAncestorOf(control):
        assert control not in met
        met.append(control)
        QTest.keyClick(control, Qt.Key.Key_Tab)
        control = QApplication.focusWidget()
    centers = [c.mapTo(page_of(widget), c.rect().center()) for c in met]
    assert len(centers) > 15
    for one, other in pairwise(centers):
        is_same_row = abs(one.y() - other.y()) < 5
        assert one.x() < other.x() if is_same_row else one.y() < other.y()


def test_palette_is_worked_with_by_keys(docked, qtbot, monkeypatch):
    viewer, widget, _ = docked()
    viewer.add_image(PHOTO, name="a")
    widget.controls.k.value = 4
    widget.controls.output.value = "labels"
    run(widget, qtbot)
    panel = widget.palette_panel.table
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: red)

    panel.setFocus()
    QTest.keyClick(panel, Qt.Key.Key_Down)
    assert viewer.layers[-1].get_color(2)[3] == 0
    assert panel.model().index(1, 0).data() == "○"

    QTest.keyClick(panel, Qt.Key.Key_Space)
    QTest.keyClick(panel, Qt.Key.Key_Down)
    assert panel.model().index(1, 0).data() == "●"
    assert viewer.layers[-1].get_color(3)[3] == 0

    QTest.keyClick(panel, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is widget.palette_panel.lock.native
    assert viewer.layers[-1].get_color(2)[3] == 0

    panel.setFocus()
    QTest.keyClick(panel, Qt.Key.Key_Return)
    assert list(viewer.layers[1].get_color(3)) == [1, 0, 0, 1]


def test_table_has_the_height_that_is_left(docked, qtbot):
    viewer, widget, _ = docked()
    viewer.add_image(PHOTO, name="a")
    run(widget, qtbot)
    table = widget.palette_panel.table
    bar = widget.native.findChild(QScrollArea).verticalScrollBar()
    heights = []
    for height in (600, 900, 980):
        viewer.window._qt_window.resize(1200, height)
        qtbot.waitUntil(lambda h=height: viewer.window._qt_window.height() == h)
        heights.append(table.height())
    # Before anything scrolls, the table is as small as it may be.
    assert heights[0] == table.minimumHeight()
    assert bar.maximum() == 0
    assert heights[2] - heights[1] == 80
