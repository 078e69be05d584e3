"""Layers' data in the colors of a palette: the core's functions, slice by slice."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans import kmeans_palette, map_to_palette, read_palette
from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._core.mapping import (
    color_pixels,
    finite_mask,
    keep_uncounted,
    move_channels,
)
from napari_kmeans._napari.colors import hex_of
from napari_kmeans._napari.layers import (
    Source,
    labels_colormap,
    read_level,
    rgba_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from napari_kmeans import IterationState, PaletteResult
    from napari_kmeans._napari.settings import Settings

__all__ = [
    "Outcome",
    "Progress",
    "count_labels",
    "in_dtype",
    "make_features",
    "paint_labels",
    "quantize_source",
    "require_memory",
]


# Pixels of which bincount makes 64-bit integers at once.
_BLOCK = 1 << 20


class Progress(NamedTuple):
    """How far a computation has come."""

    text: str
    # Iterations made, and the most there will be; 0 as long as it is not known.
    n_done: int = 0
    n_most: int = 0
    # Which palette is fitted, and the error after each of its iterations.
    part: int = 0
    mse: float | None = None


class Outcome(NamedTuple):
    """What layers become."""

    # Colors of all slices, one palette after the other, and the pixels of each.
    palette: NDArray[Any]
    counts: NDArray[np.int64]
    # Slice that each color belongs to, where slices have palettes of their own.
    slices: NDArray[np.intp] | None
    # At each level of detail, with the axes of labels layers: entry + 1, and 0 for
    # pixels that are not finite.
    labels: tuple[NDArray[np.unsignedinteger[Any]], ...]
    # At each level of detail; empty if no image is wanted.
    images: tuple[NDArray[Any], ...]
    n_iter: int
    converged: bool
    # How layers show them.
    rgba: NDArray[np.float64]
    colormap: Any
    features: pd.DataFrame


def quantize_source(
    source: Source, settings: Settings, report: Callable[[Progress], None]
) -> Outcome:
    """Fit palettes to the full resolution, and map all levels to them.

    Raises
    ------
    MemoryError
        If the data and what is made of it do not fit in the memory that is free.
    ValueError
        As `kmeans_palette`, or if slices differ in number between levels.
    """
    require_memory(source)
    report(Progress("Reading the layer"))
    image = read_level(source)
    report(Progress("Counting colors"))
    given = _given_palette(image.dtype, settings)
    if given is not None:
        settings = dataclasses.replace(settings, slice_axis=None)
        results: list[PaletteResult] = []
        palettes = [given]
    else:
        results = _fit(image, source, settings, report)
        palettes = [result.palette for result in results]
    palette = np.concatenate(palettes)
    slices = None
    if settings.slice_axis is not None:
        slices = np.repeat(np.arange(len(palettes)), list(map(len, palettes)))

    report(Progress("Labeling the pixels"))
    levels, images = [], []
    for level in range(len(source.levels)):
        pixels = image if level == 0 else read_level(source, level)
        labels = _label(pixels, source, settings, palettes)
        levels.append(labels)
        report(Progress("Painting the pixels"))
        if settings.output != "labels":
            axis, is_rgb = source.channel_axis, source.look.is_rgb
            painted = paint_labels(labels, palette, pixels, axis, is_rgb=is_rgb)
            images.append(painted)
    rgba = rgba_of(palette, source.look)
    counts = count_labels(levels[0], len(palette))
    return Outcome(
        palette=palette,
        counts=counts,
        slices=slices,
        labels=tuple(levels),
        images=tuple(images),
        n_iter=max((result.n_iter for result in results), default=0),
        converged=all(result.converged for result in results),
        rgba=rgba,
        colormap=labels_colormap(rgba),
        features=make_features(palette, rgba, counts, slices),
    )


def in_dtype(palette: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Give the same colors in another dtype, or None if that does not hold them."""
    with np.errstate(invalid="ignore"):
        colors = palette.astype(dtype)
    return colors if np.array_equal(colors, palette) else None


def _given_palette(dtype: np.dtype[Any], settings: Settings) -> NDArray[Any] | None:
    """Give the palette that is not to be fitted, in the dtype of the image."""
    palette = settings.palette
    if settings.palette_file is not None:
        palette = read_palette(settings.palette_file)
    if palette is None:
        return None
    colors = in_dtype(palette, dtype)
    if colors is None:
        msg = (
            f"palette must have values that {dtype} holds, as the image does, "
            f"got {palette.dtype} from {palette.min()} to {palette.max()}"
        )
        raise ValueError(msg)
    return colors


def _fit(
    image: NDArray[Any],
    source: Source,
    settings: Settings,
    report: Callable[[Progress], None],
) -> list[PaletteResult]:
    """Fit a palette to the image, or to each of its slices."""
    parts = list(_slices(image, source.channel_axis, settings.slice_axis))
    masks: Iterable[NDArray[np.bool_] | None] = [None] * len(parts)
    if source.mask is not None:
        mask = source.mask()
        masks = [mask]
        if settings.slice_axis is not None:
            masks = list(np.moveaxis(mask, _axis_of_labels(source, settings), 0))
    n_most = max(1, len(parts) * settings.iters)
    results = []
    for i, ((part, channel_axis), inside) in enumerate(zip(parts, masks, strict=True)):
        n_before = i * settings.iters

        def tell(state: IterationState, i: int = i, n_before: int = n_before) -> None:
            text = f"Iteration {state.n_iter} of at most {settings.iters}"
            if len(parts) > 1:
                text = f"Slice {i + 1} of {len(parts)}, {text.lower()}"
            text += f", mean squared error {state.mse:.4g}"
            report(Progress(text, n_before + state.n_iter, n_most, i, state.mse))

        results.append(
            kmeans_palette(
                part,
                settings.k,
                settings.iters,
                channel_axis=channel_axis,
                mask=inside,
                color_space=settings.color_space,
                alpha=source.has_alpha,
                fixed=settings.fixed,
                init=settings.init,
                rng=settings.rng,
                callback=tell,
            )
        )
        report(Progress("Counting colors", n_before + settings.iters, n_most, i))
    return results


def _slices(
    image: NDArray[Any], channel_axis: int | None, slice_axis: int | None
) -> Iterator[tuple[NDArray[Any], int | None]]:
    """Give the image, or its slices, and where their channels are."""
    if slice_axis is None:
        yield image, channel_axis
        return
    if channel_axis is not None and channel_axis > slice_axis:
        channel_axis -= 1
    for i in range(image.shape[slice_axis]):
        yield np.moveaxis(image, slice_axis, 0)[i], channel_axis


def _label(
    image: NDArray[Any],
    source: Source,
    settings: Settings,
    palettes: list[NDArray[Any]],
) -> NDArray[np.unsignedinteger[Any]]:
    """Give each pixel its number among the entries of all palettes, from 1 on."""
    parts = list(_slices(image, source.channel_axis, settings.slice_axis))
    if len(parts) != len(palettes):
        msg = (
            f"levels of detail must have as many slices along axis "
            f"{settings.slice_axis}, got {len(palettes)} and {len(parts)}"
        )
        raise ValueError(msg)
    dtype = np.min_scalar_type(sum(map(len, palettes)))
    labels = []
    offset = 1
    for (part, channel_axis), palette in zip(parts, palettes, strict=True):
        label = map_to_palette(
            part,
            palette,
            channel_axis=channel_axis,
            color_space=settings.color_space,
            alpha=source.has_alpha,
            dither=settings.dither,
        )
        label = label.astype(dtype, copy=False)
        label += dtype.type(offset)
        if part.dtype.kind == "f":
            label[~finite_mask(_with_channels_last(part, channel_axis))] = 0
        labels.append(label)
        offset += len(palette)
    whole = labels[0]
    if settings.slice_axis is not None:
        whole = np.stack(labels, axis=_axis_of_labels(source, settings))
    channels = source.channels
    if channels is not None and channels.axis > 0:
        whole = np.expand_dims(whole, channels.axis)
    return whole


def _axis_of_labels(source: Source, settings: Settings) -> int:
    """Give the axis, channels not counted, that the slices are along."""
    axis, channel_axis = settings.slice_axis, source.channel_axis
    assert axis is not None
    return axis - (channel_axis is not None and 0 <= channel_axis < axis)


def count_labels(
    labels: NDArray[np.unsignedinteger[Any]], n_colors: int
) -> NDArray[np.int64]:
    """Count the pixels of each label from 1 on."""
    counts = np.zeros(n_colors + 1, dtype=np.int64)
    flat = labels.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        checkpoint()
        counts += np.bincount(flat[start : start + _BLOCK], minlength=n_colors + 1)
    return counts[1:]


def paint_labels(
    labels: NDArray[np.unsignedinteger[Any]],
    palette: NDArray[Any],
    image: NDArray[Any],
    axis: int | None,
    *,
    is_rgb: bool,
) -> NDArray[Any]:
    """Give pixels the colors (K, C) or (K,) of labels from 1 on, channels at `axis`.

    Those that do not count stay as they are in `image`.
    """
    colors = palette[:, np.newaxis] if axis is None else palette
    pixels = _with_channels_last(image, axis)
    # Label 0 becomes the last color, and is put back.
    entries = labels.reshape(pixels.shape[:-1]) - labels.dtype.type(1)
    painted = color_pixels(entries, colors)
    keep_uncounted(painted, pixels, is_rgb and colors.shape[1] == 4)
    if axis is None:
        return painted[..., 0]
    return move_channels(painted, axis)


def _with_channels_last(image: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """View an image as (..., C)."""
    return image[..., np.newaxis] if axis is None else np.moveaxis(image, axis, -1)


def make_features(
    palette: NDArray[Any],
    rgba: NDArray[np.float64],
    counts: NDArray[np.int64],
    slices: NDArray[np.intp] | None,
) -> pd.DataFrame:
    """Give what is known about each label, from 1 on."""
    import pandas as pd

    table = {
        "index": np.arange(1, len(palette) + 1),
        "hex": hex_of(rgba),
        "pixels": counts,
        "share": counts / max(1, counts.sum()),
    }
    if slices is not None:
        table["slice"] = slices
    return pd.DataFrame(table)


def require_memory(source: Source) -> None:
    """Refuse what does not fit in the memory that is free.

    Raises
    ------
    MemoryError
        If there is not room for the data, a copy in the palette's colors, and labels.
    """
    import psutil

    n_bytes = sum(
        array.dtype.itemsize * int(np.prod(array.shape, dtype=np.int64))
        for level in source.levels
        for array in level
    )
    # Read from disk, painted, and labeled with one to four bytes.
    needed = 3 * n_bytes
    free = psutil.virtual_memory().available
    if needed > free:
        msg = (
            f"the layer needs some {needed / 1e9:.3g} GB of memory, and "
            f"{free / 1e9:.3g} GB are free; crop it or take a coarser level"
        )
        raise MemoryError(msg)
