"""What a reduction cost and what it saves, as text."""

from __future__ import annotations

import math

import numpy as np

from napari_kmeans._napari.record import Record

__all__ = ["errors_as_text", "file_text", "numbers_text"]


def numbers_text(record: Record) -> str:
    """Return the lines that are shown of a result; none if its error is unknown."""
    if record.mse is None or record.psnr is None:
        return ""
    before = "very many" if record.n_colors is None else f"{record.n_colors:,}"
    (error,) = errors_as_text(record.mse)
    psnr = f"{record.psnr:.2f} dB" if math.isfinite(record.psnr) else "∞ dB"
    if record.mse > 0 and math.isinf(record.psnr):
        # The range of the pixels, or the error, is beyond float64.
        psnr = "unknown"
    return (
        f"Colors: {before} → {np.count_nonzero(record.counts):,}\n"
        f"Squared error of the result: {error}\n"
        f"PSNR: {psnr}"
    )


def file_text(record: Record, file: tuple[str, int] | None) -> str:
    """Return what is said of the file of a result.

    `file` is the format and the number of bytes that it is saved in, None if no palette
    file holds it.
    """
    if file is None:
        return "File: no palette file can hold it"
    name, n_bytes = file
    share = f" ({n_bytes / record.n_bytes:.1%} of the raw pixels)"
    return f"File: {n_bytes:,} bytes as {name}{share if record.n_bytes else ''}"


def errors_as_text(*errors: float) -> list[str]:
    """Return errors with four digits, or as many as tell different ones apart."""
    texts: list[str] = []
    for n_digits in range(4, 10):
        texts = [_error_as_text(error, n_digits) for error in errors]
        if len(set(texts)) == len(set(errors)):
            break
    return texts


def _error_as_text(error: float, n_digits: int) -> str:
    """Return an error with at least `n_digits`, and in full unless that is long."""
    if not 1e-4 <= error < 1e7:
        return f"{error:.{n_digits}g}"
    n_decimals = max(0, n_digits - 1 - math.floor(math.log10(error)))
    return f"{error:,.{n_decimals}f}"
