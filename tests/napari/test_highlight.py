"""Which pixels and layers are seen while a color is pointed at or chosen."""

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.testing import assert_allclose, assert_array_equal
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_kmeans._napari.highlight import grid_of
from napari_kmeans._napari.layers import is_overlay
from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.widget import QuantizeWidget
from napari_window import wait_for_threads

PHOTO = data.astronaut()[:120, :150]
STACK = data.astronaut()[:120].reshape(4, 30, 512, 3)[:, :, :90]
VOLUME = STACK[..., 0]
# Larger than the canvas, and finely grained.
LARGE = data.astronaut().repeat(4, axis=0).repeat(4, axis=1)
LARGE[::2, ::3] //= 2
N_ACTIONS = 150


@pytest.fixture
def make(qtbot):
    """Dock the widget and let it make its layers, of what is in the viewer."""

    def make(viewer, k=4, output="labels", **controls):
        if isinstance(viewer, ViewerModel) and not hasattr(viewer, "window"):
            widget = QuantizeWidget(viewer)
            qtbot.addWidget(widget.native)
            for name in ("inserted", "removed", "reordered", "renamed"):
                viewer.layers.events[name].connect(widget.reset_choices)
        else:
            _, widget = viewer.window.add_plugin_dock_widget(
                "napari-kmeans", "K-means colors"
            )
        for name, value in {"k": k, "output": output, **controls}.items():
            getattr(widget.controls, name).value = value
        widget.run_panel.run.native.click()
        qtbot.waitUntil(lambda: widget.run_panel.run.enabled, timeout=20_000)
        return widget

    return make


@pytest.fixture
def window(make_napari_viewer):
    """Give a viewer in a real window."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 700)
    yield viewer
    wait_for_threads()


def highlight_in(viewer):
    """Give the layer that shows the pixels of a color, or None."""
    found = [x for x in viewer.layers if is_overlay(x) and isinstance(x, Labels)]
    assert len(found) <= 1
    return found[0] if found else None


def canvas_of(window, qtbot):
    # Let the docks come to rest, for these take their room from the canvas.
    qtbot.wait(100)
    picture = window.screenshot(canvas_only=True, flash=False)
    return picture[..., :3].astype(int)


def camera_of(window):
    # napari 0.9 moved it.
    return getattr(window, "scene", window).camera


def is_visible(layers):
    return {layer.name: layer.visible for layer in layers}


# In a plane.


@pytest.mark.parametrize(
    ("image", "attributes", "output", "step", "zoom"),
    [
        pytest.param(
            PHOTO,
            {"rgb": True, "scale": (2, 0.7), "rotate": 25, "translate": (5, -3)},
            "labels",
            None,
            1,
            id="placed",
        ),
        pytest.param(
            STACK, {"rgb": True, "scale": (3, 2, 1)}, "image", 3, 1, id="slice"
        ),
        pytest.param(LARGE, {"rgb": True}, "image", None, 9, id="large"),
        pytest.param(
            [LARGE, LARGE[::2, ::2], LARGE[::4, ::4]],
            {"rgb": True, "multiscale": True},
            "labels",
            None,
            9,
            id="pyramid",
        ),
    ],
)
def test_veil_lies_on_all_pixels_of_other_colors(
    window, make, qtbot, image, attributes, output, step, zoom
):
    window.add_image(image, name="a", **attributes)
    widget = make(window, output=output)
    qtbot.waitUntil(
        lambda: "PSNR" in widget.palette_panel.numbers.value, timeout=20_000
    )
    colors = window.layers[-1].metadata["napari-kmeans"]["palette"]
    if step is not None:
        window.dims.set_current_step(0, step)
    window.reset_view()
    camera = camera_of(window)
    camera.zoom *= zoom
    places = (window.dims.point, window.dims.range, camera.zoom)
    before = canvas_of(window, qtbot)
    has_color = [(before == color).all(-1) for color in colors]
    assert sum(pixels.any() for pixels in has_color) >= 3

    for entry in (0, 3):
        widget.palette_panel.table.pointed.emit(entry)
        after = canvas_of(window, qtbot)
        is_other = np.any([*has_color[:entry], *has_color[entry + 1 :]], axis=0)
        white = 255 if colors[entry] @ (0.2126, 0.7152, 0.0722) < 0.25 * 255 else 0

        assert_array_equal(after[~is_other], before[~is_other])
        veiled = 0.15 * before[is_other] + 0.85 * white
        # The canvas rounds.
        assert_allclose(after[is_other], veiled, atol=1)
    assert (window.dims.point, window.dims.range, camera.zoom) == places

    widget.palette_panel.table.pointed.emit(-1)
    assert_array_equal(canvas_of(window, qtbot), before)


@pytest.mark.parametrize(("level", "white"), [(10, 1), (60, 1), (70, 0), (250, 0)])
def test_veil_is_white_around_dark_colors(viewer, make, level, white):
    viewer.add_image(np.array([[level, 130]], dtype=np.uint8), name="a")
    widget = make(viewer, k=2, output="image")
    widget.palette_panel.table.pointed.emit(int(level > 130))
    color = highlight_in(viewer).get_color(1 + int(level < 130))
    assert_allclose(color, [white, white, white, 0.85])


def test_veil_makes_room_for_what_is_painted(window, make, qtbot):
    window.add_image(PHOTO, name="a")
    make(window).palette_panel.table.chosen.emit(2)
    labels = window.layers["a in 4 labels"]
    color = np.rint(labels.get_color(3)[:3] * 255)
    before = (canvas_of(window, qtbot) == color).all(-1).sum()
    window.layers.selection.active = labels
    labels.brush_size = 40
    for row in (30, 60, 90):
        labels.paint((row, 75), 3)
    assert (canvas_of(window, qtbot) == color).all(-1).sum() > 1.2 * before


def test_veil_has_the_color_itself_in_a_cell_of_its_own(viewer, make):
    viewer.add_image(PHOTO, name="a")
    widget = make(viewer)
    widget.palette_panel.table.chosen.emit(2)
    assert highlight_in(viewer).get_color(3)[3] == 0

    grid_of(viewer).enabled = True
    expected = viewer.layers["a in 4 labels"].get_color(3)
    assert_array_equal(highlight_in(viewer).get_color(3), expected)
    assert highlight_in(viewer).get_color(2)[3] > 0.5

    grid_of(viewer).enabled = False
    assert highlight_in(viewer).get_color(3)[3] == 0


# In a volume.


def test_color_is_alone_in_a_volume(viewer, make):
    for name in ("red", "green"):
        viewer.add_image(VOLUME, name=name, blending="additive")
    viewer.add_labels(VOLUME > 99, name="cells")
    viewer.add_points([[1, 2, 3]], name="spots")
    viewer.layers["cells"].visible = False
    viewer.layers.selection = {viewer.layers["red"], viewer.layers["green"]}
    widget = make(viewer, output="both", channels="layers")
    before = is_visible(viewer.layers)
    viewer.dims.ndisplay = 3

    widget.palette_panel.table.pointed.emit(2)
    visible = [layer for layer in viewer.layers if layer.visible]
    assert visible == [viewer.layers["spots"], highlight_in(viewer)]
    for label in (1, 2, 4):
        assert highlight_in(viewer).get_color(label)[3] == 0

    widget.palette_panel.table.pointed.emit(-1)
    assert is_visible(viewer.layers) == before


def test_dark_colors_are_lighter_where_they_are_alone(viewer, make):
    viewer.add_image(np.array([[[0, 200]]], dtype=np.uint8), name="a")
    widget = make(viewer, k=2, output="image")
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.pointed.emit(0)
    assert_allclose(highlight_in(viewer).get_color(1), [0.25, 0.25, 0.25, 1])
    widget.palette_panel.table.pointed.emit(1)
    color = np.append(np.full(3, 200 / 255), 1)
    assert_allclose(highlight_in(viewer).get_color(2), color)


def test_layers_side_by_side_are_not_hidden(viewer, make):
    viewer.add_image(VOLUME, name="a")
    widget = make(viewer)
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.chosen.emit(2)

    grid_of(viewer).enabled = True
    assert all(layer.visible for layer in viewer.layers)

    grid_of(viewer).enabled = False
    assert [x for x in viewer.layers if x.visible] == [highlight_in(viewer)]


def test_pointing_follows_the_dimensions(viewer, make):
    viewer.add_image(VOLUME, name="a")
    widget = make(viewer)

    widget.palette_panel.table.pointed.emit(2)
    viewer.dims.ndisplay = 3
    assert [x for x in viewer.layers if x.visible] == [highlight_in(viewer)]

    viewer.dims.ndisplay = 2
    assert all(layer.visible for layer in viewer.layers)
    assert highlight_in(viewer).get_color(3)[3] == 0


def test_removed_highlight_is_no_longer_chosen(viewer, make):
    viewer.add_image(VOLUME, name="a")
    widget = make(viewer)
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.chosen.emit(2)

    viewer.layers.remove(highlight_in(viewer))

    assert is_visible(viewer.layers) == {"a": True, "a in 4 labels": True}
    assert not widget.palette_panel.lock.enabled
    viewer.dims.ndisplay = 2
    assert highlight_in(viewer) is None


def test_replaced_color_is_shown(viewer, make, monkeypatch):
    viewer.add_image(STACK, name="a", rgb=True)
    widget = make(viewer)
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.chosen.emit(2)
    green = np.array([0, 255, 0], dtype=np.uint8)
    monkeypatch.setattr(PalettePanel, "_ask_color", lambda *_: green)

    widget.palette_panel.table.opened.emit(2)

    assert_array_equal(highlight_in(viewer).get_color(3), [0, 1, 0, 1])


def test_updated_result_ends_the_choice(viewer, make, qtbot):
    viewer.add_image(VOLUME, name="a")
    widget = make(viewer, k=5)
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.chosen.emit(4)
    controls = widget.controls
    controls.again.value = controls.again.choices[1]
    controls.k.value = 2

    widget.run_panel.run.native.click()
    qtbot.waitUntil(lambda: widget.run_panel.run.enabled, timeout=20_000)

    assert is_visible(viewer.layers) == {"a": True, "a in 2 labels": True}
    viewer.dims.ndisplay = 2
    assert highlight_in(viewer) is None


@pytest.mark.parametrize("is_linked", [True, False])
def test_linked_layers_are_seen_again(viewer, make, is_linked):
    linked = [viewer.add_image(VOLUME, name=name) for name in ("a", "b")]
    viewer.layers.link_layers(linked)
    widget = make(viewer)
    viewer.dims.ndisplay = 3

    widget.palette_panel.table.pointed.emit(2)
    assert [x for x in viewer.layers if x.visible] == [highlight_in(viewer)]
    if not is_linked:
        viewer.layers.unlink_layers(linked)
    widget.palette_panel.table.pointed.emit(-1)

    assert all(layer.visible for layer in viewer.layers)


def test_highlight_follows_a_result_that_was_moved(viewer, make):
    viewer.add_image(VOLUME, name="a")
    widget = make(viewer)
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.chosen.emit(2)

    viewer.layers["a in 4 labels"].scale = (4, 1, 1)
    widget.palette_panel.table.pointed.emit(1)

    assert_array_equal(highlight_in(viewer).scale, (4, 1, 1))
    assert [x for x in viewer.layers if x.visible] == [highlight_in(viewer)]
    assert widget.palette_panel.lock.enabled


def test_layers_outlive_the_widget(viewer, make):
    viewer.add_image(VOLUME, name="a")
    make(viewer)
    widget = QuantizeWidget(viewer)
    for name in ("a", "a in 4 labels"):
        viewer.layers.selection.active = viewer.layers[name]
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.chosen.emit(2)
    assert not viewer.layers["a"].visible

    widget.native.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    assert is_visible(viewer.layers) == {"a": True, "a in 4 labels": True}


# What the user chooses.


@pytest.mark.parametrize("choice", [[True], [False], [True, False], [False, True]])
def test_last_choice_counts(viewer, make, choice):
    viewer.add_image(VOLUME, name="a")
    widget = make(viewer)
    viewer.dims.ndisplay = 3
    widget.palette_panel.table.chosen.emit(2)
    for is_seen in choice:
        viewer.layers["a"].visible = is_seen

    # It is not hidden again for another color either.
    widget.palette_panel.table.pointed.emit(1)
    widget.palette_panel.table.pointed.emit(-1)
    assert viewer.layers["a"].visible == choice[-1]

    widget.palette_panel.table.chosen.emit(2)
    assert viewer.layers["a"].visible == choice[-1]


def copy_of(layer, **changes):
    """Copy a layer as napari's menus do: duplicate, convert, project and split."""
    layer_data, attributes, kind = layer.as_layer_data_tuple()
    return Layer.create(layer_data, attributes | changes, kind)


class _User:
    """Does at random what concerns what is seen, and remembers what was chosen."""

    def __init__(self, viewer, widget, qtbot, seed):
        self.viewer, self.widget, self.qtbot = viewer, widget, qtbot
        self.rng = np.random.default_rng(seed)
        self.chosen = {layer: layer.visible for layer in viewer.layers}
        self.actions = [
            getattr(self, name) for name in dir(self) if name.startswith("do_")
        ]

    def act(self):
        self.pick([*self.actions, *[self.do_click, self.do_point] * 4])()
        for layer in self.viewer.layers:
            # Results are seen when they come.
            if not is_overlay(layer):
                self.chosen.setdefault(layer, True)

    def pick(self, items):
        items = list(items)
        return items[self.rng.integers(len(items))] if items else None

    def name(self):
        """Give a name that no other begins with."""
        return f"{self.rng.integers(10**9):09}"

    def layers(self):
        return [x for x in self.viewer.layers if not is_overlay(x)]

    def add(self, layer, is_seen):
        self.chosen[layer] = is_seen
        self.viewer.add_layer(layer)

    def do_point(self):
        n_colors = len(self.widget.palette_panel.table.hexes)
        if n_colors:
            self.widget.palette_panel.table.pointed.emit(
                int(self.rng.integers(n_colors))
            )

    def do_click(self):
        n_colors = len(self.widget.palette_panel.table.hexes)
        if n_colors:
            self.widget.palette_panel.table.chosen.emit(
                int(self.rng.integers(n_colors))
            )

    def do_leave(self):
        self.widget.palette_panel.table.pointed.emit(-1)

    def do_turn(self):
        self.viewer.dims.ndisplay = self.pick([2, 3, 3])

    def do_step(self):
        self.viewer.dims.set_current_step(0, int(self.rng.integers(4)))

    def do_toggle_eye(self):
        layer = self.pick(self.layers())
        if layer is not None:
            layer.visible = not layer.visible
            self.chosen[layer] = layer.visible

    def do_show_or_hide(self):
        layer, is_seen = self.pick(self.layers()), bool(self.rng.integers(2))
        if layer is not None:
            layer.visible = self.chosen[layer] = is_seen

    def do_add(self):
        if len(self.viewer.layers) < 7:
            is_seen = bool(self.rng.integers(2))
            self.add(Image(VOLUME, name=self.name(), visible=is_seen), is_seen)

    def do_duplicate(self):
        layer = self.pick(self.layers())
        if layer is not None and len(self.viewer.layers) < 7:
            copy = copy_of(layer, name=f"{layer.name} copy")
            self.add(copy, self.chosen[layer])

    def do_convert(self):
        layer = self.pick(x for x in self.layers() if isinstance(x, Image))
        if layer is not None:
            self.viewer.layers.remove(layer)
            self.add(copy_of(layer), self.chosen[layer])

    def do_remove(self):
        layer = self.pick(self.layers())
        if layer is not None and len(self.viewer.layers) > 4:
            self.viewer.layers.remove(layer)

    def do_remove_highlight(self):
        if highlight_in(self.viewer) is not None:
            self.viewer.layers.remove(highlight_in(self.viewer))

    def do_bring_back(self):
        # One that is not seen, and called like another, would be taken for its copy.
        gone = [x for x in self.chosen if self.chosen[x]]
        gone = [x for x in gone if x not in self.viewer.layers]
        if gone:
            self.viewer.add_layer(self.pick(gone))

    def do_select(self):
        layer = self.pick(self.layers())
        if layer is not None:
            self.viewer.layers.selection.active = layer

    def do_move(self):
        n = len(self.viewer.layers)
        if n > 1:
            self.viewer.layers.move(int(self.rng.integers(n)), 0)

    def do_rename(self):
        layer = self.pick(self.layers())
        if layer is not None:
            layer.name = self.name()

    def do_run(self):
        controls = self.widget.controls
        if controls.source.value is None or len(self.viewer.layers) > 6:
            return
        controls.again.value = self.pick(controls.again.choices)
        controls.k.value = int(self.rng.integers(1, 5))
        self.widget.run_panel.run.native.click()
        if self.rng.integers(2):
            self.qtbot.waitUntil(
                lambda: self.widget.run_panel.run.enabled, timeout=20_000
            )

    def do_preview(self):
        self.widget.run_panel.live.native.click()

    def do_grid(self):
        grid_of(self.viewer).enabled = bool(self.rng.integers(4) == 0)

    def do_wait(self):
        QApplication.processEvents()

    def do_close_and_open(self):
        self.widget.native.show()
        self.widget.native.hide()


def assert_seen_as_chosen(user):
    """What is alone in a volume may hide others, and shows none that is hidden."""
    viewer = user.viewer
    is_volume = viewer.dims.ndisplay == 3 and not grid_of(viewer).enabled
    is_alone = is_volume and highlight_in(viewer) is not None
    for layer, is_seen in user.chosen.items():
        if is_alone:
            assert layer.visible <= is_seen, layer.name
        else:
            assert layer.visible == is_seen, layer.name


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_layers_are_seen_as_the_user_chose(viewer, make, qtbot, seed):
    viewer.add_image(VOLUME, name="a")
    viewer.add_image(VOLUME[::-1], name="b", visible=False)
    widget = make(viewer, output="both")
    viewer.dims.ndisplay = 3
    user = _User(viewer, widget, qtbot, seed)

    for _ in range(N_ACTIONS):
        user.act()
        assert_seen_as_chosen(user)

    widget.native.show()
    widget.native.hide()
    qtbot.waitUntil(lambda: widget.run_panel.run.enabled, timeout=20_000)
    assert highlight_in(viewer) is None
    assert_seen_as_chosen(user)
