import dask.array as da
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import kmeans_palette, map_to_palette
from napari_kmeans._core import blocks, mapping
from napari_kmeans._core.dither import diffuse_error, mix_colors, pick_labels
from napari_kmeans._core.mapping import (
    color_pixels,
    keep_uncounted,
    move_channels,
)

DITHERS = ["floyd-steinberg", "ordered"]


def spread(dtype, shape, seed):
    """Values over the whole range of a dtype, with both ends of it."""
    rng = np.random.default_rng(seed)
    if dtype == "?":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    values.flat[0], values.flat[-1] = info.min, info.max
    return values


def exact_squares(image, palette):
    """Squared distances, as Python's integers or fractions of them."""
    first, second = image.astype(object), palette.astype(object)
    return np.square(first[:, np.newaxis] - second).sum(axis=-1)


# Nearest is nearest.


@pytest.mark.parametrize("k", [1, 2, 17, 300])
@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
)
@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_labels_are_exactly_nearest_for_every_dtype(dtype, k, n_channels):
    image = spread(dtype, (40, n_channels), 1)
    palette = spread(dtype, (k, n_channels), 2)
    palette[-1] = palette[0]
    if dtype == "?":
        image, palette = image.astype(int), palette.astype(int)

    labels = map_to_palette(image.reshape(8, 5, -1).astype(dtype), palette).ravel()

    squared = exact_squares(image, palette)
    chosen = squared[np.arange(40), labels]
    least = squared.min(axis=1)
    if np.dtype(dtype).itemsize < 8 and np.dtype(dtype).kind != "f":
        assert_array_equal(labels, squared.argmin(axis=1))
    else:
        # Differences of 64 bits, and of floats, are rounded to 53.
        assert (chosen - least <= least * 2.0**-48).all()


@pytest.mark.parametrize("k", [256, 257, 4096, 65536])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_palettes_of_up_to_65536_colors(k, dtype):
    rng = np.random.default_rng(k)
    top = 255 if dtype == "u1" else 60000
    palette = rng.integers(-99, top + 99, (k, 3))
    image = rng.integers(0, top, (5, 6, 3)).astype(dtype)

    labels = map_to_palette(image, palette)

    assert labels.dtype == (np.uint8 if k == 256 else np.uint16)
    pixels = image.reshape(-1, 1, 3).astype(np.int64)
    squared = np.square(pixels - palette).sum(axis=-1)
    assert_array_equal(labels.ravel(), squared.argmin(axis=1))


@settings(max_examples=50)
@given(
    image=hnp.arrays(np.uint8, (3, 4, 3)),
    palette=hnp.arrays(
        np.float64, (5, 3), elements=st.floats(-1e3, 1e3).map(lambda x: round(x, 1))
    ),
)
def test_palettes_of_floats_are_not_rounded(image, palette):
    labels = map_to_palette(image, palette)

    squared = np.square(image[:, :, np.newaxis] - palette).sum(axis=-1)
    chosen = np.take_along_axis(squared, labels[..., np.newaxis].astype(int), -1)
    assert_allclose(chosen[..., 0], squared.min(axis=-1), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dither", [None, "floyd-steinberg", "ordered"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_palettes_far_outside_the_image_have_a_nearest_color_too(dtype, dither):
    image = np.array([[[0, 0, 0], [200, 100, 0]]], dtype)
    palette = np.array([[1e30, 0, 0], [0, -1e15, 0], [1e300, 1e300, 1e300]])

    assert_array_equal(map_to_palette(image, palette, dither=dither), [[1, 1]])


def test_integers_beyond_53_bits_are_told_apart():
    top = np.iinfo(np.uint64).max
    image = np.array([top, top - 1, top - 7], np.uint64)

    labels = map_to_palette(image, image[::-1], channel_axis=None)

    assert_array_equal(labels, [2, 1, 0])


@pytest.mark.parametrize("chunks", [None, 2])
def test_colors_that_are_rounded_to_one_keep_their_own_labels(chunks):
    # Ends of so wide a range cannot all be told apart in the 53 bits of float64.
    top = np.iinfo(np.uint64).max
    palette = np.array([top, top - 1, 0, 1, 0], np.uint64)
    image = palette[[1, 0, 2, 3, 1, 3]]
    pixels = image if chunks is None else da.from_array(image, chunks)

    labels = map_to_palette(pixels, palette, channel_axis=None)

    assert_array_equal(labels, [1, 0, 2, 3, 1, 3])


def test_colors_hardly_seen_keep_their_own_labels():
    colors = np.array([[[0.5, 0.5, 0, 1e-30], [0.5, 0, 0, 1e-30], [1, 0, 0, 0.5]]])

    assert_array_equal(map_to_palette(colors, colors[0], alpha=True), [[0, 1, 2]])


def test_the_first_of_equal_colors_is_taken():
    palette = np.array([[9, 9, 9], [0, 0, 0], [9, 9, 9], [0, 0, 0]])
    image = np.array([[[9, 9, 9], [0, 0, 0]]], np.uint8)

    for dither in (None, *DITHERS):
        assert_array_equal(map_to_palette(image, palette, dither=dither), [[0, 1]])


@pytest.mark.parametrize("dither", [None, *DITHERS])
@pytest.mark.parametrize("space", ["rgb", "lab", "oklab"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_ramp_of_256_palette_colors_is_the_identity(dither, space, dtype):
    gray = np.arange(256)
    palette = np.stack([gray, gray, gray], axis=-1)
    palette = (palette / 255).astype(dtype) if dtype == "f4" else palette.astype(dtype)
    image = np.random.default_rng(0).permutation(palette).reshape(16, 16, 3)

    labels = map_to_palette(image, palette, color_space=space, dither=dither)

    assert labels.dtype == np.uint8
    assert_array_equal(palette[labels], image)


def test_labels_do_not_depend_on_the_size_of_blocks(monkeypatch):
    image = spread("u2", (30, 40, 3), 5)
    palette = image[::7, ::9].reshape(-1, 3)
    expected = [map_to_palette(image, palette, dither=d) for d in (None, *DITHERS)]

    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", 1000)

    for labels, dither in zip(expected, (None, *DITHERS), strict=True):
        assert_array_equal(map_to_palette(image, palette, dither=dither), labels)


def test_pixels_that_are_not_finite_have_label_0_and_pass_nothing_on():
    image = np.full((8, 9, 3), 0.4, np.float32)
    image[3, 4] = np.nan
    image[:, 7, 1] = np.inf
    palette = np.array([[0, 0, 0], [1, 1, 1]])

    for dither in (None, *DITHERS):
        labels = map_to_palette(image, palette, dither=dither)
        assert labels[3, 4] == 0
        assert_array_equal(labels[:, 7], 0)
    assert_array_equal(map_to_palette(image * np.nan, palette), np.zeros((8, 9)))
    # What is right of a wall of these is dithered as if it were alone.
    labels = map_to_palette(image, palette, dither="floyd-steinberg")
    alone = map_to_palette(image[:, 8:], palette, dither="floyd-steinberg")
    assert_array_equal(labels[:, 8:], alone)


# Dithering.


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", ">u2", ">f8"])
@pytest.mark.parametrize("shape", [(70,), (33, 40), (3, 20, 21), (2, 2, 9, 10)])
def test_dither_is_that_of_the_points_plane_by_plane(dtype, shape):
    image = (np.random.default_rng(4).random(shape) * 100).astype(dtype)
    palette = np.array([0, 20, 50, 99])
    nearest = map_to_palette(image, palette, channel_axis=None)
    points, centers = image.astype(float)[..., np.newaxis], palette[:, np.newaxis] * 1.0

    diffused, ordered = (
        map_to_palette(image, palette, channel_axis=None, dither=d) for d in DITHERS
    )

    assert_array_equal(diffused, diffuse_error(points, centers, nearest))
    mixtures = mix_colors(points.reshape(-1, 1), centers, nearest.ravel())
    place = np.arange(image.size).reshape(shape)
    assert_array_equal(ordered, pick_labels(mixtures, place))
    assert diffused.dtype == ordered.dtype == np.uint8
    assert diffused.shape == ordered.shape == shape


@pytest.mark.parametrize("space", ["rgb", "lab", "oklab"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_dither_works_with_every_switch_and_leaves_exact_colors_alone(
    space, alpha, dtype
):
    photo = skimage.data.astronaut()[::12, ::12]
    opacity = np.full((*photo.shape[:2], 1), 255, np.uint8)
    opacity[:, 20:30] = 100
    opacity[:, :5] = 0
    image = np.dstack((photo, opacity)) if alpha else photo
    top = 1.0 if dtype == "f4" else np.iinfo(dtype).max
    image = (image / 255 * top).astype(dtype)
    how = {"color_space": space, "alpha": alpha}
    palette = kmeans_palette(image, 12, **how).palette
    image[5:20, 3:25] = palette[3]
    image[30:38, 8:25] = palette[6]

    plain = map_to_palette(image, palette, **how)
    exact = (palette[plain] == image).all(axis=-1)
    assert exact.sum() >= 450
    for dither in DITHERS:
        labels = map_to_palette(image, palette, dither=dither, **how)

        assert_array_equal(labels[exact], plain[exact])
        if alpha:
            hidden = image[..., -1] == 0
            assert_array_equal(labels[hidden], plain[hidden])
        assert (labels != plain).mean() > 0.04
        moved = map_to_palette(
            np.moveaxis(image, -1, 0), palette, channel_axis=0, dither=dither, **how
        )
        assert_array_equal(moved, labels)


@pytest.mark.parametrize("dither", DITHERS)
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_what_is_not_seen_is_not_mixed_of_what_is(dither, dtype):
    top = 255 if dtype == "u1" else 1
    image = np.zeros((9, 9, 2), dtype)
    # Premultiplied and in 255ths, (50, 50) and (0, 80): on both sides of (0, 0).
    palette = np.array([[255, 50], [0, 80]]) / 255 * top

    labels = map_to_palette(image, palette, alpha=True, dither=dither)
    assert_array_equal(labels, 0)
    # What is seen, hardly, is mixed.
    image[..., 1] = 1 if dtype == "u1" else 1e-3
    assert map_to_palette(image, palette, alpha=True, dither="ordered").any()


@pytest.mark.parametrize("dither", DITHERS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_gray_ramp_on_black_and_white_keeps_its_local_mean(dither, dtype):
    ramp = np.broadcast_to(np.arange(256) / 255, (64, 256))
    top = 1 if dtype == "f4" else np.iinfo(dtype).max
    image = (ramp * top).astype(dtype)

    labels = map_to_palette(image, [0, top], channel_axis=None, dither=dither)

    means = labels.reshape(64, 16, 16).mean(axis=(0, 2))
    expected = ramp.reshape(64, 16, 16).mean(axis=(0, 2))
    assert np.abs(means - expected).max() < 0.02
    plain = map_to_palette(image, [0, top], channel_axis=None)
    assert np.abs(plain.reshape(64, 16, 16).mean(axis=(0, 2)) - expected).max() > 0.4


@pytest.mark.parametrize("dither", DITHERS)
@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_strength_0_is_no_dither_1_the_default_and_half_is_between(dither, kind):
    image = skimage.data.astronaut()[::8, ::8]
    palette = kmeans_palette(image, 8).palette
    given = image if kind == "numpy" else da.from_array(image, chunks=(20, 30, 3))

    def changed(**how):
        return np.asarray(map_to_palette(given, palette, **how)) != plain

    plain = map_to_palette(image, palette)
    full = changed(dither=dither)
    assert not changed(dither=dither, dither_strength=0).any()
    assert_array_equal(changed(dither=dither, dither_strength=1), full)
    half = changed(dither=dither, dither_strength=0.5)
    assert 0 < half.sum() < full.sum()


@pytest.mark.parametrize(
    ("strength", "error", "message"),
    [
        (1.5, ValueError, "dither_strength must be between 0 and 1, got 1.5"),
        (-0.5, ValueError, "dither_strength must be at least 0, got -0.5"),
        (np.nan, ValueError, "dither_strength must be at least 0, got nan"),
        (True, TypeError, "dither_strength must be a number, got True"),
        ("1", TypeError, "dither_strength must be a number, got '1'"),
    ],
)
def test_strength_is_a_number_from_0_to_1(strength, error, message):
    with pytest.raises(error, match=message):
        map_to_palette(
            [[[1, 2, 3]]], [[1, 2, 3]], dither="ordered", dither_strength=strength
        )


@pytest.mark.parametrize("strength", [0, 0.5])
def test_strength_of_nothing_is_refused(strength):
    message = f"dither_strength must be 1 where dither is None, got {strength}"
    with pytest.raises(ValueError, match=message):
        map_to_palette([[[1, 2, 3]]], [[1, 2, 3]], dither_strength=strength)


# Palettes that colors are taken of.


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "f8"])
@pytest.mark.parametrize("n_channels", [1, 3, 5])
def test_coloring_is_indexing(monkeypatch, dtype, n_channels):
    palette = spread(dtype, (9, n_channels), 3)
    labels = np.random.default_rng(1).integers(0, 9, (7, 11)).astype(np.uint8)

    assert_array_equal(color_pixels(labels, palette), palette[labels])
    monkeypatch.setattr(blocks, "_BLOCK", 80)
    assert_array_equal(color_pixels(labels, palette[::-1]), palette[::-1][labels])
    monkeypatch.setattr(mapping, "_PAIRED", 2)
    assert_array_equal(color_pixels(labels, palette), palette[labels])
    assert_array_equal(color_pixels(labels.T, palette), palette[labels.T])


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -4])
def test_channels_are_moved_into_a_contiguous_image(monkeypatch, axis):
    monkeypatch.setattr(blocks, "_BLOCK", 78)
    image = spread("i2", (5, 6, 7, 3), 0)
    moved = move_channels(image, axis)
    assert_array_equal(moved, np.moveaxis(image, -1, axis), strict=True)
    assert moved.flags.c_contiguous
    # It is not copied for nothing.
    assert np.shares_memory(moved, image) == (axis in (3, -1))


@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_only_pixels_that_do_not_count_are_put_back(
    monkeypatch, has_alpha, is_transposed
):
    monkeypatch.setattr(blocks, "_BLOCK", 300)
    image = np.random.default_rng(0).random((8, 9, 4))
    image[2, 3, 1], image[4, 5] = np.inf, np.nan
    image[1::3, :, 3] = 0
    if is_transposed:
        image = image.swapaxes(0, 1)
    quantized = np.full(image.shape, 7.0)
    keep_uncounted(quantized, image, has_alpha)

    finite = np.isfinite(image).all(axis=-1)
    stays = finite & (image[..., 3] > 0) if has_alpha else finite
    assert_array_equal(quantized, np.where(stays[..., np.newaxis], 7.0, image))
