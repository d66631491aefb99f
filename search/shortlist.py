"""How thousands of candidates stand, on all rows and without each fold -> the few that any selection may take."""

from collections.abc import Callable

import numpy as np

from search.selection import LOSSES, Library
from trainers.scores import METRICS, centered
from trainers.tasks import Kind

LIMIT = 100
"""Candidates of a task that a strategy sees: the best on the rows that it selects on."""

TINY = 1e-12
"""Share of a variance that is rounding."""


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
    losses = LOSSES[kind](predictions, labels)
    return np.stack([_METRICS[kind](kind, predictions, labels, views), _means(losses, views)], axis=-1)


def _accuracies(kind: Kind, predictions: np.ndarray, labels: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Score rows one by one, once for all views: an accuracy is a mean over rows."""
    return _means(METRICS[kind](predictions[:, None], labels[:, None]), views)


def _pearsons(kind: Kind, predictions: np.ndarray, labels: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Return Pearson's r in every view from means of products, which takes one pass over the rows."""
    values, truth = centered(predictions[:, 0]), centered(labels)
    products = np.stack([values, truth, values**2, truth**2, values * truth], axis=1)
    value, true, square, true_square, product = _means(products, views)
    variances = (square - value**2) * (true_square - true**2)
    # What a constant leaves is rounding.
    varies = variances > TINY * square * true_square
    return np.where(varies, (product - value * true) / np.sqrt(np.where(varies, variances, 1)), 0)


def _means(figures: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Average figures [rows, ...] over the rows of every view, [..., views]."""
    # Sums of whole numbers are exact, so that equal accuracies stay equal.
    return (views.astype(np.float64) @ figures).T / views.sum(axis=1)


_METRICS: dict[Kind, Callable[[Kind, np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "classification": _accuracies,
    "binary": _accuracies,
    "regression": _pearsons,
}
