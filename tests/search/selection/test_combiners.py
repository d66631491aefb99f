"""Members become one prediction: by every rule, in any order, with any weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.selection.combiners import COMBINERS, combine
from tests.search.libraries import library

CLASSES = ("classification", "binary")
KINDS = {"mean": (*CLASSES, "regression"), "vote": CLASSES, "median": ("regression",)}
PAIRS = [(rule, kind) for rule, kinds in KINDS.items() for kind in kinds]


def weighted(predictions, weights):
    return list(zip(predictions, weights, strict=True))


def test_every_rule_is_tried():
    assert KINDS.keys() == COMBINERS.keys()


@pytest.mark.parametrize(("rule", "kind"), PAIRS)
def test_an_ensemble_of_one_member_predicts_as_that_member(rule, kind):
    candidates = library(kind)
    for member in candidates.predictions:
        for weight in (1.0, 0.3):
            together = combine(rule, [(member, weight)])
            assert together.dtype == np.float32
            assert candidates.metric(together) == candidates.metric(member)
            if rule != "vote":
                np.testing.assert_array_equal(together, member)


@pytest.mark.parametrize(("rule", "kind"), PAIRS)
@given(order=st.permutations(range(6)), counts=st.lists(st.integers(1, 4), min_size=6, max_size=6))
def test_the_order_of_members_is_irrelevant(rule, kind, order, counts):
    predictions = library(kind, candidates=6, rows=40).predictions.round(1)
    weights = np.array(counts) / sum(counts)
    together = combine(rule, weighted(predictions, weights))
    reordered = combine(rule, weighted(predictions[order], weights[order]))
    np.testing.assert_allclose(together, reordered, atol=1e-6)


@pytest.mark.parametrize(("rule", "kind"), PAIRS)
@given(counts=st.lists(st.integers(1, 4), min_size=5, max_size=5))
def test_a_weight_is_how_often_a_member_takes_part(rule, kind, counts):
    predictions = library(kind, candidates=5, rows=40).predictions.round(1)
    together = combine(rule, weighted(predictions, np.array(counts) / sum(counts)))
    repeated = combine(rule, weighted(np.repeat(predictions, counts, axis=0), [1.0] * sum(counts)))
    np.testing.assert_allclose(together, repeated, atol=1e-6)


def test_a_tied_vote_goes_to_the_likelier_class_then_to_the_lowest():
    rows = [
        [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0]],  # 0 and 1 tie: 1 is likelier
        [[0.7, 0.3, 0.0], [0.3, 0.7, 0.0]],  # a tie in both: the lowest
        [[0.1, 0.5, 0.4], [0.1, 0.4, 0.5]],  # 1 and 2 tie in both; 0 is no candidate
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
    ]
    members = np.array(rows, np.float32).swapaxes(0, 1)
    assert combine("vote", weighted(members, [0.5, 0.5])).argmax(axis=-1).tolist() == [1, 0, 1, 2]


def test_a_majority_of_narrow_votes_beats_one_sure_one():
    members = np.array([[[0.51]], [[0.51]], [[0.0]]], np.float32)
    assert combine("vote", weighted(members, [1, 1, 1])) == 1
    assert combine("mean", weighted(members, [1, 1, 1])) == pytest.approx(0.34)


def test_a_binary_vote_at_one_half_is_no():
    assert combine("vote", [(np.array([[0.5]], np.float32), 1.0)]) == 0


def test_the_median_of_an_even_number_is_the_midpoint():
    values = np.array([1, 4, 2, 100], np.float32)[:, None, None]
    assert combine("median", weighted(values, [0.25] * 4)) == 3
    assert combine("median", weighted(values[:3], [1 / 3] * 3)) == 2


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=9))
def test_the_median_of_equal_weights_is_numpys(values):
    members = np.array(values, np.float32)[:, None, None]
    weights = np.full(len(values), 1 / len(values))
    assert combine("median", weighted(members, weights)) == np.float32(np.median(np.float64(values)))
