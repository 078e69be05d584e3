"""The napari plugin."""

from napari_kmeans._napari.command import quantize_active_layer
from napari_kmeans._napari.reader import get_reader
from napari_kmeans._napari.sample_data import (
    fluorescence,
    photo,
    stained_section,
    volume,
)
from napari_kmeans._napari.widget import QuantizeWidget
from napari_kmeans._napari.writer import write_image, write_labels

__all__ = [
    "QuantizeWidget",
    "fluorescence",
    "get_reader",
    "photo",
    "quantize_active_layer",
    "stained_section",
    "volume",
    "write_image",
    "write_labels",
]
