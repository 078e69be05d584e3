"""Compress images by k-means on their colors."""

from importlib.metadata import version
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
    from napari_kmeans._napari.quantize_layer import quantize_layer as quantize_layer

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


def __getattr__(name: str) -> Any:
    """Import what needs napari when it is asked for, and not with the package."""
    if name == "quantize_layer":
        from napari_kmeans._napari.quantize_layer import quantize_layer

        return quantize_layer
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names, with the one that `import *` leaves out."""
    return [*__all__, "quantize_layer"]
