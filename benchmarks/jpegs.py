"""Whether photos that are JPEG files become smaller as PNG files of few colors.

    python benchmarks/jpegs.py PHOTO...

Each photo is made as wide or as high as on the web, at most 1600 pixels, saved as JPEG
of quality 85, and reduced to k colors from there, as the command line does. Other
widths and qualities are options.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from napari_kmeans._compression import Recipe, compress
from napari_kmeans._files.read import decode_image


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("-k", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--side", type=int, default=1600)
    parser.add_argument("--quality", type=int, default=85)
    arguments = parser.parse_args()
    photos = [jpeg(p, arguments.side, arguments.quality) for p in arguments.photos]
    print("| k | smaller | PNG : JPEG, median | least | most | PSNR, median |")
    print("|--:|--:|--:|--:|--:|--:|")
    for k in arguments.k:
        ratios, psnrs = [], []
        for photo in photos:
            done = compress(decode_image(photo), "a.png", Recipe(k))
            ratios.append(len(done.content) / len(photo))
            psnrs.append(done.psnr)
        print(
            f"| {k} | {sum(ratio < 1 for ratio in ratios)} of {len(ratios)} "
            f"| {np.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} "
            f"| {np.median(psnrs):.1f} dB |"
        )


def jpeg(path: Path, side: int, quality: int) -> bytes:
    """Make a JPEG file of a photo, as it stands on the web."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
