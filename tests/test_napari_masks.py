import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes
from numpy.testing import assert_array_equal

from napari_kmeans._napari._masks import draw_mask, read_mask

SQUARE = np.array([[1.6, 2.6], [1.6, 5.4], [4.4, 5.4], [4.4, 2.6]])


def inside(layer, image, shape=None, dropped=None):
    return draw_mask(read_mask(layer, image, shape or image.data.shape, dropped))


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


def test_channels_are_no_axis_of_a_mask():
    labels = np.array([[0, 1, 5], [0, 0, 2]])
    mask = inside(Labels(labels), Image(np.zeros((2, 4, 3))), (2, 3), 1)
    assert_array_equal(mask, labels > 0)


def test_mask_of_more_axes_is_refused():
    with pytest.raises(ValueError, match="at most the 2 axes of the image, got 3 of m"):
        inside(Labels(np.zeros((2, 2, 2), int), name="m"), Image(np.zeros((2, 2))))
