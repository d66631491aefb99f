"""Read a data directory: tables in the format of the course, checked line by line, and text sets."""

import csv
import io
import math
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from model.errors import InputError
from trainers.data.declared_tasks import declared_tasks
from trainers.data.raw_rows import RawCorpus, RawSplit
from trainers.data.text_files import read_text, read_text_set
from trainers.tasks import TASKS, Task


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
    seen: dict[str, tuple[Path, int]] = {}
    return {split: _read_split(path, task, split != "test", seen) for split, path in paths.items()}


def _read_split(path: Path, task: Task, labelled: bool, seen: dict[str, tuple[Path, int]]) -> RawSplit:
    columns = ["id", *task.text_columns, *([task.label_column] if labelled else [])]
    ids: list[str] = []
    texts: tuple[list[str], ...] = tuple([] for _ in task.text_columns)
    labels: list[float] = []
    for line, fields in _rows(path, columns):
        identifier = fields[0]
        _check_id(identifier, path, line, seen)
        ids.append(identifier)
        for side, text in zip(texts, fields[1:], strict=False):
            side.append(text.strip())
        labels.append(_label(fields[-1], task, path, line) if labelled else math.nan)
    if not ids:
        raise InputError(f"{path} has a header but no rows. Add rows, or remove the task's files.")
    if labelled and all(map(math.isnan, labels)):
        raise InputError(f"{path}: none of its {len(ids)} rows has a label. Fill column {task.label_column!r}.")
    return RawSplit(ids, texts, np.array(labels, np.float32))


def _check_id(identifier: str, path: Path, line: int, seen: dict[str, tuple[Path, int]]) -> None:
    if identifier in seen:
        first_path, line_before = seen[identifier]
        where = f"line {line_before}" if first_path == path else f"{first_path.name}, line {line_before}"
        raise InputError(f"{path}, line {line}: id {identifier!r} occurs twice, first in {where}. Make ids unique.")
    # In a prediction file, such an id could not be separated from the value after it.
    if not identifier.strip() or any(mark in identifier for mark in ",\t\r\n"):
        fault = f"id {identifier!r} is blank or contains a comma, tab or line break"
        raise InputError(f"{path}, line {line}: {fault}. Change the id.")
    seen[identifier] = path, line


def _label(text: str, task: Task, path: Path, line: int) -> float:
    if not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value, fault = math.nan, "is not a number"
    else:
        fault = f"is outside {task.low:g} to {task.high:g}"
    if task.low <= value <= task.high:
        if task.kind == "regression":
            return value
        if value.is_integer():
            return value - task.low
        fault = "is not an integer"
    raise InputError(f"{path}, line {line}: label {text!r} of task {task.name} {fault}. Correct or remove the row.")


def _rows(path: Path, columns: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line number of each row and its fields in the order of `columns`."""
    records = _records(path)
    _, header = next(records, (0, []))
    positions = [_column_position(path, header, name) for name in columns]
    for line, fields in records:
        if len(fields) != len(header):
            fault = f"the row has {len(fields)} fields, the header {len(header)}"
            raise InputError(f"{path}, line {line}: {fault}. Write one row per line, with tabs between the fields.")
        yield line, [fields[position] for position in positions]


def _column_position(path: Path, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        fault = "occurs twice" if name in header else "is not"
        found = f"found {', '.join(map(repr, header))}" if header else "the file is empty"
        raise InputError(f"{path}, line 1: column {name!r} {fault} in the header; {found}. Separate columns with tabs.")
    return header.index(name)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    # Keep quoting on: without it, 692 of CFIMDB's 1,707 training rows change without any error.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter="\t", strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            remedy = "A field that starts with a double quote must end with one; double the quotes inside it"
            raise InputError(f"{path}, line {line}: malformed row ({error}). {remedy}.") from None
        if fields is None:
            return
        yield line, fields
