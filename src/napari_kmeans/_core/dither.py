"""Labels that keep the local mean of an image, where nearest ones would show bands.

Both ways start from the nearest labels, and leave a pixel alone whose point is exactly
its center.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices, Mask
from napari_kmeans._core.blocks import cut, cut_boxes
from napari_kmeans._core.nearest import Rivals, label_columns, nearest, prepare_rivals

__all__ = ["Mixtures", "diffuse_error", "error_limit", "mix_colors", "pick_labels"]

# To the right, to the left below, below, and to the right below: Floyd and Steinberg,
# Proc. SID 17(2):75, 1976.
_PARTS = np.array([7, 3, 5, 1]).reshape(4, 1, 1) / 16
# Rows dithered at once, of several planes where one has fewer.
_ROWS = 1 << 12
# Centers whose gaps are measured one by one.
_SAMPLE = 1 << 10
# Centers, near the first of a mixture, of which one is its second.
_PARTNERS = 32
# Weight of the variance of a mixture against the square of what its mean errs by. Less
# shows as single dots of far colors, more as bands; seen on photos in 4 to 64 colors.
_NOISE = 0.125
# Rows and columns of the thresholds, and bits of the energies that order them.
_TILE = 64
_ENERGY_BITS = 40


class Mixtures(NamedTuple):
    """What to mix with the nearest centers of n points, and how much of it."""

    # Index (n,) of the second center, the nearest one where there is nothing to mix.
    second: Indices
    # Part (n,) of the pixels that take it, between 0 and 1/2.
    share: NDArray[np.float32]


def diffuse_error(
    points: Array, centers: Floats, labels: Array, fixed: Mask | None = None
) -> Array:
    """Label pixels with the center nearest to their point plus the error received.

    Pixels are labeled row by row, from left to right. What is left of the value of a
    pixel when its center is taken away is its error: 7/16 of it go to the pixel on
    the right, 3/16, 5/16 and 1/16 to those on the left below, below and on the right
    below. Each plane is dithered by itself, and what falls off its edges is dropped.

    An error longer than `error_limit` is shortened to it. Else the errors of colors
    that the palette cannot mix would add up without bound, and smear over what
    follows.

    Parameters
    ----------
    points : (..., rows, columns, C) or (columns, C) ndarray
        Points of any real dtype, finite where not `fixed`.
    centers : (K, C) ndarray
        The palette as points.
    labels : (..., rows, columns) or (columns,) ndarray
        Index of the nearest center, the lowest on a tie; any number where `fixed`.
    fixed : ndarray of bool, optional
        Pixels to be left alone, in the shape of `labels`.

    Returns
    -------
    labels : ndarray
        New array in the shape and dtype of `labels`. Pixels that are `fixed`, or whose
        point is exactly their center, keep their label; they drop what they receive
        and pass nothing on. All others get the exactly nearest center of their value,
        the lowest index on a tie.

    Notes
    -----
    Received parts are added to the point in this order: from the left, from above
    left, from above, from above right.

    Pixels of equal ``column + 2 * row`` do not depend on each other and are labeled
    at once. Beyond the result, and a copy of `points` that are not contiguous, this
    takes a byte per pixel, some 20 numbers per channel for each of the at most
    ``max(rows, 4096)`` rows at once, and a few megabytes.
    """
    result = labels.copy()
    # Copies would tie for every pixel, and each has to be looked at then.
    kept = np.sort(np.unique(centers, axis=0, return_index=True)[1])
    if len(kept) == 1:
        return result
    limit = error_limit(centers)
    still = _still(points, centers, labels, fixed)
    # A single axis is that of the columns.
    rows, columns = (1, *labels.shape)[-2:]
    grid = (-1, rows, columns)
    planes, still = points.reshape(*grid, points.shape[-1]), still.reshape(grid)
    target = result.reshape(grid)
    step = max(1, _ROWS // rows)
    for start in range(0, len(planes), step):
        some = slice(start, start + step)
        _diffuse(planes[some], centers, kept, target[some], still[some], limit)
    return result


def error_limit(centers: Floats) -> float:
    """Return the length to which errors are shortened, for centers (K, C).

    It is the larger of two lengths. One is half the diagonal of a cube whose edge is
    the widest gap of the palette: the longest edge of its minimum spanning tree, or
    not much more beyond 1024 centers. The other is the distance of the mean of the
    palette to its nearest center, for palettes that are hollow, such as a wheel of
    hues.

    Errors of colors between the centers of one channel, or of a grid of them, never
    get that long, so their local mean is kept.
    """
    sample = centers[:: -(-len(centers) // _SAMPLE)]
    gap = nearest(centers, sample)[1].max()
    # Prim's algorithm.
    reach = np.full(len(sample), np.inf)
    outside = np.ones(len(sample), dtype=bool)
    node = 0
    for _ in range(len(sample) - 1):
        outside[node] = False
        np.minimum(reach, np.square(sample - sample[node]).sum(axis=1), out=reach)
        node = int(np.where(outside, reach, np.inf).argmin())
        gap = max(gap, reach[node])
    middle = nearest(centers.mean(axis=0, keepdims=True), centers)[1][0]
    return float(np.sqrt(max(gap * centers.shape[1] / 4, middle)))


def mix_colors(points: Array, centers: Floats, labels: Array) -> Mixtures:
    """Find the second center whose mixture with the nearest one comes closest.

    The share of the second center puts the mixture at the foot of the perpendicular
    from the point to the line of the two centers. Of the 32 centers around the
    nearest one, that one is taken for which the squared distance to the mixture, and
    an eighth of the variance of the mixture, are least; the lowest index on a tie.
    What a point is mixed of does not depend on other points.

    Parameters
    ----------
    points : (n, C) ndarray
        Finite points of any real dtype.
    centers : (K, C) ndarray
        The palette as points.
    labels : (n,) ndarray
        Index of the nearest center, the lowest on a tie.

    Returns
    -------
    mixtures : Mixtures
        The second centers and their shares. A share is 0 where the point is exactly a
        center, or where no center lies on its side of the nearest one.
    """
    second = labels.astype(np.intp)
    share = np.zeros(len(labels), dtype=np.float32)
    n_partners = min(_PARTNERS, len(centers) - 1)
    if n_partners == 0 or len(labels) == 0:
        return Mixtures(second, share)
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    for group in np.split(order, cuts):
        first = labels[group[0]]
        difference = centers - centers[first]
        squared = np.square(difference).sum(axis=1)
        # Neither the first center nor one like it, but for denormals, is the second.
        squared[squared < np.finfo(np.float64).tiny] = np.inf
        partners = np.argpartition(squared, n_partners - 1)[:n_partners]
        partners.sort()
        towards = difference[partners].T[:, :, np.newaxis]
        for block in cut(len(group), 4 * n_partners):
            some = group[block]
            offset = (points[some] - centers[first]).T
            along = towards[0] * offset[0]
            for direction, column in zip(towards[1:], offset[1:], strict=True):
                along += direction * column
            # Below a half, for the first is nearest; but it may be so by rounding.
            part = np.minimum(along / squared[partners, np.newaxis], 0.5)
            # With f the foot, |p - f|^2 + w s (1 - s) |d|^2 = |p - c|^2 - gain.
            gain = along * ((1 + _NOISE) * part - _NOISE)
            gain[along <= 0] = -np.inf
            best = gain.argmax(axis=0)
            found = np.maximum(part[best, np.arange(len(some))], 0)
            share[some] = found
            second[some] = np.where(found > 0, partners[best], first)
    return Mixtures(second, share)


def pick_labels(
    first: Array,
    second: Array,
    share: NDArray[np.float32],
    origin: tuple[int, int] = (0, 0),
) -> Array:
    """Return `second` to as many pixels of each neighborhood as `share` says.

    Parameters
    ----------
    first, second : (..., rows, columns) or (columns,) ndarray
        Labels of one dtype.
    share : ndarray
        Part of the pixels that take `second`, in the shape of `first`.
    origin : (int, int), optional
        Row and column, in their plane, of the first pixel: what is picked of an image
        is the same in blocks.

    Returns
    -------
    labels : ndarray
        In the shape and dtype of `first`.

    Notes
    -----
    A pixel takes `second` if its share is above the threshold at its position. Of
    each 64 x 64 pixels every one has its own threshold, in steps of 1/4096, and all
    planes have the same.
    """
    rows, columns = (
        (start + np.arange(n)) % _TILE
        for start, n in zip(origin, (1, *first.shape)[-2:], strict=True)
    )
    threshold = _thresholds()[rows][:, columns].reshape(first.shape[-2:])
    return np.where(share > threshold, second, first)


def _still(points: Array, centers: Floats, labels: Array, fixed: Mask | None) -> Mask:
    """Find the pixels that keep their label."""
    n_channels = points.shape[-1]
    still = np.zeros(labels.size, bool) if fixed is None else fixed.flatten()
    points, labels = points.reshape(-1, n_channels), labels.reshape(-1)
    for block in cut(len(points), 4 * n_channels):
        nearest_center = centers.take(labels[block], axis=0, mode="clip")
        still[block] |= (points[block] == nearest_center).all(axis=1)
    return still


def _diffuse(
    points: Array,
    centers: Floats,
    kept: Indices,
    labels: Array,
    still: Mask,
    limit: float,
) -> None:
    """Put labels, among those `kept`, of planes (n, rows, columns, C) into `labels`."""
    n_planes, rows, columns, n_channels = points.shape
    point_at, label_at, still_at = _slanted(points), _slanted(labels), _slanted(still)
    has_still = bool(still.any())
    palette = np.ascontiguousarray(centers[kept].T)
    # A value is a point, and parts of errors that add up to one error at most.
    rivals = prepare_rivals(centers[kept], _reach(points, still) + limit)
    # Parts (4, C) of the errors of the last three fronts. Rows, of all planes, begin
    # with one that stands for what is above the image.
    passed = np.zeros((3, 4, n_channels, (rows + 1) * n_planes))
    values = np.empty((n_channels, rows * n_planes))
    for front in range(columns + 2 * rows - 2):
        first, end = max(0, (front - columns + 2) // 2), min(rows, front // 2 + 1)
        n = (end - first) * n_planes
        if n == 0:
            continue
        above = slice(first * n_planes, end * n_planes)
        here = slice(above.start + n_planes, above.stop + n_planes)
        last, second_last, now = (passed[(front - i) % 3] for i in (1, 2, 3))
        value = values[:, :n]
        point = point_at[front, first:end]
        np.add(point.reshape(n, n_channels).T, last[0, :, here], out=value)
        value += now[3, :, above]
        value += second_last[2, :, above]
        value += last[1, :, above]
        if has_still:
            held = still_at[front, first:end].reshape(n)
            np.copyto(value, 0, where=held)
        label, error = _label_front(value, rivals, palette, limit)
        target = label_at[front, first:end]
        label = kept.take(label).reshape(target.shape)
        if has_still:
            np.copyto(error, 0, where=held)
            free = ~held.reshape(target.shape)
            np.copyto(target, label, where=free, casting="unsafe")
        else:
            target[...] = label
        np.multiply(_PARTS, error, out=now[:, :, here])
        # The row above has ended: its place is right of the image.
        now[:, :, above.start : here.start] = 0


def _reach(points: Array, still: Mask) -> float:
    """Return how far from 0 a coordinate is of any point that is not `still`."""
    reach = 0.0
    for box in cut_boxes(still.shape, 8 * points.shape[-1]):
        ends = np.where(still[box][..., np.newaxis], 0, points[box])
        reach = max(reach, -float(ends.min()), float(ends.max()))
    return reach


def _label_front(
    value: Floats, rivals: Rivals, palette: Floats, limit: float
) -> tuple[Indices, Floats]:
    """Index the nearest of palette (C, K) for values (C, n); return limited errors."""
    n = value.shape[1]
    label = np.empty(n, dtype=np.intp)
    for block in cut(n, 4 * palette.size):
        label[block] = label_columns(value[:, block], rivals)
    error = value - palette.take(label, axis=1)
    squared = np.square(error).sum(axis=0)
    long = squared > limit * limit
    if long.any():
        length = np.sqrt(squared)
        error *= np.divide(limit, length, out=np.ones(n), where=long)
    return label, error


def _slanted(planes: Array) -> Array:
    """View planes (n, rows, columns, ...) as (fronts, rows, n, ...).

    Row y of front t is column t - 2 y, and must not be touched where there is none.
    """
    n, rows, columns, *rest = planes.shape
    plane, row, column, *others = planes.strides
    return as_strided(
        planes,
        (columns + 2 * rows - 2, rows, n, *rest),
        (column, row - 2 * column, plane, *others),
    )


@cache
def _thresholds() -> NDArray[np.float32]:
    """Order a tile of thresholds as void and cluster do, between 0 and 1.

    Ulichney, Proc. SPIE 1913:332, 1993. Neighbors differ much, so that the pixels
    below any threshold are spread evenly.
    """
    n = _TILE * _TILE
    step = np.minimum(np.arange(_TILE), _TILE - np.arange(_TILE))
    bell = np.exp(-(np.square(step[:, np.newaxis]) + np.square(step)) / 4.5)
    # Integers, so that the order is the same on every machine.
    bells = np.tile(np.rint(bell * 2.0**_ENERGY_BITS).astype(np.int64), (2, 2))
    energy = np.zeros((_TILE, _TILE), dtype=np.int64)
    chosen = np.zeros(n, dtype=bool)

    def change(pixel: int) -> int:
        row, column = (_TILE - i for i in divmod(pixel, _TILE))
        there = bells[row : row + _TILE, column : column + _TILE]
        np.add(energy, -there if chosen[pixel] else there, out=energy)
        chosen[pixel] = not chosen[pixel]
        return pixel

    def cluster() -> int:
        return int(np.where(chosen, energy.ravel(), -1).argmax())

    def void() -> int:
        return int(np.where(chosen, 1 << 62, energy.ravel()).argmin())

    # Multiples of the golden ratio are a start; then the pixel that is closest to
    # others moves to the widest gap, until it would move back.
    for pixel in {int(i * 0.6180339887498949 % 1 * n) for i in range(n // 10)}:
        change(pixel)
    while change(cluster()) != change(void()):
        pass
    start = chosen.copy(), energy.copy()
    n_chosen = int(np.count_nonzero(chosen))
    rank = np.empty(n)
    for i in range(n_chosen)[::-1]:
        rank[change(cluster())] = i
    chosen[:], energy[:] = start
    for i in range(n_chosen, n):
        rank[change(void())] = i
    thresholds = ((rank + 0.5) / n).astype(np.float32).reshape(_TILE, _TILE)
    thresholds.flags.writeable = False
    return thresholds
