"""What is saved and copied of a result: its table, its palette, a small file, a script.

`Exports` is the actions behind the buttons *Save* and *Copy*. It asks where to save,
and saves in a thread; each file is written whole or not at all. How tables become files
is left to `table_files`, and formats to `_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox, QWidget

from napari_kmeans import write_palette
from napari_kmeans._files.palettes import PROVENANCE_SUFFIXES
from napari_kmeans._files.replace import replace_file
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import labels_colormap, quoted
from napari_kmeans._napari.placement import labels_placement
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Listed, Results, once_per_run
from napari_kmeans._napari.script import as_python
from napari_kmeans._napari.table_files import table_files
from napari_kmeans._napari.writer import write_image, write_labels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Exports", "Shown", "described"]

# Of the dialogs, the first being the one that a name without suffix gets.
_TABLES = ("Table (*.csv)",)
_PALETTES = (
    *("GIMP palette (*.gpl)", "JSON palette (*.json)"),
    *("NumPy array (*.npy)", "Hex colors (*.hex)"),
    "JASC palette (*.pal)",
)
_IMAGES = ("PNG image (*.png)", "GIF image (*.gif)", "TIFF image (*.tif)")


class Shown(NamedTuple):
    """The result that is listed, and its rows in the order in which they are seen."""

    layer: Image | Labels
    listed: Listed
    rows: pd.DataFrame
    # The axis along which slices are measured, and how it is called.
    axis: int | None
    measured: str


def described(
    layer: Image | Labels, listed: Listed, results: Results
) -> tuple[Any, dict[str, Any], str, Any]:
    """Return what shows a result as a whole: its image, or labels.

    An image of one of several channels is shown by its labels.
    """
    labels = results.labels_of(layer)
    if isinstance(layer, Image) and len(listed.record.source) < 2:
        data, attributes, kind = layer.as_layer_data_tuple()
        return data, attributes, kind, None if labels is None else labels[0]
    assert labels is not None
    attributes = labels_placement(layer, listed.channels) | {
        "name": layer.name,
        "colormap": labels_colormap(listed.rgba),
        "metadata": layer.metadata,
        "multiscale": layer.multiscale,
    }
    data = list(labels) if layer.multiscale else labels[0]
    return data, attributes, "labels", None


class Exports(QObject):
    """Save and copy what is listed.

    The signal says what the user is to be told.
    """

    told = Signal(str)

    def __init__(
        self,
        viewer: Viewer,
        results: Results,
        shown: Callable[[], Shown | None],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._results = results
        self._shown = shown
        self._window = parent
        self._job = Newest(self)
        self.save_table = self._action(
            "Table…",
            "The table as CSV, and the settings as JSON beside it. One table over\n"
            "all results that are selected in the layer list",
            self._save_table,
        )
        self.save_palette = self._action(
            "Palette…", "The colors as a palette, with their names", self._save_palette
        )
        self.save_small = self._action(
            "Small file…",
            "The layer as a PNG, GIF or TIFF file with a palette",
            self._save_small,
        )
        self.copy_table = self._action(
            "Table", "The rows in view, for a spreadsheet (Ctrl+C)", self.put_table
        )
        self.copy_hex = self._action(
            "Hex", "The colors in view, one like #ff8000 in each line", self._put_hex
        )
        self.copy_python = self._action(
            "Python", "A script that makes the layer again", self._put_python
        )

    def _action(self, text: str, tooltip: str, act: Callable[[Shown], None]) -> QAction:
        action = QAction(text, self)
        action.setToolTip(tooltip)
        action.triggered.connect(lambda: self._act(act))
        return action

    def _act(self, act: Callable[[Shown], None]) -> None:
        shown = self._shown()
        if shown is not None:
            act(shown)

    @property
    def actions(self) -> tuple[list[QAction], list[QAction]]:
        """What can be saved, and what can be copied."""
        saved = [self.save_table, self.save_palette, self.save_small]
        return saved, [self.copy_table, self.copy_hex, self.copy_python]

    def enable(self, shown: Shown | None) -> None:
        """Let only that be done which is possible with what is listed."""
        for action in (action for actions in self.actions for action in actions):
            action.setEnabled(shown is not None)
        is_known = shown is not None and shown.listed.record.settings is not None
        self.copy_python.setEnabled(is_known)

    def leave(self) -> None:
        """Ask the thread to end."""
        self._job.leave()

    # The clipboard.

    def put_table(self, shown: Shown) -> None:
        """Copy the rows in view."""
        text = shown.rows.to_csv(sep="\t", index=False, lineterminator="\n")
        self._put(text, "The table is on the clipboard.")

    def _put_hex(self, shown: Shown) -> None:
        self._put("\n".join(shown.rows["hex"]), "The colors are on the clipboard.")

    def _put_python(self, shown: Shown) -> None:
        script = as_python(shown.layer, self._viewer.layers)
        self._put(script, "The script is on the clipboard.")

    def _put(self, text: str, status: str) -> None:
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)
        self.told.emit(status)

    # Files.

    def _save_table(self, shown: Shown) -> None:
        """Save the tables of all results that are selected, if the listed one is.

        Clusters that several layers of a run show are saved once.
        """
        layers: list[Any] = [shown.layer]
        selected = self._viewer.layers.selection
        if shown.layer in selected:
            found = [layer for layer in self._viewer.layers if layer in selected]
            layers = once_per_run(found)
        path = self._ask_path("Save table", _TABLES, shown.layer.name, ".json")
        if path is None:
            return

        def save(_: Any) -> str:
            tables = [
                (layer.name, self._results.table(layer, _axis_of(layer, shown)))
                for layer in layers
            ]
            records = [record for record in map(record_of, layers) if record]
            table, settings = table_files(tables, records, shown.measured)
            beside = path.with_suffix(".json")
            # Settings without a table do no harm.
            replace_file(beside, settings)
            replace_file(path, table)
            return f"Saved {quoted(path.name)} and {quoted(beside.name)}."

        self._start(path, save)

    def _save_palette(self, shown: Shown) -> None:
        path = self._ask_path("Save palette", _PALETTES, shown.layer.name)
        if path is None:
            return
        rows = shown.rows.sort_values("index")
        colors = shown.listed.record.palette[rows["index"] - 1]
        has_names = path.suffix.lower() in PROVENANCE_SUFFIXES and any(rows["name"])
        names = rows["name"].tolist() if has_names else None

        def save(_: Any) -> str:
            write_palette(path, colors, names=names)
            return f"Saved {quoted(path.name)}."

        self._start(path, save)

    def _save_small(self, shown: Shown) -> None:
        path = self._ask_path("Save small file", _IMAGES, shown.layer.name)
        if path is None:
            return
        data, attributes, kind, labels = described(
            shown.layer, shown.listed, self._results
        )
        n_raw = shown.listed.record.n_bytes

        def save(_: Any) -> str:
            if kind == "labels":
                write_labels(str(path), data, attributes)
            else:
                write_image(str(path), data, attributes, labels)
            n_bytes = path.stat().st_size
            share = f", {n_bytes / n_raw:.1%} of the raw pixels" if n_raw else ""
            return f"Saved {quoted(path.name)}: {n_bytes:,} bytes{share}."

        self._start(path, save)

    def _start(self, path: Path, save: Callable[[Any], str]) -> None:
        """Save in a thread, one file after the other."""
        if self._job.is_busy:
            self.told.emit("The last file is still being saved.")
            return
        self.told.emit(f"Saving {quoted(path.name)}")
        self._job.start(save, returned=self.told.emit, failed=partial(self._fail, path))

    def _fail(self, path: Path, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        text = f"{quoted(path.name)} was not saved: {reason}"
        self.told.emit(text)
        show_error(text)

    def _ask_path(
        self, title: str, filters: Sequence[str], name: str, *beside: str
    ) -> Path | None:
        """Ask for a file to write, and before others of its name are replaced."""
        typed, chosen = QFileDialog.getSaveFileName(
            self._window, title, name, ";;".join(filters)
        )
        if not typed:
            return None
        suffix = (chosen or filters[0]).partition("*")[2].rstrip(")")
        path = Path(typed)
        if not path.suffix:
            path = path.with_name(path.name + suffix)
        # The dialog has asked for what was typed.
        unasked = [path.with_suffix(one) for one in beside]
        unasked += [path] if str(path) != typed else []
        existing = ", ".join(one.name for one in unasked if one.exists())
        question = f"{existing} exists. Replace it?"
        if existing and not self._may_replace(title, question):
            return None
        return path

    def _may_replace(self, title: str, question: str) -> bool:
        answer = QMessageBox.question(self._window, title, question)
        return bool(answer == QMessageBox.StandardButton.Yes)


def _axis_of(layer: Layer, shown: Shown) -> int | None:
    """Return the axis to measure a layer along, if it is measured as what is listed."""
    record = record_of(layer)
    is_alike = isinstance(layer, Labels) and layer.ndim == shown.layer.ndim
    has_slices = record is not None and record.slices is not None
    return shown.axis if is_alike and not has_slices else None
