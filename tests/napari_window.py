"""Ways to use the widget, and to look at what is in the viewer."""

import threading

from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QAction, QMouseEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication


def dock_in(window):
    """Dock the widget as the Plugins menu does."""
    _, widget = window.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    return widget


def camera_of(viewer):
    """Give the camera, which napari < 0.9 has elsewhere."""
    return getattr(viewer, "scene", viewer).camera


def enter_canvas():
    """Make the OpenGL context of the canvas the current one."""
    for window in QApplication.topLevelWidgets():
        for canvas in window.findChildren(QOpenGLWidget):
            canvas.makeCurrent()


def messages():
    return [notification.message for notification in notification_manager.records]


def move_mouse(widget, place):
    """Let a widget hear of the mouse, whose pointer all tests on a screen share."""
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(place),
        QPointF(widget.mapToGlobal(place)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(widget, event)


def press(button):
    """Press a button, or choose an item of a menu."""
    if isinstance(button, QAction):
        button.trigger()
    else:
        button.native.click()


def wait_for_threads():
    """Wait until they end by themselves."""
    for thread in threading.enumerate():
        if thread.name == "napari-kmeans":
            thread.join(20)
            assert not thread.is_alive()


def names(viewer):
    return [layer.name for layer in viewer.layers]


def preview_in(viewer):
    (layer,) = (x for x in viewer.layers if x.name.startswith("preview of"))
    return layer
