import threading

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from skimage import data

from napari_kmeans import write_palette
from napari_kmeans._napari import computation
from napari_kmeans._napari.widget import QuantizeWidget

RGB = data.astronaut()[:60, :50]
GRAY = data.camera()[:60, :50]
STACK = np.stack([GRAY] * 3)


@pytest.fixture
def told(qtbot):
    """Give what the widget tells of a press on its button, and of a preview."""

    def told(choose):
        viewer = ViewerModel()
        widget = QuantizeWidget(viewer)
        qtbot.addWidget(widget.native)
        for name in ("inserted", "removed"):
            getattr(viewer.layers.events, name).connect(widget.reset_choices)
        choose(viewer, widget.controls)
        n_layers = len(viewer.layers)
        widget.run_panel.run.native.click()
        qtbot.waitUntil(lambda: widget.run_panel.run.enabled, timeout=20_000)
        text = widget.run_panel.status.value
        # It is seen in the window, and nothing else happened.
        assert notification_manager.records[-1].message == text
        assert len(viewer.layers) == n_layers
        widget.run_panel.live.value = True
        qtbot.waitUntil(lambda: widget.run_panel._preview.is_settled, timeout=20_000)
        return text, widget.run_panel.status.value.removeprefix("No preview: ")

    yield told
    for thread in threading.enumerate():
        if thread.name == "napari-kmeans":
            thread.join(20)


def made_from(viewer, image, name):
    """Add an image and give it a palette, as that of a result."""
    record = {"palette": np.unique(image.reshape(-1, *image.shape[2:]), axis=0)[:4]}
    return viewer.add_image(
        image, name=name, metadata={"napari-kmeans": record}, contrast_limits=(0, 1)
    )


def result_of(other):
    def choose(viewer, controls, image):
        viewer.add_image(image, name="mine")
        controls.palette.value = made_from(viewer, other, "theirs")
        controls.source.value = viewer.layers["mine"]

    return choose


@pytest.mark.parametrize(
    ("image", "other", "text"),
    [
        (GRAY, RGB, "have 3 numbers each, and the pixels of “mine” one number: choose"),
        (RGB, GRAY, "have one number each, and the pixels of “mine” 3 numbers: choose"),
        (RGB, np.dstack([RGB, GRAY]), "have 4 numbers each, and the pixels of “mine”"),
        (
            GRAY,
            GRAY * 0 + 257.0,
            "are float64 from 257 to 257, which “mine” cannot have",
        ),
        (GRAY, GRAY * 0 + np.int64(-5), "are int64 from -5 to -5, which"),
        (GRAY > 99, GRAY, "cannot have, being bool: choose a palette that was made"),
    ],
)
def test_palette_of_another_kind_of_image(told, image, other, text):
    other = np.ascontiguousarray(other)
    for one in told(lambda viewer, controls: result_of(other)(viewer, controls, image)):
        assert one.startswith("The colors of “theirs” ")
        assert text in one


def from_file(path, image=RGB):
    def choose(viewer, controls):
        viewer.add_image(image, name="mine")
        controls.palette.value = "from file"
        controls.palette_file.value = path

    return choose


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.gpl", "hello", "“a.gpl” is no sound palette file: line 1 must be 'GIMP"),
        ("a.json", "{", "“a.json” is no sound palette file: "),
        ("a.npy", "abc", "“a.npy” is no sound palette file: it is not an array"),
        (
            "a.txt",
            "",
            "Palette file: choose a .gpl, .json, .npy, .hex or .pal file, not “a.txt”",
        ),
        (
            "a",
            None,
            "Palette file: choose a .gpl, .json, .npy, .hex or .pal file, not “a”",
        ),
    ],
)
def test_unsound_palette_file(told, tmp_path, name, content, text):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_text(content)
    for one in told(from_file(path)):
        assert one.startswith(text)


def test_missing_palette_file(told, tmp_path):
    for one in told(from_file(tmp_path / "a.gpl")):
        assert one.startswith(f"Palette file: {tmp_path / 'a.gpl'} cannot be read: No ")


@pytest.mark.parametrize(
    ("palette", "text"),
    [
        (np.arange(3, dtype="u1"), "have one number each, and the pixels of “mine” 3"),
        (np.zeros((2, 5), dtype="u1"), "have 5 numbers each, and the pixels of “mine”"),
        (np.full((2, 3), 0.3), "are float64 from 0.3 to 0.3, which “mine” cannot"),
    ],
)
def test_palette_file_of_another_kind(told, tmp_path, palette, text):
    write_palette(tmp_path / "a.npy", palette)
    for one in told(from_file(tmp_path / "a.npy")):
        assert one.startswith(f"The colors of “a.npy” {text}")


def inside(mask, image=RGB, **places):
    def choose(viewer, controls):
        viewer.add_image(image, name="mine", rgb=image is RGB)
        if mask is None:
            viewer.add_shapes(name="drawn", ndim=2)
        else:
            viewer.add_labels(mask, name="drawn", **places)
        controls.inside.value = viewer.layers["drawn"]

    return choose


@pytest.mark.parametrize(
    ("mask", "places"),
    [
        (np.zeros((60, 50), dtype=int), {}),
        (np.ones((60, 50), dtype=int), {"translate": (999, 0)}),
        (None, {}),
    ],
)
def test_mask_that_holds_no_pixel(told, mask, places):
    text, _ = told(inside(mask, **places))
    assert text == (
        "Nothing of “mine” is inside “drawn”: draw over a part of it, "
        "or choose “whole image”"
    )


def test_mask_that_leaves_a_slice_out(told):
    def choose(viewer, controls):
        mask = np.zeros((3, 60, 50), dtype=int)
        mask[1] = 1
        inside(mask, STACK)(viewer, controls)
        controls.palettes.value = 0

    text, _ = told(choose)
    assert text.startswith("“drawn” leaves out some slices of “mine” wholly: draw in")


def test_mask_of_more_axes(told):
    for one in told(inside(np.ones((3, 60, 50), dtype=int))):
        assert one.startswith(
            "Fit colors to: “drawn” has 3 axes, and “mine” 2: draw in"
        )


@pytest.mark.parametrize("mask", [False, True])
def test_image_without_a_number(told, mask):
    def choose(viewer, controls):
        image = np.full((60, 50), np.nan)
        image[0, 0] = 0 if mask else np.inf
        viewer.add_image(image, name="mine", contrast_limits=(0, 1))
        labels = np.ones((60, 50), dtype=int)
        labels[0, 0] = 0
        layer = viewer.add_labels(labels, name="drawn")
        controls.inside.value = layer if mask else None

    where = " inside “drawn”" if mask else ""
    for one in told(choose):
        assert one == (
            f"“mine” has no pixel{where} that is a number: all are NaN or infinite"
        )


def test_slice_without_a_number(told):
    def choose(viewer, controls):
        viewer.add_image(np.where(STACK > 0, STACK, np.nan), name="mine")
        viewer.layers[0].data[1] = np.nan
        controls.palettes.value = 0

    text, _ = told(choose)
    assert text.startswith("A slice of “mine” has no pixel that is a number")


def test_image_without_a_pixel(told):
    def choose(viewer, _):
        viewer.add_image(np.zeros((0, 5, 3), dtype=np.uint8), name="mine")

    with pytest.warns(RuntimeWarning, match="divide"):  # That is napari's.
        texts = told(choose)
    for one in texts:
        assert one == "“mine” has no pixels: its shape is (0, 5, 3)"


def test_pyramid_of_fewer_slices(told):
    def choose(viewer, controls):
        pyramid = [STACK, STACK[:2, ::2, ::2]]
        viewer.add_image(pyramid, multiscale=True, name="mine")
        controls.palettes.value = 0

    text, _ = told(choose)
    assert text.startswith("“mine” has 3 slices at full resolution and 2 at a coarser")


def test_opacity_with_a_sign(told):
    def choose(viewer, _):
        rgba = np.dstack([RGB, GRAY]).astype(np.int16)
        viewer.add_image(rgba, rgb=True, name="mine")

    for one in told(choose):
        assert (
            one == "“mine” is RGBA of int16: opacity takes unsigned integers or floats"
        )


def test_colors_of_unusual_numbers_have_no_color_space(qtbot):
    viewer = ViewerModel()
    widget = QuantizeWidget(viewer)
    qtbot.addWidget(widget.native)
    viewer.layers.events.inserted.connect(widget.reset_choices)
    viewer.add_image(RGB, name="usual")
    widget.controls.color_space.value = "lab"
    assert not widget.controls.color_space.native.isHidden()
    viewer.add_image(RGB.astype(np.int16), rgb=True, name="unusual")
    widget.controls.source.value = viewer.layers["unusual"]
    assert widget.controls.color_space.native.isHidden()
    assert widget.controls.request().settings.color_space == "rgb"


@pytest.mark.parametrize(
    ("fixed", "image", "text"),
    [
        ("rot", RGB, "Locked colors must be like #ff0000, red or numbers, got 'rot'"),
        ("1 2", RGB, "Locked colors must have 3 numbers each, got 2 in all"),
        ("1 2 300", RGB, "Locked colors must be between 0 and 255, got 300"),
        ("#ff0000", GRAY, "Locked colors must have 1 number each, got '#ff0000'"),
        ("nan", GRAY / 255, "Locked colors must be between -1.797"),
        ("1e300", (GRAY / 255).astype("f4"), "Locked colors must be between -3.402"),
        ("2", GRAY > 99, "Locked colors must be between 0 and 1, got 2"),
        ("1 2 3 4 5", GRAY, "Locked colors: there are 5, and Colors (k) is 4: raise"),
    ],
)
def test_locked_colors_that_cannot_be(told, fixed, image, text):
    def choose(viewer, controls):
        viewer.add_image(image, name="mine")
        controls.k.value = 4
        controls.fixed.value = fixed

    for one in told(choose):
        assert one.startswith(text)


def test_what_is_not_used_is_not_checked(qtbot):
    viewer = ViewerModel()
    widget = QuantizeWidget(viewer)
    qtbot.addWidget(widget.native)
    viewer.layers.events.inserted.connect(widget.reset_choices)
    viewer.add_image(GRAY, name="mine")
    controls = widget.controls
    controls.inside.value = viewer.add_labels(np.zeros((3, 60, 50), dtype=int))
    controls.fixed.value = "red"
    controls.palette.value = made_from(viewer, GRAY, "theirs")
    controls.source.value = viewer.layers["mine"]

    request = controls.request()

    assert request.source.mask is None
    assert request.settings.fixed is None


def test_data_that_cannot_be_read(told):
    is_there = True

    def read(block):
        if not is_there:
            raise OSError(5, "Input/output error", "share/a.zarr/0.0")
        return block

    def choose(viewer, _):
        nonlocal is_there
        lazy = da.from_array(GRAY).map_blocks(read, dtype=GRAY.dtype)
        viewer.add_image(lazy, name="mine")
        is_there = False

    text, _ = told(choose)
    assert text == "“mine”: share/a.zarr/0.0 cannot be read: Input/output error"


def test_error_without_words_has_its_name(told, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(computation, "fit_image", fail)
    for one in told(lambda viewer, _: viewer.add_image(GRAY, name="mine")):
        assert one == "“mine”: MemoryError"
