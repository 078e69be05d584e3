import base64
import io
import json
import os
import re
import struct

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
    read_indexed,
    read_metadata,
    read_palette,
    write_indexed,
    write_palette,
)
from napari_kmeans._files.color_profiles import in_srgb, profile_of_png
from napari_kmeans._files.read import read_image


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


def test_every_effort_has_the_same_pixels_and_that_of_the_best_is_smallest(folder):
    sizes = {}
    for effort in ("fast", "normal", "best"):
        run("photo.jpg", "--effort", effort, "-o", f"{effort}.png")
        assert_array_equal(pixels(f"{effort}.png"), pixels("fast.png"))
        sizes[effort] = (folder / f"{effort}.png").stat().st_size
    assert sizes["best"] < sizes["fast"]
    run("photo.jpg", "-o", "default.png")
    assert (folder / "default.png").stat().st_size == sizes["normal"]


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


def test_the_line_is_true(folder):
    line = run("photo.jpg", "-k", 5).stdout

    before, after = upright("photo.jpg"), pixels("photo_compressed.png")
    sizes = [(folder / n).stat().st_size for n in ("photo.jpg", "photo_compressed.png")]
    colors = [len(np.unique(p.reshape(-1, 3), axis=0)) for p in (before, after)]
    mse = np.mean((before.astype(float) - after) ** 2)
    assert line == (
        f"photo.jpg -> photo_compressed.png: {sizes[0]:,} -> {sizes[1]:,} bytes "
        f"(ratio {sizes[0] / sizes[1]:.2f}), {colors[0]:,} -> 5 colors, "
        f"PSNR {10 * np.log10(255**2 / mse):.2f} dB\n"
    )
    assert colors[1] == 5


@pytest.mark.parametrize("name", ["o.tif", "o.gif", "o.bmp", "o.webp", "o.jp2"])
def test_formats_without_loss_hold_the_quantized_image(folder, name):
    run("photo.jpg", "-o", name)
    run("photo.jpg", "-o", "o.png")
    assert_array_equal(pixels(folder / name), pixels("o.png"))


def test_jpeg_output_tells_its_own_colors_and_error(folder):
    line = run("photo.jpg", "-o", "small.jpg", "-k", 4).stdout
    before, after = upright("photo.jpg"), pixels(folder / "small.jpg")
    n_colors = len(np.unique(after.reshape(-1, 3), axis=0))
    psnr = 10 * np.log10(255**2 / np.mean((before.astype(float) - after) ** 2))
    assert n_colors > 4
    assert f"-> {n_colors:,} colors, PSNR {psnr:.2f} dB" in line


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_every_color_mode_is_read(folder, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    with Image.open("photo.jpg") as photo:
        photo.convert(mode).save(f"in.{suffix}")
    run(f"in.{suffix}", "-k", 256, "-o", "out.png")
    difference = pixels(f"in.{suffix}").astype(int) - pixels(folder / "out.png")
    if mode in ("1", "L", "P", "LA"):
        assert not difference.any()
    assert np.abs(difference).mean() < 8


def test_what_is_fully_transparent_stays_so(folder):
    rng = np.random.default_rng(5)
    image = rng.integers(1, 256, (20, 20, 4), dtype=np.uint8)
    image[:9, :, 3] = 0
    image[9, :, 3] = 1
    Image.fromarray(image).save("in.png")
    assert run("in.png", "-k", 4).exit_code == 0
    written = pixels(folder / "in_compressed.png", "RGBA")
    assert not written[:9].any()
    assert len(np.unique(written.reshape(-1, 4), axis=0)) == 4


@pytest.mark.parametrize("dtype", ["u2", "i2", "f4", "f8"])
def test_deep_tiff_stays_deep(folder, dtype):
    image = (np.random.default_rng(0).random((9, 12)) * 1000).astype(dtype)
    tifffile.imwrite("deep.tif", image)
    assert "-> deep_compressed.tif:" in run("deep.tif", "-k", 6).stdout
    written = tifffile.imread(folder / "deep_compressed.tif")
    assert written.dtype == image.dtype
    fit = kmeans_palette(image, 6, channel_axis=None)
    labels = map_to_palette(image, fit.palette, channel_axis=None)
    assert_array_equal(written, fit.palette[labels])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiff_is_turned_upright_as_pillow_does(folder, orientation):
    levels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for name, stored in [("8.tif", levels), ("16.tif", levels.astype(np.uint16))]:
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(name, stored, photometric="minisblack", extratags=[tag])
        assert run(name, "-o", folder / f"out{name}").exit_code == 0
    assert_array_equal(tifffile.imread("out16.tif"), tifffile.imread("out8.tif"))


def test_pixels_that_are_not_finite_stay_as_they_are(folder):
    image = np.array([[0, 1, np.nan], [5, np.inf, 6]], dtype=np.float32)
    tifffile.imwrite("in.tif", image)
    run("in.tif", "-k", 2)
    written = tifffile.imread(folder / "in_compressed.tif")
    assert_array_equal(written, np.float32([[0.5, 0.5, np.nan], [5.5, np.inf, 5.5]]))


def test_sixteen_bits_are_not_cut_to_eight(folder):
    image = np.arange(0, 60_000, 100, dtype=np.uint16).reshape(20, 30)
    Image.fromarray(image).save("deep.png")
    line = refusal(run("deep.png", "-o", "out.png"))
    assert "uint16 pixels do not fit into a .png file, choose .tif" in line
    run("deep.png", "-k", 600)
    assert_array_equal(tifffile.imread(folder / "deep_compressed.tif"), image)


def test_color_profile_is_carried_over(folder):
    profile = bytes(16) + b"RGB " + bytes(108)
    with Image.open("photo.jpg") as photo:
        photo.save("in.jpg", icc_profile=profile)
    for name in ("out.png", "out.jpg", "out.tif"):
        run("in.jpg", "-o", name)
        with Image.open(folder / name) as written:
            assert written.info["icc_profile"] == profile


@pytest.mark.parametrize(
    "size", [(96, 64), (1200, 90), (70, 1000), (1, 1)], ids=lambda size: f"{size}"
)
def test_comparison_shows_both_images_and_the_palette(folder, size):
    with Image.open("photo.jpg") as photo:
        photo.resize(size).save("in.png")
    run("in.png", "-k", 6, "--compare", "both.png")
    drawn = pixels(folder / "both.png")
    palette = np.unique(pixels("in_compressed.png").reshape(-1, 3), axis=0)
    # Every color is in the row of swatches.
    assert (drawn[-60, :, np.newaxis] == palette).all(axis=-1).any(axis=0).all()
    height, width = drawn.shape[:2]
    assert 400 < width < 2100
    assert 200 < height < 1300


@pytest.mark.parametrize("target", ["out.png", "out.gif", "out.jpg"])
def test_comparison_shows_colors_as_their_profile_means_them(folder, target):
    profile = profile_of_png({b"gAMA": struct.pack(">I", 100_000)}, is_gray=False)
    image = Image.new("RGB", (1, 1), (120, 120, 120))
    image.save("in.png", icc_profile=profile)
    run("in.png", "-o", target, "--compare", "both.png")
    drawn = pixels(folder / "both.png").astype(int)
    (shown,) = in_srgb(np.array(image)[0], profile)
    assert shown[0] > 160
    is_color = (np.abs(drawn - shown) <= 1).all(axis=-1)
    assert is_color.sum() > 2 * 400 * 400


def test_comparison_shows_both_images_at_the_depth_that_is_asked_for(folder):
    tifffile.imwrite("in.tif", np.full((1, 1, 3), 40 * 257, np.uint16))
    run("in.tif", "--depth", 8, "-o", "out.png", "--compare", "both.png")
    is_color = (pixels(folder / "both.png") == 40).all(axis=-1)
    assert is_color.sum() > 2 * 400 * 400


def test_comparison_enlarges_a_single_pixel(folder):
    Image.new("RGB", (1, 1), (9, 200, 30)).save("in.png")
    run("in.png", "--compare", "both.png")
    is_color = (pixels(folder / "both.png") == (9, 200, 30)).all(axis=-1)
    assert is_color.sum() > 2 * 400 * 400


def test_a_full_disk_is_one_line_and_leaves_nothing(folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    line = refusal(run("photo.jpg"))
    assert line == "Error: photo.jpg: No space left on device: photo_compressed.png"
    assert names(folder) == ["photo.jpg"]


def test_colors_too_many_to_count_are_not_told_as_a_number(monkeypatch, folder):
    monkeypatch.setattr("napari_kmeans._core.color_counts.MAX_COUNTED", 50)
    monkeypatch.setattr("napari_kmeans._cli.running.MAX_COUNTED", 50)
    noise = np.random.default_rng(0).integers(0, 65536, (20, 20, 3), dtype=np.uint16)
    tifffile.imwrite("noise.tif", noise, photometric="rgb")

    assert "more than 50 colors" in run("info", "noise.tif").stdout
    assert "more than 50 -> 4 colors" in run("noise.tif", "-k", 4).stdout
    done = run("--json", "--force", "noise.tif", "-k", 4)
    assert json.loads(done.stdout)["images"][0]["colors_before"] is None
    assert names(folder) == ["noise.tif", "noise_compressed.tif", "photo.jpg"]


def test_what_would_not_be_smaller_is_skipped(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    result = run("few.png", "photo.jpg", "--skip-if-larger")
    assert result.exit_code == 0
    assert "few.png: not written, as it would not be smaller" in result.stdout
    assert "1 of 2 images written, 1 skipped" in result.stdout
    assert names(folder) == ["few.png", "photo.jpg", "photo_compressed.png"]


def test_json_tells_what_the_line_tells_and_the_palette(folder):
    told = json.loads(run("photo.jpg", "-k", 5, "--json").stdout)
    (facts,) = told["images"]
    fit = kmeans_palette(upright("photo.jpg"), 5)
    assert facts["output"] == "photo_compressed.png"
    assert facts["bytes_after"] == (folder / "photo_compressed.png").stat().st_size
    assert facts["mse"] == pytest.approx(fit.mse)
    assert facts["counts"] == fit.counts.tolist()
    assert facts["palette"] == ["#" + bytes(color).hex() for color in fit.palette]
    Image.fromarray(FEW_COLORS).save("few.png")
    (facts,) = json.loads(run("few.png", "--json").stdout)["images"]
    assert facts["lossless"]
    assert facts["psnr"] is None


def test_report_holds_everything_it_shows(folder):
    (folder / "<b> & c.jpg").write_bytes((folder / "photo.jpg").read_bytes())
    assert run("<b> & c.jpg", "--report", "report.html", "-k", 5).exit_code == 0
    page = (folder / "report.html").read_text("utf-8")
    assert "&lt;b&gt; &amp; c.jpg" in page
    assert "<b> & c" not in page
    addresses = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert len(addresses) == 2
    assert all(address.startswith("data:image/") for address in addresses)
    assert "http" not in page
    assert page.count("<rect") == 5
    after = re.search(r"data:image/webp;base64,([^\"]+)", page)[1]
    with Image.open(io.BytesIO(base64.b64decode(after))) as shown:
        assert_array_equal(np.array(shown), pixels("<b> & c_compressed.png"))


@pytest.mark.usefixtures("folder")
def test_animations_stay_animations():
    frames = [Image.new("RGB", (9, 8), color) for color in ("red", "blue", "lime")]
    frames[0].save("film.webp", save_all=True, append_images=frames[1:], lossless=True)
    expected = [np.array(frame) for frame in frames]
    for suffix in (".webp", ".gif", ".png"):
        result = run("film.webp", "-o", f"film{suffix}", "--force")
        assert result.exit_code == 0, result.stderr
        assert_array_equal(read_image(f"film{suffix}").pixels, expected)
        assert run(f"film{suffix}").exit_code == 0
        assert_array_equal(read_image(f"film_compressed{suffix}").pixels, expected)
    line = refusal(run("film.webp", "-o", "film.jpg"))
    assert "a stack of shape (3, 8, 9, 3) does not fit into a .jpg file" in line


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_soft_edges_of_an_animation_are_kept(suffix):
    ramp = np.zeros((2, 6, 40, 4), np.uint8)
    ramp[..., 0], ramp[..., 3] = 200, np.linspace(0, 255, 40)
    ramp[1] = ramp[1, :, ::-1]
    ramp *= ramp[..., 3:] != 0
    first, second = map(Image.fromarray, ramp)
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    first.save(f"sticker{suffix}", save_all=True, append_images=[second], **options)
    result = run(f"sticker{suffix}", "-k", 8)
    assert result.exit_code == 0, result.stderr
    image = read_image(f"sticker_compressed{suffix}")
    assert image.pixels.shape == (2, 6, 40, 4)
    assert len(np.unique(image.pixels.reshape(-1, 4), axis=0)) == 8
    assert np.abs(image.pixels[..., 3].astype(int) - ramp[..., 3]).max() < 30
    assert refusal(run(f"sticker{suffix}", "-o", "sticker.gif")) == (
        f"Error: sticker{suffix}: cannot write sticker.gif: half-transparent colors do "
        "not fit into a .gif file, choose .png or .webp, or make them clear or opaque "
        "by --opacity-threshold 128"
    )
    result = run(f"sticker{suffix}", "-o", "sticker.gif", "--opacity-threshold", 128)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("2 -> 2 colors, lossless after its conversion\n")
    alpha = read_image("sticker.gif").pixels[..., 3]
    assert_array_equal(alpha, np.where(ramp[..., 3] >= 128, 255, 0))


@pytest.mark.usefixtures("folder")
def test_an_opacity_threshold_is_for_formats_with_one_clear_color():
    line = refusal(run("photo.jpg", "--opacity-threshold", 9))
    assert line.endswith("an opacity threshold is for .gif files, not for .png files")


@pytest.mark.usefixtures("folder")
def test_deep_colors_are_scaled_where_it_is_asked_for():
    levels = np.arange(0, 65536, 97, dtype=np.uint16)[:600].reshape(20, 30)
    deep = np.stack([levels, levels[::-1], levels // 2], axis=-1)
    tifffile.imwrite("deep.tif", deep, photometric="rgb")
    line = refusal(run("deep.tif", "-o", "q.png"))
    assert line.endswith("choose .tif, or scale the image by --depth 8")
    result = run("deep.tif", "--depth", 8, "-k", 256)
    assert result.exit_code == 0, result.stderr
    scaled = np.rint(deep / 257).astype(np.uint8)
    expected = kmeans_palette(scaled, 256).palette
    found = read_indexed("deep_compressed.png")
    assert set(map(tuple, found.palette)) == set(map(tuple, expected))
    assert run("deep.tif", "--depth", 8, "-o", "q.jpg").exit_code == 0
    for name in ("p.gpl", "p.pal"):
        line = refusal(run("palette", "deep.tif", "-o", name))
        assert line.endswith("hold every dtype; --depth 8 scales colors")
    result = run("palette", "deep.tif", "--depth", 8, "-k", 256, "-o", "p.pal")
    assert result.exit_code == 0, result.stderr
    assert_array_equal(read_palette("p.pal"), expected)
    line = refusal(run("apply", "deep.tif", "--palette", "p.pal"))
    assert line.endswith("or scale the image by --depth 8")
    result = run("apply", "deep.tif", "--palette", "p.pal", "--depth", 8, "--force")
    assert result.exit_code == 0, result.stderr
    found = read_indexed("deep_compressed.png")
    assert_array_equal(
        found.palette[found.labels], expected[map_to_palette(scaled, expected)]
    )


@pytest.mark.usefixtures("folder")
def test_kept_palettes_have_all_colors_in_order():
    palette = np.array(
        [[255, 0, 255]] + [[i * 16, 9, 255 - i] for i in range(15)], "u1"
    )
    write_palette("game.gpl", palette)
    for name in ("a", "b"):
        Image.fromarray(palette[[[3, 5], [7, ord(name) % 9]]]).save(f"{name}.png")
    for suffix in (".png", ".gif", ".tif"):
        words = ("--palette", "game.gpl", "--keep-palette", "--format", suffix[1:])
        assert run("apply", *words, "a.png", "b.png", "-o", "same/").exit_code == 0
        for name in ("a", "b"):
            found = read_indexed(f"same/{name}_compressed{suffix}")
            assert_array_equal(found.palette, palette)
            assert_array_equal(found.palette[found.labels], pixels(f"{name}.png"))
    line = refusal(run("a.png", "--keep-palette", "-o", "a.webp"))
    assert line.endswith("it has no palette to keep; choose .png, .gif or .tif")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("color", ["#f0f", "#f0fc", 9])
def test_a_palette_that_a_tiff_file_would_not_have_is_refused(color):
    mode = {"#f0f": "RGB", "#f0fc": "RGBA", 9: "L"}[color]
    Image.new(mode, (4, 4), color).save("a.png")
    words = ("a.png", "--keep-palette", "-o", "a.tif")
    if mode == "RGB":
        assert run(*words).exit_code == 0
        assert len(read_indexed("a.tif").palette) == 1
        return
    rule = "a TIFF file has a palette of up to 256 RGB colors without opacity"
    assert f"cannot write a.tif: {rule}; choose .png" in refusal(run(*words))


@pytest.mark.usefixtures("folder")
def test_files_that_share_a_palette_keep_all_of_it():
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        sprite = random.integers(0, 256, (5, 6, 4), dtype=np.uint8)
        sprite[..., 3] = 255 if name == "a" else np.where(sprite[..., 3] > 99, 255, 0)
        Image.fromarray(sprite[..., : 3 if name == "a" else 4]).save(f"{name}.png")
    words = ("--shared", "--keep-palette", "-k", 16, "a.png", "b.png", "c.png")
    for suffix in (".png", ".gif"):
        assert run(*words, "-o", "all/", "--format", suffix[1:]).exit_code == 0
        first, *others = [
            read_indexed(f"all/{name}_compressed{suffix}").palette for name in "abc"
        ]
        assert first.shape == (16, 4)
        for palette in others:
            assert_array_equal(palette, first)


@pytest.mark.usefixtures("folder")
def test_a_full_palette_has_room_for_what_is_clear_unless_it_is_kept():
    palette = np.random.default_rng(0).permutation(256 * 3).reshape(-1, 3) % 256
    write_palette("full.gpl", palette.astype(np.uint8))
    sprite = np.dstack([palette[:30].reshape(5, 6, 3), np.full((5, 6), 255)])
    sprite[0, 0] = 0
    Image.fromarray(sprite.astype(np.uint8)).save("s.png")
    words = ("apply", "s.png", "--palette", "full.gpl", "-o")
    for suffix in (".png", ".gif"):
        assert run(*words, f"o{suffix}").exit_code == 0
        assert_array_equal(pixels(f"o{suffix}", "RGBA"), pixels("s.png", "RGBA"))
        line = refusal(run(*words, f"kept{suffix}", "--keep-palette"))
        assert f"257 colors do not fit into a {suffix} file" in line
        assert line.endswith("or leave out --keep-palette")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_stacks_stay_stacks_with_their_scale(kind):
    name = "in.ome.tif" if kind == "ome" else "in.tif"
    stack = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
    about = {"axes": "ZYXS", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2}
    options = {"ome": True}
    if kind == "imagej":
        about = {"axes": "ZYXS", "unit": "um"}
        options = {"imagej": True, "resolution": (10.0, 5.0)}
    tifffile.imwrite(name, stack, photometric="rgb", metadata=about, **options)
    assert run(name, "-k", 4, "-o", f"out{name[2:]}").exit_code == 0
    found = read_indexed(f"out{name[2:]}")
    fit = kmeans_palette(stack, 4)
    assert_array_equal(found.palette, fit.palette)
    assert_array_equal(found.labels, map_to_palette(stack, fit.palette))
    metadata = read_metadata(f"out{name[2:]}")
    assert metadata.axes == "ZYXS"
    assert metadata.scale[1:3] == pytest.approx((0.2, 0.1))
    assert metadata.units[1:3] == ("micrometer", "micrometer")
