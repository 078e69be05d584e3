"""Labels and shapes as masks of an image, wherever they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Labels, Shapes

from napari_kmeans._napari._layers import without_axis, world_matrix

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

__all__ = ["Mask", "draw_mask", "read_mask"]


class Mask(NamedTuple):
    """What a layer holds, for a thread that must not touch it."""

    name: str
    # Labels (...), or the corners of each shape and what kind of shape it is.
    labels: Any
    corners: tuple[NDArray[np.float64], ...]
    kinds: tuple[str, ...]
    # From pixels of the image to those of the layer.
    matrix: NDArray[np.float64]
    # Of the image, without its channels.
    shape: tuple[int, ...]


def read_mask(
    layer: Labels | Shapes, image: Image, shape: tuple[int, ...], dropped: int | None
) -> Mask:
    """Take what a layer holds, and how it lies to an image of spatial `shape`.

    Raises
    ------
    ValueError
        If the layer has more axes than the image, or cannot be drawn on it.
    """
    if layer.ndim > len(shape):
        msg = (
            f"mask must have at most the {len(shape)} axes of the image, "
            f"got {layer.ndim} of {layer.name}"
        )
        raise ValueError(msg)
    matrix = without_axis(world_matrix(image), dropped)
    # napari lines the last axes of layers up.
    for _ in range(len(shape) - layer.ndim):
        matrix = without_axis(matrix, 0)
    matrix = np.linalg.inv(world_matrix(layer)) @ matrix
    if isinstance(layer, Shapes):
        corners = tuple(np.array(shape) for shape in layer.data)
        kinds = tuple(layer.shape_type)
        return Mask(layer.name, None, corners, kinds, matrix, shape)
    labels = layer.data[0] if layer.multiscale else layer.data
    return Mask(layer.name, labels, (), (), matrix, shape)


def draw_mask(mask: Mask) -> NDArray[np.bool_]:
    """Give the pixels of the image that are labeled, or inside of shapes."""
    inner = mask.shape[len(mask.shape) - len(mask.matrix) + 1 :]
    if mask.labels is None:
        # Into the pixels of the image.
        back = np.linalg.inv(mask.matrix)
        corners = [c @ back[:-1, :-1].T + back[:-1, -1] for c in mask.corners]
        shapes = Shapes(corners, shape_type=list(mask.kinds), ndim=len(inner))
        inside = np.asarray(shapes.to_labels(inner)) != 0
    else:
        inside = np.asarray(mask.labels) != 0
        is_same = np.allclose(mask.matrix, np.eye(len(mask.matrix)))
        if not (is_same and inside.shape == inner):
            inside = _nearest(inside, mask.matrix, inner)
    return np.broadcast_to(inside, mask.shape)


def _nearest(
    inside: NDArray[np.bool_], matrix: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Give the nearest values at the pixels of `shape`, and False beyond the edge."""
    from scipy import ndimage

    moved: NDArray[np.uint8] = ndimage.affine_transform(
        inside.view(np.uint8),
        matrix[:-1, :-1],
        offset=matrix[:-1, -1],
        output_shape=shape,
        order=0,
        mode="grid-constant",
    )
    return moved.view(np.bool_)
