"""The error against the number of colors, and a number that is chosen by it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from skimage import data

from napari_kmeans import choose_k, error_curve
from napari_kmeans._core.counted_image import count_image
from napari_kmeans._napari import choose_k as room
from napari_kmeans._napari.choose_k import KS, errors_of, fewest_of
from napari_window import press

PHOTO = data.astronaut()[:64, :50]


@pytest.fixture
def curves(monkeypatch):
    """Give a list that grows with each curve, of its errors."""
    found = []

    def noting(parts):
        found.append(errors_of(parts))
        return found[-1]

    monkeypatch.setattr(room, "errors_of", noting)
    return found


@pytest.fixture
def draw(qtbot, curves):
    """Wait until a curve is drawn after something was done."""

    def draw(widget, act):
        n = len(curves)
        act()
        status = widget.controls.choose_k.status
        qtbot.waitUntil(lambda: len(curves) > n and not status.text(), timeout=20_000)

    return draw


def test_sixteen_numbers_are_evenly_spaced_up_to_256():
    assert (len(KS), KS[0], KS[-1]) == (16, 1, 256)
    assert np.diff(np.log2(KS[3:])) == pytest.approx(0.5, abs=0.1)


def test_errors_are_roots_of_those_of_the_curve():
    expected = np.sqrt(error_curve(PHOTO, KS))
    assert_allclose(errors_of([count_image(PHOTO)]), expected)


def test_slices_count_by_their_pixels():
    slices = [PHOTO, PHOTO[:16] // 2]
    one, other = (error_curve(part, KS) for part in slices)
    expected = np.sqrt((4 * one + other) / 5)
    assert_allclose(errors_of([count_image(part) for part in slices]), expected)


def test_every_slice_reaches_the_quality():
    slices = [PHOTO // 9, PHOTO]
    numbers = [len(choose_k(part, psnr=30).palette) for part in slices]
    assert numbers[0] != numbers[1]
    assert fewest_of([count_image(part) for part in slices], 30) == max(numbers)


def test_nothing_is_computed_until_it_is_opened(viewer, dock, curves, monkeypatch):
    viewer.add_image(PHOTO, name="a")
    controls = dock().controls
    monkeypatch.setattr(controls.choose_k, "_start", pytest.fail)
    controls.k.value = 5
    controls.color_space.value = "lab"
    assert not controls.choose_k._timer.isActive()
    assert curves == []


def test_curve_is_that_of_what_is_chosen(viewer, dock, draw, curves):
    viewer.add_image(PHOTO, name="a")
    viewer.add_labels((PHOTO[..., 0] > 99).astype(int), name="m")
    widget = dock()
    controls = widget.controls
    draw(widget, controls.choose_k.unfold)
    assert_allclose(curves[-1], np.sqrt(error_curve(PHOTO, KS)))

    draw(widget, lambda: setattr(controls.color_space, "value", "lab"))
    assert_allclose(curves[-1], np.sqrt(error_curve(PHOTO, KS, color_space="lab")))

    controls.color_space.value = "rgb"
    controls.inside.value = viewer.layers["m"]
    draw(widget, lambda: setattr(controls.weights, "value", "std"))
    mask = PHOTO[..., 0] > 99
    expected = error_curve(PHOTO, KS, mask=mask, channel_weights="std")
    assert_allclose(curves[-1], np.sqrt(expected))


def test_curve_stays_while_another_k_is_chosen(viewer, dock, draw, curves, qtbot):
    viewer.add_image(PHOTO, name="a")
    widget = dock()
    chooser = widget.controls.choose_k
    draw(widget, chooser.unfold)

    for k in (3, 4, 5):
        widget.controls.k.value = k
    qtbot.waitUntil(lambda: not chooser._timer.isActive())

    assert len(curves) == 1
    assert chooser.status.text() == ""


def test_click_sets_k(viewer, dock, draw):
    viewer.add_image(PHOTO, name="a")
    widget = dock()
    plot = widget.controls.choose_k.plot
    draw(widget, widget.controls.choose_k.unfold)
    for x, k in ((0, 1), (plot.width() - 1, 256)):
        QTest.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(x, 50))
        assert widget.controls.k.value == k
    assert plot.accessibleDescription().startswith("1: ")


def test_quality_sets_k(viewer, dock, qtbot):
    viewer.add_image(PHOTO, name="a")
    controls = dock().controls
    controls.choose_k.psnr.value = 30

    press(controls.choose_k.reach)
    n_colors = len(choose_k(PHOTO, psnr=30).palette)
    qtbot.waitUntil(lambda: controls.k.value == n_colors, timeout=20_000)

    assert controls.choose_k.status.text() == f"{n_colors} colors reach 30 dB."


def test_quality_out_of_reach_is_told(viewer, dock, qtbot):
    # One gray level more than a palette can have.
    viewer.add_image(np.arange(65537.0)[np.newaxis], name="a")
    controls = dock().controls
    controls.choose_k.psnr.value = 200
    press(controls.choose_k.reach)
    told = controls.choose_k.status.text
    qtbot.waitUntil(lambda: "out of reach" in told(), timeout=20_000)
    assert controls.k.value == 16


def test_given_palette_leaves_nothing_to_choose(result, draw):
    widget, image, _ = result()
    chooser = widget.controls.choose_k
    draw(widget, chooser.unfold)
    widget.controls.palette.value = image
    chooser._start()
    assert chooser.status.text().startswith("The palette is given")

    draw(widget, lambda: setattr(widget.controls.palette, "value", "fit"))


def test_what_hinders_is_told_until_it_is_mended(viewer, dock, draw, qtbot):
    viewer.add_image(PHOTO, name="a")
    viewer.add_labels(np.zeros((64, 50), dtype=int), name="m")
    widget = dock()
    controls = widget.controls
    controls.fixed.value = "rot"
    controls.choose_k.unfold()
    assert controls.choose_k.status.text().startswith("Locked colors must be like")

    controls.fixed.value = ""
    controls.inside.value = viewer.layers["m"]
    told = controls.choose_k.status.text
    qtbot.waitUntil(lambda: told().startswith("Nothing of “a” is inside “m”"))

    draw(widget, lambda: setattr(controls.inside, "value", None))


def test_folding_ends_what_is_computed(viewer, dock, draw):
    viewer.add_image(PHOTO, name="a")
    widget = dock()
    chooser = widget.controls.choose_k
    chooser.unfold()
    chooser.button.click()
    assert not chooser._fitting.is_busy
    draw(widget, chooser.unfold)
