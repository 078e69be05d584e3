"""The menu commands that need no widget."""

# Annotations stay real objects here: napari finds by them what to hand over.

from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from napari.utils import cancelable_progress
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_kmeans._files.formats import INDEXED_SUFFIXES
from napari_kmeans._napari.axes import called_channels
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import is_overlay, quoted
from napari_kmeans._napari.quantize_layer import (
    add_layer,
    message_of,
    quantize_layer,
)
from napari_kmeans._napari.reader import read_palette_file
from napari_kmeans._napari.settings import default_settings

__all__ = ["open_palette_file", "quantize_active_layer"]

# Milliseconds between looks at the bar's Cancel button.
_PATIENCE = 50


def open_palette_file(viewer: Viewer) -> None:
    """Ask for palette files, and add each as a labels layer in its colors."""
    kinds = f"Palette files (*{' *'.join(INDEXED_SUFFIXES)})"
    window = QApplication.activeWindow()
    paths, _ = QFileDialog.getOpenFileNames(window, "Open palette file", filter=kinds)
    for path in paths:
        name = quoted(Path(path).name)
        try:
            layer = Layer.create(*read_palette_file(path))
        except ValueError as error:
            fault = error.__cause__ or error
            show_error(f"{name} has no palette to show: {fault}")
        except OSError as error:
            show_error(f"{name} cannot be read: {error.strerror}")
        else:
            viewer.add_layer(layer)


def quantize_active_layer(viewer: Viewer) -> None:
    """Run k-means on the active image layer as the preferences say, and add the result.

    Channels are those of RGB, or along the axis that is called like channels. They
    count as they are shown, as in the widget.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    layer = viewer.layers.selection.active
    if not isinstance(layer, Image) or is_overlay(layer):
        show_warning("The active layer is not an image: choose an image layer first.")
        return
    _start(layer, viewer)


def _start(layer: Image, viewer: Viewer) -> None:
    """Call `quantize_layer` in a thread, with a bar that has a Cancel button."""
    chosen = default_settings()
    bar: Any = cancelable_progress(
        total=max(1, chosen.iters), desc=f"{layer.name} in {chosen.k} colors"
    )
    # Nobody else holds it while it runs.
    job = Newest(QApplication.instance())
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

    def returned(layers: list[Layer]) -> None:
        end()
        if layer not in viewer.layers:
            name = quoted(layer.name)
            show_warning(f"{name} was removed meanwhile; no layer was added.")
            return
        for made in layers:
            add_layer(viewer, made)
            show_info(f"Added {quoted(made.name)}.")

    def failed(error: Exception) -> None:
        end()
        show_error(message_of(error, layer))

    watch.timeout.connect(look)
    settings: dict[str, Any] = {
        **{name: getattr(chosen, name) for name in ("k", "iters", "output", "init")},
        "channel_axis": None if layer.rgb else called_channels(layer),
        "channel_weights": "contrast",
    }
    job.start(
        lambda report: quantize_layer(layer, **settings, callback=report),
        returned=returned,
        failed=failed,
        reported=lambda progress: bar.update(progress.n_done - bar.n),
    )
