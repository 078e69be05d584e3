"""Files that a call names for all of its images: a palette, a mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_kmeans._cli.options import Options
from napari_kmeans._cli.running import giving_up
from napari_kmeans._core.arrays import Array
from napari_kmeans._files import palettes
from napari_kmeans._files.indexed import decode_indexed
from napari_kmeans._files.read import read_image

__all__ = ["read_palette", "with_mask"]


def read_palette(path: str) -> Array:
    """Read a palette file or that of an indexed image, or leave with an error."""
    known = palettes.PALETTE_SUFFIXES
    with giving_up(path):
        if Path(path).suffix.lower() in known:
            return palettes.read_palette(path)
        content = Path(path).read_bytes()
        try:
            return decode_indexed(content).palette
        except ValueError as error:
            advice = f"{', '.join(known)}, or a PNG, GIF or TIFF with a palette"
            msg = f"no palette: {error}; choose a {advice}"
            raise ValueError(msg) from error


def with_mask(options: Options) -> Options:
    """Read the mask, if there is one, or leave with an error.

    It is True where the image is not black or, if some of it is transparent, where it
    is not fully transparent.
    """
    if options.mask_file is None:
        return options
    with giving_up(options.mask_file):
        image = read_image(options.mask_file)
    if image.has_alpha:
        mask = image.pixels[..., -1] > 0
    else:
        mask = image.pixels != 0
        mask = mask.any(axis=-1) if image.has_channels else mask
    return replace(options, mask=mask)
