"""Files that version 0.1.0 wrote stay readable, to the last bit.

Those in `data` were written by its `write_indexed` and `write_palette`, from the arrays
below.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans import read_indexed, read_metadata, read_palette
from napari_kmeans._files.palettes import read_names

DATA = Path(__file__).parent / "data"
# Two equal colors and one that no pixel has.
PALETTE = np.array(
    [[9, 8, 7], [255, 0, 0], [0, 0, 255], [9, 8, 7], [1, 2, 3]], np.uint8
)
LABELS = np.array([[0, 1, 2], [3, 1, 0]], np.uint8)
FILM = np.stack([LABELS, LABELS, LABELS[:, ::-1]])
OPACITY = [255, 128, 0, 255, 7]
WIDE = PALETTE.astype(np.uint16) * 200 + 3


@pytest.mark.parametrize(
    ("name", "labels", "palette"),
    [
        ("v0.1.0.png", LABELS, np.column_stack([PALETTE, np.uint8(OPACITY)])),
        ("v0.1.0.gif", FILM, PALETTE),
        (
            "v0.1.0_clear.gif",
            FILM,
            np.column_stack([PALETTE, np.uint8([255, 255, 0, 255, 255])]),
        ),
        ("v0.1.0.tif", FILM[1:], PALETTE),
        ("v0.1.0.ome.tif", FILM[:1], PALETTE),
        ("v0.1.0_wide.tif", LABELS[:1], WIDE),
    ],
)
def test_indices_and_colors_of_palette_files_are_read(name, labels, palette):
    found = read_indexed(DATA / name)
    assert_array_equal(found.labels, labels, strict=True)
    assert_array_equal(found.palette, palette, strict=True)


@pytest.mark.parametrize(
    ("name", "axes", "scale"),
    [
        ("v0.1.0.png", "YXS", (0.5, 0.25)),
        ("v0.1.0.tif", "ZYXS", (2.0, 0.5, 0.25)),
        ("v0.1.0.ome.tif", "ZYXS", (2.0, 0.5, 0.25)),
    ],
)
def test_sizes_of_pixels_are_read(name, axes, scale):
    found = read_metadata(DATA / name)
    assert found.axes == axes
    assert found.scale[: len(scale)] == scale
    assert set(found.units[: len(scale)]) == {"micrometer"}


@pytest.mark.parametrize("name", ["v0.1.0.gif", "v0.1.0_clear.gif"])
def test_durations_of_frames_are_read(name):
    assert read_metadata(DATA / name).durations == (0.1, 0.25, 1.5)


@pytest.mark.parametrize(
    ("name", "palette"),
    [
        ("v0.1.0.gpl", PALETTE),
        ("v0.1.0.json", np.array([[0.1, -0.0], [1e-45, 2.5]], np.float32)),
        ("v0.1.0.npy", WIDE),
        ("v0.1.0.hex", np.column_stack([PALETTE, np.uint8(OPACITY)])),
    ],
)
def test_palettes_are_read_to_the_bit(name, palette):
    found = read_palette(DATA / name)
    assert_array_equal(found, palette, strict=True)
    assert found.tobytes() == palette.tobytes()
    assert read_names(DATA / name) == len(palette) * ("",)
