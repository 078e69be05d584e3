"""`dev.py`, but for what it installs: that is tried by `tests/documents.py`."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import napari
import slides

ROOT = Path(__file__).parents[1]


@pytest.fixture
def dev(monkeypatch):
    """The program, which finds everything set up and a screen."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "sync", lambda *_: None)
    monkeypatch.setattr(module, "has_screen", lambda: True)
    monkeypatch.setattr(module, "install_for_window", lambda *_: None)
    programs = Path(sys.executable).parent
    monkeypatch.setattr(module, "program", lambda name: programs / name)
    return module


@pytest.fixture
def shown(dev, monkeypatch):
    """What is shown: the files that the program of the window is called with."""
    files, call = [], dev.call

    def record(command, **options):
        if dev.SHOW in command:
            return files.extend(command[command.index(dev.SHOW) + 1 :])
        return call(command, **options)

    monkeypatch.setattr(dev, "call", record)
    return files


def test_run_passes_options_on_and_shows_each_image_below_its_result(
    dev, shown, folder, capfd
):
    (folder / "in").mkdir()
    (folder / "in/b.jpg").write_bytes((folder / "photo.jpg").read_bytes())
    dev.main(["run", "-k", "3", "photo.jpg", "in", "--format", "gif", "-o", "out/"])
    results = ["out/photo_compressed.gif", "out/b_compressed.gif"]
    assert shown == ["photo.jpg", results[0], "in/b.jpg", results[1]]
    assert f"photo.jpg -> {results[0]}: " in capfd.readouterr().out

    shown.clear()
    dev.main(["run", "photo.jpg", "-o", "out/", "--skip-if-larger", "--max-size=9KB"])
    assert shown[0] == "photo.jpg"


@pytest.mark.usefixtures("folder")
def test_run_can_be_repeated_and_makes_an_example(dev, shown):
    for _ in range(2):
        dev.main(["run"])
    assert list(map(str, shown[:2])) == ["astronaut.png", "astronaut_compressed.png"]


@pytest.mark.usefixtures("folder")
def test_run_fails_as_the_command_does(dev, shown, capfd):
    with pytest.raises(SystemExit, match="1"):
        dev.main(["run", "missing.jpg"])
    assert capfd.readouterr().err.startswith("Error: missing.jpg: No such file")
    dev.main(["run", "--help"])
    assert "--max-size" in capfd.readouterr().out
    assert shown == []


@pytest.mark.usefixtures("folder")
def test_the_window_shows_images_upright_below_their_results(dev, window, monkeypatch):
    monkeypatch.setattr(napari, "Viewer", lambda: window)
    monkeypatch.setattr(napari, "run", lambda: None)
    dev.call([dev.program("napari-kmeans"), "-k", "3", "photo.jpg", "-o", "three.tif"])
    slides.write_slide("a.svs")
    monkeypatch.setattr(sys, "argv", ["", "photo.jpg", "three.tif", "a.svs"])
    exec(dev.SHOW, {})
    names = [layer.name for layer in window.layers]
    assert names == ["photo.jpg", "three.tif", "a.svs"]
    # The file lies on its side, and says so.
    photo, result, slide = (layer.data for layer in window.layers)
    assert [data.shape for data in (photo, result)] == [(60, 40, 3)] * 2
    assert [level.shape for level in slide] == [(100, 150, 3), (50, 75, 3)]
    assert all(layer.rgb for layer in window.layers)
    assert "K-means colors (napari-kmeans)" in window.window.dock_widgets


def test_programs_that_tests_start_need_not_compile_what_they_load(dev, monkeypatch):
    calls = []
    monkeypatch.setattr(dev, "call", lambda *_, **options: calls.append(options))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    dev.main(["test"])
    assert ["PYTHONDONTWRITEBYTECODE" in options["env"] for options in calls] == [False]


def test_uv_is_told_what_pip_knows_of_the_network(dev, tmp_path, monkeypatch):
    # As `pip config list` prints files and variables, in alphabetical order.
    (tmp_path / "pip.py").write_text(
        "print(\"\"\":env:.cert='/variable.pem'\n:env:.disable-pip-version-check='1'\n"
        "global.cert='/file.pem'\nglobal.index-url='https://index/simple'\n"
        "global.proxy='http://old:1'\ninstall.proxy='http://new:2'\"\"\")"
    )
    monkeypatch.setattr(dev, "PIP", [sys.executable, tmp_path / "pip.py"])
    settings = dev.uv_settings()
    # Where the system has certificates, they are those of a proxy, too.
    assert settings.pop("UV_SYSTEM_CERTS", "true") == "true"
    assert settings == {
        "HTTP_PROXY": "http://new:2",
        "HTTPS_PROXY": "http://new:2",
        "SSL_CERT_FILE": "/variable.pem",
        "UV_DEFAULT_INDEX": "https://index/simple",
    }


def test_a_python_without_pip_leaves_uv_alone(dev, monkeypatch):
    monkeypatch.setattr(dev, "PIP", [sys.executable, "-m", "no_such_module"])
    assert dev.uv_settings().keys() <= {"UV_SYSTEM_CERTS"}


def test_page_on_installing_names_the_libraries_of_a_window(dev):
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"apt-get install ([^`]*)", page)
    assert told.replace("\\", "").split() == list(dev.WINDOW_LIBRARIES)
