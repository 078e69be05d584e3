"""A click counts the colors of each image once, whatever it asks for."""

import sys

import numpy as np
import pytest
from napari.layers import Image

from napari_kmeans import map_to_palette, quantize_layer
from napari_kmeans._core import color_counts
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.writer import file_size

PHOTO = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
MASK = PHOTO[..., 0] > 99


@pytest.fixture
def counted(monkeypatch):
    """Give a list that grows with each count."""
    count_pixels, calls = color_counts.count_pixels, []

    def counting(*arguments, **keywords):
        calls.append(1)
        return count_pixels(*arguments, **keywords)

    for name, module in list(sys.modules.items()):
        is_own = name.startswith("napari_kmeans.")
        if is_own and getattr(module, "count_pixels", None) is count_pixels:
            monkeypatch.setattr(module, "count_pixels", counting)
    return calls


@pytest.mark.parametrize("output", ["image", "labels", "both"])
@pytest.mark.parametrize(
    ("settings", "n_counts"),
    [
        pytest.param({}, 1, id="fit"),
        pytest.param({"mask": MASK}, 1, id="mask"),
        pytest.param({"color_space": "lab", "dither": "ordered"}, 1, id="dithered"),
        pytest.param({"palette": PHOTO[0, :9]}, 1, id="given palette"),
        pytest.param({"fixed": PHOTO[0, :3], "recolored": {1: [1, 2, 3]}}, 1, id="own"),
    ],
)
def test_image_is_counted_once(counted, output, settings, n_counts):
    quantize_layer(Image(PHOTO, rgb=True), 5, output=output, **settings)
    assert len(counted) == n_counts


@pytest.mark.parametrize("output", ["image", "labels", "both"])
def test_slice_is_counted_once(counted, output):
    stack = np.stack([PHOTO, 255 - PHOTO, PHOTO // 2])
    quantize_layer(Image(stack, rgb=True), 5, output=output, slice_axis=0)
    assert len(counted) == 3


@pytest.mark.parametrize("output", ["image", "labels", "both"])
def test_level_is_counted_once(counted, output):
    levels = [PHOTO, PHOTO[::2, ::2]]
    quantize_layer(Image(levels, rgb=True, multiscale=True), 5, output=output)
    assert len(counted) == 2


def test_known_labels_spare_the_file_a_count(counted):
    (image,) = quantize_layer(Image(PHOTO, rgb=True), 5)
    labels = map_to_palette(PHOTO, record_of(image).palette) + 1
    described = image.as_layer_data_tuple()
    expected = file_size(*described)
    counted.clear()
    assert file_size(*described, labels) == expected
    assert counted == []
