"""Palette files as labels layers in their colors, other files as napari has them.

napari calls `get_reader` for names like ``cells.kmeans.png``, which the writer gives.
`read_palette_file` reads a palette file of any name. A file that only has such a name
is left to napari's own reader.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import npe2
import numpy as np
from napari.layers import Labels
from napari.types import LayerDataTuple

from napari_kmeans import read_indexed, read_metadata
from napari_kmeans._files.formats import Refused
from napari_kmeans._napari.layers import Look, labels_colormap, rgba_of
from napari_kmeans._napari.record import Record, metadata_with
from napari_kmeans._napari.table import cluster_table
from napari_kmeans._napari.writer import PALETTE_MARK, says_palette

__all__ = ["get_reader", "read_palette_file"]


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[Any]]:
    """Return what opens files, those that their names say to be palette files so."""
    del path
    return _read


def _read(path: str | list[str]) -> list[Any]:
    """Read palette files, a layer each, or whatever napari makes of the files."""
    paths = [path] if isinstance(path, str) else path
    if all(map(says_palette, paths)):
        try:
            return [read_palette_file(one) for one in paths]
        except ValueError as error:
            # What is damaged is nobody's, what has no palette is napari's.
            if not isinstance(error.__cause__, Refused):
                raise
    # Several files were asked for as one stack.
    return npe2.read(paths, stack=not isinstance(path, str), plugin_name="napari")


def read_palette_file(path: str) -> LayerDataTuple:
    """Describe the labels layer that a file with a palette is.

    Raises
    ------
    ValueError
        If the file holds no palette, or is damaged.
    OSError
        If it cannot be read.
    """
    labels, palette = read_indexed(path)
    numbers = labels.astype(np.min_scalar_type(len(palette)))
    numbers += 1
    counts = np.bincount(labels.ravel(), minlength=len(palette))
    record = Record(palette=palette, counts=counts, look=Look(is_rgb=True))
    attributes = _places(path) | {"opacity": 1.0, "metadata": metadata_with(record)}
    colors = rgba_of(palette, Look(is_rgb=True))
    attributes["colormap"] = labels_colormap(colors)
    attributes["features"] = cluster_table(Labels(numbers, **attributes))
    return LayerDataTuple((numbers, attributes, "labels"))


def _places(path: str) -> dict[str, Any]:
    """Return a name, and the size of pixels if the file has it."""
    places: dict[str, Any] = {"name": Path(path).stem.removesuffix(PALETTE_MARK)}
    metadata = read_metadata(path)
    # What a photo says in inches is meant for printers.
    units = set(metadata.units) - {"pixel", "inch"}
    axes = [i for i, axis in enumerate(metadata.axes) if axis != "S"]
    if units and "inch" not in metadata.units:
        places["scale"] = tuple(metadata.scale[i] for i in axes)
        places["units"] = tuple(metadata.units[i] for i in axes)
        places["axis_labels"] = tuple(metadata.axes[i].lower() for i in axes)
    return places
