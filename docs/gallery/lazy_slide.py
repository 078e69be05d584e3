"""
A slide that is not loaded
==========================

A whole slide does not fit in memory. dask reads it chunk by chunk: once for the
palette, and then only the chunks that somebody looks at.

dask and zarr are in the extra ``zarr``: :doc:`install </install>` it. The image is
:download:`section.jpg </gallery/data/section.jpg>`, to be put into a folder ``data``
beside this script.
"""

import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from skimage import io

from napari_kmeans import kmeans_palette, map_to_palette

# %%
# A tissue array of 117 megapixels stands for your own slide: round cores of one
# section, each turned by chance, are written chunk by chunk to a folder. Each level of
# the pyramid has every second pixel of the one before.
section = io.imread("data/section.jpg")
y, x = np.indices((900, 900)) - 449.5
core = np.where((np.hypot(y, x) < 430)[..., np.newaxis], section, np.uint8(243))
turned = [da.from_array(np.rot90(core, turns)) for turns in range(4)]
chosen = np.random.default_rng(0).integers(4, size=(12, 12))
level = da.block([[[turned[i]] for i in row] for row in chosen]).rechunk(
    (1800, 1800, 3)
)

folder = TemporaryDirectory()
levels = []
for number in range(4):
    path = Path(folder.name, str(number))
    level.to_zarr(path)
    levels.append(da.from_zarr(path))
    print(f"level {number}: {levels[-1].shape}, {levels[-1].nbytes / 1e6:.0f} MB")
    level = levels[-1][::2, ::2].rechunk((1800, 1800, 3))

# %%
# The palette is that of all pixels of the finest level, bit for bit. To map is lazy,
# and takes no time.
tracemalloc.start()
with dask.config.set(scheduler="threads", num_workers=1):
    palette = kmeans_palette(levels[0], 6, color_space="lab").palette
    labels = [map_to_palette(level, palette, color_space="lab") for level in levels]
    overview = labels[3].compute()
    detail = labels[0][6550:6950, 5650:6050].compute()
_, peak = tracemalloc.get_traced_memory()
tracemalloc.stop()
print(f"memory: {peak / 1e6:.0f} of {levels[0].nbytes / 1e6:.0f} MB of the slide")
assert peak < levels[0].nbytes

# %%
# The detail has the colors that it would have in an image that was loaded:
pixels = levels[0][6550:6950, 5650:6050].compute()
assert (detail == map_to_palette(pixels, palette, color_space="lab")).all()
folder.cleanup()

# %%
# What to see: the detail has the colors of the overview, since both have the one
# palette. What to change: the folder, to your own, ``da.from_zarr("slide.ome.zarr",
# component="0")``. The memory stays the same for any size; `Larger than memory
# <../larger_than_memory.html>`__ tells what it grows with.
figure, axes = plt.subplots(1, 2, figsize=(6, 3.2), layout="constrained")
axes[0].imshow(palette[overview])
axes[0].set_title("overview, from level 3")
axes[1].imshow(palette[detail])
axes[1].set_title("detail, from level 0")
for axis in axes:
    axis.set_axis_off()
plt.show()
