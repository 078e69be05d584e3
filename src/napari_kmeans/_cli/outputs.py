"""The files that a call may write."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from napari_kmeans._cli.inputs import STDIN, Source, identity
from napari_kmeans._cli.options import refuse_value
from napari_kmeans._files.formats import writable_suffixes
from napari_kmeans._files.read import default_suffix

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_kmeans._cli.running import Talk

__all__ = [
    "IMAGE_SUFFIXES",
    "STDOUT",
    "Place",
    "check_suffix",
    "choose_suffix",
    "claim",
    "parse_place",
    "suffix_parser",
]

STDOUT = "-"
# Images are written in these formats and others.
IMAGE_SUFFIXES = (".png", ".gif", ".tif", ".webp", ".jpg")
_OME_SUFFIXES = (".ome.tif", ".ome.tiff")
_OR_OTHER = "or the suffix of another image format"


class Place(NamedTuple):
    """Where to write: a file, a directory for files named after images, or `STDOUT`."""

    text: str
    is_directory: bool

    def make(self, talk: Talk) -> None:
        """Make the directory, if it is one, or leave with an error."""
        if not self.is_directory:
            return
        try:
            Path(self.text).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            talk.give_up(self.text, error)

    def file(self, name: str) -> Path:
        """Give the file at the place, or the one called `name` in the directory."""
        return Path(self.text, name) if self.is_directory else Path(self.text)

    def unclaimed(self, source: Source, ending: str, results: set[str]) -> Path:
        """Name a file after an image: photo.jpg and photo.png do not become one."""
        path = self.file(f"{source.stem}{ending}")
        if self.is_directory and identity(path) in results:
            return self.file(f"{source.path.name.replace('.', '_')}{ending}")
        return path


def parse_place(
    param: str, text: str | None, several: bool, known: tuple[str, ...]
) -> Place | None:
    """Tell whether the value of a parameter is a file or a directory.

    A file has one of the `known` suffixes, or that of another image format.
    """
    if text is None:
        return None
    if text == STDOUT:
        if several:
            msg = "- takes a single image"
            refuse_value(param, msg)
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


def suffix_parser(
    *known: str,
) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Make a callback that turns a format, such as png or .png, into a suffix."""

    def parse(
        _: click.Context, param: click.Parameter, value: str | None
    ) -> str | None:
        if value is None:
            return None
        suffix = f".{value.lstrip('.')}"
        if suffix.lower() in known:
            return suffix
        if suffix.lower() not in {*writable_suffixes(), *_OME_SUFFIXES}:
            names = ", ".join(name[1:] for name in known)
            msg = f"must be {names} {_OR_OTHER}, got {value}"
            raise click.BadParameter(msg, param=param)
        return suffix

    return parse


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
        msg = f"will not write {path}, it is an image of this call or a result of one"
        raise ValueError(msg)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.parent.is_dir():
        error = errno.ENOENT
        raise FileNotFoundError(error, os.strerror(error), str(path))
    if path.exists() and not force:
        msg = f"{path} exists, --force overwrites it"
        raise ValueError(msg)
