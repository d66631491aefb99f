"""The candidates' predictions of one task with the labels, and an ensemble of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from search.selection.combiners import combine
from trainers.evaluation.scores import METRICS
from trainers.tasks import Kind

TINY = 1e-7
"""Least probability that a loss believes: one sure mistake must not outweigh all other rows."""


@dataclass(frozen=True)
class Library:
    """What an ensemble of one task may be made of."""

    kind: Kind
    predictions: np.ndarray
    """[candidates, rows, width], float32: probabilities or values."""
    labels: np.ndarray
    """[rows]"""

    def __len__(self) -> int:
        return len(self.predictions)

    def rows(self, chosen: np.ndarray) -> "Library":
        """Return the library on some of the rows: row numbers, or a mask [rows]."""
        return replace(self, predictions=self.predictions[:, chosen], labels=self.labels[chosen])

    def candidates(self, chosen: np.ndarray | list[int]) -> "Library":
        """Return the library of some of the candidates."""
        return replace(self, predictions=self.predictions[chosen])

    def joined(self, predictions: np.ndarray) -> "Library":
        """Return the library with more candidates, which predict [more, rows, width]."""
        return replace(self, predictions=np.concatenate([self.predictions, predictions]))

    def metric(self, predictions: np.ndarray) -> np.ndarray:
        """Score predictions [..., rows, width]."""
        return METRICS[self.kind](predictions, self.labels)

    def loss(self, predictions: np.ndarray) -> np.ndarray:
        """Return the mean loss of predictions [..., rows, width], which breaks ties of the metric."""
        return LOSSES[self.kind](predictions, self.labels).mean(axis=-1)

    @cached_property
    def metrics(self) -> np.ndarray:
        """What each candidate scores alone, [candidates]."""
        return self.metric(self.predictions)

    @cached_property
    def losses(self) -> np.ndarray:
        """What each candidate loses alone, [candidates]."""
        return self.loss(self.predictions)

    @cached_property
    def ranking(self) -> np.ndarray:
        """Candidates from best to worst, [candidates]: by metric, then loss, then number."""
        return np.lexsort((self.losses, -self.metrics))


@dataclass(frozen=True)
class Selection:
    """An ensemble: what each candidate weighs, and how those that weigh anything combine."""

    weights: np.ndarray
    """[candidates], not negative; their sum is 1."""
    rule: str
    """A name in COMBINERS."""

    def combine(self, predictions: np.ndarray) -> np.ndarray:
        """Return the ensemble's predictions [rows, width] from the candidates' [candidates, rows, width]."""
        members = np.flatnonzero(self.weights)
        return combine(self.rule, ((predictions[member], float(self.weights[member])) for member in members))


def cross_entropy(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the negative log of each label's probability, [..., rows], in [..., rows, classes]."""
    own = predictions[..., np.arange(len(labels)), labels.astype(np.int64)]
    return -np.log(np.maximum(own, TINY))


def binary_cross_entropy(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the negative log of each label's probability, [..., rows], where [..., rows, 1] are those of yes."""
    own = np.where(labels == 1, predictions[..., 0], 1 - predictions[..., 0])
    return -np.log(np.maximum(own, TINY))


def squared_error(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the squared error [..., rows] of values [..., rows, 1]."""
    return np.square(predictions[..., 0] - labels)


LOSSES: dict[Kind, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "classification": cross_entropy,
    "binary": binary_cross_entropy,
    "regression": squared_error,
}
