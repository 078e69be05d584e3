"""Chosen clusters as labels layers of their own."""

import numpy as np
import pytest
from napari.layers import Labels
from numpy.testing import assert_array_equal
from qtpy.QtWidgets import QInputDialog
from skimage import data

from napari_kmeans import separate_objects
from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._napari import to_labels
from napari_kmeans._napari.layers import is_overlay
from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.quantize_layer import quantize_layer
from napari_kmeans._napari.results import Results
from napari_window import messages, names, press, wait_for_threads

CELLS = data.astronaut()[:64, :50]


@pytest.fixture
def panel(viewer, qtbot):
    """Give a function that lists a result, of which clusters are chosen."""
    made = []

    def panel(image=CELLS, chosen=(1, 2), **settings):
        layer = viewer.add_image(image, name="cells", scale=(2, 2)[: image.ndim])
        settings = {"output": "labels", **settings}
        *_, result = quantize_layer(layer, 4, viewer=viewer, **settings)
        one = PalettePanel(viewer, Results(viewer))
        made.append(one)
        qtbot.addWidget(one)
        viewer.layers.selection.active = result
        one.table.selected.emit(list(chosen))
        return one, result

    yield panel
    for one in made:
        one.leave()
    wait_for_threads()


def choose_smallest(monkeypatch, answer):
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: answer)


def layers_of(viewer):
    """Give the layers that stay."""
    return [layer for layer in viewer.layers if not is_overlay(layer)]


def new_layer(viewer, qtbot, n_before):
    qtbot.waitUntil(lambda: len(layers_of(viewer)) > n_before, timeout=20_000)
    # The new one is seen without a veil over it.
    assert layers_of(viewer) == list(viewer.layers)
    layer = viewer.layers[-1]
    assert isinstance(layer, Labels)
    return layer


def test_chosen_clusters_become_one_class(panel, viewer, qtbot):
    one, result = panel()
    one._to_labels.one_class.trigger()
    layer = new_layer(viewer, qtbot, 2)
    assert layer.name == "cluster 2 + cluster 3 of cells"
    assert_array_equal(layer.data == 1, (result.data == 2) | (result.data == 3))
    assert_array_equal(layer.scale, result.scale)
    assert layer.features["mean red"].notna().all()


def test_chosen_clusters_become_objects_of_a_smallest_size(
    panel, viewer, qtbot, monkeypatch
):
    one, result = panel(chosen=[3])
    one.table.renamed.emit(3, "nuclei")
    choose_smallest(monkeypatch, (5, True))
    one._to_labels.objects.trigger()
    layer = new_layer(viewer, qtbot, 2)
    assert layer.name == "nuclei of cells"
    expected = separate_objects(result, 4, smallest=5)
    assert_array_equal(layer.data, expected.data)
    assert layer.features["pixels"].min() >= 5


def test_clusters_of_an_image_become_labels(panel, viewer, qtbot):
    one, result = panel(output="image", chosen=[0])
    one._to_labels.one_class.trigger()
    layer = new_layer(viewer, qtbot, 2)
    color = result.metadata["napari-kmeans"]["palette"][0]
    assert_array_equal(layer.data == 1, (result.data == color).all(axis=-1))


def test_no_object_is_made_where_none_is_asked_for(panel, viewer, monkeypatch):
    one, _ = panel()
    choose_smallest(monkeypatch, (1, False))
    one._to_labels.objects.trigger()
    assert one.to_labels.text == "To labels"
    assert len(layers_of(viewer)) == 2


def test_button_waits_for_clusters_to_be_chosen(panel):
    one, _ = panel(chosen=[])
    assert not one.to_labels.enabled
    one.choose(1)
    assert one.to_labels.enabled


def test_button_cancels_while_objects_are_made(panel, viewer, monkeypatch, qtbot):
    one, _ = panel()
    told = []
    one.told.connect(told.append)
    begun = []

    def endless(*_, **__):
        begun.append(1)
        while True:
            checkpoint()

    monkeypatch.setattr(to_labels, "separate_objects", endless)
    one._to_labels.one_class.trigger()
    assert one.to_labels.text == "Cancel"
    one.choose()
    qtbot.waitUntil(lambda: bool(begun))

    press(one.to_labels)
    wait_for_threads()
    assert told[-1] == "Cancelled; no layer was added."
    assert one.to_labels.text == "To labels"
    assert len(layers_of(viewer)) == 2


def test_objects_that_cannot_be_made_are_told(panel, monkeypatch, qtbot):
    one, _ = panel()

    def fail(*_, **__):
        msg = "too many objects"
        raise ValueError(msg)

    monkeypatch.setattr(to_labels, "separate_objects", fail)
    one._to_labels.one_class.trigger()
    qtbot.waitUntil(lambda: any("too many objects" in text for text in messages()))
    assert one.to_labels.text == "To labels"


def test_many_clusters_are_counted_in_the_name(panel, viewer, qtbot):
    one, _ = panel(chosen=[0, 1, 2, 3])
    one._to_labels.one_class.trigger()
    assert new_layer(viewer, qtbot, 2).name == "4 clusters of cells"
    assert names(viewer)[:2] == ["cells", "cells in 4 labels"]


def test_source_that_is_gone_leaves_objects_without_means(panel, viewer, qtbot):
    one, _ = panel()
    viewer.layers.remove("cells")
    one._to_labels.one_class.trigger()
    layer = new_layer(viewer, qtbot, 1)
    assert not [name for name in layer.features if name.startswith("mean")]
    assert np.any(layer.data)
