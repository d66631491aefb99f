import ast
import graphlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "model": {"model"},
    "trainers": {"model", "trainers"},
    "search": {"model", "trainers", "search"},  # a space is loaded by its path
    "spaces": {"trainers"},
}
SPACES_ALSO = {"optuna", *sys.stdlib_module_names}
WITH_RAY = {f"search.{name}" for name in ("cluster", "driver", "progress", "searcher", "trainable")}
ABOVE = {"search.launch", "search.reproduce", "search.session"}
DRIVE = WITH_RAY | ABOVE
READ = {
    f"search.{name}"
    for name in (
        *("analysis", "analysis_figures", "answers", "candidates", "choice", "combiners", "comparison", "contribution"),
        *("dashboard", "ensemble", "estimates", "examples", "figures", "members", "predict", "published", "report"),
        *("results", "running", "sections", "selection", "shortlist", "soup", "tables"),
    )
}
# The searcher may ask what a trial adds to the ensemble.
PURE = {
    f"search.{name}"
    for name in ("candidates", "combiners", "contribution", "estimates", "running", "selection", "shortlist")
}


@dataclass(frozen=True)
class Module:
    name: str
    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.split(".")[0]

    def at(self, node: ast.AST, fault: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {fault}"


Modules = dict[str, Module]
Rule = Callable[[Modules], Iterator[str]]


def modules_of(root: Path) -> Modules:
    found = {}
    for package in MAY_IMPORT:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text()
            found[name] = Module(name, path.relative_to(root).as_posix(), text, ast.parse(text))
    return found


def imports(module: Module, modules: Modules) -> Iterator[tuple[ast.AST, str]]:
    """Every import of a module, wherever it stands: the statement, the module that it names."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.name.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            yield from ((node, name if name in modules else base) for name in inner)


def chains(start: str, modules: Modules) -> dict[str, list[str]]:
    """What a module reaches, through ours: ours by full name, others by package; with the way to it."""
    ways, open_ends = {start: [start]}, [start]
    while open_ends:
        name = open_ends.pop(0)
        for _, target in imports(modules[name], modules) if name in modules else ():
            target = target if target in modules else target.split(".")[0]
            if target not in ways:
                ways[target] = [*ways[name], target]
                open_ends.append(target)
    return ways


def reaching(starts: Iterable[str], forbidden: set[str], modules: Modules) -> Iterator[str]:
    for start in sorted(set(starts) & set(modules)):
        for target, way in chains(start, modules).items():
            if target in forbidden - {start}:
                yield f"{modules[start].path}: {' -> '.join(way)}"


def arrows_point_one_way(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            package = target.split(".")[0]
            if package in {*MAY_IMPORT, "tests"} - MAY_IMPORT[module.package]:
                yield module.at(node, f"{module.package} imports {target}")


def spaces_import_trainers_and_optuna_only(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            if module.package == "spaces" and target.split(".")[0] not in MAY_IMPORT["spaces"] | SPACES_ALSO:
                yield module.at(node, f"a space imports {target}")


def ray_is_imported_by_files_that_drive_it(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            if target.split(".")[0] == "ray" and module.name not in WITH_RAY:
                yield module.at(node, f"imports {target}")


def optuna_is_imported_in_spaces_and_search(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            if target.split(".")[0] == "optuna" and module.package not in ("spaces", "search"):
                yield module.at(node, f"imports {target}")


def what_reads_a_run_reaches_neither_ray_nor_what_drives(modules: Modules) -> Iterator[str]:
    yield from reaching(READ, DRIVE | {"ray"}, modules)


def what_drives_reaches_nothing_that_reads(modules: Modules) -> Iterator[str]:
    yield from reaching(DRIVE - ABOVE, (READ - PURE) | ABOVE, modules)


def nothing_imports_what_stands_above_both(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            if target in ABOVE and module.name not in ABOVE:
                yield module.at(node, f"imports {target}")


def a_worker_knows_neither_optuna_nor_the_space(modules: Modules) -> Iterator[str]:
    yield from reaching({"search.trainable"}, {"optuna", "search.space"}, modules)


def modules_import_each_other_without_a_ring(modules: Modules) -> Iterator[str]:
    graph = {
        module.name: {target for _, target in imports(module, modules) if target in modules}
        for module in modules.values()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield " <- ".join(error.args[1])


REASON = re.compile(r"#\s*(?!(noqa|type:|pyright:))\S")


def an_import_inside_a_function_carries_its_reason(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        lines = module.text.splitlines()
        functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        inside = {node for function in functions for node in ast.walk(function)}
        for node in inside:
            if isinstance(node, ast.Import | ast.ImportFrom) and not REASON.search(lines[node.lineno - 1]):
                yield module.at(node, "an import inside a function, without a comment that says why")


def what_is_public_has_a_docstring(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if module.package != "spaces" and module.tree.body:
            yield from (
                module.at(node, f"no docstring: {name}") for node, name in undocumented(module.tree, module.name)
            )


def undocumented(owner: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[ast.AST, str]]:
    """The owner and the public functions and classes in it that lack a docstring; not what functions define inside."""
    if not ast.get_docstring(owner):
        yield owner, name
    for node in owner.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from undocumented(node, node.name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield from [] if ast.get_docstring(node) else [(node, f"{name}.{node.name}")]


RULES: list[Rule] = [
    arrows_point_one_way,
    spaces_import_trainers_and_optuna_only,
    ray_is_imported_by_files_that_drive_it,
    optuna_is_imported_in_spaces_and_search,
    what_reads_a_run_reaches_neither_ray_nor_what_drives,
    what_drives_reaches_nothing_that_reads,
    nothing_imports_what_stands_above_both,
    a_worker_knows_neither_optuna_nor_the_space,
    modules_import_each_other_without_a_ring,
    an_import_inside_a_function_carries_its_reason,
    what_is_public_has_a_docstring,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_project_keeps_the_rule(rule):
    modules = modules_of(ROOT)
    assert {module.package for module in modules.values()} == set(MAY_IMPORT)
    assert list(rule(modules)) == []


# Each rule bites: a tree that keeps it, and the one file that breaks it.

CASES: list[tuple[Rule, dict[str, str], str, str]] = [
    (arrows_point_one_way, {"trainers/a.py": "import model.b", "model/b.py": ""}, "model/b.py", "import trainers.a"),
    (arrows_point_one_way, {"search/a.py": ""}, "trainers/b.py", "def f():\n    from search import a"),
    (arrows_point_one_way, {"spaces/a.py": "import trainers"}, "spaces/b.py", "from model.heads import HEADS"),
    (arrows_point_one_way, {"search/a.py": "import json, ray"}, "search/b.py", "from spaces import smart"),
    (arrows_point_one_way, {"search/a.py": ""}, "search/b.py", "from tests.search.runs import small"),
    (spaces_import_trainers_and_optuna_only, {"spaces/a.py": "import math, optuna"}, "spaces/b.py", "import torch"),
    (spaces_import_trainers_and_optuna_only, {"search/a.py": "import numpy"}, "spaces/b.py", "from ray import tune"),
    (
        ray_is_imported_by_files_that_drive_it,
        {"search/driver.py": "import ray"},
        "search/runs.py",
        "from ray import tune",
    ),
    (ray_is_imported_by_files_that_drive_it, {"model/a.py": ""}, "trainers/fit.py", "import ray.tune as tune"),
    (optuna_is_imported_in_spaces_and_search, {"search/a.py": "import optuna"}, "trainers/b.py", "import optuna"),
    (
        what_reads_a_run_reaches_neither_ray_nor_what_drives,
        {"search/runs.py": "", "search/driver.py": "import ray", "search/predict.py": "from search import runs"},
        "search/report.py",
        "from search.driver import fit",
    ),
    (
        what_reads_a_run_reaches_neither_ray_nor_what_drives,
        {"search/dashboard.py": "import search.members", "search/driver.py": "import search.members"},
        "search/members.py",
        "import ray",
    ),
    (
        what_drives_reaches_nothing_that_reads,
        {"search/launch.py": "from search import driver, report", "search/searcher.py": "import search.selection"},
        "search/driver.py",
        "from search import report",
    ),
    (
        what_drives_reaches_nothing_that_reads,
        {"search/searcher.py": "from search.runs import Run", "search/ensemble.py": ""},
        "search/runs.py",
        "from search.ensemble import choose",
    ),
    (
        nothing_imports_what_stands_above_both,
        {"search/launch.py": "from search import runs", "search/reproduce.py": "import search.launch"},
        "search/runs.py",
        "from search.launch import main",
    ),
    (
        a_worker_knows_neither_optuna_nor_the_space,
        {"search/trainable.py": "from ray import tune\nfrom search import runs", "search/space.py": "import optuna"},
        "search/runs.py",
        "import optuna",
    ),
    (modules_import_each_other_without_a_ring, {"model/a.py": "import model.b"}, "model/b.py", "from . import a"),
    (
        an_import_inside_a_function_carries_its_reason,
        {"model/a.py": "import b\ndef f():\n    import ray  # heavy: workers do without it"},
        "model/b.py",
        "class C:\n    def f(self):\n        import ray  # noqa: PLC0415",
    ),
    (what_is_public_has_a_docstring, {"model/a.py": '"""A."""\ndef _f(): ...'}, "model/b.py", '"""B."""\ndef f(): ...'),
    (
        what_is_public_has_a_docstring,
        {"model/a.py": '"""A."""\nclass _C:\n    def f(self): ...', "model/__init__.py": ""},
        "model/b.py",
        '"""B."""\nclass C:\n    """C."""\n    async def f(self): ...',
    ),
    (what_is_public_has_a_docstring, {"model/a.py": '"""A."""\nx = 1'}, "search/b.py", '"""B."""\nclass C:\n    x = 1'),
    (what_is_public_has_a_docstring, {"spaces/a.py": "x = 1"}, "trainers/b.py", "x = 1"),
]


@pytest.mark.parametrize(("rule", "kept", "path", "breaks"), CASES)
def test_a_rule_bites(rule, kept, path, breaks, tmp_path):
    def put(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    for name, text in {"search/report.py": '"""Report."""', path: '"""Kept."""'}.items() | kept.items():
        put(name, text)
    assert list(rule(modules_of(tmp_path))) == []
    put(path, breaks)
    assert list(rule(modules_of(tmp_path)))


def test_every_rule_has_a_case_that_breaks_it():
    assert {rule for rule, *_ in CASES} == set(RULES)
