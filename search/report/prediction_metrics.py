"""Compute metrics of a model's dev predictions: confusion matrix, precision and recall, errors, the worst rows."""

from dataclasses import dataclass

import numpy as np

from search.report.dev_predictions import DevPredictions
from trainers.evaluation.metrics import pearson


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class."""

    label: int
    support: int
    """Number of rows of the class."""
    precision: float
    """NaN if no row is predicted as the class."""
    recall: float
    """NaN if no row is of the class."""
    f1: float


@dataclass(frozen=True)
class RegressionMetrics:
    """Correlation and errors of a regression; an error is the predicted value minus the label."""

    r: float
    """Pearson's correlation of predictions and labels."""
    mean: float
    """Mean error: above 0 if predictions are too high on average."""
    deviation: float
    """Standard deviation of the errors."""
    largest: float
    """The error with the largest absolute value, with its sign."""


def confusion_matrix(predictions: DevPredictions, low: int, high: int) -> np.ndarray:
    """Count rows by true and by predicted class: [classes, classes], classes from `low` to `high`."""
    classes = high - low + 1
    true, predicted = ((values - low).astype(np.int64) for values in (predictions.labels, predictions.values))
    return np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)


def class_metrics(confusion: np.ndarray, low: int) -> list[ClassMetrics]:
    """Return the metrics of each class of a confusion matrix [classes, classes] whose first class is `low`."""
    right, support, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = divide(right, predicted), divide(right, support), divide(2 * right, support + predicted)
    return [
        ClassMetrics(low + index, int(support[index]), float(precision[index]), float(recall[index]), float(f1[index]))
        for index in range(len(confusion))
    ]


def adjacent_share(confusion: np.ndarray) -> float:
    """Return the share of the errors of a confusion matrix [classes, classes] whose predicted class is adjacent.

    NaN if there are no errors.
    """
    errors = confusion.sum() - confusion.trace()
    return float(divide(confusion.trace(1) + confusion.trace(-1), errors))


def divide(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Divide counts [...] by counts [...]; a division by 0 gives NaN, without a warning."""
    return np.divide(
        parts, wholes, out=np.full(np.broadcast(parts, wholes).shape, np.nan), where=np.asarray(wholes) > 0
    )


def regression_metrics(predictions: DevPredictions) -> RegressionMetrics:
    """Return correlation and errors of a regression's predictions."""
    errors = signed_errors(predictions)
    return RegressionMetrics(
        float(pearson(predictions.values[:, None], predictions.labels)),
        float(errors.mean()),
        float(errors.std()),
        float(errors[np.abs(errors).argmax()]),
    )


def signed_errors(predictions: DevPredictions) -> np.ndarray:
    """Return the errors [rows] of a regression: above 0 where the predicted value is too high."""
    return predictions.values - predictions.labels


def worst_and_best(
    predictions: DevPredictions, *, regression: bool, worst: int, best: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows with the worst and the best predictions.

    A wrong class is worse, and a correct class better, the higher its probability is. A value is worse the larger its
    absolute error is.

    Returns:
        Indices into `predictions`: at most `worst` rows that are wrong, the worst first, and at most `best` of the
        other rows, the best first.
    """
    if regression:
        badness = np.abs(signed_errors(predictions))
        wrong = badness > 0
    else:
        wrong = predictions.values != predictions.labels
        badness = np.where(wrong, predictions.confidence, -predictions.confidence)
    order = np.argsort(-badness, kind="stable")
    chosen = order[wrong[order]][:worst]
    return chosen, order[::-1][: min(best, len(order) - len(chosen))]
