"""Squared error on the 24 Kodak photos, beside published and best known palettes.

    python benchmarks/kodak.py PHOTOS PUBLISHED.csv
    python benchmarks/kodak.py PHOTOS PUBLISHED.csv --search 2400

PHOTOS is a folder of kodim01.png to kodim24.png, and PUBLISHED.csv has the columns
image, k, incremental_online_kmeans and sklearn_kmeans: mean over pixels of the squared
distance to the nearest center, summed over channels, centers not rounded. The table
gives, for the default settings, the error relative to that of the incremental online
k-means and to that of the best centers known, which kodak_best.csv beside this file
keeps. A search replaces what it beats there.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from napari_kmeans import kmeans_palette
from napari_kmeans._color_counts import count_colors
from napari_kmeans._lloyd import cluster_means, lloyd
from napari_kmeans._nearest import nearest
from napari_kmeans._point_sources import PointSource, counted_source
from napari_kmeans._points import frame_between

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEST = Path(__file__).with_name("kodak_best.csv")
REFERENCE = "incremental_online_kmeans"
# Share of the search that each number of colors gets.
SHARES = {4: 1, 16: 2, 64: 4, 256: 8}
ROUNDS = 3

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
    arguments = parser.parse_args()
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
        ratios: list[tuple[float, float, float]] = []
        for name, image in photos.items():
            fitted, rounded = fitted_errors(image, k, arguments.init, arguments.iters)
            online = published.get((name, k), np.nan)
            known = best.get((name, k), np.nan)
            ratios.append((fitted / online, rounded / online, fitted / known))
            if arguments.each:
                print(f"{name} {k} {fitted:.4f} {rounded:.4f} {online} {known:.4f}")
        cells = [
            f"{np.mean(column):.4f} ({max(column):.4f}, {list(photos)[worst]})"
            for column in zip(*ratios, strict=True)
            for worst in [int(np.argmax(column))]
        ]
        print(f"| {k} | " + " | ".join(cells) + " |", flush=True)


def fitted_errors(
    image: NDArray[np.uint8], k: int, init: str, iters: int
) -> tuple[float, float]:
    """Give the error of the centers before rounding, and of the palette."""
    centers: list[NDArray[np.float64]] = []
    result = kmeans_palette(
        image, k, iters, init=init, rng=0, callback=lambda s: centers.append(s.centers)
    )
    # A start that is at rest already is only known rounded.
    last = centers[-1] if centers else result.palette.astype(np.float64)
    colors, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    _, squared = nearest(colors, last)
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


class State(NamedTuple):
    """Centers (k, C), and the mean squared error about them."""

    centers: NDArray[np.float64]
    mse: float


def search_all(
    photos: dict[str, NDArray[np.uint8]], ks: list[int], seconds: float
) -> None:
    """Look for better centers of all photos, in rounds, and keep their errors."""
    sources = {}
    for name, image in photos.items():
        counted = count_colors(image)
        frame = frame_between(counted.colors.min(axis=0), counted.colors.max(axis=0))
        sources[name] = (counted_source(counted, frame), frame.origin)
    rng = np.random.default_rng()
    found: dict[tuple[str, int], State] = {}
    end = time.perf_counter() + seconds
    cases = [(name, k) for k in ks for name in photos]
    for number in range(ROUNDS):
        left = sum(SHARES.get(k, 4) for _, k in cases) * (ROUNDS - number)
        for name, k in cases:
            share = SHARES.get(k, 4) / left
            left -= SHARES.get(k, 4)
            until = time.perf_counter() + (end - time.perf_counter()) * share
            source, origin = sources[name]
            # With few centers a new start is soon as good, and may end elsewhere.
            if number == 0:
                start = started(photos[name], k, "thorough", rng) - origin
            elif number % 2 and k <= 64:
                start = started(photos[name], k, "k-means++", rng) - origin
            else:
                start = found[name, k].centers
            state = swapped(source, start, until, rng)
            if (name, k) not in found or state.mse < found[name, k].mse:
                found[name, k] = state
            best = read_errors(BEST, "mse") if BEST.exists() else {}
            if state.mse < best.get((name, k), np.inf):
                print(f"round {number}: {name} k={k} {state.mse:.6f}", flush=True)
                write_errors(BEST, best | {(name, k): state.mse})


def started(
    image: NDArray[np.uint8], k: int, init: str, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Give the centers after ten iterations from a start."""
    centers: list[NDArray[np.float64]] = []
    result = kmeans_palette(
        image, k, 10, init=init, rng=rng, callback=lambda s: centers.append(s.centers)
    )
    return centers[-1] if centers else result.palette.astype(np.float64)


def swapped(
    source: PointSource,
    start: NDArray[np.float64],
    until: float,
    rng: np.random.Generator,
) -> State:
    """Move centers at random while that lowers the error.

    Random swaps (Franti, J. Big Data 5:13, 2018), of centers that are missed little to
    the best of some points.
    """
    k = len(start)
    points, weights = source.coarse(k, 1 << 30)
    points = points.astype(np.float64)
    squares = float(weights @ np.square(points).sum(axis=1))

    def steps(centers: NDArray[np.float64], n: int) -> State:
        """Give the centers after n iterations, and the error one before."""
        error = np.inf
        for _ in range(n):
            parts = source.partition(centers)
            centers = cluster_means(parts, centers)
            error = squares - float(parts.weights @ np.square(centers).sum(axis=1))
        return State(centers, error / weights.sum())

    state = steps(start, 30)
    usage = None
    while time.perf_counter() < until:
        if usage is None:
            usage = used(points, weights, state.centers)
        n_moved = min(int(rng.geometric(0.7)), max(1, k // 4))
        odds = 1 / np.maximum(usage.cost, usage.cost.max() * 1e-6)
        removed = rng.choice(k, n_moved, replace=False, p=odds / odds.sum())
        trial = state.centers.copy()
        for center in removed:
            trial[center] = _wanted(points, weights, usage.squared, rng)
        moved = steps(trial, 3)
        for _ in range(5):
            # Worth the time only while there is hope.
            if not state.mse <= moved.mse < state.mse * (1 + 0.05 / k):
                break
            moved = steps(moved.centers, 4)
        if moved.mse < state.mse * (1 - 1e-7):
            state, usage = steps(moved.centers, 4), None
    fit = lloyd(source.partition, source.worst, state.centers, 50)
    return State(fit.centers, source.measure(fit.centers).mse)


class Usage(NamedTuple):
    """What removing each center (k,) costs, and squared errors (n,) of the points."""

    cost: NDArray[np.float64]
    squared: NDArray[np.float64]


def used(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    centers: NDArray[np.float64],
) -> Usage:
    """Give what each center is good for."""
    k = len(centers)
    label = np.empty(len(points), dtype=np.intp)
    first, second = np.empty(len(points)), np.empty(len(points))
    for start in range(0, len(points), 2048):
        block = slice(start, start + 2048)
        distance = np.square(centers).sum(axis=1) - 2 * (points[block] @ centers.T)
        label[block] = distance.argmin(axis=1)
        first[block] = distance.min(axis=1)
        np.put_along_axis(distance, label[block, np.newaxis], np.inf, axis=1)
        second[block] = distance.min(axis=1)
    cost = np.bincount(label, weights * (second - first), k)
    squared = np.maximum(first + np.square(points).sum(axis=1), 0)
    return Usage(cost, squared)


def _wanted(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    squared: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Give the place, of eight, where another center would gain most."""
    ends = np.cumsum(weights * squared)
    gained, best = -1.0, points[0]
    for drawn in np.searchsorted(ends, rng.random(8) * ends[-1]):
        place = points[min(int(drawn), len(points) - 1)]
        for _ in range(2):
            gain = squared - np.square(points - place).sum(axis=1)
            won = np.flatnonzero(gain > 0)
            place = weights[won] @ points[won] / weights[won].sum()
        gain = np.maximum(squared - np.square(points - place).sum(axis=1), 0)
        if (total := float(weights @ gain)) > gained:
            gained, best = total, place
    return best


if __name__ == "__main__":
    main()
