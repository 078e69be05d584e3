"""Colors in the units of an image to well-conditioned float64 points, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Frame", "from_points", "frame_of", "to_points"]


class Frame(NamedTuple):
    """Where the points of an image lie: ``point = (color - origin) * scale``.

    The origin is the darkest value of each channel, so a constant channel is
    exactly zero and unsigned differences cannot overflow. The scale is a power of
    two, so it never rounds; it keeps squares of huge and denormal floats finite
    and is 1 for integers.
    """

    origin: NDArray[Any]
    scale: float


def frame_of(colors: NDArray[Any]) -> Frame:
    """Give the frame of finite `colors` (n, C), n >= 1."""
    low, high = colors.min(axis=0), colors.max(axis=0)
    if colors.dtype.kind != "f":
        return Frame(low, 1.0)
    # Halved before they are subtracted: the range of float64 overflows float64.
    extent = float((high.astype(np.float64) / 2 - low.astype(np.float64) / 2).max())
    exponent = np.frexp(extent)[1] if extent > 0 else 0
    return Frame(low, float(np.ldexp(1.0, min(-int(exponent), 1023))))


def to_points(colors: NDArray[Any], frame: Frame) -> NDArray[np.float64]:
    """Turn colors (n, C) into points (n, C), exactly while they fit 53 bits."""
    if colors.dtype.kind == "f":
        origin = frame.origin.astype(np.float64) * frame.scale
        return colors.astype(np.float64) * frame.scale - origin
    unsigned = _unsigned(colors.dtype)
    # Modulo 2^bits the difference of signed integers is the true, unsigned one.
    difference = colors.view(unsigned) - frame.origin.view(unsigned)
    return difference.astype(np.float64)


def from_points(points: NDArray[np.float64], frame: Frame) -> NDArray[Any]:
    """Turn points (n, C) into the nearest colors of the dtype of the image."""
    dtype = frame.origin.dtype
    if dtype.kind == "f":
        origin = frame.origin.astype(np.float64) * frame.scale
        return ((points + origin) / frame.scale).astype(dtype)
    unsigned = _unsigned(dtype)
    # The largest float64 below 2^64: all that a uint64 difference can round to.
    steps = np.minimum(np.rint(points), 2.0**64 - 2.0**11).astype(np.uint64)
    return (frame.origin.view(unsigned) + steps.astype(unsigned)).view(dtype)


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the unsigned integer dtype of the size of `dtype`."""
    return np.dtype(f"u{dtype.itemsize}")
