import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_kmeans._pictures.charts import (
    Curve,
    draw_curves,
    draw_swatches,
    swatch_labels,
)


@pytest.mark.parametrize(
    ("n_colors", "size"),
    [(1, (60, 60)), (16, (60, 960)), (17, (120, 540)), (300, (1008, 952))],
)
def test_swatches_are_the_colors_in_rows_and_nothing_else(n_colors, size):
    palette = np.arange(3 * n_colors, dtype=np.uint16).reshape(-1, 3).astype(np.uint8)
    drawn = draw_swatches(palette)
    assert drawn.shape == (*size, 3)
    labels = swatch_labels(n_colors)
    assert_array_equal(drawn, palette[labels])
    # By rows, then columns; all of about the same size.
    assert (np.diff(labels[:, 0].astype(int)) >= 0).all()
    assert (np.diff(labels.astype(int), axis=1) >= 0).all()
    n_pixels = np.bincount(labels.ravel(), minlength=n_colors)
    assert len(n_pixels) == n_colors
    assert n_pixels.max() < 1.2 * n_pixels.min()


def test_the_largest_palette_fits_into_a_small_picture():
    assert max(swatch_labels(65_536).shape) <= 960


def test_a_curve_falls_where_its_image_is_worse():
    blue = (0, 114, 178)
    curves = [Curve("a", [2, 4, 8], [20.0, 30.0, np.inf]), Curve("b", [1], [25.0])]
    drawn = draw_curves(curves)[:600]
    rows, columns = np.nonzero((drawn == blue).all(axis=-1))
    assert rows[columns.argmin()] > rows[columns.argmax()]


def test_curves_of_very_different_qualities_have_few_lines_behind_them():
    drawn = draw_curves([Curve("a", [2, 4], [-10.0, 6000.0])])[:600]
    lines = (drawn[:, 700] != 255).any(axis=-1)
    assert 5 < np.count_nonzero(np.diff(lines.astype(int)) == 1) < 20


@pytest.mark.parametrize("psnrs", [[np.inf], [-np.inf], [30.0]])
def test_a_single_point_or_none_is_drawn_too(psnrs):
    assert draw_curves([Curve("a", [4], psnrs)]).shape[1] == 960
