"""Animations in PNG and WebP files; GIF files have tests of their own."""

import itertools
import struct
import zlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageSequence

from napari_kmeans import ImageMetadata, read_indexed, read_metadata, write_indexed
from napari_kmeans._files.indexed import encode_indexed
from napari_kmeans._files.png import durations_of_png, frames_of_png
from napari_kmeans._files.read import ImageFile, decode_image
from napari_kmeans._files.write import encode_image

SOFT = np.array(
    [[9, 8, 7, 255], [0, 0, 0, 0], [250, 0, 9, 120], [0, 0, 90, 255], [1, 2, 3, 9]],
    "u1",
)
# A change of all, none, one of a few pixels, and none again.
LABELS = np.random.default_rng(0).integers(0, 5, (5, 11, 14), dtype=np.uint8)
LABELS[2] = LABELS[3] = LABELS[4] = LABELS[1]
LABELS[3:, 4:6, 7:9] = 0


def film(palette, durations=(), plays=0):
    metadata = ImageMetadata("TYXS", durations=durations, plays=plays)
    return ImageFile(palette[LABELS], True, palette.shape[1] == 4, metadata)


def test_frames_of_gif_that_say_no_duration_have_none(tmp_path):
    frames = [Image.fromarray(labels * 50) for labels in LABELS[:3]]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    content = (tmp_path / "a.gif").read_bytes()
    assert decode_image(content).metadata == read_metadata(tmp_path / "a.gif")
    assert not any(decode_image(content).metadata.durations)


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("palette", [SOFT, SOFT[:, :3]], ids=["soft", "opaque"])
def test_png_films_are_read_as_they_were_written(tmp_path, palette):
    path = tmp_path / "film.png"
    durations = (1 / 30, 1 / 30, 0.0, 0.004, 1.25)
    metadata = ImageMetadata("TYX", durations=durations, plays=3)
    write_indexed(path, LABELS, palette, metadata=metadata)
    found = read_indexed(path)
    assert_array_equal(found.labels, LABELS, strict=True)
    assert_array_equal(found.palette, palette, strict=True)
    assert read_metadata(path).durations == durations
    image = decode_image(path.read_bytes())
    assert image.metadata == read_metadata(path)
    assert image.metadata.plays == 3
    assert_array_equal(image.pixels, palette[LABELS])
    with Image.open(path) as shown:
        assert (shown.n_frames, shown.mode, shown.info["loop"]) == (5, "P", 3)
        frames = [np.array(f.convert("RGBA")) for f in ImageSequence.Iterator(shown)]
    assert_array_equal(np.array(frames)[..., : palette.shape[1]], palette[LABELS])


@pytest.mark.parametrize("palette", [SOFT, SOFT[:, :3]], ids=["soft", "opaque"])
def test_frames_of_webp_that_repeat_become_one_that_lasts_as_long(palette):
    # Of 33.3 ms each; each end is rounded, and what is shown at all takes 1 ms.
    durations = (1 / 30, 1 / 30, 1 / 30, 0.0004, 1.25)
    image = decode_image(encode_image("a.webp", film(palette, durations, 3)))
    assert_array_equal(image.pixels, palette[LABELS[[0, 1, 3]]])
    assert image.metadata.durations == pytest.approx((0.033, 0.067, 1.25), abs=1e-9)
    assert image.metadata.plays == 3


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("plays", [0, 1, 2, 65535])
def test_the_number_of_plays_is_kept(tmp_path, suffix, plays):
    path = tmp_path / f"film{suffix}"
    path.write_bytes(encode_image(path.name, film(SOFT, plays=plays)))
    assert read_metadata(path).plays == plays


def test_more_plays_than_fit_are_as_many_as_fit(tmp_path):
    for suffix, most in ((".png", (1 << 31) - 1), (".gif", 65536)):
        path = tmp_path / f"film{suffix}"
        metadata = ImageMetadata(plays=1 << 40)
        write_indexed(path, LABELS, SOFT[:, :3], metadata=metadata)
        assert read_metadata(path).plays == most
    found = decode_image(encode_image("a.webp", film(SOFT, plays=1 << 40)))
    assert found.metadata.plays == 65535


@pytest.mark.parametrize("milliseconds", [0, 1, 16.7, 33, 41.7, 100, 3_600_000])
def test_films_are_as_long_as_their_frames(tmp_path, milliseconds):
    path, labels = tmp_path / "film.png", LABELS[:2].repeat(20, axis=0)
    labels[::2, 0, 1], labels[1::2, 0, 1] = 0, 3
    seconds = (milliseconds / 1000,) * 40
    write_indexed(path, labels, SOFT, metadata=ImageMetadata(durations=seconds))
    assert read_metadata(path).durations == pytest.approx(seconds, rel=1e-6)
    metadata = ImageMetadata("TYXS", durations=seconds)
    image = ImageFile(SOFT[labels], True, True, metadata)
    found = decode_image(encode_image("a.webp", image)).metadata.durations
    assert abs(sum(found) - sum(seconds)) <= 0.0005001


def test_a_png_film_takes_no_more_room_where_nothing_moves(tmp_path):
    still = np.random.default_rng(0).integers(0, 2, (1, 50, 60), dtype=np.uint8)
    write_indexed(tmp_path / "still.png", still, SOFT)
    write_indexed(tmp_path / "film.png", np.repeat(still, 20, axis=0), SOFT)
    sizes = [(tmp_path / n).stat().st_size for n in ("still.png", "film.png")]
    assert sizes[1] - sizes[0] < 20 * 80


def test_gray_stacks_become_films():
    gray = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    for name in ("a.webp", "a.png"):
        image = ImageFile(gray, False, metadata=ImageMetadata("TYX"))
        found = decode_image(encode_image(name, image)).pixels
        assert_array_equal(found, gray[..., np.newaxis].repeat(3, axis=-1))


def layered_film(palette, after, mixing):
    """A PNG film whose frames lie on each other, and what is to be seen."""
    frames = [np.random.default_rng(0).integers(0, 5, (9, 9), dtype=np.uint8)]
    frames += [np.full((4, 5), 2, np.uint8), np.full((3, 3), 3, np.uint8)]
    frames[1][1, 1] = frames[2][1, 1] = 1
    places, canvas, shown = [(0, 0), (0, 3), (5, 3)], np.zeros((9, 9, 4)), []
    n_chunks, chunks = itertools.count(), []
    for number, (labels, (left, top)) in enumerate(zip(frames, places, strict=True)):
        height, width = labels.shape
        size = struct.pack(">II", width, height)
        if number == 0:
            chunks.append(chunk(b"IHDR", size + b"\x08\x03\0\0\0"))
            chunks.append(chunk(b"acTL", struct.pack(">II", 3, 0)))
            chunks.append(chunk(b"PLTE", palette[:, :3].tobytes()))
            chunks.append(chunk(b"tRNS", palette[:, 3].tobytes()))
        control = struct.pack(">IIHHBB", left, top, 1, 10, after, mixing)
        chunks.append(
            chunk(b"fcTL", struct.pack(">I", next(n_chunks)) + size + control)
        )
        data = zlib.compress(np.pad(labels, ((0, 0), (1, 0))).tobytes())
        kind, number_of = (b"fdAT", next(n_chunks)) if number else (b"IDAT", None)
        head = b"" if number_of is None else struct.pack(">I", number_of)
        chunks.append(chunk(kind, head + data))
        before, part = canvas.copy(), palette[labels] / 255
        where = canvas[top : top + height, left : left + width]
        if mixing:
            alpha = part[..., 3:] + where[..., 3:] * (1 - part[..., 3:])
            below = where[..., :3] * where[..., 3:] * (1 - part[..., 3:])
            colors = part[..., :3] * part[..., 3:] + below
            part = np.concatenate([colors / np.maximum(alpha, 1e-9), alpha], axis=-1)
        where[...] = part
        shown.append(canvas * 255)
        if after == 1:
            where[...] = 0
        elif after == 2:
            canvas = before
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")
    return content, np.array(shown)


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("mixing", [0, 1])
@pytest.mark.parametrize("is_soft", [False, True])
def test_frames_are_laid_on_each_other_as_png_says(tmp_path, after, mixing, is_soft):
    palette = SOFT.copy()
    palette[2:, 3] = palette[2:, 3] if is_soft else 255
    content, shown = layered_film(palette, after, mixing)
    visible = shown[..., 3:] > 0
    found = np.array([*frames_of_png(content)])
    assert np.abs(found[..., 3] - shown[..., 3]).max() <= 1
    # As far as colors are seen.
    difference = found[..., :3] * (found[..., 3:] / 255.0)
    difference -= shown[..., :3] * (shown[..., 3:] / 255)
    assert np.abs(difference).max() <= 2
    assert_array_equal(decode_image(content).pixels, found * visible)
    (tmp_path / "film.png").write_bytes(content)
    # Elsewhere they lie on what is clear.
    if is_soft and mixing and after == 0:
        with pytest.raises(ValueError, match="film have colors beside its palette"):
            read_indexed(tmp_path / "film.png")
        return
    labels, colors = read_indexed(tmp_path / "film.png")
    assert_array_equal(colors, palette)
    assert_array_equal(palette[labels] * visible, found * visible)
    assert_array_equal(palette[labels][..., 3], found[..., 3])


def test_a_film_with_fewer_frames_than_it_says_is_refused():
    content, _ = layered_film(SOFT, 0, 0)
    start = content.rindex(b"fcTL") - 4
    with pytest.raises(ValueError, match="the PNG film has 2 of 3 frames"):
        decode_image(content[:start] + chunk(b"IEND", b""))


def test_a_frame_beside_the_film_is_refused():
    content, _ = layered_film(SOFT, 0, 0)
    start = content.rindex(b"fcTL")
    data = bytearray(content[start + 4 : start + 30])
    data[15] = 9
    changed = content[: start - 4] + chunk(b"fcTL", bytes(data)) + content[start + 34 :]
    with pytest.raises(ValueError, match="a frame of the PNG film does not lie in it"):
        decode_image(changed)


def test_delays_of_png_that_are_out_of_range_or_have_no_unit():
    labels, palette = np.array([[[0, 1]], [[1, 0]]], np.uint8), np.eye(3, dtype="u1")
    metadata = ImageMetadata(durations=(1e9, 0.25))
    content = encode_indexed(
        "a.png", labels, palette, metadata=metadata, keep_order=True
    )
    assert durations_of_png(content) == (65535, 0.25)
    place = content.index(b"fcTL") + 4 + 20
    content = content[:place] + struct.pack(">HH", 7, 0) + content[place + 4 :]
    assert durations_of_png(content) == (0.07, 0.25)
