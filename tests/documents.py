"""The code in the documents, as scripts that run it in the order in which it stands.

    python tests/documents.py

runs all that stands in README.md in a fresh copy of the checkout. Of the tests, it only
runs some: those that need a window, and some that need none.
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
from PIL import Image

from napari_kmeans._napari.sample_data import series
from slides import SLIDE, write_slide
from zarr_stores import levels_of, make_image

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (
    README,
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "developers").glob("*.md")),
)
# Blocks of code, after a mark if they set up an environment, and commands in the text.
_CODE = re.compile(
    r"(?P<mark><!-- setup -->\n)?^```(?P<language>\w+)\n(?P<block>.*?)^```$"
    r"|(?<!`)`(?P<inline>napari-kmeans\s[^`]+)`",
    re.MULTILINE | re.DOTALL,
)
_SHELLS = ("sh", "bash")
_SOME_TESTS = "tests/core/test_lloyd.py tests/napari/test_error_plot.py"


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
            lines += text.splitlines()
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


def main():
    """Run README.md in a fresh copy of the checkout, without a screen."""
    hidden = ("DISPLAY", "VIRTUAL_ENV", "WAYLAND_DISPLAY")
    environment = {n: value for n, value in os.environ.items() if n not in hidden}
    environment |= {"PIP_QUIET": "1", "PYTEST_ADDOPTS": _SOME_TESTS}
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in listed.stdout.split("\0")[:-1]:
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy, follow_symlinks=False)
        write_images(Path(folder))
        script = script_of(code_of(README))
        done = subprocess.run(
            ["bash", "-s"], input=script, text=True, cwd=folder, env=environment
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
