"""Images in few colors, and the bytes of the files that hold them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from napari_kmeans._core.arguments import MAX_COLORS
from napari_kmeans._core.color_counts import count_colors
from napari_kmeans._core.quality import (
    peak_ratio,
    premultiplied,
    signal_peak,
    white_of,
)
from napari_kmeans._core.quantize import (
    choose_k,
    error_curve,
    kmeans_palette,
    map_to_palette,
)
from napari_kmeans._files.formats import BYTE_COLORS, format_of
from napari_kmeans._files.indexed import encode_indexed
from napari_kmeans._files.metadata import has_channel_axis, without_axis
from napari_kmeans._files.read import ImageFile, decode_image
from napari_kmeans._files.write import check_fit, encode_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_kmeans._core.quantize import PaletteResult
    from napari_kmeans._files.metadata import ImageMetadata

    Init: TypeAlias = Literal["auto", "thorough", "k-means++", "random"]
    ColorSpace: TypeAlias = Literal["rgb", "lab", "oklab"]
    Dither: TypeAlias = Literal["floyd-steinberg", "ordered"] | None

__all__ = [
    "Compressed",
    "Recipe",
    "compress",
    "compress_to",
    "count_distinct",
    "errors_of",
    "fit_palette",
    "fit_shared_palette",
    "mean_squared_error",
    "pixel_kind",
    "psnr",
]

_MOST_TRIED = 256
# Pixels whose errors are summed at once.
_BLOCK = 1 << 18


class Recipe(NamedTuple):
    """How images are to be reduced, in the words of the public functions."""

    k: int = 16
    iters: int = 10
    init: Init = "auto"
    seed: int | None = None
    color_space: ColorSpace = "rgb"
    dither: Dither = None
    # The quality in dB to reach, as one color less does not, or None for `k` colors.
    psnr: float | None = None
    # The most bytes that a file may take, as it would not with one color more, unless
    # that is more than `k`; None for any number.
    max_bytes: int | None = None


class Compressed(NamedTuple):
    """A file, and what readers of it will see."""

    content: bytes
    image: ImageFile
    palette: NDArray[Any]
    # Pixels of each palette color.
    counts: NDArray[np.int64]
    # Distinct colors in the file: more than the palette's where the format has losses,
    # and None if they are too many to be counted.
    n_colors: int | None
    # Squared error, summed over channels, mean over pixels, and as decibels.
    mse: float
    psnr: float
    # Lloyd iterations, and whether they ended by themselves; None for a given palette.
    n_iter: int | None = None
    converged: bool | None = None


def compress(
    image: ImageFile, name: str, recipe: Recipe, tick: Callable[[], object]
) -> Compressed:
    """Bring an image to few colors and encode it in the format of a file name.

    `tick` is called after each iteration. Raises ValueError if the format cannot hold
    the result, or no palette reaches what the recipe asks for.
    """
    check_fit(name, image)
    if recipe.max_bytes is not None:
        return _compress_to_size(image, name, recipe, tick)
    most = format_of(name).most_colors or MAX_COLORS
    if recipe.k > most and (count_distinct(image) or recipe.k) > most:
        msg = (
            f"k must be at most {most} for a {Path(name).suffix.lower()} file, "
            f"got {recipe.k}; choose .tif"
        )
        raise ValueError(msg)
    result = fit_palette([image], recipe, tick, most)
    done = compress_to(image, name, result.palette, recipe)
    return done._replace(n_iter=result.n_iter, converged=result.converged)


def compress_to(
    image: ImageFile, name: str, palette: NDArray[Any], recipe: Recipe
) -> Compressed:
    """Map an image to a given palette and encode it in the format of a file name.

    Raises ValueError if the palette has other kinds of colors than the image, or if
    the format cannot hold the result.
    """
    image, palette = _matched(image, palette)
    check_fit(name, image, palette)
    labels = map_to_palette(
        image.pixels,
        palette,
        channel_axis=-1 if image.has_channels else None,
        color_space=recipe.color_space,
        alpha=image.has_alpha,
        dither=recipe.dither,
    )
    counts = np.bincount(labels.ravel(), minlength=len(palette))
    pixels = palette[labels]
    if pixels.dtype.kind == "f":
        finite = np.isfinite(image.pixels)
        if image.has_channels:
            finite = finite.all(axis=-1, keepdims=True)
        pixels = np.where(finite, pixels, image.pixels)
    n_colors: int | None = int(np.count_nonzero(counts))
    if _is_indexed(name, image, palette):
        colors = palette
        if colors.ndim == 1:
            colors = np.repeat(colors[:, np.newaxis], 3, axis=1)
        content = encode_indexed(
            name,
            labels,
            colors,
            metadata=without_axis(_of_color(image.metadata), "S"),
            keep_order=False,
        )
    else:
        content = encode_image(name, image._replace(pixels=pixels))
        if not format_of(name).is_lossless:
            # A format with losses of its own, such as JPEG, adds colors and error.
            pixels = _with_channels_of(image, decode_image(content))
            n_colors = count_distinct(image._replace(pixels=pixels))
    mse = mean_squared_error(image, pixels)
    return Compressed(
        content,
        image._replace(pixels=pixels),
        palette,
        counts,
        n_colors,
        mse,
        psnr(image, mse),
    )


def fit_palette(
    images: Sequence[ImageFile],
    recipe: Recipe,
    tick: Callable[[], object],
    most: int = MAX_COLORS,
) -> PaletteResult:
    """Find the palette of images that have the same channels.

    Raises ValueError if no palette of at most `most` colors reaches the quality that
    the recipe asks for.
    """
    pixels = [image.pixels for image in images]
    channel_axis = -1 if images[0].has_channels else None
    alpha = any(image.has_alpha for image in images)
    if recipe.psnr is not None:
        return choose_k(
            pixels,
            psnr=recipe.psnr,
            max_k=most,
            iters=recipe.iters,
            channel_axis=channel_axis,
            color_space=recipe.color_space,
            alpha=alpha,
        )
    return kmeans_palette(
        pixels,
        recipe.k,
        recipe.iters,
        channel_axis=channel_axis,
        color_space=recipe.color_space,
        alpha=alpha,
        init=recipe.init,
        rng=recipe.seed,
        callback=lambda _: tick(),
    )


def pixel_kind(image: ImageFile) -> str:
    """Name what images have in common that can share a palette."""
    n_channels = image.pixels.shape[-1] if image.has_channels else 1
    colors = "" if n_channels in (1, 3, 4) else f"{n_channels}-channel "
    return f"{colors}{image.pixels.dtype}"


def fit_shared_palette(images: Sequence[ImageFile], recipe: Recipe) -> PaletteResult:
    """Find one palette for images of one kind, that may differ in gray, RGB and RGBA.

    Raises ValueError as `fit_palette` does.
    """
    wanted = max(i.pixels.shape[-1] if i.has_channels else 1 for i in images)
    if wanted == 1:
        return fit_palette(images, recipe, lambda: None)
    alike = [
        ImageFile(
            _with_channels(image.pixels, wanted, image.has_channels),
            has_alpha=any(image.has_alpha for image in images),
        )
        for image in images
    ]
    return fit_palette(alike, recipe, lambda: None)


def errors_of(image: ImageFile, ks: Sequence[int]) -> list[float]:
    """Give the error for each number of colors."""
    errors = error_curve(
        image.pixels,
        ks,
        channel_axis=-1 if image.has_channels else None,
        alpha=image.has_alpha,
    )
    return [float(error) for error in errors]


def count_distinct(image: ImageFile) -> int | None:
    """Count the distinct colors of finite pixels; None if they are too many."""
    pixels = image.pixels
    counted = count_colors(pixels if image.has_channels else pixels[..., np.newaxis])
    return None if counted is None else len(counted.colors)


def mean_squared_error(image: ImageFile, pixels: NDArray[Any]) -> float:
    """Give the squared error, summed over channels, mean over finite pixels.

    With alpha, that of premultiplied colors, over pixels that can be seen.
    """
    n_channels = image.pixels.shape[-1] if image.has_channels else 1
    before, after = image.pixels.reshape(-1, n_channels), pixels.reshape(-1, n_channels)
    top = white_of(image.pixels.dtype) if image.has_alpha else None
    total, n_pixels = 0.0, 0
    for start in range(0, len(before), _BLOCK):
        ends = [some[start : start + _BLOCK] for some in (before, after)]
        if top is not None:
            seen = ends[0][:, -1] > 0
            ends = [premultiplied(some[seen], top) for some in ends]
        # Infinite minus infinite is no error.
        with np.errstate(invalid="ignore"):
            difference = ends[1].astype(np.float64) - ends[0]
        finite = np.isfinite(difference).all(axis=1)
        total += float(np.square(difference[finite]).sum())
        n_pixels += int(np.count_nonzero(finite))
    return total / max(n_pixels, 1)


def psnr(image: ImageFile, mse: float) -> float:
    """Turn a squared error into a peak signal-to-noise ratio, as `choose_k` does."""
    if mse == 0:
        return math.inf
    pixels = image.pixels
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    peak = signal_peak(pixels.dtype, float(finite.min()), float(finite.max()))
    return peak_ratio(mse, peak, pixels.shape[-1] if image.has_channels else 1)


def _compress_to_size(
    image: ImageFile, name: str, recipe: Recipe, tick: Callable[[], object]
) -> Compressed:
    """Compress to a size that one color more would exceed.

    Colors are bisected, as if the size grew with their number. It falls now and then,
    so that more colors than are found may fit, but what is found always fits.
    """
    limit = recipe.max_bytes or 0
    least, most = 1, min(recipe.k, count_distinct(image) or recipe.k, _MOST_TRIED)
    best, k, size = None, most, 0
    while least <= most:
        tried = compress(image, name, recipe._replace(k=k, max_bytes=None), tick)
        size = len(tried.content)
        if size <= limit:
            best, least = tried, k + 1
        else:
            most = k - 1
        k = (least + most + 1) // 2
    if best is None:
        msg = f"a single color takes {size:,} bytes, more than the {limit:,} allowed"
        raise ValueError(msg)
    return best


def _matched(image: ImageFile, palette: NDArray[Any]) -> tuple[ImageFile, NDArray[Any]]:
    """Give an image and a palette the same number of channels, opaque where unsaid."""
    if palette.dtype != image.pixels.dtype:
        msg = (
            f"palette of {palette.dtype} colors does not fit an image of "
            f"{image.pixels.dtype} pixels, as values are never scaled; "
            "find one in such an image, and write it as .json or .npy"
        )
        raise ValueError(msg)
    of_palette = palette.shape[1] if palette.ndim == 2 else 1
    of_image = image.pixels.shape[-1] if image.has_channels else 1
    if of_palette == of_image:
        if palette.ndim == 2 and not image.has_channels:
            palette = palette[:, 0]
        elif palette.ndim == 1 and image.has_channels:
            palette = palette[:, np.newaxis]
        return image, _with_clear_color(image, palette)
    if not {of_palette, of_image} <= {1, 3, 4} or has_channel_axis(image.metadata):
        msg = (
            f"palette of {of_palette} channels does not fit an image of {of_image} "
            "channels"
        )
        raise ValueError(msg)
    wanted = max(of_palette, of_image)
    pixels = _with_channels(image.pixels, wanted, image.has_channels)
    palette = _with_channels(palette, wanted, palette.ndim == 2)
    metadata = _of_color(image.metadata)
    if not image.has_channels and metadata.axes:
        scale = (*metadata.scale, 1.0) if metadata.scale else ()
        units = (*metadata.units, "pixel") if metadata.units else ()
        metadata = metadata._replace(axes=metadata.axes + "S", scale=scale, units=units)
    image = ImageFile(pixels, True, wanted == 4, metadata)
    return image, _with_clear_color(image, palette)


def _of_color(metadata: ImageMetadata) -> ImageMetadata:
    """Drop a color profile that is not for RGB."""
    profile = metadata.icc_profile
    is_kept = profile is not None and profile[16:20] == b"RGB "
    return metadata if is_kept else metadata._replace(icc_profile=None)


def _with_clear_color(image: ImageFile, palette: NDArray[Any]) -> NDArray[Any]:
    """Give a palette a color for what cannot be seen, so that it stays so."""
    if not image.has_alpha or image.pixels[..., -1].all() or not palette[:, -1].all():
        return palette
    return np.concatenate([palette, np.zeros_like(palette[:1])])


def _with_channels_of(image: ImageFile, written: ImageFile) -> NDArray[Any]:
    """Give what was written as the kind of pixels that it was made from."""
    if not image.has_channels:
        # A format without gray images has them in red, green and blue.
        return written.pixels[..., 0] if written.has_channels else written.pixels
    n_channels = image.pixels.shape[-1]
    return _with_channels(written.pixels, n_channels, written.has_channels)


def _with_channels(
    colors: NDArray[Any], n_channels: int, has_channels: bool
) -> NDArray[Any]:
    """Make gray or RGB colors RGB or RGBA."""
    if not has_channels:
        colors = colors[..., np.newaxis]
    if colors.shape[-1] == 1:
        colors = np.repeat(colors, 3, axis=-1)
    if colors.shape[-1] == n_channels:
        return colors
    opaque = np.full((*colors.shape[:-1], 1), white_of(colors.dtype), colors.dtype)
    return np.concatenate([colors, opaque], axis=-1)


def _is_indexed(name: str, image: ImageFile, palette: NDArray[Any]) -> bool:
    """Whether a file is to hold indices and the palette."""
    form = format_of(name)
    if not form.has_measurements:
        return form.most_colors > 0
    # Indices of more bits are shown as gray levels by ImageJ.
    is_color = image.has_channels and image.metadata.axes.endswith("S")
    is_rgb = is_color and palette.shape[1] == 3 and len(palette) <= BYTE_COLORS
    return is_rgb and palette.dtype.name in form.palette_dtypes
