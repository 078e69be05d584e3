"""Measure how long the plugin holds the window's thread, on a large photo.

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python benchmarks/napari_window.py

For each action of a user, it prints the longest that the plugin's own code, and the
longest that any event (napari's work included: slicing, textures, drawing), kept the
window from answering, and how long it took until Cancel was answered and until its
thread had ended.
"""

import gc
import os
import sys
import threading
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

# Neither show what this machine's user has set, nor write it.
os.environ["NAPARI_CONFIG"] = ""

import numpy as np
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QApplication
from skimage import data

import napari
import napari_kmeans._napari

OWN = str(Path(napari_kmeans._napari.__file__).parent)
OTHERS = tuple(str(Path(find_spec(name).origin).parent) for name in ("napari", "vispy"))
# Seconds from one position of a hand to the next, as often as screens are drawn.
PACE = 1 / 60


class Stopwatch:
    """Time what the plugin does in this thread, less what it has napari do.

    `longest` is by the clock, and `longest_cpu` what the processor worked for it: the
    threads that compute wait for Python, too.
    """

    def __init__(self):
        self._frames = []
        self.reset()

    def start(self):
        """Watch every call from now on."""
        sys.setprofile(self._note)

    def reset(self):
        """Forget what was longest."""
        self.longest, self.longest_cpu, self.where = 0.0, 0.0, ""
        self._own, self._since, self._entry = np.zeros(2), np.zeros(2), ""

    def _note(self, frame, event, _):
        if event == "call":
            name = frame.f_code.co_filename
            kind = "own" if name.startswith(OWN) else None
            if name.startswith(OTHERS):
                kind = "other"
            before = self._frames[-1] if self._frames else None
            if kind is None:
                kind = before
            if before != "own" and kind == "own":
                if "own" not in self._frames:
                    self._own, self._entry = np.zeros(2), frame.f_code.co_qualname
                self._since = _now()
            elif before == "own" and kind != "own":
                self._own = self._own + _now() - self._since
            self._frames.append(kind)
        elif event == "return" and self._frames:
            kind = self._frames.pop()
            after = self._frames[-1] if self._frames else None
            if kind == "own" and after != "own":
                self._own = self._own + _now() - self._since
                if "own" not in self._frames:
                    self._end()
            elif kind != "own" and after == "own":
                self._since = _now()

    def _end(self):
        wall, cpu = self._own
        if wall > self.longest:
            self.longest, self.where = wall, self._entry
        self.longest_cpu = max(self.longest_cpu, cpu)


def _now():
    """Give the time by the clock, and that of this thread on the processor."""
    return np.array([time.perf_counter(), time.thread_time()])


class Application(QApplication):
    """Time every event."""

    longest = 0.0
    _depth = 0

    def notify(self, receiver, event):
        """Pass an event on."""
        self._depth += 1
        start = time.perf_counter()
        try:
            return super().notify(receiver, event)
        finally:
            self._depth -= 1
            # Dialogs and waiting loops are nested in the event that opened them.
            if self._depth == 0 and event.type() != QEvent.Type.DeferredDelete:
                self.longest = max(self.longest, time.perf_counter() - start)


def print_row(app, watch, action):
    """Print what took longest in an action, and forget it."""
    print(
        f"{action:34}{watch.longest * 1e3:7.1f} ms own  "
        f"{watch.longest_cpu * 1e3:7.1f} ms CPU  "
        f"{app.longest * 1e3:7.1f} ms in all   ({watch.where})",
        flush=True,
    )
    watch.reset()
    app.longest = 0.0


def threads():
    """Give the threads that compute."""
    return [t for t in threading.enumerate() if t.name == "napari-kmeans"]


def main():
    """Do what a user does, and print what it took."""
    app = Application.instance() or Application(sys.argv)
    rng = np.random.default_rng(0)
    tile = np.tile(data.astronaut(), (6, 10, 1))[:3000, :5000].astype(np.int16)
    photo = np.clip(tile + rng.integers(-4, 5, tile.shape), 0, 255).astype(np.uint8)
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.add_image(photo, name="photo")
    _, widget = viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
    watch = Stopwatch()

    def rest(seconds):
        """Let the window work, and sleep like any other."""
        timer = QTimer()
        timer.start(5)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            app.processEvents()
            time.sleep(0.001)

    def wait(condition):
        while not condition():
            rest(0.01)

    show = partial(print_row, app, watch)

    rest(1)
    # Python collects garbage in whoever's code it happens to be due.
    gc.collect()
    gc.disable()
    watch.start()
    app.longest = 0.0
    widget.run_panel.live.value = True
    wait(
        lambda: (
            widget.run_panel._preview.is_settled
            and widget.run_panel._preview.layer is not None
        )
    )
    show("first preview")
    n_shown, n_threads = 0, 0
    for position in list(range(5, 60)) + list(range(60, 5, -1)):
        before = widget.run_panel._preview.layer.data
        widget.controls.k_slider.value = position
        rest(PACE)
        n_shown += widget.run_panel._preview.layer.data is not before
        n_threads = max(n_threads, len(threads()))
    wait(lambda: widget.run_panel._preview.is_settled)
    show(f"dragging k ({n_shown} of 110 shown)")
    print(f"{n_threads} threads at most computed previews at a time")
    widget.run_panel.live.value = False
    widget.controls.k.value = 16
    widget.controls.output.value = "both"
    rest(0.2)
    show("preview off")
    start = time.perf_counter()
    widget.run_panel.run.native.click()
    wait(lambda: widget.run_panel.run.enabled)
    took = time.perf_counter() - start
    rest(0.5)
    show(f"reducing to both ({took:.2f} s)")
    widget.palette_panel.compression.unfold()
    wait(lambda: "File:" in widget.palette_panel.numbers.value)
    show("measuring the file")
    for entry in range(16):
        widget.palette_panel.table.pointed.emit(entry)
        rest(PACE)
    show("pointing at each color")
    widget.palette_panel.table.pointed.emit(-1)
    rest(0.2)
    show("pointing at none")
    widget.palette_panel._ask_color = lambda *_: np.array([255, 0, 0], dtype=np.uint8)
    widget.palette_panel.table.opened.emit(3)
    rest(1.5)
    show("replacing a color")

    answered, ended = [], []
    for delay in np.linspace(0, 0.5, 12):
        widget.run_panel.run.native.click()
        rest(delay)
        if not widget.run_panel.cancel.enabled:
            continue
        start = time.perf_counter()
        widget.run_panel.cancel.native.click()
        app.processEvents()
        answered.append(time.perf_counter() - start)
        while threads():
            rest(0.002)
        ended.append(time.perf_counter() - start)
    print(
        f"cancelled {len(answered)} times: answered within {max(answered):.3f} s, "
        f"thread ended within {max(ended):.3f} s"
    )
    sys.setprofile(None)
    viewer.close()


if __name__ == "__main__":
    main()
