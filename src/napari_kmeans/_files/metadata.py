"""What an image file says about its pixels."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "NOTE_NAME",
    "NO_METADATA",
    "ImageMetadata",
    "canonical_unit",
    "has_channel_axis",
    "note_of_sizes",
    "pixels_per_meter",
    "size_in_meters",
    "sizes_of_note",
    "turn_upright",
    "without_axis",
]

_METERS = {
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "meter": 1.0,
}
_SPELLINGS = {
    "nm": "nanometer",
    "um": "micrometer",
    "\N{MICRO SIGN}m": "micrometer",
    "\N{GREEK SMALL LETTER MU}m": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "in": "inch",
    "inches": "inch",
    "m": "meter",
    "ms": "millisecond",
    "s": "second",
    "sec": "second",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
}


class ImageMetadata(NamedTuple):
    """What a file says about its pixels, beside their values.

    Parameters
    ----------
    axes : str
        A letter for each axis of the image, in order: T time, Z depth, Y rows,
        X columns, C channels, S the samples of a color. Empty if there is nothing to
        tell.
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
    """

    axes: str = ""
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    icc_profile: bytes | None = None
    durations: tuple[float, ...] = ()


NO_METADATA = ImageMetadata()
# Of text in PNG files that tells sizes of pixels.
NOTE_NAME = "napari-kmeans"


def has_channel_axis(metadata: ImageMetadata) -> bool:
    """Tell whether the channels are those of a microscope, and no samples of colors."""
    return "C" in metadata.axes and "S" not in metadata.axes


def without_axis(metadata: ImageMetadata, letters: str) -> ImageMetadata:
    """Drop the axes with these letters."""
    keep = [i for i, axis in enumerate(metadata.axes) if axis not in letters]
    return metadata._replace(
        axes="".join(metadata.axes[i] for i in keep),
        scale=tuple(metadata.scale[i] for i in keep) if metadata.scale else (),
        units=tuple(metadata.units[i] for i in keep) if metadata.units else (),
    )


def canonical_unit(spelling: str) -> str:
    """Give the name of a unit; those that are not known keep theirs."""
    spelling = spelling.strip()
    return _SPELLINGS.get(spelling, spelling) or "pixel"


def size_in_meters(metadata: ImageMetadata) -> tuple[float, float] | None:
    """Give the height and width of a pixel, or None where they are not lengths."""
    sizes = []
    for axis in "YX":
        index = metadata.axes.find(axis)
        if index < 0 or not metadata.scale or not metadata.units:
            return None
        meters = _METERS.get(metadata.units[index])
        if meters is None or not metadata.scale[index] > 0:
            return None
        sizes.append(metadata.scale[index] * meters)
    return sizes[0], sizes[1]


def pixels_per_meter(metadata: ImageMetadata) -> tuple[float, float] | None:
    """Give the horizontal and vertical resolution, or None if there is none."""
    size = size_in_meters(metadata)
    return None if size is None else (1 / size[1], 1 / size[0])


def note_of_sizes(metadata: ImageMetadata) -> str | None:
    """Give sizes of pixels as text, if resolutions of photos would not tell them."""
    if not metadata.scale or set(metadata.units) <= {"inch", "pixel"}:
        return None
    sizes = zip(metadata.axes, metadata.scale, metadata.units, strict=True)
    return json.dumps({axis: [scale, unit] for axis, scale, unit in sizes})


def sizes_of_note(text: object) -> ImageMetadata | None:
    """Read the text that `note_of_sizes` gives of a plane, or None if it is another."""
    try:
        (height, y_unit), (width, x_unit) = map(json.loads(str(text)).get, "YX")
        scale = float(height), float(width)
    except (AttributeError, RecursionError, TypeError, ValueError):
        return None
    if not all(0 < size < math.inf for size in scale):
        return None
    return ImageMetadata("YX", scale, (str(y_unit), str(x_unit)))


def turn_upright(
    array: NDArray[Any], metadata: ImageMetadata, orientation: int
) -> tuple[NDArray[Any], ImageMetadata]:
    """Turn an image, and its metadata, as an orientation of EXIF or TIFF says."""
    y, x = metadata.axes.index("Y"), metadata.axes.index("X")
    # TIFF 6.0, section 8: which side of the stored image the viewer sees where.
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(y, x)
        metadata = metadata._replace(
            scale=_swapped(metadata.scale, y, x), units=_swapped(metadata.units, y, x)
        )
    if orientation in (2, 3, 6, 7):
        array = np.flip(array, x)
    if orientation in (3, 4, 7, 8):
        array = np.flip(array, y)
    return array, metadata


def _swapped(items: tuple[Any, ...], y: int, x: int) -> tuple[Any, ...]:
    """Exchange two items, if there are any."""
    swapped = list(items)
    if swapped:
        swapped[y], swapped[x] = swapped[x], swapped[y]
    return tuple(swapped)
