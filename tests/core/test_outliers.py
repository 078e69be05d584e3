"""Laws of colors that lie far from all others: fill values, hot pixels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import (
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._core import blocks, color_counts, outliers
from napari_kmeans._core.counted_image import count_image
from napari_kmeans._core.outliers import set_apart
from napari_kmeans._core.pixels import seen_colors
from napari_kmeans._core.spaces import space_of

FILLS = {
    "f2": [-60000.0],
    "f4": [-9999.0, -3.4028235e38, 9.96921e36, 1e20],
    "f8": [-9999.0, -3.4028235e38, -1e100, 1e152, -1.7976931348623157e308],
}
FILLED = [(dtype, fill) for dtype, fills in FILLS.items() for fill in fills]


def heights(n_channels, dtype, seed=0):
    """Return pixels (50, 8, C) about 20, 60, 100 and 140."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([20, 60, 100, 140], 100)[:, np.newaxis]
    pixels = rng.normal(groups, 1.5, (400, n_channels)).astype(dtype)
    return pixels.reshape(50, 8, n_channels)


def filled(colors, fill, n=80):
    """Return an image with `n` pixels of a fill value before the others."""
    empty = np.full((n // 8, 8, colors.shape[2]), fill, colors.dtype)
    return np.concatenate((empty, colors))


def brute_distances(image, palette):
    """Return squared distances (n, K) of all pixels to all colors, in long double."""
    pixels = image.reshape(-1, image.shape[-1]).astype(np.longdouble)
    distances = np.zeros((len(pixels), len(palette)), np.longdouble)
    for column, entries in zip(pixels.T, palette.astype(np.longdouble).T, strict=True):
        distances += np.square(column[:, np.newaxis] - entries)
    return distances


def assert_nearest(image, palette, labels):
    distances = brute_distances(image, palette)
    chosen = np.take_along_axis(distances, labels.reshape(-1, 1).astype(int), 1)[:, 0]
    assert (chosen <= distances.min(axis=1) * (1 + 1e-9)).all()
    return distances.min(axis=1)


@pytest.fixture(params=["counted", "streamed"])
def way(request, monkeypatch):
    """Let colors be counted, or be too many to be counted."""
    if request.param == "streamed":
        monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    return request.param


@pytest.mark.parametrize(("dtype", "fill"), FILLED)
@pytest.mark.parametrize(
    ("n_channels", "init"),
    [(1, "auto"), (3, "auto"), (6, "auto"), (1, "random"), (3, "k-means++")],
)
def test_a_fill_value_has_its_color_and_costs_the_rest_one(
    way, dtype, fill, n_channels, init
):
    colors = heights(n_channels, dtype)
    image = filled(colors, fill)
    alone = kmeans_palette(colors, 4, init=init, rng=3)

    result = kmeans_palette(image, 5, init=init, rng=3)
    labels = map_to_palette(image, result.palette)

    is_fill = (result.palette == np.array(fill, dtype)).all(axis=1)
    assert np.count_nonzero(is_fill) == 1
    squared = assert_nearest(image, result.palette, labels)
    assert_allclose(result.mse, float(squared.mean()), rtol=1e-9)
    assert_array_equal(np.bincount(labels.ravel()), result.counts)
    if way == "counted":
        # Exactly what the rest would have alone.
        assert_array_equal(result.palette[~is_fill], alone.palette)
    else:
        assert_allclose(result.mse * len(squared) / 400, alone.mse, rtol=1e-9)
    quantized = quantize_kmeans(image, 5, init=init, rng=3)
    assert_array_equal(quantized, result.palette[labels])


@pytest.mark.parametrize(("dtype", "fill"), FILLED)
def test_labels_are_nearest_in_palettes_of_all_sizes(dtype, fill):
    image = filled(heights(2, dtype), fill)
    palette = np.array([[fill, fill], [20, 60], [60, 60], [fill, 0], [100, 140]], dtype)

    labels = map_to_palette(image, palette)

    # What is beyond 1e150 times the rest may count as equally far.
    if abs(fill) < 1e300:
        assert_nearest(image, palette, labels)
    assert_nearest(image[10:], palette, labels[10:])
    assert (labels[:10] == 0).all()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("fill", FILLS["f4"])
def test_curve_and_choice_see_the_rest_beside_a_fill_value(fill):
    colors = heights(3, "f4")
    image = filled(colors, fill)
    ks = [2, 3, 5, 9]

    errors = error_curve(image, ks)
    alone = error_curve(colors, [k - 1 for k in ks])

    assert_allclose(errors * 480 / 400, alone, rtol=1e-6)
    chosen = choose_k(image, mse=float(errors[2]))
    assert chosen.mse <= errors[2]
    assert len(chosen.palette) <= 5
    # The fill value is no part of the range that decibels are measured against.
    peak = float(colors.max() - colors.min())
    decibels = choose_k(image, psnr=30)
    assert 10 * np.log10(peak**2 * 3 / decibels.mse) >= 30
    assert len(decibels.palette) > 4


def test_counts_give_the_same_as_the_image_they_are_of():
    image = filled(heights(3, "f4"), -3.4028235e38)

    of_image = kmeans_palette(image, 7)
    of_counts = kmeans_palette(count_colors(image), 7)

    assert_array_equal(of_image.palette, of_counts.palette)
    assert of_image.mse == of_counts.mse


def test_several_fill_values_have_a_color_each():
    colors = heights(1, "f8")
    image = np.concatenate((filled(colors, -1e30), filled(colors, 9e99, 8)))
    image[0, 0] = 5e20

    palette = kmeans_palette(image, 7).palette[:, 0]

    assert_allclose(palette[[0, -2, -1]], [-1e30, 5e20, 9e99])
    assert_allclose(palette[1:-2], [20, 60, 100, 140], atol=1)


def test_fill_values_that_are_more_than_the_colors_leave_one_for_the_rest():
    colors = heights(1, "f8").ravel()
    image = np.concatenate((colors, np.repeat([-1e30, 1e30, 3e30, 9e30], 50)))

    palette = kmeans_palette(image, 4, channel_axis=None).palette
    labels = map_to_palette(image, palette, channel_axis=None)

    assert_nearest(image[:, np.newaxis], palette[:, np.newaxis], labels)
    assert len(np.unique(labels[:400])) == 1


def test_a_fill_value_in_one_channel_keeps_what_the_others_tell():
    colors = heights(3, "f4")
    colors[::5, :, 1] = -3.4028235e38

    result = kmeans_palette(colors, 8)

    labels = map_to_palette(colors, result.palette)
    squared = assert_nearest(colors, result.palette, labels)
    whole = np.arange(50) % 5 > 0
    alone = kmeans_palette(colors[whole], 4)
    assert squared.reshape(50, 8)[whole].mean() <= 1.01 * alone.mse
    assert_allclose(result.mse, float(squared.mean()), rtol=1e-9)


def test_the_mask_takes_a_fill_value_out_of_the_fit_and_not_of_the_image():
    image = filled(heights(3, "f4"), -3.4028235e38)
    mask = image[..., 0] > 0

    result = kmeans_palette(image, 4, mask=mask)
    quantized = quantize_kmeans(image, 4, mask=mask)

    labels = map_to_palette(image, result.palette)
    assert_nearest(image, result.palette, labels)
    assert_array_equal(quantized, result.palette[labels])
    squared = np.square(quantized[mask].astype(float) - image[mask]).sum(axis=1)
    assert_allclose(squared.mean(), result.mse, rtol=1e-9)


def test_fixed_colors_may_be_fill_values():
    image = filled(heights(1, "f4"), -3.4028235e38)

    result = kmeans_palette(image, 5, fixed=[[-3.4028235e38]])

    assert_allclose(result.palette[1:, 0], [20, 60, 100, 140], atol=1)
    assert_array_equal(result.counts, [80, 100, 100, 100, 100])


def test_a_callback_hears_of_the_whole_image():
    image = filled(heights(3, "f4"), 1e30)
    states = []

    result = kmeans_palette(image, 5, init="random", rng=0, callback=states.append)

    assert all(state.centers.shape == (5, 3) for state in states)
    assert_array_equal((states[-1].centers == np.float32(1e30)).all(axis=1).sum(), 1)
    assert_allclose(states[-1].mse, result.mse, rtol=0.2)


@pytest.mark.parametrize("dtype", ["u2", "u4", "i4", "i8", "u8"])
def test_hot_pixels_have_a_color_of_their_own(dtype):
    image = np.random.default_rng(0).poisson(5, (48, 48, 3)).astype(dtype)
    image[0, :3] = np.iinfo(dtype).max
    mask = np.ones((48, 48), bool)
    mask[0, :3] = False
    alone = kmeans_palette(image, 7, mask=mask)

    result = kmeans_palette(image, 8)

    assert_array_equal(result.palette[:-1], alone.palette)
    assert_array_equal(result.palette[-1], np.iinfo(dtype).max)
    assert (np.diff(error_curve(image, [2, 4, 8, 16, 32], iters=5)) <= 0).all()


@pytest.mark.parametrize("base", [0, 2**63, 2**64 - 6])
def test_integers_of_64_bits_are_told_apart_wherever_they_are(base):
    image = np.array([5, base, base + 1, base + 2, base + 3, base + 5], np.uint64)

    result = kmeans_palette(image, 3, channel_axis=None)
    labels = map_to_palette(image, result.palette, channel_axis=None)

    exact = [
        [abs(int(v) - int(c)) for c in result.palette.tolist()] for v in image.tolist()
    ]
    assert_array_equal(labels, np.argmin(np.array(exact, dtype=object), axis=1))
    assert len(result.palette) == 3


def test_colors_that_are_not_far_enough_stay():
    def apart(values, counts):
        colors = count_colors(np.repeat(values, counts), channel_axis=None)
        image = count_image(colors)
        return set_apart(image, space_of(image.layout, lambda: seen_colors(image)))

    near = np.arange(10, dtype=np.float64)
    # One of 11 pixels must be farther than 4 sqrt(11) radii, about 100.
    assert apart(np.append(near, 60), np.ones(11, int)) is None
    assert apart(np.append(near, 400), np.ones(11, int)).colors == [[400]]
    # Of as many pixels as all others, less will do.
    assert apart(np.append(near, 100), np.append(np.ones(10, int), 10)) is not None
    # Two that are near to each other are no fill values.
    assert apart(np.append(near, [4000, 4001]), np.ones(12, int)) is None


def test_the_sample_of_streamed_colors_depends_on_their_set_alone(monkeypatch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    monkeypatch.setattr(outliers, "_SAMPLE", 30)
    monkeypatch.setattr(blocks, "_BLOCK", 400)
    image = np.random.default_rng(1).integers(0, 1 << 16, (30, 40, 3)).astype("u2")
    shuffled = np.random.default_rng(2).permutation(image.reshape(1, -1, 3), axis=1)

    def sample(pixels):
        counted = count_image(pixels)
        space = space_of(counted.layout, lambda: seen_colors(counted))
        return outliers._sample(counted, space)

    found = sample(image)
    assert found.shape == (30, 3)
    assert_array_equal(sample(np.concatenate((shuffled, shuffled))), found)
    assert 0.3 < found.mean() / 65536 < 0.7


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e150])
def test_the_unit_of_floats_is_of_no_importance(scale):
    image = filled(heights(2, "f8"), -1e9)

    small = kmeans_palette(image * scale, 6)
    labels = map_to_palette(image * scale, small.palette)

    assert_array_equal(labels, map_to_palette(image, kmeans_palette(image, 6).palette))


@pytest.mark.parametrize("fill", FILLS["f4"])
@pytest.mark.parametrize("init", ["auto", [[20] * 3]])
def test_a_fill_value_without_room_for_it_is_a_pixel_like_others(fill, init):
    image = filled(heights(3, "f4"), fill)

    quantized = quantize_kmeans(image, 1, init=init)

    assert len(np.unique(quantized.reshape(-1, 3), axis=0)) == 1


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("init", ["auto", "k-means++", [20.0, 60.0, 140.0]])
def test_an_image_has_at_most_k_colors_where_fill_values_leave_no_room(init):
    colors = heights(1, "f8").ravel()
    image = np.concatenate((colors, np.repeat([-1e30, 1e30, 3e30, 9e30], 50)))

    quantized = quantize_kmeans(image, 3, init=init, rng=0, channel_axis=None)

    palette = kmeans_palette(image, 3, init=init, rng=0, channel_axis=None).palette
    assert_array_equal(np.unique(quantized), palette)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("k", [4, 8, 16])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_a_fill_value_costs_one_color_also_beside_more_hot_pixels_than_colors(
    k, n_channels
):
    hot = np.repeat(1e10 * np.arange(1, 11), n_channels).reshape(-1, 1, n_channels)
    colors = heights(n_channels, "f8")
    valid = np.concatenate((colors, hot.repeat(8, axis=1)))
    image = filled(valid, 1e30)

    result = kmeans_palette(image, k)

    alone = kmeans_palette(valid, k - 1)
    assert_array_equal(result.palette[:-1], alone.palette)
    assert_array_equal(result.palette[-1], [1e30] * n_channels)
    assert_array_equal(error_curve(image, [2, k])[1], result.mse)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("share", [0.1, 0.6])
@pytest.mark.parametrize("n_channels", [3, 6])
@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("f4", -3.4028235e38), ("f8", 1e8), ("f8", 1e15), ("f8", -1e100)],
)
def test_a_fill_value_in_one_channel_is_as_good_as_one_that_is_hardly_far(
    dtype, fill, n_channels, share
):
    colors = heights(n_channels, dtype)
    is_fill = np.random.default_rng(0).random(colors.shape[:2]) < share
    near, image = colors.copy(), colors.copy()
    near[is_fill, 0], image[is_fill, 0] = 1e4, fill

    result = kmeans_palette(image, 8)
    labels = map_to_palette(image, result.palette)

    assert (result.palette[labels][is_fill, 0] == np.array(fill, dtype)).all()
    mse = float(assert_nearest(image, result.palette, labels).mean())
    assert_allclose(result.mse, mse, rtol=1e-9)
    assert mse <= 1.01 * kmeans_palette(near, 8).mse


@pytest.mark.parametrize("fill", [1e30, 1e140, 1e200, 1.7976931348623157e308])
def test_a_fill_value_of_all_channels_may_be_that_of_opacity_too(fill):
    rng = np.random.default_rng(0)
    valid = rng.uniform(0.1, 1, (20, 20, 4))
    image = np.concatenate((np.full((4, 20, 4), fill), valid))

    result = kmeans_palette(image, 6, alpha=True)
    labels = map_to_palette(image, result.palette, alpha=True)

    alone = kmeans_palette(valid, 5, alpha=True)
    assert (result.palette[labels[:4]] == fill).all()
    assert_allclose(result.mse * 24 / 20, alone.mse, rtol=1e-9)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("fill", [1e150, -1e160, 1.7976931348623157e308])
def test_the_error_of_a_fill_value_is_told_or_infinite(fill):
    image = filled(heights(1, "f8"), fill)

    result = kmeans_palette(image, 1)

    squared = brute_distances(image, result.palette)
    # Where it does not fit, the cast to float64 is infinite, and warns.
    with np.errstate(over="ignore"):
        expected = float(squared.mean())
    assert_allclose(result.mse, expected, rtol=1e-9)
    assert_array_equal(error_curve(image, [1]), [result.mse])
