"""Names of layers that are too long for where they are shown.

`shorten_choices` has a combo box elide its choice in the middle, where Qt would cut the
end, and show the whole one as a tooltip; `ShortLabel` elides one line of text, and
`wrap_text` has a label break its lines. How a name is shortened in a sentence is left
to `layers.quoted`.
"""

from html import escape

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QHelpEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
)

__all__ = ["ShortLabel", "shorten_choices", "wrap_text"]


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


class ShortLabel(QLabel):
    """One line of text, elided in its middle where there is no room for all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Draw what there is room for."""
        middle, area = Qt.TextElideMode.ElideMiddle, self.contentsRect()
        shown = self.fontMetrics().elidedText(self.text(), middle, area.width())
        QPainter(self).drawText(area, self.alignment(), shown)


class _Shortener(QObject):
    """Draw a box, and answer the mouse that rests on it."""

    def __init__(self, box: QComboBox) -> None:
        super().__init__(box)
        self._box = box
        box.installEventFilter(self)

    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        kinds = QEvent.Type.Paint, QEvent.Type.ToolTip
        if event is None or event.type() not in kinds:
            return False
        box, option, control = self._box, QStyleOptionComboBox(), QStyle.ComplexControl
        box.initStyleOption(option)
        style, whole = box.style(), option.currentText or ""
        assert style is not None
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = style.subControlRect(control.CC_ComboBox, option, field, box).width()
        # Styles draw the text one pixel inside.
        middle = Qt.TextElideMode.ElideMiddle
        shown = option.fontMetrics.elidedText(whole, middle, room - 2)
        if not isinstance(event, QHelpEvent):
            option.currentText = shown
            painter = QStylePainter(box)
            painter.drawComplexControl(control.CC_ComboBox, option)
            painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        elif shown == whole:
            return False
        else:
            # Paragraphs are wrapped, and a name is no HTML.
            text = "".join(f"<p>{escape(line)}</p>" for line in (whole, box.toolTip()))
            QToolTip.showText(event.globalPos(), text, box)
        return True
