"""The strict door: what users pass, checked once and brought into one form.

Each `checked_...` function takes an argument as a user passed it and returns it in the
one form that the core works on, or raises an error that names the argument, the rule
and the value. The words of all choices stand here, once: `COLOR_SPACES`, `DITHERS`,
`INITS`. Everything below the door trusts its caller.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeGuard, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from napari_kmeans._core.arrays import Array, Mask
from napari_kmeans._core.perceptual import is_convertible
from napari_kmeans._core.spaces import Layout, SpaceName

InitName: TypeAlias = Literal["auto", "thorough", "k-means++", "random"]
DitherName: TypeAlias = Literal["floyd-steinberg", "ordered"]
Init: TypeAlias = InitName | ArrayLike
# Quoted, for NumPy loads its generators when they are first named.
Rng: TypeAlias = "int | np.random.Generator | None"
Images: TypeAlias = ArrayLike | Sequence[Array]
Masks: TypeAlias = ArrayLike | Sequence[Array] | None
Dither: TypeAlias = DitherName | None

__all__ = [
    "COLOR_SPACES",
    "DITHERS",
    "INITS",
    "MAX_COLORS",
    "NoFinitePixelError",
    "checked_callback",
    "checked_colors",
    "checked_dither",
    "checked_fixed",
    "checked_image",
    "checked_images",
    "checked_init",
    "checked_integer",
    "checked_layout",
    "checked_mask",
    "checked_masks",
    "checked_number",
    "checked_palette",
    "checked_rng",
]

MAX_COLORS = 65536
INITS: tuple[InitName, ...] = get_args(InitName)
COLOR_SPACES: tuple[SpaceName, ...] = get_args(SpaceName)
DITHERS: tuple[DitherName, ...] = get_args(DitherName)


class NoFinitePixelError(ValueError):
    """No pixel that a palette is fitted to is finite."""


def checked_image(image: ArrayLike, channel_axis: int | None) -> Array:
    """Return `image` as a view (..., C) of real numbers, with channels last."""
    array = np.asarray(image)
    _require_real("image", array)
    if array.size == 0:
        msg = f"image must not be empty, got shape {array.shape}"
        raise ValueError(msg)
    if channel_axis is None:
        return array[..., np.newaxis]
    channel_axis = checked_integer("channel_axis", channel_axis, None, None)
    if array.ndim < 3:
        msg = (
            f"image of shape {array.shape} has no channels along "
            f"channel_axis={channel_axis}; "
            "pass channel_axis=None for a grayscale image"
        )
        raise ValueError(msg)
    if not -array.ndim <= channel_axis < array.ndim:
        msg = (
            f"channel_axis must be an axis of the image of shape {array.shape}, "
            f"got {channel_axis}"
        )
        raise ValueError(msg)
    return np.moveaxis(array, channel_axis, -1)


def checked_images(image: Images, channel_axis: int | None) -> list[Array]:
    """Return an image, or a list or tuple of them, as arrays (..., C) of one kind."""
    if not _is_several(image):
        return [checked_image(cast("ArrayLike", image), channel_axis)]
    images = [checked_image(one, channel_axis) for one in image]
    first = images[0]
    for other in images[1:]:
        if other.shape[-1] != first.shape[-1]:
            msg = (
                "image must be images of one number of channels, "
                f"got {first.shape[-1]} and {other.shape[-1]}"
            )
            raise ValueError(msg)
        if other.dtype.newbyteorder("=") != first.dtype.newbyteorder("="):
            msg = (
                f"image must be images of one dtype, got {first.dtype} "
                f"and {other.dtype}"
            )
            raise TypeError(msg)
    return images


def checked_mask(mask: ArrayLike, image: Array) -> Mask:
    """Return `mask` as a boolean array in the spatial shape of image (..., C)."""
    array = np.asarray(mask)
    if array.dtype != bool:
        msg = f"mask must be boolean, got dtype {array.dtype}"
        raise TypeError(msg)
    if array.shape != image.shape[:-1]:
        msg = (
            f"mask must have the shape of the image without channels, "
            f"{image.shape[:-1]}, got {array.shape}"
        )
        raise ValueError(msg)
    return array


def checked_masks(mask: Masks, image: Images, images: list[Array]) -> list[Mask | None]:
    """Return the mask of each image (..., C), or None; one pixel at least is fitted."""
    if mask is None:
        return [None] * len(images)
    if not _is_several(image):
        masks = [checked_mask(mask, images[0])]
    elif not isinstance(mask, list | tuple) or len(mask) != len(images):
        number = f"{len(mask)}" if isinstance(mask, list | tuple) else "one array"
        msg = f"mask must be a list of {len(images)} masks for a list, got {number}"
        raise ValueError(msg)
    else:
        masks = [checked_mask(*pair) for pair in zip(mask, images, strict=True)]
    if not any(array.any() for array in masks):
        msg = "mask must be True for a pixel, got none"
        raise ValueError(msg)
    return [*masks]


def checked_layout(
    image: Array, channel_axis: int | None, color_space: object, alpha: object
) -> Layout:
    """Check that the channels of image (..., C) have colors and opacity as asked."""
    dtype, n_channels = image.dtype.newbyteorder("="), image.shape[-1]
    if not isinstance(color_space, str) or color_space not in COLOR_SPACES:
        msg = f"color_space must be {_listed(COLOR_SPACES)}, got {color_space!r}"
        raise ValueError(msg)
    if not isinstance(alpha, bool | np.bool_):
        msg = f"alpha must be True or False, got {alpha!r}"
        raise TypeError(msg)
    if alpha and (dtype.kind not in "uf" or n_channels < 2):
        msg = (
            "alpha=True needs colors and opacity, of an unsigned or float dtype, "
            f"got {n_channels} channels of {dtype}"
        )
        raise ValueError(msg)
    n_colors = n_channels - bool(alpha)
    if color_space != "rgb" and not is_convertible(dtype, n_colors):
        msg = (
            f"color_space={color_space!r} needs uint8, uint16 or float RGB, "
            f"got {n_channels} channels of {dtype}"
        )
        if n_channels == 4 and not alpha:
            msg += "; pass alpha=True for RGBA"
        raise ValueError(msg)
    name: SpaceName = color_space
    return Layout(dtype, n_channels, channel_axis is None, name, bool(alpha))


def checked_palette(palette: ArrayLike, layout: Layout) -> Array:
    """Return `palette` as colors (K, C)."""
    colors = np.asarray(palette)
    _require_real("palette", colors)
    shape = "(K,)" if layout.is_gray else f"(K, {layout.n_channels})"
    expected = 1 if layout.is_gray else 2
    if colors.ndim != expected or (
        expected == 2 and colors.shape[1] != layout.n_channels
    ):
        msg = f"palette must have shape {shape}, got {colors.shape}"
        raise ValueError(msg)
    if not 1 <= len(colors) <= MAX_COLORS:
        msg = f"palette must have between 1 and {MAX_COLORS} colors, got {len(colors)}"
        raise ValueError(msg)
    _require_finite("palette", colors)
    return colors.reshape(len(colors), layout.n_channels)


def checked_colors(name: str, colors: ArrayLike, number: int, layout: Layout) -> Array:
    """Return an array of `number` colors as (number, C)."""
    array = np.asarray(colors)
    _require_real(name, array)
    shape = (number,) if layout.is_gray else (number, layout.n_channels)
    if array.shape != shape:
        msg = f"{name} must have shape {shape}, got {array.shape}"
        raise ValueError(msg)
    _require_finite(name, array)
    return array.reshape(number, layout.n_channels)


def checked_init(init: Init, k: int, layout: Layout) -> str | Array:
    """Return `init` as the name of a start, or as colors (k, C)."""
    if isinstance(init, str):
        if init not in INITS:
            msg = f"init must be {_listed(INITS)} or an array of colors, got {init!r}"
            raise ValueError(msg)
        return init
    return checked_colors("init", init, k, layout)


def checked_fixed(fixed: ArrayLike | None, k: int, layout: Layout) -> Array:
    """Return `fixed` as distinct colors (m, C) in the dtype of the image, m <= k."""
    if fixed is None:
        return np.empty((0, layout.n_channels), layout.dtype)
    array = np.asarray(fixed)
    number = len(array) if array.ndim else 0
    colors = checked_colors("fixed", array, number, layout)
    with np.errstate(invalid="ignore", over="ignore"):
        same = colors.astype(layout.dtype)
    # Floats may be written with more digits than the image has.
    is_exact = same == colors if layout.dtype.kind != "f" else np.isfinite(same)
    if not is_exact.all():
        msg = (
            f"fixed must have colors that {layout.dtype} holds, "
            f"got {colors[~is_exact][0]}"
        )
        raise ValueError(msg)
    distinct = np.unique(same, axis=0)
    if len(distinct) > k:
        msg = f"fixed must have at most k={k} colors, got {len(distinct)}"
        raise ValueError(msg)
    return distinct


def checked_dither(dither: object) -> Dither:
    """Return `dither` if it is one of the words for it."""
    if dither is None or (isinstance(dither, str) and dither in DITHERS):
        return dither
    msg = f"dither must be {_listed(DITHERS)} or None, got {dither!r}"
    raise ValueError(msg)


def checked_callback(callback: Any) -> Any:
    """Return `callback` if it can be called or is None."""
    if callback is not None and not callable(callback):
        msg = f"callback must be callable or None, got {callback!r}"
        raise TypeError(msg)
    return callback


def checked_rng(rng: Rng) -> np.random.Generator:
    """Return `rng` as a generator."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        msg = f"rng must be an integer >= 0, a numpy Generator or None, got {rng!r}"
        raise ValueError(msg) from None


def checked_integer(name: str, value: object, low: int | None, high: int | None) -> int:
    """Return `value` as an int in the closed range `low` to `high`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        msg = f"{name} must be an integer, got {value!r}"
        raise TypeError(msg) from None
    if (low is not None and number < low) or (high is not None and number > high):
        rule = f"at least {low}" if high is None else f"between {low} and {high}"
        msg = f"{name} must be {rule}, got {number}"
        raise ValueError(msg)
    return number


def checked_number(name: str, value: object) -> float:
    """Return `value` as a float that is not negative; infinity is."""
    try:
        if isinstance(value, bool | np.bool_ | str):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        msg = f"{name} must be a number, got {value!r}"
        raise TypeError(msg) from None
    if not number >= 0:
        msg = f"{name} must be at least 0, got {number}"
        raise ValueError(msg)
    return number


def _is_several(image: Images) -> TypeGuard[Sequence[Array]]:
    """Whether `image` is a list or tuple of arrays, rather than of numbers."""
    return isinstance(image, list | tuple) and any(
        isinstance(one, np.ndarray) for one in image
    )


def _listed(words: tuple[str, ...]) -> str:
    """Write words as a list."""
    return ", ".join(repr(word) for word in words)


def _require_real(name: str, array: Array) -> None:
    if array.dtype.kind not in "biuf":
        msg = f"{name} must have a boolean, integer or float dtype, got {array.dtype}"
        raise TypeError(msg)


def _require_finite(name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        msg = f"{name} must be finite, got {array[~np.isfinite(array)][0]}"
        raise ValueError(msg)
