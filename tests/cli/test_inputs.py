import shutil

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from command_line import FEW_COLORS, names, run, run_process
from napari_kmeans import _cli


def test_odd_names_are_only_names(folder):
    odd = ["a photo.jpg", "ünï 画.jpg", "-k.jpg", "a.b.JPG"]
    for name in odd:
        shutil.copy("photo.jpg", folder / name)
    (folder / "photo.jpg").unlink()
    result = run_process("--", *odd)
    assert result.returncode == 0
    results = [f"{name[:-4]}_compressed.png" for name in odd]
    assert names(folder) == sorted(odd + results)


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
    result = run("empty", "-o", "out")
    error = "the folder holds no images, results of earlier runs left out"
    assert result.exit_code == 1
    assert result.stderr == f"Error: empty: {error}\n"
    assert result.stdout == "0 of 1 images written, 1 failed\n"


@pytest.mark.usefixtures("folder")
def test_a_pattern_that_nothing_fits_is_an_error():
    result = run("no*.jpg", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr == "Error: no*.jpg: No such file or directory\n"


def test_results_of_a_folder_are_told_about_but_not_made_again(folder):
    tifffile.imwrite("deep.ome.tif", np.zeros((4, 5), np.uint16), ome=True)
    run(".")
    results = ["./deep_compressed.ome.tif", "./photo_compressed.png"]
    told = [line.split(": ")[0] for line in run("info", ".").stdout.splitlines()]
    assert told == sorted(["./deep.ome.tif", "./photo.jpg", *results])
    again = run(".", "--force").stdout.splitlines()
    assert [line.split(" -> ")[0] for line in again[:-1]] == told[::2]
    assert len(names(folder)) == 4


def test_a_file_called_like_the_standard_input_is_found_by_a_pattern(folder):
    (folder / "photo.jpg").rename("-")
    assert run("?", "-o", "out").stdout.startswith("./- -> out/-_compressed.png: ")
