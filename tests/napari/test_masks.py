import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from numpy.testing import assert_array_equal
from scipy import ndimage

from napari_kmeans._core import blocks
from napari_kmeans._core.blocks import interruptible
from napari_kmeans._napari import layers
from napari_kmeans._napari.computation import LayerError, quantize_source
from napari_kmeans._napari.layers import Mask, draw_mask, read_mask, read_source
from napari_kmeans._napari.placement import Channels, labels_placement
from napari_kmeans._napari.quantize_layer import prepare
from napari_kmeans._napari.settings import Settings

SQUARE = np.array([[1.6, 2.6], [1.6, 5.4], [4.4, 5.4], [4.4, 2.6]])


def ignore(_):
    """Do nothing with what a computation reports."""


def inside(layer, image, channels=None, units=None):
    return draw_mask(read_mask(layer, image, channels, units))


def test_labels_are_inside():
    labels = np.array([[0, 1, 5], [0, 0, 2]])
    mask = inside(Labels(labels), Image(np.zeros((2, 3))))
    assert_array_equal(mask, labels > 0)


def test_shapes_are_filled():
    mask = inside(Shapes([SQUARE], shape_type="polygon"), Image(np.zeros((7, 8))))
    expected = np.zeros((7, 8), dtype=bool)
    expected[2:5, 3:6] = True
    assert_array_equal(mask, expected)


PLACES = {"scale": (2, 0.5), "translate": (3, -4), "rotate": 90}


@pytest.mark.parametrize("kind", ["labels", "shapes"])
def test_mask_counts_where_it_lies_in_the_world(kind):
    # Turned by a quarter: the image's (row, column) is at (-column / 2, row) * ...
    image = Image(np.zeros((7, 8)), **PLACES)
    expected = np.zeros((7, 8), dtype=bool)
    expected[2:5, 3:6] = True
    if kind == "labels":
        # A finer grid of its own: 8 by 8 pixels of the layer on each of the world.
        rows, columns = np.mgrid[-20:20:0.125, -20:20:0.125]
        world = np.stack([rows, columns], -1).reshape(-1, 2)
        found = np.array([image.world_to_data(point) for point in world[::1]])
        nearest = np.rint(found).astype(int).reshape(*rows.shape, 2)
        within = ((nearest >= 0) & (nearest < (7, 8))).all(axis=-1)
        hit = np.zeros(rows.shape, dtype=int)
        hit[within] = expected[tuple(nearest[within].T)]
        layer = Labels(hit, scale=(0.125, 0.125), translate=(-20, -20))
    else:
        corners = [image.data_to_world(corner) for corner in SQUARE]
        layer = Shapes([np.array(corners)], shape_type="polygon")

    assert_array_equal(inside(layer, image), expected)


def test_plane_masks_all_slices():
    labels = np.array([[0, 1, 5], [0, 0, 2]])
    mask = inside(Labels(labels), Image(np.zeros((4, 2, 3))))
    assert_array_equal(mask, np.broadcast_to(labels > 0, (4, 2, 3)))


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_are_no_axis_of_a_mask(axis):
    labels = np.array([[0, 1, 5], [0, 0, 2]])
    image = Image(np.zeros(np.insert((2, 2, 3), axis, 4)), translate=(0, 3, 0, 0))
    where = {"translate": image.translate[-2:]}
    expected = np.broadcast_to(labels > 0, (2, 2, 3))
    assert_array_equal(
        inside(Labels(labels, **where), image, Channels(axis, 4)), expected
    )


def test_labels_of_channels_are_a_mask_of_their_image():
    image = Image(np.random.default_rng(1).random((2, 4, 5, 6)), scale=(9, 2, 1, 1))
    source = read_source([image], 1)
    outcome = quantize_source(source, Settings(k=2, output="labels"), ignore)
    outcome.labels[0][outcome.labels[0] == 1] = 0
    places = labels_placement(image, source.channels)
    mask = inside(Labels(outcome.labels[0], **places), image, source.channels)
    assert_array_equal(mask, outcome.labels[0][:, 0] > 0)


@pytest.mark.parametrize("channel", [0, 3])
def test_shape_drawn_in_one_channel_masks_them_all(channel):
    image = Image(np.zeros((2, 4, 7, 8)), scale=(9, 2, 1, 1))
    drawn = np.insert(SQUARE, 0, [[9], [2 * channel]], axis=1)
    mask = inside(Shapes([drawn], shape_type="polygon"), image, Channels(1, 4))
    expected = np.zeros((2, 7, 8), dtype=bool)
    expected[1, 2:5, 3:6] = True
    assert_array_equal(mask, expected)


@pytest.mark.parametrize("kind", ["labels", "shapes"])
@pytest.mark.parametrize(
    ("unit", "size", "third"),
    [
        pytest.param("nm", 1000, "um", id="smaller"),
        pytest.param("mm", 0.001, "um", id="larger"),
        pytest.param("pixel", 1, "um", id="pixels"),
        # Where one layer has no length, napari takes the numbers of all as they are.
        pytest.param("nm", 1, "pixel", id="not converted"),
    ],
)
def test_mask_is_where_napari_draws_it(kind, unit, size, third):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((7, 8)), scale=(2, 3), units=("um", "um"))
    viewer.add_image(np.zeros((7, 8)), units=(third, third))
    where = {"scale": (2 * size, 3 * size), "units": (unit, unit)}
    expected = np.zeros((7, 8), dtype=bool)
    expected[2:5, 3:6] = True
    if kind == "labels":
        layer = viewer.add_labels(expected.astype(int), **where)
    else:
        layer = viewer.add_shapes([SQUARE], shape_type="polygon", **where)

    mask = inside(layer, image, units=viewer.dims.units)

    assert_array_equal(mask, expected)


def test_mask_of_more_axes_is_refused():
    labels = Labels(np.zeros((2, 2, 2), int), name="m")
    with pytest.raises(LayerError, match="“m” has 3 axes, and “a” 2: draw in a layer"):
        prepare([Image(np.zeros((2, 2)), name="a")], Settings(), labels)


def random_shapes(rng, ndim):
    """Give corners and kinds, also beyond the edges, half of them on whole pixels."""
    corners = []
    kinds = rng.choice(["rectangle", "ellipse", "polygon", "path", "line"], 3)
    for kind in kinds:
        ends = rng.uniform(-10, 55, (2 if kind == "line" else rng.integers(3, 9), 2))
        if rng.random() < 0.5:
            ends = np.round(ends)
        if kind in ("rectangle", "ellipse"):
            (top, left), (bottom, right) = ends[:2]
            ends = [[top, left], [top, right], [bottom, right], [bottom, left]]
        planes = rng.uniform(-1, 5, ndim - 2)
        corners.append(np.hstack([np.tile(planes, (len(ends), 1)), ends]))
    return corners, list(kinds)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_shapes_are_drawn_as_napari_does(monkeypatch, ndim, seed):
    monkeypatch.setattr(layers, "_COMPARED", 300)
    corners, kinds = random_shapes(np.random.default_rng(seed), ndim)
    shape = (4, 40, 50)[3 - ndim :]
    layer = Shapes(corners, shape_type=kinds, ndim=ndim)
    mask = inside(layer, Image(np.zeros(shape)))
    assert_array_equal(mask, layer.to_labels(shape) != 0)


@pytest.mark.parametrize("offset", [0.1, 0.2, 0.3, 0.4])
def test_pixels_on_an_edge_are_those_of_napari(monkeypatch, offset):
    # Whether these are inside hangs on the last bits of the corners.
    monkeypatch.setattr(layers, "_COMPARED", 300)
    corners = np.array([[0, 5], [900, 905], [900, 5]]) + offset
    shape = (1000, 1000)
    mask = Mask("m", "", None, ((corners, "polygon"),), np.eye(3), shape, None)
    expected = Shapes([corners], shape_type="polygon").to_labels(shape) != 0
    assert_array_equal(draw_mask(mask), expected)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_labels_are_moved_as_scipy_does(monkeypatch, ndim, seed):
    monkeypatch.setattr(blocks, "_BLOCK", 400)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rng.integers(3, 20, ndim))
    shape = tuple(rng.integers(3, 20, ndim))
    # Quarters, so that some points lie midway between two pixels.
    matrix = np.eye(ndim + 1)
    matrix[:-1] = np.round(4 * rng.normal(size=(ndim, ndim + 1))) / 4
    expected = ndimage.affine_transform(
        labels.astype(np.uint8),
        matrix[:-1, :-1],
        offset=matrix[:-1, -1],
        output_shape=shape,
        order=0,
        mode="grid-constant",
    )
    mask = draw_mask(Mask("labels", "", labels, (), matrix, shape, None))
    assert_array_equal(mask, expected != 0)


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "ellipse"])
def test_drawing_has_a_checkpoint_for_some_rows_of_a_shape(kind):
    corners = np.array([[0, 0], [0, 2000], [999, 2000], [999, 0]])
    layer = Shapes([corners], shape_type=kind)
    checks = []
    with interruptible(lambda: checks.append(1)):
        inside(layer, Image(np.zeros((1000, 2001))))
    # Four corners at least are compared with each pixel.
    assert len(checks) > 4 * 1000 * 2001 // layers._COMPARED


def test_drawing_has_a_checkpoint_for_each_line():
    lines = [np.array([[0, 0], [9, 9]])] * 20
    layer = Shapes(lines, shape_type="line")
    checks = []
    with interruptible(lambda: checks.append(1)):
        inside(layer, Image(np.zeros((10, 10))))
    assert len(checks) == 20


def test_moving_has_a_checkpoint_for_some_rows():
    labels = Labels(np.ones((1000, 1000), np.uint8), scale=(2, 2))
    checks = []
    with interruptible(lambda: checks.append(1)):
        inside(labels, Image(np.zeros((1000, 1000))))
    assert len(checks) >= 8 * 1_000_000 // blocks._BLOCK
