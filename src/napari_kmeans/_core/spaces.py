"""Where distances between colors are measured: colors to points, and back.

k-means works on points: well-conditioned coordinates, whose squares stay finite and
normal. A `Space` says how the colors of an image become points
(`points_of`), how other colors become centers among them (`centers_of`), and how
centers become colors again (`colors_of`). Coordinates are the numbers of the image as
they are, or those of a perceptual space (`perceptual`); with opacity, those of colors
over mid-gray, and one more. A `Frame` moves and scales these so that points of integers
are exact, and fill values far from all others cost the others no precision. Where
coordinates are weighted, points are multiplied by the weights: nothing that works on
points knows of these.

With opacity, the squared distance of two colors is the mean of two: that of what is
seen over black, and that over white. Let p be a premultiplied color, a its opacity from
0 to 1, and w white: (W, ..., W) for C channels of color, (100, 0, 0) in Lab, (1, 0, 0)
in Oklab. Over black p is seen, and over white p + (1 - a) w. The mean, for differences
D between two colors, is

    |Dp|^2 / 2 + |Dp - w Da|^2 / 2  =  |Dp - w Da / 2|^2 + |w|^2 / 4 Da^2,

and so coordinates are p + (1 - a) w / 2, which is what is seen over mid-gray, and
|w| a / 2. Those of opaque colors differ as the colors do. If differences over black and
white have weights f, so have those over mid-gray, and |w| a / 2 has |f w| / |w|.

Coordinates of integers of at most 16 bits are whole, and 8 W times as large. For c and
A = a W, the numbers of a color and its opacity, they are 8 c A + 4 W (W - A) and
round(4 sqrt(C)) W A. For RGB, 7 stands for 6.93: opacity counts 1 % more in distances.
Errors that are reported leave this `opacity_excess` out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.blocks import cut
from napari_kmeans._core.hashing import lowest
from napari_kmeans._core.perceptual import Gamut, from_space, gamut_between, to_space
from napari_kmeans._core.quality import finite, white_of

SpaceName: TypeAlias = Literal["rgb", "lab", "oklab"]

__all__ = [
    "FARTHEST",
    "Frame",
    "Layout",
    "Space",
    "centers_of",
    "colors_of",
    "dark_to_light",
    "ends_of",
    "frame_of",
    "framing_colors",
    "has_one_space",
    "is_plain",
    "opacity_excess",
    "points_of",
    "shown_centers",
    "space_of",
    "squared_units",
    "to_points",
    "unit_of",
    "whole_bits",
    "whole_space",
]

# The lightness of white.
_WHITE = {"lab": 100.0, "oklab": 1.0}
# Steps of whole coordinates, of colors with opacity, for each product of the two.
_STEPS = 8
# Bits of what opacity counts among floats: means of what is opaque are opaque.
_OPACITY_BITS = 24
# A color that is less opaque cannot be told from its place beside mid-gray.
_FAINTEST = 2.0**-40
# The last float64 below 2^64; only ranges over 2^53 come near it.
_LARGEST = 2.0**64 - 2.0**11
# Half of the points of floats lie at least as near to the origin as this, so that
# values from 1e-100 to 1e150 times theirs have squares that are normal, too.
_MIDDLE = 2.0**-30
# Points that show where the middle is.
_SAMPLE = 256
# Points beyond this are equally far: sums of their squares stay finite.
FARTHEST = 2.0**480
# Weighted integers are brought below this power of two, where cells take no more care
# of them than of other floats.
_NEAR = -13
# Bits of weights, such that products with 16 bits are exact: what is midway between two
# colors stays there. Those of a mean of products that rounding leaves alone.
_WEIGHT_BITS, _MEAN_BITS = 37, 44


class Layout(NamedTuple):
    """The meaning of the channels of an image."""

    dtype: np.dtype[Any]
    n_channels: int
    # Colors are numbers, not rows of them.
    is_gray: bool
    space: SpaceName
    has_alpha: bool
    # What a unit of each coordinate counts, but for opacity; None if all count alike.
    weights: tuple[float, ...] | None = None


class Frame(NamedTuple):
    """The place of points among coordinates: ``point = (coordinate - origin) * scale``.

    The origin is a value of each channel, or zero, such that the difference loses
    nothing. Of integers it is the least value, so unsigned differences cannot overflow,
    or the median where they would not fit the 53 bits of float64; the scale is 1. Of
    floats it is the value nearest to zero, or zero between values of both signs:
    differences are then as precise as the values themselves. The scale is a power of
    two, which never rounds.
    """

    origin: Array
    scale: float


class Space(NamedTuple):
    """How colors (n, C) become coordinates (n, D), and these become points.

    With alpha, coordinates are those over mid-gray, and opacity is one more of them, so
    that colors differ less the less is seen of them, and not at all where nothing is.
    """

    layout: Layout
    gamut: Gamut | None
    frame: Frame
    # What points are multiplied by (D,), unless all coordinates count alike.
    factors: Floats | None = None


def space_of(layout: Layout, blocks: Callable[[], Iterable[Array]]) -> Space:
    """Return the space for colors in `blocks()` of (n, C), at least one color.

    Perceptual coordinates have one frame, whatever colors there are.
    """
    gamut, is_float = None, layout.dtype.kind == "f"
    if layout.space != "rgb":
        ends = ends_of(some[:, :3] for some in blocks()) if is_float else None
        gamut = gamut_between(layout.dtype, ends)
    nowhere = Space(layout, gamut, Frame(np.zeros(0), 1.0), _factors_of(layout))
    known = blocks()
    if gamut is not None:
        # The corners of the cube, of which grays alone would be far too near to zero.
        corners = list(itertools.product(*_ends_of_dtype(layout).T))
        known = [np.array(corners, layout.dtype)]
    return nowhere._replace(frame=frame_of(_locate(c, nowhere) for c in known))


def _factors_of(layout: Layout) -> Floats | None:
    """Return what points are multiplied by (D,), or None if all weights are equal.

    Only ratios of weights matter, so all are multiplied by a power of two. Opacity
    counts as white does: as lightness, or as the root mean square of the weights.
    """
    if layout.weights is None or min(layout.weights) == max(layout.weights):
        return None
    factors = np.array(layout.weights)
    factors = np.ldexp(factors, -np.frexp(factors.max())[1])
    if layout.has_alpha:
        of_white = factors if layout.space == "rgb" else factors[:1]
        factors = np.append(factors, np.sqrt(np.square(of_white).mean()))
    factors, n_bits = _shortened(factors, _WEIGHT_BITS), _n_bits(layout)
    return np.ldexp(factors, _NEAR - n_bits) if n_bits > 0 else factors


def _shortened(values: Floats, n_bits: int) -> Floats:
    """Round numbers to so many significant bits."""
    mantissa, exponent = np.frexp(values)
    whole = np.rint(np.ldexp(mantissa, n_bits))
    return np.asarray(np.ldexp(whole, exponent - n_bits))


def framing_colors(colors: Array, layout: Layout) -> Array:
    """Return a few of colors (n, C), n > 0, whose space is that of all.

    They have the least and the largest value of each channel and coordinate.
    """
    nowhere = Space(layout._replace(space="rgb"), None, Frame(np.zeros(0), 1.0))
    columns = [*_locate(colors, nowhere).T, *(colors.T if layout.has_alpha else ())]
    ends = [end for column in columns for end in (column.argmin(), column.argmax())]
    return np.concatenate((colors[ends], _sample(colors)))


def has_one_space(layout: Layout) -> bool:
    """Whether any colors of a layout can be labeled in its `whole_space`.

    So can integers of at most 16 bits in each channel, and perceptual coordinates.
    """
    is_short = layout.dtype.kind != "f" and layout.dtype.itemsize <= 2
    return is_short or layout.space != "rgb"


def whole_space(layout: Layout) -> Space:
    """Return a space for all colors of a layout, for which none is looked at."""
    return space_of(layout, lambda: [_ends_of_dtype(layout)])


def _ends_of_dtype(layout: Layout) -> Array:
    """Return colors (3, C) of integers, or of black and white, that enclose all others.

    They are the least, the largest, and the least with all of the last channel, which
    with opacity is darker than what is clear.
    """
    dtype, low, high = layout.dtype, 0, 1
    if dtype.kind != "f":
        limits = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
        low, high = int(limits.min), int(limits.max)
    ends = np.array([[low], [high], [low]], dtype).repeat(layout.n_channels, axis=1)
    ends[2, -1] = high
    return ends


def frame_of(blocks: Iterable[Array]) -> Frame:
    """Return the frame of coordinates in blocks of (n, D), at least one."""
    ends, sample = [], []
    for block in blocks:
        if len(block):
            ends.append(ends_of([block]))
            sample.append(_sample(block))
    low, high = ends_of(ends)
    if low.dtype.kind != "f" and not _is_wide(low, high):
        return Frame(low, 1.0)
    # Of a fill value, however many pixels have it, there is one.
    some = np.unique(np.concatenate(sample), axis=0)
    if low.dtype.kind != "f":
        return Frame(_median(_sample(some)), 1.0)
    origin = np.clip(low.dtype.type(0), low, high)
    # In halves: the range of float64 does not fit float64. A fill value counts once in
    # each channel.
    halves = np.abs(some.astype(np.float64) / 2 - origin.astype(np.float64) / 2)
    sizes = np.concatenate([np.unique(column[column > 0]) for column in halves.T])
    largest = float(np.abs([low, high]).max())
    # Half of the least denormal is zero.
    middle = (float(_median(sizes)) if len(sizes) else largest / 2) or largest
    exponent = max(int(np.frexp(middle)[1]) + 1, -960)
    return Frame(origin, float(np.ldexp(_MIDDLE, -exponent)))


def _sample(colors: Array) -> Array:
    """Return a few of colors (n, C), n > 0.

    Of wide integers they depend on the set of colors alone, and so does what rounding
    makes of all points.
    """
    if colors.dtype.kind == "f" or colors.dtype.itemsize < 8:
        return colors[:: -(-len(colors) // _SAMPLE)]
    pieces = (colors[piece] for piece in cut(len(colors), 256))
    return lowest(pieces, colors[:0], _SAMPLE)


def _is_wide(low: Array, high: Array) -> bool:
    """Whether differences of integers between these ends do not fit 53 bits."""
    ends = zip(low.tolist(), high.tolist(), strict=True)
    return any(int(most) - int(least) > 1 << 53 for least, most in ends)


def _median(values: Array) -> Array:
    """Return the upper median of values (n, ...) along the first axis."""
    middle = len(values) // 2
    return np.asarray(np.partition(values, middle, axis=0)[middle])


def ends_of(blocks: Iterable[Array]) -> Array:
    """Return the least and the largest values (2, C) of blocks (n, C)."""
    # Channel by channel is many times quicker than along the first axis.
    ends = [
        np.array([(c.min(), c.max()) for c in block.T], block.dtype).T
        for block in blocks
        if len(block)
    ]
    low, high = zip(*ends, strict=True)
    return np.stack((np.min(low, axis=0), np.max(high, axis=0)))


def is_plain(space: Space) -> bool:
    """Whether distances are those of the numbers as they are."""
    return _has_numbers(space) and space.factors is None


def _has_numbers(space: Space) -> bool:
    """Whether coordinates are the numbers as they are."""
    return space.gamut is None and not space.layout.has_alpha


def points_of(colors: Array, space: Space) -> Array:
    """Turn colors (n, C) of the image into points (n, D)."""
    points = to_points(_locate(colors, space), space.frame)
    if _is_whole_with_alpha(space.layout):
        points = points.astype(space.frame.origin.dtype, copy=False)
    return points if space.factors is None else points * space.factors


def to_points(coordinates: Array, frame: Frame) -> Array:
    """Turn coordinates (n, D) within a frame into points (n, D).

    Points of integers of up to 32 bits are exact and keep an unsigned dtype of their
    size; all others are float64.
    """
    if coordinates.dtype.kind == "f":
        return _scaled(coordinates, frame)
    unsigned = f"u{coordinates.dtype.itemsize}"
    # Modulo 2^bits, the difference of signed integers is the true, unsigned one.
    above, below = coordinates.view(unsigned), frame.origin.view(unsigned)
    if coordinates.dtype.itemsize < 8:
        return np.asarray(above - below)
    is_below = coordinates < frame.origin
    steps = np.where(is_below, below - above, above - below).astype(np.float64)
    return np.asarray(np.negative(steps, out=steps, where=is_below))


def centers_of(palette: Array, space: Space) -> Floats:
    """Turn colors (k, C) of any dtype, in the units of the image, into centers (k, D).

    Colors far outside the frame become centers whose squares do not overflow.
    """
    origin = space.frame.origin
    with np.errstate(over="ignore"):
        located = _locate(palette, space)
        if origin.dtype.kind == "f":
            centers = _scaled(located, space.frame)
        else:
            # Its 64-bit mantissa holds the difference of any two integers, where it
            # has one.
            difference = located.astype(np.longdouble) - origin.astype(np.longdouble)
            centers = difference.astype(np.float64)
    centers = np.clip(centers, -FARTHEST, FARTHEST)
    return centers if space.factors is None else centers * space.factors


def _scaled(coordinates: Array, frame: Frame) -> Floats:
    with np.errstate(over="ignore"):
        scaled = coordinates.astype(np.float64) * frame.scale
    origin = frame.origin.astype(np.float64) * frame.scale
    return np.clip(scaled - origin, -FARTHEST, FARTHEST)


def colors_of(centers: Floats, space: Space) -> Array:
    """Turn centers (k, D) into the nearest colors (k, C) of the dtype of the image."""
    dtype, points = space.layout.dtype, _unweighted(centers, space)
    if _has_numbers(space) and dtype.kind != "f":
        if space.factors is not None and dtype.itemsize < 8:
            # A mean that is a half is one again.
            points = _shortened(points, _MEAN_BITS)
        return _whole_colors(np.rint(points), space.frame.origin)
    return _restore(_in_units(points, space.frame), space, dtype)


def _unweighted(centers: Floats, space: Space) -> Floats:
    return centers if space.factors is None else centers / space.factors


def _whole_colors(steps: Floats, origin: Array) -> Array:
    """Return the integers (k, C) that are so many steps from the origin."""
    dtype = origin.dtype
    if dtype.itemsize < 8:
        unsigned = f"u{dtype.itemsize}"
        whole = np.clip(steps, 0, _LARGEST).astype(np.uint64)
        colors = origin.view(unsigned) + whole.astype(unsigned)
        return np.asarray(colors.view(dtype))
    # Neither float64 nor any integer of 64 bits holds both.
    limits, places = np.iinfo(dtype), origin.tolist()
    exact = [
        min(max(at + int(n), limits.min), limits.max)
        for row in steps.tolist()
        for at, n in zip(places, row, strict=True)
    ]
    return np.array(exact, dtype).reshape(steps.shape)


def shown_centers(centers: Floats, space: Space) -> Floats:
    """Turn centers (k, D) into colors (k, C) in the units of the image, not rounded."""
    coordinates = _in_units(_unweighted(centers, space), space.frame)
    return _restore(coordinates, space, np.dtype(np.float64))


def _in_units(points: Floats, frame: Frame) -> Floats:
    # In two halves: the range of float64 does not fit float64.
    half = points / (2 * frame.scale)
    return np.asarray(frame.origin.astype(np.float64) + half + half)


def dark_to_light(palette: Array, layout: Layout) -> Indices:
    """Order distinct colors (K, C) by Rec. 709 luma, or the sum of their channels."""
    columns = to_points(palette, frame_of([palette])).T.astype(np.float64)
    is_rgb = not layout.is_gray and layout.n_channels == 3
    # Whole numbers, so that lumas of integers are equal exactly if they are.
    factors = (2126.0, 7152.0, 722.0) if is_rgb else (1.0,) * len(columns)
    luma = np.zeros(len(palette))
    for factor, column in zip(factors, columns, strict=True):
        luma += factor * column
    return np.lexsort((*palette.T[::-1], luma))


def whole_bits(space: Space) -> int:
    """Return the bits of points that are whole numbers, or 0 if they are not."""
    return _n_bits(space.layout) if space.factors is None else 0


def _n_bits(layout: Layout) -> int:
    """Return the bits of coordinates that are whole numbers, or 0 if they are not."""
    n_bits = 8 * layout.dtype.itemsize
    if layout.space != "rgb" or layout.dtype.kind == "f":
        return 0
    if _is_whole_with_alpha(layout):
        most = max(_STEPS, int(_STEPS * _opacity_scale(layout)))
        return 2 * n_bits + (most - 1).bit_length()
    return 0 if layout.has_alpha else n_bits


def opacity_excess(space: Space) -> float:
    """Return the part of the square of the last coordinate that counts too much."""
    if not space.layout.has_alpha or space.layout.space != "rgb":
        return 0.0
    wanted = (space.layout.n_channels - 1) / 4
    return 1 - wanted / _opacity_scale(space.layout) ** 2


def _opacity_scale(layout: Layout) -> float:
    """Return what the last coordinate counts for each unit of opacity."""
    if layout.space != "rgb":
        return _WHITE[layout.space] / 2
    scale = math.sqrt(layout.n_channels - 1) / 2
    if _is_whole_with_alpha(layout):
        return round(_STEPS * scale) / _STEPS
    return float(_shortened(np.array(scale), _OPACITY_BITS))


def _is_whole_with_alpha(layout: Layout) -> bool:
    """Whether coordinates are whole numbers, made of colors and opacity."""
    is_short = layout.dtype.kind == "u" and layout.dtype.itemsize <= 2
    return layout.has_alpha and layout.space == "rgb" and is_short


def unit_of(space: Space) -> float:
    """Return the unit of the image, or of the space, in points but for weights."""
    layout, unit = space.layout, 1.0
    if layout.has_alpha and space.gamut is None:
        unit = white_of(layout.dtype) * _steps(layout)
    return space.frame.scale * unit


def _steps(layout: Layout) -> int:
    """Return how many steps coordinates with opacity have for each product."""
    return _STEPS if _is_whole_with_alpha(layout) else 1


def squared_units(mse: float, space: Space) -> float:
    """Turn a mean of squares of points into units of the image, or of the space.

    They are those of its weighted channels, if it has weights.
    """
    unit = unit_of(space)
    if space.factors is not None and space.layout.weights is not None:
        unit *= float(space.factors[0]) / space.layout.weights[0]
    # In two steps: the square of the scale of denormals overflows.
    return mse / unit / unit


def _locate(colors: Array, space: Space) -> Array:
    """Turn colors (n, C) of any dtype into coordinates (n, D)."""
    layout = space.layout
    dtype, name, has_alpha = layout.dtype, layout.space, layout.has_alpha
    if name != "rgb" and space.gamut is not None:
        located: Array = to_space(colors[:, :3], name, space.gamut)
        if not has_alpha:
            return located
        opacity = colors[:, 3:].astype(np.float64) / white_of(dtype)
        scale = _opacity_scale(layout)
        located = located * opacity
        located[:, :1] += scale * (1 - opacity)
        return np.hstack((located, scale * opacity))
    if not has_alpha:
        return colors
    is_whole = colors.dtype == dtype and _is_whole_with_alpha(layout)
    # Products of 8 bits and steps fit 32, exactly.
    wide: Array = colors.astype(f"u{4 * dtype.itemsize}" if is_whole else np.float64)
    number, opacity, n_steps = wide.dtype.type, wide[:, -1:], _steps(layout)
    white = white_of(dtype)
    with np.errstate(over="ignore"):
        products = wide[:, :-1] * opacity
        products *= number(n_steps)
        products += (number(white) - opacity) * number(n_steps * white / 2)
        last = opacity * number(n_steps * white * _opacity_scale(layout))
        located = np.hstack((products, last))
    return located if is_whole else finite(located)


def _restore(coordinates: Floats, space: Space, dtype: np.dtype[Any]) -> Array:
    """Turn coordinates (n, D) into colors (n, C) of a dtype."""
    if _has_numbers(space):
        return coordinates.astype(dtype)
    layout, white = space.layout, white_of(space.layout.dtype)
    most = white if dtype.kind == "f" else min(white, _LARGEST)
    colors = np.empty(coordinates.shape, dtype)
    rest = coordinates
    if layout.has_alpha:
        unit = white * _steps(layout) if layout.space == "rgb" else 1 / white
        opacity = np.maximum(coordinates[:, -1:] / (unit * _opacity_scale(layout)), 0)
        if dtype.kind != "f":
            opacity = np.clip(np.rint(opacity), 0, most)
        colors[:, -1:] = opacity
        rest = _without_gray(coordinates[:, :-1], opacity, most, layout)
    if layout.space != "rgb" and space.gamut is not None:
        restored = from_space(rest, layout.space, space.gamut._replace(dtype=dtype))
    else:
        restored = rest if dtype.kind == "f" else np.clip(np.rint(rest), 0, most)
    colors[:, : restored.shape[1]] = restored
    if layout.has_alpha:
        colors[colors[:, -1] == 0] = 0
    return colors


def _without_gray(
    coordinates: Floats, opacity: Floats, opaque: float, layout: Layout
) -> Floats:
    """Return what has these coordinates (k, C) over mid-gray, for opacities (k, 1)."""
    n_steps = _steps(layout)
    gray = np.full(coordinates.shape[1], n_steps * white_of(layout.dtype) / 2)
    if layout.space != "rgb":
        gray = np.array([_opacity_scale(layout), 0, 0])
        opacity, opaque = opacity / opaque, 1.0
    # Of what is not seen, nothing is left.
    rest = np.zeros_like(coordinates)
    above = coordinates - gray * (opaque - opacity)
    np.divide(above, n_steps * opacity, out=rest, where=opacity > _FAINTEST * opaque)
    return rest
