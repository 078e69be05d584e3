import re

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.plugins.io import save_layers
from npe2 import PluginManager
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image as PillowImage
from qtpy.QtWidgets import QFileDialog
from skimage import data

from napari_kmeans import (
    kmeans_palette,
    map_to_palette,
    quantize_layer,
    read_indexed,
    write_indexed,
)
from napari_kmeans._files.formats import format_of
from napari_kmeans._napari.writer import _fault, file_size

pytestmark = pytest.mark.usefixtures("discovered")

RGB = data.astronaut()[:60, :50]
STACK = RGB.reshape(3, 20, 50, 3)
GRAY = data.camera()[:60, :50]


def results_of(image, k=5, channel_axis=None, **attributes):
    """Give the image and the labels that become of an image, and its file."""
    viewer = ViewerModel()
    layer = viewer.add_image(image, name="a", **attributes)
    image, labels = quantize_layer(
        layer, k, output="both", channel_axis=channel_axis, viewer=viewer
    )
    return image, labels, file_size(*image.as_layer_data_tuple())


def save(layer, path):
    """Write a layer as the save dialog does when this plugin is chosen there."""
    kinds = [layer._type_string]
    (writer,) = (
        writer
        for writer in PluginManager.instance().iter_compatible_writers(kinds)
        if writer.command.startswith("napari-kmeans")
    )
    return save_layers(str(path), [layer], _writer=writer)


def opened(path):
    """Open a file as the open dialog does when this plugin is chosen there."""
    viewer = ViewerModel()
    (layer,) = viewer.open(str(path), plugin="napari-kmeans")
    return layer


@pytest.mark.parametrize("suffix", ["png", "gif", "tif"])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("image", [RGB, GRAY], ids=["rgb", "gray"])
def test_saved_results_come_back_as_labels_in_their_colors(
    tmp_path, suffix, which, image
):
    results = results_of(image)
    path = tmp_path / f"result.kmeans.{suffix}"

    save(results[which], path)
    layer = opened(path)

    assert isinstance(layer, Labels)
    assert_array_equal(layer.data, results[1].data)
    # Labels of one channel are in the colors of labels, and not in grays.
    colors = [results[1].get_color(label) for label in range(1, 6)]
    if which == 0 and image is GRAY:
        grays = results[0].metadata["napari-kmeans"]["palette"] / 255
        colors = np.column_stack([grays] * 3 + [np.ones(5)])
    for label, color in enumerate(colors, start=1):
        assert_allclose(layer.get_color(label), color, atol=1e-6)
    assert layer.features["index"].tolist()[:5] == [1, 2, 3, 4, 5]
    assert layer.opacity == 1
    # Others see the same colors.
    with PillowImage.open(path) as file:
        seen = np.asarray(file.convert("RGB"))
    octets = np.rint(np.array(colors)[:, :3] * 255)
    assert_array_equal(seen, octets[results[1].data - 1])


def test_palettes_keep_their_order_and_unused_colors(tmp_path):
    image, labels, _ = results_of(RGB)
    record = image.metadata["napari-kmeans"]
    labels.data[labels.data == 2] = 1

    save(labels, tmp_path / "a.png")

    assert_array_equal(read_indexed(tmp_path / "a.png").palette, record["palette"])


def test_16_bits_stay_16_bits_in_tiff(tmp_path):
    gray = GRAY * np.uint16(256) + np.uint16(3)
    image, _, _ = results_of(gray, contrast_limits=(0, 65535))
    palette = image.metadata["napari-kmeans"]["palette"]
    save(image, tmp_path / "a.tif")
    saved = read_indexed(tmp_path / "a.tif")
    assert_array_equal(saved.palette[:5, 0], palette)
    assert_array_equal(saved.palette[saved.labels][..., 0], image.data)


def test_labels_are_written_as_they_look(tmp_path):
    _, labels, _ = results_of(GRAY, contrast_limits=(0, 60))
    save(labels, tmp_path / "a.png")
    palette = read_indexed(tmp_path / "a.png").palette
    for label in range(1, 6):
        color = labels.get_color(label)[:3] * 255
        assert_allclose(palette[label - 1], color, atol=1e-3)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif"])
def test_stacks_come_back_where_they_were(tmp_path, suffix):
    places = {"scale": (5, 0.5, 0.25), "units": "um", "axis_labels": ("z", "y", "x")}
    _, labels, _ = results_of(STACK, rgb=True, **places)
    path = tmp_path / f"a.kmeans.{suffix}"

    save(labels, path)
    layer = opened(path)

    assert_array_equal(layer.data, labels.data)
    if suffix == "tif":
        assert_allclose(layer.scale, labels.scale)
        assert layer.units == labels.units
        assert layer.axis_labels == labels.axis_labels


@pytest.mark.parametrize("axis", [0, 1, 3])
@pytest.mark.parametrize("suffix", ["gif", "tif"])
def test_files_of_labels_have_no_axis_of_channels(tmp_path, suffix, axis):
    names = "".join(np.insert(list("zyx"), axis, "c"))
    _, labels, _ = results_of(
        np.moveaxis(STACK, -1, axis),
        channel_axis=axis,
        rgb=False,
        scale=np.insert([5, 0.5, 0.25], axis, 1),
        units=("um",) * 4,
        axis_labels=tuple(names),
    )
    path = tmp_path / f"a.kmeans.{suffix}"

    save(labels, path)
    layer = opened(path)

    assert_array_equal(layer.data, labels.data.reshape(STACK.shape[:-1]))
    if suffix == "tif":
        assert_allclose(layer.scale, (5, 0.5, 0.25))
        assert layer.axis_labels == ("z", "y", "x")


def test_opacity_is_kept(tmp_path):
    rgba = np.dstack([RGB, GRAY])
    image, labels, _ = results_of(rgba)
    for layer in (image, labels):
        save(layer, tmp_path / "a.png")
        saved = read_indexed(tmp_path / "a.png")
        assert_array_equal(saved.palette[saved.labels], image.data)


@pytest.mark.parametrize("is_result", [True, False])
def test_colors_hidden_by_opacity_need_no_entry(tmp_path, is_result):
    image = np.dstack([RGB, (np.median(GRAY) < GRAY) * np.uint8(255)])
    hidden = image[..., 3] == 0
    assert len(np.unique(image[hidden], axis=0)) > 256
    layer, _, _ = results_of(image)
    assert_array_equal(layer.data[hidden], image[hidden])
    if not is_result:
        layer.metadata = {}

    save(layer, tmp_path / "a.png")

    saved = read_indexed(tmp_path / "a.png")
    shown = saved.palette[saved.labels]
    assert_array_equal(shown[~hidden], layer.data[~hidden])
    assert not shown[hidden, 3].any()
    assert len(saved.palette) == 5


def test_unlabeled_pixels_are_clear(tmp_path):
    labels = Labels(np.array([[0, 1, 2], [2, 0, 1]]))
    save(labels, tmp_path / "a.png")
    saved = read_indexed(tmp_path / "a.png")
    assert_array_equal(saved.labels, [[2, 0, 1], [1, 2, 0]])
    assert_array_equal(saved.palette[:, 3], [255, 255, 0])
    assert_allclose(saved.palette[0] / 255, labels.get_color(1), atol=1 / 255)


@pytest.mark.parametrize("numbers", [(7, 100_000), (-1, 2), (-3, 1)])
def test_colors_of_any_labels_are_written(tmp_path, numbers):
    low, high = numbers
    labels = Labels(np.array([[low, high], [low, 0]]))
    save(labels, tmp_path / "a.png")
    saved = read_indexed(tmp_path / "a.png")
    assert saved.labels[0, 0] == saved.labels[1, 0]
    assert len(np.unique(saved.labels)) == 3
    for label, entry in zip(numbers, saved.labels[0], strict=True):
        color = saved.palette[entry] / 255
        assert_allclose(color, labels.get_color(label), atol=1 / 255)


def test_image_of_few_colors_is_written_wherever_it_comes_from(tmp_path):
    palette = kmeans_palette(RGB, 9).palette
    image = palette[map_to_palette(RGB, palette)]
    save(Image(image, rgb=True), tmp_path / "a.png")
    saved = read_indexed(tmp_path / "a.png")
    assert_array_equal(saved.palette[saved.labels], image)


def test_changed_result_is_written_as_it_is(tmp_path):
    image, _, _ = results_of(RGB)
    image.data[3, 3] = (1, 2, 3)
    save(image, tmp_path / "a.png")
    saved = read_indexed(tmp_path / "a.png")
    assert_array_equal(saved.palette[saved.labels], image.data)


def test_float_image_is_written_as_it_looks(tmp_path):
    image, _, _ = results_of(GRAY / 255, colormap="green", contrast_limits=(0, 1))
    save(image, tmp_path / "a.png")
    saved = read_indexed(tmp_path / "a.png")
    shown = saved.palette[saved.labels]
    assert_allclose(shown[..., 1], image.data * 255, atol=1)
    assert_array_equal(shown[..., 0], 0)


# What files cannot hold.


RGBA = np.dstack([RGB, GRAY])
MANY = np.arange(70_000).reshape(700, 100)


@pytest.mark.parametrize(
    ("layer", "name", "message"),
    [
        (Image(STACK, rgb=True), "a.gif", "a GIF file does not hold 1,898 colors, but"),
        (
            Image(RGB, rgb=True),
            "a.png",
            "256 at most; choose .kmeans.tif or fewer colors",
        ),
        (
            Labels(STACK[None, ..., 0]),
            "a.png",
            "hold a stack of stacks; choose .kmeans.tif",
        ),
        (
            Labels(STACK[None, ..., 0]),
            "a.gif",
            "hold a stack of stacks; choose .kmeans.tif",
        ),
        (
            Image(RGBA // 64 * 64),
            "a.tif",
            "with transparent colors; choose .kmeans.png",
        ),
        (Image(RGBA // 64 * 64), "a.gif", "nor several clear ones; choose .kmeans.png"),
        (
            Image(np.stack([RGBA] * 2) // 64 * 64, rgb=True),
            "a.tif",
            "with transparent colors; choose .kmeans.png",
        ),
        (Image(GRAY // 99 * np.uint16(999)), "a.png", "of 16 bits; choose .kmeans.tif"),
        (Labels(MANY), "a.tif", "not hold 70,000 colors, but 65,536 at most, and a"),
        (Labels(MANY), "a", "does not hold 70,000 colors, but 256 at most, and a TIFF"),
        (
            Labels(MANY[:3]),
            "a.gif",
            "hold 300 colors, but 256 at most; choose .kmeans.tif or",
        ),
        (
            Image(GRAY),
            "a.jpg",
            "choose a name that ends in .kmeans.png, .png, .gif or .tif",
        ),
    ],
)
def test_what_a_file_cannot_hold_is_told(tmp_path, layer, name, message):
    layer.name = "mine"
    with pytest.raises(OSError, match=re.escape(message)) as raised:
        save(layer, tmp_path / name)
    assert str(raised.value).startswith(f"“mine” cannot be saved as {name}: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (MANY, "“mine” has 70,000 colors, and palette files hold 256 (.png, .gif) or"),
        (np.full((4, 5), np.nan), "“mine” has no colors: none of its pixels is a"),
    ],
)
def test_image_that_no_file_can_hold_is_told(tmp_path, image, message):
    layer = Image(image, name="mine", contrast_limits=(0, 1))
    with pytest.raises(OSError, match=re.escape(message)):
        save(layer, tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF"])
@pytest.mark.parametrize("n_axes", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "palette",
    [
        np.zeros((256, 3), np.uint8),
        np.zeros((257, 3), np.uint8),
        np.zeros((65536, 3), np.uint8),
        np.zeros((65537, 3), np.uint8),
        np.zeros(3, np.uint16),
        np.array([[1, 2, 3, 255], [1, 2, 3, 0]], np.uint8),
        np.array([[1, 2, 3, 255], [1, 2, 3, 99]], np.uint8),
        np.array([[1, 2, 3, 0], [1, 2, 3, 0]], np.uint8),
    ],
    ids=str,
)
def test_formats_hold_what_the_core_writes(tmp_path, form, n_axes, palette):
    suffix = {"PNG": ".png", "GIF": ".gif", "TIFF": ".tif"}[form]
    try:
        labels = np.zeros((2,) * n_axes, np.uint8)
        write_indexed(tmp_path / f"a{suffix}", labels, palette)
    except (TypeError, ValueError):
        is_held = False
    else:
        is_held = True
    form = format_of(f"a{suffix}")
    assert (_fault(form, n_axes, palette) is None) == is_held


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("coffee in 5 labels", Labels(MANY[:2]), "coffee in 5 labels.kmeans.png"),
        (
            "scan_0.5um in 5 labels",
            Labels(MANY[:2]),
            "scan_0.5um in 5 labels.kmeans.png",
        ),
        ("a", Labels(STACK[..., 0]), "a.kmeans.tif"),
        ("a", Labels(MANY[:3]), "a.kmeans.tif"),
        ("a", Image(RGB, rgb=True), "a.kmeans.tif"),
        ("a", Image(GRAY * np.uint16(3)), "a.kmeans.tif"),
        ("a", Image(np.stack([RGBA] * 2) // 255 * 255, rgb=True), "a.kmeans.png"),
    ],
)
def test_name_without_suffix_gets_one(tmp_path, name, layer, expected):
    written = save(layer, tmp_path / name)
    assert written == [str(tmp_path / expected)]
    assert [file.name for file in tmp_path.iterdir()] == [expected]


def test_name_without_suffix_replaces_no_file(tmp_path):
    (tmp_path / "a.kmeans.png").write_text("mine")
    with pytest.raises(
        OSError, match=r"a\.kmeans\.png exists and is not replaced unasked"
    ):
        save(Labels(MANY[:2]), tmp_path / "a")
    assert (tmp_path / "a.kmeans.png").read_text() == "mine"


def test_opaque_colors_need_no_opacity(tmp_path):
    rgba = np.dstack([RGB, np.full_like(GRAY, 255)])
    image, *_ = results_of(rgba)
    save(image, tmp_path / "a.tif")
    saved = read_indexed(tmp_path / "a.tif")
    assert_array_equal(saved.palette[saved.labels], image.data[..., :3])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("which", [0, 1])
def test_pixels_that_are_no_numbers_are_a_color_of_their_own(tmp_path, suffix, which):
    gray = GRAY / 255
    gray[:9] = np.nan
    results = results_of(gray, contrast_limits=(0, 1))
    save(results[which], tmp_path / f"a.{suffix}")
    saved = read_indexed(tmp_path / f"a.{suffix}")
    assert (saved.labels[:9] == 5).all()
    assert_array_equal(saved.labels[9:], results[1].data[9:] - 1)
    assert saved.palette[5].tolist() == [0] * saved.palette.shape[1]


@pytest.fixture
def save_in_window(make_napari_viewer, monkeypatch, tmp_path):
    """Save selected layers in a window, with this plugin if it is offered."""

    def save(layers, name):
        viewer = make_napari_viewer(show=True)
        for layer in layers:
            viewer.add_layer(layer)
        viewer.layers.selection = set(layers)
        offered = []

        def choose(*_, filter, **__):  # noqa: A002
            offered.extend(x for x in filter.split(";;") if "palette file" in x)
            return str(tmp_path / name), (offered or filter.split(";;"))[0]

        monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
        # napari shows what is raised here as a notification.
        try:
            viewer.window._qt_viewer._save_layers_dialog(selected=True)
        except OSError as error:
            return offered, str(error)
        return offered, None

    return save


def test_stack_in_the_window_becomes_a_file_or_a_notification(save_in_window, tmp_path):
    _, told = save_in_window([Labels(STACK[None, ..., 0], name="mine")], "a.png")
    assert list(tmp_path.iterdir()) == []
    message = "a PNG file does not hold a stack of stacks; choose .kmeans.tif"
    assert told == f"“mine” cannot be saved as a.png: {message}"


def test_name_that_the_window_proposes_is_good(save_in_window, tmp_path):
    offered, _ = save_in_window([Labels(STACK[..., 0], name="mine")], "mine")
    assert len(offered) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["mine.kmeans.tif"]


def test_plugin_named_in_a_script_tells_the_same(tmp_path):
    viewer = ViewerModel()
    viewer.add_labels(STACK[None, ..., 0], name="mine")
    with pytest.raises(OSError, match="does not hold a stack of stacks; choose"):
        viewer.layers.save(str(tmp_path / "a.png"), plugin="napari-kmeans")


# Where pixels lie.


@pytest.mark.parametrize("name", ["a.kmeans.png", "a.kmeans.tif"])
@pytest.mark.parametrize("units", [("um", "um"), ("mm", "um"), ("nm", "nm")])
@pytest.mark.parametrize("which", [0, 1])
def test_calibration_of_a_plane_comes_back(tmp_path, name, units, which):
    results = results_of(RGB, scale=(0.9375, 0.325), units=units)
    save(results[which], tmp_path / name)
    layer = opened(tmp_path / name)
    assert_allclose(layer.scale, (0.9375, 0.325), rtol=1e-7 * (name == "a.kmeans.tif"))
    assert layer.units == results[which].units
    assert layer.axis_labels == ("y", "x")


def test_stack_may_have_another_unit_for_its_depth(tmp_path):
    places = {"scale": (1, 0.5, 0.5), "units": ("mm", "um", "um")}
    _, labels, _ = results_of(STACK, rgb=True, **places)
    save(labels, tmp_path / "a.kmeans.tif")
    layer = opened(tmp_path / "a.kmeans.tif")
    assert_allclose(layer.scale, (1, 0.5, 0.5))
    assert layer.units == labels.units


def test_pyramid_is_written_at_full_resolution(tmp_path):
    image, labels, _ = results_of([RGB, RGB[::2, ::2]], multiscale=True)
    for layer in (image, labels):
        save(layer, tmp_path / "a.png")
        assert read_indexed(tmp_path / "a.png").labels.shape == (60, 50)


@pytest.mark.parametrize("image", [RGB, GRAY, STACK], ids=["rgb", "gray", "stack"])
def test_bytes_are_those_of_the_saved_file(tmp_path, image):
    *layers, (name, n_bytes) = results_of(image, rgb=image.shape[-1] == 3)
    assert name == ("TIF" if image is STACK else "PNG")
    for layer in layers:
        path = tmp_path / f"a.{name}".lower()
        save(layer, path)
        assert path.stat().st_size == n_bytes


@pytest.mark.parametrize(("image", "axis"), [(GRAY, None), (STACK, 0), (STACK, 3)])
def test_labels_that_are_known_change_no_file(image, axis):
    layer, labels, _ = results_of(image, channel_axis=axis, rgb=False)
    described = layer.as_layer_data_tuple()
    assert file_size(*described, labels.data) == file_size(*described)


def test_napari_keeps_writing_images_unless_it_is_told_otherwise():
    manager = PluginManager.instance()
    for name in ("a.png", "a.gif", "a.tif", "a"):
        writer, _ = manager.get_writer(name, ["image"])
        assert not writer.command.startswith("napari-kmeans")
    writer, _ = manager.get_writer("a.tif", ["labels"])
    assert not writer.command.startswith("napari-kmeans")
    # Nobody else writes labels to these.
    writer, _ = manager.get_writer("a.png", ["labels"])
    assert writer.command == "napari-kmeans.write_labels"
    # A name of this plugin's own asks for it.
    for kind in ("image", "labels"):
        for suffix in ("png", "gif", "tif", "tiff"):
            writer, _ = manager.get_writer(f"a.kmeans.{suffix}", [kind])
            assert writer.command == f"napari-kmeans.write_{kind}"
