"""Choices of a box that are too long for it."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QHelpEvent, QPaintEvent
from qtpy.QtWidgets import (
    QComboBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
)

__all__ = ["shorten_choices"]


def shorten_choices(box: QComboBox) -> None:
    """Let long choices of a box lose their middle, and show them whole in tooltips.

    They do not widen the box either.
    """
    policies = QComboBox.SizeAdjustPolicy
    box.setSizeAdjustPolicy(policies.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    _Shortener(box)


class _Shortener(QObject):
    """Draws a box, and answers the mouse that rests on it."""

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        self._box = box
        box.installEventFilter(self)

    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            return self._tell(event)
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

    def _tell(self, event: QHelpEvent) -> bool:
        """Tell the choice as well if it is cut."""
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
