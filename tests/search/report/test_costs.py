"""Test the costs of trials and of choices against values calculated by hand."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json

from search.report.costs import choice_costs, trial_cost
from search.runs.trial_record import Trial
from tests.example_row import example_row
from trainers.folder import Folder

DISTRIBUTIONS = {"schedule": CategoricalDistribution(["smart_round_robin", "cycle"]), "rate": FloatDistribution(0, 1)}


def trial(number: int, schedule: str, seconds: list[float], examples: int = 500) -> Trial:
    rows = [
        example_row(place, examples=examples * place, train_seconds=spent, eval_seconds=spent / 10)
        for place, spent in enumerate(seconds, start=1)
    ]
    distributions = {name: distribution_to_json(distribution) for name, distribution in DISTRIBUTIONS.items()}
    return Trial(
        Folder.at("."), number, {"schedule": schedule, "rate": 0.5}, distributions, "COMPLETE", [0.5], None, rows
    )


def test_costs_equal_those_calculated_by_hand():
    found = trial_cost(trial(3, "smart_round_robin", [10, 40, 10]), 0.5, 3000)
    assert (found.trial, found.score, found.rounds) == (3, 0.5, 3)
    assert (found.train_seconds, found.eval_seconds) == (10, 1)
    assert found.examples_per_second == pytest.approx(1500 / 60)
    assert found.epoch_seconds == pytest.approx(120)  # 1,500 examples took 60 s


def test_the_cost_of_a_choice_is_the_median_over_its_trials_for_a_thousand_examples():
    trials = [trial(number, "smart_round_robin", [seconds]) for number, seconds in enumerate([1, 2, 30])]
    found = choice_costs([*trials, trial(3, "cycle", [1]), trial(4, "cycle", [])])
    assert [(choice.parameter, choice.value, choice.trials, choice.seconds) for choice in found] == [
        ("schedule", "cycle", 1, 2.0),
        ("schedule", "smart_round_robin", 3, 4.0),
    ]
