"""The docked widget: choose an image layer, press the button, get it in k colors."""

# Annotations stay real objects here: napari finds the parameter that wants the viewer
# by what it is annotated with.

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from magicgui.widgets import (
    CheckBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    Widget,
)
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QApplication,
    QColorDialog,
    QComboBox,
    QFrame,
    QInputDialog,
    QScrollArea,
    QSizePolicy,
    QSpacerItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_kmeans._core.quality import white_of
from napari_kmeans._napari.canvas import enter_canvas, grid_of
from napari_kmeans._napari.colors import hex_colors, parse_colors
from napari_kmeans._napari.computation import Outcome, Progress, quantize_source
from napari_kmeans._napari.controls import Controls
from napari_kmeans._napari.error_plot import ErrorPlot
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import quoted
from napari_kmeans._napari.names import shorten_choices
from napari_kmeans._napari.numbers import numbers_text
from napari_kmeans._napari.overlays import Highlight, Preview
from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.quantize_layer import Request, message_of
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Listed, Results
from napari_kmeans._napari.script import as_python
from napari_kmeans._napari.settings import Settings, default_preview
from napari_kmeans._napari.writer import file_size

__all__ = ["QuantizeWidget"]

_NO_PREVIEW = "No preview"


class _Watcher(QObject):
    """Tell when a widget is hidden, and when its dock was closed."""

    def __init__(
        self, widget: QWidget, hidden: Callable[[], None], closed: Callable[[], None]
    ) -> None:
        super().__init__(widget)
        self._widget = widget
        self._hidden = hidden
        self._closed = closed
        widget.installEventFilter(self)

    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        kinds = QEvent.Type
        if event is None:
            return False
        # A minimized window hides its widgets, too; that event is spontaneous.
        if event.type() == kinds.Hide and not event.spontaneous():
            self._hidden()
        elif event.type() == kinds.ParentChange and self._widget.parent() is None:
            self._closed()
        return False


def _why_no_iteration(settings: Settings) -> str:
    """Say why there is no error to plot."""
    if settings.palette is not None:
        return "no iteration: the palette was given"
    if settings.iters == 0:
        return "no iteration was asked for"
    return "no iteration was needed"


def _unfolding(text: str, folded: QWidget) -> QToolButton:
    """Give a button that shows and hides a widget, which is hidden at first."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip("Show or hide how the colors are found")
    button.setCheckable(True)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def unfold(is_open: bool) -> None:
        arrows = Qt.ArrowType
        button.setArrowType(arrows.DownArrow if is_open else arrows.RightArrow)
        folded.setVisible(is_open)

    button.toggled.connect(unfold)
    unfold(False)
    return button


class QuantizeWidget(Container[Widget]):
    """Reduce an image layer to `k` colors while napari stays usable."""

    def __init__(self, viewer: Viewer) -> None:
        # napari hands out a proxy, whose layers are proxies too.
        self._viewer = getattr(viewer, "__wrapped__", viewer)
        self._request: Request | None = None
        self._job = Newest()
        self._measuring = Newest()
        self._recoloring: dict[str, Newest] = {}
        self._results = Results(self._viewer)
        self._highlight = Highlight(self._viewer, lambda: self._choose(None))
        # The layer whose palette is listed, the entry that stays highlighted, and
        # the one that is pointed at.
        self._listed: Layer | None = None
        self._kept: int | None = None
        self._pointed: int | None = None
        # What was found about each run, as it is shown.
        self._measured: dict[str, str] = {}

        self.controls = Controls(self._viewer)
        self.live = CheckBox(
            name="live",
            text="Live preview",
            value=default_preview(),
            tooltip="Show what is on the screen in its colors to be,\n"
            "while you choose. No layer is changed, and none stays.",
        )
        self.run = PushButton(
            name="run",
            text="Reduce colors",
            tooltip="Find the colors of all pixels of the image, and add the result",
        )
        self.cancel = PushButton(
            name="cancel",
            text="Cancel",
            tooltip="Stop, and leave all layers as they are",
            enabled=False,
        )
        self.progress = ProgressBar(
            name="progress", value=0, tooltip="Iterations made of those to be made"
        )
        self.status = Label(name="status", value="")
        self.numbers = Label(
            name="numbers",
            value="",
            tooltip="Of the result whose palette is listed. The squared error is that\n"
            "of the mean pixel, summed over channels. PSNR is the same in decibels:\n"
            "more is better, and from some 40 dB on hardly anyone sees a difference.\n"
            "The file is what File > Save Selected Layers writes as “palette file”.",
        )
        self.lock = PushButton(
            name="lock",
            text="Lock",
            tooltip="Keep the color that was clicked in the list\n"
            "in the palettes to come, under Locked colors",
            enabled=False,
        )
        self.copy_hex = PushButton(
            name="copy_hex",
            text="Copy as hex",
            tooltip="Put the colors of the list on the clipboard,\n"
            "one like #ff8000 in each line",
        )
        self.copy_python = PushButton(
            name="copy_python",
            text="Copy as Python",
            tooltip="Put a script on the clipboard that makes\n"
            "the layer again in napari's console",
        )
        self.more = _unfolding("More options", self.controls.more.native)
        self.plot = ErrorPlot()
        self.panel = PalettePanel()
        super().__init__()
        self._preview = Preview(
            self._viewer,
            self._collect,
            self._request_preview,
            self._preview_failed,
            self.native,
        )
        self._lay_out()
        self._connect()
        self._list_palette()
        self._toggle_preview()

    def _lay_out(self) -> None:
        """Put everything below the controls."""
        buttons = Container[Widget](
            widgets=[self.run, self.cancel], layout="horizontal", labels=False
        )
        copies = Container[Widget](
            widgets=[self.lock, self.copy_hex, self.copy_python],
            layout="horizontal",
            labels=False,
        )
        for row in (buttons, copies):
            row.margins = (0, 0, 0, 0)
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(4, 6, 4, 6)
        layout.addWidget(self.controls.native)
        layout.addWidget(self.more)
        layout.addWidget(self.controls.more.native)
        for widget in (self.live, buttons, self.progress, self.status):
            layout.addWidget(widget.native)
        layout.addWidget(self.plot)
        layout.addWidget(self.panel)
        for widget in (copies, self.numbers):
            layout.addWidget(widget.native)
        # The width that names of usual length want, and any height.
        policy = QSizePolicy.Policy
        layout.addItem(QSpacerItem(330, 0, policy.Preferred, policy.Expanding))
        scroll = QScrollArea()
        scroll.setWidget(page)
        scroll.setWidgetResizable(True)
        for box in page.findChildren(QComboBox):
            shorten_choices(box)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.margins = (0, 0, 0, 0)
        self.native.layout().addWidget(scroll)
        # Long names of layers are wrapped; they do not widen the dock.
        for label in (self.status.native, self.numbers.native):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setSizePolicy(policy.Ignored, policy.Minimum)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
        # What follows does not move while one line or two are told.
        n_pixels = 2 * self.status.native.fontMetrics().lineSpacing()
        self.status.native.setMinimumHeight(n_pixels)
        # As wide as the title of the dock.
        self.min_width = 300

    def _connect(self) -> None:
        """Let things happen."""
        self.run.changed.connect(self._start)
        self.cancel.changed.connect(self._cancel)
        self.lock.changed.connect(self._lock)
        self.copy_hex.changed.connect(self._copy_hex)
        self.copy_python.changed.connect(self._copy_python)
        self.live.changed.connect(self._toggle_preview)
        self.panel.pointed.connect(self._point)
        self.panel.chosen.connect(self._choose)
        self.panel.opened.connect(self._replace)
        for widget in (self.controls, self.controls.more):
            widget.changed.connect(self._request_preview)
        self._viewer.dims.events.current_step.connect(self._follow_dims)
        self._viewer.dims.events.order.connect(self._follow_dims)
        self._viewer.dims.events.ndisplay.connect(self._follow_dims)
        grid_of(self._viewer).events.enabled.connect(self._show_pixels)
        selection = self._viewer.layers.selection.events
        selection.changed.connect(self._follow_selection)
        self._viewer.layers.events.removing.connect(self._enter_canvas)
        self._viewer.layers.events.removed.connect(self._list_palette)
        # What is shown for a while goes with what it was asked for by.
        _Watcher(self.native, self._stop_overlays, self._cancel)
        self.native.destroyed.connect(self._leave)

    def reset_choices(self, *_: Any) -> None:
        """Follow the layers as they come, go, and change their names."""
        before = self.controls.source.value
        self.controls.reset_choices()
        if self.controls.source.value is not before:
            self._request_preview()

    def _leave(self) -> None:
        """Ask all threads to end and hear of nothing any more."""
        self._request = None
        for job in (self._job, self._measuring, *self._recoloring.values()):
            job.leave()
        self._preview.leave()
        events = self._viewer.dims.events
        for event in (events.current_step, events.order, events.ndisplay):
            event.disconnect(self._follow_dims)
        grid_of(self._viewer).events.enabled.disconnect(self._show_pixels)
        selection = self._viewer.layers.selection.events
        selection.changed.disconnect(self._follow_selection)
        self._viewer.layers.events.removing.disconnect(self._enter_canvas)
        self._viewer.layers.events.removed.disconnect(self._list_palette)
        self._highlight.hide()

    def _enter_canvas(self) -> None:
        enter_canvas(self.native)

    # The reduction.

    def _start(self) -> None:
        """Start the computation, unless one is running."""
        if self._job.is_busy:
            return
        try:
            request = self.controls.request()
        except ValueError as error:
            self._stop(str(error), show_error)
            return
        if request is None:
            self._stop("There is no image layer: open an image first.", show_warning)
            return
        self._request = request
        self._stop_measuring()
        self.run.enabled = False
        self.cancel.enabled = True
        self._show_done(0, 0)
        self.status.value = "Reading the layer"
        self.plot.clear(space=request.settings.color_space)
        self._job.start(
            partial(quantize_source, request.source, self._results.needed(request)),
            returned=self._add_result,
            failed=self._show_error,
            reported=self._show_progress,
        )

    def _cancel(self) -> None:
        """Forget the running computation; its thread ends by itself."""
        if self._job.is_busy:
            self._job.leave()
            self._stop_preview()
            self._stop("Cancelled; no layer was added.")

    def _stop(self, status: str, notify: Callable[[str], None] | None = None) -> None:
        """Be ready for the next computation and say how the last one ended."""
        self._request = None
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
        """Show how much is done, or that something is if it is not known how much."""
        # Bars without a length are drawn as busy.
        self.progress.native.setRange(0, n_most)
        self.progress.native.setValue(n_done)

    def _add_result(self, outcome: Outcome) -> None:
        request = self._request
        assert request is not None
        name = quoted(request.layers[0].name)
        if any(layer not in self._viewer.layers for layer in request.layers):
            status = f"{name} was removed meanwhile; no layer was added."
            self._stop(status, show_warning)
            return
        # Ready again first, for a layer that has changed its shape cannot be followed.
        self._stop(f"{name}: the result could not be added.")
        # Its colors are not those that are shown.
        self._stop_overlays()
        before = set(self._viewer.layers)
        layers = self._results.add(request, outcome)
        self._show_done(1, 1)
        if not self.plot.errors:
            self.plot.clear(_why_no_iteration(request.settings))
        names = " and ".join(quoted(layer.name) for layer in layers)
        done = "Updated" if before.issuperset(layers) else "Added"
        self.status.value = f"{done} {names}."
        self._list_palette(layers[-1])
        self.numbers.value = "Measuring"
        self._measure(layers)

    def _show_error(self, error: Exception) -> None:
        assert self._request is not None
        self._stop(message_of(error, self._request), show_error)

    def _measure(self, layers: list[Layer]) -> None:
        record = record_of(layers[-1])
        assert record is not None

        def tell(text: str) -> None:
            self._measured[record.run] = text
            listed = record_of(self._listed)
            if listed is not None and listed.run == record.run:
                self.numbers.value = text

        def returned(file: tuple[str, int] | None) -> None:
            tell(numbers_text(record, file))

        def failed(error: Exception) -> None:
            tell(f"The numbers could not be found: {error}")

        # Of the layer that would be saved.
        images = [layer for layer in layers if isinstance(layer, Image)]
        saved = images[0] if len(images) == 1 else layers[-1]
        described = saved.as_layer_data_tuple()
        self._measuring.start(
            lambda _: file_size(*described), returned=returned, failed=failed
        )

    def _stop_measuring(self) -> None:
        if self._measuring.is_busy:
            self._measuring.leave()
            self.numbers.value = ""

    # The preview.

    def _collect(self) -> Request | None:
        """Give what the preview is to show."""
        # What hindered the preview before is over, or will be told again.
        if self.status.value.startswith(_NO_PREVIEW):
            self.status.value = ""
        request = self.controls.request()
        return request if self.live.value else None

    def _toggle_preview(self) -> None:
        if self.live.value:
            self._preview.request()
        else:
            self._preview.stop()

    def _request_preview(self) -> None:
        if self.live.value and not self._job.is_busy:
            self._preview.request()

    def _stop_preview(self) -> None:
        """Let the layers be seen, and the user switch it on again."""
        self._preview.stop()
        self.live.value = False

    def _stop_overlays(self) -> None:
        self._stop_preview()
        self._choose(None)

    def _preview_failed(self, error: Exception, request: Request | None) -> None:
        # What the controls refuse is in words.
        text = str(error) if request is None else message_of(error, request)
        self.status.value = f"{_NO_PREVIEW}: {text}"

    def _follow_dims(self) -> None:
        self._request_preview()
        self._show_pixels()

    # The palette of the result that is looked at.

    def _follow_selection(self) -> None:
        active = self._viewer.layers.selection.active
        if record_of(active) is not None and active is not self._listed:
            self._list_palette(active)
        if self.controls.update_channels():
            self._request_preview()

    def _list_palette(self, layer: Any = None) -> None:
        """List the colors of a result, or of none once it was removed."""
        if not isinstance(layer, Layer):
            layer = self._listed
        if layer is not None and layer not in self._viewer.layers:
            layer = None
        if layer is not self._listed:
            self._choose(None)
        self._listed = layer
        listed = self._results.listed(layer)
        self.copy_hex.enabled = listed is not None
        is_told = listed is not None and listed.record.settings is not None
        self.copy_python.enabled = is_told
        if listed is None:
            self.panel.show_palette(np.empty((0, 4)), np.empty(0, dtype=np.int64))
            self.numbers.value = ""
            return
        self.panel.show_palette(listed.rgba, listed.record.counts)
        self.numbers.value = self._measured.get(listed.record.run, "")

    def _point(self, entry: int) -> None:
        """Show the pixels of the color that is pointed at, or of the chosen one."""
        self._pointed = entry if entry >= 0 else None
        self._show_pixels()

    def _choose(self, entry: int | None) -> None:
        """Keep showing the pixels of a color, until it is chosen again."""
        self._kept = None if entry == self._kept else entry
        self._pointed = None
        self.lock.enabled = self._kept is not None
        self.panel.mark(self._kept)
        self._show_pixels()

    def _show_pixels(self) -> None:
        """Show what is to be shown now, as it is now."""
        entry = self._kept if self._pointed is None else self._pointed
        layer, listed = self._listed, self._results.listed(self._listed)
        if entry is None or layer is None or listed is None:
            self._highlight.hide()
            return
        labels = self._results.labels_of(layer)
        if labels is not None:
            self._highlight.show(layer, labels, listed.rgba, listed.channels, entry)

    def _replace(self, entry: int) -> None:
        """Ask for another color and give it to the layers of the run."""
        layer, listed = self._listed, self._results.listed(self._listed)
        if layer is None or listed is None:
            return
        color = self._ask_color(listed, entry)
        if color is None:
            return
        # The error was that of the colors before.
        self._stop_measuring()
        self._measured.pop(listed.record.run, None)
        paint = self._results.recolor(layer, entry, color)
        self._list_palette(layer)
        self._show_pixels()
        if paint is not None:
            self._recoloring.setdefault(listed.record.run, Newest()).start(
                paint,
                returned=self._results.repaint,
                failed=lambda error: show_error(str(error)),
            )

    def _ask_color(self, listed: Listed, entry: int) -> NDArray[Any] | None:
        """Ask for a color in the units of a palette."""
        palette = listed.record.palette
        dtype, old = palette.dtype, palette[entry]
        if listed.is_rgb:
            options = QColorDialog.ColorDialogOption
            chosen = QColorDialog.getColor(
                QColor.fromRgbF(*map(float, listed.rgba[entry])),
                self.native,
                "Another color",
                options.ShowAlphaChannel if len(old) == 4 else options(0),
            )
            if not chosen.isValid():
                return None
            rgba = np.array(chosen.getRgbF()[: len(old)]) * white_of(dtype)
            return (np.rint(rgba) if dtype.kind in "iu" else rgba).astype(dtype)
        text, is_meant = QInputDialog.getText(
            self.native,
            "Another color",
            f"Values of {dtype}, one per channel",
            text=" ".join(map(str, np.atleast_1d(old))),
        )
        if not is_meant:
            return None
        try:
            colors = parse_colors(text, dtype, None if old.ndim == 0 else len(old))
            (color,) = colors
        except ValueError as error:
            show_error(str(error))
            return None
        return np.asarray(color)

    def _lock(self) -> None:
        """Add the chosen color to those that are locked."""
        listed = self._results.listed(self._listed)
        if listed is None or self._kept is None:
            return
        color = listed.record.palette[self._kept]
        text = " ".join(map(str, np.atleast_1d(color).tolist()))
        if listed.is_rgb and color.dtype == np.uint8:
            (text,) = hex_colors(listed.rgba[self._kept, np.newaxis])
        locked = [word for word in self.controls.fixed.value.split("; ") if word]
        if text not in locked:
            self.controls.fixed.value = "; ".join([*locked, text])

    def _copy_hex(self) -> None:
        self._copy("\n".join(self.panel.hexes), "The colors are on the clipboard.")

    def _copy_python(self) -> None:
        layer = self._listed
        if isinstance(layer, Image | Labels):
            script = as_python(layer, self._viewer.layers)
            self._copy(script, "The script is on the clipboard.")

    def _copy(self, text: str, status: str) -> None:
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)
        self.status.value = status
