"""TIFF files of any number of axes, plain or as ImageJ and OME describe them."""

from __future__ import annotations

import contextlib
import io
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._files.formats import check_pixel_limit
from napari_kmeans._files.metadata import (
    ImageMetadata,
    canonical_unit,
    size_in_meters,
    turn_upright,
    without_axis,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from tifffile import TiffFile, TiffPage

__all__ = [
    "TIFF_SUFFIXES",
    "RefusedTiff",
    "StoredTiff",
    "decode_tiff",
    "default_axes",
    "encode_tiff",
    "has_deep_palette",
    "is_tiff",
    "open_tiff",
]

TIFF_SUFFIXES = (".tif", ".tiff")
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Private tag that tells what part of a color map is the palette, and of which array.
_NOTE_TAG = 65000
_STANDARD_AXES = "TZCYXS"
_IMAGEJ_DTYPES = {"uint8", "uint16", "float32"}
_OME_DTYPES = {
    *("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32"),
    *("float32", "float64"),
}
_OME_UNITS = {
    "nanometer": "nm",
    "micrometer": "\N{MICRO SIGN}m",
    "millimeter": "mm",
    "centimeter": "cm",
    "inch": "in",
    "meter": "m",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
}
_SECONDS = {"millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0}
# TIFF 6.0, section 8: ResolutionUnit.
_RESOLUTION_UNITS = {2: "inch", 3: "centimeter"}


class RefusedTiff(Exception):
    """A sound TIFF file that is not for this program."""


class StoredTiff(NamedTuple):
    """An array as it is stored in a file, and what it means."""

    # In the order of the axes of the metadata, "S" for samples of a color.
    array: NDArray[Any]
    metadata: ImageMetadata
    # RGB colors (K, 3) of indices, uint8 or uint16; None if the array holds values.
    palette: NDArray[Any] | None = None
    has_alpha: bool = False


def is_tiff(content: bytes) -> bool:
    """Tell whether a file starts as TIFF files do."""
    return content.startswith(_STARTS)


def default_axes(n_spatial: int) -> str:
    """Give the letters of axes that nothing is known about."""
    return "TZYX"[4 - n_spatial :] if n_spatial <= 4 else "Q" * (n_spatial - 2) + "YX"


def encode_tiff(stored: StoredTiff, *, ome: bool) -> bytes:
    """Encode an array, compressed without loss.

    Sizes of pixels that are not in inches, and more axes than two, are described for
    ImageJ where it can read the array, and else as OME describes them.
    """
    import tifffile

    array, metadata, palette = stored.array, stored.metadata, stored.palette
    options: dict[str, Any] = {"photometric": "minisblack"}
    if palette is not None:
        options |= _color_map(palette, array, metadata.axes)
    elif metadata.axes.endswith("S"):
        options["planarconfig"] = "contig"
        if array.shape[-1] in (3, 4):
            options["photometric"] = "rgb"
        if stored.has_alpha:
            options["extrasamples"] = ["unassalpha"]
    dialect = "ome" if ome else _dialect(stored)
    if dialect == "ome" and not _fits_ome(stored):
        msg = f"OME-TIFF cannot hold {array.dtype} with axes {metadata.axes}"
        raise ValueError(msg)
    if dialect == "imagej" and array.shape[-1] == 1:
        # tifffile would take the only column for the channel of a gray image.
        array = array[..., np.newaxis]
        metadata = metadata._replace(axes=metadata.axes + "S")
    options |= _described(metadata, dialect)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(
        buffer,
        imagej=dialect == "imagej",
        ome=dialect == "ome",
        # Offsets of four bytes reach only so far.
        bigtiff=dialect != "imagej" and array.nbytes > 3 << 30,
    ) as file:
        file.write(
            array,
            compression="zlib",
            compressionargs={"level": 9 if array.nbytes < 1 << 24 else 6},
            iccprofile=metadata.icc_profile,
            software=False,
            **options,
        )
    return buffer.getvalue()


def _color_map(
    palette: NDArray[Any], labels: NDArray[Any], axes: str
) -> dict[str, Any]:
    """Give the options that store a palette, and what no standard tag holds."""
    color_map = np.zeros((3, 1 << 8 * labels.dtype.itemsize), np.uint16)
    # TIFF 6.0, section 5: a color map reaches from 0 to 65535, whatever the depth.
    widened = palette.astype(np.uint16) * (257 if palette.dtype == np.uint8 else 1)
    color_map[:, : len(palette)] = widened.T
    note = {
        "colors": len(palette),
        "dtype": str(palette.dtype),
        # Readers drop axes of length 1.
        "axes": axes,
        "shape": labels.shape,
    }
    return {
        "photometric": "palette",
        "colormap": color_map,
        "extratags": [(_NOTE_TAG, "s", 0, json.dumps(note), True)],
    }


def _dialect(stored: StoredTiff) -> str:
    """Choose who is to understand the description: "plain", "imagej" or "ome"."""
    axes = without_axis(stored.metadata, "S").axes
    if len(axes) == 2 and (
        not stored.metadata.scale or stored.metadata.units[axes.index("X")] == "inch"
    ):
        return "plain"
    array = stored.array
    pairs = zip(stored.metadata.axes, stored.metadata.units, strict=False)
    lengths = {unit for axis, unit in pairs if axis in "ZYX"}
    in_order = [a for a in _STANDARD_AXES if a in stored.metadata.axes]
    if (
        "".join(in_order) == stored.metadata.axes
        and axes.endswith("YX")
        # ImageJ has one unit for all lengths.
        and len(lengths) <= 1
        and str(array.dtype) in _IMAGEJ_DTYPES
        and (stored.palette is None or array.dtype == np.uint8)
        and ("S" not in stored.metadata.axes or array.dtype == np.uint8)
        and ("S" not in stored.metadata.axes or array.shape[-1] == 3)
        # ImageJ cannot read the offsets of larger files.
        and array.nbytes < 3 << 30
    ):
        return "imagej"
    return "ome" if _fits_ome(stored) else "plain"


def _fits_ome(stored: StoredTiff) -> bool:
    """Tell whether OME has words for the axes and the dtype."""
    axes = stored.metadata.axes
    return (
        set(axes) <= set(_STANDARD_AXES)
        and without_axis(stored.metadata, "S").axes.endswith("YX")
        and str(stored.array.dtype) in _OME_DTYPES
    )


def _described(metadata: ImageMetadata, dialect: str) -> dict[str, Any]:
    """Give the options that store axes and sizes of pixels."""
    sizes: dict[str, tuple[float, str]] = {}
    if metadata.scale:
        pairs = zip(metadata.scale, metadata.units, strict=True)
        sizes = dict(zip(metadata.axes, pairs, strict=True))
    if dialect == "imagej":
        return _imagej_description(metadata.axes, sizes)
    if dialect == "ome":
        return {"metadata": _ome_description(metadata.axes, sizes)}
    is_flat = len(without_axis(metadata, "S").axes) == 2
    options: dict[str, Any] = {"metadata": None if is_flat else {"axes": metadata.axes}}
    size = size_in_meters(metadata)
    if size is not None:
        inch = sizes["X"][1] == "inch"
        unit = 0.0254 if inch else 0.01
        options["resolution"] = (unit / size[1], unit / size[0])
        options["resolutionunit"] = "inch" if inch else "centimeter"
    return options


def _ome_description(
    axes: str, sizes: dict[str, tuple[float, str]]
) -> dict[str, str | float]:
    """Give the metadata of an OME-TIFF file."""
    about: dict[str, str | float] = {"axes": axes}
    for axis, (size, unit) in sizes.items():
        if axis in "TZYX" and unit in _OME_UNITS:
            name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
            about[name] = size
            about[f"{name}Unit"] = _OME_UNITS[unit]
    return about


def _imagej_description(
    axes: str, sizes: dict[str, tuple[float, str]]
) -> dict[str, Any]:
    """Give the options of a TIFF file for ImageJ."""
    about: dict[str, str | float] = {"axes": axes}
    options: dict[str, Any] = {"metadata": about}
    if "X" in sizes and "Y" in sizes:
        width, unit = sizes["X"]
        options["resolution"] = (1 / width, 1 / sizes["Y"][0])
        about["unit"] = {"micrometer": "micron"}.get(unit, unit)
    if "Z" in sizes:
        about["spacing"] = sizes["Z"][0]
    if "T" in sizes and sizes["T"][1] in _SECONDS:
        about["finterval"] = sizes["T"][0] * _SECONDS[sizes["T"][1]]
    return options


@contextlib.contextmanager
def open_tiff(content: bytes) -> Iterator[TiffFile]:
    """Open the content of a TIFF file, and keep tifffile from logging its faults."""
    import logging

    from tifffile import TiffFile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with TiffFile(io.BytesIO(content)) as file:
        yield file


def decode_tiff(file: TiffFile, n_bytes: int) -> StoredTiff:
    """Decode the one image, or stack, of a TIFF file, upright.

    Raises RefusedTiff where it is not known what the pixels mean.
    """
    from tifffile import PHOTOMETRIC

    page = file.pages.first.aspage()
    if page.is_reduced:
        msg = "the file starts with a preview, as camera raw files do"
        raise RefusedTiff(msg)
    series = file.series[0]
    others = [s for s in file.series[1:] if not s.keyframe.is_reduced]
    if others:
        shapes = ", ".join(str(s.shape) for s in [series, *others][:4])
        msg = f"the file holds {1 + len(others)} images of different kinds: {shapes}"
        raise RefusedTiff(msg)
    if page.photometric not in (
        *(PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE),
    ):
        kind = PHOTOMETRIC(page.photometric).name
        msg = f"{page.dtype} TIFF of kind {kind} cannot be read"
        raise RefusedTiff(msg)
    if page.dtype is None or page.dtype.kind not in "buif":
        msg = f"TIFF of dtype {page.dtype} cannot be read"
        raise RefusedTiff(msg)
    check_pixel_limit(series.shape, n_bytes)
    array, axes = series.asarray(), series.axes
    note = _note(page)
    if note is not None and math.prod(note["shape"]) == array.size:
        array, axes = array.reshape(note["shape"]), str(note["axes"])
    scale, units = _scales(file, page, axes)
    if array.ndim != len(axes) or not {"Y", "X"} <= set(axes):
        msg = f"TIFF with axes {axes} cannot be read"
        raise RefusedTiff(msg)
    metadata = ImageMetadata(axes, scale, units, page.iccprofile or None)
    if "S" in axes and not axes.endswith("S"):
        index = axes.index("S")
        array = np.moveaxis(array, index, -1)
        metadata = _moved_last(metadata, index)
    tag = page.tags.get("Orientation")
    if tag is not None and axes.replace("S", "")[-2:] == "YX":
        array, metadata = turn_upright(array, metadata, int(tag.value))
    alpha = 2  # TIFF 6.0, section 18: unassociated alpha.
    has_alpha = tuple(page.extrasamples) == (alpha,) and page.samplesperpixel in (2, 4)
    is_indexed = page.photometric == PHOTOMETRIC.PALETTE
    palette = _palette(page, note) if is_indexed else None
    return StoredTiff(np.ascontiguousarray(array), metadata, palette, has_alpha)


def has_deep_palette(page: TiffPage) -> bool:
    """Tell whether the pixels of a page are indices of colors of 16 bits."""
    if page.colormap is None:
        return False
    return bool(_palette(page, _note(page)).dtype == np.uint16)


def _moved_last(metadata: ImageMetadata, index: int) -> ImageMetadata:
    """Describe an array after one of its axes was moved to the end."""

    def moved(items: Any) -> Any:
        return items[:index] + items[index + 1 :] + items[index : index + 1]

    axes, scale, units = moved(metadata.axes), metadata.scale, metadata.units
    return metadata._replace(axes=axes, scale=moved(scale), units=moved(units))


def _note(page: TiffPage) -> dict[str, Any] | None:
    """Read what `encode_tiff` noted about a palette and its labels."""
    tag = page.tags.get(_NOTE_TAG)
    if tag is None:
        return None
    try:
        note = json.loads(str(tag.value))
    except ValueError:  # A tag of another program.
        return None
    is_ours = isinstance(note, dict) and {"colors", "dtype", "shape"} <= note.keys()
    return note if is_ours else None


def _palette(page: TiffPage, note: dict[str, Any] | None) -> NDArray[Any]:
    """Give the palette (K, 3) of a page, uint16 only if 8 bits do not hold it."""
    colors: NDArray[np.uint16] = np.asarray(page.colormap, np.uint16).T
    if note is not None:
        colors = colors[: note["colors"]]
        is_wide = note["dtype"] == "uint16"
    else:
        # Some programs fill the high byte only.
        is_wide = bool((colors % 257).any() and (colors % 256).any())
    return colors.copy() if is_wide else (colors >> 8).astype(np.uint8)


def _scales(
    file: TiffFile, page: TiffPage, axes: str
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Give the size of a pixel along each axis and its unit, or nothing."""
    if file.is_ome:
        found = _ome_scales(file)
    elif file.is_imagej:
        found = _imagej_scales(file, page)
    else:
        unit = _RESOLUTION_UNITS.get(_tag(page, "ResolutionUnit", 1))
        found = _lengths(page, unit) if unit else {}
    found = {axis: found[axis] for axis in found if axis in axes}
    if not found:
        return (), ()
    known = [found.get(axis, (1.0, "pixel")) for axis in axes]
    return tuple(scale for scale, _ in known), tuple(unit for _, unit in known)


def _ome_scales(file: TiffFile) -> dict[str, tuple[float, str]]:
    """Read what the first image of an OME description says."""
    from xml.etree import ElementTree

    root = ElementTree.fromstring(file.ome_metadata or "<OME/>")
    found = {}
    for pixels in [p for p in root.iter() if p.tag.endswith("}Pixels")][:1]:
        for axis, name, unit in (
            *(("T", "TimeIncrement", "s"), ("Z", "PhysicalSizeZ", "\N{MICRO SIGN}m")),
            *((a, f"PhysicalSize{a}", "\N{MICRO SIGN}m") for a in "YX"),
        ):
            if name in pixels.attrib:
                spelling = pixels.attrib.get(f"{name}Unit", unit)
                found[axis] = float(pixels.attrib[name]), canonical_unit(spelling)
    return found


def _imagej_scales(file: TiffFile, page: TiffPage) -> dict[str, tuple[float, str]]:
    """Read what ImageJ says, and the resolution, which counts in its unit."""
    about = file.imagej_metadata or {}
    unit = str(about.get("unit", "")).replace("\\u00B5", "\N{MICRO SIGN}")
    unit = canonical_unit(unit)
    found = {} if unit == "pixel" else _lengths(page, unit)
    if found and "spacing" in about:
        found["Z"] = abs(float(about["spacing"])), unit
    if "finterval" in about:
        # ImageJ keeps the interval in seconds, whatever it displays.
        found["T"] = float(about["finterval"]), "second"
    return found


def _lengths(page: TiffPage, unit: str) -> dict[str, tuple[float, str]]:
    """Read the resolution of a page, whose pixels per unit are fractions."""
    found = {}
    for axis, name in (("Y", "YResolution"), ("X", "XResolution")):
        numerator, denominator = _tag(page, name, (0, 0))
        if not (numerator and denominator):
            return {}
        found[axis] = denominator / numerator, unit
    return found


def _tag(page: TiffPage, name: str, default: Any) -> Any:
    """Give the value of a tag, or what is meant where it is missing."""
    tag = page.tags.get(name)
    return default if tag is None else tag.value
