"""What the user has chosen, and what is chosen at first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from napari_kmeans._core.arguments import Dither
from napari_kmeans._core.arrays import Array
from napari_kmeans._core.spaces import SpaceName

__all__ = ["OUTPUTS", "Settings", "default_preview", "default_settings"]

OUTPUTS = ("image", "labels", "both")


@dataclasses.dataclass(frozen=True, eq=False)
class Settings:
    """How an image is reduced: what `quantize_layer` takes, under the same names."""

    k: int = 16
    iters: int = 10
    output: str = "image"
    channel_axis: int | None = None
    slice_axis: int | None = None
    # Colors in the units of the image, a palette file, or a layer that was made here.
    palette: Any = None
    # Colors that palettes have in any case, in the units of the image.
    fixed: Array | None = None
    color_space: SpaceName = "rgb"
    # How much a difference in each channel counts: numbers, "std" or "contrast".
    channel_weights: Any = None
    dither: Dither = None
    init: Any = "auto"
    rng: Any = 0
    # Fitted entries that become one, in groups. What follows is numbered as it is then.
    merged: Sequence[Sequence[int]] | None = None
    # Entries of the palette that are shown in another color, and names of entries.
    recolored: Mapping[int, Any] | None = None
    names: Mapping[int, str] | None = None


def default_settings() -> Settings:
    """Return the settings of napari's preferences, where it has a page for them."""
    defaults = _preferences()
    if defaults is None:
        return Settings()
    names = ("k", "iters", "init", "output")
    return Settings(**{name: getattr(defaults, name) for name in names})


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
