"""TIFF files of any number of axes, plain or as ImageJ and OME describe them.

`encode_tiff` and `decode_tiff` turn an array and its metadata into the content of a
file and back; `read_tiff_header` reads all but the pixels. Pixels, resolutions and
descriptions are read by tifffile, after `tiff_directories` and `tiff_segments` have
looked at what they claim; `tiff_colors` knows what the samples mean. A private tag
keeps what no standard tag holds: how many entries of a color map are the palette, of
which dtype, and the axes of length 1.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

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
from napari_kmeans._files.tiff_colors import (
    NOTE_TAG,
    colors_of,
    has_opacity,
    is_read_by_libtiff,
    is_shape,
    kept_profile,
    palettes_of,
    read_note,
    refuse_unknown,
    shown_axes,
)
from napari_kmeans._files.tiff_directories import check_directories
from napari_kmeans._files.tiff_segments import IMAGE_COMPRESSIONS, check_segment

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffFile, TiffPage, TiffPageSeries

__all__ = [
    "TiffHeader",
    "check_segments",
    "decode_tiff",
    "decode_tiff_labels",
    "encode_tiff",
    "is_flat_photo",
    "is_for_ome",
    "is_one_of_several",
    "is_tiff",
    "open_tiff",
    "read_tiff_header",
    "sizes_of_pixels",
]

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STANDARD_AXES = "TZCYXS"
# Samples of a strip or tile that are no more than a reader has room for.
_FREE_SAMPLES = 1 << 24
# Pages of different kinds that tifffile sorts in a second.
_MOST_SERIES = 2000
# Planes that a description may name beside those of the pages.
_FREE_PLANES = 1000
# Programs whose files tifffile takes for more than a sequence of pages.
_DIALECTS = {"avs", "bif", "eer", "fluoview", "imagej", "lsm", "mdgel", "mmstack"}
_DIALECTS |= {"ndpi", "nih", "ome", "philips", "qpi", "scanimage", "scn", "shaped"}
_DIALECTS |= {"sis", "stk", "svs"}
_DEPTHS = ("uint8", "uint16", "uint32", "uint64")
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

    # Pages of one kind. Several series are steps along one more axis, the first.
    series: tuple[TiffPageSeries, ...]
    # Of the array as it is stored.
    axes: str
    shape: tuple[int, ...]
    orientation: int
    # Of the image when it lies upright, with colors or bands last.
    metadata: ImageMetadata


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

    The axes of the metadata are those of the array, "S" for samples of a color, "C" at
    the end for bands; if they are not known, `has_samples` says whether there are
    samples. `has_alpha` says whether the last is opacity. Sizes of pixels that are not
    in inches, and more axes than two, are described for ImageJ where it can read the
    array, else for OME.
    """
    import tifffile

    if not metadata.axes:
        axes = _default_axes(array.ndim - has_samples) + "S" * has_samples
        metadata = metadata._replace(axes=axes)
    options: dict[str, Any] = {"photometric": "minisblack"}
    if palette is not None:
        options |= _color_map(palette, array, metadata.axes)
    elif metadata.axes.endswith(("S", "C")):
        options |= _sample_kinds(array.shape[-1], metadata.axes[-1] == "S", has_alpha)
        # Other programs know samples as the last axis, and channels as one before.
        axes = metadata.axes[:-1] + "S"
        metadata = with_axes(metadata, axes, sizes_of(metadata))
    dialect = "ome" if ome else _dialect(array, metadata, palette)
    if dialect == "ome" and not _fits_ome(array, metadata):
        kind = f"{array.dtype} with axes {metadata.axes}"
        msg = f"OME-TIFF cannot hold {kind}; choose .tif without .ome"
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
        check_directories(file)
        file.seek(0)
        # Its index would be looked for in the folder of the process.
        with TiffFile(file, is_ndtiff=False) as tiff:
            yield tiff
    finally:
        logger.removeFilter(is_of_others)


def read_tiff_header(file: TiffFile) -> TiffHeader:
    """Read what a TIFF file says of its one image, or stack.

    Raises Refused where it is not known what the pixels mean.
    """
    if not len(file.pages):
        refuse("the file holds no image")
    if file.pages.first.is_reduced:
        refuse("the file starts with a preview, as camera raw files do")
    if file.is_imagej and _ends_early(file):
        refuse("the file is cut off: it has fewer planes than it says; get it again")
    series, axes, shape = _stack(file)
    page = series[0].keyframe
    if len(shape) != len(axes) or not {"Y", "X"} <= set(axes):
        refuse(f"TIFF with axes {axes} cannot be read")
    if 0 in shape:
        refuse(f"the file holds no pixels: its image has the shape {shape}")
    orientation = 1
    if axes.replace("S", "").endswith("YX"):
        orientation = int(page.tags.valueof("Orientation", 1))
    shown = shown_axes(page, axes)
    metadata = ImageMetadata(icc_profile=kept_profile(page, shown))
    metadata = with_axes(metadata, shown, sizes_of_pixels(file, page))
    return TiffHeader(series, axes, shape, orientation, turned(metadata, orientation))


def decode_tiff(file: TiffFile, n_bytes: int) -> tuple[Array, bool, ImageMetadata]:
    """Decode the one image, or stack, of a TIFF file, upright, colors or bands last.

    The second result is whether the last channel is opacity. Raises Refused where it
    is not known what the pixels mean.
    """
    header = read_tiff_header(file)
    array = _decode(file, header, n_bytes, colors_of)
    page = header.series[0].keyframe
    return array, has_opacity(page, header.axes), header.metadata


def decode_tiff_labels(file: TiffFile, n_bytes: int) -> tuple[Array, Array]:
    """Decode the indices of a TIFF file, and the palette that all its pages share."""
    header = read_tiff_header(file)
    palettes = [one for series in header.series for one in palettes_of(series)]
    if not palettes or "S" in header.axes:
        refuse("its pixels are not indices")
    if any(not np.array_equal(palettes[0], one) for one in palettes):
        refuse("its pages have palettes of their own")
    return _decode(file, header, n_bytes, lambda array, *_: array), palettes[0]


def is_flat_photo(file: TiffFile, depth: int | None = None) -> bool:
    """Whether a file holds one picture of 8-bit gray, RGB or RGBA.

    With a `depth`, deeper integers count as well.
    """
    if file.is_imagej or file.is_ome or file.is_mmstack:
        return False
    header = read_tiff_header(file)
    page, axes = header.series[0].keyframe, header.metadata.axes
    if axes not in ("YX", "YXS"):
        return False
    if palettes := palettes_of(header.series[0]):
        return depth is not None or palettes[0].dtype == np.uint8
    flat = ("bool", "uint8") if depth is None else ("bool", *_DEPTHS)
    is_deep = page.dtype is None or page.dtype.name not in flat
    n_extra = len(page.extrasamples) - has_opacity(page, header.axes)
    return not is_deep and n_extra <= 0


def is_for_ome(file: TiffFile) -> bool:
    """Whether a file is an OME-TIFF whose axes OME can describe again.

    Those of one file of a set, which are not known, it cannot.
    """
    return file.is_ome and set(read_tiff_header(file).axes) <= set(_STANDARD_AXES)


def _decode(
    file: TiffFile,
    header: TiffHeader,
    n_bytes: int,
    painted: Callable[[Array, TiffPageSeries, str], Array],
) -> Array:
    """Decode all series of a file, paint each, stack them and turn them upright."""
    check_pixel_limit(header.shape, n_bytes)
    arrays = []
    for series in header.series:
        check_segments(series)
        if is_read_by_libtiff(series.keyframe):
            array = _decode_by_libtiff(file, series)
        else:
            array = series.asarray()
        array = array.reshape(series.shape)
        if "S" in series.axes:
            array = np.moveaxis(array, series.axes.index("S"), -1)
        arrays.append(painted(array, series, series.axes))
    n_channels = arrays[0].shape[len(series.axes.replace("S", "")) :]
    array = np.stack(arrays) if len(arrays) > 1 else arrays[0]
    spatial = header.axes.replace("S", "")
    sizes = [
        n for axis, n in zip(header.axes, header.shape, strict=True) if axis != "S"
    ]
    array = array.reshape(*sizes, *n_channels)
    array = turn_upright(array, spatial + "S" * len(n_channels), header.orientation)
    return np.ascontiguousarray(array)


def _decode_by_libtiff(file: TiffFile, series: TiffPageSeries) -> Array:
    """Decode pages of luma and chroma, which tifffile does not turn into RGB."""
    import imagecodecs

    file.filehandle.seek(0)
    content, planes = file.filehandle.read(), []
    for page in series.pages:
        if page is None:
            continue
        plane = imagecodecs.tiff_decode(content, index=page.index, asrgb=True)[..., :3]
        # It has flipped the plane, and not exchanged rows and columns. Undo that.
        orientation = int(page.aspage().tags.valueof("Orientation", 1))
        planes.append(turn_upright(plane, "YXS", (orientation - 1) % 4 + 1))
    return np.stack(planes)


def check_segments(series: TiffPageSeries, most_bytes: int = sys.maxsize) -> None:
    """Refuse strips and tiles that are larger than the image accounts for, or missing.

    A tile may be larger than the image, as the smallest is 16 x 16. What they claim is
    looked for in their first `most_bytes`. tifffile leaves the pixels of what is
    missing as they are in memory, and those of a page of another kind.
    """
    page = series.keyframe
    n_samples, n_segments = math.prod(page.chunks), math.prod(page.chunked)
    pages = [one for one in series.pages if one is not None]
    for one in pages:
        kind = one.shape, one.dtype
        if kind != (page.shape, page.dtype):
            refuse(f"a page has {kind}, the first {(page.shape, page.dtype)}")
        n_given = len(one.dataoffsets)
        if n_given < n_segments and not page.is_contiguous:
            refuse(f"a page has {n_given} of {n_segments} strips or tiles")
    if not n_samples:
        refuse(f"a strip or tile has the shape {page.chunks}")
    if n_samples > _FREE_SAMPLES + 2 * math.prod(page.shape):
        refuse(f"too many pixels: a strip or tile has the shape {page.chunks}")
    if int(page.compression) not in IMAGE_COMPRESSIONS:
        return
    handle = page.parent.filehandle
    for one in pages:
        for offset, size in zip(one.dataoffsets, one.databytecounts, strict=False):
            if size:
                handle.seek(offset)
                data = (page.jpegheader or b"") + handle.read(min(size, most_bytes))
                # A WebP image without opacity is decoded with it.
                check_segment(data, int(page.compression), 2 * n_samples)


def _stack(file: TiffFile) -> tuple[tuple[TiffPageSeries, ...], str, tuple[int, ...]]:
    """Return the images of a file that are no previews, and axes and shape of all.

    A file of a set of several holds some of the planes that its description names, and
    so does one whose recording ended early. tifffile would make up the others, of
    zeros; here the planes that are there count, in the order of the file.
    """
    appended = _appended(file) if file.is_shaped else None
    series: tuple[TiffPageSeries, ...] = ()
    is_part = file.is_ome and is_one_of_several(file)
    if not appended and not is_part and file.flags & _DIALECTS:
        if not file.is_uniform and len(file.pages) > _MOST_SERIES:
            refuse(f"the file holds {len(file.pages)} pages of different kinds")
        series = tuple(one for one in file.series if not one.keyframe.is_reduced)
    if not series or not all(map(_is_complete, series)):
        series = _plain_series(file)
    for one in series:
        refuse_unknown(one.keyframe, one.axes)
    first = _of_one_kind(series)
    axes, shape, note = first.axes, tuple(first.shape), read_note(first.keyframe)
    if note and math.prod(note["shape"]) == math.prod(shape):
        axes, shape = str(note["axes"]), tuple(note["shape"])
    if appended:
        n_arrays = len(series) * math.prod(shape) // math.prod(appended[1])
        axes, shape = "I" + appended[0], (n_arrays, *appended[1])
    elif len(series) > 1:
        axes, shape = "I" + axes, (len(series), *shape)
    return series, _distinct(axes), shape


def _plain_series(file: TiffFile) -> tuple[TiffPageSeries, ...]:
    """Return the pages of a file as they stand, whatever its description says.

    One series if all are stored alike, else each is one.
    """
    from tifffile import TiffPageSeries

    pages = [page.aspage() for page in file.pages]
    pages = [page for page in pages if page.shape and not page.is_reduced]
    if len({page.hash for page in pages}) > 1 or len(pages) < 2:
        return tuple(TiffPageSeries([page]) for page in pages)
    first = pages[0]
    shape, axes = (len(pages), *first.shape), "I" + first.axes
    return (TiffPageSeries(pages, shape, first.dtype, axes),)


def is_one_of_several(file: TiffFile) -> bool:
    """Whether an OME description names planes of other files, or far too many.

    tifffile would make room for each plane that is named.
    """
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(file.ome_metadata or "")
    except ElementTree.ParseError:
        return True
    most = _FREE_PLANES + len(file.pages) * file.pages.first.samplesperpixel
    if _named_planes(root) > most:
        return True
    found = [e for e in root.iter() if e.tag.rpartition("}")[2] == "UUID"]
    names = {e.get("FileName") for e in found}
    return len(names) > 1 or not {e.text for e in found} <= {root.get("UUID")}


def _named_planes(root: Element) -> int:
    """Return how many planes an OME description names, all images together."""
    n_planes = last = 0
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag == "Pixels":
            sizes = [int(element.get(f"Size{axis}", 1)) for axis in "ZCT"]
            n_planes += math.prod(max(1, size) for size in sizes)
        elif tag == "TiffData":
            names = ("PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")
            last = max(last, *(int(element.get(name, 0)) for name in names))
    return max(n_planes, last)


def _is_complete(series: TiffPageSeries) -> bool:
    """Whether a file holds all planes that it describes."""
    if series.kind != "mmstack":
        return None not in series.pages
    return all(page is not None and page.dataoffsets[0] for page in series.pages)


def _ends_early(file: TiffFile) -> bool:
    """Whether planes that ImageJ stores behind the first, without pages, are cut off.

    Nothing else stands behind the first plane then. Elsewhere the number of planes may
    be that of a file from which this one was taken.
    """
    page, about = file.pages.first, file.imagej_metadata or {}
    n_planes = about.get("images", 1)
    if len(file.pages) > 1 or not isinstance(n_planes, int) or page.compression != 1:
        return False
    start, size = min(page.dataoffsets), page.nbytes
    places = [page.offset, *(tag.valueoffset for tag in page.tags)]
    n_bytes = file.filehandle.size - start
    return max(places) < start and size < n_bytes < n_planes * size


def _appended(file: TiffFile) -> tuple[str, tuple[int, ...]] | None:
    """Return axes and shape of each of several equal arrays of tifffile's writer.

    None if there is one array, or if they differ, or if pages stand for several planes.
    """
    pages, first = file.pages, file.pages.first.aspage()
    about = _shaped(first)
    shape = tuple(about.get("shape", ()))
    n_planes, rest = divmod(math.prod(shape), max(1, math.prod(first.shape)))
    n_pages = len(pages)
    if rest or n_planes != n_pages:
        for page in pages:
            _shaped(page.aspage())
    if rest or not 0 < n_planes < n_pages or about.get("truncated"):
        return None
    are_equal = n_pages % n_planes == 0 and all(
        _shaped(pages[i].aspage()).get("shape") == list(shape)
        for i in range(0, n_pages, n_planes)
    )
    if not are_equal and n_pages > _MOST_SERIES:
        refuse(f"the file holds {n_pages} pages of different kinds")
    if not are_equal or shape[len(shape) - len(first.shape) :] != first.shape:
        return None
    axes = str(about.get("axes", ""))
    if len(axes) != len(shape):
        axes = "Q" * (len(shape) - len(first.axes)) + first.axes
    return axes, shape


def _shaped(page: TiffPage) -> dict[str, Any]:
    """Read what tifffile's writer says of an array, or refuse a shape that is none.

    tifffile would multiply it: a number by a text is a very long text.
    """
    try:
        about = json.loads(page.shaped_description or "")
    except (RecursionError, ValueError):
        return {}
    about = about if isinstance(about, dict) else {}
    if not is_shape(about.get("shape", ())):
        refuse(f"its description must say a shape, got {about['shape']!r:.80}")
    return about


def _of_one_kind(series: tuple[TiffPageSeries, ...]) -> TiffPageSeries:
    """Return the first of several images of one kind, or refuse them."""
    if not series:
        refuse("the file holds no image")
    kinds = {_kind_of(one) for one in series}
    if len(kinds) > 1:
        shapes = ", ".join(str(one.shape) for one in series[:4])
        refuse(
            f"the file holds {len(series)} images of different kinds: {shapes}; "
            "save each as a file of its own"
        )
    return series[0]


def _kind_of(series: TiffPageSeries) -> tuple[object, ...]:
    """Return what images have in common whose colors can be stacked."""
    page = series.keyframe
    shown, is_clear = shown_axes(page, page.axes), has_opacity(page, page.axes)
    n_samples = page.samplesperpixel
    return series.shape, series.axes, series.dtype, n_samples, shown, is_clear


def _default_axes(n_spatial: int) -> str:
    """Return letters for axes of which nothing is known."""
    return _distinct("Q" * (n_spatial - 4) + "TZYX"[-n_spatial:])


def _distinct(axes: str) -> str:
    """Replace letters that stand twice by others, since sizes go by the letter."""
    free = (letter for letter in "QRIABDEFGHJKLMNOPUVW" if letter not in axes)
    return "".join(
        letter if axes.index(letter) == i else next(free, letter)
        for i, letter in enumerate(axes)
    )


def _color_map(palette: Array, labels: Array, axes: str) -> dict[str, Any]:
    """Return the options that store a palette, and what no standard tag holds."""
    color_map = np.zeros((3, 1 << 8 * labels.dtype.itemsize), np.uint16)
    # TIFF 6.0, section 5: a color map reaches from 0 to 65535, whatever the depth.
    widened = palette.astype(np.uint16) * (257 if palette.dtype == np.uint8 else 1)
    color_map[:, : len(palette)] = widened.T
    note: dict[str, Any] = {"colors": len(palette), "dtype": str(palette.dtype)}
    # Readers drop axes of length 1.
    note |= {"axes": axes, "shape": labels.shape}
    tags = [(NOTE_TAG, "s", 0, json.dumps(note), True)]
    return {"photometric": "palette", "colormap": color_map, "extratags": tags}


def _sample_kinds(n_samples: int, are_colors: bool, has_alpha: bool) -> dict[str, Any]:
    """Return the options that say what each sample of a pixel is."""
    is_rgb = are_colors and n_samples >= 3
    n_extra = n_samples - (3 if is_rgb else 1)
    kinds = ["unspecified"] * (n_extra - has_alpha) + ["unassalpha"] * has_alpha
    options: dict[str, Any] = {"planarconfig": "contig"}
    if is_rgb:
        options["photometric"] = "rgb"
    return options | ({"extrasamples": kinds} if kinds else {})


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
        # ImageJ has one unit for all lengths, and a line for it.
        and len(lengths) <= 1
        and all(unit.isascii() and unit.isprintable() for unit in lengths)
        and all(_is_resolution(1 / sizes[a][0]) for a in "YX" if a in sizes)
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
        for axis, (size, unit) in sizes.items():
            if axis in _OME_SIZES and unit in LENGTHS | TIMES:
                name, _ = _OME_SIZES[axis]
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
        if (per_meter := pixels_per_meter(metadata)) is not None:
            unit = "inch" if sizes["X"][1] == "inch" else "centimeter"
            resolution = tuple(LENGTHS[unit][1] * n for n in per_meter)
            if all(map(_is_resolution, resolution)):
                options |= {"resolution": resolution, "resolutionunit": unit}
    return options


def _is_resolution(value: float) -> bool:
    """Whether a quotient of 32-bit numbers comes close to a value."""
    return 1e-6 <= value <= 4e9


def sizes_of_pixels(file: TiffFile, page: TiffPage) -> Sizes:
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
