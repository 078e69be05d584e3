"""RGB colors to points of a perceptual space, and back.

Colors are sRGB, with white at the largest value of unsigned integers and at 1 for
floats. Points of "lab" are CIELAB for D65, L from 0 to 100; those of "oklab" are
(L, 2a, 2b) of Ottosson's Oklab (https://bottosson.github.io/posts/oklab), L from 0
to 1. Values below black and above white are colors too: sRGB is continued as an odd
function.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.blocks import cut

ColorSpace: TypeAlias = Literal["lab", "oklab"]

__all__ = ["Gamut", "from_space", "gamut_between", "is_convertible", "to_space"]

# Bytes per color of all that a conversion makes on its way.
_COLOR_BYTES = 128
# Beyond this, more than any float32, powers would overflow.
_LARGEST = 1e40
# Where the straight part of sRGB ends, IEC 61966-2-1, encoded.
_STRAIGHT = 0.04045
# Linear RGB to cones, and the cube roots of these to Oklab, as published.
_CONES_OF_RGB = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
# With a and b doubled, distances are those of Delta E OK2: Ottosson found 2.016 and
# 2.045 to predict differences best, https://github.com/w3c/csswg-drafts/issues/14207.
_OKLAB_OF_ROOTS = np.array([[1.0], [2.0], [2.0]]) * [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
# XYZ of D65, two degrees, with the digits of scikit-image.
_WHITE = np.array([0.95047, 1.0, 1.08883])


class Gamut(NamedTuple):
    """The colors an image may get, `low` to `high` in each channel, and its white."""

    dtype: np.dtype[Any]
    low: float
    high: float
    white: float


def is_convertible(dtype: np.dtype[Any], n_channels: int) -> bool:
    """Whether colors are RGB of dtype uint8, uint16 or float."""
    is_short = dtype.kind == "u" and dtype.itemsize <= 2
    return n_channels == 3 and (is_short or dtype.kind == "f")


def gamut_between(dtype: np.dtype[Any], ends: Array | None) -> Gamut:
    """Return the gamut of an image of a convertible dtype.

    It holds all integers of the dtype; or the floats from black, or the least value
    of the image if that is less, to white, or its largest if that is more. The least
    and largest values of a float image are its `ends`.
    """
    if ends is None:
        largest = float(np.iinfo(dtype).max)
        return Gamut(dtype, 0.0, largest, largest)
    return Gamut(dtype, min(0.0, float(ends.min())), max(1.0, float(ends.max())), 1.0)


def to_space(colors: Array, color_space: ColorSpace, gamut: Gamut) -> Floats:
    """Turn finite colors (n, 3) of any dtype, in the units of `gamut`, into points.

    A color has the same point, to the bit, wherever it stands. Values over 1e40 count
    as 1e40.
    """
    to_points = _lab_of_linear if color_space == "lab" else _oklab_of_linear
    points = np.empty((len(colors), 3))
    for block in cut(len(colors), _COLOR_BYTES):
        columns = np.ascontiguousarray(colors[block].T)
        if colors.dtype.kind == "u" and colors.dtype.itemsize <= 2:
            table = _linear_table(1 << 8 * colors.dtype.itemsize, gamut.white)
            linear = table.take(columns, mode="clip")
        else:
            linear = _linear(columns.astype(np.float64) / gamut.white)
        points[block] = to_points(linear).T
    return points


def from_space(points: Floats, color_space: ColorSpace, gamut: Gamut) -> Array:
    """Turn points (n, 3) into the nearest colors of `gamut`, channel by channel."""
    to_linear = _linear_of_lab if color_space == "lab" else _linear_of_oklab
    colors = np.empty((len(points), 3), gamut.dtype)
    for block in cut(len(points), _COLOR_BYTES):
        values = _encoded(to_linear(np.ascontiguousarray(points[block].T)))
        values *= gamut.white
        if gamut.dtype.kind == "u":
            np.rint(values, out=values)
        colors[block] = np.clip(values, gamut.low, gamut.high).T
    return colors


def _linear(values: Floats) -> Floats:
    """Decode sRGB to linear light."""
    size = np.minimum(np.abs(values), _LARGEST)
    curve = np.power((size + 0.055) / 1.055, 2.4)
    return np.copysign(np.where(size > _STRAIGHT, curve, size / 12.92), values)


def _encoded(linear: Floats) -> Floats:
    """Encode linear light as sRGB."""
    size = np.abs(linear)
    curve = 1.055 * np.power(size, 1 / 2.4) - 0.055
    straight = size <= _STRAIGHT / 12.92
    return np.copysign(np.where(straight, size * 12.92, curve), linear)


@functools.cache
def _linear_table(n: int, white: float) -> Floats:
    """Decode the whole numbers below `n`."""
    return _linear(np.arange(n) / white)


def _oklab_of_linear(linear: Floats) -> Floats:
    return _mixed(_OKLAB_OF_ROOTS, np.cbrt(_mixed(_CONES_OF_RGB, linear)))


def _linear_of_oklab(columns: Floats) -> Floats:
    # The published inverses are rounded; those of the matrices invert them.
    roots = _mixed(np.linalg.inv(_OKLAB_OF_ROOTS), columns)
    return _mixed(np.linalg.inv(_CONES_OF_RGB), roots**3)


def _lab_of_linear(linear: Floats) -> Floats:
    from skimage.color import xyz2lab

    return np.asarray(xyz2lab(_mixed(_xyz_of_rgb(), linear), channel_axis=0))


def _linear_of_lab(columns: Floats) -> Floats:
    """Invert `xyz2lab` everywhere, where `lab2xyz` of scikit-image clips Z."""
    lightness, a, b = columns
    y = (lightness + 16) / 116
    roots = np.stack((y + a / 500, y, y - b / 200))
    straight = (roots - 16 / 116) / 7.787
    relative = np.where(straight <= 0.008856, straight, roots**3)
    return _mixed(np.linalg.inv(_xyz_of_rgb()), relative * _WHITE[:, np.newaxis])


def _xyz_of_rgb() -> Floats:
    """Return the matrix of scikit-image: the XYZ of red, green and blue in columns."""
    from skimage.color import rgb2xyz

    return np.asarray(rgb2xyz(np.eye(3)).T)


def _mixed(matrix: Array, columns: Floats) -> Floats:
    """Multiply (3, 3) by (3, n), each column alike, which BLAS does not promise."""
    x, y, z = columns
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix])
