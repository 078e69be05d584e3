"""Fit, map and encode one image: a recipe in, the bytes of a file and its numbers out.

Read `compress` first: it counts the colors of an image once, finds a palette or takes
one that is given, labels the pixels, and encodes them in the format of a file name.
`fit_palette` stops at the palette, of one image or of several, `errors_of` looks only
at errors, and `count_file` at colors. Files are read and written by the caller; what
formats hold is known to `_files`, and k-means to `_core`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_kmeans._core.arguments import MAX_COLORS, Dither, Init
from napari_kmeans._core.arrays import Array, Labels
from napari_kmeans._core.blocks import cut
from napari_kmeans._core.color_counts import ColorCounts, TooManyColorsError
from napari_kmeans._core.counted_image import (
    MappedImage,
    color_image,
    count_image,
    curve_of,
    fit_image,
    fit_quality,
    map_image,
    psnr_of,
)
from napari_kmeans._core.fitting import Callback, FittedImage, PaletteResult
from napari_kmeans._core.pixels import CountedImage
from napari_kmeans._core.quality import mean_squared_error, white_of
from napari_kmeans._core.quantize import count_colors
from napari_kmeans._core.spaces import SpaceName
from napari_kmeans._files.formats import BYTE_COLORS, format_of, palette_misfit
from napari_kmeans._files.indexed import encode_indexed
from napari_kmeans._files.metadata import (
    ImageMetadata,
    with_axes,
    without_axis,
)
from napari_kmeans._files.read import ImageFile, decode_image
from napari_kmeans._files.write import check_fit, encode_image

__all__ = [
    "Compressed",
    "Part",
    "Recipe",
    "compress",
    "count_file",
    "errors_of",
    "fit_counted",
    "fit_palette",
    "matched",
    "part_of",
    "seen",
]


@dataclass(frozen=True)
class Recipe:
    """How images are to be reduced, in the words of the public functions."""

    k: int = 16
    iters: int = 10
    init: Init = "auto"
    seed: int | None = None
    color_space: SpaceName = "rgb"
    dither: Dither = None
    # How much of it, from 0 to 1; 1 if there is none.
    dither_strength: float = 1.0
    # The quality in dB that the fewest possible colors are to reach, instead of `k`.
    psnr: float | None = None
    # The most bytes that a file may take; as many colors as fit, up to `k`, are used.
    max_bytes: int | None = None


class Compressed(NamedTuple):
    """The bytes of a file, and numbers about it."""

    content: bytes
    # The image before, with the channels of its palette.
    image: ImageFile
    mapped: MappedImage
    # The palette that was found; None if it was given.
    fit: PaletteResult | None
    # Distinct colors before and in the file, or None if they are too many to count.
    n_colors_before: int | None
    n_colors: int | None
    # Squared error of the file, summed over channels, mean over pixels, and in dB.
    mse: float
    psnr: float = math.inf
    # What readers of a format with losses see; None where that is what was mapped.
    decoded: Array | None = None


class Part(NamedTuple):
    """What a palette, also one for several images, needs to know of each."""

    # What images have in common that can share a palette.
    kind: str
    n_channels: int
    has_alpha: bool
    # None if the colors are too many to count.
    counts: ColorCounts | None


def compress(
    image: ImageFile,
    name: str,
    recipe: Recipe,
    *,
    palette: Array | None = None,
    counts: ColorCounts | None = None,
    callback: Callback | None = None,
) -> Compressed:
    """Bring an image to few colors and encode it in the format of a file name.

    Its colors are those of `palette`, unless that is None. `counts` are the colors of
    the image, if they are counted already. `callback` is called after each iteration.
    Raises ValueError if `palette` does not fit the image, the format cannot hold the
    result, or no palette reaches what the recipe asks for.
    """
    if palette is not None:
        image, palette = matched(image, palette)
    check_fit(name, image)
    counted = count_file(image, recipe.color_space, counts)
    form, n_colors = format_of(name), counted.n_colors or MAX_COLORS
    most = form.most_colors or MAX_COLORS

    def fitted(k: int) -> Compressed:
        found = fit_counted(counted, replace(recipe, k=k), most, callback)
        return _encoded(image, name, counted, found, recipe)

    if palette is not None:
        done = _encoded(image, name, counted, palette, recipe)
    elif recipe.max_bytes is not None:
        done = _most_that_fit(
            fitted, min(recipe.k, n_colors, BYTE_COLORS), recipe.max_bytes
        )
    elif min(recipe.k, n_colors) > most:
        suffix = Path(name).suffix.lower()
        msg = (
            f"k must be at most {most} for a {suffix} file, got {recipe.k}; choose .tif"
        )
        raise ValueError(msg)
    else:
        done = fitted(recipe.k)
    if not (form.most_colors or form.is_lossless):
        done = _reread(done)
    return done._replace(psnr=psnr_of(counted, done.mse))


def seen(done: Compressed) -> Array:
    """Return the pixels that readers of the file see."""
    return _painted(done.image, done.mapped) if done.decoded is None else done.decoded


def count_file(
    image: ImageFile, color_space: SpaceName = "rgb", counts: ColorCounts | None = None
) -> CountedImage:
    """Count the colors of an image, unless `counts` has them already."""
    if counts is not None:
        counts = _widened(counts, _n_channels(image))
    return count_image(
        image.pixels,
        channel_axis=_channel_axis(image),
        color_space=color_space,
        alpha=image.has_alpha,
        counts=counts,
    )


def part_of(image: ImageFile) -> Part:
    """Count the colors of an image that is to have a palette, or to share one."""
    n_channels = _n_channels(image)
    colors = "" if image.are_colors else f"{n_channels}-channel "
    try:
        counts = count_colors(image.pixels, channel_axis=_channel_axis(image))
    except TooManyColorsError:
        counts = None
    kind = f"{colors}{image.pixels.dtype}"
    return Part(kind, n_channels, image.has_alpha, counts)


def fit_palette(
    parts: Sequence[Part],
    read: Callable[[], Sequence[ImageFile]],
    recipe: Recipe,
    callback: Callback | None = None,
) -> PaletteResult:
    """Find one palette for images of one kind, which may mix gray, RGB and RGBA.

    `read` returns the images, and is called only if they have too many colors to count.
    Raises ValueError if no palette reaches the quality that the recipe asks for.
    """
    wanted = max(part.n_channels for part in parts)
    colors: Any = 0
    try:
        for part in parts:
            if part.counts is None:
                raise TooManyColorsError
            colors += _widened(part.counts, wanted)
    except TooManyColorsError:
        colors = [_with_channels(i.pixels, wanted, i.has_channels) for i in read()]
    counted = count_image(
        colors,
        channel_axis=-1 if wanted > 1 else None,
        color_space=recipe.color_space,
        alpha=any(part.has_alpha for part in parts),
    )
    return fit_counted(counted, recipe, callback=callback).result


def errors_of(image: ImageFile, ks: Sequence[int]) -> list[tuple[float, float]]:
    """Return the squared error and the PSNR in dB for each number of colors."""
    counted = count_file(image)
    return [
        (error, psnr_of(counted, error)) for error in curve_of(counted, ks).tolist()
    ]


def fit_counted(
    counted: CountedImage,
    recipe: Recipe,
    most: int = MAX_COLORS,
    callback: Callback | None = None,
) -> FittedImage:
    """Find the palette that a recipe asks for, of at most `most` colors."""
    if recipe.psnr is not None:
        return fit_quality(counted, psnr=recipe.psnr, max_k=most, iters=recipe.iters)
    return fit_image(
        counted,
        recipe.k,
        recipe.iters,
        init=recipe.init,
        rng=recipe.seed,
        callback=callback,
    )


def _most_that_fit(
    fitted: Callable[[int], Compressed], most: int, limit: int
) -> Compressed:
    """Find the most colors whose file takes no more bytes than a limit.

    The number of colors is bisected, as if the size always grew with it. Now and then
    it shrinks, so more colors than are found may fit, but what is found always fits.
    """
    least, k, best, size = 1, most, None, 0
    while least <= most:
        done = fitted(k)
        size = len(done.content)
        if size <= limit:
            best, least = done, k + 1
        else:
            most = k - 1
        k = (least + most + 1) // 2
    if best is None:
        msg = f"a single color takes {size:,} bytes, more than the {limit:,} allowed"
        raise ValueError(msg)
    return best


def _encoded(
    image: ImageFile,
    name: str,
    counted: CountedImage,
    palette: Array | FittedImage,
    recipe: Recipe,
) -> Compressed:
    """Map a counted image to a palette, and encode it."""
    fit = palette.result if isinstance(palette, FittedImage) else None
    given = palette.result.palette if isinstance(palette, FittedImage) else palette
    complete = _with_clear_color(image, given)
    chosen = palette if complete is given else complete
    how = recipe.dither, recipe.dither_strength
    mapped = map_image(counted, chosen, dither=how[0], dither_strength=how[1])
    if _is_indexed(name, image, mapped.palette):
        labels, colors = _labels_for(name, image, mapped)
        check_fit(name, image, colors)
        if colors.ndim == 1:
            colors = _with_channels(colors, 3, False)
        metadata = without_axis(_of_color(image.metadata), "S")
        content = encode_indexed(
            name, labels, colors, metadata=metadata, keep_order=False
        )
    else:
        content = encode_image(name, image._replace(pixels=_painted(image, mapped)))
    n_colors = int(np.count_nonzero(mapped.counts))
    return Compressed(
        content, image, mapped, fit, counted.n_colors, n_colors, mapped.mse
    )


def _labels_for(
    name: str, image: ImageFile, mapped: MappedImage
) -> tuple[Labels, Array]:
    """Return labels and palette, without unused colors where not all would fit."""
    n_axes = image.pixels.ndim - image.has_channels
    if palette_misfit(format_of(name), n_axes, mapped.palette) is None:
        return mapped.labels, mapped.palette
    is_used = mapped.counts > 0
    colors = mapped.palette[is_used]
    ranks = (np.cumsum(is_used) - 1).astype(np.min_scalar_type(len(colors) - 1))
    return ranks[mapped.labels], colors


def _painted(image: ImageFile, mapped: MappedImage) -> Array:
    """Return the pixels of an image in the colors that it is mapped to."""
    return color_image(
        mapped.labels,
        mapped.palette,
        image.pixels,
        channel_axis=_channel_axis(image),
        alpha=image.has_alpha,
    )


def _reread(done: Compressed) -> Compressed:
    """Measure a file with losses of its own, such as JPEG, which add colors and error.

    Pixels are those that readers see, with the channels of the image.
    """
    image, n_channels = done.image, _n_channels(done.image)
    decoded, has_channels, *_ = decode_image(done.content)
    if image.has_channels:
        decoded = _with_channels(decoded, n_channels, has_channels)
    elif has_channels:
        # A format without gray images has them in red, green and blue.
        decoded = decoded[..., 0]
    before, after = (x.reshape(-1, n_channels) for x in (image.pixels, decoded))
    blocks = ((before[some], after[some]) for some in cut(len(before), 8 * n_channels))
    mse = mean_squared_error(blocks, image.has_alpha)
    n_colors = count_file(image._replace(pixels=decoded)).n_colors
    return done._replace(n_colors=n_colors, mse=mse, decoded=decoded)


def matched(image: ImageFile, palette: Array) -> tuple[ImageFile, Array]:
    """Bring an image and a palette to one number of channels, by default opaque."""
    if palette.dtype != image.pixels.dtype:
        msg = (
            f"palette of {palette.dtype} colors does not fit an image of "
            f"{image.pixels.dtype} pixels, as values are never scaled; "
            "find one in such an image, and write it as .json or .npy"
        )
        raise ValueError(msg)
    of_palette, of_image = palette.size // len(palette), _n_channels(image)
    wanted = max(of_palette, of_image)
    if of_palette != of_image:
        if of_palette not in (1, 3, 4) or not image.are_colors:
            msg = (
                f"palette of {of_palette} channels does not fit an image of {of_image} "
                "channels"
            )
            raise ValueError(msg)
        metadata = _of_color(image.metadata)
        if not image.has_channels and metadata.axes:
            metadata = with_axes(metadata, metadata.axes + "S")
        pixels = _with_channels(image.pixels, wanted, image.has_channels)
        image = ImageFile(pixels, True, wanted == 4, metadata)
    palette = _with_channels(palette.reshape(len(palette), -1), wanted)
    return image, palette if image.has_channels else palette[:, 0]


def _of_color(metadata: ImageMetadata) -> ImageMetadata:
    """Drop a color profile that is not for RGB."""
    profile = metadata.icc_profile
    is_kept = profile is not None and profile[16:20] == b"RGB "
    return metadata if is_kept else metadata._replace(icc_profile=None)


def _with_clear_color(image: ImageFile, palette: Array) -> Array:
    """Add a clear color to a palette that an image needs for its transparent pixels."""
    if not image.has_alpha or image.pixels[..., -1].all() or not palette[:, -1].all():
        return palette
    return np.concatenate([palette, np.zeros_like(palette[:1])])


def _widened(counts: ColorCounts, n_channels: int) -> ColorCounts:
    """Return the counts of gray or RGB colors as those of RGB or RGBA colors."""
    colors = _with_channels(counts.colors, n_channels, counts.colors.ndim == 2)
    return counts if colors is counts.colors else ColorCounts(colors, counts.counts)


def _with_channels(colors: Array, n_channels: int, has_channels: bool = True) -> Array:
    """Return gray or RGB colors as RGB or RGBA; others stay as they are."""
    if n_channels == (colors.shape[-1] if has_channels else 1):
        return colors
    if not has_channels:
        colors = colors[..., np.newaxis]
    if colors.shape[-1] == 1:
        colors = np.repeat(colors, 3, axis=-1)
    if colors.shape[-1] == n_channels:
        return colors
    opaque = np.full((*colors.shape[:-1], 1), white_of(colors.dtype), colors.dtype)
    return np.concatenate([colors, opaque], axis=-1)


def _is_indexed(name: str, image: ImageFile, palette: Array) -> bool:
    """Whether a file is to hold indices and the palette."""
    form = format_of(name)
    if not form.has_measurements:
        return form.most_colors > 0
    # Indices of more bits are shown as gray levels by ImageJ.
    is_color = image.has_channels and image.metadata.axes.endswith("S")
    is_rgb = is_color and palette.shape[1] == 3 and len(palette) <= BYTE_COLORS
    return is_rgb and palette.dtype.name in form.palette_dtypes


def _channel_axis(image: ImageFile) -> int | None:
    """Return the axis of the channels, if there is one."""
    return image.pixels.ndim - 1 if image.has_channels else None


def _n_channels(image: ImageFile) -> int:
    """Return the number of channels, 1 for an image without a channel axis."""
    return int(image.pixels.shape[-1]) if image.has_channels else 1
