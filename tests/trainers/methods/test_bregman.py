"""Test the momentum of the proximal term's teacher."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.methods.bregman import BregmanConfig, teacher_share


def test_the_teacher_moves_faster_in_the_first_tenth_of_a_stage():
    shares = [teacher_share(BregmanConfig(mu=1), done, 30) for done in range(30)]
    assert shares == pytest.approx([0.01] * 3 + [0.001] * 27)


@given(st.integers(1, 1000))
def test_the_first_step_of_any_stage_uses_the_early_momentum(steps):
    assert teacher_share(BregmanConfig(mu=1, beta=0.5, early_beta=0.25), 0, steps) == 0.75


def test_without_momentum_the_teacher_is_the_model_before_the_step():
    assert teacher_share(BregmanConfig(mu=1, beta=0, early_beta=0), 5, 10) == 1


@pytest.mark.parametrize(
    ("mu", "active"),
    [(0.0, False), (0.1, True), ({}, False), ({"sst": 0.0}, False), ({"sst": 0.0, "qqp": 1.0}, True)],
)
def test_the_proximal_term_is_active_if_any_task_has_a_weight(mu, active):
    assert BregmanConfig(mu=mu).active == active
