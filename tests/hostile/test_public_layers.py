"""The functions of layers, called with anything: their promises, or an error.

They draw a quarter of the cases that the functions of arrays do, since layers of napari
take long to make. No window is opened.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image, Labels, Points

from hostile import strategies
from hostile.calling import attempt
from napari_kmeans import cluster_table, quantize_layer, separate_objects

NAMES = ("k", "iters", "mask", "channel_weights", "init", "rng", "fixed")
WRONG = {
    "layers": (None, [], 3, np.ones((3, 3)), Labels(np.ones((1, 1), int)), [Points()]),
    "output": ("all", None, 3, ["image"], object()),
    "channel_axis": ("0", 1.5, 9, True, [0]),
    "slice_axis": ("0", 1.5, 9, True, [0]),
}


@st.composite
def gray(draw):
    """Draw an image without channels that napari shows: of two axes at least."""
    image = draw(strategies.images(gray=st.just(True), lazy=st.just(False)))
    plain = image.plain[..., 0]
    plain = plain.reshape((1,) * max(0, 2 - plain.ndim) + plain.shape)
    return strategies.Image(plain.copy(), plain[..., np.newaxis], None)


@st.composite
def layer_calls(draw):
    """Draw what `quantize_layer` is called with, and what of it is wrong."""
    call = draw(strategies.calls(NAMES, image_of=gray))
    arguments, wrong = dict(call.arguments), set(call.wrong - {"image"})
    del arguments["image"]
    arguments.pop("channel_axis", None)
    arguments["layers"] = Image(call.image.plain[..., 0].copy(), name="cells")
    arguments["output"] = draw(st.sampled_from(("image", "labels", "both")))
    if isinstance(arguments.get("mask"), list):
        arguments["mask"] = np.array(arguments["mask"])
    if "mask" in wrong:
        arguments["mask"] = draw(st.sampled_from(("all", np.ones((9, 9), bool))))
    if draw(st.integers(0, 9)) >= 8:
        name = draw(st.sampled_from(sorted(WRONG)))
        arguments[name] = draw(st.sampled_from(WRONG[name]))
        wrong.add(name)
    return arguments, frozenset(wrong), call.image.plain[..., 0]


@settings(max_examples=max(settings().max_examples // 4, 1))
@given(
    drawn=layer_calls(), wrong=st.sampled_from(("", "", "axis", "image", "clusters"))
)
def test_layers(drawn, wrong):
    arguments, refused, pixels = drawn
    layers = attempt(quantize_layer, arguments, refused)
    if layers is None:
        return
    kinds = {"image": [Image], "labels": [Labels], "both": [Image, Labels]}
    assert [type(layer) for layer in layers] == kinds[arguments["output"]]
    finite = np.isfinite(pixels)
    for layer in layers:
        assert layer.data.shape == pixels.shape
    if arguments["output"] == "labels":
        check_labels(layers[0], pixels, arguments, wrong)
    else:
        image = layers[0].data
        assert image.dtype == pixels.dtype
        assert image[~finite].tobytes() == pixels[~finite].tobytes()
        assert len(np.unique(image[finite])) <= int(arguments.get("k", 16))


def check_labels(labels, pixels, arguments, wrong):
    finite = np.isfinite(pixels)
    assert ((labels.data > 0) == finite).all()
    source = arguments["layers"]
    asked = {"layer": labels, "image": 3 if wrong == "image" else source}
    if wrong == "axis":
        asked["axis"] = 9
    if arguments.get("mask") is not None:
        asked["mask"] = np.ones(pixels.shape, bool)
    table = attempt(cluster_table, asked, frozenset({wrong} & {"axis", "image"}))
    if table is not None:
        assert table["pixels"].sum() == finite.sum()
        assert (
            table["pixels"] == np.bincount(labels.data.flat)[1:].tolist()
        ).all() or (len(table) > labels.data.max())
    cluster = int(labels.data[finite][0])
    chosen = {"labels": labels, "clusters": 0 if wrong == "clusters" else cluster}
    found = attempt(separate_objects, chosen, frozenset({wrong} & {"clusters"}))
    if found is not None:
        assert ((found.data > 0) == (labels.data == cluster)).all()
        assert found.features["pixels"].sum() == (labels.data == cluster).sum()
