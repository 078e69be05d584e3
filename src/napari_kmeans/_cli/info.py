"""The command that says what image files hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_kmeans._cli import inputs, running
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options, command, run_options
from napari_kmeans._cli.running import Outcome, Step, counted_text, one_line
from napari_kmeans._compression import count_file
from napari_kmeans._files.indexed import decode_indexed
from napari_kmeans._files.metadata import sizes_of
from napari_kmeans._files.read import decode_image

__all__ = ["info"]


_EPILOG = """\b
Examples:
  napari-kmeans info photo.jpg
  napari-kmeans info --json *.tif
"""


@command(_EPILOG, *run_options)
def info(images: tuple[str, ...], options: Options) -> None:
    """Print what each IMAGE holds: size, type, colors, palette and scale.

    Images are named as for `napari-kmeans compress`.
    """
    sources, left_out = inputs.find_sources(images, with_results=True)
    sources, options = inputs.with_stdin(sources), replace(options, iters=0)
    outcomes = running.run(_describe, sources, options, left_out)
    running.leave(outcomes)


def _describe(source: Source, _: Options, step: Step) -> Outcome:
    """Read an image and count its colors."""
    step("reading")
    content = source.read()
    image = decode_image(content)
    step("counting")
    try:
        n_entries = len(decode_indexed(content).palette)
    except ValueError:  # Most files have no palette.
        n_entries = None
    metadata = image.metadata
    facts: dict[str, Any] = {
        "input": source.name,
        "bytes": len(content),
        "shape": list(image.pixels.shape),
        "dtype": str(image.pixels.dtype),
        "axes": metadata.axes,
        "has_alpha": image.has_alpha,
        "colors": count_file(image).n_colors,
        "palette_entries": n_entries,
        "scale": list(metadata.scale),
        "units": list(metadata.units),
        "icc_profile_bytes": len(metadata.icc_profile or b""),
        "durations": list(metadata.durations),
    }
    shape = " x ".join(str(n) for n in image.pixels.shape)
    parts = [
        f"{len(content):,} bytes",
        f"{shape} {image.pixels.dtype}",
        counted_text(facts["colors"], "color"),
    ]
    if image.has_alpha:
        parts.append("with alpha")
    if n_entries is not None:
        parts.append(f"palette of {n_entries:,}")
    sizes = sizes_of(metadata).items()
    parts += [f"{a}: {size:.6g} {unit}" for a, (size, unit) in sizes if unit != "pixel"]
    if metadata.icc_profile is not None:
        parts.append("color profile")
    if metadata.durations:
        parts.append(f"{sum(metadata.durations):.2f} s")
    return Outcome("done", one_line(f"{source.name}: {', '.join(parts)}"), facts)
