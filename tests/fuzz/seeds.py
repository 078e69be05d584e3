"""Small sound files of every kind that is read, from which fuzzers start.

`SEEDS` has for each target a function that returns them. None is stored: they are what
Pillow, tifffile, imagecodecs, zarr and this package write today.
"""

import io
import json
import struct
import tempfile
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageCms

from napari_kmeans import write_indexed, write_palette
from napari_kmeans._files.metadata import ImageMetadata
from napari_kmeans._files.tiff import encode_tiff
from slides import write_pyramid, write_slide
from zarr_stores import levels_of, make_array, make_image

_RGBA = np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)
_LABELS = (np.arange(54) % 5).reshape(6, 9)
_PALETTE = _RGBA.reshape(-1, 4)[:5]
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_SIZED = ImageMetadata("YX", (0.5, 0.25), ("micrometer", "micrometer"))


def _saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _image(mode="RGB"):
    return Image.fromarray(_RGBA).convert(mode)


def _film(mode="RGB"):
    return {"save_all": True, "append_images": [_image(mode).rotate(180)]}


def _indexed(name, palette=_PALETTE[:, :3], labels=_LABELS, **how):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_indexed(path, labels, palette, **how)
        return path.read_bytes()


def _written(write, name, *arguments, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path, *arguments, **options)
        return path.read_bytes()


def png_chunk(kind, data):
    """A chunk with its length and check sum."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_with(content, *chunks):
    """A PNG file with chunks behind its header."""
    return content[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + content[33:]


def _deep_png(color_type, n_channels):
    rows = np.random.default_rng(1).integers(0, 256, (2, 1 + 6 * n_channels), np.uint8)
    rows[:, 0] = 0, 4
    header = struct.pack(">IIBBBBB", 3, 2, 16, color_type, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def _png():
    exif = Image.Exif()
    exif[0x0112] = 6
    yield from (_saved(_image(mode), "PNG") for mode in ("1", "L", "LA", "RGB", "RGBA"))
    yield _saved(_image(), "PNG", icc_profile=_SRGB, dpi=(300, 300), exif=exif)
    yield _saved(_image("L"), "PNG", transparency=9)
    yield from (_saved(_image(mode), "PNG", **_film(mode)) for mode in ("RGB", "P"))
    for color_type, n_channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        yield _deep_png(color_type, n_channels)
    yield _indexed("a.png", metadata=_SIZED)
    yield _indexed("a.png", _PALETTE, np.stack([_LABELS, 4 - _LABELS]))
    numbers = struct.pack(">9I", 45455, 31270, 32900, 64000, 33000, 30000, 60000, 1, 9)
    meanings = (b"gAMA", numbers[:4]), (b"cHRM", numbers[4:])
    yield png_with(_saved(_image(), "PNG"), *meanings)
    yield png_with(_saved(_image(), "PNG"), (b"cICP", bytes([9, 16, 0, 1])))
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='6'/>"
    yield png_with(_saved(_image(), "PNG"), (b"iTXt", xmp))


def _gif():
    yield _saved(_image("P"), "GIF", comment=b"5 colors")
    yield _saved(_image("P"), "GIF", loop=3, duration=[40, 90], **_film("P"))
    yield _indexed("a.gif", _PALETTE[:4, :3], np.stack([_LABELS, 4 - _LABELS]) % 4)
    clear = np.concatenate([_PALETTE[:, :3], [[255]] * 4 + [[0]]], axis=1)
    yield _indexed("a.gif", clear.astype(np.uint8))


def _jpeg():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x0128] = 6, 72.0, 2
    for mode, options in product(("L", "RGB", "CMYK"), ({}, {"progressive": True})):
        yield _saved(_image(mode), "JPEG", **options)
    yield _saved(_image(), "JPEG", icc_profile=_SRGB, dpi=(72, 72), exif=exif)
    yield _saved(_image(), "MPO", **_film())


def _webp():
    for lossless in (False, True):
        yield _saved(_image("RGBA"), "WEBP", lossless=lossless)
    yield _saved(_image(), "WEBP", icc_profile=_SRGB, exif=Image.Exif(), **_film())
    yield _saved(_image(), "AVIF")
    yield _saved(_image(), "AVIF", **_film())


def _others():
    for kind in ("BMP", "DIB", "ICO", "PCX", "PPM", "SGI", "TGA", "DDS", "QOI"):
        yield _saved(_image(), kind)
    for kind, mode in (("BMP", "P"), ("TGA", "P"), ("PCX", "P"), ("PPM", "1")):
        yield _saved(_image(mode), kind)
    yield _saved(_image("RGBA"), "ICO", bitmap_format="bmp", sizes=[(9, 6), (4, 4)])
    yield _saved(_image("RGBA").resize((16, 16)), "ICNS", sizes=[(16, 16)])
    yield _saved(_image(), "JPEG2000")
    yield _saved(_image("1"), "XBM")
    yield _saved(_image("1"), "MSP")
    yield _saved(_image("F"), "SPIDER")
    yield b"P5 3 2 1023\n" + bytes(12)
    yield b"P3 1 1 255 7 8 9"
    yield b"Pf 3 2 -1.0\n" + bytes(24)
    yield b'/* XPM */\nstatic char *a[] = {\n"2 1 1 1",\n"a c #ff0000",\n"aa"\n};'
    psd = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 2, 3, 8, 3) + bytes(12)
    yield psd + struct.pack(">H", 0) + bytes(18)
    cards = b"SIMPLE  = T|BITPIX  = 8|NAXIS   = 2|NAXIS1  = 3|NAXIS2  = 2|END"
    fits = b"".join(card.ljust(80) for card in cards.split(b"|"))
    yield fits.ljust(2880) + bytes(6)
    flic = struct.pack("<IHHHHHHI", 144, 0xAF12, 1, 3, 2, 8, 3, 9) + bytes(108)
    yield flic + struct.pack("<IHH", 16, 0xF1FA, 0) + bytes(8)


def _tiff_of(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def _tiff():
    gray, deep = _RGBA[..., 0], _RGBA[..., 0].astype(np.uint16) << 8
    codecs = ("zlib", "lzw", "zstd", "lzma", "packbits", "jpeg", "jpeg2000", "webp")
    for codec in (*codecs, "lerc"):
        rgb = np.ascontiguousarray(_RGBA[..., :3])
        yield _tiff_of(rgb, compression=codec, photometric="rgb", tile=(16, 16))
    for codec in ("zlib", "lzw", "zstd"):
        yield _tiff_of(deep, compression=codec, predictor=True, rowsperstrip=2)
    yield _tiff_of(gray.astype("f4"), compression="zlib", predictor=True)
    yield _tiff_of(_RGBA, photometric="rgb", extrasamples=["assocalpha"])
    yield _tiff_of(_RGBA, photometric="separated")
    yield _tiff_of(_RGBA, photometric="minisblack", planarconfig="contig")
    yield _tiff_of(gray > 99, photometric="miniswhite")
    stack = np.stack([deep] * 4).reshape(2, 2, *deep.shape)
    yield _tiff_of(stack, imagej=True, metadata={"axes": "TCYX", "unit": "um"})
    yield _tiff_of(stack, ome=True, metadata={"axes": "ZCYX", "PhysicalSizeX": 0.5})
    yield _tiff_of(stack, bigtiff=True, byteorder=">")
    yield _tiff_of(stack, metadata={"axes": "QZYX"})
    yield _saved(_image("P"), "TIFF", **_film("P"))
    yield _saved(_image("1"), "TIFF", compression="group4")
    yield _saved(_image("YCbCr"), "TIFF", compression="tiff_lzw")
    yield _saved(_image(), "TIFF", compression="jpeg", icc_profile=_SRGB)
    yield _indexed("a.tif", metadata=_SIZED)
    yield _indexed("a.ome.tif", labels=np.stack([_LABELS, _LABELS]))
    yield encode_tiff(_LABELS.astype("u1"), _SIZED, _PALETTE[:, :3], ome=False)


def _slides():
    for codec in ("jpeg", "zlib"):
        yield _written(
            write_slide, "a.svs", _RGBA[:, :, :3].repeat(8, 0), compression=codec
        )
    yield _written(
        write_pyramid, "a.ome.tif", np.stack([_RGBA[..., 0].repeat(8, 0)] * 2)
    )


def _palettes():
    """Yield the suffix, a line break, and the file."""
    rgb = _PALETTE[:, :3]
    for suffix in (".gpl", ".json", ".npy", ".hex", ".pal"):
        told = (
            {"names": ["", "a b", "é", "", "z"]} if suffix in (".gpl", ".json") else {}
        )
        content = _written(write_palette, f"a{suffix}", rgb, **told)
        yield suffix.encode() + b"\n" + content
    yield b".json\n" + _written(write_palette, "a.json", np.linspace(0, 1, 4))
    yield b".npy\n" + _written(
        write_palette, "a.npy", np.ones((2, 5), ">f2", order="F")
    )
    yield b".hex\n#ff000080\n00ff0080\n"
    yield b".gpl\nGIMP Palette\nChannels: RGBA\n# a\n1 2 3 4 Untitled\n"


def _profiles():
    yield _SRGB
    for words in ((b"RGB ", b"XYZ "), (b"GRAY", b"XYZ "), (b"GRAY", b"Lab ")):
        tags = (b"kTRC", b"rTRC", b"gTRC", b"bTRC")
        table = struct.pack(">I", len(tags))
        for tag in tags:
            table += struct.pack(">4sII", tag, 132 + 12 * len(tags), 16)
        head = bytes(16) + b"".join(words) + bytes(12) + b"acsp"
        curve = b"curv" + struct.pack(">III", 0, 1, 0x233) + bytes(4)
        yield head.ljust(128, b"\0") + table + curve
    for cicp in ((1, 13, 0, 1), (9, 16, 0, 1), (12, 18, 0, 1)):
        yield png_chunk(b"cICP", bytes(cicp))
    yield png_chunk(b"gAMA", struct.pack(">I", 100000)) + png_chunk(
        b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 60)
    )


def _notes():
    for note in ({"Y": [0.5, "micrometer"], "X": [0.25, "nm"]}, {"Y": 1}, [], None):
        yield json.dumps(note).encode()
    shape = {"axes": "YX", "shape": [6, 9], "dtype": "uint8", "colors": 5}
    yield json.dumps(shape).encode()
    yield json.dumps(shape | {"axes": "QTZYX", "shape": [1, 1, 1, 6, 9]}).encode()


def files_of(folder):
    """The files of a folder as JSON: documents as they are, others as digits."""
    files = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        content, name = path.read_bytes(), path.relative_to(folder).as_posix()
        try:
            files[name] = json.loads(content)
        except ValueError:
            files[name] = content.hex()
    return json.dumps(files).encode()


def _stores():
    levels = levels_of(np.stack([_RGBA[..., 0]] * 2))
    record = {"napari-kmeans": {"version": 1, "is_complete": False, "k": 16}}
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for version in ("0.4", "0.5"):
            name = f"a{version}.zarr"
            yield files_of(make_image(top / name, levels, version=version))
        yield files_of(make_image(top / "r.zarr", levels, attributes=record))
        for codec in ("GzipCodec", "ZstdCodec", "BloscCodec"):
            from zarr import codecs

            how = {"compressors": getattr(codecs, codec)(), "chunks": (4, 4, 3)}
            yield files_of(make_array(top / f"{codec}.zarr", _RGBA[..., :3], **how))


def _counts():
    for colors in (_PALETTE, _PALETTE[:, 0].astype("f4"), np.array([True, False])):
        buffer = io.BytesIO()
        for array in (colors, np.arange(1, len(colors) + 1)):
            np.lib.format.write_array(buffer, array)
        yield buffer.getvalue()


def _values():
    yield from (b"50KB", b"1.5MiB", b"std", b"1,1,2", b"#000,#ff8000", b"0/0/0,9.5/1/7")
    yield from (b"2-8,16", b"nan", b"1e999")


def _commands():
    """Yield the number of a call, and the file that is its input."""
    pictures = _saved(_image(), "PNG"), _saved(_image("P"), "GIF"), _tiff_of(_LABELS)
    for number, picture in product(range(5), pictures):
        yield bytes([number]) + picture
    for number, palette in enumerate(_palettes(), 5):
        yield bytes([min(number, 9)]) + palette.partition(b"\n")[2]


SEEDS = {
    "png": _png,
    "gif": _gif,
    "jpeg": _jpeg,
    "webp": _webp,
    "others": _others,
    "tiff": _tiff,
    "slides": _slides,
    "palettes": _palettes,
    "profiles": _profiles,
    "notes": _notes,
    "stores": _stores,
    "counts": _counts,
    "values": _values,
    "commands": _commands,
}
