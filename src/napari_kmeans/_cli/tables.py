"""Tables as CSV files, for spreadsheets and data frames.

`color_rows` makes the rows of one image, a row for each color; `encode_colors` puts
those of all images together, and `encode_table` writes any table.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from napari_kmeans._cli.running import ColorRow, Outcome, one_line
from napari_kmeans._core.arrays import Array, Floats
from napari_kmeans._pictures.display import hex_colors

__all__ = ["cell_of", "color_rows", "encode_colors", "encode_table"]

# What formulas of spreadsheets start with.
_FORMULA = ("=", "+", "-", "@")


def color_rows(
    name: str, palette: Array, counts: Array | None, errors: Floats | None
) -> tuple[ColorRow, ...]:
    """Return a row for each color (K, C) or (K,) of an image, as far as it is known."""
    n = len(palette)
    pixels = [None] * n if counts is None else counts.tolist()
    n_all = sum(filter(None, pixels)) or 1
    told = [math.nan] * n if errors is None else errors.tolist()
    values = palette.reshape(n, -1).tolist()
    columns = zip(hex_colors(palette), values, pixels, told, strict=True)
    return tuple(
        ColorRow(
            cell_of(name),
            index,
            color if color.startswith("#") else None,
            numbers,
            number,
            None if number is None else number / n_all,
            None if math.isnan(error) else error,
        )
        for index, (color, numbers, number, error) in enumerate(columns)
    )


def cell_of(name: str) -> str:
    """Return the name of a file as spreadsheets take it: as text, not as a formula."""
    is_formula = name != "-" and name.startswith(_FORMULA)
    return one_line(os.path.join(".", name) if is_formula else name)


def encode_colors(outcomes: Sequence[Outcome]) -> bytes:
    """Write the colors of images that are done, each value in a column of its own."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    n = max((len(row.values) for row in rows), default=0)
    header = ["image", "index", "hex", *(f"value_{i}" for i in range(n))]
    table = []
    for row in rows:
        values = [*row.values, *[None] * (n - len(row.values))]
        told = row.pixels, row.share, row.error
        table.append([row.image, row.entry, row.hex, *values, *told])
    return encode_table([*header, "pixels", "share", "error"], table)


def encode_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Write a table; what is None is left empty."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue().encode()
