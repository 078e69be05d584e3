import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from napari_kmeans import ImageMetadata, read_metadata
from napari_kmeans._files.read import ImageFile, read_image
from napari_kmeans._files.replace import replace_file
from napari_kmeans._files.write import check_fit, encode_image


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "AVIF"])
def test_resolution_is_carried_over(tmp_path, name):
    inch = ImageMetadata("YXS", (1 / 300, 1 / 150, 1.0), ("inch", "inch", "pixel"))
    colors = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    image = ImageFile(colors, metadata=inch)
    path = tmp_path / f"a.{name.lower()}"
    replace_file(path, encode_image(path.name, image))
    found = read_metadata(path)
    assert found.axes == "YXS"
    assert found.units[:2] == ("inch", "inch")
    assert found.scale[:2] == pytest.approx(inch.scale[:2], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "match"),
    [
        (
            "a.png",
            (2, 3, 4, 5, 3),
            np.uint8,
            r"stack of shape \(2, 3, 4, 5, 3\) does not fit",
        ),
        ("a.png", (4, 5, 3), np.uint16, "uint16 pixels do not fit into a .png file"),
        ("a.jpg", (4, 5, 2), np.uint8, "2-channel uint8 pixels do not fit"),
        ("a.gif", (2, 3, 4, 5, 3), np.uint8, "stack of shape .* into a .gif file"),
        ("a.xyz", (4, 5, 3), np.uint8, "suffix '.xyz' names no image format"),
        ("a", (4, 5, 3), np.uint8, "name without suffix names no image format"),
        ("a.pdf", (4, 5, 3), np.uint8, "suffix '.pdf' names no image format"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(name, shape, dtype, match):
    with pytest.raises(ValueError, match=match):
        check_fit(name, ImageFile(np.zeros(shape, dtype)))


def test_channels_of_a_microscope_are_no_colors_for_a_photo_format():
    pixels = np.zeros((4, 5, 3), np.uint8)
    check_fit("a.png", ImageFile(pixels, metadata=ImageMetadata("YXS")))
    with pytest.raises(ValueError, match="3-channel uint8 pixels do not fit"):
        check_fit("a.png", ImageFile(pixels, metadata=ImageMetadata("CYX")))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("n_channels", [2, 3, 4, 5])
@pytest.mark.parametrize("n_planes", [(), (6,)])
def test_colors_of_tiff_come_back_whatever_their_number(
    tmp_path, dtype, n_channels, n_planes
):
    shape = (*n_planes, 7, 8, n_channels)
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    replace_file(tmp_path / "a.tif", encode_image("a.tif", ImageFile(pixels)))
    found = read_image(tmp_path / "a.tif")
    assert_array_equal(found.pixels, pixels, strict=True)
    assert found.has_channels


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 5)])
def test_tiff_of_any_dtype_and_number_of_axes_comes_back(tmp_path, dtype, shape):
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = ImageFile(pixels, has_channels=False)
    for name in ("a.tif", "a.ome.tif"):
        replace_file(tmp_path / name, encode_image(name, image))
        found = read_image(tmp_path / name)
        assert_array_equal(found.pixels, pixels, strict=True)
        assert_array_equal(tifffile.imread(tmp_path / name), pixels)
        assert found.metadata.axes == "TZYX"[-len(shape) :]


def test_an_image_that_does_not_fit_is_not_encoded():
    with pytest.raises(ValueError, match=r"uint16 pixels do not fit into a \.png file"):
        encode_image("a.png", ImageFile(np.zeros((4, 5, 3), np.uint16)))


@pytest.mark.parametrize(
    ("name", "palette", "match"),
    [
        ("a.png", np.zeros((257, 3), "u1"), "257 colors do not fit into a .png file"),
        ("a.gif", np.full((2, 4), 9, "u1"), "half-transparent colors do not fit into"),
    ],
)
def test_a_palette_that_does_not_fit_is_refused(name, palette, match):
    n_channels = palette.shape[1]
    image = ImageFile(np.zeros((4, 5, n_channels), np.uint8), True, n_channels == 4)
    check_fit(name, image)
    with pytest.raises(ValueError, match=match):
        check_fit(name, image, palette)
    # These have no palette, or do without one.
    for other in ("a.tif", "a.webp"):
        check_fit(other, image, palette)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e30])
def test_a_resolution_that_a_format_has_no_number_for_is_left_out(tmp_path, name, size):
    sizes = ImageMetadata("YX", (size, size), ("nanometer", "nanometer"))
    image = ImageFile(np.zeros((4, 5), np.uint8), False, metadata=sizes)
    replace_file(tmp_path / name, encode_image(name, image))
    assert read_metadata(tmp_path / name).scale == ()


def test_the_largest_resolution_of_png_is_kept(tmp_path):
    # Pixels per meter are counted in 31 bits.
    name, most = "a.png", (1 << 31) - 1
    for per_meter, is_kept in ((most, True), (most + 1, False)):
        sizes = ImageMetadata("YX", (1 / per_meter,) * 2, ("meter", "meter"))
        image = ImageFile(np.zeros((4, 5), np.uint8), False, metadata=sizes)
        replace_file(tmp_path / name, encode_image(name, image))
        found = read_metadata(tmp_path / name).scale
        assert found == pytest.approx((1 / most / 0.0254,) * 2 if is_kept else ())


def test_the_largest_resolution_of_jpeg_is_kept(tmp_path):
    for per_inch, is_kept in ((65534, True), (65535, False)):
        sizes = ImageMetadata("YX", (1 / per_inch,) * 2, ("inch", "inch"))
        image = ImageFile(np.zeros((4, 5), np.uint8), False, metadata=sizes)
        replace_file(tmp_path / "a.jpg", encode_image("a.jpg", image))
        found = read_metadata(tmp_path / "a.jpg").scale
        assert found == pytest.approx((1 / per_inch,) * 2 if is_kept else ())
