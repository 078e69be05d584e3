"""Colors as text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from napari.utils.colormaps.standardize_color import transform_color

from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.quality import white_of

__all__ = ["hex_colors", "parse_colors"]


def hex_colors(rgba: Floats) -> list[str]:
    """Return colors (K, 4) as in HTML, with opacity where there is any."""
    octets = np.rint(rgba * 255).astype(np.uint8)
    return [f"#{bytes(color).hex().removesuffix('ff')}" for color in octets]


def parse_colors(text: str, dtype: np.dtype[Any], n_channels: int | None) -> Array:
    """Read colors like ``#ff0000`` or ``red``, or numbers in the units of an image.

    Parameters
    ----------
    text : str
        Colors, separated by spaces, commas or semicolons.
    dtype : numpy.dtype
        Of the image. A color that is no number spans its range, and 0 to 1 for floats.
    n_channels : int or None
        Channels of the image; None if it has none.

    Returns
    -------
    colors : (m, C) or (m,) ndarray
        Colors in `dtype`.

    Raises
    ------
    ValueError
        If the text is neither, does not fill all channels, or is out of range.
    """
    size = n_channels or 1
    each = "1 number" if size == 1 else f"{size} numbers"
    values: list[float] = []
    for word in re.findall(r"[^\s,;()\[\]]+", text):
        try:
            values.append(float(word))
            continue
        except ValueError:
            octets = _octets_of(word)
        is_clear = octets[3] < 255
        if size not in (3, 4) or (is_clear and size == 3):
            msg = f"colors must have {each} each, got {word!r}"
            raise ValueError(msg)
        top = white_of(dtype)
        values += [int(octet) * top / 255 for octet in octets[:size]]
    if len(values) % size:
        msg = f"colors must have {each} each, got {len(values)} in all"
        raise ValueError(msg)
    colors = np.array(values)
    low, high = 0.0, 1.0
    if dtype.kind != "b":
        info: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        low, high = float(info.min), float(info.max)
        if dtype.kind == "f":
            # -3.4028235e38 is float32's least number, rounded.
            room = 1 + float(info.eps) / 8
            low, high = low * room, high * room
    if dtype.kind in "iu":
        colors = np.rint(colors)
    is_outside = ~((low <= colors) & (colors <= high))
    if is_outside.any():
        got = f"got {colors[is_outside][0]:g}"
        msg = f"colors must be between {low:.10g} and {high:.10g}, {got}"
        raise ValueError(msg)
    colors = colors.astype(dtype)
    return colors if n_channels is None else colors.reshape(-1, size)


def _octets_of(word: str) -> Array:
    """Return red, green, blue and opacity, from 0 to 255, of a color of HTML."""
    try:
        (rgba,) = transform_color(word)
    except ValueError:
        msg = f"colors must be like #ff0000, red or numbers, got {word!r}"
        raise ValueError(msg) from None
    return np.asarray(np.rint(rgba * 255))
