"""The code in the documents, as scripts that run it in the order in which it stands.

    python tests/documents.py

runs README.md and docs/install.md, each in a fresh copy of the checkout, with all that
they say about setting up. What they take from the repository, they get from here. Only
some of the tests run: those of a module that needs a window, and of one that does not.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
import tifffile
import uv
from PIL import Image

from napari_kmeans._napari.sample_data import series
from slides import SLIDE, write_slide
from zarr_stores import levels_of, make_image

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
INSTALL = ROOT / "docs" / "install.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").rglob("*.md")))
REPOSITORY = "https://github.com/napari-kmeans/napari-kmeans"
# Blocks of code, after a mark if they set up an environment, and commands in the text.
_CODE = re.compile(
    r"(?P<mark><!-- setup -->\n)?^```(?P<language>\w+)\n(?P<block>.*?)^```$"
    r"|(?<!`)`(?P<inline>napari-kmeans\s[^`]+)`",
    re.MULTILINE | re.DOTALL,
)
_SHELLS = ("sh", "bash")
_SOME_TESTS = "tests/core/test_lloyd.py tests/napari/test_error_plot.py"
# One line opens a window; the other installs with pip what README.md has installed.
_LEFT_OUT = ("uvx --with", 'pip install "napari-kmeans[gui]')


class Code(NamedTuple):
    """Lines of one language, and whether they set up an environment."""

    language: str
    text: str
    is_setup: bool = False


def code_of(document):
    """Return the pieces of code in a document, in their order."""
    text = document.read_text(encoding="utf-8")
    return [
        Code("sh", " ".join(found["inline"].split()) + "\n")
        if found["inline"]
        else Code(found["language"], found["block"], bool(found["mark"]))
        for found in _CODE.finditer(text)
    ]


def script_of(pieces):
    """Write a script for bash, which stops at the first line that fails."""
    lines = ["set -eux -o pipefail"]
    python = ""
    for language, some in itertools.groupby(pieces, lambda piece: piece.language):
        text = "".join(piece.text for piece in some)
        if language in _SHELLS:
            calls = re.sub(r" *\\\n *", " ", text).splitlines()
            lines += [call for call in calls if not call.startswith(_LEFT_OUT)]
        elif language == "python":
            # What a piece defines, a later one may use.
            python += text
            lines += ["python - <<'END'", python.rstrip("\n"), "END"]
        elif shutil.which(language):
            lines.append(f"{language} -c '{text.strip()}'")
    return "\n".join([*lines, ""])


def write_images(folder):
    """Write the images that documents speak of, much smaller."""
    photo = Image.fromarray(skimage.data.astronaut()).resize((24, 32))
    for name in ("photo.jpg", "a.jpg", "b.jpg", "parrots.png", "photos/c.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        photo.save(folder / name)
    make_image(folder / "slide.ome.zarr", levels_of(np.moveaxis(SLIDE, -1, 0)))
    write_slide(folder / "slide.svs")
    tifffile.imwrite(folder / "a.ome.tif", np.zeros((2, 9, 9), np.uint16))
    frames = np.stack([channel for channel, *_ in series()], axis=1)
    tifffile.imwrite(folder / "cells.tif", frames)


def run_in_copy(document):
    """Run a document in a fresh copy of the checkout, without a screen."""
    hidden = ("DISPLAY", "VIRTUAL_ENV", "WAYLAND_DISPLAY")
    environment = {n: value for n, value in os.environ.items() if n not in hidden}
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    with tempfile.TemporaryDirectory() as outside:
        folder = os.path.join(outside, "checkout")
        for name in listed.stdout.split("\0")[:-1]:
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy, follow_symlinks=False)
        write_images(Path(folder))
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": REPOSITORY,
            "PATH": os.environ["PATH"] + os.pathsep + os.path.dirname(uv.find_uv_bin()),
            "PIP_QUIET": "1",
            "PYTEST_ADDOPTS": _SOME_TESTS,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_TOOL_BIN_DIR": os.path.join(outside, "bin"),
            "UV_TOOL_DIR": os.path.join(outside, "tools"),
        }
        script = script_of(code_of(document))
        done = subprocess.run(
            ["bash", "-s"], input=script, text=True, cwd=folder, env=environment
        )
    return done.returncode


def main():
    """Run the documents that say how to set up."""
    sys.exit(run_in_copy(README) or run_in_copy(INSTALL))


if __name__ == "__main__":
    main()
