import io
import struct

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageCms

from napari_kmeans._files.indexed import decode_indexed, encode_indexed
from napari_kmeans._files.read import decode_image, default_suffix
from napari_kmeans._files.write import encode_image

WHITE = {"u1": 255, "u2": 65535, "f4": 1.0}


def written(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def of_pillow(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", **options)
    return buffer.getvalue()


def noise(*shape, dtype="u1", least=1):
    levels = np.random.default_rng(0).integers(least, 251, shape)
    return (levels / 255 if dtype == "f4" else levels).astype(dtype)


def test_a_palette_that_was_written_here_has_its_own_colors_and_dtype():
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    # The file has 256 entries, and each value has two equal bytes.
    palette = np.array([[0, 0, 0], [257, 514, 771], [65535, 0, 257]], np.uint16)
    found = decode_indexed(encode_indexed("a.tif", labels, palette, keep_order=True))
    assert_array_equal(found.palette, palette)
    assert found.palette.dtype == np.uint16


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("shape", [(5, 6, 4), (2, 5, 6, 4), (5, 6, 5)])
def test_samples_that_are_no_opacity_stay_bands(shape, dtype, photometric):
    pixels = noise(*shape, dtype=dtype)
    kinds = ["unspecified"] * (shape[-1] - (3 if photometric == "rgb" else 1))
    content = written(
        pixels, photometric=photometric, planarconfig="contig", extrasamples=kinds
    )
    image = decode_image(content)
    assert_array_equal(image.pixels, pixels, strict=True)
    assert not image.has_alpha
    assert not image.are_colors
    assert image.metadata.axes[-1] == ("S" if photometric == "rgb" else "C")
    assert default_suffix(io.BytesIO(content)) == ".tif"

    again = encode_image("a.tif", image)
    with tifffile.TiffFile(io.BytesIO(again)) as file:
        page = file.pages.first
        assert page.photometric.name.lower() == photometric
        assert page.extrasamples == (0,) * len(kinds)
    assert_array_equal(decode_image(again).pixels, pixels, strict=True)
    with pytest.raises(ValueError, match=r"not fit into a .png file, choose .tif"):
        encode_image("a.png", image)


def test_one_of_several_bands_is_no_opacity():
    pixels = noise(5, 6, 4)
    kinds = ["unspecified", "unspecified", "unassalpha"]
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    image = decode_image(written(pixels, extrasamples=kinds, **options))
    assert_array_equal(image.pixels, pixels)
    assert not image.has_alpha
    assert image.metadata.axes == "YXC"


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_colors_that_are_multiplied_by_opacity_are_divided(dtype, planarconfig):
    white = WHITE[dtype]
    alpha = noise(5, 6, 1, dtype=dtype)
    pixels = np.concatenate([np.minimum(noise(5, 6, 3, dtype=dtype), alpha), alpha], -1)
    pixels[0, 0] = 0
    planes = pixels if planarconfig == "contig" else np.moveaxis(pixels, -1, 0)
    image = decode_image(
        written(
            planes,
            photometric="rgb",
            planarconfig=planarconfig,
            extrasamples=["assocalpha"],
        )
    )
    shares = pixels[..., 3:].astype(float)
    shares[0, 0] = 1
    expected = pixels[..., :3] / shares * white
    if dtype != "f4":
        expected = np.rint(expected)
    assert_allclose(image.pixels[..., :3], expected, rtol=1e-6)
    assert_array_equal(image.pixels[..., 3], pixels[..., 3])
    assert image.has_alpha
    with tifffile.TiffFile(io.BytesIO(encode_image("a.tif", image))) as file:
        assert file.pages.first.extrasamples == (2,)


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_gray_with_opacity_becomes_rgba(dtype, shape):
    pixels = noise(*shape, 2, dtype=dtype)
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    image = decode_image(written(pixels, extrasamples=["unassalpha"], **options))
    assert_array_equal(image.pixels, pixels[..., [0, 0, 0, 1]], strict=True)
    assert image.has_alpha
    pixels[..., 1] = WHITE[dtype]
    image = decode_image(written(pixels, extrasamples=["unassalpha"], **options))
    assert_array_equal(image.pixels, pixels[..., [0, 0, 0]], strict=True)
    assert not image.has_alpha


def test_opacity_comes_last_wherever_it_stands():
    pixels = noise(5, 6, 5)
    kinds = ["unassalpha", "unspecified"]
    image = decode_image(written(pixels, photometric="rgb", extrasamples=kinds))
    assert_array_equal(image.pixels, pixels[..., [0, 1, 2, 4, 3]])
    assert image.has_alpha
    again = decode_image(encode_image("a.tif", image))
    assert_array_equal(again.pixels, image.pixels)
    assert again.has_alpha


@pytest.mark.parametrize("shape", [(5, 6), (3, 5, 6)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4"])
def test_gray_whose_zero_is_white_is_turned_around(dtype, shape):
    pixels = noise(*shape, dtype=dtype)
    image = decode_image(written(pixels, photometric="miniswhite"))
    # The least of a signed dtype becomes the greatest.
    expected = 1 - pixels if dtype == "f4" else ~pixels
    assert_array_equal(image.pixels, expected, strict=True)


def test_white_of_packed_levels_is_the_largest_of_their_bits():
    pixels = noise(5, 8, dtype="u2")
    content = written(pixels, photometric="miniswhite", bitspersample=12)
    assert_array_equal(decode_image(content).pixels, 4095 - pixels, strict=True)


@pytest.mark.parametrize("n_bits", [2, 4, 6, 10, 12, 14])
def test_levels_of_fewer_than_8_bits_become_8_bits_and_others_stay(n_bits):
    dtype = "u1" if n_bits < 8 else "u2"
    pixels = np.arange(1 << n_bits).astype(dtype)[-64:].reshape(-1, 4).repeat(2, 1)
    content = written(pixels, photometric="minisblack", bitspersample=n_bits)
    expected = pixels
    if n_bits < 8:
        expected = np.rint(pixels * (255 / ((1 << n_bits) - 1))).astype("u1")
    assert_array_equal(decode_image(content).pixels, expected, strict=True)


@pytest.mark.parametrize("name", ["group3", "group4", "tiff_ccitt", "packbits", None])
@pytest.mark.parametrize("n_pages", [1, 3])
def test_pages_of_1_bit_become_0_and_255(n_pages, name):
    page = Image.fromarray(noise(20, 33) > 99)
    options = {"save_all": True, "append_images": [page] * (n_pages - 1)}
    found = decode_image(of_pillow(page, compression=name, **options)).pixels
    expected = np.array(page.convert("L"))
    assert_array_equal(found, expected if n_pages == 1 else [expected] * n_pages)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("name", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_inks_and_luma_are_read_as_pillow_reads_them(mode, name):
    image = Image.radial_gradient("L").resize((24, 16)).convert("RGB").convert(mode)
    for options in ({}, {"save_all": True, "append_images": [image]}):
        content = of_pillow(image, compression=name, **options)
        expected = np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
        found = decode_image(content).pixels
        # Two formulas of luma round differently.
        assert np.abs(found - expected).max() <= (mode == "YCbCr")
        assert found.ndim == (4 if options else 3)


def test_inks_of_16_bits_keep_their_depth():
    inks = noise(5, 6, 4)
    wide = decode_image(written(inks.astype("u2") * 257, photometric="separated"))
    narrow = decode_image(written(inks, photometric="separated"))
    assert wide.pixels.dtype == np.uint16
    # Each is rounded to a level of its own depth.
    difference = wide.pixels / 257 - narrow.pixels
    assert np.abs(difference).max() <= 0.5 + 0.5 / 257


@pytest.mark.parametrize("kind", ["rgb", "separated"])
def test_opacity_becomes_the_last_channel_wherever_it_is(kind):
    n_colors = {"rgb": 3, "separated": 4}[kind]
    samples = noise(6, n_colors + 1, n_colors + 2)
    options = {"photometric": kind, "planarconfig": "contig"}
    moved = np.delete(samples, n_colors, axis=-1)
    plain = written(moved, extrasamples=["unspecified"], **options)

    extras = ["unassalpha", "unspecified"]
    found = decode_image(written(samples, extrasamples=extras, **options))

    assert found.has_alpha
    assert_array_equal(found.pixels[..., -1], samples[..., n_colors], strict=True)
    assert_array_equal(found.pixels[..., :-1], decode_image(plain).pixels)


def profile_of_inks():
    """A CMYK profile that lays Lab colors between the 16 corners of the inks."""
    corners = np.indices((2, 2, 2, 2)).reshape(4, -1).T
    lab = [
        level
        for c, m, y, k in corners
        for level in (
            (255 - 64 * c - 77 * m - 25 * y) * (1 - k),
            128 + 60 * (m - c) * (1 - k),
            128 + 70 * (y - c / 2) * (1 - k),
        )
    ]
    curve = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += np.eye(3, dtype=">i4").tobytes().replace(b"\0\0\0\1", b"\0\1\0\0")
    table += curve * 4 + np.clip(lab, 0, 255).astype("u1").tobytes() + curve * 3
    white = struct.pack(">iii", 63190, 65536, 54061)
    tags = {b"A2B0": table, b"wtpt": b"XYZ " + bytes(4) + white}
    tags[b"cprt"] = b"text" + bytes(4) + b"x\0"
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78)
    index, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        place = 128 + 4 + 12 * len(tags) + len(body)
        index += name + struct.pack(">II", place, len(data))
        body += data + bytes(-len(data) % 4)
    size = struct.pack(">I", 128 + len(index) + len(body))
    head = size + b"lcms\2\x20\0\0prtrCMYKLab " + bytes(12) + b"acsp"
    return head.ljust(68, b"\0") + white + bytes(48) + index + body


def test_inks_are_mixed_as_their_profile_says():
    image = Image.frombytes("CMYK", (24, 16), (noise(16, 24, 4) // 2).tobytes())
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile_of_inks()))
    target = ImageCms.createProfile("sRGB")
    shown = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    expected = np.array(shown).astype(int)
    assert np.abs(expected - np.array(image.convert("RGB"))).max() > 30
    found = decode_image(of_pillow(image, icc_profile=profile_of_inks()))
    # They round to a level each.
    assert np.abs(found.pixels - expected).max() <= 1
    assert found.metadata.icc_profile is None
    # Pillow turns it as the file says.
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = 6
    image.save(buffer, "JPEG", icc_profile=profile_of_inks(), exif=exif)
    assert decode_image(buffer.getvalue()).pixels.shape == (24, 16, 3)
    wide = np.array(image).astype("u2") * 257
    options = {"photometric": "separated", "iccprofile": profile_of_inks()}
    found = decode_image(written(wide, **options))
    assert np.abs(found.pixels / 257 - expected).max() < 1


def two_palettes(compression=None, *, same=False):
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 4:] = 1
    pages = []
    for colors in ([255, 0, 0, 0, 255, 0], [0, 0, 255, 255, 255, 0]):
        page = Image.fromarray(labels)
        page.putpalette(([255, 0, 0, 0, 255, 0] if same else colors) + [0] * 762)
        pages.append(page)
    options = {"save_all": True, "append_images": pages[1:]}
    return labels, of_pillow(pages[0], compression=compression, **options)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_each_page_is_read_in_its_own_palette(compression):
    labels, content = two_palettes(compression)
    colors = np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]])
    found = decode_image(content).pixels
    assert_array_equal(found, [colors[0][labels], colors[1][labels]], strict=True)
    with pytest.raises(ValueError, match="its pages have palettes of their own"):
        decode_indexed(content)
    _, content = two_palettes(compression, same=True)
    assert_array_equal(decode_indexed(content).labels, [labels, labels])


def test_palettes_of_8_and_16_bits_meet_at_16():
    labels = np.uint8([[0, 1], [1, 0]])
    maps = np.zeros((2, 3, 256), np.uint16)
    maps[0, :, 1] = 257 * 100
    maps[1, :, 1] = 300, 5000, 65535
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for one in maps:
            file.write(labels, photometric="palette", colormap=one)
    found = decode_image(buffer.getvalue()).pixels
    assert_array_equal(found, [one.T[labels] for one in maps], strict=True)


def test_a_color_map_of_0_to_255_has_8_bits():
    labels = np.uint8([[0, 1], [2, 0]])
    color_map = np.zeros((3, 256), np.uint16)
    color_map[:, :3] = [[255, 0, 9], [0, 255, 8], [0, 0, 7]]
    content = written(labels, photometric="palette", colormap=color_map)
    expected = color_map.T.astype(np.uint8)
    assert_array_equal(decode_image(content).pixels, expected[labels], strict=True)
    assert_array_equal(decode_indexed(content).palette, expected, strict=True)
    assert default_suffix(io.BytesIO(content)) == ".png"


@pytest.mark.parametrize("is_wide", [False, True])
def test_a_photo_of_a_palette_is_flat_where_its_colors_have_8_bits(is_wide):
    color_map = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256)
    color_map = color_map * 7 if is_wide else color_map % 256
    content = written(noise(5, 6), photometric="palette", colormap=color_map)

    assert default_suffix(io.BytesIO(content)) == (".tif" if is_wide else ".png")
    assert default_suffix(io.BytesIO(content), 8) == ".png"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_profile_is_kept_where_it_is_one_for_the_pixels(mode):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.radial_gradient("L").resize((6, 4)).convert("RGB").convert(mode)
    for pages in ([], [image]):
        content = of_pillow(
            image, icc_profile=profile, save_all=True, append_images=pages
        )
        kept = decode_image(content).metadata.icc_profile
        assert kept == (profile if mode == "RGB" else None)


@pytest.mark.parametrize(
    ("pixels", "options", "match"),
    [
        (noise(5, 6, 4, dtype="f4"), {"photometric": "separated"}, "8 or 16 bits"),
        (
            noise(5, 6, 3),
            {"photometric": "cielab"},
            "CIELAB cannot be read; save it as",
        ),
        (noise(5, 6) > 99, {"photometric": "mask"}, "a mask beside its pixels; save"),
        (noise(5, 6).astype("c8"), {"photometric": "minisblack"}, "dtype complex64"),
    ],
)
def test_samples_whose_meaning_is_not_known_are_refused(pixels, options, match):
    with pytest.raises(ValueError, match=match):
        decode_image(written(pixels, **options))
