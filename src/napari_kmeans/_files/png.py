"""PNG files: made as small as they can be, and read at their full depth."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["decode_deep_png", "is_deep_png", "shrink_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INDEXED = 3
_N_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
# Bytes of pixels up to which twice the time is spent to save one or two percent.
_MOST_TRIED = 1 << 22


def shrink_png(content: bytes, *, keep_palette: bool) -> bytes:
    """Compress a PNG file anew, to the same pixels in fewer bytes.

    A palette stays one, as it is or brought into the order that compresses best.
    """
    import oxipng

    width, height, _, color_type = struct.unpack_from(">IIBB", content, 16)
    free = not keep_palette
    shrunk: bytes = oxipng.optimize_from_memory(
        content,
        level=4 if free and width * height <= _MOST_TRIED else 2,
        bit_depth_reduction=free,
        color_type_reduction=color_type != _INDEXED,
        grayscale_reduction=color_type != _INDEXED,
        palette_reduction=free,
    )
    has_opacity = any(kind == b"tRNS" for kind, _ in _chunks(content))
    if free or not has_opacity or any(kind == b"tRNS" for kind, _ in _chunks(shrunk)):
        return shrunk
    # oxipng leaves out the opacity of palettes that are opaque; one entry recalls it.
    start = shrunk.index(b"IDAT") - 4
    return shrunk[:start] + _chunk(b"tRNS", b"\xff") + shrunk[start:]


def is_deep_png(content: bytes) -> bool:
    """Tell whether the content is a PNG file of 16 bits per channel."""
    return content.startswith(_SIGNATURE) and content[24:25] == b"\x10"


def decode_deep_png(content: bytes) -> NDArray[np.uint16]:
    """Decode a PNG file of 16 bits per channel to (rows, columns, C).

    Pillow would drop the lower 8 bits. The last of 2 or 4 channels is opacity.
    """
    import oxipng

    # Without interlacing and filters, what remains is zlib's.
    plain: Any = oxipng.optimize_from_memory(
        content,
        level=0,
        force=True,
        filter=oxipng.RowFilter.none,
        interlace=oxipng.Interlacing.off,
        bit_depth_reduction=False,
        color_type_reduction=False,
        grayscale_reduction=False,
        palette_reduction=False,
    )
    width, height, _, color_type = struct.unpack_from(">IIBB", plain, 16)
    n_channels = _N_CHANNELS[color_type]
    chunks = list(_chunks(plain))
    packed = b"".join(data for kind, data in chunks if kind == b"IDAT")
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    pixels = rows[:, 1:].copy().view(">u2").reshape(height, width, n_channels)
    pixels = pixels.astype(np.uint16)
    for kind, data in chunks:
        if kind == b"tRNS":
            key = np.frombuffer(data, ">u2")
            opaque = (pixels != key).any(axis=-1, keepdims=True)
            alpha = np.where(opaque, np.uint16(65535), np.uint16(0))
            pixels = np.concatenate([pixels, alpha], axis=-1)
    return pixels


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Encode a chunk."""
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def _chunks(content: bytes) -> Any:
    """Give kind and data of each chunk."""
    position = len(_SIGNATURE)
    while position < len(content):
        n_bytes, kind = struct.unpack_from(">I4s", content, position)
        yield kind, content[position + 8 : position + 8 + n_bytes]
        position += 12 + n_bytes
