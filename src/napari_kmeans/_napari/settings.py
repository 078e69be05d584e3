"""What the user has chosen, and what is chosen at first."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "COLOR_SPACES",
    "DITHERS",
    "INITS",
    "OUTPUTS",
    "Settings",
    "default_preview",
    "default_settings",
]

INITS = ("auto", "thorough", "k-means++", "random")
ColorSpace: TypeAlias = Literal["rgb", "lab", "oklab"]
Dither: TypeAlias = Literal["floyd-steinberg", "ordered"]

COLOR_SPACES = get_args(ColorSpace)
DITHERS = get_args(Dither)
OUTPUTS = ("image", "labels", "both")


@dataclasses.dataclass(frozen=True, eq=False)
class Settings:
    """How an image is reduced, in the words of `kmeans_palette`."""

    k: int = 16
    iters: int = 10
    init: str = "auto"
    rng: int = 0
    color_space: ColorSpace = "rgb"
    dither: Dither | None = None
    # Colors that palettes have in any case, in the units of the image.
    fixed: NDArray[Any] | None = None
    # Axis of the data that gets a palette for each of its slices.
    slice_axis: int | None = None
    output: str = "image"
    # Colors that are taken instead of fitted ones, or the file that holds them.
    palette: NDArray[Any] | None = None
    palette_file: str | None = None


def default_settings() -> Settings:
    """Give the settings of napari's preferences, where it has a page for them."""
    defaults = _preferences()
    if defaults is None:
        return Settings()
    return Settings(
        k=defaults.k,
        iters=defaults.iters,
        init=defaults.init,
        output=defaults.output,
    )


def default_preview() -> bool:
    """Whether the preview is on from the start."""
    defaults = _preferences()
    return defaults is not None and bool(defaults.preview)


def _preferences() -> Any:
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari < 0.9 has no page for them.
        return None
    settings: Any = get_plugin_settings("napari-kmeans")
    return settings.defaults
