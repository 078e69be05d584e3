import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image, ImageCms

from command_line import pixels, refusal, run
from napari_kmeans import read_metadata
from napari_kmeans._files import color_profiles
from napari_kmeans._files.color_profiles import (
    cicp_of,
    in_srgb,
    profile_of_png,
    rgb_profile,
)
from napari_kmeans._files.read import read_image

LINEAR = {b"gAMA": struct.pack(">I", 100_000)}
P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
LEVELS = np.array([0, 1, 9, 64, 128, 200, 255], np.uint8)
# Saturated and pale colors that are in sRGB as well.
COLORS = np.array([[200, 100, 50], [120, 130, 90], [0, 0, 0], [255, 255, 255]], "u1")


def primaries(numbers):
    return struct.pack(">8I", *(round(100_000 * number) for number in numbers))


def encoded(light):
    """Light from 0 to 1 as levels of sRGB (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    curved = 1.055 * light ** (1 / 2.4) - 0.055
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, curved))


def decoded(levels):
    x = np.asarray(levels) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def png_file(array, chunks, color_type, depth=8):
    """A PNG file with chunks of its own, which Pillow would not write."""
    content = b"\x89PNG\r\n\x1a\n"
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    rows = array.reshape(height, -1).view(np.uint8)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    for kind, body in [
        (b"IHDR", header),
        *chunks.items(),
        (b"IDAT", data),
        (b"IEND", b""),
    ]:
        content += struct.pack(">I", len(body)) + kind + body
        content += struct.pack(">I", zlib.crc32(kind + body))
    return content


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A PNG file of few colors, or gray levels, in the folder of the process."""
    monkeypatch.chdir(tmp_path)

    def write(chunks, *, is_gray=False):
        array = LEVELS[np.newaxis] if is_gray else COLORS[np.newaxis]
        kind = 0 if is_gray else 2
        (tmp_path / "photo.png").write_bytes(png_file(array, chunks, kind))
        return array

    return write


def meant(name):
    """What the colors of a file are in sRGB, by its own profile."""
    image = read_image(name)
    profile = image.metadata.icc_profile
    shown = image.pixels if profile is None else in_srgb(image.pixels, profile)
    if not image.has_channels:
        shown = shown[..., np.newaxis].repeat(3, axis=-1)
    return shown.astype(int)


@pytest.mark.parametrize("gamma", [1.0, 0.55, 0.4])
@pytest.mark.parametrize("is_gray", [False, True])
def test_a_gamma_is_a_power(gamma, is_gray):
    chunks = {b"gAMA": struct.pack(">I", round(gamma * 100_000))}
    profile = profile_of_png(chunks, is_gray=is_gray)
    levels = LEVELS if is_gray else LEVELS[:, np.newaxis].repeat(3, axis=1)
    expected = encoded((levels / 255) ** (1 / gamma))
    found = in_srgb(levels[np.newaxis], profile)[0]
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found.astype(int) - levels).max() > 5


def test_primaries_are_those_of_the_file():
    # Linear light of Display P3 to that of sRGB, rows of the product of both matrices.
    to_srgb = [[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]]
    expected = encoded(decoded(COLORS) @ np.transpose(to_srgb))
    for chunks in ({b"cHRM": primaries(P3)}, {b"cICP": bytes([12, 13, 0, 1])}):
        profile = profile_of_png(chunks, is_gray=False)
        found = in_srgb(COLORS[np.newaxis], profile)[0]
        assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    "chunks",
    [
        {},
        {b"sRGB": b"\0", **LINEAR},
        {b"gAMA": struct.pack(">I", 45455), b"cHRM": primaries(SRGB)},
        {b"gAMA": struct.pack(">I", 45455)},
        {b"cHRM": primaries(SRGB)},
        {b"cICP": bytes([1, 13, 0, 1]), **LINEAR},
        {b"iCCP": b"of Pillow", **LINEAR},
        # Damaged, or of no colors.
        {b"gAMA": bytes(4)},
        {b"gAMA": b"1"},
        {b"cHRM": bytes(32)},
        {b"cHRM": primaries((0.3, 0.3) * 4)},
    ],
)
def test_what_means_srgb_or_nothing_is_no_profile(chunks):
    assert profile_of_png(chunks, is_gray=False) is None


@pytest.mark.parametrize("transfer", [1, 4, 5, 6, 8, 13, 14, 15, 16, 18])
@pytest.mark.parametrize("is_gray", [False, True])
def test_cicp_is_kept_in_a_profile_that_others_read(transfer, is_gray):
    cicp = bytes([9, transfer, 0, 1])
    profile = profile_of_png({b"cICP": cicp, **LINEAR}, is_gray=is_gray)
    assert cicp_of(profile) == cicp
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    assert opened.profile.xcolor_space.strip() == ("GRAY" if is_gray else "RGB")
    levels = LEVELS[np.newaxis] if is_gray else LEVELS[np.newaxis, :, np.newaxis]
    levels = levels if is_gray else levels.repeat(3, axis=-1)
    found = in_srgb(levels, profile)[0].reshape(len(LEVELS), -1)[:, 0].astype(int)
    assert found[0] == 0
    assert found[-1] == 255
    assert (np.diff(found) >= 0).all()


def test_white_paper_beside_hdr_is_white():
    # 203 candela per square meter: 58 % of PQ, 75 % of HLG (ITU-R BT.2408).
    for transfer, white in ((16, 0.58), (18, 0.75)):
        cicp = bytes([9, transfer, 0, 1])
        profile = profile_of_png({b"cICP": cicp}, is_gray=True)
        levels = np.array([[white * 255 - 6, white * 255 + 2]]).astype(np.uint8)
        below, paper = in_srgb(levels, profile)[0]
        assert below < 252
        assert paper >= 254


@pytest.mark.parametrize(
    "cicp", [b"", b"\1\2\0", bytes([9, 17, 0, 1]), bytes([2, 13, 0, 1])]
)
def test_cicp_that_is_not_known_is_refused(photo, cicp):
    photo({b"cICP": cicp})
    line = refusal(run("photo.png"))
    assert f"colors of cICP {[*cicp]} cannot be read; convert them to sRGB" in line


@pytest.mark.parametrize("is_gray", [False, True])
@pytest.mark.parametrize(
    "chunks",
    [LINEAR, {b"cHRM": primaries(P3)}, {b"cICP": bytes([12, 13, 0, 1])}],
    ids=["gAMA", "cHRM", "cICP"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".gif", ".bmp"])
def test_colors_mean_the_same_in_every_format(photo, chunks, suffix, is_gray):
    array = photo(chunks, is_gray=is_gray)
    result = run("photo.png", "-o", f"o{suffix}")
    assert result.exit_code == 0, result.stderr
    expected = meant("photo.png")
    if chunks is LINEAR:
        assert np.abs(expected - array.reshape((*expected.shape[:2], -1))).max() > 5
    error = np.abs(meant(f"o{suffix}") - expected).max()
    assert error <= (12 if suffix == ".jpg" else 1)
    has_profile = read_metadata(f"o{suffix}").icc_profile is not None
    assert has_profile == (suffix not in (".gif", ".bmp"))
    if has_profile and suffix != ".jpg":
        assert_array_equal(pixels(f"o{suffix}"), pixels("photo.png"))
    chunk = chunks.get(b"cICP")
    if chunk and suffix == ".png":
        assert Path("o.png").read_bytes()[37:45] == b"cICP" + chunk
        assert cicp_of(read_metadata("o.png").icc_profile) == chunk


def gray_profile():
    return profile_of_png(LINEAR, is_gray=True)


def test_gray_profiles_become_those_of_rgb_with_the_same_curve():
    profile = rgb_profile(gray_profile())
    assert profile[16:20] == b"RGB "
    gray = in_srgb(LEVELS[np.newaxis], gray_profile())[0]
    rgb = in_srgb(LEVELS[np.newaxis, :, np.newaxis].repeat(3, axis=-1), profile)[0]
    assert_array_equal(rgb, gray[:, np.newaxis].repeat(3, axis=1))
    assert rgb_profile(profile) == profile
    assert rgb_profile(None) is None
    for broken in (b"", b"GRAY", bytes(16) + b"GRAY" + bytes(200), b"CMYK" * 99):
        assert rgb_profile(broken) is None


def lightness_profile(curve):
    """A gray profile whose curve leads to lightness, not to luminance."""
    profile = color_profiles._profile(color_profiles._SRGB, curve, is_gray=True)
    return profile[:20] + b"Lab " + profile[24:]


@pytest.mark.parametrize("numbers", [(), (256,), (460,), (0, 9000, 30000, 65535)])
def test_gray_profiles_of_lightness_mean_what_others_read_in_them(numbers):
    curve = b"curv\0\0\0\0" + struct.pack(f">I{len(numbers)}H", len(numbers), *numbers)
    profile = lightness_profile(curve)
    image, srgb = Image.fromarray(LEVELS[np.newaxis]), ImageCms.createProfile("sRGB")
    shown = ImageCms.profileToProfile(
        image, io.BytesIO(profile), srgb, outputMode="RGB"
    )
    found = in_srgb(LEVELS[np.newaxis], profile).astype(int)
    assert np.abs(found - np.array(shown)[..., 0]).max() <= 1


def test_gray_profiles_of_lightness_by_other_curves_are_refused(tmp_path):
    profile = lightness_profile(b"para\0\0\0\0\0\0\0\0\0\1\0\0")
    image = Image.fromarray(LEVELS[np.newaxis])
    image.save(tmp_path / "a.png", icc_profile=profile)
    line = refusal(run(tmp_path / "a.png"))
    assert "the color profile cannot be read; convert the image to sRGB" in line


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_gray_with_a_profile_keeps_it_as_rgb(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(LEVELS[np.newaxis].repeat(8, 0)).save(
        f"gray{suffix}", icc_profile=gray_profile(), quality=100
    )
    expected = meant(f"gray{suffix}")
    for target in (".png", ".webp", ".gif"):
        assert run(f"gray{suffix}", "-o", f"o{target}").exit_code == 0
        assert np.abs(meant(f"o{target}") - expected).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_with_opacity_keeps_its_profile(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    array = np.stack([LEVELS, LEVELS[::-1]], axis=-1)[np.newaxis]
    if suffix == ".png":
        Image.fromarray(array, "LA").save(path, icc_profile=gray_profile())
    else:
        options = {"photometric": "minisblack", "planarconfig": "contig"}
        options |= {"extrasamples": ["unassalpha"], "iccprofile": gray_profile()}
        tifffile.imwrite(path, array, metadata=None, **options)
    image = read_image(path)
    assert image.pixels.shape == (1, 7, 4)
    assert image.metadata.icc_profile == rgb_profile(gray_profile())


def test_soft_edges_stay_where_colors_are_converted():
    profile = profile_of_png(LINEAR, is_gray=False)
    rgba = np.dstack([COLORS[np.newaxis], [[255, 7, 0, 128]]]).astype(np.uint8)
    found = in_srgb(rgba, profile)
    assert_array_equal(found[..., 3], rgba[..., 3])
    assert_array_equal(found[..., :3], in_srgb(rgba[..., :3].copy(), profile))
    film = np.stack([rgba, rgba])
    assert_array_equal(in_srgb(film, profile), np.stack([found, found]))


def test_a_profile_that_nobody_can_read_changes_nothing():
    broken = bytes(16) + b"RGB " + bytes(200)
    assert_array_equal(in_srgb(COLORS[np.newaxis], broken), COLORS[np.newaxis])


def test_deep_png_files_keep_what_their_colors_mean(tmp_path):
    array = (COLORS[np.newaxis].astype(">u2")) * 257
    (tmp_path / "a.png").write_bytes(png_file(array, LINEAR, 2, depth=16))
    image = read_image(tmp_path / "a.png")
    assert image.pixels.dtype == np.uint16
    assert image.metadata.icc_profile == profile_of_png(LINEAR, is_gray=False)


def test_films_keep_what_their_colors_mean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile = profile_of_png(LINEAR, is_gray=False)
    frames = [Image.fromarray(COLORS[np.newaxis]), Image.new("RGB", (4, 1), "#369")]
    for suffix in (".png", ".webp"):
        options = {"lossless": True, "icc_profile": profile}
        frames[0].save(f"a{suffix}", save_all=True, append_images=frames[1:], **options)
        expected = meant(f"a{suffix}")
        for target in (".png", ".webp", ".gif"):
            assert run(f"a{suffix}", "-o", f"o{target}", "--force").exit_code == 0
            assert np.abs(meant(f"o{target}") - expected).max() <= 1


@pytest.mark.usefixtures("photo")
def test_one_palette_is_that_of_the_colors_that_are_written(photo):
    photo(LINEAR)
    Image.fromarray(COLORS[np.newaxis]).save("other.png")
    words = ("photo.png", "other.png", "--shared", "-o", "all/", "--format", "gif")
    assert run(*words).exit_code == 0
    for name in ("photo", "other"):
        error = np.abs(meant(f"all/{name}_compressed.gif") - meant(f"{name}.png"))
        assert error.max() <= 1
