import npe2
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.plugins import _initialize_plugins
from npe2 import PluginManager
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image as PillowImage
from skimage import data, io

from napari_kmeans import kmeans_palette, map_to_palette, read_indexed
from napari_kmeans._napari._layers import read_source
from napari_kmeans._napari._numbers import measure_outcome
from napari_kmeans._napari._outcomes import quantize_source
from napari_kmeans._napari._results import Request, Results
from napari_kmeans._napari._settings import Settings

RGB = data.astronaut()[:60, :50]
STACK = RGB.reshape(3, 20, 50, 3)
GRAY = data.camera()[:60, :50]


@pytest.fixture(autouse=True, scope="module")
def discovered():
    """Find plugins, as napari does when it starts."""
    _initialize_plugins()


def ignore(_):
    """Do nothing with what a computation reports."""


def results_of(image, k=5, **attributes):
    """Give the image and the labels that become of an image, and its numbers."""
    viewer = ViewerModel()
    layer = viewer.add_image(image, name="a", **attributes)
    source = read_source([layer], None)
    request = Request((layer,), source, Settings(k=k, output="both"), None)
    outcome = quantize_source(source, request.settings, ignore)
    numbers = measure_outcome(source, outcome, {}, ignore)
    return *Results(viewer).add(request, outcome, update=False), numbers


def save(layer, path):
    """Write a layer as the save dialog does when this plugin is chosen there."""
    written = npe2.write(
        str(path), [layer.as_layer_data_tuple()], plugin_name="napari-kmeans"
    )
    assert written == [str(path)]


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
    path = tmp_path / f"result.{suffix}"

    save(results[which], path)
    layer = opened(path)

    assert isinstance(layer, Labels)
    assert_array_equal(layer.data, results[1].data)
    for label in range(1, 6):
        assert_allclose(layer.get_color(label), results[1].get_color(label), atol=1e-6)
    assert layer.features["index"].tolist()[:5] == [1, 2, 3, 4, 5]
    assert layer.opacity == 1
    # Others see the pixels that the image has.
    with PillowImage.open(path) as file:
        seen = np.asarray(file.convert("RGB"))
    expected = results[0].data.reshape(60, 50, -1)
    assert_array_equal(seen, np.broadcast_to(expected, seen.shape))


def test_palettes_keep_their_order_and_unused_colors(tmp_path):
    image, labels, _ = results_of(RGB)
    record = image.metadata["napari-kmeans"]
    labels.data[labels.data == 2] = 1

    save(labels, tmp_path / "a.png")

    assert_array_equal(read_indexed(tmp_path / "a.png").palette, record["palette"])


def test_16_bits_stay_16_bits_in_tiff(tmp_path):
    gray = GRAY * np.uint16(256) + np.uint16(3)
    image, labels, _ = results_of(gray, contrast_limits=(0, 65535))
    palette = image.metadata["napari-kmeans"]["palette"]
    for layer in (image, labels):
        save(layer, tmp_path / "a.tif")
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


@pytest.mark.parametrize("suffix", ["gif", "tif"])
def test_stacks_come_back_where_they_were(tmp_path, suffix):
    places = {"scale": (5, 0.5, 0.25), "units": "um", "axis_labels": ("z", "y", "x")}
    _, labels, _ = results_of(STACK, rgb=True, **places)
    path = tmp_path / f"a.{suffix}"

    save(labels, path)
    layer = opened(path)

    assert_array_equal(layer.data, labels.data)
    if suffix == "tif":
        assert_allclose(layer.scale, labels.scale)
        assert layer.units == labels.units
        assert layer.axis_labels == labels.axis_labels


def test_opacity_is_kept(tmp_path):
    rgba = np.dstack([RGB, GRAY])
    image, labels, _ = results_of(rgba)
    for layer in (image, labels):
        save(layer, tmp_path / "a.png")
        saved = read_indexed(tmp_path / "a.png")
        assert_array_equal(saved.palette[saved.labels], image.data)


def test_unlabeled_pixels_are_clear(tmp_path):
    labels = Labels(np.array([[0, 1, 2], [2, 0, 1]]))
    save(labels, tmp_path / "a.png")
    saved = read_indexed(tmp_path / "a.png")
    assert_array_equal(saved.labels, [[2, 0, 1], [1, 2, 0]])
    assert_array_equal(saved.palette[:, 3], [255, 255, 0])
    assert_allclose(saved.palette[0] / 255, labels.get_color(1), atol=1 / 255)


def test_colors_of_any_labels_are_written(tmp_path):
    labels = Labels(np.array([[7, 100_000], [7, 0]]))
    save(labels, tmp_path / "a.png")
    saved = read_indexed(tmp_path / "a.png")
    for label, entry in ((7, saved.labels[0, 0]), (100_000, saved.labels[0, 1])):
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
    image, labels, _ = results_of(GRAY / 255, colormap="green", contrast_limits=(0, 1))
    for layer in (image, labels):
        save(layer, tmp_path / "a.png")
        saved = read_indexed(tmp_path / "a.png")
        shown = saved.palette[saved.labels]
        assert_allclose(shown[..., 1], image.data * 255, atol=1)
        assert_array_equal(shown[..., 0], 0)


def test_photo_has_too_many_colors(tmp_path):
    n_colors = len(np.unique(RGB.reshape(-1, 3), axis=0))
    with pytest.raises(ValueError, match=f"at most 256 colors .* got {n_colors:,};"):
        save(Image(RGB, rgb=True), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_pyramid_is_written_at_full_resolution(tmp_path):
    image, labels, _ = results_of([RGB, RGB[::2, ::2]], multiscale=True)
    for layer in (image, labels):
        save(layer, tmp_path / "a.png")
        assert read_indexed(tmp_path / "a.png").labels.shape == (60, 50)


@pytest.mark.parametrize("image", [RGB, GRAY, STACK], ids=["rgb", "gray", "stack"])
def test_bytes_are_those_of_the_saved_file(tmp_path, image):
    *layers, numbers = results_of(image, rgb=image.shape[-1] == 3)
    name, n_bytes = numbers.file
    assert name == ("TIF" if image is STACK else "PNG")
    for layer in layers:
        path = tmp_path / f"a.{name}".lower()
        save(layer, path)
        assert path.stat().st_size == n_bytes
    assert f"{n_bytes:,} bytes as {name}" in str(numbers)


def test_file_without_a_palette_is_opened_as_an_image(tmp_path):
    io.imsave(tmp_path / "a.png", RGB)
    layer = opened(tmp_path / "a.png")
    assert isinstance(layer, Image)
    assert_array_equal(layer.data, RGB)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(Exception, match="not an image"):
        opened(tmp_path / "a.png")


def test_napari_keeps_writing_images_unless_it_is_told_otherwise():
    manager = PluginManager.instance()
    for name in ("a.png", "a.tif"):
        writer, _ = manager.get_writer(name, ["image"])
        assert not writer.command.startswith("napari-kmeans")
    writer, _ = manager.get_writer("a.tif", ["labels"])
    assert not writer.command.startswith("napari-kmeans")
    # Nobody else writes labels to these.
    writer, _ = manager.get_writer("a.png", ["labels"])
    assert writer.command == "napari-kmeans.write_labels"
