"""Image files of all kinds, read upright and in their own dtype."""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._files.formats import TooManyPixels, check_pixel_limit
from napari_kmeans._files.indexed import is_ome
from napari_kmeans._files.metadata import (
    NO_METADATA,
    NOTE_NAME,
    ImageMetadata,
    has_channel_axis,
    pixels_per_meter,
    sizes_of_note,
    turn_upright,
)
from napari_kmeans._files.png import decode_deep_png, is_deep_png, shrink_png
from napari_kmeans._files.tiff import (
    TIFF_SUFFIXES,
    RefusedTiff,
    StoredTiff,
    decode_tiff,
    default_axes,
    encode_tiff,
    has_deep_palette,
    is_tiff,
    open_tiff,
)

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from PIL import Image
    from tifffile import TiffFile

__all__ = [
    "ImageFile",
    "check_fit",
    "decode_image",
    "default_suffix",
    "encode_image",
    "image_suffixes",
    "is_8_bit",
    "read_content",
    "read_image",
    "read_metadata",
    "writable_suffixes",
]

# Pillow would write these as pictures of something else than the pixels.
_NOT_FOR_PIXELS = {"BUFR", "EPS", "GRIB", "HDF5", "ICNS", "ICO", "PALM", "PDF", "WMF"}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 95},
    "JPEG": {"quality": 95, "subsampling": 0, "optimize": True},
    "MPO": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True, "exact": True, "method": 6},
}
# Formats whose frames follow each other in time.
_ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")
# Formats whose other pictures are previews, other eyes, sizes or layers of the first.
_FIRST_COUNTS = ("MPO", "ICO", "ICNS", "PSD")
_HOLD_NO_GRAY = ("AVIF", "WEBP")
_HOLD_RESOLUTION = ("BMP", "JPEG", "MPO", "PNG")
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_ORIENTATION = 274
_UNIT_OF_TAG = {2: "inch", 3: "centimeter"}


class ImageFile(NamedTuple):
    """The pixels of an image file, (...) or with channels last (..., C)."""

    pixels: NDArray[Any]
    has_channels: bool = True
    # Whether the last channel is opacity. Where it is 0, so are the others.
    has_alpha: bool = False
    # Its axes are those of the file, where channels may stand elsewhere.
    metadata: ImageMetadata = NO_METADATA


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Read an image file upright, in its own dtype.

    Palette, CMYK and other colors become RGB, or RGBA where some are transparent,
    and 1-bit pixels become gray. Frames and pages become the first axes. Raises OSError
    if there is no file to read, and ValueError if it is not a sound image file, or if
    it is not known what its pixels mean.
    """
    return decode_image(read_content(path))


def read_metadata(path: str | os.PathLike[str]) -> ImageMetadata:
    """Tell what an image file says about its pixels.

    Parameters
    ----------
    path : str or path-like
        File to read.

    Returns
    -------
    metadata : ImageMetadata
        Axes of the image, size of its pixels, color profile and durations of frames,
        as far as the file tells them.

    Raises
    ------
    ValueError
        If it is not a sound image file, or it is not known what its pixels mean.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    write_indexed : Hand it on to another file.
    """
    return read_image(path).metadata


def read_content(path: str | os.PathLike[str]) -> bytes:
    """Read a file, unless it is one without an end."""
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        msg = "not a regular file"
        raise ValueError(msg)
    return Path(path).read_bytes()


def decode_image(content: bytes) -> ImageFile:
    """Read the content of an image file, or raise ValueError."""
    if not content:
        msg = "the file is empty"
        raise ValueError(msg)
    with warnings.catch_warnings():
        # What matters raises; the rest is about tags that are not used here.
        warnings.simplefilter("ignore")
        try:
            if is_tiff(content):
                return _read_tiff(content)
            return _read_with_pillow(content)
        except (_Refused, RefusedTiff, TooManyPixels) as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # Decoders raise anything on broken bytes.
            raise ValueError(_fault(error)) from error


def default_suffix(file: IO[bytes]) -> str:
    """Tell from its head which format suits the compressed image of a file.

    PNG for 8-bit images, GIF for animations, TIFF for what only that can hold.
    """
    from PIL import Image
    from tifffile import TiffFile

    head = file.read(32)
    file.seek(0)
    if is_deep_png(head):
        return ".tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if is_tiff(head):
                with TiffFile(file) as tiff:
                    if _is_flat_photo(tiff):
                        return ".png"
                    return ".ome.tif" if tiff.is_ome else ".tif"
            with Image.open(file) as image:
                if image.mode.startswith(("I", "F")):
                    return ".tif"
                return ".gif" if _n_frames(image) > 1 else ".png"
        except Exception:  # Reading it will tell what is wrong.
            return ".png"


def image_suffixes() -> set[str]:
    """Give the suffixes of files that can be read, in lower case."""
    from PIL import Image

    Image.init()
    known = Image.registered_extensions().items()
    return {
        s for s, name in known if name in Image.OPEN and name not in _NOT_FOR_PIXELS
    }


def writable_suffixes() -> set[str]:
    """Give the suffixes of files that can be written, in lower case."""
    from PIL import Image

    Image.init()
    known = Image.registered_extensions().items()
    return {
        s for s, name in known if name in Image.SAVE and name not in _NOT_FOR_PIXELS
    }


def encode_image(name: str, image: ImageFile) -> bytes:
    """Encode an image in the format of a file name; `check_fit` holds."""
    suffix = Path(name).suffix.lower()
    if suffix in TIFF_SUFFIXES:
        return _encode_tiff(name, image)
    return _encode_with_pillow(suffix, image)


def check_fit(name: str, image: ImageFile) -> None:
    """Raise ValueError unless the format of a file name holds such an image."""
    suffix = Path(name).suffix.lower()
    if suffix not in writable_suffixes():
        ending = f"suffix {suffix!r}" if suffix else "name without suffix"
        msg = f"cannot write {name}: {ending} names no image format, choose .png"
        raise ValueError(msg)
    if suffix in TIFF_SUFFIXES:
        return
    n_spatial = image.pixels.ndim - image.has_channels
    if n_spatial > (3 if suffix == ".gif" else 2):
        msg = (
            f"cannot write {name}: a stack of shape {image.pixels.shape} "
            f"does not fit into a {suffix} file, choose .tif"
        )
        raise ValueError(msg)
    if not is_8_bit(image):
        msg = (
            f"cannot write {name}: {_kind(image)} pixels "
            f"do not fit into a {suffix} file, choose .tif"
        )
        raise ValueError(msg)


def is_8_bit(image: ImageFile) -> bool:
    """Tell whether an image is uint8 gray, RGB or RGBA."""
    channels = image.pixels.shape[-1] if image.has_channels else 1
    # Channels of a microscope are no colors.
    are_samples = not has_channel_axis(image.metadata)
    return image.pixels.dtype == np.uint8 and channels in (1, 3, 4) and are_samples


def _kind(image: ImageFile) -> str:
    """Name the dtype and, where it is unusual, the number of channels."""
    n_channels = image.pixels.shape[-1] if image.has_channels else 1
    if n_channels in (1, 3, 4) and not has_channel_axis(image.metadata):
        return str(image.pixels.dtype)
    return f"{n_channels}-channel {image.pixels.dtype}"


class _Refused(Exception):
    """A sound file that is not for this program."""


def _fault(error: Exception) -> str:
    """Say in one line what is wrong with a file."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format that cannot be read"
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels: {error}"
    if isinstance(error, MemoryError):
        return "too many pixels: not enough memory"
    return f"the image cannot be read: {error or type(error).__name__}"


def _read_with_pillow(content: bytes) -> ImageFile:
    """Read a file of 8 bits per channel, 16-bit PNG, or 16-bit and float gray."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as opened:
        n_frames = _n_frames(opened)
        if n_frames > 1:
            if opened.format not in _ANIMATED:
                msg = f"the file holds {n_frames} frames of a {opened.format} file"
                raise _Refused(msg)
            check_pixel_limit((n_frames, opened.height, opened.width), len(content))
            return _read_frames(opened, n_frames)
        if is_deep_png(content):
            return _read_deep_png(opened, content)
        _refuse_reduced_depth(opened)
        metadata = _metadata(opened)
        # Loading a TIFF file turns it, and then forgets how it lay.
        lies_on_its_side = opened.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        opened.load()
        upright = ImageOps.exif_transpose(_in_srgb(opened))
        if lies_on_its_side:
            scale = metadata.scale[::-1]
            metadata = metadata._replace(scale=scale)
    return _image_file(_pixels(upright), metadata, _kept_profile(upright))


def _n_frames(image: Image.Image) -> int:
    """Count the frames that are images of their own."""
    if image.format in _FIRST_COUNTS:
        return 1
    return int(getattr(image, "n_frames", 1))


def _image_file(
    pixels: NDArray[Any], metadata: ImageMetadata, profile: bytes | None
) -> ImageFile:
    """Put together pixels, channels last, and what is known of them."""
    axes = "TYX" if metadata.durations else "YX"
    has_channels = pixels.ndim > len(axes)
    has_alpha = has_channels and pixels.shape[-1] == 4
    opaque = np.iinfo(pixels.dtype).max if has_alpha else None
    if has_alpha and (pixels[..., 3] == opaque).all():
        pixels, has_alpha = pixels[..., :3].copy(), False
    elif has_alpha:
        pixels[pixels[..., 3] == 0] = 0
    scale, units = metadata.scale, metadata.units
    if has_channels:
        axes += "S"
        scale, units = (*scale, 1.0), (*units, "pixel")
    if not metadata.scale:
        scale, units = (), ()
    metadata = metadata._replace(
        axes=axes, scale=scale, units=units, icc_profile=profile
    )
    return ImageFile(pixels, has_channels, has_alpha, metadata)


def _metadata(image: Image.Image) -> ImageMetadata:
    """Read the resolution of a photo, as the size of its pixels in inches.

    Other sizes are noted in PNG files.
    """
    noted = sizes_of_note(image.info.get(NOTE_NAME))
    if noted is not None:
        return noted
    unit: str | None = "inch"
    resolution = image.info.get("dpi")
    if resolution is None:
        tags = image.getexif()
        unit = _UNIT_OF_TAG.get(tags.get(_RESOLUTION_UNIT, 2))
        resolution = tags.get(_X_RESOLUTION, 0), tags.get(_Y_RESOLUTION, 0)
    if unit is None:
        return NO_METADATA
    try:
        across, down = (float(value) for value in resolution)
        scale = (1 / down, 1 / across)
    except (TypeError, ValueError, ZeroDivisionError):
        return NO_METADATA
    if not min(scale) > 0:
        return NO_METADATA
    return ImageMetadata("YX", scale, (unit, unit))


def _read_frames(image: Image.Image, n_frames: int) -> ImageFile:
    """Read the frames of an animation as they are shown."""
    stack = np.empty((n_frames, image.height, image.width, 4), np.uint8)
    durations = []
    for number in range(n_frames):
        image.seek(number)
        stack[number] = np.array(image.convert("RGBA"))
        durations.append(float(image.info.get("duration", 0) or 0) / 1000)
    metadata = ImageMetadata(durations=tuple(durations))
    return _image_file(stack, metadata, _kept_profile(image))


def _read_deep_png(image: Image.Image, content: bytes) -> ImageFile:
    """Read a PNG file of 16 bits per channel, gray with alpha as RGBA."""
    pixels = decode_deep_png(content)
    profile = _kept_profile(image)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    elif pixels.shape[-1] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
    file = _image_file(pixels, _metadata(image), profile)
    orientation = image.getexif().get(_ORIENTATION, 1)
    pixels, metadata = turn_upright(file.pixels, file.metadata, orientation)
    return file._replace(pixels=np.ascontiguousarray(pixels), metadata=metadata)


def _refuse_reduced_depth(image: Image.Image) -> None:
    """Refuse colors of 16 bits, of which Pillow would drop the lower 8."""
    deep = image.mode in ("RGB", "RGBA", "LA", "L") and any(
        _is_deep_mode(tile[3]) or _is_deep_ppm(image, tile[3])
        for tile in getattr(image, "tile", ())
    )
    if deep:
        msg = (
            f"16-bit colors of a {image.format} file cannot be read, only PNG and TIFF"
        )
        raise _Refused(msg)


def _is_deep_mode(args: Any) -> bool:
    """Tell whether stored channels have 16 bits; BGR;16 has 16 in all."""
    stored = str(args[0] if isinstance(args, tuple) and args else args)
    return "16" in stored and not stored.startswith("BGR")


def _is_deep_ppm(image: Image.Image, args: Any) -> bool:
    """Tell whether a netpbm file has more than 8 bits."""
    return image.format == "PPM" and isinstance(args, tuple) and args[1] not in (255, 0)


def _in_srgb(image: Image.Image) -> Image.Image:
    """Give a CMYK image in sRGB by its profile, any other as it is."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if image.mode != "CMYK" or not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (
        ImageCms.PyCMSError,
        OSError,
    ):  # Without a sound profile there is the plain formula.
        return image
    converted = image.convert("RGB") if converted is None else converted
    converted.info = {k: v for k, v in image.info.items() if k != "icc_profile"}
    return converted


def _pixels(image: Image.Image) -> NDArray[Any]:
    """Give the pixels of a loaded image, a copy."""
    if image.mode.startswith("I;16") or (
        image.mode == "I" and image.format in ("PNG", "PPM")
    ):
        return np.array(image, dtype=np.uint16)
    if image.mode in ("I", "F"):
        return np.array(image)
    if image.has_transparency_data:
        return np.array(image.convert("RGBA"))
    return np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _kept_profile(image: Image.Image) -> bytes | None:
    """Give the color profile if it is still true of the pixels."""
    profile: bytes | None = image.info.get("icc_profile")
    if not profile:
        return None
    gray = image.mode in ("1", "L") or image.mode.startswith("I")
    kind = b"GRAY" if gray else b"RGB "
    is_kept = gray or image.mode in ("RGB", "RGBA", "P")
    return profile if is_kept and profile[16:20] == kind else None


def _read_tiff(content: bytes) -> ImageFile:
    """Read a TIFF file, flat photos with Pillow."""
    with open_tiff(content) as file:
        if _is_flat_photo(file):
            # Pillow knows more of the colors and compressions that photos have.
            return _read_with_pillow(content)
        stored = decode_tiff(file, len(content))
    pixels, metadata = stored.array, stored.metadata
    if stored.palette is not None:
        pixels = stored.palette[np.minimum(pixels, len(stored.palette) - 1)]
        metadata = _with_samples(metadata)
    elif has_channel_axis(metadata):
        pixels = np.moveaxis(pixels, metadata.axes.index("C"), -1)
    elif stored.has_alpha and pixels.shape[-1] == 4:
        pixels = np.where(pixels[..., 3:] == 0, pixels.dtype.type(0), pixels)
    has_channels = "S" in metadata.axes or has_channel_axis(metadata)
    return ImageFile(
        np.ascontiguousarray(pixels),
        has_channels,
        stored.has_alpha and pixels.shape[-1] == 4,
        metadata,
    )


def _with_samples(metadata: ImageMetadata) -> ImageMetadata:
    """Describe an image after its indices became colors."""
    if not metadata.scale:
        return metadata._replace(axes=metadata.axes + "S")
    scale, units = (*metadata.scale, 1.0), (*metadata.units, "pixel")
    return metadata._replace(axes=metadata.axes + "S", scale=scale, units=units)


def _is_flat_photo(file: TiffFile) -> bool:
    """Tell whether a TIFF file is one page of 8-bit gray or colors."""
    from tifffile import PHOTOMETRIC

    page = file.pages.first.aspage()
    if page.is_reduced or str(page.dtype) not in ("bool", "uint8"):
        return False
    if len(file.series) > 1 or file.is_imagej or file.is_ome:
        return False
    if len(file.series[0].shape) > 2 + (page.samplesperpixel > 1):
        return False
    if has_deep_palette(page):
        return False
    n_channels = page.samplesperpixel
    if page.photometric == PHOTOMETRIC.MINISBLACK:
        return n_channels == 1 or (n_channels == 2 and any(page.extrasamples))
    return n_channels <= 4


def _encode_tiff(name: str, image: ImageFile) -> bytes:
    """Encode pixels of any dtype and any number of axes."""
    pixels, metadata = image.pixels, image.metadata
    if not metadata.axes:
        axes = default_axes(pixels.ndim - image.has_channels)
        metadata = metadata._replace(axes=axes + "S" * image.has_channels)
    if image.has_channels and has_channel_axis(metadata):
        pixels = np.moveaxis(pixels, -1, metadata.axes.index("C"))
    stored = StoredTiff(
        np.ascontiguousarray(pixels), metadata, has_alpha=image.has_alpha
    )
    return encode_tiff(stored, ome=is_ome(name))


def _encode_with_pillow(suffix: str, image: ImageFile) -> bytes:
    """Encode gray, RGB or RGBA pixels of 8 bits."""
    from PIL import Image

    name = Image.registered_extensions()[suffix]
    options = dict(_SAVE_OPTIONS.get(name, {}))
    profile = image.metadata.icc_profile
    # A gray image becomes RGB there, of which a gray profile would not be true.
    if profile is not None and (image.has_channels or name not in _HOLD_NO_GRAY):
        options["icc_profile"] = profile
    options |= _resolution_options(name, image.metadata)
    buffer = io.BytesIO()
    try:
        Image.fromarray(image.pixels).save(buffer, name, **options)
    except (OSError, ValueError) as error:
        msg = f"the image does not fit into a {suffix} file: {error}"
        raise ValueError(msg) from error
    content = buffer.getvalue()
    return shrink_png(content, keep_palette=False) if name == "PNG" else content


def _resolution_options(name: str, metadata: ImageMetadata) -> dict[str, Any]:
    """Give the options that store the resolution, where the format holds it."""
    from PIL import Image

    resolution = pixels_per_meter(metadata)
    if resolution is None:
        return {}
    dpi = resolution[0] * 0.0254, resolution[1] * 0.0254
    if name in _HOLD_RESOLUTION:
        most = 65535 if name in ("JPEG", "MPO") else (1 << 31) * 0.0254
        return {"dpi": dpi} if min(dpi) >= 1 and max(dpi) < most else {}
    if name in ("AVIF", "WEBP"):
        tags = Image.Exif()
        tags[_X_RESOLUTION], tags[_Y_RESOLUTION] = dpi
        tags[_RESOLUTION_UNIT] = 2
        return {"exif": tags.tobytes()}
    return {}
