"""Which axes of a layer are space, and how large a pixel is there.

`space_axes` is the one place that tells space from time, channels and slices,
`axes_made_with` returns those of the channels and slices of a result, and
`called_channels` says which axis is called like channels. `pixel_sizes` and
`pixel_area` turn pixels into lengths, areas and volumes. They only look at a layer;
where layers lie is a matter for `placement`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Labels, Layer

from napari_kmeans._napari.record import record_of

__all__ = [
    "axes_made_with",
    "called_channels",
    "pixel_area",
    "pixel_sizes",
    "space_axes",
]

# Of axes, in lower case.
_CHANNEL_NAMES = ("c", "channel", "channels")
_TIME_NAMES = ("t", "time")
_MOST = 3


def space_axes(layer: Layer) -> tuple[int, ...]:
    """Return the axes of a layer that are space, in order.

    An axis is not space if it is called t, time, c, channel or channels, in letters of
    any case, if its unit is one of time, or if the layer was made here and the axis is
    that of the channels, or of slices that have palettes of their own. Of all other
    axes, the last three are space, or as many as there are.
    """
    others = {*axes_made_with(layer), called_channels(layer)}
    space = [
        axis
        for axis, (name, unit) in enumerate(
            zip(layer.axis_labels, layer.units, strict=True)
        )
        if axis not in others
        and name.strip().lower() not in _TIME_NAMES
        and not unit.is_compatible_with("second")
    ]
    return tuple(space[-_MOST:])


def called_channels(layer: Layer) -> int | None:
    """Return the first axis of a layer that is called like channels, if any is."""
    names = [name.strip().lower() in _CHANNEL_NAMES for name in layer.axis_labels]
    return names.index(True) if any(names) else None


def axes_made_with(layer: Layer) -> tuple[int | None, int | None]:
    """Return the axes of a layer that channels are along, and slices with palettes.

    They are None where a layer was made without, or not here, and where it has no such
    axis: labels have none for channels that are the first one (see `placement`).
    """
    record = record_of(layer)
    if record is None or record.settings is None:
        return None, None
    channel, axis = record.settings.channel_axis, record.settings.slice_axis
    if channel is not None and channel < 0:
        channel = None
    if isinstance(layer, Labels) and channel == 0:
        return None, None if axis is None else axis - 1
    return channel, axis


def pixel_sizes(layer: Layer, axes: Sequence[int]) -> list[float]:
    """Return the size of a pixel along some axes of a layer, by the layer's scale.

    All sizes are in the unit of the last of the `axes`, if every unit can be converted
    into it; otherwise each is in the unit of its axis.
    """
    sizes = [abs(float(layer.scale[axis])) for axis in axes]
    units = _units(layer, axes)
    for i, axis in enumerate(axes):
        if layer.units[axis] != units[i]:
            sizes[i] *= float((1 * layer.units[axis]).to(units[i]).magnitude)
    return sizes


def pixel_area(layer: Layer, axes: Sequence[int]) -> tuple[float, str]:
    """Return the area or volume of a pixel along some axes of a layer, and its unit.

    The unit is that of the last of the `axes`, squared for two of them and cubed for
    three. Where a unit cannot be converted into it, it is the product of the units.
    """
    unit, *others = _units(layer, axes)
    # Rotation and shear of napari keep areas.
    affine = np.asarray(layer.affine.linear_matrix)[np.ix_(axes, axes)]
    area = math.prod(pixel_sizes(layer, axes)) * abs(float(np.linalg.det(affine)))
    return area, f"{math.prod(others, start=unit):~P}"


def _units(layer: Layer, axes: Sequence[int]) -> list[Any]:
    """Return the units that the sizes of pixels are in."""
    units = [layer.units[axis] for axis in axes]
    if all(unit.is_compatible_with(units[-1]) for unit in units):
        units = [units[-1]] * len(units)
    return units
