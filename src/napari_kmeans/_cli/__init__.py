"""The command line: image files in, smaller files out, one line for each."""

import os
import sys

from napari_kmeans._cli.commands import main
from napari_kmeans._cli.running import INTERRUPTED

__all__ = ["main", "run"]


def run() -> None:
    """Run the program; if it fails or is ended, no thread of dask goes on."""
    try:
        main()
    except SystemExit as end:
        if end.code in (1, INTERRUPTED) and "dask" in sys.modules:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(int(end.code))
        raise
