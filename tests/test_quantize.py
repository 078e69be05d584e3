import inspect
import warnings

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from napari_kmeans import kmeans_palette, map_to_palette, quantize_kmeans

shapes = st.tuples(st.integers(1, 8), st.integers(1, 8), st.sampled_from([1, 2, 3, 4]))
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


@given(image=images, k=st.integers(1, 8))
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


@given(image=images, k=st.integers(1, 8))
def test_every_pixel_gets_its_nearest_palette_color_the_first_on_a_tie(image, k):
    palette = kmeans_palette(image, k).palette

    labels = map_to_palette(image, palette)

    assert_array_equal(labels, squared_distances(image, palette).argmin(axis=-1))


@given(image=images, k=st.integers(1, 8))
def test_quantized_image_is_palette_of_labels(image, k):
    palette = kmeans_palette(image, k).palette
    labels = map_to_palette(image, palette)

    quantized = quantize_kmeans(image, k)

    assert quantized.dtype == image.dtype
    assert_array_equal(quantized, palette[labels])


@given(image=images, k=st.integers(1, 8))
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


@given(image=images, k=st.integers(1, 8))
def test_quantizing_twice_is_quantizing_once(image, k):
    once = quantize_kmeans(image, k)

    assert_array_equal(quantize_kmeans(once, k), once)


@given(image=images, k=st.integers(1, 8))
def test_mse_is_the_mean_squared_distance_to_the_palette(image, k):
    result = kmeans_palette(image, k)

    nearest = squared_distances(image, result.palette).min(axis=-1)

    assert_allclose(result.mse, nearest.mean(), rtol=1e-12)


@given(image=images, k=st.integers(1, 8))
def test_palette_is_distinct_and_sorted_from_dark_to_light(image, k):
    palette = kmeans_palette(image, k).palette.astype(int)

    factors = [2126, 7152, 722] if image.shape[-1] == 3 else np.ones(image.shape[-1])
    keys = [(color @ factors, *color) for color in palette]

    assert keys == sorted(set(keys))


@pytest.mark.parametrize("init", ["auto", "k-means++", "random"])
def test_error_never_rises_from_one_iteration_to_the_next(photo, init):
    errors = []

    kmeans_palette(
        photo, 12, 30, init=init, rng=3, callback=lambda s: errors.append(s.mse)
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

    quantized = quantize_kmeans(image, 5, channel_axis=channel_axis)
    result = kmeans_palette(image, 5, channel_axis=channel_axis)
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
    monkeypatch.setattr("napari_kmeans._color_counts.MAX_COUNTED", 1000)
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
    thorough = kmeans_palette(photo, 32, 20, init="thorough").mse

    assert thorough <= kmeans_palette(photo, 32, 20).mse


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
        ({"rng": "seed"}, ValueError, "rng must be .* got 'seed'"),
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
