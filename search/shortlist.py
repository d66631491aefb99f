"""How thousands of candidates stand, on all rows and without each fold -> the few that any selection may take."""

from collections.abc import Callable

import numpy as np

from search.selection import LOSSES, Library
from trainers.scores import METRICS
from trainers.tasks import Kind

LIMIT = 100
"""Candidates of a task that a strategy sees: the best on the rows that it selects on."""


def best(library: Library, limit: int = LIMIT) -> np.ndarray:
    """Return the numbers of the best candidates, [at most limit], ascending."""
    return np.sort(library.ranking[:limit])


def shortlist(standings: np.ndarray, limit: int = LIMIT) -> np.ndarray:
    """Return the numbers of the candidates that are among the best in any view, [chosen], ascending.

    Args:
        standings: [candidates, views, 2], metrics and losses.
    """
    return np.unique(ranked(standings)[:limit])


def ranked(standings: np.ndarray) -> np.ndarray:
    """Order candidates from best to worst in every view, as `Library.ranking` does, [candidates, views].

    Args:
        standings: [candidates, views, 2], metrics and losses.
    """
    return np.lexsort((standings[..., 1], -standings[..., 0]), axis=0)


def standing(kind: Kind, predictions: np.ndarray, labels: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Return metric and loss of one candidate in every view, [views, 2].

    Args:
        predictions: [rows, width].
        labels: [rows].
        views: [views, rows], whether a view sees a row.
    """
    losses = _mean_of_rows(LOSSES[kind](predictions, labels), views)
    return np.stack([_METRICS[kind](kind, predictions, labels, views), losses], axis=-1)


def _shares_of_rows(kind: Kind, predictions: np.ndarray, labels: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Score rows one by one, once for all views: an accuracy is a mean over rows."""
    return _mean_of_rows(METRICS[kind](predictions[:, None], labels[:, None]), views)


def _view_by_view(kind: Kind, predictions: np.ndarray, labels: np.ndarray, views: np.ndarray) -> np.ndarray:
    return np.array([METRICS[kind](predictions[view], labels[view]) for view in views])


def _mean_of_rows(figures: np.ndarray, views: np.ndarray) -> np.ndarray:
    # Sums of whole numbers are exact, so that equal accuracies stay equal.
    return views.astype(np.float64) @ figures / views.sum(axis=1)


_METRICS: dict[Kind, Callable[[Kind, np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "classification": _shares_of_rows,
    "binary": _shares_of_rows,
    "regression": _view_by_view,
}
