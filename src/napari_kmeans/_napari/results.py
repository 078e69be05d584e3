"""The layers that computations leave in the viewer."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_kmeans import __version__
from napari_kmeans._napari.layers import (
    METADATA,
    PLACES,
    Channels,
    Look,
    Source,
    describe_images,
    describe_labels,
    images_of_layer,
    labels_colormap,
    levels_of,
    move_layer,
    record_of,
    rgba_of,
)
from napari_kmeans._napari.quantize_layer import Outcome, make_features

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.types import LayerDataTuple
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_kmeans._napari.masks import Mask
    from napari_kmeans._napari.settings import Settings

__all__ = ["Made", "Request", "Results", "make_record"]


class Request(NamedTuple):
    """What a computation was asked for."""

    # The first one says where the result lies; others are further channels.
    layers: tuple[Image, ...]
    source: Source
    settings: Settings
    mask: Mask | None
    # Whether it brings the last result of these layers up to date.
    is_update: bool = False


def make_record(request: Request, outcome: Outcome) -> dict[str, Any]:
    """Give what a layer remembers of how it was made."""
    settings = dataclasses.asdict(request.settings)
    return {
        "run": secrets.token_hex(8),
        "version": __version__,
        "source": [layer.name for layer in request.layers],
        "source_ids": list(_ids(request.layers)),
        "multiscale": bool(request.layers[0].multiscale),
        "mask": None if request.mask is None else _mask_record(request.mask),
        "settings": settings
        | {
            "channel_axis": request.source.channel_axis,
            "alpha": request.source.has_alpha,
        },
        "palette": outcome.palette,
        "counts": outcome.counts,
        "slices": outcome.slices,
        "replaced": {},
        "is_finite": bool(outcome.counts.sum() == outcome.labels[0].size),
        "n_iter": outcome.n_iter,
        "converged": outcome.converged,
    }


def _mask_record(mask: Mask) -> dict[str, Any]:
    """Give what a layer remembers of the mask."""
    return {
        "layer": mask.name,
        "id": mask.id,
        "kind": "shapes" if mask.labels is None else "labels",
        "matrix": mask.matrix,
        "shape": mask.shape,
        "channel_axis": mask.channel_axis,
        "labels_shape": None if mask.labels is None else tuple(mask.labels.shape),
    }


class Made(NamedTuple):
    """What is kept about a layer that was made here, and not about its source."""

    name: str
    # Which of the layers of its run it is.
    place: tuple[str, int]
    n_layers: int
    look: Look
    channel_axis: int | None
    channels: Channels | None
    outcome: Outcome


# Whichever widget or command made them, for as long as the layers live.
_MADE: WeakKeyDictionary[Layer, Made] = WeakKeyDictionary()
# The layers of the last result of each source, by the ids of all that were channels.
_LAST: WeakKeyDictionary[Layer, dict[tuple[str, ...], list[ref[Layer]]]] = (
    WeakKeyDictionary()
)


class Results:
    """Add layers, bring earlier ones up to date, and change their colors."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    def needed(self, request: Request) -> Settings:
        """Give the settings that an outcome must have been made with to be added."""
        settings = request.settings
        if any(isinstance(layer, Image) for layer in self._last(request).values()):
            settings = dataclasses.replace(settings, output="both")
        return settings

    def add(self, request: Request, outcome: Outcome) -> list[Layer]:
        """Put the layers of an outcome into the viewer.

        An update leaves no layer of the last result behind, and makes none twice: all
        that are still there are brought up to date, also those of a kind that is no
        longer wanted, and wanted ones that are not there are added. One that would have
        to become another kind of layer, of more axes or levels, is let go as it is.
        """
        record = make_record(request, outcome)
        last = self._last(request)
        wanted = request.settings.output
        layers = []
        for place, described in _described(request, outcome, record):
            layer = last.get(place)
            is_new = layer is None or not _fits(layer, described)
            if is_new and wanted not in (place[0], "both"):
                continue
            if layer is None or is_new:
                layer = Layer.create(*described)
                name = layer.name
            else:
                name = _bring_up_to_date(layer, described, _MADE[layer].name)
            # Known before anybody hears of the layer.
            _MADE[layer] = Made(
                name,
                place,
                len(request.layers),
                request.source.look,
                request.source.channel_axis,
                request.source.channels,
                outcome,
            )
            if is_new:
                # The viewer gives it another name where this one is taken.
                self._viewer.add_layer(layer)
                _MADE[layer] = _MADE[layer]._replace(name=layer.name)
            layers.append(layer)
        results = _LAST.setdefault(request.layers[0], {})
        results[_ids(request.layers)] = [ref(layer) for layer in layers]
        return layers

    def made(self, layer: Layer | None) -> Made | None:
        """Give what is known about `layer`, if it was made here."""
        if layer is None:
            return None
        if layer not in _MADE and isinstance(layer, Labels) and record_of(layer):
            _MADE[layer] = _adopted(layer)
        return _MADE.get(layer)

    def recolor(
        self, run: str, palette: NDArray[Any], replaced: dict[int, Any]
    ) -> bool:
        """Give the layers of a run another palette, and say if images are among them.

        These want `repaint` next.
        """
        layers = self._of_run(run)
        for layer in layers:
            record = layer.metadata[METADATA]
            made = _MADE[layer]
            rgba = rgba_of(palette, made.look)
            outcome = made.outcome._replace(palette=palette, rgba=rgba)
            _MADE[layer] = made._replace(outcome=outcome)
            record = record | {"palette": palette, "replaced": replaced}
            layer.metadata = layer.metadata | {METADATA: record}
            if isinstance(layer, Labels):
                layer.colormap = labels_colormap(rgba)
                layer.features = make_features(
                    palette, rgba, record["counts"], record["slices"]
                )
        return any(isinstance(layer, Image) for layer in layers)

    def repaint(self, run: str, images: tuple[NDArray[Any], ...]) -> None:
        """Give the image layers of a run new pixels."""
        for layer in self._of_run(run):
            if not isinstance(layer, Image):
                continue
            made = _MADE[layer]
            outcome = made.outcome._replace(images=images)
            _MADE[layer] = made._replace(outcome=outcome)
            levels = images_of_layer(made.n_layers, images, made.place[1])
            layer.data = list(levels) if layer.multiscale else levels[0]

    def _last(self, request: Request) -> dict[tuple[str, int], Layer]:
        """Give the layers that an update finds, by which of their run they are."""
        results = _LAST.get(request.layers[0], {}) if request.is_update else {}
        layers = [layer() for layer in results.get(_ids(request.layers), [])]
        return {
            _MADE[layer].place: layer
            for layer in layers
            if layer is not None and layer in self._viewer.layers
        }

    def _of_run(self, run: str) -> list[Layer]:
        """Give the layers in the viewer that came of one run."""
        return [
            layer
            for layer in self._viewer.layers
            if layer in _MADE and (record_of(layer) or {}).get("run") == run
        ]


def _ids(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Give what layers are known by, whatever their names are."""
    return tuple(str(layer.unique_id) for layer in layers)


def _adopted(layer: Labels) -> Made:
    """Give what is known about labels that were read from a file, or copied.

    From now on they are a run of their own: copies keep their colors, and a copy has no
    images that would have to follow.
    """
    record = layer.metadata[METADATA]
    look = _look_of(record)
    record = record | {"run": secrets.token_hex(8)}
    layer.metadata = layer.metadata | {METADATA: record}
    palette = record["palette"]
    numbers = range(1, len(palette) + 1)
    outcome = Outcome(
        palette=palette,
        counts=record["counts"],
        slices=record["slices"],
        labels=levels_of(layer),
        images=(),
        n_iter=0,
        converged=True,
        rgba=np.array([layer.get_color(number) for number in numbers], dtype=float),
        colormap=layer.colormap,
        features=layer.features,
    )
    return Made(layer.name, ("labels", 0), 1, look, -1, None, outcome)


def _look_of(record: dict[str, Any]) -> Look:
    """Give how the layers of a run show its palette, as far as that is still known."""
    for layer, made in _MADE.items():
        if (record_of(layer) or {}).get("run") == record["run"]:
            return made.look
    palette = record["palette"]
    is_rgb = palette.ndim == 2 and palette.shape[1] in (3, 4)
    return Look(is_rgb=is_rgb, colormaps=(), contrast_limits=(), gammas=())


def _described(
    request: Request, outcome: Outcome, record: dict[str, Any]
) -> Iterator[tuple[tuple[str, int], LayerDataTuple]]:
    """Describe the layers that there can be, and say which of the run they are."""
    if outcome.images:
        images = describe_images(request.layers, outcome, record)
        for i, described in enumerate(images):
            yield ("image", i), described
    first, channels = request.layers[0], request.source.channels
    yield ("labels", 0), describe_labels(first, outcome, record, channels)


def _fits(layer: Layer, described: LayerDataTuple) -> bool:
    """Whether a layer can take what is described without becoming another."""
    data, attributes, _ = described
    full = data[0] if attributes["multiscale"] else data
    is_rgb = attributes.get("rgb", False)
    return bool(
        layer.ndim == full.ndim - is_rgb
        and layer.multiscale == attributes["multiscale"]
        and getattr(layer, "rgb", False) == is_rgb
    )


def _bring_up_to_date(layer: Layer, described: LayerDataTuple, named: str) -> str:
    """Give a layer new data, and its source's place; a name of the user's is kept.

    Returns the name that it was given here, then or now.
    """
    data, attributes, _ = described
    layer.data = data
    move_layer(layer, {name: attributes[name] for name in PLACES if name in attributes})
    layer.metadata = attributes["metadata"]
    if isinstance(layer, Labels):
        layer.colormap = attributes["colormap"]
        layer.features = attributes["features"]
    if layer.name != named:
        return named
    layer.name = attributes["name"]
    return layer.name
