"""Set up and use a checkout of napari-kmeans with Python 3.11 or newer and pip alone.

    python3 dev.py run [IMAGE ...]     compress images, then show them in napari
    python3 dev.py test [OPTION ...]   run all tests; options are those of pytest

Everything is installed into .tools and .venv beside this file. On Linux, a napari
window also needs some system libraries, and the tests a virtual screen: what is
missing is installed with apt-get if you are root, and named if you are not.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
ON_LINUX = sys.platform.startswith("linux")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
SUFFIX = ".exe" if os.name == "nt" else ""

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

SAVE_ASTRONAUT = """
import sys
from skimage import data, io
io.imsave(sys.argv[1], data.astronaut(), check_contrast=False)
"""


def run(images):
    """Compress `images` or an example; show them in napari if there is a screen."""
    screen = has_screen()
    sync("--no-default-groups", *(["--extra", "gui"] if screen else []))
    if not images:
        example = Path.cwd() / "astronaut.png"
        if not example.exists():
            call([program("python"), "-c", SAVE_ASTRONAUT, example])
        images = [example]
    # An earlier run's result is replaced, so that the command can be repeated.
    call([program("napari-kmeans"), "--force", "--", *images])
    if not screen:
        print("There is no screen, so napari was not opened.")
        return
    install_for_window()
    print("Opening napari ...", flush=True)
    widget = ["-w", "napari-kmeans", "K-means colors"]
    call([program("napari"), *images, *widget])


def test(options):
    """Run the whole test suite, on Linux in a real window on a virtual screen."""
    if ON_LINUX:
        install_for_window(SCREEN_PROGRAMS)
    sync()
    # A process for each core, which gets whole files.
    workers = ["-n", "auto", "--dist", "loadfile"]
    command = [program("python"), "-m", "pytest", *workers, *options]
    if ON_LINUX:
        # A desktop's own choice of display must not lead out of the virtual screen.
        environment = os.environ | {"QT_QPA_PLATFORM": "xcb"}
        environment.pop("WAYLAND_DISPLAY", None)
        call([*VIRTUAL_SCREEN, *command], cwd=ROOT, env=environment)
    else:
        call(command, cwd=ROOT)


def sync(*options):
    """Bring .venv up to date, and keep what is installed there already."""
    uv = TOOLS / "bin" / f"uv{SUFFIX}"
    if not uv.exists():
        print("Setting up: uv ...", flush=True)
        pip = [sys.executable, "-m", "pip"]
        if subprocess.run([*pip, "--version"], capture_output=True).returncode:
            sys.exit(f"dev.py needs pip, and {sys.executable} has none")
        call([*pip, "install", "-qq", "--target", TOOLS, "--upgrade", "uv"])
    if not (ROOT / ".venv").exists():
        print("Setting up: .venv ...", flush=True)
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    python = ["--python", sys.executable]
    call(
        [uv, "sync", "--quiet", "--inexact", *python, *options],
        cwd=ROOT,
        env=environment,
    )


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
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(
            "A napari window needs system packages that are missing. On Debian or "
            f"Ubuntu:\n  sudo apt-get install {' '.join(missing)}"
        )
    print("Setting up:", *missing, "...", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "--no-install-recommends", *missing]
    for command in (["apt-get", "update", "-qq"], install):
        call(command, env=environment, stdout=subprocess.DEVNULL)


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
    """Run a command; leave with its exit status if it fails."""
    try:
        status = subprocess.run(command, **options).returncode
    except KeyboardInterrupt:
        status = 130
    if status:
        print("dev.py: failed:", shlex.join(map(str, command)), file=sys.stderr)
        sys.exit(status)


def main(arguments):
    """Run the command named first in `arguments`."""
    commands = {"run": run, "test": test}
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
