"""What the numbers of colors mean: color profiles (ICC), the one way to say it here.

`profile_of_png` turns what PNG files say in chunks of their own into a profile, and
`rgb_profile` makes one for RGB of one for gray levels. `in_srgb` applies a profile,
where a file has no place for it; `cicp_of` finds what a profile says of HDR.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._files.formats import refuse

__all__ = ["cicp_of", "in_srgb", "profile_of_png", "rgb_profile"]

# White, red, green and blue: x and y of chromaticity.
_D65 = (0.3127, 0.3290)
_SRGB = (_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
# By their numbers in cICP (ITU-T H.273).
_PRIMARIES = {
    1: _SRGB,
    5: (_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: (_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: (_D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    11: ((0.314, 0.351), (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    12: (_D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
}
# Parameters of a curve in a profile (ICC.1, 10.18): a power, or one with a straight
# start: exponent, factor and summand of its base, slope of the start, and its end.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_VIDEO = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: dict[int, tuple[float, ...]] = {13: _SRGB_CURVE, 4: (2.2,), 5: (2.8,), 8: (1,)}
_CURVES |= dict.fromkeys((1, 6, 14, 15), _VIDEO)
_PQ, _HLG = 16, 18
# Luminance of white paper beside HDR, in candela per square meter (ITU-R BT.2408).
_PAPER = 203
_SRGB_CICP = bytes([1, 13, 0, 1])
# Of gAMA and of cHRM: files that mean sRGB round it.
_GAMMA, _NEAR_GAMMA, _NEAR_COLOR = 1 / 2.2, 0.01, 0.002
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def profile_of_png(chunks: dict[bytes, bytes], *, is_gray: bool) -> bytes | None:
    """Return a profile that says what cICP, gAMA and cHRM say; None if that is sRGB.

    `chunks` are all of a PNG file, of which cICP goes before iCCP, iCCP before sRGB,
    and sRGB before the others. Raises Refused for a cICP that is not known.
    """
    if (cicp := chunks.get(b"cICP")) is not None:
        if cicp == _SRGB_CICP:
            return None
        known = len(cicp) == 4 and cicp[0] in _PRIMARIES and cicp[2:] == b"\0\1"
        if not known or cicp[1] not in {*_CURVES, _PQ, _HLG}:
            refuse(f"colors of cICP {[*cicp]} cannot be read; convert them to sRGB")
        return _profile(_PRIMARIES[cicp[0]], _curve(cicp[1]), is_gray, cicp)
    if b"iCCP" in chunks or b"sRGB" in chunks:
        return None
    gamma, primaries = _GAMMA, np.array(_SRGB)
    if len(chunks.get(b"gAMA", b"")) == 4:
        gamma = struct.unpack(">I", chunks[b"gAMA"])[0] / 100_000 or _GAMMA
    if len(chunks.get(b"cHRM", b"")) == 32:
        primaries = np.array(struct.unpack(">8I", chunks[b"cHRM"])).reshape(4, 2) / 1e5
    has_curve = abs(gamma / _GAMMA - 1) > _NEAR_GAMMA
    if not has_curve and np.allclose(primaries, _SRGB, rtol=0, atol=_NEAR_COLOR):
        return None
    curve = _parameters(1 / gamma) if has_curve else _parameters(*_SRGB_CURVE)
    try:
        with np.errstate(all="raise"):
            return _profile(primaries, curve, is_gray)
    except (ArithmeticError, np.linalg.LinAlgError, struct.error):
        return None  # Not the chromaticities of three colors.


def rgb_profile(profile: bytes | None) -> bytes | None:
    """Return a profile for gray levels that are written as RGB; one for RGB as it is.

    The curve is that of the gray levels. Anything else is no profile for them.
    """
    if profile is None or profile[16:20] == b"RGB ":
        return profile
    curve = _tags(profile).get(b"kTRC")
    if profile[16:20] != b"GRAY" or curve is None:
        return None
    if profile[20:24] == b"Lab ":
        curve = _of_lightness(curve)
    return _profile(_SRGB, curve, False, cicp_of(profile))


def cicp_of(profile: bytes | None) -> bytes | None:
    """Return the content of the cICP chunk that a profile was made of, if it was."""
    return _tags(profile or b"").get(b"cicp", b"")[8:12] or None


def in_srgb(pixels: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """Return gray (...), RGB or RGBA pixels (..., C) in sRGB.

    A profile that cannot be read means nothing; then they stay as they are.
    """
    from PIL import Image, ImageCms

    if profile[16:20] == b"GRAY":
        # Exact only as RGB, as LittleCMS rounds dark gray levels.
        rgb = np.repeat(pixels[..., np.newaxis], 3, axis=-1)
        return in_srgb(rgb, rgb_profile(profile) or b"")[..., 0]
    mode = {3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    image = Image.fromarray(pixels.reshape(-1, *pixels.shape[-2:]))
    source, target = io.BytesIO(profile), ImageCms.createProfile("sRGB")
    try:
        found = ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return pixels
    return np.array(found).reshape(pixels.shape)


def _curve(transfer: int) -> bytes:
    """Return the curve of a transfer function of cICP.

    HDR has no curve of its own: what is brighter than paper is as bright as that.
    """
    if transfer in _CURVES:
        return _parameters(*_CURVES[transfer])
    x = np.linspace(0, 1, 1025)
    if transfer == _PQ:  # SMPTE ST 2084.
        base = x ** (32 / 2523)
        scale = np.maximum(base - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * base)
        light = 10_000 / _PAPER * scale ** (8192 / 1305)
    else:  # ITU-R BT.2100, of which three quarters are paper.
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(x <= 0.5, x**2 / 3, (np.exp((x - c) / a) + b) / 12)
        light = (light / light[768]) ** 1.2
    return _table(np.minimum(light, 1))


def _of_lightness(curve: bytes) -> bytes:
    """Return a curve that leads to lightness (L*) as one that leads to luminance."""
    if curve[:4] != b"curv":
        refuse("the color profile cannot be read; convert the image to sRGB")
    whole = curve[12 : len(curve) // 2 * 2]
    numbers = np.frombuffer(whole, ">u2")[: int.from_bytes(curve[8:12], "big")]
    x = np.linspace(0, 1, 4096)
    if len(numbers) > 1:
        x = np.interp(x, np.linspace(0, 1, len(numbers)), numbers / 65535)
    elif len(numbers) == 1:
        x **= numbers[0] / 256
    return _table(np.where(x > 0.08, ((x + 0.16) / 1.16) ** 3, x / 9.033))


def _table(values: NDArray[np.float64]) -> bytes:
    """Return a curve of values from 0 to 1 at equal steps."""
    numbers = (65535 * values).round().astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(numbers)) + numbers.tobytes()


def _parameters(*numbers: float) -> bytes:
    """Return a curve of one parameter, or of five."""
    kind = 0 if len(numbers) == 1 else 3
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(numbers)


def _fixed(numbers: Any) -> bytes:
    """Return numbers with 16 bits behind the point."""
    values = np.rint(np.asarray(numbers, np.float64).ravel() * 65536).astype(np.int64)
    return struct.pack(f">{values.size}i", *values.tolist())


def _profile(
    primaries: Any, curve: bytes, is_gray: bool, cicp: bytes | None = None
) -> bytes:
    """Return a profile of colors with one curve (ICC.1:2022, sections 7 to 10)."""
    name = "napari-kmeans".encode("utf-16-be")
    text = b"mluc\0\0\0\0" + struct.pack(
        ">II2s2sII", 1, 12, b"en", b"US", len(name), 28
    )
    white = b"XYZ \0\0\0\0" + _fixed(_D50)
    tags = {b"desc": text + name, b"cprt": text + name, b"wtpt": white}
    if is_gray:
        tags[b"kTRC"] = curve
    else:
        columns = _to_d50(np.asarray(primaries)).T
        for letter, xyz in zip(b"rgb", columns, strict=True):
            tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(xyz)
            tags[bytes([letter]) + b"TRC"] = curve
    if cicp is not None:
        tags[b"cicp"] = b"cicp\0\0\0\0" + cicp
    table, data, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for kind, content in tags.items():
        place = places.setdefault(content, start + len(data))
        table += struct.pack(">4sII", kind, place, len(content))
        if place == start + len(data):
            data += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s6H4s",
        *(start + len(data), b"", 0x04400000, b"mntr", b"GRAY" if is_gray else b"RGB "),
        *(b"XYZ ", 2000, 1, 1, 0, 0, 0, b"acsp"),
    )
    return (head + bytes(28) + _fixed(_D50)).ljust(128, b"\0") + table + data


def _to_d50(primaries: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix from linear RGB to XYZ, adapted to D50."""
    x, y = primaries.T
    white, *corners = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    matrix = np.stack(corners, axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    gains = np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white))
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ gains @ _BRADFORD @ matrix
    return adapted


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Return the content of each tag of a profile, as far as it can be read."""
    found = {}
    n_tags = int.from_bytes(profile[128:132], "big")
    for place in range(132, min(132 + 12 * n_tags, len(profile) - 11), 12):
        kind, start, size = struct.unpack_from(">4sII", profile, place)
        found[kind] = profile[start : start + size]
    return found
