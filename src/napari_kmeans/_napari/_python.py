"""Layers as the lines of Python that make them."""

from __future__ import annotations

from typing import Any

__all__ = ["as_python"]

_PLACES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


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
    if slice_axis is None:
        lines += _whole(record, axis)
    else:
        lines += _slices(record, axis, slice_axis)
    if not record["is_finite"]:
        every = "" if axis is None else f".all(axis={axis}, keepdims=True)"
        flat = "" if axis is None else f".squeeze({axis})"
        lines += [
            f"finite = np.isfinite(image){every}",
            "quantized = np.where(finite, quantized, image)",
            f"labels = np.where(finite{flat}, labels.astype(int), -1)",
        ]
    if kind == "labels":
        return "\n".join([*lines, *_add_labels(axis if is_dropped else None, hexes)])
    places = [f"{name}=source.{name}" for name in _PLACES]
    if len(names) == 1:
        add = ["viewer.add_image(", "    quantized,", "    rgb=source.rgb,"]
        add += ["    colormap=source.colormap,"] if axis is None else []
        add += [f"    {place}," for place in places]
        return "\n".join([*lines, *add, ")", ""])
    lines += [
        "for i, name in enumerate(names):",
        "    source = viewer.layers[name]",
        "    viewer.add_image(",
        "        quantized[..., i],",
        "        colormap=source.colormap,",
        *(f"        {place}," for place in places),
        "    )",
        "",
    ]
    return "\n".join(lines)


def _names(settings: dict[str, Any]) -> list[str]:
    """Give the functions that are called."""
    if settings["palette_file"] is not None:
        return ["map_to_palette", "read_palette"]
    if settings["palette"] is not None:
        return ["map_to_palette"]
    return ["kmeans_palette", "map_to_palette"]


def _call(record: dict[str, Any], image: str, axis: int | None) -> tuple[str, str]:
    """Write the calls that give the palette and the labels of an image."""
    settings = record["settings"]
    channels = "" if axis == -1 else f", channel_axis={axis}"
    label = f"map_to_palette({image}, palette{channels})"
    if settings["palette_file"] is not None:
        return f"read_palette({settings['palette_file']!r}).astype(image.dtype)", label
    if settings["palette"] is not None:
        colors = settings["palette"].tolist()
        return f"np.array({colors}, dtype=image.dtype)", label
    options = ""
    if settings["init"] != "auto":
        options += f", init={settings['init']!r}"
    if settings["init"] in ("k-means++", "random"):
        options += f", rng={settings['rng']}"
    numbers = f"{settings['k']}, {settings['iters']}"
    fit = f"kmeans_palette({image}, {numbers}{channels}{options}).palette"
    return fit, label


def _whole(record: dict[str, Any], axis: int | None) -> list[str]:
    """Write the lines that reduce an image to one palette."""
    fit, label = _call(record, "image", axis)
    lines = [f"palette = {fit}", f"labels = {label}"]
    lines += [
        f"palette[{entry}] = {color!r}" for entry, color in record["replaced"].items()
    ]
    lines.append("quantized = palette[labels]")
    if axis is not None and axis != -1:
        lines.append(f"quantized = np.moveaxis(quantized, -1, {axis})")
    return lines


def _slices(record: dict[str, Any], axis: int | None, slice_axis: int) -> list[str]:
    """Write the lines that reduce each slice to a palette of its own."""
    inner = axis - 1 if axis is not None and axis > slice_axis else axis
    labels_axis = slice_axis - (axis is not None and -1 < axis < slice_axis)
    fit, label = _call(record, "part", inner)
    lines = [
        f"parts = np.moveaxis(image, {slice_axis}, 0)",
        f"palettes = [{fit} for part in parts]",
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
    lines += [
        f"palette[{entry}] = {color!r}" for entry, color in record["replaced"].items()
    ]
    lines.append("quantized = palette[labels]")
    if axis is not None and axis != -1:
        lines.append(f"quantized = np.moveaxis(quantized, -1, {axis})")
    return lines


def _add_labels(dropped: int | None, hexes: list[str]) -> list[str]:
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
        "    labels.astype(int) + 1,",
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
    return [*lines, ")", ""]
