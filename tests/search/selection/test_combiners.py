"""Test the rules that combine the predictions of members: mean, vote and median."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.selection.combiners import COMBINERS, combine
from tests.search.libraries import example_library

CLASSES = ("classification", "binary")
KINDS = {"mean": (*CLASSES, "regression"), "vote": CLASSES, "median": ("regression",)}
PAIRS = [(rule, kind) for rule, kinds in KINDS.items() for kind in kinds]


def weighted(predictions, weights):
    """Return pairs of a member's predictions and its weight."""
    return list(zip(predictions, weights, strict=True))


def test_the_tests_below_cover_every_rule():
    assert KINDS.keys() == COMBINERS.keys()


@pytest.mark.parametrize(("rule", "kind"), PAIRS)
def test_an_ensemble_of_one_member_predicts_as_that_member(rule, kind):
    library = example_library(kind)
    for member in library.predictions:
        for weight in (1.0, 0.3):
            combined = combine(rule, [(member, weight)])
            assert combined.dtype == np.float32
            assert library.metric(combined) == library.metric(member)
            if rule != "vote":
                np.testing.assert_array_equal(combined, member)


@pytest.mark.parametrize(("rule", "kind"), PAIRS)
@given(order=st.permutations(range(6)), counts=st.lists(st.integers(1, 4), min_size=6, max_size=6))
def test_the_order_of_members_does_not_matter(rule, kind, order, counts):
    predictions = example_library(kind, candidates=6, rows=40).predictions.round(1)
    weights = np.array(counts) / sum(counts)
    combined = combine(rule, weighted(predictions, weights))
    reordered = combine(rule, weighted(predictions[order], weights[order]))
    np.testing.assert_allclose(combined, reordered, atol=1e-6)


@pytest.mark.parametrize(("rule", "kind"), PAIRS)
@given(counts=st.lists(st.integers(1, 4), min_size=5, max_size=5))
def test_a_weight_of_n_equals_n_copies_of_the_member(rule, kind, counts):
    predictions = example_library(kind, candidates=5, rows=40).predictions.round(1)
    combined = combine(rule, weighted(predictions, np.array(counts) / sum(counts)))
    repeated = combine(rule, weighted(np.repeat(predictions, counts, axis=0), [1.0] * sum(counts)))
    np.testing.assert_allclose(combined, repeated, atol=1e-6)


def test_a_tied_vote_goes_to_the_more_probable_class_and_then_to_the_lowest():
    rows = [
        [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0]],  # 0 and 1 tie in votes: 1 is more probable
        [[0.7, 0.3, 0.0], [0.3, 0.7, 0.0]],  # 0 and 1 tie in votes and probability: the lowest
        [[0.1, 0.5, 0.4], [0.1, 0.4, 0.5]],  # 1 and 2 tie in votes and probability; 0 has no vote
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
    ]
    members = np.array(rows, np.float32).swapaxes(0, 1)
    assert combine("vote", weighted(members, [0.5, 0.5])).argmax(axis=-1).tolist() == [1, 0, 1, 2]


def test_a_narrow_majority_wins_the_vote_against_one_confident_member():
    members = np.array([[[0.51]], [[0.51]], [[0.0]]], np.float32)
    assert combine("vote", weighted(members, [1, 1, 1])) == 1
    assert combine("mean", weighted(members, [1, 1, 1])) == pytest.approx(0.34)


def test_a_binary_vote_with_a_probability_of_one_half_is_class_0():
    assert combine("vote", [(np.array([[0.5]], np.float32), 1.0)]) == 0


def test_the_median_of_an_even_number_of_values_is_the_mean_of_the_middle_two():
    values = np.array([1, 4, 2, 100], np.float32)[:, None, None]
    assert combine("median", weighted(values, [0.25] * 4)) == 3
    assert combine("median", weighted(values[:3], [1 / 3] * 3)) == 2


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=9))
def test_the_median_with_equal_weights_equals_the_median_of_numpy(values):
    members = np.array(values, np.float32)[:, None, None]
    weights = np.full(len(values), 1 / len(values))
    assert combine("median", weighted(members, weights)) == np.float32(np.median(np.float64(values)))
