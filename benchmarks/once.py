"""Whole commands and whole clicks, of this checkout and of another one, by turns.

    xvfb-run -a python benchmarks/once.py PHOTOS --against OTHER_CHECKOUT

PHOTOS is a folder of kodim01.png to kodim24.png; large.png has 4 megapixels of them. A
command is a process: wall and CPU seconds, peak memory, and whether its files and its
JSON are the same. A click on *Run K-means*, for a layer of large.png, has wall
seconds until the result is in the viewer, and CPU seconds until no thread computes any
more. A call is that of the function behind the click. Before is the other checkout,
after this one; ratios are medians of pairs. The last columns say how often colors were
counted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing large: a process that is started has the memory of this one at first.
from benchmarks.sides import ROOT, Side, by_turns, environment, medians, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Answer = dict[str, Any]

# What counts colors, and what a click calls: the first that a checkout has.
COUNTERS = [
    "napari_kmeans._core.color_counts.count_pixels",
    "napari_kmeans._core.color_counts.count_all",
    "napari_kmeans._color_counts.count_all",
]
PLUGIN = "napari_kmeans._napari"
QUANTIZE = [
    "napari_kmeans.quantize_layer",
    f"{PLUGIN}._outcomes.quantize_source",
    f"{PLUGIN}.quantize_layer.quantize_source",
]
# What the second and third one are given.
READ_SOURCE = [f"{PLUGIN}._layers.read_source", f"{PLUGIN}.layers.read_source"]
SETTINGS = [f"{PLUGIN}._settings.Settings", f"{PLUGIN}.settings.Settings"]
COMMANDS = [
    "-k 16 photo.png",
    "-k 16 large.png",
    "--psnr 32 photo.png",
    "--max-size 50KB photo.png",
    "--shared photo.png other.png",
    "apply --palette colors.gpl photo.png",
]
# As the widget calls them, and as functions do.
OUTPUTS = {"image": "image", "labels": "labels", "image and labels": "both"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, help="folder of the photos")
    parser.add_argument("--against", type=Path, default=ROOT, help="other checkout")
    parser.add_argument("--rounds", type=int, default=4, help="default: 4")
    parser.add_argument("--only", default="", help="part of the name of rows")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        answer_all()
    photos, against = str(arguments.photos.resolve()), arguments.against.resolve()
    # Neither show what this machine's user has set, nor write it.
    os.environ["NAPARI_CONFIG"] = ""
    print("| | same | wall (s) before | after | ratio | CPU (s) before ", end="")
    print("| after | ratio | MB before | after | ratio | counted before | after |")
    print("|---|---|" + "--:|" * 11)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sides = [Side(path, __file__, photos) for path in (against, ROOT)]
        sides[0].ask("make_files", photos)
        programs = [Program(path) for path in (against, ROOT)]
        rows = [("command", line) for line in COMMANDS]
        rows += [(task, output) for task in ("click", "call") for output in OUTPUTS]
        for task, words in rows:
            title = f"{task}: {words}"
            if arguments.only not in title:
                continue
            if task == "command":
                answers = by_turns(programs, arguments.rounds, words)
                counted = [side.ask(task, words) for side in sides]
            else:
                answers = by_turns(sides, arguments.rounds, task, words)
                counted = [side[-1] for side in answers]
            print_row(title, answers, counted)
        for side in sides:
            side.close()


def print_row(title: str, answers: list[list[Answer]], counted: list[Answer]) -> None:
    """Print a row of the table."""
    bits = {answer["bits"] for side in answers for answer in side}
    cells = ["yes" if len(bits) == 1 else "no"]
    for key in ("wall", "cpu", "mb"):
        known = key in answers[0][0]
        cells += [f"{n:.2f}" for n in medians(key, answers)] if known else ["-"] * 3
    cells += [str(answer["counted"]) for answer in counted]
    print("|", " | ".join([title, *cells]), "|", flush=True)


class Program:
    """The command of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._environment = environment(checkout)

    def ask(self, line: str) -> Answer:
        """Run it in a process of its own, and return what that took."""
        shutil.rmtree("made", ignore_errors=True)
        start = time.perf_counter()
        with open("output.json", "w") as output:
            command = [sys.executable, "-m", "napari_kmeans", *words_of(line)]
            process = subprocess.Popen(command, env=self._environment, stdout=output)
            _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if status:
            msg = f"{line}: status {os.waitstatus_to_exitcode(status)}"
            raise SystemExit(msg)
        text = re.sub('"seconds": .*', "", Path("output.json").read_text())
        files = [path.read_bytes() for path in sorted(Path("made").iterdir())]
        return {
            "wall": wall,
            "cpu": used.ru_utime + used.ru_stime,
            "mb": used.ru_maxrss / 1024,
            "bits": hashlib.sha1(b"".join([text.encode(), *files])).hexdigest(),
        }


def words_of(line: str) -> list[str]:
    """Return the arguments of a command that writes into a folder."""
    return [*line.split(), "--output", "made/", "--force", "--json"]


# What a side is asked.


def answer_all() -> None:
    """Answer with what a task takes, and how often it counts colors."""
    n_counted = 0

    def counting(*arguments: Any, **keywords: Any) -> Any:
        nonlocal n_counted
        n_counted += 1
        return counter(*arguments, **keywords)

    counter = first_of(COUNTERS)
    for name, module in list(sys.modules.items()):
        if name.startswith("napari_kmeans"):
            for key, value in list(vars(module).items()):
                if value is counter:
                    setattr(module, key, counting)

    def answer(task: str, words: str) -> Answer:
        nonlocal n_counted
        n_counted = 0
        return TASKS[task](words) | {"counted": n_counted}

    serve(answer)


def first_of(names: list[str]) -> Any:
    """Return the first that there is of some functions."""
    for name in names:
        module, _, function = name.rpartition(".")
        with suppress(ImportError, AttributeError):
            return getattr(import_module(module), function)
    msg = f"there is none of {', '.join(names)}"
    raise SystemExit(msg)


def make_files(photos: str) -> Answer:
    """Write what commands read into the current folder."""
    import numpy as np
    from benchmarks.photos import tiled
    from PIL import Image

    from napari_kmeans import kmeans_palette, write_palette

    paths = sorted(Path(photos).glob("kodim*.png"))
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    large = tiled(images, 4_000_000)
    for name, image in (("photo", images[2]), ("other", images[3]), ("large", large)):
        Image.fromarray(image).save(f"{name}.png")
    write_palette("colors.gpl", kmeans_palette(images[4], 32).palette)
    return {}


def command(line: str) -> Answer:
    """Run a command in this process."""
    from napari_kmeans._cli import main

    with redirect_stdout(StringIO()), suppress(SystemExit):
        main(words_of(line))
    return {}


def click(output: str) -> Answer:
    """Press the button of the widget, and wait for the result and all threads."""
    from qtpy.QtWidgets import QApplication, QComboBox, QPushButton

    import napari_kmeans._napari as plugin

    # Version 0.1.0 had it in the package itself, and called the button otherwise.
    widget = getattr(plugin, "QuantizeWidget", None)
    if widget is None:
        from napari_kmeans._napari.widget import QuantizeWidget as widget

    app = QApplication.instance() or QApplication([])
    _, viewer = large_layer()
    widget = widget(viewer)
    for box in widget.native.findChildren(QComboBox):
        if box.findText("image and labels") >= 0:
            box.setCurrentIndex(box.findText(output))
    buttons = widget.native.findChildren(QPushButton)
    names = "Run K-means", "Reduce colors"
    (button,) = (one for one in buttons if one.text() in names)
    wall, cpu = time.perf_counter(), time.process_time()
    button.click()
    while len(viewer.layers) < 2 + (output == "image and labels"):
        app.processEvents()
        time.sleep(0.001)
    wall = time.perf_counter() - wall
    while any(thread.name == "napari-kmeans" for thread in threading.enumerate()):
        app.processEvents()
        time.sleep(0.001)
    cpu = time.process_time() - cpu
    arrays = [result.data for result in viewer.layers[1:]]
    return {"wall": wall, "cpu": cpu, "bits": bits_of(arrays)}


def call(output: str) -> Answer:
    """Call the function behind the click."""
    layer, _ = large_layer()
    wanted, quantize = OUTPUTS[output], first_of(QUANTIZE)
    is_public = quantize.__name__ == "quantize_layer"
    if not is_public:
        source = first_of(READ_SOURCE)((layer,), None)
        settings = first_of(SETTINGS)(output=wanted)
    wall, cpu = time.perf_counter(), time.process_time()
    if is_public:
        arrays = [result.data for result in quantize(layer, output=wanted)]
    else:
        made = quantize(source, settings, lambda _: None)
        arrays = [*made.images, *(made.labels if wanted != "image" else ())]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"wall": wall, "cpu": cpu, "bits": bits_of(arrays)}


def large_layer() -> Any:
    """Return a layer of the large image in a viewer, and the viewer."""
    from napari.components import ViewerModel
    from skimage.io import imread

    viewer = ViewerModel()
    return viewer.add_image(imread("large.png"), name="large"), viewer


def bits_of(arrays: Sequence[NDArray[Any]]) -> str:
    """Return what stands for all bits of arrays."""
    texts = [f"{array.dtype}{array.shape}".encode() for array in arrays]
    return hashlib.sha1(b"".join([*texts, *(a.tobytes() for a in arrays)])).hexdigest()


TASKS: dict[str, Callable[[str], Answer]] = {
    "make_files": make_files,
    "command": command,
    "click": click,
    "call": call,
}


if __name__ == "__main__":
    main()
