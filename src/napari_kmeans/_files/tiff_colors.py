"""What the samples of a TIFF page mean, and the same as gray, RGB or RGBA.

`colors_of` turns stored samples into colors; `shown_axes`, `has_opacity`,
`kept_profile` and `palettes_of` say beforehand what will come of them. Samples that are
no colors stay as they are: the bands of a satellite are channels "C", and what stands
beside red, green and blue follows them. Which pages belong together is known to `tiff`.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array
from napari_kmeans._core.blocks import cut
from napari_kmeans._core.quality import white_of
from napari_kmeans._files.color_profiles import rgb_profile
from napari_kmeans._files.formats import refuse
from napari_kmeans._files.tiff_segments import REFUSED_COMPRESSIONS

if TYPE_CHECKING:
    from tifffile import TiffPage, TiffPageSeries

__all__ = [
    "NOTE_TAG",
    "colors_of",
    "has_opacity",
    "is_read_by_libtiff",
    "is_shape",
    "is_stored_as_shown",
    "kept_profile",
    "palettes_of",
    "read_note",
    "refuse_unknown",
    "shown_axes",
]

# Private tag that tells which part of a color map is the palette, and of which array.
NOTE_TAG = 65000
# TIFF 6.0: values of PhotometricInterpretation, and their number of color samples.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_MASK = 4
_N_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _PALETTE: 1}
_N_COLORS |= {_RGB: 3, _YCBCR: 3, _CMYK: 4}
# Section 18: values of ExtraSamples that are opacity.
_PREMULTIPLIED, _OPACITIES = 1, (1, 2)
_JPEG = 7


def read_note(page: TiffPage) -> dict[str, Any]:
    """Read what was noted about a palette and its labels, if this program wrote it."""
    try:
        note = json.loads(str(page.tags.valueof(NOTE_TAG)))
    except (RecursionError, ValueError):  # No tag, or one of another program.
        return {}
    words = {"axes", "colors", "dtype", "shape"}
    is_note = isinstance(note, dict) and words <= note.keys()
    return note if is_note and is_shape(note["shape"]) else {}


def is_shape(value: object) -> bool:
    """Whether this, which a file says, can be the shape of an array."""
    return isinstance(value, list | tuple) and all(
        type(n) is int and 0 <= n < 1 << 62 for n in value
    )


def refuse_unknown(page: TiffPage, axes: str) -> None:
    """Raise Refused if it is not known what the samples of a page mean."""
    from tifffile import COMPRESSION, PHOTOMETRIC

    kind, compression = int(page.photometric), int(page.compression)
    name = f"{page.dtype} TIFF of kind {_name(PHOTOMETRIC, kind)}"
    if kind == _MASK:
        refuse(
            "the file has a mask beside its pixels; save it with opacity, or with a "
            "fill value for what is masked"
        )
    if kind not in _N_COLORS:
        refuse(f"{name} cannot be read; save it as gray or RGB")
    if page.dtype is None or page.dtype.kind not in "buif":
        refuse(f"TIFF of dtype {page.dtype} cannot be read")
    if compression in REFUSED_COMPRESSIONS:
        word = _name(COMPRESSION, compression)
        refuse(f"TIFF compressed by {word} cannot be read; save it by LZW or DEFLATE")
    is_small = page.dtype.name in ("uint8", "uint16")
    if kind == _CMYK and not is_small:
        refuse(f"{name} cannot be read; save it with 8 or 16 bits, or as RGB")
    if kind in (_CMYK, _YCBCR) and not axes.count("S"):
        refuse(f"{name} with axes {axes} cannot be read; save it as RGB")
    if kind == _CMYK and page.tags.valueof(332, 1) != 1:
        refuse("TIFF of inks other than CMYK cannot be read; save it as RGB")
    if kind == _YCBCR and (page.samplesperpixel != 3 or page.planarconfig != 1):
        refuse(f"{name} of single planes cannot be read; save it as RGB")


def is_read_by_libtiff(page: TiffPage) -> bool:
    """Whether a page has luma and chroma that only libtiff turns into RGB."""
    return int(page.photometric) == _YCBCR and int(page.compression) != _JPEG


def is_stored_as_shown(page: TiffPage, axes: str) -> bool:
    """Whether the samples of a page are gray, RGB or bands as tifffile decodes them."""
    kind, n_bits = int(page.photometric), page.bitspersample
    is_kind = kind in (_BLACK_IS_ZERO, _RGB, _YCBCR) and not is_read_by_libtiff(page)
    is_whole = isinstance(n_bits, int) and n_bits >= 8
    return is_kind and is_whole and not has_opacity(page, axes)


def shown_axes(page: TiffPage, axes: str) -> str:
    """Return the axes of an image, last those of its colors or bands."""
    if int(page.photometric) == _PALETTE:
        return axes.replace("S", "") + "S"
    if "S" not in axes:
        return axes
    spatial, n_colors = axes.replace("S", ""), _N_COLORS[int(page.photometric)]
    is_colors = n_colors > 1 or has_opacity(page, axes) or "C" in axes
    return spatial + ("S" if is_colors else "C")


def has_opacity(page: TiffPage, axes: str) -> bool:
    """Whether one of the samples is opacity, which then becomes the last channel."""
    return "S" in axes and _opacity(page) is not None


def _opacity(page: TiffPage) -> tuple[int, bool] | None:
    """Return which of the extra samples is opacity, and if colors are multiplied by it.

    One of several bands is none. A fourth sample beside red, green and blue of which
    nothing is said is opacity, as other programs take it, too.
    """
    n_colors = _N_COLORS[int(page.photometric)]
    n_extra = page.samplesperpixel - n_colors
    extras = tuple(page.extrasamples)[:n_extra]
    if n_extra == 1 and not extras and n_colors == 3:
        return 0, False
    places = [i for i, kind in enumerate(extras) if kind in _OPACITIES]
    if len(places) != 1 or (n_colors == 1 and n_extra > 1):
        return None
    return places[0], extras[places[0]] == _PREMULTIPLIED


def kept_profile(page: TiffPage, shown: str) -> bytes | None:
    """Return the color profile for the pixels as they are decoded."""
    profile = page.iccprofile
    if not profile or int(page.photometric) == _CMYK or shown.endswith("C"):
        return None
    is_gray = int(page.photometric) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if profile[16:20] != (b"GRAY" if is_gray else b"RGB "):
        return None
    return rgb_profile(bytes(profile)) if "S" in shown else bytes(profile)


def palettes_of(series: TiffPageSeries) -> list[Array]:
    """Return the palette (K, 3) of each page, one if all have the same; [] if none."""
    if int(series.keyframe.photometric) != _PALETTE:
        return []
    pages = [page.aspage() for page in series.pages if page is not None]
    maps = [np.asarray(page.colormap) for page in pages if page.colormap is not None]
    if len(maps) < len(pages):
        refuse("a page has indices and no palette")
    if all(np.array_equal(maps[0], one) for one in maps[1:]):
        pages = pages[:1]
    return [_palette(page) for page in pages]


def _palette(page: TiffPage) -> Array:
    """Return the palette (K, 3) of a page, uint16 only if 8 bits do not hold it."""
    colors: NDArray[np.uint16] = np.asarray(page.colormap, np.uint16).T
    if note := read_note(page):
        colors = colors[: note["colors"]]
        is_wide = note["dtype"] == "uint16"
    elif colors.max() < 256:
        # Some programs fill the low byte, as libtiff knows.
        return colors.astype(np.uint8)
    else:
        # And some the high byte only.
        is_wide = bool((colors % 257).any() and (colors % 256).any())
    return colors.copy() if is_wide else (colors >> 8).astype(np.uint8)


def colors_of(array: Array, series: TiffPageSeries, axes: str) -> Array:
    """Return samples, which are the last axis if there are several, as colors.

    Gray stays without channels. Opacity becomes the last channel, and what colors are
    multiplied by it is undone.
    """
    page = series.keyframe
    kind, has_samples = int(page.photometric), "S" in axes
    if kind == _PALETTE:
        array = _painted(array, palettes_of(series), has_samples)
        white = white_of(array.dtype)
    else:
        array, white = _levels(array, page)
    n_colors = 1 if kind == _PALETTE else _N_COLORS[kind]
    if kind == _WHITE_IS_ZERO:
        gray = array[..., :1] if has_samples else array
        gray[...] = ~gray if gray.dtype.kind == "i" else gray.dtype.type(white) - gray
    elif kind == _CMYK:
        rgb, others = _rgb_of_cmyk(array[..., :4], page.iccprofile), array[..., 4:]
        array = np.concatenate([rgb, others], axis=-1) if others.shape[-1] else rgb
    opacity = _opacity(page) if has_samples else None
    if opacity is None:
        return array
    place, is_multiplied = opacity
    place += array.shape[-1] - (page.samplesperpixel - n_colors)
    is_narrow = white < white_of(array.dtype)
    if n_colors > 1 and place == array.shape[-1] - 1 and not is_multiplied | is_narrow:
        return array
    colors, alpha = np.delete(array, place, axis=-1), array[..., place]
    if colors.shape[-1] == 1:
        colors = np.repeat(colors, 3, axis=-1)
    if is_multiplied:
        _divide(colors, alpha, white)
    if is_narrow:
        alpha = np.rint(alpha * (white_of(array.dtype) / white)).astype(alpha.dtype)
    return np.concatenate([colors, alpha[..., np.newaxis]], axis=-1)


def _painted(array: Array, palettes: list[Array], has_samples: bool) -> Array:
    """Return the colors of indices, each page in its palette, and what follows them."""
    labels = array[..., 0] if has_samples else array
    dtype = max((palette.dtype for palette in palettes), key=lambda d: d.itemsize)
    planes = labels.reshape(len(palettes), -1)
    painted = np.empty((*planes.shape, 3), dtype)
    for plane, palette, colors in zip(planes, palettes, painted, strict=True):
        # 8 bits reach as far as 16: 255 is 65535.
        scale = 257 if palette.dtype != dtype else 1
        table = palette.astype(dtype) * dtype.type(scale)
        table.take(plane, axis=0, out=colors, mode="clip")
    painted = painted.reshape(*labels.shape, 3)
    if not has_samples:
        return painted
    if array.dtype != dtype:
        refuse(f"{dtype} colors with {array.dtype} opacity cannot be read")
    return np.concatenate([painted, array[..., 1:]], axis=-1)


def _levels(array: Array, page: TiffPage) -> tuple[Array, float]:
    """Return levels of 8 bits for fewer, others as they are, and the one of white."""
    n_bits, kind = page.bitspersample, array.dtype.kind
    if kind not in "bu" or not isinstance(n_bits, int):
        return array, white_of(array.dtype)
    if n_bits >= 8:
        return array, (1 << n_bits) - 1
    levels = np.rint(np.linspace(0, 255, 1 << n_bits)).astype(np.uint8)
    return levels[array.view(np.uint8)], 255


def _rgb_of_cmyk(inks: Array, profile: bytes | None) -> Array:
    """Return inks as RGB of the same depth, by their profile or the plain formula."""
    import imagecodecs

    if profile:
        target = imagecodecs.cms_profile("srgb")
        with contextlib.suppress(imagecodecs.CmsError, ValueError):
            flat = np.ascontiguousarray(inks).reshape(-1, inks.shape[-2], 4)
            rgb = imagecodecs.cms_transform(
                flat, profile, target, colorspace="cmyk", outcolorspace="rgb"
            )
            return rgb.reshape(*inks.shape[:-1], 3)
    white = np.iinfo(inks.dtype).max
    rgb = np.empty((*inks.shape[:-1], 3), inks.dtype)
    # Products of two levels, and half a level more.
    product = np.uint16 if inks.dtype == np.uint8 else np.uint32
    for rows, colors in zip(inks, rgb, strict=True):
        wide = rows.astype(product)
        light = white - wide[..., 3:]
        colors[:] = light - (wide[..., :3] * light + white // 2) // white
    return rgb


def _divide(colors: Array, alpha: Array, white: float) -> None:
    """Divide colors by their share of opacity, in place; clear ones become 0."""
    flat, shares = colors.reshape(-1, colors.shape[-1]), alpha.reshape(-1, 1)
    for some in cut(len(flat), 8 * flat.shape[1]):
        share = shares[some].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(share > 0, flat[some] * (white / share), 0)
        if colors.dtype.kind in "iu":
            found = np.minimum(np.rint(found), white)
        flat[some] = found


def _name(kinds: Any, value: int) -> str:
    """Return the name of a tag's value, or its number."""
    try:
        return str(kinds(value).name)
    except ValueError:
        return str(value)
