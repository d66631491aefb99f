"""The cut of thousands of candidates leaves out nobody whom a selection would take."""

import numpy as np
import pytest

from search.selection.cross_fitting import FOLDS, cross_fit, deal, folds, views
from search.selection.shortlist import LIMIT, best, shortlist, standing
from search.selection.strategies import STRATEGIES
from tests.search.libraries import library
from trainers.evaluation.scores import METRICS

KINDS = tuple(METRICS)


def standings(found, seed):
    seen = views(found.labels, seed)
    return np.stack([standing(found.kind, each, found.labels, seen) for each in found.predictions])


@pytest.mark.parametrize("kind", KINDS)
def test_a_standing_is_metric_and_loss_on_all_rows_and_outside_of_each_fold(kind):
    found = library(kind, candidates=4, rows=60)
    dealt = folds(found.labels, 3)
    parts = [found, *(found.rows(dealt != fold) for fold in range(FOLDS))]
    expected = np.stack([np.stack([part.metrics, part.losses], axis=-1) for part in parts], axis=1)
    np.testing.assert_allclose(standings(found, 3), expected, atol=1e-6)


def test_values_that_are_constant_or_almost_stand_at_nothing():
    labels = np.random.default_rng(0).uniform(0, 5, 40).astype(np.float32)
    seen = views(labels, 0)
    assert standing("regression", np.full((40, 1), 0.7, np.float32), labels, seen)[:, 0].tolist() == [0] * len(seen)
    alone = np.where(seen[1][:, None], 1000.7, 3).astype(np.float32)  # constant outside of the first fold
    assert standing("regression", alone, labels, seen)[1, 0] == 0


def test_equal_accuracies_on_different_rows_stand_equal():
    found = library("binary", candidates=300, rows=33, skill=0)
    whole = standings(found, 0)[:, 0, 0]
    assert set(whole) <= {right / 33 for right in range(34)}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_shortlist_leaves_out_no_selection_would_have_taken(kind):
    found = library(kind, candidates=3 * LIMIT, rows=50)
    chosen = shortlist(standings(found, 1))
    assert LIMIT < len(chosen) < len(found)
    np.testing.assert_array_equal(chosen[best(found.candidates(chosen))], best(found))
    strategy = STRATEGIES["greedy"]
    np.testing.assert_array_equal(
        cross_fit(strategy, deal([found.candidates(chosen)] * FOLDS, 1), 1),
        cross_fit(strategy, deal([found] * FOLDS, 1), 1),
    )


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_cut_among_guesses_tells_a_fold_nothing_of_its_rows(kind):
    cut_by_all, cut_inside = [], []
    for seed in range(8):
        found = library(kind, candidates=300, rows=200, skill=0, seed=seed)
        for figures, cut in ((cut_by_all, found.candidates(best(found, 5))), (cut_inside, found)):
            dealt = deal([cut] * FOLDS, seed, 5)
            figures.append(float(found.metric(cross_fit(STRATEGIES["uniform"], dealt, seed))))
    # The spread of a mean of eight is .012, that of r .025; the difference of the two is surer, rows being the same.
    assert np.mean(cut_inside) == pytest.approx(0.5 if kind == "binary" else 0, abs=0.05)
    assert np.mean(cut_by_all) > np.mean(cut_inside) + 0.03
