"""Every command counts the colors of each image once, whatever its options."""

import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from command_line import run, upright
from napari_kmeans import write_palette
from napari_kmeans._core import color_counts


@pytest.fixture
def counted(folder, monkeypatch):
    """The pixels of all images that were counted, in a folder with three images."""
    image = upright("photo.jpg")
    Image.fromarray(image[:30, :20]).save(folder / "part.png")
    Image.fromarray(image[..., 0]).save("gray.png")
    Image.fromarray(image[..., 0] > 99).save("mask.png")
    write_palette("flag.npy", np.array([[0, 0, 0], [255, 9, 8], [255] * 3], np.uint8))
    sizes = []
    count_pixels = color_counts.count_pixels

    def counting(images, *arguments, **keywords):
        sizes.append(sum(image[..., 0].size for image in images))
        return count_pixels(images, *arguments, **keywords)

    # Whoever has the function by its name.
    for module in list(sys.modules.values()):
        if getattr(module, "count_pixels", None) is count_pixels:
            monkeypatch.setattr(module, "count_pixels", counting)
    return sizes


PHOTO, PART = 40 * 60, 20 * 30


@pytest.mark.parametrize(
    "arguments",
    [
        "photo.jpg",
        "photo.jpg -k 256",
        "photo.jpg -k 300 -o deep.tif",
        "photo.jpg --psnr 28",
        "photo.jpg --max-size 900 --iters 2",
        "photo.jpg --dither ordered",
        "photo.jpg --dither floyd-steinberg -o out.gif",
        "photo.jpg --color-space oklab --skip-if-larger",
        "photo.jpg --report a.html --compare b.png --json",
        "photo.jpg -o out.webp",
        "apply --palette flag.npy photo.jpg",
        "apply --palette flag.npy --dither ordered photo.jpg",
        "photo.jpg --mask mask.png --csv a.csv",
        "photo.jpg --csv a.csv --dither ordered",
        "photo.jpg --fixed #000000 --channel-weights std",
        "palette photo.jpg",
        "palette photo.jpg --mask mask.png --csv a.csv",
        "curve -k 2,4 photo.jpg --mask mask.png",
        "palette --psnr 28 -o a.json photo.jpg",
        "curve -k 2,4,8 photo.jpg",
        "info photo.jpg",
    ],
)
def test_an_image_is_counted_once(counted, arguments):
    result = run(*arguments.split())
    assert result.exit_code == 0, result.stderr
    assert counted == [PHOTO]


@pytest.mark.parametrize("command", ["compress --shared", "palette --shared"])
def test_images_that_share_a_palette_are_counted_once_each(counted, command):
    result = run(*command.split(), "photo.jpg", "part.png", "gray.png", "-o", "out/")
    assert result.exit_code == 0, result.stderr
    assert counted == [PHOTO, PART, PHOTO]


def test_gray_in_the_colors_of_a_palette_is_counted_once(counted):
    assert run("apply", "--palette", "flag.npy", "gray.png").exit_code == 0
    assert counted == [PHOTO]


def test_a_lossy_file_that_is_read_again_is_another_image(counted):
    assert run("photo.jpg", "-o", "out.jpg", "--max-size", "9KB").exit_code == 0
    assert counted == [PHOTO, PHOTO]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_are_counted_once(counted, dtype):
    deep = np.random.default_rng(0).integers(0, 999, (30, 20)).astype(dtype)
    tifffile.imwrite("deep.tif", deep)
    for arguments in (["deep.tif"], ["curve", "deep.tif"], ["info", "deep.tif"]):
        assert run(*arguments).exit_code == 0
        assert counted == [PART]
        counted.clear()
