"""The public functions: validate once, compose, document."""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from napari_kmeans._color_counts import count_colors
from napari_kmeans._lloyd import lloyd, reseed_empty
from napari_kmeans._nearest import nearest
from napari_kmeans._points import Frame, frame_of, from_points, to_points
from napari_kmeans._seeding import kmeans_plus_plus, random_points, variance_boxes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Init: TypeAlias = Literal["auto", "k-means++", "random"] | ArrayLike
    Rng: TypeAlias = int | np.random.Generator | None
    Callback: TypeAlias = Callable[["IterationState"], object]

__all__ = [
    "IterationState",
    "PaletteResult",
    "kmeans_palette",
    "map_to_palette",
    "quantize_kmeans",
]

MAX_COLORS = 65536
_STARTS = ("auto", "k-means++", "random")


@dataclasses.dataclass(frozen=True, eq=False)
class IterationState:
    """What a callback is told after an iteration.

    Attributes
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

    Attributes
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
    """Map every pixel of an image to one of `k` color centroids."""
    array = _validated_image(image, channel_axis)
    result = kmeans_palette(
        array,
        k,
        iters,
        channel_axis=channel_axis,
        init=init,
        rng=rng,
        callback=callback,
    )
    labels = map_to_palette(array, result.palette, channel_axis=channel_axis)
    quantized = result.palette[labels]
    if channel_axis is not None:
        quantized = np.moveaxis(quantized, -1, channel_axis)
    finite = np.isfinite(array) if array.dtype.kind == "f" else None
    if finite is not None and not finite.all():
        if channel_axis is not None:
            finite = finite.all(axis=channel_axis, keepdims=True)
        quantized = np.where(finite, quantized, array)
    return np.ascontiguousarray(quantized)


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
    """Find the `k` colors that represent an image best."""
    array = _validated_image(image, channel_axis)
    k = _validated_integer("k", k, 1, MAX_COLORS)
    iters = _validated_integer("iters", iters, 0, None)
    pixels = _pixels(array, channel_axis)
    start = _validated_init(init, k, pixels.shape[1], channel_axis)
    generator = np.random.default_rng(rng)

    colors, counts, _ = count_colors(pixels[np.isfinite(pixels).all(axis=1)])
    if len(colors) == 0:
        msg = "image must have a finite pixel, got none"
        raise ValueError(msg)
    frame = frame_of(colors)
    points = to_points(colors, frame)
    if len(colors) <= k:
        centers, n_iter, converged = points, 0, True
    else:
        weights = counts.astype(np.float64)
        if isinstance(start, str):
            centers = _seeded(start, points, counts, k, generator)
        else:
            centers = (start - frame.origin.astype(np.float64)) * frame.scale

        def report(n_iter: int, mse: float, centers: NDArray[np.float64]) -> None:
            if callback is not None:
                units = centers / frame.scale + frame.origin.astype(np.float64)
                shown = units if channel_axis is not None else units[:, 0]
                callback(IterationState(n_iter, mse / frame.scale**2, shown))

        centers, n_iter, converged = lloyd(points, weights, centers, iters, report)
    palette = _rounded(points, centers, frame, channel_axis is not None)
    labels = nearest(points, to_points(palette, frame))
    error = points - to_points(palette, frame)[labels]
    mse = float((counts * (error**2).sum(axis=1)).sum() / counts.sum())
    return PaletteResult(
        palette if channel_axis is not None else palette[:, 0],
        np.bincount(labels, counts, minlength=len(palette)).astype(np.int64),
        mse / frame.scale**2,
        n_iter,
        converged,
    )


def map_to_palette(
    image: ArrayLike, palette: ArrayLike, *, channel_axis: int | None = -1
) -> NDArray[np.unsignedinteger[Any]]:
    """Label each pixel with its nearest palette color."""
    array = _validated_image(image, channel_axis)
    pixels = _pixels(array, channel_axis)
    colors = np.asarray(palette)
    colors = colors.reshape(len(colors), -1)
    values = np.where(np.isfinite(pixels), pixels, pixels.dtype.type(0))
    labels = nearest(values.astype(np.float64), colors.astype(np.float64))
    dtype = np.uint8 if len(colors) <= 256 else np.uint16
    shape = list(array.shape)
    if channel_axis is not None:
        del shape[channel_axis]
    return labels.astype(dtype).reshape(shape)


def _seeded(start, points, counts, k, generator):
    weights = counts.astype(np.float64)
    if start == "random":
        return points[random_points(counts, k, generator)]
    if start == "k-means++":
        return points[kmeans_plus_plus(points, weights, k, generator)]
    return variance_boxes(points, weights, k)


def _rounded(points, centers, frame: Frame, is_color: bool):
    palette = np.unique(from_points(centers, frame), axis=0)
    shown = to_points(palette, frame)
    luma = shown @ [0.2126, 0.7152, 0.0722] if shown.shape[1] == 3 else shown.sum(1)
    return palette[np.lexsort((*shown.T[::-1], luma))]


def _pixels(array, channel_axis):
    """Give the image as native-endian pixels (N, C)."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if channel_axis is None:
        return native.reshape(-1, 1)
    return np.moveaxis(native, channel_axis, -1).reshape(-1, native.shape[channel_axis])


def _validated_image(image: ArrayLike, channel_axis: int | None) -> NDArray[Any]:
    """Give `image` as a non-empty array of real numbers with its channel axis."""
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        msg = f"image must have a bool, integer or float dtype, got {array.dtype}"
        raise TypeError(msg)
    if array.size == 0:
        msg = f"image must not be empty, got shape {array.shape}"
        raise ValueError(msg)
    if channel_axis is not None and array.ndim < 3:
        msg = (
            f"image of shape {array.shape} has no channels along "
            f"channel_axis={channel_axis}; "
            "pass channel_axis=None for a grayscale image"
        )
        raise ValueError(msg)
    return array


def _validated_integer(name: str, value: int, low: int, high: int | None) -> int:
    """Give `value` as an int in the closed range `low` to `high`."""
    try:
        number = operator.index(value)
    except TypeError:
        msg = f"{name} must be an integer, got {value!r}"
        raise TypeError(msg) from None
    if number < low or (high is not None and number > high):
        rule = f"at least {low}" if high is None else f"between {low} and {high}"
        msg = f"{name} must be {rule}, got {number}"
        raise ValueError(msg)
    return number


def _validated_init(init, k, n_channels, channel_axis):
    if isinstance(init, str):
        if init not in _STARTS:
            msg = f"init must be one of {_STARTS} or an array of colors, got {init!r}"
            raise ValueError(msg)
        return init
    return np.asarray(init, dtype=np.float64).reshape(k, n_channels)
