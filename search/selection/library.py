"""The candidates' predictions of one task, and the selection of an ensemble from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from search.selection.combiners import combine
from trainers.evaluation.metrics import METRICS
from trainers.tasks import Kind, Task

SMALLEST_PROBABILITY = 1e-7
"""Lower bound on the probability in a loss, so that one confident mistake does not outweigh all other rows."""


@dataclass(frozen=True)
class Library:
    """The candidates of one task: their predictions and the labels."""

    task: Task
    predictions: np.ndarray
    """[candidates, rows, width], float32: probabilities or values."""
    labels: np.ndarray
    """[rows]"""

    def __len__(self) -> int:
        return len(self.predictions)

    def rows(self, chosen: np.ndarray) -> "Library":
        """Return the library restricted to some rows, given as row numbers or as a mask [rows]."""
        return replace(self, predictions=self.predictions[:, chosen], labels=self.labels[chosen])

    def candidates(self, chosen: np.ndarray | list[int]) -> "Library":
        """Return the library restricted to some candidates, given by their numbers."""
        return replace(self, predictions=self.predictions[chosen])

    def joined(self, predictions: np.ndarray) -> "Library":
        """Return the library with more candidates, whose predictions are [more, rows, width]."""
        return replace(self, predictions=np.concatenate([self.predictions, predictions]))

    def metric(self, predictions: np.ndarray) -> np.ndarray:
        """Return the metric [...] of predictions [..., rows, width]."""
        return METRICS[self.task.metric].compute(predictions, self.labels)

    def loss(self, predictions: np.ndarray) -> np.ndarray:
        """Return the mean loss [...] of predictions [..., rows, width]; it breaks ties of the metric."""
        return LOSSES[self.task.kind](predictions, self.labels).mean(axis=-1)

    @cached_property
    def metrics(self) -> np.ndarray:
        """The metric of each candidate, [candidates]."""
        return self.metric(self.predictions)

    @cached_property
    def losses(self) -> np.ndarray:
        """The loss of each candidate, [candidates]."""
        return self.loss(self.predictions)

    @cached_property
    def ranking(self) -> np.ndarray:
        """Candidates from best to worst, [candidates]: by metric, then loss, then number."""
        return np.lexsort((self.losses, -self.metrics))


def tasks_of(libraries: Mapping[str, Library]) -> dict[str, Task]:
    """Return the task of each library."""
    return {name: library.task for name, library in libraries.items()}


@dataclass(frozen=True)
class Selection:
    """An ensemble: the weight of each candidate, and the rule that combines the candidates with a weight above 0."""

    weights: np.ndarray
    """[candidates], not negative, with sum 1."""
    rule: str
    """A name in COMBINERS."""

    def combine(self, predictions: np.ndarray) -> np.ndarray:
        """Return the ensemble's predictions [rows, width] from the candidates' [candidates, rows, width]."""
        members = np.flatnonzero(self.weights)
        return combine(self.rule, ((predictions[member], float(self.weights[member])) for member in members))


def cross_entropy(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the negative log of the label's probability, [..., rows], from probabilities [..., rows, classes]."""
    own = predictions[..., np.arange(len(labels)), labels.astype(np.int64)]
    return -np.log(np.maximum(own, SMALLEST_PROBABILITY))


def binary_cross_entropy(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the negative log of the label's probability, [..., rows], from probabilities of class 1 [..., rows, 1]."""
    own = np.where(labels == 1, predictions[..., 0], 1 - predictions[..., 0])
    return -np.log(np.maximum(own, SMALLEST_PROBABILITY))


def squared_error(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the squared error [..., rows] of values [..., rows, 1]."""
    return np.square(predictions[..., 0] - labels)


LOSSES: dict[Kind, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "classification": cross_entropy,
    "binary": binary_cross_entropy,
    "regression": squared_error,
}
