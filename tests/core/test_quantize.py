import inspect
import warnings

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.filters import gaussian
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from core_cases import assert_same_result
from napari_kmeans import (
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 3, 4]))
# Two levels make colors repeat; 256 spread them out.
images = st.sampled_from([1, 255]).flatmap(
    lambda top: hnp.arrays(np.uint8, shapes, elements=st.integers(0, top))
)
INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]
FLOATS = ["f2", "f4", "f8"]


@pytest.fixture(scope="module")
def photo():
    return skimage.data.astronaut()[100:260, 150:330]


def n_colors(image):
    return len(np.unique(image.reshape(-1, image.shape[-1]), axis=0))


def squared_distances(image, palette):
    difference = image[..., np.newaxis, :].astype(float) - palette.astype(float)
    return (difference**2).sum(axis=-1)


# Pixels count, and nothing else does.


@given(image=images, k=st.integers(1, 6))
def test_order_of_pixels_is_irrelevant(image, k):
    pixels = image.reshape(1, -1, image.shape[-1])
    shuffled = np.random.default_rng(0).permutation(pixels, axis=1)

    assert_array_equal(
        kmeans_palette(image, k).palette, kmeans_palette(shuffled, k).palette
    )


@given(image=images, k=st.integers(1, 5))
def test_repeating_all_pixels_changes_only_the_counts(image, k):
    once = kmeans_palette(image, k)
    thrice = kmeans_palette(np.repeat(image, 3, axis=1), k)

    assert_array_equal(thrice.palette, once.palette)
    assert_array_equal(thrice.counts, 3 * once.counts)
    assert_allclose(thrice.mse, once.mse, rtol=1e-12)


@pytest.mark.parametrize("value", [True, 7, 0.5])
def test_a_pixel_without_axes_stays_an_array(value):
    quantized = quantize_kmeans(np.array(value), channel_axis=None)

    assert type(quantized) is np.ndarray
    assert quantized == value


def test_a_color_of_three_pixels_weighs_three_times_as_much():
    # Red levels 0, 0, 0, 7 average to 1.75, which rounds to 2; 200 is alone.
    image = np.zeros((1, 5, 3), dtype=np.uint8)
    image[0, :, 0] = [0, 0, 0, 7, 200]

    result = kmeans_palette(image, 2)

    assert_array_equal(result.palette, [[2, 0, 0], [200, 0, 0]])
    assert_array_equal(result.counts, [4, 1])
    # Three times 2^2 and once 5^2, over five pixels.
    assert result.mse == 37 / 5
    assert_array_equal(map_to_palette(image, result.palette), [[0, 0, 0, 0, 1]])


# What the words promise.


@given(image=images, k=st.integers(1, 6))
def test_every_pixel_gets_its_nearest_palette_color_the_first_on_a_tie(image, k):
    palette = kmeans_palette(image, k).palette

    labels = map_to_palette(image, palette)

    assert_array_equal(labels, squared_distances(image, palette).argmin(axis=-1))


@given(image=images, k=st.integers(1, 6))
def test_quantized_image_is_palette_of_labels(image, k):
    palette = kmeans_palette(image, k).palette
    labels = map_to_palette(image, palette)

    quantized = quantize_kmeans(image, k)

    assert quantized.dtype == image.dtype
    assert_array_equal(quantized, palette[labels])


@given(image=images, k=st.integers(1, 6))
def test_every_palette_color_is_used_and_there_are_k_if_the_image_has_so_many(image, k):
    result = kmeans_palette(image, k)

    assert len(result.palette) == min(k, n_colors(image))
    assert (result.counts > 0).all()
    labels = map_to_palette(image, result.palette)
    assert_array_equal(np.bincount(labels.ravel()), result.counts)


@given(image=images)
def test_an_image_of_at_most_k_colors_comes_back_unchanged(image):
    result = kmeans_palette(image, n_colors(image))

    assert result.mse == 0
    assert result.converged
    assert_array_equal(quantize_kmeans(image, n_colors(image)), image)


@given(image=images, k=st.integers(1, 6))
def test_quantizing_twice_is_quantizing_once(image, k):
    once = quantize_kmeans(image, k)

    assert_array_equal(quantize_kmeans(once, k), once)


@given(image=images, k=st.integers(1, 6))
def test_mse_is_the_mean_squared_distance_to_the_palette(image, k):
    result = kmeans_palette(image, k)

    nearest = squared_distances(image, result.palette).min(axis=-1)

    assert_allclose(result.mse, nearest.mean(), rtol=1e-12)


@given(image=images, k=st.integers(1, 6))
def test_palette_is_distinct_and_sorted_from_dark_to_light(image, k):
    palette = kmeans_palette(image, k).palette.astype(int)

    factors = [2126, 7152, 722] if image.shape[-1] == 3 else np.ones(image.shape[-1])
    keys = [(color @ factors, *color) for color in palette]

    assert keys == sorted(set(keys))


@pytest.mark.parametrize("init", ["auto", "k-means++", "random"])
def test_error_never_rises_from_one_iteration_to_the_next(init):
    # Large, so that it does not soon come to rest.
    photo = skimage.data.astronaut()[::2, ::2]
    errors = []

    kmeans_palette(
        photo, 128, 30, init=init, rng=3, callback=lambda s: errors.append(s.mse)
    )

    assert len(errors) > 20
    assert errors[-1] < errors[0]
    assert (np.diff(errors) <= 1e-9 * errors[0]).all()


def test_iterations_end_when_no_label_changes():
    image = np.array([0, 1, 10, 11, 20, 22], dtype=np.uint8)

    result = kmeans_palette(image, 3, 50, channel_axis=None, init=[0, 10, 20])

    assert result.converged
    assert result.n_iter == 1


def test_no_iterations_map_to_the_initial_palette():
    image = np.array([[0, 90, 200]], dtype=np.uint8)
    start = [100, 7, 100]

    result = kmeans_palette(image, 3, 0, channel_axis=None, init=[*start[:2], 250])
    assert_array_equal(result.palette, image[0])  # Three colors fit in three.

    result = kmeans_palette(image, 2, 0, channel_axis=None, init=start[:2])
    assert_array_equal(result.palette, [7, 100])
    assert result.n_iter == 0


def test_a_cluster_without_pixels_moves_to_the_largest_error():
    # 250 is nearest to nothing; 90 has the largest error from 10.
    image = np.array([0, 0, 0, 20, 20, 20, 90], dtype=np.uint8)

    result = kmeans_palette(image, 2, 10, channel_axis=None, init=[10, 250])

    assert_array_equal(result.palette, [10, 90])


# Lloyd's algorithm, and exactly that.


def plain_lloyd(points, centers, iters):
    """All pixels, all distances, one at a time."""
    for _ in range(iters):
        members = [[] for _ in centers]
        for point in points:
            distances = [sum((point - center) ** 2) for center in centers]
            members[int(np.argmin(distances))].append(point)
        centers = [
            np.mean(own, axis=0) if own else center
            for own, center in zip(members, centers, strict=True)
        ]
    return np.array(centers)


def fitted_centers(image, k, iters, init):
    states = []
    kmeans_palette(image, k, iters, init=init, callback=states.append)
    return states[-1].centers


@pytest.mark.parametrize("n_channels", [2, 3, 4, 5])
def test_centers_are_those_of_a_plain_loop_over_pixels(n_channels):
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (12, 14, n_channels), dtype=np.uint8)
    start = image.reshape(-1, n_channels)[::20].astype(float)

    centers = fitted_centers(image, len(start), 4, start)

    expected = plain_lloyd(image.reshape(-1, n_channels).astype(float), start, 4)
    assert_allclose(centers, expected, rtol=1e-12)


@pytest.mark.parametrize("k", [2, 16, 64, 200])
def test_centers_are_those_of_scikit_learn_on_a_photo(photo, k):
    pixels = photo.reshape(-1, 3).astype(float)
    rng = np.random.default_rng(k)
    # Off the grid of whole numbers, so that no distances are equal.
    start = rng.permutation(np.unique(pixels, axis=0))[:k] + rng.random((k, 3))

    centers = fitted_centers(photo, k, 6, start)

    expected = KMeans(k, init=start, n_init=1, max_iter=6, tol=0, algorithm="lloyd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected.fit(pixels)
    assert_allclose(centers, expected.cluster_centers_, atol=1e-9)


# Every dtype, shape and layout.


def ramp(dtype, shape):
    """An image from near the least to near the largest value of a dtype."""
    share = np.random.default_rng(1).random(shape)
    if dtype == "?":
        return share > 0.5
    if np.dtype(dtype).kind == "f":
        return (share * 100 - 50).astype(dtype)
    info = np.iinfo(dtype)
    return (info.min + share * (float(info.max) - info.min) * 0.999).astype(dtype)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 50, None])
@pytest.mark.parametrize("dtype", ["?", *INTEGERS, *FLOATS, ">u2", ">f4"])
def test_every_dtype_and_number_of_channels(dtype, n_channels):
    channel_axis = None if n_channels is None else -1
    image = ramp(dtype, (9, 8) if n_channels is None else (9, 8, n_channels))

    quantized = quantize_kmeans(image, 3, channel_axis=channel_axis)
    result = kmeans_palette(image, 3, channel_axis=channel_axis)
    labels = map_to_palette(image, result.palette, channel_axis=channel_axis)

    assert quantized.dtype == image.dtype
    assert quantized.shape == image.shape
    assert_array_equal(quantized, result.palette[labels])
    assert quantized.min() >= image.min()
    assert quantized.max() <= image.max()
    if dtype != "?":  # Rounding to two levels may cost more than it gains.
        assert result.mse < image.astype(float).var(axis=(0, 1)).sum() + 1e-9


@pytest.mark.parametrize("dtype", ["?", *INTEGERS, *FLOATS])
def test_layout_in_memory_is_irrelevant(dtype):
    image = ramp(dtype, (6, 10, 3))
    expected = quantize_kmeans(image, 4)
    read_only = image.copy()
    read_only.flags.writeable = False
    padded = np.zeros((12, 10, 6), image.dtype)
    padded[::2, ::-1, ::2] = image

    for same in (
        np.asfortranarray(image),
        read_only,
        padded[::2, ::-1, ::2],
        image.astype(image.dtype.newbyteorder()),
    ):
        assert_array_equal(quantize_kmeans(same, 4), expected)


@pytest.mark.parametrize("channel_axis", [0, 1, 2, -3])
def test_channel_axis_may_be_any_axis(photo, channel_axis):
    moved = np.moveaxis(photo, -1, channel_axis)

    quantized = quantize_kmeans(moved, 6, channel_axis=channel_axis)

    expected = quantize_kmeans(photo, 6)
    assert_array_equal(np.moveaxis(quantized, channel_axis, -1), expected)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 4, 5), (1,)])
def test_any_number_of_spatial_axes(shape):
    image = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)

    assert quantize_kmeans(image, 3, channel_axis=None).shape == shape


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("end", ["max", "tiny", "smallest_subnormal"])
def test_floats_at_the_ends_of_their_range(dtype, end):
    unit = getattr(np.finfo(dtype), end)
    low = -unit if end == "max" else unit
    image = np.array(
        [low, low / 2 if end == "max" else low * 2, unit * 9 if end != "max" else unit],
        dtype,
    )

    quantized = quantize_kmeans(image, 2, channel_axis=None)

    assert_array_equal(quantized[2], image[2])
    assert quantized[0] == quantized[1]


def test_the_least_float_is_told_from_zero():
    image = np.array([0.0, 5e-324])
    assert_array_equal(map_to_palette(image, image, channel_axis=None), [0, 1])


def test_colors_closer_than_their_squares_can_tell_are_still_at_most_k():
    image = np.array([0.0, 1e-200, 1.0])

    assert len(np.unique(quantize_kmeans(image, 2, channel_axis=None))) == 2


def test_channels_at_the_limit_of_their_dtype_stay_there():
    image = np.full((2, 3, 3), np.iinfo(np.uint64).max)
    image[..., 0] = [[1, 2, 3], [4, 5, 6]]

    assert (quantize_kmeans(image, 2)[..., 1:] == image[..., 1:]).all()


def test_pixels_that_are_not_finite_stay_and_do_not_count(photo):
    image = photo.astype(np.float32)
    image[0, 0] = np.nan
    image[1, 2, 1] = np.inf
    finite = np.isfinite(image).all(axis=-1)
    before = image.copy()

    quantized = quantize_kmeans(image, 4)

    assert_array_equal(quantized[~finite], image[~finite])
    assert kmeans_palette(image, 4).counts.sum() == finite.sum()
    expected = kmeans_palette(image[finite][np.newaxis], 4).palette
    assert_array_equal(kmeans_palette(image, 4).palette, expected)
    assert map_to_palette(image, expected)[0, 0] == 0
    assert_array_equal(image, before)


def test_a_hot_pixel_takes_one_color_and_spoils_no_other(monkeypatch):
    # Too many colors to count, below 4,000 but for one.
    monkeypatch.setattr("napari_kmeans._core.color_counts.MAX_COUNTED", 1000)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4000, (200, 200, 3), dtype=np.uint16)
    hot = image.copy()
    hot[5, 5] = 60000

    result = kmeans_palette(hot, 16)

    assert_array_equal(result.counts[-1:], [1])
    assert result.mse < 1.02 * kmeans_palette(image, 15).mse


def test_input_is_not_written_to_and_output_is_new(photo):
    image = photo.copy()

    quantized = quantize_kmeans(image, 3)
    unchanged = quantize_kmeans(image, 65536)

    assert_array_equal(image, photo)
    assert not np.shares_memory(quantized, image)
    assert not np.shares_memory(unchanged, image)


# Starts, and what a callback may do.


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_equal_seeds_give_equal_results(photo, init):
    def palette(seed):
        return kmeans_palette(photo, 8, 1, init=init, rng=seed).palette

    assert_array_equal(palette(7), palette(7))
    assert_array_equal(palette(7), palette(np.random.default_rng(7)))
    assert not np.array_equal(palette(7), palette(8))


def test_auto_is_closer_than_the_mean_of_ten_random_starts(photo):
    random = [kmeans_palette(photo, 16, init="random", rng=i).mse for i in range(10)]

    assert kmeans_palette(photo, 16).mse < np.mean(random)


def test_thorough_is_at_least_as_close_as_auto(photo):
    image = photo[::2, ::2]

    thorough = kmeans_palette(image, 32, 20, init="thorough").mse

    assert thorough <= kmeans_palette(image, 32, 20).mse


def test_stop_iteration_in_a_callback_keeps_what_there_is(photo):
    def stop(state):
        if state.n_iter == 2:
            raise StopIteration

    result = kmeans_palette(photo, 8, callback=stop)

    assert result.n_iter == 2
    assert not result.converged
    assert_array_equal(result.palette, kmeans_palette(photo, 8, 2).palette)


def test_other_exceptions_of_a_callback_pass_through(photo):
    def fail(state):
        msg = f"no more after {state.n_iter}"
        raise KeyError(msg)

    with pytest.raises(KeyError, match="no more after 1"):
        quantize_kmeans(photo, 8, callback=fail)


def test_callback_gets_centers_in_the_units_of_the_image():
    image = np.array([-2.0, -2.0, 1e6, 1e6 + 2])
    states = []

    kmeans_palette(
        image, 2, 1, channel_axis=None, init=[-3, 9e5], callback=states.append
    )

    assert_allclose(states[0].centers, [-2, 1e6 + 1])
    assert_allclose(states[0].mse, 0.5)


def test_result_cannot_be_changed():
    result = kmeans_palette(np.zeros((1, 1, 3), np.uint8), 1)

    with pytest.raises(AttributeError, match="cannot assign"):
        result.mse = 0


# The switches: each alone, and together.

SPACES = ["rgb", "lab", "oklab"]
SWITCHES = [
    *((dtype, 3, space, False) for dtype in ["u1", "u2", *FLOATS] for space in SPACES),
    *((dtype, 4, space, True) for dtype in ["u1", "u2", "f4", "f8"] for space in SPACES),
    *((dtype, 2, "rgb", True) for dtype in ["u1", "u2", "u4", "u8", "f2", "f4"]),
    *((dtype, 6, "rgb", True) for dtype in ["u1", "u2", "u4", "f4"]),
]  # fmt: skip


def white_of(dtype):
    dtype = np.dtype(dtype)
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def some_picture(dtype, n_channels, seed, shape=(6, 7)):
    """Colors of which some repeat, between black and white; some are not seen."""
    rng = np.random.default_rng(seed)
    share = rng.integers(0, 1 + seed % 40, (*shape, n_channels)) / max(1, seed % 40)
    # The last float64 below 2^64 may stand for its largest integer.
    return (share * min(white_of(dtype), 2.0**64 - 2.0**11)).astype(dtype)


def seen_pixels(image, alpha):
    seen = np.isfinite(image).all(axis=-1)
    return seen & (image[..., -1] > 0) if alpha else seen


def over_both(colors, white):
    """What is seen over black and over white; squares of distances are the mean."""
    colors = colors.astype(float)
    black = colors[..., :-1] * colors[..., -1:] / white
    seen = (black, black + (white - colors[..., -1:]))
    return np.concatenate(seen, axis=-1) / np.sqrt(2)


def over_gray(colors, white):
    """The points that integers of 8 and 16 bits are compared by, moved."""
    colors = colors.astype(np.int64)
    opacity, n_colors = colors[..., -1:], colors.shape[-1] - 1
    seen = 8 * colors[..., :-1] * opacity - 4 * int(white) * opacity
    steps = round(4 * np.sqrt(n_colors)) * int(white)
    return np.concatenate((seen, steps * opacity), axis=-1)


@pytest.mark.parametrize(("dtype", "n_channels", "space", "alpha"), SWITCHES)
@pytest.mark.parametrize(
    ("masked", "channel_axis", "seeds"), [(False, -1, (3, 39)), (True, 0, (9, 17))]
)
def test_laws_hold_for_every_switch(
    dtype, n_channels, space, alpha, masked, channel_axis, seeds
):
    for seed in seeds:
        k = 1 + seed % 7
        image = some_picture(dtype, n_channels, seed)
        mask = np.random.default_rng(seed).random((6, 7)) < 0.7
        mask[0, :2] = True
        given = np.moveaxis(image, -1, channel_axis).copy()
        how = {"channel_axis": channel_axis, "color_space": space, "alpha": alpha}
        region = {"mask": mask if masked else None}

        result = kmeans_palette(given, k, **region, **how)
        labels = map_to_palette(given, result.palette, **how)
        quantized = quantize_kmeans(given, k, **region, **how)

        # palette[labels] is the quantized image, where anything is seen.
        seen = seen_pixels(image, alpha)
        assert quantized.dtype == image.dtype
        quantized = np.moveaxis(quantized, channel_axis, -1)
        assert_array_equal(quantized[seen], result.palette[labels][seen])
        assert_array_equal(quantized[~seen], image[~seen])
        # Counts and error are those of these labels.
        fitted = seen & mask if masked else seen
        counts = np.bincount(labels[fitted], minlength=len(result.palette))
        assert_array_equal(result.counts, counts)
        colors, chosen = image[fitted], result.palette[labels[fitted]]
        if alpha:
            white = white_of(dtype)
            colors, chosen = (over_both(c, white) for c in (colors, chosen))
        error = np.square(colors.astype(float) - chosen.astype(float))
        mse = error.sum(axis=-1).mean() if fitted.any() else 0.0
        assert_allclose(result.mse, mse, rtol=1e-9, atol=1e-9 * white_of(dtype))
        # Colors are distinct, no more than k, from dark to light, and used.
        palette = result.palette.astype(float)
        assert palette.dtype == float
        assert result.palette.dtype == image.dtype
        assert len(np.unique(result.palette, axis=0)) == len(palette) <= k
        factors = [2126, 7152, 722] if n_channels == 3 else np.ones(n_channels)
        assert (np.diff(palette @ factors) >= -1e-9 * white_of(dtype)).all()
        is_hidden = palette[:, -1] <= 0 if alpha else np.zeros(len(palette), bool)
        assert (result.counts[~is_hidden] > 0).all()


@pytest.mark.parametrize(("dtype", "n_channels", "space", "alpha"), SWITCHES)
def test_an_image_of_at_most_k_colors_comes_back_unchanged_with_every_switch(
    dtype, n_channels, space, alpha
):
    image = some_picture(dtype, n_channels, 2)
    k = n_colors(image)
    how = {"color_space": space, "alpha": alpha}

    result = kmeans_palette(image, k, **how)

    assert result.mse == 0
    assert_array_equal(quantize_kmeans(image, k, **how), image)
    labels = map_to_palette(image, result.palette, **how)
    seen = seen_pixels(image, alpha)
    assert_array_equal(result.palette[labels][seen], image[seen])


@pytest.mark.parametrize(("dtype", "n_channels", "space", "alpha"), SWITCHES)
def test_layout_in_memory_is_irrelevant_to_every_switch(
    dtype, n_channels, space, alpha
):
    image = some_picture(dtype, n_channels, 30)
    mask = np.zeros(image.shape[:-1], bool)
    mask[::2, 1:] = True
    how = {"mask": mask, "color_space": space, "alpha": alpha}
    expected = quantize_kmeans(image, 4, **how)
    palette = kmeans_palette(image, 4, **how).palette
    read_only = image.copy()
    read_only.flags.writeable = False
    padded = np.zeros((12, 7, 2 * n_channels), image.dtype)
    padded[::2, ::-1, ::2] = image

    def labels_of(image):
        return [
            map_to_palette(image, palette, color_space=space, alpha=alpha, dither=dither)
            for dither in (None, "ordered", "floyd-steinberg")
        ]  # fmt: skip

    labels = labels_of(image)
    for same in (
        np.asfortranarray(image),
        read_only,
        padded[::2, ::-1, ::2],
        image.astype(image.dtype.newbyteorder()),
    ):
        before = same.copy()
        assert_array_equal(quantize_kmeans(same, 4, **how), expected)
        assert_array_equal(labels_of(same), labels)
        assert_array_equal(same, before)


def test_results_own_their_memory():
    image = some_picture("u1", 3, 30)
    fixed = np.array([[1, 2, 3]], np.uint8)

    for k in (1, 4, 100):
        result = kmeans_palette(image, k, fixed=fixed)
        assert not np.shares_memory(result.palette, fixed)
        assert not np.shares_memory(result.palette, image)
        result.palette[:] = 0
        result.counts[:] = 0
        assert_array_equal(fixed, [[1, 2, 3]])
        assert kmeans_palette(image, k, fixed=fixed).counts.sum() == 42


# Masks.


@settings(max_examples=50)
@given(image=images, k=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_mask_fits_what_it_cuts_out_and_maps_everything(image, k, seed):
    mask = np.random.default_rng(seed).random(image.shape[:-1]) < 0.5
    mask[0, 0] = True

    result = kmeans_palette(image, k, mask=mask)

    expected = kmeans_palette(image[mask][np.newaxis], k)
    assert_array_equal(result.palette, expected.palette)
    assert_array_equal(result.counts, expected.counts)
    assert result.mse == expected.mse
    everywhere = result.palette[map_to_palette(image, result.palette)]
    assert_array_equal(quantize_kmeans(image, k, mask=mask), everywhere)


def test_pixels_outside_the_mask_may_be_not_finite_or_never_seen():
    image = np.full((2, 4, 3), np.nan, np.float32)
    image[0] = [[0, 0, 0], [0.25, 0, 0], [1, 1, 1], [1, 1, 1]]
    mask = np.isfinite(image).all(axis=-1)
    image[0, 3] = np.inf

    quantized = quantize_kmeans(image, 2, mask=mask)

    assert_array_equal(quantized[0, :3, 0], [0.125, 0.125, 1])
    assert_array_equal(quantized[1], image[1])
    assert_array_equal(quantized[0, 3], image[0, 3])


# Several images.


@given(
    several=st.lists(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)), elements=st.sampled_from([0, 3, 80, 255])), min_size=1, max_size=4),
    k=st.integers(1, 6),
    as_list=st.booleans(),
)  # fmt: skip
def test_a_list_of_images_is_fitted_as_their_concatenation(several, k, as_list):
    joined = np.concatenate([image.reshape(1, -1, 3) for image in several], axis=1)

    result = kmeans_palette(several if as_list else tuple(several), k)

    expected = kmeans_palette(joined, k)
    assert_array_equal(result.palette, expected.palette)
    assert_array_equal(result.counts, expected.counts)
    assert result.mse == expected.mse


@pytest.mark.parametrize(("dtype", "n_channels", "space", "alpha"), SWITCHES)
def test_lists_of_images_may_have_masks_and_every_switch(
    dtype, n_channels, space, alpha
):
    several = [
        some_picture(dtype, n_channels, 30 + i, (3 + i, 4 - i)) for i in range(3)
    ]
    masks = [np.arange(i.size // n_channels).reshape(i.shape[:-1]) % 3 > 0 for i in several]  # fmt: skip
    how = {"color_space": space, "alpha": alpha}

    result = kmeans_palette(several, 5, mask=masks, **how)

    joined = np.concatenate([i[m] for i, m in zip(several, masks, strict=True)])
    expected = kmeans_palette(joined[np.newaxis], 5, **how)
    assert_array_equal(result.palette, expected.palette)
    assert_array_equal(result.counts, expected.counts)
    assert result.mse == expected.mse


def test_images_of_other_shapes_share_one_palette_weighted_by_their_pixels():
    several = [np.full((1, 3), 10, np.uint8), np.array([14, 200], np.uint8)]

    result = kmeans_palette(several, 2, channel_axis=None)

    # Three times 10 and once 14 average to 11.
    assert_array_equal(result.palette, [11, 200])


# Fixed colors.


@settings(max_examples=50)
@given(image=images, k=st.integers(1, 6), m=st.integers(0, 6), seed=st.integers(0, 99))
def test_fixed_colors_are_in_the_palette_and_the_others_are_used(image, k, m, seed):
    n_channels = image.shape[-1]
    fixed = np.random.default_rng(seed).integers(0, 256, (min(m, k), n_channels))

    result = kmeans_palette(image, k, fixed=fixed)

    together = np.concatenate((image.reshape(-1, n_channels), fixed))
    distinct = len(np.unique(together, axis=0))
    assert len(result.palette) == min(k, distinct)
    is_fixed = (result.palette[:, np.newaxis] == fixed).all(axis=-1).any(axis=1)
    assert np.count_nonzero(is_fixed) >= len(np.unique(fixed, axis=0))
    assert (result.counts[~is_fixed] > 0).all()
    nearest = squared_distances(image, result.palette)
    labels = nearest.argmin(axis=-1)
    assert_array_equal(
        result.counts, np.bincount(labels.ravel(), minlength=len(is_fixed))
    )
    assert_allclose(result.mse, nearest.min(axis=-1).mean(), rtol=1e-12)


@pytest.mark.parametrize("init", ["auto", "thorough", "k-means++", "random"])
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_fixed_colors_leave_more_places_than_there_are_colors(init, n_channels):
    image = np.array([[[1, 2, 3], [200, 100, 50]]], np.uint8)[..., :n_channels]
    fixed = np.array([[0, 0, 0], [255, 255, 255], [0, 0, 255], [9, 9, 9]])
    fixed = fixed[[0, 1, 3] if n_channels < 3 else [0, 1, 2], :n_channels]

    result = kmeans_palette(image, 4, init=init, rng=1, fixed=fixed)

    assert len(result.palette) == 4
    palette = result.palette.tolist()
    assert sum(color in palette for color in image[0].tolist()) == 1


def test_centers_beside_fixed_ones_are_means_of_what_these_leave_over(photo):
    fixed = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]])
    states = []

    result = kmeans_palette(photo, 8, 200, fixed=fixed, callback=states.append)

    assert result.converged
    centers = states[-1].centers
    assert_array_equal(np.sort(centers[:3], axis=0), np.sort(fixed, axis=0))
    labels = squared_distances(photo, centers).argmin(axis=-1)
    means = [photo[labels == i].mean(axis=0) for i in range(3, 8)]
    assert_allclose(centers[3:], means, rtol=1e-9)
    assert_array_equal(
        np.unique(np.rint(centers), axis=0), np.unique(result.palette, axis=0)
    )


def test_a_palette_of_fixed_colors_only_is_that(photo):
    fixed = np.array([[255, 255, 255], [0, 0, 0], [255, 255, 255]])

    result = kmeans_palette(photo, 2, fixed=fixed)

    assert_array_equal(result.palette, [[0, 0, 0], [255, 255, 255]])
    assert result.counts.sum() == photo.shape[0] * photo.shape[1]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("alpha", [False, True])
def test_fixed_colors_do_not_move_in_other_spaces_or_under_masks(photo, space, alpha):
    opacity = np.full((*photo.shape[:2], 1), 200, np.uint8)
    image = np.dstack((photo, opacity)) if alpha else photo
    fixed = np.array([[1, 2, 3, 255], [250, 251, 0, 17]])[:, : image.shape[-1]]
    mask = photo[..., 0] > 100

    result = kmeans_palette(
        image, 5, color_space=space, alpha=alpha, mask=mask, fixed=fixed
    )

    colors = result.palette.tolist()
    assert all(color in colors for color in fixed.tolist())
    assert len(colors) == 5
    assert result.counts.sum() == mask.sum()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("with_fixed", [False, True])
def test_the_error_a_callback_sees_never_rises_with_any_switch(
    photo, space, alpha, with_fixed
):
    opacity = (255 * (np.arange(180) % 50 > 5) // (1 + np.arange(180) % 3)).astype("u1")
    image = np.dstack((photo, np.broadcast_to(opacity, photo.shape[:2])))
    image = image if alpha else photo
    fixed = np.array([[255, 0, 255, 255], [9, 8, 7, 99]])[:, : image.shape[-1]]
    errors, centers = [], []

    def note(state):
        errors.append(state.mse)
        centers.append(state.centers)

    result = kmeans_palette(
        image, 9, 15, init="random", rng=2, color_space=space, alpha=alpha,
        fixed=fixed if with_fixed else None, callback=note,
    )  # fmt: skip

    assert len(errors) > 5
    assert (np.diff(errors) <= 1e-9 * errors[0]).all()
    # Centers are colors in the units of the image, which rounding makes the palette.
    rounded = np.unique(np.rint(centers[-1]), axis=0)
    assert_allclose(rounded, np.unique(result.palette, axis=0), atol=1)


# Opacity.


def cut_out():
    """A cat cut out of a photo along a smooth edge, and its soft shadow.

    What is transparent has the colors of the photo still, as masks leave them.
    """
    photo = skimage.data.chelsea()[20:260, 60:340]
    y, x = np.mgrid[-1:1:240j, -1:1:280j]
    edge = np.clip((0.8 - np.hypot(x, y)) * 60, 0, 1)
    shadow = 0.6 * np.roll(gaussian(edge, 8), (14, 14), (0, 1))
    opacity = edge + shadow * (1 - edge)
    share = np.divide(edge, opacity, out=np.ones_like(edge), where=opacity > 1 / 512)
    colors = np.dstack((photo * share[..., np.newaxis], opacity * 255))
    return np.rint(colors).astype(np.uint8)


def composited(image, background):
    share = image[..., 3:] / 255
    return image[..., :3] * share + background * (1 - share)


def test_a_cut_out_is_closer_on_any_background_than_without_alpha():
    image = cut_out()

    errors = [
        np.square(composited(quantize_kmeans(image, 16, alpha=alpha), background) - composited(image, background)).mean()
        for alpha in (True, False) for background in (0, 255)
    ]  # fmt: skip

    black, white, black_without, white_without = errors
    assert black < 0.9 * black_without
    assert white < 0.7 * white_without


def test_fringes_and_shadows_survive_in_sixteen_colors():
    image = cut_out()
    opacity = image[..., 3].astype(int)
    partly = (opacity > 0) & (opacity < 255)

    quantized = quantize_kmeans(image, 16, alpha=True)[..., 3].astype(int)

    # Four levels of the shadow at least, and half a step of these for each pixel.
    levels = np.unique(quantized[partly])
    assert np.count_nonzero((levels > 10) & (levels < 200)) >= 4
    assert np.abs(quantized - opacity)[partly].mean() < 10
    # Nothing appears or disappears that is more than an eighth opaque.
    assert (quantized[opacity > 32] > 0).all()
    assert_array_equal(quantized[opacity == 0], 0)


@pytest.mark.parametrize("dtype", ["u4", "f4", "f8"])
@pytest.mark.parametrize("n_channels", [2, 4, 5, 6])
def test_labels_are_nearest_in_the_mean_over_black_and_over_white(dtype, n_channels):
    image = some_picture(dtype, n_channels, 37, (20, 20))
    palette = some_picture(dtype, n_channels, 31, (30,))
    white = white_of(dtype)

    labels = map_to_palette(image, palette, alpha=True)

    squared = squared_distances(over_both(image, white), over_both(palette, white))
    chosen = np.take_along_axis(squared, labels[..., np.newaxis].astype(int), -1)
    assert_allclose(chosen[..., 0], squared.min(axis=-1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("n_channels", [2, 4, 5, 6])
def test_labels_of_8_and_16_bits_are_exactly_nearest_over_gray(dtype, n_channels):
    image = some_picture(dtype, n_channels, 37, (20, 20))
    palette = some_picture(dtype, n_channels, 31, (30,))
    palette[20:] = palette[:10]
    white = white_of(dtype)

    labels = map_to_palette(image, palette, alpha=True)

    points, centers = over_gray(image, white), over_gray(palette, white)
    # Python's integers, whose squares do not overflow.
    steps = points[..., np.newaxis, :].astype(object) - centers
    assert_array_equal(labels, (steps**2).sum(axis=-1).argmin(axis=-1))


def test_shadows_count_as_they_are_seen_over_white():
    image = [[0, 0, 0, 100], [0, 0, 0, 180], [200, 200, 10, 255], [200, 200, 100, 255]]
    image = np.array([image], np.uint8)

    result = kmeans_palette(image, 3, alpha=True)

    # Over white, shadows differ by 80 in each channel: half of 3 * 80^2 is more than
    # 90^2, by which the others differ. Their opacity alone differs less.
    expected = [[0, 0, 0, 100], [0, 0, 0, 180], [200, 200, 55, 255]]
    assert_array_equal(result.palette, expected)
    assert result.mse == 2 * 45**2 / 4
    one = kmeans_palette(image[:, :2], 1, alpha=True)
    assert_array_equal(one.palette, [[0, 0, 0, 140]])
    assert_allclose(one.mse, 3 * 40**2 / 2, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["u1", "u4", "u8", "f4"])
def test_palettes_of_other_dtypes_have_the_opacity_of_the_image(dtype):
    white = white_of(dtype)
    image = np.array([[[0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 0, 0.5], [0, 0, 1, 0.8]]])
    image = (image * min(white, 2.0**64 - 2.0**11)).astype(dtype)

    expected = map_to_palette(image, image[0], alpha=True)

    assert_array_equal(expected[0], np.arange(4))
    others = [np.float64] if dtype != "u1" else ["u2", "i4", "u8", "f4"]
    for other in others:
        palette = image[0].astype(other)
        assert_array_equal(map_to_palette(image, palette, alpha=True), expected)
    # Next to an image of many more levels, a palette of 8 bits is nearly black.
    if dtype in ("u4", "u8"):
        palette = np.array([[255, 255, 255, 255], [0, 0, 0, 0]], np.uint8)
        assert_array_equal(map_to_palette(image, palette, alpha=True), [[1, 0, 0, 0]])


def test_transparent_pixels_neither_count_nor_change():
    image = np.array([[[9, 9, 9, 0]] * 5 + [[1, 0, 0, 255], [3, 0, 0, 255], [0, 200, 0, 128]]], np.uint8)  # fmt: skip
    image[0, :2, 0] = 77

    result = kmeans_palette(image, 3, alpha=True)

    # The commonest transparent color has an entry; 1 and 3 average to 2.
    assert_array_equal(result.palette, [[9, 9, 9, 0], [2, 0, 0, 255], [0, 200, 0, 128]])
    assert_array_equal(result.counts, [0, 2, 1])
    assert result.mse == 2 / 3
    quantized = quantize_kmeans(image, 3, alpha=True)
    assert_array_equal(quantized[0, :5], image[0, :5])
    labels = map_to_palette(image, result.palette, alpha=True)
    assert_array_equal(labels, [[0] * 5 + [1, 1, 2]])


def test_what_is_transparent_has_no_entry_where_it_would_take_the_last_place():
    image = np.array([[[9, 9, 9, 0], [1, 0, 0, 255], [3, 0, 0, 255]]], np.uint8)
    red = np.array([[255, 0, 0, 255]])
    clear = np.array([[1, 2, 3, 0]])

    def palette(k, fixed=None):
        return kmeans_palette(image, k, alpha=True, fixed=fixed).palette.tolist()

    assert palette(1) == [[2, 0, 0, 255]]
    assert palette(1, red) == red.tolist()
    assert palette(2, red) == [[2, 0, 0, 255], *red.tolist()]
    assert palette(3, red) == [[9, 9, 9, 0], [2, 0, 0, 255], *red.tolist()]
    assert palette(2, clear) == [*clear.tolist(), [2, 0, 0, 255]]
    assert_array_equal(quantize_kmeans(image, 1, alpha=True)[0, 0], image[0, 0])


def test_an_image_that_is_fully_transparent_comes_back_unchanged():
    image = np.array([[[9, 9, 9, 0], [9, 9, 9, 0], [1, 2, 3, 0]]], np.uint8)

    for k in (1, 2):
        result = kmeans_palette(image, k, alpha=True)
        assert_array_equal(result.palette, [[9, 9, 9, 0]])
        assert_array_equal(result.counts, [0])
        assert result.mse == 0
        assert_array_equal(quantize_kmeans(image, k, alpha=True), image)
    black = [[0, 0, 0, 255]]
    assert_array_equal(kmeans_palette(image, 1, alpha=True, fixed=black).palette, black)
    assert choose_k(image, psnr=40, alpha=True).mse == 0
    assert_array_equal(error_curve(image, [1, 5], alpha=True), [0, 0])


def test_transparent_colors_that_are_too_many_to_count_are_black(monkeypatch):
    monkeypatch.setattr("napari_kmeans._core.color_counts.MAX_COUNTED", 1)
    image = np.array([[[9, 9, 9, 0], [1, 2, 3, 0], [5, 5, 5, 0]]], np.uint16)

    result = kmeans_palette(image, 4, alpha=True)

    assert_array_equal(result.palette, [[0, 0, 0, 0]])
    assert_array_equal(quantize_kmeans(image, 4, alpha=True), image)
    image[0, 0, 3] = 7
    result = kmeans_palette(image, 4, alpha=True)
    assert_array_equal(result.palette, [[0, 0, 0, 0], [9, 9, 9, 7]])
    assert result.mse == 0


def test_opacity_of_floats_may_overshoot_one():
    image = np.array([[[0.5, 0.5, 0.5, 1.25], [0.4, 0.4, 0.4, 1.25], [0, 0, 0, 1]]])

    result = kmeans_palette(image, 2, alpha=True)

    assert_allclose(result.palette, [[0, 0, 0, 1], [0.45] * 3 + [1.25]], atol=1e-15)


# Perceptual spaces.


def oklab(colors):
    """Lightness and twice a and b, after https://bottosson.github.io/posts/oklab."""
    colors = colors / white_of(colors.dtype)
    linear = np.where(
        colors > 0.04045, ((colors + 0.055) / 1.055) ** 2.4, colors / 12.92
    )
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array([[0.2104542553, 1.9779984951, 0.0259040371], [0.7936177850, -2.4285922050, 0.7827717662], [-0.0040720468, 0.4505937099, -0.8086757660]]) * [1, 2, 2]  # fmt: skip


@pytest.mark.parametrize(("space", "convert"), [("lab", rgb2lab), ("oklab", oklab)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f8"])
@pytest.mark.parametrize("k", [5, 200])
def test_labels_are_nearest_in_the_color_space(space, convert, dtype, k):
    rng = np.random.default_rng(k)
    image, palette = (
        (rng.random(shape) * white_of(dtype)).astype(dtype)
        for shape in [(30, 30, 3), (k, 3)]
    )

    labels = map_to_palette(image, palette, color_space=space)

    squared = squared_distances(convert(image), convert(palette))
    chosen = np.take_along_axis(squared, labels[..., np.newaxis].astype(int), -1)
    # Rounding of the last digits may decide otherwise.
    assert_allclose(chosen[..., 0], squared.min(axis=-1), rtol=1e-9)


@pytest.mark.parametrize("k", [16, 64])
def test_perceptual_spaces_lower_the_mean_difference_that_is_seen(k):
    differences = np.zeros(3)

    for name in ("astronaut", "chelsea", "rocket"):
        image = getattr(skimage.data, name)()[::8, ::8]
        lab = rgb2lab(image)
        quantized = [quantize_kmeans(image, k, color_space=space) for space in SPACES]
        differences += [deltaE_ciede2000(lab, rgb2lab(q)).mean() for q in quantized]

    assert (differences[1:] < differences[0]).all()


# Choosing k.


@pytest.mark.parametrize("target", [{"mse": 300}, {"psnr": 26}, {"psnr": 31.5}])
@pytest.mark.parametrize("switch", [{}, {"color_space": "lab"}, {"iters": 2}])
def test_the_fewest_colors_reach_the_target_and_one_less_does_not(
    photo, target, switch
):
    image = photo[::4, ::4]

    result = choose_k(image, **target, **switch)

    most = target.get("mse", 3 * 255**2 / 10 ** (target.get("psnr", 0) / 10))
    k = len(result.palette)
    same = kmeans_palette(image, k, **switch)
    assert_array_equal(result.palette, same.palette)
    assert result.mse == same.mse <= most
    assert kmeans_palette(image, k - 1, **switch).mse > most


@pytest.mark.parametrize(
    ("image", "peak"),
    [
        (np.array([0, 10], np.uint8), 255),
        (np.array([0, 10], np.uint16), 65535),
        (np.array([0, 10], np.int16), 32767),
        (np.array([-5, 10], np.int16), 65535),
        (np.array([False, True]), 1),
        (np.array([0.25, 0.5]), 1),
        (np.array([-1.0, 3.0]), 4),
        (np.array([0.0, 3.0], np.float32), 3),
    ],
)
def test_peaks_are_those_of_the_dtype_or_the_values(image, peak):
    mse = kmeans_palette(image, 1, channel_axis=None).mse
    psnr = 10 * np.log10(peak**2 / mse)

    def n_chosen(psnr):
        return len(choose_k(image, psnr=psnr, channel_axis=None).palette)

    assert n_chosen(max(0, psnr - 0.01)) == 1
    assert n_chosen(psnr + 0.01) == 2


def test_channels_with_opacity_share_one_peak():
    image = np.array([[[0, 0, 0, 255], [0, 0, 30, 255], [0, 0, 0, 0]]], np.uint8)

    # An error of 225 in one of four channels.
    psnr = 10 * np.log10(4 * 255**2 / 225)
    assert len(choose_k(image, psnr=psnr - 0.01, alpha=True).palette) == 1
    assert len(choose_k(image, psnr=psnr + 0.01, alpha=True).palette) == 3


@pytest.mark.parametrize("target", [{"mse": 0}, {"psnr": np.inf}, {"psnr": 1e5}])
def test_no_error_takes_every_color(photo, target):
    image = photo[::4, ::4]

    result = choose_k(image, **target)

    assert len(result.palette) == n_colors(image)
    assert result.mse == 0


def test_a_single_color_reaches_any_error_that_is_large():
    assert len(choose_k(np.arange(9.0), mse=np.inf, channel_axis=None).palette) == 1
    assert len(choose_k(np.arange(9.0), psnr=0, channel_axis=None).palette) == 1


def test_targets_out_of_reach_say_so():
    image = np.arange(65537, dtype=np.uint32)

    with pytest.raises(ValueError, match="mse=0 is out of reach of 5 colors"):
        choose_k(np.arange(9), mse=0, max_k=5, channel_axis=None)
    with pytest.raises(ValueError, match=r"mse=0\.1 is out of reach of 5"):
        choose_k(np.arange(9), mse=0.1, max_k=5, channel_axis=None)
    with pytest.raises(ValueError, match="mse=0 is out of reach of 65536 colors"):
        choose_k(image, mse=0, channel_axis=None)
    with pytest.raises(
        ValueError, match=r"psnr=1e\+06 is out of reach of 65536 colors"
    ):
        choose_k(image, psnr=1e6, channel_axis=None)


def test_the_curve_is_aligned_with_ks_and_never_rises(photo):
    ks = [64, 2, 2, 1, 16, 3, 65536]

    errors = error_curve(photo, ks)

    assert errors.dtype == float
    order = np.argsort(ks, kind="stable")
    assert (np.diff(errors[order]) <= 0).all()
    assert errors[1] == errors[2]
    assert errors[3] == kmeans_palette(photo, 1).mse
    assert errors[-1] == 0
    assert error_curve(photo, []).shape == (0,)
    assert error_curve(photo, np.array([16], np.uint16)) == kmeans_palette(photo).mse


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("switch", [{}, {"color_space": "oklab"}, {"mask": True}])
def test_the_curve_has_the_error_of_each_number_fitted_alone(photo, dtype, switch):
    photo = photo[::4, ::4]
    image = photo.astype(dtype) / np.float32(255) if dtype == "f4" else photo
    image = image.astype(dtype)
    if "mask" in switch:
        switch = {"mask": photo[..., 0] > 90}
    ks = [16, 2, 8, 3]

    errors = error_curve(image, ks, iters=4, **switch)

    alone = [kmeans_palette(image, k, iters=4, **switch).mse for k in sorted(ks)]
    order = np.argsort(ks)
    assert_array_equal(errors[order], np.minimum.accumulate(alone))


def test_the_curve_of_images_with_opacity_ends_at_no_error():
    image = some_picture("u1", 4, 33)
    seen = n_colors(image[seen_pixels(image, alpha=True)][np.newaxis])

    errors = error_curve(image, [1, 2, 3, seen, seen + 1], alpha=True)

    assert errors[0] == kmeans_palette(image, 1, alpha=True).mse
    assert errors[-1] == 0
    assert (np.diff(errors) <= 0).all()


# The result.


def test_the_result_shows_what_it_is_in_one_line():
    image = np.array([[0, 0, 9], [100, 104, 250]], dtype=np.uint8)

    assert repr(kmeans_palette(image, 3, channel_axis=None)) == (
        "PaletteResult(palette=3 uint8, counts=6 pixels, mse=10.3333, n_iter=1, "
        "converged=True)"
    )
    assert repr(kmeans_palette(np.zeros((1, 2, 3)), 1)).startswith(
        "PaletteResult(palette=1 x 3 float64, counts=2 pixels, mse=0, "
    )


def test_what_a_callback_gets_cannot_be_changed(photo):
    def change(state):
        state.mse = 0

    with pytest.raises(AttributeError, match="cannot assign"):
        kmeans_palette(photo, 2, callback=change)


# A given palette.


@given(
    image=images,
    palette=hnp.arrays(np.int64, (7, 4), elements=st.integers(-300, 600)),
)
def test_any_palette_is_mapped_to_exactly(image, palette):
    palette = palette[:, : image.shape[-1]]

    labels = map_to_palette(image, palette)

    assert labels.dtype == np.uint8
    assert_array_equal(labels, squared_distances(image, palette).argmin(axis=-1))


def test_an_image_of_palette_colors_maps_to_itself():
    gray = np.arange(256, dtype=np.uint8)
    image = np.stack([gray, gray, gray], axis=-1)[np.newaxis]

    assert_array_equal(image[0][map_to_palette(image, image[0])], image)


def test_more_than_256_colors_need_two_bytes():
    palette = np.arange(257)
    image = np.array([0, 256], dtype=np.uint16)

    labels = map_to_palette(image, palette, channel_axis=None)

    assert labels.dtype == np.uint16
    assert_array_equal(labels, [0, 256])


# Errors name the argument, the rule and the value.

COLORS = np.zeros((2, 2, 3), dtype=np.uint8)


@pytest.mark.parametrize("function", [quantize_kmeans, kmeans_palette])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image": np.zeros((0, 3, 3))}, ValueError, r"image must not be empty, got shape \(0, 3, 3\)"),
        ({"image": np.zeros((4, 3))}, ValueError, r"image of shape \(4, 3\) has no channels along channel_axis=-1; pass channel_axis=None"),
        ({"image": COLORS.astype(complex)}, TypeError, "image must have a boolean, integer or float dtype, got complex128"),
        ({"image": COLORS.astype(object)}, TypeError, "image must have a boolean, integer or float dtype, got object"),
        ({"image": np.full((2, 2, 3), np.nan)}, ValueError, "image must have a finite pixel, got none"),
        ({"k": 0}, ValueError, "k must be between 1 and 65536, got 0"),
        ({"k": 65537}, ValueError, "k must be between 1 and 65536, got 65537"),
        ({"k": 2.0}, TypeError, "k must be an integer, got 2.0"),
        ({"k": "4"}, TypeError, "k must be an integer, got '4'"),
        ({"k": True}, TypeError, "k must be an integer, got True"),
        ({"iters": -1}, ValueError, "iters must be at least 0, got -1"),
        ({"iters": 1.5}, TypeError, "iters must be an integer, got 1.5"),
        ({"channel_axis": 3}, ValueError, r"channel_axis must be an axis of the image of shape \(2, 2, 3\), got 3"),
        ({"channel_axis": 1.0}, TypeError, "channel_axis must be an integer, got 1.0"),
        ({"init": "best"}, ValueError, "init must be 'auto', .* got 'best'"),
        ({"init": np.zeros((3, 3))}, ValueError, r"init must have shape \(2, 3\), got \(3, 3\)"),
        ({"init": np.full((2, 3), np.nan)}, ValueError, "init must be finite, got nan"),
        ({"rng": -1}, ValueError, "rng must be an integer >= 0, a numpy Generator or None, got -1"),
        ({"rng": "seed"}, TypeError, "rng must be .* got 'seed'"),
        ({"callback": 3}, TypeError, "callback must be callable or None, got 3"),
    ],
)  # fmt: skip
def test_bad_input(function, changes, error, message):
    arguments = {"image": COLORS, "k": 2, **changes}

    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize(
    ("palette", "error", "message"),
    [
        (np.zeros((0, 3)), ValueError, "palette must have between 1 and 65536 colors, got 0"),
        (np.zeros((65537, 3)), ValueError, "palette must have between 1 and 65536 colors, got 65537"),
        (np.zeros((4, 2)), ValueError, r"palette must have shape \(K, 3\), got \(4, 2\)"),
        (np.zeros(3), ValueError, r"palette must have shape \(K, 3\), got \(3,\)"),
        (np.full((1, 3), np.inf), ValueError, "palette must be finite, got inf"),
        (np.zeros((1, 3), dtype="U1"), TypeError, "palette must have a boolean, integer or float dtype, got <U1"),
    ],
)  # fmt: skip
def test_bad_palette(palette, error, message):
    with pytest.raises(error, match=message):
        map_to_palette(COLORS, palette)


@pytest.mark.parametrize("function", [quantize_kmeans, kmeans_palette])
def test_defaults_are_sixteen_colors_and_ten_iterations(function):
    parameters = inspect.signature(function).parameters

    assert parameters["k"].default == 16
    assert parameters["iters"].default == 10
    assert parameters["init"].default == "auto"


# Counts in the place of an image.


HALF = np.arange(20 * 15).reshape(20, 15) % 7 < 3
COUNTED = np.random.default_rng(5).integers(0, 60, (20, 15, 3), dtype=np.uint8)
CLEAR = np.dstack((COUNTED, COUNTED[..., :1] // 20 * 100))
WAYS = [
    *({"init": init, "rng": 3} for init in ("auto", "thorough", "k-means++", "random")),
    {"init": COUNTED[0, :6]},
    {"color_space": "lab"},
    {"color_space": "oklab", "init": "random", "rng": 0},
    {"fixed": [[0, 0, 0], [255, 9, 0]]},
]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("mask", [None, HALF])
def test_counts_have_the_palette_of_their_image(how, dtype, mask):
    image = (COUNTED / 255).astype(dtype) if dtype == "f4" else COUNTED.astype(dtype)
    if dtype == "f4":
        image[3, 4, 1] = np.nan
        if "fixed" in how:
            how = {"fixed": [[0, 0, 0], [1, 0.5, 0]]}

    result = kmeans_palette(count_colors(image, mask=mask), 6, **how)

    assert_same_result(result, kmeans_palette(image, 6, mask=mask, **how))


@pytest.mark.parametrize("space", ["rgb", "oklab"])
def test_counts_of_images_with_opacity_lists_and_no_channels(space):
    how = {"alpha": True, "color_space": space}
    counts = count_colors(CLEAR, mask=HALF)
    expected = kmeans_palette(CLEAR, 5, mask=HALF, **how)
    assert_same_result(kmeans_palette(counts, 5, **how), expected)

    several = [COUNTED, COUNTED[:9] // 2]
    masks = [HALF, HALF[:9]]
    how = {"color_space": space}
    counts = count_colors(several, mask=masks)
    expected = kmeans_palette(several, 5, mask=masks, **how)
    assert_same_result(kmeans_palette(counts, 5, **how), expected)
    parts = sum(count_colors(i, mask=m) for i, m in zip(several, masks, strict=True))
    assert_same_result(kmeans_palette(parts, 5, **how), expected)

    gray = COUNTED[..., 0]
    counts = count_colors(gray, channel_axis=None)
    expected = kmeans_palette(gray, 5, channel_axis=None)
    for axis in (-1, 0, None, "not looked at"):
        assert_same_result(kmeans_palette(counts, 5, channel_axis=axis), expected)


def test_counts_have_the_quality_and_the_curve_of_their_image():
    counts = count_colors(COUNTED, mask=HALF)

    assert_same_result(choose_k(counts, psnr=25), choose_k(COUNTED, psnr=25, mask=HALF))
    assert_same_result(choose_k(counts, mse=90), choose_k(COUNTED, mse=90, mask=HALF))
    ks = [9, 2, 5000]
    expected = error_curve(COUNTED, ks, mask=HALF)
    assert_array_equal(error_curve(counts, ks), expected)


@pytest.mark.parametrize(
    "work",
    [
        kmeans_palette,
        lambda counts, mask: choose_k(counts, mse=1, mask=mask),
        lambda counts, mask: error_curve(counts, [2], mask=mask),
    ],
)
def test_counts_take_no_mask(work):
    message = "^mask must be None for ColorCounts: count the pixels under the mask$"
    with pytest.raises(ValueError, match=message):
        work(count_colors(COUNTED), mask=HALF)
