"""The docked widget: choose an image layer, press the button, get it in k colors."""

# Annotations stay real objects here: napari finds the parameter that wants the viewer,
# and magicgui the layers to choose from, by what they are annotated with.

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from magicgui.widgets import (
    ComboBox,
    Container,
    Label,
    ProgressBar,
    PushButton,
    SpinBox,
    Widget,
    create_widget,
)
from napari.layers import Image, Layer
from napari.qt.threading import WorkerBase, WorkerBaseSignals
from napari.types import LayerDataTuple
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QSizePolicy

from napari_kmeans import IterationState, quantize_kmeans

__all__ = ["QuantizeWidget", "describe_result"]

# What places a layer in space, and what makes it look as it does.
_KEPT_ATTRIBUTES = (
    "scale",
    "translate",
    "rotate",
    "shear",
    "affine",
    "units",
    "axis_labels",
    "rgb",
    "colormap",
    "contrast_limits",
    "gamma",
    "opacity",
    "blending",
    "interpolation2d",
    "interpolation3d",
    "rendering",
    "iso_threshold",
    "attenuation",
)


def describe_result(source: Image, quantized: NDArray[Any], k: int) -> LayerDataTuple:
    """Describe the layer that shows `source` in `k` colors, lying exactly on it."""
    _, attributes, _ = source.as_layer_data_tuple()
    kept = {name: attributes[name] for name in _KEPT_ATTRIBUTES}
    colors = "color" if k == 1 else "colors"
    return LayerDataTuple(
        (quantized, kept | {"name": f"{source.name} in {k} {colors}"}, "image")
    )


class QuantizeWidget(Container[Widget]):
    """Reduce an image layer to `k` colors while napari stays usable."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._request: _Request | None = None
        self._worker: _QuantizeWorker | None = None
        source = create_widget(name="source", label="Image", annotation=Image)
        self.source = cast("ComboBox", source)
        self.k = SpinBox(name="k", label="Colors (k)", value=16, min=1, max=65536)
        self.iters = SpinBox(name="iters", label="Iterations", value=10, max=10_000)
        self.run = PushButton(name="run", text="Reduce colors")
        self.cancel = PushButton(name="cancel", text="Cancel", enabled=False)
        self.progress = ProgressBar(name="progress", value=0)
        self.status = Label(name="status", value="")
        choices = Container[Widget](widgets=[self.source, self.k, self.iters])
        buttons = Container[Widget](
            widgets=[self.run, self.cancel], layout="horizontal", labels=False
        )
        super().__init__(
            widgets=[choices, buttons, self.progress, self.status], labels=False
        )
        # Long names of layers are wrapped; they do not widen the dock.
        self.status.native.setWordWrap(True)
        policy = QSizePolicy.Policy
        self.status.native.setSizePolicy(policy.Ignored, policy.MinimumExpanding)
        self.status.native.setAlignment(Qt.AlignmentFlag.AlignTop)
        # As wide as the title of the dock.
        self.min_width = 300

        self.run.changed.connect(self._start)
        self.cancel.changed.connect(self._cancel)
        self.native.destroyed.connect(self._leave_worker)

    def _start(self) -> None:
        """Start the computation, unless one is running."""
        if self._worker is not None:
            return
        source = self.source.value
        if source is None:
            self._stop("There is no image layer: open an image first.", show_warning)
            return
        request = _Request(source, self.k.value, self.iters.value)
        worker = _QuantizeWorker(request)
        worker.iterated.connect(partial(self._show_progress, request))
        worker.returned.connect(partial(self._add_result, request))
        worker.errored.connect(partial(self._show_error, request))
        self._request, self._worker = request, worker
        self.run.enabled = False
        self.cancel.enabled = True
        # A bar of length 0 would be drawn as busy for ever.
        self.progress.max = max(request.iters, 1)
        self.progress.value = 0
        self.status.value = "Counting colors"
        worker.start()

    def _cancel(self) -> None:
        """Forget the running computation; its thread ends by itself."""
        if self._worker is not None:
            self._stop("Cancelled; no layer was added.")

    def _leave_worker(self) -> None:
        """Ask the worker to end, and ignore what it still sends."""
        if self._worker is not None:
            self._worker.quit()
        self._request = self._worker = None

    def _stop(self, status: str, notify: Callable[[str], None] | None = None) -> None:
        """Be ready for the next computation and say how the last one ended."""
        self._leave_worker()
        self.run.enabled = True
        self.cancel.enabled = False
        self.status.value = status
        if notify is not None:
            notify(status)

    # What a worker sends may arrive after it was left or the window was closed.

    def _show_progress(self, request: "_Request", state: IterationState) -> None:
        if request is self._request:
            self.progress.value = state.n_iter
            self.status.value = (
                f"Iteration {state.n_iter} of at most {request.iters}, "
                f"mean squared error {state.mse:.4g}"
            )

    def _add_result(self, request: "_Request", quantized: NDArray[Any]) -> None:
        if request is not self._request:
            return
        if request.source not in self._viewer.layers:
            status = f"{request.source.name} was removed meanwhile; no layer was added."
            self._stop(status, show_warning)
            return
        # Ready again first, for a layer that has changed its shape cannot be followed.
        self._stop(f"{request.source.name}: the result could not be added.")
        # The viewer gives the layer another name where this one is taken.
        result = Layer.create(*describe_result(request.source, quantized, request.k))
        self._viewer.add_layer(result)
        self.progress.value = self.progress.max
        self.status.value = f"Added “{result.name}”."

    def _show_error(self, request: "_Request", error: Exception) -> None:
        if request is self._request:
            self._stop(f"{request.source.name}: {error}", show_error)


class _Request(NamedTuple):
    """What a computation was asked for, and which one it is."""

    source: Image
    k: int
    iters: int


class _Cancelled(Exception):
    """Carries a request to stop out of the computation."""


class _QuantizeSignals(WorkerBaseSignals):
    iterated = Signal(object)


class _QuantizeWorker(WorkerBase[NDArray[Any] | None]):
    """One computation in a thread of its own."""

    def __init__(self, request: _Request) -> None:
        super().__init__(SignalsClass=_QuantizeSignals)
        source = request.source
        self._image = source.data[0] if source.multiscale else source.data
        self._channel_axis = -1 if source.rgb else None
        self._k = request.k
        self._iters = request.iters

    def work(self) -> NDArray[Any] | None:
        try:
            return quantize_kmeans(
                # Lazy layers are read here, away from the window's thread.
                np.asarray(self._image),
                self._k,
                self._iters,
                channel_axis=self._channel_axis,
                callback=self._report,
            )
        except _Cancelled:
            return None

    def _report(self, state: IterationState) -> None:
        if self.abort_requested:
            raise _Cancelled
        self.iterated.emit(state)
