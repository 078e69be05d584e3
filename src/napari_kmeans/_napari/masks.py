"""Labels and shapes as masks of an image, wherever they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Labels, Shapes
from napari.layers.shapes._shapes_utils import triangulate_ellipse

from napari_kmeans._core.blocks import checkpoint
from napari_kmeans._core.color_counts import cut_rows
from napari_kmeans._napari.layers import Channels, levels_of, world_matrix
from napari_kmeans._napari.reading import read_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

__all__ = ["Mask", "draw_mask", "read_mask"]

# Pixels times corners that are compared at once, and pixels that are moved at once.
_COMPARED = 1 << 20
_BLOCK = 1 << 18


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
    shape = levels_of(image)[0].shape[: image.ndim]
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
    return mask._replace(labels=levels_of(layer)[0])


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
    """Draw shapes on an image of `shape`, to the pixel as `Shapes.to_labels` does.

    That holds the interpreter lock from the first pixel of a shape to the last.
    """
    # Into the pixels of the image.
    back = np.linalg.inv(mask.matrix)
    drawn = np.zeros(shape, dtype=bool)
    for corners, kind in zip(mask.corners, mask.kinds, strict=True):
        checkpoint()
        moved = corners @ back[:-1, :-1].T + back[:-1, -1]
        if kind in ("line", "path"):
            layer = Shapes([moved], shape_type=kind, ndim=len(shape))
            drawn |= np.asarray(layer.to_labels(shape)) != 0
            continue
        # Shapes keep single precision.
        outline = moved[:, -2:].astype(np.float32)
        if kind == "ellipse":
            outline = triangulate_ellipse(outline)[0]
        drawn[_planes(moved, kind, shape)] |= _filled(outline, shape[-2:])
    return drawn


def _planes(corners: NDArray[Any], kind: str, shape: tuple[int, ...]) -> Any:
    """Index the planes, if there are several, that a shape is in."""
    if len(shape) == 2:
        return ...
    # The same shape, drawn around the one pixel of each plane.
    angle = np.linspace(0, 2 * np.pi, len(corners), endpoint=False)
    around = np.column_stack([corners[:, :-2], 9 * np.cos(angle), 9 * np.sin(angle)])
    layer = Shapes([around], shape_type=kind, ndim=len(shape))
    return np.asarray(layer.to_labels((*shape[:-2], 1, 1)))[..., 0, 0] != 0


def _filled(outline: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill a polygon on a plane, its edge included."""
    from skimage.measure import points_in_poly

    filled = np.zeros(shape, dtype=bool)
    low = np.clip(np.floor(outline.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, shape).astype(int)
    rows, columns = (np.arange(*ends) for ends in zip(low, high, strict=True))
    step = max(1, _COMPARED // (max(1, len(columns)) * len(outline)))
    for start in range(0, len(rows) if len(columns) else 0, step):
        checkpoint()
        some = rows[start : start + step]
        # The order of coordinates of skimage.draw, for the same rounding.
        points = np.stack(np.meshgrid(columns, some), axis=-1)
        found = points_in_poly(points.reshape(-1, 2), outline[:, ::-1])
        filled[np.ix_(some, columns)] = found.reshape(points.shape[:-1])
    return filled


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
