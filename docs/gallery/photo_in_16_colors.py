"""
A photo in 16 colors
====================

Quantize a photo and look at what is lost.
"""

import matplotlib.pyplot as plt
from skimage import data

from napari_kmeans import quantize_kmeans

image = data.astronaut()
quantized = quantize_kmeans(image, k=16)

figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
for axis, pixels in zip(axes, (image, quantized), strict=True):
    axis.imshow(pixels)
    axis.set_axis_off()
