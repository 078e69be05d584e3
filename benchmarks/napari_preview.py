r"""Count how often the preview follows while k is dragged, in a real window.

    xvfb-run -a -s "-screen 0 1600x1000x24" \
        .venv/bin/python benchmarks/napari_preview.py

The photo is made of those that scikit-image installs, or of the files in a folder
(`--photos`), enlarged to each of some sizes. A row of the table is a hand that moves
the slider of k to and fro, 20 times a second, with the colors counted before: how many
previews were shown per second if no palette was fitted before, and if all were fitted
and are kept; then the longest that the plugin's own code kept the window from
answering, by the clock and on the processor, and the longest that any event did
(napari's work included: textures, drawing).
"""

import argparse
import gc
import sys
import time
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from skimage import data, io, transform

from napari_window import Application, Stopwatch, napari

# Values of k that are dragged over.
RANGES = [(5, 16), (33, 64), (193, 256)]
# Previews per second that are to be reached, by the megapixels of the photo.
WANTED = {1: (10, 5, 3), 20: (5, 3, 2)}
# Seconds of a drag, and from one place of the hand to the next.
DRAG, PACE = 4, 1 / 20


def make_photo(megapixels, folder):
    """Give four photos, enlarged to one of so many megapixels."""
    if folder is None:
        photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    else:
        photos = [io.imread(path) for path in sorted(folder.glob("*.*"))[:4]]
    crops = np.stack([photo[:300, :450, :3] for photo in photos])
    small = crops.reshape(2, 2, 300, 450, 3).swapaxes(1, 2).reshape(600, 900, 3)
    rows = round((megapixels * 1e6 / 1.5) ** 0.5)
    large = transform.resize(small, (rows, rows * 3 // 2), order=3, anti_aliasing=False)
    return (np.clip(large, 0, 1) * 255).astype(np.uint8)


def rest(seconds):
    """Let the window work."""
    loop = QEventLoop()
    QTimer.singleShot(max(1, round(seconds * 1e3)), loop.quit)
    loop.exec()


def wait(panel):
    """Let the window work until the preview shows what is chosen."""
    rest(0.1)
    while not panel._preview.is_settled:
        rest(0.01)


def drag(widget, ks, *, are_new):
    """Move k, and give the number of previews that were shown per second."""
    shown, controls = [], widget.controls
    events = widget.run_panel._preview.layer.events.data
    events.connect(shown.append)
    start = time.perf_counter()
    for i in range(round(DRAG / PACE)):
        if are_new:
            # What a start called "auto" does not depend on.
            controls.rng.value = i
        controls.k.value = ks[i % len(ks)]
        rest(start + (i + 1) * PACE - time.perf_counter())
    events.disconnect(shown.append)
    return len(shown) / (time.perf_counter() - start)


def measure(app, photo, wanted):
    """Drag k over a photo, and print a row for each range."""
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.add_image(photo, name="photo")
    _, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    panel, size, watch = widget.run_panel, f"{photo.size / 3e6:.0f} MP", Stopwatch()
    rest(1)
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    panel.live.value = True
    wait(panel)
    took, shape = time.perf_counter() - start, panel._preview.layer.data.shape
    print(f"{size}: first preview after {took:.2f} s, {shape[1]} x {shape[0]} pixels")
    slider = [round(2 ** (i / 16)) for i in range(129)]
    for (low, high), least in zip(RANGES, wanted, strict=True):
        ks = sorted({k for k in slider if low <= k <= high})
        ks += ks[-2:0:-1]
        widget.controls.k.value = low
        wait(panel)
        new = drag(widget, ks, are_new=True)
        for k in ks:
            widget.controls.k.value = k
            wait(panel)
        kept = drag(widget, ks, are_new=False)
        watch.reset()
        app.longest = 0.0
        watch.start()
        drag(widget, ks, are_new=True)
        sys.setprofile(None)
        print(
            f"| {size} | {low} to {high} | {least} | {new:.1f} | {kept:.1f} | "
            f"{watch.longest * 1e3:.0f} | {watch.longest_cpu * 1e3:.0f} | "
            f"{app.longest * 1e3:.0f} |   ({watch.where})",
            flush=True,
        )
    panel.live.value = False
    viewer.close()


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder of at least four photos")
    folder = parser.parse_args().photos
    app = Application.instance() or Application(sys.argv)
    print("| size | k | wanted (1/s) | new (1/s) | kept (1/s) | own (ms) | CPU | all |")
    for megapixels, wanted in WANTED.items():
        measure(app, make_photo(megapixels, folder), wanted)


if __name__ == "__main__":
    main()
