"""Costs, variants and ratios of trials, worked out by hand."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json

from search.report.costs import cost, pulls, variants
from search.runs.trial_record import Trial
from trainers.folder import Folder

DISTRIBUTIONS = {"schedule": CategoricalDistribution(["smart_round_robin", "cycle"]), "rate": FloatDistribution(0, 1)}


def trial(number: int, schedule: str, seconds: list[float], examples: int = 500) -> Trial:
    rows: list[dict[str, Any]] = [
        {"round": place, "examples": examples * place, "train_seconds": spent, "eval_seconds": spent / 10}
        for place, spent in enumerate(seconds, start=1)
    ]
    told = {name: distribution_to_json(distribution) for name, distribution in DISTRIBUTIONS.items()}
    return Trial(Folder.at("."), number, {"schedule": schedule, "rate": 0.5}, told, "COMPLETE", [0.5], None, rows)


def test_costs_are_those_worked_out_by_hand():
    found = cost(trial(3, "smart_round_robin", [10, 40, 10]), 0.5, 3000)
    assert (found.trial, found.score, found.rounds) == (3, 0.5, 3)
    assert (found.train_seconds, found.eval_seconds) == (10, 1)
    assert found.examples_per_second == pytest.approx(1500 / 60)
    assert found.epoch_seconds == pytest.approx(120)  # 3,000 rows are twice what took 60 seconds


def test_a_variant_costs_what_its_median_trial_takes_for_a_thousand_examples():
    trials = [trial(number, "smart_round_robin", [seconds]) for number, seconds in enumerate([1, 2, 30])]
    found = variants([*trials, trial(3, "cycle", [1]), trial(4, "cycle", [])])
    assert [(one.parameter, one.value, one.trials, one.seconds) for one in found] == [
        ("schedule", "cycle", 1, 2.0),
        ("schedule", "smart_round_robin", 3, 4.0),
    ]


def test_ratios_are_gathered_over_rounds_and_what_a_round_lacks_stays_empty():
    rows: list[dict[str, Any]] = [{}, {"ratios": {"sst.smart": 0.5}}, {"ratios": {"sst.smart": 0.1, "b": 2}}]
    found = {pull.name: (pull.ratios, pull.median) for pull in pulls(rows)}
    assert found == {"sst.smart": ([None, 0.5, 0.1], 0.3), "b": ([None, None, 2], 2)}
    assert pulls([{}, {}]) == []
