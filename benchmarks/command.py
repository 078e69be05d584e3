"""The command against pngquant: whole processes, by turns.

    python benchmarks/command.py PHOTO... -k 16 64 256

Photos are PNG or JPEG files; pngquant must be on the PATH, at its default speed. Each
round runs all programs once; wall and CPU seconds are the least of all rounds, after
one that is not counted. pngquant reads no JPEG files: Pillow decodes these for it. The
squared error is that of 8-bit RGB pixels, summed over the channels, mean over pixels.
Quotients are by the numbers of pngquant alone: below 1 is less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

# Nothing large: a process that is started has the memory of this one at first.

EFFORTS = ("fast", "normal", "best")
AS_PNG = "import sys; from PIL import Image; Image.open(sys.argv[1]).convert('RGB')"
AS_PNG += ".save(sys.stdout.buffer, 'PNG', compress_level=1)"
OPTIMIZE = "import oxipng, sys; oxipng.optimize(sys.argv[1], sys.argv[1], level=2)"


def main() -> None:
    """Print a table for each photo and number of colors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("-k", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--efforts", nargs="+", choices=EFFORTS, default=EFFORTS)
    arguments = parser.parse_args()
    # As after an installation, whose modules are compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(
        "| photo | k | program | wall (s) | CPU (s) | MB | bytes | squared error ",
        end="",
    )
    print("| wall quotient | CPU quotient | bytes quotient | error quotient |")
    print("|---|--:|---|" + "--:|" * 9)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "few.png")
        for photo in arguments.photos:
            for k in arguments.k:
                programs = commands(photo, k, target, arguments.efforts)
                print_rows(photo, k, programs, target, arguments.rounds)
    print(f"\nLoad of the machine at the end: {os.getloadavg()[0]:.1f}.")


def commands(
    photo: Path, k: int, target: Path, efforts: list[str]
) -> dict[str, list[list[str]]]:
    """Return the processes that each program takes; one may feed the next."""
    ours = [sys.executable, "-m", "napari_kmeans", "--force", "-q", "-k", str(k)]
    pngquant = ["pngquant", "--force", "--output", str(target), str(k)]
    if photo.suffix.lower() == ".png":
        peer = [[*pngquant, str(photo)]]
    else:
        peer = [[sys.executable, "-c", AS_PNG, str(photo)], [*pngquant, "-"]]
    programs = {
        f"napari-kmeans, {e}": [[*ours, "--effort", e, "-o", str(target), str(photo)]]
        for e in efforts
    }
    optimize = [sys.executable, "-c", OPTIMIZE, str(target)]
    return programs | {"pngquant": peer, "pngquant + oxipng": [*peer, optimize]}


def print_rows(
    photo: Path,
    k: int,
    programs: dict[str, list[list[str]]],
    target: Path,
    rounds: int,
) -> None:
    """Run all programs by turns, and print a row for each."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in programs}
    results = {}
    for number in range(rounds + 1):
        for name, processes in programs.items():
            used = run(processes)
            if number:
                found[name].append(used)
            else:
                with ProcessPoolExecutor(1, get_context("spawn")) as beside:
                    error = beside.submit(squared_error, photo, target).result()
                results[name] = target.stat().st_size, error
    least = {name: [min(x) for x in zip(*found[name], strict=True)] for name in found}
    bytes_of, error_of = results["pngquant"]
    for name, (wall, cpu, megabytes) in least.items():
        n_bytes, error = results[name]
        row = (
            f"| {photo.name} | {k} | {name} | {wall:.2f} | {cpu:.2f} | {megabytes:.0f} "
        )
        row += f"| {n_bytes:,} | {error:.2f} | {wall / least['pngquant'][0]:.2f} "
        row += f"| {cpu / least['pngquant'][1]:.2f} "
        print(f"{row}| {n_bytes / bytes_of:.3f} | {error / error_of:.3f} |", flush=True)


def run(processes: list[list[str]]) -> tuple[float, float, float]:
    """Run processes in turn, and return wall and CPU seconds and peak megabytes.

    What one writes to its standard output is read by the next.
    """
    start, cpu, peak = time.perf_counter(), 0.0, 0.0
    with tempfile.TemporaryFile() as between:
        for words in processes:
            between.seek(0)
            process = subprocess.Popen(words, stdin=between, stdout=between)
            _, status, used = os.wait4(process.pid, 0)
            if status:
                msg = f"{words}: status {os.waitstatus_to_exitcode(status)}"
                raise SystemExit(msg)
            cpu += used.ru_utime + used.ru_stime
            peak = max(peak, used.ru_maxrss / 1024)
    return time.perf_counter() - start, cpu, peak


def squared_error(photo: Path, target: Path) -> float:
    """Return the error of the 8-bit RGB pixels, block by block."""
    import numpy as np
    from PIL import Image

    before, after = (np.asarray(Image.open(p).convert("RGB")) for p in (photo, target))
    blocks = range(0, len(before), 256)
    sums = [
        np.square(before[a : a + 256].astype(int) - after[a : a + 256]).sum()
        for a in blocks
    ]
    return float(sum(sums)) * 3 / before.size


if __name__ == "__main__":
    main()
