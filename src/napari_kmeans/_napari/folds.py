"""Parts of a dock that fold: a button that shows and hides what is below it.

`Fold` is such a part, and `Form` a column of labels and fields, some of which may be
hidden. What the fields are for is left to `controls`.
"""

from collections.abc import Sequence

from magicgui.widgets.bases import Widget
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractButton,
    QFormLayout,
    QLabel,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

__all__ = ["Fold", "Form"]

# Pixels between rows, and by which what folds is moved to the right.
_SPACE, _INDENT = 3, 4


class Fold(QWidget):
    """Show and hide widgets by the button above them.

    The signal says whether they are shown.
    """

    toggled = Signal(bool)

    def __init__(self, title: str, tooltip: str, *, is_open: bool = False) -> None:
        super().__init__()
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setToolTip(tooltip)
        self.button.setCheckable(True)
        style = Qt.ToolButtonStyle.ToolButtonTextBesideIcon
        self.button.setToolButtonStyle(style)
        self.button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        policy = self.button.sizePolicy()
        policy.setHorizontalPolicy(policy.Policy.Expanding)
        self.button.setSizePolicy(policy)
        self.line = QLabel(title)
        self.line.setToolTip(tooltip)
        self.line.setVisible(False)
        self._body = QWidget()
        self._inner = QVBoxLayout(self._body)
        self._inner.setContentsMargins(_INDENT, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.button, self.line, self._body):
            layout.addWidget(widget)
        for one in (layout, self._inner):
            one.setSpacing(_SPACE)
        self.button.toggled.connect(self._show_body)
        self.button.toggled.connect(self.toggled)
        self.button.setChecked(is_open)
        self._show_body(is_open)

    @property
    def is_open(self) -> bool:
        """Whether the widgets are shown."""
        return self.button.isChecked()

    def put(self, *widgets: QWidget) -> None:
        """Put widgets below those that are there."""
        for widget in widgets:
            self._inner.addWidget(widget)

    def unfold(self) -> None:
        """Show the widgets."""
        self.button.setChecked(True)

    def set_title(self, title: str, *, has_body: bool) -> None:
        """Write on the button, or on a line of its own if there is no body to show."""
        self.button.setText(title)
        self.button.setChecked(has_body and self.is_open)
        self.button.setVisible(has_body)
        self.line.setText(title)
        self.line.setVisible(not has_body)

    def _show_body(self, is_open: bool) -> None:
        arrows = Qt.ArrowType
        self.button.setArrowType(arrows.DownArrow if is_open else arrows.RightArrow)
        self._body.setVisible(is_open)


class Form(QWidget):
    """Labels in a column beside the fields that they are about.

    The column is as wide as the longest of `labels`, those of all forms that are to
    begin their fields at one place.
    """

    def __init__(self, fields: Sequence[Widget], labels: Sequence[str]) -> None:
        super().__init__()
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setVerticalSpacing(_SPACE)
        self._rows.setHorizontalSpacing(_SPACE)
        policies = QFormLayout.FieldGrowthPolicy
        self._rows.setFieldGrowthPolicy(policies.AllNonFixedFieldsGrow)
        for field in fields:
            label = _Label(field.label, labels)
            label.setToolTip(field.tooltip)
            self._rows.addRow(label, field.native)
            # The one with the focus may be inside; buttons say themselves what they do.
            for part in (field.native, *field.native.findChildren(QWidget)):
                if not isinstance(part, QAbstractButton):
                    part.setAccessibleName(field.label)

    def show_row(self, field: Widget, is_shown: bool) -> None:
        """Show a field and its label, or leave no room for them."""
        self._rows.setRowVisible(field.native, is_shown)


class _Label(QLabel):
    """A label that is as wide as the longest of some, whatever the letters are."""

    def __init__(self, text: str, texts: Sequence[str]) -> None:
        super().__init__(text)
        self._texts = texts

    def sizeHint(self) -> QSize:
        """Return the room that the longest text would take."""
        width = self.fontMetrics().horizontalAdvance
        more = max(map(width, self._texts)) - width(self.text())
        return super().sizeHint() + QSize(more, 0)
