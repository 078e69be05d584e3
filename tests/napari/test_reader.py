"""What opening files shows: palette files by name or command, all others as napari."""

import re

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.plugins._npe2 import get_readers
from napari.utils.notifications import notification_manager
from numpy.testing import assert_array_equal
from PIL import Image as PillowImage
from qtpy.QtWidgets import QFileDialog

from napari_kmeans import ImageMetadata, write_indexed
from napari_kmeans._napari.command import open_palette_file
from napari_kmeans._napari.reader import get_reader

pytestmark = pytest.mark.usefixtures("discovered")

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
PALETTE = np.array([[0, 0, 90], [0, 200, 0], [255, 250, 240]], np.uint8)
GRAY = (np.arange(20 * 24) % 251).astype(np.uint8).reshape(20, 24)
RGB = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=-1)


def imagej(axes, dtype=np.uint16, **keywords):
    """Write a file for ImageJ whose axes have 2 entries, and 20 rows of 24 pixels."""
    lengths = {"Y": 20, "X": 24, "S": 3}
    shape = [lengths.get(axis, 2) for axis in axes]
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    metadata = {"axes": axes, "unit": "um", "spacing": 2.0} | keywords

    def write(path):
        tifffile.imwrite(
            path, pixels, imagej=True, metadata=metadata, resolution=(5, 5)
        )

    return write


def tiff(pixels, **keywords):
    return lambda path: tifffile.imwrite(path, pixels, **keywords)


def pillow(image, **keywords):
    return lambda path: image.save(path, **keywords)


def pages(path):
    with tifffile.TiffWriter(path) as file:
        for i in range(3):
            file.write(GRAY + np.uint8(i), contiguous=False)


STACK = np.stack([GRAY, GRAY + np.uint8(1), GRAY // 2])
LUT = np.stack([np.arange(256), np.zeros(256), np.arange(256)[::-1]]).astype(np.uint8)
FRAMES = [PillowImage.fromarray(np.roll(RGB, i, axis=0)) for i in range(3)]
FILES = {
    "CYX": ("tif", imagej("CYX")),
    "ZCYX": ("tif", imagej("ZCYX")),
    "TZCYX": ("tif", imagej("TZCYX")),
    "TYX": ("tif", imagej("TYX")),
    "ZYX float": ("tif", imagej("ZYX", np.float32)),
    "YXS": ("tif", imagej("YXS", np.uint8)),
    "ZYXS": ("tif", imagej("ZYXS", np.uint8)),
    "stack with a Fiji LUT": ("tif", imagej("ZYX", np.uint8, LUTs=[LUT])),
    "channels with Fiji LUTs": ("tif", imagej("CYX", np.uint16, LUTs=[LUT, LUT])),
    "OME with channels": (
        "tif",
        tiff(STACK, ome=True, metadata={"axes": "CYX", "PhysicalSizeX": 0.3}),
    ),
    "plane": ("tif", tiff(GRAY)),
    "RGB": ("tif", tiff(RGB, photometric="rgb")),
    "RGB 16 bits": ("tiff", tiff(RGB * np.uint16(257), photometric="rgb")),
    "RGBA": ("tif", tiff(np.dstack([RGB, GRAY]), photometric="rgb")),
    "planar": (
        "tif",
        tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"),
    ),
    "four bands": ("tif", tiff(np.dstack([RGB, GRAY]), photometric="minisblack")),
    "float with NaN": ("tif", tiff(np.where(GRAY < 9, np.nan, GRAY / 3))),
    "big-endian": ("tif", tiff(GRAY.astype(">u2"), byteorder=">")),
    "pages": ("tif", pages),
    "signed": ("tif", tiff(GRAY.astype(np.int16) - 99)),
    "bool": ("tif", tiff(GRAY > 99)),
    "Deflate": ("tif", tiff(GRAY, compression="zlib")),
    "gray": ("png", pillow(PillowImage.fromarray(GRAY))),
    "colors": ("png", pillow(PillowImage.fromarray(RGB))),
    "opacity": ("png", pillow(PillowImage.fromarray(np.dstack([RGB, GRAY])))),
    "gray with opacity": ("png", pillow(PillowImage.fromarray(GRAY).convert("LA"))),
    "16 bits": ("png", lambda p: iio.imwrite(p, GRAY * np.uint16(257))),
    "1 bit": ("png", pillow(PillowImage.fromarray(GRAY > 99))),
    "APNG": ("png", pillow(FRAMES[0], save_all=True, append_images=FRAMES[1:])),
    "dpi": ("png", pillow(PillowImage.fromarray(GRAY), dpi=(96, 96))),
    "film": ("gif", pillow(FRAMES[0], save_all=True, append_images=FRAMES[1:])),
    "still": ("gif", pillow(FRAMES[0])),
    "palette": ("png", pillow(FRAMES[0].quantize(9))),
    "palette of TIFF": ("tif", pillow(FRAMES[0].quantize(9))),
}
# These have one palette: by a name of this plugin's own they are palette files.
INDEXED = {"still", "film", "palette", "palette of TIFF"}


def described(layers):
    """Tell all that layers are, but for who they are."""
    found = []
    for layer in layers:
        data, attributes, kind = layer.as_layer_data_tuple()
        found.append((kind, np.asarray(data), attributes))
    return found


def assert_same_layers(ours, theirs, but=()):
    assert len(ours) == len(theirs)
    for (kind, data, attributes), (kind2, data2, attributes2) in zip(
        described(ours), described(theirs), strict=True
    ):
        assert kind == kind2
        assert data.dtype == data2.dtype
        assert_array_equal(data, data2)
        assert attributes.keys() == attributes2.keys()
        for name in attributes.keys() - set(but):
            assert str(attributes[name]) == str(attributes2[name]), name


@pytest.mark.parametrize("kind", FILES)
def test_ordinary_names_are_left_to_napari(tmp_path, kind):
    suffix, write = FILES[kind]
    path = str(tmp_path / f"c.{suffix}")
    write(path)

    # One reader alone, so napari does not ask which.
    assert list(get_readers(path)) == ["napari"]
    ours, theirs = ViewerModel(), ViewerModel()
    theirs.open(path)
    for one in get_reader(path)(path):
        ours._add_layer_from_data(*one)
    assert_same_layers(ours.layers, theirs.layers, but=["name"])


@pytest.mark.parametrize("kind", sorted(FILES.keys() - INDEXED))
def test_files_without_a_palette_open_as_in_napari(tmp_path, kind):
    suffix, write = FILES[kind]
    path = str(tmp_path / f"c.kmeans.{suffix}")
    write(path)
    ours, theirs = ViewerModel(), ViewerModel()
    ours.open(path, plugin="napari-kmeans")
    theirs.open(path)
    assert_same_layers(ours.layers, theirs.layers)


def test_pixels_are_no_pixels_of_style_sheets(tmp_path):
    path = str(tmp_path / "c.kmeans.tif")
    pixels = ImageMetadata(axes="YX", scale=(2.0, 3.0), units=("px", "px"))
    write_indexed(path, LABELS, PALETTE, metadata=pixels)
    ((_, places, _),) = get_reader(path)(path)
    # napari would make css_pixel of "px".
    assert "px" not in places.get("units", ())


def test_stack_of_ordinary_files_is_that_of_napari(tmp_path):
    paths = [str(tmp_path / f"{i}.kmeans.png") for i in range(3)]
    for path, image in zip(paths, FRAMES, strict=True):
        image.save(path)
    ours, theirs = ViewerModel(), ViewerModel()
    ours.open(paths, stack=True, plugin="napari-kmeans")
    theirs.open(paths, stack=True)
    assert_same_layers(ours.layers, theirs.layers)
    assert ours.layers[0].data.shape == (3, *RGB.shape)


@pytest.mark.parametrize("suffix", ["png", "gif", "tif", "tiff", "PNG"])
def test_names_of_palette_files_open_as_labels(tmp_path, suffix):
    path = tmp_path / f"cells.kmeans.{suffix}"
    write_indexed(path, LABELS, PALETTE)
    viewer = ViewerModel()
    (layer,) = viewer.open(str(path), plugin="napari-kmeans")
    assert isinstance(layer, Labels)
    assert layer.name == "cells"
    assert_array_equal(layer.data, LABELS + 1)
    # Whoever does not choose this plugin still sees the file.
    (layer,) = viewer.open(str(path))
    assert isinstance(layer, Image)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "a.kmeans.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"got {path}: ") + ".+") as raised:
        ViewerModel().open(str(path), plugin="napari-kmeans")
    assert "\n" not in str(raised.value)


# The command.


@pytest.fixture
def choose(monkeypatch):
    """Choose files in the dialog, whose filters are noted."""
    filters = []

    def choose(*paths):
        def dialog(*_, filter):  # noqa: A002
            filters.append(filter)
            return list(map(str, paths)), filter

        monkeypatch.setattr(QFileDialog, "getOpenFileNames", dialog)
        return filters

    return choose


def messages():
    return [notification.message for notification in notification_manager.records]


def test_command_opens_palette_files_of_any_name(tmp_path, choose):
    # As 0.1.0 has named them.
    paths = [tmp_path / f"x.{suffix}" for suffix in ("png", "gif", "tif")]
    for path in paths:
        write_indexed(path, LABELS, PALETTE)
    viewer = ViewerModel()

    filters = choose(*paths)
    open_palette_file(viewer)

    assert filters == ["Palette files (*.png *.gif *.tif *.tiff)"]
    assert [layer.name for layer in viewer.layers] == ["x", "x [1]", "x [2]"]
    for layer in viewer.layers:
        assert isinstance(layer, Labels)
        assert_array_equal(layer.data, LABELS + 1)


def test_command_tells_what_it_cannot_open_and_opens_the_rest(tmp_path, choose):
    FRAMES[0].save(tmp_path / "photo.png")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    write_indexed(tmp_path / "x.png", LABELS, PALETTE)
    viewer, before = ViewerModel(), len(messages())

    choose(*(tmp_path / n for n in ("photo.png", "broken.gif", "gone.tif", "x.png")))
    open_palette_file(viewer)

    assert [layer.name for layer in viewer.layers] == ["x"]
    photo, broken, gone = messages()[before:]
    assert photo.startswith("“photo.png” has no palette to show: it is a PNG file")
    assert broken.startswith("“broken.gif” has no palette to show: ")
    assert gone == "“gone.tif” cannot be read: No such file or directory"


def test_command_may_be_cancelled(choose):
    choose()
    viewer = ViewerModel()
    open_palette_file(viewer)
    assert not viewer.layers


def test_other_names_are_kept_and_the_user_is_told_how_they_open(tmp_path):
    viewer, before = ViewerModel(), len(messages())
    viewer.add_labels(LABELS, name="x")
    for name in ("x.png", "x.kmeans.png"):
        path = str(tmp_path / name)
        assert viewer.layers.save(path, plugin="napari-kmeans") == [path]
    (message,) = messages()[before:]
    assert message == (
        "“x.png” opens as an image. To open it as labels, choose File > "
        "IO Utilities > Open palette file, or save it as .kmeans.png."
    )
