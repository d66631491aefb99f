"""Test that the shortlist of thousands of candidates has every candidate that a selection would take."""

import numpy as np
import pytest

from search.selection.cross_fitting import FOLDS, cross_fit, fold_numbers, make_folds, row_masks
from search.selection.shortlist import LIMIT, METRICS_FROM_MEANS, best_candidates, metric_and_loss, shortlist
from search.selection.strategies import STRATEGIES
from tests.search.libraries import TASK_OF_KIND, example_library
from trainers.tasks import TASKS

KINDS = tuple(TASK_OF_KIND)


def measured(library, seed):
    """Return the metrics and the losses, each [candidates, masks]."""
    masks = row_masks(library.labels, seed)
    pairs = [metric_and_loss(library.task, candidate, library.labels, masks) for candidate in library.predictions]
    return np.stack(pairs, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_and_losses_are_computed_on_all_rows_and_outside_each_fold(kind):
    library = example_library(kind, candidates=4, rows=60)
    numbers = fold_numbers(library.labels, 3)
    parts = [library, *(library.rows(numbers != fold) for fold in range(FOLDS))]
    expected = np.stack([np.stack([part.metrics, part.losses]) for part in parts], axis=-1)
    np.testing.assert_allclose(measured(library, 3), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_without_terms_is_computed_on_the_rows_of_each_mask(kind, monkeypatch):
    library = example_library(kind, candidates=4, rows=60)
    expected = measured(library, 3)
    monkeypatch.delitem(METRICS_FROM_MEANS, library.task.metric)
    np.testing.assert_allclose(measured(library, 3), expected, atol=1e-6)


def test_constant_and_almost_constant_values_have_an_r_of_zero():
    labels = np.random.default_rng(0).uniform(0, 5, 40).astype(np.float32)
    masks = row_masks(labels, 0)
    metrics, _ = metric_and_loss(TASKS["sts"], np.full((40, 1), 0.7, np.float32), labels, masks)
    assert metrics.tolist() == [0] * len(masks)
    values = np.where(masks[1][:, None], 1000.7, 3).astype(np.float32)  # constant outside the first fold
    metrics, _ = metric_and_loss(TASKS["sts"], values, labels, masks)
    assert metrics[1] == 0


def test_equal_accuracies_on_different_rows_compare_equal():
    library = example_library("binary", candidates=300, rows=33, skill=0)
    accuracies = measured(library, 0)[0, :, 0]
    assert set(accuracies) <= {right / 33 for right in range(34)}


@pytest.mark.parametrize("kind", KINDS)
def test_no_selection_would_have_taken_a_candidate_outside_the_shortlist(kind):
    library = example_library(kind, candidates=3 * LIMIT, rows=50)
    chosen = shortlist(*measured(library, 1))
    assert LIMIT < len(chosen) < len(library)
    np.testing.assert_array_equal(chosen[best_candidates(library.candidates(chosen))], best_candidates(library))
    strategy = STRATEGIES["greedy"]
    np.testing.assert_array_equal(
        cross_fit(strategy, make_folds([library.candidates(chosen)] * FOLDS, 1), 1).predictions,
        cross_fit(strategy, make_folds([library] * FOLDS, 1), 1).predictions,
    )


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_the_cut_inside_a_fold_uses_nothing_of_the_held_out_rows(kind):
    cut_by_all, cut_inside = [], []
    for seed in range(8):
        library = example_library(kind, candidates=300, rows=200, skill=0, seed=seed)
        for metrics, cut in ((cut_by_all, library.candidates(best_candidates(library, 5))), (cut_inside, library)):
            folds = make_folds([cut] * FOLDS, seed, 5)
            metrics.append(cross_fit(STRATEGIES["uniform"], folds, seed).metric(library))
    # The standard deviation of a mean of eight accuracies is .012, of eight values of r .025; the difference varies
    # less, because the rows are the same.
    assert np.mean(cut_inside) == pytest.approx(0.5 if kind == "binary" else 0, abs=0.05)
    assert np.mean(cut_by_all) > np.mean(cut_inside) + 0.03
