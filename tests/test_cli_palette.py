import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from command_line import FEW_COLORS, names, pixels, refusal, run, upright
from napari_kmeans import kmeans_palette, read_palette


def test_palette_prints_the_colors_from_dark_to_light(folder):
    palette = kmeans_palette(upright("photo.jpg"), 5).palette
    lines = ["#" + bytes(color).hex() for color in palette]
    assert run("palette", "photo.jpg", "-k", 5).stdout.splitlines() == lines
    told = json.loads(run("palette", "photo.jpg", "-k", 5, "--json").stdout)
    assert told["images"][0]["colors"] == lines
    assert sum(told["images"][0]["counts"]) == 40 * 60
    run("palette", "photo.jpg", "-k", 5, "-o", "five.hex")
    assert (folder / "five.hex").read_text().split() == [line[1:] for line in lines]


@pytest.mark.parametrize("suffix", ["gpl", "json", "npy"])
def test_palette_writes_what_apply_reads(folder, suffix):
    palette = kmeans_palette(upright("photo.jpg"), 5).palette
    run("palette", "photo.jpg", "-k", 5, "-o", f"five.{suffix}")
    assert_array_equal(read_palette(folder / f"five.{suffix}"), palette)
    assert "exists, --force" in refusal(
        run("palette", "photo.jpg", "-o", f"five.{suffix}")
    )


def test_palette_draws_swatches(folder):
    palette = kmeans_palette(upright("photo.jpg"), 18).palette
    run("palette", "photo.jpg", "-k", 18, "-o", "swatches.png")
    drawn = pixels(folder / "swatches.png")[30::60, 30::60]
    assert drawn.shape == (2, 16, 3)
    assert_array_equal(drawn.reshape(-1, 3)[:18], palette)


def test_palettes_of_several_images_go_into_a_directory(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    run("palette", "photo.jpg", "few.png", "-o", "out")
    assert names(folder / "out") == ["few_palette.gpl", "photo_palette.gpl"]
    run("palette", "photo.jpg", "few.png", "--shared", "-o", "both.json")
    both = [upright("photo.jpg").reshape(-1, 3), FEW_COLORS.reshape(-1, 3)]
    expected = kmeans_palette(np.concatenate(both)[np.newaxis]).palette
    assert_array_equal(read_palette(folder / "both.json"), expected)
    lines = run("palette", "photo.jpg", "few.png").stdout.splitlines()
    assert lines[1] == "few.png: #000063 #090807 #fa0000"
