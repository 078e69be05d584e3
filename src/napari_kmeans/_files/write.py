"""Images as the content of files, in the format of a file name.

`check_fit` says, before any work is done, why a format cannot hold an image or its
palette; `encode_image` turns an image into bytes. Pixels are written as they are;
indices and their palette are left to `indexed`, the file to `replace`.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._core.arrays import Array
from napari_kmeans._files import formats, png, tiff
from napari_kmeans._files.color_profiles import cicp_of, rgb_profile
from napari_kmeans._files.metadata import (
    ImageMetadata,
    has_channel_axis,
    pixels_per_meter,
    whole_delays,
)
from napari_kmeans._files.read import ImageFile

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["check_fit", "encode_image", "pillow_options"]

# Of a frame of a WebP film, in milliseconds, and of the film.
_LONGEST_DELAY = (1 << 24) - 1
_MOST_PLAYS = 65535


def check_fit(name: str, image: ImageFile, palette: Array | None = None) -> None:
    """Raise Unfit unless the format of a file name holds such an image.

    With a `palette`, in its colors; a format of measurements needs no palette for them.
    """
    form, suffix = formats.format_of(name), Path(name).suffix.lower()
    if not formats.is_writable(suffix):
        ending = f"suffix {suffix!r}" if suffix else "name without suffix"
        msg = f"cannot write {name}: {ending} names no image format, choose .png"
        raise ValueError(msg)
    pixels = image.pixels
    n_axes = pixels.ndim - image.has_channels
    n_channels = pixels.shape[-1] if image.has_channels else 1
    n_samples = n_channels if image.are_colors else 0
    misfit = formats.pixel_misfit(form, n_axes, pixels.dtype, n_samples)
    if palette is not None and form.most_colors and not form.has_measurements:
        misfit = misfit or formats.palette_misfit(form, n_axes, palette)
    if misfit is None:
        return
    what, advice = f"{pixels.dtype} pixels do", ".tif"
    if misfit == "axes":
        what = f"a stack of shape {pixels.shape} does"
    elif misfit == "colors" and palette is not None:
        what = f"{len(palette)} colors do"
    elif misfit == "opacity":
        what = "half-transparent colors do" if form.most_colors else "opacity does"
        advice = ".png or .webp"
    elif not image.are_colors:
        what = f"{n_channels}-channel {what}"
    msg = f"cannot write {name}: {what} not fit into a {suffix} file, choose {advice}"
    raise formats.Unfit(msg, misfit)


def encode_image(name: str, image: ImageFile) -> bytes:
    """Encode an image in the format of a file name, or raise ValueError."""
    from PIL import Image

    check_fit(name, image)
    form, buffer = formats.format_of(name), io.BytesIO()
    if form.name == "TIFF":
        return _encode_tiff(name, image)
    metadata = image.metadata
    # A gray profile would not be true of gray levels that become RGB.
    if not (image.has_channels or form.has_gray):
        profile = rgb_profile(metadata.icc_profile)
        metadata = metadata._replace(icc_profile=profile)
    options = pillow_options(form, metadata)
    frames = [Image.fromarray(frame) for frame in _frames(image)]
    if len(frames) > 1:
        options |= _film_options(metadata, frames)
    try:
        with warnings.catch_warnings():
            # Pillow is about to drop a format or two.
            warnings.simplefilter("ignore", DeprecationWarning)
            frames[0].save(buffer, form.name, **options)
    except (OSError, ValueError) as error:
        suffix = Path(name).suffix.lower()
        msg = f"the image does not fit into a {suffix} file: {error}"
        raise ValueError(msg) from error
    if form.name != "PNG":
        return buffer.getvalue()
    content = png.shrink_png(buffer.getvalue())
    return png.with_cicp(content, cicp_of(metadata.icc_profile))


def pillow_options(form: formats.Format, metadata: ImageMetadata) -> dict[str, Any]:
    """Return what Pillow is told to write, as far as the format holds it."""
    from PIL import Image
    from PIL.ExifTags import Base

    options = dict(form.save_options)
    if metadata.icc_profile is not None:
        options["icc_profile"] = metadata.icc_profile
    resolution = pixels_per_meter(metadata)
    if resolution is None:
        return options
    dpi = resolution[0] * 0.0254, resolution[1] * 0.0254
    if form.has_exif_resolution:
        tags = Image.Exif()
        tags[Base.XResolution], tags[Base.YResolution] = dpi
        tags[Base.ResolutionUnit] = 2
        options["exif"] = tags.tobytes()
    elif min(dpi) >= 1 and max(dpi) < form.most_dpi:
        options["dpi"] = dpi
    return options


def _frames(image: ImageFile) -> Array:
    """Return the pixels of a film frame by frame, or of an image as its only one."""
    shape = image.pixels.shape
    return image.pixels.reshape(-1, *shape[len(shape) - 2 - image.has_channels :])


def _film_options(metadata: ImageMetadata, frames: list[Image.Image]) -> dict[str, Any]:
    """Return what Pillow is told of a film; its durations are milliseconds."""
    delays = whole_delays(metadata.durations, 1000, 1, _LONGEST_DELAY)
    return {
        "save_all": True,
        "append_images": frames[1:],
        "duration": delays if len(delays) == len(frames) else 0,
        "loop": min(metadata.plays, _MOST_PLAYS),
    }


def _encode_tiff(name: str, image: ImageFile) -> bytes:
    """Encode pixels of any dtype and any number of axes."""
    pixels, metadata = image.pixels, image.metadata
    if image.has_channels and has_channel_axis(metadata):
        pixels = np.moveaxis(pixels, -1, metadata.axes.index("C"))
    return tiff.encode_tiff(
        pixels,
        metadata,
        has_samples=image.has_channels,
        has_alpha=image.has_alpha,
        ome=formats.is_ome(name),
    )
