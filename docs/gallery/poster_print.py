"""
A poster in five inks
=====================

A screen print has few inks, and each costs a plate. The paper and black are given; the
other inks are fitted to what these leave over, and dithering mixes them on the paper.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import color, data, filters

from napari_kmeans import kmeans_palette, map_to_palette

photo = data.astronaut()
paper, black = [246, 240, 226], [28, 26, 30]

# %%
# ``fixed`` colors are in the palette, unmoved. Lab finds inks that differ as the eye
# sees.
result = kmeans_palette(photo, 5, color_space="lab", fixed=[paper, black])
inks = result.palette
assert {tuple(paper), tuple(black)} <= {tuple(ink) for ink in inks.tolist()}
for ink, share in zip(inks, result.counts / result.counts.sum(), strict=True):
    print(f"#{bytes(ink).hex()}  {share:.0%} of the pixels")

# %%
# The nearest ink gives a poster; mixing inks gives back what is between them. From
# afar, the mixed print is closer to the photo:
flat = map_to_palette(photo, inks, color_space="lab")
mixed = map_to_palette(photo, inks, color_space="lab", dither="floyd-steinberg")


def seen_from_afar(pixels):
    """Return what the eye mixes, in Lab."""
    return color.rgb2lab(filters.gaussian(pixels, 3, channel_axis=-1))


differences = {}
for title, labels in (("flat", flat), ("mixed", mixed)):
    distance = color.deltaE_ciede2000(
        seen_from_afar(photo), seen_from_afar(inks[labels])
    )
    differences[title] = distance.mean()
    print(f"{title}: mean CIEDE2000 difference from afar {distance.mean():.1f}")
assert differences["mixed"] < differences["flat"]

# %%
# What to see: the plates, one for each ink; where the plate of the paper is dark,
# nothing is printed. What to change: ``dither_strength``, below 1 for less grain, and
# ``dither="ordered"`` for a regular pattern.
figure, axes = plt.subplots(1, 3, figsize=(6, 2.3), layout="constrained")
shown = {"photo": photo, "flat": inks[flat], "mixed": inks[mixed]}
for axis, (title, pixels) in zip(axes, shown.items(), strict=True):
    axis.imshow(pixels)
    axis.set_title(title)
    axis.set_axis_off()

# %%
# The plates of the mixed print, each in its ink:
figure, axes = plt.subplots(1, 5, figsize=(6, 1.7), layout="constrained")
for number, (axis, ink) in enumerate(zip(axes, inks, strict=True)):
    plate = np.where((mixed == number)[..., np.newaxis], ink, np.uint8(255))
    axis.imshow(plate)
    axis.set_title(f"#{bytes(ink).hex()}", fontsize="small")
    axis.set_axis_off()
plt.show()
