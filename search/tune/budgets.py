"""Budgets of a search: the limits, what the search has used, and the rules that compare the two."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pandas

from model.errors import InputError
from search.runs.trial_record import RUNNING, Trial
from search.tune.trials.results import row_of
from trainers.training.rounds import RoundRow

HOUR = 3600.0
"""Seconds."""


@dataclass(frozen=True)
class Limits:
    """The limits of a search, besides its number of trials; None for no limit."""

    seconds: float | None = None
    """Wall-clock time of this session, from the start of Tune."""
    score: float | None = None
    """The search ends when a round reaches this score."""
    plateau: int | None = None
    """The search ends when this many trials in a row end without a better score than all trials before them."""
    gpu_hours: float | None = None
    """GPU-hours of all sessions together."""

    def check(self, gpus: float) -> None:
        """Refuse a limit that can never be reached.

        Args:
            gpus: GPUs of one trial.

        Raises:
            InputError: GPU-hours are limited, but trials use no GPU.
        """
        if self.gpu_hours is not None and not gpus:
            raise InputError(
                f"--gpu-hours {self.gpu_hours:g}: a trial has 0 GPUs here. "
                "Leave it out, pass --time-budget, or give trials GPUs with --gpus-per-trial."
            )


@dataclass
class Used:
    """What a search has used and reached."""

    seconds: float = 0.0
    gpu_hours: float = 0.0
    best: float = -math.inf
    """The best score of all judged rounds."""
    ended: list[float] = field(default_factory=list)
    """The best score of each ended trial, in the order of their ends; -inf without a judged round."""


def time_is_up(limits: Limits, used: Used) -> str | None:
    """Return the reason to end the search if the session's time is over."""
    if limits.seconds is None or used.seconds < limits.seconds:
        return None
    return f"the {timedelta(seconds=round(limits.seconds))} of --time-budget are over"


def score_is_reached(limits: Limits, used: Used) -> str | None:
    """Return the reason to end the search if a round has reached the score."""
    if limits.score is None or used.best < limits.score:
        return None
    return f"a round has scored {used.best:.4f}, which reaches --stop-at {limits.score:g}"


def is_on_plateau(limits: Limits, used: Used) -> str | None:
    """Return the reason to end the search if the last trials were no better than all trials before them."""
    if limits.plateau is None:
        return None
    before, last = used.ended[: -limits.plateau], used.ended[-limits.plateau :]
    best = max(before, default=-math.inf)
    if best == -math.inf or max(last) > best:
        return None
    return f"none of the last {limits.plateau} trials (--plateau) was better than {best:.4f}"


def gpu_hours_are_used(limits: Limits, used: Used) -> str | None:
    """Return the reason to end the search if the rounds have used the GPU-hours."""
    if limits.gpu_hours is None or used.gpu_hours < limits.gpu_hours:
        return None
    return f"its rounds have taken {used.gpu_hours:.2f} of --gpu-hours {limits.gpu_hours:g}"


RULES: tuple[Callable[[Limits, Used], str | None], ...] = (
    time_is_up,
    score_is_reached,
    is_on_plateau,
    gpu_hours_are_used,
)
"""Functions (limits, used) -> the reason to end the search, or None."""


class Budget:
    """Count the rounds and the ended trials of a search; a budget that is used up once stays used up."""

    def __init__(self, limits: Limits, trials: Iterable[Trial], gpus: float):
        """Count what earlier sessions have used; the clock does not run before `start`.

        Args:
            trials: the trials of the run, in the order in which their last rounds arrived.
            gpus: GPUs of one trial; earlier sessions are counted with the same number.
        """
        self.limits, self.gpus, self.started = limits, gpus, math.inf
        self.used = Used()
        self.reason: str | None = None
        """Why the budget ends the search; None while it does not."""
        self.rounds: dict[int, int] = {}
        """Trial -> its newest round."""
        self.scores: dict[int, float] = {}
        """Trial -> the best score of its rounds."""
        trials = list(trials)
        replaced = {trial.clone.replaced for trial in trials if trial.clone and not trial.clone.continues}
        for trial in trials:
            for row in trial.rows:
                self.add_round(trial.number, row)
            # A trial that a budget cut, or that a clone replaced in a population, is no evidence of a plateau.
            if trial.state != RUNNING and trial.number not in replaced:
                self.add_ended(trial.number)

    def start(self) -> None:
        """Start the clock; the time to start Ray does not count."""
        self.started = time.monotonic()

    def remaining(self) -> float | None:
        """Return the seconds left, or None without a time budget."""
        return None if self.limits.seconds is None else self.started + self.limits.seconds - time.monotonic()

    def add_round(self, number: int, row: RoundRow) -> None:
        """Count a finished round of a trial; a round that is reported again counts once."""
        if row.round <= self.rounds.get(number, 0):
            return
        self.rounds[number] = row.round
        self.used.gpu_hours += self.gpus * row.seconds / HOUR
        if row.score is not None:
            self.scores[number] = max(row.score, self.scores.get(number, -math.inf))
            self.used.best = max(row.score, self.used.best)

    def add_ended(self, number: int) -> None:
        """Count an ended trial, unless it has finished no round: then it says nothing about a plateau."""
        if number in self.rounds:
            self.used.ended.append(self.scores.get(number, -math.inf))

    def spent(self) -> bool:
        """Return whether a budget is used up, so that no trial and no round may begin."""
        self.used.seconds = time.monotonic() - self.started
        for rule in RULES:
            self.reason = self.reason or rule(self.limits, self.used)
        return self.reason is not None

    def stops(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Count a round that Tune reports; return whether the budget stops its trial before the last round."""
        row = row_of(result)
        self.add_round(result["config"]["number"], row)
        return self.spent() and not row.last


def budget_seconds(text: str | None) -> float | None:
    """Return the seconds of a duration such as 1h30m; None for None.

    Raises:
        InputError: the text is no duration, has no unit, or is shorter than a second.
    """
    if text is None:
        return None
    try:
        seconds = pandas.Timedelta(text).total_seconds()
    except ValueError:
        seconds = 0.0
    if not seconds >= 1:  # true for NaN, too; pandas reads a number without a unit as nanoseconds
        raise InputError(f"--time-budget {text!r} is not a duration. Write it with a unit, such as 2h, 90m or 1h30m.")
    return seconds
