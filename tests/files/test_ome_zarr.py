import importlib.metadata
import json
import os
import shutil
from pathlib import Path, PurePosixPath

import numcodecs
import numpy as np
import pytest
import zarr

from napari_kmeans._files import ome_zarr
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.ome_zarr import (
    identity_of,
    is_store,
    open_store,
    target_axis,
)
from zarr_stores import description, levels_of, make_array, make_image

IMAGE = np.arange(3 * 8 * 12, dtype=np.uint8).reshape(3, 8, 12)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_levels_axes_and_sizes_of_an_image_are_read(tmp_path, version):
    levels = levels_of(IMAGE)
    path = make_image(tmp_path / "a.zarr", levels, version=version)

    opened = open_store(path)

    micrometers = ("pixel", "micrometer", "micrometer")
    assert opened.metadata == ImageMetadata("CYX", (1.0, 0.25, 0.25), micrometers)
    assert opened.channel_axis == 0
    for level, pixels in zip(opened.levels, levels, strict=True):
        np.testing.assert_array_equal(level[...], pixels, strict=True)
    assert opened.attributes == description(levels, version=version)


def test_channels_of_a_store_made_of_an_image_lie_where_those_of_the_image_do(
    tmp_path,
):
    for axes, expected in [("cyx", 0), ("tcyx", 1), ("zyx", None)]:
        image = IMAGE[np.newaxis] if len(axes) == 4 else IMAGE
        path = make_image(tmp_path / axes, levels_of(image, axes), axes)
        assert target_axis(open_store(path)) == expected
    # An array has none but those of its last axis.
    array = make_array(tmp_path / "array", IMAGE.reshape(8, 12, 3))
    assert target_axis(open_store(array)) == 2


def test_sizes_are_those_of_levels_times_those_of_the_image(tmp_path):
    told = description([IMAGE])
    (image,) = told["ome"]["multiscales"]
    image["coordinateTransformations"] = [{"type": "scale", "scale": [1, 4, 2]}]
    image["axes"][1]["unit"] = "\N{MICRO SIGN}m"
    path = make_image(tmp_path / "a.zarr", [IMAGE], attributes=told)

    metadata = open_store(path).metadata

    assert metadata.scale == (1.0, 1.0, 0.5)
    assert metadata.units == ("pixel", "micrometer", "micrometer")


def test_sizes_that_nobody_tells_are_not_known(tmp_path):
    told = description([IMAGE])
    (image,) = told["ome"]["multiscales"]
    for axis in image["axes"]:
        axis.pop("unit", None)
    image["datasets"][0]["coordinateTransformations"] = [{"type": "identity"}]
    path = make_image(tmp_path / "a.zarr", [IMAGE], attributes=told)

    assert open_store(path).metadata == ImageMetadata("CYX")


@pytest.mark.parametrize(
    ("shape", "names", "axes", "channel_axis"),
    [
        ((9, 8), None, "YX", None),
        ((9, 8, 3), None, "YXS", 2),
        ((9, 8, 4), None, "YXS", 2),
        ((9, 3), None, "YX", None),
        ((9, 8, 5), None, "ZYX", None),
        ((2, 9, 8, 3), None, "ZYXS", 3),
        ((2, 2, 9, 8), None, "TZYX", None),
        ((2, 9, 3), ["c", "y", "x"], "CYX", 0),
        ((2, 5, 9, 8), ["t", "channel", None, None], "ZCYX", 1),
    ],
)
def test_axes_of_an_array_are_those_of_its_names_and_its_shape(
    tmp_path, shape, names, axes, channel_axis
):
    pixels = np.zeros(shape, np.uint8)

    opened = open_store(make_array(tmp_path / "a.zarr", pixels, dimension_names=names))

    assert opened.metadata == ImageMetadata(axes)
    assert opened.channel_axis == channel_axis
    assert opened.levels[0].shape == shape


@pytest.mark.parametrize("shape", [(5,), (2, 2, 2, 9, 8)])
def test_arrays_of_other_axes_are_refused(tmp_path, shape):
    path = make_array(tmp_path / "a.zarr", np.zeros(shape, np.uint8))

    with pytest.raises(ValueError, match="axes must be y, x and some of t, c, z, got"):
        open_store(path)


def group_of(path, attributes, images=(), **how):
    zarr.create_group(path, attributes=attributes, **how)
    for name in images:
        for parent in list(PurePosixPath(name).parents)[:-1]:
            zarr.open_group(path / parent, mode="a")
        make_image(path / name, [IMAGE])
    return path


@pytest.mark.parametrize(
    ("attributes", "images", "listed"),
    [
        ({"ome": {"bioformats2raw.layout": 3}}, ["0", "1"], "{0}/0, {0}/1"),
        ({"ome": {"plate": {}}}, ["A/1/0", "A/2/0"], "{0}/A/1/0, {0}/A/2/0"),
        ({"ome": {"well": {}}}, ["0"], "{0}/0"),
        ({}, [*"abcdef"], "{0}/a, {0}/b, {0}/c, {0}/d, {0}/e, ..."),
        ({}, ["labels/a"], "none"),
        ({}, [], "none"),
        (description([IMAGE]), [], None),
    ],
)
def test_groups_of_several_images_are_refused_with_paths_to_choose(
    tmp_path, attributes, images, listed
):
    path = group_of(tmp_path / "a.zarr", attributes, images)
    if listed is None:
        # Two images that share arrays.
        image = attributes["ome"]["multiscales"]
        zarr.open_group(path).attrs["ome"] = {
            "version": "0.5",
            "multiscales": image * 2,
        }
        make_array(path / "0", IMAGE)
        listed = "{0}/0"

    with pytest.raises(ValueError, match="is not a single image") as caught:
        open_store(path)

    assert str(caught.value).partition("choose one of: ")[2] == listed.format(path)


def changed(told, *keys, value):
    place = told
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return told


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("ome", "version"), "0.6", "must be of version 0.4 or 0.5, got 0.6"),
        (("ome", "image-label"), {}, "holds labels, not an image"),
        (("ome", "multiscales", 0, "axes", 0, "name"), "y", "got 'YYX'"),
        (("ome", "multiscales", 0, "axes", 1, "name"), "r", "got 'CRX'"),
        (("ome", "multiscales", 0, "datasets", 0, "path"), "5", "it has no level '5'"),
        (
            ("ome", "multiscales", 0, "datasets", 0, "path"),
            "../0",
            "cannot be read: |no level",
        ),
        (("ome", "multiscales", 0, "axes"), ["c", "y", "x"], "cannot be read: "),
    ],
)
def test_images_that_are_not_understood_are_refused(tmp_path, keys, value, reason):
    told = description([IMAGE])
    if value == "y":
        told["ome"]["multiscales"][0]["axes"][0]["type"] = "space"
    told = changed(told, *keys, value=value)
    path = make_image(tmp_path / "a.zarr", [IMAGE], paths=["0"], attributes=told)

    with pytest.raises(ValueError, match=reason):
        open_store(path)


def test_what_is_no_store_is_told_from_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.zarr").write_text("x")
    for name in ("folder", "file.zarr", "nothing"):
        assert not is_store(tmp_path / name)
        with pytest.raises(ValueError, match="the image cannot be read"):
            open_store(tmp_path / name)
    for zarr_format in (2, 3):
        group = tmp_path / f"group{zarr_format}"
        zarr.create_group(group, zarr_format=zarr_format)
        make_array(group / "array", IMAGE, zarr_format=zarr_format)
        assert is_store(group)
        assert is_store(group / "array")


@pytest.mark.parametrize("version", ["3.1.2", "2.18.7", None])
def test_an_old_zarr_is_refused(monkeypatch, tmp_path, version):
    def found(name):
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)

    got = version or "none"
    with pytest.raises(ImportError, match=f"zarr must be 3.1.3 or later, got {got}"):
        open_store(tmp_path)


@pytest.mark.parametrize("version", ["3.1.3", "3.4.0rc1", "4.0"])
def test_a_newer_zarr_is_taken(monkeypatch, tmp_path, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)

    open_store(make_array(tmp_path / "a.zarr", IMAGE))


def test_the_identity_is_of_names_sizes_and_times_of_all_files(tmp_path):
    path = make_image(tmp_path / "a.zarr", [IMAGE])
    file = path / "0" / "zarr.json"
    before, status = identity_of(path), file.stat()

    path = path.rename(tmp_path / "b.zarr")
    assert identity_of(path) == before
    file = path / "0" / "zarr.json"
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert identity_of(path) != before
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity_of(path) == before
    file.rename(path / "0" / "a.json")
    assert identity_of(path) != before
    (path / "0" / "a.json").rename(file)
    (path / "0" / "new").write_text("")
    assert identity_of(path) != before
    assert identity_of(file) != identity_of(path / "0" / "new")


def test_the_identity_does_not_depend_on_the_order_in_which_files_are_found(
    tmp_path, monkeypatch
):
    path = make_image(tmp_path / "a.zarr", levels_of(IMAGE))

    def walk(folder, step=1):
        inner = sorted(p.name for p in Path(folder).iterdir() if p.is_dir())[::step]
        names = sorted(p.name for p in Path(folder).iterdir() if p.is_file())[::step]
        yield folder, inner, names
        for name in inner:
            yield from walk(os.path.join(folder, name), step)

    before = identity_of(path)
    monkeypatch.setattr(os, "walk", lambda folder: walk(folder, -1))
    assert identity_of(path) == before


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize(
    ("zarr_format", "how"),
    [
        (2, {"filters": numcodecs.Quantize(2, "<f4")}),
        (2, {"filters": numcodecs.Delta("<f4")}),
        (2, {"filters": numcodecs.FixedScaleOffset(0, 2, "<f4", "u1")}),
        (3, {"serializer": {"name": "numcodecs.pcodec", "configuration": {}}}),
    ],
)
def test_codecs_that_may_change_colors_are_refused(tmp_path, zarr_format, how):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=(9, 8), dtype="f4", zarr_format=zarr_format, **how)

    with pytest.raises(ValueError, match=r"codec '.*' may change colors"):
        ome_zarr.check_target(open_store(path), with_labels=False)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_store_that_is_being_removed_is_known_to_the_last(
    tmp_path, monkeypatch, version
):
    path = make_image(tmp_path / "a.zarr", levels_of(IMAGE), version=version)
    (path / "link").symlink_to(tmp_path)
    known = []

    def looking(remove):
        def look(*some, **how):
            known.append(ome_zarr.record_of(path))
            remove(*some, **how)

        return look

    # Metadata come first where nobody sorts.
    found = sorted(path.iterdir(), key=lambda each: "z" not in each.name)
    monkeypatch.setattr("pathlib.Path.iterdir", lambda _: iter(found))
    monkeypatch.setattr("pathlib.Path.unlink", looking(Path.unlink))
    monkeypatch.setattr("shutil.rmtree", looking(shutil.rmtree))
    ome_zarr.remove_store(path)

    assert not path.exists()
    assert tmp_path.exists()
    assert len(known) > 3
    assert None not in known


def test_attributes_are_read_as_they_are(tmp_path):
    told = {"né": [1.5, None, {"a": True}], "n": 10**18}
    path = make_array(tmp_path / "a.zarr", IMAGE, attributes=told)

    assert open_store(path).attributes == told
    assert json.loads((path / "zarr.json").read_text())["attributes"] == told
