"""Labels and shapes as masks of an image, wherever they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Labels, Shapes

from napari_kmeans._checkpoint import checkpoint
from napari_kmeans._color_counts import cut_rows
from napari_kmeans._napari._layers import Channels, world_matrix
from napari_kmeans._napari._reading import read_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

__all__ = ["Mask", "draw_mask", "read_mask"]

# Pixels that are drawn or moved at once, and parts that a shape is drawn in at most.
_BLOCK = 1 << 18
_MOST_STRIPS = 64


class Mask(NamedTuple):
    """What a layer holds, for a thread that must not touch it."""

    name: str
    id: str
    # Labels (...), or the corners of each shape and what kind of shape it is.
    labels: Any
    corners: tuple[NDArray[np.float64], ...]
    kinds: tuple[str, ...]
    # From pixels of the image, each channel being one, to those of the layer, along the
    # last axes of the image.
    matrix: NDArray[np.float64]
    # Of the image, and the axis of it that holds channels.
    shape: tuple[int, ...]
    channel_axis: int | None


def read_mask(
    layer: Labels | Shapes,
    image: Image,
    channels: Channels | None,
    units: Sequence[Any] | None,
) -> Mask:
    """Take what a layer holds, and how it lies to an image in a viewer of `units`.

    Raises
    ------
    ValueError
        If the layer has more axes than the image.
    """
    shape = (image.data[0] if image.multiscale else image.data).shape[: image.ndim]
    if layer.ndim > len(shape):
        msg = (
            f"mask must have at most the {len(shape)} axes of the image, "
            f"got {layer.ndim} of {layer.name}"
        )
        raise ValueError(msg)
    # napari lines the last axes of layers up.
    first = len(shape) - layer.ndim
    matrix = world_matrix(image, units)[first:, first:]
    matrix = np.linalg.inv(world_matrix(layer, units)) @ matrix
    mask = Mask(
        name=layer.name,
        id=str(layer.unique_id),
        labels=None,
        corners=(),
        kinds=(),
        matrix=matrix,
        shape=tuple(shape),
        channel_axis=None if channels is None else channels.axis,
    )
    if isinstance(layer, Shapes):
        corners = tuple(np.array(shape) for shape in layer.data)
        return mask._replace(corners=corners, kinds=tuple(layer.shape_type))
    return mask._replace(labels=layer.data[0] if layer.multiscale else layer.data)


def draw_mask(mask: Mask) -> NDArray[np.bool_]:
    """Give the pixels of the image that are labeled, or inside of shapes.

    A pixel is inside if any of its channels is.
    """
    inner = mask.shape[len(mask.shape) - len(mask.matrix) + 1 :]
    if mask.labels is None:
        inside = _drawn(mask, inner)
    else:
        inside = read_array(mask.labels) != 0
        is_same = np.allclose(mask.matrix, np.eye(len(mask.matrix)))
        if not (is_same and inside.shape == inner):
            inside = _nearest(inside, mask.matrix, inner)
    inside = np.broadcast_to(inside, mask.shape)
    axis = mask.channel_axis
    return inside if axis is None else np.any(inside, axis=axis)


def _drawn(mask: Mask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw shapes on an image of `shape`."""
    # Into the pixels of the image.
    back = np.linalg.inv(mask.matrix)
    drawn = np.zeros(shape, dtype=bool)
    n_rows = shape[-2]
    n_strips = min(_MOST_STRIPS, max(1, drawn.size // _BLOCK))
    for corners, kind in zip(mask.corners, mask.kinds, strict=True):
        moved = corners @ back[:-1, :-1].T + back[:-1, -1]
        low, high = moved[:, -2].min(), moved[:, -2].max()
        # Ends of lines would be moved into a strip.
        height = n_rows if kind in ("line", "path") else max(1, -(-n_rows // n_strips))
        for top in range(0, n_rows, height):
            if low > top + height or high < top - 1:
                continue
            checkpoint()
            strip = drawn[..., top : top + height, :]
            in_strip = moved.copy()
            in_strip[:, -2] -= top
            layer = Shapes([in_strip], shape_type=kind, ndim=len(shape))
            strip |= np.asarray(layer.to_labels(strip.shape)) != 0
    return drawn


def _nearest(
    inside: NDArray[np.bool_], matrix: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Give the nearest values at the pixels of `shape`, and False beyond the edge."""
    from scipy import ndimage

    moved = np.empty(shape, dtype=bool)
    for box in cut_rows(shape, _BLOCK):
        start = [side.start for side in box]
        ndimage.affine_transform(
            inside.view(np.uint8),
            matrix[:-1, :-1],
            offset=matrix[:-1, :-1] @ start + matrix[:-1, -1],
            output_shape=moved[box].shape,
            output=moved[box].view(np.uint8),
            order=0,
            mode="grid-constant",
        )
    return moved
