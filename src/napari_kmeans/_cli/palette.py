"""The command that shows and saves palettes.

`palette` chooses the files, `_find_palette` finds the colors of an image, or of all
with ``--shared``, and writes them or has them printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_kmeans._cli import inputs, outputs, running
from napari_kmeans._cli import options as opt
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options, option
from napari_kmeans._cli.running import Outcome, Step, one_line
from napari_kmeans._compression import as_wanted, fit_palette, part_of
from napari_kmeans._core.arrays import Array
from napari_kmeans._files import palettes
from napari_kmeans._files.read import ImageFile
from napari_kmeans._files.replace import replace_file
from napari_kmeans._pictures.charts import encode_swatches
from napari_kmeans._pictures.display import hex_colors

__all__ = ["palette"]

# Those that errors name: palettes, and one of pictures.
_SUFFIXES = (*palettes.PALETTE_SUFFIXES, ".png")
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


@opt.command(
    _EPILOG,
    *opt.fit_options,
    option("--shared", "Find one palette for all images.", is_flag=True),
    option(
        "-o --output",
        "File to write: .gpl, .json, .npy, .hex or .pal, or a picture of the colors, "
        "such as .png.  [default: print the colors]",
        metavar="PATH",
    ),
    option(
        "--format suffix",
        "Format of files in a directory.",
        metavar="NAME",
        default="gpl",
        type=outputs.suffix_parser(*_SUFFIXES),
    ),
    opt.force_option,
    *opt.run_options,
    opt.depth_option,
)
def palette(images: tuple[str, ...], options: Options) -> None:
    """Find the K colors of each IMAGE, by default 16, from dark to light.

    Images are named as for `napari-kmeans compress`.
    """
    opt.refuse_together("psnr", "k", "shared", "init", "seed")
    sources, left_out = inputs.find_sources(images)
    several = not options.shared and inputs.are_several(images, sources)
    if options.output == opt.STDOUT:
        options = replace(options, output=None)
    place = outputs.parse_place("output", options.output, several, _SUFFIXES)
    if place is not None:
        place.make()
    sources = inputs.with_stdin(sources)
    claims = outputs.Claims(sources, options)
    options = replace(options, several=not options.shared and len(sources) > 1)
    if options.shared:
        sources = inputs.read_group(sources, partial(_image, options=options))
        members = tuple(source for source in sources if source.fault is None)
        sources = [source for source in sources if source.fault is not None]
        if members:
            sources.append(Source(_names(members), members=members))

    def files_of(source: Source) -> Source:
        if place is None:
            return source
        first = source.members[0] if source.members else source
        target = claims.name(place, first, f"_palette{options.suffix}")
        return source._replace(target=target)

    sources = inputs.changed(sources, files_of)
    outcomes = running.run(_find_palette, sources, options, left_out)
    running.leave(outcomes)


def _names(members: Sequence[Source]) -> str:
    """Name images that share a palette, or the first of many."""
    names = [member.name for member in members]
    if len(names) > _MOST_NAMED:
        return f"{names[0]} and {len(names) - 1} others"
    return ", ".join(names)


def _image(source: Source, options: Options) -> ImageFile:
    """Read an image in the depth that is asked for."""
    return as_wanted(source.image(), "", options)


def _find_palette(source: Source, options: Options, step: Step) -> Outcome:
    """Find the colors of an image, or of several that share them."""
    step("reading")
    if source.members:
        read = partial(_image, options=options)
        result = inputs.fit_group(source.members, options, read)
    else:
        image = _image(source, options)
        step("fitting")
        result = fit_palette(
            [part_of(image)], lambda: [image], options, lambda _: step("fitting")
        )
    step("writing")
    target, colors = source.target, hex_colors(result.palette)
    facts: dict[str, Any] = {
        "input": ", ".join(s.name for s in source.members or (source,)),
        "output": target,
        "colors": colors,
        "counts": result.counts.tolist(),
        "mse": result.mse,
        "n_iter": result.n_iter,
        "converged": result.converged,
    }
    text = "\n".join(colors)
    if target is not None:
        content = _encoded(target, result.palette, options)
        replace_file(target, content, overwrite=options.force)
        n_colors = running.counted_text(len(colors), "color")
        text = one_line(f"{source.name} -> {target}: {n_colors}")
    elif options.several:
        text = one_line(f"{source.name}: {' '.join(colors)}")
    detail = running.iterations_text(result)
    return Outcome("done", text, facts, detail, is_data=target is None)


def _encoded(target: str, palette: Array, options: Options) -> bytes:
    """Encode colors in the format of a file name."""
    suffix = Path(target).suffix.lower()
    if suffix not in palettes.PALETTE_SUFFIXES:
        return encode_swatches(target, palette)
    provenance = None
    if suffix in palettes.PROVENANCE_SUFFIXES:
        wanted = "k" if options.psnr is None else "psnr"
        names = (wanted, "iters", "init", "seed", "color_space")
        provenance = {name: getattr(options, name) for name in names}
    try:
        return palettes.encode_palette(target, palette, provenance)
    except TypeError as error:
        advice = "; --depth 8 scales colors" if palette.dtype.kind == "u" else ""
        msg = f"{error}{advice}"
        raise ValueError(msg) from error
