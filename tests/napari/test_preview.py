"""The preview: what it shows, what it follows, and when it goes."""

import threading

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from skimage import data

from napari_kmeans import (
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
    quantize_layer,
)
from napari_kmeans._core import color_counts
from napari_kmeans._napari import computation
from napari_window import (
    camera_of,
    dock_in,
    names,
    press,
    preview_in,
    wait_for_threads,
)


def test_preview_shows_the_colors_to_be(viewer, dock, settle):
    image = data.astronaut()[:64, :50]
    source = viewer.add_image(image, name="a", scale=(2, 3), translate=(1, 1))
    widget = dock()
    widget.controls.k.value = 5

    widget.run_panel.live.value = True
    settle(widget)

    shown = preview_in(viewer)
    assert_array_equal(shown.data[..., :3], quantize_kmeans(image, 5))
    assert_array_equal(shown.extent.world, source.extent.world)
    assert viewer.layers.selection.active is source


def test_preview_follows_the_slider_in_one_layer(viewer, dock, settle):
    image = data.astronaut()[:64, :50]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)
    shown = preview_in(viewer)

    for k in (3, 9, 20, 4):
        widget.controls.k.value = k
    settle(widget)

    assert preview_in(viewer) is shown
    assert_array_equal(shown.data[..., :3], quantize_kmeans(image, 4))


def state_of(layer):
    """What a layer shows, and where."""
    corners = [layer.data_to_world(corner) for corner in ((0, 0), (5, 7), (7, 5))]
    return layer.data.tolist(), corners, layer.units, layer.axis_labels


def edit_in_place(layer):
    layer.data[:20] = 7
    layer.refresh()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: setattr(x, "data", x.data[::-1].copy()), id="data"),
        pytest.param(lambda x: setattr(x, "data", x.data[:30, :20]), id="shape"),
        pytest.param(edit_in_place, id="edited"),
        pytest.param(lambda x: setattr(x, "scale", (3, 4)), id="scale"),
        pytest.param(lambda x: setattr(x, "translate", (3, 4)), id="translate"),
        pytest.param(lambda x: setattr(x, "rotate", 30), id="rotate"),
        pytest.param(lambda x: setattr(x, "shear", [0.5]), id="shear"),
        pytest.param(lambda x: setattr(x, "affine", np.diag([3, 2, 1])), id="affine"),
        pytest.param(lambda x: setattr(x, "units", ("um", "um")), id="units"),
        pytest.param(lambda x: setattr(x, "axis_labels", ("r", "c")), id="axes"),
        pytest.param(lambda x: setattr(x, "contrast_limits", (50, 90)), id="contrast"),
        pytest.param(lambda x: setattr(x, "colormap", "magenta"), id="colormap"),
        pytest.param(lambda x: setattr(x, "gamma", 0.4), id="gamma"),
    ],
)
def test_preview_follows_its_source(viewer, dock, settle, change):
    source = viewer.add_image(data.camera()[:64, :50].copy(), name="a")
    widget = dock()
    widget.controls.k.value = 4
    widget.run_panel.live.value = True
    settle(widget)
    before = state_of(preview_in(viewer))

    change(source)
    settle(widget)

    after = state_of(preview_in(viewer))
    assert after != before
    assert after[1:] == state_of(source)[1:]
    # It is what is shown to who asks only now.
    widget.run_panel.live.value = False
    widget.run_panel.live.value = True
    settle(widget)
    assert state_of(preview_in(viewer)) == after


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: mask.paint((30, 30), 1),
        lambda mask: setattr(mask, "data", 1 - mask.data),
        lambda mask: setattr(mask, "translate", (20, 20)),
    ],
    ids=["paint", "data", "translate"],
)
def test_preview_follows_its_mask(viewer, dock, settle, change):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    inside = np.zeros((64, 50), dtype=int)
    inside[5:9, 9:15] = 1
    mask = viewer.add_labels(inside, name="m")
    mask.brush_size = 20
    widget = dock()
    widget.controls.inside.value = mask
    widget.run_panel.live.value = True
    settle(widget)
    before = preview_in(viewer).data

    change(mask)
    settle(widget)

    assert (preview_in(viewer).data != before).any()


def test_preview_follows_each_level_of_its_source(viewer, dock, settle):
    photo = data.astronaut()[:64, :50]
    pyramid = [photo, photo[::2, ::2]]
    source = viewer.add_image(pyramid, multiscale=True, rgb=True, name="a")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)

    source.data = [255 - level for level in pyramid]
    settle(widget)

    expected = quantize_kmeans(255 - photo)
    assert_array_equal(preview_in(viewer).data[..., :3], expected)


def test_preview_follows_all_layers_that_are_channels(viewer, dock, settle):
    for i, name in enumerate("ab"):
        viewer.add_image(data.astronaut()[:64, :50, i], name=name)
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    viewer.layers.selection = set(viewer.layers)
    widget.controls.channels.value = "layers"
    widget.run_panel.live.value = True
    settle(widget)
    before = preview_in(viewer).data

    viewer.layers["b"].colormap = "magenta"
    settle(widget)

    assert (preview_in(viewer).data != before).any()


def test_preview_is_not_computed_for_what_it_does_not_show(
    viewer, dock, settle, paused
):
    source = viewer.add_image(data.astronaut()[:64, :50], name="a")
    other = viewer.add_image(data.astronaut()[:64, :50], name="b")
    widget = dock()
    widget.controls.source.value = source
    paused.may_go_on.set()
    widget.run_panel.live.value = True
    settle(widget)

    source.opacity = 0.5
    other.data = other.data[::-1]
    other.scale = (3, 3)
    widget.controls.source.value = other
    settle(widget)
    source.data = source.data[::-1]
    settle(widget)

    assert paused.n_computations == 2


def test_preview_follows_a_source_that_loses_the_axis_of_its_channels(
    viewer, dock, settle
):
    image = data.astronaut()[:60, :50].transpose(2, 0, 1)
    source = viewer.add_image(np.stack([image, image], -1), rgb=False, name="a")
    widget = dock()
    widget.controls.channels.value = 3
    widget.controls.k.value = 3
    widget.run_panel.live.value = True
    settle(widget)

    source.data = image[0]
    settle(widget)

    assert widget.controls.channels.value is None
    expected = quantize_kmeans(image[0], 3, channel_axis=None)
    levels = preview_in(viewer).data[..., 0]
    assert levels.shape == image[0].shape
    assert len(np.unique(levels)) == len(np.unique(expected)) == 3


def test_newest_request_wins(viewer, dock, settle, paused, qtbot):
    image = data.astronaut()[:64, :50]
    viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.k.value = 9

    widget.run_panel.live.value = True
    qtbot.waitUntil(paused.reached.is_set)
    widget.controls.k.value = 3
    paused.may_go_on.set()
    settle(widget)

    shown = preview_in(viewer)
    assert_array_equal(shown.data[..., :3], quantize_kmeans(image, 3))


def test_preview_is_computed_once(viewer, dock, settle, paused):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    paused.may_go_on.set()
    widget.run_panel.live.value = True
    settle(widget)
    assert paused.n_computations == 1


def test_many_requests_are_answered_together(viewer, dock, settle, paused, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.run_panel.live.value = True
    qtbot.waitUntil(paused.reached.is_set)

    for k in range(2, 100):
        widget.controls.k.value = k
    # What is under way is not given up, or a hand that never rests would see nothing.
    qtbot.wait(100)
    assert paused.n_computations == 1
    paused.may_go_on.set()
    settle(widget)

    assert paused.n_computations == 2


def test_preview_is_of_the_current_slice_in_the_colors_of_all(viewer, dock, settle):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    viewer.add_image(stack, rgb=True, name="stack", scale=(5, 1, 1))
    widget = dock()
    widget.controls.k.value = 4
    widget.run_panel.live.value = True
    settle(widget)

    viewer.dims.set_current_step(0, 2)
    settle(widget)

    shown = preview_in(viewer)
    assert_array_equal(shown.data[0, ..., :3], quantize_kmeans(stack, 4)[2])
    assert_array_equal(shown.extent.world[:, 0], [10, 10])


def test_preview_is_of_the_level_that_the_screen_needs(viewer, dock, settle):
    photo = np.tile(data.astronaut(), (3, 4, 1))
    pyramid = [photo, photo[::4, ::4]]
    source = viewer.add_image(pyramid, multiscale=True, name="a", scale=(2, 2))
    widget = dock()
    palette = kmeans_palette(photo, 5).palette
    widget.controls.k.value = 5

    camera_of(viewer).zoom = 0.1
    widget.run_panel.live.value = True
    settle(widget)
    shown = preview_in(viewer)
    expected = palette[map_to_palette(pyramid[1], palette)]
    assert_array_equal(shown.data[..., :3], expected)
    assert_array_equal(shown.extent.world[1] + 4, source.extent.world[1] + 1)

    camera_of(viewer).zoom = 0.5
    camera_of(viewer).center = (0, 1500, 2000)
    settle(widget)
    assert preview_in(viewer) is shown
    top, left = (int(shown.data_to_world((0, 0))[i]) // 2 for i in (0, 1))
    rows, columns = shown.data.shape[:2]
    part = photo[top : top + rows, left : left + columns]
    assert_array_equal(shown.data[..., :3], palette[map_to_palette(part, palette)])


def test_preview_of_channels_is_in_their_colors(viewer, dock, settle):
    image = np.moveaxis(data.astronaut()[:60, :50], -1, 0)
    viewer.add_image(image, name="channels", rgb=False)
    widget = dock()
    widget.controls.channels.value = 0
    widget.controls.k.value = 3

    widget.run_panel.live.value = True
    settle(widget)

    shown = preview_in(viewer)
    assert shown.data.shape == (60, 50, 4)
    assert len(np.unique(shown.data.reshape(-1, 4), axis=0)) == 3


def test_toggle_removes_the_preview_alone(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    viewer.add_labels(np.ones((9, 9), dtype=int), name="preview of my own")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)
    assert len(viewer.layers) == 3

    widget.run_panel.live.value = False

    assert names(viewer) == ["a", "preview of my own"]


def test_toggle_stops_a_preview_that_is_being_computed(viewer, dock, paused, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.run_panel.live.value = True
    qtbot.waitUntil(paused.reached.is_set)

    widget.run_panel.live.value = False
    paused.may_go_on.set()
    wait_for_threads()
    qtbot.wait(1)

    assert names(viewer) == ["a"]


def test_cancel_removes_the_preview(viewer, dock, settle, paused, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    paused.may_go_on.set()
    widget.run_panel.live.value = True
    settle(widget)
    paused.may_go_on.clear()
    paused.reached.clear()

    press(widget.run_panel.run)
    qtbot.waitUntil(paused.reached.is_set)
    press(widget.run_panel.cancel)
    paused.may_go_on.set()

    assert names(viewer) == ["a"]
    assert not widget.run_panel.live.value


def test_result_takes_the_place_of_the_preview(viewer, dock, settle, finish):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)

    press(widget.run_panel.run)
    finish(widget)

    assert names(viewer) == ["a", "a in 16 colors"]


def test_preview_that_the_user_removes_is_switched_off(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)

    viewer.layers.remove(preview_in(viewer))
    assert not widget.run_panel.live.value
    widget.controls.k.value = 3
    settle(widget)
    assert names(viewer) == ["a"]

    widget.run_panel.live.value = True
    settle(widget)
    assert names(viewer) == ["a", "preview of a"]


def test_preview_is_called_after_the_image_that_is_chosen(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    other = viewer.add_image(data.astronaut()[64:128, :50], name="b")
    widget = dock()
    widget.controls.source.value = viewer.layers["a"]
    widget.run_panel.live.value = True
    settle(widget)

    widget.controls.source.value = other
    settle(widget)
    assert names(viewer) == ["a", "b", "preview of b"]
    other.name = "c"
    settle(widget)
    assert names(viewer) == ["a", "c", "preview of c"]


def test_preview_goes_with_its_source(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)

    viewer.layers.remove("a")
    settle(widget)

    assert names(viewer) == []


def test_preview_is_no_source(viewer, dock, settle):
    source = viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)
    assert widget.controls.source.choices == (source,)


def test_closed_dock_takes_the_preview_along(window, settle, qtbot):
    window.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock_in(window)
    widget.run_panel.live.value = True
    settle(widget)
    qtbot.waitUntil(lambda: len(window.layers) == 2)

    window.window.remove_dock_widget("all")
    qtbot.wait(1)

    assert names(window) == ["a"]


def test_explanation_goes_with_its_cause(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.controls.fixed.value = "rot"
    widget.run_panel.live.value = True
    settle(widget)
    assert widget.run_panel.status.value.startswith(
        "No preview: Locked colors must be like"
    )

    widget.controls.fixed.value = ""
    settle(widget)

    assert widget.run_panel.status.value == ""
    assert preview_in(viewer)


def test_unusual_preview_is_explained(viewer, dock, settle, monkeypatch):
    def fail(*_, **__):
        msg = "out of crayons"
        raise RuntimeError(msg)

    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    monkeypatch.setattr(computation, "fit_image", fail)

    widget.run_panel.live.value = True
    settle(widget)

    assert widget.run_panel.status.value == "No preview: “a”: out of crayons"
    assert names(viewer) == ["a"]


def test_preview_is_fitted_inside_the_mask(viewer, dock, settle):
    image = data.astronaut()[:64, :50]
    viewer.add_image(image, name="a")
    mask = np.zeros((64, 50), dtype=int)
    mask[5:20, 9:30] = 1
    viewer.add_labels(mask, name="m")
    widget = dock()
    widget.controls.k.value = 4
    widget.controls.inside.value = viewer.layers["m"]

    widget.run_panel.live.value = True
    settle(widget)

    palette = kmeans_palette(image, 4, mask=mask > 0).palette
    expected = palette[map_to_palette(image, palette)]
    assert_array_equal(preview_in(viewer).data[..., :3], expected)


def test_preview_of_an_empty_mask_is_explained(viewer, dock, settle):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    viewer.add_labels(np.zeros((64, 50), dtype=int), name="m")
    widget = dock()
    widget.controls.inside.value = viewer.layers["m"]

    widget.run_panel.live.value = True
    settle(widget)

    assert len(viewer.layers) == 2
    told = "No preview: Nothing of “a” is inside “m”"
    assert widget.run_panel.status.value.startswith(told)


# What is counted, and what is said meanwhile.


def test_edit_in_one_slice_is_told_from_a_look_at_another(viewer, dock, settle):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3).copy()
    source = viewer.add_image(stack, rgb=True, name="stack")
    widget = dock()
    widget.controls.k.value = 3
    widget.run_panel.live.value = True
    settle(widget)
    preview = widget.run_panel._preview
    before = preview._shown.counted

    for t in (1, 2, 0):
        viewer.dims.set_current_step(0, t)
        settle(widget)
    assert preview._shown.counted is before

    stack[2] = 9
    source.refresh()
    settle(widget)
    assert preview._shown.counted is not before
    expected = quantize_kmeans(stack, 3)[0]
    assert_array_equal(preview_in(viewer).data[0, ..., :3], expected)


def test_run_needs_no_count_after_a_preview(viewer, dock, settle, finish, monkeypatch):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    widget = dock()
    widget.run_panel.live.value = True
    settle(widget)
    monkeypatch.delattr(color_counts, "_count_codes")
    press(widget.run_panel.run)
    finish(widget)
    assert names(viewer) == ["a", "a in 16 colors"]


def test_a_run_counts_what_was_edited_behind_the_preview(viewer, dock, settle, finish):
    image = data.astronaut()[:64, :50].copy()
    viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.k.value = 3
    widget.run_panel.live.value = True
    settle(widget)
    image[:] = 255 - image
    press(widget.run_panel.run)
    finish(widget)
    assert_array_equal(viewer.layers[-1].data, quantize_kmeans(image, 3))


def test_palette_of_the_preview_is_told(viewer, dock, settle):
    image = data.astronaut()[:64, :50]
    source = viewer.add_image(image, name="a")
    widget = dock()
    widget.controls.k.value = 5
    told = []
    widget.run_panel.previewed.connect(told.append)

    widget.run_panel.live.value = True
    settle(widget)
    (listed,) = told
    result = kmeans_palette(image, 5)
    assert_array_equal(listed.record.palette, result.palette)
    assert_array_equal(listed.record.counts, result.counts)
    assert_array_equal(np.rint(listed.rgba[:, :3] * 255), result.palette)
    assert listed.is_rgb
    source.scale = (2, 2)
    settle(widget)
    assert len(told) == 1

    widget.controls.k.value = 3
    settle(widget)
    assert [len(one.record.palette) for one in told] == [5, 3]
    widget.run_panel.live.value = False
    assert told[2:] == [None]


def test_count_that_takes_long_is_told(viewer, dock, settle, qtbot):
    may_go_on = threading.Event()
    may_go_on.set()

    def wait(chunk):
        assert may_go_on.wait(20)
        return chunk

    image = da.from_array(data.astronaut()[:64, :50], (20, 20, 3)).map_blocks(wait)
    viewer.add_image(image, rgb=True, name="a")
    widget = dock()
    may_go_on.clear()
    widget.run_panel.live.value = True
    status = widget.run_panel.status
    qtbot.waitUntil(lambda: status.value.startswith("Counting colors, "))
    may_go_on.set()
    settle(widget)
    assert status.value == ""


def test_what_the_preview_cannot_show_is_told(viewer, dock, settle):
    viewer.add_image(np.tile(data.astronaut(), (3, 3, 1)), name="a")
    widget = dock()
    widget.controls.dither.value = "ordered"
    camera_of(viewer).zoom = 0.2
    widget.run_panel.live.value = True
    settle(widget)
    assert widget.run_panel.status.value.startswith("Preview without dither")

    camera_of(viewer).zoom = 2
    settle(widget)
    assert widget.run_panel.status.value == ""


def test_preview_is_drawn_as_the_result_is(window, settle, qtbot):
    photo = np.tile(data.astronaut(), (3, 4, 1))
    source = window.add_image(photo, name="a")
    (result,) = quantize_layer(source, 5)
    window.add_layer(result)
    widget = dock_in(window)
    widget.controls.source.value = source
    widget.controls.k.value = 5
    widget.run_panel.live.value = True
    for zoom, center in (
        (0.29, (700, 900)),
        (1.7, (703.3, 905.8)),
        (0.6, (90.1, 77.1)),
    ):
        camera = camera_of(window)
        camera.zoom, camera.center = zoom, (0, *center)
        qtbot.wait(1)
        settle(widget)
        drawn = []
        shown = preview_in(window)
        for layer in (shown, result):
            shown.visible, result.visible = layer is shown, layer is result
            qtbot.wait(1)
            drawn.append(window.screenshot(canvas_only=True, flash=False))
        # The middle of a pixel of the screen may lie between two of the image.
        differ = (drawn[0] != drawn[1]).any(axis=-1)
        assert drawn[1][..., :3].any(axis=-1).sum() > 10_000
        assert differ.mean() < 1e-3
