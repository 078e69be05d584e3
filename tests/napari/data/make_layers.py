"""Write the layers beside this file anew, with a checkout of version 0.1.0.

    PYTHONPATH=CHECKOUT/src xvfb-run -a python tests/napari/data/make_layers.py

Tests read what that version wrote, and no other version has the modules that are
imported here. `napari_records.py` reads the files.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
# Runs by the name of the file: what is chosen in the widget.
RUNS = {
    "rgb": {},
    "replaced": {},
    "rgba": {"color_space": "lab", "dither": "ordered", "fixed": "#ff0000"},
    "gray": {"init": "random", "rng": 3, "iters": 2},
    "not_finite": {},
    "inside_shapes": {"inside": "mask"},
    "inside_labels": {"inside": "mask"},
    "inside_channels": {"channels": 1, "inside": "mask"},
    "slices": {"palettes": 0},
    "channels": {"channels": 0},
    "channels_and_slices": {"channels": 1, "palettes": 3},
    "layers": {"channels": "layers"},
    "given": {"palette": "given"},
    "given_file": {"palette": "from file", "palette_file": "colors.hex"},
    "multiscale": {"palettes": 0},
}


def main():
    """Run the widget on the sources of each run, and open a palette file."""
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari_kmeans._napari._reader import get_reader
    from qtpy.QtWidgets import QApplication

    from napari_kmeans import write_indexed
    from napari_kmeans._napari import QuantizeWidget

    app = QApplication([])
    photo = cut(0)
    os.chdir(tempfile.mkdtemp())
    Path("colors.hex").write_text("201008\n80a0c0\nffffff\n")

    def run(viewer, chosen, k=3):
        widget = QuantizeWidget(viewer)
        widget.controls.k.value, widget.controls.output.value = k, "both"
        for name, value in chosen.items():
            is_layer = name in ("inside", "palette") and value in viewer.layers
            value = viewer.layers[value] if is_layer else value
            getattr(widget.controls, name).value = value
        widget.run.native.click()
        while not widget.run.enabled:
            app.processEvents()
        return widget

    for name, chosen in RUNS.items():
        viewer = ViewerModel()
        add_sources(viewer, name)
        if name == "given":
            run(viewer, {}, k=2)
            viewer.layers[-1].name = "given"
        sources = list(viewer.layers)
        widget = run(viewer, chosen)
        results = [layer for layer in viewer.layers if layer not in sources]
        if name == "replaced":
            QuantizeWidget._ask_color = lambda *_: np.array([255, 0, 9], np.uint8)
            before = results[0].data
            viewer.layers.selection.active = results[-1]
            widget.panel.opened.emit(1)
            while np.array_equal(results[0].data, before):
                app.processEvents()
        write(name, sources, results)

    palette, labels = np.unique(
        photo[:2, :2].reshape(-1, 3), axis=0, return_inverse=True
    )
    write_indexed("opened.png", labels.reshape(2, 2).astype("u1"), palette)
    (opened,) = get_reader("opened.png")("opened.png")
    write("opened", [], [Layer.create(*opened)])


def cut(top):
    """Cut a few pixels out of a photo."""
    from skimage import data

    return data.astronaut()[top : top + 96 : 16, 150:270:15]


def add_sources(viewer, name):
    """Add what the run of this name starts from; colors come from (6, 8) pixels."""
    photo = cut(0)
    stack = np.stack([photo, cut(96)])
    places = {"scale": (2, 3), "translate": (5, 7), "units": ("um", "um")}
    match name:
        case "rgba":
            opacity = np.tile(np.array([0, 99, 255, 255], "u1"), (6, 2))
            viewer.add_image(np.dstack([photo, opacity]), name="a", rgb=True)
        case "gray":
            viewer.add_image(photo[..., 0], name="a", colormap="magma", gamma=0.5)
        case "not_finite":
            image = photo[..., 0] / 255
            viewer.add_image(np.where(np.eye(6, 8), np.nan, image), name="a")
        case "inside_channels":
            images = np.moveaxis(stack, -1, 1)
            viewer.add_image(images, name="a", rgb=False, scale=(9, 2, 1, 1))
            labels = (stack[:, np.newaxis, ..., 0] > 100).astype("u1")
            lies = {"scale": (9, 6, 1, 1), "translate": (0, 2, 0, 0)}
            viewer.add_labels(labels, name="mask", **lies)
        case "inside_shapes" | "inside_labels":
            viewer.add_image(photo, name="a", rgb=True, **places)
            if name == "inside_labels":
                labels = (photo[:3, ..., 0] > 50).astype("u1")
                viewer.add_labels(labels, name="mask", **places | {"translate": (7, 7)})
            else:
                box = np.array([[0, 0], [0, 4], [3, 4], [3, 0]], float)
                oval = box + 2
                kinds = ["rectangle", "ellipse"]
                viewer.add_shapes([box, oval], shape_type=kinds, name="mask", **places)
        case "slices":
            viewer.add_image(stack, name="a", rgb=True, axis_labels=("z", "y", "x"))
        case "channels":
            viewer.add_image(np.moveaxis(photo, -1, 0), name="a", rgb=False)
        case "channels_and_slices":
            viewer.add_image(np.moveaxis(stack, -1, 1)[..., :3], name="a", rgb=False)
        case "layers":
            for i, color in enumerate(("red", "green", "blue")):
                channel = photo[..., i].astype("u2") * 257
                viewer.add_image(channel, name=color, colormap=color, **places)
            viewer.layers.selection = set(viewer.layers)
        case "multiscale":
            levels = [stack, stack[:, ::2, ::2]]
            viewer.add_image(levels, name="a", rgb=True, multiscale=True)
        case _:
            viewer.add_image(photo, name="a", rgb=True, **places)


def write(name, sources, results):
    """Write layers into a file of this name, one layer to a line."""
    groups = [
        f'"{key}": [\n' + ",\n".join(json.dumps(described(x)) for x in layers) + "\n]"
        for key, layers in (("sources", sources), ("results", results))
    ]
    (FOLDER / f"{name}.json").write_text("{" + ",\n".join(groups) + "}\n")


def described(layer):
    """Describe a layer by what tests need of it."""
    _, attributes, kind = layer.as_layer_data_tuple()
    names = ["name", "metadata", "scale", "translate"]
    if kind == "shapes":
        names += ["shape_type"]
    else:
        names += ["multiscale"]
    if kind == "image":
        names += ["rgb", "gamma"] + ([] if layer.rgb else ["contrast_limits"])
    kept = {name: attributes[name] for name in names}
    kept |= {"units": [str(unit) for unit in layer.units]}
    if kind == "image" and not layer.rgb:
        kept["colormap"] = layer.colormap.name
    if "napari-kmeans" in layer.metadata and kind == "labels":
        numbers = range(1, len(layer.features) + 1)
        kept["colors"] = np.array([layer.get_color(i) for i in numbers], float)
        kept["features"] = {
            column: values.tolist() for column, values in layer.features.items()
        }
    data = list(layer.data) if kind == "shapes" or layer.multiscale else layer.data
    return {"kind": kind, "data": encoded(data), "attributes": encoded(kept)}


def encoded(value):
    """Say in JSON what Python has and JSON has not."""
    match value:
        case np.ndarray():
            text = {"values": value.ravel().tolist(), "dtype": str(value.dtype)}
            return {"array": text | {"shape": list(value.shape)}}
        case tuple():
            return {"tuple": [encoded(item) for item in value]}
        case list():
            return [encoded(item) for item in value]
        case dict() if any(not isinstance(key, str) for key in value):
            return {"pairs": [[key, encoded(item)] for key, item in value.items()]}
        case dict():
            return {key: encoded(item) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(value)


if __name__ == "__main__":
    main()
