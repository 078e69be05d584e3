"""What layers hold, in few colors: fitted, labeled and painted in any thread.

`quantize_source` takes a `Source` and how it is to be reduced, and returns an
`Outcome`: palette, labels, images and error. It counts each level of each image once,
or each slice of it, and hands on what the core has found. It touches no layer; what is
wrong with the pixels, the mask or a palette is a `LayerError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_kmeans import (
    ColorCounts,
    IterationState,
    PaletteResult,
    TooManyColorsError,
    __version__,
    read_palette,
)
from napari_kmeans._core.arguments import NoFinitePixelError
from napari_kmeans._core.arrays import Array, Floats, Labels, Mask
from napari_kmeans._core.counted_image import (
    MappedImage,
    color_image,
    count_image,
    fit_image,
    map_image,
    psnr_of,
)
from napari_kmeans._core.pixels import CountedImage
from napari_kmeans._napari.colors import hex_colors
from napari_kmeans._napari.layers import (
    Source,
    draw_mask,
    labels_colormap,
    quoted,
    read_level,
    rgba_of,
)
from napari_kmeans._napari.record import Record
from napari_kmeans._napari.settings import Settings

__all__ = [
    "EmptyMaskError",
    "LayerError",
    "Outcome",
    "PaletteError",
    "Progress",
    "fitted_mask",
    "fitting_palette",
    "number_pixels",
    "quantize_source",
    "shown_as",
]


class LayerError(ValueError):
    """Layers cannot be quantized; the text says which, why, and what to do."""


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
    # pixels that are not finite.
    labels: tuple[Labels, ...]
    # At each level of detail; empty if no image is wanted.
    images: tuple[Array, ...]
    # How layers show the palette, and what labels layers need for it.
    rgba: Floats
    shown: dict[str, Any]


def quantize_source(
    source: Source, settings: Settings, report: Callable[[Progress], None]
) -> Outcome:
    """Fit palettes to the full resolution, and map all levels to them.

    Raises
    ------
    MemoryError
        If the data and what is made of it do not fit in the memory that is free.
    ValueError, OSError
        As `quantize_layer`, of what `prepare` has not checked.
    """
    n_bytes = _checked_bytes(source)
    report(Progress("Reading the layer"))
    image, given = read_level(source), settings.palette
    if isinstance(given, str):
        given = _read_palette(given, source)
    report(Progress("Counting colors"))
    parts = [
        _part(counted, i, given, source, settings, report)
        for i, counted in enumerate(_counted(image, source, settings))
    ]
    record = _record(parts, source, settings, n_bytes)
    labels, images = [], []
    mapped = [part.mapped for part in parts]
    for level in range(len(source.levels)):
        if level > 0:
            report(Progress("Labeling the pixels"))
            image = read_level(source, level)
            coarse = _counted(image, source._replace(mask=None), settings)
            mapped = [
                map_image(counted, part.mapped.palette, dither=settings.dither)
                for counted, part in zip(coarse, parts, strict=True)
            ]
        entries = _joined(mapped, source, settings)
        report(Progress("Painting the pixels"))
        if settings.output != "labels":
            axis, alpha, colors = source.channel_axis, source.has_alpha, record.palette
            images.append(
                color_image(entries, colors, image, channel_axis=axis, alpha=alpha)
            )
        labels.append(number_pixels(entries, image, source, len(record.palette)))
    rgba = rgba_of(record.palette, source.look)
    shown = shown_as(record, rgba)
    return Outcome(record, tuple(labels), tuple(images), rgba, shown)


class _Part(NamedTuple):
    """The full resolution, or a slice of it, in the colors of its palette."""

    counted: CountedImage
    mapped: MappedImage
    # None where the palette was given.
    result: PaletteResult | None


def _part(
    counted: CountedImage,
    number: int,
    given: Array | None,
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
) -> _Part:
    """Map the image, or one of its slices, to the palette that is given or fitted."""
    if given is not None:
        return _Part(counted, map_image(counted, given, dither=settings.dither), None)
    axis, iters = settings.slice_axis, settings.iters
    n_parts = 1 if axis is None else source.levels[0][0].shape[axis]

    def tell(state: IterationState) -> None:
        text = f"Iteration {state.n_iter} of at most {iters}"
        if n_parts > 1:
            text = f"Slice {number + 1} of {n_parts}, {text.lower()}"
        text += f", mean squared error {state.mse:.4g}"
        n_done = number * iters + state.n_iter
        report(Progress(text, n_done, n_parts * iters, number, state.mse))

    init, rng, fixed = settings.init, settings.rng, settings.fixed
    fitted = fit_image(
        counted, settings.k, iters, init=init, rng=rng, callback=tell, fixed=fixed
    )
    n_most = max(1, n_parts * iters)
    report(Progress("Labeling the pixels", (number + 1) * iters, n_most, number))
    mapped = map_image(counted, fitted, dither=settings.dither)
    return _Part(counted, mapped, fitted.result)


def _record(
    parts: list[_Part], source: Source, settings: Settings, n_bytes: int
) -> Record:
    """Return what layers remember of the palettes of all slices."""
    palettes = [part.mapped.palette for part in parts]
    slices = None
    if settings.slice_axis is not None:
        slices = np.repeat(np.arange(len(palettes)), list(map(len, palettes)))
    fits = [part.result for part in parts if part.result is not None]
    palette, recolored = np.concatenate(palettes), settings.recolored or {}
    for entry, color in recolored.items():
        palette[entry] = color
    # The error is that of the palette that was found.
    mse, psnr = (None, None) if recolored else _error(parts, source.has_alpha)
    return Record(
        palette=palette,
        counts=np.concatenate([part.mapped.counts for part in parts]),
        slices=slices,
        time=datetime.now(UTC).isoformat(),
        version=__version__,
        mask=getattr(source.mask, "name", None if source.mask is None else ""),
        mask_id=getattr(source.mask, "id", None),
        settings=settings,
        look=source.look,
        n_iter=max((fit.n_iter for fit in fits), default=0),
        converged=all(fit.converged for fit in fits),
        n_colors=_n_colors([part.counted.counted for part in parts]),
        mse=mse,
        psnr=psnr,
        n_bytes=n_bytes,
    )


def _error(parts: list[_Part], has_alpha: bool) -> tuple[float, float]:
    """Return the error of all parts, and the same in decibels."""
    sizes = [part.mapped.counts.sum() for part in parts]
    if has_alpha:
        # What cannot be seen has no error.
        sizes = [np.sum(part.counted.images[0][..., -1] > 0) for part in parts]
    # Shares first, for a sum of errors may not fit a float.
    n_pixels = max(1, sum(sizes))
    pairs = zip(parts, sizes, strict=True)
    mse = float(sum(part.mapped.mse * float(n / n_pixels) for part, n in pairs))
    if mse == 0:
        return 0.0, math.inf
    # The range of pixels is asked for only where there are some.
    peak = max(psnr_of(part.counted, 1.0) for part in parts if part.mapped.mse > 0)
    # Of what is beyond float64, infinite in one direction or the other.
    return mse, peak - 10 * math.log10(mse) if math.isfinite(peak) else peak


def _joined(mapped: list[MappedImage], source: Source, settings: Settings) -> Labels:
    """Return for each pixel its entry among those of all palettes."""
    if settings.slice_axis is None:
        return mapped[0].labels
    sizes = [len(one.palette) for one in mapped]
    dtype = np.min_scalar_type(sum(sizes))
    starts = (np.cumsum(sizes) - sizes).astype(dtype)
    moved = [
        one.labels.astype(dtype) + start
        for one, start in zip(mapped, starts, strict=True)
    ]
    return np.stack(moved, axis=_axis_of_labels(settings.slice_axis, source))


def _n_colors(parts: list[ColorCounts | None]) -> int | None:
    """Return the number of distinct colors of all parts, None if they are too many."""
    found = [part for part in parts if part is not None]
    try:
        return len(reduce(add, found).colors) if len(found) == len(parts) else None
    except TooManyColorsError:
        return None


def _counted(
    image: Array, source: Source, settings: Settings
) -> Iterator[CountedImage]:
    """Count the colors of the image, or of each of its slices."""
    axis, slice_axis = source.channel_axis, settings.slice_axis
    if axis is not None:
        axis %= image.ndim
    mask = fitted_mask(source, slice_axis)
    parts: Any = [image]
    masks: Any = [mask]
    if slice_axis is not None:
        parts = np.moveaxis(image, slice_axis, 0)
        masks = [None] * len(parts)
        if mask is not None:
            masks = np.moveaxis(mask, _axis_of_labels(slice_axis, source), 0)
        if axis is not None and axis > slice_axis:
            axis -= 1
    space, alpha = settings.color_space, source.has_alpha
    for part, inside in zip(parts, masks, strict=True):
        try:
            yield count_image(part, axis, inside, space, alpha)
        except NoFinitePixelError as error:
            where = "" if mask is None else f" inside {source.mask_name}"
            which = "" if slice_axis is None else "A slice of "
            msg = (
                f"{which}{quoted(source.name)} has no pixel{where} that is a number: "
                "all are NaN or infinite"
            )
            raise LayerError(msg) from error


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
    if not mask.any():
        msg = (
            f"Nothing of {name} is inside {source.mask_name}: draw over a part of "
            "it, or choose “the whole image”"
        )
        raise EmptyMaskError(msg)
    if slice_axis is not None:
        slices = np.moveaxis(mask, _axis_of_labels(slice_axis, source), 0)
        if not all(inside.any() for inside in slices):
            msg = (
                f"{source.mask_name} leaves out some slices of {name} wholly: draw "
                "in each of them, or choose one palette for the whole image"
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


def shown_as(record: Record, rgba: Floats) -> dict[str, Any]:
    """Return colormap and features of the labels, from 1 on, of a palette."""
    import pandas as pd

    table = {
        "index": np.arange(1, len(rgba) + 1),
        "hex": hex_colors(rgba),
        "pixels": record.counts,
        "share": record.counts / max(1, record.counts.sum()),
    }
    if record.slices is not None:
        table["slice"] = record.slices
    return {"colormap": labels_colormap(rgba), "features": pd.DataFrame(table)}


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


def _read_palette(path: str, source: Source) -> Array:
    """Read the palette of a file."""
    name = quoted(Path(path).name)
    try:
        palette = read_palette(path)
    except ValueError as error:
        msg = f"{name} is no sound palette file: {error.__cause__ or error}"
        raise PaletteError(msg) from error
    return fitting_palette(palette, name, source)


def _checked_bytes(source: Source) -> int:
    """Return the bytes of the pixels, if there is memory for what is made of them."""
    import psutil

    n_bytes = [
        sum(int(array.dtype.itemsize * math.prod(array.shape)) for array in arrays)
        for arrays in source.levels
    ]
    # Read from disk, painted, and labeled with one to four bytes.
    needed, free = 3 * sum(n_bytes), psutil.virtual_memory().available
    if needed > free:
        msg = (
            f"the layer needs some {needed / 1e9:.3g} GB of memory, and "
            f"{free / 1e9:.3g} GB are free; crop it or take a coarser level"
        )
        raise MemoryError(msg)
    return n_bytes[0]
