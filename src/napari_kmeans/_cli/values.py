"""What the words mean that are typed as values of options.

Each function takes a word and returns what it stands for, or raises click's
BadParameter with the word and an example.
"""

from __future__ import annotations

import contextlib
import math
import re
from decimal import Decimal
from typing import Any

import click
import numpy as np

from napari_kmeans._core.arguments import WEIGHTINGS
from napari_kmeans._core.arrays import Array

__all__ = ["parse_byte_count", "parse_colors", "parse_weights", "refuse_nan"]

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_UNITS |= {"KI": 1024, "MI": 1024**2, "GI": 1024**3}
_HEX = re.compile("#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)


def refuse_nan(_: click.Context, __: click.Parameter, value: float | None) -> Any:
    """Return a number as it is, if it is one."""
    if value is not None and math.isnan(value):
        msg = f"'{value}' is not a number"
        raise click.BadParameter(msg)
    return value


def parse_byte_count(word: str) -> int:
    """Turn a number of bytes, such as 50000, 50KB, 1.5MB or 48KiB, into a number."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Za-z]*)", word)
    unit = match[2].upper().removesuffix("B") if match else ""
    n_bytes = int(Decimal(match[1]) * _UNITS[unit]) if match and unit in _UNITS else 0
    if n_bytes < 1:
        msg = f"{word!r} is not a size such as 50KB or 1.5MiB"
        raise click.BadParameter(msg)
    return n_bytes


def parse_weights(word: str) -> Any:
    """Turn std, or a list of positive numbers such as 1,1,2, into what it means."""
    if word in WEIGHTINGS:
        return word
    try:
        numbers = tuple(float(number) for number in word.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < math.inf for number in numbers):
        msg = f"{word!r} is neither {WEIGHTINGS[0]} nor positive numbers such as 1,1,2"
        raise click.BadParameter(msg)
    return numbers


def parse_colors(word: str) -> Array:
    """Turn colors, such as #000,#ff8000 or 0/0/0,9.5/1/7, into an array (m, C).

    Colors of hexadecimal digits become RGBA of uint8, once each.
    """
    colors: list[Any] = []
    for color in word.split(","):
        digits = color[1:]
        if _HEX.fullmatch(color):
            if len(digits) <= 4:
                digits = "".join(digit * 2 for digit in digits)
            colors.append([*bytes.fromhex(digits), 255][:4])
            continue
        with contextlib.suppress(ValueError):
            colors.append([_number(number) for number in color.split("/")])
    is_hex = {color.startswith("#") for color in word.split(",")}
    are_alike = len(is_hex) == len({len(color) for color in colors}) == 1
    if not are_alike or len(colors) <= word.count(","):
        msg = f"{word!r} is no list of colors such as '#000000,#ffffff' or 0/0/0,9/9/9"
        raise click.BadParameter(msg)
    array = np.array(colors, np.uint8) if is_hex == {True} else np.array(colors)
    return np.unique(array, axis=0)


def _number(word: str) -> float:
    """Return a finite number, an integer if it is written as one."""
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(word)
    # Of larger integers, NumPy makes objects.
    is_whole = re.fullmatch(r"[+-]?\d+", word) and -(2**63) <= int(word) < 2**64
    return int(word) if is_whole else number
