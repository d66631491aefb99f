"""How thousands of candidates stand, on all rows and without each fold -> the few that any selection may take."""

from collections.abc import Callable

import numpy as np

from search.selection.library import LOSSES, Library
from trainers.evaluation.scores import METRICS, centered
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
    seen = views.astype(np.float64)
    figures, metric = _METRICS[kind]
    rows = [*figures(kind, predictions, labels), LOSSES[kind](predictions, labels)]
    # Sums of whole numbers are exact, so that equal accuracies stay equal.
    *means, loss = np.stack(rows) @ seen.T / seen.sum(axis=1)  # each [views]
    return np.stack([metric(*means), loss], axis=-1)


def _right(kind: Kind, predictions: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Score rows one by one, once for all views: an accuracy is their mean."""
    return [METRICS[kind](predictions[:, None], labels[:, None])]


def _products(kind: Kind, predictions: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Return what Pearson's r in any view follows from by its means, each [rows]."""
    values, truth = centered(predictions[:, 0]), centered(labels)
    return [values, truth, values**2, truth**2, values * truth]


def _pearson(
    value: np.ndarray, true: np.ndarray, square: np.ndarray, true_square: np.ndarray, product: np.ndarray
) -> np.ndarray:
    """Return Pearson's r from means of products."""
    variances = (square - value**2) * (true_square - true**2)
    # What a constant leaves is rounding.
    varies = variances > TINY * square * true_square
    return np.where(varies, (product - value * true) / np.sqrt(np.where(varies, variances, 1)), 0)


_Figures = Callable[[Kind, np.ndarray, np.ndarray], list[np.ndarray]]
_ACCURACY: tuple[_Figures, Callable[..., np.ndarray]] = (_right, lambda mean: mean)
_METRICS: dict[Kind, tuple[_Figures, Callable[..., np.ndarray]]] = {
    "classification": _ACCURACY,
    "binary": _ACCURACY,
    "regression": (_products, _pearson),
}
"""Kind -> figures of every row, and their means in a view -> the metric."""
