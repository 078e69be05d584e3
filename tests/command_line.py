"""Ways to run the command line, and to look at what comes out."""

import subprocess
import sys

import numpy as np
from click.testing import CliRunner
from PIL import Image, ImageOps

from napari_kmeans import _cli

FEW_COLORS = np.array([[[9, 8, 7], [250, 0, 0]], [[9, 8, 7], [0, 0, 99]]], np.uint8)


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(_cli.main, words, prog_name="napari-kmeans")


def run_process(*arguments, **options):
    command = [sys.executable, "-m", "napari_kmeans", *arguments]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=120, **options
    )


def refusal(result):
    """The only line of a refused call."""
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def upright(path):
    with Image.open(path) as image:
        return np.array(ImageOps.exif_transpose(image))


def pixels(path, mode="RGB"):
    with Image.open(path) as image:
        return np.array(image.convert(mode))
