"""Strips and tiles of a TIFF file that are compressed images of their own.

A JPEG or WebP image in a strip claims a size, and is decoded to that size whatever the
TIFF file says. `check_segment` reads the claim first. Other compressions are given the
bytes that they may fill, and need no check.
"""

from __future__ import annotations

import struct

from napari_kmeans._files.formats import check_scans

__all__ = ["IMAGE_COMPRESSIONS", "REFUSED_COMPRESSIONS", "check_segment"]

# Values of the tag Compression. Version 6 is the JPEG of TIFF 6.0, 33007 another name.
_JPEG = (6, 7, 33007, 34892)
_JPEG_2000 = (33003, 33004, 33005, 34712)
_LERC, _WEBP = (34887,), (34927, 50001)
IMAGE_COMPRESSIONS = (*_JPEG, *_JPEG_2000, *_LERC, *_WEBP)
# PNG, JPEG XR, JPEG XL, and those of single cameras: their claims are not read here.
REFUSED_COMPRESSIONS = (22610, 34933, 34934, 48124, 50002, 52546, 65000, 65001, 65002)


def check_segment(data: bytes, compression: int, most_samples: int) -> None:
    """Raise ValueError if a strip or tile claims more samples than it has room for."""
    if compression in _JPEG:
        check_scans(data)
    try:
        claimed = _claimed_samples(data, compression)
    except (IndexError, struct.error, ValueError) as error:
        msg = "a strip or tile is not of the compression that the file names"
        raise ValueError(msg) from error
    if claimed > most_samples:
        msg = f"too many pixels: a strip or tile claims {claimed:,} samples"
        raise ValueError(msg)


def _claimed_samples(data: bytes, compression: int) -> int:
    """Return the number of samples of an image, by its header."""
    if compression in _JPEG:
        return _samples_of_jpeg(data)
    if compression in _JPEG_2000:
        return _samples_of_jpeg_2000(data)
    if compression in _LERC:
        return _samples_of_lerc(data)
    return _samples_of_webp(data)


def _samples_of_jpeg(data: bytes) -> int:
    """Read the frame header of a JPEG image: ITU T.81, section B.2.2."""
    at = data.index(b"\xff\xd8") + 2
    while True:
        while data[at + 1] == 0xFF:  # Fill bytes.
            at += 1
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, n_components = struct.unpack_from(">HHB", data, at + 5)
            return int(height * width * n_components)
        if data[at] != 0xFF or marker == 0xDA or length < 2:
            msg = "no frame header"
            raise ValueError(msg)
        at += 2 + length


def _samples_of_jpeg_2000(data: bytes) -> int:
    """Read the size of a codestream, bare or in a box: ITU T.800, A.5.1 and I.4."""
    at = 0
    if not data.startswith(b"\xff\x4f\xff\x51"):
        while data[at + 4 : at + 8] != b"jp2c":
            length = struct.unpack_from(">I", data, at)[0]
            if length == 1:
                length = struct.unpack_from(">Q", data, at + 8)[0]
            if length < 8:
                msg = "no codestream"
                raise ValueError(msg)
            at += length
        at = data.index(b"\xff\x4f\xff\x51", at)
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    n_components = struct.unpack_from(">H", data, at + 40)[0]
    return int((right - left) * (bottom - top) * n_components)


def _samples_of_lerc(data: bytes) -> int:
    """Add up the blobs of LERC 2, whose sizes stand before their pixels."""
    at = total = 0
    while at < max(1, len(data)):
        if data[at : at + 6] != b"Lerc2 ":
            msg = "no blob"
            raise ValueError(msg)
        version = struct.unpack_from("<i", data, at + 6)[0]
        numbers = at + (14 if version >= 3 else 10)
        height, width, depth = struct.unpack_from("<iii", data, numbers)
        if version < 4:
            numbers, depth = numbers - 4, 1
        n_bytes = struct.unpack_from("<i", data, numbers + 20)[0]
        if min(height, width, depth, n_bytes) < 1:
            msg = "an empty blob"
            raise ValueError(msg)
        total += height * width * depth
        at += n_bytes
    return total


def _samples_of_webp(data: bytes) -> int:
    """Read the canvas of a WebP image, which is decoded to RGBA."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (
            1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27)
        )
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (x & 0x3FFF for x in struct.unpack_from("<HH", data, 26))
    else:
        msg = "no WebP image"
        raise ValueError(msg)
    return width * height * 4
