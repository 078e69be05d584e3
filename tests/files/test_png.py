import io
import struct
import zlib

import numpy as np
import oxipng
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, PngImagePlugin

from napari_kmeans import read_indexed, read_metadata, write_indexed
from napari_kmeans._files.png import decode_deep_png
from napari_kmeans._files.read import decode_image

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
N_CHANNELS = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGBA: 4}
PASSES = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def header(width, height, depth, color_type, interlaced=0):
    numbers = (width, height, depth, color_type, 0, 0, interlaced)
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *numbers))


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IEND", b"")])


def pixels_of(rows):
    return chunk(b"IDAT", zlib.compress(rows))


def packed(levels, depth):
    """Rows of levels (rows, columns) of so many bits, without filters."""
    bits = (levels[..., np.newaxis] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(len(levels), -1).astype(np.uint8), axis=1)
    return np.insert(rows, 0, 0, axis=1).tobytes()


def deep(pixels, color_type, *others, interlaced=0):
    """A PNG file of (rows, columns, C) in 16 bits."""
    height, width, _ = pixels.shape
    steps = PASSES if interlaced else [(0, 0, 1, 1)]
    parts = [pixels[y::down, x::across] for x, y, across, down in steps]
    rows = [
        np.insert(
            np.ascontiguousarray(p, ">u2").view("u1").reshape(len(p), -1), 0, 0, 1
        )
        for p in parts
        if p.size
    ]
    head = header(width, height, 16, color_type, interlaced)
    return png(head, *others, pixels_of(b"".join(row.tobytes() for row in rows)))


def noise(*shape):
    return np.random.default_rng(0).integers(1, 65536, shape, dtype=np.uint16)


@pytest.mark.parametrize("high_bits", [0, 1])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_transparent_level_of_gray_is_clear_at_every_depth(depth, high_bits):
    top = (1 << depth) - 1
    levels = np.arange(2 * (top + 1)).reshape(2, -1) & top
    for key in {0, 1, top}:
        # Only the lower bits of the level count.
        clear = chunk(b"tRNS", struct.pack(">H", key | high_bits << depth))
        head = header(levels.shape[1], 2, depth, GRAY)
        image = decode_image(png(head, clear, pixels_of(packed(levels, depth))))
        expected = np.stack([levels * (255 // top)] * 3 + [levels * 0 + 255], axis=-1)
        expected[levels == key] = 0
        assert_array_equal(image.pixels, expected)
        assert image.has_alpha


def test_the_transparent_color_of_8_bits_is_clear():
    clear = chunk(b"tRNS", struct.pack(">HHH", 0x0101, 2, 0x0203))
    rows = bytes([0, 1, 2, 3, 1, 2, 4])
    image = decode_image(png(header(2, 1, 8, RGB), clear, pixels_of(rows)))
    assert_array_equal(image.pixels, [[[0, 0, 0, 0], [1, 2, 4, 255]]])


@pytest.mark.parametrize("color_type", N_CHANNELS)
@pytest.mark.parametrize("shape", [(9, 11), (1, 1), (2, 5), (5, 1)])
def test_16_bits_are_read_interlaced_or_not(color_type, shape):
    pixels = noise(*shape, N_CHANNELS[color_type])
    plain = decode_image(deep(pixels, color_type)).pixels
    found = decode_image(deep(pixels, color_type, interlaced=1)).pixels
    assert_array_equal(found, plain, strict=True)
    if color_type != GRAY_ALPHA:
        assert_array_equal(plain, pixels if plain.ndim == 3 else pixels[..., 0])


@pytest.mark.parametrize("color_type", [GRAY, RGB])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_the_transparent_color_of_16_bits_is_clear(color_type, interlaced):
    pixels = noise(6, 7, N_CHANNELS[color_type])
    key = chunk(b"tRNS", np.ascontiguousarray(pixels[2, 3], ">u2").tobytes())
    image = decode_image(deep(pixels, color_type, key, interlaced=interlaced))
    assert image.has_alpha
    assert np.argwhere(image.pixels[..., 3] == 0).tolist() == [[2, 3]]


def test_no_optimizer_decodes(monkeypatch):
    monkeypatch.setattr(oxipng, "optimize_from_memory", None)
    monkeypatch.setattr(oxipng, "optimize", None)
    pixels = noise(4, 5, 3)
    assert_array_equal(decode_image(deep(pixels, RGB)).pixels, pixels)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_second_header_is_refused(depth):
    rows = pixels_of(bytes(1 + depth // 8))
    for late in (
        png(header(1, 1, depth, GRAY), rows, header(60_000, 60_000, depth, GRAY)),
        png(header(1, 1, depth, GRAY), header(1, 1, depth, GRAY), rows),
        png(chunk(b"tEXt", b"a\0b"), header(1, 1, depth, GRAY), rows),
    ):
        with pytest.raises(ValueError, match="must have one header, at its start"):
            decode_image(late)


def test_sizes_of_16_bits_are_checked_before_pixels_are_allocated():
    claimed = png(header(90_000, 90_000, 16, RGBA), pixels_of(bytes(9)))
    with pytest.raises(ValueError, match=r"too many pixels .* \(90000, 90000\); scale"):
        decode_deep_png(claimed)
    with pytest.raises(ValueError, match="too many pixels"):
        decode_image(claimed)


@pytest.mark.parametrize("interlaced", [0, 1])
def test_16_bits_unfold_to_what_the_header_says(interlaced):
    rows = bytes(10_000_000)
    head = header(3, 2, 16, GRAY, interlaced)
    found = decode_image(png(head, pixels_of(rows))).pixels
    assert_array_equal(found, np.zeros((2, 3), np.uint16))
    with pytest.raises(ValueError, match="fewer pixels than its header says"):
        decode_image(png(head, pixels_of(bytes(13))))


def test_damaged_chunks_of_16_bits_are_refused():
    content = deep(noise(4, 4, 1), GRAY)
    for kind in (b"IDAT", b"IEND"):
        place = content.index(kind) + 4
        damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(
            ValueError, match=f"the {kind.decode()} chunk .* is damaged"
        ):
            decode_image(damaged)
    with pytest.raises(ValueError, match="file is truncated"):
        decode_image(content[:-12])
    # What is behind the end is no part of the file.
    decode_image(content + b"more")


@pytest.mark.parametrize(
    "name",
    [
        *("transparency", "dpi", "icc_profile", "exif", "default_image", "loop"),
        *("duration", "gamma", "bbox", "napari-kmeans", "Title"),
    ],
)
def test_a_text_of_any_name_changes_no_pixel_and_no_metadata(tmp_path, name):
    pixels = (noise(4, 5, 3) >> 8).astype(np.uint8)
    info = PngImagePlugin.PngInfo()
    info.add_text(name, "1")
    info.add_itxt(name, "2")
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path, pnginfo=info)
    plain = io.BytesIO()
    Image.fromarray(pixels).save(plain, "PNG")
    image = decode_image(path.read_bytes())
    assert_array_equal(image.pixels, pixels)
    assert image.metadata == decode_image(plain.getvalue()).metadata
    assert read_metadata(path) == image.metadata


def test_an_index_beyond_the_palette_is_refused(tmp_path):
    colors = chunk(b"PLTE", bytes(9))
    rows = pixels_of(b"\0\x1b")
    (tmp_path / "a.png").write_bytes(png(header(4, 1, 2, PALETTE), colors, rows))
    with pytest.raises(ValueError, match="an index is 3, of 3 colors"):
        read_indexed(tmp_path / "a.png")


class Panic(BaseException):
    """As those of Rust, which are no Exception."""


@pytest.mark.parametrize("fault", [Panic("range end"), MemoryError("range end")])
def test_a_fault_of_the_optimizer_is_told_as_that_of_the_file(
    tmp_path, monkeypatch, fault
):
    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(oxipng, "optimize_from_memory", fail)
    with pytest.raises(ValueError, match="cannot be compressed by oxipng: range end"):
        write_indexed(tmp_path / "a.png", [[0]], np.zeros((1, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_optimizer(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(oxipng, "optimize_from_memory", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_indexed(tmp_path / "a.png", [[0]], np.zeros((1, 3), np.uint8))


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_the_picture_for_old_viewers_is_no_frame_of_a_film(tmp_path, n_frames):
    frames = [Image.new("RGB", (5, 4), c) for c in ("red", "blue", "lime")[:n_frames]]
    path = tmp_path / "film.png"
    Image.new("RGB", (5, 4)).save(
        path,
        save_all=True,
        append_images=frames,
        default_image=True,
        duration=[100, 250, 40][:n_frames],
        loop=2,
    )
    image = decode_image(path.read_bytes())
    expected = np.array([np.array(frame) for frame in frames])
    assert_array_equal(image.pixels, expected if n_frames > 1 else expected[0])
    assert image.metadata.durations == ((0.1, 0.25, 0.04)[:n_frames] * (n_frames > 1))
    assert image.metadata.plays == 2 * (n_frames > 1)
    assert read_metadata(path) == image.metadata


def test_films_of_16_bits_are_refused_and_not_cut_to_8():
    frames = chunk(b"acTL", struct.pack(">II", 2, 0))
    control = struct.pack(">IIIIHHBB", 2, 1, 0, 0, 1, 10, 0, 0)
    rows = zlib.compress(bytes(13))
    content = png(
        header(2, 1, 16, RGB),
        frames,
        chunk(b"fcTL", struct.pack(">I", 0) + control),
        chunk(b"IDAT", rows),
        chunk(b"fcTL", struct.pack(">I", 1) + control),
        chunk(b"fdAT", struct.pack(">I", 2) + rows),
    )
    with pytest.raises(ValueError, match="16-bit colors of a PNG film cannot be"):
        decode_image(content)
