"""The rows of indexed PNG files: packed, filtered and compressed.

`compress_rows` does all of it, `pack_rows` only the first part. Both take labels, and
the index in the file that stands for each. A row of the file begins with a byte that
says how it is filtered (PNG, section 9): here as it is, or as differences from what
stands to the left, above, or at one of these and their corner. The chunks around the
rows are left to `png` and Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Floats, Labels
from napari_kmeans._core.blocks import cut, n_cores

__all__ = ["EFFORTS", "Effort", "compress_rows", "pack_rows", "sample_rows"]

# How much time is spent on a smaller file.
Effort: TypeAlias = Literal["fast", "normal", "best"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)

_Bytes: TypeAlias = NDArray[np.uint8]
# Levels of libdeflate; the last one takes no time up to so many bits.
_LEVELS: dict[Effort, int] = {"fast": 6, "normal": 10, "best": 12}
_SMALL = 1 << 21
_NONE, _SUB, _UP, _PAETH = 0, 1, 2, 4
# Filters that may be used in a file; of several, each row has the best.
_CHOICES: tuple[tuple[int, ...], ...] = ((_NONE,), (_SUB,), (_SUB, _UP, _PAETH))
# Filters are chosen by so many pixels, in bands of so many rows, the first of which is
# only there to filter the second.
_SAMPLE, _SAMPLED_ROWS = 1 << 17, 17
# Drawings and screenshots shrink to less than this share. There the best level saves
# much, and it takes little time up to so many pixels.
_FLAT, _MOST_FLAT = 1 / 8, 1 << 21


def compress_rows(labels: Labels, codes: _Bytes, bits: int, effort: Effort) -> bytes:
    """Return rows as the IDAT chunks of a PNG file hold them.

    `codes` are the indices in the file, of `bits` bits, that labels stand for.
    """
    if effort == "fast":
        return _deflated(pack_rows(labels, codes, bits), _LEVELS[effort])
    from concurrent.futures import ThreadPoolExecutor

    sample = sample_rows(labels, _SAMPLE)
    level = _LEVELS["best" if labels.size * bits <= _SMALL else effort]

    def compressed(filters: Sequence[int]) -> bytes:
        rows = pack_rows(sample, codes, bits, filters)
        if sample is not labels:
            bands = rows.reshape(-1, _SAMPLED_ROWS, rows.size // len(sample))
            rows = bands[:, 1:].ravel()
        return _deflated(rows, level)

    with ThreadPoolExecutor(n_cores()) as executor:
        tried = list(executor.map(compressed, _CHOICES))
    best = min(range(len(tried)), key=lambda i: len(tried[i]))
    is_flat = len(tried[best]) < _FLAT * sample.size * bits / 8
    if level < _LEVELS["best"] and is_flat and labels.size <= _MOST_FLAT:
        level = _LEVELS["best"]
    elif sample is labels:
        return tried[best]
    return _deflated(pack_rows(labels, codes, bits, _CHOICES[best]), level)


def sample_rows(labels: Labels, n_pixels: int) -> Labels:
    """Return rows of about `n_pixels` pixels, in bands from top to bottom, or all."""
    height, width = labels.shape
    n_bands = max(4, n_pixels // (_SAMPLED_ROWS * width))
    if (n_bands + 1) * _SAMPLED_ROWS > height:
        return labels
    starts = np.linspace(0, height - _SAMPLED_ROWS, n_bands).astype(np.intp)
    rows = starts[:, np.newaxis] + np.arange(_SAMPLED_ROWS)
    return np.take(labels, rows.ravel(), axis=0)


def pack_rows(
    labels: Labels, codes: _Bytes, bits: int, filters: Sequence[int] = (_NONE,)
) -> _Bytes:
    """Return the bytes of all rows, each filtered by one of the filters.

    Of several filters, a row has the one whose bytes have the least entropy.
    """
    height, width = labels.shape
    n_bytes = -(-width * bits // 8)
    rows = np.empty((height, 1 + n_bytes), np.uint8)
    above = np.zeros((1, n_bytes), np.uint8)
    for block in cut(height, 8 * width):
        packed = _packed(codes[labels[block]], bits)
        choices = np.stack([_filtered(packed, above, kind) for kind in filters])
        best = np.zeros(len(packed), np.intp)
        if len(filters) > 1:
            best = np.stack([_entropies(choice) for choice in choices]).argmin(axis=0)
        rows[block, 0] = np.take(filters, best)
        rows[block, 1:] = choices[best, np.arange(len(packed))]
        above = packed[-1:]
    return rows.ravel()


def _packed(indices: _Bytes, bits: int) -> _Bytes:
    """Pack rows of indices into bytes, the first index into the highest bits."""
    if bits == 8:
        return indices
    each = 8 // bits
    height, width = indices.shape
    padded = np.zeros((height, -(-width // each) * each), np.uint8)
    padded[:, :width] = indices
    packed = np.zeros((height, padded.shape[1] // each), np.uint8)
    for place in range(each):
        packed |= padded[:, place::each] << (8 - bits * (place + 1))
    return packed


def _filtered(packed: _Bytes, above: _Bytes, kind: int) -> _Bytes:
    """Filter rows, of which the first lies below the row `above`."""
    if kind == _NONE:
        return packed
    left, up = np.zeros((2, *packed.shape), np.uint8)
    left[:, 1:], up[:1], up[1:] = packed[:, :-1], above, packed[:-1]
    expected = {_SUB: left, _UP: up}.get(kind)
    if expected is None:
        expected = _paeth(left, up)
    differences: _Bytes = packed - expected
    return differences


def _paeth(left: _Bytes, up: _Bytes) -> _Bytes:
    """Return left, up or the corner of both, whichever is nearest to left + up - it."""
    corner = np.zeros_like(up)
    corner[:, 1:] = up[:, :-1]
    across, down = np.int16(up) - corner, np.int16(left) - corner
    to_left, to_up, to_corner = np.abs(across), np.abs(down), np.abs(across + down)
    found: _Bytes = np.where(to_up <= to_corner, up, corner)
    is_left = (to_left <= to_up) & (to_left <= to_corner)
    return np.where(is_left, left, found)


def _entropies(rows: _Bytes) -> Floats:
    """Return numbers that grow with the entropy of the bytes of each row."""
    places = 256 * np.arange(len(rows))[:, np.newaxis] + rows
    counts = np.bincount(places.ravel(), minlength=256 * len(rows)).reshape(-1, 256)
    found: Floats = -(counts * np.log2(np.maximum(counts, 1))).sum(axis=1)
    return found


def _deflated(rows: Any, level: int) -> bytes:
    """Compress rows by libdeflate."""
    import imagecodecs

    return bytes(imagecodecs.deflate_encode(rows, level=level, raw=False))
