"""Contour and opacity of labels, set where their table is."""

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_kmeans._napari.overlay_look import OverlayLook


@pytest.fixture
def look(qtbot):
    look = OverlayLook()
    qtbot.addWidget(look)
    return look


def test_controls_show_and_set_the_look_of_labels(look):
    labels = Labels(np.ones((4, 4), dtype=int), opacity=0.7)
    labels.contour = 2
    look.set_layer(labels)
    assert (look.contour.value(), look.opacity.value()) == (2, 70)

    look.contour.setValue(3)
    look.opacity.setValue(40)
    assert (labels.contour, labels.opacity) == (3, 0.4)


def test_controls_follow_the_layer_and_change_nothing_of_it(look):
    labels = Labels(np.ones((4, 4), dtype=int))
    look.set_layer(labels)
    labels.contour, labels.opacity = 5, 0.123
    assert (look.contour.value(), look.opacity.value()) == (5, 12)
    assert labels.opacity == 0.123


def test_layer_that_is_no_longer_listed_is_left_alone(look):
    labels, other = (Labels(np.ones((4, 4), dtype=int)) for _ in range(2))
    look.set_layer(labels)
    look.set_layer(other)
    labels.contour = 7
    assert look.contour.value() == 0
    look.contour.setValue(2)
    assert (labels.contour, other.contour) == (7, 2)


@pytest.mark.parametrize("layer", [None, Image(np.ones((4, 4)))])
def test_images_have_no_contour(look, layer):
    look.set_layer(Labels(np.ones((4, 4), dtype=int)))
    assert look.isEnabled()
    look.set_layer(layer)
    assert not look.isEnabled()
