"""The data of `benchmarks.whole`: one half of dev for selection, the other with hidden labels, and its scores."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np

from trainers.data.course_files import read_directory
from trainers.data.raw_rows import RawSplit
from trainers.data.stratified import stratified_sample
from trainers.evaluation.metrics import pearson
from trainers.evaluation.predictions import read_submission
from trainers.seeds import numpy_generator
from trainers.tasks import TASKS, Task

NAMES = ("sst", "qqp", "sts")
HALF_ROWS = 1200
"""Largest number of rows in a task's half of dev; otherwise predicting Quora would take most of the time."""
HIDDEN = "hidden.json"

Hidden = dict[str, tuple[list[str], np.ndarray]]
"""Task -> ids and labels [rows] of the hidden half; classes are numbered from 0."""


def split_dev(source: Path, directory: Path) -> None:
    """Write a data directory with the same train split, one half of dev as dev and the other half as test.

    The labels of the test rows are written to `HIDDEN`.
    """
    directory.mkdir(parents=True)
    raw = read_directory(source)
    hidden = {}
    for name in NAMES:
        task, dev = raw.tasks[name], raw.splits[name]["dev"]
        shutil.copy(source / task.files["train"], directory / task.files["train"])
        chosen, kept = _halves(dev.labels, name)
        _write(directory / task.files["dev"], task, dev.take(chosen), labelled=True)
        test = dev.take(kept)
        _write(directory / task.files["test"], task, test, labelled=False)
        hidden[name] = {"ids": list(test.ids), "labels": test.labels.astype(float).tolist()}
    (directory / HIDDEN).write_text(json.dumps(hidden))


def read_hidden(directory: Path) -> Hidden:
    """Read the ids and labels of the hidden half."""
    found = json.loads((directory / HIDDEN).read_text())
    return {task: (rows["ids"], np.array(rows["labels"], np.float32)) for task, rows in found.items()}


def prediction_files(folder: Path) -> dict[str, Path]:
    """Return task -> file with a side's predictions of the hidden half, in the submission format of the course."""
    return {name: folder / f"{TASKS[name].submission}-test-output.csv" for name in NAMES}


def read_predictions(folder: Path, hidden: Hidden) -> dict[str, np.ndarray]:
    """Read predictions: task -> classes or values [rows], in the order of the hidden rows."""
    found = {}
    for name, path in prediction_files(folder).items():
        ids, values = read_submission(path.read_text())
        assert ids == hidden[name][0], f"{path} has other rows"
        found[name] = values
    return found


def metric(task: str, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the metric [...] of predicted classes or values [..., rows] for labels [..., rows]."""
    if TASKS[task].kind == "regression":
        return pearson(predicted[..., None], labels)
    return (predicted == labels).mean(axis=-1)


def _halves(labels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Split the labelled rows of a dev split with labels [rows] into two halves with equal proportions of labels."""
    labelled = np.flatnonzero(np.isfinite(labels))
    draw = numpy_generator(0, "halves of dev", name)
    first = labelled[stratified_sample(labels[labelled], len(labelled) // 2, draw)]
    halves = first, np.setdiff1d(labelled, first)
    return halves[0][_at_most(labels[halves[0]], name)], halves[1][_at_most(labels[halves[1]], name)]


def _at_most(labels: np.ndarray, name: str) -> np.ndarray:
    return stratified_sample(labels, min(HALF_ROWS, len(labels)), numpy_generator(0, "rows of a half", name))


def _write(path: Path, task: Task, rows: RawSplit, *, labelled: bool) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["id", *task.text_columns, *([task.label_column] if labelled else [])])
        for identifier, label, *texts in zip(rows.ids, rows.labels, *rows.texts, strict=True):
            writer.writerow([identifier, *texts, *([f"{label + _lowest(task):g}"] if labelled else [])])


def _lowest(task: Task) -> float:
    """Return the label of class 0 in the files."""
    return 0.0 if task.kind == "regression" else task.low
