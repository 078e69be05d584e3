"""
Counts added across machines
============================

k-means needs to know which colors there are, and how many pixels have each. Counts of
parts add up to those of the whole, bit for bit, wherever the parts were counted.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from napari_kmeans import ColorCounts, count_colors, kmeans_palette, map_to_palette

image = data.hubble_deep_field()

# %%
# This is what each machine runs: it reads its part of the pixels, counts, and saves two
# arrays. Here, a machine is a process of its own.
COUNT = """
import sys
import numpy as np
from napari_kmeans import count_colors

part, machine = np.load(sys.argv[1], mmap_mode="r"), int(sys.argv[2])
counts = count_colors(np.array_split(part, 3)[machine])
np.savez(sys.argv[3], colors=counts.colors, counts=counts.counts)
"""

with TemporaryDirectory() as folder:
    pixels = Path(folder, "pixels.npy")
    np.save(pixels, image)
    files = [Path(folder, f"machine{i}.npz") for i in range(3)]
    machines = [
        subprocess.Popen([sys.executable, "-c", COUNT, pixels, str(i), file])
        for i, file in enumerate(files)
    ]
    assert [machine.wait() for machine in machines] == [0, 0, 0]
    parts = [ColorCounts(**np.load(file)) for file in files]
    sizes = [file.stat().st_size for file in files]

# %%
# The sum is what one machine would have counted, and so are the palette and its error:
counts = sum(parts)
whole = count_colors(image)
assert np.array_equal(counts.colors, whole.colors)
assert np.array_equal(counts.counts, whole.counts)

result = kmeans_palette(counts, 12)
assert np.array_equal(result.palette, kmeans_palette(image, 12).palette)
assert result.mse == kmeans_palette(image, 12).mse

for number, (part, size) in enumerate(zip(parts, sizes, strict=True)):
    total, colors = part.counts.sum(), len(part.colors)
    print(f"machine {number}: {total:,} pixels, {colors:,} colors, {size:,} bytes")
print(f"the sum: {counts.counts.sum():,} pixels, {len(counts.colors):,} colors")

# %%
# What to see: a palette of the whole that no machine has seen. What to change: save
# counts of every slide, and add those of a patient. `On a cluster <../cluster.html>`__
# does the same with dask.
quantized = result.palette[map_to_palette(image, result.palette)]
figure, axes = plt.subplot_mosaic(
    [["before", "in 12 colors"], ["palette", "palette"]],
    figsize=(6, 3.3),
    height_ratios=(7, 1),
    layout="constrained",
)
axes["before"].imshow(image)
axes["in 12 colors"].imshow(quantized)
axes["palette"].imshow(result.palette[np.newaxis], aspect="auto")
for title in ("before", "in 12 colors"):
    axes[title].set_title(title)
for axis in axes.values():
    axis.set_axis_off()
plt.show()
