"""The picture of a palette."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._display import displayed, displayed_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["draw_swatches"]

_MOST_IN_A_ROW = 16
_SIDE = 60


def draw_swatches(palette: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw the colors (K, C) or (K,) as squares, in rows of at most 16.

    What is left of the last row is white. Other dtypes than uint8 are stretched.
    """
    low, high = displayed_range(palette)
    colors = np.asarray(displayed(palette[np.newaxis], low, high))[0]
    columns = min(len(colors), _MOST_IN_A_ROW)
    rows = math.ceil(len(colors) / columns)
    grid = np.full((rows * columns, 3), 255, np.uint8)
    grid[: len(colors)] = colors
    squares = grid.reshape(rows, columns, 3)
    return squares.repeat(_SIDE, axis=0).repeat(_SIDE, axis=1)
