import threading
from unittest import mock

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from checkpoints import Check, Ended
from napari_kmeans import (
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._core.blocks import (
    checkpoint,
    cut,
    cut_boxes,
    interruptible,
    n_cores,
    on_one_core,
)
from napari_kmeans._core.cells import (
    build_cells,
    cell_order,
    label_cells,
    partition_cells,
)
from napari_kmeans._core.color_counts import masked_blocks
from napari_kmeans._core.color_tables import paint
from napari_kmeans._core.counted_image import _measured
from napari_kmeans._core.dither import diffuse_error, error_limit, mix_colors
from napari_kmeans._core.mapping import color_pixels, keep_uncounted, move_channels
from napari_kmeans._core.nearest import nearest
from napari_kmeans._core.one_channel import optimal_centers
from napari_kmeans._core.perceptual import from_space, gamut_between, to_space
from napari_kmeans._core.pixels import weighted_points
from napari_kmeans._core.search import searched_centers
from napari_kmeans._core.spaces import Layout
from napari_kmeans._core.starts import kmeans_plus_plus


def count_checks(work):
    check = Check()
    with interruptible(check):
        work()
    return check.n_calls


def random_image(shape, dtype=np.uint8, top=256, seed=0):
    values = np.random.default_rng(seed).integers(0, top, shape)
    return (values / (top if np.dtype(dtype).kind == "f" else 1)).astype(dtype)


def test_check_is_called_within_the_block_alone():
    check = Check()
    checkpoint()
    with interruptible(check):
        checkpoint()
    checkpoint()
    assert check.n_calls == 1


def test_inner_check_takes_the_place_of_the_outer_one():
    outer, inner = Check(), Check()
    with interruptible(outer):
        with interruptible(inner):
            checkpoint()
        checkpoint()
        checkpoint()
    assert (outer.n_calls, inner.n_calls) == (2, 1)


def test_check_is_that_of_its_thread():
    check = Check()
    with interruptible(check):
        other = threading.Thread(target=checkpoint)
        other.start()
        other.join()
    assert check.n_calls == 0


def test_what_is_raised_ends_the_block_and_the_check():
    check = Check(last=0)
    with pytest.raises(Ended), interruptible(check):
        checkpoint()
    checkpoint()
    assert check.n_calls == 1


GRAY = random_image((100, 150), np.uint16, 5000)
PHOTO = random_image((48, 64, 3))
FINE = random_image((48, 64, 3), np.uint16, 1 << 16)
FLOATS = random_image((40, 50, 3), np.float32, 1 << 16)
FLOATS[5, 7] = np.nan
OPACITY = random_image((40, 50, 4))
OPACITY[::3, :, 3] = 0
INSIDE = random_image((48, 64), top=2) > 0
COLORS = random_image((20, 3), seed=1)
SHORTS = random_image((20, 3), np.uint16, 1 << 16)
MOVED = np.moveaxis(PHOTO, -1, 0)

KINDS = {
    "uint8": lambda: quantize_kmeans(PHOTO, 8, 3),
    "many colors": lambda: quantize_kmeans(PHOTO[:8], 300, 1),
    "uint16": lambda: quantize_kmeans(FINE, 8, 3),
    "float32": lambda: quantize_kmeans(FLOATS, 8, 3),
    "one channel": lambda: quantize_kmeans(GRAY, 16, channel_axis=None),
    "five channels": lambda: quantize_kmeans(random_image((40, 50, 5)), 8),
    "alpha": lambda: quantize_kmeans(OPACITY, 8, 3, alpha=True),
    "lab": lambda: quantize_kmeans(PHOTO, 8, 3, color_space="lab"),
    "mask": lambda: quantize_kmeans(PHOTO, 8, 3, mask=INSIDE),
    "channels first": lambda: quantize_kmeans(MOVED, 8, 3, channel_axis=0),
    "thorough": lambda: kmeans_palette(PHOTO[:10], 8, 3, init="thorough").palette,
    "k-means++": lambda: kmeans_palette(PHOTO, 8, init="k-means++", rng=0).palette,
    "random": lambda: kmeans_palette(PHOTO, 8, init="random", rng=0).palette,
    "locked": lambda: kmeans_palette(PHOTO, 8, 3, fixed=COLORS[:3]).palette,
    "several": lambda: kmeans_palette([PHOTO, PHOTO // 2], 8, 3).palette,
    "diffused": lambda: map_to_palette(PHOTO, COLORS, dither="floyd-steinberg"),
    "diffused floats": lambda: map_to_palette(
        FLOATS, COLORS / 255, dither="floyd-steinberg", color_space="oklab"
    ),
    "ordered": lambda: map_to_palette(PHOTO, COLORS, dither="ordered"),
    "ordered uint16": lambda: map_to_palette(FINE, SHORTS, dither="ordered"),
    "curve": lambda: error_curve(PHOTO, [2, 8], iters=3),
    "quality": lambda: choose_k(PHOTO, psnr=16, iters=1).palette,
}


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """Give a computation that shares its passes and is made of small blocks."""
    monkeypatch.setattr("napari_kmeans._core.color_tables.n_cores", lambda: 2)
    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", 1 << 14)
    if request.param in ("uint8", "mask", "channels first", "several"):
        # By a table, in which nearly all checkpoints would lie.
        monkeypatch.setattr("napari_kmeans._core.color_counts._SORT_BELOW", 1000)
    if request.param in ("uint16", "float32", "alpha"):
        monkeypatch.setattr("napari_kmeans._core.color_counts.MAX_COUNTED", 1000)
    return KINDS[request.param]


def test_computation_ends_at_any_checkpoint_and_leaves_nothing(kind):
    images = [PHOTO, FINE, FLOATS, GRAY, OPACITY]
    before = [image.copy() for image in images]
    expected, threads = kind(), threading.enumerate()
    check = Check()
    with interruptible(check):
        # The same with a check.
        assert_array_equal(kind(), expected)
    for last in np.unique(np.linspace(0, check.n_calls - 1, 8).astype(int)):
        check = Check(last)
        with pytest.raises(Ended), interruptible(check):
            kind()
        # Each thread comes to it once more.
        assert last < check.n_calls <= last + 2
        assert threading.enumerate() == threads
        assert not any(t.is_alive() for t in check.threads - set(threads))
    for image, copy in zip(images, before, strict=True):
        assert_array_equal(image, copy)
    assert_array_equal(kind(), expected)


def test_threads_that_share_a_pass_come_to_the_checkpoints(monkeypatch):
    monkeypatch.setattr("napari_kmeans._core.color_tables.n_cores", lambda: 2)
    image = random_image((1 << 10, 1 << 10, 3), top=20)
    colors = count_colors(image).colors
    check = Check()
    with interruptible(check):
        paint(image, colors, np.arange(len(colors)))
    assert len(check.threads - {threading.current_thread()}) > 0


def test_no_threads_share_what_is_on_one_core():
    image = random_image((1 << 10, 1 << 10, 3), top=20)
    colors = count_colors(image).colors
    check, n_before = Check(), n_cores()
    with interruptible(check), on_one_core():
        assert n_cores() == 1
        paint(image, colors, np.arange(len(colors)))
    assert len(check.threads - {threading.current_thread()}) == 1
    assert n_cores() == n_before


# Pixels, points and centers in numbers that make blocks full.
LARGE = random_image((1 << 10, 1 << 11, 3), top=128)
LARGE_COLORS = count_colors(LARGE).colors
LARGE_LABELS = map_to_palette(LARGE_COLORS[np.newaxis], LARGE_COLORS[:64])[0]
SHORT = (LARGE // 4).astype(np.uint16)
SHORT_COLORS = count_colors(SHORT).colors
POINTS = random_image((1 << 18, 3), seed=2)
CENTERS = LARGE_COLORS[:64].astype(float)
ONES = np.ones(len(POINTS))
CELLS = build_cells(POINTS, ONES)
WEIGHTED = weighted_points(POINTS, ONES, 8)
GAMUT = gamut_between(POINTS.dtype, None)
MANY = random_image((1 << 12, 50))
SEEDS = POINTS[: 1 << 12]


def search(n_rounds):
    """Search in three series of as many rounds."""
    ones = np.ones(len(SEEDS))
    with mock.patch(
        "napari_kmeans._core.search._rates", return_value=np.ones(n_rounds)
    ):
        searched_centers(SEEDS, ones, len(CENTERS), 1)


def mix():
    """Find what the colors are mixed of."""
    mix_colors(LARGE_COLORS, CENTERS, LARGE_LABELS)


# What is done, the checkpoints it comes to at least, and a part of it whose own do not
# count. From one to the next there are no more than some 2^18 pixels or 2^16 points.
PASSES = {
    # A table of 2^24 colors is read; then colors are unpacked and ordered.
    "counting by a table": (
        lambda: count_colors(LARGE),
        7 + 64 + 2,
        lambda: cell_order(LARGE_COLORS),
    ),
    "painting": (
        lambda: paint(LARGE, LARGE_COLORS, LARGE_COLORS[:, 0]),
        6 + 7,
        None,
    ),
    "painting many colors": (
        lambda: paint(LARGE, LARGE_COLORS, LARGE_COLORS[:, 0]),
        5,
        lambda: paint(LARGE, LARGE_COLORS[:1], LARGE_COLORS[:1, 0]),
    ),
    # Blocks of 8 MB are sorted in three steps; then colors are ordered.
    "counting by sorting": (
        lambda: count_colors(SHORT),
        13 + 2 * 3 + 1,
        lambda: cell_order(SHORT_COLORS),
    ),
    "coloring": (lambda: color_pixels(LARGE[..., 0], CENTERS), 8, None),
    "putting back": (
        lambda: keep_uncounted(POINTS / 256, POINTS / 256, False),
        7,
        None,
    ),
    "measuring pixels": (
        lambda: _measured(
            LARGE,
            LARGE[..., 1] < 64,
            LARGE[..., 0],
            LARGE_COLORS[:128],
            Layout(LARGE.dtype, 3, False, "rgb", False),
        ),
        48,
        None,
    ),
    "moving channels": (lambda: move_channels(LARGE, 0), 7, None),
    "cutting out": (
        lambda: list(masked_blocks([LARGE], [LARGE[..., 0] < 99])),
        7,
        None,
    ),
    "ordering into cells": (lambda: cell_order(POINTS), 4 + 2, None),
    # Runs are found before and after points are sorted; then there are four levels.
    "building cells": (
        lambda: build_cells(POINTS, ONES),
        4 + 4 + 3 + (4 + 3 + 1 + 1),
        lambda: cell_order(POINTS),
    ),
    "partition": (lambda: partition_cells(CELLS, CENTERS), 40, None),
    "comparing all": (lambda: nearest(POINTS, CENTERS), 193, None),
    "measuring": (
        lambda: WEIGHTED.measure(CENTERS),
        4,
        lambda: label_cells(CELLS, CENTERS),
    ),
    "finding the worst": (
        lambda: WEIGHTED.worst(CENTERS, 9),
        4,
        lambda: label_cells(CELLS, CENTERS),
    ),
    "adding up many channels": (
        lambda: weighted_points(MANY, np.ones(len(MANY)), 8).partition(MANY[:9] * 1.0),
        50,
        lambda: nearest(MANY, MANY[:9] * 1.0),
    ),
    "one channel": (
        lambda: optimal_centers(np.arange(500.0), np.ones(500), 40),
        39,
        None,
    ),
    "k-means++": (
        lambda: kmeans_plus_plus(POINTS, ONES, 20, np.random.default_rng(0)),
        20,
        None,
    ),
    # All points are compared with all centers twice a round, and clusters cut in four
    # ways.
    "search": (lambda: search(3), 2 * 3 * (2 * 4 + 4), lambda: search(1)),
    "to lab": (lambda: to_space(POINTS, "lab", GAMUT), 32, None),
    "from oklab": (lambda: from_space(POINTS / 256, "oklab", GAMUT), 32, None),
    # Fronts, blocks in which it is found which pixels stay, and how far centers are.
    "diffusing": (
        lambda: diffuse_error(LARGE[:256], CENTERS, LARGE[:256, :, 0] & 1),
        (2048 + 2 * 256 - 2) + 7,
        lambda: error_limit(CENTERS),
    ),
    "mixing": (mix, len(LARGE_COLORS) >> 13, None),
    # Pixels are painted with the place of their color, then get its labels.
    "ordered dithering": (
        lambda: map_to_palette(LARGE, CENTERS, dither="ordered"),
        48,
        lambda: (map_to_palette(LARGE, CENTERS), mix()),
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_little_is_done_from_one_checkpoint_to_the_next(name):
    work, least, part = PASSES[name]
    n_checks = count_checks(work) - (0 if part is None else count_checks(part))
    assert n_checks >= least


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
@pytest.mark.parametrize("n_bytes", [1, 3])
@pytest.mark.parametrize("shape", [(), (30,), (1, 30), (5, 1, 6), (4, 5, 6)])
def test_boxes_are_small_and_cover_a_grid_once_with_a_checkpoint_each(
    monkeypatch, shape, n_bytes, size
):
    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", n_bytes * size)
    seen = np.zeros(shape, dtype=int)
    check = Check()
    with interruptible(check):
        for box in cut_boxes(shape, n_bytes):
            assert seen[box].size <= size
            seen[box] += check.n_calls
    assert_array_equal(np.unique(seen), np.arange(1, check.n_calls + 1))


def test_boxes_are_cut_in_order(monkeypatch):
    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", 7)
    numbers = np.arange(60).reshape(3, 4, 5)
    found = [numbers[box].ravel() for box in cut_boxes(numbers.shape, 1)]
    assert_array_equal(np.concatenate(found), numbers.ravel())


@pytest.mark.parametrize(
    ("n", "n_bytes"), [(0, 1), (1, 1), (20, 10), (21, 10), (5, 999)]
)
def test_numbers_are_cut_in_order_with_a_checkpoint_each(monkeypatch, n, n_bytes):
    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", 100)
    check = Check()
    with interruptible(check):
        blocks = list(cut(n, n_bytes))
    assert [i for block in blocks for i in range(n)[block]] == list(range(n))
    assert all((b.stop - b.start) * n_bytes <= max(100, n_bytes) for b in blocks)
    # No item is alone where two fit.
    assert check.n_calls == len(blocks) == -(-n // max(1, 100 // n_bytes))
