"""Combine the predictions of an ensemble's members, one member at a time: mean, vote or median."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

SAME = 1e-6
"""Votes, and probabilities of tied classes, that differ by less count as equal: three times a third equals 1."""


class Combiner(Protocol):
    """The combination of the members added so far; immutable."""

    def add(self, predictions: np.ndarray, weight: float) -> Self:
        """Return the combination with one more member, whose predictions are [rows, width]."""
        ...

    def result(self) -> np.ndarray:
        """Return the predictions [rows, width], float32, of the combination."""
        ...


@dataclass(frozen=True)
class Mean:
    """The weighted mean of probabilities (soft vote) or values."""

    total: np.ndarray | float = 0.0
    weight: float = 0.0

    def add(self, predictions: np.ndarray, weight: float) -> "Mean":
        """Add a member to the weighted sum."""
        # Sum in float64 and round to float32 at the end: a tie between classes then depends on no order of members.
        return Mean(self.total + weight * predictions.astype(np.float64), self.weight + weight)

    def result(self) -> np.ndarray:
        """Divide the sum by the total weight."""
        return np.asarray(self.total / self.weight, np.float32)


@dataclass(frozen=True)
class Vote:
    """The class with the largest total weight; a tie goes to the largest mean probability, then to the lowest class."""

    votes: np.ndarray | float = 0.0
    probabilities: Mean = Mean()

    def add(self, predictions: np.ndarray, weight: float) -> "Vote":
        """Count a member's vote in every row."""
        classes = _class_probabilities(predictions)
        vote = classes.argmax(axis=-1)[:, None] == np.arange(classes.shape[-1])
        return Vote(self.votes + weight * vote, self.probabilities.add(predictions, weight))

    def result(self) -> np.ndarray:
        """Return 1 for the winning class and 0 for the others."""
        mean = self.probabilities.result()
        votes = np.asarray(self.votes)
        tied = votes >= votes.max(axis=-1, keepdims=True) - SAME
        likely = np.where(tied, _class_probabilities(mean), -1)
        winner = (likely >= likely.max(axis=-1, keepdims=True) - SAME).argmax(axis=-1)[:, None]
        return (winner == (1 if mean.shape[-1] == 1 else np.arange(mean.shape[-1]))).astype(np.float32)


@dataclass(frozen=True)
class Median:
    """The weighted median of values; the mean of the two middle values if the weight divides evenly."""

    members: tuple[np.ndarray, ...] = ()
    weights: tuple[float, ...] = ()

    def add(self, predictions: np.ndarray, weight: float) -> "Median":
        """Store a member's values: a median cannot be updated from a sum."""
        return Median((*self.members, predictions), (*self.weights, weight))

    def result(self) -> np.ndarray:
        """Return for each row the value with half of the weight below it."""
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
        members: (predictions [rows, width], weight above 0) of each member; read one at a time.
    """
    combination: Combiner = COMBINERS[rule]()
    for predictions, weight in members:
        combination = combination.add(predictions, weight)
    return combination.result()


def _class_probabilities(predictions: np.ndarray) -> np.ndarray:
    """Return probabilities [rows, classes]; binary predictions [rows, 1] are the probability of class 1."""
    return predictions if predictions.shape[-1] > 1 else np.concatenate([1 - predictions, predictions], axis=-1)
