"""What is saved and copied of results, by the menus below the table."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from numpy.testing import assert_array_equal
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox
from skimage import data

from napari_kmeans import cluster_table, read_indexed, read_palette
from napari_kmeans._napari.palette_panel import PalettePanel
from napari_kmeans._napari.quantize_layer import quantize_layer
from napari_kmeans._napari.results import Results
from napari_window import messages, press, wait_for_threads

PHOTO = data.astronaut()[:64, :50]
MOVIE = np.stack([data.camera()[:20, :30] // i for i in (1, 2, 3)])


@pytest.fixture
def listed(viewer, qtbot):
    """Give a function that lists a result."""
    made = []

    def listed(image=PHOTO, rgb=True, name="a", **settings):
        layer = viewer.add_image(image, name=name, rgb=rgb)
        settings = {"output": "labels", **settings}
        *_, result = quantize_layer(layer, 4, viewer=viewer, **settings)
        if not made:
            made.append(PalettePanel(viewer, Results(viewer)))
            qtbot.addWidget(made[0])
        viewer.layers.selection.active = result
        return made[0], result

    yield listed
    for panel in made:
        panel.leave()
    wait_for_threads()


@pytest.fixture
def save(monkeypatch, qtbot, tmp_path):
    """Give a function that saves under a name, and returns what is told."""

    def save(panel, action, name, chosen="", may_replace=None):
        path = str(tmp_path / name) if name else ""
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (path, chosen))
        asked = []

        def question(*args):
            asked.append(args[-1])
            buttons = QMessageBox.StandardButton
            return buttons.Yes if may_replace else buttons.No

        monkeypatch.setattr(QMessageBox, "question", question)
        told = []
        panel.told.connect(told.append)
        action.trigger()
        if told:
            qtbot.waitUntil(lambda: not told[-1].startswith("Saving"), timeout=20_000)
        panel.told.disconnect(told.append)
        return told[-1] if told else None, asked

    return save


def clipboard():
    return QApplication.clipboard().text()


# The table.


def test_table_is_saved_with_the_settings_beside_it(listed, save, tmp_path):
    panel, labels = listed()
    told, _ = save(panel, panel.save_table, "cells.csv")
    assert told == "Saved “cells.csv” and “cells.json”."
    read = pd.read_csv(tmp_path / "cells.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(read, cluster_table(labels), check_dtype=False)
    document = json.loads((tmp_path / "cells.json").read_text("utf-8"))
    assert document["layers"][0]["source"] == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cells.csv",
        "cells.json",
    ]


def test_table_over_all_results_that_are_selected(listed, save, viewer, tmp_path):
    listed(name="a")
    panel, second = listed(name="b")
    viewer.layers.selection = set(viewer.layers)
    viewer.layers.selection.active = second
    viewer.layers.selection = set(viewer.layers)
    save(panel, panel.save_table, "all.csv")
    read = pd.read_csv(tmp_path / "all.csv")
    assert read["layer"].tolist() == ["a in 4 labels"] * 4 + ["b in 4 labels"] * 4


def test_clusters_that_several_layers_show_are_saved_once(
    listed, save, viewer, tmp_path
):
    listed(name="a", output="both")
    panel, labels = listed(name="b", output="both")
    labels.paint((5, 5), 1)
    copy = Labels(labels.data.copy(), metadata=labels.metadata, name="copy")
    viewer.add_layer(copy)
    panel.list_palette(labels)
    viewer.layers.selection = set(viewer.layers)
    save(panel, panel.save_table, "all.csv")
    read = pd.read_csv(tmp_path / "all.csv")
    assert read["layer"].unique().tolist() == ["a in 4 labels", "b in 4 labels", "copy"]
    assert_array_equal(read["pixels"][4:8], cluster_table(labels)["pixels"])


def test_table_that_is_measured_slice_by_slice_is_saved_whole(
    listed, save, viewer, qtbot, tmp_path
):
    listed(MOVIE, rgb=False, output="image")
    panel, labels = listed(MOVIE, rgb=False, name="b")
    viewer.layers.selection = {viewer.layers["a in 4 colors"], labels}
    panel.list_palette(labels)
    panel.measure.choice.setCurrentIndex(1)
    qtbot.waitUntil(lambda: "slice" in panel.measure.table, timeout=20_000)
    save(panel, panel.save_table, "movie.csv")
    read = pd.read_csv(tmp_path / "movie.csv")
    # An image is measured as a whole.
    is_image = read["layer"] == "a in 4 colors"
    assert read["slice"].isna().tolist() == is_image.tolist()
    assert read["slice"][~is_image].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    measured = json.loads((tmp_path / "movie.json").read_text("utf-8"))["measured"]
    assert measured == "each slice of axis 0"


@pytest.mark.parametrize("may_replace", [True, False])
def test_files_that_the_dialog_has_not_asked_about_are_asked_about(
    listed, save, tmp_path, may_replace
):
    panel, _ = listed()
    for name in ("cells.csv", "cells.json"):
        (tmp_path / name).write_text("mine")
    told, asked = save(panel, panel.save_table, "cells", may_replace=may_replace)
    assert asked == ["cells.json, cells.csv exists. Replace it?"]
    is_kept = [path.read_text("utf-8") == "mine" for path in tmp_path.iterdir()]
    assert is_kept == [not may_replace] * 2
    assert (told is not None) == may_replace


def test_what_the_dialog_has_asked_about_is_not_asked_about_again(
    listed, save, tmp_path
):
    panel, _ = listed()
    (tmp_path / "cells.csv").write_text("mine")
    _, asked = save(panel, panel.save_table, "cells.csv")
    assert asked == []
    assert (tmp_path / "cells.csv").read_text("utf-8") != "mine"


def test_dialog_that_is_cancelled_saves_nothing(listed, save, tmp_path):
    panel, _ = listed()
    for action in (panel.save_table, panel.save_palette, panel.save_small):
        assert save(panel, action, "") == (None, [])
    assert list(tmp_path.iterdir()) == []


def test_table_that_cannot_be_saved_is_told(listed, save):
    panel, _ = listed()
    told, _ = save(panel, panel.save_table, "no/such/folder/cells.csv")
    assert told == "“cells.csv” was not saved: No such file or directory"
    assert told == messages()[-1]


def test_table_is_copied_as_a_spreadsheet_takes_it(listed):
    panel, labels = listed(names={2: "a b"})
    press(panel.copy_table)
    read = pd.read_csv(io.StringIO(clipboard()), sep="\t", keep_default_na=False)
    # In the order of the rows.
    assert (read["index"] - 1).tolist() == panel.table.entries
    expected = cluster_table(labels).sort_values("index", ignore_index=True)
    read = read.sort_values("index", ignore_index=True)
    pd.testing.assert_frame_equal(read, expected, check_dtype=False)


def test_copied_rows_are_those_in_view(listed, viewer):
    panel, _ = listed(MOVIE, rgb=False, slice_axis=0)
    viewer.dims.set_current_step(0, 2)
    press(panel.copy_table)
    read = pd.read_csv(io.StringIO(clipboard()), sep="\t")
    assert set(read["slice"]) == {2}


# The palette.


@pytest.mark.parametrize("suffix", [".gpl", ".json", ".npy", ".hex", ".pal"])
def test_palette_is_saved_in_its_order(listed, save, tmp_path, suffix):
    panel, labels = listed()
    told, _ = save(panel, panel.save_palette, f"cells{suffix}")
    assert told == f"Saved “cells{suffix}”."
    expected = labels.metadata["napari-kmeans"]["palette"]
    assert_array_equal(read_palette(tmp_path / f"cells{suffix}"), expected)


@pytest.mark.parametrize("suffix", [".gpl", ".json"])
def test_names_of_clusters_are_saved_with_the_palette(listed, save, tmp_path, suffix):
    panel, _ = listed(names={2: "nuclei"})
    save(panel, panel.save_palette, f"cells{suffix}")
    assert "nuclei" in (tmp_path / f"cells{suffix}").read_text("utf-8")


def test_palette_of_the_slice_in_view_is_saved(listed, save, viewer, tmp_path):
    panel, labels = listed(MOVIE, rgb=False, slice_axis=0)
    viewer.dims.set_current_step(0, 1)
    save(panel, panel.save_palette, "one.npy")
    record = labels.metadata["napari-kmeans"]
    expected = record["palette"][record["slices"] == 1]
    assert_array_equal(np.load(tmp_path / "one.npy"), expected)


def test_palette_gets_the_suffix_of_the_chosen_kind(listed, save, tmp_path):
    panel, _ = listed()
    save(panel, panel.save_palette, "cells", "Hex colors (*.hex)")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.hex"]


def test_palette_that_a_format_does_not_hold_is_refused(listed, save, tmp_path):
    panel, _ = listed(PHOTO.astype(np.uint16) * 257)
    told, _ = save(panel, panel.save_palette, "cells.gpl")
    assert "must have dtype uint8" in told
    assert list(tmp_path.iterdir()) == []


# Small files.


@pytest.mark.parametrize("output", ["image", "labels"])
@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_small_file_says_how_small_it_is(listed, save, tmp_path, output, suffix):
    panel, layer = listed(output=output)
    told, _ = save(panel, panel.save_small, f"cells{suffix}")
    path = tmp_path / f"cells{suffix}"
    n_bytes = path.stat().st_size
    share = n_bytes / PHOTO.nbytes
    assert told == (
        f"Saved “cells{suffix}”: {n_bytes:,} bytes, {share:.1%} of the raw pixels."
    )
    saved = read_indexed(path)
    shown = saved.palette[saved.labels][..., :3]
    palette = layer.metadata["napari-kmeans"]["palette"]
    expected = layer.data if output == "image" else palette[layer.data - 1]
    assert_array_equal(shown, expected)


def test_stack_of_stacks_does_not_fit_in_a_png_file(listed, save, tmp_path):
    panel, _ = listed(MOVIE[np.newaxis], rgb=False)
    told, _ = save(panel, panel.save_small, "movie.png")
    assert "does not hold a stack of stacks" in told
    assert list(tmp_path.iterdir()) == []


def test_file_is_not_begun_while_another_is_saved(listed, save, tmp_path):
    panel, _ = listed()
    panel._exports._job.start(
        lambda report: [report(None) for _ in iter(int, 1)],
        returned=print,
        failed=print,
    )
    told, _ = save(panel, panel.save_palette, "cells.npy")
    assert told == "The last file is still being saved."
    assert list(tmp_path.iterdir()) == []
