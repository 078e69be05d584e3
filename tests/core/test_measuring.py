"""Pixels and means of labels, against plain Python."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans._core.measuring import measure_labels

RNG = np.random.default_rng(5)


def measured_plainly(image, labels, n):
    """Measure pixel by pixel."""
    values = [[] for _ in range(n)]
    for place in np.ndindex(labels.shape):
        pixel = image[place]
        if labels[place] < n and np.isfinite(pixel).all():
            values[labels[place]].append(pixel.astype(float))
    means = [np.mean(some, axis=0) if some else np.nan * image[0, 0] for some in values]
    return [len(some) for some in values], means


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("chunks", [None, (7, 5)])
def test_labels_are_measured_as_pixel_by_pixel(dtype, n_channels, chunks):
    image = (RNG.random((20, 13, n_channels)) * 90).astype(dtype)
    labels = RNG.integers(0, 6, (20, 13)).astype(np.uint8)
    # No pixel has label 3, and 5 is left out.
    labels[labels == 3] = 2
    if np.dtype(dtype).kind == "f":
        image[2:5, 3] = np.nan
    counts, means = measured_plainly(image, labels, 5)
    if chunks is not None:
        image = da.from_array(image, chunks=(*chunks, n_channels))
        labels = da.from_array(labels, chunks=chunks)

    found, found_means = measure_labels(image, labels, 5)

    assert_array_equal(found, counts)
    assert found.dtype == np.int64
    assert_allclose(found_means, means, rtol=1e-12)
    assert np.isnan(found_means[3]).all()


def test_image_of_numpy_is_measured_by_lazy_labels():
    image, labels = RNG.random((9, 8, 2)), RNG.integers(0, 3, (9, 8))
    lazy = da.from_array(labels, chunks=4)
    for one, other in zip(
        measure_labels(image, lazy, 3), measure_labels(image, labels, 3), strict=True
    ):
        assert_allclose(one, other, rtol=1e-12)


def test_sums_of_integers_are_exact():
    image = np.full((1 << 12, 1 << 8, 1), 65535, dtype=np.uint16)
    image[0, 0] = 0
    labels = np.zeros(image.shape[:-1], dtype=np.uint8)
    counts, means = measure_labels(image, labels, 1)
    n = 1 << 20
    assert counts[0] == n
    assert means[0, 0] == 65535 * (n - 1) / n
