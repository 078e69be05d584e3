"""
Areas over time
===============

One palette for all frames of a film makes a class the same thing in each of them, so
that its areas can be compared.

The image is :download:`bacteria.tif </gallery/data/bacteria.tif>`, to be put into a
folder ``data`` beside this script.
"""

import matplotlib.pyplot as plt
import numpy as np
import tifffile

from napari_kmeans import kmeans_palette, map_to_palette

film = tifffile.imread("data/bacteria.tif")  # frames, channels, rows, columns
pixel_area = 0.065**2  # µm²
print(film.shape, film.dtype)

# %%
# The channels are axis 1; all others are space or time, which k-means does not know
# apart.
result = kmeans_palette(film, 4, channel_axis=1, channel_weights="std")
labels = map_to_palette(
    film, result.palette, channel_axis=1, channel_weights=result.channel_weights
)
print(result.palette)  # means of nucleoid, origin and terminus
assert labels.shape == (10, 180, 152)

# %%
# The class that is brightest in a channel is named by it. Areas are pixels of a class
# in each frame, times the area of one:
background = 0
nucleoid, terminus = result.palette[:, 0].argmax(), result.palette[:, 2].argmax()
areas = np.stack([np.bincount(f.ravel(), minlength=4) for f in labels]) * pixel_area
bacteria = areas.sum(axis=1) - areas[:, background]
print("bacteria:", bacteria.round(1), "µm²")
print("termini: ", areas[:, terminus].round(2), "µm²")
assert (np.diff(bacteria) > 0).all()  # they grow in each frame

# %%
# What to see: the bacteria grow to three times their area, and the termini multiply.
# What to change: a palette for each frame by itself, ``kmeans_palette(film[t], ...)``,
# follows a lamp that fades, but then class 2 of one frame need not be class 2 of the
# next.
figure, axes = plt.subplot_mosaic(
    [[0, 1, 2], ["plot"] * 3], figsize=(6, 5.3), layout="constrained"
)
for place, frame in enumerate((0, 5, 9)):
    axes[place].imshow(labels[frame], cmap="viridis", interpolation="nearest")
    axes[place].set_title(f"frame {frame}")
    axes[place].set_axis_off()
colors = plt.colormaps["viridis"](np.linspace(0, 1, 4))
axes["plot"].plot(bacteria, "o-", color="black", label="bacteria")
axes["plot"].plot(areas[:, nucleoid], "o-", color=colors[nucleoid], label="nucleoid")
axes["plot"].plot(areas[:, terminus], "o-", color=colors[terminus], label="terminus")
axes["plot"].set(xlabel="frame", ylabel="area (µm²)", ylim=(0, None))
axes["plot"].legend(frameon=False)
plt.show()
