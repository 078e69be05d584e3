"""From pixels to a palette: start, iterate, round and sort.

`fit_palette` is the way of one fit to a `FitSource`, which is made once for many fits:
far colors are set apart (`outliers`). A start comes from `search`, from draws
(`starts`), from the optimum of one channel (`one_channel`) or from the caller; Lloyd's
algorithm (`lloyd`) moves it; the centers are rounded to distinct colors, and sorted
from dark to light. How many colors reach a quality is left to `fewest`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core import spaces
from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.color_counts import ColorCounts, trusted_counts
from napari_kmeans._core.lloyd import Fit, lloyd
from napari_kmeans._core.nearest import nearest
from napari_kmeans._core.one_channel import MAX_OPTIMUM, optimal_centers
from napari_kmeans._core.outliers import Apart, set_apart
from napari_kmeans._core.pixels import (
    CountedImage,
    FittedPixels,
    Measure,
    fitted_pixels,
    fold_image,
    seen_colors,
    unseen_color,
    weighted_points,
)
from napari_kmeans._core.quality import mean_color_error, sum_squared_errors
from napari_kmeans._core.search import searched_centers
from napari_kmeans._core.spaces import Layout
from napari_kmeans._core.starts import kmeans_plus_plus, random_pixels

__all__ = [
    "Callback",
    "FitOptions",
    "FitSource",
    "FittedImage",
    "IterationState",
    "PaletteResult",
    "PreparedImage",
    "fit_palette",
    "fit_source",
    "prepared_image",
]

# Searches for a start called thorough, each from the best one before.
_EFFORT = 10
# Starts that nothing is drawn for.
_SEARCHES = ("auto", "thorough")
# Iterations that two starts are compared by.
_TRIED = 10


@dataclass(frozen=True, eq=False)
class IterationState:
    """The state of a fit after an iteration, as a callback gets it.

    Parameters
    ----------
    n_iter : int
        Number of the iteration, from 1.
    mse : float
        Squared distance of the pixels of each cluster to its center, summed over
        channels, mean over pixels, in squared units of the image, or of the color
        space if that is not "rgb". With alpha, the mean over black and white, in which
        opacity counts as `quantize_kmeans` rounds it, and with channel weights, unless
        all are equal, that of weighted channels. It never rises.
    centers : (k, C) or (k,) ndarray of float64
        Centers after the iteration, before rounding, in the units of the image.
    """

    n_iter: int
    mse: float
    centers: Floats


@dataclass(frozen=True, eq=False)
class PaletteResult:
    """A fitted palette.

    Parameters
    ----------
    palette : (K, C) or (K,) ndarray
        Distinct colors in the dtype of the image, from dark to light.
    counts : (K,) ndarray of int64
        Number of fitted pixels whose nearest color each entry is. Pixels that are not
        finite, or fully transparent, are not fitted.
    mse : float
        Squared distance of the fitted pixels to their palette colors, summed over
        channels, mean over pixels, in squared units of the image, whatever the color
        space and the weights. With alpha, the mean of that over black and that over
        white, for which `quantize_kmeans` has the formula.
    n_iter : int
        Lloyd iterations that were made.
    converged : bool
        Whether the iterations ended because no label changed.
    channel_weights : (C,) ndarray of float64, or None
        What each channel counted, as numbers; None if they all counted by their values.
    """

    palette: Array
    counts: NDArray[np.int64]
    mse: float
    n_iter: int
    converged: bool
    channel_weights: Floats | None = None

    def __repr__(self) -> str:
        """Return the size and dtype of the palette, not all of its colors."""
        shape = " x ".join(str(length) for length in self.palette.shape)
        return (
            f"PaletteResult(palette={shape} {self.palette.dtype}, "
            f"counts={self.counts.sum()} pixels, mse={self.mse:.6g}, "
            f"n_iter={self.n_iter}, converged={self.converged})"
        )


Callback: TypeAlias = Callable[[IterationState], object]


class FitOptions(NamedTuple):
    """How a palette is fitted."""

    k: int
    iters: int
    # Name of a start, or colors (k, C).
    init: str | Array
    rng: np.random.Generator
    callback: Callback | None
    # Colors (m, C) that the palette must have, m <= k.
    fixed: Array


class FitSource(NamedTuple):
    """An image, prepared for palettes of any number of colors."""

    image: CountedImage
    # None if no pixel can be seen.
    pixels: FittedPixels | None
    # The farthest colors, and what is left without them, if there are some.
    apart: Apart | None = None
    rest: FitSource | None = None


@dataclass(frozen=True, eq=False)
class PreparedImage(CountedImage):
    """A counted image that was prepared before it is fitted."""

    source: FitSource | None = None


class FittedImage(NamedTuple):
    """A fitted palette, and what the fit knows of it beyond that."""

    result: PaletteResult
    # Entry of each fitted color, where colors were counted.
    labels: Array | None = None
    # Whether the palette has every color that is fitted.
    is_lossless: bool = False


def prepared_image(image: CountedImage) -> PreparedImage:
    """Return a counted image that `fit_source` need not prepare once more.

    It keeps the points that are fitted in memory.
    """
    found = image.images, image.masks, image.layout, image.counted, image.outside
    return PreparedImage(*found, fit_source(image))


def fit_source(image: CountedImage) -> FitSource:
    """Prepare an image for `fit_palette`, unless it is a `PreparedImage`."""
    if isinstance(image, PreparedImage) and image.source is not None:
        known = image.source.image
        # It may have been given another layout or other counts since.
        if known.layout == image.layout and known.counted is image.counted:
            return image.source
    pixels = fitted_pixels(image)
    apart = None if pixels is None else set_apart(image, pixels.space)
    if apart is None:
        return FitSource(image, pixels)
    return FitSource(image, pixels, apart, fit_source(apart.rest))


def fit_palette(source: FitSource, options: FitOptions) -> FittedImage:
    """Fit at most `options.k` colors to an image."""
    image, pixels, k = source.image, source.pixels, options.k
    fixed = _required(image, options, has_seen=pixels is not None)
    if pixels is None:
        nothing = trusted_counts(fixed[:0], np.zeros(0, np.int64))
        return _lossless(nothing, fixed, image.layout)
    if pixels.counted is not None and len(pixels.counted.colors) <= k:
        everything = _lossless(pixels.counted, fixed, image.layout)
        if len(everything.result.palette) <= k:
            return everything
    if source.apart is not None and source.rest is not None:
        fitted = _fit_beside(source.apart, source.rest, options)
        if fitted is not None:
            return fitted
    pinned = spaces.centers_of(fixed, pixels.space)
    if isinstance(options.init, str):
        start = _start_beside(pinned, pixels, options)
    else:
        start = spaces.centers_of(options.init, pixels.space)
    fit = lloyd(
        pixels.points,
        _pinned(start, pinned, k),
        options.iters,
        _reporter(options.callback, pixels),
        len(pinned),
    )
    return _rounded(fit, image, pixels, fixed, k if options.iters > 0 else 1)


def _fit_beside(
    apart: Apart, rest: FitSource, options: FitOptions
) -> FittedImage | None:
    """Fit the far colors as they are, and a palette to the rest.

    Returns None if there is no room for all, or centers are given to begin with.
    """
    is_fixed = (apart.colors[:, np.newaxis] == options.fixed).all(axis=2).any(axis=1)
    options = options._replace(k=options.k - int(np.count_nonzero(~is_fixed)))
    required = _required(rest.image, options, has_seen=True)
    if not isinstance(options.init, str) or options.k <= len(required):
        return None
    n_far = int(apart.counts.sum())
    callback = _callback_beside(options.callback, apart, rest)
    fitted = fit_palette(rest, options._replace(callback=callback))
    result, layout = fitted.result, rest.image.layout
    n_rest = int(result.counts.sum())
    colors = np.concatenate(
        (result.palette.reshape(-1, layout.n_channels), apart.colors)
    )
    palette, entry = _sorted_palette(colors, layout)
    counts = np.zeros(len(palette), np.int64)
    np.add.at(counts, entry, np.concatenate((result.counts, apart.counts)))
    labels = None
    if fitted.labels is not None and apart.places is not None:
        labels = np.empty(len(apart.places), np.intp)
        rest_entries, far_entries = np.split(entry, [len(result.palette)])
        labels[apart.places] = np.concatenate(
            (rest_entries[fitted.labels], far_entries)
        )
    shown = palette[:, 0] if layout.is_gray else palette
    mse = result.mse * n_rest / (n_rest + n_far)
    whole = PaletteResult(
        shown, counts, mse, result.n_iter, result.converged, result.channel_weights
    )
    return FittedImage(whole, labels, fitted.is_lossless)


def _callback_beside(
    callback: Callback | None, apart: Apart, rest: FitSource
) -> Callback | None:
    """Return what tells `callback` of iterations of the rest as of the whole."""
    if callback is None or rest.pixels is None:
        return None
    n_channels = len(rest.pixels.space.frame.origin)
    n_rest = float(rest.pixels.points.partition(np.zeros((1, n_channels))).weights[0])
    share = n_rest / (n_rest + float(apart.counts.sum()))

    def report(state: IterationState) -> None:
        far = apart.colors.astype(np.float64).reshape(-1, *state.centers.shape[1:])
        centers = np.concatenate((state.centers, far))
        callback(IterationState(state.n_iter, state.mse * share, centers))

    return report


def _required(image: CountedImage, options: FitOptions, *, has_seen: bool) -> Array:
    """Return the fixed colors, and that of what is fully transparent if it has room.

    It has room if it leaves a place for what is seen.
    """
    fixed = options.fixed
    if image.layout.has_alpha and (fixed[:, -1] <= 0).any():
        return fixed
    unseen = unseen_color(image)
    n_taken = len(fixed) + len(unseen) + has_seen
    return np.concatenate((fixed, unseen)) if n_taken <= options.k else fixed


def _start_beside(pinned: Floats, pixels: FittedPixels, options: FitOptions) -> Floats:
    """Return at most k initial centers, the first of them pinned (m, D)."""
    k, m = options.k, len(pinned)
    if m == k:
        return pinned
    beside = np.concatenate((pinned, _start(pixels, options, k - m)))
    if m == 0 or options.init not in _SEARCHES:
        return beside
    # Some of these may be of no use beside pinned ones, and of k centers those that
    # give way to pinned ones may be missed: a few points show which start is better.
    start = _pinned(_start(pixels, options, k), pinned, k)
    few = weighted_points(*pixels.points.coarse(k, 1 << 12), 0)
    fits = [lloyd(few, centers, _TRIED, None, m) for centers in (beside, start)]
    return min(fits, key=lambda fit: few.measure(fit.centers).mse).centers


def _start(pixels: FittedPixels, options: FitOptions, k: int) -> Floats:
    """Return k initial centers, or those of all colors if these are fewer."""
    counted, space, points = pixels
    init = options.init
    if counted is not None and len(counted.colors) <= k:
        return spaces.centers_of(counted.colors, space)
    if init in _SEARCHES:
        if counted is not None and _is_small_line(counted.colors, k):
            values = spaces.points_of(counted.colors, space)[:, 0]
            order = np.argsort(values, kind="stable")
            weights = counted.counts[order].astype(np.float64)
            return optimal_centers(values[order], weights, k)[:, np.newaxis]
        # Enough points for each center, and few enough for many rounds.
        m = max(min(1 << 10, (1 << 16) // k), 80) * k
        centers = searched_centers(*points.coarse(k, m), k, 1)
        if init == "auto":
            return centers
        finer = searched_centers(*points.coarse(k, 1 << 16), k, _EFFORT)
        fits = [lloyd(points, start, 100) for start in (centers, finer)]
        return min(fits, key=lambda fit: points.measure(fit.centers).mse).centers
    if counted is None:
        drawn, counts = points.coarse(k, 0)
    else:
        drawn, counts = spaces.points_of(counted.colors, space), counted.counts
    if init == "random":
        chosen = random_pixels(counts.astype(np.int64), k, options.rng)
    else:  # "k-means++"
        weights = counts.astype(np.float64)
        chosen = kmeans_plus_plus(drawn, weights, min(k, len(drawn)), options.rng)
    return drawn[chosen].astype(np.float64)


def _is_small_line(colors: Array, k: int) -> bool:
    """Whether colors (n, C) of one channel are few enough to find their optimum."""
    n, n_channels = colors.shape
    return bool(n_channels == 1 and n <= 1 << 16 and n * k <= MAX_OPTIMUM)


def _pinned(start: Floats, pinned: Floats, k: int) -> Floats:
    """Return at most k centers: those pinned, and others not nearest to them."""
    for center in pinned:
        if len(start) + len(pinned) <= k:
            break
        taken = np.square(start - center).sum(axis=1).argmin()
        start = np.delete(start, taken, axis=0)
    return np.concatenate((pinned, start[: k - len(pinned)]))


def _rounded(
    fit: Fit, image: CountedImage, pixels: FittedPixels, fixed: Array, least: int
) -> FittedImage:
    """Round centers, of which the first are fixed, to a palette of distinct colors.

    At least `least` of them are fixed or used, if there are so many colors.
    """
    space, points, n_fixed = pixels.space, pixels.points, len(fixed)
    colors = np.concatenate((fixed, spaces.colors_of(fit.centers[n_fixed:], space)))
    error = np.inf
    while True:
        palette, first = np.unique(colors, axis=0, return_index=True)
        order = spaces.dark_to_light(palette, space.layout)
        palette, is_fixed = palette[order], first[order] < n_fixed
        centers = spaces.centers_of(palette, space)
        measure = points.measure(centers, spaces.opacity_excess(space))
        stays = is_fixed | (measure.counts > 0)
        n_missing = least - int(np.count_nonzero(stays))
        if n_missing <= 0 or not 0 < measure.mse < error:
            break
        # Replace unused colors by the colors with the largest error.
        error = measure.mse
        worst = spaces.colors_of(points.worst(centers, n_missing), space)
        colors = np.concatenate((fixed, palette[stays & ~is_fixed], worst))
    mse = _mse_in_units(measure, palette, pixels, image)
    labels: Array | None = measure.labels
    counts = measure.counts
    if n_missing > 0:
        # More colors would not lower the error that squares can tell.
        palette, counts = palette[stays], counts[stays]
        labels = None if labels is None else (np.cumsum(stays) - 1)[labels]
    shown = palette[:, 0] if space.layout.is_gray else palette
    weights = _weights_of(space.layout)
    result = PaletteResult(shown, counts, mse, fit.n_iter, fit.converged, weights)
    known = None if pixels.counted is None else labels
    return FittedImage(result, known)


def _mse_in_units(
    measure: Measure, palette: Array, pixels: FittedPixels, image: CountedImage
) -> float:
    """Return the mean squared distance to the palette in units of the image."""
    counted, space, _ = pixels
    has_alpha = space.layout.has_alpha
    # Points are no farther than that, but colors may be.
    squares = measure.mse * float(measure.counts.sum())
    is_weighted = space.factors is not None
    if space.gamut is None and not is_weighted and squares < (spaces.FARTHEST / 2) ** 2:
        return spaces.squared_units(measure.mse, space)
    centers = spaces.centers_of(palette, space)
    labels: Array | None = measure.labels
    if counted is not None:
        if labels is None:
            labels, _ = nearest(spaces.points_of(counted.colors, space), centers)
        others = palette[labels]
        return mean_color_error(counted.colors, counted.counts, others, has_alpha)

    def find(part: CountedImage) -> tuple[float, int]:
        pairs = (
            (block, palette[nearest(spaces.points_of(block, space), centers)[0]])
            for block in seen_colors(part)
        )
        return sum_squared_errors(pairs, has_alpha)

    total, n_pixels = fold_image(image, find, lambda some: np.sum(some, axis=0))
    return float(total / n_pixels)


def _lossless(counted: ColorCounts, fixed: Array, layout: Layout) -> FittedImage:
    """Return the palette of all colors that were counted, and of the fixed ones."""
    palette, entry = _sorted_palette(np.concatenate((counted.colors, fixed)), layout)
    labels = entry[: len(counted.colors)]
    totals = np.zeros(len(palette), dtype=np.int64)
    totals[labels] = counted.counts
    shown = palette[:, 0] if layout.is_gray else palette
    result = PaletteResult(shown, totals, 0.0, 0, True, _weights_of(layout))
    return FittedImage(result, labels, is_lossless=True)


def _weights_of(layout: Layout) -> Floats | None:
    return None if layout.weights is None else np.array(layout.weights)


def _sorted_palette(colors: Array, layout: Layout) -> tuple[Array, Indices]:
    """Return a palette of colors (n, C), and the entry (n,) of each."""
    palette, entry = np.unique(colors, axis=0, return_inverse=True)
    order = spaces.dark_to_light(palette, layout)
    return palette[order], np.argsort(order)[entry.reshape(-1)]


def _reporter(
    callback: Callback | None, pixels: FittedPixels
) -> Callable[[int, Floats, Floats, Floats], None] | None:
    """Return what tells `callback` of an iteration."""
    if callback is None:
        return None
    points, space = pixels.points, pixels.space
    everything = points.partition(np.zeros((1, len(space.frame.origin))))
    middle = everything.sums / everything.weights[0]
    variance = points.measure(middle).mse

    def report(n_iter: int, weights: Floats, means: Floats, centers: Floats) -> None:
        # Steiner: the squares about any point are those about the mean, and that of
        # its distance to the mean. Only fixed centers are not the means.
        saved = np.square(means - middle) - np.square(means - centers)
        weighted = float((weights * saved.sum(axis=1)).sum())
        # Of centers that miss next to nothing, no more than rounding is left.
        mse = max(variance - weighted / float(everything.weights[0]), 0.0)
        shown = spaces.shown_centers(centers, space)
        shown = shown[:, 0] if space.layout.is_gray else shown
        callback(IterationState(n_iter, spaces.squared_units(mse, space), shown))

    return report
