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
from napari_kmeans._cli.given import with_mask
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options, option
from napari_kmeans._cli.running import Outcome, Step, one_line
from napari_kmeans._cli.tables import color_rows, encode_colors
from napari_kmeans._compression import as_wanted, count_parts, fit_counted, part_of
from napari_kmeans._core.arrays import Array
from napari_kmeans._core.counted_image import color_errors
from napari_kmeans._files import palettes
from napari_kmeans._files.read import ImageFile
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
        "Palette or picture to write, such as photo.gpl.",
        metavar="PATH",
        type=opt.ANY_PATH,
    ),
    option(
        "--format suffix",
        "Format of files in a directory.",
        metavar="NAME",
        default="gpl",
        type=outputs.suffix_parser(*_SUFFIXES),
    ),
    opt.force_option,
    opt.csv_option,
    *opt.run_options,
    opt.depth_option,
)
def palette(images: tuple[str, ...], options: Options) -> None:
    """Find the K colors of each IMAGE, by default 16, from dark to light.

    Images are named as for `napari-kmeans compress`.
    """
    opt.refuse_together("psnr", "k", "shared", "init", "seed", "fixed")
    opt.check_fixed(options)
    opt.refuse_stdout("csv_file")
    sources, left_out = inputs.find_sources(images, recursive=options.recursive)
    several = not options.shared and inputs.are_several(images, sources)
    if options.output == opt.STDOUT:
        options = replace(options, output=None)
    place = outputs.parse_place("output", options.output, several, _SUFFIXES)
    options = with_mask(options)
    if place is not None:
        place.make()
    sources = inputs.with_stdin(sources)
    claims = outputs.Claims(sources, options)
    options = replace(options, several=not options.shared and len(sources) > 1)
    if options.shared:
        read = partial(_image, options=options)
        sources = inputs.read_group(sources, read, options.mask)
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
    claims.claim_beside(options.csv_file)
    outcomes = running.run(_find_palette, sources, options, left_out)
    if options.csv_file is not None:
        outputs.write_beside(options.csv_file, encode_colors(outcomes), options)
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
        counted = inputs.count_group(source.members, read, options)
    else:
        image = _image(source, options)
        step("counting")
        part = part_of(image, options.mask)
        counted = count_parts([part], lambda: [image], options, options.mask)
    step("fitting")
    found = fit_counted(
        counted,
        options,
        callback=lambda state: step("fitting", state.n_iter, options.iters),
    )
    result = found.result
    target, colors = source.target, hex_colors(result.palette)
    name = ", ".join(s.name for s in source.members or (source,))
    facts: dict[str, Any] = {
        "input": name,
        "output": target,
        "colors": colors,
        "counts": result.counts.tolist(),
        "mse": result.mse,
        "n_iter": result.n_iter,
        "converged": result.converged,
        "channel_weights": running.weights_of(result),
    }
    text = "\n".join(colors)
    files: tuple[tuple[str, bytes], ...] = ()
    if target is not None:
        files = ((target, _encoded(target, result.palette, options)),)
        n_colors = running.counted_text(len(colors), "color")
        text = one_line(f"{source.name} -> {target}: {n_colors}")
    elif options.several:
        text = one_line(f"{source.name}: {' '.join(colors)}")
    detail = running.iterations_text(result)
    outcome = Outcome("done", text, facts, detail, target is None, files=files)
    if options.csv_file is None:
        return outcome
    errors = color_errors(counted, result.palette)
    rows = color_rows(name, result.palette, result.counts, errors)
    return outcome._replace(rows=rows)


def _encoded(target: str, palette: Array, options: Options) -> bytes:
    """Encode colors in the format of a file name."""
    suffix = Path(target).suffix.lower()
    if suffix not in palettes.PALETTE_SUFFIXES:
        return encode_swatches(target, palette)
    provenance = None
    if suffix in palettes.PROVENANCE_SUFFIXES:
        wanted = "k" if options.psnr is None else "psnr"
        names = (wanted, "iters", "init", "seed", "color_space", "channel_weights")
        provenance = {name: getattr(options, name) for name in names}
    try:
        return palettes.encode_palette(target, palette, provenance)
    except TypeError as error:
        advice = "; --depth 8 scales colors" if palette.dtype.kind == "u" else ""
        msg = f"{error}{advice}"
        raise ValueError(msg) from error
