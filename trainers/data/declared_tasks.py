"""Read the tasks that a data directory declares in its `tasks.json`, in addition to the built-in tasks. For example:

{"nli": {"kind": "classification", "low": 0, "high": 2, "text_columns": ["premise", "hypothesis"],
         "label_column": "label", "files": {"train": "nli-train.tsv", "dev": "nli-dev.tsv", "test": "nli-test.tsv"}}}
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field
from torch import nn

from model.errors import InputError, unknown
from trainers.data.text_files import read_text
from trainers.settings import Config
from trainers.tasks import TASKS, Kind, Task, default_metric

FILE = "tasks.json"
SPLITS = ("train", "dev", "test")
HEADER = "Predicted_Label"
"""Header of the label column in prediction files."""
NAME = re.compile(r"[A-Za-z0-9_-]+")
RESERVED_NAMES = {
    *("trial", "round", "state", "score", "loss", "examples", "tokens", "steps"),
    *("train_seconds", "eval_seconds", "save_seconds", "ended", "node", "error"),
    *("strategy", "seed", "soup", "rows", "candidates", "strategies"),
}
"""Names that tables and records of a run use next to the names of tasks."""


class TaskDeclaration(Config):
    """A task as the user declares it."""

    kind: Kind
    low: float
    high: float
    text_columns: tuple[str, ...] = Field(min_length=1, max_length=2)
    label_column: str
    files: dict[str, str]

    def _faults(self) -> Iterator[str]:
        if not self.low < self.high:
            yield f"low {self.low:g} is not below high {self.high:g}"
        if self.kind == "classification" and not (self.low.is_integer() and self.high.is_integer()):
            yield f"low and high of a classification must be integers, not {self.low:g} and {self.high:g}"
        if self.kind == "binary" and (self.low, self.high) != (0, 1):
            yield f"low and high of a binary task must be 0 and 1, not {self.low:g} and {self.high:g}"
        columns = ["id", *self.text_columns, self.label_column]
        if len(set(columns)) < len(columns):
            yield f"the columns {', '.join(columns)} are not all different"
        for split in self.files:
            if split not in SPLITS:
                yield str(unknown("split in files", split, SPLITS)).removesuffix(".")
        for split in SPLITS[:2]:
            if split not in self.files:
                yield f"files has no {split!r} split"


def declared_tasks(directory: Path) -> dict[str, Task]:
    """Return the tasks that a data directory declares, by name; empty if it has no `tasks.json`.

    Raises:
        InputError: the file is malformed, or a data file of a task is missing; with the name of the task.
    """
    path = directory / FILE
    if not path.exists():
        return {}
    return {name: _task(path, name, data) for name, data in _declarations(path).items()}


def _declarations(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(read_text(path), object_pairs_hook=lambda pairs: _without_repeats(path, pairs))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.msg}. Write the tasks as one JSON object.") from None
    if not isinstance(found, dict) or not all(isinstance(data, dict) for data in found.values()):
        raise InputError(f'{path} is not a JSON object of objects. Write {{"NAME": {{"kind": ...}}}}.')
    return found


def _without_repeats(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: {name!r} occurs twice in one object. Remove or rename one of them.")
    return dict(pairs)


def _task(path: Path, name: str, data: dict[str, Any]) -> Task:
    place = f"{path}, task {name!r}"
    fault = _name_fault(name)
    if fault:
        raise InputError(f"{place}: {fault}. Give the task another name.")
    try:
        found = TaskDeclaration.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(f"{place}: {_first_fault(error)}") from None
    for file in found.files.values():
        if not (path.parent / file).exists():
            raise InputError(f"{place}: {path.parent / file} is missing. Add it, or correct its name.")
    return Task(
        name,
        found.kind,
        default_metric(found.kind),
        *(found.low, found.high, found.text_columns, found.label_column, found.files),
        submission=name,
        submission_header=HEADER,
    )


def _name_fault(name: str) -> str | None:
    if not NAME.fullmatch(name):
        return "a name may contain letters, digits, _ and - only"
    if name in TASKS or name in {task.submission for task in TASKS.values()}:
        return "the name belongs to a built-in task"
    # The heads are entries of a ModuleDict, whose entries must not have the names of its attributes.
    if name in RESERVED_NAMES or hasattr(nn.ModuleDict(), name):
        return "the name is reserved"
    return None


def _first_fault(error: pydantic.ValidationError) -> str:
    """Return the first fault that pydantic found, as one sentence."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return str(unknown("key", field, TaskDeclaration.model_fields))
    if first["type"] == "missing":
        return f"{field!r} is missing. Add it."
    message = first["msg"].removeprefix("Value error, ")
    return f"{field}: {message} (got {first['input']!r})." if field else f"{message}."
