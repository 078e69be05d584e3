"""The images that are named on the command line."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path
from typing import NamedTuple

from napari_kmeans._files.formats import image_suffixes, is_ome
from napari_kmeans._files.read import read_content

__all__ = [
    "STDIN",
    "Source",
    "are_several",
    "find_sources",
    "identity",
    "with_stdin",
]

STDIN = "-"
# What earlier runs have made in a folder is not for the next.
_RESULTS = ("_compressed", "_before_after")


class Source(NamedTuple):
    """A file to read, or the content that came through the standard input."""

    name: str
    stdin: bytes | None = None

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
        """Give the content, or raise OSError or ValueError."""
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
        names = [STDIN] if argument == STDIN else _expanded(argument, with_results)
        for name in names:
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
    """Tell whether files are named after images: one image of a folder is of many."""
    return len(sources) > 1 or any(
        os.path.isdir(argument) or _is_pattern(argument) for argument in arguments
    )


def identity(path: Path) -> str:
    """Give the one name of a file that has several."""
    return os.path.normcase(os.path.realpath(path))


def _expanded(argument: str, with_results: bool) -> list[str]:
    """Give the images in a folder, what fits a pattern, or the name itself."""
    if os.path.isdir(argument):
        try:
            names = sorted(os.listdir(argument))
        except OSError:  # It is told when the images are read.
            names = []
        images = [
            os.path.join(argument, name)
            for name in names
            if _is_image(name) and (with_results or not _is_result(name))
        ]
        return images or [argument]
    if _is_pattern(argument):
        matches = glob.glob(argument, recursive=True)
        names = sorted(name for name in matches if not os.path.isdir(name))
        return [os.path.join(".", n) if n == STDIN else n for n in names] or [argument]
    return [argument]


def _is_pattern(argument: str) -> bool:
    """Tell whether an argument is no name of a file, but stands for several."""
    return not os.path.lexists(argument) and glob.has_magic(argument)


def _is_image(name: str) -> bool:
    """Tell whether a file of a folder is meant when the folder is named."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in image_suffixes() and not name.startswith(".")


def _is_result(name: str) -> bool:
    """Tell whether a file is called as results are."""
    return Source(name).stem.endswith(_RESULTS)
