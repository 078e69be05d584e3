import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
import uv
import yaml
from skimage import data, io

ROOT = Path(__file__).parents[1]
MANIFEST = "src/napari_kmeans/napari.yaml"  # A link; wheels have a copy.


def run(*command, cwd):
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    run(uv.find_uv_bin(), "build", "--out-dir", folder, ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def wheel(built):
    return built[1]


@pytest.fixture(scope="module")
def tracked():
    """Files that git knows, or would add."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return set(run(*listing, cwd=ROOT).split("\0")[:-1])


def contents(wheel):
    """Bytes of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """Programs of an environment with nothing but the wheel and what it requires."""
    environment = tmp_path_factory.mktemp("environment with spaces") / ".venv"
    run(uv.find_uv_bin(), "venv", "--python", sys.executable, environment, cwd=ROOT)
    programs = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python = programs / "python"
    run(uv.find_uv_bin(), "pip", "install", "--python", python, wheel, cwd=ROOT)
    return programs


@pytest.fixture
def run_python(programs, tmp_path):
    """Run a script away from the checkout, and not see it either."""

    def run_python(script):
        return run(programs / "python", "-I", "-c", script, cwd=tmp_path)

    return run_python


def test_wheel_works_as_library(run_python):
    output = run_python(
        "import numpy as np\n"
        "from skimage import data\n"
        "from napari_kmeans import quantize_kmeans\n"
        "result = quantize_kmeans(data.astronaut(), 16)\n"
        "colors = np.unique(result.reshape(-1, 3), axis=0)\n"
        "print(result.shape, result.dtype, len(colors))"
    )
    assert output == "(512, 512, 3) uint8 16\n"


@pytest.mark.parametrize(
    "start", [["napari-kmeans"], ["python", "-m", "napari_kmeans"]]
)
def test_wheel_works_as_command(programs, tmp_path, start):
    photo = tmp_path / "a photo.png"
    io.imsave(photo, data.astronaut())

    run(programs / start[0], *start[1:], photo, "--report", "r.html", cwd=tmp_path)

    assert (tmp_path / "a photo_compressed.png").stat().st_size > 0
    # What it looks like is a file of its own in the wheel.
    assert "<h2>a photo.png</h2>" in (tmp_path / "r.html").read_text("utf-8")


def test_wheel_brings_neither_napari_nor_qt(run_python):
    output = run_python(
        "from importlib.util import find_spec\n"
        "names = 'napari', 'PyQt5', 'PyQt6', 'PySide2', 'PySide6'\n"
        "print([name for name in names if find_spec(name)])"
    )
    assert output == "[]\n"


def test_import_loads_numpy_alone(run_python):
    # Modules that come with Python or with NumPy are no news.
    output = run_python(
        "import sys, numpy.typing\n"
        "before = set(sys.modules)\n"
        "from napari_kmeans import *\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(loaded - set(sys.stdlib_module_names))"
    )
    assert output == "{'napari_kmeans'}\n"


def test_manifest_in_the_wheel_is_that_of_the_repository(run_python):
    output = run_python(
        "from importlib.resources import files\n"
        "print(files('napari_kmeans').joinpath('napari.yaml').read_bytes().hex())"
    )
    assert bytes.fromhex(output) == (ROOT / "napari.yaml").read_bytes()


def test_manifest_of_an_editable_install_is_that_of_the_repository():
    shipped = files("napari_kmeans").joinpath("napari.yaml")
    assert shipped.read_bytes() == (ROOT / "napari.yaml").read_bytes()


def test_wheel_says_that_its_annotations_are_meant_for_others(run_python):
    # Type checkers take no notice of annotations without this file (PEP 561).
    output = run_python(
        "from importlib.resources import files\n"
        "print(files('napari_kmeans').joinpath('py.typed').is_file())"
    )
    assert output == "True\n"


def test_wheel_says_where_the_project_is(run_python):
    output = run_python(
        "from importlib.metadata import metadata\n"
        "urls = metadata('napari-kmeans').get_all('Project-URL')\n"
        "print(sorted(url.partition(',')[0] for url in urls))"
    )
    names = ["Bug Tracker", "Changelog", "Documentation", "Homepage"]
    assert output == f"{[*names, 'Source Code', 'User Support']}\n"


def test_version_is_that_of_the_wheel(wheel, run_python):
    version = run_python("import napari_kmeans; print(napari_kmeans.__version__)")
    assert wheel.name.startswith(f"napari_kmeans-{version.strip()}-")


def test_source_distribution_has_what_git_has(built, tracked):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    # Pages, pictures and tests are in it, too: 2 MB. Without the link to the manifest,
    # napari would not find the plugin where it is used as a checkout.
    assert names == tracked | {"PKG-INFO"}
    assert built[0].stat().st_size < 5_000_000


def test_wheel_has_the_package_and_nothing_else(wheel, tracked):
    parts = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
    assert MANIFEST.removeprefix("src/") in parts
    about = "METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"
    folder = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    assert set(contents(wheel)) == parts | {f"{folder}/{name}" for name in about}
    assert wheel.stat().st_size < 1_000_000


def test_wheel_of_the_checkout_is_that_of_the_source_distribution(wheel, tmp_path):
    run(uv.find_uv_bin(), "build", "--wheel", "--out-dir", tmp_path, ROOT, cwd=tmp_path)
    (other,) = tmp_path.glob("*.whl")
    assert contents(other) == contents(wheel)


def test_citation_and_changelog_are_of_this_version(wheel):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = dict(re.findall(r"^## (\d\S*) \(([\d-]+)\)$", changelog, re.MULTILINE))
    assert citation["version"] == wheel.name.split("-")[1]
    # What is unreleased has no date.
    page = (ROOT / "docs" / "citation.md").read_text("utf-8")
    assert f"version = {{{citation['version']}}}" in page
    date = citation.get("date-released")
    assert released.get(citation["version"]) == (date and str(date))
