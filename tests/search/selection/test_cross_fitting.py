"""Test cross-fitting: the folds, that no row influences the selection that predicts it, and the metric of the folds."""

from dataclasses import replace

import numpy as np
import pytest

from search.selection.cross_fitting import (
    FOLDS,
    CrossFitted,
    cross_fit,
    cross_fit_single,
    fold_numbers,
    make_folds,
    mean_metric,
)
from search.selection.strategies import STRATEGIES
from tests.search.libraries import TASK_OF_KIND, example_library
from trainers.evaluation.metrics import METRICS, pearson

KINDS = tuple(TASK_OF_KIND)


def cross_fitted(strategy, library, seed):
    """Return the predictions of each row by a selection made without the row."""
    return cross_fit(strategy, make_folds([library] * FOLDS, seed), seed)


@pytest.mark.parametrize("rows", [5, 17, 200])
def test_every_fold_has_an_equal_share_of_every_class(rows):
    labels = np.random.default_rng(rows).integers(5, size=rows).astype(np.float32)
    numbers = fold_numbers(labels, 3)
    for label in range(5):
        counts = np.bincount(numbers[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(numbers, minlength=FOLDS)
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(numbers, fold_numbers(labels, 3))
    assert rows == FOLDS or (numbers != fold_numbers(labels, 4)).any()


def test_the_folds_of_a_regression_task_have_almost_equal_mean_labels():
    labels = np.random.default_rng(0).uniform(0, 5, 300)
    means = [labels[fold_numbers(labels, 0) == fold].mean() for fold in range(FOLDS)]
    assert max(means) - min(means) < 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_row_does_not_influence_the_selection_that_predicts_it(strategy, kind):
    library = example_library(kind, candidates=6, rows=60)
    combined = cross_fitted(STRATEGIES[strategy], library, 0).predictions
    held_out = fold_numbers(library.labels, 0) == 2
    rows = np.flatnonzero(held_out)
    # Reverse the predictions of one fold's rows. A selection without these rows is the same, so the combined
    # predictions of the rows are reversed, too.
    predictions = library.predictions.copy()
    predictions[:, held_out] = library.predictions[:, rows[::-1]]
    changed = cross_fitted(STRATEGIES[strategy], replace(library, predictions=predictions), 0).predictions
    np.testing.assert_array_equal(changed[rows[::-1]], combined[rows])


def test_of_random_candidates_the_dev_metric_is_too_high_and_the_cross_fitted_metric_is_not():
    dev, cross_fit_metrics, single = [], [], []
    for seed in range(10):
        library = example_library("binary", candidates=40, rows=600, skill=0, seed=seed)
        strategy = STRATEGIES["caruana"]
        dev.append(library.metric(strategy(library, np.random.default_rng(0)).combine(library.predictions)))
        cross_fit_metrics.append(cross_fitted(strategy, library, seed).metric(library))
        single.append(cross_fitted(STRATEGIES["single"], library, seed).metric(library))
    # The standard error of the mean of ten accuracies is .0065.
    assert np.mean(dev) > 0.53
    assert np.mean(cross_fit_metrics) == pytest.approx(0.5, abs=0.02)
    assert np.mean(single) == pytest.approx(0.5, abs=0.02)


def test_with_one_candidate_every_cross_fitted_metric_is_the_mean_of_the_folds_metrics_of_the_candidate():
    for kind in KINDS:
        library = example_library(kind, candidates=1, rows=203)
        folds = [library.rows(fold_numbers(library.labels, 0) == fold) for fold in range(FOLDS)]
        expected = np.average([fold.metrics[0] for fold in folds], weights=[len(fold.labels) for fold in folds])
        for strategy in STRATEGIES.values():
            assert cross_fitted(strategy, library, 0).metric(library) == pytest.approx(expected, abs=1e-9)


def test_the_scale_of_each_folds_ensemble_does_not_change_the_cross_fitted_pearson_r():
    library = example_library("regression", candidates=1, rows=300)
    single = cross_fitted(STRATEGIES["single"], library, 0)
    factors, shifts = np.array([0.2, 0.4, 1, 2, 5]), np.array([3, -2, 0, 1, -5])
    scaled = single.predictions * factors[single.folds][:, None] + shifts[single.folds][:, None]
    ensembles = CrossFitted(scaled, single.folds)
    assert pearson(scaled, library.labels) < library.metrics[0] - 0.2  # r of all rows together
    assert ensembles.metric(library) == pytest.approx(single.metric(library))
    assert ensembles.metric(library) == pytest.approx(float(library.metrics[0]), abs=0.02)


@pytest.mark.parametrize("kind", ["classification", "binary"])
def test_a_cross_fitted_accuracy_is_the_accuracy_on_all_rows_to_the_last_bit(kind):
    library = example_library(kind, rows=203)
    found = cross_fitted(STRATEGIES["caruana"], library, 0)
    assert found.metric(library) == float(library.metric(found.predictions))


def test_a_metric_says_whether_it_is_a_mean_over_rows():
    # Two halves with different values: their mean is the value of all rows for a mean over rows only.
    for metric in METRICS.values():
        labels = np.tile([0.0, 1.0], 20).astype(np.float32)
        values = np.where(np.arange(40) < 20, 1 - labels, 10 * labels).astype(np.float32)[:, None]
        halves = [metric.compute(values[rows], labels[rows]) for rows in (slice(20), slice(20, None))]
        assert (np.mean(halves) == pytest.approx(metric.compute(values, labels))) == metric.mean_of_rows


def test_folds_with_one_label_only_are_left_out_of_the_mean():
    labels = np.array([1, 1, 1, 0, 1, 2, 0, 1], np.float32)
    predictions = np.array([5, 6, 7, 0, 1, 2, 2, 1], np.float32)[:, None]
    parts = [np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([6, 7])]
    assert mean_metric("pearson", predictions, labels, parts) == pytest.approx((3 * 1 + 2 * -1) / 5)
    alone = [np.array([row]) for row in range(3, 8)]  # one row per fold: r of all rows together
    assert mean_metric("pearson", predictions, labels, alone) == pytest.approx(
        float(pearson(predictions[3:], labels[3:]))
    )


def test_the_best_single_candidate_is_chosen_by_the_score_over_all_tasks():
    libraries = {}
    for seed, (task, kind) in enumerate(zip(("sst", "qqp", "sts"), KINDS, strict=True)):
        good = example_library(kind, candidates=1, rows=80, skill=3, seed=seed)
        useless = np.full_like(good.predictions, 0.2)
        perfect = np.eye(5)[good.labels.astype(int)] if kind == "classification" else good.labels[:, None]
        # The first candidate is perfect in one task only, the last in another; the second is good in all tasks.
        first, last = (perfect[None] if task == perfect_in else useless for perfect_in in ("sst", "qqp"))
        candidates = np.concatenate([first, good.predictions, last]).astype(np.float32)
        libraries[task] = replace(good, predictions=candidates)
    combined = cross_fit_single(libraries, dict.fromkeys(libraries, 0))
    for task, library in libraries.items():
        np.testing.assert_array_equal(combined[task].predictions, library.predictions[1])


def test_with_one_task_the_cross_fitted_single_candidate_is_that_of_the_strategy_single():
    library = example_library("regression", candidates=30, rows=60, skill=0.1)
    combined = cross_fit_single({"sts": library}, {"sts": 7})["sts"]
    of_strategy = cross_fitted(STRATEGIES["single"], library, 7)
    np.testing.assert_array_equal(combined.predictions, of_strategy.predictions)
    np.testing.assert_array_equal(combined.folds, of_strategy.folds)
    assert combined.metric(library) < library.metrics.max()
