"""The public functions: validate once, compose, document."""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from napari_kmeans._cells import build_cells, label_cells
from napari_kmeans._color_counts import (
    ColorCounts,
    count_colors,
    finite_pixels,
    is_tabular,
    paint,
    pixel_blocks,
)
from napari_kmeans._lloyd import cluster_means, lloyd
from napari_kmeans._nearest import nearest
from napari_kmeans._one_channel import MAX_OPTIMUM, optimal_centers
from napari_kmeans._point_sources import (
    Measure,
    PointSource,
    counted_source,
    frame_of_pixels,
    pixel_source,
)
from napari_kmeans._points import (
    Frame,
    frame_of,
    from_points,
    in_units,
    to_centers,
    to_points,
)
from napari_kmeans._seeding import kmeans_plus_plus, random_pixels, searched_centers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Init: TypeAlias = Literal["auto", "thorough", "k-means++", "random"] | ArrayLike
    Rng: TypeAlias = int | np.random.Generator | None
    Callback: TypeAlias = Callable[["IterationState"], object]

    from napari_kmeans._cells import Partition

__all__ = [
    "IterationState",
    "PaletteResult",
    "kmeans_palette",
    "map_to_palette",
    "quantize_kmeans",
]

MAX_COLORS = 65536
_STARTS = ("auto", "thorough", "k-means++", "random")
# Distances that the search for a start may compute: less than the iterations do.
_EFFORT = 1 << 25


@dataclasses.dataclass(frozen=True, eq=False)
class IterationState:
    """What a callback is told after an iteration.

    Parameters
    ----------
    n_iter : int
        Number of the iteration, from 1.
    mse : float
        Squared distance of the pixels to the mean of their cluster, summed over
        channels, mean over pixels, in squared units of the image. It never rises.
    centers : (k, C) or (k,) ndarray of float64
        Centers after the iteration, before rounding, in the units of the image.
    """

    n_iter: int
    mse: float
    centers: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class PaletteResult:
    """A fitted palette.

    Parameters
    ----------
    palette : (K, C) or (K,) ndarray
        Distinct colors in the dtype of the image, from dark to light.
    counts : (K,) ndarray of int64
        Number of fitted pixels whose nearest color each entry is.
    mse : float
        Squared distance of the fitted pixels to `palette`, summed over channels,
        mean over pixels, in squared units of the image.
    n_iter : int
        Lloyd iterations that were made.
    converged : bool
        Whether the iterations ended because no label changed.
    """

    palette: NDArray[Any]
    counts: NDArray[np.int64]
    mse: float
    n_iter: int
    converged: bool


def quantize_kmeans(
    image: ArrayLike,
    k: int = 16,
    iters: int = 10,
    *,
    channel_axis: int | None = -1,
    init: Init = "auto",
    rng: Rng = None,
    callback: Callback | None = None,
) -> NDArray[Any]:
    """Map every pixel of an image to one of `k` color centroids.

    Parameters
    ----------
    image : (..., C) ndarray
        Image of any boolean, integer or float dtype, with its `C` channels along
        `channel_axis` and any number of spatial axes.
    k : int, optional
        Largest number of colors, 1 to 65536.
    iters : int, optional
        Largest number of Lloyd iterations over all pixels, at least 0. They stop as
        soon as no label changes.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels. None for an image without channels.
    init : {"auto", "thorough", "k-means++", "random"} or (k, C) array, optional
        Initial centers. "auto" searches for the best ones it can find in about the
        time of the iterations, and "thorough" for many times longer; neither draws at
        random. "random" are the colors of `k` pixels drawn at random, the textbook
        start. An array holds colors in the units of `image`, of shape ``(k,)`` if
        there are no channels.
    rng : int, numpy.random.Generator or None, optional
        Seed or generator of what "k-means++" and "random" draw.
    callback : callable, optional
        Called as ``callback(state)`` after each iteration, with an `IterationState`.
        A StopIteration that it raises ends the fit and keeps what it has; any other
        exception passes through.

    Returns
    -------
    quantized : ndarray
        New array of the shape and dtype of `image`, in at most `k` colors.

    Raises
    ------
    TypeError
        If the dtype of `image` is not boolean, integer or float, `k`, `iters` or
        `channel_axis` is not an integer, or `callback` is not callable.
    ValueError
        If `image` is empty, has no finite pixel or no axis for its channels, `k` or
        `iters` is out of range, or `init` is not a start.

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

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import quantize_kmeans
    >>> image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)
    >>> quantize_kmeans(image, 3, channel_axis=None)
    array([[  3,   3,   3],
           [102, 102, 250]], dtype=uint8)
    """
    array, pixels = _validated_image(image, channel_axis)
    model = _fit(pixels, k, iters, channel_axis, init, rng, callback)
    if model.is_lossless:
        return array.copy()
    colors = model.palette
    if model.colors is not None and is_tabular(pixels.dtype, pixels.shape[-1]):
        # One item per color, so that a pixel is one look-up.
        items = colors.view(f"V{colors.dtype.itemsize * colors.shape[1]}")[:, 0]
        painted = paint(pixels, model.colors, items[model.measure.labels])
        quantized = painted.view(colors.dtype).reshape(pixels.shape)
    else:
        quantized = colors[_label_blocks(pixels, model.frame, model.centers)]
        if pixels.dtype.kind == "f":
            finite = np.isfinite(pixels).all(axis=-1, keepdims=True)
            np.copyto(quantized, pixels, where=~finite)
    quantized = quantized.astype(array.dtype, copy=False)
    if channel_axis is None:
        return quantized[..., 0]
    return np.ascontiguousarray(np.moveaxis(quantized, -1, channel_axis))


def kmeans_palette(
    image: ArrayLike,
    k: int = 16,
    iters: int = 10,
    *,
    channel_axis: int | None = -1,
    init: Init = "auto",
    rng: Rng = None,
    callback: Callback | None = None,
) -> PaletteResult:
    """Find the `k` colors that represent an image with the least squared error.

    Parameters
    ----------
    image : (..., C) ndarray
        Image of any boolean, integer or float dtype, with its `C` channels along
        `channel_axis` and any number of spatial axes.
    k : int, optional
        Largest number of colors, 1 to 65536.
    iters : int, optional
        Largest number of Lloyd iterations over all pixels, at least 0.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels. None for an image without channels.
    init : {"auto", "thorough", "k-means++", "random"} or (k, C) array, optional
        Initial centers, as in `quantize_kmeans`.
    rng : int, numpy.random.Generator or None, optional
        Seed or generator of what "k-means++" and "random" draw.
    callback : callable, optional
        Called after each iteration, as in `quantize_kmeans`.

    Returns
    -------
    result : PaletteResult
        The palette with its pixel numbers and error, and how it was reached. There
        are `k` colors, or as many as `image` has, and each is the nearest one of
        some pixel; with ``iters=0`` there may be fewer.

    Raises
    ------
    TypeError
        As `quantize_kmeans`.
    ValueError
        As `quantize_kmeans`.

    See Also
    --------
    quantize_kmeans : Find the palette and map the image to it in one call.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import kmeans_palette
    >>> image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)
    >>> kmeans_palette(image, 3, channel_axis=None).palette
    array([  3, 102, 250], dtype=uint8)
    """
    _, pixels = _validated_image(image, channel_axis)
    model = _fit(pixels, k, iters, channel_axis, init, rng, callback)
    return PaletteResult(
        palette=model.palette if channel_axis is not None else model.palette[:, 0],
        counts=model.measure.counts,
        mse=model.measure.mse / model.frame.scale / model.frame.scale,
        n_iter=model.n_iter,
        converged=model.converged,
    )


def map_to_palette(
    image: ArrayLike, palette: ArrayLike, *, channel_axis: int | None = -1
) -> NDArray[np.unsignedinteger[Any]]:
    """Label each pixel with its nearest palette color.

    Parameters
    ----------
    image : (..., C) ndarray
        Image of any dtype, with its `C` channels along `channel_axis`.
    palette : (K, C) or (K,) ndarray
        Colors in the units of `image`, ``1 <= K <= 65536``.
    channel_axis : int or None, optional
        Axis of `image` that holds the channels. None for an image without
        channels, whose palette has shape ``(K,)``.

    Returns
    -------
    labels : (...) ndarray of uint8 or uint16
        Index into `palette` of the nearest color, the lowest index on a tie,
        so that ``palette[labels]`` is the mapped image. uint8 if ``K <= 256``.
        Pixels that are not finite have label 0.

    Raises
    ------
    TypeError
        If the dtype of `image` or `palette` is not boolean, integer or float.
    ValueError
        If `palette` is empty, has more than 65536 colors, a value that is not finite,
        or not the number of channels of `image`.

    See Also
    --------
    quantize_kmeans : Find the palette and map the image to it in one call.

    Notes
    -----
    Distances are Euclidean, in the units of `image`, and exact: no grid or
    tree approximates them.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import map_to_palette
    >>> image = np.array([[[0, 0, 0], [9, 0, 0], [250, 0, 0]]], dtype=np.uint8)
    >>> map_to_palette(image, np.array([[0, 0, 0], [255, 0, 0]]))
    array([[0, 0, 1]], dtype=uint8)
    """
    _, pixels = _validated_image(image, channel_axis)
    colors = _validated_palette(palette, pixels.shape[-1], channel_axis)
    dtype = np.uint8 if len(colors) <= 256 else np.uint16
    counted = (
        count_colors(pixels) if is_tabular(pixels.dtype, pixels.shape[-1]) else None
    )
    if counted is None:
        if not _has_finite(pixels):
            return np.zeros(pixels.shape[:-1], dtype)
        frame = frame_of_pixels(pixels)
        return _label_blocks(pixels, frame, to_centers(colors, frame))
    frame = frame_of(counted.colors)
    cells = build_cells(to_points(counted.colors, frame), counted.counts)
    labels = label_cells(cells, to_centers(colors, frame))
    return paint(pixels, counted.colors, labels.astype(dtype))


class _Model(NamedTuple):
    """A fitted palette, and what it was fitted to."""

    # Distinct colors (n, C) of the image that `measure` labels, if it does.
    colors: NDArray[Any] | None
    frame: Frame
    palette: NDArray[Any]
    # The palette as points (K, C), and how it fits the image.
    centers: NDArray[np.float64]
    measure: Measure
    n_iter: int
    converged: bool
    # Whether the palette holds every color of the image.
    is_lossless: bool = False


def _fit(
    pixels: NDArray[Any],
    k: int,
    iters: int,
    channel_axis: int | None,
    init: Init,
    rng: Rng,
    callback: Callback | None,
) -> _Model:
    """Validate what the fitting functions share, and fit."""
    k = _validated_integer("k", k, 1, MAX_COLORS)
    iters = _validated_integer("iters", iters, 0, None)
    start = _validated_init(init, k, pixels.shape[-1], channel_axis)
    generator = _validated_rng(rng)
    if callback is not None and not callable(callback):
        msg = f"callback must be callable or None, got {callback!r}"
        raise TypeError(msg)
    if not _has_finite(pixels):
        msg = "image must have a finite pixel, got none"
        raise ValueError(msg)

    counted = count_colors(pixels)
    frame = frame_of_pixels(pixels) if counted is None else frame_of(counted.colors)
    is_rgb = channel_axis is not None and pixels.shape[-1] == 3
    if counted is not None and len(counted.colors) <= k:
        order = _dark_to_light(counted.colors, frame, is_rgb)
        palette = counted.colors[order]
        everything = Measure(None, counted.counts[order].astype(np.int64), 0.0)
        centers = to_centers(palette, frame)
        return _Model(None, frame, palette, centers, everything, 0, True, True)
    source = (
        pixel_source(pixels, frame)
        if counted is None
        else counted_source(counted, frame)
    )
    if isinstance(start, str):
        centers = _start(start, source, counted, frame, k, generator)
    else:
        centers = to_centers(start, frame)
    report = _reporter(callback, source, frame, channel_axis)
    fit = lloyd(source.partition, source.worst, centers, iters, report)
    palette, centers, measure = _rounded(
        fit.centers, source, frame, is_rgb, k if iters > 0 else 1
    )
    colors = None if counted is None else counted.colors
    return _Model(colors, frame, palette, centers, measure, fit.n_iter, fit.converged)


def _rounded(
    centers: NDArray[np.float64],
    source: PointSource,
    frame: Frame,
    is_rgb: bool,
    least: int,
) -> tuple[NDArray[Any], NDArray[np.float64], Measure]:
    """Round centers to a palette of distinct colors, of which `least` are used."""
    palette = from_points(centers, frame)
    error = np.inf
    while True:
        palette = np.unique(palette, axis=0)
        palette = palette[_dark_to_light(palette, frame, is_rgb)]
        centers = to_centers(palette, frame)
        measure = source.measure(centers)
        used = measure.counts > 0
        n_missing = least - int(np.count_nonzero(used))
        if n_missing <= 0 or not 0 < measure.mse < error:
            return palette, centers, measure
        # Colors that no pixel is nearest to make room for those of the largest error,
        # which then have none.
        error = measure.mse
        worst = from_points(source.worst(centers, n_missing), frame)
        palette = np.concatenate((palette[used], worst))


def _has_finite(pixels: NDArray[Any]) -> bool:
    return pixels.dtype.kind != "f" or any(
        len(finite_pixels(block)) for _, block in pixel_blocks(pixels)
    )


def _start(
    start: str,
    source: PointSource,
    counted: ColorCounts | None,
    frame: Frame,
    k: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Give the initial centers (k, C) that are called `start`."""
    if start in ("auto", "thorough"):
        if counted is not None and _is_small_line(counted, k):
            values = to_points(counted.colors, frame)[:, 0]
            order = np.argsort(values, kind="stable")
            weights = counted.counts[order].astype(np.float64)
            return optimal_centers(values[order], weights, k)[:, np.newaxis]
        # Enough points for each center, and few enough for many trials.
        coarse = source.coarse(k, max(1 << 12, 80 * k))
        centers = searched_centers(*coarse, k, _EFFORT)
        if start == "auto":
            return centers
        finer = searched_centers(*source.coarse(k, 1 << 16), k, 64 * _EFFORT)
        fits = [lloyd(source.partition, source.worst, c, 100) for c in (centers, finer)]
        return min(fits, key=lambda fit: source.measure(fit.centers).mse).centers
    if counted is None:
        points, counts = source.coarse(k, 0)
    else:
        points, counts = to_points(counted.colors, frame), counted.counts
    if start == "random":
        chosen = random_pixels(counts.astype(np.int64), k, generator)
    else:
        weights = counts.astype(np.float64)
        chosen = kmeans_plus_plus(points, weights, min(k, len(points)), generator)
    return points[chosen].astype(np.float64)


def _is_small_line(counted: ColorCounts, k: int) -> bool:
    """Whether colors of one channel are few enough to find their optimum."""
    n, n_channels = counted.colors.shape
    return bool(n_channels == 1 and n <= 1 << 16 and n * k <= MAX_OPTIMUM)


def _reporter(
    callback: Callback | None,
    source: PointSource,
    frame: Frame,
    channel_axis: int | None,
) -> Callable[[int, Partition, NDArray[np.float64]], None] | None:
    """Turn what an iteration finds into what `callback` is told."""
    if callback is None:
        return None
    everything = source.partition(np.zeros((1, len(frame.origin))))
    middle = everything.sums / everything.weights[0]
    variance = source.measure(middle).mse

    def report(n_iter: int, parts: Partition, centers: NDArray[np.float64]) -> None:
        # Steiner: the squares about the middle are those about the means of the
        # clusters, and those of these means.
        moved = np.square(cluster_means(parts, centers) - middle).sum(axis=1)
        mse = variance - float((parts.weights * moved).sum() / everything.weights[0])
        units = in_units(centers, frame)
        shown = units if channel_axis is not None else units[:, 0]
        callback(IterationState(n_iter, mse / frame.scale / frame.scale, shown))

    return report


def _dark_to_light(
    palette: NDArray[Any], frame: Frame, is_rgb: bool
) -> NDArray[np.intp]:
    """Order distinct colors (K, C) by Rec. 709 luma, or the sum of their channels."""
    columns = to_centers(palette, frame).T
    # Whole numbers, so that lumas of integers are equal exactly if they are.
    factors = (2126.0, 7152.0, 722.0) if is_rgb else (1.0,) * len(columns)
    luma = np.zeros(len(palette))
    for factor, column in zip(factors, columns, strict=True):
        luma += factor * column
    return np.lexsort((*columns[::-1], luma))


def _label_blocks(
    pixels: NDArray[Any], frame: Frame, centers: NDArray[np.float64]
) -> NDArray[np.unsignedinteger[Any]]:
    """Label pixels (..., C) block by block; those that are not finite get 0."""
    dtype = np.uint8 if len(centers) <= 256 else np.uint16
    labels = np.empty(pixels.shape[:-1], dtype)
    target = labels.reshape(-1) if pixels.flags.c_contiguous else labels
    for index, block in pixel_blocks(pixels):
        finite = np.isfinite(block).all(axis=1)
        colors = np.where(finite[:, np.newaxis], block, frame.origin)
        label, _ = nearest(to_points(colors, frame), centers)
        label[~finite] = 0
        target[index] = label.reshape(target[index].shape)
    return labels


def _validated_image(
    image: ArrayLike, channel_axis: int | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give `image` as an array of real numbers, and with its channels last."""
    array = np.asarray(image)
    _require_real("image", array)
    if array.size == 0:
        msg = f"image must not be empty, got shape {array.shape}"
        raise ValueError(msg)
    if channel_axis is None:
        return array, array[..., np.newaxis]
    channel_axis = _validated_integer("channel_axis", channel_axis, None, None)
    if array.ndim < 3:
        msg = (
            f"image of shape {array.shape} has no channels along "
            f"channel_axis={channel_axis}; "
            "pass channel_axis=None for a grayscale image"
        )
        raise ValueError(msg)
    if not -array.ndim <= channel_axis < array.ndim:
        msg = (
            f"channel_axis must be an axis of the image of shape {array.shape}, "
            f"got {channel_axis}"
        )
        raise ValueError(msg)
    return array, np.moveaxis(array, channel_axis, -1)


def _validated_palette(
    palette: ArrayLike, n_channels: int, channel_axis: int | None
) -> NDArray[Any]:
    """Give `palette` as colors (K, C)."""
    colors = np.asarray(palette)
    _require_real("palette", colors)
    shape = "(K,)" if channel_axis is None else f"(K, {n_channels})"
    expected = 1 if channel_axis is None else 2
    if colors.ndim != expected or (expected == 2 and colors.shape[1] != n_channels):
        msg = f"palette must have shape {shape}, got {colors.shape}"
        raise ValueError(msg)
    if not 1 <= len(colors) <= MAX_COLORS:
        msg = f"palette must have between 1 and {MAX_COLORS} colors, got {len(colors)}"
        raise ValueError(msg)
    _require_finite("palette", colors)
    return colors.reshape(len(colors), n_channels)


def _validated_init(
    init: Init, k: int, n_channels: int, channel_axis: int | None
) -> str | NDArray[Any]:
    """Give `init` as the name of a start, or as centers (k, C)."""
    if isinstance(init, str):
        if init not in _STARTS:
            names = ", ".join(repr(name) for name in _STARTS)
            msg = f"init must be {names} or an array of colors, got {init!r}"
            raise ValueError(msg)
        return init
    colors = np.asarray(init)
    _require_real("init", colors)
    shape = (k,) if channel_axis is None else (k, n_channels)
    if colors.shape != shape:
        msg = f"init must have shape {shape}, got {colors.shape}"
        raise ValueError(msg)
    _require_finite("init", colors)
    return colors.reshape(k, n_channels)


def _validated_rng(rng: Rng) -> np.random.Generator:
    """Give `rng` as a generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        msg = f"rng must be an integer >= 0, a numpy Generator or None, got {rng!r}"
        raise ValueError(msg) from None


def _validated_integer(
    name: str, value: object, low: int | None, high: int | None
) -> int:
    """Give `value` as an int in the closed range `low` to `high`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        msg = f"{name} must be an integer, got {value!r}"
        raise TypeError(msg) from None
    if (low is not None and number < low) or (high is not None and number > high):
        rule = f"at least {low}" if high is None else f"between {low} and {high}"
        msg = f"{name} must be {rule}, got {number}"
        raise ValueError(msg)
    return number


def _require_real(name: str, array: NDArray[Any]) -> None:
    if array.dtype.kind not in "biuf":
        msg = f"{name} must have a boolean, integer or float dtype, got {array.dtype}"
        raise TypeError(msg)


def _require_finite(name: str, array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        msg = f"{name} must be finite, got {array[~np.isfinite(array)][0]}"
        raise ValueError(msg)
