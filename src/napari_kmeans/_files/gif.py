"""GIF files whose frames are indices into one palette."""

from __future__ import annotations

import io
import re
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_kmeans._files.formats import check_pixel_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["GifImage", "decode_gif", "encode_gif"]

_LARGEST_SIDE = 65535
_LOOP_FOREVER = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
# Disposal, delay and transparent index of a frame about which nothing is said.
_NO_CONTROL: tuple[int, int, int | None] = (0, 0, None)
_KEEP, _CLEAR, _RESTORE = 1, 2, 3
# A color table has a power of two entries; a comment says how many of them count.
_N_COLORS = re.compile(rb"\d+(?= colors$)")


class GifImage(NamedTuple):
    """Frames (n, rows, columns), their RGB palette and what is said about them."""

    frames: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    # The index that is not painted.
    transparent: int | None
    # Seconds that each frame is shown.
    durations: tuple[float, ...]


class _Frame(NamedTuple):
    """A frame as it is stored: the part of the image that it paints."""

    # Left, top, width and height.
    box: tuple[int, int, int, int]
    local_table: bytes
    is_interlaced: bool
    # Compressed indices, from the code size to the empty block.
    codes: bytes
    # Contents of the graphic control extension.
    disposal: int
    delay: int
    transparent: int | None


def encode_gif(image: GifImage) -> bytes:
    """Encode frames; of those after the first only what changes, if all is opaque."""
    frames, palette = image.frames, image.palette
    height, width = frames.shape[1:]
    if max(height, width) > _LARGEST_SIDE:
        msg = f"a GIF file holds at most {_LARGEST_SIDE} rows or columns"
        raise ValueError(msg)
    bits = max(1, (len(palette) - 1).bit_length())
    parts = [
        b"GIF89a",
        struct.pack("<HHBBB", width, height, 0xF0 | (bits - 1), 0, 0),
        palette.tobytes().ljust(3 << bits, b"\0"),
    ]
    if len(palette) != 1 << bits:
        comment = f"{len(palette)} colors".encode()
        parts += [b"\x21\xfe", bytes([len(comment)]), comment, b"\0"]
    if len(frames) > 1:
        parts.append(_LOOP_FOREVER)
    # What is transparent can only be seen once the frame before is cleared.
    disposal = _KEEP if image.transparent is None else _CLEAR
    for number, frame in enumerate(frames):
        delay = round(100 * image.durations[number]) if image.durations else 0
        if len(frames) > 1 or image.transparent is not None:
            parts.append(_control(disposal, min(delay, 65535), image.transparent))
        rows, columns = slice(0, height), slice(0, width)
        if number and disposal == _KEEP:
            rows, columns = _box(frame != frames[number - 1])
        parts.append(_image_block(frame[rows, columns], rows.start, columns.start))
    return b"".join([*parts, b";"])


def decode_gif(content: bytes) -> GifImage:
    """Decode a GIF file whose frames share one palette, or raise ValueError."""
    width, height, table, n_colors, stored = _parse(content)
    check_pixel_limit((len(stored), height, width), len(content))
    if not table:
        table = stored[0].local_table
    if any(frame.local_table not in (b"", table) for frame in stored):
        msg = "the frames of the GIF file have palettes of their own"
        raise ValueError(msg)
    transparent = {f.transparent for f in stored if f.transparent is not None}
    if len(transparent) > 1:
        msg = "the frames of the GIF file have transparent colors of their own"
        raise ValueError(msg)
    clear = min(transparent, default=None)
    palette = np.frombuffer(table, np.uint8).reshape(-1, 3)[:n_colors].copy()
    frames = np.empty((len(stored), height, width), np.uint8)
    canvas = np.full((height, width), clear or 0, np.uint8)
    for number, frame in enumerate(stored):
        before = canvas.copy()
        left, top, w, h = frame.box
        part = canvas[top : top + h, left : left + w]
        painted = _decode_frame(frame, table)[: part.shape[0], : part.shape[1]]
        # The first frame lies on nothing that could show through.
        is_painted = (painted != frame.transparent) if number else True
        np.copyto(part, painted, where=is_painted)
        frames[number] = canvas
        if frame.disposal == _CLEAR:
            part[...] = clear or 0
        elif frame.disposal == _RESTORE:
            canvas = before
    durations = tuple(f.delay / 100 for f in stored) if len(stored) > 1 else ()
    return GifImage(frames, palette, clear, durations)


def _control(disposal: int, delay: int, transparent: int | None) -> bytes:
    """Give the extension that says how to show the next frame."""
    flags = disposal << 2 | (transparent is not None)
    return b"\x21\xf9\x04" + struct.pack("<BHBx", flags, delay, transparent or 0)


def _box(changed: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Give the rows and columns between which all True lie, at least one pixel."""
    box = []
    for axis in (1, 0):
        found = np.flatnonzero(changed.any(axis=axis))
        box.append(slice(found[0], found[-1] + 1) if found.size else slice(0, 1))
    return box[0], box[1]


def _image_block(labels: NDArray[np.uint8], top: int, left: int) -> bytes:
    """Encode a part of the image, to be painted at that place."""
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(bytes(768))
    # Optimizing would renumber the colors.
    image.save(buffer, "GIF", optimize=False, interlace=0)
    (frame,) = _parse(buffer.getvalue())[-1]
    where = struct.pack("<HHHHB", left, top, labels.shape[1], labels.shape[0], 0)
    return b"," + where + frame.codes


def _decode_frame(frame: _Frame, table: bytes) -> NDArray[np.uint8]:
    """Decode the indices of a frame, by a file that holds nothing else."""
    from PIL import Image

    width, height = frame.box[2:]
    check_pixel_limit((height, width), len(frame.codes))
    bits = (len(table) // 3).bit_length() - 1
    size = struct.pack("<HH", width, height)
    flags = struct.pack("<BBB", 0xF0 | (bits - 1), 0, 0)
    where = b",\0\0\0\0" + size + bytes([frame.is_interlaced << 6])
    alone = b"GIF89a" + size + flags + table + where + frame.codes + b";"
    with Image.open(io.BytesIO(alone)) as image:
        return np.array(image)


def _parse(content: bytes) -> tuple[int, int, bytes, int | None, Sequence[_Frame]]:
    """Give width, height, color table, number of colors that count, and frames."""
    try:
        if content[:6] not in (b"GIF87a", b"GIF89a"):
            msg = "not a GIF file"
            raise ValueError(msg)
        width, height, flags = struct.unpack_from("<HHB", content, 6)
        table, position = _table(content, 13, flags)
        n_colors, frames, control = None, [], _NO_CONTROL
        while (kind := content[position]) != 0x3B:
            if kind == 0x21:
                label, data = content[position + 1], b""
                for start, end in _sub_blocks(content, position + 2):
                    data += content[start:end]
                    position = end
                position += 1
                if label == 0xF9:
                    control = _read_control(data)
                elif label == 0xFE and (match := _N_COLORS.search(data)):
                    n_colors = int(match[0])
            elif kind == 0x2C:
                box = struct.unpack_from("<4H", content, position + 1)
                flags = content[position + 9]
                local, start = _table(content, position + 10, flags)
                for _, end in _sub_blocks(content, start + 1):
                    position = end
                position += 1
                interlaced, codes = bool(flags & 0x40), content[start:position]
                frames.append(_Frame(box, local, interlaced, codes, *control))
                control = _NO_CONTROL
            else:
                msg = "the GIF file is corrupt"
                raise ValueError(msg)
    except (IndexError, struct.error):
        msg = "the GIF file is truncated"
        raise ValueError(msg) from None
    if not frames:
        msg = "the GIF file holds no image"
        raise ValueError(msg)
    return width, height, table, n_colors, frames


def _read_control(data: bytes) -> tuple[int, int, int | None]:
    """Give disposal, delay in hundredths of a second, and transparent index."""
    flags, delay, transparent = struct.unpack_from("<BHB", data)
    return flags >> 2 & 7, delay, transparent if flags & 1 else None


def _table(content: bytes, start: int, flags: int) -> tuple[bytes, int]:
    """Give a color table, empty if there is none, and where it ends."""
    end = start + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    return content[start:end], end


def _sub_blocks(content: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Give start and end of each block, the empty one at the end left out."""
    yield position, position
    while n_bytes := content[position]:
        yield position + 1, position + 1 + n_bytes
        position += 1 + n_bytes
