"""Image layers as arrays, and arrays as layers that lie where these do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.types import LayerDataTuple

from napari_kmeans._core.quality import white_of
from napari_kmeans._napari.reading import read_array, stack_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_kmeans._napari.quantize_layer import Outcome

__all__ = [
    "LOOKS",
    "METADATA",
    "PLACES",
    "Channels",
    "Look",
    "Source",
    "axes_of_labels",
    "describe_images",
    "describe_labels",
    "images_of_layer",
    "labels_colormap",
    "labels_matrix",
    "labels_placement",
    "levels_of",
    "move_layer",
    "read_level",
    "read_source",
    "record_of",
    "rgba_of",
    "world_matrix",
]

# Under this key, layers remember how they were made.
METADATA = "napari-kmeans"
# What places a layer in space.
PLACES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
# What makes an image look as it does.
LOOKS = (
    "rgb",
    "colormap",
    "contrast_limits",
    "gamma",
    "opacity",
    "blending",
    "interpolation2d",
    "interpolation3d",
    "rendering",
    "iso_threshold",
    "attenuation",
)
# Of the channels of an image that has no colors of its own, in the order of napari.
_CHANNEL_COLORS = np.array(
    [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float
)


class Look(NamedTuple):
    """How layers show the numbers of their channels."""

    is_rgb: bool
    # Of each channel; empty if channels are an axis that nothing is known about.
    colormaps: tuple[Any, ...]
    contrast_limits: tuple[tuple[float, float], ...]
    gammas: tuple[float, ...]


class Channels(NamedTuple):
    """The axis of a layer that its channels are along, and how many these are.

    Labels are there for all channels, wherever the slider of that axis is. napari lines
    the last axes of layers up, so labels do without an axis that is the first one. Any
    other they have at length 1, and one pixel of them spans all channels.
    """

    axis: int
    length: int


class Source(NamedTuple):
    """What layers hold, for a thread that must not touch them."""

    # Arrays of each layer, at each level of detail.
    levels: tuple[tuple[Any, ...], ...]
    # Axis of what `read_level` gives, -1 if it is none of the layers' axes.
    channel_axis: int | None
    look: Look
    # Gives the pixels, without channels, that palettes are fitted to.
    mask: Callable[[], NDArray[np.bool_]] | None = None

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is opacity."""
        return self.look.is_rgb and self.levels[0][0].shape[-1] == 4

    @property
    def channels(self) -> Channels | None:
        """Channels that are along an axis of the layer."""
        axis = self.channel_axis
        if axis is None or axis < 0:
            return None
        return Channels(axis, self.levels[0][0].shape[axis])


def levels_of(layer: Layer) -> tuple[Any, ...]:
    """Give the data of a layer at each level of detail, the finest first."""
    return tuple(layer.data) if layer.multiscale else (layer.data,)


def read_source(layers: Sequence[Image], channel_axis: int | None) -> Source:
    """Take the data of one layer, or of several that are channels, as they are now.

    Raises
    ------
    ValueError
        If several layers are not of one shape.
    """
    first = layers[0]
    data = [levels_of(layer) for layer in layers]
    for layer, levels in zip(layers, data, strict=True):
        if [x.shape for x in levels] != [x.shape for x in data[0]]:
            msg = (
                "layers that are channels must have one shape, got "
                f"{data[0][0].shape} of {first.name} and {levels[0].shape} of "
                f"{layer.name}"
            )
            raise ValueError(msg)
    # The channels of a layer that has an axis for them are shown as slices.
    is_plain = channel_axis is None or len(layers) > 1
    shown = layers if is_plain and not first.rgb else ()
    look = Look(
        is_rgb=bool(first.rgb),
        colormaps=tuple(layer.colormap for layer in shown),
        contrast_limits=tuple(
            (float(layer.contrast_limits[0]), float(layer.contrast_limits[1]))
            for layer in shown
        ),
        gammas=tuple(float(layer.gamma) for layer in shown),
    )
    if first.rgb or len(layers) > 1:
        channel_axis = -1
    return Source(tuple(zip(*data, strict=True)), channel_axis, look)


def read_level(source: Source, level: int = 0, index: Any = ...) -> NDArray[Any]:
    """Read a level, or the part of it at `index`, from wherever it is."""
    arrays = [read_array(array, index) for array in source.levels[level]]
    return arrays[0] if len(arrays) == 1 else stack_channels(arrays)


def rgba_of(palette: NDArray[Any], look: Look) -> NDArray[np.float64]:
    """Give the colors (K, 4), from 0 to 1, in which layers show a palette.

    They are those of 8 bits, as screens have, so that text can name them exactly.
    """
    shown = _rgb_of(palette) if look.is_rgb else _sum_of_channels(palette, look)
    rgba = np.ones((len(palette), 4))
    rgba[:, : shown.shape[1]] = np.rint(np.clip(shown, 0, 1) * 255) / 255
    return rgba


def _rgb_of(palette: NDArray[Any]) -> NDArray[np.float64]:
    """Scale RGB or RGBA colors to 0 to 1."""
    return palette.astype(np.float64) / white_of(palette.dtype)


def _sum_of_channels(palette: NDArray[Any], look: Look) -> NDArray[np.float64]:
    """Add up the colors that layers show their channels in, or such as they might."""
    columns = palette.reshape(len(palette), -1).T.astype(np.float64)
    rgb = np.zeros((len(palette), 3))
    for i, column in enumerate(columns):
        if look.colormaps:
            part = _between(column, *look.contrast_limits[i]) ** look.gammas[i]
            rgb += look.colormaps[i].map(part)[:, :3]
        else:
            part = _between(column, column.min(), column.max())
            rgb += part[:, np.newaxis] * _CHANNEL_COLORS[i % len(_CHANNEL_COLORS)]
    return rgb


def _between(values: NDArray[np.float64], low: float, high: float) -> NDArray[Any]:
    """Give where `values` lie from `low`, 0, to `high`, 1."""
    if low == high:
        return (values > low).astype(np.float64)
    return np.clip((values - low) / (high - low), 0, 1)


def labels_colormap(rgba: NDArray[np.float64]) -> Any:
    """Give the colors (K, 4) to labels from 1 on."""
    from napari.utils.colormaps import DirectLabelColormap

    clear = np.zeros(4)
    colors: dict[int | None, NDArray[np.float64]] = {None: clear, 0: clear}
    colors.update(enumerate(rgba, start=1))
    return DirectLabelColormap(color_dict=colors)


def _placement(layer: Layer) -> dict[str, Any]:
    """Give what places a layer in space."""
    _, attributes, _ = layer.as_layer_data_tuple()
    return {name: attributes[name] for name in PLACES}


def labels_placement(layer: Layer, channels: Channels | None) -> dict[str, Any]:
    """Give what places the labels of a layer in space."""
    from napari.utils.transforms import Affine

    places = _placement(layer)
    if channels is None:
        return places
    scale, translate = np.asarray(places["scale"]), np.asarray(places["translate"])
    rotate, shear = places["rotate"], places["shear"]
    if channels.axis > 0:
        # Pixels become longer before anything else happens to them.
        longer = labels_matrix(np.eye(layer.ndim + 1), channels)
        to_space = Affine(scale, translate, rotate=rotate, shear=shear)
        places["scale"] = scale * np.diag(longer)[:-1]
        places["translate"] = to_space(longer[:-1, -1])
        return places
    axes, linear = axes_of_labels(layer, channels), world_matrix(layer)
    mixed = linear[1:-1, 0].any() or linear[0, 1:-1].any()
    turned = not np.allclose(np.asarray(rotate), np.eye(layer.ndim))
    scale, translate = scale[1:], translate[1:]
    affine = labels_matrix(np.asarray(places["affine"]), channels)
    if mixed or turned or np.any(layer.shear):
        scale, translate = np.ones_like(scale), np.zeros_like(translate)
        affine = labels_matrix(linear, channels)
    return axes | {"scale": scale, "translate": translate, "affine": affine}


def move_layer(layer: Layer, places: dict[str, Any]) -> None:
    """Place a layer in space, and tell nobody of what stays as it is."""
    for name, value in places.items():
        if not np.array_equal(np.asarray(getattr(layer, name)), np.asarray(value)):
            setattr(layer, name, value)


def axes_of_labels(layer: Layer, channels: Channels | None) -> dict[str, Any]:
    """Give what the axes of the labels of a layer are."""
    first = _first_axis_of_labels(channels)
    return {"units": layer.units[first:], "axis_labels": layer.axis_labels[first:]}


def _first_axis_of_labels(channels: Channels | None) -> int:
    """Give the first axis of a layer that its labels have, too."""
    return int(channels is not None and channels.axis == 0)


def labels_matrix(
    matrix: NDArray[np.float64], channels: Channels | None
) -> NDArray[np.float64]:
    """Turn the matrix that takes the data of a layer somewhere into that of labels."""
    if channels is None:
        return matrix
    if channels.axis == 0:
        return matrix[1:, 1:]
    axis, length = channels
    longer = np.eye(len(matrix))
    longer[axis, axis], longer[axis, -1] = length, (length - 1) / 2
    return matrix @ longer


def world_matrix(layer: Layer, units: Sequence[Any] | None = None) -> NDArray[Any]:
    """Give the matrix that takes data to the world, of `layer.ndim` + 1 rows.

    The world is in the units of the layer, or in `units`, of a viewer, whose last axes
    those of the layer are. napari takes numbers as they are where layers have units
    that nothing is converted into, and those of a viewer are then None.
    """
    n = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(n)))
    matrix = np.eye(n + 1)
    matrix[:-1, -1] = origin
    for axis, unit in enumerate(np.eye(n)):
        matrix[:-1, axis] = np.asarray(layer.data_to_world(unit)) - origin
    if units is not None and len(units) >= n:
        for row, own, unit in zip(matrix[:-1], layer.units, units[-n:], strict=True):
            row *= _size(own) / _size(unit)
    return matrix


def _size(unit: Any) -> float:
    """Give a unit in the base unit of its kind."""
    return float((1 * unit).to_base_units().magnitude)


def describe_images(
    layers: Sequence[Image], outcome: Outcome, record: dict[str, Any]
) -> list[LayerDataTuple]:
    """Describe the images that show `layers` in the colors of a palette."""
    described = []
    for i, layer in enumerate(layers):
        _, attributes, _ = layer.as_layer_data_tuple()
        kept = {name: attributes[name] for name in LOOKS}
        levels = images_of_layer(len(layers), outcome.images, i)
        data = list(levels) if layer.multiscale else levels[0]
        colors = _number(record, "color")
        name = {"name": f"{layer.name} in {colors}", "multiscale": layer.multiscale}
        metadata = {"metadata": {METADATA: record}}
        attributes = kept | _placement(layer) | name | metadata
        described.append(LayerDataTuple((data, attributes, "image")))
    return described


def images_of_layer(
    n_layers: int, images: tuple[NDArray[Any], ...], i: int
) -> tuple[NDArray[Any], ...]:
    """Give the levels of the i-th of layers, which is a channel if there are more."""
    if n_layers == 1:
        return images
    return tuple(np.ascontiguousarray(image[..., i]) for image in images)


def describe_labels(
    layer: Image, outcome: Outcome, record: dict[str, Any], channels: Channels | None
) -> LayerDataTuple:
    """Describe the labels of palette entries, entry i being label i + 1."""
    data = list(outcome.labels) if layer.multiscale else outcome.labels[0]
    labels = _number(record, "label")
    name = " + ".join(record["source"])
    attributes = {
        "name": f"{name} in {labels}",
        "colormap": outcome.colormap,
        "features": outcome.features,
        "opacity": 1.0,
        "multiscale": layer.multiscale,
        "metadata": {METADATA: record},
    }
    places = labels_placement(layer, channels)
    return LayerDataTuple((data, places | attributes, "labels"))


def _number(record: dict[str, Any], noun: str) -> str:
    """Say how many there were to be, or are given."""
    settings = record["settings"]
    is_given = settings["palette"] is not None or settings["palette_file"] is not None
    number = len(record["palette"]) if is_given else settings["k"]
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def record_of(layer: Layer | None) -> dict[str, Any] | None:
    """Give how a layer was made, or None if it was not made here."""
    return None if layer is None else layer.metadata.get(METADATA)
