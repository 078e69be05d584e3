"""The command that tells what image files hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from napari_kmeans._cli.inputs import Source, find_sources, with_stdin
from napari_kmeans._cli.options import images_argument, jobs_option, talk_options
from napari_kmeans._cli.running import Outcome, Talk, finish, one_line, run_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["info"]

_EPILOG = """\b
Examples:
  napari-kmeans info photo.jpg
  napari-kmeans info --json *.tif
"""


class _InfoJob(NamedTuple):
    """An image to tell about."""

    source: Source

    @property
    def name(self) -> str:
        """What the image is called."""
        return self.source.name

    @property
    def n_steps(self) -> int:
        """Count reading and counting."""
        return 3

    def do(self, step: Callable[[str], object]) -> Outcome:
        """Read the image and count its colors."""
        from napari_kmeans._compression import count_distinct
        from napari_kmeans._files.indexed import decode_indexed
        from napari_kmeans._files.read import decode_image
        from napari_kmeans._pictures.display import counted_text

        step("reading")
        content = self.source.read()
        image = decode_image(content)
        step("counting")
        try:
            n_entries = len(decode_indexed(content).palette)
        except ValueError:  # Most files have no palette.
            n_entries = None
        metadata = image.metadata
        facts: dict[str, Any] = {
            "input": self.source.name,
            "bytes": len(content),
            "shape": list(image.pixels.shape),
            "dtype": str(image.pixels.dtype),
            "axes": metadata.axes,
            "has_alpha": image.has_alpha,
            "colors": count_distinct(image),
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
        if metadata.scale:
            parts += [
                f"{axis}: {scale:.6g} {unit}"
                for axis, scale, unit in zip(
                    metadata.axes, metadata.scale, metadata.units, strict=True
                )
                if unit != "pixel"
            ]
        if metadata.icc_profile is not None:
            parts.append("color profile")
        if metadata.durations:
            parts.append(f"{sum(metadata.durations):.2f} s")
        return Outcome("done", one_line(f"{self.name}: {', '.join(parts)}"), facts)


@click.command(epilog=_EPILOG)
@images_argument
@jobs_option
@talk_options
def info(
    images: tuple[str, ...], jobs: int, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Tell what each IMAGE holds: size, type, colors, palette and scale.

    Images are named as for `napari-kmeans compress`.
    """
    talk = Talk(quiet, verbose, as_json)
    sources = with_stdin(find_sources(images, with_results=True))
    outcomes = run_jobs([_InfoJob(source) for source in sources], talk, jobs)
    finish(outcomes, talk)
