"""Where distances between colors are measured: colors to points, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from napari_kmeans._core.perceptual import Gamut, from_space, gamut_between, to_space
from napari_kmeans._core.points import (
    Frame,
    ends_of,
    frame_between,
    from_points,
    in_units,
    to_centers,
    to_points,
)
from napari_kmeans._core.quality import premultiplied, white_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    SpaceName: TypeAlias = Literal["rgb", "lab", "oklab"]

__all__ = [
    "Space",
    "centers_of",
    "colors_of",
    "errors_in_units",
    "is_plain",
    "points_of",
    "shown_centers",
    "space_of",
    "squared_units",
    "whole_bits",
]

# What opaque white has in the place of opacity, as much as it has of lightness.
_OPAQUE = {"lab": 100.0, "oklab": 1.0}


class Space(NamedTuple):
    """How colors (n, C) become coordinates (n, D), and these become points.

    Coordinates are the numbers of the colors, or those of a perceptual space. With
    alpha they are premultiplied, and opacity is one more of them, so that colors
    differ less the less is seen of them, and not at all where nothing is.
    """

    name: SpaceName
    has_alpha: bool
    dtype: np.dtype[Any]
    gamut: Gamut | None
    # Coordinates become points in this frame.
    frame: Frame


def space_of(
    name: SpaceName, has_alpha: bool, blocks: Callable[[], Iterable[NDArray[Any]]]
) -> Space:
    """Give the space for colors in `blocks()` of (n, C), one color at least."""
    first = next(iter(blocks()))
    dtype = first.dtype.newbyteorder("=")
    gamut = None
    if name != "rgb":
        ends = _ends(some[:, :3] for some in blocks()) if dtype.kind == "f" else first
        gamut = gamut_between(ends[:, :3].min(axis=0), ends[:, :3].max(axis=0))
    nowhere = Space(name, has_alpha, dtype, gamut, Frame(np.zeros(0), 1.0))
    ends = _ends(_locate(some, nowhere) for some in blocks())
    return nowhere._replace(frame=frame_between(ends[0], ends[1]))


def is_plain(space: Space) -> bool:
    """Whether distances are those of the numbers as they are."""
    return space.name == "rgb" and not space.has_alpha


def points_of(colors: NDArray[Any], space: Space) -> NDArray[Any]:
    """Turn colors (n, C) of the image into points (n, D), none negative."""
    return to_points(_locate(colors, space), space.frame)


def centers_of(palette: NDArray[Any], space: Space) -> NDArray[np.float64]:
    """Turn colors (k, C) of any dtype, in the units of the image, into centers."""
    with np.errstate(over="ignore"):
        centers = to_centers(_locate(palette, space), space.frame)
    # Far outside the frame, and with squares that do not overflow.
    return np.clip(centers, -1e150, 1e150)


def colors_of(centers: NDArray[np.float64], space: Space) -> NDArray[Any]:
    """Turn centers (k, D) into the nearest colors (k, C) of the dtype of the image."""
    if is_plain(space):
        return from_points(centers, space.frame)
    return _restore(in_units(centers, space.frame), space, space.dtype)


def shown_centers(centers: NDArray[np.float64], space: Space) -> NDArray[np.float64]:
    """Turn centers (k, D) into colors (k, C) in the units of the image, unrounded."""
    coordinates = in_units(centers, space.frame)
    if is_plain(space):
        return coordinates
    return _restore(coordinates, space, np.dtype(np.float64))


def whole_bits(space: Space) -> int:
    """Give the bits of points that are whole numbers, or 0 if they are not."""
    n_bits = 8 * space.dtype.itemsize
    if space.gamut is not None or space.dtype.kind == "f":
        return 0
    if space.has_alpha:
        return 2 * n_bits if n_bits <= 16 else 0
    return n_bits


def squared_units(mse: float, space: Space) -> float:
    """Turn a mean of squares of points into units of the image, or of the space."""
    unit = space.frame.scale
    if space.has_alpha and space.gamut is None:
        unit *= white_of(space.dtype)
    # In two steps: the square of the scale of denormals overflows.
    return mse / unit / unit


def errors_in_units(
    colors: NDArray[Any], palette: NDArray[Any], space: Space
) -> NDArray[np.float64]:
    """Give squared distances (n,) of colors to others (n, C), in units of the image."""
    white = white_of(space.dtype)
    if space.has_alpha:
        first, second = premultiplied(colors, white), premultiplied(palette, white)
    else:
        first, second = colors.astype(np.float64), palette.astype(np.float64)
    return np.asarray(np.square(first - second).sum(axis=1))


def _locate(colors: NDArray[Any], space: Space) -> NDArray[Any]:
    """Turn colors (n, C) of any dtype into coordinates (n, D)."""
    white = white_of(space.dtype)
    if space.gamut is not None:
        located: NDArray[Any] = to_space(
            colors[:, :3], _perceptual(space.name), space.gamut
        )
        if not space.has_alpha:
            return located
        opacity = colors[:, 3:] / white
        return np.hstack((located * opacity, opacity * _OPAQUE[space.name]))
    if not space.has_alpha:
        return colors
    types = colors.dtype, space.dtype
    # Products of 16 bits fit 32, exactly.
    is_short = all(t.kind == "u" and t.itemsize <= 2 for t in types)
    wide: NDArray[Any] = colors.astype(np.uint32 if is_short else np.float64)
    opacity = wide[:, -1:]
    return np.hstack((wide[:, :-1] * opacity, opacity * wide.dtype.type(white)))


def _restore(
    coordinates: NDArray[np.float64], space: Space, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Turn coordinates (n, D), not plain ones, into colors (n, C) of a dtype."""
    white = white_of(space.dtype)
    # The last float64 below 2^64.
    largest = min(white, 2.0**64 - 2.0**11)
    colors = np.empty(coordinates.shape, dtype)
    rest = coordinates
    if space.has_alpha:
        unit = white if space.gamut is None else _OPAQUE[space.name] / white
        opacity = np.maximum(coordinates[:, -1:] / unit, 0)
        if dtype.kind != "f":
            opacity = np.clip(np.rint(opacity), 0, largest)
        # Of what is not seen, nothing is left.
        share = opacity if space.gamut is None else opacity / white
        rest = np.zeros_like(coordinates[:, :-1])
        np.divide(coordinates[:, :-1], share, out=rest, where=opacity > 0)
        colors[:, -1:] = opacity
    if space.gamut is not None:
        gamut = space.gamut._replace(dtype=dtype)
        restored = from_space(rest, _perceptual(space.name), gamut)
    else:
        restored = rest if dtype.kind == "f" else np.clip(np.rint(rest), 0, largest)
    colors[:, : restored.shape[1]] = restored
    if space.has_alpha:
        colors[colors[:, -1] == 0] = 0
    return colors


def _perceptual(name: SpaceName) -> Literal["lab", "oklab"]:
    """Give the name of a space that is not "rgb"."""
    return "lab" if name == "lab" else "oklab"


def _ends(blocks: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Give the least and the largest of the rows (n, C), as (2, C)."""
    low, high = zip(*(ends_of(some) for some in blocks if len(some)), strict=True)
    return np.stack((np.min(low, axis=0), np.max(high, axis=0)))
