"""What users pass is refused by name, with the rule and the value."""

import re

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans import (
    ColorCounts,
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
    write_indexed,
    write_palette,
)

COLORS = np.zeros((2, 2, 3), dtype=np.uint8)
MASK = np.ones((2, 2), dtype=bool)
FITS = [quantize_kmeans, kmeans_palette, choose_k, error_curve]
ALL = [*FITS, map_to_palette]
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
        ({"color_space": "lab", "alpha": True, "image": COLORS[..., :2]}, ValueError, "color_space='lab' needs .* RGB, got 2 channels of uint8$"),
        ({"alpha": True}, ValueError, "alpha=True needs a channel of opacity beside the colors, got 3 channels, which are RGB; leave alpha=True out"),
        ({"alpha": True, "color_space": "oklab"}, ValueError, "alpha=True needs a channel of opacity .*, got 3 channels"),
        ({"alpha": True, "image": COLORS.astype("f4")}, ValueError, "alpha=True needs a channel of opacity .*, got 3 channels"),
        ({"image": [[[1, 2], [3, 4]], [[5]]]}, ValueError, "image must be an array, or nested lists of equal lengths"),
        ({"image": [[[1, 2], None]]}, ValueError, "image must be an array, or nested lists of equal lengths"),
        ({"image": COLORS.astype("M8[s]")}, TypeError, r"image must have a boolean, integer or float dtype, got datetime64\[s\]"),
        ({"image": COLORS[:1].view("u1,u1,u1")}, TypeError, r"image must have .*, got \[\('f0', 'u1'\)"),
        ({"image": (n for n in [1, 2])}, TypeError, "image must have .*, got object"),
        ({"image": COLORS.astype("G")}, TypeError, "image must have .*, got complex"),
        ({"image": np.zeros((1,) * 64), "channel_axis": None}, ValueError, "image must have fewer than 64 axes, got 64"),
        ({"channel_axis": COLORS}, TypeError, r"channel_axis must be an integer, got array\(.*$"),
        ({"alpha": 1}, TypeError, "alpha must be True or False, got 1"),
        ({"alpha": True, "image": COLORS.astype("i4")}, ValueError, "alpha=True needs colors and opacity, of an unsigned or float dtype, got 3 channels of int32"),
        ({"alpha": True, "image": COLORS > 0}, ValueError, "alpha=True needs colors and opacity, .* got 3 channels of bool"),
        ({"alpha": True, "channel_axis": None}, ValueError, "alpha=True needs colors and opacity, .* got 1 channels of uint8"),
    ],
)  # fmt: skip
def test_images_and_their_channels(function, changes, error, message):
    refuse(function, changes, error, message)


@pytest.mark.parametrize("function", FITS)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mask": MASK.astype(np.uint8)}, TypeError, "mask must be boolean, got dtype uint8"),
        ({"mask": np.ones((2, 3), bool)}, ValueError, r"mask must have the shape of the image without channels, \(2, 2\), got \(2, 3\)"),
        ({"mask": np.ones((2, 2, 3), bool)}, ValueError, r"mask must have .* \(2, 2\), got \(2, 2, 3\)"),
        ({"mask": ~MASK}, ValueError, "mask must be True for a pixel, got none"),
        ({"image": np.full((2, 2, 3), np.nan)}, ValueError, "image must have a finite pixel, got none"),
        ({"mask": [[True, True], [True]]}, ValueError, "mask must be an array, or nested lists of equal lengths"),
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
        ({"fixed": [[0, 1.5, 0]]}, ValueError, "fixed must have colors that uint8 holds, got 1.5"),
        ({"fixed": [[0, 1, 2], [3]]}, ValueError, "fixed must be an array, or nested lists of equal lengths"),
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
        ({"channel_weights": "std"}, ValueError, r"channel_weights must be 3 positive finite numbers, got 'std'; pass kmeans_palette\(\.\.\.\)\.channel_weights$"),
        ({"palette": [[0, 1, 2], [3]]}, ValueError, "palette must be an array, or nested lists of equal lengths"),
        ({"palette": np.zeros((1, 1, 3))}, ValueError, r"palette must have shape \(K, 3\), got \(1, 1, 3\)"),
        ({"palette": np.zeros((1, 1)), "channel_axis": None}, ValueError, r"palette must have shape \(K,\), got \(1, 1\)"),
    ],
)  # fmt: skip
def test_palettes_and_dither(changes, error, message):
    refuse(map_to_palette, changes, error, message)


RULE = "^channel_weights must be 3 positive finite numbers.*, got "


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1, 2], ValueError, RULE + r"\[1, 2\]$"),
        ([[1, 2, 3]], ValueError, RULE + r"\[\[1, 2, 3\]\]$"),
        (2.0, ValueError, RULE + r"2\.0$"),
        ([1, 0, 2], ValueError, RULE + r"\[1, 0, 2\]$"),
        ([1, -2, 3], ValueError, RULE + r"\[1, -2, 3\]$"),
        ([1, np.nan, 3], ValueError, RULE + r"\[1, nan, 3\]$"),
        ([1, np.inf, 3], ValueError, RULE + r"\[1, inf, 3\]$"),
        ([1, 2, True], TypeError, RULE + r"\[1, 2, True\]$"),
        (np.ones(3, bool), TypeError, RULE + r"array\(\[ True, True, True\]\)$"),
        ([1, 2j, 3], TypeError, RULE + r"\[1, 2j, 3\]$"),
        (["1", "2", "3"], TypeError, RULE + r"\['1', '2', '3'\]$"),
        ([1, None, 3], TypeError, RULE + r"\[1, None, 3\]$"),
        ("variance", ValueError, RULE + "'variance'"),
        ([1e-60, 1, 1e60], ValueError, r"^channel_weights must be at most 1e\+100 times larger than others, got \[1e-60, 1, 1e\+60\]$"),
        (np.ma.array([1, 2, 3]), TypeError, "^channel_weights must not be a masked array"),
    ],
)  # fmt: skip
def test_channel_weights(function, weights, error, message):
    refuse(function, {"channel_weights": weights}, error, message)


def test_weights_are_refused_before_a_pixel_is_read():
    image = da.from_array(COLORS).map_blocks(pytest.fail, meta=COLORS[:0])

    refuse(kmeans_palette, {"image": image, "channel_weights": [1]}, ValueError, RULE)


def test_opacity_has_no_weight():
    image, message = np.ones((2, 2, 4), np.uint8), "3 positive .*, none for opacity, "
    changes = {"image": image, "alpha": True, "channel_weights": [1, 1, 1, 1]}

    refuse(kmeans_palette, changes, ValueError, message)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mse": None}, ValueError, "either psnr or mse must be given, got psnr=None and mse=None"),
        ({"psnr": 30}, ValueError, "either psnr or mse must be given, got psnr=30 and mse=1"),
        ({"mse": -1}, ValueError, "mse must be at least 0, got -1"),
        ({"mse": np.nan}, ValueError, "mse must be at least 0, got nan"),
        ({"mse": None, "psnr": -0.5}, ValueError, "psnr must be at least 0, got -0.5"),
        ({"mse": None, "psnr": np.nan}, ValueError, "psnr must be at least 0, got nan"),
        ({"mse": 10**400, "max_k": 10**400}, ValueError, r"max_k must be between 1 and 65536, got 10+\.\.\.0+$"),
        ({"mse": -(10**400)}, ValueError, "mse must be at least 0, got -inf"),
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
        ([1, [2]], ValueError, "ks must be an array, or nested lists of equal lengths"),
        (np.ma.array([1]), TypeError, "ks must not be a masked array"),
    ],
)
def test_numbers_of_colors(ks, error, message):
    refuse(error_curve, {"ks": ks}, error, message)


def test_the_value_of_a_message_takes_one_short_line():
    with pytest.raises(TypeError) as raised:
        quantize_kmeans(COLORS, np.arange(9).reshape(3, 3))
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(
        TypeError, match=r"rng must be .*, got \[\[\[.* \.\.\.$"
    ) as raised:
        quantize_kmeans(COLORS, rng=[[[True] * 9] * 9] * 9)
    assert len(str(raised.value)) < 200


def test_a_seed_that_is_a_list_within_itself_is_refused():
    seed = []
    seed.append(seed)

    # NumPy ends the process.
    with pytest.raises(TypeError, match=r"rng must be .*, got \[\["):
        quantize_kmeans(COLORS, rng=seed)


@pytest.mark.parametrize("channel_axis", [-1, 0])
@pytest.mark.parametrize("function", ALL)
def test_images_may_have_as_many_axes_as_numpy_has(function, channel_axis):
    image = np.zeros((1,) * 64)

    for changes in ({"image": image, "channel_axis": channel_axis}, {"image": image[0], "channel_axis": None}):  # fmt: skip
        given = {**NEEDED.get(function, {}), **changes}
        if function is map_to_palette:
            gray = changes["channel_axis"] is None
            given["palette"] = np.zeros((1,) if gray else (1, 1))
        assert function(**given) is not None


# Channels that may lie along another axis.


@pytest.mark.parametrize(
    ("shape", "meant"),
    [((3, 5, 65), 0), ((5, 2, 90), 1), ((7, 4, 6, 70), 1), ((4, 3, 80), 0)],
)
@pytest.mark.parametrize("function", [*ALL, count_colors])
def test_many_channels_beside_an_axis_like_channels_are_refused(function, shape, meant):
    image = np.zeros(shape, np.uint8)
    text = (
        rf"image of shape .* has {shape[-1]} channels along channel_axis=-1; pass "
        rf"channel_axis={meant}, or channel_axis={len(shape) - 1} if there are so many"
    )

    refuse(function, {"image": image}, ValueError, text)
    refuse(function, {"image": image, "channel_axis": -1}, ValueError, text)


def test_many_channels_are_taken_where_nothing_else_looks_like_them():
    assert kmeans_palette(np.zeros((5, 6, 65))).palette.shape == (1, 65)
    assert kmeans_palette(np.zeros((3, 1, 64))).palette.shape == (1, 64)
    image = np.zeros((3, 5, 65))
    assert kmeans_palette(image, channel_axis=2).palette.shape == (1, 65)
    assert kmeans_palette(image, channel_axis=0).palette.shape == (1, 3)
    assert kmeans_palette(image, channel_axis=None).palette.shape == (1,)
    refuse(kmeans_palette, {"image": [image, image]}, ValueError, "channel_axis=0")
    counts = count_colors(image, channel_axis=2)
    assert kmeans_palette(counts).palette.shape == (1, 65)


# Units of the image.


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
def test_colors_of_0_to_1_are_refused_for_short_integers(dtype):
    image, colors = COLORS.astype(dtype), np.array([[0, 0.25, 1], [1, 1, 1]])
    image[0, 0] = 2
    text = rf"must be in the units of the image, of {image.dtype}, got 0.25 among colors of 0 to 1; multiply (palette|init|fixed) by {np.iinfo(dtype).max}"  # fmt: skip

    for function, name in ((map_to_palette, "palette"), (kmeans_palette, "init"), (kmeans_palette, "fixed")):  # fmt: skip
        changes = {"image": image, name: colors}
        if function is kmeans_palette:
            changes["k"] = 2
        refuse(function, changes, ValueError, f"{name} {text}")
    gray = {"image": image[..., 0], "channel_axis": None, "palette": [0.5]}
    refuse(map_to_palette, gray, ValueError, "palette must be in the units")


@pytest.mark.parametrize(
    ("dtype", "palette"),
    [
        ("u1", [[0, 0, 0], [1, 1, 1.0]]),
        ("u1", [[0, 0.25, 1.25]]),
        ("u1", [[0, 0.25, -0.5]]),
        ("i4", [[0, 0.25, 1]]),
        ("u8", [[0, 0.25, 1]]),
        ("f4", [[0, 0.25, 1]]),
        ("?", [[0, 0.25, 1]]),
    ],
)
def test_other_colors_are_taken_as_they_are(dtype, palette):
    assert_array_equal(map_to_palette(COLORS.astype(dtype), palette), 0)


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("u1", 256, "between 0 and 255, as uint8 is, got 256"),
        ("i2", -40000.0, "between -32768 and 32767, as int16 is, got -40000.0"),
        ("?", 2, "between 0 and 1, as bool is, got 2"),
        ("u8", 1e20, "between 0 and 1.84467e.19, as uint64 is, got 1e.20"),
        ("f2", 7e4, "between -65504 and 65504, as float16 is, got 70000.0"),
        ("f4", -1e39, "between -3.40282e.38 and 3.40282e.38, as float32 is, got -1e.39"),
    ],
)  # fmt: skip
def test_initial_colors_lie_in_the_range_of_the_image(dtype, value, text):
    changes = {"image": COLORS.astype(dtype), "k": 1, "init": [[0, value, 0]]}

    refuse(kmeans_palette, changes, ValueError, f"init must be {text}")
    refuse(quantize_kmeans, changes, ValueError, f"init must be {text}")


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "u8", "f2", "f4", "f8"])
def test_the_centers_of_a_callback_are_initial_colors(dtype):
    share = np.random.default_rng(3).random((6, 7, 3))
    share[0, :2] = [[0], [1]]
    image = share.round() if dtype == "?" else share
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        image = limits.min + share * (float(limits.max) - limits.min) * (1 - 2.0**-20)
        image[0, 0], image[0, 1] = limits.min, 0.999 * limits.max
    image = image.astype(dtype)
    image[0, 2] = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1
    states = []
    kmeans_palette(image, 4, 3, callback=states.append)

    for state in states:
        assert kmeans_palette(image, 4, 0, init=state.centers).n_iter == 0


def test_initial_colors_of_0_to_1_are_means_of_0_and_1():
    image = np.random.default_rng(0).integers(0, 2, (9, 9, 4), dtype=np.uint8)
    states = []
    kmeans_palette(image, 3, 2, callback=states.append)

    assert kmeans_palette(image, 3, init=states[-1].centers).mse > 0
    image[0, 0] = 2
    refuse(
        kmeans_palette,
        {"image": image, "k": 3, "init": states[-1].centers},
        ValueError,
        "init must be in the units of the image, of uint8",
    )


# Floats in Lab and Oklab.


@pytest.mark.parametrize("space", ["lab", "oklab"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("value", [255, -8.1, 8.1])
def test_floats_far_beyond_white_are_refused_where_colors_are_fitted(
    space, dtype, value
):
    image = np.full((2, 2, 4), 0.5, dtype)
    image[0, 0, 1] = value
    rgb, several = {"image": image[..., :3]}, {"image": [image[..., :3]] * 2}
    text = rf"image must be between -8 and 8 in color_space='{space}', where white is 1, got -?(255|8.1).*; divide image by its white, such as 255, or mask such pixels"  # fmt: skip

    for function in FITS:
        refuse(function, {**rgb, "color_space": space}, ValueError, text)
    changes = {"image": image, "color_space": space, "alpha": True}
    refuse(kmeans_palette, changes, ValueError, text)
    refuse(kmeans_palette, {**several, "color_space": space}, ValueError, text)
    counts = count_colors(image[..., :3])
    refuse(kmeans_palette, {"image": counts, "color_space": space}, ValueError, text)


@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_floats_far_beyond_white_are_refused_where_colors_are_too_many(space):
    image = np.random.default_rng(0).random((1030, 1030, 3), np.float32)
    image[-1, -1, 2] = 255

    with pytest.raises(ValueError, match=r"image must be between -8 and 8 .*255"):
        kmeans_palette(image, 2, 1, color_space=space)


@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_what_is_not_fitted_may_lie_far_beyond_white(space):
    image = np.full((2, 2, 4), 0.5)
    image[0, 0], image[0, 1], image[1, 0] = 8, -8, 1e9
    image[..., 3] = [[1, 1], [0, 1]]

    assert len(kmeans_palette(image, 4, color_space=space, alpha=True).palette) == 4
    rgb, mask = image[..., :3], MASK.copy()
    mask[1, 0] = False
    quantized = quantize_kmeans(rgb, 2, color_space=space, mask=mask)
    assert np.isfinite(quantized).all()
    assert (np.abs(quantized) <= 8).all()
    assert map_to_palette(rgb, [[0, 0, 0], [1, 1, 1]], color_space=space)[1, 0] == 1
    image[1, 0] = np.nan
    assert len(kmeans_palette(image[..., :3], 4, color_space=space).palette) == 3
    assert len(kmeans_palette(image * 1e9, 4).palette) == 3
    whole = np.array([[[0, 9, 255], [255, 255, 255]]], np.uint8)
    assert_array_equal(quantize_kmeans(whole, 2, color_space=space), whole)


@pytest.mark.parametrize("space", ["lab", "oklab"])
@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_palettes_far_beyond_white_are_refused(space, dtype):
    colors = np.array([[0, 0, 0], [1, 1, 9]], dtype)
    changes = {"image": np.full((2, 2, 3), 0.5), "color_space": space}
    text = f"must be between -8 and 8 in color_space='{space}', where white is 1, got 9"

    for name in ("init", "fixed"):
        refuse(kmeans_palette, {**changes, "k": 2, name: colors}, ValueError, f"{name} {text}")  # fmt: skip
    changes["palette"] = colors
    refuse(map_to_palette, changes, ValueError, rf"palette {text}.*as 255$")


# Masked arrays.


class Converted:
    """What becomes a masked array where NumPy asks for one, as netCDF's variables."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


@pytest.mark.parametrize("kind", ["array", "no mask", "list", "converted", "lazy"])
@pytest.mark.parametrize("channel_axis", [-1, 0, None])
def test_the_advice_for_a_masked_image_fits_what_is_not_masked(kind, channel_axis):
    data = np.random.default_rng(0).integers(0, 256, (6, 7, 8), dtype=np.uint8)
    data, inside = (data[:3] if channel_axis == 0 else data[..., :3]), data > 99
    inside = inside[:3] if channel_axis == 0 else inside[..., :3]
    masked = np.ma.masked_array(data, ~inside)
    if kind == "no mask":
        masked, inside = np.ma.masked_array(data), np.ones_like(inside)
    image = {
        "list": list(masked),
        "converted": Converted(masked),
        "lazy": da.from_array(masked, chunks=4),
    }.get(kind, masked)
    fitted = inside if channel_axis is None else inside.all(axis=channel_axis)

    for function in FITS:
        given = {"image": image, "channel_axis": channel_axis}
        refuse(function, given, TypeError, "image must not be a masked array")
    with pytest.raises(TypeError) as raised:
        quantize_kmeans(image, channel_axis=channel_axis)
    advice = re.search(r"pass (.*), and mask=(.*) where", str(raised.value))

    names = {"np": np, "da": da, "image": image}
    plain, mask = (eval(text, names) for text in advice.groups())
    assert_array_equal(mask, fitted)
    assert_array_equal(plain, data)
    quantize_kmeans(plain, 4, channel_axis=channel_axis, mask=mask)


@pytest.mark.parametrize("channel_axis", [-1, None])
def test_the_advice_for_several_masked_images_fits_what_is_not_masked(channel_axis):
    data = np.random.default_rng(0).integers(0, 256, (2, 6, 7, 3), dtype=np.uint8)
    image = [data[0], np.ma.masked_greater(data[1], 99)]

    with pytest.raises(TypeError, match="image must not be a masked array") as raised:
        kmeans_palette(image, channel_axis=channel_axis)
    advice = re.search(r"pass (.*), and mask=(.*) where", str(raised.value))

    plain, mask = (eval(text, {"np": np, "image": image}) for text in advice.groups())
    assert mask[0].all()
    expected = data[1] <= 99
    expected = expected if channel_axis is None else expected.all(axis=-1)
    assert_array_equal(mask[1], expected)
    kmeans_palette(plain, 4, channel_axis=channel_axis, mask=mask)


def test_no_array_may_be_masked(tmp_path):
    colors = np.ma.masked_array(np.zeros((2, 3), np.uint8))
    counts = np.ma.masked_array([1, 2])
    mask = np.ma.masked_array(MASK)
    calls = [
        ("palette", lambda: map_to_palette(COLORS, colors)),
        ("palette", lambda: map_to_palette(COLORS, list(colors))),
        ("image", lambda: map_to_palette(np.ma.masked_array(COLORS), [[0, 0, 0]])),
        ("image", lambda: count_colors(np.ma.masked_array(COLORS))),
        ("init", lambda: kmeans_palette(COLORS, 2, init=colors)),
        ("fixed", lambda: kmeans_palette(COLORS, 2, fixed=colors)),
        ("mask", lambda: kmeans_palette(COLORS, 2, mask=mask)),
        ("mask", lambda: kmeans_palette([COLORS, COLORS], 2, mask=[MASK, mask])),
        ("mask", lambda: count_colors(COLORS, mask=mask)),
        ("colors", lambda: ColorCounts(colors, counts.data)),
        ("counts", lambda: ColorCounts(colors.data, counts)),
        ("mse", lambda: choose_k(COLORS, mse=np.ma.masked)),
        ("palette", lambda: write_palette(tmp_path / "a.npy", colors)),
        ("palette", lambda: write_indexed(tmp_path / "a.png", [[0]], colors)),
        ("labels", lambda: write_indexed(tmp_path / "a.png", mask * 1, colors.data)),
    ]

    for name, call in calls:
        with pytest.raises(TypeError, match=f"^{name} must (not be a masked|be a num)"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_subclasses_without_a_mask_are_arrays():
    records = COLORS[..., 0].view(np.recarray)

    assert_array_equal(quantize_kmeans(records, channel_axis=None), 0)


# Floats of more than 64 bits, whose bytes are not all of them digits.


@pytest.mark.skipif(np.dtype("g").itemsize == 8, reason="they are no longer here")
def test_long_floats_are_refused():
    image = COLORS.astype("g")
    text = r"must have a dtype of at most 64 bits, got float\d+; pass {0}.astype\(np.float64\)"  # fmt: skip

    for function in [*ALL, count_colors]:
        refuse(function, {"image": image}, TypeError, f"image {text.format('image')}")
    changes = {"palette": image[0]}
    refuse(map_to_palette, changes, TypeError, f"palette {text.format('palette')}")
    for name in ("init", "fixed"):
        changes = {"k": 2, name: image[0]}
        refuse(kmeans_palette, changes, TypeError, f"{name} {text.format(name)}")
    with pytest.raises(TypeError, match=f"colors {text.format('colors')}"):
        ColorCounts(image[0, :1], [1])
