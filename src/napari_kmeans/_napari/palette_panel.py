"""The lower part of the widget: the palette of the result that is looked at.

`PalettePanel` lists the colors of the selected result, shows the pixels of one of them,
replaces, locks and copies colors, and says what the result cost and saves. Read
`PalettePanel.list_palette` first. `show_result` is how it hears of a new result; its
signals say what concerns others: a color to be locked, and what to tell the user.
"""

from typing import Any

import numpy as np
from magicgui.widgets import Label, PushButton
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QHideEvent
from qtpy.QtWidgets import (
    QApplication,
    QColorDialog,
    QHBoxLayout,
    QInputDialog,
    QVBoxLayout,
    QWidget,
)

from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.arrays import Array
from napari_kmeans._core.quality import white_of
from napari_kmeans._napari.colors import hex_colors, parse_colors
from napari_kmeans._napari.highlight import Highlight
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import labels_colormap
from napari_kmeans._napari.names import wrap_text
from napari_kmeans._napari.numbers import numbers_text
from napari_kmeans._napari.palette_table import PaletteTable
from napari_kmeans._napari.placement import labels_placement, levels_of
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Listed, Results
from napari_kmeans._napari.script import as_python
from napari_kmeans._napari.writer import file_size

__all__ = ["PalettePanel"]


class PalettePanel(QWidget):
    """List the palette of a result, to look at, to point at and to change.

    The signals carry a color to be locked, as text, and what the user is to be told.
    """

    locked = Signal(str)
    told = Signal(str)

    def __init__(self, viewer: Viewer, results: Results) -> None:
        super().__init__()
        self._viewer = viewer
        self._results = results
        self._highlight = Highlight(viewer, self.choose)
        # The layer that is looked at, its palette, the entry that stays highlighted,
        # and the one that is pointed at.
        self._layer: Layer | None = None
        self._listed: Listed | None = None
        self._kept: int | None = None
        self._pointed: int | None = None
        self._measuring = Newest(self)
        self._recoloring: dict[str, Newest] = {}
        # What was found about each run, as it is shown.
        self._measured: dict[str, str] = {}
        self.table = PaletteTable()
        self.lock = PushButton(
            text="Lock",
            tooltip="Keep the color that was clicked in the list\n"
            "in the palettes to come, under Locked colors",
            enabled=False,
        )
        self.copy_hex = PushButton(
            text="Copy as hex",
            tooltip="Put the colors of the list on the clipboard,\n"
            "one like #ff8000 in each line",
        )
        self.copy_python = PushButton(
            text="Copy as Python",
            tooltip="Put a script on the clipboard that makes\n"
            "the layer again in napari's console",
        )
        self.numbers = Label(
            tooltip="Of the result whose palette is listed. The squared error is that\n"
            "of the mean pixel, summed over channels. PSNR is the same in decibels:\n"
            "more is better, and from some 40 dB on hardly anyone sees a difference.\n"
            "The file is what File > Save Selected Layers writes as “palette file”."
        )
        self._lay_out()
        self._connect()
        self.list_palette(None)

    def _lay_out(self) -> None:
        """Put the buttons and the numbers below the table."""
        buttons = QHBoxLayout()
        for button in (self.lock, self.copy_hex, self.copy_python):
            buttons.addWidget(button.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        layout.addWidget(self.numbers.native)
        wrap_text(self.numbers.native)

    def _connect(self) -> None:
        self.table.pointed.connect(self._point)
        self.table.chosen.connect(self.choose)
        self.table.opened.connect(self._replace)
        self.lock.changed.connect(self._lock)
        self.copy_hex.changed.connect(self._copy_hex)
        self.copy_python.changed.connect(self._copy_python)
        for event in self._followed():
            event.connect(self._follow_layers)

    def leave(self) -> None:
        """Ask all threads to end, and follow nothing any more."""
        for job in (self._measuring, *self._recoloring.values()):
            job.leave()
        for event in self._followed():
            event.disconnect(self._follow_layers)
        self._highlight.leave()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Show all pixels where nobody sees which color was chosen."""
        # A minimized window hides its widgets, too; that event is spontaneous.
        if event is not None and not event.spontaneous():
            self.choose()
        super().hideEvent(event)

    # The result that is looked at.

    def _followed(self) -> list[Any]:
        layers = self._viewer.layers
        return [layers.selection.events.changed, layers.events.removed]

    def _follow_layers(self) -> None:
        """List the palette of a result that is selected, and of none that is gone."""
        layers = self._viewer.layers
        if record_of(layers.selection.active) is None:
            if self._layer not in layers:
                self.list_palette(None)
        elif layers.selection.active is not self._layer:
            self.list_palette(layers.selection.active)

    def list_palette(self, layer: Layer | None) -> None:
        """List the colors of a result, or of none."""
        if layer is not self._layer:
            self.choose()
        self._layer = layer
        listed = self._listed = self._results.listed(layer)
        self.copy_hex.enabled = listed is not None
        self.copy_python.enabled = bool(listed and listed.record.settings)
        if listed is None:
            self.table.show_palette(np.empty((0, 4)), np.empty(0, dtype=np.int64))
            self._show_numbers("")
            return
        self.table.show_palette(listed.rgba, listed.record.counts)
        record = listed.record
        # What was measured is not true of a palette with a replaced color.
        text = "" if record.mse is None else self._measured.get(record.run, "")
        self._show_numbers(text)

    # What it cost and what it saves.

    def show_result(self, layers: list[Layer]) -> None:
        """List the palette of layers that were just made, and measure their file."""
        self.list_palette(layers[-1])
        assert self._listed is not None
        record = self._listed.record

        def tell(text: str) -> None:
            self._measured[record.run] = text
            if self._listed is not None and self._listed.record.run == record.run:
                self._show_numbers(text)

        if is_lazy(levels_of(layers[-1])[0]):
            # To write the file, all that nobody has looked at would be computed.
            tell(numbers_text(record, None).rpartition("\n")[0])
            return
        saved = self._saved(layers)
        self._show_numbers("Measuring")
        self._measuring.start(
            lambda _: file_size(*saved),
            returned=lambda file: tell(numbers_text(record, file)),
            failed=lambda error: tell(f"The numbers could not be found: {error}"),
        )

    def _saved(self, layers: list[Layer]) -> tuple[Any, dict[str, Any], str, Any]:
        """Return what shows a result as a whole: its one image, or labels."""
        images = [layer for layer in layers if isinstance(layer, Image)]
        layer, listed = layers[-1], self._listed
        if len(images) == 1:
            data, attributes, kind = images[0].as_layer_data_tuple()
            known = self._results.labels_of(images[0])
            return data, attributes, kind, None if known is None else known[0]
        labels = self._results.labels_of(layer)
        assert labels is not None
        assert listed is not None
        attributes = labels_placement(layer, listed.channels) | {
            "colormap": labels_colormap(listed.rgba),
            "metadata": layer.metadata,
            "multiscale": layer.multiscale,
        }
        data = list(labels) if layer.multiscale else labels[0]
        return data, attributes, "labels", None

    def _show_numbers(self, text: str) -> None:
        self.numbers.value = text
        # All lines have room at once, and not only after the next drawing.
        layout = self.layout()
        assert layout is not None
        layout.activate()

    def stop_measuring(self) -> None:
        """Forget what is being measured."""
        if self._measuring.is_busy:
            self._measuring.leave()
            self._show_numbers("")

    # The pixels of a color.

    def _point(self, entry: int) -> None:
        """Show the pixels of the color that is pointed at, or of the chosen one."""
        self._pointed = entry if entry >= 0 else None
        self._show_pixels()

    def choose(self, entry: int | None = None) -> None:
        """Keep showing the pixels of a color, until it is chosen again, or of none."""
        self._kept = None if entry == self._kept else entry
        self._pointed = None
        self.lock.enabled = self._kept is not None
        self.table.mark(self._kept)
        self._show_pixels()

    def _show_pixels(self) -> None:
        """Show what is to be shown now, as it is now."""
        entry = self._kept if self._pointed is None else self._pointed
        layer, listed = self._layer, self._listed
        if entry is None or layer is None or listed is None:
            self._highlight.hide()
            return
        labels = self._results.labels_of(layer)
        if labels is not None:
            places = labels_placement(layer, listed.channels)
            self._highlight.show(labels, places, entry, listed.rgba[entry])

    # Other colors.

    def _replace(self, entry: int) -> None:
        """Ask for another color and give it to the layers of the run."""
        layer, listed = self._layer, self._listed
        color = None if listed is None else self._ask_color(listed, entry)
        if layer is None or color is None:
            return
        # The error was that of the colors before.
        self.stop_measuring()
        paint = self._results.recolor(layer, entry, color)
        self.list_palette(layer)
        self._show_pixels()
        if paint is not None:
            assert self._listed is not None
            run = self._listed.record.run
            self._recoloring.setdefault(run, Newest(self)).start(
                paint,
                returned=self._results.repaint,
                failed=lambda error: show_error(str(error)),
            )

    def _ask_color(self, listed: Listed, entry: int) -> Array | None:
        """Ask for a color in the units of a palette."""
        old = listed.record.palette[entry]
        dtype = old.dtype
        if listed.is_rgb:
            options, shown = QColorDialog.ColorDialogOption, listed.rgba[entry].tolist()
            option = options.ShowAlphaChannel if len(old) == 4 else options(0)
            chosen = QColorDialog.getColor(
                QColor.fromRgbF(*shown), self, "Another color", option
            )
            if not chosen.isValid():
                return None
            rgba = np.array(chosen.getRgbF()[: len(old)]) * white_of(dtype)
            return (np.rint(rgba) if dtype.kind in "iu" else rgba).astype(dtype)
        label = f"Values of {dtype}, one per channel"
        shown = " ".join(map(str, np.atleast_1d(old)))
        text, is_meant = QInputDialog.getText(self, "Another color", label, text=shown)
        if not is_meant:
            return None
        try:
            (color,) = parse_colors(text, dtype, None if old.ndim == 0 else len(old))
        except ValueError as error:
            show_error(str(error))
            return None
        return np.asarray(color)

    def _lock(self) -> None:
        """Have the chosen color locked."""
        listed = self._listed
        if listed is None or self._kept is None:
            return
        color = listed.record.palette[self._kept]
        text = " ".join(map(str, np.atleast_1d(color).tolist()))
        if listed.is_rgb and color.dtype == np.uint8:
            (text,) = hex_colors(listed.rgba[self._kept, np.newaxis])
        self.locked.emit(text)

    def _copy_hex(self) -> None:
        self._copy("\n".join(self.table.hexes), "The colors are on the clipboard.")

    def _copy_python(self) -> None:
        if isinstance(self._layer, Image | Labels):
            script = as_python(self._layer, self._viewer.layers)
            self._copy(script, "The script is on the clipboard.")

    def _copy(self, text: str, status: str) -> None:
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)
        self.told.emit(status)
