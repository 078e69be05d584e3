"""The error of each iteration as a falling line.

`ErrorPlot.add` takes one error after the other. `ErrorPlot.caption` is the sentence
above the lines, or instead of them, which screen readers are told, too. With how many
digits errors are written is left to `numbers`.
"""

import math

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_kmeans._napari.numbers import errors_as_text

__all__ = ["ErrorPlot"]

_MARGIN = 6
_HEIGHT = 100
# Longer lines would be nothing but dots.
_MOST_DOTS = 50
# To be seen on dark and on light themes.
_COLOR = "#5a8cff"
_NOTHING = "error per iteration"
_TOOLTIP = """\
Mean squared distance of the pixels to their colors after each iteration
of the last run, summed over channels, in squared units of the image
(of the color space, if that is lab or oklab). Meanwhile the colors are not
rounded, and with “Only inside” just those pixels count: the error
of the result, below, is that of all its pixels and may differ a little."""


class ErrorPlot(QWidget):
    """Draw the error against the iterations, the least at the bottom.

    Lines of several palettes lie over each other, the last one brightest.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[int, list[float]] = {}
        self._nothing = _NOTHING
        self._space = "rgb"
        self.setMinimumHeight(_HEIGHT)
        self.setAccessibleName(_NOTHING)
        self.setToolTip(_TOOLTIP)

    @property
    def errors(self) -> list[float]:
        """Errors of the last line."""
        return list(self._lines[max(self._lines)]) if self._lines else []

    @property
    def caption(self) -> str:
        """The sentence above the lines, or instead of them."""
        if not self._lines:
            return self._nothing
        part, errors = max(self._lines), self.errors
        first, last = errors_as_text(errors[0], errors[-1])
        fall = first if len(errors) == 1 else f"{first} → {last}"
        number = "1 iteration" if len(errors) == 1 else f"{len(errors)} iterations"
        which = f"Slice {part + 1}, fitting" if len(self._lines) > 1 else "Fitting"
        where = "" if self._space == "rgb" else f" in {self._space}"
        return f"{which} error {fall}{where}, {number}"

    def clear(self, nothing: str = _NOTHING, *, space: str = "rgb") -> None:
        """Draw no line, and say why. Errors to come are those of a color space."""
        self._lines = {}
        self._nothing = nothing
        self._space = space
        self._follow()

    def add(self, part: int, error: float) -> None:
        """Lengthen the line of a palette."""
        self._lines.setdefault(part, []).append(error)
        self._follow()

    def _follow(self) -> None:
        self.setAccessibleDescription(self.caption)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw everything again."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colors, flags = self.palette(), Qt.AlignmentFlag
        if not self._lines:
            painter.setPen(colors.color(colors.ColorRole.Mid))
            center = flags.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), center, self.caption)
            return
        painter.setPen(colors.color(colors.ColorRole.WindowText))
        area = self.rect().adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        top = flags.AlignTop | Qt.TextFlag.TextWordWrap
        text = painter.boundingRect(area, top, self.caption)
        painter.drawText(area, top, self.caption)
        # Neither text nor edge touch a point.
        area.setTop(text.bottom() + 2 * _MARGIN)
        lines = self._lines.values()
        errors = [error for line in lines for error in line if math.isfinite(error)]
        low, high = min(errors, default=0.0), max(errors, default=0.0)
        n_most = max(map(len, lines))
        for part, line in self._lines.items():
            color = QColor(_COLOR)
            if part != max(self._lines):
                color.setAlphaF(0.3)
            painter.setPen(QPen(color, 2))
            painter.setBrush(color)
            points = [
                QPointF(
                    area.left() + area.width() * i / max(1, n_most - 1),
                    area.bottom()
                    - area.height() * ((error - low) / ((high - low) or 1)),
                )
                for i, error in enumerate(line)
                if math.isfinite(error)
            ]
            painter.drawPolyline(QPolygonF(points))
            for point in points if n_most <= _MOST_DOTS else ():
                painter.drawEllipse(point, 2, 2)
