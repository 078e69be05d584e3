"""What stands in the documents and in help texts runs in the order it stands."""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
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


# Waits for commands, and goes on as each, none of which needs to load the libraries.
SERVER = """
import json, os, socket, sys
from socketserver import BaseRequestHandler, ForkingMixIn, UnixStreamServer
import dask.array, distributed, imagecodecs, oxipng, PIL.Image, PIL.ImageDraw, zarr
import skimage.color, skimage.data, tifffile, tqdm
from napari_kmeans import _compression
from napari_kmeans._cli import main
from napari_kmeans._core import fewest
from napari_kmeans._files import indexed, palettes, read, write
from napari_kmeans._pictures import charts, report

class Command(BaseRequestHandler):
    def handle(self):
        sent, streams, *_ = socket.recv_fds(self.request, 1 << 20, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.argv, folder, variables = json.loads(sent)
        os.chdir(folder)
        os.environ.update(variables)
        status = 0
        try:
            if sys.argv[0].endswith("python"):
                exec(sys.stdin.read(), {"__name__": "__main__"})
            else:
                main()
        except SystemExit as end:
            status = end.code or 0
        self.request.send(b"%d" % status)

class Commands(ForkingMixIn, UnixStreamServer):
    pass

PIL.Image.init()
with Commands("commands", Command) as commands:
    print("ready", flush=True)
    commands.serve_forever()
"""
# Stands for a program. One that ends without a status leaves no number here.
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    said = json.dumps([sys.argv, os.getcwd(), dict(os.environ)])
    socket.send_fds(server, [said.encode()], [0, 1, 2])
    sys.exit(int(server.recv(9)))
"""


@pytest.fixture(scope="module")
def programs():
    """Give a folder with programs that have been loaded already."""
    # The address of a socket must be short.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        address = str(folder / "commands")
        for program in ("napari-kmeans", "python"):
            client = folder / program
            client.write_text(CLIENT.format(python=sys.executable, address=address))
            client.chmod(0o700)
        server = [sys.executable, "-c", SERVER]
        with subprocess.Popen(server, cwd=folder, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            yield folder
            process.terminate()


@pytest.fixture
def run_script(tmp_path, programs):
    """Run a script with the programs of this environment; it must succeed in quiet."""

    def run_script(script):
        documents.write_images(tmp_path)
        folders = [programs, Path(sys.executable).parent, os.environ["PATH"]]
        done = subprocess.run(
            ["bash", "-s"],
            input=script,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PATH": os.pathsep.join(map(str, folders))},
        )
        assert done.returncode == 0, done.stderr
        assert "Error: " not in done.stderr

    return run_script


@NEEDS_BASH
@pytest.mark.parametrize(
    "document",
    [path for path in documents.DOCUMENTS if path.name != "tutorial.md"],
    ids=lambda path: path.relative_to(documents.ROOT).as_posix(),
)
def test_code_runs_in_the_order_it_stands(document, run_script):
    code = [piece for piece in documents.code_of(document) if not piece.is_setup]
    if document.name == "napari.md":  # It speaks of a viewer: see below.
        code = [piece for piece in code if piece.language != "python"]
    run_script(documents.script_of(code))


@NEEDS_BASH
def test_scripts_of_the_tutorial_end_in_areas_and_nuclei(run_script, tmp_path):
    code = documents.code_of(documents.ROOT / "docs" / "tutorial.md")
    run_script(documents.script_of(code))

    with open(tmp_path / "areas.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["slice"] for row in rows] == [
        str(i) for i in range(8) for _ in range(3)
    ]
    areas = [float(row["area"]) for row in rows if row["index"] == "2"]
    # Nuclei grow to twice their area.
    assert areas == sorted(areas)
    assert areas[-1] == pytest.approx(2 * areas[0], rel=0.05)
    nuclei = (tmp_path / "nuclei.csv").read_text(encoding="utf-8").splitlines()
    assert len(nuclei) == 1 + 164


def test_notebook_runs_in_the_order_it_stands():
    notebook = json.loads((documents.ROOT / "docs" / "areas.ipynb").read_text("utf-8"))
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["nuclei"].features) == 164


@NEEDS_BASH
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_examples_of_help_run_in_the_order_they_stand(command, run_script, tmp_path):
    examples = re.findall(r"^ +(napari-kmeans .*)$", run(*command, "-h").stdout, re.M)
    assert len(examples) >= 2
    colors = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    write_palette(tmp_path / "bw.gpl", colors)
    write_palette(tmp_path / "flag.gpl", colors)
    tifffile.imwrite(tmp_path / "d.tif", np.zeros((9, 9), np.uint8))
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4) % 2
    write_indexed(tmp_path / "other.png", labels, colors)
    run_script("\n".join(["set -eux", *examples, ""]))


def test_first_page_sets_up_before_the_second_screen_and_tells_where_it_ends():
    setup = documents.code_of(documents.README)[0]
    assert setup.is_setup
    assert "python3 dev.py run photo.jpg" in setup.text
    assert setup.text.splitlines()[-1].startswith(". .venv/bin/activate")
    text = documents.README.read_text(encoding="utf-8")
    assert text[: text.index(setup.text)].count("\n") < 20


def test_links_of_the_first_page_are_whole_and_lead_to_files_of_the_repository():
    text = documents.README.read_text(encoding="utf-8")
    addresses = re.findall(r"\]\(([^)]+)\)", " ".join(text.split()))
    sources = {
        "https://raw.githubusercontent.com/napari-kmeans/napari-kmeans/main/": "",
        "https://github.com/napari-kmeans/napari-kmeans/blob/main/": "",
        "https://napari-kmeans.github.io/napari-kmeans/": "docs/",
    }
    files = []
    for address in addresses:
        assert address.startswith("https://")
        for start, folder in sources.items():
            if address.startswith(start):
                name = folder + address.removeprefix(start)
                # The gallery is made of scripts.
                name = name.replace("auto_gallery/index.html", "gallery/README.rst")
                files.append(re.sub(r"\.html$", ".md", name))
    assert len(files) > 10
    assert [name for name in files if not (documents.ROOT / name).is_file()] == []


def test_multiples_on_the_first_page_are_those_of_the_benchmarks():
    first, benchmarks = (
        [line.strip("|").split("|") for line in lines if line.startswith("|")]
        for lines in (
            path.read_text(encoding="utf-8").splitlines()
            for path in (documents.README, documents.ROOT / "docs" / "benchmarks.md")
        )
    )
    names = [row[0].split(maxsplit=1)[0].strip(",") for row in first[2:]]
    assert len(names) == 6
    found = {
        name: [row[1:] for row in benchmarks if row[0].split()[:1] == [name]][:2]
        for name in (*names, "napari-kmeans")
    }
    (_, _, _, error, memory), (_, _, _, error_256, _) = found["napari-kmeans"]
    for name, (_, *shown) in zip(names, first[2:], strict=True):
        (_, _, times, e, m), (_, _, times_256, e_256, _) = found[name]
        multiples = [
            float(times),
            float(e) / float(error),
            float(m) / float(memory),
            float(times_256),
            float(e_256) / float(error_256),
        ]
        for cell, multiple in zip(shown, multiples, strict=True):
            digits = len(cell.strip().partition(".")[2])
            assert cell.strip() == f"{multiple:.{digits}f}"


def test_first_page_installs_as_the_page_on_installing_says():
    pieces = documents.code_of(documents.ROOT / "docs" / "index.md")
    assert pieces
    assert set(pieces) <= set(documents.code_of(documents.INSTALL))


def test_examples_in_napari_run_in_the_order_they_stand(viewer, monkeypatch):
    coffee = skimage.data.coffee()[:40, :60]
    monkeypatch.setattr(skimage.data, "coffee", lambda: coffee)
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    viewer.add_layer(Image(coffee, name="coffee"))
    viewer.add_layer(Image(coffee, name="IHC section"))
    viewer.add_shapes([[5, 5], [30, 40]], shape_type="rectangle", name="tissue")
    names = {"viewer": viewer}
    for piece in documents.code_of(documents.ROOT / "docs" / "napari.md"):
        exec(piece.text, names)
    assert len(viewer.layers) == 6
