"""What a result costs and saves, which nobody pays for who does not look."""

import numpy as np
import pytest
from napari.layers import Image
from skimage import data

from napari_kmeans import quantize_layer
from napari_kmeans._napari import compression
from napari_kmeans._napari.compression import Compression
from napari_kmeans._napari.record import record_of
from napari_window import wait_for_threads


@pytest.fixture
def part(qtbot):
    part = Compression()
    qtbot.addWidget(part)
    yield part
    part.leave()
    wait_for_threads()


@pytest.fixture
def result():
    (layer,) = quantize_layer(Image(data.astronaut()[:64, :50]), 4)
    return record_of(layer), lambda: (*layer.as_layer_data_tuple(), None)


def test_file_is_measured_when_the_part_is_opened_and_not_before(part, result, qtbot):
    record, describe = result
    asked = []
    part.show_result(record, lambda: asked.append(1) or describe())
    assert "PSNR" in part.numbers.value
    assert asked == []

    part.unfold()
    qtbot.waitUntil(lambda: "bytes as PNG" in part.numbers.value, timeout=20_000)
    # It is not measured twice.
    part.button.click()
    part.button.click()
    assert asked == [1]


def test_next_result_is_measured_while_the_part_is_open(part, result, qtbot):
    part.unfold()
    part.show_result(None, None)
    assert part.numbers.value == ""
    part.show_result(*result)
    qtbot.waitUntil(lambda: "bytes as PNG" in part.numbers.value, timeout=20_000)


def test_measuring_that_is_stopped_leaves_what_is_known(part, result, qtbot):
    part.unfold()
    part.show_result(*result)
    assert "Measuring the file" in part.numbers.value
    part.stop()
    assert part.numbers.value.splitlines()[-1].startswith("PSNR")
    # It is measured again when the part is opened again.
    part.button.click()
    part.button.click()
    qtbot.waitUntil(lambda: "bytes as PNG" in part.numbers.value, timeout=20_000)


def test_file_that_cannot_be_measured_is_told(part, result, qtbot, monkeypatch):
    def fail(*_):
        msg = "the disk is full"
        raise OSError(msg)

    monkeypatch.setattr(compression, "file_size", fail)
    part.unfold()
    part.show_result(*result)
    qtbot.waitUntil(lambda: "the disk is full" in part.numbers.value)


def test_colors_that_were_edited_have_no_error_and_no_file(part, result):
    record, describe = result
    part.unfold()
    edited = type(record)(palette=record.palette, counts=np.ones(4, dtype=int))
    part.show_result(edited, describe)
    assert part.numbers.value == ""
