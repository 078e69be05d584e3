"""Run tests with other versions, in an environment of their own.

    python tests/versions.py SET [OPTION ...]

`oldest` has the lower bounds of pyproject.toml, on the oldest Python. `prereleases` has
versions that are not released yet, on the newest Python of this machine. `newest` is
that Python, and a number like 3.12 another one, with the latest releases. Options are
those of pytest; without any, the tests of core, files and command run. `.ci/run` calls
this program, which needs uv and nothing of what is tested.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = [sys.executable, "-m", "uv"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = re.findall(r"Python :: (3\.\d+)\n", "\n".join([*PROJECT["classifiers"], ""]))
EXTRAS = ",".join(PROJECT["optional-dependencies"])
RESOLVE = {
    "oldest": ["--resolution", "lowest-direct"],
    "prereleases": ["--prerelease", "allow"],
}
TESTS = ["-n", "auto", "--dist", "loadfile", "tests/core", "tests/files", "tests/cli"]


def find_pythons():
    """Return the paths of the Pythons that are supported and on this machine."""
    environment = dict(os.environ)
    if shutil.which("pyenv"):
        # Its programs start the versions that are named, and fail for all others.
        bare = subprocess.run(["pyenv", "versions", "--bare"], stdout=subprocess.PIPE)
        environment["PYENV_VERSION"] = ":".join(bare.stdout.decode().split())
    options = {"check": True, "env": environment, "stdout": subprocess.PIPE}
    installed = ["--only-installed", "--output-format", "json"]
    listed = subprocess.run([*UV, "python", "list", *installed], cwd=ROOT, **options)
    found = {}
    for python in json.loads(listed.stdout):
        number = "{major}.{minor}".format(**python["version_parts"])
        if number in PYTHONS and number not in found and python["variant"] == "default":
            # Not the path of pyenv, which stands for many.
            ask = [python["path"], "-c", "import sys; print(sys.executable)"]
            found[number] = subprocess.run(ask, **options).stdout.decode().strip()
    return found


def main(name, *options):
    """Make the environment away from the checkout, and run the tests in it."""
    pythons = find_pythons()
    missing = [number for number in PYTHONS if number not in pythons]
    if missing:
        print("Not found on this machine: Python", ", ".join(missing))
    newest = max(pythons, key=PYTHONS.index)
    numbers = {"oldest": PYTHONS[0], "prereleases": newest, "newest": newest}
    number = numbers.get(name, name)
    if number not in pythons:
        sys.exit(f"no set of versions, and no Python on this machine: {number}")
    print(f"The {name} versions, on Python {number}:", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*UV, "venv", "-q", "-p", pythons[number], folder], check=True)
        install = [*UV, "pip", "install", "-p", folder, *RESOLVE.get(name, [])]
        project = ["--group", "test", "--editable", f".[{EXTRAS}]"]
        subprocess.run([*install, *project], check=True, cwd=ROOT)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        test = [python, "-m", "pytest", "-p", "no:cacheprovider"]
        done = subprocess.run([*test, *(options or TESTS)], cwd=ROOT)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
