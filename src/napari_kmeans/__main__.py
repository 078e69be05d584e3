"""The command line as ``python -m napari_kmeans``."""

from napari_kmeans._cli import run

if __name__ == "__main__":
    run()
