"""Layers as the lines of Python that make them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_python"]

_PLACES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")

# What makes an image look as it does, and what else if it is not RGB.
_LOOKS = ("opacity", "blending")
_GRAY_LOOKS = ("colormap", "contrast_limits", "gamma")


def as_python(record: dict[str, Any], kind: str, hexes: list[str]) -> str:
    """Write a script that makes a layer again, from what it remembers.

    Parameters
    ----------
    record : dict
        What the layer remembers of how it was made.
    kind : {"image", "labels"}
        Which layer is made.
    hexes : list of str
        Colors of the labels.
    """
    settings, names = record["settings"], record["source"]
    axis, slice_axis = settings["channel_axis"], settings["slice_axis"]
    if record["slices"] is None:
        slice_axis = None
    level = "[0]" if record["multiscale"] else ""
    is_dropped = axis is not None and axis != -1
    lines = [
        "import napari",
        "import numpy as np",
        f"from napari_kmeans import {', '.join(_names(settings))}",
        "",
        "viewer = napari.current_viewer()",
        f"source = viewer.layers[{names[0]!r}]",
    ]
    if len(names) == 1:
        lines.append(f"image = np.asarray(source.data{level})")
    else:
        lines += [
            f"names = {names!r}",
            f"channels = [viewer.layers[name].data{level} for name in names]",
            "image = np.stack(channels, axis=-1)",
        ]
    if record["mask"] is not None:
        lines += _draw_mask(record["mask"])
    # Pyramids that one palette serves become pyramids, others their finest level.
    is_pyramid = record["multiscale"] and slice_axis is None and len(names) == 1
    if slice_axis is None:
        fit, steps = _whole(record, axis)
        lines += fit
    else:
        steps = _slices(record, axis, slice_axis)
    steps += _keep_uncounted(record, axis)
    made = "quantized" if kind == "image" else "labels.astype(int) + 1"
    if is_pyramid:
        lines += [
            "levels = []",
            "for level in source.data:",
            "    image = np.asarray(level)",
            *(f"    {step}" for step in steps),
            f"    levels.append({made})",
        ]
        made = "levels"
    else:
        lines += steps
    if kind == "labels":
        dropped = axis if is_dropped else None
        return "\n".join([*lines, *_add_labels(made, dropped, hexes)])
    places = [f"{name}=source.{name}" for name in _PLACES]
    if len(names) == 1:
        add = ["viewer.add_image(", f"    {made},", "    rgb=source.rgb,"]
        looks = _LOOKS if axis == -1 else _LOOKS + _GRAY_LOOKS
        add += [f"    {name}=source.{name}," for name in looks]
        add += [f"    {place}," for place in places]
        return "\n".join([*lines, *add, ")", ""])
    lines += [
        "for i, name in enumerate(names):",
        "    source = viewer.layers[name]",
        "    viewer.add_image(",
        "        quantized[..., i],",
        *(f"        {name}=source.{name}," for name in _LOOKS + _GRAY_LOOKS),
        *(f"        {place}," for place in places),
        "    )",
        "",
    ]
    return "\n".join(lines)


def _keep_uncounted(record: dict[str, Any], axis: int | None) -> list[str]:
    """Write the lines that leave pixels which do not count as they are."""
    lines = []
    if not record["is_finite"]:
        every = "" if axis is None else f".all(axis={axis}, keepdims=True)"
        flat = "" if axis is None else f".squeeze({axis})"
        lines += [
            f"finite = np.isfinite(image){every}",
            "quantized = np.where(finite, quantized, image)",
            f"labels = np.where(finite{flat}, labels.astype(int), -1)",
        ]
    if record["settings"]["alpha"]:
        lines.append("quantized = np.where(image[..., -1:] > 0, quantized, image)")
    return lines


def _names(settings: dict[str, Any]) -> list[str]:
    """Give the functions that are called."""
    if settings["palette_file"] is not None:
        return ["map_to_palette", "read_palette"]
    if settings["palette"] is not None:
        return ["map_to_palette"]
    return ["kmeans_palette", "map_to_palette"]


def _call(
    record: dict[str, Any], image: str, axis: int | None, mask: str
) -> tuple[str, str]:
    """Write the calls that give the palette and the labels of an image."""
    settings = record["settings"]
    shared = "" if axis == -1 else f", channel_axis={axis}"
    if settings["color_space"] != "rgb":
        shared += f", color_space={settings['color_space']!r}"
    if settings["alpha"]:
        shared += ", alpha=True"
    dither = "" if settings["dither"] is None else f", dither={settings['dither']!r}"
    label = f"map_to_palette({image}, palette{shared}{dither})"
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


def _draw_mask(mask: dict[str, Any]) -> list[str]:
    """Write the lines that give the mask of the image."""
    matrix, shape = mask["matrix"], mask["shape"]
    n_axes = len(matrix) - 1
    inner = shape[len(shape) - n_axes :]
    is_same = np.allclose(matrix, np.eye(n_axes + 1))
    lines = [f"layer = viewer.layers[{mask['layer']!r}]"]
    if mask["kind"] == "shapes":
        back = np.linalg.inv(matrix).tolist()
        lines += [
            "from napari.layers import Shapes",
            f"back = np.array({back})",
            "corners = [c @ back[:-1, :-1].T + back[:-1, -1] for c in layer.data]",
            "shapes = Shapes(corners, shape_type=list(layer.shape_type))",
            f"mask = shapes.to_labels({inner}) != 0",
        ]
    elif is_same and mask["labels_shape"] == inner:
        lines.append("mask = np.asarray(layer.data) != 0")
    else:
        lines += [
            "from scipy import ndimage",
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
    return lines


def _whole(record: dict[str, Any], axis: int | None) -> tuple[list[str], list[str]]:
    """Write the lines that give the one palette, and those that map an image to it."""
    fit, label = _call(record, "image", axis, "mask")
    lines = [f"palette = {fit}"]
    shown = "palette"
    if record["replaced"]:
        shown = "shown"
        lines += ["shown = palette.copy()", *_replace(record, shown)]
    steps = [f"labels = {label}", f"quantized = {shown}[labels]"]
    if axis is not None and axis != -1:
        steps.append(f"quantized = np.moveaxis(quantized, -1, {axis})")
    return lines, steps


def _replace(record: dict[str, Any], palette: str) -> list[str]:
    """Write the lines that change colors of a palette."""
    replaced = record["replaced"].items()
    return [f"{palette}[{entry}] = {color!r}" for entry, color in replaced]


def _slices(record: dict[str, Any], axis: int | None, slice_axis: int) -> list[str]:
    """Write the lines that reduce each slice to a palette of its own."""
    inner = axis - 1 if axis is not None and axis > slice_axis else axis
    has_mask = record["mask"] is not None
    each = "part, inside in zip(parts, masks)" if has_mask else "part in parts"
    labels_axis = slice_axis - (axis is not None and -1 < axis < slice_axis)
    fit, label = _call(record, "part", inner, "inside")
    lines = [
        f"parts = np.moveaxis(image, {slice_axis}, 0)",
        *([f"masks = np.moveaxis(mask, {labels_axis}, 0)"] if has_mask else []),
        "palettes = [",
        f"    {fit}",
        f"    for {each}",
        "]",
        "labels = [",
        f"    {label}",
        "    for part, palette in zip(parts, palettes)",
        "]",
        "sizes = [len(palette) for palette in palettes]",
        "starts = np.cumsum([0, *sizes[:-1]])",
        "labels = [label + start for label, start in zip(labels, starts)]",
        f"labels = np.stack(labels, axis={labels_axis})",
        "palette = np.concatenate(palettes)",
    ]
    lines += _replace(record, "palette")
    lines.append("quantized = palette[labels]")
    if axis is not None and axis != -1:
        lines.append(f"quantized = np.moveaxis(quantized, -1, {axis})")
    return lines


def _add_labels(made: str, dropped: int | None, hexes: list[str]) -> list[str]:
    """Write the lines that show labels in their colors."""
    lines = ["from napari.utils.colormaps import DirectLabelColormap", "", "hexes = ["]
    lines += [
        "    " + " ".join(f'"{color}",' for color in hexes[i : i + 6])
        for i in range(0, len(hexes), 6)
    ]
    lines += [
        "]",
        'colors = {None: "transparent", 0: "transparent"}',
        "colors.update(enumerate(hexes, start=1))",
        "viewer.add_labels(",
        f"    {made},",
        "    colormap=DirectLabelColormap(color_dict=colors),",
        "    opacity=1,",
    ]
    if dropped is None:
        lines += [f"    {name}=source.{name}," for name in _PLACES]
    else:
        lines += [
            f"    {name}=np.delete(source.{name}, {dropped}),"
            for name in ("scale", "translate")
        ]
        lines += [
            f"    {name}=source.{name}[:{dropped}] + source.{name}[{dropped + 1}:],"
            for name in ("units", "axis_labels")
        ]
    return [*lines, ")", ""]
