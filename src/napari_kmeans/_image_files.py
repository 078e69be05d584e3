"""Image files of all kinds, read upright and written whole."""

from __future__ import annotations

import io
import stat
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._atomic_file import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image
    from tifffile import TiffFile, TiffPage

__all__ = ["ImageFile", "check_fit", "is_8_bit", "read_image", "write_image"]

_TIFF_SUFFIXES = (".tif", ".tiff")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Pillow would write these as pictures of something else than the pixels.
_NOT_FOR_PIXELS = {"BUFR", "EPS", "GRIB", "HDF5", "ICNS", "ICO", "PALM", "PDF", "WMF"}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 95},
    "JPEG": {"quality": 95, "subsampling": 0, "optimize": True},
    "MPO": {"quality": 95, "subsampling": 0},
    "PNG": {"optimize": True},
    "WEBP": {"lossless": True, "exact": True},
}


class ImageFile(NamedTuple):
    """The pixels of an image file, (rows, columns) or (rows, columns, C)."""

    pixels: NDArray[Any]
    # Whether the last channel is opacity. Where it is 0, so are the others.
    has_alpha: bool = False
    # Only a profile for RGB colors; None stands for sRGB.
    icc_profile: bytes | None = None


def read_image(path: Path) -> ImageFile:
    """Read an image file upright, in its own dtype.

    Palette, CMYK and other colors become RGB, or RGBA where some are transparent,
    and 1-bit pixels become gray. Raises OSError if there is no file to read, and
    ValueError if it is not a sound image file that holds a single image.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        msg = "not a regular file"
        raise ValueError(msg)
    return _decode(path.read_bytes())


def write_image(path: Path, image: ImageFile) -> ImageFile:
    """Write an image file and give the image that readers of it will see.

    The suffix chooses the format. The file appears whole or, on an error, not at
    all. Raises ValueError if the format cannot hold the pixels.
    """
    check_fit(path, image)
    if path.suffix.lower() in _TIFF_SUFFIXES:
        content = _encode_tiff(image)
    else:
        content = _encode_with_pillow(path.suffix.lower(), image)
    written = _decode(content)
    replace_file(path, content)
    return written


def check_fit(path: Path, image: ImageFile) -> None:
    """Raise ValueError unless the format of the suffix holds such pixels."""
    from PIL import Image

    Image.init()
    suffix = path.suffix.lower()
    name = Image.registered_extensions().get(suffix)
    if name not in Image.SAVE or name in _NOT_FOR_PIXELS:
        ending = f"suffix {suffix!r}" if suffix else "name without suffix"
        msg = f"cannot write {path}: {ending} names no image format, choose .png"
        raise ValueError(msg)
    if suffix not in _TIFF_SUFFIXES and not is_8_bit(image.pixels):
        msg = (
            f"cannot write {path}: {_kind(image.pixels)} pixels "
            f"do not fit into a {suffix} file, choose .tif"
        )
        raise ValueError(msg)


def is_8_bit(pixels: NDArray[Any]) -> bool:
    """Tell whether pixels are uint8 gray, RGB or RGBA."""
    return pixels.dtype == np.uint8 and pixels.shape[2:] in ((), (3,), (4,))


def _kind(pixels: NDArray[Any]) -> str:
    """Name the dtype and, where it is unusual, the number of channels."""
    n_channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if n_channels in (1, 3, 4):
        return str(pixels.dtype)
    return f"{n_channels}-channel {pixels.dtype}"


def _decode(content: bytes) -> ImageFile:
    """Read the content of an image file, or raise ValueError."""
    if not content:
        msg = "the file is empty"
        raise ValueError(msg)
    with warnings.catch_warnings():
        # What matters raises; the rest is about tags that are not used here.
        warnings.simplefilter("ignore")
        try:
            if content.startswith(_TIFF_STARTS):
                return _read_tiff(content)
            return _read_with_pillow(content)
        except _Refused as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # Decoders raise anything on broken bytes.
            raise ValueError(_fault(error)) from error


class _Refused(Exception):
    """A sound file that is not for this program."""


def _fault(error: Exception) -> str:
    """Say in one line what is wrong with a file."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format that cannot be read"
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels: {error}"
    return f"the image cannot be read: {error or type(error).__name__}"


def _read_with_pillow(content: bytes) -> ImageFile:
    """Read a file of 8 bits per channel, or 16-bit and float gray."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as opened:
        # The second picture in a camera's MPO file is a preview or the other eye.
        n_frames = getattr(opened, "n_frames", 1)
        if n_frames > 1 and opened.format != "MPO":
            msg = f"the file holds {n_frames} frames, only single images can be read"
            raise _Refused(msg)
        _refuse_reduced_depth(opened)
        opened.load()
        upright = ImageOps.exif_transpose(opened)
    profile = upright.info.get("icc_profile")
    pixels = _pixels(upright)
    kept = _kept_profile(upright.mode, profile)
    if pixels.shape[2:] != (4,):
        return ImageFile(pixels, icc_profile=kept)
    if (pixels[..., 3] == 255).all():
        return ImageFile(pixels[..., :3].copy(), icc_profile=kept)
    pixels[pixels[..., 3] == 0] = 0
    return ImageFile(pixels, has_alpha=True, icc_profile=kept)


def _refuse_reduced_depth(image: Image.Image) -> None:
    """Refuse colors of 16 bits, of which Pillow would drop the lower 8."""
    deep = image.mode in ("RGB", "RGBA", "LA", "L") and any(
        "16" in str(tile[3]) or _is_deep_ppm(image, tile[3])
        for tile in getattr(image, "tile", ())
    )
    if deep:
        msg = f"16-bit colors of a {image.format} file cannot be read, only of TIFF"
        raise _Refused(msg)


def _is_deep_ppm(image: Image.Image, args: Any) -> bool:
    """Tell whether a netpbm file has more than 8 bits."""
    return image.format == "PPM" and isinstance(args, tuple) and args[1] not in (255, 0)


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


def _kept_profile(mode: str, profile: bytes | None) -> bytes | None:
    """Give the color profile if it is still true of RGB pixels."""
    if profile and mode in ("RGB", "RGBA", "P") and profile[16:20] == b"RGB ":
        return profile
    return None


def _read_tiff(content: bytes) -> ImageFile:
    """Read a TIFF file that holds one image."""
    import logging

    from tifffile import TiffFile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        _refuse_stack(file)
        if str(page.dtype) in ("bool", "uint8") and _is_photo(page):
            # Pillow knows more of the colors and compressions that photos have.
            return _read_with_pillow(content)
        return _read_deep_tiff(page)


def _is_photo(page: TiffPage) -> bool:
    """Tell whether the channels of a page are gray or colors, perhaps with alpha."""
    from tifffile import PHOTOMETRIC

    n_channels = page.samplesperpixel
    if page.photometric == PHOTOMETRIC.MINISBLACK:
        return n_channels == 1 or (n_channels == 2 and bool(page.extrasamples))
    return n_channels <= 4


def _refuse_stack(file: TiffFile) -> None:
    """Refuse a TIFF file that holds more, or less, than one image."""
    page = file.pages.first
    if page.is_reduced:
        msg = "the file starts with a preview, as camera raw files do"
        raise _Refused(msg)
    n_images = sum(not other.aspage().is_reduced for other in file.pages)
    shape = file.series[0].shape
    if n_images > 1 or np.prod(shape) > np.prod(page.shape):
        msg = f"the file holds a stack of shape {shape}, only single images can be read"
        raise _Refused(msg)


def _read_deep_tiff(page: TiffPage) -> ImageFile:
    """Read the pixels of a page as they are, and turn them upright."""
    from PIL import Image
    from tifffile import PHOTOMETRIC

    if page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        msg = f"{page.dtype} TIFF of kind {page.photometric!s} cannot be read"
        raise _Refused(msg)
    if page.axes not in ("YX", "YXS", "SYX"):
        msg = f"TIFF with axes {page.axes} cannot be read, only flat images"
        raise _Refused(msg)
    if page.imagewidth * page.imagelength > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
        msg = f"too many pixels: {page.shape}"
        raise _Refused(msg)
    pixels = page.asarray()
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    return ImageFile(np.ascontiguousarray(_upright(pixels, page)))


def _upright(pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Turn stored pixels as the orientation tag of the page says."""
    tag = page.tags.get("Orientation")
    orientation = 1 if tag is None else int(tag.value)
    # TIFF 6.0, section 8: which side of the stored image the viewer sees where.
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _encode_tiff(image: ImageFile) -> bytes:
    """Encode pixels of any dtype, compressed without loss."""
    import tifffile

    channels = 1 if image.pixels.ndim == 2 else image.pixels.shape[2]
    is_color = channels in (3, 4)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        image.pixels,
        photometric="rgb" if is_color else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if image.has_alpha else None,
        compression="zlib",
        iccprofile=image.icc_profile,
        metadata=None,
    )
    return buffer.getvalue()


def _encode_with_pillow(suffix: str, image: ImageFile) -> bytes:
    """Encode gray, RGB or RGBA pixels of 8 bits."""
    from PIL import Image

    name = Image.registered_extensions()[suffix]
    options = dict(_SAVE_OPTIONS.get(name, {}))
    if image.icc_profile is not None:
        options["icc_profile"] = image.icc_profile
    buffer = io.BytesIO()
    try:
        Image.fromarray(image.pixels).save(buffer, name, **options)
    except (OSError, ValueError) as error:
        msg = f"the image does not fit into a {suffix} file: {error}"
        raise ValueError(msg) from error
    return buffer.getvalue()
