import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import skimage.data
import tifffile
from click.testing import CliRunner
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps

import napari_kmeans
from napari_kmeans import _cli, kmeans_palette, map_to_palette

FEW_COLORS = np.array([[[9, 8, 7], [250, 0, 0]], [[9, 8, 7], [0, 0, 99]]], np.uint8)


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory):
    """A JPEG that lies on its side, as from a camera, with EXIF to say so."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    sideways = Image.fromarray(skimage.data.astronaut()).resize((96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(path, exif=exif, quality=92)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, photo_file):
    """A working directory with a photo."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo_file, tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(_cli.main, [str(argument) for argument in arguments])


def run_process(*arguments, **options):
    command = [sys.executable, "-m", "napari_kmeans", *arguments]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=120, **options
    )


def refusal(result):
    """The only line of a refused call."""
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def upright(path):
    with Image.open(path) as image:
        return np.array(ImageOps.exif_transpose(image))


def pixels(path, mode="RGB"):
    with Image.open(path) as image:
        return np.array(image.convert(mode))


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
    depth = (folder / "photo_compressed.png").read_bytes()[24]
    assert depth == 4


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


def test_what_exists_is_overwritten_only_by_force(folder):
    (folder / "photo_compressed.png").write_bytes(b"dear")
    line = refusal(run("photo.jpg"))
    assert line == (
        "Error: photo.jpg: photo_compressed.png exists, --force overwrites it"
    )
    assert (folder / "photo_compressed.png").read_bytes() == b"dear"

    assert run("photo.jpg", "--force").exit_code == 0
    assert (folder / "photo_compressed.png").read_bytes().startswith(b"\x89PNG")


def test_the_input_itself_is_overwritten_only_by_force(folder):
    before = (folder / "photo.jpg").read_bytes()
    assert "exists, --force" in refusal(run("photo.jpg", "-o", "photo.jpg"))
    assert (folder / "photo.jpg").read_bytes() == before

    line = run("photo.jpg", "-o", "photo.jpg", "--force").stdout
    assert f": {len(before):,} -> " in line
    assert (folder / "photo.jpg").read_bytes() != before


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_image_of_the_call_is_never_overwritten(folder, force):
    Image.fromarray(FEW_COLORS).save("photo_compressed.png")
    result = run("photo.jpg", "photo_compressed.png", *force)
    assert result.exit_code == 1
    assert "will not write photo_compressed.png" in result.stderr
    assert_array_equal(pixels(folder / "photo_compressed.png"), FEW_COLORS)
    assert_array_equal(pixels("photo_compressed_compressed.png"), FEW_COLORS)


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_two_images_never_write_one_file(folder, force):
    Image.fromarray(FEW_COLORS).save("photo.png")
    result = run("photo.png", "photo.jpg", *force)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: photo.jpg: will not write photo_comp")
    assert_array_equal(pixels(folder / "photo_compressed.png"), FEW_COLORS)


@pytest.mark.parametrize("name", ["photo.jpg", "out.png", "link.png"])
def test_the_comparison_never_replaces_an_image(folder, name):
    (folder / "link.png").symlink_to("photo.jpg")
    before = (folder / "photo.jpg").read_bytes()
    line = refusal(run("photo.jpg", "-o", "out.png", "--compare", name, "--force"))
    assert f"will not write {name}" in line
    assert (folder / "photo.jpg").read_bytes() == before


def broken_files(folder):
    photo = (folder / "photo.jpg").read_bytes()
    Image.fromarray(skimage.data.astronaut()).save(folder / "sound.png")
    png = bytearray((folder / "sound.png").read_bytes())
    ihdr = struct.pack(">4sIIBBBBB", b"IHDR", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = png[:12] + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + png[33:]
    deep = struct.pack(">4sIIBBBBB", b"IHDR", 512, 512, 16, 2, 0, 0, 0)
    deep = png[:12] + deep + struct.pack(">I", zlib.crc32(deep)) + png[33:]
    return {
        "empty.jpg": (b"", "the file is empty"),
        "text.png": (b"Dear reader,", "not an image"),
        "half.jpg": (photo[: len(photo) // 2], "truncated"),
        "half.png": (png[:9000], "truncated"),
        "corrupt.png": (png[:9000] + bytes(99) + png[9099:], "cannot be read"),
        "bomb.png": (bomb, "too many pixels"),
        "deep.png": (deep, "truncated"),
        "half.tif": (b"II*\0", "cannot be read"),
    }


def test_each_bad_image_gets_one_line_and_the_others_are_done(folder):
    broken = broken_files(folder)
    for name, (content, _) in broken.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    reasons = {name: reason for name, (_, reason) in broken.items()} | {
        "missing.jpg": "No such file or directory",
        "folder.jpg": "Is a directory",
    }

    result = run_process("photo.jpg", *reasons, "sound.png")

    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == len(reasons)
    for line, (name, reason) in zip(lines, reasons.items(), strict=True):
        assert line.startswith(f"Error: {name}: ")
        assert reason in line
    assert [line.split(" ->")[0] for line in result.stdout.splitlines()] == [
        "photo.jpg",
        "sound.png",
    ]
    assert set(names(folder)) == {
        *reasons.keys() - {"missing.jpg"},
        *["photo.jpg", "sound.png", "photo_compressed.png", "sound_compressed.png"],
    }


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["-k", 0], r"^Error: photo.jpg: k must be between 1 and 65536, got 0$"),
        (["-k", 65537, "-o", "a.tif"], "k must be between 1 and 65536, got 65537"),
        (["-k", 257], r"k must be at most 256 for a \.png file, got 257"),
        (["-k", 257, "-o", "a.gif"], r"k must be at most 256 for a \.gif file, got"),
        (["--iters", -1], "iters must be at least 0, got -1"),
        (["-o", "a.xyz"], r"cannot write a\.xyz: suffix '\.xyz' names no image"),
        (["-o", "a"], "cannot write a: name without suffix names no image format"),
        (["-o", "nowhere/a.png"], "No such file or directory"),
        (["--compare", "a.pdf"], r"cannot write a\.pdf: suffix '\.pdf' names no"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(folder, arguments, match):
    assert re.search(match, refusal(run("photo.jpg", *arguments)))
    assert names(folder) == ["photo.jpg"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "Missing argument 'IMAGE...'"),
        (["photo.jpg", "-k", "few"], "'few' is not a valid integer"),
        (["photo.jpg", "--init", "best"], "'best' is not one of 'auto'"),
        (["a.jpg", "b.jpg", "-o", "c.png"], "--output must be a directory for sev"),
        (["a.jpg", "b.jpg", "--compare", "c.png"], "--compare must be a directory"),
    ],
)
def test_wrong_usage_has_status_2(folder, arguments, match):
    result = run(*arguments)
    assert result.exit_code == 2
    assert match in result.stderr
    assert names(folder) == ["photo.jpg"]


def test_several_images_go_into_a_new_directory(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    result = run("photo.jpg", "few.png", "-o", "new/out", "--compare", "new/looks")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert names(folder / "new/out") == ["few_compressed.png", "photo_compressed.png"]
    assert names(folder / "new/looks") == [
        "few_before_after.png",
        "photo_before_after.png",
    ]


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
    "size", [(96, 64), (2000, 90), (70, 1500), (1, 1)], ids=lambda size: f"{size}"
)
def test_comparison_shows_both_images_and_the_palette(folder, size):
    with Image.open("photo.jpg") as photo:
        photo.resize(size).save("in.png")
    run("in.png", "-k", 6, "--compare", "both.png")
    drawn = pixels(folder / "both.png")
    palette = np.unique(pixels("in_compressed.png").reshape(-1, 3), axis=0)
    rows = (drawn[:, :, np.newaxis] == palette).all(axis=-1).any(axis=1)
    assert rows[-60].all()  # every color in the row of swatches
    height, width = drawn.shape[:2]
    assert 400 < width < 2100
    assert 200 < height < 1300


def test_comparison_enlarges_a_single_pixel(folder):
    Image.new("RGB", (1, 1), (9, 200, 30)).save("in.png")
    run("in.png", "--compare", "both.png")
    is_color = (pixels(folder / "both.png") == (9, 200, 30)).all(axis=-1)
    assert is_color.sum() > 2 * 400 * 400


@pytest.mark.parametrize("name", ["a photo.jpg", "ünï 画.jpg", "-k.jpg", "a.b.JPG"])
def test_odd_names_are_only_names(folder, name):
    (folder / "photo.jpg").rename(folder / name)
    result = run_process("--", name)
    assert result.returncode == 0
    assert names(folder) == sorted([name, f"{name[:-4]}_compressed.png"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_cannot_be_printed_takes_one_line(folder):
    (folder / "photo.jpg").rename(os.fsdecode(b"a\n\xff.jpg"))
    result = run_process(b"a\n\xff.jpg")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_a_full_disk_is_one_line_and_leaves_nothing(folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    line = refusal(run("photo.jpg"))
    assert line == "Error: photo.jpg: No space left on device: photo_compressed.png"
    assert names(folder) == ["photo.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_leaves_nothing(folder):
    # The signal comes during k-means, which lasts until then.
    forever = (
        "import time; from napari_kmeans import _cli;"
        "_cli.kmeans_palette = lambda *a, **k: (print('on', flush=True),"
        "time.sleep(60));"
        "_cli.main(['photo.jpg'])"
    )
    command = [sys.executable, "-c", forever]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert stderr.split() == ["Aborted!"]
    assert names(folder) == ["photo.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_shown_in_a_terminal(folder):
    import pty

    controller, terminal = pty.openpty()
    os.set_blocking(controller, False)
    command = [sys.executable, "-m", "napari_kmeans", "photo.jpg"]
    finished = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=terminal,
        cwd=folder,
        timeout=120,
        check=True,
    )
    shown = os.read(controller, 100_000).decode()
    os.close(terminal)
    os.close(controller)
    percentages = [int(n) for n in re.findall(r"photo.jpg: \w+ +(\d+)%", shown)]
    assert percentages == sorted(percentages)
    assert len(set(percentages)) >= 5
    assert "fitting" in shown
    assert len(finished.stdout.splitlines()) == 1


def test_help_has_examples_and_is_quick():
    start = time.perf_counter()
    result = run_process("--help")
    assert time.perf_counter() - start < 10
    assert "napari-kmeans -k 8 -o posters/ *.jpg" in result.stdout
    assert run("-h").stdout == run("--help").stdout


def test_help_loads_no_image_library():
    code = (
        "import sys, napari_kmeans._cli;"
        "print({'PIL', 'tifffile', 'skimage', 'tqdm', 'napari'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True).stdout.split() == [b"set()"]


def test_version():
    assert napari_kmeans.__version__ in run("--version").stdout
