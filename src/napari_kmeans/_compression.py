"""Fit, map and encode one image: a recipe in, the bytes of a file and its numbers out.

Read `compress` first: it counts the colors of an image once, finds a palette or takes
one that is given, labels the pixels, and encodes them in the format of a file name.
`fit_palette` and `fit_shared` stop at the palette, `errors_of` looks only at errors,
and `count_image_file` at colors. Reading and writing files is left to the caller; what
formats hold is known to `_files`, and k-means to `_core`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._core.arguments import MAX_COLORS
from napari_kmeans._core.counted_image import (
    FittedImage,
    color_image,
    count_image,
    fit_image,
    fit_quality,
    map_image,
    psnr_of,
)
from napari_kmeans._core.quality import premultiplied, white_of
from napari_kmeans._core.quantize import error_curve, kmeans_palette
from napari_kmeans._files.indexed import (
    INDEXED_SUFFIXES,
    MAX_FILE_COLORS,
    encode_indexed,
)
from napari_kmeans._files.metadata import has_channel_axis, without_axis
from napari_kmeans._files.read import ImageFile, check_fit, decode_image, encode_image
from napari_kmeans._files.tiff import TIFF_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kmeans._core.arguments import Dither, Init
    from napari_kmeans._core.color_counts import ColorCounts
    from napari_kmeans._core.counted_image import CountedImage, MappedImage
    from napari_kmeans._core.quantize import Callback, PaletteResult
    from napari_kmeans._core.spaces import SpaceName
    from napari_kmeans._files.metadata import ImageMetadata

__all__ = [
    "Compressed",
    "Recipe",
    "compress",
    "count_image_file",
    "errors_of",
    "fit_palette",
    "fit_shared",
    "mean_squared_error",
    "pixel_kind",
    "seen",
]

# Formats without palette that give back what they were given.
_LOSSLESS_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".webp", ".bmp")
# Formats that hold no more than `MAX_FILE_COLORS`, whatever the number of colors.
_SHORT_SUFFIXES = (".png", ".gif")
# Pixels whose errors are summed at once.
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Recipe:
    """How images are to be reduced, in the words of the public functions."""

    k: int = 16
    iters: int = 10
    init: Init = "auto"
    seed: int | None = None
    color_space: SpaceName = "rgb"
    dither: Dither = None
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
    # What readers of a format with losses see; None where that is what was mapped.
    decoded: NDArray[Any] | None
    # Distinct colors before and after, or None if they are too many to count.
    n_colors_before: int | None
    n_colors: int | None
    # Squared error of the file, summed over channels, mean over pixels, and in dB.
    mse: float
    psnr: float
    # Lloyd iterations, and whether they ended by themselves; None for a given palette.
    n_iter: int | None = None
    converged: bool | None = None


class _Trial(NamedTuple):
    """A file whose numbers are not known yet."""

    content: bytes
    mapped: MappedImage
    fit: PaletteResult | None


def compress(
    image: ImageFile,
    name: str,
    recipe: Recipe,
    *,
    palette: NDArray[Any] | None = None,
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
        image, palette = _matched(image, palette)
    check_fit(name, image)
    counted = count_image_file(image, recipe.color_space, counts)
    if palette is not None:
        _check_length(name, palette)
        mapped = map_image(counted, palette, dither=recipe.dither)
        trial = _Trial(_encoded(image, name, mapped), mapped, None)
    elif recipe.max_bytes is None:
        trial = _tried(image, name, counted, recipe, callback)
    else:
        trial = _largest_that_fits(image, name, counted, recipe, callback)
    return _measured(image, name, counted, trial)


def seen(done: Compressed) -> NDArray[Any]:
    """Return the pixels that readers of the file see."""
    if done.decoded is not None:
        return done.decoded
    return _painted(done.image, done.mapped)


def count_image_file(
    image: ImageFile,
    color_space: SpaceName = "rgb",
    counts: ColorCounts | None = None,
) -> CountedImage:
    """Count the colors of an image, unless `counts` has them already."""
    return count_image(
        image.pixels,
        channel_axis=-1 if image.has_channels else None,
        color_space=color_space,
        alpha=image.has_alpha,
        counts=counts,
    )


def fit_palette(
    image: ImageFile, recipe: Recipe, callback: Callback | None = None
) -> PaletteResult:
    """Find the palette of an image.

    Raises ValueError if no palette reaches the quality that the recipe asks for.
    """
    counted = count_image_file(image, recipe.color_space)
    return _fitted(counted, recipe, MAX_COLORS, callback).result


def fit_shared(images: Sequence[ImageFile], recipe: Recipe) -> PaletteResult:
    """Find one palette for images of one kind, which may mix gray, RGB and RGBA."""
    wanted = max(_n_channels(image) for image in images)
    pixels = [image.pixels for image in images]
    if wanted > 1:
        pixels = [_with_channels(i.pixels, wanted, i.has_channels) for i in images]
    return kmeans_palette(
        pixels,
        recipe.k,
        recipe.iters,
        channel_axis=-1 if wanted > 1 or images[0].has_channels else None,
        color_space=recipe.color_space,
        alpha=any(image.has_alpha for image in images),
        init=recipe.init,
        rng=recipe.seed,
    )


def pixel_kind(image: ImageFile) -> str:
    """Name what images that can share a palette have in common."""
    n_channels = _n_channels(image)
    colors = "" if n_channels in (1, 3, 4) else f"{n_channels}-channel "
    return f"{colors}{image.pixels.dtype}"


def errors_of(image: ImageFile, ks: Sequence[int]) -> list[tuple[float, float]]:
    """Return the squared error and the PSNR in dB for each number of colors."""
    errors = error_curve(
        image.pixels,
        ks,
        channel_axis=-1 if image.has_channels else None,
        alpha=image.has_alpha,
    )
    counted = count_image_file(image)
    return [(float(error), psnr_of(counted, float(error))) for error in errors]


def mean_squared_error(image: ImageFile, pixels: NDArray[Any]) -> float:
    """Return the squared error, summed over channels, mean over finite pixels.

    With alpha, it is that of premultiplied colors, over pixels that can be seen.
    """
    before, after = (p.reshape(-1, _n_channels(image)) for p in (image.pixels, pixels))
    white = white_of(image.pixels.dtype) if image.has_alpha else None
    total, n_pixels = 0.0, 0
    for start in range(0, len(before), _BLOCK):
        ends = [some[start : start + _BLOCK] for some in (before, after)]
        if white is not None:
            visible = ends[0][:, -1] > 0
            ends = [premultiplied(some[visible], white) for some in ends]
        # Infinite minus infinite is no error.
        with np.errstate(invalid="ignore"):
            difference = ends[1].astype(np.float64) - ends[0]
        finite = np.isfinite(difference).all(axis=1)
        total += float(np.square(difference[finite]).sum())
        n_pixels += int(np.count_nonzero(finite))
    return total / max(n_pixels, 1)


def _tried(
    image: ImageFile,
    name: str,
    counted: CountedImage,
    recipe: Recipe,
    callback: Callback | None,
) -> _Trial:
    """Find a palette for a counted image, map the image to it, and encode that."""
    most = MAX_COLORS
    if _suffix(name) in _SHORT_SUFFIXES:
        most = MAX_FILE_COLORS
        if min(recipe.k, counted.n_colors or recipe.k) > most:
            msg = (
                f"k must be at most {most} for a {_suffix(name)} file, "
                f"got {recipe.k}; choose .tif"
            )
            raise ValueError(msg)
    fitted = _fitted(counted, recipe, most, callback)
    palette = _with_clear_color(image, fitted.result.palette)
    is_whole = palette is fitted.result.palette
    mapped = map_image(counted, fitted if is_whole else palette, dither=recipe.dither)
    return _Trial(_encoded(image, name, mapped), mapped, fitted.result)


def _fitted(
    counted: CountedImage, recipe: Recipe, most: int, callback: Callback | None
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


def _largest_that_fits(
    image: ImageFile,
    name: str,
    counted: CountedImage,
    recipe: Recipe,
    callback: Callback | None,
) -> _Trial:
    """Find the most colors whose file takes no more bytes than allowed.

    The number of colors is bisected, as if the size always grew with it. Now and then
    it shrinks, so more colors than are found may fit, but what is found always fits.
    """
    limit, best, size = recipe.max_bytes or 0, None, 0
    least, most = 1, min(recipe.k, counted.n_colors or recipe.k, MAX_FILE_COLORS)
    k = most
    while least <= most:
        trial = _tried(image, name, counted, replace(recipe, k=k), callback)
        size = len(trial.content)
        if size <= limit:
            best, least = trial, k + 1
        else:
            most = k - 1
        k = (least + most + 1) // 2
    if best is None:
        msg = f"a single color takes {size:,} bytes, more than the {limit:,} allowed"
        raise ValueError(msg)
    return best


def _encoded(image: ImageFile, name: str, mapped: MappedImage) -> bytes:
    """Encode an image in the colors that it is mapped to."""
    palette = mapped.palette
    if not _is_indexed(name, image, palette):
        pixels = _painted(image, mapped)
        return encode_image(name, image._replace(pixels=pixels))
    _check_opacity(name, palette)
    if palette.ndim == 1:
        palette = np.repeat(palette[:, np.newaxis], 3, axis=1)
    return encode_indexed(
        name,
        mapped.labels,
        palette,
        metadata=without_axis(_of_color(image.metadata), "S"),
        keep_order=False,
    )


def _painted(image: ImageFile, mapped: MappedImage) -> NDArray[Any]:
    """Return the pixels of an image in the colors that it is mapped to."""
    return color_image(
        mapped.labels,
        mapped.palette,
        image.pixels,
        channel_axis=-1 if image.has_channels else None,
        alpha=image.has_alpha,
    )


def _measured(
    image: ImageFile, name: str, counted: CountedImage, trial: _Trial
) -> Compressed:
    """Put together a file and its numbers."""
    mapped, decoded = trial.mapped, None
    n_colors: int | None = int(np.count_nonzero(mapped.counts))
    mse = mapped.mse
    is_lossless = _suffix(name) in _LOSSLESS_SUFFIXES
    if not (is_lossless or _is_indexed(name, image, mapped.palette)):
        # A format with losses of its own, such as JPEG, adds colors and error.
        decoded = _with_channels_of(image, decode_image(trial.content))
        n_colors = count_image_file(image._replace(pixels=decoded)).n_colors
        mse = mean_squared_error(image, decoded)
    return Compressed(
        trial.content,
        image,
        mapped,
        decoded,
        counted.n_colors,
        n_colors,
        mse,
        psnr_of(counted, mse),
        None if trial.fit is None else trial.fit.n_iter,
        None if trial.fit is None else trial.fit.converged,
    )


def _check_length(name: str, palette: NDArray[Any]) -> None:
    """Raise ValueError if a file cannot hold so many colors."""
    if _suffix(name) in _SHORT_SUFFIXES and len(palette) > MAX_FILE_COLORS:
        msg = (
            f"a {_suffix(name)} file holds {MAX_FILE_COLORS} colors, "
            f"not {len(palette)}; choose .tif"
        )
        raise ValueError(msg)


def _matched(image: ImageFile, palette: NDArray[Any]) -> tuple[ImageFile, NDArray[Any]]:
    """Bring an image and a palette to one number of channels, by default opaque."""
    if palette.dtype != image.pixels.dtype:
        msg = (
            f"palette of {palette.dtype} colors does not fit an image of "
            f"{image.pixels.dtype} pixels, as values are never scaled; "
            "find one in such an image, and write it as .json or .npy"
        )
        raise ValueError(msg)
    of_palette = palette.shape[1] if palette.ndim == 2 else 1
    of_image = _n_channels(image)
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
    """Add a clear color to a palette that an image needs for its transparent pixels."""
    if not image.has_alpha or image.pixels[..., -1].all() or not palette[:, -1].all():
        return palette
    return np.concatenate([palette, np.zeros_like(palette[:1])])


def _with_channels_of(image: ImageFile, written: ImageFile) -> NDArray[Any]:
    """Return what was written with the channels of what it was made from."""
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
    suffix = _suffix(name)
    if suffix not in INDEXED_SUFFIXES or len(palette) > MAX_FILE_COLORS:
        return False
    if suffix not in TIFF_SUFFIXES:
        return True
    # Gray levels and channels of a microscope are measurements: they stay readable.
    is_color = image.has_channels and image.metadata.axes.endswith("S")
    return is_color and palette.shape[1] == 3 and palette.dtype in (np.uint8, np.uint16)


def _check_opacity(name: str, palette: NDArray[Any]) -> None:
    """Raise ValueError if a GIF file would have to hold more than one clear color."""
    if _suffix(name) == ".gif" and palette.ndim == 2 and palette.shape[1] == 4:
        opacities = np.sort(palette[:, 3])
        if opacities[0] != 0 or (opacities[1:] != 255).any():
            msg = (
                f"cannot write {name}: half-transparent colors do not fit into a .gif "
                "file, choose .png, or .tif for a stack"
            )
            raise ValueError(msg)


def _n_channels(image: ImageFile) -> int:
    """Return the number of channels, 1 for an image without a channel axis."""
    return int(image.pixels.shape[-1]) if image.has_channels else 1


def _suffix(name: str) -> str:
    """Return the suffix of a file name in lower case."""
    start = name.rfind(".")
    return name[start:].lower() if start >= 0 else ""
