"""Images of any size with the colors of photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["cropped", "sample_photos", "tiled"]


def sample_photos() -> list[NDArray[np.uint8]]:
    """Give photos that come with scikit-image."""
    from skimage import data

    return [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]


def cropped(photo: NDArray[np.uint8], n_pixels: int) -> NDArray[np.uint8]:
    """Cut about `n_pixels` of the same shape from the middle of a photo (H, W, 3)."""
    height, width = photo.shape[:2]
    share = (n_pixels / (height * width)) ** 0.5
    rows, columns = round(height * share), round(width * share)
    top, left = (height - rows) // 2, (width - columns) // 2
    return photo[top : top + rows, left : left + columns].copy()


def tiled(
    photos: Sequence[NDArray[np.uint8]], n_pixels: int, side: int = 256
) -> NDArray[np.uint8]:
    """Lay different crops of photos (H, W, 3), in turn, into about `n_pixels`.

    No crop comes twice, but they overlap once `n_pixels` nears the size of all photos,
    and then hardly any color is new.
    """
    rng = np.random.default_rng(0)
    width = max(1, round(n_pixels**0.5 / side))
    height = max(1, round(n_pixels / (width * side * side)))
    image = np.empty((height * side, width * side, 3), np.uint8)
    for i in range(height * width):
        photo = photos[i % len(photos)]
        top = rng.integers(photo.shape[0] - side + 1)
        left = rng.integers(photo.shape[1] - side + 1)
        row, column = divmod(i, width)
        image[row * side : (row + 1) * side, column * side : (column + 1) * side] = (
            photo[top : top + side, left : left + side]
        )
    return image
