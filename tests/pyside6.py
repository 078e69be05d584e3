"""Run the widget with PySide6, in an environment of its own.

The tests use PyQt6, and a program can only load one of the two. `.ci/run` calls this
program with a screen.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
USE = """
import time
import napari
from qtpy import PYSIDE6
from qtpy.QtWidgets import QApplication
from skimage import data

def wait(condition):
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.001)

assert PYSIDE6
viewer = napari.Viewer()
viewer.add_image(data.astronaut()[:64, :64], name="photo")
_, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
controls, panel = widget.controls, widget.run_panel
controls.k.value, controls.output.value = 4, "labels"
panel.live.value = True
wait(lambda: len(viewer.layers) == 2)
panel.run.native.click()
wait(lambda: panel.run.enabled)
assert [layer.name for layer in viewer.layers] == ["photo", "photo in 4 labels"]
assert viewer.layers[1].features["pixels"].sum() == 64 * 64
table = widget.palette_panel.table
assert table.model().rowCount() == 4
# The others' pixels are under a veil, which is a layer.
table.chosen.emit(table.entries[2])
wait(lambda: len(viewer.layers) == 3)
viewer.close()
"""


def main():
    """Use the widget, and see that nothing complains."""
    uv = [sys.executable, "-m", "uv", "run", "--isolated", "--no-project", "--quiet"]
    uv += ["--python", sys.executable, "--with-editable", str(ROOT)]
    packages = ["dask[array]", "napari", "pyside6-essentials"]
    uv += [word for package in packages for word in ("--with", package)]
    done = subprocess.run(
        [*uv, "python", "-c", USE],
        env=os.environ | {"NAPARI_CONFIG": "", "QT_API": "pyside6"},
        stderr=subprocess.PIPE,
        text=True,
    )
    # An error in what Qt calls is written, and does not end the program.
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode or bool(done.stderr))


if __name__ == "__main__":
    main()
