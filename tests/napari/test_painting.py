"""Records and tables follow what is painted in labels."""

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.testing import assert_array_equal

from napari_kmeans import quantize_layer
from napari_kmeans._napari.painting import count_paint
from napari_kmeans._napari.record import Record, record_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.script import as_python
from napari_runs import assert_counted, results_of

RNG = np.random.default_rng(2)
GRAY = RNG.integers(0, 256, (30, 20)).astype(np.uint8)
RGB = RNG.integers(0, 256, (30, 20, 3)).astype(np.uint8)


def test_paint_changes_the_labels_and_nothing_else():
    _, results, image, labels, _ = results_of(Image(GRAY))
    before, numbers = image.data.copy(), labels.data.copy()

    labels.data_setitem((np.arange(9), np.arange(9)), 3)
    labels.refresh()

    assert_array_equal(image.data, before)
    assert_array_equal(results.labels_of(image)[0], numbers)
    results.repaint(results.recolor(labels, 0, 7)(lambda _: None))
    assert_array_equal(image.data, np.where(numbers == 1, 7, before))


@pytest.mark.parametrize("kind", ["gray", "rgb", "layers", "first", "middle", "nan"])
def test_counts_and_means_follow_paint(kind):
    stack, options, values = np.stack([GRAY, GRAY[::-1]]), {}, GRAY[..., None]
    sources = [Image(GRAY)]
    if kind == "rgb":
        sources, values = [Image(RGB, rgb=True)], RGB
    elif kind == "layers":
        sources, values = [Image(one) for one in stack], np.moveaxis(stack, 0, -1)
    elif kind in ("first", "middle"):
        axis = int(kind == "middle")
        sources, options = [Image(np.moveaxis(stack, 0, axis))], {"channel_axis": axis}
        values = np.moveaxis(stack, 0, -1)
    elif kind == "nan":
        values = np.where(GRAY > 200, np.nan, GRAY.astype(float))[..., None]
        sources = [Image(values[..., 0])]
    _, results, image, labels, _ = results_of(*sources, **options)
    heard = []
    results.changed.connect(heard.append)
    assert_counted(labels, values)

    places = [RNG.integers(0, n, 50) for n in labels.data.shape]
    labels.data_setitem(tuple(places), 2)
    labels.data_setitem(tuple(one[:20] for one in places), 0)
    labels.data_setitem(tuple(one[10:30] for one in places), 9)
    labels.refresh()

    assert_counted(labels, values)
    assert heard
    assert set(heard) == {labels}
    assert record_of(labels).painted
    assert not record_of(image).painted


@pytest.mark.parametrize("deed", ["paint", "fill", "paint_polygon", "stroke"])
def test_counts_follow_whatever_paints_and_takes_it_back(deed):
    run = results_of(Image(GRAY))
    labels = run.labels
    before = labels.data.copy()
    labels.brush_size = 7
    if deed == "paint":
        labels.paint((10, 9), 2)
    elif deed == "fill":
        labels.contiguous = False
        labels.fill((3, 4), 4 if labels.data[3, 4] != 4 else 1)
    elif deed == "paint_polygon":
        labels.paint_polygon([[2, 2], [2, 15], [20, 15]], 3)
    else:
        with labels.block_history():
            for place in range(4, 12):
                labels.paint((place, place), 1)
                labels.paint((place, 2 * place - 4), 2)
    values = GRAY[..., None]
    assert (labels.data != before).any()
    assert_counted(labels, values)
    after = labels.data.copy()
    labels.undo()
    assert_array_equal(labels.data, before)
    assert_counted(labels, values)
    labels.redo()
    assert_array_equal(labels.data, after)
    assert_counted(labels, values)


def test_paint_in_another_slice_is_counted():
    run = results_of(Image(np.stack([GRAY, GRAY[::-1]])))
    viewer, labels = run.viewer, run.labels
    for frame in (0, 1, 0):
        viewer.dims.set_point(0, frame)
        labels.paint((frame, 5, 5), 3)
        labels.paint((frame, 20, 9), 1)
        labels.undo()
    assert_counted(labels, np.stack([GRAY, GRAY[::-1]])[..., None])


def test_only_pixels_inside_of_the_mask_are_counted():
    inside = np.tri(30, 20, -4, dtype=bool)
    run = results_of(Image(GRAY), mask=inside)
    labels = run.labels
    assert_counted(labels, GRAY[..., None], inside)
    labels.brush_size = 15
    labels.paint((10, 8), 2)
    assert_counted(labels, GRAY[..., None], inside)
    assert record_of(labels).painted


def test_means_are_unknown_where_the_source_is_gone():
    run = results_of(Image(GRAY, name="a"))
    viewer, labels = run.viewer, run.labels
    before = record_of(labels).means
    viewer.layers.remove("a")
    one, other = np.argwhere(labels.data == 1)[0], np.argwhere(labels.data == 2)[0]
    labels.data_setitem(tuple(np.transpose([one, other])), 4)
    labels.refresh()
    record = record_of(labels)
    assert_array_equal(record.counts, np.bincount(labels.data.ravel())[1:])
    assert np.isnan(record.means[[0, 1, 3]]).all()
    assert_array_equal(record.means[2], before[2])


def test_another_widget_counts_nothing_twice():
    viewer, results, _, labels, _ = results_of(Image(GRAY))
    other, heard = Results(viewer), []
    other.changed.connect(heard.append)
    labels.paint((10, 9), 2)
    assert_counted(labels, GRAY[..., None])
    assert heard == [labels]
    results.merge(labels, [0, 1])
    assert_counted(labels, GRAY[..., None])
    labels.paint((12, 9), 1)
    other.leave()
    labels.paint((14, 9), 2)
    assert_counted(labels, GRAY[..., None])
    results.undo(labels)
    assert_counted(labels, GRAY[..., None])


def test_labels_that_a_script_has_added_are_followed():
    viewer = ViewerModel()
    Results(viewer)
    source = viewer.add_image(GRAY)
    # Results that nobody holds follow nothing.
    results = Results(viewer)
    (labels,) = quantize_layer(source, 4, output="labels", viewer=viewer)
    labels.paint((10, 9), 2)
    assert_counted(labels, GRAY[..., None])
    results.leave()
    labels.paint((20, 9), 2)
    with pytest.raises(AssertionError):
        assert_counted(labels, GRAY[..., None])


def test_labels_that_were_removed_are_not_followed():
    run = results_of(Image(GRAY))
    viewer, labels = run.viewer, run.labels
    viewer.layers.remove(labels)
    counts = record_of(labels).counts
    labels.paint((10, 9), 2)
    assert_array_equal(record_of(labels).counts, counts)
    viewer.add_layer(labels)
    counts = counts.copy()
    change = labels.data[20:22, 9].copy()
    labels.data_setitem((np.array([20, 21]), np.array([9, 9])), 3)
    labels.refresh()
    np.add.at(counts, np.append(change, [3, 3]) - 1, [-1, -1, 1, 1])
    assert_array_equal(record_of(labels).counts, counts)


def test_labels_that_are_replaced_as_a_whole_are_not_counted():
    run = results_of(Image(GRAY))
    labels = run.labels
    counts = record_of(labels).counts
    labels.data = np.ones_like(labels.data)
    assert_array_equal(record_of(labels).counts, counts)
    labels.data_setitem((np.array([3]), np.array([3])), 2)
    labels.refresh()
    assert_array_equal(record_of(labels).counts, counts + np.array([-1, 1, 0, 0]))


def test_lazy_labels_are_not_followed():
    lazy = da.from_array(GRAY, chunks=10)
    _, results, _, labels, _ = results_of(Image(lazy))
    counts = record_of(labels).counts
    labels.refresh()
    results.merge(labels, [0, 1])
    assert record_of(labels).counts.tolist() == [counts[:2].sum(), *counts[2:]]
    assert labels.data.max().compute() == 3


def test_script_says_that_labels_were_painted():
    run = results_of(Image(GRAY))
    viewer, labels = run.viewer, run.labels
    assert "painted" not in as_python(labels, viewer.layers)
    labels.paint((10, 9), 2)
    comment = "# The labels were painted since: this makes them as they were."
    assert comment in as_python(labels, viewer.layers)
    assert "painted" not in as_python(run.image, viewer.layers)


def test_paint_is_counted_by_hand():
    counts = np.array([2, 0, 1])
    means = np.array([[4.0], [np.nan], [9.0]])
    record = Record(np.array([4, 5, 9]), counts, means)
    old, new = np.array([1, 3, 0, 1]), np.array([2, 0, 2, 7])
    values = np.array([[3.0], [9.0], [6.0], [np.nan]])
    found = count_paint(record, old, new, values)
    assert found.counts.tolist() == [1, 2, 0]
    assert_array_equal(found.means, [[5], [4.5], [np.nan]])
    assert counts.tolist() == [2, 0, 1]


def test_entry_that_loses_its_last_pixel_has_no_mean():
    # Whatever is left of sums that were rounded.
    for seed in range(20):
        pixels = np.random.default_rng(seed).random((7, 1))
        means = pixels.mean(axis=0, keepdims=True)
        record = Record(np.array([0.3]), np.array([7]), means)
        found = count_paint(record, np.ones(7, int), np.zeros(7, int), pixels)
        assert found.counts.tolist() == [0]
        assert np.isnan(found.means).all()


def test_labels_of_copies_are_counted_by_themselves():
    run = results_of(Image(GRAY))
    viewer, labels = run.viewer, run.labels
    data, attributes, kind = labels.as_layer_data_tuple()
    copy = Labels(data.copy(), **attributes)
    assert kind == "labels"
    viewer.add_layer(copy)
    before = record_of(labels).counts
    copy.paint((10, 9), 2)
    assert_counted(copy, GRAY[..., None])
    assert_array_equal(record_of(labels).counts, before)
