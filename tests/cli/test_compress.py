import json
import re

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from command_line import FEW_COLORS, names, pixels, refusal, run, run_process, upright
from napari_kmeans import (
    choose_k,
    kmeans_palette,
    map_to_palette,
    write_indexed,
    write_palette,
)


def test_a_photo_becomes_an_upright_indexed_png(folder):
    result = run_process("photo.jpg")

    image = upright("photo.jpg")
    fit = kmeans_palette(image)
    assert result.returncode == 0
    assert result.stderr == ""
    with Image.open("photo_compressed.png") as written:
        assert written.mode == "P"
        assert not written.getexif()
    assert_array_equal(
        pixels("photo_compressed.png"),
        fit.palette[map_to_palette(image, fit.palette)],
    )
    color_type = (folder / "photo_compressed.png").read_bytes()[25]
    assert color_type == 3


def test_k_that_is_enough_is_lossless(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    assert "3 -> 3 colors, lossless" in run("few.png", "-k", 300).stdout
    assert_array_equal(pixels("few_compressed.png"), FEW_COLORS)
    assert (folder / "few_compressed.png").read_bytes()[24] == 2


def test_options_reach_the_core(folder):
    run("photo.jpg", "--colors", 7, "--iters", 3, "--init", "random", "--seed", 4)
    fit = kmeans_palette(upright("photo.jpg"), 7, 3, init="random", rng=4)
    with Image.open(folder / "photo_compressed.png") as written:
        palette = np.reshape(written.getpalette(), (-1, 3)).tolist()
    # The file has its own order, for the compressor.
    assert sorted(palette) == sorted(fit.palette.tolist())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["-k", 257], r"k must be at most 256 for a \.png file, got 257"),
        (["-k", 257, "-o", "a.gif"], r"k must be at most 256 for a \.gif file, got"),
        (["-o", "nowhere/a.png"], r"jpg: No such file or directory: nowhere/a\.png$"),
        (["--compare", "no/a.png"], r"jpg: No such file or directory: no/a\.png$"),
        (["--report", "no/a.html"], r"^Error: no/a\.html: No such file or directory$"),
        (["--report", "."], r"^Error: \.: Is a directory$"),
        (["-o", "photo.jpg/a/"], r"^Error: photo\.jpg/a/: Not a directory"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(folder, arguments, match):
    assert re.search(match, refusal(run("photo.jpg", *arguments)))
    assert names(folder) == ["photo.jpg"]


@pytest.mark.parametrize("size", [500, 1100])
def test_max_size_gives_the_most_colors_that_fit(folder, size):
    run("photo.jpg", "--max-size", size, "-k", 60, "--iters", 2)
    written = (folder / "photo_compressed.png").read_bytes()
    n_colors = len(np.unique(pixels("photo_compressed.png").reshape(-1, 3), axis=0))
    assert len(written) <= size
    run("photo.jpg", "-k", n_colors + 1, "--iters", 2, "--force")
    assert len((folder / "photo_compressed.png").read_bytes()) > size


@pytest.mark.parametrize("psnr", ["20", "30"])
def test_psnr_gives_the_fewest_colors_that_reach_it(folder, psnr):
    facts = json.loads(run("photo.jpg", "--psnr", psnr, "--json").stdout)["images"][0]
    fit = choose_k(upright("photo.jpg"), psnr=float(psnr))
    assert facts["psnr"] >= float(psnr)
    assert facts["colors_after"] == len(fit.palette)
    assert_array_equal(
        np.unique(pixels(folder / "photo_compressed.png").reshape(-1, 3), axis=0),
        np.unique(fit.palette, axis=0),
    )


def test_psnr_that_takes_more_colors_than_a_file_holds_is_refused(folder):
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    line = refusal(run("noise.png", "--psnr", "60", "--iters", "1"))
    assert "psnr=60 is out of reach of 256 colors" in line
    done = run("noise.png", "--psnr", "60", "--iters", "1", "-o", "out.tif")
    assert done.exit_code == 0
    assert names(folder) == ["noise.png", "out.tif", "photo.jpg"]


@pytest.mark.parametrize("dither", ["floyd-steinberg", "ordered"])
@pytest.mark.parametrize("space", ["rgb", "oklab"])
def test_dither_and_color_space_reach_the_core(folder, dither, space):
    image = upright("photo.jpg")
    run("photo.jpg", "-k", 5, "--dither", dither, "--color-space", space)
    palette = kmeans_palette(image, 5, color_space=space).palette
    labels = map_to_palette(image, palette, dither=dither, color_space=space)
    assert_array_equal(pixels(folder / "photo_compressed.png"), palette[labels])


def test_max_size_that_no_palette_reaches_is_refused(folder):
    line = refusal(run("photo.jpg", "--max-size", "20", "-k", 9))
    assert re.search(r"a single color takes \d+ bytes, more than the 20 allowed", line)
    assert names(folder) == ["photo.jpg"]


def test_shared_images_get_the_palette_of_all(folder):
    image = upright("photo.jpg")
    Image.fromarray(image[:25]).save("a.png")
    Image.fromarray(image[25:, :20]).save("b.png")
    (folder / "c.png").write_bytes(b"broken")
    result = run("a.png", "b.png", "c.png", "--shared", "-k", 6, "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: c.png: ")
    both = np.concatenate([image[:25].reshape(-1, 3), image[25:, :20].reshape(-1, 3)])
    palette = kmeans_palette(both[np.newaxis], 6).palette
    for name, part in [("a", image[:25]), ("b", image[25:, :20])]:
        expected = palette[map_to_palette(part, palette)]
        assert_array_equal(pixels(folder / f"out/{name}_compressed.png"), expected)


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        (np.zeros((4, 5), np.uint16), "uint16"),
        (np.zeros((4, 5, 2), np.uint8), "2-channel uint8"),
    ],
)
def test_an_image_of_another_kind_than_most_is_left_out_by_name(folder, odd, kind):
    tifffile.imwrite("odd.tif", odd, photometric="minisblack", planarconfig="contig")
    Image.fromarray(FEW_COLORS).save("few.png")
    names_of_all = ["odd.tif", "missing.jpg", "photo.jpg", "few.png"]
    result = run(*names_of_all, "--shared", "-k", 6, "-o", "out")
    assert result.exit_code == 1
    odd_line, missing_line = result.stderr.splitlines()
    assert odd_line == (
        f"Error: odd.tif: {kind} pixels share no palette with the uint8 pixels of "
        "photo.jpg: all must be of one dtype, and either gray, RGB and RGBA or of one "
        "number of channels"
    )
    assert missing_line == "Error: missing.jpg: No such file or directory"
    both = [upright("photo.jpg").reshape(-1, 3), FEW_COLORS.reshape(-1, 3)]
    palette = kmeans_palette(np.concatenate(both)[np.newaxis], 6).palette
    assert names(folder / "out") == ["few_compressed.png", "photo_compressed.png"]
    for name, image in (("photo", upright("photo.jpg")), ("few", FEW_COLORS)):
        expected = palette[map_to_palette(image, palette)]
        assert_array_equal(pixels(folder / f"out/{name}_compressed.png"), expected)


@pytest.mark.usefixtures("folder")
def test_of_two_kinds_of_images_that_could_share_a_palette_the_first_does():
    tifffile.imwrite("deep.tif", np.zeros((4, 5), np.uint16))
    result = run("deep.tif", "photo.jpg", "--shared", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: photo.jpg: uint8 pixels share no palette")
    assert result.stdout.startswith("deep.tif -> out/deep_compressed.tif: ")


@pytest.mark.parametrize("suffix", ["gpl", "json", "npy", "hex", "png"])
def test_apply_gives_each_pixel_the_nearest_color_given(folder, suffix):
    palette = np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.uint8)
    name = f"flag.{suffix}"
    if suffix == "png":
        write_indexed(name, [[0, 1, 2]], palette)
    else:
        write_palette(name, palette)
    assert run("apply", "--palette", name, "photo.jpg").exit_code == 0
    expected = palette[map_to_palette(upright("photo.jpg"), palette)]
    assert_array_equal(pixels(folder / "photo_compressed.png"), expected)


def test_apply_reconciles_gray_colors_and_opacity(folder):
    write_palette("flag.npy", np.array([[0, 0, 0], [255, 255, 255]], np.uint8))
    with Image.open("photo.jpg") as photo:
        photo.convert("L").save("gray.png")
        photo.convert("LA").save("opaque.png")
    run("apply", "--palette", "flag.npy", "gray.png", "opaque.png")
    shown = pixels(folder / "gray_compressed.png")
    assert set(np.unique(shown)) == {0, 255}
    assert_array_equal(pixels(folder / "opaque_compressed.png"), shown)


@pytest.mark.usefixtures("folder")
def test_apply_refuses_colors_of_another_dtype():
    write_palette("flag.npy", np.zeros((2, 3), np.float32))
    line = refusal(run("apply", "--palette", "flag.npy", "photo.jpg"))
    assert line == (
        "Error: photo.jpg: palette of float32 colors does not fit an image of uint8 "
        "pixels, as values are never scaled; find one in such an image, and write it "
        "as .json or .npy"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("flag.gpl", "cannot read palette 'flag.gpl': line 1 must be 'GIMP Palette'"),
        ("flag.png", "no palette: not an image, or of a format that cannot be read"),
        ("photo.jpg", "no palette: it is a JPEG file with RGB pixels"),
    ],
)
def test_what_holds_no_palette_is_one_line(folder, name, why):
    for flag in ("flag.gpl", "flag.png"):
        (folder / flag).write_bytes(b"no palette")
    line = refusal(run("apply", "--palette", name, "photo.jpg"))
    assert line.startswith(f"Error: {name}: {why}")
