import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from command_line import FEW_COLORS, names, refusal, run, upright
from napari_kmeans import kmeans_palette, map_to_palette, write_palette


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check(rows, image, labels, palette):
    """Compare rows with what is counted and measured pixel by pixel."""
    assert [int(row["index"]) for row in rows] == list(range(len(palette)))
    for label, (row, color) in enumerate(zip(rows, palette, strict=True)):
        inside = image[labels == label].reshape(-1, np.size(color)).astype(float)
        numbers = [float(row[f"value_{i}"]) for i in range(np.size(color))]
        assert numbers == np.ravel(color).tolist()
        assert int(row["pixels"]) == len(inside)
        assert float(row["share"]) == pytest.approx(len(inside) / labels.size)
        error = np.square(inside - color).sum(axis=1).mean()
        assert float(row["error"]) == pytest.approx(error)


@pytest.mark.parametrize("dither", [None, "floyd-steinberg"])
def test_a_row_for_each_image_and_color(folder, dither):
    image = upright("photo.jpg")
    tifffile.imwrite("deep.tif", image[..., 0].astype(np.uint16) * 9)
    (folder / "broken.png").write_bytes(b"broken")
    options = ["--dither", dither] if dither else []
    files = ["photo.jpg", "broken.png", "deep.tif"]
    result = run(*files, "-k", 5, "-o", "out/", "--csv", "t.csv", *options)
    assert result.exit_code == 1

    rows = rows_of("t.csv")
    assert [row["image"] for row in rows] == ["photo.jpg"] * 5 + ["deep.tif"] * 5
    fit = kmeans_palette(image, 5)
    labels = map_to_palette(image, fit.palette, dither=dither)
    check(rows[:5], image, labels, fit.palette)
    assert [row["hex"] for row in rows[:5]] == [
        f"#{bytes(color).hex()}" for color in fit.palette
    ]
    deep = tifffile.imread("deep.tif")
    fit = kmeans_palette(deep, 5, channel_axis=None)
    labels = map_to_palette(deep, fit.palette, channel_axis=None, dither=dither)
    check(rows[5:], deep, labels, fit.palette)
    assert {row["hex"] + row["value_1"] for row in rows[5:]} == {""}


@pytest.mark.usefixtures("folder")
def test_apply_and_palette_have_tables():
    image = upright("photo.jpg")
    colors = np.array([[0, 0, 0], [9, 9, 255], [255, 255, 255]], np.uint8)
    write_palette("flag.npy", colors)
    run("apply", "--palette", "flag.npy", "photo.jpg", "--csv", "a.csv")
    check(rows_of("a.csv"), image, map_to_palette(image, colors), colors)

    run("palette", "photo.jpg", "-k", 4, "--csv", "p.csv")
    fit = kmeans_palette(image, 4)
    labels = map_to_palette(image, fit.palette)
    check(rows_of("p.csv"), image, labels, fit.palette)

    Image.fromarray(FEW_COLORS).save("few.png")
    run("palette", "photo.jpg", "few.png", "--shared", "-k", 4, "--csv", "s.csv")
    rows = rows_of("s.csv")
    assert {row["image"] for row in rows} == {"photo.jpg, few.png"}
    assert sum(int(row["pixels"]) for row in rows) == 40 * 60 + 4


def test_a_table_is_the_same_whatever_the_number_of_jobs(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    for jobs in (1, 2):
        options = ["--jobs", jobs, "--csv", f"{jobs}.csv", "-o", f"out{jobs}"]
        assert run("photo.jpg", "few.png", "-k", 3, *options).exit_code == 0
    assert (folder / "1.csv").read_bytes() == (folder / "2.csv").read_bytes()


def test_a_table_is_overwritten_only_by_force_and_never_an_image(folder):
    (folder / "t.csv").write_text("dear")
    line = refusal(run("photo.jpg", "--csv", "t.csv"))
    assert line == "Error: t.csv: exists, --force overwrites it"
    assert names(folder) == ["photo.jpg", "t.csv"]
    assert run("photo.jpg", "--csv", "t.csv", "--force").exit_code == 0
    assert len(rows_of("t.csv")) == 16
    line = refusal(run("palette", "photo.jpg", "--csv", "photo.jpg", "--force"))
    assert "will not write photo.jpg, it is an image of this call" in line


def test_odd_names_are_one_field(folder):
    (folder / "photo.jpg").rename('a, "b"\n.jpg')
    run('a, "b"\n.jpg', "-k", 2, "--csv", "t.csv", "-o", "a.png")
    assert {row["image"] for row in rows_of("t.csv")} == {'a, "b"\\n.jpg'}


@pytest.mark.usefixtures("folder")
def test_images_that_are_not_written_have_no_rows():
    Image.fromarray(FEW_COLORS).save("few.png", optimize=True)
    told = run("few.png", "--skip-if-larger", "--csv", "t.csv", "--json").stdout
    written = json.loads(told)["images"][0]["status"] == "done"
    assert len(rows_of("t.csv")) == 3 * written
