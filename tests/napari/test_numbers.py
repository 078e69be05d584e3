import math

import numpy as np
import pytest
from napari.layers import Image

from napari_kmeans import kmeans_palette
from napari_kmeans._napari.layers import read_source
from napari_kmeans._napari.numbers import measure_outcome
from napari_kmeans._napari.quantize_layer import quantize_source
from napari_kmeans._napari.settings import Settings


def ignore(_):
    """Do nothing with what a computation reports."""


def numbers_of(image, k, *, rgb=False, channel_axis=None, **settings):
    source = read_source([Image(image, rgb=rgb)], channel_axis)
    outcome = quantize_source(source, Settings(k=k, **settings), ignore)
    return measure_outcome(source, outcome, {}, ignore)


def test_error_is_that_of_the_core():
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    numbers = numbers_of(image, 5, rgb=True)
    assert numbers.mse == pytest.approx(kmeans_palette(image, 5).mse)
    assert numbers.colors_before == len(np.unique(image.reshape(-1, 3), axis=0))
    assert numbers.colors_after == 5


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 10)]
)
def test_psnr_is_relative_to_the_range(dtype, top):
    # 0 and 2 become 1, and 10 stays: one of squared error for two of three pixels.
    numbers = numbers_of(np.array([[0, 2, 10]], dtype=dtype), 2)
    assert numbers.mse == pytest.approx(2 / 3)
    assert numbers.psnr == pytest.approx(10 * math.log10(top**2 / (2 / 3)))


def test_channels_share_the_error():
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    numbers = numbers_of(image, 5, rgb=True)
    expected = 10 * math.log10(255**2 / (numbers.mse / 3))
    assert numbers.psnr == pytest.approx(expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channels_of_any_axis_have_the_same_numbers(axis):
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    expected = numbers_of(image, 5, channel_axis=2, output="labels")
    moved = np.moveaxis(image, 2, axis)
    numbers = numbers_of(moved, 5, channel_axis=axis, output="labels")
    # Labels of any are a plane of 50 by 40 pixels, which a PNG file takes.
    assert numbers == expected
    assert numbers.file[0] == "PNG"


def test_lossless_has_no_limit():
    numbers = numbers_of(np.array([[0, 9]], dtype=np.uint8), 2)
    assert numbers.mse == 0
    assert "PSNR: ∞ dB" in str(numbers)


def test_pixels_that_are_not_finite_do_not_count():
    image = np.array([[0, 1, np.nan, 1]], dtype=np.float32)
    assert numbers_of(image, 2).mse == 0


def test_numbers_are_worded():
    image = np.arange(2000, dtype=np.uint16).reshape(40, 50)
    lines = str(numbers_of(image, 7)).splitlines()
    assert lines[0] == "Colors: 2,000 → 7"
    assert lines[1].startswith("Squared error of the result: ")
    assert lines[2].startswith("PSNR: ")


def test_error_of_opacity_is_that_of_the_core():
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 4), dtype=np.uint8)
    image[..., 3] |= 128
    image[:9, :, 3] = 0
    expected = kmeans_palette(image, 5, alpha=True).mse
    assert numbers_of(image, 5, rgb=True).mse == pytest.approx(expected)
