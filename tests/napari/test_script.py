"""Scripts make the layers again."""

import numpy as np
import pytest
from napari.utils.colormaps import Colormap
from numpy.testing import assert_array_equal, assert_equal
from pandas.testing import assert_frame_equal
from qtpy.QtWidgets import QApplication
from skimage import data

import napari
from napari_kmeans import kmeans_palette, quantize_layer
from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.script import as_python
from napari_window import press


def script_of(widget, viewer, layer):
    """Copy the script that makes a layer."""
    viewer.layers.selection.active = layer
    press(widget.palette_panel.copy_python)
    return QApplication.clipboard().text()


def assert_script_remakes(widget, viewer, layer, monkeypatch, name=None):
    """The script adds a layer that is like `layer` in all that napari saves of it.

    It is called after its source, and by a number where the name is taken.
    """
    script = script_of(widget, viewer, layer)
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    before = list(viewer.layers)

    exec(compile(script, "script", "exec"), {})

    # Images of several channels come together.
    kind, channel = type(layer), record_of(layer).channel
    added = [made for made in viewer.layers if made not in before]
    assert {type(made) for made in added} == {kind}
    (made,) = (made for made in added if record_of(made).channel == channel)
    data, attributes, kind = made.as_layer_data_tuple()
    wanted_data, wanted, wanted_kind = layer.as_layer_data_tuple()
    assert kind == wanted_kind
    called, _, _ = wanted.pop("name").partition(" [")
    assert attributes.pop("name").partition(" [")[0] == (name or called)
    levels = (
        zip(data, wanted_data, strict=True)
        if layer.multiscale
        else [(data, wanted_data)]
    )
    for one, other in levels:
        assert_array_equal(one, other)
        assert one.dtype == other.dtype
    for attribute in ("metadata", "data", "properties", "visible"):
        attributes.pop(attribute, None)
        wanted.pop(attribute, None)
    if kind == "labels":
        assert_frame_equal(attributes.pop("features"), wanted.pop("features"))
        for label in range(len(layer.features) + 1):
            assert_array_equal(made.get_color(label), layer.get_color(label))
        del attributes["colormap"], wanted["colormap"]
    assert attributes.keys() == wanted.keys()
    for name, value in wanted.items():
        assert_equal(attributes[name], value, err_msg=name)
    return script


CORNERS = np.array([[2, 3], [2, 200], [9, 200], [9, 3]])


# Of the last two axes into each other.
TURN = np.eye(4)
TURN[-2:, -2:] = [[0.8, -0.6], [0.6, 0.8]]


@pytest.mark.parametrize("output", ["image", "labels"])
@pytest.mark.parametrize(
    ("image", "chosen"),
    [
        pytest.param(data.astronaut()[:60, :50], {}, id="rgb"),
        pytest.param(data.camera()[:60, :50], {"init": "random", "rng": 3}, id="gray"),
        pytest.param(
            np.dstack([data.astronaut()[:60, :50], np.eye(60, 50, dtype="u1") * 255]),
            {"color_space": "lab", "dither": "ordered", "fixed": "#ff0000"},
            id="rgba",
        ),
        pytest.param(data.astronaut()[:9, :60], {"palettes": 0}, id="slices"),
        pytest.param(data.astronaut()[:60, :9, :2], {"channels": 2}, id="channels"),
        pytest.param(
            data.astronaut()[:60, :9].transpose(2, 0, 1), {"channels": 0}, id="first"
        ),
        pytest.param(
            np.where(np.eye(9)[:, None, :, None] > 0, np.nan, np.ones((9, 2, 9, 60))),
            {"channels": 1},
            id="channels that are not finite",
        ),
        pytest.param(
            np.stack([data.astronaut()[:9, :60], data.astronaut()[60:69, :60]]),
            {"channels": 1, "palettes": 3},
            id="channels before slices",
        ),
        pytest.param(
            np.stack([data.astronaut()[:9, :60], data.astronaut()[60:69, :60]]),
            {"channels": 3, "palettes": 0},
            id="channels and slices",
        ),
        pytest.param(
            np.where(data.camera()[:60, :50] > 200, np.nan, data.camera()[:60, :50]),
            {},
            id="not finite",
        ),
    ],
)
def test_script_makes_the_layer_again(
    viewer, dock, finish, monkeypatch, image, chosen, output
):
    is_rgb = image.ndim == 3 and not {"channels", "palettes"} & set(chosen)
    n_axes = image.ndim - is_rgb
    source = viewer.add_image(
        image,
        name="it's",
        rgb=is_rgb,
        scale=np.arange(1, n_axes + 1),
        translate=[3] * n_axes,
        rotate=30 if n_axes == 2 else TURN[-n_axes:, -n_axes:],
        shear=np.arange(n_axes * (n_axes - 1) // 2) / 10,
        affine=np.diag([*np.arange(1, n_axes + 1), 1]),
        units=["um"] * n_axes,
        axis_labels="tzyx"[-n_axes:],
        blending="additive",
        opacity=0.7,
        interpolation2d="cubic",
        rendering="attenuated_mip",
        attenuation=0.5,
    )
    if not is_rgb:
        source.contrast_limits = 20, 150
        source.gamma = 0.5
        source.colormap = "magma"
    widget = dock()
    widget.controls.k.value = 4
    widget.controls.output.value = output
    for name, value in chosen.items():
        getattr(widget.controls, name).value = value

    press(widget.run_panel.run)
    finish(widget)

    assert_script_remakes(widget, viewer, viewer.layers[-1], monkeypatch)


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("kind", ["labels", "shapes"])
@pytest.mark.parametrize("palettes", [None, 0])
def test_script_draws_the_mask(
    viewer, dock, finish, monkeypatch, kind, offset, palettes
):
    viewer.add_image(data.astronaut()[:60].reshape(3, 20, 512, 3), rgb=True, name="a")
    if kind == "labels":
        labels = (data.camera()[:20] > 150).astype(int)
        viewer.add_labels(labels, translate=(offset, 0), name="m")
    else:
        corners = [[[2, 3], [2, 200], [9, 200], [9, 3]]]
        viewer.add_shapes(corners, translate=(offset, 0), name="m")
    widget = dock()
    widget.controls.inside.value = viewer.layers["m"]
    widget.controls.palettes.value = palettes
    widget.controls.k.value = 4

    press(widget.run_panel.run)
    finish(widget)

    assert_script_remakes(widget, viewer, viewer.layers[-1], monkeypatch)


@pytest.mark.parametrize("palettes", [None, 0])
@pytest.mark.parametrize("kind", ["labels", "shapes"])
def test_script_draws_the_mask_of_channels(
    viewer, dock, finish, monkeypatch, kind, palettes
):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    viewer.add_image(np.moveaxis(stack, -1, 1), rgb=False, name="a", scale=(9, 2, 1, 1))
    if kind == "labels":
        labels = (data.camera()[:60] > 150).astype(int).reshape(3, 1, 20, 512)
        viewer.add_labels(labels, scale=(9, 6, 1, 1), translate=(0, 2, 0, 0), name="m")
    else:
        # Drawn in the last of the channels at each time.
        drawn = [np.insert(CORNERS, 0, [[9 * t], [4]], axis=1) for t in range(3)]
        viewer.add_shapes(drawn, name="m")
    widget = dock()
    widget.controls.channels.value = 1
    widget.controls.weights.value = None
    widget.controls.inside.value = viewer.layers["m"]
    widget.controls.palettes.value = palettes
    widget.controls.k.value = 4
    widget.controls.output.value = "labels"
    press(widget.run_panel.run)
    finish(widget)
    result = viewer.layers[-1]

    if palettes is None:
        inside = np.zeros((3, 20, 512), dtype=bool)
        inside[:, 2:10, 3:201] = True
        if kind == "labels":
            inside = labels[:, 0] > 0
        expected = kmeans_palette(stack, 4, mask=inside).palette
        # Sorted by the sum of channels there, as nobody says that these are colors.
        found = record_of(result).palette
        assert {*map(tuple, found)} == {*map(tuple, expected)}
    assert_script_remakes(widget, viewer, result, monkeypatch)


@pytest.mark.parametrize("output", ["image", "labels"])
def test_script_makes_the_layer_of_a_pyramid_with_slices(
    viewer, dock, finish, monkeypatch, output
):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    pyramid = [stack, stack[:, ::2, ::2]]
    viewer.add_image(pyramid, multiscale=True, rgb=True, name="a")
    widget = dock()
    widget.controls.k.value = 4
    widget.controls.palettes.value = 0
    widget.controls.output.value = output
    press(widget.run_panel.run)
    finish(widget)

    assert_script_remakes(widget, viewer, viewer.layers[-1], monkeypatch)


@pytest.mark.parametrize("multiscale", [False, True])
def test_script_makes_the_layer_of_each_channel(
    viewer, dock, finish, monkeypatch, multiscale
):
    for i, name in enumerate("ab"):
        channel = data.astronaut()[:60, :50, i]
        levels = [channel, channel[::2, ::2]]
        viewer.add_image(
            levels if multiscale else channel,
            multiscale=multiscale,
            name=name,
            colormap=["magenta", "green"][i],
            contrast_limits=(i, 200),
        )
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    viewer.layers.selection = set(viewer.layers)
    widget.controls.channels.value = "layers"
    widget.controls.k.value = 4
    widget.controls.output.value = "both"
    press(widget.run_panel.run)
    finish(widget)

    for result in viewer.layers[2:]:
        assert_script_remakes(widget, viewer, result, monkeypatch)


def test_script_is_one_call_with_what_is_not_the_default(result, viewer):
    widget, image, _ = result(data.camera()[:64, :50], k=5)
    assert script_of(widget, viewer, image).splitlines() == [
        "import napari",
        "from napari_kmeans import quantize_layer",
        "",
        "viewer = napari.current_viewer()",
        "# The layer that is clustered.",
        "quantize_layer(",
        "    viewer.layers['a'],",
        "    k=5,",
        "    channel_weights=None,",
        "    viewer=viewer,",
        ")",
    ]


def test_script_makes_a_layer_that_lies_and_looks_as_its_source_does_now(
    result, viewer, monkeypatch
):
    widget, image, labels = result(data.camera()[:64, :50])
    mine = Colormap([[0, 0, 0, 1], [0.3, 0.5, 0.7, 1]], name="mine")
    for layer in viewer.layers:
        layer.translate = (4, 5)
    for layer in viewer.layers[:2]:
        layer.colormap = mine
        layer.opacity = 0.4
    assert_script_remakes(widget, viewer, image, monkeypatch)
    script = script_of(widget, viewer, labels)
    exec(compile(script, "script", "exec"), {})
    assert_array_equal(viewer.layers[-1].translate, (4, 5))


def test_script_takes_the_palette_that_the_result_took(
    result, viewer, finish, monkeypatch
):
    widget, image, _ = result(data.astronaut()[:64, :50])
    widget.controls.source.value = viewer.layers["a"]
    widget.controls.palette.value = image
    press(widget.run_panel.run)
    finish(widget)
    script = assert_script_remakes(widget, viewer, viewer.layers[-2], monkeypatch)
    assert f"palette={record_of(image).palette.tolist()}," in script


def test_script_calls_layers_as_they_are_called_now(viewer, dock, finish, monkeypatch):
    source = viewer.add_image(data.astronaut()[:64, :50], name="before")
    mask = viewer.add_labels(np.tri(64, 50, dtype=int), name="there")
    widget = dock()
    widget.controls.inside.value = mask
    press(widget.run_panel.run)
    finish(widget)
    result = viewer.layers["before in 16 colors"]
    source.name, mask.name = "after", "here"
    # Others have the names that these had.
    viewer.add_image(np.zeros((9, 9)), name="before")
    viewer.add_labels(np.zeros((9, 9), dtype=int), name="there")

    script = assert_script_remakes(
        widget, viewer, result, monkeypatch, "after in 16 colors"
    )

    assert "# The layer that is clustered, which was called 'before'." in script
    assert "fitted, which was called 'there'." in script


def test_script_says_what_was_removed(viewer, dock, finish):
    viewer.add_image(data.astronaut()[:64, :50], name="gone")
    widget = dock()
    press(widget.run_panel.run)
    finish(widget)
    viewer.layers.remove("gone")

    script = script_of(widget, viewer, viewer.layers[0])

    assert "It was removed: open it again, as 'gone'." in script
    assert "viewer.layers['gone']" in script


@pytest.mark.parametrize("multiscale", [False, True])
def test_script_makes_replaced_colors(result, viewer, qtbot, monkeypatch, multiscale):
    photo = data.astronaut()[:64, :50]
    source = [photo, photo[::2, ::2]] if multiscale else photo
    widget, image, labels = result(source, multiscale=multiscale)
    red = np.array([255, 0, 0], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: red)
    widget.palette_panel.table.opened.emit(1)
    full = 0 if multiscale else slice(None)
    qtbot.waitUntil(lambda: (image.data[full][labels.data[full] == 2] == red).all())

    for layer in (image, labels):
        assert_script_remakes(widget, viewer, layer, monkeypatch)


def test_script_has_numbers_of_numpy_as_python_writes_them():
    viewer = napari.components.ViewerModel()
    image = viewer.add_image(data.camera()[:30, :40])
    one = np.uint8(1)
    (made,) = quantize_layer(
        image,
        np.int64(2),
        init=[one, np.uint8(200)],
        merged=[np.array([0, 1])],
        recolored={np.int64(0): np.uint8(7)},
        names={np.int64(0): "a"},
        output="labels",
    )
    script = as_python(made, viewer.layers)
    for line in ("k=2", "init=[1, 200]", "merged=((0, 1),)", "recolored={0: 7}"):
        assert f"    {line},\n" in script
    assert "    names={0: 'a'},\n" in script
