import pickle
import re

import numpy as np
import pytest
import tifffile
import yaozarrs
from numpy.testing import assert_array_equal

from napari_kmeans._files import slides
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.pyramids import lazy_image
from napari_kmeans._files.read import read_image
from napari_kmeans._files.slides import is_slide, open_slide
from slides import SLIDE, write_pyramid, write_slide

DEEP = np.arange(2 * 100 * 150, dtype=np.uint16).reshape(2, 100, 150) * 5


@pytest.fixture(autouse=True)
def _closed():
    """Let no file stay open."""
    yield
    slides._opened.cache_clear()


def whole(level):
    return level[tuple(slice(0, n) for n in level.shape)]


@pytest.mark.parametrize(("stored", "kind"), [({}, 6), ({"outcolorspace": "rgb"}, 2)])
def test_a_slide_has_the_levels_and_sizes_that_its_scanner_wrote(
    tmp_path, stored, kind
):
    path = write_slide(tmp_path / "a.svs", n_levels=3, compressionargs=stored)
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].photometric == kind

    slide = open_slide(path)

    assert is_slide(path)
    micrometers = ("micrometer", "micrometer", "pixel")
    assert slide.metadata == ImageMetadata("YXS", (0.499, 0.499, 1.0), micrometers)
    assert [level.shape[:2] for level in slide.levels] == [
        (100, 150),
        (50, 75),
        (25, 38),
    ]
    for level, page in zip(slide.levels, (0, 2, 3), strict=True):
        assert level.chunks == (32, 48, 3)
        assert_array_equal(whole(level), tifffile.imread(path, key=page), strict=True)
    # The pixels of JPEG, which are close to those before.
    assert np.abs(whole(slide.levels[0]).astype(int) - SLIDE).mean() < 5


def test_a_part_of_a_slide_is_that_of_the_whole(tmp_path):
    path = write_slide(tmp_path / "a.svs")
    level = open_slide(path).levels[0]
    part = np.s_[30:70, 40:150, 1:3]
    assert_array_equal(level[part], tifffile.imread(path, key=0)[part])


@pytest.mark.parametrize(
    ("name", "image", "how", "axes"),
    [
        ("a.tif", SLIDE, {"compression": "zlib"}, "YXS"),
        ("a.tif", SLIDE[..., 0], {"compression": "jpeg"}, "YX"),
        ("a.tif", DEEP[0].astype(np.float32), {"predictor": False}, "YX"),
        ("a.ome.tif", DEEP, {"metadata": {"axes": "CYX"}}, "CYX"),
        ("a.ome.tif", DEEP, {"metadata": {"axes": "ZYX"}}, "ZYX"),
        ("a.ome.tif", DEEP[:, None], {"metadata": {"axes": "ZCYX"}}, "ZYX"),
        ("a.ome.tif", SLIDE, {"photometric": "rgb"}, "YXS"),
        ("a.tif", DEEP[0].astype(">u2"), {}, "YX"),
        ("a.tif", SLIDE, {"photometric": "minisblack", "planarconfig": 1}, "YXC"),
    ],
)
def test_a_pyramid_in_tiles_is_read_as_if_it_were_read_whole(
    tmp_path, name, image, how, axes
):
    path = write_pyramid(tmp_path / name, image, **how)
    slide = open_slide(path)
    assert is_slide(path)
    assert slide.metadata.axes == axes
    assert len(slide.levels) == 2
    lazy, read = lazy_image(slide), read_image(path)
    assert_array_equal(lazy.pixels.compute(), read.pixels, strict=True)
    assert lazy.metadata == read.metadata


def test_sizes_come_from_the_words_of_the_file(tmp_path):
    ome = {"axes": "YX", "PhysicalSizeX": 2.0, "PhysicalSizeXUnit": "nm"}
    named = write_pyramid(tmp_path / "a.ome.tif", DEEP[0], metadata=ome)
    assert open_slide(named).metadata.units == ("pixel", "nanometer")
    resolution = {"resolution": (50, 20), "resolutionunit": "centimeter"}
    plain = write_slide(tmp_path / "a.svs", mpp="", **resolution)
    assert open_slide(plain).metadata.scale[:2] == (1 / 20, 1 / 50)
    assert open_slide(write_slide(tmp_path / "b.svs", mpp="")).metadata.scale == ()


def test_sizes_of_another_image_are_not_taken(tmp_path):
    path, tile = tmp_path / "a.ome.tif", {"tile": (32, 48)}
    with tifffile.TiffWriter(path, ome=True) as file:
        label = {"PhysicalSizeX": 9.0, "PhysicalSizeY": 9.0}
        file.write(DEEP[0, :32, :48], metadata=label, **tile)
        file.write(DEEP[0], subifds=1, **tile)
        file.write(DEEP[0, ::2, ::2], subfiletype=1, **tile)
    slide = open_slide(path)
    assert [level.shape for level in slide.levels] == [(100, 150), (50, 75)]
    assert slide.metadata.scale == ()


@pytest.mark.parametrize(
    ("image", "how", "axes"),
    [
        (SLIDE, {"photometric": "rgb"}, "cyx"),
        (DEEP, {"metadata": {"axes": "ZYX"}}, "zyx"),
        (DEEP[:, None], {"metadata": {"axes": "TCYX"}}, "tyx"),
    ],
)
def test_a_slide_describes_itself_as_ome_zarr_does(tmp_path, image, how, axes):
    metadata = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25} | how.get("metadata", {})
    path = write_pyramid(
        tmp_path / "a.ome.tif", image, **(how | {"metadata": metadata})
    )

    told = open_slide(path).attributes

    (image,) = yaozarrs.validate_ome_object(told["ome"]).multiscales
    assert image.name == "a"
    assert "".join(axis.name for axis in image.axes) == axes
    assert image.axes[-1].unit == "micrometer"
    scales = [d.coordinateTransformations[0].scale for d in image.datasets]
    assert scales == [[1.0, 0.25, 0.5], [1.0, 0.5, 1.0]]
    colors = [c["color"] for c in told["ome"].get("omero", {}).get("channels", [])]
    assert colors == (["FF0000", "00FF00", "0000FF"] if axes == "cyx" else [])


def test_an_ordinary_file_is_no_slide(tmp_path, monkeypatch):
    striped, tiled, named = (tmp_path / n for n in ("a.tif", "b.tif", "c.svs"))
    tifffile.imwrite(striped, SLIDE, photometric="rgb")
    tifffile.imwrite(tiled, SLIDE, tile=(32, 48), photometric="rgb")
    named.write_bytes(b"\x89PNG\r\n")
    for path in (striped, tiled, named, tmp_path, tmp_path / "missing.svs"):
        assert not is_slide(path)
    monkeypatch.setattr(slides, "_MOST_WHOLE", SLIDE.size - 1)
    assert is_slide(tiled)
    assert not is_slide(striped)


@pytest.mark.parametrize(
    ("image", "how", "match"),
    [
        (SLIDE[..., 0], {"photometric": "miniswhite"}, "MINISWHITE, with axes YX, "),
        (
            SLIDE[..., 0] > 99,
            {"photometric": "minisblack"},
            "MINISBLACK, with axes YX, ",
        ),
        (np.dstack([SLIDE, SLIDE[..., :1]]), {"photometric": "rgb"}, "axes YXS"),
        (SLIDE[..., 0], {"colormap": np.zeros((3, 256), "u2")}, "PALETTE"),
        (np.moveaxis(SLIDE, -1, 0), {"photometric": "rgb"}, "axes SYX, .* NONE"),
        (SLIDE, {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}, "RGB"),
    ],
)
def test_samples_that_are_not_what_is_shown_are_left_to_reading_whole(
    tmp_path, image, how, match
):
    if image.shape[0] == 3:
        how = how | {"planarconfig": "separate"}
    path = write_pyramid(tmp_path / "a.tif", image, 1, **how)
    match = f"a slide of kind .*{match}.*, cannot be read"
    with pytest.raises(ValueError, match=match):
        open_slide(path)
    assert not is_slide(path)


def test_luma_and_chroma_in_jpeg_2000_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "_APERIO_YCBCR", 34712)
    path = write_slide(tmp_path / "a.svs", compression="jpeg2000")
    with pytest.raises(ValueError, match=r"RGB, .* compressed by JPEG2000, cannot be"):
        open_slide(path)


def test_several_pyramids_are_refused(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for _ in range(2):
            file.write(DEEP[0], subifds=1, tile=(32, 48))
            file.write(DEEP[0, ::2, ::2], subfiletype=1, tile=(32, 48))
    with pytest.raises(ValueError, match="the file holds several slides"):
        open_slide(path)


def test_only_the_tiles_that_are_asked_for_are_read(tmp_path):
    path = write_slide(tmp_path / "a.svs", compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[start : start + 20] = b"not what zlib writes"
    path.write_bytes(content)

    level = open_slide(path).levels[0]

    assert_array_equal(level[:32, :48, :], SLIDE[:32, :48])
    with pytest.raises(Exception, match=r"(?i)zlib|deflate"):
        whole(level)


def test_a_tile_that_claims_too_many_pixels_is_refused(tmp_path):
    path = write_slide(tmp_path / "a.svs", n_levels=3)
    content = path.read_bytes()
    claims = [m.start() for m in re.finditer(rb"\xff\xc0\0\x11\x08", content)]
    for place in (claims[0], claims[-1]):
        path.write_bytes(
            content[: place + 5] + b"\xff\xff\xff\xff" + content[place + 9 :]
        )
        with pytest.raises(ValueError, match="a strip or tile claims 12,884,508,675 s"):
            open_slide(path)


def test_a_level_is_opened_again_elsewhere_and_only_while_it_is_the_same(tmp_path):
    path = write_slide(tmp_path / "a.svs")
    level = pickle.loads(pickle.dumps(open_slide(path).levels[1]))
    slides._opened.cache_clear()
    assert_array_equal(whole(level), tifffile.imread(path, key=2))

    slides._opened.cache_clear()
    write_slide(path, SLIDE[::-1], compression="zlib")
    with pytest.raises(ValueError, match=r"a\.svs has changed since it was opened"):
        whole(level)
