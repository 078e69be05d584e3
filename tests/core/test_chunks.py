"""dask arrays give what the NumPy arrays do that they stand for, bit for bit."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest import mock

import dask
import dask.array as da
import numpy as np
import pytest
from dask.callbacks import Callback
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from checkpoints import Check, Ended
from core_cases import assert_same_counts, assert_same_result, integers
from napari_kmeans import (
    TooManyColorsError,
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._core import chunks, color_counts, mapping
from napari_kmeans._core.blocks import interruptible, observed

DTYPES = ["?", "u1", "i1", "u2", ">i2", "u4", "i4", "u8", "i8"]


images = st.tuples(st.sampled_from(DTYPES), st.integers(1, 5)).flatmap(
    lambda kind: hnp.arrays(
        kind[0],
        st.tuples(*[st.integers(1, 6)] * 2, st.just(kind[1])),
        elements=integers(kind[0]),
    )
)


@st.composite
def cuts(draw, n):
    """Draw chunks of an axis, of which some are empty."""
    ends = sorted([0, n, *draw(st.lists(st.integers(0, n), max_size=3))])
    return tuple(np.diff(ends).tolist())


def lazy(draw, array):
    return da.from_array(array, tuple(draw(cuts(n)) for n in array.shape))


def some_groups(draw):
    """Let few pixels be many: for tasks, for tables and for codes."""
    return (
        mock.patch.object(chunks, "_GROUP", draw(st.sampled_from([1, 30, 1 << 20]))),
        mock.patch.object(color_counts, "_SORT_BELOW", draw(st.sampled_from([7, 99]))),
        mock.patch.object(color_counts, "_SPARSE", draw(st.sampled_from([2, 1 << 23]))),
        dask.config.set(scheduler=draw(st.sampled_from(["synchronous", "threads"]))),
    )


# Passes over chunks.


def test_a_pass_tells_how_many_tasks_are_done(monkeypatch):
    monkeypatch.setattr(chunks, "_GROUP", 1)
    image, told = da.zeros((4, 6), np.uint8, chunks=(2, 2)), []

    with observed(lambda *numbers: told.append(numbers)):
        count_colors(image, channel_axis=None)
        chunks.visit_places(len, ["a", "b"])

    # Merging is none of the work that is told.
    assert told == [(n, 6) for n in range(7)] + [(n, 2) for n in range(3)]


@pytest.mark.parametrize(
    "work",
    [
        lambda image: count_colors(image, channel_axis=None),
        lambda image: chunks.visit_places(len, image.chunks),
    ],
)
def test_a_pass_ends_at_a_checkpoint(work):
    with interruptible(Check(last=1)), pytest.raises(Ended):
        work(da.zeros((4, 6), np.uint8, chunks=(2, 2)))


def test_no_place_is_visited_if_there_is_none():
    chunks.visit_places(len, [])


# Counting, and what is found of counts.


@settings(max_examples=60)
@given(st.data(), images, st.integers(0, 2), st.booleans(), st.booleans())
def test_counts_of_any_chunks_are_those_of_numpy(
    data, image, axis, is_masked, is_several
):
    channel_axis = axis if image.shape[axis] <= 5 else None
    spatial = image.any(axis=axis) if channel_axis is not None else image > 0
    mask = spatial if is_masked and spatial.any() else None
    given_image, given_mask = lazy(data.draw, image), mask
    if mask is not None and data.draw(st.booleans()):
        given_mask = lazy(data.draw, mask)
    if is_several:
        image, given_image = [image] * 2, [given_image, image]
        if mask is not None:
            mask, given_mask = [mask] * 2, [given_mask, mask]

    expected = count_colors(image, channel_axis=channel_axis, mask=mask)
    small, sort, sparse, scheduler = some_groups(data.draw)
    with small, sort, sparse, scheduler:
        counts = count_colors(given_image, channel_axis=channel_axis, mask=given_mask)

    assert_same_counts(counts, expected)


@settings(max_examples=40)
@given(st.data(), images, st.integers(1, 6), st.sampled_from(["auto", "k-means++"]))
def test_palettes_of_any_chunks_are_those_of_numpy(data, image, k, init):
    how = {"init": init, "rng": 3}
    small, sort, sparse, scheduler = some_groups(data.draw)
    with small, sort, sparse, scheduler:
        result = kmeans_palette(lazy(data.draw, image), k, **how)

    assert_same_result(result, kmeans_palette(image, k, **how))


@pytest.fixture
def pool():
    """Two processes that know nothing of this one."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_every_scheduler_finds_the_same(monkeypatch, request, scheduler):
    monkeypatch.setattr(chunks, "_GROUP", 1 << 10)
    image = np.random.default_rng(5).integers(0, 99, (40, 50, 3)).astype(np.uint8)
    given_image = da.from_array(image, chunks=(20, 30, 2))
    mask = image[..., 0] > 20

    pool = request.getfixturevalue("pool") if scheduler == "processes" else None

    with dask.config.set(scheduler=scheduler, pool=pool):
        counts = count_colors(given_image, mask=given_image[..., 0] > 20)
        result = kmeans_palette(given_image, 5, color_space="lab", iters=2)
        labels = map_to_palette(given_image, result.palette).compute()

    assert_same_counts(counts, count_colors(image, mask=mask))
    assert_array_equal(labels, map_to_palette(image, result.palette), strict=True)
    assert_same_result(result, kmeans_palette(image, 5, color_space="lab", iters=2))


def test_qualities_of_dask_arrays_are_those_of_numpy():
    image = np.random.default_rng(6).integers(0, 256, (3, 30, 40)).astype(np.uint8)
    given_image = da.from_array(image, chunks=(1, 16, 16))

    few = choose_k(given_image, psnr=20, channel_axis=0)
    curve = error_curve(given_image, [2, 9], channel_axis=0)

    assert_same_result(few, choose_k(image, psnr=20, channel_axis=0))
    assert_array_equal(curve, error_curve(image, [2, 9], channel_axis=0))


def test_opacity_and_floats_are_counted_in_chunks():
    rng = np.random.default_rng(7)
    image = rng.integers(0, 4, (20, 20, 4)).astype(np.float32) / 3
    image[3, 3, 0] = np.nan
    given_image = da.from_array(image, chunks=(7, 9, 2))

    assert_same_counts(count_colors(given_image), count_colors(image))
    assert_same_result(
        kmeans_palette(given_image, 5, alpha=True),
        kmeans_palette(image, 5, alpha=True),
    )


def test_more_pixels_of_a_color_than_a_table_begins_with_room_for(monkeypatch):
    monkeypatch.setattr(color_counts, "_NARROW", np.uint8)
    monkeypatch.setattr(color_counts, "_SORT_BELOW", 1)
    monkeypatch.setattr(chunks, "_GROUP", 100)
    image = np.zeros((30, 40), np.uint8)
    image[3, 5:] = 7

    counts = count_colors(da.from_array(image, chunks=10), channel_axis=None)

    assert_array_equal(counts.colors, [0, 7])
    assert_array_equal(counts.counts, [1165, 35])


def test_too_many_colors_of_chunks_that_have_few(monkeypatch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    monkeypatch.setattr(chunks, "_GROUP", 1)
    image = np.arange(120, dtype=np.uint32).reshape(1, 120)
    given_image = da.from_array(image, chunks=20)

    with pytest.raises(TooManyColorsError, match="more than 100 distinct colors"):
        count_colors(given_image, channel_axis=None)
    assert_same_counts(
        count_colors(given_image[:, :100], channel_axis=None),
        count_colors(image[:, :100], channel_axis=None),
    )


def test_an_image_is_read_once_to_be_counted():
    n_read = []

    def read(block):
        n_read.append(block.shape)
        return np.ones_like(block)

    image = da.zeros((40, 40, 3), chunks=(20, 20, 3), dtype=np.uint8)
    # What dask is told of the chunks spares a look at one.
    image = image.map_blocks(read, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))

    for mask in (np.arange(1600).reshape(40, 40) > 9, image[..., 0] > 0):
        n_read.clear()
        kmeans_palette(image, 4, mask=mask)
        assert n_read == [(20, 20, 3)] * 4


# Labels and colors, which are lazy.


@settings(max_examples=60)
@given(
    st.data(),
    images,
    st.integers(0, 2),
    st.sampled_from([None, "ordered", "floyd-steinberg"]),
)
def test_labels_of_any_chunks_are_those_of_numpy(data, image, axis, dither):
    channel_axis = axis if data.draw(st.booleans()) else None
    colors = image.reshape(-1, 1)[:3]
    if channel_axis is not None:
        colors = np.moveaxis(image, axis, -1).reshape(-1, image.shape[axis])[:4]
    palette = colors[:, 0] if channel_axis is None else colors
    how = {"channel_axis": channel_axis, "dither": dither}

    small, _, _, scheduler = some_groups(data.draw)
    with small, scheduler:
        labels = map_to_palette(lazy(data.draw, image), palette, **how)
        assert labels.dtype == np.uint8
        computed = labels.compute()

    assert_array_equal(computed, map_to_palette(image, palette, **how), strict=True)


@settings(max_examples=60)
@given(st.data(), images, st.integers(0, 2), st.integers(1, 6), st.booleans())
def test_quantized_chunks_are_those_of_numpy(data, image, axis, k, is_masked):
    channel_axis = axis if data.draw(st.booleans()) else None
    spatial = image > 0 if channel_axis is None else image.any(axis=axis)
    how = {"channel_axis": channel_axis}
    if is_masked and spatial.any():
        how["mask"] = spatial
    can_have_alpha = channel_axis is not None and image.dtype.kind == "u"
    if can_have_alpha and image.shape[axis] in (2, 4, 5):
        how["alpha"] = data.draw(st.booleans())

    small, _, _, scheduler = some_groups(data.draw)
    with small, scheduler:
        quantized = quantize_kmeans(lazy(data.draw, image), k, **how)
        assert (quantized.shape, quantized.dtype) == (image.shape, image.dtype)
        computed = quantized.compute()

    assert_array_equal(computed, quantize_kmeans(image, k, **how), strict=True)


@pytest.mark.parametrize("kind", ["lab", "opacity", "floats", "wide"])
def test_every_space_has_the_labels_of_numpy(kind):
    image = np.random.default_rng(8).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    how = {"color_space": "lab" if kind == "lab" else "rgb"}
    if kind == "opacity":
        image, how = image[..., :2], {"alpha": True}
    elif kind == "floats":
        image = image / np.float32(255)
        image[3, 4] = np.nan
    elif kind == "wide":
        image = image.astype(np.int64) << 54
    given_image = da.from_array(image, chunks=(20, 30, 2))

    quantized = quantize_kmeans(given_image, 5, **how).compute()

    assert_array_equal(quantized, quantize_kmeans(image, 5, **how), strict=True)


@pytest.mark.parametrize("dither", ["ordered", "floyd-steinberg"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_dithered_ramp_has_no_seams(dither, dtype):
    ramp = np.arange(2 * 30 * 70).reshape(2, 30, 70, 1) % 251
    image = np.concatenate([ramp, ramp[:, ::-1]], axis=-1).astype(dtype)
    palette = np.array([[0, 0], [250, 250], [0, 250]], dtype)

    labels = map_to_palette(da.from_array(image, (1, 7, 9, 1)), palette, dither=dither)

    expected = map_to_palette(image, palette, dither=dither)
    assert_array_equal(labels.compute(), expected, strict=True)


@pytest.mark.parametrize("dither", [None, "ordered", "floyd-steinberg"])
def test_chunks_without_a_finite_pixel_are_mapped_as_numpy_does(dither):
    image = np.random.default_rng(3).random((20, 20, 3))
    image[:10, :10] = np.nan
    palette, given_image = image[15, :5], da.from_array(image, chunks=10)

    labels = map_to_palette(given_image, palette, dither=dither).compute()

    assert_array_equal(labels, map_to_palette(image, palette, dither=dither))
    assert_array_equal(quantize_kmeans(given_image, 4), quantize_kmeans(image, 4))
    with pytest.raises(ValueError, match="image must have a finite pixel, got none"):
        kmeans_palette(given_image[:10, :10], 4)


@pytest.mark.parametrize("k", [30, 255, 256])
def test_a_process_labels_a_color_once_for_a_palette(monkeypatch, k):
    image = np.random.default_rng(9).integers(0, 256, (200, 200, 2)).astype(np.uint8)
    palette = image.reshape(-1, 2)[:k]
    expected = map_to_palette(image, palette)
    labeled = []

    def label(colors, *rest, **named):
        labeled.append(colors)
        return label_colors(colors, *rest, **named)

    label_colors = mapping.label_colors
    monkeypatch.setattr(mapping, "label_colors", label)
    mapping._label_table.cache_clear()

    labels = map_to_palette(da.from_array(image, chunks=(30, 70, 1)), palette)
    again = map_to_palette(da.from_array(image, chunks=(200, 70, 1)), palette)

    assert_array_equal(labels.compute(scheduler="synchronous"), expected, strict=True)
    assert_array_equal(again.compute(scheduler="threads"), expected, strict=True)
    colors = np.unique(image.reshape(-1, 2), axis=0)
    assert_array_equal(np.unique(np.concatenate(labeled), axis=0), colors)
    assert sum(map(len, labeled)) == len(colors)


def test_a_map_asks_the_fit_for_labels(monkeypatch):
    image = np.random.default_rng(9).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    expected = quantize_kmeans(image, 7)
    quantized = quantize_kmeans(da.from_array(image, chunks=(30, 70, 1)), 7)
    monkeypatch.setattr(mapping, "label_colors", lambda *_, **__: 1 / 0)
    assert_array_equal(quantized.compute(), expected, strict=True)


@pytest.mark.parametrize("k", [1, 255, 256, 257, 65536])
def test_palettes_of_as_many_colors_as_labels_hold(k):
    image = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    palette = image.ravel()[:k]
    labels = map_to_palette(da.from_array(image, 99), palette, channel_axis=None)
    expected = map_to_palette(image, palette, channel_axis=None)
    assert_array_equal(labels.compute(), expected, strict=True)


def test_a_tile_reads_its_chunks_alone():
    read = []

    def look(block, block_id):
        read.append(block_id[:2])
        return block

    image = da.random.default_rng(0).integers(0, 99, (40, 40, 3), chunks=(20, 20, 3))
    told = {"dtype": np.uint8, "meta": np.empty((0, 0, 0), np.uint8)}
    image = image.astype(np.uint8).map_blocks(look, **told)

    quantized = quantize_kmeans(image, 4)
    assert sorted(read) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    read.clear()
    labels = map_to_palette(image, [[1, 2, 3]], dither="ordered")
    assert read == []
    quantized[:20, 20:].compute()
    labels[20:, :20].compute()
    assert read == [(0, 1), (1, 0)]


@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_perceptual_maps_of_floats_read_nothing_and_are_those_of_numpy(space):
    image = np.random.default_rng(4).random((30, 40, 3)) * 0.7 + 0.2
    palette, n_read = image[0, :9], []

    def look(block):
        n_read.append(block.shape)
        return block

    lazy_image = da.from_array(image, chunks=17).map_blocks(look, meta=image[:0, :0])
    labels = map_to_palette(lazy_image, palette, color_space=space)
    assert n_read == []
    expected = map_to_palette(image, palette, color_space=space)
    assert_array_equal(labels.compute(), expected, strict=True)


def test_few_colors_are_left_as_they_are():
    image = da.from_array(np.arange(12).reshape(3, 4), chunks=2)

    quantized = quantize_kmeans(image, 12, channel_axis=None)

    assert_array_equal(quantized.compute(), image.compute(), strict=True)


def test_errors_are_not_diffused_in_planes_that_are_too_large():
    image = da.zeros((1 << 14, 1 << 13, 3), chunks=1 << 10, dtype=np.uint8)
    palette = [[0, 0, 0], [9, 9, 9]]

    message = "planes of at most 67108864 .*, got 16384 x 8192; pass dither='ordered'"
    with pytest.raises(ValueError, match=message):
        map_to_palette(image, palette, dither="floyd-steinberg")
    map_to_palette(image[: 1 << 13], palette, dither="floyd-steinberg")
    map_to_palette(image, palette, dither="ordered")


# Colors that are too many to count are read again for every step.


def test_other_processes_stream_what_this_one_does(pool):
    image = np.random.default_rng(4).integers(0, 1 << 16, (1100, 1000, 2)).astype("u2")
    given_image = da.from_array(image, chunks=(400, 1000, 1))
    how = {"k": 3, "iters": 2, "init": image[0, :3]}

    with dask.config.set(scheduler="processes", pool=pool):
        with pytest.raises(TooManyColorsError, match="more than 1048576 distinct"):
            count_colors(given_image)
        result = kmeans_palette(given_image, **how)

    assert_same_result(result, kmeans_palette(image, **how))


@settings(max_examples=50)
@given(st.data(), images, st.integers(1, 6), st.sampled_from(["auto", "k-means++"]))
def test_streamed_palettes_of_any_chunks_are_those_of_numpy(data, image, k, init):
    how = {"init": init, "rng": 3}
    if image.dtype.kind == "u" and image.itemsize <= 2 and image.shape[-1] in (2, 4, 5):
        how["alpha"] = data.draw(st.booleans())
    if data.draw(st.booleans()) and image[..., -1].any():
        how["mask"] = image[..., -1] > 0
    if "mask" in how and not how["mask"].any():
        del how["mask"]

    small, _, _, scheduler = some_groups(data.draw)
    with mock.patch.object(color_counts, "MAX_COUNTED", 1), small, scheduler:
        result = kmeans_palette(lazy(data.draw, image), k, **how)
        expected = kmeans_palette(image, k, **how)

    assert_same_result(result, expected)


def test_empty_chunks_beside_a_single_row_hide_no_pixel(monkeypatch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 1)
    image = np.arange(40, dtype=np.uint16).reshape(1, 10, 4) % 7
    mask = image[..., 1] > 0

    given_image = da.from_array(image, ((1,), (4, 6), (4,)))
    given_mask = da.from_array(mask, ((0, 0, 1, 0), (10,)))
    result = kmeans_palette(given_image, 3, mask=given_mask, alpha=True)

    assert_same_result(result, kmeans_palette(image, 3, mask=mask, alpha=True))


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_far_colors_of_streamed_chunks_are_set_apart_as_those_of_numpy(
    monkeypatch, dtype
):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    monkeypatch.setattr(chunks, "_GROUP", 1 << 12)
    monkeypatch.setattr("napari_kmeans._core.outliers._SAMPLE", 1 << 6)
    image = np.random.default_rng(2).integers(0, 30, (60, 70, 4)).astype(dtype)
    image[5, 6] = image[50, 60] = 60000
    given_image = da.from_array(image, chunks=(25, 70, 3))

    result = kmeans_palette(given_image, 5)

    expected = kmeans_palette(image, 5)
    assert (result.palette[-1] == 60000).all()
    assert_allclose(result.palette, expected.palette, rtol=0 if dtype == "u2" else 1e-6)
    assert_array_equal(result.counts, expected.counts)


@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
@pytest.mark.parametrize("space", ["lab", "oklab"])
def test_streamed_perceptual_palettes_are_equal_to_rounding(monkeypatch, space, dtype):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    monkeypatch.setattr(chunks, "_GROUP", 1 << 12)
    monkeypatch.setattr("napari_kmeans._core.spaces._SAMPLE", 10)
    # None is black: the least lightness is that of one pixel, and so is the origin.
    image = 0.2 + 0.7 * np.random.default_rng(1).random((70, 80, 3)) ** 2
    image = (image * 65535).astype(dtype) if dtype == "u2" else image.astype(dtype)
    how = {"color_space": space}

    result = kmeans_palette(da.from_array(image, (50, 13, 1)), 8, **how)

    expected = kmeans_palette(image, 8, **how)
    assert_allclose(result.palette, expected.palette, rtol=0 if dtype == "u2" else 1e-9)
    assert_array_equal(result.counts, expected.counts)
    assert_allclose(result.mse, expected.mse, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["u8", "i8"])
@pytest.mark.parametrize("is_counted", [True, False])
def test_integers_of_a_range_that_floats_round_are_those_of_numpy(
    monkeypatch, dtype, is_counted
):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 1 << 20 if is_counted else 100)
    monkeypatch.setattr(chunks, "_GROUP", 1 << 12)
    monkeypatch.setattr("napari_kmeans._core.spaces._SAMPLE", 10)
    info = np.iinfo(dtype)
    image = np.random.default_rng(2).integers(info.min, info.max, (30, 40, 2), dtype)
    given_image = da.from_array(image, chunks=(11, 17, 1))

    assert_same_result(kmeans_palette(given_image, 4), kmeans_palette(image, 4))
    assert_array_equal(quantize_kmeans(given_image, 4), quantize_kmeans(image, 4))
    # Colors so near to each other that the origin decides which is nearest.
    palette = image[0, :1] + np.arange(9, dtype=dtype)[:, np.newaxis]
    labels = map_to_palette(given_image, palette).compute()
    assert_array_equal(labels, map_to_palette(image, palette))


def test_an_iteration_reads_every_chunk_once(monkeypatch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    monkeypatch.setattr(chunks, "_GROUP", 1)
    n_read = []

    def look(block):
        n_read.append(block.shape)
        return block

    pixels = np.random.default_rng(2).integers(0, 1 << 16, (40, 50, 3)).astype("u2")
    told = {"dtype": np.uint16, "meta": np.empty((0, 0, 0), np.uint16)}
    image = da.from_array(pixels, chunks=(20, 25, 3)).map_blocks(look, **told)
    start = pixels[0, :9]

    reads = []
    for iters in (2, 5):
        n_read.clear()
        kmeans_palette(image, 9, iters, init=start)
        reads.append(len(n_read))

    assert reads[1] - reads[0] == 3 * 4


def test_arrays_are_counted_where_dask_fuses_no_tasks():
    # As while napari looks at a dask array, in any thread.
    image = np.random.default_rng(0).integers(0, 9, (20, 30, 3), np.uint8)
    expected = count_colors(image)
    with dask.config.set({"optimization.fuse.active": False}):
        found = count_colors(da.from_array(image, chunks=(7, 30, 2)))
    assert_array_equal(found.colors, expected.colors)
    assert_array_equal(found.counts, expected.counts)


def test_callbacks_of_other_threads_are_not_called_where_somebody_watches():
    image, keys = da.zeros((4, 5, 3), np.uint8, chunks=2), []
    with Callback(pretask=lambda key, *_: keys.append(key)):
        count_colors(image)
        assert keys
        keys.clear()
        with observed(lambda *_: None):
            count_colors(image)
    assert keys == []


# What is refused.

IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
LAZY = da.from_array(IMAGE, chunks=2)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (LAZY[LAZY[:, 0, 0] > 3], ValueError, r"of known sizes, got shape \(nan, 5, 3"),
        (LAZY.astype(object), TypeError, "integer or float dtype, got object"),
        (LAZY.astype("u1,u1,u1"), TypeError, r"integer or float dtype, got \[\('f0'"),
        (da.ma.masked_greater(LAZY, 9), TypeError, "image must not be a masked array"),
        (LAZY[:0], ValueError, "image must not be empty"),
        (LAZY[0], ValueError, "has no channels along channel_axis=-1"),
    ],
)
@pytest.mark.parametrize("is_several", [False, True])
def test_arrays_without_sizes_numbers_or_pixels_are_refused(
    image, error, message, is_several
):
    with pytest.raises(error, match=message):
        count_colors([LAZY, image] if is_several else image)
    if not is_several:
        for function, needed in [(quantize_kmeans, 2), (map_to_palette, [[1, 2, 3]])]:
            with pytest.raises(error, match=message):
                function(image, needed)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (da.zeros((4, 5), dtype=bool), ValueError, "mask must be True for a pixel"),
        (da.zeros((4, 5)), TypeError, "mask must be boolean, got dtype float64"),
        (da.zeros((4, 6), dtype=bool), ValueError, r"\(4, 5\), got \(4, 6\)"),
        (da.ma.masked_equal(LAZY[..., 0] > 3, False), TypeError, "not be a masked"),
        (LAZY[LAZY[:, 0, 0] > 3][..., 0] > 3, ValueError, "chunks of known sizes"),
    ],
)
def test_masks_that_fit_no_image_are_refused(mask, error, message):
    with pytest.raises(error, match=message):
        count_colors(LAZY, mask=mask)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda block: block.astype(float), "chunks of uint8, as dask says, got float"),
        (lambda block: np.ma.masked_greater(block, 5), "must not be a masked array"),
    ],
)
def test_chunks_that_are_not_what_dask_says_are_refused(make, message):
    told = {"dtype": np.uint8, "meta": np.empty((0, 0, 0), np.uint8)}
    image = LAZY.map_blocks(make, **told)

    with pytest.raises(TypeError, match=message):
        count_colors(image)
    with pytest.raises(TypeError, match=message):
        map_to_palette(image, [[1, 2, 3]]).compute()


def test_chunks_of_another_shape_than_dask_says_are_refused():
    told = {"dtype": np.uint8, "meta": np.empty((0, 0, 0), np.uint8)}
    whole = da.from_array(IMAGE, chunks=(2, 5, 3))
    image = whole.map_blocks(lambda block: block[:, ::2], **told)
    message = r"a chunk of \(2, 5, 3\), as dask says, got \(2, 3, 3\)"

    with pytest.raises(ValueError, match=f"image must have {message}"):
        count_colors(image)
    with pytest.raises(ValueError, match=f"image must have {message}"):
        map_to_palette(image, [[1, 2, 3]]).compute()
    mask = (whole[..., 0] > 3).map_blocks(lambda block: block[:1], dtype=bool)
    with pytest.raises(ValueError, match=r"mask must have a chunk of \(2, 5\), as"):
        count_colors(whole, mask=mask)


def test_a_mask_of_dask_may_be_of_a_numpy_array():
    mask = IMAGE[..., 0] > 9

    counts = count_colors(IMAGE, mask=da.from_array(mask, chunks=3))

    assert_same_counts(counts, count_colors(IMAGE, mask=mask))


def test_dask_is_not_loaded_for_other_arrays():
    program = (
        "import sys; import napari_kmeans as n; n.quantize_kmeans([[[1, 2]]]);"
        "sys.exit('dask' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_lazy_image_that_is_not_seen_stays_as_it_is():
    image = da.zeros((2, 3, 4), dtype=np.uint8, chunks=1) + np.uint8([9, 9, 9, 0])
    mask = np.ones((2, 3), bool)

    quantized = quantize_kmeans(image, 2, alpha=True, mask=mask)

    assert_array_equal(quantized, image)
