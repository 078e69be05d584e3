"""Draw the pictures of the pages on napari in a real window.

On a machine without a screen, after ``python3 dev.py test`` has set it up:

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python docs/make_screenshots.py
"""

import os
import time
from pathlib import Path

# Neither show what this machine's user has set, nor write it.
os.environ["NAPARI_CONFIG"] = ""

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import napari
from napari_kmeans import (
    kmeans_palette,
    map_to_palette,
    separate_objects,
    write_indexed,
)

FOLDER = Path(__file__).parent


class Session:
    """A napari window with the widget docked, and what a user does there."""

    def __init__(self, sample):
        self.viewer = napari.Viewer(title="napari", show_welcome_screen=False)
        self.viewer.window.resize(1280, 880)
        self.viewer.open_sample("napari-kmeans", sample)
        _, self.widget = self.viewer.window.add_plugin_dock_widget(
            "napari-kmeans", "K-means colors"
        )
        self.controls = self.widget.controls
        self.rest()

    def rest(self, seconds=0.3):
        """Let the window work."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def wait(self, condition):
        """Let the window work until something has happened."""
        while not condition():
            self.rest(0.02)

    def preview(self):
        """Switch the preview on, and wait for it."""
        self.widget.run_panel.live.value = True
        self.rest()
        self.wait(lambda: self.widget.run_panel._preview.is_settled)

    def run(self, k, **chosen):
        """Set controls by their names, press the button, and wait for the layers."""
        for name, value in {"k": k, **chosen}.items():
            getattr(self.controls, name).value = value
        self.widget.run_panel.run.native.click()
        self.wait(lambda: self.widget.run_panel.run.enabled)

    def choose(self, row):
        """Click on a row of the table."""
        table = self.widget.palette_panel.table
        place = table.visualRect(table.model().index(row, 0)).center()
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)

    def name(self, *names):
        """Type names of clusters."""
        table = self.widget.palette_panel.table
        for row, name in enumerate(names):
            place = table.model().index(row, 1)
            table.model().setData(place, name, Qt.ItemDataRole.EditRole)

    def picture(self, name):
        """Keep a picture of the window."""
        self.rest(1)
        window = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        palette = kmeans_palette(window, 256).palette
        path = FOLDER / f"{name}.png"
        write_indexed(path, map_to_palette(window, palette), palette)
        print(f"{path.name}: {path.stat().st_size:,} bytes")

    def close(self):
        """End it."""
        self.viewer.close()


def draw_photo():
    """Show the preview of a photo, then the photo beside its colors."""
    session = Session("photo")
    session.controls.k.value = 6
    session.preview()
    session.picture("napari_preview")
    session.run(6)
    session.viewer.canvas.grid.enabled = True
    session.viewer.reset_view()
    session.picture("napari_window")
    session.close()


def draw_section():
    """Show where the nuclei of a stained section are."""
    session = Session("section")
    session.run(5, color_space="lab", output="labels")
    session.choose(3)
    session.picture("napari_section")
    session.close()


def draw_fluorescence():
    """Show a stack whose three layers are the channels of one image."""
    session = Session("fluorescence")
    session.controls.source.value = session.viewer.layers["nuclei"]
    session.viewer.layers.selection = set(session.viewer.layers)
    session.run(6, channels="layers", output="labels")
    session.picture("napari_fluorescence")
    session.close()


def draw_series():
    """Show the areas of clusters in a frame of a time series."""
    session = Session("series")
    session.viewer.layers.selection = set(session.viewer.layers)
    session.run(3, channels="layers", output="labels")
    session.name("background", "nuclei", "cytoplasm")
    session.widget.palette_panel.measure.choice.setCurrentText("each t")
    session.viewer.dims.set_current_step(0, 5)
    # With room for all columns.
    session.widget.min_width = 460
    session.rest(1)
    session.viewer.reset_view()
    session.picture("tutorial_series")
    session.close()


def draw_nuclei():
    """Show nuclei of a stained section as objects, and the table that they are from."""
    session = Session("section")
    session.run(5, color_space="lab", output="labels")
    session.name("", "", "", "nuclei")
    labels = session.viewer.layers[-1]
    separate_objects(labels, "nuclei", smallest=30, viewer=session.viewer)
    session.viewer.layers[-1].contour = 1
    labels.visible = False
    session.viewer.layers.selection.active = labels
    session.picture("tutorial_section")
    session.close()


def draw_volume():
    """Show one kind of grain of a volume."""
    session = Session("volume")
    session.run(4, output="labels")
    session.viewer.dims.ndisplay = 3
    session.viewer.reset_view()
    session.viewer.scene.camera.angles = (10, -35, 65)
    session.viewer.scene.camera.zoom *= 0.68
    session.choose(3)
    session.picture("napari_volume")
    session.close()


if __name__ == "__main__":
    draw_photo()
    draw_section()
    draw_fluorescence()
    draw_series()
    draw_nuclei()
    draw_volume()
