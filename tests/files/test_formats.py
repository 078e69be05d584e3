import io

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from napari_kmeans._files.formats import (
    INDEXED_SUFFIXES,
    Refused,
    check_pixel_limit,
    check_scans,
    format_of,
    image_suffixes,
    is_ome,
    palette_misfit,
    pixel_misfit,
    writable_suffixes,
)
from napari_kmeans._files.indexed import decode_indexed, encode_indexed
from napari_kmeans._files.read import ImageFile, decode_image
from napari_kmeans._files.write import encode_image


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize("suffix", sorted(writable_suffixes()))
def test_what_a_lossless_format_holds_comes_back(suffix, channels):
    form = format_of(f"a{suffix}")
    image = ImageFile(noise(8, 9, *channels), bool(channels), channels == (4,))
    n_channels = channels[0] if channels else 1
    misfit = pixel_misfit(form, 2, image.pixels.dtype, n_channels)
    is_clear = channels == (4,) and not form.has_clear_pixels
    assert misfit == ("opacity" if is_clear else None)
    if misfit or not form.is_lossless:
        return
    found = decode_image(encode_image(f"a{suffix}", image)).pixels
    if not channels and not form.has_gray:
        found = found[..., 0]
    opaque = image.pixels[..., 3:] > 0 if channels == (4,) else True
    assert_array_equal(found, np.where(opaque, image.pixels, 0))


@pytest.mark.parametrize("suffix", sorted(writable_suffixes() - {".gif"}))
def test_opacity_comes_back_or_is_refused(suffix):
    pixels = np.full((16, 16, 4), (200, 100, 50, 90), np.uint8)
    try:
        content = encode_image(f"a{suffix}", ImageFile(pixels, has_alpha=True))
    except ValueError as error:
        # Some formats hold no pixels of 8 bits at all.
        assert "does not fit into" in str(error)  # noqa: PT017
        return
    found = decode_image(content).pixels
    assert found.shape == pixels.shape
    assert np.abs(found[..., 3].astype(int) - 90).max() <= 2


@pytest.mark.parametrize("suffix", INDEXED_SUFFIXES)
def test_a_palette_of_the_most_colors_that_a_format_holds_comes_back(suffix):
    form = format_of(f"a{suffix}")
    palette = np.zeros((form.most_colors, 3), form.palette_dtypes[-1])
    palette[:, 0] = np.arange(len(palette)) % 256
    labels = np.array([[0, len(palette) - 1]], np.min_scalar_type(len(palette) - 1))
    found = decode_indexed(
        encode_indexed(f"a{suffix}", labels, palette, keep_order=True)
    )
    assert_array_equal(found.labels, labels)
    assert_array_equal(found.palette, palette)
    assert palette_misfit(form, 2, palette) is None
    assert (
        palette_misfit(form, 2, np.zeros((form.most_colors + 1, 3), "u1")) == "colors"
    )
    assert palette_misfit(form, 2, palette[:0]) == "colors"


@pytest.mark.parametrize(
    ("suffix", "n_axes", "dtype", "n_channels", "misfit"),
    [
        (".png", 2, "u1", 4, None),
        (".png", 3, "u1", 4, None),
        (".webp", 3, "u1", 4, None),
        (".webp", 4, "u1", 4, "axes"),
        (".gif", 3, "u1", 3, None),
        (".gif", 4, "u1", 3, "axes"),
        (".jpg", 2, "u2", 3, "dtype"),
        (".webp", 2, "u1", 2, "channels"),
        (".bmp", 2, "u1", 0, "channels"),
        (".tif", 6, "f8", 7, None),
        (".tga", 3, "u1", 3, "axes"),
        (".jpeg", 1, "u1", 1, "axes"),
    ],
)
def test_a_format_says_what_of_an_image_it_cannot_hold(
    suffix, n_axes, dtype, n_channels, misfit
):
    form = format_of(f"a{suffix}")
    assert pixel_misfit(form, n_axes, np.dtype(dtype), n_channels) == misfit


@pytest.mark.parametrize(
    ("suffix", "dtype", "opacities", "misfit"),
    [
        (".png", "u1", [0, 7, 255], None),
        (".gif", "u1", [255, 0, 255], None),
        (".gif", "u1", [255, 255], "opacity"),
        (".gif", "u1", [0, 0], "opacity"),
        (".gif", "u1", [0, 254], "opacity"),
        (".tif", "u1", [0, 255], "opacity"),
        (".png", "u2", [0, 255], "dtype"),
        (".jpg", "u1", [0, 255], "colors"),
    ],
)
def test_a_format_says_what_of_a_palette_it_cannot_hold(
    suffix, dtype, opacities, misfit
):
    palette = np.column_stack([np.zeros((len(opacities), 3)), opacities]).astype(dtype)
    assert palette_misfit(format_of(f"a{suffix}"), 2, palette) == misfit


def test_every_suffix_that_pillow_knows_has_a_format():
    for suffix in image_suffixes() | writable_suffixes():
        assert format_of(f"a.b{suffix.upper()}").name
    for name in ("a", "a.xyz", ".png"):
        assert format_of(name).name == ""
    assert format_of("a.jpe") is format_of("a.jpg")
    assert not {".pdf", ".ico", ".eps"} & (image_suffixes() | writable_suffixes())


@pytest.mark.parametrize("name", ["a.ome.tif", "a.OME.TIFF"])
def test_ome_files_are_tiff_files(name):
    assert is_ome(name)
    assert format_of(name).name == "TIFF"
    assert not is_ome("ome.tif")


def test_what_follows_a_jpeg_image_or_stands_in_its_segments_is_no_scan():
    # As the film behind the photo of a phone, and the notes of a camera.
    scans = b"\xff\xda\0\2\0" * 200
    content = io.BytesIO()
    image = Image.fromarray(noise(40, 40, 3))
    image.save(content, "JPEG", progressive=True, icc_profile=scans)
    check_scans(content.getvalue() + scans)

    content.seek(0)
    image.save(content, "JPEG", restart_marker_rows=1)
    start = content.getvalue().index(b"\xff\xda")
    with pytest.raises(Refused, match="has 201 scans, of at most 100"):
        check_scans(content.getvalue()[:start] + scans + content.getvalue()[start:])


def test_only_a_file_that_is_large_itself_holds_more_pixels_than_the_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    check_pixel_limit((20, 100), 1)
    check_pixel_limit((30, 100), 60)
    with pytest.raises(
        Refused, match=r"too many pixels for a file of 59 bytes: \(30, "
    ):
        check_pixel_limit((30, 100), 59)
