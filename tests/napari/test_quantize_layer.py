import itertools
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from napari.utils._proxies import PublicOnlyProxy
from numpy.testing import assert_array_equal
from numpydoc.validate import validate

import napari_kmeans
from checkpoints import Check, Ended
from napari_kmeans import (
    cluster_table,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
    quantize_layer,
    write_palette,
)
from napari_kmeans._core.blocks import interruptible
from napari_kmeans._napari.computation import (
    EmptyMaskError,
    LayerError,
    PaletteError,
    Progress,
    quantize_source,
)
from napari_kmeans._napari.layers import read_source
from napari_kmeans._napari.quantize_layer import prepare
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.settings import Settings


def ignore(_):
    """Do nothing with what a computation reports."""


def outcome_of(image, report=ignore, channel_axis=None, **settings):
    layer = Image(image, rgb=settings.pop("rgb", False))
    settings = {"k": 4, "output": "both", "channel_axis": channel_axis} | settings
    request = prepare([layer], Settings(**settings))
    return quantize_source(request.source, request.settings, report)


def random_image(shape, dtype=np.uint8, top=200):
    return np.random.default_rng(4).integers(0, top, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype", "rgb", "channel_axis"),
    [
        pytest.param((9, 8, 3), np.uint8, True, -1, id="rgb"),
        pytest.param((9, 8, 4), np.uint8, True, -1, id="rgba"),
        pytest.param((2, 9, 8, 3), np.uint16, True, -1, id="rgb stack"),
        pytest.param((9, 8), np.uint8, False, None, id="gray"),
        pytest.param((2, 3, 9, 8), np.float32, False, None, id="time series"),
        pytest.param((5, 9, 8), np.uint16, False, 0, id="channels first"),
        pytest.param((9, 5, 8), np.float64, False, 1, id="channels between"),
    ],
)
def test_images_and_labels_are_those_of_the_core(shape, dtype, rgb, channel_axis):
    image = random_image(shape, dtype)

    outcome = outcome_of(image, rgb=rgb, channel_axis=channel_axis)

    options = {"channel_axis": channel_axis, "alpha": rgb and shape[-1] == 4}
    result = kmeans_palette(image, 4, **options)
    labels = map_to_palette(image, result.palette, **options)
    if channel_axis == 1:
        # napari lines the last axes of layers up.
        labels = labels[:, np.newaxis]
    assert_array_equal(outcome.record.palette, result.palette)
    assert_array_equal(outcome.labels[0], labels + 1)
    assert outcome.images[0].dtype == dtype
    assert_array_equal(outcome.images[0], quantize_kmeans(image, 4, **options))
    # Pixels that are not seen are labeled, but count for no color.
    assert (outcome.record.counts >= result.counts).all()
    assert (outcome.record.n_iter, outcome.record.converged) == (
        result.n_iter,
        result.converged,
    )


@pytest.mark.parametrize(
    ("shape", "channel_axis", "slice_axis"),
    [
        ((3, 9, 8), None, 0),
        ((9, 3, 8), None, 1),
        ((2, 3, 9, 8), 1, 0),
        ((2, 3, 9, 8), 0, 1),
        ((2, 3, 9, 8), 1, 2),
        ((2, 9, 8, 3), 3, 0),
    ],
)
def test_slices_have_palettes_of_their_own(shape, channel_axis, slice_axis):
    image = random_image(shape)

    outcome = outcome_of(image, channel_axis=channel_axis, slice_axis=slice_axis)

    parts = np.moveaxis(outcome.images[0], slice_axis, 0)
    inner = channel_axis
    if channel_axis is not None:
        inner -= channel_axis > slice_axis
    for part, original in zip(parts, np.moveaxis(image, slice_axis, 0), strict=True):
        assert_array_equal(part, quantize_kmeans(original, 4, channel_axis=inner))
    # No label is used by two slices.
    axis = slice_axis - (channel_axis == 0)
    for i, labels in enumerate(np.moveaxis(outcome.labels[0], axis, 0)):
        assert_array_equal(outcome.record.slices[np.unique(labels) - 1], i)


@pytest.mark.parametrize(("k", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_labels_have_the_smallest_dtype_that_holds_them(k, dtype):
    image = np.arange(400, dtype=np.uint16).reshape(20, 20)
    labels = outcome_of(image, k=k).labels[0]
    assert labels.dtype == dtype
    assert labels.max() == k


@pytest.mark.parametrize(("rgb", "bad"), [(False, (1, 2)), (True, (1, 2, 0))])
def test_pixels_that_are_not_finite_stay_and_have_label_0(rgb, bad):
    image = random_image((6, 7, 3) if rgb else (6, 7), np.float32)
    image[bad] = np.nan

    outcome = outcome_of(image, rgb=rgb)

    assert_array_equal(np.argwhere(outcome.labels[0] == 0), [[1, 2]])
    assert_array_equal(outcome.images[0][1, 2], image[1, 2])
    axis = -1 if rgb else None
    assert_array_equal(outcome.images[0], quantize_kmeans(image, 4, channel_axis=axis))


def test_levels_share_the_palette_of_the_first():
    image = random_image((16, 16))
    levels = [image, image[::2, ::2]]
    source = read_source([Image(levels, multiscale=True)], None)

    outcome = quantize_source(source, Settings(k=4), ignore)

    result = kmeans_palette(image, 4, channel_axis=None)
    assert_array_equal(outcome.record.palette, result.palette)
    for level, labels, painted in zip(
        levels, outcome.labels, outcome.images, strict=True
    ):
        expected = map_to_palette(level, outcome.record.palette, channel_axis=None)
        assert_array_equal(labels, expected + 1)
        assert_array_equal(painted, outcome.record.palette[expected])


def test_levels_of_other_numbers_of_slices_are_refused():
    image = random_image((4, 8, 8))
    layer = Image([image, image[::2, ::2, ::2]], multiscale=True)
    with pytest.raises(LayerError, match="4 slices at full resolution and 2 at a"):
        prepare([layer], Settings(slice_axis=0))


def test_no_image_is_painted_for_labels_alone():
    assert outcome_of(random_image((6, 7)), output="labels").images == ()


def test_given_palette_is_taken_in_its_order():
    image = random_image((6, 7, 3))
    palette = np.array([[200, 0, 0], [0, 0, 0], [9, 9, 200]])

    outcome = outcome_of(image, rgb=True, palette=palette, slice_axis=0)

    assert outcome.record.palette.dtype == np.uint8
    assert_array_equal(outcome.record.palette, palette)
    assert_array_equal(outcome.labels[0], map_to_palette(image, palette) + 1)
    assert outcome.record.slices is None


def test_palette_is_read_from_its_file(tmp_path):
    path = tmp_path / "two.gpl"
    palette = np.array([[200, 0, 0], [0, 0, 0]], dtype=np.uint8)
    write_palette(path, palette)
    outcome = outcome_of(random_image((6, 7, 3)), rgb=True, palette=str(path))
    assert_array_equal(outcome.record.palette, palette)


def test_palette_that_the_image_cannot_hold_is_refused():
    palette = np.array([[0, 0, 256]])
    with pytest.raises(PaletteError, match=r"palette are int64 from 0 to 256, which"):
        outcome_of(random_image((6, 7, 3)), rgb=True, palette=palette)


def test_errors_are_reported_per_iteration_and_palette():
    reports = []
    image = random_image((2, 30, 30, 3))

    outcome_of(image, reports.append, rgb=True, slice_axis=0, iters=3)

    iterations = [report for report in reports if report.mse is not None]
    assert {report.part for report in iterations} == {0, 1}
    assert {report.n_most for report in iterations} == {6}
    assert max(report.n_done for report in iterations) <= 6
    assert iterations[0].text.startswith("Slice 1 of 2, iteration 1 of at most 3")
    assert isinstance(reports[0], Progress)


def test_masked_pixels_alone_are_fitted():
    image = random_image((6, 7, 3))
    mask = np.zeros((6, 7), dtype=bool)
    mask[2:4, 1:5] = True
    source = prepare([Image(image, rgb=True)], Settings(), mask).source

    outcome = quantize_source(source, Settings(k=3), ignore)

    assert_array_equal(
        outcome.record.palette, kmeans_palette(image, 3, mask=mask).palette
    )
    assert outcome.record.counts.sum() == 8


def test_slices_have_their_part_of_the_mask():
    image = random_image((2, 3, 9, 8))
    mask = random_image((3, 9, 8), top=2).astype(bool)
    settings = Settings(k=3, channel_axis=0, slice_axis=1)
    request = prepare([Image(image)], settings, mask)

    outcome = quantize_source(request.source, request.settings, ignore)

    for i in range(3):
        expected = kmeans_palette(image[:, i], 3, channel_axis=0, mask=mask[i])
        assert_array_equal(
            outcome.record.palette[outcome.record.slices == i], expected.palette
        )


def test_opacity_is_opacity():
    image = random_image((20, 20, 4), top=256)
    image[:5, :, 3] = 0

    outcome = outcome_of(image, rgb=True)

    assert_array_equal(outcome.images[0], quantize_kmeans(image, 4, alpha=True))


def test_color_space_dithering_and_locked_colors_are_those_of_the_core():
    image = random_image((20, 20, 3), top=256)
    fixed = np.array([[0, 0, 255]], dtype=np.uint8)
    chosen = {"color_space": "oklab", "dither": "floyd-steinberg", "fixed": fixed}

    outcome = outcome_of(image, rgb=True, init="random", rng=8, iters=2, **chosen)

    palette = kmeans_palette(
        image, 4, 2, color_space="oklab", init="random", rng=8, fixed=fixed
    ).palette
    labels = map_to_palette(
        image, palette, color_space="oklab", dither="floyd-steinberg"
    )
    assert_array_equal(outcome.record.palette, palette)
    assert_array_equal(outcome.labels[0], labels + 1)
    assert_array_equal(outcome.images[0], palette[labels])


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        pytest.param(random_image((40, 50, 3)), {"rgb": True}, id="rgb"),
        pytest.param(random_image((40, 50), np.float32), {}, id="floats"),
        pytest.param(
            da.from_array(random_image((40, 50, 3)), chunks=(9, 50, 3)),
            {"rgb": True},
            id="dask",
        ),
        pytest.param(
            random_image((4, 20, 30, 3)), {"rgb": True, "slice_axis": 0}, id="slices"
        ),
        pytest.param(random_image((3, 40, 50)), {"channel_axis": 0}, id="channels"),
        pytest.param(
            random_image((40, 50, 3)),
            {"rgb": True, "dither": "floyd-steinberg", "color_space": "lab"},
            id="dithered",
        ),
    ],
)
def test_computation_ends_at_any_checkpoint(image, settings):
    expected = outcome_of(image, **settings)
    numbers = itertools.count()
    with interruptible(lambda: next(numbers)):
        found = outcome_of(image, **settings)
    assert_array_equal(found.record.palette, expected.record.palette)
    assert_array_equal(found.labels[0], expected.labels[0])
    assert_array_equal(found.images[0], expected.images[0])
    n_checks = next(numbers)
    for last in np.unique(np.linspace(0, n_checks - 1, 8).astype(int)):
        with pytest.raises(Ended), interruptible(Check(last)):
            outcome_of(image, **settings)
    assert_array_equal(outcome_of(image, **settings).labels[0], expected.labels[0])


# The public function.


def test_layers_lie_in_no_viewer_unless_it_is_given():
    viewer = ViewerModel()
    image = random_image((6, 7, 3))
    source = viewer.add_image(image, rgb=True, name="a", scale=(2, 3))
    before = source.data.copy()

    made = quantize_layer(source, 3, output="both")

    assert list(viewer.layers) == [source]
    assert [type(layer) for layer in made] == [Image, Labels]
    assert [layer.name for layer in made] == ["a in 3 colors", "a in 3 labels"]
    assert_array_equal(made[0].data, quantize_kmeans(before, 3))
    assert_array_equal(source.data, before)
    assert_array_equal(made[1].extent.world, source.extent.world)


def test_layers_are_added_to_the_viewer_that_is_given():
    viewer = ViewerModel()
    source = viewer.add_image(random_image((6, 7, 3)), rgb=True, name="a")
    for _ in range(2):
        made = quantize_layer(source, 3, viewer=viewer)
        assert list(viewer.layers)[-1:] == made
    assert made[0].name == "a in 3 colors [1]"
    assert record_of(made[0]).name == made[0].name


def test_any_thread_may_call():
    layer = Image(random_image((6, 7, 3)), rgb=True)
    with ThreadPoolExecutor(1) as pool:
        (made,) = pool.submit(quantize_layer, layer, 3).result()
    assert_array_equal(made.data, quantize_kmeans(layer.data, 3))


def test_mask_may_be_a_layer_or_an_array():
    where = {"scale": (2, 2), "units": ("um", "um")}
    image = Image(random_image((6, 7, 3)), rgb=True, **where)
    inside = np.zeros((6, 7), dtype=bool)
    inside[2:5, 3:6] = True
    corners = 2 * np.array([[1.6, 2.6], [1.6, 5.4], [4.4, 5.4], [4.4, 2.6]])
    expected = kmeans_palette(image.data, 3, mask=inside).palette
    for mask in (
        inside,
        Labels(inside.astype(int), **where),
        # Pixels are no length: their numbers are taken as they are.
        Shapes([corners], shape_type="polygon"),
        # Without a viewer, lengths are lengths, too.
        Labels(inside.astype(int), scale=(2000, 2000), units=("nm", "nm")),
    ):
        (made,) = quantize_layer(image, 3, mask=mask)
        assert_array_equal(record_of(made).palette, expected)


def test_layers_are_taken_as_napari_hands_them_to_plugins():
    layer, mask = Image(random_image((6, 7))), Labels(np.eye(6, 7, dtype=int))
    proxies = PublicOnlyProxy(layer), PublicOnlyProxy(mask)
    (made,) = quantize_layer(proxies[0], 4, mask=proxies[1], output="labels")
    (again,) = quantize_layer([proxies[0]], 4, mask=mask, output="labels")
    assert_array_equal(made.data, again.data)
    table = cluster_table(PublicOnlyProxy(made), image=proxies[0], mask=proxies[1])
    assert_array_equal(table["pixels"], made.features["pixels"])


def test_palette_may_be_an_earlier_result():
    image = Image(random_image((6, 7, 3)), rgb=True)
    (first,) = quantize_layer(image, 3, output="labels")
    (second,) = quantize_layer(Image(255 - image.data, rgb=True), palette=first)
    assert_array_equal(record_of(second).palette, record_of(first).palette)
    assert second.name == "Image in 3 colors"


def test_palette_may_be_the_path_of_a_file(tmp_path):
    palette = np.array([[200, 0, 0], [0, 0, 0]], dtype=np.uint8)
    write_palette(tmp_path / "two.gpl", palette)
    layer = Image(random_image((6, 7, 3)), rgb=True)
    (made,) = quantize_layer(layer, palette=tmp_path / "two.gpl")
    assert_array_equal(record_of(made).palette, palette)
    with pytest.raises(OSError, match="No such file"):
        quantize_layer(layer, palette=tmp_path / "none.gpl")


@pytest.mark.parametrize("slice_axis", [None, 0])
def test_recolored_entries_are_shown_in_their_color(slice_axis):
    image = Image(random_image((2, 6, 7, 3)), rgb=True)
    expected = quantize_layer(image, 3, output="both", slice_axis=slice_axis)
    image, labels = quantize_layer(
        image, 3, output="both", slice_axis=slice_axis, recolored={1: [1, 2, 3]}
    )
    assert_array_equal(labels.data, expected[1].data)
    assert (image.data[labels.data == 2] == [1, 2, 3]).all()
    others = labels.data != 2
    assert_array_equal(image.data[others], expected[0].data[others])
    assert labels.features["hex"][1] == "#010203"
    # Nobody has measured the error.
    assert record_of(image).mse is None


def test_callback_hears_of_each_iteration_and_may_stop():
    layer, heard = Image(random_image((30, 30, 3)), rgb=True), []

    def stop_after_two(progress):
        heard.append((progress.n_done, progress.n_most, progress.part))
        if len(heard) == 2:
            raise StopIteration

    (made,) = quantize_layer(layer, 5, 8, init="random", callback=stop_after_two)

    assert heard == [(1, 8, 0), (2, 8, 0)]
    assert record_of(made).n_iter == 2


def test_channels_and_slices_may_be_counted_from_the_last_axis():
    layer = Image(random_image((4, 6, 7, 3)), rgb=False)
    settings = {"channel_axis": -1, "slice_axis": -4}
    first = quantize_layer(layer, 3, **settings)
    second = quantize_layer(layer, 3, channel_axis=3, slice_axis=0)
    assert_array_equal(first[0].data, second[0].data)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": None}, TypeError, "must be one Image layer or several, got [None]"),
        ({"layers": []}, TypeError, "must be one Image layer or several, got"),
        ({"layers": [Labels(np.ones((2, 2), int))]}, TypeError, "must be one Image"),
        ({"output": "picture"}, ValueError, "'image', 'labels', 'both', got 'picture'"),
        ({"k": 0}, ValueError, "k must be between 1 and 65536, got 0"),
        ({"iters": -1}, ValueError, "iters must be at least 0, got -1"),
        ({"iters": "2"}, TypeError, "iters must be an integer, got '2'"),
        ({"slice_axis": 1.0}, TypeError, "slice_axis must be an integer, got 1.0"),
        ({"channel_axis": "c"}, TypeError, "channel_axis must be an integer, got 'c'"),
        ({"slice_axis": 3}, ValueError, "of the layer's 3 axes, got 3"),
        ({"channel_axis": -4}, ValueError, "of the layer's 3 axes, got -4"),
        (
            {"channel_axis": 0, "slice_axis": 0},
            ValueError,
            "must not be the channel_axis, got 0 for both",
        ),
        ({"mask": np.ones((3, 6, 7))}, TypeError, "or a boolean array of shape"),
        ({"mask": np.ones((6, 7), bool)}, ValueError, "(3, 6, 7), got bool of shape"),
        ({"mask": np.zeros((3, 6, 7), bool)}, EmptyMaskError, "inside the mask: draw"),
        (
            {"mask": Labels(np.zeros((6, 7), int), name="m")},
            EmptyMaskError,
            "Nothing of “a” is inside “m”: draw over a part",
        ),
        ({"palette": [[1, 2, 3]]}, PaletteError, "have 3 numbers each, and the pixels"),
        ({"palette": [300]}, PaletteError, "are int64 from 300 to 300, which “a”"),
        ({"palette": Image(np.ones((2, 2)), name="b")}, PaletteError, "“b” has no pal"),
        (
            {"color_space": "lab"},
            ValueError,
            "='lab' needs uint8, uint16",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, message):
    layer = Image(random_image((3, 6, 7)), name="a")
    with pytest.raises(error, match=re.escape(message)):
        quantize_layer(**({"layers": layer} | arguments))


def test_functions_are_imported_when_they_are_asked_for_and_without_qt():
    code = """
import napari_kmeans
from napari_kmeans import *
names = {"quantize_layer", "separate_objects"}
assert names <= set(dir(napari_kmeans))
assert not names & set(napari_kmeans.__all__)
import sys
assert "napari" not in sys.modules
from napari_kmeans import quantize_layer, separate_objects
# napari 0.7 asks for the version of Qt.
assert "qtpy.QtCore" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_names_are_still_unknown():
    with pytest.raises(AttributeError, match="has no attribute 'quantise_layer'"):
        napari_kmeans.quantise_layer  # noqa: B018


def test_docstring_is_complete():
    found = validate("napari_kmeans.quantize_layer")["errors"]
    assert [error for error in found if error[0] not in {"ES01", "RT02"}] == []


def test_names_are_in_the_record_and_the_features():
    both = quantize_layer(
        Image(random_image((9, 8))), 4, output="both", names={0: "dark", 3: "cells"}
    )
    for layer in both:
        assert record_of(layer).names == ("dark", "", "", "cells")
    assert both[1].features["name"].tolist() == ["dark", "", "", "cells"]


def test_names_come_with_a_palette_that_has_some(tmp_path):
    layer = Image(random_image((9, 8)))
    (named,) = quantize_layer(layer, 3, names={1: "cells"})
    path = tmp_path / "palette.gpl"
    colors = np.array([[0, 0, 0], [9, 9, 9]], dtype=np.uint8)
    write_palette(path, colors, names=["dark", ""])
    rgb = Image(random_image((9, 8, 3)), rgb=True)
    for source, palette, names in [
        (layer, named, ("", "cells", "")),
        (layer, named.metadata["napari-kmeans"]["palette"], ()),
        (rgb, path, ("dark", "")),
    ]:
        (taken,) = quantize_layer(source, palette=palette)
        assert record_of(taken).names == names
        # Whoever gives names gives all.
        (own,) = quantize_layer(source, palette=palette, names={1: "own"})
        assert set(record_of(own).names) == {"", "own"}


@pytest.mark.parametrize(
    ("blending", "expected"),
    [
        (["additive"], ["translucent_no_depth"]),
        (["minimum"], ["translucent_no_depth"]),
        (["additive", "additive"], ["translucent_no_depth", "additive"]),
        (["translucent", "additive"], ["translucent", "additive"]),
        (["opaque"], ["opaque"]),
    ],
)
def test_first_result_covers_its_source_and_others_are_added_to_it(blending, expected):
    layers = [Image(random_image((9, 8)), blending=one) for one in blending]
    assert [made.blending for made in quantize_layer(layers, 4)] == expected


@pytest.mark.parametrize("kind", ["array", "dask", "masked by dask"])
def test_masked_arrays_are_refused(kind):
    image = random_image((8, 9))
    masked = np.ma.masked_greater(image, 99)
    lazy = da.from_array(image, chunks=4)
    data = {
        "array": masked,
        "dask": da.from_array(masked, chunks=4),
        "masked by dask": da.ma.masked_greater(lazy, 99),
    }[kind]
    plain = Image(image)

    with pytest.raises(
        TypeError, match=r"data must not be a masked array; show np\.ma"
    ):
        quantize_layer(Image(data), 4)
    others = {"palette": masked[0], "fixed": masked[0], "mask": masked > 9}
    for name, given in others.items():
        with pytest.raises(TypeError, match=f"{name} must not be a masked array"):
            quantize_layer(plain, 4, **{name: given})
    with pytest.raises(TypeError, match="data must not be a masked array"):
        quantize_layer(plain, 4, mask=Labels(masked))


def test_many_layers_are_channels_whatever_their_shape_is():
    layers = [Image(random_image((3, 9)), name=str(i)) for i in range(65)]

    assert len(quantize_layer(layers, 2)) == 65


def test_a_callback_is_refused_even_if_nothing_is_fitted():
    layer = Image(np.ones((2, 2)))

    with pytest.raises(TypeError, match="callback must be callable or None, got 3"):
        quantize_layer(layer, palette=[1, 2], callback=3)
