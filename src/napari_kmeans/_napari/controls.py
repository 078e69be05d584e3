"""The part of the widget that collects what is wanted."""

# Annotations stay real objects here: magicgui finds by them what to choose from.

import bisect
import dataclasses
from pathlib import Path
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
from qtpy.QtWidgets import QFormLayout, QLabel, QLineEdit, QSlider, QWidget

from napari_kmeans._files.palettes import PALETTE_SUFFIXES
from napari_kmeans._napari.colors import parse_colors
from napari_kmeans._napari.layers import Source, is_overlay, quoted
from napari_kmeans._napari.placement import levels_of
from napari_kmeans._napari.quantize_layer import Request, prepare
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.settings import (
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
            name="source",
            label="Image",
            choices=self._sources,
            nullable=False,
            tooltip="The image layer to reduce. It stays as it is.",
        )
        self.channels = ComboBox(
            name="channels",
            label="Channels",
            choices=self._channels,
            tooltip="Which numbers are one color: those along an axis of the layer,\n"
            "or those of several layers of one shape that you select together",
        )
        of_k = "Most colors of the result, 1 to 65,536"
        self.k = SpinBox(name="k", value=defaults.k, min=1, max=65536, tooltip=of_k)
        self.k_slider = Slider(
            name="k_slider",
            max=len(_SLIDER_KS) - 1,
            readout=False,
            tracking=True,
            tooltip=f"{of_k}; the slider ends at 256",
        )
        k = Container[Widget](
            widgets=[self.k_slider, self.k],
            label="Colors (k)",
            layout="horizontal",
            labels=False,
            tooltip=of_k,
        )
        k.margins = (0, 0, 0, 0)
        self.output = ComboBox(
            name="output",
            label="Output",
            choices=[(_OUTPUTS[name], name) for name in OUTPUTS],
            value=defaults.output,
            tooltip="What is added: the image in its new colors, labels that tell\n"
            "which pixels have which color, or both",
        )
        self.iters = SpinBox(
            name="iters",
            label="Iterations",
            value=defaults.iters,
            max=10_000,
            tooltip="Most rounds of k-means over all pixels, 0 to 10,000.\n"
            "It ends as soon as a round changes nothing.",
        )
        self.init = ComboBox(
            name="init",
            label="Start",
            choices=INITS,
            value=defaults.init,
            tooltip="Colors to begin with.\n"
            "auto: searched for, always the same; thorough: searched for longer;\n"
            "k-means++ and random: drawn from the pixels, as the seed says",
        )
        self.rng = SpinBox(
            name="rng",
            label="Seed",
            max=2**31 - 1,
            tooltip="Of the starts that draw, k-means++ and random: the same seed\n"
            "draws the same colors. 0 to 2,147,483,647",
        )
        self.color_space = ComboBox(
            name="color_space",
            label="Color space",
            choices=COLOR_SPACES,
            tooltip="Where colors are compared, if the layer is RGB.\n"
            "rgb: by their numbers; lab and oklab: as the eye sees them",
        )
        self.dither = ComboBox(
            name="dither",
            label="Dither",
            choices=[("none", None), *((name, name) for name in DITHERS)],
            tooltip="Mix pixels of neighboring colors where one between is missing.\n"
            "It is for the eye: labels and areas are no longer to be measured.",
        )
        self.inside = ComboBox(
            name="inside",
            label="Only inside",
            choices=self._masks,
            tooltip="Find the colors in these pixels only: those with a label,\n"
            "or inside of shapes. All pixels get the colors.",
        )
        self.fixed = LineEdit(
            name="fixed",
            label="Locked colors",
            tooltip="Colors that the palette must have: like #ffffff,\n"
            "or in numbers of the image, like 0 0 0; 255 255 255",
        )
        self.palette = ComboBox(
            name="palette",
            label="Palette from",
            choices=self._given_palettes,
            tooltip="Find the colors that suit the image best,\n"
            "or take those of another result or of a file",
        )
        self.palette_file = FileEdit(
            name="palette_file",
            label="Palette file",
            filter=f"Palettes (*{' *'.join(PALETTE_SUFFIXES)})",
            nullable=True,
            tooltip="Colors to take, of a .gpl (GIMP), .json, .npy or .hex file.\n"
            "For this, choose “a palette file” above.",
        )
        self.palettes = ComboBox(
            name="palettes",
            label="One palette for",
            choices=self._palettes,
            tooltip="Find one palette for everything, or one for each slice",
        )
        self.again = ComboBox(
            name="again",
            label="Run again into",
            choices=[_NEW, _UPDATE],
            tooltip="Whether the next run on this image adds layers,\n"
            "or brings those of its last run up to date",
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
            ],
            labels=False,
        )
        main = [self.source, self.channels, k, self.output]
        super().__init__(widgets=main, labels=False)
        for container in (self, self.more):
            _lay_out(container)

        self.k.changed.connect(self._move_slider)
        self.k_slider.changed.connect(self._follow_slider)
        self.source.changed.connect(self.update_choices)
        self.channels.changed.connect(self._update_palettes)
        for widget in (self.init, self.palette):
            widget.changed.connect(self._update_enabled)
        self._move_slider()
        self.update_choices()

    def request(self) -> Request | None:
        """Give what is wanted, or None while there is no layer.

        Raises
        ------
        ValueError
            If what was chosen does not go together.
        """
        # Data may have been given other axes.
        self.update_choices()
        layer = self.source.value
        if layer is None:
            return None
        layers: tuple[Image, ...] = (layer,)
        channels = self.channels.value
        if channels == "layers":
            layers = tuple(self._selected(layer))
        palette: Any = self.palette.value
        if palette == _FIT:
            palette = None
        elif palette == _FROM_FILE:
            palette = self._given_file()
        axis = channels if isinstance(channels, int) else None
        settings = Settings(
            k=self.k.value,
            iters=self.iters.value,
            init=self.init.value,
            rng=self.rng.value,
            color_space=self.color_space.value if _has_color(layer) else "rgb",
            dither=self.dither.value,
            channel_axis=axis,
            slice_axis=self.palettes.value,
            output=self.output.value,
            palette=palette,
        )
        request = prepare(layers, settings, self.inside.value, self._viewer)
        fixed = self._fixed_colors(request.source)
        settings = dataclasses.replace(request.settings, fixed=fixed)
        is_update = self.again.value == _UPDATE
        return request._replace(settings=settings, is_update=is_update)

    def _fixed_colors(self, source: Source) -> NDArray[Any] | None:
        """Give the colors that are locked, in the units of the image."""
        if not self.fixed.value.strip() or self.palette.value != _FIT:
            return None
        dtype, n_channels = source.dtype, source.n_channels
        try:
            colors = parse_colors(self.fixed.value, dtype, n_channels)
        except ValueError as error:
            msg = f"Locked {error}"
            raise ValueError(msg) from error
        n_colors = len(np.unique(colors, axis=0))
        if n_colors > self.k.value:
            msg = (
                f"Locked colors: there are {n_colors}, and Colors (k) is "
                f"{self.k.value}: raise it, or lock fewer"
            )
            raise ValueError(msg)
        return colors

    def _given_file(self) -> str | None:
        """Give the path of the palette file, if the palette is to be that of one."""
        if self.palette.value != _FROM_FILE:
            return None
        path = str(self.palette_file.value or "")
        if Path(path).suffix.lower() not in PALETTE_SUFFIXES:
            ending = f"{', '.join(PALETTE_SUFFIXES[:-1])} or {PALETTE_SUFFIXES[-1]}"
            got = f", not {quoted(Path(path).name)}" if path else ""
            msg = f"Palette file: choose a {ending} file{got}"
            raise ValueError(msg)
        return path

    def reset_choices(self, *_: Any) -> None:
        """Follow the layers as they come, go, and change their names."""
        for box in (self.source, self.palette, self.inside):
            _renew_choices(box)
        self.update_choices()

    def update_channels(self) -> bool:
        """Offer the layers that are selected now, and say if that changed anything."""
        before = self.channels.choices
        if self.channels.value == "layers":
            _renew_choices(self.channels)
        else:
            # Another layer may have axes of the same numbers.
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
        self.color_space.enabled = layer is not None and _has_color(layer)
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


def _renew_choices(box: ComboBox) -> None:
    """Offer what there is now, and keep what is chosen whatever it is called now."""
    chosen = box.value
    # magicgui goes by the names.
    with box.changed.blocked():
        box.reset_choices()
        if chosen in box.choices:
            box.value = chosen
    if box.value != chosen:
        box.changed.emit(box.value)


def _lay_out(container: Container[Widget]) -> None:
    """Put labels in a column beside the widgets of a container."""
    page = QWidget()
    form = QFormLayout(page)
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(form.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for widget in container:
        label = QLabel(widget.label)
        label.setToolTip(widget.tooltip)
        form.addRow(label, widget.native)
        for part in widget if isinstance(widget, Container) else [widget]:
            # What has the focus may be inside of what magicgui gives.
            for kind in (QSlider, QLineEdit):
                for one in part.native.findChildren(kind):
                    one.setAccessibleName(widget.label)
            part.native.setAccessibleName(widget.label)
    container.margins = (0, 0, 0, 0)
    container.native.layout().addWidget(page)


def _has_color(layer: Image) -> bool:
    """Whether the colors of a layer are known, and so how the eye sees them."""
    dtype = np.dtype(layer.dtype)
    return bool(layer.rgb) and (dtype.kind == "f" or dtype in (np.uint8, np.uint16))


def _full_shape(layer: Image) -> tuple[int, ...]:
    """Give the shape of the data at full resolution."""
    return _shapes(layer)[0]


def _shapes(layer: Image) -> list[tuple[int, ...]]:
    """Give the shape of the data at each level."""
    return [tuple(level.shape) for level in levels_of(layer)]


def _axis_name(layer: Layer, axis: int) -> str:
    """Give the name of an axis that has one, to put before its length."""
    name = layer.axis_labels[axis]
    return "" if name.lstrip("-").isdigit() else f"{name}: "
