from hypothesis import given
from hypothesis import strategies as st

from search.halving import ETA, goes_on, rungs

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_rungs_lie_below_the_last_round_and_grow_by_eta():
    assert rungs(6) == (1, 3)
    assert rungs(9) == (1, 3)
    assert rungs(10) == (1, 3, 9)
    assert rungs(1) == ()
    assert rungs(16, eta=2) == (1, 2, 4, 8)


@given(SCORES)
def test_the_best_of_a_rung_always_goes_on(scores):
    assert goes_on(scores, max(scores))


@given(SCORES, st.data())
def test_who_goes_on_goes_on_with_any_better_score(scores, data):
    score = data.draw(st.sampled_from(scores))
    if goes_on(scores, score):
        assert all(goes_on(scores, better) for better in scores if better >= score)


@given(st.lists(st.floats(0, 1), min_size=ETA, max_size=60, unique=True))
def test_a_full_rung_lets_one_in_eta_go_on_rounded_up(scores):
    survivors = sum(goes_on(scores, score) for score in scores)
    assert survivors == -(-len(scores) // ETA)


def test_nobody_is_stopped_before_a_rung_holds_eta_scores():
    assert goes_on([0.9, 0.1], 0.1)
    assert not goes_on([0.9, 0.5, 0.1], 0.1)
