"""Bytes and errors of palette files, beside those of Pillow and pngquant.

    python benchmarks/files.py PHOTOS
    python benchmarks/files.py PHOTOS -k 16 --each

PHOTOS is a folder of kodim01.png to kodim24.png. Each photo is reduced to k colors
without dithering, and written as PNG, by napari-kmeans as its command line does, by
Pillow with quantize(k, dither=0) and optimize=True, and by pngquant, if that program is
there, with --nofs --speed 1. Another table says how much of the lead over pngquant a
compressor such as oxipng makes up. A last table is of the fewest colors that reach
Pillow's own quality. The error is the squared distance, summed over channels, mean over
pixels.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import oxipng
import PIL
from PIL import Image

import napari_kmeans
from napari_kmeans._compression import Recipe, compress, count_file
from napari_kmeans._core.counted_image import psnr_of
from napari_kmeans._files.read import ImageFile, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Result(NamedTuple):
    """A file: its bytes, and the error of the pixels that it holds."""

    n_bytes: int
    mse: float


# Of oxipng, the level of `--effort best` on small images.
LEVEL = 4
# By name of the photo and k.
Results = dict[tuple[str, int], Result]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("-k", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--each", action="store_true", help="print every photo")
    arguments = parser.parse_args()
    paths = sorted(arguments.photos.glob("kodim*.png"))
    if not paths:
        parser.error(f"no kodim*.png in {arguments.photos}")
    photos = {path.stem: read_image(path) for path in paths}
    pngquant = shutil.which("pngquant")
    print(
        f"napari-kmeans {napari_kmeans.__version__}, Pillow {PIL.__version__}, "
        f"pngquant {version(pngquant)}, {len(photos)} photos\n"
    )
    ours: Results = {}
    pillow: Results = {}
    other: Results = {}
    # Bytes of pngquant's files after oxipng, by name and k.
    again: dict[tuple[str, int], int] = {}
    equal: dict[tuple[str, int], tuple[Result, int]] = {}
    for k in arguments.k:
        for name, photo in photos.items():
            key = name, k
            done = compress(photo, "a.png", Recipe(k))
            ours[key] = Result(len(done.content), done.mse)
            pillow[key] = by_pillow(photo.pixels, k)
            equal[key] = at_quality(photo, pillow[key])
            if pngquant:
                content = by_pngquant(pngquant, photo.pixels, k)
                error = squared_error(photo.pixels, content)
                other[key] = Result(len(content), error)
                again[key] = len(oxipng.optimize_from_memory(content, level=LEVEL))
            if arguments.each:
                print(name, k, ours[key], pillow[key], other.get(key), equal[key])
    print_table("Pillow", ours, pillow, arguments.k)
    if other:
        print_table("pngquant", ours, other, arguments.k)
        print_compressors(ours, other, again, arguments.k)
    print_equal_quality(equal, pillow, arguments.k)


def version(program: str | None) -> str:
    """Ask a program for its version."""
    if program is None:
        return "missing"
    command = [program, "--version"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()[0]


def squared_error(photo: NDArray[np.uint8], content: bytes) -> float:
    """Measure the pixels that a file holds."""
    with Image.open(io.BytesIO(content)) as image:
        difference = np.asarray(image.convert("RGB")).astype(float) - photo
    return float(np.square(difference).sum(axis=-1).mean())


def by_pillow(photo: NDArray[np.uint8], k: int) -> Result:
    """Reduce and write a photo with Pillow."""
    buffer = io.BytesIO()
    quantized = Image.fromarray(photo).quantize(k, dither=Image.Dither.NONE)
    quantized.save(buffer, "PNG", optimize=True)
    return Result(len(buffer.getvalue()), squared_error(photo, buffer.getvalue()))


def by_pngquant(program: str, photo: NDArray[np.uint8], k: int) -> bytes:
    """Reduce and write a photo with pngquant."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=1)
    command = [program, "--nofs", "--speed", "1", str(k), "-"]
    done = subprocess.run(
        command, input=buffer.getvalue(), capture_output=True, check=True
    )
    return done.stdout


def at_quality(photo: ImageFile, wanted: Result) -> tuple[Result, int]:
    """Write a photo in the fewest colors that reach a quality."""
    psnr = psnr_of(count_file(photo), wanted.mse)
    done = compress(photo, "a.png", Recipe(psnr=psnr))
    return Result(len(done.content), done.mse), len(done.mapped.palette)


def print_table(
    peer: str,
    ours: Results,
    theirs: Results,
    ks: Sequence[int],
) -> None:
    """Print means for each number of colors, and how often both are better."""
    print(f"Against {peer}, at equal k:\n")
    print("| k | bytes | theirs | quotient | error | theirs | quotient | both better |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for k in [*ks, None]:
        keys = [key for key in ours if k in (key[1], None)]
        sizes = np.array([(ours[key].n_bytes, theirs[key].n_bytes) for key in keys])
        errors = np.array([(ours[key].mse, theirs[key].mse) for key in keys])
        better = np.logical_and(sizes[:, 0] < sizes[:, 1], errors[:, 0] < errors[:, 1])
        quotients = [(values[:, 0] / values[:, 1]).mean() for values in (sizes, errors)]
        (our_size, size), (our_error, error) = sizes.mean(axis=0), errors.mean(axis=0)
        print(
            f"| {k or 'all'} | {our_size:,.0f} | {size:,.0f} | {quotients[0]:.3f} "
            f"| {our_error:.2f} | {error:.2f} | {quotients[1]:.3f} "
            f"| {better.sum()} of {len(keys)} |"
        )
    print()


def print_compressors(
    ours: Results,
    theirs: Results,
    again: dict[tuple[str, int], int],
    ks: Sequence[int],
) -> None:
    """Print mean bytes, and what part of the lead a compressor like oxipng makes up.

    The lead is the logarithm of the quotient of bytes, whose parts add up.
    """
    print("What of the lead over pngquant is whose:\n")
    print("| k | pngquant | + oxipng | ours | by oxipng | the rest |")
    print("|--:|--:|--:|--:|--:|--:|")
    for k in [*ks, None]:
        keys = [key for key in ours if k in (key[1], None)]
        sizes = np.array([(theirs[x].n_bytes, again[x], ours[x].n_bytes) for x in keys])
        steps = -np.diff(np.log(sizes), axis=1).mean(axis=0)
        means = " | ".join(f"{mean:,.0f}" for mean in sizes.mean(axis=0))
        # Zero has no sign.
        shares = " | ".join(f"{s:.0%}" for s in np.round(steps / steps.sum(), 2) + 0)
        print(f"| {k or 'all'} | {means} | {shares} |")
    print()


def print_equal_quality(
    ours: dict[tuple[str, int], tuple[Result, int]], theirs: Results, ks: Sequence[int]
) -> None:
    """Print means for the fewest colors that reach the quality of another program."""
    print("In the fewest colors that reach Pillow's own quality:\n")
    print("| k of Pillow | our k | bytes | theirs | quotient |")
    print("|--:|--:|--:|--:|--:|")
    for k in [*ks, None]:
        keys = [key for key in ours if k in (key[1], None)]
        sizes = np.array([(ours[key][0].n_bytes, theirs[key].n_bytes) for key in keys])
        size, their_size = sizes.mean(axis=0)
        print(
            f"| {k or 'all'} | {np.mean([ours[key][1] for key in keys]):.1f} "
            f"| {size:,.0f} | {their_size:,.0f} "
            f"| {(sizes[:, 0] / sizes[:, 1]).mean():.3f} |"
        )


if __name__ == "__main__":
    main()
