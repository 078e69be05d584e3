"""Where napari draws: what its versions have moved, and where Mesa would crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

__all__ = ["enter_canvas", "grid_of"]


def grid_of(viewer: Viewer) -> Any:
    """Give the grid that shows layers side by side, which napari 0.9 has moved."""
    return getattr(viewer, "canvas", viewer).grid


def enter_canvas(docked: QWidget) -> None:
    """Make the OpenGL context of the canvas the current one, in a widget's window.

    napari frees what drew a removed layer at once, in whatever context that is; in the
    window's own one, Mesa crashes with one of the next drawings.
    """
    window = docked
    while (parent := window.parentWidget()) is not None:
        window = parent
    center = window.centralWidget() if isinstance(window, QMainWindow) else None
    if center is not None:
        for canvas in center.findChildren(QOpenGLWidget):
            canvas.makeCurrent()
