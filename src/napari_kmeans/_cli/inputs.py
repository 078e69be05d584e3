"""The images that are named on the command line.

`find_sources` turns arguments (names, patterns, folders, ``-``) into a `Source` for
each image; commands add to it what is to become of the image. `read_group` and
`fit_group` are for images that share a palette. What is in a file is left to `_files`.
"""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from napari_kmeans._compression import Part, Recipe, fit_palette, part_of
from napari_kmeans._core.fitting import PaletteResult
from napari_kmeans._files.formats import image_suffixes, is_ome
from napari_kmeans._files.read import decode_image, read_content

__all__ = [
    "STDIN",
    "Source",
    "are_several",
    "changed",
    "find_sources",
    "fit_group",
    "identity",
    "read_group",
    "reason",
    "with_stdin",
]

STDIN = "-"
# Files that earlier runs have made in a folder are not for the next.
_RESULTS = ("_compressed", "_before_after")


class Source(NamedTuple):
    """An image to read, and what is to become of it."""

    name: str
    # The content, if it came through the standard input.
    stdin: bytes | None = None
    # Why nothing can be done, if that is known before the image is read.
    fault: str | None = None
    # Files to write: the result, or - for the standard output, and the comparison.
    target: str | None = None
    picture: str | None = None
    # The colors of the image, if they are counted already.
    part: Part | None = None
    # Images that share a palette, if the source stands for several.
    members: tuple[Source, ...] = ()

    @property
    def path(self) -> Path:
        """The file, or what one from the standard input would be called."""
        return Path("stdin" if self.name == STDIN else self.name)

    @property
    def stem(self) -> str:
        """The name without the suffix, also without both of OME-TIFF."""
        name = self.path.name
        return name[: name.lower().rindex(".ome.")] if is_ome(name) else self.path.stem

    def read(self) -> bytes:
        """Return the content, or raise OSError or ValueError."""
        if self.stdin is not None:
            return self.stdin
        if os.path.isdir(self.name):
            os.listdir(self.name)  # Raises if that is why no images were found.
            msg = "the folder holds no images, results of earlier runs left out"
            raise ValueError(msg)
        return read_content(self.name)


def find_sources(
    arguments: tuple[str, ...], *, with_results: bool = False
) -> list[Source]:
    """Find the files that are meant, each once: names, patterns and folders.

    Of a folder, results of earlier runs are meant only if asked for.
    """
    found: dict[str, Source] = {}
    for argument in arguments:
        for name in _expanded(argument, with_results):
            # A link is an image of its own.
            key = STDIN if name == STDIN else os.path.abspath(name)
            found.setdefault(key, Source(name))
    return list(found.values())


def with_stdin(sources: list[Source]) -> list[Source]:
    """Read the standard input, if it is one of the sources."""
    return [
        s._replace(stdin=sys.stdin.buffer.read()) if s.name == STDIN else s
        for s in sources
    ]


def are_several(arguments: tuple[str, ...], sources: list[Source]) -> bool:
    """Whether files are named after images, also if a folder holds only one."""
    return len(sources) > 1 or any(
        os.path.isdir(argument) or _is_pattern(argument) for argument in arguments
    )


def identity(path: Path) -> str:
    """Return the one name of a file that has several."""
    return os.path.normcase(os.path.realpath(path))


def reason(error: Exception, name: str) -> str:
    """Say what went wrong with an image, or with the file named in the error."""
    if isinstance(error, OSError) and error.strerror:
        file = name if error.filename is None else str(error.filename)
        elsewhere = file.rstrip(os.sep) != name.rstrip(os.sep)
        return error.strerror + (f": {file}" if elsewhere else "")
    return str(error).removeprefix(f"{name} ") or type(error).__name__


def changed(
    sources: Sequence[Source], change: Callable[[Source], Source]
) -> list[Source]:
    """Change the sources that have no fault; an error becomes their fault."""
    found = []
    for source in sources:
        if source.fault is None:
            try:
                source = change(source)
            except (OSError, ValueError) as error:
                source = source._replace(fault=reason(error, source.name))
        found.append(source)
    return found


def read_group(sources: Sequence[Source]) -> list[Source]:
    """Count the colors of images that are to share a palette: of the most usual kind.

    Of kinds equally usual, it is the first. Each source gets its colors, or a fault if
    it is left out.
    """
    read = changed(sources, lambda s: s._replace(part=part_of(decode_image(s.read()))))
    kinds = [source.part.kind for source in read if source.part is not None]
    if not kinds:
        return read
    usual = Counter(kinds).most_common(1)[0][0]
    first = next(s.name for s in read if s.part is not None and s.part.kind == usual)
    fault = (
        f"share no palette with the {usual} pixels of {first}: all must be of one "
        "dtype, and either gray, RGB and RGBA or of one number of channels"
    )
    return [
        source
        if source.part is None or source.part.kind == usual
        else source._replace(fault=f"{source.part.kind} pixels {fault}")
        for source in read
    ]


def fit_group(members: Sequence[Source], recipe: Recipe) -> PaletteResult:
    """Find one palette for images that `read_group` has counted."""
    parts = [member.part for member in members if member.part is not None]
    return fit_palette(parts, lambda: [decode_image(m.read()) for m in members], recipe)


def _expanded(argument: str, with_results: bool) -> list[str]:
    """List the images of a folder, the matches of a pattern, or the name itself."""
    if argument != STDIN and os.path.isdir(argument):
        # A folder that cannot be read is reported when its images are.
        images = [
            name
            for name in sorted(glob.glob(os.path.join(glob.escape(argument), "*")))
            if os.path.splitext(name)[1].lower() in image_suffixes()
            and (with_results or not Source(name).stem.endswith(_RESULTS))
        ]
        return images or [argument]
    if _is_pattern(argument):
        matches = glob.glob(argument, recursive=True)
        names = sorted(name for name in matches if not os.path.isdir(name))
        return [os.path.join(".", n) if n == STDIN else n for n in names] or [argument]
    return [argument]


def _is_pattern(argument: str) -> bool:
    """Whether an argument is no name of a file, but stands for several."""
    return not os.path.lexists(argument) and glob.has_magic(argument)
