"""Every strategy on drawn candidates: what must hold whatever they predict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.selection.library import LOSSES, Library
from search.selection.running_metrics import RUNNING_METRICS
from search.selection.strategies import MEMBERS, START, STRATEGIES, forward_selection
from tests.search.libraries import library
from trainers.evaluation.scores import METRICS

KINDS = tuple(METRICS)
NEVER_BELOW_THE_BEST = ("caruana", "greedy", "greedy_median", "single")
SAME = 1e-6


def generator():
    return np.random.default_rng(0)


def achieved(candidates, selection):
    return candidates.metric(selection.combine(candidates.predictions))


def whole(candidates):
    return forward_selection(candidates, np.arange(len(candidates)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("candidates", [1, 2, 3, 30])
def test_weights_are_shares_and_the_same_when_asked_twice(strategy, kind, candidates):
    found = library(kind, candidates=candidates)
    selection, again = STRATEGIES[strategy](found, generator()), STRATEGIES[strategy](found, generator())
    assert selection.weights.shape == (candidates,)
    assert (selection.weights >= 0).all()
    assert selection.weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(selection.weights, again.weights)
    assert selection.combine(found.predictions).shape == found.predictions.shape[1:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shuffled_rows_change_no_selection(strategy, kind):
    found = library(kind, candidates=10)
    order = generator().permutation(len(found.labels))
    shuffled = STRATEGIES[strategy](found.rows(order), generator())
    np.testing.assert_allclose(shuffled.weights, STRATEGIES[strategy](found, generator()).weights, atol=1e-12)


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
def test_an_ensemble_is_never_below_its_best_candidate_on_what_it_was_chosen_on(
    strategy, kind, seed, candidates, rows, skill, digits
):
    found = library(kind, candidates=candidates, rows=rows, skill=skill, seed=seed)
    rounded = Library(kind, found.predictions.round(digits), found.labels)  # many ties
    selection = STRATEGIES[strategy](rounded, generator())
    assert achieved(rounded, selection) >= rounded.metrics.max() - SAME


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), candidates=st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_forward_selection_keeps_the_best_prefix_of_few_members(kind, seed, candidates):
    found = library(kind, candidates=candidates, rows=30, seed=seed)
    weights = whole(found)
    assert np.count_nonzero(weights) <= MEMBERS
    together = np.tensordot(weights, found.predictions, 1)
    assert found.metric(together) >= found.metrics.max() - SAME


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), copied=st.integers(0, 7), place=st.integers(0, 8))
@settings(max_examples=15, deadline=None)
def test_a_duplicated_candidate_changes_nothing_but_the_split_of_weight(kind, seed, copied, place):
    found = library(kind, candidates=8, rows=50, seed=seed)
    source = np.insert(np.arange(8), place, copied)
    weights = whole(found.candidates(source.tolist()))
    np.testing.assert_allclose(np.bincount(source, weights, minlength=8), whole(found), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_forward_selection_draws_from_what_is_available_only(kind):
    found = library(kind, candidates=20)
    available = np.array([17, 3, 8])
    assert set(np.flatnonzero(forward_selection(found, available))) <= set(available)


def test_forward_selection_worked_out_by_hand():
    # The first is wrong in row 2 alone, where the second is right. With a share w of the first, row 2 is right below
    # w = .8, and the loss falls until w = 1: of all that are right everywhere the largest share is the best.
    yes = np.array([[0.9, 0.9, 0.4, 0.9], [0.6, 0.2, 0.9, 0.2]], np.float32)
    found = Library("binary", yes[..., None], np.ones(4, np.float32))
    weights = whole(found)
    assert 0.75 < weights[0] < 0.8
    assert found.metric(np.tensordot(weights, found.predictions, 1)) == 1


def test_of_equal_accuracies_the_smaller_loss_wins():
    surer = np.array([[[0.6], [0.6]], [[0.9], [0.9]], [[0.7], [0.7]]], np.float32)
    found = Library("binary", surer, np.ones(2, np.float32))
    assert found.ranking.tolist() == [1, 2, 0]
    assert whole(found).tolist() == [0, 1, 0]


@pytest.mark.parametrize("rule", ["greedy", "greedy_median"])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_never_falls_along_its_path(kind, rule):
    found = library(kind, candidates=25)
    selection = STRATEGIES[rule](found, generator())
    members = [number for number in found.ranking if selection.weights[number] > 0]
    assert members[0] == found.ranking[0]
    path = []
    for count in range(1, len(members) + 1):
        weights = np.zeros(len(found))
        weights[members[:count]] = 1 / count
        path.append(achieved(found, type(selection)(weights, selection.rule)))
    assert path == sorted(path)
    assert len(members) > 1


def test_greedy_keeps_a_candidate_that_changes_nothing():
    found = library("binary", candidates=1).candidates([0, 0, 0])
    assert STRATEGIES["greedy"](found, generator()).weights.tolist() == pytest.approx([1 / 3] * 3)


def test_classes_are_voted_on_and_values_combined_as_the_reports_do():
    rules = {name: [STRATEGIES[name](library(kind), generator()).rule for kind in KINDS] for name in STRATEGIES}
    assert rules["greedy"] == ["vote", "vote", "mean"]
    assert rules["greedy_median"] == rules["vote_median"] == ["vote", "vote", "median"]
    assert rules["vote"] == ["vote", "vote", "mean"]


def test_a_soft_vote_is_of_the_best_few_and_a_vote_and_uniform_of_all():
    found = library("classification", candidates=12)
    soft, uniform = (STRATEGIES[name](found, generator()).weights for name in ("soft_vote", "uniform"))
    assert set(np.flatnonzero(soft)) == set(found.ranking[:START])
    np.testing.assert_allclose(uniform, 1 / 12)
    np.testing.assert_allclose(STRATEGIES["vote"](found, generator()).weights, 1 / 12)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), grid=st.sampled_from([8, 2**20]))
@settings(max_examples=20, deadline=None)
def test_running_sums_score_as_the_means_do(kind, seed, grid):
    found = library(kind, candidates=6, rows=40, seed=seed)
    found = Library(kind, (found.predictions * grid).round() / grid, found.labels)  # eighths tie, and exactly
    running, drawn = RUNNING_METRICS[kind](found.predictions, found.labels), []
    for candidate in np.random.default_rng(seed).integers(6, size=8):
        drawn.append(candidate)
        running.add(int(candidate))
        means = (found.predictions[drawn].sum(axis=0, dtype=np.float64) + found.predictions) / (len(drawn) + 1)
        expected = found.metric(means.astype(np.float32))
        reached = running.with_each()
        if kind == "regression":  # up to a factor common to all
            np.testing.assert_allclose(reached * np.abs(expected).max(), expected * np.abs(reached).max(), atol=1e-5)
        else:
            np.testing.assert_allclose(reached, expected, atol=1e-12)


def test_the_sum_of_opposite_values_is_worth_nothing():
    values = np.random.default_rng(0).normal(size=(1, 30, 1)).astype(np.float32)
    running = RUNNING_METRICS["regression"](np.concatenate([values, -values]), np.arange(30, dtype=np.float32))
    running.add(0)
    assert running.with_each()[1] == 0


@pytest.mark.parametrize("kind", LOSSES)
def test_perfect_predictions_lose_nothing_and_wrong_ones_a_finite_amount(kind):
    labels = np.array([0, 1, 1, 0], np.float32)
    right = np.eye(2)[labels.astype(int)] if kind == "classification" else labels[:, None]
    np.testing.assert_allclose(LOSSES[kind](right, labels), 0, atol=1e-6)
    assert (LOSSES[kind](1 - right, labels) > 0).all()
    assert (LOSSES[kind](1 - right, labels) < 100).all()


@pytest.mark.parametrize("kind", KINDS)
def test_few_members_are_taken_of_many_candidates(kind):
    found = library(kind, candidates=40, rows=500)
    assert np.count_nonzero(whole(found)) <= MEMBERS
    assert np.count_nonzero(STRATEGIES["caruana"](found, generator()).weights) <= MEMBERS
