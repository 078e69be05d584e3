"""Numbers that tell colors apart, and a sample that depends on no order.

`keys` sort and compare rows of channels as single numbers. `lowest` draws some colors
as if at random, the same ones of the same set, however it is cut and ordered.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array

__all__ = ["keys", "lowest"]


def keys(pixels: Array) -> NDArray[np.uint64]:
    """Return a 64-bit key of each row (m, C): its bytes, or a hash of more than 8."""
    octets = np.ascontiguousarray(pixels).view(np.uint8)
    if octets.shape[1] % 8:
        n_words = -(-octets.shape[1] // 8)
        padded = np.zeros((len(octets), 8 * n_words), dtype=np.uint8)
        padded[:, : octets.shape[1]] = octets
        octets = padded
    words = octets.view("<u8")
    key = words[:, 0].astype(np.uint64)
    for word in words.T[1:]:
        key = _mix(key) + word
    return key


def lowest(blocks: Iterable[Array], none: Array, m: int) -> Array:
    """Return up to m distinct colors of blocks (n, C), those of the lowest hashes.

    They are `none` (0, C) where there is no block.
    """
    some, key = none, _mix(keys(none))
    for colors in blocks:
        rank = _mix(keys(colors))
        # None above the highest of enough can be among the lowest.
        chosen = rank <= key[-1] if len(key) == m else slice(None)
        key = np.concatenate((key, rank[chosen]))
        key, first = np.unique(key, return_index=True)
        key, first = key[:m], first[:m]
        some = np.concatenate((some, colors[chosen]))[first]
    return some


def _mix(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Do a round of splitmix64, Steele, Lea and Flood, OOPSLA 2014, figure 16."""
    key = (key ^ key >> np.uint64(31)) * np.uint64(0x9E3779B97F4A7C15)
    return (key ^ key >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
