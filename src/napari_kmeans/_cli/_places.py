"""The files that a call may write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import click

from napari_kmeans._cli._sources import STDIN, Source, identity
from napari_kmeans._image_files import default_suffix

__all__ = ["STDOUT", "Place", "choose_suffix", "claim", "parse_place"]

STDOUT = "-"


class Place(NamedTuple):
    """Where to write: a file, a directory for files named after images, or `STDOUT`."""

    text: str
    is_directory: bool

    def file(self, name: str) -> Path:
        """Give the file at the place, or the one called `name` in the directory."""
        if not self.is_directory:
            return Path(self.text)
        Path(self.text).mkdir(parents=True, exist_ok=True)
        return Path(self.text, name)


def parse_place(option: str, text: str | None, several: bool) -> Place | None:
    """Tell whether the value of an option is a file or a directory."""
    if text is None:
        return None
    if text == STDOUT and several:
        msg = f"{option} - takes a single image"
        raise click.UsageError(msg)
    if text != STDOUT and (Path(text).is_dir() or text.endswith(("/", os.sep))):
        return Place(text, is_directory=True)
    if several and Path(text).suffix:
        msg = f"{option} must be a directory for several images, got {text}"
        raise click.UsageError(msg)
    return Place(text, is_directory=several)


def choose_suffix(source: Source) -> str:
    """Tell which format suits the compressed image; any, if it cannot be read."""
    import io

    if source.name == STDIN:
        return default_suffix(io.BytesIO(source.stdin or b""))
    try:
        if not source.path.is_file():
            return ".png"
        with source.path.open("rb") as file:
            return default_suffix(file)
    except OSError:
        return ".png"


def claim(path: Path, taken: set[str], force: bool) -> None:
    """Raise unless `path` may be written without the loss of another file."""
    if identity(path) in taken:
        msg = f"will not write {path}, it is another image of this call or its result"
        raise ValueError(msg)
    if path.exists() and not force:
        msg = f"{path} exists, --force overwrites it"
        raise ValueError(msg)
