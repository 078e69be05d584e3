"""The error of each iteration as a falling line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

__all__ = ["ErrorPlot"]

_MARGIN = 6
_HEIGHT = 84
# To be seen on dark and on light themes.
_COLOR = "#5a8cff"


class ErrorPlot(QWidget):
    """Draw the error against the iterations, the least at the bottom.

    Lines of several palettes lie over each other, the last one brightest.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[int, list[float]] = {}
        self.setMinimumHeight(_HEIGHT)

    @property
    def errors(self) -> list[float]:
        """Errors of the last line."""
        return list(self._lines[max(self._lines)]) if self._lines else []

    def clear(self) -> None:
        """Draw nothing."""
        self._lines = {}
        self.update()

    def add(self, part: int, error: float) -> None:
        """Lengthen the line of a palette."""
        self._lines.setdefault(part, []).append(error)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw everything again."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(self.palette().ColorRole.WindowText)
        line_height = painter.fontMetrics().height()
        area = self.rect().adjusted(_MARGIN, _MARGIN + line_height, -_MARGIN, -_MARGIN)
        errors = [error for line in self._lines.values() for error in line]
        if not errors:
            painter.setPen(QPen(self.palette().color(self.palette().ColorRole.Mid)))
            painter.drawText(
                self.rect(), Qt.AlignmentFlag.AlignCenter, "error per iteration"
            )
            return
        low, high = min(errors), max(errors)
        n_most = max(map(len, self._lines.values()))
        painter.setPen(QPen(text))
        last = self.errors
        iterations = "1 iteration" if len(last) == 1 else f"{len(last)} iterations"
        painter.drawText(
            _MARGIN,
            _MARGIN + painter.fontMetrics().ascent(),
            f"error {last[0]:.4g} → {last[-1]:.4g}, {iterations}",
        )
        for part, line in self._lines.items():
            color = QColor(_COLOR)
            if part != max(self._lines):
                color.setAlphaF(0.3)
            painter.setPen(QPen(color, 2))
            points = [
                QPointF(
                    area.left() + area.width() * i / max(1, n_most - 1),
                    area.bottom()
                    - area.height() * ((error - low) / ((high - low) or 1)),
                )
                for i, error in enumerate(line)
            ]
            painter.drawPolyline(QPolygonF(points))
            for point in points:
                painter.drawEllipse(point, 2, 2)
