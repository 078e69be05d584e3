"""Images to try it on, made of what scikit-image's wheel holds or out of thin air."""

from __future__ import annotations

import numpy as np
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array

__all__ = ["fluorescence", "photo", "stained_section", "volume"]

# How much red, green and blue stains take away (Ruifrok and Johnston, Analytical and
# Quantitative Cytology and Histology 23:291, 2001), and as slides of H&E look.
_HEMATOXYLIN_AND_DAB = np.array([[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]])
_HEMATOXYLIN_AND_EOSIN = np.array([[0.60, 0.72, 0.34], [0.18, 0.84, 0.42]])
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


def stained_section() -> list[LayerDataTuple]:
    """Return a section of colon in the colors of hematoxylin and eosin.

    scikit-image's section was stained with hematoxylin and DAB. The two are separated,
    and shown as hematoxylin, and eosin in DAB's place and a little everywhere else.
    """
    from skimage import data, filters

    # What stains take away of light adds up as logarithms (Beer and Lambert).
    density = -np.log(np.maximum(data.immunohistochemistry(), 1) / 255)
    amounts = density @ np.linalg.pinv(_HEMATOXYLIN_AND_DAB)
    hematoxylin, dab = np.moveaxis(amounts, -1, 0)
    nuclei = np.clip(filters.gaussian(hematoxylin, 0.7) - 0.12, 0, None)
    tissue = np.clip(density.sum(axis=-1) - 0.25, 0, 0.6)
    eosin = 0.3 * np.clip(dab - 0.05, 0, None) + 0.5 * tissue
    density = np.stack([2.2 * nuclei, eosin], axis=-1) @ _HEMATOXYLIN_AND_EOSIN
    section = np.rint(255 * np.exp(-density)).astype(np.uint8)
    attributes = {"name": "H&E section", "rgb": True, "scale": (0.5, 0.5)}
    return [LayerDataTuple((section, attributes | {"units": ("um", "um")}, "image"))]


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


def _exposed(signal: Array, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return what a camera of 12 bits records of a signal from 0 to 1."""
    photons = rng.poisson(400 * signal + 10)
    return np.clip(photons * 9, 0, 4095).astype(np.uint16)
