"""What a search is for: objectives by name, and what the rows of a trial are worth."""

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
    """A figure that is to become as large, or as small, as it can."""

    direction: Direction
    of_round: Callable[[RoundRow], float | None]
    """Row -> the figure; None if the round does not have it."""
    averaged: bool = False
    """Whether a trial's figure is the mean over its rounds, and not that of its best round."""

    @property
    def sign(self) -> int:
        """1 if more is better, else -1."""
        return 1 if self.direction == "maximize" else -1


OBJECTIVES: dict[str, Objective] = {
    SCORE: Objective("maximize", lambda row: row.score),
    ENSEMBLE: Objective("maximize", lambda row: row.score),
    "seconds": Objective("minimize", lambda row: row.train_seconds, averaged=True),
    "parameters": Objective("minimize", lambda row: row.parameters),
}
"""Those that every search has; beside them each task's metric is one, by the name of the task.

A round is worth its score to the ensemble too; what a finished trial is worth to it, `contribution.py` says.
"""


def objective(name: str) -> Objective:
    """Return an objective by its name; a name that is none of ours is a task's."""
    return OBJECTIVES.get(name) or Objective("maximize", lambda row: row.metrics.get(name))


def directions(names: Sequence[str]) -> list[Direction]:
    """Return the directions of a study with these objectives."""
    return [objective(name).direction for name in names]


def check_objectives(names: Sequence[str], tasks: Collection[str]) -> None:
    """Check what a search is for.

    Args:
        tasks: those that its configs are scored on.

    Raises:
        InputError: there is no such objective, or one is named twice.
    """
    for name in names:
        if name not in {*OBJECTIVES, *tasks}:
            raise unknown("objective", name, [*OBJECTIVES, *tasks])
        if names.count(name) > 1:
            raise InputError(f"--objective {name} is given {names.count(name)} times. Give each once.")
    if ENSEMBLE in names and len(names) > 1:
        raise InputError(
            "--objective ensemble rewards what a trial adds to the others, and stands alone. Leave it out."
        )


def round_values(row: RoundRow, names: Sequence[str]) -> tuple[float, ...] | None:
    """Return a round's figure of each objective; None if it was not judged, or lacks one."""
    figures = [objective(name).of_round(row) for name in names] if row.score is not None else [None]
    known = [figure for figure in figures if figure is not None]
    return tuple(known) if len(known) == len(figures) else None


def rung_values(row: RoundRow, names: Sequence[str]) -> tuple[float, ...] | None:
    """Return what early stopping compares: a round's figures, of each of which more is better; None if it does not."""
    figures = round_values(row, names)
    if figures is None:
        return None
    return tuple(objective(name).sign * figure for name, figure in zip(names, figures, strict=True))


def trial_values(rows: Sequence[RoundRow], names: Sequence[str]) -> list[float] | None:
    """Return a trial's values: those of its best round, which is told by the score where there are several objectives.

    Args:
        rows: of all its finished rounds, in order.

    Returns:
        A value of each objective; None if no round has them all.
    """
    judged = [row for row in rows if round_values(row, names)]
    if not judged:
        return None
    best = max(judged, key=lambda row: rung_values(row, names if len(names) == 1 else [SCORE]) or ())
    return [_trial_value(objective(name), best, judged) for name in names]


def last_values(rows: Sequence[RoundRow], names: Sequence[str]) -> list[float] | None:
    """Return the values of the last round that has them all; None if none does."""
    found = [values for row in rows if (values := round_values(row, names))]
    return list(found[-1]) if found else None


def _trial_value(objective: Objective, best: RoundRow, judged: Sequence[RoundRow]) -> float:
    rows = judged if objective.averaged else [best]
    return float(mean(figure for row in rows if (figure := objective.of_round(row)) is not None))
