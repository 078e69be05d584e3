"""The part of a layer that is on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_kmeans._napari._layers import world_matrix

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer
    from numpy.typing import NDArray

__all__ = ["Visible", "visible_part"]


class Visible(NamedTuple):
    """Pixels that stand for what is on the screen."""

    level: int
    # Of the layer's axes; none is dropped.
    box: tuple[slice, ...]
    # From these pixels to the world.
    affine: NDArray[np.float64]


def visible_part(
    layer: Layer, dims: Dims, n_most: int, whole_axis: int | None = None
) -> Visible | None:
    """Give the current slice of a layer, at a detail of at most `n_most` pixels.

    All of `whole_axis` belongs to each pixel. None if the layer is not on the screen.
    """
    n = layer.ndim
    displayed = {axis - (dims.ndim - n) for axis in dims.displayed}
    if whole_axis is not None:
        displayed.discard(whole_axis)
    levels = list(layer.data) if layer.multiscale else [layer.data]
    full = np.array(levels[0].shape[:n])
    axes = [axis for axis in range(n) if axis in displayed]

    level = len(levels) - 1
    for i, data in enumerate(levels):
        if np.prod([data.shape[axis] for axis in axes], dtype=float) <= n_most:
            level = i
            break
    shape = np.array(levels[level].shape[:n])
    factors = full / shape
    n_pixels = np.prod(shape[axes], dtype=float)
    step = max(1, int(np.ceil((n_pixels / n_most) ** (1 / max(1, len(axes))))))

    point = np.asarray(layer.world_to_data(dims.point))
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
    return Visible(level, tuple(index), world_matrix(layer) @ local)
