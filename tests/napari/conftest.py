import pytest
from napari.plugins import _initialize_plugins
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QApplication


class _Clipboard:
    """Holds a text."""

    def __init__(self):
        self._text = ""

    def setText(self, text):
        self._text = text

    def text(self):
        return self._text


@pytest.fixture(autouse=True)
def clipboard(monkeypatch):
    """Keep what is copied from tests that run at the same time on the same screen."""
    clipboard = _Clipboard()
    monkeypatch.setattr(QApplication, "clipboard", lambda: clipboard)
    return clipboard


@pytest.fixture(autouse=True, scope="session")
def pointer(qapp):
    """Leave the pointer, which all tests on a screen share, where no window is."""
    QCursor.setPos(qapp.primaryScreen().geometry().bottomRight())


@pytest.fixture(scope="session")
def discovered():
    """Find plugins, as napari does when it starts, which it does once."""
    _initialize_plugins()
