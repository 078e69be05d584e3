"""Counts of the last image, for another palette of the same pixels.

`KeptCounts` takes the place of `count_parts` where a widget lives longer than a
computation. It counts anew unless image, mask, and the settings that counts depend on
are the same. It holds no pixels.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np

from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.arrays import Array, Mask
from napari_kmeans._core.blocks import cut_boxes
from napari_kmeans._core.pixels import CountedImage
from napari_kmeans._napari.computation import count_parts
from napari_kmeans._napari.layers import Source
from napari_kmeans._napari.settings import Settings

__all__ = ["KeptCounts"]


class KeptCounts:
    """Count an image, unless it is the one that was counted last."""

    def __init__(self) -> None:
        # What was counted, and what was found. Replaced as one: threads may overlap.
        self._kept: tuple[list[Any], list[CountedImage]] = ([], [])

    def __call__(
        self, image: Array, mask: Mask | None, source: Source, settings: Settings
    ) -> list[CountedImage]:
        """Return what `count_parts` does."""
        arrays = source.levels[0] if is_lazy(image) else [image]
        how = settings.slice_axis, settings.color_space, source.has_alpha
        same = [(*how, source.channel_axis), *map(_known_by, (*arrays, mask))]
        kept, counts = self._kept
        is_same = len(kept) == len(same) and all(map(_are_same, kept, same))
        counted = count_parts(image, mask, source, settings, counts if is_same else ())
        found = [dataclasses.replace(one, images=[], masks=[]) for one in counted]
        self._kept = same, found
        return counted


def _known_by(array: Any) -> Any:
    """Return what tells whether an array is the same, as far as that is quick."""
    if isinstance(array, np.ndarray):
        return _checksum(array)
    # The name of a dask array stands for all that it is made of.
    return array.name if is_lazy(array) else array


def _are_same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, str | tuple) and one == other)


def _checksum(array: Array) -> tuple[Any, ...]:
    """Return what tells whether pixels are the same, for a tenth of counting them."""
    number = 0
    for box in cut_boxes(array.shape, array.itemsize):
        number = zlib.crc32(np.ascontiguousarray(array[box]).data, number)
    return array.shape, array.dtype.str, number
