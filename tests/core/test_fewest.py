import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_kmeans._core import fewest as fewest_module
from napari_kmeans._core.fewest import fit_fewest
from napari_kmeans._core.fitting import FitOptions, FittedImage, PaletteResult

NO_COLORS = np.empty((0, 1), np.uint8)


def fewest(errors, most, first=1):
    """Search in errors for 1, 2, ... colors; return what was found, and tried."""
    tried = []

    def fit(_, options):
        tried.append(options.k)
        return FittedImage(
            PaletteResult(None, None, errors[options.k - 1], options.k, True)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fewest_module, "fit_palette", fit)
        patch.setattr(fewest_module, "fit_source", lambda _: None)
        options = FitOptions(first, 10, "auto", None, None, NO_COLORS)
        fitted = fit_fewest(None, options, most, len(errors))
    return (None if fitted is None else fitted.result.n_iter), tried


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
