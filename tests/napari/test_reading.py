import itertools

import dask
import dask.array as da
import numpy as np
import pytest
from dask.callbacks import Callback
from napari.layers import Image
from numpy.testing import assert_array_equal

from checkpoints import Check, Ended
from napari_kmeans._core.blocks import interruptible
from napari_kmeans._napari.layers import read_array, read_levels, read_source

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
INDICES = [
    ...,
    (slice(None),),
    (slice(5, 30), slice(2, None, 3)),
    (slice(None, None, 7), slice(49, 60), slice(1, 2)),
    (slice(7, 7),),
]


class Chunked:
    """An array that says what is read of it, as a file would."""

    def __init__(self, array, chunks):
        self._array = array
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype
        self.chunks = chunks
        self.sizes = []

    def __getitem__(self, index):
        piece = self._array[index]
        # Dask looks at an empty piece first.
        self.sizes += [piece.size] if piece.size else []
        return piece


@pytest.mark.parametrize(
    ("piece", "index"),
    # By the byte, the whole image is thousands of pieces.
    [(1, INDICES[3]), *itertools.product([100, 500, 1 << 22], INDICES)],
)
@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        lambda image: da.from_array(image, chunks=(16, 20, 3)),
        lambda image: da.from_array(image, chunks=-1),
        lambda image: Chunked(image, (16, 20, 3)),
        lambda image: Chunked(image, (1, 1, 1)),
        lambda image: Chunked(image, (99, 99, 99)),
        lambda image: Chunked(image, None),
        # Those of a library that does not say what they mean.
        lambda image: Chunked(image, ((40,), (50,), (3,))),
    ],
)
def test_what_is_read_is_that_part_of_the_array(make, index, piece):
    with dask.config.set({"array.chunk-size": piece}):
        read = read_array(make(IMAGE), index)
    assert_array_equal(read, IMAGE[index], strict=True)


def test_array_in_memory_is_not_copied():
    assert np.shares_memory(read_array(IMAGE, (slice(3, 9),)), IMAGE)


def test_pieces_are_whole_chunks():
    image = Chunked(IMAGE, (16, 20, 3))
    with dask.config.set({"array.chunk-size": 16 * 20 * 3}):
        read_array(image)
    assert sorted(image.sizes) == sorted(np.outer([16, 16, 8], [60, 60, 30]).ravel())


def test_small_chunks_are_read_together():
    image = Chunked(IMAGE, (1, 1, 1))
    read_array(image)
    assert image.sizes == [IMAGE.size]


def test_reading_ends_between_pieces():
    image = Chunked(IMAGE, (16, 20, 3))
    limits = {"array.chunk-size": 1, "scheduler": "synchronous"}
    with (
        dask.config.set(limits),
        pytest.raises(Ended),
        interruptible(Check(2)),
    ):
        read_array(image)
    assert len(image.sizes) == 2


def lazy(computed, chunks=(10, 50, 3)):
    """Give an array that says which chunks are computed."""

    def note(block, block_info):
        computed.append(block_info[0]["chunk-location"])
        return block

    source = da.from_array(IMAGE, chunks=chunks)
    return source.map_blocks(note, dtype=IMAGE.dtype, meta=IMAGE[:0, :0, :0])


def test_dask_computes_every_chunk_once():
    computed = []
    read = read_array(lazy(computed))
    assert_array_equal(read, IMAGE)
    assert sorted(computed) == [(i, 0, 0) for i in range(4)]


def test_dask_computes_what_chunks_share_once():
    n_computed = []
    shared = da.from_delayed(
        dask.delayed(lambda: n_computed.append(1) or 7.0)(), (), float
    )
    read = read_array(da.from_array(IMAGE, chunks=(10, 50, 3)) + shared)
    assert_array_equal(read, IMAGE + 7.0)
    assert len(n_computed) == 1


def test_dask_ends_between_chunks():
    computed = []
    with dask.config.set(scheduler="synchronous"):
        read_array(lazy(computed))
        n_all = len(computed)
        counted = itertools.count()
        with interruptible(lambda: next(counted)):
            read_array(lazy(computed))
        n_checks = next(counted)
        computed.clear()
        with pytest.raises(Ended), interruptible(Check(n_checks // 4)):
            read_array(lazy(computed))
    # One for each task.
    assert n_checks >= n_all
    assert 0 < len(computed) < n_all


def test_dtype_is_that_of_the_chunks():
    # What a function that is mapped gives, dask is told, and believes.
    image = da.from_array(IMAGE, chunks=(10, 50, 3))
    lying = image.map_blocks(np.asarray, np.int16, dtype=np.uint8)
    assert read_array(lying).dtype == np.int16


def test_checkpoints_are_no_matter_of_other_computations_of_dask():
    class Seen(Callback):
        tasks = 0

        def _pretask(self, *_):
            self.tasks += 1
            active.append(set(Callback.active))

    active = []
    with Seen() as seen:
        before = set(Callback.active)
        read_array(lazy([]))
        # Who watches all computations sees this one, too; nobody else is added.
        assert seen.tasks >= 4
        assert all(now == before for now in active)


def test_stack_is_that_of_numpy():
    channels = [IMAGE[..., 0], IMAGE[..., 1].astype(np.int16)]
    expected = np.stack(channels, axis=-1)
    source = read_source([Image(channel) for channel in channels], None)
    assert_array_equal(read_levels(source)[0], expected, strict=True)
