"""Trials that have ended and one more -> what that one adds to their ensemble: the objective `ensemble`."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from search.runs.run import Run
from search.runs.trial_record import RUNNING
from search.selection.candidates import Candidate, finite_outputs
from search.selection.cross_fitting import FOLDS, Held, cross_fit, deal, views
from search.selection.library import Library
from search.selection.shortlist import shortlist, standing
from search.selection.strategies import STRATEGIES
from trainers.evaluation.evaluate import dev_rows
from trainers.evaluation.scores import predictions, score
from trainers.seeds import seed_of
from trainers.trial import read_rows

LIMIT = 20
"""Candidates of a task that a trial is joined to: the best rounds of all trials before."""
REMEMBERED = 200
"""Candidates of a task after which those are forgotten that are not among the best in any view."""


def contribution(present: Mapping[str, Library], trial: Mapping[str, Library], seed: int) -> float:
    """Return by how much a trial raises the score of the greedy ensemble, cross-fitted, over all tasks.

    The ensemble of no candidates predicts the same for all rows: the commonest class, or an r of 0. So the first trial
    adds what it is better than that, and figures of all trials can be compared.

    Args:
        present: task -> the candidates so far, maybe none. Inside each fold the best few count.
        trial: task -> the trial's rounds on the same rows, maybe none. All of them count, however weak.
    """
    before = {task: _worth(library, library.predictions[:0], seed) for task, library in present.items()}
    after = {task: _worth(library, trial[task].predictions, seed) for task, library in present.items()}
    return float(score(after, present) - score(before, present))


class Contributions:
    """The best candidates of a run's trials that have ended, and what a further trial adds to them."""

    def __init__(self, run: Run):
        """Read the run's ended trials."""
        self.run, self.seed = run, run.search.seed
        self.ids: dict[str, list[str]] = {}
        self.present: dict[str, Library] = {}
        corpus = run.corpus()
        for name in run.search.tasks:
            task, split = corpus.tasks[name], corpus.splits[name]["dev"]
            rows = dev_rows(corpus, name, run.search.dev_rows)
            self.ids[name] = [split.ids[row] for row in rows]
            self.present[name] = Library(
                task.kind, np.empty((0, len(rows), task.outputs), np.float32), split.labels[rows]
            )
        for trial in run.trials():
            if trial.state != RUNNING:
                self.add(trial.number)

    def of(self, number: int) -> float:
        """Return what the finished rounds of a trial add. Their predictions are enough, weights need not be kept."""
        return contribution(self.present, self._rounds(number), seed_of(self.seed, "contribution"))

    def add(self, number: int) -> None:
        """Count an ended trial's rounds among the candidates; forget those that have become too many."""
        for task, library in self._rounds(number).items():
            joined = self.present[task].joined(library.predictions)
            self.present[task] = joined.candidates(self._best(joined)) if len(joined) > REMEMBERED else joined

    def _best(self, library: Library) -> np.ndarray:
        seen = views(library.labels, seed_of(self.seed, "contribution"))
        standings = [standing(library.kind, found, library.labels, seen) for found in library.predictions]
        return shortlist(np.stack(standings), LIMIT)

    def _rounds(self, number: int) -> dict[str, Library]:
        """Read the predictions of a trial's finished rounds."""
        folder, found = self.run.trial_folder(number), {}
        rounds = {
            Candidate(self.run.folder.uri, number, row["round"]): folder for row in read_rows(folder) if row["finite"]
        }
        for task, library in self.present.items():
            outputs = [library.predictions[:0]]
            for _, ids, values in finite_outputs(rounds, task):
                assert ids == self.ids[task]  # all trials of a run are scored on the same rows
                outputs.append(predictions(library.kind, values)[None])
            found[task] = replace(library, predictions=np.concatenate(outputs))
        return found


def _worth(present: Library, trial: np.ndarray, seed: int) -> float:
    """Return the cross-fitted metric of the greedy ensemble of candidates and a trial.

    The cut is made inside each fold, and before the trial joins: it must not need to be good to be seen.

    Args:
        trial: [rounds, rows, width], predictions of its rounds.
    """
    if not len(present) + len(trial):
        return float(present.metric(_constant(present)))
    dealt = [_joined(held, trial) for held in deal([present] * FOLDS, seed, LIMIT)]
    return float(present.metric(cross_fit(STRATEGIES["greedy"], dealt, seed)))


def _joined(held: Held, trial: np.ndarray) -> Held:
    predictions = np.concatenate([held.predictions, trial[:, held.rows]])
    return Held(held.rows, predictions, held.others.joined(trial[:, ~held.rows]))


def _constant(library: Library) -> np.ndarray:
    """Return the labels' mean, or the classes' shares, as the prediction of every row, [rows, width]."""
    rows, width = library.predictions.shape[1:]
    shares = np.eye(width)[library.labels.astype(np.int64)] if width > 1 else library.labels[:, None]
    return np.broadcast_to(shares.mean(axis=0), (rows, width))
