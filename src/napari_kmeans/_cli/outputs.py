"""The files that a call may write.

`parse_place` turns an option into a `Place`, a file or a directory; `Claims` chooses
the file for each image and sees that none overwrites another. Commands write them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from napari_kmeans._cli.inputs import STDIN, Source, identity
from napari_kmeans._cli.options import STDOUT, Options, refuse_value
from napari_kmeans._cli.running import giving_up
from napari_kmeans._files.formats import is_ome, is_writable
from napari_kmeans._files.ome_zarr import STORE_SUFFIXES, is_image, is_store_name
from napari_kmeans._files.read import default_suffix
from napari_kmeans._files.replace import replace_file

__all__ = [
    "IMAGE_SUFFIXES",
    "Claims",
    "Place",
    "check_suffix",
    "choose_suffix",
    "parse_place",
    "suffix_parser",
    "write_beside",
]

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
    """The files of a call: no two are written as one, and none that is read is lost."""

    def __init__(self, sources: Sequence[Source], options: Options) -> None:
        named = [source.name for source in sources if source.name != STDIN]
        others = filter(None, (options.palette_file, options.mask_file))
        self._images = {identity(Path(name)) for name in (*named, *others)}
        self._results: set[str] = set()
        self._force = options.force

    def name(
        self, place: Place, source: Source, ending: str, own: Path | None = None
    ) -> str:
        """Claim the file of an image: photo.jpg and photo.png do not become one.

        In a directory it has the folder that the image has below the one named.
        """
        path = Path(place.text)
        if place.is_directory:
            path /= source.below
            if source.below.parts:
                path.mkdir(parents=True, exist_ok=True)
            path /= f"{source.stem}{ending}"
            if identity(path) in self._results:
                path = path.with_name(source.path.name.replace(".", "_") + ending)
        return self.claim(path, own)

    def claim(self, path: Path, own: Path | None = None) -> str:
        """Return the name of a file that may be written, or raise.

        `own` is the image that the file is the result of, which it may replace. A store
        that exists may be one to go on with, and is looked at when it is written.
        """
        one, is_store = Path(identity(path)), is_store_name(path)
        taken = self._images - ({identity(own)} if own else set()) | self._results
        is_inside = not taken.isdisjoint(map(str, (one, *one.parents)))
        if is_inside or (is_store and any(one in Path(t).parents for t in taken)):
            msg = (
                f"will not write {path}, it is an image of this call or a result of one"
            )
            raise ValueError(msg)
        if path.is_dir() and not is_store:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if path.exists() and not (self._force or is_store):
            msg = f"{path} exists, --force overwrites it"
            raise ValueError(msg)
        self._results.add(identity(path))
        return str(path)

    def claim_beside(self, *names: str | None) -> None:
        """Claim files that are about all images, or leave with an error."""
        for name in filter(None, names):
            with giving_up(name):
                self.claim(Path(name))


def write_beside(name: str, content: bytes, options: Options) -> None:
    """Write a file that is about all images, or leave with an error."""
    with giving_up(name):
        replace_file(name, content, overwrite=options.force)


def parse_place(
    param: str, text: str | None, several: bool, known: tuple[str, ...]
) -> Place | None:
    """Find out whether the value of a parameter is a file or a directory.

    A file has one of the `known` suffixes, or that of another image format.
    """
    if text is None:
        return None
    ends_as_one = text.endswith(("/", os.sep))
    exists = os.path.isdir(text)
    is_one = param == "output" and not several and is_store_name(text)
    is_directory = text != STDOUT and not is_one and (several or ends_as_one or exists)
    if text == STDOUT:
        if several:
            refuse_value(param, "- takes a single image")
    elif not is_directory:
        advice = "" if Path(text).suffix else "; a directory ends in /"
        check_suffix(param, text, known, advice)
    elif not exists:
        msg = f"must be a directory, got {text}"
        if os.path.lexists(text.rstrip(f"/{os.sep}")):
            refuse_value(param, msg)
        if Path(text).suffix and not ends_as_one:
            refuse_value(param, f"{msg}; a new one ends in /")
    return Place(text, is_directory)


def check_suffix(
    param: str, name: str, known: tuple[str, ...], advice: str = ""
) -> None:
    """Raise BadParameter unless a file has a `known` suffix or that of an image."""
    suffix = Path(name).suffix.lower()
    if suffix not in known and not is_writable(suffix):
        rule = f"must end in {', '.join(known)} {_OR_OTHER}, got {name}"
        refuse_value(param, rule + advice)


def suffix_parser(*known: str) -> Callable[[str], str]:
    """Make a function that turns a format, such as png or .png, into a suffix."""

    def parse(word: str) -> str:
        suffix = f".{word.lstrip('.')}"
        if suffix in known or is_writable(suffix.lower()) or is_ome(f"image{suffix}"):
            return suffix
        names = ", ".join(name[1:] for name in known)
        msg = f"must be {names} {_OR_OTHER}, got {word}"
        raise click.BadParameter(msg)

    return parse


def choose_suffix(source: Source, depth: int | None) -> str:
    """Choose the format of the compressed image; any, if it cannot be read."""
    pyramid = source.pyramid()
    if pyramid is not None:
        return STORE_SUFFIXES[not is_image(pyramid.attributes)]
    if source.name == STDIN:
        return default_suffix(io.BytesIO(source.stdin or b""), depth)
    with contextlib.suppress(OSError):
        if source.path.is_file():
            with source.path.open("rb") as file:
                return default_suffix(file, depth)
    return ".png"
