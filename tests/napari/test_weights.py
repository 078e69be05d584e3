"""How much each channel counts."""

import dataclasses

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import kmeans_palette, quantize_layer
from napari_kmeans._napari.computation import contrast_weights
from napari_kmeans._napari.kept_counts import KeptCounts
from napari_kmeans._napari.quantize_layer import prepare
from napari_kmeans._napari.record import record_of, write_record
from napari_kmeans._napari.script import as_python
from napari_kmeans._napari.settings import Settings
from napari_window import press


def structures(strengths=(10, 300, 10_000)):
    """Give three channels, each of one structure, and where the structures are."""
    rng, where = np.random.default_rng(7), np.zeros((60, 60), dtype=int)
    for i in range(3):
        where[20 * i + 3 : 20 * i + 18, 5:50] = i + 1
    channels = [
        5000 + (where == i + 1) * strength + rng.normal(0, 0.05 * strength, where.shape)
        for i, strength in enumerate(strengths)
    ]
    return np.rint(channels).astype(np.uint16), where


def are_parted(labels, where):
    """Say whether each structure, and the background, has a label of its own."""
    data = labels.data[0] if labels.multiscale else labels.data
    found = [set(data[where == i]) for i in range(4)]
    return [len(labels) for labels in found] == [1] * 4 and len(set.union(*found)) == 4


def weights_of(layer):
    return record_of(layer).settings.channel_weights


def quantized(layers, k=4, **settings):
    (labels,) = quantize_layer(layers, k, output="labels", **settings)
    return labels


@pytest.mark.parametrize("weights", ["as is usual", None])
@pytest.mark.parametrize("channels", ["layers", 0])
def test_every_structure_has_a_cluster_of_its_own(
    viewer, dock, finish, channels, weights
):
    image, where = structures()
    if channels == 0:
        viewer.add_image(image, name="a", axis_labels=("c", "y", "x"))
    else:
        viewer.add_image(image, channel_axis=0, name=list("abc"))
    widget = dock()
    controls = widget.controls
    viewer.layers.selection = set(viewer.layers)
    controls.channels.value = channels
    if weights is None:
        controls.weights.value = None
    controls.k.value = 4
    controls.output.value = "labels"

    press(widget.run_panel.run)
    finish(widget)

    is_parted = are_parted(viewer.layers[-1], where)
    assert is_parted == (weights is not None)


def test_layers_count_by_their_contrast_limits():
    layers = [
        Image(np.arange(9.0).reshape(3, 3), contrast_limits=limits)
        for limits in ((0, 4), (10, 1010))
    ]
    labels = quantized(layers, channel_weights="contrast")
    assert weights_of(labels) == (0.25, 0.001)

    # They are what they were, whatever is changed then.
    layers[0].contrast_limits = 1, 2
    assert weights_of(labels) == (0.25, 0.001)


def test_channels_along_an_axis_count_by_their_ranges():
    image = np.array([[[0, 4, 2]], [[10, 10, 1010]], [[7, 7, 7]]])
    labels = quantized(Image(image), channel_axis=0, channel_weights="contrast")
    assert weights_of(labels) == (0.25, 0.001, 1)


def test_ranges_are_those_of_the_fitted_pixels():
    image = np.array([[[0, 4, 99]], [[1, 3, 99]]], dtype=float)
    image[1, 0, 0] = np.nan
    mask = np.array([[True, True, False]])
    labels = quantized(
        Image(image), channel_axis=0, channel_weights="contrast", mask=mask
    )
    assert weights_of(labels) == (1, 1)


@pytest.mark.parametrize(
    ("limits", "weight"),
    [
        ((0, 4), 0.25),
        ((7, 7), 1),
        ((-1.7e308, 1.7e308), 1),
        ((0, 5e-324), 1),
    ],
)
def test_range_without_a_width_counts_one(limits, weight):
    assert contrast_weights([limits]) == (weight,)


@pytest.mark.parametrize("weights", ["std", "contrast"])
def test_slices_weigh_their_channels_alike(weights):
    image, _ = structures()
    stack = np.stack([image, image // 2, image[:, ::-1]])
    both = [
        quantized(
            Image(stack), channel_axis=1, channel_weights=weights, slice_axis=axis
        )
        for axis in (None, 0)
    ]
    assert weights_of(both[0]) == weights_of(both[1])


def test_std_is_one_over_the_standard_deviation():
    image, _ = structures()
    labels = quantized(Image(image), channel_axis=0, channel_weights="std")
    assert_allclose(weights_of(labels), 1 / image.std(axis=(1, 2)))


def test_numbers_are_taken_as_they_are():
    image, _ = structures()
    numbers = (3.0, 1.0, 0.1)
    labels = quantized(Image(image), channel_axis=0, channel_weights=numbers)
    assert weights_of(labels) == numbers
    expected = kmeans_palette(image, 4, channel_axis=0, channel_weights=numbers)
    assert_array_equal(record_of(labels).palette, expected.palette)


@pytest.mark.parametrize("weights", ["contrast", "std"])
def test_one_channel_has_no_weight(weights):
    image, _ = structures()
    assert weights_of(quantized(Image(image[0]), channel_weights=weights)) is None


def test_rgb_is_shown_by_its_numbers():
    image = np.random.default_rng(1).integers(0, 256, (9, 9, 3), np.uint8)
    labels = quantized(Image(image, rgb=True), channel_weights="contrast")
    assert weights_of(labels) is None


def test_unknown_word_is_refused():
    image, _ = structures()
    rule = "channel_weights must be 'contrast', 'std', None, or a positive number for"
    with pytest.raises(ValueError, match=f"{rule} each channel, got 'contrasts'"):
        quantize_layer(Image(image), channel_axis=0, channel_weights="contrasts")


def test_given_palette_is_mapped_with_weights():
    image = np.array([[[3, 0]], [[0, 100]]], dtype=np.uint8)
    palette = [[0, 0], [3, 90]]
    layer = Image(image)
    plain = quantized(layer, channel_axis=0, palette=palette)
    weighed = quantized(
        layer, channel_axis=0, palette=palette, channel_weights=(100, 1)
    )
    assert plain.data.tolist() == [[1, 2]]
    assert weighed.data.tolist() == [[2, 1]]


def test_coarse_levels_are_mapped_with_weights():
    image, where = structures()
    levels = [image, image[:, ::2, ::2]]
    labels = quantized(
        Image(levels, multiscale=True), channel_axis=0, channel_weights="contrast"
    )
    assert_array_equal(labels.data[1], labels.data[0][::2, ::2])
    assert are_parted(labels, where)


@pytest.mark.parametrize("weights", ["std", "contrast"])
def test_lazy_layers_weigh_like_others(weights):
    image, _ = structures()
    settings = {"channel_axis": 0, "channel_weights": weights}
    lazy = quantized(Image(da.from_array(image, chunks=(3, 25, 25))), **settings)
    plain = quantized(Image(image), **settings)
    assert weights_of(lazy) == weights_of(plain)
    assert_array_equal(lazy.data, plain.data)


def test_other_weights_need_no_other_count():
    image, _ = structures()
    source = prepare([Image(image)], Settings(channel_axis=0)).source
    count, counted = KeptCounts(), []
    for weights in (None, "std"):
        settings = Settings(channel_axis=0, channel_weights=weights)
        counted += count(image, None, source, settings)
    assert counted[0].counted is counted[1].counted


def test_script_of_a_record_without_weights_has_none():
    image, _ = structures()
    labels = quantized(Image(image), channel_axis=0)
    record = record_of(labels)
    settings = dict(labels.metadata["napari-kmeans"]["settings"])
    del settings["channel_weights"]
    write_record(labels, dataclasses.replace(record))
    labels.metadata["napari-kmeans"]["settings"] = settings

    assert "    channel_weights=None,\n" in as_python(labels, [])


def test_script_has_the_weights_in_full():
    image, _ = structures()
    labels = quantized(Image(image), channel_axis=0, channel_weights="std")
    text = f"    channel_weights={weights_of(labels)!r},\n"
    assert text in as_python(labels, [])


# In the widget.


def test_channels_count_by_default_as_is_usual_for_their_kind(viewer, dock):
    image, _ = structures()
    rgb = np.zeros((40, 40, 3), dtype=np.uint8)
    viewer.add_image(image, name="stack")
    controls = dock().controls
    assert controls.weights.native.isHidden()
    assert controls.weights.value is None

    controls.channels.value = 0
    assert not controls.weights.native.isHidden()
    assert controls.weights.value == "contrast"
    assert controls.weights.choices == ("contrast", "std", None)

    viewer.add_image(rgb, name="rgb")
    assert controls.weights.value is None
    assert controls.weights.choices == (None, "std")

    controls.weights.value = "std"
    controls.source.value = viewer.layers["stack"]
    controls.channels.value = 0
    assert controls.weights.value == "contrast"


def test_choice_of_how_channels_count_stays(viewer, dock):
    image, _ = structures()
    for name in "ab":
        viewer.add_image(image, name=name, axis_labels=("c", "y", "x"))
    controls = dock().controls
    controls.weights.value = "std"
    controls.source.value = viewer.layers["a"]
    assert controls.channels.value == 0
    assert controls.weights.value == "std"
