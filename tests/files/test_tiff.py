import contextlib
import io
import itertools
import json
import shutil
import struct
import tracemalloc

import imageio.v2 as iio
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from napari_kmeans import ImageMetadata, read_indexed, read_metadata, write_indexed
from napari_kmeans._files.metadata import with_axes
from napari_kmeans._files.read import (
    ImageFile,
    decode_image,
    default_suffix,
    read_image,
)
from napari_kmeans._files.replace import replace_file
from napari_kmeans._files.write import encode_image

PALETTE = np.arange(12, dtype=np.uint8).reshape(4, 3)
OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def stack(*shape, dtype="u2"):
    return np.random.default_rng(0).integers(0, 251, shape).astype(dtype)


def appended(arrays, options=None, **common):
    """A file to which arrays were written one after the other."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for array, own in zip(arrays, options or itertools.repeat({}), strict=False):
            file.write(array, **common, **own)
    return buffer.getvalue()


@pytest.mark.parametrize("metadata", [{}, None, {"axes": "YX"}])
def test_appended_frames_of_one_shape_are_a_stack(metadata):
    frames = stack(5, 6, 7)
    content = appended(frames, photometric="minisblack", metadata=metadata)
    image = decode_image(content)
    assert_array_equal(image.pixels, frames, strict=True)
    assert image.metadata.axes == "IYX"


def test_frames_of_imageio_are_a_stack(tmp_path):
    frames = stack(4, 6, 7)
    iio.mimwrite(tmp_path / "a.tif", list(frames))
    assert_array_equal(read_image(tmp_path / "a.tif").pixels, frames, strict=True)


def test_appended_volumes_keep_their_axes():
    volumes = stack(4, 3, 6, 7)
    content = appended(volumes, photometric="minisblack", metadata={"axes": "ZYX"})
    image = decode_image(content)
    assert_array_equal(image.pixels, volumes, strict=True)
    assert image.metadata.axes == "IZYX"


def test_appended_frames_are_not_compared_with_each_other(monkeypatch):
    def compare(_):
        pytest.fail("tifffile compares each series with all others")

    monkeypatch.setattr(tifffile.TiffFile, "series", property(compare))
    frames = stack(5, 6, 7)
    for metadata in ({}, None):
        content = appended(frames, photometric="minisblack", metadata=metadata)
        assert_array_equal(decode_image(content).pixels, frames)


@pytest.mark.parametrize("metadata", [{}, None])
def test_frames_are_in_the_order_of_the_file_however_each_is_stored(metadata):
    frames = stack(5, 6, 7, 3, dtype="u1")
    kinds = [{"compression": name} for name in (None, "lzw", "lzw", "zlib", None)]
    content = appended(frames, kinds, photometric="rgb", metadata=metadata)
    image = decode_image(content)
    assert_array_equal(image.pixels, frames, strict=True)
    assert image.metadata.axes == "IYXS"


def test_white_may_be_0_in_one_page_and_255_in_another():
    frame = stack(6, 7, dtype="u1")
    kinds = [{"photometric": "minisblack"}, {"photometric": "miniswhite"}]
    found = decode_image(appended([frame, ~frame], kinds)).pixels
    assert_array_equal(found, [frame, frame], strict=True)


def test_images_of_an_ome_file_that_are_alike_are_a_stack():
    buffer = io.BytesIO()
    images = stack(3, 2, 6, 7)
    with tifffile.TiffWriter(buffer, ome=True) as file:
        for image in images:
            file.write(image, photometric="minisblack", metadata={"axes": "CYX"})
    found = decode_image(buffer.getvalue())
    assert_array_equal(found.pixels, np.moveaxis(images, 1, -1), strict=True)
    assert found.metadata.axes == "ICYX"


@pytest.mark.parametrize(
    "others",
    [stack(2, 6, 7), stack(3, 6, 8), stack(3, 6, 7, dtype="u1"), stack(3, 6, 7, 3)],
)
def test_images_that_differ_are_refused_with_what_to_do(others):
    kinds = [{"photometric": "rgb" if x.ndim == 4 else "minisblack"} for x in (others,)]
    content = appended(
        [stack(3, 6, 7), others], [{"photometric": "minisblack"}, *kinds]
    )
    with pytest.raises(ValueError, match=r"different kinds: .*; save each as a file"):
        decode_image(content)


def write_ome_set(folder, planes_of, size, *, has_uuid=True, has_counts=True):
    """Write the files of an OME set, each with the planes (t, c, z) that are its own.

    The level of a plane is 1 + 100 t + 10 c + z.
    """
    identities = {name: f"urn:uuid:{i}" for i, name in enumerate(planes_of)}
    data = "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}"'
        + f' IFD="{i}" PlaneCount="1"' * has_counts
        + f'><UUID FileName="{name}">{identities[name]}</UUID></TiffData>'
        for name, planes in planes_of.items()
        for i, (t, c, z) in enumerate(planes if has_counts else planes[:1])
    )
    for name, planes in planes_of.items():
        uuid = f'UUID="{identities[name]}"' if has_uuid else ""
        about = (
            f'<?xml version="1.0"?><OME xmlns="{OME}" {uuid}><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="7" '
            f'SizeY="6" SizeZ="{size[2]}" SizeC="{size[1]}" SizeT="{size[0]}" '
            'PhysicalSizeX="0.5" PhysicalSizeY="0.25">'
            f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{data}</Pixels>'
            "</Image></OME>"
        )
        levels = [1 + 100 * t + 10 * c + z for t, c, z in planes]
        pixels = np.full((len(planes), 6, 7), 0, np.uint16)
        pixels += np.uint16(levels)[:, np.newaxis, np.newaxis]
        tifffile.imwrite(
            folder / name,
            pixels if len(planes) > 1 else pixels[0],
            photometric="minisblack",
            metadata=None,
            description=about,
        )


def levels_of(path):
    pixels = read_image(path).pixels
    return [int(plane.flat[0]) for plane in pixels.reshape(-1, 6, 7)]


@pytest.mark.parametrize("has_uuid", [True, False])
@pytest.mark.parametrize("has_counts", [True, False])
def test_a_file_of_an_ome_set_holds_its_own_planes_and_no_others(
    tmp_path, has_counts, has_uuid
):
    planes = {
        f"{t}.ome.tif": [(t, c, z) for c in range(2) for z in range(3)]
        for t in range(2)
    }
    options = {"has_uuid": has_uuid, "has_counts": has_counts}
    write_ome_set(tmp_path, planes, (2, 2, 3), **options)
    shutil.copy(tmp_path / "1.ome.tif", tmp_path / "renamed.tif")
    expected = [101, 102, 103, 111, 112, 113]
    for name in ("1.ome.tif", "renamed.tif"):
        assert levels_of(tmp_path / name) == expected
    # Neither with nor without the other files.
    (tmp_path / "0.ome.tif").unlink()
    assert levels_of(tmp_path / "1.ome.tif") == expected
    found = read_metadata(tmp_path / "1.ome.tif")
    assert found.axes == "IYX"
    assert found.scale == (1.0, 0.25, 0.5)


@pytest.mark.parametrize(
    ("name", "number"), [("SizeT", 1), ("PlaneCount", 1), ("FirstZ", 0), ("SizeC", 1)]
)
def test_planes_that_are_only_named_take_no_room(tmp_path, name, number):
    path = tmp_path / "a.ome.tif"
    write_ome_set(tmp_path, {"a.ome.tif": [(0, 0, 0)]}, (1, 1, 1))
    with tifffile.TiffFile(path) as file:
        about = file.ome_metadata
    claims = about.replace(f'{name}="{number}"', f'{name}="2000000"')
    pixels, options = stack(6, 7), {"metadata": None, "description": claims}
    tifffile.imwrite(path, pixels, photometric="minisblack", **options)
    tracemalloc.start()
    assert_array_equal(read_image(path).pixels, pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_a_file_of_an_ome_set_is_compressed_to_plain_tiff(tmp_path):
    planes = {f"{t}.ome.tif": [(t, 0, z) for z in range(3)] for t in range(2)}
    write_ome_set(tmp_path, planes, (2, 1, 3))
    with (tmp_path / "1.ome.tif").open("rb") as file:
        assert default_suffix(file) == ".tif"
    with pytest.raises(ValueError, match=r"axes IYX; choose \.tif without \.ome"):
        encode_image("a.ome.tif", read_image(tmp_path / "1.ome.tif"))


def test_a_set_of_single_planes_is_read_plane_by_plane(tmp_path):
    write_ome_set(tmp_path, {f"{t}.tif": [(t, 0, 0)] for t in range(3)}, (3, 1, 1))
    assert [levels_of(tmp_path / f"{t}.tif") for t in range(3)] == [[1], [101], [201]]


def test_planes_that_were_never_recorded_are_not_made_up(tmp_path):
    planes = [(t, c, 0) for t in range(2) for c in range(2)]
    write_ome_set(tmp_path, {"a.ome.tif": planes}, (9, 2, 1))
    assert levels_of(tmp_path / "a.ome.tif") == [1, 11, 101, 111]


def test_a_whole_ome_file_keeps_its_axes_under_another_name(tmp_path):
    planes = [(t, c, z) for t in range(2) for c in range(2) for z in range(3)]
    write_ome_set(tmp_path, {"a.ome.tif": planes}, (2, 2, 3))
    shutil.move(tmp_path / "a.ome.tif", tmp_path / "b.tif")
    image = read_image(tmp_path / "b.tif")
    assert image.metadata.axes == "TCZYX"
    assert_array_equal(image.pixels[1, 2, 0, 0], [103, 113])


def test_a_note_of_another_shape_is_not_believed():
    buffer = io.BytesIO()
    labels = stack(1, 3, 4, dtype="u1") % 4
    color_map = np.zeros((3, 256), np.uint16)
    note = {"colors": 4, "dtype": "uint8", "axes": "TYX", "shape": [2, 3, 4]}
    tags = [(65000, "s", 0, json.dumps(note), True)]
    options = {"photometric": "palette", "colormap": color_map, "metadata": None}
    tifffile.imwrite(buffer, labels[0], extratags=tags, **options)
    assert decode_image(buffer.getvalue()).pixels.shape == (3, 4, 3)
    # The one of the right shape is, though readers drop axes of length 1.
    note["shape"] = [1, 3, 4]
    tags = [(65000, "s", 0, json.dumps(note), True)]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, labels[0], extratags=tags, **options)
    assert decode_image(buffer.getvalue()).pixels.shape == (1, 3, 4, 3)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("unit", ["micrometer", "second", "inch", "pixel", "parsec"])
@pytest.mark.parametrize("size", [0.5, 1e-30, 1e30])
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (3, 4)),
        ("YX", (5, 1)),
        ("YX", (1, 5)),
        ("YX", (1, 1)),
        ("TYX", (2, 5, 1)),
        ("ZCYX", (1, 2, 3, 1)),
    ],
)
def test_whatever_sizes_are_written_labels_come_back(
    tmp_path, axes, shape, size, unit, name
):
    labels = np.arange(np.prod(shape)).reshape(shape) % 4
    metadata = ImageMetadata(axes, (size,) * len(axes), (unit,) * len(axes))
    write_indexed(tmp_path / name, labels, PALETTE, metadata=metadata)
    found = read_indexed(tmp_path / name)
    assert_array_equal(found.labels, labels)
    assert_array_equal(found.palette, PALETTE)
    kept = read_metadata(tmp_path / name)
    assert kept.axes == axes + "S"
    if unit == "micrometer" and size == 0.5:
        assert kept.scale[-3:-1] == pytest.approx((size, size))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_an_image_of_one_column_keeps_the_sizes_of_its_pixels(tmp_path, dtype):
    sizes = {"Y": (0.5, "micrometer"), "X": (0.25, "micrometer")}
    metadata = with_axes(ImageMetadata(), "YX", sizes)
    image = ImageFile(stack(5, 1, dtype=dtype), False, False, metadata)
    replace_file(tmp_path / "a.tif", encode_image("a.tif", image))
    found = read_image(tmp_path / "a.tif")
    assert_array_equal(found.pixels, image.pixels, strict=True)
    assert found.metadata.scale == pytest.approx((0.5, 0.25))


@pytest.mark.parametrize(
    ("unit", "seconds"), [("millisecond", 0.001), ("second", 1), ("hour", 3600)]
)
def test_imagej_is_told_seconds_between_frames(unit, seconds):
    metadata = with_axes(ImageMetadata(), "TYX", {"T": (3.0, unit)})
    content = encode_image("a.tif", ImageFile(stack(2, 4, 5), False, False, metadata))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.imagej_metadata["finterval"] == pytest.approx(3 * seconds)


def test_axes_of_which_nothing_is_known_have_letters_that_differ(tmp_path):
    labels = stack(1, 2, 1, 2, 3, 4) % 4
    write_indexed(tmp_path / "a.tif", labels, PALETTE)
    metadata = read_metadata(tmp_path / "a.tif")
    axes = metadata.axes.removesuffix("S")
    assert len(set(axes)) == len(axes) == 6
    assert axes.endswith("TZYX")
    assert_array_equal(read_indexed(tmp_path / "a.tif").labels, labels)


CODECS = ("lzw", "zlib", "zstd", "lzma", "packbits", "lerc")


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize(
    ("codec", "dtype"),
    [
        *itertools.product(CODECS, ["u1", "u2", "f4"]),
        ("jpeg2000", "u1"),
        ("jpeg2000", "u2"),
    ],
)
@pytest.mark.parametrize("shape", [(20, 33), (3, 20, 33), (20, 33, 3)])
def test_lossless_compressions_are_read_exactly(shape, dtype, codec, tile):
    buffer, pixels = io.BytesIO(), stack(*shape, dtype=dtype)
    photometric = "rgb" if shape[-1] == 3 else "minisblack"
    options = {"photometric": photometric, "compression": codec, "tile": tile}
    tifffile.imwrite(buffer, pixels, **options)
    assert_array_equal(decode_image(buffer.getvalue()).pixels, pixels, strict=True)


def test_jpeg_images_are_read_as_pillow_reads_them():
    buffer = io.BytesIO()
    pixels = np.array(Image.radial_gradient("L").resize((32, 32)).convert("RGB"))
    tifffile.imwrite(buffer, pixels, photometric="rgb", compression="jpeg")
    found = decode_image(buffer.getvalue()).pixels
    assert_array_equal(found, np.array(Image.open(buffer).convert("RGB")))


@pytest.mark.parametrize("n_samples", [3, 4])
def test_webp_images_are_read_exactly(n_samples):
    buffer, pixels = io.BytesIO(), stack(20, 33, n_samples, dtype="u1") + 1
    options = {"compression": "webp", "compressionargs": {"lossless": True}}
    tifffile.imwrite(buffer, pixels, photometric="rgb", **options)
    assert_array_equal(decode_image(buffer.getvalue()).pixels, pixels, strict=True)


@pytest.mark.parametrize(
    ("dtype", "predictor"), [("u1", 2), ("u2", 2), ("f2", 3), ("f4", 3), ("f8", 3)]
)
def test_differences_of_neighbors_are_added_up(dtype, predictor):
    buffer, pixels = io.BytesIO(), stack(20, 33, dtype=dtype)
    options = {"compression": "lzw", "predictor": predictor}
    tifffile.imwrite(buffer, pixels, photometric="minisblack", **options)
    assert_array_equal(decode_image(buffer.getvalue()).pixels, pixels, strict=True)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_indices_are_read_of_compressed_files(compression, tmp_path):
    labels = stack(6, 7, dtype="u1") % 4
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    image.save(tmp_path / "a.tif", compression=compression)
    found = read_indexed(tmp_path / "a.tif")
    assert_array_equal(found.labels, labels)
    assert_array_equal(found.palette[:4], PALETTE)


def test_compressions_whose_size_is_not_known_before_are_refused_by_name():
    buffer = io.BytesIO()
    pixels = stack(20, 33, 3, dtype="u1")
    tifffile.imwrite(buffer, pixels, photometric="rgb", compression="jpegxl")
    with pytest.raises(ValueError, match=r"compressed by JPEGXL .* save it by LZW"):
        decode_image(buffer.getvalue())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["YCbCr", "RGB", "CMYK"])
def test_orientation_turns_all_colors_alike(mode, orientation):
    gradient = Image.linear_gradient("L").resize((6, 4)).rotate(30)
    image = Image.merge("RGB", [gradient] * 3).convert(mode)
    exif = Image.Exif()
    buffers = [io.BytesIO(), io.BytesIO()]
    image.save(buffers[0], "TIFF", compression="tiff_lzw")
    exif[274] = orientation
    image.save(buffers[1], "TIFF", compression="tiff_lzw", exif=exif)
    upright = decode_image(buffers[0].getvalue()).pixels
    # TIFF 6.0, section 8: the side of the picture on which rows and columns start.
    y_is_flipped, x_is_flipped = (
        orientation in (3, 4, 7, 8),
        orientation in (2, 3, 6, 7),
    )
    expected = upright.swapaxes(0, 1) if orientation > 4 else upright
    expected = expected[:: -1 if y_is_flipped else 1, :: -1 if x_is_flipped else 1]
    assert_array_equal(decode_image(buffers[1].getvalue()).pixels, expected)


def test_nothing_is_printed_of_broken_files(capfd):
    image = Image.radial_gradient("L").convert("YCbCr")
    for compression in ("tiff_lzw", "jpeg", "tiff_deflate"):
        buffer = io.BytesIO()
        image.save(buffer, "TIFF", compression=compression)
        content = bytearray(buffer.getvalue())
        middle = len(content) // 2
        content[middle : middle + 200] = b"\xff" * 200
        with contextlib.suppress(ValueError):
            decode_image(bytes(content))
    assert capfd.readouterr() == ("", "")


def micro_manager(planes, summary):
    """A stack of Micro-Manager, of planes by their place (c, z, t, position).

    The level of a plane is 1 + 100 t + 10 c + z. The places of pages are fixed: a
    directory of 13 entries, then the pixels.
    """
    about = json.dumps({"MicroManagerVersion": "1.4"} | summary).encode()
    first, size = 40 + len(about) + 20 * len(planes) + 8, 162 + 84
    offsets = [first + i * size for i in range(len(planes))]
    content = struct.pack("<2sHI", b"II", 42, first)
    content += (
        struct.pack(
            "<IIIIIIII", 54773648, 40 + len(about), *[0] * 4, 2355492, len(about)
        )
        + about
    )
    content += struct.pack("<II", 3453623, len(planes))
    for place, offset in zip(planes, offsets, strict=True):
        content += struct.pack("<5I", *place, offset)
    for (c, z, t, _), offset in zip(planes, offsets, strict=True):
        entries = [
            (256, 4, 1, 7),
            (257, 4, 1, 6),
            (258, 3, 1, 16),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, offset + 162),
            (277, 3, 1, 1),
            (278, 4, 1, 6),
            (279, 4, 1, 84),
            (282, 5, 1, 8),
            (283, 5, 1, 8),
            (296, 3, 1, 1),
            (51123, 2, len(about), 40),
        ]
        content += struct.pack("<H", 13)
        content += b"".join(struct.pack("<HHII", *entry) for entry in entries)
        content += struct.pack("<I", 0 if offset == offsets[-1] else offset + size)
        content += np.full(42, 1 + 100 * t + 10 * c + z, "<u2").tobytes()
    return content


@pytest.mark.parametrize("n_frames", [2, 5])
def test_a_stack_of_micro_manager_holds_its_own_planes(n_frames):
    planes = [(c, z, t, 0) for t in range(2) for z in range(3) for c in range(2)]
    summary = {"Frames": n_frames, "Slices": 3, "Channels": 2, "Positions": 1}
    content = micro_manager(planes, summary)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.is_mmstack
    image = decode_image(content)
    levels = [1, 2, 3, 11, 12, 13, 101, 102, 103, 111, 112, 113]
    assert sorted(np.unique(image.pixels)) == levels
    # With all planes, or those of its first frames, the axes are known.
    assert image.metadata.axes == "TZCYX"
    assert_array_equal(image.pixels[1, 2, 0, 0], [103, 113])


def test_planes_that_micro_manager_has_not_written_are_not_made_up():
    planes = [(c, z, t, 0) for t in range(2) for z in range(3) for c in range(2)]
    summary = {"Frames": 2, "Slices": 3, "Channels": 2, "Positions": 1}
    image = decode_image(micro_manager(planes[:-1], summary))
    assert image.pixels.shape == (11, 6, 7)
    assert image.pixels.min() == 1
