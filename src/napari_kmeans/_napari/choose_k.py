"""How many colors: the error against their number, to be clicked on.

`ChooseK` is a part of the dock that is folded away at first, and costs nothing until it
is opened. It counts what is chosen now, as a run does, and fits 16 palettes in a
thread: `errors_of` does that, and `fewest_of` finds the fewest colors of a quality.
What becomes of the number that is chosen is left to `run_panel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from magicgui.widgets import FloatSpinBox, PushButton
from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_kmeans._core.arrays import Floats
from napari_kmeans._core.counted_image import curve_of, fit_quality
from napari_kmeans._core.pixels import CountedImage
from napari_kmeans._napari.computation import Count, fitted_mask, weigh_parts
from napari_kmeans._napari.folds import Fold
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import read_array, read_levels
from napari_kmeans._napari.line_plot import LinePlot
from napari_kmeans._napari.names import wrap_text
from napari_kmeans._napari.quantize_layer import Request, message_of

__all__ = ["KS", "ChooseK", "errors_of", "fewest_of"]

# Numbers of colors that are tried, evenly spaced in their logarithm.
KS = tuple(sorted({round(2 ** (i / 2)) for i in range(17)}))
_TICKS = (1, 4, 16, 64, 256)
_PSNR = 40.0
# Milliseconds; changes within are answered together.
_PAUSE = 200
_NAME = "Choose k"
_FOLD = "Show or hide how large the error is with 1 to 256 colors"
_PLOT = """\
Typical distance of a pixel to its color (root of the mean squared error),
in units of the image, with 1 to 256 colors.
Click where more colors hardly help: that sets Colors (k)."""
_BUTTON = """\
Set Colors (k) to the fewest colors that reach this peak signal-to-noise
ratio. From some 40 dB on, hardly anyone sees a difference."""
_MEASURING = "Fitting 1 to 256 colors"
_GIVEN = "The palette is given: choose “fit” as Palette to find k."


def errors_of(parts: Sequence[CountedImage]) -> Floats:
    """Return the root mean squared error (16,) with each of `KS`, over all slices."""
    sizes = np.array([_n_fitted(part) for part in parts], dtype=np.float64)
    errors = np.array([curve_of(part, KS) for part in parts])
    return np.asarray(np.sqrt(sizes / sizes.sum() @ errors))


def fewest_of(parts: Sequence[CountedImage], psnr: float) -> int:
    """Return the fewest colors with which each slice reaches a quality in decibels."""
    return max(len(fit_quality(part, psnr=psnr).result.palette) for part in parts)


def _n_fitted(part: CountedImage) -> int:
    """Count the pixels that a palette is fitted to."""
    if part.counted is not None:
        return int(part.counted.counts.sum())
    mask = part.masks[0]
    size = math.prod(part.images[0].shape[:-1])
    return size if mask is None else int(read_array(mask.sum()))


def _counted(request: Request, count: Count) -> list[CountedImage]:
    """Count the pixels that are wanted, whose channels count as in a run."""
    source, settings = request.source, request.settings
    image = read_levels(source)[0]
    mask = fitted_mask(source, settings.slice_axis)
    return weigh_parts(count(image, mask, source, settings), settings)[0]


class ChooseK(Fold):
    """Show how the error falls with the number of colors, and have one chosen.

    The signal carries the number.

    Parameters
    ----------
    collect : callable
        Returns what is chosen now, or None if there is no layer. It may raise
        ValueError, whose text is shown.
    count : callable
        Counts colors, as `count_parts`.
    """

    chosen = Signal(int)

    def __init__(self, collect: Callable[[], Request | None], count: Count) -> None:
        super().__init__(_NAME, _FOLD)
        self._collect = collect
        self._count = count
        # What the curve depends on, as it was when the last one was begun.
        self._known: tuple[Any, ...] = ()
        self._fitting, self._finding = Newest(self), Newest(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self.plot = LinePlot("Error with 1 to 256 colors", _PLOT, is_log=True)
        self.psnr = FloatSpinBox(
            label="Quality in dB", value=_PSNR, min=1, max=200, step=1, tooltip=_BUTTON
        )
        self.reach = PushButton(text="Set k", tooltip=_BUTTON)
        self.status = QLabel()
        self._lay_out()
        self._timer.timeout.connect(self._start)
        self.toggled.connect(self._toggle)
        self.plot.clicked.connect(lambda x: self.chosen.emit(round(x)))
        self.reach.changed.connect(self._find)

    def _lay_out(self) -> None:
        row, layout = QWidget(), QHBoxLayout()
        row.setLayout(layout)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (QLabel("for"), self.psnr.native, QLabel("dB")):
            layout.addWidget(widget)
        layout.addWidget(self.reach.native)
        layout.addStretch()
        self.psnr.native.setAccessibleName(self.psnr.label)
        self.psnr.native.setDecimals(1)
        wrap_text(self.status)
        self.put(self.plot, row, self.status)

    def follow(self) -> None:
        """Draw another curve, soon, if one is seen and something else was chosen."""
        if self.is_open:
            self._timer.start()

    def leave(self) -> None:
        """Compute nothing any more."""
        self._timer.stop()
        self._known = ()
        for job in (self._fitting, self._finding):
            job.leave()

    def _toggle(self, is_open: bool) -> None:
        self.leave()
        if is_open:
            self._start()

    def _request(self) -> Request | None:
        """Return what is chosen now, or say why no k can be."""
        try:
            request = self._collect()
        except ValueError as error:
            self._say(str(error))
            return None
        if request is not None and request.settings.palette is not None:
            self._say(_GIVEN)
            return None
        return request

    def _start(self) -> None:
        """Draw the curve of what is chosen now, unless it is the one that is drawn."""
        request = self._request()
        known = () if request is None else _depends_on(request)
        if known and known == self._known:
            return
        self._known = known
        self.plot.show_lines(KS, [], _TICKS)
        if request is None:
            self._fitting.leave()
            return
        self._say(_MEASURING)
        count = self._count
        self._fitting.start(
            lambda _: errors_of(_counted(request, count)),
            returned=self._show,
            failed=partial(self._fail, request),
        )

    def _find(self) -> None:
        """Choose the fewest colors of the quality."""
        request, psnr, count = self._request(), self.psnr.value, self._count
        if request is not None:
            self._say(f"Finding the fewest colors for {psnr:g} dB")
            self._finding.start(
                lambda _: fewest_of(_counted(request, count), psnr),
                returned=partial(self._choose, psnr),
                failed=partial(self._fail, request),
            )

    def _show(self, errors: Floats) -> None:
        self._say("")
        self.plot.show_lines(KS, [errors.tolist()], _TICKS)
        pairs = [f"{k}: {error:.4g}" for k, error in zip(KS, errors, strict=True)]
        self.plot.setAccessibleDescription(", ".join(pairs))

    def _choose(self, psnr: float, k: int) -> None:
        self._say(f"{k:,} colors reach {psnr:g} dB.")
        self.chosen.emit(k)

    def _fail(self, request: Request, error: Exception) -> None:
        self._known = ()
        self._say(message_of(error, request.layers[0]))

    def _say(self, text: str) -> None:
        self.status.setText(text)
        self.status.setVisible(bool(text))


def _depends_on(request: Request) -> tuple[Any, ...]:
    """Return what the errors of an image depend on."""
    mask, settings = request.source.mask, request.settings
    layers = tuple(str(layer.unique_id) for layer in request.layers)
    how = settings.color_space, settings.channel_weights
    axes = settings.channel_axis, settings.slice_axis
    return *layers, *how, *axes, getattr(mask, "id", None)
