"""The part of the widget that collects what is wanted."""

# Annotations stay real objects here: magicgui finds by them what to choose from.

import bisect
from functools import partial
from typing import Any

import numpy as np
from magicgui.widgets import (
    ComboBox,
    Container,
    FileEdit,
    LineEdit,
    Slider,
    SpinBox,
    Widget,
)
from napari.layers import Image, Labels, Layer, Shapes
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_kmeans._napari._colors import parse_colors
from napari_kmeans._napari._layers import Source, read_source, record_of
from napari_kmeans._napari._masks import draw_mask, read_mask
from napari_kmeans._napari._overlays import is_overlay
from napari_kmeans._napari._results import Request
from napari_kmeans._napari._settings import (
    COLOR_SPACES,
    DITHERS,
    INITS,
    OUTPUTS,
    Settings,
    default_settings,
)

__all__ = ["Controls"]

_OUTPUTS = {"image": "image", "labels": "labels", "both": "image and labels"}
_UPDATE = "the last result"
_NEW = "a new layer"
_FIT = "a fit to the image"
_FROM_FILE = "a palette file"
# Steps of the slider: every number first, then ever larger steps.
_SLIDER_KS = sorted({round(2 ** (i / 16)) for i in range(8 * 16 + 1)})
# An axis of more channels than this is rather space or time.
_MOST_CHANNELS = 64


class Controls(Container[Widget]):
    """Choose a layer and how it is to be reduced."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        # Layers that were selected together; a result that gets selected instead
        # does not part them.
        self._together: list[Image] = []
        defaults = default_settings()
        self.source = ComboBox(
            name="source", label="Image", choices=self._sources, nullable=False
        )
        self.channels = ComboBox(
            name="channels",
            label="Channels",
            choices=self._channels,
            tooltip="Which numbers are one color: of an axis, or of several layers",
        )
        self.k = SpinBox(name="k", value=defaults.k, min=1, max=65536)
        self.k_slider = Slider(
            name="k_slider", max=len(_SLIDER_KS) - 1, readout=False, tracking=True
        )
        k = Container[Widget](
            widgets=[self.k_slider, self.k],
            label="Colors (k)",
            layout="horizontal",
            labels=False,
        )
        k.margins = (0, 0, 0, 0)
        self.output = ComboBox(
            name="output",
            label="Output",
            choices=[(_OUTPUTS[name], name) for name in OUTPUTS],
            value=defaults.output,
        )
        self.iters = SpinBox(
            name="iters", label="Iterations", value=defaults.iters, max=10_000
        )
        self.init = ComboBox(
            name="init", label="Start", choices=INITS, value=defaults.init
        )
        self.rng = SpinBox(
            name="rng",
            label="Seed",
            max=2**31 - 1,
            tooltip="Of the starts that draw: k-means++ and random",
        )
        self.color_space = ComboBox(
            name="color_space",
            label="Color space",
            choices=COLOR_SPACES,
            tooltip="Where distances between colors are measured",
        )
        self.dither = ComboBox(
            name="dither",
            label="Dither",
            choices=[("none", None), *((name, name) for name in DITHERS)],
        )
        self.inside = ComboBox(
            name="inside",
            label="Only inside",
            choices=self._masks,
            tooltip="Fit the palette to these pixels; all get its colors",
        )
        self.fixed = LineEdit(
            name="fixed",
            label="Locked colors",
            tooltip="Colors that the palette must have, like #ffffff or 255 255 255",
        )
        self.palette = ComboBox(
            name="palette", label="Palette from", choices=self._given_palettes
        )
        self.palette_file = FileEdit(
            name="palette_file",
            label="Palette file",
            filter="Palettes (*.gpl *.json *.npy)",
            nullable=True,
        )
        self.palettes = ComboBox(
            name="palettes", label="One palette for", choices=self._palettes
        )
        self.again = ComboBox(
            name="again", label="Run again into", choices=[_NEW, _UPDATE]
        )
        self.more = Container[Widget](
            widgets=[
                self.iters,
                self.init,
                self.rng,
                self.color_space,
                self.dither,
                self.inside,
                self.fixed,
                self.palette,
                self.palette_file,
                self.palettes,
                self.again,
            ]
        )
        self.more.margins = (0, 0, 0, 0)
        super().__init__(widgets=[self.source, self.channels, k, self.output])
        self.margins = (0, 0, 0, 0)

        self.k.changed.connect(self._move_slider)
        self.k_slider.changed.connect(self._follow_slider)
        self.source.changed.connect(self.update_choices)
        self.channels.changed.connect(self._update_palettes)
        for widget in (self.init, self.palette):
            widget.changed.connect(self._update_enabled)
        self._move_slider()
        self.update_choices()

    @property
    def is_update(self) -> bool:
        """Whether the last result is to be replaced."""
        return bool(self.again.value == _UPDATE)

    def request(self) -> Request | None:
        """Give what is wanted, or None while there is no layer.

        Raises
        ------
        ValueError
            If layers that are to be channels do not match.
        """
        layer = self.source.value
        if layer is None:
            return None
        layers: tuple[Image, ...] = (layer,)
        channels = self.channels.value
        if channels == "layers":
            layers = tuple(self._selected(layer))
        axis = channels if isinstance(channels, int) else None
        source = read_source(layers, axis)
        palette, path = self.palette.value, None
        if palette == _FROM_FILE:
            path = str(self.palette_file.value or "")
            if not path:
                msg = "palette file must be chosen, got none"
                raise ValueError(msg)
        record = record_of(palette) if isinstance(palette, Layer) else None
        settings = Settings(
            k=self.k.value,
            iters=self.iters.value,
            init=self.init.value,
            rng=self.rng.value,
            color_space=self.color_space.value if layer.rgb else "rgb",
            dither=self.dither.value,
            fixed=self._fixed_colors(source),
            slice_axis=self.palettes.value,
            output=self.output.value,
            palette=None if record is None else record["palette"],
            palette_file=path,
        )
        request = Request(layers, source, settings, None)
        mask_layer = self.inside.value
        if mask_layer is None:
            return request
        dropped = request.dropped_axis
        shape = list(_full_shape(layer)[: layer.ndim])
        if dropped is not None:
            del shape[dropped]
        mask = read_mask(mask_layer, layer, tuple(shape), dropped)
        source = source._replace(mask=partial(draw_mask, mask))
        return request._replace(source=source, mask=mask)

    def _fixed_colors(self, source: Source) -> NDArray[Any] | None:
        """Give the colors that are locked, in the units of the image."""
        if not self.fixed.value.strip():
            return None
        data, axis = source.levels[0], source.channel_axis
        n_channels = None
        if axis is not None:
            n_channels = data[0].shape[axis] if len(data) == 1 else len(data)
        return parse_colors(self.fixed.value, np.dtype(data[0].dtype), n_channels)

    def reset_choices(self, *_: Any) -> None:
        """Follow the layers as they come, go, and change their names."""
        self.source.reset_choices()
        self.palette.reset_choices()
        self.inside.reset_choices()
        self.update_choices()

    def update_channels(self) -> bool:
        """Offer the layers that are selected now, and say if that changed anything."""
        before = self.channels.choices
        self.channels.reset_choices()
        self.channels.enabled = len(self.channels.choices) > 1
        return bool(self.channels.choices != before)

    def update_choices(self, *_: Any) -> None:
        """Offer what the chosen layer has."""
        self.update_channels()
        self._update_palettes()
        self._update_enabled()

    def _update_palettes(self, *_: Any) -> None:
        self.palettes.reset_choices()
        self.palettes.enabled = len(self.palettes.choices) > 1

    def _update_enabled(self, *_: Any) -> None:
        is_fit = self.palette.value == _FIT
        for widget in (
            self.k,
            self.k_slider,
            self.iters,
            self.init,
            self.inside,
            self.fixed,
        ):
            widget.enabled = is_fit
        layer = self.source.value
        self.color_space.enabled = layer is not None and bool(layer.rgb)
        self.rng.enabled = is_fit and self.init.value in ("k-means++", "random")
        self.palette_file.enabled = self.palette.value == _FROM_FILE

    def _move_slider(self, *_: Any) -> None:
        at = min(bisect.bisect_left(_SLIDER_KS, self.k.value), len(_SLIDER_KS) - 1)
        with self.k_slider.changed.blocked():
            self.k_slider.value = at

    def _follow_slider(self, at: int) -> None:
        self.k.value = _SLIDER_KS[at]

    def _sources(self, _: Any) -> list[Image]:
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and not is_overlay(layer)
        ]

    def _masks(self, _: Any) -> list[Any]:
        return [
            ("the whole image", None),
            *(
                (layer.name, layer)
                for layer in self._viewer.layers
                if isinstance(layer, Labels | Shapes) and not is_overlay(layer)
            ),
        ]

    def _given_palettes(self, _: Any) -> list[Any]:
        made = [layer for layer in self._viewer.layers if record_of(layer) is not None]
        return [_FIT, _FROM_FILE, *made]

    def _selected(self, layer: Image) -> list[Image]:
        """Give the layers to be channels that were selected, in the list's order."""
        selected = [
            x for x in self._sources(None) if x in self._viewer.layers.selection
        ]
        if len(selected) > 1:
            self._together = selected
        return [
            other
            for other in self._sources(None)
            if other is layer
            or (
                any(other is one for one in self._together)
                and not other.rgb
                and _shapes(other) == _shapes(layer)
            )
        ]

    def _channels(self, _: Any) -> list[tuple[str, Any]]:
        layer = self.source.value
        if layer is None:
            return [("none", None)]
        if layer.rgb:
            n_channels = _full_shape(layer)[-1]
            return [("red, green, blue" + ", alpha" * (n_channels == 4), -1)]
        choices: list[tuple[str, Any]] = [("none", None)]
        shape = _full_shape(layer)
        if len(shape) > 2:
            choices += [
                (f"axis {axis} ({_axis_name(layer, axis)}{length})", axis)
                for axis, length in enumerate(shape)
                if 1 < length <= _MOST_CHANNELS
            ]
        selected = self._selected(layer)
        if len(selected) > 1:
            together = " + ".join(other.name for other in selected)
            choices.append((f"layers {together}", "layers"))
        return choices

    def _palettes(self, _: Any) -> list[tuple[str, int | None]]:
        choices: list[tuple[str, int | None]] = [("the whole image", None)]
        layer, channels = self.source.value, self.channels.value
        if layer is None:
            return choices
        shape = _full_shape(layer)[: layer.ndim]
        is_axis = isinstance(channels, int) and not layer.rgb
        if len(shape) - is_axis > 2:
            choices += [
                (f"each slice of axis {axis} ({_axis_name(layer, axis)}{n})", axis)
                for axis, n in enumerate(shape)
                if not (is_axis and axis == channels)
            ]
        return choices


def _full_shape(layer: Image) -> tuple[int, ...]:
    """Give the shape of the data at full resolution."""
    return _shapes(layer)[0]


def _shapes(layer: Image) -> list[tuple[int, ...]]:
    """Give the shape of the data at each level."""
    levels = layer.data if layer.multiscale else [layer.data]
    return [tuple(level.shape) for level in levels]


def _axis_name(layer: Layer, axis: int) -> str:
    """Give the name of an axis that has one, to put before its length."""
    name = layer.axis_labels[axis]
    return "" if name.lstrip("-").isdigit() else f"{name}: "
