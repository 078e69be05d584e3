import contextlib
import io
import struct
import warnings
from fractions import Fraction
from pathlib import Path

import hypothesis.extra.numpy as hnp
import imageio.v3 as iio
import numpy as np
import oxipng
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from napari_builtins.io import imread
from numpy.testing import assert_array_equal
from PIL import Image, ImageSequence, PngImagePlugin

from napari_kmeans import (
    ImageMetadata,
    map_to_palette,
    read_indexed,
    read_metadata,
    write_indexed,
)
from napari_kmeans._files.indexed import decode_indexed, encode_indexed
from napari_kmeans._files.palette_order import neighborly_order
from napari_kmeans._files.png_rows import EFFORTS

RED_BLUE = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)


def header(path):
    """Bit depth and color type of a PNG file."""
    depth, color_type = struct.unpack(">16x8x2B", Path(path).read_bytes()[:26])
    return depth, color_type


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("indexed")


@st.composite
def indexed_images(draw, n_channels=3, ndim=2, dtype=np.uint8, most=256):
    n_colors = draw(st.integers(1, most))
    palette = draw(hnp.arrays(dtype, (n_colors, n_channels)))
    shape = draw(st.tuples(*[st.integers(1, 3)] * (ndim - 2), *[st.integers(1, 9)] * 2))
    kind = np.uint8 if n_colors <= 256 else np.uint16
    labels = draw(hnp.arrays(kind, shape, elements=st.integers(0, n_colors - 1)))
    return labels, palette


def assert_round_trip(path, labels, palette):
    found_labels, found_palette = read_indexed(path)
    assert_array_equal(found_labels, labels, strict=True)
    assert_array_equal(found_palette, palette, strict=True)


@given(indexed=indexed_images(n_channels=3) | indexed_images(n_channels=4))
def test_png_keeps_every_index_and_color(folder, indexed):
    labels, palette = indexed
    path = folder / "image.png"
    write_indexed(path, labels, palette)

    assert_round_trip(path, labels, palette)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert_array_equal(np.array(image), labels)
        shown = np.array(image.convert("RGBA"))
    assert_array_equal(shown[..., : palette.shape[1]], palette[labels])
    mode = "RGB" if palette.shape[1] == 3 else "RGBA"
    assert_array_equal(iio.imread(path, mode=mode), palette[labels])


def test_png_keeps_the_opacity_of_opaque_palettes(tmp_path):
    opaque = np.array([[9, 8, 7, 255], [1, 2, 3, 255]], np.uint8)
    write_indexed(tmp_path / "image.png", [[0, 1]], opaque)

    assert_round_trip(tmp_path / "image.png", np.array([[0, 1]], np.uint8), opaque)


@given(indexed=indexed_images() | indexed_images(ndim=3))
def test_gif_keeps_every_index_and_color_of_every_frame(folder, indexed):
    labels, palette = indexed
    path = folder / "image.gif"
    write_indexed(path, labels, palette)

    # One frame is no stack.
    frames = labels[0] if labels.ndim == 3 and len(labels) == 1 else labels
    assert_round_trip(path, frames, palette)
    with Image.open(path) as image:
        shown = [np.array(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    assert_array_equal(
        np.squeeze(shown, 0) if frames.ndim == 2 else shown, palette[frames]
    )
    assert_array_equal(
        iio.imread(path, mode="RGB", index=... if frames.ndim == 3 else 0),
        palette[frames],
    )


@given(
    indexed=indexed_images()
    | indexed_images(ndim=3)
    | indexed_images(dtype=np.uint16)
    | indexed_images(ndim=4, dtype=np.uint16)
    | indexed_images(ndim=5)
    | indexed_images(ndim=6)
)
@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif"])
def test_tiff_keeps_every_index_and_color_of_every_plane(folder, name, indexed):
    labels, palette = indexed
    path = folder / name
    if labels.ndim > 4 and name == "image.ome.tif":
        with pytest.raises(ValueError, match="OME-TIFF cannot hold uint8 with axes Q"):
            write_indexed(path, labels, palette)
        return
    write_indexed(path, labels, palette)

    assert_round_trip(path, labels, palette)
    with tifffile.TiffFile(path) as file:
        assert_array_equal(file.asarray().reshape(labels.shape), labels)
        stored = file.pages.first.colormap[:, : len(palette)].T
    wide = palette.astype(np.uint16) * (257 if palette.dtype == np.uint8 else 1)
    assert_array_equal(stored, wide)


@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif"])
@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 3, 1), (2, 3, 4, 1), (1, 1, 1, 1)])
def test_axes_of_length_one_are_kept(tmp_path, name, shape):
    labels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) % 2
    write_indexed(tmp_path / name, labels, RED_BLUE)
    assert_round_trip(tmp_path / name, labels, RED_BLUE)


def test_tiff_is_shown_in_its_colors_by_pillow_and_imageio(tmp_path):
    labels = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    write_indexed(tmp_path / "image.tif", labels, RED_BLUE)
    with Image.open(tmp_path / "image.tif") as image:
        assert image.mode == "P"
        assert_array_equal(np.array(image), labels)
        assert_array_equal(np.array(image.convert("RGB")), RED_BLUE[labels])
    assert_array_equal(iio.imread(tmp_path / "image.tif", plugin="tifffile"), labels)


@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif"])
def test_more_than_256_colors_take_indices_of_16_bits(tmp_path, name):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 65536, (65536, 3), dtype=np.uint16)
    labels = rng.integers(0, 65536, (2, 20, 30), dtype=np.uint16)
    write_indexed(tmp_path / name, labels, palette)
    assert_round_trip(tmp_path / name, labels, palette)
    write_indexed(tmp_path / name, labels[0] // 200, palette[:400] // 257)
    assert_round_trip(tmp_path / name, labels[0] // 200, palette[:400] // 257)


def test_a_wide_palette_of_narrow_colors_stays_wide(tmp_path):
    palette = np.array([[0, 257, 65535]], dtype=np.uint16)
    write_indexed(tmp_path / "image.tif", [[0]], palette)
    assert_round_trip(tmp_path / "image.tif", np.uint8([[0]]), palette)


@pytest.mark.parametrize("name", ["image.png", "image.gif", "image.tif"])
def test_the_colors_are_those_that_napari_reads(tmp_path, name):
    palette = np.array([[9, 8, 7], [200, 0, 90], [1, 255, 3]], dtype=np.uint8)
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    write_indexed(tmp_path / name, labels, palette)

    shown = imread(str(tmp_path / name))

    # napari gives the indices of a TIFF file, and the colors of any other.
    expected = labels if name == "image.tif" else palette[labels]
    assert_array_equal(np.squeeze(shown)[..., : expected.shape[-1]], expected)


METADATA = ImageMetadata(
    axes="TZYX",
    scale=(2.5, 0.4, 0.1, 0.2),
    units=("second", "micrometer", "micrometer", "micrometer"),
)


@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif"])
@pytest.mark.parametrize("axes", ["TZYX", "ZYX", "TYX", "CYX", "YX"])
def test_axes_and_sizes_of_pixels_are_kept(tmp_path, name, axes):
    keep = [METADATA.axes.find(axis) for axis in axes]
    metadata = ImageMetadata(
        axes,
        tuple(METADATA.scale[i] if i >= 0 else 1.0 for i in keep),
        tuple(METADATA.units[i] if i >= 0 else "pixel" for i in keep),
    )
    labels = np.zeros((2, 3, 4, 5)[-len(axes) :], np.uint8)
    write_indexed(tmp_path / name, labels, RED_BLUE, metadata=metadata)

    found = read_metadata(tmp_path / name)

    kept = found._replace(
        axes=found.axes[:-1], scale=found.scale[:-1], units=found.units[:-1]
    )
    assert found.axes == axes + "S"
    assert kept.units == metadata.units
    # Resolutions of TIFF are quotients of integers.
    assert kept.scale == pytest.approx(metadata.scale, rel=1e-6)
    with tifffile.TiffFile(tmp_path / name) as file:
        assert file.is_ome == ("ome" in name)
        assert file.is_imagej == ("ome" not in name)
        assert file.series[0].axes == axes


@pytest.mark.parametrize("name", ["image.png", "image.tif"])
def test_resolution_and_color_profile_are_kept(tmp_path, name):
    profile = bytes(16) + b"RGB " + bytes(108)
    inch = ImageMetadata("YX", (1 / 300, 1 / 150), ("inch", "inch"), profile)
    write_indexed(tmp_path / name, [[0, 1]], RED_BLUE, metadata=inch)
    found = read_metadata(tmp_path / name)
    assert found.icc_profile == profile
    assert found.units[:2] == ("inch", "inch")
    # PNG counts whole pixels per meter.
    assert found.scale[:2] == pytest.approx(inch.scale, rel=1e-4)
    with Image.open(tmp_path / name) as image:
        assert image.info["dpi"] == pytest.approx((150, 300), rel=1e-4)


def test_sizes_of_pixels_are_kept_exactly_in_a_png_file(tmp_path):
    sizes = ImageMetadata("YX", (0.9375, 0.1), ("millimeter", "micrometer"))
    write_indexed(tmp_path / "a.png", [[0, 1]], RED_BLUE, metadata=sizes)
    found = read_metadata(tmp_path / "a.png")
    assert found.scale[:2] == sizes.scale
    assert found.units[:2] == sizes.units
    # Others see the resolution, in whole pixels per meter.
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["dpi"] == pytest.approx((254_000, 1067 * 0.0254))


@pytest.mark.parametrize(
    "note",
    [
        *("", "{", "[]", "3", '{"Y": [1, "meter"]}', '{"Y": "ab", "X": "cd"}'),
        *('{"Y": [0, "meter"], "X": [1, "meter"]}', "[" * 100_000),
        '{"Y": [NaN, "meter"], "X": [Infinity, "meter"]}',
        f'{{"Y": [1{"0" * 400}, "meter"], "X": [1, "meter"]}}',
        f'{{"Y": [1{"0" * 9999}, "meter"], "X": [1, "meter"]}}',
        *('{"Y": [-1, "m"], "X": [1, "m"]}', '{"Y": [[1], "m"], "X": [1, "m"]}'),
        *('{"Y": {"0": 1}, "X": 1}', '{"Y": [1, ["m"]], "X": [1, "m"]}'),
        *('{"Y": [1, 5], "X": [1, "m"]}', '{"Y": [1, null], "X": [1, "m"]}'),
        f'{{"Y": [1, "{"m" * 100_000}"], "X": [1, "m"]}}',
        *('{"Y": [1, "a\\nb"], "X": [1, "m"]}', "x" * 1_000_000, "\x00", "null"),
    ],
)
def test_other_notes_in_a_png_file_tell_no_sizes(tmp_path, note):
    text = PngImagePlugin.PngInfo()
    text.add_text("napari-kmeans", note)
    image = Image.fromarray(np.zeros((2, 2), np.uint8))
    image.save(tmp_path / "a.png", pnginfo=text)
    assert read_metadata(tmp_path / "a.png").scale == ()


def test_lengths_of_several_units_are_kept(tmp_path):
    units = ("millimeter", "micrometer", "micrometer")
    sizes = ImageMetadata("ZYX", (1.0, 0.5, 0.25), units)
    labels = np.zeros((2, 3, 4), np.uint8)
    write_indexed(tmp_path / "a.tif", labels, RED_BLUE, metadata=sizes)
    found = read_metadata(tmp_path / "a.tif")
    assert found.scale[:3] == sizes.scale
    assert found.units[:3] == units


@pytest.mark.parametrize(
    ("n_colors", "depth"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)],
)
def test_png_takes_the_fewest_bits(tmp_path, n_colors, depth):
    palette = np.zeros((n_colors, 3), dtype=np.uint8)
    write_indexed(tmp_path / "image.png", [[0, n_colors - 1]], palette)
    assert header(tmp_path / "image.png") == (depth, 3)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_gray_becomes_equal_red_green_and_blue(tmp_path, suffix):
    palette = np.array([200, 3, 77], np.uint8)
    write_indexed(tmp_path / f"image{suffix}", [[2, 0], [1, 1]], palette)
    labels, found = read_indexed(tmp_path / f"image{suffix}")
    assert_array_equal(found, np.repeat(palette[:, np.newaxis], 3, axis=1))
    assert_array_equal(labels, [[2, 0], [1, 1]])


def test_png_is_smaller_than_pillow_makes_it(tmp_path):
    image = np.asarray(Image.radial_gradient("L").resize((300, 300)))
    palette = np.arange(0, 256, 17, dtype=np.uint8)
    labels = map_to_palette(image, palette, channel_axis=None)
    write_indexed(tmp_path / "ours.png", labels, palette)
    plain = Image.fromarray(labels)
    plain.putpalette(np.repeat(palette, 3).tobytes())
    plain.save(tmp_path / "pillow.png", optimize=True)
    sizes = [(tmp_path / n).stat().st_size for n in ("ours.png", "pillow.png")]
    assert sizes[0] < 0.95 * sizes[1]


@pytest.mark.parametrize("labels", [np.array([[0, 1]]), np.array([[0, 1]], ">u2")])
@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_inputs_of_any_integer_dtype_stay_untouched(tmp_path, labels, suffix):
    before = labels.copy()
    labels.flags.writeable = False
    write_indexed(tmp_path / f"image{suffix}", labels, RED_BLUE)
    assert_array_equal(labels, before)
    assert_array_equal(read_indexed(tmp_path / f"image{suffix}").labels, before)


@pytest.mark.parametrize(
    ("labels", "palette", "error", "match"),
    [
        (
            [[0]],
            np.zeros((257, 3), np.uint8),
            ValueError,
            r"256 .*got 257; choose .tif",
        ),
        ([[0]], np.zeros((0, 3), np.uint8), ValueError, "1 to 256 colors .*, got 0"),
        ([[0]], np.zeros((2, 5), np.uint8), ValueError, r"palette must .*\(2, 5\)"),
        ([[0]], np.zeros((2, 3)), TypeError, "palette must .* uint8 .*, got float64"),
        ([[0]], np.zeros((2, 3), np.uint16), TypeError, "got uint16; choose .tif"),
        ([[2]], RED_BLUE, ValueError, "labels must be between 0 and 1, got 2"),
        ([[-1, 0]], RED_BLUE, ValueError, "labels must be between 0 and 1, got -1"),
        ([0], RED_BLUE, ValueError, r"labels must have shape .* got \(1,\)"),
        ([[[[0]]]], RED_BLUE, ValueError, r"s\), got \(1, 1, 1, 1\); choose .tif"),
        (np.zeros((0, 3), int), RED_BLUE, ValueError, r"labels .* got \(0, 3\)"),
        ([[0.5]], RED_BLUE, TypeError, "labels must be integers, got dtype float64"),
    ],
)
def test_what_no_png_file_can_hold_is_refused(tmp_path, labels, palette, error, match):
    with pytest.raises(error, match=match):
        write_indexed(tmp_path / "image.png", labels, palette)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "labels", "palette", "match"),
    [
        ("a.gif", [[0]], np.zeros((2, 4), np.uint8), r"must not have alpha in a \.gif"),
        ("a.gif", [[0]], np.full((2, 4), 255, np.uint8), r"not have alpha in a \.gif"),
        ("a.tif", [[0]], np.zeros((2, 4), np.uint8), r"not have alpha .* choose \.png"),
        (
            "a.gif",
            [[[[0]]]],
            RED_BLUE,
            r"\(frames, rows, columns\), got \(1, 1, 1, 1\)",
        ),
        ("a.tif", [0], RED_BLUE, r"\(\.\.\., rows, columns\), got \(1,\)"),
        ("a.tif", [[0]], np.zeros((65537, 3), np.uint8), "65536 colors, got 65537"),
    ],
)
def test_what_other_files_cannot_hold_is_refused(
    tmp_path, name, labels, palette, match
):
    with pytest.raises(ValueError, match=match):
        write_indexed(tmp_path / name, labels, palette)
    assert list(tmp_path.iterdir()) == []


def test_metadata_of_another_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="have 2 letters beside S, got 'TZYX'"):
        write_indexed(tmp_path / "a.tif", [[0]], RED_BLUE, metadata=METADATA)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.ome.tif"])
@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        *(("axes", axes, "have letters that differ") for axes in ("YY", "CS", "TQ")),
        *(("axes", axes, "have letters that differ") for axes in ("X", "Y ", "YXYX")),
        *(("axes", axes, "have 2 letters beside S") for axes in ("TYX", "TYXS")),
        ("scale", (1.0,), "scale must have a number for each axis"),
        *(
            ("scale", (1.0, x), "scale must be between 1e-30 and 1e30")
            for x in (0.0, -1.0, np.nan, np.inf, 1e-31, 1e31, 10**400)
        ),
        ("units", ("meter",), "units must have a unit for each scale"),
        ("units", ("a\nb", "meter"), "units must be short words"),
        ("units", ("m" * 99, "meter"), "units must be short words"),
        ("units", ("\N{OHM SIGN}", "meter"), "units must be short words"),
        *(
            ("durations", (x,), "durations must be finite seconds")
            for x in (-1.0, np.nan, np.inf, 10**400)
        ),
        ("plays", -1, "plays must be at least 0"),
    ],
)
def test_metadata_of_a_wrong_value_are_refused_by_name(
    tmp_path, name, field, value, match
):
    sound = ImageMetadata("YX", (1.0, 1.0), ("meter", "meter"))
    metadata = sound._replace(**{field: value})
    with pytest.raises(ValueError, match=match):
        write_indexed(tmp_path / name, [[0]], RED_BLUE, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("axes", ("Y", "X"), "axes must be a string"),
        ("scale", 3.0, "scale must be a tuple of numbers"),
        ("scale", ("1", "2"), "scale must be a tuple of numbers"),
        ("units", "mm", "units must be a tuple of strings"),
        ("icc_profile", "sRGB", "icc_profile must be bytes or None"),
        ("durations", 0.1, "durations must be a tuple of numbers"),
        ("plays", 1.5, "plays must be an integer, got 1.5"),
    ],
)
def test_metadata_of_a_wrong_kind_are_refused_by_name(tmp_path, field, value, match):
    sound = ImageMetadata("YX", (1.0, 1.0), ("meter", "meter"))
    metadata = sound._replace(**{field: value})
    with pytest.raises(TypeError, match=rf"metadata\.{match}"):
        write_indexed(tmp_path / "a.png", [[0]], RED_BLUE, metadata=metadata)
    with pytest.raises(TypeError, match="metadata must be an ImageMetadata, got str"):
        write_indexed(tmp_path / "a.png", [[0]], RED_BLUE, metadata="YX")


@pytest.mark.parametrize("labels", [[[0]], [[[0]]], [[[0]]] * 3])
def test_a_film_needs_a_duration_for_each_frame(tmp_path, labels):
    metadata = ImageMetadata(durations=(0.1, 0.2))
    n_frames = max(np.ndim(labels) - 2, len(labels))
    with pytest.raises(ValueError, match=f"each of {n_frames} frames, got 2"):
        write_indexed(tmp_path / "a.gif", labels, RED_BLUE, metadata=metadata)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ome.tif"])
@pytest.mark.parametrize("size", [1e-30, 1e30, np.float32(0.25), Fraction(1, 4), 3])
def test_sizes_of_every_kind_of_number_and_spelling_of_a_unit_are_taken(
    tmp_path, name, size
):
    metadata = ImageMetadata(
        "YX", [size, size], ["\N{MICRO SIGN}m", "\N{ANGSTROM SIGN}"], plays=np.int8()
    )
    write_indexed(tmp_path / name, [[0, 1]], RED_BLUE, metadata=metadata)
    found = read_metadata(tmp_path / name)
    assert found.scale[:2] == pytest.approx((float(size),) * 2, rel=1e-6)
    assert found.units[:2] == ("micrometer", "angstrom")


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.ome.tif"])
def test_what_is_read_of_a_palette_file_can_be_handed_on(tmp_path, name):
    sizes = ImageMetadata("YX", (2.0, 3.0), ("millimeter", "millimeter"))
    write_indexed(tmp_path / name, [[0, 1]], RED_BLUE, metadata=sizes)
    found = read_metadata(tmp_path / name)
    write_indexed(tmp_path / f"b{name}", [[0, 1]], RED_BLUE, metadata=found)
    assert read_metadata(tmp_path / f"b{name}") == found


def test_reading_warns_of_nothing(tmp_path, monkeypatch):
    image = Image.new("P", (30, 40))
    image.putpalette([1, 2, 3])
    text = PngImagePlugin.PngInfo()
    # No frames, which makes no film.
    text.add(b"acTL", bytes(8))
    image.save(tmp_path / "a.png", pnginfo=text)
    image.save(tmp_path / "a.gif")
    image.save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for name in ("a.png", "a.gif", "a.tif"):
        content = (tmp_path / name).read_bytes()
        for end in (len(content), len(content) - 20):
            (tmp_path / name).write_bytes(content[:end])
            with contextlib.suppress(ValueError):
                read_indexed(tmp_path / name)


def test_other_suffixes_are_refused(tmp_path):
    match = r"path must end in .png, .gif, .tif or .tiff, got '.jpg'"
    with pytest.raises(ValueError, match=match):
        write_indexed(tmp_path / "image.jpg", [[0]], RED_BLUE)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    labels = np.random.default_rng(0).integers(0, 2, (90, 90), dtype=np.uint8)
    write_indexed(path, labels, RED_BLUE)
    content = path.read_bytes()
    for end in [0, 3, 30, len(content) // 2]:
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match="must name a sound file with a palette"):
            read_indexed(path)


@pytest.mark.parametrize("name", ["image.png", "image.tif", "image.bmp"])
def test_a_file_without_palette_is_refused(tmp_path, name):
    Image.new("RGB", (2, 2)).save(tmp_path / name)
    with pytest.raises(ValueError, match="must name a sound file with a palette"):
        read_indexed(tmp_path / name)


def test_a_file_of_something_else_is_refused_in_words(tmp_path):
    path = tmp_path / "photo.hex"
    path.write_text("1a0f0c\n")
    with pytest.raises(ValueError, match=r"photo\.hex: not an image, or of a format"):
        read_indexed(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_indexed(tmp_path / "missing.png")


def test_palette_files_of_pillow_are_read(tmp_path):
    image = Image.radial_gradient("L").convert("RGB").quantize(5)
    for suffix in ("png", "gif", "tif"):
        image.save(tmp_path / f"image.{suffix}")
        labels, palette = read_indexed(tmp_path / f"image.{suffix}")
        assert_array_equal(palette[labels], np.array(image.convert("RGB")))


@given(indexed=indexed_images(ndim=3))
def test_films_of_pillow_are_read_if_they_share_a_palette(folder, indexed):
    labels, palette = indexed
    path = folder / "film.gif"
    frames = []
    for plane in labels:
        frame = Image.fromarray(plane)
        frame.putpalette(palette.tobytes())
        frames.append(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames[0].save(path, save_all=True, append_images=frames[1:], optimize=False)
    with Image.open(path) as image:
        shown = [np.array(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    try:
        found = read_indexed(path)
    except ValueError as error:
        assert "of their own" in str(error)  # noqa: PT017
    else:
        found_colors = found.palette[..., :3][found.labels]
        assert_array_equal(found_colors.reshape(np.shape(shown)), shown)


def pictures():
    """Flat art, icons, gradients and noise, as labels of few or many colors."""
    rng = np.random.default_rng(0)
    down, right = np.indices((64, 48))
    circle = (np.hypot(down - 32, right - 24) / 6).astype(int)
    return {
        "icon": (circle[::4, ::4] % 3, 3),
        "two colors": ((down // 8 + right // 8) % 2, 2),
        "flat": (circle, 7),
        "gradient": (down + right, 111),
        "noise": (rng.integers(0, 16, (64, 48)), 16),
        "walk": (rng.integers(-1, 2, (400, 300)).cumsum(axis=1) % 32, 32),
    }


@pytest.mark.parametrize("name", pictures())
@pytest.mark.parametrize("n_channels", [3, 4])
def test_the_best_png_file_is_no_larger_than_that_of_version_0_1_0(name, n_channels):
    labels, n_colors = pictures()[name]
    labels = labels.astype(np.uint8)
    rng = np.random.default_rng(1)
    palette = rng.integers(0, 256, (n_colors, n_channels), np.uint8)

    def as_in_0_1_0(order, level, is_free):
        image = Image.fromarray(np.argsort(order).astype(np.uint8)[labels])
        image.putpalette(palette[order][:, :3].tobytes())
        buffer, options = io.BytesIO(), {"compress_level": 1}
        if n_channels == 4:
            options["transparency"] = palette[order][:, 3].tobytes()
        image.save(buffer, "PNG", **options)
        shrunk = oxipng.optimize_from_memory(
            buffer.getvalue(),
            level=level,
            bit_depth_reduction=is_free,
            color_type_reduction=False,
            grayscale_reduction=False,
            palette_reduction=is_free,
        )
        return len(shrunk)

    old = as_in_0_1_0(np.arange(n_colors), 4, True)
    if n_colors <= 16:
        old = min(old, as_in_0_1_0(neighborly_order(labels, n_colors), 2, False))
    sizes = {
        effort: len(
            encode_indexed("a.png", labels, palette, keep_order=False, effort=effort)
        )
        for effort in EFFORTS
    }
    assert sizes["best"] <= old
    # Small images always have the best, unless they are to be fast.
    if labels.size <= 1 << 16:
        assert sizes["normal"] == sizes["best"]


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("shape", [(20, 30), (300, 301)])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_unused_colors_are_left_out_where_the_order_may_change(
    effort, shape, n_channels
):
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([3, 77, 200], np.uint8), shape)
    palette = rng.integers(0, 256, (256, n_channels), np.uint8)
    content = encode_indexed("a.png", labels, palette, keep_order=False, effort=effort)
    found, colors = decode_indexed(content)
    assert effort != "fast" or content[24] == 2
    assert len(colors) == 3
    assert_array_equal(colors[found], palette[labels])


def test_neighbors_lie_side_by_side_in_the_palette_unless_it_must_be_fast():
    labels = np.random.default_rng(0).permutation(64).repeat(640).reshape(128, 320)
    labels, palette = labels.astype(np.uint8), np.arange(192, dtype=np.uint8)
    palette = palette.reshape(64, 3)
    for effort, is_sorted in [("fast", False), ("normal", True)]:
        content = encode_indexed(
            "a.png", labels, palette, keep_order=False, effort=effort
        )
        colors = decode_indexed(content).palette
        assert (not np.array_equal(colors, palette)) == is_sorted


def test_unused_colors_are_left_out_even_where_a_file_had_fewer_bytes_with_them():
    palette = np.array([[64, 97, 53, 128], [160, 202, 127, 255], [47, 130, 226, 255]])
    labels, palette = np.zeros((3, 5), np.uint8), palette.astype(np.uint8)
    content = encode_indexed("a.png", labels, palette, keep_order=False)
    assert_array_equal(decode_indexed(content).palette, palette[:1])


def test_opacity_is_left_out_of_an_opaque_palette_whose_order_may_change():
    palette = np.array([[9, 8, 7, 255], [1, 2, 3, 255]], np.uint8)
    labels = np.array([[0, 1]], np.uint8)
    content = encode_indexed("a.png", labels, palette, keep_order=False)
    assert b"tRNS" not in content
