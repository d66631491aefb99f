"""An Optuna sampler that learns from trials which are not the study's: they take no numbers there."""

from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class WarmSampler(BaseSampler):
    """Show a sampler the study's trials behind those that were there before it."""

    def __init__(self, sampler: BaseSampler, before: Sequence[FrozenTrial]):
        """Take a sampler, and finished trials of earlier searches."""
        self.sampler, self.before = sampler, before

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the sampler which parameters it draws together."""
        self.shown = _Longer(study, self.before)
        return self.sampler.infer_relative_search_space(self.shown, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the sampler for parameters that are drawn together."""
        return self.sampler.sample_relative(self.shown, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the sampler for one parameter."""
        return self.sampler.sample_independent(self.shown, trial, param_name, param_distribution)


class _Longer(optuna.Study):
    """A study with trials in front; what a sampler notes of the one that it draws is written to the study itself."""

    def __init__(self, study: optuna.Study, before: Sequence[FrozenTrial]):
        super().__init__(study.study_name, study._storage, study.sampler)
        self.before = before

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        before = [trial for trial in self.before if states is None or trial.state in states]
        return before + super()._get_trials(deepcopy, states, use_cache)
