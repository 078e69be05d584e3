"""Image files that hold a palette, and for each pixel its index."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._atomic_file import replace_file

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

__all__ = ["INDEXED_SUFFIXES", "MAX_FILE_COLORS", "write_indexed"]

INDEXED_SUFFIXES = (".png", ".gif")
MAX_FILE_COLORS = 256
# Pixels of a PNG file that is made as small as it can be.
_MOST_OPTIMIZED = 1 << 22


def write_indexed(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    palette: ArrayLike,
    *,
    icc_profile: bytes | None = None,
) -> None:
    """Write labels and their palette to a PNG or GIF file, exactly as they are.

    Parameters
    ----------
    path : str or path-like
        File to write, whose suffix ``.png`` or ``.gif`` chooses the format. A file
        that exists is replaced once the new one is complete.
    labels : (rows, columns) array_like of int
        Index into `palette` of each pixel.
    palette : (K, 3), (K, 4) or (K,) array_like of uint8
        RGB, RGBA or gray colors, ``1 <= K <= 256``. Only PNG holds RGBA.
    icc_profile : bytes, optional
        Color profile of `palette`, kept by PNG files.

    Raises
    ------
    TypeError
        If `palette` is not uint8, or `labels` are not integers.
    ValueError
        If `path` has another suffix, if `palette` has another shape or too many
        colors, or if `labels` are not a plane of indices into it.
    OSError
        If the file cannot be written; what was there before is still there.

    Notes
    -----
    The file keeps the order of the palette and its colors, also unused and equal
    ones; gray becomes RGB. A PNG file takes 1, 2, 4 or 8 bits per pixel, the fewest
    that hold K indices.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from napari_kmeans._indexed_files import write_indexed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "flag.png"
    ...     write_indexed(path, [[1, 0]], np.array([[0, 0, 255], [255, 0, 0]], "u1"))
    ...     with Image.open(path) as image:
    ...         image.getpalette()
    [0, 0, 255, 255, 0, 0]
    """
    from PIL import Image

    suffix = Path(path).suffix.lower()
    if suffix not in INDEXED_SUFFIXES:
        msg = f"path must end in {' or '.join(INDEXED_SUFFIXES)}, got {suffix!r}"
        raise ValueError(msg)
    colors = _validated_palette(palette)
    if suffix == ".gif" and colors.shape[1] == 4:
        msg = f"palette must not have alpha in a GIF file, got shape {colors.shape}"
        raise ValueError(msg)
    array = _validated_labels(labels, len(colors))
    image = Image.fromarray(array)
    image.putpalette(colors[:, :3].tobytes())

    buffer = io.BytesIO()
    if suffix == ".gif":
        # Optimizing would drop unused colors and renumber the others.
        image.save(buffer, "GIF", optimize=False)
    else:
        # On many pixels the last few percent take most of the time.
        options: dict[str, Any] = {"optimize": array.size <= _MOST_OPTIMIZED}
        if colors.shape[1] == 4:
            options["transparency"] = colors[:, 3].tobytes()
        if icc_profile is not None:
            options["icc_profile"] = icc_profile
        image.save(buffer, "PNG", **options)
    replace_file(path, buffer.getvalue())


def _validated_palette(palette: ArrayLike) -> NDArray[np.uint8]:
    """Give `palette` as RGB (K, 3) or RGBA (K, 4)."""
    colors = np.asarray(palette)
    if colors.dtype != np.uint8:
        msg = f"palette must have dtype uint8, got {colors.dtype}"
        raise TypeError(msg)
    if colors.ndim == 1:
        colors = np.repeat(colors[:, np.newaxis], 3, axis=1)
    if colors.ndim != 2 or colors.shape[1] not in (3, 4):
        msg = f"palette must have shape (K,), (K, 3) or (K, 4), got {colors.shape}"
        raise ValueError(msg)
    if not 1 <= len(colors) <= MAX_FILE_COLORS:
        msg = f"palette must have 1 to {MAX_FILE_COLORS} colors, got {len(colors)}"
        raise ValueError(msg)
    return colors


def _validated_labels(labels: ArrayLike, n_colors: int) -> NDArray[np.uint8]:
    """Give `labels` as uint8 (rows, columns)."""
    array = np.asarray(labels)
    if array.dtype.kind not in "ui":
        msg = f"labels must be integers, got dtype {array.dtype}"
        raise TypeError(msg)
    if array.ndim != 2 or array.size == 0:
        msg = f"labels must have shape (rows, columns), got {array.shape}"
        raise ValueError(msg)
    for index in (array.min(), array.max()):
        if not 0 <= index < n_colors:
            msg = f"labels must be between 0 and {n_colors - 1}, got {index}"
            raise ValueError(msg)
    return np.ascontiguousarray(array, dtype=np.uint8)
