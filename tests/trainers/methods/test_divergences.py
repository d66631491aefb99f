from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainers.methods.divergences import DIVERGENCES, symmetric_bernoulli_kl, symmetric_kl
from trainers.tasks import TASKS, Kind

WIDTHS = {task.kind: task.outputs for task in TASKS.values()}
every_kind = pytest.mark.parametrize("kind", DIVERGENCES)


def outputs(kind, seed, rows=7, scale=3.0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(rows, WIDTHS[kind], generator=draw, dtype=torch.float64)).to(dtype)


def test_every_kind_of_task_has_a_divergence():
    assert set(DIVERGENCES) == set(get_args(Kind)) == set(WIDTHS)


@every_kind
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.floats(1e-3, 1e3))
def test_a_divergence_is_one_number_per_row_not_negative_and_symmetric(kind, seed, scale):
    left, right = outputs(kind, seed, scale=scale), outputs(kind, seed + 1, scale=scale)
    divergence = DIVERGENCES[kind](left, right)
    assert divergence.shape == (7,)
    assert bool((divergence >= 0).all())
    torch.testing.assert_close(divergence, DIVERGENCES[kind](right, left), rtol=0, atol=0)


@every_kind
def test_a_divergence_is_0_exactly_for_equal_predictions(kind):
    left = outputs(kind, 1)
    right = torch.cat([left[:3], outputs(kind, 2)[3:]])
    assert (DIVERGENCES[kind](left, right) == 0).tolist() == [True] * 3 + [False] * 4


@every_kind
def test_a_divergence_is_quadratic_near_agreement(kind):
    left, move = outputs(kind, 1), outputs(kind, 2)
    near, nearer = (DIVERGENCES[kind](left, left + step * move) for step in (1e-3, 1e-4))
    torch.testing.assert_close(near / nearer, torch.full_like(near, 100), rtol=0.01, atol=0)


@every_kind
def test_the_divergence_of_a_row_does_not_depend_on_other_rows(kind):
    left, right = outputs(kind, 1), outputs(kind, 2)
    alone = torch.cat([DIVERGENCES[kind](left[row : row + 1], right[row : row + 1]) for row in range(7)])
    torch.testing.assert_close(DIVERGENCES[kind](left, right), alone)


@every_kind
def test_extreme_outputs_have_a_finite_divergence_and_gradient(kind):
    left = torch.full((2, WIDTHS[kind]), -1e4)
    left[:, 0] = 1e4
    right = (-left).requires_grad_()
    left.requires_grad_()
    DIVERGENCES[kind](left, right).sum().backward()
    assert left.grad is not None and bool(left.grad.isfinite().all())
    assert right.grad is not None and bool(right.grad.isfinite().all())


@every_kind
@pytest.mark.parametrize(
    ("given_dtype", "expected"), [("bfloat16", "float32"), ("float32", "float32"), ("float64",) * 2]
)
def test_half_precision_becomes_float32_and_higher_precision_stays(kind, given_dtype, expected):
    left, right = (outputs(kind, seed, dtype=getattr(torch, given_dtype)) for seed in (1, 2))
    divergence = DIVERGENCES[kind](left, right)
    assert divergence.dtype == getattr(torch, expected)
    torch.testing.assert_close(divergence, DIVERGENCES[kind](left.double(), right.double()).to(divergence.dtype))


def test_the_divergence_of_classes_is_the_sum_of_both_directions_of_kl():
    left, right = (outputs("classification", seed).log_softmax(-1) for seed in (1, 2))
    directions = [
        functional.kl_div(a, b, log_target=True, reduction="none").sum(-1) for a, b in ((left, right), (right, left))
    ]
    torch.testing.assert_close(symmetric_kl(left, right), directions[0] + directions[1], rtol=1e-12, atol=0)


def test_a_constant_added_to_all_logits_changes_nothing():
    left, right = outputs("classification", 1), outputs("classification", 2)
    torch.testing.assert_close(symmetric_kl(left + 5, right - 3), symmetric_kl(left, right))


def test_one_logit_equals_two_classes_with_a_first_logit_of_0():
    left, right = outputs("binary", 1), outputs("binary", 2)
    two = [torch.cat([torch.zeros_like(logit), logit], -1) for logit in (left, right)]
    torch.testing.assert_close(symmetric_bernoulli_kl(left, right), symmetric_kl(*two), rtol=1e-12, atol=0)


def test_the_divergence_of_classes_refuses_a_single_logit():
    with pytest.raises(AssertionError):
        symmetric_kl(torch.ones(3, 1), torch.zeros(3, 1))


def test_the_divergence_of_values_is_their_squared_difference_in_label_units():
    left, right = torch.tensor([[5.0], [2.5]]), torch.tensor([[2.0], [2.0]])
    assert DIVERGENCES["regression"](left, right).tolist() == [9.0, 0.25]
