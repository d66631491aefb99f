"""Open the trials of a study, report their rounds to it and end them in it."""

from dataclasses import asdict
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.runs.objectives import ENSEMBLE
from search.runs.rebuilt_study import end_attributes, intermediate_values
from search.runs.run import Run
from search.runs.trial_record import CLONE, Clone, clone_of
from search.suggest.optuna_internals import frozen_trial, open_trial
from search.suggest.samplers import SAMPLERS
from search.suggest.warm_start import warm_trials
from search.suggest.wrapped_samplers import HistorySampler
from trainers.seeds import seed_of
from trainers.training.rounds import RoundRow


class StudyTrials:
    """The trials of a study, each with an Optuna sampler of its own: an interrupted search draws the same values."""

    def __init__(self, study: optuna.Study, run: Run, limit: int | None):
        """Count the trials that the study has begun.

        Args:
            limit: the number of trials to begin, earlier sessions included; None for no limit. Clones come on top.
        """
        self.study, self.run, self.limit = study, run, limit
        self.warm_start = warm_trials(run)
        self.begun = sum(_is_begun(frozen) for frozen in study.get_trials(deepcopy=False))

    @property
    def may_begin(self) -> bool:
        """Whether the number of trials allows another one."""
        return self.limit is None or self.begun < self.limit

    def running(self) -> list[FrozenTrial]:
        """List the trials that the study calls RUNNING."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def continuing(self) -> set[int]:
        """Return the stopped trials that RUNNING trials continue."""
        return {clone.trial for one in self.running() if (clone := clone_of(one)) and clone.continues}

    def ask(self) -> optuna.Trial:
        """Begin a trial."""
        self.begun += 1
        trial = self.study.ask()
        self.study.sampler = self._sampler(trial.number)  # used when the space asks for a parameter
        return trial

    def resume(self, frozen: FrozenTrial) -> optuna.Trial:
        """Resume a trial; parameters that it has not drawn yet get the values that it would have drawn."""
        self.study.sampler = self._sampler(frozen.number)
        return self.open(frozen)

    def open(self, frozen: FrozenTrial) -> optuna.Trial:
        """Open a trial, to report to it or to end it."""
        return open_trial(self.study, frozen)

    def report(self, trial: optuna.Trial, rows: list[RoundRow]) -> None:
        """Report the judged rounds that the study does not have yet."""
        known = frozen_trial(trial).intermediate_values
        for judged, value in intermediate_values(rows, self.run.objectives).items():
            if judged not in known:
                trial.report(value, judged)

    def end(self, trial: optuna.Trial, state: TrialState, values: list[float] | None) -> None:
        """End a trial in the study."""
        for name, value in end_attributes(state, values, several=len(self.run.objectives) > 1).items():
            trial.set_user_attr(name, value)
        # Optuna uses the last reported value of a PRUNED trial and accepts no other.
        self.study.tell(trial.number, values if state == TrialState.COMPLETE else None, state, skip_if_finished=True)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return the Optuna sampler of one trial: one for all trials would repeat its first draws after a resume."""
        search, before = self.run.search, self.warm_start
        # The same seed would make a warm-started search begin with the points of the search that it learns from.
        place = ("warm start", len(before)) if before else ()
        seed = seed_of(search.seed, number, "sampler", *place) % 2**32
        sampler = SAMPLERS[search.sampler](seed, extrapolate=self.run.objectives != [ENSEMBLE])
        return (
            HistorySampler(sampler, lambda study: [*before, *study.get_trials(deepcopy=False)]) if before else sampler
        )


def begin_clone(
    study: optuna.Study, clone: Clone, params: dict[str, Any], distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    """Add a clone to a study with all its values in one operation, so that no crash leaves a part of it."""
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs={CLONE: asdict(clone)}
        )
    )
    return study.get_trials(deepcopy=False)[-1]


def _is_begun(frozen: FrozenTrial) -> bool:
    return frozen.state != TrialState.WAITING and not clone_of(frozen)
