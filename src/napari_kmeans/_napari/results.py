"""The layers that computations leave in a viewer.

A `Results` belongs to one widget. `add` puts the layers of an outcome into the viewer,
or brings those of the last run up to date; `listed` returns the palette of a layer as
it is shown, and `recolor` changes one of its colors in all layers of a run. All that
is known about a layer is in its own record (`record`), whoever made it.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from functools import partial
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
from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.chunks import map_chunks, map_pairs
from napari_kmeans._core.mapping import label_type
from napari_kmeans._napari.computation import Outcome, number_pixels, shown_as
from napari_kmeans._napari.layers import Look, read_levels, read_source, rgba_of
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

__all__ = ["Listed", "Results"]

# Image layers, and new data of each at all levels.
Painted = list[tuple[Image, list[Array]]]


class Listed(NamedTuple):
    """The palette of a layer, as it is shown."""

    record: Record
    # (K, 4), from 0 to 1.
    rgba: Floats
    is_rgb: bool
    # Where an image has channels that its labels span; None for labels.
    channels: Channels | None


class Results:
    """Add layers, bring earlier ones up to date, and change their clusters.

    The signal carries a layer whose table has changed: by an edit of its run, or by
    paint on labels.
    """

    changed = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        # Of images, for as long as these live.
        self._labels: WeakKeyDictionary[Layer, tuple[Array, ...]]
        self._labels = WeakKeyDictionary()

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
        to become another kind of layer, of more axes or levels, is let go as it is.
        """
        last = self._last(request)
        layers = []
        for channel, described in describe_layers(request, outcome):
            kind = described[2]
            layer = last.get((kind, channel))
            if layer is not None and _fits(layer, described):
                name = _bring_up_to_date(layer, described)
                sign_layer(layer, request, outcome, channel, name)
            elif request.settings.output in (kind, "both"):
                layer = Layer.create(*described)
                # Known before anybody hears of the layer.
                sign_layer(layer, request, outcome, channel, layer.name)
                add_layer(self._viewer, layer)
            else:
                continue
            if isinstance(layer, Image):
                self._labels[layer] = outcome.labels
            layers.append(layer)
        return layers

    def listed(self, layer: Layer | None) -> Listed | None:
        """Return the palette of a layer, or None if it was not made here."""
        record = record_of(layer)
        if layer is None or record is None:
            return None
        look = record.look or self._look_of(layer, record)
        rgba = rgba_of(record.palette, look)
        if record.look is None and isinstance(layer, Labels):
            numbers = range(1, len(rgba) + 1)
            rgba = np.array([layer.get_color(i) for i in numbers], dtype=np.float64)
        axis, channels = _channel_axis(record), None
        if isinstance(layer, Image) and axis is not None and axis >= 0:
            channels = Channels(axis, levels_of(layer)[0].shape[axis])
        return Listed(record, rgba, look.is_rgb, channels)

    def labels_of(self, layer: Layer) -> tuple[Array, ...] | None:
        """Return the labels of a result at each level; None if they are lost."""
        if isinstance(layer, Labels):
            return levels_of(layer)
        if layer not in self._labels:
            run = self._run_of(layer)
            drawn = [levels_of(one) for one, _ in run if isinstance(one, Labels)]
            labels = drawn[0] if drawn else _labels_in(run)
            if labels is None:
                return None
            self._labels[layer] = labels
        return self._labels[layer]

    def recolor(
        self, layer: Layer, entry: int, color: ArrayLike
    ) -> Callable[[Callable[[Any], None]], Painted] | None:
        """Change the color of an entry of the palette in all layers of the run.

        What is quick happens at once. If images are among the layers, returns a
        function that paints them, which may take long; `repaint` takes what it returns.
        """
        listed = self.listed(layer)
        assert listed is not None
        # Those of images are found by the colors that these have now.
        run = [(one, own, self.labels_of(one)) for one, own in self._run_of(layer)]
        palette, rgba = listed.record.palette.copy(), listed.rgba.copy()
        palette[entry] = color
        look = listed.record.look or self._look_of(layer, listed.record)
        rgba[entry] = rgba_of(palette, look)[entry]
        # A copy parts from its run.
        is_copy = not _is_original(layer, listed.record)
        name = secrets.token_hex(8) if is_copy else listed.record.run
        images = []
        for one, record, labels in run:
            changed = dataclasses.replace(record, run=name, layer=str(one.unique_id))
            changed = _with_color(changed, palette, entry)
            write_record(one, changed)
            if isinstance(one, Labels):
                shown = shown_as(record, rgba)
                one.colormap, one.features = shown["colormap"], shown["features"]
            elif labels is not None and isinstance(one, Image):
                images.append((one, levels_of(one), labels, changed))

        self.changed.emit(layer)

        def paint(report: Callable[[Any], None]) -> Painted:
            painted = []
            for image, levels, labels, record in images:
                pairs = zip(levels, labels, strict=True)
                new = [_recolored(*pair, record, entry, image.rgb) for pair in pairs]
                report(None)
                painted.append((image, new))
            return painted

        return paint if images else None

    def rename(self, layer: Layer, entry: int, name: str) -> None:
        """Give an entry of the palette another name in all layers of the run."""
        for one, record in self._run_of(layer):
            names = list(record.names or len(record.palette) * ("",))
            names[entry] = name
            write_record(one, dataclasses.replace(record, names=tuple(names)))
        self.changed.emit(layer)

    def merge(
        self, layer: Layer, entries: Sequence[int]
    ) -> Callable[[Callable[[Any], None]], Painted] | None:
        """Make one cluster of several of one palette, in all layers of the run.

        Its color is the mean of those that were fitted, weighted by their pixels. It
        takes the place of the lowest entry, and the numbers of others close up. Where
        its color is that of another entry, both become one, too. Labels and the table
        change at once. If images are among the layers, returns a function that paints
        them, which may take long; `repaint` takes what it returns.

        Raises
        ------
        ValueError
            If there are less than two entries, or they are of several slices.
        """
        raise NotImplementedError

    def undo(self, layer: Layer) -> Callable[[Callable[[Any], None]], Painted] | None:
        """Take back the last change of names, colors or clusters of the run.

        What was painted in labels since stays. Labels and the table change at once; the
        function that is returned paints the images, as that of `merge` does.
        """
        raise NotImplementedError

    def can_undo(self, layer: Layer | None) -> bool:
        """Whether there is a change of a run that can be taken back."""
        return False

    def table(self, layer: Image | Labels, axis: int | str | None = None) -> Any:
        """Return the table of a result, or a long one, measured along an axis.

        Takes the source from the viewer, as far as it is there. Read in any thread.
        """
        return cluster_table(layer, axis=axis)

    def leave(self) -> None:
        """Follow no labels any more."""

    def repaint(self, painted: Painted) -> None:
        """Set the pixels of image layers to those that were painted."""
        for layer, levels in painted:
            layer.data = levels if layer.multiscale else levels[0]

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
            return read_source(images, _channel_axis(record)).look
        palette = record.palette
        return Look(is_rgb=palette.ndim == 2 and palette.shape[1] in (3, 4))


def _is_original(layer: Layer, record: Record) -> bool:
    """Whether a result is no copy of another; 0.1.0 did not tell."""
    return record.layer in ("", str(layer.unique_id))


def _channel_axis(record: Record) -> int | None:
    """Return the axis that holds channels, -1 if it is none of the layer's."""
    return None if record.settings is None else record.settings.channel_axis


def _images_in(run: list[tuple[Layer, Record]]) -> list[Image]:
    """Return the images of a run, in the order of channels, if all are there."""
    run = sorted(run, key=lambda pair: pair[1].channel)
    images = [layer for layer, _ in run if isinstance(layer, Image)]
    return images if len(images) == max(1, len(run[0][1].source)) else []


def _labels_in(run: list[tuple[Layer, Record]]) -> tuple[Array, ...] | None:
    """Return the labels that the images of a run were painted by, from their colors."""
    images, record = _images_in(run), run[0][1]
    if not images:
        return None
    source, palette = read_source(images, _channel_axis(record)), record.palette
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


def _with_color(record: Record, palette: Array, entry: int) -> Record:
    """Return the record of a layer whose palette has another color."""
    settings = record.settings
    if settings is not None:
        colors = {**(settings.recolored or {}), entry: palette[entry].tolist()}
        settings = dataclasses.replace(settings, recolored=colors)
    # The error was that of the colors before.
    return dataclasses.replace(
        record, palette=palette, settings=settings, mse=None, psnr=None
    )


def _recolored(
    data: Any, numbers: Array, record: Record, entry: int, is_rgb: bool
) -> Array:
    """Return the pixels of an image in the colors that entries have now.

    All that were ever changed are painted: the last one may not be there yet.
    """
    palette, axis, settings = record.palette, _channel_axis(record), record.settings
    if len(record.source) > 1:
        palette, axis = palette[:, record.channel], None
    entries = {entry, *(settings.recolored or {} if settings else {})}
    # Not of the record: no cluster can be sent what layers look like.
    colors = {changed: palette[changed] for changed in entries}
    paint = partial(_painted, colors=colors, axis=axis, is_rgb=is_rgb)
    if not is_lazy(data):
        return paint(numbers, data)
    # Labels have the axis of channels at length 1, or lack it.
    is_long = axis is not None and numbers.ndim == data.ndim
    return map_pairs(paint, numbers.squeeze(axis) if is_long else numbers, data, axis)


def _painted(
    numbers: Array,
    data: Any,
    colors: dict[int, Array],
    axis: int | None,
    is_rgb: bool,
) -> Array:
    """Return the pixels of an image with other colors of some entries."""
    image = np.array(data)
    pixels = image if axis is None else np.moveaxis(image, axis, -1)
    shape = pixels.shape if axis is None else pixels.shape[:-1]
    numbers = numbers.reshape(shape)
    for entry, color in colors.items():
        inside = numbers == entry + 1
        if is_rgb and pixels.shape[-1] == 4:
            # What cannot be seen stays as it is.
            inside &= pixels[..., 3] > 0
        pixels[inside] = color
    return image


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
    layer.data = data
    move_layer(layer, {name: attributes[name] for name in PLACES if name in attributes})
    if isinstance(layer, Labels):
        layer.colormap = attributes["colormap"]
        layer.features = attributes["features"]
    record = record_of(layer)
    if record is not None and layer.name != record.name:
        return record.name
    layer.name = attributes["name"]
    return layer.name
