"""What stands in the documents and in help texts runs in the order it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
from napari.layers import Image

import documents
from command_line import run
from napari_kmeans import write_indexed, write_palette

COMMANDS = ("compress", "apply", "palette", "curve", "info")
NEEDS_BASH = pytest.mark.skipif(os.name == "nt", reason="documents are for a shell")


def run_script(script, folder):
    """Run a script with the programs of this environment; it must succeed in quiet."""
    documents.write_images(folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-s"],
        input=script,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert "Error: " not in done.stderr


@NEEDS_BASH
@pytest.mark.parametrize("document", documents.DOCUMENTS, ids=lambda path: path.name)
def test_code_runs_in_the_order_it_stands(document, tmp_path):
    code = [piece for piece in documents.code_of(document) if not piece.is_setup]
    if document.name == "napari.md":  # It speaks of a viewer: see below.
        code = [piece for piece in code if piece.language != "python"]
    run_script(documents.script_of(code), tmp_path)


@NEEDS_BASH
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_examples_of_help_run_in_the_order_they_stand(command, tmp_path):
    examples = re.findall(r"^ +(napari-kmeans .*)$", run(*command, "-h").stdout, re.M)
    assert len(examples) >= 2
    colors = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    write_palette(tmp_path / "bw.gpl", colors)
    write_palette(tmp_path / "flag.gpl", colors)
    tifffile.imwrite(tmp_path / "d.tif", np.zeros((9, 9), np.uint8))
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4) % 2
    write_indexed(tmp_path / "other.png", labels, colors)
    run_script("\n".join(["set -eux", *examples, ""]), tmp_path)


def test_setting_up_is_on_the_first_screen_and_told_where_it_ends():
    pieces = documents.code_of(documents.README)
    assert [piece.is_setup for piece in pieces[:2]] == [True, False]
    assert "python3 dev.py run photo.jpg" in pieces[0].text
    assert pieces[0].text.splitlines()[-1].startswith(". .venv/bin/activate")


def test_examples_in_napari_run_in_the_order_they_stand(viewer, monkeypatch):
    coffee = skimage.data.coffee()[:40, :60]
    monkeypatch.setattr(skimage.data, "coffee", lambda: coffee)
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    viewer.add_layer(Image(coffee, name="coffee"))
    viewer.add_layer(Image(coffee, name="H&E section"))
    viewer.add_shapes([[5, 5], [30, 40]], shape_type="rectangle", name="tissue")
    names = {"viewer": viewer}
    for piece in documents.code_of(documents.ROOT / "docs" / "napari.md"):
        exec(piece.text, names)
    assert len(viewer.layers) == 6
