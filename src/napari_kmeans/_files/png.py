"""PNG files: compressed to the fewest bytes, and read at their full depth.

`shrink_png` compresses the content of a file anew, `decode_deep_png` reads the 16 bits
that Pillow would cut to 8, and `exif_of_png` and `durations_of_png` read chunks without
the pixels. All take the content of a file; everything else about PNG is left to Pillow.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "decode_deep_png",
    "durations_of_png",
    "exif_of_png",
    "is_deep_png",
    "shrink_png",
]

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
    if free or not _chunks(content, b"tRNS") or _chunks(shrunk, b"tRNS"):
        return shrunk
    # oxipng drops the opacity of a palette that is opaque; one entry brings it back.
    start = shrunk.index(b"IDAT") - 4
    opaque = b"tRNS\xff"
    chunk = struct.pack(">I", 1) + opaque + struct.pack(">I", zlib.crc32(opaque))
    return shrunk[:start] + chunk + shrunk[start:]


def is_deep_png(content: bytes) -> bool:
    """Whether the content is that of a PNG file of 16 bits per channel."""
    return content.startswith(_SIGNATURE) and content[24:25] == b"\x10"


def decode_deep_png(content: bytes) -> NDArray[np.uint16]:
    """Decode a PNG file of 16 bits per channel, gray with opacity as RGBA.

    Pillow would drop the lower 8 bits.
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
    packed = b"".join(_chunks(plain, b"IDAT"))
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    pixels = rows[:, 1:].copy().view(">u2").reshape(height, width, n_channels)
    pixels = pixels.astype(np.uint16)
    for key in _chunks(plain, b"tRNS"):
        opaque = (pixels != np.frombuffer(key, ">u2")).any(axis=-1, keepdims=True)
        alpha = np.where(opaque, np.uint16(65535), np.uint16(0))
        pixels = np.concatenate([pixels, alpha], axis=-1)
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    return pixels[..., [0, 0, 0, 1]] if pixels.shape[-1] == 2 else pixels


def exif_of_png(content: bytes) -> bytes:
    """Return the EXIF data of a PNG file, which may stand behind the pixels."""
    return b"".join(_chunks(content, b"eXIf")[:1])


def durations_of_png(content: bytes, n_frames: int) -> tuple[float, ...]:
    """Return the seconds that each frame is shown, 0 for a first that is not timed."""
    delays = [struct.unpack_from(">HH", c, 20) for c in _chunks(content, b"fcTL")]
    # The PNG specification counts in hundredths if it is not said otherwise.
    seconds = [count / (fraction or 100) for count, fraction in delays]
    return (*[0.0] * (n_frames - len(seconds)), *seconds)


def _chunks(content: bytes, wanted: bytes) -> list[bytes]:
    """Return the data of all chunks of one kind, as far as the file goes."""
    found, position = [], len(_SIGNATURE)
    while position + 8 <= len(content):
        n_bytes, kind = struct.unpack_from(">I4s", content, position)
        if kind == wanted:
            found.append(content[position + 8 : position + 8 + n_bytes])
        position += 12 + n_bytes
    return found
