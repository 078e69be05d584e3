"""The laws that every module keeps, whatever it is for."""

import ast
import inspect
import runpy
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_kmeans"
# The measures are counted in one place.
HOUSE = runpy.run_path(str(ROOT / "benchmarks" / "house.py"))
TREES = {
    path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text())
    for path in sorted(SOURCE.rglob("*.py"))
}
# Modules in folders, but for those that make a folder a package.
INNER = {
    name: tree
    for name, tree in TREES.items()
    if "/" in name and not name.endswith("__init__.py")
}
# What a module would fill later.
EMPTY = {"{}", "[]", "dict()", "list()", "set()"}
EMPTY |= {"WeakKeyDictionary()", "WeakValueDictionary()", "WeakSet()"}


def functions(module):
    return [node for node in ast.walk(TREES[module]) if hasattr(node, "returns")]


def listed(tree):
    """Names in `__all__`, or None where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


@pytest.mark.parametrize("module", TREES)
def test_functions_have_at_most_50_lines_without_docstring(module):
    long = {f.name: HOUSE["length"](f) for f in functions(module)}
    assert {name: n for name, n in long.items() if n > 50} == {}


@pytest.mark.parametrize("module", TREES)
def test_functions_have_at_most_8_parameters(module):
    # Users name those of a public function, and click those of a command.
    public = HOUSE["exported"](TREES["__init__.py"])
    assert [
        function.name
        for function in functions(module)
        if HOUSE["n_parameters"](function) > 8
        and function.name not in public
        and not HOUSE["is_command"](function)
    ] == []


@pytest.mark.parametrize("module", INNER)
def test_helpers_start_with_an_underscore_and_all_else_is_listed(module):
    names = listed(INNER[module])
    assert names is not None, "no __all__"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    made = [node.name for node in INNER[module].body if isinstance(node, kinds)]
    assert [name for name in made if name[0] != "_" and name not in names] == []
    assert not any(name.startswith("_") for name in names)


def test_names_of_modules_start_with_an_underscore_at_the_top_alone():
    inner = [name for name in INNER if "/_" in name]
    top = [n for n in TREES if n not in INNER and not n.startswith("_")]
    assert inner + top == []


@pytest.mark.parametrize("module", TREES)
def test_docstring_of_a_long_module_is_more_than_a_line(module):
    text = ast.get_docstring(TREES[module])
    assert text
    n_lines = len((SOURCE / module).read_text().splitlines())
    assert n_lines <= 150 or "\n" in text


@pytest.mark.parametrize("module", TREES)
def test_docstrings_start_with_a_verb_of_numpy(module):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {
        node.name: (ast.get_docstring(node) or "").partition(" ")[0]
        for node in ast.walk(TREES[module])
        if isinstance(node, kinds)
    }
    assert [name for name, verb in found.items() if verb in ("Give", "Tell")] == []


@pytest.mark.parametrize("module", TREES)
def test_modules_keep_nothing_but_constants(module):
    bound = [n for n in TREES[module].body if isinstance(n, ast.Assign | ast.AnnAssign)]
    bound = [n for n in bound if ast.unparse(n) != "__all__ = []"]
    filled = [n for n in bound if n.value and ast.unparse(n.value) in EMPTY]
    rebound = [n for n in ast.walk(TREES[module]) if isinstance(n, ast.Global)]
    assert list(map(ast.unparse, filled + rebound)) == []


@pytest.mark.parametrize("module", TREES)
def test_no_private_module_of_another_library_is_imported(module):
    imported = [
        name
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for name in [f"{node.module}.{alias.name}" for alias in node.names]
        if not name.startswith("napari_kmeans.") and "._" in name
    ]
    assert imported == []


def test_pages_name_every_room_of_the_house_and_every_benchmark():
    house = (ROOT / "docs" / "developers" / "house.md").read_text("utf-8")
    rooms = {Path(name).stem for name in TREES} - {"__init__", "__main__"}
    assert {room for room in rooms if f"`{room}`" not in house} == set()
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    assert {script for script in scripts if f"`{script}`" not in page} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")))
def test_benchmarks_use_nothing_that_the_package_has_no_more(path):
    tree, modules = ast.parse(path.read_text()), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("napari_kmeans"):
            package = import_module(node.module)
            for name in (alias.name for alias in node.names):
                if not hasattr(package, name):
                    import_module(f"{node.module}.{name}")
                modules[name] = getattr(package, name)
    assert [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and inspect.ismodule(modules.get(node.value.id))
        and not hasattr(modules[node.value.id], node.attr)
    ] == []
