import io
import json
import os
import pickle

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import napari_kmeans
from napari_kmeans import read_palette, write_palette
from napari_kmeans._files.palettes import read_names

RED_BLUE = np.array([[255, 0, 0], [0, 0, 255]], dtype=np.uint8)
SUFFIXES = [".gpl", ".json", ".npy", ".hex", ".pal"]
DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]

shapes = st.one_of(
    st.tuples(st.integers(1, 9)), st.tuples(st.integers(1, 9), st.integers(1, 5))
)
palettes = st.sampled_from(DTYPES).flatmap(
    lambda code: hnp.arrays(
        np.dtype(code),
        shapes,
        elements=hnp.from_dtype(np.dtype(code), allow_nan=False, allow_infinity=False),
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("palettes")


@pytest.fixture
def read(tmp_path):
    """Read a palette from the content of a file."""

    def read(suffix, content):
        path = tmp_path / f"palette{suffix}"
        path.write_bytes(content)
        return read_palette(path)

    return read


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(array):
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def document(**changes):
    """A file of `write_palette` for gray levels 1 and 2, with changes."""
    whole = {
        "format": "napari-kmeans palette",
        "version": 1,
        "dtype": "uint8",
        "colors": [1, 2],
    }
    return json.dumps(whole | changes).encode()


@pytest.mark.parametrize("suffix", [".json", ".npy"])
@given(palette=palettes)
def test_every_bit_of_every_dtype_and_shape_comes_back(folder, suffix, palette):
    path = folder / f"palette{suffix}"
    write_palette(path, palette)
    back = read_palette(path)
    assert (back.dtype, back.shape) == (palette.dtype, palette.shape)
    assert back.tobytes() == palette.tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(palette=hnp.arrays(np.uint8, st.tuples(st.integers(1, 300), st.just(3))))
def test_rgb_comes_back_in_its_order_with_its_duplicates(folder, suffix, palette):
    path = folder / f"palette{suffix}"
    write_palette(path, palette)
    back = read_palette(path)
    assert back.dtype == np.uint8
    assert_array_equal(back, palette)


@given(palette=hnp.arrays(np.uint8, st.tuples(st.integers(1, 300), st.just(4))))
def test_opacity_comes_back_from_a_hex_file(folder, palette):
    path = folder / "palette.hex"
    write_palette(path, palette)
    assert_array_equal(read_palette(path), palette, strict=True)


@pytest.mark.parametrize("suffix", [".json", ".npy"])
@pytest.mark.parametrize(
    "palette",
    [
        np.array([0, 2**64 - 1], np.uint64),
        np.array([-(2**63), 2**63 - 1], np.int64),
        np.array([-0.0, 5e-324, 1.7976931348623157e308, 0.1], np.float64),
        np.array([1e-45, 0.1, 3.4028235e38], np.float32),
        np.array([6e-8, 0.1, 65504], np.float16),
    ],
)
def test_the_limits_of_a_dtype_come_back(tmp_path, suffix, palette):
    path = tmp_path / f"palette{suffix}"
    write_palette(path, palette)
    assert read_palette(path).tobytes() == palette.tobytes()


@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_every_memory_layout_comes_back_native_and_contiguous(tmp_path, suffix):
    palette = np.arange(12, dtype=">u2").reshape(4, 3)
    for layout in (palette, np.asfortranarray(palette), palette[::-2], palette.T):
        path = tmp_path / f"palette{suffix}"
        write_palette(path, layout)
        back = read_palette(path)
        assert back.dtype == np.uint16
        assert back.flags.c_contiguous
        assert back.flags.writeable
        assert_array_equal(back, layout)


def test_an_array_that_numpy_saved_by_columns_is_read(read):
    palette = np.arange(12.0).reshape(4, 3)
    back = read(".npy", npy(np.asfortranarray(palette)))
    assert back.flags.c_contiguous
    assert_array_equal(back, palette)


def test_65536_colors_come_back(tmp_path):
    palette = np.arange(3 * 65536, dtype=np.uint32).reshape(-1, 3)
    for path in (tmp_path / "palette.json", tmp_path / "palette.npy"):
        write_palette(path, palette)
        assert_array_equal(read_palette(path), palette)


@pytest.mark.parametrize("suffix", [".GPL", ".Json", ".NPY", ".Hex", ".Pal"])
def test_case_of_the_suffix_does_not_matter(tmp_path, suffix):
    write_palette(tmp_path / f"palette{suffix}", RED_BLUE)
    assert_array_equal(read_palette(str(tmp_path / f"palette{suffix}")), RED_BLUE)


@pytest.mark.parametrize("suffix", [".gpl", ".hex", ".pal"])
def test_gray_becomes_rgb_in_files_without_gray(tmp_path, suffix):
    path = tmp_path / f"gray{suffix}"
    write_palette(path, np.array([7, 200], np.uint8))
    assert_array_equal(read_palette(path), [[7] * 3, [200] * 3])


def test_a_gimp_file_is_what_gimp_specifies(tmp_path):
    path = tmp_path / "my flag.gpl"
    write_palette(path, RED_BLUE, provenance={"k": 2, "note": "a\nb"})
    assert path.read_bytes().decode().split("\n") == [
        "GIMP Palette",
        "Name: my flag",
        "# Written by napari-kmeans",
        f'# version: "{napari_kmeans.__version__}"',
        "# k: 2",
        r'# note: "a\nb"',
        "255   0   0\tff0000",
        "  0   0 255\t0000ff",
        "",
    ]


@pytest.mark.parametrize("name", ["Bäume", "two\nlines", "not\udcffutf8"])
def test_any_file_name_is_a_name_of_one_line(tmp_path, name):
    path = tmp_path / f"{name}.gpl"
    write_palette(path, RED_BLUE)
    assert_array_equal(read_palette(path), RED_BLUE)
    title = path.read_bytes().decode().split("\n")[1]
    assert title == f"Name: {name}".replace("\n", " ").replace("\udcff", " ")


def test_json_holds_numbers_and_their_provenance(tmp_path):
    provenance = {"k": np.int64(2), "iters": 10, "seed": None, "mse": np.float32(0.5)}
    write_palette(tmp_path / "palette.json", RED_BLUE, provenance=provenance)
    assert json.loads((tmp_path / "palette.json").read_bytes()) == {
        "format": "napari-kmeans palette",
        "version": 1,
        "provenance": {
            "version": napari_kmeans.__version__,
            "k": 2,
            "iters": 10,
            "seed": None,
            "mse": 0.5,
        },
        "dtype": "uint8",
        "colors": [[255, 0, 0], [0, 0, 255]],
    }


def test_json_has_a_line_for_each_color(tmp_path):
    write_palette(tmp_path / "palette.json", RED_BLUE)
    lines = (tmp_path / "palette.json").read_text().splitlines()
    assert lines[-4:] == ["    [255, 0, 0],", "    [0, 0, 255]", "  ]", "}"]


def test_version_is_that_of_the_package_unless_it_is_given(tmp_path):
    path = tmp_path / "palette.json"
    write_palette(path, RED_BLUE)
    kept = json.loads(path.read_bytes())["provenance"]
    assert kept == {"version": napari_kmeans.__version__}
    write_palette(path, RED_BLUE, provenance={"version": "0.0.1"})
    assert json.loads(path.read_bytes())["provenance"] == {"version": "0.0.1"}


# As GIMP, Inkscape, Krita, Aseprite, Lospec, and hands write them.
@pytest.mark.parametrize(
    "lines",
    [
        [b"Name: Flag", b"Columns: 16", b"#", b"255   0   0\tRed", b"  0   0 255\t"],
        [
            b"Name: Flag",
            b"# made by hand",
            b"255   0   0  Red (#FF0000)",
            b"  0  0 255",
        ],
        [b"Name: Flag", b"Columns: 0", b"#", b"255 0 0 Untitled", b"0 0 255 Untitled"],
        [b"#Palette Name: Flag", b"#", b"255\t0\t0\tff0000", b"0\t0\t255\t0000ff"],
        [b"Channels: RGB", b"255 0 0 12 monkeys", b"0 0 255 Sky: blue"],
        [b"Name: \xc3\xa4", b"", b"  ", b"\t255 0 0 ", b"# 1 2 3", b"0 0 255", b""],
        [b"Name: \xe4", b"255 0 0 Ros\xe9", b"000 000 255 # no comment"],
        [b"255 0 0", b"0 0 255"],
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("start", [b"GIMP Palette", b"\xef\xbb\xbfGIMP Palette  "])
def test_gimp_files_of_all_programs_are_read(read, start, end, lines):
    palette = read(".gpl", end.join([start, *lines]))
    assert palette.dtype == np.uint8
    assert_array_equal(palette, RED_BLUE)


def test_opacity_of_aseprite_is_read(read):
    content = (
        b"GIMP Palette\nChannels: RGBA\n#\n"
        b"  0   0   0   0 Transparent\n254  91  89 255 Red\n 1 2 3 4\n"
    )
    assert_array_equal(
        read(".gpl", content), [[0, 0, 0, 0], [254, 91, 89, 255], [1, 2, 3, 4]]
    )


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "line 1 must be 'GIMP Palette', got ''"),
        (b"JASC-PAL\n0100\n", "line 1 must be 'GIMP Palette', got 'JASC-PAL'"),
        (b"GIMP Palette v3\n1 2 3", "line 1 must be .* got 'GIMP Palette v3'"),
        (b"\xff\xfeG\0I\0M\0P\0", "line 1 must be 'GIMP Palette'"),
        (b"GIMP Palette\n1 2 3\n\n300 0 0\n", "line 4 must have 3 integers from 0 to"),
        (b"GIMP Palette\n-1 0 0 a\n", "line 2 must have .* got '-1 0 0 a'"),
        (b"GIMP Palette\n1 2\n", "line 2 must have 3 integers .* got '1 2'"),
        (b"GIMP Palette\n1.5 2 3\n", "line 2 must have 3 integers .* got '1.5 2 3'"),
        (b"GIMP Palette\n1,2,3\n", "line 2 must have 3 integers .* got '1,2,3'"),
        (b"GIMP Palette\n\xd9\xa1 2 3\n", "line 2 must have 3 integers"),
        (b"GIMP Palette\n1 2 3\nhello\n", "line 3 must have .* got 'hello'"),
        (b"GIMP Palette\n1 2 3\nName: x\n", "line 3 must have .* got 'Name: x'"),
        (b"GIMP Palette\n1 2 " + b"9" * 5000, "line 2 must have .*9…'$"),
        (b"GIMP Palette\nChannels: RGBA\n1 2 3 Red\n", "line 3 must have 4 integers"),
        (b"GIMP Palette\nName: None\n", "must have 1 to 65536 colors, got 0"),
        (b"GIMP Palette\n" + b"1 2 3\n" * 65537, "1 to 65536 colors, got 65537"),
    ],
)
def test_a_bad_gimp_file_is_refused_by_line(read, content, match):
    with pytest.raises(
        ValueError, match=rf"(?s)cannot read palette '.*gpl': .*{match}"
    ):
        read(".gpl", content)


def test_a_hex_file_has_a_line_of_digits_for_each_color(tmp_path):
    write_palette(tmp_path / "flag.hex", RED_BLUE)
    assert (tmp_path / "flag.hex").read_bytes() == b"ff0000\n0000ff\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n \n"])
@pytest.mark.parametrize(
    "lines",
    [[b"FF0000", b"0000FF"], [b"#ff0000", b" #0000ff ", b""], [b"ff0000", b"0000Ff"]],
)
def test_hex_files_of_all_programs_are_read(read, start, end, lines):
    palette = read(".hex", start + end.join(lines))
    assert_array_equal(palette, RED_BLUE, strict=True)
    palette[0] = 1


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "must have 1 to 65536 colors, got 0"),
        (b"\n\n", "must have 1 to 65536 colors, got 0"),
        (b"ff0000\n\nff00\n", "line 3 must have 6 hexadecimal digits, got 'ff00'"),
        (b"ff0000\nff0000ff", "line 2 must have 6 hexadecimal digits, got 'ff0000ff'"),
        (b"ff0000ff\nff0000", "line 2 must have 8 hexadecimal digits, got 'ff0000'"),
        (b"fff", "line 1 must have 6 or 8 hexadecimal digits, got 'fff'"),
        (b"ff000g", "line 1 must have 6 or 8 hexadecimal digits, got 'ff000g'"),
        (b"##ff0000", "line 1 must have 6 or 8 hexadecimal digits"),
        (b"0xff00", "line 1 must have 6 or 8 hexadecimal digits"),
        (b":10010000214601360121470136007EFE09D2190140", "line 1 must .*got ':1001"),
        (b"f f 0 0 0 0", "line 1 must have 6 or 8 hexadecimal digits"),
        (b"\xd9\xa1" * 3, "line 1 must have 6 or 8 hexadecimal digits"),
        (b"ff0000\n" * 65537, "1 to 65536 colors, got 65537"),
    ],
)
def test_a_bad_hex_file_is_refused_by_line(read, content, match):
    with pytest.raises(ValueError, match=rf"cannot read palette '.*hex': .*{match}"):
        read(".hex", content)


def test_json_of_other_layout_is_read(read):
    content = document(dtype="float32", colors=[[0, 0.5], [1, 1e-3]], note="by hand")
    palette = read(".json", b"\xef\xbb\xbf" + content.replace(b", ", b"\r\n,\t"))
    assert palette.dtype == np.float32
    assert_array_equal(palette, np.array([[0, 0.5], [1, 1e-3]], np.float32))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "Expecting value: line 1 column 1"),
        (document()[:-9], "Expecting .* line 1 column"),
        (b"\xff\xff", "can't decode byte"),
        (b"[" * 100_000, "it is nested too deep"),
        (b"[[255, 0, 0]]", '"format" must be "napari-kmeans palette"'),
        (b'{"colors": [1]}', '"format" must be "napari-kmeans palette"'),
        (document(version=2), r'"version" must be 1, got 2'),
        (document(dtype="object"), "\"dtype\" must be one of bool, .* got 'object'"),
        (document(dtype=["uint8"]), '"dtype" must be one of'),
        (document(colors={"r": 1}), '"colors" must be a list'),
        (document(colors=[]), "must have 1 to 65536 colors, got 0"),
        (document(colors=[[], []]), r"shape \(K, C\) or \(K,\), got \(2, 0\)"),
        (document(colors=[1] * 65537), "1 to 65536 colors, got 65537"),
        (document(colors=[300]), "colors must be in the range of uint8"),
        (document(colors=[-1]), "colors must be in the range of uint8"),
        (document(dtype="float16", colors=[7e4]), "in the range of float16"),
        (document(dtype="float64", colors=[10**400]), "in the range of float64"),
        (document(dtype="float64", colors=[float("nan")]), "must be finite, got NaN"),
        (document(dtype="float64").replace(b"2]", b"1e999]"), "finite, got inf"),
        (
            document(colors=[1, 2.0]),
            "color 2 must be like the first, of uint8, got 2.0",
        ),
        (document(colors=[1, True]), "color 2 must be .* got True"),
        (document(dtype="bool"), "color 1 must be like the first, of bool, got 1"),
        (document(colors=[1, "2"]), "color 2 must be .* got '2'"),
        (document(colors=[1, None]), "color 2 must be .* got None"),
        (document(colors=[[1, 2], [3]]), r"color 2 must be .* got \[3\]"),
        (document(colors=[[1, 2], 3]), "color 2 must be .* got 3"),
        (document(colors=[1, [2]]), "color 1 must be .* got 1"),
        (document(colors=[[[1]]]), r"color 1 must be .* got \[\[1\]\]"),
    ],
)
def test_a_bad_json_file_is_refused(read, content, match):
    with pytest.raises(ValueError, match=rf"cannot read palette '.*json': .*{match}"):
        read(".json", content)


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it is not an array of NumPy, or damaged"),
        (b"text", "it is not an array of NumPy, or damaged"),
        (pickle.dumps(Bomb()), "it is not an array of NumPy, or damaged"),
        (
            b"\x93NUMPY\x03\x00\x00\x00\x00\x00",
            "it is not an array of NumPy, or damaged",
        ),
        (
            b"\x93NUMPY\x01\x00\x09\x00{'descr':",
            "it is not an array of NumPy, or damaged",
        ),
        (
            npy(RED_BLUE).replace(b"(2, 3)", b"(2,9+9)"),
            "it is not an array of NumPy, or damaged",
        ),
        (
            npy(RED_BLUE).replace(b"'shape'", b"1234567"),
            "it is not an array of NumPy, or damaged",
        ),
        (
            b"\x93NUMPY\x01\x00\xff\x1f" + b"-" * 0x1FFF,
            "it is not an array of NumPy, or damaged",
        ),
        (npy(np.array([Bomb()])), "it is not an array of NumPy, or damaged"),
        (npz(RED_BLUE), "it is an archive of arrays"),
        (
            npy(np.array(["red"])),
            "must have a boolean, integer or float dtype, got <U3",
        ),
        (npy(np.array([1j])), "must have a .* dtype, got complex128"),
        (npy(RED_BLUE)[:-1], "it is not an array of NumPy, or damaged"),
        (
            npy(RED_BLUE).replace(b"3), }       ", b"9999999), } "),
            "it is not an array of NumPy, or damaged",
        ),
        (
            npy(RED_BLUE).replace(b"(2, 3)", b"(2,-3)"),
            "it is not an array of NumPy, or damaged",
        ),
        (npy(np.array(3)), r"shape \(K, C\) or \(K,\), got \(\)"),
        (npy(np.zeros((2, 2, 2))), r"shape \(K, C\) or \(K,\), got \(2, 2, 2\)"),
        (npy(np.zeros((2, 0))), r"shape \(K, C\) or \(K,\), got \(2, 0\)"),
        (npy(np.zeros((0, 3))), "must have 1 to 65536 colors, got 0"),
        (npy(np.zeros((65537, 1), bool)), "1 to 65536 colors, got 65537"),
        (npy(np.array([1, np.nan])), "must be finite, got nan"),
        (npy(np.array([1, -np.inf])), "must be finite, got -inf"),
    ],
)
def test_a_bad_npy_file_is_refused(read, content, match):
    with pytest.raises(ValueError, match=rf"cannot read palette '.*npy': .*{match}"):
        read(".npy", content)


@pytest.mark.parametrize(
    ("palette", "error", "match"),
    [
        (np.zeros((0, 3)), ValueError, "palette must have 1 to 65536 colors, got 0"),
        (np.zeros(65537), ValueError, "palette must have 1 to 65536 colors, got 65537"),
        (np.zeros((2, 0)), ValueError, r"palette must have shape .* got \(2, 0\)"),
        (np.zeros((1, 2, 3)), ValueError, r"palette .* \(K,\), got \(1, 2, 3\)"),
        (np.uint8(3), ValueError, r"palette must have shape .* got \(\)"),
        ([np.nan], ValueError, "palette must be finite, got nan"),
        (["red"], TypeError, "palette must have a boolean, .* dtype, got <U3"),
        ([1j], TypeError, "palette must have a .* dtype, got complex128"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_palette_is_refused(tmp_path, suffix, palette, error, match):
    with pytest.raises(error, match=match):
        write_palette(tmp_path / f"palette{suffix}", palette)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("palette", "error", "match"),
    [
        (
            np.zeros((2, 3), np.uint16),
            TypeError,
            "dtype uint8 in a .gpl file, got uint16; .json and .npy hold every dtype",
        ),
        (
            np.zeros((2, 4), np.uint8),
            ValueError,
            r"shape \(K, 3\) or \(K,\) in a .gpl file, got \(2, 4\); choose \.hex",
        ),
        (np.zeros((2, 1), np.uint8), ValueError, r"shape \(K, 3\) .* got \(2, 1\)"),
    ],
)
def test_what_only_other_files_hold_is_refused(tmp_path, palette, error, match):
    with pytest.raises(error, match=f"palette must have {match}"):
        write_palette(tmp_path / "palette.gpl", palette)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("palette", "error", "match"),
    [
        (
            np.zeros((2, 3), np.float32),
            TypeError,
            "dtype uint8 in a .hex file, got float32; .json and .npy hold every dtype",
        ),
        (
            np.zeros((2, 2), np.uint8),
            ValueError,
            r"shape \(K, 3\), \(K, 4\) or \(K,\) in a .hex file, got \(2, 2\); .json",
        ),
    ],
)
def test_hex_files_hold_only_rgb_and_opacity_of_8_bits(tmp_path, palette, error, match):
    with pytest.raises(error, match=f"palette must have {match}"):
        write_palette(tmp_path / "palette.hex", palette)
    assert list(tmp_path.iterdir()) == []


def test_long_floats_fit_npy_only(tmp_path):
    palette = np.array([1, 2], np.longdouble) / 3
    write_palette(tmp_path / "palette.npy", palette)
    assert_array_equal(read_palette(tmp_path / "palette.npy"), palette)
    with pytest.raises(TypeError, match=r"at most 64 bits a value in a .json file"):
        write_palette(tmp_path / "palette.json", palette)


@pytest.mark.parametrize(
    ("provenance", "error", "match"),
    [
        ("k=2", TypeError, "provenance must be a mapping or None, got 'k=2'"),
        ([("k", 2)], TypeError, r"provenance must be a mapping or None, got \[\('k"),
        ({2: "k"}, TypeError, "provenance must have printable names, got 2"),
        ({"a\nb": 1}, TypeError, r"provenance must have printable names, got 'a\\nb'"),
        ({"ks": [1, 2]}, TypeError, r"as values, got \[1, 2\] for 'ks'"),
        ({"k": np.arange(2)}, TypeError, r"as values, got array\(\[0, 1\]\) for 'k'"),
        ({"mse": np.nan}, ValueError, "provenance must be finite, got nan for 'mse'"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_provenance_is_plain(tmp_path, suffix, provenance, error, match):
    with pytest.raises(error, match=match):
        write_palette(tmp_path / f"a{suffix}", RED_BLUE, provenance=provenance)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".npy", ".hex"])
def test_plain_colors_have_no_place_for_provenance(tmp_path, suffix):
    match = rf"provenance has no place in a {suffix} file, .*2"
    with pytest.raises(ValueError, match=match):
        write_palette(tmp_path / f"palette{suffix}", RED_BLUE, provenance={"k": 2})
    assert list(tmp_path.iterdir()) == []


# Names of colors.


NAMES = ["nuclei", "Zellkörper · β-tubulin 細胞", "12 # 3  4:5", '"', "n" * 1000]


@pytest.mark.parametrize("suffix", [".gpl", ".json"])
@pytest.mark.parametrize("name", NAMES)
def test_names_come_back_with_colors_that_have_none_between(tmp_path, suffix, name):
    path = tmp_path / f"palette{suffix}"
    write_palette(path, RED_BLUE, names=["", name])
    assert read_names(path) == ("", name)
    assert_array_equal(read_palette(path), RED_BLUE, strict=True)


printable = st.text().map(
    lambda text: "".join(letter for letter in text if letter.isprintable()).strip()
)


@pytest.mark.parametrize("suffix", [".gpl", ".json"])
@given(names=st.lists(printable, min_size=2, max_size=2))
def test_every_printable_name_comes_back(folder, suffix, names):
    path = folder / f"palette{suffix}"
    write_palette(path, RED_BLUE, names=names)
    assert read_names(path) == tuple(names)


@pytest.mark.parametrize("names", [["", ""], np.array(["", ""]), None])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_name_at_all_is_what_a_file_without_names_has(tmp_path, suffix, names):
    path = tmp_path / f"palette{suffix}"
    write_palette(path, RED_BLUE)
    before = path.read_bytes()
    write_palette(path, RED_BLUE, names=names)
    assert path.read_bytes() == before
    assert read_names(path) == ("", "")


def test_names_of_a_gimp_file_are_those_that_gimp_shows(tmp_path):
    path = tmp_path / "palette.gpl"
    write_palette(path, RED_BLUE, names=np.array(["nuclei", ""]))
    assert path.read_text().splitlines()[-2:] == [
        "255   0   0\tnuclei",
        "  0   0 255\t0000ff",
    ]


def test_json_with_names_is_what_it_is_without_and_its_names(tmp_path):
    write_palette(tmp_path / "with.json", RED_BLUE, names=["nuclei", ""])
    write_palette(tmp_path / "without.json", RED_BLUE)
    found, plain = (
        json.loads((tmp_path / f"{name}.json").read_bytes())
        for name in ("with", "without")
    )
    assert found == plain | {"names": ["nuclei", ""]}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"1 2 3", ""),
        (b"1 2 3 ", ""),
        (b" 1\t2\t3   Sky  Blue ", "Sky  Blue"),
        (b"1 2 3\tUntitled", ""),
        (b"1 2 3\t#010203", ""),
        (b"1 2 3\t0A0B0C", "0A0B0C"),
        (b"10 11 12\t0A0B0C", ""),
        (b"1 2 3\ttab\there", "tab here"),
        ("1 2 3\tgrün".encode(), "grün"),
        ("1 2 3\tgrün".encode("latin-1"), "grün"),
        (b"1 2 3 4", "4"),
    ],
)
def test_names_of_gimp_files_of_all_programs_are_read(tmp_path, line, name):
    path = tmp_path / "palette.gpl"
    path.write_bytes(b"GIMP Palette\n#\n" + line + b"\n9 9 9 nine\n")
    assert read_names(path) == (name, "nine")


def test_names_beside_opacity_are_read(tmp_path):
    path = tmp_path / "palette.gpl"
    path.write_bytes(b"GIMP Palette\nChannels: RGBA\n1 2 3 4 sky\n1 2 3 5 Untitled\n")
    assert read_names(path) == ("sky", "")


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        ("ab", TypeError, "names must be a sequence of strings, got 'ab'"),
        (5, TypeError, "names must be a sequence of strings, got 5"),
        (["a", 5], TypeError, "names must be strings, got 5"),
        (["a", None], TypeError, "names must be strings, got None"),
        (["a"], ValueError, "names must be one for each of 2 colors, got 1"),
        (["", "", ""], ValueError, "names must be one for each of 2 colors, got 3"),
        (["a", "b\nc"], ValueError, r"names must be printable, .*, got 'b\\nc'"),
        (["a", "b\tc"], ValueError, r"without spaces at the ends, got 'b\\tc'"),
        (["a", "\x7f"], ValueError, r"names must be printable, .*, got '\\x7f'"),
        (["a", "\ud800"], ValueError, r"names must be printable, .*, got '\\ud800'"),
        (["a", "\u2028"], ValueError, r"names must be printable, .*, got '\\u2028'"),
        (["a", " b"], ValueError, "without spaces at the ends, got ' b'"),
        (["a", " "], ValueError, "without spaces at the ends, got ' '"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_are_printable_and_one_for_each_color(
    tmp_path, suffix, names, error, match
):
    path = tmp_path / f"palette{suffix}"
    with pytest.raises(error, match=match):
        write_palette(path, RED_BLUE, names=names)
    assert not path.exists()


@pytest.mark.parametrize("suffix", [".npy", ".hex"])
def test_plain_colors_have_no_place_for_names(tmp_path, suffix):
    rule = rf"names have no place in a {suffix} file, only in .gpl and .json, got \('a'"
    with pytest.raises(ValueError, match=rule):
        write_palette(tmp_path / f"palette{suffix}", RED_BLUE, names=["a", ""])


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ("a", '"names" must be a list'),
        (["a"], "names must be one for each of 2 colors, got 1"),
        (["a", 1], "names must be strings, got 1"),
        (["a", "b\n"], r"names must be printable, .*, got 'b\\n'"),
    ],
)
@pytest.mark.parametrize("reads", [read_names, read_palette])
def test_json_with_bad_names_is_refused(tmp_path, reads, names, match):
    path = tmp_path / "palette.json"
    path.write_bytes(document(names=names))
    with pytest.raises(ValueError, match=rf"cannot read palette .*: {match}"):
        reads(path)


@pytest.mark.parametrize("name", ["palette", "palette.png", "palette.gpl.txt", ".gpl"])
def test_other_suffixes_are_refused(tmp_path, name):
    match = "path must end in .gpl, .json, .npy, .hex or .pal, got "
    with pytest.raises(ValueError, match=match):
        write_palette(tmp_path / name, RED_BLUE)
    with pytest.raises(ValueError, match=match):
        read_palette(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_an_error_of_the_system(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"missing{suffix}"):
        read_palette(tmp_path / f"missing{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    def fail(*_):
        raise OSError(28, "No space left")

    path = tmp_path / f"palette{suffix}"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_palette(path, RED_BLUE)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_never_gives_another_error(read, tmp_path, suffix):
    write_palette(tmp_path / f"palette{suffix}", RED_BLUE)
    whole = (tmp_path / f"palette{suffix}").read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(1000):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = rng.integers(256)
        del damaged[rng.integers(len(whole) // 2, 2 * len(whole)) :]
        try:
            read(suffix, bytes(damaged))
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith("cannot read palette ") for message in messages)


def test_a_jasc_file_is_what_paint_shop_pro_writes(tmp_path):
    write_palette(tmp_path / "flag.pal", RED_BLUE)
    content = (tmp_path / "flag.pal").read_bytes()
    assert content == b"JASC-PAL\r\n0100\r\n2\r\n255 0 0\r\n0 0 255\r\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_jasc_files_of_all_programs_are_read(read, start, end):
    lines = [b"JASC-PAL ", b"0100", b" 2", b"255  0\t0 ", b"0 0 255", b"", b""]
    palette = read(".pal", start + end.join(lines))
    assert_array_equal(palette, RED_BLUE, strict=True)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "line 1 must be 'JASC-PAL', got ''"),
        (b"RIFF\x10\0\0\0PAL data", "it is a RIFF palette; save it as a JASC palette"),
        (b"JASC-PAL\n0200\n1\n1 2 3", "line 2 must be '0100', got '0200'"),
        (b"JASC-PAL\n0100", "line 3 must be 0, .* got ''"),
        (b"JASC-PAL\n0100\n0\n", "must have 1 to 65536 colors, got 0"),
        (b"JASC-PAL\n0100\n2\n1 2 3", "line 3 must be 1, the number .* got '2'"),
        (b"JASC-PAL\n0100\n1\n1 2 3 4", "line 4 must have 3 integers .* got '1 2 3 4'"),
        (b"JASC-PAL\n0100\n1\n1 2 256", "line 4 must have 3 integers .* '1 2 256'"),
        (b"JASC-PAL\n0100\n2\n1 2 3\n1 -2 3", "line 5 must have .* '1 -2 3'"),
    ],
)
def test_a_bad_jasc_file_is_refused_by_line(read, content, match):
    with pytest.raises(ValueError, match=f"cannot read palette '.*pal': .*{match}"):
        read(".pal", content)


def test_opacity_has_no_place_in_a_jasc_file(tmp_path):
    match = r"\(K, 3\) or \(K,\) in a .pal file, got \(1, 4\); choose .hex"
    with pytest.raises(ValueError, match=match):
        write_palette(tmp_path / "a.pal", np.zeros((1, 4), np.uint8))
