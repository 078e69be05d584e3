import json

import numpy as np

from command_line import run
from napari_kmeans import ImageMetadata, write_indexed


def test_info_tells_what_a_file_holds(folder):
    write_indexed(
        "flag.tif",
        np.zeros((2, 3, 4), np.uint8),
        np.eye(3, dtype=np.uint8),
        metadata=ImageMetadata("ZYX", (2.0, 0.5, 0.5), ("micrometer",) * 3),
    )
    line = run("info", "flag.tif").stdout
    size = (folder / "flag.tif").stat().st_size
    assert line == (
        f"flag.tif: {size:,} bytes, 2 x 3 x 4 x 3 uint8, 1 color, palette of 3, "
        "Z: 2 micrometer, Y: 0.5 micrometer, X: 0.5 micrometer\n"
    )
    told = json.loads(run("info", "photo.jpg", "missing.jpg", "--json").stdout)
    assert told["images"][0]["shape"] == [60, 40, 3]
    assert told["images"][0]["palette_entries"] is None
    assert told["images"][1]["error"] == "No such file or directory"
