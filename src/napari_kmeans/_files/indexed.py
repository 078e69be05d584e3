"""Image files that hold a palette, and for each pixel its index."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._files.formats import check_pixel_limit
from napari_kmeans._files.gif import GifImage, decode_gif, encode_gif
from napari_kmeans._files.metadata import (
    NO_METADATA,
    NOTE_NAME,
    ImageMetadata,
    note_of_sizes,
    pixels_per_meter,
)
from napari_kmeans._files.palette_order import neighborly_order
from napari_kmeans._files.png import shrink_png
from napari_kmeans._files.replace import replace_file
from napari_kmeans._files.tiff import (
    TIFF_SUFFIXES,
    StoredTiff,
    decode_tiff,
    default_axes,
    encode_tiff,
    is_tiff,
    open_tiff,
)

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "INDEXED_SUFFIXES",
    "MAX_FILE_COLORS",
    "IndexedImage",
    "decode_indexed",
    "encode_indexed",
    "is_ome",
    "read_indexed",
    "write_indexed",
]

INDEXED_SUFFIXES = (".png", ".gif", *TIFF_SUFFIXES)
# Colors whose indices share bytes, which oxipng has no order for.
_MOST_PACKED = 16
# TIFF indices of 16 bits reach further.
MAX_FILE_COLORS = 256
_MAX_TIFF_COLORS = 65536


class IndexedImage(NamedTuple):
    """Labels and their palette, as a file holds them.

    Parameters
    ----------
    labels : (...) ndarray of uint8 or uint16
        Index into `palette` of each pixel.
    palette : (K, 3) or (K, 4) ndarray of uint8 or uint16
        RGB or RGBA colors, in the order of the file.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    palette: NDArray[np.unsignedinteger[Any]]


def write_indexed(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    palette: ArrayLike,
    *,
    metadata: ImageMetadata = NO_METADATA,
) -> None:
    """Write labels and their palette to a PNG, GIF or TIFF file, exactly as they are.

    Parameters
    ----------
    path : str or path-like
        File to write, whose suffix ``.png``, ``.gif``, ``.tif`` or ``.tiff`` chooses
        the format, ``.ome.tif`` OME-TIFF. A file that exists is replaced once the new
        one is complete.
    labels : (...) array_like of int
        Index into `palette` of each pixel. PNG files hold (rows, columns), GIF files
        also (frames, rows, columns), TIFF files any number of axes.
    palette : (K, 3), (K, 4) or (K,) array_like of uint8 or uint16
        RGB, RGBA or gray colors, ``1 <= K <= 256``, in a TIFF file up to 65536. Only
        TIFF holds uint16, only PNG holds RGBA; GIF holds RGBA whose only opacities
        are 255 and, for one color, 0.
    metadata : ImageMetadata, optional
        Axes of `labels`, size of their pixels, color profile and durations of frames,
        as far as the format holds them.

    Raises
    ------
    TypeError
        If `palette` is of another dtype, or `labels` are not integers.
    ValueError
        If `path` has another suffix, or if its format cannot hold the shape of
        `labels`, the number of colors or their opacity, if `labels` are not indices
        into `palette`, or if `metadata` has another number of axes.
    OSError
        If the file cannot be written; what was there before is still there.

    See Also
    --------
    read_indexed : Read them back.

    Notes
    -----
    The file keeps the order of the palette and its colors, also unused and equal
    ones; gray becomes RGB. A PNG file takes 1, 2, 4 or 8 bits per pixel, the fewest
    that hold K indices. Beside the resolution it has sizes of pixels as text, unless
    they are in inches. A TIFF file of more than two axes, or with the size of its
    pixels, is written for ImageJ, and for OME where ImageJ could not read it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from napari_kmeans import read_indexed, write_indexed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "flag.png"
    ...     write_indexed(path, [[1, 0]], np.array([[0, 0, 255], [255, 0, 0]], "u1"))
    ...     labels, palette = read_indexed(path)
    >>> labels
    array([[1, 0]], dtype=uint8)
    >>> palette
    array([[  0,   0, 255],
           [255,   0,   0]], dtype=uint8)
    """
    name = Path(path).name
    suffix = Path(path).suffix.lower()
    if suffix not in INDEXED_SUFFIXES:
        known = f"{', '.join(INDEXED_SUFFIXES[:-1])} or {INDEXED_SUFFIXES[-1]}"
        msg = f"path must end in {known}, got {suffix!r}"
        raise ValueError(msg)
    colors = _validated_palette(palette, suffix)
    array = _validated_labels(labels, len(colors), suffix)
    if metadata.axes and len(metadata.axes) != array.ndim:
        msg = f"metadata must have {array.ndim} axes, got {metadata.axes!r}"
        raise ValueError(msg)
    content = encode_indexed(name, array, colors, metadata=metadata, keep_order=True)
    replace_file(path, content)


def read_indexed(path: str | os.PathLike[str]) -> IndexedImage:
    """Read the labels and the palette of a PNG, GIF or TIFF file, exactly as they are.

    Parameters
    ----------
    path : str or path-like
        File to read. Its content tells its format.

    Returns
    -------
    indexed : IndexedImage
        The pair of labels and palette, as `write_indexed` was given them. A palette
        with opacity is RGBA.

    Raises
    ------
    ValueError
        If the file is none of these formats, holds no palette or more than one, or
        is broken.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    write_indexed : Write such a file.

    Notes
    -----
    GIF and TIFF files of other programs do not tell how many of their colors count,
    so all are given, as many as a power of two.

    Examples
    --------
    ``palette[labels]`` is the image; see `write_indexed` for the round trip.
    """
    try:
        return decode_indexed(Path(path).read_bytes())
    except ValueError as error:
        msg = f"path must name a sound file with a palette, got {path}: {error}"
        raise ValueError(msg) from error


def decode_indexed(content: bytes) -> IndexedImage:
    """Read the content of a file that holds a palette, or raise ValueError."""
    from PIL import UnidentifiedImageError

    try:
        if content.startswith((b"GIF87a", b"GIF89a")):
            return _read_gif(content)
        if is_tiff(content):
            return _read_tiff(content)
        return _read_png(content)
    except UnidentifiedImageError as error:  # It names an object of ours.
        msg = "not an image, or of a format that cannot be read"
        raise ValueError(msg) from error
    except Exception as error:  # Decoders raise anything on broken bytes.
        raise ValueError(str(error) or type(error).__name__) from error


def is_ome(name: str) -> bool:
    """Tell whether a file name asks for OME-TIFF."""
    return name.lower().endswith((".ome.tif", ".ome.tiff"))


def encode_indexed(
    name: str,
    labels: NDArray[np.unsignedinteger[Any]],
    palette: NDArray[np.unsignedinteger[Any]],
    *,
    metadata: ImageMetadata = NO_METADATA,
    keep_order: bool,
) -> bytes:
    """Encode labels and an RGB or RGBA palette that the format of the name can hold.

    PNG files become smaller where the order of the palette may change.
    """
    suffix = Path(name).suffix.lower()
    if suffix == ".png":
        content = _encode_png(labels, palette, metadata, keep_order)
        if keep_order or len(palette) > _MOST_PACKED:
            return content
        order = neighborly_order(labels, len(palette))
        rank = np.argsort(order).astype(np.uint8)
        other = _encode_png(rank[labels], palette[order], metadata, keep_order=True)
        return min(content, other, key=len)
    if suffix == ".gif":
        frames = labels if labels.ndim == 3 else labels[np.newaxis]
        transparent = None
        if palette.shape[1] == 4:
            transparent = int(palette[:, 3].argmin())
        durations = metadata.durations
        if len(durations) != len(frames):
            durations = ()
        rgb = np.ascontiguousarray(palette[:, :3])
        return encode_gif(GifImage(frames, rgb, transparent, durations))
    if not metadata.axes:
        metadata = metadata._replace(axes=default_axes(labels.ndim))
    return encode_tiff(StoredTiff(labels, metadata, palette), ome=is_ome(name))


def _encode_png(
    labels: NDArray[np.unsignedinteger[Any]],
    palette: NDArray[np.unsignedinteger[Any]],
    metadata: ImageMetadata,
    keep_order: bool,
) -> bytes:
    """Encode a plane of labels as a PNG file."""
    from PIL import Image, PngImagePlugin

    image = Image.fromarray(labels.astype(np.uint8, copy=False))
    image.putpalette(palette[:, :3].tobytes())
    # Pillow only lays the file out, it is compressed anew after that.
    options: dict[str, Any] = {"compress_level": 1}
    if palette.shape[1] == 4:
        options["transparency"] = palette[:, 3].tobytes()
    if metadata.icc_profile is not None:
        options["icc_profile"] = metadata.icc_profile
    resolution = pixels_per_meter(metadata)
    if resolution is not None and max(resolution) < 1 << 31:
        options["dpi"] = (resolution[0] * 0.0254, resolution[1] * 0.0254)
    note = note_of_sizes(metadata)
    if note is not None:
        # A resolution is rounded, and does not tell sizes from those of prints.
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text(NOTE_NAME, note)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return shrink_png(buffer.getvalue(), keep_palette=keep_order)


def _validated_palette(
    palette: ArrayLike, suffix: str
) -> NDArray[np.unsignedinteger[Any]]:
    """Give `palette` as RGB (K, 3) or RGBA (K, 4)."""
    colors = np.asarray(palette)
    is_tiff_file = suffix in TIFF_SUFFIXES
    if colors.dtype == np.uint16 and not is_tiff_file:
        msg = (
            f"palette must have dtype uint8 in a {suffix} file, got uint16; choose .tif"
        )
        raise TypeError(msg)
    if colors.dtype not in (np.uint8, np.uint16):
        msg = f"palette must have dtype uint8 or uint16, got {colors.dtype}"
        raise TypeError(msg)
    if colors.ndim == 1:
        colors = np.repeat(colors[:, np.newaxis], 3, axis=1)
    if colors.ndim != 2 or colors.shape[1] not in (3, 4):
        msg = f"palette must have shape (K,), (K, 3) or (K, 4), got {colors.shape}"
        raise ValueError(msg)
    most = _MAX_TIFF_COLORS if is_tiff_file else MAX_FILE_COLORS
    if not 1 <= len(colors) <= most:
        where = "" if is_tiff_file else f" in a {suffix} file"
        msg = f"palette must have 1 to {most} colors{where}, got {len(colors)}"
        if MAX_FILE_COLORS < len(colors) <= _MAX_TIFF_COLORS:
            msg += "; choose .tif"
        raise ValueError(msg)
    if colors.shape[1] == 4 and suffix != ".png":
        opacities = np.sort(colors[:, 3])
        if is_tiff_file or opacities[0] != 0 or (opacities[1:] != 255).any():
            msg = (
                f"palette must not have alpha in a {suffix} file, "
                f"got shape {colors.shape}; choose .png"
            )
            raise ValueError(msg)
    return np.ascontiguousarray(colors)


def _validated_labels(
    labels: ArrayLike, n_colors: int, suffix: str
) -> NDArray[np.unsignedinteger[Any]]:
    """Give `labels` as uint8 or, for more than 256 colors, uint16."""
    array = np.asarray(labels)
    if array.dtype.kind not in "ui":
        msg = f"labels must be integers, got dtype {array.dtype}"
        raise TypeError(msg)
    shapes = "(rows, columns)"
    if suffix == ".gif":
        shapes += " or (frames, rows, columns)"
    most = {".png": 2, ".gif": 3}.get(suffix, array.ndim)
    if not 2 <= array.ndim <= most or array.size == 0:
        if suffix in TIFF_SUFFIXES:
            shapes = "(..., rows, columns)"
        msg = f"labels must have shape {shapes}, got {array.shape}"
        raise ValueError(msg)
    for index in (array.min(), array.max()):
        if not 0 <= index < n_colors:
            msg = f"labels must be between 0 and {n_colors - 1}, got {index}"
            raise ValueError(msg)
    dtype = np.uint8 if n_colors <= MAX_FILE_COLORS else np.uint16
    return np.ascontiguousarray(array, dtype=dtype)


def _read_gif(content: bytes) -> IndexedImage:
    """Read a GIF file, a stack if it has several frames."""
    image = decode_gif(content)
    palette = image.palette
    if image.transparent is not None:
        alpha = np.full((len(palette), 1), 255, np.uint8)
        alpha[image.transparent] = 0
        palette = np.concatenate([palette, alpha], axis=1)
    labels = image.frames if len(image.frames) > 1 else image.frames[0]
    return IndexedImage(labels, palette)


def _read_tiff(content: bytes) -> IndexedImage:
    """Read a TIFF file with a color map."""
    with open_tiff(content) as file:
        stored = decode_tiff(file, len(content))
    if stored.palette is None:
        msg = "its pixels are no indices"
        raise ValueError(msg)
    return IndexedImage(stored.array, stored.palette)


def _read_png(content: bytes) -> IndexedImage:
    """Read a PNG file of color type 3."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        if image.format != "PNG" or image.mode != "P":
            msg = f"it is a {image.format} file with {image.mode} pixels"
            raise ValueError(msg)
        check_pixel_limit((image.height, image.width), len(content))
        labels = np.array(image)
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        opacity = image.info.get("transparency")
    if opacity is None:
        return IndexedImage(labels, palette)
    alpha = np.full(len(palette), 255, np.uint8)
    if isinstance(opacity, int):  # Pillow's short form for a single clear color.
        alpha[opacity] = 0
    else:
        given = np.frombuffer(opacity, np.uint8)[: len(palette)]
        alpha[: len(given)] = given
    return IndexedImage(labels, np.column_stack([palette, alpha]))
