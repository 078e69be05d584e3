import io
import os
import struct
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from napari_kmeans._atomic_file import replace_file
from napari_kmeans._indexed_files import write_indexed

RED_BLUE = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)


def header(path):
    """Bit depth and color type of a PNG file."""
    depth, color_type = struct.unpack(">16x8x2B", Path(path).read_bytes()[:26])
    return depth, color_type


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("indexed")


@st.composite
def indexed_images(draw, channels):
    n_colors = draw(st.integers(1, 256))
    n_channels = draw(st.sampled_from(channels))
    palette = draw(hnp.arrays(np.uint8, (n_colors, n_channels)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, n_colors - 1)))
    return labels, palette


@given(indexed=indexed_images(channels=[3, 4]))
def test_png_keeps_every_index_and_color(folder, indexed):
    labels, palette = indexed
    path = folder / "image.png"
    write_indexed(path, labels, palette)

    with Image.open(path) as image:
        assert image.mode == "P"
        assert_array_equal(np.array(image), labels)
        stored = np.reshape(image.getpalette("RGB"), (-1, 3))
        shown = np.array(image.convert("RGBA"))
    assert_array_equal(stored, palette[:, :3])
    assert_array_equal(shown[..., : palette.shape[1]], palette[labels])


@given(indexed=indexed_images(channels=[3]))
def test_gif_keeps_every_index_and_color(folder, indexed):
    labels, palette = indexed
    path = folder / "image.gif"
    write_indexed(path, labels, palette)

    with Image.open(path) as image:
        assert_array_equal(np.array(image), labels)
        assert_array_equal(np.array(image.convert("RGB")), palette[labels])


@pytest.mark.parametrize(
    ("n_colors", "depth"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)],
)
def test_png_has_the_smallest_depth_that_holds_the_palette(tmp_path, n_colors, depth):
    palette = np.arange(3 * n_colors).reshape(-1, 3).astype(np.uint8)
    write_indexed(tmp_path / "image.png", [[0, n_colors - 1]], palette)
    assert header(tmp_path / "image.png") == (depth, 3)


def test_gray_palette_becomes_rgb(tmp_path):
    palette = np.array([200, 3, 77], dtype=np.uint8)
    write_indexed(tmp_path / "image.png", [[2, 0], [1, 1]], palette)
    with Image.open(tmp_path / "image.png") as image:
        assert image.getpalette() == [200, 200, 200, 3, 3, 3, 77, 77, 77]
        assert_array_equal(np.array(image), [[2, 0], [1, 1]])


def test_color_profile_is_kept(tmp_path):
    path = tmp_path / "image.png"
    write_indexed(path, [[0]], RED_BLUE, icc_profile=b"a profile")
    with Image.open(path) as image:
        assert image.info["icc_profile"] == b"a profile"


@pytest.mark.parametrize("labels", [np.array([[0, 1]]), np.array([[0, 1]], ">u2")])
def test_inputs_of_any_integer_dtype_stay_untouched(tmp_path, labels):
    before = labels.copy()
    labels.flags.writeable = False
    write_indexed(tmp_path / "image.png", labels, RED_BLUE)
    assert_array_equal(labels, before)


@pytest.mark.parametrize(
    ("labels", "palette", "error", "match"),
    [
        ([[0]], np.zeros((257, 3), np.uint8), ValueError, "1 to 256 colors, got 257"),
        ([[0]], np.zeros((0, 3), np.uint8), ValueError, "1 to 256 colors, got 0"),
        ([[0]], np.zeros((2, 5), np.uint8), ValueError, r"palette must .*\(2, 5\)"),
        ([[0]], np.zeros((2, 3)), TypeError, "palette must .* uint8, got float64"),
        ([[2]], RED_BLUE, ValueError, "labels must be between 0 and 1, got 2"),
        ([[-1, 0]], RED_BLUE, ValueError, "labels must be between 0 and 1, got -1"),
        ([0], RED_BLUE, ValueError, r"labels must have shape .* got \(1,\)"),
        (np.zeros((0, 3), int), RED_BLUE, ValueError, r"labels .* got \(0, 3\)"),
        ([[0.5]], RED_BLUE, TypeError, "labels must be integers, got dtype float64"),
    ],
)
def test_what_no_file_can_hold_is_refused(tmp_path, labels, palette, error, match):
    with pytest.raises(error, match=match):
        write_indexed(tmp_path / "image.png", labels, palette)
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .png or .gif, got '.jpg'"):
        write_indexed(tmp_path / "image.jpg", [[0]], RED_BLUE)


def test_gif_refuses_alpha(tmp_path):
    with pytest.raises(ValueError, match="palette must not have alpha in a GIF file"):
        write_indexed(tmp_path / "image.gif", [[0]], np.zeros((2, 4), np.uint8))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path, monkeypatch, failing, error
):
    def fail(*_):
        raise error

    path = tmp_path / "image.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error), match=r"No space left|^$"):
        write_indexed(path, [[0]], RED_BLUE)
    assert [file.name for file in tmp_path.iterdir()] == ["image.png"]
    assert path.read_bytes() == b"old"


def test_a_link_is_kept_and_its_file_replaced(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_an_indexed_file_is_smaller_than_the_same_image_in_rgb(tmp_path):
    labels = np.random.default_rng(0).integers(0, 16, (64, 64), dtype=np.uint8) // 5
    palette = np.arange(12, dtype=np.uint8).reshape(4, 3)
    write_indexed(tmp_path / "image.png", labels, palette)
    buffer = io.BytesIO()
    Image.fromarray(palette[labels]).save(buffer, "PNG")
    assert (tmp_path / "image.png").stat().st_size < len(buffer.getvalue())
