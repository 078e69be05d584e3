"""
Areas in an H&E section
=======================

Hematoxylin colors nuclei and epithelium blue to purple, eosin colors fibers pink. Five
colors part a section of skin into tissues, and the size of a pixel makes areas of
numbers of pixels.

napari's layers need the extra ``gui``: :doc:`install </install>` it. The image is
:download:`section.jpg </gallery/data/section.jpg>`, to be put into a folder ``data``
beside this script.
"""

import matplotlib.pyplot as plt
from napari.layers import Image
from skimage import io

from napari_kmeans import cluster_table, quantize_layer

# One pixel of this slide is 0.499 µm wide.
pixels = io.imread("data/section.jpg")
micrometers = {"scale": (0.499, 0.499), "units": ("um", "um")}
section = Image(pixels, name="section", **micrometers)

# %%
# :func:`~napari_kmeans.quantize_layer` does what the button of the widget does, here
# without a window. Lab compares colors as the eye does, so that pink and purple are as
# different as light and dark. The colors come from dark to light, so the names are
# known after a first look. Fibers are of two shades of pink, entries 2 and 3, which
# become one cluster.
(labels,) = quantize_layer(
    section,
    k=5,
    output="labels",
    color_space="lab",
    merged=[[2, 3]],
    names={0: "nuclei and keratin", 1: "epidermis", 2: "fibers", 3: "glass"},
)

# %%
# The table has a row for each cluster. Its areas are in µm², the unit of the layer.
table = cluster_table(labels)
table["mm²"] = (table["area"] / 1e6).round(4)
print(table[["name", "hex", "pixels", "mm²", "share"]].to_string(index=False))

whole = pixels.shape[0] * pixels.shape[1] * 0.499**2
assert abs(table["area"].sum() - whole) < 1e-6 * whole

tissue = table[table["name"] != "glass"]
epidermis = table.loc[table["name"] == "epidermis", "area"].item()
print(f"Epidermis: {epidermis / tissue['area'].sum():.0%} of the tissue")

# %%
# What to see: nuclei inside the epidermis, and the fibers around it. Keratin is as dark
# as nuclei, and color alone cannot part the two:
# :func:`~napari_kmeans.separate_objects` goes on by size. What to change: ``k``, and
# ``mask=``, to fit colors to the tissue without the glass.
figure, axes = plt.subplots(1, 2, figsize=(6, 3.6), layout="constrained")
axes[0].imshow(pixels)
axes[0].set_title("section")
colors = [labels.get_color(label) for label in labels.features["index"]]
axes[1].imshow(plt.cm.colors.ListedColormap(colors)(labels.data - 1))
axes[1].set_title("clusters")
for row, color in zip(table.itertuples(), colors, strict=True):
    axes[1].plot([], "s", color=color, label=row.name)
figure.legend(loc="outside lower right", ncols=2, frameon=False)
for axis in axes:
    axis.set_axis_off()
plt.show()
