"""The metric of a growing ensemble with each candidate added, from running sums, as forward selection needs it."""

import numpy as np

from trainers.evaluation.metrics import METRICS, centered


class RunningAccuracy:
    """The accuracy of a growing mean with each candidate added, by one comparison per class and no new mean."""

    def __init__(self, predictions: np.ndarray, labels: np.ndarray):
        """Take probabilities [candidates, rows, width] and labels [rows]."""
        self.margins, self.ties_lose = _margins(predictions, labels)
        self.total = np.zeros(self.ties_lose.shape)

    def add(self, candidate: int) -> None:
        """Add a candidate to the mean."""
        self.total += self.margins[:, candidate]

    def with_each(self) -> np.ndarray:
        """Return the accuracy of the mean with each candidate added, [candidates]."""
        bounds = (-self.total).astype(np.float32)
        # Where the label wins ties, a margin equal to the bound is enough: compare with the next smaller float.
        bounds = np.where(self.ties_lose, bounds, np.nextafter(bounds, np.float32(-np.inf)))
        correct = self.margins[0] > bounds[0]
        for margin, bound in zip(self.margins[1:], bounds[1:], strict=True):
            correct &= margin > bound
        return np.count_nonzero(correct, axis=-1) / correct.shape[-1]


class RunningPearson:
    """Pearson's r of a growing sum with each candidate added, from sums of products."""

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

    def with_each(self) -> np.ndarray:
        """Return r of the sum with each candidate added, [candidates], up to a factor common to all candidates."""
        square = self.total_square + 2 * self.with_total + self.squares
        # Opposite candidates cancel; the remaining variance is a rounding error.
        varies = square > 1e-12 * (self.total_square + self.squares)
        products = self.total_with_labels + self.with_labels
        return np.where(varies, products / np.sqrt(np.where(varies, square, 1)), 0)


class RunningMean:
    """Any metric of a growing mean with each candidate added, from all predictions of every new mean."""

    def __init__(self, metric: str, predictions: np.ndarray, labels: np.ndarray):
        """Take predictions [candidates, rows, width] and labels [rows].

        Args:
            metric: a name in METRICS.
        """
        self.compute, self.predictions, self.labels = METRICS[metric].compute, predictions, labels
        self.total, self.count = np.zeros(predictions.shape[1:]), 0

    def add(self, candidate: int) -> None:
        """Add a candidate to the mean."""
        self.total += self.predictions[candidate]
        self.count += 1

    def with_each(self) -> np.ndarray:
        """Return the metric of the mean with each candidate added, [candidates]."""
        means = (self.total + self.predictions) / (self.count + 1)
        return self.compute(means.astype(np.float32), self.labels)


RUNNING_METRICS: dict[str, type[RunningAccuracy] | type[RunningPearson]] = {
    "accuracy": RunningAccuracy,
    "pearson": RunningPearson,
}
"""Metric -> its fast running form. Forward selection uses `RunningMean` for a metric without an entry."""


def running_metric(
    metric: str, predictions: np.ndarray, labels: np.ndarray
) -> RunningAccuracy | RunningPearson | RunningMean:
    """Return the fastest running form of a metric.

    Args:
        metric: a name in METRICS.
        predictions: [candidates, rows, width]
        labels: [rows]
    """
    if metric in RUNNING_METRICS:
        return RUNNING_METRICS[metric](predictions, labels)
    return RunningMean(metric, predictions, labels)


def _margins(predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the margin of the label over every other class, and where a tie goes to the other class.

    Returns:
        Margins [classes - 1, candidates, rows], negative where the other class is ahead, and ties [classes - 1, rows].
    """
    if predictions.shape[-1] == 1:
        sign = np.where(labels == 1, 1, -1).astype(np.float32)
        return (predictions[..., 0] - np.float32(0.5))[None] * sign, (labels == 1)[None]
    classes, rows, own = predictions.shape[-1], np.arange(len(labels)), labels.astype(np.int64)
    others = (own + np.arange(1, classes)[:, None]) % classes
    margins = [predictions[:, rows, own] - predictions[:, rows, other] for other in others]
    return np.stack(margins), others < own
