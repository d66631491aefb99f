"""The metric of a growing ensemble plus each candidate, from running sums: what every draw asks."""

import numpy as np

from trainers.evaluation.scores import centered
from trainers.tasks import Kind


class RunningAccuracy:
    """Accuracy of a growing mean plus each candidate, by one comparison a class instead of a new mean."""

    def __init__(self, predictions: np.ndarray, labels: np.ndarray):
        """Take probabilities [candidates, rows, width] and labels [rows]."""
        self.leads, self.ties_lose = _leads(predictions, labels)
        self.total = np.zeros(self.ties_lose.shape)

    def add(self, candidate: int) -> None:
        """Add a candidate to the mean."""
        self.total += self.leads[:, candidate]

    def reached(self) -> np.ndarray:
        """Return what the mean would score with each of the candidates, [candidates]."""
        least = (-self.total).astype(np.float32)
        # Where the label wins ties, a lead of exactly `least` is enough, and anything larger than the float before it.
        least = np.where(self.ties_lose, least, np.nextafter(least, np.float32(-np.inf)))
        right = self.leads[0] > least[0]
        for lead, needed in zip(self.leads[1:], least[1:], strict=True):
            right &= lead > needed
        return np.count_nonzero(right, axis=-1) / right.shape[-1]


class RunningPearson:
    """Pearson's r of a growing sum plus each candidate, from sums of products."""

    def __init__(self, predictions: np.ndarray, labels: np.ndarray):
        """Take values [candidates, rows, 1] and labels [rows]."""
        self.values = centered(predictions[..., 0])
        self.with_labels = self.values @ centered(labels)
        self.squares = np.einsum("cr,cr->c", self.values, self.values)
        self.with_total = np.zeros(len(self.values))
        self.total_square, self.total_with_labels = 0.0, 0.0

    def add(self, candidate: int) -> None:
        """Add a candidate to the sum."""
        self.total_square += 2 * self.with_total[candidate] + self.squares[candidate]
        self.total_with_labels += self.with_labels[candidate]
        self.with_total += self.values @ self.values[candidate]

    def reached(self) -> np.ndarray:
        """Return r, up to a factor that is the same for all, of the sum with each of the candidates, [candidates]."""
        square = self.total_square + 2 * self.with_total + self.squares
        # What opposite candidates leave of each other is rounding.
        varies = square > 1e-12 * (self.total_square + self.squares)
        products = self.total_with_labels + self.with_labels
        return np.where(varies, products / np.sqrt(np.where(varies, square, 1)), 0)


RUNNING_METRICS: dict[Kind, type[RunningAccuracy] | type[RunningPearson]] = {
    "classification": RunningAccuracy,
    "binary": RunningAccuracy,
    "regression": RunningPearson,
}


def _leads(predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much the label leads every other class, and where a tie goes to the other class.

    Returns:
        [classes - 1, candidates, rows] and [classes - 1, rows]; a lead is negative where the label is behind.
    """
    if predictions.shape[-1] == 1:
        sign = np.where(labels == 1, 1, -1).astype(np.float32)
        return (predictions[..., 0] - np.float32(0.5))[None] * sign, (labels == 1)[None]
    classes, rows, own = predictions.shape[-1], np.arange(len(labels)), labels.astype(np.int64)
    others = (own + np.arange(1, classes)[:, None]) % classes
    leads = [predictions[:, rows, own] - predictions[:, rows, other] for other in others]
    return np.stack(leads), others < own
