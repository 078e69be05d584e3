"""The command that shows and saves palettes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from napari_kmeans._cli._options import (
    fit_options,
    images_argument,
    jobs_option,
    talk_options,
)
from napari_kmeans._cli._places import STDOUT, Place, claim, parse_place
from napari_kmeans._cli._sources import Source, are_several, find_sources, identity
from napari_kmeans._cli._work import (
    Outcome,
    Talk,
    finish,
    one_line,
    reason,
    run_jobs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_kmeans._compression import Recipe
    from napari_kmeans._quantize import PaletteResult

__all__ = ["palette"]

_EPILOG = """\b
Examples:
  napari-kmeans palette photo.jpg
      prints 16 colors, one per line
  napari-kmeans palette -k 8 -o photo.gpl photo.jpg
      for GIMP, Inkscape, Krita and others
  napari-kmeans palette -o swatches.png photo.jpg
  napari-kmeans palette --shared -k 32 -o sprites.json *.png
      one palette of all images
"""


class _PaletteJob(NamedTuple):
    """An image, or several that share a palette, whose colors are to be found."""

    sources: list[Source]
    target: str | None
    recipe: Recipe
    force: bool
    # Whether the colors are one of several lists.
    is_one_of_many: bool
    fault: str | None = None

    @property
    def name(self) -> str:
        """What the images are called."""
        return ", ".join(source.name for source in self.sources)

    @property
    def n_steps(self) -> int:
        """Count the iterations, and reading, fitting and writing."""
        return max(self.recipe.iters, 0) + 4

    def do(self, step: Callable[[str], object]) -> Outcome:
        """Find the colors and write them."""
        from napari_kmeans._compression import fit_palette, fit_shared_palette
        from napari_kmeans._image_files import decode_image

        if self.fault is not None:
            raise ValueError(self.fault)
        step("reading")
        images = [decode_image(source.read()) for source in self.sources]
        step("fitting")
        if len(images) > 1:
            result = fit_shared_palette(images, self.recipe)
        else:
            result = fit_palette(images, self.recipe, lambda: step("fitting"))
        step("writing")
        if self.target is not None:
            _write(self.target, result, self.recipe, self.force)
        return self._outcome(result)

    def _outcome(self, result: PaletteResult) -> Outcome:
        """Tell the colors."""
        from napari_kmeans._display import hex_color

        colors = [hex_color(color) for color in result.palette]
        facts: dict[str, Any] = {
            "input": self.name,
            "output": self.target,
            "colors": colors,
            "counts": result.counts.tolist(),
            "mse": result.mse,
            "n_iter": result.n_iter,
            "converged": result.converged,
        }
        if self.target is not None:
            text = one_line(f"{self.name} -> {self.target}: {len(colors):,} colors")
        elif self.is_one_of_many:
            text = one_line(f"{self.name}: {' '.join(colors)}")
        else:
            text = "\n".join(colors)
        end = "converged" if result.converged else "not converged"
        return Outcome("done", text, facts, f"{result.n_iter} iterations, {end}")


@click.command(epilog=_EPILOG)
@images_argument
@fit_options
@click.option("--shared", is_flag=True, help="Find one palette for all images.")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write: .gpl, .json or .npy, .hex for a line per color, or a picture "
    "of the colors, such as .png.  [default: print the colors]",
)
@click.option(
    "--format",
    "suffix",
    metavar="NAME",
    default="gpl",
    help="Format of files in a directory.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@jobs_option
@talk_options
def palette(
    images: tuple[str, ...],
    k: int | None,
    iters: int,
    init: Literal["auto", "thorough", "k-means++", "random"],
    seed: int | None,
    color_space: Literal["rgb", "lab", "oklab"],
    psnr: float | None,
    shared: bool,
    output: str | None,
    suffix: str,
    force: bool,
    jobs: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Find the K colors of each IMAGE, 16 if nothing is said, from dark to light.

    Images are named as for `napari-kmeans compress`.
    """
    from napari_kmeans._compression import Recipe

    if psnr is not None and (k is not None or shared):
        msg = f"--psnr and {'--shared' if shared else '--colors'} exclude each other"
        raise click.UsageError(msg)
    recipe = Recipe(16 if k is None else k, iters, init, seed, color_space, psnr=psnr)
    sources = find_sources(images)
    several = not shared and are_several(images, sources)
    groups = [sources] if shared else [[source] for source in sources]
    place = None
    if output != STDOUT:
        place = parse_place("--output", output, several)
    taken = {identity(source.path) for source in sources}
    planned = []
    for group in groups:
        target, fault = None, None
        try:
            target = _target(group, place, f".{suffix.lstrip('.')}", taken, force)
        except (OSError, ValueError) as error:
            fault = reason(error, group[0].name)
        planned.append(
            _PaletteJob(group, target, recipe, force, len(groups) > 1, fault)
        )
    talk = Talk(quiet, verbose, as_json)
    finish(run_jobs(planned, talk, jobs), talk)


def _target(
    group: list[Source], place: Place | None, suffix: str, taken: set[str], force: bool
) -> str | None:
    """Choose the file to write, and see that it may be written."""
    import numpy as np

    from napari_kmeans._image_files import ImageFile, check_fit
    from napari_kmeans._palette_files import PALETTE_SUFFIXES

    if place is None:
        return None
    path = place.file(f"{group[0].stem}_palette{suffix}")
    if path.suffix.lower() not in (*PALETTE_SUFFIXES, ".hex"):
        check_fit(str(path), ImageFile(np.zeros((1, 1, 3), np.uint8)))
    claim(path, taken, force)
    taken.add(identity(path))
    return str(path)


def _write(target: str, result: PaletteResult, recipe: Recipe, force: bool) -> None:
    """Write the colors in the format of a file name."""
    from napari_kmeans._atomic_file import replace_file
    from napari_kmeans._display import hex_color
    from napari_kmeans._image_files import ImageFile, encode_image
    from napari_kmeans._palette_files import PALETTE_SUFFIXES, write_palette
    from napari_kmeans._swatches import draw_swatches

    suffix = Path(target).suffix.lower()
    if suffix in PALETTE_SUFFIXES:
        provenance = {
            "k": recipe.k,
            "iters": recipe.iters,
            "init": recipe.init,
            "seed": recipe.seed,
            "color_space": recipe.color_space,
        }
        write_palette(
            target, result.palette, provenance=None if suffix == ".npy" else provenance
        )
        return
    if suffix == ".hex":
        lines = [f"{hex_color(color).removeprefix('#')}\n" for color in result.palette]
        content = "".join(lines).encode()
    else:
        content = encode_image(target, ImageFile(draw_swatches(result.palette)))
    replace_file(target, content, overwrite=force)
