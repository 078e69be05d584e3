"""Colors so far from all others that every good palette has each of them.

Such are the fill values of rasters and hot pixels. `set_apart` finds them and returns
the image without them: what is fitted to the rest is then as precise as if they were
not there. Outliers that are many, or near to each other, stay in the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.arrays import Array, Floats, Indices, Mask
from napari_kmeans._core.blocks import cut, cut_boxes
from napari_kmeans._core.chunks import map_chunks
from napari_kmeans._core.color_counts import count_pixels, in_order, trusted_counts
from napari_kmeans._core.hashing import lowest
from napari_kmeans._core.pixels import (
    CountedImage,
    fold_image,
    is_fitted,
    seen_colors,
)
from napari_kmeans._core.quality import are_seen
from napari_kmeans._core.spaces import Space, points_of

__all__ = ["Apart", "set_apart"]

# Most colors that are set apart.
_MOST = 256
# No gap is smaller than so many times what all others differ from their middle.
_LEAST_GAP = 4
# Distinct colors that show where the middle of all is.
_SAMPLE = 1 << 12


class Apart(NamedTuple):
    """An image without its far colors, and these (m, C) with their pixels (m,)."""

    rest: CountedImage
    colors: Array
    counts: Array
    # Where the fitted colors of the rest and the far ones (n,) were among all fitted
    # ones, if colors were counted.
    places: Indices | None


class _Ball(NamedTuple):
    """Points within a distance, by their largest coordinate, of a center (D,)."""

    center: Floats
    radius: float


def set_apart(image: CountedImage, space: Space) -> Apart | None:
    """Part an image from the farthest colors that the best palette keeps apart.

    Others may be set apart from the rest in turn, if the palette has room for them.
    None if no color is so far.

    Of n pixels in D coordinates, all but those of far colors lie within r of a center
    in each coordinate. A far color of w pixels is farther than
    ``s = 4 sqrt(n D / w) r`` from these, and from each other far one of as many. Let it
    share a palette color with some of the others: then the error is at least s^2 / 2
    for each pixel of these or of it, whichever are fewer. A color of its own, at the
    price of one for the rest, costs these at most 4 D r^2 each, which is less.
    """
    for ball in _balls(image, space):
        parted = _apart_in_pixels if image.counted is None else _apart_in_colors
        if (apart := parted(image, space, ball)) is not None:
            return apart
    return None


def _apart_in_colors(image: CountedImage, space: Space, ball: _Ball) -> Apart | None:
    """Part an image whose colors are counted."""
    counted, layout = image.counted, image.layout
    if counted is None:
        return None
    colors, counts = counted.colors, counted.counts
    fitted = is_fitted(counted, layout)
    is_far = np.zeros(len(colors), dtype=bool)
    is_far[fitted] = _are_far(colors[fitted], space, ball)
    n_pixels = int(counts[fitted].sum())
    if not _are_apart(colors[is_far], counts[is_far], n_pixels, space, ball):
        return None
    others = np.flatnonzero(~is_far)
    # In the order of an image that never had the far ones, to get the same bits.
    values = np.column_stack((counts[others], others))
    ordered, values = in_order(colors[others], values)
    rest = trusted_counts(ordered, values[:, 0])
    others = values[is_fitted(rest, layout), 1]
    places = np.concatenate((others, np.flatnonzero(is_far)))
    ranks = np.cumsum(fitted) - 1
    alone = CountedImage([], [], layout, rest)
    return Apart(alone, colors[is_far], counts[is_far], ranks[places])


def _apart_in_pixels(image: CountedImage, space: Space, ball: _Ball) -> Apart | None:
    """Part an image whose colors are not counted."""
    near_masks: list[Mask | None] = []
    far_masks: list[Mask | None] = []
    for pixels, mask in zip(image.images, image.masks, strict=True):
        find = partial(_far_mask, space=space, ball=ball)
        is_far = map_chunks(pixels, find, bool) if is_lazy(pixels) else find(pixels)
        near_masks.append(~is_far if mask is None else mask & ~is_far)
        far_masks.append(is_far if mask is None else mask & is_far)
    found = count_pixels(image.images, far_masks)
    if found is None:
        return None
    colors, counts = found[0], found[1][:, 0]
    n_pixels = fold_image(image, _count_seen, lambda found: sum(found))
    if not _are_apart(colors, counts, n_pixels, space, ball):
        return None
    rest = CountedImage(image.images, near_masks, image.layout)
    return Apart(rest, colors, counts, None)


def _far_mask(pixels: Array, *_: object, space: Space, ball: _Ball) -> Mask:
    """Return which pixels (..., C) that can be seen are far."""
    is_far = np.zeros(pixels.shape[:-1], dtype=bool)
    for box in cut_boxes(is_far.shape, pixels.shape[-1] * pixels.itemsize):
        block = pixels[box].reshape(-1, pixels.shape[-1])
        block = block.astype(block.dtype.newbyteorder("="), copy=False)
        far = are_seen(block, space.layout.has_alpha)
        far[far] = _are_far(block[far], space, ball)
        is_far[box] = far.reshape(is_far[box].shape)
    return is_far


def _balls(image: CountedImage, space: Space) -> Iterator[_Ball]:
    """Yield balls from which some points are far, the largest ones first.

    All have the middle half of the points.
    """
    sample = _sample(image, space)
    half = len(sample) // 2
    center = np.sort(sample, axis=0)[half]
    radius = float(np.sort(_distances(sample, center))[half])
    dtype = space.layout.dtype
    if dtype.kind != "f" and 256.0**dtype.itemsize <= _LEAST_GAP * radius:
        return
    # Before a far point there is no other within a power of two and more. Negative
    # exponents are at the end.
    find = partial(_exponents, space, center)
    found = fold_image(image, find, lambda some: np.any(some, axis=0))
    exponents = np.arange(-1074, 512)
    for above, below in itertools.pairwise(exponents[found[exponents]][::-1].tolist()):
        if above > below + 1 and radius < 2.0**below:
            yield _Ball(center, 2.0**below)


def _exponents(space: Space, center: Floats, image: CountedImage) -> Mask:
    """Return which exponents the distances of points from a center have."""
    found = np.zeros(2048, dtype=bool)
    for colors in seen_colors(image):
        for block in cut(len(colors), 64):
            distances = _distances(points_of(colors[block], space), center)
            found[np.frexp(distances[distances > 0])[1]] = True
    return found


def _count_seen(image: CountedImage) -> int:
    return sum(len(block) for block in seen_colors(image))


def _sample(image: CountedImage, space: Space) -> Floats:
    """Return some of the points, each distinct one once."""
    if image.counted is not None:
        (colors,) = seen_colors(image)
        some = colors[:: -(-len(colors) // _SAMPLE)]
    else:
        none = np.empty((0, image.layout.n_channels), image.layout.dtype)

        def find(blocks: Iterable[Array]) -> Array:
            return lowest(blocks, none, _SAMPLE)

        some = fold_image(image, lambda part: find(seen_colors(part)), find)
    # Without indices, NumPy would import masked arrays first.
    distinct = np.unique(points_of(some, space), axis=0, return_index=True)[0]
    return distinct.astype(np.float64)


def _are_far(colors: Array, space: Space, ball: _Ball) -> Mask:
    return np.asarray(_distances(points_of(colors, space), ball.center) > ball.radius)


def _distances(points: Array, center: Floats) -> Floats:
    """Return the largest coordinate (n,) by which points (n, D) miss a center (D,)."""
    farthest = np.zeros(len(points))
    for column, middle in zip(points.T, center, strict=True):
        np.maximum(farthest, np.abs(column - middle), out=farthest)
    return farthest


def _are_apart(
    colors: Array, counts: Array, n_pixels: int, space: Space, ball: _Ball
) -> bool:
    """Whether colors (m, C) of so many of all pixels are few, and far from all."""
    if not 0 < len(colors) <= _MOST:
        return False
    points = points_of(colors, space)
    n_values = n_pixels * points.shape[1]
    gap = _LEAST_GAP * math.sqrt(n_values / int(counts.min())) * ball.radius
    nearest = float(_distances(points, ball.center).min()) - ball.radius
    for i in range(len(points) - 1):
        rest = points[i + 1 :]
        nearest = min(nearest, float(_distances(rest, points[i].astype(float)).min()))
    return nearest > gap
