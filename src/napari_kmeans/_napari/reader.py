"""Palette files as layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.types import LayerDataTuple

from napari_kmeans import read_indexed, read_metadata
from napari_kmeans._files.read import read_image
from napari_kmeans._napari.computation import shown_as
from napari_kmeans._napari.layers import Look, rgba_of
from napari_kmeans._napari.record import Record, metadata_with

__all__ = ["get_reader"]


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[LayerDataTuple]]:
    """Return what opens image files, those with a palette as labels in its colors."""
    del path
    return _read


def _read(path: str | list[str]) -> list[LayerDataTuple]:
    """Read one file or several, a layer each."""
    paths = [path] if isinstance(path, str) else path
    return [_read_file(one) for one in paths]


def _read_file(path: str) -> LayerDataTuple:
    """Describe the layer that a file is."""
    try:
        labels, palette = read_indexed(path)
    except ValueError:
        # It has no palette: whoever opens all files this way gets the image.
        file = read_image(path)
        is_rgb = file.has_channels and file.pixels.shape[-1] in (3, 4)
        attributes = {"name": Path(path).stem, "rgb": is_rgb}
        return LayerDataTuple((file.pixels, attributes, "image"))
    numbers = labels.astype(np.min_scalar_type(len(palette)))
    numbers += 1
    counts = np.bincount(labels.ravel(), minlength=len(palette))
    record = Record(palette=palette, counts=counts, look=Look(is_rgb=True))
    attributes = shown_as(record, rgba_of(palette, Look(is_rgb=True)))
    attributes |= {"opacity": 1.0, "metadata": metadata_with(record)}
    return LayerDataTuple((numbers, attributes | _places(path), "labels"))


def _places(path: str) -> dict[str, Any]:
    """Return a name, and the size of pixels if the file has it."""
    places: dict[str, Any] = {"name": Path(path).stem}
    metadata = read_metadata(path)
    # What a photo says in inches is meant for printers.
    units = set(metadata.units) - {"pixel", "inch"}
    axes = [i for i, axis in enumerate(metadata.axes) if axis != "S"]
    if units and "inch" not in metadata.units:
        places["scale"] = tuple(metadata.scale[i] for i in axes)
        places["units"] = tuple(metadata.units[i] for i in axes)
        places["axis_labels"] = tuple(metadata.axes[i].lower() for i in axes)
    return places
