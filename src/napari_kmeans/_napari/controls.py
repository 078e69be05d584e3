"""What can be chosen about a run: one control per argument of `quantize_layer`.

`Controls` is a form of three sections, *Image*, *Colors* and *Result*; *Choose k* and
*More* are folded away at first. Read `Controls.request` for what comes
out of it. The controls follow the layers and their selection by themselves; what is
done with a request is left to `run_panel`.
"""

# Annotations stay real objects here: magicgui finds by them what to choose from.

import bisect
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Container, FileEdit, LineEdit, Slider, SpinBox
from magicgui.widgets.bases import Widget
from napari.layers import Image, Labels, Layer, Shapes
from napari.viewer import Viewer

from napari_kmeans._core.arguments import COLOR_SPACES, DITHERS, INITS, MAX_COLORS
from napari_kmeans._core.arrays import Array
from napari_kmeans._files.palettes import PALETTE_SUFFIXES
from napari_kmeans._napari.axes import called_channels
from napari_kmeans._napari.choose_k import ChooseK
from napari_kmeans._napari.colors import parse_colors
from napari_kmeans._napari.computation import Count
from napari_kmeans._napari.folds import Fold, Form
from napari_kmeans._napari.layers import Source, is_overlay, quoted
from napari_kmeans._napari.placement import levels_of
from napari_kmeans._napari.quantize_layer import Request, prepare
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.settings import Settings, default_settings

__all__ = ["Controls"]

_WHOLE, _ONE = ("whole image", None), ("one", None)
_UPDATE = "update last"
_FIT = "fit"
_FROM_FILE = "from file"
# Steps of the slider: every number first, then ever larger steps.
_SLIDER_KS = sorted({round(2 ** (i / 16)) for i in range(8 * 16 + 1)})
# An axis of more channels than this is rather space or time.
_MOST_CHANNELS = 64
_AS_SHOWN, _EQUALLY = ("as shown", "contrast"), ("equally", "std")
_BY_NUMBERS = ("by their numbers", None)
# How channels can count, the default first: of RGB, of other channels, of one channel.
_WEIGHTS = {
    "rgb": (_BY_NUMBERS, _EQUALLY),
    "several": (_AS_SHOWN, _EQUALLY, _BY_NUMBERS),
    "one": (_BY_NUMBERS,),
}
# The tooltip of each section.
_SECTIONS = {
    "Image": "Which pixels are clustered",
    "Colors": "How many colors there are, and how they are found",
    "Result": "Which layers show the colors",
}
# The label of each control, and below it its tooltip.
_WORDS = {
    "source": """Image
The image layer to cluster. It stays as it is.
Select an image in the list of layers to choose it here.""",
    "channels": """Channels
Which numbers are one color: those along an axis of the layer,
or those of several layers of one shape that you select together""",
    "weights": """Channels count
How much a difference in each channel counts.
as shown: by its contrast limits, as you see it;
equally: by its standard deviation; or by their numbers alone,
so that the strongest channel decides""",
    "inside": """Fit colors to
Find the colors in these pixels only: those with a label,
or inside of shapes. All pixels get the colors.""",
    "k": """Colors (k)
Most colors of the result, 1 to 65,536""",
    "k_slider": """Colors (k)
Most colors of the result, 1 to 65,536; the slider ends at 256""",
    "palette": """Palette
Find the colors that suit the image best (fit),
or take those of another result or of a file""",
    "palette_file": """Palette file
Colors to take, of a .gpl (GIMP), .json, .npy, .hex or .pal file""",
    "palettes": """Palettes
Find one palette for everything, or one for each slice""",
    "fixed": """Locked colors
Colors that the palette must have: like #ffffff or red,
or in numbers of the image, like 0 0 0; 255 255 255""",
    "color_space": """Color space
Where colors are compared.
rgb: by their numbers; lab and oklab: as the eye sees them""",
    "iters": """Iterations
Most rounds of k-means over all pixels, 0 to 10,000.
It ends as soon as a round changes nothing.""",
    "init": """Start
Colors to begin with.
auto: searched for, always the same; thorough: searched for longer;
k-means++ and random: drawn from the pixels, as the seed says""",
    "rng": """Seed
The same seed draws the same colors. 0 to 2,147,483,647""",
    "dither": """Dither
Mix pixels of neighboring colors where one between is missing.
It is for the eye: do not measure labels and areas then.""",
    "output": """Output
Which layers are added: the image in its new colors,
labels that say which pixels have which color, or both""",
    "again": """Result
Whether the next run on this image adds new layers,
or brings those of its last run up to date""",
}


class Controls(Container[Widget]):
    """Choose a layer, and how its colors are to be clustered."""

    def __init__(self, viewer: Viewer, count: Count) -> None:
        self._viewer = viewer
        # Layers that were selected together; a result that gets selected instead
        # does not part them.
        self._together: list[Image] = []
        # Whether the chosen layer has channels, by which `weights` has its default.
        self._kind = ""
        defaults = default_settings()
        rows = self._make_image(), self._make_colors(defaults)
        more, result = self._make_more(defaults), self._make_result(defaults)
        # Whoever hears of a change finds that all controls have followed.
        self._connect()
        super().__init__(widgets=[*rows[0], *rows[1], *more, *result], labels=False)
        self.choose_k = ChooseK(self.request, count)
        self.more = Fold("More", "Show or hide how the colors are found in detail")
        self._lay_out(*rows, more, result)
        self.changed.connect(self.choose_k.follow)
        self._follow_number()
        self._follow_source()
        self._follow_selection()
        self.reset_choices()

    def _make_image(self) -> list[Widget]:
        """Make the controls that say which pixels are clustered."""
        self.source = ComboBox(**_words("source"), choices=self._sources)
        self.channels = ComboBox(**_words("channels"), choices=self._channels)
        self.weights = ComboBox(**_words("weights"), choices=self._weights)
        self.inside = ComboBox(**_words("inside"), choices=self._masks)
        return [self.source, self.channels, self.weights, self.inside]

    def _make_colors(self, defaults: Settings) -> list[Widget]:
        """Make the controls of the palette that are always seen."""
        self.k = SpinBox(**_words("k"), value=defaults.k, min=1, max=MAX_COLORS)
        self.k_slider = Slider(
            **_words("k_slider"), max=len(_SLIDER_KS) - 1, readout=False, tracking=True
        )
        number = Container[Widget](layout="horizontal", labels=False, **_words("k"))
        number.extend([self.k_slider, self.k])
        number.margins = (0, 0, 0, 0)
        self.palette = ComboBox(**_words("palette"), choices=self._given_palettes)
        self.palette_file = FileEdit(
            **_words("palette_file"),
            filter=f"Palettes (*{' *'.join(PALETTE_SUFFIXES)})",
            nullable=True,
        )
        self.palettes = ComboBox(**_words("palettes"), choices=self._slices)
        return [number, self.palette, self.palette_file, self.palettes]

    def _make_more(self, defaults: Settings) -> list[Widget]:
        """Make the controls that are folded away at first."""
        self.fixed = LineEdit(**_words("fixed"))
        self.color_space = ComboBox(**_words("color_space"), choices=COLOR_SPACES)
        self.iters = SpinBox(**_words("iters"), value=defaults.iters, max=10_000)
        self.init = ComboBox(**_words("init"), choices=INITS, value=defaults.init)
        self.rng = SpinBox(**_words("rng"), max=2**31 - 1)
        dithers = [("none", None), *((name, name) for name in DITHERS)]
        self.dither = ComboBox(**_words("dither"), choices=dithers)
        draws = [self.iters, self.init, self.rng]
        return [self.fixed, self.color_space, *draws, self.dither]

    def _make_result(self, defaults: Settings) -> list[Widget]:
        """Make the controls that say which layers there will be."""
        outputs = ("image", "image"), ("labels", "labels"), ("image and labels", "both")
        self.output = ComboBox(
            **_words("output"), choices=outputs, value=defaults.output
        )
        self.again = ComboBox(**_words("again"), choices=["new layers", _UPDATE])
        return [self.output, self.again]

    def _lay_out(self, *groups: list[Widget]) -> None:
        """Put the controls into sections that fold."""
        labels = [field.label for group in groups for field in group]
        image, colors, more, result = (Form(group, labels) for group in groups)
        self._forms = {
            field.name: form
            for form, group in zip((image, colors, more, result), groups, strict=True)
            for field in group
        }
        self.sections = {
            title: Fold(title, tooltip, is_open=True)
            for title, tooltip in _SECTIONS.items()
        }
        self.choose_k.chosen.connect(self._set_k)
        self.more.put(more)
        self.sections["Image"].put(image)
        self.sections["Colors"].put(colors, self.choose_k, self.more)
        self.sections["Result"].put(result)
        self.margins = (0, 0, 0, 0)
        layout = self.native.layout()
        layout.setSpacing(3)
        for section in self.sections.values():
            layout.addWidget(section)

    def _connect(self) -> None:
        boxes = self.channels, self.weights, self.inside, self.palettes, self.dither
        for box in boxes:
            box.native.currentIndexChanged.connect(partial(_tell_of_none, box))
        self.k.changed.connect(self._follow_number)
        self.k_slider.changed.connect(self._follow_slider)
        self.source.changed.connect(self._follow_source)
        for box in (self.channels, self.init, self.palette):
            box.changed.connect(self._follow_choices)
        self._viewer.layers.selection.events.changed.connect(self._follow_selection)

    def request(self) -> Request | None:
        """Return what is wanted, or None while there is no layer.

        Raises
        ------
        ValueError
            If what was chosen does not go together.
        """
        layer, channels = self.source.value, self.channels.value
        if layer is None:
            return None
        layers = self._together_with(layer) if channels == "layers" else [layer]
        same = ("k", "iters", "output", "dither", "init", "rng")
        settings = Settings(
            channel_axis=channels if isinstance(channels, int) else None,
            slice_axis=self.palettes.value,
            palette=self._given_palette(),
            channel_weights=self.weights.value,
            color_space=self.color_space.value if _has_color(layer) else "rgb",
            **{name: getattr(self, name).value for name in same},
        )
        request = prepare(layers, settings, self.inside.value, self._viewer)
        fixed = self._locked_colors(request.source)
        settings = dataclasses.replace(request.settings, fixed=fixed)
        is_update = self.again.value == _UPDATE
        return request._replace(settings=settings, is_update=is_update)

    def _locked_colors(self, source: Source) -> Array | None:
        """Return the colors that are locked, in the units of the image."""
        if not self.fixed.value.strip() or self.palette.value != _FIT:
            return None
        try:
            colors = parse_colors(self.fixed.value, source.dtype, source.n_channels)
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

    def _given_palette(self) -> str | Layer | None:
        """Return the layer or the file whose palette is taken, if one is."""
        chosen: Any = self.palette.value
        if chosen != _FROM_FILE:
            return None if chosen == _FIT else chosen
        path = str(self.palette_file.value or "")
        if Path(path).suffix.lower() not in PALETTE_SUFFIXES:
            ending = f"{', '.join(PALETTE_SUFFIXES[:-1])} or {PALETTE_SUFFIXES[-1]}"
            got = f", not {quoted(Path(path).name)}" if path else ""
            msg = f"Palette file: choose a {ending} file{got}"
            raise ValueError(msg)
        return path

    def lock(self, color: str) -> None:
        """Add a color to those that are locked, unless it is there, and show them."""
        locked = [word for word in self.fixed.value.split("; ") if word]
        if color not in locked:
            self.fixed.value = "; ".join([*locked, color])
        self.sections["Colors"].unfold()
        self.more.unfold()

    def leave(self) -> None:
        """Follow nothing any more, and end what is computed."""
        self.choose_k.leave()
        selection = self._viewer.layers.selection
        selection.events.changed.disconnect(self._follow_selection)
        for layer in self._sources():
            layer.events.data.disconnect(self._follow_choices)
            layer.events.axis_labels.disconnect(self._follow_axes)

    def reset_choices(self, *_: Any) -> None:
        """Follow the layers as they come, go, and change their names."""
        self._together = [x for x in self._together if x in self._viewer.layers]
        for layer in self._sources():
            # Data may be given other axes.
            layer.events.data.connect(self._follow_choices)
            layer.events.axis_labels.connect(self._follow_axes)
        for box in (self.source, self.palette, self.inside):
            _renew_choices(box)
        self._follow_choices()

    def _follow_selection(self) -> None:
        """Choose the image that is selected, or the first of several.

        Several are offered to be channels of one image. A result is not followed: it is
        selected to be looked at.
        """
        selected = self._viewer.layers.selection
        images = [x for x in self._sources() if x in selected and record_of(x) is None]
        if not images:
            return
        is_new = len(images) > 1 and images != self._together
        if is_new:
            self._together = images
        if images[0] not in self.source.choices:
            _renew_choices(self.source)
        is_other = self.source.value is not images[0]
        self.source.value = images[0]
        if is_new and not is_other:
            self._follow_choices()
            if self.channels.value == "layers":
                # The choice is the same, and what it means is not.
                self.channels.changed.emit("layers")

    def _follow_source(self, *_: Any) -> None:
        """Offer what the layer has, and take the axis that is called channels."""
        self._follow_choices()
        self._follow_axes()

    def _follow_axes(self, *_: Any) -> None:
        """Take the axis that is called channels, unless channels were chosen."""
        self._follow_choices()
        layer = self.source.value
        axis = None if layer is None else called_channels(layer)
        if self.channels.value is None and axis in self.channels.choices:
            self.channels.value = axis

    def _follow_choices(self, *_: Any) -> None:
        """Offer what the chosen layer has, and what goes with other choices."""
        if self.channels.value == "layers":
            _renew_choices(self.channels)
        else:
            # Another layer may have axes of the same numbers.
            self.channels.reset_choices()
        self.palettes.reset_choices()
        self._follow_kind()
        is_fit, layer = self.palette.value == _FIT, self.source.value
        fitted = self.k, self.k_slider, self.iters, self.init, self.inside, self.fixed
        for control in fitted:
            control.enabled = is_fit
        is_drawn = is_fit and self.init.value in ("k-means++", "random")
        shown: list[tuple[Widget, bool]] = [
            (self.channels, len(self.channels.choices) > 1),
            (self.weights, len(self.weights.choices) > 1),
            (self.palettes, is_fit and len(self.palettes.choices) > 1),
            (self.color_space, layer is not None and _has_color(layer)),
            (self.rng, is_drawn),
            (self.palette_file, self.palette.value == _FROM_FILE),
        ]
        for widget, is_shown in shown:
            self._forms[widget.name].show_row(widget, is_shown)

    def _follow_kind(self) -> None:
        """Offer how channels can count, by default as is usual for their kind."""
        layer, kind = self.source.value, "one"
        if self.channels.value is not None:
            kind = "rgb" if layer.rgb else "several"
        is_same, self._kind = kind == self._kind, kind
        if not is_same:
            _renew_choices(self.weights)
            self.weights.value = _WEIGHTS[kind][0][1]

    def _follow_number(self, *_: Any) -> None:
        """Show the number of colors on the slider and in the plot of errors."""
        self.choose_k.plot.mark(self.k.value)
        at = min(bisect.bisect_left(_SLIDER_KS, self.k.value), len(_SLIDER_KS) - 1)
        with self.k_slider.changed.blocked():
            self.k_slider.value = at

    def _set_k(self, k: int) -> None:
        self.k.value = k

    def _follow_slider(self, at: int) -> None:
        self.k.value = _SLIDER_KS[at]

    def _sources(self, *_: Any) -> list[Image]:
        layers = self._viewer.layers
        return [x for x in layers if isinstance(x, Image) and not is_overlay(x)]

    def _masks(self, _: Any) -> list[Any]:
        layers = [x for x in self._viewer.layers if isinstance(x, Labels | Shapes)]
        return [_WHOLE, *((x.name, x) for x in layers if not is_overlay(x))]

    def _given_palettes(self, _: Any) -> list[Any]:
        made = [layer for layer in self._viewer.layers if record_of(layer) is not None]
        names = [(f"from {layer.name}", layer) for layer in made]
        return [(_FIT, _FIT), *names, (_FROM_FILE, _FROM_FILE)]

    def _weights(self, _: Any) -> list[Any]:
        return list(_WEIGHTS[self._kind or "one"])

    def _together_with(self, layer: Image) -> list[Image]:
        """Return a layer and those that can be further channels, in the list's order.

        They are of one shape, and were selected together.
        """
        if layer not in self._together:
            return [layer]
        shapes = _shapes(layer)
        further = [x for x in self._together if not x.rgb and _shapes(x) == shapes]
        return [x for x in self._sources() if x is layer or x in further]

    def _channels(self, _: Any) -> list[tuple[str, Any]]:
        layer = self.source.value
        choices: list[tuple[str, Any]] = [("none", None)]
        if layer is None:
            return choices
        shape = _shapes(layer)[0]
        if layer.rgb:
            return [("red, green, blue" + ", alpha" * (shape[-1] == 4), -1)]
        if len(shape) > 2:
            choices += [
                (_axis_text(layer, axis), axis)
                for axis, length in enumerate(shape)
                if 1 < length <= _MOST_CHANNELS
            ]
        together = self._together_with(layer)
        if len(together) > 1:
            names = " + ".join(other.name for other in together)
            choices.append((f"layers {names}", "layers"))
        return choices

    def _slices(self, _: Any) -> list[tuple[str, int | None]]:
        choices: list[tuple[str, int | None]] = [_ONE]
        layer, channels = self.source.value, self.channels.value
        if layer is None:
            return choices
        # Colors of an rgb layer are none of its axes.
        axes = [axis for axis in range(layer.ndim) if axis != channels]
        if len(axes) > 2:
            choices += [(f"one per {_axis_text(layer, axis)}", axis) for axis in axes]
        return choices


def _words(name: str) -> dict[str, Any]:
    label, tooltip = _WORDS[name].split("\n", maxsplit=1)
    return {"name": name, "label": label, "tooltip": tooltip}


def _tell_of_none(box: ComboBox, _: int) -> None:
    """Signal that None was chosen, which magicgui leaves out."""
    if box.value is None:
        box.changed.emit(None)


def _renew_choices(box: ComboBox) -> None:
    """Offer what there is now, and keep the choice even if its name has changed."""
    chosen = box.value
    # magicgui keeps a choice only if its name is the same, and adds others at the end.
    with box.changed.blocked():
        box.native.clear()
        box.reset_choices()
        if chosen in box.choices:
            box.value = chosen
    if box.value != chosen:
        box.changed.emit(box.value)


def _has_color(layer: Image) -> bool:
    """Whether the colors of a layer are known, and so how the eye sees them."""
    dtype = np.dtype(layer.dtype)
    return bool(layer.rgb) and (dtype.kind == "f" or dtype in (np.uint8, np.uint16))


def _shapes(layer: Layer) -> list[tuple[int, ...]]:
    """Return the shape of the data at each level."""
    return [tuple(level.shape) for level in levels_of(layer)]


def _axis_text(layer: Layer, axis: int) -> str:
    """Return the name of an axis, or its number if it has none, and its length."""
    name, length = layer.axis_labels[axis], _shapes(layer)[0][axis]
    name = f"axis {axis}" if name.lstrip("-").isdigit() else name
    return f"{name} ({length})"
