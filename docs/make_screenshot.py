"""Draw docs/napari_window.png: a photo and its 16 colors in a real napari window.

On a machine without a screen, after ``python3 dev.py test`` has set it up:

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python docs/make_screenshot.py
"""

import os
from pathlib import Path

# Neither show what this machine's user has set, nor write it.
os.environ["NAPARI_CONFIG"] = ""

import napari
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_kmeans import kmeans_palette, map_to_palette
from napari_kmeans._indexed_files import write_indexed

PICTURE = Path(__file__).with_name("napari_window.png")


def main():
    """Run the widget on a photo and keep a picture of the window."""
    viewer = napari.Viewer(title="napari", show=True, show_welcome_screen=False)
    viewer.window.resize(1240, 640)
    viewer.add_image(data.astronaut(), name="astronaut")
    _, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    viewer.canvas.grid.enabled = True
    viewer.reset_view()

    widget.run.native.click()
    while widget.cancel.enabled:
        QApplication.processEvents()
    viewer.reset_view()
    QApplication.processEvents()

    window = viewer.screenshot(canvas_only=False, flash=False)[..., :3]
    viewer.close()
    palette = kmeans_palette(window, 256).palette
    write_indexed(PICTURE, map_to_palette(window, palette), palette)
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
