"""What fuzzers have found, and the files that they start from, are read as promised."""

from pathlib import Path

import pytest

from fuzz.seeds import SEEDS
from fuzz.targets import TARGETS, strictly

CORPUS = Path(__file__).parent / "corpus"
FINDINGS = sorted(path for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=f"{path.parent.name}-{path.name}") for path in FINDINGS],
)
def test_a_finding_stays_mended(path):
    with strictly():
        TARGETS[path.parent.name].check(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_and_their_halves_are_read_as_promised(name):
    for seed in SEEDS[name]():
        for content in (seed, seed[: len(seed) // 2], seed[:-1], seed + seed):
            with strictly():
                TARGETS[name].check(content)


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for path in FINDINGS) < 200_000
