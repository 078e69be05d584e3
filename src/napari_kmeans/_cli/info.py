"""The command that says what image files, stores and slides hold."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from napari_kmeans._cli import inputs, running
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options, command, run_options
from napari_kmeans._cli.running import Outcome, Step, counted_text, one_line
from napari_kmeans._compression import count_file
from napari_kmeans._files.indexed import decode_indexed
from napari_kmeans._files.ome_zarr import is_image
from napari_kmeans._files.pyramids import Pyramid, lazy_image
from napari_kmeans._files.read import decode_image

__all__ = ["info"]


_EPILOG = """\b
Examples:
  napari-kmeans info photo.jpg
  napari-kmeans info --json *.tif
  napari-kmeans info slide.ome.zarr slide.svs
"""


@command(_EPILOG, *run_options)
def info(images: tuple[str, ...], options: Options) -> None:
    """Print what each IMAGE holds: size, type, colors, palette, levels and scale.

    Images are named as for `napari-kmeans compress`.
    """
    sources, left_out = inputs.find_sources(
        images, recursive=options.recursive, with_results=True
    )
    sources, options = inputs.with_stdin(sources), replace(options, iters=0)
    outcomes = running.run(_describe, sources, options, left_out)
    running.leave(outcomes)


def _describe(source: Source, _: Options, step: Step) -> Outcome:
    """Read an image and count its colors."""
    step("reading")
    pyramid, n_entries = source.pyramid(), None
    if pyramid is None:
        content = source.read()
        image = decode_image(content)
        # Most files have no palette.
        with contextlib.suppress(ValueError):
            n_entries = len(decode_indexed(content).palette)
    else:
        image = lazy_image(pyramid)
    step("counting")
    metadata = (pyramid or image).metadata
    facts: dict[str, Any] = {
        "input": source.name,
        "bytes": source.n_bytes(),
        "shape": list((pyramid.levels[0] if pyramid else image.pixels).shape),
        "dtype": str(image.pixels.dtype),
        "axes": metadata.axes,
        "has_alpha": image.has_alpha,
        "colors": count_file(image).n_colors,
        "palette_entries": n_entries,
        "scale": list(metadata.scale),
        "units": list(metadata.units),
        "icc_profile_bytes": len(metadata.icc_profile or b""),
        "durations": list(metadata.durations),
    } | (_about_levels(pyramid) if pyramid else {})
    return Outcome("done", one_line(f"{source.name}: {_line(facts)}"), facts)


def _line(facts: dict[str, Any]) -> str:
    """Say what facts say for people, but for what a file does not have."""
    shape = " x ".join(map(str, facts["shape"]))
    parts = [
        f"{facts['bytes']:,} bytes",
        f"{shape} {facts['dtype']}",
        counted_text(facts["colors"], "color"),
    ]
    if "levels" in facts:
        parts += [facts["format"], counted_text(len(facts["levels"]), "level")]
        parts += [
            f"{name} of {' x '.join(map(str, facts[name]))}"
            for name in ("chunks", "shards")
            if facts[name]
        ]
    if facts["has_alpha"]:
        parts.append("with alpha")
    if facts["palette_entries"] is not None:
        parts.append(f"palette of {facts['palette_entries']:,}")
    sizes = zip(facts["axes"], facts["scale"], facts["units"], strict=False)
    parts += [f"{a}: {size:.6g} {unit}" for a, size, unit in sizes if unit != "pixel"]
    if facts["icc_profile_bytes"]:
        parts.append("color profile")
    if facts["durations"]:
        parts.append(f"{sum(facts['durations']):.2f} s")
    return ", ".join(parts)


def _about_levels(pyramid: Pyramid) -> dict[str, Any]:
    """Say how an image is stored that is read piece by piece."""
    first = pyramid.levels[0]
    shards = getattr(first, "shards", None)
    return {
        "format": _format_of(pyramid),
        "levels": [list(level.shape) for level in pyramid.levels],
        "chunks": list(first.chunks),
        "shards": shards and list(shards),
    }


def _format_of(pyramid: Pyramid) -> str:
    """Name the format of a store or a slide, and its version."""
    told = getattr(pyramid.levels[0], "metadata", None)
    if told is None:
        return "TIFF in tiles"
    if not is_image(pyramid.attributes):
        return f"zarr {told.zarr_format}"
    ome = pyramid.attributes.get("ome") or pyramid.attributes["multiscales"][0]
    return f"OME-Zarr {ome.get('version', '0.4')}"
