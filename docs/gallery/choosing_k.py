"""
How many colors?
================

:func:`~napari_kmeans.choose_k` finds the fewest colors that reach a quality;
:func:`~napari_kmeans.error_curve` shows what each more would gain. Both count the
pixels once.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from napari_kmeans import choose_k, count_colors, error_curve, map_to_palette

image = data.chelsea()
counts = count_colors(image)  # so that the pixels are not counted again for each call

# %%
# The quality of photos is told in decibels: 30 dB is seen as somewhat coarse, 40 dB
# hardly differs from the photo.
results = {psnr: choose_k(counts, psnr=psnr) for psnr in (24, 28, 32, 36)}
for psnr, result in results.items():
    reached = 10 * np.log10(255**2 * 3 / result.mse)
    print(f"{psnr} dB: {len(result.palette)} colors reach {reached:.2f} dB")
    assert reached >= psnr

# %%
# The error for many numbers of colors. Twice the colors are some 3 dB better on photos,
# at any number, so no curve has an elbow that would say how many colors there "are".
ks = np.unique(np.geomspace(2, 256, 24).astype(int))
decibels = 10 * np.log10(255**2 * 3 / error_curve(counts, ks))
assert (np.diff(decibels) >= 0).all()
doubled = np.interp(2 * ks[ks <= 128], ks, decibels) - decibels[ks <= 128]
print(f"twice the colors: {doubled.min():.1f} to {doubled.max():.1f} dB more")

# %%
# What to see: 24 dB look like a poster, 36 dB like a photo. What to change: ``psnr=``,
# or ``mse=`` if you know the error in the units of the image, as the noise of a camera.
figure, axes = plt.subplot_mosaic(
    [list(results), ["curve"] * 4],
    figsize=(6, 4.5),
    layout="constrained",
    height_ratios=(2, 3),
)
for psnr, result in results.items():
    pixels = result.palette[map_to_palette(image, result.palette)]
    axes[psnr].imshow(pixels[20:220, 80:280])
    axes[psnr].set_title(f"{psnr} dB: k = {len(result.palette)}")
    axes[psnr].set_axis_off()
axes["curve"].plot(ks, decibels, color="black")
for psnr, result in results.items():
    axes["curve"].axhline(psnr, color="lightgray", linewidth=1)
    k = len(result.palette)
    axes["curve"].plot(k, np.interp(k, ks, decibels), "o", color="tab:orange")
axes["curve"].set_xscale("log", base=2)
axes["curve"].set(xlabel="colors", ylabel="PSNR (dB)")
plt.show()
