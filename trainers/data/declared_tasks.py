"""Read the tasks that a data directory declares in its `tasks.json`, in addition to the built-in tasks. For example:

{"nli": {"kind": "classification", "low": 0, "high": 2, "text_columns": ["premise", "hypothesis"],
         "label_column": "label", "files": {"train": "nli-train.tsv", "dev": "nli-dev.tsv", "test": "nli-test.tsv"}}}
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field
from torch import nn

from model.errors import InputError, shortened, unknown
from model.files.json_text import parse_json
from model.files.regular_files import read_file
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
LONGEST_NAME = 100
"""Largest number of characters of a task's name, which is a part of file names."""
CLASSES = 10_000
"""Largest number of classes of a task."""
LARGEST = 1e6
"""Largest absolute label. A corpus stores labels in float32, which has all integers up to 1.6e7."""
Label = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]


class TaskDeclaration(Config):
    """A task as the user declares it."""

    kind: Kind
    low: Label
    high: Label
    text_columns: tuple[str, ...] = Field(min_length=1, max_length=2)
    label_column: str
    files: dict[str, str]

    def _faults(self) -> Iterator[str]:
        if not self.low < self.high:
            yield f"low {self.low:g} is not below high {self.high:g}"
        if self.kind == "classification" and not (self.low.is_integer() and self.high.is_integer()):
            yield f"low and high of a classification must be integers, not {self.low:g} and {self.high:g}"
        elif self.kind == "classification" and self.high - self.low >= CLASSES:
            yield f"low {self.low:g} and high {self.high:g} make more than {CLASSES:,} classes"
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
        InputError: the file is malformed, or a data file of a task is missing or lies outside the directory; with the
            name of the task.
    """
    path = directory / FILE
    if not path.exists():
        return {}
    return {name: _task(path, name, data) for name, data in _declarations(path).items()}


def _declarations(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = parse_json(read_file(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}. Write the tasks as one JSON object.") from None
    if not isinstance(found, dict) or not all(isinstance(data, dict) for data in found.values()):
        raise InputError(f'{path} is not a JSON object of objects. Write {{"NAME": {{"kind": ...}}}}.')
    return found


def _task(path: Path, name: str, data: dict[str, Any]) -> Task:
    place = f"{path}, task {shortened(name)}"
    if fault := name_fault(name):
        raise InputError(f"{place}: {fault}. Give the task another name.")
    try:
        found = TaskDeclaration.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(f"{place}: {first_fault(error, TaskDeclaration)}") from None
    for split, file in found.files.items():
        if fault := _file_fault(path.parent, file):
            raise InputError(f"{place}: the {split} file {shortened(file)} {fault}")
    return Task(
        name,
        found.kind,
        default_metric(found.kind),
        *(found.low, found.high, found.text_columns, found.label_column, found.files),
        submission=name,
        submission_header=HEADER,
    )


def _file_fault(directory: Path, file: str) -> str | None:
    """Return why a file is no file of the directory, with the remedy; None if it is one.

    Somebody else may have written `tasks.json`; it must not make a search read other files of this machine.
    """
    try:
        place = (directory / file).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle; ValueError: a NUL
        return f"is missing in {directory}. Add it, or correct its name."
    if not place.is_relative_to(directory.resolve()):
        return f"lies outside {directory}. Copy it into the directory."
    if not place.is_file():
        return "is no ordinary file. Replace it by one."
    return None


def name_fault(name: str) -> str | None:
    """Return why a declared task cannot have a name; None if it can."""
    if not NAME.fullmatch(name):
        return "a name may contain letters, digits, _ and - only"
    if len(name) > LONGEST_NAME:
        return f"a name may have at most {LONGEST_NAME} characters"
    if name in TASKS or name in {task.submission for task in TASKS.values()}:
        return "the name belongs to a built-in task"
    # The heads are entries of a ModuleDict, whose entries must not have the names of its attributes.
    if name in RESERVED_NAMES or hasattr(nn.ModuleDict(), name):
        return "the name is reserved"
    return None


def first_fault(error: pydantic.ValidationError, record: type[Config]) -> str:
    """Return the first fault that pydantic found in a record, as one sentence that names the field."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return str(unknown("key", field, record.model_fields))
    if first["type"] == "missing":
        return f"{shortened(field)} is missing. Add it."
    message = first["msg"].removeprefix("Value error, ")
    return f"{field[:80]}: {message} (got {shortened(first['input'])})." if field else f"{message}."
