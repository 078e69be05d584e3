"""A dialog that asks for a color in the units of a palette."""

from __future__ import annotations

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QInputDialog, QWidget

from napari_kmeans._core.arrays import Array
from napari_kmeans._core.quality import white_of
from napari_kmeans._napari.colors import parse_colors
from napari_kmeans._napari.results import Listed

__all__ = ["ask_color"]


def ask_color(parent: QWidget, listed: Listed, entry: int) -> Array | None:
    """Ask for another color of an entry, in the units of the palette.

    Returns None if the user wants none.
    """
    old = listed.record.palette[entry]
    dtype = old.dtype
    if listed.is_rgb:
        options, shown = QColorDialog.ColorDialogOption, listed.rgba[entry].tolist()
        option = options.ShowAlphaChannel if len(old) == 4 else options(0)
        chosen = QColorDialog.getColor(
            QColor.fromRgbF(*shown), parent, "Another color", option
        )
        if not chosen.isValid():
            return None
        rgba = np.array(chosen.getRgbF()[: len(old)]) * white_of(dtype)
        return (np.rint(rgba) if dtype.kind in "iu" else rgba).astype(dtype)
    label = f"Values of {dtype}, one per channel"
    shown = " ".join(map(str, np.atleast_1d(old)))
    text, is_meant = QInputDialog.getText(parent, "Another color", label, text=shown)
    if not is_meant:
        return None
    try:
        colors = parse_colors(text, dtype, None if old.ndim == 0 else len(old))
    except ValueError as error:
        show_error(str(error))
        return None
    if len(colors) != 1:
        show_error(f"one color is wanted, got {len(colors)}: {text}")
        return None
    return np.asarray(colors[0])
