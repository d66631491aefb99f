"""The objectives of a search, by name, and their values for rounds and trials."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from model.errors import InputError, unknown
from trainers.training.rounds import RoundRow

SCORE = "score"
ENSEMBLE = "ensemble"

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """A quantity that a search maximises or minimises."""

    direction: Direction
    round_value: Callable[[RoundRow], float | None]
    """Return the value of a round from its row; None if the row lacks it."""
    mean_of_rounds: bool = False
    """Whether a trial's value is the mean over its judged rounds, instead of the value of its best round."""

    @property
    def sign(self) -> int:
        """1 if a higher value is better, else -1."""
        return 1 if self.direction == "maximize" else -1


OBJECTIVES: dict[str, Objective] = {
    SCORE: Objective("maximize", lambda row: row.score),
    ENSEMBLE: Objective("maximize", lambda row: row.score),
    "seconds": Objective("minimize", lambda row: row.train_seconds, mean_of_rounds=True),
    "parameters": Objective("minimize", lambda row: row.parameters),
}
"""Objectives that every search has. Each task's metric is an objective too, by the name of the task.

For `ensemble`, a round's value is its score; the value of a finished trial is computed in `contribution.py`.
"""


def objective(name: str) -> Objective:
    """Return an objective by its name; a name that is not in `OBJECTIVES` is a task's."""
    return OBJECTIVES.get(name) or Objective("maximize", lambda row: row.metrics.get(name))


def kept_metrics(names: Sequence[str], tasks: Collection[str]) -> list[str]:
    """Return the metrics whose best rounds keep their weights, besides the score: the tasks', and `ensemble`.

    Args:
        names: the objectives of the search.
        tasks: the tasks that are scored.
    """
    return [*([ENSEMBLE] if list(names) == [ENSEMBLE] else []), *tasks]


def study_directions(names: Sequence[str]) -> list[Direction]:
    """Return the directions with which an Optuna study of these objectives is created."""
    return [objective(name).direction for name in names]


def check_objectives(names: Sequence[str], tasks: Collection[str]) -> None:
    """Check the names of a search's objectives.

    Args:
        tasks: the tasks that are scored.

    Raises:
        InputError: a name is unknown, is given twice, or is `ensemble` beside others.
    """
    for name in names:
        if name not in {*OBJECTIVES, *tasks}:
            raise unknown("objective", name, [*OBJECTIVES, *tasks])
        if names.count(name) > 1:
            raise InputError(f"--objective {name} is given {names.count(name)} times. Give each once.")
    if ENSEMBLE in names and len(names) > 1:
        raise InputError("--objective ensemble cannot be combined with other objectives. Leave it or the others out.")


def round_values(row: RoundRow, names: Sequence[str]) -> tuple[float, ...] | None:
    """Return a round's value of each objective; None if the round was not judged or lacks a value."""
    values = [objective(name).round_value(row) for name in names] if row.score is not None else [None]
    known = [value for value in values if value is not None]
    return tuple(known) if len(known) == len(values) else None


def values_to_maximize(row: RoundRow, names: Sequence[str]) -> tuple[float, ...] | None:
    """Return a round's values, negated for objectives to minimise; None if `round_values` returns None."""
    values = round_values(row, names)
    if values is None:
        return None
    return tuple(objective(name).sign * value for name, value in zip(names, values, strict=True))


def value_to_maximize(row: RoundRow, names: Sequence[str]) -> float | None:
    """Return the value by which rounds are ranked: of the objective, or with several objectives the score.

    Returns:
        The value, negated for an objective to minimise; None if the round was not judged or lacks the value.
    """
    values = values_to_maximize(row, names if len(names) == 1 else [SCORE])
    return values[0] if values else None


def trial_values(rows: Sequence[RoundRow], names: Sequence[str]) -> list[float] | None:
    """Return the values of a finished trial: those of its best round, or means over rounds.

    With several objectives the best round is the round with the highest score.

    Args:
        rows: the rows of all finished rounds, in order.

    Returns:
        A value of each objective; None if no round has all of them.
    """
    judged = [row for row in rows if round_values(row, names)]
    if not judged:
        return None
    best = max(judged, key=lambda row: values_to_maximize(row, names if len(names) == 1 else [SCORE]) or ())
    return [_trial_value(objective(name), best, judged) for name in names]


def last_round_values(rows: Sequence[RoundRow], names: Sequence[str]) -> list[float] | None:
    """Return the values of the last round that has a value of each objective; None if no round has."""
    found = [values for row in rows if (values := round_values(row, names))]
    return list(found[-1]) if found else None


def _trial_value(objective: Objective, best: RoundRow, judged: Sequence[RoundRow]) -> float:
    """Return a trial's value of one objective: of its best round, or the mean over its judged rounds."""
    rows = judged if objective.mean_of_rounds else [best]
    return float(mean(value for row in rows if (value := objective.round_value(row)) is not None))
