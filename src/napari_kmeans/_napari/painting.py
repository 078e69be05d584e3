"""Records and tables that follow what is painted in the labels of results.

A `Painting` belongs to a viewer. It keeps the labels of each result as they were
counted last, and compares the part that napari tells somebody to have painted in: so
fill, polygons, and undo and redo of all of them are counted, however napari describes
them. Lazy labels and those of several levels are not followed, as nobody can paint
there, and neither is data that is replaced as a whole. `count_paint` is the arithmetic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer

from napari_kmeans._core.arrays import Array, Floats, Mask
from napari_kmeans._core.measuring import means_of
from napari_kmeans._napari.edits import fit_of
from napari_kmeans._napari.placement import levels_of
from napari_kmeans._napari.record import Record, record_of, write_record
from napari_kmeans._napari.table import cluster_table

__all__ = ["Painting", "count_paint", "replace_labels"]

# A part of an array, along all its axes.
_Box = tuple[slice, ...]
# Boxes that are looked at one by one, before they are looked at as one.
_MOST_BOXES = 64


class _Change(NamedTuple):
    """Labels that differ from those that were counted."""

    box: _Box
    # Which pixels in the box, and their labels (m,) before and now.
    differs: Mask
    old: Array
    new: Array


@dataclasses.dataclass
class _Counted:
    """Labels as they were counted last."""

    labels: Array
    # Whether nobody else holds the array.
    is_own: bool = False
    # Pixels inside of the mask, with the axes of the labels; None for all.
    inside: Mask | None = None
    # Where anything was ever painted, for undo and redo tell nothing of where.
    boxes: list[_Box] = dataclasses.field(default_factory=list)
    # Where napari has told of paint, and not painted yet.
    waiting: list[_Box] = dataclasses.field(default_factory=list)


class Painting:
    """Count what is painted in the labels of results.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are followed, and looked in for what results were made from.
    changed : callable
        Called with labels whose record and features have followed the paint.
    """

    def __init__(self, viewer: Viewer, changed: Callable[[Layer], object]) -> None:
        self._viewer = viewer
        self._changed = changed
        self._counted: WeakKeyDictionary[Labels, _Counted] = WeakKeyDictionary()
        viewer.layers.events.inserted.connect(self._follow_inserted)
        viewer.layers.events.removed.connect(self._follow_removed)
        for layer in viewer.layers:
            self._follow_new(layer)

    def leave(self) -> None:
        """Follow nothing any more."""
        self._viewer.layers.events.inserted.disconnect(self._follow_inserted)
        self._viewer.layers.events.removed.disconnect(self._follow_removed)
        for layer in list(self._counted):
            self._forget(layer)

    # What is followed.

    def follow(self, layer: Labels, labels: Array, inside: Mask | None) -> None:
        """Follow labels, which are counted as those that are given, of the same shape.

        The array is kept, and never written to. If pixels were counted inside of a mask
        only, that is given with the axes of the labels, but for one of channels.
        """
        if layer.multiscale or not isinstance(labels, np.ndarray):
            return
        if isinstance(inside, np.ndarray):
            inside = inside.reshape(labels.shape)
        if layer not in self._counted:
            for event, follow in self._followed(layer):
                event.connect(follow)
        self._counted[layer] = _Counted(labels, inside=inside)

    def _follow_new(self, layer: Layer) -> None:
        """Follow the labels of a result that somebody else has added."""
        is_followed = layer in self._counted
        if isinstance(layer, Labels) and record_of(layer) and not is_followed:
            data = levels_of(layer)[0]
            self.follow(
                layer, data.copy() if isinstance(data, np.ndarray) else data, None
            )

    def _followed(self, layer: Labels) -> list[tuple[Any, Callable[[Any], None]]]:
        events = layer.events
        return [
            (events.paint, self._follow_paint),
            (events.labels_update, self._follow_update),
            (events.set_data, self._follow_refresh),
            (events.data, self._follow_data),
        ]

    def _forget(self, layer: Layer) -> None:
        if isinstance(layer, Labels) and layer in self._counted:
            del self._counted[layer]
            for event, follow in self._followed(layer):
                event.disconnect(follow)

    def _follow_inserted(self, event: Any) -> None:
        self._follow_new(event.value)

    def _follow_removed(self, event: Any) -> None:
        self._forget(event.value)

    # What is painted.

    def _follow_paint(self, event: Any) -> None:
        """Count what was painted, or will be until napari draws it."""
        counted = self._counted[event.source]
        box = _hull([place for place, *_ in event.value])
        if not any(map(partial(_covers, box), counted.boxes)):
            counted.boxes.append(box)
            if len(counted.boxes) > _MOST_BOXES:
                counted.boxes = [_hull(counted.boxes)]
        counted.waiting.append(box)
        self._follow_update(event)

    def _follow_update(self, event: Any) -> None:
        """Count what napari has told of."""
        counted = self._counted[event.source]
        if counted.waiting and self._count(event, counted.waiting):
            counted.waiting = []

    def _follow_refresh(self, event: Any) -> None:
        """Count what was painted, or painted back, where anything ever was."""
        counted = self._counted[event.source]
        counted.waiting = []
        self._count(event, counted.boxes)

    def _follow_data(self, event: Any) -> None:
        """Take labels that are replaced for counted."""
        layer, counted = event.source, self._counted[event.source]
        data, inside = levels_of(layer)[0], counted.inside
        if not isinstance(data, np.ndarray):
            self._forget(layer)
            return
        is_same = inside is not None and inside.shape == data.shape
        inside = inside if is_same else None
        self._counted[layer] = _Counted(data.copy(), is_own=True, inside=inside)

    def _count(self, event: Any, boxes: list[_Box]) -> bool:
        """Count what differs in boxes, if anything does, and say so."""
        layer = event.source
        changes = self._changes(layer, boxes)
        # In a viewer with two widgets, one of them counts.
        if changes and not event.handled:
            event.handled = True
            self._write(layer, changes)
        if changes:
            self._changed(layer)
        return bool(changes)

    def _changes(self, layer: Labels, boxes: list[_Box]) -> list[_Change]:
        """Return where labels in boxes differ from those that were counted.

        They are counted from now on.
        """
        counted, now, changes = self._counted[layer], layer.data, []
        for box in boxes if now.shape == counted.labels.shape else ():
            differs = np.asarray(now[box] != counted.labels[box])
            if not differs.any():
                continue
            if not counted.is_own:
                counted.labels, counted.is_own = counted.labels.copy(), True
            old, new = counted.labels[box][differs], np.asarray(now[box][differs])
            changes.append(_Change(box, differs, old, new))
            counted.labels[box][differs] = new
        return changes

    def _write(self, layer: Labels, changes: list[_Change]) -> None:
        """Bring the record and the features of labels up to date."""
        record, inside = record_of(layer), self._counted[layer].inside
        assert record is not None
        # Without the mask, nobody knows whether a pixel counts.
        if record.mask is None or inside is not None:
            channels = _channels_of(record, self.sources_of(record), layer)
            for box, counts, old, new in changes:
                if inside is not None:
                    old, new = (np.where(inside[box][counts], x, 0) for x in (old, new))
                parts = [array[box][counts] for array in channels]
                values = np.concatenate(parts, axis=1) if parts else None
                record = count_paint(record, old, new, values)
        write_record(layer, dataclasses.replace(record, painted=True))
        layer.features = cluster_table(layer)

    # What others need.

    def counted(self, layer: Labels) -> tuple[Array, ...]:
        """Return labels at each level as they were counted; nobody writes to them."""
        if layer not in self._counted:
            return levels_of(layer)
        self._counted[layer].is_own = False
        return (self._counted[layer].labels,)

    def show(self, layer: Labels, counted: tuple[Array, ...], now: Any) -> None:
        """Replace labels at each level by others; the record will be about `counted`.

        `count` is called when it is.
        """
        if layer in self._counted:
            # Nothing is painted now.
            self._counted[layer].boxes = []
        replace_labels(layer, now)
        if layer in self._counted:
            new = self._counted[layer]
            new.labels, new.is_own = counted[0], False

    def count(self, layer: Labels) -> None:
        """Count where labels differ from those that were counted, anywhere."""
        if layer not in self._counted:
            return
        shape = self._counted[layer].labels.shape
        changes = self._changes(layer, [tuple(slice(0, length) for length in shape)])
        if changes:
            self._write(layer, changes)

    def sources_of(self, record: Record) -> list[Image]:
        """Return the layers that a result was made from, if all are in the viewer."""
        known = {str(layer.unique_id): layer for layer in self._viewer.layers}
        found = [known.get(unique_id) for unique_id in record.source_ids]
        images = [layer for layer in found if isinstance(layer, Image)]
        return images if len(images) == len(found) else []

    def inside_of(self, layer: Layer) -> Mask | None:
        """Return the mask inside of which labels are counted, if it is known."""
        counted = self._counted.get(layer) if isinstance(layer, Labels) else None
        return None if counted is None else counted.inside


def replace_labels(layer: Labels, levels: Any) -> None:
    """Replace the data of labels, and make napari forget how they were painted.

    What napari would undo are pixels of the data before, with its numbers.
    """
    layer.data = list(levels) if layer.multiscale else levels[0]
    mode = layer.mode
    for is_editable in (False, layer.editable):
        layer.editable = is_editable
    layer.mode = mode


def count_paint(
    record: Record, old: Array, new: Array, values: Floats | None
) -> Record:
    """Return the record of labels of which some pixels have changed.

    Parameters
    ----------
    record : Record
        What was counted before.
    old, new : (m,) ndarray
        Labels of the pixels before and now. Those that stand for no entry count as
        none.
    values : (m, C) ndarray or None
        Pixels of the source. Those that are not finite are not counted. If they are
        unknown, all are, and means of entries that lose or win pixels are NaN.
    """
    n = len(record.palette)
    n_channels = record.palette.size // max(1, n)
    if values is None:
        values = np.full((len(old), n_channels), np.nan)
    else:
        finite = np.isfinite(values).all(axis=1)
        old, new, values = old[finite], new[finite], values[finite].astype(np.float64)
    counts = np.array(record.counts, dtype=np.int64)
    means = np.full((n, n_channels), np.nan)
    if record.means is not None:
        means = np.array(record.means, dtype=np.float64)
    sums = np.zeros(means.shape)
    np.multiply(means, counts[:, np.newaxis], out=sums, where=counts[:, np.newaxis] > 0)
    touched = np.zeros(n, dtype=bool)
    for sign, labels in ((-1, old), (1, new)):
        is_entry = (labels > 0) & (labels <= n)
        entries = labels[is_entry].astype(np.intp) - 1
        touched[entries] = True
        counts += sign * np.bincount(entries, minlength=n)
        for channel, column in enumerate(values[is_entry].T):
            sums[:, channel] += sign * np.bincount(entries, column, n)
    # Differences of rounded sums need not be zero.
    sums[counts == 0] = 0
    means[touched] = means_of(counts[touched], sums[touched])
    known = None if record.means is None else means
    return dataclasses.replace(record, counts=counts, means=known, fit=fit_of(record))


def _hull(places: list[Any]) -> _Box:
    """Return the smallest box around indices of pixels, or around boxes."""
    sides = []
    for along in zip(*places, strict=True):
        ends = [
            (some.start, some.stop)
            if isinstance(some, slice)
            else (int(np.min(some)), int(np.max(some)) + 1)
            for some in along
        ]
        sides.append(slice(min(low for low, _ in ends), max(high for _, high in ends)))
    return tuple(sides)


def _covers(inner: _Box, outer: _Box) -> bool:
    """Whether a box is in another one."""
    pairs = zip(inner, outer, strict=True)
    return all(out.start <= i.start and i.stop <= out.stop for i, out in pairs)


def _channels_of(record: Record, images: list[Image], labels: Labels) -> list[Array]:
    """Return views (..., C) of a source, with the axes of labels; none if unknown."""
    arrays = [levels_of(image)[0] for image in images]
    axis = record.channel_axis
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return []
    if axis is None or len(arrays) > 1:
        arrays = [array[..., np.newaxis] for array in arrays]
    else:
        arrays = [np.moveaxis(array, axis, -1) for array in arrays]
    if axis is not None and axis > 0:
        arrays = [np.expand_dims(array, axis) for array in arrays]
    shape = labels.data.shape
    return arrays if all(array.shape[:-1] == shape for array in arrays) else []
