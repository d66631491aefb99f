"""Labels and what a model answers -> the numbers of its report: confusion, precision and recall, worst rows, errors."""

from dataclasses import dataclass

import numpy as np

from search.report.answers import Answers
from trainers.evaluation.scores import pearson


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others."""

    label: int
    support: int
    """Rows of the class."""
    precision: float
    """NaN if no row is given to the class."""
    recall: float
    """NaN if no row is of the class."""
    f1: float


@dataclass(frozen=True)
class ErrorFigures:
    """How far values are from their labels."""

    r: float
    mean: float
    """Above 0 if values are too high on average."""
    spread: float
    """Standard deviation of the errors."""
    largest: float
    """Of the worst row, with its sign."""


def confusion(answers: Answers, low: int, high: int) -> np.ndarray:
    """Count rows by true and by predicted class: [classes, classes], classes from `low` to `high`."""
    classes = high - low + 1
    true, predicted = ((values - low).astype(np.int64) for values in (answers.labels, answers.values))
    return np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)


def class_figures(counts: np.ndarray, low: int) -> list[ClassFigures]:
    """Return precision, recall and F1 of each class of a confusion matrix [classes, classes], the first being `low`."""
    right, support, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall, f1 = shares(right, predicted), shares(right, support), shares(2 * right, support + predicted)
    return [
        ClassFigures(low + place, int(support[place]), float(precision[place]), float(recall[place]), float(f1[place]))
        for place in range(len(counts))
    ]


def adjacent_share(counts: np.ndarray) -> float:
    """Return which share of the errors of a confusion matrix [classes, classes] falls in a neighbouring class.

    NaN without errors.
    """
    errors = counts.sum() - counts.trace()
    return float(shares(counts.trace(1) + counts.trace(-1), errors))


def shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Divide [...] by [...]; nothing has no share: NaN."""
    return np.divide(
        parts, wholes, out=np.full(np.broadcast(parts, wholes).shape, np.nan), where=np.asarray(wholes) > 0
    )


def error_figures(answers: Answers) -> ErrorFigures:
    """Return how far a regression's values are from their labels."""
    errors = signed_errors(answers)
    return ErrorFigures(
        float(pearson(answers.values[:, None], answers.labels)),
        float(errors.mean()),
        float(errors.std()),
        float(errors[np.abs(errors).argmax()]),
    )


def signed_errors(answers: Answers) -> np.ndarray:
    """Return the errors [rows] of a regression: above 0 where the model says too much."""
    return answers.values - answers.labels


def worst_and_best(answers: Answers, *, regression: bool, worst: int, best: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows that are most wrong and those that are most right.

    Classes are the more wrong, or right, the surer the model is of them, values the farther from, or nearer to, their
    label they are.

    Returns:
        Places in `answers`: at most `worst` of wrong rows, the worst first, and at most `best` of others.
    """
    if regression:
        wrongness = np.abs(signed_errors(answers))
        wrong = wrongness > 0
    else:
        wrong = answers.values != answers.labels
        wrongness = np.where(wrong, answers.confidence, -answers.confidence)
    order = np.argsort(-wrongness, kind="stable")
    chosen = order[wrong[order]][:worst]
    return chosen, order[::-1][: min(best, len(order) - len(chosen))]
