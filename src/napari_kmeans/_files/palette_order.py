"""Palettes without unused colors, and in an order that compresses well.

`used_colors` returns labels and palette without the colors that no pixel has.
`neighborly_order` takes labels and returns an order of their colors: `indexed` writes
small PNG files in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices, Labels
from napari_kmeans._core.blocks import checkpoint, cut, cut_boxes

__all__ = ["neighborly_order", "used_colors"]

# Few colors are in a good order at once.
_MOST_PLACED_ONCE = 16


def used_colors(labels: Labels, palette: Array) -> tuple[Labels, Array]:
    """Return labels and palette without unused colors, of which there may be none."""
    is_used = np.zeros(len(palette), np.bool_)
    for box in cut_boxes(labels.shape, np.intp().nbytes):
        is_used[labels[box]] = True
    if is_used.all():
        return labels, palette
    ranks = np.cumsum(is_used) - 1
    return ranks.astype(np.min_scalar_type(ranks[-1]))[labels], palette[is_used]


def neighborly_order(labels: Labels, n_colors: int) -> Indices:
    """Return an order in which colors that are often side by side have near indices.

    It starts with the color that touches another one most often. Then the color that
    touches those already placed most often is added, at the end where it is nearer to
    the colors it touches (Zeng, Li and Lei, Proc. ICIP 2000, "An efficient color
    re-indexing scheme"). More than 16 colors are placed again, each where it is best.
    """
    meetings = _count_meetings(labels, n_colors)
    first = int(meetings.max(axis=1).argmax())
    order = [first]
    waiting = np.ones(n_colors, np.bool_)
    waiting[first] = False
    attached = meetings[first].copy()
    while waiting.any():
        color = int(np.where(waiting, attached, -1).argmax())
        # Positive where its neighbors lie nearer to the front than to the back.
        n = len(order)
        pull = np.arange(n - 1, -n, -2) @ meetings[color, order]
        order.insert(0 if pull > 0 else n, color)
        waiting[color] = False
        attached += meetings[color]
    found = np.array(order)
    return found if n_colors <= _MOST_PLACED_ONCE else _placed_again(found, meetings)


def _placed_again(order: Indices, meetings: NDArray[np.int64]) -> Indices:
    """Move each color once to where the distances of colors that meet are smallest.

    A meeting costs the bits that write the distance of the two indices. The colors that
    meet others most often are moved first.
    """
    places = np.arange(len(order) - 1)
    distances = np.abs(places[:, np.newaxis] - places)
    # What a meeting costs more if another color comes between: counted where the later
    # of the two enters, and given back where the earlier one is left behind.
    widening = _bits(distances + 1) - _bits(distances)
    widening *= np.sign(places - places[:, np.newaxis])
    gaps = np.arange(len(order))[:, np.newaxis]
    costs = _bits(np.where(places < gaps, gaps - places, places - gaps + 1))
    weights = meetings.astype(np.float64)
    for color in np.argsort(-weights.sum(axis=1), kind="stable"):
        checkpoint()
        before = int(np.flatnonzero(order == color)[0])
        others = np.delete(order, before)
        total = costs @ weights[color, others]
        among = weights[others[:, np.newaxis], others]
        total[1:] += np.cumsum(np.einsum("ij,ij->i", among, widening))
        place = int(total.argmin())
        if total[place] < total[before]:
            order = np.insert(others, place, color)
    return order


def _bits(distances: Array) -> Floats:
    bits: Floats = np.log2(1.0 + distances)
    return bits


def _count_meetings(labels: Labels, n_colors: int) -> NDArray[np.int64]:
    """Count how often two different colors (K, K) lie beside or below each other."""
    counts = np.zeros(n_colors * n_colors, np.int64)
    # Pairs of up to 256 colors are numbers of 16 bits.
    pair = np.min_scalar_type(counts.size - 1)
    for rows in cut(len(labels), labels.shape[1] * np.intp().nbytes):
        # With the row below, for the pairs that it has with the last one.
        block = labels[rows.start : rows.stop + 1].astype(pair, copy=False)
        inner = block[: rows.stop - rows.start]
        for before, after in ((inner[:, :-1], inner[:, 1:]), (block[:-1], block[1:])):
            pairs = before * pair.type(n_colors) + after
            counts += np.bincount(pairs.ravel(), minlength=counts.size)
    meetings = counts.reshape(n_colors, n_colors)
    meetings = meetings + meetings.T
    np.fill_diagonal(meetings, 0)
    return meetings
