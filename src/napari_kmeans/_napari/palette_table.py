"""The colors of a palette as a table, to be pointed at, chosen and opened.

`PaletteTable` is a Qt view with a model of its own. It takes colors and pixel numbers,
and signals which entry of the palette the mouse or the keys are about. What happens
then is left to `palette_panel`.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QFocusEvent, QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_kmeans._core.arrays import Floats
from napari_kmeans._napari.colors import hex_colors

__all__ = ["PaletteTable"]

_COLUMNS = ("", "hex", "share", "pixels")
_HEIGHT = 170
_TOOLTIP = """\
Colors from dark to light, and how many of the pixels have each.
Point at one to see its pixels, click (Space) to keep seeing them,
double-click (Return) to give them another color."""
# Lightness above which black is easier to see than white.
_MIDDLE = 0.5


class PaletteTable(QTableView):
    """List colors from dark to light, with their shares of the pixels.

    The signals carry an entry of the palette; `pointed` carries -1 when no entry is
    pointed at any more. Keys do what the mouse does: arrows point, Space chooses, and
    Return opens.
    """

    pointed = Signal(int)
    chosen = Signal(int)
    opened = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._model = _PaletteModel(self)
        self.setModel(self._model)
        self.setMouseTracking(True)
        # A selected row would hide its color.
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        # The key leads on to the buttons below, not from cell to cell.
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Palette")
        self.setToolTip(_TOOLTIP)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setMinimumHeight(_HEIGHT)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.setVisible(False)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        columns.setHighlightSections(False)
        self.pointed.connect(partial(self._model.set_mark, "○"))
        self.entered.connect(lambda index: self.pointed.emit(self._entry(index)))
        self.clicked.connect(lambda index: self.chosen.emit(self._entry(index)))
        self.doubleClicked.connect(lambda index: self.opened.emit(self._entry(index)))

    @property
    def hexes(self) -> list[str]:
        """The colors, in the order of the rows."""
        return list(self._model.hexes)

    def show_palette(self, rgba: Floats, counts: NDArray[np.int64]) -> None:
        """List colors (K, 4), with the number of pixels of each."""
        self._model.set_palette(rgba, counts)

    def mark(self, entry: int | None) -> None:
        """Mark the color that is chosen."""
        self._model.set_mark("●", entry)

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        """Signal which entry the keys point at."""
        super().currentChanged(current, previous)
        if current.isValid() and self.hasFocus():
            self.pointed.emit(self._entry(current))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Choose or open the entry that the keys point at."""
        key, index = None if event is None else event.key(), self.currentIndex()
        if key == Qt.Key.Key_Space and index.isValid():
            self.chosen.emit(self._entry(index))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and index.isValid():
            self.opened.emit(self._entry(index))
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        """Signal that no entry is pointed at any more."""
        self.pointed.emit(-1)
        super().focusOutEvent(event)

    def leaveEvent(self, event: QEvent | None) -> None:
        """Signal that no entry is pointed at any more."""
        self.pointed.emit(-1)
        super().leaveEvent(event)

    def _entry(self, index: QModelIndex) -> int:
        return int(self._model.order[index.row()])


class _PaletteModel(QAbstractTableModel):
    """The rows, made when they are looked at."""

    def __init__(self, parent: QObject) -> None:
        # Without a parent, Qt would delete it before the view at Python's end.
        super().__init__(parent)
        self.order = np.empty(0, dtype=np.intp)
        self.hexes: list[str] = []
        self._counts = np.empty(0, dtype=np.int64)
        # The entry of each mark, of which the first one is seen.
        self._marks: dict[str, int | None] = {"●": None, "○": None}

    def set_mark(self, mark: str, entry: int | None) -> None:
        self._marks[mark] = entry
        if len(self.order):
            last = self.index(len(self.order) - 1, 0)
            self.dataChanged.emit(self.index(0, 0), last)

    def set_palette(self, rgba: Floats, counts: NDArray[np.int64]) -> None:
        self.beginResetModel()
        # Rec. 709 luma, as palettes are sorted; a replaced color finds its place.
        self.order = np.argsort(rgba[:, :3] @ [2126, 7152, 722], kind="stable")
        self.hexes = hex_colors(rgba[self.order])
        self._counts = counts[self.order]
        self._n_pixels = max(1, int(counts.sum()))
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(_COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        names = Qt.ItemDataRole.DisplayRole, Qt.Orientation.Horizontal
        return _COLUMNS[section] if (role, orientation) == names else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        row, column = index.row(), index.column()
        if column == 0:
            color = QColor(self.hexes[row][:7])
            if role == Qt.ItemDataRole.BackgroundRole:
                return color
            if role == Qt.ItemDataRole.ForegroundRole:
                return QColor("black" if color.lightnessF() > _MIDDLE else "white")
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return Qt.AlignmentFlag.AlignCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        share = self._counts[row] / self._n_pixels
        marks = [mark for mark, at in self._marks.items() if at == self.order[row]]
        mark = marks[0] if marks else ""
        return (mark, self.hexes[row], f"{share:.1%}", f"{self._counts[row]:,}")[column]
