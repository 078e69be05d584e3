"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

__all__ = ["replace_file"]

_OPEN_FILES = "/proc/self/fd"


def replace_file(
    path: str | os.PathLike[str], content: bytes, *, overwrite: bool = True
) -> None:
    """Give the file at `path` the `content`, all of it or, on an error, none.

    The file that a link leads to is replaced, with its permissions, and the link kept.
    Raises OSError, and FileExistsError if there is a file and not `overwrite`.

    Where the system has files without a name (Linux), the content is written into one,
    so that a process killed meanwhile leaves nothing behind. To replace a file it is
    then named for the two system calls that put it in place. Elsewhere the name lasts
    as long as the writing. A process killed in that time leaves a file called
    ``.napari-kmeans-*.tmp``, which the next one to write to `path` removes.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _mode(target, overwrite)
        temporary = target.with_name(_temporary_name(target.name))
        unnamed = _open_unnamed(target.parent)
        if unnamed is None:
            _write_named(temporary, target, content, mode, overwrite)
            return
        with os.fdopen(unnamed, "wb") as file:
            _fill(file, content, mode)
            if mode is None:
                with contextlib.suppress(FileExistsError):
                    _link(file, target)
                    return
                if not overwrite:
                    raise _exists_error(target)
            _remove_stray(temporary)
            _link(file, temporary)
            try:
                os.replace(temporary, target)
            except BaseException:  # Ctrl-C leaves no file behind either.
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        # The temporary name is nothing that a user knows.
        error.filename, error.filename2 = os.fspath(path), None
        raise


def _mode(target: Path, overwrite: bool) -> int | None:
    """Give the permissions of the file to replace, or None if there is none."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not overwrite:
        raise _exists_error(target)
    if not target.is_file():
        msg = "not a regular file"
        raise OSError(errno.EINVAL, msg, os.fspath(target))
    return status.st_mode & 0o777


def _exists_error(target: Path) -> FileExistsError:
    """Say that there is a file already."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))


def _temporary_name(name: str) -> str:
    """Give the one name under which the file called `name` is prepared."""
    # Hashed, since a longer name might be longer than a file system allows.
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f".napari-kmeans-{digest}.tmp"


def _open_unnamed(folder: Path) -> int | None:
    """Open a new file without a name, or give None where there are none."""
    if not (hasattr(os, "O_TMPFILE") and os.path.isdir(_OPEN_FILES)):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # The file system has none, or a named one tells what is wrong.
        return None


def _fill(file: IO[bytes], content: bytes, mode: int | None) -> None:
    """Write the content onto the disk."""
    _lock(file)
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
    if mode is not None and hasattr(os, "fchmod"):
        os.fchmod(file.fileno(), mode)


def _link(file: IO[bytes], path: Path) -> None:
    """Give a name to a file that has none, or raise FileExistsError."""
    # Python follows the link in /proc only if it is told a directory.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.link(
            f"{_OPEN_FILES}/{file.fileno()}",
            path.name,
            src_dir_fd=folder,
            dst_dir_fd=folder,
            follow_symlinks=True,
        )
    finally:
        os.close(folder)


def _write_named(
    temporary: Path, target: Path, content: bytes, mode: int | None, overwrite: bool
) -> None:
    """Write a file under its temporary name, then put it in place."""
    _remove_stray(temporary)
    # In the same folder, because only within a file system is a move atomic.
    file = temporary.open("xb")
    try:
        with file:
            _fill(file, content, mode)
            if os.name != "nt":  # Windows moves no open file, and has no locks here.
                _put(temporary, target, overwrite)
        if os.name == "nt":
            _put(temporary, target, overwrite)
    except BaseException:  # Ctrl-C leaves no file behind either.
        temporary.unlink(missing_ok=True)
        raise


def _put(temporary: Path, target: Path, overwrite: bool) -> None:
    """Move a file to where none is, or over the one that is there."""
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)
    except OSError as error:  # A file system without links, such as a memory stick's.
        if target.exists():
            raise _exists_error(target) from error
        os.replace(temporary, target)
    else:
        temporary.unlink()


def _remove_stray(temporary: Path) -> None:
    """Remove what a killed process left; raise if a living one writes there."""
    try:
        with temporary.open("r+b") as file:
            _lock(file)
            if os.name != "nt":
                temporary.unlink(missing_ok=True)
        if os.name == "nt":  # Windows removes no open file: neither ours nor another's.
            temporary.unlink(missing_ok=True)
    except FileNotFoundError:
        return


def _lock(file: IO[bytes]) -> None:
    """Show others that the file is in use, or raise if it is in theirs."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = "another process is writing this file"
        raise OSError(errno.EBUSY, msg, file.name) from error
    except OSError:  # The file system has no locks.
        return
