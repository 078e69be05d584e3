import os

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from command_line import FEW_COLORS, names, pixels, refusal, run, upright


def test_what_exists_is_overwritten_only_by_force(folder):
    (folder / "photo_compressed.png").write_bytes(b"dear")
    line = refusal(run("photo.jpg"))
    assert line == (
        "Error: photo.jpg: photo_compressed.png exists, --force overwrites it"
    )
    assert (folder / "photo_compressed.png").read_bytes() == b"dear"

    assert run("photo.jpg", "--force").exit_code == 0
    assert (folder / "photo_compressed.png").read_bytes().startswith(b"\x89PNG")


def test_an_image_that_is_not_there_is_told_before_what_stands_in_its_place(folder):
    (folder / "phto_compressed.png").write_bytes(b"dear")
    assert refusal(run("./phto.jpg")) == "Error: ./phto.jpg: No such file or directory"


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


def test_format_names_the_files_of_a_directory(folder):
    run("photo.jpg", "-o", "out/", "--format", "webp")
    assert names(folder / "out") == ["photo_compressed.webp"]
    run("photo.jpg", "-o", "out/", "--format", ".ome.tif")
    run("photo.jpg", "-o", "out/", "--format", "GIF")
    assert names(folder / "out") == [
        "photo_compressed.GIF",
        "photo_compressed.ome.tif",
        "photo_compressed.webp",
    ]


def test_the_report_never_replaces_an_image(folder):
    before = (folder / "photo.jpg").read_bytes()
    result = run("photo.jpg", "--report", "photo.jpg", "--force")
    assert "will not write photo.jpg, it is an image of this" in refusal(result)
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


def test_the_folder_of_a_missing_image_is_not_made(folder):
    assert "No such file or directory" in refusal(run("nowhere/photo.jpg"))
    assert names(folder) == ["photo.jpg"]
