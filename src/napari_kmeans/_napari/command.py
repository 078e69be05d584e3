"""The menu command that needs no widget."""

# Annotations stay real objects here: napari finds by them what to hand over.

from functools import partial
from typing import Any

from napari.layers import Image
from napari.utils import cancelable_progress
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_kmeans._napari.computation import Outcome, Progress, quantize_source
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import is_overlay, quoted
from napari_kmeans._napari.quantize_layer import (
    Request,
    add_layer,
    create_layers,
    message_of,
    prepare,
)
from napari_kmeans._napari.settings import default_settings

__all__ = ["quantize_active_layer"]

# Milliseconds between looks at the bar's Cancel button.
_PATIENCE = 50


def quantize_active_layer(viewer: Viewer) -> None:
    """Reduce the active image layer as the preferences say, and add the result."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    layer = viewer.layers.selection.active
    if not isinstance(layer, Image) or is_overlay(layer):
        show_warning("The active layer is not an image: choose an image layer first.")
        return
    try:
        request = prepare([layer], default_settings(), viewer=viewer)
    except ValueError as error:
        show_error(str(error))
        return
    _run(request, viewer)


def _run(request: Request, viewer: Viewer) -> None:
    """Compute in a thread, with a bar that has a Cancel button, and add the result."""
    layer = request.layers[0]
    # Nobody else holds it while it runs.
    job = Newest(QApplication.instance())

    bar: Any = cancelable_progress(
        total=max(1, request.settings.iters),
        desc=f"{layer.name} in {request.settings.k} colors",
    )
    # The bar's button only leaves a note.
    watch = QTimer(job)
    watch.start(_PATIENCE)

    def end() -> None:
        watch.stop()
        job.leave()
        bar.close()
        job.deleteLater()

    def look() -> None:
        if bar.is_canceled:
            end()
            show_info("Cancelled; no layer was added.")

    watch.timeout.connect(look)

    def reported(progress: Progress) -> None:
        if progress.n_most > 0:
            bar.update(progress.n_done - bar.n)

    def returned(outcome: Outcome) -> None:
        end()
        if layer not in viewer.layers:
            name = quoted(layer.name)
            show_warning(f"{name} was removed meanwhile; no layer was added.")
            return
        for made in create_layers(request, outcome):
            add_layer(viewer, made)
            show_info(f"Added {quoted(made.name)}.")

    def failed(error: Exception) -> None:
        end()
        show_error(message_of(error, request))

    job.start(
        partial(quantize_source, request.source, request.settings),
        returned=returned,
        failed=failed,
        reported=reported,
    )
