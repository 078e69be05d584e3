import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from core_cases import assert_same_counts
from napari_kmeans import (
    ColorCounts,
    TooManyColorsError,
    count_colors,
    kmeans_palette,
    map_to_palette,
)
from napari_kmeans._core import blocks, color_counts
from napari_kmeans._core.color_counts import count_pixels, masked_blocks
from napari_kmeans._core.color_tables import is_tabular
from napari_kmeans._core.hashing import keys

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i8", "f2", "f4", "f8", ">u2", ">f8"]
images = st.tuples(st.sampled_from(DTYPES), st.integers(1, 5)).flatmap(
    lambda kind: hnp.arrays(
        kind[0],
        st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(kind[1])),
        elements=st.integers(0, 1),
    )
)


@given(images)
def test_counts_are_those_of_numpy_unique(image):
    counted = count_colors(image)

    rows = image.reshape(-1, image.shape[-1])
    colors, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.lexsort(counted.colors.T[::-1])
    assert_array_equal(counted.colors[order], colors)
    assert_array_equal(counted.counts[order], counts)


@pytest.mark.parametrize("fewest", [0, 150, 1 << 20])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_parts_count_as_the_whole(monkeypatch, dtype, fewest):
    # Some are sorted, and some go into a table where there are so many.
    monkeypatch.setattr(color_counts, "_SORT_BELOW", fewest)
    image = np.random.default_rng(0).integers(0, 5, (30, 10, 3)).astype(dtype)
    whole = count_colors(image)
    parts = count_colors([image[:7], image[7:8], image[8:]])
    assert_array_equal(parts.colors, whole.colors, strict=True)
    assert_array_equal(parts.counts, whole.counts)


@pytest.mark.parametrize(("dtype", "n_channels"), [("u1", 3), ("u1", 2), ("i2", 1)])
def test_a_table_counts_as_sorting_does(monkeypatch, dtype, n_channels):
    info = np.iinfo(dtype)
    image = np.random.default_rng(0).integers(
        info.min, info.max, (301, 700, n_channels), dtype, endpoint=True
    )
    expected = count_colors(image)

    monkeypatch.setattr(color_counts, "_SORT_BELOW", 0)
    counted = count_colors(image)

    assert_array_equal(counted.colors, expected.colors)
    assert_array_equal(counted.counts, expected.counts)


def test_colors_of_many_bytes_are_counted_by_a_hash():
    image = np.random.default_rng(0).integers(0, 3, (40, 50, 7)).astype(np.float64)

    counted = count_colors(image)

    colors, counts = np.unique(image.reshape(-1, 7), axis=0, return_counts=True)
    order = np.lexsort(counted.colors.T[::-1])
    assert_array_equal(counted.colors[order], colors)
    assert_array_equal(counted.counts[order], counts)


def test_too_many_colors_are_not_counted(monkeypatch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    image = np.arange(404, dtype=np.uint32).reshape(1, 101, 4)

    assert count_pixels([image], [None]) is None
    assert len(count_colors(image[:, 1:]).colors) == 100


def test_pixels_that_are_not_finite_are_not_counted():
    image = np.array([[[1.0, np.nan], [np.inf, 2.0], [3.0, 4.0]]])

    counted = count_colors(image)

    assert_array_equal(counted.colors, [[3, 4]])
    assert_array_equal(counted.counts, [1])


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", ">i2"])
@pytest.mark.parametrize("fewest", [0, 1 << 20])
def test_inside_and_outside_are_what_two_counts_find(monkeypatch, dtype, fewest):
    monkeypatch.setattr(color_counts, "_SORT_BELOW", fewest)
    monkeypatch.setattr(blocks, "_BLOCK", 1 << 14)
    rng = np.random.default_rng(3)
    image = rng.integers(0, 9, (200, 150, 3)).astype(dtype)
    mask = rng.random((200, 150)) < 0.3

    pixels = list(masked_blocks([image], [mask], True))
    for place, where in enumerate((mask, ~mask)):
        found = np.concatenate([block for block, side in pixels if side == place])
        expected = np.sort(image[where].astype(int), axis=0)
        assert_array_equal(np.sort(found.astype(int), axis=0), expected)
    if not is_tabular(image.dtype, 3):
        return
    colors, counts = count_pixels([image], [mask], with_outside=True)
    # Those inside come first, in the order that they have alone.
    inside = count_colors(image, mask=mask)
    assert_array_equal(colors[: len(inside.colors)], inside.colors)
    for column, where in zip(counts.T, (mask, ~mask), strict=True):
        alone, used = count_colors(image, mask=where), column > 0
        order, expected = (np.lexsort(c.T) for c in (colors[used], alone.colors))
        assert_array_equal(colors[used][order], alone.colors[expected])
        assert_array_equal(column[used][order], alone.counts[expected])


# Counts that are handed on.


@given(images, st.lists(st.integers(0, 6), max_size=3), st.randoms())
def test_sums_of_the_counts_of_any_parts_are_the_count_of_the_whole(
    image, cuts, random
):
    parts = [part for part in np.split(image, sorted(cuts)) if part.size]
    random.shuffle(parts)

    total = sum([count_colors(part) for part in parts])

    assert_same_counts(total, count_colors(image))
    assert_same_counts(count_colors(parts), count_colors(image))


@given(images, st.data())
def test_order_depends_on_the_set_of_colors_alone(image, data):
    counts = count_colors(image)
    order = data.draw(st.permutations(range(len(counts.colors))))
    order = np.array(order, dtype=int)

    assert_same_counts(ColorCounts(counts.colors[order], counts.counts[order]), counts)
    others = count_colors(np.concatenate((image[:, ::-1], image)))
    assert_array_equal(others.colors, counts.colors, strict=True)


def test_counts_without_channels_are_numbers():
    image = np.array([[7, 7], [9, 0]], np.uint16)

    counts = count_colors(image, channel_axis=None)

    assert_array_equal(counts.colors, np.array([0, 7, 9], np.uint16), strict=True)
    assert_array_equal(counts.counts, np.array([1, 2, 1]), strict=True)
    assert_same_counts(counts + counts, count_colors([image, image], channel_axis=None))


def test_counts_are_in_native_byte_order():
    image = np.arange(12, dtype=">u2").reshape(2, 2, 3)

    counts = count_colors(image)

    assert counts.colors.dtype == np.dtype(np.uint16)
    assert_same_counts(ColorCounts(counts.colors.astype(">u2"), counts.counts), counts)


REAL = "colors must have a boolean, integer or float dtype"


@pytest.mark.parametrize(
    ("colors", "counts", "error", "message"),
    [
        ([[1j]], [1], TypeError, f"{REAL}, got complex128"),
        ([["a"]], [1], TypeError, f"{REAL}, got <U1"),
        ([[1]], [1.0], TypeError, "counts must have an integer dtype, got float64"),
        ([[1]], [True], TypeError, "counts must have an integer dtype, got bool"),
        (1, [1], ValueError, r"colors must have shape \(n, C\) or \(n,\), got \(\)"),
        ([[[1]]], [1], ValueError, r"have shape .* got \(1, 1, 1\)"),
        (np.empty((0, 3)), np.array([1])[:0], ValueError, r"shape .* got \(0, 3\)"),
        (np.empty((2, 0)), [1, 1], ValueError, r"have shape .* got \(2, 0\)"),
        ([[1]], [1, 2], ValueError, r"counts must have shape \(1,\), got \(2,\)"),
        ([[1]], 1, ValueError, r"counts must have shape \(1,\), got \(\)"),
        ([[1], [2]], [1, 0], ValueError, "counts must be at least 1, got 0"),
        ([[1], [2]], [1, -7], ValueError, "counts must be at least 1, got -7"),
        ([[1], [2]], np.array([1, 1 << 63], "u8"), ValueError, "in all, got 92233720"),
        ([[1], [2]], [1, 1 << 62], ValueError, r"at most 2\^62 pixels in all, got 46"),
        ([[1], [2], [3]], [1 << 62] * 3, ValueError, f"in all, got {3 << 62}"),
        ([[1.0, np.nan]], [1], ValueError, "colors must be finite, got one"),
        ([1.0, np.inf], [1, 1], ValueError, "colors must be finite, got one"),
        ([[1, 2], [0, 1], [1, 2]], [1, 1, 1], ValueError, "must be distinct"),
        ([0.0, -0.0], [1, 1], ValueError, "distinct, got a color more than once"),
    ],
)  # fmt: skip
def test_the_constructor_is_a_strict_door(colors, counts, error, message):
    with pytest.raises(error, match=message):
        ColorCounts(np.array(colors), np.array(counts))


def test_what_was_given_to_the_constructor_is_left_alone():
    colors, counts = np.array([[9, 9], [0, 5]], np.uint8), np.array([4, 2])

    made = ColorCounts(colors, counts)
    made.colors[:], made.counts[:] = 1, 1

    assert_array_equal(colors, [[9, 9], [0, 5]])
    assert_array_equal(counts, [4, 2])


@given(images)
def test_counts_are_saved_as_arrays_and_read_again(image):
    file = io.BytesIO()
    counts = count_colors(image)

    np.savez(file, colors=counts.colors, counts=counts.counts)
    file.seek(0)

    assert_same_counts(ColorCounts(**np.load(file)), counts)
    assert_same_counts(pickle.loads(pickle.dumps(counts)), counts)


def test_counts_of_other_kinds_are_not_added():
    counts = ColorCounts(np.array([[1, 2]], np.uint8), np.array([1]))

    def other(colors, dtype):
        return ColorCounts(np.array(colors, dtype), np.array([1]))

    with pytest.raises(TypeError, match="one dtype to be added, got uint8 and uint16"):
        counts + other([[1, 2]], np.uint16)
    with pytest.raises(
        ValueError, match=r"channels to be added, .*1, 2\) and \(1, 3\)"
    ):
        counts + other([[1, 2, 3]], np.uint8)
    with pytest.raises(ValueError, match=r"channels to be added, .*1, 2\) and \(1,\)"):
        counts + other([1], np.uint8)
    for added in (7, None):
        with pytest.raises(TypeError, match="unsupported operand"):
            counts + added
        with pytest.raises(TypeError, match="unsupported operand"):
            added + counts
    assert 0 + counts is counts


def test_too_many_colors_are_an_error_of_their_own(monkeypatch):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 100)
    image = np.arange(101, dtype=np.uint32).reshape(1, 101, 1)
    message = "image has more than 100 distinct colors, too many to count"

    with pytest.raises(TooManyColorsError, match=message):
        count_colors(image)
    with pytest.raises(TooManyColorsError, match=message):
        ColorCounts(image[0], np.ones(101, int))
    with pytest.raises(TooManyColorsError, match=message):
        count_colors(image[:, :60]) + count_colors(image[:, 60:])
    assert (
        len((count_colors(image[:, :60]) + count_colors(image[:, :100])).colors) == 100
    )
    assert issubclass(TooManyColorsError, ValueError)
    # Those of at most 24 bits are never too many.
    few_bits = image.astype(np.uint16)
    assert len((count_colors(few_bits[:, :60]) + count_colors(few_bits)).colors) == 101


def test_both_zeros_are_one_color():
    image = np.array([[[0.0, 1.0], [-0.0, 1.0], [-0.0, -1.0]]])

    counts = count_colors(image)

    assert sorted(counts.counts) == [1, 2]
    assert not np.signbit(counts.colors[:, 0]).any()
    assert_same_counts(ColorCounts(-image[0, 1:] * [[1, -1]], np.array([2, 1])), counts)


def test_transparent_pixels_are_counted_and_those_not_finite_are_left_out():
    image = np.array([[[9, 0], [9, 0], [7, 1], [np.nan, 1], [1, np.inf]]], np.float32)

    counts = count_colors(image)

    order = np.argsort(counts.counts)
    assert_array_equal(counts.colors[order], [[7, 1], [9, 0]])
    assert_array_equal(counts.counts[order], [1, 2])
    with pytest.raises(ValueError, match="image must have a finite pixel, got none"):
        count_colors(image[:, 3:])
    with pytest.raises(ValueError, match="image must have a finite pixel, got none"):
        count_colors(image, mask=np.isnan(image[..., 0]))


@pytest.mark.parametrize("n", [2**32, 2**40, 2**61])
def test_counts_of_more_pixels_than_any_image_has_add_up_exactly(n):
    colors = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)

    total = ColorCounts(colors, np.array([n - 1, 1])) + ColorCounts(
        colors[:1], np.array([2])
    )

    expected = dict(
        zip(map(tuple, total.colors.tolist()), total.counts.tolist(), strict=True)
    )
    assert expected == {(1, 2, 3): n + 1, (4, 5, 6): 1}


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("factor", [2**10, 2**34])
def test_counts_of_a_repeated_image_give_the_same_palette(dtype, factor):
    image = np.random.default_rng(9).integers(0, 40, (20, 20, 3)).astype(dtype)
    counts = count_colors(image)

    many = kmeans_palette(ColorCounts(counts.colors, counts.counts * factor), 7)

    once = kmeans_palette(counts, 7)
    assert_array_equal(many.palette, once.palette)
    assert_array_equal(many.counts, once.counts * factor)
    assert (many.mse, many.n_iter) == (once.mse, once.n_iter)


def test_the_repr_has_the_numbers_of_colors_and_of_pixels():
    counts = ColorCounts(np.array([[1, 2], [3, 4]], np.uint8), np.array([5, 6]))

    assert repr(counts) == "ColorCounts(colors=2 x 2 uint8, counts=11 pixels)"
    gray = ColorCounts(np.array([1.5]), np.array([2**40]))
    assert repr(gray) == f"ColorCounts(colors=1 float64, counts={2**40} pixels)"


def test_sums_of_more_pixels_than_are_counted_are_refused():
    many = ColorCounts(np.array([1, 2]), np.array([1 << 61, (1 << 61) - 1]))

    most = many + ColorCounts(np.array([7]), np.array([1]))
    assert most.counts.sum() == 1 << 62
    with pytest.raises(ValueError, match=f"in all, got {(1 << 62) + 1}"):
        most + ColorCounts(np.array([7]), np.array([1]))
    assert kmeans_palette(most, 2).counts.sum() == 1 << 62


@pytest.mark.parametrize(
    ("dtype", "n_channels"), [("u1", 1), ("u1", 3), ("u2", 5), ("i8", 2), ("f4", 4)]
)
@pytest.mark.parametrize("doublings", [14, 20, 28, 43])
def test_as_many_times_more_pixels_have_the_same_palette(dtype, n_channels, doublings):
    rng = np.random.default_rng(1)
    colors = np.unique(rng.integers(0, 128, (400, n_channels)).astype(dtype), axis=0)
    colors *= 500 if dtype == "u2" else 1
    numbers = rng.integers(1, 99, len(colors))

    result = kmeans_palette(ColorCounts(colors, numbers << doublings), 6)

    expected = kmeans_palette(ColorCounts(colors, numbers), 6)
    assert_array_equal(result.palette, expected.palette)
    assert_array_equal(result.counts, expected.counts << doublings)
    assert (result.mse, result.n_iter) == (expected.mse, expected.n_iter)


@pytest.mark.parametrize("sort_below", [1, 1 << 20])
@pytest.mark.parametrize("sparse", [1, 1 << 23])
def test_parts_of_nearly_four_billion_pixels_of_a_color_add_up(
    monkeypatch, sort_below, sparse
):
    monkeypatch.setattr(color_counts, "_SORT_BELOW", sort_below)
    monkeypatch.setattr(color_counts, "_SPARSE", sparse)
    most = (1 << 32) - 1

    def part(codes):
        numbers = np.full((len(codes), 1), most, np.uint32)
        return color_counts._Part(np.array(codes, np.uint32)[:, np.newaxis], numbers)

    merge = color_counts._merge_parts
    twice = merge(1 << 24, [part([1, 5]), part([5, 7])])
    total = merge(1 << 24, [twice, part([5]), twice, twice])

    colors, counts = color_counts._rows(total, np.dtype(np.uint8), 3)
    assert_array_equal(colors[:, 0], [1, 5, 7])
    assert_array_equal(counts[:, 0], [3 * most, 7 * most, 3 * most])


def same_keys(n_channels):
    """Return two colors of 64-bit channels whose hashes are the same."""

    def mixed(key):
        # Splitmix64, in plain numbers.
        key = (key ^ key >> 31) * 0x9E3779B97F4A7C15 % 2**64
        return (key ^ key >> 27) * 0x94D049BB133111EB % 2**64

    one, other = [5, *range(n_channels - 1)], [9, *range(n_channels - 1)]
    other[1] = (mixed(5) + one[1] - mixed(9)) % 2**64
    return np.array([one, other], np.uint64)


@pytest.mark.parametrize("n_channels", [2, 4, 7])
def test_colors_of_one_hash_are_two_colors(n_channels):
    pair = same_keys(n_channels)
    assert len(set(keys(pair))) == 1
    others = np.arange(6 * n_channels, dtype=np.uint64).reshape(6, n_channels)
    image = np.concatenate((others, pair, others, pair[:1]))[np.newaxis]

    counts = count_colors(image)

    colors, numbers = np.unique(image[0], axis=0, return_counts=True)
    order = np.lexsort(counts.colors.T[::-1])
    assert_array_equal(counts.colors[order], colors)
    assert_array_equal(counts.counts[order], numbers)
    assert_same_counts(ColorCounts(counts.colors[::-1], counts.counts[::-1]), counts)
    assert_same_counts(count_colors(image[:, :7]) + count_colors(image[:, 7:]), counts)


@pytest.mark.parametrize("n_outside", [0, 300])
def test_tables_count_more_pixels_than_they_begin_with_room_for(monkeypatch, n_outside):
    # Tables of 32 bits would take an image of 4 gigapixels.
    monkeypatch.setattr(color_counts, "_NARROW", np.uint8)
    monkeypatch.setattr(color_counts, "_SORT_BELOW", 0)
    monkeypatch.setattr(blocks, "_BLOCK", 64)
    image = np.full((1, 1000, 1), 7, np.uint8)
    mask = np.arange(1000)[np.newaxis] >= n_outside

    colors, counts = count_pixels([image], [mask], with_outside=True)

    assert_array_equal(colors, [[7]])
    assert_array_equal(counts, [[1000 - n_outside, n_outside]])


def test_booleans_of_any_bytes_are_true_or_false():
    # As a mask of 255 has them that is viewed as booleans.
    image = np.array([[0, 1, 2, 255]], np.uint8).view(bool)
    counts = count_colors(image, channel_axis=None)
    assert_array_equal(counts.colors.view(np.uint8), [0, 1])
    assert_array_equal(counts.counts, [1, 3])
    labels = map_to_palette(image, np.array([False, True]), channel_axis=None)
    assert_array_equal(labels, [[0, 1, 1, 1]])
