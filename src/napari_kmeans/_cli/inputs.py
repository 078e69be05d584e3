"""The images that are named on the command line.

`find_sources` turns arguments (names, patterns, folders, ``-``) into a `Source` for
each image, and says what it leaves out of folders; commands add to a source what is to
become of the image. A folder that is a store of zarr is an image like a file.
`Source.image` opens any of them. `read_group` and `count_group` are for images that
share a palette. What is in a file is left to `_files`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from napari_kmeans._cli.options import Options
from napari_kmeans._compression import Part, count_parts, part_of
from napari_kmeans._core.arrays import Mask
from napari_kmeans._core.pixels import CountedImage
from napari_kmeans._files.formats import image_suffixes
from napari_kmeans._files.ome_zarr import (
    is_store,
    is_store_name,
    open_store,
    require_zarr,
)
from napari_kmeans._files.pyramids import Pyramid, lazy_image
from napari_kmeans._files.read import ImageFile, decode_image, read_content
from napari_kmeans._files.slides import SLIDE_SUFFIX, is_slide, open_slide

__all__ = [
    "STDIN",
    "LeftOut",
    "Source",
    "are_several",
    "changed",
    "count_group",
    "find_sources",
    "identity",
    "is_found",
    "read_group",
    "reason",
    "size_on_disk",
    "with_stdin",
]

STDIN = "-"
# Files that earlier runs have made in a folder are not for the next.
_RESULTS = ("_compressed", "_before_after")
# A part of a pattern that stands for any folders below.
_SEPARATORS = re.escape(os.sep + (os.altsep or ""))
_OME = re.compile(r"\.ome\.(tiff?|zarr)$", re.IGNORECASE)
_ANY_FOLDERS = re.compile(rf"(?<![^{_SEPARATORS}])(?:\*\*(?:[{_SEPARATORS}]+|$))+")


class Source(NamedTuple):
    """An image to read, and what is to become of it."""

    name: str
    # The folder that it was found in or below, if that is what was named.
    top: str | None = None
    # The content, if it came through the standard input.
    stdin: bytes | None = None
    # Why nothing can be done, if that is known before the image is read.
    fault: str | None = None
    # Files to write: the result, or - for the standard output, and the comparison.
    target: str | None = None
    picture: str | None = None
    # The colors of the image, if they are counted already.
    part: Part | None = None
    # The image, if it is read piece by piece and is opened already.
    opened: Pyramid | None = None
    # Images that share a palette, if the source stands for several.
    members: tuple[Source, ...] = ()

    @property
    def path(self) -> Path:
        """The file, or what one from the standard input would be called."""
        return Path("stdin" if self.name == STDIN else self.name)

    @property
    def below(self) -> Path:
        """The folder from the one that was named to the file."""
        return Path() if self.top is None else self.path.parent.relative_to(self.top)

    @property
    def stem(self) -> str:
        """The name without the suffix, also without both of OME-TIFF and OME-Zarr."""
        return Path(_OME.sub(r".\1", self.path.name)).stem

    @property
    def is_streamed(self) -> bool:
        """Whether it is a store or a slide that is never in memory as a whole."""
        if self.opened is not None:
            return is_store_name(str(self.target))
        return self.stdin is None and (is_store(self.name) or is_slide(self.name))

    def read(self) -> bytes:
        """Return the content, or raise OSError or ValueError."""
        if self.stdin is not None:
            return self.stdin
        return read_content(self.name)

    def pyramid(self) -> Pyramid | None:
        """Open a store or a slide; None if the image is a file that is read whole."""
        if self.opened is not None:
            return self.opened
        is_folder = self.stdin is None and is_store(self.name)
        if not is_folder and (self.stdin is not None or not is_slide(self.name)):
            return None
        try:
            import dask.array  # noqa: F401

            require_zarr()
        except ImportError as error:
            msg = f'{error}; pip install "napari-kmeans[zarr]"'
            raise ValueError(msg) from error
        return open_store(self.name) if is_folder else open_slide(self.name)

    def image(self) -> ImageFile:
        """Return the image, of dask if it is read piece by piece."""
        pyramid = self.pyramid()
        return decode_image(self.read()) if pyramid is None else lazy_image(pyramid)

    def n_bytes(self) -> int:
        """Return the size of the content, in all files of a store."""
        return len(self.stdin) if self.stdin is not None else size_on_disk(self.path)


class LeftOut(NamedTuple):
    """What a folder holds beside the images of a call."""

    folder: str
    name: str
    # What it is, in the plural.
    kind: str


def find_sources(
    arguments: tuple[str, ...], *, recursive: bool = False, with_results: bool = False
) -> tuple[list[Source], list[LeftOut]]:
    """Find the files that are meant, each once: names, patterns and folders.

    Of a folder, files with the suffix of an image are meant, with those in all folders
    below if it is read `recursive`; results of earlier runs only if asked for. What
    else it holds, but for hidden files and folders, is left out.
    """
    found: dict[str, Source] = {}
    left_out: list[LeftOut] = []
    for argument in arguments:
        if argument != STDIN and _is_folder(argument):
            sources, others = _of_tree(argument, recursive, with_results)
            left_out += others
        else:
            sources = [Source(name) for name in _expanded(argument)]
        for source in sources:
            # A link is an image of its own.
            name = source.name
            key = STDIN if name == STDIN else os.path.abspath(name)
            found.setdefault(key, source)
    return list(found.values()), left_out


def with_stdin(sources: list[Source]) -> list[Source]:
    """Read the standard input, if it is one of the sources."""
    return [
        s._replace(stdin=sys.stdin.buffer.read() if sys.stdin else b"")
        if s.name == STDIN
        else s
        for s in sources
    ]


def are_several(arguments: tuple[str, ...], sources: list[Source]) -> bool:
    """Whether files are named after images, also if a folder holds only one."""
    return len(sources) > 1 or any(
        _is_folder(argument) or _is_pattern(argument) for argument in arguments
    )


def size_on_disk(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())


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


def read_group(
    sources: Sequence[Source],
    read_image: Callable[[Source], ImageFile],
    mask: Mask | None,
) -> list[Source]:
    """Count the colors of images that are to share a palette: of the most usual kind.

    Of kinds equally usual, it is the first. Each source gets its colors, those under
    the mask, or a fault if it is left out.
    """
    read = changed(sources, lambda s: s._replace(part=part_of(read_image(s), mask)))
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


def count_group(
    members: Sequence[Source],
    read_image: Callable[[Source], ImageFile],
    options: Options,
) -> CountedImage:
    """Put together the images that `read_group` has counted, and read like that."""
    parts = [member.part for member in members if member.part is not None]
    return count_parts(
        parts, lambda: [read_image(m) for m in members], options, options.mask
    )


def is_found(argument: str) -> bool:
    """Whether a file or folder has this name, or fits it as a pattern."""
    return os.path.lexists(argument) or any(_matches(argument))


def _of_tree(
    top: str, recursive: bool, with_results: bool
) -> tuple[list[Source], list[LeftOut]]:
    """List the images in a folder, or one fault, and what is left out of it."""
    images: list[Source] = []
    left_out: list[LeftOut] = []
    folders = sorted(_folders_below(top)) if recursive else [top]
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            images.append(Source(folder, fault=reason(error, folder)))
            continue
        for entry in sorted(shown, key=lambda entry: entry.name):
            source = Source(os.path.join(folder, entry.name), top)
            kind = _kind_left_out(source, with_results)
            if kind is None:
                images.append(source)
            elif kind != "folders" or not recursive:
                left_out.append(LeftOut(top, os.path.relpath(source.name, top), kind))
    if not images:
        fault = "the folder holds no images"
        if left_out and not recursive:
            fault += "; name files to read, or --recursive for the folders below"
        images = [Source(top, fault=fault)]
    return images, left_out


def _kind_left_out(source: Source, with_results: bool) -> str | None:
    """Say what a file or folder is, in the plural, if it is no image to read."""
    if _is_folder(source.name):
        return "folders"
    is_image = source.path.suffix.lower() in {*image_suffixes(), SLIDE_SUFFIX}
    if not is_image and not is_store(source.name):
        return "files without an image suffix"
    is_result = source.stem.endswith(_RESULTS) and not with_results
    return "results of earlier runs" if is_result else None


def _expanded(argument: str) -> list[str]:
    """List the matches of a pattern, or return the name itself."""
    if not _is_pattern(argument):
        return [argument]
    names = sorted({name for name in _matches(argument) if not _is_folder(name)})
    return [os.path.join(".", n) if n == STDIN else n for n in names] or [argument]


def _matches(pattern: str) -> Iterator[str]:
    """Yield the files and folders that fit a pattern."""
    found = _ANY_FOLDERS.search(pattern)
    if found is None:
        yield from glob.iglob(pattern)
        return
    before, after = pattern[: found.start()], pattern[found.end() :] or "*"
    for top in glob.iglob(before) if before else [""]:
        for folder in _folders_below(top):
            yield from _matches(os.path.join(glob.escape(folder), after))


def _folders_below(top: str) -> Iterator[str]:
    """Yield a folder and all below it, each once, whatever links lead to it."""
    visited: set[str] = set()
    waiting, links = [top], list[str]()
    while waiting or links:
        # Links come last, so that a folder has its own name where it has one.
        folder = waiting.pop() if waiting else links.pop()
        if identity(Path(folder)) in visited:
            continue
        visited.add(identity(Path(folder)))
        yield folder
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                if _is_folder(path) and not entry.name.startswith("."):
                    (links if entry.is_symlink() else waiting).append(path)


def _is_folder(path: str) -> bool:
    """Whether this is a folder that may hold images, and is none itself."""
    return os.path.isdir(path) and not is_store(path)


def _is_pattern(argument: str) -> bool:
    """Whether an argument is no name of a file, but stands for several."""
    return not os.path.lexists(argument) and glob.has_magic(argument)
