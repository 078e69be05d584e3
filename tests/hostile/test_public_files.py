"""Files of palettes and indices, written with anything: they come back, or an error."""

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hostile.calling import attempt
from hostile.strategies import DTYPES, numbers
from napari_kmeans import (
    ImageMetadata,
    read_indexed,
    read_metadata,
    read_palette,
    write_indexed,
    write_palette,
)

LOSSLESS = (".json", ".npy")
WRONG_PATHS = ("a.txt", "a", "", "a.png.bak", Path("a.jpg"), "a.json\n")
WRONG_PALETTES = (
    np.zeros((0, 3), np.uint8), np.zeros((2, 2, 3), np.uint8), np.uint8(5), None,
    np.zeros((2, 0), np.uint8), np.zeros((2, 3), complex), [["a", "b", "c"]],
    np.zeros((65537, 3), np.uint8), np.ma.zeros((2, 3)), [[1, 2], [3]], object(),
    np.full((2, 3), np.nan), np.zeros((2, 3), "M8[s]"), {"a": 1},
)  # fmt: skip
WRONG_PROVENANCE = (
    [1], "k", 3, {1: 2}, {"k": [1]}, {"k": np.nan}, {"a\n": 1}, {"k": object()},
    {"k": np.float32(np.inf)}, {"k": b"1"}, {"k": 1j},
)  # fmt: skip
WRONG_NAMES = ("red", 3, [1, 2], ["a"] * 70000, [" a"] * 2, ["a\n"] * 2, [None] * 2)
# What is found there is no palette, or nothing, or no file.
WRONG_FILES = {
    ".gpl": b"GIMP Palette\n300 0 0\n", ".json": b"[1", ".npy": b"\x93NUMPY",
    ".hex": b"1", ".pal": b"JASC-PAL\n0100\n2\n1 2 3\n", ".gif": b"GIF89a", "": b"\0",
    ".png": b"\x89PNG\r\n\x1a\n", ".tif": b"II*\0\x08\0\0\0", ".txt": b"a",
}  # fmt: skip
WORDS = st.text(string.printable, max_size=5).map(
    lambda text: "".join(filter(str.isprintable, text)).strip()
)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@st.composite
def palette_files(draw):
    """Draw what `write_palette` is called with, and what of it is wrong."""
    suffix = draw(st.sampled_from((".gpl", ".json", ".npy", ".hex", ".pal")))
    dtypes, channels = ("u1",), (3,)
    if suffix == ".hex":
        channels = (3, 4)
    if suffix in LOSSLESS:
        dtypes, channels = DTYPES, (1, 2, 3, 4, 5)
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = (draw(st.integers(1, 6)),)
    if draw(st.booleans()):
        shape += (draw(st.sampled_from(channels)),)
    palette = draw(hnp.arrays(dtype, shape, elements=draw(numbers(dtype))))
    palette[~np.isfinite(palette)] = 1
    arguments = {"path": f"a{suffix}", "palette": palette}
    if draw(st.booleans()):
        arguments["palette"] = np.asfortranarray(palette.astype(dtype.newbyteorder()))
    if draw(st.booleans()):
        arguments["path"] = Path(arguments["path"])
    names = {"path", "palette", "provenance", "names"}
    if suffix in (".gpl", ".json"):
        if draw(st.booleans()):
            values = st.none() | st.integers() | st.booleans() | WORDS
            values |= st.sampled_from((np.float32(0.5), np.int64(7), 1e300))
            arguments["provenance"] = draw(st.dictionaries(WORDS, values, max_size=3))
        if draw(st.booleans()):
            arguments["names"] = [draw(WORDS) for _ in palette]
    wrong = set()
    if draw(st.integers(0, 9)) >= 7:
        wrong = draw(st.sets(st.sampled_from(sorted(names)), min_size=1, max_size=2))
    choices = {
        "path": WRONG_PATHS, "palette": WRONG_PALETTES, "names": WRONG_NAMES,
        "provenance": WRONG_PROVENANCE,
    }  # fmt: skip
    for name in sorted(wrong):
        arguments[name] = draw(st.sampled_from(choices[name]))
    return arguments, frozenset(wrong), palette


@st.composite
def indexed_files(draw):
    """Draw what `write_indexed` is called with, and what of it is wrong."""
    suffix = draw(st.sampled_from((".png", ".gif", ".tif", ".tiff", ".ome.tif")))
    is_tiff = "tif" in suffix
    n = draw(st.sampled_from((1, 2, 3, 5, 17, 256, *([257] if is_tiff else []))))
    dtype = draw(st.sampled_from(("u1", "u2"))) if is_tiff else "u1"
    channels = draw(st.sampled_from(((), (3,), *([(4,)] if suffix == ".png" else []))))
    palette = draw(hnp.arrays(dtype, (n, *channels), fill=st.just(0)))
    n_axes = draw(st.integers(2, 5 if is_tiff else 3))
    shape = tuple(draw(st.integers(1, 4)) for _ in range(n_axes))
    indices = st.integers(0, n - 1)
    kind = draw(st.sampled_from(("i8", "u2", ">i4", "u8")))
    labels = draw(hnp.arrays(kind, shape, elements=indices, fill=st.just(0)))
    arguments = {"path": f"a{suffix}", "labels": labels, "palette": palette}
    if draw(st.booleans()):
        arguments["labels"] = draw(
            st.sampled_from((labels.tolist(), np.asfortranarray(labels)))
        )
    if draw(st.booleans()):
        arguments["metadata"] = draw(metadata(n_axes, shape[0] if n_axes == 3 else 1))
    wrong = set()
    if draw(st.integers(0, 9)) >= 7:
        names = ("path", "labels", "palette", "metadata")
        wrong = draw(st.sets(st.sampled_from(names), min_size=1, max_size=2))
    choices = {
        "path": WRONG_PATHS,
        "labels": (
            labels + n, labels.astype(np.int64) - n, labels.astype(float), 5, None,
            np.zeros((0, 3), int), np.zeros(3, int), labels.astype(bool), "a",
            [[1], [2, 3]], np.ma.zeros((2, 2), int), np.full((2, 2), 1 << 63, "u8"),
        ),
        "palette": (
            *WRONG_PALETTES, np.zeros((n, 3), int), np.zeros((n, 3)),
            np.zeros((n, 2), np.uint8), np.zeros((n, 5), np.uint8),
        ),
        "metadata": (
            None, {}, (), "YX", ImageMetadata("YY"), ImageMetadata(axes=3),
            ImageMetadata("Y"), ImageMetadata("YX", scale=(1.0,)),
            ImageMetadata("YX", (1.0, -1.0), ("", "")), ImageMetadata(plays=-1),
            ImageMetadata(durations=(-1.0,)), ImageMetadata(durations=(np.nan,)),
            ImageMetadata(icc_profile="a"), ImageMetadata(plays=1.5),
            ImageMetadata("YX", (1e-31, 1.0), ("inch", "inch")),
            ImageMetadata("YX", (1.0, 1.0), ("a\n", "b")),
            ImageMetadata("YX", (10**400, 1), ("m", "m")),
        ),
    }  # fmt: skip
    for name in sorted(wrong):
        arguments[name] = draw(st.sampled_from(choices[name]))
    return arguments, frozenset(wrong), (labels, palette)


@st.composite
def metadata(draw, n_axes, n_frames):
    axes = {2: ("YX",), 3: ("TYX", "ZYX"), 4: ("TZYX",), 5: ("TZCYX",)}[n_axes]
    size = st.sampled_from((1e-30, 1e-6, 0.5, 1, 25.4, np.float32(3), 1e30))
    unit = st.sampled_from(("micrometer", "µm", "inch", "pixel", "second", "parsec"))
    sizes = draw(st.booleans())
    return ImageMetadata(
        draw(st.sampled_from(axes)),
        tuple(draw(size) for _ in range(n_axes)) if sizes else (),
        tuple(draw(unit) for _ in range(n_axes)) if sizes else (),
        None,
        draw(st.sampled_from(((), (0,) * n_frames, (0.04, 2, 1e6, 3)[:n_frames]))),
        draw(st.sampled_from((0, 1, np.int16(3), 65535, 1 << 40))),
    )


@given(drawn=st.one_of(palette_files(), indexed_files()))
def test_files_come_back(drawn):
    arguments, wrong, content = drawn
    is_indexed = "labels" in arguments
    attempt(write_indexed if is_indexed else write_palette, arguments, wrong)
    if wrong:
        return
    if is_indexed:
        check_indexed(arguments["path"], *content)
    else:
        check_palette(arguments["path"], content)


def check_palette(path, palette):
    found = attempt(read_palette, {"path": path})
    if Path(path).suffix in LOSSLESS:
        assert found.dtype == palette.dtype
    else:
        palette = (
            np.repeat(palette[:, np.newaxis], 3, 1) if palette.ndim == 1 else palette
        )
    assert found.shape == palette.shape
    assert found.tobytes() == palette.tobytes()


def check_indexed(path, labels, palette):
    found = attempt(read_indexed, {"path": path})
    rgb = np.repeat(palette[:, np.newaxis], 3, 1) if palette.ndim == 1 else palette
    is_film = Path(path).suffix in (".png", ".gif")
    labels = labels[0] if is_film and labels.ndim == 3 and len(labels) == 1 else labels
    assert (found.labels == labels).all()
    assert found.labels.shape == labels.shape
    assert (found.palette == rgb).all()
    assert found.palette.dtype == rgb.dtype
    assert isinstance(attempt(read_metadata, {"path": path}), ImageMetadata)


@given(
    function=st.sampled_from((read_palette, read_indexed, read_metadata)),
    suffix=st.sampled_from(sorted(WRONG_FILES)),
    kind=st.sampled_from(("file", "folder", "nothing", "empty")),
    is_path=st.booleans(),
)
def test_what_is_no_such_file_is_refused(function, suffix, kind, is_path):
    path = Path(f"{kind}{suffix}")
    if kind == "folder":
        path.mkdir(exist_ok=True)
    elif kind != "nothing":
        path.write_bytes(WRONG_FILES[suffix] if kind == "file" else b"")
    given_path = path if is_path else str(path)
    assert attempt(function, {"path": given_path}, may_refuse=bool) is None
