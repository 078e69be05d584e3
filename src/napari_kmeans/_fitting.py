"""From a sample of pixels to a palette."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._arguments import MAX_COLORS
from napari_kmeans._lloyd import Fit, cluster_means, lloyd
from napari_kmeans._nearest import nearest
from napari_kmeans._one_channel import MAX_OPTIMUM, optimal_centers
from napari_kmeans._points import frame_of, to_points
from napari_kmeans._seeding import kmeans_plus_plus, random_pixels, searched_centers
from napari_kmeans._spaces import (
    centers_of,
    colors_of,
    errors_in_units,
    points_of,
    shown_centers,
    squared_units,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from napari_kmeans._arguments import Layout
    from napari_kmeans._cells import Partition
    from napari_kmeans._point_sources import Measure
    from napari_kmeans._sample import FittedPixels, Sample

__all__ = ["FitOptions", "IterationState", "Model", "fit_curve", "fit_palette"]

# Searches for a start called thorough, each from the best one before.
_EFFORT = 10


@dataclasses.dataclass(frozen=True, eq=False)
class IterationState:
    """What a callback is told after an iteration.

    Parameters
    ----------
    n_iter : int
        Number of the iteration, from 1.
    mse : float
        Squared distance of the pixels to the mean of their cluster, summed over
        channels, mean over pixels, in squared units of the image, or of the color
        space if that is not "rgb". It never rises.
    centers : (k, C) or (k,) ndarray of float64
        Centers after the iteration, before rounding, in the units of the image.
    """

    n_iter: int
    mse: float
    centers: NDArray[np.float64]


class FitOptions(NamedTuple):
    """How a palette is fitted."""

    k: int
    iters: int
    # Name of a start, or colors (k, C).
    init: str | NDArray[Any]
    rng: np.random.Generator
    callback: Callable[[IterationState], object] | None
    # Colors (m, C) that the palette must have, m <= k.
    fixed: NDArray[Any]


class Model(NamedTuple):
    """A fitted palette, from dark to light, and how it fits."""

    palette: NDArray[Any]
    counts: NDArray[np.int64]
    # In squared units of the image.
    mse: float
    n_iter: int
    converged: bool
    # Entry of each counted color, if colors were counted and fitted.
    labels: NDArray[Any] | None
    # Whether the palette has every color of the sample.
    is_lossless: bool


def fit_palette(sample: Sample, options: FitOptions) -> Model:
    """Fit at most `options.k` colors to a sample."""
    k, fixed = options.k, options.fixed
    apart = _apart(sample, fixed)
    everything = _everything(sample, np.concatenate((fixed, apart)), k)
    if everything is not None:
        return everything
    assert sample.fitted is not None, "else a single color is everything"
    if k == 1:
        apart = apart[:0]
    fit = _fit(sample.fitted, options, k - len(apart))
    least = k - len(apart) if options.iters > 0 else 1
    model = _rounded(fit, sample.fitted, fixed, _is_rgb(sample.layout), least)
    return _with_apart(model, apart, _is_rgb(sample.layout))


def fit_curve(sample: Sample, options: FitOptions, ks: list[int]) -> list[float]:
    """Give the error for each of ascending `ks`, each fit starting from the last."""
    errors = []
    centers: NDArray[np.float64] | None = None
    for k in ks:
        model = _everything(sample, sample.unseen, k)
        if model is None and sample.fitted is not None:
            n_fitted = max(1, k - len(sample.unseen))
            fit = _fit(sample.fitted, options._replace(k=k), n_fitted, centers)
            centers = fit.centers
            is_rgb = _is_rgb(sample.layout)
            model = _rounded(fit, sample.fitted, options.fixed, is_rgb, n_fitted)
        assert model is not None, "what is not seen is everything"
        errors.append(model.mse)
    return errors


def _fit(
    pixels: FittedPixels,
    options: FitOptions,
    k: int,
    grown: NDArray[np.float64] | None = None,
) -> Fit:
    """Fit k centers, the first of them fixed, from a start or from fewer centers."""
    pinned = centers_of(options.fixed, pixels.space)
    source = pixels.source
    if grown is None:
        start = _start(pixels, options, k)
    else:
        start = np.concatenate((grown, source.worst(grown, k - len(grown))))
    return lloyd(
        source.partition,
        source.worst,
        _pinned(start, pinned, k),
        options.iters,
        _reporter(options.callback, pixels),
        len(pinned),
    )


def _start(pixels: FittedPixels, options: FitOptions, k: int) -> NDArray[np.float64]:
    """Give the initial centers: k at most, or some more where colors are given."""
    counted, _, space, source = pixels
    init = options.init
    if not isinstance(init, str):
        return centers_of(init, space)
    if init in ("auto", "thorough"):
        if counted is not None and _is_small_line(counted.colors, k):
            values = points_of(counted.colors, space)[:, 0]
            order = np.argsort(values, kind="stable")
            weights = counted.counts[order].astype(np.float64)
            return optimal_centers(values[order], weights, k)[:, np.newaxis]
        # Enough points for each center, and few enough for many rounds.
        m = max(min(1 << 10, (1 << 16) // k), 80) * k
        centers = searched_centers(*source.coarse(k, m), k, 1)
        if init == "auto":
            return centers
        finer = searched_centers(*source.coarse(k, 1 << 16), k, _EFFORT)
        fits = [lloyd(source.partition, source.worst, c, 100) for c in (centers, finer)]
        return min(fits, key=lambda fit: source.measure(fit.centers).mse).centers
    if counted is None:
        points, counts = source.coarse(k, 0)
    else:
        points, counts = points_of(counted.colors, space), counted.counts
    if init == "random":
        chosen = random_pixels(counts.astype(np.int64), k, options.rng)
    else:
        weights = counts.astype(np.float64)
        chosen = kmeans_plus_plus(points, weights, min(k, len(points)), options.rng)
    return points[chosen].astype(np.float64)


def _is_small_line(colors: NDArray[Any], k: int) -> bool:
    """Whether colors (n, C) of one channel are few enough to find their optimum."""
    n, n_channels = colors.shape
    return bool(n_channels == 1 and n <= 1 << 16 and n * k <= MAX_OPTIMUM)


def _pinned(
    start: NDArray[np.float64], pinned: NDArray[np.float64], k: int
) -> NDArray[np.float64]:
    """Give k centers at most: those pinned, and others that are not nearest to them."""
    for center in pinned:
        if len(start) + len(pinned) <= k:
            break
        taken = np.square(start - center).sum(axis=1).argmin()
        start = np.delete(start, taken, axis=0)
    return np.concatenate((pinned, start[: k - len(pinned)]))


def _rounded(
    fit: Fit, pixels: FittedPixels, fixed: NDArray[Any], is_rgb: bool, least: int
) -> Model:
    """Round centers, of which the first are fixed, to a palette of distinct colors.

    At least `least` of them are fixed or used, if there are so many colors.
    """
    _, _, space, source = pixels
    colors = np.concatenate((fixed, colors_of(fit.centers[len(fixed) :], space)))
    error = np.inf
    while True:
        palette, first = np.unique(colors, axis=0, return_index=True)
        order = _dark_to_light(palette, is_rgb)
        palette, is_fixed = palette[order], first[order] < len(fixed)
        centers = centers_of(palette, space)
        measure = source.measure(centers)
        stays = is_fixed | (measure.counts > 0)
        n_missing = least - int(np.count_nonzero(stays))
        if n_missing <= 0 or not 0 < measure.mse < error:
            break
        # Colors that no pixel is nearest to make room for those of the largest error,
        # which then have none.
        error = measure.mse
        worst = colors_of(source.worst(centers, n_missing), space)
        colors = np.concatenate((fixed, palette[stays & ~is_fixed], worst))
    mse = _mse_in_units(measure, palette, pixels)
    return Model(
        palette, measure.counts, mse, fit.n_iter, fit.converged, measure.labels, False
    )


def _mse_in_units(
    measure: Measure, palette: NDArray[Any], pixels: FittedPixels
) -> float:
    """Give the mean squared distance to the palette in units of the image."""
    counted, blocks, space, _ = pixels
    if space.gamut is None:
        return squared_units(measure.mse, space)
    batches: Iterable[tuple[NDArray[Any], Any, Any]]
    if counted is not None:
        batches = [(counted.colors, counted.counts, measure.labels)]
    else:
        centers = centers_of(palette, space)
        batches = (
            (block, 1, nearest(points_of(block, space), centers)[0])
            for block in blocks()
        )
    total = 0.0
    for colors, counts, labels in batches:
        total += float((errors_in_units(colors, palette[labels], space) * counts).sum())
    return total / float(measure.counts.sum())


def _apart(sample: Sample, fixed: NDArray[Any]) -> NDArray[Any]:
    """Give the entry (1, C) for what is fully transparent, or none (0, C)."""
    is_there = bool(len(fixed)) and bool((fixed[:, -1] <= 0).any())
    return sample.unseen[:0] if is_there else sample.unseen


def _everything(sample: Sample, more: NDArray[Any], k: int) -> Model | None:
    """Give the palette of all colors and `more` (m, C), if that is k at most."""
    colors, counts = more[:0], np.zeros(0, dtype=np.int64)
    if sample.fitted is not None:
        counted = sample.fitted.counted
        if counted is None or len(counted.colors) > min(k, MAX_COLORS):
            return None
        colors, counts = counted
    palette, entry = np.unique(
        np.concatenate((colors, more)), axis=0, return_inverse=True
    )
    if len(palette) > k:
        return None
    order = _dark_to_light(palette, _is_rgb(sample.layout))
    totals = np.zeros(len(palette), dtype=np.int64)
    totals[entry.reshape(-1)[: len(colors)]] = counts
    return Model(palette[order], totals[order], 0.0, 0, True, None, True)


def _with_apart(model: Model, apart: NDArray[Any], is_rgb: bool) -> Model:
    """Sort entries (m, C) that no pixel counts for into the palette."""
    if len(apart) == 0:
        return model
    palette = np.concatenate((model.palette, apart))
    order = _dark_to_light(palette, is_rgb)
    counts = np.append(model.counts, np.zeros(len(apart), np.int64))[order]
    labels = None if model.labels is None else np.argsort(order)[model.labels]
    return model._replace(palette=palette[order], counts=counts, labels=labels)


def _is_rgb(layout: Layout) -> bool:
    return not layout.is_gray and layout.n_channels == 3


def _dark_to_light(palette: NDArray[Any], is_rgb: bool) -> NDArray[np.intp]:
    """Order distinct colors (K, C) by Rec. 709 luma, or the sum of their channels."""
    columns = to_points(palette, frame_of(palette)).T.astype(np.float64)
    # Whole numbers, so that lumas of integers are equal exactly if they are.
    factors = (2126.0, 7152.0, 722.0) if is_rgb else (1.0,) * len(columns)
    luma = np.zeros(len(palette))
    for factor, column in zip(factors, columns, strict=True):
        luma += factor * column
    return np.lexsort((*palette.T[::-1], luma))


def _reporter(
    callback: Callable[[IterationState], object] | None, pixels: FittedPixels
) -> Callable[[int, Partition, NDArray[np.float64]], None] | None:
    """Turn what an iteration finds into what `callback` is told."""
    if callback is None:
        return None
    source, space = pixels.source, pixels.space
    everything = source.partition(np.zeros((1, len(space.frame.origin))))
    middle = everything.sums / everything.weights[0]
    variance = source.measure(middle).mse

    def report(n_iter: int, parts: Partition, centers: NDArray[np.float64]) -> None:
        # Steiner: the squares about the middle are those about the means of the
        # clusters, and those of these means.
        moved = np.square(cluster_means(parts, centers) - middle).sum(axis=1)
        mse = variance - float((parts.weights * moved).sum() / everything.weights[0])
        callback(
            IterationState(
                n_iter, squared_units(mse, space), shown_centers(centers, space)
            )
        )

    return report
