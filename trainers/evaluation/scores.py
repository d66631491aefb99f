"""Predictions and labels -> metrics -> the score: one place, for one model or for thousands of candidates at once."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from trainers.tasks import Kind

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(predictions [..., rows, width], labels [..., rows]) -> [...]; higher is better. Rows without a label stay out."""


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Turn logits [..., classes] into probabilities that sum to 1."""
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(outputs: np.ndarray) -> np.ndarray:
    """Turn logits [...] into probabilities; large logits of either sign neither overflow nor warn."""
    power = np.exp(-np.abs(outputs))
    return np.where(outputs >= 0, 1, power) / (1 + power)


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of rows whose likeliest class, the lowest of equals, is the label."""
    return (predictions.argmax(axis=-1) == labels).mean(axis=-1)


def binary_accuracy(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of rows that are right if a probability above .5, and no other, means yes."""
    return ((predictions[..., 0] > 0.5) == (labels == 1)).mean(axis=-1)


def pearson(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return Pearson's r between values and labels; 0 where either is constant."""
    values, truth = centered(predictions[..., 0]), centered(labels)
    norms = np.linalg.norm(values, axis=-1) * np.linalg.norm(truth, axis=-1)
    products = np.einsum("...r,...r->...", values, truth)
    return np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)


def centered(values: np.ndarray) -> np.ndarray:
    """Take the mean off values [..., rows], in float64; equal values become exact zeros."""
    # Off the first row first: the mean of equal values differs from them by rounding.
    shifted = values.astype(np.float64) - values[..., :1]
    return shifted - shifted.mean(axis=-1, keepdims=True)


class HasKind(Protocol):
    """A task, or what is about one: its candidates, for example."""

    @property
    def kind(self) -> Kind:
        """What alone decides how it is scored."""
        ...


PREDICTIONS: dict[Kind, Callable[[np.ndarray], np.ndarray]] = {
    "classification": softmax,
    "binary": sigmoid,
    "regression": lambda outputs: outputs,
}
METRICS: dict[Kind, Metric] = {"classification": accuracy, "binary": binary_accuracy, "regression": pearson}


def predictions(kind: Kind, outputs: np.ndarray) -> np.ndarray:
    """Turn outputs [..., rows, width] into what ensembles average: probabilities, or values as they are."""
    return PREDICTIONS[kind](outputs)


def score(metrics: Mapping[str, ArrayLike], tasks: Mapping[str, HasKind]) -> np.ndarray:
    """Average the metrics [...] of tasks, r as (r + 1) / 2: the course's overall score.

    Args:
        tasks: those of the metrics, and any others.

    Source: CS224N default project, overall score; over whichever tasks there are.
    """
    return np.mean([_share(tasks[task].kind, metric) for task, metric in metrics.items()], axis=0)


def plain_mean(metrics: Mapping[str, ArrayLike]) -> np.ndarray:
    """Average the metrics [...] of tasks, r as it is; some reports' tables do."""
    return np.mean([np.asarray(metric) for metric in metrics.values()], axis=0)


def _share(kind: Kind, metric: ArrayLike) -> np.ndarray:
    value = np.asarray(metric)
    return (value + 1) / 2 if kind == "regression" else value
