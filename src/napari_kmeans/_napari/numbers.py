"""What a reduction cost and what it saves."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_kmeans._core.color_counts import count_colors
from napari_kmeans._core.quality import (
    peak_ratio,
    premultiplied,
    signal_peak,
    white_of,
)
from napari_kmeans._napari.layers import METADATA, read_level
from napari_kmeans._napari.writer import CannotHold, write_image, write_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_kmeans._napari.layers import Source
    from napari_kmeans._napari.quantize_layer import Outcome

__all__ = ["Numbers", "errors_as_text", "measure_outcome"]

_BLOCK = 1 << 18


class Numbers(NamedTuple):
    """An image before and after."""

    # None if there are too many to count.
    colors_before: int | None
    colors_after: int
    # Squared distance of pixels to their colors, summed over channels.
    mse: float
    # In decibels, as `choose_k` counts them.
    psnr: float
    bytes_before: int
    # Format and bytes of the file that would be written, None if no format takes it.
    file: tuple[str, int] | None

    def __str__(self) -> str:
        """Give the lines that are shown."""
        before = "very many" if self.colors_before is None else self.colors_before
        colors = f"{before:,}" if isinstance(before, int) else before
        file = "no palette file can hold it"
        if self.file is not None:
            name, n_bytes = self.file
            share = n_bytes / self.bytes_before
            file = f"{n_bytes:,} bytes as {name} ({share:.1%} of the raw pixels)"
        (error,) = errors_as_text(self.mse)
        psnr = "∞" if math.isinf(self.psnr) else f"{self.psnr:.2f}"
        return (
            f"Colors: {colors} → {self.colors_after:,}\n"
            f"Squared error of the result: {error}\n"
            f"PSNR: {psnr} dB\n"
            f"File: {file}"
        )


def errors_as_text(*errors: float) -> list[str]:
    """Write errors with four digits, or as many as tell different ones apart."""
    texts: list[str] = []
    for n_digits in range(4, 10):
        texts = [_error_as_text(error, n_digits) for error in errors]
        if len(set(texts)) == len(set(errors)):
            break
    return texts


def _error_as_text(error: float, n_digits: int) -> str:
    """Write an error with at least `n_digits`, and in full unless that is long."""
    if not 1e-4 <= error < 1e7:
        return f"{error:.{n_digits}g}"
    n_decimals = max(0, n_digits - 1 - math.floor(math.log10(error)))
    return f"{error:,.{n_decimals}f}"


def measure_outcome(
    source: Source,
    outcome: Outcome,
    places: dict[str, Any],
    report: Callable[[Any], None],
) -> Numbers:
    """Compare the full resolution with what became of it, lying at `places`."""
    image = read_level(source)
    report(None)
    pixels = image[..., np.newaxis]
    if source.channel_axis is not None:
        pixels = np.moveaxis(image, source.channel_axis, -1)
    labels = outcome.labels[0].reshape(pixels.shape[:-1])
    found = count_colors(pixels)
    report(None)
    white = white_of(image.dtype)
    total, n_pixels, low, high = 0.0, 0, np.inf, -np.inf
    palette = outcome.palette.reshape(len(outcome.palette), -1).astype(np.float64)
    colors = np.concatenate([np.zeros((1, palette.shape[1])), palette])
    rows = max(1, _BLOCK * len(labels) // labels.size)
    for start in range(0, len(labels), rows):
        label = labels[start : start + rows]
        block = pixels[start : start + rows]
        counted = label > 0
        if source.has_alpha:
            counted &= block[..., -1] > 0
        before = block[counted].astype(np.float64)
        after = colors[label[counted]]
        if before.size:
            low, high = min(low, before.min()), max(high, before.max())
        if source.has_alpha:
            before, after = premultiplied(before, white), premultiplied(after, white)
        total += float(np.square(before - after).sum())
        n_pixels += len(before)
        report(None)
    mse = total / max(1, n_pixels)
    peak = signal_peak(image.dtype, low, high)
    return Numbers(
        colors_before=None if found is None else len(found.colors),
        colors_after=int(np.count_nonzero(outcome.counts)),
        mse=mse,
        psnr=peak_ratio(mse, peak, palette.shape[1]),
        bytes_before=image.nbytes,
        file=_write(source, outcome, places),
    )


def _write(
    source: Source, outcome: Outcome, places: dict[str, Any]
) -> tuple[str, int] | None:
    """Write the file that would be written, and give its format and its bytes."""
    settings = {"channel_axis": source.channel_axis}
    record = {"palette": outcome.palette, "settings": settings}
    attributes = places | {"metadata": {METADATA: record}}
    data, write, look = outcome.labels[0], write_labels, source.look
    if outcome.images and len(source.levels[0]) == 1:
        data, write = outcome.images[0], write_image
        attributes["rgb"] = look.is_rgb
        if look.colormaps:
            attributes["colormap"] = look.colormaps[0]
            attributes["contrast_limits"] = look.contrast_limits[0]
            attributes["gamma"] = look.gammas[0]
    else:
        attributes["colormap"] = outcome.colormap
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".tif"):
            path = Path(folder) / f"image{suffix}"
            try:
                write(str(path), data, attributes)
            except CannotHold:
                continue
            return suffix[1:].upper(), path.stat().st_size
    return None
