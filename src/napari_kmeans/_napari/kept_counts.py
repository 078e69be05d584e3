"""Counts of the last image, for another palette of the same pixels.

`KeptCounts` takes the place of `count_parts` where a widget lives longer than a
computation: its runs and its preview count for each other. It counts anew unless image,
mask, and the settings that counts depend on are the same. It holds no pixels.
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

__all__ = ["KeptCounts", "counted_as", "without_pixels"]


class KeptCounts:
    """Count an image, unless it is the one that was counted last."""

    def __init__(self) -> None:
        # What was counted, and what was found. Replaced as one: threads may overlap.
        self._kept: tuple[list[Any], list[CountedImage]] = ([], [])

    def __call__(
        self, image: Array, mask: Mask | None, source: Source, settings: Settings
    ) -> list[CountedImage]:
        """Return what `count_parts` does."""
        same = _identity(image, mask, source, settings)
        kept, counts = self._kept
        known = counts if _are_same(kept, same) else ()
        counted = count_parts(image, mask, source, settings, known)
        self._kept = same, without_pixels(counted)
        return counted

    def has(
        self, image: Array, mask: Mask | None, source: Source, settings: Settings
    ) -> bool:
        """Whether it is the image that was counted last."""
        return _are_same(self._kept[0], _identity(image, mask, source, settings))


def counted_as(source: Source, settings: Settings) -> tuple[Any, ...]:
    """Return what counts depend on besides the pixels and the mask."""
    how = settings.slice_axis, settings.color_space
    return *how, source.has_alpha, source.channel_axis


def without_pixels(counts: list[CountedImage]) -> list[CountedImage]:
    """Return counts that do not keep an image alive."""
    return [dataclasses.replace(one, images=[], masks=[]) for one in counts]


def _identity(
    image: Array, mask: Mask | None, source: Source, settings: Settings
) -> list[Any]:
    """Return what tells whether counts would be the same."""
    arrays = source.levels[0] if is_lazy(image) else [image]
    return [counted_as(source, settings), *map(_known_by, (*arrays, mask))]


def _known_by(array: Any) -> Any:
    """Return what tells whether an array is the same, as far as that is quick."""
    if isinstance(array, np.ndarray):
        return _checksum(array)
    # The name of a dask array stands for all that it is made of.
    return array.name if is_lazy(array) else array


def _are_same(some: list[Any], others: list[Any]) -> bool:
    """Whether both stand for the same image."""
    return len(some) == len(others) and all(
        one is other or (isinstance(one, str | tuple) and one == other)
        for one, other in zip(some, others, strict=True)
    )


def _checksum(array: Array) -> tuple[Any, ...]:
    """Return what tells whether pixels are the same, for a tenth of counting them."""
    number = 0
    for box in cut_boxes(array.shape, array.itemsize):
        number = zlib.crc32(np.ascontiguousarray(array[box]).data, number)
    return array.shape, array.dtype.str, number
