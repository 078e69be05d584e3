"""What layers hold, in few colors: fitted, labeled and painted in any thread.

`quantize_source` takes a `Source` and how it is to be reduced, and returns an
`Outcome`: palette, labels, images and error. It counts each level of each image once,
or each slice of it, and hands on what the core has found. Of lazy data, labels and
images are lazy, too, and only the finest level is counted. It touches no layer; what is
wrong with the pixels, the mask or a palette is a `LayerError`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import reduce
from itertools import zip_longest
from operator import add
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from napari_kmeans import (
    ColorCounts,
    IterationState,
    PaletteResult,
    TooManyColorsError,
    __version__,
    read_palette,
)
from napari_kmeans._core.arguments import (
    NoFinitePixelError,
    checked_dither,
    checked_image,
    is_lazy,
)
from napari_kmeans._core.arrays import Array, Labels, Mask
from napari_kmeans._core.blocks import observed
from napari_kmeans._core.counted_image import (
    MappedImage,
    Tally,
    color_image,
    count_image,
    fit_image,
    label_counted,
    map_image,
    psnr_of,
    tally_image,
    weigh_channels,
)
from napari_kmeans._core.fitting import FittedImage
from napari_kmeans._core.mapping import cut_for
from napari_kmeans._core.pixels import CountedImage, framing_blocks
from napari_kmeans._files.palettes import read_names
from napari_kmeans._napari.edits import edit_record, renumber
from napari_kmeans._napari.layers import (
    LayerError,
    Source,
    cut_tiles,
    draw_mask,
    quoted,
    read_array,
    read_levels,
)
from napari_kmeans._napari.record import Fit, Record
from napari_kmeans._napari.settings import Settings

__all__ = [
    "Count",
    "EmptyMaskError",
    "LayerError",
    "Outcome",
    "PaletteError",
    "Progress",
    "contrast_weights",
    "count_parts",
    "fitted_mask",
    "fitting_palette",
    "number_pixels",
    "palette_record",
    "quantize_source",
    "weigh_parts",
]


# As `count_parts`.
Count: TypeAlias = Callable[..., list[CountedImage]]


class EmptyMaskError(LayerError):
    """No pixel that palettes are fitted to is inside of the mask."""


class PaletteError(LayerError):
    """A palette is none that the image can have."""


class Progress(NamedTuple):
    """How far a computation has come.

    Parameters
    ----------
    text : str
        What is done, in words.
    n_done, n_most : int
        Iterations made, and the most there will be; 0 as long as it is not known.
    part : int
        Which of several palettes is fitted.
    mse : float or None
        Mean squared error after an iteration, where distances are measured.
    """

    text: str
    n_done: int = 0
    n_most: int = 0
    part: int = 0
    mse: float | None = None


class Outcome(NamedTuple):
    """What layers become."""

    # Palette, error, and how they were found; nothing of the layers.
    record: Record
    # At each level of detail, with the axes of labels layers: entry + 1, and 0 for
    # pixels that are not finite. Lazy if the data of the layers are, or are too large.
    labels: tuple[Labels, ...]
    # At each level of detail; empty if no image is wanted.
    images: tuple[Array, ...]
    # The labels of the pixels of these, 0 where they are as in the source: where they
    # are not finite, or fully transparent.
    seen: tuple[Labels, ...]
    # The pixels inside of the mask, channels being one; None for all.
    inside: Mask | None


def quantize_source(
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
    count: Count | None = None,
) -> Outcome:
    """Fit palettes to the full resolution, and map all levels to them.

    `count` is asked for the counts, in the place of `count_parts`.

    Raises
    ------
    ValueError, OSError
        As `quantize_layer`, of what `prepare` has not checked.
    """
    now = Progress("Reading the layer")

    def begin(progress: Progress) -> None:
        nonlocal now
        now = progress
        report(now)

    def watch(n_done: int, n_all: int) -> None:
        text = f"{now.text}, {n_done / n_all:.0%}"
        report(Progress(text, n_done, n_all, now.part))

    with observed(watch):
        return _quantized(source, settings, begin, count or count_parts)


def _quantized(
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
    count: Count,
) -> Outcome:
    """Do what `quantize_source` does, and report each step that begins."""
    report(Progress("Reading the layer"))
    levels = read_levels(source)
    given, settings = _given_palette(source, settings)
    mask = fitted_mask(source, settings.slice_axis)
    report(Progress("Counting colors"))
    counts = count(levels[0], mask, source, settings)
    counts, settings = weigh_parts(counts, settings)
    pairs = [
        _part(counted, i, given, source, settings, report)
        for i, counted in enumerate(counts)
    ]
    parts = [part for part, _ in pairs]
    fitted = _record(parts, source, settings)
    record, lut = edit_record(fitted, settings)
    labels, images, seen, axis = [], [], [], source.channel_axis
    for level, image in enumerate(cut_tiles(image, axis) for image in levels):
        report(Progress("Labeling the pixels"))
        mapped = [one for _, one in pairs]
        if level > 0:
            mapped = _coarse_labels(image, parts, source, settings)
        entries = _joined(mapped, fitted, source, settings)
        report(Progress("Painting the pixels"))
        if settings.output != "labels":
            alpha, colors = source.has_alpha, record.palette[lut]
            images.append(
                color_image(entries, colors, image, channel_axis=axis, alpha=alpha)
            )
        numbers = number_pixels(entries, image, source, len(lut))
        if len(lut) > len(record.palette):
            numbers = renumber(numbers, lut, len(record.palette))
        labels.append(numbers)
        if settings.output != "labels":
            seen.append(numbers * (image[..., 3] > 0) if source.has_alpha else numbers)
    return Outcome(record, tuple(labels), tuple(images), tuple(seen), mask)


def palette_record(
    counts: Sequence[CountedImage],
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
) -> Record:
    """Return the record that `quantize_source` would, of what was counted.

    No pixel is read where colors were counted, and no error of dither is known. Where
    there were too many colors to count, nothing is known but palettes that are fitted.
    """
    given, settings = _given_palette(source, settings)
    parts = []
    for i, counted in enumerate(counts):
        fitted = _fitted(counted, i, given, source, settings, report)
        result = fitted.result if isinstance(fitted, FittedImage) else None
        tally = tally_image(counted, fitted) or _unmeasured(counted, given, result)
        parts.append(_Part(counted, tally, result))
    return edit_record(_record(parts, source, settings), settings)[0]


class _Part(NamedTuple):
    """The full resolution, or a slice of it, and its palette."""

    counted: CountedImage
    measured: MappedImage | Tally
    # None where the palette was given.
    result: PaletteResult | None


def _part(
    counted: CountedImage,
    number: int,
    given: Array | None,
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
) -> tuple[_Part, Labels]:
    """Map the image, or one of its slices, to the palette that is given or fitted."""
    fitted = _fitted(counted, number, given, source, settings, report)
    n_done, n_most = _n_iterations(number + 1, source, settings)
    report(Progress("Labeling the pixels", n_done, n_most, number))
    tiled = dataclasses.replace(counted, images=[cut_tiles(counted.images[0], -1)])
    mapped = map_image(tiled, fitted, dither=settings.dither)
    result = fitted.result if isinstance(fitted, FittedImage) else None
    return _Part(counted, mapped, result), mapped.labels


def _fitted(
    counted: CountedImage,
    number: int,
    given: Array | None,
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
) -> FittedImage | Array:
    """Find the palette of the image, or of one of its slices, unless it is given."""
    if given is not None:
        return given
    n_before, n_most = _n_iterations(number, source, settings)
    n_parts, iters = _n_parts(source, settings), settings.iters

    def tell(state: IterationState) -> None:
        text = f"Iteration {state.n_iter} of at most {iters}"
        if n_parts > 1:
            text = f"Slice {number + 1} of {n_parts}, {text.lower()}"
        text += f", mean squared error {state.mse:.4g}"
        n_done = n_before + state.n_iter
        report(Progress(text, n_done, n_most, number, state.mse))

    report(Progress("Finding colors", n_before, 0, number))
    init, rng, fixed = settings.init, settings.rng, settings.fixed
    return fit_image(
        counted, settings.k, iters, init=init, rng=rng, callback=tell, fixed=fixed
    )


def _n_parts(source: Source, settings: Settings) -> int:
    """Return how many palettes there will be."""
    axis = settings.slice_axis
    return 1 if axis is None else int(source.levels[0][0].shape[axis])


def _n_iterations(n_parts: int, source: Source, settings: Settings) -> tuple[int, int]:
    """Return the iterations of the first parts, and of all, if none ends early."""
    iters = 0 if settings.palette is not None else settings.iters
    return n_parts * iters, max(1, _n_parts(source, settings) * iters)


def _unmeasured(
    counted: CountedImage, given: Array | None, result: PaletteResult | None
) -> Tally:
    """Return what is known of a palette where no color is counted."""
    palette = given if result is None else result.palette
    assert palette is not None
    counts = np.zeros(len(palette), dtype=np.int64)
    if result is not None:
        counts = result.counts
    means = np.full((len(palette), counted.layout.n_channels), np.nan)
    return Tally(palette, counts, means, math.nan if result is None else result.mse)


def _record(parts: list[_Part], source: Source, settings: Settings) -> Record:
    """Return what layers remember of the palettes of all slices, as they were found."""
    palettes = [part.measured.palette for part in parts]
    slices = None
    if settings.slice_axis is not None:
        slices = np.repeat(np.arange(len(palettes)), list(map(len, palettes)))
    colors = _all_colors([part.counted for part in parts])
    fits = [part.result for part in parts if part.result is not None]
    palette = np.concatenate(palettes)
    counts = np.concatenate([part.measured.counts for part in parts])
    mse, psnr = _error(parts)
    return Record(
        palette=palette,
        counts=counts,
        means=np.concatenate([part.measured.means for part in parts]),
        slices=slices,
        fit=Fit(palette, counts),
        time=datetime.now(UTC).isoformat(),
        version=__version__,
        mask=getattr(source.mask, "name", None if source.mask is None else ""),
        mask_id=getattr(source.mask, "id", None),
        settings=settings,
        look=source.look,
        n_iter=max((fit.n_iter for fit in fits), default=0),
        converged=all(fit.converged for fit in fits),
        n_colors=None if colors is None else len(colors.colors),
        mse=mse,
        psnr=psnr,
        n_bytes=source.n_bytes[0],
    )


def _error(parts: list[_Part]) -> tuple[float, float]:
    """Return the error of all parts, and the same in decibels."""
    # What cannot be seen has no error. Where a palette is given, there is one part.
    sizes = [1 if part.result is None else part.result.counts.sum() for part in parts]
    # Shares first, for a sum of errors may not fit a float.
    n_pixels = max(1, sum(sizes))
    pairs = zip(parts, sizes, strict=True)
    mse = float(sum(part.measured.mse * float(n / n_pixels) for part, n in pairs))
    if mse == 0:
        return 0.0, math.inf
    # The range of pixels is asked for only where there are some.
    peak = max(psnr_of(part.counted, 1.0) for part in parts if part.measured.mse > 0)
    # Of what is beyond float64, infinite in one direction or the other.
    return mse, peak - 10 * math.log10(mse) if math.isfinite(peak) else peak


def _coarse_labels(
    image: Array, parts: list[_Part], source: Source, settings: Settings
) -> list[Labels]:
    """Label the pixels, or those of each slice, of a level that is not the finest."""
    # Lazy levels are not read for counts. One that was made has no other colors.
    counts = [part.counted for part in parts] if is_lazy(image) else []
    if len(source.levels) > 1 or source.mask is not None:
        counts = [dataclasses.replace(one, counted=None) for one in counts]
    counted = count_parts(image, None, source, settings, counts)
    counted, _ = weigh_parts(counted, settings)
    return [
        label_counted(one, part.measured.palette, dither=settings.dither)
        for one, part in zip(counted, parts, strict=True)
    ]


def _joined(
    mapped: list[Labels], record: Record, source: Source, settings: Settings
) -> Labels:
    """Return for each pixel its entry among those of all palettes."""
    if record.slices is None or settings.slice_axis is None:
        return mapped[0]
    dtype = np.min_scalar_type(len(record.palette))
    starts = np.searchsorted(record.slices, range(len(mapped))).astype(dtype)
    moved = [
        one.astype(dtype) + start for one, start in zip(mapped, starts, strict=True)
    ]
    return np.stack(moved, axis=_axis_of_labels(settings.slice_axis, source))


def _all_colors(parts: list[CountedImage]) -> ColorCounts | None:
    """Return the distinct colors of all parts, None if they are too many."""
    found = [part.counted for part in parts if part.counted is not None]
    try:
        return reduce(add, found) if len(found) == len(parts) else None
    except TooManyColorsError:
        return None


def count_parts(
    image: Array,
    mask: Mask | None,
    source: Source,
    settings: Settings,
    counts: Sequence[CountedImage] = (),
) -> list[CountedImage]:
    """Count the colors of the image, or of each of its slices, unless they are known.

    Planes in which errors cannot be diffused are refused before anything is counted.
    """
    axis, slice_axis = source.channel_axis, settings.slice_axis
    if axis is not None:
        axis %= image.ndim
    parts: Any = [image]
    masks: Any = [mask]
    if slice_axis is not None:
        parts = list(np.moveaxis(image, slice_axis, 0))
        masks = [None] * len(parts)
        if mask is not None:
            masks = np.moveaxis(mask, _axis_of_labels(slice_axis, source), 0)
        if axis is not None and axis > slice_axis:
            axis -= 1
    if is_lazy(image):
        cut_for(checked_dither(settings.dither), checked_image(parts[0], axis))
    how, found = (settings.color_space, source.has_alpha), []
    for part, inside, one in zip_longest(parts, masks, counts):
        try:
            found.append(count_image(part, axis, inside, *how, counts=one))
        except NoFinitePixelError as error:
            where = "" if mask is None else f" inside {source.mask_name}"
            which = "" if slice_axis is None else "A slice of "
            msg = (
                f"{which}{quoted(source.name)} has no pixel{where} that is a number: "
                "all are NaN or infinite"
            )
            raise LayerError(msg) from error
    return found


def weigh_parts(
    parts: list[CountedImage], settings: Settings
) -> tuple[list[CountedImage], Settings]:
    """Return counted parts whose channels count as is chosen, and that in numbers.

    "std" and "contrast" are those of all parts together: slices weigh alike.
    """
    weights, whole = settings.channel_weights, parts[0]
    if isinstance(weights, str):
        whole = _together(parts)
        if weights == "contrast":
            weights = contrast_weights(_ranges(whole))
    numbers = weigh_channels(whole, weights).layout.weights
    weighed = [weigh_channels(part, numbers) for part in parts]
    return weighed, dataclasses.replace(settings, channel_weights=numbers)


def contrast_weights(limits: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Return what each channel counts that is shown from a low to a high value.

    It is one over their difference, or 1 if that is 0 or beyond floats.
    """
    with np.errstate(over="ignore"):
        widths = [float(np.float64(high) - np.float64(low)) for low, high in limits]
    weights = [1 / width if width > 0 else 1.0 for width in widths]
    return tuple(weight if 0 < weight < math.inf else 1.0 for weight in weights)


def _together(parts: list[CountedImage]) -> CountedImage:
    """Return all parts as images that were counted together."""
    if len(parts) == 1:
        return parts[0]
    return dataclasses.replace(
        parts[0],
        images=[image for part in parts for image in part.images],
        masks=[mask for part in parts for mask in part.masks],
        counted=_all_colors(parts),
        outside=None,
    )


def _ranges(counted: CountedImage) -> list[tuple[float, float]]:
    """Return the least and the largest value of each channel of the fitted pixels."""
    blocks = list(framing_blocks(counted))
    if not blocks:
        return [(0.0, 0.0)] * counted.layout.n_channels
    low = np.min([block.min(axis=0) for block in blocks], axis=0).tolist()
    high = np.max([block.max(axis=0) for block in blocks], axis=0).tolist()
    return list(zip(low, high, strict=True))


def fitted_mask(source: Source, slice_axis: int | None = None) -> Mask | None:
    """Return the pixels that palettes are fitted to, or None for all.

    Raises
    ------
    EmptyMaskError
        If there are none, or none in a slice.
    """
    if source.mask is None:
        return None
    mask, name = draw_mask(source.mask), quoted(source.name)
    if not read_array(mask.any()):
        msg = (
            f"Nothing of {name} is inside {source.mask_name}: draw over a part of "
            "it, or choose “whole image”"
        )
        raise EmptyMaskError(msg)
    if slice_axis is not None:
        slices = np.moveaxis(mask, _axis_of_labels(slice_axis, source), 0)
        if not read_array(slices.any(axis=tuple(range(1, slices.ndim)))).all():
            msg = (
                f"{source.mask_name} leaves out some slices of {name} wholly: draw "
                "in each of them, or choose one palette for all slices"
            )
            raise EmptyMaskError(msg)
    return mask


def _axis_of_labels(slice_axis: int, source: Source) -> int:
    """Return the axis, channels not counted, that the slices are along."""
    channels = source.channels
    return slice_axis - (channels is not None and channels.axis < slice_axis)


def number_pixels(
    entries: Labels, image: Array, source: Source, n_colors: int
) -> Labels:
    """Turn palette entries (...) into labels from 1 on, 0 where an image is not finite.

    They have the axes of labels layers.
    """
    numbers = entries.astype(np.min_scalar_type(n_colors))
    numbers += 1
    axis, channels = source.channel_axis, source.channels
    if image.dtype.kind == "f":
        finite = np.isfinite(image)
        numbers[~(finite if axis is None else finite.all(axis=axis))] = 0
    if channels is not None and channels.axis > 0:
        numbers = np.expand_dims(numbers, channels.axis)
    return numbers


def fitting_palette(palette: Array, name: str, source: Source) -> Array:
    """Return the colors of a palette in the dtype of the image, which holds them.

    Raises
    ------
    PaletteError
        If they have other channels, or values that the image cannot have.
    """
    image, dtype, n_channels = quoted(source.name), source.dtype, source.n_channels
    fault = None
    if palette.shape[1:] != (() if n_channels is None else (n_channels,)):
        theirs, ours = palette.shape[1] if palette.ndim > 1 else 1, n_channels or 1
        words = ["one number" if n == 1 else f"{n} numbers" for n in (theirs, ours)]
        fault = f"have {words[0]} each, and the pixels of {image} {words[1]}"
    else:
        # What does not fit becomes another value, which is told below.
        with np.errstate(invalid="ignore", over="ignore"):
            colors = palette.astype(dtype)
        if not np.array_equal(colors, palette):
            low, high = float(palette.min()), float(palette.max())
            fault = (
                f"are {palette.dtype} from {low:.6g} to {high:.6g}, "
                f"which {image} cannot have, being {dtype}"
            )
    if fault is not None:
        msg = (
            f"The colors of {name} {fault}: "
            "choose a palette that was made for such an image"
        )
        raise PaletteError(msg)
    return colors


def _given_palette(source: Source, settings: Settings) -> tuple[Any, Settings]:
    """Return the palette that is given, if one is, and with the names of a file."""
    if not isinstance(settings.palette, str):
        return settings.palette, settings
    name = quoted(Path(settings.palette).name)
    try:
        palette, names = read_palette(settings.palette), read_names(settings.palette)
    except ValueError as error:
        msg = f"{name} is no sound palette file: {error.__cause__ or error}"
        raise PaletteError(msg) from error
    if settings.names is None and settings.merged is None:
        settings = dataclasses.replace(settings, names=dict(enumerate(names)))
    return fitting_palette(palette, name, source), settings
