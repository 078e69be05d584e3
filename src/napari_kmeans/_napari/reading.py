"""Arrays of any kind as NumPy's, read piece by piece, so that reading can be ended."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._core.color_counts import cut_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["read_array", "stack_channels"]

# Bytes that are read at once, where a chunk is not larger, and pixels copied at once.
_PIECE = 1 << 22
_COPIED = 1 << 18


def read_array(array: Any, index: Any = ...) -> NDArray[Any]:
    """Read an array, or its part at `index`, slices of the first axes.

    Dask computes it as always, with a checkpoint before each task. What else tells its
    chunks, as zarr does, is read some of them at a time, and all other kinds at once.
    """
    from dask.base import is_dask_collection

    if is_dask_collection(array):
        return _computed(array[index])
    if isinstance(array, np.ndarray) or not _has_chunks(array):
        return np.asarray(array[index])
    sides = () if index is ... else index
    sides = (*sides, *[slice(None)] * (len(array.shape) - len(sides)))
    taken = [range(n)[side] for n, side in zip(array.shape, sides, strict=True)]
    read = np.empty(tuple(map(len, taken)), array.dtype)
    for box in _pieces(taken, array.chunks, read.itemsize):
        checkpoint()
        parts = [places[side] for places, side in zip(taken, box, strict=True)]
        read[box] = array[tuple(slice(p.start, p.stop, p.step) for p in parts)]
    return read


def stack_channels(channels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Make arrays (...) the last axis of one (..., C)."""
    shape = channels[0].shape
    stacked = np.empty((*shape, len(channels)), np.result_type(*channels))
    for box in cut_rows(shape, _COPIED):
        for i, channel in enumerate(channels):
            stacked[..., i][box] = channel[box]
    return stacked


def _computed(array: Any) -> NDArray[Any]:
    """Compute a dask array, chunk by chunk if that is how the scheduler does it."""
    from dask.array.core import slices_from_chunks
    from dask.base import compute
    from dask.callbacks import Callback

    # Another library's array has one of dask inside.
    array = getattr(array, "data", array)
    look = (None, None, lambda *_: checkpoint(), None, None)
    # Given to this call alone: those that are active are so in all threads.
    delayed = array.to_delayed().ravel()
    chunks = compute(*delayed, callbacks=[*Callback.active, look])
    if len(chunks) == 1:
        return np.asarray(chunks[0])
    computed = np.empty(array.shape, np.result_type(*chunks))
    for box, chunk in zip(slices_from_chunks(array.chunks), chunks, strict=True):
        checkpoint()
        computed[box] = chunk
    return computed


def _has_chunks(array: Any) -> bool:
    """Whether an array tells how long its chunks are along each axis."""
    chunks = getattr(array, "chunks", None)
    return isinstance(chunks, tuple) and all(isinstance(n, int) for n in chunks)


def _pieces(
    taken: list[range], chunks: Sequence[int], n_bytes: int
) -> Iterator[tuple[slice, ...]]:
    """Cut what is taken of a grid of items of `n_bytes` into boxes of whole chunks."""
    lengths = [
        min(-(-n // places.step), max(1, len(places)))
        for n, places in zip(chunks, taken, strict=True)
    ]
    n_bytes *= math.prod(places.step for places in taken)
    for axis in reversed(range(len(taken))):
        n_chunks = max(1, _PIECE // (math.prod(lengths) * n_bytes))
        lengths[axis] = max(1, min(lengths[axis] * n_chunks, len(taken[axis])))
    sides = (
        [slice(i, min(i + length, len(places))) for i in range(0, len(places), length)]
        for length, places in zip(lengths, taken, strict=True)
    )
    yield from itertools.product(*sides)
