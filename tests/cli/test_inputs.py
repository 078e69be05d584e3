import json
import os
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
    assert result.exit_code == 1
    assert result.stderr == "Error: empty: the folder holds no images\n"
    assert result.stdout == "0 of 1 images written, 1 failed\n"


def fill_folder(folder):
    """Make a folder of one image, and of what is left out of it."""
    folder.mkdir()
    for name in ("a.png", "b.HEIC", "a_compressed.png", ".hidden.png"):
        Image.fromarray(FEW_COLORS).save(folder / name, "PNG")
    (folder / "c\x1b.txt").write_text("text")
    for name in ("below", "like.jpg"):
        (folder / name).mkdir()


def test_what_a_folder_holds_beside_images_is_told(folder):
    fill_folder(folder / "in")

    result = run("in", "-o", "out")
    assert result.stderr == (
        "in: left out results of earlier runs (1), files without an image suffix (2), "
        "folders (2); -v names them\n"
    )
    assert result.exit_code == 0
    assert names(folder / "out") == ["a_compressed.png"]

    verbose = run("palette", "in", "-v").stderr.splitlines()
    assert verbose[:3] == [
        "in: left out results of earlier runs: a_compressed.png",
        "in: left out files without an image suffix: b.HEIC, c\\x1b.txt",
        "in: left out folders: below, like.jpg",
    ]
    told = json.loads(run("curve", "in", "-k", 2, "--json").stdout)
    left_out = ["a_compressed.png", "b.HEIC", "below", "c\x1b.txt", "like.jpg"]
    assert told["left_out"] == [f"in/{name}" for name in left_out]
    # It looks at results, too.
    assert "results" not in run("info", "in").stderr
    assert run("in", "-o", "out", "--force", "-q").stderr == ""


def test_a_folder_without_images_says_what_to_do(folder):
    fill_folder(folder / "in")
    (folder / "in/a.png").unlink()
    told, error = run("info", "in/").stderr.splitlines(), run("in").stderr.splitlines()
    assert len(told) == 1
    assert error[-1] == (
        "Error: in: the folder holds no images; name files to read, or --recursive for "
        "the folders below"
    )


def test_a_pattern_with_two_stars_finds_images_in_all_folders(folder):
    for name in ("a", "a/b", "a/b/c", "a/.hidden"):
        (folder / name).mkdir()
        shutil.copy("photo.jpg", folder / name)
    expected = ["a/b/c/photo.jpg", "a/b/photo.jpg", "a/photo.jpg"]
    for pattern, found in [
        ("a/**", expected),
        ("a/**/*.jpg", expected),
        ("**/*.jpg", [*expected, "photo.jpg"]),
        ("**/b/**/*.jpg", expected[:2]),
        ("a/**/**/photo.jpg", expected),
        (f"{folder}/a/**/c/*", [f"{folder}/a/b/c/photo.jpg"]),
        ("./**/c/*", ["./a/b/c/photo.jpg"]),
    ]:
        told = run("info", pattern).stdout.splitlines()
        assert [line.split(": ")[0] for line in told] == found


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_a_pattern_visits_each_folder_once_whatever_links_lead_to_it(folder):
    (folder / "a/b").mkdir(parents=True)
    (folder / "elsewhere").mkdir()
    shutil.copy("photo.jpg", folder / "a/b/x.jpg")
    shutil.copy("photo.jpg", folder / "elsewhere/y.jpg")
    # Two loops can be followed in more ways than could ever be tried.
    for link, to in [
        ("a/1", "."),
        ("a/2", "../a"),
        ("a/b/3", ".."),
        ("a/self", "self"),
    ]:
        (folder / link).symlink_to(to)
    (folder / "a/0").symlink_to("b")
    (folder / "a/b/other").symlink_to(folder / "elsewhere")

    told = run("info", "a/**/*.jpg").stdout.splitlines()

    assert [line.split(": ")[0] for line in told] == ["a/b/other/y.jpg", "a/b/x.jpg"]


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


def fill_tree(folder):
    """Make a tree of five images, one of which is hidden, and of other things."""
    names = ("b.png", "x/a.png", "x/y/a.png", "z/a.png", "x/.hidden/a.png")
    for name in (*names, "z/a_compressed.png", "x/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(FEW_COLORS).save(folder / name, "PNG")


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))


def test_recursive_reads_all_folders_below_and_keeps_the_tree(folder):
    fill_tree(folder / "in")
    for place in ("out", folder / "out2"):
        result = run("--recursive", "in", "-o", place, "--compare", "looks", "--force")
        assert result.exit_code == 0, result.stderr
        results = [f"{n}_compressed.png" for n in ("b", "x/a", "x/y/a", "z/a")]
        assert tree(folder / place) == results
        assert tree(folder / "looks") == [
            name.replace("compressed", "before_after") for name in results
        ]
    assert result.stderr == (
        "in: left out files without an image suffix (1), results of earlier runs (1); "
        "-v names them\n"
    )
    assert [line.split(" -> ")[0] for line in result.stdout.splitlines()[:-1]] == [
        "in/b.png",
        "in/x/a.png",
        "in/x/y/a.png",
        "in/z/a.png",
    ]


def test_recursive_results_lie_beside_their_images_without_a_directory(folder):
    fill_tree(folder / "in")
    (folder / "in/z/a_compressed.png").unlink()
    assert run("in/", "--recursive", "-k", 2).exit_code == 0
    made = [f"{n}_compressed.png" for n in ("b", "x/a", "x/y/a", "z/a")]
    assert set(made) < set(tree(folder / "in"))
    assert names(folder) == ["in", "photo.jpg"]
    again = run("in/", "--recursive", "-k", 2, "--force", "-v")
    assert "4 of 4 images written" in again.stdout
    assert (
        "in/: left out results of earlier runs: b_compressed.png, x/a_compressed.png, "
        "x/y/a_compressed.png, z/a_compressed.png" in again.stderr
    )


@pytest.mark.parametrize("command", ["palette", "curve -k 2", "info"])
def test_every_command_reads_folders_below(folder, command):
    fill_tree(folder / "in")
    told = json.loads(run(*command.split(), "in", "--recursive", "--json").stdout)
    found = {image["input"] for image in told["images"]} - {"in/z/a_compressed.png"}
    assert found == {"in/b.png", "in/x/a.png", "in/x/y/a.png", "in/z/a.png"}
    assert "in/x/notes.txt" in told["left_out"]


def test_palettes_keep_the_tree(folder):
    fill_tree(folder / "in")
    run("palette", "in", "--recursive", "-o", "out/")
    assert (folder / "out/x/y/a_palette.gpl").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_recursive_goes_through_no_link_in_circles(folder):
    fill_tree(folder / "in")
    (folder / "in/x/up").symlink_to("..")
    (folder / "in/z/y").symlink_to("../x/y")
    assert run("in", "--recursive", "-o", "out").exit_code == 0
    assert len(tree(folder / "out")) == 4


def test_folders_below_without_any_image_are_an_error(folder):
    (folder / "in/x").mkdir(parents=True)
    result = run("in", "--recursive", "-o", "out")
    assert result.stderr == "Error: in: the folder holds no images\n"
    assert result.exit_code == 1
