"""Read the candidates of each task from runs: the dev predictions of rounds, aligned by row id."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from model.errors import InputError
from search.runs.run import Run
from search.selection.cross_fitting import FOLDS, row_masks
from search.selection.library import Library
from search.selection.shortlist import metric_and_loss, shortlist
from trainers.evaluation.predictions import read_predictions
from trainers.evaluation.scores import predictions, score
from trainers.folder import Folder
from trainers.tasks import Task
from trainers.trial import PREDICTIONS, round_name


@dataclass(frozen=True, order=True)
class Candidate:
    """A round of a trial, or a run's soup, that may join an ensemble."""

    run: str
    """URI of the candidate's run."""
    trial: int | None
    """None for the soup."""
    round: int

    def __str__(self) -> str:
        return f"{self.run}, trial {self.trial}, round {self.round}"


Rounds = Mapping[Candidate, Folder]
"""Rounds, each with the directory of its trial."""


@dataclass(frozen=True)
class Candidates:
    """The candidates of one task with their predictions."""

    names: list[Candidate]
    ids: list[str]
    """[rows], ids of the library's rows."""
    library: Library


@dataclass(frozen=True)
class CandidateMetrics:
    """The metric and the loss of every candidate of one task on the rows of each row mask, without the predictions."""

    task: Task
    names: list[Candidate]
    metrics: np.ndarray
    """[candidates, masks]"""
    losses: np.ndarray
    """[candidates, masks]"""
    notes: list[str]
    """A line about each candidate that was skipped."""


def searched_tasks(runs: list[Run]) -> dict[str, Task]:
    """Return the tasks for which any of the runs was searched.

    Raises:
        InputError: a task differs from the task of that name in the first run, whose rows the ensemble predicts.
    """
    own = runs[0].tasks
    for run in runs:
        for name in run.search.tasks:
            if name not in own:
                raise InputError(f"{runs[0].folder} has no rows of task {name!r}. Name {run.folder} first.")
            if run.tasks[name] != own[name]:
                raise InputError(
                    f"Task {name!r} is declared one way in {runs[0].folder} and another way in {run.folder}. "
                    "Choose members from runs on the same tasks."
                )
    return {name: task for name, task in own.items() if any(name in run.search.tasks for run in runs)}


def kept_rounds(runs: list[Run]) -> Rounds:
    """Return every finished round of the runs whose weights are on disk."""
    return {
        Candidate(run.folder.uri, trial.number, number): trial.folder
        for run in runs
        for trial, number in run.rounds_with_weights()
    }


def measure_candidates(
    runs: list[Run], rounds: Rounds, tasks: Mapping[str, Task], seeds: Mapping[str, int]
) -> dict[str, CandidateMetrics]:
    """Compute the metrics and losses of all candidates of each task; one candidate is in memory at a time.

    Args:
        seeds: task -> seed of the assignment of its rows to folds.

    Raises:
        InputError: a task has no candidate or too few labelled rows, or its candidates predict different rows.
    """
    return {name: _measure_task(runs, rounds, task, seeds[name]) for name, task in tasks.items()}


def read_shortlisted(
    runs: list[Run], rounds: Rounds, measured: Mapping[str, CandidateMetrics]
) -> dict[str, Candidates]:
    """Read the predictions of the candidates that a selection may take, for one task or for all tasks at once."""
    best_overall = _best_overall(measured)
    found = {}
    for name, metrics in measured.items():
        chosen = best_overall | {metrics.names[number] for number in shortlist(metrics.metrics, metrics.losses)}
        chosen_rounds = {candidate: folder for candidate, folder in rounds.items() if candidate in chosen}
        found[name] = read_candidates(runs, chosen_rounds, metrics.task)
    return found


def read_candidates(runs: list[Run], rounds: Rounds, task: Task) -> Candidates:
    """Read the predictions of all candidates of one task.

    Raises:
        InputError: there is no candidate, or the candidates predict different rows.
    """
    found = list(usable_outputs(rounds, task))
    if not found:
        raise _no_candidate(runs, task.name)
    names, outputs = [name for name, _, _ in found], np.stack([values for _, _, values in found])
    ids = found[0][1]
    return Candidates(names, ids, Library(task, predictions(task.kind, outputs), _labels(runs, task.name, ids)))


def usable_outputs(
    rounds: Rounds, task: Task, note: Callable[[str], object] = lambda text: None
) -> Iterator[tuple[Candidate, list[str], np.ndarray]]:
    """Yield each round that predicted the task, with row ids and outputs [rows, width] in the first round's order.

    Args:
        note: receives a line about each round that is skipped, because its predictions are damaged or not finite.
    """
    first: tuple[Candidate, list[str]] | None = None
    for name, ids, outputs in _stored_outputs(rounds, task, note):
        if not np.isfinite(outputs).all():
            note(f"{name}: skipped, because its predictions of {task.name} are not finite.")
            continue
        first = first or (name, ids)
        yield name, first[1], _aligned((name, ids), first, outputs)


def _measure_task(runs: list[Run], rounds: Rounds, task: Task, seed: int) -> CandidateMetrics:
    names, metrics, losses, notes = [], [], [], list[str]()
    labels, masks = np.empty(0), np.empty(0)
    for name, ids, outputs in usable_outputs(rounds, task, notes.append):
        if not names:
            labels = _labels(runs, task.name, ids)
            if len(labels) < FOLDS:
                raise InputError(
                    f"Task {task.name} has {len(labels)} labelled dev rows, but selection needs at least {FOLDS}. "
                    "Add rows."
                )
            masks = row_masks(labels, seed)
        names.append(name)
        metric, loss = metric_and_loss(task, predictions(task.kind, outputs), labels, masks)
        metrics.append(metric)
        losses.append(loss)
    if not names:
        raise _no_candidate(runs, task.name)
    return CandidateMetrics(task, names, np.stack(metrics), np.stack(losses), notes)


def _best_overall(measured: Mapping[str, CandidateMetrics]) -> set[Candidate]:
    """Return the candidates with the best score over all tasks on any mask; empty if none predicts all tasks."""
    places = {task: {name: place for place, name in enumerate(found.names)} for task, found in measured.items()}
    shared = [name for name in next(iter(places.values())) if all(name in place for place in places.values())]
    if not shared:
        return set()
    metrics = {task: found.metrics[[places[task][name] for name in shared]] for task, found in measured.items()}
    scores = score(metrics, {task: found.task for task, found in measured.items()})
    return {shared[number] for number in scores.argmax(axis=0)}


def _stored_outputs(
    rounds: Rounds, task: Task, note: Callable[[str], object]
) -> Iterator[tuple[Candidate, list[str], np.ndarray]]:
    for candidate, folder in rounds.items():
        name = f"{round_name(candidate.round)}-{task.name}.parquet"
        if not (folder / PREDICTIONS).exists(name):
            continue
        try:
            ids, outputs = read_predictions(folder / PREDICTIONS, name)
        except InputError as error:
            note(f"{candidate}: skipped. {error}")
            continue
        if outputs.shape[1] == task.outputs:
            yield candidate, ids, outputs
        else:
            note(f"{candidate}: skipped, because {name} has {outputs.shape[1]} outputs per row, not {task.outputs}.")


def _labels(runs: list[Run], task: str, ids: list[str]) -> np.ndarray:
    """Return the labels [rows] of dev rows, after checking that the data of all runs agree on them."""
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
    if missing := next((identifier for identifier in ids if identifier not in known), None):
        places = " and ".join(str(run.folder) for run in runs)
        raise InputError(
            f"{places}: a round predicts dev row {missing!r} of {task}, which has no label in the run's data. "
            "Choose members from runs with their own data."
        )
    return np.array([known[identifier] for identifier in ids], np.float32)


def _aligned(
    found: tuple[Candidate, list[str]], wanted: tuple[Candidate, list[str]], outputs: np.ndarray
) -> np.ndarray:
    """Return the outputs [rows, width] in the order of the rows `wanted`."""
    if found[1] == wanted[1]:
        return outputs
    for (name, ids), (_, others) in ((found, wanted), (wanted, found)):
        known = set(ids)
        missing = [identifier for identifier in others if identifier not in known]
        if missing:
            raise InputError(
                f"{name}: no prediction of dev row {missing[0]!r}, which other candidates predict ({len(missing)} rows "
                "are missing). Choose members from runs on the same data."
            )
    place = {identifier: row for row, identifier in enumerate(found[1])}
    return outputs[[place[identifier] for identifier in wanted[1]]]


def _no_candidate(runs: list[Run], task: str) -> InputError:
    places = " and ".join(str(run.folder) for run in runs)
    return InputError(
        f"{places}: no finished round has both weights and finite predictions of task {task}, so there is nothing "
        "to choose from. Resume the search until a round of this task is finished."
    )
