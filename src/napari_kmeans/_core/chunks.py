"""dask's two ends: what is found in chunks of lazy arrays, and what is made of them.

`fold_chunks` reads images (..., C) of dask once, in groups of chunks, and merges what
is found in each group in a tree, on whatever scheduler dask is set to. `map_chunks` is
the other end: a lazy array, of which every chunk is made of that of an image, and
`visit_places` is for those who read and write files by themselves. Masks are cut as
their images are, and images as their labels are (`map_pairs`). What is done with a
chunk is left to the caller; dask is imported where it is used.
"""

from __future__ import annotations

import itertools
import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from napari_kmeans._core.arguments import is_lazy, plain_array
from napari_kmeans._core.arrays import Array, Mask
from napari_kmeans._core.blocks import checkpoint, is_watched, tell

__all__ = [
    "callbacks_with",
    "fold_chunks",
    "map_chunks",
    "map_pairs",
    "visit_places",
    "whole_planes",
]

Found = TypeVar("Found")
# Tasks of dask by their keys.
_Graph: TypeAlias = dict[Any, Any]

# Bytes of the chunks that a task reads: 32 megapixels of RGB. Tables of all colors are
# scanned once for each task.
_GROUP = 96 << 20
# Findings that are merged at once: all of them are in memory.
_FAN = 4
# Seconds between two looks at what a cluster has done.
_PAUSE = 0.05


def fold_chunks(
    images: list[Array],
    masks: list[Mask | None],
    work: Callable[[list[Array], list[Mask | None]], Found],
    merge: Callable[[list[Found]], Found],
    verb: str = "count",
) -> Found:
    """Return what `work(images, masks)` finds in groups of chunks, merged to one.

    Any of the images may be lazy. The place of masks may be taken by other arrays that
    have a number for each pixel, as labels. `merge` takes up to four findings in their
    order. Dashboards show the tasks by the verb, such as count-colors and merge-counts.
    """
    from dask.task_spec import List, TaskRef

    graph, reading = _reading(f"{verb}-colors", work, images, masks)
    keys = reading
    while len(keys) > 1:
        fours = [keys[i : i + _FAN] for i in range(0, len(keys), _FAN)]
        some = [List(*map(TaskRef, four)) for four in fours]
        keys = [_add(graph, f"merge-{verb}s", merge, four) for four in some]
    found: list[Found] = _compute(graph, keys, reading)
    return found[0]


def map_chunks(
    image: Any,
    work: Callable[..., Array],
    dtype: DTypeLike,
    *,
    keeps_channels: bool = False,
) -> Array:
    """Return lazily, of each chunk of a lazy image (..., C), ``work(chunk, origin)``.

    That is an array without channels, or with them, of a dtype. The origin is the place
    of the first pixel of the chunk in the image.
    """
    whole = image.rechunk({-1: -1})
    n_axes = whole.ndim - (not keeps_channels)
    mapped: Array = whole.map_blocks(
        partial(_map_chunk, work, whole.dtype),
        dtype=dtype,
        drop_axis=range(n_axes, whole.ndim),
        meta=np.empty((0,) * n_axes, dtype),
        token="map-colors",
    )
    return mapped


def map_pairs(
    work: Callable[[Array, Array], Array],
    labels: Any,
    image: Any,
    channel_axis: int | None,
) -> Array:
    """Return lazily an image that is ``work(labels, image)`` of the chunks of both.

    The labels (...) are without channels.
    """
    from dask.array import blockwise

    axes = list(range(image.ndim))
    spatial, cut = axes.copy(), list(labels.chunks)
    if channel_axis is not None:
        channel = spatial.pop(channel_axis)
        cut.insert(channel, image.shape[channel])
    pairs = labels, spatial, image.rechunk(tuple(cut)), axes
    meta = np.empty((0,) * image.ndim, image.dtype)
    paired: Array = blockwise(work, axes, *pairs, dtype=image.dtype, meta=meta)
    return paired


def visit_places(work: Callable[[Any], object], places: Iterable[Any]) -> None:
    """Call `work(place)` for each of many places, in a task for each.

    What it returns is kept nowhere. Dashboards show the tasks as map-and-write.
    """
    graph: _Graph = {}
    visit = partial(_visit, work)
    keys = [_add(graph, "map-and-write", visit, place) for place in places]
    if keys:
        _compute(graph, keys, keys)


def callbacks_with(look: tuple[Any, ...]) -> list[Any]:
    """Return callbacks for one computation of dask: those that are active, and `look`.

    They are active in all threads. Where somebody watches, other threads are at work,
    and theirs are left out: the cache of napari fails in two threads at once.
    """
    from dask.callbacks import Callback

    return [*(() if is_watched() else Callback.active), look]


def whole_planes(image: Any, most: int) -> Any:
    """Cut a lazy image (..., C) into planes of its last two spatial axes, unless large.

    `most` is the number of their pixels.
    """
    shape = image.shape[-3:-1]
    if math.prod(shape) > most:
        msg = (
            f"dither='floyd-steinberg' needs planes of at most {most} pixels of a dask "
            f"array, got {' x '.join(map(str, shape))}; pass dither='ordered'"
        )
        raise ValueError(msg)
    n_axes = image.ndim - 1
    return image.rechunk({a: -1 if a >= n_axes - 2 else 1 for a in range(n_axes)})


def _reading(
    name: str,
    work: Callable[[list[Array], list[Mask | None]], Found],
    images: list[Array],
    masks: list[Mask | None],
) -> tuple[_Graph, list[str]]:
    """Return tasks that do some work on groups of chunks, and the keys of these."""
    from dask.task_spec import List

    graph: _Graph = {}
    mask_type = np.dtype(bool) if masks[0] is None else masks[0].dtype
    read = partial(_read, work, (images[0].dtype, mask_type))
    keys = [
        _add(graph, name, read, shapes, List(*cut), List(*cut_masks))
        for shapes, cut, cut_masks in _groups(graph, images, masks)
    ]
    _fuse(graph, keys)
    return graph, keys


def _map_chunk(
    work: Callable[..., Array],
    dtype: np.dtype[Any],
    chunk: Any,
    block_info: Any = None,
) -> Array:
    place = block_info[0]["array-location"]
    shape = tuple(stop - start for start, stop in place)
    pixels = _plain_chunk("image", chunk, dtype, shape)
    return work(pixels, [start for start, _ in place[:-1]])


def _add(
    graph: _Graph, name: str, function: Callable[..., Any], *arguments: Any
) -> str:
    """Add a task that has a name for people to see on a dashboard, and return its key.

    `delayed` would look at the whole graph again for each task.
    """
    from dask.task_spec import Task

    key = f"{name}-{uuid.uuid4().hex}"
    graph[key] = Task(key, function, *arguments)
    return key


def _fuse(graph: _Graph, keys: list[str]) -> None:
    """Let tasks do all that only they need, so that chunks stay where they are read.

    What several of them need, or a cluster has in memory, they get from elsewhere, and
    so they do arrays that are in the graph themselves.
    """
    from dask.core import get_deps
    from dask.task_spec import GraphNode

    needs, needed_by = get_deps(graph)
    for key in keys:
        own: set[Any] = {key}
        new: list[Any] = [key]
        while new:
            for need in needs[new.pop()]:
                is_task = isinstance(graph[need], GraphNode)
                if is_task and need not in own and needed_by[need] <= own:
                    own.add(need)
                    new.append(need)
        graph[key] = graph[key].fuse(*map(graph.pop, own), key=key)


def _compute(graph: _Graph, keys: list[str], watched: list[str]) -> list[Any]:
    """Compute tasks on whatever scheduler dask is set to, and tell how many are done.

    Those that are watched are counted: on a cluster, of the ones that are returned.
    """
    from dask.base import compute_as_if_collection, get_scheduler
    from dask.delayed import Delayed

    client = getattr(get_scheduler(), "__self__", None)
    if client is not None and is_watched():
        return _compute_far(client, graph, keys)
    waiting = set(watched)

    def count(key: str, *_: Any) -> None:
        if key in waiting:
            waiting.remove(key)
            tell(len(watched) - len(waiting), len(watched))

    tell(0, len(watched))
    look = (None, None, None, count, None)
    found: list[Any] = compute_as_if_collection(
        Delayed, graph, keys, callbacks=callbacks_with(look)
    )
    return found


def _compute_far(client: Any, graph: _Graph, keys: list[str]) -> list[Any]:
    """Compute tasks on a cluster, and end them there if the computation ends here."""
    futures = client.get(graph, keys, sync=False)
    try:
        while not all(future.done() for future in futures):
            checkpoint()
            tell(sum(future.done() for future in futures), len(futures))
            time.sleep(_PAUSE)
        found: list[Any] = client.gather(futures)
    except BaseException:
        client.cancel(futures)
        raise
    return found


def _visit(work: Callable[[Any], object], place: Any) -> None:
    checkpoint()
    work(place)


def _read(
    work: Callable[[list[Array], list[Mask | None]], Found],
    dtypes: tuple[np.dtype[Any], np.dtype[Any]],
    shapes: list[tuple[int, ...]],
    images: list[Array],
    masks: list[Mask | None],
) -> Found:
    """Do some work on chunks, if they are what dask was told."""
    chunks = [
        _plain_chunk("image", chunk, dtypes[0], shape)
        for chunk, shape in zip(images, shapes, strict=True)
    ]
    insides = [
        None if mask is None else _plain_chunk("mask", mask, dtypes[1], shape[:-1])
        for mask, shape in zip(masks, shapes, strict=True)
    ]
    return work(chunks, insides)


def _plain_chunk(
    name: str, chunk: Any, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    array = plain_array(name, chunk)
    if array.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        msg = f"{name} must have chunks of {dtype}, as dask says, got {array.dtype}"
        raise TypeError(msg)
    if array.shape != shape:
        msg = f"{name} must have a chunk of {shape}, as dask says, got {array.shape}"
        raise ValueError(msg)
    return array


def _groups(
    graph: _Graph, images: list[Array], masks: list[Mask | None]
) -> Iterator[tuple[list[Any], ...]]:
    """Yield shapes of chunks that are worth a task, these and their masks."""
    chunks = itertools.chain.from_iterable(map(partial(_chunks, graph), images, masks))
    itemsize, n_bytes = images[0].dtype.itemsize, 0
    some: list[tuple[tuple[int, ...], Any, Any]] = []
    for chunk in chunks:
        size = math.prod(chunk[0]) * itemsize
        if some and n_bytes + size > _GROUP:
            yield tuple(map(list, zip(*some, strict=True)))
            some, n_bytes = [], 0
        some.append(chunk)
        n_bytes += size
    yield tuple(map(list, zip(*some, strict=True)))


def _chunks(
    graph: _Graph, image: Any, mask: Any
) -> Iterator[tuple[tuple[int, ...], Any, Any]]:
    """Yield the shape of each chunk, the chunk and its mask."""
    from dask.array import from_array

    # A random name spares reading all of an array for one.
    lazy = image if is_lazy(image) else from_array(image, name=False)
    arrays = [lazy.rechunk({-1: -1})]
    if mask is not None:
        inside = mask if is_lazy(mask) else from_array(mask, name=False)
        arrays.append(inside.rechunk(lazy.chunks[:-1]))
    cut, *cut_masks = _cut(graph, *arrays)
    cut_masks.append(itertools.repeat(None))
    shapes = itertools.product(*arrays[0].chunks)
    yield from zip(shapes, cut, cut_masks[0], strict=False)


def _cut(graph: _Graph, *arrays: Any) -> list[Iterable[Any]]:
    """Add the tasks of lazy arrays to a graph, and refer to those of their chunks.

    What several arrays need, as a mask that is made of its image, is done once.
    """
    from dask.core import flatten
    from dask.highlevelgraph import HighLevelGraph
    from dask.task_spec import TaskRef

    keys = [list(flatten(array.__dask_keys__())) for array in arrays]
    whole = HighLevelGraph.merge(*(array.dask for array in arrays))
    graph.update(arrays[0].__dask_optimize__(whole, keys))
    return [[TaskRef(key) for key in some] for some in keys]
