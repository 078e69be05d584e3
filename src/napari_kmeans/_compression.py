"""Fit, map and encode one image: a recipe in, the bytes of a file and its numbers out.

Read `compress` first: it counts the colors of an image once, finds a palette or takes
one that is given, labels the pixels, and encodes them in the format of a file name.
`count_parts` and `fit_counted` stop at the palette, of one image or of several,
`errors_of` looks only at errors, and `count_file` at colors. `region_of` says where a
mask wants colors to be fitted. Files are read and written by the caller; what
formats hold is known to `_files`, and k-means to `_core`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from napari_kmeans._core.arguments import MAX_COLORS, Dither, Init, Weights
from napari_kmeans._core.arrays import Array, Floats, Labels, Mask
from napari_kmeans._core.blocks import cut
from napari_kmeans._core.color_counts import ColorCounts, TooManyColorsError
from napari_kmeans._core.counted_image import (
    MappedImage,
    color_errors,
    color_image,
    count_image,
    curve_of,
    fit_image,
    fit_quality,
    map_image,
    psnr_of,
    whole_image,
)
from napari_kmeans._core.fitting import Callback, FittedImage, PaletteResult
from napari_kmeans._core.pixels import CountedImage
from napari_kmeans._core.quality import mean_squared_error, white_of
from napari_kmeans._core.quantize import count_colors
from napari_kmeans._core.spaces import Layout, SpaceName
from napari_kmeans._files.color_profiles import rgb_profile
from napari_kmeans._files.conversions import converted
from napari_kmeans._files.formats import BYTE_COLORS, Unfit, format_of, palette_misfit
from napari_kmeans._files.indexed import encode_indexed
from napari_kmeans._files.metadata import (
    ImageMetadata,
    with_axes,
    without_axis,
)
from napari_kmeans._files.palette_order import used_colors
from napari_kmeans._files.png_rows import Effort
from napari_kmeans._files.read import ImageFile, decode_image
from napari_kmeans._files.write import check_fit, encode_image

__all__ = [
    "Compressed",
    "Part",
    "Recipe",
    "as_wanted",
    "compress",
    "count_file",
    "count_parts",
    "errors_by_color",
    "errors_of",
    "fit_counted",
    "matched",
    "part_of",
    "region_of",
    "seen",
]


@dataclass(frozen=True, eq=False)
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
    # What each channel counts where distances are measured.
    channel_weights: Literal["std"] | tuple[float, ...] | None = None
    # Colors that every palette has: (m, 4) of uint8, for 8-bit images with any channels
    # of gray, RGB and RGBA; or numbers (m, C) in the units of the image.
    fixed: Array | None = None
    # How much time is spent on a smaller PNG file.
    effort: Effort = "normal"
    # 8: unsigned integers of more bits are scaled to so many.
    depth: int | None = None
    # In a format with one clear color, the least opacity that becomes full.
    opacity_threshold: int | None = None
    # Whether palettes keep their order and unused colors.
    keep_palette: bool = False


class Compressed(NamedTuple):
    """The bytes of a file, and numbers about it."""

    content: bytes
    # The image before, with the channels of its palette.
    image: ImageFile
    counted: CountedImage
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
    # Whether pixels were scaled, brought to sRGB or made opaque or clear before that.
    is_converted: bool = False


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
    mask: Mask | None = None,
    callback: Callback | None = None,
    step: Callable[[str], object] | None = None,
) -> Compressed:
    """Bring an image to few colors and encode it in the format of a file name.

    Its colors are those of `palette`, unless that is None, or fitted to the pixels
    under the `mask` (see `region_of`); all pixels are mapped and measured. `counts` are
    the colors of the image, if they are counted already. `callback` is called after
    each iteration, and `step` when "counting", "fitting", "mapping" and "compressing"
    begin. Raises ValueError if `palette` or `mask` does not fit the image, the format
    cannot hold the result, or no palette reaches what the recipe asks for.
    """
    wanted = as_wanted(image, name, recipe)
    is_converted, image = wanted.pixels is not image.pixels, wanted
    if palette is not None:
        image, palette = matched(image, palette)
        mask = None
    check_fit(name, image)
    step = step or (lambda _: None)
    step("counting")
    weights = recipe.channel_weights
    fitted_part = count_file(image, recipe.color_space, weights, mask, counts)
    counted = fitted_part if mask is None else whole_image(fitted_part)
    form, n_colors = format_of(name), counted.n_colors or MAX_COLORS
    most = form.most_colors or MAX_COLORS

    def fitted(k: int) -> Compressed:
        step("fitting")
        found = fit_counted(fitted_part, replace(recipe, k=k), most, callback)
        # What the fit knows of colors and errors is that of its own pixels.
        done = encoded(found if mask is None else found.result.palette)
        return done._replace(fit=found.result)

    def encoded(palette: Array | FittedImage) -> Compressed:
        return _encoded(image, name, counted, palette, recipe, step)

    if palette is not None:
        done = encoded(palette)
    elif recipe.max_bytes is not None:
        least = 1 if recipe.fixed is None else len(recipe.fixed)
        k = max(min(recipe.k, n_colors, BYTE_COLORS), least)
        done = _most_that_fit(fitted, least, k, recipe.max_bytes)
    elif min(recipe.k, n_colors) > most:
        rule = f"at most {most} for a {Path(name).suffix.lower()} file"
        msg = f"k must be {rule}, got {recipe.k}; choose .tif"
        raise ValueError(msg)
    else:
        done = fitted(recipe.k)
    if not (form.most_colors or form.is_lossless):
        done = _reread(done)
    return done._replace(psnr=psnr_of(counted, done.mse), is_converted=is_converted)


def as_wanted(image: ImageFile, name: str, recipe: Recipe) -> ImageFile:
    """Return an image as a recipe and the format of a file name want its pixels.

    Raises ValueError if the format does not have what the recipe asks for.
    """
    if recipe.keep_palette and not format_of(name).most_colors:
        msg = (
            f"cannot write {name}: it has no palette to keep; choose .png, .gif or .tif"
        )
        raise ValueError(msg)
    return converted(
        name, image, depth=recipe.depth, opacity_threshold=recipe.opacity_threshold
    )


def seen(done: Compressed) -> Array:
    """Return the pixels that readers of the file see."""
    return _painted(done.image, done.mapped) if done.decoded is None else done.decoded


def errors_by_color(done: Compressed, recipe: Recipe) -> Floats | None:
    """Return the mean squared error (K,) of the pixels of each palette color.

    It is NaN where a color has no pixel that is seen.
    """
    mapped, are_known = done.mapped, done.counted.counted is not None
    labels = None if are_known and recipe.dither is None else mapped.labels
    return color_errors(done.counted, mapped.palette, labels)


def count_file(
    image: ImageFile,
    color_space: SpaceName = "rgb",
    channel_weights: Weights = None,
    mask: Mask | None = None,
    counts: ColorCounts | None = None,
) -> CountedImage:
    """Count the colors of an image under a mask, unless `counts` has them already."""
    if counts is not None:
        counts = _widened(counts, _n_channels(image))
    return count_image(
        image.pixels,
        _channel_axis(image),
        None if mask is None else region_of(mask, image),
        color_space,
        image.has_alpha,
        channel_weights,
        counts=counts,
    )


def region_of(mask: Mask, image: ImageFile) -> Mask:
    """Return the pixels of an image that a mask means, or raise ValueError.

    The mask has the shape of the image, or that of its planes, in all of which it means
    the same.
    """
    shape = image.pixels.shape[: image.pixels.ndim - image.has_channels]
    if mask.shape not in (shape, shape[-2:]):
        msg = f"mask of shape {mask.shape} does not fit an image of shape {shape}"
        raise ValueError(msg)
    return np.broadcast_to(mask, shape)


def part_of(image: ImageFile, mask: Mask | None = None) -> Part:
    """Count the colors of an image that is to have a palette, or to share one."""
    n_channels = _n_channels(image)
    colors = "" if image.are_colors else f"{n_channels}-channel "
    region = None if mask is None else region_of(mask, image)
    try:
        counts = count_colors(
            image.pixels, channel_axis=_channel_axis(image), mask=region
        )
    except TooManyColorsError:
        counts = None
    kind = f"{colors}{image.pixels.dtype}"
    return Part(kind, n_channels, image.has_alpha, counts)


def count_parts(
    parts: Sequence[Part],
    read: Callable[[], Sequence[ImageFile]],
    recipe: Recipe,
    mask: Mask | None = None,
) -> CountedImage:
    """Put images of one kind together, which may mix gray, RGB and RGBA.

    `read` returns the images, and is called only if they have too many colors to count.
    """
    wanted = max(part.n_channels for part in parts)
    colors: Any = 0
    masks: Any = None
    try:
        for part in parts:
            if part.counts is None:
                raise TooManyColorsError
            colors += _widened(part.counts, wanted)
    except TooManyColorsError:
        images = read()
        colors = [_with_channels(i.pixels, wanted, i.has_channels) for i in images]
        if mask is not None:
            masks = [region_of(mask, image) for image in images]
    return count_image(
        colors,
        -1 if wanted > 1 else None,
        masks,
        recipe.color_space,
        any(part.has_alpha for part in parts),
        recipe.channel_weights,
    )


def errors_of(
    image: ImageFile, ks: Sequence[int], recipe: Recipe, mask: Mask | None = None
) -> list[tuple[float, float]]:
    """Return the squared error and the PSNR in dB for each number of colors."""
    counted = count_file(image, recipe.color_space, recipe.channel_weights, mask)
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
        fixed=_fixed_for(recipe.fixed, counted.layout),
    )


def _fixed_for(fixed: Array | None, layout: Layout) -> Array | None:
    """Return fixed colors, as a recipe has them, with the channels of an image."""
    if fixed is None:
        return None
    n_channels, first = layout.n_channels, fixed[0].tolist()
    if fixed.dtype != np.uint8:
        if fixed.shape[1] != n_channels:
            msg = (
                f"fixed must have {n_channels} numbers for each color, got "
                f"{'/'.join(map(str, first))}"
            )
            raise ValueError(msg)
    elif layout.dtype != np.uint8 or n_channels not in (1, 3, 3 + layout.has_alpha):
        example = "/".join(["0"] * n_channels)
        msg = (
            f"fixed must be numbers, such as {example}, for {n_channels}-channel "
            f"{layout.dtype} pixels, got #{bytes(fixed[0]).hex()}"
        )
        raise ValueError(msg)
    elif not layout.has_alpha:
        is_wrong = fixed[:, 3] < white_of(fixed.dtype)
        rule = "opaque for an image without opacity"
        if n_channels == 1 and not is_wrong.any():
            is_wrong = (fixed[:, :1] != fixed[:, 1:3]).any(axis=1)
            rule = "gray for a gray image"
        if is_wrong.any():
            wrong = bytes(fixed[is_wrong][0]).hex().removesuffix("ff")
            msg = f"fixed must be {rule}, got #{wrong}"
            raise ValueError(msg)
    fixed = fixed[:, :n_channels]
    return fixed[:, 0] if layout.is_gray else fixed


def _most_that_fit(
    fitted: Callable[[int], Compressed], least: int, most: int, limit: int
) -> Compressed:
    """Find the most colors, at least `least`, whose file takes no more than a limit.

    The number of colors is bisected, as if the size always grew with it. Now and then
    it shrinks, so more colors than are found may fit, but what is found always fits.
    """
    fewest, k, best, size = least, most, None, 0
    while least <= most:
        done = fitted(k)
        size = len(done.content)
        if size <= limit:
            best, least = done, k + 1
        else:
            most = k - 1
        k = (least + most + 1) // 2
    if best is None:
        colors = "a single color takes" if fewest == 1 else f"{fewest:,} colors take"
        msg = f"{colors} {size:,} bytes, more than the {limit:,} allowed"
        raise ValueError(msg)
    return best


def _encoded(
    image: ImageFile,
    name: str,
    counted: CountedImage,
    palette: Array | FittedImage,
    recipe: Recipe,
    step: Callable[[str], object],
) -> Compressed:
    """Map a counted image to a palette, and encode it."""
    step("mapping")
    fit = palette.result if isinstance(palette, FittedImage) else None
    given = palette.result.palette if isinstance(palette, FittedImage) else palette
    keep = recipe.keep_palette
    complete = _with_clear_color(image, given)
    chosen = palette if complete is given else complete
    mapped = map_image(
        counted, chosen, dither=recipe.dither, dither_strength=recipe.dither_strength
    )
    step("compressing")
    if _is_indexed(name, image, mapped.palette):
        labels, colors = mapped.labels, mapped.palette
        if not keep:
            labels, colors = _labels_for(name, image, mapped)
        check_fit(name, image, colors)
        if colors.ndim == 1:
            colors = _with_channels(colors, 3, False)
        metadata = without_axis(_of_color(image.metadata), "S")
        content = encode_indexed(
            name,
            labels,
            colors,
            metadata=metadata,
            keep_order=keep,
            effort=recipe.effort,
        )
    elif keep:
        rule = "a TIFF file has a palette of up to 256 RGB colors without opacity"
        msg = f"cannot write {name}: {rule}; choose .png"
        raise ValueError(msg)
    else:
        content = encode_image(name, image._replace(pixels=_painted(image, mapped)))
    n_colors = int(np.count_nonzero(mapped.counts))
    numbers = counted.n_colors, n_colors, mapped.mse
    return Compressed(content, image, counted, mapped, fit, *numbers)


def _labels_for(
    name: str, image: ImageFile, mapped: MappedImage
) -> tuple[Labels, Array]:
    """Return labels and palette, without unused colors where not all would fit."""
    n_axes = image.pixels.ndim - image.has_channels
    if palette_misfit(format_of(name), n_axes, mapped.palette) is None:
        return mapped.labels, mapped.palette
    return used_colors(mapped.labels, mapped.palette)


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
        raise Unfit(msg, "dtype")
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
    """Describe gray levels that become RGB, or what is RGB already."""
    return metadata._replace(icc_profile=rgb_profile(metadata.icc_profile))


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
