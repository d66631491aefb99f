"""Measure what a trial adds to the ensemble of the trials that ended before it: the objective `ensemble`."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from search.runs.run import Run
from search.runs.trial_record import RUNNING
from search.selection.candidates import Candidate, usable_outputs
from search.selection.cross_fitting import FOLDS, CrossFitted, Fold, cross_fit, fold_numbers, make_folds, row_masks
from search.selection.library import Library, tasks_of
from search.selection.shortlist import metric_and_loss, shortlist
from search.selection.strategies import STRATEGIES
from trainers.evaluation.evaluate import dev_rows
from trainers.evaluation.scores import predictions, score
from trainers.seeds import seed_of
from trainers.trial import read_rows

LIMIT = 20
"""Number of candidates per task, the best rounds of all earlier trials, with which a trial is combined."""
PRUNE_ABOVE = 200
"""Number of candidates per task above which candidates are discarded that are not among the best on any row mask."""


def contribution(candidates: Mapping[str, Library], trial: Mapping[str, Library], seed: int) -> float:
    """Return the increase of the greedy ensemble's cross-fitted score that a trial brings, over all tasks.

    The ensemble of no candidates predicts a constant: the most frequent class, or an r of 0. The first trial adds its
    advantage over that constant, so the contributions of all trials are comparable.

    Args:
        candidates: task -> the candidates so far, possibly none. Each fold uses only the best few.
        trial: task -> the trial's rounds on the same rows, possibly none. All of them are used, however weak.
    """
    before = {task: _ensemble_metric(library, library.predictions[:0], seed) for task, library in candidates.items()}
    after = {task: _ensemble_metric(library, trial[task].predictions, seed) for task, library in candidates.items()}
    tasks = tasks_of(candidates)
    return float(score(after, tasks) - score(before, tasks))


class Contributions:
    """The best candidates of a run's ended trials, to which further trials are compared."""

    def __init__(self, run: Run):
        """Read the run's ended trials."""
        self.run, self.seed = run, run.search.seed
        self.ids: dict[str, list[str]] = {}
        self.candidates: dict[str, Library] = {}
        corpus = run.corpus()
        for name in run.search.tasks:
            task, split = corpus.tasks[name], corpus.splits[name]["dev"]
            rows = dev_rows(corpus, name, run.search.dev_rows)
            self.ids[name] = [split.ids[row] for row in rows]
            nothing = np.empty((0, len(rows), task.outputs), np.float32)
            self.candidates[name] = Library(task, nothing, split.labels[rows])
        for trial in run.trials():
            if trial.state != RUNNING:
                self.add(trial.number)

    def of(self, number: int) -> float:
        """Return the contribution of a trial's finished rounds; their weights need not be on disk."""
        return contribution(self.candidates, self._rounds(number), seed_of(self.seed, "contribution"))

    def add(self, number: int) -> None:
        """Add an ended trial's rounds to the candidates; discard weak candidates if there are too many."""
        for task, library in self._rounds(number).items():
            joined = self.candidates[task].joined(library.predictions)
            self.candidates[task] = joined.candidates(self._best(joined)) if len(joined) > PRUNE_ABOVE else joined

    def _best(self, library: Library) -> np.ndarray:
        masks = row_masks(library.labels, seed_of(self.seed, "contribution"))
        measured = [metric_and_loss(library.task, found, library.labels, masks) for found in library.predictions]
        metrics, losses = np.stack(measured, axis=1)
        return shortlist(metrics, losses, LIMIT)

    def _rounds(self, number: int) -> dict[str, Library]:
        """Read the predictions of a trial's finished rounds."""
        folder, found = self.run.trial_folder(number), {}
        rounds = {Candidate(self.run.folder.uri, number, row.round): folder for row in read_rows(folder) if row.finite}
        for task, library in self.candidates.items():
            outputs = [library.predictions[:0]]
            for _, ids, values in usable_outputs(rounds, library.task):
                assert ids == self.ids[task]  # all trials of a run are scored on the same rows
                outputs.append(predictions(library.task.kind, values)[None])
            found[task] = replace(library, predictions=np.concatenate(outputs))
        return found


def _ensemble_metric(library: Library, trial: np.ndarray, seed: int) -> float:
    """Return the cross-fitted metric of the greedy ensemble of candidates and a trial.

    The candidates are shortlisted inside each fold before the trial's rounds are added, so a weak trial is never cut.

    Args:
        trial: [rounds, rows, width], predictions of the trial's rounds.
    """
    if not len(library) + len(trial):
        return CrossFitted(_constant(library), fold_numbers(library.labels, seed)).metric(library)
    folds = [_with_trial(fold, trial) for fold in make_folds([library] * FOLDS, seed, LIMIT)]
    return cross_fit(STRATEGIES["greedy"], folds, seed).metric(library)


def _with_trial(fold: Fold, trial: np.ndarray) -> Fold:
    predictions = np.concatenate([fold.predictions, trial[:, fold.held_out]])
    return Fold(fold.held_out, predictions, fold.library.joined(trial[:, ~fold.held_out]))


def _constant(library: Library) -> np.ndarray:
    """Return the mean of the labels, or the share of each class, as the prediction of every row, [rows, width]."""
    rows, width = library.predictions.shape[1:]
    shares = np.eye(width)[library.labels.astype(np.int64)] if width > 1 else library.labels[:, None]
    return np.broadcast_to(shares.mean(axis=0), (rows, width))
