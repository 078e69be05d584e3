"""Compress images by k-means on their colors."""

from importlib.metadata import version

from napari_kmeans._palette_files import read_palette, write_palette
from napari_kmeans._quantize import (
    IterationState,
    PaletteResult,
    choose_k,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)

__all__ = [
    "IterationState",
    "PaletteResult",
    "choose_k",
    "error_curve",
    "kmeans_palette",
    "map_to_palette",
    "quantize_kmeans",
    "read_palette",
    "write_palette",
]

__version__ = version("napari-kmeans")
