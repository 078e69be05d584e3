"""The rows of indexed PNG files: packed, filtered and compressed.

`compress_rows` does all of it, `pack_rows` only the first part. Both take labels, and
the index in the file that stands for each. A row of the file begins with a byte that
says how it is filtered (PNG, section 9): here as it is, or as differences from the
indices to the left or above. The chunks around the rows are left to `png` and Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Labels
from napari_kmeans._core.blocks import cut, n_cores

__all__ = ["EFFORTS", "Effort", "compress_rows", "pack_rows", "sample_rows"]

# How much time is spent on a smaller file.
Effort: TypeAlias = Literal["fast", "normal", "best"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)

_Bytes: TypeAlias = NDArray[np.uint8]
# Levels of libdeflate.
_LEVELS: dict[Effort, int] = {"fast": 6, "normal": 10, "best": 12}
_NONE, _SUB, _UP = range(3)
# Filters that may be used in a file; of several, each band of rows has the best.
_CHOICES: tuple[tuple[int, ...], ...] = ((_NONE,), (_SUB,), (_NONE, _SUB, _UP))
# Bytes of a band: enough to count how often each value comes.
_BAND = 1 << 13
# Filters are chosen by so many pixels, in bands of so many rows.
_SAMPLE, _SAMPLED_ROWS = 1 << 17, 8
# Drawings and screenshots shrink to less than this share. There the best level saves
# much, and it takes little time up to so many pixels.
_FLAT, _MOST_FLAT = 1 / 8, 1 << 21


def compress_rows(labels: Labels, codes: _Bytes, bits: int, effort: Effort) -> bytes:
    """Return rows as the IDAT chunks of a PNG file hold them.

    `codes` are the indices in the file, of `bits` bits, that labels stand for.
    """
    if effort == "fast":
        return _deflated(pack_rows(labels, codes, bits), effort)
    from concurrent.futures import ThreadPoolExecutor

    sample = sample_rows(labels, _SAMPLE)

    def compressed(filters: Sequence[int]) -> bytes:
        return _deflated(pack_rows(sample, codes, bits, filters), effort)

    with ThreadPoolExecutor(n_cores()) as executor:
        tried = list(executor.map(compressed, _CHOICES))
    best = min(range(len(tried)), key=lambda i: len(tried[i]))
    is_flat = len(tried[best]) < _FLAT * sample.size * bits / 8
    if effort == "normal" and is_flat and labels.size <= _MOST_FLAT:
        effort = "best"
    elif sample is labels:
        return tried[best]
    return _deflated(pack_rows(labels, codes, bits, _CHOICES[best]), effort)


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

    Of several filters, a band of rows has the one whose bytes have the least entropy.
    """
    height, width = labels.shape
    n_bytes = -(-width * bits // 8)
    rows = np.empty((height, 1 + n_bytes), np.uint8)
    above, best = np.zeros((1, n_bytes), np.uint8), 0
    for block in cut(height, width):
        packed = _packed(codes[labels[block]], bits)
        choices = [_filtered(packed, above, kind) for kind in filters]
        step = max(1, _BAND // n_bytes) if len(filters) > 1 else len(packed)
        for start in range(0, len(packed), step):
            bands = [choice[start : start + step] for choice in choices]
            if len(bands) > 1:
                best = int(np.argmin([_entropy(band) for band in bands]))
            written = rows[block][start : start + step]
            written[:, 0], written[:, 1:] = filters[best], bands[best]
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
    differences = packed.copy()
    if kind == _SUB:
        differences[:, 1:] -= packed[:, :-1]
    else:
        differences[:1] -= above
        differences[1:] -= packed[:-1]
    return differences


def _entropy(band: _Bytes) -> float:
    """Return a number that grows with the entropy of bytes, for bands of one size."""
    counts = np.bincount(band.ravel(), minlength=256)
    return -float(counts @ np.log2(np.maximum(counts, 1)))


def _deflated(rows: Any, effort: Effort) -> bytes:
    """Compress rows by libdeflate."""
    import imagecodecs

    return bytes(imagecodecs.deflate_encode(rows, level=_LEVELS[effort], raw=False))
