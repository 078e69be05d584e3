"""Slides for tests, as scanners and converters write them."""

import numpy as np
import skimage.data
import tifffile

SLIDE = np.ascontiguousarray(skimage.data.immunohistochemistry()[:100, :150])
APERIO = "Aperio Image Library v11.2.1\r\n150x100 (48x32) JPEG/RGB Q=30|AppMag = 20"


def write_slide(path, image=SLIDE, *, n_levels=2, mpp="0.4990", **how):
    """Write an .svs file: the full resolution, a thumbnail, and smaller levels."""
    description = APERIO + (f"|MPP = {mpp}" if mpp else "")
    how = {"tile": (32, 48), "compression": "jpeg", "photometric": "rgb"} | how
    how |= {"metadata": None, "description": description}
    with tifffile.TiffWriter(path) as file:
        file.write(image, **how)
        file.write(image[::5, ::5], photometric="rgb", metadata=None)
        for n in range(1, n_levels):
            file.write(image[:: 2**n, :: 2**n], **how)
    return path


def write_pyramid(path, image, n_levels=2, **how):
    """Write a TIFF file of tiles whose levels hang below its first page."""
    how = {"tile": (32, 48)} | how
    options = {n: v for n, v in how.items() if n not in ("metadata", "resolution")}
    with tifffile.TiffWriter(path, ome=str(path).endswith(".ome.tif")) as file:
        file.write(image, subifds=n_levels - 1, **how)
        for n in range(1, n_levels):
            steps = np.s_[:: 2**n, :: 2**n]
            has_samples = image.shape[-1] in (3, 4)
            some = (..., *steps, slice(None)) if has_samples else (..., *steps)
            file.write(image[some], subfiletype=1, **(options | {"metadata": None}))
    return path
