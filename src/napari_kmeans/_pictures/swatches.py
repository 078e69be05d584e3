"""The picture of a palette."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._pictures.display import displayed, displayed_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw_swatches", "swatch_labels"]

_MOST_IN_A_ROW = 16
_SIDE = 60
_WIDTH = _MOST_IN_A_ROW * _SIDE


def draw_swatches(palette: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw the colors (K, C) or (K,) where `swatch_labels` has them.

    Other dtypes than uint8 are stretched.
    """
    low, high = displayed_range(palette)
    colors = np.asarray(displayed(palette[np.newaxis], low, high))[0]
    picture: NDArray[np.uint8] = colors[swatch_labels(len(colors))]
    return picture


def swatch_labels(n_colors: int) -> NDArray[np.unsignedinteger[Any]]:
    """Lay colors out in rows of at most 16, or up to as many as there are rows.

    There is nothing but colors: rows that lack one to the others are as wide as these.
    """
    n_rows = math.ceil(n_colors / max(_MOST_IN_A_ROW, math.isqrt(n_colors)))
    rows = np.array_split(np.arange(n_colors), n_rows)
    side = min(_SIDE, _WIDTH // len(rows[0]))
    places = np.arange(side * len(rows[0]))
    labels = [row[places * len(row) // len(places)] for row in rows]
    dtype = np.uint8 if n_colors <= 256 else np.uint16
    return np.repeat(np.array(labels, dtype), side, axis=0)
