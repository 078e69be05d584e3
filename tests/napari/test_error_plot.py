"""The error of each iteration, as numbers and as a line."""

import pytest

from napari_kmeans._napari.error_plot import ErrorPlot
from napari_kmeans._napari.numbers import errors_as_text

FALLING = [206.54, 206.4, 206.3, 206.2, 206.15]


@pytest.fixture
def plot(qtbot):
    """Draw lines, each of the errors of a palette."""

    def plot(*lines):
        plot = ErrorPlot()
        qtbot.addWidget(plot)
        for part, errors in enumerate(lines):
            for error in errors:
                plot.add(part, error)
        return plot

    return plot


@pytest.mark.parametrize(
    ("lines", "title", "more"),
    [
        ([[151.37]], "Error 151.4", ", 1 iteration"),
        ([FALLING], "Error 206.5 → 206.2", ", 5 iterations"),
        # As many digits as show that it fell.
        ([[666.41, 666.37]], "Error 666.41 → 666.37", ", 2 iterations"),
        ([[0, 0]], "Error 0 → 0", ", 2 iterations"),
        ([[480303.2, 480255.1]], "Error 480,303 → 480,255", ", 2 iterations"),
        ([[3e-9, 1e-9]], "Error 3e-09 → 1e-09", ", 2 iterations"),
        ([[3e12, 1e12]], "Error 3e+12 → 1e+12", ", 2 iterations"),
    ],
)
def test_words_tell_the_fall(plot, lines, title, more):
    drawn = plot(*lines)
    assert drawn.button.text() == title
    assert drawn.caption == title + more


def test_last_of_several_palettes_is_told(plot):
    drawn = plot(FALLING, [9.0, 8.0])
    assert drawn.button.text() == "Error 9.000 → 8.000"
    assert drawn.caption == "Slice 2: error 9.000 → 8.000, 2 iterations"


def test_nothing_is_shown_before_there_is_something(plot):
    drawn = plot()
    assert drawn.isHidden()

    drawn.clear("No iteration was needed")
    assert not drawn.isHidden()
    assert drawn.line.text() == drawn.caption == "No iteration was needed"
    assert drawn.button.isHidden()

    drawn.add(0, 5.0)
    assert drawn.line.text() == "Error 5.000"
    assert drawn.button.isHidden()

    drawn.add(0, 4.0)
    assert drawn.line.isHidden()
    assert not drawn.button.isHidden()
    assert not drawn.is_open


def test_place_of_the_errors_is_told(plot):
    drawn = plot()
    drawn.clear(where=" in lab")
    drawn.add(0, 5.0)
    assert drawn.caption == "Error 5.000 in lab, 1 iteration"


def test_equal_errors_have_equal_words():
    assert errors_as_text(2 / 3, 2 / 3) == ["0.6667", "0.6667"]
