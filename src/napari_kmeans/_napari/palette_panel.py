"""The lower part of the widget: the clusters of the result that is looked at.

`PalettePanel` lists them, shows the pixels of those that are pointed at or chosen, and
names, recolors, merges and locks them. Read `PalettePanel.list_palette` first.
`show_result` is how it hears of a new result, `list_preview` of colors to be; its
signals say what concerns others. What is measured, saved, made into layers, and said
about compression has rooms of its own.
"""

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
import pandas as pd  # The first result would hold the window until it is loaded.
from magicgui.widgets import PushButton
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction, QHideEvent  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.arrays import Array, Indices
from napari_kmeans._napari.color_dialog import ask_color
from napari_kmeans._napari.colors import hex_colors
from napari_kmeans._napari.compression import Compression
from napari_kmeans._napari.exports import Exports, Shown, described
from napari_kmeans._napari.highlight import Highlight
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import is_overlay
from napari_kmeans._napari.measure import Measure
from napari_kmeans._napari.names import ShortLabel
from napari_kmeans._napari.overlay_look import OverlayLook
from napari_kmeans._napari.palette_table import PaletteTable
from napari_kmeans._napari.placement import labels_placement, levels_of
from napari_kmeans._napari.record import Record, record_of
from napari_kmeans._napari.results import Listed, Results
from napari_kmeans._napari.to_labels import ToLabels

__all__ = ["PalettePanel"]

# Rec. 709 luma.
_LUMA = [2126, 7152, 722]
# What paints the images of a run, as `Results` returns it.
_Paint = Callable[[Callable[[Any], None]], Any] | None


class PalettePanel(QWidget):
    """List the clusters of a result, to look at, to point at and to change.

    The signals carry a color to be locked, as text; a result, and the selected image
    layers that are to be shown in its palette; and what the user is to be told.
    """

    locked = Signal(str)
    applied = Signal(object, list)
    told = Signal(str)

    def __init__(self, viewer: Viewer, results: Results) -> None:
        super().__init__()
        self._viewer = viewer
        self._results = results
        self._highlight = Highlight(viewer, self.choose)
        # The layer that is looked at, its palette, and the one of a preview over it.
        self._layer: Layer | None = None
        self._listed: Listed | None = None
        self._preview: Listed | None = None
        # The entries in the order of the rows, those that stay highlighted, and the one
        # that is pointed at.
        self._order: list[int] = []
        self._kept: tuple[int, ...] = ()
        self._pointed: int | None = None
        self._painting: dict[str, Newest] = {}
        self.title = ShortLabel()
        self.table = PaletteTable()
        self.measure = Measure(viewer, results)
        self.look = OverlayLook()
        self.compression = Compression()
        self.numbers = self.compression.numbers
        self._exports = Exports(viewer, results, self._shown, self)
        self._to_labels = ToLabels(viewer, results, self._shown, self)
        self._add_buttons()
        self._lay_out()
        self._connect()
        self.list_palette(None)
        self._follow_layers()

    def _add_buttons(self) -> None:
        """Make the buttons below the table."""
        self.merge = PushButton(
            text="Merge",
            tooltip="Make one cluster of those that are chosen: click on rows\n"
            "with Ctrl or Shift to choose several",
        )
        self.undo = PushButton(
            text="Undo",
            tooltip="Take back the last name, color or merge (Ctrl+Z)",
        )
        self.lock = PushButton(
            text="Lock",
            tooltip="Keep the chosen colors in the palettes to come,\n"
            "under Locked colors",
        )
        self.apply = PushButton(
            text="Apply",
            tooltip="Show the image layers that are selected in the layer list,\n"
            "other than results, in the colors of this palette",
        )
        self.to_labels = self._to_labels.button
        self.save = PushButton(text="Save", tooltip="Save what is listed")
        self.copy = PushButton(
            text="Copy", tooltip="Put what is listed on the clipboard"
        )
        saved, copied = self._exports.actions
        self.save_table, self.save_palette, self.save_small = saved
        self.copy_table, self.copy_hex, self.copy_python = copied
        for button, actions in ((self.save, saved), (self.copy, copied)):
            button.native.setMenu(_menu(actions, self))

    def _lay_out(self) -> None:
        """Put everything below each other, of which the table takes what is left."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.title)
        layout.addWidget(self.measure)
        layout.addWidget(self.table, stretch=1)
        for buttons in (
            (self.merge, self.undo, self.lock, self.apply),
            (self.to_labels, self.save, self.copy),
        ):
            row = QHBoxLayout()
            row.setSpacing(4)
            for button in buttons:
                row.addWidget(button.native, stretch=1)
            layout.addLayout(row)
        layout.addWidget(self.look)
        layout.addWidget(self.compression)

    def _connect(self) -> None:
        self.table.pointed.connect(self._point)
        self.table.chosen.connect(self.choose)
        self.table.selected.connect(self._keep)
        self.table.opened.connect(self._recolor)
        self.table.renamed.connect(self._rename)
        self.table.copied.connect(self.copy_table.trigger)
        self.table.undone.connect(self._undo)
        self.measure.changed.connect(self._show_rows)
        self.merge.changed.connect(self._merge)
        self.undo.changed.connect(self._undo)
        self.lock.changed.connect(self._lock)
        self.apply.changed.connect(self._apply)
        for part in (self.measure, self._exports, self._to_labels):
            part.told.connect(self.told)
        # What is new is not to be seen under a veil.
        self._to_labels.adding.connect(self.choose)
        for event in self._followed():
            event.connect(self._follow_layers)
        self._results.changed.connect(self._follow_change)

    def leave(self) -> None:
        """Ask all threads to end, and follow nothing any more."""
        for job in self._painting.values():
            job.leave()
        parts = self.measure, self.look, self.compression, self._exports
        for part in (*parts, self._to_labels):
            part.leave()
        for event in self._followed():
            event.disconnect(self._follow_layers)
        self._results.changed.disconnect(self._follow_change)
        self._highlight.leave()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Show all pixels where nobody sees which cluster was chosen."""
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
        self._enable_buttons()

    def list_palette(self, layer: Layer | None) -> None:
        """List the clusters of a result from dark to light, or of none."""
        if layer is not self._layer:
            self.choose()
        self._layer, self._order = layer, []
        self._listed = self._results.listed(layer)
        self.look.set_layer(layer if self._listed is not None else None)
        self.measure.set_layer(layer if self._listed is not None else None)
        self._show_compression()

    def show_result(self, layers: list[Layer]) -> None:
        """List the palette of layers that were just made."""
        self.list_palette(layers[-1])

    def list_preview(self, listed: Listed | None) -> None:
        """List the palette of a preview, which nobody can edit, or the result again."""
        if listed is not None and self._preview is None:
            self.choose()
        self._preview = listed
        self._show_rows()

    def _follow_change(self, layer: Layer) -> None:
        """Show what has become of the run that is looked at."""
        now, changed = record_of(self._layer), record_of(layer)
        if now is None or changed is None or now.run != changed.run:
            return
        before, self._listed = self._listed, self._results.listed(self._layer)
        self.measure.read_table()
        self._highlight.redraw()
        # A name changes no file.
        if before is None or not _are_alike(before.record, now):
            self._show_compression()

    def _show_rows(self) -> None:
        """Show the rows in view, in the order that they had."""
        if self._preview is not None:
            self.table.show_rows(_preview_rows(self._preview), is_preview=True)
        else:
            rows = self._rows()
            listed = set() if rows is None else set(rows["index"] - 1)
            # Those of other slices are not in view.
            self._kept = tuple(entry for entry in self._kept if entry in listed)
            self._pointed = self._pointed if self._pointed in listed else None
            has_hex = self._listed is not None and self._listed.is_rgb
            self.table.show_rows(rows, has_hex=has_hex)
        self.table.mark(self._kept)
        self.show_title()
        self._show_pixels()
        self._enable_buttons()

    def show_title(self) -> None:
        """Say which layer the clusters are those of: it need not be selected."""
        is_result = self._listed is not None and self._preview is None
        name = self._layer.name if is_result and self._layer is not None else ""
        self.title.setText(f"Clusters of “{name}”" if is_result else "")
        self.title.setToolTip(f"<p>{escape(name)}</p>" if is_result else "")
        self.title.setVisible(is_result)

    def _rows(self) -> Any:
        """Return the rows in view of the result, which stay where they are."""
        rows, listed = self.measure.rows(), self._listed
        if rows is None or listed is None:
            return None
        entries = (rows["index"] - 1).to_numpy()
        if set(entries) != set(self._order):
            self._order = entries[_darkest_first(listed, entries)].tolist()
        places = {entry: place for place, entry in enumerate(entries)}
        return rows.iloc[[places[entry] for entry in self._order]]

    def _shown(self) -> Shown | None:
        """Return what is listed, unless that is a preview."""
        layer, listed, rows = self._layer, self._listed, self._rows()
        if self._preview is not None or listed is None or rows is None:
            return None
        assert isinstance(layer, Image | Labels)
        measured = self.measure.choice.currentText()
        return Shown(layer, listed, rows, self.measure.axis, measured)

    def _show_compression(self) -> None:
        layer, listed = self._layer, self._listed
        if not isinstance(layer, Image | Labels) or listed is None:
            self.compression.show_result(None, None)
        elif is_lazy(levels_of(layer)[0]):
            # To write the file, all that nobody has looked at would be computed.
            self.compression.show_result(listed.record, None)
        else:
            self.compression.show_result(
                listed.record, lambda: described(layer, listed, self._results)
            )

    def stop_measuring(self) -> None:
        """Forget what is being measured."""
        self.compression.stop()

    # The pixels of clusters.

    def _point(self, entry: int) -> None:
        """Show the pixels of the row that is pointed at, or of the chosen ones."""
        self._pointed = entry if entry >= 0 else None
        self._show_pixels()

    def choose(self, entry: int | None = None) -> None:
        """Keep showing the pixels of a cluster until it is chosen again, or of none."""
        is_again = self._kept == (entry,)
        self._keep([] if entry is None or is_again else [entry])

    def _keep(self, entries: list[int]) -> None:
        """Keep showing the pixels of clusters together."""
        # There is no layer yet that has the pixels of a preview.
        self._kept = () if self._preview is not None else tuple(entries)
        self._pointed = None
        self.table.mark(self._kept)
        self._show_pixels()
        self._enable_buttons()

    def _show_pixels(self) -> None:
        """Show what is to be shown now, as it is now."""
        entries = self._kept if self._pointed is None else (self._pointed,)
        layer, listed = self._layer, self._listed
        labels = None
        if entries and layer is not None and listed and self._preview is None:
            labels = self._results.labels_of(layer)
        if labels is None or layer is None or listed is None:
            self._highlight.hide()
            return
        places = labels_placement(layer, listed.channels)
        colors = {entry: listed.rgba[entry] for entry in entries}
        self._highlight.show(labels, places, colors)

    # What is done to clusters.

    def _enable_buttons(self) -> None:
        """Let only that be done which is possible."""
        shown = self._shown()
        kept = self._kept if shown is not None else ()
        self.merge.enabled = len(kept) > 1
        self.lock.enabled = bool(kept)
        is_result = shown is not None
        self.undo.enabled = is_result and self._results.can_undo(self._layer)
        self.apply.enabled = is_result and bool(self._images())
        self._to_labels.choose(kept)
        self._exports.enable(shown)
        self.save.enabled = self.copy.enabled = is_result

    def _recolor(self, entry: int) -> None:
        """Ask for another color and give it to the layers of the run."""
        shown = self._shown()
        color = None if shown is None else self._ask_color(shown.listed, entry)
        if shown is not None and color is not None:
            self._paint(self._results.recolor(shown.layer, entry, color))

    def _ask_color(self, listed: Listed, entry: int) -> Array | None:
        return ask_color(self, listed, entry)

    def _rename(self, entry: int, name: str) -> None:
        if self._layer is not None and self._preview is None:
            self._results.rename(self._layer, entry, name)

    def _merge(self) -> None:
        """Make one cluster of the chosen ones."""
        layer, entries = self._layer, self._kept
        if layer is None or len(entries) < 2:
            return
        # Others get their numbers.
        self.choose()
        try:
            self._paint(self._results.merge(layer, entries))
        except ValueError as error:
            show_error(str(error))

    def _undo(self) -> None:
        """Take back the last change of the run."""
        if self._layer is not None and self.undo.enabled:
            self.choose()
            self._paint(self._results.undo(self._layer))

    def _paint(self, paint: _Paint) -> None:
        """Paint the images of a run that has changed, which may take long."""
        record = record_of(self._layer)
        if paint is not None and record is not None:
            self._painting.setdefault(record.run, Newest(self)).start(
                paint,
                returned=self._results.repaint,
                failed=lambda error: show_error(str(error)),
            )

    def _lock(self) -> None:
        """Have the chosen colors locked."""
        listed = self._listed
        for entry in self._kept if listed is not None else ():
            assert listed is not None
            color = listed.record.palette[entry]
            text = " ".join(map(str, np.atleast_1d(color).tolist()))
            if listed.is_rgb and color.dtype == np.uint8:
                (text,) = hex_colors(listed.rgba[entry, np.newaxis])
            self.locked.emit(text)

    def _images(self) -> list[Image]:
        """Return the image layers that are selected and no results."""
        selection = self._viewer.layers.selection
        return [
            layer
            for layer in self._viewer.layers
            if layer in selection
            and isinstance(layer, Image)
            and record_of(layer) is None
            and not is_overlay(layer)
        ]

    def _apply(self) -> None:
        """Have the selected images shown in this palette."""
        images = self._images()
        if self._layer is not None and images:
            self.applied.emit(self._layer, images)


def _menu(actions: list[QAction], parent: QWidget) -> QMenu:
    """Return a menu whose actions tell what they do."""
    menu = QMenu(parent)
    menu.setToolTipsVisible(True)
    menu.addActions(actions)
    return menu


def _are_alike(one: Record, other: Record) -> bool:
    """Whether two records of a result differ in names at most."""
    is_counted = np.array_equal(one.counts, other.counts)
    return is_counted and np.array_equal(one.palette, other.palette)


def _darkest_first(listed: Listed, entries: Indices) -> Indices:
    """Return the order of entries from dark to light."""
    palette = listed.record.palette
    # Labels of one channel are shown in colors that say nothing about it.
    is_gray = palette.size == len(palette)
    key = palette.reshape(-1) if is_gray else listed.rgba[:, :3] @ _LUMA
    return np.argsort(key[entries], kind="stable")


def _preview_rows(listed: Listed) -> Any:
    """Return the rows of a palette that no layer has yet, from dark to light."""
    counts = listed.record.counts
    table = pd.DataFrame(
        {
            "index": np.arange(1, len(counts) + 1),
            "name": "",
            "hex": hex_colors(listed.rgba),
            "pixels": counts,
            "share": counts / max(1, counts.sum()),
        }
    )
    return table.iloc[_darkest_first(listed, np.arange(len(counts)))]
