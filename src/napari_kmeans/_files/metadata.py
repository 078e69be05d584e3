"""What an image file says about its pixels: axes, sizes, color profile, durations.

`ImageMetadata` is what `read_metadata` returns and `write_indexed` takes, which has it
checked by `checked_metadata`. `sizes_of`
and `with_axes` take it apart and put it together again by axis; `pixels_per_meter` and
`note_of_sizes` are the two ways in which sizes are stored, and `whole_delays` the one
for durations that a file counts. How each format stores them
is left to the modules that read and write files.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, SupportsFloat, TypeAlias

import numpy as np

from napari_kmeans._core.arrays import Array

# Size and unit of a pixel along each axis.
Sizes: TypeAlias = dict[str, tuple[float, str]]

__all__ = [
    "LENGTHS",
    "NO_METADATA",
    "RESOLUTION_UNITS",
    "TIMES",
    "ImageMetadata",
    "Sizes",
    "canonical_unit",
    "checked_metadata",
    "has_channel_axis",
    "is_unit",
    "note_of_sizes",
    "pixels_per_meter",
    "sizes_of",
    "sizes_of_note",
    "turn_upright",
    "turned",
    "whole_delays",
    "with_axes",
    "without_axis",
]

# Units by name: their symbol, and their size in meters or seconds.
LENGTHS = {
    "angstrom": ("\N{LATIN CAPITAL LETTER A WITH RING ABOVE}", 1e-10),
    "nanometer": ("nm", 1e-9),
    "micrometer": ("\N{MICRO SIGN}m", 1e-6),
    "millimeter": ("mm", 1e-3),
    "centimeter": ("cm", 1e-2),
    "inch": ("in", 0.0254),
    "meter": ("m", 1.0),
}
TIMES = {
    "millisecond": ("ms", 1e-3),
    "second": ("s", 1.0),
    "minute": ("min", 60.0),
    "hour": ("h", 3600.0),
}
_MICRONS = ("um", "\N{GREEK SMALL LETTER MU}m", "micron", "microns")
_SPELLINGS = {
    **{symbol: name for name, (symbol, _) in (LENGTHS | TIMES).items()},
    **dict.fromkeys(_MICRONS, "micrometer"),
    "\N{ANGSTROM SIGN}": "angstrom",
    "inches": "inch",
    # Pint, and so napari, takes it for the pixels of style sheets.
    "px": "pixel",
    "sec": "second",
    "hr": "hour",
}
# TIFF 6.0, section 8, and EXIF: values of ResolutionUnit.
RESOLUTION_UNITS = {2: "inch", 3: "centimeter"}
# Orientations whose rows are columns.
_ON_THEIR_SIDE = (5, 6, 7, 8)


class ImageMetadata(NamedTuple):
    """What a file says about its pixels, beside their values.

    Parameters
    ----------
    axes : str
        A letter for each axis of the image, in order: T time, Z depth, Y rows,
        X columns, C channels, S the samples of a color. Empty if they are not known.
    scale : tuple of float
        Size of a pixel along each of the `axes`, or empty. The resolution of a photo
        is the size of its pixels in inches.
    units : tuple of str
        Unit of the `scale` along each of the `axes`, such as "micrometer", "second"
        or "inch", and "pixel" where there is none.
    icc_profile : bytes or None
        Color profile. None stands for sRGB.
    durations : tuple of float
        Seconds that each frame of an animation is shown, or empty.
    plays : int
        How often an animation is shown, 0 for ever.
    """

    axes: str = ""
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    icc_profile: bytes | None = None
    durations: tuple[float, ...] = ()
    plays: int = 0


NO_METADATA = ImageMetadata()
# Letters of a word for a unit, such as "attoparsec".
_LONGEST_UNIT = 40
# Name of the text in PNG files that holds sizes of pixels.
_NOTE_NAME = "napari-kmeans"


def has_channel_axis(metadata: ImageMetadata) -> bool:
    """Whether the channels are those of a microscope, not the samples of a color."""
    return "C" in metadata.axes and "S" not in metadata.axes


def sizes_of(metadata: ImageMetadata) -> Sizes:
    """Return size and unit of a pixel along each axis, or nothing if not known."""
    pairs = zip(metadata.scale, metadata.units, strict=False)
    return dict(zip(metadata.axes, pairs, strict=False))


def with_axes(
    metadata: ImageMetadata, axes: str, sizes: Sizes | None = None
) -> ImageMetadata:
    """Replace the axes, and the `sizes`, which are else those of before.

    An axis without a size has steps of one pixel.
    """
    sizes = sizes_of(metadata) if sizes is None else sizes
    if not sizes.keys() & set(axes):
        return metadata._replace(axes=axes, scale=(), units=())
    scale, units = zip(*(sizes.get(a, (1.0, "pixel")) for a in axes), strict=True)
    return metadata._replace(axes=axes, scale=scale, units=units)


def without_axis(metadata: ImageMetadata, letters: str) -> ImageMetadata:
    """Drop the axes with these letters."""
    return with_axes(metadata, "".join(a for a in metadata.axes if a not in letters))


def checked_metadata(metadata: ImageMetadata, n_axes: int) -> ImageMetadata:
    """Return what metadata say of labels, in plain numbers, or raise an error by name.

    The axis S of a color image, its samples, is left out.
    """
    if not isinstance(metadata, ImageMetadata):
        msg = f"metadata must be an ImageMetadata, got {type(metadata).__name__}"
        raise TypeError(msg)
    axes, scale, units, profile, durations, plays = metadata
    kinds = (
        ("axes", isinstance(axes, str), "be a string"),
        ("scale", _are_of(Real, scale), "be a tuple of numbers"),
        ("units", _are_of(str, units), "be a tuple of strings"),
        ("icc_profile", isinstance(profile, bytes | None), "be bytes or None"),
        ("durations", _are_of(Real, durations), "be a tuple of numbers"),
        ("plays", isinstance(plays, Integral), "be an integer"),
    )
    for name, is_right, rule in kinds:
        if not is_right:
            raise TypeError(_refusal(metadata, name, rule))
    scale, durations = (tuple(map(_as_float, v)) for v in (scale, durations))
    units = tuple(map(canonical_unit, units))
    n_letters, letters = len(axes), set(axes)
    are_axes = len(letters) == n_letters and {"Y", "X"} <= letters and axes.isalpha()
    rules = (
        ("axes", not axes or are_axes, "have letters that differ, Y and X among them"),
        (
            "axes",
            len(letters - {"S"}) in (0, n_axes),
            f"have {n_axes} letters beside S",
        ),
        ("scale", len(scale) in (0, n_letters), "have a number for each axis"),
        ("scale", all(1e-30 <= x <= 1e30 for x in scale), "be between 1e-30 and 1e30"),
        ("units", len(units) == len(scale), "have a unit for each scale"),
        ("units", all(u.isascii() and is_unit(u) for u in units), "be short words"),
        ("durations", all(0 <= x < math.inf for x in durations), "be finite seconds"),
        ("plays", plays >= 0, "be at least 0"),
    )
    for name, is_right, rule in rules:
        if not is_right:
            raise ValueError(_refusal(metadata, name, rule))
    plain = ImageMetadata(axes, scale, units, profile, durations, int(plays))
    return without_axis(plain, "S")


def _as_float(number: SupportsFloat) -> float:
    """Return a number that is too large for a float as infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _refusal(metadata: ImageMetadata, name: str, rule: str) -> str:
    """Return why a field is refused, in one line."""
    return f"metadata.{name} must {rule}, got {reprlib.repr(getattr(metadata, name))}"


def _are_of(kind: type, values: object) -> bool:
    """Whether this is a tuple or a list of one kind of values."""
    return isinstance(values, tuple | list) and all(isinstance(v, kind) for v in values)


def canonical_unit(spelling: str) -> str:
    """Return the name of a unit; an unknown one keeps its spelling."""
    spelling = spelling.strip()
    return _SPELLINGS.get(spelling, spelling) or "pixel"


def is_unit(unit: object) -> bool:
    """Whether this may be the name of a unit, also of one that is not known here."""
    if not isinstance(unit, str):
        return False
    return len(unit) <= _LONGEST_UNIT and unit.isprintable()


def pixels_per_meter(metadata: ImageMetadata) -> tuple[float, float] | None:
    """Return the horizontal and vertical resolution, or None if there is none."""
    pairs = [sizes_of(metadata).get(axis, (0.0, "")) for axis in "XY"]
    across, down = (size * LENGTHS.get(unit, ("", 0.0))[1] for size, unit in pairs)
    return (1 / across, 1 / down) if across > 0 and down > 0 else None


def note_of_sizes(metadata: ImageMetadata) -> tuple[str, str] | None:
    """Return a name and sizes of pixels as text, unless a resolution says the same."""
    if set(metadata.units) <= {"inch", "pixel"}:
        return None
    return _NOTE_NAME, json.dumps(sizes_of(metadata))


def sizes_of_note(texts: Mapping[Any, Any]) -> Sizes:
    """Read what `note_of_sizes` says of a plane among texts by name, if it is there."""
    try:
        note = json.loads(str(texts.get(_NOTE_NAME)))
        sizes = {axis: (float(note[axis][0]), note[axis][1]) for axis in "YX"}
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return {}
    is_sound = all(
        0 < size < math.inf and is_unit(unit) for size, unit in sizes.values()
    )
    return sizes if is_sound else {}


def whole_delays(
    durations: Sequence[float], per_second: int, shortest: int, longest: int
) -> list[int]:
    """Return whole parts of a second after which each frame ends when it should.

    A frame that is shown at all is shown for the `shortest`; the next ones make up for
    it.
    """
    delays, due, now = [], 0.0, 0
    for duration in durations:
        due += per_second * duration
        least = shortest if duration > 0 else 0
        delays.append(min(max(round(due) - now, least), longest))
        now += delays[-1]
    return delays


def turned(metadata: ImageMetadata, orientation: int) -> ImageMetadata:
    """Describe an image after `turn_upright`."""
    sizes = sizes_of(metadata)
    if orientation in _ON_THEIR_SIDE and {"Y", "X"} <= sizes.keys():
        sizes |= {"Y": sizes["X"], "X": sizes["Y"]}
    return with_axes(metadata, metadata.axes, sizes)


def turn_upright(array: Array, axes: str, orientation: int) -> Array:
    """Turn an image as an orientation of EXIF or TIFF says."""
    y, x = axes.index("Y"), axes.index("X")
    # TIFF 6.0, section 8: which side of the stored image the viewer sees where.
    if orientation in _ON_THEIR_SIDE:
        array = array.swapaxes(y, x)
    if orientation in (2, 3, 6, 7):
        array = np.flip(array, x)
    if orientation in (3, 4, 7, 8):
        array = np.flip(array, y)
    return array
