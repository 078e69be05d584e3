from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from napari_kmeans._core.points import frame_of, to_points
from numpy.testing import assert_array_equal

from napari_kmeans import kmeans_palette
from napari_kmeans._core import cells, color_counts, nearest, pixels
from napari_kmeans._core.color_counts import count_colors
from napari_kmeans._core.pixels import counted_source, pixel_source

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"]


def integers(dtype):
    if dtype == "?":
        return st.booleans()
    info = np.iinfo(dtype)
    return st.one_of(
        st.integers(max(info.min, -9), 9), st.integers(int(info.min), int(info.max))
    )


images = st.tuples(st.sampled_from(DTYPES), st.integers(1, 5)).flatmap(
    lambda kind: hnp.arrays(
        kind[0],
        st.tuples(st.integers(2, 5), st.integers(2, 5), st.just(kind[1])),
        elements=integers(kind[0]),
    )
)


def rearrangements(image, seed):
    """Give the same pixels in other layouts, and in another order."""
    rows = image.reshape(-1, image.shape[-1])
    read_only = image.copy()
    read_only.flags.writeable = False
    return {
        "Fortran": np.asfortranarray(image),
        "strided": np.repeat(image, 2, axis=1)[:, ::2],
        "reversed": image[::-1, ::-1].copy()[::-1, ::-1],
        "channels first": np.moveaxis(np.moveaxis(image, -1, 0).copy(), 0, -1),
        "big-endian": image.astype(image.dtype.newbyteorder(">")),
        "read-only": read_only,
        "permuted": np.random.default_rng(seed).permutation(rows)[np.newaxis],
    }


@settings(max_examples=30)
@given(images, st.integers(1, 4), st.booleans(), st.integers(0, 2**32))
def test_no_bit_depends_on_layout_order_blocks_or_threads(image, k, is_counted, seed):
    most = 1 << 20 if is_counted else 1

    with mock.patch.object(color_counts, "MAX_COUNTED", most):
        expected = kmeans_palette(image, k)
        results = {
            name: kmeans_palette(other, k)
            for name, other in rearrangements(image, seed).items()
        }
        with (
            mock.patch.object(color_counts, "_BLOCK", 48),
            mock.patch.object(color_counts, "_MOST_THREADS", 3),
            mock.patch.object(pixels, "_BLOCK", 3),
            mock.patch.object(cells, "_BLOCK", 8),
            mock.patch.object(nearest, "_BLOCK", 8),
        ):
            results["small blocks"] = kmeans_palette(image, k)

    for name, result in results.items():
        assert result.palette.tobytes() == expected.palette.tobytes(), name
        assert_array_equal(result.counts, expected.counts, err_msg=name)
        assert result.mse == expected.mse, name
        assert result.n_iter == expected.n_iter, name


def source_of(pixels, is_counted):
    """Give pixels (n, C) as counted points, or in blocks of eight."""
    frame, n_bits = frame_of(pixels), 8 * pixels.dtype.itemsize
    if is_counted:
        colors, counts = count_colors(pixels)
        return counted_source(to_points(colors, frame), counts, n_bits)
    points = to_points(pixels, frame)
    blocks = [points[i : i + 8] for i in range(0, len(points), 8)]
    return pixel_source(lambda: iter(blocks), n_bits)


@given(images, st.integers(1, 4), st.booleans(), st.integers(0, 2**32))
def test_errors_of_integers_and_of_any_centers_add_up_in_any_order(
    image, k, is_counted, seed
):
    pixels = image.reshape(-1, image.shape[-1])
    rng = np.random.default_rng(seed)
    top = float(pixels.max()) - float(pixels.min())
    centers = rng.uniform(0, top + 1, (k, pixels.shape[1]))

    one = source_of(pixels, is_counted).measure(centers)
    other = source_of(rng.permutation(pixels), is_counted).measure(centers)

    assert one.mse == other.mse
    assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize("is_counted", [False, True])
def test_error_is_exact_beyond_the_bits_of_a_float(is_counted):
    # 2^62 + 600 + 600 is rounded twice in float64, where the next number is + 1024.
    values = np.repeat([0, 2**31 - 1, 2**31 + 1], [1, 600, 600])
    pixels = values.astype(np.uint32)[:, np.newaxis]

    mse = source_of(pixels, is_counted).measure(np.array([[2.0**31]])).mse

    assert mse == (2**62 + 1200) / 1201


@given(images, st.integers(0, 2**32))
def test_counted_and_listed_pixels_are_measured_alike(image, seed):
    pixels = image.reshape(-1, image.shape[-1])
    points = to_points(pixels, frame_of(pixels)).astype(float)
    centers = np.random.default_rng(seed).choice(points, 2)

    one, other = (source_of(pixels, kind).measure(centers) for kind in (False, True))

    assert_array_equal(one.counts, other.counts)
    assert one.mse == other.mse
