"""Draw docs/palettes/*.png: one photo under each switch of the library.

    python docs/make_palette_pictures.py

Photos come with scikit-image. What is printed are the numbers that docs/palettes.md
quotes.
"""

from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.filters import gaussian

from napari_kmeans import (
    choose_k,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
    write_indexed,
)
from napari_kmeans._pictures.charts import Curve, draw_curves

FOLDER = Path(__file__).with_name("palettes")
PHOTO = data.astronaut()[:300, 60:360]
CORNERS = np.array(np.meshgrid([0, 255], [0, 255], [0, 255])).T.reshape(-1, 3)
FIXED = [[0, 0, 0], [255, 255, 255], [0, 90, 200]]
SWATCH = 20


def main():
    """Draw every picture."""
    FOLDER.mkdir(exist_ok=True)
    plain = kmeans_palette(PHOTO, 16)
    print("plain:", plain)
    save("plain", PHOTO, shown(PHOTO, plain.palette))

    given = [shown(PHOTO, CORNERS), shown(PHOTO, CORNERS, dither="floyd-steinberg")]
    save("given", *given)

    few = kmeans_palette(PHOTO, 8)
    fixed = kmeans_palette(PHOTO, 8, fixed=FIXED)
    print("eight:", few, "three of them fixed:", fixed)
    save("fixed", shown(PHOTO, few.palette), shown(PHOTO, fixed.palette))

    face = np.zeros(PHOTO.shape[:2], dtype=bool)
    face[70:190, 110:220] = True
    masked = kmeans_palette(PHOTO, 8, mask=face)
    eight = kmeans_palette(PHOTO, 8)
    for palette in (eight.palette, masked.palette):
        error = PHOTO - palette[map_to_palette(PHOTO, palette)].astype(float)
        print("error inside the mask:", np.square(error[face]).sum(axis=-1).mean())
    frame = binary_dilation(face, iterations=2) & ~face
    save(
        "mask",
        framed(shown(PHOTO, eight.palette), frame),
        framed(shown(PHOTO, masked.palette), frame),
    )

    picture = cut_out()
    opaque, seen = (quantize_kmeans(picture, 16, alpha=a) for a in (False, True))
    save("alpha", *(over_squares(image) for image in (picture, opaque, seen)))
    for background in (0, 255):
        for image in (opaque, seen):
            error = over(image, background) - over(picture, background)
            print(f"error over {background}:", np.square(error).sum(axis=-1).mean())

    spaces = [
        quantize_kmeans(PHOTO, 8, color_space=space)
        for space in ("rgb", "lab", "oklab")
    ]
    for image in spaces:
        print("CIEDE2000:", deltaE_ciede2000(rgb2lab(PHOTO), rgb2lab(image)).mean())
    save("spaces", *(with_swatches(image, colors_of(image)) for image in spaces))

    dithers = (None, "floyd-steinberg", "ordered")
    save("dither", *(shown(PHOTO, eight.palette, dither=d) for d in dithers))

    cat = data.chelsea()[:300, 60:360]
    both = kmeans_palette([PHOTO, cat], 16)
    print("shared:", both)
    save("shared", shown(PHOTO, both.palette), shown(cat, both.palette))

    ks = [1 << i for i in range(1, 11)]
    curves = []
    for name, image in (("astronaut", PHOTO), ("cat", cat)):
        psnrs = 10 * np.log10(3 * 255**2 / error_curve(image, ks))
        curves.append(Curve(name, ks, psnrs.tolist()))
    save("curve", draw_curves(curves))
    chosen = []
    for psnr in (22, 26, 30):
        result = choose_k(PHOTO, psnr=psnr)
        print(f"psnr={psnr}:", result)
        chosen.append(shown(PHOTO, result.palette))
    save("quality", *chosen)


def shown(image, palette, **how):
    """Give the image in the colors of a palette, above these."""
    return with_swatches(palette[map_to_palette(image, palette, **how)], palette)


def with_swatches(image, palette):
    """Give an image above the colors of its palette."""
    width = image.shape[1]
    entry = np.arange(width) * len(palette) // width
    row = palette.astype(np.uint8)[entry][np.newaxis]
    gap = np.full((4, width, 3), 255, np.uint8)
    rows = row.repeat(SWATCH, axis=0)
    return np.concatenate((image.astype(np.uint8), gap, rows))


def framed(picture, frame):
    """Draw the edge of a region in white."""
    picture[: len(frame)][frame] = 255
    return picture


def colors_of(image):
    """Give the colors of an image, from dark to light."""
    return kmeans_palette(image, 256).palette


def cut_out():
    """Cut a cat out of its photo along a smooth edge, and give it a soft shadow."""
    photo = data.chelsea()[:300, 80:380]
    y, x = np.mgrid[-1:1:300j, -1:1:300j]
    edge = np.clip((0.85 - np.hypot(x, y)) * 60, 0, 1)
    shadow = 0.6 * np.roll(gaussian(edge, 8), (14, 14), (0, 1))
    opacity = edge + shadow * (1 - edge)
    # What is transparent has the colors of the photo still, as masks leave them.
    share = np.divide(edge, opacity, out=np.ones_like(edge), where=opacity > 1 / 512)
    colors = np.dstack((photo * share[..., np.newaxis], opacity * 255))
    return np.rint(colors).astype(np.uint8)


def over(image, background):
    """Give an RGBA image over a background."""
    share = image[..., 3:] / 255
    return image[..., :3] * share + background * (1 - share)


def over_squares(image):
    """Give an RGBA image over gray squares."""
    row, column = np.indices(image.shape[:2]) // 20
    squares = np.where((row + column) % 2, 255, 190)[..., np.newaxis]
    return np.rint(over(image, squares)).astype(np.uint8)


def save(name, *pictures):
    """Write pictures side by side, in their colors or, if these are more, in 256."""
    height = max(len(picture) for picture in pictures)
    row = []
    for picture in pictures:
        below = ((0, height - len(picture)), (0, 8), (0, 0))
        row.append(np.pad(picture, below, constant_values=255))
    image = np.concatenate(row, axis=1)[:, :-8]
    # Colors of quantized pictures stay what they are beside those of a photo.
    several = [picture.reshape(-1, 3) for picture in pictures]
    few = [np.unique(colors, axis=0) for colors in several]
    fixed = np.concatenate([image[:0, 0], *(c for c in few if len(c) < 100)])
    palette = kmeans_palette(image, 256, fixed=fixed).palette
    path = FOLDER / f"{name}.png"
    write_indexed(path, map_to_palette(image, palette), palette)
    print(f"{path.name}: {path.stat().st_size} bytes, {len(palette)} colors")


if __name__ == "__main__":
    main()
