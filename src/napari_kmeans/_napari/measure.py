"""Which rows of the table of a result are listed: all, or those of the slice in view.

`Measure` holds the table of a result. Where palettes are one per slice, its rows in
view are those of the slice on the screen; where there is one palette, the user can have
each slice of labels measured. Read `Measure.rows` first. How rows look is left to
`palette_table`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.layers import Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_kmeans._napari.axes import axes_made_with
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.names import shorten_choices
from napari_kmeans._napari.placement import levels_of, slice_in_view
from napari_kmeans._napari.quantize_layer import message_of
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Results

__all__ = ["Measure"]

_TOOLTIP = """\
What the numbers of the table are those of: of the whole layer, or of each
slice along an axis. The table shows the slice on the screen then, and what
is saved has the rows of all slices."""


class Measure(QWidget):
    """Choose whether a result is measured as a whole, or slice by slice.

    It is seen only where there is a choice. The signals say that the rows in view are
    others, and what the user is to be told.
    """

    changed = Signal()
    told = Signal(str)

    def __init__(self, viewer: Viewer, results: Results) -> None:
        super().__init__()
        self._viewer = viewer
        self._results = results
        self._layer: Any = None
        self._table: Any = None
        # The axis of the layer that slices are along, and the one that is in view.
        self._axis: int | None = None
        self._slice: int | None = None
        self._job = Newest(self)
        self.choice = QComboBox()
        self.choice.setAccessibleName("Measure")
        self.choice.setToolTip(_TOOLTIP)
        shorten_choices(self.choice)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Measure"))
        layout.addWidget(self.choice, stretch=1)
        self.choice.currentIndexChanged.connect(self.read_table)
        for event in self._followed():
            event.connect(self._follow_slider)

    def leave(self) -> None:
        """Ask the thread to end, and follow nothing any more."""
        self._job.leave()
        for event in self._followed():
            event.disconnect(self._follow_slider)

    def _followed(self) -> list[Any]:
        events = self._viewer.dims.events
        return [events.current_step, events.order, events.ndisplay]

    @property
    def table(self) -> Any:
        """The whole table, with the rows of all slices; None if no result is listed."""
        return self._table

    @property
    def axis(self) -> int | None:
        """The axis along which slices are measured that have one palette."""
        return None if self.choice.count() == 0 else self.choice.currentData()

    def rows(self) -> Any:
        """Return the rows in view."""
        table = self._table
        if table is None or self._slice is None or "slice" not in table:
            return table
        return table[table["slice"] == self._slice]

    def set_layer(self, layer: Layer | None) -> None:
        """Measure a result as a whole, or none."""
        self._layer = layer
        self.choice.blockSignals(True)
        self.choice.clear()
        for text, axis in _choices(layer):
            self.choice.addItem(text, axis)
        self.choice.blockSignals(False)
        self.setVisible(self.choice.count() > 1)
        self.read_table()

    def read_table(self) -> None:
        """Read the table anew, because the result or the choice has changed."""
        if self._job.is_busy:
            self._job.leave()
            self.told.emit("")
        layer, axis, text = self._layer, self.axis, self.choice.currentText()
        whole = None if layer is None else self._results.table(layer)
        if layer is None or whole is None or axis is None:
            self._show(whole, None if layer is None else axes_made_with(layer)[1])
            return
        before = [] if self._table is None else self._table["index"]
        if self._axis != axis or set(before) != set(whole["index"]):
            # Until each slice is measured.
            self._show(whole, None)

        def returned(table: Any) -> None:
            # The table says the rest, until another is listed.
            self.told.emit("")
            self._show(table, axis)

        self.told.emit(f"Measuring {text}")
        self._job.start(
            lambda _: self._results.table(layer, axis),
            returned=returned,
            failed=partial(self._fail, layer),
        )

    def _fail(self, layer: Layer, error: Exception) -> None:
        text = message_of(error, layer)
        self.told.emit(text)
        show_error(text)

    def _show(self, table: Any, axis: int | None) -> None:
        self._table, self._axis = table, axis
        self._slice = self._slice_in_view()
        self.changed.emit()

    def _slice_in_view(self) -> int | None:
        if self._layer is None or self._axis is None:
            return None
        return slice_in_view(self._layer, self._viewer.dims, self._axis)

    def _follow_slider(self) -> None:
        now = self._slice_in_view()
        if now != self._slice:
            self._slice = now
            self.changed.emit()


def _choices(layer: Layer | None) -> list[tuple[str, int | None]]:
    """Return what can be measured of a result: everything, or slices along an axis."""
    record = record_of(layer)
    if layer is None or record is None:
        return []
    choices: list[tuple[str, int | None]] = [("everything", None)]
    if record.slices is not None or not isinstance(layer, Labels):
        return choices
    # Along an axis of channels, labels have length 1.
    shape = levels_of(layer)[0].shape
    for axis in [axis for axis in range(layer.ndim) if shape[axis] > 1][:-2]:
        name = layer.axis_labels[axis]
        is_unnamed = name.lstrip("-").isdigit()
        each = f"each slice of axis {axis}" if is_unnamed else f"each {name}"
        choices.append((each, axis))
    return choices
