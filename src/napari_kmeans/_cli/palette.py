"""The command that shows and saves palettes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from napari_kmeans._cli.inputs import (
    Source,
    are_several,
    find_sources,
    identity,
    with_stdin,
)
from napari_kmeans._cli.options import (
    fit_options,
    force_option,
    images_argument,
    jobs_option,
    option,
    refuse_together,
    talk_options,
)
from napari_kmeans._cli.outputs import (
    STDOUT,
    claim,
    parse_place,
    suffix_parser,
)
from napari_kmeans._cli.running import (
    Outcome,
    Talk,
    finish,
    one_line,
    reason,
    run_jobs,
)
from napari_kmeans._cli.shared import read_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_kmeans._cli.outputs import Place
    from napari_kmeans._compression import Recipe
    from napari_kmeans._core.quantize import PaletteResult
    from napari_kmeans._files.read import ImageFile

__all__ = ["palette"]

# Those that errors name: `PALETTE_SUFFIXES`, which are not loaded to show help, and
# that of a picture.
_SUFFIXES = (".gpl", ".json", ".npy", ".hex", ".png")
_MOST_NAMED = 3

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
    # Why it cannot be done, if that is known.
    fault: str | None = None
    # Images that are read already, because they share a palette.
    group: list[ImageFile] | None = None

    @property
    def name(self) -> str:
        """What the images are called, or the first of many."""
        names = [source.name for source in self.sources]
        if len(names) > _MOST_NAMED:
            return f"{names[0]} and {len(names) - 1} others"
        return ", ".join(names)

    @property
    def n_steps(self) -> int:
        """Count the iterations, and reading, fitting and writing."""
        return self.recipe.iters + 4

    def do(self, step: Callable[[str], object]) -> Outcome:
        """Find the colors and write them."""
        from napari_kmeans._compression import fit_palette, fit_shared_palette
        from napari_kmeans._files.read import decode_image

        if self.fault is not None:
            raise ValueError(self.fault)
        step("reading")
        if self.group is not None:
            result = fit_shared_palette(self.group, self.recipe)
        else:
            image = decode_image(self.sources[0].read())
            step("fitting")
            result = fit_palette([image], self.recipe, lambda: step("fitting"))
        step("writing")
        if self.target is not None:
            _write(self.target, result, self.recipe, self.force)
        return self._outcome(result)

    def _outcome(self, result: PaletteResult) -> Outcome:
        """Tell the colors."""
        from napari_kmeans._pictures.display import counted_text, hex_color

        colors = [hex_color(color) for color in result.palette]
        facts: dict[str, Any] = {
            "input": ", ".join(source.name for source in self.sources),
            "output": self.target,
            "colors": colors,
            "counts": result.counts.tolist(),
            "mse": result.mse,
            "n_iter": result.n_iter,
            "converged": result.converged,
        }
        if self.target is not None:
            n_colors = counted_text(len(colors), "color")
            text = one_line(f"{self.name} -> {self.target}: {n_colors}")
        elif self.is_one_of_many:
            text = one_line(f"{self.name}: {' '.join(colors)}")
        else:
            text = "\n".join(colors)
        end = "converged" if result.converged else "not converged"
        detail = f"{counted_text(result.n_iter, 'iteration')}, {end}"
        return Outcome("done", text, facts, detail, is_data=self.target is None)


@click.command(epilog=_EPILOG)
@images_argument
@fit_options
@option("--shared", is_flag=True, help="Find one palette for all images.")
@option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write: .gpl, .json, .npy or .hex, or a picture of the colors, such "
    "as .png.  [default: print the colors]",
)
@option(
    "--format",
    "suffix",
    metavar="NAME",
    default="gpl",
    callback=suffix_parser(*_SUFFIXES),
    help="Format of files in a directory.",
)
@force_option
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

    refuse_together("psnr", "k", "shared", "init", "seed")
    recipe = Recipe(16 if k is None else k, iters, init, seed, color_space, psnr=psnr)
    sources = find_sources(images)
    several = not shared and are_several(images, sources)
    place = None
    if output != STDOUT:
        place = parse_place("output", output, several, _SUFFIXES)
    talk = Talk(quiet, verbose, as_json)
    if place is not None:
        place.make(talk)
    sources = with_stdin(sources)
    planned = [
        _PaletteJob([source], None, recipe, force, len(sources) > 1)
        for source in sources
    ]
    if shared:
        planned = _with_group(planned)
    if place is not None:
        taken = {identity(source.path) for source in sources}
        planned = _with_targets(planned, place, f"_palette{suffix}", taken)
    finish(run_jobs(planned, talk, jobs), talk)


def _with_group(jobs: list[_PaletteJob]) -> list[_PaletteJob]:
    """Make one job of the images that can share a palette, after those that cannot."""
    images, faults = read_group([job.sources[0] for job in jobs])
    pairs = list(zip(jobs, faults, strict=True))
    planned = [job._replace(fault=fault) for job, fault in pairs if fault is not None]
    if images:
        sources = [job.sources[0] for job, fault in pairs if fault is None]
        group = jobs[0]._replace(sources=sources, group=images, is_one_of_many=False)
        planned.append(group)
    return planned


def _with_targets(
    jobs: list[_PaletteJob], place: Place, ending: str, taken: set[str]
) -> list[_PaletteJob]:
    """Choose the files to write, and see that no two are one, nor one of the images."""
    results: set[str] = set()
    planned = []
    for job in jobs:
        if job.fault is None:
            path = place.unclaimed(job.sources[0], ending, results)
            try:
                claim(path, taken | results, job.force)
                results.add(identity(path))
                job = job._replace(target=str(path))
            except (OSError, ValueError) as error:
                job = job._replace(fault=reason(error, job.name))
        planned.append(job)
    return planned


def _write(target: str, result: PaletteResult, recipe: Recipe, force: bool) -> None:
    """Write the colors in the format of a file name."""
    from napari_kmeans._files.palettes import (
        PALETTE_SUFFIXES,
        PROVENANCE_SUFFIXES,
        encode_palette,
    )
    from napari_kmeans._files.replace import replace_file

    suffix = Path(target).suffix.lower()
    if suffix not in PALETTE_SUFFIXES:
        content = _picture(target, result.palette)
    elif suffix in PROVENANCE_SUFFIXES:
        wanted = {"k": recipe.k} if recipe.psnr is None else {"psnr": recipe.psnr}
        provenance = {
            **wanted,
            "iters": recipe.iters,
            "init": recipe.init,
            "seed": recipe.seed,
            "color_space": recipe.color_space,
        }
        content = encode_palette(target, result.palette, provenance)
    else:
        content = encode_palette(target, result.palette, None)
    replace_file(target, content, overwrite=force)


def _picture(target: str, palette: NDArray[Any]) -> bytes:
    """Draw the colors, in a file with a palette as the palette itself."""
    from napari_kmeans._files.indexed import encode_indexed
    from napari_kmeans._files.read import ImageFile
    from napari_kmeans._files.write import encode_image
    from napari_kmeans._pictures.swatches import draw_swatches, swatch_labels

    if not _holds(Path(target).suffix.lower(), palette):
        return encode_image(target, ImageFile(draw_swatches(palette)))
    is_gray = palette.ndim == 1 or palette.shape[1] == 1
    colors = palette.reshape(-1, 1).repeat(3, axis=1) if is_gray else palette
    labels = swatch_labels(len(colors))
    return encode_indexed(target, labels, colors, keep_order=True)


def _holds(suffix: str, palette: NDArray[Any]) -> bool:
    """Tell whether an image file can have a palette as its own."""
    from napari_kmeans._files.formats import format_of, palette_misfit

    n_channels = palette.shape[1] if palette.ndim == 2 else 1
    form = format_of(f"image{suffix}")
    return n_channels in (1, 3, 4) and palette_misfit(form, 2, palette) is None
