"""The directories of a TIFF file, looked through before anything follows them.

`check_directories` walks the pages of a file and stops at what a reader would follow
for ever or pay for by the claim: pages in a circle, values that are named again and
again, strips and tiles that the file does not have. And at what a reader would pass by:
pages behind the end of a file that is cut off. It reads no pixels. What is known
afterwards is that a reader's time and memory are in proportion to the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple, NoReturn

__all__ = ["check_directories"]

# Bytes of a value of each type of TIFF 6.0, section 2, and of BigTIFF.
_TYPE_SIZES = dict(enumerate((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)))
_WIDTH, _LENGTH, _SAMPLES, _ROWS_PER_STRIP = 256, 257, 277, 278
_STRIP_OFFSETS, _PLANAR, _TILE_WIDTH, _TILE_LENGTH = 273, 284, 322, 323
_TILE_OFFSETS, _SUB_DIRECTORIES = 324, 330
# Tags whose values are read with a page: arrays of offsets, texts and short ones.
_LOADED = (258, 270, 273, 279, 282, 283, 305, 324, 325, 330, 338, 339, 347, 513, 514)
# Those without which a page is not what it was: without a description, planes lose
# their order and their channels.
_NEEDED = (258, 270, 273, 279, 320, 324, 325, 338, 339, 347)
# Tags by which pages are images of one kind.
_OF_KIND = (254, 255, 256, 257, 258, 259, 262, 277, 278, 284, 322, 323, 338, 339)
_MOST_KINDS = 64
# Values may be shared by pages, but not read more often than this.
_MOST_READS = 8
# Tags of one whole number, and the types of such. A reader would multiply by others.
_SINGLE = (254, 256, 257, 259, 262, 266, 274, 277, 284, 317, 322, 323, 32997, 32998)
_WHOLE = (1, 3, 4, 16)
# Directories without an image that a reader passes by.
_MOST_EMPTY = 64
# Strips and tiles of a page that cost nothing worth mentioning, and the fewest pixels
# that each has of more than that.
_FREE_SEGMENTS = 1 << 16
_LEAST_PIXELS = 16
_CUT_OFF = "the file is cut off"


class _Value(NamedTuple):
    """One entry of a directory: its type, number and the value or where it stands."""

    kind: int
    number: int
    field: bytes

    @property
    def n_bytes(self) -> int:
        return _TYPE_SIZES.get(self.kind, 0) * self.number


class _Layout(NamedTuple):
    """How numbers are stored: by "<" or ">", in a classic file or in BigTIFF."""

    order: str
    is_big: bool

    def offset_at(self, data: bytes) -> int:
        return int(struct.unpack(self.order + "IQ"[self.is_big], data)[0])

    @property
    def width(self) -> int:
        """Bytes of an offset."""
        return 8 if self.is_big else 4


def _fail(text: str) -> NoReturn:
    """Raise what `formats.faults_in_words` takes for a damaged file."""
    msg = f"{text}; get the file again, or save it anew"
    raise ValueError(msg)


def check_directories(file: IO[bytes]) -> None:
    """Raise ValueError if pages take more than the bytes of the file account for."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16)
    layout = _Layout("<" if head[:2] == b"II" else ">", b"+" in head[2:4])
    start = head[8:16] if layout.is_big else head[4:8]
    if len(start) < layout.width:
        _fail(_CUT_OFF)
    waiting = [offset for offset in (layout.offset_at(start),) if offset]
    spent = loaded = 0
    kinds, n_empty = set(), 0
    while waiting:
        entries, following, n_bytes = _read_directory(file, waiting.pop(), layout)
        spent += n_bytes
        if spent > size:
            _fail("its pages run in a circle, or overlap")
        loaded += sum(entries[code].n_bytes for code in _LOADED if code in entries)
        if loaded > _MOST_READS * size:
            _fail("its pages name the same values over again")
        n_empty += not {_WIDTH, _LENGTH} <= entries.keys()
        if n_empty > _MOST_EMPTY:
            _fail("it has pages without an image")
        for code in _SINGLE:
            value = entries.get(code)
            if value and (value.number != 1 or value.kind not in _WHOLE):
                _fail(f"tag {code} must be one whole number")
        _check_segments(entries, layout)
        _check_end(entries, following, layout, size)
        # A value that stands elsewhere counts by its length.
        found = [entries.get(code) for code in _OF_KIND]
        kinds.add(
            tuple(v if v and v.n_bytes <= layout.width else v and v[:2] for v in found)
        )
        if len(kinds) > _MOST_KINDS:
            _fail(f"it holds more than {_MOST_KINDS} images of different kinds")
        waiting += [following] if following else []
        if _SUB_DIRECTORIES in entries:
            waiting += _offsets(file, entries[_SUB_DIRECTORIES], layout, size)


def _read_directory(
    file: IO[bytes], offset: int, layout: _Layout
) -> tuple[dict[int, _Value], int, int]:
    """Return the entries by code, the offset of the next page, and bytes taken."""
    file.seek(offset)
    width, order = layout.width, layout.order
    start = file.read(8 if layout.is_big else 2)
    if len(start) < (8 if layout.is_big else 2):
        _fail(_CUT_OFF)
    n_entries = struct.unpack(order + "HQ"[layout.is_big], start)[0]
    entry = struct.Struct(f"{order}HH{'IQ'[layout.is_big]}{width}s")
    n_bytes = min(n_entries, 1 << 16) * entry.size
    data = file.read(n_bytes + width)
    if len(data) < n_bytes + width:
        _fail(_CUT_OFF)
    entries: dict[int, _Value] = {}
    for code, kind, count, field in entry.iter_unpack(data[:n_bytes]):
        entries.setdefault(code, _Value(kind, count, field))
    following = layout.offset_at(data[n_bytes:])
    return entries, following, len(start) + len(data)


def _number(
    entries: dict[int, _Value], code: int, layout: _Layout, default: int
) -> int:
    """Return a whole number that stands in its entry, or else the default."""
    value = entries.get(code)
    size = _TYPE_SIZES.get(value.kind, 0) if value else 0
    if value is None or size not in (1, 2, 4, 8) or size > layout.width:
        return default
    letter = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    return int(struct.unpack_from(layout.order + letter, value.field)[0]) or default


def _check_end(
    entries: dict[int, _Value], following: int, layout: _Layout, size: int
) -> None:
    """Raise ValueError if the next page, or a value of this one, is behind the end."""
    if following >= size:
        _fail(_CUT_OFF)
    for value in (entries[code] for code in _NEEDED if code in entries):
        is_elsewhere = value.n_bytes > layout.width
        if is_elsewhere and layout.offset_at(value.field) + value.n_bytes > size:
            _fail(_CUT_OFF)


def _check_segments(entries: dict[int, _Value], layout: _Layout) -> None:
    """Raise ValueError if a page claims strips or tiles that it does not have."""

    def number(code: int, default: int) -> int:
        return _number(entries, code, layout, default)

    width, length = number(_WIDTH, 1), number(_LENGTH, 1)
    if _TILE_WIDTH in entries:
        across = -(-width // number(_TILE_WIDTH, width))
        claimed = across * -(-length // number(_TILE_LENGTH, length))
    else:
        claimed = -(-length // number(_ROWS_PER_STRIP, length))
    planes = number(_SAMPLES, 1) if number(_PLANAR, 1) == 2 else 1
    # Volumes in one page: ImageDepth and TileDepth.
    planes *= -(-number(32997, 1) // number(32998, 1))
    claimed *= planes
    if claimed <= _FREE_SEGMENTS:
        return
    given = entries.get(_TILE_OFFSETS) or entries.get(_STRIP_OFFSETS)
    n_given = given.number if given else 0
    n_pixels = width * length * planes
    if claimed > 2 * n_given or claimed * _LEAST_PIXELS > n_pixels:
        size = f"{width:,} x {length:,}"
        _fail(f"too many strips or tiles: {claimed:,} for {size} pixels")


def _offsets(
    file: IO[bytes], value: _Value, layout: _Layout, size: int
) -> Iterator[int]:
    """Yield the offsets of directories below a page that lie in the file."""
    width = _TYPE_SIZES.get(value.kind, 0)
    if width not in (4, 8):
        return
    data = value.field
    if value.n_bytes > layout.width:
        file.seek(layout.offset_at(data))
        data = file.read(min(value.n_bytes, size))
    whole = min(len(data), value.n_bytes) // width * width
    for (offset,) in struct.iter_unpack(layout.order + "IQ"[width == 8], data[:whole]):
        if 0 < offset < size:
            yield offset
