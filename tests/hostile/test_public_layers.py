"""The functions of layers, called with anything: their promises, or an error.

They draw a quarter of the cases that the functions of arrays do, since layers of napari
take long to make. No window is opened.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from napari.layers import Image, Labels, Points

from hostile import strategies
from hostile.calling import attempt
from hostile.strategies import Callback, Planted
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


WRONG_OF_CHANNELS = {
    "merged": (5, [5], [[99]], [["a"]], "ab", [[-1]]),
    "recolored": ([1], {99: [1, 2, 3]}, {0: "red"}, {0: [1] * 9}, {"a": [1]}),
    "names": ("ab", {99: "a"}, {0: "a\n"}, {0: 3}, ["a"]),
    "dither": ("fs", 3, True),
    "slice_axis": WRONG["slice_axis"],
    "palette": (np.ones((0, 3)), np.ones((2, 9)), 5, np.full((2, 3), np.nan)),
    "color_space": ("hsv", None, 3),
    "channel_weights": ("rgb", [0, 1], [1] * 9, "Std"),
    "mask": (np.ones((9, 9), bool), 3),
    "callback": (3,),
}


@st.composite
def calls_with_channels(draw):
    """Draw RGB layers, layers that are channels, or one with an axis of channels."""
    one_of = st.sampled_from
    kind = draw(one_of(("rgb", "several", "axis")))
    n_channels = draw(one_of((3, 4))) if kind == "rgb" else draw(st.integers(2, 3))
    shape = draw(one_of(((1, 2), (3, 4), (2, 2, 3))))
    dtype = np.dtype(draw(one_of(("u1", "u2", "f4"))))
    most = 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)
    values = one_of((0, most // 3 or 0.25, most // 2 or 0.5, most))
    pixels = draw(hnp.arrays(dtype, (*shape, n_channels), elements=values))
    # One pixel is seen at least.
    pixels[..., -1].flat[0] = most
    named = {"axis_labels": ("t", "y", "x")[-len(shape) :], "scale": (2,) * len(shape)}
    if kind == "rgb":
        layers = Image(pixels, rgb=True, name="cells", **named)
    elif kind == "several":
        channels = np.moveaxis(pixels, -1, 0)
        layers = [
            Image(x.copy(), name=f"c{i}", **named) for i, x in enumerate(channels)
        ]
    else:
        layers = Image(np.moveaxis(pixels, -1, 0).copy(), name="cells")
    number = st.integers(1, 5)
    masks = (np.arange(pixels[..., 0].size).reshape(shape) % 3 == 0,)
    if kind != "axis":
        masks += (Labels(masks[0].astype(int), **named),)
    color = pixels.reshape(-1, n_channels)[0]
    spaces = ("rgb", "lab", "oklab") if kind == "rgb" else ("rgb",)
    weights = ("contrast", "std", None)
    if kind != "rgb":
        weights += ([1, 2.5, 0.5][:n_channels],)
    right = {
        "k": number, "iters": one_of((0, 1, 10)), "mask": one_of(masks),
        "palette": st.just(np.unique(pixels.reshape(-1, n_channels), axis=0)),
        "fixed": st.just(color[np.newaxis]), "color_space": one_of(spaces),
        "channel_weights": one_of(weights),
        "dither": one_of(("floyd-steinberg", "ordered", None)),
        "merged": one_of(([[0, 1]], [], [[0]])), "names": st.just({0: "dark"}),
        "recolored": st.just({0: color.tolist()}),
        "callback": one_of((None, StopIteration, Planted)).map(Callback),
    }  # fmt: skip
    if len(shape) == 3:
        right["slice_axis"] = st.just(1 if kind == "axis" else 0)
    chosen = draw(st.sets(one_of(sorted(right)), max_size=6))
    arguments = {name: draw(right[name]) for name in sorted(chosen)}
    arguments |= {"layers": layers, "output": draw(one_of(("image", "labels", "both")))}
    if kind == "axis":
        arguments["channel_axis"] = 0
    wrong = set()
    if draw(st.integers(0, 9)) >= 8:
        name = draw(one_of(sorted(WRONG_OF_CHANNELS)))
        arguments[name] = draw(one_of(WRONG_OF_CHANNELS[name]))
        wrong = {name}
        if name == "mask":
            # It is not looked at then.
            arguments.pop("palette", None)
    return arguments, frozenset(wrong), pixels


@settings(max_examples=max(settings().max_examples // 4, 1))
@given(drawn=calls_with_channels(), data=st.data())
def test_layers_of_channels(drawn, data):
    arguments, wrong, pixels = drawn

    def may_refuse(text):
        # Of palettes of slices, and of one entry, entries cannot be merged.
        return text.startswith("merged") or "slice" in text

    made = attempt(quantize_layer, arguments, wrong, may_refuse)
    if made is None:
        return
    layers = arguments["layers"]
    sources = layers if isinstance(layers, list) else [layers]
    images = [layer for layer in made if isinstance(layer, Image)]
    assert len(images) == (0 if arguments["output"] == "labels" else len(sources))
    for image, source in zip(images, sources, strict=False):
        assert image.data.dtype == source.data.dtype
        assert image.data.shape == source.data.shape
        assert image.scale.tolist() == source.scale.tolist()
    if arguments["output"] == "image":
        assert len(made) == len(images)
        return
    labels = made[-1]
    numbers = labels.data.reshape(pixels.shape[:-1])
    n_colors = len(labels.metadata["napari-kmeans"]["palette"])
    assert numbers.min() >= 1
    assert numbers.max() <= n_colors
    check_measured(labels, numbers, arguments, data)


def check_measured(labels, numbers, arguments, data):
    """Measure the clusters of labels, and separate the objects of the first."""
    asked = {"layer": labels, "image": arguments["layers"]}
    if arguments.get("mask") is not None and "palette" not in arguments:
        asked["mask"] = arguments["mask"]
    axis = data.draw(st.sampled_from((None, -1, "x")))
    if axis is not None:
        asked["axis"] = axis
    may_refuse = "slice_axis" in arguments or axis == "x"
    table = attempt(cluster_table, asked, frozenset(), lambda _: may_refuse)
    inside = asked.get("mask", np.ones(numbers.shape, bool))
    inside = np.asarray(getattr(inside, "data", inside)).astype(bool)
    if table is not None:
        assert table["pixels"].sum() == inside.sum()
    first = int(numbers.flat[0])
    asked = {
        "labels": labels,
        "clusters": data.draw(st.sampled_from((first, [first], np.int64(first)))),
        "connected": data.draw(st.booleans()),
        "smallest": data.draw(st.sampled_from((1, 2, np.int16(3)))),
        "image": data.draw(st.sampled_from((None, arguments["layers"]))),
        "axes": data.draw(st.sampled_from((None, (-2, -1), [-1, -2]))),
    }
    found = attempt(separate_objects, asked)
    is_in = found.data.reshape(numbers.shape) > 0
    assert not (is_in & (numbers != first)).any()
    if asked["smallest"] == 1:
        assert (is_in == (numbers == first)).all()
    assert found.features["pixels"].sum() == is_in.sum()
    if asked["connected"]:
        assert (found.features["pixels"] >= asked["smallest"]).all()
        assert len(found.features) == found.data.max()
