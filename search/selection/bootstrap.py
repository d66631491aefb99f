"""Bootstrap over rows: the values of a metric or score on resampled rows, and its 95 % interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from search.selection.library import Library
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.scores import score
from trainers.seeds import numpy_generator
from trainers.tasks import Task

RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Resampled:
    """A task's metric, or the score, on all rows and on bootstrap resamples of the rows."""

    value: float
    resamples: np.ndarray
    """[resamples], values on rows drawn with replacement."""


@dataclass(frozen=True)
class ResampledMetrics:
    """The metric, or the score, of an ensemble or of a single candidate."""

    dev: Resampled
    """On the rows on which the selection was made."""
    cross_fitted: Resampled
    """On rows that took no part in the selection."""


def resampled_metrics(library: Library, dev: np.ndarray, cross_fitted: np.ndarray, seed: int) -> ResampledMetrics:
    """Compute the metric of predictions [rows, width] of a library's rows, with bootstrap resamples.

    Args:
        dev: predictions by a selection that was made on these rows.
        cross_fitted: predictions of each row by a selection that was made without the row.
    """
    found = (
        Resampled(float(library.metric(predictions)), bootstrap(library.task.metric, predictions, library.labels, seed))
        for predictions in (dev, cross_fitted)
    )
    return ResampledMetrics(*found)


def resampled_score(metrics: Mapping[str, ResampledMetrics], tasks: Mapping[str, Task]) -> ResampledMetrics:
    """Compute the score from the metrics of all tasks; the rows of different tasks are resampled independently."""
    return ResampledMetrics(
        _mean({task: found.dev for task, found in metrics.items()}, tasks),
        _mean({task: found.cross_fitted for task, found in metrics.items()}, tasks),
    )


def bootstrap(metric: str, predictions: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the metric of `predictions` [rows, width] on rows drawn with replacement, [resamples].

    Equal seeds draw equal rows, so two ensembles can be compared resample by resample.

    Args:
        metric: a name in METRICS.
    """
    draw = numpy_generator(seed, "bootstrap")
    drawn = (draw.integers(len(labels), size=len(labels)) for _ in range(RESAMPLES))
    compute = METRICS[metric].compute
    return np.array([compute(predictions[rows], labels[rows]) for rows in drawn])


def interval(resamples: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of the resampled metrics or scores [resamples]."""
    low, high = np.quantile(resamples, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def _mean(metrics: Mapping[str, Resampled], tasks: Mapping[str, Task]) -> Resampled:
    value = score({task: found.value for task, found in metrics.items()}, tasks)
    return Resampled(float(value), score({task: found.resamples for task, found in metrics.items()}, tasks))
