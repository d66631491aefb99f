"""Turn model outputs into predictions, and average the metrics of tasks into a score."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from trainers.evaluation.metrics import METRICS
from trainers.tasks import Kind, Task


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Turn logits [..., classes] into probabilities that sum to 1."""
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(outputs: np.ndarray) -> np.ndarray:
    """Turn logits [...] into probabilities; large logits of either sign neither overflow nor warn."""
    power = np.exp(-np.abs(outputs))
    return np.where(outputs >= 0, 1, power) / (1 + power)


PREDICTIONS: dict[Kind, Callable[[np.ndarray], np.ndarray]] = {
    "classification": softmax,
    "binary": sigmoid,
    "regression": lambda outputs: outputs,
}


def predictions(kind: Kind, outputs: np.ndarray) -> np.ndarray:
    """Turn outputs [..., rows, width] into predictions: probabilities, or the values of a regression unchanged."""
    return PREDICTIONS[kind](outputs)


def score(metrics: Mapping[str, ArrayLike], tasks: Mapping[str, Task]) -> np.ndarray:
    """Average the metrics [...] of tasks, each mapped to values between 0 and 1: Pearson's r as (r + 1) / 2.

    Args:
        metrics: task -> its metric.
        tasks: the tasks by name; they may include tasks without a metric.

    Source: CS224N default project, overall score; here over any set of tasks.
    """
    return np.mean([METRICS[tasks[task].metric].share(np.asarray(metric)) for task, metric in metrics.items()], axis=0)


def plain_mean(metrics: Mapping[str, ArrayLike]) -> np.ndarray:
    """Average the metrics [...] of tasks unmapped, as some tables of the reports do."""
    return np.mean([np.asarray(metric) for metric in metrics.values()], axis=0)
