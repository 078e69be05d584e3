"""What is on the screen, shown in its colors to be while the user still chooses.

`Preview` is asked to show what is chosen now, computes it in a thread and keeps one
layer up to date. It computes with what is visible alone, at the detail of the screen,
and finds the palette from even fewer pixels (`_previewed`). When to ask again because a
control has changed is left to `run_panel`.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from napari_kmeans._core.arrays import Array, Mask
from napari_kmeans._napari.computation import fitted_mask, quantize_source
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.layers import Source, read_array
from napari_kmeans._napari.overlay import Overlay
from napari_kmeans._napari.placement import (
    PLACES,
    Visible,
    axes_of_labels,
    move_layer,
    visible_part,
)
from napari_kmeans._napari.quantize_layer import Request, message_of
from napari_kmeans._napari.settings import Settings

__all__ = ["Preview"]

# Pixels of a preview: about as many as the canvas has, few enough to follow a hand.
_MOST_PREVIEWED = 1 << 19
_MOST_FITTED = 1 << 15
# Milliseconds; changes within are answered together.
_PAUSE = 30


class Preview:
    """Show a layer in its colors to be, as often as they are chosen anew.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    collect : callable
        Returns what is to be shown now, or None for nothing.
    outdated : callable
        Called when a layer that is shown, its mask, or what is on the screen has
        changed.
    hindered : callable
        Called with what hinders the preview, in words, and with "" once nothing does.
    parent : QObject
        What it lives as long as.
    """

    def __init__(
        self,
        viewer: Viewer,
        collect: Callable[[], Request | None],
        outdated: Callable[[], None],
        hindered: Callable[[str], None],
        parent: QObject,
    ) -> None:
        self._viewer = viewer
        self._collect = collect
        self._outdated = outdated
        self._hindered = hindered
        # Events of what is shown, and of where it is seen.
        self._events: list[Any] = []
        self._overlay = Overlay(viewer)
        self._newest = Newest(parent)
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
    def was_removed(self) -> bool:
        """Whether the user removed the layer that was shown."""
        return self._overlay.was_removed

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
            self._hindered(str(error))
            return
        self._hindered("")
        part = None
        self._listen_to([] if request is None else self._events_of(request))
        if request is not None:
            layer, channels = request.layers[0], request.source.channels
            part = visible_part(layer, self._viewer.dims, _MOST_PREVIEWED, channels)
        if request is None or part is None:
            self._overlay.hide()
            return
        places = axes_of_labels(layer, channels) | {"affine": part.affine}
        name = f"preview of {layer.name}"

        def returned(pixels: NDArray[np.uint8]) -> None:
            layer = self._overlay.layer
            if layer is None or layer.data.shape != pixels.shape:
                self._overlay.show(Image(pixels, rgb=True, name=name, **places))
            else:
                layer.name, layer.data = name, pixels
                move_layer(layer, places)
            self._go_on()

        def failed(error: Exception) -> None:
            self._overlay.hide()
            self._hindered(
                message_of(error, request.layers[0], request.settings.palette)
            )
            self._go_on()

        compute = partial(_previewed, request.source, request.settings, part)
        self._newest.start(compute, returned=returned, failed=failed)

    def _go_on(self) -> None:
        if self._is_outdated:
            self._timer.start()

    def _events_of(self, request: Request) -> list[Any]:
        """Return the events after which a request looks different."""
        mask_id = getattr(request.source.mask, "id", None)
        masks = [x for x in self._viewer.layers if str(x.unique_id) == mask_id]
        names = ("data", "set_data", "labels_update", *PLACES)
        dims = self._viewer.dims.events
        events = [dims.current_step, dims.order, dims.ndisplay]
        events += [
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
        """Hear of these events, and of no others."""
        if events == self._events:
            return
        for event in self._events:
            event.disconnect(self._outdated)
        for event in events:
            event.connect(self._outdated)
        self._events = events


def _previewed(
    source: Source, settings: Settings, part: Visible, report: Callable[[Any], None]
) -> NDArray[np.uint8]:
    """Return the visible pixels in the colors that they would be shown in."""
    arrays = tuple(read_array(x, part.box) for x in source.levels[part.level])
    pixels = source._replace(levels=(arrays,), mask=None)
    settings = dataclasses.replace(settings, output="labels", slice_axis=None)
    if settings.palette is None:
        # Fewer pixels give a palette that is as good to look at.
        thin = _thinned(source, part, arrays)
        sample = source._replace(
            levels=(tuple(array[thin] for array in arrays),),
            mask=_mask_at(source, part, thin),
        )
        record = quantize_source(sample, settings, report).record
        assert record.settings is not None
        settings = dataclasses.replace(record.settings, palette=record.palette)
    outcome = quantize_source(pixels, settings, report)
    colors = np.pad(np.rint(outcome.rgba * 255).astype(np.uint8), ((1, 0), (0, 0)))
    return colors.take(outcome.labels[0], axis=0)


def _mask_at(source: Source, part: Visible, thin: tuple[slice, ...]) -> Mask | None:
    """Return the mask of the pixels of a sample, unless these miss what is inside."""
    mask = fitted_mask(source)
    if mask is None:
        return None
    axes, index = list(range(len(part.box))), []
    if source.channels is not None:
        axes.remove(source.channels.axis)
    for axis, full in zip(axes, mask.shape, strict=True):
        # The pixel of the mask that lies under the middle of one of the level.
        n = source.levels[part.level][0].shape[axis]
        taken = np.arange(n)[part.box[axis]][thin[axis]]
        index.append(((taken + 0.5) * full / n).astype(np.intp))
    for axis, some in enumerate(index):
        mask = np.take(mask, some, axis)
    inside = read_array(mask)
    return inside if inside.any() else None


def _thinned(
    source: Source, part: Visible, arrays: tuple[Array, ...]
) -> tuple[slice, ...]:
    """Return the index of evenly spread pixels, of at most `_MOST_FITTED`."""
    shape = list(arrays[0].shape[: len(part.box)])
    if source.channels is not None:
        shape[source.channels.axis] = 1
    n_axes = sum(length > 1 for length in shape)
    excess = np.prod(shape, dtype=float) / _MOST_FITTED
    step = max(1, int(np.ceil(excess ** (1 / max(1, n_axes)))))
    return tuple(slice(None, None, step if n > 1 else None) for n in shape)
