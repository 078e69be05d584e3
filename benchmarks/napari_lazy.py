"""Measure how long the plugin holds the window's thread, on a lazy pyramid.

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python benchmarks/napari_lazy.py

The image has 16384 x 16384 pixels in chunks of 1024 x 1024, and levels. napari slices
in threads, as with *Preferences > Experimental > Async*. The columns are those of
`napari_window.py`: the longest that the plugin's own code kept the window from
answering, by the clock and on the processor, and the longest that any event did.
"""

import gc
import os
import sys
import threading
import time
from functools import partial

# For this program alone: settings of the user are neither read nor written.
os.environ["NAPARI_ASYNC"] = "1"

import dask.array as da
import numpy as np
from skimage import data

from napari_window import Application, Stopwatch, napari, print_row

SIDE, CHUNK = 16384, 1024
# Give napari's threads this many seconds to show a place.
LOOK = 2


def make_levels():
    """Give the levels of an image whose chunks are made when they are read."""
    photos = [data.astronaut(), data.coffee()[:400, :512], data.rocket()[:400, :512]]
    tile = np.tile(np.concatenate(photos), (2, 4, 1))

    def chunk(block_info):
        place = block_info[None]["array-location"]
        shape = [stop - start for start, stop in place[:2]]
        seed = [start for start, _ in place]
        corner = np.random.default_rng(seed).integers(0, 1024, 2)
        part = tile[corner[0] :, corner[1] :][: shape[0], : shape[1]]
        return np.pad(part, [(0, shape[i] - part.shape[i]) for i in (0, 1)] + [(0, 0)])

    def level(side):
        n_chunks = max(1, side // CHUNK)
        chunks = ((side // n_chunks,) * n_chunks,) * 2 + ((3,),)
        return da.map_blocks(chunk, chunks=chunks, dtype=np.uint8, meta=tile[:0])

    return [level(SIDE >> i) for i in range(6)]


def main():
    """Do what a user does, and print what it took."""
    app = Application.instance() or Application(sys.argv)
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.add_image(make_levels(), name="slide", multiscale=True, rgb=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    watch, panel = Stopwatch(), widget.run_panel
    # napari 0.9 has moved it.
    camera = getattr(viewer, "scene", viewer).camera

    def rest(seconds):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            app.processEvents()
            time.sleep(0.001)

    def run():
        start = time.perf_counter()
        panel.run.native.click()
        while not panel.run.enabled:
            rest(0.01)
        return f"{time.perf_counter() - start:.1f} s"

    show = partial(print_row, app, watch)

    rest(LOOK)
    widget.controls.output.value = "both"
    # Python collects garbage in whoever's code it happens to be due.
    gc.collect()
    gc.disable()
    watch.start()
    app.longest = 0.0
    show(f"reducing to both ({run()})")
    rest(LOOK)
    show("first look at the result")
    camera.zoom, camera.center = 1, (0, 5000, 5000)
    rest(LOOK)
    show("zooming to full resolution")
    for step in range(20):
        camera.center = (0, 5000 + 100 * step, 5000 + 100 * step)
        rest(0.1)
    show("panning")
    for entry in range(16):
        widget.palette_panel.table.pointed.emit(entry)
        rest(0.1)
    widget.palette_panel.table.pointed.emit(-1)
    rest(LOOK)
    show("pointing at each color")
    widget.palette_panel._ask_color = lambda *_: np.array([255, 0, 0], dtype=np.uint8)
    widget.palette_panel.table.opened.emit(3)
    rest(LOOK)
    show("replacing a color")
    widget.controls.k.value = 12
    show(f"another k ({run()})")
    rest(LOOK)
    show("first look at it")
    panel.live.value = True
    rest(LOOK)
    show("preview")
    widget.controls.color_space.value = "lab"
    panel.run.native.click()
    rest(0.5)
    start = time.perf_counter()
    panel.cancel.native.click()
    while any(thread.name == "napari-kmeans" for thread in threading.enumerate()):
        rest(0.002)
    show(f"cancelling ({time.perf_counter() - start:.2f} s to the end)")
    sys.setprofile(None)
    viewer.close()


if __name__ == "__main__":
    main()
