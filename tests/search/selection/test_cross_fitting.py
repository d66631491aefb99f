"""Cross-fitting and the bootstrap, against theorems and scipy."""

import numpy as np
import pytest
from scipy import stats

from search.selection.bootstrap import bootstrap, interval, resampled_metrics, resampled_score
from search.selection.cross_fitting import FOLDS, cross_fit, cross_fit_single, fold_numbers, make_folds
from search.selection.library import Library
from search.selection.strategies import STRATEGIES
from tests.search.libraries import library
from trainers.evaluation.scores import METRICS, score
from trainers.tasks import TASKS

KINDS = tuple(METRICS)


def cross_fitted(strategy, found, seed):
    return cross_fit(strategy, make_folds([found] * FOLDS, seed), seed)


@pytest.mark.parametrize("rows", [5, 17, 200])
def test_every_fold_has_its_share_of_every_class(rows):
    labels = np.random.default_rng(rows).integers(5, size=rows).astype(np.float32)
    dealt = fold_numbers(labels, 3)
    for label in range(5):
        counts = np.bincount(dealt[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(dealt, minlength=FOLDS)
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(dealt, fold_numbers(labels, 3))
    assert rows == FOLDS or (dealt != fold_numbers(labels, 4)).any()


def test_every_fold_of_values_has_their_whole_range():
    labels = np.random.default_rng(0).uniform(0, 5, 300)
    means = [labels[fold_numbers(labels, 0) == fold].mean() for fold in range(FOLDS)]
    assert max(means) - min(means) < 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_row_has_no_part_in_the_choice_of_who_predicts_it(strategy, kind):
    found = library(kind, candidates=6, rows=60)
    pooled = cross_fitted(STRATEGIES[strategy], found, 0)
    held = fold_numbers(found.labels, 0) == 2
    rows = np.flatnonzero(held)
    # Where equal labels trade their predictions within a fold, no other fold's selection sees a difference.
    worse = found.predictions.copy()
    worse[:, held] = found.predictions[:, rows[::-1]]
    changed = cross_fitted(STRATEGIES[strategy], Library(kind, worse, found.labels), 0)
    np.testing.assert_array_equal(changed[rows[::-1]], pooled[rows])


def test_of_guessing_candidates_dev_flatters_and_cross_fitting_does_not():
    dev, honest, single = [], [], []
    for seed in range(10):
        found = library("binary", candidates=40, rows=600, skill=0, seed=seed)
        strategy = STRATEGIES["caruana"]
        dev.append(found.metric(strategy(found, np.random.default_rng(0)).combine(found.predictions)))
        honest.append(found.metric(cross_fitted(strategy, found, seed)))
        single.append(found.metric(cross_fitted(STRATEGIES["single"], found, seed)))
    # One standard error of the mean of ten is .0065.
    assert np.mean(dev) > 0.53
    assert np.mean(honest) == pytest.approx(0.5, abs=0.02)
    assert np.mean(single) == pytest.approx(0.5, abs=0.02)


def test_with_one_candidate_all_estimates_are_its_metric():
    for kind in KINDS:
        found = library(kind, candidates=1)
        for strategy in STRATEGIES.values():
            assert found.metric(cross_fitted(strategy, found, 0)) == pytest.approx(found.metrics[0], abs=1e-9)


def test_the_best_single_run_is_chosen_over_all_tasks_at_once():
    libraries = {}
    for seed, (task, kind) in enumerate(zip(("sst", "qqp", "sts"), KINDS, strict=True)):
        good = library(kind, candidates=1, rows=80, skill=3, seed=seed)
        useless = np.full_like(good.predictions, 0.2)
        perfect = np.eye(5)[good.labels.astype(int)] if kind == "classification" else good.labels[:, None]
        # Best in one task alone, good in all, and best in another alone.
        first, last = (perfect[None] if task == alone else useless for alone in ("sst", "qqp"))
        candidates = np.concatenate([first, good.predictions, last]).astype(np.float32)
        libraries[task] = Library(kind, candidates, good.labels)
    pooled = cross_fit_single(libraries, dict.fromkeys(libraries, 0))
    for task, found in libraries.items():
        np.testing.assert_array_equal(pooled[task], found.predictions[1])


def test_over_one_task_the_best_single_run_is_the_best_candidate():
    found = library("regression", candidates=30, rows=60, skill=0.1)
    pooled = cross_fit_single({"sts": found}, {"sts": 7})["sts"]
    np.testing.assert_array_equal(pooled, cross_fitted(STRATEGIES["single"], found, 7))
    assert found.metric(pooled) < found.metrics.max()


@pytest.mark.parametrize("kind", ["classification", "binary"])
def test_the_interval_of_an_accuracy_is_that_of_the_normal_approximation(kind):
    found = library(kind, candidates=1, rows=300)
    low, high = interval(bootstrap(kind, found.predictions[0], found.labels, 0))
    share = found.metrics[0]
    half = 1.96 * np.sqrt(share * (1 - share) / 300)
    assert low == pytest.approx(share - half, abs=0.012)
    assert high == pytest.approx(share + half, abs=0.012)


def test_the_interval_of_r_is_that_of_scipy():
    found = library("regression", candidates=1, rows=300)
    resampled = bootstrap("regression", found.predictions[0], found.labels, 0)
    expected = stats.bootstrap(
        (found.predictions[0, :, 0].astype(np.float64), found.labels.astype(np.float64)),
        lambda values, labels, axis: stats.pearsonr(values, labels, axis=axis)[0],
        paired=True,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    np.testing.assert_allclose(interval(resampled), expected, atol=0.01)


def test_two_ensembles_are_resampled_on_the_same_rows():
    found = library("classification", candidates=2, rows=300)
    once, again = (bootstrap(found.kind, found.predictions[0], found.labels, 5) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    other = bootstrap(found.kind, found.predictions[1], found.labels, 5)
    assert (once - other).std() < np.hypot(once.std(), other.std())


def test_the_score_of_figures_is_the_score_of_their_metrics():
    metrics = {}
    for task in ("sst", "qqp", "sts"):
        found = library(TASKS[task].kind, candidates=1)
        metrics[task] = resampled_metrics(found, found.predictions[0], found.predictions[0], 0)
    total = resampled_score(metrics, TASKS)
    values = {task: found.dev.value for task, found in metrics.items()}
    assert total.dev.value == pytest.approx(float(score(values, TASKS)))
    low, high = interval(total.dev.resamples)
    assert low < total.dev.value < high
    # Errors of three independent tasks average out: the score is surer than the mean of its parts.
    assert high - low < np.mean([np.diff(interval(found.dev.resamples)) for found in metrics.values()])
