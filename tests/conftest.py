import gc
import importlib
import os
import pkgutil
import shutil
import threading

import hypothesis
import pytest
import skimage.data
from PIL import Image

import napari_kmeans
from napari_kmeans._core.counted_image import fit_image

# Tests neither read the settings of napari's user nor write them.
os.environ["NAPARI_CONFIG"] = ""

# Their files are decoded once.
for photo in ("astronaut", "camera"):
    setattr(skimage.data, photo, getattr(skimage.data, photo)().copy)

# A busy machine is no fault of what is tested, nor is what chance draws a fault of what
# somebody changed: every day the same examples, and at night others.
everyday = hypothesis.settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("everyday", everyday)
hypothesis.settings.register_profile(
    "nightly", everyday, max_examples=2000, derandomize=False
)
hypothesis.settings.load_profile("everyday")


# Files that take longest. They start first, so that none is left alone at the end.
LONG = ["test_canvas", "test_exit", "test_documents", "test_layout", "test_monkey"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)


def pytest_collection_finish():
    """Load all that draws depend on; look for garbage less often, and not in that.

    Hypothesis draws the constants of all modules that are loaded, too.
    """
    for module in pkgutil.walk_packages(napari_kmeans.__path__, "napari_kmeans."):
        if "_napari" not in module.name:
            importlib.import_module(module.name)
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory):
    """A JPEG that lies on its side, as from a camera, with EXIF to say so."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    sideways = Image.fromarray(skimage.data.astronaut()).resize((60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(path, exif=exif, quality=92)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, photo_file):
    """A working directory with a photo."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo_file, tmp_path)
    return tmp_path


@pytest.fixture
def viewer():
    """Give a viewer without a window, which takes layers as one with a window does."""
    from napari.components import ViewerModel

    from napari_window import wait_for_threads

    viewer = ViewerModel()
    yield viewer
    wait_for_threads()


@pytest.fixture
def dock(viewer, qtbot):
    """Make the widget, and let it follow the layers as napari does."""
    from napari_kmeans._napari.widget import QuantizeWidget

    # A widget that nobody holds goes with the next collection of garbage.
    held = []

    def dock():
        widget = QuantizeWidget(viewer)
        held.append(widget)
        qtbot.addWidget(widget.native)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(widget.reset_choices)
        events.renamed.connect(widget.reset_choices)
        return widget

    return dock


@pytest.fixture(scope="session")
def manifests():
    """Read once what plugins declare."""
    from npe2 import PluginManifest

    return list(PluginManifest.discover())


@pytest.fixture
def make_napari_viewer(make_napari_viewer, manifests, monkeypatch):
    """Make viewers whose layers can be removed under Mesa.

    napari frees what drew a removed layer in whatever OpenGL context is the current
    one. If that is not the one of the canvas, Mesa crashes in one of the next drawings.
    """
    from npe2 import PluginManifest

    from napari_window import enter_canvas

    # Each window would read them again.
    monkeypatch.setattr(PluginManifest, "discover", lambda **_: manifests)
    # napari collects garbage whenever a layer is removed from a window. What the tests
    # before have loaded need not be looked at each time.
    gc.collect()
    gc.freeze()

    def make(*args, **kwargs):
        viewer = make_napari_viewer(*args, **kwargs)
        viewer.layers.events.removing.connect(enter_canvas)
        return viewer

    return make


@pytest.fixture
def window(make_napari_viewer):
    """Give a viewer in a real window."""
    from napari_window import wait_for_threads

    viewer = make_napari_viewer(show=True)
    yield viewer
    # Threads must not outlive the window that they report to.
    wait_for_threads()


@pytest.fixture
def finish(qtbot):
    """Wait until a widget is ready for the next computation."""

    def finish(widget):
        qtbot.waitUntil(lambda: widget.run_panel.run.enabled, timeout=20_000)

    return finish


class _Paused:
    """Holds the computation after each iteration until it may go on."""

    def __init__(self):
        self.reached = threading.Event()
        self.may_go_on = threading.Event()
        self.n_computations = 0
        self.n_iterations = 0

    def fit_image(self, counted, k, iters, *, callback, **keywords):
        self.n_computations += 1

        def pausing(state):
            self.n_iterations += 1
            self.reached.set()
            assert self.may_go_on.wait(20)
            callback(state)

        return fit_image(counted, k, iters, callback=pausing, **keywords)


@pytest.fixture
def paused(monkeypatch):
    from napari_kmeans._napari import computation

    paused = _Paused()
    monkeypatch.setattr(computation, "fit_image", paused.fit_image)
    yield paused
    paused.may_go_on.set()


# The preview.


@pytest.fixture
def settle(qtbot):
    """Wait until the preview shows what is chosen."""

    def settle(widget):
        qtbot.waitUntil(lambda: widget.run_panel._preview.is_settled, timeout=20_000)

    return settle


# The palette.


@pytest.fixture
def result(viewer, dock, finish):
    """Give a widget after it has made an image and labels, and the two layers."""

    def result(image=None, output="both", k=5, **attributes):
        if image is None:
            image = skimage.data.astronaut()[:64, :50]
        viewer.add_image(image, name="a", **attributes)
        widget = dock()
        widget.controls.k.value = k
        widget.controls.output.value = output
        widget.run_panel.run.native.click()
        finish(widget)
        return widget, *viewer.layers[1:]

    return result


@pytest.fixture
def seen(window, qtbot):
    """Say where the canvas is not black while no other layers are visible than some."""

    def seen(*layers):
        for layer in window.layers:
            layer.visible = layer in layers
        qtbot.wait(1)
        return window.screenshot(canvas_only=True, flash=False)[..., :3].any(axis=-1)

    return seen
