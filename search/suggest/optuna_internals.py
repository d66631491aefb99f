"""All uses of Optuna's private interface, which may change with each minor release of Optuna.

`tests/search/suggest/test_optuna_internals.py` compares the private interface with the installed Optuna.
"""

from collections.abc import Callable, Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState


class StudyView(optuna.Study):
    """A study that lists the given trials instead of its own; attributes set by a sampler are stored in the study."""

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]):
        """Take the study and the trials to list."""
        super().__init__(study.study_name, study._storage, study.sampler)
        self.listed = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self.listed if states is None or trial.state in states]


class LookupTrial(FixedTrial):
    """A trial that takes the value of each parameter from a function when the space asks for the parameter."""

    def __init__(self, value_of: Callable[[str, BaseDistribution], Any]):
        """Take the function (name of a parameter, distribution) -> value."""
        super().__init__({})
        self.value_of = value_of

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        self._params[name] = self.value_of(name, distribution)
        return super()._suggest(name, distribution)


def open_trial(study: optuna.Study, frozen: FrozenTrial) -> optuna.Trial:
    """Open a trial that the study has begun, to ask for parameters or to report to it."""
    return optuna.Trial(study, frozen._trial_id)


def frozen_trial(trial: optuna.Trial) -> FrozenTrial:
    """Return the study's present record of a trial, without listing all trials."""
    return trial.storage.get_trial(trial._trial_id)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a distribution allows a value; a value of another type is not allowed."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        return False
