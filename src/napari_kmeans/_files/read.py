"""Image files of all kinds, read upright and in their own dtype.

`decode_image` turns the content of a file into an `ImageFile`, `read_image` reads it
first. `read_metadata` and `decoded_bytes` read only the header. `default_suffix`
chooses the format for the compressed image of a file. TIFF files are left to `tiff`,
PNG files of 16 bits to `png`; everything else is read by Pillow.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from napari_kmeans._core.arrays import Array
from napari_kmeans._core.quality import white_of
from napari_kmeans._files import formats, gif, png, tiff
from napari_kmeans._files.color_profiles import profile_of_png, rgb_profile
from napari_kmeans._files.metadata import (
    NO_METADATA,
    RESOLUTION_UNITS,
    ImageMetadata,
    Sizes,
    has_channel_axis,
    sizes_of_note,
    turn_upright,
    turned,
    with_axes,
)
from napari_kmeans._files.tiff_colors import palettes_of

if TYPE_CHECKING:
    import os

    from PIL import Image
    from tifffile import TiffFile

__all__ = [
    "ImageFile",
    "decode_image",
    "decoded_bytes",
    "default_suffix",
    "read_content",
    "read_image",
    "read_metadata",
    "with_opacity",
]


# Of Pillow, whose pixels are decoded to RGB, or RGBA, as they are.
_RGB_MODES = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA")


class ImageFile(NamedTuple):
    """The pixels of an image file, (...) or with channels last (..., C)."""

    pixels: Array
    has_channels: bool = True
    # Whether the last channel is opacity. Where it is 0, so are the others.
    has_alpha: bool = False
    # Its axes are those of the file, where channels may stand elsewhere.
    metadata: ImageMetadata = NO_METADATA

    @property
    def are_colors(self) -> bool:
        """Whether the pixels are gray, RGB or RGBA, and not bands or channels."""
        n_channels = self.pixels.shape[-1] if self.has_channels else 1
        is_known = n_channels in (1, 3) or (n_channels == 4 and self.has_alpha)
        return is_known and not has_channel_axis(self.metadata)


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Read an image file upright, in its own dtype.

    Palette, CMYK and other colors become RGB, or RGBA where some are transparent,
    and 1-bit pixels become gray. Frames and pages become the first axes. Raises OSError
    if there is no file to read, and ValueError if it is not a valid image file, or if
    it is not known what its pixels mean.
    """
    return decode_image(read_content(path))


def read_metadata(path: str | os.PathLike[str]) -> ImageMetadata:
    """Read what an image file says about its pixels.

    Parameters
    ----------
    path : str or path-like
        File to read.

    Returns
    -------
    metadata : ImageMetadata
        Axes of the image, size of its pixels, color profile and durations of frames,
        as far as the file has them. The colors of an image are its axis S.

    Raises
    ------
    ValueError
        If it is not an image file, or it is not known what its pixels mean.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    write_indexed : Hand it on to another file.

    Notes
    -----
    Pixels are not decoded, except those of WebP and AVIF films, whose durations stand
    between them. So it is fast, and does not notice damaged pixels.
    """
    from PIL import Image

    content = read_content(path)
    with _opened(io.BytesIO(content)) as file:
        if not isinstance(file, Image.Image):
            return tiff.read_tiff_header(file).metadata
        if _n_frames(file) == 1:
            return _photo_metadata(file, content)
        if file.format == "GIF":
            return _film_metadata(file, gif.durations_of_gif(content))
        if file.format == "PNG":
            return _film_metadata(file, png.durations_of_png(content))
        return _decode_film(file, content).metadata


def read_content(path: str | os.PathLike[str]) -> bytes:
    """Read a file, unless it is one without an end."""
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        msg = "not a regular file"
        raise ValueError(msg)
    return path.read_bytes()


def decode_image(content: bytes) -> ImageFile:
    """Read the content of an image file, or raise ValueError."""
    from PIL import Image, ImageOps

    with _opened(io.BytesIO(content)) as file:
        if not isinstance(file, Image.Image):
            return _decode_tiff(file, len(content))
        if _n_frames(file) > 1:
            if png.is_deep_png(content):
                formats.refuse(
                    "16-bit colors of a PNG film cannot be read, only of TIFF"
                )
            return _decode_film(file, content)
        metadata = _photo_metadata(file, content)
        if png.is_deep_png(content):
            pixels = png.decode_deep_png(content)
            pixels = turn_upright(pixels, "YX", _orientation(file))
        else:
            if file.format in ("JPEG", "MPO"):
                formats.check_scans(content)
            file.seek(_n_still(file))
            file.load()
            shown = _in_srgb(file)
            ImageOps.exif_transpose(shown, in_place=True)
            pixels = _pixels(shown, is_deep=file.format in ("PNG", "PPM"))
        return _image_file(np.ascontiguousarray(pixels), metadata)


def default_suffix(file: IO[bytes], depth: int | None = None) -> str:
    """Choose by the head of a file which format suits its compressed image.

    PNG for 8-bit images, TIFF for what only that can hold. A film stays GIF, PNG or
    WebP, where other films may have soft edges that GIF cannot hold. With a `depth` of
    8, integers count as those of 8 bits.
    """
    from PIL import Image

    head = file.read(32)
    if png.is_deep_png(head):
        return ".tif" if depth is None else ".png"
    try:
        with _opened(file) as opened:
            if not isinstance(opened, Image.Image):
                if tiff.is_flat_photo(opened, depth):
                    return ".png"
                return ".ome.tif" if tiff.is_for_ome(opened) else ".tif"
            if opened.mode.startswith(("I", "F") if depth is None else "F"):
                return ".tif"
            if _n_frames(opened) > 1:
                return {"GIF": ".gif", "PNG": ".png"}.get(str(opened.format), ".webp")
            return ".png"
    except ValueError:  # Reading it will show what is wrong.
        return ".png"


def decoded_bytes(file: IO[bytes]) -> int:
    """Return the bytes that the pixels of a file take in memory, by its header.

    They are 0 if it cannot be read.
    """
    from PIL import Image, ImageMode

    head = file.read(32)
    file.seek(0)
    # To clean a PNG file, all of it would be read.
    opener = formats.open_image if png.is_png(head) else _opened
    try:
        with formats.faults_in_words(), opener(file) as image:
            if not isinstance(image, Image.Image):
                header = tiff.read_tiff_header(image)
                n_bytes = np.dtype(header.series[0].keyframe.dtype).itemsize
                palettes = [p for one in header.series for p in palettes_of(one)]
                if palettes:
                    n_bytes = 3 * max(palette.dtype.itemsize for palette in palettes)
                return math.prod(header.shape) * n_bytes
            n_frames = _n_frames(image)
            n_pixels = image.width * image.height * n_frames
            kind = np.dtype(ImageMode.getmode(image.mode).typestr)
            n_bytes = 2 if png.is_deep_png(head) else kind.itemsize
            is_gray = image.mode in ("1", "L") or image.mode.startswith(("I", "F"))
            is_clear = image.has_transparency_data
            n_channels = 1 if is_gray and not is_clear else 3 + is_clear
            if n_frames > 1:
                n_channels = 4
            return n_pixels * n_channels * n_bytes
    except (OSError, ValueError):  # Reading it will show what is wrong.
        return 0


@contextlib.contextmanager
def _opened(file: IO[bytes]) -> Iterator[TiffFile | Image.Image]:
    """Open a file by the library that reads it better; it decodes no pixel yet."""
    file.seek(0)
    head = file.read(32)
    file.seek(0)
    with formats.faults_in_words():
        if not head:
            formats.refuse("the file is empty")
        if tiff.is_tiff(head):
            with tiff.open_tiff(file) as opened:
                yield opened
            return
        profile = None
        if png.is_png(head):
            content = file.read()
            is_gray, chunks = png.colors_of_png(content)
            profile = profile_of_png(chunks, is_gray=is_gray)
            file = io.BytesIO(png.cleaned_png(content))
        with formats.open_image(file) as image:
            if profile is not None:
                image.info["icc_profile"] = profile
            yield image


def _n_frames(image: Image.Image) -> int:
    """Count the frames that are images of their own, or refuse the file."""
    frames = formats.format_of_pillow(image.format or "").frames
    n_frames = 1 if frames == "left out" else int(getattr(image, "n_frames", 1))
    n_frames -= _n_still(image)
    if n_frames > 1 and frames == "refused":
        formats.refuse(f"the file holds {n_frames} frames of a {image.format} file")
    return n_frames


def _n_still(image: Image.Image) -> int:
    """Count the pictures before the frames: PNG films may have one for old viewers."""
    return int(getattr(image, "default_image", False))


def _image_file(
    pixels: Array, metadata: ImageMetadata, has_alpha: bool = True
) -> ImageFile:
    """Return pixels as an image that has alpha only where it is not opaque.

    `has_alpha` says whether the last of four channels, or more, is opacity.
    """
    has_channels = "S" in metadata.axes or has_channel_axis(metadata)
    has_alpha = has_alpha and has_channels and pixels.shape[-1] >= 4
    return with_opacity(ImageFile(pixels, has_channels, has_alpha, metadata))


def with_opacity(image: ImageFile) -> ImageFile:
    """Return new pixels as they are kept: without opacity that is full everywhere.

    Colors that are fully transparent become 0, in place.
    """
    pixels = image.pixels
    if image.has_alpha and (pixels[..., -1] == white_of(pixels.dtype)).all():
        return image._replace(pixels=pixels[..., :-1].copy(), has_alpha=False)
    if image.has_alpha:
        np.multiply(pixels, pixels[..., -1:] != 0, out=pixels)
    return image


def _photo_metadata(image: Image.Image, content: bytes) -> ImageMetadata:
    """Describe the pixels of one picture as they are decoded, or refuse it."""
    if image.format == "PNG" and "Raw profile type exif" not in image.info:
        # Pillow would decode the pixels to look for EXIF data behind them.
        image.info.setdefault("exif", png.exif_of_png(content))
    _refuse_reduced_depth(image)
    is_gray = image.mode in ("1", "L") or image.mode.startswith(("I", "F"))
    axes = "YX" if is_gray and not image.has_transparency_data else "YXS"
    metadata = ImageMetadata(icc_profile=_kept_profile(image))
    metadata = with_axes(metadata, axes, _sizes(image))
    return turned(metadata, _orientation(image))


def _orientation(image: Image.Image) -> int:
    from PIL.ExifTags import Base

    return int(image.getexif().get(Base.Orientation, 1))


def _sizes(image: Image.Image) -> Sizes:
    """Read the resolution of a photo, as the size of its pixels in inches.

    PNG files may have a note of other sizes.
    """
    from PIL.ExifTags import Base

    if noted := sizes_of_note(image.info):
        return noted
    tags = image.getexif()
    unit = RESOLUTION_UNITS.get(tags.get(Base.ResolutionUnit, 2), "")
    resolution = tags.get(Base.XResolution, 0), tags.get(Base.YResolution, 0)
    if "dpi" in image.info:
        resolution, unit = image.info["dpi"], "inch"
    try:
        across, down = (1 / float(value) for value in resolution)
    except (TypeError, ValueError, ZeroDivisionError):
        return {}
    is_known = unit != "" and min(across, down) > 0
    return {"Y": (down, unit), "X": (across, unit)} if is_known else {}


def _decode_film(image: Image.Image, content: bytes) -> ImageFile:
    """Decode the frames of a film as they are shown."""
    n_frames = _n_frames(image)
    formats.check_film_limit(n_frames, (image.height, image.width), len(content))
    stack = np.empty((n_frames, image.height, image.width, 4), np.uint8)
    durations: list[float] = []
    if image.format == "PNG":
        durations += png.durations_of_png(content)
        if len(durations) != n_frames:
            formats.refuse(f"the PNG film has {len(durations)} of {n_frames} frames")
        frames = png.frames_of_png(png.cleaned_png(content))
        for number, frame in enumerate(frames):
            stack[number] = frame
        return _image_file(stack, _film_metadata(image, durations))
    for number in range(n_frames):
        image.seek(number)
        stack[number] = np.array(image.convert("RGBA"))
        durations.append(float(image.info.get("duration", 0) or 0) / 1000)
    return _image_file(stack, _film_metadata(image, durations))


def _film_metadata(image: Image.Image, durations: Sequence[float]) -> ImageMetadata:
    profile, plays = _kept_profile(image), image.info.get("loop")
    if image.format == "GIF":
        # The file counts how often the frames are shown again.
        plays = 1 if plays is None else plays and plays + 1
    return ImageMetadata("TYXS", (), (), profile, tuple(durations), plays or 0)


def _refuse_reduced_depth(image: Image.Image) -> None:
    """Refuse colors of 16 bits, of which Pillow would drop the lower 8."""
    if image.format == "PNG" or image.mode not in ("RGB", "RGBA", "LA", "L"):
        return
    for *_, args in getattr(image, "tile", ()):
        first, *others = args if isinstance(args, tuple) and args else (args,)
        is_deep_ppm = image.format == "PPM" and others and others[0] not in (255, 0)
        # BGR;16 has 16 bits in all.
        if is_deep_ppm or ("16" in str(first) and not str(first).startswith("BGR")):
            kind = f"16-bit colors of a {image.format} file"
            formats.refuse(f"{kind} cannot be read, only PNG and TIFF")


def _in_srgb(image: Image.Image) -> Image.Image:
    """Convert a CMYK image to sRGB by its profile; leave any other as it is."""
    profile = image.info.get("icc_profile")
    if image.mode != "CMYK" or not profile:
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # Without a valid profile there is the plain formula.
    converted = image.convert("RGB") if converted is None else converted
    converted.info = image.info
    return converted


def _pixels(image: Image.Image, *, is_deep: bool) -> Array:
    """Return the pixels of a loaded image, a copy.

    `is_deep` says whether integers of 32 bits stand for 16.
    """
    if image.mode.startswith(("I", "F")):
        is_deep = (is_deep and image.mode == "I") or image.mode.startswith("I;16")
        return np.array(image, dtype=np.uint16 if is_deep else None)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    mode = "RGBA" if image.has_transparency_data else mode
    # A conversion to the same mode is a copy.
    return np.array(image if image.mode == mode else image.convert(mode))


def _kept_profile(image: Image.Image) -> bytes | None:
    """Return the color profile for the pixels as they are decoded.

    One that is not for the pixels of its file means nothing.
    """
    profile: bytes | None = image.info.get("icc_profile")
    is_gray = image.mode in ("1", "L", "LA") or image.mode.startswith(("I", "F"))
    if not profile or profile[16:20] != (b"GRAY" if is_gray else b"RGB "):
        return None
    if is_gray and not image.has_transparency_data:
        return profile
    return rgb_profile(profile) if is_gray or image.mode in _RGB_MODES else None


def _decode_tiff(file: TiffFile, n_bytes: int) -> ImageFile:
    """Decode a TIFF file, the channels of a microscope last."""
    pixels, has_alpha, metadata = tiff.decode_tiff(file, n_bytes)
    if has_channel_axis(metadata):
        pixels = np.moveaxis(pixels, metadata.axes.index("C"), -1)
    return _image_file(np.ascontiguousarray(pixels), metadata, has_alpha)
