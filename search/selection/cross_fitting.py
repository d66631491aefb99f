"""Cross-fitting: select on some folds of the dev rows and predict the rest, so each row is predicted without its label.

The metric of these predictions estimates how good a selection is on new rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.selection.library import Library, tasks_of
from search.selection.shortlist import LIMIT, best_candidates
from search.selection.strategies import Strategy
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


def cross_fit(strategy: Strategy, folds: Sequence[Fold], seed: int) -> np.ndarray:
    """Predict the rows of each fold by an ensemble that was selected without them; return [rows, width].

    Compute the metric once, on all rows, and not per fold.
    """
    pooled = np.empty((len(folds[0].held_out), folds[0].predictions.shape[-1]), np.float32)
    for number, fold in enumerate(folds):
        selection = strategy(fold.library, numpy_generator(seed, "fold", number))
        pooled[fold.held_out] = selection.combine(fold.predictions)
    return pooled


def cross_fit_single(libraries: Mapping[str, Library], seeds: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Cross-fit the choice of the single candidate with the best score: return task -> predictions [rows, width].

    Args:
        libraries: task -> library; a candidate has the same number in all libraries.
    """
    pooled = {task: np.empty(library.predictions.shape[1:], np.float32) for task, library in libraries.items()}
    numbers = {task: fold_numbers(library.labels, seeds[task]) for task, library in libraries.items()}
    for fold in range(FOLDS):
        held_out = {task: numbers[task] == fold for task in libraries}
        metrics = {task: library.rows(~held_out[task]).metrics for task, library in libraries.items()}
        best = score(metrics, tasks_of(libraries)).argmax()
        for task, library in libraries.items():
            pooled[task][held_out[task]] = library.predictions[best, held_out[task]]
    return pooled


def _fold(library: Library, held_out: np.ndarray, limit: int) -> Fold:
    others = library.rows(~held_out)
    chosen = best_candidates(others, limit)
    return Fold(held_out, library.predictions[chosen][:, held_out], others.candidates(chosen))
