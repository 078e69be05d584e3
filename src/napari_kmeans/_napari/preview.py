"""What is on the screen, shown in its colors to be while the user still chooses.

`Preview` is asked to show what is chosen now, computes it in a thread and keeps one
layer up to date. It hears what happens to the pixels and to the screen; when to ask
again because a control has changed is left to `run_panel`, and which colors pixels get
to `visible_colors`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Image, Layer
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QWidget

from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.kept_counts import KeptCounts
from napari_kmeans._napari.overlay import Overlay
from napari_kmeans._napari.placement import (
    PLACES,
    Screen,
    axes_of_labels,
    coarse_part,
    move_layer,
    visible_part,
)
from napari_kmeans._napari.quantize_layer import Request, ids_of, message_of
from napari_kmeans._napari.results import Listed
from napari_kmeans._napari.visible_colors import (
    MOST_SAMPLED,
    Asked,
    Shown,
    color_visible,
)

__all__ = ["Preview"]

# Milliseconds; changes within are answered together.
_PAUSE = 30
# Pixels of a plane that is shown as a whole, and of one that is dithered as a whole.
_WHOLE, _MOST_DITHERED = 1 << 18, 1 << 20


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
    told : callable
        Called with what is to be known about the preview, in words, and with "" once
        there is nothing.
    listed : callable
        Called with each new palette as a `Listed`, and with None when it goes.
    removed : callable
        Called when the user has removed the layer that is shown.
    count : KeptCounts
        Counts the colors, for runs too.
    parent : QWidget
        What it lives as long as. It is on the screen that the viewer is on.
    """

    def __init__(
        self,
        viewer: Viewer,
        *,
        collect: Callable[[], Request | None],
        outdated: Callable[[], None],
        told: Callable[[str], None],
        listed: Callable[[Listed | None], None],
        removed: Callable[[], None],
        count: KeptCounts,
        parent: QWidget,
    ) -> None:
        self._viewer = viewer
        self._collect = collect
        self._outdated = outdated
        self._tell = told
        self._list = listed
        self._count = count
        self._parent = parent
        # Events of what is shown, and of where it is seen, and who hears of them.
        self._events: list[tuple[Any, Callable[..., None]]] = []
        # How often pixels have changed, and which slice each layer has shown last.
        self._n_changes = 0
        self._slices: WeakKeyDictionary[Layer, Any] = WeakKeyDictionary()
        self._shown: Shown | None = None
        self._overlay = Overlay(viewer, removed)
        self._name = ""
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
        self._hide()
        self._tell("")

    def leave(self) -> None:
        """Compute nothing any more."""
        self._listen_to([])
        self._timer.stop()
        self._is_outdated = False
        self._slices.clear()
        self._newest.leave()

    def _hide(self) -> None:
        """Show nothing, and forget what was shown."""
        self._overlay.hide()
        if self._shown is not None:
            self._shown = None
            self._list(None)

    def _start(self) -> None:
        self._is_outdated = False
        try:
            request = self._collect()
        except ValueError as error:
            self._fail(str(error))
            return
        if request is None:
            self._listen_to([])
            self._hide()
            self._tell("")
            return
        self._listen_to(self._events_of(request))
        asked = self._asked(request)
        if asked is None:
            self._hide()
            self._tell("")
            return
        self._newest.start(
            partial(self._compute, asked, self._shown),
            returned=partial(self._show, request, asked),
            failed=partial(self._fail_with, request),
            reported=self._tell,
        )

    def _asked(self, request: Request) -> Asked | None:
        """Return what is to be computed, or None if nothing is on the screen."""
        layer, source, dims = request.layers[0], request.source, self._viewer.dims
        channels = source.channels
        n_whole = _MOST_DITHERED if request.settings.dither else _WHOLE
        part = visible_part(layer, dims, self._screen(), channels, n_whole)
        coarse = coarse_part(layer, dims, MOST_SAMPLED, channels)
        if part is None or coarse is None:
            return None
        mask_id = getattr(source.mask, "id", None)
        state = ids_of(request.layers), mask_id, self._n_changes
        return Asked(source, request.settings, part, coarse, state)

    def _screen(self) -> Screen:
        """Return what the canvas shows."""
        viewer: Any = self._viewer
        camera, canvas = _camera(viewer), getattr(viewer, "canvas", None)
        if canvas is not None:
            shape = canvas.viewbox_size(viewer.layers)
        else:
            # napari < 0.9 tells nobody the size of its canvas, which fits the screen.
            drawn: Any = self._parent.window()
            drawn = drawn.findChild(QOpenGLWidget) or drawn.screen()
            shape = drawn.size().height(), drawn.size().width()
        center, ratio = tuple(camera.center)[-2:], self._parent.devicePixelRatioF()
        return Screen(center, camera.zoom, shape, ratio)

    def _compute(
        self, asked: Asked, before: Shown | None, report: Callable[[Any], None]
    ) -> Shown:
        return color_visible(asked, before, self._count, report)

    def _show(self, request: Request, asked: Asked, shown: Shown) -> None:
        """Show what was computed, while the next is being computed."""
        before, self._shown = self._shown, shown
        if self._is_outdated:
            self._start()
        if self._shown is not shown:
            return
        self._tell(shown.note)
        first, channels = request.layers[0], request.source.channels
        places = axes_of_labels(first, channels) | {"affine": asked.part.affine}
        name, layer = f"preview of {first.name}", self._overlay.layer
        if layer is None or layer.ndim != shown.pixels.ndim - 1:
            self._overlay.show(Image(shown.pixels, rgb=True, name=name, **places))
        else:
            if before is None or shown.pixels is not before.pixels:
                layer.data = shown.pixels
            move_layer(layer, places)
            if self._name != name:
                layer.name = name
        self._name = name
        if before is None or shown.record is not before.record:
            is_rgb = request.source.look.is_rgb
            self._list(Listed(shown.record, shown.rgba, is_rgb, channels))

    def _fail_with(self, request: Request, error: Exception) -> None:
        settings = request.settings
        self._fail(message_of(error, request.layers[0], settings.palette))
        if self._is_outdated:
            self._timer.start()

    def _fail(self, text: str) -> None:
        """Show nothing, and say why."""
        self._hide()
        self._tell(f"No preview: {text}")

    # What happens to what is shown.

    def _events_of(self, request: Request) -> list[tuple[Any, Callable[..., None]]]:
        """Return the events after which a request looks different, and who hears."""
        viewer: Any = self._viewer
        dims, camera = viewer.dims.events, _camera(viewer).events
        views = [dims.current_step, dims.order, dims.ndisplay]
        views += [camera.center, camera.zoom]
        if hasattr(viewer, "canvas"):
            views.append(viewer.canvas.events.size)
        views += [layer.events.name for layer in request.layers]
        if request.source.look.colormaps:
            looks = ("colormap", "contrast_limits", "gamma")
            views += [layer.events[name] for layer in request.layers for name in looks]
        events: list[tuple[Any, Callable[..., None]]]
        events = [(event, self._outdated) for event in views]
        mask_id = getattr(request.source.mask, "id", None)
        masks = [x for x in viewer.layers if str(x.unique_id) == mask_id]
        for layer in (*request.layers, *masks):
            names = ("data", "labels_update", *PLACES)
            found = [name for name in names if name in layer.events.emitters]
            events += [(layer.events[name], self._follow_change) for name in found]
            # Pyramids set their data wherever one looks.
            if not getattr(layer, "multiscale", False):
                self._slices.setdefault(layer, self._slice())
                events.append((layer.events.set_data, self._follow_slice))
        return events

    def _follow_change(self) -> None:
        """Note that pixels, or where a mask lies on them, have changed."""
        self._n_changes += 1
        self._outdated()

    def _follow_slice(self, event: Any) -> None:
        """Take pixels that are shown anew for edited, unless the slice is another."""
        before, now = self._slices.get(event.source), self._slice()
        self._slices[event.source] = now
        if now == before:
            self._follow_change()

    def _slice(self) -> tuple[Any, ...]:
        """Return which slice the viewer shows."""
        dims = self._viewer.dims
        return dims.point, dims.order, dims.ndisplay

    def _listen_to(self, events: list[tuple[Any, Callable[..., None]]]) -> None:
        """Hear of these events, and of no others."""
        if events == self._events:
            return
        for event, hear in self._events:
            event.disconnect(hear)
        for event, hear in events:
            event.connect(hear)
        self._events = events


def _camera(viewer: Any) -> Any:
    """Return the camera, which napari < 0.9 has elsewhere."""
    return getattr(viewer, "scene", viewer).camera
