"""The pixels of images that a palette is fitted to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._core.arguments import NoFinitePixelError
from napari_kmeans._core.cells import MAX_CELL_CHANNELS
from napari_kmeans._core.color_counts import (
    ColorCounts,
    count_all,
    cut_rows,
    finite_pixels,
    masked_parts,
    pixel_blocks,
)
from napari_kmeans._core.pixels import PointSource, counted_source, pixel_source
from napari_kmeans._core.spaces import Space, points_of, space_of, whole_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_kmeans._core.arguments import Layout

__all__ = ["FittedPixels", "Sample", "sample_pixels"]

# Fully transparent pixels whose colors are told apart, where colors are not counted.
_MOST_UNSEEN = 1 << 20
# Pixels that are looked at once.
_BLOCK = 1 << 18
# Pixels that are sorted into cells where their colors are not counted.
_MOST_IN_CELLS = 1 << 22


class FittedPixels(NamedTuple):
    """Pixels that are finite, not fully transparent and not masked out, one or more."""

    # Their colors, if there are not too many; and blocks (m, C) of all of them.
    counted: ColorCounts | None
    blocks: Callable[[], Iterator[NDArray[Any]]]
    # Where their colors are points, and what k-means asks of these.
    space: Space
    source: PointSource


class Sample(NamedTuple):
    """What is known of the pixels of images."""

    layout: Layout
    # None if all are fully transparent.
    fitted: FittedPixels | None
    # The commonest color (1, C) of those that are fully transparent, or none (0, C).
    unseen: NDArray[Any]


def sample_pixels(
    images: list[NDArray[Any]],
    masks: list[NDArray[np.bool_] | None],
    layout: Layout,
) -> Sample:
    """Count the pixels of images (..., C) of one layout, where their masks are True."""

    def parts() -> Iterator[NDArray[Any]]:
        for image, mask in zip(images, masks, strict=True):
            yield from [image] if mask is None else masked_parts(image, mask)

    def blocks() -> Iterator[NDArray[Any]]:
        for part in parts():
            for _, block in pixel_blocks(part):
                colors = finite_pixels(block)
                if layout.has_alpha:
                    colors = colors[colors[:, -1] > 0]
                if len(colors):
                    yield colors

    counted = count_all(parts())
    unseen = np.empty((0, layout.n_channels), layout.dtype)
    if layout.has_alpha:
        found = counted or _count_unseen(parts)
        is_unseen = found.colors[:, -1] <= 0
        if is_unseen.any():
            # The first on a tie.
            commonest = np.where(is_unseen, found.counts, 0).argmax()
            unseen = found.colors[commonest : commonest + 1]
        if counted is not None:
            counted = ColorCounts(*(column[~is_unseen] for column in counted))
    if counted is None:
        return Sample(layout, _fitted(None, blocks, layout), unseen)
    if len(counted.colors):
        return Sample(layout, _fitted(counted, blocks, layout), unseen)
    if len(unseen):
        return Sample(layout, None, unseen)
    msg = "image must have a finite pixel, got none"
    raise NoFinitePixelError(msg)


def _fitted(
    counted: ColorCounts | None,
    blocks: Callable[[], Iterator[NDArray[Any]]],
    layout: Layout,
) -> FittedPixels:
    if counted is None:
        space = space_of(layout.space, layout.has_alpha, blocks)
        locate = functools.partial(points_of, space=space)
        source = pixel_source(lambda: map(locate, blocks()), whole_bits(space))
        if _fit_cells(blocks, space):
            # Cells of the pixels themselves spare most of the comparisons.
            points = np.concatenate([locate(block) for block in blocks()])
            ones = np.ones(len(points), np.uint8)
            in_cells = counted_source(points, ones, whole_bits(space))
            source = in_cells._replace(coarse=source.coarse)
    else:
        colors, counts = counted
        space = space_of(layout.space, layout.has_alpha, lambda: iter([colors]))
        source = counted_source(points_of(colors, space), counts, whole_bits(space))
    return FittedPixels(counted, blocks, space, source)


def _fit_cells(blocks: Callable[[], Iterator[NDArray[Any]]], space: Space) -> bool:
    """Whether pixels are few, and their points small whole numbers, whose sums fit."""
    n_channels = len(space.frame.origin)
    if not 0 < whole_bits(space) <= 16 or n_channels > MAX_CELL_CHANNELS:
        return False
    return sum(len(block) for block in blocks()) <= _MOST_IN_CELLS


def _count_unseen(parts: Callable[[], Iterator[NDArray[Any]]]) -> ColorCounts:
    """Count the fully transparent colors, or none if they are too many."""

    def unseen() -> Iterator[NDArray[Any]]:
        for part in parts():
            n_more = _MOST_UNSEEN
            for box in cut_rows(part.shape[:-1], _BLOCK):
                pixels = part[box]
                pixels = pixels[pixels[..., -1] <= 0][:n_more]
                n_more -= len(pixels)
                if len(pixels):
                    yield pixels
                if n_more == 0:
                    break

    found = count_all(unseen())
    if found is None:
        return ColorCounts(np.empty((0, 1)), np.empty(0, dtype=np.int64))
    return found
