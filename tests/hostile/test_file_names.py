"""What the name of a file can carry: HTML, escape sequences, formulas, and code."""

import csv
import io
import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from napari.components import ViewerModel
from PIL import Image, PngImagePlugin

import napari
from command_line import names, refusal, run
from napari_kmeans import quantize_layer, read_palette, write_palette
from napari_kmeans._cli import running
from napari_kmeans._files import png
from napari_kmeans._files.palettes import read_names
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.script import as_python
from napari_kmeans._napari.table import cluster_table
from napari_kmeans._napari.table_files import table_files

MARKUP = ("<script>alert(1)<script>", "'onload='x", '"><img src=x>', "&lt;b&gt;", "$n")
FORMULAS = ("=cmd|' C'!A0", "+1", "-1", "@SUM(1)")
# Escape sequences, bells, lines, text from right to left, and bytes that are no UTF-8.
CONTROLS = ("\x1b[31m\x1b]0;x\x07", "\r", "\n", "\u202e", os.fsdecode(b"\xff"))
OTHERS = ("--help", "%s{0}", "a*[b]?", "  a b ", "CON", 'c:|"?')
NAMES = [f"{name}.png" for name in (*MARKUP, *FORMULAS, *CONTROLS, *OTHERS)]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder of images with these names, which is the working one."""
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(skimage.data.astronaut()[::40, ::40])
    image.save("a.png")
    for name in NAMES:
        shutil.copy("a.png", name)
    os.unlink("a.png")
    return tmp_path


def assert_printable(text):
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert text


class Page(HTMLParser):
    """The headings of a page, and everything that could run."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.active, self.tag = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tag = tag
        if tag in ("script", "iframe", "a", "object", "link", "form"):
            self.active.append(tag)
        for name, value in attributes:
            if name.startswith("on") or (
                name in ("src", "href") and not value.startswith("data:image/")
            ):
                self.active.append(f"{tag} {name}={value}")

    def handle_data(self, text):
        if self.tag == "h2" and text.strip():
            self.headings.append(text)
        self.tag = ""


def test_no_name_is_shown_as_it_is(files, monkeypatch):
    # How small a file becomes says nothing about its name.
    monkeypatch.setattr(png, "shrink_png", lambda content, **_: content)
    report = ["--report", "r.html", "--compare", "c/", "-o", "o/", "--effort", "fast"]
    result = run(*report, "-v", "--jobs", "1", "--", *NAMES)
    assert (result.exit_code, result.stderr) == (0, "")
    assert_printable(result.stdout)
    odd = [f"{name}.png" for name in CONTROLS]
    for call in (["info"], ["palette"], ["curve", "-k", "2"]):
        result = run(*call, "-v", "--jobs", "1", *odd)
        assert result.exit_code == 0
        assert_printable(result.output)
    assert len(names(files / "o")) == len(names(files / "c")) == len(NAMES)

    page = Page((files / "r.html").read_text())
    assert page.active == ["script"]
    assert sorted(page.headings) == sorted(map(running.one_line, NAMES))


@pytest.mark.usefixtures("files")
def test_programs_are_told_the_names_themselves():
    told = json.loads(run("info", "--json", ".").stdout)["images"]
    assert {os.path.basename(image["input"]) for image in told} == set(NAMES)
    assert all(os.path.exists(image["input"]) for image in told)


@pytest.mark.parametrize("call", [["-o", "o/", "--csv"], ["curve", "-k", "2", "-o"]])
def test_no_spreadsheet_takes_a_name_for_a_formula(files, call):
    wanted = [f"{name}.png" for name in FORMULAS]
    assert run(*call, "c.csv", "--", *wanted).exit_code == 0
    table = list(csv.reader((files / "c.csv").read_text().splitlines()))
    found = dict.fromkeys(row[0] for row in table[1:])
    assert list(found) == [f"./{name}" for name in wanted]


@pytest.mark.parametrize(
    "call",
    [
        *(["-o", "a\x1b[31m.xyz"], ["--format", "\x1b"], ["-k", "\x1b"], ["--\x1b"]),
        *(["--mask", "\x1b[31m"], ["--fixed", "\x1b"], ["-o", "\x1b[31m/x.png"]),
        *(["--report", "\x1b/x.html"], ["info", "\x1b[31m.png"]),
        ["curve", "-o", "\x1b.xyz"],
    ],
)
def test_errors_show_no_word_of_a_call_as_it_is(files, call):
    result = run(*call, NAMES[0])
    assert result.exit_code in (1, 2)
    assert_printable(result.stderr)
    assert "\\x1b" in result.stderr
    assert names(files) == sorted(NAMES)


def test_a_broken_file_of_any_name_is_one_line(files):
    for name in NAMES:
        (files / name).write_bytes(b"")
        assert refusal(run("info", "--", name)) == (
            f"Error: {running.one_line(name)}: the file is empty"
        )


@pytest.mark.usefixtures("files")
def test_the_bar_shows_no_name_as_it_is(monkeypatch):
    titles = []

    class Progress(running.Progress):
        def begin(self, title):
            super().begin(title)
            titles.append(title)

    monkeypatch.setattr(running, "Progress", Progress)
    names = [f"{name}.png" for name in CONTROLS]
    assert run("info", "--jobs", "1", *names).exit_code == 0
    assert_printable("".join(titles))
    assert any("\\n" in title for title in titles)


@pytest.mark.usefixtures("files")
def test_names_as_long_as_can_be():
    longest = "x" * 251 + ".png"
    shutil.copy(NAMES[0], longest)
    assert run(longest, "-o", f"{'y' * 251}.png").exit_code == 0
    assert "File name too long" in refusal(run("info", f"{'x' * 252}.png"))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["\x1b[31m.gpl", "'\n1 2 3.gpl", "<b>.json"])
def test_a_palette_takes_nothing_over_from_its_name(name):
    colors = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    write_palette(name, colors)
    assert_printable(Path(name).read_text().expandtabs())
    assert read_palette(name).tolist() == colors.tolist()


def test_texts_in_files_are_not_shown_as_they_are(files):
    (files / "a.gpl").write_text(
        "GIMP Palette\nName: \x1b[31m\n# \x07\n1 2 3\tred\x1b[31m\n9 9 9\t<b>\n"
    )
    assert read_names(files / "a.gpl") == ("red [31m", "<b>")
    texts = PngImagePlugin.PngInfo()
    unit = {"Y": [1, "\x1b[31m"], "X": [1, "\x07"]}
    texts.add_text("napari-kmeans", json.dumps(unit))
    texts.add_text("Title", "\x1b[31m")
    Image.new("RGB", (3, 2)).save(files / "t.png", pnginfo=texts)
    assert_printable(run("info", files / "t.png").stdout)


@pytest.mark.parametrize("name", ["it's", '"""\n\\', "\n1/0", *CONTROLS])
def test_a_script_calls_a_layer_by_any_name(monkeypatch, name):
    viewer = ViewerModel()
    source = viewer.add_image(skimage.data.astronaut()[::40, ::40], name=name)
    (made,) = quantize_layer(source, 3, output="labels", viewer=viewer)
    script = as_python(made, viewer.layers)
    assert_printable(script)
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    exec(compile(script, "script", "exec"), {})
    np.testing.assert_array_equal(viewer.layers[-1].data, made.data)

    table = cluster_table(made)
    tables, record = [(made.name, table), (name, table)], record_of(made)
    content, document = table_files(tables, [record, record], "everything")
    assert json.loads(document)["layers"][1]["layer"] == name
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert len(rows) == 1 + 2 * len(table)
