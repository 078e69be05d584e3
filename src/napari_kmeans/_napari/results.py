"""The layers that computations leave in a viewer.

A `Results` belongs to one widget. `add` puts the layers of an outcome into the viewer,
or brings those of the last run up to date; `listed` returns the palette of a layer as
it is shown. `rename`, `recolor` and `merge` change the clusters of all layers of a run,
by the functions in `edits`, and `undo` takes the last change back. All that is known
about a layer is in its own record (`record`), whoever made it; what is painted in its
labels is counted by `painting`.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.types import LayerDataTuple
from napari.viewer import Viewer
from numpy.typing import ArrayLike
from psygnal import Signal

from napari_kmeans import map_to_palette
from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.chunks import map_chunks
from napari_kmeans._core.mapping import label_type
from napari_kmeans._napari.computation import Outcome, number_pixels
from napari_kmeans._napari.edits import (
    merge_entries,
    recolor_entry,
    rename_entry,
    renumber,
    repaint_image,
)
from napari_kmeans._napari.layers import (
    Look,
    colors_shown,
    label_colors,
    labels_colormap,
    read_levels,
    read_source,
)
from napari_kmeans._napari.painting import Painting, replace_labels
from napari_kmeans._napari.placement import PLACES, Channels, levels_of, move_layer
from napari_kmeans._napari.quantize_layer import (
    Request,
    add_layer,
    describe_layers,
    ids_of,
    sign_layer,
)
from napari_kmeans._napari.record import Record, record_of, write_record
from napari_kmeans._napari.settings import Settings
from napari_kmeans._napari.table import cluster_table

__all__ = ["Listed", "Results", "once_per_run"]

# Image layers, their palettes, and new data of each at all levels.
Painted = list[tuple[Image, Array, list[Array]]]
# What paints images in a thread, and reports after each.
Paint = Callable[[Callable[[Any], None]], Painted]

# Changes of a run that can be taken back, and bytes of labels that are kept for it: at
# least one change can.
_MOST_STEPS, _MOST_BYTES = 20, 1 << 28
# What paint changes in a record.
_PAINTED = ("counts", "means", "painted")


class Listed(NamedTuple):
    """The palette of a layer, as it is shown."""

    record: Record
    # (K, 4), from 0 to 1.
    rgba: Floats
    is_rgb: bool
    # Where an image has channels that its labels span; None for labels.
    channels: Channels | None


class _Before(NamedTuple):
    """A layer as it was before a change."""

    record: Record
    # At each level, as they were made or counted last; None if they did not change.
    labels: tuple[Array, ...] | None


class _Step(NamedTuple):
    """A change of the layers of a run."""

    layers: WeakKeyDictionary[Layer, _Before]
    # What entries have become; None if they are numbered as before.
    lut: Indices | None


class Results:
    """Add layers, bring earlier ones up to date, and change their clusters.

    The signal carries a layer whose table has changed: by a change of its run, or by
    paint on its labels.
    """

    changed = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        # Of images, for as long as these live, 0 where a pixel is as in the source.
        self._labels: WeakKeyDictionary[Layer, tuple[Array, ...]]
        self._labels = WeakKeyDictionary()
        self._painting = Painting(viewer, self.changed.emit)
        # Of each run, the last one at the end.
        self._steps: dict[str, list[_Step]] = {}

    def leave(self) -> None:
        """Follow no labels any more."""
        self._painting.leave()

    def needed(self, request: Request) -> Settings:
        """Return the settings that an outcome must have been made with to be added."""
        settings = request.settings
        if any(isinstance(layer, Image) for layer in self._last(request).values()):
            settings = dataclasses.replace(settings, output="both")
        return settings

    def add(self, request: Request, outcome: Outcome) -> list[Layer]:
        """Put the layers of an outcome into the viewer, images first.

        An update leaves no layer of the last result behind, and makes none twice: all
        that are still there are brought up to date, also those of a kind that is no
        longer wanted, and wanted ones that are not there are added. One that would have
        to become another kind of layer, of more axes or levels, is let go as it is. The
        clusters of an update are new ones: no name is kept, and nothing to be undone.
        """
        last = self._last(request)
        for layer in last.values():
            record = record_of(layer)
            self._steps.pop("" if record is None else record.run, None)
        labels, layers = outcome.labels, []
        if request.settings.output != "image" or ("labels", 0) in last:
            # What is painted in the layer changes nothing that is remembered.
            outcome = outcome._replace(labels=_copies(labels))
        for channel, described in describe_layers(request, outcome):
            kind = described[2]
            found = last.get((kind, channel))
            is_new = found is None or not _fits(found, described)
            if is_new and request.settings.output not in (kind, "both"):
                continue
            layer = Layer.create(*described) if found is None or is_new else found
            name = layer.name if is_new else _bring_up_to_date(layer, described)
            if isinstance(layer, Image):
                self._labels[layer] = outcome.seen
            elif isinstance(layer, Labels):
                self._painting.follow(layer, labels[0], outcome.inside)
            # Known before anybody hears of the layer.
            sign_layer(layer, request, outcome, channel, name)
            if is_new:
                add_layer(self._viewer, layer)
            layers.append(layer)
        return layers

    def listed(self, layer: Layer | None) -> Listed | None:
        """Return the palette of a layer, or None if it was not made here."""
        record = record_of(layer)
        if layer is None or record is None:
            return None
        look = record.look or self._look_of(layer, record)
        rgba = colors_shown(layer, record.palette, look)
        axis, channels = record.channel_axis, None
        if isinstance(layer, Image) and axis is not None and axis >= 0:
            channels = Channels(axis, levels_of(layer)[0].shape[axis])
        return Listed(record, rgba, look.is_rgb, channels)

    def table(self, layer: Image | Labels, axis: int | str | None = None) -> Any:
        """Return the table of a result, or a long one, measured along an axis.

        It is measured in what the layer was made from, if that is in the viewer, and
        inside of the mask that was drawn then, or is drawn now if that was elsewhere.
        The call reads layers, but changes none: it may be made in any thread.

        Raises
        ------
        ValueError
            As `cluster_table`.
        """
        record = record_of(layer)
        if axis is None or record is None:
            return cluster_table(layer)
        image = self._painting.sources_of(record) or None
        mask: Any = self._painting.inside_of(layer)
        if mask is None and record.mask_id:
            drawn = [
                one for one in self._viewer.layers if _id_of(one) == record.mask_id
            ]
            mask = drawn[0] if drawn else None
        return cluster_table(layer, axis=axis, image=image, mask=mask)

    def labels_of(self, layer: Layer) -> tuple[Array, ...] | None:
        """Return the labels of a result at each level; None if they are lost.

        Those of an image are as they were made, whatever was painted since.
        """
        if isinstance(layer, Labels):
            return levels_of(layer)
        if layer not in self._labels:
            run = self._run_of(layer)
            drawn = [
                levels_of(one)
                for one, record in run
                if isinstance(one, Labels) and not record.painted
            ]
            labels = drawn[0] if drawn else _labels_in(run)
            if labels is None:
                return None
            labels = _copies(labels)
            if isinstance(layer, Image):
                labels = _seen_labels(labels, layer)
            self._labels[layer] = labels
        return self._labels[layer]

    # Changes.

    def rename(self, layer: Layer, entry: int, name: str) -> None:
        """Set the name of an entry, "" for none, in all layers of a run."""
        self._change(layer, lambda record: rename_entry(record, entry, name))
        self.changed.emit(layer)

    def recolor(self, layer: Layer, entry: int, color: ArrayLike) -> Paint | None:
        """Change the color of an entry of the palette in all layers of the run.

        Labels of one channel keep their color, which does not stand for a value. The
        palette and labels change at once. If images are among the layers, returns a
        function that paints them, which may take long; `repaint` takes what it returns.
        """
        run = self._change(layer, lambda record: recolor_entry(record, entry, color))
        return self._done(layer, run)

    def merge(self, layer: Layer, entries: Sequence[int]) -> Paint | None:
        """Make one cluster of several of one palette, in all layers of the run.

        See `merge_entries` for its color, number and name. Labels and the table change
        at once, and images as by `recolor`.

        Raises
        ------
        ValueError
            If there are less than two entries, or they are of several slices.
        """
        record = record_of(layer)
        assert record is not None
        _, lut = merge_entries(record, entries)
        run = self._change(layer, lambda own: merge_entries(own, entries)[0], lut)
        return self._done(layer, run)

    def can_undo(self, layer: Layer | None) -> bool:
        """Whether `undo` would take something back."""
        return self._last_step(layer) is not None

    def undo(self, layer: Layer) -> Paint | None:
        """Take back the last change of names, colors or clusters of the run.

        The records, labels, table and images are those of before. Pixels that were
        painted since keep their paint: one that shows a merged cluster, and was in none
        of its entries, is now in the lowest. Images are painted as by `recolor`. The
        last 20 changes of a run can be undone, or fewer where labels of more than
        256 MB would have to be kept.
        """
        step, now = self._last_step(layer), record_of(layer)
        if step is None or now is None:
            return None
        self._steps[now.run].pop()
        run = [pair for pair in self._run_of(layer) if pair[0] in step.layers]
        for one, record in run:
            before, labels = step.layers[one]
            # A copy that parted from its run does not return to it.
            kept = {name: getattr(record, name) for name in ("run", "layer", "name")}
            if step.lut is None:
                # Pixels were painted, but not renumbered.
                kept |= {name: getattr(record, name) for name in _PAINTED}
            if labels is not None:
                self._set_labels(one, labels, step.lut)
            self._write(one, dataclasses.replace(before, **kept))
            if isinstance(one, Labels) and labels is not None:
                self._painting.count(one)
        return self._done(layer, run)

    def repaint(self, painted: Painted) -> None:
        """Set the pixels of image layers to those that were painted.

        Layers that have another palette by now stay as they are.
        """
        for layer, palette, levels in painted:
            record = record_of(layer)
            if record is not None and record.palette is palette:
                layer.data = levels if layer.multiscale else levels[0]

    def _change(
        self,
        layer: Layer,
        change: Callable[[Record], Record],
        lut: Indices | None = None,
    ) -> list[tuple[Layer, Record]]:
        """Change the records of the layers of a run, and labels that are renumbered.

        Returns these layers, and their records before.
        """
        record = record_of(layer)
        assert record is not None
        run = self._run_of(layer)
        # A copy parts from its run.
        is_copy = not _is_original(layer, record)
        name = secrets.token_hex(8) if is_copy else record.run
        step = _Step(WeakKeyDictionary(), lut)
        # Those of images are found by the colors that these have now.
        known = [None if lut is None else self._counted(one) for one, _ in run]
        # Layers that share an array go on sharing one.
        moved: dict[int, Array] = {}
        for (one, own), labels in zip(run, known, strict=True):
            step.layers[one] = _Before(own, labels)
            new = change(own)
            if lut is not None and labels is not None:
                for x in labels:
                    if id(x) not in moved:
                        moved[id(x)] = renumber(x, lut, len(new.palette))
                self._set_labels(one, tuple(moved[id(x)] for x in labels))
            self._write(one, dataclasses.replace(new, run=name, layer=_id_of(one)))
        steps = self._steps.setdefault(name, [])
        steps.append(step)
        while len(steps) > 1 and (
            len(steps) > _MOST_STEPS or sum(map(_n_bytes, steps)) > _MOST_BYTES
        ):
            del steps[0]
        return run

    def _write(self, layer: Layer, record: Record) -> None:
        """Change the record of a layer, and what labels show of it."""
        before = record_of(layer)
        write_record(layer, record)
        if not isinstance(layer, Labels):
            return
        old = record.palette if before is None else before.palette
        if not np.array_equal(old, record.palette):
            look = record.look or self._look_of(layer, record)
            colors = label_colors(record.palette, look)
            if record.look is None and len(old) == len(colors):
                # Where that is a guess, only what has changed looks different.
                is_same = (old == record.palette).reshape(len(old), -1).all(axis=1)
                colors[is_same] = colors_shown(layer, old, look)[is_same]
            layer.colormap = labels_colormap(colors)
        layer.features = cluster_table(layer)

    def _counted(self, layer: Layer) -> tuple[Array, ...] | None:
        """Return the labels that a record is about, which nobody may write to."""
        if isinstance(layer, Labels):
            return self._painting.counted(layer)
        return self.labels_of(layer)

    def _set_labels(
        self, layer: Layer, labels: tuple[Array, ...], lut: Indices | None = None
    ) -> None:
        """Set the labels of a layer that its record is about.

        What was painted since entries became those of a `lut` stays painted.
        """
        if not isinstance(layer, Labels):
            self._labels[layer] = labels
            return
        now = _copies(labels)
        if lut is not None and not is_lazy(labels[0]):
            pairs = zip(levels_of(layer), labels, strict=True)
            now = tuple(_undone(*pair, lut) for pair in pairs)
        self._painting.show(layer, labels, now)

    def _done(self, layer: Layer, run: list[tuple[Layer, Record]]) -> Paint | None:
        """Say that a table has changed, and return what paints images."""
        self.changed.emit(layer)
        return self._paint(run)

    def _paint(self, run: list[tuple[Layer, Record]]) -> Paint | None:
        """Return what paints the images of a run, if the palette is not as before."""
        images = []
        for layer, before in run:
            record = record_of(layer)
            assert record is not None
            if isinstance(layer, Image) and record.palette is not before.palette:
                channel, labels = _channel_of(layer, record, run), self.labels_of(layer)
                if channel is not None and labels is not None:
                    images.append((layer, levels_of(layer), labels, record, channel))

        def paint(report: Callable[[Any], None]) -> Painted:
            painted = []
            for image, levels, labels, record, channel in images:
                palette, axis = record.palette, record.channel_axis
                if len(record.source) > 1:
                    palette, axis = palette[:, channel], None
                pairs = zip(labels, levels, strict=True)
                new = [repaint_image(*pair, palette, axis) for pair in pairs]
                report(None)
                painted.append((image, record.palette, new))
            return painted

        return paint if images else None

    def _last_step(self, layer: Layer | None) -> _Step | None:
        """Return the last change of the run of a layer that can be taken back."""
        record = record_of(layer)
        steps = [] if record is None else self._steps.get(record.run, [])
        return steps[-1] if steps and layer in steps[-1].layers else None

    def _last(self, request: Request) -> dict[tuple[str, int], Layer]:
        """Return the layers that an update finds, by their kind and channel."""
        if not request.is_update:
            return {}
        ids = ids_of(request.layers)
        found = [pair for pair in self._originals() if pair[1].source_ids == ids]
        newest = max(found, key=lambda pair: pair[1].time, default=None)
        return {
            ("labels" if isinstance(layer, Labels) else "image", record.channel): layer
            for layer, record in found
            if newest is not None and record.run == newest[1].run
        }

    def _originals(self) -> list[tuple[Layer, Record]]:
        """Return the results in the viewer that are no copies."""
        pairs = ((layer, record_of(layer)) for layer in self._viewer.layers)
        return [
            (layer, record)
            for layer, record in pairs
            if record is not None and _is_original(layer, record)
        ]

    def _run_of(self, layer: Layer) -> list[tuple[Layer, Record]]:
        """Return the layers in the viewer that came of one run; a copy is alone."""
        record = record_of(layer)
        assert record is not None
        if not record.run or not _is_original(layer, record):
            return [(layer, record)]
        return [pair for pair in self._originals() if pair[1].run == record.run]

    def _look_of(self, layer: Layer, record: Record) -> Look:
        """Return how the images of a run show a palette, which 0.1.0 did not tell."""
        images = _images_in(self._run_of(layer))
        if images:
            return read_source(images, record.channel_axis).look
        palette = record.palette
        return Look(is_rgb=palette.ndim == 2 and palette.shape[1] in (3, 4))


def once_per_run(layers: Sequence[Layer]) -> list[Layer]:
    """Return the results among layers, one of each run: its labels, if they are there.

    Labels may have been painted. A copy parts from its run, and stays.
    """
    found: dict[str, Layer] = {}
    for layer in layers:
        record = record_of(layer)
        if record is not None:
            key = record.run if _is_original(layer, record) else ""
            key = key or _id_of(layer)
            if key not in found or isinstance(layer, Labels):
                found[key] = layer
    return list(found.values())


def _is_original(layer: Layer, record: Record) -> bool:
    """Whether a result is no copy of another; 0.1.0 did not tell."""
    return record.layer in ("", _id_of(layer))


def _id_of(layer: Layer) -> str:
    """Return what a layer is known by."""
    return str(layer.unique_id)


def _images_in(run: list[tuple[Layer, Record]]) -> list[Image]:
    """Return the images of a run, in the order of channels, if all are there."""
    run = sorted(run, key=lambda pair: pair[1].channel)
    images = [layer for layer, _ in run if isinstance(layer, Image)]
    return images if len(images) == max(1, len(run[0][1].source)) else []


def _channel_of(
    image: Image, record: Record, run: list[tuple[Layer, Record]]
) -> int | None:
    """Return which channel of its source an image shows; 0.1.0 only had an order."""
    if record.look is not None:
        return record.channel
    images = _images_in(run)
    return images.index(image) if image in images else None


def _labels_in(run: list[tuple[Layer, Record]]) -> tuple[Array, ...] | None:
    """Return the labels that the images of a run were painted by, from their colors."""
    images, record = _images_in(run), run[0][1]
    if not images:
        return None
    source, palette = read_source(images, record.channel_axis), record.palette
    labels = []
    for image in read_levels(source)[: len(source.levels)]:
        entries = _entries_in(image, palette, source.channel_axis)
        labels.append(number_pixels(entries, image, source, len(palette)))
    return tuple(labels)


def _entries_in(image: Array, palette: Array, axis: int | None) -> Array:
    """Return the entries of the pixels of an image in colors of a palette."""
    if not is_lazy(image):
        return map_to_palette(image, palette, channel_axis=axis)
    # By chunks, for the range of the image need not be known to find equal colors.
    pixels = image[..., np.newaxis] if axis is None else np.moveaxis(image, axis, -1)
    colors, last = palette.reshape(len(palette), -1), pixels.ndim - 1

    def work(chunk: Array, _: Any) -> Array:
        return map_to_palette(chunk, colors, channel_axis=last)

    return map_chunks(pixels, work, label_type(len(colors)))


def _copies(labels: Sequence[Array]) -> tuple[Array, ...]:
    """Return labels at each level that nobody else has; lazy ones cannot be changed."""
    return tuple(one if is_lazy(one) else np.array(one) for one in labels)


def _seen_labels(labels: tuple[Array, ...], image: Image) -> tuple[Array, ...]:
    """Return the labels of an image, 0 where it is fully transparent."""
    levels = levels_of(image)
    if not image.rgb or levels[0].shape[-1] < 4:
        return labels
    pairs = zip(labels, levels, strict=True)
    return tuple(one * (level[..., 3] > 0) for one, level in pairs)


def _undone(now: Array, before: Array, lut: Indices) -> Array:
    """Return labels as they were before entries became others, and painted since."""
    undone = before.copy()
    is_painted = now != renumber(before, lut, int(lut.max()) + 1)
    if is_painted.any():
        # The lowest entry of those that became one.
        back = np.unique(lut, return_index=True)[1]
        undone[is_painted] = renumber(now[is_painted], back, len(lut))
    return undone


def _n_bytes(step: _Step) -> int:
    """Return the bytes of the labels that are kept for a change."""
    kept = {id(x): x for one in step.layers.values() for x in one.labels or ()}
    return sum(x.nbytes for x in kept.values() if not is_lazy(x))


def _fits(layer: Layer, described: LayerDataTuple) -> bool:
    """Whether a layer can take what is described without becoming another."""
    data, attributes, _ = described
    full = data[0] if attributes["multiscale"] else data
    is_rgb = attributes.get("rgb", False)
    return bool(
        layer.ndim == full.ndim - is_rgb
        and layer.multiscale == attributes["multiscale"]
        and getattr(layer, "rgb", False) == is_rgb
    )


def _bring_up_to_date(layer: Layer, described: LayerDataTuple) -> str:
    """Replace the data and the place of a layer; a name of the user's is kept.

    Returns the name that it was given here, then or now.
    """
    data, attributes, _ = described
    if isinstance(layer, Labels):
        replace_labels(layer, data if layer.multiscale else [data])
    else:
        layer.data = data
    move_layer(layer, {name: attributes[name] for name in PLACES if name in attributes})
    if isinstance(layer, Labels):
        layer.colormap = attributes["colormap"]
    record = record_of(layer)
    if record is not None and layer.name != record.name:
        return record.name
    layer.name = attributes["name"]
    return layer.name
