"""The pixels on the screen in the colors that a run would give them.

`color_visible` answers an `Asked` in any thread. What it finds on the way is kept for
the next question: the counts of all pixels, the palettes, and what is visible. So
another `k` costs a fit and a look at the distinct colors in view, a `k` of before only
the latter, and another place costs reading that place. Colors are those of the
result, pixel by pixel, but where
`Shown.note` says otherwise. (Channels along an axis have made-up colors, as bright as
the palettes that are listed allow: those of the slice in view, if slices have their
own.) It touches no layer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arguments import Dither, checked_image
from napari_kmeans._core.arrays import Array, Floats, Mask
from napari_kmeans._core.blocks import observed
from napari_kmeans._core.color_tables import is_tabular, paint
from napari_kmeans._core.counted_image import count_image, label_counted
from napari_kmeans._core.fitting import prepared_image
from napari_kmeans._core.pixels import CountedImage
from napari_kmeans._core.quality import are_seen
from napari_kmeans._core.spaces import Layout
from napari_kmeans._napari.computation import (
    count_parts,
    fitted_mask,
    palette_record,
    weigh_parts,
)
from napari_kmeans._napari.kept_counts import KeptCounts, counted_as, without_pixels
from napari_kmeans._napari.layers import (
    Source,
    draw_mask,
    fits_in_memory,
    read_array,
    read_levels,
    rgba_of,
)
from napari_kmeans._napari.placement import Span, Visible, evenly, thinned
from napari_kmeans._napari.record import Record
from napari_kmeans._napari.settings import Settings

__all__ = ["MOST_SAMPLED", "Asked", "Shown", "color_visible"]

# Bytes of lazy data that are read to count them, and of an image that takes a while.
_MOST_READ, _LONG = 1 << 28, 1 << 26
# Pixels that a palette is fitted to where not all are counted.
MOST_SAMPLED = 1 << 17
# Rows and columns after which the thresholds of ordered dithering are the same again.
_PERIOD = 64
# Palettes that are kept: as many as the slider of k has places.
_MOST_FITS = 128
_COUNTING = "Counting colors"
_TOO_LARGE = "Preview of a sample's colors, until a run has counted all pixels."
_TOO_MANY = "Preview of a sample's colors: there are too many to count."
_NOT_DITHERED = "Preview without dither, which depends on pixels that are not in view."


class Asked(NamedTuple):
    """What is to be shown."""

    source: Source
    settings: Settings
    # What is on the screen, and some pixels of all that could be.
    part: Visible
    coarse: Visible
    # The same as long as pixels and mask are.
    state: Hashable


class _Counted(NamedTuple):
    """What palettes are fitted to."""

    # The same as long as counts are.
    key: Hashable
    # The pixels that were taken, None for all.
    sample: Visible | None
    # Of all slices that have palettes of their own, or of those in the sample.
    parts: list[CountedImage]
    note: str


class _Weighed(NamedTuple):
    """What was counted, with channels that count as is chosen."""

    chosen: Any
    # The same in numbers.
    weights: Any
    parts: list[CountedImage]


class _Fit(NamedTuple):
    """The palettes of some slices."""

    settings: Settings
    slices: list[int]
    record: Record


class _Pixels(NamedTuple):
    """Visible pixels of one palette."""

    # (..., C).
    image: Array
    # Their distinct colors (n, C) and the color of each pixel (...), if they are quick
    # to find.
    colors: Array | None
    place: Array | None


class _View(NamedTuple):
    """What is visible."""

    # The same as long as the pixels are.
    key: Hashable
    # Of each slice that has a palette of its own.
    parts: list[_Pixels]


class Shown(NamedTuple):
    """What is shown, and what was found on the way."""

    # (..., 4) with the axes of labels, as the screen has them.
    pixels: NDArray[np.uint8]
    # Of the palette (K, 4), from 0 to 1.
    rgba: Floats
    # What is not as in the result, "" if nothing is.
    note: str
    counted: _Counted
    weighed: _Weighed
    # The last one is shown.
    fits: list[_Fit]
    view: _View

    @property
    def record(self) -> Record:
        """What is known of the palette."""
        return self.fits[-1].record


def color_visible(
    asked: Asked,
    before: Shown | None,
    count: KeptCounts,
    report: Callable[[str], None],
) -> Shown:
    """Return the visible pixels in their colors to be.

    `before` is the last answer, and its pixels are returned if they are the same.

    Raises
    ------
    ValueError, OSError
        As `quantize_source`.
    """
    source, settings = asked.source, asked.settings
    slices = _visible_slices(asked)
    counted = _counted(asked, slices, before, count, report)
    weighed = _weighed(counted, settings, before)
    fits = _fitted(counted, weighed, slices, asked, before)
    record = fits[-1].record
    rgba = rgba_of(record.palette, source.look)
    view = _view(asked, before)
    dither = settings.dither if _is_dithered(asked) else None
    notes = [
        counted.note if settings.palette is None else "",
        _NOT_DITHERED if dither != settings.dither else "",
    ]
    if before is not None and before.view is view and before.record is record:
        pixels = before.pixels
    else:
        layout = weighed.parts[0].layout
        pixels = _painted(layout, view, record, rgba, dither, source)
    note = " ".join(filter(None, notes))
    return Shown(pixels, rgba, note, counted, weighed, fits, view)


def _visible_slices(asked: Asked) -> list[int]:
    """Return which of the slices that have palettes of their own are visible."""
    axis = asked.settings.slice_axis
    if axis is None:
        return [0]
    length = asked.source.levels[0][0].shape[axis]
    return [int(i) for i in np.arange(length)[asked.part.spans[axis].places]]


# The palette.


def _counted(
    asked: Asked,
    slices: list[int],
    before: Shown | None,
    count: KeptCounts,
    report: Callable[[str], None],
) -> _Counted:
    """Count all pixels, or a sample of them if that would take too long."""
    source, settings = asked.source, asked.settings
    key = asked.state, counted_as(source, settings)
    sample = _sample(asked, slices)
    if before is not None and before.counted.key == key:
        known = before.counted
        if known.sample is None or known.sample.spans == sample.spans:
            return known
    if source.n_bytes[0] > _LONG:
        report(_COUNTING)

    def watch(n_done: int, n_all: int) -> None:
        report(f"{_COUNTING}, {n_done / n_all:.0%}")

    finest = source._replace(levels=source.levels[:1])
    with observed(watch):
        parts = _count_all(finest, settings, count)
        if parts is not None and all(one.counted is not None for one in parts):
            if before is not None and _are_of_one_count(parts, before.counted.parts):
                # What is known of them holds.
                return before.counted._replace(key=key)
            return _Counted(key, None, without_pixels(parts), "")
        note = _TOO_LARGE if parts is None else _TOO_MANY
        inside = None
        if source.mask is not None:
            inside = _mask_at(draw_mask(source.mask), source, sample)
        parts = count_parts(_read(source, sample), inside, source, settings)
    return _Counted(key, sample, without_pixels(parts), note)


def _weighed(counted: _Counted, settings: Settings, before: Shown | None) -> _Weighed:
    """Let channels count as is chosen, and prepare them for many fits."""
    chosen = settings.channel_weights
    if before is not None and before.counted.parts is counted.parts:
        known = before.weighed
        if np.array_equal(known.chosen, chosen):
            return known
    parts, weighed = weigh_parts(counted.parts, settings)
    # Of many slices, few are looked at.
    if len(parts) == 1:
        parts = [prepared_image(parts[0])]
    return _Weighed(chosen, weighed.channel_weights, parts)


def _are_of_one_count(some: list[CountedImage], others: list[CountedImage]) -> bool:
    """Whether the same was found in images, and is looked at in the same way."""
    return len(some) == len(others) and all(
        one.counted is other.counted and one.layout == other.layout
        for one, other in zip(some, others, strict=True)
    )


def _count_all(
    source: Source, settings: Settings, count: KeptCounts
) -> list[CountedImage] | None:
    """Count all pixels, unless they are too many to be read for a preview."""
    image = read_levels(source)[0]
    if not _is_in_memory(source) and source.n_bytes[0] > _MOST_READ:
        # Only what is lazy is known without being read.
        is_lazy = not any(isinstance(array, np.ndarray) for array in source.levels[0])
        mask = None if source.mask is None else draw_mask(source.mask)
        if not is_lazy or not count.has(image, mask, source, settings):
            return None
    mask = fitted_mask(source, settings.slice_axis)
    return count(image, mask, source, settings)


def _is_in_memory(source: Source) -> bool:
    """Whether the finest level is one of arrays that need not be read."""
    is_plain = all(isinstance(array, np.ndarray) for array in source.levels[0])
    return is_plain and fits_in_memory(3 * source.n_bytes[0])


def _sample(asked: Asked, slices: list[int]) -> Visible:
    """Return the pixels that are counted where all are not."""
    source, part = asked.source, asked.coarse
    if not _is_in_memory(source):
        return part
    # Those in memory need not be of what is visible.
    shape = list(source.levels[0][0].shape[: len(part.spans)])
    spans = {}
    if source.channels is not None:
        spans[source.channels.axis] = Span(0, 1, source.channels.length)
    if asked.settings.slice_axis is not None:
        spans[asked.settings.slice_axis] = asked.part.spans[asked.settings.slice_axis]
    free = [axis for axis in range(len(shape)) if axis not in spans]
    n_axes = sum(shape[axis] > 1 for axis in free)
    n_pixels = math.prod(shape[axis] for axis in free) * len(slices)
    step = evenly(n_pixels, MOST_SAMPLED, n_axes)
    spans |= {axis: thinned(shape[axis], step) for axis in free}
    return part._replace(level=0, spans=tuple(spans[axis] for axis in sorted(spans)))


def _mask_at(mask: Mask, source: Source, part: Visible) -> Mask | None:
    """Return the mask of the pixels of a sample, unless these miss what is inside."""
    spans = list(part.spans)
    shape = list(source.levels[part.level][0].shape)
    if source.channels is not None:
        del spans[source.channels.axis], shape[source.channels.axis]
    for axis, (span, full) in enumerate(zip(spans, mask.shape, strict=True)):
        # The pixel of the mask that lies under the middle of one of the level.
        taken = np.arange(shape[axis])[span.places]
        places = ((taken + 0.5) * full / shape[axis]).astype(np.intp)
        mask = np.take(mask, places, axis)
    inside = read_array(mask)
    return inside if inside.any() else None


def _fitted(
    counted: _Counted,
    weighed: _Weighed,
    slices: list[int],
    asked: Asked,
    before: Shown | None,
) -> list[_Fit]:
    """Fit the palettes that are visible, unless they are known; the newest is last."""
    source, settings, kept = asked.source, asked.settings, []
    if before is not None and before.counted.parts is counted.parts:
        kept = before.fits
    known = [fit for fit in kept if fit.slices == slices]
    known = [fit for fit in known if _are_equal(fit.settings, settings)]
    if known:
        record = known[0].record
        if record.look != source.look:
            record = dataclasses.replace(record, look=source.look)
    else:
        parts = weighed.parts
        if settings.slice_axis is not None and counted.sample is None:
            parts = [parts[i] for i in slices]
        known_weights = dataclasses.replace(settings, channel_weights=weighed.weights)
        record = palette_record(parts, source, known_weights, lambda _: None)
        if record.slices is not None:
            record = dataclasses.replace(record, slices=np.array(slices)[record.slices])
    others = [fit for fit in kept if not any(fit is one for one in known)]
    return [*others[1 - _MOST_FITS :], _Fit(settings, slices, record)]


def _are_equal(one: Settings, other: Settings) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


# The pixels.


def _view(asked: Asked, before: Shown | None) -> _View:
    """Read what is visible, unless it was read before."""
    source, part, axis = asked.source, asked.part, asked.settings.slice_axis
    key = asked.state, source.channel_axis, axis, part.level, part.spans
    if before is not None and before.view.key == key:
        return before.view
    image, channel_axis = _read(source, part), source.channel_axis
    if axis is None:
        return _View(key, [_pixels(checked_image(image, channel_axis))])
    if channel_axis is not None:
        channel_axis %= image.ndim
        channel_axis -= channel_axis > axis
    images = np.moveaxis(image, axis, 0)
    return _View(key, [_pixels(checked_image(one, channel_axis)) for one in images])


def _read(source: Source, part: Visible) -> Array:
    """Read the pixels of a part; several layers become their last axis."""
    index = tuple(span.places for span in part.spans)
    arrays = [read_array(array, index) for array in source.levels[part.level]]
    return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1)


def _pixels(image: Array) -> _Pixels:
    """Find the distinct colors of pixels (..., C), if that is quick."""
    if not is_tabular(image.dtype, image.shape[-1]):
        return _Pixels(image, None, None)
    counts = count_image(image).counted
    assert counts is not None
    colors = counts.colors
    place = paint(image, colors, np.arange(len(colors), dtype=np.uint32))
    return _Pixels(image, colors, place)


def _is_dithered(asked: Asked) -> bool:
    """Whether pixels are dithered as in the result, which depends on where they are."""
    source, (level, spans, _) = asked.source, asked.part
    others = asked.settings.slice_axis, source.channels and source.channels.axis
    axes = [axis for axis in range(len(spans)) if axis not in others][-2:]
    if asked.settings.dither == "ordered":
        return all(spans[a].step == 1 and spans[a].first % _PERIOD == 0 for a in axes)
    shape = source.levels[level][0].shape
    return all(spans[a] == Span(0, 1, shape[a]) for a in axes)


def _painted(
    layout: Layout,
    view: _View,
    record: Record,
    rgba: Floats,
    dither: Dither,
    source: Source,
) -> NDArray[np.uint8]:
    """Return visible pixels in the colors of the entries that they are labeled with."""
    octets = np.rint(rgba * 255).astype(np.uint8)
    slices: Any = [None] if record.slices is None else np.unique(record.slices)
    parts = []
    for pixels, number in zip(view.parts, slices, strict=True):
        own = ... if number is None else record.slices == number
        palette, colors = record.palette[own], octets[own]
        parts.append(_in_colors(pixels, layout, palette, colors, dither))
    if record.settings is None or record.settings.slice_axis is None:
        shown = parts[0]
    else:
        axis = record.settings.slice_axis
        axis -= source.channels is not None and source.channels.axis < axis
        shown = np.stack(parts, axis=axis)
    if source.channels is not None and source.channels.axis > 0:
        shown = np.expand_dims(shown, source.channels.axis)
    return shown


def _in_colors(
    pixels: _Pixels,
    layout: Layout,
    palette: Array,
    octets: NDArray[np.uint8],
    dither: Dither,
) -> NDArray[np.uint8]:
    """Return pixels (..., 4) in the colors (K, 4) in which a palette is shown."""
    is_distinct = pixels.colors is not None and dither is None
    image = pixels.colors if is_distinct else pixels.image
    assert image is not None
    seen = CountedImage([image], [None], layout)
    entries = label_counted(seen, palette, dither=dither)
    shown = octets.take(entries, axis=0)
    if image.dtype.kind == "f" or layout.has_alpha:
        # What the result leaves as it is.
        shown[~are_seen(image, layout.has_alpha)] = 0
    if not is_distinct:
        return shown
    assert pixels.place is not None
    # A color as one item, and not four numbers.
    items: Array = shown.view(np.uint32)[:, 0].take(pixels.place, mode="clip")
    return np.asarray(items[..., np.newaxis].view(np.uint8))
