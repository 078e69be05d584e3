import pytest
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
