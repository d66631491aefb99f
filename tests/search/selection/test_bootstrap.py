"""Test bootstrap intervals against the normal approximation and scipy."""

import numpy as np
import pytest
from scipy import stats

from search.selection.bootstrap import bootstrap, interval, resampled_metrics, resampled_score
from tests.search.libraries import example_library
from trainers.evaluation.scores import score
from trainers.tasks import TASKS


@pytest.mark.parametrize("kind", ["classification", "binary"])
def test_the_interval_of_an_accuracy_agrees_with_the_normal_approximation(kind):
    library = example_library(kind, candidates=1, rows=300)
    low, high = interval(bootstrap("accuracy", library.predictions[0], library.labels, 0))
    accuracy = library.metrics[0]
    half_width = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 300)
    assert low == pytest.approx(accuracy - half_width, abs=0.012)
    assert high == pytest.approx(accuracy + half_width, abs=0.012)


def test_the_interval_of_pearson_r_agrees_with_scipy():
    library = example_library("regression", candidates=1, rows=300)
    resampled = bootstrap("pearson", library.predictions[0], library.labels, 0)
    expected = stats.bootstrap(
        (library.predictions[0, :, 0].astype(np.float64), library.labels.astype(np.float64)),
        lambda values, labels, axis: stats.pearsonr(values, labels, axis=axis)[0],
        paired=True,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    np.testing.assert_allclose(interval(resampled), expected, atol=0.01)


def test_equal_seeds_resample_two_ensembles_on_the_same_rows():
    library = example_library("classification", candidates=2, rows=300)
    once, again = (bootstrap("accuracy", library.predictions[0], library.labels, 5) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    other = bootstrap("accuracy", library.predictions[1], library.labels, 5)
    assert (once - other).std() < np.hypot(once.std(), other.std())


def test_the_resampled_score_is_the_score_of_the_resampled_metrics():
    metrics = {}
    for task in ("sst", "qqp", "sts"):
        library = example_library(TASKS[task].kind, candidates=1)
        metrics[task] = resampled_metrics(library, library.predictions[0], library.predictions[0], 0)
    overall = resampled_score(metrics, TASKS)
    values = {task: metric.dev.value for task, metric in metrics.items()}
    assert overall.dev.value == pytest.approx(float(score(values, TASKS)))
    low, high = interval(overall.dev.resamples)
    assert low < overall.dev.value < high
    # Errors of three independent tasks average out: the interval of the score is narrower than the mean interval.
    assert high - low < np.mean([np.diff(interval(metric.dev.resamples)) for metric in metrics.values()])
