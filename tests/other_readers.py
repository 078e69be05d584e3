"""Let ome-zarr read what is written here, in an environment of its own.

It needs other versions of libraries than those that are tested here. `.ci/run` calls
this program; tests see that what they write is valid by yaozarrs.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from napari_kmeans import kmeans_palette, map_to_palette
from napari_kmeans._compression import Recipe
from napari_kmeans._files.ome_zarr import open_store
from napari_kmeans._stores import write_store
from zarr_stores import levels_of, make_image

KINDS = {"v4": {"version": "0.4"}, "v5": {}, "shards": {"shards": (1, 32, 32)}}
READ = """
import sys
import numpy as np
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

folder, *kinds = sys.argv[1:]
for kind in kinds:
    nodes = Reader(parse_url(f"{folder}/{kind}.ome.zarr"))()
    # Between them comes the group of labels, which has no pixels.
    image, labels = [node for node in nodes if node.data]
    for level in range(2):
        expected = np.load(f"{folder}/{level}.npz")
        np.testing.assert_array_equal(image.data[level], expected["image"])
        np.testing.assert_array_equal(labels.data[level], expected["labels"])
    # From 0 to 1, of labels from 1 on.
    colors = labels.metadata["color"]
    shown = [np.rint(np.multiply(colors[i], 255)) for i in range(1, len(colors) + 1)]
    np.testing.assert_array_equal(np.array(shown)[:, :3], expected["palette"])
    print(kind, "is read as it was written")
"""


def main():
    """Write a store of each kind, and have all of them read."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 96)).astype(np.uint8)
    levels = levels_of(pixels)
    palette = kmeans_palette(pixels, 5, channel_axis=0).palette
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, how in KINDS.items():
            source, target = folder / f"{kind}.zarr", folder / f"{kind}.ome.zarr"
            make_image(source, levels, chunks=(1, 16, 16), **how)
            pyramid = open_store(source)
            write_store(pyramid, source, target, Recipe(k=5), with_labels=True)
        for i, level in enumerate(levels):
            labels = map_to_palette(level, palette, channel_axis=0)
            image = np.moveaxis(palette[labels], -1, 0)
            arrays = {"image": image, "labels": labels + 1, "palette": palette}
            np.savez(folder / f"{i}.npz", **arrays)
        uv = [sys.executable, "-m", "uv", "run", "--no-project", "--with", "ome-zarr"]
        done = subprocess.run([*uv, "python", "-c", READ, folder, *KINDS])
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
