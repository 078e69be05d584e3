"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Give the file at `path` the `content`, all of it or, on an error, none.

    The file that a link leads to is replaced, and the link kept.
    """
    target = Path(os.path.realpath(path))
    # In the same directory, because only within a file system is a move atomic.
    temporary = target.with_name(f".napari-kmeans-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C leaves no file behind either.
        temporary.unlink(missing_ok=True)
        raise
