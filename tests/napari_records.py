"""Layers that version 0.1.0 made, with all that they remember of how.

Each file in `napari/data` holds the layers that a run of the widget started from, and
those that it added, as `napari/data/make_layers.py` wrote them. JSON has no arrays, no
tuples, and no keys but text: the file has an object with the one key "array", "tuple"
or "pairs" for each, and `read_records` returns what 0.1.0 had in the layer.
"""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "napari" / "data"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def read_records(name):
    """Return what each result of a run has in ``layer.metadata["napari-kmeans"]``."""
    return [
        layer["attributes"]["metadata"]["napari-kmeans"]
        for layer in _read(name)["results"]
    ]


def read_layers(name):
    """Return the layers of a run: its sources and masks, and its results."""
    run = _read(name)
    return [_layer(**it) for it in run["sources"]], [
        _layer(**it) for it in run["results"]
    ]


def _read(name):
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    return json.loads(text, object_hook=_decoded)


def _decoded(found):
    match found:
        case {"array": {"values": values, "dtype": dtype, "shape": shape}}:
            return np.array(values, dtype=dtype).reshape(shape)
        case {"tuple": items}:
            return tuple(items)
        case {"pairs": pairs}:
            return dict(pairs)
    return found


def _layer(kind, data, attributes):
    from napari.layers import Layer
    from napari.utils.colormaps import DirectLabelColormap

    colors = attributes.pop("colors", None)
    if colors is not None:
        clear = np.zeros(4)
        colors = {None: clear, 0: clear} | dict(enumerate(colors, start=1))
        attributes["colormap"] = DirectLabelColormap(color_dict=colors)
    return Layer.create(data, attributes, kind)
