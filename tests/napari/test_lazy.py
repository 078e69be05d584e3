"""Lazy layers: equal to those of NumPy, and computed only where one looks."""

import uuid
from types import SimpleNamespace

import cloudpickle
import dask.array as da
import numpy as np
import psutil
import pytest
import zarr
from napari.layers import Image, Labels
from numpy.testing import assert_array_equal

from checkpoints import Check
from napari_kmeans import map_to_palette, quantize_layer, read_indexed
from napari_kmeans._core import counted_image, mapping
from napari_kmeans._core.arguments import is_lazy
from napari_kmeans._core.blocks import interruptible
from napari_kmeans._napari import computation, layers
from napari_kmeans._napari.computation import quantize_source
from napari_kmeans._napari.kept_counts import KeptCounts
from napari_kmeans._napari.quantize_layer import prepare
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.settings import Settings
from napari_kmeans._napari.writer import CannotHold, write_image, write_labels
from napari_window import press

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (40, 50, 3), np.uint8)
RGBA = np.dstack([RGB, RNG.integers(0, 3, (40, 50, 1), np.uint8) * 127])
FLOATS = RNG.normal(size=(40, 50)).astype(np.float32)
FLOATS[4, 5:9] = np.nan
STACK = RNG.integers(0, 2000, (3, 4, 20, 30)).astype(np.uint16)
MASK = RGB[..., 0] > 150
DITHERS = None, "ordered", "floyd-steinberg"


def plain(array):
    """Give an array of NumPy."""
    return array.compute() if is_lazy(array) else np.asarray(array)


def layer_of(image, chunks=None, **attributes):
    """Give a layer of dask if there are chunks."""
    limits = {} if attributes.get("rgb") else {"contrast_limits": (0, 100)}
    data = image if chunks is None else da.from_array(image, chunks=chunks)
    return Image(data, **attributes, **limits)


def watched(image, computed, chunks=(20, 25, 3)):
    """Give a dask array that notes which chunks are computed."""

    def note(block, block_info):
        computed.append(block_info[0]["chunk-location"])
        return block

    source = da.from_array(image, chunks=chunks[: image.ndim])
    # napari keeps chunks that were computed by their names.
    how = {"name": f"note-{uuid.uuid4().hex}", "dtype": image.dtype}
    return source.map_blocks(note, **how, meta=image[(slice(0),) * 2])


def little_memory(monkeypatch):
    free = SimpleNamespace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


def ignore(_):
    """Do nothing with what a computation reports."""


def outcome_of(*sources, mask=None, report=ignore, count=None, **settings):
    chosen = Settings(**{"k": 4, "output": "both"} | settings)
    request = prepare(sources, chosen, mask)
    return request, quantize_source(request.source, request.settings, report, count)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Let small images have many tiles."""
    monkeypatch.setattr(layers, "_TILE", 25 * 25)


# The same bits.


@pytest.mark.parametrize("dither", DITHERS)
@pytest.mark.parametrize(
    ("images", "chunks", "how"),
    [
        pytest.param([RGB], 17, {"rgb": True}, id="rgb"),
        pytest.param([RGBA], 17, {"rgb": True}, id="rgba"),
        pytest.param([FLOATS], 11, {}, id="floats"),
        pytest.param([RGB], 17, {"rgb": True, "color_space": "lab"}, id="lab"),
        pytest.param([RGB], 17, {"rgb": True, "palette": RGB[0, :4]}, id="given"),
        pytest.param([RGB], 17, {"rgb": True, "recolored": {1: (1, 2, 3)}}, id="other"),
        pytest.param([RGB], 17, {"rgb": True, "mask": MASK}, id="mask"),
        pytest.param(
            [RGB], 17, {"rgb": True, "mask": da.from_array(MASK, 9)}, id="lazy mask"
        ),
        pytest.param(
            [RGBA], 17, {"rgb": True, "mask": Labels(MASK.astype("u1"))}, id="labels"
        ),
        pytest.param([STACK[0]], (3, 9, 9), {"slice_axis": 0}, id="slices"),
        pytest.param([STACK], (1, 2, 9, 9), {"channel_axis": 0}, id="first axis"),
        pytest.param(
            [STACK], (1, 2, 9, 9), {"channel_axis": 1, "slice_axis": 0}, id="both axes"
        ),
        pytest.param(STACK, (2, 9, 9), {}, id="layers"),
        pytest.param(
            [np.stack([RGBA, RGBA // 2])],
            (1, 20, 20, 1),
            {"rgb": True, "slice_axis": 0},
            id="rgba slices",
        ),
    ],
)
def test_lazy_results_are_those_of_numpy(images, chunks, how, dither):
    how = {"output": "both", "dither": dither} | how
    rgb = how.pop("rgb", False)
    expected = quantize_layer([layer_of(x, rgb=rgb) for x in images], 4, **how)
    lazy = quantize_layer([layer_of(x, chunks, rgb=rgb) for x in images], 4, **how)
    for one, other in zip(lazy, expected, strict=True):
        assert is_lazy(one.data)
        assert isinstance(other.data, np.ndarray)
        assert_array_equal(plain(one.data), other.data, strict=True)
        found, known = record_of(one), record_of(other)
        assert_array_equal(found.palette, known.palette, strict=True)
        assert_array_equal(found.counts, known.counts, strict=True)
        for name in ("n_colors", "n_iter", "n_bytes"):
            assert getattr(found, name) == getattr(known, name)
        errors = (found.mse, found.psnr), (known.mse, known.psnr)
        is_whole = images[0] is not FLOATS and images[0].shape[-1] != 4
        if dither is not None and not is_whole:
            # Errors that are no integers are summed up in another order.
            assert errors[0] == pytest.approx(errors[1], rel=1e-14)
        else:
            assert errors[0] == errors[1]


@pytest.mark.parametrize("dither", DITHERS)
def test_colors_too_many_to_count_are_those_of_numpy(monkeypatch, dither):
    monkeypatch.setattr("napari_kmeans._core.color_counts.MAX_COUNTED", 50)
    expected = quantize_layer(layer_of(FLOATS), 4, output="both", dither=dither)
    lazy = quantize_layer(layer_of(FLOATS, 11), 4, output="both", dither=dither)
    for one, other in zip(lazy, expected, strict=True):
        assert_array_equal(plain(one.data), other.data)
        assert_array_equal(record_of(one).counts, record_of(other).counts)
        assert record_of(one).n_colors is None


def test_zarr_array_has_lazy_results():
    stored = zarr.array(RGB, chunks=(9, 9, 1))
    (lazy,) = quantize_layer(Image(stored, rgb=True), 4)
    (expected,) = quantize_layer(Image(RGB, rgb=True), 4)
    assert is_lazy(lazy.data)
    assert_array_equal(plain(lazy.data), expected.data)


def test_image_that_does_not_fit_in_memory_has_lazy_results(monkeypatch):
    (expected,) = quantize_layer(Image(RGB, rgb=True), 4)
    little_memory(monkeypatch)
    (lazy,) = quantize_layer(Image(RGB, rgb=True), 4)
    assert is_lazy(lazy.data)
    assert_array_equal(plain(lazy.data), expected.data)


# Levels and tiles.


def test_levels_are_mapped_from_those_of_the_source(monkeypatch):
    monkeypatch.setattr(layers, "_OVERVIEW", 5)
    levels = [RGB, RGB[::2, ::2], RGB[::4, ::4] // 2]
    lazy = Image([da.from_array(x, 17) for x in levels], rgb=True, multiscale=True)
    expected = Image(levels, rgb=True, multiscale=True)
    pairs = zip(
        quantize_layer(lazy, 4, output="both"),
        quantize_layer(expected, 4, output="both"),
        strict=True,
    )
    for one, other in pairs:
        assert one.multiscale
        for found, known in zip(one.data, other.data, strict=True):
            assert_array_equal(plain(found), known)


@pytest.mark.parametrize("dither", DITHERS)
def test_levels_are_made_of_every_second_pixel(monkeypatch, dither):
    monkeypatch.setattr(layers, "_OVERVIEW", 13)
    lazy = layer_of(RGB, 17, rgb=True)
    image, labels = quantize_layer(lazy, 4, output="both", dither=dither)
    palette = record_of(image).palette
    assert image.multiscale
    assert [x.shape for x in labels.data] == [(40, 50), (20, 25), (10, 13)]
    for i, (some, numbers) in enumerate(zip(image.data, labels.data, strict=True)):
        step = 2**i
        expected = map_to_palette(RGB[::step, ::step], palette, dither=dither)
        assert_array_equal(plain(numbers), expected + 1)
        assert_array_equal(plain(some), palette[expected])


def test_levels_are_made_along_planes_alone(monkeypatch):
    monkeypatch.setattr(layers, "_OVERVIEW", 15)
    (labels,) = quantize_layer(
        layer_of(STACK, 9), 4, output="labels", channel_axis=1, slice_axis=0
    )
    assert [x.shape for x in labels.data] == [(3, 1, 20, 30), (3, 1, 10, 15)]


@pytest.mark.parametrize("n_levels", [1, 2])
def test_floats_are_read_as_often_whatever_levels_are_made(monkeypatch, n_levels):
    monkeypatch.setattr(layers, "_OVERVIEW", 99 if n_levels == 1 else 25)
    computed = []
    layer = Image(watched(FLOATS, computed), contrast_limits=(0, 1))
    computed.clear()
    _, outcome = outcome_of(layer)
    assert len(outcome.labels) == n_levels
    # The colors are counted once.
    assert len(computed) == len(set(computed)) == 4


@pytest.mark.parametrize(
    ("shape", "chunks", "axis", "tile"),
    [
        ((9000, 9000, 3), (256, 256, 3), -1, (2048, 2048, 3)),
        ((9000, 9000, 3), (1000, 3000, 1), -1, (2000, 1500, 3)),
        ((9000, 9000), (9000, 1), None, (1800, 2048)),
        ((500, 500), (100, 100), None, (500, 500)),
        ((3, 9000, 9000), (1, 1024, 1024), 0, (3, 2048, 2048)),
        # All planes of a chunk are read for one.
        ((256, 9000, 9000), (64, 64, 512), None, (64, 256, 256)),
    ],
)
def test_tiles_are_whole_chunks_or_parts_of_one(monkeypatch, shape, chunks, axis, tile):
    monkeypatch.setattr(layers, "_TILE", 1 << 22)
    given = da.zeros(shape, chunks=chunks, dtype=np.uint8)
    assert layers.cut_tiles(given, axis).chunksize == tile
    stored = SimpleNamespace(
        shape=shape, ndim=len(shape), dtype=np.dtype("u1"), chunks=chunks
    )
    opened = layers._opened(stored, axis)
    assert opened.chunksize == tile


@pytest.mark.parametrize(("chunks", "tile"), [(-1, (20, 25)), (4, (24, 24))])
def test_results_are_made_of_tiles(chunks, tile):
    image, labels = quantize_layer(layer_of(RGB, chunks, rgb=True), 4, output="both")
    assert image.data.chunksize == (*tile, 3)
    assert labels.data.chunksize == tile


def test_levels_of_a_masked_image_have_all_of_its_colors(monkeypatch):
    monkeypatch.setattr(layers, "_OVERVIEW", 25)
    wide = RNG.integers(0, 1 << 32, (40, 50), np.uint32)
    (labels,) = quantize_layer(
        layer_of(wide, 17), 4, output="labels", mask=wide > 1 << 31
    )
    expected = map_to_palette(wide, record_of(labels).palette, channel_axis=None) + 1
    assert_array_equal(plain(labels.data[0]), expected)
    assert_array_equal(plain(labels.data[1]), expected[::2, ::2])


# What is computed.


@pytest.fixture
def pyramid():
    """Give a layer of two levels, and what is computed of each."""
    fine, coarse = [], []
    levels = [watched(RGB, fine), watched(RGB[::2, ::2], coarse)]
    layer = Image(levels, rgb=True, multiscale=True, name="a")
    fine.clear()
    coarse.clear()
    return layer, fine, coarse


def test_only_what_is_looked_at_is_computed(viewer, pyramid):
    layer, fine, coarse = pyramid
    request, outcome = outcome_of(layer)
    assert len(fine) == len(set(fine)) == 4
    assert coarse == []
    fine.clear()

    results = Results(viewer)
    image, labels = results.add(request, outcome)
    results.listed(image)
    paint = results.recolor(image, 1, (255, 0, 0))
    results.repaint(paint(ignore))
    assert fine == []

    image.data[0][:5, :5].compute()
    assert fine == [(0, 0, 0)]
    labels.data[0][39, 49].compute()
    assert fine == [(0, 0, 0), (1, 1, 0)]


def test_no_color_is_labeled_again(monkeypatch):
    image = RNG.integers(0, 256, (40, 50, 3), np.uint8)
    (labels,) = quantize_layer(layer_of(image, 17, rgb=True), 4, output="labels")
    monkeypatch.setattr(mapping, "label_colors", lambda: None)
    labels.data.compute()


def test_dithered_image_is_read_once_more_for_its_error(pyramid):
    layer, fine, coarse = pyramid
    outcome_of(layer, dither="ordered")
    assert sorted(fine) == sorted(2 * [*set(fine)])
    assert coarse == []


def test_lost_labels_are_lazy(viewer):
    computed = []
    layer = Image(watched(FLOATS, computed), contrast_limits=(0, 1))
    request, outcome = outcome_of(layer, output="image")
    (image,) = Results(viewer).add(request, outcome)
    computed.clear()

    (labels,) = Results(viewer).labels_of(image)

    assert computed == []
    assert_array_equal(plain(labels), plain(outcome.labels[0]))


@pytest.mark.parametrize(
    ("images", "how"),
    [
        pytest.param([RGB], {"rgb": True}, id="rgb"),
        pytest.param([RGBA], {"rgb": True}, id="rgba"),
        pytest.param([FLOATS], {}, id="floats"),
        pytest.param([STACK], {"channel_axis": 1}, id="axis"),
        pytest.param(STACK, {}, id="layers"),
    ],
)
def test_lazy_images_are_recolored_as_others(viewer, images, how):
    rgb = how.get("rgb", False)
    how = {name: value for name, value in how.items() if name != "rgb"}
    found = []
    for chunks in (None, 9):
        sources = [layer_of(x, chunks, rgb=rgb) for x in images]
        results = Results(viewer)
        *made, labels = results.add(*outcome_of(*sources, **how))
        for entry in (1, 2):
            color = np.full_like(record_of(labels).palette[entry], 77)
            results.repaint(results.recolor(made[0], entry, color)(ignore))
        found.append(made)
    for one, other in zip(*found, strict=True):
        assert is_lazy(other.data)
        # As it is sent to a cluster.
        sent = cloudpickle.loads(cloudpickle.dumps(other.data))
        assert_array_equal(plain(sent), one.data, strict=True)


def test_widget_computes_nothing_of_a_lazy_result(viewer, dock, finish, pyramid):
    layer, fine, _ = pyramid
    viewer.add_layer(layer)
    widget = dock()
    widget.controls.output.value = "both"
    press(widget.run_panel.run)
    finish(widget)
    panel = widget.palette_panel
    assert "PSNR" in panel.numbers.value
    assert "File" not in panel.numbers.value
    assert len(fine) == 4

    panel.choose(2)
    panel._ask_color = lambda *_: np.array([255, 0, 0], np.uint8)
    panel.table.opened.emit(3)
    press(panel.copy_python)
    assert len(fine) == 4


def test_preview_of_a_lazy_mask(viewer, dock, settle, monkeypatch):
    viewer.add_image(RGB, name="a")
    viewer.add_labels(zarr.array(MASK.astype("u1"), chunks=(9, 9)), name="m")
    widget = dock()
    widget.controls.inside.value = viewer.layers["m"]
    little_memory(monkeypatch)
    widget.run_panel.live.value = True
    settle(widget)
    assert widget.run_panel.status.value == ""
    assert widget.run_panel._preview.layer.data.shape == (*MASK.shape, 4)


def test_labels_that_do_not_fit_in_memory_are_a_lazy_mask(monkeypatch):
    mask = Labels(zarr.array(MASK.astype("u1"), chunks=(9, 9)))
    image = layer_of(RGB, 17, rgb=True)
    (expected,) = quantize_layer(image, 4, mask=mask)
    little_memory(monkeypatch)
    request = prepare([image], Settings(k=4), mask)
    assert is_lazy(layers.draw_mask(request.source.mask))
    outcome = quantize_source(request.source, request.settings, ignore)
    assert_array_equal(outcome.record.palette, record_of(expected).palette)


@pytest.mark.parametrize("lazily", [False, True])
def test_mask_that_leaves_a_slice_out_is_refused(lazily):
    mask = np.ones((4, 20, 30), dtype=bool)
    mask[2] = False
    with pytest.raises(computation.EmptyMaskError, match="leaves out some slices"):
        quantize_layer(
            layer_of(STACK[0], 9 if lazily else None),
            4,
            mask=da.from_array(mask, 9) if lazily else mask,
            slice_axis=0,
        )


# Files.


def test_lazy_layers_that_fit_are_saved(tmp_path):
    image, labels = quantize_layer(layer_of(RGB, 17, rgb=True), 4, output="both")
    for layer, write in ((image, write_image), (labels, write_labels)):
        data, attributes, kind = layer.as_layer_data_tuple()
        (path,) = write(str(tmp_path / f"{kind}.png"), data, attributes)
        numbers, palette = read_indexed(path)[:2]
        assert_array_equal(palette[numbers], plain(image.data))


def test_lazy_layer_that_does_not_fit_is_not_saved(tmp_path, monkeypatch):
    (layer,) = quantize_layer(layer_of(RGB, 17, rgb=True, name="a"), 4)
    data, attributes, _ = layer.as_layer_data_tuple()
    little_memory(monkeypatch)
    with pytest.raises(CannotHold, match="in 4 colors” is too large for the free mem"):
        write_image(str(tmp_path / "a.png"), data, attributes)


# Progress and cancelling.


def test_counting_tells_how_far_it_is(monkeypatch):
    monkeypatch.setattr("napari_kmeans._core.chunks._GROUP", 1)
    reports = []
    outcome_of(layer_of(RGB, (20, 25, 3), rgb=True), report=reports.append)
    counting = [x for x in reports if x.text.startswith("Counting colors, ")]
    assert [x.n_done for x in counting] == [0, 1, 2, 3, 4]
    assert [x.text.split(", ")[1] for x in counting] == [
        "0%",
        "25%",
        "50%",
        "75%",
        "100%",
    ]
    assert {x.n_most for x in counting} == {4}


def test_checkpoints_are_those_of_all_threads():
    check = Check()
    with interruptible(check):
        outcome_of(layer_of(RGB, 9, rgb=True))
    assert len(check.threads) > 1


def test_planes_that_cannot_be_dithered_are_refused_unread(monkeypatch, pyramid):
    monkeypatch.setattr(mapping, "_MOST_DIFFUSED", 1999)
    layer, fine, _ = pyramid
    with pytest.raises(ValueError, match=r"got 40 x 50; pass dither='ordered'"):
        outcome_of(layer, dither="floyd-steinberg")
    assert fine == []


# Counts that are kept.


@pytest.fixture
def counted(monkeypatch):
    """Give a list that grows with each count."""
    calls, count_pixels = [], counted_image.count_pixels

    def counting(*arguments, **keywords):
        calls.append(1)
        return count_pixels(*arguments, **keywords)

    monkeypatch.setattr(counted_image, "count_pixels", counting)
    return calls


def sources():
    """Give the same image in memory, lazy, and in a file."""
    return [
        pytest.param(lambda x: Image(x.copy(), rgb=True), id="numpy"),
        pytest.param(lambda x: layer_of(x, 17, rgb=True), id="dask"),
        pytest.param(lambda x: Image(zarr.array(x), rgb=True), id="zarr"),
    ]


def assert_same(found, expected):
    assert_array_equal(found.record.palette, expected.record.palette, strict=True)
    assert_array_equal(found.record.counts, expected.record.counts)
    assert (found.record.mse, found.record.psnr) == (
        expected.record.mse,
        expected.record.psnr,
    )
    assert_array_equal(plain(found.images[0]), plain(expected.images[0]))


@pytest.mark.parametrize("make", sources())
@pytest.mark.parametrize("mask", [None, MASK])
def test_another_k_costs_no_count(counted, make, mask):
    count, layer = KeptCounts(), make(RGB)
    outcome_of(layer, mask=mask, count=count)
    assert len(counted) == 1
    for k in (2, 7):
        _, found = outcome_of(layer, mask=mask, count=count, k=k)
        assert len(counted) == 1
        _, expected = outcome_of(layer, mask=mask, k=k)
        assert_same(found, expected)
        counted.pop()


@pytest.mark.parametrize("make", sources())
@pytest.mark.parametrize(
    "other",
    [
        {},
        {"mask": MASK[::-1]},
        {"color_space": "lab"},
        {"slice_axis": 0},
    ],
    ids=["whole", "other mask", "space", "slices"],
)
def test_kept_counts_are_right_whatever_is_chosen(make, other):
    count, layer = KeptCounts(), make(RGB.reshape(2, 20, 50, 3))
    if "mask" in other:
        other = {"mask": other["mask"].reshape(2, 20, 50)}
    for chosen in ({"mask": MASK.reshape(2, 20, 50)}, other, {}):
        _, found = outcome_of(layer, count=count, **chosen)
        _, expected = outcome_of(layer, **chosen)
        assert_same(found, expected)


@pytest.mark.parametrize("make", sources())
def test_other_pixels_are_counted(make):
    count = KeptCounts()
    for image in (RGB, 255 - RGB):
        _, found = outcome_of(make(image), count=count)
        _, expected = outcome_of(make(image))
        assert_same(found, expected)


def test_pixels_that_were_changed_in_place_are_counted():
    count, image, mask = KeptCounts(), RGB.copy(), MASK.copy()
    layer = Image(image, rgb=True)
    for changed in (image, mask):
        outcome_of(layer, mask=mask, count=count)
        changed[3:20] = 0
        _, found = outcome_of(layer, mask=mask, count=count)
        _, expected = outcome_of(layer, mask=mask)
        assert_same(found, expected)


def test_widget_keeps_the_counts(viewer, dock, finish, counted):
    viewer.add_image(da.from_array(RGB, 17), name="a", rgb=True)
    widget = dock()
    for k in (3, 4):
        widget.controls.k.value = k
        press(widget.run_panel.run)
        finish(widget)
    assert len(counted) == 1
    assert [layer.name for layer in viewer.layers][1:] == [
        "a in 3 colors",
        "a in 4 colors",
    ]


def test_kept_counts_hold_no_pixels():
    count = KeptCounts()
    outcome_of(Image(RGB.copy(), rgb=True), mask=MASK, count=count)
    known, found = count._kept
    assert not any(isinstance(one, np.ndarray) for one in known)
    assert [(one.images, one.masks) for one in found] == [([], [])]
