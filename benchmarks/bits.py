"""Bits and times of this checkout and of another one, by turns in one run.

    python benchmarks/bits.py PHOTOS --against OTHER_CHECKOUT

PHOTOS is a folder of kodim01.png to kodim24.png. The table says for each function how
many results are the same in all bits (palette, labels and error), the median times
before (the other checkout) and after (this one), and the median ratio of after to
before. CPU time is that of all threads. Without --against, both are this checkout, and
the ratios show the noise.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.photos import tiled
from benchmarks.sides import ROOT, Side, by_turns, medians, serve
from PIL import Image

import napari_kmeans as nk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CALLS: dict[str, Callable[[NDArray[Any], int, NDArray[Any]], Any]] = {
    "quantize_kmeans": lambda image, k, _: nk.quantize_kmeans(image, k),
    "kmeans_palette": lambda image, k, _: nk.kmeans_palette(image, k),
    "map_to_palette": lambda image, _, palette: nk.map_to_palette(image, palette),
    "quantize_kmeans(mask=)": lambda image, k, _: nk.quantize_kmeans(
        image, k, mask=image[..., 0] > 99
    ),
    'quantize_kmeans(color_space="oklab")': lambda image, k, _: nk.quantize_kmeans(
        image, k, color_space="oklab"
    ),
    "choose_k(psnr=38)": lambda image, *_: nk.choose_k(image, psnr=38),
    "error_curve([2, 8, 64])": lambda image, *_: nk.error_curve(image, [2, 8, 64]),
}
PLAIN = list(CALLS)[:3]
# Rows of the table beyond the photos: image, k, calls.
CASES = [
    ("15 MP uint8", 16, PLAIN),
    ("4 MP uint8", 256, PLAIN),
    ("1 MP uint8", 16, list(CALLS)[3:]),
    ("1 MP uint16", 16, PLAIN),
    ("1 MP float32", 16, PLAIN),
    # More colors than are counted.
    ("2 MP float32", 16, PLAIN),
]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("--against", type=Path, default=ROOT, help="other checkout")
    parser.add_argument("--rounds", type=int, default=3, help="of a pair, default: 3")
    parser.add_argument("--pairs", type=int, default=2, help="of processes, default: 2")
    parser.add_argument("--only", default="", help="part of the name of rows")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.photos
    if arguments.serve:
        serve(lambda name, k, call: measured(folder, name, k, call))
    paths = (arguments.against, ROOT)
    # Some processes are quicker than others that run the same.
    pairs = [
        [Side(path, __file__, str(folder)) for path in paths]
        for _ in range(arguments.pairs)
    ]
    photos = sorted(path.stem for path in folder.glob("kodim*.png"))
    print("| image | call | same bits | CPU (s) before | after | ratio ", end="")
    print("| wall (s) before | after | ratio |\n|---|---|--:|" + "--:|" * 6)
    # Each photo is a round.
    cases = [(f"{len(photos)} photos", photos, 1, k, PLAIN) for k in (16, 256)]
    cases += [(name, [name], arguments.rounds, k, calls) for name, k, calls in CASES]
    for title, names, rounds, k, calls in cases:
        for call in calls:
            row = f"{title}, k={k} | {call}"
            if arguments.only in row:
                print_row(row, pairs, names, rounds, k, call)
    for side in chain(*pairs):
        side.close()


def print_row(
    row: str,
    pairs: list[list[Side]],
    names: list[str],
    rounds: int,
    k: int,
    call: str,
) -> None:
    """Ask both sides for the call on each image, and print what they answer."""
    answers: tuple[list[dict[str, Any]], ...] = ([], [])
    same = 0
    for i, name in enumerate(names):
        bits: tuple[set[str], ...] = (set(), set())
        for n, pair in enumerate(pairs, start=i):
            found = by_turns(pair, rounds, name, k, call, first=n % 2)
            for side, more, texts in zip(answers, found, bits, strict=True):
                side += more
                texts |= {answer["bits"] for answer in more}
        same += bits[0] == bits[1]
        if bits[0] != bits[1]:
            print(f"<!-- {name}, k={k}, {call}: {bits[0]} before, {bits[1]} after -->")
    cells = [f"{same} of {len(names)}"]
    for key in ("cpu", "wall"):
        cells += [f"{number:.3f}" for number in medians(key, answers)]
    print("|", " | ".join([row, *cells]), "|", flush=True)


def measured(folder: Path, name: str, k: int, call: str) -> dict[str, Any]:
    """Return the times of a call, and what stands for all bits of its result."""
    image = image_of(folder, name)
    palette = palette_of(folder, name, k) if call == "map_to_palette" else image
    wall, cpu = time.perf_counter(), time.process_time()
    result = CALLS[call](image, k, palette)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    array = np.ascontiguousarray(getattr(result, "palette", result))
    bits = hashlib.sha1(array.tobytes()).hexdigest()[:8]
    text = f"{array.dtype}{array.shape} {bits} mse={getattr(result, 'mse', None)!r}"
    return {"cpu": cpu, "wall": wall, "bits": text}


@cache
def image_of(folder: Path, name: str) -> NDArray[Any]:
    """Return a photo, or an image of a size and dtype that is laid of all photos."""
    if name.startswith("kodim"):
        return np.asarray(Image.open(folder / f"{name}.png").convert("RGB"))
    megapixels, _, dtype = name.split()
    paths = sorted(folder.glob("kodim*.png"))
    photos = [image_of(folder, path.stem) for path in paths]
    image = tiled(photos, int(float(megapixels) * 1e6))
    noise = np.random.default_rng(0).random(image.shape, np.float32)
    if dtype == "uint16":
        return (image * np.uint16(257) + noise * 256).astype(np.uint16)
    return (image + noise) / 256 if dtype == "float32" else image


@cache
def palette_of(folder: Path, name: str, k: int) -> NDArray[Any]:
    """Return the palette of an image."""
    return nk.kmeans_palette(image_of(folder, name), k).palette


if __name__ == "__main__":
    main()
