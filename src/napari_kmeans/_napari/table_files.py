"""Tables of results as files: a CSV file, and beside it the settings as JSON.

`table_files` encodes both, from one result or from several, and `join_tables` makes one
table of several. Where they go is left to `exports`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kmeans._napari.record import Record

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["join_tables", "table_files"]

# What a record knows of a run, beside its settings.
_KNOWN = (
    *("source", "mask", "time", "version", "n_iter", "converged", "n_colors"),
    *("mse", "psnr"),
)


def join_tables(tables: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Return one table of several, whose first column is the layer of each row.

    A single table stays as it is.
    """
    import pandas as pd

    if len(tables) == 1:
        return tables[0][1]
    named = []
    for name, table in tables:
        one = table.copy()
        one.insert(0, "layer", name)
        named.append(one)
    return pd.concat(named, ignore_index=True)


def table_files(
    tables: Sequence[tuple[str, pd.DataFrame]],
    records: Sequence[Record],
    measured: str,
) -> tuple[bytes, bytes]:
    """Return a CSV file of tables, and a JSON file of how their layers were made.

    Parameters
    ----------
    tables : sequence of (str, DataFrame)
        The name of each layer, and its table.
    records : sequence of Record
        How each was made.
    measured : str
        What is measured: "everything", or "each t".

    Returns
    -------
    csv, json : bytes
        Both in UTF-8. Numbers are written in full; the JSON has null for what is
        unknown or not finite.
    """
    content = join_tables(tables).to_csv(index=False, lineterminator="\r\n")
    layers = []
    for (name, _), record in zip(tables, records, strict=True):
        known = {"layer": name} | {key: getattr(record, key) for key in _KNOWN}
        settings = None
        if record.settings is not None:
            names = {i: name for i, name in enumerate(record.names) if name}
            settings = vars(record.settings) | {"names": names or None}
        layers.append(known | {"settings": settings})
    document = _plain({"measured": measured, "layers": layers})
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)
    # A name that came of a file may have characters that UTF-8 does not.
    how = "backslashreplace"
    return content.encode(errors=how), f"{text}\n".encode(errors=how)


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # Nobody knows what a generator has drawn.
    return value if isinstance(value, str | int | None) else None
