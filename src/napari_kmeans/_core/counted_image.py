"""An image that is counted once, and every step from it to the image in few colors.

`count_image` reads the pixels. The counted image is handed on: `weigh_channels` says
what each of its channels counts, `fit_image` or `fit_quality` finds a palette,
`map_image` labels every pixel with its nearest color and measures the error,
`color_image` paints labels. None of them counts again, and what the fit knows (the
label of each color, the error) is not searched or measured again. Of a dask array,
labels and colors are lazy, and all numbers are found when asked for. The public
functions and both frontends are made of these steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_kmeans._core import arguments, mapping, quality, spaces
from napari_kmeans._core.arguments import (
    MAX_COLORS,
    Dither,
    Dithering,
    Images,
    Init,
    Masks,
    Rng,
    Weights,
)
from napari_kmeans._core.arrays import Array, Floats, Labels, Mask
from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._core.chunks import fold_chunks, map_pairs
from napari_kmeans._core.color_counts import (
    ColorCounts,
    count_pixels,
    trusted_counts,
)
from napari_kmeans._core.color_tables import is_tabular, paint
from napari_kmeans._core.deviations import standard_deviations
from napari_kmeans._core.fewest import fit_fewest
from napari_kmeans._core.fitting import (
    Callback,
    FitOptions,
    FittedImage,
    fit_palette,
    fit_source,
)
from napari_kmeans._core.measuring import means_of, sum_labeled
from napari_kmeans._core.outliers import set_apart
from napari_kmeans._core.pixels import CountedImage, added, framing_blocks, is_fitted
from napari_kmeans._core.spaces import Layout, SpaceName

__all__ = [
    "MappedImage",
    "Tally",
    "color_errors",
    "color_image",
    "count_image",
    "curve_of",
    "fit_image",
    "fit_options",
    "fit_quality",
    "label_counted",
    "map_image",
    "psnr_of",
    "tally_image",
    "weigh_channels",
    "whole_image",
]


class MappedImage(NamedTuple):
    """An image in palette colors."""

    # (...) of uint8 or uint16, as `map_to_palette` returns them: lazy if the image is.
    labels: Labels
    # (K, C) or (K,), in the dtype that it was given or fitted in.
    palette: Array
    # Finite pixels (K,) of each color under the mask, and their mean values (K, C) in
    # the image's units, NaN where there is no pixel.
    counts: NDArray[np.int64]
    means: Floats
    # As `PaletteResult.mse`, over the pixels under the mask.
    mse: float


class Tally(NamedTuple):
    """What a `MappedImage` says, without its labels."""

    palette: Array
    counts: NDArray[np.int64]
    means: Floats
    mse: float


def count_image(
    image: Images | ColorCounts,
    channel_axis: int | None = -1,
    mask: Masks = None,
    color_space: SpaceName = "rgb",
    alpha: bool = False,
    channel_weights: Weights = None,
    *,
    counts: ColorCounts | CountedImage | None = None,
    with_outside: bool = True,
) -> CountedImage:
    """Check an image, or several that are to share a palette, and count the colors.

    `ColorCounts` in the place of an image can be fitted, but there is nothing to map.
    With `counts`, those of an image that was counted before, it is not counted again;
    those of a `CountedImage` were counted under the same mask, and keep their layout:
    see `weigh_channels`.
    The pixels outside of a mask are counted in the same pass if they will be mapped
    (`with_outside`).
    """
    if isinstance(image, ColorCounts):
        if mask is not None:
            msg = "mask must be None for ColorCounts: count the pixels under the mask"
            raise ValueError(msg)
        counts, images = image, []
        channel_axis = None if counts.colors.ndim == 1 else -1
    else:
        images = arguments.checked_images(image, channel_axis)
        masks = arguments.checked_masks(mask, image, images)
    if isinstance(counts, CountedImage):
        return dataclasses.replace(counts, images=images, masks=masks)
    if counts is None:
        colors = images[0]
    else:
        colors = counts.colors.reshape(len(counts.colors), -1)
    layout = arguments.checked_layout(colors, channel_axis, color_space, alpha)
    weights = arguments.checked_weights(channel_weights, layout)
    if counts is None:
        counted = _counted(images, masks, layout, with_outside)
    else:
        known = trusted_counts(colors, counts.counts)
        counted = CountedImage(images, [None] * len(images), layout, known)
    return weigh_channels(counted, weights)


def weigh_channels(counted: CountedImage, channel_weights: Weights) -> CountedImage:
    """Return a counted image whose channels count as they do for `kmeans_palette`."""
    layout = counted.layout
    weights = arguments.checked_weights(channel_weights, layout)
    if weights == "std":
        inverse = [1 / deviation for deviation in standard_deviations(counted)]
        weights = arguments.checked_weights(inverse, layout, words=())
    return dataclasses.replace(counted, layout=layout._replace(weights=weights))


def whole_image(counted: CountedImage) -> CountedImage:
    """Return a counted image as if it was counted without its masks.

    It is counted once more where the pixels outside of these were not.
    """
    masks: list[Mask | None] = [None] * len(counted.images)
    inside, outside = counted.counted, counted.outside
    if inside is None or outside is None:
        return _counted(counted.images, masks, counted.layout, with_outside=False)
    everything = trusted_counts(inside.colors, inside.counts.astype(np.int64) + outside)
    return CountedImage(counted.images, masks, counted.layout, everything)


def _counted(
    images: list[Array], masks: list[Mask | None], layout: Layout, with_outside: bool
) -> CountedImage:
    # Only a map by a table of colors makes use of the pixels outside.
    with_outside &= is_tabular(layout.dtype, layout.n_channels)
    with_outside &= any(mask is not None for mask in masks)
    found = count_pixels(images, masks, with_outside=with_outside)
    if found is None:
        return CountedImage(images, masks, layout)
    colors, counts = found
    arguments.require_pixels(masks, int(counts[:, 0].sum()))
    counted = trusted_counts(colors, counts[:, 0])
    outside = counts[:, 1] if with_outside else None
    return CountedImage(images, masks, layout, counted, outside)


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
    options = fit_options(counted, k, iters, init, rng, callback, fixed)
    return fit_palette(fit_source(counted), options)


def fit_options(
    counted: CountedImage,
    k: int,
    iters: int,
    init: Init = "auto",
    rng: Rng = None,
    callback: Callback | None = None,
    fixed: ArrayLike | None = None,
) -> FitOptions:
    """Check how a palette is to be fitted, and that there are colors to fit."""
    layout = counted.layout
    arguments.check_white("image", framing_blocks(counted), layout)
    k = arguments.checked_integer("k", k, 1, MAX_COLORS)
    return FitOptions(
        k,
        arguments.checked_integer("iters", iters, 0, None),
        arguments.checked_init(init, k, layout, framing_blocks(counted)),
        arguments.checked_rng(rng),
        arguments.checked_callback(callback),
        arguments.checked_fixed(fixed, k, layout),
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
    if (psnr is None) == (mse is None):
        msg = f"either psnr or mse must be given, got psnr={psnr!r} and mse={mse!r}"
        raise ValueError(msg)
    name, value = ("psnr", psnr) if mse is None else ("mse", mse)
    target = arguments.checked_number(name, value)
    max_k = arguments.checked_integer("max_k", max_k, 1, MAX_COLORS)
    options = fit_options(counted, 1, iters)
    most = target
    if mse is None:
        # Products of floats become infinite, where powers raise.
        amplitude = _peak(counted) * 10.0 ** (-target / 20)
        most = float(counted.layout.n_channels * amplitude * amplitude)
        if most == np.inf:
            msg = (
                f"psnr={target:g} cannot be measured, as float64 does not hold the "
                "squares of values this large; divide the image first"
            )
            raise ValueError(msg)
    # No error at all takes every color.
    least = 1 if most > 0 else _n_seen(counted)
    fitted = None
    if least <= max_k:
        fitted = fit_fewest(counted, options._replace(k=least), most, max_k)
    if fitted is None:
        msg = f"{name}={target:g} is out of reach of {max_k} colors"
        raise ValueError(msg)
    return fitted


def curve_of(counted: CountedImage, ks: ArrayLike, *, iters: int = 10) -> Floats:
    """Return the error for many numbers of colors, as `error_curve` does."""
    numbers = arguments.plain_array("ks", ks)
    if numbers.ndim != 1:
        msg = f"ks must be one-dimensional, got shape {numbers.shape}"
        raise ValueError(msg)
    check = arguments.checked_integer
    wanted = [check("ks", k, 1, MAX_COLORS) for k in numbers.tolist()]
    options = fit_options(counted, 1, iters)
    distinct, place = np.unique(np.array(wanted, dtype=np.intp), return_inverse=True)
    source = fit_source(counted)
    errors = [
        fit_palette(source, options._replace(k=k)).result.mse for k in distinct.tolist()
    ]
    return np.asarray(np.minimum.accumulate(errors)[place], dtype=np.float64)


def _n_seen(counted: CountedImage) -> int:
    """Count the colors that are fitted, or return one more than a palette may have."""
    if counted.counted is None:
        return MAX_COLORS + 1
    return max(1, int(np.count_nonzero(is_fitted(counted.counted, counted.layout))))


def _peak(counted: CountedImage) -> float:
    """Return the peak of the pixels that are fitted, but for far colors."""
    layout, low, high = counted.layout, 0.0, 1.0
    framing = list(framing_blocks(counted)) if layout.dtype.kind in "if" else []
    while layout.dtype.kind == "f" and framing:
        space = spaces.space_of(layout, partial(iter, framing))
        if (apart := set_apart(counted, space)) is None:
            break
        counted = apart.rest
        framing = list(framing_blocks(counted))
    if framing:
        low = min(float(some.min()) for some in framing)
        high = max(float(some.max()) for some in framing)
    return quality.signal_peak(layout.dtype, low, high)


def psnr_of(counted: CountedImage, mse: float) -> float:
    """Return the peak signal-to-noise ratio in dB, as `choose_k` defines it."""
    return quality.peak_ratio(mse, _peak(counted), counted.layout.n_channels)


def map_image(
    counted: CountedImage,
    palette: ArrayLike | FittedImage,
    *,
    dither: Dither = None,
    dither_strength: float = 1.0,
) -> MappedImage:
    """Label each pixel of a single image with a palette color, and measure these.

    Where the palette is the one that was fitted to the image, labels and error are
    those that the fit knows. A lazy image is read once more if it is dithered, or its
    colors were too many to count.
    """
    layout, image = counted.layout, counted.images[0]
    fitted, colors = _checked_colors(palette, layout)
    dithering = arguments.checked_dither(dither, dither_strength)
    entries = None if dithering is not None else _entries(counted, colors, fitted)
    labels = _labels(counted, colors, entries, dithering)
    known = fitted.result.mse if fitted is not None and dithering is None else None
    if entries is not None and counted.counted is not None:
        tally = _tallied(counted.counted, colors, entries, layout, known)
    else:
        tally = _measured(image, counted.masks[0], labels, colors, layout)
        tally = tally if known is None else tally._replace(mse=known)
    return MappedImage(labels, *tally)


def tally_image(
    counted: CountedImage, palette: ArrayLike | FittedImage
) -> Tally | None:
    """Measure what `map_image` would without dither, from counts alone.

    Returns None where colors were too many to count.
    """
    layout, counts = counted.layout, counted.counted
    fitted, colors = _checked_colors(palette, layout)
    if counts is None:
        return None
    entries = _counted_entries(counts, colors, layout, fitted)
    known = None if fitted is None else fitted.result.mse
    return _tallied(counts, colors, entries, layout, known)


def color_errors(
    counted: CountedImage, palette: ArrayLike, labels: Labels | None = None
) -> Floats | None:
    """Return the mean squared error (K,) of the pixels of each palette color.

    It is that of the nearest colors, and None where colors were too many to count; with
    the labels of a single image without a mask, it is that of these. It is NaN where a
    color has no pixel that is seen.
    """
    layout, counts = counted.layout, counted.counted
    _, colors = _checked_colors(palette, layout)
    n = len(colors)
    blocks: Iterable[tuple[Array, Array, Array]]
    if labels is not None:
        sums = np.zeros(n, dtype=np.int64), np.zeros(colors.shape)
        found = sum_labeled(counted.images, [labels], *sums)
        blocks = ((some, label, np.ones(len(some))) for some, label in found)
    elif counts is not None:
        entries = _counted_entries(counts, colors, layout, None)
        blocks = [(counts.colors, entries, counts.counts)]
    else:
        return None
    totals, errors = np.zeros((2, n))
    for some, label, pixels in blocks:
        seen = quality.are_seen(some, layout.has_alpha)
        some, label, pixels = some[seen], label[seen], pixels[seen]
        squared = quality.squared_errors(some, colors[label], layout.has_alpha)
        totals += np.bincount(label, pixels, n)
        with np.errstate(over="ignore"):
            errors += np.bincount(label, squared * pixels, n)
    with np.errstate(invalid="ignore"):
        return np.asarray(errors / totals)


def _checked_colors(
    palette: ArrayLike | FittedImage, layout: Layout
) -> tuple[FittedImage | None, Array]:
    """Return a fit, if it is one, and the colors (K, C)."""
    if isinstance(palette, FittedImage):
        return palette, arguments.checked_palette(palette.result.palette, layout)
    return None, arguments.checked_palette(palette, layout)


def label_counted(
    counted: CountedImage,
    palette: Array,
    fitted: FittedImage | None = None,
    dither: Dither = None,
) -> Labels:
    """Label each pixel of a single image with a color of a palette (K, C) or (K,).

    Labels that the fit of the palette knows are not searched again.
    """
    colors, entries = palette.reshape(len(palette), -1), None
    if dither is None and not arguments.is_lazy(counted.images[0]):
        entries = _entries(counted, colors, fitted)
    return _labels(counted, colors, entries, arguments.checked_dither(dither))


def _entries(
    counted: CountedImage, palette: Array, fitted: FittedImage | None
) -> Array | None:
    """Return the labels of the counted colors, if these tell those of the pixels."""
    layout, image, counts = counted.layout, counted.images[0], counted.counted
    is_told = is_tabular(layout.dtype, layout.n_channels)
    if arguments.is_lazy(image):
        is_told = counted.masks[0] is None or counted.outside is not None
    if counts is None or not is_told:
        return None
    entries = _counted_entries(counts, palette, layout, fitted)
    if arguments.is_lazy(image):
        mapping.remember_labels(counts.colors, entries, palette, layout)
    return entries


def _counted_entries(
    counts: ColorCounts,
    palette: Array,
    layout: Layout,
    fitted: FittedImage | None,
) -> Array:
    """Return the labels of the counted colors of an image."""
    colors = counts.colors
    entries = np.zeros(len(colors), mapping.label_type(len(palette)))
    unknown = np.ones(len(colors), dtype=bool)
    if fitted is not None and fitted.labels is not None:
        unknown = ~is_fitted(counts, layout)
        entries[~unknown] = fitted.labels
    space = mapping.space_for(colors, layout, counts)
    if space is not None and unknown.any():
        entries[unknown] = mapping.label_colors(colors[unknown], palette, space)
    return entries


def _labels(
    counted: CountedImage,
    palette: Array,
    entries: Array | None,
    dither: Dithering | None,
) -> Labels:
    """Return the labels of an image, by those of its counted colors if these tell."""
    layout, image, counts = counted.layout, counted.images[0], counted.counted
    if arguments.is_lazy(image):
        whole = counts if counted.masks[0] is None else None
        return mapping.label_lazily(image, palette, layout, dither, whole)
    known = None
    if counts is not None and is_tabular(layout.dtype, layout.n_channels):
        known = counts.colors
    if known is None or entries is None:
        return mapping.label_image(image, known, palette, layout, dither)
    return paint(image, known, entries)


def _tallied(
    counted: ColorCounts,
    palette: Array,
    entries: Array,
    layout: Layout,
    mse: float | None,
) -> Tally:
    """Measure counted colors (n, C) by their entries (n,) in a palette (K, C).

    The error is measured unless it is known.
    """
    colors, pixels = counted.colors, counted.counts.astype(np.float64)
    totals = np.bincount(entries, pixels, len(palette))
    means = np.empty((len(palette), layout.n_channels))
    is_float = layout.dtype.kind == "f"
    with np.errstate(divide="ignore", invalid="ignore"):
        # Sums of the largest floats do not fit float64, those of integers are exact.
        shares = pixels / totals[entries] if is_float else pixels
        for channel in range(layout.n_channels):
            checkpoint()
            values = colors[:, channel].astype(np.float64)
            means[:, channel] = np.bincount(entries, values * shares, len(palette))
        means /= (totals > 0 if is_float else totals)[:, np.newaxis]
    if mse is None:
        checkpoint()
        others, has_alpha = palette[entries], layout.has_alpha
        mse = quality.mean_color_error(colors, pixels, others, has_alpha)
    return _told(palette, totals.astype(np.int64), means, mse, layout)


def _measured(
    image: Array, mask: Mask | None, labels: Labels, palette: Array, layout: Layout
) -> Tally:
    """Measure pixels that are not counted, or whose labels are not those of colors."""
    measure = partial(_measured_parts, palette, layout.has_alpha)
    if mask is not None:
        outside = len(palette)
        wide = labels.astype(np.min_scalar_type(outside))
        labels = np.where(mask, wide, wide.dtype.type(outside))
    pairs: tuple[list[Array], list[Any]] = [image], [labels]
    if arguments.is_lazy(image):
        counts, sums, total, n_pixels = fold_chunks(*pairs, measure, added, "measure")
    else:
        counts, sums, total, n_pixels = measure(*pairs)
    means = means_of(counts, sums)
    return _told(palette, counts, means, total / max(n_pixels, 1), layout)


def _told(
    palette: Array, counts: Array, means: Floats, mse: float, layout: Layout
) -> Tally:
    """Return what was measured of a palette (K, C), as it is shown."""
    if layout.is_gray:
        palette = palette[:, 0]
    return Tally(palette, counts, means, mse)


def _measured_parts(
    palette: Array, has_alpha: bool, images: list[Array], labels: list[Any]
) -> tuple[Any, ...]:
    """Return finite pixels and sums of each color, the sum of errors, pixels seen."""
    counts, sums = np.zeros(len(palette), dtype=np.int64), np.zeros(palette.shape)
    blocks = sum_labeled(images, labels, counts, sums)
    pairs = ((pixels, palette[label]) for pixels, label in blocks)
    total, n_pixels = quality.sum_squared_errors(pairs, has_alpha)
    return counts, sums, total, n_pixels


def color_image(
    labels: Labels,
    palette: Array,
    image: Array,
    *,
    channel_axis: int | None = -1,
    alpha: bool = False,
) -> Array:
    """Return `image` in the colors that `labels` (...) are indices of.

    Pixels that are not finite, or fully transparent, stay as they are.
    """
    if arguments.is_lazy(labels):
        options: Any = {"channel_axis": channel_axis, "alpha": alpha}

        def work(some: Labels, pixels: Array) -> Array:
            return color_image(some, palette, pixels, **options)

        return map_pairs(work, labels, image, channel_axis)
    if channel_axis is None:
        pixels, colors = image[..., np.newaxis], palette[:, np.newaxis]
    else:
        pixels, colors = np.moveaxis(image, channel_axis, -1), palette
    colored = mapping.color_pixels(labels, colors.astype(image.dtype, copy=False))
    mapping.keep_uncounted(colored, pixels, alpha)
    if channel_axis is None:
        return colored[..., 0]
    return mapping.move_channels(colored, channel_axis)
