"""What went wrong, in the words of the window."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_kmeans._napari.names import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_kmeans._napari.results import Request

__all__ = ["in_words", "no_pixels", "other_channels", "other_values", "span"]


def in_words(error: Exception, request: Request) -> str:
    """Say what is wrong with a request, and what to do about it.

    An error that nothing is known about speaks for itself.
    """
    name, text = quoted(request.layers[0].name), str(error)
    if isinstance(error, OSError) and error.filename is not None:
        is_palette = str(error.filename) == request.settings.palette_file
        what = "Palette file" if is_palette else name
        return f"{what}: {error.filename} cannot be read: {error.strerror}"
    for pattern, explain in _EXPLAINED.items():
        match = re.match(pattern, text)
        if match is not None:
            return explain(request, *match.groups())
    return f"{name}: {text or type(error).__name__}"


def no_pixels(image: str, shape: object) -> str:
    """Say that an image is empty."""
    return f"{image} has no pixels: its shape is {shape}"


def other_channels(palette: str, n_theirs: int, image: str, n_ours: int) -> str:
    """Say that the colors of a palette are not of the kind that an image has."""
    return (
        f"The colors of {palette} have {_numbers(n_theirs)} each, and the pixels of "
        f"{image} {_numbers(n_ours)}: choose a palette that was made for such an image"
    )


def other_values(palette: str, theirs: str, image: str, ours: str) -> str:
    """Say that an image, of a dtype, has no such colors as a palette."""
    return (
        f"The colors of {palette} are {theirs}, which {image} cannot have, "
        f"being {ours}: choose a palette that was made for such an image"
    )


def span(dtype: object, low: float, high: float) -> str:
    """Say of which dtype numbers are, and how large."""
    return f"{dtype} from {float(low):.6g} to {float(high):.6g}"


def _numbers(n: int) -> str:
    return "one number" if n == 1 else f"{n} numbers"


def _n_channels(shape: str) -> int:
    """Count the numbers of each color in a palette of such a shape."""
    _, *inner = re.findall(r"\w+", shape)
    return int(inner[0]) if inner else 1


def _palette_file(request: Request) -> str:
    return quoted(Path(str(request.settings.palette_file)).name)


def _palette_channels(request: Request, ours: str, theirs: str) -> str:
    name = quoted(request.layers[0].name)
    file = _palette_file(request)
    return other_channels(file, _n_channels(theirs), name, _n_channels(ours))


def _palette_values(
    request: Request, ours: str, theirs: str, low: str, high: str
) -> str:
    name = quoted(request.layers[0].name)
    theirs = span(theirs, float(low), float(high))
    return other_values(_palette_file(request), theirs, name, ours)


def _bad_palette_file(request: Request, reason: str) -> str:
    return f"{_palette_file(request)} is no sound palette file: {reason}"


def _no_pixels(request: Request, shape: str) -> str:
    return no_pixels(quoted(request.layers[0].name), shape)


def _nothing_inside(request: Request) -> str:
    name = quoted(request.layers[0].name)
    assert request.mask is not None
    mask = quoted(request.mask.name)
    if request.settings.slice_axis is not None:
        return (
            f"{mask} leaves out some slices of {name} wholly: draw in each of them, "
            "or choose one palette for the whole image"
        )
    return (
        f"Nothing of {name} is inside {mask}: draw over a part of it, "
        "or choose “the whole image”"
    )


def _nothing_finite(request: Request) -> str:
    name = quoted(request.layers[0].name)
    if request.settings.slice_axis is not None:
        name = f"A slice of {name}"
    where = "" if request.mask is None else f" inside {quoted(request.mask.name)}"
    return f"{name} has no pixel{where} that is a number: all are NaN or infinite"


def _other_slices(request: Request, fine: str, coarse: str) -> str:
    name = quoted(request.layers[0].name)
    return (
        f"{name} has {fine} slices at full resolution and {coarse} at a coarser level: "
        "choose one palette for the whole image"
    )


def _signed_opacity(request: Request, dtype: str) -> str:
    name = quoted(request.layers[0].name)
    return f"{name} is RGBA of {dtype}: opacity takes unsigned integers or floats"


# What the core's errors begin with, and who puts them into words.
_EXPLAINED: dict[str, Callable[..., str]] = {
    r"palette must have shape (\(.*\)), got (\(.*\))": _palette_channels,
    r"palette must have values that (\w+) .* got (\w+) from (\S+) to (\S+)": (
        _palette_values
    ),
    r"cannot read palette '.*': (.*)": _bad_palette_file,
    r"mask must be True for a pixel": _nothing_inside,
    r"image must not be empty, got shape (.*)": _no_pixels,
    r"image must have a finite pixel": _nothing_finite,
    r"levels of detail must have .*, got (\d+) and (\d+)": _other_slices,
    r"alpha=True needs colors and opacity, .* of (\w+)": _signed_opacity,
}
