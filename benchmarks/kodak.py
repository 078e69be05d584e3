"""Squared error on the 24 Kodak photos, beside published and best known palettes.

    python benchmarks/kodak.py PHOTOS PUBLISHED.csv
    python benchmarks/kodak.py PHOTOS PUBLISHED.csv --search 720

PHOTOS is a folder of kodim01.png to kodim24.png, and PUBLISHED.csv has the columns
image, k, incremental_online_kmeans and sklearn_kmeans: mean over pixels of the squared
distance to the nearest center, summed over channels, centers not rounded. The table
gives, for the default settings, the error relative to that of the incremental online
k-means and to that of the best centers known, which kodak_best.csv beside this file
keeps. A search replaces what it beats there. With --against, another checkout fits each
photo, too, and has rows of its own.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.sides import import_other
from PIL import Image

from napari_kmeans import kmeans_palette
from napari_kmeans._core.nearest import nearest
from napari_kmeans._core.search import _cloud, _moved, _split_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_kmeans import PaletteResult

BEST = Path(__file__).with_name("kodak_best.csv")
REFERENCE = "incremental_online_kmeans"
# Share of the search that each number of colors gets.
SHARES = {4: 1, 16: 2, 64: 4, 256: 8}

Errors = dict[tuple[str, int], float]


def main() -> None:
    """Print the table, after a search if one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("published", type=Path, help="CSV of published errors")
    parser.add_argument("-k", type=int, nargs="+", default=list(SHARES))
    parser.add_argument("--init", default="auto", help="start (default: auto)")
    parser.add_argument("--iters", type=int, default=10, help="default: 10")
    parser.add_argument("--each", action="store_true", help="print every photo")
    parser.add_argument(
        "--search", type=float, metavar="SECONDS", help="first look for better centers"
    )
    parser.add_argument("--against", type=Path, help="another checkout")
    arguments = parser.parse_args()
    fits = {"": kmeans_palette}
    if arguments.against:
        fits[" before"] = import_other(arguments.against).kmeans_palette
    photos = {
        path.stem: np.asarray(Image.open(path).convert("RGB"))
        for path in sorted(arguments.photos.glob("kodim*.png"))
    }
    if not photos:
        parser.error(f"no kodim*.png in {arguments.photos}")
    if arguments.search:
        search_all(photos, arguments.k, arguments.search)
    published = read_errors(arguments.published, REFERENCE)
    best = read_errors(BEST, "mse") if BEST.exists() else {}

    print(f"init={arguments.init!r}, iters={arguments.iters}, {len(photos)} photos")
    print()
    print(f"Mean (and worst photo) of the error relative to {REFERENCE}")
    print("and to the best centers known:")
    print()
    print("| k | centers / online | palette / online | centers / best |")
    print("|--:|---|---|---|")
    for k in arguments.k:
        ratios: dict[str, list[tuple[float, float, float]]] = {
            when: [] for when in fits
        }
        for (name, image), when in itertools.product(photos.items(), fits):
            fitted, rounded = fitted_errors(
                fits[when], image, k, arguments.init, arguments.iters
            )
            online = published.get((name, k), np.nan)
            known = best.get((name, k), np.nan)
            ratios[when].append((fitted / online, rounded / online, fitted / known))
            if arguments.each:
                print(f"{name} {k}{when} {fitted} {rounded} {online} {known:.4f}")
        for when in fits:
            cells = [
                f"{np.mean(column):.4f} ({max(column):.4f}, {list(photos)[worst]})"
                for column in zip(*ratios[when], strict=True)
                for worst in [int(np.argmax(column))]
            ]
            print(f"| {k}{when} | " + " | ".join(cells) + " |", flush=True)


def fitted_errors(
    fit: Callable[..., PaletteResult],
    image: NDArray[np.uint8],
    k: int,
    init: str,
    iters: int,
) -> tuple[float, float]:
    """Give the error of the centers before rounding, and of the palette."""
    centers: list[NDArray[np.float64]] = []
    result = fit(
        image, k, iters, init=init, rng=0, callback=lambda s: centers.append(s.centers)
    )
    colors, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    last = centers[-1] if centers else result.palette.astype(np.float64)
    labels, squared = nearest(colors, last)
    if not centers:
        # The start was at rest, and is only known rounded. Its centers are the means of
        # their colors; the palette's clusters differ by colors on a border at most.
        total = np.bincount(labels, counts, len(last))
        sums = [np.bincount(labels, counts * column, len(last)) for column in colors.T]
        _, squared = nearest(colors, np.stack(sums, axis=1) / total[:, np.newaxis])
    return float(counts @ squared) / counts.sum(), result.mse


def read_errors(path: Path, column: str) -> Errors:
    """Give the errors in a column of a CSV by image and k."""
    with path.open(newline="") as file:
        return {
            (row["image"], int(row["k"])): float(row[column])
            for row in csv.DictReader(file)
        }


def write_errors(path: Path, errors: Errors) -> None:
    """Write errors by image and k; a reader never sees half a file."""
    lines = [f"{name},{k},{mse:.6f}\n" for (name, k), mse in sorted(errors.items())]
    draft = path.with_suffix(".part")
    draft.write_text("image,k,mse\n" + "".join(lines))
    draft.replace(path)


def search_all(
    photos: dict[str, NDArray[np.uint8]], ks: list[int], seconds: float
) -> None:
    """Look for better centers of all photos and keep their errors."""
    rng = np.random.default_rng()
    cases = [(name, k) for name in photos for k in ks]
    left = float(sum(SHARES.get(k, 4) for _, k in cases))
    end = time.perf_counter() + seconds
    for name, k in cases:
        share = SHARES.get(k, 4) / left
        left -= SHARES.get(k, 4)
        until = time.perf_counter() + (end - time.perf_counter()) * share
        mse = searched_error(photos[name], k, until, rng)
        best = read_errors(BEST, "mse") if BEST.exists() else {}
        known = best.get((name, k), np.inf)
        print(f"{name} k={k} {mse:.6f} {mse / known:.6f}", flush=True)
        if mse < known:
            write_errors(BEST, best | {(name, k): mse})


def searched_error(
    image: NDArray[np.uint8], k: int, until: float, rng: np.random.Generator
) -> float:
    """Give the error of the best centers found until then, on all colors.

    The rounds of the start called "thorough", from the best centers so far, or now and
    then from new ones.
    """
    colors, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    weights = counts / counts.sum()
    points = colors - weights @ colors
    cloud = _cloud(points.T, weights)
    best = _moved(cloud, _split_up(cloud, k), np.linspace(0.3, 1, 60), rng)
    while time.perf_counter() < until:
        start, low = best.centers, rng.choice((0.4, 0.6, 0.8, 0.9))
        # With few centers a new start is soon as good, and may end elsewhere.
        if rng.random() < 4 / k:
            start, low = points[rng.choice(len(points), k, replace=False)], 0.4
        found = _moved(cloud, start, np.linspace(low, 1, 20), rng)
        if found.error < best.error:
            best = found
    centers = best.centers
    for _ in range(100):
        labels, _ = nearest(points, centers)
        total = np.bincount(labels, weights, k)
        sums = [np.bincount(labels, weights * column, k) for column in points.T]
        moved = np.stack(sums, axis=1) / total[:, np.newaxis]
        if np.array_equal(moved, centers):
            break
        centers = moved
    return float(weights @ nearest(points, centers)[1])


if __name__ == "__main__":
    main()
