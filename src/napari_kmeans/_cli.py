"""The command line: image files in, smaller files out, one line for each."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import click
import numpy as np

from napari_kmeans import __version__, kmeans_palette, map_to_palette
from napari_kmeans._atomic_file import replace_file
from napari_kmeans._before_after import Panel, draw_before_after
from napari_kmeans._color_counts import MAX_COUNTED, count_colors
from napari_kmeans._image_files import (
    ImageFile,
    check_fit,
    decode_image,
    encode_image,
    is_8_bit,
    read_image,
)
from napari_kmeans._image_metadata import without_axis
from napari_kmeans._indexed_files import MAX_FILE_COLORS, encode_indexed

_INDEXED = (".png", ".gif")

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from tqdm import tqdm

__all__ = ["main"]

_Init: TypeAlias = Literal["auto", "thorough", "k-means++", "random"]

_EXAMPLES = """\b
Examples:
  napari-kmeans photo.jpg
      writes photo_compressed.png, in 16 colors
  napari-kmeans -k 64 --iters 30 -o small.png photo.jpg
  napari-kmeans -k 8 -o posters/ *.jpg
      writes posters/NAME_compressed.png for each image
  napari-kmeans --compare before_after.png photo.jpg
      also draws both pictures and the palette
  napari-kmeans -- -photo.jpg
      reads a file whose name starts with a dash

\b
Exit status: 0 if all images are done, 1 if one is not, 2 for wrong usage.
"""


class _Place(NamedTuple):
    """Where to write: a file, or a directory for files named after the images."""

    path: Path
    is_directory: bool


class _Job(NamedTuple):
    """What is to be done with every image."""

    k: int
    iters: int
    init: _Init
    seed: int | None
    output: _Place | None
    compare: _Place | None
    force: bool


class _Fit(NamedTuple):
    """An image in few colors, `palette[labels]`, and its squared error."""

    palette: NDArray[Any]
    labels: NDArray[np.unsignedinteger[Any]]
    mse: float


class _Written(NamedTuple):
    """What a file holds: pixels, their number of colors and their PSNR in dB."""

    pixels: NDArray[Any]
    n_colors: int
    psnr: float


@click.command(
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
@click.option(
    "-k", "--colors", "k", metavar="K", type=int, default=16, help="Most colors to use."
)
@click.option(
    "--iters", metavar="N", type=int, default=10, help="Most iterations of k-means."
)
@click.option(
    "--init",
    type=click.Choice(["auto", "thorough", "k-means++", "random"]),
    default="auto",
    help="How k-means starts.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0),
    help="Make a start with chance in it repeatable.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="File to write, in the format of its suffix, or directory.  "
    "[default: IMAGE_compressed.png beside IMAGE]",
)
@click.option(
    "--compare",
    metavar="PATH",
    help="File or directory for a picture of the image before and after, and of "
    "the palette.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.version_option(__version__, prog_name="napari-kmeans")
def main(
    images: tuple[Path, ...],
    k: int,
    iters: int,
    init: _Init,
    seed: int | None,
    output: str | None,
    compare: str | None,
    force: bool,
) -> None:
    """Reduce each IMAGE to K colors by k-means.

    The result is an indexed PNG file with as few bits per pixel as its colors need.
    An image with more than 8 bits per channel becomes a TIFF file, because the
    palette of a PNG file cannot hold its colors.

    With several images, each PATH is a directory, made if it is missing.
    """
    several = len(images) > 1
    job = _Job(
        k,
        iters,
        init,
        seed,
        output=_place("--output", output, several),
        compare=_place("--compare", compare, several),
        force=force,
    )
    taken = {_identity(image) for image in images}
    failed = False
    for number, source in enumerate(images, start=1):
        count = f"[{number}/{len(images)}] " if several else ""
        try:
            line = _compress(source, job, taken, _one_line(count + source.name))
        except Exception as error:  # The other images are still done.
            line = f"Error: {source}: {_reason(error, source)}"
            click.echo(_one_line(line), err=True)
            failed = True
        else:
            click.echo(_one_line(line))
    if failed:
        click.get_current_context().exit(1)


def _place(option: str, text: str | None, several: bool) -> _Place | None:
    """Tell whether the value of an option is a file or a directory."""
    if text is None:
        return None
    path = Path(text)
    if path.is_dir() or text.endswith(("/", os.sep)):
        return _Place(path, is_directory=True)
    if several and path.suffix:
        msg = f"{option} must be a directory for several images, got {text}"
        raise click.UsageError(msg)
    return _Place(path, is_directory=several)


def _compress(source: Path, job: _Job, taken: set[str], title: str) -> str:
    """Do the job with one image, and say in one line what came out."""
    with _progress_bar(job.iters) as bar:
        bar.set_description_str(f"{title}: reading")
        image = read_image(source)
        size = source.stat().st_size
        target, picture = _targets(source, image, job, taken)
        bar.update()

        bar.set_description_str(f"{title}: fitting")
        n_colors = _count_colors(image.pixels)
        _check_number_of_colors(target, n_colors, job.k)
        fit = _fit(image, job, bar.update)
        # Fewer iterations than allowed may have been enough.
        bar.update(_n_steps(job.iters) - 1 - bar.n)

        bar.set_description_str(f"{title}: writing")
        written = _write(target, image, fit)
        size_after = target.stat().st_size
        if picture is not None:
            before = Panel(image.pixels, source.name, _facts(size, n_colors))
            facts = _facts(size_after, written.n_colors)
            after = Panel(written.pixels, target.name, facts)
            _draw(picture, before, after, fit.palette)
        bar.update()
    quality = "lossless" if written.psnr == math.inf else f"PSNR {written.psnr:.2f} dB"
    return (
        f"{source} -> {target}: {size:,} -> {size_after:,} bytes "
        f"(ratio {size / size_after:.2f}), "
        f"{n_colors:,} -> {written.n_colors:,} colors, {quality}"
    )


def _progress_bar(iters: int) -> tqdm[Any]:
    """Give a bar for one image, which is only shown in a terminal."""
    from tqdm import tqdm

    # tqdm shows nothing in a terminal that does not tell its size.
    terminal = shutil.get_terminal_size()
    return tqdm(
        total=_n_steps(iters),
        bar_format="{desc} {percentage:3.0f}% |{bar}|",
        ncols=terminal.columns,
        nrows=terminal.lines,
        mininterval=0,
        leave=False,
        disable=None,
    )


def _n_steps(iters: int) -> int:
    """Count the iterations, and reading, mapping and writing, as a step each."""
    return max(iters, 0) + 3


def _targets(
    source: Path, image: ImageFile, job: _Job, taken: set[str]
) -> tuple[Path, Path | None]:
    """Choose the files to write for an image, and see that they may be written."""
    beside = _Place(source.parent, is_directory=True)
    suffix = ".png" if is_8_bit(image) else ".tif"
    target = _file_in(job.output or beside, f"{source.stem}_compressed{suffix}")
    check_fit(str(target), image)
    _claim(target, taken - {_identity(source)}, job.force)
    taken.add(_identity(target))
    if job.compare is None:
        return target, None
    picture = _file_in(job.compare, f"{source.stem}_before_after.png")
    check_fit(str(picture), ImageFile(np.zeros((1, 1, 3), np.uint8)))
    _claim(picture, taken, job.force)
    taken.add(_identity(picture))
    return target, picture


def _file_in(place: _Place, name: str) -> Path:
    """Give the file at a place, or the one called `name` in the directory there."""
    if not place.is_directory:
        return place.path
    place.path.mkdir(parents=True, exist_ok=True)
    return place.path / name


def _claim(path: Path, taken: set[str], force: bool) -> None:
    """Raise unless `path` may be written without the loss of another file."""
    if _identity(path) in taken:
        msg = f"will not write {path}, it is another image of this call or its result"
        raise ValueError(msg)
    if path.exists() and not force:
        msg = f"{path} exists, --force overwrites it"
        raise ValueError(msg)


def _identity(path: Path) -> str:
    """Give the one name of a file that has several."""
    return os.path.normcase(os.path.realpath(path))


def _count_colors(pixels: NDArray[Any]) -> int:
    """Count the distinct colors of finite pixels, up to one more than are kept."""
    counted = count_colors(pixels[..., np.newaxis] if pixels.ndim == 2 else pixels)
    return MAX_COUNTED + 1 if counted is None else len(counted.colors)


def _check_number_of_colors(target: Path, n_colors: int, k: int) -> None:
    """Raise ValueError before a palette is made that is too long for the file."""
    if target.suffix.lower() in _INDEXED and min(n_colors, k) > MAX_FILE_COLORS:
        msg = f"k must be at most {MAX_FILE_COLORS} for a {target.suffix} file, got {k}"
        raise ValueError(msg)


def _fit(image: ImageFile, job: _Job, tick: Callable[[], object]) -> _Fit:
    """Bring an image to few colors; what is fully transparent remains so."""
    pixels = image.pixels
    channel_axis = None if pixels.ndim == 2 else -1

    def fit(fitted: NDArray[Any], k: int) -> tuple[NDArray[Any], float]:
        result = kmeans_palette(
            fitted,
            k,
            job.iters,
            channel_axis=channel_axis,
            init=job.init,
            rng=job.seed,
            callback=lambda _: tick(),
        )
        return result.palette, result.mse

    visible = pixels[..., -1] > 0 if image.has_alpha else None
    if visible is None or visible.all() or not visible.any() or job.k == 1:
        palette, mse = fit(pixels, job.k)
    else:
        # One color is kept for all that cannot be seen, and costs no error.
        palette, mse = fit(pixels[visible][np.newaxis], job.k - 1)
        palette = np.concatenate([np.zeros_like(palette[:1]), palette])
        mse *= float(visible.mean())
    return _Fit(
        palette, map_to_palette(pixels, palette, channel_axis=channel_axis), mse
    )


def _write(target: Path, image: ImageFile, fit: _Fit) -> _Written:
    """Write an image in few colors, and say what the file then holds."""
    pixels = fit.palette[fit.labels]
    if target.suffix.lower() in _INDEXED:
        palette = fit.palette
        if palette.ndim == 1:
            palette = np.repeat(palette[:, np.newaxis], 3, axis=1)
        metadata = without_axis(image.metadata, "S")
        replace_file(
            target,
            encode_indexed(
                target.name, fit.labels, palette, metadata=metadata, keep_order=False
            ),
        )
        return _Written(pixels, len(fit.palette), _psnr(image.pixels, fit.mse))
    if pixels.dtype.kind == "f":
        finite = np.isfinite(image.pixels)
        if pixels.ndim == 3:
            finite = finite.all(axis=-1, keepdims=True)
        pixels = np.where(finite, pixels, image.pixels)
    content = encode_image(target.name, image._replace(pixels=pixels))
    written = decode_image(content).pixels
    replace_file(target, content)
    if np.array_equal(written, pixels, equal_nan=pixels.dtype.kind == "f"):
        return _Written(pixels, len(fit.palette), _psnr(image.pixels, fit.mse))
    # A format with losses of its own, such as JPEG, adds colors and error.
    difference = written.astype(np.float64) - image.pixels
    mse = float(np.square(difference).mean() * (difference.size / fit.labels.size))
    return _Written(written, _count_colors(written), _psnr(image.pixels, mse))


def _psnr(pixels: NDArray[Any], mse: float) -> float:
    """Turn a squared error, summed over channels, into a peak signal-to-noise ratio.

    The peak is the largest value of an integer dtype, and the range of floats.
    """
    if mse == 0:
        return math.inf
    if pixels.dtype.kind == "f":
        peak = float(np.ptp(pixels[np.isfinite(pixels)]))
    else:
        peak = float(np.iinfo(pixels.dtype).max)
    n_channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return 10 * math.log10(peak**2 * n_channels / mse)


def _draw(picture: Path, before: Panel, after: Panel, palette: NDArray[Any]) -> None:
    """Write the picture of an image before and after."""
    drawn = ImageFile(draw_before_after(before, after, palette))
    replace_file(picture, encode_image(picture.name, drawn))


def _facts(size: int, n_colors: int) -> str:
    """Describe a file under its name."""
    colors = "color" if n_colors == 1 else "colors"
    return f"{size:,} bytes, {n_colors:,} {colors}"


def _reason(error: Exception, source: Path) -> str:
    """Say what went wrong with an image, or with the file named in the error."""
    if isinstance(error, OSError) and error.strerror:
        elsewhere = error.filename not in (None, str(source))
        return error.strerror + (f": {error.filename}" if elsewhere else "")
    return str(error) or type(error).__name__


def _one_line(text: str) -> str:
    """Make any text, also an odd file name, one line that can be printed."""
    shown = os.fsencode(text).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
