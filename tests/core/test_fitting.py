import dataclasses
import itertools

import numpy as np
import pytest
import skimage.data
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import kmeans_palette
from napari_kmeans._core import fitting
from napari_kmeans._core.counted_image import count_image, curve_of, fit_image
from napari_kmeans._core.fitting import FitOptions, fit_source, prepared_image


def counted(values, n_channels=1, alpha=False):
    image = np.array(values, np.uint8).reshape(1, -1, n_channels)
    return count_image(image, alpha=alpha, with_outside=False)


def fit_palette(image, options):
    return fitting.fit_palette(fitting.fit_source(image), options)


def options(k, iters=10, init="auto", fixed=(), n_channels=1):
    fixed = np.array(fixed, np.uint8).reshape(-1, n_channels)
    rng = np.random.default_rng(0)
    if not isinstance(init, str):
        init = np.array(init).reshape(-1, n_channels)
    return FitOptions(k, iters, init, rng, None, fixed)


def test_an_image_of_few_colors_is_not_fitted():
    fitted = fit_palette(counted([9, 9, 5, 0]), options(4, fixed=[7]))

    assert_array_equal(fitted.result.palette[:, 0], [0, 5, 7, 9])
    assert_array_equal(fitted.result.counts, [1, 1, 0, 2])
    assert fitted.is_lossless
    assert_array_equal(fitted.labels, [0, 1, 3])
    assert fitted.result.mse == 0


def test_labels_are_those_of_the_counted_colors():
    fitted = fit_palette(counted([9, 9, 10, 0, 1]), options(2))

    # 0 and 1 average to 0.5, which rounds to even; 9, 9 and 10 to 9.
    assert_array_equal(fitted.result.palette[:, 0], [0, 9])
    assert_array_equal(fitted.labels, [0, 0, 1, 1])
    assert_array_equal(fitted.result.counts, [2, 3])
    assert not fitted.is_lossless


def test_fixed_colors_take_the_places_of_the_nearest_centers():
    fitted = fit_palette(counted([0, 50, 200, 90]), options(3, 0, [0, 100, 210], [205]))

    assert_array_equal(fitted.result.palette[:, 0], [0, 100, 205])


@pytest.mark.parametrize("init", ["auto", "thorough"])
def test_fixed_colors_are_no_worse_than_their_places_left_empty(init):
    photo = skimage.data.chelsea()[::4, ::4]
    fixed = [[255, 0, 255], [0, 255, 0], [0, 0, 0]]

    beside = kmeans_palette(photo, 8, init=init, fixed=fixed).mse

    alone = kmeans_palette(photo, 5, init=init).mse
    assert beside <= alone


def test_fixed_colors_far_from_all_pixels_leave_the_others_to_be_fitted():
    # Between two fixed colors the others still are means.
    fitted = fit_palette(counted([100, 102, 110, 112]), options(4, 9, fixed=[0, 255]))

    assert_array_equal(fitted.result.palette[:, 0], [0, 101, 111, 255])
    assert_array_equal(fitted.result.counts, [0, 2, 2, 0])


def test_colors_that_round_to_one_make_room_for_the_largest_errors():
    start = [10.1, 10.2, 10.3, 200]
    fitted = fit_palette(counted([9, 10, 11, 90, 200, 201]), options(4, 0, start))

    # Without iterations the initial palette stays as it is.
    assert_array_equal(fitted.result.palette[:, 0], [10, 200])
    fitted = fit_palette(counted([9, 10, 11, 90, 200, 201]), options(4, 1, start))
    assert len(fitted.result.palette) == 4
    assert (fitted.result.counts > 0).all()


def test_initial_colors_that_nothing_is_nearest_to_stay_without_iterations():
    fitted = fit_palette(counted([0, 1, 2, 3]), options(3, 0, [0, 3, 250]))

    assert_array_equal(fitted.result.palette[:, 0], [0, 3, 250])
    assert_array_equal(fitted.result.counts, [2, 2, 0])


def test_colors_that_squares_cannot_tell_apart_have_no_entries_of_their_own():
    # As points, all but the last are the same.
    image = np.array([0.0, 1e-200, 2e-200, 3e-200, 1.0])

    result = kmeans_palette(image, 4, channel_axis=None)

    assert (result.counts > 0).all()
    assert result.counts.sum() == 5


def test_what_is_transparent_is_fitted_around():
    # Opacities 2 and 4 are nearer to nothing than to opaque.
    pixels = [[0, 0], [90, 2], [90, 4], [90, 255], [94, 255], [200, 255]]
    fitted = fit_palette(counted(pixels, 2, alpha=True), options(3, n_channels=2))

    assert_array_equal(fitted.result.palette, [[0, 0], [92, 255], [200, 255]])
    assert_array_equal(fitted.result.counts, [2, 2, 1])


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


def test_the_curve_finds_a_place_for_what_is_transparent():
    pixels = [[0, 0], [9, 255], [20, 255], [90, 255], [210, 255]]
    found = counted(pixels, 2, alpha=True)

    errors = curve_of(found, [1, 2, 3, 4, 5])

    assert errors[0] == errors[1] > errors[2] > errors[3] > errors[4] == 0


@pytest.mark.parametrize("dtype", ["u4", "u8", "f4"])
def test_the_error_that_a_callback_gets_is_not_negative(dtype):
    # Two clumps, which are many million times as far apart as they are wide.
    rng = np.random.default_rng(0)
    white = 1.0 if dtype == "f4" else float(np.iinfo(dtype).max)
    share = rng.integers(0, 9, (9, 9, 2)) * 2.0**-30 + rng.integers(0, 2, (9, 9, 1)) / 2
    image = (np.maximum(share, 2.0**-30) * white).astype(dtype)
    errors = []

    def note(state):
        errors.append(state.mse)

    for alpha in (False, True):
        how = {"alpha": alpha, "init": "random", "rng": 1}
        kmeans_palette(image, 3, 3, **how, callback=note)

    assert errors
    assert min(errors) >= 0


@pytest.mark.parametrize("tail", ["log-normal", "Cauchy"])
def test_a_search_is_better_than_draws_also_where_few_values_make_the_error(tail):
    # Too many values for the optimum, and most of the error is that of some hundred.
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(0, 2, 70_000))
    if tail == "Cauchy":
        values = rng.standard_cauchy(70_000)

    searched = kmeans_palette(values, 32, channel_axis=None)
    drawn = kmeans_palette(values, 32, channel_axis=None, init="k-means++", rng=0)

    assert searched.mse < drawn.mse


@pytest.mark.parametrize("most_in_cells", [1 << 22, 1], ids=["in cells", "in blocks"])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_errors_of_floats_too_many_to_count_are_those_of_the_centers(
    monkeypatch, n_channels, most_in_cells
):
    monkeypatch.setattr("napari_kmeans._core.color_counts.MAX_COUNTED", 1)
    monkeypatch.setattr("napari_kmeans._core.pixels._MOST_IN_CELLS", most_in_cells)
    image = np.random.default_rng(0).normal(size=(60, 50, n_channels))
    points, seen = image.reshape(-1, 1, n_channels), []

    kmeans_palette(image, 5, 4, init=image[0, :5], callback=seen.append)

    assert len(seen) == 4
    for state in seen:
        squares = np.square(points - state.centers).sum(axis=2).min(axis=1)
        # The points are still labeled by the centers before.
        assert squares.mean() <= state.mse * (1 + 1e-9)
    errors = [state.mse for state in seen]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1.1 * squares.mean()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_that_was_prepared_is_fitted_as_any_other(dtype):
    image = skimage.data.astronaut()[:40, :50].astype(dtype)
    image[3, 3] = 250
    counted = count_image(image)
    prepared = prepared_image(counted)
    for k in (1, 5, 30):
        one, other = fit_image(counted, k), fit_image(prepared, k)
        assert_array_equal(one.result.palette, other.result.palette)
        assert_array_equal(one.labels, other.labels)
        assert one.result.mse == other.result.mse
    assert fit_source(prepared) is prepared.source


def test_an_image_that_was_changed_is_prepared_anew():
    photo = skimage.data.astronaut()[:40, :50]
    prepared = prepared_image(count_image(photo))
    lab, dark = count_image(photo, -1, None, "lab"), count_image(photo // 2)
    for change in ({"layout": lab.layout}, {"counted": dark.counted}):
        changed = dataclasses.replace(prepared, **change)
        expected = lab if "layout" in change else dark
        palette = fit_image(expected, 5).result.palette
        assert_array_equal(fit_image(changed, 5).result.palette, palette)
