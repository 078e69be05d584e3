"""An order of the palette that compresses well.

`neighborly_order` takes labels and returns the order of their colors; `indexed` writes
small PNG files in it, if that is shorter than in the order that was given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Indices, Labels

__all__ = ["neighborly_order"]


def neighborly_order(labels: Labels, n_colors: int) -> Indices:
    """Return an order in which colors that are often side by side have near indices.

    It starts with the color that touches another one most often. Then the color that
    touches those already placed most often is added, at the end where it is nearer to
    the colors it touches (Zeng, Li and Lei, Proc. ICIP 2000, "An efficient color
    re-indexing scheme").
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
    return np.array(order)


def _count_meetings(labels: Labels, n_colors: int) -> NDArray[np.int64]:
    """Count how often two different colors (K, K) lie beside or below each other."""
    counts = np.zeros(n_colors * n_colors, np.int64)
    for before, after in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        pairs = before.astype(np.intp) * n_colors + after
        counts += np.bincount(pairs.ravel(), minlength=counts.size)
    meetings = counts.reshape(n_colors, n_colors)
    meetings = meetings + meetings.T
    np.fill_diagonal(meetings, 0)
    return meetings
