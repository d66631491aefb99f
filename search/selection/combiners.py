"""Members' predictions of one task -> the ensemble's, a member at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

SAME = 1e-6
"""Votes, and probabilities of tied classes, that differ by less are equal: a third three times is one."""


class Combiner(Protocol):
    """Members combined so far; adding one gives another combination and leaves this one as it was."""

    def add(self, predictions: np.ndarray, weight: float) -> Self:
        """Return the combination with one more member, whose predictions are [rows, width]."""
        ...

    def result(self) -> np.ndarray:
        """Return the predictions [rows, width], float32, of the combination."""
        ...


@dataclass(frozen=True)
class Mean:
    """Weighted mean of probabilities (soft vote) or values."""

    total: np.ndarray | float = 0.0
    weight: float = 0.0

    def add(self, predictions: np.ndarray, weight: float) -> "Mean":
        """Add to the running sum."""
        # float64, and float32 at the end: a tie between classes stays one whatever the order of the members.
        return Mean(self.total + weight * predictions.astype(np.float64), self.weight + weight)

    def result(self) -> np.ndarray:
        """Divide by the weights."""
        return np.asarray(self.total / self.weight, np.float32)


@dataclass(frozen=True)
class Vote:
    """The class that the weightiest members name; of tied classes the likeliest on average, then the lowest."""

    votes: np.ndarray | float = 0.0
    probabilities: Mean = Mean()

    def add(self, predictions: np.ndarray, weight: float) -> "Vote":
        """Count a member's vote in every row."""
        classes = _classes(predictions)
        vote = classes.argmax(axis=-1)[:, None] == np.arange(classes.shape[-1])
        return Vote(self.votes + weight * vote, self.probabilities.add(predictions, weight))

    def result(self) -> np.ndarray:
        """Return 1 for the elected class and 0 for others."""
        mean = self.probabilities.result()
        votes = np.asarray(self.votes)
        elected = votes >= votes.max(axis=-1, keepdims=True) - SAME
        likely = np.where(elected, _classes(mean), -1)
        winner = (likely >= likely.max(axis=-1, keepdims=True) - SAME).argmax(axis=-1)[:, None]
        return (winner == (1 if mean.shape[-1] == 1 else np.arange(mean.shape[-1]))).astype(np.float32)


@dataclass(frozen=True)
class Median:
    """Weighted median of values; between two middle ones, their mean."""

    members: tuple[np.ndarray, ...] = ()
    weights: tuple[float, ...] = ()

    def add(self, predictions: np.ndarray, weight: float) -> "Median":
        """Keep a member's values: a median has no running sum."""
        return Median((*self.members, predictions), (*self.weights, weight))

    def result(self) -> np.ndarray:
        """Return the value with half of the weight below it."""
        values = np.stack(self.members)
        order = values.argsort(axis=0, kind="stable")
        ordered = np.take_along_axis(values, order, axis=0)
        below = np.array(self.weights)[order].cumsum(axis=0) / sum(self.weights)
        lower, upper = (below >= 0.5 - SAME).argmax(axis=0), (below > 0.5 + SAME).argmax(axis=0)
        middle = [np.take_along_axis(ordered, place[None], axis=0)[0] for place in (lower, upper)]
        return ((middle[0].astype(np.float64) + middle[1]) / 2).astype(np.float32)


COMBINERS: dict[str, type[Mean] | type[Vote] | type[Median]] = {"mean": Mean, "vote": Vote, "median": Median}


def combine(rule: str, members: Iterable[tuple[np.ndarray, float]]) -> np.ndarray:
    """Return an ensemble's predictions [rows, width].

    Args:
        rule: a name in COMBINERS.
        members: (predictions [rows, width], weight above 0) of each; read one at a time.
    """
    combination: Combiner = COMBINERS[rule]()
    for predictions, weight in members:
        combination = combination.add(predictions, weight)
    return combination.result()


def _classes(predictions: np.ndarray) -> np.ndarray:
    """Return probabilities [rows, classes], also where [rows, 1] are given, those of yes."""
    return predictions if predictions.shape[-1] > 1 else np.concatenate([1 - predictions, predictions], axis=-1)
