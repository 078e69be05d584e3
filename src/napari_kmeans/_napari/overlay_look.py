"""How labels lie over what is below them: contour and opacity, at hand.

`OverlayLook` shows and sets these two of the labels layer that is selected.
"""

from __future__ import annotations

from typing import Any

from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QSpinBox, QWidget

__all__ = ["OverlayLook"]

_MOST_CONTOUR = 99


class OverlayLook(QWidget):
    """Set contour and opacity of a labels layer, and follow both."""

    def __init__(self) -> None:
        super().__init__()
        self._layer: Labels | None = None
        self.contour = QSpinBox()
        self.contour.setRange(0, _MOST_CONTOUR)
        self.contour.setAccessibleName("Contour")
        self.contour.setToolTip(
            "Pixels that the outlines of labels are wide,\n0 to fill the labels"
        )
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setAccessibleName("Opacity")
        self.opacity.setToolTip("Opacity of the labels, in percent")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for text, control in (("Contour", self.contour), ("Opacity", self.opacity)):
            layout.addWidget(QLabel(text))
            layout.addWidget(control)
        self.contour.valueChanged.connect(self._set_contour)
        self.opacity.valueChanged.connect(self._set_opacity)
        self.set_layer(None)

    def set_layer(self, layer: Layer | None) -> None:
        """Follow a layer, unless it has no labels."""
        self.leave()
        self._layer = layer if isinstance(layer, Labels) else None
        for event in self._followed():
            event.connect(self._follow)
        self.setEnabled(self._layer is not None)
        self._follow()

    def leave(self) -> None:
        """Follow no layer any more."""
        for event in self._followed():
            event.disconnect(self._follow)
        self._layer = None

    def _followed(self) -> list[Any]:
        if self._layer is None:
            return []
        return [self._layer.events.contour, self._layer.events.opacity]

    def _follow(self) -> None:
        layer = self._layer
        contour = 0 if layer is None else layer.contour
        opacity = 1.0 if layer is None else layer.opacity
        for control, value in (
            (self.contour, contour),
            (self.opacity, round(100 * opacity)),
        ):
            # What is shown rounded is not set.
            control.blockSignals(True)
            control.setValue(value)
            control.blockSignals(False)

    def _set_contour(self, width: int) -> None:
        if self._layer is not None:
            self._layer.contour = width

    def _set_opacity(self, percent: int) -> None:
        if self._layer is not None:
            self._layer.opacity = percent / 100
