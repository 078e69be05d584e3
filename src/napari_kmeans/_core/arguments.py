"""The strict door: what users pass, checked once and brought into one form.

Each `checked_...` function takes an argument as a user passed it and returns it in the
one form that the core works on, or raises an error that names the argument, the rule
and the value. `plain_array` is where arrays come in, everywhere; only images and masks
of dask (`is_lazy`) stay what they are, and `chunks` reads them. The words of all
choices stand here, once: `COLOR_SPACES`, `DITHERS`, `INITS`, `WEIGHTINGS`. Everything
below the door trusts its caller.
"""

from __future__ import annotations

import math
import operator
import reprlib
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeGuard, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from napari_kmeans._core.arrays import Array, Mask
from napari_kmeans._core.perceptual import is_convertible
from napari_kmeans._core.spaces import Layout, SpaceName

InitName: TypeAlias = Literal["auto", "thorough", "k-means++", "random"]
DitherName: TypeAlias = Literal["floyd-steinberg", "ordered"]
WeightingName: TypeAlias = Literal["std"]
Init: TypeAlias = InitName | ArrayLike
# Quoted, for NumPy loads its generators when they are first named.
Rng: TypeAlias = "int | np.random.Generator | None"
Images: TypeAlias = ArrayLike | Sequence[Array]
Masks: TypeAlias = ArrayLike | Sequence[Array] | None
Dither: TypeAlias = DitherName | None


class Dithering(NamedTuple):
    """A way of dithering, and how much of it: more than 0, and at most 1."""

    way: DitherName
    strength: float


Weights: TypeAlias = WeightingName | ArrayLike | None

__all__ = [
    "COLOR_SPACES",
    "DITHERS",
    "INITS",
    "MAX_COLORS",
    "WEIGHTINGS",
    "Dithering",
    "NoFinitePixelError",
    "check_white",
    "checked_callback",
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
    "checked_weights",
    "is_lazy",
    "lazy_array",
    "plain_array",
    "plain_image",
    "real_array",
    "require_pixels",
]

MAX_COLORS = 65536
INITS: tuple[InitName, ...] = get_args(InitName)
COLOR_SPACES: tuple[SpaceName, ...] = get_args(SpaceName)
DITHERS: tuple[DitherName, ...] = get_args(DitherName)
WEIGHTINGS: tuple[WeightingName, ...] = get_args(WeightingName)
# More channels than this are hardly meant where another axis looks like channels.
_MANY_CHANNELS, _FEW_CHANNELS = 64, (2, 3, 4)
# Most axes of a NumPy array.
_MOST_AXES = 64
# Floats in Lab and Oklab have white at 1: 10,000 cd/m2, the most of HDR, over a white
# of 80 are 7.8.
_BRIGHTEST = 8
# Most times that a channel may count another, so that squares of both stay normal.
_MOST_UNEQUAL = 1e100


class NoFinitePixelError(ValueError):
    """No pixel that a palette is fitted to is finite."""


def plain_array(name: str, value: object, advice: str = "pass a plain array") -> Array:
    """Return `value` as an array, if it has no mask that would be lost."""
    try:
        # dask drops masks where NumPy asks it for an array; others become masked then.
        given = value.compute() if hasattr(value, "compute") else value
        array = None if _is_masked(given) else np.asanyarray(given)
    except (ValueError, RecursionError):
        msg = f"{name} must be an array, or nested lists of equal lengths"
        raise ValueError(msg) from None
    if array is None or _is_masked(array):
        msg = f"{name} must not be a masked array; {advice}"
        raise TypeError(msg)
    array = np.asarray(array)
    # A view of other numbers, such as a mask of 255, has more bytes than two.
    if array.dtype.kind == "b":
        return np.asarray(array.view(np.uint8) != 0)
    return array


def real_array(name: str, value: object, advice: str = "pass a plain array") -> Array:
    """Return `value` as a `plain_array` of real numbers of up to 64 bits."""
    return _checked_type(name, plain_array(name, value, advice))


def _checked_type(name: str, array: Array) -> Array:
    """Return an array, if it has real numbers of up to 64 bits."""
    if array.dtype.kind not in "biuf":
        msg = f"{name} must have a boolean, integer or float dtype, got {array.dtype}"
        raise TypeError(msg)
    if array.dtype.itemsize > 8:
        msg = (
            f"{name} must have a dtype of at most 64 bits, got {array.dtype}; "
            f"pass {name}.astype(np.float64)"
        )
        raise TypeError(msg)
    return array


def is_lazy(value: object) -> bool:
    """Whether a value is a dask array: there is none before dask is imported."""
    dask = sys.modules.get("dask.array")
    return isinstance(value, getattr(dask, "Array", ()))


def lazy_array(name: str, value: Any, advice: str) -> Array:
    """Return a dask array, if its chunks are known to be plain arrays of known size."""
    from dask.array.utils import meta_from_array

    if _is_masked(meta_from_array(value)):
        msg = f"{name} must not be a masked array; {advice}"
        raise TypeError(msg)
    if any(math.isnan(length) for length in value.shape):
        msg = (
            f"{name} must have chunks of known sizes, got shape {value.shape}; "
            f"pass {name}.compute_chunk_sizes()"
        )
        raise ValueError(msg)
    if value.size and any(0 in lengths for lengths in value.chunks):
        # dask itself loses track of empty chunks along an axis of length 1.
        full = (tuple(filter(None, lengths)) for lengths in value.chunks)
        value = value.rechunk(tuple(full))
    return cast("Array", value)


def plain_image(
    image: object, channel_axis: int | None, *, is_one_of_several: bool = False
) -> Array:
    """Return `image` as a `real_array` or of dask, or say how its mask is passed."""
    name = source = "one" if is_one_of_several else "image"
    module = "da.ma" if is_lazy(image) else "np.ma"
    if isinstance(image, list | tuple):
        source = f"np.ma.array({name})"
    elif not isinstance(image, np.ndarray) and not is_lazy(image):
        source = f"np.asanyarray({name})"
        if hasattr(image, "compute"):
            source = f"{name}.compute()"
    data, inside = f"{module}.getdata({source})", f"~{module}.getmaskarray({source})"
    if channel_axis is not None:
        inside += f".any(axis={channel_axis})"
    if is_one_of_several:
        data, inside = (f"[{each} for one in image]" for each in (data, inside))
    advice = f"pass {data}, and mask={inside} where colors are fitted"
    if is_lazy(image):
        return _checked_type("image", lazy_array("image", image, advice))
    return real_array("image", image, advice)


def checked_image(
    image: ArrayLike, channel_axis: int | None, *, is_one_of_several: bool = False
) -> Array:
    """Return `image` as a view (..., C) of real numbers, with channels last."""
    array = plain_image(image, channel_axis, is_one_of_several=is_one_of_several)
    if array.size == 0:
        msg = f"image must not be empty, got shape {array.shape}"
        raise ValueError(msg)
    if channel_axis is None:
        if array.ndim == _MOST_AXES:
            msg = f"image must have fewer than {_MOST_AXES} axes, got {array.ndim}"
            raise ValueError(msg)
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
    few = [axis for axis, n in enumerate(array.shape) if n in _FEW_CHANNELS]
    if channel_axis == -1 and array.shape[-1] > _MANY_CHANNELS and few:
        msg = (
            f"image of shape {array.shape} has {array.shape[-1]} channels along "
            f"channel_axis=-1; pass channel_axis={few[0]}, or "
            f"channel_axis={array.ndim - 1} if there are so many"
        )
        raise ValueError(msg)
    return np.moveaxis(array, channel_axis, -1)


def checked_images(image: Images, channel_axis: int | None) -> list[Array]:
    """Return an image, or a list or tuple of them, as arrays (..., C) of one kind."""
    if not _is_several(image):
        return [checked_image(cast("ArrayLike", image), channel_axis)]
    images = [checked_image(one, channel_axis, is_one_of_several=True) for one in image]
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
    if is_lazy(mask) and is_lazy(image):
        array = lazy_array("mask", mask, "pass da.ma.filled(mask, False)")
    else:
        array = plain_array("mask", mask, "pass mask.filled(False)")
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
    """Return the mask of each image (..., C), or None; one pixel at least is fitted.

    Masks of dask are not looked at: see `require_pixels`.
    """
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
    if not any(is_lazy(array) or array.any() for array in masks):
        raise _nowhere_true()
    return [*masks]


def require_pixels(masks: Sequence[Mask | None], n_pixels: int) -> None:
    """Say why there is no finite pixel to fit, if there is none."""
    if n_pixels > 0:
        return
    if not any(mask is None or bool(mask.any()) for mask in masks):
        raise _nowhere_true()
    msg = "image must have a finite pixel, got none"
    raise NoFinitePixelError(msg)


def _nowhere_true() -> ValueError:
    return ValueError("mask must be True for a pixel, got none")


def checked_layout(
    image: Array, channel_axis: int | None, color_space: object, alpha: object
) -> Layout:
    """Check that the channels of image (..., C) have colors and opacity as asked."""
    dtype, n_channels = image.dtype.newbyteorder("="), image.shape[-1]
    if not isinstance(color_space, str) or color_space not in COLOR_SPACES:
        msg = f"color_space must be {_listed(COLOR_SPACES)}, got {_shown(color_space)}"
        raise ValueError(msg)
    if not isinstance(alpha, bool | np.bool_):
        msg = f"alpha must be True or False, got {_shown(alpha)}"
        raise TypeError(msg)
    if alpha and (dtype.kind not in "uf" or n_channels < 2):
        msg = (
            "alpha=True needs colors and opacity, of an unsigned or float dtype, "
            f"got {n_channels} channels of {dtype}"
        )
        raise ValueError(msg)
    if alpha and n_channels == 3:
        msg = (
            "alpha=True needs a channel of opacity beside the colors, "
            "got 3 channels, which are RGB; leave alpha=True out"
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


def checked_weights(
    weights: Weights, layout: Layout, words: tuple[str, ...] = WEIGHTINGS
) -> Any:
    """Return `weights` as a tuple of float, as one of the words for them, or as None.

    There is a number for each coordinate but opacity.
    """
    if weights is None or (isinstance(weights, str) and weights in words):
        return weights
    n = layout.n_channels - layout.has_alpha
    rule = f"{n} positive finite numbers" + (", none for opacity" * layout.has_alpha)
    if words:
        rule += f", or {_listed(words)}"
    msg = f"channel_weights must be {rule}, got {_shown(weights)}"
    if isinstance(weights, str):
        advice = "; pass kmeans_palette(...).channel_weights"
        raise ValueError(msg if words else msg + advice)
    numbers = plain_array("channel_weights", weights)
    kinds = set(map(type, weights)) if isinstance(weights, list | tuple) else set()
    if numbers.dtype.kind not in "iuf" or kinds & {bool, np.bool_}:
        raise TypeError(msg)
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float64)
    if numbers.shape != (n,) or not ((numbers > 0) & (numbers < np.inf)).all():
        raise ValueError(msg)
    if numbers.min() < numbers.max() / _MOST_UNEQUAL:
        rule = f"at most {_MOST_UNEQUAL:g} times larger than others"
        msg = f"channel_weights must be {rule}, got {_shown(weights)}"
        raise ValueError(msg)
    return tuple(numbers.tolist())


def checked_palette(palette: ArrayLike, layout: Layout) -> Array:
    """Return `palette` as colors (K, C)."""
    colors = _color_array("palette", palette)
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
    _require_finite("palette", colors, layout)
    _require_units("palette", colors, layout.dtype)
    return colors.reshape(len(colors), layout.n_channels)


def checked_init(
    init: Init, k: int, layout: Layout, fitted: Iterable[Array]
) -> str | Array:
    """Return `init` as the name of a start, or as colors (k, C).

    Blocks of the colors that are `fitted` are looked at if `init` lies in 0 to 1.
    """
    if isinstance(init, str):
        if init not in INITS:
            rule = f"{_listed(INITS)} or an array of colors"
            msg = f"init must be {rule}, got {_shown(init)}"
            raise ValueError(msg)
        return init
    colors = _checked_colors("init", _color_array("init", init), k, layout)
    _require_units("init", colors, layout.dtype, fitted)
    low, high = _limits(layout.dtype)
    # Means that were given back, as a callback gets them, may be off by rounding.
    values = np.rint(colors.astype(np.float64))
    beyond = (values < low) | (values > high)
    if beyond.any():
        msg = (
            f"init must be between {low:g} and {high:g}, as {layout.dtype} is, "
            f"got {colors[beyond][0]}"
        )
        raise ValueError(msg)
    return colors


def checked_fixed(fixed: ArrayLike | None, k: int, layout: Layout) -> Array:
    """Return `fixed` as distinct colors (m, C) in the dtype of the image, m <= k."""
    if fixed is None:
        return np.empty((0, layout.n_channels), layout.dtype)
    array = _color_array("fixed", fixed)
    number = len(array) if array.ndim else 0
    colors = _checked_colors("fixed", array, number, layout)
    _require_units("fixed", colors, layout.dtype)
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


def check_white(name: str, blocks: Iterable[Array], layout: Layout) -> None:
    """Refuse floats that Lab and Oklab would take for colors far beyond white."""
    if layout.space == "rgb" or layout.dtype.kind != "f":
        return
    for colors in blocks:
        for value in (colors.min(initial=0), colors.max(initial=0)):
            if not -_BRIGHTEST <= value <= _BRIGHTEST:
                advice = ", or mask such pixels" if name == "image" else ""
                msg = (
                    f"{name} must be between -{_BRIGHTEST} and {_BRIGHTEST} in "
                    f"color_space={layout.space!r}, where white is 1, got {value}; "
                    f"divide {name} by its white, such as 255{advice}"
                )
                raise ValueError(msg)


def checked_dither(dither: Dither, strength: float = 1.0) -> Dithering | None:
    """Return how to dither, or None if there is nothing to do."""
    if dither is not None and not (isinstance(dither, str) and dither in DITHERS):
        msg = f"dither must be {_listed(DITHERS)} or None, got {_shown(dither)}"
        raise ValueError(msg)
    number = checked_number("dither_strength", strength)
    if number > 1:
        msg = f"dither_strength must be between 0 and 1, got {number}"
        raise ValueError(msg)
    if dither is None and number != 1:
        msg = f"dither_strength must be 1 where dither is None, got {number}"
        raise ValueError(msg)
    return Dithering(dither, number) if dither is not None and number > 0 else None


def checked_callback(callback: Any) -> Any:
    """Return `callback` if it can be called or is None."""
    if callback is not None and not callable(callback):
        msg = f"callback must be callable or None, got {_shown(callback)}"
        raise TypeError(msg)
    return callback


def checked_rng(rng: Rng) -> np.random.Generator:
    """Return `rng` as a generator."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    # NumPy takes other seeds, too, of which a list within itself ends the process.
    try:
        return np.random.default_rng(checked_integer("rng", rng, 0, None))
    except (TypeError, ValueError) as error:
        rule = "an integer >= 0, a numpy Generator or None"
        msg = f"rng must be {rule}, got {_shown(rng)}"
        raise type(error)(msg) from None


def checked_integer(name: str, value: object, low: int | None, high: int | None) -> int:
    """Return `value` as an int in the closed range `low` to `high`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        msg = f"{name} must be an integer, got {_shown(value)}"
        raise TypeError(msg) from None
    if (low is not None and number < low) or (high is not None and number > high):
        rule = f"at least {low}" if high is None else f"between {low} and {high}"
        msg = f"{name} must be {rule}, got {_shown(number)}"
        raise ValueError(msg)
    return number


def checked_number(name: str, value: object) -> float:
    """Return `value` as a float that is not negative; infinity is."""
    try:
        if isinstance(value, bool | np.bool_ | str) or hasattr(value, "mask"):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = np.inf if value > 0 else -np.inf  # type: ignore[operator]
    except (TypeError, ValueError):
        msg = f"{name} must be a number, got {_shown(value)}"
        raise TypeError(msg) from None
    if not number >= 0:
        msg = f"{name} must be at least 0, got {number}"
        raise ValueError(msg)
    return number


def _is_several(image: Images) -> TypeGuard[Sequence[Array]]:
    """Whether `image` is a list or tuple of arrays, rather than of numbers."""
    return isinstance(image, list | tuple) and any(
        isinstance(one, np.ndarray) or is_lazy(one) for one in image
    )


def _listed(words: tuple[str, ...]) -> str:
    """Write words as a list."""
    return ", ".join(repr(word) for word in words)


def _shown(value: object) -> str:
    """Write a value in one short line."""
    return textwrap.shorten(reprlib.repr(value), 80, placeholder=" ...")


def _is_masked(value: object) -> bool:
    """Whether a value is, or a list has, an array with a mask."""
    if isinstance(value, list | tuple):
        return any(map(_is_masked, value))
    return isinstance(value, np.ndarray) and hasattr(value, "mask")


def _color_array(name: str, colors: ArrayLike) -> Array:
    return real_array(name, colors, "pass only its valid colors, as a plain array")


def _checked_colors(name: str, array: Array, number: int, layout: Layout) -> Array:
    """Return an array of `number` colors as (number, C)."""
    shape = (number,) if layout.is_gray else (number, layout.n_channels)
    if array.shape != shape:
        msg = f"{name} must have shape {shape}, got {array.shape}"
        raise ValueError(msg)
    _require_finite(name, array, layout)
    return array.reshape(number, layout.n_channels)


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the least and the largest number of a dtype."""
    if dtype.kind == "b":
        return 0.0, 1.0
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def _require_finite(name: str, colors: Array, layout: Layout) -> None:
    """Refuse colors that are not finite, or far beyond white."""
    if not np.isfinite(colors).all():
        msg = f"{name} must be finite, got {colors[~np.isfinite(colors)][0]}"
        raise ValueError(msg)
    check_white(name, [colors], layout)


def _require_units(
    name: str,
    colors: Array,
    dtype: np.dtype[Any],
    fitted: Iterable[Array] | None = None,
) -> None:
    """Refuse colors of 0 to 1 for short integers, unless they are whole.

    They may be means if the colors that are `fitted` are not above 1 either.
    """
    if dtype.kind not in "iu" or dtype.itemsize > 2 or colors.dtype.kind != "f":
        return
    part = colors[colors != np.rint(colors)]
    if part.size == 0 or colors.min() < 0 or colors.max() > 1:
        return
    if fitted is None or any(block.max() > 1 for block in fitted):
        msg = (
            f"{name} must be in the units of the image, of {dtype}, "
            f"got {part[0]} among colors of 0 to 1; "
            f"multiply {name} by {np.iinfo(dtype).max}"
        )
        raise ValueError(msg)
