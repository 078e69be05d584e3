"""Chosen clusters as labels layers of their own: as one class, or as objects.

`ToLabels` is a button with a menu. It runs `separate_objects` in a thread, and the
button cancels it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from magicgui.widgets import PushButton
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import QInputDialog, QMenu, QWidget

from napari_kmeans._core.blocks import observed
from napari_kmeans._napari.exports import Shown
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import quoted
from napari_kmeans._napari.objects import separate_objects
from napari_kmeans._napari.placement import labels_placement
from napari_kmeans._napari.quantize_layer import message_of
from napari_kmeans._napari.results import Results

__all__ = ["ToLabels"]

_TEXT = "To labels"
_TOOLTIP = "Make a new labels layer of the pixels of the chosen clusters"
# Names of clusters that a layer is called by.
_MOST_NAMES = 3
_MOST_PIXELS = 2**31 - 1


class ToLabels(QObject):
    """Make a labels layer of the chosen clusters.

    The signals say that the layer is about to be added, and what the user is to be
    told.
    """

    adding = Signal()
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
        self._entries: tuple[int, ...] = ()
        self.button = PushButton(text=_TEXT, tooltip=_TOOLTIP)
        self._menu = QMenu(parent)
        self.one_class = QAction("As one class", self)
        self.objects = QAction("As separate objects…", self)
        for action in (self.one_class, self.objects):
            self._menu.addAction(action)
        self.button.native.setMenu(self._menu)
        self.one_class.triggered.connect(lambda: self._start(None))
        self.objects.triggered.connect(self._ask_smallest)
        self.button.changed.connect(self._cancel)
        self.choose(())

    def choose(self, entries: tuple[int, ...]) -> None:
        """Take the entries of the palette that are chosen."""
        self._entries = entries
        for action in (self.one_class, self.objects):
            action.setEnabled(bool(entries))
        self.button.enabled = bool(entries) or self._job.is_busy

    def leave(self) -> None:
        """Ask the thread to end."""
        self._job.leave()

    def _ask_smallest(self) -> None:
        smallest, is_meant = QInputDialog.getInt(
            self._window,
            "Separate objects",
            "Pixels of the smallest object",
            1,
            1,
            _MOST_PIXELS,
        )
        if is_meant:
            self._start(smallest)

    def _start(self, smallest: int | None) -> None:
        """Separate objects of at least so many pixels; None for one class."""
        shown = self._shown()
        labels = None if shown is None else self._labels_of(shown)
        if shown is None or labels is None or not self._entries or self._job.is_busy:
            return
        name = _name(shown, self._entries)
        compute = partial(
            _separated,
            labels,
            [entry + 1 for entry in self._entries],
            connected=smallest is not None,
            smallest=smallest or 1,
            images=self._sources_of(shown),
        )
        self.button.native.setMenu(None)
        self.button.text = "Cancel"
        self.button.tooltip = "Stop, and add no layer"
        self.told.emit(f"Making {quoted(name)}")
        self._job.start(
            compute,
            returned=partial(self._add, name),
            failed=partial(self._fail, shown.layer),
            reported=lambda done: self.told.emit(f"Making {quoted(name)}: {done}"),
        )

    def _labels_of(self, shown: Shown) -> Labels | None:
        """Return the labels of a result, as a layer that nobody changes."""
        layer, levels = shown.layer, self._results.labels_of(shown.layer)
        if levels is None:
            return None
        return Labels(
            levels[0] if len(levels) == 1 else list(levels),
            multiscale=len(levels) > 1,
            name=layer.name,
            features=self._results.table(layer),
            metadata=layer.metadata,
            **labels_placement(layer, shown.listed.channels),
        )

    def _sources_of(self, shown: Shown) -> list[Image]:
        """Return the images that a result was made of, if all are still there."""
        ids = shown.listed.record.source_ids
        known = {str(x.unique_id): x for x in self._viewer.layers}
        found = [known.get(one) for one in ids]
        images = [layer for layer in found if isinstance(layer, Image)]
        return images if len(images) == len(ids) else []

    def _add(self, name: str, layer: Labels) -> None:
        self._end(f"Added {quoted(name)}.")
        layer.name = name
        self.adding.emit()
        self._viewer.add_layer(layer)

    def _fail(self, layer: Layer, error: Exception) -> None:
        text = message_of(error, layer)
        self._end(text)
        show_error(text)

    def _cancel(self) -> None:
        if self._job.is_busy:
            self._job.leave()
            self._end("Cancelled; no layer was added.")

    def _end(self, status: str) -> None:
        """Be ready for the next layer."""
        self.button.native.setMenu(self._menu)
        self.button.text, self.button.tooltip = _TEXT, _TOOLTIP
        self.choose(self._entries)
        self.told.emit(status)


def _separated(
    labels: Labels,
    clusters: list[int],
    report: Callable[[Any], None],
    *,
    connected: bool,
    smallest: int,
    images: list[Image],
) -> Labels:
    """Return the new layer, and report how many planes or volumes are done."""
    with observed(lambda n_done, n_all: report(f"{n_done} of {n_all}")):
        return separate_objects(
            labels,
            clusters,
            connected=connected,
            smallest=smallest,
            image=images or None,
        )


def _name(shown: Shown, entries: tuple[int, ...]) -> str:
    """Return the name of a layer of some clusters."""
    names = dict(zip(shown.rows["index"] - 1, shown.rows["name"], strict=True))
    parts = [names[entry] or f"cluster {entry + 1}" for entry in entries]
    what = f"{len(parts)} clusters" if len(parts) > _MOST_NAMES else " + ".join(parts)
    return f"{what} of {' + '.join(shown.listed.record.source) or shown.layer.name}"
