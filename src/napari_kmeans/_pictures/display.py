"""Pixels of any kind as pictures that people can look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._core.color_counts import MAX_COUNTED

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["counted_text", "displayed", "displayed_range", "hex_color", "middle_plane"]

_CHECKERS = (255, 226)


def counted_text(n_colors: int | None, noun: str = "") -> str:
    """Write a number of colors, None being more than are counted, and what they are."""
    number = f"more than {MAX_COUNTED:,}" if n_colors is None else f"{n_colors:,}"
    return f"{number} {noun}{'' if n_colors == 1 else 's'}" if noun else number


def middle_plane(pixels: NDArray[Any], has_channels: bool) -> NDArray[Any]:
    """Give the plane in the middle of a stack, channels last."""
    while pixels.ndim > 2 + has_channels:
        pixels = pixels[len(pixels) // 2]
    return pixels


def displayed_range(pixels: NDArray[Any]) -> tuple[float, float]:
    """Give the values that are shown black and white."""
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    finite = pixels[np.isfinite(pixels)]
    return float(finite.min(initial=0)), float(finite.max(initial=0))


def displayed(pixels: NDArray[Any], low: float, high: float) -> Image.Image:
    """Give (rows, columns) or (rows, columns, C) as RGB, transparent over checkers.

    Other dtypes than uint8 are stretched from `low` to `high`. Of two channels, or more
    than four, the first is shown.
    """
    from PIL import Image

    if pixels.dtype != np.uint8:
        unit = (pixels.astype(np.float64) - low) / (high - low or 1.0)
        pixels = (255 * np.nan_to_num(unit).clip(0, 1)).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        pixels = pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.mode != "RGBA":
        return image.convert("RGB")
    rows, columns = np.indices(pixels.shape[:2]) // max(1, max(pixels.shape[:2]) // 64)
    checkers = np.where((rows + columns) % 2, *_CHECKERS).astype(np.uint8)
    paper = Image.fromarray(checkers).convert("RGBA")
    return Image.alpha_composite(paper, image).convert("RGB")


def hex_color(color: NDArray[Any]) -> str:
    """Write a color of 8 bits as style sheets do, any other as its numbers."""
    values = np.atleast_1d(color)
    if values.dtype == np.uint8 and len(values) in (1, 3, 4):
        values = np.repeat(values, 3) if len(values) == 1 else values
        return "#" + "".join(f"{value:02x}" for value in values.tolist())
    return " ".join(str(value) for value in values.tolist())
