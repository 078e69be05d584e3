"""The rows of the table of clusters: what is written in each cell.

`ClusterModel` is a Qt model over a table as `cluster_table` returns it. Read
`ClusterModel.set_rows` first. What the mouse and the keys do is left to
`palette_table`, and which rows are shown to `palette_panel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor

from napari_kmeans._core.arrays import Floats

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NAME", "SWATCH", "ClusterModel"]

# The first columns.
SWATCH, NAME = 0, 1
# Of the largest number of a column.
_DIGITS = 4
# Of a title, which is told whole by its tooltip.
_MOST_LETTERS = 14


class ClusterModel(QAbstractTableModel):
    """The rows of a table of clusters, written when they are looked at.

    The columns are a swatch, the name, the slice if there are several, the mean values,
    pixels, area (unless it is the number of pixels) and share. The signal carries an
    entry of the palette and the name that was typed for it.
    """

    renamed = Signal(int, str)

    def __init__(self, parent: QObject) -> None:
        # Without a parent, Qt would delete it before the view at Python's end.
        super().__init__(parent)
        self.entries: list[int] = []
        self.hexes: list[str] = []
        self._names: list[str] = []
        self._columns: list[_Column] = []
        self._has_hex = self._is_preview = False
        self._chosen: frozenset[int] = frozenset()
        self._pointed: int | None = None

    def set_rows(
        self, table: pd.DataFrame | None, *, has_hex: bool, is_preview: bool
    ) -> None:
        """Show the rows of a table in their order, or none.

        Parameters
        ----------
        table : DataFrame or None
            Clusters as in `cluster_table`.
        has_hex : bool
            Whether colors are told as hex, because they are those of the pixels.
        is_preview : bool
            Whether they are those of a preview, whose names cannot be typed.
        """
        entries = [] if table is None else (table["index"] - 1).tolist()
        columns = [] if table is None else _columns_of(table)
        before, after = self._columns, columns
        is_same = (entries, is_preview) == (self.entries, self._is_preview)
        is_same &= [one.title for one in before] == [one.title for one in after]
        if not is_same:
            self.beginResetModel()
        self.entries, self._columns = entries, columns
        self.hexes = [] if table is None else table["hex"].tolist()
        self._names = [] if table is None else table["name"].tolist()
        self._has_hex, self._is_preview = has_hex, is_preview
        if is_same:
            # What is scrolled to, or pointed at by the keys, stays so.
            self._tell_changed(self.columnCount() - 1)
        else:
            self.endResetModel()

    def set_marks(self, chosen: Sequence[int], pointed: int | None) -> None:
        """Mark the entries that are chosen, and the one that is pointed at."""
        self._chosen, self._pointed = frozenset(chosen), pointed
        self._tell_changed(SWATCH)

    def _tell_changed(self, last_column: int) -> None:
        if self.entries:
            last = self.index(len(self.entries) - 1, last_column)
            self.dataChanged.emit(self.index(0, 0), last)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.entries)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else NAME + 1 + len(self._columns)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        flags = super().flags(index)
        if index.column() == NAME and not self._is_preview:
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        roles, title = Qt.ItemDataRole, self._title(section)
        if role == roles.DisplayRole:
            kind, _, name = title.partition(" ")
            if len(name) > _MOST_LETTERS:
                name = f"{name[: _MOST_LETTERS - 1].rstrip()}…"
            return f"{kind}\n{name}" if name else kind
        if role == roles.ToolTipRole:
            return title
        if role == roles.TextAlignmentRole:
            return self._alignment(section)
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        row, column = index.row(), index.column()
        roles = Qt.ItemDataRole
        if role == roles.DisplayRole or (role, column) == (roles.EditRole, NAME):
            return self._text(row, column)
        if role == roles.TextAlignmentRole:
            return self._alignment(column)
        if role == roles.BackgroundRole and column == SWATCH:
            return QColor(self.hexes[row][:7])
        if role == roles.ToolTipRole:
            return self._tooltip(row, column)
        if role == roles.AccessibleTextRole:
            return self._spoken(row, column)
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = 0) -> bool:
        # A palette file holds no other characters.
        row, letters = index.row(), (x if x.isprintable() else " " for x in str(value))
        name = "".join(letters).strip()
        if role != Qt.ItemDataRole.EditRole or name == self._names[row]:
            return False
        self.renamed.emit(self.entries[row], name)
        return True

    def longest(self, column: int) -> str:
        """Return the longest name or number in a column."""
        if column == NAME:
            return max(self._names, key=len, default="")
        return self._columns[column - NAME - 1].longest

    def _title(self, column: int) -> str:
        fixed = ("", "preview" if self._is_preview else "name")
        return (
            fixed[column] if column <= NAME else self._columns[column - NAME - 1].title
        )

    def _alignment(self, column: int) -> Qt.AlignmentFlag:
        flags = Qt.AlignmentFlag
        if column == SWATCH:
            return flags.AlignCenter
        side = flags.AlignLeft if column == NAME else flags.AlignRight
        return side | flags.AlignVCenter

    def _text(self, row: int, column: int) -> str:
        if column == SWATCH:
            entry = self.entries[row]
            return "●" if entry in self._chosen else "○" * (entry == self._pointed)
        return (
            self._names[row] if column == NAME else self._columns[column - 2].text(row)
        )

    def _tooltip(self, row: int, column: int) -> str | None:
        if column == SWATCH and self._has_hex:
            return self.hexes[row]
        return self._names[row] or None if column == NAME else None

    def _spoken(self, row: int, column: int) -> str:
        if column == SWATCH:
            mark = "chosen" if self.entries[row] in self._chosen else "not chosen"
            return f"color {self.hexes[row]}, {mark}"
        return f"{self._title(column)} {self._text(row, column)}"


class _Column(NamedTuple):
    """What is written above numbers, in each row, and what needs the most room."""

    title: str
    text: Callable[[int], str]
    longest: str


def _columns_of(table: pd.DataFrame) -> list[_Column]:
    """Return the columns of numbers that are worth their room."""
    columns = []
    if "slice" in table and table["slice"].nunique() > 1:
        columns.append(_column("slice", table["slice"].to_numpy(), str))
    columns += [
        _of_floats(title, table[title].to_numpy())
        for title in table
        if title.partition(" ")[0] == "mean"
    ]
    pixels = table["pixels"].to_numpy()
    columns.append(_column("pixels", pixels, "{:,}".format))
    if "area" in table and not np.array_equal(pixels, table["area"]):
        title = f"area ({table['area_unit'].iloc[0]})"
        columns.append(_of_floats(title, table["area"].to_numpy()))
    columns.append(_column("share", table["share"].to_numpy(), "{:.1%}".format))
    return columns


def _column(title: str, values: Any, write: Callable[[Any], str]) -> _Column:
    known = values[np.isfinite(values)]
    ends = (write(known.min()), write(known.max())) if len(known) else ("",)
    return _Column(title, lambda row: write(values[row]), max(ends, key=len))


def _of_floats(title: str, values: Floats) -> _Column:
    """Return a column of numbers that have as many decimals as each other."""
    top = float(np.abs(values[np.isfinite(values)]).max(initial=0))
    form = f".{_DIGITS}g"
    if top == 0 or 1e-4 <= top < 1e12:
        n_before = 1 if top == 0 else 1 + math.floor(math.log10(top))
        form = f",.{max(0, _DIGITS - n_before)}f"

    def write(value: float) -> str:
        return format(value, form) if math.isfinite(value) else "-"

    return _column(title, values, write)
