"""Fuzz the readers of bytes, guided by coverage.

    python tests/fuzz/run.py [TARGET ...] [--seconds N] [--folder FOLDER]

Each target of `targets` (all if none is named) runs for N seconds in a process of its
own, from its seeds, from the inputs in `corpus` and from those that earlier runs have
left in FOLDER. It needs the dependency group `fuzz`. A finding is written to
FOLDER/findings with what was raised beside it, the first for each place; then the run
goes on. Hangs, aborts and memory beyond the limit end it. The exit status is 1 if there
is any finding.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
# For the helpers of tests.
sys.path[0] = str(HERE.parent)

# Seconds for one input, megabytes for the process, and bytes of an input.
_LIMITS = ("-timeout=20", "-rss_limit_mb=3000", "-max_len=6000")
_INSTRUMENTED = ("napari_kmeans", "tifffile", "PIL")


def main():
    """Run each target in a process, and say what was found."""
    options = _options()
    if options.inside is not None:
        _fuzz(options)
    found = []
    for name in options.targets:
        folder = options.folder / name
        findings = options.folder / "findings" / name
        findings.mkdir(parents=True, exist_ok=True)
        (folder).mkdir(parents=True, exist_ok=True)
        words = [__file__, f"--inside={name}", f"--seconds={options.seconds}"]
        words += [f"--folder={options.folder}"]
        status = subprocess.run([sys.executable, *words]).returncode
        found += sorted(findings.iterdir())
        if status:
            found.append(f"{name}: exit status {status}")
    print("\n".join(map(str, found)) or "nothing found")
    sys.exit(bool(found))


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path("fuzzing"))
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is None:
        from fuzz.seeds import SEEDS

        options.targets = options.targets or list(SEEDS)
        if unknown := set(options.targets) - SEEDS.keys():
            parser.error(f"no targets: {', '.join(unknown)}, of {', '.join(SEEDS)}")
    return options


def _fuzz(options):
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        import tifffile  # noqa: F401
        from PIL import Image

        Image.init()
        from fuzz.seeds import SEEDS
        from fuzz.targets import TARGETS, strictly

    name = options.inside
    target = TARGETS[name]
    folder, findings = options.folder / name, options.folder / "findings" / name
    for seed in SEEDS[name]():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    places = set()

    def check(content):
        try:
            with strictly():
                target.check(content)
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = type(error).__name__, *((f.filename, f.lineno) for f in frames[-3:])
            if place not in places:
                places.add(place)
                path = findings / hashlib.sha1(content).hexdigest()[:12]
                path.write_bytes(content)
                path.with_suffix(".txt").write_text(traceback.format_exc())
            if not isinstance(error, Exception):
                raise

    def mutate(content, max_size, seed):
        rng = random.Random(seed)
        return target.mutate(
            content, rng, lambda some: atheris.Mutate(some, len(some) + 64)
        )[:max_size]

    words = [sys.argv[0], f"-max_total_time={options.seconds}", *_LIMITS]
    words += [f"-artifact_prefix={findings}/", str(folder)]
    if (HERE / "corpus" / name).is_dir():
        words.append(str(HERE / "corpus" / name))
    how = {} if target.mutate is None else {"custom_mutator": mutate}
    atheris.Setup(words, check, **how)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
