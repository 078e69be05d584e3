"""The table of clusters under the mouse and the keys."""

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit

from napari_kmeans._napari.palette_table import PaletteTable
from napari_kmeans._napari.table_model import NAME, SWATCH

CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
NONE = Qt.KeyboardModifier.NoModifier


def table_of(n, **columns):
    table = {
        "index": np.arange(1, n + 1),
        "name": [""] * n,
        "hex": [f"#{i:02x}0000" for i in range(n)],
        "mean": np.linspace(0, 65535, n),
        "pixels": np.full(n, 1_234_567_890),
        "area": np.full(n, 308_641_972.5),
        "area_unit": ["µm²"] * n,
        "share": np.full(n, 1 / n),
    }
    return pd.DataFrame(table | columns)


@pytest.fixture
def shown(qtbot):
    """Give a function that shows a table, and what its signals carry."""

    def shown(table=None, width=400, height=300):
        view = PaletteTable()
        qtbot.addWidget(view)
        view.resize(width, height)
        view.show_rows(table_of(5) if table is None else table)
        view.show()
        qtbot.waitExposed(view)
        heard = []
        for name in ("chosen", "selected", "opened", "renamed", "copied", "undone"):
            signal = getattr(view, name)
            signal.connect(lambda *args, name=name: heard.append((name, *args)))
        # As the panel does.
        view.selected.connect(view.mark)
        view.chosen.connect(lambda entry: view.mark([entry]))
        return view, heard

    return shown


def click(view, row, modifier=NONE, column=SWATCH):
    place = view.visualRect(view.model().index(row, column)).center()
    button = Qt.MouseButton.LeftButton
    QTest.mouseClick(view.viewport(), button, modifier, place)


def double_click(view, row, column):
    click(view, row, column=column)
    place = view.visualRect(view.model().index(row, column)).center()
    QTest.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, NONE, place)


def test_click_chooses_one_and_ctrl_and_shift_choose_several(shown):
    view, heard = shown()
    click(view, 1)
    click(view, 3, CTRL)
    click(view, 1, CTRL)
    click(view, 4, SHIFT)
    click(view, 0)
    assert heard == [
        ("chosen", 1),
        ("selected", [1, 3]),
        ("selected", [3]),
        ("selected", [1, 2, 3, 4]),
        ("chosen", 0),
    ]
    marks = [view.model().index(row, SWATCH).data() for row in range(5)]
    assert marks == ["●", "", "", "", ""]


def test_rows_are_selected_by_keys(shown):
    view, heard = shown()
    view.setFocus()
    view.setCurrentIndex(view.model().index(1, 0))
    QTest.keyClick(view, Qt.Key.Key_Space)
    QTest.keyClick(view, Qt.Key.Key_Down, SHIFT)
    QTest.keyClick(view, Qt.Key.Key_Down)
    QTest.keyClick(view, Qt.Key.Key_Escape)
    assert heard == [("chosen", 1), ("selected", [1, 2]), ("selected", [])]


def test_escape_is_left_to_others_where_nothing_is_chosen(shown):
    view, heard = shown()
    view.setCurrentIndex(view.model().index(1, 0))
    QTest.keyClick(view, Qt.Key.Key_Escape)
    assert heard == []


@pytest.mark.parametrize(
    ("key", "modifier", "expected"),
    [
        (Qt.Key.Key_Return, NONE, ("opened", 2)),
        (Qt.Key.Key_Enter, NONE, ("opened", 2)),
        (Qt.Key.Key_C, CTRL, ("copied",)),
        (Qt.Key.Key_Z, CTRL, ("undone",)),
    ],
)
def test_keys_do_what_the_buttons_do(shown, key, modifier, expected):
    view, heard = shown()
    view.setCurrentIndex(view.model().index(2, 3))
    QTest.keyClick(view, key, modifier)
    assert heard == [expected]


def type_name(view, text):
    editor = view.findChild(QLineEdit)
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)
    QApplication.processEvents()


def test_name_is_typed_after_f2(shown):
    view, heard = shown()
    view.setCurrentIndex(view.model().index(2, 3))
    QTest.keyClick(view, Qt.Key.Key_F2)
    type_name(view, "nuclei")
    assert heard == [("renamed", 2, "nuclei")]


def test_double_click_types_a_name_and_elsewhere_opens_a_color(shown):
    view, heard = shown()
    double_click(view, 2, NAME)
    type_name(view, "nuclei")
    double_click(view, 1, SWATCH)
    deeds = [one for one in heard if one[0] != "chosen"]
    assert deeds == [("renamed", 2, "nuclei"), ("opened", 1)]


def test_names_of_a_preview_are_not_typed(shown):
    view, heard = shown()
    view.show_rows(table_of(5), is_preview=True)
    view.setCurrentIndex(view.model().index(2, NAME))
    QTest.keyClick(view, Qt.Key.Key_F2)
    assert view.findChild(QLineEdit) is None
    assert heard == []


@pytest.mark.parametrize("width", [150, 300, 800])
def test_no_number_is_cut_and_names_have_the_rest(shown, width):
    means = np.array([0.1, 123456.7, -99999, np.nan, 8])
    table = table_of(5, mean=means, name=["", "", "background", "", ""])
    view, _ = shown(table, width=width)
    model, metrics = view.model(), view.fontMetrics()
    for column in range(NAME + 1, model.columnCount()):
        room = view.columnWidth(column)
        for row in range(5):
            text = model.index(row, column).data()
            assert metrics.horizontalAdvance(text) + 6 <= room
        assert view.horizontalHeader().sectionSizeHint(column) <= room
    widths = [view.columnWidth(column) for column in range(model.columnCount())]
    assert view.columnWidth(NAME) >= metrics.horizontalAdvance("background") + 6
    is_wide = sum(widths) > view.viewport().width()
    assert is_wide == (view.horizontalScrollBar().maximum() > 0)
    if width == 800:
        assert sum(widths) == view.viewport().width()


def test_at_least_four_rows_are_seen(shown):
    view, _ = shown(table_of(20), height=10)
    view.resize(200, view.minimumHeight())
    QApplication.processEvents()
    assert view.horizontalScrollBar().isVisible()
    last = view.visualRect(view.model().index(3, 0))
    assert last.bottom() <= view.viewport().height()


def test_rows_stay_selected_while_their_numbers_change(shown):
    view, heard = shown()
    view.mark([1, 3])
    view.show_rows(table_of(5, pixels=np.arange(5)))
    rows = sorted(index.row() for index in view.selectionModel().selectedRows())
    assert rows == [1, 3]
    view.show_rows(table_of(2))
    assert [index.row() for index in view.selectionModel().selectedRows()] == [1]
    assert heard == []
