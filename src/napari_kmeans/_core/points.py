"""Colors in the units of an image to well-conditioned points, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Frame",
    "ends_of",
    "frame_between",
    "frame_of",
    "from_points",
    "in_units",
    "to_centers",
    "to_points",
]


class Frame(NamedTuple):
    """Where the points of an image lie: ``point = (color - origin) * scale``.

    The origin is the least value of each channel, so a constant channel is exactly
    zero and unsigned differences cannot overflow. The scale is a power of two, which
    never rounds: 1 for integers, and such that points of floats lie in 0 to 1, so
    that squares of huge and of denormal values stay finite and normal.
    """

    origin: NDArray[Any]
    scale: float


def frame_between(low: NDArray[Any], high: NDArray[Any]) -> Frame:
    """Give the frame of colors whose channels run from `low` (C,) to `high` (C,)."""
    if low.dtype.kind != "f":
        return Frame(low, 1.0)
    with np.errstate(over="ignore"):
        extent = float((high.astype(np.float64) - low.astype(np.float64)).max())
    # The range of float64 does not fit float64, but is below 2^1025.
    exponent = int(np.frexp(extent)[1]) if np.isfinite(extent) else 1025
    return Frame(low, float(np.ldexp(1.0, min(-exponent, 1022))))


def frame_of(colors: NDArray[Any]) -> Frame:
    """Give the frame of colors (n, C), at least one."""
    return frame_between(*ends_of(colors))


def ends_of(colors: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give the least and the largest values (C,) of colors (n, C), at least one."""
    # Channel by channel is many times quicker than along the first axis.
    ends = [(column.min(), column.max()) for column in colors.T]
    low, high = np.array(ends, colors.dtype).T
    return low.copy(), high.copy()


def to_points(colors: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Turn colors (n, C) into points (n, C), none negative.

    Points of integers of up to 32 bits are exact and keep an unsigned dtype of their
    size; all others are float64.
    """
    if colors.dtype.kind == "f":
        return _scaled(colors, frame)
    unsigned = f"u{colors.dtype.itemsize}"
    # Modulo 2^bits, the difference of signed integers is the true, unsigned one.
    steps = colors.view(unsigned) - frame.origin.view(unsigned)
    return np.asarray(steps, np.float64 if colors.dtype.itemsize == 8 else None)


def to_centers(colors: NDArray[Any], frame: Frame) -> NDArray[np.float64]:
    """Turn colors (k, C) of any dtype, also outside the frame, into centers (k, C)."""
    if frame.origin.dtype.kind == "f":
        return _scaled(colors, frame)
    # Its 64-bit mantissa holds the difference of any two integers, where it has one.
    difference = colors.astype(np.longdouble) - frame.origin.astype(np.longdouble)
    return difference.astype(np.float64)


def from_points(points: NDArray[np.float64], frame: Frame) -> NDArray[Any]:
    """Turn points (n, C) into the nearest colors of the dtype of the image."""
    dtype = frame.origin.dtype
    if dtype.kind == "f":
        return in_units(points, frame).astype(dtype)
    # The last float64 below 2^64; only ranges over 2^53 come near it.
    steps = np.clip(np.rint(points), 0, 2.0**64 - 2.0**11).astype(np.uint64)
    unsigned = f"u{dtype.itemsize}"
    colors = frame.origin.view(unsigned) + steps.astype(unsigned)
    return np.asarray(colors.view(dtype))


def in_units(points: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
    """Turn points (n, C) into float64 colors in the units of the image, not rounded."""
    # In two halves: the range of float64 does not fit float64.
    half = points / (2 * frame.scale)
    return np.asarray(frame.origin.astype(np.float64) + half + half)


def _scaled(colors: NDArray[Any], frame: Frame) -> NDArray[np.float64]:
    # Only colors of palettes can lie so far outside the frame that they overflow.
    with np.errstate(over="ignore"):
        scaled = np.clip(colors.astype(np.float64) * frame.scale, -1e150, 1e150)
    return np.asarray(scaled - frame.origin.astype(np.float64) * frame.scale)
