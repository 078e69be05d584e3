"""What is written in the table of clusters."""

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QObject, Qt

from napari_kmeans._napari.table_model import NAME, SWATCH, ClusterModel

ROLES = Qt.ItemDataRole
N = 3


def table_of(n=N, **columns):
    """Give a table of gray clusters, with other columns in the place of its own."""
    pixels = np.arange(1, n + 1) * 1000
    table = {
        "index": np.arange(1, n + 1),
        "name": [""] * n,
        "hex": [f"#{i:02x}{i:02x}{i:02x}" for i in range(n)],
        "mean": np.linspace(0, 200, n),
        "pixels": pixels,
        "area": pixels / 4,
        "area_unit": ["µm²"] * n,
        "share": pixels / pixels.sum(),
    }
    return pd.DataFrame(table | columns)


@pytest.fixture
def model():
    """Give a function that shows a table in a model."""
    parent = QObject()

    def model(table, has_hex=True, is_preview=False):
        shown = ClusterModel(parent)
        shown.set_rows(table, has_hex=has_hex, is_preview=is_preview)
        return shown

    return model


def titles(model):
    columns = range(model.columnCount())
    return [model.headerData(i, Qt.Orientation.Horizontal) for i in columns]


def column(model, title):
    at = titles(model).index(title)
    return [model.index(row, at).data() for row in range(model.rowCount())]


def test_numbers_are_written_in_full_with_the_unit_above(model):
    shown = model(table_of())
    expected = ["", "name", "mean", "pixels", "area\n(µm²)", "share"]
    assert titles(shown) == expected
    assert column(shown, "mean") == ["0.0", "100.0", "200.0"]
    assert column(shown, "pixels") == ["1,000", "2,000", "3,000"]
    assert column(shown, "area\n(µm²)") == ["250.0", "500.0", "750.0"]
    assert column(shown, "share") == ["16.7%", "33.3%", "50.0%"]


@pytest.mark.parametrize(
    ("means", "written"),
    [
        ([0, 65535.2], ["0", "65,535"]),
        ([0.1, 1], ["0.100", "1.000"]),
        ([0.01, 0.02], ["0.01000", "0.02000"]),
        ([1e-9, 2e-9], ["1e-09", "2e-09"]),
        ([np.nan, 12], ["-", "12.00"]),
        ([-1234.5, 3], ["-1,234", "3"]),
        ([0, 0], ["0.000", "0.000"]),
    ],
)
def test_largest_number_of_a_column_has_four_digits(model, means, written):
    shown = model(table_of(2, mean=np.array(means, dtype=float)))
    assert column(shown, "mean") == written
    assert len(shown.longest(titles(shown).index("mean"))) == max(map(len, written))


def test_area_that_is_the_number_of_pixels_takes_no_column(model):
    pixels = np.array([1, 2, 3])
    shown = model(table_of(pixels=pixels, area=pixels.astype(float)))
    assert titles(shown) == ["", "name", "mean", "pixels", "share"]


def test_slices_are_told_apart_only_where_there_are_several(model):
    one, several = table_of(slice=[2, 2, 2]), table_of(slice=[0, 0, 1])
    assert "slice" not in titles(model(one))
    assert column(model(several), "slice") == ["0", "0", "1"]


def test_long_names_of_layers_are_cut_above_and_whole_in_the_tooltip(model):
    long = "mean alpha-tubulin (fibers)"
    shown = model(table_of().rename(columns={"mean": long}))
    assert titles(shown)[2] == "mean\nalpha-tubulin…"
    tooltip = shown.headerData(2, Qt.Orientation.Horizontal, ROLES.ToolTipRole)
    assert tooltip == long


def test_hex_is_told_of_colors_that_are_those_of_the_pixels_alone(model):
    for has_hex, told in ((True, "#010101"), (False, None)):
        swatch = model(table_of(), has_hex=has_hex).index(1, SWATCH)
        assert swatch.data(ROLES.ToolTipRole) == told
        assert swatch.data(ROLES.BackgroundRole).name() == "#010101"


def test_cells_are_read_aloud_with_what_they_are(model):
    shown = model(table_of(name=["", "nuclei", ""]))
    shown.set_marks([1], None)
    spoken = [
        shown.index(1, i).data(ROLES.AccessibleTextRole)
        for i in range(shown.columnCount())
    ]
    assert spoken[:3] == ["color #010101, chosen", "name nuclei", "mean 100.0"]


def test_typed_name_is_signalled_as_palette_files_hold_it(model):
    shown, names = model(table_of(name=["", "nuclei", ""])), []
    shown.renamed.connect(lambda *pair: names.append(pair))
    cell = shown.index(1, NAME)
    assert cell.flags() & Qt.ItemFlag.ItemIsEditable
    assert shown.setData(cell, " big\tcells\n", ROLES.EditRole)
    assert not shown.setData(cell, "nuclei", ROLES.EditRole)
    assert names == [(1, "big cells")]


def test_names_of_a_preview_cannot_be_typed(model):
    shown = model(table_of(), is_preview=True)
    assert titles(shown)[NAME] == "preview"
    assert not shown.index(1, NAME).flags() & Qt.ItemFlag.ItemIsEditable


def test_other_numbers_of_the_same_rows_leave_the_rows_where_they_are(model, qtbot):
    shown = model(table_of())
    resets = []
    shown.modelReset.connect(lambda: resets.append(1))
    with qtbot.waitSignal(shown.dataChanged):
        shown.set_rows(table_of(pixels=[1, 2, 3]), has_hex=True, is_preview=False)
    assert column(shown, "pixels") == ["1", "2", "3"]
    assert resets == []

    shown.set_rows(table_of(2), has_hex=True, is_preview=False)
    assert resets == [1]


def test_marks_are_those_of_entries_wherever_their_rows_are(model):
    shown = model(table_of().iloc[[2, 0, 1]])
    shown.set_marks([0, 1], 2)
    assert [shown.index(row, SWATCH).data() for row in range(3)] == ["○", "●", "●"]
    shown.set_marks([], None)
    assert [shown.index(row, SWATCH).data() for row in range(3)] == ["", "", ""]
