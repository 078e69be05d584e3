"""OME-Zarr and plain arrays of zarr: read as pyramids, and made like those read.

`open_store` returns a folder as a `Pyramid`. A store in few colors has the same JSON,
and arrays of the same layout: the version of zarr, chunks, shards, codecs, names of
files. Its attributes say, too, how it was made: `write_record` begins a store, which is
no image before the record is complete. `create_arrays` makes what pixels are written to
by `write_missing`, and `describe_labels` says what labels are. zarr is imported where
it is used, and stores are in local folders.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from napari_kmeans._core.arrays import Array
from napari_kmeans._files.formats import faults_in_words, refuse
from napari_kmeans._files.metadata import ImageMetadata, canonical_unit, with_axes
from napari_kmeans._files.pyramids import Pyramid, Region, without

__all__ = [
    "STORE_SUFFIXES",
    "begin_store",
    "check_target",
    "create_arrays",
    "describe_labels",
    "identity_of",
    "is_image",
    "is_store",
    "is_store_name",
    "open_store",
    "record_of",
    "remove_store",
    "require_zarr",
    "target_axis",
    "unwritten",
    "write_missing",
    "write_record",
]

# Of an image of OME-Zarr, and of an array.
STORE_SUFFIXES = (".ome.zarr", ".zarr")
# The attribute that has the record, and the labels that are written.
_RECORD, _LABELS = "napari-kmeans", "labels/colors"
# Files of a group or an array. The last two have the attributes.
_NODE_FILES = (".zarray", ".zgroup", ".zattrs", "zarr.json")
# Codecs that give back what they were given.
_LOSSLESS = {
    *("bytes", "transpose", "shuffle", "blosc", "zstd", "gzip", "zlib", "lz4"),
    *("bz2", "lzma", "crc32", "crc32c", "adler32", "fletcher32"),
}
_RGB = ["FF0000", "00FF00", "0000FF"]
# Chunks that zarr reads and writes together: one by one, small ones take half as long
# again. An array keeps what it was opened with.
_TOGETHER = {"codec_pipeline.batch_size": 16}
# Paths that are shown where one is to be chosen.
_N_CHOICES = 5
# Rows and columns of a chunk where the source is no store.
_SIDE = 1024


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder with metadata of zarr."""
    return any((Path(path) / name).is_file() for name in _NODE_FILES)


def is_store_name(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a store of zarr, which need not be there."""
    return Path(name).suffix.lower() in STORE_SUFFIXES


def open_store(path: str | os.PathLike[str]) -> Pyramid:
    """Open an OME-Zarr image of version 0.4 or 0.5, or an array of zarr.

    Raises ValueError if it is neither, or a group of several images.
    """
    require_zarr()
    import zarr

    with faults_in_words(), zarr.config.set(_TOGETHER):
        root: Any = zarr.open(os.fspath(path), mode="r")
        told = root.attrs.asdict()
        is_array = isinstance(root, zarr.Array)
        if not is_array:
            _check_single(os.fspath(path), root)
        inner = [] if is_array else _level_paths(told)
        for name in inner:
            if name not in root:
                refuse(f"it has no level {name!r}")
        levels = tuple(root[name] for name in inner) or (root,)
        about = _array_metadata(root) if is_array else _image_metadata(told)
        letters = set(about.axes)
        if any(0 in level.shape for level in levels):
            refuse(f"it holds no pixels: {[level.shape for level in levels]}")
        if {a.ndim for a in levels} != {len(letters)} or not {"Y", "X"} <= letters:
            refuse(f"its axes must be y, x and some of t, c, z, got {about.axes!r}")
    if levels[0].dtype == np.uint8 and _is_rgb(told):
        about = with_axes(about, about.axes.replace("C", "S"))
    return Pyramid(levels, about, told)


def record_of(path: Path) -> dict[str, Any] | None:
    """Return how a store was made, nothing of other images, and None of other folders.

    What is left of a store that is being removed is enough.
    """
    told: dict[str, Any] = {}
    with faults_in_words():
        for name in _NODE_FILES[2:]:
            if (path / name).is_file():
                node = json.loads((path / name).read_bytes())
                told |= node if name == ".zattrs" else node.get("attributes", {})
        found = told.get(_RECORD, {} if is_image(told) else None)
        if not isinstance(found, dict | None):
            refuse(f"its record must be an object of JSON, got {found!r}")
    return found


def target_axis(pyramid: Pyramid) -> int | None:
    """Return the axis of the channels in a store that is made of a pyramid."""
    if not is_image(pyramid.attributes):
        return pyramid.channel_axis
    axis = _image_metadata(pyramid.attributes).axes.find("C")
    return None if axis < 0 else axis


def identity_of(path: str | os.PathLike[str]) -> str:
    """Return a number for a file or all of a folder: their names, sizes and times."""
    digest, top = hashlib.sha256(), os.fspath(path)
    tree = os.walk(top) if os.path.isdir(top) else [("", [], [top])]
    for name in sorted(os.path.join(folder, n) for folder, _, ns in tree for n in ns):
        found = os.stat(name)
        told = name.removeprefix(top), found.st_size, found.st_mtime_ns
        digest.update(repr(told).encode())
    return digest.hexdigest()


def check_target(pyramid: Pyramid, with_labels: bool) -> None:
    """Refuse labels beside an array, and codecs that would change colors of a palette.

    There are none of these where the source is no store.
    """
    import zarr

    if with_labels and not is_image(pyramid.attributes):
        msg = "labels are written for OME-Zarr images, not for plain arrays"
        raise ValueError(msg)
    for level in (each for each in pyramid.levels if isinstance(each, zarr.Array)):
        others = filter(None, [level.serializer])
        for codec in (*level.filters, *level.compressors, *others):
            name = getattr(codec, "codec_id", None) or codec.to_dict()["name"]
            if name.removeprefix("numcodecs.") not in _LOSSLESS:
                msg = f"codec {name!r} may change colors; store the image without it"
                raise ValueError(msg)


def begin_store(path: Path, pyramid: Pyramid, record: dict[str, Any]) -> None:
    """Put a store with nothing but its record in the place of nothing, or of no files.

    It comes as a whole: of half a node, nobody knows whose it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    how: Any = {"prefix": f".{path.name}", "ignore_cleanup_errors": True}
    with tempfile.TemporaryDirectory(dir=path.parent, **how) as made:
        new = Path(made) / "store"
        write_record(new, pyramid, record)
        if path.exists():
            path.rmdir()
        new.rename(path)


def write_record(path: Path, pyramid: Pyramid, record: dict[str, Any]) -> None:
    """Write how a store is made; it is an image if the record is complete."""
    import zarr

    hidden = () if record["is_complete"] else ("ome", "multiscales")
    told = {n: value for n, value in pyramid.attributes.items() if n not in hidden}
    told[_RECORD] = record
    if is_image(pyramid.attributes):
        _write_group(path, pyramid, told)
    elif is_store(path):
        zarr.open_array(os.fspath(path), mode="r+").attrs.put(told)
    else:
        _create_level(path, "", pyramid, pyramid.levels[0], told)


def create_arrays(
    path: Path, pyramid: Pyramid, label_type: DTypeLike | None
) -> list[list[Any]]:
    """Open the arrays of all levels, each with its labels if these have a type.

    What is not there is made, and what a process that was killed left is removed.
    """
    for leftover in path.rglob("*.partial"):
        leftover.unlink()
    arrays: list[list[Any]] = []
    paths, axis = _level_paths(pyramid.attributes), target_axis(pyramid)
    for name, level in zip(paths, pyramid.levels, strict=True):
        if not _is_made(path / name):
            _create_level(path, name, pyramid, level, getattr(level, "attrs", {}))
        arrays.append([_open_array(path, name)])
        inner = f"{_LABELS}/{name}"
        if label_type is not None:
            if not _is_made(path / inner):
                _create_labels(arrays[-1][0], inner, axis, label_type)
            arrays[-1].append(_open_array(path, inner))
    return arrays


def describe_labels(path: Path, pyramid: Pyramid, shown: Array) -> None:
    """Make labels those of the image, and say in which colors (K, 3) they are shown."""
    image, axis = _multiscale(pyramid.attributes), target_axis(pyramid)
    group, name = _LABELS.split("/")
    version = {"version": pyramid.attributes.get("ome", {}).get("version", "0.4")}
    # In 0.5, it stands once, above all else.
    inner, outer = ({}, version) if "ome" in pyramid.attributes else (version, {})

    def spatial(told: Any) -> Any:
        """Leave the channels out of what transformations say of each axis."""
        if isinstance(told, dict):
            return {key: spatial(value) for key, value in told.items()}
        if not isinstance(told, list):
            return told
        are_numbers = not any(isinstance(each, dict) for each in told)
        return list(without(told, axis)) if are_numbers else list(map(spatial, told))

    places = ("datasets", "coordinateTransformations")
    multiscale = {key: spatial(image[key]) for key in places if key in image} | inner
    multiscale |= {"name": name, "axes": list(without(image["axes"], axis))}
    colors = [
        {"label-value": i, "rgba": [*color, 255]}
        for i, color in enumerate(shown.tolist(), 1)
    ]
    label = {"colors": colors, "source": {"image": "../../"}, **inner}
    told = {"multiscales": [multiscale], "image-label": label}
    for place, some in ((_LABELS, told), (group, {"labels": [name]})):
        _write_group(path / place, pyramid, {"ome": outer | some} if outer else some)


def remove_store(path: Path) -> None:
    """Remove a store, and at last what tells that it was one."""
    # Nothing goes on with a part of it.
    mark: dict[str, Any] = {_RECORD: {}}
    for name, told in ((".zattrs", mark), ("zarr.json", {"attributes": mark})):
        if (path / name).is_file():
            new = path / f"{name}.partial"
            new.write_text(json.dumps(told))
            new.replace(path / name)
    for found in sorted(path.iterdir(), key=lambda each: each.name in _NODE_FILES[2:]):
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink()
    path.rmdir()


def unwritten(array: Any, region: Region) -> list[Region]:
    """Return the shards or chunks of a region without a file, or it if none has one."""
    steps = array.shards or array.chunks
    folder = os.path.join(array.store.root, array.path)
    grid = (range(s.start, s.stop, n) for s, n in zip(region, steps, strict=True))
    n_units, left = 0, []
    for start in itertools.product(*grid):
        n_units += 1
        sides = list(zip(start, steps, strict=True))
        key = array.metadata.encode_chunk_key(tuple(i // n for i, n in sides))
        if not os.path.exists(os.path.join(folder, key)):
            left.append(tuple(slice(i, i + n) for i, n in sides))
    return [region] if len(left) == n_units else left


def write_missing(array: Any, region: Region, values: Array) -> None:
    """Write values to a region, but not to shards or chunks that have a file."""
    for part in unwritten(array, region):
        sides = zip(part, region, strict=True)
        inside = (slice(s.start - r.start, s.stop - r.start) for s, r in sides)
        array[part] = values[tuple(inside)]


def require_zarr() -> None:
    """Refuse a zarr that may write a part of a chunk, and none at all."""
    try:
        version = metadata.version("zarr")
    except metadata.PackageNotFoundError:
        version = "none"
    if [*map(int, re.findall(r"\d+", version))] < [3, 1, 3]:
        msg = f"zarr must be 3.1.3 or later, got {version}"
        raise ImportError(msg)


def _ome(told: dict[str, Any]) -> Any:
    """Return what attributes say of an image: those of 0.5 say it in one place."""
    return told.get("ome", told)


def is_image(told: dict[str, Any]) -> bool:
    """Whether attributes are those of an OME-Zarr image."""
    return "multiscales" in _ome(told)


def _is_rgb(told: dict[str, Any]) -> bool:
    """Whether viewers show the channels as red, green and blue."""
    channels = _ome(told).get("omero", {}).get("channels", [])
    return [str(each.get("color")).upper() for each in channels] == _RGB


def _multiscale(told: dict[str, Any]) -> Any:
    return _ome(told)["multiscales"][0]


def _level_paths(told: dict[str, Any]) -> list[str]:
    """Return the paths of levels in a group; an array has one level without a path."""
    if not is_image(told):
        return [""]
    return [level["path"] for level in _multiscale(told)["datasets"]]


def _check_single(path: str, group: Any) -> None:
    """Refuse a group that is not one image, and say where there are some."""
    ome = _ome(group.attrs.asdict())
    if "image-label" in ome:
        refuse(f"{path} holds labels, not an image")
    images = ome.get("multiscales", [])
    if len(images) != 1 or ome.keys() & {"plate", "well", "bioformats2raw.layout"}:
        some = list(itertools.islice(_images(path), _N_CHOICES + 1))
        listed = ", ".join(some[:_N_CHOICES]) + ", ..." * (len(some) > _N_CHOICES)
        refuse(f"{path} is not a single image; choose one of: {listed or 'none'}")
    version = ome.get("version") or images[0].get("version", "0.4")
    if version not in ("0.4", "0.5"):
        refuse(f"OME-Zarr must be of version 0.4 or 0.5, got {version}")


def _images(path: str) -> Iterator[str]:
    """Yield the paths of images in a group, and of arrays that belong to none."""
    import zarr

    # Where one of its members is damaged, those of zarr print what happened.
    for name in sorted(os.listdir(path)):
        inner = f"{path}/{name}"
        if is_store(inner):
            node = zarr.open(inner, mode="r")
            if isinstance(node, zarr.Array) or is_image(node.attrs.asdict()):
                yield inner
            elif name != "labels":
                yield from _images(inner)


def _image_metadata(told: dict[str, Any]) -> ImageMetadata:
    """Return what the attributes of an image say of its full resolution."""
    image, kinds = _multiscale(told), {"channel": "C", "time": "T"}
    axes, scale = image["axes"], np.ones(len(image["axes"]))
    names = [kinds.get(a.get("type")) or a["name"][0].upper() for a in axes]
    for each in (image["datasets"][0], image):
        for moved in each.get("coordinateTransformations", []):
            scale *= moved.get("scale", 1)
    sizes = {
        name: (size, canonical_unit(axis.get("unit", "")))
        for name, size, axis in zip(names, scale.tolist(), axes, strict=True)
        if size != 1 or "unit" in axis
    }
    return with_axes(ImageMetadata(), "".join(names), sizes)


def _array_metadata(array: Any) -> ImageMetadata:
    """Return the axes of an array: a last one of 3 or 4 entries has colors."""
    names = getattr(array.metadata, "dimension_names", None) or ()
    named = [i for i, name in enumerate(names) if name in ("c", "channel")]
    is_color = array.ndim > 2 and array.shape[-1] in (3, 4) and not named
    letters = list("TZYX"[-(array.ndim - len(named) - is_color) :])
    for axis in named:
        letters.insert(axis, "C")
    return with_axes(ImageMetadata(), "".join(letters) + "S" * is_color)


def _write_group(path: Path, pyramid: Pyramid, told: dict[str, Any]) -> None:
    """Make a group in the version of a pyramid, or give it other attributes."""
    import zarr

    like: Any = getattr(pyramid.levels[0], "metadata", None)
    version = getattr(like, "zarr_format", 3)
    # A group that is new has its attributes at once; `put` empties what it was given.
    how: Any = {"mode": "a", "zarr_format": version, "attributes": {**told}}
    zarr.open_group(os.fspath(path), **how).attrs.put(told)


def _is_made(path: Path) -> bool:
    """Whether an array has all metadata: a kill may leave one of two files of v2."""
    names = {name for name in _NODE_FILES if (path / name).is_file()}
    return "zarr.json" in names or {".zarray", ".zattrs"} <= names


def _open_array(path: Path, name: str) -> Any:
    import zarr

    # The array keeps it: where nothing is written, nobody knows what is done.
    with zarr.config.set(_TOGETHER | {"array.write_empty_chunks": True}):
        return zarr.open_array(os.fspath(path), path=name, mode="r+")


def _create_level(
    path: Path, name: str, pyramid: Pyramid, level: Any, told: Any
) -> None:
    """Make an array like a level, or one of its size if that is in no store."""
    import zarr

    if isinstance(level, zarr.Array):
        like: Any = {"data": level, "write_data": False, "attributes": dict(told)}
        like |= {"name": name or None, "fill_value": level.fill_value}
        like["overwrite"] = True
        zarr.from_array(os.fspath(path), **like)
        return
    letters = pyramid.metadata.axes.replace("S", "C")
    sizes = dict(zip(letters, level.shape, strict=True))
    axes = _image_metadata(pyramid.attributes).axes
    zarr.create_array(
        os.fspath(path),
        name=name,
        shape=tuple(map(sizes.__getitem__, axes)),
        chunks=tuple(min(sizes[a], _SIDE if a in "YX" else 1) for a in axes),
        dtype=level.dtype,
        overwrite=True,
        dimension_names=[a["name"] for a in _multiscale(pyramid.attributes)["axes"]],
    )


def _create_labels(image: Any, name: str, axis: int | None, dtype: DTypeLike) -> None:
    """Make an array for labels, like that of an image but for the channels."""
    import zarr

    told, spatial = image.metadata, partial(without, axis=axis)
    names = getattr(told, "dimension_names", None)
    keys = {"name": "v2", "separator": getattr(told, "dimension_separator", "/")}
    zarr.create_array(
        image.store,
        name=name,
        shape=spatial(image.shape),
        chunks=spatial(image.chunks),
        shards=image.shards and spatial(image.shards),
        dtype=dtype,
        overwrite=True,
        compressors=image.compressors,
        zarr_format=told.zarr_format,
        chunk_key_encoding=getattr(told, "chunk_key_encoding", keys),
        dimension_names=names and spatial(names),
    )
