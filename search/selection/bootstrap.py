"""Bootstrap over rows: the values of a metric or score on resampled rows, and its 95 % interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.selection.cross_fitting import CrossFitted, mean_metric
from search.selection.library import Library
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


def resampled_metrics(library: Library, dev: np.ndarray, cross_fitted: CrossFitted, seed: int) -> ResampledMetrics:
    """Compute the metric of predictions of a library's rows, with bootstrap resamples.

    Args:
        dev: [rows, width], predictions by a selection that was made on these rows.
        cross_fitted: predictions of each row by a selection that was made without the row.
    """
    metric, labels = library.task.metric, library.labels
    return ResampledMetrics(
        Resampled(float(library.metric(dev)), bootstrap(metric, dev, labels, seed)),
        Resampled(
            cross_fitted.metric(library),
            bootstrap(metric, cross_fitted.predictions, labels, seed, cross_fitted.parts(metric)),
        ),
    )


def resampled_score(metrics: Mapping[str, ResampledMetrics], tasks: Mapping[str, Task]) -> ResampledMetrics:
    """Compute the score from the metrics of all tasks; the rows of different tasks are resampled independently."""
    return ResampledMetrics(
        _mean({task: found.dev for task, found in metrics.items()}, tasks),
        _mean({task: found.cross_fitted for task, found in metrics.items()}, tasks),
    )


def bootstrap(
    metric: str, predictions: np.ndarray, labels: np.ndarray, seed: int, parts: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """Return `mean_metric` on rows that are drawn with replacement inside each part, [resamples].

    Equal seeds and parts draw equal rows, so two ensembles can be compared resample by resample.

    Args:
        metric: a name in METRICS.
        predictions: [rows, width]
        labels: [rows]
        parts: the row numbers of each part; None for one part with all rows.
    """
    parts = parts or [np.arange(len(labels))]
    draw = numpy_generator(seed, "bootstrap")
    drawn = ([rows[draw.integers(len(rows), size=len(rows))] for rows in parts] for _ in range(RESAMPLES))
    return np.array([mean_metric(metric, predictions, labels, resample) for resample in drawn])


def interval(resamples: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of the resampled metrics or scores [resamples]."""
    low, high = np.quantile(resamples, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def _mean(metrics: Mapping[str, Resampled], tasks: Mapping[str, Task]) -> Resampled:
    value = score({task: found.value for task, found in metrics.items()}, tasks)
    return Resampled(float(value), score({task: found.resamples for task, found in metrics.items()}, tasks))
