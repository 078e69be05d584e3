"""Layers as palette files: what napari's *Save Selected Layers* calls.

`write_image` and `write_labels` are the writers that the manifest names; `file_size` is
the number of bytes that they would write. A layer that no format holds raises
`CannotHold`, which napari shows. A name like ``cells.kmeans.png`` says that a file is
to be opened as labels in its colors (`says_palette`); a name without a suffix becomes
such a name, and one with another suffix stays as it was typed.
"""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.colormaps import ensure_colormap
from napari.utils.notifications import show_info
from numpy.typing import NDArray

from napari_kmeans import (
    ImageMetadata,
    TooManyColorsError,
    count_colors,
    map_to_palette,
    write_indexed,
)
from napari_kmeans._core.arguments import NoFinitePixelError, is_lazy
from napari_kmeans._core.arrays import Array
from napari_kmeans._files.formats import (
    INDEXED_SUFFIXES,
    Format,
    format_of,
    palette_misfit,
)
from napari_kmeans._files.metadata import LENGTHS, TIMES
from napari_kmeans._napari.layers import Look, fits_in_memory, quoted, rgba_of
from napari_kmeans._napari.record import record_in

__all__ = [
    "PALETTE_MARK",
    "CannotHold",
    "file_size",
    "says_palette",
    "write_image",
    "write_labels",
]

# Before the suffix of files that are to be opened as labels in their colors.
PALETTE_MARK = ".kmeans"
# What a name without a suffix gets, the first that holds the layer.
_CHOSEN = tuple(PALETTE_MARK + suffix for suffix in (".png", ".tif", ".gif"))
# TIFF knows the size of pixels along each axis, the others know films.
_CHOSEN_FOR_STACKS = (_CHOSEN[1], _CHOSEN[0], _CHOSEN[2])
# What is behind a dot may also be a part of the name.
_SUFFIX = re.compile(r"\.[a-z]\w{1,4}", re.IGNORECASE)
_AXES = "TZYX"
# Colors of these are stored as they are.
_STORED = (np.uint8, np.uint16)


class CannotHold(OSError):
    """Says why no file of a name can hold a layer.

    napari shows whatever a writer raises, except ValueError.
    """


def says_palette(path: str) -> bool:
    """Whether a file is to be opened as labels in its colors, as its name says."""
    endings = tuple(PALETTE_MARK + suffix for suffix in INDEXED_SUFFIXES)
    return path.lower().endswith(endings)


def write_image(
    path: str, data: Any, attributes: dict[str, Any], labels: Array | None = None
) -> list[str]:
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
    labels : array, optional
        Labels of the pixels in the palette of the layer, if they are known, to spare a
        search.

    Returns
    -------
    paths : list of str
        The file.

    Raises
    ------
    OSError
        If the file cannot hold the layer, or cannot be written.
    """
    image = _full(data, attributes)
    look = Look(
        is_rgb=bool(attributes.get("rgb")),
        colormaps=(ensure_colormap(attributes.get("colormap") or "gray"),),
        contrast_limits=(tuple(attributes.get("contrast_limits") or (0, 1)),),
        gammas=(attributes.get("gamma", 1.0),),
    )
    palette, axis = _palette_in(attributes), -1 if look.is_rgb else None
    if look.is_rgb and image.shape[-1] == 4:
        image, labels = _with_one_clear_color(image, palette), None
    pixels = image if look.is_rgb else image[..., np.newaxis]
    is_empty = np.asarray(~np.isfinite(pixels).all(axis=-1))
    entries: Array | None = None
    if palette is not None and palette.ndim == (2 if look.is_rgb else 1):
        # The palette keeps its order, unless the image was changed.
        if labels is not None:
            entries = labels.reshape(is_empty.shape).astype(np.int64) - 1
        else:
            entries = map_to_palette(image, palette, channel_axis=axis)
            colors = palette.reshape(len(palette), -1)
            if not ((colors[entries] == pixels).all(axis=-1) | is_empty).all():
                entries = None
    if entries is None or palette is None:
        palette = _colors_of(image, axis, attributes)
        entries = map_to_palette(image, palette, channel_axis=axis)
    stored = _storable(palette, look)
    return _write(path, lambda _: (entries, stored), is_empty, attributes)


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer in its colors to a PNG, GIF or TIFF file.

    Label i becomes entry i - 1. Unlabeled pixels become one more entry, that is clear
    where the format knows opacity, and black in TIFF files. Where the name does not say
    that it is a palette file, napari's user is told how to open it as labels.

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
    entries = labels.astype(np.int64) - 1

    def indexed(form: Format) -> tuple[Array, Array]:
        top = int(labels.max())
        if labels.min() >= 0 and top <= form.most_colors:
            return entries, _colors_of_labels(np.arange(1, top + 1), attributes)
        # Numbers that the file cannot hold are counted through.
        numbers = np.unique(labels[labels != 0])
        return numbers.searchsorted(labels), _colors_of_labels(numbers, attributes)

    (path,) = _write(path, indexed, labels == 0, attributes)
    if not says_palette(path):
        name, mark = Path(path).name, f"{PALETTE_MARK}{Path(path).suffix}"
        show_info(
            f"{quoted(name)} opens as an image. To open it as labels, choose File > "
            f"IO Utilities > Open palette file, or save it as {mark}."
        )
    return [path]


def _write(
    path: str,
    indexed: Callable[[Format], tuple[Array, Array]],
    is_empty: Array,
    attributes: dict[str, Any],
) -> list[str]:
    """Write entries and colors, as a format is given them, and one more where empty."""
    has_clear = bool(is_empty.any())

    @functools.cache
    def palette_of(form: Format) -> Array:
        return _for_format(indexed(form)[1], form, has_clear=has_clear)

    path = _checked_path(path, is_empty.ndim, palette_of, attributes)
    form = format_of(path)
    entries, colors = indexed(form)
    entries = np.where(is_empty, len(colors), entries)
    metadata = _metadata(entries.ndim, attributes)
    write_indexed(path, entries, palette_of(form), metadata=metadata)
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
                (path,) = write_image(path, data, attributes, labels)
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

    suffix, name = Path(path).suffix.lower(), Path(path).name
    is_known = suffix in INDEXED_SUFFIXES
    if is_known and fault(suffix) is None:
        return path
    chosen = _CHOSEN if n_axes == 2 else _CHOSEN_FOR_STACKS
    fits = [one for one in chosen if fault(one) is None]
    cannot = f"{quoted(str(attributes.get('name')))} cannot be saved as {name}"
    if _SUFFIX.fullmatch(suffix) and not is_known:
        msg = f"{cannot}: choose a name that ends in {_CHOSEN[0]}, .png, .gif or .tif"
    elif not fits:
        faults = dict.fromkeys(map(fault, [suffix] * is_known + [*chosen]))
        msg = f"{cannot}: {', and '.join(filter(None, faults))}"
    elif is_known:
        if len(palette_of(format_of(path))) > format_of(path).most_colors:
            fits.append("fewer colors")
        msg = f"{cannot}: {fault(suffix)}; choose {' or '.join(fits)}"
    else:
        marked = path.removesuffix(PALETTE_MARK) + fits[0]
        if not Path(marked).exists():
            return marked
        name = Path(marked).name
        msg = f"{cannot}: {name} exists and is not replaced unasked; add {fits[0]}"
    raise CannotHold(msg)


def _fault(form: Format, n_axes: int, palette: Array) -> str | None:
    """Return why a format cannot hold entries of `n_axes`, if it cannot."""
    misfit = palette_misfit(form, n_axes, palette)
    if misfit is None:
        return None
    what = "a stack of stacks"
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
    if form.opacity != "any" and palette.shape[1] == 4:
        top = np.iinfo(palette.dtype).max
        if (palette[:, 3] == top).all():
            palette = palette[:, :3]
    if not has_clear:
        return palette
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


def _colors_of(
    image: Array, channel_axis: int | None, attributes: dict[str, Any]
) -> Array:
    """Return the colors of an image, if they are few."""
    name, most = quoted(str(attributes.get("name"))), format_of("a.tif").most_colors
    try:
        colors = count_colors(image, channel_axis=channel_axis).colors
        if len(colors) <= most:
            return colors
        number = f"{len(colors):,}"
    except NoFinitePixelError as error:
        msg = f"{name} has no colors: none of its pixels is a number"
        raise CannotHold(msg) from error
    except TooManyColorsError:
        number = "very many"
    msg = (
        f"{name} has {number} colors, and palette files hold 256 (.png, .gif) "
        f"or {most:,} (.tif): reduce them first"
    )
    raise CannotHold(msg)


def _colors_of_labels(numbers: Array, attributes: dict[str, Any]) -> Array:
    """Return the colors that labels are shown in, or those of the palette they show."""
    colormap = attributes["colormap"]
    rgba = np.atleast_2d(colormap.map(numbers)) if len(numbers) else np.empty((0, 4))
    shown = _octets(np.asarray(rgba))
    exact = _palette_in(attributes)
    if exact is not None and exact.dtype in _STORED:
        colors = _in_rgb(exact)
        if colors.shape[1] in (3, 4):
            looks = _octets(rgba_of(colors, Look(is_rgb=True)))
            if np.array_equal(looks, shown):
                return colors
    return shown if (shown[:, 3] < 255).any() else shown[:, :3]


def _in_rgb(palette: Array) -> Array:
    """Return gray levels (K,) as colors (K, 3), and colors as they are."""
    return np.stack([palette] * 3, axis=1) if palette.ndim == 1 else palette


def _octets(rgba: Array) -> NDArray[np.uint8]:
    """Return colors from 0 to 1 as bytes."""
    return np.rint(np.asarray(rgba, dtype=np.float64) * 255).astype(np.uint8)


def _palette_in(attributes: dict[str, Any]) -> Array | None:
    """Return the palette that a layer was made with, if it was made here."""
    record = record_in(attributes.get("metadata", {}))
    return None if record is None else record.palette


def _full(data: Any, attributes: dict[str, Any]) -> Array:
    """Return the data at full resolution, if there is memory to write them."""
    full = data[0] if attributes.get("multiscale") else data
    # Entries are 8 bytes, and are copied.
    if is_lazy(full) and not fits_in_memory(full.nbytes + 24 * full.size):
        msg = (
            f"{quoted(str(attributes.get('name')))} is too large for the free memory: "
            "reduce its file by the command “napari-kmeans compress”, or save a crop"
        )
        raise CannotHold(msg)
    return np.asarray(full)


def _without_channels(
    labels: Array, attributes: dict[str, Any]
) -> tuple[Array, dict[str, Any]]:
    """Leave out the axis of channels, along which labels are the same."""
    record = record_in(attributes.get("metadata", {}))
    settings = None if record is None else record.settings
    axis = None if settings is None else settings.channel_axis
    if axis is None or not 0 < axis < labels.ndim or labels.shape[axis] > 1:
        return labels, attributes
    names = {"scale", "units", "axis_labels"} & attributes.keys()
    axes = {
        name: [*attributes[name][:axis], *attributes[name][axis + 1 :]]
        for name in names
    }
    return labels.squeeze(axis), attributes | axes


def _storable(palette: Array, look: Look) -> Array:
    """Return colors that files hold: the palette, or else what it looks like."""
    if palette.dtype in _STORED:
        return _in_rgb(palette)
    shown = _octets(rgba_of(palette, look))
    return shown if look.is_rgb and palette.shape[1] == 4 else shown[:, :3]


def _metadata(n_axes: int, attributes: dict[str, Any]) -> ImageMetadata:
    """Return the axes, and the size of pixels that are not just pixels."""
    units = [
        str(unit) if str(unit) in LENGTHS | TIMES else "pixel"
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
