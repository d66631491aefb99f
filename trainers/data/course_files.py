"""Read a data directory: tables in the format of the course, checked line by line, and text sets."""

import math
import re
from array import array
from collections.abc import Collection
from pathlib import Path

import numpy as np

from model.errors import InputError, shortened
from trainers.data.declared_tasks import declared_tasks
from trainers.data.raw_rows import RawCorpus, RawSplit, TextColumn
from trainers.data.tables import HEADER_LINE, table_rows
from trainers.data.text_files import read_text_set
from trainers.tasks import TASKS, Task

LABEL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
"""A label: a plain decimal number in ASCII. Python's `float` also takes "0_4", "1e0" and "inf"."""


def read_directory(directory: Path, texts: Collection[str] = ()) -> RawCorpus:
    """Read the tasks of a data directory, built-in and declared ones, and some of its text sets.

    All tables are tab-separated, whatever their file names end in.

    Args:
        directory: the data directory.
        texts: the text sets to read, from `NAME.txt`. Other text files are ignored.

    Raises:
        InputError: the directory has no tasks, a file is missing, or its content is wrong; with file and line.
    """
    if not directory.is_dir():
        found = "is a file" if directory.exists() else "does not exist"
        raise InputError(f"Data directory {directory} {found}. Pass a directory, --data sample or --data hub.")
    tasks = {name: task for name, task in TASKS.items() if _existing_files(directory, task)} | declared_tasks(directory)
    if not tasks:
        found = "has no files of a known task" if any(directory.iterdir()) else "is empty"
        wanted = ", ".join(f"{task.files['train']} and {task.files['dev']}" for task in TASKS.values())
        raise InputError(
            f"Data directory {directory} {found}. Add the files of a built-in task ({wanted}), or declare your own "
            "tasks in tasks.json."
        )
    for name in texts:
        if name in TASKS or name in tasks:
            raise InputError(f"{name!r} is the name of a task and of a text set. Rename one of them.")
    return RawCorpus(
        tasks,
        {name: _read_task(directory, task) for name, task in tasks.items()},
        {name: read_text_set(directory, name) for name in texts},
    )


def _existing_files(directory: Path, task: Task) -> dict[str, Path]:
    return {split: directory / name for split, name in task.files.items() if (directory / name).exists()}


def _read_task(directory: Path, task: Task) -> dict[str, RawSplit]:
    paths = _existing_files(directory, task)
    for split in ("train", "dev"):
        if split not in paths:
            missing = directory / task.files[split]
            others = " and ".join(path.name for path in paths.values())
            raise InputError(f"{missing} is missing, but {others} exists. Add it, or remove the task's other files.")
    splits = {split: _read_split(path, task, split != "test") for split, path in paths.items()}
    _check_unique([(paths[split], rows.ids) for split, rows in splits.items()])
    return splits


def _read_split(path: Path, task: Task, labelled: bool) -> RawSplit:
    columns = ["id", *task.text_columns, *([task.label_column] if labelled else [])]
    ids, texts = TextColumn(), tuple(TextColumn() for _ in task.text_columns)
    labels = array("f")
    for line, fields in table_rows(path, columns):
        ids.append(_id(fields[0], path, line))
        for side, text in zip(texts, fields[1:], strict=False):
            side.append(text.strip())
        labels.append(_label(fields[-1], task, path, line) if labelled else math.nan)
    if not ids:
        raise InputError(f"{path} has a header but no rows. Add rows, or remove the task's files.")
    if labelled and all(map(math.isnan, labels)):
        raise InputError(f"{path}: none of its {len(ids)} rows has a label. Fill column {task.label_column!r}.")
    return RawSplit(ids, texts, np.array(labels))


def _check_unique(files: list[tuple[Path, TextColumn]]) -> None:
    """Check that an id occurs once in all files of a task."""
    hashes = np.fromiter((hash(identifier) for _, ids in files for identifier in ids), np.int64)
    if len(np.unique(hashes)) == len(hashes):
        return
    seen: dict[str, tuple[Path, int]] = {}
    for path, ids in files:
        for line, identifier in enumerate(ids, start=HEADER_LINE + 1):
            if identifier in seen:
                first, line_before = seen[identifier]
                where = f"line {line_before}" if first == path else f"{first.name}, line {line_before}"
                fault = f"id {shortened(identifier)} occurs twice, first in {where}"
                raise InputError(f"{path}, line {line}: {fault}. Make ids unique.")
            seen[identifier] = path, line


def _id(identifier: str, path: Path, line: int) -> str:
    # In a prediction file, such an id could not be separated from the value after it.
    if not identifier.strip() or "," in identifier:
        fault = f"id {shortened(identifier)} is blank or contains a comma"
        raise InputError(f"{path}, line {line}: {fault}. Change the id.")
    return identifier


def _label(text: str, task: Task, path: Path, line: int) -> float:
    if not text.strip():
        return math.nan
    fault = "is not a plain decimal number, such as 3 or 2.5"
    if LABEL.fullmatch(text):
        value = float(text)
        fault = f"is outside {task.low:g} to {task.high:g}"
        if task.low <= value <= task.high:
            if task.kind == "regression":
                return value
            if value.is_integer():
                return value - task.low
            fault = "is not an integer"
    found = f"label {shortened(text)} of task {task.name}"
    raise InputError(f"{path}, line {line}: {found} {fault}. Correct or remove the row.")
