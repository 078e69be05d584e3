"""Files that are written whole or not at all.

`replace_file` takes a path and bytes. It is the one way in which this package, the
command line and the plugin write files; whoever calls it has encoded them before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(
    path: str | os.PathLike[str], content: bytes, *, overwrite: bool = True
) -> None:
    """Write `content` to the file at `path`, all of it or, on an error, nothing.

    A link is followed: the file it leads to is replaced and keeps its permissions.
    Raises OSError, and FileExistsError if there is a file and not `overwrite`.

    The content is written to ``.napari-kmeans-*.tmp`` in the same folder, then moved.
    Only a process that is killed while it writes leaves such a file behind.
    """
    target = Path(os.path.realpath(path))
    # In the same folder, because only within a file system is a move atomic.
    temporary = target.with_name(f".napari-kmeans-{secrets.token_hex(8)}.tmp")
    try:
        if target.exists() and not target.is_file():
            msg = "not a regular file"
            raise OSError(errno.EINVAL, msg)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(target, temporary)
            _put(temporary, target, overwrite)
        finally:  # Ctrl-C leaves no file behind either.
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # The temporary name means nothing to a user.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _put(temporary: Path, target: Path, overwrite: bool) -> None:
    """Move a finished file to its place, over another one only if allowed."""
    if not overwrite:
        try:
            os.link(temporary, target)  # Fails if a file has appeared there meanwhile.
            return
        except OSError:  # Or a file system without links, such as a memory stick's.
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
    os.replace(temporary, target)
