"""Dithered photos beside those of pngquant and libimagequant, at equal bytes.

    python benchmarks/dithers.py PHOTOS
    python benchmarks/dithers.py PHOTOS -k 16

PHOTOS is a folder of kodim01.png to kodim24.png. Each photo is reduced to k colors and
dithered, by pngquant as it does by default, by libimagequant at dithering_level=1.0,
and by kmeans_palette and map_to_palette in both ways, at full strength and at the
largest multiple of 1/32 whose bytes are no more than those of the peer. Bytes are those
of packed indices, compressed by one encoder (libdeflate, level 10), and of the palette.
The error is the squared distance after a Gaussian blur of sigma 1 of both images,
summed over channels, mean over pixels: what is left where dots cannot be told apart.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import imagecodecs
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_kmeans import kmeans_palette, map_to_palette
from napari_kmeans._core.arguments import DITHERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_kmeans._core.arguments import DitherName

STEPS = 32


class Result(NamedTuple):
    """The bytes of a dithered photo, and its error after a blur."""

    n_bytes: int
    error: float


def main() -> None:
    """Print a table for each peer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("-k", type=int, nargs="+", default=[16, 64, 256])
    arguments = parser.parse_args()
    paths = sorted(arguments.photos.glob("kodim*.png"))
    if not paths or not shutil.which("pngquant"):
        parser.error(f"no kodim*.png in {arguments.photos}, or no pngquant")
    asked = subprocess.run(["pngquant", "--version"], capture_output=True, text=True)
    names = f"pngquant {asked.stdout.split()[0]}", f"imagequant {version('imagequant')}"
    peers = dict(zip(names, (use_pngquant, use_imagequant), strict=True))
    rows: dict[tuple[str, str, int], list[tuple[Result, Result, Result, int]]] = {}
    for path in paths:
        photo = np.asarray(Image.open(path).convert("RGB"))
        for k in arguments.k:
            theirs = {
                name: measure(photo, *use(photo, k)) for name, use in peers.items()
            }
            palette = kmeans_palette(photo, k).palette
            for way in DITHERS:
                ours = cache(partial(measure_ours, photo, palette, way))
                for name, their in theirs.items():
                    step = largest_step(ours, their.n_bytes)
                    row = their, ours(STEPS), ours(step), step
                    rows.setdefault((name, way, k), []).append(row)
    for name in peers:
        print(f"**{name}**, {len(paths)} photos:\n")
        print_table({key[1:]: row for key, row in rows.items() if key[0] == name})


def measure_ours(
    photo: NDArray[np.uint8], palette: NDArray[Any], way: DitherName, step: int
) -> Result:
    """Dither a photo at a step of the strength."""
    strength = step / STEPS
    labels = map_to_palette(photo, palette, dither=way, dither_strength=strength)
    return measure(photo, labels, palette)


def largest_step(ours: Callable[[int], Result], n_bytes: int) -> int:
    """Bisect the strength for the largest whose bytes are at most `n_bytes`."""
    low, high = 0, STEPS + 1
    while high - low > 1:
        # Full strength first.
        middle = (low + high) // 2 if high <= STEPS else STEPS
        low, high = (middle, high) if ours(middle).n_bytes <= n_bytes else (low, middle)
    return low


def use_pngquant(photo: NDArray[np.uint8], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return labels and palette of pngquant."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=1)
    command = ["pngquant", str(k), "-"]
    done = subprocess.run(
        command, input=buffer.getvalue(), capture_output=True, check=True
    )
    with Image.open(io.BytesIO(done.stdout)) as image:
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return used(np.asarray(image), palette)


def use_imagequant(
    photo: NDArray[np.uint8], k: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return labels and palette of libimagequant."""
    import imagequant

    height, width = photo.shape[:2]
    opaque = np.full((height, width, 4), 255, np.uint8)
    opaque[..., :3] = photo
    labels, palette = imagequant.quantize_raw_rgba_bytes(
        opaque.tobytes(), width, height, dithering_level=1.0, max_colors=k
    )
    colors = np.array(palette, np.uint8).reshape(-1, 4)[:, :3]
    return used(np.frombuffer(labels, np.uint8).reshape(height, width), colors)


def used(
    labels: NDArray[Any], palette: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut off what stands behind the colors of a palette."""
    return labels, palette[: int(labels.max()) + 1]


def measure(
    photo: NDArray[np.uint8], labels: NDArray[Any], palette: NDArray[Any]
) -> Result:
    """Compress labels, and blur what they show."""
    bits = next(b for b in (1, 2, 4, 8) if len(palette) <= 1 << b)
    digits = np.unpackbits(labels.astype(np.uint8)[..., np.newaxis], axis=-1)
    packed = np.packbits(digits[..., -bits:].reshape(len(labels), -1), axis=1)
    # Each row begins with the number of its filter, which is none.
    lines = np.pad(packed, ((0, 0), (1, 0)))
    content = imagecodecs.deflate_encode(lines.tobytes(), level=10)
    difference = photo.astype(float) - palette[labels]
    blurred = gaussian_filter(difference, (1, 1, 0))
    error = float(np.square(blurred).sum(axis=-1).mean())
    return Result(len(content) + palette.size, error)


def print_table(
    rows: dict[tuple[str, int], list[tuple[Result, Result, Result, int]]],
) -> None:
    """Print means over the photos for each way of dithering and number of colors."""
    print(
        "| dither | k | theirs | full strength | bytes | strength | at equal bytes "
        "| quotient | lower in |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for (way, k), photos in sorted(rows.items()):
        numbers = np.array([(a.error, b.error, c.error) for a, b, c, _ in photos])
        sizes = np.array([b.n_bytes / a.n_bytes for a, b, _, _ in photos])
        strength = np.mean([step for *_, step in photos]) / STEPS
        theirs, full, equal = numbers.mean(axis=0)
        quotient = (numbers[:, 2] / numbers[:, 0]).mean()
        better = np.count_nonzero(numbers[:, 2] < numbers[:, 0])
        print(
            f"| {way} | {k} | {theirs:.2f} | {full:.2f} | {sizes.mean():.3f} "
            f"| {strength:.2f} | {equal:.2f} | {quotient:.3f} "
            f"| {better} of {len(photos)} |"
        )
    print()


if __name__ == "__main__":
    main()
