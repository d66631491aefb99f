"""The metrics of tasks, by name.

To add a metric, add an entry to METRICS, and its name to the kinds of tasks that it can measure in
`trainers.tasks.KIND_METRICS`. Selection has faster forms for some metrics, in `search.selection.running_metrics` and
`search.selection.shortlist`; it computes all other metrics with the function of their entry.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A measure of a task's predictions. Higher is better."""

    title: str
    """Name for readers, such as "Pearson r"."""
    compute: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Return the metric [...] of predictions [..., rows, width] and labels [..., rows]; every row has a label."""
    share: Callable[[np.ndarray], np.ndarray]
    """Map the metric [...] to values between 0 and 1, as the score averages them."""
    mean_of_rows: bool = False
    """Whether the metric is a mean over rows. If not, predictions of several models must not be pooled to compute it:
    selection computes it on the rows of each model and averages."""


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of rows whose predicted class is the label."""
    return (predicted_classes(predictions) == labels).mean(axis=-1)


def pearson(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return Pearson's r of values and labels; 0 if either is constant."""
    values, truth = centered(predictions[..., 0]), centered(labels)
    norms = np.linalg.norm(values, axis=-1) * np.linalg.norm(truth, axis=-1)
    products = np.einsum("...r,...r->...", values, truth)
    return np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", accuracy, share=lambda metric: metric, mean_of_rows=True),
    "pearson": Metric("Pearson r", pearson, share=lambda metric: (metric + 1) / 2),
}


def predicted_classes(predictions: np.ndarray) -> np.ndarray:
    """Return the predicted class [..., rows] of probabilities [..., rows, width].

    Width 1 holds the probability of class 1, which is predicted if its probability is above 0.5. A larger width holds
    one probability per class; of equal probabilities the lowest class is predicted.
    """
    return predictions[..., 0] > 0.5 if predictions.shape[-1] == 1 else predictions.argmax(axis=-1)


def centered(values: np.ndarray) -> np.ndarray:
    """Subtract the mean from values [..., rows], in float64; equal values become exact zeros."""
    # Subtract the first row first: rounding makes the mean of equal values differ from them.
    shifted = values.astype(np.float64) - values[..., :1]
    return shifted - shifted.mean(axis=-1, keepdims=True)
