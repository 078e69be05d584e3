"""Time, error and memory of color quantizers on one image, in one run.

    python benchmarks/peers.py IMAGE -k 16 --megapixels 15
    python benchmarks/peers.py FOLDER -k 256 --megapixels 4 --skip "scipy kmeans2"
    python benchmarks/peers.py FOLDER --growth

Every call takes a uint8 RGB array and gives one. Calls of all are interleaved, so that
they meet the same load of the machine: trust the ratios, not the times. IMAGE is cut to
size around its middle; of the photos of a FOLDER, different crops are laid side by
side. Without either, photos of scikit-image are. With --against, another checkout of
napari-kmeans is one of the peers. Debian's packages mate-backgrounds and
plasma-workspace-wallpapers have photos of 15 megapixels and more. The programs that are
compared make up the dependency group "peers".
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.photos import cropped, sample_photos, tiled
from benchmarks.sides import import_other
from PIL import Image

from napari_kmeans import quantize_kmeans

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    RGB = NDArray[np.uint8]

# 15-megapixel photos are no attack.
Image.MAX_IMAGE_PIXELS = None

GROWTH_MEGAPIXELS = (1, 4, 16, 64)
GROWTH_K = (16, 64, 256)
IMPORT_TIME = """
import time, numpy
start = time.perf_counter()
import napari_kmeans
print(time.perf_counter() - start)
"""


def use_napari_kmeans(image: RGB, k: int) -> RGB:
    """Fit all pixels, 10 iterations."""
    return quantize_kmeans(image, k)


def use_sklearn(image: RGB, k: int) -> RGB:
    """Fit all pixels, 10 iterations after its k-means++."""
    from sklearn.cluster import KMeans

    pixels = image.reshape(-1, 3).astype(np.float32)
    model = KMeans(k, max_iter=10, n_init=1, tol=0, random_state=0).fit(pixels)
    return rounded(model.cluster_centers_)[model.labels_].reshape(image.shape)


def use_opencv(image: RGB, k: int) -> RGB:
    """Fit all pixels, 10 iterations after its k-means++."""
    import cv2

    pixels = image.reshape(-1, 3).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0)
    cv2.setRNGSeed(0)
    _, labels, centers = cv2.kmeans(pixels, k, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    return rounded(centers)[labels[:, 0]].reshape(image.shape)


def use_faiss(image: RGB, k: int) -> RGB:
    """Fit the 256 k pixels that it draws by default, 10 iterations."""
    import faiss

    pixels = image.reshape(-1, 3).astype(np.float32)
    model = faiss.Kmeans(3, k, niter=10, seed=0)
    model.train(pixels)
    _, labels = model.index.search(pixels, 1)
    return rounded(model.centroids)[labels[:, 0]].reshape(image.shape)


def use_scipy(image: RGB, k: int) -> RGB:
    """Fit all pixels, 10 iterations after random pixels."""
    from scipy.cluster.vq import kmeans2

    pixels = image.reshape(-1, 3).astype(np.float32)
    centers, labels = kmeans2(pixels, k, iter=10, minit="points", rng=0)
    return rounded(centers)[labels].reshape(image.shape)


def use_imagequant(image: RGB, k: int) -> RGB:
    """Fit as it likes, without dithering."""
    import imagequant

    height, width = image.shape[:2]
    opaque = np.full((height, width, 4), 255, np.uint8)
    opaque[..., :3] = image
    labels, palette = imagequant.quantize_raw_rgba_bytes(
        opaque.tobytes(), width, height, dithering_level=0.0, max_colors=k
    )
    colors = np.array(palette, np.uint8).reshape(-1, 4)[:, :3]
    return colors[np.frombuffer(labels, np.uint8)].reshape(image.shape)


def use_fastoctree(image: RGB, k: int) -> RGB:
    """Cut an octree."""
    return pillow(image, k, Image.Quantize.FASTOCTREE, 0)


def use_mediancut(image: RGB, k: int) -> RGB:
    """Cut boxes at the median."""
    return pillow(image, k, Image.Quantize.MEDIANCUT, 0)


def use_mediancut_kmeans(image: RGB, k: int) -> RGB:
    """Cut boxes at the median, then iterate until nothing changes."""
    return pillow(image, k, Image.Quantize.MEDIANCUT, 1)


def pillow(image: RGB, k: int, method: Image.Quantize, kmeans: int) -> RGB:
    """Quantize with Pillow, without dithering."""
    quantized = Image.fromarray(image).quantize(
        k, method, kmeans, dither=Image.Dither.NONE
    )
    return np.array(quantized.convert("RGB"))


def rounded(centers: NDArray[Any]) -> RGB:
    """Give centers as colors."""
    return np.clip(np.rint(centers), 0, 255).astype(np.uint8)


OURS = "napari-kmeans"
OTHER = "napari-kmeans before"
# Name, the distribution it comes from, and the largest k it knows.
PEERS: dict[str, tuple[Callable[[RGB, int], RGB], str, int]] = {
    OURS: (use_napari_kmeans, "napari-kmeans", 65536),
    "scikit-learn": (use_sklearn, "scikit-learn", 65536),
    "OpenCV": (use_opencv, "opencv-python-headless", 65536),
    "faiss": (use_faiss, "faiss-cpu", 65536),
    "scipy kmeans2": (use_scipy, "scipy", 65536),
    "imagequant": (use_imagequant, "imagequant", 256),
    "FASTOCTREE": (use_fastoctree, "pillow", 256),
    "MEDIANCUT": (use_mediancut, "pillow", 256),
    "MEDIANCUT kmeans": (use_mediancut_kmeans, "pillow", 256),
}


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("image", type=Path, nargs="?", help="image, or folder of them")
    parser.add_argument("-k", type=int, default=16, help="colors (default: 16)")
    parser.add_argument("--megapixels", type=float, help="default: all, or 4 of a set")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--skip", nargs="+", default=[], choices=list(PEERS)[1:], metavar="PEER"
    )
    parser.add_argument(
        "--no-memory", action="store_true", help="spare the calls that measure memory"
    )
    parser.add_argument(
        "--growth", action="store_true", help="show how our own cost grows instead"
    )
    parser.add_argument("--against", type=Path, help="another checkout, as a peer")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    others = []
    if arguments.against:
        PEERS[OTHER] = (import_other(arguments.against).quantize_kmeans, "", 65536)
        others = ["--against", str(arguments.against)]
    if arguments.alone:
        name, array = arguments.alone
        print(extra_memory(name, np.load(array), arguments.k))
        return
    print(machine(), end="\n\n")
    photos = (
        [np.asarray(Image.open(p).convert("RGB")) for p in files(arguments.image)]
        if arguments.image
        else sample_photos()
    )
    if arguments.growth:
        print_growth(photos, arguments.rounds)
    else:
        image, words = sized(photos, arguments.megapixels)
        names = [name for name in PEERS if name not in arguments.skip]
        names = [name for name in names if arguments.k <= PEERS[name][2]]
        measure_memory = not arguments.no_memory
        print(f"{words}, k = {arguments.k}, best of {arguments.rounds} rounds\n")
        # The two stand side by side, also in time.
        names.sort(key=lambda name: name not in (OURS, OTHER))
        print_peers(image, arguments.k, names, arguments.rounds, measure_memory, others)


def print_peers(
    image: RGB,
    k: int,
    names: list[str],
    rounds: int,
    measure_memory: bool,
    others: list[str],
) -> None:
    """Print time, error and memory of each; `others` are options for all processes."""
    warm_up = np.ascontiguousarray(image[:64, :64])
    outputs = {}
    for name in names:
        PEERS[name][0](warm_up, min(k, 16))
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            # Threads of the last one may spin for a while.
            time.sleep(0.3)
            start = time.perf_counter()
            output = PEERS[name][0](image, k)
            times[name].append(time.perf_counter() - start)
            if number == 0:
                outputs[name] = squared_error(image, output)
    print(
        "| | time (s) | median (s) | times ours | squared error | extra memory (MB) |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        array = Path(folder, "image.npy")
        np.save(array, image)
        for name in names:
            memory = "-"
            if measure_memory:
                memory = f"{memory_of(name, array, k, others):.0f}"
            best = min(times[name])
            print(
                f"| {name} {version_of(PEERS[name][1])} | {best:.3f} "
                f"| {statistics.median(times[name]):.3f} "
                f"| {best / min(times[OURS]):.2f} | {outputs[name]:.2f} | {memory} |",
                flush=True,
            )


def print_growth(photos: list[RGB], rounds: int) -> None:
    """Print our time and memory for several sizes and numbers of colors."""
    print(f"Best of {rounds} rounds: seconds (and MB beyond input and output)\n")
    print("| image | copy() |" + "".join(f" k={k} |" for k in GROWTH_K))
    print("|---|--:|" + "--:|" * len(GROWTH_K))
    for megapixels in GROWTH_MEGAPIXELS:
        image, words = sized(photos, megapixels)
        row = f"| {words} | {best_of(rounds, image.copy):.3f} |"
        with tempfile.TemporaryDirectory() as folder:
            array = Path(folder, "image.npy")
            np.save(array, image)
            for k in GROWTH_K:
                seconds = best_of(rounds, quantize_kmeans, image, k)
                row += f" {seconds:.3f} ({memory_of(OURS, array, k, []):.0f}) |"
        print(row, flush=True)


def best_of(rounds: int, function: Callable[..., object], *arguments: Any) -> float:
    """Give the shortest of the times of several calls."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


def files(path: Path) -> list[Path]:
    """Give the image that `path` is, or those in it."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix in (".png", ".jpg", ".jpeg"))


def sized(photos: list[RGB], megapixels: float | None) -> tuple[RGB, str]:
    """Give an image of the size, and say how it was made."""
    if len(photos) == 1 and (
        megapixels is None or megapixels * 1e6 <= photos[0].size // 3
    ):
        n_pixels = int(megapixels * 1e6) if megapixels else photos[0].size // 3
        image, how = cropped(photos[0], n_pixels), "part of one photo"
    else:
        image = tiled(photos, int((megapixels or 4) * 1e6))
        number = "one photo" if len(photos) == 1 else f"{len(photos)} photos"
        how = f"different crops of {number}"
    codes = image.reshape(-1, 3) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    n_colors = np.count_nonzero(np.bincount(codes, minlength=1 << 24))
    return image, f"{image.size / 3e6:.1f} MP, {how}, {n_colors} colors"


def squared_error(image: RGB, output: RGB) -> float:
    """Give the mean over pixels of the squared distance."""
    total = 0
    for row, other in zip(image, output, strict=True):
        difference = row.astype(np.int64) - other
        total += int((difference * difference).sum())
    return total * 3 / image.size


def memory_of(name: str, array: Path, k: int, others: list[str]) -> float:
    """Measure, in a process of its own, the megabytes that one call takes."""
    command = [sys.executable, __file__, "--alone", name, str(array), "-k", str(k)]
    command += others
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def extra_memory(name: str, image: RGB, k: int) -> float:
    """Give the megabytes that one call takes beyond its input and output."""
    function = PEERS[name][0]
    # Libraries and their threads are not what is measured.
    function(np.ascontiguousarray(image[:64, :64]), min(k, 16))
    before = peak_memory()
    output = function(image, k)
    return (peak_memory() - before - output.nbytes) / 1e6


def peak_memory() -> int:
    """Give the most bytes that this process ever had in memory."""
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike getrusage, without what the parent process had.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine() -> str:
    """Describe the machine, in one line."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {os.cpu_count()} cores{load}; Python {platform.python_version()}, "
        f"NumPy {np.__version__}; import beyond NumPy's own {import_time():.3f} s"
    )


def import_time() -> float:
    """Measure the seconds that importing the package takes after NumPy."""
    command = [sys.executable, "-c", IMPORT_TIME]
    return min(
        float(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(5)
    )


def version_of(distribution: str) -> str:
    """Give the version of a distribution, if it is installed under that name."""
    try:
        return version(distribution) if distribution else ""
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
