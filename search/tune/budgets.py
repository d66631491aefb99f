"""When a search has had enough: what it may use, what it has used, and the rules that compare the two."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from model.errors import InputError
from search.runs.trial_record import RUNNING, Trial

CUT = "ended with the search"
"""Why a trial ended that a budget has cut."""
HOUR = 3600.0
"""Seconds."""


@dataclass(frozen=True)
class Limits:
    """What a search may use, beside a number of trials; None for as much as it takes."""

    seconds: float | None = None
    """Of this session, from its first trial on."""
    score: float | None = None
    """Good enough for a round."""
    plateau: int | None = None
    """Trials in a row that may end without a better score than the best before them."""
    gpu_hours: float | None = None
    """Of all sessions."""

    def check(self, gpus: float) -> None:
        """Refuse what could never be reached.

        Args:
            gpus: of a trial.

        Raises:
            InputError: GPU-hours are limited, and none will be used.
        """
        if self.gpu_hours is not None and not gpus:
            raise InputError(
                f"--gpu-hours {self.gpu_hours:g}: a trial has 0 GPUs here. "
                "Leave it out, pass --time-budget, or give trials GPUs with --gpus-per-trial."
            )


@dataclass
class Used:
    """What a search has used, and what it has to show for it."""

    seconds: float = 0.0
    gpu_hours: float = 0.0
    best: float = -math.inf
    """Score of all judged rounds."""
    ended: list[float] = field(default_factory=list)
    """The best score of each ended trial, in the order in which they ended; -inf without a judged round."""


def time_is_up(limits: Limits, used: Used) -> str | None:
    """Say that the session's time is over, if it is."""
    if limits.seconds is None or used.seconds < limits.seconds:
        return None
    return f"its {timedelta(seconds=round(limits.seconds))} of --time-budget are over"


def score_is_reached(limits: Limits, used: Used) -> str | None:
    """Say that a round was good enough, if one was."""
    if limits.score is None or used.best < limits.score:
        return None
    return f"a round has scored {used.best:.4f}, which --stop-at {limits.score:g} asks for"


def nothing_gets_better(limits: Limits, used: Used) -> str | None:
    """Say that the last trials were no better than the best before them, if there was one."""
    if limits.plateau is None:
        return None
    before, last = used.ended[: -limits.plateau], used.ended[-limits.plateau :]
    best = max(before, default=-math.inf)
    if best == -math.inf or max(last) > best:
        return None
    return f"none of the last {limits.plateau} trials (--plateau) was better than {best:.4f}"


def gpu_hours_are_used(limits: Limits, used: Used) -> str | None:
    """Say that the GPUs have worked for long enough, if they have."""
    if limits.gpu_hours is None or used.gpu_hours < limits.gpu_hours:
        return None
    return f"its rounds have taken {used.gpu_hours:.2f} of --gpu-hours {limits.gpu_hours:g}"


RULES: tuple[Callable[[Limits, Used], str | None], ...] = (
    time_is_up,
    score_is_reached,
    nothing_gets_better,
    gpu_hours_are_used,
)


class Budget:
    """Follow a search's rounds and endings, and know when it is enough; once it is, it stays so."""

    def __init__(self, limits: Limits, trials: Iterable[Trial], gpus: float):
        """Take over what earlier sessions have used; the clock stands until `start`.

        Args:
            trials: those of the run.
            gpus: of a trial; earlier sessions are counted as if theirs had had as many.
        """
        self.limits, self.gpus, self.started = limits, gpus, math.inf
        self.used = Used()
        self.over: str | None = None
        """Why it is enough; None while it is not."""
        self.rounds: dict[int, int] = {}
        """Trial -> its newest round."""
        self.scores: dict[int, float] = {}
        """Trial -> the best score of its rounds."""
        trials = sorted(trials, key=lambda trial: trial.rows[-1]["ended"] if trial.rows else "")
        replaced = {trial.clone.replaced for trial in trials if trial.clone}
        for trial in trials:
            for row in trial.rows:
                self.note(trial.number, row)
            # A trial that was cut has not had its chance, and a replaced one goes on as a clone: no sign of a plateau.
            if trial.state != RUNNING and trial.reason != CUT and trial.number not in replaced:
                self.end(trial.number)

    def start(self) -> None:
        """Start the clock: Ray's own start does not count."""
        self.started = time.monotonic()

    def remaining(self) -> float | None:
        """Return the seconds left, or None without a time budget."""
        return None if self.limits.seconds is None else self.started + self.limits.seconds - time.monotonic()

    def note(self, number: int, row: Mapping[str, Any]) -> None:
        """Count a finished round of a trial; one that is told again was counted the first time."""
        if row["round"] <= self.rounds.get(number, 0):
            return
        self.rounds[number] = row["round"]
        self.used.gpu_hours += self.gpus * _seconds(row) / HOUR
        if row["score"] is not None:
            self.scores[number] = max(row["score"], self.scores.get(number, -math.inf))
            self.used.best = max(row["score"], self.used.best)

    def end(self, number: int) -> None:
        """Count the end of a trial; one that has finished no round says nothing of where the search stands."""
        if number in self.rounds:
            self.used.ended.append(self.scores.get(number, -math.inf))

    def spent(self) -> bool:
        """Whether no trial may start and no round follow."""
        self.used.seconds = time.monotonic() - self.started
        for rule in RULES:
            self.over = self.over or rule(self.limits, self.used)
        return self.over is not None

    def cuts(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Note a round that Tune tells of; return whether its trial ends with it, though it has not finished."""
        self.note(result["config"]["number"], result)
        return self.spent() and not result["last"]


def _seconds(row: Mapping[str, Any]) -> float:
    """Return what a round has taken of its trial's resources."""
    return row["train_seconds"] + row["eval_seconds"] + row["save_seconds"]
