"""Image to distinct colors and their pixel numbers, and back to pixels.

An image is an array (..., C), channels last, in any memory layout.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._core.cells import MAX_CELL_CHANNELS, cell_order
from napari_kmeans._core.points import frame_of, to_points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "MAX_COUNTED",
    "ColorCounts",
    "count_all",
    "count_colors",
    "cut_rows",
    "finite_pixels",
    "is_tabular",
    "masked_parts",
    "paint",
    "pixel_blocks",
]

# Distinct colors that are worth keeping; more are fitted from the pixels.
MAX_COUNTED = 1 << 20
# Bytes of a block of pixels.
_BLOCK = 1 << 20
# Bytes of memory that systems find at once, at least.
_PAGE = 1 << 12
# Blocks that are sorted together.
_BLOCKS_SORTED = 8
# Fewer pixels are sorted, which is quicker than to scan a table of 2^24 colors.
_SORT_BELOW = 1 << 20
# Pixels under a mask that are copied at once.
_PIXELS_MASKED = 1 << 20
# Memory is no quicker for more.
_MOST_THREADS = 2


class ColorCounts(NamedTuple):
    """Distinct colors (n, C) of an image, and the number of pixels (n,) of each."""

    colors: NDArray[Any]
    counts: NDArray[Any]


def is_tabular(dtype: np.dtype[Any], n_channels: int) -> bool:
    """Whether a color is an integer of at most 24 bits, an index into a table."""
    return dtype.kind in "biu" and dtype.itemsize * n_channels <= 3


def count_colors(image: NDArray[Any]) -> ColorCounts | None:
    """Count the distinct finite colors, or give None if there are too many.

    Up to 2^24 colors are counted where they index a table, else up to 2^20. They come
    in the order of their cells, or sorted if their channels are too many for cells.
    """
    return count_all([image])


def count_all(images: Iterable[NDArray[Any]]) -> ColorCounts | None:
    """Count the colors of images of one kind; None, too, if there is no image."""
    blocks: Iterator[NDArray[Any]]
    blocks = (block for image in images for _, block in pixel_blocks(image))
    first = next(blocks, None)
    if first is None:
        return None
    blocks = itertools.chain([first], blocks)
    dtype, n_channels = first.dtype, first.shape[1]
    if is_tabular(dtype, n_channels):
        codes, counts = _count_codes(blocks, dtype.itemsize * n_channels)
        colors = _decode(codes, dtype, n_channels)
        del codes
        checkpoint()
    else:
        counted = _count_sorted(blocks, np.empty((0, n_channels), dtype))
        if counted is None:
            return None
        colors, counts = counted
    order = _cell_order(colors)
    # One after the other, so that the unordered ones are freed: they may be many.
    colors = colors.take(order, axis=0)
    checkpoint()
    counts = counts.take(order)
    return ColorCounts(colors, counts)


def paint(
    image: NDArray[Any], colors: NDArray[Any], values: NDArray[Any]
) -> NDArray[Any]:
    """Give every pixel of a tabular image, by its color, one of `values` (n,).

    All colors of `image` are among `colors` (n, C).
    """
    table = _empty_table(image.dtype.itemsize * image.shape[-1], values.dtype)
    for start in range(0, len(colors), _BLOCK):
        checkpoint()
        block = slice(start, start + _BLOCK)
        table[_codes(colors[block])] = values[block]
    painted = np.empty(image.shape[:-1], values.dtype)
    target = painted.reshape(-1) if image.flags.c_contiguous else painted

    def fill(part: int, n_threads: int) -> None:
        for index, block in pixel_blocks(image, part, n_threads):
            # No code is out of range: "clip" only spares the check.
            found = table.take(_codes(block), mode="clip")
            target[index] = found.reshape(target[index].shape)

    _share(image, fill)
    return painted


def _share(image: NDArray[Any], work: Callable[[int, int], None]) -> None:
    """Let each of some threads do its part of the blocks, ``work(part, n_parts)``."""
    # NumPy's calls release the interpreter lock, but for `np.add.at`.
    n_threads = min(_MOST_THREADS, os.cpu_count() or 1, -(-image.nbytes // _BLOCK))
    with ThreadPoolExecutor(n_threads) as executor:
        parts = [
            # They come to the checkpoints of the thread that waits for them.
            executor.submit(copy_context().run, work, part, n_threads)
            for part in range(n_threads)
        ]
        for part in parts:
            part.result()


def pixel_blocks(
    image: NDArray[Any], part: int = 0, n_parts: int = 1
) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Give spatial indices and native, contiguous blocks (m, C) of the pixels.

    Of all blocks, every `n_parts`-th is given, from `part` on. A C-contiguous image is
    indexed as the list of its pixels.
    """
    n_channels = image.shape[-1]
    native = image.dtype.newbyteorder("=")
    if image.flags.c_contiguous:
        image = image.reshape(-1, n_channels)
    boxes = _boxes(image.shape[:-1], max(1, _BLOCK // (n_channels * image.itemsize)))
    for index in itertools.islice(boxes, part, None, n_parts):
        block = np.ascontiguousarray(image[index], dtype=native)
        yield index, block.reshape(-1, n_channels)


def masked_parts(
    image: NDArray[Any], mask: NDArray[np.bool_]
) -> Iterator[NDArray[Any]]:
    """Give the pixels (m, C) where `mask` is True, a million at a time at most."""
    for box in _boxes(mask.shape, _PIXELS_MASKED):
        if (inside := mask[box]).any():
            yield image[box][inside]


def cut_rows(shape: tuple[int, ...], size: int) -> Iterator[tuple[slice, ...]]:
    """Cut a grid along its first axes into boxes of at most `size` pixels, in order."""
    inner, axis = 1, len(shape) - 1
    while axis > 0 and inner * shape[axis] <= size:
        inner *= shape[axis]
        axis -= 1
    step = max(1, size // inner)
    whole = [slice(0, length) for length in shape[axis + 1 :]]
    for outer in itertools.product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], step):
            checkpoint()
            side = slice(start, min(start + step, shape[axis]))
            yield (*(slice(i, i + 1) for i in outer), side, *whole)


def _boxes(shape: tuple[int, ...], size: int) -> Iterator[tuple[slice, ...]]:
    """Cut a grid along its longest axes into boxes of at most `size` pixels."""
    boxes = [tuple(slice(0, length) for length in shape)]
    while boxes:
        box = boxes.pop()
        lengths = [side.stop - side.start for side in box]
        n_pixels = int(np.prod(lengths, dtype=np.int64))
        if n_pixels <= size:
            checkpoint()
            yield box
            continue
        axis = int(np.argmax(lengths))
        step = max(1, lengths[axis] * size // n_pixels)
        side = box[axis]
        boxes.extend(
            (*box[:axis], slice(i, min(i + step, side.stop)), *box[axis + 1 :])
            for i in range(side.start, side.stop, step)
        )


def _cell_order(colors: NDArray[Any]) -> NDArray[np.intp]:
    """Order colors (n, C) by their cells, unless they have too many channels."""
    if len(colors) == 0 or colors.shape[1] > MAX_CELL_CHANNELS:
        return np.arange(len(colors))
    points = to_points(colors, frame_of(colors))
    checkpoint()
    return cell_order(points)


def _codes(pixels: NDArray[Any]) -> NDArray[np.intp]:
    """Pack contiguous pixels (m, C) of at most 24 bits into integers."""
    octets = pixels.reshape(len(pixels), -1).view(np.uint8)
    n_octets = octets.shape[1]
    if n_octets < 3:
        return octets.view(f"<u{n_octets}")[:, 0].astype(np.intp)
    codes = np.empty(len(octets), dtype=np.intp)
    # Little-endian words of 4 bytes at steps of 3; the last one would stick out.
    words = np.ndarray(len(octets) - 1, "<u4", buffer=octets, strides=(3,))
    np.bitwise_and(words, 0xFFFFFF, out=codes[:-1], casting="unsafe")
    codes[-1] = int.from_bytes(octets[-1].tobytes(), "little")
    return codes


def _decode(codes: NDArray[Any], dtype: np.dtype[Any], n_channels: int) -> NDArray[Any]:
    """Unpack integers into colors (n, C)."""
    octets = codes.astype("<u4", copy=False).view(np.uint8).reshape(-1, 4)
    native = dtype.newbyteorder("=")
    used = np.ascontiguousarray(octets[:, : n_channels * native.itemsize])
    return used.view(native)


def _count_codes(
    blocks: Iterable[NDArray[Any]], n_octets: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give the codes of the distinct colors, ascending, and their pixel numbers."""
    table, few, n_pixels = None, [], 0
    for block in blocks:
        few.append(_codes(block))
        n_pixels += len(block)
        if n_pixels < _SORT_BELOW:
            continue
        if table is None:
            table = _empty_table(n_octets, np.uint32)
        if n_pixels >= 1 << 32:
            table = table.astype(np.uint64, copy=False)
        for codes in few:
            np.add.at(table, codes, table.dtype.type(1))
        few.clear()
    if table is None:
        codes, counts = np.unique(np.concatenate(few), return_counts=True)
        return codes, counts
    codes = np.empty(np.count_nonzero(table), np.uint32)
    counts = np.empty(len(codes), table.dtype)
    end = 0
    for start in range(0, len(table), _BLOCK):
        checkpoint()
        part = table[start : start + _BLOCK]
        present = np.flatnonzero(part != 0)
        place = slice(end, end + len(present))
        codes[place] = present + start
        counts[place] = part.take(present)
        end = place.stop
    return codes, counts


def _empty_table(n_octets: int, dtype: type[Any] | np.dtype[Any]) -> NDArray[Any]:
    """Give a table of zeros, one for each color of so many bytes."""
    table = np.zeros(1 << 8 * n_octets, dtype)
    step = _PAGE // table.itemsize
    for start in range(0, len(table), _BLOCK):
        checkpoint()
        # Systems find memory when it is first written to, and may take their time.
        table[start : start + _BLOCK : step] = 0
    return table


def _count_sorted(
    blocks: Iterable[NDArray[Any]], none: NDArray[Any]
) -> ColorCounts | None:
    """Count colors of any dtype by sorting, to begin with `none`, if not too many."""
    colors, counts = none, np.empty(0, dtype=np.int64)
    for _, some in itertools.groupby(
        enumerate(blocks), lambda item: item[0] // _BLOCKS_SORTED
    ):
        pixels = np.concatenate([colors, *(finite_pixels(block) for _, block in some)])
        ones = np.ones(len(pixels) - len(colors), dtype=np.int64)
        merged = _merge(pixels, np.concatenate((counts, ones)))
        if merged is None or len(merged.colors) > MAX_COUNTED:
            return None
        colors, counts = merged
    return ColorCounts(colors, counts)


def _merge(pixels: NDArray[Any], counts: NDArray[np.int64]) -> ColorCounts | None:
    """Add up the counts of equal rows, or give None for two rows of one key."""
    key = _keys(pixels)
    checkpoint()
    # Not stable, for rows of one key are equal.
    order = np.argsort(key)
    checkpoint()
    key, pixels = key.take(order), pixels.take(order, axis=0)
    checkpoint()
    is_first = np.ones(len(key), dtype=bool)
    np.not_equal(key[1:], key[:-1], out=is_first[1:])
    if (pixels[1:] != pixels[:-1])[~is_first[1:]].any():
        return None
    starts = np.flatnonzero(is_first)
    if len(starts) == 0:
        return ColorCounts(pixels, counts)
    totals = np.add.reduceat(counts.take(order), starts)
    return ColorCounts(pixels.take(starts, axis=0), totals)


def _keys(pixels: NDArray[Any]) -> NDArray[np.uint64]:
    """Give a 64-bit key of each row (m, C): its bytes, or a hash of more than 8."""
    octets = pixels.view(np.uint8)
    n_words = -(-octets.shape[1] // 8)
    padded = np.zeros((len(octets), 8 * n_words), dtype=np.uint8)
    padded[:, : octets.shape[1]] = octets
    words = padded.view("<u8")
    key = words[:, 0].astype(np.uint64)
    for word in words.T[1:]:
        # A round of splitmix64, Steele, Lea and Flood, OOPSLA 2014, figure 16.
        key = (key ^ key >> np.uint64(31)) * np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ key >> np.uint64(27)) * np.uint64(0x94D049BB133111EB) + word
    return key


def finite_pixels(pixels: NDArray[Any]) -> NDArray[Any]:
    """Give the finite rows (m, C), with one zero instead of two."""
    if pixels.dtype.kind != "f":
        return pixels
    finite = np.isfinite(pixels).all(axis=1)
    return np.asarray(pixels[finite] + pixels.dtype.type(0))
