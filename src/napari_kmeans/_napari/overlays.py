"""Layers that are shown for a while: the preview, and the pixels of a color."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer

from napari_kmeans._napari.canvas import grid_of
from napari_kmeans._napari.computation import fitted_mask, quantize_source
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import OVERLAY, read_array
from napari_kmeans._napari.placement import (
    PLACES,
    Visible,
    axes_of_labels,
    labels_placement,
    move_layer,
    visible_part,
    world_matrix,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtCore import QObject

    from napari_kmeans._napari.layers import Source
    from napari_kmeans._napari.placement import Channels
    from napari_kmeans._napari.quantize_layer import Request
    from napari_kmeans._napari.settings import Settings

    Mask = NDArray[np.bool_]

__all__ = ["Highlight", "Preview"]

# Pixels of a preview: about as many as the canvas has, few enough to follow a hand.
_MOST_PREVIEWED = 1 << 19
_MOST_FITTED = 1 << 15
# Milliseconds; changes within are answered together.
_PAUSE = 30
# Opacity of what lies over the pixels of other colors.
_VEIL = 0.85
# Rec. 709, and what is hard to see on black, or beside others under a black veil.
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_FAINTEST = 0.25


class _Overlay:
    """A layer that comes and goes without touching another."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layer: Layer | None = None

    @property
    def layer(self) -> Any:
        """The layer, or None if there is none or the user removed it."""
        if self._layer is not None and self._layer not in self._viewer.layers:
            self._layer = None
        return self._layer

    def show(self, layer: Layer) -> None:
        """Put `layer` on top, in the place of the one before."""
        self.hide()
        layer.metadata = {OVERLAY: True}
        layers = self._viewer.layers
        selected, active = set(layers.selection), layers.selection.active
        # Whoever works on a layer goes on with it, and nobody is told otherwise.
        with layers.selection.events.blocker_all():
            self._layer = self._viewer.add_layer(layer)
            layers.selection = selected
            layers.selection.active = active

    def hide(self) -> None:
        """Remove the layer, if it is there."""
        layer, self._layer = self.layer, None
        if layer is not None:
            self._viewer.layers.remove(layer)


class Preview:
    """Show a layer in its colors to be, as often as they are chosen anew.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    collect : callable
        Gives what is to be shown now, or None for nothing.
    changed : callable
        Told when a layer that is shown, or its mask, has changed.
    failed : callable
        Told of errors, and of what was to be shown unless that is what failed.
    parent : QObject
        What it lives as long as.
    """

    def __init__(
        self,
        viewer: Viewer,
        collect: Callable[[], Request | None],
        changed: Callable[[], None],
        failed: Callable[[Exception, Request | None], None],
        parent: QObject,
    ) -> None:
        self._viewer = viewer
        self._collect = collect
        self._changed = changed
        self._failed = failed
        # Of the layers that are shown.
        self._events: list[Any] = []
        self._overlay = _Overlay(viewer)
        self._newest = Newest()
        self._is_outdated = False
        self._timer = QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self._start)

    @property
    def layer(self) -> Any:
        """The layer that is shown, or None."""
        return self._overlay.layer

    @property
    def is_settled(self) -> bool:
        """Whether everything that was requested is shown."""
        return not self._timer.isActive() and not self._newest.is_busy

    def request(self) -> None:
        """Show what is chosen now, soon."""
        self._is_outdated = True
        # Not put off by the next request: a hand that never rests is followed, too.
        if self.is_settled:
            self._timer.start()

    def stop(self) -> None:
        """Show nothing, and nothing that is still being computed."""
        self.leave()
        self._overlay.hide()

    def leave(self) -> None:
        """Compute nothing any more."""
        self._listen_to([])
        self._timer.stop()
        self._is_outdated = False
        self._newest.leave()

    def _start(self) -> None:
        self._is_outdated = False
        try:
            request = self._collect()
        except ValueError as error:
            self._overlay.hide()
            self._failed(error, None)
            return
        part = None
        self._listen_to([] if request is None else self._events_of(request))
        if request is not None:
            layer, channels = request.layers[0], request.source.channels
            part = visible_part(layer, self._viewer.dims, _MOST_PREVIEWED, channels)
        if request is None or part is None:
            self._overlay.hide()
            return
        places = axes_of_labels(request.layers[0], request.source.channels)
        places["affine"] = part.affine
        name = f"preview of {request.layers[0].name}"
        source, settings = request.source, request.settings

        def compute(report: Callable[[Any], None]) -> NDArray[np.uint8]:
            return _previewed(source, settings, part, report)

        def returned(pixels: NDArray[np.uint8]) -> None:
            self._show(pixels, places, name)
            self._go_on()

        def failed(error: Exception) -> None:
            self._overlay.hide()
            self._failed(error, request)
            self._go_on()

        self._newest.start(compute, returned=returned, failed=failed)

    def _go_on(self) -> None:
        if self._is_outdated:
            self._timer.start()

    def _show(
        self,
        pixels: NDArray[np.uint8],
        places: dict[str, Any],
        name: str,
    ) -> None:
        layer = self._overlay.layer
        if layer is None or layer.data.shape != pixels.shape:
            self._overlay.show(Image(pixels, rgb=True, name=name, **places))
            return
        layer.data = pixels
        move_layer(layer, places)

    def _events_of(self, request: Request) -> list[Any]:
        """Give the events of layers that tell that they are to be shown anew."""
        mask_id = getattr(request.source.mask, "id", None)
        masks = [x for x in self._viewer.layers if str(x.unique_id) == mask_id]
        names = ("data", "set_data", "labels_update", *PLACES)
        events = [
            layer.events[name]
            for layer in (*request.layers, *masks)
            for name in names
            if name in layer.events.emitters
            # Pyramids set their data wherever one looks.
            and not (name == "set_data" and getattr(layer, "multiscale", False))
        ]
        if request.source.look.colormaps:
            looks = ("colormap", "contrast_limits", "gamma")
            events += [layer.events[name] for layer in request.layers for name in looks]
        return events

    def _listen_to(self, events: list[Any]) -> None:
        """Be told of these events, and of no others."""
        if events == self._events:
            return
        for event in self._events:
            event.disconnect(self._changed)
        for event in events:
            event.connect(self._changed)
        self._events = events


def _previewed(
    source: Source,
    settings: Settings,
    part: Visible,
    report: Callable[[Any], None],
) -> NDArray[np.uint8]:
    """Give the visible pixels in the colors that they would be shown in."""
    pixels = source._replace(
        levels=(_at(source.levels[part.level], part.box),),
        mask=_mask_at(source, part),
    )
    settings = dataclasses.replace(settings, output="labels", slice_axis=None)
    if settings.palette is None:
        # Fewer pixels give a palette that is as good to look at.
        box = _thinned(pixels.levels[0][0], _whole_axis(source))
        sample = pixels._replace(
            levels=(_at(pixels.levels[0], box),), mask=_thin_mask(pixels, box)
        )
        palette = quantize_source(sample, settings, report).record.palette
        settings = dataclasses.replace(settings, palette=palette)
    outcome = quantize_source(pixels, settings, report)
    octets = np.rint(outcome.rgba * 255).astype(np.uint8)
    colors = np.concatenate([np.zeros((1, 4), np.uint8), octets])
    return colors.take(outcome.labels[0], axis=0)


def _at(arrays: tuple[Any, ...], box: tuple[slice, ...]) -> tuple[NDArray[Any], ...]:
    """Read a part of each array."""
    return tuple(read_array(array, box) for array in arrays)


def _mask_at(source: Source, part: Visible) -> Mask | None:
    """Give the mask of a part of the image, at its level of detail.

    Raises
    ------
    ValueError
        If no pixel of the whole image is inside, as `kmeans_palette` does.
    """
    mask = fitted_mask(source)
    if mask is None:
        return None
    axes = [axis for axis in range(len(part.box)) if axis != source.channel_axis]
    index = []
    for axis, full in zip(axes, mask.shape, strict=True):
        n = source.levels[part.level][0].shape[axis]
        taken = np.arange(n)[part.box[axis]]
        index.append(((taken + 0.5) * full / n).astype(np.intp))
    return mask[np.ix_(*index)]


def _thin_mask(pixels: Source, box: tuple[slice, ...]) -> Mask | None:
    """Give the mask of evenly spread pixels, unless these miss it."""
    if not isinstance(pixels.mask, np.ndarray):
        return None
    axis = _whole_axis(pixels)
    sides = [side for i, side in enumerate(box) if axis is None or i != axis % len(box)]
    inside = pixels.mask[tuple(sides)]
    return inside if inside.any() else None


def _whole_axis(source: Source) -> int | None:
    """Give the axis of the arrays that holds channels, if one does."""
    return source.channel_axis if len(source.levels[0]) == 1 else None


def _thinned(image: NDArray[Any], whole_axis: int | None) -> tuple[slice, ...]:
    """Give the index of evenly spread pixels, of at most `_MOST_FITTED`."""
    shape = list(image.shape)
    if whole_axis is not None:
        shape[whole_axis] = 1
    n_axes = sum(length > 1 for length in shape)
    excess = np.prod(shape, dtype=float) / _MOST_FITTED
    step = max(1, int(np.ceil(excess ** (1 / max(1, n_axes)))))
    return tuple(slice(None, None, step if n > 1 else None) for n in shape)


class Highlight:
    """Show which pixels have a color.

    A veil lies over all others in a plane. In a volume it would hide what it is
    about, so there these pixels are shown alone: all other layers of pixels are
    hidden, and seen again afterwards.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    removed : callable
        Told when the user removes it.
    """

    def __init__(self, viewer: Viewer, removed: Callable[[], None]) -> None:
        self._viewer = viewer
        self._removed = removed
        self._overlay = _Overlay(viewer)
        # What the overlay shows, and how it is colored.
        self._shown: tuple[Any, ...] | None = None
        self._look: tuple[Any, ...] | None = None
        # Layers that made room, unless the user has chosen otherwise since.
        self._hidden: WeakSet[Layer] | None = None
        viewer.layers.events.inserted.connect(self._follow_copy)
        viewer.layers.events.removed.connect(self._follow_removal)

    def show(
        self,
        layer: Layer,
        levels: tuple[Any, ...],
        rgba: NDArray[np.float64],
        channels: Channels | None,
        entry: int,
    ) -> None:
        """Show the pixels of an entry, in `layer` or where it lies.

        Its `channels` have one label.
        """
        dims, labels = self._viewer.dims, levels
        shown = (id(labels), world_matrix(layer).tolist())
        # In a cell of its own it covers nothing.
        is_apart = bool(grid_of(self._viewer).enabled)
        is_volume = dims.ndisplay == 3
        look = (entry, rgba[entry].tolist(), is_volume, is_apart)
        if shown != self._shown or self._overlay.layer is None:
            overlay = Labels(
                list(labels) if layer.multiscale else labels[0],
                multiscale=layer.multiscale,
                colormap=_colormap(*look),
                opacity=1,
                name="pixels of a color",
                **labels_placement(layer, channels),
            )
            # The one before is not removed by the user.
            self._shown = None
            self._overlay.show(overlay)
        # It is kept while the mouse goes from color to color.
        elif look != self._look:
            self._overlay.layer.colormap = _colormap(*look)
        self._shown, self._look = shown, look
        if not is_volume or is_apart:
            self._reveal()
        elif self._hidden is None:
            self._make_room()

    def hide(self) -> None:
        """Show all pixels again."""
        self._shown = None
        self._overlay.hide()
        self._reveal()

    def _make_room(self) -> None:
        """Hide all other pixels."""
        # Listed first, for linked layers follow each other.
        layers = [
            layer
            for layer in self._viewer.layers
            if layer.visible
            and isinstance(layer, Image | Labels)
            and layer is not self._overlay.layer
        ]
        self._hidden = WeakSet()
        for layer in layers:
            layer.visible = False
            self._will_reveal(layer)

    def _reveal(self) -> None:
        """Let the layers be seen that made room."""
        layers, self._hidden = list(self._hidden or ()), None
        for layer in layers:
            layer.events.visible.disconnect(self._follow_choice)
        for layer in layers:
            layer.visible = True

    def _will_reveal(self, layer: Layer) -> None:
        """Show a hidden layer in the end, unless the user shows or hides it."""
        assert self._hidden is not None
        self._hidden.add(layer)
        layer.events.visible.connect(self._follow_choice)

    def _follow_choice(self, event: Any) -> None:
        """Leave a layer as the user wants it."""
        assert self._hidden is not None
        self._hidden.discard(event.source)
        event.source.events.visible.disconnect(self._follow_choice)

    def _follow_copy(self, event: Any) -> None:
        """Take what was made from a hidden layer, and is hidden like it, for one."""
        layer, names = event.value, tuple(each.name for each in self._hidden or ())
        if not layer.visible and layer.name.startswith(names):
            self._will_reveal(layer)

    def _follow_removal(self) -> None:
        """End where the user has removed the overlay."""
        if self._shown is not None and self._overlay.layer is None:
            self.hide()
            self._removed()


def _colormap(entry: int, color: list[float], is_volume: bool, is_apart: bool) -> Any:
    """Color the label of an entry, and all others, so that it is seen."""
    from napari.utils.colormaps import DirectLabelColormap

    rgb = np.array(color[:3])
    lack = max(0.0, _FAINTEST - rgb @ _LUMA)
    own, others = np.zeros(4), np.zeros(4)
    if is_volume:
        own = np.array([*np.minimum(rgb + lack, 1), 1])
    else:
        # A dark color would be as dark as others are under a dark veil.
        others = np.array([*np.full(3, float(lack > 0)), _VEIL])
        if is_apart:
            own = np.array([*rgb, 1])
    return DirectLabelColormap(color_dict={None: others, 0: others, entry + 1: own})
