"""The examples of the gallery, which `python3 dev.py docs` runs, and their images."""

import ast
import re
from pathlib import Path

import pytest

import napari_kmeans

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
DATA = GALLERY / "data"
EXAMPLES = sorted(GALLERY.glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_a_title_and_use_public_names_alone(example):
    text = example.read_text(encoding="utf-8")
    tree = ast.parse(text)

    title, line, blank, *prose = ast.get_docstring(tree).splitlines()
    assert line == "=" * len(title)
    assert (blank, bool(prose)) == ("", True)
    assert "What to see:" in text
    assert "What to change:" in text

    used = set(re.findall(r"napari_kmeans\.(\w+)", text))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and "napari_kmeans" in node.module:
            assert node.module == "napari_kmeans"
            used |= {name.name for name in node.names}
    assert used
    assert used <= set(dir(napari_kmeans))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_say_what_they_need_and_show_their_pictures(example):
    text = example.read_text(encoding="utf-8")
    first = ast.get_docstring(ast.parse(text))
    for name in re.findall(r'"data/(.+?)"', text):
        assert f":download:`{name} </gallery/data/{name}>`" in first
    for extra, module in (("gui", "napari"), ("zarr", "dask")):
        needed = re.search(rf"^(import|from) {module}\b", text, re.M)
        assert (f"the extra ``{extra}``" in first) == bool(needed)
    assert text.endswith("\nplt.show()\n")


def test_each_image_has_its_origin_and_license_and_is_used():
    told = (DATA / "README.rst").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in EXAMPLES]
    images = [
        path for path in DATA.iterdir() if path.suffix in (".jpg", ".png", ".tif")
    ]
    for image in images:
        about = told.partition(f"/{image.name}>`\n")[2].partition("\n:download:")[0]
        assert "License: " in about
        assert any(f"data/{image.name}" in text for text in texts)
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 1_000_000
