"""Layers as palette files: what napari's *Save Selected Layers* calls.

`write_image` and `write_labels` are the writers that the manifest names; `file_size` is
the number of bytes that they would write. A layer that no format holds raises
`CannotHold`, which napari shows.
"""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import ensure_colormap

from napari_kmeans import (
    ImageMetadata,
    TooManyColorsError,
    count_colors,
    map_to_palette,
    write_indexed,
)
from napari_kmeans._core.arguments import NoFinitePixelError
from napari_kmeans._core.arrays import Array
from napari_kmeans._files.formats import (
    INDEXED_SUFFIXES,
    Format,
    format_of,
    palette_misfit,
)
from napari_kmeans._napari.layers import Look, quoted, rgba_of
from napari_kmeans._napari.record import record_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["CannotHold", "file_size", "write_image", "write_labels"]

# What a name without a suffix gets, the first that holds the layer.
_CHOSEN = (".png", ".tif", ".gif")
# What is behind a dot may also be a part of the name.
_SUFFIX = re.compile(r"\.[a-z]\w{1,4}", re.IGNORECASE)
_UNITS = (
    *("nanometer", "micrometer", "millimeter", "centimeter", "meter", "inch"),
    *("second", "millisecond", "minute"),
)
_AXES = "TZYX"


class CannotHold(OSError):
    """Says why no file of a name can hold a layer.

    napari shows whatever a writer raises, except ValueError.
    """


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an image layer of few colors to a PNG, GIF or TIFF file.

    Pixels that are not finite become one more entry, as unlabeled ones do, and what is
    fully transparent becomes one color, whatever it hides.

    Parameters
    ----------
    path : str
        File to write. A name without suffix gets that of a format that holds the layer.
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
    OSError
        If the file cannot hold the layer, or cannot be written.
    """
    return _write_image(path, data, attributes)


def _write_image(
    path: str, data: Any, attributes: dict[str, Any], labels: Array | None = None
) -> list[str]:
    """Write an image, whose `labels` in its own palette may be known."""
    image = _full(data, attributes)
    look = Look(
        is_rgb=bool(attributes.get("rgb")),
        colormaps=(ensure_colormap(attributes.get("colormap") or "gray"),),
        contrast_limits=(tuple(attributes.get("contrast_limits") or (0, 1)),),
        gammas=(attributes.get("gamma", 1.0),),
    )
    palette: Any = _palette_in(attributes)
    has_alpha = look.is_rgb and image.shape[-1] == 4
    if has_alpha:
        image = _with_one_clear_color(image, palette)
    pixels = image if look.is_rgb else image[..., np.newaxis]
    entries, is_empty = None, np.zeros(pixels.shape[:-1], dtype=bool)
    if image.dtype.kind == "f":
        is_empty = ~np.isfinite(pixels).all(axis=-1)
    if labels is not None and not has_alpha:
        entries = labels.reshape(is_empty.shape).astype(np.int64) - 1
    elif palette is not None and palette.ndim == (2 if look.is_rgb else 1):
        # The palette keeps its order, unless the image was changed.
        entries = _entries_of(image, palette, look)
        colors = palette if look.is_rgb else palette[:, np.newaxis]
        if ((colors[entries] != pixels).any(axis=-1) & ~is_empty).any():
            entries = None
    if entries is None:
        palette = _colors_of(pixels, look, attributes)
    stored = _storable(palette, look)

    @functools.cache
    def palette_of(form: Format) -> Array:
        return _for_format(stored, form, has_clear=bool(is_empty.any()))

    path = _checked_path(path, is_empty.ndim, palette_of, attributes)
    if entries is None:
        entries = _entries_of(image, palette, look)
    entries = np.where(is_empty, len(stored), entries)
    metadata = _metadata(entries.ndim, attributes)
    write_indexed(path, entries, palette_of(format_of(path)), metadata=metadata)
    return [path]


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer in its colors to a PNG, GIF or TIFF file.

    Label i becomes entry i - 1. Unlabeled pixels become one more entry, that is clear
    where the format knows opacity, and black in TIFF files.

    Parameters
    ----------
    path : str
        File to write. A name without suffix gets that of a format that holds the layer.
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
    OSError
        If the file cannot hold the layer, or cannot be written.
    """
    labels, attributes = _without_channels(_full(data, attributes), attributes)
    is_empty = labels == 0

    @functools.cache
    def palette_of(form: Format) -> Array:
        colors = _colors_of_labels(_numbers_of(labels, form), attributes)
        return _for_format(colors, form, has_clear=bool(is_empty.any()))

    path = _checked_path(path, labels.ndim, palette_of, attributes)
    numbers = _numbers_of(labels, format_of(path))
    if np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
        entries = labels.astype(np.int64) - 1
    else:
        entries = numbers.searchsorted(labels)
    entries = np.where(is_empty, len(numbers), entries)
    metadata = _metadata(entries.ndim, attributes)
    write_indexed(path, entries, palette_of(format_of(path)), metadata=metadata)
    return [path]


def file_size(
    data: Any, attributes: dict[str, Any], kind: str, labels: Array | None = None
) -> tuple[str, int] | None:
    """Return the format and the bytes of the palette file that a layer is saved in.

    It is the one that a name without a suffix gets; None if none holds the layer, which
    is as `as_layer_data_tuple` describes it. The `labels` of an image, if they are
    known, spare counting its colors again.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "image")
        try:
            if kind == "labels":
                (path,) = write_labels(path, data, attributes)
            else:
                (path,) = _write_image(path, data, attributes, labels)
        except CannotHold:
            return None
        return Path(path).suffix[1:].upper(), Path(path).stat().st_size


def _checked_path(
    path: str,
    n_axes: int,
    palette_of: Callable[[Format], Array],
    attributes: dict[str, Any],
) -> str:
    """Return the path, with a suffix, of a file that holds entries of such palettes."""

    def fault(suffix: str) -> str | None:
        form = format_of(f"image{suffix}")
        return _fault(form, n_axes, palette_of(form))

    suffix, name = Path(path).suffix, Path(path).name
    cannot = f"{quoted(str(attributes.get('name')))} cannot be saved as {name}"
    if suffix.lower() in INDEXED_SUFFIXES:
        why = fault(suffix.lower())
        if why is None:
            return path
        others = [other for other in _CHOSEN if fault(other) is None]
        if not others:
            msg = f"{cannot}: {_why_nowhere(suffix.lower(), fault)}"
            raise CannotHold(msg)
        if len(palette_of(format_of(path))) > format_of(path).most_colors:
            others.append("fewer colors")
        msg = f"{cannot}: {why}; choose {' or '.join(others)}"
        raise CannotHold(msg)
    if _SUFFIX.fullmatch(suffix):
        msg = f"{cannot}: choose a name that ends in .png, .gif, .tif or .tiff"
        raise CannotHold(msg)
    for chosen in _CHOSEN:
        if fault(chosen) is None:
            if Path(path + chosen).exists():
                msg = f"{cannot}{chosen} unasked, for that file exists: add {chosen}"
                raise CannotHold(msg)
            return path + chosen
    msg = f"{cannot}: {_why_nowhere('.png', fault)}"
    raise CannotHold(msg)


def _why_nowhere(suffix: str, fault: Callable[[str], str | None]) -> str:
    """Return why no format holds a layer, that of a suffix first."""
    faults = dict.fromkeys(fault(one) for one in (suffix, *_CHOSEN))
    return ", and ".join(filter(None, faults))


def _fault(form: Format, n_axes: int, palette: Array) -> str | None:
    """Return why a format cannot hold entries of `n_axes`, if it cannot."""
    misfit = palette_misfit(form, n_axes, palette)
    if misfit is None:
        return None
    what = "a stack" if form.most_axes == 2 else "a stack of stacks"
    if n_axes < 2:
        what = "a single row"
    elif misfit == "colors":
        what = f"{len(palette):,} colors, but {form.most_colors:,} at most"
    elif misfit == "dtype":
        what = "colors of 16 bits"
    elif misfit == "opacity":
        what = "colors that are partly transparent, nor several clear ones"
        if form.opacity == "none":
            what = "a palette with transparent colors"
    return f"a {form.name} file does not hold {what}"


def _for_format(palette: Array, form: Format, *, has_clear: bool) -> Array:
    """Return the palette as a format has it, with an entry at the end for no color."""
    if form.opacity != "any" and palette.ndim == 2 and palette.shape[1] == 4:
        top = np.iinfo(palette.dtype).max
        if (palette[:, 3] == top).all():
            palette = palette[:, :3]
    if not has_clear:
        return palette
    if palette.ndim == 1:
        palette = np.repeat(palette[:, np.newaxis], 3, axis=1)
    if form.opacity != "none" and palette.shape[1] == 3:
        opaque = np.full((len(palette), 1), 255, palette.dtype)
        palette = np.hstack([palette, opaque])
    clear = np.zeros((1, palette.shape[1]), palette.dtype)
    return np.concatenate([palette, clear])


def _with_one_clear_color(image: Array, palette: Array | None) -> Array:
    """Return what is fully transparent the first such color of a palette, or zeros."""
    clear = np.zeros((1, 4), image.dtype)
    if palette is not None and palette.shape[1:] == (4,):
        clear = np.concatenate([palette[palette[:, 3] <= 0].astype(image.dtype), clear])
    return np.where(image[..., 3:] <= 0, clear[0], image)


def _entries_of(image: Array, palette: Array, look: Look) -> Array:
    """Return each pixel its entry of a palette."""
    return map_to_palette(image, palette, channel_axis=-1 if look.is_rgb else None)


def _colors_of(pixels: Array, look: Look, attributes: dict[str, Any]) -> Array:
    """Return the colors of an image (..., C), if they are few."""
    name, most = quoted(str(attributes.get("name"))), format_of("a.tif").most_colors
    number = "very many"
    try:
        colors = count_colors(pixels).colors
        if len(colors) <= most:
            return colors if look.is_rgb else colors[:, 0]
        number = f"{len(colors):,}"
    except NoFinitePixelError as error:
        msg = f"{name} has no colors: none of its pixels is a number"
        raise CannotHold(msg) from error
    except TooManyColorsError:
        pass
    msg = (
        f"{name} has {number} colors, and palette files hold 256 (.png, .gif) "
        f"or {most:,} (.tif): reduce them first"
    )
    raise CannotHold(msg)


def _numbers_of(labels: Array, form: Format) -> Array:
    """Return the label of each entry."""
    top = int(labels.max())
    if labels.min() >= 0 and top <= form.most_colors:
        return np.arange(1, top + 1)
    # Numbers that the file cannot hold are counted through.
    return np.unique(labels[labels != 0])


def _colors_of_labels(numbers: Array, attributes: dict[str, Any]) -> Array:
    """Return the colors that labels are shown in, or those of the palette they show."""
    colormap = attributes["colormap"]
    rgba = np.atleast_2d(colormap.map(numbers)) if len(numbers) else np.empty((0, 4))
    shown = np.rint(np.asarray(rgba, dtype=np.float64) * 255).astype(np.uint8)
    palette = shown if (shown[:, 3] < 255).any() else shown[:, :3]
    exact = _palette_in(attributes)
    if exact is not None and _is_shown_as(exact, palette):
        return np.asarray(exact)
    return palette


def _palette_in(attributes: dict[str, Any]) -> Array | None:
    """Return the palette that a layer was made with, if it was made here."""
    record = record_in(attributes.get("metadata", {}))
    return None if record is None else record.palette


def _full(data: Any, attributes: dict[str, Any]) -> Array:
    """Return the data at full resolution."""
    return np.asarray(data[0] if attributes.get("multiscale") else data)


def _without_channels(
    labels: Array, attributes: dict[str, Any]
) -> tuple[Array, dict[str, Any]]:
    """Leave out the axis of channels, along which labels are the same."""
    record = record_in(attributes.get("metadata", {}))
    settings = None if record is None else record.settings
    axis = None if settings is None else settings.channel_axis
    if axis is None or not 0 < axis < labels.ndim or labels.shape[axis] > 1:
        return labels, attributes
    axes = {
        name: [*attributes[name][:axis], *attributes[name][axis + 1 :]]
        for name in ("scale", "units", "axis_labels")
        if name in attributes
    }
    return labels.squeeze(axis), attributes | axes


def _storable(palette: Array, look: Look) -> Array:
    """Return colors that files hold: the palette, or else what it looks like."""
    if palette.dtype in (np.uint8, np.uint16):
        return palette
    shown = np.rint(rgba_of(palette, look) * 255).astype(np.uint8)
    return shown if look.is_rgb and palette.shape[1] == 4 else shown[:, :3]


def _is_shown_as(palette: Array, shown: NDArray[np.uint8]) -> bool:
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


def _metadata(n_axes: int, attributes: dict[str, Any]) -> ImageMetadata:
    """Return the axes, and the size of pixels that are not just pixels."""
    units = [
        str(unit) if str(unit) in _UNITS else "pixel"
        for unit in attributes.get("units") or ()
    ]
    names = [str(name).upper() for name in attributes.get("axis_labels") or ()]
    axes = _AXES[-n_axes:] if n_axes <= len(_AXES) else ""
    if len(set(names)) == n_axes and set(names) <= set("TZCYX"):
        axes = "".join(names)
    if len(units) != n_axes or not axes.endswith("YX") or set(units) == {"pixel"}:
        return ImageMetadata()
    scale = tuple(abs(float(step)) for step in attributes["scale"])
    return ImageMetadata(axes=axes, scale=scale, units=tuple(units))
