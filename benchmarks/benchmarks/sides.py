"""Two checkouts that answer by turns, each from a process of its own.

A script asks `Side`s of itself, which run it with ``--serve`` and the package of
another checkout, and answer there by `serve`. `by_turns` asks two of them the same.
`import_other` has the functions of another checkout in the same process instead.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

__all__ = [
    "ROOT",
    "Side",
    "by_turns",
    "environment",
    "import_other",
    "medians",
    "serve",
]

ROOT = Path(__file__).resolve().parents[2]


def environment(checkout: Path) -> dict[str, str]:
    """Return an environment in which Python imports the package of a checkout."""
    source = checkout.resolve() / "src"
    if not (source / "napari_kmeans").is_dir():
        msg = f"there is no src/napari_kmeans in {checkout}"
        raise SystemExit(msg)
    return os.environ | {"PYTHONPATH": str(source)}


def import_other(checkout: Path) -> ModuleType:
    """Import the package of another checkout beside the one that is loaded.

    What it imports later, in a function, is found in that one.
    """
    path = environment(checkout)["PYTHONPATH"]
    ours = {name: sys.modules.pop(name) for name in _loaded()}
    sys.path.insert(0, path)
    other = import_module("napari_kmeans")
    sys.path.remove(path)
    for name in _loaded():
        del sys.modules[name]
    sys.modules.update(ours)
    return other


def _loaded() -> list[str]:
    """Return the names of the modules of the package."""
    return [n for n in sys.modules if n.partition(".")[0] == "napari_kmeans"]


class Side:
    """A script that waits for questions, with the package of a checkout."""

    def __init__(self, checkout: Path, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(script).resolve(), *arguments, "--serve"],
            env=environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: Any) -> dict[str, Any]:
        """Return the answer to a question."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            msg = f"no answer to {words}"
            raise SystemExit(msg)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(answer: Callable[..., dict[str, Any]]) -> None:
    """Answer the questions of another process until it has no more."""
    # What libraries print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), file=answers, flush=True)
    # Qt is not always able to leave.
    os._exit(0)


def by_turns(
    sides: Sequence[Side], rounds: int, *words: Any, first: int = 0
) -> list[list[dict[str, Any]]]:
    """Ask all sides the same by turns, and return the answers of each side.

    Whoever begins a round is the last in the next one; with `first` 1, the last side
    begins.
    """
    answers: list[list[dict[str, Any]]] = [[] for _ in sides]
    for number in range(first, first + rounds):
        turns = list(zip(sides, answers, strict=True))
        for side, found in turns[:: (-1) ** number]:
            found.append(side.ask(*words))
    return answers


def medians(key: str, answers: Sequence[Sequence[dict[str, Any]]]) -> list[float]:
    """Return the medians of a number before, after, and of the quotient of pairs."""
    before, after = ([answer[key] for answer in side] for side in answers)
    ratios = [new / old for old, new in zip(before, after, strict=True)]
    return [statistics.median(numbers) for numbers in (before, after, ratios)]
