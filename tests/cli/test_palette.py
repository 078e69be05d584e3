import json

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from command_line import FEW_COLORS, names, pixels, refusal, run, upright
from napari_kmeans import (
    kmeans_palette,
    map_to_palette,
    read_indexed,
    read_palette,
)
from napari_kmeans._cli.outputs import Claims
from napari_kmeans._files.read import read_image


def test_palette_prints_the_colors_from_dark_to_light(folder):
    palette = kmeans_palette(upright("photo.jpg"), 5).palette
    lines = ["#" + bytes(color).hex() for color in palette]
    assert run("palette", "photo.jpg", "-k", 5).stdout.splitlines() == lines
    told = json.loads(run("palette", "photo.jpg", "-k", 5, "--json").stdout)
    assert told["images"][0]["colors"] == lines
    assert sum(told["images"][0]["counts"]) == 40 * 60
    run("palette", "photo.jpg", "-k", 5, "-o", "five.hex")
    assert (folder / "five.hex").read_text().split() == [line[1:] for line in lines]


def picture(kind):
    """Pixels of the photo in gray, RGB, RGBA or 16 bits."""
    rgb = upright("photo.jpg")[::2, ::2]
    if kind == "gray":
        return rgb[..., 1]
    if kind == "deep":
        return rgb.astype(np.uint16) * 200 + 7
    return np.dstack([rgb, rgb[..., 0] | 1]) if kind == "rgba" else rgb


@pytest.mark.parametrize(
    ("suffix", "kinds"),
    [
        ("gpl", ["gray", "rgb"]),
        ("hex", ["gray", "rgb", "rgba"]),
        ("json", ["gray", "rgb", "rgba", "deep"]),
        ("npy", ["gray", "rgb", "rgba", "deep"]),
        ("png", ["gray", "rgb", "rgba"]),
        ("gif", ["gray", "rgb"]),
        ("tif", ["gray", "rgb", "deep"]),
        ("ome.tif", ["gray", "rgb", "deep"]),
    ],
)
@pytest.mark.parametrize("k", [2, 33])
def test_apply_reads_every_palette_that_is_written(folder, suffix, kinds, k):
    for kind in kinds:
        image = picture(kind)
        photometric = "minisblack" if kind == "gray" else "rgb"
        extra = ["unassalpha"] if kind == "rgba" else None
        tifffile.imwrite(
            f"{kind}.tif", image, photometric=photometric, extrasamples=extra
        )
        name, out = f"{kind}_palette.{suffix}", f"{kind}_out.tif"
        run("palette", f"{kind}.tif", "-k", k, "-o", name)
        assert run("apply", "--palette", name, f"{kind}.tif", "-o", out).exit_code == 0

        axis, alpha = (None if kind == "gray" else -1), kind == "rgba"
        palette = kmeans_palette(image, k, channel_axis=axis, alpha=alpha).palette
        labels = map_to_palette(image, palette, channel_axis=axis, alpha=alpha)
        found = read_image(folder / out).pixels
        if kind == "gray" and found.ndim == 3:  # The palette file knows only RGB.
            assert (found == found[..., :1]).all()
            found = found[..., 0]
        assert_array_equal(found, palette[labels], strict=True)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("suffix", ["gpl", "json", "npy", "hex", "png"])
def test_a_palette_that_exists_is_overwritten_only_by_force(monkeypatch, suffix):
    name = f"five.{suffix}"
    run("palette", "photo.jpg", "-k", 5, "-o", name)
    refused = refusal(run("palette", "photo.jpg", "-o", name))
    assert refused == f"Error: photo.jpg: {name} exists, --force overwrites it"
    assert run("palette", "photo.jpg", "-k", 4, "-o", name, "--force").exit_code == 0
    # Also one that appears while the colors are searched.
    monkeypatch.setattr(Claims, "claim", lambda _, path, *_own: str(path))
    refused = refusal(run("palette", "photo.jpg", "-o", name))
    assert refused == f"Error: photo.jpg: File exists: {name}"


def test_a_palette_file_tells_how_it_came_about(folder):
    run("palette", "photo.jpg", "-k", 5, "--iters", 3, "-o", "k.json")
    run("palette", "photo.jpg", "--psnr", 25, "-o", "psnr.json")
    by_k, by_psnr = (
        json.loads((folder / name).read_text())["provenance"]
        for name in ("k.json", "psnr.json")
    )
    assert (by_k["k"], by_k["iters"]) == (5, 3)
    assert by_psnr["psnr"] == 25
    assert "k" not in by_psnr


@pytest.mark.parametrize("k", [1, 16, 17, 46, 256, 300])
def test_swatches_show_every_color_and_nothing_else(folder, k):
    colors = np.random.default_rng(0).choice(256**3, k, replace=False)
    image = colors[:, np.newaxis].astype("<u4").view(np.uint8).reshape(1, k, 4)
    Image.fromarray(image[..., :3].copy()).save("noise.png")
    run("palette", "noise.png", "-k", k, "-o", "swatches.png")
    drawn = pixels(folder / "swatches.png")
    assert max(drawn.shape) <= 1020
    assert len(np.unique(drawn.astype(int) @ [1, 1 << 8, 1 << 16])) == k


def test_palette_draws_swatches(folder):
    palette = kmeans_palette(upright("photo.jpg"), 18).palette
    run("palette", "photo.jpg", "-k", 18, "-o", "swatches.png")
    drawn = pixels(folder / "swatches.png")[30::60, 30::60]
    assert drawn.shape == (2, 9, 3)
    assert_array_equal(drawn.reshape(-1, 3), palette)
    assert_array_equal(read_indexed("swatches.png").palette, palette)


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


def test_images_that_cannot_share_a_palette_are_told_by_name(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    tifffile.imwrite("deep.tif", np.zeros((4, 5), np.uint16))
    (folder / "c.png").write_bytes(b"broken")
    shared = ["palette", "c.png", "photo.jpg", "deep.tif", "few.png", "--shared"]
    result = run(*shared, "-o", "out/")
    assert result.exit_code == 1
    broken, deep = result.stderr.splitlines()
    assert broken.startswith("Error: c.png: not an image")
    assert deep.startswith("Error: deep.tif: uint16 pixels share no palette with the")
    assert result.stdout == "photo.jpg, few.png -> out/photo_palette.gpl: 16 colors\n"
    both = [upright("photo.jpg").reshape(-1, 3), FEW_COLORS.reshape(-1, 3)]
    expected = kmeans_palette(np.concatenate(both)[np.newaxis]).palette
    assert_array_equal(read_palette(folder / "out/photo_palette.gpl"), expected)


def test_palettes_of_images_of_one_name_do_not_write_one_file(folder):
    Image.fromarray(FEW_COLORS).save("photo.png")
    assert run("palette", "photo.png", "photo.jpg", "-o", "out").exit_code == 0
    assert names(folder / "out") == ["photo_jpg_palette.gpl", "photo_palette.gpl"]


def test_many_images_of_a_palette_are_not_all_named(folder):
    images = [f"{number}.png" for number in range(5)]
    for name in images:
        Image.fromarray(FEW_COLORS).save(name)
    result = run("palette", *images, "--shared", "-o", "a.gpl")
    assert result.stdout == "0.png and 4 others -> a.gpl: 3 colors\n"
    assert (folder / "a.gpl").exists()
