"""Continue stopped trials in the slots that new trials cannot use any more, near the end of a search."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import optuna
from optuna.trial import TrialState

from search.runs.objectives import value_to_maximize
from search.runs.run import Run
from search.runs.trial_record import RUNNING, Clone, Trial, clone_of
from search.suggest.space import Space
from search.tune.trials.order import Next, TrialQueue
from search.tune.trials.study_trials import begin_clone
from trainers.training.checkpoint import STATE
from trainers.trial import CHECKPOINTS, round_name


@dataclass(frozen=True)
class Stopped:
    """A stopped trial whose full state is on the disk."""

    trial: Trial
    value: float
    """Estimated value at its end; higher is better."""
    seconds: float
    """Estimated seconds to its end."""


class ContinuingQueue(TrialQueue):
    """Independent trials, of which some continue after early stopping has stopped them.

    A stopped trial continues as a clone of itself, which is trained to its end, in two cases: the time that is left is
    too short for a whole new trial, or all trials have begun and the slot would stay idle until the last of them ends.
    """

    def __init__(self, space: Space, run: Run, study: optuna.Study, rounds: int, remaining: Callable[[], float | None]):
        """Start with an empty queue.

        Args:
            rounds: judged rounds of a whole trial.
            remaining: returns the seconds that are left of the time budget; None without one.
        """
        super().__init__(space)
        self.run, self.study, self.rounds, self.remaining = run, study, rounds, remaining

    def next(self, *, may_begin: bool) -> Next | None:
        """Choose the trial that has waited longest, else a stopped trial that should continue, else a new one."""
        if not self.waiting and (stopped := self._to_continue(may_begin)):
            row = stopped.rows[-1]
            clone = Clone(stopped.number, row.round, row.examples, replaced=stopped.number)
            return Next(begin_clone(self.study, clone, stopped.params, stopped.optuna_distributions))
        return super().next(may_begin=may_begin)

    def _to_continue(self, may_begin: bool) -> Trial | None:
        """Return the stopped trial that should continue now, if there is one."""
        remaining = self.remaining()
        if may_begin and remaining is None:
            return None
        trials = [trial for trial in self.run.trials() if trial.rows]
        if not trials or (may_begin and remaining is not None and remaining >= whole_seconds(trials, self.rounds)):
            return None
        limits = [] if remaining is None else [remaining]
        if not may_begin:
            limits.append(max((_open_seconds(one, self.rounds) for one in trials if one.state == RUNNING), default=0.0))
        chosen = best_to_continue(self._stopped(trials), min(limits))
        return chosen.trial if chosen else None

    def _stopped(self, trials: Sequence[Trial]) -> list[Stopped]:
        """List the stopped trials that can continue; each does so once, and none with constant predictions."""
        continued = {clone.trial for one in self.study.get_trials(deepcopy=False) if (clone := clone_of(one))}
        gains = mean_gains(trials, self.run.objectives)
        found = []
        for trial in trials:
            row = trial.rows[-1]
            value = value_to_maximize(row, self.run.objectives)
            able = trial.state == TrialState.PRUNED.name and trial.number not in continued and not row.constant
            if able and row.judged and value is not None and _has_state(trial):
                value += gains.get(row.judged, 0.0)
                found.append(Stopped(trial, value, _open_seconds(trial, self.rounds)))
        return found


def best_to_continue(stopped: Sequence[Stopped], seconds: float) -> Stopped | None:
    """Return the stopped trial with the best estimated value among those that can end in time; None if none can."""
    return max((one for one in stopped if one.seconds <= seconds), key=lambda one: one.value, default=None)


def whole_seconds(trials: Sequence[Trial], rounds: int) -> float:
    """Estimate the seconds of a whole new trial: the mean of the finished trials, else of all rounds.

    Args:
        trials: trials with rounds.
        rounds: judged rounds of a whole trial.
    """
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE.name and not trial.clone]
    whole = [sum(row.seconds for row in trial.rows) for trial in finished]
    return fmean(whole) if whole else rounds * fmean(row.seconds for trial in trials for row in trial.rows)


def mean_gains(trials: Sequence[Trial], objectives: Sequence[str]) -> dict[int, float]:
    """Return judged round -> mean gain of the finished trials from this round to their best one."""
    gained = defaultdict(list)
    for trial in trials:
        if trial.state == TrialState.COMPLETE.name:
            values = {row.judged: value_to_maximize(row, objectives) for row in trial.rows if row.judged}
            known = {judged: value for judged, value in values.items() if judged and value is not None}
            for judged, value in known.items():
                gained[judged].append(max(known.values()) - value)
    return {judged: fmean(found) for judged, found in gained.items()}


def _has_state(trial: Trial) -> bool:
    return (trial.folder / CHECKPOINTS / round_name(trial.rows[-1].round)).exists(STATE)


def _open_seconds(trial: Trial, rounds: int) -> float:
    """Estimate the seconds to a trial's end from its own rounds."""
    return (rounds - (trial.rows[-1].judged or 0)) * fmean(row.seconds for row in trial.rows)
