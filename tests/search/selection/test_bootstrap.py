"""Test bootstrap intervals against the normal approximation and scipy."""

import numpy as np
import pytest
from scipy import stats

from search.selection.bootstrap import bootstrap, interval, resampled_metrics, resampled_score
from search.selection.cross_fitting import CrossFitted, fold_numbers
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


def test_ensembles_that_differ_between_folds_by_their_scale_only_have_equal_estimates_and_no_gain():
    library = example_library("regression", candidates=1, rows=300)
    folds = fold_numbers(library.labels, 0)
    single, scaled = library.predictions[0], library.predictions[0] * (1 + folds[:, None]) - folds[:, None]
    one, other = (
        resampled_metrics(library, single, CrossFitted(found, folds), 0).cross_fitted for found in (single, scaled)
    )
    assert other.value == pytest.approx(one.value)
    np.testing.assert_allclose(other.resamples - one.resamples, 0, atol=1e-6)
    low, high = interval(one.resamples)
    assert low < one.value < high
    of_all_rows = interval(bootstrap("pearson", single, library.labels, 0))
    np.testing.assert_allclose((low, high), of_all_rows, atol=0.02)


def test_every_resample_takes_as_many_rows_of_each_fold_as_the_fold_has():
    labels = np.repeat(np.arange(5.0), [2, 3, 4, 5, 6]).astype(np.float32)  # the fold of each row is its label
    parts = [np.flatnonzero(labels == fold) for fold in range(5)]
    # Predict the label exactly in the folds 0 to 2: the accuracy of a resample is 9 of 20, whichever rows are drawn.
    right = np.eye(5, dtype=np.float32)[np.where(labels < 3, labels, 0).astype(int)]
    np.testing.assert_allclose(bootstrap("accuracy", right, labels, 0, parts), 9 / 20)


def test_the_resampled_score_is_the_score_of_the_resampled_metrics():
    metrics = {}
    for task in ("sst", "qqp", "sts"):
        library = example_library(TASKS[task].kind, candidates=1)
        own = library.predictions[0]
        metrics[task] = resampled_metrics(library, own, CrossFitted(own, fold_numbers(library.labels, 0)), 0)
    overall = resampled_score(metrics, TASKS)
    values = {task: metric.dev.value for task, metric in metrics.items()}
    assert overall.dev.value == pytest.approx(float(score(values, TASKS)))
    low, high = interval(overall.dev.resamples)
    assert low < overall.dev.value < high
    # Errors of three independent tasks average out: the interval of the score is narrower than the mean interval.
    assert high - low < np.mean([np.diff(interval(metric.dev.resamples)) for metric in metrics.values()])
