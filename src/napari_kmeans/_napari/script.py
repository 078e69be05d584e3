"""Layers as the lines of Python that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import ALL_COLORMAPS

from napari_kmeans._napari.layers import LOOKS, METADATA, PLACES, levels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["as_python"]

_LABELS_LOOKS = ("opacity", "blending", "rendering")
_INDENT = "    "


def as_python(
    layer: Image | Labels, layers: Iterable[Layer], hexes: Sequence[str], channel: int
) -> str:
    """Write a script that makes a layer again, from what it remembers and looks like.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        A result.
    layers : iterable of napari.layers.Layer
        Those in the viewer. What the result was made of is called as it is called now.
    hexes : sequence of str
        Colors of the labels.
    channel : int
        Which of the layers that were channels an image belongs to.
    """
    record = layer.metadata[METADATA]
    names_now = {str(other.unique_id): other.name for other in layers}
    lines = [
        *_imports(record, layer),
        "",
        "viewer = napari.current_viewer()",
        *_read(record, names_now),
    ]
    if record["mask"] is not None:
        lines += _draw_mask(record["mask"], names_now)
    fit, steps = _reduce(record)
    steps += _paint(record) if isinstance(layer, Image) else _number(record, layer)
    made = "quantized" if isinstance(layer, Image) else "labels"
    lines += fit
    if record["multiscale"]:
        steps = ["levels = []", "for image in images:", *_indented(steps)]
        steps.append(f"{_INDENT}levels.append({made})")
    lines += steps
    if record["multiscale"]:
        made = "levels"
    if isinstance(layer, Labels):
        lines += _add_labels(record, layer, made, hexes)
    else:
        if len(record["source"]) > 1:
            lines += _take_channel(record, channel)
        lines += _call("viewer.add_image", [made, *_keywords(layer, LOOKS)])
    return "\n".join([*lines, ""])


def _indented(lines: Iterable[str]) -> list[str]:
    return [_INDENT + line for line in lines]


def _call(function: str, arguments: Iterable[str]) -> list[str]:
    """Write a call, one line for each argument."""
    return [f"{function}(", *_indented(f"{text}," for text in arguments), ")"]


def _imports(record: dict[str, Any], layer: Layer) -> list[str]:
    """Write the lines that import what is called."""
    settings, mask = record["settings"], record["mask"]
    lines = ["import napari", "import numpy as np"]
    if isinstance(layer, Labels):
        lines.append("import pandas as pd")
    if mask is not None and mask["kind"] == "shapes":
        lines.append("from napari.layers import Shapes")
    if isinstance(layer, Labels):
        lines.append("from napari.utils.colormaps import DirectLabelColormap")
    functions = ["kmeans_palette", "map_to_palette"]
    if settings["palette_file"] is not None:
        functions = ["map_to_palette", "read_palette"]
    elif settings["palette"] is not None:
        functions = ["map_to_palette"]
    lines.append(f"from napari_kmeans import {', '.join(functions)}")
    if mask is not None and mask["kind"] == "labels" and not _is_same(mask):
        lines.append("from scipy import ndimage")
    return lines


def _read(record: dict[str, Any], names_now: dict[str, str]) -> list[str]:
    """Write the lines that give the image, and each level of it if it is a pyramid."""
    lines, names = [], []
    for then, unique_id in zip(record["source"], record["source_ids"], strict=True):
        name = names_now.get(unique_id)
        lines.append(_comment("The layer whose colors are reduced", then, name))
        names.append(then if name is None else name)
    if len(names) == 1:
        lines.append(f"source = viewer.layers[{names[0]!r}]")
        whole, level = "np.asarray(source.data)", "np.asarray(level)"
        levels = "source.data"
    else:
        lines.append(f"channels = [viewer.layers[name].data for name in {names!r}]")
        whole, level = "np.stack(channels, axis=-1)", "np.stack(level, axis=-1)"
        levels = "zip(*channels)"
    if not record["multiscale"]:
        return [*lines, f"image = {whole}"]
    return [*lines, f"images = [{level} for level in {levels}]", "image = images[0]"]


def _comment(what: str, then: str, now: str | None) -> str:
    """Say which layer is meant, where its name does not."""
    if now is None:
        return f"# {what}. It was removed: open it again, as {then!r}."
    return f"# {what}." if now == then else f"# {what}, which was called {then!r}."


def _is_same(mask: dict[str, Any]) -> bool:
    """Whether labels have the pixels of the image, along the axes that they have."""
    n_axes = len(mask["matrix"]) - 1
    is_same = mask["labels_shape"] == mask["shape"][-n_axes:]
    return is_same and np.allclose(mask["matrix"], np.eye(n_axes + 1))


def _draw_mask(mask: dict[str, Any], names_now: dict[str, str]) -> list[str]:
    """Write the lines that give the mask of the image."""
    matrix, shape, axis = mask["matrix"], mask["shape"], mask["channel_axis"]
    n_axes = len(matrix) - 1
    inner = shape[-n_axes:]
    then, now = mask["layer"], names_now.get(mask["id"])
    lines = [
        _comment("The layer inside of which the palette is fitted", then, now),
        f"layer = viewer.layers[{then if now is None else now!r}]",
    ]
    if mask["kind"] == "shapes":
        back = np.linalg.inv(matrix).tolist()
        lines += [
            f"back = np.array({back})",
            "corners = [c @ back[:-1, :-1].T + back[:-1, -1] for c in layer.data]",
            "kinds = list(layer.shape_type)",
            f"shapes = Shapes(corners, shape_type=kinds, ndim={n_axes})",
            f"mask = shapes.to_labels({inner}) != 0",
        ]
    elif _is_same(mask):
        lines.append("mask = np.asarray(layer.data) != 0")
    else:
        lines += [
            "mask = ndimage.affine_transform(",
            "    (np.asarray(layer.data) != 0).astype(np.uint8),",
            f"    np.array({matrix[:-1, :-1].tolist()}),",
            f"    offset={matrix[:-1, -1].tolist()},",
            f"    output_shape={inner},",
            "    order=0,",
            '    mode="grid-constant",',
            ") != 0",
        ]
    if inner != shape:
        lines.append(f"mask = np.broadcast_to(mask, {shape})")
    if axis is not None:
        lines.append(f"mask = mask.any(axis={axis})")
    return lines


def _reduce(record: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Write the lines that give the palette, and those that label an image with it."""
    axis, slice_axis = record["settings"]["channel_axis"], _slice_axis(record)
    if slice_axis is None:
        fit, label = _fit_and_label(record, "image", "mask", "palette", axis)
        return [f"palette = {fit}"], [f"labels = {label}"]
    inner = axis - 1 if axis is not None and axis > slice_axis else axis
    labels_axis = slice_axis - (axis is not None and -1 < axis < slice_axis)
    fit, label = _fit_and_label(record, "part", "inside", "own", inner)
    parts = f"parts = np.moveaxis(image, {slice_axis}, 0)"
    lines, each = [parts], "part in parts"
    if record["mask"] is not None:
        lines.append(f"masks = np.moveaxis(mask, {labels_axis}, 0)")
        each = "part, inside in zip(parts, masks)"
    lines += [
        "palettes = [",
        f"    {fit}",
        f"    for {each}",
        "]",
        "palette = np.concatenate(palettes)",
        "sizes = [len(own) for own in palettes]",
        "starts = np.cumsum(sizes) - sizes",
    ]
    steps = [
        *([parts] if record["multiscale"] else []),
        "labels = [",
        f"    {label} + start",
        "    for part, own, start in zip(parts, palettes, starts)",
        "]",
        f"labels = np.stack(labels, axis={labels_axis})",
    ]
    return lines, steps


def _slice_axis(record: dict[str, Any]) -> int | None:
    """Give the axis whose slices have palettes of their own, if there are such."""
    axis: int | None = record["settings"]["slice_axis"]
    return None if record["slices"] is None else axis


def _fit_and_label(
    record: dict[str, Any], image: str, mask: str, palette: str, axis: int | None
) -> tuple[str, str]:
    """Write the calls that give the palette and the labels of an image."""
    settings = record["settings"]
    shared = "" if axis == -1 else f", channel_axis={axis}"
    if settings["color_space"] != "rgb":
        shared += f", color_space={settings['color_space']!r}"
    if settings["alpha"]:
        shared += ", alpha=True"
    dither = "" if settings["dither"] is None else f", dither={settings['dither']!r}"
    label = f"map_to_palette({image}, {palette}{shared}{dither})"
    if settings["palette_file"] is not None:
        return f"read_palette({settings['palette_file']!r}).astype(image.dtype)", label
    if settings["palette"] is not None:
        colors = settings["palette"].tolist()
        return f"np.array({colors}, dtype=image.dtype)", label
    if record["mask"] is not None:
        shared += f", mask={mask}"
    if settings["fixed"] is not None:
        shared += f", fixed={settings['fixed'].tolist()}"
    if settings["init"] != "auto":
        shared += f", init={settings['init']!r}"
    if settings["init"] in ("k-means++", "random"):
        shared += f", rng={settings['rng']}"
    numbers = f"{settings['k']}, {settings['iters']}"
    return f"kmeans_palette({image}, {numbers}{shared}).palette", label


def _paint(record: dict[str, Any]) -> list[str]:
    """Write the lines that give pixels their colors, where they count."""
    axis = record["settings"]["channel_axis"]
    lines = ["colors = palette.copy()"] if record["replaced"] else []
    lines += [
        f"colors[{entry}] = {color!r}" for entry, color in record["replaced"].items()
    ]
    lines.append(f"quantized = {'colors' if record['replaced'] else 'palette'}[labels]")
    if axis is not None and axis != -1:
        lines.append(f"quantized = np.moveaxis(quantized, -1, {axis})")
    if not record["is_finite"]:
        every = "" if axis is None else f".all(axis={axis}, keepdims=True)"
        lines.append(f"finite = np.isfinite(image){every}")
        lines.append("quantized = np.where(finite, quantized, image)")
    if record["settings"]["alpha"]:
        lines.append("quantized = np.where(image[..., -1:] > 0, quantized, image)")
    return lines


def _number(record: dict[str, Any], layer: Labels) -> list[str]:
    """Write the lines that turn entries of the palette, from 0 on, into labels."""
    axis = record["settings"]["channel_axis"]
    lines = ["labels = labels.astype(int) + 1"]
    if not record["is_finite"]:
        every = "" if axis is None else f".all(axis={axis})"
        lines.append(f"labels[~np.isfinite(image){every}] = 0")
    if axis is not None and axis > 0:
        lines.append("# One pixel of the labels spans all channels.")
        lines.append(f"labels = np.expand_dims(labels, {axis})")
    dtype = levels_of(layer)[0].dtype
    return [*lines, f"labels = labels.astype(np.{dtype})"]


def _take_channel(record: dict[str, Any], channel: int) -> list[str]:
    """Write the line that takes what belongs to one of the layers."""
    if record["multiscale"]:
        return [f"levels = [level[..., {channel}] for level in levels]"]
    return [f"quantized = quantized[..., {channel}]"]


def _add_labels(
    record: dict[str, Any], layer: Labels, made: str, hexes: Sequence[str]
) -> list[str]:
    """Write the lines that show labels in their colors, and say what these are."""
    rows = [hexes[i : i + 6] for i in range(0, len(hexes), 6)]
    full = "levels[0]" if record["multiscale"] else "labels"
    table = [
        '"index": np.arange(1, len(hexes) + 1)',
        '"hex": hexes',
        '"pixels": pixels',
        '"share": pixels / max(1, pixels.sum())',
    ]
    if _slice_axis(record) is not None:
        table.append('"slice": np.repeat(np.arange(len(sizes)), sizes)')
    return [
        "hexes = [",
        *_indented(" ".join(f'"{color}",' for color in row) for row in rows),
        "]",
        'colors = {None: "transparent", 0: "transparent"}',
        "colors.update(enumerate(hexes, start=1))",
        f"pixels = np.bincount({full}.ravel(), minlength=len(hexes) + 1)[1:]",
        "features = {",
        *_indented(f"{column}," for column in table),
        "}",
        *_call(
            "viewer.add_labels",
            [
                made,
                "colormap=DirectLabelColormap(color_dict=colors)",
                "features=pd.DataFrame(features)",
                *_keywords(layer, _LABELS_LOOKS),
            ],
        ),
    ]


def _keywords(layer: Layer, looks: Sequence[str]) -> list[str]:
    """Write what a layer is called, lies at and looks like, unless it need not be said.

    A layer that is told nothing says what that is.
    """
    _, attributes, kind = layer.as_layer_data_tuple()
    told: dict[str, Any] = {"name": layer.name, "multiscale": layer.multiscale}
    is_rgb = isinstance(layer, Image) and layer.rgb
    if isinstance(layer, Image):
        told["rgb"] = is_rgb
        if not is_rgb:
            told["contrast_limits"] = attributes["contrast_limits"]
    full = levels_of(layer)[0]
    data = np.zeros((1,) * layer.ndim + ((full.shape[-1],) if is_rgb else ()), np.uint8)
    plain = Layer.create(data, told | {"multiscale": False}, kind)
    _, defaults, _ = plain.as_layer_data_tuple()
    if not layer.multiscale:
        del told["multiscale"]
    texts = {name: _text(value) for name, value in told.items()}
    for name in (*PLACES, *looks):
        text = _text(attributes[name])
        if name not in texts and text != _text(defaults[name]):
            texts[name] = text
    return [f"{name}={text}" for name, text in texts.items()]


def _text(value: Any) -> str:
    """Write a value that a layer has."""
    if isinstance(value, dict):
        # A colormap, and not one of napari's own.
        if value["name"] in ALL_COLORMAPS:
            return repr(value["name"])
        names = ("colors", "name", "interpolation", "controls")
        written = (f"{name!r}: {_text(value[name])}" for name in names)
        return "{" + ", ".join(written) + "}"
    if isinstance(value, np.ndarray | np.generic):
        return repr(value.tolist())
    if isinstance(value, tuple | list):
        # Also of units, that are called as they are written.
        return "[" + ", ".join(map(_text, value)) + "]"
    return repr(value) if isinstance(value, bool | int | float) else repr(str(value))
