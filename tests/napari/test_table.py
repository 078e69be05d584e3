"""The table of clusters, against pandas and hand-made cases."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Labels, Shapes
from numpy.testing import assert_allclose, assert_array_equal
from numpydoc.validate import validate
from pandas.testing import assert_frame_equal

import napari_records
from napari_kmeans import cluster_table, quantize_layer
from napari_kmeans._napari.record import record_of

RNG = np.random.default_rng(8)
FRAMES = RNG.integers(0, 200, (3, 12, 10)).astype(np.uint16)
OTHER = RNG.integers(0, 9, (3, 12, 10)).astype(np.uint16)
PLACE = {
    "scale": (2, 0.5, 0.25),
    "units": ("s", "um", "um"),
    "axis_labels": ("t", "y", "x"),
}


def image(data, **attributes):
    return Image(data, **(PLACE | attributes))


def expected_table(labels, values, columns, by=()):
    """Return pixels and means of labels, as pandas groups them."""
    pixels = pd.DataFrame({"index": labels.ravel()})
    for name, column in zip(columns, values, strict=True):
        pixels[name] = column.ravel().astype(float)
    for name, column in by:
        pixels[name] = np.broadcast_to(column, labels.shape).ravel()
    groups = pixels[pixels["index"] > 0].groupby([*(name for name, _ in by), "index"])
    table = groups.mean()
    table["pixels"] = groups.size()
    return table.reset_index()


def assert_measured(table, expected):
    """The table has the pixels and the means that are expected, and no other pixels."""
    seen = table[table["pixels"] > 0].reset_index(drop=True)
    assert_frame_equal(
        seen[expected.columns], expected, check_dtype=False, rtol=1e-12, atol=0
    )


# The table of a layer.


def test_columns_stand_in_this_order():
    made = quantize_layer([image(FRAMES, name="a"), image(OTHER, name="b")], 4)
    for layer in made:
        assert list(cluster_table(layer)) == [
            *("index", "name", "hex", "mean a", "mean b"),
            *("pixels", "area", "area_unit", "share"),
        ]


def test_dtypes_are_those_of_numbers_and_words():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels", names={2: "cells"})
    table = cluster_table(labels)
    kinds = {name: column.dtype.kind for name, column in table.items()}
    assert kinds["index"] == kinds["pixels"] == "i"
    assert kinds["mean"] == kinds["area"] == kinds["share"] == "f"
    assert table["pixels"].dtype == np.int64
    assert table["name"].tolist() == ["", "", "cells", ""]


@pytest.mark.parametrize(
    ("shape", "options", "columns"),
    [
        ((9, 8), {}, ["mean"]),
        ((9, 8, 3), {"rgb": True}, ["mean red", "mean green", "mean blue"]),
        (
            (9, 8, 4),
            {"rgb": True},
            ["mean red", "mean green", "mean blue", "mean alpha"],
        ),
        ((9, 2, 8), {"channel_axis": 1}, ["mean 0", "mean 1"]),
        ((9, 8, 1), {"channel_axis": 2}, ["mean"]),
    ],
)
def test_means_are_of_the_pixels_of_each_channel(shape, options, columns):
    pixels = RNG.integers(1, 256, shape).astype(np.uint8)
    rgb, axis = options.get("rgb", False), options.get("channel_axis")
    layer = Image(pixels, rgb=rgb)
    made = quantize_layer(layer, 5, output="both", channel_axis=axis)
    values = (
        [pixels] if len(shape) == 2 else np.moveaxis(pixels, -1 if rgb else axis, 0)
    )
    labels = np.squeeze(made[1].data)
    for one in made:
        table = cluster_table(one)
        assert [name for name in table if name.startswith("mean")] == columns
        assert_measured(table, expected_table(labels, values, columns))


def test_layers_of_one_name_have_columns_of_their_own():
    layers = [image(FRAMES, name="a"), image(OTHER, name="a")]
    (labels,) = quantize_layer(layers, 3, output="labels")
    assert [name for name in cluster_table(labels) if "mean" in name] == [
        "mean 0",
        "mean 1",
    ]


def test_shares_are_of_all_pixels_that_are_counted():
    values = FRAMES.astype(float)
    values[0, :2] = np.nan
    (labels,) = quantize_layer(image(values), 4, output="labels")
    table = cluster_table(labels)
    assert table["pixels"].sum() == FRAMES.size - 20
    assert_allclose(table["share"], table["pixels"] / (FRAMES.size - 20))


def test_areas_are_in_the_units_of_space():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels")
    table = cluster_table(labels)
    # Time is no space.
    assert_allclose(table["area"], table["pixels"] * 0.125)
    assert set(table["area_unit"]) == {"µm²"}
    labels.scale = (1, 2, 3)
    assert_allclose(cluster_table(labels)["area"], table["pixels"] * 6)
    labels.axis_labels = ("z", "y", "x")
    labels.units = "um"
    assert set(cluster_table(labels)["area_unit"]) == {"µm³"}


def test_layer_without_space_has_no_area():
    (labels,) = quantize_layer(
        Image(np.arange(12).reshape(3, 4), axis_labels=("t", "c")), 2, output="labels"
    )
    table = cluster_table(labels)
    assert table["area"].isna().all()
    assert set(table["area_unit"]) == {""}


def test_pixels_inside_of_the_mask_are_counted_alone():
    mask = np.zeros(FRAMES.shape, dtype=bool)
    mask[1, 3:7, 2:9] = True
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels", mask=mask)
    table = cluster_table(labels)
    expected = expected_table(labels.data * mask, [FRAMES], ["mean"])
    assert_measured(table, expected)
    assert_allclose(table["share"].sum(), 1)


def test_slices_with_palettes_of_their_own_are_in_one_long_table():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels", slice_axis=0)
    table = cluster_table(labels)
    assert table["slice"].tolist() == np.repeat([0, 1, 2], 4).tolist()
    assert table["index"].tolist() == list(range(1, 13))
    assert list(table)[:4] == ["index", "name", "slice", "hex"]
    frames = np.arange(3)[:, None, None]
    expected = expected_table(labels.data, [FRAMES], ["mean"], [("slice", frames)])
    assert_measured(table, expected)
    assert_allclose(table.groupby("slice")["share"].sum(), 1)
    # Measured anew, it is the same.
    for axis in (0, "t", -3):
        again = cluster_table(labels, axis=axis, image=FRAMES)
        assert_frame_equal(again, table, check_dtype=False)


def test_features_of_labels_are_the_table():
    for options in ({}, {"slice_axis": 0}, {"names": {0: "dark"}}):
        (labels,) = quantize_layer(image(FRAMES), 4, output="labels", **options)
        assert_frame_equal(labels.features, cluster_table(labels))


def test_layer_that_was_not_made_here_has_no_table():
    with pytest.raises(ValueError, match="layer must be a result that was made here"):
        cluster_table(Labels(np.zeros((3, 3), dtype=int)))


@pytest.mark.parametrize("name", napari_records.NAMES)
def test_layers_of_the_first_version_have_a_table_without_means(name):
    for layer in napari_records.read_layers(name)[1]:
        table = cluster_table(layer)
        assert len(table) == len(record_of(layer).palette)
        means = [column for column in table if column.startswith("mean")]
        assert means
        assert table[means].isna().all(axis=None)
        assert_array_equal(table["pixels"], record_of(layer).counts)


def test_docstring_follows_numpydoc():
    found = validate("napari_kmeans.cluster_table")["errors"]
    assert [error for error in found if error[0] not in {"ES01", "RT02"}] == []


# Colors.


def test_labels_of_one_channel_have_the_colors_of_labels():
    (labels,) = quantize_layer(image(FRAMES), 60, output="labels")
    plain = Labels(labels.data)
    for label in (1, 2, 49, 50, 60):
        assert_allclose(labels.get_color(label), plain.get_color(label), atol=1e-6)


def test_hex_is_the_color_that_a_layer_shows():
    pixels = np.array([[0, 0, 255, 255]], dtype=np.uint8)
    gray, labels = quantize_layer(Image(pixels), 2, output="both")
    assert cluster_table(gray)["hex"].tolist() == ["#000000", "#ffffff"]
    octets = [np.rint(labels.get_color(i)[:3] * 255).astype(int) for i in (1, 2)]
    shown = ["#" + "".join(f"{octet:02x}" for octet in color) for color in octets]
    assert cluster_table(labels)["hex"].tolist() == shown
    # Also where one of them is shown only.
    labels.show_selected_label = True
    assert cluster_table(labels)["hex"].tolist() == shown
    rgb = Image(np.stack([pixels, pixels // 2, pixels], axis=-1), rgb=True)
    (labels,) = quantize_layer(rgb, 2, output="labels")
    assert cluster_table(labels)["hex"].tolist() == ["#000000", "#ff7fff"]


# Along an axis.


@pytest.mark.parametrize("axis", [0, 1, -1, "t", "x"])
def test_slices_are_measured_as_pandas_groups_them(axis):
    layers = [image(FRAMES, name="a"), image(OTHER, name="b")]
    (labels,) = quantize_layer(layers, 4, output="labels")
    place = PLACE["axis_labels"].index(axis) if isinstance(axis, str) else axis % 3
    order = np.moveaxis(np.indices(FRAMES.shape)[place], 0, 0)

    table = cluster_table(labels, axis=axis, image=layers)

    columns = ["mean a", "mean b"]
    expected = expected_table(labels.data, [FRAMES, OTHER], columns, [("slice", order)])
    assert_measured(table, expected)
    n = FRAMES.shape[place]
    assert table["slice"].tolist() == np.repeat(range(n), 4).tolist()
    assert table["index"].tolist() == [1, 2, 3, 4] * n
    assert_allclose(table.groupby("slice")["share"].sum(), 1)
    assert_allclose(table["area"], table["pixels"] * 0.125)
    assert table[columns][table["pixels"] == 0].isna().all(axis=None)


def test_images_can_be_arrays_or_layers_of_numpy_or_dask():
    layers = [image(FRAMES, name="a"), image(OTHER, name="b")]
    (labels,) = quantize_layer(layers, 4, output="labels")
    expected = cluster_table(labels, axis="t", image=layers)
    lazy = [da.from_array(one, chunks=(2, 5, 10)) for one in (FRAMES, OTHER)]
    for images in ([FRAMES, OTHER], lazy, [image(one) for one in lazy]):
        table = cluster_table(labels, axis="t", image=images)
        assert_frame_equal(table, expected, check_exact=False, rtol=1e-12)


def test_lazy_labels_are_measured():
    chunked = da.from_array(FRAMES, chunks=(1, 12, 10))
    (labels,) = quantize_layer(image(chunked), 4, output="labels")
    (plain,) = quantize_layer(image(FRAMES), 4, output="labels")
    table = cluster_table(labels, axis="t", image=chunked)
    assert_frame_equal(table, cluster_table(plain, axis="t", image=FRAMES))


def test_finest_level_is_measured():
    levels = [FRAMES[0], FRAMES[0, ::2, ::2]]
    layer = Image(levels, multiscale=True)
    (labels,) = quantize_layer(layer, 4, output="labels")
    table = cluster_table(labels, image=layer)
    assert_frame_equal(table, cluster_table(labels), check_dtype=False)


def test_without_an_image_pixels_are_counted_and_no_mean_is_known():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels")
    table = cluster_table(labels, axis="t")
    assert table["mean"].isna().all()
    expected = cluster_table(labels, axis="t", image=FRAMES)
    assert_frame_equal(table.drop(columns="mean"), expected.drop(columns="mean"))


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_channels_are_along_any_axis(axis):
    stack = np.stack([FRAMES, OTHER])
    layer = Image(np.moveaxis(stack, 0, axis))
    (labels,) = quantize_layer(layer, 4, output="labels", channel_axis=axis)
    # Labels have the axis of channels at length 1, or lack it where it is the first.
    table = cluster_table(labels, axis=0, image=layer)
    frames = np.arange(3)[:, None, None]
    columns, numbers = ["mean 0", "mean 1"], np.squeeze(labels.data)
    expected = expected_table(numbers, stack, columns, [("slice", frames)])
    assert_measured(table, expected)


def test_labels_are_measured_as_they_are_now():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels")
    labels.data[0] = 2
    # No cluster.
    labels.data[1, 0] = 9
    table = cluster_table(labels, image=FRAMES)
    numbers = np.where(labels.data == 9, 0, labels.data)
    assert_measured(table, expected_table(numbers, [FRAMES], ["mean"]))
    # Nor is it one of the next frame.
    table = cluster_table(labels, axis="t", image=FRAMES)
    frames = np.arange(3)[:, None, None]
    expected = expected_table(numbers, [FRAMES], ["mean"], [("slice", frames)])
    assert_measured(table, expected)


def test_mask_of_any_kind_says_what_is_measured():
    inside = np.zeros(FRAMES.shape, dtype=int)
    inside[:, 3:7, 2:9] = 1
    corners = np.array([[3, 2], [3, 8], [6, 8], [6, 2]])
    masks = [
        inside > 0,
        Labels(inside, **PLACE),
        Shapes([corners], scale=PLACE["scale"][1:], units=PLACE["units"][1:]),
    ]
    layer = image(FRAMES)
    for mask in masks:
        (labels,) = quantize_layer(layer, 4, output="labels", mask=mask)
        table = cluster_table(labels, axis="t", image=layer, mask=mask)
        frames = np.arange(3)[:, None, None]
        numbers = labels.data * inside
        expected = expected_table(numbers, [FRAMES], ["mean"], [("slice", frames)])
        assert_measured(table, expected)
        assert_array_equal(
            table.groupby("index")["pixels"].sum(), labels.features["pixels"]
        )


def test_mask_alone_says_what_is_measured():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels")
    inside = FRAMES > 50
    table = cluster_table(labels, mask=inside)
    expected = expected_table(labels.data * inside, [FRAMES], ["mean"])
    assert_array_equal(table["pixels"], np.bincount(labels.data[inside])[1:])
    assert table["mean"].isna().all()
    measured = cluster_table(labels, image=FRAMES, mask=inside)
    assert_measured(measured, expected)


@pytest.mark.parametrize(
    ("unit", "axis", "first"),
    [
        *(("pixel", None, first) for first in (0, 1)),
        *(("um", axis, first) for axis in range(3) for first in range(2)),
    ],
)
def test_mask_lies_where_it_lay_for_the_fit(unit, axis, first):
    # Of an axis of channels a mask may tell one from the other.
    scale, units = (2, 0.5, 0.25), ("pixel", "um", "um")
    layer = Image(FRAMES, scale=scale, units=units)
    data = RNG.integers(0, 2, FRAMES.shape[first:])
    units = (unit,) * data.ndim
    mask = Labels(data, scale=scale[first:], units=units)
    options = {"output": "labels", "channel_axis": axis}
    (labels,) = quantize_layer(layer, 4, mask=mask, **options)
    table = cluster_table(labels, image=layer, mask=mask)
    assert_frame_equal(table, cluster_table(labels))


@pytest.mark.parametrize(
    ("axis", "match"),
    [(0, "“m” has 3 axes, and .* 2"), (1, "image must be a layer, as “m” has an axis")],
)
def test_labels_do_not_tell_where_channels_lie_in_a_mask(axis, match):
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels", channel_axis=axis)
    with pytest.raises(ValueError, match=match):
        cluster_table(labels, mask=Labels(FRAMES, name="m"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"axis": 3}, r"axis must be one of the axes \('t', 'y', 'x'\) .*, got 3"),
        ({"axis": "z"}, r"axis must be one of the axes .*, got 'z'"),
        (
            {"image": FRAMES[0]},
            r"image must have the pixels of the labels, \(3, 12, 10",
        ),
        ({"image": [FRAMES, FRAMES[0]]}, "image must be arrays of one shape, got"),
        ({"image": [FRAMES] * 2}, r"of 1 channels each, got \(3, 12, 10\) of 2"),
        (
            {"axis": 0, "mask": np.ones((2, 2), bool)},
            r"mask must be .* of shape \(2, 2",
        ),
        (
            {"mask": FRAMES.T > 0},
            r"mask must be .* of shape \(3, 12, 10\), got bool of",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, match):
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels")
    with pytest.raises(ValueError, match=match):
        cluster_table(labels, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": np.ones((3, 12, 10))}, "mask must be .*, got float64 of shape"),
        ({"mask": np.ma.masked_array(FRAMES > 0, FRAMES > 9)}, "not be a masked array"),
        ({"image": np.ma.masked_array(FRAMES, FRAMES > 9)}, "not be a masked array"),
        ({"image": FRAMES * 1j}, "image must have a boolean, integer or float dtype"),
        ({"axis": 1.0}, r"axis must be an integer, got 1\.0"),
        ({"axis": True}, "axis must be an integer, got True"),
        ({"layer": None}, "layer must be an Image or a Labels layer, got None"),
    ],
)
def test_arguments_of_other_kinds_are_refused(options, message):
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels")
    with pytest.raises(TypeError, match=message):
        cluster_table(**({"layer": labels} | options))


def test_pixel_of_a_cluster_of_another_slice_is_that_clusters():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels", slice_axis=0)
    labels.data[0, 0, 0] = labels.data.max()
    expected = expected_table(labels.data, [FRAMES], ["mean"])
    assert_measured(cluster_table(labels, image=FRAMES), expected)


def test_slices_with_palettes_are_measured_along_their_axis_only():
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels", slice_axis=0)
    with pytest.raises(ValueError, match="axis must be 0, each slice along which has"):
        cluster_table(labels, axis="y")


def test_images_cannot_be_measured():
    (painted,) = quantize_layer(image(FRAMES), 4)
    with pytest.raises(ValueError, match="layer must be a Labels layer to be measured"):
        cluster_table(painted, axis="t")


def test_mask_of_the_fit_is_asked_for():
    mask = Labels((FRAMES > 50).astype(int), name="roi", **PLACE)
    (labels,) = quantize_layer(image(FRAMES), 4, output="labels", mask=mask)
    with pytest.raises(ValueError, match=r"mask must be given, .* inside of “roi”"):
        cluster_table(labels, axis="t")


def test_script_without_a_window_measures_frames_of_two_channels_by_one_palette():
    weak = np.zeros((3, 20, 20), dtype=np.uint16)
    strong = np.full((3, 20, 20), 500, dtype=np.uint16)
    # A nucleus that grows, and a spot that does not.
    for frame in range(3):
        weak[frame, 2 : 6 + frame, 2:6] = 9
    strong[:, 12:15, 12:15] = 60_000
    layers = [image(weak, name="nuclei"), image(strong, name="spots")]

    (labels,) = quantize_layer(layers, 3, output="labels", channel_weights="contrast")
    table = cluster_table(labels, axis="t", image=layers)

    nuclei = table[table["mean nuclei"] == 9]
    assert nuclei["slice"].tolist() == [0, 1, 2]
    assert nuclei["area"].tolist() == [16 / 8, 20 / 8, 24 / 8]
    spots = table[table["mean spots"] == 60_000]
    assert spots["pixels"].tolist() == [9, 9, 9]
