"""How programs end whose windows are still open."""

import os
import subprocess
import sys

import pytest

START = """
import atexit, gc, os, sys, time
import napari._qt.layer_controls, napari.layers, napari.qt, napari.window
from napari.plugins import _initialize_plugins
from napari_kmeans._napari import settings, widget
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from skimage import data

PHOTO = data.astronaut()[..., 0].reshape(8, 256, 128)
# Units are loaded with the first layer.
napari.layers.Image(PHOTO)

def wait(condition):
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.001)

def docked():
    viewer = napari.Viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    viewer.add_image(PHOTO, name="a")
    return viewer, widget

def reduced():
    viewer, widget = docked()
    widget.controls.k.value = 5
    widget.run_panel.run.native.click()
    wait(lambda: widget.run_panel.run.enabled)
    return viewer, widget

def start(widget):
    widget.controls.k.value = 200
    widget.controls.iters.value = 10_000
    widget.run_panel.run.native.click()
    wait(lambda: widget.run_panel.plot.errors)
"""
PROGRAMS = {
    "a run is busy": "viewer, widget = docked(); start(widget); sys.exit(0)",
    "a run was cancelled": """
viewer, widget = docked()
start(widget)
widget.run_panel.cancel.native.click()
sys.exit(0)
""",
    "palettes are listed in two windows, a preview and a color shown": """
(viewer, widget), (other, previewing) = reduced(), reduced()
widget.palette_panel.table.chosen.emit(2)
# A preview takes the veil away in its own window.
previewing.run_panel.live.value = True
wait(lambda: len(viewer.layers) == len(other.layers) == 3)
""",
    "the dock was closed": """
viewer, widget = reduced()
viewer.window.remove_dock_widget("all")
""",
    "the window was closed": """
viewer, widget = reduced()
QTimer.singleShot(100, viewer.close)
napari.run()
""",
}


# Goes on as each program in turn, none of which needs to load napari itself, nor to
# look for garbage in it before the end.
RUN = """
_initialize_plugins()
# napari reads what all plugins can be told when the first is asked for.
settings.default_settings()
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)
for name, program in zip(sys.argv[1::2], sys.argv[2::2]):
    child = os.fork()
    if child == 0:
        told = os.open(name, os.O_CREAT | os.O_WRONLY)
        os.dup2(told, 1)
        os.dup2(told, 2)
        exec(program)
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """Run the programs; return the exit status of each, and what it wrote."""
    folder = tmp_path_factory.mktemp("ends")
    words = [word for program in PROGRAMS.items() for word in program]
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", START + RUN, *words],
        env=os.environ | {"NAPARI_CONFIG": ""},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    statuses = map(int, ended.stdout.split())
    written = [(folder / name).read_text() for name in PROGRAMS]
    return dict(zip(PROGRAMS, zip(statuses, written, strict=True), strict=True))


@pytest.mark.skipif(os.name == "nt", reason="forks")
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_ends_without_a_word(ends, program):
    assert ends[program] == (0, "")
