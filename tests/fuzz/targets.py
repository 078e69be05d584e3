"""What is fuzzed: for each reader of bytes a check that raises where a promise breaks.

`TARGETS` has a row for each. A check takes any bytes. It passes where the reader
returns what it promises, or raises what it documents, in one line; anything else is a
finding. `strictly` runs a check and makes warnings, output and undue time or memory
findings, too. To add a target, write a check, its seeds in `seeds`, and a row here.
"""

import contextlib
import functools
import io
import json
import os
import re
import resource
import struct
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from command_line import run
from fuzz.mutators import (
    mutate_command,
    mutate_json,
    mutate_palette,
    mutate_png,
    mutate_tiff,
)
from fuzz.seeds import SEEDS, png_with
from napari_kmeans import ColorCounts, read_palette, write_palette
from napari_kmeans._cli import values
from napari_kmeans._files import color_profiles, ome_zarr, palettes
from napari_kmeans._files.formats import Refused, is_writable, most_pixels
from napari_kmeans._files.indexed import decode_indexed
from napari_kmeans._files.metadata import NO_METADATA, sizes_of_note
from napari_kmeans._files.pyramids import lazy_image
from napari_kmeans._files.read import (
    decode_image,
    decoded_bytes,
    default_suffix,
    read_metadata,
)
from napari_kmeans._files.slides import is_slide, open_slide
from napari_kmeans._files.tiff import encode_tiff, is_tiff
from napari_kmeans._files.tiff_colors import NOTE_TAG

# Pixels that a small file may hold, so that claims of more are found out quickly.
MOST_PIXELS = 200_000
# Seconds of the processor, and bytes of memory more than ever before.
_MOST_SECONDS = 5
_MOST_GROWTH = 400 << 20
# Of an error, which may quote what it refuses.
_MOST_LETTERS = 2000


class Target(NamedTuple):
    """What is done with bytes, and how they are changed if not at random."""

    check: Callable[[bytes], None]
    mutate: Callable | None = None


@contextlib.contextmanager
def strictly():
    """Raise AssertionError if a check warns, prints, or takes too much."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS // 2
    errors = os.dup(2)
    with tempfile.TemporaryFile() as printed, warnings.catch_warnings():
        warnings.simplefilter("error")
        os.dup2(printed.fileno(), 2)
        seconds, size = time.process_time(), _peak()
        try:
            yield
        finally:
            os.dup2(errors, 2)
            os.close(errors)
            Image.MAX_IMAGE_PIXELS = limit
        seconds, growth = time.process_time() - seconds, _peak() - size
        printed.seek(0)
        text = printed.read()
    assert not text, f"printed {text[:200]!r}"
    assert seconds < _MOST_SECONDS, f"took {seconds:.1f} s"
    assert growth < _MOST_GROWTH, f"took {growth:,} bytes"


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextlib.contextmanager
def _refusing(*errors):
    """Let documented errors pass, by default ValueError, if they are one line."""
    errors = errors or (ValueError,)
    try:
        yield
    except errors as error:
        text = str(error)
        assert text
        assert "\n" not in text, text
        assert len(text) <= _MOST_LETTERS or click.BadParameter in errors, text


@contextlib.contextmanager
def _file(content, name="image"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def _check_image(content):
    image = indexed = metadata = None
    with _refusing():
        image = decode_image(content)
        _fill_memory(image.pixels.nbytes)
        assert_array_equal(decode_image(content).pixels, image.pixels)
    with _refusing():
        indexed = decode_indexed(content)
        _fill_memory(indexed.labels.nbytes)
        assert_array_equal(decode_indexed(content).labels, indexed.labels)
    with _refusing(), _file(content) as path:
        metadata = read_metadata(path)
    n_bytes = decoded_bytes(io.BytesIO(content))
    assert is_writable(default_suffix(io.BytesIO(content)).removeprefix(".ome"))
    if indexed is not None:
        _check_indexed(indexed, len(content))
    if image is None:
        return
    _check_pixels(image, len(content))
    assert metadata == image.metadata
    # A PNG file is measured before it is cleaned.
    assert n_bytes == 0 or n_bytes >= image.pixels.nbytes


def _fill_memory(n_bytes):
    """Leave numbers in free memory, which show where nothing else is written."""
    for size in {n_bytes, n_bytes // 2, n_bytes // 3, n_bytes // 4}:
        _ = [np.full(size, 0xA5, np.uint8) for _ in range(8)]


def _check_pixels(image, n_bytes):
    pixels, about = image.pixels, image.metadata
    assert pixels.dtype.kind in "buif"
    assert pixels.size
    assert pixels.size <= 4 * max(most_pixels(), 50 * n_bytes)
    assert len(about.axes) == pixels.ndim
    assert len(set(about.axes)) == len(about.axes)
    assert image.has_channels or "S" not in about.axes
    assert len(about.scale) in (0, pixels.ndim)
    assert len(about.units) == len(about.scale)
    assert all(0 < size < np.inf for size in about.scale), about.scale
    assert all(0 <= seconds < np.inf for seconds in about.durations)
    assert len(about.durations) in (0, len(pixels))
    assert about.plays >= 0
    if image.has_alpha:
        assert not pixels[pixels[..., -1] == 0].any()


def _check_indexed(indexed, n_bytes):
    labels, palette = indexed
    assert labels.dtype in (np.uint8, np.uint16)
    assert palette.dtype in (np.uint8, np.uint16)
    assert palette.shape[1] in (3, 4)
    assert 0 < labels.size <= max(most_pixels(), 50 * n_bytes)
    assert labels.max() < len(palette)


def _check_slide(content):
    with _file(content, "slide.svs") as path:
        assert is_slide(path) == is_tiff(content)
        with _refusing():
            pyramid = open_slide(path)
            _check_levels(pyramid)


def _check_levels(pyramid):
    image = lazy_image(pyramid)
    assert image.pixels.ndim == len(image.metadata.axes)
    assert image.pixels.dtype.kind in "buif"
    for level in pyramid.levels:
        side = tuple(slice(0, min(n, 32)) for n in level.shape)
        # Chunks are decoded by libraries, and their errors are those of `running`.
        with contextlib.suppress(Exception):
            _ = level[side]


def _check_palette(content):
    suffix, _, content = content.partition(b"\n")
    suffix = suffix.decode("latin-1")
    if suffix not in palettes.PALETTE_SUFFIXES:
        suffix = palettes.PALETTE_SUFFIXES[len(content) % 5]
    with _file(content, f"a{suffix}") as path, _refusing():
        colors, names = read_palette(path), palettes.read_names(path)
        assert len(names) == len(colors)
        told = {"names": names} if any(names) else {}
        with contextlib.suppress(TypeError, ValueError):  # RGBA in a GIMP file.
            write_palette(path, colors, **told)
        assert_array_equal(read_palette(path), colors)
        assert palettes.read_names(path) == names


def _check_profile(content):
    chunks = {content[i + 4 : i + 8]: content[i + 8 : i + 40] for i in (0, 16)}
    for is_gray in (False, True):
        with _refusing(Refused):
            color_profiles.profile_of_png(chunks, is_gray=is_gray)
    color_profiles.cicp_of(content)
    with _refusing(Refused):
        color_profiles.rgb_profile(content)
        for shape in ((2, 3), (2, 3, 3), (2, 3, 4)):
            pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
            if len(shape) == 3 or content[16:20] == b"GRAY":
                found = color_profiles.in_srgb(pixels, content)
                assert (found.shape, found.dtype) == (pixels.shape, pixels.dtype)


def _check_note(content):
    text = content.decode("latin-1")
    for size, unit in sizes_of_note({"napari-kmeans": text}).values():
        assert 0 < size < np.inf
        assert unit.isprintable()
    png, tiff, place = _noted()
    _check_image(png_with(png, (b"tEXt", b"napari-kmeans\0" + content)))
    told = bytearray(tiff)
    struct.pack_into("<II", told, place + 4, len(content) + 1, len(tiff))
    _check_image(bytes(told) + content + b"\0")


@functools.cache
def _noted():
    """A PNG file, a TIFF file with a note, and the place of its entry."""
    png, labels = io.BytesIO(), np.zeros((6, 9), np.uint8)
    Image.new("RGB", (3, 2)).save(png, "PNG")
    tiff = encode_tiff(labels, NO_METADATA, np.ones((5, 3), np.uint8), ome=False)
    with tifffile.TiffFile(io.BytesIO(tiff)) as file:
        place = file.pages.first.tags[NOTE_TAG].offset
    return png.getvalue(), tiff, place


def _check_store(content):
    try:
        files = json.loads(content)
    except (ValueError, RecursionError):
        files = None
    if not isinstance(files, dict) or not files:
        files = {"zarr.json": content.hex()}
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / "a.zarr"
        for name, told in files.items():
            if not re.fullmatch(r"[\w.]+(/[\w.]+){0,5}", name) or ".." in name:
                continue
            with contextlib.suppress(OSError):
                path = top / name
                path.parent.mkdir(parents=True, exist_ok=True)
                is_digits = isinstance(told, str) and re.fullmatch(
                    "([0-9a-f]{2})*", told
                )
                path.write_bytes(
                    bytes.fromhex(told) if is_digits else json.dumps(told).encode()
                )
        with _refusing():
            ome_zarr.record_of(top)
        with _refusing(ValueError, OSError):
            pyramid = ome_zarr.open_store(top)
            _check_levels(pyramid)


def _check_counts(content):
    file = io.BytesIO(content)
    try:
        colors, counts = (np.lib.format.read_array(file) for _ in range(2))
    except Exception:  # Of NumPy, which reads them.
        return
    with _refusing(TypeError, ValueError):
        found = ColorCounts(colors, counts)
        assert len(np.unique(found.colors, axis=0)) == len(found.colors) == len(colors)
        assert found.counts.dtype == np.int64
        assert found.counts.sum() == counts.sum()


def _check_value(content):
    word = content.decode(errors="surrogateescape")
    with _refusing(click.BadParameter):
        assert values.parse_byte_count(word) >= 1
    with _refusing(click.BadParameter):
        weights = values.parse_weights(word)
        assert weights == "std" or all(0 < number < np.inf for number in weights)
    with _refusing(click.BadParameter):
        colors = values.parse_colors(word)
        assert colors.ndim == 2
        assert np.isfinite(colors).all()


_CALLS = (
    ("info", "image.png"),
    ("image.png", "-k", "3", "-o", "out.png", "--report", "page.html"),
    ("image.png", "-k", "3", "-o", "out.tif", "--csv", "colors.csv"),
    ("--mask", "image.png", "sound.png", "-o", "out.png"),
    ("apply", "--palette", "image.png", "sound.png", "-o", "out.gif"),
    *(
        ("apply", "--palette", f"image{suffix}", "sound.png", "-o", "out.png")
        for suffix in palettes.PALETTE_SUFFIXES
    ),
)


def _check_command(content):
    call = _CALLS[content[0] % len(_CALLS)] if content else _CALLS[0]
    name = next(word for word in call if word.startswith("image"))
    with _file(content[1:], name) as path, contextlib.chdir(path.parent):
        Image.new("RGB", (6, 5), "red").save("sound.png")
        result = run(*call)
    assert result.exit_code in (0, 1), (result.output, result.exception)
    assert isinstance(result.exception, SystemExit | None), result.exception
    lines = result.stderr.splitlines()
    assert len(lines) == result.exit_code, result.stderr
    assert all(line.startswith("Error: ") for line in lines)


TARGETS = {
    "png": Target(_check_image, mutate_png),
    "gif": Target(_check_image),
    "jpeg": Target(_check_image),
    "webp": Target(_check_image),
    "others": Target(_check_image),
    "tiff": Target(_check_image, mutate_tiff),
    "slides": Target(_check_slide, mutate_tiff),
    "palettes": Target(_check_palette, mutate_palette),
    "profiles": Target(_check_profile),
    "notes": Target(_check_note, mutate_json),
    "stores": Target(_check_store, mutate_json),
    "counts": Target(_check_counts),
    "values": Target(_check_value),
    "commands": Target(_check_command, mutate_command),
}
assert TARGETS.keys() == SEEDS.keys()
