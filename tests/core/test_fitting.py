import itertools

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from napari_kmeans._core.sample import sample_pixels
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import kmeans_palette
from napari_kmeans._core import fitting
from napari_kmeans._core.arguments import checked_layout
from napari_kmeans._core.fitting import (
    FitOptions,
    Model,
    fit_curve,
    fit_fewest,
    fit_palette,
)


def sample(values, n_channels=1, alpha=False):
    image = np.array(values, np.uint8).reshape(1, -1, n_channels)
    return sample_pixels([image], [None], checked_layout(image, -1, "rgb", alpha))


def options(k, iters=10, init="auto", fixed=(), n_channels=1):
    fixed = np.array(fixed, np.uint8).reshape(-1, n_channels)
    rng = np.random.default_rng(0)
    if not isinstance(init, str):
        init = np.array(init).reshape(-1, n_channels)
    return FitOptions(k, iters, init, rng, None, fixed)


def test_a_sample_of_few_colors_is_not_fitted():
    model = fit_palette(sample([9, 9, 5, 0]), options(4, fixed=[7]))

    assert_array_equal(model.palette[:, 0], [0, 5, 7, 9])
    assert_array_equal(model.counts, [1, 1, 0, 2])
    assert model.centers is None
    assert model.labels is None
    assert model.mse == 0


def test_labels_are_those_of_the_counted_colors():
    model = fit_palette(sample([9, 9, 10, 0, 1]), options(2))

    # 0 and 1 average to 0.5, which rounds to even; 9, 9 and 10 to 9.
    assert_array_equal(model.palette[:, 0], [0, 9])
    assert_array_equal(model.labels, [0, 0, 1, 1])
    assert_array_equal(model.counts, [2, 3])
    assert_allclose(model.centers[:, 0], [0.5, 28 / 3])


def test_fixed_colors_take_the_places_of_the_nearest_centers():
    model = fit_palette(sample([0, 50, 200, 90]), options(3, 0, [0, 100, 210], [205]))

    assert_array_equal(model.palette[:, 0], [0, 100, 205])
    assert_array_equal(model.centers[:, 0], [0, 100])


@pytest.mark.parametrize("init", ["auto", "thorough"])
def test_fixed_colors_are_no_worse_than_their_places_left_empty(init):
    photo = skimage.data.chelsea()[::4, ::4]
    fixed = [[255, 0, 255], [0, 255, 0], [0, 0, 0]]

    beside = kmeans_palette(photo, 8, init=init, fixed=fixed).mse

    alone = kmeans_palette(photo, 5, init=init).mse
    assert beside <= alone


def test_fixed_colors_far_from_all_pixels_leave_the_others_to_be_fitted():
    # Between two fixed colors the others still are means.
    model = fit_palette(sample([100, 102, 110, 112]), options(4, 9, fixed=[0, 255]))

    assert_array_equal(model.palette[:, 0], [0, 101, 111, 255])
    assert_array_equal(model.counts, [0, 2, 2, 0])


def test_colors_that_round_to_one_make_room_for_the_largest_errors():
    start = [10.1, 10.2, 10.3, 200]
    model = fit_palette(sample([9, 10, 11, 90, 200, 201]), options(4, 0, start))

    # Without iterations the initial palette stays as it is.
    assert_array_equal(model.palette[:, 0], [10, 200])
    model = fit_palette(sample([9, 10, 11, 90, 200, 201]), options(4, 1, start))
    assert len(model.palette) == 4
    assert (model.counts > 0).all()


def test_initial_colors_that_nothing_is_nearest_to_stay_without_iterations():
    model = fit_palette(sample([0, 1, 2, 3]), options(3, 0, [0, 3, 250]))

    assert_array_equal(model.palette[:, 0], [0, 3, 250])
    assert_array_equal(model.counts, [2, 2, 0])


def test_colors_that_squares_cannot_tell_apart_have_no_entries_of_their_own():
    # As points, all but the last are the same.
    image = np.array([0.0, 1e-200, 2e-200, 3e-200, 1.0])

    result = kmeans_palette(image, 4, channel_axis=None)

    assert (result.counts > 0).all()
    assert result.counts.sum() == 5


def test_what_is_transparent_is_fitted_around():
    # Opacities 2 and 4 are nearer to nothing than to opaque.
    pixels = [[0, 0], [90, 2], [90, 4], [90, 255], [94, 255], [200, 255]]
    model = fit_palette(sample(pixels, 2, alpha=True), options(3, n_channels=2))

    assert_array_equal(model.palette, [[0, 0], [92, 255], [200, 255]])
    assert_array_equal(model.counts, [2, 2, 1])


@pytest.mark.parametrize("fixed", [[], [128], [0, 40]])
def test_the_error_reported_is_about_the_centers_also_about_fixed_ones(fixed):
    values = np.random.default_rng(6).integers(0, 256, 60).astype(np.uint8)
    states = []
    centers = np.sort(np.concatenate((fixed, [11.0, 77, 201])))

    kmeans_palette(
        values, len(centers), 6, channel_axis=None, init=centers, fixed=fixed or None,
        callback=states.append,
    )  # fmt: skip

    assert len(states) > 1
    for old, new in itertools.pairwise(states):
        # Labels are those of the centers before.
        labels = np.abs(values[:, np.newaxis] - old.centers).argmin(axis=1)
        expected = np.square(values - new.centers[labels]).mean()
        assert_allclose(new.mse, expected, rtol=1e-9)


def test_the_curve_is_that_of_single_fits_which_start_from_the_last():
    found = sample(np.arange(0, 250, 7) ** 2 % 251)

    errors = fit_curve(found, options(1), [1, 3, 8, 36])

    first = fit_palette(found, options(1))
    second = fit_palette(found, options(3), first.centers)
    assert errors[:2] == [first.mse, second.mse]
    assert errors[-1] == 0
    assert fit_curve(found, options(1), []) == []


def test_the_curve_finds_a_place_for_what_is_transparent():
    pixels = [[0, 0], [9, 255], [20, 255], [90, 255], [210, 255]]
    found = sample(pixels, 2, alpha=True)

    errors = fit_curve(found, options(1, n_channels=2), [1, 2, 3, 4, 5])

    assert errors[0] == errors[1] > errors[2] > errors[3] > errors[4] == 0


def fewest(errors, most, first=1):
    """Search in errors for 1, 2, ... colors; give what is found, and what was tried."""
    tried = []

    def fit(_, options):
        tried.append(options.k)
        return Model(None, None, errors[options.k - 1], options.k, True, None, None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit_palette", fit)
        model = fit_fewest(None, options(first), most, len(errors))
    return (None if model is None else model.n_iter), tried


@given(
    errors=st.lists(st.just(0.0) | st.floats(0, 1e9), min_size=1, max_size=99),
    most=st.just(0.0) | st.floats(0, 1e9) | st.just(np.inf),
    data=st.data(),
)
def test_the_number_found_is_enough_and_one_less_is_not(errors, most, data):
    first = data.draw(st.integers(1, len(errors)))

    found, tried = fewest(errors, most, first)

    if found is None:
        assert errors[-1] > most
    else:
        assert errors[found - 1] <= most
        assert found == first or errors[found - 2] > most
    assert len(set(tried)) == len(tried) <= 3 * len(errors).bit_length()


@pytest.mark.parametrize("wanted", [30, 300, 3000, 30_000])
@pytest.mark.parametrize("noise", [0, 1e-3])
def test_a_power_of_the_number_of_colors_takes_few_trials(wanted, noise):
    ks = np.arange(1, 65_537)
    errors = 1e4 * ks**-0.8 * (1 + ks**-0.5)

    for seed in range(5):
        factors = np.random.default_rng(seed).normal(1, noise, len(ks))
        found, tried = fewest(errors * factors, errors[wanted - 1])

        assert found == pytest.approx(wanted, rel=10 * noise, abs=1)
        assert len(tried) <= wanted.bit_length() + 3
        assert max(tried) <= 1.3 * wanted


@pytest.mark.parametrize("wanted", [30, 300, 3000, 30_000])
@pytest.mark.parametrize("left", [0, 0.9])
@pytest.mark.parametrize("power", [0, -1e-3])
def test_a_sudden_fall_takes_at_most_three_trials_for_each_bit(wanted, left, power):
    ks = np.arange(1.0, 65_537)
    errors = np.where(ks < wanted, 1e4 * ks**power, left)

    found, tried = fewest(errors, 1)

    assert found == wanted
    assert len(tried) <= 3 * wanted.bit_length()
