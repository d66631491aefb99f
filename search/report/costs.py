"""Compute the training time of trials, and of each value of a categorical parameter."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from search.runs.trial_record import Trial


@dataclass(frozen=True)
class TrialCost:
    """A trial's score and the time it took."""

    trial: int
    score: float
    rounds: int
    train_seconds: float
    """Per round, median."""
    eval_seconds: float
    """Per round, median."""
    examples_per_second: float
    """In training."""
    epoch_seconds: float
    """Training on as many examples as there are training rows."""


@dataclass(frozen=True)
class ChoiceCost:
    """The training time of the trials with one value of a categorical parameter."""

    parameter: str
    value: Any
    trials: int
    seconds: float
    """Per 1,000 training examples, median over the trials."""


def trial_cost(trial: Trial, score: float, train_rows: int) -> TrialCost:
    """Return the cost of a trial's score.

    Args:
        train_rows: number of training rows of all the trial's tasks.
    """
    seconds = seconds_per_example(trial)
    return TrialCost(
        trial.number,
        score,
        len(trial.rows),
        median(row.train_seconds for row in trial.rows),
        median(row.eval_seconds for row in trial.rows),
        1 / seconds,
        train_rows * seconds,
    )


def choice_costs(trials: Sequence[Trial]) -> list[ChoiceCost]:
    """Return the cost of each value of each categorical parameter, the cheapest value of a parameter first."""
    found: dict[tuple[str, Any], list[float]] = {}
    for trial in trials:
        for name in _categorical(trial) if trial.rows else ():
            found.setdefault((name, trial.params[name]), []).append(1000 * seconds_per_example(trial))
    listed = [ChoiceCost(name, value, len(seconds), median(seconds)) for (name, value), seconds in found.items()]
    return sorted(listed, key=lambda choice: (choice.parameter, choice.seconds))


def seconds_per_example(trial: Trial) -> float:
    """Return the training time per example in seconds, without evaluation and saving."""
    return sum(row.train_seconds for row in trial.rows) / trial.examples


def _categorical(trial: Trial) -> list[str]:
    kinds = {name: json.loads(text)["name"] for name, text in trial.distributions.items()}
    return [name for name, kind in kinds.items() if kind == "CategoricalDistribution"]
