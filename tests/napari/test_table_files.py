"""Tables as CSV files, with the settings beside them."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image
from skimage import data

from napari_kmeans import cluster_table, quantize_layer
from napari_kmeans._napari.record import record_of
from napari_kmeans._napari.table_files import table_files


def files_of(*layers, measured="everything"):
    tables = [(layer.name, cluster_table(layer)) for layer in layers]
    records = [record_of(layer) for layer in layers]
    return table_files(tables, records, measured)


@pytest.fixture
def labels():
    image = Image(data.astronaut()[:64, :50] / 255, name="cup, “blue”")
    (labels,) = quantize_layer(
        image, 4, output="labels", names={1: "nuclei"}, fixed=[[0, 0, 0.1]]
    )
    return labels


def test_csv_holds_the_table_to_the_last_digit(labels):
    table, _ = files_of(labels)
    read = pd.read_csv(io.BytesIO(table), keep_default_na=False)
    pd.testing.assert_frame_equal(read, cluster_table(labels), check_dtype=False)
    rows = list(csv.reader(io.StringIO(table.decode())))
    assert rows[0][:3] == ["index", "name", "hex"]
    assert rows[2][1] == "nuclei"


def test_table_over_several_layers_says_first_which_layer_a_row_is_of(labels):
    other = Image(data.camera()[:64, :50], name="gray")
    (gray,) = quantize_layer(other, 3)
    table, settings = files_of(labels, gray)
    read = pd.read_csv(io.BytesIO(table))
    assert list(read.columns[:2]) == ["layer", "index"]
    assert read["layer"].tolist() == [labels.name] * 4 + [gray.name] * 3
    # Each has the columns of its own channels.
    assert read["mean"].isna().tolist() == [True] * 4 + [False] * 3
    names = [one["layer"] for one in json.loads(settings)["layers"]]
    assert names == [labels.name, gray.name]


def test_settings_beside_the_table_make_the_layer_again(labels):
    _, content = files_of(labels)
    document = json.loads(content)
    (layer,) = document["layers"]
    assert document["measured"] == "everything"
    assert layer["source"] == ["cup, “blue”"]
    assert layer["version"] == record_of(labels).version
    assert layer["mse"] == record_of(labels).mse
    settings = layer["settings"]
    assert settings["names"] == {"1": "nuclei"}
    assert settings["fixed"] == [[0, 0, 0.1]]
    assert (settings["k"], settings["iters"]) == (4, 10)


def test_numbers_that_json_has_no_word_for_are_null():
    image = Image(np.array([[0, 9]], dtype=np.uint8), name="two")
    (lossless,) = quantize_layer(image, 2, rng=np.random.default_rng(1))
    _, content = files_of(lossless)
    (layer,) = json.loads(content, parse_constant=pytest.fail)["layers"]
    assert (layer["mse"], layer["psnr"]) == (0, None)
    assert layer["settings"]["rng"] is None
