"""Small files that claim, or unfold to, far more than they hold: bombs.

Each is refused in one line, or read as the few pixels that it claims, in little time
and memory. Those of claims that TIFF directories make are in `test_tiff_directories`,
those of compressed images in TIFF files in `test_tiff_segments`.
"""

import contextlib
import functools
import io
import json
import lzma
import struct
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fuzz.seeds import png_chunk
from napari_kmeans import read_palette
from napari_kmeans._files.indexed import decode_indexed
from napari_kmeans._files.ome_zarr import open_store
from napari_kmeans._files.pyramids import lazy_image
from napari_kmeans._files.read import decode_image, decoded_bytes, default_suffix

# Bytes that small files unfold to.
_LARGE = 1 << 27
# Beyond the limit, as one number and as two of PNG or others.
_SIDE = 60_000
_16, _SIDES = (struct.pack(">II", side, side) for side in (16, _SIDE))
_TOO_MANY = "too many pixels"
# Seconds of the processor, and bytes more than before.
_SECONDS, _MEMORY = 2, 64 << 20
# Where Linux is told to forget how much memory a process has had.
_FORGET = Path("/proc/self/clear_refs")


@functools.cache
def _zeros():
    return zlib.compress(bytes(_LARGE), 1)


def _saved(kind, size=(16, 16), mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def _claiming(kind, old=_16, new=_SIDES, **options):
    """A file that says that its 16 x 16 pixels are many more."""
    content = _saved(kind, **options)
    assert old in content
    return content.replace(old, new)


def _png(*chunks, size=(16, 16), depth=8, data=None):
    header = struct.pack(">IIBBBBB", *size, depth, 2, 0, 0, 0)
    parts = (b"IHDR", header), *chunks, (b"IDAT", data or zlib.compress(b"\0"))
    chunks = (png_chunk(*part) for part in (*parts, (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _apng(n_frames):
    control = struct.pack(">IIIIIHHBB", 0, 16, 16, 0, 0, 1, 100, 0, 0)
    return _png((b"acTL", struct.pack(">II", n_frames, 0)), (b"fcTL", control))


def _gif(frame_size, n_frames=1):
    head = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0xF0, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame_size, 0) + b"\2\2\x44\1\0"
    return head + n_frames * frame + b";"


def _jpeg_of_scans():
    content = _saved("JPEG", (500, 500), "L", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + 5000 * content[last:-2] + content[-2:]


def _icon(inner):
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + inner


def _icns(inner):
    return (
        b"icns" + struct.pack(">I4sI", 16 + len(inner), b"ic10", 8 + len(inner)) + inner
    )


def _bmp_of_runs(side, runs):
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), *bytes(4))
    start = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 54 + 1024)
    return start + head + bytes(1024) + runs


def _webp(side):
    bits = struct.pack("<I", (side - 1) | (side - 1) << 14)
    body = b"WEBPVP8L" + struct.pack("<I", 10) + b"\x2f" + bits + bytes(5)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _tiff(compression, data, side=16):
    """A TIFF file of one strip that is compressed by other hands."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((16, 16), np.uint8), photometric="minisblack")
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = file.pages.first.tags
        values = {"Compression": compression, "StripOffsets": len(content)}
        values |= {"StripByteCounts": len(data), "ImageWidth": side}
        values |= {"ImageLength": side, "RowsPerStrip": side}
        for name, value in values.items():
            at = tags[name].offset
            struct.pack_into("<HII", content, at + 2, 4, 1, value)
    return bytes(content) + data


_BOMBS = {
    "png": (lambda: _png(size=(_SIDE, _SIDE)), _TOO_MANY),
    "png-16": (lambda: _png(size=(_SIDE, _SIDE), depth=16), _TOO_MANY),
    "png-rows": (lambda: _png(data=_zeros()), None),
    "png-16-rows": (lambda: _png(depth=16, data=_zeros()), None),
    "png-profile": (lambda: _png((b"iCCP", b"a\0\0" + _zeros())), "too large"),
    "png-text": (
        lambda: _png((b"zTXt", b"Raw profile type exif\0\0" + _zeros())),
        "too large",
    ),
    "png-xmp": (
        lambda: _png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _zeros())),
        "too large",
    ),
    "png-frames": (lambda: _apng(2_000_000_000), _TOO_MANY),
    "gif": (lambda: _gif((65535, 65535)), _TOO_MANY),
    "jpeg": (
        lambda: _claiming("JPEG", b"\0\x10\0\x10\3", b"\xff\0\xff\0\3"),
        _TOO_MANY,
    ),
    "jpeg-scans": (_jpeg_of_scans, "has 5,0.. scans"),
    "webp": (lambda: _webp(16384), _TOO_MANY),
    "avif": (lambda: _claiming("AVIF"), "not an image"),
    "jpeg-2000": (lambda: _claiming("JPEG2000"), _TOO_MANY),
    "bmp": (
        lambda: _claiming("BMP", *(struct.pack("<II", n, n) for n in (16, _SIDE))),
        _TOO_MANY,
    ),
    "bmp-runs": (
        lambda: _bmp_of_runs(16, b"\xff\0" * 200_000),
        "not enough image data",
    ),
    "bmp-no-runs": (lambda: _bmp_of_runs(13_000, b"\0\1"), "not enough image data"),
    "ppm": (lambda: b"P6 60000 60000 255 ", _TOO_MANY),
    "sgi": (
        lambda: _claiming("SGI", *(struct.pack(">HH", n, n) for n in (16, _SIDE))),
        _TOO_MANY,
    ),
    "tga": (
        lambda: _claiming("TGA", *(struct.pack("<HH", n, n) for n in (16, _SIDE))),
        _TOO_MANY,
    ),
    "ico-png": (lambda: _icon(_png(size=(_SIDE, _SIDE))), _TOO_MANY),
    "ico-png-rows": (lambda: _icon(_png(data=_zeros())), None),
    "icns-png": (lambda: _icns(_png(size=(_SIDE, _SIDE))), _TOO_MANY),
    "tiff": (lambda: _tiff(8, b"", _SIDE), _TOO_MANY),
    "tiff-deflate": (lambda: _tiff(8, _zeros()), "cannot be read"),
    "tiff-lzma": (
        lambda: _tiff(34925, lzma.compress(bytes(_LARGE >> 1), preset=0)),
        None,
    ),
    "tiff-zstd": (
        lambda: _tiff(50000, imagecodecs.zstd_encode(bytes(_LARGE))),
        "cannot be read",
    ),
    "tiff-lzw": (lambda: _tiff(5, imagecodecs.lzw_encode(bytes(_LARGE >> 3))), None),
    "tiff-packbits": (lambda: _tiff(32773, b"\x81\0" * 500_000), "cannot be read"),
}


def _peak():
    """The most memory that this process has had since it was told to forget."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@contextlib.contextmanager
def _frugally():
    """Raise AssertionError where little is read in much time or memory."""
    has_peak = _FORGET.exists()
    if has_peak:
        _FORGET.write_text("5")
    seconds, size = time.process_time(), _peak() if has_peak else 0
    yield
    assert time.process_time() - seconds < _SECONDS
    assert not has_peak or _peak() - size < _MEMORY


@pytest.mark.parametrize("name", _BOMBS)
def test_an_image_takes_what_it_holds(name):
    make, match = _BOMBS[name]
    content = make()
    with _frugally():
        if match is None:
            assert decode_image(content).pixels.size <= 16 * 16 * 3
        else:
            with pytest.raises(ValueError, match=match) as caught:
                decode_image(content)
            assert "\n" not in str(caught.value)
        with contextlib.suppress(ValueError):
            decode_indexed(content)
        decoded_bytes(io.BytesIO(content))
        default_suffix(io.BytesIO(content))


@pytest.mark.parametrize(
    ("side", "chunk"), [(10**9, 64), (10**6, 10**6), (2**62, 2**40)]
)
def test_a_store_does_not_claim_more_than_can_be_read(tmp_path, side, chunk):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=(side, side), chunks=(chunk, chunk), dtype="u1")
    with _frugally(), pytest.raises(ValueError, match=r"too many pixels: .* pieces of"):
        lazy_image(open_store(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpl", b"GIMP Palette\n" + b"1 2 3 a\n" * 70_000),
        ("a.hex", b"ff8000\n" * 70_000),
        ("a.pal", b"JASC-PAL\r\n0100\r\n70000\r\n" + b"1 2 3\r\n" * 70_000),
        ("a.json", b"[" * 500_000),
        ("a.json", json.dumps({"colors": [[1, 2, 3]] * 70_000}).encode()),
        ("a.gpl", b"GIMP Palette\n" + b"9" * 1_000_000),
    ],
)
def test_a_palette_is_not_larger_than_can_be(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with _frugally(), pytest.raises(ValueError, match="cannot read palette") as caught:
        read_palette(tmp_path / name)
    assert len(str(caught.value)) < 1000


def test_an_array_in_a_palette_file_claims_nothing(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 3)}
    )
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with _frugally(), pytest.raises(ValueError, match="not an array of NumPy"):
        read_palette(tmp_path / "a.npy")
