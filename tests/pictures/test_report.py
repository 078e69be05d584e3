import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from napari_kmeans._pictures.display import Comparison
from napari_kmeans._pictures.report import render_page, render_section

VOID = {"img", "input", "meta", "br"}


class Checker(HTMLParser):
    """Notes what is left open, and every address."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.addresses = []

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for n, v in attributes if n in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def comparison(before, palette, title="photo.png"):
    labels = np.arange(before.shape[0] * before.shape[1]) % len(palette)
    after = palette[labels.reshape(before.shape[:2])]
    counts = np.bincount(labels, minlength=len(palette))
    names, figures = (title, "b.png"), [("Bytes", "9", "<5")]
    return Comparison(before, after, palette, counts, names, ("", ""), figures)


def shown(page, kind):
    content = re.search(f'data:image/{kind};base64,([^"]+)', page)[1]
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("n_colors", [1, 2, 300])
@pytest.mark.parametrize(
    "before",
    [
        np.zeros((20, 30, 3), np.uint8),
        np.zeros((20, 30), np.uint8),
        np.full((20, 30, 4), 128, np.uint8),
        np.full((20, 30, 3), 40_000, np.uint16),
        np.full((20, 30), np.nan, np.float32),
        np.zeros((1, 1, 3), np.uint8),
    ],
)
def test_the_page_is_whole_for_every_kind_of_image(before, n_colors):
    shape = (n_colors, *before.shape[2:])
    palette = np.arange(np.prod(shape)).reshape(shape).astype(before.dtype)
    section = render_section(comparison(before, palette, "<i>&$size.png"))
    page = render_page("A & B", "one", [section, section], ["bad <file>"])
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert "<i>" not in page
    assert page.count("<h2>&lt;i&gt;&amp;$size.png</h2>") == 2
    assert "&lt;5" in page
    assert "bad &lt;file&gt;" in page
    assert len(checker.addresses) == 4
    assert all(a.startswith("data:image/") for a in checker.addresses)


def test_pictures_are_those_of_the_image_and_its_colors_exactly():
    before = np.full((300, 400, 3), 90, np.uint8)
    palette = np.array([[0, 9, 80], [250, 60, 1]], np.uint8)
    page = render_section(comparison(before, palette))
    assert np.abs(shown(page, "jpeg").astype(int) - before).max() <= 2
    assert_array_equal(shown(page, "webp"), comparison(before, palette).after)
    assert page.count("#000950: 60,000 pixels, 50.0%") == 1


def test_large_pictures_are_shrunk_without_new_colors():
    before = np.zeros((40, 3000, 3), np.uint8)
    palette = np.array([[0, 9, 80], [250, 60, 1]], np.uint8)
    picture = shown(render_section(comparison(before, palette)), "webp")
    assert picture.shape == (17, 1280, 3)
    assert {tuple(c) for c in picture.reshape(-1, 3).tolist()} <= {
        tuple(c) for c in palette.tolist()
    }


def test_bars_are_as_high_as_the_shares_of_pixels():
    palette = np.array([[0, 0, 0], [9, 9, 9], [99, 99, 99]], np.uint8)
    image = np.zeros((1, 4, 3), np.uint8)
    counts = np.array([4, 1, 0])
    page = render_section(
        Comparison(image, image, palette, counts, ("a", "b"), ("", ""), [])
    )
    heights = [float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"', page)]
    assert heights == [98, 24.5]
