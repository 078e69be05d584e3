"""What results promise, in whole numbers of Python: an oracle without the code's help.

Colors become rows of whole numbers whose distances are those that the documentation
defines, so that sums, squares and ties are exact. Perceptual coordinates alone are
floats before, and those of scikit-image.
"""

import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import skimage.color

# All floats are whole multiples of one over this.
FLOAT_UNIT = 1 << 1074
# Reciprocal parts of a distance, and of the numbers it is the difference of.
EXACT, ROUNDED, OPACITY, PERCEPTUAL = None, 10**9, 10**7, 10**3
_ROUNDING, _UNDERFLOW = 10**14, 10**140


class Case(NamedTuple):
    """Pixels (n, C), and how the distances between them are measured."""

    pixels: Any
    space: str = "rgb"
    weights: Any = None
    alpha: bool = False


def are_seen(case):
    """Whether pixels are finite, and not fully transparent."""
    seen = np.isfinite(case.pixels).all(axis=1)
    return seen & (case.pixels[:, -1] > 0) if case.alpha else seen


def is_beyond(case):
    """Whether numbers are so far apart that distances are not those of float64."""
    pixels = case.pixels
    if pixels.dtype.kind != "f":
        if case.alpha and pixels.dtype.itemsize == 8:
            # Products with opacity are.
            return True
        return int(pixels.max()) - int(pixels.min()) > 1 << 53
    sizes = abs(exact(pixels[np.isfinite(pixels)])).tolist()
    return max(sizes) > 10**140 * min(size or max(sizes) for size in sizes)


def exact(values, unit=FLOAT_UNIT):
    """Return numbers as whole ones of a unit."""
    return np.frompyfunc(lambda value: int(Fraction(value) * unit), 1, 1)(
        np.asarray(values).astype(object)
    )


def coordinates(case, colors, *, is_error=False):
    """Return whole coordinates of colors, the unit of these, and a tolerance.

    What is nearest is told by whole opacities, which count up to 1 % more, errors not.
    """
    dtype = case.pixels.dtype
    white = int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1
    if case.space != "rgb":
        places = exact(_perceptual(case, colors, white))
        unit, tolerance = FLOAT_UNIT, PERCEPTUAL
    elif case.alpha:
        numbers, n = exact(colors), colors.shape[1] - 1
        tint, opacity = numbers[:, :-1], numbers[:, -1:]
        is_whole = dtype.kind == "u" and dtype.itemsize <= 2 and not is_error
        factor = round(4 * math.sqrt(n)) << 38 if is_whole else math.isqrt(n << 80)
        over_gray = (2 * tint - white * FLOAT_UNIT) * opacity
        last = white * FLOAT_UNIT * opacity * factor
        places = np.concatenate((over_gray << 40, last), axis=1)
        unit = (white * FLOAT_UNIT**2) << 41
        tolerance = EXACT if is_whole else OPACITY
    else:
        places, unit, tolerance = exact(colors), FLOAT_UNIT, EXACT
    if case.weights is None:
        return places, unit, tolerance
    weights = list(case.weights)
    if case.alpha:
        of_white = weights if case.space == "rgb" else weights[:1]
        weights.append(math.sqrt(sum(weight**2 for weight in of_white) / len(of_white)))
    return places * exact(weights), unit * FLOAT_UNIT, tolerance or ROUNDED


def _perceptual(case, colors, white):
    """Return Lab or (L, 2a, 2b) of Oklab, and opacity, as the documentation says."""
    rgb = colors[:, :3].astype(np.float64) / white
    if case.space == "lab":
        places, light = skimage.color.rgb2lab(rgb), 100.0
    else:
        straight = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
        # https://bottosson.github.io/posts/oklab
        cones = straight @ np.transpose(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        places = np.cbrt(cones) @ np.transpose(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951 * 2, -2.4285922050 * 2, 0.4505937099 * 2],
                [0.0259040371 * 2, 0.7827717662 * 2, -0.8086757660 * 2],
            ]
        )
        light = 1.0
    if not case.alpha:
        return places
    opacity = colors[:, 3:].astype(np.float64) / white
    places = places * opacity
    places[:, :1] += (1 - opacity) * light / 2
    return np.hstack((places, light / 2 * opacity))


def check_nearest(labels, case, palette):
    """Each pixel that is seen has its nearest color, the first one of several."""
    pixels = case.pixels[are_seen(case)]
    labels = np.asarray(labels).reshape(-1)[are_seen(case)].astype(int)
    if len(pixels) == 0 or not _is_measurable(case, pixels, palette):
        return
    places, unit, tolerance = coordinates(case, pixels)
    colors, _, _ = coordinates(case, palette)
    squared = ((places[:, np.newaxis] - colors) ** 2).sum(axis=-1)
    first = np.array([row.tolist().index(min(row)) for row in squared])
    is_short = case.pixels.dtype.kind != "f" and case.pixels.dtype.itemsize <= 2
    if tolerance is EXACT and (is_short or _is_small(places, colors)):
        assert labels.tolist() == first.tolist()
        return
    everything = int(max(abs(places).max(), abs(colors).max()))
    gray = _gray(case) * unit if case.alpha else 0
    for i, (label, best) in enumerate(zip(labels, first, strict=True)):
        distance = math.isqrt(squared[i, best])
        near = max(abs(row).max() for row in (places[i], colors[label], colors[best]))
        near = max(near, gray)
        slack = distance // (tolerance or ROUNDED)
        slack += near // _ROUNDING + everything // _UNDERFLOW + 2
        assert math.isqrt(squared[i, label]) <= distance + slack


def _gray(case):
    """Return what coordinates over mid-gray are at most, of what is hardly seen."""
    kind = case.pixels.dtype
    white = {"lab": 100, "oklab": 1}.get(case.space)
    white = white or (int(np.iinfo(kind).max) if kind.kind in "iu" else 1)
    return math.ceil(white * max(case.weights if case.weights is not None else [1]))


def _is_measurable(case, *colors):
    """Whether the documentation says what is seen of colors: not beyond white."""
    measured = [each[:, -1] if case.space == "rgb" else each for each in colors]
    if case.pixels.dtype.kind != "f" or not (case.alpha or case.space != "rgb"):
        return True
    return all(((each >= 0) & (each <= 1)).all() for each in measured)


def _is_small(*rows):
    """Whether numbers are so few steps apart that float64 has squares of them all."""
    numbers = np.concatenate([row.reshape(-1) for row in rows]).tolist()
    step = math.gcd(*(number - numbers[0] for number in numbers))
    return (max(numbers) - min(numbers)) // max(step, 1) < 1 << 25


def check_error(mse, labels, case, palette):
    """`mse` is the mean squared distance of what is fitted to the palette."""
    seen = are_seen(case)
    pixels, labels = case.pixels[seen], np.asarray(labels).reshape(-1)[seen]
    if len(pixels) == 0:
        assert mse == 0
        return
    plain = Case(case.pixels, alpha=case.alpha)
    if not _is_measurable(plain, pixels, palette):
        return
    places, unit, _ = coordinates(plain, pixels, is_error=True)
    colors, _, _ = coordinates(plain, palette, is_error=True)
    total = int(((places - colors[labels.astype(int)]) ** 2).sum())
    wanted = Fraction(total, unit * unit * len(pixels))
    largest = Fraction(float(np.finfo(float).max))
    if mse == math.inf:
        assert wanted > largest / (8 * len(pixels) * pixels.shape[1])
        return
    slack = wanted / 10**6 + Fraction(len(pixels) * 5e-324 * 1000)
    if case.alpha:
        # What is hardly seen has the place of mid-gray, to rounding.
        slack += pixels.shape[1] * Fraction(_gray(plain), _ROUNDING) ** 2 * 10**6
    assert abs(Fraction(mse) - wanted) <= slack


def check_order(palette, is_gray):
    """Colors are distinct, and sorted from dark to light, then by their numbers."""
    rows = exact(palette.reshape(len(palette), -1))
    factors = (2126, 7152, 722) if rows.shape[1] == 3 and not is_gray else 1
    luma = (rows * factors).sum(axis=1).tolist()
    keys = list(zip(luma, map(tuple, rows.tolist()), strict=True))
    assert len(set(keys)) == len(keys)
    if _is_small(rows):
        assert keys == sorted(keys)
        return
    slack = int(abs(rows).max()) * 10**4 // 10**11
    assert all(a <= b + slack for a, b in itertools.pairwise(luma))


def counted(pixels):
    """Count the finite pixels (n, C) of each color, as numbers of Python."""
    finite = pixels[np.isfinite(pixels).all(axis=1)]
    return Counter(map(tuple, finite.tolist()))
