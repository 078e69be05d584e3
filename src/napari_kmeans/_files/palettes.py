"""Files that hold a palette: one row per format, at the end of this module.

`write_palette` and `read_palette` are the public functions; `encode_palette` checks and
encodes a palette without writing it, and `read_names` reads the names of colors. Each
format has a pair of functions, from colors and their names to the content of a file and
back. Colors that a format can hold come back to the bit. Image files with a palette are
left to `indexed`.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_kmeans._core.arguments import MAX_COLORS, plain_array
from napari_kmeans._core.arrays import Array
from napari_kmeans._files.formats import checked_suffix
from napari_kmeans._files.replace import replace_file

__all__ = [
    "PALETTE_SUFFIXES",
    "PROVENANCE_SUFFIXES",
    "check_name",
    "encode_palette",
    "read_names",
    "read_palette",
    "write_palette",
]

_JSON_FORMAT = "napari-kmeans palette"
_JSON_VERSION = 1
# What GIMP calls a color without a name.
_UNTITLED = "Untitled"
_JSON_DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32"),
    *("int64", "float16", "float32", "float64"),
)


class _Named(NamedTuple):
    """Colors, and a name for each, empty if it has none; or no names at all."""

    colors: Array
    names: tuple[str, ...] = ()


def write_palette(
    path: str | os.PathLike[str],
    palette: ArrayLike,
    *,
    provenance: Mapping[str, object] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Write a palette to a GIMP, JSON, NumPy, hex or JASC file, exactly as it is.

    Parameters
    ----------
    path : str or path-like
        File to write, whose suffix ``.gpl``, ``.json``, ``.npy``, ``.hex`` or ``.pal``
        chooses the format. A file that exists is replaced once the new one is complete.
    palette : (K, C) or (K,) array_like
        Finite colors of any boolean, integer or float dtype, ``1 <= K <= 65536``.
        A ``.gpl`` or ``.pal`` file holds only uint8, of shape ``(K, 3)`` or ``(K,)``,
        and so does a ``.hex`` file, also of shape ``(K, 4)``.
    provenance : mapping of str to str, int, float, bool or None, optional
        How the palette came about, such as ``{"k": 16, "iters": 10, "seed": 0}``, to be
        read by people. "version", that of napari-kmeans, is added unless it is there.
        Only ``.gpl`` and ``.json`` files have a place for it.
    names : sequence of str, optional
        A name for each color, such as "nuclei", empty for a color that has none. Names
        are of printable characters, of any language and number, without spaces at the
        ends. Only ``.gpl`` and ``.json`` files have a place for them.

    Raises
    ------
    TypeError
        If `palette` is not boolean, integer or float, or has a dtype that the file
        cannot hold, if `provenance` is not such a mapping, or `names` are not strings.
    ValueError
        If `path` has another suffix, `palette` has another shape, no or too many colors
        or a value that is not finite, `provenance` is not finite, `names` are more or
        fewer than the colors or not printable, or one of the two has no place.
    OSError
        If the file cannot be written; what was there before is still there.

    See Also
    --------
    read_palette : Read the palette again.

    Notes
    -----
    The file keeps the order of the palette and its colors, also equal ones. JSON and
    NumPy files keep dtype and shape too, and every bit of a float; but JSON has no
    float of more than 64 bits. Gray becomes RGB in GIMP, hex and JASC files. Opacity
    has no place in a JASC file, nor in a GIMP file: GIMP would misread the files of
    other programs that have it. A hex file has a line such as ``ff8000`` for each
    color, or ``ff800080`` with opacity.

    In a GIMP file, every color has a name, which programs show: that of a color without
    one is its hexadecimal digits.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from napari_kmeans import read_palette, write_palette
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "flag.json"
    ...     write_palette(path, np.array([[0, 0, 0.5], [1, 0, 0]]), provenance={"k": 2})
    ...     read_palette(path)
    array([[0. , 0. , 0.5],
           [1. , 0. , 0. ]])
    """
    replace_file(path, encode_palette(path, palette, provenance, names))


def encode_palette(
    path: str | os.PathLike[str],
    palette: ArrayLike,
    provenance: Mapping[str, object] | None = None,
    names: Sequence[str] | None = None,
) -> bytes:
    """Return what `write_palette` would write, or raise what it would raise."""
    suffix = checked_suffix(path, PALETTE_SUFFIXES)
    colors = plain_array("palette", palette)
    _check_colors(colors)
    items = _validated_provenance(provenance)
    named = _Named(colors, () if names is None else _validated_names(names, colors))
    if suffix not in PROVENANCE_SUFFIXES:
        place = (
            f"no place in a {suffix} file, only in {' and '.join(PROVENANCE_SUFFIXES)}"
        )
        if provenance is not None:
            msg = f"provenance has {place}, got {provenance!r}"
            raise ValueError(msg)
        if named.names:
            msg = f"names have {place}, got {named.names}"
            raise ValueError(msg)
    encode, _ = _FORMATS[suffix]
    return encode(named, items, Path(path).stem)


def read_palette(path: str | os.PathLike[str]) -> Array:
    r"""Read a palette from a GIMP, JSON, NumPy, hex or JASC file.

    Parameters
    ----------
    path : str or path-like
        File to read, whose suffix ``.gpl``, ``.json``, ``.npy``, ``.hex`` or ``.pal``
        tells the format: the palette of GIMP, Inkscape, Krita, Aseprite and others,
        the document of `write_palette`, any array of NumPy that is a palette, a line of
        six or eight hexadecimal digits for each color, as those of Lospec, or the
        palette of Paint Shop Pro (JASC), which editors of sprites share.

    Returns
    -------
    palette : (K, C) or (K,) ndarray
        The colors in their order, ``1 <= K <= 65536``. Those of a ``.gpl`` file are
        uint8 RGB, or RGBA if it says ``Channels: RGBA`` as Aseprite's do; those of a
        ``.hex`` file are uint8 RGB, or RGBA if they have eight digits; those of a
        ``.pal`` file are uint8 RGB.

    Raises
    ------
    ValueError
        If `path` has another suffix, or the file is damaged, holds something else, or
        holds no palette that `write_palette` could write.
    OSError
        If the file cannot be read.

    See Also
    --------
    write_palette : Write such a file.
    map_to_palette : Label each pixel of an image with its nearest palette color.

    Notes
    -----
    No file can run code: objects that NumPy would have to unpickle are refused.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from napari_kmeans import read_palette
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "flag.gpl"
    ...     _ = path.write_text("GIMP Palette\n0 0 255 Blue\n255 0 0 Red\n")
    ...     read_palette(path)
    array([[  0,   0, 255],
           [255,   0,   0]], dtype=uint8)
    """
    colors = _read(path).colors
    return colors.astype(colors.dtype.newbyteorder("="), order="C")


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the name of each color of a palette file, empty where there is none.

    What `write_palette` takes comes back, but for names in a GIMP file that say no more
    than the color: its hexadecimal digits, and "Untitled", as GIMP has it, are no
    names. Characters of other programs that are not printable become spaces. Raises as
    `read_palette` does.
    """
    colors, names = _read(path)
    return names or len(colors) * ("",)


def _read(path: str | os.PathLike[str]) -> _Named:
    """Read colors and names, or raise what `read_palette` raises."""
    _, decode = _FORMATS[checked_suffix(path, PALETTE_SUFFIXES)]
    content = Path(path).read_bytes()
    try:
        found = decode(content)
        _check_colors(found.colors)
        names = found.names and _validated_names(found.names, found.colors)
        return found._replace(names=names)
    except (TypeError, ValueError) as error:
        msg = f"cannot read palette {os.fspath(path)!r}: {error}"
        raise ValueError(msg) from error


def _validated_names(names: Sequence[str], colors: Array) -> tuple[str, ...]:
    """Return a name for each color, or none at all if no color has one."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        msg = f"names must be a sequence of strings, got {names!r}"
        raise TypeError(msg)
    found = tuple(names)
    if len(found) != len(colors):
        msg = f"names must be one for each of {len(colors)} colors, got {len(found)}"
        raise ValueError(msg)
    for name in found:
        check_name(name)
    return found if any(found) else ()


def check_name(name: str) -> None:
    """Check that a color may have a name, which files of palettes can hold."""
    if not isinstance(name, str):
        msg = f"names must be strings, got {name!r}"
        raise TypeError(msg)
    if not name.isprintable() or name != name.strip():
        msg = f"names must be printable, without spaces at the ends, got {name!r}"
        raise ValueError(msg)


def _validated_provenance(provenance: Mapping[str, object] | None) -> dict[str, object]:
    """Return plain values by name, with the version of this package."""
    items: dict[str, object] = {"version": version("napari-kmeans")}
    if not isinstance(provenance, Mapping | None):
        msg = f"provenance must be a mapping or None, got {provenance!r}"
        raise TypeError(msg)
    for name, value in (provenance or {}).items():
        plain = value.item() if isinstance(value, np.generic) else value
        if not (isinstance(name, str) and name.isprintable()):
            msg = f"provenance must have printable names, got {name!r}"
            raise TypeError(msg)
        if not isinstance(plain, str | int | float | None):
            kinds = "strings, numbers, booleans or None"
            msg = f"provenance must have {kinds} as values, got {value!r} for {name!r}"
            raise TypeError(msg)
        if isinstance(plain, float) and not math.isfinite(plain):
            msg = f"provenance must be finite, got {value!r} for {name!r}"
            raise ValueError(msg)
        items[name] = plain
    return items


def _check_colors(colors: Array) -> None:
    """Raise TypeError or ValueError unless an array is a palette."""
    if colors.dtype.kind not in "biuf":
        msg = f"palette must have a boolean, integer or float dtype, got {colors.dtype}"
        raise TypeError(msg)
    if colors.ndim not in (1, 2) or 0 in colors.shape[1:]:
        msg = f"palette must have shape (K, C) or (K,), got {colors.shape}"
        raise ValueError(msg)
    if not 1 <= len(colors) <= MAX_COLORS:
        msg = f"palette must have 1 to {MAX_COLORS} colors, got {len(colors)}"
        raise ValueError(msg)
    finite = np.isfinite(colors)
    if not finite.all():
        msg = f"palette must be finite, got {colors[~finite][0]}"
        raise ValueError(msg)


def _of_8_bits(colors: Array, suffix: str, *n_channels: int) -> NDArray[np.uint8]:
    """Return colors for a format that has only uint8 and no gray."""
    if colors.dtype != np.uint8:
        msg = f"palette must have dtype uint8 in a {suffix} file, got {colors.dtype}"
        msg += "; .json and .npy hold every dtype"
        raise TypeError(msg)
    if colors.ndim == 1:
        return np.repeat(colors[:, np.newaxis], 3, axis=1)
    if colors.shape[1] not in n_channels:
        shapes = ", ".join(f"(K, {number})" for number in n_channels)
        rule = f"must have shape {shapes} or (K,) in a {suffix} file"
        advice = ".json and .npy hold every number of channels"
        if colors.shape[1] == 4:
            advice = "choose .hex, .json or .npy for colors with opacity"
        msg = f"palette {rule}, got {colors.shape}; {advice}"
        raise ValueError(msg)
    return colors


def _printable(text: str) -> str:
    """Return a text in which characters that are not printable are spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _encode_gpl(named: _Named, items: dict[str, object], title: str) -> bytes:
    rgb = _of_8_bits(named.colors, ".gpl", 3)
    lines = ["GIMP Palette", f"Name: {_printable(title)}", "# Written by napari-kmeans"]
    lines += [f"# {item}: {json.dumps(value)}" for item, value in items.items()]
    names = named.names or len(rgb) * ("",)
    for color, name in zip(rgb, names, strict=True):
        r, g, b = color.tolist()
        lines.append(f"{r:3} {g:3} {b:3}\t{name or bytes(color).hex()}")
    return "\n".join([*lines, ""]).encode()


def _decode_gpl(content: bytes) -> _Named:
    # Bytes, because names are UTF-8 or of some older encoding.
    header, *lines = content.removeprefix(b"\xef\xbb\xbf").splitlines() or [b""]
    if header.strip() != b"GIMP Palette":
        raise _bad_line(1, "be 'GIMP Palette'", header)
    n_channels = 3
    colors: list[list[int]] = []
    names: list[str] = []
    for number, line in enumerate(lines, 2):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        if not colors and re.match(rb"\s*[A-Za-z]+:", line):
            if words == [b"Channels:", b"RGBA"]:
                n_channels = 4
            continue
        values = [int(w) for w in words[:n_channels] if re.fullmatch(rb"[0-9]{1,9}", w)]
        if len(values) < n_channels or max(values) > 255:
            raise _bad_line(number, f"have {n_channels} integers from 0 to 255", line)
        colors.append(values)
        names.append(_gimp_name(line.split(None, n_channels)[n_channels:], values))
    rgb = np.array(colors, np.uint8).reshape(-1, n_channels)
    return _Named(rgb, tuple(names))


def _gimp_name(words: list[bytes], color: list[int]) -> str:
    """Return the name of a color, which is what follows its numbers."""
    try:
        name = b"".join(words).decode()
    except UnicodeDecodeError:
        name = b"".join(words).decode("latin-1")
    name = _printable(name).strip()
    digits = bytes(color).hex()
    says_nothing = name.removeprefix("#").lower() == digits or name == _UNTITLED
    return "" if says_nothing else name


def _encode_json(named: _Named, items: dict[str, object], _: str) -> bytes:
    colors = named.colors
    if colors.dtype.name not in _JSON_DTYPES:
        rule = "must have at most 64 bits a value in a .json file"
        msg = f"palette {rule}, got {colors.dtype}; .npy holds every dtype"
        raise TypeError(msg)
    head = {"format": _JSON_FORMAT, "version": _JSON_VERSION, "provenance": items}
    head["dtype"] = colors.dtype.name
    if named.names:
        head["names"] = named.names
    # A color a line; every float of up to 64 bits is a float64, whose repr is exact.
    rows = ",\n".join(f"    {json.dumps(color)}" for color in colors.tolist())
    opened = json.dumps(head, indent=2).removesuffix("\n}")
    return f'{opened},\n  "colors": [\n{rows}\n  ]\n}}\n'.encode()


def _decode_json(content: bytes) -> _Named:
    try:
        document = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        msg = "it is nested too deep"
        raise ValueError(msg) from None
    head = document if isinstance(document, dict) else {}
    for name, value in (("format", _JSON_FORMAT), ("version", _JSON_VERSION)):
        if head.get(name) != value:
            msg = f'"{name}" must be {json.dumps(value)}, got {head.get(name)!r}'
            raise ValueError(msg)
    dtype, colors, names = head.get("dtype"), head.get("colors"), head.get("names", [])
    if dtype not in _JSON_DTYPES:
        msg = f'"dtype" must be one of {", ".join(_JSON_DTYPES)}, got {dtype!r}'
        raise ValueError(msg)
    if not isinstance(colors, list):
        msg = '"colors" must be a list'
        raise ValueError(msg)
    if not isinstance(names, list):
        msg = '"names" must be a list'
        raise ValueError(msg)
    return _Named(_array_of(colors, np.dtype(dtype)), tuple(names))


def _array_of(colors: list[Any], dtype: np.dtype[Any]) -> Array:
    """Return a list of numbers, or of lists of them, as an array."""
    is_flat = not any(isinstance(color, list) for color in colors)
    kinds = {"b": (bool,), "f": (int, float)}.get(dtype.kind, (int,))
    for number, color in enumerate(colors, 1):
        values = [color] if is_flat else color
        is_like = isinstance(values, list) and (
            is_flat or len(values) == len(colors[0])
        )
        if not (is_like and all(type(value) in kinds for value in values)):
            msg = f"color {number} must be like the first, of {dtype}, got {color!r}"
            raise ValueError(msg)
    try:
        with np.errstate(over="raise"):
            return np.array(colors, dtype)
    except (OverflowError, FloatingPointError):
        msg = f"colors must be in the range of {dtype}"
        raise ValueError(msg) from None


def _refuse_constant(name: str) -> NoReturn:
    msg = f"palette must be finite, got {name}"
    raise ValueError(msg)


def _encode_npy(named: _Named, _: dict[str, object], __: str) -> bytes:
    buffer, colors = io.BytesIO(), np.ascontiguousarray(named.colors)
    np.lib.format.write_array(buffer, colors, allow_pickle=False)
    return buffer.getvalue()


def _decode_npy(content: bytes) -> _Named:
    if content.startswith(b"PK"):
        msg = "it is an archive of arrays"
        raise ValueError(msg)
    file, layout = io.BytesIO(content), np.lib.format
    try:
        with warnings.catch_warnings():
            # The header is a Python expression.
            warnings.simplefilter("ignore")
            is_first = layout.read_magic(file) == (1, 0)
            first, later = layout.read_array_header_1_0, layout.read_array_header_2_0
            shape, is_turned, dtype = first(file) if is_first else later(file)
        # Unlike `np.load`, this allocates nothing of the size that the header claims,
        # and takes no objects.
        values = np.frombuffer(content, dtype, math.prod(shape), file.tell())
        order: Any = "F" if is_turned else "C"
        return _Named(np.ndarray(shape, dtype, values, order=order))
    except Exception as error:
        msg = "it is not an array of NumPy, or damaged"
        raise ValueError(msg) from error


def _encode_hex(named: _Named, _: dict[str, object], __: str) -> bytes:
    lines = [bytes(color).hex() for color in _of_8_bits(named.colors, ".hex", 3, 4)]
    return "\n".join([*lines, ""]).encode()


def _decode_hex(content: bytes) -> _Named:
    colors: list[bytes] = []
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    for number, line in enumerate(lines, 1):
        digits = line.strip().removeprefix(b"#")
        if not digits:
            continue
        n_digits = (2 * len(colors[0]),) if colors else (6, 8)
        if len(digits) not in n_digits or not re.fullmatch(rb"[0-9A-Fa-f]+", digits):
            numbers = " or ".join(map(str, n_digits))
            raise _bad_line(number, f"have {numbers} hexadecimal digits", line)
        colors.append(bytes.fromhex(digits.decode()))
    n_channels = len(colors[0]) if colors else 3
    return _Named(np.frombuffer(b"".join(colors), np.uint8).reshape(-1, n_channels))


def _encode_pal(named: _Named, _: dict[str, object], __: str) -> bytes:
    rgb = _of_8_bits(named.colors, ".pal", 3).tolist()
    lines = ["JASC-PAL", "0100", str(len(rgb)), *(f"{r} {g} {b}" for r, g, b in rgb)]
    return "\r\n".join([*lines, ""]).encode()


def _decode_pal(content: bytes) -> _Named:
    if content.startswith(b"RIFF"):
        msg = "it is a RIFF palette; save it as a JASC palette, or as .gpl"
        raise ValueError(msg)
    text = content.removeprefix(b"\xef\xbb\xbf").rstrip()
    lines = [line.strip() for line in text.splitlines()]
    head, rows = [*lines, b"", b"", b""][:3], lines[3:]
    rules = ("'JASC-PAL'", "'0100'", f"{len(rows)}, the number of lines that follow")
    rights = (b"JASC-PAL", b"0100", str(len(rows)).encode())
    for number, (line, right, rule) in enumerate(zip(head, rights, rules, strict=True)):
        if line != right:
            raise _bad_line(number + 1, f"be {rule}", line)
    colors = []
    for number, line in enumerate(rows, 4):
        words = line.split()
        values = [int(w) for w in words if re.fullmatch(rb"[0-9]{1,3}", w)]
        if len(words) != 3 or len(values) != 3 or max(values) > 255:
            raise _bad_line(number, "have 3 integers from 0 to 255", line)
        colors.append(values)
    return _Named(np.array(colors, np.uint8).reshape(-1, 3))


def _bad_line(number: int, rule: str, line: bytes) -> ValueError:
    """Return an error that shows the start of a line."""
    text = line.decode("utf-8", "replace").strip()
    shown = text if len(text) <= 40 else f"{text[:39]}…"
    return ValueError(f"line {number} must {rule}, got {shown!r}")


# How a format is written, from colors, provenance and a title, and how it is read.
_Encoder: TypeAlias = Callable[[_Named, dict[str, object], str], bytes]
_FORMATS: dict[str, tuple[_Encoder, Callable[[bytes], _Named]]] = {
    ".gpl": (_encode_gpl, _decode_gpl),
    ".json": (_encode_json, _decode_json),
    ".npy": (_encode_npy, _decode_npy),
    ".hex": (_encode_hex, _decode_hex),
    ".pal": (_encode_pal, _decode_pal),
}
PALETTE_SUFFIXES = tuple(_FORMATS)
# Those with a place for names, and for how a palette came about.
PROVENANCE_SUFFIXES = (".gpl", ".json")
