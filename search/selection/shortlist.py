"""Rank all candidates on the dev rows and on each cross-fitting split; keep the best few."""

from collections.abc import Callable

import numpy as np

from search.selection.library import LOSSES, Library
from trainers.evaluation.metrics import METRICS, accuracy, centered
from trainers.tasks import Task

LIMIT = 100
"""Number of candidates per task that a strategy receives: the best on the rows that it selects on."""

NEGLIGIBLE_VARIANCE = 1e-12
"""Relative size below which a variance is a rounding error."""


def best_candidates(library: Library, limit: int = LIMIT) -> np.ndarray:
    """Return the numbers of the best candidates, [at most limit], ascending."""
    return np.sort(library.ranking[:limit])


def shortlist(metrics: np.ndarray, losses: np.ndarray, limit: int = LIMIT) -> np.ndarray:
    """Return the numbers of the candidates that are among the best on any row mask, [chosen], ascending.

    Args:
        metrics, losses: [candidates, masks]
    """
    return np.unique(rank(metrics, losses)[:limit])


def rank(metrics: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Order the candidates from best to worst on every row mask, as `Library.ranking` does, [candidates, masks].

    Args:
        metrics, losses: [candidates, masks]
    """
    return np.lexsort((losses, -metrics), axis=0)


def metric_and_loss(
    task: Task, predictions: np.ndarray, labels: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the metric [masks] and the loss [masks] of one candidate on the rows of each mask.

    Args:
        predictions: [rows, width]
        labels: [rows]
        masks: [masks, rows], whether a row counts.
    """
    weights = masks.astype(np.float64)
    terms, from_means = METRICS_FROM_MEANS.get(task.metric, (_no_terms, None))
    rows = [*terms(predictions, labels), LOSSES[task.kind](predictions, labels)]
    # Sums of integers are exact, so equal accuracies stay equal.
    *means, loss = np.stack(rows) @ weights.T / weights.sum(axis=1)  # each [masks]
    if from_means:
        return from_means(*means), loss
    compute = METRICS[task.metric].compute
    return np.array([compute(predictions[mask], labels[mask]) for mask in masks]), loss


def _no_terms(predictions: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    return []


def _correct(predictions: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Return 1 for each row that is predicted correctly and 0 for others; an accuracy is their mean."""
    return [accuracy(predictions[:, None], labels[:, None])]


def _products(predictions: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Return the terms, each [rows], whose means over any rows determine Pearson's r on these rows."""
    values, truth = centered(predictions[:, 0]), centered(labels)
    return [values, truth, values**2, truth**2, values * truth]


def _pearson(
    value: np.ndarray, true: np.ndarray, square: np.ndarray, true_square: np.ndarray, product: np.ndarray
) -> np.ndarray:
    """Return Pearson's r from the means of the terms of `_products`."""
    variances = (square - value**2) * (true_square - true**2)
    # The variance of a constant is a rounding error, not exactly 0.
    varies = variances > NEGLIGIBLE_VARIANCE * square * true_square
    return np.where(varies, (product - value * true) / np.sqrt(np.where(varies, variances, 1)), 0)


METRICS_FROM_MEANS: dict[str, tuple[Callable[..., list[np.ndarray]], Callable[..., np.ndarray]]] = {
    "accuracy": (_correct, lambda mean: mean),
    "pearson": (_products, _pearson),
}
"""Metric -> functions that return terms of each row, [rows] each, and the metric from the means of the terms.

With them, one matrix product computes the metric on all masks. A metric without an entry is computed mask by mask.
"""
