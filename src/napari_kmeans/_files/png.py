"""PNG files: compressed to the fewest bytes, and read as they are meant.

`shrink_png` compresses the content of a file anew, and `with_rows` puts other rows into
a file. `cleaned_png` takes out of a file what Pillow would misread, before Pillow opens
it. `join_png_film` and `frames_of_png` are for films, and `decode_deep_png` reads the
16 bits that Pillow would cut to 8; `exif_of_png`, `durations_of_png` and
`colors_of_png` read chunks without the pixels, and `with_cicp` adds one. All take the
content of a file; everything else about PNG is left to Pillow, and the rows of indices
to `png_rows`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._files.formats import check_pixel_limit, refuse

__all__ = [
    "cleaned_png",
    "colors_of_png",
    "decode_deep_png",
    "durations_of_png",
    "exif_of_png",
    "frames_of_png",
    "is_deep_png",
    "is_png",
    "join_png_film",
    "numbered_png",
    "shrink_png",
    "with_cicp",
    "with_rows",
]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Length of the data, and the kind, of a chunk.
_HEAD = struct.Struct(">I4s")
_HEADER_END = 33
_INDEXED = 3
# Color types of gray levels.
_GRAYS = (0, 4)
_N_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
# Color types of which one level or color may be transparent.
_WITH_KEY = (0, 2)
# What the pixels depend on.
_CRITICAL = (b"IHDR", b"tRNS", b"IDAT", b"IEND")
# What means nothing behind them, where Pillow would take it for the pixels before.
_BEFORE_PIXELS = (b"PLTE", b"tRNS", b"iCCP")
# Most bytes of a chunk, less than the 2**31 that PNG allows.
_MOST_DATA = 1 << 30
# What becomes of a frame after it was shown, and how it is laid on the one before
# (PNG, section 11.3.6.2).
_LEAVE, _CLEAR, _RESTORE = 0, 1, 2
_REPLACE = 0
_COLORS = (b"PLTE", b"tRNS")
_MEANINGS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_MOST_PLAYS = (1 << 31) - 1
_LONGEST_DELAY = 65535
# What Pillow is to see: pixels, films, color profile, resolution and orientation.
_KEPT = frozenset(b"IHDR PLTE tRNS IDAT IEND acTL fcTL fdAT iCCP pHYs eXIf".split())
# Of texts our own, and those where programs keep the orientation.
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_TEXTS = (b"napari-kmeans\0", b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
# First column and row of each pass, and the steps to the next (PNG, section 8.2).
_NOT_INTERLACED = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def shrink_png(content: bytes, *, level: int = 2, keep_palette: bool = False) -> bytes:
    """Compress a PNG file anew by oxipng, to the same pixels in fewer bytes.

    A palette stays one, as it is or brought into the order that compresses best.
    """
    color_type = content[25]
    shrunk = _optimized(
        content,
        level=level,
        bit_depth_reduction=not keep_palette,
        color_type_reduction=color_type != _INDEXED,
        grayscale_reduction=color_type != _INDEXED,
        palette_reduction=not keep_palette,
    )
    opacity = _data_of(content, b"tRNS")
    if not (keep_palette and opacity) or _data_of(shrunk, b"tRNS"):
        return shrunk
    # oxipng drops the opacity of a palette that is opaque; one entry brings it back.
    start = shrunk.index(b"IDAT") - 4
    return shrunk[:start] + _chunk(b"tRNS", opacity[0][:1]) + shrunk[start:]


def with_rows(content: bytes, shape: tuple[int, ...], rows: bytes) -> bytes:
    """Return a PNG file with the compressed rows of other pixels (rows, columns)."""
    parts = [_SIGNATURE]
    for kind, start, end in _chunks(content):
        if kind == b"IHDR":
            header = struct.pack(">II", shape[1], shape[0]) + content[24 : end - 4]
            parts.append(_chunk(kind, header))
        elif kind == b"IDAT":
            firsts = range(0, len(rows), _MOST_DATA)
            parts += [_chunk(kind, rows[a : a + _MOST_DATA]) for a in firsts]
        else:
            parts.append(content[start:end])
    return b"".join(parts)


def is_png(content: bytes) -> bool:
    """Whether a file starts as PNG files do."""
    return content.startswith(_SIGNATURE)


def is_deep_png(content: bytes) -> bool:
    """Whether the content is that of a PNG file of 16 bits per channel."""
    return is_png(content) and content[24:25] == b"\x10"


def join_png_film(
    stills: Sequence[bytes],
    places: Sequence[tuple[int, int]],
    durations: Sequence[float],
    plays: int,
) -> bytes:
    """Join PNG files of one kind to a film, in which each replaces a part of the last.

    Each has the column and the row where it lies; the first is all of the frame.
    """
    first, *_ = stills
    start = first.index(b"IDAT") - 4
    film = [
        first[:start],
        _chunk(b"acTL", struct.pack(">II", len(stills), min(plays, _MOST_PLAYS))),
    ]
    n_chunks = 0
    for number, (still, place) in enumerate(zip(stills, places, strict=True)):
        duration = durations[number] if durations else 0
        control = n_chunks, *struct.unpack_from(">II", still, 16), *place
        control += (*_delay(duration), _LEAVE, _REPLACE)
        film.append(_chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control)))
        n_chunks += 1
        data = b"".join(_data_of(still, b"IDAT"))
        if number:
            film.append(_chunk(b"fdAT", struct.pack(">I", n_chunks) + data))
            n_chunks += 1
        else:
            film.append(_chunk(b"IDAT", data))
    return b"".join([*film, _chunk(b"IEND", b"")])


def frames_of_png(content: bytes) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a film of up to 8 bits as they are shown, RGBA.

    Pillow clears indices to 0, whatever color that is, and mixes opacities.
    """
    from PIL import Image

    width, height = struct.unpack_from(">II", content, 16)
    canvas = Image.new("RGBA", (width, height))
    for control, still in _stills(content):
        _, across, down, left, top, _, _, after, mixing = control
        box = left, top, left + across, top + down
        if not (across and down and box[2] <= width and box[3] <= height):
            refuse(f"a frame of the PNG film does not lie in it: {box}")
        with Image.open(io.BytesIO(still)) as image:
            part = image.convert("RGBA")
        before = canvas.copy()
        if mixing == _REPLACE:
            canvas.paste(part, box)
        else:
            canvas.alpha_composite(part, (left, top))
        yield np.array(canvas)
        if after == _CLEAR:
            canvas.paste((0, 0, 0, 0), box)
        elif after == _RESTORE:
            canvas = before


def numbered_png(content: bytes) -> bytes:
    """Return an indexed PNG file in which the red of each color is its index."""
    (start, end) = next((a, b) for k, a, b in _chunks(content) if k == b"PLTE")
    numbers = np.zeros(((end - start - 12) // 3, 3), np.uint8)
    numbers[:, 0] = np.arange(len(numbers))
    return content[:start] + _chunk(b"PLTE", numbers.tobytes()) + content[end:]


def cleaned_png(content: bytes) -> bytes:
    """Return the content of a PNG file without what Pillow misreads.

    A text would replace what Pillow knows of the same name, such as "transparency". And
    a transparent level of less than 8 bits is compared with levels of 8 bits. Raises
    Refused unless the file has one header, at its start.
    """
    depth, color_type, parts = 0, 0, [memoryview(_SIGNATURE)]
    has_pixels = False
    whole = memoryview(content)
    for kind, start, end in _chunks(content):
        if (kind == b"IHDR") != (start == len(_SIGNATURE)):
            refuse("a PNG file must have one header, at its start")
        if kind == b"IHDR":
            depth, color_type = content[24:26]
        has_pixels |= kind == b"IDAT"
        if has_pixels and kind in _BEFORE_PIXELS:
            continue
        if kind == b"tRNS" and color_type in _WITH_KEY and depth <= 8:
            top = (1 << depth) - 1
            key = np.frombuffer(content[start + 8 : end - 4], ">u2") & top
            key *= 255 // top
            parts.append(memoryview(_chunk(b"tRNS", key.astype(">u2").tobytes())))
        elif kind in _KEPT or (
            kind in _TEXT_CHUNKS and content.startswith(_TEXTS, start + 8)
        ):
            parts.append(whole[start:end])
    cleaned = b"".join(parts)
    return content if cleaned == content else cleaned


def decode_deep_png(content: bytes) -> NDArray[np.uint16]:
    """Decode a PNG file of 16 bits per channel, gray with opacity as RGBA.

    Pillow would drop the lower 8 bits. The rows unfold to the size that the header
    announces, never to more; imagecodecs only undoes their filters.
    """
    kind = b""
    for kind, start, end in _chunks(content):
        check_sum = struct.pack(">I", zlib.crc32(content[start + 4 : end - 4]))
        if kind in _CRITICAL and content[end - 4 : end] != check_sum:
            refuse(f"the {kind.decode()} chunk of the PNG file is damaged")
    if kind != b"IEND":
        refuse("the PNG file is truncated")
    width, height, _, color_type = struct.unpack_from(">IIBB", content, 16)
    check_pixel_limit((height, width), len(content))
    pixels = np.empty((height, width, _N_CHANNELS[color_type]), np.uint16)
    steps = _ADAM7 if content[28] else _NOT_INTERLACED
    parts = [pixels[y::down, x::across] for x, y, across, down in steps]
    parts = [part for part in parts if part.size]
    # Each row starts with a byte that says how it is filtered.
    sizes = [len(part) * (1 + part[0].nbytes) for part in parts]
    rows = zlib.decompressobj().decompress(
        b"".join(_data_of(content, b"IDAT")), sum(sizes)
    )
    if len(rows) < sum(sizes):
        refuse("the PNG file is truncated: it has fewer pixels than its header says")
    start = 0
    for part, size in zip(parts, sizes, strict=True):
        part[...] = _unfiltered(rows[start : start + size], part.shape, color_type)
        start += size
    keys = _data_of(content, b"tRNS")[:1] if color_type in _WITH_KEY else []
    for key in keys:
        opaque = (pixels != np.frombuffer(key, ">u2")).any(axis=-1, keepdims=True)
        alpha = np.where(opaque, np.uint16(65535), np.uint16(0))
        pixels = np.concatenate([pixels, alpha], axis=-1)
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    return pixels[..., [0, 0, 0, 1]] if pixels.shape[-1] == 2 else pixels


def exif_of_png(content: bytes) -> bytes:
    """Return the EXIF data of a PNG file, which may stand behind the pixels."""
    return b"".join(_data_of(content, b"eXIf")[:1])


def colors_of_png(content: bytes) -> tuple[bool, dict[bytes, bytes]]:
    """Return whether pixels are gray, and the chunks that say what colors mean."""
    found = [(k, content[a + 8 : b - 4]) for k, a, b in _chunks(content)]
    return content[25] in _GRAYS, {k: data for k, data in found if k in _MEANINGS}


def with_cicp(content: bytes, cicp: bytes | None) -> bytes:
    """Return the content of a PNG file with a cICP chunk behind its header."""
    chunk = b"" if cicp is None else _chunk(b"cICP", cicp)
    return content[:_HEADER_END] + chunk + content[_HEADER_END:]


def durations_of_png(content: bytes) -> tuple[float, ...]:
    """Return the seconds that each frame is shown."""
    delays = [struct.unpack_from(">HH", c, 20) for c in _data_of(content, b"fcTL")]
    # The PNG specification counts in hundredths if it is not said otherwise.
    return tuple(count / (fraction or 100) for count, fraction in delays)


def _delay(duration: float) -> tuple[int, int]:
    """Return seconds as the quotient of 16-bit integers that comes next to them."""
    duration = min(duration, _LONGEST_DELAY)
    most = int(_LONGEST_DELAY / max(duration, 1))
    return Fraction(duration).limit_denominator(most).as_integer_ratio()


def _stills(content: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Yield the control of each frame of a film, and it alone as a PNG file."""
    controls, data = [], list[list[bytes]]()
    palette = [content[a:b] for kind, a, b in _chunks(content) if kind in _COLORS]
    for kind, start, end in _chunks(content):
        if kind == b"fcTL":
            controls.append(struct.unpack_from(">IIIIIHHBB", content, start + 8))
            data.append([])
        # Pixels before the first frame are those of a still picture.
        elif kind in (b"IDAT", b"fdAT") and data:
            data[-1].append(content[start + (8 if kind == b"IDAT" else 12) : end - 4])
    for control, parts in zip(controls, data, strict=True):
        size = struct.pack(">II", *control[1:3])
        header, pixels = size + content[24:29], b"".join(parts)
        chunks = [_chunk(b"IHDR", header), *palette, _chunk(b"IDAT", pixels)]
        yield control, b"".join([_SIGNATURE, *chunks, _chunk(b"IEND", b"")])


def _optimized(content: bytes, **options: Any) -> bytes:
    """Compress a file by oxipng, or raise ValueError, also where oxipng panics."""
    import oxipng

    try:
        return bytes(oxipng.optimize_from_memory(content, **options))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # A panic of Rust is no Exception.
        msg = f"the PNG file cannot be compressed by oxipng: {error}"
        raise ValueError(msg) from error


def _unfiltered(
    rows: bytes, shape: tuple[int, ...], color_type: int
) -> NDArray[np.uint16]:
    """Return filtered rows as pixels (rows, columns, C)."""
    import imagecodecs

    header = struct.pack(">IIBBBBB", shape[1], shape[0], 16, color_type, 0, 0, 0)
    chunks = _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows, 0))
    plain = b"".join([_SIGNATURE, *chunks, _chunk(b"IEND", b"")])
    pixels: NDArray[np.uint16] = imagecodecs.png_decode(plain).reshape(shape)
    return pixels


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and its check sum."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _data_of(content: bytes, wanted: bytes) -> list[bytes]:
    """Return the data of all chunks of one kind, as far as the file goes."""
    return [content[a + 8 : b - 4] for kind, a, b in _chunks(content) if kind == wanted]


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where it starts and ends, maybe cut off."""
    start, kind = len(_SIGNATURE), b""
    while start + 8 <= len(content) and kind != b"IEND":
        n_bytes, kind = _HEAD.unpack_from(content, start)
        yield kind, start, start + 12 + n_bytes
        start += 12 + n_bytes
