"""Bytes of films in few colors, as GIF, PNG and WebP.

    python benchmarks/films.py PHOTO

Three films of 24 frames, 480 x 320: a window that moves over PHOTO, so that everything
changes; a disk with soft edges that moves over the same part of PHOTO; and that disk
alone, with opacity, which GIF cannot hold without a threshold. Each is reduced to k
colors and encoded as the command line does.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_kmeans._compression import Recipe, compress
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.read import ImageFile, read_image

N_FRAMES, ROWS, COLUMNS = 24, 320, 480


def disk(number: int) -> NDArray[np.float64]:
    """Return the opacity (rows, columns) of a disk that moves to the right."""
    y, x = np.indices((ROWS, COLUMNS))
    distance = np.hypot(y - 160, x - 60 - 15 * number)
    return np.clip((50 - distance) / 6, 0, 1)


def films(photo: NDArray[np.uint8]) -> dict[str, ImageFile]:
    """Return films by name."""
    still = photo[:ROWS, :COLUMNS]
    opacity = np.stack([disk(number) for number in range(N_FRAMES)])[..., np.newaxis]
    color = np.array([250, 120, 20])
    moving = np.stack([photo[:ROWS, 5 * n : 5 * n + COLUMNS] for n in range(N_FRAMES)])
    over = np.rint(still + (color - still) * opacity).astype(np.uint8)
    alone = np.concatenate([color * (opacity > 0), 255 * opacity], axis=-1)
    metadata = ImageMetadata("TYXS", durations=(0.04,) * N_FRAMES)
    pixels: dict[str, tuple[NDArray[Any], bool]] = {
        "moving photo": (moving, False),
        "disk over photo": (over, False),
        "disk alone": (np.rint(alone).astype(np.uint8), True),
    }
    return {k: ImageFile(p, True, a, metadata) for k, (p, a) in pixels.items()}


def main() -> None:
    """Print a row for each film and number of colors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    image = read_image(parser.parse_args().photo).pixels
    print("| film | k | GIF | PNG | WebP |\n|---|--:|--:|--:|--:|")
    for name, film in films(image[..., :3]).items():
        for k in (16, 64):
            sizes = []
            for suffix in (".gif", ".png", ".webp"):
                recipe = Recipe(k=k)
                if suffix == ".gif" and film.has_alpha:
                    recipe = replace(recipe, opacity_threshold=128)
                sizes.append(len(compress(film, f"a{suffix}", recipe).content))
            print(f"| {name} | {k} | {' | '.join(f'{size:,}' for size in sizes)} |")


if __name__ == "__main__":
    main()
