"""What holds the house together: which way imports run, no circles, nothing too large."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    "common",
    "tasks",
    "update_rules",
    "inner_loop",
    "outer_loop",
    "evaluation",
    "experiment",
    "unsupervised_update_rules",
    "benchmarks",
    "scripts",
    "examples",
)
"""Each may import those before it; update_rules knows nothing of tasks, and inner_loop neither."""
FORBIDDEN = {("update_rules", "tasks"), ("inner_loop", "tasks"), ("scripts", "examples"), ("examples", "benchmarks")}
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def imports_of(path: Path, *, lazy: bool) -> Iterator[str]:
    """The modules of ours that ``path`` imports; ``lazy`` ones are inside functions or for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in late and not lazy:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in names]
        else:
            continue
        yield from (name for name in names if name in MODULES)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_run_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    for name in imports_of(path, lazy=True):
        layer = name.partition(".")[0]
        assert LAYERS.index(layer) <= LAYERS.index(own), f"{module_of(path)} imports {name}"
        assert (own, layer) not in FORBIDDEN, f"{module_of(path)} imports {name}"


def test_there_are_no_import_circles() -> None:
    graph = {module: set(imports_of(path, lazy=False)) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_file_is_too_long_and_no_folder_too_heavy() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    by_layer: dict[str, int] = defaultdict(int)
    for path, count in lines.items():
        assert count <= 300, f"{path.relative_to(ROOT)} has {count} lines, at most 300: is it one thing?"
        by_layer[path.relative_to(ROOT).parts[0]] += count
    for layer, count in by_layer.items():
        assert count <= 0.25 * sum(lines.values()), f"{layer}/ holds {count} of {sum(lines.values())} lines"


def test_no_module_of_ours_has_the_name_of_one_of_pythons() -> None:
    assert not {name.partition(".")[0] for name in MODULES} & sys.stdlib_module_names
