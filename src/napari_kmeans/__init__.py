"""Compress images by k-means on their colors."""

from importlib.metadata import version

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

__version__ = version("napari-kmeans")
