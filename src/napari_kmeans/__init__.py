"""Compress images by k-means on their colors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_kmeans._core.color_counts import ColorCounts, TooManyColorsError
from napari_kmeans._core.fitting import IterationState, PaletteResult
from napari_kmeans._core.quantize import (
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._files.indexed import IndexedImage, read_indexed, write_indexed
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.palettes import read_palette, write_palette
from napari_kmeans._files.read import read_metadata

if TYPE_CHECKING:
    from napari_kmeans._napari.objects import separate_objects as separate_objects
    from napari_kmeans._napari.quantize_layer import quantize_layer as quantize_layer
    from napari_kmeans._napari.table import cluster_table as cluster_table

__all__ = [
    "ColorCounts",
    "ImageMetadata",
    "IndexedImage",
    "IterationState",
    "PaletteResult",
    "TooManyColorsError",
    "choose_k",
    "count_colors",
    "error_curve",
    "kmeans_palette",
    "map_to_palette",
    "quantize_kmeans",
    "read_indexed",
    "read_metadata",
    "read_palette",
    "write_indexed",
    "write_palette",
]

__version__: str

# Functions that need napari, and the module of each.
_OF_NAPARI = {
    "cluster_table": "napari_kmeans._napari.table",
    "quantize_layer": "napari_kmeans._napari.quantize_layer",
    "separate_objects": "napari_kmeans._napari.objects",
}


def __getattr__(name: str) -> Any:
    """Import what takes time, or needs napari, when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-kmeans")
    if name in _OF_NAPARI:
        return getattr(import_module(_OF_NAPARI[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names, with those that `import *` leaves out."""
    return [*__all__, *_OF_NAPARI]
