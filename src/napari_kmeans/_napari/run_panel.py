"""The upper part of the widget: choose, preview, run, and watch.

`RunPanel` holds the controls, the live preview, the buttons, the progress and the error
plot. It runs `quantize_layer`'s steps, the long one in a thread, and signals the layers
that came of it. Read `RunPanel._start` first, and `_add_result` for how a run ends.
What happens to the layers then is left to whoever hears the signals.
"""

# Annotations stay real objects here: napari finds by them what to hand over.

from collections.abc import Callable
from functools import partial

from magicgui.widgets import CheckBox, Label, ProgressBar, PushButton
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_kmeans._napari.computation import Outcome, Progress, quantize_source
from napari_kmeans._napari.controls import Controls
from napari_kmeans._napari.error_plot import ErrorPlot
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.kept_counts import KeptCounts
from napari_kmeans._napari.layers import quoted
from napari_kmeans._napari.names import shorten_choices, wrap_text
from napari_kmeans._napari.preview import Preview
from napari_kmeans._napari.quantize_layer import Request, message_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.settings import Settings, default_preview

__all__ = ["RunPanel"]


class RunPanel(QWidget):
    """Reduce an image layer to `k` colors while napari stays usable.

    The signals say that a run has started, that its layers are about to be added or
    brought up to date, and which layers these were, images first. `previewed` has each
    palette of the preview, as a `Listed`, and None when it goes.
    """

    started = Signal()
    adding = Signal()
    added = Signal(list)
    previewed = Signal(object)

    def __init__(self, viewer: Viewer, results: Results) -> None:
        super().__init__()
        self._viewer = viewer
        self._results = results
        self._job = Newest(self)
        # Another k of the same pixels costs the fit only.
        self._count = KeptCounts()
        self.controls = Controls(viewer)
        self.more = _unfolding("More options", self.controls.more.native)
        self.live = CheckBox(
            text="Live preview",
            value=default_preview(),
            tooltip="Show what is on the screen in its colors to be,\n"
            "while you choose. No layer is changed, and none stays.",
        )
        self.run = PushButton(
            text="Reduce colors",
            tooltip="Find the colors of all pixels of the image, and add the result",
        )
        self.cancel = PushButton(
            text="Cancel",
            tooltip="Stop, and leave all layers as they are",
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
        self.run.changed.connect(self._start)
        self.cancel.changed.connect(self.stop)
        self.live.changed.connect(self._toggle_preview)
        for controls in (self.controls, self.controls.more):
            controls.changed.connect(self._request_preview)
        self._toggle_preview()

    def _lay_out(self) -> None:
        """Put everything below each other."""
        buttons = QHBoxLayout()
        for button in (self.run, self.cancel):
            buttons.addWidget(button.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.controls.native, self.more, self.controls.more.native):
            layout.addWidget(widget)
        layout.addWidget(self.live.native)
        layout.addLayout(buttons)
        for widget in (self.progress.native, self.status.native, self.plot):
            layout.addWidget(widget)
        for box in self.findChildren(QComboBox):
            shorten_choices(box)
        status = self.status.native
        wrap_text(status)
        # What follows does not move between one line of text and two.
        status.setMinimumHeight(2 * status.fontMetrics().lineSpacing())

    def leave(self) -> None:
        """Ask all threads to end, and follow nothing any more."""
        self._job.leave()
        self._preview.leave()
        self.controls.leave()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Show no preview for controls that nobody sees."""
        # A minimized window hides its widgets, too; that event is spontaneous.
        if event is not None and not event.spontaneous():
            self.live.value = False
        super().hideEvent(event)

    # The reduction.

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
        self.started.emit()
        self.run.enabled = False
        self.cancel.enabled = True
        self._show_done(0, 0)
        self.status.value = "Reading the layer"
        self.plot.clear(space=request.settings.color_space)
        needed, count = self._results.needed(request), self._count
        self._job.start(
            partial(quantize_source, request.source, needed, count=count),
            returned=partial(self._add_result, request),
            failed=partial(self._fail, request),
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
        self._show_done(0, 1)
        self.status.value = status
        if notify is not None:
            notify(status)

    def _show_progress(self, progress: Progress) -> None:
        self._show_done(progress.n_done, progress.n_most)
        self.status.value = progress.text
        if progress.mse is not None:
            self.plot.add(progress.part, progress.mse)

    def _show_done(self, n_done: int, n_most: int) -> None:
        """Show how much is done; the bar is busy if `n_most` is 0."""
        self.progress.native.setRange(0, n_most)
        self.progress.native.setValue(n_done)

    def _add_result(self, request: Request, outcome: Outcome) -> None:
        name = quoted(request.layers[0].name)
        if any(layer not in self._viewer.layers for layer in request.layers):
            status = f"{name} was removed meanwhile; no layer was added."
            self._end(status, show_warning)
            return
        # Ready again first, for a layer that has changed its shape cannot be followed.
        self._end(f"{name}: the result could not be added.")
        self.live.value = False
        self.adding.emit()
        before = set(self._viewer.layers)
        layers = self._results.add(request, outcome)
        self._show_done(1, 1)
        if not self.plot.errors:
            self.plot.clear(_why_no_iteration(request.settings))
        names = " and ".join(quoted(layer.name) for layer in layers)
        done = "Updated" if before.issuperset(layers) else "Added"
        self.status.value = f"{done} {names}."
        self.added.emit(layers)

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


def _why_no_iteration(settings: Settings) -> str:
    """Say why there is no error to plot."""
    if settings.palette is not None:
        return "no iteration: the palette was given"
    if settings.iters == 0:
        return "no iteration was asked for"
    return "no iteration was needed"


def _unfolding(text: str, folded: QWidget) -> QToolButton:
    """Return a button that shows and hides a widget, which is hidden at first."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip("Show or hide how the colors are found")
    button.setCheckable(True)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    policy = button.sizePolicy()
    policy.setHorizontalPolicy(policy.Policy.Expanding)
    button.setSizePolicy(policy)

    def unfold(is_open: bool) -> None:
        arrows = Qt.ArrowType
        button.setArrowType(arrows.DownArrow if is_open else arrows.RightArrow)
        folded.setVisible(is_open)

    button.toggled.connect(unfold)
    unfold(False)
    return button
