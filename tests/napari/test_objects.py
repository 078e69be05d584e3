import itertools
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils._proxies import PublicOnlyProxy
from numpy.testing import assert_allclose, assert_array_equal
from numpydoc.validate import validate
from skimage.measure import regionprops_table

from checkpoints import Check, Ended
from napari_kmeans import quantize_layer, separate_objects
from napari_kmeans._core.blocks import interruptible
from napari_kmeans._napari import objects
from napari_kmeans._napari.placement import PLACES

MOVIE = {"axis_labels": ("t", "y", "x"), "units": ("s", "um", "um")}
STEPS = {n: list(itertools.product((-1, 0, 1), repeat=n)) for n in (2, 3)}


def random_labels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint8)


def numbered(inside, smallest):
    """Number connected pixels in the order of the first of each, one by one."""
    found, n = np.zeros(inside.shape, dtype=int), 0
    seen = np.zeros(inside.shape, dtype=bool)
    for first in zip(*np.nonzero(inside), strict=True):
        if seen[first]:
            continue
        seen[first], pixels, queue = True, [], deque([first])
        while queue:
            pixels.append(queue.popleft())
            for step in STEPS[inside.ndim]:
                there = tuple(np.add(pixels[-1], step))
                is_there = all(
                    0 <= i < n for i, n in zip(there, inside.shape, strict=True)
                )
                if is_there and inside[there] and not seen[there]:
                    seen[there] = True
                    queue.append(there)
        if len(pixels) >= smallest:
            n += 1
            found[tuple(np.transpose(pixels))] = n
    return found


# Objects.


@pytest.mark.parametrize("smallest", [1, 2, 5])
@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 6)])
@pytest.mark.parametrize("seed", range(3))
def test_objects_are_connected_pixels_in_the_order_of_the_first(shape, smallest, seed):
    data = random_labels(*shape, seed=seed)
    made = separate_objects(Labels(data), [1, 4], smallest=smallest)
    expected = numbered(np.isin(data, [1, 4]), smallest)
    assert_array_equal(made.data, expected)
    assert_array_equal(made.features["index"], range(1, expected.max() + 1))
    sizes = np.bincount(expected.ravel())[1:]
    assert_array_equal(made.features["pixels"], sizes)


def test_no_object_lies_in_two_frames_and_numbers_run_on():
    data = random_labels(3, 2, 7, 8)
    layer = Labels(data, axis_labels=("t", "c", "y", "x"))
    made = separate_objects(layer, [1, 2], smallest=2)
    n = 0
    for place in np.ndindex(3, 2):
        expected = numbered(np.isin(data[place], [1, 2]), 2)
        assert_array_equal(made.data[place], np.where(expected, expected + n, 0))
        rows = made.features[n : n + expected.max()]
        assert_array_equal(rows[["t", "c"]], [place] * len(rows))
        n += expected.max()
    assert len(made.features) == n
    assert (made.features.columns[:4] == ["index", "t", "c", "pixels"]).all()


def test_slices_with_palettes_of_their_own_have_objects_of_their_own():
    image = Image(np.array([[[0, 9], [0, 9]]] * 2))
    (own,) = quantize_layer(image, 2, output="labels", slice_axis=0)
    (one,) = quantize_layer(image, 2, output="labels")
    assert_array_equal(own.data, [[[1, 2], [1, 2]], [[3, 4], [3, 4]]])
    made = separate_objects(own, [1, 3])
    assert_array_equal(made.data, [[[1, 0], [1, 0]], [[2, 0], [2, 0]]])
    assert_array_equal(made.features["axis 0"], [0, 1])
    assert separate_objects(one, 1).data.max() == 1


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2), (-1, -2), (2, 0)])
def test_axes_that_are_given_are_space(axes):
    data = random_labels(4, 5, 6)
    made = separate_objects(Labels(data, **MOVIE), 2, axes=axes)
    space = sorted(axis % 3 for axis in axes)
    others = [axis for axis in range(3) if axis not in space]
    moved, found = (
        np.moveaxis(x, others, range(len(others))) for x in (data, made.data)
    )
    n = 0
    for place in np.ndindex(*moved.shape[: len(others)]):
        expected = numbered(moved[place] == 2, 1)
        assert_array_equal(found[place], np.where(expected, expected + n, 0))
        n += expected.max()


def test_smallest_one_loses_no_pixel_and_invents_none():
    data = random_labels(3, 20, 20)
    made = separate_objects(Labels(data, **MOVIE), [1, 2])
    assert_array_equal(made.data > 0, np.isin(data, [1, 2]))
    assert made.features["pixels"].sum() == np.isin(data, [1, 2]).sum()


@pytest.mark.parametrize(("n", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_labels_are_as_narrow_as_their_number_allows(n, dtype):
    data = np.zeros((2, 2 * n), dtype=np.uint8)
    data[0, ::2] = 1
    made = separate_objects(Labels(data), 1)
    assert (made.data.max(), made.data.dtype) == (n, dtype)


# A class.


@pytest.mark.parametrize("clusters", [3, [1, 3], (4,), {2, 4}, np.array([1, 2])])
def test_class_is_all_pixels_of_the_chosen_clusters(clusters):
    data = random_labels(3, 9, 11)
    made = separate_objects(Labels(data), clusters, connected=False)
    chosen = [clusters] if isinstance(clusters, int) else list(clusters)
    assert_array_equal(made.data, np.isin(data, chosen))
    assert made.data.dtype == np.uint8
    assert_array_equal(made.features["pixels"], np.isin(data, chosen).sum())


def test_class_is_rid_of_objects_that_are_too_small():
    data = random_labels(3, 9, 11)
    layer = Labels(data, **MOVIE)
    made = separate_objects(layer, 2, connected=False, smallest=3)
    separate = separate_objects(layer, 2, smallest=3)
    assert_array_equal(made.data, separate.data > 0)
    assert made.features["pixels"][0] == separate.features["pixels"].sum()
    assert list(made.features) == ["index", "pixels", "area", "area_unit"]


# Clusters.


def test_clusters_are_chosen_by_name_all_that_have_it():
    data = random_labels(9, 11)
    names = {"index": [1, 2, 3, 4], "name": ["", "nuclei", "glass", "nuclei"]}
    layer = Labels(data, features=names, name="a")
    made = separate_objects(layer, ["nuclei", 1, "nuclei"], connected=False)
    assert_array_equal(made.data, np.isin(data, [1, 2, 4]))
    assert made.name == "nuclei + cluster 1 of a"
    for name in ("", "Nuclei", "1"):
        with pytest.raises(ValueError, match=f"“a” has no cluster called '{name}'"):
            separate_objects(layer, name)


def test_cluster_without_a_pixel_has_no_objects_but_one_that_is_unknown_is_refused():
    data = np.full((3, 4), 2)
    layer = Labels(data, features={"index": [1, 2]}, name="a")
    made = separate_objects(layer, 1, image=Image(data))
    assert not made.data.any()
    assert len(made.features) == 0
    assert list(separate_objects(layer, 2).features) == list(made.features)[:-1]
    one = separate_objects(layer, 1, image=Image(data), connected=False)
    assert one.features[["pixels", "area"]].values.tolist() == [[0, 0]]
    assert np.isnan(one.features["mean"][0])
    with pytest.raises(ValueError, match="clusters: “a” has no label 3"):
        separate_objects(layer, [2, 3])


def test_label_that_was_painted_is_a_cluster_also_if_the_features_lack_it():
    layer = Labels(np.full((3, 4), 7), features={"index": [1, 2]})
    assert separate_objects(layer, 7).data.all()


# Where the layer lies.


def test_layer_lies_on_the_labels():
    places = {
        "scale": (3, 0.5, 0.25),
        "translate": (1, 2, 3),
        "rotate": 20,
        "shear": (0.1, 0.2, 0.3),
        "affine": np.diag([2, 3, 4, 1]),
        "units": ("s", "um", "um"),
        "axis_labels": ("t", "y", "x"),
    }
    layer = Labels(random_labels(2, 5, 6), **places)
    before = layer.as_layer_data_tuple()[1]
    for connected in (True, False):
        made = separate_objects(layer, 1, connected=connected)
        after = made.as_layer_data_tuple()[1]
        for name in PLACES:
            assert_array_equal(np.asarray(after[name]), np.asarray(before[name]))


def test_layer_is_added_to_the_viewer_that_is_given_and_to_no_other():
    viewer = ViewerModel()
    layer = viewer.add_labels(random_labels(5, 6))
    made = separate_objects(layer, 1)
    assert len(viewer.layers) == 1
    made = separate_objects(layer, 1, viewer=viewer)
    assert viewer.layers[-1] is made


def test_layers_are_taken_as_napari_hands_them_to_plugins():
    layer = Labels(random_labels(5, 6))
    proxies = PublicOnlyProxy(layer), PublicOnlyProxy(Image(layer.data))
    made = separate_objects(proxies[0], 1, image=proxies[1])
    assert_array_equal(made.features["mean"], 1)


def test_labels_stay_as_they_are_and_the_new_ones_are_no_view_of_them():
    data = random_labels(5, 6)
    layer = Labels(data.copy())
    with ThreadPoolExecutor() as pool:
        made = pool.submit(separate_objects, layer, 1, connected=False).result()
    made.data[:] = 9
    assert_array_equal(layer.data, data)


def test_levels_of_detail_are_those_of_the_finest():
    data = random_labels(8, 8)
    layer = Labels([data, data[::2, ::2]], multiscale=True)
    made = separate_objects(layer, 1)
    assert_array_equal(made.data, separate_objects(Labels(data), 1).data)


# Features.


@pytest.mark.parametrize(("shape", "scale"), [((40, 30), (0.5, 3)), ((9, 8, 7), 2)])
def test_features_are_those_of_scikit_image(shape, scale):
    data = (random_labels(*shape) > 2).astype(int)
    scale = np.broadcast_to(scale, len(shape))
    units = len(shape) * ["um"]
    made = separate_objects(Labels(data, scale=scale, units=units), 1)
    names = ["area", "centroid", "equivalent_diameter_area", "num_pixels"]
    names += ["eccentricity"] * (len(shape) == 2)
    expected = regionprops_table(made.data, properties=names, spacing=tuple(scale))
    table = made.features
    assert_array_equal(table["pixels"], expected["num_pixels"])
    assert_allclose(table["area"], expected["area"])
    for i, axis in enumerate("zyx"[-len(shape) :]):
        assert_allclose(table[f"centroid {axis}"], expected[f"centroid-{i}"])
    diameter = expected["equivalent_diameter_area"]
    assert_allclose(table["equivalent_diameter"], diameter)
    assert ("eccentricity" in table) == (len(shape) == 2)
    if len(shape) == 2:
        # It is a root: near 0 it has half of the digits.
        assert_allclose(table["eccentricity"], expected["eccentricity"], atol=1e-7)
    assert set(table["area_unit"]) == {"µm²" if len(shape) == 2 else "µm³"}


def test_features_of_a_cross_and_a_line_by_hand():
    data = np.zeros((1, 3, 9), dtype=int)
    data[0, [0, 1, 1, 1, 2], [1, 0, 1, 2, 1]] = 1
    data[0, 1, 5:9] = 1
    places = {"scale": (60, 2, 2), "translate": (5, 10, 20)}
    table = separate_objects(Labels(data, **MOVIE, **places), 1).features
    expected = {
        "index": [1, 2],
        "t": [0, 0],
        "pixels": [5, 4],
        "area": [20, 16],
        "area_unit": ["µm²", "µm²"],
        "centroid y": [12, 12],
        "centroid x": [22, 33],
        # Of circles of 20 and 16 µm².
        "equivalent_diameter": [2 * (20 / np.pi) ** 0.5, 2 * (16 / np.pi) ** 0.5],
        "eccentricity": [0, 1],
    }
    assert list(table) == list(expected)
    for name, values in expected.items():
        assert table[name].tolist() == pytest.approx(values, abs=1e-12), name


def test_small_squares_are_round_wherever_they_are():
    data = np.zeros((1100, 1100), dtype=np.uint8)
    data[10:13, 10:13] = data[1090:1093, 500:503] = 1
    table = separate_objects(Labels(data), 1).features
    assert_array_equal(table["centroid y"], [11, 1091])
    assert_array_equal(table["eccentricity"], [0, 0])


def test_axes_without_a_name_of_their_own_are_called_by_number_and_z_y_x():
    data = random_labels(2, 3, 4, 5)
    table = separate_objects(Labels(data), 1).features
    assert {"axis 0", "centroid z", "centroid y", "centroid x"} < set(table)
    labels = ("index", "a", "a", "row")
    named = separate_objects(Labels(data, axis_labels=labels), 1).features
    assert {"axis 0", "centroid z", "centroid y", "centroid row"} < set(named)
    odd = separate_objects(Labels(data, axis_labels=("t", "x", "-2", "-1")), 1).features
    assert {"t", "centroid x", "centroid y", "centroid axis 3"} < set(odd)
    assert_array_equal(named["index"], range(1, len(named) + 1))


# Intensities.


def means_of(layer, image):
    return [
        image[layer.data == number].mean() for number in range(1, layer.data.max() + 1)
    ]


@pytest.mark.parametrize("dtype", [np.uint16, np.float16, np.int64, bool])
def test_mean_intensity_is_that_of_the_pixels_of_each_object(dtype):
    data = random_labels(3, 9, 11)
    image = np.random.default_rng(1).integers(0, 2000, data.shape).astype(dtype)
    made = separate_objects(Labels(data, **MOVIE), [1, 2], image=Image(image))
    assert_allclose(made.features["mean"], means_of(made, image.astype(float)))
    one = separate_objects(Labels(data), 1, image=Image(image), connected=False)
    assert_allclose(one.features["mean"], image[data == 1].astype(float).mean())


def test_images_that_are_channels_are_called_by_their_names():
    data = random_labels(9, 11)
    images = np.random.default_rng(1).random((2, 9, 11)).astype(np.float32)
    layers = [
        Image(x, name=name) for x, name in zip(images, ("red", "dna"), strict=True)
    ]
    made = separate_objects(Labels(data), 1, image=layers)
    assert list(made.features)[-2:] == ["mean red", "mean dna"]
    for layer in layers:
        found = made.features[f"mean {layer.name}"]
        assert_allclose(found, means_of(made, layer.data.astype(float)))


@pytest.mark.parametrize("n_channels", [3, 4])
def test_channels_of_rgb_are_called_by_their_colors(n_channels):
    data = random_labels(9, 11)
    image = np.random.default_rng(1).integers(0, 256, (9, 11, n_channels))
    layer = Image(image.astype(np.uint8), rgb=True)
    made = separate_objects(Labels(data), 1, image=layer)
    columns = ["mean red", "mean green", "mean blue", "mean alpha"][:n_channels]
    assert list(made.features)[-n_channels:] == columns
    for i, column in enumerate(columns):
        assert_allclose(made.features[column], means_of(made, image[..., i]))


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 3])
def test_channels_along_an_axis_are_called_by_their_numbers(axis, is_named):
    image = np.random.default_rng(1).random((2, 3, 4, 5))
    layer = Image(image)
    (labels,) = quantize_layer(layer, 2, output="labels", channel_axis=axis)
    if is_named:
        labels.metadata = {}
        layer.axis_labels = tuple("Channel" if i == axis else f"a{i}" for i in range(4))
        labels.axis_labels = layer.axis_labels[int(axis == 0) :]
    made = separate_objects(labels, 1, image=layer)
    columns = [f"mean {i}" for i in range(image.shape[axis])]
    assert list(made.features)[-len(columns) :] == columns
    for i, column in enumerate(columns):
        part = np.take(image, [i] if axis else i, axis)
        assert_allclose(made.features[column], means_of(made, part))


# Lazy layers, and Cancel.


def test_lazy_labels_and_images_give_what_others_give():
    data = random_labels(3, 9, 11)
    expected = separate_objects(Labels(data, **MOVIE), 1, image=Image(data))
    lazy = da.from_array(data, chunks=(2, 4, 11))
    made = separate_objects(Labels(lazy, **MOVIE), 1, image=Image(lazy))
    assert isinstance(made.data, np.ndarray)
    assert_array_equal(made.data, expected.data)
    assert made.features.equals(expected.features)


def test_labels_that_memory_does_not_hold_are_refused(monkeypatch):
    monkeypatch.setattr(objects, "fits_in_memory", lambda n: n < 25 * 20)
    separate_objects(Labels(np.ones((1, 19), dtype=np.uint8)), 1, axes=(0, 1))
    with pytest.raises(ValueError, match="“a” is too large for the free memory"):
        separate_objects(Labels(np.ones((4, 5), dtype=np.uint8), name="a"), 1)


def test_cancel_ends_it_between_frames_and_within_them():
    layer = Labels(random_labels(6, 50, 50), **MOVIE)
    check = Check()
    with interruptible(check):
        separate_objects(layer, 1)
    assert check.n_calls >= 6 * 3
    for last in (0, 1, 2, 3, check.n_calls - 1):
        with interruptible(Check(last)), pytest.raises(Ended):
            separate_objects(layer, 1)


# What is refused.

GOOD = {"labels": Labels(np.ones((3, 4, 5), dtype=int), name="a"), "clusters": 1}
IMAGE = Image(np.zeros((3, 4, 5)), name="b")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"labels": IMAGE}, TypeError, "labels must be a Labels layer, got <Image"),
        (
            {"clusters": 0},
            ValueError,
            "clusters must be label numbers from 1 on, got 0",
        ),
        ({"clusters": []}, ValueError, "clusters must be at least one, got []"),
        (
            {"clusters": 1.5},
            TypeError,
            "clusters must be label numbers and names, got 1.5",
        ),
        ({"clusters": [True]}, TypeError, "numbers and names, got True"),
        ({"clusters": None}, TypeError, "numbers and names, got None"),
        ({"clusters": "x"}, ValueError, "clusters: “a” has no cluster called 'x'"),
        ({"smallest": 0}, ValueError, "smallest must be at least 1 pixel, got 0"),
        ({"smallest": 2.0}, TypeError, "smallest must be an integer, got 2.0"),
        ({"smallest": True}, TypeError, "smallest must be an integer, got True"),
        ({"axes": (0,)}, ValueError, "must be two or three of the 3 of “a”, got (0,)"),
        ({"axes": 1}, ValueError, "must be two or three of the 3 of “a”, got (1,)"),
        ({"axes": (0, 3)}, ValueError, "two or three of the 3 of “a”, got (0, 3)"),
        ({"axes": (0, -3)}, ValueError, "two or three of the 3 of “a”, got (0, -3)"),
        ({"axes": (0, "y")}, TypeError, "axes must be integers, got (0, 'y')"),
        ({"image": 5}, TypeError, "image must be one Image layer or several, got 5"),
        ({"image": GOOD["labels"]}, TypeError, "image must be one Image layer or sev"),
        (
            {"image": Image(np.zeros((3, 5, 4)), name="b")},
            ValueError,
            "have the shape (3, 4, 5) of “a”, or one more axis for channels, got (3, 5",
        ),
        (
            {"image": [IMAGE, IMAGE]},
            ValueError,
            "image must be layers of different names, got ['mean b', 'mean b']",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        separate_objects(**(GOOD | arguments))


def test_planes_of_one_axis_are_refused():
    layer = Labels(np.ones((3, 4), dtype=int), axis_labels=("t", "x"), name="a")
    with pytest.raises(ValueError, match=r"two or three of the 2 of “a”, got \(1,\)"):
        separate_objects(layer, 1)


# The public name.


def test_docstring_is_complete():
    found = validate("napari_kmeans.separate_objects")["errors"]
    assert [error for error in found if error[0] not in {"ES01", "RT02"}] == []
