"""The napari plugin."""

from napari_kmeans._napari._command import quantize_active_layer
from napari_kmeans._napari._sample_data import (
    fluorescence,
    photo,
    stained_section,
    volume,
)
from napari_kmeans._napari._widget import QuantizeWidget

__all__ = [
    "QuantizeWidget",
    "fluorescence",
    "photo",
    "quantize_active_layer",
    "stained_section",
    "volume",
]
