"""The public functions on arrays: each is a door, a few steps, and its documentation.

`quantize_kmeans` is the one-liner; `kmeans_palette` and `map_to_palette` are its two
halves; `count_colors` is what all of them begin with. The steps themselves are those of
`counted_image`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_kmeans._core import arguments
from napari_kmeans._core.arguments import (
    MAX_COLORS,
    Dither,
    Images,
    Init,
    Masks,
    Rng,
    Weights,
)
from napari_kmeans._core.color_counts import (
    ColorCounts,
    count_pixels,
    too_many_colors,
    trusted_counts,
)
from napari_kmeans._core.color_tables import is_tabular
from napari_kmeans._core.counted_image import (
    color_image,
    count_image,
    curve_of,
    fit_image,
    fit_quality,
    label_counted,
)
from napari_kmeans._core.fitting import Callback, PaletteResult
from napari_kmeans._core.mapping import (
    color_lazily,
    label_image,
    label_lazily,
    remember_labels,
)
from napari_kmeans._core.pixels import seen_colors
from napari_kmeans._core.spaces import SpaceName

__all__ = [
    "choose_k",
    "count_colors",
    "error_curve",
    "kmeans_palette",
    "map_to_palette",
    "quantize_kmeans",
]


def quantize_kmeans(
    image: ArrayLike,
    k: int = 16,
    iters: int = 10,
    *,
    channel_axis: int | None = -1,
    mask: ArrayLike | None = None,
    color_space: SpaceName = "rgb",
    channel_weights: Weights = None,
    alpha: bool = False,
    init: Init = "auto",
    rng: Rng = None,
    callback: Callback | None = None,
) -> NDArray[Any]:
    """Map every pixel of an image to one of `k` color centroids.

    Parameters
    ----------
    image : (..., C) ndarray
        Image of any boolean, integer or float dtype of up to 64 bits, with its `C`
        channels along `channel_axis` and any number of spatial axes. No array may be a
        masked one, whose mask the result could not keep.
    k : int, optional
        Largest number of colors, 1 to 65536.
    iters : int, optional
        Largest number of Lloyd iterations over all pixels, at least 0. They stop as
        soon as no label changes.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels. None for an image without channels.
        More than 64 channels along -1 are refused if another axis has 2 to 4 entries,
        which may be the channels; ``image.ndim - 1`` is taken at its word.
    mask : (...) array of bool, optional
        Pixels that the colors are fitted to, in the shape of `image` without its
        channels. All pixels are mapped.
    color_space : {"rgb", "lab", "oklab"}, optional
        Where distances are measured: between the numbers of `image` as they are, in
        CIELAB for D65, or in Oklab. The latter two take the channels for sRGB, of dtype
        uint8, uint16 or float. White is 1 for floats, and those that colors are fitted
        to must lie between -8 and 8. In Oklab, differences of a and b count twice, as
        its author found to predict differences best.
    channel_weights : (C,) array_like, "std" or None, optional
        How much each channel counts: positive numbers that differences are multiplied
        by before distances are measured, so that only their ratios matter. "std" is one
        over the standard deviation of the pixels that colors are fitted to, and 1 for a
        constant channel: a weak channel counts as much as a strong one. In Lab and
        Oklab they are the weights of L, a and b. Opacity has none: it counts as white
        does, and "std" sees colors over mid-gray. None lets all channels count by their
        numbers.
    alpha : bool, optional
        Whether the last channel is opacity, of an unsigned or float dtype; opaque is
        its largest value, or 1 for floats. Three channels are RGB, and have none.
        Squared distances are the mean of those over black and over white, so that
        colors count as far as they are seen; see Notes. Pixels that are fully
        transparent neither count nor change.
    init : {"auto", "thorough", "k-means++", "random"} or (k, C) array, optional
        Initial centers. "auto" searches for the best ones it can find in about the
        time of the iterations, and "thorough" for many times longer; neither draws at
        random. "random" are the colors of `k` pixels drawn at random, the textbook
        start. An array holds colors in the units of `image`, in the range of its dtype,
        of shape ``(k,)`` if there are no channels.
    rng : int, numpy.random.Generator or None, optional
        Seed or generator of what "k-means++" and "random" draw.
    callback : callable, optional
        Called as ``callback(state)`` after each iteration, with an `IterationState`.
        A StopIteration that it raises ends the fit and keeps what it has; any other
        exception passes through.

    Returns
    -------
    quantized : ndarray
        New array of the shape and dtype of `image`, in at most `k` colors. It is a lazy
        dask array if `image` is one.

    Raises
    ------
    TypeError
        If the dtype of `image` is not boolean, integer or float of up to 64 bits, that
        of `mask` not boolean, one of the arrays is masked, `k`, `iters` or
        `channel_axis` is not an integer, `channel_weights` are not numbers, `alpha` not
        a bool, `rng` not a seed, or `callback` is not callable.
    ValueError
        If `image` is empty, has no finite pixel, no axis for its channels or chunks of
        unknown sizes, `mask` has another shape or is nowhere True, `color_space` or
        `alpha` does not fit the channels or the values, `channel_weights` are not one
        positive finite number for each channel or differ by more than 1e100 times, `k`
        or `iters` is out of range, or `init` is not a start, has other channels or is
        not in the units of `image`.

    See Also
    --------
    kmeans_palette : Find the palette only.
    map_to_palette : Label each pixel with its nearest palette color.

    Notes
    -----
    The error is the squared distance in the units of `image`, and every pixel counts:
    Lloyd's algorithm (IEEE Trans. Inf. Theory 28:129, 1982) runs over the distinct
    colors, weighted by their pixel numbers, never over a sample. A cluster that loses
    all its pixels moves to where the error is largest, so no color is wasted. Each
    pixel gets its nearest color of the rounded palette, the darker one on a tie. An
    image with at most `k` colors comes back unchanged, and pixels that are not finite
    stay as they are.

    With `alpha`, let p be a color of C channels, multiplied by its opacity a (0 to 1).
    Over black it is seen as p, and over white W as p + (1 - a) W. The mean of the two
    squared distances is ``|dp - W da / 2|**2 + C / 4 * W**2 * da**2``, for differences
    dp and da, and is the error of `mse`. To find what is nearest, integers of 8 and 16
    bits are compared by whole numbers: by 8 W p - 4 W**2 a and round(4 sqrt(C)) W**2 a.
    In Lab and Oklab, white is (100, 0, 0) and (1, 0, 0), and C is 1.

    A dask array is read once now, for its palette, and chunk by chunk when the result
    is computed; no chunk is counted again then. The colors are those of a NumPy array
    of the same pixels, bit for bit, for integers whose colors can be counted (see
    `count_colors`), and equal to rounding for floats. Floats, integers of more than 16
    bits, and colors too many to count are read several times, as `kmeans_palette` and
    `map_to_palette` say.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import quantize_kmeans
    >>> image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)
    >>> quantize_kmeans(image, 3, channel_axis=None)
    array([[  3,   3,   3],
           [102, 102, 250]], dtype=uint8)
    """
    array = arguments.plain_image(image, channel_axis)
    # The labels of dask arrays are found by every process for itself.
    with_outside = not arguments.is_lazy(array)
    how = channel_axis, mask, color_space, alpha, channel_weights
    counted = count_image(array, *how, with_outside=with_outside)
    fitted = fit_image(counted, k, iters, init=init, rng=rng, callback=callback)
    if fitted.is_lossless and mask is None:
        return array.copy()
    palette = fitted.result.palette
    if arguments.is_lazy(array):
        colors = palette.reshape(len(palette), -1).astype(array.dtype)
        if fitted.labels is not None:
            (known,) = seen_colors(counted)
            remember_labels(known, fitted.labels, colors, counted.layout)
        colored = color_lazily(counted.images[0], colors, counted.layout)
        if channel_axis is None:
            return colored[..., 0]
        # dask would add a step that moves nothing, and name tasks by it.
        is_last = channel_axis in (-1, array.ndim - 1)
        return colored if is_last else np.moveaxis(colored, -1, channel_axis)
    labels = label_counted(counted, palette, fitted)
    return color_image(labels, palette, array, channel_axis=channel_axis, alpha=alpha)


def kmeans_palette(
    image: Images | ColorCounts,
    k: int = 16,
    iters: int = 10,
    *,
    channel_axis: int | None = -1,
    mask: Masks = None,
    color_space: SpaceName = "rgb",
    channel_weights: Weights = None,
    alpha: bool = False,
    init: Init = "auto",
    rng: Rng = None,
    callback: Callback | None = None,
    fixed: ArrayLike | None = None,
) -> PaletteResult:
    """Find the `k` colors that represent an image with the least squared error.

    Parameters
    ----------
    image : (..., C) ndarray, or list or tuple of these, or ColorCounts
        Image of any dtype as in `quantize_kmeans`, with its `C` channels along
        `channel_axis` and any number of spatial axes. Several images, of one dtype and
        number of channels, get one palette: that of all their pixels together. Counts
        of `count_colors` give the palette that their image would, bit for bit.
    k : int, optional
        Largest number of colors, 1 to 65536.
    iters : int, optional
        Largest number of Lloyd iterations over all pixels, at least 0.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels, or None, as in `quantize_kmeans`.
    mask : (...) array of bool, or list or tuple of these, optional
        Pixels that are fitted, in the shape of `image` without its channels. For
        several images one mask for each.
    color_space : {"rgb", "lab", "oklab"}, optional
        Where distances are measured, as in `quantize_kmeans`.
    channel_weights : (C,) array_like, "std" or None, optional
        How much each channel counts, as in `quantize_kmeans`.
    alpha : bool, optional
        Whether the last channel is opacity, as in `quantize_kmeans`.
    init : {"auto", "thorough", "k-means++", "random"} or (k, C) array, optional
        Initial centers, as in `quantize_kmeans`.
    rng : int, numpy.random.Generator or None, optional
        Seed or generator of what "k-means++" and "random" draw.
    callback : callable, optional
        Called after each iteration, as in `quantize_kmeans`.
    fixed : (m, C) or (m,) array, optional
        Colors that the palette has, unmoved, beside those that are fitted to what they
        leave over, ``m <= k``: a background, a brand color, black and white. Of given
        initial centers, those nearest to fixed colors give way.

    Returns
    -------
    result : PaletteResult
        The palette with its pixel numbers and error, and how it was reached. There
        are `k` colors, or as many as `image` and `fixed` have, and each is fixed or the
        nearest one of some pixel. With ``iters=0`` they are the initial ones, of which
        some may be equal or unused. With `alpha`, if there are fully transparent
        pixels, their commonest color (black, if they have too many to count) is one
        more fixed color, where it leaves a place for what is seen and none of `fixed`
        is fully transparent.

    Raises
    ------
    TypeError
        As `quantize_kmeans`, or if several images are not of one dtype.
    ValueError
        As `quantize_kmeans`, or if several images are not of one number of channels or
        have another number of masks, or `fixed` has more than `k` colors, or such as
        the dtype of `image` does not hold.

    See Also
    --------
    choose_k : Find the fewest colors that reach a quality.
    quantize_kmeans : Find the palette and map the image to it in one call.

    Notes
    -----
    Dask arrays are read once where their colors can be counted, see `count_colors`.
    Where there are too many, as of 16 bits in several channels, each iteration reads
    all chunks once, as do about ten more steps. The result is that of NumPy arrays, bit
    for bit, if distances are between integers as they are, or of 8 or 16 bits with
    opacity, without weights, and equal to rounding otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import kmeans_palette
    >>> image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)
    >>> kmeans_palette(image, 3, channel_axis=None).palette
    array([  3, 102, 250], dtype=uint8)
    >>> kmeans_palette(image, 3, channel_axis=None, fixed=[255]).palette
    array([  3, 102, 255], dtype=uint8)

    Of two channels, the first one differs more, until the second one counts twice:

    >>> image = np.array([[[100, 1], [110, 3], [100, 9], [110, 7]]], dtype=np.uint8)
    >>> kmeans_palette(image, 2).palette
    array([[100,   5],
           [110,   5]], dtype=uint8)
    >>> kmeans_palette(image, 2, channel_weights=[1, 2]).palette
    array([[105,   2],
           [105,   8]], dtype=uint8)
    """
    how = channel_axis, mask, color_space, alpha, channel_weights
    counted = count_image(image, *how, with_outside=False)
    fitted = fit_image(
        counted, k, iters, init=init, rng=rng, callback=callback, fixed=fixed
    )
    return fitted.result


def map_to_palette(
    image: ArrayLike,
    palette: ArrayLike,
    *,
    channel_axis: int | None = -1,
    color_space: SpaceName = "rgb",
    channel_weights: Weights = None,
    alpha: bool = False,
    dither: Dither = None,
    dither_strength: float = 1.0,
) -> NDArray[np.unsignedinteger[Any]]:
    """Label each pixel with its nearest palette color.

    Parameters
    ----------
    image : (..., C) ndarray
        Image of any dtype as in `quantize_kmeans`, with its `C` channels along
        `channel_axis`.
    palette : (K, C) or (K,) ndarray
        Colors in the units of `image`, ``1 <= K <= 65536``: for 8 and 16 bits, floats
        of 0 to 1 that are not whole are refused.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels. None for an image without
        channels, whose palette has shape ``(K,)``.
    color_space : {"rgb", "lab", "oklab"}, optional
        Where distances are measured, as in `quantize_kmeans`. Only the colors of
        `palette` are refused beyond -8 and 8.
    channel_weights : (C,) array_like or None, optional
        How much each channel counts, as in `quantize_kmeans`, but in numbers: such as
        the `channel_weights` of the `PaletteResult` that `palette` is from.
    alpha : bool, optional
        Whether the last channel is opacity, as in `quantize_kmeans`.
    dither : {"floyd-steinberg", "ordered"} or None, optional
        How to mix palette colors, so that their local mean is that of the image. The
        first passes on what a pixel lacks to those that follow, to the right and
        below; the second mixes a few colors by a pattern of 64 x 64 thresholds, and
        does not flicker from image to image. It mixes each color once, and so is quick
        where colors can be counted. Planes of the last two spatial axes are dithered by
        themselves.
    dither_strength : float, optional
        How much of it, from 0 for nothing to 1. The first passes on this part of what
        a pixel lacks; the second mixes only colors that are the closer, the lower it
        is. Less is less grain and smaller files, but more bands. Must be 1 where
        `dither` is None.

    Returns
    -------
    labels : (...) ndarray of uint8 or uint16
        Index into `palette` of the nearest color, the lowest index on a tie,
        so that ``palette[labels]`` is the mapped image. uint8 if ``K <= 256``.
        Pixels that are not finite have label 0. It is a lazy dask array if `image` is
        one.

    Raises
    ------
    TypeError
        If the dtype of `image` or `palette` is not boolean, integer or float of up to
        64 bits, one of them is masked, `channel_axis` is not an integer,
        `channel_weights` or `dither_strength` are not numbers, or `alpha` is not a
        bool.
    ValueError
        If `image` is empty or has no axis for its channels, `palette` is empty, has
        more than 65536 colors, a value that is not finite, or not the channels or the
        units of `image`, `color_space` or `alpha` does not fit the channels,
        `channel_weights` are a word or not as in `quantize_kmeans`, `dither` is not a
        way of dithering, `dither_strength` is not from 0 to 1, or not 1 where `dither`
        is None, or a dask array has chunks of unknown sizes or planes
        of more than 2^26 pixels for Floyd-Steinberg.

    See Also
    --------
    quantize_kmeans : Find the palette and map the image to it in one call.

    Notes
    -----
    Distances are Euclidean, in the units of `image` or in those of the color space, and
    exact: no grid or tree approximates them. So are those inside the diffusion of
    errors. Only integers more than 2^53 apart, products with opacity of more than 16
    bits, and squared distances of more than 2^53 steps are rounded to float64. A pixel
    that has a palette color, has its label all the same; it is not dithered, nor is one
    that is not finite or fully transparent.
    Floyd-Steinberg needs 8 bytes for each channel and pixel, unless `image` is of 8 or
    16 bits and measured as it is, without weights.

    Of a dask array, chunks are labeled when the result is computed, as those of a NumPy
    array of the same pixels, bit for bit; equal to rounding where distances are between
    floats as they are, or numbers of more than 16 bits with opacity. Colors that are
    integers of at most 24 bits are labeled once for each process and palette. Only if
    distances are between numbers of more than 16 bits, not in Lab or Oklab, all chunks
    are read now, to find the range of values. Floyd-Steinberg takes whole planes into
    memory.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import map_to_palette
    >>> image = np.array([[[0, 0, 0], [9, 0, 0], [250, 0, 0]]], dtype=np.uint8)
    >>> map_to_palette(image, np.array([[0, 0, 0], [255, 0, 0]]))
    array([[0, 0, 1]], dtype=uint8)
    """
    pixels = arguments.checked_image(image, channel_axis)
    layout = arguments.checked_layout(pixels, channel_axis, color_space, alpha)
    numbers = arguments.checked_weights(channel_weights, layout, words=())
    layout = layout._replace(weights=numbers)
    colors, dithering = (
        arguments.checked_palette(palette, layout),
        arguments.checked_dither(dither, dither_strength),
    )
    if arguments.is_lazy(pixels):
        return label_lazily(pixels, colors, layout, dithering)
    # Where colors index a table, each is labeled once; others are labeled by pixel.
    known = None
    if is_tabular(layout.dtype, layout.n_channels):
        known = count_pixels([pixels], [None])
    return label_image(pixels, known and known[0], colors, layout, dithering)


def count_colors(
    image: Images, *, channel_axis: int | None = -1, mask: Masks = None
) -> ColorCounts:
    """Count the pixels of each distinct color of an image.

    Parameters
    ----------
    image : (..., C) ndarray, or list or tuple of these
        Image of any dtype as in `quantize_kmeans`, with its `C` channels along
        `channel_axis`. Several images, of one dtype and number of channels, are counted
        together.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels, or None, as in `quantize_kmeans`.
    mask : (...) array of bool, or list or tuple of these, optional
        Pixels that are counted, in the shape of `image` without its channels. For
        several images one mask for each.

    Returns
    -------
    counts : ColorCounts
        Distinct colors, (n, C), or (n,) where ``channel_axis=None``, and the number of
        pixels of each. Pixels that are not finite are left out.

    Raises
    ------
    TypeError
        If the dtype of `image` is not boolean, integer or float of up to 64 bits, that
        of `mask` not boolean, one of them is masked, `channel_axis` is not an integer,
        or images are not of one dtype.
    ValueError
        If `image` is empty, has no finite pixel, no axis for its channels or chunks of
        unknown sizes, images are not of one number of channels, or `mask` has another
        shape or is nowhere True.
    TooManyColorsError
        If there are more than 2^20 colors that are not integers of at most 24 bits.

    See Also
    --------
    kmeans_palette : Find a palette for counts, as for an image.

    Notes
    -----
    k-means on colors needs nothing else of an image. So an image can be counted once
    and fitted many times, parts can be counted where they lie and added up, and counts
    can be saved: ``np.savez(path, colors=counts.colors, counts=counts.counts)``, and
    back by ``ColorCounts(**np.load(path))``.

    Images and masks of dask, of any known chunks, are read once, in parts of about 100
    MB, by the scheduler that dask is set to. Their counts are those of NumPy arrays of
    the same pixels, bit for bit. So are the results of `kmeans_palette`, `choose_k` and
    `error_curve`, which count them the same way.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import count_colors, kmeans_palette
    >>> image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)
    >>> counts = count_colors(image, channel_axis=None)
    >>> counts.colors, counts.counts
    (array([  0,   9, 100, 104, 250], dtype=uint8), array([2, 1, 1, 1, 1]))
    >>> kmeans_palette(counts, 3).palette
    array([  3, 102, 250], dtype=uint8)
    """
    counted = count_image(image, channel_axis, mask, with_outside=False).counted
    if counted is None:
        raise too_many_colors()
    colors = counted.colors[:, 0] if channel_axis is None else counted.colors
    return trusted_counts(colors, counted.counts.astype(np.int64))


def choose_k(
    image: Images | ColorCounts,
    *,
    psnr: float | None = None,
    mse: float | None = None,
    max_k: int = MAX_COLORS,
    iters: int = 10,
    channel_axis: int | None = -1,
    mask: Masks = None,
    color_space: SpaceName = "rgb",
    channel_weights: Weights = None,
    alpha: bool = False,
) -> PaletteResult:
    """Find the fewest colors that reach a quality.

    Parameters
    ----------
    image : (..., C) ndarray, or list or tuple of these, or ColorCounts
        Image, images or counts, as in `kmeans_palette`.
    psnr : float, optional
        Least peak signal-to-noise ratio in dB: ``10 log10(peak**2 * C / mse)``. The
        peak is the largest value of the dtype for integers, the whole range of it if
        some value is negative. For floats it is 1 if all values lie between 0 and 1,
        else the largest less the least, without fill values and other colors that are
        far from all others.
    mse : float, optional
        Largest squared error, as `PaletteResult` has it. Either this or `psnr` must be
        given.
    max_k : int, optional
        Most colors that are tried, 1 to 65536: 256 for files that hold no more.
    iters : int, optional
        Largest number of Lloyd iterations over all pixels, at least 0.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels, or None, as in `quantize_kmeans`.
    mask : (...) array of bool, or list or tuple of these, optional
        Pixels that are fitted, and whose quality it is.
    color_space : {"rgb", "lab", "oklab"}, optional
        Where distances are measured, as in `quantize_kmeans`.
    channel_weights : (C,) array_like, "std" or None, optional
        How much each channel counts, as in `quantize_kmeans`.
    alpha : bool, optional
        Whether the last channel is opacity, as in `quantize_kmeans`.

    Returns
    -------
    result : PaletteResult
        What `kmeans_palette` gives for a number of colors that is good enough, where
        one less is not.

    Raises
    ------
    TypeError
        As `kmeans_palette`, or if `psnr` or `mse` is not a number.
    ValueError
        As `kmeans_palette`, or if both or none of `psnr` and `mse` are given, one of
        them is negative or not a number, `max_k` colors do not reach it, or the error
        for `psnr` is more than float64 holds.

    See Also
    --------
    error_curve : The error for many numbers of colors.

    Notes
    -----
    The number is searched, as if more colors were always better. Of fits that start by
    a search this is nearly so: their error hardly ever rises with one color more, and
    by less than 0.3 % on photos. So a smaller number may just reach it too: on four
    photos 2 % of the numbers found below 256 were one or two too large, and on one,
    near 2000, they were up to 8 too large.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import choose_k
    >>> image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)
    >>> choose_k(image, mse=20, channel_axis=None).palette
    array([  3, 102, 250], dtype=uint8)
    """
    how = channel_axis, mask, color_space, alpha, channel_weights
    counted = count_image(image, *how, with_outside=False)
    fitted = fit_quality(counted, psnr=psnr, mse=mse, max_k=max_k, iters=iters)
    return fitted.result


def error_curve(
    image: Images | ColorCounts,
    ks: ArrayLike,
    *,
    iters: int = 10,
    channel_axis: int | None = -1,
    mask: Masks = None,
    color_space: SpaceName = "rgb",
    channel_weights: Weights = None,
    alpha: bool = False,
) -> NDArray[np.float64]:
    """Return the squared error of an image for many numbers of colors.

    Parameters
    ----------
    image : (..., C) ndarray, or list or tuple of these, or ColorCounts
        Image, images or counts, as in `kmeans_palette`.
    ks : (n,) array_like of int
        Numbers of colors, 1 to 65536, in any order.
    iters : int, optional
        Largest number of Lloyd iterations over all pixels for each number.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels, or None, as in `quantize_kmeans`.
    mask : (...) array of bool, or list or tuple of these, optional
        Pixels that are fitted.
    color_space : {"rgb", "lab", "oklab"}, optional
        Where distances are measured, as in `quantize_kmeans`.
    channel_weights : (C,) array_like, "std" or None, optional
        How much each channel counts, as in `quantize_kmeans`.
    alpha : bool, optional
        Whether the last channel is opacity, as in `quantize_kmeans`.

    Returns
    -------
    errors : (n,) ndarray of float64
        The error for each of `ks`: that of `kmeans_palette` with the same arguments,
        or that of a smaller number in `ks` where this is less, since `k` colors are at
        most `k`. So it never rises with `ks`.

    Raises
    ------
    TypeError
        As `kmeans_palette`, or if `ks` are not integers, or masked.
    ValueError
        As `kmeans_palette`, or if `ks` is not one-dimensional, or out of range.

    See Also
    --------
    choose_k : Find the fewest colors that reach a quality.

    Notes
    -----
    The colors are counted once, and fitted for each number.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import error_curve
    >>> image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)
    >>> error_curve(image, [3, 6], channel_axis=None)
    array([10.33333333,  0.        ])
    """
    how = channel_axis, mask, color_space, alpha, channel_weights
    counted = count_image(image, *how, with_outside=False)
    return curve_of(counted, ks, iters=iters)
