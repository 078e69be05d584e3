"""What a person changes in a result: clusters that become one, other colors, names.

`edit_record` applies all changes that settings know to a record as it was fitted, which
is how `quantize_layer` makes them. `merge_entries`, `recolor_entry` and `rename_entry`
make one more change in a record, and so do the settings in it, so that both ways lead
to the same palette. `renumber` and `repaint_image` bring pixels up to date. Which
layers are changed, and how this is taken back, is a matter for `results`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_kmeans._core.arguments import checked_integer, is_lazy, real_array
from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._core.chunks import map_pairs
from napari_kmeans._core.counted_image import color_image
from napari_kmeans._core.mapping import color_pixels
from napari_kmeans._files.palettes import check_name
from napari_kmeans._napari.record import Fit, Record
from napari_kmeans._napari.settings import Settings

__all__ = [
    "edit_record",
    "fit_of",
    "merge_entries",
    "recolor_entry",
    "rename_entry",
    "renumber",
    "repaint_image",
]


def edit_record(record: Record, settings: Settings) -> tuple[Record, Indices]:
    """Make all changes that settings know, in the record of a fit without any.

    Returns the record, and for each fitted entry the one that it has become.

    Raises
    ------
    TypeError
        If what is changed is none of what it can be.
    ValueError
        If an entry is none of the palette, entries of several slices become one, a
        color is none that the palette can have, or a name is none for palette files.
    """
    start = dataclasses.replace(settings, merged=None, recolored=None, names=None)
    edited = dataclasses.replace(record, settings=start)
    lut: Indices = np.arange(len(record.palette))
    merged = () if settings.merged is None else settings.merged
    groups = [_checked("merged", group, record) for group in _groups(merged)]
    if any(groups):
        edited, lut = _merged(edited, list(filter(None, groups)))
    for entry, color in _changes("recolored", settings.recolored, edited):
        edited = recolor_entry(edited, entry, _checked_color(color, edited.palette))
    for entry, name in _changes("names", settings.names, edited):
        check_name(name)
        edited = rename_entry(edited, entry, name)
    return edited, lut


def _groups(merged: Any) -> list[Any]:
    """Return the groups of entries that are merged, which are not checked."""
    groups = [merged] if not isinstance(merged, Iterable) else list(merged)
    if not all(isinstance(group, Iterable) for group in groups):
        msg = f"merged must be sequences of entries, got {merged!r}"
        raise TypeError(msg)
    return groups


def _changes(name: str, given: Any, record: Record) -> Iterable[tuple[int, Any]]:
    """Return entries that a palette has, with what they are given."""
    if given is not None and not isinstance(given, Mapping):
        msg = f"{name} must be a mapping from entries of the palette, got {given!r}"
        raise TypeError(msg)
    given = given or {}
    return zip(_checked(name, given, record), given.values(), strict=True)


def _checked_color(color: Any, palette: Array) -> Array:
    """Return a color that a palette can have, in its dtype."""
    given, dtype = real_array("recolored", color), palette.dtype
    shape = palette.shape[1:]
    if given.shape != shape:
        msg = f"recolored must have colors of shape {shape}, got {color!r}"
        raise ValueError(msg)
    with np.errstate(invalid="ignore", over="ignore"):
        same = given.astype(dtype)
    # Floats may be written with more digits than the image has.
    if not (np.isfinite(same) if dtype.kind == "f" else same == given).all():
        msg = f"recolored must have colors that {dtype} holds, got {color!r}"
        raise ValueError(msg)
    return same


def rename_entry(record: Record, entry: int, name: str) -> Record:
    """Return a record in which an entry has another name, or none if it is empty."""
    names = list(record.names or len(record.palette) * ("",))
    names[entry] = str(name)
    return dataclasses.replace(record, names=tuple(names) if any(names) else ())


def recolor_entry(record: Record, entry: int, color: ArrayLike) -> Record:
    """Return a record in which an entry has another color, in the image's units."""
    palette, settings = record.palette.copy(), record.settings
    palette[entry] = color
    if settings is not None:
        colors = {**(settings.recolored or {}), entry: palette[entry].tolist()}
        settings = dataclasses.replace(settings, recolored=colors)
    # The error was that of the colors before.
    return dataclasses.replace(
        record,
        palette=palette,
        fit=fit_of(record),
        settings=settings,
        mse=None,
        psnr=None,
    )


def merge_entries(record: Record, entries: Sequence[int]) -> tuple[Record, Indices]:
    """Return a record in which entries of one palette are one, and what all become.

    The color is the mean of the colors that were fitted, weighted by the pixels that
    these had then, and rounded to the nearest in the image's dtype, ties to even. If
    that is the color of another entry of the palette, both become one, too. The cluster
    takes the place of its lowest entry, and the numbers of others close up. It keeps
    the first name, and the first color, that somebody has given to one of its entries.

    Raises
    ------
    ValueError
        If there are less than two entries, one is none of the palette, or they are of
        several slices.
    """
    chosen = sorted(set(_checked("entries", entries, record)))
    if len(chosen) < 2:
        msg = f"entries must be two or more, got {list(entries)}"
        raise ValueError(msg)
    fitted = _fitted_entries(record)
    return _merged(record, [[fitted[entry][0] for entry in chosen]])


def _checked(name: str, entries: Iterable[int], record: Record) -> list[int]:
    """Return entries that a palette has, of which those that are merged are of one."""
    found = [checked_integer(f"each of {name}", entry, None, None) for entry in entries]
    n = len(record.palette)
    for entry in found:
        if not 0 <= entry < n:
            msg = f"{name} must be entries of the palette, 0 to {n - 1}, got {entry}"
            raise ValueError(msg)
    if record.slices is not None and name in ("merged", "entries"):
        slices = np.unique(record.slices[found])
        if len(slices) > 1:
            msg = (
                f"{name} must be entries of one palette, "
                f"got some of the slices {slices[0]} and {slices[1]}"
            )
            raise ValueError(msg)
    return found


def _fitted_entries(record: Record) -> list[list[int]]:
    """Return the fitted entries that each entry of a record has come of."""
    settings, n = record.settings, len(fit_of(record).palette)
    merged = (settings.merged if settings else None) or ()
    hidden = {entry for group in merged for entry in sorted(group)[1:]}
    first = {min(group): sorted(group) for group in merged}
    return [first.get(entry, [entry]) for entry in range(n) if entry not in hidden]


def fit_of(record: Record) -> Fit:
    """Return what was fitted: of layers that do not tell, what they have now."""
    if record.fit is None or record.settings is None:
        return Fit(record.palette, record.counts)
    return record.fit


def _merged(record: Record, groups: list[list[int]]) -> tuple[Record, Indices]:
    """Merge groups of fitted entries, and those that are merged already.

    Returns the record, and for each entry of the record before the one it has become.
    """
    fit, settings, fitted = fit_of(record), record.settings, _fitted_entries(record)
    slices = np.zeros(len(fit.palette), dtype=np.intp)
    if record.slices is not None:
        for entry, members in enumerate(fitted):
            slices[members] = record.slices[entry]
    firsts, colors = _joined(fit, slices, fitted + groups)
    kept, places = np.unique(firsts, return_inverse=True)
    lut: Indices = places[[members[0] for members in fitted]]
    counts = np.bincount(lut, record.counts, len(kept)).astype(np.int64)
    names = _first_given(lut, {i: one for i, one in enumerate(record.names) if one})
    palette = colors[kept]
    if settings is not None:
        recolored = _first_given(lut, settings.recolored or {})
        clusters = [tuple(np.flatnonzero(firsts == first).tolist()) for first in kept]
        merged = tuple(cluster for cluster in clusters if len(cluster) > 1)
        settings = dataclasses.replace(
            settings, merged=merged or None, recolored=recolored or None
        )
        for entry, color in recolored.items():
            palette[entry] = color
    new = dataclasses.replace(
        record,
        palette=palette,
        counts=counts,
        means=_merged_means(record, lut, counts),
        names=tuple(names.get(i, "") for i in range(len(kept))) if names else (),
        slices=None if record.slices is None else slices[kept],
        fit=fit,
        settings=settings,
        mse=None,
        psnr=None,
    )
    return new, lut


def _joined(
    fit: Fit, slices: Indices, groups: list[list[int]]
) -> tuple[Indices, Array]:
    """Return for each fitted entry the lowest one of its cluster, and its color (K, C).

    Groups that have an entry in common are one cluster. So are then clusters of one
    color, if they are merged, and this again until all that are merged have others.
    """
    firsts: Indices = np.arange(len(fit.palette))
    for group in groups:
        _join(firsts, np.asarray(group))
    while True:
        colors, is_closed = fit.palette.copy(), True
        merged = np.flatnonzero(np.bincount(firsts) > 1)
        for first in merged:
            some = firsts == first
            colors[some] = _mean_color(fit.palette[some], fit.counts[some])
        flat = colors.reshape(len(colors), -1)
        for first in merged:
            same = (flat == flat[first]).all(axis=1) & (slices == slices[first])
            if len(set(firsts[same])) > 1:
                is_closed = False
                _join(firsts, np.flatnonzero(same))
        if is_closed:
            return firsts, colors


def _join(firsts: Indices, entries: Indices) -> None:
    """Make one cluster of those that entries are in."""
    joined = np.isin(firsts, firsts[entries])
    firsts[joined] = firsts[joined].min()


def _mean_color(colors: Array, counts: Array) -> Array:
    """Return the mean of colors (n, C) or (n,) by their pixels, in their dtype."""
    pixels = counts if counts.any() else np.ones_like(counts)
    total, columns = int(pixels.sum()), colors.reshape(len(colors), -1).T
    if colors.dtype.kind == "f":
        # Shares, for sums of the largest floats do not fit float64.
        shares = pixels / total
        means = [float(column.astype(np.float64) @ shares) for column in columns]
    else:
        # Exact for 64 bits, too; `round` takes ties to even.
        n = pixels.tolist()
        sums = (sum(map(mul, map(int, column.tolist()), n)) for column in columns)
        means = [round(Fraction(one, total)) for one in sums]
    return np.array(means, dtype=colors.dtype).reshape(colors.shape[1:])


def _merged_means(record: Record, lut: Indices, counts: Array) -> Floats | None:
    """Return the means (n, C) of clusters, by those of the entries they are made of."""
    if record.means is None:
        return None
    columns = record.means.reshape(len(lut), -1).T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = record.counts / counts[lut]
        # An entry without pixels has no mean, and is nothing to those of others.
        parts = [np.where(record.counts > 0, one * shares, 0) for one in columns]
        sums = [np.bincount(lut, part, len(counts)) for part in parts]
    return np.where(counts[:, np.newaxis] > 0, np.transpose(sums), np.nan)


def _first_given(lut: Indices, given: Mapping[int, Any]) -> dict[int, Any]:
    """Return what the first of the entries that become one was given."""
    found: dict[int, Any] = {}
    for entry in sorted(given):
        found.setdefault(int(lut[entry]), given[entry])
    return found


# Pixels.


def renumber(labels: Array, lut: Indices, n: int) -> Array:
    """Return labels (...) from 1 on whose entries have become those of `lut`, below n.

    Background, and labels that stand for no entry, stay as they are.
    """
    if is_lazy(labels):
        dtype = np.min_scalar_type(n)
        lazy: Array = labels.map_blocks(renumber, lut, n, dtype=dtype)  # type: ignore[attr-defined]
        return lazy
    high = int(labels.max(initial=0))
    dtype = np.min_scalar_type(high if high > len(lut) else n)
    if labels.dtype in (np.uint8, np.uint16):
        table = np.arange(np.iinfo(labels.dtype).max + 1)
        table[1 : len(lut) + 1] = lut[: len(table) - 1] + 1
        return color_pixels(labels, table.astype(dtype)[:, np.newaxis])[..., 0]
    if labels.min(initial=0) < 0:
        dtype = labels.dtype
    is_entry = (labels > 0) & (labels <= len(lut))
    moved = (lut + 1).astype(dtype)[np.where(is_entry, labels, 1) - 1]
    return np.where(is_entry, moved, labels.astype(dtype, copy=False))


def repaint_image(
    labels: Array, image: Array, palette: Array, channel_axis: int | None
) -> Array:
    """Return an image in the colors of its labels from 1 on, and as it is where 0."""
    # Labels have the axis of channels at length 1, or lack it.
    if channel_axis is not None and labels.ndim == image.ndim:
        labels = labels.squeeze(channel_axis)
    paint = partial(_repainted, palette=palette, axis=channel_axis)
    if is_lazy(image) or is_lazy(labels):
        return map_pairs(paint, labels, image, channel_axis)
    return paint(labels, image)


def _repainted(labels: Array, image: Array, palette: Array, axis: int | None) -> Array:
    entries = np.where(labels > 0, labels, 1) - 1
    painted = color_image(entries, palette, image, channel_axis=axis)
    kept = labels == 0
    if kept.any():
        where = kept if axis is None else np.expand_dims(kept, axis)
        np.copyto(painted, image, where=where)
    return painted
