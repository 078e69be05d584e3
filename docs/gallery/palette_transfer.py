"""
The colors of one photo on another
==================================

A palette is an array of colors from dark to light. So the colors of one photo can be
put on another in two ways: each pixel gets the nearest, or the one of the same rank.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from napari_kmeans import kmeans_palette, map_to_palette

photo = data.rocket()
giver = data.coffee()

# %%
# Both photos in sixteen colors, from dark to light. The weights of red, green and blue
# in that order are those of Rec. 709.
own = kmeans_palette(photo, 16).palette
given = kmeans_palette(giver, 16, color_space="lab").palette
luma = given @ [0.2126, 0.7152, 0.0722]
assert (np.diff(luma) >= 0).all()

# %%
# **The nearest**: :func:`~napari_kmeans.map_to_palette` takes any palette. Where the
# giver has no such color, the pixel gets the least wrong one. **The same rank**: the
# labels of the photo's own palette index the given one. Darkest becomes darkest,
# whatever the hue.
nearest = given[map_to_palette(photo, given, color_space="lab")]
ranked = given[map_to_palette(photo, own)]

used = len(np.unique(nearest.reshape(-1, 3), axis=0))
print(f"the nearest: {used} of 16 colors are used")
print(f"the same rank: {len(np.unique(ranked.reshape(-1, 3), axis=0))} of 16")

# %%
# What to see: the nearest keeps hues where it can; the rank keeps light and shadow, and
# makes a picture of its own. What to change: the giver; or ``dither="floyd-steinberg"``
# in the first call, which mixes the given colors to what they lack.
shown = {
    "photo": (photo, own),
    "giver": (giver, given),
    "the nearest": (nearest, given),
    "the same rank": (ranked, given),
}
figure, axes = plt.subplots(
    4, 2, figsize=(6, 5.3), height_ratios=(7, 1, 7, 1), layout="constrained"
)
pairs = axes.reshape(2, 2, 2).swapaxes(1, 2).reshape(4, 2)
for (above, below), (title, (pixels, palette)) in zip(
    pairs, shown.items(), strict=True
):
    above.imshow(pixels)
    above.set_title(title)
    below.imshow(palette[np.newaxis], aspect="auto")
for axis in axes.flat:
    axis.set_axis_off()
plt.show()
