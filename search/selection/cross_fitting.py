"""Cross-fitting: select on some folds of the dev rows and predict the rest, so each row is predicted without its label.

The metric of these predictions estimates how good a selection is on new rows. Each fold has an ensemble of its own, so
a metric that is no mean over rows is computed in each fold; see `CrossFitted`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.selection.library import Library, tasks_of
from search.selection.shortlist import LIMIT, best_candidates
from search.selection.strategies import Strategy
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.scores import score
from trainers.seeds import numpy_generator

FOLDS = 5
MASKS = 1 + FOLDS
"""Number of row masks: all rows, and the rows outside each fold."""


@dataclass(frozen=True)
class Fold:
    """Held-out rows, and the candidates from which the ensemble of these rows is selected on all other rows."""

    held_out: np.ndarray
    """[all rows], whether a row is held out."""
    predictions: np.ndarray
    """[candidates, rows held out, width]"""
    library: Library
    """The same candidates on the other rows."""


@dataclass(frozen=True)
class CrossFitted:
    """Predictions of each row by a selection that was made without the row's fold.

    The predictions of one fold have a scale of their own: Pearson's r of all rows together would be too low, even if
    every fold's ensemble were perfect.
    """

    predictions: np.ndarray
    """[rows, width]"""
    folds: np.ndarray
    """[rows], the number of each row's fold."""

    def parts(self, metric: str) -> list[np.ndarray]:
        """Return the row numbers on which a metric is computed: all rows of a mean over rows, else those of each fold.

        Args:
            metric: a name in METRICS.
        """
        everything = np.arange(len(self.folds))
        return [everything] if METRICS[metric].mean_of_rows else [everything[self.folds == k] for k in range(FOLDS)]

    def metric(self, library: Library) -> float:
        """Return the metric of the predictions of a library's rows."""
        metric = library.task.metric
        return mean_metric(metric, self.predictions, library.labels, self.parts(metric))


def mean_metric(metric: str, predictions: np.ndarray, labels: np.ndarray, parts: Sequence[np.ndarray]) -> float:
    """Return the mean of a metric over parts of the rows, weighted by the numbers of rows.

    A part with one label only is left out: it ranks no predictions, and an r of 0 would pull the mean down. If all
    parts are such, there are too few rows for parts, and the metric is computed on all rows together.

    Args:
        metric: a name in METRICS.
        predictions: [rows, width]
        labels: [rows]
        parts: the row numbers of each part; a row may be repeated.
    """
    compute = METRICS[metric].compute
    varied = [rows for rows in parts if np.ptp(labels[rows]) > 0] or [np.concatenate(parts)]
    weights = np.array([len(rows) for rows in varied]) / sum(len(rows) for rows in varied)
    return float(weights @ np.array([compute(predictions[rows], labels[rows]) for rows in varied]))


def fold_numbers(labels: np.ndarray, seed: int) -> np.ndarray:
    """Assign rows to folds, [rows], stratified by class; values are assigned in their sorted order."""
    order = np.lexsort((numpy_generator(seed, "folds").random(len(labels)), labels))
    numbers = np.empty(len(labels), np.int64)
    numbers[order] = np.arange(len(labels)) % FOLDS
    return numbers


def row_masks(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows on which each selection is made, [masks, rows]: all rows, then the rows outside each fold."""
    return fold_numbers(labels, seed) != np.arange(-1, FOLDS)[:, None]


def make_folds(libraries: Sequence[Library], seed: int, limit: int = LIMIT) -> list[Fold]:
    """Hold out the rows of each fold in turn; keep the candidates of its library that are best on the other rows.

    Args:
        libraries: one for each fold. They differ only in candidates built with dev labels (soups): each fold's were
            built without that fold's rows.
    """
    numbers = fold_numbers(libraries[0].labels, seed)
    return [_fold(library, numbers == fold, limit) for fold, library in enumerate(libraries)]


def cross_fit(strategy: Strategy, folds: Sequence[Fold], seed: int) -> CrossFitted:
    """Predict the rows of each fold by an ensemble that was selected without them."""
    held_out = np.stack([fold.held_out for fold in folds])
    predictions = np.empty((held_out.shape[1], folds[0].predictions.shape[-1]), np.float32)
    for number, fold in enumerate(folds):
        selection = strategy(fold.library, numpy_generator(seed, "fold", number))
        predictions[fold.held_out] = selection.combine(fold.predictions)
    return CrossFitted(predictions, held_out.argmax(axis=0))


def cross_fit_single(libraries: Mapping[str, Library], seeds: Mapping[str, int]) -> dict[str, CrossFitted]:
    """Cross-fit the choice of the single candidate with the best score: return task -> predictions.

    Args:
        libraries: task -> library; a candidate has the same number in all libraries.
    """
    found = {
        task: CrossFitted(
            np.empty(library.predictions.shape[1:], np.float32), fold_numbers(library.labels, seeds[task])
        )
        for task, library in libraries.items()
    }
    for fold in range(FOLDS):
        held_out = {task: found[task].folds == fold for task in libraries}
        metrics = {task: library.rows(~held_out[task]).metrics for task, library in libraries.items()}
        best = score(metrics, tasks_of(libraries)).argmax()
        for task, library in libraries.items():
            found[task].predictions[held_out[task]] = library.predictions[best, held_out[task]]
    return found


def _fold(library: Library, held_out: np.ndarray, limit: int) -> Fold:
    others = library.rows(~held_out)
    chosen = best_candidates(others, limit)
    return Fold(held_out, library.predictions[chosen][:, held_out], others.candidates(chosen))
