"""Plant faults in the core and the files, one at a time, and see whether tests fail.

    python tests/mutants/run.py [MODULE ...]

draws 200 mutants of all those of `_core` and `_files`, runs each against the tests of
its module, and writes list.csv beside this file after each one, so that it can be
stopped. It runs what has no answer there: new mutants, and survivors without a reason;
of modules that are named, as `_core/lloyd`, all. That takes half an hour on one core.

A mutant is the source with one change. A comparison, or an operator of arithmetic, bits
or logic becomes its neighbor; a number one more or one less; a truth the other one. A
condition that is no comparison is negated; `not`, `-` or `~` is dropped; None is
returned; `break` and `continue` are exchanged. A call, a `raise`, a `del`, or an
assignment that is not to a name is left out. Formatted texts, annotations, `__all__`
and what only type checkers read stay. The seed and the text of each mutant alone decide
whether it is drawn: a change of the source draws new mutants only where it was made.

The mutants live in a copy of the source. One that takes five times as long as the tests
of the sound source, or 8 GB of memory, is found, too. Linux and macOS only.
"""

import ast
import compileall
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "napari_kmeans"
LIST = Path(__file__).with_name("list.csv")
SEED, N_DRAWN = 1, 200
SURVIVED = "survived"

# Files of tests that a module has beside the one of its name.
MORE_TESTS = {
    "_core/color_counts": ["chunks"],
    "_core/color_tables": ["color_counts"],
    "_core/counted_image": ["arguments", "channel_weights"],
    "_core/mapping": ["chunks"],
    "_core/spaces": ["pixels"],
    "_files/formats": ["write"],
    "_files/gif": ["films"],
    "_files/indexed": ["films"],
    "_files/metadata": ["films", "write", "read", "tiff", "indexed"],
    "_files/png": ["films"],
    "_files/read": ["films"],
    "_files/tiff": ["write", "tiff_colors", "indexed"],
    "_files/tiff_colors": ["read", "slides"],
    "_files/write": ["read"],
}
# Most plugins take longer to load than most of these tests to run.
PLUGINS = ["-p", "_hypothesis_pytestplugin", "-p", "pytestqt.plugin"]
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]

PAIRS = [
    (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn), (ast.Add, ast.Sub), (ast.Mult, ast.Div),
    (ast.LShift, ast.RShift), (ast.BitAnd, ast.BitOr), (ast.And, ast.Or),
    (ast.Break, ast.Continue),
]  # fmt: skip
NEIGHBORS = dict(PAIRS) | {b: a for a, b in PAIRS} | {ast.BitXor: ast.BitAnd}
NEIGHBORS |= dict.fromkeys([ast.FloorDiv, ast.Mod, ast.Pow], ast.Mult)
REMOVABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Delete)


class Mutant(NamedTuple):
    """A change of the source: bytes `start` to `end` of a module become `text`."""

    module: str
    line: int
    function: str
    change: str
    start: int
    end: int
    text: str

    @property
    def key(self):
        return self.module, self.function, self.change


def changed(node):
    """Yield what may stand in the place of a node of the tree."""
    match node:
        case ast.Compare(ops=ops):
            for i, old in enumerate(ops):
                swapped = [*ops[:i], NEIGHBORS[type(old)](), *ops[i + 1 :]]
                yield ast.Compare(node.left, swapped, node.comparators)
        case ast.BinOp() if type(node.op) in NEIGHBORS:
            yield ast.BinOp(node.left, NEIGHBORS[type(node.op)](), node.right)
        case ast.BoolOp():
            yield ast.BoolOp(NEIGHBORS[type(node.op)](), node.values)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
        case ast.Return(value=ast.expr()) if ast.unparse(node) != "return None":
            yield ast.Return(ast.Constant(None))
        case ast.Break() | ast.Continue():
            yield NEIGHBORS[type(node)]()
        case ast.Expr(value=ast.Constant()):
            return  # A docstring.
        case ast.Assign(targets=[ast.Name() | ast.Tuple()]):
            return
    if isinstance(node, REMOVABLE):
        yield ast.Pass()


def children(node):
    """Yield the parts of a node that are run, and are no formatted text."""
    match node:
        case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.JoinedStr():
            return
        case ast.Assign(targets=[ast.Name("__all__")]):
            return
        case ast.AnnAssign(annotation=ast.Name("TypeAlias")):
            return
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            values = value if isinstance(value, list) else [value]
            yield from (v for v in values if isinstance(v, ast.AST))


def changes_below(tree, function=""):
    """Yield all changes below a node: the function, the old node and the new one."""
    for node in children(tree):
        yield from ((function, node, new) for new in changed(node))
        is_choice = isinstance(node, ast.If | ast.While | ast.IfExp)
        for test in [node.test] if is_choice else getattr(node, "ifs", []):
            if not isinstance(test, ast.Compare | ast.UnaryOp):
                yield function, test, ast.UnaryOp(ast.Not(), test)
        is_scope = isinstance(node, ast.FunctionDef | ast.ClassDef)
        inner = f"{function}.{node.name}".strip(".") if is_scope else function
        yield from changes_below(node, inner)


def mutants_of(path):
    """List all mutants of a module."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    module = path.relative_to(SOURCE).with_suffix("").as_posix()
    mutants, seen = [], Counter()
    for function, old, new in changes_below(ast.parse(source)):
        start = starts[old.lineno - 1] + old.col_offset
        end = starts[old.end_lineno - 1] + old.end_col_offset
        before = source[starts[old.lineno - 1] : start].decode().lstrip()
        after = source[end : starts[old.end_lineno]].decode().rstrip()
        text = ast.unparse(new)
        change = f"{before}[[{ast.unparse(old)} -> {text}]]{after}"
        seen[function, change] += 1
        if seen[function, change] > 1:
            change += f" ({seen[function, change]})"
        text = f"({text})" if isinstance(new, ast.expr) else text
        mutants.append(Mutant(module, old.lineno, function, change, start, end, text))
    return mutants


def drawn():
    """List the mutants that come first in an order which the seed shuffles."""
    paths = sorted([*SOURCE.glob("_core/*.py"), *SOURCE.glob("_files/*.py")])
    mutants = [mutant for path in paths for mutant in mutants_of(path)]
    print(f"{N_DRAWN} of {len(mutants)} mutants", flush=True)
    mutants.sort(key=lambda m: random.Random(f"{SEED} {m.key}").random())
    return sorted(mutants[:N_DRAWN], key=lambda m: (m.module, m.start))


def first_failure(folder, module, limit=None):
    """Name the first test of a module that fails on the source in a folder, or None."""
    package, name = module.removeprefix("_").split("/")
    names = [name, *MORE_TESTS.get(module, [])]
    files = [ROOT / "tests" / package / f"test_{name}.py" for name in names]
    files = [file for file in files if file.exists()]
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": tempfile.mkdtemp(dir=folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *PLUGINS, *OPTIONS, *files],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    try:
        told, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "time limit"
    if process.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) tests/([^\s[]+)", told, re.MULTILINE)
    return failed[1] if failed else f"exit status {process.returncode}"


def run(mutants, folder):
    """Yield each mutant and what killed it, or that it survived."""
    limits = {}
    copied = Path(shutil.copytree(SOURCE, folder / SOURCE.name))
    compileall.compile_dir(copied, quiet=1)
    for mutant in mutants:
        path = copied / f"{mutant.module}.py"
        if mutant.module not in limits:
            begin = time.monotonic()
            if failed := first_failure(folder, mutant.module):
                sys.exit(f"the sound source fails {failed}")
            limits[mutant.module] = 5 * (time.monotonic() - begin)
        sound, stat = path.read_bytes(), path.stat()
        text = mutant.text.encode()
        path.write_bytes(sound[: mutant.start] + text + sound[mutant.end :])
        yield mutant, first_failure(folder, mutant.module, limits[mutant.module])
        path.write_bytes(sound)
        # So that what was compiled of it counts again.
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def read_list():
    """Return the rows of the list by the keys of their mutants."""
    if not LIST.exists():
        return {}
    with LIST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["module"], row["function"], row["change"]): row for row in rows}


def write_list(rows):
    """Write the list of the mutants, in the order of the source."""
    names = ["module", "line", "function", "change", "killed by", "why"]
    with LIST.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(modules):
    """Run what has no answer yet, or the modules that are named."""
    import resource  # Windows has none.

    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    mutants, known = drawn(), read_list()
    new = {"killed by": "", "why": ""}
    rows = {m.key: new | known.get(m.key, {}) | m._asdict() for m in mutants}
    wanted = (
        [m for m in mutants if m.module in modules]
        if modules
        else [
            m
            for m in mutants
            if rows[m.key]["killed by"] in ("", SURVIVED) and not rows[m.key]["why"]
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        for mutant, failed in run(wanted, Path(folder)):
            by = rows[mutant.key]["killed by"] = failed or SURVIVED
            print(f"{by}: {mutant.module}:{mutant.line} {mutant.change}", flush=True)
            write_list(rows.values())
    write_list(rows.values())
    n_killed = sum(row["killed by"] not in ("", SURVIVED) for row in rows.values())
    print(f"{n_killed} killed")


if __name__ == "__main__":
    main(sys.argv[1:])
