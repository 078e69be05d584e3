from fractions import Fraction

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._files.conversions import converted
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.read import ImageFile


def of_8_bits(pixels, **fields):
    image = ImageFile(pixels, fields.pop("has_channels", False), **fields)
    return converted("a.png", image, depth=8, opacity_threshold=None)


def test_every_value_of_16_bits_is_rounded_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = of_8_bits(values).pixels
    assert found.dtype == np.uint8
    assert_array_equal(found, np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize("dtype", ["u4", "u8"])
def test_wider_integers_are_rounded_exactly(dtype):
    top = np.iinfo(dtype).max
    step = top // 255
    halves = [
        (n * step + step // 2 + more, n) for n in (0, 1, 77, 254) for more in (0, 1)
    ]
    values = np.array([[value for value, _ in halves] + [0, top]], dtype)
    expected = [round(Fraction(255 * int(value), top)) for value in values[0]]
    assert_array_equal(of_8_bits(values).pixels[0], expected)


def test_lazy_pixels_are_scaled_lazily():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = of_8_bits(da.from_array(values, chunks=99)).pixels
    assert isinstance(found, da.Array)
    assert_array_equal(found.compute(), of_8_bits(values).pixels)


def test_colors_without_opacity_of_8_bits_are_none():
    rgba = np.array([[[9000, 99, 7, 65535], [500, 9000, 700, 128]]], np.uint16)
    image = of_8_bits(rgba, has_channels=True, has_alpha=True)
    assert_array_equal(image.pixels, [[[35, 0, 0, 255], [0, 0, 0, 0]]])
    rgba[..., 3] = 65500
    image = of_8_bits(rgba, has_channels=True, has_alpha=True)
    assert image.pixels.shape == (1, 2, 3)
    assert not image.has_alpha


@pytest.mark.parametrize("dtype", ["f4", "i2", "?"])
def test_what_has_no_full_scale_is_refused(dtype):
    match = f"only unsigned integers are scaled to 8 bits, got {np.dtype(dtype)} pixels"
    with pytest.raises(ValueError, match=match):
        of_8_bits(np.zeros((2, 2), dtype))


def test_8_bits_stay_as_they_are():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert of_8_bits(values).pixels is values


@pytest.mark.parametrize("threshold", [1, 128, 255])
def test_opacity_is_all_or_nothing_from_the_threshold_on(threshold):
    rgba = np.full((1, 256, 4), 90, np.uint8)
    rgba[0, :, 3] = np.arange(256)
    rgba *= rgba[..., 3:] != 0
    image = ImageFile(rgba, True, True, ImageMetadata("YXS"))
    found = converted("a.gif", image, depth=None, opacity_threshold=threshold)
    opaque = np.arange(256) >= threshold
    assert_array_equal(found.pixels[0, :, 3], np.where(opaque, 255, 0))
    assert_array_equal(found.pixels[0, :, 0], np.where(opaque, 90, 0))
    assert_array_equal(rgba[0, :, 3], np.arange(256))
    all_soft = image._replace(pixels=rgba[:, 128:])
    found = converted("a.gif", all_soft, depth=None, opacity_threshold=128)
    assert found.pixels.shape == (1, 128, 3)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jpg"])
def test_a_threshold_is_for_formats_with_one_clear_color(name):
    image = ImageFile(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"is for .gif files, not for \.\w+ files"):
        converted(name, image, depth=None, opacity_threshold=9)
