"""GIF files whose frames are indices into one palette.

`encode_gif` and `decode_gif` turn frames and their palette into the content of a file
and back; `durations_of_gif` reads only the blocks between the pixels. Pillow compresses
the frames, and decompresses and paints them over each other. But when it saves a film,
it leaves out frames that equal the one before and gives each of the others a palette of
its own, and what it reads are colors. So frames are joined here, and read with their
indices in place of colors.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._files.formats import check_film_limit, refuse
from napari_kmeans._files.metadata import whole_delays

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["changes_of", "decode_gif", "durations_of_gif", "encode_gif", "is_gif"]

_STARTS = (b"GIF87a", b"GIF89a")
_LARGEST_SIDE = 65535
_LONGEST_DELAY = 65535
# Browsers show a frame of 0 or 1 hundredths for 10.
_SHORTEST_DELAY = 2
_MOST_REPEATS = 65535
_KEEP, _CLEAR = 1, 2
_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_CONTROL = 0xF9
# A color table has a power of two entries; a comment says how many of them count.
_N_COLORS = re.compile(rb"(\d{1,3}) colors")


def is_gif(content: bytes) -> bool:
    """Whether a file starts as GIF files do."""
    return content.startswith(_STARTS)


def encode_gif(
    frames: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    durations: Sequence[float] = (),
    plays: int = 0,
) -> bytes:
    """Encode frames (n, rows, columns); if all is opaque, only what changes in them.

    One color of an RGBA palette is clear. `durations` are seconds, or empty; `plays` is
    how often the frames are shown, 0 for ever.
    """
    from PIL import GifImagePlugin

    if max(frames.shape[1:]) > _LARGEST_SIDE:
        msg = f"a GIF file holds at most {_LARGEST_SIDE} rows or columns"
        raise ValueError(msg)
    is_opaque = palette.shape[1] == 3
    about: dict[str, Any] = {"comment": f"{len(palette)} colors"}
    control: dict[str, Any] = {}
    if len(frames) > 1:
        if plays != 1:
            # The file counts how often they are shown again.
            about["loop"] = min(max(plays - 1, 0), _MOST_REPEATS)
        # What is transparent can only be seen once the frame before is cleared.
        control["disposal"] = _KEEP if is_opaque else _CLEAR
    if not is_opaque:
        control["transparency"] = int(palette[:, 3].argmin())
    rgb = palette[:, :3].tobytes()
    parts, _ = GifImagePlugin.getheader(_plane(frames[0], rgb), info=about)
    delays = whole_delays(durations, 100, _SHORTEST_DELAY, _LONGEST_DELAY)
    places = changes_of(frames) if is_opaque else (((0, 0), frame) for frame in frames)
    for number, (place, part) in enumerate(places):
        if delays:
            control["duration"] = 10 * delays[number]
        parts += GifImagePlugin.getdata(_plane(part, rgb), place, **control)
    return b"".join([*parts, b";"])


def changes_of(
    frames: NDArray[np.uint8],
) -> Iterator[tuple[tuple[int, int], NDArray[np.uint8]]]:
    """Yield the first frame, then of each what changes; column and row of each part."""
    from PIL import Image

    yield (0, 0), frames[0]
    for before, frame in itertools.pairwise(frames):
        box = Image.fromarray(before ^ frame).getbbox()
        left, top, right, bottom = box or (0, 0, 1, 1)
        yield (left, top), frame[top:bottom, left:right]


def decode_gif(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode frames (n, rows, columns) and their palette, RGBA if one color is clear.

    Raises Refused if the frames have palettes of their own.
    """
    from PIL import Image

    places, clear, durations = _read_blocks(content)
    tables = {content[place] for place in places}
    if len(tables) != 1:
        refuse("the frames of the GIF file have palettes of their own")
    if len(clear) > 1:
        refuse("the frames of the GIF file have transparent colors of their own")
    palette = np.frombuffer(tables.pop(), np.uint8).reshape(-1, 3)
    # With its index as the red of each color, what Pillow paints are indices.
    numbered = np.zeros_like(palette)
    numbered[:, 0] = np.arange(len(palette))
    recolored = bytearray(content)
    for place in places:
        recolored[place] = numbered.tobytes()
    with Image.open(io.BytesIO(recolored)) as image:
        match = _N_COLORS.fullmatch(image.info.get("comment", b""))
        # Large enough for the first frame; one that is larger does not fit.
        shape = image.height, image.width
        check_film_limit(len(durations), shape, len(content))
        labels = np.empty((len(durations), *shape), np.uint8)
        for number in range(len(durations)):
            image.seek(number)
            labels[number] = np.array(image.convert("RGB"))[..., 0]
    # Another program may have written such a comment, too.
    if match and int(match[1]) > labels.max():
        palette = palette[: int(match[1])]
    if clear:
        alpha = np.where(np.isin(np.arange(len(palette)), list(clear)), 0, 255)
        palette = np.column_stack([palette, alpha.astype(np.uint8)])
    return labels, palette.copy()


def durations_of_gif(content: bytes) -> tuple[float, ...]:
    """Return the seconds that each frame is shown, or raise Refused."""
    return _read_blocks(content)[2]


def _plane(labels: NDArray[np.uint8], rgb: bytes) -> Image.Image:
    """Return indices and their palette as an image of Pillow."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(rgb)
    return image


def _read_blocks(content: bytes) -> tuple[list[slice], set[int], tuple[float, ...]]:
    """Return where color tables stand, clear indices, and the seconds of each frame."""
    tables: list[slice] = []
    clear = set()
    durations, duration = [], 0.0
    try:
        position = _skip_table(13, content[10], tables)
        # Other programs, too, pass by what stands between blocks, and need no end.
        while position < len(content) and (kind := content[position]) != _END:
            if kind == _EXTENSION:
                if content[position + 1] == _CONTROL:
                    control = struct.unpack_from("<BHB", content, position + 3)
                    duration = control[1] / 100
                    if control[0] & 1:
                        clear.add(control[2])
                position += 2
            elif kind == _IMAGE:
                position = _skip_table(position + 10, content[position + 9], tables) + 1
                durations.append(duration)
                duration = 0.0
            else:
                position += 1
                continue
            while content[position]:
                position += 1 + content[position]
            position += 1
    except (IndexError, struct.error):
        # Pillow finds out whether a frame is cut off.
        if not durations:
            refuse("the GIF file is truncated")
    return tables, clear, tuple(durations)


def _skip_table(start: int, flags: int, tables: list[slice]) -> int:
    """Add a color table, if the flags announce one, and return where it ends."""
    if not flags & 0x80:
        return start
    end = start + (3 << (flags & 7) + 1)
    tables.append(slice(start, end))
    return end
