import threading

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtWidgets import QApplication, QInputDialog
from skimage import data

from napari_kmeans._napari.folds import Fold
from napari_kmeans._napari.layers import is_overlay
from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.record import record_of
from napari_window import press

N_ACTIONS = 200
PHOTO = data.astronaut()[:48, :40]


class _Monkey:
    """Do at random whatever users do, and remember which layers are theirs."""

    def __init__(self, viewer, widget, seed):
        self.viewer, self.widget = viewer, widget
        self.rng = np.random.default_rng(seed)
        self.own = []
        self.actions = [
            getattr(self, name) for name in dir(self) if name.startswith("do_")
        ]

    def act(self):
        self.rng.choice(self.actions)()

    def pick(self, items):
        items = list(items)
        return items[self.rng.integers(len(items))] if items else None

    def layer(self):
        return self.pick(layer for layer in self.viewer.layers if not is_overlay(layer))

    def keep(self, layer):
        self.own.append(layer)

    def do_add_photo(self):
        if len(self.viewer.layers) < 8:
            self.keep(self.viewer.add_image(PHOTO, name="photo"))

    def do_add_stack(self):
        if len(self.viewer.layers) < 8:
            stack = np.moveaxis(PHOTO, -1, 0).astype(self.pick(["u1", "u2", "f4"]))
            names = {"axis_labels": self.pick(["cyx", "zyx", "tyx"])}
            layer = self.viewer.add_image(stack, name="stack", scale=(3, 1, 1), **names)
            self.keep(layer)

    def do_add_pyramid(self):
        if len(self.viewer.layers) < 8:
            levels = [PHOTO, PHOTO[::2, ::2]]
            self.keep(self.viewer.add_image(levels, rgb=True, multiscale=True))

    def do_add_labels(self):
        if len(self.viewer.layers) < 8:
            labels = (PHOTO[..., 0] > 100).astype(int)
            self.keep(self.viewer.add_labels(labels, name="photo in 3 colors"))

    def do_remove_layer(self):
        layer = self.layer()
        if layer is not None and len(self.viewer.layers) > 3:
            self.viewer.layers.remove(layer)
            self.own = [own for own in self.own if own is not layer]

    def do_remove_overlay(self):
        layer = self.pick(layer for layer in self.viewer.layers if is_overlay(layer))
        if layer is not None:
            self.viewer.layers.remove(layer)

    def do_rename(self):
        layer = self.layer()
        if layer is not None:
            layer.name = self.pick(["a", "photo in 3 colors", "preview of photo", "é"])

    def do_move(self):
        if len(self.viewer.layers) > 1:
            n = len(self.viewer.layers)
            self.viewer.layers.move(
                int(self.rng.integers(n)), int(self.rng.integers(n))
            )

    def do_edit(self):
        layer = self.layer()
        if isinstance(layer, Labels) and not layer.multiscale and layer.data.ndim == 2:
            layer.paint((3, 3), 1)
        elif layer is not None and not layer.multiscale:
            layer.data = layer.data[..., ::-1, :].copy()

    def do_select(self):
        n = int(self.rng.integers(3))
        self.viewer.layers.selection = {self.layer() for _ in range(n)} - {None}

    def do_step(self):
        self.viewer.dims.set_current_step(0, int(self.rng.integers(3)))

    def do_turn(self):
        self.viewer.dims.ndisplay = self.pick([2, 2, 3])

    def do_choose(self):
        controls = self.widget.controls
        combo = self.pick(
            getattr(controls, name)
            for name in (
                *("source", "channels", "weights", "output", "init", "color_space"),
                *("dither", "inside", "palette", "palettes", "again"),
            )
        )
        if combo.choices:
            combo.value = self.pick(combo.choices)

    def do_type(self):
        fixed = self.pick(["", "", "#f00", "1 2", "nonsense"])
        self.widget.controls.fixed.value = fixed
        self.widget.controls.iters.value = int(self.rng.integers(4))
        self.widget.controls.rng.value = int(self.rng.integers(4))

    def do_drag(self):
        for _ in range(5):
            self.widget.controls.k_slider.value = int(self.rng.integers(20))

    def do_toggle(self):
        self.widget.run_panel.live.native.click()

    def do_run(self):
        for _ in range(self.pick([1, 1, 20])):
            self.widget.run_panel.run.native.click()

    def do_apply(self):
        made = [layer for layer in self.viewer.layers if record_of(layer) is not None]
        images = [x for x in self.own if isinstance(x, Image) and not x.multiscale]
        if made and images:
            chosen = [self.pick(images) for _ in range(2)]
            self.widget.run_panel.apply(self.pick(made), chosen)

    def do_fold(self):
        self.pick(self.widget.native.findChildren(Fold)).button.click()

    def do_choose_k(self):
        chooser = self.widget.controls.choose_k
        self.pick([chooser.plot.clicked.emit, lambda _: chooser.reach.native.click()])(
            float(self.rng.integers(1, 20))
        )

    def do_lock(self):
        self.widget.palette_panel.locked.emit(self.pick(["#00ff00", "3"]))

    def do_cancel(self):
        self.widget.run_panel.cancel.native.click()

    def do_press(self):
        panel = self.widget.palette_panel
        press(
            self.pick([panel.lock, panel.copy_table, panel.copy_hex, panel.copy_python])
        )

    def do_point(self):
        table = self.widget.palette_panel.table
        if table.entries:
            signal = self.pick([table.pointed, table.chosen, table.opened])
            signal.emit(self.pick(table.entries))
        table.pointed.emit(-1)

    def do_choose_rows(self):
        table = self.widget.palette_panel.table
        n = int(self.rng.integers(4))
        table.selected.emit(
            sorted({self.pick(table.entries) for _ in range(n)} - {None})
        )

    def do_name(self):
        table = self.widget.palette_panel.table
        if table.entries:
            table.renamed.emit(self.pick(table.entries), self.pick(["", "nuclei", "é"]))

    def do_merge(self):
        table = self.widget.palette_panel.table
        table.selected.emit(table.entries[:2])
        press(self.widget.palette_panel.merge)

    def do_undo(self):
        for _ in range(self.pick([1, 1, 3])):
            press(self.widget.palette_panel.undo)

    def do_measure(self):
        choice = self.widget.palette_panel.measure.choice
        choice.setCurrentIndex(int(self.rng.integers(max(1, choice.count()))))

    def do_separate(self):
        to_labels = self.widget.palette_panel._to_labels
        if len(self.viewer.layers) < 8:
            press(self.pick([to_labels.one_class, to_labels.objects]))
        if self.rng.integers(2):
            press(to_labels.button)

    def do_unfold(self):
        self.widget.palette_panel.compression.button.click()

    def do_zoom(self):
        # napari 0.9 moved it.
        camera = getattr(self.viewer, "scene", self.viewer).camera
        camera.zoom = float(self.pick([0.1, 1, 30]))

    def do_look(self):
        look = self.widget.palette_panel.look
        if look.isEnabled():
            look.contour.setValue(int(self.rng.integers(3)))
            look.opacity.setValue(int(self.rng.integers(101)))


def is_made_of_clusters(layer):
    return isinstance(layer, Labels) and "area" in layer.features


def is_working():
    return any(thread.name == "napari-kmeans" for thread in threading.enumerate())


# napari says so, wherever contours are chosen.
@pytest.mark.filterwarnings("ignore:Contours are not displayed during 3D rendering")
@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_after_200_random_actions(
    make_napari_viewer, qtbot, monkeypatch, seed
):
    viewer = make_napari_viewer(show=False)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    monkey = _Monkey(viewer, widget, seed)
    monkeypatch.setattr(
        PalettePanel,
        "_ask_color",
        lambda *args: args[1].record.palette[0],
    )
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (2, True))

    # pytest-qt lets the test fail on whatever a slot raises.
    for _ in range(N_ACTIONS):
        monkey.act()
        if monkey.rng.random() < 0.3:
            qtbot.wait(int(monkey.rng.integers(40)))
        missing = [own for own in monkey.own if own not in viewer.layers]
        assert missing == []

    # It still works, leaves no thread, and no layer that nobody asked for.
    widget.run_panel.live.value = False
    widget.palette_panel.choose(None)
    qtbot.waitUntil(
        lambda: widget.run_panel.run.enabled and not is_working(), timeout=20_000
    )
    strangers = [
        layer
        for layer in viewer.layers
        if layer not in monkey.own
        and record_of(layer) is None
        and not is_made_of_clusters(layer)
    ]
    assert strangers == []
    viewer.layers.clear()
    viewer.add_image(PHOTO, name="last")
    controls = widget.controls
    for combo in (controls.palette, controls.inside, controls.again):
        combo.value = combo.choices[0]
    controls.fixed.value = ""
    controls.output.value = "labels"
    controls.k.value = 3
    widget.run_panel.run.native.click()
    qtbot.waitUntil(lambda: widget.run_panel.run.enabled, timeout=20_000)
    assert viewer.layers[-1].name == "last in 3 labels"
    QApplication.processEvents()
