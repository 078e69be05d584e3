import contextlib
import csv
import importlib.metadata
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.testing import assert_array_equal
from PIL import Image

from command_line import pixels, refusal, run
from napari_kmeans._cli import options, running
from napari_kmeans._cli.inputs import Source
from napari_kmeans._cli.options import Options
from napari_kmeans._cli.progress import Progress
from napari_kmeans._cli.running import Outcome
from napari_kmeans._core import chunks
from napari_kmeans._files import pyramids, slides
from slides import SLIDE, write_pyramid, write_slide
from zarr_stores import contents, levels_of, make_array, make_image

RGB = np.ascontiguousarray(np.moveaxis(SLIDE, -1, 0))
FOR_FILES = "{} is for image files, not for stores such as "
OF_FILES = (
    "--mask c.png",
    *("--max-size 9KB", "--skip-if-larger", "--report r.html", "--compare d.png"),
    *("--effort fast", "--depth 8", "--opacity-threshold 9", "--keep-palette"),
)
CHANNELS = [{"color": color} for color in ("FF0000", "00FF00", "0000FF")]


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """A working directory with one picture as a store, a slide and a PNG file."""
    monkeypatch.chdir(tmp_path)
    told = make_image(tmp_path / "a.ome.zarr", levels_of(RGB), chunks=(1, 40, 40))
    zarr.open_group(told).attrs["ome"] |= {"omero": {"channels": CHANNELS}}
    write_slide(tmp_path / "b.svs", compression="zlib")
    Image.fromarray(SLIDE).save("c.png")
    yield tmp_path
    slides._opened.cache_clear()


def facts(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    (told,) = json.loads(result.stdout)["images"]
    return told


def picture(path, level="0"):
    return np.moveaxis(zarr.open_array(path, path=level, mode="r")[...], 0, -1)


def n_bytes(path):
    return sum(map(len, contents(Path(path)).values()))


def without(told, *own):
    return {name: value for name, value in told.items() if name not in own}


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("name", ["a.ome.zarr", "b.svs"])
def test_a_store_has_the_palette_and_the_numbers_of_a_file(name):
    store, file = (facts("compress", "-k", 5, some) for some in (name, "c.png"))

    own = ("input", "output", "bytes_before", "bytes_after", "seconds")
    pieces = {"pieces": 2, "pieces_written": 2}
    assert without(store, *own) == without(file, *own) | pieces
    target = f"{name[0]}_compressed.ome.zarr"
    assert store["output"] == target
    assert store["bytes_after"] == n_bytes(target)
    assert_array_equal(picture(target), pixels("c_compressed.png"))
    assert_array_equal(np.unique(picture(target, "1")), np.unique(picture(target)))


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("command", [("palette",), ("curve", "-k", "2,5"), ("info",)])
@pytest.mark.parametrize("name", ["a.ome.zarr", "b.svs"])
def test_other_commands_say_of_a_store_what_they_say_of_a_file(command, name):
    store, file = (facts(*command, some) for some in (name, "c.png"))
    new = ("levels", "format", "chunks", "shards")
    own = ("input", "bytes", "shape", "axes", "scale", "units", "seconds")
    assert without(store, *own, *new) == without(file, *own)


@pytest.mark.usefixtures("stores")
def test_info_says_how_stores_and_slides_are_stored():
    make_array("d.zarr", SLIDE, chunks=(20, 30, 3), shards=(40, 60, 3))
    result = run("info", "a.ome.zarr", "b.svs", "d.zarr")
    n_colors = f"{len(np.unique(SLIDE.reshape(-1, 3), axis=0)):,} colors"
    sizes = (n_bytes("a.ome.zarr"), os.path.getsize("b.svs"), n_bytes("d.zarr"))
    lines = (
        (
            "a.ome.zarr: {:,} bytes, 3 x 100 x 150 uint8, {}, OME-Zarr 0.5, 2 levels, "
            "chunks of 1 x 40 x 40, Y: 0.25 micrometer, X: 0.25 micrometer"
        ),
        (
            "b.svs: {:,} bytes, 100 x 150 x 3 uint8, {}, TIFF in tiles, 2 levels, "
            "chunks of 32 x 48 x 3, Y: 0.499 micrometer, X: 0.499 micrometer"
        ),
        (
            "d.zarr: {:,} bytes, 100 x 150 x 3 uint8, {}, zarr 3, 1 level, "
            "chunks of 20 x 30 x 3, shards of 40 x 60 x 3"
        ),
    )
    told = [line.format(n, n_colors) for line, n in zip(lines, sizes, strict=True)]
    assert result.stdout.splitlines() == told
    told = facts("info", "d.zarr")
    assert (told["chunks"], told["shards"]) == ([20, 30, 3], [40, 60, 3])
    assert told["levels"] == [[100, 150, 3]]


@pytest.mark.usefixtures("stores")
def test_a_store_that_is_complete_is_left_and_another_is_not_taken_for_it():
    done = run("-k", 4, "a.ome.zarr", "--labels")
    before = contents(Path("a_compressed.ome.zarr"))
    assert any(name.startswith("labels/colors/0/c/") for name in before)
    assert done.stdout.count("\n") == 1
    assert " -> 4 colors, PSNR " in done.stdout

    again = run("-k", 4, "a.ome.zarr", "--labels")
    complete = "a.ome.zarr -> a_compressed.ome.zarr: already complete, nothing to do\n"
    assert again.stdout == complete
    assert "a_compressed.ome.zarr was begun with" in refusal(run("-k", 5, "a.ome.zarr"))
    assert contents(Path("a_compressed.ome.zarr")) == before

    run("-k", 5, "a.ome.zarr", "--force")
    assert len(np.unique(picture("a_compressed.ome.zarr").reshape(-1, 3), axis=0)) == 5
    Path("other.zarr/mine").mkdir(parents=True)
    line = refusal(run("a.ome.zarr", "-o", "other.zarr/", "--force"))
    assert line.startswith("Error: a.ome.zarr: ")
    assert "other.zarr exists" in line


@pytest.mark.usefixtures("stores")
def test_a_store_goes_on_only_with_the_same_fixed_colors_and_weights():
    options = ["-k", 4, "--fixed", "#010203", "--channel-weights", "std"]
    told = facts("a.ome.zarr", *options)
    file = facts("c.png", *options)
    for name in ("palette", "channel_weights", "mse"):
        assert told[name] == file[name]
    assert "#010203" in told["palette"]
    assert_array_equal(picture("a_compressed.ome.zarr"), pixels("c_compressed.png"))
    assert "already complete" in run("a.ome.zarr", *options).stdout
    line = refusal(run("a.ome.zarr", *options[:-1], "1,1,1"))
    assert "was begun with another channel_weights; --force replaces it" in line


@pytest.mark.usefixtures("stores")
def test_tables_of_stores_have_what_is_known():
    run("palette", "-k", 5, "-o", "p.gpl", "c.png")
    for command in (["-k", "5"], ["apply", "--palette", "p.gpl"]):
        options = ["-o", f"{len(command)}.zarr", "--csv", "t.csv", "--force"]
        assert run(*command, "a.ome.zarr", *options).exit_code == 0
        with open("t.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        numbers = [row["pixels"] for row in rows]
        assert len(numbers) == 5
        if command[0] == "apply":
            assert set(numbers) == {""}
        else:
            assert sum(map(int, numbers)) == SLIDE[..., 0].size
        assert {row["error"] for row in rows} == {""}


@pytest.mark.usefixtures("stores")
def test_a_palette_of_a_slide_is_fitted_under_a_mask():
    mask = np.zeros(SLIDE.shape[:2], bool)
    mask[20:60, 30:80] = True
    Image.fromarray(mask).save("mask.png")
    told = [
        facts("palette", name, "--mask", "mask.png", "-k", 4)
        for name in ("a.ome.zarr", "b.svs", "c.png")
    ]
    assert [image["colors"] for image in told] == [told[2]["colors"]] * 3
    assert sum(told[0]["counts"]) == 40 * 50


@pytest.mark.usefixtures("stores")
def test_a_given_palette_is_taken_and_nothing_is_fitted():
    run("palette", "-k", 5, "-o", "p.gpl", "c.png")
    store = facts("apply", "--palette", "p.gpl", "a.ome.zarr", "-o", "out.zarr")
    file = facts("apply", "--palette", "p.gpl", "c.png", "-o", "d.png")
    assert store["palette"] == file["palette"]
    assert_array_equal(picture("out.zarr"), pixels("d.png"))
    unknown = ("mse", "psnr", "lossless", "counts", "colors_after", "n_iter")
    assert [store[name] for name in unknown] == [None] * 6
    line = run("apply", "--palette", "p.gpl", "b.svs", "--dither", "ordered").stdout
    assert line.endswith("), 5 colors\n")


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "ZYXS"])
def test_a_stack_in_tiles_becomes_a_store_with_its_channels_first(axes):
    stack = np.stack([SLIDE, SLIDE[::-1]])
    stack = np.moveaxis(stack, [0, -1], [axes.index("Z"), axes.find("C") % 4])
    kind = "rgb" if "S" in axes else "minisblack"
    write_pyramid("d.ome.tif", stack, metadata={"axes": axes}, photometric=kind)
    run("-k", 5, "d.ome.tif")
    group = zarr.open_group("d_compressed.ome.zarr", mode="r")
    (image,) = group.attrs["ome"]["multiscales"]
    assert "".join(axis["name"] for axis in image["axes"]) == "czyx"
    first = np.moveaxis(group["0"][...], 0, -1)
    run("-k", 5, "c.png", "-o", "e.png")
    assert_array_equal(first, np.stack([pixels("e.png"), pixels("e.png")[::-1]]))


@pytest.mark.usefixtures("stores")
def test_stores_slides_and_files_share_a_palette():
    run("--shared", "-k", 5, "a.ome.zarr", "b.svs", "c.png", "-o", "out")
    found = [picture(f"out/{n}_compressed.ome.zarr") for n in "ab"]
    for colors in found:
        assert_array_equal(colors, pixels("out/c_compressed.png"))


def test_stores_and_slides_of_a_folder_are_images_and_what_is_in_them_is_not(stores):
    make_image(stores / "in" / "e.zarr", levels_of(RGB))
    (stores / "in" / "e_compressed.zarr").mkdir()
    shutil.copytree(stores / "in" / "e.zarr", stores / "in" / "f_compressed.ome.zarr")
    (stores / "in" / "e.zarr" / "inner.png").write_bytes(b"")
    for name in ("b.svs", "c.png"):
        shutil.copy(name, "in")
    lines = run("curve", "-k", 2, "in", "-v").stdout.splitlines()
    assert [line for line in lines if line.startswith("in")] == [
        os.path.join("in", name) for name in ("b.svs", "c.png", "e.zarr")
    ]
    found = json.loads(run("info", "--json", "i*/**", "*.ome.zarr").stdout)["images"]
    there = ["in/b.svs", "in/c.png", "in/e.zarr", "in/f_compressed.ome.zarr"]
    assert [image["input"] for image in found] == [*there, "a.ome.zarr"]
    # A store is one image, however it is named.
    assert run("a.ome.zarr/", "-o", "x.png").exit_code == 0


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize("name", ["a.ome.zarr", "b.svs"])
@pytest.mark.parametrize("target", ["x.png", "x.tif"])
def test_a_store_that_fits_becomes_an_image_file(name, target):
    run("-k", 5, name, "-o", target)
    run("-k", 5, "c.png", "-o", "d.png")
    found = tifffile.imread(target) if target == "x.tif" else pixels(target)
    colors = pixels(target) if found.ndim == 2 else found
    assert_array_equal(colors, pixels("d.png"))
    assert "Y: 0." in run("info", target).stdout


@pytest.mark.usefixtures("stores")
def test_a_store_with_too_many_pixels_becomes_no_image_file(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7499)
    assert refusal(run("a.ome.zarr", "-o", "x.png")) == (
        "Error: a.ome.zarr: too many pixels for x.png: (100, 150, 3); write a store, "
        "such as .ome.zarr"
    )


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        *((option, FOR_FILES.format(option.split()[0])) for option in OF_FILES),
        ("-o -", FOR_FILES.format("the standard output")),
        ("--dither floyd-steinberg", "dither='floyd-steinberg' needs whole planes"),
        (
            "-o x.png --labels",
            "--labels is for stores, not for image files such as x.png",
        ),
        ("-o a.ome.zarr/x.zarr", "will not write a.ome.zarr/x.zarr, it is an image"),
        ("-o a.ome.zarr/x.png", "will not write a.ome.zarr/x.png, it is an image"),
        ("-o a.ome.zarr", "will not write a.ome.zarr, it is an image of this call"),
    ],
)
def test_what_a_store_does_not_have_is_refused_in_a_line(arguments, why):
    before = contents(Path("a.ome.zarr"))
    result = run("a.ome.zarr", *arguments.split())
    assert result.stderr.startswith(f"Error: a.ome.zarr: {why}")
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 1
    assert contents(Path("a.ome.zarr")) == before
    assert not os.path.exists("a_compressed.ome.zarr")


@pytest.mark.usefixtures("stores")
def test_what_cannot_be_a_store_is_refused_in_a_line():
    line = refusal(run("c.png", "-o", "x.zarr"))
    assert line.endswith(
        "x.zarr cannot be made of an image file, only of a store or a slide"
    )
    inner = refusal(run("a.ome.zarr/1", "-o", "a.ome.zarr", "--force"))
    assert "will not write a.ome.zarr" in inner
    shutil.copytree("a.ome.zarr", "plate.zarr/0")
    zarr.open_group("plate.zarr", mode="a")
    assert "choose one of: plate.zarr/0" in refusal(run("plate.zarr", "-o", "x.png"))


@pytest.mark.usefixtures("stores")
def test_what_is_not_installed_is_told_with_the_command_that_installs_it(monkeypatch):
    install = 'pip install "napari-kmeans[zarr]"'
    monkeypatch.setitem(sys.modules, "dask.array", None)
    for name in ("a.ome.zarr", "b.svs"):
        line = refusal(run(name))
        assert line.startswith(f"Error: {name}: import of dask.array halted")
        assert line.endswith(install)
    monkeypatch.delitem(sys.modules, "dask.array")
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "3.0.8")
    for name in ("a.ome.zarr", "b.svs"):
        why = f"zarr must be 3.1.3 or later, got 3.0.8; {install}"
        assert refusal(run(name)) == f"Error: {name}: {why}"


@pytest.mark.usefixtures("stores")
def test_a_format_may_be_that_of_a_store():
    for suffix in ("zarr", ".ome.zarr"):
        run("-k", 3, "b.svs", "a.ome.zarr", "--format", suffix, "-o", f"{suffix}/")
        target = f"b_compressed.{suffix.lstrip('.')}"
        assert os.path.isdir(os.path.join(suffix, target))
    run("-k", 3, "b.svs", "a.ome.zarr", "--format", "png", "-o", "png")
    assert sorted(os.listdir("png")) == ["a_compressed.png", "b_compressed.png"]


def test_a_pass_shows_how_far_it_is_and_the_time_that_is_left():
    shown = io.StringIO()

    def do(_, __, step):
        step("reading")
        for n_done in range(4):
            step("reading", n_done, 4)
        assert re.search(r": reading +75% \|\S+ +\| 00:00 left$", shown.getvalue())
        step("writing", 0, 2)
        assert re.search(r"a.zarr: writing +0% \| +\| \? left$", shown.getvalue())
        step("fitting")
        assert re.search(r"a.zarr: fitting +25% \|\S+ +\| 00:00$", shown.getvalue())
        return Outcome("done", "", {})

    with contextlib.closing(Progress(file=shown)) as progress:
        (outcome,) = running._outcomes(do, [Source("in/a.zarr")], Options(), progress)
    assert outcome.status == "done", outcome.text


@pytest.mark.usefixtures("stores")
def test_a_scheduler_gets_the_tasks(monkeypatch):
    from distributed import LocalCluster, default_client

    seen = []
    tell = chunks._compute_far
    monkeypatch.setattr(chunks, "_compute_far", lambda *a: seen.append(a) or tell(*a))
    with LocalCluster(
        n_workers=1, processes=False, dashboard_address=":0", silence_logs="CRITICAL"
    ) as cluster:
        run("a.ome.zarr", "-k", 5, "--scheduler", cluster.scheduler_address)
    assert len(seen) == 2
    with pytest.raises(ValueError, match="No client"):
        default_client()
    near = run("a.ome.zarr", "-k", 5, "-o", "near.zarr")
    assert near.exit_code == 0
    far = contents(Path("a_compressed.ome.zarr"))
    assert far == contents(Path("near.zarr"))


@pytest.mark.usefixtures("stores")
def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(options, "_PATIENCE", 0.2)
    line = refusal(run("a.ome.zarr", "--scheduler", "tcp://127.0.0.1:9"))
    assert line == "Error: no scheduler answers at tcp://127.0.0.1:9"
    both = run("a.ome.zarr", "--scheduler", "tcp://127.0.0.1:9", "--jobs", 2)
    assert both.exit_code == 2
    assert "--scheduler and --jobs exclude each other" in both.stderr
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = refusal(run("a.ome.zarr", "--scheduler", "tcp://127.0.0.1:9"))
    assert line.endswith('pip install "napari-kmeans[distributed]"')


# A program that writes three pieces, and is busy with others until it is ended. dask
# loads faster without what is not needed here.
BUSY = """
import sys, time
sys.modules["distributed"] = None
from napari_kmeans import _cli, _stores
from napari_kmeans._files import pyramids

def write(*place, real=_stores._map_place, written=[]):
    if len(written) > 2:
        time.sleep(99)
    real(*place)
    written.append(place)

_stores._map_place = write
pyramids._BOX = 1 << 11
_cli.run()
"""


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_a_call_that_is_ended_goes_on_where_it_was(stores, monkeypatch):
    monkeypatch.setattr(pyramids, "_BOX", 1 << 11)
    make_image("e.zarr", levels_of(RGB), chunks=(1, 16, 16))
    call = ["-k", "5", "--labels", "e.zarr", "-o", "f.zarr"]
    labels = stores / "f.zarr/labels/colors"
    for n_files, sent in ((3, signal.SIGINT), (6, signal.SIGKILL)):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", BUSY, *call]
        with subprocess.Popen(command, preexec_fn=heed_ctrl_c, **pipes) as process:
            while len([*labels.glob("*/c/*/*")]) < n_files:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.01)
            process.send_signal(sent)
            _, stderr = process.communicate(timeout=30)
        is_killed = sent == signal.SIGKILL
        assert process.returncode == (-sent if is_killed else 130)
        assert stderr == ("" if is_killed else "Interrupted: 0 of 1 done\n")

    line = run(*call).stdout
    assert re.search(r", resumed: \d+ of \d+ pieces were there\n$", line)
    assert "resumed" not in run(*call[:-1], "g.zarr").stdout
    assert contents(stores / "f.zarr") == contents(stores / "g.zarr")


def heed_ctrl_c():
    """Undo what a shell does to programs that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
