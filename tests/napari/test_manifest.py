import threading
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import notification_manager
from npe2 import PluginManager
from numpy.testing import assert_array_equal
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_kmeans import (
    IterationState,
    kmeans_palette,
    quantize_kmeans,
    quantize_layer,
    separate_objects,
)
from napari_kmeans._core.arguments import INITS
from napari_kmeans._napari import command, computation, settings
from napari_kmeans._napari.command import quantize_active_layer
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.widget import QuantizeWidget


@pytest.fixture
def manifest():
    manager = PluginManager.instance()
    manager.discover()
    return manager.get_manifest("napari-kmeans")


# Sample data.


def sample_of(manifest, key):
    (sample,) = (x for x in manifest.contributions.sample_data if x.key == key)
    return [Layer.create(*one) for one in sample.open()]


@pytest.mark.parametrize(
    ("key", "shapes", "dtype"),
    [
        ("photo", [(400, 600, 3)], np.uint8),
        ("section", [(512, 512, 3)], np.uint8),
        ("channels", 3 * [(384, 384)], np.uint16),
        ("series", 2 * [(8, 240, 240)], np.uint16),
        ("fluorescence", 3 * [(12, 256, 256)], np.uint16),
        ("volume", [(48, 96, 96)], np.uint16),
    ],
)
def test_samples_open(manifest, key, shapes, dtype):
    layers = sample_of(manifest, key)
    assert [layer.data.shape for layer in layers] == shapes
    assert {layer.data.dtype for layer in layers} == {np.dtype(dtype)}
    assert all(np.ptp(layer.data) > 80 for layer in layers)


def test_every_sample_is_tried(manifest):
    keys = {sample.key for sample in manifest.contributions.sample_data}
    assert keys == {
        *("photo", "section", "channels", "series", "fluorescence", "volume")
    }


def test_section_is_the_real_one(manifest):
    (layer,) = sample_of(manifest, "section")
    assert_array_equal(layer.data, data.immunohistochemistry())


def test_channels_are_unequal_and_have_a_structure_each_if_they_count_alike(manifest):
    layers = sample_of(manifest, "channels")
    image = np.stack([layer.data for layer in layers], axis=-1)
    low, high = np.transpose([layer.contrast_limits for layer in layers])
    assert (high - low)[2] > 400 * (high - low)[0]

    alike = kmeans_palette((image - low) / (high - low), 4).palette
    by_numbers = (kmeans_palette(image, 4).palette - low) / (high - low)

    # Each entry but the background is bright in one channel, each in another one.
    bright = {tuple(entry) for entry in (alike > 0.3).astype(int).tolist()}
    assert bright == {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)}
    assert not (by_numbers[:, 0] > 0.3).any()


def test_cells_of_the_series_are_nine_that_grow_to_twice_their_area(manifest):
    nuclei, _ = sample_of(manifest, "series")
    (labels,) = quantize_layer(nuclei, 2, output="labels")
    table = separate_objects(labels, 2, smallest=20).features
    areas = [table["area"][table["t"] == frame] for frame in range(8)]
    assert [len(area) for area in areas] == 8 * [9]
    assert set(table["area_unit"]) == {"µm²"}
    means = [area.mean() for area in areas]
    assert means == sorted(means)
    assert means[-1] / means[0] == pytest.approx(2, rel=0.05)


# The command.


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    yield viewer
    for thread in threading.enumerate():
        if thread.name == "napari-kmeans":
            thread.join(20)


def has_ended():
    """Nothing is left of the command's computations."""
    return not QApplication.instance().findChildren(Newest)


def messages():
    return [notification.message for notification in notification_manager.records]


def test_active_layer_is_quantized_in_one_click(viewer, qtbot):
    viewer.add_image(data.astronaut()[:64], name="other")
    image = data.astronaut()[64:128]
    viewer.add_image(image, name="a")

    quantize_active_layer(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3)

    assert viewer.layers[-1].name == "a in 16 colors"
    assert_array_equal(viewer.layers[-1].data, quantize_kmeans(image))
    assert messages()[-1] == "Added “a in 16 colors”."
    qtbot.waitUntil(has_ended)


def test_channels_of_the_active_layer_are_not_pooled(viewer, qtbot):
    image = np.random.default_rng(1).integers(0, 99, (2, 8, 9)) * [[[1]], [[50]]]
    viewer.add_image(image, name="a", axis_labels=("c", "y", "x"))

    quantize_active_layer(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)

    settings = viewer.layers[-1].metadata["napari-kmeans"]["settings"]
    assert settings["channel_axis"] == 0
    assert settings["channel_weights"] == tuple(1 / np.ptp(image, axis=(1, 2)))
    qtbot.waitUntil(has_ended)


def test_active_layer_must_be_an_image(viewer):
    viewer.add_labels(np.ones((4, 4), dtype=int))
    quantize_active_layer(viewer)
    assert "not an image" in messages()[-1]


def test_previews_are_no_images_to_quantize(viewer, qtbot):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = QuantizeWidget(viewer)
    qtbot.addWidget(widget.native)
    widget.run_panel.live.value = True
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    viewer.layers.selection = {viewer.layers[1]}

    quantize_active_layer(viewer)

    assert "not an image" in messages()[-1]


def test_error_of_the_command_is_shown(viewer, qtbot, monkeypatch):
    def fail(*_, **__):
        msg = "out of crayons"
        raise RuntimeError(msg)

    monkeypatch.setattr(computation, "fit_image", fail)
    viewer.add_image(data.astronaut()[:64], name="a")

    quantize_active_layer(viewer)
    qtbot.waitUntil(has_ended)

    assert messages()[-1] == "“a”: out of crayons"
    assert len(viewer.layers) == 1


def test_command_is_cancelled_by_the_button_of_its_bar(viewer, qtbot, monkeypatch):
    bars, may_go_on = [], threading.Event()

    class Bar(command.cancelable_progress):
        def __init__(self, *args, **keywords):
            super().__init__(*args, **keywords)
            bars.append(self)

    def wait(*_, callback, **__):
        assert may_go_on.wait(20)
        callback(IterationState(1, 0.0, np.zeros((16, 3))))

    monkeypatch.setattr(command, "cancelable_progress", Bar)
    monkeypatch.setattr(computation, "fit_image", wait)
    viewer.add_image(data.astronaut()[:64], name="a")

    quantize_active_layer(viewer)
    bars[0].cancel()
    qtbot.waitUntil(has_ended)
    may_go_on.set()

    assert messages()[-1] == "Cancelled; no layer was added."
    assert len(viewer.layers) == 1


def test_source_of_the_command_may_go(viewer, qtbot):
    viewer.add_image(data.astronaut(), name="a")
    quantize_active_layer(viewer)
    viewer.layers.remove("a")
    qtbot.waitUntil(has_ended)
    assert len(viewer.layers) == 0
    assert "“a” was removed" in messages()[-1]


# Preferences.


def test_preferences_and_defaults_are_the_same(manifest):
    properties = manifest.contributions.configurations["defaults"].properties
    defaults = settings.Settings()
    for name in ("k", "iters", "init", "output"):
        assert properties[name].default == getattr(defaults, name)
    assert properties["init"].enum == list(INITS)
    assert properties["output"].enum == list(settings.OUTPUTS)


def test_widget_starts_with_the_preferences(qtbot, monkeypatch):
    chosen = SimpleNamespace(k=7, iters=3, init="random", output="both", preview=True)
    monkeypatch.setattr(settings, "_preferences", lambda: chosen)

    widget = QuantizeWidget(ViewerModel())
    qtbot.addWidget(widget.native)

    assert widget.controls.k.value == 7
    assert widget.controls.iters.value == 3
    assert widget.controls.init.value == "random"
    assert widget.controls.output.value == "both"
    assert widget.run_panel.live.value


# Menus.


def test_widget_and_command_are_in_the_menus(manifest):
    menus = {
        menu: {item.command for item in items}
        for menu, items in manifest.contributions.menus.items()
    }
    widget, command = "napari-kmeans.quantize", "napari-kmeans.quantize_active_layer"
    assert menus == {
        # Of the menu Plugins, napari gives plugins their widgets alone.
        "napari/file/io_utilities": {"napari-kmeans.open_palette_file"},
        "napari/layers/segment": {widget},
        "napari/layers/classify": {widget},
        "napari/layers/filter": {widget, command},
    }
    (contributed,) = manifest.contributions.widgets
    assert contributed.command == widget
