"""Labels and shapes as masks of an image, wherever they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Labels, Shapes
from napari.layers.shapes._shapes_utils import triangulate_ellipse

from napari_kmeans._checkpoint import checkpoint
from napari_kmeans._color_counts import cut_rows
from napari_kmeans._napari._layers import without_axis, world_matrix
from napari_kmeans._napari._reading import read_array

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

__all__ = ["Mask", "draw_mask", "read_mask"]

# Points times corners that are compared at once, and pixels that are moved at once.
_COMPARED = 1 << 20
_MOVED = 1 << 16


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
        inside = _drawn(mask, inner)
    else:
        inside = read_array(mask.labels) != 0
        is_same = np.allclose(mask.matrix, np.eye(len(mask.matrix)))
        if not (is_same and inside.shape == inner):
            inside = _nearest(inside, mask.matrix, inner)
    return np.broadcast_to(inside, mask.shape)


def _drawn(mask: Mask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw shapes on an image of `shape`, as `Shapes.to_labels` does.

    That looks at all pixels of a shape in one go, in which no other thread gets a word.
    """
    # Into the pixels of the image.
    back = np.linalg.inv(mask.matrix)
    drawn = np.zeros(shape, dtype=bool)
    for corners, kind in zip(mask.corners, mask.kinds, strict=True):
        checkpoint()
        moved = corners @ back[:-1, :-1].T + back[:-1, -1]
        layer = Shapes([moved], shape_type=kind, ndim=len(shape))
        if kind in ("line", "path"):
            drawn |= np.asarray(layer.to_labels(shape)) != 0
            continue
        (moved,) = layer.data
        outline = moved[:, -2:]
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
    """Give the nearest values at the pixels of `shape`, and False beyond the edge.

    They are those of `scipy.ndimage.affine_transform`, which does it in one go.
    """
    from scipy import ndimage

    octets = inside.view(np.uint8)
    moved = np.empty(shape, dtype=bool)
    for box in cut_rows(shape, _MOVED):
        places = np.empty((len(matrix) - 1, *moved[box].shape))
        places.T[...] = matrix[:-1, -1]
        for axis, side in enumerate(np.ogrid[box]):
            for place, step in zip(places, matrix[:, axis], strict=False):
                place += side * step
        ndimage.map_coordinates(
            octets, places, moved[box].view(np.uint8), order=0, mode="grid-constant"
        )
    return moved
