"""Perceived difference of the 24 Kodak photos to their palettes, by color space.

    python benchmarks/color_spaces.py PHOTOS

PHOTOS is a folder of kodim01.png to kodim24.png. The table gives the CIEDE2000
difference between photo and quantized photo, mean over pixels and photos, and for how
many photos it is lower than that of the palette fitted in RGB.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_kmeans import quantize_kmeans

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPACES = ("rgb", "lab", "oklab")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("-k", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--iters", type=int, default=10, help="default: 10")
    parser.add_argument("--each", action="store_true", help="print every photo")
    arguments = parser.parse_args()
    paths = sorted(arguments.photos.glob("kodim*.png"))
    if not paths:
        parser.error(f"no kodim*.png in {arguments.photos}")

    print(f"Mean CIEDE2000 of {len(paths)} photos, iters={arguments.iters}")
    print("(and the number of photos that are nearer than with rgb):")
    print()
    print(f"| k | {' | '.join(SPACES)} |")
    print("|--:|" + "--:|" * len(SPACES))
    for k in arguments.k:
        table = np.empty((len(paths), len(SPACES)))
        for row, path in zip(table, paths, strict=True):
            image = np.asarray(Image.open(path).convert("RGB"))
            row[:] = differences(image, k, arguments.iters)
            if arguments.each:
                print(path.stem, k, *(f"{value:.4f}" for value in row))
        nearer = (table < table[:, :1]).sum(axis=0)
        cells = [f"{table[:, 0].mean():.4f}"]
        cells += [
            f"{mean:.4f} ({number})"
            for mean, number in zip(table.mean(axis=0)[1:], nearer[1:], strict=True)
        ]
        print(f"| {k} | {' | '.join(cells)} |", flush=True)


def differences(image: NDArray[np.uint8], k: int, iters: int) -> list[float]:
    """Give the mean CIEDE2000 difference to the image quantized in each space."""
    lab = rgb2lab(image)
    quantized = (quantize_kmeans(image, k, iters, color_space=s) for s in SPACES)
    return [float(deltaE_ciede2000(lab, rgb2lab(other)).mean()) for other in quantized]


if __name__ == "__main__":
    main()
