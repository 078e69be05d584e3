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
# Centers that are mixed with one another: the nearest of a point, and those around it.
_PARTNERS = 32
# What 1 - s below is at full strength: for each center, and at most. Less shows
# as single dots of far colors, more as bands; seen on photos in 16 to 256 colors.
_NOISE, _MOST_NOISE = 1 / 256, 1 / 16
# Most changes of the centers that are mixed, for each that there is room for.
_CHANGES = 4
# Slopes that are taken for equal, where a point is at 1 from its nearest center, and
# distances that are near and far, where that of the farthest center is 1.
_EQUAL, _NEAR, _FAR = 1e-6, 1e-150, 1e4
# Rows and columns of the thresholds, and bits of the energies that order them.
_TILE = 64
_ENERGY_BITS = 40


class Mixtures(NamedTuple):
    """The centers to mix for n points, and how much of each."""

    # Index (m, n) of the centers, in ascending order.
    labels: Array
    # Part (m - 1, n) of the pixels that take this center or one before it.
    bounds: NDArray[np.float32]


def diffuse_error(
    points: Array,
    centers: Floats,
    labels: Array,
    fixed: Mask | None = None,
    strength: float = 1.0,
) -> Array:
    """Label pixels with the center nearest to their point plus the error received.

    Pixels are labeled row by row, from left to right. What is left of the value of a
    pixel when its center is taken away is its error: 7/16 of it go to the pixel on
    the right, 3/16, 5/16 and 1/16 to those on the left below, below and on the right
    below, all times `strength`. Each plane is dithered by itself, and what falls off
    its edges is dropped.

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
    strength : float, optional
        Part of each error that is passed on, between 0 and 1.

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
        _diffuse(
            *(planes[some], centers, kept, target[some], still[some]),
            *(limit, strength * _PARTS),
        )
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


def mix_colors(
    points: Array, centers: Floats, labels: Array, strength: float = 1.0
) -> Mixtures:
    """Find the mixture of centers that is closest to each point, with little noise.

    A mixture gives each center c a share w of the pixels, and has the mean m. Of the
    mixtures of the 32 centers around the nearest one, that one is found for which
    ``s |p - m|^2 + (1 - s) sum(w |p - c|^2)`` is least: the second term keeps away from
    far centers. s is 15/16 of `strength`, and for K below 16 centers 1 - K/256 of it;
    were it 0, the nearest center would be alone.

    Shares change continuously with the point, from one set of centers to the next, and
    do not depend on other points. The mean of a mixture errs by at most half of
    ``1 - s`` times the distance of two centers where the point lies between these.

    Parameters
    ----------
    points : (n, C) ndarray
        Finite points of any real dtype.
    centers : (K, C) ndarray
        The palette as points.
    labels : (n,) ndarray
        Index of the nearest center, the lowest on a tie.
    strength : float, optional
        More than 0, and at most 1.

    Returns
    -------
    mixtures : Mixtures
        Of at most C + 2 centers, more than are needed; some have no share. A point
        that is exactly a center has that one alone.

    Notes
    -----
    An active-set method: from the nearest center alone, the shares of some centers are
    those of the least value, until none of the others would lower it. Where a share
    would fall below 0, its center leaves. See Nocedal and Wright, Numerical
    Optimization, 2006, chapter 16.5.
    """
    n_partners = min(_PARTNERS, len(centers))
    n_mixed = min(centers.shape[1] + 2, n_partners)
    mixed = np.empty((n_mixed, len(labels)), labels.dtype)
    bounds = np.empty((n_mixed - 1, len(labels)), np.float32)
    pull = strength * (1 - min(_NOISE * len(centers), _MOST_NOISE))
    by_label = np.argsort(labels, kind="stable")
    for block in cut(len(labels), 8 * (n_partners + n_mixed * n_mixed)):
        some = by_label[block]
        # Points of all centers at once: those of one may be few.
        firsts, kind = np.unique(labels[some], return_inverse=True)
        tables = (_around(centers, int(first), n_partners) for first in firsts)
        partners, towards, squared, length = map(np.array, zip(*tables, strict=True))
        offset = (points[some] - centers[labels[some]]) / length[kind, np.newaxis]
        # Farther away, all points in one direction are alike.
        offset /= np.maximum(np.abs(offset).max(axis=1, keepdims=True) / _FAR, 1)
        columns = towards.transpose(2, 0, 1).copy()
        chosen, share = _shares(offset.T, columns, squared, kind, pull)
        order = chosen.argsort(axis=0, kind="stable")
        mixed[:, some] = partners[kind, np.take_along_axis(chosen, order, axis=0)]
        part = np.take_along_axis(share, order, axis=0).cumsum(axis=0)
        bounds[:, some] = part[:-1]
    return Mixtures(mixed, bounds)


def _around(
    centers: Floats, first: int, n_partners: int
) -> tuple[Indices, Floats, Floats, float]:
    """Return centers around one, seen from it, their squares, and the unit of these."""
    difference = centers - centers[first]
    squared = np.square(difference).sum(axis=1)
    # No center is mixed with one like it, but for denormals.
    squared[squared < np.finfo(np.float64).tiny] = np.inf
    squared[first] = 0
    partners = np.argpartition(squared, n_partners - 1)[:n_partners]
    partners.sort()
    length = float(np.sqrt(squared[np.isfinite(squared)].max())) or 1.0
    squared = squared[partners] / length**2
    return partners, difference[partners] / length, squared, length


def _shares(
    offset: Floats, towards: Floats, squared: Floats, kind: Indices, strength: float
) -> tuple[Indices, Floats]:
    """Return centers (a, n), of m each, and their shares (a, n).

    Points at `offset` (C, n) are seen from their nearest center, which is at 0. The
    other centers are at `towards` (C, L, m), for each `kind` (n,) of point.
    """
    n_channels, _, n_centers = towards.shape
    start = (1 - strength) * squared[kind]
    for column, direction in zip(offset, towards, strict=True):
        start -= 2 * column[:, np.newaxis] * direction[kind]
    # Squares in units of each point: a far center leaves the others their digits.
    scale = np.clip(np.abs(offset).max(axis=0), _NEAR, 1) ** -2
    start *= scale[:, np.newaxis]
    n_places = min(n_channels + 2, n_centers)
    chosen = squared.argmin(axis=1)[kind] + np.zeros((n_places, 1), dtype=np.intp)
    share = np.zeros(chosen.shape)
    share[0] = 1
    mixed, flat = share > 0, towards.reshape(n_channels, -1)
    there, rows = np.arange(len(kind)), np.empty(0, dtype=np.intp)
    # With each step, one place more is taken at most.
    for n in range(1, 1 + _CHANGES * n_places):
        # Where shares are the best ones, another center may be worth one.
        some, part, slope = chosen[:n, there], share[:n, there], start[there]
        place = kind[there] * n_centers + some
        for column, direction in zip(flat, towards, strict=True):
            mean = 2 * strength * scale[there] * (part * column[place]).sum(axis=0)
            slope += mean[:, np.newaxis] * direction[kind[there]]
        each, to = np.arange(len(there)), slope.argmin(axis=1)
        level = slope[each, some[part.argmax(axis=0), each]]
        is_worth = (level - slope[each, to] > _EQUAL) & ~mixed[:, there].all(axis=0)
        there, to = there[is_worth], to[is_worth]
        free = mixed[:, there].argmin(axis=0)
        chosen[free, there], mixed[free, there] = to, True
        rows = np.concatenate((rows, there))
        if len(rows) == 0:
            break
        # Towards the best shares, until a center has none left.
        some, part, used = (a[: n + 1, rows] for a in (chosen, share, mixed))
        seen = flat[:, kind[rows] * n_centers + some]
        seen *= np.sqrt(2 * strength * scale[rows])
        best = _balance(seen, start[rows, some], used)
        reach = np.where(best < 0, part, 1) / np.where(best < 0, part - best, 1)
        least = reach.min(axis=0)
        part += least * (best - part)
        used &= (reach > least) | (best >= 0)
        share[: n + 1, rows], mixed[: n + 1, rows] = part * used, used
        there, rows = rows[least == 1], rows[least < 1]
    return chosen, share


def _balance(towards: Floats, slope: Floats, used: Mask) -> Floats:
    """Return shares (a, n) that add up to 1, of equal slopes, of what is used."""
    n_places = len(used)
    # As they add up to 1, a constant changes nothing, but that there is an inverse.
    table = np.ones((n_places, n_places + 2, used.shape[1]))
    for column in towards:
        table[:, :-2] += column[:, np.newaxis] * column
    table[:, :-2] *= used & used[:, np.newaxis]
    for i in range(n_places):
        table[i, i] += np.where(used[i], _EQUAL**2, 1)
    table[:, -2], table[:, -1] = np.where(used, -slope, 0), used
    # Gauss-Jordan elimination.
    for i in range(n_places):
        table[i, i + 1 :] /= table[i, i]
        for j in range(n_places):
            if j != i:
                table[j, i + 1 :] -= table[j, i] * table[i, i + 1 :]
    share, more = table[:, -2], table[:, -1]
    return np.asarray(share + (1 - share.sum(axis=0)) / more.sum(axis=0) * more)


def pick_labels(
    mixtures: Mixtures, place: Indices, origin: tuple[int, int] = (0, 0)
) -> Array:
    """Pick each center for as many pixels of a neighborhood as it has a share.

    Parameters
    ----------
    mixtures : Mixtures
        Those of all points.
    place : (..., rows, columns) or (columns,) ndarray
        Index of the point of each pixel.
    origin : (int, int), optional
        Row and column, in their plane, of the first pixel: what is picked of an image
        is the same in blocks.

    Returns
    -------
    labels : ndarray
        In the shape of `place`.

    Notes
    -----
    A pixel takes the first center whose bound is above the threshold at its position,
    or the last. Of each 64 x 64 pixels every one has its own threshold, in steps of
    1/4096, and all planes have the same.
    """
    rows, columns = (
        (start + np.arange(n)) % _TILE
        for start, n in zip(origin, (1, *place.shape)[-2:], strict=True)
    )
    threshold = _thresholds()[rows][:, columns].reshape(place.shape[-2:])
    index = place.astype(np.intp)
    for bound in mixtures.bounds:
        index += (bound.take(place) <= threshold) * bound.size
    return mixtures.labels.reshape(-1).take(index)


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
    parts: Floats,
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
        np.multiply(parts, error, out=now[:, :, here])
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
    below any threshold are spread evenly. Half of them are a checkerboard, the finest
    pattern there is: it blurs and compresses best.
    """
    n = _TILE * _TILE
    step = np.minimum(np.arange(_TILE), _TILE - np.arange(_TILE))
    bell = np.exp(-(np.square(step[:, np.newaxis]) + np.square(step)) / 4.5)
    # Integers, so that the order is the same on every machine.
    bells = np.tile(np.rint(bell * 2.0**_ENERGY_BITS).astype(np.int64), (2, 2))
    chosen = np.indices((_TILE, _TILE)).sum(axis=0) % 2 == 0
    others = ~chosen
    # Every pixel of the checkerboard has the energy of the first.
    energy = np.where(chosen, bells[:_TILE, :_TILE][chosen].sum(), 0)
    rank = np.empty((_TILE, _TILE))
    for i in range(n // 2)[::-1]:
        # The pixel that is closest to others.
        row, column = divmod(int(np.where(chosen, energy, -1).argmax()), _TILE)
        rank[row, column], chosen[row, column] = i, False
        energy -= bells[_TILE - row :, _TILE - column :][:_TILE, :_TILE]
    # Voids are the clusters of what is not chosen.
    rank[others] = n - 1 - np.roll(rank, 1, axis=1)[others]
    thresholds = ((rank + 0.5) / n).astype(np.float32)
    thresholds.flags.writeable = False
    return thresholds
