"""What the files of each image format hold: one row per format.

To add a format, add a row to `_FORMATS`, and if its files hold a palette, its encoder
to `indexed.encode_indexed`. `format_of` finds the row of a file name,
`format_of_pillow` that of a file that Pillow has opened. `pixel_misfit` and
`palette_misfit` say what of an image, or of a palette and its indices, a format cannot
hold; those who write put it into words. `faults_in_words` and `check_pixel_limit` stand
around all reading. How the bytes are read and written is left to the other modules of
this package.
"""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from napari_kmeans._core.arrays import Array

if TYPE_CHECKING:
    import os

    from PIL import Image

__all__ = [
    "BYTE_COLORS",
    "INDEXED_SUFFIXES",
    "Format",
    "Misfit",
    "Refused",
    "Unfit",
    "check_film_limit",
    "check_pixel_limit",
    "check_scans",
    "checked_suffix",
    "faults_in_words",
    "format_of",
    "format_of_pillow",
    "image_suffixes",
    "is_ome",
    "is_writable",
    "most_pixels",
    "open_image",
    "palette_misfit",
    "pixel_misfit",
    "refuse",
    "writable_suffixes",
]

# Colors that an index of 8 bits reaches.
BYTE_COLORS = 256
# A valid file of very many pixels has at least this many bytes per pixel.
_LEAST_BYTES_PER_PIXEL = 1 / 50
# Each frame of a film takes at least the time of this many pixels.
_LEAST_PIXELS_PER_FRAME = 1000
# Of a progressive JPEG, each of which goes through all pixels. Encoders make up to 20.
_MOST_SCANS = 100
# PNG and BMP files store whole pixels per meter, in 31 bits.
_MOST_PER_METER = (1 << 31) * 0.0254
# For photographs, every pixel of which keeps its hue.
_FINE = {"quality": 95, "subsampling": 0}

# What to do with an image beyond the limit.
_SMALLER = "scale it down, cut it, or in Python raise PIL.Image.MAX_IMAGE_PIXELS"

Misfit = Literal["axes", "dtype", "channels", "colors", "opacity"]


@dataclass(frozen=True, eq=False)
class Format:
    """What the files of a format hold; the defaults suit formats for photographs."""

    # As Pillow calls it.
    name: str
    # Of a format with a palette; those of the others are known to Pillow.
    suffixes: tuple[str, ...] = ()
    # Most axes of an image beside its channels: rows, columns and those before them.
    most_axes: float = 2
    # Of a palette: 0 where the format has none.
    most_colors: int = 0
    palette_dtypes: tuple[str, ...] = ("uint8",)
    # Whether gray levels and channels are measurements, of any dtype and number: not
    # stored as indices, so that other programs can read them. Else they are colors.
    has_measurements: bool = False
    opacity: Literal["none", "one clear color", "any"] = "none"
    # Whether pixels without a palette keep their opacity.
    has_clear_pixels: bool = True
    # Whether further frames are those of a film, or previews, other eyes, sizes or
    # layers of the first, which are left out.
    frames: Literal["refused", "film", "left out"] = "refused"
    # Whether pixels that are written without a palette are read as they were.
    is_lossless: bool = False
    has_gray: bool = True
    # Whether there is a place for a color profile (ICC).
    has_profile: bool = False
    # Most dots per inch that Pillow writes to the header; 0 where there is no place.
    most_dpi: float = 0
    has_exif_resolution: bool = False
    # What Pillow is told when it writes.
    save_options: dict[str, Any] = field(default_factory=dict)


_FORMATS = (
    Format(
        "PNG",
        (".png",),
        most_axes=3,
        most_colors=BYTE_COLORS,
        opacity="any",
        frames="film",
        is_lossless=True,
        has_profile=True,
        most_dpi=_MOST_PER_METER,
        # Pillow only lays the file out; it is compressed anew after that.
        save_options={"compress_level": 1},
    ),
    Format(
        "GIF",
        (".gif",),
        most_axes=3,
        most_colors=BYTE_COLORS,
        opacity="one clear color",
        frames="film",
    ),
    Format(
        "TIFF",
        (".tif", ".tiff"),
        most_axes=math.inf,
        most_colors=65536,
        palette_dtypes=("uint8", "uint16"),
        has_measurements=True,
        is_lossless=True,
        has_profile=True,
    ),
    Format(
        "JPEG",
        has_clear_pixels=False,
        has_profile=True,
        most_dpi=65535,
        save_options=_FINE | {"optimize": True},
    ),
    Format(
        "MPO",
        has_clear_pixels=False,
        frames="left out",
        has_profile=True,
        most_dpi=65535,
        save_options=_FINE,
    ),
    Format(
        "WEBP",
        most_axes=3,
        frames="film",
        is_lossless=True,
        has_profile=True,
        has_gray=False,
        has_exif_resolution=True,
        save_options={"lossless": True, "exact": True, "method": 6},
    ),
    Format(
        "AVIF",
        frames="film",
        has_profile=True,
        has_gray=False,
        has_exif_resolution=True,
        save_options={"quality": 95},
    ),
    Format("BMP", has_clear_pixels=False, most_dpi=_MOST_PER_METER),
    *(Format(name, has_clear_pixels=False) for name in ("DIB", "PCX", "PPM")),
    *(Format(name, frames="left out") for name in ("PSD", "ICO", "ICNS")),
)
# Pillow would write these as pictures of something else than the pixels.
_NOT_FOR_PIXELS = {"BUFR", "EPS", "GRIB", "HDF5", "ICNS", "ICO", "PALM", "PDF", "WMF"}
# What Pillow would start other programs for, or only looks at.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# What is not given to Pillow, by the start of the file: formats that it does not know,
# and TIFF, which it would read without the laws of `tiff`.
_UNKNOWN = (
    ("HEIC", rb"....ftyp(he[iv]|(mif1|msf1)....(....)*?he[iv])"),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("PDF", rb"%PDF-"),
    ("TIFF of mixed byte order", rb"MM[*+]\0|II\0[*+]"),
    (
        "SVG",
        rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(svg|!DOCTYPE svg)",
    ),
)
_HEAD = 256
_BY_SUFFIX = {suffix: form for form in _FORMATS for suffix in form.suffixes}
INDEXED_SUFFIXES = tuple(_BY_SUFFIX)


def format_of(name: str | os.PathLike[str]) -> Format:
    """Return the format that the suffix of a file name stands for.

    A suffix that nobody knows is a format without a name.
    """
    from PIL import Image

    suffix = Path(name).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return format_of_pillow(Image.registered_extensions().get(suffix, ""))


def checked_suffix(path: str | os.PathLike[str], known: tuple[str, ...]) -> str:
    """Return a suffix in lower case, or raise ValueError unless it is `known`."""
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        *others, last = known
        msg = f"path must end in {', '.join(others)} or {last}, got {suffix!r}"
        raise ValueError(msg)
    return suffix


def format_of_pillow(name: str) -> Format:
    """Return the format that Pillow calls by this name; one without a row is plain."""
    return next((form for form in _FORMATS if form.name == name), Format(name))


def is_ome(name: str) -> bool:
    """Whether a file name asks for OME-TIFF."""
    return name.lower().endswith((".ome.tif", ".ome.tiff"))


def image_suffixes() -> set[str]:
    """Return the suffixes of files that can be read, in lower case."""
    return _pixel_suffixes(written=False)


def writable_suffixes() -> set[str]:
    """Return the suffixes of files that can be written, in lower case."""
    return _pixel_suffixes(written=True)


def is_writable(suffix: str) -> bool:
    """Whether files with this suffix, in lower case, can be written."""
    # Pillow takes a while to find all that it knows.
    return suffix in _BY_SUFFIX or suffix in writable_suffixes()


def _pixel_suffixes(*, written: bool) -> set[str]:
    """Return the suffixes of the formats for pixels that Pillow reads, or writes."""
    from PIL import Image

    known = Image.registered_extensions()
    names = set(Image.SAVE if written else Image.OPEN) - _NOT_FOR_PIXELS
    return {suffix for suffix, name in known.items() if name in names}


def pixel_misfit(
    form: Format, n_axes: int, dtype: np.dtype[Any], n_channels: int
) -> Misfit | None:
    """Return what of an image a format cannot hold, or None if it holds all of it.

    `n_axes` counts rows, columns and the axes before them. `n_channels` is 0 where the
    channels are not gray, RGB or RGBA, but those of a microscope.
    """
    if not 2 <= n_axes <= form.most_axes:
        return "axes"
    if not form.has_measurements and dtype.name != "uint8":
        return "dtype"
    if n_channels == 4 and not form.has_clear_pixels:
        return "opacity"
    return None if form.has_measurements or n_channels in (1, 3, 4) else "channels"


def palette_misfit(form: Format, n_axes: int, palette: Array) -> Misfit | None:
    """Return what of an indexed image a format cannot hold, or None if it holds it.

    `palette` is gray (K,), RGB (K, 3) or RGBA (K, 4); its indices have `n_axes` axes.
    """
    if not 2 <= n_axes <= form.most_axes:
        return "axes"
    if not 1 <= len(palette) <= form.most_colors:
        return "colors"
    if palette.dtype.name not in form.palette_dtypes:
        return "dtype"
    if palette.ndim == 2 and palette.shape[1] == 4 and form.opacity != "any":
        opacities = np.sort(palette[:, 3])
        is_one_clear = opacities[0] == 0 and (opacities[1:] == 255).all()
        if form.opacity == "none" or not is_one_clear:
            return "opacity"
    return None


class Unfit(ValueError):
    """An image that a file cannot hold; `misfit` says what of it, the text why."""

    def __init__(self, text: str, misfit: Misfit) -> None:
        super().__init__(text, misfit)
        self.text, self.misfit = text, misfit

    def __str__(self) -> str:
        """Return the text alone."""
        return self.text


class Refused(ValueError):
    """A file that is not for this program; the text says why."""


def refuse(text: str) -> NoReturn:
    """Raise Refused with this text, which `faults_in_words` lets pass."""
    raise Refused(text)


def open_image(file: IO[bytes]) -> Image.Image:
    """Open an image with Pillow, which decodes no pixel yet, or raise Refused.

    It must be closed. Of formats that many people have, the error says the name.
    """
    from PIL import Image

    head = file.read(_HEAD)
    file.seek(0)
    unread = [k for k, start in _UNKNOWN if re.match(start, head, re.DOTALL)]
    if not unread:
        image = Image.open(file)
        if image.format not in _NOT_READ:
            return image
        image.close()
        unread = [str(image.format)]
    refuse(f"{unread[0]} files cannot be read; convert it to PNG, TIFF or JPEG")


@contextlib.contextmanager
def faults_in_words() -> Iterator[None]:
    """Turn all that decoders raise on a damaged file into ValueError of one line."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # What matters raises; the rest is about tags that are not used here.
        warnings.simplefilter("ignore")
        try:
            yield
        except Refused:
            raise
        except Exception as error:
            msg = f"the image cannot be read: {error or type(error).__name__}"
            if isinstance(error, UnidentifiedImageError):
                msg = "not an image, or of a format that cannot be read"
            elif isinstance(error, Image.DecompressionBombError):
                text = str(error).partition(",")[0]
                msg = f"too many pixels: {text}; {_SMALLER}"
            elif isinstance(error, MemoryError):
                msg = "too many pixels: not enough memory"
            raise ValueError(msg) from error


def most_pixels() -> float:
    """Return the most pixels of an image that a small file may hold: Pillow's limit."""
    from PIL import Image

    return math.inf if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def check_pixel_limit(shape: tuple[int, ...], n_bytes: int) -> None:
    """Refuse an image of `shape` in a file of `n_bytes` that cannot really hold it.

    Images up to Pillow's limit (179 million pixels) pass, and larger ones if the file
    is large itself, as those of scientific stacks are.
    """
    n_pixels = math.prod(shape)
    if n_pixels > most_pixels() and n_bytes < n_pixels * _LEAST_BYTES_PER_PIXEL:
        refuse(f"too many pixels for a file of {n_bytes:,} bytes: {shape}; {_SMALLER}")


def check_scans(content: bytes) -> None:
    """Refuse a JPEG image of so many scans that decoding it would take minutes."""
    n_scans = content.count(b"\xff\xda")
    if n_scans > _MOST_SCANS:
        refuse(f"the JPEG image has {n_scans:,} scans, of at most {_MOST_SCANS}")


def check_film_limit(n_frames: int, shape: tuple[int, int], n_bytes: int) -> None:
    """Refuse a film in a file that cannot really hold so many frames of a shape."""
    check_pixel_limit((n_frames, *shape), n_bytes)
    check_pixel_limit((n_frames, _LEAST_PIXELS_PER_FRAME), n_bytes)
