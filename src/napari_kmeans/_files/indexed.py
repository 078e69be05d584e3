"""Image files that hold a palette, and for each pixel its index.

`write_indexed` and `read_indexed` are the public functions; `encode_indexed` and
`decode_indexed` do the same for the content of a file, and trust what they are given.
What a format holds is said by `formats`; GIF and TIFF files are laid out by `gif` and
`tiff`, PNG files here, in rows by `png_rows`.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_kmeans._core.arguments import plain_array
from napari_kmeans._core.arrays import Array, Indices, Labels
from napari_kmeans._core.blocks import n_cores
from napari_kmeans._files import formats, gif, png, png_rows, tiff
from napari_kmeans._files.color_profiles import cicp_of
from napari_kmeans._files.metadata import (
    NO_METADATA,
    ImageMetadata,
    checked_metadata,
    note_of_sizes,
)
from napari_kmeans._files.palette_order import neighborly_order, used_colors
from napari_kmeans._files.png_rows import Effort
from napari_kmeans._files.read import read_content
from napari_kmeans._files.replace import replace_file
from napari_kmeans._files.write import pillow_options

if TYPE_CHECKING:
    import os

__all__ = [
    "IndexedImage",
    "decode_indexed",
    "encode_indexed",
    "read_indexed",
    "write_indexed",
]

# What the labels of a format with so many axes must look like.
_SHAPES: dict[float, str] = {
    2: "(rows, columns)",
    3: "(rows, columns) or (frames, rows, columns)",
}
# Pixels of a PNG file up to which the best compression takes no time.
_SMALL = 1 << 16
# Pixels up to which oxipng spends three times the time to save one or two percent.
_MOST_TRIED = 1 << 22

# Pixels of a sample by which colors are ordered.
_SAMPLE = 1 << 21


class IndexedImage(NamedTuple):
    """Labels and their palette, as a file holds them.

    Parameters
    ----------
    labels : (...) ndarray of uint8 or uint16
        Index into `palette` of each pixel.
    palette : (K, 3) or (K, 4) ndarray of uint8 or uint16
        RGB or RGBA colors, in the order of the file.
    """

    labels: Labels
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
        Index into `palette` of each pixel. PNG and GIF files hold (rows, columns), or
        (frames, rows, columns) as a film, TIFF files any number of axes.
    palette : (K, 3), (K, 4) or (K,) array_like of uint8 or uint16
        RGB, RGBA or gray colors, ``1 <= K <= 256``, in a TIFF file up to 65536. Only
        TIFF holds uint16, only PNG holds RGBA; GIF holds RGBA whose only opacities
        are 255 and, for one color, 0.
    metadata : ImageMetadata, optional
        Axes of `labels`, size of their pixels, color profile, durations of frames and
        number of plays, as far as the format holds them. The axis S of a color image
        is left out.

    Raises
    ------
    TypeError
        If `palette` is of another dtype, `labels` are not integers, or `metadata` is
        not an `ImageMetadata` of the kinds of values that it describes.
    ValueError
        If `path` has another suffix, or if its format cannot hold the shape of
        `labels`, the number of colors or their opacity, if `labels` are not indices
        into `palette`, or if `metadata` has another number of axes or frames, an axis
        twice, a size that is not between 1e-30 and 1e30, or a negative duration.
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
    suffix = formats.checked_suffix(path, formats.INDEXED_SUFFIXES)
    colors = _validated_palette(palette)
    array = _validated_labels(labels, len(colors))
    _check_fit(suffix, array, colors)
    metadata = checked_metadata(metadata, array.ndim)
    n_frames = len(array) if array.ndim == 3 else 1
    if suffix in (".gif", ".png") and len(metadata.durations) not in (0, n_frames):
        rule = f"have a duration for each of {n_frames} frames"
        msg = f"metadata.durations must {rule}, got {len(metadata.durations)}"
        raise ValueError(msg)
    name = Path(path).name
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
        If the file is of another format, holds no palette or more than one, or is
        damaged.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    write_indexed : Write such a file.

    Notes
    -----
    GIF and TIFF files of other programs do not say how many of their colors count, so
    the palette has all of them, as many as a power of two.

    Examples
    --------
    ``palette[labels]`` is the image; see `write_indexed` for the round trip.
    """
    try:
        return decode_indexed(read_content(path))
    except ValueError as error:
        msg = f"path must name a sound file with a palette, got {path}: {error}"
        raise ValueError(msg) from error


def decode_indexed(content: bytes) -> IndexedImage:
    """Decode the content of a file that holds a palette, or raise ValueError."""
    with formats.faults_in_words():
        if gif.is_gif(content):
            labels, palette = gif.decode_gif(content)
            labels = labels if len(labels) > 1 else labels[0]
        elif tiff.is_tiff(content):
            with tiff.open_tiff(io.BytesIO(content)) as file:
                labels, palette = tiff.decode_tiff_labels(file, len(content))
        else:
            labels, palette = _decode_png(content)
        if labels.max() >= len(palette):
            formats.refuse(f"an index is {labels.max()}, of {len(palette)} colors")
        return IndexedImage(labels, palette)


def encode_indexed(
    name: str,
    labels: Labels,
    palette: Array,
    *,
    metadata: ImageMetadata = NO_METADATA,
    keep_order: bool,
    effort: Effort = "normal",
) -> bytes:
    """Encode labels and an RGB or RGBA palette that the format of the name can hold.

    PNG files become smaller where the order of the palette may change and unused colors
    may be left out, and the more `effort` is made.
    """
    form = formats.format_of(name)
    if form.name == "PNG":
        if not keep_order:
            labels, palette = used_colors(labels, palette)
        effort = "best" if effort == "normal" and labels.size <= _SMALL else effort
        content = _encode_png(labels, palette, metadata, effort, keep_order)
        if effort != "best":
            return content
        if labels.ndim == 3:
            others = [png.shrink_png(content, level=4, keep_palette=True)]
        else:
            others = _optimized(labels, palette, metadata, keep_order)
        return min(content, *others, key=len)
    if form.name == "GIF":
        frames, durations = _frames(labels, metadata)
        return gif.encode_gif(frames, palette, durations, metadata.plays)
    return tiff.encode_tiff(labels, metadata, palette, ome=formats.is_ome(name))


def _frames(
    labels: Labels, metadata: ImageMetadata
) -> tuple[NDArray[np.uint8], Sequence[float]]:
    """Return labels of up to 256 colors as frames, and their durations, or none."""
    frames = labels.astype(np.uint8, copy=False).reshape(-1, *labels.shape[-2:])
    durations = metadata.durations
    return frames, durations if len(durations) == len(frames) else ()


def _encode_png(
    labels: Labels,
    palette: Array,
    metadata: ImageMetadata,
    effort: Effort,
    keep_order: bool,
) -> bytes:
    """Encode a plane of labels as a PNG file, or frames as a film."""
    frames, durations = _frames(labels, metadata)
    order = np.arange(len(palette))
    if not keep_order and effort != "fast":
        sample = png_rows.sample_rows(frames.reshape(-1, frames.shape[2]), _SAMPLE)
        order = neighborly_order(sample, len(palette))
    codes = np.argsort(order).astype(np.uint8)
    frame = _png_frame(palette[order], metadata, keep_order)

    def still(part: NDArray[np.uint8]) -> bytes:
        rows = png_rows.compress_rows(part, codes, frame[24], effort)
        return png.with_rows(frame, part.shape, rows)

    if len(frames) == 1:
        return still(frames[0])
    places, parts = zip(*gif.changes_of(frames), strict=True)
    stills = list(map(still, parts))
    return png.join_png_film(stills, places, durations, metadata.plays)


def _optimized(
    labels: Labels, palette: Array, metadata: ImageMetadata, keep_order: bool
) -> list[bytes]:
    """Encode a plane of labels as PNG files by oxipng, in all ways that may be best.

    The order of the palette is that which is given, or if it may change, that of oxipng
    and that of neighbors.
    """
    from concurrent.futures import ThreadPoolExecutor

    def encoded(order: Indices, level: int, keep_palette: bool) -> bytes:
        frame = _png_frame(palette[order], metadata, keep_order)
        codes = np.argsort(order).astype(np.uint8)
        rows: Any = png_rows.pack_rows(labels, codes, frame[24])
        content = png.with_rows(frame, labels.shape, zlib.compress(rows, 0))
        return png.shrink_png(content, level=level, keep_palette=keep_palette)

    # Levels 2 and 4 try different filters.
    levels = (4, 2) if labels.size <= _MOST_TRIED else (2,)
    order, ways = np.arange(len(palette)), list[tuple[Indices, int, bool]]()
    if not keep_order:
        ways.append((order, levels[0], False))
        order = neighborly_order(labels, len(palette))
    ways += [(order, level, True) for level in levels]
    # A call of oxipng uses one core.
    with ThreadPoolExecutor(n_cores()) as executor:
        return list(executor.map(encoded, *zip(*ways, strict=True)))


def _png_frame(palette: Array, metadata: ImageMetadata, keep_opacity: bool) -> bytes:
    """Encode one pixel as a PNG file that has all but the rows of an image.

    The opacity of a palette that is opaque is dropped unless it is to be kept.
    """
    from PIL import Image, PngImagePlugin

    image = Image.new("P", (1, 1))
    image.putpalette(palette[:, :3].tobytes())
    options = pillow_options(formats.format_of("image.png"), metadata)
    if palette.shape[1] == 4:
        # Colors without an entry are opaque.
        n_entries = len(bytes(palette[:, 3]).rstrip(b"\xff")) or int(keep_opacity)
        if n_entries:
            options["transparency"] = palette[:n_entries, 3].tobytes()
    note = note_of_sizes(metadata)
    if note is not None:
        # A resolution is rounded, and has no unit.
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text(*note)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return png.with_cicp(buffer.getvalue(), cicp_of(metadata.icc_profile))


def _validated_palette(palette: ArrayLike) -> Array:
    """Return `palette` as RGB (K, 3) or RGBA (K, 4)."""
    colors = plain_array("palette", palette)
    if colors.dtype not in (np.uint8, np.uint16):
        msg = f"palette must have dtype uint8 or uint16, got {colors.dtype}"
        raise TypeError(msg)
    if colors.ndim == 1:
        colors = np.repeat(colors[:, np.newaxis], 3, axis=1)
    if colors.ndim != 2 or colors.shape[1] not in (3, 4):
        msg = f"palette must have shape (K,), (K, 3) or (K, 4), got {colors.shape}"
        raise ValueError(msg)
    return np.ascontiguousarray(colors)


def _validated_labels(labels: ArrayLike, n_colors: int) -> Labels:
    """Return `labels` as uint8 or, for more than 256 colors, uint16."""
    array = plain_array("labels", labels)
    if array.dtype.kind not in "ui":
        msg = f"labels must be integers, got dtype {array.dtype}"
        raise TypeError(msg)
    for index in (array.min(initial=0), array.max(initial=0)):
        if n_colors and not 0 <= index < n_colors:
            msg = f"labels must be between 0 and {n_colors - 1}, got {index}"
            raise ValueError(msg)
    dtype = np.uint8 if n_colors <= formats.BYTE_COLORS else np.uint16
    return np.ascontiguousarray(array, dtype=dtype)


def _check_fit(suffix: str, labels: Labels, colors: Array) -> None:
    """Raise TypeError or ValueError unless a format holds labels and their colors."""
    n_axes = labels.ndim if labels.size else 0
    forms = [formats.format_of(f"image{one}") for one in (suffix, ".tif", ".png")]
    misfit, *others = [formats.palette_misfit(one, n_axes, colors) for one in forms]
    if misfit is None:
        return
    file, form = f" in a {suffix} file", forms[0]
    shapes = _SHAPES.get(form.most_axes, "(..., rows, columns)")
    most = f"{form.most_colors} colors{'' if form.name == 'TIFF' else file}"
    texts = {
        "axes": f"labels must have shape {shapes}, got {labels.shape}",
        "dtype": f"palette must have dtype uint8{file}, got {colors.dtype}",
        "colors": f"palette must have 1 to {most}, got {len(colors)}",
        "opacity": f"palette must not have alpha{file}, got shape {colors.shape}",
    }
    advice = ""
    if None in others:
        advice = f"; choose {('.tif', '.png')[others.index(None)]}"
    error = TypeError if misfit == "dtype" else ValueError
    raise error(texts[misfit] + advice)


def _decode_png(content: bytes) -> tuple[Labels, Array]:
    """Decode a PNG file of color type 3."""
    if png.is_png(content):
        content = png.cleaned_png(content)
    with formats.open_image(io.BytesIO(content)) as image:
        if image.format != "PNG" or image.mode != "P":
            formats.refuse(f"it is a {image.format} file with {image.mode} pixels")
        formats.check_pixel_limit((image.height, image.width), len(content))
        labels, n_frames = np.array(image), getattr(image, "n_frames", 1)
        mode = "RGBA" if "transparency" in image.info else "RGB"
        image.apply_transparency()
        palette = np.array(image.getpalette(mode), np.uint8).reshape(-1, len(mode))
        if n_frames > 1:
            formats.check_film_limit(n_frames, labels.shape, len(content))
            labels = _labels_of_film(content, palette)
    return labels, palette


def _labels_of_film(content: bytes, palette: Array) -> NDArray[np.uint8]:
    """Return the indices of frames, or refuse mixtures that no index stands for.

    What is cleared between frames has the first clear color.
    """
    colors = np.full((len(palette), 4), 255, np.uint8)
    colors[:, : palette.shape[1]] = palette
    numbered = png.frames_of_png(png.numbered_png(content))
    labels = np.stack([frame[..., 0] for frame in numbered])
    shown = np.stack([*png.frames_of_png(content)])
    is_wrong = (colors[labels] != shown).any(axis=-1)
    is_cleared = is_wrong & ~shown.any(axis=-1)
    clear = np.flatnonzero(colors[:, 3] == 0)
    if (is_wrong & ~is_cleared).any() or (is_cleared.any() and not len(clear)):
        formats.refuse("the frames of the PNG film have colors beside its palette")
    labels[is_cleared] = clear[:1]
    return labels if len(labels) > 1 else labels[0]
