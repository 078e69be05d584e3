"""Lines over two axes with numbers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest

from napari_kmeans._napari.line_plot import LinePlot, ticks_to

FALLING = [206.54, 206.4, 206.3, 206.2, 206.15]


@pytest.fixture
def plot(qtbot):
    """Draw lines over 1, 2, 3 and so on."""

    def plot(*lines, width=280, is_log=False):
        plot = LinePlot("errors", "Errors", is_log=is_log)
        qtbot.addWidget(plot)
        plot.resize(width, 110)
        n = max(map(len, lines), default=0)
        plot.show_lines(range(1, n + 1), lines, (1, n))
        return plot

    return plot


def drawn(plot):
    """Give where letters are, and where lines are."""
    image = plot.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    octets = image.constBits().asarray(image.sizeInBytes())
    pixels = np.frombuffer(octets, np.uint8).reshape(image.height(), -1, 4)
    blue, green, red, _ = np.moveaxis(pixels.astype(int), -1, 0)
    is_line = blue - red > 60
    background = pixels[0, 0].astype(int)
    is_letter = np.abs(pixels - background).max(axis=-1) > 60
    return is_letter & ~is_line & (np.abs(red - green) < 20), is_line


@pytest.mark.parametrize("width", [150, 280, 500])
def test_nothing_is_cut_or_written_over(plot, width):
    letters, line = drawn(plot(FALLING, width=width))
    for marks in (letters, line):
        for edge in (marks[:1], marks[-1:], marks[:, :1], marks[:, -1:]):
            assert not edge.any()
    # The numbers of y stand left of the line, and those of x below it.
    rows, columns = np.flatnonzero(line.any(axis=1)), np.flatnonzero(line.any(axis=0))
    assert letters[:, : columns.min() - 2].any()
    assert letters[rows.max() + 2 :].any()


@pytest.mark.parametrize(
    "errors",
    [
        [151.37],
        [0.0, 0.0],
        [3e-9, 1e-9],
        [3e12, 1e12],
        [5e-324, 0],
        [1.7e308, 1],
        [np.inf, 4, 3],
        list(300 / np.arange(1, 200)),
    ],
)
def test_any_errors_are_drawn(plot, errors):
    _, line = drawn(plot(errors))
    assert line.any()


def test_small_fall_does_not_look_like_a_large_one(plot):
    _, line = drawn(plot([12.58, 12.56, 12.55]))
    # Three pixels are as thick as line and dots are.
    assert np.ptp(np.flatnonzero(line.any(axis=1))) < 9


def test_infinite_error_does_not_flatten_the_others(plot):
    _, line = drawn(plot([np.inf, 4, 1]))
    rows = np.flatnonzero(line.any(axis=1))
    assert np.ptp(rows) > 40


@pytest.mark.parametrize("lines", [[], [[np.inf, np.inf]]])
def test_there_may_be_nothing_that_can_be_drawn(plot, lines):
    letters, line = drawn(plot(*lines))
    assert not line.any()
    assert not letters.any()


def test_least_error_is_at_the_bottom(plot):
    _, line = drawn(plot([5, 1, 0]))
    columns = np.flatnonzero(line.any(axis=0))
    lowest = [np.flatnonzero(line[:, column]).max() for column in columns]
    assert lowest[-1] > lowest[len(lowest) // 2] > lowest[0]


@pytest.mark.parametrize("is_log", [False, True])
def test_click_tells_where_it_was(plot, is_log):
    drawn_plot, heard = plot(list(range(9, 1, -1)), is_log=is_log), []
    drawn_plot.clicked.connect(heard.append)
    _, line = drawn(drawn_plot)
    columns = np.flatnonzero(line.any(axis=0))
    low, high = columns.min(), columns.max()
    for x in (0, (low + high) // 2, drawn_plot.width() - 1):
        QTest.mouseClick(drawn_plot, Qt.MouseButton.LeftButton, pos=QPoint(int(x), 50))
    QTest.mouseClick(drawn_plot, Qt.MouseButton.RightButton, pos=QPoint(9, 50))
    middle = 8**0.5 if is_log else 4.5
    assert_allclose(heard, [1, middle, 8], rtol=0.03)


def test_nothing_to_click_on_tells_nothing(plot):
    heard = []
    for lines in ([], [[3.0]]):
        drawn_plot = plot(*lines)
        drawn_plot.clicked.connect(heard.append)
        QTest.mouseClick(drawn_plot, Qt.MouseButton.LeftButton, pos=QPoint(90, 50))
    assert heard == []


@pytest.mark.parametrize(
    ("top", "ticks"),
    [
        (0, [0]),
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (2, [0, 0.5, 1, 1.5, 2]),
        (70.3, [0, 20, 40, 60]),
        (0.0999, [0, 0.02, 0.04, 0.06, 0.08]),
        (5e-324, [0, 5e-324]),
        (1e305, [0, 1e305]),
    ],
)
def test_ticks_are_easy_to_read(top, ticks):
    assert_allclose(ticks_to(top), ticks, rtol=1e-12)


def test_there_are_three_to_six_ticks():
    rng = np.random.default_rng(1)
    for top in 10 ** rng.uniform(-9, 9, 500):
        ticks = ticks_to(top)
        assert 3 <= len(ticks) <= 6
        assert ticks[-1] <= top * (1 + 1e-9)
