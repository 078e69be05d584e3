import json

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from command_line import FEW_COLORS, names, pixels, refusal, run, upright
from napari_kmeans import (
    error_curve,
    kmeans_palette,
    map_to_palette,
    read_indexed,
    read_palette,
)


@pytest.fixture
def mask(folder):
    """Save a mask of the photo."""
    mask = np.zeros((60, 40), bool)
    mask[10:30, 5:25] = True
    Image.fromarray(mask).save(folder / "mask.png")
    return mask


def test_a_mask_says_where_colors_are_fitted(mask):
    image = upright("photo.jpg")
    palette = kmeans_palette(image, 5, mask=mask).palette
    assert run("photo.jpg", "--mask", "mask.png", "-k", 5).exit_code == 0
    expected = palette[map_to_palette(image, palette)]
    assert_array_equal(pixels("photo_compressed.png"), expected)

    run("palette", "photo.jpg", "--mask", "mask.png", "-k", 5, "-o", "p.npy")
    assert_array_equal(read_palette("p.npy"), palette)
    told = run("curve", "photo.jpg", "--mask", "mask.png", "-k", "2,5", "--json").stdout
    errors = error_curve(image, [2, 5], mask=mask).tolist()
    assert json.loads(told)["images"][0]["mse"] == errors


@pytest.mark.parametrize("kind", ["gray", "rgb", "rgba", "labels", "float"])
def test_a_mask_is_what_is_not_black_or_not_clear(folder, mask, kind):
    values = {
        "gray": mask * np.uint8(1),
        "rgb": mask[..., np.newaxis] * np.array([0, 0, 7], np.uint8),
        "rgba": mask[..., np.newaxis] * np.array([0, 0, 0, 9], np.uint8),
        "labels": mask * np.uint16(300),
        "float": mask * np.float32(-0.5),
    }[kind]
    extra = {"extrasamples": ["unassalpha"]} if kind == "rgba" else {}
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite("mask.tif", values, photometric=photometric, **extra)
    run("photo.jpg", "--mask", "mask.tif", "-k", 3, "-o", "a.gif")
    run("photo.jpg", "--mask", "mask.png", "-k", 3, "-o", "b.gif")
    assert (folder / "a.gif").read_bytes() == (folder / "b.gif").read_bytes()


@pytest.mark.usefixtures("mask")
def test_a_mask_that_does_not_fit_is_the_error_of_that_image(folder):
    Image.fromarray(FEW_COLORS).save("few.png")
    result = run("photo.jpg", "few.png", "--mask", "mask.png", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: few.png: mask of shape (60, 40) does not fit an image of shape (2, 2)\n"
    )
    assert names(folder / "out") == ["photo_compressed.png"]


def test_a_mask_of_planes_holds_for_each_plane_of_a_stack(mask):
    stack = np.stack([upright("photo.jpg")[..., i] for i in range(3)])
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    run("stack.tif", "--mask", "mask.png", "-k", 4, "-o", "out.tif")
    whole = np.stack([mask] * 3)
    palette = kmeans_palette(stack, 4, channel_axis=None, mask=whole).palette
    assert_array_equal(np.unique(tifffile.imread("out.tif")), palette)


@pytest.mark.parametrize("command", ["compress", "palette"])
def test_images_that_share_a_palette_share_a_mask(folder, mask, command):
    image = upright("photo.jpg")
    Image.fromarray(255 - image).save("other.png")
    both = np.stack([image, 255 - image])
    palette = kmeans_palette(both, 5, mask=np.stack([mask, mask])).palette
    options = ["--shared", "--mask", "mask.png", "-k", 5]
    if command == "palette":
        run("palette", "photo.jpg", "other.png", *options, "-o", "p.npy")
        assert_array_equal(read_palette("p.npy"), palette)
        return
    assert run("photo.jpg", "other.png", *options, "-o", "out").exit_code == 0
    for name, pixel in (("photo", image), ("other", 255 - image)):
        expected = palette[map_to_palette(pixel, palette)]
        assert_array_equal(pixels(folder / f"out/{name}_compressed.png"), expected)


def test_a_mask_that_is_no_image_or_all_black_is_refused(folder, mask):
    (folder / "mask.png").write_bytes(b"no image")
    line = refusal(run("photo.jpg", "--mask", "mask.png"))
    assert line.startswith("Error: mask.png: ")
    Image.fromarray(mask & False).save("mask.png")
    line = refusal(run("photo.jpg", "--mask", "mask.png"))
    assert line == "Error: photo.jpg: mask must be True for a pixel, got none"


@pytest.mark.parametrize("command", ["compress --mask", "apply --palette"])
def test_a_file_that_is_given_is_not_overwritten(folder, command):
    run("photo.jpg", "-o", "given.png")
    before = (folder / "given.png").read_bytes()
    result = run(
        *command.split(), "given.png", "photo.jpg", "-o", "given.png", "--force"
    )
    assert "will not write given.png" in refusal(result)
    assert (folder / "given.png").read_bytes() == before


def test_fixed_colors_are_in_the_file(folder):
    fixed = np.array([[0, 255, 0], [1, 2, 3]])
    run("photo.jpg", "-k", 5, "--fixed", "#0F0,#010203", "-o", "a.gif")
    palette = kmeans_palette(upright("photo.jpg"), 5, fixed=fixed).palette
    assert_array_equal(read_indexed("a.gif").palette, palette)
    run("photo.jpg", "-k", 5, "--fixed", "0/255/0,1/2/3", "-o", "b.gif")
    assert (folder / "a.gif").read_bytes() == (folder / "b.gif").read_bytes()
    line = refusal(run("palette", "photo.jpg", "--fixed", "7"))
    assert line.endswith("fixed must have 3 numbers for each color, got 7")
    line = refusal(run("palette", "photo.jpg", "--fixed", f"{10**23}/1/1"))
    assert line.endswith("fixed must have colors that uint8 holds, got 1e+23")


@pytest.mark.usefixtures("folder")
def test_fixed_colors_are_in_a_shared_palette():
    with Image.open("photo.jpg") as photo:
        photo.convert("L").save("gray.png")
    told = run("palette", "photo.jpg", "gray.png", "--shared", "--fixed", "#f0f,#0f0f")
    assert {"#ff00ff", "#00ff00"} < set(told.stdout.split())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("weights", ["std", "1,1,20"])
def test_weights_are_those_of_the_functions_and_told(weights):
    image = upright("photo.jpg")
    wanted = weights if weights == "std" else [1, 1, 20]
    fit = kmeans_palette(image, 5, channel_weights=wanted)
    options = ["photo.jpg", "-k", 5, "--channel-weights", weights, "--json"]
    (facts,) = json.loads(run(*options).stdout)["images"]
    numbers = fit.channel_weights
    assert facts["channel_weights"] == numbers.tolist()
    labels = map_to_palette(image, fit.palette, channel_weights=numbers)
    assert_array_equal(pixels("photo_compressed.png"), fit.palette[labels])

    (facts,) = json.loads(run("palette", *options, "-o", "p.npy").stdout)["images"]
    assert facts["channel_weights"] == numbers.tolist()
    given = ",".join(map(str, numbers))
    same = ["--palette", "p.npy", "--channel-weights", given, "-o", "same.png"]
    run("apply", "photo.jpg", *same)
    assert_array_equal(pixels("same.png"), fit.palette[labels])

    told = run("curve", *options[:-3], "--channel-weights", weights, "--json").stdout
    errors = error_curve(image, [5], channel_weights=wanted).tolist()
    assert json.loads(told)["images"][0]["mse"] == errors


def test_images_that_share_a_palette_share_weights(folder):
    image = upright("photo.jpg")
    Image.fromarray(255 - image).save("other.png")
    fit = kmeans_palette([image, 255 - image], 5, channel_weights="std")
    options = ["--shared", "-k", 5, "--channel-weights", "std", "-o", "out"]
    assert run("photo.jpg", "other.png", *options).exit_code == 0
    labels = map_to_palette(image, fit.palette, channel_weights=fit.channel_weights)
    expected = fit.palette[labels]
    assert_array_equal(pixels(folder / "out/photo_compressed.png"), expected)
    line = refusal(run("photo.jpg", "--channel-weights", "1,2"))
    assert "channel_weights must be 3 positive finite numbers, or 'std', got" in line
