"""Rounds of trials -> the report's tables: what scores cost, what choices cost, and how hard regularisers pull."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from search.runs.trial_record import Trial


@dataclass(frozen=True)
class Cost:
    """What a trial's score took."""

    trial: int
    score: float
    rounds: int
    train_seconds: float
    """Median of a round."""
    eval_seconds: float
    """Median of a round."""
    examples_per_second: float
    """In training."""
    epoch_seconds: float
    """Training on as many examples as there are training rows."""


@dataclass(frozen=True)
class Variant:
    """What a categorical parameter's value costs."""

    parameter: str
    value: Any
    trials: int
    seconds: float
    """Of training on 1,000 examples, the median trial."""


@dataclass(frozen=True)
class Pull:
    """How hard a regulariser pulls: the norm of its weighted gradient over the norm of its task's own."""

    name: str
    """"task.regulariser"."""
    ratios: list[float | None]
    """One a round; None where the round did not measure it."""

    @property
    def median(self) -> float:
        """The ratio of the median round."""
        return median(ratio for ratio in self.ratios if ratio is not None)


@dataclass(frozen=True)
class Passage:
    """Rounds of a run, the trial that trained them, and its parameters."""

    first: int
    last: int
    trial: int
    params: dict[str, Any]


def lineage(trial: Trial, trials: Mapping[int, Trial]) -> list[Passage]:
    """List what a trial's weights went through from their start on: a clone's, its donor's rounds before its own.

    Args:
        trials: by number, the donors among them.
    """
    passages: list[Passage] = []
    last = trial.rows[-1]["round"]
    while clone := trial.clone:
        passages.append(Passage(clone.round + 1, last, trial.number, trial.params))
        last, trial = clone.round, trials[clone.trial]
    return [Passage(1, last, trial.number, trial.params), *reversed(passages)]


def cost(trial: Trial, score: float, train_rows: int) -> Cost:
    """Tell what a trial's score took.

    Args:
        train_rows: of all its tasks.
    """
    seconds = seconds_per_example(trial)
    return Cost(
        trial.number,
        score,
        len(trial.rows),
        median(row["train_seconds"] for row in trial.rows),
        median(row["eval_seconds"] for row in trial.rows),
        1 / seconds,
        train_rows * seconds,
    )


def variants(trials: Sequence[Trial]) -> list[Variant]:
    """Tell what each value of each categorical parameter costs, the cheapest of a parameter first."""
    found: dict[tuple[str, Any], list[float]] = {}
    for trial in trials:
        for name in _categorical(trial) if trial.rows else ():
            found.setdefault((name, trial.params[name]), []).append(1000 * seconds_per_example(trial))
    listed = [Variant(name, value, len(seconds), median(seconds)) for (name, value), seconds in found.items()]
    return sorted(listed, key=lambda variant: (variant.parameter, variant.seconds))


def seconds_per_example(trial: Trial) -> float:
    """Return the seconds of training, without evaluating and saving, that an example took."""
    return sum(row["train_seconds"] for row in trial.rows) / trial.examples


def pulls(rows: Sequence[dict[str, Any]]) -> list[Pull]:
    """Gather the regularisers' ratios over a trial's rounds; none if the rounds measured none."""
    measured = [row.get("ratios", {}) for row in rows]  # rows of older releases have none
    names = sorted({name for ratios in measured for name in ratios})
    return [Pull(name, [ratios.get(name) for ratios in measured]) for name in names]


def _categorical(trial: Trial) -> list[str]:
    kinds = {name: json.loads(text)["name"] for name, text in trial.distributions.items()}
    return [name for name, kind in kinds.items() if kind == "CategoricalDistribution"]
