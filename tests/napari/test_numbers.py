import math

import numpy as np
import pytest
from napari.layers import Image

from napari_kmeans import kmeans_palette, quantize_layer
from napari_kmeans._napari.numbers import file_text, numbers_text
from napari_kmeans._napari.record import Record, record_of
from napari_kmeans._napari.writer import file_size


def numbers_of(image, k, *, rgb=False, **settings):
    """Give what a result remembers of its error, and what is shown of it."""
    layer = Image(image, rgb=rgb)
    result = quantize_layer(layer, k, **settings)[0]
    record = record_of(result)
    return record, numbers_text(record)


def test_error_is_that_of_the_core():
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    record, text = numbers_of(image, 5, rgb=True)
    assert record.mse == pytest.approx(kmeans_palette(image, 5).mse)
    assert record.n_colors == len(np.unique(image.reshape(-1, 3), axis=0))
    assert text.startswith(f"Colors: {record.n_colors:,} → 5\n")


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 10)]
)
def test_psnr_is_relative_to_the_range(dtype, top):
    # 0 and 2 become 1, and 10 stays: one of squared error for two of three pixels.
    numbers, _ = numbers_of(np.array([[0, 2, 10]], dtype=dtype), 2)
    assert numbers.mse == pytest.approx(2 / 3)
    assert numbers.psnr == pytest.approx(10 * math.log10(top**2 / (2 / 3)))


def test_channels_share_the_error():
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    numbers, _ = numbers_of(image, 5, rgb=True)
    expected = 10 * math.log10(255**2 / (numbers.mse / 3))
    assert numbers.psnr == pytest.approx(expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channels_of_any_axis_have_the_same_numbers(axis):
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    _, expected = numbers_of(image, 5, channel_axis=2, output="labels")
    moved = np.moveaxis(image, 2, axis)
    _, text = numbers_of(moved, 5, channel_axis=axis, output="labels")
    assert text == expected


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_of_channels_of_any_axis_are_a_plane_that_a_png_file_takes(axis):
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    layer = Image(np.moveaxis(image, 2, axis), rgb=False)
    (labels,) = quantize_layer(layer, 5, channel_axis=axis, output="labels")
    file = file_size(*labels.as_layer_data_tuple())
    assert file[0] == "PNG"
    record = record_of(labels)
    share = file[1] / image.nbytes
    expected = f"File: {file[1]:,} bytes as PNG ({share:.1%} of the raw pixels)"
    assert file_text(record, file) == expected
    assert file_text(record, None) == "File: no palette file can hold it"


def test_lossless_has_no_limit():
    record, text = numbers_of(np.array([[0, 9]], dtype=np.uint8), 2)
    assert record.mse == 0
    assert "PSNR: ∞ dB" in text


def test_pixels_that_are_not_finite_do_not_count():
    image = np.array([[0, 1, np.nan, 1]], dtype=np.float32)
    assert numbers_of(image, 2)[0].mse == 0


def test_numbers_are_worded():
    image = np.arange(2000, dtype=np.uint16).reshape(40, 50)
    lines = numbers_of(image, 7)[-1].splitlines()
    assert lines[0] == "Colors: 2,000 → 7"
    assert lines[1].startswith("Squared error of the result: ")
    assert lines[2].startswith("PSNR: ")


def test_error_of_opacity_is_that_of_the_core():
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 4), dtype=np.uint8)
    image[..., 3] |= 128
    image[:9, :, 3] = 0
    expected = kmeans_palette(image, 5, alpha=True).mse
    assert numbers_of(image, 5, rgb=True)[0].mse == pytest.approx(expected)


def test_error_of_slices_is_that_of_all_their_pixels():
    image = np.random.default_rng(1).integers(0, 256, (3, 50, 40), dtype=np.uint8)
    image[1, :] //= 9
    layer = Image(image)
    (result,) = quantize_layer(layer, 3, slice_axis=0)
    record = record_of(result)
    difference = result.data.astype(float) - image
    assert record.mse == pytest.approx(np.square(difference).mean())
    assert record.psnr == pytest.approx(10 * math.log10(255**2 / record.mse))
    n_colors = len(np.unique(image))
    assert numbers_text(record).startswith(f"Colors: {n_colors} → 9\n")


def test_error_that_is_unknown_is_not_shown():
    record = Record(palette=np.zeros((1, 3)), counts=np.ones(1, int))
    assert numbers_text(record) == ""


@pytest.mark.parametrize("psnr", [math.inf, -math.inf])
def test_what_is_beyond_float64_is_not_taken_for_lossless(psnr):
    record = Record(np.zeros((2, 3)), np.ones(2, int), mse=1.0, psnr=psnr, n_bytes=9)
    assert "PSNR: unknown" in numbers_text(record)
    lossless = Record(np.zeros((2, 3)), np.ones(2, int), mse=0.0, psnr=math.inf)
    assert "PSNR: ∞ dB" in numbers_text(lossless)
