import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace

import dask
import numcodecs
import numpy as np
import pytest
import yaozarrs
import zarr
from numpy.testing import assert_array_equal
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec
from zarr.storage import LocalStore

from checkpoints import Check, Ended
from napari_kmeans import kmeans_palette, map_to_palette
from napari_kmeans._compression import Recipe
from napari_kmeans._core.blocks import interruptible
from napari_kmeans._files import pyramids
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.ome_zarr import open_store
from napari_kmeans._files.pyramids import Pyramid
from napari_kmeans._stores import write_store
from zarr_stores import (
    contents,
    description,
    levels_of,
    make_array,
    make_image,
    told_of,
)

IMAGE = np.random.default_rng(1).integers(0, 30, (3, 50, 70)).astype(np.uint8)
# Two channels of 8 bits need no large tables.
PAIR = IMAGE[:2, :, :50]
RECORD = "napari-kmeans"
# How palettes are found is tested elsewhere.
QUICK = {"iters": 1, "init": "random"}
FEW = Recipe(k=5, seed=1, **QUICK)


@pytest.fixture(autouse=True)
def _small_boxes(monkeypatch):
    """Cut images of a few rows into several pieces."""
    monkeypatch.setattr(pyramids, "_BOX", 1 << 11)


def compress(source, target, recipe=None, **how):
    return write_store(open_store(source), source, target, recipe or FEW, **how)


def expected(level, palette, channel_axis, **how):
    """Return labels of a level and its pixels in palette colors, made by NumPy."""
    labels = map_to_palette(level, palette, channel_axis=channel_axis, **how)
    colored = palette[labels]
    if channel_axis is not None:
        colored = np.moveaxis(colored, -1, channel_axis)
    return labels, colored


def read(path):
    return zarr.open_array(path, mode="r")[...]


def random_array(rng, axes):
    """Draw pixels, and how they are stored."""
    dtype = rng.choice(["u1", "i2", "<u2", ">u2", "<i8", "?", "<f4", ">f8"])
    sizes = {"t": 2, "c": int(rng.integers(1, 5)), "z": 2}
    shape = [sizes.get(a) or int(rng.integers(5, 30)) for a in axes]
    pixels = rng.integers(0, 2 if dtype == "?" else 40, shape).astype(dtype)
    chunks = [min(n, int(rng.integers(3, 12))) for n in shape]
    return pixels, tuple(chunks)


@pytest.mark.parametrize("seed", range(16))
def test_every_level_has_the_pixels_and_labels_that_numpy_makes_of_it(tmp_path, seed):
    rng = np.random.default_rng(seed)
    axes = rng.choice(["cyx", "yx", "tczyx", "zyx", "yxc", "tyx"])
    image, chunks = random_array(rng, axes)
    version, how = rng.choice(["0.4", "0.5"]), {"chunks": chunks}
    if version == "0.5" and rng.integers(2):
        how["shards"] = tuple(int(n * rng.integers(1, 4)) for n in chunks)
    levels = levels_of(image, axes, int(rng.integers(1, 4)))
    source = make_image(tmp_path / "a.zarr", levels, axes, version, **how)
    k = int(rng.integers(1, 9))
    channel_axis = axes.index("c") if "c" in axes else None

    result = compress(
        source, tmp_path / "b.zarr", Recipe(k=k, seed=1, **QUICK), with_labels=True
    )

    fit = kmeans_palette(image, k, rng=1, channel_axis=channel_axis, **QUICK)
    assert_array_equal(result.palette, fit.palette, strict=True)
    assert_array_equal(result.counts, fit.counts, strict=True)
    assert (result.n_iter, result.converged) == (fit.n_iter, fit.converged)
    assert result.mse == pytest.approx(fit.mse, rel=1e-12)
    assert result.n_written == result.n_all >= len(levels)
    for i, level in enumerate(levels):
        labels, colored = expected(level, fit.palette, channel_axis)
        written = read(tmp_path / "b.zarr" / str(i))
        assert_array_equal(written, colored)
        entries = read(tmp_path / "b.zarr" / "labels" / "colors" / str(i))
        assert_array_equal(entries, labels + np.uint8(1), strict=True)
        assert told_of(tmp_path / "b.zarr" / str(i)) == told_of(source / str(i))
    if axes != "yxc":  # Which OME-Zarr does not know.
        validate(tmp_path / "b.zarr")


def validate(path):
    for image in (path, path / "labels" / "colors"):
        yaozarrs.validate_zarr_store(str(image))


BIG = BytesCodec(endian="big")
LAYOUTS = [
    {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    {"zarr_format": 2, "order": "F", "compressors": None},
    {"zarr_format": 2, "filters": numcodecs.Shuffle(2), "fill_value": 3},
    {"zarr_format": 2, "compressors": numcodecs.GZip(2), "fill_value": None},
    {"zarr_format": 3, "shards": (20, 30, 3), "compressors": GzipCodec(level=2)},
    {"zarr_format": 3, "filters": TransposeCodec(order=(2, 0, 1)), "serializer": BIG},
    {"zarr_format": 3, "compressors": BloscCodec(cname="zstd"), "fill_value": 7},
    {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
]


@pytest.mark.parametrize("how", LAYOUTS)
def test_an_array_gives_an_array_that_is_stored_in_the_same_way(tmp_path, how):
    pixels = np.moveaxis(IMAGE, 0, -1).astype(np.uint16)
    how = how | {"chunks": (10, 15, 3), "attributes": {"né": [1.5, None]}}
    source = make_array(tmp_path / "a.zarr", pixels, **how)

    result = compress(source, tmp_path / "b.zarr")

    colored = expected(pixels, result.palette, -1)[1]
    assert_array_equal(read(tmp_path / "b.zarr"), colored)
    assert told_of(tmp_path / "b.zarr") == told_of(source)
    told = zarr.open_array(tmp_path / "b.zarr", mode="r").attrs.asdict()
    record = told.pop(RECORD)
    assert told == {"né": [1.5, None]}
    assert record["is_complete"]
    assert record["palette"] == result.palette.tolist()


@pytest.mark.parametrize("how", LAYOUTS)
def test_labels_are_stored_as_the_image_is(tmp_path, how):
    how = {**how, "chunks": (3, 10, 15)}
    how |= {"shards": (3, 20, 30)} if "shards" in how else {}
    version = "0.4" if how.pop("zarr_format") == 2 else "0.5"
    source = make_image(
        tmp_path / "a.zarr", [IMAGE.astype(np.uint16)], version=version, **how
    )

    compress(source, tmp_path / "b.zarr", with_labels=True)

    image, labels = (
        zarr.open_array(tmp_path / "b.zarr" / name, mode="r")
        for name in ("0", "labels/colors/0")
    )
    assert labels.chunks == (10, 15)
    assert labels.shards == (None if image.shards is None else (20, 30))
    assert labels.dtype == np.uint8
    assert labels.compressors == image.compressors
    key = image.metadata.encode_chunk_key((0, 1, 1))
    assert labels.metadata.encode_chunk_key((1, 1)) == key.replace("0", "", 1).replace(
        key.replace("c/", "")[1], "", 1
    )
    validate(tmp_path / "b.zarr")


WINDOW = {"min": 0, "max": 255.0, "start": 1e-3, "end": 90}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_all_attributes_of_an_image_are_kept_but_no_other_groups(tmp_path, version):
    more = {
        "omero": {"channels": [{"label": "é", "color": "00FF00", "window": WINDOW}]},
        "a": [1],
    }
    levels, paths = levels_of(PAIR), ["scale0/image", "scale1/image"]
    told = description(levels, paths=paths, version=version)
    (told.get("ome") or told).update(more)
    how = {"paths": paths, "attributes": told, "version": version}
    source = make_image(tmp_path / "a.zarr", levels, **how)
    make_image(source / "labels" / "cells", [PAIR[0]], "yx", version)
    zarr.open_array(source / "scale0/image").attrs["b"] = {"c": None}

    compress(source, tmp_path / "b.zarr")

    kept = zarr.open_group(tmp_path / "b.zarr", mode="r").attrs.asdict()
    assert kept.pop(RECORD)["is_complete"]
    assert kept == told
    assert sorted(p.name for p in (tmp_path / "b.zarr").iterdir() if p.is_dir()) == [
        "scale0",
        "scale1",
    ]
    array = zarr.open_array(tmp_path / "b.zarr" / "scale0/image", mode="r")
    assert array.attrs.asdict() == {"b": {"c": None}}
    yaozarrs.validate_zarr_store(str(tmp_path / "b.zarr"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_lie_on_their_image_in_the_colors_of_the_palette(tmp_path, version):
    levels = levels_of(IMAGE)
    told = description(levels, version=version)
    (image,) = (told.get("ome") or told)["multiscales"]
    image["coordinateTransformations"] = [{"type": "scale", "scale": [1.0, 2.0, 3.0]}]
    source = make_image(
        tmp_path / "a.zarr",
        levels,
        version=version,
        attributes=told,
        chunks=(1, 16, 16),
    )

    result = compress(source, tmp_path / "b.zarr", with_labels=True)

    attributes = zarr.open_group(tmp_path / "b.zarr/labels/colors", mode="r").attrs
    found = attributes.asdict()
    found = found["ome"] if version == "0.5" else found
    (labels,) = found["multiscales"]
    assert labels["axes"] == image["axes"][1:]
    assert labels["coordinateTransformations"] == [
        {"type": "scale", "scale": [2.0, 3.0]}
    ]
    for level, lies in zip(labels["datasets"], image["datasets"], strict=True):
        scale, translation = lies["coordinateTransformations"]
        assert level == {
            "path": lies["path"],
            "coordinateTransformations": [
                {"type": "scale", "scale": scale["scale"][1:]},
                {"type": "translation", "translation": translation["translation"][1:]},
            ],
        }
    assert found["image-label"]["source"] == {"image": "../../"}
    assert found["image-label"]["colors"] == [
        {"label-value": i, "rgba": [*color, 255]}
        for i, color in enumerate(result.palette.tolist(), 1)
    ]
    assert labels.get("version") == (None if version == "0.5" else "0.4")
    validate(tmp_path / "b.zarr")


def test_labels_of_other_colors_than_rgb_of_8_bits_are_shown_stretched(tmp_path):
    image = np.array([[0, 0, 1000], [500, 500, 1000]], np.uint16)
    source = make_image(tmp_path / "a.zarr", [image], "yx")

    compress(source, tmp_path / "b.zarr", Recipe(k=3), with_labels=True)

    told = zarr.open_group(tmp_path / "b.zarr/labels/colors", mode="r").attrs["ome"]
    shown = [color["rgba"] for color in told["image-label"]["colors"]]
    assert shown == [[0, 0, 0, 255], [127, 127, 127, 255], [255, 255, 255, 255]]


def test_pixels_that_are_not_finite_stay_and_have_no_label(tmp_path):
    image = PAIR.astype(np.float32)
    image[0, 3, 4], image[1, 20, 30] = np.nan, -np.inf
    source = make_image(tmp_path / "a.zarr", [image], chunks=(1, 16, 16))

    result = compress(source, tmp_path / "b.zarr", with_labels=True)

    labels, colored = expected(image, result.palette, 0)
    far = ~np.isfinite(image).all(axis=0)
    colored[:, far] = image[:, far]
    assert_array_equal(read(tmp_path / "b.zarr/0"), colored, strict=True)
    entries = np.where(far, 0, labels + np.uint8(1))
    assert_array_equal(read(tmp_path / "b.zarr/labels/colors/0"), entries, strict=True)


def test_labels_of_more_than_255_colors_have_16_bits(tmp_path):
    image = np.arange(300, dtype=np.uint16).reshape(15, 20)
    for k, dtype in ((255, np.uint8), (256, np.uint16), (300, np.uint16)):
        source = make_image(tmp_path / f"a{k}.zarr", [image[: -(-k // 20)]], "yx")
        recipe, target = Recipe(k=k), tmp_path / f"b{k}.zarr"

        result = compress(source, target, recipe, with_labels=True)

        assert len(result.palette) == k
        labels = read(target / "labels/colors/0")
        assert labels.dtype == dtype
        assert labels.max() == k


def test_dithering_goes_on_from_piece_to_piece_in_every_level(tmp_path):
    levels = levels_of(PAIR)
    source = make_image(tmp_path / "a.zarr", levels, chunks=(2, 13, 17))

    recipe = replace(FEW, dither="ordered")
    result = compress(source, tmp_path / "b.zarr", recipe)

    assert (result.mse, result.psnr) == (None, None)
    fit = kmeans_palette(PAIR, 5, rng=1, channel_axis=0, **QUICK)
    assert_array_equal(result.counts, fit.counts)
    for i, level in enumerate(levels):
        colored = expected(level, result.palette, 0, dither="ordered")[1]
        assert_array_equal(read(tmp_path / "b.zarr" / str(i)), colored)


def test_other_recipes_are_those_of_the_functions(tmp_path):
    source = make_image(tmp_path / "a.zarr", [IMAGE])
    lab = Recipe(k=4, iters=2, init="k-means++", seed=3, color_space="lab")
    fit = kmeans_palette(
        IMAGE, 4, 2, init="k-means++", rng=3, color_space="lab", channel_axis=0
    )

    result = compress(source, tmp_path / "b.zarr", lab)

    assert_array_equal(result.palette, fit.palette)
    colored = expected(IMAGE, fit.palette, 0, color_space="lab")[1]
    assert_array_equal(read(tmp_path / "b.zarr/0"), colored)
    weighed = Recipe(k=4, channel_weights="std", fixed=np.array([[1, 2, 3]]))
    fit = kmeans_palette(
        IMAGE, 4, channel_weights="std", fixed=weighed.fixed, channel_axis=0
    )
    # The second time it is there, with the weights that it was made with.
    for _ in range(2):
        result = compress(source, tmp_path / "w.zarr", weighed)
        assert_array_equal(result.palette, fit.palette)
        assert_array_equal(result.channel_weights, fit.channel_weights)
    weights = fit.channel_weights
    colored = expected(IMAGE, fit.palette, 0, channel_weights=weights)[1]
    assert_array_equal(read(tmp_path / "w.zarr/0"), colored)
    with pytest.raises(ValueError, match="begun with another channel_weights, fixed;"):
        compress(source, tmp_path / "w.zarr", Recipe(k=4, channel_weights=(1, 1, 2)))
    good = compress(source, tmp_path / "c.zarr", Recipe(psnr=30))
    assert good.psnr >= 30
    assert good.n_colors_before == len(np.unique(IMAGE.reshape(3, -1), axis=1).T)
    same = compress(source, tmp_path / "d.zarr", Recipe(k=1 << 16))
    assert (same.mse, same.psnr) == (0, np.inf)
    assert compress(source, tmp_path / "d.zarr", Recipe(k=1 << 16)).psnr == np.inf


@pytest.mark.parametrize("axes", ["cyx", "yx"])
def test_a_palette_that_is_given_is_taken(tmp_path, axes):
    image = IMAGE if axes == "cyx" else IMAGE[0]
    palette = np.array(
        [[9, 9, 9], [60, 70, 80]] if axes == "cyx" else [[9], [60]], "u1"
    )
    source = make_image(tmp_path / "a.zarr", [image], axes)

    result = compress(source, tmp_path / "b.zarr", palette=palette)

    numbers = [None] * 7
    assert result[3:] == tuple(numbers)
    flat = palette if axes == "cyx" else palette[:, 0]
    assert_array_equal(result.palette, flat, strict=True)
    colored = expected(image, flat, 0 if axes == "cyx" else None)[1]
    assert_array_equal(read(tmp_path / "b.zarr/0"), colored)
    again = compress(source, tmp_path / "b.zarr", palette=palette)
    assert again.n_written == 0
    with pytest.raises(ValueError, match="begun with another given palette;"):
        compress(source, tmp_path / "b.zarr", palette=palette[::-1])


def test_a_palette_fits_an_image_of_any_byte_order(tmp_path):
    image, palette = PAIR[0].astype(">u2"), np.array([3, 17], np.uint16)
    source = make_image(tmp_path / "a.zarr", [image], "yx", "0.4")

    compress(source, tmp_path / "b.zarr", palette=palette)

    colored = expected(PAIR[0].astype("u2"), palette, None)[1]
    assert_array_equal(read(tmp_path / "b.zarr/0"), colored)


@pytest.mark.parametrize(
    ("palette", "reason"),
    [
        (np.zeros((2, 3), "u2"), "palette of uint16 colors does not fit"),
        (np.zeros((2, 2), "u1"), "palette of 2 channels does not fit"),
        (np.zeros((2, 3), "u1"), "palette must have the channels of the image"),
    ],
)
def test_a_palette_of_other_colors_is_refused(tmp_path, palette, reason):
    source = make_image(tmp_path / "a.zarr", [IMAGE[0]], "yx")
    compress(source, tmp_path / "b.zarr")
    before = contents(tmp_path)

    with pytest.raises(ValueError, match=reason):
        compress(source, tmp_path / "b.zarr", palette=palette, force=True)
    assert contents(tmp_path) == before


class Slide:
    """A level that is in no store."""

    def __init__(self, pixels, chunks):
        self.pixels, self.chunks = pixels, chunks
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim

    def __getitem__(self, region):
        return self.pixels[region]


def test_a_slide_becomes_a_store_with_its_channels_first(tmp_path):
    file = tmp_path / "a.svs"
    file.write_text("slide")
    levels = levels_of(np.moveaxis(IMAGE, 0, -1), "yxc")
    slides = tuple(Slide(level, (20, 24, 3)) for level in levels)
    told = description([np.moveaxis(level, -1, 0) for level in levels])
    pyramid = Pyramid(slides, ImageMetadata("YXS"), told)

    result = write_store(pyramid, file, tmp_path / "b.zarr", FEW, with_labels=True)

    for i, level in enumerate(levels):
        labels, colored = expected(level, result.palette, -1)
        array = zarr.open_array(tmp_path / "b.zarr" / str(i), mode="r")
        assert_array_equal(array[...], np.moveaxis(colored, -1, 0), strict=True)
        entries = read(tmp_path / "b.zarr/labels/colors" / str(i))
        assert_array_equal(entries, labels + np.uint8(1))
        assert array.metadata.dimension_names == ("c", "y", "x")
        assert array.chunks[0] == 1
    validate(tmp_path / "b.zarr")


# What is lost, and what is not.


def interrupted(source, target, recipe=None, n_tasks=3, **how):
    """End a computation when so many tasks have written."""

    def report(*told):
        if told[:2] == ("write", n_tasks):
            raise Ended

    with pytest.raises(Ended), dask.config.set(scheduler="sync"):
        compress(source, target, recipe, report=report, **how)


def times(path):
    return {p: p.stat().st_mtime_ns for p in path.rglob("*") if p.is_file()}


STORES = [("0.4", {}), ("0.5", {}), ("0.5", {"shards": (2, 32, 32)}), (None, {})]


def make(path, version, how):
    how = {"chunks": (1, 16, 16)} | how
    if version is None:
        return make_array(path, PAIR, dimension_names=["c", "y", "x"], **how)
    return make_image(path, levels_of(PAIR), version=version, **how)


@pytest.mark.parametrize(("version", "how"), STORES)
def test_what_was_interrupted_goes_on_where_it_was(tmp_path, monkeypatch, version, how):
    source, labels = make(tmp_path / "a.zarr", version, how), version is not None
    target = tmp_path / "b.zarr"
    compress(source, tmp_path / "c.zarr", with_labels=labels)
    interrupted(source, target, with_labels=labels)
    before = times(target)
    if labels:
        assert not {"ome", "multiscales"} & zarr.open_group(target).attrs.keys()
    (target / "0" / "c.part.partial" if labels else target / "0.partial").write_text(
        "x"
    )
    # What is on record is not computed again.
    monkeypatch.delattr("napari_kmeans._stores.fit_counted")

    result = compress(source, target, with_labels=labels)

    assert 0 < result.n_written == result.n_all - 3
    after = times(target)
    kept = [p for p in before if p.name not in ("zarr.json", ".zattrs", ".zgroup")]
    assert len(kept) >= 3
    assert all(after[path] == before[path] for path in kept)
    assert contents(target) == contents(tmp_path / "c.zarr")
    # And what is there is not written again.
    again = compress(source, target, with_labels=labels)
    assert (again.n_written, again.n_all) == (0, result.n_all)
    assert times(target) == after
    for one, other in zip(again[2:], result[2:], strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("version", "name", "n"),
    [
        *(("0.4", name, n) for name in (".zattrs", ".zarray") for n in range(4)),
        *((None, name, 0) for name in (".zattrs", ".zarray", "zarr.json")),
        ("0.5", "zarr.json", 0),
    ],
)
def test_half_of_the_metadata_does_not_hold_up_what_goes_on(
    tmp_path, monkeypatch, version, name, n
):
    zarr_format, labels = 3 if name == "zarr.json" else 2, version is not None
    if labels:
        make_image(tmp_path / "a.zarr", levels_of(PAIR), version=version)
    else:
        make_array(tmp_path / "a.zarr", PAIR, zarr_format=zarr_format)
    source, target = tmp_path / "a.zarr", tmp_path / "b.zarr"
    compress(source, tmp_path / "c.zarr", FEW, with_labels=labels)
    left, write = iter(range(n)), LocalStore.set

    async def end(store, key, *some):
        if key.endswith(name) and next(left, None) is None:
            raise Ended
        await write(store, key, *some)

    monkeypatch.setattr(LocalStore, "set", end)
    with pytest.raises(Ended):
        compress(source, target, FEW, with_labels=labels)
    monkeypatch.undo()
    compress(source, target, FEW, with_labels=labels)

    assert contents(target) == contents(tmp_path / "c.zarr")


@pytest.mark.parametrize(("version", "how"), STORES[:3])
def test_of_half_a_piece_only_the_missing_chunks_are_written(tmp_path, version, how):
    source, target = make(tmp_path / "a.zarr", version, how), tmp_path / "b.zarr"
    compress(source, target, with_labels=True)
    whole, before = contents(target), times(target)
    gone = ["0/c/1/0/0" if version == "0.5" else "0/1/0/0", "labels/colors/1/c/0/0"]
    gone[1] = gone[1] if version == "0.5" else "labels/colors/1/0/0"
    if how:
        gone[0] = "0/c/0/1/1"
    for name in gone:
        (target / name).unlink()

    result = compress(source, target, with_labels=True)

    assert result.n_written == 2
    assert contents(target) == whole
    chunks = {p: t for p, t in times(target).items() if "." not in p.name}
    written = [p.relative_to(target) for p, t in chunks.items() if t != before[p]]
    assert sorted(map(str, written)) == sorted(gone)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_of_nothing_but_zeros_are_written(tmp_path, zarr_format):
    image = np.zeros((40, 60), np.uint8)
    image[:9, :9] = 7
    how = {"zarr_format": zarr_format, "chunks": (20, 20)}
    source = make_array(tmp_path / "a.zarr", image, **how)

    assert compress(source, tmp_path / "b.zarr").n_written > 0
    assert compress(source, tmp_path / "b.zarr").n_written == 0
    names = [
        n for n in contents(tmp_path / "b.zarr") if not n.startswith((".", "zarr"))
    ]
    assert len(names) == 6


KILLED = """
import os, signal, sys
from napari_kmeans._compression import Recipe
from napari_kmeans._files import ome_zarr, pyramids
from napari_kmeans._stores import write_store

def report(verb, n_done, n_all):
    if verb == "write" and n_done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

pyramids._BOX = 1 << 11
source, target = sys.argv[1:]
opened = ome_zarr.open_store(source)
recipe = Recipe(k=5, iters=1, init="random", seed=1)
write_store(opened, source, target, recipe, with_labels=True, report=report)
"""


def test_a_process_that_is_killed_leaves_what_can_go_on(tmp_path):
    source, target = make(tmp_path / "a.zarr", *STORES[1]), tmp_path / "b.zarr"
    compress(source, tmp_path / "c.zarr", with_labels=True)

    done = subprocess.run([sys.executable, "-c", KILLED, source, target], timeout=60)
    assert done.returncode == -signal.SIGKILL
    result = compress(source, target, with_labels=True)

    assert 0 < result.n_written < result.n_all
    assert contents(target) == contents(tmp_path / "c.zarr")


def test_a_computation_ends_at_the_next_piece(tmp_path):
    source, target = make(tmp_path / "a.zarr", *STORES[1]), tmp_path / "b.zarr"
    with interruptible(Check(last=0)), pytest.raises(Ended):
        compress(source, target)

    assert compress(source, target).n_written > 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"recipe": replace(FEW, k=6)}, "k"),
        ({"recipe": replace(FEW, iters=2, seed=2)}, "iters, seed"),
        ({"with_labels": True}, "labels"),
        ({}, "source"),
    ],
)
def test_another_setting_or_source_is_refused_unless_forced(tmp_path, change, what):
    source, target = make(tmp_path / "a.zarr", *STORES[1]), tmp_path / "b.zarr"
    interrupted(source, target)
    if what == "source":
        os.utime(source / "0" / "zarr.json")
    before = contents(target)

    with pytest.raises(ValueError, match=f"was begun with another {what}; --force"):
        compress(source, target, **change)
    assert contents(target) == before
    assert compress(source, target, force=True, **change).n_written > 3
    assert open_store(target).attributes[RECORD]["is_complete"]


def test_a_source_that_changes_while_it_is_read_makes_no_image(tmp_path):
    source, target = make(tmp_path / "a.zarr", *STORES[1]), tmp_path / "b.zarr"

    def report(verb, n_done, n_all):
        if (verb, n_done) == ("write", n_all):
            (source / "new").write_text("")

    with pytest.raises(ValueError, match="has changed while it was read"):
        compress(source, target, report=report)
    with pytest.raises(ValueError, match="is not a single image"):
        open_store(target)


def test_only_stores_are_replaced(tmp_path):
    source = make(tmp_path / "a.zarr", *STORES[1])
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "notes").write_text("mine")
    file.write_text("mine")
    group = tmp_path / "group.zarr"
    make_array(group / "array", IMAGE)
    zarr.create_group(group)
    array = make_array(tmp_path / "array.zarr", IMAGE)
    for other in (folder, file, group, array):
        before = contents(tmp_path)
        for force in (False, True):
            with pytest.raises(ValueError, match="exists, and is no such store"):
                compress(source, other, force=force)
        assert contents(tmp_path) == before
    image = make_image(tmp_path / "image.zarr", [IMAGE], version="0.4")
    with pytest.raises(ValueError, match="exists; --force replaces it"):
        compress(source, image)
    compress(source, image, force=True)
    assert not list(image.glob(".z*"))
    (tmp_path / "empty").mkdir()
    compress(source, tmp_path / "empty")
    plain = tmp_path / "plain.zarr"
    compress(make(tmp_path / "b.zarr", *STORES[3]), plain)
    compress(source, plain, force=True)
    assert (plain / "0").is_dir()


@pytest.mark.parametrize("version", ["0.4", "0.5", None])
def test_nothing_goes_on_with_a_store_that_is_half_removed(
    tmp_path, monkeypatch, version
):
    source, target = make(tmp_path / "a.zarr", version, {}), tmp_path / "b.zarr"
    compress(source, target, FEW)
    whole = contents(target)

    def end(*_):
        raise Ended

    monkeypatch.setattr("shutil.rmtree", end)
    with pytest.raises(Ended):
        compress(source, target, FEW, force=True)
    monkeypatch.undo()

    with pytest.raises(ValueError, match="exists; --force replaces it"):
        compress(source, target, FEW)
    compress(source, target, FEW, force=True)
    assert contents(target) == whole


@pytest.mark.parametrize(
    "place", ["a.zarr", "a.zarr/0", "a.zarr/b", ".", "link", "c/../a.zarr"]
)
def test_a_store_never_lies_in_its_source_or_around_it(tmp_path, place):
    source = make(tmp_path / "a.zarr", *STORES[1])
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "c").mkdir()
    before = contents(tmp_path)

    with pytest.raises(ValueError, match="must not be the input, lie in it or hold it"):
        compress(source, tmp_path / place, force=True)
    assert contents(tmp_path) == before


def test_what_cannot_be_done_is_refused_before_anything_is_written(tmp_path):
    image, array = (make(tmp_path / f"{i}.zarr", *STORES[i]) for i in (1, 3))
    target = tmp_path / "b.zarr"
    with pytest.raises(ValueError, match="needs whole planes; choose 'ordered'"):
        compress(image, target, Recipe(dither="floyd-steinberg"))
    with pytest.raises(ValueError, match="not for plain arrays"):
        compress(array, target, with_labels=True)
    assert not target.exists()


def test_passes_are_told_with_their_names(tmp_path):
    source, told = make(tmp_path / "a.zarr", *STORES[1]), []

    result = compress(
        source, tmp_path / "b.zarr", report=lambda *some: told.append(some)
    )

    passes = [list(some) for _, some in itertools.groupby(told, lambda each: each[0])]
    assert [some[0][0] for some in passes] == ["read", "write"]
    for some in passes:
        n_all = some[0][2]
        assert some == [(some[0][0], i, n_all) for i in range(n_all + 1)]
    assert passes[1][0][2] == result.n_all
