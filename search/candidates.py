"""Runs -> the candidates of each task: dev predictions of all kept rounds, aligned by id."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from model.errors import InputError
from search.runs import Run, Trial
from search.selection import Library
from trainers.predictions import read_predictions
from trainers.scores import HasKind, predictions
from trainers.tasks import Kind, Task
from trainers.trial import PREDICTIONS, round_name


@dataclass(frozen=True)
class Candidate:
    """A round of a trial that may join an ensemble."""

    run: str
    """URI of its run."""
    trial: int
    round: int

    def __str__(self) -> str:
        return f"{self.run}, trial {self.trial}, round {self.round}"


@dataclass(frozen=True)
class Candidates:
    """The candidates of one task."""

    names: list[Candidate]
    library: Library
    notes: list[str]
    """What was left out, in words."""


def searched_tasks(runs: list[Run]) -> dict[str, Task]:
    """Return the tasks that any of the runs was searched for.

    Raises:
        InputError: a task is not what it is in the data of the first run, whose rows the ensemble predicts.
    """
    own = runs[0].tasks
    for run in runs:
        for name in run.search["tasks"]:
            if name not in own:
                raise InputError(f"{runs[0].folder} has no rows of task {name!r}. Name {run.folder} first.")
            if run.tasks[name] != own[name]:
                raise InputError(
                    f"Task {name!r} is declared one way in {runs[0].folder} and another way in {run.folder}. "
                    "Choose members from runs on the same tasks."
                )
    return {name: task for name, task in own.items() if any(name in run.search["tasks"] for run in runs)}


def collect(runs: list[Run], tasks: Mapping[str, HasKind]) -> dict[str, Candidates]:
    """Read the candidates of each task from all runs.

    Raises:
        InputError: a task has none, or they do not predict the same rows.
    """
    kept = [(run, trial, number) for run in runs for trial, number in run.kept()]
    return {name: gather(runs, kept, name, task.kind) for name, task in tasks.items()}


def gather(runs: list[Run], rounds: list[tuple[Run, Trial, int]], task: str, kind: Kind) -> Candidates:
    """Read the candidates of one task from some rounds of trials of the runs.

    Raises:
        InputError: there is none, or they do not predict the same rows.
    """
    found = dict(_predictions(rounds, task))
    finite = {name: rows for name, rows in found.items() if np.isfinite(rows[1]).all()}
    if not finite:
        places = " and ".join(str(run.folder) for run in runs)
        raise InputError(
            f"{places}: no finished round has both weights and finite predictions of task {task}, so there is nothing "
            "to choose from. Let the search finish a round of it."
        )
    ids = list(dict.fromkeys(identifier for rows, _ in finite.values() for identifier in rows))
    outputs = np.stack([_aligned(name, *rows, ids) for name, rows in finite.items()])
    library = Library(kind, predictions(kind, outputs), _labels(runs, task, ids))
    notes = [f"{name}: predictions of {task} are not finite; left out." for name in found if name not in finite]
    return Candidates(list(finite), library, notes)


def _predictions(
    rounds: list[tuple[Run, Trial, int]], task: str
) -> Iterator[tuple[Candidate, tuple[list[str], np.ndarray]]]:
    """Yield ids and outputs [rows, width] of every round that predicted the task."""
    for run, trial, number in rounds:
        name = f"{round_name(number)}-{task}.parquet"
        if (trial.folder / PREDICTIONS).exists(name):
            candidate = Candidate(run.folder.uri, trial.number, number)
            yield candidate, read_predictions(trial.folder / PREDICTIONS, name)


def _labels(runs: list[Run], task: str, ids: list[str]) -> np.ndarray:
    """Return the labels of rows, [rows], on which the data of all runs must agree."""
    known: dict[str, float] = {}
    for run in runs:
        splits = run.corpus().splits.get(task)
        rows = zip(splits["dev"].ids, splits["dev"].labels.tolist(), strict=True) if splits else ()
        for identifier, label in rows:
            if not math.isnan(label) and known.setdefault(identifier, label) != label:
                raise InputError(
                    f"Dev row {identifier!r} of {task} has label {label:g} in {run.folder} and {known[identifier]:g} "
                    "in another run. Choose members from runs on the same data."
                )
    return np.array([known[identifier] for identifier in ids], np.float32)


def _aligned(name: Candidate, ids: list[str], outputs: np.ndarray, wanted: list[str]) -> np.ndarray:
    """Return the outputs [rows, width] of the rows `wanted`, in their order."""
    if ids == wanted:
        return outputs
    place = {identifier: row for row, identifier in enumerate(ids)}
    missing = [identifier for identifier in wanted if identifier not in place]
    if missing:
        raise InputError(
            f"{name}: no prediction of dev row {missing[0]!r}, which other candidates predict ({len(missing)} rows are "
            "missing). Choose members from runs on the same data."
        )
    return outputs[[place[identifier] for identifier in wanted]]
