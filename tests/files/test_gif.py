import struct
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageSequence

from napari_kmeans import ImageMetadata, read_indexed, read_metadata, write_indexed
from napari_kmeans._files.read import decode_image

RED_BLUE = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)
FRAME = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"


def assert_round_trip(path, labels, palette):
    found_labels, found_palette = read_indexed(path)
    assert_array_equal(found_labels, labels, strict=True)
    assert_array_equal(found_palette, palette, strict=True)


def delays_of(path):
    """Hundredths of a second, as they stand in the file."""
    return [round(100 * seconds) for seconds in read_metadata(path).durations]


def written_delays(path, durations):
    labels = np.arange(len(durations), dtype=np.uint8).reshape(-1, 1, 1) % 2
    metadata = ImageMetadata(durations=tuple(durations))
    write_indexed(path, labels, RED_BLUE, metadata=metadata)
    return delays_of(path)


def test_durations_of_frames_are_kept(tmp_path):
    labels = np.array([[[0, 1]], [[0, 1]], [[1, 1]]], np.uint8)
    metadata = ImageMetadata(durations=(0.57, 0.04, 1.25))
    write_indexed(tmp_path / "film.gif", labels, RED_BLUE, metadata=metadata)
    assert read_metadata(tmp_path / "film.gif").durations == metadata.durations
    assert_round_trip(tmp_path / "film.gif", labels, RED_BLUE)
    with Image.open(tmp_path / "film.gif") as image:
        assert image.n_frames == 3


@pytest.mark.parametrize("ndim", [2, 3])
def test_gif_keeps_the_one_color_that_is_transparent(tmp_path, ndim):
    palette = np.array([[9, 8, 7, 255], [5, 5, 5, 0], [1, 2, 3, 255]], dtype=np.uint8)
    labels = np.array([[0, 1, 2]], np.uint8)
    if ndim == 3:  # A change of all pixels, one of a single pixel, and none.
        labels = np.array([[[0, 1, 2]], [[1, 2, 0]], [[1, 2, 2]], [[1, 2, 2]]], "u1")
    write_indexed(tmp_path / "image.gif", labels, palette)
    assert_round_trip(tmp_path / "image.gif", labels, palette)
    with Image.open(tmp_path / "image.gif") as image:
        shown = np.array([f.convert("RGBA") for f in ImageSequence.Iterator(image)])
    assert_array_equal(shown[..., 3].reshape(labels.shape), palette[labels][..., 3])


def test_gif_keeps_a_clear_color_that_no_pixel_has(tmp_path):
    palette = np.array([[9, 8, 7, 255], [5, 5, 5, 0], [1, 2, 3, 255]], np.uint8)
    labels = np.array([[0, 2, 2]], np.uint8)
    write_indexed(tmp_path / "image.gif", labels, palette)
    assert_round_trip(tmp_path / "image.gif", labels, palette)


def test_films_whose_frames_differ_in_colors_are_refused(tmp_path):
    frames = [Image.new("P", (2, 2), number) for number in range(3)]
    for number, frame in enumerate(frames):
        frame.putpalette([number, 0, 0, 0, number, 0, 7, 8, 9])
    path = tmp_path / "film.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], optimize=False)
    with pytest.raises(ValueError, match="have palettes of their own"):
        read_indexed(path)


def test_films_whose_frames_differ_in_what_is_clear_are_refused(tmp_path):
    palette = np.array([[9, 8, 7, 255], [5, 5, 5, 0], [1, 2, 3, 255]], np.uint8)
    path = tmp_path / "film.gif"
    labels = np.array([[[0, 1, 2]], [[1, 2, 0]], [[0, 0, 1]]], np.uint8)
    write_indexed(path, labels, palette)
    content = path.read_bytes()
    first, *others = content.split(b"\x21\xf9\x04\x09\0\0\x01")
    assert len(others) == 3
    # The transparent index of the second frame.
    content = first + b"\x21\xf9\x04\x09\0\0\x01" + others[0]
    content += b"\x21\xf9\x04\x09\0\0\x02" + others[1]
    content += b"\x21\xf9\x04\x09\0\0\x01" + others[2]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="have transparent colors of their own"):
        read_indexed(path)


def test_a_film_takes_no_more_room_where_nothing_moves(tmp_path):
    still = np.random.default_rng(0).integers(0, 2, (1, 50, 60), dtype=np.uint8)
    write_indexed(tmp_path / "still.gif", still, RED_BLUE)
    write_indexed(tmp_path / "film.gif", np.repeat(still, 20, axis=0), RED_BLUE)
    sizes = [(tmp_path / n).stat().st_size for n in ("still.gif", "film.gif")]
    assert sizes[1] - sizes[0] < 20 * 30


@pytest.mark.parametrize(
    ("milliseconds", "delays"),
    [
        ([33] * 30, [3, 4, 3, 3, 4, 3, 3, 3, 4, 3] * 3),
        ([40, 70, 100], [4, 7, 10]),
        # Browsers show what is shorter than 2 hundredths for 10, and so the next ones
        # make up for it.
        ([4, 4, 100], [2, 2, 7]),
        ([10, 1000], [2, 99]),
        ([1] * 4, [2] * 4),
        # Without a time, each viewer takes its own.
        ([0, 0, 50], [0, 0, 5]),
        ([700_000, 20], [65535, 4467]),
    ],
)
def test_frames_end_at_their_time(tmp_path, milliseconds, delays):
    seconds = [number / 1000 for number in milliseconds]
    found = written_delays(tmp_path / "film.gif", seconds)
    assert sum(found) == sum(delays)
    assert found[-1] == delays[-1]
    assert found == delays or milliseconds[0] == 33


@pytest.mark.parametrize("milliseconds", [16.7, 21, 33, 41.7, 66, 100])
def test_a_film_is_as_long_as_its_frames_to_half_a_hundredth(tmp_path, milliseconds):
    found = written_delays(tmp_path / "film.gif", [milliseconds / 1000] * 50)
    if milliseconds >= 20:
        assert abs(sum(found) - 5 * milliseconds) <= 0.5
    else:
        assert found == [2] * 50
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize("plays", [0, 1, 2, 4, 65536])
def test_the_number_of_plays_is_kept(tmp_path, plays):
    path = tmp_path / "film.gif"
    labels = np.array([[[0, 1]], [[1, 1]]], np.uint8)
    write_indexed(path, labels, RED_BLUE, metadata=ImageMetadata(plays=plays))
    assert read_metadata(path).plays == plays
    assert decode_image(path.read_bytes()).metadata.plays == plays
    with Image.open(path) as image:
        # The file counts repeats, and does without where there are none.
        assert image.info.get("loop") == (None if plays == 1 else max(plays - 1, 0))


@pytest.mark.parametrize("name", ["film.webp", "film.png"])
@pytest.mark.parametrize("loop", [0, 1, 3])
def test_the_number_of_plays_of_other_films_is_read(tmp_path, name, loop):
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue")]
    path = tmp_path / name
    frames[0].save(path, save_all=True, append_images=frames[1:], loop=loop)
    assert read_metadata(path).plays == loop


def gif_of(*blocks):
    """A GIF file of one pixel, between blocks."""
    start = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0xF0, 0, 0) + bytes(6)
    return b"".join([start, *blocks, b";"])


@pytest.mark.parametrize(
    "extension",
    [
        *(b"\x21\xfe", b"\x21\x01", b"\x21\xff", b"\x21\xff\x0bNETSCAPE2.0"),
        b"\x21\xfe\1a\0" * 99_999 + b"\x21\xfe",
    ],
)
def test_blocks_take_a_time_in_proportion_to_their_bytes(tmp_path, extension):
    path = tmp_path / "a.gif"
    path.write_bytes(gif_of(extension, (b"\xff" + bytes(255)) * 20_000, b"\0", FRAME))
    start = time.perf_counter()
    assert_array_equal(read_indexed(path).labels, [[0]])
    read_metadata(path)
    # If each block copied those before, it would be minutes.
    assert time.perf_counter() - start < 5


def test_more_frames_than_a_file_can_really_hold_are_refused(tmp_path):
    path = tmp_path / "film.gif"
    path.write_bytes(gif_of(FRAME * 200_000))
    for read in (read_indexed, lambda path: decode_image(path.read_bytes())):
        with pytest.raises(ValueError, match="too many pixels for a file of"):
            read(path)


@pytest.mark.parametrize("comment", [b"1 colors", b"0 colors", b"9" * 200 + b" colors"])
def test_a_comment_of_another_program_takes_no_color_away(tmp_path, comment):
    palette = np.array([[9, 8, 7], [5, 5, 5], [1, 2, 3], [0, 0, 0]], np.uint8)
    path = tmp_path / "a.gif"
    write_indexed(path, [[0, 1, 2]], palette)
    content = path.read_bytes()
    ours = b"\x21\xfe\x084 colors\0"
    assert ours in content
    other = b"\x21\xfe" + bytes([len(comment)]) + comment + b"\0"
    path.write_bytes(content.replace(ours, other))
    assert_round_trip(path, np.array([[0, 1, 2]], np.uint8), palette)
