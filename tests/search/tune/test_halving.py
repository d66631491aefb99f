"""Test the rungs, brackets and decisions of successive halving, on given and on random scores."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.runs.pareto import domination_counts
from search.tune.halving import BRACKETS, ETA, Halving, last_continues, rungs

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


def passes_rung(scores: list[float], score: float) -> bool:
    """Return whether the trial with `score`, which is in `scores`, continues if it reaches the rung last."""
    others = list(scores)
    others.remove(score)
    return last_continues([(other,) for other in others] + [(score,)])


def test_rungs_are_powers_of_eta_below_the_last_round():
    assert rungs(6) == (1, 4)
    assert rungs(16) == (1, 4)
    assert rungs(17) == (1, 4, 16)
    assert rungs(1) == ()
    assert rungs(17, 1) == (4, 16) and rungs(17, 3) == ()


@given(SCORES)
def test_the_best_trial_of_a_rung_always_continues(scores):
    assert passes_rung(scores, max(scores))


@given(SCORES, st.data())
def test_a_trial_that_continues_would_also_continue_with_a_better_score(scores, data):
    score = data.draw(st.sampled_from(scores))
    if passes_rung(scores, score):
        assert all(passes_rung(scores, better) for better in scores if better >= score)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True))
def test_one_in_eta_trials_of_a_rung_continues_rounded_up(scores):
    assert sum(passes_rung(scores, score) for score in scores) == -(-len(scores) // ETA)


def test_the_first_trial_of_a_rung_continues_and_the_second_if_it_is_as_good():
    assert last_continues([(0.1,)])
    assert last_continues([(0.1,), (0.1,)])
    assert not last_continues([(0.9,), (0.1,)])


@given(PAIRS)
def test_with_several_objectives_a_trial_that_is_not_dominated_continues(pairs):
    values = np.array(pairs)
    for place in np.flatnonzero(domination_counts(values) == 0):
        assert last_continues([*np.delete(values, place, axis=0).tolist(), values[place].tolist()])


def test_with_several_objectives_the_most_dominated_trial_is_stopped():
    assert not last_continues([(0.9, 0.1), (0.1, 0.9), (0.5, 0.5), (0.4, 0.4)])
    assert last_continues([(0.9, 0.1), (0.1, 0.9), (0.5, 0.5), (0.2, 0.95)])


@pytest.mark.parametrize("name", BRACKETS)
def test_a_round_that_is_reported_again_gets_the_same_decision(name: str):
    halving, scores = Halving(4, BRACKETS[name]), np.random.default_rng(0).random((40, 4))
    first = {}
    for number in range(40):
        for judged in range(1, 5):
            halving.enter(number, judged, (scores[number, judged - 1],))
            first[number, judged] = halving.continues(number, judged)
            if not first[number, judged]:
                break
    assert set(first.values()) == {True, False}
    for (number, judged), continued in first.items():
        halving.enter(number, judged, (2.0,))
        assert halving.continues(number, judged) == continued


def test_asha_has_one_bracket_and_hyperband_fills_its_brackets_as_in_the_paper():
    assert {BRACKETS["asha"](number, 9) for number in range(100)} == {0}
    dealt = Counter(BRACKETS["hyperband"](number, 17) for number in range(64 + 22 + 8 + 4))
    assert dealt == {0: 64, 1: 22, 2: 8, 3: 4}, "algorithm 1 for eta 4 and at most three stops"
    assert {BRACKETS["hyperband"](number, 17) for number in range(14)} == {0, 1, 2, 3}


def test_trials_of_different_brackets_are_not_compared():
    halving = Halving(6, lambda number, rounds: number % 2)
    for number in range(8):
        halving.enter(number, 1, (float(number % 2 == 0),))
        halving.enter(number, 4, (float(number % 2 == 0),))
    assert set(halving.rungs) == {(0, 1), (0, 4), (1, 4)}
    assert {len(rung) for rung in halving.rungs.values()} == {4}
