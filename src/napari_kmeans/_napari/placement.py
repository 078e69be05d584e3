"""Where layers lie in space, and which part of them is on the screen.

`labels_placement` returns what places the labels of an image on that image,
`world_matrix` the matrix from a layer's pixels to the world, `visible_part` the pixels
that stand for what is on the screen, and `slice_in_view` a slice that is there. What
layers hold is a matter for `layers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from napari.components import Dims
from napari.layers import Layer
from napari.utils.transforms import Affine

from napari_kmeans._core.arrays import Array, Floats

__all__ = [
    "PLACES",
    "Channels",
    "Visible",
    "axes_of_labels",
    "called_channels",
    "labels_matrix",
    "labels_placement",
    "levels_of",
    "move_layer",
    "placement_of",
    "slice_in_view",
    "visible_part",
    "world_matrix",
]

# What people call the axis of channels.
_CHANNEL_NAMES = frozenset({"c", "channel", "channels"})
# What places a layer in space.
PLACES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class Channels(NamedTuple):
    """The axis of a layer that its channels are along, and how many these are.

    Labels are there for all channels, wherever the slider of that axis is. napari lines
    the last axes of layers up, so labels do without an axis that is the first one. Any
    other they have at length 1, and one pixel of them spans all channels.
    """

    axis: int
    length: int


class Visible(NamedTuple):
    """Pixels that stand for what is on the screen."""

    level: int
    # Of the layer's axes.
    box: tuple[slice, ...]
    # From their labels to the world, in the layer's units.
    affine: Floats


def levels_of(layer: Layer) -> tuple[Any, ...]:
    """Return the data of a layer at each level of detail, the finest first."""
    return tuple(layer.data) if layer.multiscale else (layer.data,)


def called_channels(layer: Layer) -> int | None:
    """Return the axis of a layer that is called like channels, if there is one."""
    names = [name.lower() in _CHANNEL_NAMES for name in layer.axis_labels]
    return names.index(True) if any(names) else None


def placement_of(layer: Layer) -> dict[str, Any]:
    """Return what places a layer in space, as copies that do not follow it."""
    _, attributes, _ = layer.as_layer_data_tuple()
    return {name: attributes[name] for name in PLACES}


def labels_placement(layer: Layer, channels: Channels | None) -> dict[str, Any]:
    """Return what places the labels of a layer in space."""
    places = placement_of(layer)
    if channels is None:
        return places
    scale, translate = np.asarray(places["scale"]), np.asarray(places["translate"])
    rotate, shear = places["rotate"], places["shear"]
    if channels.axis > 0:
        # Pixels become longer before anything else happens to them.
        longer = labels_matrix(np.eye(layer.ndim + 1), channels)
        translate = Affine(scale, translate, rotate=rotate, shear=shear)(
            longer[:-1, -1]
        )
        scale = scale * np.diag(longer)[:-1]
        return places | {"scale": scale, "translate": translate}
    linear, matrix = world_matrix(layer), np.asarray(places["affine"])
    is_mixed = linear[1:-1, 0].any() or linear[0, 1:-1].any()
    is_turned = not np.allclose(np.asarray(rotate), np.eye(layer.ndim))
    if is_mixed or is_turned or np.any(layer.shear):
        scale, translate, matrix = np.ones_like(scale), np.zeros_like(scale), linear
    places = {"scale": scale[1:], "translate": translate[1:], "affine": matrix[1:, 1:]}
    return places | axes_of_labels(layer, channels)


def move_layer(layer: Layer, places: dict[str, Any]) -> None:
    """Place a layer in space, and tell nobody of what stays as it is."""
    for name, value in places.items():
        if not np.array_equal(np.asarray(getattr(layer, name)), np.asarray(value)):
            setattr(layer, name, value)


def axes_of_labels(layer: Layer, channels: Channels | None) -> dict[str, Any]:
    """Return what the axes of the labels of a layer are."""
    first = int(channels is not None and channels.axis == 0)
    return {"units": layer.units[first:], "axis_labels": layer.axis_labels[first:]}


def labels_matrix(matrix: Floats, channels: Channels | None) -> Floats:
    """Turn the matrix that takes the data of a layer somewhere into that of labels."""
    if channels is None:
        return matrix
    if channels.axis == 0:
        return matrix[1:, 1:]
    axis, length = channels
    longer = np.eye(len(matrix))
    longer[axis, axis], longer[axis, -1] = length, (length - 1) / 2
    return matrix @ longer


def world_matrix(layer: Layer, units: Sequence[Any] | None = None) -> Array:
    """Return the matrix that takes data to the world, of `layer.ndim` + 1 rows.

    The world is in the units of the layer, or in `units`, of a viewer, whose last axes
    those of the layer are. napari takes numbers as they are where layers have units
    that nothing is converted into, and those of a viewer are then None.
    """
    n = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(n)))
    matrix = np.eye(n + 1)
    matrix[:-1, -1] = origin
    for axis, unit in enumerate(np.eye(n)):
        matrix[:-1, axis] = np.asarray(layer.data_to_world(unit)) - origin
    if units is not None and len(units) >= n:
        for row, own, unit in zip(matrix[:-1], layer.units, units[-n:], strict=True):
            row *= _size(own) / _size(unit)
    return matrix


def _size(unit: Any) -> float:
    """Return a unit in the base unit of its kind."""
    return float((1 * unit).to_base_units().magnitude)


def visible_part(
    layer: Layer, dims: Dims, n_most: int, channels: Channels | None = None
) -> Visible | None:
    """Return the current slice of a layer, at a detail of at most `n_most` pixels.

    All `channels` belong to each pixel. None if the layer is not on the screen.
    """
    n = layer.ndim
    # napari lines the last axes of layers up.
    first = dims.ndim - n
    order = [axis - first for axis in dims.order if axis >= first]
    displayed = order[-dims.ndisplay :]
    whole_axis = None if channels is None else channels.axis
    levels = levels_of(layer)
    axes = [axis for axis in range(n) if axis in displayed and axis != whole_axis]
    point = _slice_point(layer, dims, [axis for axis in order if axis not in displayed])

    shapes = np.array([data.shape[:n] for data in levels])
    n_pixels = np.prod(shapes[:, axes], axis=1, dtype=float)
    level = next((i for i in range(len(levels)) if n_pixels[i] <= n_most), -1)
    level %= len(levels)
    shape = shapes[level]
    factors = shapes[0] / shape
    excess = n_pixels[level] / n_most
    step = max(1, int(np.ceil(excess ** (1 / max(1, len(axes))))))

    index, scale, offset = [], np.ones(n), np.zeros(n)
    for axis in range(n):
        if axis == whole_axis:
            index.append(slice(None))
        elif axis in displayed:
            index.append(slice((min(step, shape[axis]) - 1) // 2, None, step))
            scale[axis] = step * factors[axis]
            offset[axis] = (scale[axis] - 1) / 2
        else:
            if not -0.5 <= point[axis] < shapes[0, axis] - 0.5:
                return None
            at = int((np.rint(point[axis]) + 0.5) / factors[axis])
            index.append(slice(at, at + 1))
            scale[axis] = factors[axis]
            offset[axis] = at * factors[axis] + (factors[axis] - 1) / 2
    local = np.diag([*scale, 1.0])
    local[:-1, -1] = offset
    affine = labels_matrix(world_matrix(layer) @ local, channels)
    return Visible(level, tuple(index), affine)


def slice_in_view(layer: Layer, dims: Dims, axis: int) -> int | None:
    """Return which slice along an axis of a layer is on the screen.

    It is the nearest one where the slider is beyond the layer. None if the axis is
    displayed, and all slices are seen.
    """
    first = dims.ndim - layer.ndim
    if axis + first in dims.displayed:
        return None
    hidden = [other - first for other in dims.not_displayed if other >= first]
    at = int(np.rint(_slice_point(layer, dims, hidden)[axis]))
    return min(max(at, 0), int(levels_of(layer)[0].shape[axis]) - 1)


def _slice_point(layer: Layer, dims: Dims, hidden: list[int]) -> Floats:
    """Return where the current slice is along the axes that are not displayed.

    Whatever mixes these with others is left out, as napari does.
    """
    world = np.append(np.zeros(layer.ndim), dims.point)[-layer.ndim :]
    matrix = np.linalg.inv(world_matrix(layer, dims.units))
    point = np.zeros(layer.ndim)
    point[hidden] = matrix[np.ix_(hidden, hidden)] @ world[hidden] + matrix[hidden, -1]
    return point
