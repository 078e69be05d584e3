"""The part of a layer that is on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_kmeans._napari.layers import (
    Channels,
    labels_matrix,
    levels_of,
    world_matrix,
)

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer
    from numpy.typing import NDArray

__all__ = ["Visible", "visible_part"]


class Visible(NamedTuple):
    """Pixels that stand for what is on the screen."""

    level: int
    # Of the layer's axes.
    box: tuple[slice, ...]
    # From their labels to the world, in the layer's units.
    affine: NDArray[np.float64]


def visible_part(
    layer: Layer, dims: Dims, n_most: int, channels: Channels | None = None
) -> Visible | None:
    """Give the current slice of a layer, at a detail of at most `n_most` pixels.

    All `channels` belong to each pixel. None if the layer is not on the screen.
    """
    n = layer.ndim
    # napari lines the last axes of layers up.
    first = dims.ndim - n
    order = [axis - first for axis in dims.order if axis >= first]
    displayed = order[-dims.ndisplay :]
    whole_axis = None if channels is None else channels.axis
    levels = levels_of(layer)
    full = np.array(levels[0].shape[:n])
    axes = [axis for axis in range(n) if axis in displayed and axis != whole_axis]
    point = _slice_point(layer, dims, [axis for axis in order if axis not in displayed])

    level = len(levels) - 1
    for i, data in enumerate(levels):
        if np.prod([data.shape[axis] for axis in axes], dtype=float) <= n_most:
            level = i
            break
    shape = np.array(levels[level].shape[:n])
    factors = full / shape
    n_pixels = np.prod(shape[axes], dtype=float)
    step = max(1, int(np.ceil((n_pixels / n_most) ** (1 / max(1, len(axes))))))

    index, scale, offset = [], np.ones(n), np.zeros(n)
    for axis in range(n):
        if axis == whole_axis:
            index.append(slice(None))
        elif axis in displayed:
            index.append(slice((min(step, shape[axis]) - 1) // 2, None, step))
            scale[axis] = step * factors[axis]
            offset[axis] = (scale[axis] - 1) / 2
        else:
            if not -0.5 <= point[axis] < full[axis] - 0.5:
                return None
            at = int((np.rint(point[axis]) + 0.5) / factors[axis])
            index.append(slice(at, at + 1))
            scale[axis] = factors[axis]
            offset[axis] = at * factors[axis] + (factors[axis] - 1) / 2
    local = np.diag([*scale, 1.0])
    local[:-1, -1] = offset
    affine = labels_matrix(world_matrix(layer) @ local, channels)
    return Visible(level, tuple(index), affine)


def _slice_point(layer: Layer, dims: Dims, hidden: list[int]) -> NDArray[np.float64]:
    """Give where the current slice is along the axes that are not displayed.

    Whatever mixes these with others is left out, as napari does.
    """
    world = np.append(np.zeros(layer.ndim), dims.point)[-layer.ndim :]
    matrix = np.linalg.inv(world_matrix(layer, dims.units))
    point = np.zeros(layer.ndim)
    point[hidden] = matrix[np.ix_(hidden, hidden)] @ world[hidden] + matrix[hidden, -1]
    return point
