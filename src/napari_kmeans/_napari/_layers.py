"""Image layers as arrays, and arrays as layers that lie where these do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.types import LayerDataTuple

from napari_kmeans._napari._reading import read_array, stack_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_kmeans._napari._outcomes import Outcome

__all__ = [
    "METADATA",
    "Look",
    "Source",
    "axes_of",
    "describe_images",
    "describe_labels",
    "images_of_layer",
    "labels_colormap",
    "placement",
    "read_level",
    "read_source",
    "record_of",
    "rgba_of",
    "without_axis",
    "world_matrix",
]

# Under this key, layers remember how they were made.
METADATA = "napari-kmeans"
# What makes an image look as it does.
_LOOKS = (
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


class Source(NamedTuple):
    """What layers hold, for a thread that must not touch them."""

    # Arrays of each layer, at each level of detail.
    levels: tuple[tuple[Any, ...], ...]
    # Axis of what `read_level` gives.
    channel_axis: int | None
    look: Look
    # Gives the pixels, without channels, that palettes are fitted to.
    mask: Callable[[], NDArray[np.bool_]] | None = None

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is opacity."""
        return self.look.is_rgb and self.levels[0][0].shape[-1] == 4


def read_source(layers: Sequence[Image], channel_axis: int | None) -> Source:
    """Take the data of one layer, or of several that are channels, as they are now.

    Raises
    ------
    ValueError
        If several layers are not of one shape.
    """
    first = layers[0]
    data = [
        tuple(layer.data) if layer.multiscale else (layer.data,) for layer in layers
    ]
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
    top = np.iinfo(palette.dtype).max if palette.dtype.kind in "iu" else 1
    return palette.astype(np.float64) / top


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


def placement(layer: Layer, dropped: int | None = None) -> dict[str, Any]:
    """Give what places a layer in space, less the axis `dropped` of its data."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    _, attributes, _ = layer.as_layer_data_tuple()
    places = {name: attributes[name] for name in names}
    if dropped is None:
        return places
    linear = world_matrix(layer)
    places |= axes_of(layer, dropped)
    mixed = np.delete(linear[:-1, dropped], dropped).any()
    mixed |= np.delete(linear[dropped, :-1], dropped).any()
    turned = not np.allclose(np.asarray(layer.rotate), np.eye(layer.ndim))
    if mixed or turned or np.any(layer.shear):
        return axes_of(layer, dropped) | {"affine": without_axis(linear, dropped)}
    for name in ("scale", "translate"):
        places[name] = np.delete(np.asarray(places[name]), dropped)
    places["affine"] = without_axis(np.asarray(places["affine"]), dropped)
    del places["rotate"], places["shear"]
    return places


def axes_of(layer: Layer, dropped: int | None = None) -> dict[str, Any]:
    """Give what the axes of a layer are, less the axis `dropped`."""
    kept = [axis for axis in range(layer.ndim) if axis != dropped]
    return {
        "units": tuple(layer.units[axis] for axis in kept),
        "axis_labels": tuple(layer.axis_labels[axis] for axis in kept),
    }


def world_matrix(layer: Layer) -> NDArray[np.float64]:
    """Give the matrix that takes data to the world, of `layer.ndim` + 1 rows."""
    n = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(n)))
    matrix = np.eye(n + 1)
    matrix[:-1, -1] = origin
    for axis, unit in enumerate(np.eye(n)):
        matrix[:-1, axis] = np.asarray(layer.data_to_world(unit)) - origin
    return matrix


def without_axis(matrix: NDArray[np.float64], axis: int | None) -> NDArray[np.float64]:
    """Leave an axis out of a matrix."""
    if axis is None:
        return matrix
    return np.delete(np.delete(matrix, axis, axis=0), axis, axis=1)


def describe_images(
    layers: Sequence[Image], outcome: Outcome, record: dict[str, Any]
) -> list[LayerDataTuple]:
    """Describe the images that show `layers` in the colors of a palette."""
    described = []
    for i, layer in enumerate(layers):
        _, attributes, _ = layer.as_layer_data_tuple()
        kept = {name: attributes[name] for name in _LOOKS}
        levels = images_of_layer(len(layers), outcome.images, i)
        data = list(levels) if layer.multiscale else levels[0]
        colors = _number(record, "color")
        name = {"name": f"{layer.name} in {colors}", "multiscale": layer.multiscale}
        metadata = {"metadata": {METADATA: record}}
        attributes = kept | placement(layer) | name | metadata
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
    layer: Image, outcome: Outcome, record: dict[str, Any], dropped: int | None
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
    return LayerDataTuple((data, placement(layer, dropped) | attributes, "labels"))


def _number(record: dict[str, Any], noun: str) -> str:
    """Say how many there were to be, or are given."""
    settings = record["settings"]
    is_given = settings["palette"] is not None or settings["palette_file"] is not None
    number = len(record["palette"]) if is_given else settings["k"]
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def record_of(layer: Layer | None) -> dict[str, Any] | None:
    """Give how a layer was made, or None if it was not made here."""
    return None if layer is None else layer.metadata.get(METADATA)
