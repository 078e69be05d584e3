"""Colors so far from all others that every good palette has each of them.

Such are the fill values of rasters and hot pixels. `set_apart` finds them and returns
the image without them: what is fitted to the rest is then as precise as if they were
not there. Outliers that are many, or near to each other, stay in the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from napari_kmeans._core.arrays import Array, Floats, Indices, Mask
from napari_kmeans._core.blocks import cut, cut_boxes
from napari_kmeans._core.color_counts import count_pixels, in_order, trusted_counts
from napari_kmeans._core.pixels import CountedImage, is_fitted, seen_colors
from napari_kmeans._core.quality import are_seen
from napari_kmeans._core.spaces import Space, points_of

__all__ = ["Apart", "set_apart"]

# Most colors that are set apart.
_MOST = 256
# Colors that show where the middle of all is.
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
    # How far from these, and from each other, all other points must be.
    gap: float


def set_apart(image: CountedImage, space: Space) -> Apart | None:
    """Part an image from the colors that the best palette keeps apart, if it has some.

    All other colors, in n pixels and D coordinates, lie within r of a center in each
    coordinate. The far ones are farther than ``s = 4 sqrt(n D) r`` from these and from
    each other. A palette in which two of them, or one and some others, share a color
    has a squared error of at least s^2 / 2; where none of them does, even a single
    color for all others has at most n D r^2. So the best palette of enough colors has
    each far one, and for the rest what is best for the rest alone.
    """
    if (ball := _ball(image, space)) is None:
        return None
    if image.counted is None:
        return _apart_in_pixels(image, space, ball)
    colors, counts = image.counted.colors, image.counted.counts
    fitted = is_fitted(image.counted, image.layout)
    is_far = np.zeros(len(colors), dtype=bool)
    is_far[fitted] = _are_far(colors[fitted], space, ball)
    if not _are_apart(points_of(colors[is_far], space), ball):
        return None
    others = np.flatnonzero(~is_far)
    # In the order of an image that never had the far ones, to get the same bits.
    ordered = in_order(colors[others], np.column_stack((counts[others], others)))
    if ordered is None:
        return None
    rest = trusted_counts(ordered[0], ordered[1][:, 0])
    others = ordered[1][is_fitted(rest, image.layout), 1]
    places = np.concatenate((others, np.flatnonzero(is_far)))
    alone = CountedImage([], [], image.layout, rest)
    ranks = np.cumsum(fitted) - 1
    return Apart(alone, colors[is_far], counts[is_far], ranks[places])


def _apart_in_pixels(image: CountedImage, space: Space, ball: _Ball) -> Apart | None:
    """Part an image whose colors are not counted."""
    near_masks: list[Mask | None] = []
    far_masks: list[Mask | None] = []
    has_alpha = space.layout.has_alpha
    for pixels, mask in zip(image.images, image.masks, strict=True):
        is_far: Mask = np.zeros(pixels.shape[:-1], dtype=bool)
        for box in cut_boxes(is_far.shape, pixels.shape[-1] * pixels.itemsize):
            block = pixels[box].reshape(-1, pixels.shape[-1])
            block = block.astype(block.dtype.newbyteorder("="), copy=False)
            seen = are_seen(block, has_alpha)
            far = np.zeros(len(block), dtype=bool)
            far[seen] = _are_far(block[seen], space, ball)
            is_far[box] = far.reshape(is_far[box].shape)
        near_masks.append(~is_far if mask is None else mask & ~is_far)
        far_masks.append(is_far if mask is None else mask & is_far)
    found = count_pixels(image.images, far_masks)
    if found is None or not _are_apart(points_of(found[0], space), ball):
        return None
    rest = CountedImage(image.images, near_masks, image.layout)
    return Apart(rest, found[0], found[1][:, 0], None)


def _ball(image: CountedImage, space: Space) -> _Ball | None:
    """Return a ball of points from which all others are far, if there are others."""

    def blocks() -> Iterator[Array]:
        for colors in seen_colors(image):
            for block in cut(len(colors), 64):
                yield points_of(colors[block], space)

    sizes = [len(colors) for colors in seen_colors(image)]
    n = sum(sizes) if image.counted is None else int(image.counted.counts.sum())
    ratio = 4 * math.sqrt(n * len(space.frame.origin))
    sample = _sample(seen_colors(image), space, -(-sum(sizes) // _SAMPLE))
    center = np.sort(sample, axis=0)[len(sample) // 2]
    radius = float(np.sort(_distances(sample, center))[len(sample) // 2])
    dtype = image.layout.dtype
    if dtype.kind != "f" and 256.0**dtype.itemsize <= ratio * radius:
        return None
    while True:
        below, above, most = 0.0, math.inf, 0.0
        for points in blocks():
            distances = _distances(points, center)
            near = distances <= radius
            below = max(below, float(distances.max(initial=0, where=near)))
            above = min(above, float(distances.min(initial=math.inf, where=~near)))
            most = max(most, float(distances.max()))
        gap = ratio * below
        if most <= gap or above == math.inf or below == 0:
            return None
        if above - below > gap:
            return _Ball(center, below, gap)
        radius = 2 * above


def _sample(blocks: Iterator[Array], space: Space, step: int) -> Floats:
    """Return every `step`-th of the points, each distinct one once."""
    some = [points_of(colors[::step], space) for colors in blocks]
    return np.unique(np.concatenate(some), axis=0).astype(np.float64)


def _are_far(colors: Array, space: Space, ball: _Ball) -> Mask:
    return np.asarray(_distances(points_of(colors, space), ball.center) > ball.radius)


def _distances(points: Array, center: Floats) -> Floats:
    """Return the largest coordinate (n,) by which points (n, D) miss a center (D,)."""
    farthest = np.zeros(len(points))
    for column, middle in zip(points.T, center, strict=True):
        np.maximum(farthest, np.abs(column - middle), out=farthest)
    return farthest


def _are_apart(points: Array, ball: _Ball) -> bool:
    """Whether points (m, D) are few, and all of them far from each other."""
    if len(points) > _MOST:
        return False
    others = ((i, points[i + 1 :]) for i in range(len(points) - 1))
    return all(_distances(rest, points[i]).min() > ball.gap for i, rest in others)
