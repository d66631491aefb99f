"""Test the rungs, brackets and decisions of successive halving, on given and on random scores."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.runs.pareto import domination_counts
from search.tune.halving import BRACKETS, Halving, expected_rounds, kept_share, last_continues, rungs

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)
SHARE = 1 / 4
"""The share of the trials that continue."""
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


def passes_rung(scores: list[float], score: float) -> bool:
    """Return whether the trial with `score`, which is in `scores`, continues if it reaches the rung last."""
    others = list(scores)
    others.remove(score)
    return last_continues([(other,) for other in others] + [(score,)], SHARE)


def test_each_rung_is_twice_as_late_as_the_one_before_it():
    assert rungs(6) == (1, 2, 4)
    assert rungs(16) == (1, 2, 4, 8)
    assert rungs(17) == (1, 2, 4, 8, 16)
    assert rungs(1) == ()
    assert rungs(17, 3) == (8, 16) and rungs(17, 5) == ()


def test_the_later_the_rung_the_fewer_trials_continue():
    assert [kept_share(judged, 6) for judged in (1, 2, 4, 6)] == pytest.approx([2 / 3, 1 / 2, 1 / 3, 1 / 4])


@given(SCORES)
def test_the_best_trial_of_a_rung_always_continues(scores):
    assert passes_rung(scores, max(scores))


@given(SCORES, st.data())
def test_a_trial_that_continues_would_also_continue_with_a_better_score(scores, data):
    score = data.draw(st.sampled_from(scores))
    if passes_rung(scores, score):
        assert all(passes_rung(scores, better) for better in scores if better >= score)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60, unique=True))
def test_the_share_of_a_rung_continues_rounded_up(scores):
    assert sum(passes_rung(scores, score) for score in scores) == math.ceil(SHARE * len(scores))


def test_the_first_trial_of_a_rung_continues_and_the_second_if_it_is_as_good():
    assert last_continues([(0.1,)], SHARE)
    assert last_continues([(0.1,), (0.1,)], SHARE)
    assert not last_continues([(0.9,), (0.1,)], SHARE)
    assert last_continues([(0.9,), (0.1,)], 2 / 3), "of two trials, both continue at the first rung"


@given(PAIRS)
def test_with_several_objectives_a_trial_that_is_not_dominated_continues(pairs):
    values = np.array(pairs)
    for place in np.flatnonzero(domination_counts(values) == 0):
        assert last_continues([*np.delete(values, place, axis=0).tolist(), values[place].tolist()], SHARE)


def test_with_several_objectives_the_most_dominated_trial_is_stopped():
    assert not last_continues([(0.9, 0.1), (0.1, 0.9), (0.5, 0.5), (0.4, 0.4)], SHARE)
    assert last_continues([(0.9, 0.1), (0.1, 0.9), (0.5, 0.5), (0.2, 0.95)], SHARE)


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


def test_the_rounds_of_a_bracket_are_those_of_its_shares():
    # Of six trials all train round 1, four round 2, two rounds 3 and 4, two thirds of one rounds 5 and 6.
    assert expected_rounds(6, 0) == pytest.approx((6 * 1 + 4 * 1 + 2 * 2 + 2 / 3 * 2) / 6)
    assert expected_rounds(6, 3) == 6


def test_asha_has_one_bracket_and_hyperband_gives_its_brackets_equal_time():
    assert {BRACKETS["asha"](number, 9) for number in range(100)} == {0}
    dealt = Counter(BRACKETS["hyperband"](number, 6) for number in range(1000))
    times = [dealt[bracket] * expected_rounds(6, bracket) for bracket in range(4)]
    assert max(times) < 1.1 * min(times)
    assert {BRACKETS["hyperband"](number, 6) for number in range(6)} == {0, 1, 2, 3}


def test_trials_of_different_brackets_are_not_compared():
    halving = Halving(6, lambda number, rounds: number % 2)
    for number in range(8):
        halving.enter(number, 1, (float(number % 2 == 0),))
        halving.enter(number, 4, (float(number % 2 == 0),))
    assert set(halving.rungs) == {(0, 1), (0, 4), (1, 4)}
    assert {len(rung) for rung in halving.rungs.values()} == {4}
