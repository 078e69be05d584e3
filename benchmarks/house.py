"""Measures of the source tree, and of another checkout's beside it.

    python benchmarks/house.py --against OTHER_CHECKOUT

Lines are lines of code: no blanks, comments or docstrings. The length of a function is
that from `def` to its end without its docstring, and `self` is no parameter.
`tests/test_house.py` holds the limits.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
import tomllib
from collections import Counter
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[1]
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--against", type=Path, help="the other checkout")
    other = parser.parse_args().against
    columns = [measure(other), measure(ROOT)] if other else [measure(ROOT)]
    names = dict.fromkeys(name for column in columns for name in column)
    print("| | other | here |\n|---|--:|--:|" if other else "| | here |\n|---|--:|")
    for name in sorted(names, key=lambda name: not name.startswith("lines of")):
        print(f"| {name} | {' | '.join(str(c.get(name, '-')) for c in columns)} |")


def measure(root: Path) -> dict[str, int]:
    """Return the measures of a checkout by their names."""
    source = root / "src" / "napari_kmeans"
    trees = {path: ast.parse(path.read_text()) for path in source.rglob("*.py")}
    lines: Counter[str] = Counter()
    for path in sorted(trees):
        room = path.relative_to(source).parts[0]
        is_here = (ROOT / "src" / "napari_kmeans" / room).exists()
        lines[f"lines of {room if is_here else 'others'}"] += code_lines(path)
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, Function)]
    private = sum(n.name[0] == "_" and n.name[-2:] != "__" for n in functions)
    public = exported(trees[source / "__init__.py"])
    config = tomllib.loads((root / "pyproject.toml").read_text())
    names = [called(node.targets[0]) for node in nodes if isinstance(node, ast.Assign)]
    calls = [called(node) for node in nodes if isinstance(node, ast.Call)]
    return dict(lines) | {
        "lines in all": lines.total(),
        "modules": len(trees),
        "public functions": len(functions) - private,
        "private functions": private,
        "functions over 50 lines": sum(length(n) > 50 for n in functions),
        "functions of over 8 parameters": sum(
            n_parameters(n) > 8 and n.name not in public and not is_command(n)
            for n in functions
        ),
        "record types": sum(is_record(node) for node in nodes),
        "constants called _BLOCK": names.count("_BLOCK"),
        "calls of checkpoint": calls.count("checkpoint"),
        "import contracts": len(config["tool"]["importlinter"]["contracts"]),
    }


def code_lines(path: Path) -> int:
    """Count the lines of a module that are code."""
    text = path.read_text()
    docs = {n for node in ast.walk(ast.parse(text)) for n in docstring_lines(node)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = (t for t in tokens if t.string.strip() and t.type != tokenize.COMMENT)
    return len({n for t in code for n in range(t.start[0], t.end[0] + 1)} - docs)


def docstring_lines(node: ast.AST) -> range:
    """Return the numbers of the lines that the docstring of a node takes."""
    has_one = isinstance(node, ast.Module | ast.ClassDef | Function)
    if not has_one or ast.get_docstring(node) is None:
        return range(0)
    return range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def length(function: Function) -> int:
    """Count the lines of a function without its docstring."""
    end = function.end_lineno or 0
    return end - function.lineno + 1 - len(docstring_lines(function))


def n_parameters(function: Function) -> int:
    """Count the parameters of a function without `self`."""
    found = [node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)]
    return len(found) - (found[:1] in (["self"], ["cls"]))


def called(node: ast.expr) -> str:
    """Return the last name of a dotted name or of what a call calls."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def is_command(function: Function) -> bool:
    """Whether click calls a function with the options of a command."""
    return any(called(node) == "command" for node in function.decorator_list)


def is_record(node: ast.AST) -> bool:
    """Whether a node is the class of a NamedTuple or a dataclass."""
    return isinstance(node, ast.ClassDef) and bool(
        {*map(called, node.bases), *map(called, node.decorator_list)}
        & {"NamedTuple", "dataclass"}
    )


def exported(package: ast.Module) -> set[str]:
    """Return the names of the public functions."""
    lists = [n.value for n in package.body if isinstance(n, ast.Assign)]
    # Keys are the names of those that `__getattr__` loads.
    return {
        name
        for node in lists
        if isinstance(node, ast.List | ast.Dict)
        for name in ast.literal_eval(node)
    }


if __name__ == "__main__":
    main()
