"""Pixels and mean values of the regions that labels divide an image into.

`measure_labels` reads an image and its labels once, from memory or in chunks of dask,
and `sum_labeled` is what it does with a part of them. What the numbers stand for is
left to the caller: entries of a palette, or entries in slices of a stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.blocks import cut_boxes
from napari_kmeans._core.chunks import fold_chunks
from napari_kmeans._core.pixels import added

__all__ = ["means_of", "measure_labels", "sum_labeled"]


def measure_labels(
    image: Array, labels: Array, n: int
) -> tuple[NDArray[np.int64], Floats]:
    """Return the finite pixels (n,) of an image (..., C), and their means (n, C).

    The pixels are those with the labels (...) from 0 to ``n - 1``; others are left out.
    Means are NaN where there is no pixel. Sums of integers are exact up to 2^53.
    """
    measure = partial(_measured, n)
    pair: tuple[list[Array], list[Any]] = [image], [labels]
    if is_lazy(image) or is_lazy(labels):
        counts, sums = fold_chunks(*pair, measure, added, "measure")
    else:
        counts, sums = measure(*pair)
    return counts, means_of(counts, sums)


def means_of(counts: Array, sums: Floats) -> Floats:
    """Return the means (n, C) of sums (n, C) over pixels (n,), NaN over none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums / counts[:, np.newaxis])


def _measured(n: int, images: list[Array], labels: list[Any]) -> tuple[Array, Floats]:
    """Return the pixels (n,) of labels, and the sums (n, C) of their values."""
    counts, sums = np.zeros(n, dtype=np.int64), np.zeros((n, images[0].shape[-1]))
    for _ in sum_labeled(images, labels, counts, sums):
        pass
    return counts, sums


def sum_labeled(
    images: list[Array], labels: list[Any], counts: Array, sums: Floats
) -> Iterator[tuple[Array, Array]]:
    """Add pixels to the counts (n,) and sums (n, C) of their labels, block by block.

    Yields the finite pixels (m, C) of each block that have labels below n, and these.
    """
    n, n_channels = sums.shape
    for image, found in zip(images, labels, strict=True):
        for box in cut_boxes(found.shape, 8 * (n_channels + 1)):
            pixels, label = image[box].reshape(-1, n_channels), found[box].ravel()
            is_told = np.isfinite(pixels).all(axis=1) & (label < n)
            pixels, label = pixels[is_told], label[is_told]
            counts += np.bincount(label, minlength=n)
            for channel, values in enumerate(pixels.T.astype(np.float64)):
                sums[:, channel] += np.bincount(label, values, n)
            yield pixels, label
