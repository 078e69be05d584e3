"""Compress images by k-means on their colors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from napari_kmeans._napari.objects import separate_objects as separate_objects
    from napari_kmeans._napari.quantize_layer import quantize_layer as quantize_layer
    from napari_kmeans._napari.table import cluster_table as cluster_table

    __version__: str

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

# Public names and their modules, which are imported when a name is asked for: some need
# napari, and the command can be ended in one line also while the others are loaded.
_MODULE_OF = {
    "ColorCounts": "_core.color_counts",
    "ImageMetadata": "_files.metadata",
    "IndexedImage": "_files.indexed",
    "IterationState": "_core.fitting",
    "PaletteResult": "_core.fitting",
    "TooManyColorsError": "_core.color_counts",
    "choose_k": "_core.quantize",
    "cluster_table": "_napari.table",
    "count_colors": "_core.quantize",
    "error_curve": "_core.quantize",
    "kmeans_palette": "_core.quantize",
    "map_to_palette": "_core.quantize",
    "quantize_kmeans": "_core.quantize",
    "quantize_layer": "_napari.quantize_layer",
    "read_indexed": "_files.indexed",
    "read_metadata": "_files.read",
    "read_palette": "_files.palettes",
    "separate_objects": "_napari.objects",
    "write_indexed": "_files.indexed",
    "write_palette": "_files.palettes",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, and not with the package."""
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-kmeans")
    if name in _MODULE_OF:
        return getattr(import_module(f"napari_kmeans.{_MODULE_OF[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names, with those that `import *` leaves out."""
    return [*_MODULE_OF, "__version__"]
