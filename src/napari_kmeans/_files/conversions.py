"""Pixels brought into what a file can hold, before their colors are counted.

`converted` does what a format needs or a user asks for: 8 bits, sRGB where there is no
place for a color profile, and opacity that is all or nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_kmeans._files.color_profiles import in_srgb
from napari_kmeans._files.formats import format_of
from napari_kmeans._files.read import ImageFile, with_opacity

__all__ = ["converted"]


def converted(
    name: str, image: ImageFile, *, depth: int | None, opacity_threshold: int | None
) -> ImageFile:
    """Return an image for the format of a file name, or as it is for no name.

    With a `depth` of 8, the whole range of unsigned integers becomes that of uint8,
    each value rounded to the nearest. In a format with one clear color, pixels of at
    least the threshold become opaque, and all others clear. Raises ValueError for other
    dtypes, or another format.
    """
    form, suffix = format_of(name), Path(name).suffix.lower()
    if depth is not None:
        image = _of_8_bits(image)
    has_place = form.has_profile or not form.name or not image.are_colors
    profile = image.metadata.icc_profile
    if profile is not None and not has_place and image.pixels.dtype == np.uint8:
        metadata = image.metadata._replace(icc_profile=None)
        pixels = in_srgb(image.pixels, profile)
        image = with_opacity(image._replace(pixels=pixels, metadata=metadata))
    if opacity_threshold is None:
        return image
    if form.opacity != "one clear color":
        msg = f"an opacity threshold is for .gif files, not for {suffix} files"
        raise ValueError(msg)
    if not image.has_alpha:
        return image
    pixels = image.pixels.copy()
    pixels[..., -1] = np.where(pixels[..., -1] >= opacity_threshold, 255, 0)
    return with_opacity(image._replace(pixels=pixels))


def _of_8_bits(image: ImageFile) -> ImageFile:
    """Scale unsigned integers to 8 bits, also those of dask."""
    pixels, dtype = image.pixels, image.pixels.dtype
    if dtype == np.uint8:
        return image
    if dtype.kind != "u":
        msg = f"only unsigned integers are scaled to 8 bits, got {dtype} pixels"
        raise ValueError(msg)
    # The step is odd, so that no value lies in the middle of two.
    step = np.iinfo(dtype).max // 255
    scaled = (pixels // step + (pixels % step > step // 2)).astype(np.uint8)
    return with_opacity(image._replace(pixels=scaled))
