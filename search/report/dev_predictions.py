"""Read the predictions of a round, or of the ensemble, for the labelled dev rows of a task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.errors import InputError, first_line
from search.ensemble.members import FOLDER, remedy
from search.runs.run import Run
from search.runs.trial_record import Trial
from trainers.data.corpus import Split
from trainers.evaluation.predictions import read_predictions, read_submission
from trainers.evaluation.scores import predictions
from trainers.tasks import Task
from trainers.trial import PREDICTIONS, round_name


@dataclass(frozen=True)
class DevPredictions:
    """A model's predictions for labelled dev rows of one task."""

    model: str
    """The model's name for readers, such as "trial 3, round 2"."""
    rows: np.ndarray
    """[rows], row numbers in the split."""
    labels: np.ndarray
    """[rows], classes or values."""
    values: np.ndarray
    """[rows], predicted classes or values."""
    confidence: np.ndarray
    """[rows], probability of the predicted class; NaN if the model gives none."""


def round_predictions(trial: Trial, round: int, task: Task, dev: Split) -> DevPredictions | None:
    """Return a round's predictions for the rows it was scored on; None if it did not predict the task.

    Args:
        dev: with labels as in the data's files: classes start at `task.low`.

    Raises:
        InputError: the predictions are damaged, or are not of this task's rows.
    """
    name = f"{round_name(round)}-{task.name}.parquet"
    if not (trial.folder / PREDICTIONS).exists(name):
        return None
    ids, outputs = read_predictions(trial.folder / PREDICTIONS, name)
    try:
        if outputs.shape[1] != task.outputs or not np.isfinite(outputs).all():
            raise ValueError("its numbers are not outputs of the task")
        values, confidence = _decide(task, predictions(task.kind, outputs))
        return _labelled(f"trial {trial.number}, round {round}", dev, ids, values, confidence)
    except ValueError as error:
        raise InputError(f"{trial.folder / PREDICTIONS}/{name} cannot be used: {first_line(error)}.") from None


def ensemble_predictions(run: Run, task: Task, dev: Split) -> DevPredictions | None:
    """Return the ensemble's predictions for all labelled rows; None if it has no prediction file.

    Args:
        dev: with labels as in the data's files: classes start at `task.low`.

    Raises:
        InputError: the file is damaged.
    """
    folder, name = run.folder / FOLDER, f"predictions/{task.submission}-dev-output.csv"
    if not folder.exists(name):
        return None
    try:
        ids, values = read_submission(folder.read(name).decode())
        if not ((task.low <= values) & (values <= task.high)).all():
            raise ValueError(f"a value is not between {task.low:g} and {task.high:g}")
        return _labelled("ensemble", dev, ids, values, np.full(len(ids), np.nan))
    except ValueError as error:
        raise InputError(f"{folder}/{name} cannot be used: {first_line(error)}. {remedy(run)}") from None


def _decide(task: Task, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted classes or values [rows] and confidences [rows] for probabilities or values [rows, width]."""
    first = predicted[:, 0].astype(np.float64)
    if task.kind == "regression":
        return first, np.full(len(first), np.nan)
    if task.kind == "binary":
        return np.where(first > 0.5, 1.0, 0.0), np.maximum(first, 1 - first)
    return task.low + predicted.argmax(axis=-1).astype(np.float64), predicted.max(axis=-1).astype(np.float64)


def _labelled(model: str, dev: Split, ids: Sequence[str], values: np.ndarray, confidence: np.ndarray) -> DevPredictions:
    """Keep the predictions whose rows have a label.

    Raises:
        ValueError: there are no rows, or an id is of no dev row; the message completes "NAME cannot be used: ...".
    """
    if not ids:
        raise ValueError("it has no rows")
    numbers = {identifier: row for row, identifier in enumerate(dev.ids)}
    if missing := [identifier for identifier in ids if identifier not in numbers]:
        raise ValueError(f"the data have no dev row {missing[0][:80]!r}")
    rows = np.array([numbers[identifier] for identifier in ids])
    labels = dev.labels[rows].astype(np.float64)
    kept = np.isfinite(labels)
    return DevPredictions(model, rows[kept], labels[kept], values[kept], confidence[kept])
