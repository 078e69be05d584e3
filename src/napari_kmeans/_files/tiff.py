"""TIFF files of any number of axes, plain or as ImageJ and OME describe them.

`encode_tiff` and `decode_tiff` turn an array and its metadata into the content of a
file and back; `read_tiff_header` reads all but the pixels. Pixels, resolutions and
descriptions are read by tifffile. A private tag keeps what no standard tag holds: how
many entries of a color map are the palette, of which dtype, and the axes of length 1.
Photographs, which Pillow reads better, are left to `read`.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array
from napari_kmeans._files.formats import check_pixel_limit, refuse
from napari_kmeans._files.metadata import (
    LENGTHS,
    RESOLUTION_UNITS,
    TIMES,
    ImageMetadata,
    Sizes,
    canonical_unit,
    pixels_per_meter,
    sizes_of,
    turn_upright,
    turned,
    with_axes,
)

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

__all__ = [
    "TiffHeader",
    "decode_tiff",
    "encode_tiff",
    "has_deep_palette",
    "is_tiff",
    "open_tiff",
    "read_tiff_header",
]

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Private tag that tells which part of a color map is the palette, and of which array.
_NOTE_TAG = 65000
_STANDARD_AXES = "TZCYXS"
_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_OME_DTYPES = (*_IMAGEJ_DTYPES, "bool", "int8", "int16", "int32", "uint32", "float64")
# ImageJ cannot read the offsets of larger files; elsewhere they take eight bytes then.
_MOST_BYTES = 3 << 30
# Attribute of OME for the size along each axis, and its unit where none is given.
_OME_SIZES = {"T": ("TimeIncrement", "s")} | {
    axis: (f"PhysicalSize{axis}", "\N{MICRO SIGN}m") for axis in "ZYX"
}


class TiffHeader(NamedTuple):
    """What a TIFF file says of its one image, or stack."""

    # Of the array as it is stored.
    axes: str
    shape: tuple[int, ...]
    orientation: int
    # Of the image when it lies upright, samples last; of indices, that of their colors.
    metadata: ImageMetadata
    # RGB colors (K, 3) of indices, uint8 or uint16; None if the array holds values.
    palette: Array | None
    has_alpha: bool


def is_tiff(content: bytes) -> bool:
    """Whether a file starts as TIFF files do."""
    return content.startswith(_STARTS)


def encode_tiff(
    array: Array,
    metadata: ImageMetadata,
    palette: Array | None = None,
    *,
    has_samples: bool = False,
    has_alpha: bool = False,
    ome: bool,
) -> bytes:
    """Encode an array, or the indices of an RGB palette, compressed without loss.

    The axes of the metadata are those of the array, "S" for samples of a color; if they
    are not known, `has_samples` says whether it is the last. Sizes of pixels that are
    not in inches, and more axes than two, are described for ImageJ where it can read
    the array, else for OME.
    """
    import tifffile

    if not metadata.axes:
        axes = _default_axes(array.ndim - has_samples) + "S" * has_samples
        metadata = metadata._replace(axes=axes)
    options: dict[str, Any] = {"photometric": "minisblack"}
    if palette is not None:
        options |= _color_map(palette, array, metadata.axes)
    elif metadata.axes.endswith("S"):
        options["planarconfig"] = "contig"
        if array.shape[-1] in (3, 4):
            options["photometric"] = "rgb"
        if has_alpha:
            options["extrasamples"] = ["unassalpha"]
    dialect = "ome" if ome else _dialect(array, metadata, palette)
    if dialect == "ome" and not _fits_ome(array, metadata):
        msg = f"OME-TIFF cannot hold {array.dtype} with axes {metadata.axes}"
        raise ValueError(msg)
    if dialect == "imagej" and array.shape[-1] == 1:
        # tifffile would take the only column for the channel of a gray image.
        array = array[..., np.newaxis]
        metadata = with_axes(metadata, metadata.axes + "S")
    options |= _described(metadata, dialect)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(
        buffer,
        imagej=dialect == "imagej",
        ome=dialect == "ome",
        bigtiff=dialect != "imagej" and array.nbytes > _MOST_BYTES,
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


@contextlib.contextmanager
def open_tiff(file: IO[bytes]) -> Iterator[TiffFile]:
    """Open a TIFF file; tifffile does not log its faults, as those that count raise."""
    import logging
    import threading

    from tifffile import TiffFile

    here, logger = threading.get_ident(), logging.getLogger("tifffile")

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger.addFilter(is_of_others)
    try:
        with TiffFile(file) as tiff:
            yield tiff
    finally:
        logger.removeFilter(is_of_others)


def read_tiff_header(file: TiffFile) -> TiffHeader:
    """Read what a TIFF file says of its one image, or stack.

    Raises Refused where it is not known what the pixels mean.
    """
    from tifffile import PHOTOMETRIC

    page = file.pages.first.aspage()
    _refuse_unknown(file, page)
    axes, shape, note = file.series[0].axes, file.series[0].shape, _note(page)
    if note and math.prod(note["shape"]) == math.prod(shape):
        axes, shape = str(note["axes"]), tuple(note["shape"])
    if len(shape) != len(axes) or not {"Y", "X"} <= set(axes):
        refuse(f"TIFF with axes {axes} cannot be read")
    orientation = 1
    if axes.replace("S", "").endswith("YX"):
        orientation = int(page.tags.valueof("Orientation", 1))
    palette = _palette(page) if page.photometric == PHOTOMETRIC.PALETTE else None
    shown = _samples_last(axes) + ("" if palette is None else "S")
    metadata = ImageMetadata(icc_profile=page.iccprofile or None)
    metadata = turned(with_axes(metadata, shown, _sizes(file, page)), orientation)
    # TIFF 6.0, section 18: 2 is unassociated alpha.
    has_alpha = tuple(page.extrasamples) == (2,) and page.samplesperpixel == 4
    return TiffHeader(axes, shape, orientation, metadata, palette, has_alpha)


def decode_tiff(file: TiffFile, n_bytes: int) -> tuple[Array, TiffHeader]:
    """Decode the one image, or stack, of a TIFF file, upright and samples last.

    Raises Refused where it is not known what the pixels mean.
    """
    header = read_tiff_header(file)
    check_pixel_limit(header.shape, n_bytes)
    array, axes = file.series[0].asarray().reshape(header.shape), header.axes
    if "S" in axes:
        array, axes = np.moveaxis(array, axes.index("S"), -1), _samples_last(axes)
    array = turn_upright(array, axes, header.orientation)
    return np.ascontiguousarray(array), header


def has_deep_palette(page: TiffPage) -> bool:
    """Whether the pixels of a page are indices of colors of 16 bits."""
    return page.colormap is not None and _palette(page).dtype == np.dtype(np.uint16)


def _default_axes(n_spatial: int) -> str:
    """Return letters for axes of which nothing is known."""
    return "TZYX"[4 - n_spatial :] if n_spatial <= 4 else "Q" * (n_spatial - 2) + "YX"


def _color_map(palette: Array, labels: Array, axes: str) -> dict[str, Any]:
    """Return the options that store a palette, and what no standard tag holds."""
    color_map = np.zeros((3, 1 << 8 * labels.dtype.itemsize), np.uint16)
    # TIFF 6.0, section 5: a color map reaches from 0 to 65535, whatever the depth.
    widened = palette.astype(np.uint16) * (257 if palette.dtype == np.uint8 else 1)
    color_map[:, : len(palette)] = widened.T
    note: dict[str, Any] = {"colors": len(palette), "dtype": str(palette.dtype)}
    # Readers drop axes of length 1.
    note |= {"axes": axes, "shape": labels.shape}
    tags = [(_NOTE_TAG, "s", 0, json.dumps(note), True)]
    return {"photometric": "palette", "colormap": color_map, "extratags": tags}


def _dialect(array: Array, metadata: ImageMetadata, palette: Array | None) -> str:
    """Choose for whom the image is described: "plain", "imagej" or "ome"."""
    sizes, axes = sizes_of(metadata), metadata.axes.replace("S", "")
    has_samples = "S" in metadata.axes
    if len(axes) == 2 and sizes.get("X", (1.0, "inch"))[1] == "inch":
        return "plain"
    lengths = {unit for axis, (_, unit) in sizes.items() if axis in "ZYX"}
    if (
        [a for a in _STANDARD_AXES if a in metadata.axes] == list(metadata.axes)
        and axes.endswith("YX")
        # ImageJ has one unit for all lengths.
        and len(lengths) <= 1
        and str(array.dtype) in _IMAGEJ_DTYPES
        and (palette is None or array.dtype == np.uint8)
        and (not has_samples or (array.dtype == np.uint8 and array.shape[-1] == 3))
        and array.nbytes < _MOST_BYTES
    ):
        return "imagej"
    return "ome" if _fits_ome(array, metadata) else "plain"


def _fits_ome(array: Array, metadata: ImageMetadata) -> bool:
    """Whether OME has words for the axes and the dtype."""
    return (
        set(metadata.axes) <= set(_STANDARD_AXES)
        and metadata.axes.replace("S", "").endswith("YX")
        and str(array.dtype) in _OME_DTYPES
    )


def _described(metadata: ImageMetadata, dialect: str) -> dict[str, Any]:
    """Return the options that store axes and sizes of pixels."""
    sizes = sizes_of(metadata)
    about: dict[str, str | float] = {"axes": metadata.axes}
    options: dict[str, Any] = {"metadata": about}
    if dialect == "ome":
        for axis, (name, _) in _OME_SIZES.items():
            size, unit = sizes.get(axis, (1.0, "pixel"))
            if unit in LENGTHS | TIMES:
                about |= {name: size, f"{name}Unit": (LENGTHS | TIMES)[unit][0]}
    elif dialect == "imagej":
        if "X" in sizes and "Y" in sizes:
            width, unit = sizes["X"]
            options["resolution"] = (1 / width, 1 / sizes["Y"][0])
            about["unit"] = {"micrometer": "micron"}.get(unit, unit)
        if "Z" in sizes:
            about["spacing"] = sizes["Z"][0]
        if "T" in sizes and sizes["T"][1] in TIMES:
            about["finterval"] = sizes["T"][0] * TIMES[sizes["T"][1]][1]
    else:
        if len(metadata.axes.replace("S", "")) == 2:
            options["metadata"] = None
        if (resolution := pixels_per_meter(metadata)) is not None:
            unit = "inch" if sizes["X"][1] == "inch" else "centimeter"
            options["resolution"] = tuple(LENGTHS[unit][1] * n for n in resolution)
            options["resolutionunit"] = unit
    return options


def _refuse_unknown(file: TiffFile, page: TiffPage) -> None:
    """Raise Refused if a file is not for this program."""
    from tifffile import PHOTOMETRIC

    known = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
    if page.is_reduced:
        refuse("the file starts with a preview, as camera raw files do")
    whole = [series for series in file.series if not series.keyframe.is_reduced]
    if len(whole) > 1:
        shapes = ", ".join(str(series.shape) for series in whole[:4])
        refuse(f"the file holds {len(whole)} images of different kinds: {shapes}")
    if page.photometric not in known:
        kind = PHOTOMETRIC(page.photometric).name
        refuse(f"{page.dtype} TIFF of kind {kind} cannot be read")
    if page.dtype is None or page.dtype.kind not in "buif":
        refuse(f"TIFF of dtype {page.dtype} cannot be read")


def _samples_last(axes: str) -> str:
    return axes.replace("S", "") + "S" * axes.count("S")


def _note(page: TiffPage) -> dict[str, Any]:
    """Read what `encode_tiff` noted about a palette and its labels, if it did."""
    try:
        note = json.loads(str(page.tags.valueof(_NOTE_TAG)))
    except ValueError:  # No tag, or one of another program.
        return {}
    is_ours = isinstance(note, dict) and {"colors", "dtype", "shape"} <= note.keys()
    return note if is_ours else {}


def _palette(page: TiffPage) -> Array:
    """Return the palette (K, 3) of a page, uint16 only if 8 bits do not hold it."""
    colors: NDArray[np.uint16] = np.asarray(page.colormap, np.uint16).T
    if note := _note(page):
        colors = colors[: note["colors"]]
        is_wide = note["dtype"] == "uint16"
    else:
        # Some programs fill the high byte only.
        is_wide = bool((colors % 257).any() and (colors % 256).any())
    return colors.copy() if is_wide else (colors >> 8).astype(np.uint8)


def _sizes(file: TiffFile, page: TiffPage) -> Sizes:
    """Return the size of a pixel along each axis and its unit, as far as known."""
    if file.is_ome:
        return _ome_sizes(file)
    if file.is_imagej:
        return _imagej_sizes(file, page)
    unit = RESOLUTION_UNITS.get(page.resolutionunit)
    return _lengths(page, unit) if unit else {}


def _ome_sizes(file: TiffFile) -> Sizes:
    """Read what the first image of an OME description says."""
    from tifffile import xml2dict

    root = xml2dict(file.ome_metadata or "<OME/>", sep="")["OME"] or {}
    images = root.get("Image") or {}
    pixels = (images[0] if isinstance(images, list) else images).get("Pixels") or {}
    found = {}
    for axis, (name, default) in _OME_SIZES.items():
        if name in pixels:
            unit = canonical_unit(str(pixels.get(f"{name}Unit", default)))
            found[axis] = float(pixels[name]), unit
    return found


def _imagej_sizes(file: TiffFile, page: TiffPage) -> Sizes:
    """Read what ImageJ says, and the resolution, which counts in its unit."""
    about = file.imagej_metadata or {}
    spelling = str(about.get("unit", "")).replace("\\u00B5", "\N{MICRO SIGN}")
    unit = canonical_unit(spelling)
    found = {} if unit == "pixel" else _lengths(page, unit)
    if found and "spacing" in about:
        found["Z"] = abs(float(about["spacing"])), unit
    if "finterval" in about:
        # ImageJ keeps the interval in seconds, whatever it displays.
        found["T"] = float(about["finterval"]), "second"
    return found


def _lengths(page: TiffPage, unit: str) -> Sizes:
    """Return height and width of a pixel by the resolution of a page, if it has one."""
    across, down = page.resolution
    if "XResolution" not in page.tags or not min(across, down) > 0:
        return {}
    return {"Y": (1 / down, unit), "X": (1 / across, unit)}
