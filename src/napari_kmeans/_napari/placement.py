"""Where layers lie in space, and which part of them is on the screen.

`labels_placement` returns what places the labels of an image on that image,
`world_matrix` the matrix from a layer's pixels to the world, `visible_part` the pixels
that a screen shows of a layer, `coarse_part` some of all that could be shown, and
`slice_in_view` a slice that is on the screen. What
layers hold is a matter for `layers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from napari.components import Dims
from napari.layers import Layer
from napari.utils.transforms import Affine

from napari_kmeans._core.arrays import Array, Floats, Indices

__all__ = [
    "PLACES",
    "Channels",
    "Screen",
    "Span",
    "Visible",
    "axes_of_labels",
    "coarse_part",
    "evenly",
    "labels_matrix",
    "labels_placement",
    "levels_of",
    "move_layer",
    "placement_of",
    "slice_in_view",
    "thinned",
    "visible_part",
    "world_matrix",
]

# What places a layer in space.
PLACES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
# Pixels of a volume that are visible in 3D.
_MOST_IN_3D = 1 << 19
# What is visible of larger planes begins and ends at multiples of so many pixels, which
# is the period of ordered dithering, or this share of it beyond the edge of the screen.
_BLOCK, _MARGIN = 64, 1 / 16
# Of a pixel, for what rounding adds.
_LITTLE = 1e-6


class Channels(NamedTuple):
    """The axis of a layer that its channels are along, and how many these are.

    Labels are there for all channels, wherever the slider of that axis is. napari lines
    the last axes of layers up, so labels do without an axis that is the first one. Any
    other they have at length 1, and one pixel of them spans all channels.
    """

    axis: int
    length: int


class Screen(NamedTuple):
    """The part of a plane of the world that a canvas shows."""

    # World coordinates of its middle: rows, columns.
    center: tuple[float, float]
    # Pixels of the canvas per unit of the world.
    zoom: float
    # Rows and columns of the canvas.
    shape: tuple[float, float]
    # Pixels of the display along a pixel of the canvas.
    ratio: float = 1.0


class Span(NamedTuple):
    """Pixels along an axis: those nearest to places that are evenly spaced."""

    first: float
    step: float
    length: int

    @property
    def places(self) -> slice | Indices:
        """What indexes them."""
        if self.step == 1:
            return slice(int(self.first), int(self.first) + self.length)
        middles = self.first + self.step * np.arange(self.length)
        return np.asarray(np.floor(middles + 0.5), dtype=np.intp)


class Visible(NamedTuple):
    """Pixels that stand for what is on the screen."""

    level: int
    # Along each of the layer's axes.
    spans: tuple[Span, ...]
    # From their labels to the world, in the layer's units.
    affine: Floats


def levels_of(layer: Layer) -> tuple[Any, ...]:
    """Return the data of a layer at each level of detail, the finest first."""
    return tuple(layer.data) if layer.multiscale else (layer.data,)


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
    layer: Layer,
    dims: Dims,
    screen: Screen,
    channels: Channels | None = None,
    n_whole: int = 0,
) -> Visible | None:
    """Return the pixels of the current slice that a screen shows.

    In 2D there is one for each pixel of the display: the one that napari draws there,
    if the axes of the layer are parallel to those of the screen. Where the pixels of
    the layer are larger, all are there, and so are all of planes of at most `n_whole`
    pixels, wherever one looks. A pyramid is seen at the coarsest level whose pixels are
    no larger than those of the canvas. In 3D it is a `coarse_part`. All `channels`
    belong to each pixel. None if the layer is not on the screen.
    """
    displayed, _ = _displayed_axes(layer, dims)
    if len(displayed) != 2:
        return coarse_part(layer, dims, _MOST_IN_3D, channels)
    shapes = _shapes(layer)
    low, high, middle, pitch = _seen(layer, dims, displayed, screen)
    axes = [a for a in displayed if channels is None or a != channels.axis]
    sizes = pitch[[displayed.index(axis) for axis in axes]] * (1 + _LITTLE)
    is_fine = (shapes[0] / shapes)[:, axes] <= np.maximum(sizes, 1)
    level = int(np.flatnonzero(is_fine.all(axis=1))[-1])
    is_whole = np.prod(shapes[level, axes], dtype=float) <= n_whole
    spans = {}
    for axis in axes:
        n, factor = int(shapes[level, axis]), shapes[0, axis] / shapes[level, axis]
        if is_whole:
            spans[axis] = Span(0, 1, n)
            continue
        i = displayed.index(axis)
        ends = (np.array([low[i], high[i], middle[i]]) + 0.5) / factor - 0.5
        spans[axis] = _span(n, ends, float(pitch[i] / factor / screen.ratio))
    return _placed(layer, dims, level, spans, channels)


def coarse_part(
    layer: Layer, dims: Dims, n_most: int, channels: Channels | None = None
) -> Visible | None:
    """Return evenly spread pixels of all of the current slice, at most `n_most`.

    They are all of the finest level that is small enough. None if the slice is none of
    the layer's.
    """
    displayed, _ = _displayed_axes(layer, dims)
    shapes = _shapes(layer)
    axes = [a for a in displayed if channels is None or a != channels.axis]
    n_pixels = np.prod(shapes[:, axes], axis=1, dtype=float)
    small = np.flatnonzero(n_pixels <= n_most)
    level = int(small[0]) if small.size else len(shapes) - 1
    step = evenly(n_pixels[level], n_most, len(axes))
    spans = {axis: thinned(int(shapes[level, axis]), step) for axis in axes}
    return _placed(layer, dims, level, spans, channels)


def evenly(n_pixels: float, n_most: int, n_axes: int) -> int:
    """Return the step along each axis that leaves at most `n_most` of some pixels."""
    excess = n_pixels / n_most
    return max(1, math.ceil(math.pow(excess, 1 / max(1, n_axes)) - _LITTLE))


def thinned(n: int, step: int) -> Span:
    """Return every so-many-th of `n` pixels, with as many left out at both ends."""
    first = (min(step, n) - 1) // 2
    return Span(first, step, len(range(first, n, step)))


def _displayed_axes(layer: Layer, dims: Dims) -> tuple[list[int], list[int]]:
    """Return the axes of a layer that are displayed, and those that are not."""
    # napari lines the last axes of layers up.
    first = dims.ndim - layer.ndim
    order = [axis - first for axis in dims.order if axis >= first]
    return order[-dims.ndisplay :], order[: -dims.ndisplay]


def _shapes(layer: Layer) -> Array:
    """Return the shape of each level."""
    return np.array([data.shape[: layer.ndim] for data in levels_of(layer)])


def _seen(
    layer: Layer, dims: Dims, displayed: list[int], screen: Screen
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return what a screen shows along both axes displayed, in pixels of a layer.

    It is where the screen begins and ends, the middle of the pixel of the display that
    is in the middle, and the length of a pixel of the canvas.
    """
    matrix = world_matrix(layer, dims.units)
    linear, origin = matrix[np.ix_(displayed, displayed)], matrix[displayed, -1]
    back = np.linalg.inv(linear).T
    center, shape = np.array(screen.center), np.array(screen.shape)
    corners = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * shape / 2
    pixels = (center + corners / screen.zoom - origin) @ back
    # Of an even number of pixels, none is in the very middle.
    is_even = np.rint(shape * screen.ratio) % 2 == 0
    middle = center + is_even / (2 * screen.zoom * screen.ratio)
    pitch = 1 / (screen.zoom * np.linalg.norm(linear, axis=0))
    return pixels.min(axis=0), pixels.max(axis=0), (middle - origin) @ back, pitch


def _span(n: int, ends: Floats, step: float) -> Span:
    """Return the pixels of `n` from low to high ends, or one per step from a middle."""
    low, high, middle = ends.tolist()
    beyond = _MARGIN * (high - low)
    low, high = max(low - beyond, _LITTLE - 0.5), min(high + beyond, n - 0.5 - _LITTLE)
    if high < low:
        return Span(0, 1, 0)
    if step > 1:
        before, after = (low - middle) / step, (high - middle) / step
        length = math.floor(after) - math.ceil(before) + 1
        return Span(middle + math.ceil(before) * step, float(step), length)
    start = max(0, round(low)) // _BLOCK * _BLOCK
    stop = min(n, (round(high) // _BLOCK + 1) * _BLOCK)
    return Span(start, 1, stop - start)


def _placed(
    layer: Layer,
    dims: Dims,
    level: int,
    spans: dict[int, Span],
    channels: Channels | None,
) -> Visible | None:
    """Return the pixels that have these spans along the axes displayed."""
    shapes = _shapes(layer)
    factors = shapes[0] / shapes[level]
    point = _slice_point(layer, dims, _displayed_axes(layer, dims)[1])
    scale, offset, found = np.ones(layer.ndim), np.zeros(layer.ndim), []
    for axis, n in enumerate(shapes[0]):
        if channels is not None and axis == channels.axis:
            found.append(Span(0, 1, int(n)))
            continue
        if axis not in spans:
            if not -0.5 <= point[axis] < n - 0.5:
                return None
            at = int((np.rint(point[axis]) + 0.5) / factors[axis])
            spans |= {axis: Span(at, 1, 1)}
        first, step, length = spans[axis]
        if length < 1:
            return None
        found.append(spans[axis])
        scale[axis] = step * factors[axis]
        offset[axis] = (first + 0.5) * factors[axis] - 0.5
    local = np.diag([*scale, 1.0])
    local[:-1, -1] = offset
    affine = labels_matrix(world_matrix(layer) @ local, channels)
    return Visible(level, tuple(found), affine)


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
