"""
One palette for many sprites
============================

Small images with soft edges share one palette of colors and opacities. Each becomes an
indexed PNG file, and all look as if they were of one hand.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from skimage import data, io, transform

from napari_kmeans import kmeans_palette, map_to_palette, read_indexed, write_indexed

# %%
# Round cut-outs of photos, 64 by 64, whose edge fades over a few pixels. Their last
# channel is opacity.
places = {  # photo, and center and radius of the circle
    "cup": (data.coffee(), 165, 270, 150),
    "cat": (data.chelsea(), 150, 200, 125),
    "astronaut": (data.astronaut(), 100, 225, 95),
    "rocket": (data.rocket(), 300, 320, 110),
    "galaxy": (data.hubble_deep_field(), 720, 165, 60),
    "eye": (data.retina(), 705, 705, 680),
    "tissue": (data.immunohistochemistry(), 300, 200, 180),
    "logo": (data.logo()[..., :3], 250, 250, 240),
}
y, x = np.indices((64, 64)) - 31.5
opacity = np.clip((32 - np.hypot(y, x)) / 2, 0, 1)
sprites = {}
for name, (photo, row, column, radius) in places.items():
    cut = photo[row - radius : row + radius, column - radius : column + radius]
    small = transform.resize(cut, (64, 64), anti_aliasing=True)
    rgba = np.dstack([small, opacity])
    sprites[name] = np.round(255 * rgba).astype(np.uint8)

# %%
# ``alpha=True`` weighs colors by how much they are seen. Fully transparent pixels do
# not count, and get one entry of the palette.
result = kmeans_palette(list(sprites.values()), 64, alpha=True)
palette = result.palette
assert (palette[:, 3] == 0).sum() == 1
print(f"{len(palette)} colors, of which {(palette[:, 3] < 255).sum()} are transparent")

# %%
# A file for each, of palette and labels. They are read back exactly as they were:
drawn = {}
with TemporaryDirectory() as folder:
    before, after = 0, 0
    for name, sprite in sprites.items():
        whole, indexed = Path(folder, f"{name}_rgba.png"), Path(folder, f"{name}.png")
        io.imsave(whole, sprite, check_contrast=False)
        labels = map_to_palette(sprite, palette, alpha=True)
        write_indexed(indexed, labels, palette)
        before += whole.stat().st_size
        after += indexed.stat().st_size
        again = read_indexed(indexed)
        drawn[name] = again.palette[again.labels]
        assert (drawn[name] == palette[labels]).all()
print(f"{len(sprites)} files: {before:,} bytes as RGBA, {after:,} indexed")

# %%
# What to see: edges stay soft on any background. What to change: ``k``, and the
# background of the figure.
figure, axes = plt.subplots(
    3, 8, figsize=(6, 2.6), layout="constrained", facecolor="#4d6b57"
)
for column, name in zip(axes.T, sprites, strict=True):
    column[0].imshow(sprites[name])
    column[0].set_title(name, color="white", fontsize="small")
    column[1].imshow(drawn[name])
for axis in axes.flat:
    axis.set_axis_off()
for axis in axes[2]:
    axis.remove()
swatches = figure.add_subplot(axes[2, 0].get_gridspec()[2, :])
swatches.imshow(palette.reshape(2, 32, 4), aspect="auto")
swatches.set_axis_off()
plt.show()
