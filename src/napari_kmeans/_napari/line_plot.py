"""Lines over two axes with numbers, drawn by Qt alone.

`LinePlot.show_lines` takes lines of positive x, and y from 0 up. What they mean is told
by `error_plot` and `choose_k`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from qtpy.QtCore import QPointF, QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

__all__ = ["LinePlot", "ticks_to"]

_HEIGHT, _MARGIN, _TICK = 110, 6, 4
# Longer lines would be nothing but dots.
_MOST_DOTS = 50
# To be seen on dark and on light themes.
_COLOR = "#5a8cff"
# Powers of ten beyond would be 0 or infinite.
_LEAST = 1e-300
# Of the lines behind the last one.
_FAINT = 0.3


class _Frame(NamedTuple):
    """Where lines are drawn, the x at its sides, as scaled, and the y at its top."""

    area: QRectF
    low: float
    high: float
    top: float


class LinePlot(QWidget):
    """Draw lines from y = 0 at the bottom to the highest point at the top.

    The signal carries the x that was clicked, between the least and the largest.
    """

    clicked = Signal(float)

    def __init__(self, name: str, tooltip: str, *, is_log: bool = False) -> None:
        super().__init__()
        # Whether equal factors of x have equal widths.
        self._is_log = is_log
        self._xs: Sequence[float] = ()
        self._lines: Sequence[Sequence[float]] = ()
        self._x_ticks: Sequence[float] = ()
        self._mark: float | None = None
        self.setMinimumHeight(_HEIGHT)
        self.setAccessibleName(name)
        self.setToolTip(tooltip)

    def show_lines(
        self,
        xs: Sequence[float],
        lines: Sequence[Sequence[float]],
        x_ticks: Sequence[float],
    ) -> None:
        """Draw lines, the last one brightest.

        Parameters
        ----------
        xs : sequence of float
            From the least to the largest.
        lines : sequence of sequences of float
            The y of each line at the first `xs`; infinite where there is no point.
        x_ticks : sequence of float
            The x that are written below the plot.
        """
        self._xs, self._lines, self._x_ticks = xs, lines, x_ticks
        self.update()

    def mark(self, x: float | None) -> None:
        """Draw an upright line at an x, or none."""
        self._mark = x
        self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Signal the x that is clicked."""
        frame = self._frame()
        if event is None or frame is None or frame.low >= frame.high:
            return
        if event.button() == Qt.MouseButton.LeftButton:
            part = (event.position().x() - frame.area.left()) / frame.area.width()
            at = frame.low + (frame.high - frame.low) * min(max(part, 0.0), 1.0)
            self.clicked.emit(2.0**at if self._is_log else at)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw everything again."""
        del event
        frame = self._frame()
        if frame is not None:
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._draw_y_axis(painter, frame)
            self._draw_x_axis(painter, frame)
            self._draw_mark(painter, frame)
            self._draw_lines(painter, frame)

    def _frame(self) -> _Frame | None:
        """Return where the lines are drawn, or None if no point is."""
        found = [y for line in self._lines for y in line if math.isfinite(y)]
        if not found:
            return None
        top, height = max(found), self.fontMetrics().height()
        width = max(
            map(self.fontMetrics().horizontalAdvance, map(_text, ticks_to(top)))
        )
        area = QRectF(self.rect()).adjusted(
            width + 2 * _TICK, height / 2, -_MARGIN, -height - _TICK - 1
        )
        return _Frame(area, self._scaled(self._xs[0]), self._scaled(self._xs[-1]), top)

    def _draw_y_axis(self, painter: QPainter, frame: _Frame) -> None:
        """Write numbers at the left, and draw a faint line at each."""
        ink, flags = self.palette().color(self.foregroundRole()), Qt.AlignmentFlag
        faint = QColor(ink)
        faint.setAlphaF(_FAINT / 2)
        height = self.fontMetrics().height()
        for y in ticks_to(frame.top):
            at = self._place(self._xs[0], y, frame)
            painter.setPen(faint)
            painter.drawLine(at, QPointF(frame.area.right(), at.y()))
            painter.setPen(ink)
            box = QRectF(0, at.y() - height / 2, frame.area.left() - _TICK, height)
            painter.drawText(box, flags.AlignRight | flags.AlignVCenter, _text(y))

    def _draw_x_axis(self, painter: QPainter, frame: _Frame) -> None:
        """Draw the axis, and write numbers below it."""
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawLine(frame.area.bottomLeft(), frame.area.bottomRight())
        below, letters = QPointF(0, _TICK), self.fontMetrics()
        for x in self._x_ticks:
            at, width = self._place(x, 0, frame), letters.horizontalAdvance(_text(x))
            painter.drawLine(at, at + below)
            # The last one does not leave the plot.
            left = min(at.x() - width / 2, self.width() - width - 1)
            box = QRectF(left, at.y() + _TICK, width + 1, letters.height())
            painter.drawText(box, Qt.AlignmentFlag.AlignLeft, _text(x))

    def _draw_mark(self, painter: QPainter, frame: _Frame) -> None:
        """Draw the upright line, if it is in the frame."""
        if self._mark is None:
            return
        if frame.low <= self._scaled(self._mark) <= frame.high:
            painter.setPen(QPen(QColor(_COLOR), 1, Qt.PenStyle.DashLine))
            at = self._place(self._mark, 0, frame)
            painter.drawLine(at, QPointF(at.x(), frame.area.top()))

    def _draw_lines(self, painter: QPainter, frame: _Frame) -> None:
        for line in self._lines:
            color = QColor(_COLOR)
            if line is not self._lines[-1]:
                color.setAlphaF(_FAINT)
            painter.setPen(QPen(color, 2))
            painter.setBrush(color)
            points = [
                self._place(x, y, frame)
                for x, y in zip(self._xs, line, strict=False)
                if math.isfinite(y)
            ]
            painter.drawPolyline(QPolygonF(points))
            for point in points if len(line) <= _MOST_DOTS else ():
                painter.drawEllipse(point, 2, 2)

    def _place(self, x: float, y: float, frame: _Frame) -> QPointF:
        """Return where a point is drawn."""
        area = frame.area
        across = (self._scaled(x) - frame.low) / ((frame.high - frame.low) or 1)
        up = y / (frame.top or 1)
        return QPointF(
            area.left() + area.width() * across, area.bottom() - area.height() * up
        )

    def _scaled(self, x: float) -> float:
        return math.log2(x) if self._is_log else x


def _text(number: float) -> str:
    return f"{number:,.6g}"


def ticks_to(top: float) -> list[float]:
    """Return numbers from 0 to at most `top` that are easy to read, three to six.

    They are multiples of 1, 2 or 5 times a power of 10. Of 0, it is 0 alone; what is
    hardly in the range of floats has no other number than itself.
    """
    if top <= 0:
        return [0.0]
    if not _LEAST < top < 1 / _LEAST:
        return [0.0, top]
    power = 10.0 ** math.floor(math.log10(top))
    step = next(x for x in (0.2, 0.5, 1.0, 2.0) if top / power / x < 6) * power
    return [i * step for i in range(math.floor(top / step * (1 + 1e-12)) + 1)]
