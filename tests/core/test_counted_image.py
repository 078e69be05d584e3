import numpy as np
import pytest
import skimage.data
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import (
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._core import color_counts, mapping, quality
from napari_kmeans._core.counted_image import (
    color_image,
    count_image,
    fit_image,
    fit_quality,
    map_image,
    psnr_of,
    tally_image,
)

DITHERS = [None, "floyd-steinberg", "ordered"]


@pytest.fixture
def counting(monkeypatch):
    """Note the number of pixels of each count."""
    numbers = []
    blocks_of = color_counts.masked_blocks

    def masked_blocks(*args, **keywords):
        numbers.append(0)
        for block, side in blocks_of(*args, **keywords):
            numbers[-1] += len(block)
            yield block, side

    monkeypatch.setattr(color_counts, "masked_blocks", masked_blocks)
    return numbers


def photo(dtype="u1", alpha=False):
    image = skimage.data.astronaut()[::16, ::16] / 255
    if alpha:
        opacity = np.linspace(0, 1, image[..., 0].size).reshape(image.shape[:2])
        opacity[:3] = 0
        image = np.dstack((image, opacity))
    image = (image * (1 if dtype == "f4" else np.iinfo(dtype).max)).astype(dtype)
    if dtype == "f4":
        image[5, 6, 0], image[7, 8] = np.nan, np.inf
    return image


INSIDE = np.arange(32 * 32).reshape(32, 32) % 5 < 2


# One count.


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize(
    "work",
    [
        lambda image: quantize_kmeans(image, 5),
        lambda image: quantize_kmeans(image, 5, color_space="oklab"),
        lambda image: kmeans_palette(image, 5),
        lambda image: choose_k(image, psnr=20),
        lambda image: error_curve(image, [2, 3, 9]),
        lambda image: count_colors(image),
        lambda image: kmeans_palette(count_colors(image), 5, init="random", rng=0),
    ],
)
def test_each_pixel_is_counted_once(counting, dtype, work):
    work(photo(dtype))

    assert counting == [32 * 32]


def test_inside_and_outside_of_a_mask_are_counted_in_one_pass(counting):
    quantize_kmeans(photo(), 5, mask=INSIDE)
    assert counting == [32 * 32]
    # Where colors index no table, those outside are of no use.
    quantize_kmeans(photo("u2"), 5, mask=INSIDE)
    kmeans_palette(photo(), 5, mask=INSIDE)
    assert counting[1:] == [INSIDE.sum()] * 2


def test_a_map_counts_once_or_not_at_all(counting):
    map_to_palette(photo(), photo()[0, :9])
    assert counting == [32 * 32]
    map_to_palette(photo("u2"), photo("u2")[0, :9])
    assert counting == [32 * 32]


@pytest.mark.parametrize("mask", [None, INSIDE])
@pytest.mark.parametrize("quality", [False, True])
def test_all_steps_together_count_once(counting, mask, quality):
    image = photo()
    counted = count_image(image, mask=mask)
    fitted = fit_quality(counted, psnr=20) if quality else fit_image(counted, 7)
    mapped = map_image(counted, fitted)
    psnr_of(counted, mapped.mse)
    color_image(mapped.labels, mapped.palette, image)

    assert counting == [32 * 32]


# From the palette to labels, numbers and the error.


def slow_mse(image, labels, palette, alpha, mask):
    """Mean over the pixels inside that are finite and seen, one after the other."""
    white = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
    errors = []
    for pixel, label in zip(image[mask], labels[mask], strict=True):
        if not np.isfinite(pixel).all() or (alpha and pixel[-1] <= 0):
            continue
        one, other = pixel.astype(float), palette[label].astype(float)
        steps = one - other
        if alpha:
            steps = one[:-1] * one[-1] / white - other[:-1] * other[-1] / white
            # Over black, and over white.
            steps = np.array([steps, steps - (one[-1] - other[-1])]) / np.sqrt(2)
        errors.append(np.square(steps).sum())
    return np.mean(errors)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("mask", [None, INSIDE])
def test_a_mapped_image_has_the_labels_and_is_measured_inside_of_the_mask(
    dtype, alpha, mask
):
    image = photo(dtype, alpha)
    inside = np.ones(image.shape[:-1], dtype=bool) if mask is None else mask
    finite = np.isfinite(image).all(axis=-1) & inside
    counted = count_image(image, mask=mask, alpha=alpha)
    fitted = fit_image(counted, 7)
    palette = fitted.result.palette
    for dither in DITHERS:
        expected = map_to_palette(image, palette, alpha=alpha, dither=dither)
        numbers = np.bincount(expected[finite], minlength=len(palette))
        values, label = image[finite].astype("f8"), expected[finite]
        means = [values[label == i].mean(axis=0) for i in range(len(palette))]
        slow = slow_mse(image, expected, palette, alpha, inside)
        for given in (fitted, palette):
            mapped = map_image(counted, given, dither=dither)
            tally = tally_image(counted, given)

            assert_array_equal(mapped.labels, expected, strict=True)
            assert_array_equal(mapped.palette, palette, strict=True)
            assert_array_equal(mapped.counts, numbers, strict=True)
            assert_allclose(mapped.means, means, rtol=1e-12)
            assert_allclose(mapped.mse, slow, rtol=1e-6 if dtype == "f4" else 1e-12)
            if dither is None:
                assert_array_equal(tally.counts, numbers)
                assert_allclose(tally.means, means, rtol=1e-12)
                assert_allclose(tally.mse, mapped.mse, rtol=1e-12)


def test_means_of_a_color_that_no_pixel_has_are_unknown():
    image = np.array([[3, 4, 5, 5]], dtype=np.uint8)

    tally = tally_image(count_image(image, None), [0, 4, 200])

    assert_array_equal(tally.counts, [0, 4, 0])
    assert_array_equal(tally.means, [[np.nan], [4.25], [np.nan]])


def test_means_of_the_largest_floats_are_finite():
    far = np.finfo(np.float64).min
    image = np.array([[far, far, far, 1.0, 2.0]])

    tally = tally_image(count_image(image, None), [far, 1.5])

    assert_array_equal(tally.means, [[far], [1.5]])


@pytest.mark.parametrize("is_many", [False, True])
def test_an_image_of_too_many_colors_is_mapped_as_well(monkeypatch, is_many):
    image = photo("u2")
    if is_many:
        monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    counted = count_image(image)
    assert (counted.n_colors is None) == is_many
    fitted = fit_image(counted, 7)

    mapped = map_image(counted, fitted)

    expected = map_to_palette(image, fitted.result.palette)
    assert_array_equal(mapped.labels, expected)
    assert_array_equal(mapped.counts, fitted.result.counts)
    assert mapped.mse == fitted.result.mse


@pytest.mark.parametrize("k", [7, 5000])
def test_labels_and_error_that_the_fit_knows_are_not_searched_again(monkeypatch, k):
    image = photo()
    counted = count_image(image)
    fitted = fit_image(counted, k)
    expected = map_image(counted, fitted.result.palette)

    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(mapping, "label_colors", fail)
    for name in ("mean_color_error", "mean_squared_error"):
        monkeypatch.setattr(quality, name, fail)
    mapped = map_image(counted, fitted)

    assert_array_equal(mapped.labels, expected.labels, strict=True)
    assert_array_equal(mapped.counts, expected.counts)
    assert mapped.mse == fitted.result.mse
    assert_allclose(mapped.mse, expected.mse, rtol=1e-12)


def test_only_colors_outside_of_a_mask_are_searched(monkeypatch):
    image = photo()
    counted = count_image(image, mask=INSIDE)
    fitted = fit_image(counted, 7)
    searched = []
    label_colors = mapping.label_colors

    def label(colors, *rest):
        searched.extend(map(tuple, colors.tolist()))
        return label_colors(colors, *rest)

    monkeypatch.setattr(mapping, "label_colors", label)
    map_image(counted, fitted)

    outside = set(map(tuple, image[~INSIDE].tolist()))
    assert sorted(searched) == sorted(outside - set(map(tuple, image[INSIDE].tolist())))


def test_images_without_channels_have_palettes_of_numbers():
    image = np.array([[0, 1, 9], [200, 201, 9]], np.uint8)
    counted = count_image(image, None)

    mapped = map_image(counted, [0, 200])

    assert_array_equal(mapped.labels, [[0, 0, 0], [1, 1, 0]])
    assert_array_equal(mapped.palette, [0, 200])
    assert_array_equal(mapped.counts, [4, 2])
    assert_allclose(mapped.mse, (0 + 1 + 81 + 0 + 1 + 81) / 6)


def test_counts_serve_a_fit_as_the_image_does():
    image = photo()
    counts = count_colors(image)

    with_image = count_image(image, counts=counts)
    mapped = map_image(with_image, fit_image(with_image, 7))

    counted = count_image(image)
    expected = map_image(counted, fit_image(counted, 7))
    assert with_image.n_colors == counted.n_colors
    assert_array_equal(mapped.labels, expected.labels)
    assert mapped.mse == expected.mse
    assert count_image(counts).images == []


def test_decibels_are_those_of_the_fitted_pixels():
    image = photo("f4") * 3

    counted = count_image(image, mask=INSIDE)
    inside = image[INSIDE]
    inside = inside[np.isfinite(inside).all(axis=-1)]
    peak = inside.max() - inside.min()

    assert_allclose(psnr_of(counted, 0.5), 10 * np.log10(float(peak) ** 2 * 3 / 0.5))
    assert psnr_of(count_image(photo()), 3 * 2.55**2) == pytest.approx(40)


# From labels to colors.


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -4])
@pytest.mark.parametrize("is_contiguous", [False, True])
def test_colors_are_those_of_labels_and_what_does_not_count_stays(
    dtype, alpha, axis, is_contiguous
):
    image = photo(dtype.lstrip(">"), alpha).reshape(4, 8, 32, -1).astype(dtype)
    palette = image[0, 0, :5]
    palette[:] = np.arange(palette.size).reshape(palette.shape)
    labels = np.arange(4 * 8 * 32).reshape(4, 8, 32) % 5
    expected = palette[labels]
    stays = ~np.isfinite(image).all(axis=-1)
    if alpha:
        stays |= image[..., -1] == 0
    expected[stays] = image[stays]
    moved = np.moveaxis(image, -1, axis)
    if is_contiguous:
        moved = np.ascontiguousarray(moved)
    before = moved.copy()

    colored = color_image(
        labels.astype(np.uint8), palette, moved, channel_axis=axis, alpha=alpha
    )

    assert_array_equal(colored, np.moveaxis(expected, -1, axis))
    assert colored.dtype == image.dtype
    assert colored.flags.c_contiguous
    assert_array_equal(moved, before)


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_colors_of_images_without_channels(dtype):
    image = np.zeros((3, 4), dtype)
    if dtype == "f4":
        image[1, 2] = np.nan
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 2

    colored = color_image(labels, np.array([7, 9], dtype), image, channel_axis=None)

    expected = np.where(np.isnan(image), image, np.array([7, 9], dtype)[labels])
    assert_array_equal(colored, expected, strict=True)


def test_palettes_of_whole_numbers_color_floats():
    image = np.array([[[0.5, 0.5], [np.nan, 2]]], np.float32)

    colored = color_image(np.zeros((1, 2), np.uint8), np.array([[3, 4]]), image)

    assert_array_equal(colored, np.array([[[3, 4], [np.nan, 2]]], np.float32))
    assert colored.dtype == np.float32


@pytest.mark.parametrize("init", ["auto", "k-means++", "random"])
def test_pixels_outside_of_a_mask_do_not_change_the_fit(init):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    mask = rng.random((40, 50)) < 0.3
    # Colors of another range, so that cells of all colors would be other cells.
    image[mask] = image[mask] // 3 + 41

    fitted = fit_image(count_image(image, mask=mask), 9, 2, init=init, rng=5)

    expected = kmeans_palette(image, 9, 2, mask=mask, init=init, rng=5)
    assert_array_equal(fitted.result.palette, expected.palette)
    assert fitted.result.mse == expected.mse
