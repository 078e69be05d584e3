"""The most pixels that a file may claim to hold."""

from __future__ import annotations

import math

__all__ = ["TooManyPixels", "check_pixel_limit"]

# Fewer bytes per pixel than this no sound file of so many pixels has.
_LEAST_BYTES_PER_PIXEL = 1 / 50


class TooManyPixels(ValueError):
    """A file that unfolds to far more than it is: a decompression bomb."""


def check_pixel_limit(shape: tuple[int, ...], n_bytes: int) -> None:
    """Raise TooManyPixels unless a file of `n_bytes` may hold an image of `shape`.

    It may if it does not exceed Pillow's limit (179 million pixels), or if it is large
    itself, as scientific stacks are.
    """
    from PIL import Image

    n_pixels = math.prod(shape)
    limit = math.inf if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS
    if n_pixels > limit and n_bytes < n_pixels * _LEAST_BYTES_PER_PIXEL:
        msg = f"too many pixels for a file of {n_bytes:,} bytes: {shape}"
        raise TooManyPixels(msg)
