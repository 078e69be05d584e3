"""Time and peak memory of each stage, and of whole calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_kmeans import count_colors, kmeans_palette, map_to_palette, quantize_kmeans
from napari_kmeans._core.cells import build_cells, label_cells, partition_cells
from napari_kmeans._core.color_tables import paint
from napari_kmeans._core.search import searched_centers

from .photos import sample_photos, tiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEGAPIXELS = [1, 4]
KS = [16, 256]


def sample_image(megapixels: int) -> NDArray[np.uint8]:
    """Give different crops of several photos."""
    return tiled(sample_photos(), megapixels * 1_000_000)


def sample_colors(image: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give colors and their numbers in less memory than what is measured."""
    codes = image.reshape(-1, 3) @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    present, counts = np.unique(codes, return_counts=True)
    octets = present.astype("<u4").view(np.uint8).reshape(-1, 4)
    return np.ascontiguousarray(octets[:, :3]), counts


class Pixels:
    """Count the colors of pixels, and give pixels their colors."""

    params: ClassVar = [MEGAPIXELS]
    param_names: ClassVar = ["megapixels"]

    def setup(self, megapixels: int) -> None:
        """Make the image."""
        self.image = sample_image(megapixels)
        self.colors, counts = sample_colors(self.image)
        self.weights = counts.astype(np.float64)
        self.items = self.colors.view("V3")[:, 0]

    def time_count_colors(self, _: int) -> None:
        """Count."""
        count_colors(self.image)

    def peakmem_count_colors(self, _: int) -> None:
        """Count."""
        count_colors(self.image)

    def time_build_cells(self, _: int) -> None:
        """Sort the colors into cells."""
        build_cells(self.colors, self.weights)

    def peakmem_build_cells(self, _: int) -> None:
        """Sort the colors into cells."""
        build_cells(self.colors, self.weights)

    def time_paint(self, _: int) -> None:
        """Look each pixel up."""
        paint(self.image, self.colors, self.items)

    def peakmem_paint(self, _: int) -> None:
        """Look each pixel up."""
        paint(self.image, self.colors, self.items)


class Centers:
    """Find centers, and the colors nearest to them."""

    params: ClassVar = [KS]
    param_names: ClassVar = ["k"]

    def setup(self, k: int) -> None:
        """Make cells, and centers that are not yet at rest."""
        colors, counts = sample_colors(sample_image(4))
        self.cells = build_cells(colors, counts.astype(np.float64))
        # Cells enough to choose from, as the default start has them.
        level = next(x for x in self.cells.levels if len(x.weights) >= 16 * k)
        self.means = level.means.T, level.weights
        self.centers = searched_centers(*self.means, k, 1)

    def time_search(self, k: int) -> None:
        """Search for a start."""
        searched_centers(*self.means, k, 1)

    def peakmem_search(self, k: int) -> None:
        """Search for a start."""
        searched_centers(*self.means, k, 1)

    def time_partition_cells(self, _: int) -> None:
        """Sum up what each center owns: one iteration."""
        partition_cells(self.cells, self.centers)

    def peakmem_partition_cells(self, _: int) -> None:
        """Sum up what each center owns: one iteration."""
        partition_cells(self.cells, self.centers)

    def time_label_cells(self, _: int) -> None:
        """Label all colors."""
        label_cells(self.cells, self.centers)


class OneChannel:
    """Find the optimum of an image without channels."""

    params: ClassVar = [["uint8", "uint16"], KS]
    param_names: ClassVar = ["dtype", "k"]

    def setup(self, dtype: str, _: int) -> None:
        """Make an image that has most values of its dtype."""
        values = sample_image(1).astype(np.float64) @ [0.2126, 0.7152, 0.0722]
        self.image = (values * (np.iinfo(dtype).max / 255)).astype(dtype)

    def time_quantize(self, _: str, k: int) -> None:
        """Quantize."""
        quantize_kmeans(self.image, k, channel_axis=None)

    def peakmem_quantize(self, _: str, k: int) -> None:
        """Quantize."""
        quantize_kmeans(self.image, k, channel_axis=None)


class Blocks:
    """Fit an image of too many colors to count."""

    params: ClassVar = [["uint16", "float32"]]
    param_names: ClassVar = ["dtype"]

    def setup(self, dtype: str) -> None:
        """Make a noisy image."""
        noise = np.random.default_rng(0).random((1200, 1200, 3))
        image = np.tile(sample_image(1), (2, 2, 1))[:1200, :1200] + noise
        self.image: NDArray[Any] = (image * 200).astype(dtype)

    def time_quantize(self, _: str) -> None:
        """Quantize."""
        quantize_kmeans(self.image, 16)

    def peakmem_quantize(self, _: str) -> None:
        """Quantize."""
        quantize_kmeans(self.image, 16)


class EndToEnd:
    """Call the public functions."""

    params: ClassVar = [MEGAPIXELS, KS]
    param_names: ClassVar = ["megapixels", "k"]

    def setup(self, megapixels: int, k: int) -> None:
        """Make the image, and a palette of other colors."""
        self.image = sample_image(megapixels)
        self.palette = np.random.default_rng(0).integers(0, 256, (k, 3))

    def time_quantize(self, _: int, k: int) -> None:
        """Quantize."""
        quantize_kmeans(self.image, k)

    def peakmem_quantize(self, _: int, k: int) -> None:
        """Quantize."""
        quantize_kmeans(self.image, k)

    def time_palette(self, _: int, k: int) -> None:
        """Fit only."""
        kmeans_palette(self.image, k)

    def time_map(self, *_: int) -> None:
        """Map only."""
        map_to_palette(self.image, self.palette)

    def peakmem_map(self, *_: int) -> None:
        """Map only."""
        map_to_palette(self.image, self.palette)

    def track_error(self, _: int, k: int) -> float:
        """Give the squared error: no time is worth much without it."""
        return kmeans_palette(self.image, k).mse
