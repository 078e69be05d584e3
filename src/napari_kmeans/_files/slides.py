"""Slides: tiled TIFF files with levels, of any size, of which only tiles are read.

`is_slide` says which files these are, and `open_slide` opens one as a `Pyramid`, of
which a store of OME-Zarr can be made. The laws of `tiff` hold before tifffile follows
anything; tiles are read by its store for zarr. What is not stored as it is shown is
left to `tiff`, which reads files as a whole.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._core.arrays import Array
from napari_kmeans._core.quality import white_of
from napari_kmeans._files import tiff
from napari_kmeans._files.formats import faults_in_words, refuse
from napari_kmeans._files.metadata import (
    LENGTHS,
    TIMES,
    ImageMetadata,
    Sizes,
    sizes_of,
    with_axes,
)
from napari_kmeans._files.pyramids import Pyramid
from napari_kmeans._files.tiff_colors import (
    is_stored_as_shown,
    kept_profile,
    refuse_unknown,
    shown_axes,
)

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

__all__ = ["SLIDE_SUFFIX", "is_slide", "open_slide"]

SLIDE_SUFFIX = ".svs"
# Values of an image without levels that is read as a whole.
_MOST_WHOLE = 1 << 28
# Luma and chroma in JPEG 2000, which nothing turns into RGB.
_APERIO_YCBCR = 33003
# Bytes of a tile that hold the header of its JPEG image.
_HEAD = 1 << 14
# OME-Zarr wants axes in the order of their types.
_TYPES = {"T": "time", "C": "channel", "S": "channel"} | dict.fromkeys("ZYX", "space")
_ORDER = "".join(_TYPES)
_RGB = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}


@dataclass(frozen=True)
class _Level:
    """One level of a slide, which each process opens for itself."""

    # File, its size and time, so that no other is read in its place, image and level.
    place: tuple[str, int, int, int, int]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, region: tuple[slice, ...]) -> Array:
        found: Array = _opened(*self.place)[region]
        return found


def is_slide(path: str | os.PathLike[str]) -> bool:
    """Whether a file is read tile by tile: a slide, or a large image in tiles.

    That is a TIFF file called .svs, or one in tiles that has levels, or more than 2^28
    values.
    """
    path = Path(path)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            if not tiff.is_tiff(file.read(4)):
                return False
            if path.suffix.lower() == SLIDE_SUFFIX:
                return True
            with _main_series(file) as (opened, number):
                main = opened.series[number]
                return len(main.levels) > 1 or math.prod(main.shape) > _MOST_WHOLE
    except (OSError, ValueError):  # Reading it as any other file tells what is wrong.
        return False


def open_slide(path: str | os.PathLike[str]) -> Pyramid:
    """Open a slide, which says of itself what a store of OME-Zarr 0.5 does.

    No pixel is read yet. Raises OSError if there is no such file, and ValueError if it
    is not known what its samples mean, or if they are not stored as they are shown.
    """
    path, status = os.path.abspath(path), os.stat(path)
    with open(path, "rb") as file, _main_series(file) as (opened, number):
        series = opened.series[number]
        for level in series.levels:
            if 0 in level.shape:
                refuse(f"the file holds no pixels: a level has the shape {level.shape}")
            tiff.check_segments(level, _HEAD)
        axes = shown_axes(series.keyframe, series.axes)
        metadata = ImageMetadata(icc_profile=kept_profile(series.keyframe, axes))
        metadata = with_axes(metadata, axes, _sizes(opened, number))
        levels = []
        for n in range(len(series.levels)):
            place = path, status.st_size, status.st_mtime_ns, number, n
            array = _opened(*place)
            levels.append(_Level(place, array.shape, array.chunks, array.dtype))
    return Pyramid(tuple(levels), metadata, {"ome": _described(levels, metadata)})


def _described(levels: list[_Level], metadata: ImageMetadata) -> dict[str, Any]:
    """Describe a slide as OME-Zarr 0.5 does, with its axes in that order."""
    sizes, axes, datasets = sizes_of(metadata), [], []
    order = sorted(metadata.axes, key=_ORDER.index)
    for letter in order:
        axes.append({"name": letter.lower().replace("s", "c"), "type": _TYPES[letter]})
        unit = sizes.get(letter, (1.0, "pixel"))[1]
        if unit in LENGTHS | TIMES:
            axes[-1]["unit"] = unit
    for n, level in enumerate(levels):
        ratios = np.divide(levels[0].shape, level.shape).tolist()
        steps = dict(zip(metadata.axes, ratios, strict=True))
        scale = [steps[letter] * sizes.get(letter, (1.0,))[0] for letter in order]
        moves = [{"type": "scale", "scale": scale}]
        datasets.append({"path": f"{n}", "coordinateTransformations": moves})
    name = Path(levels[0].place[0]).stem.removesuffix(".ome")
    image = {"name": name, "axes": axes, "datasets": datasets}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
    if "S" in order:
        white = float(white_of(levels[0].dtype))
        window = {"min": 0.0, "max": white, "start": 0.0, "end": white}
        channels = [{"label": n, "color": c, "window": window} for n, c in _RGB.items()]
        ome["omero"] = {"channels": channels}
    return ome


@contextlib.contextmanager
def _main_series(file: IO[bytes]) -> Iterator[tuple[TiffFile, int]]:
    """Open a TIFF file, and find the image that its other ones are previews of."""
    with faults_in_words(), tiff.open_tiff(file) as opened:
        is_tiled = len(opened.pages) > 0 and opened.pages.first.is_tiled
        if not is_tiled or (opened.is_ome and tiff.is_one_of_several(opened)):
            refuse("not a slide, which has one image in tiles")
        sizes = [math.prod(series.shape) for series in opened.series]
        number = sizes.index(max(sizes))
        others = [s for s in opened.series if s is not opened.series[number]]
        if any(len(series.levels) > 1 for series in others):
            refuse("the file holds several slides; save each as a file of its own")
        _refuse_strange(opened.series[number])
        yield opened, number


def _refuse_strange(series: TiffPageSeries) -> None:
    """Refuse samples that are not gray, RGB or channels as they are stored."""
    from tifffile import COMPRESSION, PHOTOMETRIC

    page, axes = series.keyframe, series.axes
    refuse_unknown(page, axes)
    is_plain = (
        is_stored_as_shown(page, axes)
        and int(page.compression) != _APERIO_YCBCR
        and int(page.tags.valueof("Orientation", 1)) == 1
        and re.fullmatch("T?Z?C?YXS?|T?C?Z?YXS?", axes)
        and not {"C", "S"} <= set(axes)
    )
    if not is_plain:
        kind, packed = PHOTOMETRIC(page.photometric), COMPRESSION(page.compression)
        refuse(
            f"a slide of kind {kind.name}, with axes {axes}, compressed by "
            f"{packed.name}, cannot be read; save it as gray or RGB"
        )


def _sizes(file: TiffFile, number: int) -> Sizes:
    """Return the size of a pixel along each axis and its unit, as far as known."""
    page = file.series[number].keyframe
    if found := re.search(r"\bMPP *= *(\d+(?:\.\d+)?)", page.description):
        return dict.fromkeys("YX", (float(found[1]), "micrometer"))
    # OME names the sizes of the first image.
    return {} if file.is_ome and number else tiff.sizes_of_pixels(file, page)


@functools.lru_cache(maxsize=64)
def _opened(path: str, size: int, time: int, number: int, level: int) -> Any:
    """Open a level as an array of zarr, once in a process; any thread may read it."""
    import zarr
    from tifffile import TiffFile

    status = os.stat(path)
    if (status.st_size, status.st_mtime_ns) != (size, time):
        msg = f"{path} has changed since it was opened"
        raise ValueError(msg)
    # The store opens the file again to read, and keeps it open.
    with TiffFile(path, is_ndtiff=False) as file:
        store = file.series[number].aszarr(level=level)
    # Of version 2 or 3, as tifffile sees fit.
    array = zarr.open_array(store, mode="r")
    weakref.finalize(array, store.close)
    return array
