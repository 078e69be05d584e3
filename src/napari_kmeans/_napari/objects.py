"""Chosen clusters of a labels layer as a layer of their own: a class, or objects.

`separate_objects` is the public function. It reads the labels plane by plane, or volume
by volume, each of which becomes a `_Frame`: its objects, and sums over their pixels
that the features are made of (`_features`). Which axes are space is left to `axes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer

from napari_kmeans._core.arguments import checked_integer
from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._core.blocks import checkpoint, cut_boxes, tell
from napari_kmeans._napari.axes import (
    called_channels,
    pixel_area,
    pixel_sizes,
    space_axes,
)
from napari_kmeans._napari.computation import LayerError
from napari_kmeans._napari.layers import fits_in_memory, quoted, read_array
from napari_kmeans._napari.placement import levels_of, placement_of, world_matrix
from napari_kmeans._napari.record import record_of

__all__ = ["separate_objects"]

Index: TypeAlias = tuple[int | slice, ...]
# Columns of features, which no axis is called by.
_COLUMNS = (
    *("index", "pixels", "area", "area_unit", "equivalent_diameter", "eccentricity"),
    "mean",
)


class _Channel(NamedTuple):
    """Intensities to be averaged over objects."""

    # Of the column of features.
    name: str
    data: Any
    # Axis of the data that channels are along, and which of them this is.
    axis: int | None
    number: int
    # Whether labels have the axis, too.
    is_shared: bool

    def read(self, at: Index) -> Array:
        """Read the part that lies at `at` in the labels."""
        if self.axis is not None:
            after = self.axis + self.is_shared
            at = (*at[: self.axis], self.number, *at[after:])
        return read_array(self.data, at)


class _Wanted(NamedTuple):
    """What `separate_objects` is asked for."""

    numbers: list[int]
    space: tuple[int, ...]
    channels: list[_Channel]
    connected: bool
    smallest: int


class _Frame(NamedTuple):
    """A plane or volume."""

    # Its place along the axes that are not space.
    place: tuple[int, ...]
    # A column for each object, see `_sums`.
    sums: Floats


def separate_objects(
    labels: Labels,
    clusters: int | str | Sequence[int | str],
    *,
    connected: bool = True,
    smallest: int = 1,
    image: Image | Sequence[Image] | None = None,
    axes: Sequence[int] | None = None,
    viewer: Viewer | None = None,
) -> Labels:
    """Return a new labels layer of the pixels that are in chosen clusters.

    Each object, which is a set of connected pixels, gets a number of its own, or all
    pixels become one class. The new layer lies on `labels`, which stays as it is.

    Parameters
    ----------
    labels : napari.layers.Labels
        Labels such as those of `quantize_layer`; the finest level if it has several.
    clusters : int, str or sequence of these
        The numbers of labels, from 1 on, or names in the column ``name`` of the layer's
        features. A name that several labels have stands for all of them.
    connected : bool, optional
        True for objects, numbered from 1 on. False for one class, of label 1.
    smallest : int, optional
        Pixels that an object has at least. Smaller objects are left out, also of a
        class.
    image : napari.layers.Image or sequence of these, optional
        Images to measure, of the shape of the labels, or with one more axis for
        channels. This is the axis of RGB, or is called c, channel or channels, or is
        the `channel_axis` that the labels were made with.
    axes : sequence of int, optional
        The two or three axes of the labels that are space. By default, these are the
        last three, or fewer, without axes called t, time, c, channel or channels, axes
        in a unit of time, and those of the channels and of slices with palettes of
        their own that the labels were made with.
    viewer : napari.Viewer, optional
        Viewer to add the new layer to. Then the call must come from the main thread.
        Without it, any thread may call, and nothing is added to any viewer.

    Returns
    -------
    layer : napari.layers.Labels
        Labels of the narrowest unsigned integers that hold them, and 0 for all other
        pixels, with features as below.

    Raises
    ------
    TypeError
        If `labels` is no labels layer, an `image` is no image layer, a cluster is
        neither an integer nor a string, or `smallest` or an axis is no integer.
    ValueError
        If there is no such cluster, none is chosen, `smallest` is below 1, `axes` are
        not two or three axes of the labels, the shape of an `image` is another one, or
        there is not enough memory.
    OSError
        If lazy data cannot be read.

    See Also
    --------
    quantize_layer : Return labels, to choose clusters of.

    Notes
    -----
    Pixels are connected if they touch by a face, an edge or a corner, within a plane or
    volume: never across time, channels, or slices with palettes of their own. Chosen
    clusters that touch are one object. Objects are numbered frame by frame, and in a
    frame in the order of their first pixels.

    The features have a row for each object, in the order of their numbers:

    - ``index``: its number;
    - its place along each axis that is not space, under the name of the axis, or
      ``axis 0`` and so on if it has none;
    - ``pixels``, ``area``, ``area_unit``: its area, or its volume, in units of the
      layer such as µm²;
    - ``centroid y``, ``centroid x`` and so on: its center, in the world;
    - ``equivalent_diameter``: that of the circle, or ball, of its area;
    - ``eccentricity``: from 0 for a circle to 1 for a line, of planes only, where
      pixels are as large as the layer's scale says;
    - ``mean``: its mean intensity. For each of several channels, this is ``mean red``
      (green, blue, alpha), or ``mean`` with the name of the layer, or with the number
      of the channel.

    They are as in `skimage.measure.regionprops`. A class has one row for all frames,
    with ``index``, ``pixels``, ``area``, ``area_unit`` and means.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Labels
    >>> from napari_kmeans import separate_objects
    >>> labels = Labels(np.array([[1, 1, 2, 1], [2, 2, 2, 3]]))
    >>> separate_objects(labels, 1).data
    array([[1, 1, 0, 2],
           [0, 0, 0, 0]], dtype=uint8)
    >>> separate_objects(labels, [1, 3], smallest=2).features["pixels"].tolist()
    [2, 2]
    """
    if not isinstance(labels, Labels):
        msg = f"labels must be a Labels layer, got {labels!r}"
        raise TypeError(msg)
    smallest = checked_integer("smallest", smallest, None, None)
    if smallest < 1:
        msg = f"smallest must be at least 1 pixel, got {smallest}"
        raise ValueError(msg)
    names, numbers = _checked_clusters(labels, clusters)
    space = _checked_axes(labels, axes)
    images: Any = () if image is None else image
    # Proxies of layers say that they are iterable, too.
    if isinstance(images, Layer) or not isinstance(images, Iterable):
        images = (images,)
    channels = _channels(labels, list(images))
    wanted = _Wanted(numbers, space, channels, connected, smallest)
    found, frames = _found(labels, wanted)
    table = (_features if connected else _features_of_class)(labels, wanted, frames)
    name = f"{' + '.join(dict.fromkeys(names))} of {labels.name}"
    layer = Labels(found, name=name, features=table, **placement_of(labels))
    if viewer is not None:
        viewer.add_layer(layer)
    return layer


# The door.


def _checked_clusters(labels: Labels, clusters: Any) -> tuple[list[str], list[int]]:
    """Return what clusters are called, and the numbers of their labels."""
    is_one = isinstance(clusters, str) or not isinstance(clusters, Iterable)
    names: list[str] = []
    numbers: list[int] = []
    features, known = labels.features, f"{quoted(labels.name)} has no cluster called"
    for cluster in [clusters] if is_one else clusters:
        names.append(cluster if isinstance(cluster, str) else f"cluster {cluster}")
        if isinstance(cluster, str):
            named = {"index", "name"} <= set(features) and cluster != ""
            found = features["index"][features["name"] == cluster] if named else []
            if not len(found):
                msg = f"clusters: {known} {cluster!r}"
                raise ValueError(msg)
            numbers += map(int, found)
        elif isinstance(cluster, bool) or not isinstance(cluster, int | np.integer):
            msg = f"clusters must be label numbers and names, got {cluster!r}"
            raise TypeError(msg)
        elif cluster < 1:
            msg = f"clusters must be label numbers from 1 on, got {cluster}"
            raise ValueError(msg)
        else:
            numbers.append(int(cluster))
    if not numbers:
        msg = f"clusters must be at least one, got {clusters!r}"
        raise ValueError(msg)
    return names, numbers


def _checked_axes(labels: Labels, axes: Sequence[int] | None) -> tuple[int, ...]:
    """Return the axes that are space, counted from the first."""
    n = labels.ndim
    if axes is None:
        axes = space_axes(labels)
    given = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    if not all(isinstance(axis, int | np.integer) for axis in given):
        msg = f"axes must be integers, got {given}"
        raise TypeError(msg)
    space = sorted({axis % n for axis in given if -n <= axis < n})
    if len(space) != len(given) or len(space) not in (2, 3):
        name = quoted(labels.name)
        msg = f"axes of space must be two or three of the {n} of {name}, got {given}"
        raise ValueError(msg)
    return tuple(space)


def _channels(labels: Labels, images: list[Any]) -> list[_Channel]:
    """Return all channels of images that have the shape of labels."""
    found: list[_Channel] = []
    for image in images:
        if not isinstance(image, Image):
            msg = f"image must be one Image layer or several, got {image!r}"
            raise TypeError(msg)
        name = f"mean {image.name}" if len(images) > 1 else "mean"
        data, (axis, is_shared) = levels_of(image)[0], _channel_axis(labels, image)
        words = ["red", "green", "blue", "alpha"] if image.rgb else count()
        n = 1 if axis is None else data.shape[axis]
        for number, word in zip(range(n), words, strict=False):
            column = name if axis is None else f"{name} {word}"
            found.append(_Channel(column, data, axis, number, is_shared))
    columns = [channel.name for channel in found]
    if len(set(columns)) < len(columns):
        msg = f"image must be layers of different names, got {columns}"
        raise ValueError(msg)
    return found


def _channel_axis(labels: Labels, image: Image) -> tuple[int | None, bool]:
    """Return the axis of channels of an image, and whether labels have it, too."""
    theirs, ours = tuple(levels_of(image)[0].shape), tuple(levels_of(labels)[0].shape)
    if theirs == ours:
        return None, False
    record = record_of(labels)
    known = [called_channels(image), None if record is None else record.channel_axis]
    axes = [axis for axis in known if axis is not None]
    for axis in [len(theirs) - 1] if image.rgb else axes:
        for length in ((), (1,)):
            if (*theirs[:axis], *length, *theirs[axis + 1 :]) == ours:
                return axis, bool(length)
    msg = (
        f"image must have the shape {ours} of {quoted(labels.name)}, or one more "
        f"axis for channels, got {theirs} of {quoted(image.name)}"
    )
    raise ValueError(msg)


# The objects.


def _found(labels: Labels, wanted: _Wanted) -> tuple[Array, list[_Frame]]:
    """Return the labels of the new layer, and what is in each frame."""
    data = levels_of(labels)[0]
    shape = tuple(data.shape)
    others = [axis for axis in range(len(shape)) if axis not in wanted.space]
    _check_memory(labels, math.prod(shape), math.prod(shape[a] for a in wanted.space))
    listed = set(labels.features.get("index", ()))
    missing = [number for number in wanted.numbers if number not in listed]
    found = np.zeros(shape, dtype=np.uint32)
    frames: list[_Frame] = []
    n_objects, places = 0, list(np.ndindex(*(shape[axis] for axis in others)))
    for i, place in enumerate(places):
        checkpoint()
        tell(i, len(places))
        at: list[int | slice] = [slice(None)] * len(shape)
        for axis, number in zip(others, place, strict=True):
            at[axis] = number
        pixels = read_array(data, tuple(at))
        missing = [number for number in missing if not (pixels == number).any()]
        objects, n = _objects(np.isin(pixels, wanted.numbers), wanted)
        values = [channel.read(tuple(at)) for channel in wanted.channels]
        frames.append(_Frame(place, _sums(objects, n, values)))
        if wanted.connected:
            np.add(objects, n_objects, out=objects, where=objects > 0)
            n_objects += n
        found[tuple(at)] = objects
    if missing:
        msg = f"clusters: {quoted(labels.name)} has no label {missing[0]}"
        raise ValueError(msg)
    return found.astype(np.min_scalar_type(n_objects), copy=False), frames


def _check_memory(labels: Labels, n_pixels: int, n_of_frame: int) -> None:
    """Raise LayerError if labels, and what is made of them, do not fit in memory."""
    # What is read, new labels in four bytes and again in fewer, and within a frame
    # numbers of eight bytes, twice.
    itemsize = np.dtype(labels.dtype).itemsize
    if not fits_in_memory(8 * n_pixels + (16 + itemsize) * n_of_frame):
        msg = f"{quoted(labels.name)} is too large for the free memory: take a crop"
        raise LayerError(msg)


def _objects(inside: Array, wanted: _Wanted) -> tuple[Array, int]:
    """Return the pixels of a frame by the numbers of their objects, and how many."""
    from skimage.measure import label

    objects, n = inside, 1
    if wanted.connected or wanted.smallest > 1:
        checkpoint()
        objects, n = label(inside, return_num=True, connectivity=inside.ndim)
        checkpoint()
    if wanted.smallest > 1:
        is_kept = np.bincount(objects.ravel(), minlength=n + 1) >= wanted.smallest
        is_kept[0] = False
        numbers = np.where(is_kept, np.cumsum(is_kept), 0).astype(np.uint32)
        objects, n = numbers[objects], int(is_kept.sum())
        checkpoint()
    return (objects, n) if wanted.connected else ((objects > 0).astype(np.uint8), 1)


def _sums(objects: Array, n: int, values: list[Array]) -> Floats:
    """Return sums over the pixels of each of the `n` objects of a frame.

    The rows are the number of pixels, the sum of each coordinate, in planes that of
    their products (yy, yx, xx), and that of each of the `values`.
    """
    pairs = [(0, 0), (0, 1), (1, 1)] if objects.ndim == 2 else []
    sums = np.zeros((1 + objects.ndim + len(pairs) + len(values), n + 1))
    # Large blocks, for each costs as much as there are objects.
    for box in cut_boxes(objects.shape, 1):
        part = objects[box]
        at = np.nonzero(part)
        numbers = part[at]
        if not len(numbers):
            continue
        coordinates = [i + side.start for i, side in zip(at, box, strict=True)]
        terms = [
            None,
            *coordinates,
            *(coordinates[i] * coordinates[j] for i, j in pairs),
        ]
        terms += [value[box][at] for value in values]
        for row, term in zip(sums, terms, strict=True):
            row += np.bincount(numbers, term, n + 1)
    return sums[:, 1:]


# Their features.


def _features(labels: Labels, wanted: _Wanted, frames: list[_Frame]) -> Any:
    """Return a row for each object."""
    import pandas as pd

    space, names = wanted.space, _axis_names(labels, wanted.space)
    others = [axis for axis in range(labels.ndim) if axis not in space]
    sums = np.concatenate([frame.sums for frame in frames], axis=1)
    n = sums.shape[1]
    table: dict[str, Any] = {"index": np.arange(1, n + 1)}
    coordinates = np.ones((labels.ndim + 1, n))
    n_of_frames = [frame.sums.shape[1] for frame in frames]
    for i, axis in enumerate(others):
        coordinates[axis] = np.repeat([frame.place[i] for frame in frames], n_of_frames)
        table[names[axis]] = coordinates[axis].astype(np.int64)
    table |= _areas(labels, wanted, sums[0])
    coordinates[list(space)] = sums[1 : 1 + len(space)] / sums[0]
    centers = world_matrix(labels) @ coordinates
    for axis in space:
        table[f"centroid {names[axis]}"] = centers[axis]
    # As in scikit-image, for planes and volumes.
    n_axes = len(space)
    table["equivalent_diameter"] = (2 * n_axes * table["area"] / np.pi) ** (1 / n_axes)
    if n_axes == 2:
        table["eccentricity"] = _eccentricity(sums, pixel_sizes(labels, space))
    return pd.DataFrame(table | _means(wanted, sums))


def _features_of_class(labels: Labels, wanted: _Wanted, frames: list[_Frame]) -> Any:
    """Return a row for all pixels."""
    import pandas as pd

    sums = np.sum([frame.sums for frame in frames], axis=0)
    table = {"index": np.array([1])} | _areas(labels, wanted, sums[0])
    return pd.DataFrame(table | _means(wanted, sums))


def _areas(labels: Labels, wanted: _Wanted, pixels: Floats) -> dict[str, Any]:
    """Return the columns that tell how large objects are."""
    size, unit = pixel_area(labels, wanted.space)
    areas = {"pixels": pixels.astype(np.int64), "area": pixels * size}
    return areas | {"area_unit": [unit] * len(pixels)}


def _means(wanted: _Wanted, sums: Floats) -> dict[str, Any]:
    """Return the column of each channel; NaN where there is no pixel."""
    names = [channel.name for channel in wanted.channels]
    with np.errstate(invalid="ignore"):
        return dict(zip(names, sums[len(sums) - len(names) :] / sums[0], strict=True))


def _eccentricity(sums: Floats, sizes: list[float]) -> Floats:
    """Return the eccentricity of the ellipse of the same second moments."""
    n, y, x, yy, yx, xx = sums[:6]
    # Integers that floats hold, so that the moments of small objects are exact.
    moments = np.stack([n * yy - y * y, n * yx - y * x, n * yx - y * x, n * xx - x * x])
    moments = moments.T.reshape(-1, 2, 2) * np.outer(sizes, sizes)
    small, large = np.linalg.eigvalsh(moments).T
    share = np.divide(small, large, out=np.ones_like(large), where=large > 0)
    eccentricity: Floats = np.sqrt(np.clip(1 - share, 0, 1))
    return eccentricity


def _axis_names(labels: Labels, space: tuple[int, ...]) -> list[str]:
    """Return what columns call the axes of labels, all of them differently."""
    names = list(labels.axis_labels)
    pairs = zip(space[::-1], "xyz", strict=False)
    unnamed = {axis: letter for axis, letter in pairs if letter not in names}
    taken = {name for name in names if names.count(name) > 1} | set(_COLUMNS)
    return [
        unnamed.get(axis, f"axis {axis}")
        if name in taken or name.lstrip("-").isdigit()
        else name
        for axis, name in enumerate(names)
    ]
