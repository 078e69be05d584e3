"""What can be chosen in the widget."""

import numpy as np
import pytest
from magicgui.widgets.bases import ValueWidget
from numpy.testing import assert_array_equal
from skimage import data

from napari_kmeans import kmeans_palette, map_to_palette, quantize_kmeans
from napari_window import messages, names, press


def test_layers_can_be_chosen_as_they_come_and_go(viewer, dock):
    widget = dock()
    assert widget.controls.source.choices == ()

    first = viewer.add_image(np.zeros((4, 4)), name="first")
    viewer.add_labels(np.zeros((4, 4), dtype=int))
    second = viewer.add_image(np.ones((4, 4)), name="second")
    assert widget.controls.source.choices == (first, second)

    viewer.layers.remove(first)
    assert widget.controls.source.value is second


def test_locked_colors_are_in_the_palette(viewer, dock, finish):
    image = data.astronaut()[:64]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.fixed.value = "#00ff00, 1 2 3"

    press(widget.run_panel.run)
    finish(widget)

    fixed = np.array([[0, 255, 0], [1, 2, 3]], dtype=np.uint8)
    expected = kmeans_palette(image, fixed=fixed).palette
    record = viewer.layers[-1].metadata["napari-kmeans"]
    assert_array_equal(record["palette"], expected)


def test_unreadable_colors_are_told(viewer, dock):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.fixed.value = "rot"

    press(widget.run_panel.run)

    assert "numbers, got 'rot'" in widget.run_panel.status.value
    assert "numbers, got 'rot'" in messages()[-1]
    assert widget.run_panel.run.enabled


def is_shown(control):
    """Say whether a control is there to be chosen in, where its section is open."""
    return not control.native.isHidden()


def test_only_what_applies_is_shown(viewer, dock):
    widget = dock()
    controls = widget.controls
    rare = controls.channels, controls.weights, controls.palettes, controls.color_space
    viewer.add_image(data.camera()[:64], name="gray")
    assert not any(map(is_shown, (*rare, controls.rng, controls.palette_file)))

    controls.init.value = "random"
    assert is_shown(controls.rng)
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    viewer.add_image(stack, rgb=True, name="stack")
    assert is_shown(controls.color_space)
    assert is_shown(controls.weights)
    assert list(controls.palettes.choices) == [None, 0, 1, 2]

    controls.palette.value = "from file"
    assert not controls.k.enabled
    assert not controls.fixed.enabled
    assert not is_shown(controls.palettes)
    assert not is_shown(controls.rng)
    assert is_shown(controls.palette_file)


def test_selected_layers_are_taken_as_channels(viewer, dock, finish):
    channels = np.moveaxis(data.astronaut()[:60, :50], -1, 0)
    for name, channel in zip("abc", channels, strict=True):
        viewer.add_image(channel, name=name)
    viewer.add_image(np.zeros((7, 7)), name="other")
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    viewer.layers.selection = set(viewer.layers)
    widget.controls.channels.value = "layers"
    widget.controls.k.value = 4
    widget.controls.output.value = "both"

    press(widget.run_panel.run)
    finish(widget)

    stacked = np.moveaxis(channels, 0, -1)
    expected = quantize_kmeans(stacked, 4)
    # Sorted by the sum of channels here, as nobody says that these are colors.
    for i, name in enumerate("abc"):
        assert_array_equal(viewer.layers[f"{name} in 4 colors"].data, expected[..., i])
    assert viewer.layers[-1].name == "a + b + c in 4 labels"
    # The result is selected now; they still belong together.
    assert widget.controls.channels.value == "layers"


def test_chosen_layers_stay_chosen_when_they_are_renamed(viewer, dock, result):
    _, image, labels = result()
    first, second = (viewer.add_image(np.eye(9), name=name) for name in ("b", "c"))
    # A widget that nobody holds goes with the next collection of garbage.
    widget = dock()
    controls = widget.controls
    controls.source.value = first
    viewer.layers.selection = {first, second}
    controls.channels.value = "layers"
    controls.inside.value = labels
    controls.palette.value = image

    for layer in (first, second, image, labels):
        layer.name = f"renamed {layer.name}"

    assert controls.source.value is first
    assert controls.channels.value == "layers"
    assert controls.inside.value is labels
    assert controls.palette.value is image


def test_palette_of_another_result_is_taken(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64], name="a")
    viewer.add_image(data.astronaut()[64:128], name="b")
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    press(widget.run_panel.run)
    finish(widget)
    widget.controls.source.value = viewer.layers["b"]
    widget.controls.palette.value = viewer.layers["a in 16 colors"]

    press(widget.run_panel.run)
    finish(widget)

    palette = kmeans_palette(data.astronaut()[:64]).palette
    expected = palette[map_to_palette(data.astronaut()[64:128], palette)]
    assert_array_equal(viewer.layers["b in 16 colors"].data, expected)


def test_palette_file_must_be_chosen(viewer, dock):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.palette.value = "from file"

    press(widget.run_panel.run)

    assert (
        widget.run_panel.status.value
        == "Palette file: choose a .gpl, .json, .npy, .hex or .pal file"
    )
    assert widget.run_panel.run.enabled


def test_missing_palette_file_is_told(viewer, dock, finish, tmp_path):
    viewer.add_image(data.astronaut()[:64], name="a")
    widget = dock()
    widget.controls.palette.value = "from file"
    widget.controls.palette_file.value = tmp_path / "none.gpl"

    press(widget.run_panel.run)
    finish(widget)

    assert "none.gpl" in widget.run_panel.status.value
    assert names(viewer) == ["a"]


def test_slider_and_number_are_one(dock):
    widget = dock()
    widget.controls.k_slider.value = 5
    assert widget.controls.k.value == 6
    widget.controls.k.value = 256
    assert widget.controls.k_slider.value == widget.controls.k_slider.max
    widget.controls.k.value = 5000
    assert widget.controls.k.value == 5000


def state_of(controls):
    """Give what each control holds, offers, and whether it can be worked with."""
    return [
        (x.value, getattr(x, "choices", None), x.enabled)
        for x in vars(controls).values()
        if isinstance(x, ValueWidget)
    ]


def test_controls_follow_the_axes_of_the_data(viewer, dock):
    layer = viewer.add_image(np.zeros((3, 20, 30)), axis_labels=("c", "y", "x"))
    controls = dock().controls
    assert (
        controls.channels.choices == (None, 0, 1, 2)[: len(controls.channels.choices)]
    )
    before = len(controls.channels.choices)

    layer.data = np.zeros((20, 30))
    assert len(controls.channels.choices) < before
    assert controls.palettes.choices == (None,)


def test_reading_the_controls_changes_none_of_them(viewer, dock):
    stack = np.zeros((3, 20, 30), dtype=np.uint8)
    layers = [viewer.add_image(stack, name=name) for name in "ab"]
    viewer.add_labels(np.ones((20, 30), dtype=int), name="m")
    controls = dock().controls
    viewer.layers.selection = set(layers)
    controls.channels.value = "layers"
    controls.inside.value = viewer.layers["m"]
    before, heard = state_of(controls), []
    controls.changed.connect(lambda: heard.append("changed"))

    request = controls.request()

    assert list(request.layers) == layers
    assert state_of(controls) == before
    assert heard == []


def test_other_layers_selected_together_are_other_channels(viewer, dock):
    a, b, c = (viewer.add_image(np.zeros((4, 4)), name=name) for name in "abc")
    controls = dock().controls
    controls.source.value = a
    viewer.layers.selection = {a, b}
    controls.channels.value = "layers"
    heard = []
    controls.changed.connect(lambda: heard.append(list(controls.request().layers)))

    viewer.layers.selection = {a, b, c}

    assert controls.channels.value == "layers"
    assert heard == [[a, b, c]]


# What is chosen by itself.


def test_image_follows_the_selected_layer(viewer, dock):
    a, b = (viewer.add_image(np.eye(4) * n, name=n) for n in range(2))
    widget = dock()
    controls = widget.controls
    assert controls.source.value is b

    viewer.layers.selection = {a}
    assert controls.source.value is a

    c = viewer.add_image(np.eye(5), name="c")
    assert controls.source.value is c

    viewer.add_labels(np.eye(5, dtype=int))
    assert controls.source.value is c

    viewer.layers.selection = {a, b}
    assert controls.source.value is a
    assert controls.channels.value is None
    assert "layers" in controls.channels.choices


def test_result_is_not_followed(result, viewer):
    widget, image, labels = result()
    source = viewer.layers[0]
    for layer in (image, labels, source, image):
        viewer.layers.selection = {layer}
        assert widget.controls.source.value is source


def test_channels_that_were_selected_together_stay_while_one_is_looked_at(viewer, dock):
    a, b, c = (viewer.add_image(np.zeros((4, 4)), name=name) for name in "abc")
    controls = dock().controls
    viewer.layers.selection = {a, b}
    controls.channels.value = "layers"

    viewer.layers.selection = {b}
    assert controls.channels.value == "layers"
    assert list(controls.request().layers) == [a, b]

    viewer.layers.selection = {c}
    assert controls.channels.value is None
    assert list(controls.request().layers) == [c]


@pytest.mark.parametrize("name", ["c", "C", "channel", "Channels"])
def test_axis_that_is_called_channels_is_chosen(viewer, dock, name):
    viewer.add_image(np.zeros((3, 4, 5)), name="a", axis_labels=(name, "y", "x"))
    viewer.add_image(np.zeros((3, 4, 5)), name="b", axis_labels=("t", "y", "x"))
    controls = dock().controls
    assert controls.channels.value is None

    controls.source.value = viewer.layers["a"]
    assert controls.channels.value == 0

    controls.channels.value = None
    viewer.layers["a"].name = "renamed"
    viewer.layers.selection = set()
    viewer.layers.selection = {viewer.layers["renamed"]}
    assert controls.channels.value is None


def test_axis_that_gets_the_name_of_channels_is_chosen(viewer, dock):
    layer = viewer.add_image(np.zeros((4, 5, 3)), rgb=False)
    controls = dock().controls
    layer.axis_labels = ("y", "x", "c")
    assert controls.channels.value == 2


def test_axis_of_one_channel_is_none(viewer, dock):
    viewer.add_image(np.zeros((1, 4, 5)), axis_labels=("c", "y", "x"))
    assert dock().controls.channels.value is None


def test_locked_color_is_shown_where_it_is_written(dock):
    controls = dock().controls
    controls.sections["Colors"].button.click()
    assert controls.fixed.native.isVisibleTo(controls.native) is False

    controls.lock("#ff0000")
    controls.lock("1 2 3")
    controls.lock("#ff0000")

    assert controls.fixed.value == "#ff0000; 1 2 3"
    assert controls.fixed.native.isVisibleTo(controls.native)


def test_every_choice_is_told_once(viewer, dock):
    viewer.add_image(np.zeros((2, 4, 5)), name="a", axis_labels=("c", "y", "x"))
    viewer.add_labels(np.ones((4, 5), dtype=int), name="m")
    controls = dock().controls
    heard = []
    for name in ("inside", "dither", "weights", "palettes", "channels"):
        box = getattr(controls, name)
        box.changed.connect(lambda value, name=name: heard.append((name, value)))
        for choice in (box.choices[-1], box.choices[0]):
            if choice != box.value:
                heard.clear()
                box.value = choice
                assert (name, choice) in heard
                assert heard.count((name, choice)) == 1
