"""Who may import whom. The floors are listed from the ground up; nothing imports upwards, not even inside a function.

Names imported for annotations only (under `if TYPE_CHECKING:`) are free: they load nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import credit_ray

PACKAGE = Path(credit_ray.__file__).parent

FLOORS = (
    {"errors", "vocabulary", "variables", "registry", "times", "progress", "noise"},
    {"grid", "state", "config"},
    {"cluster", "data", "models", "physics", "losses"},
    {"normalizer", "stepper", "package", "tracking", "interchange"},
    {"verification"},
    {"forecasting"},
    {"training"},
    {"tuning", "serving"},
    {"command", "cli_models", "cli", "launch", "quickstart", "check"},
)
FLOOR_OF = {part: number for number, floor in enumerate(FLOORS) for part in floor}

LONELY = {  # what only one part may import
    "mlflow": "tracking",
    "ray.serve": "serving",
    "ray.train": "training",
    "ray.data": "data",
    "torch.distributed": "training",
}

HEAVY = ("ray", "torch", "mlflow", "xarray", "matplotlib", "zarr", "pandas", "scipy")
LIGHT = (
    "credit_ray",
    "credit_ray.cli",
    "credit_ray.config.loader",
    "credit_ray.state",
    "credit_ray.errors",
    "credit_ray.variables",
    "credit_ray.registry",
)


@dataclass(frozen=True)
class Import:
    """One import: the importing module, what it imports, where it stands, and whether loading the module runs it."""

    importer: str
    imported: str
    line: int
    when_loaded: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: {self.imported}"


def imports_in(tree: ast.Module, importer: str) -> Iterator[Import]:
    """All imports of a module, and attribute chains like `ray.data.Dataset` that use a package without importing it."""

    def walk(node: ast.AST, when_loaded: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from walk(other, when_loaded)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, node.lineno, when_loaded)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}, line {node.lineno}: imports are absolute here"
            for alias in node.names:
                yield Import(importer, f"{node.module}.{alias.name}", node.lineno, when_loaded)
        elif isinstance(node, ast.Attribute) and (dotted := ast.unparse(node)).split("(")[0] in LONELY:
            yield Import(importer, dotted, node.lineno, when_loaded)
        in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, when_loaded and not in_function)

    return walk(tree, True)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = [
    found
    for name, path in SOURCES.items()
    for found in imports_in(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)), name)
]


def part_of(module: str) -> str:
    """`credit_ray.data.plan` → `data`; the package itself → ``."""
    return [*module.split("."), ""][1]


def loads(found: Import) -> str | None:
    """Which of our modules an import loads: `from credit_ray.state import State` loads `credit_ray.state`."""
    name = found.imported
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name or None


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_every_part_of_the_package_has_a_floor() -> None:
    homeless = {part_of(name) for name in SOURCES} - set(FLOOR_OF) - {""}
    assert not homeless, "new parts need a place in FLOORS (and in CONTRIBUTING.md)"


def test_nothing_imports_upwards() -> None:
    upwards = [
        str(found)
        for found in IMPORTS
        if (ours := loads(found)) and {part_of(found.importer), part_of(ours)} <= set(FLOOR_OF)
        if FLOOR_OF[part_of(ours)] > FLOOR_OF[part_of(found.importer)]
    ]
    assert not upwards


def test_the_parts_of_a_floor_form_no_circle() -> None:
    graph: dict[str, set[str]] = {part: set() for part in FLOOR_OF}
    for found in IMPORTS:
        importer, ours = part_of(found.importer), loads(found)
        if importer and ours and part_of(ours) not in ("", importer):
            graph.setdefault(importer, set()).add(part_of(ours))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" → ".join(circle.args[1]))
    assert any(graph.values())


def test_no_module_needs_itself_to_load() -> None:
    graph: dict[str, set[str]] = {name: set() for name in SOURCES}
    for found in IMPORTS:
        ours = loads(found)
        # A package's own face lists its modules, and each of them loads that face first: no circle in practice.
        if found.when_loaded and ours and not within(found.importer, ours):
            graph[found.importer].add(ours)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" → ".join(circle.args[1]))
    assert any(graph.values())


@pytest.mark.parametrize(("package", "owner"), LONELY.items())
def test_only_one_part_imports(package: str, owner: str) -> None:
    strangers = [
        str(found) for found in IMPORTS if within(found.imported, package) and part_of(found.importer) != owner
    ]
    assert not strangers, f"only credit_ray/{owner} may import {package}"


@pytest.mark.parametrize("module", LIGHT)
def test_loading_it_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == []


def test_an_upward_import_would_be_seen_wherever_it_hides() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import mlflow
def late():
    from credit_ray import cli
    import ray
    return ray.data.range(3)
"""
    found = {(each.imported, each.when_loaded) for each in imports_in(ast.parse(source), "credit_ray.errors")}
    assert found == {
        ("typing.TYPE_CHECKING", True),
        ("credit_ray.cli", False),
        ("ray", False),
        ("ray.data", False),
    }
