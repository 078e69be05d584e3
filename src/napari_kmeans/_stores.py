"""A pyramid in few colors: a recipe in, a store of zarr and its numbers out.

Read `write_store` first. It finds one palette for the full resolution, unless it is
given or the store has begun with it, and maps every level in pieces of whole shards or
chunks, in one pass. A run that was ended goes on where it was: the settings, the
source and the palette are on record before the first pixel is written, and chunks that
have a file are not written again. How stores are made is known to `_files.ome_zarr`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._compression import Recipe, count_file, fit_counted, matched
from napari_kmeans._core.arguments import (
    Weights,
    checked_dither,
    checked_layout,
    checked_palette,
    checked_weights,
)
from napari_kmeans._core.arrays import Array, Floats, Labels
from napari_kmeans._core.blocks import observed
from napari_kmeans._core.chunks import visit_places
from napari_kmeans._core.counted_image import psnr_of
from napari_kmeans._core.mapping import chunk_labeler, color_pixels, keep_uncounted
from napari_kmeans._files import ome_zarr
from napari_kmeans._files.pyramids import Pyramid, Region, boxes, lazy_image, without
from napari_kmeans._files.read import ImageFile
from napari_kmeans._pictures.display import displayed, displayed_range

__all__ = ["StoreResult", "write_store"]

# Called with "read" or "write", and how many tasks of a pass are done, and all.
Report: TypeAlias = Callable[[str, int, int], object]


class StoreResult(NamedTuple):
    """What a store has, and how much of it was written now."""

    palette: Array
    # Pieces that were written now, none if the store was there already, and of all.
    n_written: int
    n_all: int
    # Of the fit to the full resolution; None where the palette was given.
    counts: NDArray[np.int64] | None = None
    n_iter: int | None = None
    converged: bool | None = None
    # None also if they are too many to count.
    n_colors_before: int | None = None
    # None also if the pixels are dithered.
    mse: float | None = None
    psnr: float | None = None
    # What each channel counted; None also if all counted by their values.
    channel_weights: Floats | None = None


class _Level(NamedTuple):
    """How a level is mapped, where it is read, and where it is written."""

    source: Any
    # The image, and labels if they are wanted.
    targets: list[Any]
    # Axes of the channels in both.
    axes: tuple[int | None, int | None]
    label: Callable[[Array, Sequence[int]], Labels]


def write_store(
    pyramid: Pyramid,
    source_name: str,
    target: str | os.PathLike[str],
    recipe: Recipe,
    *,
    palette: Array | None = None,
    with_labels: bool = False,
    force: bool = False,
    report: Report | None = None,
) -> StoreResult:
    """Write all levels of a pyramid in the colors of one palette.

    The palette is that of the full resolution, unless one is given. The store is like
    the source; labels are entries of the palette from 1 on. What a run that was ended
    has written stays, unless `force`. Raises ValueError if the target is anything else
    than a store that was begun in the same way, or with `force` a store to replace, and
    if what is asked for does not fit the image.
    """
    path, report = Path(os.path.realpath(target)), report or (lambda *_: None)
    _check(pyramid, source_name, path, recipe, with_labels)
    given = None if palette is None else _matched(lazy_image(pyramid), palette)
    wanted = _in_json(recipe) | {
        "version": 1,
        "labels": with_labels,
        "given palette": given,
        "source": ome_zarr.identity_of(source_name),
    }
    record = _begin(path, wanted, force)
    if not ome_zarr.is_store(path):
        ome_zarr.begin_store(path, pyramid, record)
    if "palette" not in record:
        with observed(partial(report, "read")):
            record["palette"] = given
            if given is None:
                record |= _found_palette(lazy_image(pyramid), recipe)
        ome_zarr.write_record(path, pyramid, record)
    colors = np.array(record["palette"], pyramid.levels[0].dtype.newbyteorder("="))
    label_type = np.min_scalar_type(len(colors)) if with_labels else None
    arrays = ome_zarr.create_arrays(path, pyramid, label_type)
    fit = dict(record.get("fit", {}))
    weights = fit.get("channel_weights", recipe.channel_weights)
    with observed(partial(report, "read")):
        n_all, left = _places(pyramid, arrays, colors, recipe, weights)
    with observed(partial(report, "write")):
        visit_places(partial(_map_place, colors.reshape(len(colors), -1)), left)
    if ome_zarr.identity_of(source_name) != wanted["source"]:
        msg = f"{source_name} has changed while it was read; --force begins anew"
        raise ValueError(msg)
    if left or not record["is_complete"]:
        if with_labels:
            ome_zarr.describe_labels(path, pyramid, _shown(colors))
        ome_zarr.write_record(path, pyramid, record | {"is_complete": True})
    if fit:
        psnr = math.inf if fit["mse"] == 0 else fit["psnr"]
        fit |= {"counts": np.array(fit["counts"], np.int64), "psnr": psnr}
        fit["channel_weights"] = None if weights is None else np.array(weights)
    return StoreResult(colors, len(left), n_all, **fit)


def _in_json(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe in words of JSON."""
    fixed, weights = recipe.fixed, recipe.channel_weights
    return asdict(replace(recipe, fixed=None)) | {
        "channel_weights": list(weights) if isinstance(weights, tuple) else weights,
        "fixed": None if fixed is None else fixed.tolist(),
    }


def _check(
    pyramid: Pyramid, source_name: str, path: Path, recipe: Recipe, with_labels: bool
) -> None:
    """Refuse what would be found out only later, or never."""
    source = Path(os.path.realpath(source_name))
    if path == source or path in source.parents or source in path.parents:
        msg = f"output {path} must not be the input, lie in it or hold it"
        raise ValueError(msg)
    if recipe.dither == "floyd-steinberg":
        msg = "dither='floyd-steinberg' needs whole planes; choose 'ordered'"
        raise ValueError(msg)
    ome_zarr.check_target(pyramid, with_labels)


def _begin(path: Path, wanted: dict[str, Any], force: bool) -> dict[str, Any]:
    """Return the record of a store that begins, or goes on."""
    record = ome_zarr.record_of(path)
    if force and record is not None:
        ome_zarr.remove_store(path)
    elif record:
        changed = [name for name in wanted if record.get(name) != wanted[name]]
        if changed:
            msg = f"{path} was begun with another {', '.join(changed)}"
            raise ValueError(msg + "; --force replaces it")
        return record
    elif path.exists() and not (path.is_dir() and not any(path.iterdir())):
        advice = "; --force replaces it" if record == {} else ", and is no such store"
        msg = f"{path} exists{advice}"
        raise ValueError(msg)
    return wanted | {"is_complete": False}


def _matched(image: ImageFile, palette: Array) -> list[Any]:
    """Return a palette that is given in words of JSON, or refuse it."""
    same, palette = matched(image, palette)
    if same is not image:
        msg = f"palette must have the channels of the image, got {palette.shape}"
        raise ValueError(msg)
    return list(palette.tolist())


def _found_palette(image: ImageFile, recipe: Recipe) -> dict[str, Any]:
    """Return what is on record of the palette of an image, in words of JSON."""
    counted = count_file(image, recipe.color_space, recipe.channel_weights)
    found = fit_counted(counted, recipe).result
    psnr = psnr_of(counted, found.mse)
    fit = asdict(found) | {
        "counts": found.counts.tolist(),
        "n_colors_before": counted.n_colors,
        # JSON has no infinity.
        "psnr": psnr if math.isfinite(psnr) else None,
    }
    if found.channel_weights is not None:
        fit["channel_weights"] = found.channel_weights.tolist()
    if recipe.dither is not None:
        fit |= {"mse": None, "psnr": None}
    return {"palette": fit.pop("palette").tolist(), "fit": fit}


def _places(
    pyramid: Pyramid,
    arrays: list[list[Any]],
    palette: Array,
    recipe: Recipe,
    weights: Weights,
) -> tuple[int, list[tuple[_Level, Region]]]:
    """Return the number of pieces of all levels, and those that are not yet written."""
    n_all, places = 0, []
    axes = pyramid.channel_axis, ome_zarr.target_axis(pyramid)
    for source, targets in zip(pyramid.levels, arrays, strict=True):
        regions = list(boxes(targets[0], axes[1]))
        n_all += len(regions)
        left = [
            region
            for region in regions
            if any(map(ome_zarr.unwritten, targets, (region, without(region, axes[1]))))
        ]
        if left:
            pixels, has_channels, *_ = lazy_image(pyramid._replace(levels=(source,)))
            whole = pixels if has_channels else pixels[..., np.newaxis]
            axis = -1 if has_channels else None
            layout = checked_layout(whole, axis, recipe.color_space, False)
            numbers = checked_weights(weights, layout, words=())
            layout = layout._replace(weights=numbers)
            colors = checked_palette(palette, layout)
            dithering = checked_dither(recipe.dither, recipe.dither_strength)
            label = chunk_labeler(whole, colors, layout, dithering)
            level = _Level(source, targets, axes, label)
            places += [(level, region) for region in left]
    return n_all, places


def _map_place(palette: Array, place: tuple[_Level, Region]) -> None:
    """Read a piece of a level, and write it in colors of a palette (K, C)."""
    level, region = place
    source_axis, axis = level.axes
    spatial = without(region, axis)
    if source_axis is None or axis is None:
        pixels = level.source[region][..., np.newaxis]
    else:
        read = list(spatial)
        read.insert(source_axis, region[axis])
        pixels = np.moveaxis(level.source[tuple(read)], source_axis, -1)
    labels = level.label(pixels, [side.start for side in spatial])
    colored = color_pixels(labels, palette)
    keep_uncounted(colored, pixels, False)
    colored = colored[..., 0] if axis is None else np.moveaxis(colored, -1, axis)
    image, *others = level.targets
    ome_zarr.write_missing(image, region, colored)
    for array in others:
        entries = np.add(labels, 1, dtype=array.dtype)
        entries[~np.isfinite(pixels).all(axis=-1)] = 0
        ome_zarr.write_missing(array, spatial, entries)


def _shown(palette: Array) -> Array:
    """Return colors (K, 3) of 8 bits that stand for those of a palette."""
    colors = palette.reshape(len(palette), -1)
    colors = colors[:, :3] if colors.shape[1] >= 3 else colors[:, 0]
    shown = displayed(colors[np.newaxis], *displayed_range(colors))
    return np.asarray(shown).reshape(-1, 3)
