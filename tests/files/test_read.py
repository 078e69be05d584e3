import contextlib
import io
import logging
import struct
import subprocess
import threading
import zlib

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image, ImageCms, ImageOps
from PIL.ImageFile import ImageFile as PillowFile
from PIL.TiffImagePlugin import TiffImageFile

from napari_kmeans import read_metadata, write_indexed
from napari_kmeans._files.read import (
    decode_image,
    decoded_bytes,
    default_suffix,
    read_image,
)
from napari_kmeans._files.replace import replace_file
from napari_kmeans._files.tiff import open_tiff
from napari_kmeans._files.write import encode_image

RGB_PROFILE = bytes(16) + b"RGB " + bytes(108)
GRAY_PROFILE = bytes(16) + b"GRAY" + bytes(108)


def png_of_16_bits(pixels, *, filtered=False, key=None):
    """A PNG file of (rows, columns, C), with each row as it is or as a difference."""
    height, width, n_channels = pixels.shape
    rows = np.ascontiguousarray(pixels, ">u2").view(np.uint8).reshape(height, -1)
    kind = np.zeros((height, 1), np.uint8)
    if filtered:  # Filter 2: difference to the row above.
        kind[1:] = 2
        rows = np.concatenate([rows[:1], rows[1:] - rows[:-1]])
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[n_channels]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    data = zlib.compress(np.concatenate([kind, rows], axis=1).tobytes())
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    if key is not None:
        chunks.insert(1, (b"tRNS", struct.pack(f">{len(key)}H", *key)))
    body = [
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d))
        for n, d in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def encoded(image, name="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def gradient(mode="RGB", size=(6, 4)):
    return Image.radial_gradient("L").resize(size).convert("RGB").convert(mode)


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_read_at_its_depth(n_channels, filtered):
    pixels = np.random.default_rng(0).integers(
        1, 65535, (5, 7, n_channels), dtype=np.uint16
    )
    image = decode_image(png_of_16_bits(pixels, filtered=filtered))
    if n_channels == 1:
        pixels = pixels[..., 0]
    elif n_channels == 2:  # Gray with alpha becomes RGBA.
        pixels = pixels[..., [0, 0, 0, 1]]
    assert_array_equal(image.pixels, pixels, strict=True)
    assert image.has_channels == (n_channels > 1)
    assert image.has_alpha == (n_channels in (2, 4))


def test_the_transparent_color_of_a_16_bit_png_is_read():
    pixels = np.array([[[1, 2, 3], [1, 2, 4]]], dtype=np.uint16)
    image = decode_image(png_of_16_bits(pixels, key=(1, 2, 3)))
    assert_array_equal(image.pixels, [[[0, 0, 0, 0], [1, 2, 4, 65535]]])
    assert image.has_alpha


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_colors_of_png_are_read_exactly(mode):
    source = gradient(mode)
    if mode in ("LA", "RGBA"):
        source.putalpha(gradient("L"))
    image = decode_image(encoded(source))
    expected = np.array(source.convert("RGBA"))
    expected[expected[..., 3] == 0] = 0
    shown = image.pixels
    if not image.has_channels:
        shown = np.repeat(shown[..., np.newaxis], 3, axis=-1)
    assert_array_equal(shown, expected[..., : shown.shape[-1]])
    assert image.has_alpha == (mode in ("LA", "RGBA"))


def test_cmyk_is_read_by_its_profile_and_else_by_the_plain_formula():
    plain = gradient("CMYK")
    image = decode_image(encoded(plain, "TIFF"))
    assert_array_equal(image.pixels, np.array(plain.convert("RGB")))
    # A profile that is not sound changes nothing.
    image = decode_image(encoded(plain, "TIFF", icc_profile=RGB_PROFILE))
    assert_array_equal(image.pixels, np.array(plain.convert("RGB")))
    assert image.metadata.icc_profile is None


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_frames_of_an_animation_are_read_as_they_are_shown(tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue", "lime")]
    frames[1].paste((9, 9, 9), (1, 1, 3, 3))
    durations = [100, 250, 40]
    lossless = {"webp": {"lossless": True}}.get(suffix, {})
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations, **lossless
    )
    image = read_image(path)
    assert_array_equal(image.pixels, [np.array(frame) for frame in frames])
    assert image.metadata.axes == "TYXS"
    assert image.metadata.durations == (0.1, 0.25, 0.04)


def test_the_first_picture_of_a_camera_file_counts(tmp_path):
    first, second = gradient(size=(16, 16)), Image.new("RGB", (16, 16))
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second], quality=100)
    image = read_image(tmp_path / "a.mpo")
    assert np.abs(image.pixels.astype(int) - np.array(first)).max() < 30


def test_indices_of_colors_of_16_bits_are_read_at_their_depth(tmp_path):
    palette = np.array([[0, 1, 2], [40_000, 300, 65_535]], np.uint16)
    labels = np.array([[0, 1, 1], [1, 0, 0]])
    write_indexed(tmp_path / "deep.tif", labels, palette)
    found = read_image(tmp_path / "deep.tif")
    assert_array_equal(found.pixels, palette[labels], strict=True)
    with open(tmp_path / "deep.tif", "rb") as file:
        assert default_suffix(file) == ".tif"


@pytest.mark.parametrize("axes", ["CYX", "ZCYX", "TZCYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_of_a_microscope_come_last_and_go_back(tmp_path, axes, kind):
    shape = (2, 3, 4, 5, 6)[-len(axes) :]
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint16)
    metadata = {"axes": axes, "unit": "um", "spacing": 0.5}
    options = {"resolution": (10.0, 5.0), "imagej": True}
    if kind == "ome":
        metadata = {"axes": axes, "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2}
        options = {"ome": True}
    tifffile.imwrite(
        tmp_path / "in.tif",
        pixels,
        photometric="minisblack",
        metadata=metadata,
        **options,
    )
    image = read_image(tmp_path / "in.tif")
    assert_array_equal(image.pixels, np.moveaxis(pixels, axes.index("C"), -1))
    assert image.metadata.axes == axes
    assert image.metadata.scale[-2:] == pytest.approx((0.2, 0.1))
    assert set(image.metadata.units[-2:]) == {"micrometer"}

    name = "out.ome.tif" if kind == "ome" else "out.tif"
    replace_file(tmp_path / name, encode_image(name, image))
    with tifffile.TiffFile(tmp_path / name) as file:
        assert file.series[0].axes == axes
        assert_array_equal(file.asarray(), pixels)
        assert (file.is_ome, file.is_imagej) == (kind == "ome", kind == "imagej")
    assert read_metadata(tmp_path / name).units == image.metadata.units
    assert read_metadata(tmp_path / name).scale == pytest.approx(image.metadata.scale)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_deep_files_as_pillow_turns_others(tmp_path, orientation):
    levels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    tag = (274, "H", 1, orientation, True)
    for name, stored in [("8.tif", levels), ("16.tif", levels.astype(np.uint16))]:
        tifffile.imwrite(
            tmp_path / name,
            stored,
            photometric="minisblack",
            extratags=[tag],
            resolution=(100, 50),
            resolutionunit="inch",
        )
    sideways = Image.fromarray(levels)
    sideways.getexif()[274] = orientation
    expected = np.array(ImageOps.exif_transpose(sideways))
    images = [read_image(tmp_path / name) for name in ("8.tif", "16.tif")]
    for image in images:
        assert_array_equal(image.pixels, expected)
    scale = (0.02, 0.01) if orientation < 5 else (0.01, 0.02)
    assert [image.metadata.scale for image in images] == [scale, scale]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.avif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_color_profile_is_carried_over(name, mode):
    profile = GRAY_PROFILE if mode == "L" else RGB_PROFILE
    source = decode_image(encoded(gradient(mode), icc_profile=profile))
    assert source.metadata.icc_profile == profile
    found = decode_image(encode_image(name, source))
    # Some formats hold no gray images, for which the profile would not be true.
    is_held = mode == "RGB" or name not in ("a.webp", "a.avif")
    assert found.metadata.icc_profile == (profile if is_held else None)


def test_a_profile_of_other_colors_is_not_kept():
    image = gradient("CMYK")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (lab, RGB_PROFILE):
        content = encoded(image, "TIFF", icc_profile=profile)
        assert decode_image(content).metadata.icc_profile is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_fully_transparent_has_no_color(dtype):
    pixels = np.array([[[5, 6, 7, 0], [5, 6, 7, 1]]], dtype)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb", extrasamples=["unassalpha"])
    image = decode_image(buffer.getvalue())
    assert_array_equal(image.pixels, [[[0, 0, 0, 0], [5, 6, 7, 1]]], strict=False)
    assert image.pixels.dtype == dtype
    assert image.has_alpha


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: b"", "the file is empty"),
        (lambda: b"Dear reader,", "not an image"),
        (lambda: b"\0\0\0\x18ftypheic" + bytes(99), "HEIC .*; convert it to PNG, TIFF"),
        (lambda: b"\0\0\0\x1cftypmif1\0\0\0\0miafheix", "HEIC files cannot be read"),
        (lambda: b"\xff\x0a" + bytes(99), "JPEG XL files cannot be read"),
        (lambda: b"%PDF-1.7", "PDF files cannot be read; convert it to PNG"),
        (lambda: b'<?xml version="1.0"?>\n<svg>', "SVG files cannot be read"),
        (lambda: b"<svg/>", "SVG files cannot be read"),
        (lambda: b"II*\0", "cannot be read"),
        (lambda: encoded(gradient())[:60], "cannot be read"),
        (lambda: encoded(gradient("CMYK"), "TIFF")[:-9], "cannot be read"),
        (lambda: png_of_16_bits(np.zeros((9, 9, 3), "u2"))[:58], "IDAT .* damaged"),
        (lambda: png_of_16_bits(np.zeros((9, 9, 3), "u2"))[:60], "file is truncated"),
    ],
)
def test_what_is_no_sound_image_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        decode_image(make())


def test_tiff_with_images_of_different_kinds_is_refused_by_name():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(np.zeros((4, 5), np.uint16), photometric="minisblack")
        file.write(np.zeros((3, 2), np.uint16), photometric="minisblack")
    with pytest.raises(ValueError, match=r"2 images of different kinds: \(4, 5\), \(3"):
        decode_image(buffer.getvalue())


def test_complex_tiff_is_refused_by_name():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((4, 5), np.complex64), photometric="minisblack")
    with pytest.raises(ValueError, match="TIFF of dtype complex64 cannot be read"):
        decode_image(buffer.getvalue())


def test_colors_of_16_bits_that_would_be_cut_to_8_are_refused():
    with pytest.raises(ValueError, match="16-bit colors of a PPM file cannot be read"):
        decode_image(b"P6 1 1 65535 " + bytes(6))
    assert_array_equal(decode_image(b"P6 1 1 255 abc").pixels, [[[97, 98, 99]]])


def test_gray_pgm_of_more_than_8_bits_is_uint16():
    # Pillow widens 0 to 1023 to 0 to 65535.
    for top, level in ((65535, 513), (1023, round(513 / 1023 * 65535))):
        content = b"P5 2 1 %d " % top + struct.pack(">HH", 513, top)
        expected = np.array([[level, 65535]], np.uint16)
        assert_array_equal(decode_image(content).pixels, expected, strict=True)


def test_bombs_are_refused_before_they_unfold(monkeypatch):
    header = struct.pack(">4sIIBBBBB", b"IHDR", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = encoded(gradient())
    bomb = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    tiff = io.BytesIO()
    planes = np.zeros((3, 500, 500), np.uint16)
    tifffile.imwrite(tiff, planes, photometric="minisblack", compression="zlib")
    gif = bytearray(encoded(Image.new("P", (1, 1)), "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    for content in (bomb, tiff.getvalue(), bytes(gif)):
        with pytest.raises(ValueError, match="too many pixels"):
            decode_image(content)


def test_no_file_starts_another_program(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    script = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"
    )
    with pytest.raises(ValueError, match="EPS files cannot be read; convert it"):
        decode_image(script)


def test_too_many_pixels_say_what_to_do(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(
        ValueError, match=r"\(24 pixels\) exceeds .* 10 pixels; scale it"
    ):
        decode_image(encoded(gradient()))


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (encoded(gradient()), ".png"),
        (encoded(gradient("L"), "JPEG"), ".png"),
        (encoded(gradient("CMYK"), "TIFF"), ".png"),
        (encoded(gradient("F"), "TIFF"), ".tif"),
        (encoded(gradient("L").convert("I;16"), "PNG"), ".tif"),
        (png_of_16_bits(np.zeros((2, 2, 3), "u2")), ".tif"),
        (
            encoded(
                gradient(), "GIF", save_all=True, append_images=[gradient(size=(6, 4))]
            ),
            ".png",
        ),
        (
            encoded(
                gradient(),
                "GIF",
                save_all=True,
                append_images=[Image.new("RGB", (6, 4))],
            ),
            ".gif",
        ),
        (b"", ".png"),
    ],
)
def test_the_format_is_chosen_by_what_it_must_hold(content, suffix):
    assert default_suffix(io.BytesIO(content)) == suffix


def film(name, **options):
    frames = [Image.new("RGB", (60, 40), color) for color in ("red", "blue", "lime")]
    frames[1].paste(gradient(size=(30, 20)), (5, 5))
    return encoded(
        frames[0],
        name,
        save_all=True,
        append_images=frames[1:],
        duration=[100, 250, 40],
        **options,
    )


def stack(**options):
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.random.default_rng(0).integers(0, 9999, (3, 40, 50), dtype=np.uint16),
        imagej=True,
        photometric="minisblack",
        resolution=(10, 5),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 2.5},
        **options,
    )
    return buffer.getvalue()


def noise(mode, name, **options):
    n_channels = {"L": (), "RGB": (3,), "CMYK": (4,)}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, *n_channels), "u1")
    image = Image.frombytes(mode, (50, 40), pixels.tobytes())
    return encoded(image, name, **options)


def cut_off(content, share=0.7):
    return content[: round(share * len(content))]


def scrambled(content):
    """A file in the middle of whose pixels all bits are set."""
    middle = len(content) // 2
    return content[:middle] + b"\xff" * 100 + content[middle + 100 :]


EXIF = Image.Exif()
EXIF[274] = 6


PLAIN = [
    noise("RGB", "PNG", dpi=(300, 150), icc_profile=RGB_PROFILE),
    noise("RGB", "PNG", exif=EXIF),
    noise("RGB", "JPEG", dpi=(300, 150), exif=EXIF),
    noise("CMYK", "JPEG", icc_profile=RGB_PROFILE),
    noise("L", "TIFF", dpi=(300, 150)),
    noise("L", "GIF"),
    noise("RGB", "WEBP", icc_profile=RGB_PROFILE),
    encoded(gradient("P")),
    encoded(gradient("1")),
    encoded(gradient("F"), "TIFF"),
    png_of_16_bits(np.ones((9, 8, 1), "u2")),
    png_of_16_bits(np.ones((9, 8, 1), "u2"), key=(1,)),
    png_of_16_bits(np.ones((9, 8, 2), "u2")),
    stack(),
    film("GIF"),
    film("PNG"),
    film("PNG", default_image=True),
]


@pytest.mark.parametrize("content", PLAIN)
def test_metadata_are_those_of_the_image_and_read_without_pixels(
    tmp_path, monkeypatch, content
):
    def refuse(*_, **__):
        pytest.fail("pixels were decoded")

    (tmp_path / "image").write_bytes(content)
    expected = decode_image(content).metadata
    monkeypatch.setattr(PillowFile, "load", refuse)
    monkeypatch.setattr(TiffImageFile, "load", refuse)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    assert read_metadata(tmp_path / "image") == expected


@pytest.mark.parametrize("name", ["WEBP", "AVIF"])
def test_durations_are_read_of_films_that_keep_them_between_pixels(tmp_path, name):
    (tmp_path / "film").write_bytes(film(name))
    found = read_metadata(tmp_path / "film")
    assert found == read_image(tmp_path / "film").metadata
    assert found.durations == (0.1, 0.25, 0.04)


@pytest.mark.parametrize(
    ("content", "damaged"),
    [
        (noise("RGB", "PNG", dpi=(300, 150)), cut_off),
        (noise("RGB", "JPEG", dpi=(300, 150)), cut_off),
        (noise("RGB", "TIFF", compression="tiff_deflate", dpi=(300, 150)), scrambled),
        (stack(compression="zlib"), cut_off),
        (film("GIF"), scrambled),
    ],
)
def test_metadata_of_a_file_with_damaged_pixels_are_read(tmp_path, content, damaged):
    expected = decode_image(content).metadata
    (tmp_path / "image").write_bytes(damaged(content))
    with pytest.raises(ValueError, match="cannot be read"):
        read_image(tmp_path / "image")
    assert read_metadata(tmp_path / "image") == expected


def test_faults_of_tiff_files_are_logged_nowhere_but_by_others(caplog):
    logger = logging.getLogger("tifffile")
    before = logger.level, list(logger.filters)
    content = stack(compression="zlib")
    # A tag, the unit of the resolution, of a type that does not exist.
    broken = content.replace(b"\x28\x01\x03\0", b"\x28\x01\x63\0")
    for read in (decode_image, lambda content: default_suffix(io.BytesIO(content))):
        with contextlib.suppress(ValueError):
            read(broken)
    assert caplog.records == []
    with contextlib.suppress(Exception), tifffile.TiffFile(io.BytesIO(broken)) as file:
        file.asarray()
    assert {record.name for record in caplog.records} == {"tifffile"}

    with open_tiff(io.BytesIO(content)):
        logger.warning("mine")
        other = threading.Thread(target=logger.warning, args=("of another thread",))
        other.start()
        other.join()
    messages = [record.getMessage() for record in caplog.records]
    assert "mine" not in messages
    assert "of another thread" in messages
    assert (logger.level, logger.filters) == before


@pytest.mark.parametrize("name", ["WEBP", "TIFF"])
@pytest.mark.parametrize(("number", "unit"), [(2, "inch"), (3, "centimeter")])
def test_resolution_is_that_of_an_inch_or_a_centimeter(name, number, unit):
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 50.0, 20.0, number

    metadata = decode_image(encoded(gradient(), name, exif=exif)).metadata

    assert metadata.scale[:2] == pytest.approx((1 / 20, 1 / 50))
    assert metadata.units[:2] == (unit, unit)


def test_a_tiff_file_without_resolution_has_no_sizes():
    content = encoded(Image.new("I;16", (3, 2)), "TIFF")
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert "XResolution" not in file.pages.first.tags
    assert decode_image(content).metadata.scale == ()


SIZED = {
    **{
        f"{mode} in PNG": encoded(gradient(mode))
        for mode in ("1", "L", "P", "LA", "RGB", "RGBA")
    },
    **{
        f"{mode} in TIFF": encoded(gradient(mode), "TIFF")
        for mode in ("1", "L", "P", "RGB", "RGBA")
    },
    "CMYK": encoded(gradient("CMYK"), "JPEG"),
    "16 bits": png_of_16_bits(np.arange(36, dtype=np.uint16).reshape(3, 4, 3)),
    "gray of 16 bits": png_of_16_bits(np.arange(6, dtype=np.uint16).reshape(2, 3, 1)),
    "float": encoded(gradient("F"), "TIFF"),
    "animation": film("GIF"),
    "stack": stack(),
}


@pytest.mark.parametrize("kind", SIZED)
def test_the_header_says_how_many_bytes_the_pixels_take(kind):
    n_bytes = decode_image(SIZED[kind]).pixels.nbytes
    found = decoded_bytes(io.BytesIO(SIZED[kind]))
    # An opacity that is full everywhere is left out only when it is seen.
    assert n_bytes <= found <= n_bytes * 4 // 3


@pytest.mark.parametrize("content", [b"", b"Dear reader", SIZED["RGB in PNG"][:20]])
def test_what_cannot_be_read_takes_no_bytes(content):
    assert decoded_bytes(io.BytesIO(content)) == 0
