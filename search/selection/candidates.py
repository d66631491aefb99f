"""Runs -> the candidates of each task: dev predictions of rounds, aligned by id, and of many the best alone."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from model.errors import InputError
from search.runs.run import Run
from search.selection.cross_fitting import FOLDS, views
from search.selection.library import Library
from search.selection.shortlist import shortlist, standing
from trainers.evaluation.predictions import read_predictions
from trainers.evaluation.scores import HasKind, predictions, score
from trainers.folder import Folder
from trainers.tasks import Kind, Task
from trainers.trial import PREDICTIONS, round_name


@dataclass(frozen=True, order=True)
class Candidate:
    """A round of a trial, or a run's soup, that may join an ensemble."""

    run: str
    """URI of its run."""
    trial: int | None
    """None for the soup."""
    round: int

    def __str__(self) -> str:
        return f"{self.run}, trial {self.trial}, round {self.round}"


Rounds = Mapping[Candidate, Folder]
"""Rounds, each with the directory of its trial."""


@dataclass(frozen=True)
class Candidates:
    """The candidates of one task."""

    names: list[Candidate]
    ids: list[str]
    """[rows], of the library."""
    library: Library


@dataclass(frozen=True)
class Standings:
    """How all candidates of one task stand in every view of its rows; their predictions are not kept."""

    kind: Kind
    names: list[Candidate]
    figures: np.ndarray
    """[candidates, views, 2], metrics and losses."""
    notes: list[str]
    """What was left out, in words."""


def searched_tasks(runs: list[Run]) -> dict[str, Task]:
    """Return the tasks that any of the runs was searched for.

    Raises:
        InputError: a task is not what it is in the data of the first run, whose rows the ensemble predicts.
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
        Candidate(run.folder.uri, trial.number, number): trial.folder for run in runs for trial, number in run.kept()
    }


def compare(
    runs: list[Run], rounds: Rounds, tasks: Mapping[str, HasKind], seeds: Mapping[str, int]
) -> dict[str, Standings]:
    """Read the candidates of each task, one at a time, and tell how they stand.

    Args:
        seeds: task -> what deals its rows to folds.

    Raises:
        InputError: a task has none or too few rows, or they do not predict the same rows.
    """
    return {name: _standings(runs, rounds, name, task.kind, seeds[name]) for name, task in tasks.items()}


def collect(runs: list[Run], rounds: Rounds, standings: Mapping[str, Standings]) -> dict[str, Candidates]:
    """Read those candidates of each task again that any selection may take, alone or for all tasks together."""
    together = _best_together(standings)
    found = {}
    for task, all_of_it in standings.items():
        chosen = together | {all_of_it.names[number] for number in shortlist(all_of_it.figures)}
        places = {name: folder for name, folder in rounds.items() if name in chosen}
        found[task] = gather(runs, places, task, all_of_it.kind)
    return found


def gather(runs: list[Run], rounds: Rounds, task: str, kind: Kind) -> Candidates:
    """Read all candidates of one task.

    Raises:
        InputError: there is none, or they do not predict the same rows.
    """
    found = list(finite_outputs(rounds, task))
    if not found:
        raise _nothing(runs, task)
    names, outputs = [name for name, _, _ in found], np.stack([values for _, _, values in found])
    ids = found[0][1]
    return Candidates(names, ids, Library(kind, predictions(kind, outputs), _labels(runs, task, ids)))


def finite_outputs(
    rounds: Rounds, task: str, note: Callable[[str], object] = lambda text: None
) -> Iterator[tuple[Candidate, list[str], np.ndarray]]:
    """Yield ids and outputs [rows, width] of the rounds that predicted the task, all with the rows of the first.

    Args:
        note: is told which are left out.
    """
    first: tuple[Candidate, list[str]] | None = None
    for name, ids, outputs in _predictions(rounds, task):
        if not np.isfinite(outputs).all():
            note(f"{name}: predictions of {task} are not finite; left out.")
            continue
        first = first or (name, ids)
        yield name, first[1], _aligned((name, ids), first, outputs)


def _standings(runs: list[Run], rounds: Rounds, task: str, kind: Kind, seed: int) -> Standings:
    names, figures, notes = [], [], list[str]()
    labels, seen = np.empty(0), np.empty(0)
    for name, ids, outputs in finite_outputs(rounds, task, notes.append):
        if not names:
            labels = _labels(runs, task, ids)
            if len(labels) < FOLDS:
                raise InputError(f"Task {task} has {len(labels)} labelled dev rows; add some: selection needs {FOLDS}.")
            seen = views(labels, seed)
        names.append(name)
        figures.append(standing(kind, predictions(kind, outputs), labels, seen))
    if not names:
        raise _nothing(runs, task)
    return Standings(kind, names, np.stack(figures), notes)


def _best_together(standings: Mapping[str, Standings]) -> set[Candidate]:
    """Return the candidates whose score over all tasks is the best in any view; none if none predicts them all."""
    places = {task: {name: place for place, name in enumerate(found.names)} for task, found in standings.items()}
    shared = [name for name in next(iter(places.values())) if all(name in place for place in places.values())]
    if not shared:
        return set()
    metrics = {task: found.figures[[places[task][name] for name in shared], :, 0] for task, found in standings.items()}
    return {shared[number] for number in score(metrics, standings).argmax(axis=0)}


def _predictions(rounds: Rounds, task: str) -> Iterator[tuple[Candidate, list[str], np.ndarray]]:
    for candidate, folder in rounds.items():
        name = f"{round_name(candidate.round)}-{task}.parquet"
        if (folder / PREDICTIONS).exists(name):
            yield candidate, *read_predictions(folder / PREDICTIONS, name)


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


def _aligned(
    found: tuple[Candidate, list[str]], wanted: tuple[Candidate, list[str]], outputs: np.ndarray
) -> np.ndarray:
    """Return the outputs [rows, width] of the rows `wanted`, in their order."""
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


def _nothing(runs: list[Run], task: str) -> InputError:
    places = " and ".join(str(run.folder) for run in runs)
    return InputError(
        f"{places}: no finished round has both weights and finite predictions of task {task}, so there is nothing "
        "to choose from. Let the search finish a round of it."
    )
