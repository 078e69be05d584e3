"""Results as the lines of Python that make them again: one call of `quantize_layer`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_kmeans._napari.record import Record, record_of
from napari_kmeans._napari.settings import Settings

__all__ = ["as_python"]


def as_python(layer: Image | Labels, layers: Iterable[Layer]) -> str:
    """Return a script that makes a layer again, from what it remembers.

    An image of one of several channels comes with those of the others.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        A result whose settings are known.
    layers : iterable of napari.layers.Layer
        Those in the viewer. What the result was made of is called as it is called now.
    """
    record = record_of(layer)
    assert record is not None
    assert record.settings is not None
    names_now = {str(other.unique_id): other.name for other in layers}
    comments: list[str] = []

    def named(what: str, then: str, unique_id: str) -> str:
        """Return a layer as Python finds it, and say which one it is."""
        now = names_now.get(unique_id)
        told = "" if now == then else f", which was called {then!r}"
        if now is None:
            now, told = then, f". It was removed: open it again, as {then!r}"
        comments.append(f"# {what}{told}.")
        return f"viewer.layers[{now!r}]"

    ids = record.source_ids or ("",) * len(record.source)
    names = [
        named("The layer that is clustered", *pair)
        for pair in zip(record.source, ids, strict=True)
    ]
    arguments = [names[0] if len(names) == 1 else f"[{', '.join(names)}]"]
    settings = _settings_of(layer, record)
    if record.painted:
        comments.append(
            "# The labels were painted since: this makes them as they were."
        )
    arguments += _keywords(settings)
    if record.mask is not None and settings.palette is None:
        if record.mask_id:
            what = "The layer inside of which the palette is fitted"
            mask = named(what, record.mask, record.mask_id)
        else:
            comments.append("# The palette is fitted inside of an array: name it.")
            mask = "mask"
        arguments.append(f"mask={mask}")
    arguments.append("viewer=viewer")
    return "\n".join(
        [
            "import napari",
            "from napari_kmeans import quantize_layer",
            "",
            "viewer = napari.current_viewer()",
            *dict.fromkeys(comments),
            "quantize_layer(",
            *(f"    {argument}," for argument in arguments),
            ")",
            "",
        ]
    )


def _settings_of(layer: Image | Labels, record: Record) -> Settings:
    """Return the settings that make a layer alone, with the names that it has now."""
    assert record.settings is not None
    output = "image" if isinstance(layer, Image) else "labels"
    names: Any = {entry: name for entry, name in enumerate(record.names) if name}
    if not names:
        # Those of a palette file are not taken, if they were taken away.
        names = {} if isinstance(record.settings.palette, str) else None
    return dataclasses.replace(record.settings, output=output, names=names)


def _keywords(settings: Settings) -> list[str]:
    """Return the settings that are not the default, and how channels count."""
    keywords = []
    for field in dataclasses.fields(Settings):
        value = getattr(settings, field.name)
        # Where channels are in RGB, and in several layers, need not be said.
        is_told = field.name != "channel_axis" or value != -1
        # Nobody knows what a generator has drawn.
        is_told &= not isinstance(value, np.random.Generator)
        # The widget weighs channels, and the function does not.
        is_told &= field.name == "channel_weights" or _text(value) != _text(
            field.default
        )
        if is_told:
            keywords.append(f"{field.name}={_text(value)}")
    return keywords


def _text(value: Any) -> str:
    """Return a setting as Python writes it, with each number in full."""
    return repr(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
