import contextlib
import io
import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_kmeans._files.read import decode_image
from napari_kmeans._files.tiff_directories import check_directories

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSETS, SAMPLES, ROWS, COUNTS, PLANAR = 273, 277, 278, 279, 284
BYTE, ASCII, SHORT, LONG = 1, 2, 3, 4


def page(width=4, height=4, **others):
    """Entries of a gray page of 8 bits whose pixels stand at the start of a file."""
    entries = {
        WIDTH: (LONG, 1, width),
        LENGTH: (LONG, 1, height),
        BITS: (SHORT, 1, 8),
        COMPRESSION: (SHORT, 1, 1),
        PHOTOMETRIC: (SHORT, 1, 1),
        OFFSETS: (LONG, 1, 8),
        SAMPLES: (SHORT, 1, 1),
        ROWS: (LONG, 1, height),
        COUNTS: (LONG, 1, width * height),
    }
    return entries | {int(tag[1:]): value for tag, value in others.items()}


def file_of(pages, *, last=0, room=400, order="<"):
    """A file of pages, the last of which leads to the offset `last`."""
    sizes = [2 + 12 * len(entries) + 4 for entries in pages]
    starts = (8 + room + np.cumsum([0, *sizes[:-1]])).tolist()
    content = {"<": b"II*\0", ">": b"MM\0*"}[order]
    content += struct.pack(order + "I", starts[0]) + bytes(room)
    for entries, following in zip(pages, [*starts[1:], last], strict=True):
        content += struct.pack(order + "H", len(entries))
        for tag, value in sorted(entries.items()):
            content += struct.pack(order + "HHII", tag, *value)
        content += struct.pack(order + "I", following)
    return content


def refused(content, match):
    with pytest.raises(ValueError, match=match) as caught:
        check_directories(io.BytesIO(content))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"the image cannot be read: .*({match})"):
        decode_image(content)


def test_a_page_that_follows_itself_is_refused():
    refused(file_of([page()], last=408), "run in a circle")


def test_an_empty_page_that_follows_itself_is_refused():
    start = len(file_of([page()]))
    content = file_of([page(), {}], last=start)
    refused(content, "without an image")


def test_pages_that_follow_each_other_are_refused():
    refused(file_of([page(), page(), page()], last=408), "run in a circle")


def test_a_page_below_itself_is_refused():
    refused(file_of([page(_330=(LONG, 1, 408))]), "run in a circle")


def test_many_pages_below_a_page_that_are_one_are_refused():
    below = (LONG, 100, 8)
    content = bytearray(file_of([page(_330=below)], room=400))
    content[8:408] = struct.pack("<I", 408) * 100
    refused(bytes(content), "run in a circle|over again")


def test_pages_without_an_image_are_passed_by_but_not_many():
    empty = {COMPRESSION: (SHORT, 1, 1)}
    check_directories(io.BytesIO(file_of([page(), *[empty] * 64])))
    refused(file_of([page(), *[empty] * 65]), "pages without an image")


@pytest.mark.parametrize("tag", [OFFSETS, 270])
def test_values_that_many_pages_share_are_not_read_for_each(tag):
    shared = {f"_{tag}": (LONG, 25_000, 8)}
    check_directories(io.BytesIO(file_of([page(**shared)] * 7, room=100_000)))
    refused(file_of([page(**shared)] * 30, room=100_000), "over again")


def test_pages_of_many_kinds_are_refused_before_they_are_sorted():
    kinds = [page(width=1 + i) for i in range(65)]
    check_directories(io.BytesIO(file_of(kinds[:64])))
    refused(file_of(kinds), "more than 64 images of different kinds")


@pytest.mark.parametrize(
    "claim",
    [
        # One row per strip, of which there is one.
        page(1, 16_000_000, _278=(LONG, 1, 1)),
        # Tiles of one pixel.
        page(10_000, 10_000, _322=(LONG, 1, 1), _323=(LONG, 1, 1)),
        # Planes of a sample each.
        page(4, 1000, _277=(SHORT, 1, 60_000), _284=(SHORT, 1, 2), _278=(LONG, 1, 1)),
        # A volume of slices of one strip each.
        page(4, 4, _32997=(LONG, 1, 100_000_000)),
        # Offsets beyond the end of the file.
        page(1, 16_000_000, _278=(LONG, 1, 1), _273=(LONG, 16_000_000, 8)),
    ],
)
def test_strips_and_tiles_count_before_they_are_laid_out(claim):
    content = file_of([claim])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"too many strips or tiles|over again"):
        decode_image(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_numbers_of_one_and_two_bytes_stand_first_in_their_fields():
    # Planes of 60,000 samples, in a file whose first bytes are the highest.
    samples, planes = (SHORT, 1, 60_000 << 16), (BYTE, 1, 2 << 24)
    claim = page(4, 1000, _277=samples, _284=planes, _278=(LONG, 1, 1))
    with pytest.raises(ValueError, match="too many strips or tiles: 60,000,000"):
        check_directories(io.BytesIO(file_of([claim], order=">")))


def test_strips_of_a_pixel_each_are_refused_though_all_are_there():
    n_strips = 70_000
    offsets = {"_273": (LONG, n_strips, 8), "_279": (LONG, n_strips, 8)}
    sound = page(16, n_strips, _278=(LONG, 1, 1), **offsets)
    check_directories(io.BytesIO(file_of([sound], room=4 * n_strips)))
    thin = page(1, n_strips, _278=(LONG, 1, 1), **offsets)
    refused(file_of([thin], room=4 * n_strips), "too many strips or tiles: 70,000")


@pytest.mark.parametrize("value", [(LONG, 3, 8), (ASCII, 1, 65), (5, 1, 8)])
@pytest.mark.parametrize("tag", [WIDTH, LENGTH, SAMPLES, COMPRESSION, PHOTOMETRIC, 322])
def test_a_size_that_is_no_whole_number_is_refused(tag, value):
    refused(file_of([page(**{f"_{tag}": value})]), f"tag {tag} must be one whole")


@pytest.mark.parametrize("n_bytes", [4, 6, 10])
@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_a_file_that_ends_before_its_first_page_is_refused(start, n_bytes):
    with pytest.raises(ValueError, match=r"cannot be read|holds no image"):
        decode_image((start + bytes(12))[:n_bytes])


def imagej_planes():
    """A stack as ImageJ writes large ones: a page, and the other planes behind it."""
    planes, buffer = np.arange(60, dtype=">u2").reshape(5, 3, 4), io.BytesIO()
    about = "ImageJ=1.53t\nimages=5\nslices=5\n"
    options = {"metadata": None, "description": about, "byteorder": ">"}
    tifffile.imwrite(buffer, planes[0], photometric="minisblack", **options)
    return buffer.getvalue() + planes[1:].tobytes()


def pages_of_tifffile(**options):
    buffer = io.BytesIO()
    planes = np.arange(60, dtype="u2").reshape(5, 3, 4)
    tifffile.imwrite(buffer, planes, photometric="minisblack", **options)
    return buffer.getvalue()


def pages_of_pillow():
    buffer, pages = io.BytesIO(), [Image.new("L", (4, 3), i) for i in range(5)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pages_of_tifffile(),
        pages_of_tifffile(compression="lzw", bigtiff=True, byteorder=">"),
        pages_of_tifffile(metadata=None, compression="zlib"),
        pages_of_tifffile(ome=True, metadata={"axes": "ZYX"}),
        pages_of_tifffile(imagej=True, metadata={"axes": "ZYX"}),
        pages_of_pillow(),
    ],
    ids=["shape", "bigtiff", "plain", "ome", "imagej", "pillow"],
)
def test_a_file_that_is_cut_off_has_all_of_its_planes_or_is_refused(content):
    whole = decode_image(content)
    assert whole.pixels.shape == (5, 3, 4)
    for n_bytes in range(8, len(content)):
        with contextlib.suppress(ValueError):
            found = decode_image(content[:n_bytes])
            np.testing.assert_array_equal(found.pixels, whole.pixels)
            assert found.metadata == whole.metadata


def test_planes_behind_the_page_of_imagej_that_are_cut_off_are_refused():
    content = imagej_planes()
    assert decode_image(content).pixels.shape == (5, 3, 4)
    # Each plane has 24 bytes.
    for missing in range(1, 4 * 24):
        with pytest.raises(ValueError, match="cut off: it has fewer planes"):
            decode_image(content[:-missing])


def test_a_number_of_planes_of_another_file_is_no_damage():
    # A page that was taken out of a stack, with what was said of the stack.
    content = file_of([page(_270=(ASCII, 26, 24))], room=800)
    about = b"ImageJ=1.53t\nimages=5\n\0\0\0"
    content = content[:24] + about + content[24 + len(about) :]
    assert decode_image(content).pixels.shape == (4, 4)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_sound_files_pass(options, tile):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as file:
        for _ in range(100):
            file.write(
                np.zeros((40, 60, 3), "u1"),
                photometric="rgb",
                tile=tile,
                rowsperstrip=None if tile else 1,
                subifds=1,
            )
            file.write(np.zeros((20, 30, 3), "u1"), photometric="rgb", subfiletype=1)
    check_directories(buffer)
