"""Which rows are listed of stacks, and of palettes that are one per slice."""

import numpy as np
import pytest
from skimage import data

from napari_kmeans._napari.measure import Measure
from napari_kmeans._napari.quantize_layer import quantize_layer
from napari_kmeans._napari.results import Results
from napari_window import messages, wait_for_threads

MOVIE = np.stack([data.camera()[:20, :30] // i for i in (1, 2, 3)])


@pytest.fixture
def measure(viewer, qtbot):
    """Give a function that lists a result of a movie."""
    made = []

    def measure(image=MOVIE, axis_labels=("t", "y", "x"), **settings):
        layer = viewer.add_image(image, name="a", rgb=False, axis_labels=axis_labels)
        settings = {"output": "labels", **settings}
        (result,) = quantize_layer(layer, 4, viewer=viewer, **settings)
        part = Measure(viewer, Results(viewer))
        made.append(part)
        qtbot.addWidget(part)
        part.set_layer(result)
        return part, result

    yield measure
    for part in made:
        part.leave()
    wait_for_threads()


def choices(part):
    return [part.choice.itemText(i) for i in range(part.choice.count())]


def test_rows_are_those_of_the_palette_of_the_slice_in_view(measure, viewer):
    for settings in ({"output": "image"}, {"output": "labels"}):
        part, result = measure(slice_axis=0, **settings)
        heard = []
        part.changed.connect(lambda heard=heard: heard.append(1))
        for t in (2, 0, 1):
            viewer.dims.set_current_step(0, t)
            rows = part.rows()
            assert set(rows["slice"]) == {t}
            assert rows["share"].sum() == pytest.approx(1)
            assert rows["pixels"].sum() == MOVIE[t].size
        assert len(heard) == 3
        assert len(part.table) == len(result.metadata["napari-kmeans"]["palette"])
        assert choices(part) == ["everything"]


def test_slices_that_are_displayed_together_are_all_listed(measure, viewer):
    part, _ = measure(slice_axis=0)
    viewer.dims.ndisplay = 3
    assert set(part.rows()["slice"]) == {0, 1, 2}
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    assert set(part.rows()["slice"]) == {0, 1, 2}


def test_labels_without_the_first_axis_of_channels_have_their_own_slices(
    measure, viewer
):
    stack = data.astronaut()[:60].reshape(3, 20, 512, 3)
    part, _ = measure(
        np.moveaxis(stack, -1, 0),
        ("c", "t", "y", "x"),
        channel_axis=0,
        slice_axis=1,
    )
    viewer.dims.set_current_step(1, 2)
    assert set(part.rows()["slice"]) == {2}


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("t", "y", "x"), "each t"), (("-3", "-2", "-1"), "each slice of axis 0")],
)
def test_one_palette_is_measured_in_each_slice(measure, viewer, qtbot, names, expected):
    part, result = measure(axis_labels=names)
    assert choices(part) == ["everything", expected]
    assert not part.isHidden()
    assert part.rows()["pixels"].sum() == MOVIE.size

    part.choice.setCurrentIndex(1)
    # The whole is listed until the slices are measured.
    assert part.rows()["pixels"].sum() == MOVIE.size
    qtbot.waitUntil(lambda: "slice" in part.table, timeout=20_000)

    assert len(part.table) == 12
    assert part.axis == 0
    viewer.dims.set_current_step(0, 2)
    expected = np.bincount(result.data[2].ravel() - 1, minlength=4)
    assert part.rows()["pixels"].tolist() == expected.tolist()

    part.choice.setCurrentIndex(0)
    assert part.rows()["pixels"].sum() == MOVIE.size


def test_measured_slices_follow_the_result(measure, viewer, qtbot):
    part, result = measure()
    part.choice.setCurrentIndex(1)
    qtbot.waitUntil(lambda: "slice" in part.table, timeout=20_000)
    viewer.dims.set_current_step(0, 0)
    before = part.rows()["pixels"].tolist()

    result.paint((0, 3, 3), 4)
    with qtbot.waitSignal(part.changed):
        part.read_table()
    assert part.rows()["pixels"].tolist() != before


def test_measuring_is_told_until_the_table_is_there(measure, qtbot):
    part, _ = measure()
    told = []
    part.told.connect(told.append)
    part.choice.setCurrentIndex(1)
    qtbot.waitUntil(lambda: "slice" in part.table, timeout=20_000)
    assert told == ["Measuring each t", ""]


def test_what_is_no_longer_measured_is_no_longer_told(measure):
    part, _ = measure()
    told = []
    part.told.connect(told.append)
    part.choice.setCurrentIndex(1)
    part.choice.setCurrentIndex(0)
    assert told == ["Measuring each t", ""]


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        (MOVIE, {"output": "image"}),
        (MOVIE, {"slice_axis": 0}),
        (MOVIE[0], {}),
        (np.stack([MOVIE[0]] * 2), {"channel_axis": 0}),
    ],
    ids=["image", "slices", "plane", "channels"],
)
def test_nothing_is_to_be_chosen_where_there_is_one_way(measure, image, settings):
    names = ("t", "y", "x")[-image.ndim :]
    part, _ = measure(image, names, **settings)
    assert part.isHidden()


def test_nothing_is_listed_of_a_layer_that_is_no_result(measure, viewer):
    part, _ = measure()
    part.set_layer(None)
    assert part.rows() is None
    viewer.dims.set_current_step(0, 2)
    assert part.rows() is None
    assert part.isHidden()


def test_slices_that_cannot_be_measured_are_told(measure, qtbot, monkeypatch):
    part, _ = measure()

    whole = part.table

    def table(_, layer, axis=None):
        if axis is None:
            return whole
        msg = f"{layer.name} is gone"
        raise OSError(msg)

    monkeypatch.setattr(Results, "table", table)
    told = []
    part.told.connect(told.append)
    part.choice.setCurrentIndex(1)
    qtbot.waitUntil(lambda: any("is gone" in text for text in messages()))
    assert told[-1] == messages()[-1]
    assert part.rows()["pixels"].sum() == MOVIE.size
