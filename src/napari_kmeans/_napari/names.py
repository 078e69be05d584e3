"""Names of layers that are too long for where they are shown.

`shorten_choices` has a combo box elide its choice in the middle, where Qt would cut the
end, and show the whole one as a tooltip; `wrap_text` has a label break its lines. How a
name is shortened in a sentence is left to `layers.quoted`.
"""

from __future__ import annotations

from html import escape

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QHelpEvent, QPaintEvent
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
)

__all__ = ["shorten_choices", "wrap_text"]


def shorten_choices(box: QComboBox) -> None:
    """Elide long choices of a box in the middle, and show them whole as tooltips.

    Long choices do not widen the box either.
    """
    policies = QComboBox.SizeAdjustPolicy
    box.setSizeAdjustPolicy(policies.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    _Shortener(box)


def wrap_text(label: QLabel) -> None:
    """Break the lines of a label where it ends; its text does not widen it."""
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setAlignment(Qt.AlignmentFlag.AlignTop)


class _Shortener(QObject):
    """Draw a box, and answer the mouse that rests on it."""

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        self._box = box
        box.installEventFilter(self)

    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            return self._show_tooltip(event)
        if isinstance(event, QPaintEvent):
            self._draw()
            return True
        return False

    def _draw(self) -> None:
        option = self._option()
        option.currentText = self._shown(option)
        painter = QStylePainter(self._box)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def _show_tooltip(self, event: QHelpEvent) -> bool:
        """Show a choice that is cut as a whole, above the tooltip."""
        option = self._option()
        if self._shown(option) == option.currentText:
            return False
        # Paragraphs are wrapped, and a name is no HTML.
        lines = option.currentText or "", self._box.toolTip()
        text = "".join(f"<p>{escape(line)}</p>" for line in lines)
        QToolTip.showText(event.globalPos(), text, self._box)
        return True

    def _option(self) -> QStyleOptionComboBox:
        option = QStyleOptionComboBox()
        self._box.initStyleOption(option)
        return option

    def _shown(self, option: QStyleOptionComboBox) -> str:
        """Return as much of the choice as the box has room for."""
        style = self._box.style()
        assert style is not None
        room = style.subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self._box,
        )
        # Styles draw the text one pixel inside.
        return option.fontMetrics.elidedText(
            option.currentText, Qt.TextElideMode.ElideMiddle, room.width() - 2
        )
