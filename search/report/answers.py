"""Read the answers of a round, or of the ensemble, to the labelled dev rows of a task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.ensemble.members import FOLDER
from search.runs.run import Run
from search.runs.trial_record import Trial
from trainers.data.corpus import Split
from trainers.evaluation.predictions import read_predictions, read_submission
from trainers.evaluation.scores import predictions
from trainers.tasks import Task
from trainers.trial import PREDICTIONS, round_name


@dataclass(frozen=True)
class Answers:
    """What a model says of labelled dev rows of one task."""

    model: str
    """Which model it is, in words."""
    rows: np.ndarray
    """[rows], their numbers in the split."""
    labels: np.ndarray
    """[rows], classes or values."""
    values: np.ndarray
    """[rows], the model's classes or values."""
    confidence: np.ndarray
    """[rows], the probability of the class that the model names; NaN where it gives none."""


def answers_of_round(trial: Trial, round: int, task: Task, dev: Split) -> Answers | None:
    """Return what a round answers to the rows it was scored on; None if it did not predict the task.

    Args:
        dev: its labels are those of the data's files: classes from `task.low`.
    """
    name = f"{round_name(round)}-{task.name}.parquet"
    if not (trial.folder / PREDICTIONS).exists(name):
        return None
    ids, outputs = read_predictions(trial.folder / PREDICTIONS, name)
    values, confidence = _decided(task, predictions(task.kind, outputs))
    return _labelled(f"trial {trial.number}, round {round}", dev, ids, values, confidence)


def answers_of_ensemble(run: Run, task: Task, dev: Split) -> Answers | None:
    """Return what the ensemble's file answers to all labelled rows; None if there is no such file.

    Args:
        dev: its labels are those of the data's files: classes from `task.low`.
    """
    name = f"predictions/{task.submission}-dev-output.csv"
    if not (run.folder / FOLDER).exists(name):
        return None
    ids, values = read_submission((run.folder / FOLDER).read(name).decode())
    return _labelled("ensemble", dev, ids, values, np.full(len(ids), np.nan))


def _decided(task: Task, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn probabilities or values [rows, width] into answers [rows] and how sure they are [rows]."""
    first = predicted[:, 0].astype(np.float64)
    if task.kind == "regression":
        return first, np.full(len(first), np.nan)
    if task.kind == "binary":
        return np.where(first > 0.5, 1.0, 0.0), np.maximum(first, 1 - first)
    return task.low + predicted.argmax(axis=-1).astype(np.float64), predicted.max(axis=-1).astype(np.float64)


def _labelled(model: str, dev: Split, ids: Sequence[str], values: np.ndarray, confidence: np.ndarray) -> Answers:
    """Keep the rows that have a label."""
    place = {identifier: row for row, identifier in enumerate(dev.ids)}
    rows = np.array([place[identifier] for identifier in ids])
    labels = dev.labels[rows].astype(np.float64)
    kept = np.isfinite(labels)
    return Answers(model, rows[kept], labels[kept], values[kept], confidence[kept])
