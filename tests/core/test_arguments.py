"""What users pass is refused by name, with the rule and the value."""

import numpy as np
import pytest

from napari_kmeans import (
    choose_k,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)

COLORS = np.zeros((2, 2, 3), dtype=np.uint8)
MASK = np.ones((2, 2), dtype=bool)
ALL = [quantize_kmeans, kmeans_palette, map_to_palette, choose_k, error_curve]
NEEDED = {
    map_to_palette: {"palette": np.zeros((1, 3))},
    choose_k: {"mse": 1},
    error_curve: {"ks": [1]},
}


def refuse(function, changes, error, message):
    arguments = {"image": COLORS, **NEEDED.get(function, {}), **changes}
    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": []}, ValueError, r"image must not be empty, got shape \(0,\)"),
        ({"image": COLORS.astype("U1")}, TypeError, "image must have a boolean, integer or float dtype, got <U1"),
        ({"image": COLORS[0]}, ValueError, r"image of shape \(2, 3\) has no channels along channel_axis=-1; pass channel_axis=None for a grayscale image"),
        ({"channel_axis": True}, TypeError, "channel_axis must be an integer, got True"),
        ({"channel_axis": -4}, ValueError, r"channel_axis must be an axis of the image of shape \(2, 2, 3\), got -4"),
        ({"color_space": "hsv"}, ValueError, "color_space must be 'rgb', 'lab', 'oklab', got 'hsv'"),
        ({"color_space": None}, ValueError, "color_space must be .*, got None"),
        ({"color_space": "lab", "image": COLORS.astype("i2")}, ValueError, "color_space='lab' needs uint8, uint16 or float RGB, got 3 channels of int16"),
        ({"color_space": "lab", "image": COLORS.astype("u4")}, ValueError, "color_space='lab' needs uint8, uint16 or float RGB, got 3 channels of uint32"),
        ({"color_space": "oklab", "image": COLORS > 0}, ValueError, "color_space='oklab' needs .* RGB, got 3 channels of bool"),
        ({"color_space": "oklab", "channel_axis": None}, ValueError, "color_space='oklab' needs .* RGB, got 1 channels of uint8"),
        ({"color_space": "lab", "image": np.zeros((2, 2, 4))}, ValueError, "color_space='lab' needs .* RGB, got 4 channels of float64; pass alpha=True for RGBA"),
        ({"color_space": "lab", "alpha": True}, ValueError, "color_space='lab' needs .* RGB, got 3 channels of uint8$"),
        ({"alpha": 1}, TypeError, "alpha must be True or False, got 1"),
        ({"alpha": True, "image": COLORS.astype("i4")}, ValueError, "alpha=True needs colors and opacity, of an unsigned or float dtype, got 3 channels of int32"),
        ({"alpha": True, "image": COLORS > 0}, ValueError, "alpha=True needs colors and opacity, .* got 3 channels of bool"),
        ({"alpha": True, "channel_axis": None}, ValueError, "alpha=True needs colors and opacity, .* got 1 channels of uint8"),
    ],
)  # fmt: skip
def test_images_and_their_channels(function, changes, error, message):
    refuse(function, changes, error, message)


@pytest.mark.parametrize(
    "function", [quantize_kmeans, kmeans_palette, choose_k, error_curve]
)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mask": MASK.astype(np.uint8)}, TypeError, "mask must be boolean, got dtype uint8"),
        ({"mask": np.ones((2, 3), bool)}, ValueError, r"mask must have the shape of the image without channels, \(2, 2\), got \(2, 3\)"),
        ({"mask": np.ones((2, 2, 3), bool)}, ValueError, r"mask must have .* \(2, 2\), got \(2, 2, 3\)"),
        ({"mask": ~MASK}, ValueError, "mask must be True for a pixel, got none"),
        ({"image": np.full((2, 2, 3), np.nan)}, ValueError, "image must have a finite pixel, got none"),
        ({"iters": -1}, ValueError, "iters must be at least 0, got -1"),
    ],
)  # fmt: skip
def test_masks(function, changes, error, message):
    refuse(function, changes, error, message)


def test_a_mask_of_pixels_that_are_all_not_finite():
    image = np.where(MASK[..., np.newaxis], np.nan, np.zeros(3))
    image[0, 0] = 1
    mask = MASK.copy()
    mask[0, 0] = False

    refuse(kmeans_palette, {"image": image, "mask": mask}, ValueError, "finite pixel")


@pytest.mark.parametrize("function", [kmeans_palette, choose_k, error_curve])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": [COLORS, COLORS.astype("u2")]}, TypeError, "image must be images of one dtype, got uint8 and uint16"),
        ({"image": (COLORS, COLORS[..., :2])}, ValueError, "image must be images of one number of channels, got 3 and 2"),
        ({"image": [COLORS, COLORS[:0]]}, ValueError, r"image must not be empty, got shape \(0, 2, 3\)"),
        ({"image": [COLORS, COLORS], "mask": MASK}, ValueError, "mask must be a list of 2 masks for a list, got one array"),
        ({"image": [COLORS, COLORS], "mask": [MASK]}, ValueError, "mask must be a list of 2 masks for a list, got 1"),
        ({"image": [COLORS, COLORS], "mask": [MASK, MASK[:1]]}, ValueError, r"mask must have .* \(2, 2\), got \(1, 2\)"),
        ({"image": [COLORS, COLORS], "mask": [~MASK, ~MASK]}, ValueError, "mask must be True for a pixel, got none"),
    ],
)  # fmt: skip
def test_several_images(function, changes, error, message):
    refuse(function, changes, error, message)


def test_several_images_may_be_lists_of_numbers_but_one():
    image = [COLORS, [[[9, 9, 9]]]]

    refuse(
        kmeans_palette, {"image": image}, TypeError, "one dtype, got uint8 and int64"
    )


def test_one_mask_may_be_true_nowhere_if_another_is():
    result = kmeans_palette([COLORS, COLORS], mask=[~MASK, MASK])

    assert result.counts.sum() == 4


def test_byte_order_is_no_other_dtype():
    several = [COLORS.astype("<u2"), COLORS.astype(">u2") + np.uint16(1)]

    assert kmeans_palette(several, 2).palette.tolist() == [[0] * 3, [1] * 3]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"fixed": np.eye(3), "k": 2}, ValueError, "fixed must have at most k=2 colors, got 3"),
        ({"fixed": [255, 0, 0]}, ValueError, r"fixed must have shape \(3, 3\), got \(3,\)"),
        ({"fixed": [[255, 0]]}, ValueError, r"fixed must have shape \(1, 3\), got \(1, 2\)"),
        ({"fixed": 3}, ValueError, r"fixed must have shape \(0, 3\), got \(\)"),
        ({"fixed": [["a", "b", "c"]]}, TypeError, "fixed must have a boolean, integer or float dtype, got <U1"),
        ({"fixed": [[0, np.nan, 0]]}, ValueError, "fixed must be finite, got nan"),
        ({"fixed": [[0, 256, 0]]}, ValueError, "fixed must have colors that uint8 holds, got 256"),
        ({"fixed": [[0, -1, 0]]}, ValueError, "fixed must have colors that uint8 holds, got -1"),
        ({"fixed": [[0, 0.5, 0]]}, ValueError, "fixed must have colors that uint8 holds, got 0.5"),
        ({"fixed": [[0, 2, 0]], "image": COLORS > 0}, ValueError, "fixed must have colors that bool holds, got 2"),
        ({"fixed": [[0, 1e39, 0]], "image": COLORS.astype("f4")}, ValueError, r"fixed must have colors that float32 holds, got 1e\+39"),
        ({"fixed": [[0, -1, 0]], "image": COLORS.astype("u8")}, ValueError, "fixed must have colors that uint64 holds, got -1"),
        ({"fixed": [[0, 2**63, 0]], "image": COLORS.astype("i8")}, ValueError, "fixed must have colors that int64 holds, got 9.22"),
    ],
)  # fmt: skip
def test_fixed_colors(changes, error, message):
    refuse(kmeans_palette, changes, error, message)


def test_fixed_colors_may_repeat_and_have_more_digits_than_the_image():
    image = np.zeros((1, 2, 3), np.float32)

    result = kmeans_palette(image, 2, fixed=[[0.1, 0.2, 0.3]] * 5)

    expected = np.array([[0, 0, 0], [0.1, 0.2, 0.3]], np.float32)
    assert result.palette.tolist() == expected.tolist()
    assert kmeans_palette(image, 2, fixed=np.zeros((0, 3))).palette.shape == (1, 3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dither": "bayer"}, ValueError, "dither must be 'floyd-steinberg', 'ordered' or None, got 'bayer'"),
        ({"dither": True}, ValueError, "dither must be .* or None, got True"),
        ({"palette": np.zeros((1, 1, 3))}, ValueError, r"palette must have shape \(K, 3\), got \(1, 1, 3\)"),
        ({"palette": np.zeros((1, 1)), "channel_axis": None}, ValueError, r"palette must have shape \(K,\), got \(1, 1\)"),
    ],
)  # fmt: skip
def test_palettes_and_dither(changes, error, message):
    refuse(map_to_palette, changes, error, message)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mse": None}, ValueError, "either psnr or mse must be given, got psnr=None and mse=None"),
        ({"psnr": 30}, ValueError, "either psnr or mse must be given, got psnr=30 and mse=1"),
        ({"mse": -1}, ValueError, "mse must be at least 0, got -1"),
        ({"mse": np.nan}, ValueError, "mse must be at least 0, got nan"),
        ({"mse": None, "psnr": -0.5}, ValueError, "psnr must be at least 0, got -0.5"),
        ({"mse": None, "psnr": np.nan}, ValueError, "psnr must be at least 0, got nan"),
        ({"mse": "30"}, TypeError, "mse must be a number, got '30'"),
        ({"mse": False}, TypeError, "mse must be a number, got False"),
        ({"mse": None, "psnr": False}, TypeError, "psnr must be a number, got False"),
        ({"mse": None, "psnr": ""}, TypeError, "psnr must be a number, got ''"),
        ({"mse": None, "psnr": []}, TypeError, r"psnr must be a number, got \[\]"),
    ],
)  # fmt: skip
def test_targets(changes, error, message):
    refuse(choose_k, changes, error, message)


@pytest.mark.parametrize(
    ("ks", "error", "message"),
    [
        (3, ValueError, r"ks must be one-dimensional, got shape \(\)"),
        ([[3]], ValueError, r"ks must be one-dimensional, got shape \(1, 1\)"),
        ([2, 0], ValueError, "ks must be between 1 and 65536, got 0"),
        ([65537], ValueError, "ks must be between 1 and 65536, got 65537"),
        ([2.0], TypeError, "ks must be an integer, got 2.0"),
        ([True], TypeError, "ks must be an integer, got True"),
    ],
)
def test_numbers_of_colors(ks, error, message):
    refuse(error_curve, {"ks": ks}, error, message)
