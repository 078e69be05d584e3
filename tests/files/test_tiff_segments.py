import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_kmeans._files.read import decode_image
from napari_kmeans._files.tiff_segments import check_segment

NUMBERS = {"jpeg": 7, "jpeg2000": 34712, "webp": 50001, "lerc": 34887}


def segment(codec, shape, dtype="u1"):
    """A compressed image of a shape."""
    pixels = np.zeros(shape, dtype)
    if codec == "jpeg":
        return imagecodecs.jpeg_encode(pixels)
    if codec == "jpeg2000":
        return imagecodecs.jpeg2k_encode(pixels)
    return {"webp": imagecodecs.webp_encode, "lerc": imagecodecs.lerc_encode}[codec](
        pixels
    )


@pytest.mark.parametrize("codec", NUMBERS)
@pytest.mark.parametrize("shape", [(33, 20, 3), (16, 64, 3)])
def test_a_segment_claims_the_samples_that_it_is_decoded_to(codec, shape):
    n_samples = np.prod(shape) if codec != "webp" else np.prod(shape[:2]) * 4
    data = segment(codec, shape)
    check_segment(data, NUMBERS[codec], n_samples)
    with pytest.raises(ValueError, match=f"claims {n_samples:,} samples"):
        check_segment(data, NUMBERS[codec], n_samples - 1)


@pytest.mark.parametrize("boxed", [False, True])
def test_jpeg_2000_is_found_bare_and_in_a_box(boxed):
    kind = {"codecformat": "JP2" if boxed else "J2K"}
    data = imagecodecs.jpeg2k_encode(np.zeros((33, 20), "u2"), **kind)
    assert data.startswith(b"\xff\x4f") == (not boxed)
    with pytest.raises(ValueError, match="claims 660 samples"):
        check_segment(data, 34712, 659)


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_is_measured_with_losses_and_without(lossless):
    data = imagecodecs.webp_encode(np.zeros((33, 20, 3), "u1"), lossless=lossless)
    with pytest.raises(ValueError, match="claims 2,640 samples"):
        check_segment(data, 50001, 2639)


@pytest.mark.parametrize("codec", NUMBERS)
@pytest.mark.parametrize("data", [b"", b"\xff", bytes(99), b"RIFF" + bytes(40)])
def test_what_is_of_another_compression_is_refused(codec, data):
    with pytest.raises(ValueError, match="not of the compression that the file names"):
        check_segment(data, NUMBERS[codec], 1 << 40)


@pytest.mark.parametrize("codec", NUMBERS)
def test_a_small_strip_does_not_unfold_to_a_large_image(codec):
    small = np.zeros((16, 16, 3), "u1")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, small, photometric="rgb", compression=codec)
    content = buffer.getvalue()
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        start, size = page.dataoffsets[0], page.databytecounts[0]
        count = page.tags["StripByteCounts"].valueoffset
        offset = page.tags["StripOffsets"].valueoffset
    assert size
    large = segment(codec, (4000, 4000, 3))
    content = bytearray(content)
    content[offset : offset + 4] = struct.pack("<I", len(content))
    content[count : count + 4] = struct.pack("<I", len(large))
    assert start < len(content)
    with pytest.raises(ValueError, match="too many pixels: a strip or tile claims"):
        decode_image(bytes(content) + large)


def test_a_tile_much_larger_than_its_image_is_refused():
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, np.zeros((16, 16), "u1"), tile=(16, 16), photometric="minisblack"
    )
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for name in ("TileWidth", "TileLength"):
            tag = file.pages.first.tags[name]
            at = tag.valueoffset
            content[at : at + 2] = struct.pack("<H", 60_000)
    with pytest.raises(ValueError, match="a strip or tile has the shape"):
        decode_image(bytes(content))
