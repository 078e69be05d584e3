"""Error of cut-outs with soft edges and shadows, beside that of pngquant.

    python benchmarks/cutouts.py PHOTOS
    python benchmarks/cutouts.py PHOTOS -k 16 --each

PHOTOS is a folder of kodim01.png to kodim24.png. Of each photo an ellipse is cut out
along a soft edge, over a blurred, half-transparent shadow of it. It is reduced to k
colors by kmeans_palette and map_to_palette, plain and with Floyd-Steinberg, and by
pngquant, which has to be on the PATH, with its defaults (it diffuses errors) and with
--nofs (it does not). The error is the squared distance of what is seen over black, over
white, and over gray and white squares, summed over channels, mean over all pixels.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from napari_kmeans import kmeans_palette, map_to_palette

BACKGROUNDS = ("black", "white", "squares")
WAYS = ("plain", "floyd-steinberg", "pngquant", "pngquant --nofs")


def main() -> None:
    """Print a table of mean errors for each number of colors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("-k", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--each", action="store_true", help="print every photo")
    arguments = parser.parse_args()
    paths = sorted(arguments.photos.glob("kodim*.png"))
    program = shutil.which("pngquant")
    if not paths or program is None:
        parser.error(f"no kodim*.png in {arguments.photos}, or no pngquant")
    images = {p.stem: cut_out(np.asarray(Image.open(p).convert("RGB"))) for p in paths}
    print(
        f"Mean of {len(images)} cut-outs. In brackets, the worst quotient of an image:"
    )
    print("plain over pngquant --nofs, floyd-steinberg over pngquant.\n")
    print("| k |", " | ".join(f"{w}: {', '.join(BACKGROUNDS)}" for w in WAYS), "|")
    print("|--:|" + "--:|" * len(WAYS))
    for k in arguments.k:
        errors = []
        for name, image in images.items():
            errors.append([errors_of(image, r) for r in reduced(program, image, k)])
            if arguments.each:
                print(k, name, np.round(errors[-1], 1).tolist())
        print_row(k, np.array(errors))


def print_row(k: int, errors: NDArray[Any]) -> None:
    """Print the means of errors (n, ways, backgrounds)."""
    worst = (errors[:, :2] / errors[:, [3, 2]]).max(axis=0)
    cells = []
    for i, means in enumerate(errors.mean(axis=0)):
        cells.append(", ".join(f"{mean:.1f}" for mean in means))
        if i < len(worst):
            cells[-1] += f" ({', '.join(f'{most:.2f}' for most in worst[i])})"
    print("|", k, "|", " | ".join(cells), "|", flush=True)


def cut_out(photo: NDArray[Any]) -> NDArray[Any]:
    """Return an ellipse of a photo (rows, columns, 3) and its shadow, as RGBA."""
    rows, columns = photo.shape[:2]
    y, x = np.ogrid[:rows, :columns]
    far = ((x / columns - 0.45) / 0.36) ** 2 + ((y / rows - 0.45) / 0.36) ** 2
    inside = Image.fromarray(np.where(far < 1, 255, 0).astype(np.uint8))
    edge = blurred(inside, 2)
    shifted = inside.transform(
        inside.size, Image.Transform.AFFINE, (1, 0, -30, 0, 1, -30)
    )
    opacity = edge + 0.5 * blurred(shifted, 16) * (1 - edge)
    # The shadow is black.
    share = np.divide(edge, opacity, out=np.zeros_like(edge), where=opacity > 0)
    return np.rint(np.dstack((photo * share[..., np.newaxis], 255 * opacity))).astype(
        np.uint8
    )


def blurred(mask: Image.Image, sigma: float) -> NDArray[Any]:
    """Return a mask after a Gaussian blur, from 0 to 1."""
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(sigma))) / 255


def reduced(program: str, image: NDArray[Any], k: int) -> list[NDArray[Any]]:
    """Return an image in k colors, by each of WAYS."""
    palette = kmeans_palette(image, k, alpha=True).palette
    found = [
        palette[map_to_palette(image, palette, alpha=True, dither=dither)]
        for dither in (None, "floyd-steinberg")
    ]
    source = io.BytesIO()
    Image.fromarray(image).save(source, "png", compress_level=1)
    for options in ([], ["--nofs"]):
        command = [program, str(k), *options, "-"]
        done = subprocess.run(
            command, input=source.getvalue(), capture_output=True, check=True
        )
        other = Image.open(io.BytesIO(done.stdout)).convert("RGBA")
        found.append(np.asarray(other))
    return found


def errors_of(image: NDArray[Any], other: NDArray[Any]) -> list[float]:
    """Return the squared error of RGBA over each of BACKGROUNDS."""
    row, column = np.indices(image.shape[:2]) // 16
    squares = np.where((row + column) % 2, 255, 190)[..., np.newaxis]
    return [
        float(np.square(over(image, b) - over(other, b)).sum(axis=-1).mean())
        for b in (0, 255, squares)
    ]


def over(image: NDArray[Any], background: Any) -> NDArray[Any]:
    """Return what is seen of RGBA over a background."""
    share = image[..., 3:] / 255
    return image[..., :3] * share + background * (1 - share)


if __name__ == "__main__":
    main()
