"""
Classes in fluorescence
=======================

A camera sees one dye much brighter than another. By their numbers, the strongest
channel decides alone which pixels are alike. ``channel_weights="std"`` lets each
channel count as much as the others.

The image is :download:`bacteria.tif </gallery/data/bacteria.tif>`, to be put into a
folder ``data`` beside this script.
"""

import matplotlib.pyplot as plt
import numpy as np
import tifffile
from skimage.filters import gaussian

from napari_kmeans import kmeans_palette, map_to_palette

# The last frame: nucleoid, origin and terminus of replication of E. coli.
frame = tifffile.imread("data/bacteria.tif")[-1]
image = np.stack([gaussian(c, 1, preserve_range=True) for c in frame], axis=-1)
print("standard deviation of each channel:", image.std(axis=(0, 1)).round(1))

# %%
# Once by the numbers, and once with equal channels. The palette has the mean value of
# each class in each channel, in the units of the camera.
# :func:`~napari_kmeans.map_to_palette` takes the weights as the numbers that the fit
# used.
classes = {}
for title, weights in (("by their numbers", None), ("channels alike", "std")):
    result = kmeans_palette(image, 6, channel_weights=weights)
    classes[title] = (
        result,
        map_to_palette(image, result.palette, channel_weights=result.channel_weights),
    )
    print(title, "(nucleoid, origin, terminus):")
    print(result.palette.round(1))

# %%
# The class of brightest origins is one of its own only if the weak channel counts:
strongest = {
    title: result.palette[:, 1].max() for title, (result, _) in classes.items()
}
assert strongest["channels alike"] > strongest["by their numbers"] + 2

# %%
# What to see: the second row. By their numbers, most classes are outlines of the
# nucleoid at various strengths. With weights, one of them has the spots of the origins
# (bright in the middle picture above). What to change: the weights, as ``[1, 8, 2.5]``,
# if one channel is noisy and should count less than its deviation says.
figure, axes = plt.subplots(2, 3, figsize=(6, 5.3), layout="constrained")
for axis, channel, title in zip(
    axes[0], frame, ("nucleoid", "origin", "terminus"), strict=True
):
    axis.imshow(channel, cmap="gray", vmax=np.quantile(channel, 0.999))
    axis.set_title(title)
for axis, (title, (_, labels)) in zip(axes[1], classes.items(), strict=False):
    axis.imshow(labels, cmap="turbo", interpolation="nearest")
    axis.set_title(title)
result, labels = classes["channels alike"]
axes[1, 2].imshow(labels == result.palette[:, 1].argmax(), cmap="gray")
axes[1, 2].set_title("class of origins")
for axis in axes.flat:
    axis.set_axis_off()
plt.show()
