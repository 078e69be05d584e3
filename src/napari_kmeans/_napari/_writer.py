"""Layers as palette files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans import ImageMetadata, map_to_palette, write_indexed
from napari_kmeans._color_counts import count_colors
from napari_kmeans._napari._layers import METADATA, Look, rgba_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["file_of", "write_image", "write_labels"]

# Most colors of a file, by its suffix; TIFF files have 16 bits for them.
_MOST_COLORS = {".png": 256, ".gif": 256}
_MOST_TIFF_COLORS = 65536
_UNITS = {
    "nanometer": "nanometer",
    "micrometer": "micrometer",
    "millimeter": "millimeter",
    "centimeter": "centimeter",
    "meter": "meter",
    "inch": "inch",
    "second": "second",
    "millisecond": "millisecond",
    "minute": "minute",
}
_AXES = "TZYX"


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an image layer of few colors to a PNG, GIF or TIFF file.

    Parameters
    ----------
    path : str
        File to write.
    data : array
        Pixels, or levels of detail of which the first is written.
    attributes : dict
        What napari tells of the layer.

    Returns
    -------
    paths : list of str
        The file.

    Raises
    ------
    ValueError
        If the layer has more colors than the file can hold.
    """
    image = _full(data, attributes)
    look = Look(
        is_rgb=bool(attributes.get("rgb")),
        colormaps=(_colormap(attributes),),
        contrast_limits=(tuple(attributes.get("contrast_limits") or (0, 1)),),
        gammas=(attributes.get("gamma", 1.0),),
    )
    channel_axis = -1 if look.is_rgb else None
    palette = attributes.get("metadata", {}).get(METADATA, {}).get("palette")
    labels = None
    if palette is not None and palette.ndim == (2 if look.is_rgb else 1):
        # The palette keeps its order, unless the image was changed.
        labels = map_to_palette(image, palette, channel_axis=channel_axis)
        if not np.array_equal(palette[labels], image):
            labels = None
    if labels is None or palette is None:
        pixels = image if look.is_rgb else image[..., np.newaxis]
        counted = count_colors(pixels)
        most = _most_colors(path)
        if counted is None or len(counted.colors) > most:
            number = "very many" if counted is None else f"{len(counted.colors):,}"
            msg = (
                f"image must have at most {most:,} colors to be written to a palette "
                f"file, got {number}; reduce them first"
            )
            raise ValueError(msg)
        palette = counted.colors if look.is_rgb else counted.colors[:, 0]
        labels = map_to_palette(image, palette, channel_axis=channel_axis)
    write_indexed(
        path, labels, _storable(palette, look), metadata=_metadata(labels, attributes)
    )
    return [path]


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer in its colors to a PNG, GIF or TIFF file.

    Label i becomes entry i - 1. Unlabeled pixels become one more entry, that is clear
    where the format knows opacity, and black in TIFF files.

    Parameters
    ----------
    path : str
        File to write.
    data : array
        Labels, or levels of detail of which the first is written.
    attributes : dict
        What napari tells of the layer.

    Returns
    -------
    paths : list of str
        The file.

    Raises
    ------
    ValueError
        If there are more labels than the file can hold.
    """
    labels = _full(data, attributes)
    colormap = attributes["colormap"]
    top = int(labels.max())
    numbers = np.arange(1, top + 1)
    if labels.min() < 0 or top > _most_colors(path):
        # Numbers that the file cannot hold are counted through.
        numbers = np.unique(labels[labels != 0])
        labels = (np.searchsorted(numbers, labels) + 1) * (labels != 0)
    rgba = np.atleast_2d(colormap.map(numbers)) if len(numbers) else np.empty((0, 4))
    shown = np.rint(np.asarray(rgba, dtype=np.float64) * 255).astype(np.uint8)
    palette = shown if (shown[:, 3] < 255).any() else shown[:, :3]
    exact = attributes.get("metadata", {}).get(METADATA, {}).get("palette")
    if exact is not None and _is_shown_as(exact, palette):
        palette = exact
    labels, palette = file_of(labels, palette, is_tiff=_is_tiff(path))
    write_indexed(path, labels, palette, metadata=_metadata(labels, attributes))
    return [path]


def file_of(
    labels: NDArray[Any], palette: NDArray[Any], *, is_tiff: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give entries and the palette of labels from 1 on, 0 being an entry at the end."""
    is_empty = labels == 0
    entries = np.where(is_empty, len(palette), labels.astype(np.int64) - 1)
    if not is_empty.any():
        return entries, palette
    if palette.ndim == 1:
        palette = np.repeat(palette[:, np.newaxis], 3, axis=1)
    if not is_tiff and palette.shape[1] == 3:
        opaque = np.full((len(palette), 1), 255, palette.dtype)
        palette = np.hstack([palette, opaque])
    clear = np.zeros((1, palette.shape[1]), palette.dtype)
    return entries, np.concatenate([palette, clear])


def _full(data: Any, attributes: dict[str, Any]) -> NDArray[Any]:
    """Give the data at full resolution."""
    return np.asarray(data[0] if attributes.get("multiscale") else data)


def _colormap(attributes: dict[str, Any]) -> Any:
    """Give the colormap that attributes name or hold."""
    from napari.utils.colormaps import ensure_colormap

    return ensure_colormap(attributes.get("colormap") or "gray")


def _storable(palette: NDArray[Any], look: Look) -> NDArray[Any]:
    """Give colors that files hold: the palette, or else what it looks like."""
    if palette.dtype in (np.uint8, np.uint16):
        return palette
    shown = np.rint(rgba_of(palette, look) * 255).astype(np.uint8)
    return shown if look.is_rgb and palette.shape[1] == 4 else shown[:, :3]


def _is_shown_as(palette: NDArray[Any], shown: NDArray[np.uint8]) -> bool:
    """Whether a file holds a palette, and a layer still shows it."""
    if palette.dtype not in (np.uint8, np.uint16):
        return False
    colors = palette[:, np.newaxis] if palette.ndim == 1 else palette
    if colors.shape[1] not in (1, 3, 4) or len(colors) != len(shown):
        return False
    octets = np.rint(colors / (np.iinfo(colors.dtype).max / 255)).astype(np.uint8)
    if octets.shape[1] == 1:
        octets = np.repeat(octets, 3, axis=1)
    return np.array_equal(octets, shown)


def _metadata(labels: NDArray[Any], attributes: dict[str, Any]) -> ImageMetadata:
    """Give the axes, and the size of pixels that are not just pixels."""
    units = [_UNITS.get(str(unit), "pixel") for unit in attributes.get("units") or ()]
    names = [str(name).upper() for name in attributes.get("axis_labels") or ()]
    axes = _AXES[-labels.ndim :] if labels.ndim <= len(_AXES) else ""
    if len(set(names)) == labels.ndim and set(names) <= set("TZCYX"):
        axes = "".join(names)
    if len(units) != labels.ndim or not axes.endswith("YX") or set(units) == {"pixel"}:
        return ImageMetadata()
    scale = tuple(abs(float(step)) for step in attributes["scale"])
    return ImageMetadata(axes=axes, scale=scale, units=tuple(units))


def _is_tiff(path: str) -> bool:
    return path.lower().endswith((".tif", ".tiff"))


def _most_colors(path: str) -> int:
    return _MOST_TIFF_COLORS if _is_tiff(path) else _MOST_COLORS[".png"]
