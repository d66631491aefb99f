"""Test the layers of the project: which room may import which, and how large files, functions and folders may be.

`python -m tests.test_layers` prints the import graph between the rooms.
"""

import ast
import graphlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    ["model"],
    ["trainers"],  # the ground: files that lie in no room
    ["trainers.data", "trainers.methods"],
    ["trainers.config", "trainers.evaluation"],
    ["trainers.recipes", "trainers.training"],
    ["trainers.trial", "spaces"],
    ["trainers.fit", "search.runs", "search.options", "search.start", "search.choices", "search"],
    ["search.suggest", "search.selection", "search.dashboard"],
    ["search.tune", "search.ensemble"],
    ["search.session", "search.report"],
    ["search.launch", "search.reproduce", "search.finish"],
    ["search.commands"],
]
"""Rooms, the lowest floor first. A file imports its own room and lower floors only."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PACKAGES = ("model", "trainers", "search", "spaces")
FACES = {"trainers.config", "trainers.recipes"}
"""The packages that a space may import, besides Optuna and the standard library."""
READERS = ("search.runs", "search.suggest", "search.selection", "search.ensemble", "search.report", "search.dashboard")
"""Rooms that read a run. They need neither Ray nor the rooms that train."""
OPTUNA = ("spaces", "search")
FILES_OF_FOLDER, LINES_OF_FILE, LINES_OF_BODY = 14, 300, 40


@dataclass(frozen=True)
class Module:
    name: str
    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.split(".")[0]

    @property
    def room(self) -> str:
        return room_of(self.name)

    def at(self, node: ast.AST, fault: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {fault}"


Modules = dict[str, Module]
Rule = Callable[[Modules], Iterator[str]]


def room_of(name: str) -> str:
    parts = name.split(".")
    return next(".".join(parts[:count]) for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in FLOOR)


def modules_of(root: Path) -> Modules:
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text()
            found[name] = Module(name, path.relative_to(root).as_posix(), text, ast.parse(text))
    return found


def imports(module: Module, modules: Modules) -> Iterator[tuple[ast.AST, str]]:
    """Yield every import of a module, at any depth: the statement and the name of the imported module."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.name.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            yield from ((node, name if name in modules else base) for name in inner)


def chains(start: str, modules: Modules) -> dict[str, list[str]]:
    """Return all direct and indirect imports of a module: target -> chain of imports from the module to the target.

    A target outside the project is named by its package.
    """
    found, pending = {start: [start]}, [start]
    while pending:
        name = pending.pop(0)
        for _, target in imports(modules[name], modules) if name in modules else ():
            target = target if target in modules else target.split(".")[0]
            if target not in found:
                found[target] = [*found[name], target]
                pending.append(target)
    return found


def graph_of(modules: Modules) -> dict[str, set[str]]:
    """Return the import graph of the rooms: room -> the other rooms that it imports."""
    graph: dict[str, set[str]] = {module.room: set() for module in modules.values()}
    for module in modules.values():
        for _, target in imports(module, modules):
            if target.split(".")[0] in PACKAGES and room_of(target) != module.room:
                graph[module.room].add(room_of(target))
    return graph


def printed(graph: dict[str, set[str]]) -> str:
    """Format the import graph with one line per room, the lowest floor first."""
    rooms = sorted(graph, key=lambda room: (FLOOR[room], room))
    return "\n".join(
        f"{FLOOR[room] + 1:2d}  {room}: {', '.join(sorted(graph[room], key=FLOOR.__getitem__))}" for room in rooms
    )


def imports_go_to_lower_floors(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            if target.split(".")[0] not in (*PACKAGES, "tests", "benchmarks"):
                continue
            lower = target.split(".")[0] in PACKAGES and FLOOR[room_of(target)] < FLOOR[module.room]
            if not lower and not (target.split(".")[0] in PACKAGES and room_of(target) == module.room):
                yield module.at(node, f"{module.room} imports {target}")


def rooms_import_each_other_without_a_cycle(modules: Modules) -> Iterator[str]:
    yield from cycles(graph_of(modules))


def modules_import_each_other_without_a_cycle(modules: Modules) -> Iterator[str]:
    # A face imports the files of its room, which import each other and not the face.
    yield from cycles(
        {
            module.name: {target for _, target in imports(module, modules) if target in modules}
            for module in modules.values()
        }
    )


def cycles(graph: dict[str, set[str]]) -> Iterator[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield " <- ".join(error.args[1])


def a_space_imports_the_faces_and_optuna(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            known = target in FACES or target.split(".")[0] in {"optuna", *sys.stdlib_module_names}
            if module.package == "spaces" and not known:
                yield module.at(node, f"a space imports {target}")


def ray_is_imported_in_tune_only(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            if target.split(".")[0] == "ray" and module.room != "search.tune":
                yield module.at(node, f"imports {target}")


def optuna_is_imported_in_spaces_and_search_only(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for node, target in imports(module, modules):
            if target.split(".")[0] == "optuna" and module.package not in OPTUNA:
                yield module.at(node, f"imports {target}")


def rooms_that_read_a_run_reach_neither_ray_nor_training(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for target, chain in chains(module.name, modules).items() if module.room in READERS else ():
            if target == "ray" or (target in modules and room_of(target) in ("search.tune", "search.session")):
                yield f"{module.path}: {' -> '.join(chain)}"


def a_worker_reaches_neither_optuna_nor_the_space(modules: Modules) -> Iterator[str]:
    for target, chain in chains("search.tune.trainable", modules).items():
        if target == "optuna" or target.startswith("search.suggest"):
            yield " -> ".join(chain)


REASON = re.compile(r"#\s*(?!(noqa|type:|pyright:))\S")


def an_import_inside_a_function_has_a_comment_with_the_reason(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        lines = module.text.splitlines()
        inside = {node for function in functions(module.tree) for node in ast.walk(function)}
        for node in inside:
            if isinstance(node, ast.Import | ast.ImportFrom) and not REASON.search(lines[node.lineno - 1]):
                yield module.at(node, "an import inside a function, without a comment that says why")


def public_modules_classes_and_functions_have_docstrings(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if module.package != "spaces" and module.tree.body:
            yield from (
                module.at(node, f"no docstring: {name}") for node, name in undocumented(module.tree, module.name)
            )


def undocumented(owner: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield a module or class, and its public classes and functions, if they lack a docstring.

    Definitions inside functions are not checked.
    """
    if not ast.get_docstring(owner):
        yield owner, name
    for node in owner.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from undocumented(node, node.name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield from [] if ast.get_docstring(node) else [(node, f"{name}.{node.name}")]


def folders_files_and_functions_are_small(modules: Modules) -> Iterator[str]:
    folders: dict[str, int] = {}
    for module in modules.values():
        folder = module.path.rpartition("/")[0]
        folders[folder] = folders.get(folder, 0) + 1
        lines = len(module.text.splitlines())
        if lines > LINES_OF_FILE:
            yield f"{module.path}: {lines} lines"
        for function in functions(module.tree):
            # The signature does not count, because a command's signature is the table of its options.
            lines = (function.end_lineno or 0) - function.body[0].lineno + 1
            if lines > LINES_OF_BODY:
                yield module.at(function, f"{function.name} has {lines} lines")
    yield from (f"{folder}: {count} files" for folder, count in folders.items() if count > FILES_OF_FOLDER)


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


RULES: list[Rule] = [
    imports_go_to_lower_floors,
    rooms_import_each_other_without_a_cycle,
    modules_import_each_other_without_a_cycle,
    a_space_imports_the_faces_and_optuna,
    ray_is_imported_in_tune_only,
    optuna_is_imported_in_spaces_and_search_only,
    rooms_that_read_a_run_reach_neither_ray_nor_training,
    a_worker_reaches_neither_optuna_nor_the_space,
    an_import_inside_a_function_has_a_comment_with_the_reason,
    public_modules_classes_and_functions_have_docstrings,
    folders_files_and_functions_are_small,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_project_keeps_the_rule(rule):
    modules = modules_of(ROOT)
    assert {module.package for module in modules.values()} == set(PACKAGES)
    print(printed(graph_of(modules)))
    assert list(rule(modules)) == []


Case = tuple[Rule, dict[str, str], str, str]
"""A rule, files that keep it, and the path and the text of a file that breaks it."""
CASES: list[Case] = [
    (imports_go_to_lower_floors, {"trainers/a.py": "import model.b"}, "model/b.py", "import trainers.a"),
    (imports_go_to_lower_floors, {"search/runs/a.py": ""}, "trainers/b.py", "def f():\n    from search.runs import a"),
    (
        imports_go_to_lower_floors,
        {"spaces/a.py": "import trainers.config"},
        "trainers/training/b.py",
        "import spaces.a",
    ),
    (imports_go_to_lower_floors, {"trainers/data/a.py": ""}, "trainers/methods/b.py", "import trainers.data.a"),
    (imports_go_to_lower_floors, {"search/tune/a.py": ""}, "search/ensemble/b.py", "from search.tune import a"),
    (imports_go_to_lower_floors, {"search/runs/a.py": ""}, "search/runs/b.py", "from tests.search.runs import small"),
    (
        rooms_import_each_other_without_a_cycle,
        {"search/runs/a.py": "", "search/tune/c.py": "import search.runs.a"},
        "search/runs/b.py",
        "import search.tune.c",
    ),
    (modules_import_each_other_without_a_cycle, {"model/a.py": "import model.b"}, "model/b.py", "from . import a"),
    (a_space_imports_the_faces_and_optuna, {"spaces/a.py": "import math, optuna"}, "spaces/b.py", "import torch"),
    (
        a_space_imports_the_faces_and_optuna,
        {"spaces/a.py": "from trainers.config import Stage", "trainers/config/__init__.py": ""},
        "spaces/b.py",
        "from trainers.config.train_config import Stage",
    ),
    (ray_is_imported_in_tune_only, {"search/tune/driver.py": "import ray"}, "search/runs/a.py", "from ray import tune"),
    (ray_is_imported_in_tune_only, {"model/a.py": ""}, "trainers/fit/__main__.py", "import ray.tune as tune"),
    (optuna_is_imported_in_spaces_and_search_only, {"search/a.py": "import optuna"}, "model/b.py", "import optuna"),
    (
        rooms_that_read_a_run_reach_neither_ray_nor_training,
        {"search/runs/a.py": "", "search/report/page.py": "import search.runs.a"},
        "search/runs/a.py",
        "import ray",
    ),
    (
        rooms_that_read_a_run_reach_neither_ray_nor_training,
        {"search/tune/budgets.py": "", "search/ensemble/a.py": ""},
        "search/report/page.py",
        "from search.tune import budgets",
    ),
    (
        a_worker_reaches_neither_optuna_nor_the_space,
        {"search/tune/trainable.py": "from search.runs import a", "search/suggest/space.py": "import optuna"},
        "search/runs/a.py",
        "import optuna",
    ),
    (
        an_import_inside_a_function_has_a_comment_with_the_reason,
        {"model/a.py": "import b\ndef f():\n    import ray  # heavy: workers do without it"},
        "model/b.py",
        "class C:\n    def f(self):\n        import ray  # noqa: PLC0415",
    ),
    (
        public_modules_classes_and_functions_have_docstrings,
        {"model/a.py": '"""A."""\ndef _f(): ...'},
        "model/b.py",
        '"""B."""\ndef f(): ...',
    ),
    (
        public_modules_classes_and_functions_have_docstrings,
        {"model/a.py": '"""A."""\nclass _C:\n    def f(self): ...', "model/__init__.py": ""},
        "model/b.py",
        '"""B."""\nclass C:\n    """C."""\n    async def f(self): ...',
    ),
    (
        public_modules_classes_and_functions_have_docstrings,
        {"model/a.py": '"""A."""\nx = 1'},
        "search/b.py",
        '"""B."""\nclass C:\n    x = 1',
    ),
    (public_modules_classes_and_functions_have_docstrings, {"spaces/a.py": "x = 1"}, "trainers/b.py", "x = 1"),
    (folders_files_and_functions_are_small, {"model/a.py": "x = 1\n" * 300}, "model/b.py", "x = 1\n" * 301),
    (
        folders_files_and_functions_are_small,
        {"model/a.py": "def f(\n" + "    a,\n" * 60 + "):\n" + "    x = 1\n" * 40},
        "model/b.py",
        "def f():\n" + "    x = 1\n" * 41,
    ),
    (
        folders_files_and_functions_are_small,
        {f"model/{letter}.py": '"""File."""' for letter in "abcdefghijklmn"},
        "model/o.py",
        "",
    ),
]


@pytest.mark.parametrize(("rule", "kept", "path", "breaks"), CASES)
def test_a_rule_accepts_files_that_keep_it_and_reports_a_file_that_breaks_it(rule, kept, path, breaks, tmp_path):
    def put(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    before = {path: '"""Kept."""'} if breaks else {}  # an empty file breaks the limit on files by its existence
    for name, text in {"search/tune/trainable.py": '"""Trial."""', **before, **kept}.items():
        put(name, text)
    assert list(rule(modules_of(tmp_path))) == []
    put(path, breaks)
    assert list(rule(modules_of(tmp_path)))


def test_every_rule_has_a_case_that_breaks_it():
    assert {rule for rule, *_ in CASES} == set(RULES)


if __name__ == "__main__":
    print(printed(graph_of(modules_of(ROOT))))
