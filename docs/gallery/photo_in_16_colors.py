"""
A photo in 16 colors
====================

:func:`~napari_kmeans.quantize_kmeans` returns the image in ``k`` colors: of the same
shape and dtype, each pixel in the nearest of the colors that represent all pixels best.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data, metrics

from napari_kmeans import count_colors, quantize_kmeans

image = data.coffee()
quantized = quantize_kmeans(image, k=16)

assert quantized.shape == image.shape
assert quantized.dtype == image.dtype

# %%
# How many colors there were, how many there are, and how close they are:
palette = count_colors(quantized).colors
psnr = metrics.peak_signal_noise_ratio(image, quantized)
print(f"{len(count_colors(image).colors):,} colors before, {len(palette)} after")
print(f"PSNR {psnr:.1f} dB")

# %%
# What to see: the wood and the cup look the same, for they are many pixels. Smooth
# shadows become bands, and the few pixels of the spoon's highlights take the color of
# something else. What to change: ``k``. Or ``color_space="lab"``, for colors that
# differ as the eye sees them.
figure, axes = plt.subplot_mosaic(
    [["before", "in 16 colors"], ["palette", "palette"]],
    figsize=(6, 2.7),
    height_ratios=(7, 1),
    layout="constrained",
)
axes["before"].imshow(image)
axes["in 16 colors"].imshow(quantized)
axes["palette"].imshow(palette[np.newaxis], aspect="auto")
for title in ("before", "in 16 colors"):
    axes[title].set_title(title)
for axis in axes.values():
    axis.set_axis_off()
plt.show()
