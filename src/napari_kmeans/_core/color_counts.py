"""Images to distinct colors and their pixel numbers.

`count_pixels` is the one place where colors are counted: pixels in, `ColorCounts` out.
Colors of at most 24 bits index a table; others are sorted, and given up where they are
too many. Images of dask are counted in parts, which `chunks` reads and merges.
`ColorCounts` add up, and their order depends on the set of colors alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arguments import is_lazy, plain_array, real_array
from napari_kmeans._core.arrays import Array, Mask
from napari_kmeans._core.blocks import checkpoint, cut, cut_boxes
from napari_kmeans._core.cells import MAX_CELL_CHANNELS, cell_order
from napari_kmeans._core.chunks import fold_chunks
from napari_kmeans._core.color_tables import (
    code_room,
    codes_of,
    colors_of,
    cut_codes,
    is_tabular,
    n_codes_of,
    native_pixels,
    pixel_blocks,
)
from napari_kmeans._core.hashing import keys
from napari_kmeans._core.spaces import frame_of, to_points

__all__ = [
    "MAX_COUNTED",
    "ColorCounts",
    "TooManyColorsError",
    "count_pixels",
    "finite_pixels",
    "in_order",
    "masked_blocks",
    "too_many_colors",
    "trusted_counts",
]

# Distinct colors that are worth keeping; more are fitted from the pixels.
MAX_COUNTED = 1 << 20
# Bytes of pixels that are sorted together.
_SORTED = 1 << 23
# Fewer pixels are sorted, which is quicker than to scan a table of 2^24 colors.
_SORT_BELOW = 1 << 20
# More colors of 24 bits are smaller as a table than as codes and counts.
_SPARSE = 1 << 23
# What tables count in until there may be too many pixels for it.
_NARROW = np.uint32


class TooManyColorsError(ValueError):
    """There are too many distinct colors to count them."""


@dataclass(frozen=True, eq=False)
class ColorCounts:
    """Distinct colors of images, and the number of pixels of each.

    Counts add up: ``a + b`` and ``sum(...)`` of the counts of any parts equal those of
    the whole, bit for bit. `kmeans_palette`, `choose_k` and `error_curve` take them
    in the place of an image.

    Parameters
    ----------
    colors : (n, C) or (n,) ndarray
        Distinct finite colors of a boolean, integer or float dtype of up to 64 bits,
        one at least. They are brought into native byte order, and into an order that
        depends on the set of colors alone.
    counts : (n,) ndarray of int64
        Number of pixels of each color, at least 1, and of all at most 2^62.

    Raises
    ------
    TypeError
        If the dtype of `colors` is not boolean, integer or float of up to 64 bits, that
        of `counts` not integer, or one of them is masked.
    ValueError
        If there is no color, `counts` has another length, a count below 1 or too many
        pixels in all, also as a sum, or colors are not finite, not distinct, or have no
        channel.
    TooManyColorsError
        If there are more than 2^20 colors that are not integers of at most 24 bits.

    See Also
    --------
    count_colors : Count the colors of an image.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_kmeans import ColorCounts
    >>> counts = ColorCounts(np.array([7, 9], np.uint8), np.array([1, 2]))
    >>> (counts + counts).counts
    array([2, 4])
    """

    colors: Array
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check the arrays, and bring them into order."""
        colors, counts = _checked_arrays(self.colors, self.counts)
        merged = _merged(colors.reshape(len(colors), -1), counts[:, np.newaxis])
        if len(merged[0]) < len(colors):
            msg = "colors must be distinct, got a color more than once"
            raise ValueError(msg)
        ordered = _in_cells(*merged)
        object.__setattr__(self, "colors", ordered[0].reshape(colors.shape))
        object.__setattr__(self, "counts", ordered[1][:, 0])

    def __add__(self, other: ColorCounts) -> ColorCounts:
        """Return the counts of the pixels of both."""
        if not isinstance(other, ColorCounts):
            return NotImplemented
        if self.colors.dtype != other.colors.dtype:
            msg = (
                "counts must be of one dtype to be added, "
                f"got {self.colors.dtype} and {other.colors.dtype}"
            )
            raise TypeError(msg)
        if self.colors.shape[1:] != other.colors.shape[1:]:
            msg = (
                "counts must be of one number of channels to be added, "
                f"got colors of shape {self.colors.shape} and {other.colors.shape}"
            )
            raise ValueError(msg)
        _require_room(int(self.counts.sum()) + int(other.counts.sum()))
        colors = np.concatenate((self.colors, other.colors))
        counts = np.concatenate((self.counts, other.counts))[:, np.newaxis]
        merged = _merged(colors.reshape(len(colors), -1), counts)
        if _are_too_many(merged[0]):
            raise too_many_colors()
        colors, counts = _in_cells(*merged)
        shape = (len(colors), *self.colors.shape[1:])
        return trusted_counts(colors.reshape(shape), counts[:, 0])

    def __radd__(self, other: Literal[0]) -> ColorCounts:
        """Return the counts themselves, which `sum` adds to 0."""
        return self if other == 0 else NotImplemented

    def __repr__(self) -> str:
        """Return the numbers of colors and pixels, not all of them."""
        shape = " x ".join(str(length) for length in self.colors.shape)
        return (
            f"ColorCounts(colors={shape} {self.colors.dtype}, "
            f"counts={self.counts.sum()} pixels)"
        )


def trusted_counts(colors: Array, counts: Array) -> ColorCounts:
    """Return counts of colors that are in order, without checking them again."""
    made = object.__new__(ColorCounts)
    object.__setattr__(made, "colors", colors)
    object.__setattr__(made, "counts", counts)
    return made


def _checked_arrays(colors: Array, counts: Array) -> tuple[Array, NDArray[np.int64]]:
    """Check what `ColorCounts` are made of, and return copies of one kind."""
    colors, counts = real_array("colors", colors), plain_array("counts", counts)
    if counts.dtype.kind not in "iu":
        msg = f"counts must have an integer dtype, got {counts.dtype}"
        raise TypeError(msg)
    if colors.ndim not in (1, 2) or 0 in colors.shape:
        msg = f"colors must have shape (n, C) or (n,), got {colors.shape}"
        raise ValueError(msg)
    if counts.shape != colors.shape[:1]:
        msg = f"counts must have shape {colors.shape[:1]}, got {counts.shape}"
        raise ValueError(msg)
    if counts.min() < 1:
        msg = f"counts must be at least 1, got {counts.min()}"
        raise ValueError(msg)
    # Sums of halves do not wrap.
    high, low = np.divmod(counts.astype(np.uint64), np.uint64(1 << 32))
    _require_room((int(high.sum()) << 32) + int(low.sum()))
    native = np.ascontiguousarray(colors, colors.dtype.newbyteorder("="))
    if len(finite_pixels(native.reshape(len(native), -1))) < len(native):
        msg = "colors must be finite, got one that is not"
        raise ValueError(msg)
    if _are_too_many(native.reshape(len(native), -1)):
        raise too_many_colors()
    if native.dtype.kind == "f":
        native = native + native.dtype.type(0)  # One zero instead of two.
    return native, counts.astype(np.int64)


def _require_room(n_pixels: int) -> None:
    """Refuse so many pixels that their number, as a float, may not fit int64."""
    if n_pixels > 1 << 62:
        msg = f"counts must be of at most 2^62 pixels in all, got {n_pixels}"
        raise ValueError(msg)


def _are_too_many(colors: Array) -> bool:
    return len(colors) > MAX_COUNTED and not is_tabular(colors.dtype, colors.shape[1])


def too_many_colors() -> TooManyColorsError:
    """Return the error that says how many distinct colors are too many."""
    msg = f"image has more than {MAX_COUNTED} distinct colors, too many to count"
    return TooManyColorsError(msg)


def count_pixels(
    images: list[Array], masks: list[Mask | None], *, with_outside: bool = False
) -> tuple[Array, Array] | None:
    """Count the distinct finite colors of images (..., C) of one kind.

    Returns colors (n, C) and counts (n, 1) of the pixels where the masks are True; with
    `with_outside`, counts (n, 2) of these and of all other pixels, from the same pass.
    Returns None if there are too many colors: up to 2^24 are counted where they index a
    table, else up to 2^20. They are in the order of their cells, or sorted if they have
    too many channels for cells.
    """
    dtype, n_channels = images[0].dtype.newbyteorder("="), images[0].shape[-1]
    n_codes = n_codes_of(dtype, n_channels) if is_tabular(dtype, n_channels) else 0
    if any(map(is_lazy, images)):
        count = partial(_count_sides, n_codes, with_outside)
        parts = fold_chunks(images, masks, count, partial(_merge_sides, n_codes))
        if None in parts:
            return None
        rows = [_rows(part, dtype, n_channels) for part in parts if part is not None]
        del parts  # They may be as large as the rows are.
        if not with_outside:
            return _in_cells(*rows[0])
        (colors, inside), (others, whole) = rows
        # What is not inside of the whole is outside.
        n_inside = inside.astype(np.int64) * np.array([1, -1])
        n_all = whole.astype(np.int64) * np.array([0, 1])
        both = np.concatenate((colors, others)), np.concatenate((n_inside, n_all))
        return _inside_first(*_merged(*both))
    blocks = masked_blocks(images, masks, with_outside)
    if n_codes:
        codes, counts = _count_codes(blocks, n_codes, 1 + with_outside)
        colors = colors_of(codes, dtype, n_channels)
        checkpoint()
        if not with_outside:
            return _in_cells(colors, counts)
        return _inside_first(colors, counts)
    counted = _count_sorted(blocks, np.empty((0, n_channels), dtype))
    return None if counted is None else _in_cells(*counted)


def masked_blocks(
    images: list[Array], masks: list[Mask | None], with_outside: bool = False
) -> Iterator[tuple[Array, int]]:
    """Yield blocks of pixels (m, C), with 0 for those under the masks, 1 for others."""
    for image, mask in zip(images, masks, strict=True):
        if mask is None:
            yield from ((block, 0) for _, block in pixel_blocks(image))
            continue
        for box in cut_boxes(mask.shape, image.shape[-1] * image.itemsize):
            sides = [mask[box], ~mask[box]] if with_outside else [mask[box]]
            for side, chosen in enumerate(sides):
                if chosen.any():
                    yield native_pixels(image[box][chosen]), side


def _in_cells(colors: Array, counts: Array) -> tuple[Array, Array]:
    """Bring colors (n, C) into the order of their cells, unless these are too many."""
    if len(colors) == 0 or colors.shape[1] > MAX_CELL_CHANNELS:
        return colors, counts
    order = cell_order(to_points(colors, frame_of([colors])))
    # One after the other, so that the unordered ones are freed: they may be many.
    colors = colors.take(order, axis=0)
    checkpoint()
    return colors, counts.take(order, axis=0)


def _inside_first(colors: Array, counts: Array) -> tuple[Array, Array]:
    """Bring the colors under the masks into order, and then the others.

    The first ones are as if there were no others.
    """
    inside = counts[:, 0] > 0
    parts = [_in_cells(colors[some], counts[some]) for some in (inside, ~inside)]
    colors, counts = map(np.concatenate, zip(*parts, strict=True))
    return colors, counts


def in_order(colors: Array, values: Array) -> tuple[Array, Array]:
    """Bring some counted colors (n, C) with values (n, m) into the order of counts."""
    return _in_cells(*_merged(colors, values))


def _count_codes(
    blocks: Iterable[tuple[Array, int]], n_codes: int, n_columns: int
) -> tuple[Array, Array]:
    """Return the distinct codes, ascending, and their pixel numbers."""
    tables, few = _fill_tables(blocks, n_codes, n_columns)
    return _used_codes(tables) if tables else _sorted_codes(few, n_columns)


def _fill_tables(
    blocks: Iterable[tuple[Array, int]], n_codes: int, n_columns: int
) -> tuple[list[Array], list[tuple[Array, int]]]:
    """Count pixels in a table for each column, or return them where they are few."""
    tables: list[Array] = []
    few: list[tuple[Array, int]] = []
    n_pixels, room = 0, code_room()
    for block, column in blocks:
        few.append((block, column))
        n_pixels += len(block)
        if n_pixels < n_columns * _SORT_BELOW:
            continue
        if not tables:
            tables = [np.zeros(n_codes, _NARROW) for _ in range(n_columns)]
        if n_pixels > np.iinfo(_NARROW).max:
            tables = [table.astype(np.uint64, copy=False) for table in tables]
        for pixels, i in few:
            for _, codes in cut_codes(pixels, room):
                np.add.at(tables[i], codes, tables[i].dtype.type(1))
        few.clear()
    return tables, few


def _sorted_codes(few: list[tuple[Array, int]], n_columns: int) -> tuple[Array, Array]:
    """Return the distinct codes of few pixels, ascending, and their numbers."""
    none = np.empty(0, dtype=np.intp)
    parts = [
        np.unique(
            np.concatenate([none, *(codes_of(p) for p, i in few if i == column)]),
            return_counts=True,
        )
        for column in range(n_columns)
    ]
    codes = parts[0][0] if n_columns == 1 else np.union1d(parts[0][0], parts[1][0])
    counts = np.zeros((len(codes), n_columns), dtype=np.int64)
    for column, (some, numbers) in enumerate(parts):
        counts[np.searchsorted(codes, some), column] = numbers
    return codes.astype(np.uint32), counts


def _used_codes(tables: list[Array]) -> tuple[Array, Array]:
    """Return the codes that some table has a count of, and the counts of all tables."""
    parts = []
    for block in cut(len(tables[0]), 4):
        used = tables[0][block] != 0
        for table in tables[1:]:
            used |= table[block] != 0
        parts.append((np.flatnonzero(used) + block.start).astype(np.uint32))
    codes = np.concatenate(parts)
    # Codes may be many: there is no second copy of them while counts are looked up.
    parts.clear()
    counts = np.empty((len(codes), len(tables)), tables[0].dtype)
    for block in cut(len(codes), 8):
        for column, table in zip(counts.T, tables, strict=True):
            column[block] = table.take(codes[block])
    return codes, counts


class _Part(NamedTuple):
    """Distinct colors of a part of the pixels, and their numbers (n, 1)."""

    # Codes (n, 1), or colors (n, C) that are no codes; None if all codes are counted.
    keys: Array | None
    counts: Array


def _count_sides(
    n_codes: int, with_outside: bool, images: list[Array], masks: list[Mask | None]
) -> list[_Part | None]:
    """Count some pixels under their masks and, if those outside are wanted, all."""
    sides: list[list[Mask | None]] = [masks, [None] * len(masks)]
    return [_count_part(n_codes, images, s) for s in sides[: 1 + with_outside]]


def _merge_sides(n_codes: int, found: list[list[_Part | None]]) -> list[_Part | None]:
    return [_merge_parts(n_codes, list(side)) for side in zip(*found, strict=True)]


def _count_part(
    n_codes: int, images: list[Array], masks: list[Mask | None]
) -> _Part | None:
    """Count some pixels, as codes if there are such; see `count_pixels`."""
    blocks = masked_blocks(images, masks)
    if not n_codes:
        dtype = images[0].dtype.newbyteorder("=")
        found = _count_sorted(blocks, np.empty((0, images[0].shape[-1]), dtype))
        return None if found is None else _Part(*found)
    tables, few = _fill_tables(blocks, n_codes, 1)
    if tables:
        return _part_of(tables[0])
    codes, counts = _sorted_codes(few, 1)
    return _Part(codes[:, np.newaxis], counts)


def _merge_parts(n_codes: int, parts: list[_Part | None]) -> _Part | None:
    """Add up the counts of parts, unless there are too many colors."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if n_codes and sum(len(part.counts) for part in known) > _SORT_BELOW:
        return _add_in_table(n_codes, known)
    keys = np.concatenate([part.keys for part in known if part.keys is not None])
    counts = np.concatenate([part.counts for part in known])
    merged = _Part(*_merged(keys, counts.astype(np.int64)))
    return None if len(merged.counts) > MAX_COUNTED and not n_codes else merged


def _add_in_table(n_codes: int, parts: list[_Part]) -> _Part:
    """Add up the counts of codes in a table of all."""
    n_pixels = sum(int(part.counts.sum()) for part in parts)
    is_narrow = n_pixels <= np.iinfo(_NARROW).max
    table = np.zeros(n_codes, _NARROW if is_narrow else np.uint64)
    for part in parts:
        for block in cut(len(part.counts), 8):
            place = block if part.keys is None else part.keys[block, 0]
            added = part.counts[block, 0].astype(table.dtype)
            table[place] = table[place] + added
    return _part_of(table)


def _part_of(table: Array) -> _Part:
    """Return the counts in a table, in the smaller form."""
    if np.count_nonzero(table) > _SPARSE:
        return _Part(None, table[:, np.newaxis])
    codes, counts = _used_codes([table])
    return _Part(codes[:, np.newaxis], counts)


def _rows(part: _Part, dtype: np.dtype[Any], n_channels: int) -> tuple[Array, Array]:
    """Return the colors (n, C) of a part, and their counts (n, 1)."""
    keys, counts = part
    if keys is None:
        keys, counts = _used_codes([counts[:, 0]])
    if is_tabular(dtype, n_channels):
        keys = colors_of(keys.reshape(-1), dtype, n_channels)
    return keys, counts


def _count_sorted(
    blocks: Iterable[tuple[Array, int]], none: Array
) -> tuple[Array, Array] | None:
    """Count colors of any dtype by sorting, to begin with `none`, if not too many."""
    colors, counts = none, np.empty((0, 1), dtype=np.int64)
    waiting: list[Array] = []
    for block, _ in itertools.chain(blocks, [(none, 0)]):
        waiting.append(finite_pixels(block))
        if block is not none and sum(some.nbytes for some in waiting) < _SORTED:
            continue
        pixels = np.concatenate([colors, *waiting])
        waiting.clear()
        ones = np.ones((len(pixels) - len(colors), 1), dtype=np.int64)
        colors, counts = _merged(pixels, np.concatenate((counts, ones)))
        if len(colors) > MAX_COUNTED:
            return None
    return colors, counts


def _merged(
    pixels: Array, counts: NDArray[np.int64]
) -> tuple[Array, NDArray[np.int64]]:
    """Add up the counts (n, m) of equal rows."""
    key = keys(pixels)
    checkpoint()
    # Not stable, for rows of one key are equal.
    order = np.argsort(key)
    checkpoint()
    key, rows = key.take(order), pixels.take(order, axis=0)
    checkpoint()
    is_first = np.ones(len(key), dtype=bool)
    np.not_equal(key[1:], key[:-1], out=is_first[1:])
    if (rows[1:] != rows[:-1])[~is_first[1:]].any():
        # Two rows of one key, as of 2^20 colors once in 2^25 images.
        order = np.lexsort(pixels.T)
        rows = pixels.take(order, axis=0)
        is_first[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    starts = np.flatnonzero(is_first)
    if len(starts) == 0:
        return rows, counts
    totals = np.add.reduceat(counts.take(order, axis=0), starts)
    return rows.take(starts, axis=0), totals


def finite_pixels(pixels: Array) -> Array:
    """Return the finite rows (m, C), with one zero instead of two."""
    if pixels.dtype.kind != "f":
        return pixels
    finite = np.isfinite(pixels).all(axis=1)
    return np.asarray(pixels[finite] + pixels.dtype.type(0))
