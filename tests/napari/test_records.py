"""What layers remember of how they were made, by this version and by 0.1.0."""

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.testing import assert_allclose, assert_array_equal

import napari
import napari_records
from napari_kmeans import quantize_layer
from napari_kmeans._napari.record import metadata_with, record_in, record_of
from napari_kmeans._napari.results import Results
from napari_kmeans._napari.script import as_python

PHOTO = np.random.default_rng(3).integers(0, 256, (12, 10, 3), np.uint8)
WITH_SETTINGS = [name for name in napari_records.NAMES if name != "opened"]


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Give a viewer with the layers of a run of 0.1.0, and these."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colors.hex").write_text("201008\n80a0c0\nffffff\n")

    def opened(name):
        viewer = ViewerModel()
        sources, results = napari_records.read_layers(name)
        for layer in (*sources, *results):
            viewer.add_layer(layer)
        monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
        return viewer, results

    return opened


def pixels_of(layer):
    """Give the pixels of all levels, one after the other."""
    levels = layer.data if layer.multiscale else [layer.data]
    return np.concatenate([np.ravel(level) for level in levels])


# Layers of 0.1.0.


@pytest.mark.parametrize("name", napari_records.NAMES)
def test_layers_of_the_first_version_are_listed(opened, name):
    viewer, results = opened(name)
    records = napari_records.read_records(name)
    for layer, record in zip(results, records, strict=True):
        before = layer.metadata

        listed = Results(viewer).listed(layer)

        assert_array_equal(listed.record.palette, record["palette"], strict=True)
        assert_array_equal(listed.record.counts, record["counts"])
        assert listed.record.run == record["run"]
        if isinstance(layer, Labels):
            shown = [layer.get_color(i + 1) for i in range(len(listed.rgba))]
            assert_allclose(listed.rgba, shown, atol=1e-6)
        # Who looks leaves no trace.
        assert layer.metadata is before or layer.metadata == before


@pytest.mark.parametrize("name", napari_records.NAMES)
def test_images_of_the_first_version_have_labels(opened, name):
    viewer, results = opened(name)
    labels = results[-1]
    for layer in results[:-1]:
        viewer.layers.remove(labels) if labels in viewer.layers else None
        (found, *_) = Results(viewer).labels_of(layer)
        wanted = labels.data[0] if labels.multiscale else labels.data
        if name == "rgba":
            # Those of pixels that cannot be seen do not show in the image.
            seen = layer.data[..., 3] > 0
            found, wanted = found[seen], wanted[seen]
        if "slices" in name or name == "multiscale":
            # Slices may share a color.
            palette = record_of(layer).palette
            found, wanted = palette[found - 1], palette[wanted - 1]
        assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", napari_records.NAMES)
def test_layers_of_the_first_version_are_recolored(opened, name):
    viewer, results = opened(name)
    labels, images = results[-1], results[:-1]
    palette = record_of(labels).palette
    entry = int(record_of(labels).counts.argmax())
    changed = palette.copy()
    changed[entry] = 7 if palette.dtype.kind == "u" else 0.5
    if palette.ndim == 2:
        changed[entry, 0] *= 0.5
    before = [pixels_of(layer) for layer in images]
    colors = [labels.get_color(i + 1) for i in range(len(palette))]
    results_of_viewer = Results(viewer)

    paint = results_of_viewer.recolor(labels, entry, changed[entry])
    if images:
        results_of_viewer.repaint(paint(lambda _: None))

    for layer in results:
        assert_array_equal(record_of(layer).palette, changed, strict=True)
    for i, color in enumerate(colors):
        assert (labels.get_color(i + 1) == color).all() == (i != entry)
    numbers = pixels_of(labels)
    for layer, old in zip(images, before, strict=True):
        is_other = ~np.isclose(pixels_of(layer), old, rtol=0, atol=0, equal_nan=True)
        assert is_other.any()
        # No other pixel has changed.
        n_values = is_other.size // numbers.size
        assert is_other.sum() <= (numbers == entry + 1).sum() * n_values


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_layers_of_the_first_version_are_made_again_by_their_script(opened, name):
    viewer, results = opened(name)
    for layer in results:
        script = as_python(layer, viewer.layers)
        before = list(viewer.layers)

        exec(compile(script, "script", "exec"), {})

        added = [one for one in viewer.layers if one not in before]
        assert {type(one) for one in added} == {type(layer)}
        images = [one for one in results if isinstance(one, Image)]
        i = images.index(layer) if layer in images else 0
        found, wanted = pixels_of(added[i]), pixels_of(layer)
        if name == "rgba":
            # Distances of opacity, and ordered dithering, have other laws since then.
            # What cannot be seen still stays as it is.
            is_clear = np.ravel(viewer.layers[0].data[..., 3]) == 0
            is_clear = np.repeat(is_clear, found.size // is_clear.size)
            found, wanted = found[is_clear], wanted[is_clear]
        assert_array_equal(found, wanted)
        assert_allclose(added[i].extent.world, layer.extent.world)
        assert_array_equal(record_of(added[i]).palette, record_of(layer).palette)


# Layers of this version.


def test_record_is_plain():
    (layer,) = quantize_layer(Image(PHOTO[..., 0], colormap="magma", name="a"), 4)
    record = layer.metadata["napari-kmeans"]
    assert type(record) is dict
    assert type(record["settings"]) is dict
    assert type(record["look"]) is dict
    text = json.dumps(record, default=lambda value: np.asarray(value).tolist())
    assert json.loads(text)["source"] == ["a"]


def test_record_comes_back_as_it_was_written():
    mask = Labels((PHOTO[..., 0] > 50).astype(int), name="m")
    layer = Image(PHOTO, rgb=True, name="a")
    (made,) = quantize_layer(layer, 4, 3, mask=mask, output="labels", init="random")
    record = record_of(made)
    again = record_in(metadata_with(record))
    assert again.settings.__dict__ == record.settings.__dict__
    assert (again.run, again.source, again.mask) == (record.run, ("a",), "m")
    assert (again.mse, again.psnr, again.n_iter) == (
        record.mse,
        record.psnr,
        record.n_iter,
    )
    assert_array_equal(again.palette, record.palette, strict=True)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"napari-kmeans": None},
        {"napari-kmeans": {}},
        {"napari-kmeans": {"version": "7.0", "colors": [1]}},
        {"napari-kmeans overlay": True},
    ],
)
def test_what_holds_no_palette_is_no_record(metadata):
    assert record_in(metadata) is None


def test_missing_and_unknown_keys_are_no_error():
    found = {"palette": [[1, 2, 3]], "from the future": 1, "settings": {"k": 3, "x": 1}}
    record = record_in({"napari-kmeans": found})
    assert_array_equal(record.palette, [[1, 2, 3]])
    assert_array_equal(record.counts, [0])
    assert record.settings.k == 3
    assert record.settings.iters == 10
