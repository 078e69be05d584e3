"""Channels count as their weights say, in every function and every way of fitting."""

from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from core_cases import assert_same_result
from napari_kmeans import (
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._core import chunks, color_counts
from napari_kmeans._core.counted_image import (
    count_image,
    fit_image,
    map_image,
    weigh_channels,
)
from napari_kmeans._core.perceptual import gamut_between, to_space

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([2, 3, 4]))
images = shapes.flatmap(
    lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 9))
)
# Products with them are exact, in any order.
WHOLE = [1, 2, 4, 0.5]
# Such as nobody writes; no sum of some is that of others.
ODD = [0.7390851332151607, 2.3025850929940455, 0.1234567890123456, 1.4142135623730951]


def same_results(one, other):
    assert_same_result(one, other)
    assert_array_equal(one.channel_weights, other.channel_weights)


# What weights mean.


def test_a_channel_that_counts_twice_decides_over_one_that_differs_more():
    # Steps of 10 in the first channel; of 8 and 4 in the second one, doubled 16 and 8.
    image = np.array([[[100, 1], [110, 3], [100, 9], [110, 7]]], dtype=np.uint8)

    plain = kmeans_palette(image, 2)
    result = kmeans_palette(image, 2, channel_weights=[1, 2])

    assert_array_equal(plain.palette, [[100, 5], [110, 5]])
    assert plain.channel_weights is None
    assert_array_equal(result.palette, [[105, 2], [105, 8]])
    assert_array_equal(result.counts, [2, 2])
    # In the units of the image: 5^2 and 1^2.
    assert result.mse == 26
    assert_array_equal(result.channel_weights, [1.0, 2.0])
    assert result.channel_weights.dtype == np.float64


@given(image=images, seed=st.integers(0, 99))
def test_any_palette_is_mapped_to_exactly_the_first_on_a_tie(image, seed):
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 9, (1 + seed % 20, image.shape[-1]))
    weights = rng.choice(WHOLE, image.shape[-1])

    labels = map_to_palette(image, palette, channel_weights=weights)

    steps = (image[..., np.newaxis, :] - palette.astype(float)) * weights
    assert_array_equal(labels, np.square(steps).sum(axis=-1).argmin(axis=-1))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "i8", "f4", "f8"])
def test_a_pixel_midway_between_two_colors_gets_the_first(dtype):
    values = np.arange(3, 90, dtype=dtype)
    image = np.stack([values, values[::-1], values], axis=-1)[np.newaxis]
    steps = np.array([[1, 2, 0], [-1, 2, 0], [1, -2, 0]])

    for color in image[0, :20].astype(int):
        labels = map_to_palette(image, color + steps, channel_weights=ODD[:3])
        assert labels[(image == color.astype(dtype)).all(axis=-1)] == 0


@pytest.mark.parametrize("init", ["auto", "thorough", "given"])
def test_a_fit_is_that_of_an_image_that_is_multiplied_by_the_weights(init):
    image = np.random.default_rng(3).normal(9, 4, (30, 40, 3))
    weights = np.array([0.25, 8, 1])
    start = image[0, :7] if init == "given" else init

    result = kmeans_palette(image, 7, init=start, channel_weights=weights)

    start = start * weights if init == "given" else start
    multiplied = kmeans_palette(image * weights, 7, init=start)
    order = np.lexsort(result.palette.T)
    expected = multiplied.palette[np.lexsort(multiplied.palette.T)]
    assert_allclose(result.palette[order] * weights, expected, rtol=1e-12)
    assert result.n_iter == multiplied.n_iter
    assert_array_equal(np.sort(result.counts), np.sort(multiplied.counts))


@pytest.mark.parametrize("dither", ["ordered", "floyd-steinberg"])
def test_an_image_is_dithered_as_one_that_is_multiplied_by_the_weights(dither):
    image = np.random.default_rng(4).integers(0, 200, (40, 50, 3), np.uint8)
    palette, weights = image[0, :9], np.array([2, 0.5, 1])

    labels = map_to_palette(image, palette, dither=dither, channel_weights=weights)

    multiplied = image * weights, palette * weights
    assert_array_equal(labels, map_to_palette(*multiplied, dither=dither))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "u8", "f4"])
def test_colors_are_means_of_their_pixels_rounded_as_without_weights(dtype):
    # Clusters are far apart, so they are the same with and without weights.
    offsets = np.array([[0, 0, 0], [50, 90, 20], [90, 10, 60]])
    steps = np.random.default_rng(5).integers(0, 4, (3, 40, 3))
    image = (offsets[:, np.newaxis] + steps).astype(dtype)

    result = kmeans_palette(image, 3, channel_weights=ODD[:3])

    expected = kmeans_palette(image, 3)
    assert_array_equal(result.counts, expected.counts)
    assert_allclose(result.palette, expected.palette, rtol=1e-6 * (dtype == "f4"))
    assert_allclose(result.mse, expected.mse, rtol=1e-6)


def test_structures_of_channels_of_unequal_strength_are_clusters_of_their_own():
    rng = np.random.default_rng(6)
    image = rng.normal([2000, 200, 20], [60, 6, 0.6], (60, 90, 3))
    place = np.zeros((60, 90), dtype=int)
    for i, strength in enumerate([6000, 150, 6]):
        place[10:30, 5 + 30 * i : 25 + 30 * i] = i + 1
        image[place == i + 1, i] += strength
    image = np.rint(image * 8).astype(np.uint16)

    def shares(**how):
        """Of each structure and the rest, what has the commonest label, and these."""
        result = kmeans_palette(image, 4, **how)
        weights = result.channel_weights
        labels = map_to_palette(image, result.palette, channel_weights=weights)
        counts = [np.bincount(labels[place == i], minlength=4) for i in range(4)]
        return [c.max() / c.sum() for c in counts], {c.argmax() for c in counts}

    parts, labels = shares(channel_weights="std")
    assert min(parts) > 0.99
    assert len(labels) == 4
    # The strongest channel alone decides.
    assert len(shares()[1]) < 4


# What does not depend on them.


@given(image=images, factor=st.sampled_from([1e-290, 0.25, 3, 1e250]))
def test_equal_weights_are_no_weights(image, factor):
    weights = np.full(image.shape[-1], factor)
    expected = kmeans_palette(image, 4)

    result = kmeans_palette(image, 4, channel_weights=weights)

    assert_same_result(result, expected)
    assert_array_equal(result.channel_weights, weights)
    labels = map_to_palette(image, expected.palette, channel_weights=weights)
    assert_array_equal(labels, map_to_palette(image, expected.palette))


@pytest.mark.parametrize("weights", ["std", [7.5]])
def test_a_single_channel_has_the_result_without_weights(weights):
    image = np.random.default_rng(7).integers(0, 999, (20, 30), np.uint16)
    how = {"channel_axis": None}

    result = kmeans_palette(image, 5, channel_weights=weights, **how)

    assert_same_result(result, kmeans_palette(image, 5, **how))
    expected = 1 / image.std() if weights == "std" else 7.5
    assert_allclose(result.channel_weights, [expected], rtol=1e-12)
    quantized = quantize_kmeans(image, 5, channel_weights=weights, **how)
    assert_array_equal(quantized, quantize_kmeans(image, 5, **how))


@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_only_ratios_of_weights_matter(dtype):
    image = np.random.default_rng(8).integers(0, 99, (20, 30, 3)).astype(dtype)
    weights = np.array(ODD[:3])
    expected = kmeans_palette(image, 6, channel_weights=weights)

    for factor in (2.0**-1000, 2.0**-3, 2.0**1000):
        same = kmeans_palette(image, 6, channel_weights=weights * factor)
        assert_same_result(same, expected)


@pytest.mark.parametrize("dtype", ["u1", "u8", "f4"])
@pytest.mark.parametrize("power", [-300, -50, 208])
def test_weights_of_extreme_ratio_leave_a_word_to_the_lighter_channel(dtype, power):
    # The heavier channel decides for the first one, and is the same in the others.
    palette = np.array([[10, 90], [20, 0], [20, 9]])
    image = np.array([[[12, 0], [20, 3], [20, 6]]], dtype)

    weights = [10.0 ** (power + 100), 10.0**power]
    labels = map_to_palette(image, palette, channel_weights=weights)
    flipped = map_to_palette(
        image[..., ::-1], palette[:, ::-1], channel_weights=weights[::-1]
    )

    assert_array_equal(labels, [[0, 1, 2]])
    assert_array_equal(flipped, labels)
    assert_array_equal(quantize_kmeans(image, 4, channel_weights=weights), image)


@given(image=images)
def test_an_image_of_at_most_k_colors_comes_back_unchanged(image):
    weights = ODD[: image.shape[-1]]

    result = kmeans_palette(image, 36, channel_weights=weights)

    assert_array_equal(quantize_kmeans(image, 36, channel_weights=weights), image)
    assert result.mse == 0
    assert_array_equal(result.channel_weights, weights)


# The laws with every other switch.


def coordinates(image, space, alpha):
    """The coordinates over black and over white, as the spaces have white."""
    dtype, opacity = image.dtype, 1.0
    white = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    colors = image[..., :-1] if alpha else image
    located = colors.astype(np.longdouble)
    if space != "rgb":
        ends = np.array([[0, 0, 0], [1, 1, 1]], dtype) if dtype.kind == "f" else None
        gamut = gamut_between(dtype, ends)
        located = to_space(colors.reshape(-1, 3), space, gamut).reshape(colors.shape)
    if alpha:
        opacity = image[..., -1:].astype(np.longdouble) / white
    full = {"rgb": white, "lab": [100, 0, 0], "oklab": [1, 0, 0]}[space]
    return located * opacity, located * opacity + (1 - opacity) * np.array(full)


@pytest.mark.parametrize(
    ("dtype", "n_channels", "space", "alpha", "weights", "masked", "channel_axis"),
    [
        ("u1", 3, "rgb", False, "std", True, 0),
        ("u1", 4, "rgb", True, ODD[:3], False, -1),
        ("u1", 4, "lab", True, [1, 3, 0.5], True, 1),
        ("u2", 2, "rgb", False, [1, 30], True, -1),
        ("u2", 3, "oklab", False, "std", False, -1),
        ("u2", 2, "rgb", True, [5], False, 0),
        ("i4", 5, "rgb", False, "std", True, -1),
        ("u4", 4, "rgb", True, "std", False, -1),
        ("u8", 3, "rgb", False, ODD[:3], False, 0),
        ("f2", 3, "lab", False, [1, 2, 0.1], False, -1),
        ("f4", 6, "rgb", False, "std", True, 1),
        ("f8", 4, "oklab", True, "std", False, -1),
    ],
)
def test_laws_hold_for_weights_and_every_switch(
    dtype, n_channels, space, alpha, weights, masked, channel_axis
):
    rng = np.random.default_rng(n_channels)
    share = rng.integers(0, 8, (6, 7, n_channels)) / 7
    white = 1 if dtype[0] == "f" else np.iinfo(dtype).max if alpha else 100
    image = (share * white).astype(dtype)
    if dtype == "u8":
        image += np.uint64(1 << 63)
    mask = share[..., 0] < 0.8 if masked else None
    given = np.moveaxis(image, -1, channel_axis)
    how = {"channel_axis": channel_axis, "color_space": space, "alpha": alpha}
    fit = {"mask": mask, "channel_weights": weights, **how}

    result = kmeans_palette(given, 5, **fit)
    used = result.channel_weights
    labels = map_to_palette(given, result.palette, channel_weights=used, **how)
    quantized = np.moveaxis(quantize_kmeans(given, 5, **fit), channel_axis, -1)

    seen = image[..., -1] > 0 if alpha else np.ones((6, 7), bool)
    fitted = seen & mask if masked else seen
    chosen = result.palette[labels]
    assert_array_equal(quantized[seen], chosen[seen])
    assert_array_equal(quantized[~seen], image[~seen])
    # Weights are those that were given, or those of the coordinates.
    over = coordinates(image, space, alpha)
    if weights == "std":
        weights = 1 / ((over[0] + over[1]) / 2)[fitted].std(axis=0)
    assert_allclose(used, np.array(weights, float), rtol=1e-9)
    # Labels are nearest.
    distance = 0
    for points, centers in zip(
        over, coordinates(result.palette, space, alpha), strict=True
    ):
        steps = (points[..., np.newaxis, :] - centers) * used
        distance = distance + np.square(steps).sum(axis=-1) / 2
    nearest = np.take_along_axis(distance, labels[..., np.newaxis].astype(int), -1)
    excess = nearest[..., 0] - distance.min(axis=-1)
    assert (excess[seen] <= 1e-12 * distance.max()).all()
    # Counts and error are those of the labels, in the units of the image.
    counts = np.bincount(labels[fitted], minlength=len(result.palette))
    assert_array_equal(result.counts, counts)
    colors, others = image.astype(np.longdouble), chosen.astype(np.longdouble)
    steps = [colors - others]
    if alpha:
        pairs = zip(
            *(coordinates(c, "rgb", alpha) for c in (image, chosen)), strict=True
        )
        steps = [(one - other) / np.sqrt(2) for one, other in pairs]
    error = sum(np.square(some).sum(axis=-1)[fitted].mean() for some in steps)
    assert_allclose(result.mse, float(error), rtol=1e-9)
    # Every color but a clear one is used.
    is_hidden = result.palette[:, -1] == 0 if alpha else np.zeros(5, bool)
    assert (result.counts[~is_hidden] > 0).all()


@pytest.mark.parametrize("space", ["rgb", "lab"])
@pytest.mark.parametrize("is_fixed", [False, True])
def test_the_error_a_callback_sees_is_weighted_and_never_rises(space, is_fixed):
    image = np.random.default_rng(9).integers(0, 256, (40, 50, 3), np.uint8)
    states = []
    how = {"color_space": space, "channel_weights": [0.5, 3, 7]}
    how["fixed"] = [[0, 0, 0]] if is_fixed else None

    kmeans_palette(image, 6, 8, init=image[0, :6], callback=states.append, **how)

    errors = [state.mse for state in states]
    assert all(after <= before for before, after in pairwise(errors))
    assert len(errors) == 8
    if space == "rgb":
        # Between two iterations: that of the centers before, and less.
        before, after = states[-2:]
        steps = image[..., np.newaxis, :] - before.centers
        squares = np.square(steps * [0.5, 3, 7]).sum(axis=-1)
        assert after.mse <= squares.min(axis=-1).mean() <= before.mse
        assert_allclose(after.mse, squares.min(axis=-1).mean(), rtol=0.02)


def test_fixed_colors_stay_and_what_is_clear_has_its_entry():
    image = np.random.default_rng(10).integers(0, 256, (20, 30, 4), np.uint8)
    image[:5, :, 3] = 0
    image[:5, :, :3] = 7

    result = kmeans_palette(
        image, 6, alpha=True, fixed=[[9, 8, 7, 255]], channel_weights="std"
    )

    palette = result.palette.tolist()
    assert [9, 8, 7, 255] in palette
    assert [7, 7, 7, 0] in palette
    assert len(palette) == 6


@pytest.mark.parametrize("dtype", ["u2", "u4"])
def test_means_that_are_halves_are_rounded_as_without_weights(dtype):
    for odd in range(40001, 60000, 202):
        image = np.array([[[0, 0], [odd, odd + 2]] * 3], dtype)
        weights = [1, odd / 7]

        result = kmeans_palette(image, 1, channel_weights=weights)

        assert_array_equal(result.palette, kmeans_palette(image, 1).palette)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_fill_values_have_colors_and_cost_the_others_nothing(dtype):
    image = np.random.default_rng(11).normal(100, [9, 0.09], (30, 40, 2)).astype(dtype)
    filled = image.copy()
    filled[:2, :5], filled[9, 9] = -3.4e38, 9.97e36
    rest = (filled[..., 0] > 0) & (filled[..., 0] < 1e30)
    how = {"channel_weights": [1, 100]}

    result = kmeans_palette(filled, 7, **how)

    alone = kmeans_palette(filled, 5, mask=rest, **how)
    assert_array_equal(result.palette[1:-1], alone.palette)
    assert_array_equal(result.counts, [10, *alone.counts, 1])


# Counts, lists of images, and dask.

COUNTED = np.random.default_rng(12).integers(0, 60, (20, 15, 3), dtype=np.uint8)
COUNTED[..., 1] //= 20
HALF = np.arange(20 * 15).reshape(20, 15) % 7 < 3


@pytest.mark.parametrize("weights", ["std", ODD[:3]])
@pytest.mark.parametrize("init", ["auto", "k-means++", "random"])
def test_counts_and_lists_have_the_palette_of_their_pixels(weights, init):
    how = {"channel_weights": weights, "init": init, "rng": 3}
    masked = COUNTED[HALF][np.newaxis]
    expected = kmeans_palette(masked, 6, **how)

    same_results(kmeans_palette(COUNTED, 6, mask=HALF, **how), expected)
    counts = count_colors(COUNTED, mask=HALF)
    same_results(kmeans_palette(counts, 6, **how), expected)
    several = [masked[:, :50], masked[:, 50:]]
    same_results(kmeans_palette(several, 6, **how), expected)
    thrice = kmeans_palette(np.repeat(masked, 3, axis=1), 6, **how)
    if init != "random":
        assert_array_equal(thrice.palette, expected.palette)
        assert_array_equal(thrice.counts, 3 * expected.counts)


def test_quality_and_curve_are_those_of_weighted_fits():
    how = {"channel_weights": "std"}
    results = [kmeans_palette(COUNTED, k, **how) for k in (2, 5, 9)]

    curve = error_curve(COUNTED, [9, 2, 5], **how)
    fewest = choose_k(COUNTED, mse=results[1].mse, **how)

    errors = np.minimum.accumulate([result.mse for result in results])
    assert_array_equal(curve, errors[[2, 0, 1]])
    assert fewest.mse <= results[1].mse
    same_results(kmeans_palette(COUNTED, len(fewest.palette), **how), fewest)


def test_an_image_that_is_counted_is_weighed_again_without_its_pixels():
    counted = count_image(COUNTED, mask=HALF)
    for weights in ("std", ODD[:3], None):
        how = {"channel_weights": weights}
        weighted = weigh_channels(counted, weights)
        fitted = fit_image(weighted, 5)

        same = count_image(COUNTED, mask=HALF, counts=weighted)
        mapped = map_image(same, fitted)

        expected = kmeans_palette(COUNTED, 5, mask=HALF, **how)
        assert_same_result(fitted.result, expected)
        used = expected.channel_weights
        labels = map_to_palette(COUNTED, expected.palette, channel_weights=used)
        assert_array_equal(mapped.labels, labels)


@pytest.mark.parametrize("scale", [(10, 7, 1), (20, 15, 3), (3, 4, 2)])
@pytest.mark.parametrize(
    ("dtype", "how"),
    [
        ("u1", {}),
        ("u2", {"color_space": "oklab"}),
        ("i8", {"mask": HALF}),
        ("f4", {"mask": HALF}),
    ],
)
@pytest.mark.parametrize("is_counted", [True, False])
def test_dask_arrays_have_the_result_of_numpy(
    monkeypatch, scale, dtype, how, is_counted
):
    monkeypatch.setattr(chunks, "_GROUP", 200)
    if not is_counted:
        monkeypatch.setattr(color_counts, "MAX_COUNTED", 1)
    image = (COUNTED / 60).astype(dtype) if dtype == "f4" else COUNTED.astype(dtype)
    lazy = da.from_array(image, scale)
    how = {"channel_weights": "std", **how}

    result, expected = (kmeans_palette(one, 5, **how) for one in (lazy, image))
    quantized = quantize_kmeans(lazy, 5, **how).compute()

    how.pop("mask", None)
    how["channel_weights"] = expected.channel_weights
    labels = map_to_palette(lazy, expected.palette, **how).compute()
    assert_array_equal(labels, map_to_palette(image, expected.palette, **how))
    if is_counted or dtype == "u1":
        same_results(result, expected)
        assert_array_equal(quantized, expected.palette[labels])
    else:
        assert_allclose(result.palette, expected.palette, rtol=1e-6 * (dtype == "f4"))
        assert_allclose(result.channel_weights, expected.channel_weights, rtol=1e-12)


def test_weights_are_not_written_to_nor_handed_out():
    weights = np.array([1.0, 2.0, 3.0])
    weights.flags.writeable = False

    for k in (3, 1000):
        result = kmeans_palette(COUNTED, k, channel_weights=weights)
        assert not np.shares_memory(result.channel_weights, weights)
        result.channel_weights[:] = 0
        again = kmeans_palette(COUNTED, k, channel_weights=weights)
        assert_array_equal(again.channel_weights, [1, 2, 3])
