"""The command that shows and saves palettes.

`_find_palette` finds the colors of one image, or of all with ``--shared``, and writes
or prints them; `_encode` chooses between palette files and pictures.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kmeans._cli.inputs import (
    Source,
    are_several,
    find_sources,
    read_group,
    with_stdin,
)
from napari_kmeans._cli.options import (
    Options,
    command,
    fit_options,
    force_option,
    option,
    output_options,
    refuse_together,
)
from napari_kmeans._cli.outputs import (
    STDOUT,
    Claims,
    claimed,
    parse_place,
    suffix_parser,
)
from napari_kmeans._cli.running import (
    Outcome,
    counted_text,
    finish,
    iterations_text,
    one_line,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_kmeans._cli.running import Step
    from napari_kmeans._core.quantize import PaletteResult
    from napari_kmeans._files.read import ImageFile

__all__ = ["palette"]

# Those that errors name: `PALETTE_SUFFIXES`, which are not loaded to show help, and
# that of a picture.
_SUFFIXES = (".gpl", ".json", ".npy", ".hex", ".png")
_MOST_NAMED = 3
# Reading, counting, fitting and writing, beside the iterations.
_STEPS = 4

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


@command(
    _EPILOG,
    *fit_options,
    option("--shared", is_flag=True, help="Find one palette for all images."),
    option(
        "-o",
        "--output",
        metavar="PATH",
        help="File to write: .gpl, .json, .npy or .hex, or a picture of the colors, "
        "such as .png.  [default: print the colors]",
    ),
    option(
        "--format",
        "suffix",
        metavar="NAME",
        default="gpl",
        callback=suffix_parser(*_SUFFIXES),
        help="Format of files in a directory.",
    ),
    force_option,
    *output_options,
)
def palette(images: tuple[str, ...], options: Options) -> None:
    """Find the K colors of each IMAGE, by default 16, from dark to light.

    Images are named as for `napari-kmeans compress`.
    """
    refuse_together("psnr", "k", "shared", "init", "seed")
    sources = find_sources(images)
    several = not options.shared and are_several(images, sources)
    place = None
    if options.output != STDOUT:
        place = parse_place("output", options.output, several, _SUFFIXES)
    if place is not None:
        place.make()
    sources = with_stdin(sources)
    claims = Claims(sources, force=options.force)
    do: Callable[..., Outcome] = partial(_find_palette, is_alone=len(sources) == 1)
    first = None
    if options.shared:
        sources, group = read_group(sources)
        members = [source for source in sources if source.fault is None]
        do = partial(_find_shared, members=members, group=group)
        sources = [source for source in sources if source.fault is not None]
        if members:
            first = members[0]
            sources.append(Source(_names(members)))

    def choose(source: Source) -> Source:
        if place is None:
            return source
        path = claims.name(place, first or source, f"_palette{options.suffix}")
        return source._replace(target=claims.claim(path))

    sources = claimed(sources, choose)
    finish(run(do, sources, options, options.iters + _STEPS), options)


def _names(members: Sequence[Source]) -> str:
    """Name images that share a palette, or the first of many."""
    names = [member.name for member in members]
    if len(names) > _MOST_NAMED:
        return f"{names[0]} and {len(names) - 1} others"
    return ", ".join(names)


def _find_palette(
    source: Source, options: Options, step: Step, *, is_alone: bool
) -> Outcome:
    """Find the colors of an image."""
    from napari_kmeans._compression import fit_palette
    from napari_kmeans._files.read import decode_image

    step("reading")
    image = decode_image(source.read())
    step("fitting")
    result = fit_palette(image, options, lambda _: step("fitting"))
    step("writing")
    title = "" if is_alone else f"{source.name}: "
    return _written(source, result, options, source.name, title)


def _find_shared(
    source: Source,
    options: Options,
    step: Step,
    *,
    members: Sequence[Source],
    group: Sequence[ImageFile],
) -> Outcome:
    """Find the colors of images that are read already."""
    from napari_kmeans._compression import fit_shared

    step("fitting")
    result = fit_shared(group, options)
    step("writing")
    names = ", ".join(member.name for member in members)
    return _written(source, result, options, names, "")


def _written(
    source: Source, result: PaletteResult, options: Options, names: str, title: str
) -> Outcome:
    """Write the colors to the target, if there is one, and say what came out.

    They are printed after a `title`, or one per line where that is empty.
    """
    from napari_kmeans._files.replace import replace_file
    from napari_kmeans._pictures.display import hex_colors

    target = source.target
    if target is not None:
        content = _encoded(target, result.palette, options)
        replace_file(target, content, overwrite=options.force)
    colors = hex_colors(result.palette)
    facts: dict[str, Any] = {
        "input": names,
        "output": target,
        "colors": colors,
        "counts": result.counts.tolist(),
        "mse": result.mse,
        "n_iter": result.n_iter,
        "converged": result.converged,
    }
    text = one_line(title + " ".join(colors)) if title else "\n".join(colors)
    if target is not None:
        n_colors = counted_text(len(colors), "color")
        text = one_line(f"{source.name} -> {target}: {n_colors}")
    detail = iterations_text(result)
    return Outcome("done", text, facts, detail, is_data=target is None)


def _encoded(target: str, palette: NDArray[Any], options: Options) -> bytes:
    """Encode colors in the format of a file name."""
    from napari_kmeans._files.palettes import (
        PALETTE_SUFFIXES,
        PROVENANCE_SUFFIXES,
        encode_palette,
    )

    suffix = Path(target).suffix.lower()
    if suffix not in PALETTE_SUFFIXES:
        return _picture(target, palette)
    if suffix not in PROVENANCE_SUFFIXES:
        return encode_palette(target, palette, None)
    wanted = {"k": options.k} if options.psnr is None else {"psnr": options.psnr}
    provenance = {
        **wanted,
        "iters": options.iters,
        "init": options.init,
        "seed": options.seed,
        "color_space": options.color_space,
    }
    return encode_palette(target, palette, provenance)


def _picture(target: str, palette: NDArray[Any]) -> bytes:
    """Draw the colors, in a file with a palette as the palette itself."""
    from napari_kmeans._files.indexed import encode_indexed
    from napari_kmeans._files.read import ImageFile, encode_image
    from napari_kmeans._pictures.charts import draw_swatches, swatch_labels

    if not _holds(Path(target).suffix.lower(), palette):
        return encode_image(target, ImageFile(draw_swatches(palette)))
    is_gray = palette.ndim == 1 or palette.shape[1] == 1
    colors = palette.reshape(-1, 1).repeat(3, axis=1) if is_gray else palette
    labels = swatch_labels(len(colors))
    return encode_indexed(target, labels, colors, keep_order=True)


def _holds(suffix: str, palette: NDArray[Any]) -> bool:
    """Whether an image file can have a palette as its own."""
    from napari_kmeans._files.indexed import MAX_FILE_COLORS
    from napari_kmeans._files.tiff import TIFF_SUFFIXES

    n_channels = palette.shape[1] if palette.ndim == 2 else 1
    if suffix in TIFF_SUFFIXES:
        return n_channels in (1, 3) and palette.dtype in ("uint8", "uint16")
    if palette.dtype != "uint8" or len(palette) > MAX_FILE_COLORS:
        return False
    return n_channels in {".png": (1, 3, 4), ".gif": (1, 3)}.get(suffix, ())
