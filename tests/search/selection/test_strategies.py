"""Test properties of every strategy on generated candidates, and forward selection on hand-computed cases."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.selection.library import Library
from search.selection.strategies import MEMBERS, START, STRATEGIES, forward_selection
from tests.search.libraries import TASK_OF_KIND, example_library
from trainers.tasks import TASKS

KINDS = tuple(TASK_OF_KIND)
NEVER_BELOW_THE_BEST = ("caruana", "greedy", "greedy_median", "single")
TOLERANCE = 1e-6


def generator():
    return np.random.default_rng(0)


def metric_of(library, selection):
    """Return the metric of the selected ensemble."""
    return library.metric(selection.combine(library.predictions))


def select_from_all(library):
    """Return the weights that forward selection gives if all candidates are available."""
    return forward_selection(library, np.arange(len(library)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("candidates", [1, 2, 3, 30])
def test_weights_are_not_negative_and_sum_to_1_and_a_second_selection_equals_the_first(strategy, kind, candidates):
    library = example_library(kind, candidates=candidates)
    selection, again = STRATEGIES[strategy](library, generator()), STRATEGIES[strategy](library, generator())
    assert selection.weights.shape == (candidates,)
    assert (selection.weights >= 0).all()
    assert selection.weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(selection.weights, again.weights)
    assert selection.combine(library.predictions).shape == library.predictions.shape[1:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_rows_does_not_change_the_selection(strategy, kind):
    library = example_library(kind, candidates=10)
    order = generator().permutation(len(library.labels))
    shuffled = STRATEGIES[strategy](library.rows(order), generator())
    np.testing.assert_allclose(shuffled.weights, STRATEGIES[strategy](library, generator()).weights, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", NEVER_BELOW_THE_BEST)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    candidates=st.integers(1, 9),
    rows=st.integers(2, 40),
    skill=st.sampled_from([0.0, 1.0, 3.0]),
    digits=st.sampled_from([0, 1, 7]),
)
def test_an_ensemble_is_never_below_its_best_candidate_on_the_rows_of_its_selection(
    strategy, kind, seed, candidates, rows, skill, digits
):
    library = example_library(kind, candidates=candidates, rows=rows, skill=skill, seed=seed)
    rounded = replace(library, predictions=library.predictions.round(digits))  # many ties
    selection = STRATEGIES[strategy](rounded, generator())
    assert metric_of(rounded, selection) >= rounded.metrics.max() - TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), candidates=st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_forward_selection_takes_few_members_and_is_never_below_the_best_candidate(kind, seed, candidates):
    library = example_library(kind, candidates=candidates, rows=30, seed=seed)
    weights = select_from_all(library)
    assert np.count_nonzero(weights) <= MEMBERS
    combined = np.tensordot(weights, library.predictions, 1)
    assert library.metric(combined) >= library.metrics.max() - TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), copied=st.integers(0, 7), place=st.integers(0, 8))
@settings(max_examples=15, deadline=None)
def test_a_copy_of_a_candidate_only_shares_the_weight_of_the_candidate(kind, seed, copied, place):
    library = example_library(kind, candidates=8, rows=50, seed=seed)
    source = np.insert(np.arange(8), place, copied)
    weights = select_from_all(library.candidates(source.tolist()))
    np.testing.assert_allclose(np.bincount(source, weights, minlength=8), select_from_all(library), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_forward_selection_takes_available_candidates_only(kind):
    library = example_library(kind, candidates=20)
    available = np.array([17, 3, 8])
    assert set(np.flatnonzero(forward_selection(library, available))) <= set(available)


def test_forward_selection_finds_the_weights_computed_by_hand():
    # The first candidate is wrong in row 2 only; the second is right there. If the first has weight w, row 2 is right
    # for w < .8, and the loss falls as w grows to 1. So among the weights with accuracy 1 the largest w is the best.
    of_class_1 = np.array([[0.9, 0.9, 0.4, 0.9], [0.6, 0.2, 0.9, 0.2]], np.float32)
    library = Library(TASKS["qqp"], of_class_1[..., None], np.ones(4, np.float32))
    weights = select_from_all(library)
    assert 0.75 < weights[0] < 0.8
    assert library.metric(np.tensordot(weights, library.predictions, 1)) == 1


def test_the_loss_breaks_ties_of_the_accuracy():
    probabilities = np.array([[[0.6], [0.6]], [[0.9], [0.9]], [[0.7], [0.7]]], np.float32)
    library = Library(TASKS["qqp"], probabilities, np.ones(2, np.float32))
    assert library.ranking.tolist() == [1, 2, 0]
    assert select_from_all(library).tolist() == [0, 1, 0]


@pytest.mark.parametrize("rule", ["greedy", "greedy_median"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_metric_never_falls_while_greedy_adds_members(kind, rule):
    library = example_library(kind, candidates=25)
    selection = STRATEGIES[rule](library, generator())
    members = [number for number in library.ranking if selection.weights[number] > 0]
    assert members[0] == library.ranking[0]
    metrics = []
    for count in range(1, len(members) + 1):
        weights = np.zeros(len(library))
        weights[members[:count]] = 1 / count
        metrics.append(metric_of(library, type(selection)(weights, selection.rule)))
    assert metrics == sorted(metrics)
    assert len(members) > 1


def test_greedy_adds_a_candidate_that_does_not_change_the_metric():
    library = example_library("binary", candidates=1).candidates([0, 0, 0])
    assert STRATEGIES["greedy"](library, generator()).weights.tolist() == pytest.approx([1 / 3] * 3)


def test_each_strategy_combines_classes_and_values_by_the_rule_of_the_reports():
    rules = {name: [STRATEGIES[name](example_library(kind), generator()).rule for kind in KINDS] for name in STRATEGIES}
    assert rules["greedy"] == ["vote", "vote", "mean"]
    assert rules["greedy_median"] == rules["vote_median"] == ["vote", "vote", "median"]
    assert rules["vote"] == ["vote", "vote", "mean"]


def test_soft_vote_takes_the_best_few_candidates_and_vote_and_uniform_take_all():
    library = example_library("classification", candidates=12)
    soft, uniform = (STRATEGIES[name](library, generator()).weights for name in ("soft_vote", "uniform"))
    assert set(np.flatnonzero(soft)) == set(library.ranking[:START])
    np.testing.assert_allclose(uniform, 1 / 12)
    np.testing.assert_allclose(STRATEGIES["vote"](library, generator()).weights, 1 / 12)


@pytest.mark.parametrize("kind", KINDS)
def test_selection_from_many_candidates_takes_few_members(kind):
    library = example_library(kind, candidates=40, rows=500)
    assert np.count_nonzero(select_from_all(library)) <= MEMBERS
    assert np.count_nonzero(STRATEGIES["caruana"](library, generator()).weights) <= MEMBERS
