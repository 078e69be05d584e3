"""Colors that are integers of at most 24 bits: they index a table of all of them.

`codes_of` packs colors into such indices and `colors_of` unpacks them. `paint` gives
every pixel of an image a value by its color; `paint_codes` does so by a table that may
be filled on the way. `pixel_blocks` cuts an image (..., C) of any dtype and memory
layout into blocks of pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np

from napari_kmeans._core.arrays import Array, Indices
from napari_kmeans._core.blocks import cut, cut_boxes, n_cores

__all__ = [
    "code_room",
    "codes_of",
    "colors_of",
    "cut_codes",
    "empty_table",
    "is_tabular",
    "n_codes_of",
    "native_pixels",
    "paint",
    "paint_codes",
    "pixel_blocks",
    "put_values",
]

# Bytes of an image that are worth a thread, and how many memory is no quicker for.
_SHARED, _MOST_THREADS = 1 << 20, 2


def is_tabular(dtype: np.dtype[Any], n_channels: int) -> bool:
    """Whether a color is an integer of at most 24 bits, an index into a table."""
    return dtype.kind in "biu" and dtype.itemsize * n_channels <= 3


def n_codes_of(dtype: np.dtype[Any], n_channels: int) -> int:
    """Return the size of a table that tabular colors index."""
    return 1 << 8 * dtype.itemsize * n_channels


def codes_of(pixels: Array, room: Indices | None = None) -> Indices:
    """Pack contiguous pixels (m, C) of at most 24 bits into integers.

    They are the first m of `room`, if that is given.
    """
    octets = pixels.reshape(len(pixels), -1).view(np.uint8)
    m, n_octets = octets.shape
    codes = np.empty(m, dtype=np.intp) if room is None else room[:m]
    if n_octets < 3:
        codes[:] = octets.view(f"<u{n_octets}")[:, 0]
        return codes
    # Little-endian words of 8 bytes at steps of 3; the last two would stick out.
    n_words = max(m - 2, 0)
    codes[:n_words] = np.ndarray(n_words, "<i8", buffer=octets, strides=(3,))
    codes &= 0xFFFFFF
    for i in range(n_words, m):
        codes[i] = int.from_bytes(octets[i].tobytes(), "little")
    return codes


def code_room() -> Indices:
    """Return room for as many codes as stay in the cache of a core."""
    return np.empty(1 << 16, dtype=np.intp)


def cut_codes(pixels: Array, room: Indices) -> Iterator[tuple[slice, Indices]]:
    """Yield parts of contiguous pixels (m, C), and their codes until the next part."""
    for start in range(0, len(pixels), len(room)):
        part = slice(start, start + len(room))
        yield part, codes_of(pixels[part], room)


def colors_of(codes: Array, dtype: np.dtype[Any], n_channels: int) -> Array:
    """Unpack integers into colors (n, C)."""
    octets = np.asarray(codes, "<u4").view(np.uint8).reshape(-1, 4)
    used = np.ascontiguousarray(octets[:, : n_channels * dtype.itemsize])
    return used.view(dtype)


def paint(image: Array, colors: Array, values: Array) -> Array:
    """Return for every pixel of a tabular image, by its color, one of `values` (n,).

    All colors of `image` are among `colors` (n, C).
    """
    table = np.zeros(n_codes_of(image.dtype, image.shape[-1]), values.dtype)
    put_values(table, colors, values)
    return paint_codes(image, table)


def empty_table(
    dtype: np.dtype[Any], n_channels: int, value_type: np.dtype[Any]
) -> Array:
    """Return a table of all tabular colors, whose largest value stands for no value."""
    return np.full(n_codes_of(dtype, n_channels), np.iinfo(value_type).max, value_type)


def put_values(table: Array, colors: Array, values: Array) -> None:
    """Put the values (n,) of tabular colors (n, C) into a table of all."""
    for block in cut(len(colors), 4):
        table[codes_of(colors[block])] = values[block]


def paint_codes(
    image: Array, table: Array, find: Callable[[Array], Array] | None = None
) -> Array:
    """Return for every pixel of a tabular image its value in a table of all colors.

    Those that an `empty_table` has not yet, `find(colors)` puts there. Threads that
    meet a color at once find the same.
    """
    painted = np.empty(image.shape[:-1], table.dtype)
    target = painted.reshape(-1) if image.flags.c_contiguous else painted
    dtype, n_channels = image.dtype.newbyteorder("="), image.shape[-1]

    def fill(part: int, n_threads: int) -> None:
        room = code_room()
        for index, block in pixel_blocks(image, part, n_threads):
            values = np.empty(len(block), table.dtype)
            for place, codes in cut_codes(block, room):
                found = values[place]
                # No code is out of range: "clip" only spares the check.
                table.take(codes, out=found, mode="clip")
                if find is None:
                    continue
                is_new = found == np.iinfo(table.dtype).max
                if is_new.any():
                    new = codes[is_new]
                    # With counts, `unique` sorts, which is quicker.
                    once, _ = np.unique(new, return_counts=True)
                    table[once] = find(colors_of(once, dtype, n_channels))
                    found[is_new] = table.take(new)
            target[index] = values.reshape(target[index].shape)

    _share(image, fill)
    return painted


def _share(image: Array, work: Callable[[int, int], None]) -> None:
    """Let each of some threads do its part of the blocks, ``work(part, n_parts)``."""
    # NumPy's calls release the interpreter lock, but for `np.add.at`.
    n_threads = min(_MOST_THREADS, n_cores(), -(-image.nbytes // _SHARED))
    with ThreadPoolExecutor(n_threads) as executor:
        parts = [
            # They come to the checkpoints of the thread that waits for them.
            executor.submit(copy_context().run, work, part, n_threads)
            for part in range(n_threads)
        ]
        for part in parts:
            part.result()


def pixel_blocks(
    image: Array, part: int = 0, n_parts: int = 1
) -> Iterator[tuple[Any, Array]]:
    """Yield spatial indices and native, contiguous blocks (m, C) of the pixels.

    Of all blocks, every `n_parts`-th is given, from `part` on. A C-contiguous image is
    indexed as the list of its pixels.
    """
    n_channels = image.shape[-1]
    if image.flags.c_contiguous:
        image = image.reshape(-1, n_channels)
    # Boxes are in one piece in memory, or nearly so, in whichever order axes are there.
    axes = np.argsort(image.strides[:-1])[::-1]
    shape = tuple(image.shape[axis] for axis in axes)
    boxes = cut_boxes(shape, n_channels * image.itemsize)
    for box in itertools.islice(boxes, part, None, n_parts):
        index = tuple(box[place] for place in np.argsort(axes))
        yield index, native_pixels(image[index]).reshape(-1, n_channels)


def native_pixels(pixels: Array) -> Array:
    """Return pixels in one piece, in native byte order."""
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
