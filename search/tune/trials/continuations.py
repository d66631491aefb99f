"""Continue stopped trials in the slots that new trials cannot use any more, near the end of a search."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.runs.objectives import ENSEMBLE, value_to_maximize
from search.runs.run import Run
from search.runs.trial_record import RUNNING, Clone, Trial, clone_of
from search.suggest.samplers import final_values, mean_gains
from search.suggest.space import Space
from search.tune.trials.order import Next, TrialQueue
from search.tune.trials.study_trials import begin_clone
from trainers.config.train_config import TrainConfig
from trainers.trial import read_config

LOOK_EVERY = 2.0
"""Seconds between two looks for an idle slot that find nothing: Tune asks ten times a second."""


@dataclass(frozen=True)
class Stopped:
    """A stopped trial that has not continued yet."""

    trial: Trial
    value: float
    """Estimated value at its end; higher is better."""
    seconds: float
    """Estimated seconds to its end."""


class ContinuingQueue(TrialQueue):
    """Independent trials, of which some continue after early stopping has stopped them.

    A stopped trial continues as a clone of itself, which is trained to its end, in two cases: the time that is left is
    too short for a whole new trial, or all trials have begun and this one can end before the last of them.
    """

    def __init__(self, space: Space, run: Run, study: optuna.Study, rounds: int, remaining: Callable[[], float | None]):
        """Start with an empty queue.

        Args:
            rounds: judged rounds of a whole trial.
            remaining: returns the seconds that are left of the time budget; None without one.
        """
        super().__init__(space)
        self.run, self.study, self.rounds, self.remaining = run, study, rounds, remaining
        self.looked = -LOOK_EVERY
        """When the last look found no trial to continue."""

    def next(self, *, may_begin: bool, held: bool = False) -> Next | None:
        """Choose the trial that has waited longest, else a stopped trial that should continue, else a new one."""
        if not self.waiting and not held and (trial := self._to_continue(may_begin)):
            row = trial.rows[-1]
            clone = Clone(trial.number, row.round, row.examples, replaced=trial.number)
            return Next(begin_clone(self.study, clone, trial.params, trial.optuna_distributions))
        return super().next(may_begin=may_begin, held=held)

    def config(self, trial: optuna.Trial) -> TrainConfig:
        """Return the config that the space suggests; of a trial that continues, the config that it has begun with."""
        if clone := clone_of(trial):
            return read_config(self.run.trial_folder(clone.trial))
        return super().config(trial)

    def _to_continue(self, may_begin: bool) -> Trial | None:
        """Return the stopped trial that should continue now, if there is one."""
        remaining = self.remaining()
        if may_begin and remaining is None:
            return None
        if not may_begin and time.monotonic() < self.looked + LOOK_EVERY:
            return None
        trials = self.run.trials()
        if seconds := _usable_seconds(trials, self.rounds, remaining, may_begin):
            for stopped in by_value(self._stopped(trials), seconds):
                if stopped.trial.has_state(stopped.trial.rows[-1].round):
                    return stopped.trial
        self.looked = time.monotonic()
        return None

    def _stopped(self, trials: Sequence[Trial]) -> list[Stopped]:
        """List the stopped trials that have not continued yet, except those with constant predictions."""
        studied = self.study.get_trials(deepcopy=False)
        continued = {clone.trial for one in studied if (clone := clone_of(one))}
        gains = {} if self.run.objectives == [ENSEMBLE] else mean_gains(studied)
        return [
            Stopped(trial, self._estimate(trial, studied[trial.number], gains), _open_seconds(trial, self.rounds))
            for trial in trials
            if trial.state == TrialState.PRUNED.name
            and trial.number not in continued
            and trial.rows
            and trial.rows[-1].score is not None
            and not trial.rows[-1].constant
        ]

    def _estimate(self, trial: Trial, studied: FrozenTrial, gains: dict[int, float]) -> float:
        """Estimate the value of a stopped trial at its end; with several objectives, return its score."""
        values = final_values(studied, gains) if len(self.run.objectives) == 1 else None
        if not values:
            return value_to_maximize(trial.rows[-1], self.run.objectives) or 0.0
        return values[0] if self.study.direction == StudyDirection.MAXIMIZE else -values[0]


def by_value(stopped: Sequence[Stopped], seconds: float) -> list[Stopped]:
    """Return the stopped trials that can end in time, the best estimated value first."""
    return sorted((one for one in stopped if one.seconds <= seconds), key=lambda one: -one.value)


def new_trial_seconds(trials: Sequence[Trial], rounds: int) -> float:
    """Estimate the seconds of a whole new trial: the mean of the finished trials, else of all rounds.

    Args:
        trials: all trials; some must have rounds.
        rounds: judged rounds of a whole trial.
    """
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE.name and not trial.clone]
    whole = [sum(row.seconds for row in trial.rows) for trial in finished]
    return fmean(whole) if whole else rounds * fmean(row.seconds for trial in trials for row in trial.rows)


def _usable_seconds(trials: Sequence[Trial], rounds: int, remaining: float | None, may_begin: bool) -> float:
    """Return the seconds for which a slot can continue a stopped trial; 0 if it should not.

    Args:
        trials: all trials.
        remaining: the seconds that are left of the time budget; None without one.
        may_begin: whether the number of trials allows a new one.
    """
    if not any(trial.rows for trial in trials):
        return 0.0
    whole = new_trial_seconds(trials, rounds)
    if may_begin:
        return remaining if remaining is not None and remaining < whole else 0.0
    running = [trial for trial in trials if trial.state == RUNNING]
    others = max((_open_seconds(trial, rounds) if trial.rows else whole for trial in running), default=0.0)
    return others if remaining is None else min(others, remaining)


def _open_seconds(trial: Trial, rounds: int) -> float:
    """Estimate the seconds to a trial's end from its own rounds."""
    return (rounds - (trial.rows[-1].judged or 0)) * fmean(row.seconds for row in trial.rows)
