"""The files that a call may write.

`parse_place` turns an option into a `Place`, a file or a directory; `Claims` chooses
the file for each image and sees that none overwrites another. Commands write them.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from napari_kmeans._cli.inputs import STDIN, Source, identity
from napari_kmeans._cli.options import Options, refuse_value
from napari_kmeans._cli.running import giving_up
from napari_kmeans._files.formats import is_ome, writable_suffixes
from napari_kmeans._files.read import default_suffix

__all__ = [
    "IMAGE_SUFFIXES",
    "STDOUT",
    "Claims",
    "Place",
    "check_suffix",
    "choose_suffix",
    "parse_place",
    "suffix_parser",
]

STDOUT = "-"
# The formats that errors name, of all that images are written in.
IMAGE_SUFFIXES = (".png", ".gif", ".tif", ".webp", ".jpg")
_OR_OTHER = "or the suffix of another image format"


class Place(NamedTuple):
    """Where to write: a file, a directory for files named after images, or `STDOUT`."""

    text: str
    is_directory: bool

    def make(self) -> None:
        """Make the directory, if it is one, or leave with an error."""
        if self.is_directory:
            with giving_up(self.text):
                Path(self.text).mkdir(parents=True, exist_ok=True)


class Claims:
    """The files of a call: no two are written as one, and no image is overwritten."""

    def __init__(self, sources: Sequence[Source], options: Options) -> None:
        self._images = {identity(s.path) for s in sources if s.name != STDIN}
        self._results: set[str] = set()
        self._force = options.force

    def name(self, place: Place, source: Source, ending: str) -> Path:
        """Name a file after an image: photo.jpg and photo.png do not become one."""
        if not place.is_directory:
            return Path(place.text)
        path = Path(place.text, f"{source.stem}{ending}")
        if identity(path) in self._results:
            return path.with_name(f"{source.path.name.replace('.', '_')}{ending}")
        return path

    def claim(self, path: Path, *, own: Path | None = None) -> str:
        """Return the name of a file that may be written, or raise.

        `own` is the image that the file is the result of, which it may replace.
        """
        taken = self._images - ({identity(own)} if own else set()) | self._results
        if identity(path) in taken:
            msg = (
                f"will not write {path}, it is an image of this call or a result of one"
            )
            raise ValueError(msg)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not path.parent.is_dir():
            error = errno.ENOENT
            raise FileNotFoundError(error, os.strerror(error), str(path))
        if path.exists() and not self._force:
            msg = f"{path} exists, --force overwrites it"
            raise ValueError(msg)
        self._results.add(identity(path))
        return str(path)


def parse_place(
    param: str, text: str | None, several: bool, known: tuple[str, ...]
) -> Place | None:
    """Find out whether the value of a parameter is a file or a directory.

    A file has one of the `known` suffixes, or that of another image format.
    """
    if text is None:
        return None
    if text == STDOUT:
        if several:
            refuse_value(param, "- takes a single image")
        return Place(text, is_directory=False)
    if os.path.isdir(text):
        return Place(text, is_directory=True)
    ends_as_one = text.endswith(("/", os.sep))
    if not (several or ends_as_one):
        advice = "" if Path(text).suffix else "; a directory ends in /"
        check_suffix(param, text, known, advice)
        return Place(text, is_directory=False)
    is_new = not os.path.lexists(text.rstrip(f"/{os.sep}"))
    if not is_new or (Path(text).suffix and not ends_as_one):
        msg = f"must be a directory, got {text}"
        refuse_value(param, f"{msg}; a new one ends in /" if is_new else msg)
    return Place(text, is_directory=True)


def check_suffix(
    param: str, name: str, known: tuple[str, ...], advice: str = ""
) -> None:
    """Raise BadParameter unless a file has a `known` suffix or that of an image."""
    if Path(name).suffix.lower() not in {*known, *writable_suffixes()}:
        rule = f"must end in {', '.join(known)} {_OR_OTHER}, got {name}"
        refuse_value(param, rule + advice)


def suffix_parser(*known: str) -> Callable[[str], str]:
    """Make a function that turns a format, such as png or .png, into a suffix."""

    def parse(word: str) -> str:
        suffix = f".{word.lstrip('.')}"
        if suffix.lower() in {*known, *writable_suffixes()} or is_ome(f"image{suffix}"):
            return suffix
        names = ", ".join(name[1:] for name in known)
        msg = f"must be {names} {_OR_OTHER}, got {word}"
        raise click.BadParameter(msg)

    return parse


def choose_suffix(source: Source) -> str:
    """Choose the format of the compressed image; any, if it cannot be read."""
    if source.name == STDIN:
        return default_suffix(io.BytesIO(source.stdin or b""))
    try:
        if source.path.is_file():
            with source.path.open("rb") as file:
                return default_suffix(file)
    except OSError:
        pass
    return ".png"
