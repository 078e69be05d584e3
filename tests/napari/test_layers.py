import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap, ensure_colormap
from numpy.testing import assert_allclose, assert_array_equal

from napari_kmeans import quantize_layer
from napari_kmeans._napari.layers import Look, read_levels, read_source, rgba_of

PLACED = {
    "scale": (3, 0.5, 0.25),
    "translate": (1, 2, 3),
    "rotate": 30,
    "shear": (0.1, 0.2, 0.3),
    "affine": np.diag([2, 3, 4, 1]),
    "units": ("um", "nm", "nm"),
    "axis_labels": ("z", "y", "x"),
}


def described(layers, channel_axis=None, **settings):
    """Layers that come of `layers`, by kind."""
    *images, labels = quantize_layer(
        layers, output="both", channel_axis=channel_axis, **settings
    )
    return images, labels


def world_corners(layer):
    """Where the corners of the data lie."""
    corners = np.stack(np.meshgrid(*[[0, n - 1] for n in layer.data.shape[-3:]]), -1)
    return [layer.data_to_world(corner) for corner in corners.reshape(-1, layer.ndim)]


def test_results_lie_on_their_source():
    source = Image(np.zeros((4, 5, 6), dtype=np.uint8), **PLACED)

    (image,), labels = described([source])

    for result in (image, labels):
        assert_allclose(world_corners(result), world_corners(source))
        assert_array_equal(result.scale, source.scale)
        assert result.units == source.units
        assert result.axis_labels == source.axis_labels


def test_results_do_not_move_with_their_source():
    source = Image(np.zeros((4, 5)), affine=np.diag([2, 3, 1]))
    (image,), labels = described([source])

    source.affine.translate = (7, 7)

    for result in (image, labels):
        assert_array_equal(result.affine.affine_matrix, np.diag([2, 3, 1]))


@pytest.mark.parametrize(
    "places",
    [
        pytest.param(PLACED, id="mixed with space"),
        pytest.param(
            PLACED | {"rotate": (0, 0, 0), "shear": (0, 0, 0)}, id="apart from space"
        ),
    ],
)
def test_labels_of_channels_lie_where_their_first_channel_does(places):
    source = Image(np.arange(90.0).reshape(3, 5, 6), **places)
    matrix = np.array([source.data_to_world(unit) for unit in np.eye(3)])
    matrix -= source.data_to_world((0, 0, 0))

    _, labels = described([source], channel_axis=0, k=2)

    assert labels.ndim == 2
    moved = np.array([labels.data_to_world(unit) for unit in np.eye(2)])
    moved -= labels.data_to_world((0, 0))
    assert_allclose(moved, matrix[1:, 1:])
    assert_allclose(
        labels.data_to_world((0, 0)), np.array(source.data_to_world((0, 0, 0)))[1:]
    )
    assert labels.axis_labels == ("y", "x")


@pytest.mark.parametrize(
    "places",
    [
        pytest.param(PLACED, id="mixed with space"),
        pytest.param(
            PLACED | {"rotate": (0, 0, 0), "shear": (0, 0, 0)}, id="apart from space"
        ),
        pytest.param(PLACED | {"scale": (-3, 0.5, -0.25)}, id="mirrored"),
    ],
)
@pytest.mark.parametrize("axis", [1, 2])
def test_pixels_of_labels_span_channels_of_an_axis_that_is_not_the_first(places, axis):
    source = Image(np.arange(90.0).reshape(np.insert([5, 6], axis, 3)), **places)

    _, labels = described([source], channel_axis=axis, k=2)

    assert labels.data.shape == tuple(np.insert([5, 6], axis, 1))
    # From the near edge of the first channel to the far edge of the last one.
    for edge, of_source in ((-0.5, -0.5), (0, 1), (0.5, 2.5)):
        for pixel in ((0, 0), (4, 0), (0, 5)):
            assert_allclose(
                labels.data_to_world(np.insert(np.array(pixel, float), axis, edge)),
                source.data_to_world(
                    np.insert(np.array(pixel, float), axis, of_source)
                ),
            )
    assert labels.units == source.units
    assert labels.axis_labels == source.axis_labels


def test_levels_of_labels_span_channels():
    full = np.arange(180.0).reshape(5, 3, 12)
    source = Image([full, full[:, :, ::2]], multiscale=True, scale=(2, 3, 4))

    _, labels = described([source], channel_axis=1, k=2)

    assert [level.shape for level in labels.data] == [(5, 1, 12), (5, 1, 6)]
    assert_array_equal(labels.scale, (2, 9, 4))
    assert_array_equal(labels.translate, (0, 3, 0))


def test_image_looks_like_its_source():
    source = Image(
        np.zeros((4, 5), dtype=np.uint16),
        colormap="magma",
        contrast_limits=(100, 900),
        gamma=0.5,
        opacity=0.7,
        blending="opaque",
        interpolation2d="cubic",
    )

    (result,), _ = described([source])

    assert result.colormap.name == "magma"
    assert result.contrast_limits == [100, 900]
    assert result.gamma == 0.5
    assert result.opacity == 0.7
    assert result.blending == "opaque"
    assert result.interpolation2d == "cubic"


@pytest.mark.parametrize(
    ("k", "names"),
    [(1, ["cells in 1 color", "cells in 1 label"]), (3, ["cells in 3 colors"])],
)
def test_results_are_named_after_their_source(k, names):
    (image,), labels = described([Image(np.zeros((4, 5)), name="cells")], k=k)
    assert [image.name, labels.name][: len(names)] == names


def test_labels_count_from_1_in_the_colors_of_the_palette():
    colors = np.array([[0, 0, 0], [200, 30, 10], [255, 255, 255]], dtype=np.uint8)
    image = colors[[[2, 0, 0], [1, 1, 1]]]

    _, labels = described([Image(image, rgb=True)], k=3)

    assert isinstance(labels, Labels)
    assert_array_equal(labels.data, [[3, 1, 1], [2, 2, 2]])
    assert isinstance(labels.colormap, DirectLabelColormap)
    for entry, color in enumerate(colors):
        assert_allclose(labels.get_color(entry + 1)[:3], color / 255, atol=1e-6)
    assert labels.get_color(0) is None or labels.get_color(0)[3] == 0
    assert labels.opacity == 1
    assert labels.features.to_dict("list") == {
        "index": [1, 2, 3],
        "name": ["", "", ""],
        "hex": ["#000000", "#c81e0a", "#ffffff"],
        "mean red": [0, 200, 255],
        "mean green": [0, 30, 255],
        "mean blue": [0, 10, 255],
        "pixels": [2, 3, 1],
        "area": [2, 3, 1],
        "area_unit": ["pixel²"] * 3,
        "share": [2 / 6, 3 / 6, 1 / 6],
    }


def test_results_remember_how_they_were_made():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)

    (result,), labels = described([Image(image, name="a")], k=3, iters=5, rng=7)

    record = labels.metadata["napari-kmeans"]
    assert record["run"] == result.metadata["napari-kmeans"]["run"]
    assert record["source"] == ["a"]
    assert record["settings"]["k"] == 3
    assert record["settings"]["iters"] == 5
    assert record["settings"]["rng"] == 7
    assert_array_equal(record["palette"][labels.data - 1], result.data)


def test_layers_that_are_channels_give_an_image_each():
    data = np.random.default_rng(1).integers(0, 9, (2, 6, 7), dtype=np.uint8)
    sources = [Image(data[0], colormap="red"), Image(data[1], colormap="green")]

    images, labels = described(sources, k=3)

    palette = labels.metadata["napari-kmeans"]["palette"]
    assert palette.shape == (3, 2)
    for i, image in enumerate(images):
        assert_array_equal(image.data, palette[labels.data - 1, i])
        assert image.colormap.name == sources[i].colormap.name
    # Layers that add up show colors that add up.
    low, high = sources[1].contrast_limits
    assert_allclose(
        [labels.get_color(i + 1)[1] for i in range(3)],
        np.clip((palette[:, 1].astype(float) - low) / (high - low), 0, 1),
        atol=1 / 510,
    )


def test_layers_of_other_shapes_cannot_be_channels():
    layers = [Image(np.zeros((4, 5)), name="a"), Image(np.zeros((4, 6)), name="b")]
    with pytest.raises(ValueError, match=r"one shape, got \(4, 5\) of a and \(4, 6\)"):
        read_source(layers, None)


def test_source_is_of_full_resolution():
    photo = np.random.default_rng(2).integers(0, 9, (8, 8, 3), dtype=np.uint8)
    layer = Image([photo, photo[::2, ::2]], multiscale=True, rgb=True)

    source = read_source([layer], None)

    fine, coarse = read_levels(source)
    assert_array_equal(fine, photo)
    assert_array_equal(coarse, photo[::2, ::2])
    assert source.channel_axis == -1


@pytest.mark.parametrize(
    ("palette", "expected"),
    [
        pytest.param(np.array([[0, 51, 255]], dtype=np.uint8), (0, 0.2, 1, 1), id="8"),
        pytest.param(
            np.array([[0, 13107, 65535]], dtype=np.uint16), (0, 0.2, 1, 1), id="16"
        ),
        pytest.param(np.array([[-1, 0.2, 2]]), (0, 0.2, 1, 1), id="float"),
        pytest.param(
            np.array([[0, 51, 255, 102]], dtype=np.uint8), (0, 0.2, 1, 0.4), id="alpha"
        ),
    ],
)
def test_palette_is_shown_as_rgb_layers_are(palette, expected):
    look = Look(is_rgb=True, colormaps=(), contrast_limits=(), gammas=())
    assert_allclose(rgba_of(palette, look), [expected])


def test_gray_palette_is_shown_through_colormap_contrast_and_gamma():
    layer = Image(
        np.arange(6.0).reshape(2, 3),
        colormap="green",
        contrast_limits=(1, 5),
        gamma=2,
    )
    look = read_source([layer], None).look

    rgba = rgba_of(np.array([0.0, 1.0, 3.0, 5.0, 6.0]), look)

    assert_allclose(rgba[:, 1], [0, 0, 0.25, 1, 1], atol=1e-2)
    assert_array_equal(rgba[:, 0], 0)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8"])
@pytest.mark.parametrize(
    "fill", [-9999, -65504, -3.4028235e38, 9.96921e36, 1e20, -(2**31), -1.79e308]
)
@pytest.mark.parametrize("has_colormap", [True, False])
def test_fill_values_leave_the_others_their_contrast(dtype, fill, has_colormap):
    dtype, values = np.dtype(dtype), [20, 60, 100, 140]
    info = np.iinfo(dtype) if dtype.kind == "i" else np.finfo(dtype)
    fill = min(max(fill, float(info.min)), float(info.max) / 2)
    palette = np.sort(np.array([fill, *values]).astype(dtype))
    look = Look(is_rgb=False)
    if has_colormap:
        gray = ensure_colormap("gray")
        ends = float(palette[0]), float(palette[-1])
        look = Look(False, (gray,), (ends,), (1.0,))

    shown = rgba_of(palette, look)[:, 1]

    assert np.diff(shown).min() > 0.09


def test_both_ends_may_be_fill_values():
    palette = np.array([-1.79e308, 20, 60, 100, 1.79e308])
    shown = rgba_of(palette, Look(is_rgb=False))[:, 1]
    assert np.diff(shown).min() > 0.09


def test_outliers_that_leave_contrast_change_no_color():
    palette = np.array([-9999, 0, 1000, 2000, 3000], dtype=np.float32)
    expected = (palette + 9999) / 12999
    shown = rgba_of(palette, Look(is_rgb=False))[:, 1]
    assert_allclose(shown, expected, atol=1 / 255)
