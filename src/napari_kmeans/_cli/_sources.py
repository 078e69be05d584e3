"""The images that are named on the command line."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path
from typing import NamedTuple

from napari_kmeans._image_files import image_suffixes, read_content
from napari_kmeans._indexed_files import is_ome

__all__ = ["STDIN", "Source", "are_several", "find_sources", "identity"]

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
        return read_content(self.name) if self.stdin is None else self.stdin


def find_sources(arguments: tuple[str, ...]) -> list[Source]:
    """Find the files that are meant, each once: names, patterns and folders."""
    found: dict[str, Source] = {}
    for argument in arguments:
        if argument == STDIN:
            content = sys.stdin.buffer.read()
            found.setdefault(STDIN, Source(STDIN, content))
            continue
        for name in _expanded(argument):
            # A link is an image of its own.
            found.setdefault(os.path.abspath(name), Source(name))
    return list(found.values())


def are_several(arguments: tuple[str, ...], sources: list[Source]) -> bool:
    """Tell whether files are named after images: one image of a folder is of many."""
    return len(sources) > 1 or tuple(source.name for source in sources) != arguments


def identity(path: Path) -> str:
    """Give the one name of a file that has several."""
    return os.path.normcase(os.path.realpath(path))


def _expanded(argument: str) -> list[str]:
    """Give the images in a folder, what fits a pattern, or the name itself."""
    if os.path.isdir(argument):
        images = sorted(name for name in os.listdir(argument) if _is_image(name))
        return [os.path.join(argument, name) for name in images] or [argument]
    if not os.path.lexists(argument) and glob.has_magic(argument):
        matches = glob.glob(argument, recursive=True)
        return sorted(name for name in matches if not os.path.isdir(name)) or [argument]
    return [argument]


def _is_image(name: str) -> bool:
    """Tell whether a file of a folder is meant when the folder is named."""
    stem, suffix = os.path.splitext(name)
    is_result = stem.endswith(_RESULTS) or name.startswith(".")
    return suffix.lower() in image_suffixes() and not is_result
