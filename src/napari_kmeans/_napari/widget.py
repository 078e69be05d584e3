"""The docked widget: choose an image layer, run k-means, get it in k colors.

`QuantizeWidget` lays out a `RunPanel` above a `PalettePanel` and connects their
signals; the two know nothing of each other. It also ends what they do when the dock is
closed, and when the program ends.
"""

# Annotations stay real objects here: napari finds the parameter that wants the viewer
# by what it is annotated with.

import atexit
import weakref
from functools import partial
from typing import Any

from magicgui.widgets import Container, Widget
from napari.viewer import Viewer
from qtpy.QtCore import QCoreApplication, QEvent, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (  # type: ignore[attr-defined]
    QScrollArea,
    QShortcut,
    QSizePolicy,
    QSpacerItem,
    QVBoxLayout,
    QWidget,
)

from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.run_panel import RunPanel

__all__ = ["QuantizeWidget"]


class QuantizeWidget(Container[Widget]):
    """Cluster the colors of an image layer while napari stays usable."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        # napari hands out a proxy, whose layers are proxies too.
        viewer = getattr(viewer, "__wrapped__", viewer)
        self._results = Results(viewer)
        self.run_panel = RunPanel(viewer, self._results)
        self.palette_panel = PalettePanel(viewer, self._results)
        self.controls = self.run_panel.controls
        self._lay_out()
        self.run_panel.started.connect(self.palette_panel.stop_measuring)
        self.run_panel.adding.connect(self.palette_panel.choose)
        self.run_panel.added.connect(self.palette_panel.show_result)
        self.run_panel.previewed.connect(self.palette_panel.list_preview)
        self.palette_panel.locked.connect(self.controls.lock)
        self.palette_panel.applied.connect(self.run_panel.apply)
        self.palette_panel.told.connect(self.run_panel.status.set_value)
        self._connect_escape()
        self.native_parent_changed.connect(self._follow_parent)
        self.native.destroyed.connect(self._leave)
        self._close = partial(_close, weakref.ref(viewer))
        atexit.register(self._close)

    def _connect_escape(self) -> None:
        """Let Esc cancel wherever the focus is in the dock, while something runs."""
        escape = QShortcut(QKeySequence(Qt.Key.Key_Escape), self.native)
        escape.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        escape.setEnabled(False)
        escape.activated.connect(self.run_panel.stop)
        # Whoever else needs the key has it at other times.
        self.run_panel.busy.connect(escape.setEnabled)

    def _lay_out(self) -> None:
        """Put the panels below each other, in a page that scrolls."""
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(4, 4, 2, 4)
        layout.addWidget(self.run_panel)
        # The table has the height there is.
        layout.addWidget(self.palette_panel, stretch=1)
        # The width that names of usual length want.
        policy = QSizePolicy.Policy
        layout.addItem(QSpacerItem(330, 0, policy.Preferred, policy.Minimum))
        scroll = QScrollArea()
        scroll.setWidget(page)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(scroll.Shape.NoFrame)
        self.margins = (0, 0, 0, 0)
        self.native.layout().addWidget(scroll)
        # As wide as the title of the dock.
        self.min_width = 300

    def reset_choices(self, *_: Any) -> None:
        """Follow the layers as they come, go, and change their names."""
        self.controls.reset_choices()
        self.palette_panel.show_title()

    def _follow_parent(self) -> None:
        """Stop where the dock was closed, which lets go of the widget."""
        if self.native.parent() is None:
            self.run_panel.stop()

    def _leave(self) -> None:
        """Ask all threads to end, and follow nothing any more."""
        atexit.unregister(self._close)
        self.run_panel.leave()
        self.palette_panel.leave()
        self._results.leave()


def _close(viewer: "weakref.ReferenceType[Viewer]") -> None:
    """Delete the window of a viewer, which is open at the end of a program.

    PyQt would do so later, while it walks along its table of all objects. Functions of
    napari and of this plugin that hear of it would change that table, and crash PyQt.
    """
    window = getattr(viewer(), "window", None)
    if window is not None:
        window.close()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
