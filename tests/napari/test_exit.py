"""How programs end whose windows are still open."""

import os
import subprocess
import sys

import pytest

START = """
import sys, time
import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from skimage import data

def wait(condition):
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.001)

def docked():
    viewer = napari.Viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    viewer.add_image(data.astronaut()[..., 0].reshape(8, 256, 128), name="a")
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
    "palettes are listed in two windows": "one, other = reduced(), reduced()",
    "a run is busy": "viewer, widget = docked(); start(widget)",
    "a run was cancelled": """
viewer, widget = docked()
start(widget)
widget.run_panel.cancel.native.click()
""",
    "a preview and a color are shown": """
viewer, widget = reduced()
widget.palette_panel.choose(2)
widget.run_panel.live.value = True
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


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_ends_without_a_word(program):
    code = f"{START}\n{PROGRAMS[program]}\nsys.exit(0)"
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        env=os.environ | {"NAPARI_CONFIG": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
