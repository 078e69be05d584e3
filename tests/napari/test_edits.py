"""Clusters that become one, other colors and names: as functions of records."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import quantize_layer
from napari_kmeans._napari.edits import (
    edit_record,
    merge_entries,
    recolor_entry,
    rename_entry,
    renumber,
    repaint_image,
)
from napari_kmeans._napari.record import Fit, Record, record_of
from napari_kmeans._napari.settings import Settings


def record_with(palette, counts, **fields):
    """Return the record of a fit with a palette, whose means are its colors."""
    palette, counts = np.asarray(palette), np.array(counts, dtype=np.int64)
    means = np.where(counts > 0, palette.reshape(len(counts), -1).T, np.nan).T
    fields = {"means": means, "settings": Settings()} | fields
    return Record(palette, counts, fit=Fit(palette, counts), **fields)


U1 = np.uint8


@pytest.mark.parametrize(
    ("colors", "counts", "expected"),
    [
        # 3 pixels of 10 and 1 of 20.
        (np.array([10, 20], U1), [3, 1], 12),
        # Halves go to the even number.
        (np.array([1, 2], U1), [1, 1], 2),
        (np.array([2, 3], U1), [1, 1], 2),
        (np.array([-3, 0], np.int16), [1, 1], -2),
        # Nobody has them, so they count alike.
        (np.array([4, 8], U1), [0, 0], 6),
        (np.array([4, 8], U1), [0, 5], 8),
        (np.array([False, True]), [1, 2], True),
        # float64 could not hold these.
        (np.array([2**64 - 1, 2**64 - 3], np.uint64), [1, 1], 2**64 - 2),
        (np.array([0.5, 1.0], np.float32), [1, 3], 0.875),
        (np.array([-1.7e308, 1.7e308, 1.7e308]), [1, 1, 1], 1.7e308 / 3),
    ],
)
def test_color_of_a_cluster_is_the_mean_by_pixels(colors, counts, expected):
    record = record_with(colors, counts)
    merged, lut = merge_entries(record, range(len(colors)))
    assert merged.palette.dtype == colors.dtype
    assert_allclose(merged.palette, [expected], rtol=1e-15)
    assert_array_equal(lut, 0)
    assert_array_equal(merged.counts, [sum(counts)])


def test_cluster_takes_the_place_of_its_lowest_entry_and_others_close_up():
    record = record_with(np.array([0, 50, 100, 150, 200], U1), [1, 2, 3, 4, 5])
    merged, lut = merge_entries(record, [3, 1])
    assert_array_equal(merged.palette, [0, 117, 100, 200])
    assert_array_equal(merged.counts, [1, 6, 3, 5])
    assert_array_equal(lut, [0, 1, 2, 1, 3])
    assert_allclose(merged.means[:, 0], [0, (2 * 50 + 4 * 150) / 6, 100, 200])
    assert merged.settings.merged == ((1, 3),)
    assert (merged.mse, merged.psnr) == (None, None)
    # What is known stays.
    assert_array_equal(record.palette, [0, 50, 100, 150, 200])


def test_another_entry_of_the_color_of_the_cluster_is_in_it():
    record = record_with(np.array([0, 10, 20, 40], U1), [1, 5, 1, 1])
    merged, lut = merge_entries(record, [0, 2])
    assert_array_equal(lut, [0, 0, 0, 1])
    assert_array_equal(merged.palette, [10, 40])
    assert merged.settings.merged == ((0, 1, 2),)


def test_clusters_that_become_equal_are_one_as_often_as_it_takes():
    # (0, 20) is 10; with 10 it is 10; that of (10, 0 of 12) stays.
    record = record_with(np.array([0, 10, 20, 12, 8], U1), [1, 1, 1, 2, 2])
    once, _ = merge_entries(record, [3, 4])
    assert_array_equal(once.palette, [0, 10, 20])
    assert_array_equal(once.counts, [1, 5, 1])
    again, lut = merge_entries(once, [0, 2])
    assert_array_equal(again.palette, [10])
    assert_array_equal(lut, 0)
    assert again.settings.merged == ((0, 1, 2, 3, 4),)


def test_means_of_pixels_are_weighted_and_none_where_there_is_no_pixel():
    means = np.array([[1.5, 9], [2.5, 1], [np.nan, np.nan], [7, 7]])
    palette = np.array([[1, 9], [2, 1], [5, 5], [7, 7]], U1)
    record = record_with(palette, [1, 3, 0, 2], means=means)
    merged, _ = merge_entries(record, [0, 1, 2])
    assert_allclose(merged.means, [[2.25, 3], [7, 7]])
    nothing = record_with(palette, [0, 0, 0, 2], means=np.full((4, 2), np.nan))
    assert np.isnan(merge_entries(nothing, [0, 1])[0].means[0]).all()
    unknown = record_with(palette, [1, 3, 0, 2], means=None)
    assert merge_entries(unknown, [0, 1])[0].means is None


def test_cluster_keeps_the_first_name_and_the_first_color_that_were_given():
    record = record_with(np.array([0, 50, 100, 150], U1), [1, 1, 1, 1])
    record = rename_entry(rename_entry(record, 2, "late"), 3, "last")
    record = recolor_entry(recolor_entry(record, 3, 33), 2, 22)
    merged, _ = merge_entries(record, [0, 2, 3])
    assert merged.names == ("late", "")
    assert_array_equal(merged.palette, [22, 50])
    assert merged.settings.recolored == {0: 22}


def test_name_that_is_taken_away_leaves_none():
    record = record_with(np.array([0, 50], U1), [1, 1])
    named = rename_entry(record, 1, "b")
    assert named.names == ("", "b")
    assert rename_entry(named, 1, "").names == ()


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([1], r"entries must be two or more, got \[1\]"),
        ([1, 1], r"entries must be two or more"),
        ([0, 4], r"entries must be entries of the palette, 0 to 3, got 4"),
        ([-1, 1], r"entries must be entries of the palette, 0 to 3, got -1"),
        (
            [1, 2],
            r"entries must be entries of one palette, got some of the slices 0 and",
        ),
    ],
)
def test_entries_that_cannot_be_merged(entries, match):
    slices = np.array([0, 0, 1, 1])
    record = record_with(np.array([0, 5, 0, 5], U1), [1, 1, 1, 1], slices=slices)
    with pytest.raises(ValueError, match=match):
        merge_entries(record, entries)


def test_equal_colors_of_other_slices_are_other_clusters():
    slices = np.array([0, 0, 1, 1])
    record = record_with(np.array([0, 10, 5, 9], U1), [1, 1, 1, 1], slices=slices)
    merged, _ = merge_entries(record, [0, 1])
    assert_array_equal(merged.palette, [5, 5, 9])
    assert_array_equal(merged.slices, [0, 1, 1])


@pytest.mark.parametrize(
    ("chosen", "match"),
    [
        ({"merged": [(0, 9)]}, "merged must be entries of the palette, 0 to 3, got 9"),
        (
            {"recolored": {4: 7}},
            "recolored must be entries of the palette, 0 to 3, got",
        ),
        ({"names": {-1: "a"}}, "names must be entries of the palette, 0 to 3, got -1"),
        # There are two after these are merged.
        ({"merged": [(0, 1), (1, 2)], "names": {2: "a"}}, "0 to 1, got 2"),
    ],
)
def test_entries_that_a_palette_does_not_have(chosen, match):
    layer = Image(np.arange(0, 240, 5, U1).reshape(6, 8))
    with pytest.raises(ValueError, match=match):
        quantize_layer(layer, 4, **chosen)


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ({"merged": 5}, TypeError, "merged must be sequences of entries, got 5"),
        (
            {"merged": [0, 1]},
            TypeError,
            "must be sequences of entries, got [0, 1",
        ),
        (
            {"merged": [(0, 0.5)]},
            TypeError,
            "of merged must be an integer, got 0.5",
        ),
        ({"merged": [(0, True)]}, TypeError, "merged must be an integer, got True"),
        ({"recolored": [7]}, TypeError, "recolored must be a mapping from entries of"),
        ({"recolored": {True: 7}}, TypeError, "recolored must be an integer, got True"),
        (
            {"recolored": {0: "red"}},
            TypeError,
            "must have a boolean, integer",
        ),
        ({"recolored": {0: 256}}, ValueError, "colors that uint8 holds, got 256"),
        ({"recolored": {0: 1.5}}, ValueError, "colors that uint8 holds, got 1.5"),
        ({"recolored": {0: [1, 2]}}, ValueError, "colors of shape (), got [1, 2]"),
        ({"names": ["a"]}, TypeError, "names must be a mapping from entries of"),
        ({"names": {0: 5}}, TypeError, "names must be strings, got 5"),
        ({"names": {0: " a"}}, ValueError, "names must be printable, without spaces"),
    ],
)
def test_changes_that_cannot_be_are_refused(chosen, error, message):
    layer = Image(np.arange(0, 240, 5, U1).reshape(6, 8))
    with pytest.raises(error, match=re.escape(message)):
        quantize_layer(layer, 4, **chosen)


def test_groups_without_two_entries_merge_nothing():
    layer = Image(np.arange(0, 240, 5, U1).reshape(6, 8))
    plain, made = (
        quantize_layer(layer, 4, merged=merged)[0]
        for merged in (None, np.array([[], [1]], dtype=object))
    )
    assert_array_equal(made.data, plain.data)
    assert record_of(made).settings.merged is None


groups = st.lists(st.lists(st.integers(0, 7), min_size=2, max_size=3), max_size=4)


@given(
    values=st.lists(st.integers(0, 30), min_size=8, max_size=8, unique=True),
    counts=st.lists(st.integers(0, 4), min_size=8, max_size=8),
    groups=groups,
)
@settings(max_examples=200)
def test_clusters_that_are_merged_one_by_one_are_those_that_are_merged_at_once(
    values, counts, groups
):
    record = record_with(np.array(sorted(values), U1), counts)
    now, total = record, np.arange(8)
    for group in groups:
        chosen = sorted({int(total[entry]) for entry in group})
        if len(chosen) > 1:
            now, lut = merge_entries(now, chosen)
            total = lut[total]

    again, lut = edit_record(record, dataclasses.replace(now.settings, names=None))

    assert_array_equal(again.palette, now.palette, strict=True)
    assert_array_equal(again.counts, now.counts, strict=True)
    assert_allclose(again.means, now.means, rtol=1e-12)
    assert_array_equal(lut, total)
    # All colors are other ones.
    assert len(np.unique(now.palette)) == len(now.palette)


# Pixels.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_labels_are_renumbered_and_background_and_strangers_stay(dtype):
    labels = np.array([[0, 1, 2, 3], [4, 5, 90, 1]], dtype=dtype)
    moved = renumber(labels, np.array([0, 1, 0, 1, 2]), 3)
    assert_array_equal(moved, [[0, 1, 2, 1], [2, 3, 90, 1]])
    assert moved.dtype == np.uint8


def test_negative_labels_stay():
    labels = np.array([-3, 1, 2], dtype=np.int16)
    moved = renumber(labels, np.array([1, 0]), 2)
    assert_array_equal(moved, [-3, 2, 1])


def test_renumbered_labels_have_the_dtype_that_a_script_gives_them():
    image = Image(np.arange(300, dtype=np.uint16).reshape(15, 20))
    (labels,) = quantize_layer(image, 256, output="labels")
    (merged,) = quantize_layer(image, 256, output="labels", merged=[(0, 1)])
    record, lut = merge_entries(record_of(labels), [0, 1])
    assert labels.data.dtype == np.uint16
    assert_array_equal(renumber(labels.data, lut, 255), merged.data, strict=True)
    assert_array_equal(record.palette, record_of(merged).palette, strict=True)


def test_merged_layers_are_those_of_pixels_that_are_replaced_by_hand():
    image = np.random.default_rng(4).integers(0, 256, (30, 20, 3), U1)
    layer = Image(image, rgb=True)
    plain, labels = quantize_layer(layer, 5, output="both")
    palette, counts = record_of(plain).palette, record_of(plain).counts

    both = quantize_layer(layer, 5, output="both", merged=[(1, 3)])

    inside = np.isin(labels.data, [2, 4])
    color = np.rint(np.average(palette[[1, 3]], axis=0, weights=counts[[1, 3]]))
    expected = np.where(inside[..., np.newaxis], color.astype(U1), plain.data)
    assert_array_equal(both[0].data, expected)
    numbers = np.array([0, 1, 2, 3, 2, 4])
    assert_array_equal(both[1].data, numbers[labels.data])
    record = record_of(both[1])
    assert_array_equal(record.counts, np.bincount(both[1].data.ravel())[1:])
    means = [image[both[1].data == i + 1].mean(axis=0) for i in range(4)]
    assert_allclose(record.means, means, rtol=1e-12)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_image_is_painted_by_its_labels_and_stays_where_there_is_none(axis):
    labels = np.array([[0, 1, 2], [2, 0, 1]])
    shape = [2, 3] if axis is None else list(np.insert([2, 3], axis % 3, 2))
    image = np.full(shape, 7.0)
    palette = np.array([1.0, 2.0]) if axis is None else np.array([[1.0, 3], [2, 4]])
    expected = np.array([[7, 1, 2], [2, 7, 1]])
    if axis is not None:
        expected = np.stack([expected, expected + 2 * (labels > 0)], axis=axis)
    for spread in {False, axis == 1}:
        numbers = np.expand_dims(labels, axis) if spread else labels
        painted = repaint_image(numbers, image, palette, axis)
        assert_array_equal(painted, expected)
