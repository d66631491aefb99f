"""An Optuna sampler that is shown other trials than the study's own: fewer of them, or older ones in front."""

from collections.abc import Callable, Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class Shown(BaseSampler):
    """Let a sampler draw as if some trials were the study's."""

    def __init__(self, sampler: BaseSampler, choose: Callable[[optuna.Study], list[FrozenTrial]]):
        """Wrap a sampler.

        Args:
            choose: study -> the trials to show, by number.
        """
        self.sampler, self.choose = sampler, choose

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Choose the trials, once for each draw, and ask the sampler which parameters it draws together."""
        self.view = _View(study, self.choose(study))
        return self.sampler.infer_relative_search_space(self.view, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the sampler for parameters that are drawn together."""
        return self.sampler.sample_relative(self.view, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the sampler for one parameter."""
        return self.sampler.sample_independent(self.view, trial, param_name, param_distribution)


class _View(optuna.Study):
    """A study that shows some trials; what a sampler notes of the one that it draws is written to the study itself."""

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]):
        super().__init__(study.study_name, study._storage, study.sampler)
        self.shown = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self.shown if states is None or trial.state in states]
