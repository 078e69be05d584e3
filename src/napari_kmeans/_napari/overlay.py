"""A layer that is shown for a while: the base of the preview and the highlight.

`Overlay` adds a layer and takes it away again without touching any other layer or the
selection. It marks the layer, so that nobody offers it as an image or a mask. What the
layer shows is left to `preview` and `highlight`.
"""

from collections.abc import Callable
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer

from napari_kmeans._napari.layers import OVERLAY

__all__ = ["Overlay"]


class Overlay:
    """A layer that comes and goes without touching another.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    removed : callable, optional
        Called after somebody else has removed the layer.
    """

    def __init__(
        self, viewer: Viewer, removed: Callable[[], None] | None = None
    ) -> None:
        self._viewer = viewer
        self._removed = removed
        self._layer: Layer | None = None

    @property
    def layer(self) -> Any:
        """The layer, or None if there is none or the user removed it."""
        return self._layer if self._layer in self._viewer.layers else None

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
        layers.events.removed.connect(self._follow_removal)

    def hide(self) -> None:
        """Remove the layer, if it is there."""
        self._viewer.layers.events.removed.disconnect(self._follow_removal)
        layer, self._layer = self.layer, None
        if layer is not None:
            self._viewer.layers.remove(layer)

    def _follow_removal(self, event: Any) -> None:
        """Let go of the layer, and tell that it was removed."""
        if event.value is self._layer:
            self._layer = None
            if self._removed is not None:
                self._removed()
