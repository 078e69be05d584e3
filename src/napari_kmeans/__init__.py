"""Compress images by k-means on their colors."""

from importlib.metadata import version

from napari_kmeans._image_files import read_metadata
from napari_kmeans._image_metadata import ImageMetadata
from napari_kmeans._indexed_files import IndexedImage, read_indexed, write_indexed
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
    "ImageMetadata",
    "IndexedImage",
    "IterationState",
    "PaletteResult",
    "choose_k",
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
