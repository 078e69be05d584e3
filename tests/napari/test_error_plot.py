import numpy as np
import pytest
from qtpy.QtGui import QImage

from napari_kmeans._napari.error_plot import ErrorPlot
from napari_kmeans._napari.numbers import errors_as_text

FALLING = [206.54, 206.4, 206.3, 206.2, 206.15]


@pytest.fixture
def plot(qtbot):
    """Draw lines, each of the errors of a palette."""

    def plot(*lines, width=280):
        plot = ErrorPlot()
        qtbot.addWidget(plot)
        plot.resize(width, 100)
        for part, errors in enumerate(lines):
            for error in errors:
                plot.add(part, error)
        return plot

    return plot


def drawn(plot):
    """Give where letters are, and where lines are."""
    image = plot.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    octets = image.constBits().asarray(image.sizeInBytes())
    pixels = np.frombuffer(octets, np.uint8).reshape(image.height(), -1, 4)
    blue, green, red, _ = np.moveaxis(pixels.astype(int), -1, 0)
    is_line = blue - red > 60
    background = pixels[-1, -1].astype(int)
    is_letter = np.abs(pixels - background).max(axis=-1) > 60
    return is_letter & ~is_line & (np.abs(red - green) < 20), is_line


@pytest.mark.parametrize("width", [150, 280, 500])
def test_text_does_not_touch_the_line(plot, width):
    letters, line = drawn(plot(FALLING, width=width))
    rows = np.flatnonzero(letters.any(axis=1))
    assert rows.max() + 4 < np.flatnonzero(line.any(axis=1)).min()
    # Nor is a point cut by the edge.
    assert not line[:2].any()
    assert not line[-2:].any()
    assert not line[:, :2].any()
    assert not line[:, -2:].any()


@pytest.mark.parametrize(
    ("lines", "caption"),
    [
        ([], "error per iteration"),
        ([[151.37]], "Fitting error 151.4, 1 iteration"),
        ([FALLING], "Fitting error 206.5 → 206.2, 5 iterations"),
        # As many digits as show that it fell.
        ([[666.41, 666.37]], "Fitting error 666.41 → 666.37, 2 iterations"),
        ([[0, 0]], "Fitting error 0 → 0, 2 iterations"),
        ([[480303.2, 480255.1]], "Fitting error 480,303 → 480,255, 2 iterations"),
        ([[3e-9, 1e-9]], "Fitting error 3e-09 → 1e-09, 2 iterations"),
        ([[3e12, 1e12]], "Fitting error 3e+12 → 1e+12, 2 iterations"),
        ([FALLING, [9.0, 8.0]], "Slice 2, fitting error 9.000 → 8.000, 2 iterations"),
    ],
)
def test_caption_tells_the_fall(plot, lines, caption):
    assert plot(*lines).caption == caption
    assert not lines or plot(*lines).accessibleDescription() == caption


@pytest.mark.parametrize(
    "errors",
    [
        [151.37],
        [0.0, 0.0],
        [3e-9, 1e-9],
        [3e12, 1e12],
        [np.inf, 4, 3],
        list(300 / np.arange(1, 200)),
    ],
)
def test_any_errors_are_drawn(plot, errors):
    _, line = drawn(plot(errors))
    assert line.any()


def test_infinite_error_does_not_flatten_the_others(plot):
    _, line = drawn(plot([np.inf, 4, 3]))
    rows = np.flatnonzero(line.any(axis=1))
    assert np.ptp(rows) > 40


def test_there_may_be_nothing_that_can_be_drawn(plot):
    _, line = drawn(plot([np.inf, np.inf]))
    assert not line.any()


def test_least_error_is_at_the_bottom(plot):
    _, line = drawn(plot([5, 1, 0]))
    columns = np.flatnonzero(line.any(axis=0))
    lowest = [np.flatnonzero(line[:, column]).max() for column in columns]
    assert lowest[-1] > lowest[len(lowest) // 2] > lowest[0]


def test_equal_errors_have_equal_words():
    assert errors_as_text(2 / 3, 2 / 3) == ["0.6667", "0.6667"]
