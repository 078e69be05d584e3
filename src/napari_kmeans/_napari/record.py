"""What layers remember of how they were made, and the one place that reads and writes.

A `Record` lies in the metadata of a layer as a plain dictionary, which other programs
can read and napari can copy. `record_of` reads it, whichever version wrote it: 0.1.0
knew fewer keys, and a key that is unknown or missing is no error. `write_record`
writes it.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Layer
from napari.utils.colormaps import ensure_colormap
from numpy.typing import NDArray

from napari_kmeans._core.arrays import Array, Floats, Indices
from napari_kmeans._napari.layers import Look
from napari_kmeans._napari.settings import Settings

__all__ = ["Fit", "Record", "metadata_with", "record_in", "record_of", "write_record"]

_KEY = "napari-kmeans"


class Fit(NamedTuple):
    """The colors that were fitted, before any of them was changed."""

    palette: Array
    counts: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """How a layer was made.

    Parameters
    ----------
    palette : (K, C) or (K,) ndarray
        Colors of all slices, one palette after the other, as they are now.
    counts : (K,) ndarray of int64
        Pixels of each color, inside of the mask if there is one; of labels, as they
        were painted since.
    means : (K, C) ndarray or None
        Mean values of these pixels in the source, NaN of none. None if unknown.
    names : tuple of str
        Name of each color that somebody has given it, "" if none. Empty if none has.
    fit : Fit or None
        Colors and pixels before any was merged or changed. None if unknown.
    painted : bool
        Whether somebody has painted in these labels.
    slices : (K,) ndarray or None
        Slice that each color belongs to, where slices have palettes of their own.
    run : str
        The same for all layers of one computation.
    layer, name : str
        Id of the layer that this was written to, of which a copy has another one, and
        the name that it was given then.
    time, version : str
        When the layers were made, in UTC, and by which version.
    source, source_ids : tuple of str
        Names and ids of the layers it was made of, which were channels if several.
    channel : int
        Which of these an image belongs to.
    mask, mask_id : str or None
        Name and id of the layer inside of which the palette was fitted, None for all
        pixels. Of an array, they are empty.
    settings : Settings or None
        As they were chosen, with the entries that were merged or given another color
        since, without the names, and with -1 as `channel_axis` of RGB and of several
        layers. None if the palette was read from a file, and nobody knows.
    look : Look or None
        How the source showed its channels. None if that is unknown.
    n_iter, converged : int, bool
        As in `PaletteResult`; the most of all slices, and whether all did.
    n_colors : int or None
        Distinct colors before; None if they are too many or unknown.
    mse, psnr : float or None
        Error of these pixels, and the same in decibels; None if unknown.
    n_bytes : int
        Bytes of the source's pixels.
    """

    palette: Array
    counts: NDArray[np.int64]
    means: Floats | None = None
    names: tuple[str, ...] = ()
    fit: Fit | None = None
    painted: bool = False
    slices: Indices | None = None
    run: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    layer: str = ""
    name: str = ""
    time: str = ""
    version: str = ""
    source: tuple[str, ...] = ()
    source_ids: tuple[str, ...] = ()
    channel: int = 0
    mask: str | None = None
    mask_id: str | None = None
    settings: Settings | None = None
    look: Look | None = None
    n_iter: int = 0
    converged: bool = True
    n_colors: int | None = None
    mse: float | None = None
    psnr: float | None = None
    n_bytes: int = 0

    @property
    def channel_axis(self) -> int | None:
        """Axis of the source that channels were along, as in the settings."""
        return None if self.settings is None else self.settings.channel_axis


def record_of(layer: Layer | None) -> Record | None:
    """Return how a layer was made, or None if it was not made here."""
    return None if layer is None else record_in(layer.metadata)


def record_in(metadata: Mapping[str, Any]) -> Record | None:
    """Return the record in the metadata of a layer, or None if there is none."""
    found = metadata.get(_KEY)
    if not isinstance(found, dict) or "palette" not in found:
        return None
    known = _known(found, Record) | {"palette": np.asarray(found["palette"])}
    known.setdefault("counts", np.zeros(len(found["palette"]), dtype=np.int64))
    # A layer that nobody knows the run of is a run of its own.
    known.setdefault("run", "")
    for name in {"names", "source", "source_ids"} & known.keys():
        known[name] = tuple(known[name])
    if isinstance(found.get("mask"), dict):
        # So did 0.1.0.
        known |= {"mask": found["mask"]["layer"], "mask_id": found["mask"]["id"]}
    if found.get("fit") is not None:
        known["fit"] = Fit(**found["fit"])
    if found.get("look") is not None:
        look = found["look"]
        maps = tuple(map(ensure_colormap, look["colormaps"]))
        known["look"] = Look(**(look | {"colormaps": maps}))
    if found.get("settings") is not None:
        known["settings"] = _settings_in(found["settings"], found.get("replaced"))
    return Record(**known)


def _settings_in(found: Mapping[str, Any], replaced: Any) -> Settings:
    """Read settings; 0.1.0 had palette files and replaced colors elsewhere."""
    known = _known(found, Settings)
    if found.get("palette_file") is not None:
        known["palette"] = found["palette_file"]
    if replaced:
        known["recolored"] = replaced
    return Settings(**known)


def _known(found: Mapping[str, Any], kind: type[Record | Settings]) -> dict[str, Any]:
    """Return the items that are fields of a kind of dataclass."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in found.items() if name in names}


def write_record(layer: Layer, record: Record) -> None:
    """Write down how a layer was made."""
    layer.metadata = layer.metadata | metadata_with(record)


def metadata_with(record: Record) -> dict[str, Any]:
    """Return a record as the metadata of a layer to be."""
    written = _known(vars(record), Record)
    tuples = ("names", "source", "source_ids")
    written |= {name: list(written[name]) for name in tuples}
    if record.fit is not None:
        written["fit"] = record.fit._asdict()
    if record.settings is not None:
        written["settings"] = _known(vars(record.settings), Settings)
    if record.look is not None:
        maps = [dict(colormap) for colormap in record.look.colormaps]
        written["look"] = record.look._asdict() | {"colormaps": maps}
    return {_KEY: written}
