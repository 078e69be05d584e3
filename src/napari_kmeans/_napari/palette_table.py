"""The clusters of a result as a table, to be pointed at, chosen, named and opened.

`PaletteTable` is a Qt view of a `ClusterModel`. It signals which entries of the palette
the mouse or the keys are about. What happens then is left to `palette_panel`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import (  # type: ignore[attr-defined]
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from napari_kmeans._napari.table_model import NAME, SWATCH, ClusterModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PaletteTable"]

_TOOLTIP = """\
Clusters from dark to light. Point at one to see its pixels, click (Space)
to keep seeing them, with Ctrl or Shift those of several. Double-click its
name (F2) to type one, elsewhere (Return) to give it another color."""
# Milliseconds that the mouse rests on a row before that is pointed at: to add a layer
# and to remove it holds the window.
_REST = 150
# Rows that are seen in any case.
_LEAST_ROWS = 4
# Widths in letters: that of names is at least the first, and at most the second
# unless there is room. Pixels beside a name or number.
_SWATCH_WIDTH, _NAME_WIDTHS, _MARGIN = 4, (7, 24), 14
# Lightness above which black is easier to see than white.
_MIDDLE = 0.5


class PaletteTable(QTableView):
    """List clusters with their numbers.

    The signals carry an entry of the palette, or several; `pointed` carries -1 when no
    entry is pointed at any more, `chosen` the one that was clicked alone, `selected`
    all that are to be seen together. Keys do what the mouse does: arrows point, Space
    chooses, Return opens, F2 renames, and Escape chooses none.
    """

    pointed = Signal(int)
    chosen = Signal(int)
    selected = Signal(list)
    opened = Signal(int)
    renamed = Signal(int, str)
    copied = Signal()
    undone = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model = ClusterModel(self)
        self._model.renamed.connect(self.renamed)
        self._chosen: tuple[int, ...] = ()
        self._pointed: int | None = None
        # The row that Shift chooses from, and the keys that were held with the mouse.
        self._anchor = 0
        self._held = Qt.KeyboardModifier.NoModifier
        self.setModel(self._model)
        self.setItemDelegateForColumn(SWATCH, _Swatch(self))
        self.setMouseTracking(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        # The key leads on to the buttons below, not from cell to cell.
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Clusters")
        self.setToolTip(_TOOLTIP)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self._lay_out()
        # The entry that the mouse is over.
        self._entered = -1
        self._resting = QTimer(self)
        self._resting.setSingleShot(True)
        self._resting.setInterval(_REST)
        self._resting.timeout.connect(lambda: self.pointed.emit(self._entered))
        self.pointed.connect(self._point)
        self.entered.connect(self._enter)
        self.clicked.connect(self._click)
        self.doubleClicked.connect(self._double_click)

    def _lay_out(self) -> None:
        """Leave the columns to `_fit_columns`, and take any height."""
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.setVisible(False)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        columns.setHighlightSections(False)
        # Two lines above them, and the bar that scrolls from side to side.
        n_lines = _LEAST_ROWS + 3
        self.setMinimumHeight(n_lines * rows.defaultSectionSize())
        policy = QSizePolicy.Policy
        self.setSizePolicy(policy.Ignored, policy.Expanding)

    def sizeHint(self) -> QSize:
        """Return the least size: the table takes what is left, and asks for no more."""
        return self.minimumSizeHint().expandedTo(self.minimumSize())

    @property
    def hexes(self) -> list[str]:
        """The colors, in the order of the rows."""
        return list(self._model.hexes)

    @property
    def entries(self) -> list[int]:
        """The entries of the palette, in the order of the rows."""
        return list(self._model.entries)

    def show_rows(
        self,
        table: pd.DataFrame | None,
        *,
        has_hex: bool = False,
        is_preview: bool = False,
    ) -> None:
        """List clusters, as `ClusterModel.set_rows` takes them."""
        self._resting.stop()
        self._model.set_rows(table, has_hex=has_hex, is_preview=is_preview)
        self._fit_columns()
        self._mark_rows()

    def mark(self, chosen: Sequence[int]) -> None:
        """Mark the entries whose pixels are kept in sight."""
        self._chosen = tuple(chosen)
        self._mark_rows()

    def _mark_rows(self) -> None:
        model, selection, chosen = self._model, QItemSelection(), set(self._chosen)
        model.set_marks(self._chosen, self._pointed)
        last = model.columnCount() - 1
        for row, entry in enumerate(model.entries):
            if entry in chosen:
                selection.select(model.index(row, 0), model.index(row, last))
        selected = self.selectionModel()
        assert selected is not None
        selected.select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def _enter(self, index: QModelIndex) -> None:
        """Point at a row once the mouse rests, or at once if it comes from another."""
        self._entered = self._entry(index)
        if self._pointed is None:
            self._resting.start()
        else:
            self.pointed.emit(self._entered)

    def _point(self, entry: int) -> None:
        self._resting.stop()
        self._pointed = entry if entry >= 0 else None
        self._model.set_marks(self._chosen, self._pointed)

    # The mouse and the keys.

    def selectionCommand(
        self, _: QModelIndex, __: QEvent | None = None
    ) -> QItemSelectionModel.SelectionFlag:
        """Select nothing but what is marked: whoever hears of a click decides."""
        return QItemSelectionModel.SelectionFlag.NoUpdate

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        """Signal which entry the keys point at."""
        super().currentChanged(current, previous)
        if current.isValid() and self.hasFocus():
            self.pointed.emit(self._entry(current))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Remember which keys are held."""
        self._resting.stop()
        if event is not None:
            self._held = event.modifiers()
        super().mousePressEvent(event)

    def _click(self, index: QModelIndex) -> None:
        self._choose(index.row(), self._held)

    def _choose(self, row: int, held: Qt.KeyboardModifier) -> None:
        """Choose a row alone, with Ctrl beside others, with Shift all up to it."""
        entries = self._model.entries
        if held & Qt.KeyboardModifier.ShiftModifier:
            first = min(self._anchor, len(entries) - 1)
            self.selected.emit(entries[min(first, row) : max(first, row) + 1])
            return
        self._anchor = row
        if held & Qt.KeyboardModifier.ControlModifier:
            toggled = {*self._chosen} ^ {entries[row]}
            self.selected.emit([entry for entry in entries if entry in toggled])
        else:
            self.chosen.emit(entries[row])

    def _double_click(self, index: QModelIndex) -> None:
        # Its first click lets go of a row that was chosen.
        if self._entry(index) not in self._chosen:
            self.chosen.emit(self._entry(index))
        self._open(index)

    def _open(self, index: QModelIndex) -> None:
        if index.flags() & Qt.ItemFlag.ItemIsEditable:
            self.edit(index)
        else:
            self.opened.emit(self._entry(index))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Do what the mouse does."""
        # The key that ends a name is not meant for the row.
        is_typing = self.state() == QAbstractItemView.State.EditingState
        if (
            event is None
            or is_typing
            or not self._answer_key(event, self.currentIndex())
        ):
            super().keyPressEvent(event)

    def _answer_key(self, event: QKeyEvent, index: QModelIndex) -> bool:
        """Whether a key means something here."""
        keys, key = Qt.Key, event.key()
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copied.emit()
        elif event.matches(QKeySequence.StandardKey.Undo):
            self.undone.emit()
        elif key == keys.Key_Escape and self._chosen:
            self.selected.emit([])
        elif event.matches(QKeySequence.StandardKey.SelectAll):
            self.selected.emit(self.entries)
        elif not index.isValid():
            return False
        elif key == keys.Key_Space:
            self._choose(index.row(), event.modifiers())
        elif key in (keys.Key_Up, keys.Key_Down) and _has_shift(event):
            if not self._chosen:
                self._anchor = index.row()
            super().keyPressEvent(event)
            self._choose(self.currentIndex().row(), event.modifiers())
        elif key in (keys.Key_Return, keys.Key_Enter):
            self.opened.emit(self._entry(index))
        elif key == keys.Key_F2:
            name = index.siblingAtColumn(NAME)
            if name.flags() & Qt.ItemFlag.ItemIsEditable:
                self.edit(name)
        else:
            return False
        return True

    def event(self, event: QEvent | None) -> bool:
        """Take the key of *Undo* before a shortcut of the window does."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and event.matches(QKeySequence.StandardKey.Undo)
        ):
            event.accept()
            return True
        return super().event(event)

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        """Signal that no entry is pointed at any more."""
        self.pointed.emit(-1)
        super().focusOutEvent(event)

    def leaveEvent(self, event: QEvent | None) -> None:
        """Signal that no entry is pointed at any more."""
        self.pointed.emit(-1)
        super().leaveEvent(event)

    def _entry(self, index: QModelIndex) -> int:
        return self._model.entries[index.row()]

    # The columns.

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Let the names have what the numbers leave."""
        super().resizeEvent(event)
        self._stretch_names()

    def _fit_columns(self) -> None:
        """Make columns as wide as their numbers."""
        header, metrics = self.horizontalHeader(), self.fontMetrics()
        assert header is not None
        for column in range(NAME + 1, self._model.columnCount()):
            widest = re.sub(r"\d", "0", self._model.longest(column))
            width = metrics.horizontalAdvance(widest) + _MARGIN
            self.setColumnWidth(column, max(width, header.sectionSizeHint(column)))
        self._stretch_names()

    def _stretch_names(self) -> None:
        viewport, n_columns = self.viewport(), self._model.columnCount()
        assert viewport is not None
        if n_columns == 0:
            return
        metrics = self.fontMetrics()
        letter = metrics.averageCharWidth()
        self.setColumnWidth(SWATCH, _SWATCH_WIDTH * letter)
        widths = [self.columnWidth(c) for c in range(n_columns) if c != NAME]
        left = viewport.width() - sum(widths)
        longest = metrics.horizontalAdvance(self._model.longest(NAME)) + _MARGIN
        wanted = max(_NAME_WIDTHS[0] * letter, min(longest, _NAME_WIDTHS[1] * letter))
        self.setColumnWidth(NAME, max(wanted, left))


class _Swatch(QStyledItemDelegate):
    """Draw a color, which is seen in rows that are selected, too, and its mark."""

    def paint(
        self,
        painter: QPainter | None,
        option: QStyleOptionViewItem,
        index: QModelIndex,
    ) -> None:
        """Draw the background of the row, and the color on it."""
        assert painter is not None
        text, color = index.data(), index.data(Qt.ItemDataRole.BackgroundRole)
        style = option.widget.style()
        assert style is not None
        panel = QStyle.PrimitiveElement.PE_PanelItemViewItem
        style.drawPrimitive(panel, option, painter, option.widget)
        area = option.rect.adjusted(2, 2, -2, -2)
        painter.fillRect(area, color)
        painter.setPen(QColor("black" if color.lightnessF() > _MIDDLE else "white"))
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)


def _has_shift(event: QKeyEvent) -> bool:
    return bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
