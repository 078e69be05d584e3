"""The error of each iteration of the last run, folded away.

`ErrorPlot.add` takes one error after the other. The error is written on the button;
`ErrorPlot.caption`, which screen readers are told, too, says more of it above the
lines. How many digits an error has is left to `numbers`.
"""

from qtpy.QtWidgets import QLabel

from napari_kmeans._napari.folds import Fold
from napari_kmeans._napari.line_plot import LinePlot
from napari_kmeans._napari.names import wrap_text
from napari_kmeans._napari.numbers import errors_as_text

__all__ = ["ErrorPlot"]

_NAME = "Error per iteration"
_TOOLTIP = """\
Mean squared distance of the pixels to their colors after each iteration
of the last run, summed over channels, in squared units of the image
(of the color space or the weighted channels, if there are any).
Colors are not rounded yet, and only the pixels that are fitted count:
the error of the result may differ a little."""


class ErrorPlot(Fold):
    """Show the error after each iteration, as a number and as a falling line.

    Lines of several palettes lie over each other, the last one brightest. Nothing is
    shown before there is an error, or a reason for none.
    """

    def __init__(self) -> None:
        super().__init__(_NAME, _TOOLTIP)
        self._lines: dict[int, list[float]] = {}
        self._nothing = ""
        self._where = ""
        self._caption = QLabel()
        wrap_text(self._caption)
        self._plot = LinePlot(_NAME, _TOOLTIP)
        self.put(self._caption, self._plot)
        self.clear()

    @property
    def errors(self) -> list[float]:
        """Errors of the last line."""
        return list(self._lines[max(self._lines)]) if self._lines else []

    @property
    def caption(self) -> str:
        """The sentence above the lines, or why there are none."""
        if not self._lines:
            return self._nothing
        part, errors = max(self._lines), self.errors
        number = "1 iteration" if len(errors) == 1 else f"{len(errors)} iterations"
        which = f"Slice {part + 1}: e" if len(self._lines) > 1 else "E"
        return f"{which}rror {_fall(errors)}{self._where}, {number}"

    def clear(self, nothing: str = "", *, where: str = "") -> None:
        """Draw no line, and say why. Errors to come are measured somewhere else."""
        self._lines = {}
        self._nothing, self._where = nothing, where
        self._follow()

    def add(self, part: int, error: float) -> None:
        """Lengthen the line of a palette."""
        self._lines.setdefault(part, []).append(error)
        self._follow()

    def _follow(self) -> None:
        n_most = max(map(len, self._lines.values()), default=0)
        title = f"Error {_fall(self.errors)}" if self._lines else self._nothing
        self.set_title(title, has_body=n_most > 1)
        self.setVisible(bool(title))
        self._caption.setText(self.caption)
        self._plot.setAccessibleDescription(self.caption)
        lines = list(self._lines.values())
        self._plot.show_lines(range(1, n_most + 1), lines, sorted({1, n_most}))


def _fall(errors: list[float]) -> str:
    """Return the first and the last error."""
    first, last = errors_as_text(errors[0], errors[-1])
    return first if len(errors) == 1 else f"{first} → {last}"
