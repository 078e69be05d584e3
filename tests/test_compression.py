import numpy as np
import pytest
import skimage.data
from numpy.testing import assert_array_equal
from skimage.metrics import peak_signal_noise_ratio

from napari_kmeans import ImageMetadata, kmeans_palette, map_to_palette
from napari_kmeans._compression import (
    Recipe,
    compress,
    count_file,
    count_parts,
    errors_by_color,
    fit_counted,
    part_of,
    region_of,
    seen,
)
from napari_kmeans._core.counted_image import psnr_of
from napari_kmeans._core.quality import mean_squared_error
from napari_kmeans._files.png_rows import EFFORTS
from napari_kmeans._files.read import ImageFile, decode_image


def noise(*shape, dtype=np.uint8, seed=0):
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (np.random.default_rng(seed).random(shape) * top).astype(dtype)


def psnr(image, mse):
    return psnr_of(count_file(image), mse)


def error_of(image, pixels):
    """Squared error, as it is measured of files with losses."""
    n_channels = image.pixels.shape[-1] if image.has_channels else 1
    pair = [some.reshape(-1, n_channels) for some in (image.pixels, pixels)]
    return mean_squared_error([pair], image.has_alpha)


def shared_palette(images, recipe):
    """The palette of images, counted or read as if their colors were too many."""
    parts = [part_of(image) for image in images]
    streamed = [part._replace(counts=None) for part in parts]
    counted = fit_counted(count_parts(parts, None, recipe), recipe).result.palette
    read = count_parts(streamed, lambda: images, recipe)
    assert_array_equal(fit_counted(read, recipe).result.palette, counted)
    return counted


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(7, 8), (7, 8, 3), (2, 7, 8, 3)])
def test_psnr_is_that_of_scikit_image(dtype, shape):
    image = ImageFile(noise(*shape, dtype=dtype), has_channels=shape[-1] == 3)
    other = noise(*shape, dtype=dtype, seed=1)
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    expected = peak_signal_noise_ratio(image.pixels, other, data_range=peak)
    assert psnr(image, error_of(image, other)) == pytest.approx(expected)


@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("n_pixels", [10, 300_000])
def test_the_error_is_that_of_the_palette(has_alpha, n_pixels):
    image = ImageFile(noise(1, n_pixels, 4) // 64 * 64, has_alpha=has_alpha)
    fit = kmeans_palette(image.pixels, 5, alpha=has_alpha)
    labels = map_to_palette(image.pixels, fit.palette, alpha=has_alpha)
    error = error_of(image, fit.palette[labels])
    assert error == pytest.approx(fit.mse)


def test_pixels_that_are_not_finite_have_no_error():
    before = np.array([[0, np.nan, np.inf, 3]], np.float32)
    after = np.array([[1, np.nan, np.inf, 3]], np.float32)
    image = ImageFile(before, has_channels=False)
    assert error_of(image, after) == 0.5


def test_what_is_lossless_has_an_infinite_psnr():
    image = ImageFile(noise(3, 4, 3))
    assert psnr(image, error_of(image, image.pixels)) == np.inf


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.webp", "a.bmp"])
def test_a_file_without_loss_is_read_as_it_is_told(name):
    done = compress(ImageFile(noise(30, 40, 3)), name, Recipe(5))
    found = decode_image(done.content).pixels
    assert_array_equal(found, seen(done))
    assert done.n_colors == len(done.mapped.palette) == 5
    assert done.mapped.counts.sum() == 30 * 40


def test_a_file_with_losses_is_told_as_it_is_read():
    image = ImageFile(noise(30, 40, 3))
    done = compress(image, "a.jpg", Recipe(5))
    assert_array_equal(decode_image(done.content).pixels, seen(done))
    assert done.n_colors > 5
    assert done.mse == error_of(image, seen(done))


@pytest.mark.parametrize(
    ("photo", "name", "share"),
    [
        ("astronaut", "a.png", 0.3),
        ("astronaut", "a.gif", 0.8),
        ("astronaut", "a.jpg", 0.3),
        ("chelsea", "a.png", 0.8),
        ("chelsea", "a.gif", 0.3),
        ("chelsea", "a.jpg", 0.8),
        ("coffee", "a.png", 0.3),
        ("coffee", "a.gif", 0.8),
        ("coffee", "a.jpg", 0.3),
    ],
)
def test_a_file_takes_no_more_than_allowed_and_with_one_color_more_it_would(
    photo, name, share
):
    image = ImageFile(getattr(skimage.data, photo)()[::14, ::14].copy())
    least, most = (len(compress(image, name, Recipe(k)).content) for k in (2, 32))
    limit = round(least + share * (most - least))

    done = compress(image, name, Recipe(32, max_bytes=limit))
    more = compress(image, name, Recipe(len(done.mapped.palette) + 1))

    assert len(done.content) <= limit < len(more.content)


@pytest.mark.parametrize("effort", EFFORTS)
def test_at_every_effort_a_file_takes_no_more_than_allowed(effort):
    image = ImageFile(skimage.data.coffee()[::2, ::2].copy())
    done = compress(image, "a.png", Recipe(32, max_bytes=15_000, effort=effort))
    assert len(done.content) <= 15_000
    assert_array_equal(decode_image(done.content).pixels, seen(done))


def test_the_stages_of_a_compression_are_told_as_they_begin():
    steps = []
    compress(ImageFile(noise(9, 9, 3)), "a.png", Recipe(2), step=steps.append)
    assert steps == ["counting", "fitting", "mapping", "compressing"]


@pytest.mark.parametrize("name", ["a.avif", "a.jpg", "a.webp", "a.jp2"])
@pytest.mark.parametrize("n_channels", [(), (3,)])
def test_gray_and_colors_are_written_to_formats_that_have_no_gray(name, n_channels):
    image = ImageFile(noise(16, 16, *n_channels) // 200 * 200, bool(n_channels))
    done = compress(image, name, Recipe(2))
    assert seen(done).shape == image.pixels.shape
    assert done.psnr > 8


def test_gray_levels_of_tiff_stay_values_and_colors_become_indices():
    gray = compress(ImageFile(noise(9, 9), False), "a.tif", Recipe(4))
    assert not decode_image(gray.content).has_channels
    deep = ImageFile(noise(9, 9, 3, dtype=np.uint16))
    content = compress(deep, "a.tif", Recipe(4)).content
    fit = kmeans_palette(deep.pixels, 4)
    expected = fit.palette[map_to_palette(deep.pixels, fit.palette)]
    assert_array_equal(decode_image(content).pixels, expected, strict=True)
    assert len(content) < len(compress(deep, "a.tif", Recipe(300)).content)


def test_images_that_share_a_palette_may_differ_in_channels():
    gray, rgb, rgba = noise(5, 5), noise(6, 5, 3), noise(7, 5, 4)
    rgba[..., 3] |= 128
    images = [ImageFile(gray, False), ImageFile(rgb), ImageFile(rgba, has_alpha=True)]
    palette = shared_palette(images, Recipe(6))
    assert palette.shape == (6, 4)
    for image in images:
        done = compress(image, "a.png", Recipe(), palette=palette)
        assert seen(done).shape == (*image.pixels.shape[:2], 4)
        assert done.mse < 20_000
        assert done.psnr == psnr(done.image, done.mse)


def test_images_of_one_kind_share_a_palette():
    gray, rgb, rgba = noise(5, 5), noise(6, 5, 3), noise(7, 5, 4)
    alike = [ImageFile(gray, False), ImageFile(rgb), ImageFile(rgba, has_alpha=True)]
    assert {part_of(image).kind for image in alike} == {"uint8"}
    assert part_of(ImageFile(noise(5, 5, 2))).kind == "2-channel uint8"
    assert part_of(ImageFile(noise(5, 5, 3, dtype=np.uint16))).kind == "uint16"


def test_what_cannot_be_seen_stays_so_in_a_palette_without_a_color_for_it():
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[0, 0] = 0
    palette = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    image = ImageFile(pixels, has_alpha=True)
    for given in (palette, np.insert(palette, 3, 255, axis=1)):
        done = compress(image, "a.png", Recipe(), palette=given)
        assert_array_equal(seen(done), pixels)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_gray_profile_is_kept_only_in_gray_files(name):
    profile = bytes(16) + b"GRAY" + bytes(108)
    metadata = ImageMetadata("YX", icc_profile=profile)
    image = ImageFile(noise(5, 5), False, metadata=metadata)
    done = compress(image, name, Recipe())
    found = decode_image(done.content).metadata.icc_profile
    assert found == (None if name == "a.png" else profile)


def test_half_transparent_colors_are_refused_in_a_gif_file():
    image = ImageFile(noise(5, 5, 4), has_alpha=True)
    with pytest.raises(ValueError, match="half-transparent colors do not fit"):
        compress(image, "a.gif", Recipe())


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_colors_that_no_pixel_has_leave_room_for_those_that_pixels_have(name):
    pixels = np.full((4, 40, 4), 255, np.uint8)
    pixels[..., 0] = np.arange(40) * 5
    pixels[0, 0] = 0
    levels = np.arange(256, dtype=np.uint8)
    palette = np.column_stack([levels, np.full((256, 2), 255, np.uint8)])
    done = compress(ImageFile(pixels, has_alpha=True), name, Recipe(), palette=palette)
    assert_array_equal(seen(done), pixels)
    assert_array_equal(decode_image(done.content).pixels, pixels)
    # Half-transparent colors of the palette are no reason either, if unused.
    wide = np.insert(palette, 3, 255, axis=1)
    wide = np.concatenate([wide, [[9, 9, 9, 128]] * 50]).astype(np.uint8)
    done = compress(ImageFile(pixels, has_alpha=True), name, Recipe(), palette=wide)
    assert_array_equal(decode_image(done.content).pixels, pixels)


def test_more_colors_than_a_format_holds_are_refused_if_pixels_have_them():
    pixels = np.arange(1024, dtype=np.uint8).reshape(1, 256, 4) | 1
    pixels = np.concatenate([pixels, np.zeros((1, 256, 4), np.uint8)])
    pixels[0, :, 0] = np.arange(256)
    image = ImageFile(pixels, has_alpha=True)
    with pytest.raises(ValueError, match="257 colors do not fit into"):
        compress(image, "a.png", Recipe(), palette=pixels[0])


@pytest.mark.parametrize("name", ["a.bmp", "a.ppm", "a.jpg"])
def test_opacity_is_refused_where_it_would_be_lost(name):
    image = ImageFile(noise(9, 9, 4) | 1, has_alpha=True)
    with pytest.raises(ValueError, match=r"opacity does not fit .* choose \.png"):
        compress(image, name, Recipe())


def test_a_film_keeps_its_time_and_its_plays():
    metadata = ImageMetadata("TYXS", durations=(0.033,) * 30, plays=3)
    image = ImageFile(noise(30, 5, 5, 3), metadata=metadata)
    done = compress(image, "a.gif", Recipe(4))
    found = decode_image(done.content).metadata
    assert sum(found.durations) == pytest.approx(0.99)
    assert found.plays == 3


def test_channels_of_a_palette_must_be_those_of_the_image():
    image = ImageFile(noise(5, 5, 2))
    with pytest.raises(ValueError, match="palette of 3 channels does not fit"):
        compress(image, "a.tif", Recipe(), palette=np.zeros((2, 3), np.uint8))


def test_images_in_gray_share_a_palette_without_channels():
    images = [ImageFile(noise(5, 5, seed=seed), False) for seed in range(2)]
    assert shared_palette(images, Recipe(6)).shape == (6,)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colors_that_are_counted_already_make_the_same_file(dtype):
    palette = noise(6, 4, dtype=dtype) | 128
    for image in (
        ImageFile(noise(9, 8, dtype=dtype), False),
        ImageFile(noise(9, 8, 3, dtype=dtype)),
        ImageFile(noise(9, 8, 4, dtype=dtype) | 1, has_alpha=True),
    ):
        counts = part_of(image).counts
        done = compress(image, "a.tif", Recipe(), palette=palette)
        again = compress(image, "a.tif", Recipe(), palette=palette, counts=counts)
        assert again.content == done.content
        assert again.n_colors_before == done.n_colors_before
        assert again.mse == pytest.approx(done.mse)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("dither", [None, "ordered"])
def test_a_mask_says_what_is_fitted_and_all_is_mapped_and_measured(dtype, dither):
    image = ImageFile(noise(20, 30, 3, dtype=dtype))
    mask = np.zeros((20, 30), bool)
    mask[3:9, 5:20] = True
    done = compress(image, "a.tif", Recipe(5, dither=dither), mask=mask)
    fit = kmeans_palette(image.pixels, 5, mask=mask)
    assert_array_equal(done.mapped.palette, fit.palette)
    assert done.fit.mse == fit.mse
    assert_array_equal(
        done.mapped.labels, map_to_palette(image.pixels, fit.palette, dither=dither)
    )
    assert done.mapped.counts.sum() == 20 * 30
    assert done.mse == pytest.approx(error_of(image, seen(done)))
    assert done.n_colors_before == count_file(image).n_colors


def test_images_with_too_many_colors_to_count_are_read_under_the_mask():
    images = [ImageFile(noise(6, 5, 3)), ImageFile(noise(6, 5), False)]
    mask = noise(6, 5, seed=2) > 99
    parts = [part_of(image, mask) for image in images]
    streamed = [part._replace(counts=None) for part in parts]
    found = [
        fit_counted(count_parts(some, lambda: images, Recipe(4), mask), Recipe(4))
        for some in (parts, streamed)
    ]
    assert_array_equal(found[0].result.palette, found[1].result.palette)
    assert found[0].result.counts.sum() == 2 * mask.sum()


def test_a_mask_of_planes_is_one_of_each_plane():
    stack = ImageFile(noise(3, 6, 5, 3))
    plane = noise(6, 5, seed=2) > 99
    assert_array_equal(region_of(plane, stack), np.stack([plane] * 3))
    assert_array_equal(region_of(np.stack([plane] * 3), stack)[1], plane)
    with pytest.raises(ValueError, match=r"mask of shape \(5, 6\) does not fit an im"):
        region_of(plane.T, stack)


@pytest.mark.parametrize("dither", [None, "floyd-steinberg"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_errors_of_colors_are_those_of_their_pixels(dither, dtype, n_channels):
    pixels = noise(30, 40, n_channels, dtype=dtype)
    pixels[..., -1] += pixels[..., -1] == 0
    image = ImageFile(pixels, has_alpha=n_channels == 4)
    recipe = Recipe(5, dither=dither)
    done = compress(image, "a.tif", recipe)
    errors, after = errors_by_color(done, recipe), seen(done)
    for label, error in enumerate(errors):
        where = done.mapped.labels == label
        pair = ImageFile(pixels[where], has_alpha=n_channels == 4), after[where]
        assert error == pytest.approx(error_of(*pair))
    total = np.average(errors, weights=done.mapped.counts)
    assert total == pytest.approx(done.mse)


def test_weights_of_channels_reach_the_fit_and_the_map():
    image = ImageFile(noise(30, 40, 3) // [1, 9, 1])
    for weights in ("std", (1.0, 9.0, 2.0)):
        done = compress(image, "a.tif", Recipe(5, channel_weights=weights))
        fit = kmeans_palette(image.pixels, 5, channel_weights=weights)
        numbers = fit.channel_weights
        labels = map_to_palette(image.pixels, fit.palette, channel_weights=numbers)
        assert_array_equal(seen(done), fit.palette[labels])
        assert_array_equal(done.fit.channel_weights, numbers)


RED = np.array([[255, 0, 0, 255]], np.uint8)


@pytest.mark.parametrize(
    ("pixels", "fixed", "expected"),
    [
        (noise(9, 9, 3), RED, [255, 0, 0]),
        (noise(9, 9, 4) | 1, RED // 3, [85, 0, 0, 85]),
        (noise(9, 9), RED * 0 + 255, 255),
        (noise(9, 9), np.array([[7]]), 7),
        (noise(9, 9, 3, dtype=np.uint16), np.array([[7, 8, 65535]]), [7, 8, 65535]),
        (noise(9, 9, 3, dtype=np.float32), np.array([[0.5, 1, 0]]), [0.5, 1, 0]),
    ],
)
def test_fixed_colors_are_in_the_palette_with_the_channels_of_the_image(
    pixels, fixed, expected
):
    image = ImageFile(pixels, pixels.ndim == 3, pixels.shape[-1] == 4)
    done = compress(image, "a.tif", Recipe(4, fixed=fixed))
    assert len(done.mapped.palette) == 4
    assert expected in done.mapped.palette.tolist()


@pytest.mark.parametrize(
    ("pixels", "fixed", "rule"),
    [
        (noise(9, 9), RED, "gray for a gray image, got #ff0000"),
        (noise(9, 9, 3), RED // 3, "opaque for an image without opacity, got #5500005"),
        (noise(9, 9, 5), RED, "numbers, such as 0/0/0/0/0, for 5-channel uint8 pix"),
        (noise(9, 9, 3, dtype=np.uint16), RED, "numbers, such as 0/0/0, for 3-cha"),
        (noise(9, 9, 3), np.array([[7]]), "have 3 numbers for each color, got 7"),
        (noise(9, 9), np.array([[7.5]]), r"have colors that uint8 holds, got 7\.5"),
    ],
)
def test_fixed_colors_that_do_not_fit_an_image_are_refused(pixels, fixed, rule):
    image = ImageFile(pixels, pixels.ndim == 3)
    with pytest.raises(ValueError, match=f"fixed must (be )?{rule}"):
        compress(image, "a.tif", Recipe(4, fixed=fixed))


def test_a_file_takes_no_more_than_allowed_and_has_the_fixed_colors():
    image, fixed = ImageFile(noise(30, 40, 3)), np.array([[0, 0, 0], [255, 0, 0]])
    size = len(compress(image, "a.png", Recipe(9, fixed=fixed)).content)
    done = compress(image, "a.png", Recipe(9, fixed=fixed, max_bytes=size - 1))
    assert 2 <= len(done.mapped.palette) < 9
    with pytest.raises(ValueError, match=r"2 colors take [\d,]+ bytes, more than the"):
        compress(image, "a.png", Recipe(9, fixed=fixed, max_bytes=20))


def test_a_color_of_clear_pixels_alone_has_no_error():
    pixels = noise(9, 9, 4) | 128
    pixels[0] = 0
    done = compress(ImageFile(pixels, has_alpha=True), "a.png", Recipe(5))
    errors, is_clear = errors_by_color(done, Recipe(5)), done.mapped.palette[:, 3] == 0
    assert is_clear.sum() == 1
    assert_array_equal(np.isnan(errors), is_clear)
