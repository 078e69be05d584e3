"""Runs without a window: results in a model of a viewer, and what is true of them."""

from typing import NamedTuple

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from napari_kmeans import cluster_table
from napari_kmeans._napari.computation import quantize_source
from napari_kmeans._napari.quantize_layer import prepare
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.settings import Settings


class Run(NamedTuple):
    """A viewer, what is known about its layers, and those of a run."""

    viewer: ViewerModel
    results: Results
    image: Image
    labels: Labels
    layers: list[Layer]


def results_of(*sources, mask=None, **options):
    """Add the results of a run, which are followed as long as somebody holds them."""
    viewer = ViewerModel()
    layers = [viewer.add_layer(source) for source in sources]
    settings = Settings(**({"k": 4, "output": "both"} | options))
    request = prepare(layers, settings, mask, viewer)
    results = Results(viewer)
    outcome = quantize_source(request.source, request.settings, lambda _: None)
    made = results.add(request, outcome)
    return Run(viewer, results, made[0], made[-1], made)


def assert_counted(labels, values, inside=True):
    """The record and the features are of the labels (...) as they are, and their means.

    The values have shape (..., C).
    """
    record, numbers = record_of(labels), np.asarray(labels.data)
    numbers = numbers.reshape(values.shape[:-1])
    finite = np.isfinite(values).all(axis=-1) & inside
    for entry in range(len(record.palette)):
        pixels = values[(numbers == entry + 1) & finite].astype(float)
        assert record.counts[entry] == len(pixels)
        if len(pixels):
            assert_allclose(record.means[entry], pixels.mean(axis=0), rtol=1e-9)
        else:
            assert np.isnan(record.means[entry]).all()
    assert_frame_equal(labels.features, cluster_table(labels))
