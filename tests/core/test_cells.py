import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from napari_kmeans._core.cells import (
    _WIDEN,
    _n_paired,
    build_cells,
    label_cells,
    partition_cells,
)
from napari_kmeans._core.nearest import nearest, prepare_rivals

points_and_centers = st.tuples(
    st.integers(1, 4), st.sampled_from([3, 40, 255]), st.integers(1, 60)
).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.uint8, (80, size[0]), elements=st.integers(0, size[1])),
        # Halves and quarters make centers that are equally far from many points.
        hnp.arrays(
            np.float64,
            (size[2], size[0]),
            elements=st.integers(-40, 4 * size[1] + 40).map(lambda n: n / 4),
        ),
    )
)


@given(points_and_centers)
def test_labels_are_those_of_all_distances_to_the_last_bit(drawn):
    points, centers = drawn

    labels = label_cells(build_cells(points, np.ones(len(points))), centers)

    assert_array_equal(labels, nearest(points, centers)[0])


@given(
    hnp.arrays(np.float64, (50, 3), elements=st.floats(0, 1)),
    hnp.arrays(np.float64, (9, 3), elements=st.floats(-1, 2)),
)
def test_labels_of_floats_are_those_of_all_distances_to_the_last_bit(points, centers):
    labels = label_cells(build_cells(points, np.ones(len(points))), centers)

    assert_array_equal(labels, nearest(points, centers)[0])


@pytest.mark.parametrize("k", [1, 2, 16, 256, 1500])
def test_labels_of_a_photo_are_those_of_all_distances(k):
    colors = np.unique(skimage.data.astronaut()[::4, ::4].reshape(-1, 3), axis=0)
    centers = np.random.default_rng(k).permutation(colors)[:k] + 0.25

    labels = label_cells(build_cells(colors, np.ones(len(colors))), centers)

    assert_array_equal(labels, nearest(colors, centers)[0])


def test_the_bound_is_tight():
    colors = np.unique(skimage.data.astronaut()[::4, ::4].reshape(-1, 3), axis=0)
    centers = np.random.default_rng(0).permutation(colors)[:64].astype(float)
    cells = build_cells(colors, np.ones(len(colors)))
    levels = tuple(level._replace(radii=0.8 * level.radii) for level in cells.levels)

    labels = label_cells(cells._replace(levels=levels), centers)

    # Were the cells a fifth smaller, colors would lose their nearest center.
    assert (labels != nearest(colors, centers)[0]).any()


def test_the_margin_for_rounding_is_needed(monkeypatch):
    colors = np.unique(skimage.data.astronaut()[::4, ::4].reshape(-1, 3), axis=0)
    centers = np.random.default_rng(0).permutation(colors)[:64].astype(float)
    cells = build_cells(colors, np.ones(len(colors)))

    # Narrowed by as much as it widens, where no level is compared in single precision.
    monkeypatch.setattr("napari_kmeans._core.cells._PAIRED", 0)
    monkeypatch.setattr("napari_kmeans._core.cells._WIDEN", 2 - _WIDEN)
    labels = label_cells(cells, centers)

    assert (labels != nearest(colors, centers)[0]).any()


@given(points_and_centers, st.integers(0, 2**32))
def test_partition_adds_up_the_weights_and_points_of_each_label(drawn, seed):
    points, centers = drawn
    weights = np.random.default_rng(seed).integers(1, 1000, len(points))

    parts = partition_cells(build_cells(points, weights), centers)

    labels = nearest(points, centers)[0]
    for label in range(len(centers)):
        own = labels == label
        assert parts.weights[label] == weights[own].sum()
        expected = (weights[own, np.newaxis] * points[own].astype(int)).sum(axis=0)
        assert_array_equal(parts.sums[label], expected)


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_block_size_is_irrelevant(monkeypatch, block):
    rng = np.random.default_rng(0)
    points = rng.integers(0, 256, (3000, 3), dtype=np.uint8)
    centers = rng.uniform(0, 255, (30, 3))
    expected = partition_cells(build_cells(points, np.ones(len(points))), centers)

    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", 16 * block)
    monkeypatch.setattr("napari_kmeans._core.cells._CHILDREN", block)

    parts = partition_cells(build_cells(points, np.ones(len(points))), centers)
    assert_array_equal(parts.weights, expected.weights)
    assert_array_equal(parts.sums, expected.sums)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("n_channels", [2, 3])
def test_cells_are_as_many_as_cubes_with_points(dtype, n_channels):
    grid = np.indices((17,) * n_channels).reshape(n_channels, -1).T * 15.9375
    weights = np.ones(len(grid))

    levels = build_cells(grid.astype(dtype), weights).levels

    # Of 8, 16, 32 and 64 steps to a side; and the points, and the void of each level.
    n_cells = [n**n_channels + 1 for n in (8, 16, 17, 17, 17)]
    assert [len(level.weights) for level in levels] == n_cells


def test_cells_of_points_in_turns_are_cut_apart_in_any_blocks(monkeypatch):
    points = np.array([[0], [64], [0], [128], [0], [192]], dtype=np.uint8)
    monkeypatch.setattr("napari_kmeans._core.blocks._BLOCK", 2 * 16)

    finest = build_cells(points, np.ones(6)).levels[-2]

    assert_array_equal(finest.weights, [3, 1, 1, 1, 0])


def test_sums_do_not_overflow_the_dtype_of_the_counts():
    points = np.array([[255, 255, 255], [254, 255, 0]], dtype=np.uint8)
    counts = np.array([2**31, 2**31 + 2], dtype=np.uint32)

    parts = partition_cells(
        build_cells(points, counts), np.array([[255.0] * 3, [0] * 3])
    )

    assert_array_equal(parts.weights, [2**32 + 2, 0])
    assert_array_equal(parts.sums[0], counts.astype(float) @ points)
    # One center for each point, so that the points themselves are compared.
    parts = partition_cells(build_cells(points, counts), points.astype(float))
    assert_array_equal(parts.sums, counts[:, np.newaxis].astype(float) * points)
    near = points.copy()
    near[1] = [255, 255, 254]
    parts = partition_cells(build_cells(near, counts), near.astype(float))
    assert_array_equal(parts.sums, counts[:, np.newaxis].astype(float) * near)


@pytest.mark.parametrize("size", [1e-157, 1e-160, 1e-163, 1e-170])
def test_squares_near_zero_are_told_apart_by_both_or_by_none(size):
    rng = np.random.default_rng(0)
    points = rng.integers(0, 9, (50, 2)) * size
    centers = rng.integers(0, 9, (20, 2)) * size

    labels = label_cells(build_cells(points, np.ones(len(points))), centers)

    assert_array_equal(labels, nearest(points, centers)[0])


@pytest.mark.parametrize("n_beyond", [0, 1])
@pytest.mark.parametrize("k", [1, 2, 511, 512, 513])
def test_all_cells_of_a_level_are_compared_up_to_a_limit(monkeypatch, k, n_beyond):
    rng = np.random.default_rng(k)
    points = rng.integers(0, 256, (900, 3), dtype=np.uint8)
    cells = build_cells(points, np.ones(len(points)))
    centers = rng.integers(0, 512, (k, 3)) / 2

    n_pairs = (len(cells.levels[-2].weights) - 1) * (k + 64)
    monkeypatch.setattr("napari_kmeans._core.cells._PAIRED", n_pairs - n_beyond)

    assert (_n_paired(cells, k) == 4) == (k <= 512 and not n_beyond)
    assert_array_equal(label_cells(cells, centers), nearest(points, centers)[0])


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("spread", [0, 1e-9, 1e-4, 0.5, 1e4, 1e30])
def test_no_center_is_lost_that_single_precision_cannot_tell(dtype, spread):
    rng = np.random.default_rng(0)
    points = rng.integers(0, np.iinfo(dtype).max, (2000, 3), dtype, endpoint=True)
    # Twins, all of which are as near as another to some points.
    centers = points[:40].repeat(3, axis=0) + spread * rng.standard_normal((120, 3))
    cells = build_cells(points, np.ones(len(points), np.uint8))

    assert _n_paired(cells, len(centers)) > 0
    assert_array_equal(label_cells(cells, centers), nearest(points, centers)[0])


def test_the_slack_of_single_precision_is_needed(monkeypatch):
    points = np.random.default_rng(0).integers(0, 256, (2000, 3), dtype=np.uint8)
    centers = points[:40].repeat(3, axis=0) + np.linspace(0, 1e-3, 360).reshape(-1, 3)

    monkeypatch.setattr(
        "napari_kmeans._core.cells.prepare_rivals",
        lambda *how: prepare_rivals(*how)._replace(slack=np.float32(0)),
    )
    labels = label_cells(build_cells(points, np.ones(len(points))), centers)

    assert (labels != nearest(points, centers)[0]).any()


def test_sums_that_are_not_exact_do_not_depend_on_the_number_of_centers():
    points = np.array([[2**32 - 1], [2**32 - 3], [5]], dtype=np.uint32)
    few, many = (build_cells(points, np.full(3, n)) for n in (1, 2**21))

    assert _n_paired(few, 1) > 0
    assert _n_paired(many, 1) == 0
    assert _n_paired(build_cells(points / 2**40, np.ones(3)), 1) == 0
