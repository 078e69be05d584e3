"""Set up and use a checkout of napari-kmeans with Python 3.11 or newer and pip alone.

    python3 dev.py run [OPTION ...] [IMAGE ...]
        compress images, then show each below its result in napari; options are those
        of napari-kmeans, such as -k 8
    python3 dev.py test [OPTION ...]
        run all tests; options are those of pytest
    python3 dev.py docs [OPTION ...]
        build the pages of docs/ into docs/_build/html; options are those of Sphinx
    python3 dev.py lint
        check style, types, the import contract, the manifest and the workflows
    python3 dev.py build
        build wheel and source distribution into dist/, and check what they say

Everything is installed into .tools and .venv beside this file, from where pip installs
and with its certificates. On Linux, a napari window also needs some system libraries,
and the tests a virtual screen: what is missing is installed with apt-get if you are
root, with sudo where the variable CI is set, and named otherwise.
"""

import ast
import ctypes
import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
PIP = [sys.executable, "-m", "pip"]
ON_LINUX = sys.platform.startswith("linux")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
SUFFIX = ".exe" if os.name == "nt" else ""
UV = TOOLS / "bin" / f"uv{SUFFIX}"

# Debian's package for each shared library that Qt and OpenGL load.
WINDOW_LIBRARIES = {
    "libdbus-1-3": "libdbus-1.so.3",
    "libegl1": "libEGL.so.1",
    "libfontconfig1": "libfontconfig.so.1",
    "libgl1": "libGL.so.1",
    "libglib2.0-0": "libglib-2.0.so.0",
    "libxcb-cursor0": "libxcb-cursor.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
}
# Debian's package for each program of the virtual screen.
SCREEN_PROGRAMS = {"xauth": "xauth", "xvfb": "xvfb-run"}
VIRTUAL_SCREEN = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]

# Files that others read, by their schemas.
SCHEMAS = {
    "citation-file-format": "CITATION.cff",
    "dependabot": ".github/dependabot.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-workflows": ".github/workflows/*.yml",
}

# What uv calls the settings of pip that lead to an index.
UV_SETTINGS = {
    "cert": ["SSL_CERT_FILE"],
    "index-url": ["UV_DEFAULT_INDEX"],
    "proxy": ["HTTP_PROXY", "HTTPS_PROXY"],
    "trusted-host": ["UV_INSECURE_HOST"],
}

SAVE_ASTRONAUT = """
import sys
from skimage import data, io
io.imsave(sys.argv[1], data.astronaut(), check_contrast=False)
"""

# As images, upright, whatever napari has been told to open such files with.
SHOW = """
import sys
import napari
from napari_kmeans._cli.inputs import Source
from napari_kmeans._files.pyramids import lazy_image

viewer = napari.Viewer()
for name in sys.argv[1:]:
    source = Source(name)
    pyramid = source.pyramid()
    images = [source.image()]
    if pyramid is not None:
        levels = [pyramid._replace(levels=(level,)) for level in pyramid.levels]
        images = [lazy_image(level) for level in levels]
    pixels = [image.pixels for image in images]
    is_rgb = images[0].has_channels and pixels[0].shape[-1] in (3, 4)
    channel_axis = -1 if images[0].has_channels and not is_rgb else None
    data = pixels if len(pixels) > 1 else pixels[0]
    viewer.add_image(data, name=name, rgb=is_rgb, channel_axis=channel_axis)
# The widget takes this one, and not a result.
viewer.layers.selection.active = viewer.layers[0]
viewer.window.add_plugin_dock_widget("napari-kmeans", "K-means colors")
napari.run()
"""


def run(arguments):
    """Compress images or an example; show both in napari if there is a screen."""
    screen = has_screen()
    extras = ["zarr", "gui"] if screen else ["zarr"]
    sync("--no-default-groups", *(f"--extra={extra}" for extra in extras))
    if not arguments:
        example = Path("astronaut.png")
        if not example.exists():
            call([program("python"), "-c", SAVE_ASTRONAUT, example])
        arguments = [example]
    # An earlier run's result is replaced, so that the command can be repeated.
    compress = [program("napari-kmeans"), "compress", "--force", "--json", *arguments]
    told = call(compress, stdout=subprocess.PIPE, text=True)
    if not told.startswith("{"):  # --help, for example.
        print(told, end="")
        return
    shown = []
    for image in json.loads(told)["images"]:
        names = [name for name in (image["input"], image["output"]) if name is not None]
        sizes = f"{image['bytes_before']:,} -> {image['bytes_after']:,} bytes"
        grown = " (larger: use fewer colors, -k 8)" if image["larger"] else ""
        print(f"{' -> '.join(names)}: {sizes}, {image['colors_after']} colors{grown}")
        shown += [name for name in names if name != "-"]
    if not screen:
        print("There is no screen, so napari was not opened.")
        return
    install_for_window()
    print("Opening napari ...", flush=True)
    call([program("python"), "-c", SHOW, *shown])


def test(options):
    """Run the whole test suite, on Linux in a real window on a virtual screen."""
    if ON_LINUX:
        install_for_window(SCREEN_PROGRAMS)
    sync()
    # A process for each core, which gets whole files in the order of tests/conftest.py.
    workers = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [program("python"), "-m", "pytest", *workers, *options]
    environment = dict(os.environ)
    # Otherwise each of the many programs that tests start compiles all that it loads.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if ON_LINUX:
        # A desktop's own choice of display must not lead out of the virtual screen.
        environment["QT_QPA_PLATFORM"] = "xcb"
        environment.pop("WAYLAND_DISPLAY", None)
        command = [*VIRTUAL_SCREEN, *command]
    call(command, cwd=ROOT, env=environment)


def docs(options):
    """Build the pages; a warning is an error."""
    sync("--group", "docs")
    # All pages are written, as a new one stands in the menus of others.
    build = ["--builder", "html", "--write-all", "--fail-on-warning", "--keep-going"]
    html = Path("docs", "_build", "html")
    call([program("sphinx-build"), *build, "docs", html, *options], cwd=ROOT)


def lint(_):
    """Check what need not be run to be checked."""
    sync()
    for command in (
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy", "--strict", "src"],
        ["lint-imports"],
        ["npe2", "validate", "napari-kmeans"],
        *(schema_check(*pair) for pair in SCHEMAS.items()),
    ):
        call([program(command[0]), *command[1:]], cwd=ROOT)


def schema_check(schema, pattern):
    """Command that compares files of the checkout with a schema that it knows."""
    files = sorted(ROOT.glob(pattern))
    return ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files]


def build(_):
    """Build what is released, and check what an index page is made of."""
    sync()
    dist = ROOT / "dist"
    # Of another version, they would be released, too.
    shutil.rmtree(dist, ignore_errors=True)
    call([UV, "build", "--quiet", "--out-dir", dist], cwd=ROOT, env=uv_environment())
    call([program("twine"), "check", "--strict", *sorted(dist.glob("napari_*"))])


def sync(*options):
    """Bring .venv up to date, and keep what is installed there already."""
    if not UV.exists():
        print("Setting up: uv ...", flush=True)
        if subprocess.run([*PIP, "--version"], capture_output=True).returncode:
            sys.exit(f"dev.py needs pip, and {sys.executable} has none")
        call([*PIP, "install", "-qq", "--target", TOOLS, "--upgrade", "uv"])
    if not (ROOT / ".venv").exists():
        print("Setting up: .venv ...", flush=True)
    python = ["--python", sys.executable]
    command = [UV, "sync", "--quiet", "--inexact", *python, *options]
    call(command, cwd=ROOT, env=uv_environment())


def uv_environment():
    """Variables of uv: it installs from where pip does, and no Python."""
    environment = uv_settings() | os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    return environment


def uv_settings():
    """Find variables by which uv reaches what pip does, also behind a proxy."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True)
    found = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        found[name] = ast.literal_eval(value)
    settings = {}
    # Those of the environment come before those of files.
    for section in ("global", "install", ":env:"):
        for setting, names in UV_SETTINGS.items():
            if f"{section}.{setting}" in found:
                value = found[f"{section}.{setting}"]
                settings |= dict.fromkeys(names, value)
    # uv comes with certificates of its own, to which those of a proxy do not belong.
    if ssl.create_default_context().cert_store_stats()["x509_ca"]:
        settings["UV_SYSTEM_CERTS"] = "true"
    return settings


def install_for_window(programs=None):
    """Install what a napari window needs from the system, or say what to install."""
    missing = [
        package
        for package, name in (programs or {}).items()
        if shutil.which(name) is None
    ]
    if ON_LINUX:
        missing += [p for p, library in WINDOW_LIBRARIES.items() if not loads(library)]
    if not missing:
        return
    sudo = ["sudo"] if os.geteuid() != 0 else []
    if (sudo and not os.environ.get("CI")) or shutil.which("apt-get") is None:
        sys.exit(
            "A napari window needs system packages that are missing. On Debian or "
            f"Ubuntu:\n  sudo apt-get install {' '.join(missing)}"
        )
    print("Setting up:", *missing, "...", flush=True)
    apt_get = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    install = ["install", "--no-install-recommends", *missing]
    for words in (["update"], install):
        call([*apt_get, *words], stdout=subprocess.DEVNULL)


def loads(library):
    """Tell whether the system finds the shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def has_screen():
    """Tell whether a window can be opened."""
    return not ON_LINUX or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def program(name):
    """Path of a program in .venv."""
    return ROOT / ".venv" / SCRIPTS / f"{name}{SUFFIX}"


def call(command, **options):
    """Run a command, and return what it prints to a pipe; leave if it fails."""
    try:
        done = subprocess.run(command, **options)
    except KeyboardInterrupt:
        sys.exit(130)
    if done.returncode:
        print("dev.py: failed:", shlex.join(map(str, command)), file=sys.stderr)
        sys.exit(done.returncode)
    return done.stdout


def main(arguments):
    """Run the command named first in `arguments`."""
    commands = {"run": run, "test": test, "docs": docs, "lint": lint, "build": build}
    # This file is started before anything has checked requires-python.
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"napari-kmeans needs Python 3.11 or newer, not {sys.version}")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
    elif arguments[0] in commands:
        commands[arguments[0]](arguments[1:])
    else:
        sys.exit(f"dev.py: unknown command {arguments[0]!r}\n\n{__doc__.strip()}")


if __name__ == "__main__":
    main(sys.argv[1:])
