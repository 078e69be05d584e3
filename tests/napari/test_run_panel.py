"""The upper part of the widget, without the lower one."""

import pytest
from skimage import data

from napari_kmeans._napari.results import Results
from napari_kmeans._napari.run_panel import RunPanel
from napari_window import names, press


@pytest.fixture
def panel(viewer, qtbot):
    viewer.add_image(data.astronaut()[:64, :50], name="a")
    panel = RunPanel(viewer, Results(viewer))
    qtbot.addWidget(panel)
    yield panel
    panel.leave()


def test_nothing_is_running_at_first(panel):
    assert (panel.run.enabled, panel.cancel.enabled) == (True, False)
    assert panel.progress.native.value() == 0
    assert panel.status.value == ""
    assert not panel.live.value


def test_signals_say_how_a_run_goes_on(viewer, panel, qtbot):
    heard = []
    panel.started.connect(lambda: heard.append("started"))
    panel.adding.connect(lambda: heard.append(names(viewer)))
    panel.added.connect(lambda layers: heard.append([x.name for x in layers]))
    panel.controls.output.value = "both"

    press(panel.run)
    qtbot.waitUntil(lambda: panel.run.enabled, timeout=20_000)

    assert heard == ["started", ["a"], ["a in 16 colors", "a in 16 labels"]]


def test_nothing_is_signalled_of_a_run_that_cannot_start(panel):
    heard = []
    panel.started.connect(lambda: heard.append("started"))
    panel.controls.fixed.value = "rot"

    press(panel.run)

    assert heard == []
    assert "got 'rot'" in panel.status.value


def test_preview_ends_with_the_panel_being_seen(panel, qtbot):
    panel.show()
    panel.live.value = True
    qtbot.waitUntil(lambda: panel._preview.layer is not None, timeout=20_000)

    panel.hide()

    assert panel._preview.layer is None
    assert not panel.live.value
