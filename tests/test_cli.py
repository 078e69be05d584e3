import base64
import io
import json
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
from click.shell_completion import BashComplete
from click.testing import CliRunner
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps

import napari_kmeans
from napari_kmeans import (
    ImageMetadata,
    _cli,
    choose_k,
    error_curve,
    kmeans_palette,
    map_to_palette,
    read_indexed,
    read_metadata,
    read_palette,
    write_indexed,
    write_palette,
)
from napari_kmeans._image_files import read_image

FEW_COLORS = np.array([[[9, 8, 7], [250, 0, 0]], [[9, 8, 7], [0, 0, 99]]], np.uint8)


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory):
    """A JPEG that lies on its side, as from a camera, with EXIF to say so."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    sideways = Image.fromarray(skimage.data.astronaut()).resize((60, 40))
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
    color_type = (folder / "photo_compressed.png").read_bytes()[25]
    assert color_type == 3


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


def test_images_of_one_name_never_write_one_file(folder):
    Image.fromarray(FEW_COLORS).save("photo.png")
    result = run("photo.png", "photo.jpg", "--compare", "looks")
    assert result.exit_code == 0
    assert_array_equal(pixels("photo_compressed.png"), FEW_COLORS)
    assert pixels("photo_jpg_compressed.png").shape == upright("photo.jpg").shape
    assert names(folder / "looks") == [
        "photo_before_after.png",
        "photo_jpg_before_after.png",
    ]


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

    result = run("photo.jpg", *reasons, "sound.png")

    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == len(reasons)
    for line, (name, reason) in zip(lines, reasons.items(), strict=True):
        assert line.startswith(f"Error: {name}: ")
        assert reason in line
    *done, summary = result.stdout.splitlines()
    assert [line.split(" ->")[0] for line in done] == ["photo.jpg", "sound.png"]
    assert summary.startswith(f"2 of {len(reasons) + 2} images written, ")
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
        (["compress"], "Missing argument 'IMAGE...'"),
        (["apply", "photo.jpg"], "Missing option '--palette'"),
        (["apply", "--palette", "no.gpl", "photo.jpg"], "'no.gpl' does not exist"),
        (["curve", "photo.jpg", "-k", "2,x"], "'2,x' is not a list such as 2,4,8"),
        (["photo.jpg", "--max-size", "50XB"], "'50XB' is not a size such as 50KB"),
        (["photo.jpg", "--max-size", "0"], "'0' is not a size such as 50KB"),
        (["photo.jpg", "--psnr", "30", "-k", "3"], "--psnr and --colors exclude each"),
        (["photo.jpg", "--psnr", "30", "--shared"], "--psnr and --shared exclude each"),
        (
            ["photo.jpg", "--max-size", "9KB", "--psnr", "9"],
            "--psnr and --max-size exc",
        ),
        (["photo.jpg", "--max-size", "9KB", "--shared"], "--max-size and --shared exc"),
        (["photo.jpg", "-o", "-", "--json"], "--json and an image on the standard out"),
        (["photo.jpg", "b.jpg", "-o", "-"], "--output - takes a single image"),
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
    assert len(result.stdout.splitlines()) == 3
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
    "size", [(96, 64), (1200, 90), (70, 1000), (1, 1)], ids=lambda size: f"{size}"
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


def test_odd_names_are_only_names(folder):
    odd = ["a photo.jpg", "ünï 画.jpg", "-k.jpg", "a.b.JPG"]
    for name in odd:
        shutil.copy("photo.jpg", folder / name)
    (folder / "photo.jpg").unlink()
    result = run_process("--", *odd)
    assert result.returncode == 0
    results = [f"{name[:-4]}_compressed.png" for name in odd]
    assert names(folder) == sorted(odd + results)


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


def heed_ctrl_c():
    """Undo what a shell does to programs that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_leaves_nothing(folder):
    # The signal comes during k-means, which lasts until then.
    forever = (
        "import time; from napari_kmeans import _cli, _compression;"
        "_compression.kmeans_palette = lambda *a, **k: (print('on', flush=True),"
        "time.sleep(60));"
        "_cli.main(['photo.jpg'])"
    )
    command = [sys.executable, "-c", forever]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, preexec_fn=heed_ctrl_c, **pipes) as process:
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "Interrupted: 0 of 1 done\n"
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
    assert "130  interrupted by Ctrl-C" in result.stdout
    assert run("-h").stdout == run("--help").stdout
    assert run().stderr == run("--help").stdout
    for command in ("compress", "apply", "palette", "curve", "info"):
        assert f"\n  {command}" in result.stdout
        assert f"  napari-kmeans {command} " in run(command, "--help").stdout or (
            "  napari-kmeans -k 8 -o posters/ *.jpg" in run(command, "-h").stdout
        )


def test_help_loads_no_image_library():
    code = (
        "import sys, napari_kmeans._cli;"
        "print({'PIL', 'tifffile', 'oxipng', 'skimage', 'tqdm', 'napari'}"
        "& set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True).stdout.split() == [b"set()"]


def test_a_folder_of_mixed_images_is_done_in_one_call_with_a_true_summary(folder):
    expected = write_mixed_folder(folder / "mixed", 200)
    quick = ["-k", "4", "--iters", "1", "--report", "report.html"]
    result = run("mixed", "-o", "out", "--json", *quick)

    told = json.loads(result.stdout)
    outcome = {os.path.basename(i["input"]): i["status"] for i in told["images"]}
    assert outcome == expected
    n_done = sum(status == "done" for status in expected.values())
    assert told["summary"]["images"] == 200
    assert told["summary"]["done"] == n_done == len(names(folder / "out")) == 180
    assert told["summary"]["failed"] == len(result.stderr.splitlines()) == 20
    sizes = [path.stat().st_size for path in (folder / "out").iterdir()]
    assert told["summary"]["bytes_after"] == sum(sizes)
    assert result.exit_code == 1
    page = (folder / "report.html").read_text()
    assert page.count("<section>") == n_done
    assert page.count('class="failed"') == 20


def write_mixed_folder(folder, n_images):
    """Write images of all kinds, every tenth of them broken; tell what is to come."""
    folder.mkdir()
    source = Image.fromarray(skimage.data.astronaut()).resize((24, 20))
    deep = np.asarray(source).astype(np.uint16) * 257
    expected = {}
    for number in range(n_images):
        kind = number % 10
        suffix = ["jpg", "png", "gif", "webp", "bmp", "tif", "png", "gif", "tif", "jpg"]
        path = folder / f"{number:03} {kind}.{suffix[kind]}"
        if kind == 5:
            tifffile.imwrite(path, deep, photometric="rgb")
        elif kind == 6:
            source.convert("RGBA").rotate(20).save(path)
        elif kind == 7:
            frames = [source.rotate(angle) for angle in (5, 10)]
            source.save(path, save_all=True, append_images=frames, duration=50)
        elif kind == 8:
            stack = np.asarray(source)[np.newaxis].repeat(3, axis=0)
            tifffile.imwrite(path, stack, photometric="rgb", imagej=True)
        elif kind == 9:  # Cut off, emptied, not an image, or mislabelled text.
            source.save(path)
            content = path.read_bytes()
            broken = [content[:400], b"", b"\x89PNG\r\n", b"Dear reader"]
            path.write_bytes(broken[number // 10 % 4])
        else:
            source.save(path)
        expected[path.name] = "failed" if kind == 9 else "done"
    return expected


def test_side_by_side_gives_the_same_files_and_lines_as_one_by_one(folder):
    write_mixed_folder(folder / "mixed", 10)
    alone = run("mixed", "-o", "one")
    beside = run_process("mixed", "-o", "two", "--jobs", "2")
    assert beside.stdout == alone.stdout.replace("-> one", "-> two")
    assert beside.stderr == alone.stderr
    assert beside.returncode == alone.exit_code == 1
    for name in names(folder / "one"):
        both = [(folder / place / name).read_bytes() for place in ("one", "two")]
        assert both[0] == both[1]


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_processes_beside_end_with_the_one_that_was_called(folder, sent):
    write_mixed_folder(folder / "mixed", 60)
    command = [sys.executable, "-m", "napari_kmeans", "mixed", "-o", "out"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [*command, "--jobs", "2", "--init", "thorough"],
        process_group=0,
        preexec_fn=heed_ctrl_c,
        **pipes,
    ) as process:
        assert process.stdout.readline().startswith("mixed")
        # A terminal sends Ctrl-C to all processes, a system that is out of memory kills
        # the one.
        (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)
        # Both ends of the pipes are closed only when all processes have ended.
        _, stderr = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        *errors, last = stderr.splitlines()
        assert re.fullmatch(r"Interrupted: \d+ of 60 done", last)
        assert all(line.startswith("Error: ") for line in errors)
    for path in (folder / "out").iterdir():
        assert path.name.endswith(("_compressed.png", "_compressed.gif", "ed.tif"))
        read_image(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [["photo.jpg", "-o", "-"], ["info", "photo.jpg"], ["info", "--json", "photo.jpg"]],
)
def test_a_full_standard_output_is_one_line(folder, arguments):
    command = [sys.executable, "-m", "napari_kmeans", *arguments]
    with open("/dev/full", "wb") as full:
        finished = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder
        )
    assert finished.returncode == 1
    assert finished.stderr == "Error: -: No space left on device\n"


def test_standard_input_and_output_take_an_image(folder):
    photo = (folder / "photo.jpg").read_bytes()
    result = CliRunner().invoke(_cli.main, ["-", "-k", "5"], input=photo)
    assert result.exit_code == 0
    run("photo.jpg", "-k", 5)
    assert result.stdout_bytes == (folder / "photo_compressed.png").read_bytes()
    assert "- -> -: " in result.stderr
    assert names(folder) == ["photo.jpg", "photo_compressed.png"]

    gif = run("photo.jpg", "-o", "-", "--format", "gif").stdout_bytes
    assert gif.startswith(b"GIF89a")
    named = CliRunner().invoke(_cli.main, ["-", "-o", "new/"], input=photo)
    assert named.exit_code == 0
    assert names(folder / "new") == ["stdin_compressed.png"]


def test_folders_and_patterns_are_expanded_and_results_left_out(folder):
    (folder / "in").mkdir()
    for name in ("b.png", "a.PNG", "c.txt", ".d.png", "a_compressed.png"):
        Image.fromarray(FEW_COLORS).save(folder / "in" / name, "PNG")
    run("in", "-o", "out")
    assert names(folder / "out") == ["a_compressed.png", "b_compressed.png"]
    result = run("in/?.png", "in/b.png", "-o", "two")
    assert names(folder / "two") == ["b_compressed.png"]
    assert "1 of 1 images written" in result.stdout


def test_the_content_counts_not_the_suffix(folder):
    (folder / "mislabelled.png").write_bytes((folder / "photo.jpg").read_bytes())
    run("photo.jpg", "mislabelled.png")
    files = [folder / f"{n}_compressed.png" for n in ("photo", "mislabelled")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_empty_folder_is_an_error(folder):
    (folder / "empty").mkdir()
    assert refusal(run("empty")) == "Error: empty: Is a directory"


def test_format_names_the_files_of_a_directory(folder):
    run("photo.jpg", "-o", "out/", "--format", "webp")
    assert names(folder / "out") == ["photo_compressed.webp"]
    line = refusal(run("photo.jpg", "--format", "xyz"))
    assert "suffix '.xyz' names no image format" in line


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


def test_colors_too_many_to_count_are_not_told_as_a_number(monkeypatch, folder):
    monkeypatch.setattr("napari_kmeans._color_counts.MAX_COUNTED", 50)
    monkeypatch.setattr("napari_kmeans._display.MAX_COUNTED", 50)
    noise = np.random.default_rng(0).integers(0, 65536, (20, 20, 3), dtype=np.uint16)
    tifffile.imwrite("noise.tif", noise, photometric="rgb")

    assert "more than 50 colors" in run("info", "noise.tif").stdout
    assert "more than 50 -> 4 colors" in run("noise.tif", "-k", 4).stdout
    done = run("--json", "--force", "noise.tif", "-k", 4)
    assert json.loads(done.stdout)["images"][0]["colors_before"] is None
    assert names(folder) == ["noise.tif", "noise_compressed.tif", "photo.jpg"]


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


def test_max_size_knows_units(folder):
    run("photo.jpg", "--max-size", "0.4kb", "-k", 9, "-o", "a.png")
    run("photo.jpg", "--max-size", "400", "-k", 9, "-o", "b.png")
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()


def test_what_would_not_be_smaller_is_skipped(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    result = run("few.png", "photo.jpg", "--skip-if-larger")
    assert result.exit_code == 0
    assert "few.png: not written, as it would not be smaller" in result.stdout
    assert "1 of 2 images written, 1 skipped" in result.stdout
    assert names(folder) == ["few.png", "photo.jpg", "photo_compressed.png"]


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


@pytest.mark.usefixtures("folder")
def test_shared_images_of_different_depth_are_refused_by_name():
    tifffile.imwrite("deep.tif", np.zeros((4, 5), np.uint16))
    result = run("photo.jpg", "deep.tif", "--shared", "-o", "out")
    assert result.exit_code == 1
    assert (
        result.stderr.count("images of different dtypes share no palette, got ui") == 2
    )


@pytest.mark.parametrize("name", ["flag.gpl", "flag.json", "flag.npy", "flag.png"])
def test_apply_gives_each_pixel_the_nearest_color_given(folder, name):
    palette = np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.uint8)
    if name == "flag.png":
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
    assert "palette of float32 colors does not fit an image of uint8 pixels" in line


def test_a_bad_palette_file_is_one_line(folder):
    (folder / "flag.gpl").write_bytes(b"no palette")
    line = refusal(run("apply", "--palette", "flag.gpl", "photo.jpg"))
    assert line.startswith("Error: flag.gpl: ")


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


def test_curve_tells_the_error_of_each_number_of_colors(folder):
    told = json.loads(run("curve", "photo.jpg", "-k", "8,2", "--json").stdout)
    image = upright("photo.jpg")
    (facts,) = told["images"]
    assert facts["k"] == [2, 8]
    assert facts["mse"] == error_curve(image, [2, 8]).tolist()
    lines = run(
        "curve", "photo.jpg", "-k", "2,8", "-o", "curve.csv"
    ).stdout.splitlines()
    assert lines[0] == "photo.jpg"
    assert [line.split()[0] for line in lines[2:]] == ["2", "8"]
    table = (folder / "curve.csv").read_text().splitlines()
    assert table[0] == "image,k,mse,psnr"
    assert table[1].startswith(f"photo.jpg,2,{facts['mse'][0]}")


def test_curve_is_drawn(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    assert run("curve", "photo.jpg", "few.png", "-o", "curve.png").exit_code == 0
    drawn = pixels(folder / "curve.png")
    assert drawn.shape[1] == 960
    # The line of the only curve that has errors everywhere.
    assert ((drawn == (0, 114, 178)).all(axis=-1)).sum() > 500
    assert "exists, --force" in refusal(run("curve", "photo.jpg", "-o", "curve.png"))


def test_info_tells_what_a_file_holds(folder):
    write_indexed(
        "flag.tif",
        np.zeros((2, 3, 4), np.uint8),
        np.eye(3, dtype=np.uint8),
        metadata=ImageMetadata("ZYX", (2.0, 0.5, 0.5), ("micrometer",) * 3),
    )
    line = run("info", "flag.tif").stdout
    size = (folder / "flag.tif").stat().st_size
    assert line == (
        f"flag.tif: {size:,} bytes, 2 x 3 x 4 x 3 uint8, 1 colors, palette of 3, "
        "Z: 2 micrometer, Y: 0.5 micrometer, X: 0.5 micrometer\n"
    )
    told = json.loads(run("info", "photo.jpg", "missing.jpg", "--json").stdout)
    assert told["images"][0]["shape"] == [60, 40, 3]
    assert told["images"][0]["palette_entries"] is None
    assert told["images"][1]["error"] == "No such file or directory"


@pytest.mark.usefixtures("folder")
def test_quiet_tells_errors_only_and_verbose_more():
    result = run("photo.jpg", "missing.jpg", "-q")
    assert result.stdout == ""
    assert result.stderr == "Error: missing.jpg: No such file or directory\n"
    line = run("photo.jpg", "--force", "-v").stdout
    assert re.search(r"dB, \d+ iterations, (not )?converged, \d+\.\d\d s\n$", line)


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
    page = (folder / "report.html").read_text()
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


def test_the_report_never_replaces_an_image(folder):
    before = (folder / "photo.jpg").read_bytes()
    result = run("photo.jpg", "--report", "photo.jpg", "--force")
    assert "will not write photo.jpg, it is another image" in refusal(result)
    assert (folder / "photo.jpg").read_bytes() == before


def test_ome_files_stay_ome_files(folder):
    tifffile.imwrite("in.ome.tif", np.zeros((3, 8, 9), np.uint16), ome=True)
    assert run("in.ome.tif").exit_code == 0
    with tifffile.TiffFile(folder / "in_compressed.ome.tif") as file:
        assert file.is_ome


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_links_are_images_of_their_own_and_led_to_are_files(folder):
    (folder / "link.jpg").symlink_to("photo.jpg")
    (folder / "out").mkdir()
    (folder / "photo_compressed.png").symlink_to("out/real.png")
    assert run("photo.jpg", "link.jpg", "photo.jpg").exit_code == 0
    assert (folder / "photo_compressed.png").is_symlink()
    real = (folder / "out/real.png").read_bytes()
    assert (folder / "link_compressed.png").read_bytes() == real
    assert "exists, --force" in refusal(run("photo.jpg"))


@pytest.mark.usefixtures("folder")
def test_animations_stay_animations():
    frames = [Image.new("RGB", (9, 8), color) for color in ("red", "blue", "lime")]
    frames[0].save("film.webp", save_all=True, append_images=frames[1:], lossless=True)
    result = run("film.webp")
    assert result.exit_code == 0, result.stderr
    found = read_indexed("film_compressed.gif")
    expected = [np.array(frame) for frame in frames]
    assert_array_equal(found.palette[found.labels], expected)
    line = refusal(run("film.webp", "-o", "film.png"))
    assert "a stack of shape (3, 8, 9, 3) does not fit into a .png file" in line


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


def test_the_shell_completes_commands_options_and_files():
    def completed(*words):
        complete = BashComplete(_cli.main, {}, "napari-kmeans", "_COMPLETE")
        found = complete.get_completions(list(words[:-1]), words[-1])
        return {(item.type, item.value) for item in found}

    assert {("plain", "compress"), ("plain", "palette")} <= completed("")
    assert ("file", "pho") in completed("pho")
    assert ("plain", "--max-size") in completed("photo.jpg", "--max")
    assert ("plain", "oklab") in completed("apply", "--color-space", "ok")
    assert ("file", "pho") in completed("info", "pho")


def test_the_shell_is_told_how_to_complete():
    environment = os.environ | {"_NAPARI_KMEANS_COMPLETE": "zsh_source"}
    code = "from napari_kmeans._cli import main; main(prog_name='napari-kmeans')"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "#compdef napari-kmeans" in told.stdout


def test_version():
    assert napari_kmeans.__version__ in run("--version").stdout
