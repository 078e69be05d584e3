"""Images that are read piece by piece, at one level of detail or several.

A `Pyramid` is what a store of zarr or a slide is opened as, by `ome_zarr` and `slides`.
`lazy_image` makes the full resolution an `ImageFile` of dask, which everything takes
that takes one of NumPy. `boxes` cuts a level into the pieces that are worth a task.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from napari_kmeans._files.formats import refuse
from napari_kmeans._files.metadata import ImageMetadata, with_axes
from napari_kmeans._files.read import ImageFile

__all__ = ["Pyramid", "Region", "boxes", "lazy_image", "without"]

# Where some pixels are in a level.
Region: TypeAlias = tuple[slice, ...]
# Bytes that a task reads at once, if what a file stores as one piece is not larger:
# 5 megapixels of RGB.
_BOX = 16 << 20
# Pieces that a file may claim to have, 16 terabytes in all, and bytes of one.
_MOST_PIECES, _MOST_BYTES = 1 << 20, 1 << 32


class Pyramid(NamedTuple):
    """An image in a file or a store, of which no pixel is read yet."""

    # From the full resolution on. Each has shape, dtype and chunks, as arrays of zarr
    # do, is read by slices, in any thread, and can be sent to other processes.
    levels: tuple[Any, ...]
    # Of the full resolution; its axes are those of the levels.
    metadata: ImageMetadata
    # What a store says of the image, which one made of it says, too.
    attributes: dict[str, Any]

    @property
    def channel_axis(self) -> int | None:
        """The axis of a pixel's numbers; None if each is a single one."""
        axes = self.metadata.axes
        found = [axes.index(letter) for letter in "SC" if letter in axes]
        return found[0] if found else None


def lazy_image(pyramid: Pyramid) -> ImageFile:
    """Return the full resolution as an image of dask, channels last.

    Raises Refused if its pieces are too many, or one is too large to be read.
    """
    import dask.array as da

    level, axis = pyramid.levels[0], pyramid.channel_axis
    box = _box(level, axis)
    sides = zip(level.shape, box, strict=True)
    n_pieces = math.prod(-(-n // side) for n, side in sides)
    n_bytes = math.prod(box) * level.dtype.itemsize
    if n_pieces > _MOST_PIECES or n_bytes > _MOST_BYTES:
        pieces = f"{n_pieces:,} pieces of {n_bytes:,} bytes"
        refuse(f"too many pixels: {level.shape}, in {pieces}; store it in other chunks")
    pixels = da.from_array(level, chunks=box, name=False)
    pixels = pixels.astype(level.dtype.newbyteorder("="))
    if axis is not None:
        pixels = da.moveaxis(pixels, axis, -1)
    metadata = pyramid.metadata
    if "S" in metadata.axes:
        metadata = with_axes(metadata, metadata.axes.replace("S", "") + "S")
    return ImageFile(pixels, axis is not None, False, metadata)


def boxes(level: Any, channel_axis: int | None) -> Iterator[Region]:
    """Cut a level into boxes of whole shards or chunks, with all channels of a pixel.

    Only at the end of an axis, a box has a part of a shard, as the level itself does.
    """
    shape = _box(level, channel_axis)
    sides = [
        [slice(start, min(start + step, n)) for start in range(0, n, step)]
        for n, step in zip(level.shape, shape, strict=True)
    ]
    yield from itertools.product(*sides)


def without(values: Iterable[Any], axis: int | None) -> tuple[Any, ...]:
    """Return what there is for each axis but one."""
    return tuple(value for i, value in enumerate(values) if i != axis)


def _box(level: Any, channel_axis: int | None) -> tuple[int, ...]:
    """Return the shape of the boxes of a level: several of its pieces along an axis."""
    pieces = list(getattr(level, "shards", None) or level.chunks)
    box = [min(n, piece) for n, piece in zip(level.shape, pieces, strict=True)]
    if channel_axis is not None:
        box[channel_axis] = level.shape[channel_axis]

    def is_whole(axis: int) -> bool:
        return bool(box[axis] >= level.shape[axis])

    while not all(map(is_whole, range(len(box)))):
        # Squares of rows and columns first, then planes.
        axes = [axis for axis in range(len(box)) if not is_whole(axis)][-2:]
        axis = min(axes[::-1], key=box.__getitem__)
        larger = min(2 * box[axis], level.shape[axis])
        if level.dtype.itemsize * math.prod(box) // box[axis] * larger > _BOX:
            break
        box[axis] = larger
    return tuple(box)
