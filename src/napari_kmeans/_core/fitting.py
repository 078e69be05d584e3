"""From a sample of pixels to a palette."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._core.color_counts import ColorCounts
from napari_kmeans._core.lloyd import Fit, cluster_means, lloyd
from napari_kmeans._core.nearest import nearest
from napari_kmeans._core.one_channel import MAX_OPTIMUM, optimal_centers
from napari_kmeans._core.pixels import counted_source
from napari_kmeans._core.points import frame_of, to_points
from napari_kmeans._core.search import kmeans_plus_plus, random_pixels, searched_centers
from napari_kmeans._core.spaces import (
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

    from napari_kmeans._core.arguments import Layout
    from napari_kmeans._core.cells import Partition
    from napari_kmeans._core.pixels import Measure
    from napari_kmeans._core.sample import FittedPixels, Sample

__all__ = [
    "FitOptions",
    "IterationState",
    "Model",
    "fit_curve",
    "fit_fewest",
    "fit_palette",
]

# Searches for a start called thorough, each from the best one before.
_EFFORT = 10
# Starts that nothing is drawn for.
_SEARCHES = ("auto", "thorough")
# Iterations that two starts are compared by.
_TRIED = 10
# Most times more colors that are tried next.
_LEAP = 8


@dataclasses.dataclass(frozen=True, eq=False)
class IterationState:
    """What a callback is told after an iteration.

    Parameters
    ----------
    n_iter : int
        Number of the iteration, from 1.
    mse : float
        Squared distance of the pixels of each cluster to its center, summed over
        channels, mean over pixels, in squared units of the image, or of the color
        space if that is not "rgb". With alpha, that of premultiplied colors. It never
        rises.
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
    # Entry of each counted color, if colors were counted and fitted; else of no use.
    labels: NDArray[Any] | None
    # Centers (k - m, D) of others than m fixed colors, before they were rounded, or
    # None if the palette has every color.
    centers: NDArray[np.float64] | None


class _Trial(NamedTuple):
    """A fit of `k` colors, and the logarithm of its error over the wanted one."""

    k: int
    model: Model
    excess: float


def fit_palette(
    sample: Sample, options: FitOptions, fewer: NDArray[np.float64] | None = None
) -> Model:
    """Fit at most `options.k` colors to a sample; a search may begin with fewer."""
    pixels, k, is_rgb = sample.fitted, options.k, _is_rgb(sample.layout)
    fixed = _required(sample, options)
    if pixels is None:
        return _lossless(ColorCounts(fixed[:0], np.zeros(0, np.int64)), fixed, is_rgb)
    if pixels.counted is not None and len(pixels.counted.colors) <= k:
        everything = _lossless(pixels.counted, fixed, is_rgb)
        if len(everything.palette) <= k:
            return everything
    source, pinned = pixels.source, centers_of(fixed, pixels.space)
    if isinstance(options.init, str):
        start = _start_beside(pinned, pixels, options, fewer)
    else:
        start = centers_of(options.init, pixels.space)
    fit = lloyd(
        source.partition,
        source.worst,
        _pinned(start, pinned, k),
        options.iters,
        _reporter(options.callback, pixels),
        len(pinned),
    )
    return _rounded(fit, pixels, fixed, is_rgb, k if options.iters > 0 else 1)


def fit_curve(sample: Sample, options: FitOptions, ks: list[int]) -> list[float]:
    """Give the error for each of ascending `ks`, each fit starting from the last."""
    errors = []
    centers = None
    for k in ks:
        model = fit_palette(sample, options._replace(k=k), centers)
        centers = model.centers
        errors.append(model.mse)
    return errors


def fit_fewest(
    sample: Sample, options: FitOptions, most: float, max_k: int
) -> Model | None:
    """Fit `options.k` colors or more, of an error of at most `most`; one less has more.

    None if `max_k` colors have more. Errors fall about as a power of the number of
    colors: a line through the logarithms of two fits tells the next number, and the
    middle of the range does where it was a poor guide.
    """

    def tried(k: int) -> _Trial:
        model = fit_palette(sample, options._replace(k=k))
        return _Trial(k, model, _log(model.mse) - _log(most))

    few, many = None, tried(options.k)
    while many.model.mse > most:
        if many.k == max_k:
            return None
        k = _LEAP * many.k if few is None else math.ceil(_crossing(few, many))
        # Fits too close to each other would tell more of chance than of the slope.
        k = max(k, many.k + 1 + many.k // 64)
        few, many = many, tried(min(k, max_k))
    in_a_row = 0  # Trials that were enough, or if negative, too few.
    while few is not None and many.k - few.k > 1:
        k = (few.k + many.k) // 2
        if abs(in_a_row) < 2:
            k = round(_crossing(few, many))
        trial = tried(min(max(k, few.k + 1), many.k - 1))
        if trial.model.mse > most:
            few, in_a_row = trial, min(in_a_row, 0) - 1
        else:
            many, in_a_row = trial, max(in_a_row, 0) + 1
    return many.model


def _crossing(few: _Trial, many: _Trial) -> float:
    """Give the number of colors, within a leap, where a line meets the wanted error."""
    slope = (few.excess - many.excess) / math.log(many.k / few.k)
    leap = math.log(_LEAP * many.k / few.k)
    return few.k * math.exp(min(few.excess / slope, leap) if slope > 0 else leap)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _required(sample: Sample, options: FitOptions) -> NDArray[Any]:
    """Give the fixed colors, and that of what is fully transparent if it has room.

    It has if it leaves a place for what is seen.
    """
    fixed, unseen = options.fixed, sample.unseen
    if sample.layout.has_alpha and (fixed[:, -1] <= 0).any():
        return fixed
    n_taken = len(fixed) + len(unseen) + (sample.fitted is not None)
    return np.concatenate((fixed, unseen)) if n_taken <= options.k else fixed


def _start_beside(
    pinned: NDArray[np.float64],
    pixels: FittedPixels,
    options: FitOptions,
    fewer: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Give at most k initial centers, the first of them pinned (m, D)."""
    k, m = options.k, len(pinned)
    if m == k:
        return pinned
    beside = np.concatenate((pinned, _start(pixels, options, k - m, fewer)))
    if m == 0 or fewer is not None or options.init not in _SEARCHES:
        return beside
    # Some of these may be of no use beside pinned ones, and of k centers those that
    # give way to pinned ones may be missed: what is better, fewer points tell.
    start = _pinned(_start(pixels, options, k), pinned, k)
    few = counted_source(*pixels.source.coarse(k, 1 << 12), 0)
    fits = [
        lloyd(few.partition, few.worst, centers, _TRIED, None, m)
        for centers in (beside, start)
    ]
    return min(fits, key=lambda fit: few.measure(fit.centers).mse).centers


def _start(
    pixels: FittedPixels,
    options: FitOptions,
    k: int,
    fewer: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Give k initial centers, or those of all colors if these are fewer."""
    counted, _, space, source = pixels
    init = options.init
    if counted is not None and len(counted.colors) <= k:
        return centers_of(counted.colors, space)
    if init in _SEARCHES:
        if counted is not None and _is_small_line(counted.colors, k):
            values = points_of(counted.colors, space)[:, 0]
            order = np.argsort(values, kind="stable")
            weights = counted.counts[order].astype(np.float64)
            return optimal_centers(values[order], weights, k)[:, np.newaxis]
        # Enough points for each center, and few enough for many rounds.
        m = max(min(1 << 10, (1 << 16) // k), 80) * k
        centers = searched_centers(*source.coarse(k, m), k, 1, fewer)
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
    labels, counts, _ = measure
    if n_missing > 0:
        # More colors would not lower the error that squares can tell.
        palette, counts = palette[stays], counts[stays]
        labels = None if labels is None else (np.cumsum(stays) - 1)[labels]
    moved = fit.centers[len(fixed) :]
    return Model(palette, counts, mse, fit.n_iter, fit.converged, labels, moved)


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


def _lossless(counted: ColorCounts, fixed: NDArray[Any], is_rgb: bool) -> Model:
    """Give the palette of all colors that were counted, and of the fixed ones."""
    palette, entry = np.unique(
        np.concatenate((counted.colors, fixed)), axis=0, return_inverse=True
    )
    order = _dark_to_light(palette, is_rgb)
    totals = np.zeros(len(palette), dtype=np.int64)
    totals[entry.reshape(-1)[: len(counted.colors)]] = counted.counts
    return Model(palette[order], totals[order], 0.0, 0, True, None, None)


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
        # Steiner: the squares about any point are those about the mean, and that of
        # its distance to the mean. Only fixed centers are not the means.
        means = cluster_means(parts, centers)
        saved = np.square(means - middle) - np.square(means - centers)
        weighted = float((parts.weights * saved.sum(axis=1)).sum())
        mse = variance - weighted / float(everything.weights[0])
        callback(
            IterationState(
                n_iter, squared_units(mse, space), shown_centers(centers, space)
            )
        )

    return report
