"""Clusters of results that are renamed, recolored and merged, and brought back."""

from unittest import mock

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

import napari
from napari_kmeans import cluster_table, quantize_layer
from napari_kmeans._napari.layers import rgba_of
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.script import as_python
from napari_runs import assert_counted, results_of

RNG = np.random.default_rng(6)
GRAY = RNG.integers(0, 256, (8, 9)).astype(np.uint8)
RGB = RNG.integers(0, 256, (8, 9, 3)).astype(np.uint8)
RGBA = np.dstack([RGB, np.where(GRAY > 90, GRAY, 0)])
STACK = np.stack([GRAY, GRAY[::-1]])


def do(results, paint):
    """Paint images, as a thread does."""
    if paint is not None:
        results.repaint(paint(lambda _: None))


def state_of(layer):
    """Return all that a person sees of a result."""
    record = record_of(layer)
    state = [layer.data.copy(), record.palette, record.counts, record.means]
    state += [np.array(record.names), str(record.settings), record.mse]
    if isinstance(layer, Labels):
        numbers = np.arange(1, len(record.palette) + 1)
        state += [layer.features.to_csv(), layer.colormap.map(numbers)]
    return state


def assert_same(states, others):
    for state, other in zip(states, others, strict=True):
        for one, two in zip(state, other, strict=True):
            assert_array_equal(one, two)


# One change.


def test_names_are_in_the_records_and_the_table_of_a_run():
    _, results, image, labels, _ = results_of(Image(GRAY))
    heard = []
    results.changed.connect(heard.append)
    results.rename(image, 2, "cells")
    for layer in (image, labels):
        assert record_of(layer).names == ("", "", "cells", "")
        assert results.listed(layer).record.names == ("", "", "cells", "")
    assert labels.features["name"].tolist() == ["", "", "cells", ""]
    assert heard == [image]


def test_merged_clusters_are_one_in_all_layers_of_a_run():
    _, results, image, labels, _ = results_of(Image(RGB, rgb=True))
    palette, counts = record_of(image).palette, record_of(image).counts
    numbers, pixels = labels.data.copy(), image.data.copy()

    do(results, results.merge(image, [3, 1]))

    color = np.rint(np.average(palette[[1, 3]], axis=0, weights=counts[[1, 3]]))
    assert_array_equal(labels.data, np.array([0, 1, 2, 3, 2])[numbers])
    inside = np.isin(numbers, [2, 4])[..., np.newaxis]
    assert_array_equal(image.data, np.where(inside, color, pixels))
    for layer in (image, labels):
        assert_array_equal(record_of(layer).palette[1], color)
        assert record_of(layer).mse is None
    assert_counted(labels, RGB)
    rgba = rgba_of(record_of(labels).palette, record_of(labels).look)
    shown = [labels.get_color(i + 1) for i in range(3)]
    np.testing.assert_allclose(shown, rgba, atol=1e-6)


def test_recolored_labels_of_one_channel_keep_their_color():
    _, results, image, labels, _ = results_of(Image(GRAY))
    before = [labels.get_color(i + 1) for i in range(4)]
    do(results, results.recolor(labels, 1, 255))
    assert_array_equal([labels.get_color(i + 1) for i in range(4)], before)
    assert_array_equal(image.data[labels.data == 2], 255)


@pytest.mark.parametrize("chunks", [None, 2])
def test_recolored_pixels_are_those_that_are_seen_in_the_source(chunks):
    # The second pixel can just be seen, and becomes a color that cannot be.
    data = np.array([[[9, 9, 9, 0], [9, 9, 9, 1], [50, 60, 70, 255]]], dtype=np.uint8)
    data = data if chunks is None else da.from_array(data, chunks=chunks)
    palette = np.array([[0, 0, 0, 0], [50, 60, 70, 255]], dtype=np.uint8)
    source = Image(data, rgb=True)
    _, results, image, *_ = results_of(source, palette=palette)
    color = [1, 2, 3, 255]
    do(results, results.recolor(image, 0, color))
    (again,) = quantize_layer(source, palette=palette, recolored={0: color})
    assert_array_equal(image.data, [[[9, 9, 9, 0], color, [50, 60, 70, 255]]])
    assert_array_equal(image.data, again.data)


def test_merge_that_is_refused_changes_nothing():
    _, results, image, labels, layers = results_of(Image(STACK), slice_axis=0)
    before = [state_of(layer) for layer in layers]
    for entries in ([1], [1, 1], [0, 9], [3, 4]):
        with pytest.raises(ValueError, match="entries must be"):
            results.merge(labels, entries)
    assert_same([state_of(layer) for layer in layers], before)
    assert not results.can_undo(image)


def test_napari_cannot_bring_back_paint_in_numbers_from_before_a_merge():
    _, results, _, labels, _ = results_of(Image(GRAY))
    labels.mode = "paint"
    labels.paint((4, 4), 3)
    results.merge(labels, [0, 1])
    after = labels.data.copy()
    labels.undo()
    assert_array_equal(labels.data, after)
    assert labels.mode == "paint"
    assert labels.editable


def test_copy_is_changed_by_itself():
    viewer, results, image, labels, _ = results_of(Image(GRAY))
    data, attributes, kind = labels.as_layer_data_tuple()
    copy = viewer.add_labels(data.copy(), **attributes)
    assert kind == "labels"
    before = [state_of(layer) for layer in (image, labels)]
    results.rename(labels, 0, "a")
    results.merge(copy, [0, 1])
    assert results.can_undo(copy)
    assert len(record_of(copy).palette) == 3
    results.undo(labels)
    assert_same([state_of(layer) for layer in (image, labels)], before)
    results.undo(copy)
    assert_array_equal(copy.data, data)
    assert not results.can_undo(copy)


def test_paint_of_an_older_change_is_not_shown():
    _, results, image, labels, _ = results_of(Image(GRAY))
    first = results.recolor(labels, 0, 9)
    second = results.merge(labels, [2, 3])
    late = first(lambda _: None)
    do(results, second)
    after = image.data.copy()
    results.repaint(late)
    assert_array_equal(image.data, after)
    palette = record_of(image).palette
    assert_array_equal(image.data, palette[labels.data - 1])


def test_lazy_results_are_merged_and_brought_back():
    lazy = da.from_array(RGB, chunks=(4, 4, 3))
    _, results, image, labels, _ = results_of(Image(lazy, rgb=True))
    plain = results_of(Image(RGB, rgb=True))
    before = [np.asarray(layer.data) for layer in (image, labels)]
    do(results, results.merge(labels, [0, 2]))
    do(plain.results, plain.results.merge(plain.labels, [0, 2]))
    assert_array_equal(image.data, plain.image.data)
    assert_array_equal(labels.data, plain.labels.data, strict=False)
    assert labels.data.dtype == plain.labels.data.dtype
    do(results, results.undo(labels))
    assert_array_equal(image.data, before[0])
    assert_array_equal(labels.data, before[1])


def test_all_levels_are_merged():
    levels = [RGB, RGB[::2, ::2]]
    _, results, image, labels, _ = results_of(Image(levels, multiscale=True, rgb=True))
    before = [np.asarray(level).copy() for level in labels.data]
    do(results, results.merge(labels, [0, 1]))
    for level, numbers, old in zip(image.data, labels.data, before, strict=True):
        assert_array_equal(numbers, np.array([0, 1, 1, 2, 3])[old])
        assert_array_equal(level, record_of(image).palette[numbers - 1])
    do(results, results.undo(labels))
    for numbers, old in zip(labels.data, before, strict=True):
        assert_array_equal(numbers, old)


# Undo.


def test_changes_are_taken_back_newest_first():
    _, results, image, labels, layers = results_of(Image(RGB, rgb=True), k=5)
    states = []

    def remember():
        states.append([state_of(layer) for layer in layers])

    remember()
    results.rename(labels, 3, "d")
    remember()
    do(results, results.merge(labels, [0, 4]))
    remember()
    do(results, results.recolor(image, 1, (1, 2, 3)))
    remember()
    do(results, results.merge(image, [1, 3]))
    while states:
        expected = states.pop()
        if len(states) < 4:
            assert results.can_undo(image)
            do(results, results.undo(image))
            assert_same([state_of(layer) for layer in layers], expected)
    assert not results.can_undo(labels)
    assert results.undo(labels) is None


def test_paint_stays_when_a_merge_is_taken_back():
    _, results, image, labels, _ = results_of(Image(GRAY))
    before, pixels = labels.data.copy(), image.data.copy()
    do(results, results.merge(labels, [1, 3]))
    # Of each kind one: the cluster, another, background, and a pixel of the cluster.
    places = [tuple(np.argwhere(before == label)[0]) for label in (1, 2, 3, 4)]
    for place, label in zip(places, (2, 3, 0, 1), strict=True):
        labels.data_setitem(tuple(np.array([i]) for i in place), label)
    labels.refresh()

    do(results, results.undo(labels))

    expected = before.copy()
    for place, label in zip(places, (2, 3, 0, 1), strict=True):
        expected[place] = label
    assert_array_equal(labels.data, expected)
    assert_array_equal(image.data, pixels)
    assert_counted(labels, GRAY[..., None])
    assert record_of(labels).painted


def test_undone_labels_are_nobody_elses():
    _, results, image, labels, _ = results_of(Image(GRAY))
    for _ in range(2):
        do(results, results.merge(labels, [1, 3]))
        do(results, results.undo(labels))
        numbers = results.labels_of(image)[0].copy()
        labels.data[:] = 1
        assert_array_equal(results.labels_of(image)[0], numbers)
        labels.data[:] = numbers


def test_the_last_twenty_changes_can_be_taken_back():
    _, results, _, labels, _ = results_of(Image(GRAY))
    for number in range(25):
        results.rename(labels, 0, f"{number}")
    n_undone = 0
    while results.can_undo(labels):
        results.undo(labels)
        n_undone += 1
    assert n_undone == 20
    assert record_of(labels).names[0] == "4"


def test_labels_of_few_changes_are_kept_where_they_are_large(monkeypatch):
    monkeypatch.setattr("napari_kmeans._napari.results._MOST_BYTES", 2 * GRAY.size)
    _, results, _, labels, _ = results_of(Image(GRAY), k=9)
    for _ in range(3):
        results.merge(labels, [0, 1])
    # Both layers share the labels that they have before each change.
    results.undo(labels)
    results.undo(labels)
    assert not results.can_undo(labels)
    assert len(record_of(labels).palette) == 8


def test_update_is_nothing_to_be_undone():
    viewer, results, _, labels, _ = results_of(Image(GRAY))
    results.rename(labels, 0, "a")
    again = results_of(viewer.layers[0])
    del again
    assert results.can_undo(labels)


# Tables.


def test_table_along_an_axis_is_measured_in_the_source_and_inside_of_the_mask():
    inside = np.tri(8, 9, dtype=bool) * np.ones((2, 1, 1), dtype=bool)
    mask = Labels(inside.astype(np.uint8), name="roi")
    for roi in (inside, mask):
        viewer, results, _, labels, _ = results_of(Image(STACK), mask=roi)
        table = results.table(labels, 0)
        expected = cluster_table(labels, axis=0, image=STACK, mask=inside)
        assert_frame_equal(table, expected)
        assert_frame_equal(results.table(labels), labels.features)
        viewer.layers.remove("STACK")
        assert results.table(labels, 0)["mean"].isna().all()


def test_mask_of_labels_from_elsewhere_is_drawn_for_their_table():
    viewer = ViewerModel()
    source = viewer.add_image(STACK)
    mask = viewer.add_labels((STACK > 99).astype(np.uint8), name="roi")
    (labels,) = quantize_layer(source, 4, output="labels", mask=mask, viewer=viewer)
    results = Results(viewer)
    expected = cluster_table(labels, axis=0, image=source, mask=mask)
    assert_frame_equal(results.table(labels, 0), expected)
    viewer.layers.remove("roi")
    with pytest.raises(ValueError, match="mask must be given"):
        results.table(labels, 0)


# Any sequence of changes.


SPOTTED = np.where(GRAY > 200, np.nan, GRAY)
# Images of layers, options, and pixels (..., C).
SOURCES = {
    "gray": ([GRAY], {}, GRAY[..., None]),
    "rgb": ([RGB], {"dither": "ordered"}, RGB),
    "rgba": ([RGBA], {}, RGBA),
    "layers": ([GRAY, GRAY[::-1]], {}, np.dstack([GRAY, GRAY[::-1]])),
    "channels": ([STACK], {"channel_axis": 0}, np.dstack(list(STACK))),
    "slices": ([STACK], {"slice_axis": 0}, STACK[..., None]),
    "nan": ([SPOTTED], {}, SPOTTED[..., None]),
}
entries = st.integers(0, 9)
deeds = st.one_of(
    st.tuples(st.just("merge"), entries, entries, st.booleans()),
    st.tuples(st.just("recolor"), entries, st.integers(0, 255)),
    st.tuples(st.just("rename"), entries, st.sampled_from(["", "a", "b"])),
    st.tuples(st.just("undo")),
    st.tuples(st.just("paint"), st.integers(0, 6), st.integers(0, 7), entries),
    st.tuples(st.just("unpaint")),
)


def change(run, deed):
    """Do something to a run, if it can be done."""
    kind, *what = deed
    results, labels = run.results, run.labels
    record = record_of(labels)
    n = len(record.palette)
    if kind == "merge":
        one, other, by_image = what
        group = {one % n, other % n}
        slices = [0] * n if record.slices is None else record.slices
        if len({slices[entry] for entry in group}) == 1 < len(group):
            layer = run.image if by_image else labels
            do(results, results.merge(layer, sorted(group)))
    elif kind == "recolor":
        color = np.full(record.palette.shape[1:], what[1])
        do(results, results.recolor(labels, what[0] % n, color))
    elif kind == "rename":
        results.rename(labels, what[0] % n, what[1])
    elif kind == "undo":
        do(results, results.undo(labels))
    elif kind == "paint":
        label, row, column = what
        labels.paint((0,) * (labels.ndim - 2) + (row, column), label)
    else:
        labels.undo()


def assert_agree(run, values):
    """Labels, images, records and tables say the same."""
    assert_counted(run.labels, values)
    palette = record_of(run.labels).palette
    for layer in run.layers[:-1]:
        record = record_of(layer)
        assert_array_equal(record.palette, palette, strict=True)
        assert record.names == record_of(run.labels).names
        assert str(record.settings) == str(record_of(run.labels).settings)
        (numbers,) = run.results.labels_of(layer)
        is_entry = numbers > 0
        pixels = layer.data
        if run.labels.ndim == layer.ndim - 1:
            pixels = np.moveaxis(pixels, 0, -1)
        channel = slice(None) if len(run.layers) == 2 else record.channel
        colors = palette if palette.ndim == 1 else palette[:, channel]
        assert_array_equal(pixels[is_entry], colors[numbers[is_entry] - 1])
        counts = np.bincount(numbers.ravel(), minlength=len(palette) + 1)[1:]
        if not layer.rgb:
            assert_array_equal(record.counts, counts)


def assert_scripts_make(run, layers):
    """The scripts make these layers of the run again, to the pixel."""
    viewer = run.viewer
    for layer in layers:
        before = list(viewer.layers)
        script = as_python(layer, before)
        with mock.patch.object(napari, "current_viewer", return_value=viewer):
            exec(compile(script, "script", "exec"), {})
        added = [one for one in viewer.layers if one not in before]
        record = record_of(layer)
        (made,) = (one for one in added if record_of(one).channel == record.channel)
        again = record_of(made)
        assert_array_equal(made.data, layer.data, strict=True)
        assert_array_equal(again.palette, record.palette, strict=True)
        assert_array_equal(again.counts, record.counts)
        assert again.names == record.names
        if isinstance(layer, Labels):
            exact = {"check_exact": False, "rtol": 1e-12}
            assert_frame_equal(made.features, layer.features, **exact)
        for one in added:
            viewer.layers.remove(one)


@pytest.mark.parametrize("kind", SOURCES)
@given(done=st.lists(deeds, max_size=6))
@settings(max_examples=5, deadline=None)
def test_layers_agree_whatever_is_done_to_them(kind, done):
    images, options, values = SOURCES[kind]
    is_rgb = kind.startswith("rgb")
    layers = [Image(one, rgb=is_rgb, name=f"{i}") for i, one in enumerate(images)]
    run = results_of(*layers, k=5, **options)
    first = [state_of(layer) for layer in run.layers]
    for deed in done:
        change(run, deed)
        assert_agree(run, values)
    is_painted = record_of(run.labels).painted
    assert_scripts_make(run, run.layers[: -1 if is_painted else None])
    while run.results.can_undo(run.labels):
        do(run.results, run.results.undo(run.labels))
        assert_agree(run, values)
    last = [state_of(layer) for layer in run.layers]
    assert_same(last[:-1], first[:-1])
    if not is_painted:
        assert_same(last, first)
