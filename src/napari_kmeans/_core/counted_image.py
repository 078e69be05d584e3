"""An image that was counted once, and every step from it to the image in few colors.

`count_image` reads the pixels; what it returns is handed on: `fit_image` or
`fit_quality` finds a palette, `map_image` labels every pixel with its nearest color,
and `color_image` paints labels. None of them counts again, and what the fit knows (the
label of each color, the error) is not searched or measured again. The public functions
and both frontends are made of these steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._core.arguments import MAX_COLORS
from napari_kmeans._core.color_counts import count_colors
from napari_kmeans._core.mapping import (
    color_pixels,
    keep_uncounted,
    move_channels,
)
from napari_kmeans._core.quality import peak_ratio, premultiplied, signal_peak, white_of
from napari_kmeans._core.quantize import choose_k, kmeans_palette, map_to_palette

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_kmeans._core.arguments import Dither, Init, Rng
    from napari_kmeans._core.color_counts import ColorCounts
    from napari_kmeans._core.quantize import Callback, PaletteResult
    from napari_kmeans._core.spaces import SpaceName

__all__ = [
    "CountedImage",
    "FittedImage",
    "MappedImage",
    "color_image",
    "count_image",
    "fit_image",
    "fit_quality",
    "map_image",
    "psnr_of",
]


class CountedImage(NamedTuple):
    """An image, and what one count found in it."""

    image: NDArray[Any]
    channel_axis: int | None
    mask: NDArray[np.bool_] | None
    color_space: SpaceName
    alpha: bool
    # Distinct colors of all finite pixels, or None if they are too many to count.
    n_colors: int | None


class FittedImage(NamedTuple):
    """A palette that was fitted to a counted image."""

    result: PaletteResult


class MappedImage(NamedTuple):
    """An image in palette colors."""

    # (...) of uint8 or uint16, as `map_to_palette` returns them.
    labels: NDArray[np.unsignedinteger[Any]]
    # (K, C) or (K,), in the dtype of the image.
    palette: NDArray[Any]
    # Finite pixels (K,) of each color.
    counts: NDArray[np.int64]
    # As `PaletteResult.mse`, over all finite pixels that can be seen.
    mse: float


def count_image(
    image: ArrayLike,
    *,
    channel_axis: int | None = -1,
    mask: ArrayLike | None = None,
    color_space: SpaceName = "rgb",
    alpha: bool = False,
    counts: ColorCounts | None = None,
) -> CountedImage:
    """Check an image and count its colors, unless `counts` has them already."""
    array = np.asarray(image)
    channels_last = (
        array[..., np.newaxis]
        if channel_axis is None
        else np.moveaxis(array, channel_axis, -1)
    )
    counted = counts or count_colors(channels_last)
    n_colors = None if counted is None else len(counted.colors)
    masked = None if mask is None else np.asarray(mask)
    return CountedImage(array, channel_axis, masked, color_space, alpha, n_colors)


def fit_image(
    counted: CountedImage,
    k: int = 16,
    iters: int = 10,
    *,
    init: Init = "auto",
    rng: Rng = None,
    callback: Callback | None = None,
    fixed: ArrayLike | None = None,
) -> FittedImage:
    """Find a palette of at most `k` colors, as `kmeans_palette` does."""
    return FittedImage(
        kmeans_palette(
            counted.image,
            k,
            iters,
            channel_axis=counted.channel_axis,
            mask=counted.mask,
            color_space=counted.color_space,
            alpha=counted.alpha,
            init=init,
            rng=rng,
            callback=callback,
            fixed=fixed,
        )
    )


def fit_quality(
    counted: CountedImage,
    *,
    psnr: float | None = None,
    mse: float | None = None,
    max_k: int = MAX_COLORS,
    iters: int = 10,
) -> FittedImage:
    """Find the fewest colors that reach a quality, as `choose_k` does."""
    return FittedImage(
        choose_k(
            counted.image,
            psnr=psnr,
            mse=mse,
            max_k=max_k,
            iters=iters,
            channel_axis=counted.channel_axis,
            mask=counted.mask,
            color_space=counted.color_space,
            alpha=counted.alpha,
        )
    )


def map_image(
    counted: CountedImage,
    palette: ArrayLike | FittedImage,
    *,
    dither: Dither = None,
) -> MappedImage:
    """Label each pixel with its nearest color of a palette, and measure the error."""
    colors = np.asarray(
        palette.result.palette if isinstance(palette, FittedImage) else palette
    )
    labels = map_to_palette(
        counted.image,
        colors,
        channel_axis=counted.channel_axis,
        color_space=counted.color_space,
        alpha=counted.alpha,
        dither=dither,
    )
    before = counted.image[..., np.newaxis]
    if counted.channel_axis is not None:
        before = np.moveaxis(counted.image, counted.channel_axis, -1)
    finite = np.isfinite(before).all(axis=-1)
    counts = np.bincount(labels[finite], minlength=len(colors))
    seen = finite & (before[..., -1] > 0) if counted.alpha else finite
    first, second = before[seen], colors.reshape(len(colors), -1)[labels[seen]]
    if counted.alpha:
        white = white_of(counted.image.dtype)
        first, second = premultiplied(first, white), premultiplied(second, white)
    difference = first.astype(np.float64) - second
    mse = float(np.square(difference).sum()) / max(1, len(difference))
    return MappedImage(labels, colors, counts, mse)


def color_image(
    labels: NDArray[np.unsignedinteger[Any]],
    palette: NDArray[Any],
    image: NDArray[Any],
    *,
    channel_axis: int | None = -1,
    alpha: bool = False,
) -> NDArray[Any]:
    """Return `image` in the colors that `labels` (...) are indices of.

    Pixels that are not finite, or fully transparent, stay as they are.
    """
    if channel_axis is None:
        pixels, colors = image[..., np.newaxis], palette[:, np.newaxis]
    else:
        pixels, colors = np.moveaxis(image, channel_axis, -1), palette
    colored = color_pixels(labels, colors)
    keep_uncounted(colored, pixels, alpha)
    if channel_axis is None:
        return colored[..., 0]
    return move_channels(colored, channel_axis)


def psnr_of(counted: CountedImage, mse: float) -> float:
    """Return the peak signal-to-noise ratio in dB, as `choose_k` defines it."""
    image = counted.image
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    peak = signal_peak(image.dtype, float(finite.min()), float(finite.max()))
    axis = counted.channel_axis
    return peak_ratio(mse, peak, 1 if axis is None else image.shape[axis])
