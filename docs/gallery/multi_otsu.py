"""
Multi-Otsu compared
===================

Multi-Otsu chooses the thresholds that leave the least squared error inside the classes,
and so does k-means. Images of one channel get the best palette there is, so the two
must agree. Multi-Otsu tries all sets of thresholds, of which there are 256 times more
with each class; k-means does not, and needs no histogram.
"""

from time import process_time

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from skimage.filters import gaussian, threshold_multiotsu

from napari_kmeans import kmeans_palette, map_to_palette


def timed(function, *arguments, **keywords):
    """Return what a function returns, and its seconds of CPU."""
    start = process_time()
    result = function(*arguments, **keywords)
    return result, process_time() - start


def squared_error(image, labels):
    """Return the mean squared distance of pixels to the mean of their class."""
    sums = np.bincount(labels.ravel(), image.ravel())
    means = sums / np.bincount(labels.ravel())
    return np.mean((image - means[labels]) ** 2)


# %%
# The classes of one channel are intervals, so there are few ways to cut it: a search by
# dynamic programming finds the best. k-means takes the photo as floats, for a palette
# of bytes would be rounded to whole gray levels. A smoothed photo has more than the 256
# levels of multi-Otsu's histogram, and k-means leaves a little less error.
photo = data.camera()
smooth = gaussian(photo, 2)
# Loads what is needed, before times are taken.
kmeans_palette(smooth, 2, channel_axis=None)

for name, levels, image in (
    ("photo", photo, photo.astype(float)),
    ("smoothed", smooth, smooth),
):
    for classes in (2, 3, 4, 5):
        thresholds, otsu_time = timed(threshold_multiotsu, levels, classes)
        result, time = timed(kmeans_palette, image, classes, channel_axis=None)
        labels = map_to_palette(image, result.palette, channel_axis=None)
        otsu = squared_error(image, np.digitize(image, thresholds, right=True))
        ours = squared_error(image, labels)
        print(
            f"{name}, {classes} classes: {ours / otsu:.6f} of the error "
            f"of multi-Otsu, which takes {otsu_time / time:.2f} times as long"
        )
        assert ours <= otsu * (1 + 1e-9)

# %%
# A threshold lies halfway between two neighboring colors of the palette:
palette = kmeans_palette(photo.astype(float), 4, channel_axis=None).palette
ours = (palette[1:] + palette[:-1]) / 2
otsu = threshold_multiotsu(photo, 4)
print("thresholds:", ours, "and", otsu)
assert np.abs(ours - otsu).max() <= 1

# %%
# What to see: both draw the same lines. What to change: the image, to one of your own
# of 16 bits. One hot pixel widens all bins of multi-Otsu, but is only one more value
# here.
figure, axes = plt.subplots(
    1, 2, figsize=(6, 2.7), layout="constrained", width_ratios=(2, 3)
)
axes[0].imshow(np.digitize(photo, ours), cmap="viridis")
axes[0].set_title("four classes")
axes[0].set_axis_off()
axes[1].hist(photo.ravel(), bins=256, color="lightgray")
for value in ours:
    axes[1].axvline(value, color="tab:blue", label="k-means")
for value in otsu:
    axes[1].axvline(value, color="tab:orange", linestyle="--", label="multi-Otsu")
handles, names = axes[1].get_legend_handles_labels()
axes[1].legend(handles[::3], names[::3], frameon=False)
axes[1].set(xlabel="gray level", ylabel="pixels", yscale="log")
plt.show()
