"""Stores of zarr for tests: images with levels, and what files of one say."""

import json

import numpy as np
import zarr

TYPES = {"t": "time", "c": "channel"}


def levels_of(image, axes="cyx", n_levels=2):
    """Return an image and smaller ones, by every other row and column."""
    steps = tuple(slice(None, None, 2 if axis in "yx" else 1) for axis in axes)
    levels = [image]
    while len(levels) < n_levels:
        levels.append(np.ascontiguousarray(levels[-1][steps]))
    return levels


def description(levels, axes="cyx", paths=None, version="0.5"):
    """Say of levels what the attributes of OME-Zarr do."""
    image = {
        "name": "cells",
        "axes": [
            {"name": a, "type": TYPES.get(a, "space")}
            | ({"unit": "micrometer"} if a in "zyx" else {})
            for a in axes
        ],
        "datasets": [
            {
                "path": str(i) if paths is None else paths[i],
                "coordinateTransformations": [
                    {"type": "scale", "scale": [_size(a, i) for a in axes]},
                    {
                        "type": "translation",
                        "translation": [_start(a, i) for a in axes],
                    },
                ],
            }
            for i in range(len(levels))
        ],
    }
    if version == "0.5":
        return {"ome": {"version": "0.5", "multiscales": [image]}}
    return {"multiscales": [image | {"version": version}]}


def _size(axis, level):
    return {"t": 1.0, "c": 1.0, "z": 2.5}.get(axis, 0.25 * 2**level)


def _start(axis, level):
    return 0.125 * (2**level - 1) if axis in "yx" else 0.0


def make_image(
    path, levels, axes="cyx", version="0.5", paths=None, attributes=(), **how
):
    """Make a store of OME-Zarr."""
    told = description(levels, axes, paths, version) | dict(attributes)
    zarr_format = 3 if version == "0.5" else 2
    group = zarr.create_group(path, zarr_format=zarr_format, attributes=told)
    separator = {"name": "v2", "separator": "/"}
    how = (
        {"dimension_names": list(axes)}
        if zarr_format == 3
        else {"chunk_key_encoding": separator}
    ) | how
    for i, level in enumerate(levels):
        name = str(i) if paths is None else paths[i]
        array = group.create_array(name, shape=level.shape, dtype=level.dtype, **how)
        array[...] = level
    return path


def make_array(path, pixels, **how):
    """Make a plain array of zarr."""
    array = zarr.create_array(path, shape=pixels.shape, dtype=pixels.dtype, **how)
    array[...] = pixels
    return path


def contents(path):
    """Return the bytes of all files in a folder by their names."""
    files = (found for found in sorted(path.rglob("*")) if found.is_file())
    return {str(found.relative_to(path)): found.read_bytes() for found in files}


def told_of(path):
    """Return what the files of a group or array say, without its attributes."""
    found = {}
    for name in ("zarr.json", ".zarray", ".zgroup"):
        if (path / name).is_file():
            found[name] = json.loads((path / name).read_text("utf-8"))
            found[name].pop("attributes", None)
    return found
