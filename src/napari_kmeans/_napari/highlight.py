"""The pixels of some clusters, seen while these are pointed at or chosen.

`Highlight.show` takes labels, where they lie, and the colors of the clusters;
`Highlight.hide` shows all pixels again. In between it follows the number of displayed
dimensions and the grid by itself. Which clusters are to be seen is left to
`palette_panel`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from weakref import WeakSet

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from napari.viewer import Viewer

from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._napari.overlay import Overlay
from napari_kmeans._napari.placement import move_layer

__all__ = ["Highlight", "grid_of"]

# Entries of a palette, and the color of each.
_Colors: TypeAlias = tuple[tuple[int, tuple[float, ...]], ...]
# Opacity of what lies over the pixels of other clusters.
_VEIL = 0.85
# Rec. 709, and what is hard to see on black, or beside others under a black veil.
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_FAINTEST = 0.25


def grid_of(viewer: Viewer) -> Any:
    """Return the grid that shows layers side by side, which napari 0.9 has moved."""
    return getattr(viewer, "canvas", viewer).grid


class Highlight:
    """Show which pixels belong to some clusters.

    A veil lies over all others in a plane. In a volume it would hide what it is
    about, so there these pixels are shown alone: all other layers of pixels are
    hidden, and seen again afterwards.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    removed : callable
        Called when the user removes it.
    """

    def __init__(self, viewer: Viewer, removed: Callable[[], None]) -> None:
        self._viewer = viewer
        self._removed = removed
        self._overlay = Overlay(viewer)
        # What is shown, which entries of it in which colors, and how it looks now.
        self._labels: Sequence[Array] | None = None
        self._colors: _Colors = ()
        self._look: tuple[Any, ...] | None = None
        # Layers that made room, unless the user has chosen otherwise since.
        self._hidden: WeakSet[Layer] | None = None
        for event, follow in self._followed():
            event.connect(follow)

    def _followed(self) -> list[tuple[Any, Callable[..., None]]]:
        layers = self._viewer.layers.events
        return [
            (layers.inserted, self._follow_copy),
            (layers.removed, self._follow_removal),
            (self._viewer.dims.events.ndisplay, self._follow_view),
            (grid_of(self._viewer).events.enabled, self._follow_view),
        ]

    def show(
        self,
        labels: Sequence[Array],
        places: dict[str, Any],
        colors: Mapping[int, Floats],
    ) -> None:
        """Show the pixels of some entries of a palette in their colors.

        Parameters
        ----------
        labels : sequence of ndarray
            Entry + 1 of each pixel, at each level of detail. Arrays that are shown
            already are not drawn anew.
        places : dict
            Where the labels lie, as the arguments of a layer.
        colors : mapping of int to (4,) ndarray
            The color of each entry, from 0 to 1. At least one.
        """
        self._colors = tuple(
            (entry, tuple(rgba.tolist())) for entry, rgba in colors.items()
        )
        overlay = self._overlay.layer
        # The layer is kept while the mouse goes from row to row.
        is_shown = list(map(id, labels)) == list(map(id, self._labels or ()))
        if overlay is not None and is_shown:
            move_layer(overlay, places)
        else:
            # The one before is not removed by the user.
            self._labels = None
            self._look = self._wanted_look()
            overlay = Labels(
                list(labels) if len(labels) > 1 else labels[0],
                multiscale=len(labels) > 1,
                colormap=_colormap(*self._look),
                opacity=1,
                name="pixels of a cluster",
                **places,
            )
            self._overlay.show(overlay)
            self._labels = labels
        self._follow_view()

    def redraw(self) -> None:
        """Show the labels as somebody has painted them since."""
        if self._overlay.layer is not None:
            self._overlay.layer.refresh()

    def hide(self) -> None:
        """Show all pixels again."""
        self._labels = None
        self._overlay.hide()
        self._reveal()

    def leave(self) -> None:
        """Show all pixels again, and follow nothing any more."""
        for event, follow in self._followed():
            event.disconnect(follow)
        self.hide()

    def _wanted_look(self) -> tuple[Any, ...]:
        """Return the colors, and whether they are in a volume or a grid."""
        # In a cell of its own it covers nothing.
        is_apart = bool(grid_of(self._viewer).enabled)
        return self._colors, self._viewer.dims.ndisplay == 3, is_apart

    def _follow_view(self) -> None:
        """Look as the dimensions and the grid want it, and have room."""
        if self._labels is None:
            return
        look = self._wanted_look()
        if look != self._look:
            self._overlay.layer.colormap = _colormap(*look)
        self._look = look
        _, is_volume, is_apart = look
        if not is_volume or is_apart:
            self._reveal()
        elif self._hidden is None:
            self._make_room()

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
        if self._labels is not None and self._overlay.layer is None:
            self.hide()
            self._removed()


def _colormap(colors: _Colors, is_volume: bool, is_apart: bool) -> Any:
    """Color the labels of some entries, and all others, so that they are seen."""
    rgb = {entry: np.array(rgba[:3]) for entry, rgba in colors}
    lightness = np.mean([color @ _LUMA for color in rgb.values()])
    clear, others = np.zeros(4), np.zeros(4)
    if not is_volume:
        # Dark colors would be as dark as others are under a dark veil.
        others = np.append(np.full(3, float(lightness < _FAINTEST)), _VEIL)
    labels: dict[int | None, Floats] = {None: others, 0: others}
    for entry, color in rgb.items():
        own = clear
        if is_volume:
            lack = max(0.0, _FAINTEST - color @ _LUMA)
            own = np.append(np.minimum(color + lack, 1), 1)
        elif is_apart:
            own = np.append(color, 1)
        labels[entry + 1] = own
    return DirectLabelColormap(color_dict=labels)
