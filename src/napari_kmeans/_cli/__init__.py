"""The command line: image files in, smaller files out, one line for each."""

from napari_kmeans._cli.commands import main

__all__ = ["main"]
