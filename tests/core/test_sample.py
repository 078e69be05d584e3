import numpy as np
import pytest
from napari_kmeans._core.sample import sample_pixels
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import kmeans_palette, quantize_kmeans
from napari_kmeans._core import color_counts
from napari_kmeans._core.arguments import checked_layout


def sample(images, masks=None, alpha=False, space="rgb"):
    layout = checked_layout(images[0], -1, space, alpha)
    return sample_pixels(images, masks or [None] * len(images), layout)


def test_only_pixels_that_are_finite_seen_and_inside_are_counted():
    image = np.zeros((1, 6, 4), np.float32)
    image[0, :, 0] = [1, 2, 3, np.nan, 5, 1]
    image[0, :, 3] = [1, 0, 1, 1, -1, 1]
    mask = np.array([[True, True, False, True, True, True]])

    found = sample([image], [mask], alpha=True)

    assert_array_equal(found.fitted.counted.colors, [[1, 0, 0, 1]])
    assert_array_equal(found.fitted.counted.counts, [2])
    blocks = np.concatenate(list(found.fitted.blocks()))
    assert_array_equal(blocks, [[1, 0, 0, 1]] * 2)


def test_the_commonest_color_of_what_is_transparent_is_kept_the_first_on_a_tie():
    image = np.array([[[9, 0], [7, 0], [7, 0], [9, 0], [8, 0], [7, 255]]], np.uint8)

    assert_array_equal(sample([image], alpha=True).unseen, [[7, 0]])
    assert_array_equal(sample([image, image[:, :1]], alpha=True).unseen, [[9, 0]])
    assert sample([image]).unseen.shape == (0, 2)
    assert sample([image[:, 5:]], alpha=True).unseen.shape == (0, 2)


def test_nothing_is_fitted_where_nothing_is_seen():
    found = sample([np.zeros((2, 2, 4), np.uint8)], alpha=True)

    assert found.fitted is None
    assert_array_equal(found.unseen, [[0, 0, 0, 0]])


@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize("alpha", [False, True])
def test_too_many_colors_to_count_are_fitted_from_the_pixels(monkeypatch, dtype, alpha):
    rng = np.random.default_rng(8)
    share = rng.random((40, 50, 4)) ** 2
    share[:, :, 3] += 0.001
    share[:5, :, 3] = 0
    image = (share * (60000 if dtype == "u2" else 1)).astype(dtype)
    image[:5, :, :3] = image[0, 0, :3]
    images = [image[:17], image[17:]]
    masks = [np.arange(i.size // 4).reshape(i.shape[:2]) % 5 > 0 for i in images]
    how = {"mask": masks, "alpha": alpha, "init": image[10, :6]}
    expected = kmeans_palette(images, 6, 3, **how)

    monkeypatch.setattr(color_counts, "MAX_COUNTED", 1 << 10)
    found = sample(images, masks, alpha)
    result = kmeans_palette(images, 6, 3, **how)

    assert found.fitted.counted is None
    if alpha:
        assert_array_equal(found.unseen, image[:1, 0])
        assert sample([image[5:]], alpha=alpha).unseen.shape == (0, 4)
    assert_allclose(result.palette, expected.palette, rtol=1e-6)
    assert_array_equal(result.counts, expected.counts)
    assert_allclose(result.mse, expected.mse, rtol=1e-9)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_of_many_pixels_that_are_not_seen_the_first_are_counted(
    monkeypatch, is_transposed
):
    # Of the first 50 of them, more have the color 5 than 9; of all, fewer.
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    monkeypatch.setattr("napari_kmeans._core.sample._MOST_UNSEEN", 50)
    monkeypatch.setattr("napari_kmeans._core.sample._BLOCK", 7)
    image = np.random.default_rng(0).integers(1, 1 << 16, (40, 10, 4)).astype("u2")
    image[10:20] = 9
    image[12] = 5
    image[13, 5:] = 5
    image[14, 5:] = 5
    image[10:12, :6] = 5
    image[10:20, :, 3] = 0
    if is_transposed:
        image = np.asfortranarray(image)
    assert_array_equal(sample([image], alpha=True).unseen, [[5, 5, 5, 0]])
    monkeypatch.setattr("napari_kmeans._core.sample._MOST_UNSEEN", 1000)
    assert_array_equal(sample([image], alpha=True).unseen, [[9, 9, 9, 0]])


def test_an_image_without_a_finite_pixel():
    with pytest.raises(ValueError, match="image must have a finite pixel, got none"):
        sample([np.full((1, 1, 3), np.inf)])


@pytest.mark.parametrize(
    ("shape", "dtype", "switch"),
    [
        ((40, 30, 3), "u2", {}),
        ((40, 30, 4), "u1", {"alpha": True}),
        ((40, 30), "u2", {"channel_axis": None}),
    ],
)
def test_cells_of_pixels_are_only_quicker(monkeypatch, shape, dtype, switch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    top = np.iinfo(dtype).max
    image = np.random.default_rng(2).integers(0, top + 1, shape).astype(dtype)

    in_cells = kmeans_palette(image, 9, **switch)
    quantized = quantize_kmeans(image, 9, **switch)

    monkeypatch.setattr("napari_kmeans._core.sample._MOST_IN_CELLS", 0)
    in_blocks = kmeans_palette(image, 9, **switch)
    assert_array_equal(in_cells.palette, in_blocks.palette)
    assert_array_equal(in_cells.counts, in_blocks.counts)
    assert in_cells.mse == in_blocks.mse
    assert_array_equal(quantized, quantize_kmeans(image, 9, **switch))
