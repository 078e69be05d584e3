"""Images to try it on: what scikit-image's wheel holds, and made ones of microscopes.

Each function returns the layers of one sample of the manifest, in less than a second.
Cells that nobody photographed come from a generator with a seed of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array

__all__ = ["channels", "fluorescence", "photo", "section", "series", "volume"]

# Of 12 bits, in micrometers.
_STACK = {
    "units": ("um", "um", "um"),
    "axis_labels": ("z", "y", "x"),
    "contrast_limits": (0, 4095),
}


def photo() -> list[LayerDataTuple]:
    """Return a photo of a cup of coffee on a table, 400 by 600."""
    from skimage import data

    return [LayerDataTuple((data.coffee(), {"name": "coffee", "rgb": True}, "image"))]


def section() -> list[LayerDataTuple]:
    """Return a section of colon, 512 by 512: nuclei are blue, and an antibody brown.

    It is real: colonic glands, stained with hematoxylin, and with DAB where the protein
    FHL2 is (scikit-image has it from the Center for Microscopy and Molecular Imaging).
    """
    from skimage import data

    attributes = {"name": "IHC section", "rgb": True}
    return [LayerDataTuple((data.immunohistochemistry(), attributes, "image"))]


def channels() -> list[LayerDataTuple]:
    """Return cells in three channels of 16 bits, one of which is 500 times another."""
    from skimage import filters

    rng = np.random.default_rng(8)
    grid = np.indices((384, 384), dtype=np.float32)
    nuclei, cells = np.zeros(grid[0].shape, bool), np.zeros(grid[0].shape, bool)
    for center, phase in _cells(rng, 4, 384):
        distance = _distance(grid, center, phase)
        nuclei |= distance < 22
        cells |= distance < 44
    free = cells & ~nuclei
    fibers = free & (np.abs(filters.gaussian(rng.normal(size=cells.shape), 6)) < 8e-3)
    spots = filters.gaussian(rng.random(cells.shape) > 0.997, 2) > 0.02
    vesicles = free & ~fibers & spots
    places = {"scale": (0.2, 0.2), "units": ("um", "um"), "axis_labels": ("y", "x")}
    # Photons where a channel is brightest, and what the camera makes of each.
    return [
        _channel("nuclei", nuclei, rng, (60, 1), "bop blue", places),
        _channel("fibers", fibers, rng, (300, 5), "bop orange", places),
        _channel("vesicles", vesicles, rng, (1500, 20), "green", places),
    ]


def series() -> list[LayerDataTuple]:
    """Return eight frames, five minutes apart, of cells that grow, in two channels."""
    rng = np.random.default_rng(9)
    grid = np.indices((240, 240), dtype=np.float32)
    nuclei, cells = np.zeros((8, 240, 240), bool), np.zeros((8, 240, 240), bool)
    for center, phase in _cells(rng, 3, 240):
        speed = rng.uniform(-1.5, 1.5, 2)
        for frame, area in enumerate(np.linspace(1, 2, 8)):
            distance = _distance(grid, center + frame * speed, phase) / area**0.5
            nuclei[frame] |= distance < 9
            cells[frame] |= distance < 19
    places = {
        "scale": (300.0, 0.5, 0.5),
        "units": ("s", "um", "um"),
        "axis_labels": ("t", "y", "x"),
    }
    cytoplasm = cells & ~nuclei
    return [
        _channel("nuclei", nuclei, rng, (80, 2), "bop blue", places),
        _channel("cytoplasm", cytoplasm, rng, (300, 10), "bop orange", places),
    ]


def fluorescence() -> list[LayerDataTuple]:
    """Return a stack of 12 planes in three channels of 12 bits, one layer each."""
    from skimage import filters

    rng = np.random.default_rng(6)
    shape = (12, 256, 256)
    grid = np.moveaxis(np.indices(shape, dtype=np.float32), 0, -1)
    spacing = (2.0, 0.5, 0.5)
    cells, nuclei = np.zeros(shape), np.zeros(shape)
    for _ in range(40):
        center = rng.uniform((2, 10, 10), (10, 246, 246))
        distance = np.linalg.norm((grid - center) * spacing, axis=-1)
        radius = rng.uniform(5, 7)
        cells = np.maximum(cells, rng.uniform(0.5, 1) * (distance < 2 * radius))
        nuclei = np.maximum(nuclei, rng.uniform(0.6, 1) * (distance < radius))
    fibers = np.abs(filters.gaussian(rng.normal(size=shape), (2, 6, 3))) < 2e-3
    images = {
        "nuclei": (nuclei, "bop blue"),
        "cytoplasm": (cells * (nuclei == 0), "bop orange"),
        "fibers": (fibers * 1.0, "green"),
    }
    layers = []
    for name, (signal, colormap) in images.items():
        look = {"name": name, "colormap": colormap, "blending": "additive"}
        attributes = _STACK | {"scale": spacing} | look
        blurred = filters.gaussian(signal, (0.5, 1, 1))
        layers.append(LayerDataTuple((_exposed(blurred, rng), attributes, "image")))
    return layers


def volume() -> list[LayerDataTuple]:
    """Return a volume of 16 bits: two kinds of grains in a matrix, and pores."""
    from skimage import data, filters

    rng = np.random.default_rng(7)
    blobs = [
        data.binary_blobs(96, blob_size_fraction=size, n_dim=3, rng=rng)[:48]
        for size in (0.12, 0.2)
    ]
    density = 0.3 + 0.3 * blobs[0] + 0.65 * (blobs[1] & ~blobs[0])
    pores = filters.gaussian(rng.normal(size=density.shape), 3)
    density[pores > np.quantile(pores, 0.9)] = 0.02
    attributes = _STACK | {"name": "volume", "scale": (4.0, 2.0, 2.0)}
    return [LayerDataTuple((_exposed(density, rng), attributes, "image"))]


def _cells(rng: np.random.Generator, n: int, side: int) -> Iterator[tuple[Any, float]]:
    """Return the centers of `n` by `n` cells in a square, and how each is turned."""
    step = side / n
    for place in np.ndindex(n, n):
        center = (np.array(place) + 0.5 + rng.uniform(-0.1, 0.1, 2)) * step
        yield center, rng.uniform(0, 2 * np.pi)


def _distance(grid: Array, center: Array, phase: float) -> Array:
    """Return the distances of pixels from a center, in units of outlines that bulge."""
    y, x = grid - center[:, np.newaxis, np.newaxis]
    angle = np.arctan2(y, x) + phase
    bulge = 1 + 0.08 * np.sin(2 * angle) + 0.04 * np.sin(3 * angle)
    distance: Array = np.hypot(y, x) * bulge
    return distance


def _channel(
    name: str,
    signal: Array,
    rng: np.random.Generator,
    strength: tuple[int, int],
    colormap: str,
    places: dict[str, Any],
) -> LayerDataTuple:
    """Return an image layer of 16 bits, of planes that are a little out of focus."""
    from skimage import filters

    photons, gain = strength
    sigma = (signal.ndim - 2) * (0,) + (1, 1)
    blurred = filters.gaussian(signal.astype(float), sigma)
    image = 100 + gain * rng.poisson(photons * blurred + 5)
    look = {
        "name": name,
        "colormap": colormap,
        "blending": "additive",
        "contrast_limits": (100, 100 + gain * (photons + 5)),
    }
    return LayerDataTuple((image.astype(np.uint16), look | places, "image"))


def _exposed(signal: Array, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return what a camera of 12 bits records of a signal from 0 to 1."""
    photons = rng.poisson(400 * signal + 10)
    return np.clip(photons * 9, 0, 4095).astype(np.uint16)
