"""The upper part of the widget: choose, preview, run, and watch.

`RunPanel` holds the controls, the live preview, the buttons, the progress and the error
plot. It runs `quantize_layer`'s steps, the long one in a thread, and signals the layers
that came of it. Read `RunPanel._start` first, and `_add_results` for
how a run ends. What happens to the layers then is left to whoever hears the signals.
"""

# Annotations stay real objects here: napari finds by them what to hand over.

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from magicgui.widgets import CheckBox, Label, ProgressBar, PushButton
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_kmeans._napari.computation import Outcome, Progress, quantize_source
from napari_kmeans._napari.controls import Controls
from napari_kmeans._napari.error_plot import ErrorPlot
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.kept_counts import KeptCounts
from napari_kmeans._napari.layers import quoted
from napari_kmeans._napari.names import shorten_choices, wrap_text
from napari_kmeans._napari.preview import Preview
from napari_kmeans._napari.quantize_layer import Request, message_of, prepare
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.settings import Settings, default_preview

__all__ = ["RunPanel"]

# Pixels of the bar: what is done is written below it.
_BAR = 6
_ESCAPE = "Escape"


class RunPanel(QWidget):
    """Cluster the colors of an image layer while napari stays usable.

    The signals say whether something is running, that a run has started, that its
    layers are about to be added or brought up to date, which layers these were, images
    first, and which palette, a `Listed` or None, the preview shows.
    """

    busy = Signal(bool)
    started = Signal()
    adding = Signal()
    added = Signal(list)
    previewed = Signal(object)

    def __init__(self, viewer: Viewer, results: Results) -> None:
        super().__init__()
        self._viewer = viewer
        self._results = results
        self._job = Newest(self)
        # What was said of a run that could not start, or failed.
        self._fault = ""
        # Whether Esc cancels, and what it did on the canvas before.
        self._is_bound, self._bound_before = False, None
        # Another k of the same pixels costs the fit only.
        self._count = KeptCounts()
        self.controls = Controls(viewer, self._count)
        self.live = CheckBox(
            text="Live preview",
            value=default_preview(),
            tooltip="Show what is on the screen in its colors to be,\n"
            "while you choose. No layer is changed, and none stays.",
        )
        self.run = PushButton(
            text="Run K-means",
            tooltip="Find the colors of all pixels of the image, and add the result",
        )
        self.cancel = PushButton(
            text="Cancel",
            tooltip="Stop, and leave all layers as they are (Esc)",
            enabled=False,
        )
        self.progress = ProgressBar(
            value=0, tooltip="How much of the present step is done"
        )
        self.status = Label()
        self.plot = ErrorPlot()
        self._preview = Preview(
            viewer,
            collect=self._collect,
            outdated=self._request_preview,
            told=self._tell_of_preview,
            listed=self.previewed.emit,
            removed=partial(self.live.set_value, False),
            count=self._count,
            parent=self,
        )
        # What was said about it.
        self._told = ""
        self._lay_out()
        self._connect()
        self._toggle_preview()

    def _lay_out(self) -> None:
        """Put everything below each other."""
        buttons = QHBoxLayout()
        for button in (self.run, self.cancel, self.live):
            buttons.addWidget(button.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.controls.native)
        layout.addLayout(buttons)
        for widget in (self.progress.native, self.status.native, self.plot):
            layout.addWidget(widget)
        for box in self.findChildren(QComboBox):
            shorten_choices(box)
        self.progress.native.setTextVisible(False)
        self.progress.native.setFixedHeight(_BAR)
        status = self.status.native
        wrap_text(status)
        # What follows does not move between one line of text and two.
        status.setMinimumHeight(2 * status.fontMetrics().lineSpacing())

    def _connect(self) -> None:
        self.run.changed.connect(self._start)
        self.cancel.changed.connect(self.stop)
        self.live.changed.connect(self._toggle_preview)
        for follow in (self._request_preview, self._take_back):
            self.controls.changed.connect(follow)

    def leave(self) -> None:
        """Ask all threads to end, and follow nothing any more."""
        self._job.leave()
        self._bind_escape(False)
        self._preview.leave()
        self.controls.leave()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Show no preview for controls that nobody sees."""
        # A minimized window hides its widgets, too; that event is spontaneous.
        if event is not None and not event.spontaneous():
            self.live.value = False
            self.controls.choose_k.leave()
        super().hideEvent(event)

    # A run.

    def _start(self) -> None:
        """Start the computation, unless one is running."""
        if self._job.is_busy:
            return
        try:
            request = self.controls.request()
        except ValueError as error:
            self._end(str(error), show_error)
            return
        if request is None:
            self._end("There is no image layer: open an image first.", show_warning)
            return
        self._compute([request])

    def apply(self, result: Layer, layers: list[Image]) -> None:
        """Show image layers in the palette of a result, one after the other.

        All other settings are those of the result. The new layers are selected
        together. If a layer cannot have the palette, nothing is computed, and the
        status says why.
        """
        if self._job.is_busy or not layers:
            return
        try:
            requests = [_in_palette(layer, result, self._viewer) for layer in layers]
        except ValueError as error:
            self._end(str(error), show_error)
            return
        self._compute(requests)

    def _compute(self, requests: list[Request]) -> None:
        """Compute what is wanted in a thread."""
        self.started.emit()
        self.run.enabled = False
        self.cancel.enabled = True
        self.busy.emit(True)
        self._bind_escape(True)
        self._show_done(0, 0)
        self._fault = ""
        self.status.value = "Reading the layer"
        self.plot.clear(where=_where(requests[0].settings))
        needed = [self._results.needed(request) for request in requests]
        self._job.start(
            partial(_outcomes, requests, needed, self._count),
            returned=partial(self._add_results, requests),
            failed=partial(self._fail, requests[0]),
            reported=self._show_progress,
        )

    def _fail(self, request: Request, error: Exception) -> None:
        layer, palette = request.layers[0], request.settings.palette
        self._end(message_of(error, layer, palette), show_error)

    def stop(self) -> None:
        """Forget the running computation; its thread ends by itself."""
        if self._job.is_busy:
            self._job.leave()
            self.live.value = False
            self._end("Cancelled; no layer was added.")

    def _end(self, status: str, notify: Callable[[str], None] | None = None) -> None:
        """Be ready for the next computation and say how the last one ended."""
        self.run.enabled = True
        self.cancel.enabled = False
        self.busy.emit(False)
        self._bind_escape(False)
        self._show_done(0, 1)
        self.status.value = status
        if notify is not None:
            self._fault = status
            notify(status)

    def _take_back(self, *_: Any) -> None:
        """Say no longer what hindered a run, once something else was chosen."""
        if not self._fault or self.status.value != self._fault:
            return
        try:
            self._fault = "" if self.controls.request() is not None else self._fault
        except ValueError as error:
            self._fault = str(error)
        self.status.value = self._fault

    def _bind_escape(self, is_busy: bool) -> None:
        """Let Esc cancel on the canvas, too, while something is running."""
        if is_busy == self._is_bound:
            return
        self._is_bound = is_busy
        found = self._viewer.bind_key(_ESCAPE, None)
        if is_busy:
            self._bound_before = found
            self._viewer.bind_key(_ESCAPE, self._cancel_by_key)
        else:
            is_ours = found == self._cancel_by_key
            self._viewer.bind_key(_ESCAPE, self._bound_before if is_ours else found)

    def _cancel_by_key(self, _: Viewer) -> None:
        self.stop()

    def _show_progress(self, progress: Progress) -> None:
        self._show_done(progress.n_done, progress.n_most)
        self.status.value = progress.text
        if progress.mse is not None:
            self.plot.add(progress.part, progress.mse)

    def _show_done(self, n_done: int, n_most: int) -> None:
        """Show how much is done; the bar is busy if `n_most` is 0."""
        self.progress.native.setRange(0, n_most)
        self.progress.native.setValue(n_done)

    def _add_results(self, requests: list[Request], outcomes: list[Outcome]) -> None:
        needed = [layer for request in requests for layer in request.layers]
        gone = [layer for layer in needed if layer not in self._viewer.layers]
        if gone:
            name = quoted(gone[0].name)
            status = f"{name} was removed meanwhile; no layer was added."
            self._end(status, show_warning)
            return
        # Ready again first, for a layer that has changed its shape cannot be followed.
        self._end(f"{quoted(needed[0].name)}: the result could not be added.")
        self.live.value = False
        self.adding.emit()
        before, layers = set(self._viewer.layers), []
        for request, outcome in zip(requests, outcomes, strict=True):
            layers += self._results.add(request, outcome)
        self._show_done(1, 1)
        if not self.plot.errors:
            self.plot.clear(_why_no_iteration(requests[0].settings))
        self.status.value = _what_became(layers, before)
        self.added.emit(layers)
        if len(requests) > 1:
            self._viewer.layers.selection = set(layers)

    # The preview.

    def _collect(self) -> Request | None:
        """Return what the preview is to show."""
        return self.controls.request() if self.live.value else None

    def _toggle_preview(self) -> None:
        if self.live.value:
            self._preview.request()
        else:
            self._preview.stop()

    def _request_preview(self) -> None:
        if self.live.value and not self._job.is_busy:
            self._preview.request()

    def _tell_of_preview(self, text: str) -> None:
        """Say what is to be known about the preview, or take back what was said."""
        if text or self.status.value == self._told:
            self.status.value = text
        self._told = text


def _outcomes(
    requests: list[Request],
    needed: list[Settings],
    count: KeptCounts,
    report: Callable[[Progress], None],
) -> list[Outcome]:
    """Compute what is wanted, one after the other, in any thread."""
    outcomes = []
    for i, (request, settings) in enumerate(zip(requests, needed, strict=True)):

        def tell(progress: Progress, number: int = i + 1) -> None:
            if len(requests) > 1:
                text = f"Image {number} of {len(requests)}: {progress.text}"
                progress = progress._replace(text=text)
            report(progress)

        outcomes.append(quantize_source(request.source, settings, tell, count))
    return outcomes


def _in_palette(layer: Image, result: Layer, viewer: Viewer) -> Request:
    """Ask for an image in the palette of a result, and with its settings."""
    record = record_of(result)
    kind = "labels" if isinstance(result, Labels) else "image"
    settings = None if record is None else record.settings
    settings = settings or Settings(output=kind)
    axis = settings.channel_axis
    # -1 stands for colors of RGB, and for several layers.
    settings = dataclasses.replace(
        settings,
        palette=result,
        # The palette is the one that was changed since, and has the names.
        merged=None,
        recolored=None,
        names=None,
        channel_axis=None if axis is not None and axis < 0 else axis,
    )
    return prepare([layer], settings, None, viewer)


def _what_became(layers: list[Layer], before: set[Layer]) -> str:
    """Say which layers are new, and which were there before."""
    added = [quoted(layer.name) for layer in layers if layer not in before]
    updated = [quoted(layer.name) for layer in layers if layer in before]
    parts = [
        f"{verb} {_listed(names)}"
        for verb, names in (("added", added), ("updated", updated))
        if names
    ]
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _where(settings: Settings) -> str:
    """Say where errors are measured, if not in units of the image."""
    space = "" if settings.color_space == "rgb" else f" in {settings.color_space}"
    return space + ("" if settings.channel_weights is None else ", weighted")


def _why_no_iteration(settings: Settings) -> str:
    """Say why there is no error to plot."""
    if settings.palette is not None:
        return "No iteration: the palette was given"
    if settings.iters == 0:
        return "No iteration was asked for"
    return "No iteration was needed"
