"""Layers that runs leave, and that later runs bring up to date."""

import numpy as np
import pytest
from napari.layers import Image
from numpy.testing import assert_allclose, assert_array_equal
from skimage import data

from napari_kmeans import kmeans_palette, quantize_kmeans
from napari_window import names, press


def test_second_result_does_not_replace_the_first(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.k.value = 2

    press(widget.run_panel.run)
    finish(widget)
    first = viewer.layers[-1]
    press(widget.run_panel.run)
    finish(widget)

    assert [layer.name for layer in viewer.layers] == [
        "a",
        "a in 2 colors",
        "a in 2 colors [1]",
    ]
    assert viewer.layers[1] is first


def test_other_layer_of_that_name_stays(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    labels = viewer.add_labels(np.ones((9, 9), dtype=int), name="a in 2 colors")
    widget = dock()
    widget.controls.k.value = 2

    press(widget.run_panel.run)
    finish(widget)

    assert viewer.layers["a in 2 colors"] is labels
    assert isinstance(viewer.layers["a in 2 colors [1]"], Image)


def test_second_result_may_replace_the_first(viewer, dock, finish):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    other = viewer.add_image(image, name="a in 3 colors")
    widget = dock()
    widget.controls.again.value = "update last"
    widget.controls.source.value = viewer.layers["a"]
    widget.controls.output.value = "both"
    for k in (2, 3):
        widget.controls.k.value = k
        press(widget.run_panel.run)
        finish(widget)

    assert widget.run_panel.status.value.startswith("Updated “a in 3 colors [1]” and ")
    assert len(viewer.layers) == 4
    first, labels = viewer.layers[2:]
    assert_array_equal(first.data, quantize_kmeans(image, 3))
    assert first.name == "a in 3 colors [1]"
    assert_array_equal(other.data, image)
    assert labels.data.max() == 3
    assert len(labels.features) == 3


def test_replaced_result_follows_its_source_and_keeps_its_new_name(
    viewer, dock, finish
):
    source = viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.again.value = "update last"
    press(widget.run_panel.run)
    finish(widget)
    viewer.layers[1].name = "mine"
    source.translate = (5, 7)

    for _ in range(2):
        press(widget.run_panel.run)
        finish(widget)

    assert names(viewer) == ["a", "mine"]
    assert_array_equal(viewer.layers[1].translate, (5, 7))


@pytest.mark.parametrize("middle", ["image", "labels"])
@pytest.mark.parametrize("multiscale", [False, True])
def test_update_leaves_no_layer_of_the_last_result_behind(
    viewer, dock, finish, middle, multiscale
):
    photo = data.astronaut()[:64, :50]
    source = [photo, photo[::2, ::2]] if multiscale else photo
    viewer.add_image(source, name="a", multiscale=multiscale)
    widget = dock()
    widget.controls.again.value = "update last"
    full = 0 if multiscale else slice(None)
    for k, output in ((2, "both"), (3, middle), (4, "both")):
        widget.controls.k.value = k
        widget.controls.output.value = output
        press(widget.run_panel.run)
        finish(widget)

        assert names(viewer) == ["a", f"a in {k} colors", f"a in {k} labels"]
        image, labels = viewer.layers[1:]
        assert_array_equal(image.data[full], quantize_kmeans(photo, k))
        palette = kmeans_palette(photo, k).palette
        assert_array_equal(palette[labels.data[full] - 1], image.data[full])
        assert len(labels.features) == k


@pytest.mark.parametrize(
    ("output", "other"), [("image", "labels"), ("labels", "colors")]
)
def test_update_adds_nothing_that_is_not_wanted(viewer, dock, finish, output, other):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.again.value = "update last"
    widget.controls.output.value = "both"
    press(widget.run_panel.run)
    finish(widget)
    viewer.layers.remove(f"a in 16 {other}")
    widget.controls.output.value = output
    before = list(viewer.layers)

    press(widget.run_panel.run)
    finish(widget)

    assert list(viewer.layers) == before


def test_results_of_other_channels_are_not_updated(viewer, dock, finish):
    for name in "ab":
        viewer.add_image(data.camera()[:64], name=name)
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    widget.controls.again.value = "update last"
    viewer.layers.selection = set(viewer.layers)
    widget.controls.k.value = 4
    for k, channels in ((4, "layers"), (3, None), (5, "layers")):
        widget.controls.channels.value = channels
        widget.controls.k.value = k
        press(widget.run_panel.run)
        finish(widget)

    results = [f"{name} in 5 colors" for name in "ab"]
    assert names(viewer) == ["a", "b", *results, "a in 3 colors"]


def test_layer_is_updated_as_was_chosen_when_it_was_begun(
    viewer, dock, finish, paused, qtbot
):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    paused.may_go_on.set()
    press(widget.run_panel.run)
    finish(widget)
    paused.may_go_on.clear()
    paused.reached.clear()

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    widget.controls.again.value = "update last"
    paused.may_go_on.set()
    finish(widget)

    assert len(viewer.layers) == 3


@pytest.mark.parametrize("axis", [0, 1])
def test_updated_labels_lie_on_their_source_that_was_turned(viewer, dock, finish, axis):
    image = np.moveaxis(data.astronaut()[:60, :50], -1, axis)
    source = viewer.add_image(image, rgb=False, name="a", scale=(2, 3, 4))
    widget = dock()
    widget.controls.again.value = "update last"
    widget.controls.output.value = "labels"
    widget.controls.channels.value = axis
    press(widget.run_panel.run)
    finish(widget)
    source.rotate = (0, 0, 30)
    source.shear = (0, 0, 0.5)

    press(widget.run_panel.run)
    finish(widget)

    (labels,) = viewer.layers[1:]
    pixel = np.array([5, 7, 9.0])
    pixel[axis] = 1
    expected = source.data_to_world(pixel)
    pixel[axis] = 0
    found = labels.data_to_world(pixel[-labels.ndim :])
    assert_allclose(found, expected[-labels.ndim :])


def test_result_of_another_shape_is_a_new_layer(viewer, dock, finish):
    source = viewer.add_image(data.camera()[:64], name="a")
    widget = dock()
    widget.controls.again.value = "update last"
    press(widget.run_panel.run)
    finish(widget)
    source.data = data.camera()[:64].reshape(4, 16, 512)

    press(widget.run_panel.run)
    finish(widget)

    assert [layer.ndim for layer in viewer.layers[1:]] == [2, 3]
