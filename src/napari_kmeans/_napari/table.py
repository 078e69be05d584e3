"""The clusters of a result as a table: names, colors, mean values, areas and shares.

`cluster_table` is the public function, and what the `features` of labels are made by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import ArrayLike

from napari_kmeans._napari.axes import pixel_area, space_axes
from napari_kmeans._napari.colors import hex_colors
from napari_kmeans._napari.layers import Look, rgba_of
from napari_kmeans._napari.quantize_layer import AnyMask
from napari_kmeans._napari.record import Record, record_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cluster_table", "table_of"]

_RGBA = ("red", "green", "blue", "alpha")


def cluster_table(
    layer: Image | Labels,
    *,
    axis: int | str | None = None,
    image: Image | ArrayLike | Sequence[Image | ArrayLike] | None = None,
    mask: AnyMask = None,
) -> pd.DataFrame:
    """Return the table of the clusters of a result, a row for each.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        A layer that `quantize_layer` or the widget made.
    axis : int or str, optional
        Axis of a labels layer, or its label such as ``"t"``, each slice of which is
        measured by itself.
    image : layer or array_like, or sequence of these, optional
        What the labels are measured in, as `quantize_layer` took it.
    mask : napari.layers.Labels, napari.layers.Shapes or bool ndarray, optional
        Where to measure, as `quantize_layer` took it.
    """
    record = record_of(layer)
    assert record is not None
    look = record.look or Look(is_rgb=record.palette.shape[1:] in [(3,), (4,)])
    return table_of(layer, record, hex_colors(rgba_of(record.palette, look)))


def table_of(layer: Layer, record: Record, hexes: list[str]) -> pd.DataFrame:
    """Return the table of a result that has a record, as it is shown."""
    import pandas as pd

    n, counts = len(record.palette), np.asarray(record.counts, dtype=np.int64)
    table: dict[str, Any] = {
        "index": np.arange(1, n + 1),
        "name": list(record.names or n * ("",)),
    }
    if record.slices is not None:
        table["slice"] = record.slices
    table["hex"] = hexes
    columns = _mean_columns(record)
    means = np.full((n, len(columns)), np.nan)
    if record.means is not None:
        means = np.asarray(record.means).reshape(n, -1)
    table |= dict(zip(columns, means.T, strict=True))
    size, unit = pixel_area(layer, space_axes(layer))
    table |= {"pixels": counts, "area": counts * size, "area_unit": n * [unit]}
    table["share"] = counts / max(1, counts.sum())
    return pd.DataFrame(table)


def _mean_columns(record: Record) -> list[str]:
    """Return the names of the columns of mean values."""
    n_channels = record.palette.size // max(1, len(record.palette))
    if n_channels == 1:
        return ["mean"]
    if len(record.source) > 1:
        return [f"mean {name}" for name in record.source]
    if record.look is not None and record.look.is_rgb:
        return [f"mean {name}" for name in _RGBA[:n_channels]]
    return [f"mean {i}" for i in range(n_channels)]
